//! Trace context: connects the work of all services for one request.
//!
//! Source: W3C *Trace Context*, level 2. A request brings a `traceparent`, or gets one. The calls that it makes, the events
//! that it causes and the compensation that follows later carry the same trace.

use http::{HeaderMap, HeaderValue};
use std::{fmt, sync::Arc};

/// The header that carries a trace to the next process.
pub const TRACEPARENT: &str = "traceparent";

/// The header for data of tracing systems. Calls to other services forward it unchanged.
pub const TRACESTATE: &str = "tracestate";

/// The header that identifies a request in logs and problems.
pub const REQUEST_ID: &str = "x-request-id";

/// The longest `x-request-id` that is accepted.
const REQUEST_ID_MAX_BYTES: usize = 64;

/// The longest `tracestate` that is forwarded: the minimum that the standard requires.
const TRACESTATE_MAX_BYTES: usize = 512;

const SAMPLED: u8 = 1;
const RANDOM: u8 = 2;

/// A trace context as databases store it: trace id, span id, flags.
pub type StoredTrace = [u8; 25];

/// The id of a span, which is one piece of work in one process.
pub type SpanId = [u8; 8];

/// The position of a piece of work in a trace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The id of the trace: the same for everything that one request causes.
    pub trace_id: [u8; 16],
    /// The id of the piece of work. Work that it causes has it as parent.
    pub span_id: SpanId,
    /// Bit 0: spans are recorded. Bit 1: the trace id is random.
    pub flags: u8,
}

/// The origin of a command or an event: identifies it in log lines and in the calls that it makes.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Its own position in the trace.
    pub trace: TraceContext,
    /// The span that caused it, if known.
    pub parent: Option<SpanId>,
    /// Its `x-request-id`.
    pub request: Arc<str>,
    /// Its `tracestate`.
    pub state: Option<HeaderValue>,
}

impl TraceContext {
    /// Begins a trace.
    pub fn new(is_sampled: bool) -> Self {
        let trace_id = fastrand::u128(1..).to_be_bytes();
        Self { trace_id, span_id: span_id(), flags: RANDOM | u8::from(is_sampled) }
    }

