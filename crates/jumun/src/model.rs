//! A system as a runtime sees it: the types erased, everything else derived from them.

use crate::{
    ask::{AskTarget, Asked, Reply},
    event::EventType,
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

/// A text of messages as a system brings it: its language, its name, and the text itself.
pub type Text = (&'static str, &'static str, &'static str);

/// In place of an id: one that nothing has yet is needed. See [`Heard::new_ids`].
pub const NEW_ID: i64 = 0;

/// A service without its types.
#[derive(Clone)]
pub struct ServiceModel {
    /// `order`
    pub name: &'static str,
    /// The port that its users know it by.
    pub port: u16,
    /// What it keeps, an aggregate each.
    pub resources: Vec<ResourceModel>,
    /// Whom it asks.
    pub asks: Vec<AskTarget>,
    /// The texts of its messages.
    pub texts: &'static [Text],
    /// The events of other services that concern it, read off its aggregates.
    pub listens: BTreeSet<EventType>,
    /// Whether it publishes events of its own.
    pub publishes: bool,
    pub(crate) settings: Map<String, Value>,
    pub(crate) start: Shared<Map<String, Value>, Result<Arc<dyn Behaviour>, SettingsError>>,
}

impl ServiceModel {
    /// The keys that an operator may set, with their defaults.
    pub fn default_settings(&self) -> &Map<String, Value> {
        &self.settings
    }

    /// The service's behaviour under these settings; what is not given is as by default.
    pub fn behaviour(&self, settings: &Map<String, Value>) -> Result<Arc<dyn Behaviour>, SettingsError> {
        if let Some(key) = settings.keys().find(|key| !self.settings.contains_key(*key)) {
            return Err(SettingsError { service: self.name, why: format!("the key `{key}` is unknown") });
        }
        (self.start)(settings)
    }

    /// Where in [`Self::resources`] a path such as `/orders` stands.
    pub fn resource_at(&self, path: &str) -> Option<usize> {
        self.resources.iter().position(|resource| resource.path == path)
    }
}

impl fmt::Debug for ServiceModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceModel").field("name", &self.name).field("port", &self.port).finish_non_exhaustive()
    }
}

/// A setting that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[{service}]: {why}")]
pub struct SettingsError {
    /// The service whose table it stands in.
    pub service: &'static str,
    /// What is wrong.
    pub why: String,
}

/// An aggregate as a collection of documents with commands.
#[derive(Clone)]
pub struct ResourceModel {
    /// `/orders`
    pub path: &'static str,
    /// `orders`: the name in lists and in the database.
    pub collection: &'static str,
    /// The fields of its documents.
    pub fields: Vec<FieldModel>,
    /// What clients can do.
    pub commands: Vec<CommandModel>,
    /// The question it answers, if it answers one. Its `POST` is then for asks only.
    pub ask: Option<AskModel>,
    /// The questions whose answers may come later, and what settles them.
    pub settles: Vec<SettleModel>,
    /// The field that holds the correlation key, where that is not the id.
    pub belongs_by: Option<&'static str>,
    /// The events that it is made of, own and foreign, where it is a view; an aggregate has none.
    pub folds: Option<BTreeSet<EventType>>,
    /// Finders that name a field which its documents do not have.
    pub(crate) missing_fields: Vec<&'static str>,
    pub(crate) type_id: TypeId,
    pub(crate) is_readable: fn(&str) -> bool,
}

impl ResourceModel {
    pub(crate) fn find_by(&mut self, field: &'static str) {
        match self.fields.iter_mut().find(|known| known.name == field) {
            Some(known) => known.is_finder = true,
            None => self.missing_fields.push(field),
        }
    }

    /// Whether this release can read a stored document.
    pub fn is_readable(&self, body: &str) -> bool {
        (self.is_readable)(body)
    }

