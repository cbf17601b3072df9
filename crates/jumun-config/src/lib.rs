//! Configuration of a Jumun process.
//!
//! A component owns its table of configuration: one struct, declared with [`section!`]. The declaration gives each key
//! its type, its default and its documentation, once. From it follow reading ([`read`]), checking ([`Section::check`]),
//! writing ([`flatten`]) and the reference for users ([`describe`]).
//!
//! ```
//! use jumun_config::{Invalid, Section, check, section};
//! use std::time::Duration;
//!
//! section! {
//!     /// How many calls may be in flight at once.
//!     #[derive(Copy)]
//!     pub struct Bulkhead {
//!         /// Calls in flight at once.
//!         pub max_concurrent: u32 = 256,
//!         /// How long one more call waits for its turn.
//!         pub max_wait: Duration = Duration::from_millis(100),
//!     }
//! }
//!
//! impl Section for Bulkhead {
//!     fn check(&self) -> Result<(), Invalid> {
//!         check::within("max_concurrent", &self.max_concurrent, &(1..=65_536))
//!     }
//! }
//!
//! let read = jumun_config::read::<Bulkhead>(serde_json::json!({ "max_wait": "1s" }))?;
//! assert_eq!(read, Bulkhead { max_wait: Duration::from_secs(1), ..Bulkhead::default() });
//! let error = jumun_config::read::<Bulkhead>(serde_json::json!({ "max_wait": "soon" })).unwrap_err();
//! assert_eq!(error.to_string(), "`max_wait`: `soon` is not a duration; write 610ms, 1s, 2m, 1h or 7d");
//! # Ok::<(), Invalid>(())
//! ```
//!
//! # Parts
//!
//! * [`units`]: the one parser and the one formatter of durations and sizes.
//! * [`setting`]: what a key may hold. The type of a key decides its unit, and whether it is a secret.
//! * [`Section`], [`Key`], [`section!`]: a table of keys.
//! * [`BackendUrl`]: the address of a database or a bus, which never shows its password.
//! * [`Sources`], [`Layers`]: where values come from (`jumun.toml`, a mounted folder, the environment, flags), and
//!   which source set a key.
//! * [`Alias`]: another name of a key.

// So that the tests of this crate can use `section!`, which names it.
#[cfg(test)]
extern crate self as jumun_config;

mod alias;
pub mod check;
pub mod limits;
mod section;
pub mod setting;
mod sources;
pub mod units;
mod url;

pub use alias::Alias;
pub use check::Invalid;
pub use section::{Description, Section, describe, flatten, read};
#[doc(hidden)]
pub use setting::key as __key;
pub use setting::{Key, Setting};
pub use sources::{ConfigError, Entry, Layers, Origin, Sources};
pub use url::{BackendUrl, Schemes, UrlError, without_password};
