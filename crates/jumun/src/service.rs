//! Services: aggregates that share one commit, and how clients and other services reach them.

use crate::{
    aggregate::{Aggregate, CommandOf, SettingsOf, Terms, View},
    ask::{Ask, AskTarget},
    behaviour::{Cell, ServiceBehaviour, TypedCell, ViewCell, any},
    describe::{PolicyModel, TimeOutModel, name_of, name_of_function, schema_of},
    event::{EventType, PublishedLanguage},
    first::Index,
    input::{self, BadInput, Texts},
    model::{
        AliasModel, AskModel, Behaviour, CommandModel, ErasedCommand, FieldModel, Ids, ResourceModel, ServiceModel,
        SettingsError, SettleModel, Text, Verb,
    },
    rejection::Rejection,
    subscription,
};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::{any::TypeId, collections::BTreeSet, marker::PhantomData, sync::Arc};

/// What clients and other services send: it is read from JSON, and described by a schema.
pub trait Input: DeserializeOwned + JsonSchema + 'static {}
impl<T: DeserializeOwned + JsonSchema + 'static> Input for T {}

/// An aggregate and its API: its path, the commands that clients send there, the ask that it answers.
#[derive(Debug)]
pub struct Resource<A> {
    model: ResourceModel,
    kind: PhantomData<fn() -> A>,
}

impl<A: Aggregate> Resource<A> {
    /// An aggregate at a path. `/orders` is the collection, `/orders/7` one of its documents.
    pub fn at(path: &'static str) -> Self {
        let is_shown = |body: &str| serde_json::from_str::<A>(body).is_ok_and(|instance| instance.shown());
        Self { model: resource_model::<A>(path, is_shown), kind: PhantomData }
    }

    /// Which ids new instances get: `first`, `first + every` …; by default every one from 1. Two aggregates that both found
    /// correlation keys must have none in common: `ids(1, 2)` and `ids(2, 2)`. `first` is 1 to `every`.
    #[must_use]
    pub fn ids(mut self, first: u16, every: u16) -> Self {
        self.model.ids = Ids { first, every };
        self
    }

    /// `POST`: a command that makes an instance from what the client sends.
    #[must_use]
    pub fn on_post<I: Input>(self, command: impl Fn(I) -> CommandOf<A> + Send + Sync + 'static) -> Self {
        self.on_body(Verb::Post, command)
    }

    /// `DELETE`: a command that ends an instance. Clients can still read it.
    #[must_use]
    pub fn on_delete(self, command: CommandOf<A>) -> Self {
        let name = name_of(&command);
        let command = ErasedCommand { is_ending: true, ..any::<A>(command) };
        self.on(Verb::Delete, name, command)
    }

    /// `PUT /{id}/<action>`: a command that a person gives, such as `accept`.
    #[must_use]
    pub fn on_put(self, action: &'static str, command: CommandOf<A>) -> Self {
        let name = name_of(&command);
        self.on(Verb::Put(action), name, any::<A>(command))
    }

    fn on(mut self, verb: Verb, name: String, command: ErasedCommand) -> Self {
        let read = Arc::new(move |_: &[u8]| Ok(command.clone()));
        self.model.commands.push(CommandModel { name, verb, input: None, read });
        self
    }

    /// `PATCH /{id}`: a command that changes what the client sends.
    #[must_use]
    pub fn on_patch<I: Input>(self, command: impl Fn(I) -> CommandOf<A> + Send + Sync + 'static) -> Self {
        self.on_body(Verb::Patch, command)
    }

    fn on_body<I: Input, F>(mut self, verb: Verb, command: F) -> Self
    where
        F: Fn(I) -> CommandOf<A> + Send + Sync + 'static,
    {
        let name = name_of_function::<F, I>();
        let read = Arc::new(move |body: &[u8]| input::read(body, Texts::OfPeople).map(|sent| any::<A>(command(sent))));
        self.model.commands.push(CommandModel { name, verb, input: Some(schema_of::<I>()), read });
        self
    }

