//! What an answer is made of: the media type that the client wants most (RFC 9110, section 12.5.1).

use crate::{
    fields::{MediaType, is_utf8, list, weight},
    problem::{Code, Problem},
};
use http::{HeaderMap, header};

/// The media types in which a path can answer, by preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// Resources: HAL, or the same body as plain JSON.
    Hal,
    /// Plain JSON.
    Json,
    /// Metrics.
    Metrics,
    /// Server-sent events.
    Events,
    /// A page for browsers.
    Page,
    /// A script of such a page.
    Script,
    /// A style sheet of such a page.
    Style,
    /// No content, or the choice of another server.
    Nothing,
}

/// The media type of HAL.
pub(crate) const HAL: &str = "application/hal+json";

/// The media type of pages.
pub(crate) const HTML: &str = "text/html; charset=utf-8";

/// The media type of plain JSON.
pub(crate) const JSON: &str = "application/json";

impl Offer {
    const fn media_types(self) -> &'static [&'static str] {
        match self {
            Self::Hal => &[HAL, JSON],
            Self::Json => &[JSON],
            Self::Metrics => &[jumun_telemetry::CONTENT_TYPE],
            Self::Events => &["text/event-stream"],
            Self::Page => &[HTML],
            Self::Script => &["text/javascript; charset=utf-8"],
            Self::Style => &["text/css; charset=utf-8"],
            Self::Nothing => &[""],
        }
    }

    /// The media type that a client wants most of these. A problem if it wants none of them, or nothing but what is
    /// compressed. To be asked before anything is done.
    pub fn choose(self, head: &HeaderMap) -> Result<&'static str, Problem> {
        let offered = self.media_types();
        if self == Self::Nothing {
            return Ok(offered[0]);
        }
        if excludes_identity(head) {
            return Err(Problem::new(
                Code::NotAcceptable,
                "Answers are not compressed, which Accept-Encoding excludes.",
            ));
        }
        // Most clients accept anything, or name one.
        let Some(first) = head.get(header::ACCEPT) else { return Ok(offered[0]) };
        let is_only = head.get_all(header::ACCEPT).iter().nth(1).is_none();
        if is_only && first == "*/*" {
            return Ok(offered[0]);
        }
        if let Some(named) = offered.iter().find(|offer| is_only && first == **offer) {
            return Ok(named);
        }
        preferred(head, offered).ok_or_else(|| {
            let why = format!("The answer is {}, and Accept excludes that.", offered.join(" or "));
            Problem::new(Code::NotAcceptable, why)
        })
    }
}

/// The offer of the highest weight; among equals the one that is named most exactly, then the first.
fn preferred(head: &HeaderMap, offered: &'static [&'static str]) -> Option<&'static str> {
    // No element at all is the same as no header.
    let mut best = list(head, &header::ACCEPT).next().is_none().then_some(((0, 0), offered[0]));
    for offer in offered {
        // The most exact range decides.
        let exact = list(head, &header::ACCEPT).filter_map(|range| match_range(range?, offer)).max();
        let Some((exactness, weight)) = exact.filter(|(_, weight)| *weight > 0) else { continue };
        if best.is_none_or(|(known, _)| (weight, exactness) > known) {
            best = Some(((weight, exactness), offer));
        }
    }
    best.map(|(_, offer)| offer)
}

/// How exactly a range names a media type, and the weight of the range. None if it does not cover the type, or is none.
fn match_range(range: &str, offer: &str) -> Option<(u16, u16)> {
    let (range, offer) = (MediaType::parse(range)?, MediaType::parse(offer)?);
    let covers = |range: &str, name: &str| range == "*" || range.eq_ignore_ascii_case(name);
    let is_range = covers(range.kind, offer.kind) && covers(range.subtype, offer.subtype);
    if !is_range || (range.kind == "*" && range.subtype != "*") {
        return None;
    }
    let mut exactness = u16::from(range.kind != "*") + u16::from(range.subtype != "*");
    let mut its_weight = 1_000;
    for (name, value) in range.parameters().flatten() {
        if name.eq_ignore_ascii_case("q") {
            its_weight = weight(&value)?;
            break; // what follows are parameters of the weight
        }
        // JSON is UTF-8 and has no parameter that says so (RFC 8259, section 8.1).
        let is_utf8 = name.eq_ignore_ascii_case("charset") && is_utf8(&value);
        let mut offers = offer.parameters().flatten();
        if !is_utf8 && !offers.any(|known| known.0.eq_ignore_ascii_case(name) && known.1.eq_ignore_ascii_case(&value)) {
            return None;
        }
        exactness += 1;
    }
    Some((exactness, its_weight))
}

