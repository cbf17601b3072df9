//! Behaviours: the decisions and effects of one service, with the types of its aggregates and views erased. Pure.

use crate::{
    aggregate::{self, Aggregate, CommandOf, Context, Decision, EventOf, Peers, SettingsOf, Stop, Unread, View},
    ask::{AskTarget, Asked, Reply},
    event::PublishedLanguage,
    first::Index,
    folding::Fold,
    limits::{LOOKUP_ROWS, POLICY_CHAIN_MAX, READS_MAX},
    model::{
        Behaviour, Decided, Defect, DocumentAfter, DocumentKey, Documents, EncodedEvent, ErasedCommand, Folding,
        Lookup, NEW_ID, Outcome, ReceivedEvent, SettleModel, Step, Stored, TimedOut, WaitAfter,
    },
    subscription,
    time_out::TimeOut,
    value::Id,
};
use jiff::Timestamp;
use serde_json::Value;
use std::{
    any::TypeId,
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    marker::PhantomData,
    sync::Arc,
};

pub(crate) fn any<A: Aggregate>(command: CommandOf<A>) -> ErasedCommand {
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
    /// The instances that an event chooses, and their command.
    fn reaction_first(&self, _event: &E) -> Option<Choice> {
        None
    }
    /// The commands that make new instances because of an event.
    fn reactions_anew(&self, _event: &E) -> Vec<ErasedCommand> {
        Vec::new()
    }
    /// Whether a document is shown and its fields have these values.
    fn is_shown_with(&self, _id: i64, _body: &str, _fields: Index, _values: &[Value]) -> Result<bool, Defect> {
        Ok(false)
    }
    /// The decision, and what it asks later.
    fn decide(
        &self,
        body: Option<&str>,
        step: Step<'_>,
        peers: Peers<'_, E>,
    ) -> Result<(Decision<E>, Vec<Asked>), Defect>;
    /// The document after an event. None: there is none.
    fn evolve(&self, id: i64, body: Option<&str>, event: &E, now: Timestamp) -> Result<Option<Evolved>, Defect>;
    /// See [`Behaviour::time_out`].
    fn time_out(&self, _id: i64, _body: &str) -> Result<Option<TimedOut>, Defect> {
        Ok(None)
    }
    /// See [`Behaviour::folding`].
    fn folding(&self) -> Option<Box<dyn Folding>> {
        None
    }
}

/// A [`First`](crate::First) with its type erased.
pub(crate) struct Choice {
    index: Index,
    choices: Vec<Vec<Value>>,
    at_most: usize,
    command: ErasedCommand,
}

/// A document after an event.
pub(crate) struct Evolved {
    body: String,
    shown: bool,
    wait: WaitAfter,
}

pub(crate) struct TypedCell<A: Aggregate> {
    pub(crate) collection: &'static str,
    pub(crate) settings: SettingsOf<A>,
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

impl<A: Aggregate> Cell<EventOf<A>> for TypedCell<A> {
    fn collection(&self) -> &'static str {
        self.collection
    }

    fn concerned(&self, event: &EventOf<A>) -> Option<i64> {
        subscription::concerned::<A>(event).map(Id::get)
    }

    fn reaction(&self, event: &EventOf<A>) -> Option<(i64, ErasedCommand)> {
        subscription::reaction::<A>(event).map(|(id, command)| (id.get(), any::<A>(command)))
    }

    fn reactions_anew(&self, event: &EventOf<A>) -> Vec<ErasedCommand> {
        subscription::reactions_anew::<A>(event).into_iter().map(any::<A>).collect()
    }

    fn reaction_first(&self, event: &EventOf<A>) -> Option<Choice> {
        let first = subscription::reaction_first::<A>(event)?;
        let values = |choice| if let Value::Array(values) = choice { values } else { vec![choice] };
        Some(Choice {
            index: first.index,
            choices: first.choices.into_iter().map(values).collect(),
            at_most: first.at_most,
            command: any::<A>(first.command),
        })
    }

    fn is_shown_with(&self, id: i64, body: &str, fields: Index, values: &[Value]) -> Result<bool, Defect> {
        let document: Value = serde_json::from_str(body).map_err(|error| self.damaged(id, error))?;
        let has_values = fields.iter().zip(values).all(|(field, value)| document[*field] == *value);
        Ok(has_values && self.state(id, Some(body))?.is_some_and(|state| state.shown()))
    }

