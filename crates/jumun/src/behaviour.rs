//! Behaviours: the decisions and effects of one service, with the types of its aggregates and views erased. Pure.

use crate::{
    aggregate::{Aggregate, Context, Decision, Stop, View},
    ask::{AskTarget, Asked, Reply},
    event::PublishedLanguage,
    folding::Fold,
    model::{
        Behaviour, Decided, Defect, DocumentAfter, DocumentKey, Documents, EncodedEvent, ErasedCommand, Folding,
        NEW_ID, Outcome, ReceivedEvent, SettleModel, Step, Stored,
    },
    subscription,
    value::Id,
};
use jiff::Timestamp;
use std::{collections::BTreeMap, marker::PhantomData, sync::Arc};

pub(crate) fn any<A: Aggregate>(command: A::Command) -> ErasedCommand {
    ErasedCommand { is_ending: A::is_ending(&command), command: Arc::new(command) }
}

/// An aggregate or a view with its type erased: documents in, documents out.
pub(crate) trait Cell<E>: Send + Sync {
    fn collection(&self) -> &'static str;
    fn concerned(&self, event: &E) -> Option<i64>;
    /// The command that an event causes, and the id of the instance that decides it.
    fn reaction(&self, _event: &E) -> Option<(i64, ErasedCommand)> {
        None
    }
    /// The commands that make new instances because of an event.
    fn reactions_anew(&self, _event: &E) -> Vec<ErasedCommand> {
        Vec::new()
    }
    /// The decision, and what it asks later.
    fn decide(&self, body: Option<&str>, step: Step<'_>) -> Result<(Decision<E>, Vec<Asked>), Defect>;
    fn evolve(&self, id: i64, body: Option<&str>, event: &E) -> Result<Option<(String, bool)>, Defect>;
    /// See [`Behaviour::folding`].
    fn folding(&self) -> Option<Box<dyn Folding>> {
        None
    }
}

pub(crate) struct TypedCell<A: Aggregate> {
    pub(crate) collection: &'static str,
    pub(crate) settings: A::Settings,
}

impl<A: Aggregate> TypedCell<A> {
    fn damaged(&self, id: i64, why: impl ToString) -> Defect {
        Defect { collection: self.collection, id, why: why.to_string() }
    }

    fn typed(&self, id: i64) -> Result<Id<A>, Defect> {
        Id::new(id).ok_or_else(|| self.damaged(id, "an id is 1 or more"))
    }

    fn state(&self, id: i64, body: Option<&str>) -> Result<Option<A>, Defect> {
        body.map(serde_json::from_str).transpose().map_err(|error: serde_json::Error| self.damaged(id, error))
    }
}

impl<A: Aggregate> Cell<A::Event> for TypedCell<A> {
    fn collection(&self) -> &'static str {
        self.collection
    }

    fn concerned(&self, event: &A::Event) -> Option<i64> {
        subscription::concerned::<A>(event).map(Id::get)
    }

    fn reaction(&self, event: &A::Event) -> Option<(i64, ErasedCommand)> {
        subscription::reaction::<A>(event).map(|(id, command)| (id.get(), any::<A>(command)))
    }

    fn reactions_anew(&self, event: &A::Event) -> Vec<ErasedCommand> {
        subscription::reactions_anew::<A>(event).into_iter().map(any::<A>).collect()
    }

    fn decide(&self, body: Option<&str>, step: Step<'_>) -> Result<(Decision<A::Event>, Vec<Asked>), Defect> {
        let (_, id) = step.decider;
        let state = self.state(id, body)?;
        let typed = self.typed(id)?;
        let command = step.command.command.downcast_ref::<A::Command>();
        let command = command.ok_or_else(|| self.damaged(id, "the command is another aggregate's"))?.clone();
        let ctx = Context::new(typed, step.now.into(), &self.settings, step.reply);
        let decision = A::decide(state.as_ref(), command, &ctx);
        Ok((decision, ctx.later.into_inner()))
    }

    fn evolve(&self, id: i64, body: Option<&str>, event: &A::Event) -> Result<Option<(String, bool)>, Defect> {
        let state = self.state(id, body)?;
        let Some(after) = subscription::evolved(self.typed(id)?, state, event) else { return Ok(None) };
        let body = serde_json::to_string(&after).map_err(|error| self.damaged(id, error))?;
        Ok(Some((body, after.shown())))
    }
}

pub(crate) struct ViewCell<V> {
    collection: &'static str,
    kind: PhantomData<fn() -> V>,
}

impl<V> ViewCell<V> {
    pub(crate) const fn new(collection: &'static str) -> Self {
        Self { collection, kind: PhantomData }
    }
}

