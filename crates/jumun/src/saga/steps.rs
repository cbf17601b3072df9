//! The steps of a system: commands, asks and events.

use super::state::{Call, Committed, Done, Facts, Memory, ORDER, Published, State, TimeOuts, at, json};
use crate::{
    ask::{Asked, Reply},
    input::BadInput,
    model::{
        Behaviour, Decided, DocumentKey, Documents, ErasedCommand, Lookup, NEW_ID, Outcome, ReceivedEvent,
        ServiceModel, Step, Stored, Verb,
    },
    rejection::Rejection,
    system::SystemModel,
};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    sync::Arc,
};

/// What a person does, at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Action {
    path: &'static str,
    verb: Verb,
    body: &'static str,
    id: i64,
}

impl Action {
    /// `POST`
    pub const fn post(path: &'static str, body: &'static str) -> Self {
        Self { path, verb: Verb::Post, body, id: ORDER }
    }

    /// `DELETE` of the document that has the order's id.
    pub const fn delete(path: &'static str) -> Self {
        Self { path, verb: Verb::Delete, body: "", id: ORDER }
    }

    /// `PUT /{id}/<action>` with the order's id.
    pub const fn put(path: &'static str, action: &'static str) -> Self {
        Self { path, verb: Verb::Put(action), body: "", id: ORDER }
    }

    /// `PATCH` of the document that has the order's id.
    pub const fn patch(path: &'static str, body: &'static str) -> Self {
        Self { path, verb: Verb::Patch, body, id: ORDER }
    }

    /// The same for the document of another id.
    #[must_use]
    pub const fn on(self, id: i64) -> Self {
        Self { id, ..self }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, verb, id, .. } = self;
        match verb {
            Verb::Post => write!(f, "POST {path}"),
            Verb::Delete => write!(f, "DELETE {path}/{id}"),
            Verb::Put(action) => write!(f, "PUT {path}/{id}/{action}"),
            Verb::Patch => write!(f, "PATCH {path}/{id}"),
        }
    }
}

/// What becomes of an ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReplyOutcome {
    /// The other service does it, now or before, and its answer arrives.
    Accepted,
    /// The other service refuses for good.
    Refused,
    /// The other service is not reached and does nothing.
    NotDone,
    /// The other service does it, and its answer is lost.
    Lost,
    /// There is no answer yet: the ask is delayed.
    Delayed,
    /// The deadline of a delayed ask passes.
    Expired,
    /// The other service undoes it.
    Voided,
}

/// One order of a system and what may happen to it.
pub struct Saga {
    pub(super) model: Arc<SystemModel>,
    settings: Vec<Map<String, Value>>,
    pub(super) behaviours: Vec<Arc<dyn Behaviour>>,
    /// The services to which no other one subscribes.
    unheard: Vec<bool>,
    /// What founds the order, then what else people may do.
    pub(super) actions: Vec<Action>,
    pub(super) name: Box<Name>,
    pub(super) checks: Vec<Box<Check>>,
    /// What was computed before: services are pure functions, and most steps meet a memory that is known.
    pub(super) cache: Cache,
}

/// A service that applies the nth event of another.
#[derive(PartialEq, Eq, Hash)]
struct Hearing {
    listener: usize,
    memory: Committed,
    source: usize,
    nth: usize,
    event: Published,
}

#[derive(Default)]
pub(super) struct Cache {
    memories: RefCell<HashSet<Committed>>,
    heard: RefCell<HashMap<Hearing, Decided>>,
    acted: RefCell<HashMap<(Action, Committed), Outcome>>,
    pub(super) time_outs: TimeOuts,
}

pub(super) type Name = dyn Fn(&str, &Value) -> Option<String>;
pub(super) type Check = dyn Fn(&State) -> Vec<String>;

/// A way that a command may go.
pub(super) struct Branch {
    pub(super) facts: Facts,
    pub(super) result: Result<(), Rejection>,
    /// What became of the asks on the way, the outermost first.
    pub(super) outcomes: Vec<ReplyOutcome>,
    /// The asks that it made and that were accepted.
    asks: Vec<Call>,
}