    /// Settles a [delayed ask](crate::Context::ask_or_later) with this command. Its decision gets the answer, or
    /// [`Answer::Unavailable`](crate::Answer::Unavailable) once the deadline has passed. [`Aggregate::waits_for`] says
    /// whether an instance still waits.
    #[must_use]
    pub fn settle<Q, T>(mut self, ask: &Ask<Q, T>, command: CommandOf<A>) -> Self {
        let target = ask.target();
        self.model.settles.push(SettleModel {
            target,
            is_answer: ask.is_answer(),
            name: name_of(&command),
            command: any::<A>(command),
            waits: Arc::new(move |body: &str| {
                serde_json::from_str(body).is_ok_and(|instance: A| instance.waits_for(target))
            }),
        });
        self
    }

    /// Answers an ask with a command for the instance that the question is about. `void` undoes it: also if it was never
    /// done, and more than once.
    #[must_use]
    pub fn on_ask<Q, F>(mut self, ask: &Ask<Q, A>, command: F, void: CommandOf<A>) -> Self
    where
        Q: Serialize + Input,
        F: Fn(Q) -> CommandOf<A> + Send + Sync + 'static,
    {
        let about = ask.about();
        let read = Arc::new(move |body: &[u8]| {
            let question: Q = input::read(body, Texts::AsTheyAre)?;
            // An external ask is about no instance. A system in which an aggregate answers one has a problem.
            let about = about.ok_or(BadInput::Rejected(Rejection::NotFound))?;
            Ok((about(&question).get(), any::<A>(command(question))))
        });
        self.model.ask = Some(AskModel {
            target: ask.target(),
            name: name_of_function::<F, Q>(),
            question: schema_of::<Q>(),
            void_name: name_of(&void),
            void: any::<A>(void),
            is_inquiry: false,
            read,
        });
        self
    }

    /// Answers an ask about an instance that is there, such as whether it exists. It makes and changes nothing; clients may
    /// `POST` to the same path. See [`Self::on_ask`].
    #[must_use]
    pub fn on_inquiry<Q, F>(self, ask: &Ask<Q, A>, command: F, void: CommandOf<A>) -> Self
    where
        Q: Serialize + Input,
        F: Fn(Q) -> CommandOf<A> + Send + Sync + 'static,
    {
        let mut answering = self.on_ask(ask, command, void);
        answering.model.ask = answering.model.ask.map(|ask| AskModel { is_inquiry: true, ..ask });
        answering
    }

    /// `GET …/search/findBy<Field>`: finds documents by a field, which gets an index.
    #[must_use]
    pub fn find_by(mut self, field: &'static str) -> Self {
        self.model.find_by(field);
        self
    }

    /// An index over several fields, for [`Aggregate::react_first`].
    #[must_use]
    pub fn index(mut self, fields: Index) -> Self {
        self.model.index_by(fields);
        self
    }

    /// Another path of the same collection. Links in answers have the path of [`at`](Self::at).
    #[must_use]
    pub fn alias(mut self, path: &'static str) -> Self {
        self.model.aliases.push(path);
        self
    }

    /// For an aggregate whose instances have [ids of their own](Aggregate::react_anew): the field that holds the correlation
    /// key. It gets a finder.
    #[must_use]
    pub fn belongs_by(mut self, field: &'static str) -> Self {
        self.model.belongs_by = Some(field);
        self.find_by(field)
    }
}

/// A view and its API.
#[derive(Debug)]
pub struct ReadModel<V> {
    model: ResourceModel,
    kind: PhantomData<fn() -> V>,
}

impl<V: View> ReadModel<V> {
    /// A view at a path.
    pub fn at(path: &'static str) -> Self {
        Self {
            model: resource_model::<V>(path, |body| serde_json::from_str(body).is_ok_and(|row: V| row.shown())),
            kind: PhantomData,
        }
    }

    /// See [`Resource::find_by`].
    #[must_use]
    pub fn find_by(mut self, field: &'static str) -> Self {
        self.model.find_by(field);
        self
    }
}