impl<V: View> Cell<V::Event> for ViewCell<V> {
    fn collection(&self) -> &'static str {
        self.collection
    }

    fn concerned(&self, event: &V::Event) -> Option<i64> {
        subscription::concerned_row::<V>(event)
    }

    fn decide(&self, _: Option<&str>, step: Step<'_>) -> Result<(Decision<V::Event>, Vec<Asked>), Defect> {
        Err(Defect { collection: self.collection, id: step.decider.1, why: "a view takes no commands".to_owned() })
    }

    fn evolve(&self, id: i64, body: Option<&str>, event: &V::Event) -> Result<Option<(String, bool)>, Defect> {
        let damaged = |error: serde_json::Error| Defect { collection: self.collection, id, why: error.to_string() };
        let mut row = body.map_or_else(|| Ok(V::row(id)), serde_json::from_str).map_err(damaged)?;
        row.fold(event);
        let body = serde_json::to_string(&row).map_err(damaged)?;
        Ok(Some((body, row.shown())))
    }

    fn folding(&self) -> Option<Box<dyn Folding>> {
        Some(Box::new(Fold::<V>::new(self.collection)))
    }
}

/// All aggregates and views of a service. One aggregate decides; all that its events concern evolve in the same commit.
pub(crate) struct ServiceBehaviour<E> {
    pub(crate) service: &'static str,
    pub(crate) may_ask: Vec<AskTarget>,
    /// The delayed asks that each cell settles.
    pub(crate) settles: Vec<Vec<SettleModel>>,
    pub(crate) cells: Vec<Box<dyn Cell<E>>>,
}

impl<E: PublishedLanguage> Behaviour for ServiceBehaviour<E> {
    fn decide(&self, step: Step<'_>, documents: &Documents) -> Result<Outcome, Defect> {
        let Some(stored) = documents.get(&step.decider) else { return Ok(Outcome::Needs(vec![step.decider])) };
        let body = stored.as_ref().map(|stored| stored.body.as_str());
        let (decision, later) = self.cells[step.decider.0].decide(body, step)?;
        let events = match decision {
            Ok(events) => events,
            Err(Stop::Reject(why)) => return Ok(Outcome::Rejected(why)),
            Err(Stop::Ask(asked)) => {
                self.check_ask(step.decider, &asked)?;
                return Ok(Outcome::Ask(asked));
            }
        };
        self.check_ours(step.decider, &events)?;
        let mut progress = Progress::new(documents);
        self.ask_later(step.decider, later, &mut progress)?;
        if let Err(missing) = self.evolve(&events, &mut progress)? {
            return Ok(Outcome::Needs(missing));
        }
        Ok(Outcome::Decided(progress.decided(&events, step.now, &self.settles)))
    }

    fn handle(&self, event: ReceivedEvent<'_>, documents: &Documents) -> Result<Outcome, Defect> {
        let ReceivedEvent { event_type, body, now, new_ids } = event;
        let undecodable = |error: serde_json::Error| Defect { collection: "events", id: 0, why: error.to_string() };
        let Some(event) = E::decode(event_type, body).map_err(undecodable)? else {
            return Ok(Outcome::Decided(Decided::default())); // a later release publishes it
        };
        let mut progress = Progress::new(documents);
        if let Err(missing) = self.evolve(std::slice::from_ref(&event), &mut progress)? {
            return Ok(Outcome::Needs(missing));
        }
        let mut ours = Vec::new();
        let reply = Some(&Reply::OnlyLater);
        for (at, cell) in self.cells.iter().enumerate() {
            let reaction = cell.reaction(&event);
            let anew = cell.reactions_anew(&event);
            let ids = new_ids.get(&at).map(Vec::as_slice).unwrap_or_default();
            if ids.len() < anew.len() {
                return Ok(Outcome::Needs(vec![(at, NEW_ID); anew.len() - ids.len()]));
            }
            for (id, command) in reaction.into_iter().chain(ids.iter().copied().zip(anew)) {
                let step = Step { decider: (at, id), command: &command, now, reply };
                let (decision, later) = cell.decide(progress.body(step.decider), step)?;
                match decision {
                    Ok(events) => {
                        self.check_ours(step.decider, &events)?;
                        self.ask_later(step.decider, later, &mut progress)?;
                        if let Err(missing) = self.evolve(&events, &mut progress)? {
                            return Ok(Outcome::Needs(missing));
                        }
                        ours.extend(events);
                    }
                    Err(Stop::Reject(_)) => progress.dropped += 1,
                    Err(Stop::Ask(_)) => {
                        return Err(self.defect(step.decider, "a policy asks and waits for the answer".to_owned()));
                    }
                }
            }
        }
        Ok(Outcome::Decided(progress.decided(&ours, now, &self.settles)))
    }

