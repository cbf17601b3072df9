//! One spelling for all texts that look equal.

use crate::classes::{is_acting, is_dispensable_at_end, is_dispensable_at_start, is_idle, is_visible};
use std::{borrow::Cow, fmt};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Why a text cannot stand for what a person would write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Nothing of it is visible.
    Blank,
    /// It holds a character that acts on the text around it: a control character, a line break, a direction override.
    Acting,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blank => "must be a text of which something is visible",
            Self::Acting => "must be one line of text, without control characters and changes of its direction",
        })
    }
}

/// The spelling that a text shares with all texts that look like it: composed (NFC), every space a plain one, nothing
/// around it, no character that shows nothing and does nothing.
///
/// It is idempotent. A text that is in this form already is not copied.
pub fn canonical(text: &str) -> Result<Cow<'_, str>, Unfit> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        let text = text.trim_ascii();
        return if text.is_empty() { Err(Unfit::Blank) } else { Ok(Cow::Borrowed(text)) };
    }
    if !text.chars().any(is_visible) {
        return Err(Unfit::Blank);
    }
    if text.chars().any(is_acting) {
        return Err(Unfit::Acting);
    }
    Ok(spelled(text))
}

/// The same for a text that is only compared with canonical ones: one that could not be one of these stays as it is.
pub fn canonical_or_same(text: &str) -> Cow<'_, str> {
    canonical(text).unwrap_or(Cow::Borrowed(text))
}

fn spelled(text: &str) -> Cow<'_, str> {
    let text = text.trim_start_matches(is_dispensable_at_start).trim_end_matches(is_dispensable_at_end);
    let is_plain = |c: char| c == ' ' || !(c.is_whitespace() || is_idle(c));
    if text.chars().all(is_plain) && is_nfc_quick(text.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(text);
    }
    let plain = text.chars().filter(|c| !is_idle(*c)).map(|c| if c.is_whitespace() { ' ' } else { c });
    Cow::Owned(plain.nfc().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> Result<String, Unfit> {
        canonical(text).map(Cow::into_owned)
    }

    #[test]
    fn a_text_of_which_nothing_is_visible_is_blank() {
        for text in [
            "",
            " ",
            "\u{3000}",
            "\u{a0}",
            "\t",
            "\n",
            "\u{85}",
            "\u{2028}",
            "\u{0}",
            "\u{1b}",
            "\u{7f}",
            "\u{9b}",
            "\u{3164}",
            "\u{115f}",
            "\u{1160}",
            "\u{ffa0}",
            "\u{200b}",
            "\u{200c}",
            "\u{200d}",
            "\u{2060}",
            "\u{feff}",
            "\u{ad}",
            "\u{180e}",
            "\u{34f}",
            "\u{61c}",
            "\u{200e}",
            "\u{202e}",
            "\u{2066}\u{2069}",
            "\u{2800}",
            "\u{fe0f}",
            "\u{e0020}",
            "\u{e0100}",
            "\u{17b4}",
            "\u{301}",
            "\u{20e3}",
            "\u{fffe}",
            "\u{10ffff}",
            "\u{1d159}",
            "\u{1d173}",
            "\u{fff9}",
            "\u{3164}\u{200b} \u{2800}\u{301}",
        ] {
            assert_eq!(of(text), Err(Unfit::Blank), "{text:?}");
        }
    }

    #[test]
    fn characters_that_act_on_others_are_refused() {
        for text in [
            "kim\nlee",
            "kim\r\nlee",
            "a\tb",
            "a\u{0}",
            "\u{1b}[2J",
            "a\u{7f}",
            "a\u{9b}31m",
            "\u{202e}abc",
            "a\u{2066}b\u{2069}",
            "a\u{2028}b",
            "a\u{85}b",
            "a\u{fffe}",
            "a\u{e0001}",
            "a\u{206a}",
            "가\u{fff9}나\u{fffb}",
        ] {
            assert_eq!(of(text), Err(Unfit::Acting), "{text:?}");
        }
    }

    #[test]
    fn what_looks_equal_is_equal() {
        for (text, expected) in [
            ("e\u{301}", "é"),
            ("\u{1112}\u{1161}\u{11ab}", "한"),
            ("\u{212b}", "Å"),
            (" 스토어99 ", "스토어99"),
            ("\u{3000}스토어\u{3000}99\u{feff}", "스토어 99"),
            ("a\u{a0}b", "a b"),
            ("스\u{200b}토\u{2060}어", "스토어"),
            ("co\u{ad}op", "coop"),
            ("\u{3164}kim\u{3164}", "kim"),
            ("kim\u{200d}", "kim"),
            ("\u{200f}שלום", "שלום"),
            ("e\u{200b}\u{301}", "é"),
        ] {
            assert_eq!(of(text).as_deref(), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn what_readers_would_miss_is_kept() {
        for text in [
            "👨‍👩‍👧",
            "❤️",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "می‌خواهم",
            "葛\u{e0100}",
            "1️⃣",
            "한글",
            "ᅟᅡ가",
            "नमस्ते",
            "kim's  shop",
            "a",
            "ﷺ",
            "\u{fffd}",
            "👩🏽‍🚀",
            "क्‍ष",
        ] {
            assert_eq!(of(text).as_deref(), Ok(text), "{text:?}");
        }
    }

    /// Texts with many of the characters that matter.
    fn texts() -> impl Strategy<Value = String> {
        let special = prop::sample::select(
            "a e\u{301}\u{323}한\u{1112}\u{1161}\u{11ab}\u{3164}\u{200b}\u{200d}\u{200c}\u{feff}\u{2800}\u{3000}\u{a0}\u{ad}\u{202e}\u{9b}\u{0}\n\u{fe0f}\u{e0100}👩\u{115f}\u{34f}\u{17b4}"
                .chars()
                .collect::<Vec<_>>(),
        );
        let any = prop_oneof![4 => special, 1 => any::<char>()];
        prop::collection::vec(any, 0..12).prop_map(|chars| chars.into_iter().collect())
    }

    proptest! {
        #[test]
        fn a_canonical_text_is_its_own(text in texts()) {
            if let Ok(once) = of(&text) {
                prop_assert_eq!(of(&once), Ok(once.clone()), "{:?}", text);
                prop_assert!(once.chars().any(is_visible));
                prop_assert!(!once.chars().any(|c| is_acting(c) || is_idle(c)), "{:?}", once);
                prop_assert_eq!(once.trim(), &once);
            }
        }

        #[test]
        fn equivalent_texts_have_one_spelling(text in texts()) {
            let (composed, decomposed): (String, String) = (text.nfc().collect(), text.nfd().collect());
            prop_assert_eq!(of(&composed), of(&decomposed), "{:?}", text);
            prop_assert_eq!(of(&text), of(&composed));
        }

        #[test]
        fn what_is_added_unseen_makes_no_difference(text in texts(), at in 0_usize..12, added in "[\u{200b}\u{feff}\u{2060}\u{200e}\u{ad}]") {
            let at = text.char_indices().nth(at).map_or(text.len(), |(at, _)| at);
            let with = format!("{}{added}{}", &text[..at], &text[at..]);
            prop_assert_eq!(of(&with), of(&text), "{:?}", with);
        }
    }
}
