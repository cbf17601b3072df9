//! A service as a runtime sees it: its types erased, everything else derived from them.

use crate::{
    ask::{AskTarget, Asked, Reply},
    describe::{PoliciesOf, PolicyModel, SchemaOf, TimeOutModel},
    event::EventType,
    first::Index,
    input::BadInput,
    rejection::Rejection,
};
use jiff::{
    Timestamp,
    fmt::strtime,
    tz::{Offset, TimeZone},
};
use serde_json::{Map, Value};
use std::{
    any::{Any, TypeId},
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

/// A function that clones of a model share.
pub(crate) type Shared<I, O> = Arc<dyn Fn(&I) -> O + Send + Sync>;

/// A text of a message: its language, its name, the text.
pub type Text = (&'static str, &'static str, &'static str);

/// Stands for an id that is not taken yet. See [`ReceivedEvent::new_ids`].
pub const NEW_ID: i64 = 0;

/// A service with its types erased.
#[derive(Clone)]
pub struct ServiceModel {
    /// `order`
    pub name: &'static str,
    /// Its public port.
    pub port: u16,
    /// Its aggregates and views.
    pub resources: Vec<ResourceModel>,
    /// The asks that it makes.
    pub asks: Vec<AskTarget>,
    /// The texts of its messages.
    pub texts: &'static [Text],
    /// The events of other services that its aggregates and views hear.
    pub listens: BTreeSet<EventType>,
    /// The events that it publishes.
    pub publishes: BTreeSet<EventType>,
    /// The keys of the runtime for which the service has defaults of its own.
    pub defaults: Vec<(&'static str, &'static str)>,
    /// Other names of keys in its table.
    pub aliases: Vec<AliasModel>,
    pub(crate) settings: Map<String, Value>,
    pub(crate) policies_of: PoliciesOf,
    pub(crate) start: Shared<Map<String, Value>, Result<Arc<dyn Behaviour>, SettingsError>>,
}

/// Another name of a key in the table of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AliasModel {
    /// `api.payment.url`
    pub name: &'static str,
    /// `configurl`: the variable of the environment that sets it, too.
    pub variable: &'static str,
    /// `calls.payment.url`
    pub key: &'static str,
}

impl ServiceModel {
    /// The keys that an operator can set, with their defaults.
    pub fn default_settings(&self) -> &Map<String, Value> {
        &self.settings
    }

    /// The behaviour of the service under these settings. Keys that are not given have their defaults.
    pub fn behaviour(&self, settings: &Map<String, Value>) -> Result<Arc<dyn Behaviour>, SettingsError> {
        if let Some(key) = settings.keys().find(|key| !self.settings.contains_key(*key)) {
            return Err(SettingsError { service: self.name, why: format!("the key `{key}` is unknown") });
        }
        (self.start)(settings)
    }

    /// A policy that an event sets off and that no example of the system shows.
    pub(crate) fn unlisted_policy(&self, event_type: &str, body: &str) -> Option<PolicyModel> {
        let policies = (self.policies_of)(event_type, body).unwrap_or_default();
        let unlisted = policies.into_iter().find(|(at, policy)| !self.resources[*at].policies.contains(policy));
        unlisted.map(|(_, policy)| policy)
    }

    /// The position in [`Self::resources`] of a path such as `/orders`.
    pub fn resource_at(&self, path: &str) -> Option<usize> {
        self.resources.iter().position(|resource| resource.paths().any(|known| known == path))
    }
}

impl fmt::Debug for ServiceModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceModel").field("name", &self.name).field("port", &self.port).finish_non_exhaustive()
    }
}

/// A setting that is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[{service}]: {why}")]
pub struct SettingsError {
    /// The service that it belongs to.
    pub service: &'static str,
    /// What is wrong.
    pub why: String,
}