    /// A document as its users see it: dates in their time zone, and a link to itself.
    pub fn render(&self, id: i64, body: &str, zone: &TimeZone) -> String {
        // Documents are stored in UTC; most servers run in it.
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
                && let Ok(text) = strtime::format("%Y-%m-%dT%H:%M:%S%.f%:z", &time.to_zoned(zone.clone()))
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

/// A field of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldModel {
    /// `storeName`
    pub name: String,
    /// Whether it is a point in time.
    pub is_date: bool,
    /// Whether there is a finder for it: `/orders/search/findByStoreName?storeName=`.
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

/// How a command comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// `POST /orders`: makes one.
    Post,
    /// `DELETE /orders/{id}`
    Delete,
    /// `PUT /stores/{id}/<action>`
    Put(&'static str),
    /// `PATCH /deliveries/{id}`: what is to be different.
    Patch,
}

impl Verb {
    /// The last part of the path, where the command has one.
    pub const fn action(self) -> Option<&'static str> {
        if let Self::Put(action) = self { Some(action) } else { None }
    }
}

/// A command as clients send it.
#[derive(Clone)]
pub struct CommandModel {
    /// How it comes in.
    pub verb: Verb,
    pub(crate) read: Shared<[u8], Result<AnyCommand, BadInput>>,
}

impl CommandModel {
    /// The command that a body stands for.
    pub fn read(&self, body: &[u8]) -> Result<AnyCommand, BadInput> {
        (self.read)(body)
    }
}

/// A question that a service answers.
#[derive(Clone)]
pub struct AskModel {
    /// Where.
    pub target: AskTarget,
    /// What undoes it.
    pub void: AnyCommand,
    pub(crate) read: Shared<[u8], Result<(i64, AnyCommand), BadInput>>,
}

impl AskModel {
    /// The id of the instance that a question is about, and the command that it stands for.
    pub fn read(&self, body: &[u8]) -> Result<(i64, AnyCommand), BadInput> {
        (self.read)(body)
    }
}

/// A question whose answer may come later.
#[derive(Clone)]
pub struct SettleModel {
    /// Who is asked.
    pub target: AskTarget,
    /// Whether the second body is a yes to the first.
    pub is_answer: fn(&str, &str) -> bool,
    /// The command whose decision gets the answer; or hears, once the deadline is over, that there is none.
    pub command: AnyCommand,
    /// Whether a document waits for the answer.
    pub(crate) waits: Shared<str, bool>,
}

/// A command of some aggregate.
#[derive(Clone)]
pub struct AnyCommand {
    pub(crate) command: Arc<dyn Any + Send + Sync>,
    pub(crate) is_ending: bool,
}

impl AnyCommand {
    /// Whether it ends something, and so makes less work: it is done even where new work is turned away.
    pub const fn is_ending(&self) -> bool {
        self.is_ending
    }
}

impl fmt::Debug for AnyCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyCommand") // never its content: it may hold a card number
    }
}

/// A document by the place of its resource in [`ServiceModel::resources`] and its id.
pub type DocumentKey = (usize, i64);

/// A document as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// 1 when new, one more with each change.
    pub version: u64,
    /// JSON.
    pub body: String,
}

/// What was read so far. `None`: looked for, not there.
pub type Documents = BTreeMap<DocumentKey, Option<Stored>>;

/// One step of a service: a command for an instance.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The instance that decides.
    pub decider: DocumentKey,
    /// What is asked of it.
    pub command: &'a AnyCommand,
    /// The time of the command.
    pub now: Timestamp,
    /// What the neighbour said, once it was asked.
    pub reply: Option<&'a Reply>,
}

/// An event of another service.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// `Ordered`
    pub event_type: &'a str,
    /// As published.
    pub body: &'a str,
    /// The time that its consequences have.
    pub now: Timestamp,
    /// Ids for what it makes afresh, by the place of the resource. Each that is missing is asked for as a [`NEW_ID`], with
    /// [`Outcome::Needs`].
    pub new_ids: &'a BTreeMap<usize, Vec<i64>>,
}

/// What comes of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// These documents must be read first; then the step is taken again.
    Needs(Vec<DocumentKey>),
    /// A neighbour must be asked first.
    Ask(Box<Asked>),
    /// No.
    Rejected(Rejection),
    /// This is to be committed, all of it.
    Decided(Decided),
}

