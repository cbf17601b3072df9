//! Services: aggregates that share one commit, and how the world reaches them.

use crate::{
    aggregate::{Aggregate, Context, Decision, Stop, View},
    ask::{Ask, AskTarget, Asked, Reply},
    event::{EventType, PublishedLanguage},
    folding::Fold,
    input,
    model::{
        AnyCommand, AskModel, Behaviour, CommandModel, Damaged, Decided, DocumentAfter, DocumentKey, Documents,
        EncodedEvent, FieldModel, Folding, Heard, NEW_ID, Outcome, ResourceModel, ServiceModel, SettingsError,
        SettleModel, Step, Stored, Text, Verb,
    },
    value::Id,
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::{
    any::TypeId,
    collections::{BTreeMap, BTreeSet},
    marker::PhantomData,
    sync::Arc,
};

/// An aggregate and its place in the world: a path, the commands that clients send there, the question it answers.
#[derive(Debug)]
pub struct Resource<A> {
    model: ResourceModel,
    kind: PhantomData<fn() -> A>,
}

impl<A: Aggregate> Resource<A> {
    /// An aggregate at a path. `/orders` is the collection, `/orders/7` one of its documents.
    pub fn at(path: &'static str) -> Self {
        let model = resource_model::<A>(path);
        Self { model, kind: PhantomData }
    }

    /// `POST`: makes one from what the client sends.
    #[must_use]
    pub fn on_post<I: DeserializeOwned + 'static>(mut self, command: fn(I) -> A::Command) -> Self {
        let read = Arc::new(move |body: &[u8]| input::read(body).map(|sent| any::<A>(command(sent))));
        self.model.commands.push(CommandModel { verb: Verb::Post, read });
        self
    }

    /// `DELETE`: ends one. It stays readable as ended.
    #[must_use]
    pub fn on_delete(mut self, command: A::Command) -> Self {
        let command = AnyCommand { is_ending: true, ..any::<A>(command) };
        self.model.commands.push(CommandModel { verb: Verb::Delete, read: Arc::new(move |_| Ok(command.clone())) });
        self
    }

    /// `PUT /{id}/<action>`: something that a person does with one, such as `accept`.
    #[must_use]
    pub fn on_put(mut self, action: &'static str, command: A::Command) -> Self {
        let command = any::<A>(command);
        self.model
            .commands
            .push(CommandModel { verb: Verb::Put(action), read: Arc::new(move |_| Ok(command.clone())) });
        self
    }

    /// `PATCH /{id}`: changes what the client sends.
    #[must_use]
    pub fn on_patch<I: DeserializeOwned + 'static>(mut self, command: fn(I) -> A::Command) -> Self {
        let read = Arc::new(move |body: &[u8]| input::read(body).map(|sent| any::<A>(command(sent))));
        self.model.commands.push(CommandModel { verb: Verb::Patch, read });
        self
    }

    /// Settles a question whose answer came [later](Context::ask_or_later): by this command, whose decision gets the answer,
    /// or hears that there was none before the deadline. Once an instance does not wait for it any more, because it was
    /// cancelled, the question is taken back.
    #[must_use]
    pub fn settle<Q, T>(mut self, ask: &Ask<Q, T>, command: A::Command, waits: fn(&A) -> bool) -> Self {
        self.model.settles.push(SettleModel {
            target: ask.target(),
            is_answer: ask.is_answer(),
            command: any::<A>(command),
            waits: Arc::new(move |body: &str| serde_json::from_str(body).is_ok_and(|instance| waits(&instance))),
        });
        self
    }

    /// Answers a question with a command on the instance that it is about; `void` undoes that, whether or not it was
    /// done, and as often as it is told to.
    #[must_use]
    pub fn on_ask<Q: Serialize + DeserializeOwned + 'static>(
        mut self,
        ask: &Ask<Q, A>,
        about: fn(&Q) -> Id<A>,
        command: fn(Q) -> A::Command,
        void: A::Command,
    ) -> Self {
        let read = Arc::new(move |body: &[u8]| {
            let question: Q = input::read(body)?;
            Ok((about(&question).get(), any::<A>(command(question))))
        });
        self.model.ask = Some(AskModel { target: ask.target(), void: any::<A>(void), read });
        self
    }

    /// `GET …/search/findBy<Field>`: documents by a field, which gets an index.
    #[must_use]
    pub fn find_by(mut self, field: &'static str) -> Self {
        self.model.find_by(field);
        self
    }

    /// Its instances have [ids of their own](Aggregate::react_anew): this field holds the correlation key. It can be found by.
    #[must_use]
    pub fn belongs_by(mut self, field: &'static str) -> Self {
        self.model.belongs_by = Some(field);
        self.find_by(field)
    }
}

