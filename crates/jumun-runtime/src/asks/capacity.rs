//! What a service tells its callers of its places, in a header of each answer to an ask: `jumun-capacity: places=30,
//! queue=12`. A dictionary of integers (RFC 9651, section 3.2); members that a release does not know are ignored.

use http::{HeaderMap, HeaderValue};
use jumun_guard::Capacity;
use jumun_http::CAPACITY;
use sfv::{BareItem, Dictionary, Item, ListEntry, Parser};

/// The value of the header.
pub(crate) fn to_header(Capacity { places, queue }: Capacity) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("places={places}, queue={queue}")).ok()
}

/// Reads the header. `None`: there is none, or it says nothing of use; a field that cannot be parsed is ignored as a whole
/// (RFC 9651, section 4.2).
pub(crate) fn of_head(head: &HeaderMap) -> Option<Capacity> {
    let lines: Vec<_> = head.get_all(CAPACITY).iter().map(HeaderValue::as_bytes).collect();
    if lines.is_empty() {
        return None;
    }
    let told: Dictionary = Parser::new(&lines.join(&b", "[..])).parse().ok()?;
    let number = |name: &str| match told.get(name)? {
        ListEntry::Item(Item { bare_item: BareItem::Integer(number), .. }) => u32::try_from(i64::from(*number)).ok(),
        _ => None,
    };
    let (places, queue) = (number("places").filter(|places| *places > 0)?, number("queue")?);
    Some(Capacity { places, queue })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(lines: &[&str]) -> Option<(u32, u32)> {
        let mut head = HeaderMap::new();
        for line in lines {
            head.append(CAPACITY, line.parse().expect("a value"));
        }
        of_head(&head).map(|Capacity { places, queue }| (places, queue))
    }

    #[test]
    fn it_is_read_as_a_dictionary() {
        for (lines, expected) in [
            (&["places=30, queue=12"][..], Some((30, 12))),
            (&["queue=0,places=1"], Some((1, 0))),
            (&["places=30", "queue=12"], Some((30, 12))),
            (&["places=30;since=5, queue=12, mood=\"well, so\", others=(1 2)"], Some((30, 12))),
            (&["places=1, queue=1, places=9"], Some((9, 1))),
            (&[], None),
            (&[""], None),
            (&["places=30"], None),
            (&["places=0, queue=0"], None),
            (&["places=-1, queue=0"], None),
            (&["places=3.0, queue=0"], None),
            (&["places=(30), queue=0"], None),
            (&["places=30, queue"], None),
            (&["places=30, queue=4294967296"], None),
            (&["places=30, queue=1,"], None),
            (&["places 30"], None),
        ] {
            assert_eq!(read(lines), expected, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(places in 1..=u32::MAX, queue in any::<u32>()) {
            let head = HeaderMap::from_iter([(CAPACITY.parse().expect("a name"), to_header(Capacity { places, queue }).expect("a value"))]);
            prop_assert_eq!(of_head(&head), Some(Capacity { places, queue }));
        }

        #[test]
        fn nothing_makes_it_panic(text in "[ -~]{0,40}") {
            let _ = read(&[&text]);
        }
    }
}