/// An aggregate or a view as a collection of documents with commands.
#[derive(Clone)]
pub struct ResourceModel {
    /// The name of the type of its documents: `Order`.
    pub name: String,
    /// `/orders`
    pub path: &'static str,
    /// `orders`: the name in lists and in the database.
    pub collection: &'static str,
    /// The fields of its documents.
    pub fields: Vec<FieldModel>,
    /// The commands of clients.
    pub commands: Vec<CommandModel>,
    /// The ask that it answers, if any. Its `POST` then takes asks only, unless clients have one, too.
    pub ask: Option<AskModel>,
    /// The asks that may be delayed, and the commands that settle them.
    pub settles: Vec<SettleModel>,
    /// Which ids new documents get.
    pub ids: Ids,
    /// The field that holds the correlation key, if that is not the id.
    pub belongs_by: Option<&'static str>,
    /// The indexes over several fields.
    pub indexes: Vec<Index>,
    /// Other paths of the collection, such as `/order`. Links always have `path`.
    pub aliases: Vec<&'static str>,
    /// Whether it is a view.
    pub is_view: bool,
    /// The events that it hears, of its own and of other services.
    pub hears: BTreeSet<EventType>,
    /// The policies of an aggregate.
    pub policies: Vec<PolicyModel>,
    /// The time-outs of an aggregate.
    pub time_outs: Vec<TimeOutModel>,
    /// The schema of its documents.
    pub schema: SchemaOf,
    /// Finders that name a field which its documents do not have.
    pub(crate) missing_fields: Vec<&'static str>,
    pub(crate) type_id: TypeId,
    pub(crate) is_readable: fn(&str) -> bool,
    /// Whether clients see a document.
    pub(crate) is_shown: fn(&str) -> bool,
}

impl ResourceModel {
    /// Its path and its aliases.
    pub fn paths(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.path).chain(self.aliases.iter().copied())
    }

    pub(crate) fn index_by(&mut self, index: Index) {
        let is_known = |field: &&str| self.fields.iter().any(|known| known.name == *field);
        self.missing_fields.extend(index.iter().filter(|field| !is_known(field)));
        self.indexes.push(index);
    }

    pub(crate) fn find_by(&mut self, field: &'static str) {
        match self.fields.iter_mut().find(|known| known.name == field) {
            Some(known) => known.is_finder = true,
            None => self.missing_fields.push(field),
        }
    }

    /// For a view: the events that it folds.
    pub fn folds(&self) -> Option<&BTreeSet<EventType>> {
        self.is_view.then_some(&self.hears)
    }

    /// Whether this release can read a stored document.
    pub fn is_readable(&self, body: &str) -> bool {
        (self.is_readable)(body)
    }

    /// A document as clients see it: dates in their time zone, and a link to itself.
    pub fn render(&self, id: i64, body: &str, zone: &TimeZone) -> String {
        // Documents are stored in UTC, and most servers run in it.
        let is_utc = zone.to_fixed_offset().is_ok_and(Offset::is_zero);
        let localized = if is_utc { None } else { self.localize(body, zone) };
        let body = localized.as_deref().unwrap_or(body);
        let inner = body.strip_suffix('}').unwrap_or(body);
        let comma = if inner.ends_with('{') { "" } else { "," };
        format!(r#"{inner}{comma}"_links":{{"self":{{"href":"{}/{id}"}}}}}}"#, self.path)
    }

    fn localize(&self, body: &str, zone: &TimeZone) -> Option<String> {
        let mut document: Map<String, Value> = serde_json::from_str(body).ok()?;
        for field in self.fields.iter().filter(|field| field.is_date) {
            if let Some(value) = document.get_mut(&field.name)
                && let Some(time) = value.as_str().and_then(|text| text.parse::<Timestamp>().ok())
                && let Ok(text) = strtime::format("%Y-%m-%dT%H:%M:%S%.3f%:z", &time.to_zoned(zone.clone()))
            {
                *value = Value::String(text);
            }
        }
        serde_json::to_string(&document).ok()
    }
}

impl fmt::Debug for ResourceModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceModel").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The ids that new documents of a resource get: `first`, `first + every`, `first + 2 * every` …, with gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// The smallest one, from 1 to `every`.
    pub first: u16,
    /// Their distance.
    pub every: u16,
}

impl Ids {
    /// Every id from 1.
    pub const ALL: Self = Self { first: 1, every: 1 };

    /// Whether it is one of them.
    pub fn has(self, id: i64) -> bool {
        id.checked_sub(self.first.into()).is_some_and(|distance| distance >= 0 && distance % i64::from(self.every) == 0)
    }

    /// Whether they are ids: there is a first one, and each that is one of them comes within `every` ids.
    pub(crate) const fn are_valid(self) -> bool {
        self.first >= 1 && self.first <= self.every
    }

    /// Whether an id is one of both.
    pub(crate) fn overlap(self, other: Self) -> bool {
        let (mut divisor, mut rest) = (self.every, other.every);
        while rest != 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        self.first % divisor == other.first % divisor // only these have a number in common
    }
}

/// A field of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldModel {
    /// `storeName`
    pub name: String,
    /// Whether it is a point in time.
    pub is_date: bool,
    /// Whether it has a finder: `/orders/search/findByStoreName?storeName=`.
    pub is_finder: bool,
}