/// A way that an ask may go.
struct Asking {
    facts: Facts,
    reply: Reply,
    outcomes: Vec<ReplyOutcome>,
    /// The ask, if it was accepted.
    accepted: Option<Call>,
}

/// A way that the service that is asked may go.
struct Answering {
    facts: Facts,
    result: Result<Done, Rejection>,
    outcomes: Vec<ReplyOutcome>,
}

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

impl Saga {
    /// An order of a system, founded by an action. Its id is 7.
    pub fn new(model: SystemModel, founding: Action) -> Self {
        assert_eq!(model.problems(), [], "{} has problems", model.name);
        let settings = vec![Map::new(); model.services.len()];
        let behaviours = model.services.iter().map(|service| service.behaviour(&Map::new()).expect("default settings"));
        let is_unheard = |source: &str| {
            let mut events = model.services.iter().flat_map(|service| &service.listens);
            !events.any(|event| event.source == source)
        };
        Self {
            behaviours: behaviours.collect(),
            unheard: model.services.iter().map(|service| is_unheard(service.name)).collect(),
            settings,
            model: Arc::new(model),
            actions: vec![founding],
            name: Box::new(|event_type, event| Some(format!("{event_type} of {}", event["id"]))),
            checks: Vec::new(),
            cache: Cache::default(),
        }
    }

    /// Sets a setting of a service.
    #[must_use]
    pub fn set(mut self, service: &str, key: &str, value: impl Into<Value>) -> Self {
        let at = self.model.services.iter().position(|known| known.name == service).expect("a service of the system");
        self.settings[at].insert(key.to_owned(), value.into());
        self.behaviours[at] = self.model.services[at].behaviour(&self.settings[at]).expect("valid settings");
        self.cache = Cache::default();
        self
    }

    /// Adds what people may do, each at most once and at any time.
    #[must_use]
    pub fn actions(mut self, actions: impl IntoIterator<Item = Action>) -> Self {
        self.actions.extend(actions);
        assert!(self.actions.len() <= 64, "at most 64 actions");
        self
    }

    /// Names events: no name may be published twice. By default an event is named by its type and its id. None: the event
    /// may be published more than once.
    #[must_use]
    pub fn name_events(mut self, name: impl Fn(&str, &Value) -> Option<String> + 'static) -> Self {
        self.name = Box::new(name);
        self
    }

    /// Adds a check of every quiet state: it returns what is wrong.
    #[must_use]
    pub fn check(mut self, check: impl Fn(&State) -> Vec<String> + 'static) -> Self {
        self.checks.push(Box::new(check));
        self
    }

    /// Nothing has happened: there is what new databases begin with.
    pub fn nothing(&self) -> State {
        let mut facts = State::nothing(&self.model).facts;
        for (service, behaviour) in self.behaviours.iter().enumerate() {
            if let Some(seed) = behaviour.seed(NOW).unwrap_or_else(|defect| panic!("{defect}")) {
                self.commit(&mut facts, service, seed);
            }
        }
        self.deliver(&self.state(facts))
    }

    /// The order is founded; everything that is asked for it is accepted.
    #[track_caller]
    pub fn begin(&self) -> State {
        self.act(&self.nothing(), &self.actions[0]).unwrap_or_else(|why| panic!("{}: {why:?}", self.actions[0]))
    }

    /// The order is to be founded, and its ask meets this outcome.
    #[track_caller]
    pub fn begin_with(&self, outcome: ReplyOutcome) -> (State, Result<(), Rejection>) {
        let begun = self.acts(&self.nothing().facts, &self.actions[0]).into_iter();
        let accepted = |inner: &[ReplyOutcome]| inner.iter().all(|inner| *inner == ReplyOutcome::Accepted);
        let mut begun = begun.filter(|branch| {
            branch.outcomes.split_first().is_some_and(|(first, rest)| *first == outcome && accepted(rest))
        });
        let branch = begun.next().unwrap_or_else(|| panic!("{} asks nothing that may be {outcome:?}", self.actions[0]));
        (self.state(branch.facts), branch.result)
    }

