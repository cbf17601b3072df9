//! Bodies: a request body is buffered, a response body is buffered or streamed from an upstream.

use crate::{limits::BODIES_MAX_BYTES, upstream::UpstreamBody};
use axum::BoxError;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Frame, SizeHint};
use jumun_http::{Code, Problem, RequestBody, limits::BODY_MAX_BYTES};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

/// The buffered body of a request. It counts towards the memory of all buffered bodies.
pub(crate) struct BufferedBody {
    bytes: Bytes,
    counted: usize,
    total: Arc<AtomicUsize>,
}

impl BufferedBody {
    /// Reads a whole body: the gateway may have to send it twice. `total` counts the bytes of all buffered bodies.
    pub(crate) async fn read(
        mut body: RequestBody,
        total: &Arc<AtomicUsize>,
        limit: Duration,
    ) -> Result<Self, Problem> {
        let mut buffered = Self { bytes: Bytes::new(), counted: 0, total: total.clone() };
        if body.is_end_stream() {
            return Ok(buffered);
        }
        let too_large = || Problem::new(Code::TooLarge, format!("A body has at most {BODY_MAX_BYTES} bytes."));
        if body.size_hint().lower() > BODY_MAX_BYTES as u64 {
            return Err(too_large());
        }
        let reading = async {
            let mut more = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_| {
                    Problem::new(Code::Malformed, "The body ended early, or its chunks cannot be read.")
                })?;
                let Ok(part) = frame.into_data() else { continue };
                if buffered.counted + part.len() > BODY_MAX_BYTES {
                    return Err(too_large());
                }
                if !buffered.count(part.len()) {
                    let why = "The gateway has no memory left for request bodies. Nothing was done; try again later.";
                    return Err(Problem::new(Code::NotDone, why));
                }
                if buffered.bytes.is_empty() {
                    buffered.bytes = part; // most bodies arrive in one part
                } else {
                    if more.is_empty() {
                        more.extend_from_slice(&buffered.bytes);
                    }
                    more.extend_from_slice(&part);
                }
            }
            if !more.is_empty() {
                buffered.bytes = more.freeze();
            }
            Ok(buffered)
        };
        let too_slow = || Problem::new(Code::Timeout, format!("The body did not arrive within {limit:?}."));
        tokio::time::timeout(limit, reading).await.unwrap_or_else(|_| Err(too_slow()))
    }

    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// Counts further bytes. False if they exceed the memory for all bodies.
    fn count(&mut self, bytes: usize) -> bool {
        self.counted += bytes;
        self.total.fetch_add(bytes, Ordering::Relaxed) + bytes <= BODIES_MAX_BYTES
    }
}

impl Drop for BufferedBody {
    fn drop(&mut self) {
        self.total.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

/// The body of a response.
pub(crate) enum Body {
    /// A response of the gateway itself.
    Whole(Full<Bytes>),
    /// The response of a service, streamed.
    Forwarded(UpstreamBody),
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Whole(Full::from(text))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::Forwarded(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Forwarded(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Forwarded(body) => body.size_hint(),
        }
    }
}
