//! The plan of a load: the requests to send, and the orders to cancel or watch.

use super::{Options, target::Message};
use crate::Failure;
use bytes::Bytes;
use http::{HeaderValue, Method, uri::PathAndQuery};
use jumun::{FieldValue, SystemModel};
use serde_json::Value;
use std::{
    cell::Cell,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};
use uuid::Uuid;

/// The requests to send, and what to do with the orders that they place.
pub(super) struct Plan {
    message: Message,
    keys: Option<Keys>,
    pace: String,
    /// The share of orders to cancel as soon as they are acknowledged.
    pub(super) cancel: Share,
    /// The share of orders to watch, of those that are not cancelled.
    pub(super) watch_share: Share,
    /// How to watch orders, if any are watched.
    pub(super) watch: Option<Watch>,
    /// The collection of the orders.
    pub(super) collection: &'static str,
    /// The field and value of a cancelled order.
    pub(super) canceled: Option<FieldValue>,
}

/// How to watch orders: the view, and the field and value of a finished order.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    path: &'static str,
    field: String,
    value: String,
}

impl Plan {
    pub(super) fn new(options: &Options, model: &SystemModel) -> Result<Self, Failure> {
        let line = model.load.as_ref();
        let path = options.path.as_deref().or(line.map(|line| line.path));
        let body = options.body.as_deref().or(line.map(|line| line.body));
        let (Some(path), Some(body)) = (path, body) else {
            let why = format!("{} defines no sample order", model.name);
            return Err(Failure::new("load-unclear", why, "Set the request with --path and --body."));
        };
        let has_body = !matches!(options.method, Method::GET | Method::HEAD | Method::DELETE);
        let message = Message {
            method: options.method.clone(),
            path: path_and_query(path)?,
            key: None,
            body: if has_body { Bytes::copy_from_slice(body.as_bytes()) } else { Bytes::new() },
        };
        let resources = || model.services.iter().flat_map(|service| &service.resources);
        let pace = match options.rate {
            Some(rate) => format!("{rate} a second"),
            None => format!("{} customers", options.concurrency),
        };
        Ok(Self {
            keys: (!options.no_keys && !options.method.is_safe()).then(Keys::new),
            pace,
            cancel: Share::new(options.cancel),
            watch_share: Share::new(options.watch),
            watch: if options.watch > 0.0 { Some(Watch::new(options, model)?) } else { None },
            collection: resources()
                .find(|at| at.paths().any(|path| path == message.path.path()))
                .map_or("", |at| at.collection),
            canceled: line.filter(|line| line.path == path).and_then(|line| line.canceled),
            message,
        })
    }

    /// The path of the requests.
    pub(super) fn path(&self) -> &str {
        self.message.path.path()
    }

    fn next_key(&self) -> Option<HeaderValue> {
        self.keys.as_ref().and_then(Keys::next)
    }

    /// The next request.
    pub(super) fn message(&self) -> Message {
        Message { key: self.next_key(), ..self.message.clone() }
    }

    /// The request that cancels an order.
    pub(super) fn cancel_of(&self, order: i64) -> Message {
        let path = format!("{}/{order}", self.path()).try_into().unwrap_or_else(|_| self.message.path.clone());
        Message { method: Method::DELETE, path, key: self.next_key(), body: Bytes::new() }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, {}", self.message.method, self.message.path, self.pace)
    }
}

impl Watch {
    fn new(options: &Options, model: &SystemModel) -> Result<Self, Failure> {
        let unclear =
            |why: String| Failure::new("load-unclear", why, "Leave --watch out, or write --until FIELD=VALUE.");
        let finished = model.load.and_then(|line| line.finished);
        let (path, usual) = finished.ok_or_else(|| unclear(format!("{} has no view to watch", model.name)))?;
        let (field, value) = match &options.until {
            None => usual,
            Some(until) => {
                until.split_once('=').ok_or_else(|| unclear(format!("--until `{until}` is not FIELD=VALUE")))?
            }
        };
        Ok(Self { path, field: field.to_owned(), value: value.to_owned() })
    }

    /// The request that reads an order from the view.
    pub(super) fn poll(&self, order: i64) -> Message {
        let path = format!("{}/{order}", self.path).try_into();
        let path = path.unwrap_or_else(|_| PathAndQuery::from_static(self.path));
        Message { method: Method::GET, path, key: None, body: Bytes::new() }
    }

    /// Whether the view shows the order as finished.
    pub(super) fn is_finished(&self, body: &[u8]) -> bool {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        match &body[&self.field] {
            Value::String(text) => *text == self.value,
            other => self.value.parse::<Value>().is_ok_and(|value| *other == value),
        }
    }
}

/// Unique idempotency keys: one UUID per run and a counter. A UUID per request would cost a system call each.
struct Keys {
    run: Uuid,
    count: Cell<u64>,
}

impl Keys {
    fn new() -> Self {
        Self { run: Uuid::now_v7(), count: Cell::new(0) }
    }

    fn next(&self) -> Option<HeaderValue> {
        self.count.set(self.count.get() + 1);
        // Ascending, so that the keys are neighbours in an index.
        HeaderValue::try_from(format!("{}-{:012}", self.run.simple(), self.count.get())).ok()
    }
}

/// Selects a share of the orders, evenly spread. The first order is selected.
pub(super) struct Share {
    share: f64,
    credit: Cell<f64>,
}

impl Share {
    pub(super) fn new(share: f64) -> Self {
        Self { share, credit: Cell::new(if share > 0.0 { 1.0 - share } else { 0.0 }) }
    }

    /// Whether the next order is selected.
    pub(super) fn next(&self) -> bool {
        let credit = self.credit.get() + self.share;
        let is_selected = credit > 1.0 - 1e-9;
        self.credit.set(if is_selected { credit - 1.0 } else { credit });
        is_selected
    }
}

fn path_and_query(path: &str) -> Result<PathAndQuery, Failure> {
    let parsed = path.parse().ok().filter(|_| path.starts_with('/'));
    parsed
        .ok_or_else(|| Failure::new("load-unclear", format!("`{path}` is not a path"), "Write it like --path /orders."))
}

/// Reads `10%` as a share from 0 to 1.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let share = number.map(|number| number / 100.0).filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "write a percentage from 0% to 100%, as in 0.5%".to_owned())
}

/// The URL at which this machine reaches a listener.
pub(super) fn url_of(listen: SocketAddr) -> String {
    let ip = if listen.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { listen.ip() };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_spread_evenly_and_starts_with_the_first_order() {
        let spread =
            |share: f64| (0..8).map(|_| share).scan(Share::new(share), |of, _| Some(of.next())).collect::<Vec<_>>();
        assert_eq!(spread(0.0), [false; 8]);
        assert_eq!(spread(1.0), [true; 8]);
        assert_eq!(spread(0.25), [true, false, false, false, true, false, false, false]);
    }

    #[test]
    fn a_percentage_is_written_as_one() {
        assert_eq!(percent("10%"), Ok(0.1));
        assert_eq!(percent("100%"), Ok(1.0));
        for nonsense in ["10", "", "%", "-1%", "101%", "NaN%", "inf%"] {
            assert!(percent(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn an_unspecified_address_is_reached_at_localhost() {
        assert_eq!(url_of(SocketAddr::from(([0, 0, 0, 0], 8088))), "http://127.0.0.1:8088");
        assert_eq!(url_of(SocketAddr::from(([10, 0, 0, 7], 80))), "http://10.0.0.7:80");
    }
}