    /// A person acts; everything that is asked for it is accepted.
    pub fn act(&self, state: &State, action: &Action) -> Result<State, Rejection> {
        let mut branches = self.acts(&state.facts, action).into_iter();
        let branch = branches
            .find(|branch| branch.outcomes.iter().all(|outcome| *outcome == ReplyOutcome::Accepted))
            .unwrap_or_else(|| panic!("{action}: an ask is never accepted"));
        branch.result.map(|()| self.state(branch.facts))
    }

    /// An ask that is not finished meets this outcome. None: no ask can.
    pub fn reply(&self, state: &State, outcome: ReplyOutcome) -> Option<State> {
        let mut replies = self.replies(&state.facts).into_iter();
        replies.find(|(_, met, _)| *met == outcome).map(|(_, _, facts)| self.state(facts))
    }

    /// All events are applied everywhere, each source's in order.
    #[must_use]
    pub fn deliver(&self, state: &State) -> State {
        let mut facts = state.facts.clone();
        loop {
            let next = self.deliveries(&facts).next();
            let Some((_, _, _, next)) = next else { return self.state(facts) };
            facts = next;
        }
    }

    /// A service applies the nth event of another, out of order or again. Counted from 0.
    #[must_use]
    pub fn deliver_nth(&self, state: &State, listener: &str, source: &str, nth: usize) -> State {
        let at = |name| self.model.services.iter().position(|known| known.name == name).expect("a service");
        let mut facts = state.facts.clone();
        self.hear(&mut facts, at(listener), at(source), nth);
        self.state(facts)
    }

    /// All services apply all events again.
    #[must_use]
    pub fn deliver_again(&self, state: &State) -> State {
        let mut facts = state.facts.clone();
        for service in &mut facts.services {
            *service = Committed::new(Memory { offsets: BTreeMap::new(), ..(**service).clone() });
        }
        self.deliver(&self.state(facts))
    }

    /// The service that answers asks at a path undoes the one for the order, whether or not it did it.
    #[must_use]
    pub fn undo(&self, state: &State, path: &str) -> State {
        let mut facts = state.facts.clone();
        self.void(&mut facts, at(&self.model, path), ORDER);
        self.state(facts)
    }

    pub(super) fn state(&self, facts: Facts) -> State {
        State { model: Arc::clone(&self.model), facts }
    }

    /// Every way that an action may go.
    pub(super) fn acts(&self, facts: &Facts, action: &Action) -> Vec<Branch> {
        let (service, resource) = at(&self.model, action.path);
        let mut commands = self.model.services[service].resources[resource].commands.iter();
        let command = commands.find(|command| command.verb == action.verb);
        let command = command.unwrap_or_else(|| panic!("there is no {action}"));
        let command = command.read(action.body.as_bytes()).unwrap_or_else(|why| panic!("{action}: {why:?}"));
        let (decider, key) = ((resource, action.id), (*action, facts.services[service].clone()));
        let known = self.cache.acted.borrow().get(&key).cloned();
        let outcome = known.unwrap_or_else(|| {
            let outcome = self.decide(facts, service, decider, &command, None);
            self.cache.acted.borrow_mut().insert(key, outcome.clone());
            outcome
        });
        self.conclude(facts, service, decider, &command, outcome)
    }

