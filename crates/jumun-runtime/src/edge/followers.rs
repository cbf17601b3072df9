//! `GET /events`: the events that this service publishes, as a stream of server-sent events (WHATWG HTML, section 9.2), for
//! programs in any language.
//!
//! A follower reads the journal at its own pace: nothing is buffered for it, so a slow one costs nobody else anything. Each
//! message has the position behind it as its id; a client that sends it back as `Last-Event-ID` continues there. So a client
//! that commits its effects together with that id has each effect exactly once.

use super::{
    request::{invalid, single},
    shared::Shared,
};
use crate::{
    core::Core,
    limits::{FOLLOWER_READ_ROWS, FOLLOWERS_MAX, HEARTBEAT_EVERY, RECONNECT_MS},
};
use axum::{
    body::Body,
    http::{HeaderValue, header, request::Parts},
    response::Response,
};
use futures_util::stream;
use jumun_database::{JournalRecord, ReadError};
use jumun_http::{Code, Problem};
use std::{collections::BTreeSet, convert::Infallible, fmt, fmt::Write, str::FromStr};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Where they are.
pub(super) const PATH: &str = "/events";

const LAST_EVENT_ID: &str = "last-event-id";

/// What a client has read of a journal: its epoch, and the last number of each partition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Position {
    epoch: Uuid,
    read: Vec<u64>,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.epoch.simple())?;
        self.read.iter().try_for_each(|number| write!(f, "/{number}"))
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('/');
        let epoch = parts.next().and_then(|epoch| Uuid::try_parse(epoch).ok()).ok_or(())?;
        let read = parts.map(|number| number.parse().map_err(drop)).collect::<Result<_, ()>>()?;
        Ok(Self { epoch, read })
    }
}

/// What a client requests: the query of the URL.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    /// The types of events; none: all.
    types: BTreeSet<String>,
    /// Where to begin without `Last-Event-ID`: `start`, `end`, or such an id.
    from: Option<String>,
}

impl Wanted {
    fn parse(query: &str, published: &BTreeSet<&'static str>) -> Result<Self, Problem> {
        let mut wanted = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "type" => {
                    for name in value.split(',') {
                        if !published.contains(name) {
                            let all: Vec<_> = published.iter().copied().collect();
                            return Err(invalid("type", format!("this service publishes {}", all.join(", "))));
                        }
                        wanted.types.insert(name.to_owned());
                    }
                }
                "from" if wanted.from.is_some() => return Err(invalid("from", "occurs twice")),
                "from" => wanted.from = Some(value.into_owned()),
                _ => {} // ignored, as unknown fields of a body are
            }
        }
        Ok(wanted)
    }
}

/// One client and how far it has read.
pub(super) struct Follower {
    core: Core,
    position: Position,
    types: BTreeSet<String>,
    new_events: watch::Receiver<u64>,
    stop: CancellationToken,
    has_begun: bool,
    _place: OwnedSemaphorePermit,
}

/// Finds out where a client continues.
pub(super) async fn follow(shared: &Shared, head: &Parts) -> Result<Follower, Problem> {
    let core = shared.engine.core();
    let published = core.model().publishes.iter().map(|event| event.name).collect();
    let wanted = Wanted::parse(head.uri.query().unwrap_or_default(), &published)?;
    let place = shared.followers.clone().try_acquire_owned().map_err(|_| {
        Problem::new(Code::Overloaded, format!("{FOLLOWERS_MAX} clients follow the events of this service already."))
    })?;
    let new_events = core.new_events();
    // A client that reconnects sends the header; its URL is still that of the first request.
    let position = match single(&head.headers, LAST_EVENT_ID)? {
        Some(id) => position(core, "Last-Event-ID", id.to_str().unwrap_or_default()).await?,
        None => match wanted.from.as_deref() {
            None | Some("start") => start(core),
            Some("end") => end(core).await?,
            Some(id) => position(core, "from", id).await?,
        },
    };
    let (core, stop, types) = (core.clone(), shared.stop.clone(), wanted.types);
    Ok(Follower { core, position, types, new_events, stop, has_begun: false, _place: place })
}

fn start(core: &Core) -> Position {
    let identity = core.database().identity();
    Position { epoch: identity.epoch, read: vec![0; identity.partitions.into()] }
}

async fn end(core: &Core) -> Result<Position, Problem> {
    let mut position = start(core);
    for (partition, read) in (0..).zip(&mut position.read) {
        *read = last_number(core, partition).await.map_err(|error| unreadable(&error))?;
    }
    Ok(position)
}

/// The last number of a partition. Numbers have no gaps, so it is found by bisection.
async fn last_number(core: &Core, partition: u16) -> Result<u64, ReadError> {
    let (mut known, mut beyond) = (0, 1);
    while has(core, partition, beyond).await? {
        (known, beyond) = (beyond, beyond * 2);
    }
    while known + 1 < beyond {
        let middle = known.midpoint(beyond);
        if has(core, partition, middle).await? {
            known = middle;
        } else {
            beyond = middle;
        }
    }
    Ok(known)
}