/// A view and its place in the world.
#[derive(Debug)]
pub struct ReadModel<V> {
    model: ResourceModel,
    kind: PhantomData<fn() -> V>,
}

impl<V: View> ReadModel<V> {
    /// A view at a path.
    pub fn at(path: &'static str) -> Self {
        Self { model: resource_model::<V>(path), kind: PhantomData }
    }

    /// See [`Resource::find_by`].
    #[must_use]
    pub fn find_by(mut self, field: &'static str) -> Self {
        self.model.find_by(field);
        self
    }
}

impl ResourceModel {
    fn find_by(&mut self, field: &'static str) {
        match self.fields.iter_mut().find(|known| known.name == field) {
            Some(known) => known.is_finder = true,
            // Kept, so that `System::check` can name it.
            None => self.fields.push(FieldModel { name: format!("{field}?"), is_date: false, is_finder: true }),
        }
    }
}

fn resource_model<T: JsonSchema + DeserializeOwned + 'static>(path: &'static str) -> ResourceModel {
    ResourceModel {
        path,
        collection: path.trim_start_matches('/'),
        fields: fields_of::<T>(),
        commands: Vec::new(),
        ask: None,
        settles: Vec::new(),
        belongs_by: None,
        folds: None,
        type_id: TypeId::of::<T>(),
        is_readable: |body| serde_json::from_str::<T>(body).is_ok(),
    }
}

fn any<A: Aggregate>(command: A::Command) -> AnyCommand {
    AnyCommand { is_ending: A::is_ending(&command), command: Arc::new(command) }
}

/// The fields of a document, read off its type.
fn fields_of<T: JsonSchema>() -> Vec<FieldModel> {
    let schema = schemars::schema_for!(T).to_value();
    let properties = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    properties
        .into_iter()
        .map(|(name, field)| {
            let is_date = field.get("format").and_then(Value::as_str) == Some("date-time");
            FieldModel { name, is_date, is_finder: false }
        })
        .collect()
}

type Start<E> = Box<dyn Fn(&Map<String, Value>) -> Result<Box<dyn Cell<E>>, SettingsError> + Send + Sync>;

/// One service: its aggregates share a database and a commit.
pub struct Service<E> {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    pub(crate) resources: Vec<ResourceModel>,
    pub(crate) asks: Vec<AskTarget>,
    texts: &'static [Text],
    settings: Map<String, Value>,
    cells: Vec<Start<E>>,
}

impl<E: PublishedLanguage> Service<E> {
    /// A service and the port that its users know it by.
    pub fn new(name: &'static str, port: u16) -> Self {
        let (resources, asks, settings, cells) = Default::default();
        Self { name, port, resources, asks, texts: &[], settings, cells }
    }

    /// Adds an aggregate.
    #[must_use]
    pub fn aggregate<A: Aggregate<Event = E>>(mut self, resource: Resource<A>) -> Self {
        let service = self.name;
        let collection = resource.model.collection;
        let defaults = as_object(&A::Settings::default());
        self.settings.extend(defaults.clone());
        self.resources.push(resource.model);
        self.cells.push(Box::new(move |given| {
            let mut settings = defaults.clone();
            for (key, value) in &mut settings {
                if let Some(set) = given.get(key) {
                    value.clone_from(set);
                }
            }
            let settings: A::Settings = serde_path_to_error::deserialize(Value::Object(settings))
                .map_err(|error| SettingsError { service, why: format!("{}: {}", error.path(), error.inner()) })?;
            Ok(Box::new(TypedCell::<A> { collection, settings }) as Box<dyn Cell<E>>)
        }));
        self
    }