    /// Every event that can be applied next: listener, source, position, and the facts after it.
    pub(super) fn deliveries(&self, facts: &Facts) -> impl Iterator<Item = (usize, usize, usize, Facts)> {
        let services = facts.services.len();
        let pairs = (0..services).flat_map(move |listener| (0..services).map(move |source| (listener, source)));
        pairs.filter(|(listener, source)| listener != source).filter_map(move |(listener, source)| {
            let listens = &self.model.services[listener].listens;
            let from = facts.services[listener].offsets.get(&source).copied().unwrap_or_default();
            let wanted = |event: &Published| listens.iter().any(|wanted| wanted.name == event.event_type);
            let nth = from + facts.services[source].journal.get(from..)?.iter().position(wanted)?;
            let mut after = facts.clone();
            self.hear(&mut after, listener, source, nth);
            let memory = (*after.services[listener]).clone();
            let offsets = memory.offsets.into_iter().chain([(source, nth + 1)]).collect();
            after.services[listener] = self.shared(Memory { offsets, ..memory });
            Some((listener, source, nth, after))
        })
    }

    /// Everything that may become of the asks that are not finished.
    pub(super) fn replies(&self, facts: &Facts) -> Vec<(Call, ReplyOutcome, Facts)> {
        facts.calls.iter().flat_map(|call| self.replies_to(facts, call)).collect()
    }

    fn replies_to(&self, facts: &Facts, call: &Call) -> Vec<(Call, ReplyOutcome, Facts)> {
        let without = |mut facts: Facts| {
            facts.calls.remove(call);
            facts
        };
        let with = |mut facts: Facts, call: Call| {
            facts.calls.insert(call);
            facts
        };
        let mut replies = Vec::new();
        let mut push = |outcome, facts| replies.push((call.clone(), outcome, facts));
        let answers = match &call.done {
            Some(done) => vec![Answering { facts: facts.clone(), result: Ok(done.clone()), outcomes: Vec::new() }],
            None => self.answer(facts, call.target.path, &call.question),
        };
        for Answering { facts: answered, result, .. } in answers {
            match result {
                Ok(done) => {
                    let is_new = call.done.is_none();
                    let call = Call { done: Some(done.clone()), ..call.clone() };
                    if !call.is_voiding {
                        let reply = Reply::Accepted(done.answer.to_string());
                        push(ReplyOutcome::Accepted, self.settle(without(answered.clone()), &call, &reply));
                    }
                    if is_new {
                        push(ReplyOutcome::Lost, with(without(answered), call));
                    }
                }
                Err(Rejection::Unavailable(_)) => push(ReplyOutcome::NotDone, answered),
                Err(why) if !call.is_voiding => {
                    push(ReplyOutcome::Refused, self.settle(without(answered), call, &Reply::Refused(why)));
                }
                Err(_) => push(ReplyOutcome::Refused, answered),
            }
        }
        let voiding = Call { is_voiding: true, ..call.clone() };
        if call.is_voiding {
            let mut voided = without(facts.clone());
            let (service, resource) = at(&self.model, call.target.path);
            let (id, _) = self.read_ask(service, resource, &call.question).unwrap_or_else(|why| panic!("{why:?}"));
            self.void(&mut voided, (service, resource), id);
            let asks = call.done.iter().flat_map(|done| &done.asks);
            voided.calls.extend(asks.map(|ask| Call { is_voiding: true, ..ask.clone() }));
            push(ReplyOutcome::Voided, voided);
        } else {
            if call.done.is_none() {
                push(ReplyOutcome::Refused, self.settle(without(facts.clone()), call, &refused()));
            }
            let expired = with(without(facts.clone()), voiding);
            push(ReplyOutcome::Expired, self.settle(expired, call, &Reply::Unavailable));
        }
        replies
    }

    /// The command that settles a delayed ask decides.
    fn settle(&self, mut facts: Facts, call: &Call, reply: &Reply) -> Facts {
        let (service, decider) = call.asker;
        let resource = &self.model.services[service].resources[decider.0];
        let settle =
            resource.settles.iter().find(|settle| settle.target == call.target).expect("a delayed ask is settled");
        if let Reply::Accepted(answer) = reply {
            assert!((settle.is_answer)(&call.question, answer), "{answer} does not answer {}", call.question);
        }
        match self.decide(&facts, service, decider, &settle.command, Some(reply)) {
            Outcome::Decided(decided) => self.commit(&mut facts, service, decided),
            other => panic!("the command that settles {:?} must decide: {other:?}", call.target),
        }
        facts
    }