/// Whether the journal has this number. Before the first one there is nothing to have.
async fn has(core: &Core, partition: u16, number: u64) -> Result<bool, ReadError> {
    let Some(before) = number.checked_sub(1) else { return Ok(true) };
    Ok(!core.database().journal(partition, before, 1).await?.is_empty())
}

/// The position of an id, if it is one of this journal.
async fn position(core: &Core, sent_as: &str, id: &str) -> Result<Position, Problem> {
    let position: Position = id.parse().map_err(|()| {
        Problem::new(
            Code::Malformed,
            format!("{sent_as} is not the id of an event of this service. Leave it out to read all."),
        )
    })?;
    let start = start(core);
    let mut is_ours = position.epoch == start.epoch && position.read.len() == start.read.len();
    for (partition, read) in (0..).zip(&position.read).take(start.read.len()) {
        is_ours = is_ours && has(core, partition, *read).await.map_err(|error| unreadable(&error))?;
    }
    if is_ours {
        return Ok(position);
    }
    Err(Problem::new(
        Code::PositionUnknown,
        format!(
            "The database of this service was replaced or restored since this {sent_as}: what was read is not what is here. \
             Begin anew without it, with an empty state."
        ),
    ))
}

fn unreadable(error: &ReadError) -> Problem {
    Problem::new(Code::NotDone, format!("{error}. Try again later."))
}

/// The response whose body are the events.
pub(super) fn stream(response: Response, follower: Follower) -> Response {
    let chunks = stream::unfold(follower, |mut follower| async {
        let chunk = follower.next().await?;
        Some((Ok::<_, Infallible>(chunk), follower))
    });
    let mut response = response.map(|_| Body::from_stream(chunks));
    let head = response.headers_mut();
    head.remove(header::CONTENT_LENGTH);
    head.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Follower {
    /// The next part of the stream, as soon as there is one. `None`: the service stops, or cannot read its journal.
    async fn next(&mut self) -> Option<String> {
        if !std::mem::replace(&mut self.has_begun, true) {
            return Some(format!("retry: {RECONNECT_MS}\n\n")); // so that the client sees at once that it is connected
        }
        loop {
            self.new_events.mark_unchanged();
            let (chunk, is_at_end) = self.read().await.inspect_err(report).ok()?;
            if !chunk.is_empty() {
                return Some(chunk);
            }
            if !is_at_end {
                tokio::task::yield_now().await; // nothing that it wants so far: orders must not wait for it
                continue;
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                changed = self.new_events.changed() => changed.ok()?,
                // An id without data is no event: the client learns how far it has read all that it wants.
                () = tokio::time::sleep(HEARTBEAT_EVERY) => return Some(format!(": alive\nid: {}\n\n", self.position)),
            }
        }
    }

    /// The messages of some more records, and whether there are no others now.
    async fn read(&mut self) -> Result<(String, bool), ReadError> {
        let (mut messages, mut is_at_end) = (String::new(), true);
        for at in 0..self.position.read.len() {
            let partition = u16::try_from(at).unwrap_or(u16::MAX);
            let records = self.core.database().journal(partition, self.position.read[at], FOLLOWER_READ_ROWS).await?;
            is_at_end &= records.len() < FOLLOWER_READ_ROWS as usize;
            for JournalRecord { sequence, event_type, body, .. } in records {
                self.position.read[at] = sequence;
                if self.types.is_empty() || self.types.contains(&event_type) {
                    // JSON has no line break outside of its strings, and there it is escaped: one `data` line.
                    let _ = write!(messages, "id: {}\nevent: {event_type}\ndata: {body}\n\n", self.position);
                }
            }
        }
        Ok((messages, is_at_end))
    }
}

fn report(error: &ReadError) {
    tracing::debug!(%error, "the journal cannot be read; a client that follows it must reconnect");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_the_wire() {
        let position = Position { epoch: Uuid::from_u128(7), read: vec![0, 12] };
        assert_eq!(position.to_string(), "00000000000000000000000000000007/0/12");
        assert_eq!(position.to_string().parse(), Ok(position));
        for bad in ["", "7", "order/0/7", "00000000000000000000000000000007/x", "00000000000000000000000000000007/-1"] {
            assert!(bad.parse::<Position>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_client_chooses_types_that_exist() {
        let published = BTreeSet::from(["OrderCanceled", "Ordered"]);
        let parse = |query: &str| Wanted::parse(query, &published);
        let both = parse("type=Ordered,OrderCanceled&other=1").expect("known types");
        assert_eq!(both, parse("type=OrderCanceled&type=Ordered").expect("known types"));
        assert_eq!(both.types.len(), 2);
        assert_eq!(parse("from=end").expect("a place").from.as_deref(), Some("end"));
        let unknown = parse("type=Paid").expect_err("another service publishes it");
        assert_eq!(unknown.field.as_deref(), Some("type"));
        assert!(unknown.detail.contains("OrderCanceled, Ordered"), "{}", unknown.detail);
        assert_eq!(parse("from=end&from=start").expect_err("which?").field.as_deref(), Some("from"));
    }
}