    fn decide(
        &self,
        body: Option<&str>,
        step: Step<'_>,
        peers: Peers<'_, EventOf<A>>,
    ) -> Result<(Decision<EventOf<A>>, Vec<Asked>), Defect> {
        let (_, id) = step.decider;
        let state = self.state(id, body)?;
        let typed = self.typed(id)?;
        let command = step.command.command.downcast_ref::<CommandOf<A>>();
        let command = command.ok_or_else(|| self.damaged(id, "the command is another aggregate's"))?.clone();
        let ctx = Context::new(typed, step.now.into(), &self.settings, step.reply, peers);
        let decision = A::decide(state.as_ref(), command, &ctx);
        Ok((decision, ctx.later.into_inner()))
    }

    fn evolve(
        &self,
        id: i64,
        body: Option<&str>,
        event: &EventOf<A>,
        now: Timestamp,
    ) -> Result<Option<Evolved>, Defect> {
        let state = self.state(id, body)?;
        let before = state.as_ref().and_then(|state| state.time_out(&self.settings)).map(|waited| waited.name);
        let Some(after) = subscription::evolved(self.typed(id)?, state, event) else { return Ok(None) };
        let wait = match after.time_out(&self.settings) {
            Some(waits) if before == Some(waits.name) => WaitAfter::Same,
            Some(TimeOut { name, after, .. }) => {
                let after_ms = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
                WaitAfter::Begins { name, due_ms: now.as_millisecond().saturating_add(after_ms) }
            }
            None if before.is_some() => WaitAfter::Ends,
            None => WaitAfter::Same,
        };
        let body = serde_json::to_string(&after).map_err(|error| self.damaged(id, error))?;
        Ok(Some(Evolved { body, shown: after.shown(), wait }))
    }