    /// A new piece of work in the same trace.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span_id: span_id(), ..*self }
    }

    /// A piece of work that `cause` led to, in another process. Without a cause it begins a trace.
    pub fn following(cause: Option<Self>, samples: impl FnOnce() -> bool) -> Self {
        cause.map_or_else(|| Self::new(samples()), |cause| cause.child())
    }

    /// Whether spans of this trace are recorded.
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Parses a `traceparent`. None if it is invalid; the caller then begins a new trace.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (head, rest) = bytes.split_at_checked(55)?;
        let [version] = unhex(&head[..2])?;
        // Later versions may append fields, version 0 does not. Version 255 is invalid.
        let is_whole = rest.is_empty() || (version > 0 && rest[0] == b'-');
        let is_divided = [2, 35, 52].into_iter().all(|at| head[at] == b'-');
        if version == 0xFF || !is_whole || !is_divided {
            return None;
        }
        let [flags] = unhex(&head[53..])?;
        let context = Self {
            trace_id: unhex(&head[3..35])?,
            span_id: unhex(&head[36..52])?,
            flags: flags & (SAMPLED | RANDOM), // ignores flags of later versions
        };
        (context.trace_id != [0; 16] && context.span_id != [0; 8]).then_some(context)
    }

    /// The trace in the headers of an event, if there is one.
    pub fn of_headers(headers: &[(String, String)]) -> Option<Self> {
        let (_, parent) = headers.iter().find(|(name, _)| name == TRACEPARENT)?;
        Self::parse(parent)
    }

    /// The form that databases store.
    pub fn to_stored(&self) -> StoredTrace {
        let mut bytes = [0; 25];
        bytes[..16].copy_from_slice(&self.trace_id);
        bytes[16..24].copy_from_slice(&self.span_id);
        bytes[24] = self.flags;
        bytes
    }

    /// Reads the form that databases store.
    pub fn from_stored(bytes: &StoredTrace) -> Self {
        let (mut trace_id, mut span_id) = ([0; 16], [0; 8]);
        trace_id.copy_from_slice(&bytes[..16]);
        span_id.copy_from_slice(&bytes[16..24]);
        Self { trace_id, span_id, flags: bytes[24] }
    }

    /// The 55 characters of a `traceparent`.
    fn to_text(self) -> [u8; 55] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        hex(&self.trace_id, &mut text[3..35]);
        hex(&self.span_id, &mut text[36..52]);
        hex(&[self.flags], &mut text[53..]);
        text
    }

    /// The id of the trace, for log lines.
    pub fn id(&self) -> TraceId {
        TraceId(self.trace_id)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_text()).unwrap_or_default())
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The id of a trace, displayed in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 32];
        hex(&self.0, &mut text);
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl Origin {
    /// The origin of work that begins here.
    pub fn new(is_sampled: bool) -> Self {
        Self { trace: TraceContext::new(is_sampled), parent: None, request: new_request_id(), state: None }
    }

    /// Sets the headers of an outgoing request; replaces existing ones.
    pub fn write(&self, head: &mut HeaderMap) {
        if let Ok(request) = self.request.parse() {
            head.insert(REQUEST_ID, request);
        }
        if let Ok(parent) = HeaderValue::from_bytes(&self.trace.to_text()) {
            head.insert(TRACEPARENT, parent);
        }
        match &self.state {
            Some(state) => drop(head.insert(TRACESTATE, state.clone())),
            None => drop(head.remove(TRACESTATE)),
        }
    }

    /// The origin of work that this work causes.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { trace: self.trace.child(), parent: Some(self.trace.span_id), ..self.clone() }
    }

    /// The origin of work that continues a stored trace, possibly much later. Without a stored trace it begins one.
    pub fn following(stored: Option<&StoredTrace>, samples: impl FnOnce() -> bool) -> Self {
        let cause = stored.map(TraceContext::from_stored);
        let trace = TraceContext::following(cause, samples);
        Self { trace, parent: cause.map(|cause| cause.span_id), ..Self::new(false) }
    }

    /// Reads the head of a request. Missing and invalid values are replaced by new ones.
    /// `samples` decides whether a trace that begins here is recorded.
    pub fn of_head(head: &HeaderMap, samples: impl FnOnce() -> bool) -> Self {
        let mut parents = head.get_all(TRACEPARENT).iter();
        let parent = match (parents.next(), parents.next()) {
            (Some(only), None) => only.to_str().ok(),
            _ => None, // none, or several that contradict each other
        };
        let mut states = head.get_all(TRACESTATE).iter();
        let state = states.next();
        let state = if states.next().is_none() { state } else { None };
        let request = head.get(REQUEST_ID).and_then(|id| id.to_str().ok());
        Self::of_parts(request, parent, state.cloned(), samples)
    }

    /// The same for the values of `x-request-id`, `traceparent` and `tracestate`, wherever they came from.
    pub fn of_parts(
        request: Option<&str>,
        parent: Option<&str>,
        state: Option<HeaderValue>,
        samples: impl FnOnce() -> bool,
    ) -> Self {
        let request = request.filter(is_sane).map_or_else(new_request_id, Arc::from);
        let Some(given) = parent.and_then(TraceContext::parse) else {
            return Self { trace: TraceContext::new(samples()), parent: None, request, state: None };
        };
        let state = state.filter(|state| (1..=TRACESTATE_MAX_BYTES).contains(&state.len()));
        Self { trace: given.child(), parent: Some(given.span_id), request, state }
    }
}

/// The id in the head of a request, if it is safe to log.
pub fn given_request_id(head: &HeaderMap) -> Option<&str> {
    head.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(is_sane)
}