pub(crate) fn resource_model<T: JsonSchema + DeserializeOwned + 'static>(
    path: &'static str,
    is_shown: fn(&str) -> bool,
) -> ResourceModel {
    ResourceModel {
        name: T::schema_name().into_owned(),
        path,
        collection: path.trim_start_matches('/'),
        fields: fields_of::<T>(),
        commands: Vec::new(),
        ask: None,
        settles: Vec::new(),
        ids: Ids::ALL,
        belongs_by: None,
        indexes: Vec::new(),
        aliases: Vec::new(),
        is_view: false,
        hears: BTreeSet::new(),
        policies: Vec::new(),
        time_outs: Vec::new(),
        schema: schema_of::<T>(),
        missing_fields: Vec::new(),
        type_id: TypeId::of::<T>(),
        is_readable: |body| serde_json::from_str::<T>(body).is_ok(),
        is_shown,
    }
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

/// The time-outs of an aggregate that events show.
type TimeOutsOf<E> = fn(&[E]) -> Vec<TimeOutModel>;

type Start<E> = Box<dyn Fn(&Map<String, Value>) -> Result<Box<dyn Cell<E>>, SettingsError> + Send + Sync>;

/// One service: aggregates and views that share a database and a commit.
pub struct Service<E: PublishedLanguage> {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    pub(crate) resources: Vec<ResourceModel>,
    pub(crate) asks: Vec<AskTarget>,
    texts: &'static [Text],
    defaults: Vec<(&'static str, &'static str)>,
    aliases: Vec<AliasModel>,
    settings: Map<String, Value>,
    /// The subscriptions of each aggregate and view, by the path.
    pub(crate) hears: Vec<(&'static str, &'static [E::Kind])>,
    cells: Vec<Start<E>>,
    pub(crate) seed: Vec<E>,
    /// The policies of each aggregate and view that an event sets off.
    policies: Vec<fn(&E) -> Vec<PolicyModel>>,
    /// The time-outs of each aggregate and view that events show.
    time_outs: Vec<TimeOutsOf<E>>,
}

impl<E: PublishedLanguage> Service<E> {
    /// A service and its public port.
    pub fn new(name: &'static str, port: u16) -> Self {
        let (resources, asks, defaults, aliases, settings, hears, cells, policies, time_outs) = Default::default();
        let (texts, seed): (&[Text], _) = (&[], Vec::new());
        Self {
            name,
            port,
            resources,
            asks,
            texts,
            defaults,
            aliases,
            settings,
            hears,
            cells,
            seed,
            policies,
            time_outs,
        }
    }

    /// Adds an aggregate.
    #[must_use]
    pub fn aggregate<A: Aggregate<Terms: Terms<Event = E>>>(mut self, resource: Resource<A>) -> Self {
        let service = self.name;
        let collection = resource.model.collection;
        let defaults = as_object(&SettingsOf::<A>::default());
        self.settings.extend(defaults.clone());
        self.hears.push((resource.model.path, A::HEARS));
        self.resources.push(ResourceModel { hears: event_types::<E>(A::HEARS), ..resource.model });
        self.policies.push(subscription::policies::<A>);
        self.time_outs.push(subscription::time_outs::<A>);
        self.cells.push(Box::new(move |given| {
            let mut settings = defaults.clone();
            for (key, value) in &mut settings {
                if let Some(set) = given.get(key) {
                    value.clone_from(set);
                }
            }
            let settings: SettingsOf<A> = serde_path_to_error::deserialize(Value::Object(settings))
                .map_err(|error| SettingsError { service, why: format!("{}: {}", error.path(), error.inner()) })?;
            Ok(Box::new(TypedCell::<A> { collection, settings }) as Box<dyn Cell<E>>)
        }));
        self
    }

    /// Adds a view.
    #[must_use]
    pub fn view<V: View<Event = E>>(mut self, view: ReadModel<V>) -> Self {
        let collection = view.model.collection;
        self.hears.push((view.model.path, V::HEARS));
        self.resources.push(ResourceModel { is_view: true, hears: event_types::<E>(V::HEARS), ..view.model });
        self.policies.push(|_| Vec::new());
        self.time_outs.push(|_| Vec::new());
        self.cells.push(Box::new(move |_| Ok(Box::new(ViewCell::<V>::new(collection)) as Box<dyn Cell<E>>)));
        self
    }

    /// Declares an ask of its aggregates. An ask that is not declared is a defect and is not sent.
    #[must_use]
    pub fn asks<Q, T>(mut self, ask: &Ask<Q, T>) -> Self {
        self.asks.push(ask.target());
        self
    }

    /// The events that a new database begins with, and what they make: one commit, before the first command. New ids
    /// continue after those of the seed.
    #[must_use]
    pub fn seed(mut self, events: impl IntoIterator<Item = E>) -> Self {
        self.seed.extend(events);
        self
    }

    /// The texts of the messages that it sends through an [external](Ask::external) sender.
    #[must_use]
    pub fn texts(mut self, texts: &'static [Text]) -> Self {
        self.texts = texts;
        self
    }

    /// Sets another default for a key of the runtime in the table of this service, such as `shed`. An operator's value still
    /// wins.
    #[must_use]
    pub fn default_of(mut self, key: &'static str, value: &'static str) -> Self {
        self.defaults.push((key, value));
        self
    }

    /// Gives a key of the runtime in the table of this service another name, and a variable of the environment that sets it
    /// without a prefix: for operators who know the spelling of an earlier implementation. `/actuator/info` shows its value.
    #[must_use]
    pub fn alias(mut self, name: &'static str, variable: &'static str, key: &'static str) -> Self {
        self.aliases.push(AliasModel { name, variable, key });
        self
    }

    pub(crate) fn into_model(self, examples: &[(E, &'static str)]) -> ServiceModel {
        let Self {
            name,
            port,
            mut resources,
            asks,
            texts,
            defaults,
            aliases,
            settings,
            hears: _,
            cells,
            seed,
            policies,
            time_outs,
        } = self;
        let listens = resources.iter().flat_map(|resource| &resource.hears).copied();
        let listens = listens.filter(|event| event.source != name).collect();
        for (resource, policies) in resources.iter_mut().zip(&policies) {
            let shown: BTreeSet<_> = examples.iter().flat_map(|(event, _)| policies(event)).collect();
            resource.policies = shown.into_iter().collect();
        }
        let events: Vec<_> = examples.iter().map(|(event, _)| event.clone()).collect();
        for (resource, time_outs) in resources.iter_mut().zip(&time_outs) {
            resource.time_outs = time_outs(&events);
        }
        let policies_of = Arc::new(move |event_type: &str, body: &str| {
            let event = E::decode(event_type, body).ok()??;
            let of = |(at, policies): (usize, &fn(&E) -> Vec<PolicyModel>)| {
                policies(&event).into_iter().map(move |policy| (at, policy)).collect::<Vec<_>>()
            };
            Some(policies.iter().enumerate().flat_map(of).collect())
        });
        let may_ask = asks.clone();
        let settles: Vec<_> = resources.iter().map(|resource| resource.settles.clone()).collect();
        let kinds: Vec<_> = resources.iter().map(|resource| resource.type_id).collect();
        let indexes: Vec<_> = resources.iter().map(|resource| resource.indexes.clone()).collect();
        let start = Arc::new(move |given: &Map<String, Value>| {
            let cells = cells.iter().map(|start| start(given)).collect::<Result<Vec<_>, _>>()?;
            let (may_ask, settles, seed) = (may_ask.clone(), settles.clone(), seed.clone());
            let (kinds, indexes) = (kinds.clone(), indexes.clone());
            let behaviour = ServiceBehaviour { service: name, may_ask, settles, kinds, indexes, seed, cells };
            Ok(Arc::new(behaviour) as Arc<dyn Behaviour>)
        });
        let publishes = E::TYPES.iter().copied().filter(|event| event.source == name).collect();
        ServiceModel {
            name,
            port,
            resources,
            asks,
            texts,
            listens,
            publishes,
            defaults,
            aliases,
            settings,
            policies_of,
            start,
        }
    }
}

fn event_types<E: PublishedLanguage>(kinds: &[E::Kind]) -> BTreeSet<EventType> {
    kinds.iter().map(|kind| (*kind).into()).collect()
}

fn as_object<T: Serialize>(value: &T) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(), // settings that are no struct have no keys
    }
}