    /// Adds a view.
    #[must_use]
    pub fn view<V: View<Event = E>>(mut self, view: ReadModel<V>) -> Self {
        let collection = view.model.collection;
        self.resources.push(ResourceModel { folds: Some(BTreeSet::new()), ..view.model });
        self.cells
            .push(Box::new(move |_| Ok(Box::new(ViewCell::<V> { collection, kind: PhantomData }) as Box<dyn Cell<E>>)));
        self
    }

    /// Says that its aggregates ask this question. A question that is not declared is a defect and not sent.
    #[must_use]
    pub fn asks<Q, T>(mut self, ask: &Ask<Q, T>) -> Self {
        self.asks.push(ask.target());
        self
    }

    /// The texts of the messages that it has sent by somebody [outside](Ask::outside).
    #[must_use]
    pub fn texts(mut self, texts: &'static [Text]) -> Self {
        self.texts = texts;
        self
    }

    pub(crate) fn into_model(self, examples: &[E]) -> ServiceModel {
        let is_foreign = |event: &EventType| event.source != self.name;
        let concerned = examples.iter().filter(|event| self.is_concerned_by(event));
        let listens: BTreeSet<_> = concerned.map(PublishedLanguage::event_type).filter(is_foreign).collect();
        let Self { name, port, mut resources, asks, texts, settings, cells } = self;
        for (resource, start) in resources.iter_mut().zip(&cells) {
            let Some(folds) = &mut resource.folds else { continue };
            let Ok(view) = start(&Map::new()) else { continue };
            let concerned = examples.iter().filter(|event| view.concerns(event).is_some());
            folds.extend(concerned.map(PublishedLanguage::event_type));
        }
        let may_ask = asks.clone();
        let settles: Vec<_> = resources.iter().map(|resource| resource.settles.clone()).collect();
        let start = Arc::new(move |given: &Map<String, Value>| {
            let cells = cells.iter().map(|start| start(given)).collect::<Result<Vec<_>, _>>()?;
            let (may_ask, settles) = (may_ask.clone(), settles.clone());
            Ok(Arc::new(Together { service: name, may_ask, settles, cells }) as Arc<dyn Behaviour>)
        });
        let publishes = E::TYPES.iter().any(|kind| kind.source == name);
        ServiceModel { name, port, resources, asks, texts, listens, publishes, settings, start }
    }

    /// Whether an event concerns one of its aggregates.
    pub(crate) fn is_concerned_by(&self, event: &E) -> bool {
        self.cells.iter().any(|start| {
            start(&Map::new()).is_ok_and(|cell| cell.concerns(event).is_some() || !cell.react_anew(event).is_empty())
        })
    }
}

fn as_object<T: Serialize>(value: &T) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(), // settings such as `()` have no keys
    }
}

/// An aggregate with its type hidden behind JSON documents.
trait Cell<E>: Send + Sync {
    fn collection(&self) -> &'static str;
    fn concerns(&self, event: &E) -> Option<i64>;
    /// What the policy makes of an event.
    fn react(&self, event: &E) -> Option<AnyCommand>;
    /// The same for what it makes afresh.
    fn react_anew(&self, _event: &E) -> Vec<AnyCommand> {
        Vec::new()
    }
    /// What is decided, and what is to be asked once that is committed.
    fn decide(&self, body: Option<&str>, step: Step<'_>) -> Result<(Decision<E>, Vec<Asked>), Damaged>;
    fn evolve(&self, id: i64, body: Option<&str>, event: &E) -> Result<Option<(String, bool)>, Damaged>;
    /// See [`Behaviour::folding`].
    fn folding(&self) -> Option<Box<dyn Folding>> {
        None
    }
}

struct TypedCell<A: Aggregate> {
    collection: &'static str,
    settings: A::Settings,
}

impl<A: Aggregate> TypedCell<A> {
    fn damaged(&self, id: i64, why: impl ToString) -> Damaged {
        Damaged { collection: self.collection, id, why: why.to_string() }
    }