impl FieldModel {
    /// `findByStoreName`
    pub fn finder_name(&self) -> String {
        let mut letters = self.name.chars();
        letters
            .next()
            .map_or_else(String::new, |first| format!("findBy{}{}", first.to_ascii_uppercase(), letters.as_str()))
    }
}

/// The request that carries a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// `POST /orders`: makes an instance.
    Post,
    /// `DELETE /orders/{id}`
    Delete,
    /// `PUT /stores/{id}/<action>`
    Put(&'static str),
    /// `PATCH /deliveries/{id}`: changes fields.
    Patch,
}

impl Verb {
    /// The last part of the path, for a `PUT`.
    pub const fn action(self) -> Option<&'static str> {
        if let Self::Put(action) = self { Some(action) } else { None }
    }
}

/// A command of clients.
#[derive(Clone)]
pub struct CommandModel {
    /// Its name: `Place`.
    pub name: String,
    /// The request that carries it.
    pub verb: Verb,
    /// The schema of the body, if it reads one.
    pub input: Option<SchemaOf>,
    pub(crate) read: Shared<[u8], Result<ErasedCommand, BadInput>>,
}

impl CommandModel {
    /// Reads the command from the body of a request.
    pub fn read(&self, body: &[u8]) -> Result<ErasedCommand, BadInput> {
        (self.read)(body)
    }
}

/// An ask that a service answers.
#[derive(Clone)]
pub struct AskModel {
    /// The service and the path.
    pub target: AskTarget,
    /// The name of its command: `Pay`.
    pub name: String,
    /// The schema of the question.
    pub question: SchemaOf,
    /// The name of the command that undoes it: `Void`.
    pub void_name: String,
    /// The command that undoes it.
    pub void: ErasedCommand,
    /// Whether it is about an instance that is there, and changes nothing.
    pub is_inquiry: bool,
    pub(crate) read: Shared<[u8], Result<(i64, ErasedCommand), BadInput>>,
}

impl AskModel {
    /// Reads the id of the instance that the question is about, and the command.
    pub fn read(&self, body: &[u8]) -> Result<(i64, ErasedCommand), BadInput> {
        (self.read)(body)
    }
}

/// An ask that may be delayed.
#[derive(Clone)]
pub struct SettleModel {
    /// The service and the path that answer.
    pub target: AskTarget,
    /// Whether the second body is an answer to the first.
    pub is_answer: fn(&str, &str) -> bool,
    /// The name of the command: `Settle`.
    pub name: String,
    /// The command whose decision gets the answer, or learns that the deadline has passed without one.
    pub command: ErasedCommand,
    /// Whether a document waits for the answer.
    pub(crate) waits: Shared<str, bool>,
}

/// A command with its type erased.
#[derive(Clone)]
pub struct ErasedCommand {
    pub(crate) command: Arc<dyn Any + Send + Sync>,
    pub(crate) is_ending: bool,
}

impl ErasedCommand {
    /// Whether it ends something. It reduces the load, so the service takes it even when it sheds new work.
    pub const fn is_ending(&self) -> bool {
        self.is_ending
    }
}

impl fmt::Debug for ErasedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErasedCommand") // never its content: it may hold a card number
    }
}

/// A document: the position of its resource in [`ServiceModel::resources`], and its id.
pub type DocumentKey = (usize, i64);

/// A document as it was read from the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// 1 when new; each change adds 1.
    pub version: u64,
    /// JSON.
    pub body: String,
}

/// What was read so far: documents, and what indexes have found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Documents {
    rows: BTreeMap<DocumentKey, Option<Stored>>,
    found: Vec<(Lookup, Vec<i64>)>,
}

impl Documents {
    /// Nothing was read.
    pub fn new() -> Self {
        Self::default()
    }

    /// A document. The outer None: it was not read; the inner one: it does not exist.
    pub fn get(&self, key: &DocumentKey) -> Option<&Option<Stored>> {
        self.rows.get(key)
    }

    /// Adds a document as it was read; None if it does not exist.
    pub fn insert(&mut self, key: DocumentKey, stored: Option<Stored>) {
        self.rows.insert(key, stored);
    }

    /// What an index has found.
    pub fn found(&self, lookup: &Lookup) -> Option<&[i64]> {
        self.found.iter().find(|(known, _)| known == lookup).map(|(_, ids)| ids.as_slice())
    }

