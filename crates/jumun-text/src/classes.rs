//! Characters that show nothing.

use unicode_normalization::char::is_combining_mark;

/// Whether a character changes how the text around it is shown, or is none. Tabs and line ends are such characters too.
pub(crate) const fn is_acting(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' // control characters: C0, DEL, C1
        | '\u{2028}' | '\u{2029}' // line and paragraph separators
        | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // direction: embeddings, overrides, isolates
        | '\u{206a}'..='\u{206f}' // deprecated: shapes of digits, symmetric swapping
        | '\u{fff9}'..='\u{fffb}' // interlinear annotations
        | '\u{e0001}' // deprecated: language tag
        | '\u{fdd0}'..='\u{fdef}') // no characters
        || c as u32 & 0xfffe == 0xfffe // no characters: the last two of each plane
}

/// Whether a character shows nothing and acts on nothing that a reader would miss.
pub(crate) const fn is_idle(c: char) -> bool {
    matches!(c,
        '\u{ad}' // soft hyphen
        | '\u{61c}' | '\u{200e}' | '\u{200f}' // marks of direction
        | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' // zero width
        | '\u{2065}' | '\u{fff0}'..='\u{fff8}' | '\u{e0000}' // reserved for such characters
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}') // formats of shorthand and music
}

/// Whether a character shows nothing by itself, and may act within a word.
pub(crate) const fn is_inner(c: char) -> bool {
    matches!(c,
        '\u{34f}' // combining grapheme joiner
        | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // fillers of Hangul
        | '\u{17b4}' | '\u{17b5}' // inherent vowels of Khmer
        | '\u{180b}'..='\u{180f}' // variation selectors of Mongolian
        | '\u{200c}' | '\u{200d}' // joiners
        | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' // variation selectors
        | '\u{e0002}'..='\u{e00ff}' | '\u{e01f0}'..='\u{e0fff}') // tags, and reserved
}

/// Whether a character is a blank that Unicode does not count among the spaces.
const fn is_blank_symbol(c: char) -> bool {
    matches!(
        c,
        '\u{2800}' // Braille pattern without a dot
        | '\u{13441}' | '\u{13442}' // blanks of hieroglyphs
        | '\u{16fe4}' // filler of Khitan
        | '\u{1d159}'
    ) // null notehead
}

/// Whether a character is a space, or looks like one.
pub(crate) fn is_blank(c: char) -> bool {
    c.is_whitespace() || is_blank_symbol(c)
}

/// Whether a character shows nothing and is needed in no context.
pub(crate) const fn is_never_needed(c: char) -> bool {
    is_idle(c)
        || matches!(c,
            '\u{34f}' | '\u{3164}' | '\u{ffa0}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
            | '\u{e0002}'..='\u{e001f}' | '\u{e0080}'..='\u{e00ff}' | '\u{e01f0}'..='\u{e0fff}')
}

/// Whether a reader sees something of a character that stands alone. A combining mark belongs to the character before it.
pub(crate) fn is_visible(c: char) -> bool {
    !c.is_whitespace() && !is_acting(c) && !is_idle(c) && !is_inner(c) && !is_blank_symbol(c) && !is_combining_mark(c)
}

/// Whether a character must not reach a terminal as it is: it may change what is shown around it, or hide.
pub(crate) const fn is_unsafe_to_show(c: char) -> bool {
    (is_acting(c) && !matches!(c, '\n' | '\t')) || is_idle(c) || matches!(c, '\u{e0000}'..='\u{e00ff}')
}