    fn void(&self, facts: &mut Facts, (service, resource): (usize, usize), id: i64) {
        let ask = self.model.services[service].resources[resource].ask.as_ref().expect("the path answers asks");
        match self.decide(facts, service, (resource, id), &ask.void, None) {
            Outcome::Decided(undone) => self.commit(facts, service, undone),
            other => panic!("an undo must not be refused: {other:?}"),
        }
    }

    /// Every way that a command may go.
    fn command(&self, facts: &Facts, service: usize, decider: DocumentKey, command: &ErasedCommand) -> Vec<Branch> {
        let outcome = self.decide(facts, service, decider, command, None);
        self.conclude(facts, service, decider, command, outcome)
    }

    /// Every way that a command may go on after its first run.
    fn conclude(
        &self,
        facts: &Facts,
        service: usize,
        decider: DocumentKey,
        command: &ErasedCommand,
        outcome: Outcome,
    ) -> Vec<Branch> {
        let branch = |facts, result| Branch { facts, result, outcomes: Vec::new(), asks: Vec::new() };
        let asked = match outcome {
            Outcome::Decided(decided) => {
                let mut facts = facts.clone();
                self.commit(&mut facts, service, decided);
                return vec![branch(facts, Ok(()))];
            }
            Outcome::Rejected(why) => return vec![branch(facts.clone(), Err(why))],
            Outcome::Ask(asked) => asked,
            Outcome::Needs(_) | Outcome::Find(_) => unreachable!("every document is read"),
        };
        let conclude = |Asking { mut facts, reply, outcomes, accepted }: Asking| match self.decide(
            &facts,
            service,
            decider,
            command,
            Some(&reply),
        ) {
            Outcome::Decided(decided) => {
                let repeats = |(_, later): &(DocumentKey, Asked)| *later == *asked;
                assert!(
                    reply != Reply::Later || decided.later.iter().any(repeats),
                    "a delayed ask must repeat the same question"
                );
                self.commit(&mut facts, service, decided);
                Branch { facts, result: Ok(()), outcomes, asks: accepted.into_iter().collect() }
            }
            Outcome::Rejected(why) => {
                facts.calls.extend(accepted.map(|call| Call { is_voiding: true, ..call }));
                Branch { facts, result: Err(why), outcomes, asks: Vec::new() }
            }
            other => panic!("a decision with its answer must decide: {other:?}"),
        };
        self.ask(facts, service, decider, &asked).into_iter().map(conclude).collect()
    }

    /// Every way that an ask may go.
    fn ask(&self, facts: &Facts, service: usize, decider: DocumentKey, asked: &Asked) -> Vec<Asking> {
        let call = |done| {
            let (target, question) = (asked.target, asked.body.clone());
            Call { asker: (service, decider), target, question, is_voiding: false, done }
        };
        let plain = |outcome, reply| Asking { facts: facts.clone(), reply, outcomes: vec![outcome], accepted: None };
        let unavailable = |mut facts: Facts, done, outcomes| {
            facts.calls.insert(Call { is_voiding: true, ..call(done) });
            Asking { facts, reply: Reply::Unavailable, outcomes, accepted: None }
        };
        let mut ways = vec![plain(ReplyOutcome::Refused, refused()), plain(ReplyOutcome::NotDone, Reply::Unavailable)];
        let mut settles = self.model.services[service].resources[decider.0].settles.iter();
        if settles.any(|settle| settle.target == asked.target) {
            ways.push(plain(ReplyOutcome::Delayed, Reply::Later));
        }
        for Answering { facts, result, outcomes } in self.answer(facts, asked.target.path, &asked.body) {
            let trace = |first| [first].into_iter().chain(outcomes.iter().copied()).collect();
            match result {
                Ok(done) => {
                    if (asked.is_answer)(&asked.body, &done.answer) {
                        let reply = Reply::Accepted(done.answer.to_string());
                        let accepted = Some(call(Some(done.clone())));
                        let (facts, outcomes) = (facts.clone(), trace(ReplyOutcome::Accepted));
                        ways.push(Asking { facts, reply, outcomes, accepted });
                    }
                    ways.push(unavailable(facts, Some(done), trace(ReplyOutcome::Lost)));
                }
                Err(Rejection::Unavailable(_)) => ways.push(unavailable(facts, None, trace(ReplyOutcome::Lost))),
                Err(why) => {
                    let (reply, outcomes) = (Reply::Refused(why), trace(ReplyOutcome::Refused));
                    ways.push(Asking { facts, reply, outcomes, accepted: None });
                }
            }
        }
        ways
    }

