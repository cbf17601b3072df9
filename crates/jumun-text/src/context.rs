//! Characters that show nothing by themselves, and the contexts in which they change what a reader sees: joiners (RFC 5892,
//! appendices A.1 and A.2, and sequences of emoji), variation selectors, tags, fillers of Hangul syllables.

use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

const ZERO_WIDTH_NON_JOINER: char = '\u{200c}';
const ZERO_WIDTH_JOINER: char = '\u{200d}';
/// The flag that tags turn into that of a region.
const BLACK_FLAG: char = '\u{1f3f4}';
const TAGS_END: char = '\u{e007f}';
/// The combining class of signs that take the vowel from a consonant, and join it to the next one.
const VIRAMA: u8 = 9;

/// Leaves out joiners, selectors, tags and fillers that do nothing where they are. The text is decomposed.
pub(crate) fn keep_what_joins(text: &[char]) -> Vec<char> {
    let mut kept: Vec<char> = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&c) = text.get(at) {
        at += 1;
        let rest = &text[at..];
        let is_kept = match c {
            ZERO_WIDTH_NON_JOINER => {
                is_after_virama(&kept) && rest.first().is_some_and(|next| *next != ' ') || parts(&kept, rest)
            }
            ZERO_WIDTH_JOINER => is_after_virama(&kept) || is_between_emoji(&kept, rest),
            '\u{180b}'..='\u{180d}' | '\u{180f}' => {
                kept.last().is_some_and(|base| matches!(base, '\u{1820}'..='\u{18aa}'))
            }
            '\u{fe00}'..='\u{fe0f}' => kept.last().is_some_and(|base| takes_selector(*base, c, rest)),
            '\u{e0100}'..='\u{e01ef}' => kept.last().is_some_and(|base| is_ideograph(*base)),
            '\u{e0020}'..=TAGS_END => false, // those of a flag are taken with it
            '\u{115f}' => match rest {
                ['\u{1160}', last, ..] => is_final(*last),
                [next, ..] => matches!(next, '\u{1161}'..='\u{11a7}' | '\u{d7b0}'..='\u{d7c6}'),
                [] => false,
            },
            '\u{1160}' => rest.first().is_some_and(|next| is_final(*next)),
            _ => true,
        };
        if is_kept {
            kept.push(c);
        }
        if c == BLACK_FLAG {
            let tags = tags_of_flag(rest);
            kept.extend(&rest[..tags]);
            at += tags;
        }
    }
    kept
}

fn is_after_virama(before: &[char]) -> bool {
    before.last().is_some_and(|last| canonical_combining_class(*last) == VIRAMA)
}

/// Whether two letters would join if nothing were between them (RFC 5892, appendix A.1).
fn parts(before: &[char], after: &[char]) -> bool {
    let left = before.iter().rev().find(|c| !is_combining_mark(**c));
    let right = after.iter().find(|c| !is_combining_mark(**c));
    left.is_some_and(|c| is_cursive(*c) && !joins_before_only(*c)) && right.is_some_and(|c| is_cursive(*c))
}

/// Whether a character may be a letter of a script whose letters join. Letters that join to neither side are not told apart
/// but in Arabic.
const fn is_cursive(c: char) -> bool {
    matches!(c,
        '\u{620}' | '\u{622}'..='\u{64a}' | '\u{66e}'..='\u{673}' | '\u{675}'..='\u{6d3}' | '\u{6d5}' | '\u{6ee}' | '\u{6ef}' | '\u{6fa}'..='\u{6ff}' // Arabic
        | '\u{710}'..='\u{74f}' | '\u{860}'..='\u{86a}' // Syriac
        | '\u{750}'..='\u{77f}' | '\u{870}'..='\u{8c8}' // Arabic, extended
        | '\u{7ca}'..='\u{7ea}' // N'Ko
        | '\u{840}'..='\u{858}' // Mandaic
        | '\u{1807}' | '\u{1820}'..='\u{18aa}' // Mongolian
        | '\u{a840}'..='\u{a872}' // Phags-pa
        | '\u{10ac0}'..='\u{10aef}' | '\u{10b80}'..='\u{10baf}' | '\u{10d00}'..='\u{10d23}' | '\u{10f30}'..='\u{10f54}'
        | '\u{10f70}'..='\u{10f81}' | '\u{10fb0}'..='\u{10fcb}' | '\u{1e900}'..='\u{1e943}') // Manichaean to Adlam
}

/// Whether an Arabic letter joins to the letter before it and to none after it.
const fn joins_before_only(c: char) -> bool {
    matches!(c,
        '\u{622}'..='\u{625}' | '\u{627}' | '\u{629}' | '\u{62f}'..='\u{632}' | '\u{648}' | '\u{671}'..='\u{673}'
        | '\u{675}'..='\u{677}' | '\u{688}'..='\u{699}' | '\u{6c0}' | '\u{6c3}'..='\u{6cb}' | '\u{6cd}' | '\u{6cf}'
        | '\u{6d2}' | '\u{6d3}' | '\u{6d5}' | '\u{6ee}' | '\u{6ef}')
}

/// Whether an emoji is before a joiner, perhaps with a selector or tags, and one after it.
fn is_between_emoji(before: &[char], after: &[char]) -> bool {
    let is_part = |c: char| matches!(c, '\u{fe0e}' | '\u{fe0f}' | '\u{e0020}'..=TAGS_END);
    let left = before.iter().rev().find(|c| !is_part(**c));
    left.is_some_and(|c| is_pictograph(*c)) && after.first().is_some_and(|c| is_pictograph(*c))
}

/// Whether a selector chooses between forms of a character: of an emoji, of the digit of a keycap, of an ideograph.
fn takes_selector(base: char, selector: char, rest: &[char]) -> bool {
    let is_of_emoji = matches!(selector, '\u{fe0e}' | '\u{fe0f}');
    let is_key = matches!(base, '0'..='9' | '#' | '*') && rest.first() == Some(&'\u{20e3}');
    is_of_emoji && (is_pictograph(base) || is_key) || is_ideograph(base)
}

/// The number of tags that make the flag before them that of a region, the last one included (UTS #51, ED-14a).
fn tags_of_flag(rest: &[char]) -> usize {
    let is_tag = |c: &char| matches!(c, '\u{e0030}'..='\u{e0039}' | '\u{e0061}'..='\u{e007a}');
    let tags = rest.iter().take_while(|c| is_tag(c)).count();
    if tags > 0 && rest.get(tags) == Some(&TAGS_END) { tags + 1 } else { 0 }
}

/// Whether a character may be an emoji (UTS #51), alone or with a selector.
const fn is_pictograph(c: char) -> bool {
    matches!(c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2194}'..='\u{21aa}'
        | '\u{231a}'..='\u{23ff}' | '\u{24c2}' | '\u{25aa}'..='\u{25fe}' | '\u{2600}'..='\u{27bf}' | '\u{2934}' | '\u{2935}'
        | '\u{2b05}'..='\u{2b55}' | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}')
}

const fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

/// Whether a letter of Hangul ends a syllable.
const fn is_final(c: char) -> bool {
    matches!(c, '\u{11a8}'..='\u{11ff}' | '\u{d7cb}'..='\u{d7fb}')
}