/// What is to be committed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decided {
    /// What happened, in order.
    pub events: Vec<EncodedEvent>,
    /// Every document that is another one now.
    pub documents: Vec<DocumentAfter>,
    /// How many policies wanted something that the state did not allow. That is normal: a cancel overtakes a cook.
    pub dropped: u32,
    /// Questions to be asked once this is committed, each with the document that settles it.
    pub later: Vec<(DocumentKey, Asked)>,
    /// Documents that do not wait for an answer any more, and whose: what was asked is to be taken back.
    pub withdrawn: Vec<(DocumentKey, AskTarget)>,
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
    /// Which.
    pub key: DocumentKey,
    /// The version that the step saw; 0 for none.
    pub expected_version: u64,
    /// Whether it is in lists.
    pub shown: bool,
    /// JSON.
    pub body: String,
}

/// A stored document that this release cannot read, or a decision that breaks the rules of its system. A defect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{collection}/{id}: {why}")]
pub struct Damaged {
    /// The collection of the document.
    pub collection: &'static str,
    /// Its id.
    pub id: i64,
    /// What is wrong.
    pub why: String,
}

/// What a service does, without its types. Pure.
pub trait Behaviour: Send + Sync {
    /// Takes a step on the documents read so far.
    fn take(&self, step: Step<'_>, documents: &Documents) -> Result<Outcome, Damaged>;

    /// Hears an event of another service: whatever it concerns evolves, then policies decide on the state of then.
    fn hear(&self, heard: Heard<'_>, documents: &Documents) -> Result<Outcome, Damaged>;

    /// Makes rows of a view anew, by the place of its resource; None for an aggregate, which cannot be.
    fn folding(&self, _resource: usize) -> Option<Box<dyn Folding>> {
        None
    }
}

/// Rows of one view that are made anew, without their type.
///
/// Events are taken in batches: take them, read what rows are missing and put them, fold each; and from time to time
/// let the rows be given, to be stored.
pub trait Folding: Send {
    /// Takes an event; true if it concerns a row. The first that does so is the 0th of the batch.
    fn take(&mut self, event_type: &str, body: &str) -> Result<bool, Damaged>;

    /// The rows that events concern and that are not at hand. Each is said once.
    fn missing(&mut self) -> Vec<i64>;

    /// A row that is missing, as it was given. What is missing and not put begins anew.
    fn put(&mut self, id: i64, body: &str) -> Result<(), Damaged>;

    /// Lets the nth event of the batch have its effect.
    fn fold(&mut self, nth: usize);

    /// Ends the batch.
    fn is_folded(&mut self);

    /// How many rows events have concerned since rows were last given.
    fn rows(&self) -> usize;

    /// Rows that were changed, in order of id; they are at hand no more. All of them, or those that no event has
    /// concerned since rows were last given.
    fn give(&mut self, all: bool) -> Result<Vec<Folded>, Damaged>;
}

/// A row of a view after events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded {
    /// Which.
    pub id: i64,
    /// Whether it is in lists.
    pub shown: bool,
    /// JSON.
    pub body: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource() -> ResourceModel {
        ResourceModel {
            path: "/orders",
            collection: "orders",
            fields: vec![FieldModel { name: "orderDate".into(), is_date: true, is_finder: false }],
            commands: vec![],
            ask: None,
            settles: Vec::new(),
            belongs_by: None,
            folds: None,
            missing_fields: Vec::new(),
            type_id: TypeId::of::<()>(),
            is_readable: |_| true,
        }
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
        assert!(shown.contains(r#""orderDate":"2022-09-22T16:06:48.5+09:00""#), "{shown}");
        assert!(shown.contains(r#""name":"2022-09-22T07:06:48Z""#), "{shown}");
    }

    #[test]
    fn finders_are_named_after_their_fields() {
        let field = FieldModel { name: "storeName".into(), is_date: false, is_finder: true };
        assert_eq!(field.finder_name(), "findByStoreName");
    }
}