    /// Every way that the service that is asked may go.
    fn answer(&self, facts: &Facts, path: &str, question: &str) -> Vec<Answering> {
        let (service, resource) = at(&self.model, path);
        let (id, command) = match self.read_ask(service, resource, question) {
            Ok(read) => read,
            Err(why) => return vec![Answering { facts: facts.clone(), result: Err(why), outcomes: Vec::new() }],
        };
        let branches = self.command(facts, service, (resource, id), &command).into_iter();
        let answering = |Branch { facts, result, outcomes, asks }: Branch| {
            let answer = || {
                let answer = facts.services[service].documents.get(&(resource, id)).cloned();
                answer.unwrap_or_else(|| panic!("{path} accepts an ask and has no document"))
            };
            let result = result.map(|()| Done { answer: answer(), asks });
            Answering { facts, result, outcomes }
        };
        branches.map(answering).collect()
    }

    fn read_ask(&self, service: usize, resource: usize, question: &str) -> Result<(i64, ErasedCommand), Rejection> {
        let ask = self.model.services[service].resources[resource].ask.as_ref().expect("the path answers asks");
        ask.read(question.as_bytes()).map_err(|why| match why {
            BadInput::Rejected(why) => why,
            BadInput::Malformed(why) => panic!("{question}: {why}"),
        })
    }

    fn decide(
        &self,
        facts: &Facts,
        service: usize,
        decider: DocumentKey,
        command: &ErasedCommand,
        reply: Option<&Reply>,
    ) -> Outcome {
        self.decide_on(&facts.services[service], service, decider, command, reply)
    }

    pub(super) fn decide_on(
        &self,
        memory: &Memory,
        service: usize,
        decider: DocumentKey,
        command: &ErasedCommand,
        reply: Option<&Reply>,
    ) -> Outcome {
        let step = Step { decider, command, now: NOW, reply };
        let mut documents = Documents::new();
        loop {
            match self.behaviours[service].decide(step, &documents).unwrap_or_else(|defect| panic!("{defect}")) {
                Outcome::Needs(keys) => {
                    for key in keys {
                        documents.insert(key, stored(memory, key));
                    }
                }
                Outcome::Find(lookup) => find(&self.model.services[service], memory, lookup, &mut documents),
                outcome => return outcome,
            }
        }
    }

    /// A service applies an event of another.
    fn hear(&self, facts: &mut Facts, listener: usize, source: usize, nth: usize) {
        let (memory, event) = (facts.services[listener].clone(), facts.services[source].journal[nth].clone());
        let hearing = Hearing { listener, memory, source, nth, event };
        let known = self.cache.heard.borrow().get(&hearing).cloned();
        let decided = known.unwrap_or_else(|| {
            let decided = self.heard(&hearing);
            self.cache.heard.borrow_mut().insert(hearing, decided.clone());
            decided
        });
        self.commit(facts, listener, decided);
    }