    /// Adds what an index has found.
    pub fn insert_found(&mut self, lookup: Lookup, ids: Vec<i64>) {
        self.found.push((lookup, ids));
    }

    /// The documents of a resource that were read.
    pub(crate) fn of(&self, resource: usize) -> impl Iterator<Item = i64> {
        self.rows.range((resource, i64::MIN)..=(resource, i64::MAX)).map(|((_, id), _)| *id)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Which documents an index must find: those whose fields have these values.
#[derive(Debug, Clone, PartialEq)]
pub struct Lookup {
    /// The position of the resource in [`ServiceModel::resources`].
    pub resource: usize,
    /// The fields of the index.
    pub fields: Index,
    /// Their values: texts and whole numbers.
    pub values: Vec<Value>,
    /// Only ids after this one, the smallest first.
    pub after: i64,
    /// At most so many.
    pub limit: u32,
}

/// One step of a service: a command for an instance.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The instance that decides.
    pub decider: DocumentKey,
    /// The command.
    pub command: &'a ErasedCommand,
    /// The time of the command.
    pub now: Timestamp,
    /// The reply of the other service, once it was asked.
    pub reply: Option<&'a Reply>,
}

/// An event of another service.
#[derive(Debug, Clone, Copy)]
pub struct ReceivedEvent<'a> {
    /// `Ordered`
    pub event_type: &'a str,
    /// As published.
    pub body: &'a str,
    /// The time of its consequences.
    pub now: Timestamp,
    /// Ids for the instances that it makes, by the position of their resource. [`Outcome::Needs`] requests each missing one as
    /// a [`NEW_ID`].
    pub new_ids: &'a BTreeMap<usize, Vec<i64>>,
}

/// The result of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The runtime must read these documents and take the step again.
    Needs(Vec<DocumentKey>),
    /// The runtime must look this up in an index, shown documents only, and take the step again.
    Find(Lookup),
    /// The runtime must ask another service and take the step again.
    Ask(Box<Asked>),
    /// The command is rejected.
    Rejected(Rejection),
    /// The runtime must commit all of this.
    Decided(Decided),
}

/// What a step commits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decided {
    /// The events, in order.
    pub events: Vec<EncodedEvent>,
    /// The documents that change.
    pub documents: Vec<DocumentAfter>,
    /// How many policy commands were rejected. That is normal: a cancellation may overtake a cook.
    pub dropped: u32,
    /// The asks to make after the commit, each with the document that settles it.
    pub later: Vec<(DocumentKey, Asked)>,
    /// The asks to withdraw and undo: their documents no longer wait for the answer.
    pub withdrawn: Vec<(DocumentKey, AskTarget)>,
    /// What decisions have read and what does not change, with the version (0: it does not exist). The commit must fail if
    /// it has changed.
    pub read: Vec<(DocumentKey, u64)>,
}

/// An event ready for the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedEvent {
    /// `Ordered`
    pub event_type: &'static str,
    /// The correlation key.
    pub key: i64,
    /// As published.
    pub body: String,
}

/// A document after a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentAfter {
    /// The document.
    pub key: DocumentKey,
    /// The version that the step read; 0 if there was none.
    pub expected_version: u64,
    /// Whether clients see it.
    pub shown: bool,
    /// JSON.
    pub body: String,
    /// Whether it waits for something that is to be done in time.
    pub wait: WaitAfter,
}

/// What a step does to the [wait](crate::Aggregate::time_out) of a document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WaitAfter {
    /// It waits as before, or does not wait as before.
    #[default]
    Same,
    /// It begins to wait; an earlier wait ends.
    Begins {
        /// What it waits for.
        name: &'static str,
        /// Until when, in milliseconds since 1970 UTC.
        due_ms: i64,
    },
    /// It no longer waits.
    Ends,
}

/// What a document waits for, and what is decided if that is not done in time.
#[derive(Debug, Clone)]
pub struct TimedOut {
    /// What it waits for.
    pub name: &'static str,
    /// What is decided.
    pub command: ErasedCommand,
}

/// A defect: a stored document that this release cannot read, or a decision that breaks the rules of its system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{collection}/{id}: {why}")]
pub struct Defect {
    /// The collection of the document.
    pub collection: &'static str,
    /// Its id.
    pub id: i64,
    /// What is wrong.
    pub why: String,
}