/// Whether the id of a request is safe to log.
fn is_sane(id: &&str) -> bool {
    (1..=REQUEST_ID_MAX_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A random id. It only identifies log lines, so it needs no cryptographic randomness.
fn new_request_id() -> Arc<str> {
    let mut text = [0; 32];
    hex(&fastrand::u128(..).to_be_bytes(), &mut text);
    std::str::from_utf8(&text).unwrap_or_default().into()
}

fn span_id() -> SpanId {
    fastrand::u64(1..).to_be_bytes()
}

fn hex(bytes: &[u8], text: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Parses hexadecimal digits, in lower case only as the standard requires.
fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn head(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).fold(
            HeaderMap::new(),
            |mut head, (name, value): (http::HeaderName, HeaderValue)| {
                head.append(name, value);
                head
            },
        )
    }

    #[test]
    fn what_the_standard_has_is_read_and_written_as_it_is() {
        let context = TraceContext::parse(GIVEN).expect("a traceparent");
        assert_eq!((context.to_string(), context.is_sampled()), (GIVEN.to_owned(), true));
        assert_eq!(context.id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(TraceContext::from_stored(&context.to_stored()), context);
        let later = GIVEN.replacen("00", "cc", 1) + "-what-will-be";
        assert_eq!(TraceContext::parse(&later), Some(context), "a later version begins the same");
        assert!(!TraceContext::parse(&GIVEN.replace("-01", "-fe")).expect("a traceparent").is_sampled());
    }

    #[test]
    fn what_is_no_traceparent_is_refused() {
        let zeros = |count| "0".repeat(count);
        for nonsense in [
            String::new(),
            "00".into(),
            GIVEN[..54].into(),
            format!("{GIVEN}-x"),
            format!("{GIVEN} "),
            GIVEN.to_uppercase(),
            GIVEN.replacen("00", "ff", 1),
            GIVEN.replacen("00", "0x", 1),
            GIVEN.replace('-', "_"),
            GIVEN.replace("0af7651916cd43dd8448eb211c80319c", &zeros(32)),
            GIVEN.replace("b7ad6b7169203331", &zeros(16)),
            GIVEN.replacen("00", "cc", 1) + "more",
            format!("00-{}é-b7ad6b7169203331-01", zeros(30)),
        ] {
            assert_eq!(TraceContext::parse(&nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_request_goes_on_with_its_trace_under_a_span_of_its_own() {
        let given = [(TRACEPARENT, GIVEN), (TRACESTATE, "vendor=1"), (REQUEST_ID, "r-7")];
        let origin = Origin::of_head(&head(&given), || panic!("the trace began elsewhere"));
        let parent = TraceContext::parse(GIVEN).expect("a traceparent");
        assert_eq!((origin.trace.trace_id, origin.trace.flags), (parent.trace_id, 1));
        assert_eq!(origin.parent, Some(parent.span_id));
        assert_ne!(origin.trace.span_id, parent.span_id);
        assert_eq!((&*origin.request, origin.state), ("r-7", Some(HeaderValue::from_static("vendor=1"))));
    }

    #[test]
    fn what_cannot_be_gone_on_with_is_replaced() {
        let long = "r".repeat(REQUEST_ID_MAX_BYTES + 1);
        for given in [
            vec![],
            vec![(TRACEPARENT, "nonsense"), (TRACESTATE, "vendor=1"), (REQUEST_ID, "")],
            vec![(TRACEPARENT, GIVEN), (TRACEPARENT, GIVEN), (REQUEST_ID, "two words")],
            vec![(REQUEST_ID, &long)],
        ] {
            for is_sampled in [false, true] {
                let origin = Origin::of_head(&head(&given), || is_sampled);
                assert_eq!((origin.parent, &origin.state), (None, &None));
                assert_eq!(origin.trace.is_sampled(), is_sampled);
                assert!(TraceContext::parse(&origin.trace.to_string()).is_some(), "{:?}", origin.trace);
                assert_eq!(origin.request.len(), 32);
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_that_comes_in_panics(text in ".{0,60}", other in "[0-9a-f-]{50,60}") {
            for text in [text, other] {
                if let Some(context) = TraceContext::parse(&text) {
                    prop_assert_eq!(TraceContext::parse(&context.to_string()), Some(context));
                }
            }
        }
    }
}