    fn heard(&self, Hearing { listener, memory, source, nth, event }: &Hearing) -> Decided {
        let Published { event_type, body } = event;
        if let Some(policy) = self.model.services[*listener].unlisted_policy(event_type, body) {
            panic!("no example shows that {policy:?}: add an event like this one to the examples: {body}");
        }
        let mut documents = Documents::new();
        // The same event always makes the same ids, so that states do not differ by the order of what happened.
        let first = i64::try_from(1_000 * (source + 1) + 10 * nth).expect("a small number");
        let mut new_ids: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
        loop {
            let heard = ReceivedEvent { event_type, body, now: NOW, new_ids: &new_ids };
            let outcome =
                self.behaviours[*listener].handle(heard, &documents).unwrap_or_else(|defect| panic!("{defect}"));
            match outcome {
                Outcome::Needs(keys) => {
                    for key in keys {
                        if key.1 == NEW_ID {
                            let ids = new_ids.entry(key.0).or_default();
                            assert!(ids.len() < 10, "an event makes at most 10 new instances");
                            ids.push(first + i64::try_from(ids.len()).expect("a small number"));
                        } else {
                            documents.insert(key, stored(memory, key));
                        }
                    }
                }
                Outcome::Find(lookup) => {
                    find(&self.model.services[*listener], memory, lookup, &mut documents);
                }
                Outcome::Decided(decided) => return decided,
                other => panic!("an event must be applied: {other:?}"),
            }
        }
    }

    /// The memory, shared with all states that have the same.
    fn shared(&self, memory: Memory) -> Committed {
        let memory = Committed::new(memory);
        let mut memories = self.cache.memories.borrow_mut();
        if let Some(known) = memories.get(&memory) {
            return known.clone();
        }
        memories.insert(memory.clone());
        memory
    }

    pub(super) fn commit(&self, facts: &mut Facts, service: usize, decided: Decided) {
        let mut memory = (*facts.services[service]).clone();
        memory.documents.extend(decided.documents.into_iter().map(|after| (after.key, after.body.into())));
        let events = decided.events.into_iter();
        memory.journal.extend(events.map(|event| Published { event_type: event.event_type, body: event.body.into() }));
        if self.unheard[service] {
            memory.journal.sort(); // no service can see the order of these events
        }
        facts.services[service] = self.shared(memory);
        let later = decided.later.into_iter().filter(|(_, asked)| !asked.target.is_external());
        facts.calls.extend(later.map(|(decider, asked)| {
            let (target, question) = (asked.target, asked.body);
            Call { asker: (service, decider), target, question, is_voiding: false, done: None }
        }));
        let is_withdrawn = |call: &Call| {
            let (asking, decider) = call.asker;
            asking == service && decided.withdrawn.contains(&(decider, call.target))
        };
        if !decided.withdrawn.is_empty() {
            let calls = std::mem::take(&mut facts.calls).into_iter();
            let calls = calls.map(|call| Call { is_voiding: call.is_voiding || is_withdrawn(&call), ..call });
            facts.calls = calls.collect::<BTreeSet<_>>();
        }
    }
}

fn stored(memory: &Memory, key: DocumentKey) -> Option<Stored> {
    memory.documents.get(&key).map(|body| Stored { version: 1, body: body.to_string() })
}

/// What an index of a service finds.
fn find(service: &ServiceModel, memory: &Memory, lookup: Lookup, documents: &mut Documents) {
    let resource = &service.resources[lookup.resource];
    let rows = memory.documents.range((lookup.resource, lookup.after + 1)..=(lookup.resource, i64::MAX));
    let is_found = |body: &str| {
        let document = json(body);
        let mut values = lookup.fields.iter().zip(&lookup.values);
        values.all(|(field, value)| document[*field] == *value) && (resource.is_shown)(body)
    };
    let ids = rows.filter(|(_, body)| is_found(body)).map(|((_, id), _)| *id).take(lookup.limit as usize).collect();
    documents.insert_found(lookup, ids);
}

/// A service may refuse for reasons of its own.
fn refused() -> Reply {
    Reply::Refused(Rejection::Declined("refused".into()))
}