/// What a service does, with its types erased. Pure.
pub trait Behaviour: Send + Sync {
    /// Decides a command on the documents that were read so far.
    fn decide(&self, step: Step<'_>, documents: &Documents) -> Result<Outcome, Defect>;

    /// Applies an event of another service: everything that it concerns evolves, then policies decide on the new state.
    fn handle(&self, event: ReceivedEvent<'_>, documents: &Documents) -> Result<Outcome, Defect>;

    /// The documents that an event concerns, as far as the event tells: those that [`Self::handle`] will need. None for an event
    /// that cannot be decoded.
    fn concerned_by(&self, _event_type: &str, _body: &str) -> Vec<DocumentKey> {
        Vec::new()
    }

    /// What a document in this state waits for. None: it does not wait.
    fn time_out(&self, _document: DocumentKey, _body: &str) -> Result<Option<TimedOut>, Defect> {
        Ok(None)
    }

    /// What a new database begins with. None: nothing.
    fn seed(&self, _now: Timestamp) -> Result<Option<Decided>, Defect> {
        Ok(None)
    }

    /// Rebuilds a view, by the position of its resource. None for an aggregate, which cannot be rebuilt.
    fn folding(&self, _resource: usize) -> Option<Box<dyn Folding>> {
        None
    }
}

/// A rebuild of one view, with its type erased.
///
/// It works in batches: take the events, put the rows that are missing, fold each event, end the batch. From time to time,
/// `give` returns rows to be stored.
pub trait Folding: Send {
    /// Takes an event. True if it concerns a row; the first of these has number 0 in the batch.
    fn take(&mut self, event_type: &str, body: &str) -> Result<bool, Defect>;

    /// The ids of rows that events concern and that are not loaded. Returns each id once.
    fn missing(&mut self) -> Vec<i64>;

    /// Loads a missing row as `give` returned it. A row that is not put starts empty.
    fn put(&mut self, id: i64, body: &str) -> Result<(), Defect>;

    /// Applies an event of the batch.
    fn fold(&mut self, nth: usize);

    /// Ends the batch.
    fn end_batch(&mut self);

    /// How many rows events have concerned since the last `give`.
    fn rows(&self) -> usize;

    /// Unloads and returns the changed rows in order of id: all of them, or those that no event has concerned since the last
    /// `give`.
    fn give(&mut self, all: bool) -> Result<Vec<Folded>, Defect>;
}

/// A row of a view after events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded {
    /// Its id.
    pub id: i64,
    /// Whether clients see it.
    pub shown: bool,
    /// JSON.
    pub body: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(schemars::JsonSchema, serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[expect(dead_code, reason = "only its schema is read")]
    struct Order {
        order_date: crate::Time,
        name: crate::Name,
    }

    fn resource() -> ResourceModel {
        crate::service::resource_model::<Order>("/orders", |_| true)
    }

    #[test]
    fn a_resource_links_to_itself() {
        assert_eq!(
            resource().render(7, r#"{"id":7}"#, &TimeZone::UTC),
            r#"{"id":7,"_links":{"self":{"href":"/orders/7"}}}"#
        );
        assert_eq!(resource().render(7, "{}", &TimeZone::UTC), r#"{"_links":{"self":{"href":"/orders/7"}}}"#);
    }

    #[test]
    fn dates_are_shown_in_the_zone_of_their_readers() {
        let seoul = TimeZone::fixed(jiff::tz::offset(9));
        let shown =
            resource().render(1, r#"{"orderDate":"2022-09-22T07:06:48.5Z","name":"2022-09-22T07:06:48Z"}"#, &seoul);
        assert!(shown.contains(r#""orderDate":"2022-09-22T16:06:48.500+09:00""#), "{shown}");
        assert!(shown.contains(r#""name":"2022-09-22T07:06:48Z""#), "{shown}");
    }

    #[test]
    fn ids_are_in_common_where_one_number_is_both() {
        let all = || (1..=6).flat_map(|every| (1..=every).map(move |first| Ids { first, every }));
        for (one, other) in all().flat_map(|one| all().map(move |other| (one, other))) {
            let is_both = (1..=36).any(|id| one.has(id) && other.has(id));
            assert_eq!(one.overlap(other), is_both, "{one:?} {other:?}");
        }
        assert!(![-1, 0, 1].into_iter().any(|id| Ids { first: 2, every: 2 }.has(id)));
        assert!(!Ids { first: 3, every: 2 }.are_valid() && !Ids { first: 0, every: 1 }.are_valid());
    }

    #[test]
    fn finders_are_named_after_their_fields() {
        let field = FieldModel { name: "storeName".into(), is_date: false, is_finder: true };
        assert_eq!(field.finder_name(), "findByStoreName");
    }
}
