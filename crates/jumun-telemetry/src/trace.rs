//! Trace context: by what a piece of work is found again in every service that had a part in it.
//!
//! Source: W3C *Trace Context*, level 2. A request brings a `traceparent` or is given one; what it asks of neighbours and
//! the events that it causes carry it on, and so does what is undone for it later.

use http::{HeaderMap, HeaderValue};
use std::{fmt, sync::Arc};

/// The header that carries a trace from one process to the next.
pub const TRACEPARENT: &str = "traceparent";

/// The header in which tracing systems carry what is theirs; it is passed on to neighbours as it came.
pub const TRACESTATE: &str = "tracestate";

/// The header that names a request in logs and problems.
pub const REQUEST_ID: &str = "x-request-id";

/// The longest `x-request-id` that is taken over.
const REQUEST_ID_MAX_BYTES: usize = 64;

/// The longest `tracestate` that is passed on: what the standard asks for at least.
const TRACESTATE_MAX_BYTES: usize = 512;

const SAMPLED: u8 = 1;
const RANDOM: u8 = 2;

/// A trace context as databases store it: the id of the trace, of the span, and the flags.
pub type StoredTrace = [u8; 25];

/// The id of a span: of one piece of work in one process.
pub type SpanId = [u8; 8];

/// Where a piece of work stands in a trace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The same for everything that one request caused.
    pub trace_id: [u8; 16],
    /// The piece of work: what it causes names it as its parent.
    pub span_id: SpanId,
    /// Bit 0: its spans are recorded. Bit 1: the id of the trace is random.
    pub flags: u8,
}

/// Where a command, or an event, comes from: what its log lines name it by, and what it passes on.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Its own place in the trace.
    pub trace: TraceContext,
    /// The span that caused it, where one is known.
    pub parent: Option<SpanId>,
    /// Its `x-request-id`.
    pub request: Arc<str>,
    /// Its `tracestate`.
    pub state: Option<HeaderValue>,
}

impl TraceContext {
    /// The beginning of a trace.
    pub fn new(is_sampled: bool) -> Self {
        let trace_id = fastrand::u128(1..).to_be_bytes();
        Self { trace_id, span_id: span_id(), flags: RANDOM | u8::from(is_sampled) }
    }

    /// The same trace, another piece of work.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span_id: span_id(), ..*self }
    }

    /// What something causes in another process; the beginning of a trace where that one has none.
    pub fn following(cause: Option<Self>, samples: impl FnOnce() -> bool) -> Self {
        cause.map_or_else(|| Self::new(samples()), |cause| cause.child())
    }

    /// Whether spans of this trace are recorded.
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// A `traceparent`. None for what is not one: then a new trace begins.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (head, rest) = bytes.split_at_checked(55)?;
        let [version] = unhex(&head[..2])?;
        // Later versions may say more behind it; this one does not, and 255 is none.
        let is_whole = rest.is_empty() || (version > 0 && rest[0] == b'-');
        let is_divided = [2, 35, 52].into_iter().all(|at| head[at] == b'-');
        if version == 0xFF || !is_whole || !is_divided {
            return None;
        }
        let [flags] = unhex(&head[53..])?;
        let context = Self {
            trace_id: unhex(&head[3..35])?,
            span_id: unhex(&head[36..52])?,
            flags: flags & (SAMPLED | RANDOM), // what else a later version means by it is not known here
        };
        (context.trace_id != [0; 16] && context.span_id != [0; 8]).then_some(context)
    }

    /// In which an event with these headers happened, if they say so.
    pub fn of_headers(headers: &[(String, String)]) -> Option<Self> {
        let (_, parent) = headers.iter().find(|(name, _)| name == TRACEPARENT)?;
        Self::parse(parent)
    }

    /// As it is stored.
    pub fn to_stored(&self) -> StoredTrace {
        let mut bytes = [0; 25];
        bytes[..16].copy_from_slice(&self.trace_id);
        bytes[16..24].copy_from_slice(&self.span_id);
        bytes[24] = self.flags;
        bytes
    }

    /// Of what was stored.
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

/// The id of a trace, as it is shown.
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
    /// Something that begins here.
    pub fn new(is_sampled: bool) -> Self {
        Self { trace: TraceContext::new(is_sampled), parent: None, request: new_request_id(), state: None }
    }

    /// Writes it into the head of a request that is sent on, in place of what may be there.
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

    /// What is caused by this.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { trace: self.trace.child(), parent: Some(self.trace.span_id), ..self.clone() }
    }

    /// What follows, perhaps long after, from something in this trace; from nothing known where there is none.
    pub fn following(stored: Option<&StoredTrace>, samples: impl FnOnce() -> bool) -> Self {
        let cause = stored.map(TraceContext::from_stored);
        let trace = TraceContext::following(cause, samples);
        Self { trace, parent: cause.map(|cause| cause.span_id), ..Self::new(false) }
    }

    /// What the head of a request says; what it does not say, or not as the standards have it, is made anew.
    /// `samples` decides whether a trace that begins here is recorded.
    pub fn of_head(head: &HeaderMap, samples: impl FnOnce() -> bool) -> Self {
        let request = given_request_id(head).map_or_else(new_request_id, Arc::from);
        let mut parents = head.get_all(TRACEPARENT).iter();
        let given = match (parents.next(), parents.next()) {
            (Some(only), None) => only.to_str().ok().and_then(TraceContext::parse),
            _ => None, // two of them contradict each other
        };
        let Some(given) = given else {
            return Self { trace: TraceContext::new(samples()), parent: None, request, state: None };
        };
        let mut states = head.get_all(TRACESTATE).iter();
        let state = states.next().filter(|state| (1..=TRACESTATE_MAX_BYTES).contains(&state.len()));
        let state = if states.next().is_none() { state.cloned() } else { None };
        Self { trace: given.child(), parent: Some(given.span_id), request, state }
    }
}

/// The id that a request came with, if it can stand in a log line.
pub fn given_request_id(head: &HeaderMap) -> Option<&str> {
    let is_sane =
        |id: &&str| (1..=REQUEST_ID_MAX_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    head.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(is_sane)
}

/// A random one: it names lines of a log and protects nothing, so it need not come from the system's own randomness.
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

/// Lower case only, as the standard has it.
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
        let origin = Origin::of_head(&head(&given), || panic!("the trace has begun elsewhere"));
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
