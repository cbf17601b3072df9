//! What a service tells its callers of itself, in a header of each answer to an ask: `jumun-capacity: places=30, queue=12,
//! together=64`. A dictionary of integers (RFC 9651, section 3.2); members that a release does not know are ignored.

use http::{HeaderMap, HeaderValue};
use jumun_guard::Capacity;
use jumun_http::CAPACITY;
use sfv::{BareItem, Dictionary, Item, ListEntry, Parser};

/// What a service has told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Its places and its queue.
    pub(crate) capacity: Option<Capacity>,
    /// How many asks it takes in one request. `None`: one.
    pub(crate) together: Option<u32>,
}

/// The value of the header.
pub(crate) fn to_header(Capacity { places, queue }: Capacity, together: u32) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("places={places}, queue={queue}, together={together}")).ok()
}

/// Reads the header. What is missing or of no use was not told; a field that cannot be parsed is ignored as a whole (RFC
/// 9651, section 4.2).
pub(crate) fn of_head(head: &HeaderMap) -> Told {
    let lines: Vec<_> = head.get_all(CAPACITY).iter().map(HeaderValue::as_bytes).collect();
    if lines.is_empty() {
        return Told::default();
    }
    let Ok(told) = Parser::new(&lines.join(&b", "[..])).parse::<Dictionary>() else { return Told::default() };
    let number = |name: &str| match told.get(name)? {
        ListEntry::Item(Item { bare_item: BareItem::Integer(number), .. }) => u32::try_from(i64::from(*number)).ok(),
        _ => None,
    };
    let places = number("places").filter(|places| *places > 0);
    let capacity = places.zip(number("queue")).map(|(places, queue)| Capacity { places, queue });
    Told { capacity, together: number("together").filter(|together| *together > 1) }
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
        of_head(&head).capacity.map(|Capacity { places, queue }| (places, queue))
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

    #[test]
    fn one_ask_a_request_is_what_is_not_told() {
        let together = |line: &'static str| {
            let head = HeaderMap::from_iter([(CAPACITY.parse().expect("a name"), HeaderValue::from_static(line))]);
            of_head(&head).together
        };
        assert_eq!(together("places=30, queue=12, together=64"), Some(64));
        assert_eq!(together("together=2"), Some(2), "also without places");
        for line in ["places=30, queue=12", "together=1", "together=0", "together", "together=2.0", "together=2,"] {
            assert_eq!(together(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(places in 1..=u32::MAX, queue in any::<u32>(), together in 2..=u32::MAX) {
            let value = to_header(Capacity { places, queue }, together).expect("a value");
            let head = HeaderMap::from_iter([(CAPACITY.parse().expect("a name"), value)]);
            prop_assert_eq!(of_head(&head), Told { capacity: Some(Capacity { places, queue }), together: Some(together) });
        }

        #[test]
        fn nothing_makes_it_panic(text in "[ -~]{0,40}") {
            let _ = read(&[&text]);
        }
    }
}
