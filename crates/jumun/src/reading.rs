//! Decisions that read other instances of their service.

use crate::{
    aggregate::{Aggregate, Context, EventOf, Peers, Stop, Terms, Unread},
    subscription,
    value::Id,
};
use std::any::TypeId;

impl<A: Aggregate> Context<'_, A> {
    /// Reads another instance of the same service, also a hidden one. None: it does not exist.
    ///
    /// The decision is committed only if that instance has not changed until then. Decisions that read the same instance
    /// queue for it, so read few: at most [`READS_MAX`](crate::limits::READS_MAX).
    pub fn read<B: Aggregate<Terms: Terms<Event = EventOf<A>>>>(&self, id: Id<B>) -> Result<Option<B>, Stop> {
        let body = match self.peers {
            Peers::Documents(documents) => documents.body(TypeId::of::<B>(), id.get()).map_err(Stop::Read)?,
            Peers::History(events) => return Ok(subscription::folded(id, None, events)),
        };
        let read = body.map(serde_json::from_str).transpose();
        read.map_err(|error: serde_json::Error| Stop::Read(Unread(Err(format!("it reads {id}: {error}")))))
    }
}