/// Whether a client refuses what is not compressed (RFC 9110, section 12.5.3): `identity;q=0`, or `*;q=0` without a word on
/// identity.
fn excludes_identity(head: &HeaderMap) -> bool {
    // Only a weight can exclude anything.
    let has_weight = head.get_all(header::ACCEPT_ENCODING).iter().any(|line| line.as_bytes().contains(&b'='));
    let weight_of = |coding: &str| {
        list(head, &header::ACCEPT_ENCODING).flatten().find_map(|element| {
            let (name, parameter) = element.split_once(';').unwrap_or((element, "q=1"));
            let (q, value) = parameter.split_once('=')?;
            let is_it = name.trim().eq_ignore_ascii_case(coding) && q.trim().eq_ignore_ascii_case("q");
            if is_it { weight(value.trim()) } else { None }
        })
    };
    has_weight && weight_of("identity").or_else(|| weight_of("*")) == Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(offer: Offer, lines: &[&str]) -> Option<&'static str> {
        let mut head = HeaderMap::new();
        for line in lines {
            head.append(header::ACCEPT, line.parse().expect("a value"));
        }
        offer.choose(&head).map_err(|problem| assert_eq!(problem.code, Code::NotAcceptable)).ok()
    }

    #[test]
    fn the_type_is_one_that_the_client_wants() {
        for (lines, expected) in [
            (&[][..], Some(HAL)),
            (&["*/*"], Some(HAL)),
            (&["application/hal+json"], Some(HAL)),
            (&["application/json"], Some(JSON)),
            (&["Application/JSON"], Some(JSON)),
            (&["application/json;q=0.9"], Some(JSON)),
            (&["application/json ; q=0.9"], Some(JSON)),
            (&["application/json; charset=utf-8"], Some(JSON)),
            (&["application/json;charset=\"UTF-8\""], Some(JSON)),
            (&["application/json;charset=utf8"], Some(JSON)),
            (&["application/json, text/plain"], Some(JSON)),
            (&["text/plain", "application/json"], Some(JSON)),
            (&["application/json, text/plain, */*"], Some(JSON)),
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], Some(HAL)),
            (&["text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"], Some(HAL)),
            (&["application/*"], Some(HAL)),
            (&["application/*, application/hal+json;q=0"], Some(JSON)),
            (&["application/json;q=0.5, application/hal+json;q=0.6"], Some(HAL)),
            (&["application/hal+json, application/json"], Some(HAL)),
            (&["application/hal+json;q=0, */*"], Some(JSON)),
            (&["application/json;q=0, application/hal+json;q=0, */*"], None),
            (&["*/*;q=0"], None),
            (&["text/html"], None),
            (&["application/xml, text/*"], None),
            (&["application/json;q=0"], None),
            (&["application/json;version=2"], None),
            (&["application/json; charset=utf-16"], None),
            (&["*/json"], None),
            (&["json"], None),
            (&["application/json;q=2"], None),
            (&["application/problem+json"], None),
            (&[""], Some(HAL)),
            (&[" , "], Some(HAL)),
            (&["a/b;x=\",application/json,\""], None),
        ] {
            assert_eq!(choose(Offer::Hal, lines), expected, "{lines:?}");
        }
        assert_eq!(choose(Offer::Json, &["application/hal+json"]), None);
        assert_eq!(choose(Offer::Nothing, &["text/html"]), Some(""));
        let metrics = Some(jumun_telemetry::CONTENT_TYPE);
        let scraper = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        for lines in [scraper, "text/plain", "text/plain;version=0.0.4", "*/*"] {
            assert_eq!(choose(Offer::Metrics, &[lines]), metrics, "{lines}");
        }
        assert_eq!(choose(Offer::Metrics, &["application/json"]), None);
    }

    #[test]
    fn what_is_not_compressed_can_be_excluded() {
        let chosen = |line: &str| {
            let mut head = HeaderMap::new();
            head.insert(header::ACCEPT_ENCODING, line.parse().expect("a value"));
            Offer::Hal.choose(&head).is_ok()
        };
        for line in ["gzip, deflate, br", "", "gzip;q=1.0, *;q=0.5", "identity;q=0.5, *;q=0", "gzip;q=0", "identity"] {
            assert!(chosen(line), "{line}");
        }
        for line in ["identity;q=0", "gzip, identity; q=0.0", "*;q=0", "br, *;q=0.000"] {
            assert!(!chosen(line), "{line}");
        }
    }
}