    fn folding(&self, resource: usize) -> Option<Box<dyn Folding>> {
        self.cells.get(resource)?.folding()
    }
}

impl<E: PublishedLanguage> ServiceBehaviour<E> {
    fn defect(&self, (resource, id): DocumentKey, why: String) -> Defect {
        Defect { collection: self.cells[resource].collection(), id, why }
    }

    /// Checks that the service declares the ask.
    fn check_ask(&self, decider: DocumentKey, asked: &Asked) -> Result<(), Defect> {
        if self.may_ask.contains(&asked.target) {
            return Ok(());
        }
        Err(self.defect(decider, format!("{:?} is not declared with `asks`", asked.target)))
    }

    /// Records delayed asks. Each needs a command that settles it.
    fn ask_later(&self, decider: DocumentKey, later: Vec<Asked>, progress: &mut Progress<'_>) -> Result<(), Defect> {
        for asked in later {
            self.check_ask(decider, &asked)?;
            if !self.settles[decider.0].iter().any(|settle| settle.target == asked.target) {
                let why = format!("{:?} is a delayed ask without `settle`", asked.target);
                return Err(self.defect(decider, why));
            }
            progress.later.push((decider, asked));
        }
        Ok(())
    }

    fn check_ours(&self, decider: DocumentKey, events: &[E]) -> Result<(), Defect> {
        match events.iter().find(|event| event.event_type().source != self.service) {
            None => Ok(()),
            Some(event) => Err(self.defect(decider, format!("{} belongs to another service", event.event_type().name))),
        }
    }

    /// Applies events to everything that they concern; or returns the documents that must be read first.
    fn evolve(&self, events: &[E], progress: &mut Progress<'_>) -> Result<Result<(), Vec<DocumentKey>>, Defect> {
        let concerned = || {
            events.iter().flat_map(|event| {
                let cells = self.cells.iter().enumerate();
                cells.filter_map(move |(at, cell)| cell.concerned(event).map(|id| ((at, id), event)))
            })
        };
        let missing: Vec<_> =
            concerned().map(|(key, _)| key).filter(|key| !progress.before.contains_key(key)).collect();
        if !missing.is_empty() {
            return Ok(Err(missing));
        }
        for (key, event) in concerned() {
            if let Some(evolved) = self.cells[key.0].evolve(key.1, progress.body(key), event)? {
                progress.after.insert(key, evolved);
            }
        }
        Ok(Ok(()))
    }
}

/// The documents during a step.
struct Progress<'a> {
    before: &'a Documents,
    after: BTreeMap<DocumentKey, (String, bool)>,
    later: Vec<(DocumentKey, Asked)>,
    dropped: u32,
}

impl<'a> Progress<'a> {
    const fn new(before: &'a Documents) -> Self {
        Self { before, after: BTreeMap::new(), later: Vec::new(), dropped: 0 }
    }

    fn stored(&self, key: DocumentKey) -> Option<&'a Stored> {
        self.before.get(&key).and_then(Option::as_ref)
    }

    /// The current body of a document.
    fn body(&self, key: DocumentKey) -> Option<&str> {
        let after = self.after.get(&key).map(|(body, _)| body.as_str());
        after.or_else(|| self.stored(key).map(|stored| stored.body.as_str()))
    }

    fn decided<E: PublishedLanguage>(mut self, events: &[E], now: Timestamp, settles: &[Vec<SettleModel>]) -> Decided {
        let (after, later) = (std::mem::take(&mut self.after), std::mem::take(&mut self.later));
        // An unchanged document needs no commit.
        let changed =
            after.into_iter().filter(|(key, (body, _))| self.stored(*key).is_none_or(|stored| stored.body != *body));
        let mut withdrawn = Vec::new();
        let documents = changed.map(|(key, (body, shown))| {
            let stored = self.stored(key);
            let waited = |settle: &&SettleModel| stored.is_some_and(|stored| (settle.waits)(&stored.body));
            let no_more = settles[key.0].iter().filter(waited).filter(|settle| !(settle.waits)(&body));
            withdrawn.extend(no_more.map(|settle| (key, settle.target)));
            let expected_version = stored.map_or(0, |stored| stored.version);
            DocumentAfter { key, expected_version, shown, body }
        });
        let documents = documents.collect();
        let events = events.iter().map(|event| EncodedEvent {
            event_type: event.event_type().name,
            key: event.correlation_key(),
            body: event.encode(now),
        });
        Decided { documents, events: events.collect(), dropped: self.dropped, later, withdrawn }
    }
}