    fn time_out(&self, id: i64, body: &str) -> Result<Option<TimedOut>, Defect> {
        let state = self.state(id, Some(body))?;
        let waits = state.and_then(|state| state.time_out(&self.settings));
        Ok(waits.map(|TimeOut { name, command, .. }| TimedOut { name, command: any::<A>(command) }))
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

    fn decide(
        &self,
        _: Option<&str>,
        step: Step<'_>,
        _: Peers<'_, V::Event>,
    ) -> Result<(Decision<V::Event>, Vec<Asked>), Defect> {
        Err(Defect { collection: self.collection, id: step.decider.1, why: "a view takes no commands".to_owned() })
    }

    fn evolve(&self, id: i64, body: Option<&str>, event: &V::Event, _: Timestamp) -> Result<Option<Evolved>, Defect> {
        let damaged = |error: serde_json::Error| Defect { collection: self.collection, id, why: error.to_string() };
        let mut row = body.map_or_else(|| Ok(V::row(id)), serde_json::from_str).map_err(damaged)?;
        row.fold(event);
        let body = serde_json::to_string(&row).map_err(damaged)?;
        Ok(Some(Evolved { body, shown: row.shown(), wait: WaitAfter::Same }))
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
    /// The type of each cell.
    pub(crate) kinds: Vec<TypeId>,
    /// The indexes of each cell.
    pub(crate) indexes: Vec<Vec<Index>>,
    /// The events that a new database begins with.
    pub(crate) seed: Vec<E>,
    pub(crate) cells: Vec<Box<dyn Cell<E>>>,
}

/// Why a step goes no further.
enum Halt {
    /// This is its outcome.
    Outcome(Box<Outcome>),
    /// The code or a document is not as it must be.
    Defect(Defect),
}

impl From<Defect> for Halt {
    fn from(defect: Defect) -> Self {
        Self::Defect(defect)
    }
}

impl Halt {
    fn outcome(outcome: Outcome) -> Self {
        Self::Outcome(Box::new(outcome))
    }

    fn needs(keys: Vec<DocumentKey>) -> Self {
        Self::outcome(Outcome::Needs(keys))
    }
}

impl<E: PublishedLanguage> Behaviour for ServiceBehaviour<E> {
    fn decide(&self, step: Step<'_>, documents: &Documents) -> Result<Outcome, Defect> {
        outcome(self.decided(step, documents))
    }

    fn handle(&self, event: ReceivedEvent<'_>, documents: &Documents) -> Result<Outcome, Defect> {
        outcome(self.handled(event, documents))
    }

    fn concerned_by(&self, event_type: &str, body: &str) -> Vec<DocumentKey> {
        let Ok(Some(event)) = E::decode(event_type, body) else { return Vec::new() };
        let cells = self.cells.iter().enumerate();
        let keys = cells.flat_map(|(at, cell)| {
            let decides = cell.reaction(&event).map(|(id, _)| id);
            cell.concerned(&event).into_iter().chain(decides).map(move |id| (at, id))
        });
        keys.collect()
    }

    fn seed(&self, now: Timestamp) -> Result<Option<Decided>, Defect> {
        if self.seed.is_empty() {
            return Ok(None);
        }
        let mut documents = Documents::new();
        for (key, _) in self.concerned(&self.seed) {
            documents.insert(key, None);
            self.check_ours(key, &self.seed)?;
        }
        let mut progress = Progress::new(&documents, now);
        match self.evolve(&self.seed, &mut progress) {
            Ok(()) => {
                progress.events.clone_from(&self.seed);
                Ok(Some(progress.decided(&self.settles)))
            }
            Err(Halt::Defect(defect)) => Err(defect),
            Err(Halt::Outcome(_)) => Ok(None), // every document is there
        }
    }

    fn time_out(&self, (resource, id): DocumentKey, body: &str) -> Result<Option<TimedOut>, Defect> {
        self.cells[resource].time_out(id, body)
    }

    fn folding(&self, resource: usize) -> Option<Box<dyn Folding>> {
        self.cells.get(resource)?.folding()
    }
}

fn outcome(result: Result<Decided, Halt>) -> Result<Outcome, Defect> {
    match result {
        Ok(decided) => Ok(Outcome::Decided(decided)),
        Err(Halt::Outcome(outcome)) => Ok(*outcome),
        Err(Halt::Defect(defect)) => Err(defect),
    }
}

impl<E: PublishedLanguage> ServiceBehaviour<E> {
    fn decided(&self, step: Step<'_>, documents: &Documents) -> Result<Decided, Halt> {
        if documents.get(&step.decider).is_none() {
            return Err(Halt::needs(vec![step.decider]));
        }
        let mut progress = Progress::new(documents, step.now);
        let events = match self.decision(step, &mut progress)? {
            Ok(events) => events,
            Err(Stop::Reject(why)) => return Err(Halt::outcome(Outcome::Rejected(why))),
            Err(Stop::Ask(asked)) => {
                self.check_ask(step.decider, &asked)?;
                return Err(Halt::outcome(Outcome::Ask(asked)));
            }
            Err(Stop::Read(unread)) => return Err(self.unread(step.decider, unread)),
        };
        self.emit(events, 0, &mut progress)?;
        Ok(progress.decided(&self.settles))
    }

    fn handled(&self, event: ReceivedEvent<'_>, documents: &Documents) -> Result<Decided, Halt> {
        let ReceivedEvent { event_type, body, now, new_ids } = event;
        let undecodable = |error: serde_json::Error| Defect { collection: "events", id: 0, why: error.to_string() };
        let Some(event) = E::decode(event_type, body).map_err(undecodable)? else {
            return Ok(Decided::default()); // a later release publishes it
        };
        let mut progress = Progress::new(documents, now);
        self.evolve(std::slice::from_ref(&event), &mut progress)?;
        for at in 0..self.cells.len() {
            self.react(at, &event, 0, &mut progress)?;
            let anew = self.cells[at].reactions_anew(&event);
            let ids = new_ids.get(&at).map(Vec::as_slice).unwrap_or_default();
            if ids.len() < anew.len() {
                return Err(Halt::needs(vec![(at, NEW_ID); anew.len() - ids.len()]));
            }
            for (id, command) in ids.iter().copied().zip(anew) {
                self.cause((at, id), &command, 0, &mut progress)?;
            }
        }
        Ok(progress.decided(&self.settles))
    }

    /// The decision of a command; notes what it asks later and what it reads.
    fn decision(&self, step: Step<'_>, progress: &mut Progress<'_, E>) -> Result<Decision<E>, Halt> {
        let reading = Reading { kinds: &self.kinds, progress, read: RefCell::default() };
        let (decision, later) =
            self.cells[step.decider.0].decide(progress.body(step.decider), step, Peers::Documents(&reading))?;
        let read = reading.read.into_inner();
        if read.len() > READS_MAX {
            return Err(self.defect(step.decider, format!("it reads more than {READS_MAX} documents")).into());
        }
        progress.read.extend(read);
        if let Ok(events) = &decision {
            self.check_ours(step.decider, events)?;
            self.ask_later(step.decider, later, progress)?;
        }
        Ok(decision)
    }

    fn unread(&self, decider: DocumentKey, Unread(why): Unread) -> Halt {
        match why {
            Ok(key) => Halt::needs(vec![key]),
            Err(why) => self.defect(decider, why).into(),
        }
    }

    /// Applies events of this service to everything that they concern, then the policies on them. `chain`: how many
    /// policies led to these events.
    fn emit(&self, events: Vec<E>, chain: usize, progress: &mut Progress<'_, E>) -> Result<(), Halt> {
        self.evolve(&events, progress)?;
        let emitted = progress.events.len()..progress.events.len() + events.len();
        progress.events.extend(events);
        for nth in emitted {
            let event = progress.events[nth].clone();
            for at in 0..self.cells.len() {
                self.react(at, &event, chain, progress)?;
                if !self.cells[at].reactions_anew(&event).is_empty() {
                    let why = "an event of the service itself makes new instances".to_owned();
                    return Err(self.defect((at, event.correlation_key()), why).into());
                }
            }
        }
        Ok(())
    }

    /// The policies of one aggregate on an event.
    fn react(&self, at: usize, event: &E, chain: usize, progress: &mut Progress<'_, E>) -> Result<(), Halt> {
        if let Some((id, command)) = self.cells[at].reaction(event) {
            self.cause((at, id), &command, chain, progress)?;
        }
        if let Some(choice) = self.cells[at].reaction_first(event) {
            for id in self.chosen(at, &choice, progress)? {
                self.cause((at, id), &choice.command, chain, progress)?;
            }
        }
        Ok(())
    }

    /// A command that a policy causes. It is dropped if the state refuses it.
    fn cause(
        &self,
        decider: DocumentKey,
        command: &ErasedCommand,
        chain: usize,
        progress: &mut Progress<'_, E>,
    ) -> Result<(), Halt> {
        if chain == POLICY_CHAIN_MAX {
            let why = format!("more than {POLICY_CHAIN_MAX} policies cause each other in one commit");
            return Err(self.defect(decider, why).into());
        }
        let step = Step { decider, command, now: progress.now, reply: Some(&Reply::OnlyLater) };
        match self.decision(step, progress)? {
            Ok(events) => self.emit(events, chain + 1, progress),
            Err(Stop::Reject(_)) => {
                progress.dropped += 1;
                Ok(())
            }
            Err(Stop::Ask(_)) => Err(self.defect(decider, "a policy asks and waits for the answer".to_owned()).into()),
            Err(Stop::Read(unread)) => Err(self.unread(decider, unread)),
        }
    }

    /// The instances of a choice, the smallest ids first, as they are after what has happened in this step.
    fn chosen(&self, at: usize, choice: &Choice, progress: &Progress<'_, E>) -> Result<Vec<i64>, Halt> {
        let Choice { index, choices, at_most, .. } = choice;
        if !self.indexes[at].contains(index) {
            return Err(self.defect((at, 0), format!("it has no index over {index:?}")).into());
        }
        // What was read may have changed in this step, or in one before it in the same commit: the index does not know.
        let known: BTreeSet<i64> = progress.before.of(at).collect();
        let mut chosen = Vec::new();
        for values in choices {
            let left = at_most - chosen.len();
            let mut found = BTreeSet::new();
            for id in &known {
                if let Some(body) = progress.body((at, *id))
                    && self.cells[at].is_shown_with(*id, body, index, values)?
                {
                    found.insert(*id);
                }
            }
            let mut unknown = 0;
            let mut after = 0;
            while unknown < left {
                let (fields, values, limit) = (*index, values.clone(), LOOKUP_ROWS);
                let lookup = Lookup { resource: at, fields, values, after, limit };
                let Some(ids) = progress.before.found(&lookup) else {
                    return Err(Halt::outcome(Outcome::Find(lookup)));
                };
                let new = ids.iter().filter(|id| !known.contains(id));
                unknown += new.clone().count();
                found.extend(new);
                match ids.last() {
                    Some(last) if ids.len() == LOOKUP_ROWS as usize => after = *last,
                    _ => break,
                }
            }
            found.retain(|id| !chosen.contains(id));
            chosen.extend(found.into_iter().take(left));
        }
        let unread: Vec<_> = chosen.iter().filter(|id| !known.contains(id)).map(|id| (at, *id)).collect();
        if unread.is_empty() { Ok(chosen) } else { Err(Halt::needs(unread)) }
    }

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
    fn ask_later(&self, decider: DocumentKey, later: Vec<Asked>, progress: &mut Progress<'_, E>) -> Result<(), Defect> {
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

    /// Applies events to everything that they concern.
    fn evolve(&self, events: &[E], progress: &mut Progress<'_, E>) -> Result<(), Halt> {
        let missing: Vec<_> =
            self.concerned(events).map(|(key, _)| key).filter(|key| progress.before.get(key).is_none()).collect();
        if !missing.is_empty() {
            return Err(Halt::needs(missing));
        }
        for (key, event) in self.concerned(events) {
            if let Some(mut evolved) = self.cells[key.0].evolve(key.1, progress.body(key), event, progress.now)? {
                if evolved.wait == WaitAfter::Same
                    && let Some(earlier) = progress.after.get(&key)
                {
                    evolved.wait = earlier.wait;
                }
                progress.after.insert(key, evolved);
            }
        }
        Ok(())
    }

    /// The documents that events concern.
    fn concerned<'e>(&self, events: &'e [E]) -> impl Iterator<Item = (DocumentKey, &'e E)> {
        events.iter().flat_map(|event| {
            let cells = self.cells.iter().enumerate();
            cells.filter_map(move |(at, cell)| cell.concerned(event).map(|id| ((at, id), event)))
        })
    }
}

/// What one decision reads.
struct Reading<'a, E> {
    kinds: &'a [TypeId],
    progress: &'a Progress<'a, E>,
    read: RefCell<BTreeSet<DocumentKey>>,
}

impl<E: PublishedLanguage> aggregate::Documents for Reading<'_, E> {
    fn body(&self, kind: TypeId, id: i64) -> Result<Option<&str>, Unread> {
        let at = self.kinds.iter().position(|known| *known == kind);
        let key = (at.ok_or_else(|| Unread(Err("it reads a type of another service".to_owned())))?, id);
        self.read.borrow_mut().insert(key);
        if self.progress.before.get(&key).is_none() { Err(Unread(Ok(key))) } else { Ok(self.progress.body(key)) }
    }
}