    fn state(&self, id: i64, body: Option<&str>) -> Result<Option<A>, Damaged> {
        body.map(serde_json::from_str).transpose().map_err(|error: serde_json::Error| self.damaged(id, error))
    }
}

impl<A: Aggregate> Cell<A::Event> for TypedCell<A> {
    fn collection(&self) -> &'static str {
        self.collection
    }

    fn concerns(&self, event: &A::Event) -> Option<i64> {
        A::concerns(event).map(Id::get)
    }

    fn react(&self, event: &A::Event) -> Option<AnyCommand> {
        A::react(event).map(any::<A>)
    }

    fn react_anew(&self, event: &A::Event) -> Vec<AnyCommand> {
        A::react_anew(event).into_iter().map(any::<A>).collect()
    }

    fn decide(&self, body: Option<&str>, step: Step<'_>) -> Result<(Decision<A::Event>, Vec<Asked>), Damaged> {
        let (_, id) = step.decider;
        let state = self.state(id, body)?;
        let typed = Id::new(id).ok_or_else(|| self.damaged(id, "an id is 1 or more"))?;
        let command = step.command.command.downcast_ref::<A::Command>();
        let command = command.ok_or_else(|| self.damaged(id, "a command of another aggregate"))?.clone();
        let ctx = Context::new(typed, step.now, &self.settings, step.reply);
        let decision = A::decide(state.as_ref(), command, &ctx);
        Ok((decision, ctx.later.into_inner()))
    }

    fn evolve(&self, id: i64, body: Option<&str>, event: &A::Event) -> Result<Option<(String, bool)>, Damaged> {
        let Some(after) = A::evolve(self.state(id, body)?, event) else { return Ok(None) };
        let body = serde_json::to_string(&after).map_err(|error| self.damaged(id, error))?;
        Ok(Some((body, after.shown())))
    }
}

/// A view with its type hidden behind JSON documents.
struct ViewCell<V> {
    collection: &'static str,
    kind: PhantomData<fn() -> V>,
}

impl<V: View> Cell<V::Event> for ViewCell<V> {
    fn collection(&self) -> &'static str {
        self.collection
    }

    fn concerns(&self, event: &V::Event) -> Option<i64> {
        V::concerns(event)
    }

    fn react(&self, _: &V::Event) -> Option<AnyCommand> {
        None
    }

    fn decide(&self, _: Option<&str>, step: Step<'_>) -> Result<(Decision<V::Event>, Vec<Asked>), Damaged> {
        Err(Damaged { collection: self.collection, id: step.decider.1, why: "a view decides nothing".to_owned() })
    }

    fn evolve(&self, id: i64, body: Option<&str>, event: &V::Event) -> Result<Option<(String, bool)>, Damaged> {
        let damaged = |error: serde_json::Error| Damaged { collection: self.collection, id, why: error.to_string() };
        let mut row = body.map_or_else(|| Ok(V::row(id)), serde_json::from_str).map_err(damaged)?;
        row.fold(event);
        let body = serde_json::to_string(&row).map_err(damaged)?;
        Ok(Some((body, row.shown())))
    }

    fn folding(&self) -> Option<Box<dyn Folding>> {
        Some(Box::new(Fold::<V>::new(self.collection)))
    }
}

/// All aggregates and views of a service: one decides, all that the events concern evolve, in one commit.
struct Together<E> {
    service: &'static str,
    may_ask: Vec<AskTarget>,
    /// What each cell settles later.
    settles: Vec<Vec<SettleModel>>,
    cells: Vec<Box<dyn Cell<E>>>,
}

