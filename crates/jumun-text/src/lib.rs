//! Text as people see it and write it: what is visible, what is equal, what is safe to show on a terminal, and how
//! durations and sizes are written ([`units`]). And how an error explains itself ([`explained!`]).
//!
//! Three kinds of characters show nothing by themselves, and each is treated in its own way:
//!
//! * Characters that act on what is around them: control characters, line and paragraph separators, embeddings,
//!   overrides and isolates of the direction of text, and code points that are no characters. [`canonical()`] refuses
//!   them; [`escape()`] shows their numbers.
//! * Characters that act on nothing: a zero width space, a byte order mark. [`canonical()`] leaves them out.
//! * Characters that act within a word: joiners (Persian, families of emoji), variation selectors, tags (flags),
//!   fillers of Hangul syllables. [`canonical()`] keeps them where they change what a reader sees; a text of nothing else is
//!   blank.
//!
//! Sources: RFC 8265, section 4.2 (spaces, NFC); RFC 8266 (outer spaces); Unicode, `DerivedCoreProperties.txt`
//! (`Default_Ignorable_Code_Point`), UAX #9 (direction), UAX #15 (NFC); RFC 5892,
//! appendices A.1 and A.2 (joiners); UTS #51 (emoji).

mod canonical;
mod classes;
mod context;
mod escape;
mod explained;
pub mod units;

pub use canonical::{Unfit, canonical, canonical_or_same, respelled};
pub use escape::{Escaped, Escaping, escape, escape_but_colours};
