//! One spelling for all texts that look equal.

use crate::{
    classes::{is_acting, is_blank, is_idle, is_inner, is_never_needed, is_visible},
    context::keep_what_joins,
};
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
    // Most texts: no such character composes with one beside it.
    if text.chars().all(|c| matches!(c, ' '..='~' | '가'..='힣')) {
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

/// The spelling of a text that an earlier release has stored, which took texts as they were sent. One that has no canonical
/// spelling stays as it is, and so does one whose canonical spelling could be too long for its field.
pub fn respelled(stored: &str) -> Cow<'_, str> {
    let spelled = canonical_or_same(stored);
    let length = |text: &str| text.chars().count();
    if matches!(spelled, Cow::Owned(_)) && length(&spelled) > length(stored).max(FITS_EVERYWHERE) {
        return Cow::Borrowed(stored);
    }
    spelled
}

/// A text of so many characters fits into every field.
const FITS_EVERYWHERE: usize = 64;

fn spelled(text: &str) -> Cow<'_, str> {
    let trimmed = text.trim_matches(|c: char| is_blank(c) || is_idle(c));
    let is_plain = |c: char| c == ' ' || !(c.is_whitespace() || is_idle(c) || is_inner(c));
    if trimmed.chars().all(is_plain) && is_nfc_quick(trimmed.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(trimmed);
    }
    // Decomposed, equivalent texts are the same text, so what is kept does not depend on how the text was composed. A
    // character that is left out may have kept marks apart; with these in order, others may be left out.
    let needed = text.chars().filter(|c| !is_never_needed(*c));
    let mut spelled: Vec<char> = needed.map(|c| if c.is_whitespace() { ' ' } else { c }).nfd().collect();
    loop {
        let next: Vec<char> = trim(&keep_what_joins(&spelled)).iter().copied().nfd().collect();
        if next == spelled {
            break;
        }
        spelled = next;
    }
    let spelled: String = spelled.into_iter().nfc().collect();
    if spelled == text { Cow::Borrowed(text) } else { Cow::Owned(spelled) }
}

fn trim(chars: &[char]) -> &[char] {
    let Some(start) = chars.iter().position(|c| !is_blank(*c)) else { return &[] };
    let end = chars.iter().rposition(|c| !is_blank(*c)).map_or(start, |last| last + 1);
    &chars[start..end]
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
            ("kim\u{2800}", "kim"),
            ("\u{2800} kim \u{2800}\u{200b}", "kim"),
            ("kim\u{1160}", "kim"),
            ("kim\u{115f}\u{1160}", "kim"),
            ("k\u{115f}im", "kim"),
            ("ki\u{3164}m\u{ffa0}", "kim"),
            ("kim\u{fe0f}", "kim"),
            ("kim\u{e0100}", "kim"),
            ("k\u{fe00}im", "kim"),
            ("1\u{fe0f}", "1"),
            ("kim\u{e0067}\u{e007f}", "kim"),
            ("🏴\u{e0067}", "🏴"),
            ("k\u{200c}i\u{200d}m", "kim"),
            ("김\u{200d}치\u{200c}찌개", "김치찌개"),
            ("ki\u{34f}m", "kim"),
            ("k\u{17b4}im", "kim"),
            ("é\u{200d}", "é"),
            ("👩\u{200d}kim", "👩kim"),
            ("👩\u{200d}\u{200d}👧", "👩\u{200d}👧"),
            ("می\u{200c}\u{200c}خواهم", "می\u{200c}خواهم"),
            ("کار\u{200c}ها", "کارها"),
            ("葛\u{e0100}\u{e0101}", "葛\u{e0100}"),
            ("क\u{94d}\u{200c} ष", "क\u{94d} ष"),
        ] {
            assert_eq!(of(text).as_deref(), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn what_was_stored_is_respelled_if_it_can_be() {
        for (stored, spelled) in [
            ("\u{1112}\u{1161}\u{11ab}", "한"),
            ("cafe\u{301} ", "café"),
            ("\u{958}", "\u{915}\u{93c}"),
            ("kim\nlee", "kim\nlee"),
            ("\u{3164}", "\u{3164}"),
        ] {
            assert_eq!(respelled(stored), spelled);
        }
        let long = "\u{958}".repeat(40);
        assert_eq!(respelled(&long), long, "80 characters may be too many");
        assert_eq!(respelled(&"e\u{301}".repeat(100)), "é".repeat(100));
    }

    #[test]
    fn what_readers_would_miss_is_kept() {
        for text in [
            "👨‍👩‍👧",
            "❤️",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "می‌خواهم",
            "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
            "#\u{fe0f}\u{20e3}",
            "🏳\u{fe0f}\u{200d}🌈",
            "👩\u{200d}❤\u{fe0f}\u{200d}👨",
            "🐦\u{200d}⬛",
            "☎\u{fe0e}",
            "葛\u{e0100}",
            "葛\u{e0100}城",
            "⠓⠊⠀⠽⠕⠥",
            "അവന\u{d4d}\u{200d}",
            "क\u{94d}\u{200c}ष",
            "کتاب\u{200c}خانه",
            "ᠠ\u{180b}ᠨ",
            "\u{115f}\u{1160}\u{11a8}",
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
            "a e\u{301}\u{323}한\u{1112}\u{1161}\u{11ab}\u{3164}\u{200b}\u{200d}\u{200c}\u{feff}\u{2800}\u{3000}\u{a0}\u{ad}\u{202e}\u{9b}\u{0}\n\u{fe0f}\u{e0100}👩\u{115f}\u{34f}\u{17b4}\u{1160}\u{94d}\u{93c}ی1\u{20e3}葛🏴\u{e0067}\u{e007f}"
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
        fn what_is_added_unseen_makes_no_difference(text in texts(), at in 0_usize..12, added in "[\u{200b}\u{feff}\u{2060}\u{200e}\u{ad}\u{34f}\u{3164}]") {
            let at = text.char_indices().nth(at).map_or(text.len(), |(at, _)| at);
            let with = format!("{}{added}{}", &text[..at], &text[at..]);
            prop_assert_eq!(of(&with), of(&text), "{:?}", with);
        }
    }
}