impl<E: PublishedLanguage> Behaviour for Together<E> {
    fn take(&self, step: Step<'_>, documents: &Documents) -> Result<Outcome, Damaged> {
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

    fn hear(&self, heard: Heard<'_>, documents: &Documents) -> Result<Outcome, Damaged> {
        let Heard { event_type, body, now, new_ids } = heard;
        let undecodable = |error: serde_json::Error| Damaged { collection: "events", id: 0, why: error.to_string() };
        let Some(event) = E::decode(event_type, body).map_err(undecodable)? else {
            return Ok(Outcome::Decided(Decided::default())); // a later release's; not for us
        };
        let mut progress = Progress::new(documents);
        if let Err(missing) = self.evolve(std::slice::from_ref(&event), &mut progress)? {
            return Ok(Outcome::Needs(missing));
        }
        let mut ours = Vec::new();
        // What a policy asks can only be answered later.
        let reply = Some(&Reply::OnlyLater);
        for (at, cell) in self.cells.iter().enumerate() {
            let reaction = cell.concerns(&event).and_then(|id| Some((id, cell.react(&event)?)));
            let anew = cell.react_anew(&event);
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
                    Err(Stop::Ask(_)) => return Err(self.defect(step.decider, "a policy asks".to_owned())),
                }
            }
        }
        Ok(Outcome::Decided(progress.decided(&ours, now, &self.settles)))
    }

    fn folding(&self, resource: usize) -> Option<Box<dyn Folding>> {
        self.cells.get(resource)?.folding()
    }
}

impl<E: PublishedLanguage> Together<E> {
    fn defect(&self, (resource, id): DocumentKey, why: String) -> Damaged {
        Damaged { collection: self.cells[resource].collection(), id, why }
    }

    /// That a question is declared.
    fn check_ask(&self, decider: DocumentKey, asked: &Asked) -> Result<(), Damaged> {
        if self.may_ask.contains(&asked.target) {
            return Ok(());
        }
        Err(self.defect(decider, format!("{:?} is not declared with `asks`", asked.target)))
    }

    /// Notes what is to be asked later. Its answer must have somewhere to go.
    fn ask_later(&self, decider: DocumentKey, later: Vec<Asked>, progress: &mut Progress<'_>) -> Result<(), Damaged> {
        for asked in later {
            self.check_ask(decider, &asked)?;
            if !self.settles[decider.0].iter().any(|settle| settle.target == asked.target) {
                let why = format!("{:?} is asked later and not settled with `settle`", asked.target);
                return Err(self.defect(decider, why));
            }
            progress.later.push((decider, asked));
        }
        Ok(())
    }

    fn check_ours(&self, decider: DocumentKey, events: &[E]) -> Result<(), Damaged> {
        match events.iter().find(|event| event.event_type().source != self.service) {
            None => Ok(()),
            Some(event) => {
                Err(self.defect(decider, format!("{} is published by another service", event.event_type().name)))
            }
        }
    }

    /// Lets everything evolve that these events concern; or tells what must be read first.
    fn evolve(&self, events: &[E], progress: &mut Progress<'_>) -> Result<Result<(), Vec<DocumentKey>>, Damaged> {
        let concerned = || {
            events.iter().flat_map(|event| {
                let cells = self.cells.iter().enumerate();
                cells.filter_map(move |(at, cell)| cell.concerns(event).map(|id| ((at, id), event)))
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

/// Documents in the middle of a step.
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

    /// A document as it is now.
    fn body(&self, key: DocumentKey) -> Option<&str> {
        let after = self.after.get(&key).map(|(body, _)| body.as_str());
        after.or_else(|| self.stored(key).map(|stored| stored.body.as_str()))
    }

    fn decided<E: PublishedLanguage>(mut self, events: &[E], now: Timestamp, settles: &[Vec<SettleModel>]) -> Decided {
        let (after, later) = (std::mem::take(&mut self.after), std::mem::take(&mut self.later));
        // What is as it was needs no commit.
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