/// How far a step has come.
struct Progress<'a, E> {
    before: &'a Documents,
    after: BTreeMap<DocumentKey, Evolved>,
    /// The events of this service that happened, in order.
    events: Vec<E>,
    /// What decisions have read.
    read: BTreeSet<DocumentKey>,
    later: Vec<(DocumentKey, Asked)>,
    dropped: u32,
    now: Timestamp,
}

impl<'a, E: PublishedLanguage> Progress<'a, E> {
    fn new(before: &'a Documents, now: Timestamp) -> Self {
        let (after, read) = (BTreeMap::new(), BTreeSet::new());
        Self { before, after, events: Vec::new(), read, later: Vec::new(), dropped: 0, now }
    }

    fn stored(&self, key: DocumentKey) -> Option<&'a Stored> {
        self.before.get(&key).and_then(Option::as_ref)
    }

    /// The current body of a document.
    fn body(&self, key: DocumentKey) -> Option<&str> {
        let after = self.after.get(&key).map(|after| after.body.as_str());
        after.or_else(|| self.stored(key).map(|stored| stored.body.as_str()))
    }

    fn decided(mut self, settles: &[Vec<SettleModel>]) -> Decided {
        let (after, later) = (std::mem::take(&mut self.after), std::mem::take(&mut self.later));
        // An unchanged document needs no commit.
        let changed =
            after.into_iter().filter(|(key, after)| self.stored(*key).is_none_or(|stored| stored.body != after.body));
        let mut withdrawn = Vec::new();
        let documents = changed.map(|(key, Evolved { body, shown, wait })| {
            let stored = self.stored(key);
            let waited = |settle: &&SettleModel| stored.is_some_and(|stored| (settle.waits)(&stored.body));
            let no_more = settles[key.0].iter().filter(waited).filter(|settle| !(settle.waits)(&body));
            withdrawn.extend(no_more.map(|settle| (key, settle.target)));
            let expected_version = stored.map_or(0, |stored| stored.version);
            DocumentAfter { key, expected_version, shown, body, wait }
        });
        let documents: Vec<_> = documents.collect();
        let is_changed = |key: &DocumentKey| documents.iter().any(|document: &DocumentAfter| document.key == *key);
        let version = |key: DocumentKey| (key, self.stored(key).map_or(0, |stored| stored.version));
        let read = self.read.iter().copied().filter(|key| !is_changed(key)).map(version).collect();
        let events = self.events.iter().map(|event| EncodedEvent {
            event_type: event.event_type().name,
            key: event.correlation_key(),
            body: event.encode(self.now),
        });
        Decided { events: events.collect(), documents, dropped: self.dropped, later, withdrawn, read }
    }
}
