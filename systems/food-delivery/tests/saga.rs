//! The saga of one order, every interleaving of it: which service hears which event when, whether and when the customer
//! cancels, the shop accepts, rejects or cooks, the rider picks up and delivers. Whenever nothing is under way any more
//! the audit must be clean, and no event may have been published twice.

use jiff::Timestamp;
use jumun::{
    AnyCommand, Behaviour, Case, Decided, DocumentKey, Documents, Heard, Outcome, Reply, Step, Stored, SystemModel,
    Verb,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

/// What a service has committed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Memory {
    documents: BTreeMap<DocumentKey, String>,
    journal: Vec<(String, String)>,
    /// How far it has heard each of the others.
    places: BTreeMap<usize, usize>,
}

/// The whole system at one moment, and what people may still do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Moment {
    services: Vec<Memory>,
    may: BTreeSet<Deed>,
}

/// What somebody does, at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Deed {
    Cancel,
    Accept,
    Reject,
    Cook,
    PickUp,
    Complete,
}

impl Deed {
    const ALL: [Deed; 6] = [Self::Cancel, Self::Accept, Self::Reject, Self::Cook, Self::PickUp, Self::Complete];

    const fn request(self) -> (&'static str, Verb) {
        match self {
            Self::Cancel => ("/orders", Verb::Delete),
            Self::Accept => ("/stores", Verb::Put("accept")),
            Self::Reject => ("/stores", Verb::Put("reject")),
            Self::Cook => ("/stores", Verb::Put("cook-complete")),
            Self::PickUp => ("/deliveries", Verb::Put("pickup")),
            Self::Complete => ("/deliveries", Verb::Put("complete")),
        }
    }
}

/// The system, ready to be taken through moments.
struct Saga {
    model: SystemModel,
    behaviours: Vec<Arc<dyn Behaviour>>,
}

impl Saga {
    fn new(confirm: &str) -> Self {
        let model = food_delivery::system();
        let behaviours = model.services.iter().map(|service| {
            let mut settings = serde_json::Map::new();
            if service.name == "store" {
                settings.insert("confirm".into(), confirm.into());
            }
            service.behaviour(&settings).expect("settings")
        });
        Self { behaviours: behaviours.collect(), model }
    }

    /// Where a path is served: service and resource.
    fn at(&self, path: &str) -> (usize, usize) {
        let mut services = self.model.services.iter().enumerate();
        services.find_map(|(at, service)| Some((at, service.resource_at(path)?))).expect("a path")
    }

    /// Reads what a step needs until it comes to something.
    fn run(memory: &Memory, step: impl Fn(&Documents) -> Outcome) -> Outcome {
        let mut documents = Documents::new();
        loop {
            match step(&documents) {
                Outcome::Needs(keys) => documents.extend(keys.into_iter().map(|key| {
                    let stored = memory.documents.get(&key);
                    (key, stored.map(|body| Stored { version: 1, body: body.clone() }))
                })),
                outcome => return outcome,
            }
        }
    }

    fn take(
        &self,
        moment: &Moment,
        service: usize,
        decider: DocumentKey,
        command: &AnyCommand,
        reply: Option<&Reply>,
    ) -> Outcome {
        let step = Step { decider, command, now: Timestamp::UNIX_EPOCH, reply };
        Self::run(&moment.services[service], |documents| {
            self.behaviours[service].take(step, documents).expect("no defect")
        })
    }

    fn commit(moment: &mut Moment, service: usize, decided: Decided) {
        let memory = &mut moment.services[service];
        memory.documents.extend(decided.documents.into_iter().map(|after| (after.key, after.body)));
        memory.journal.extend(decided.events.into_iter().map(|event| (event.event_type.to_owned(), event.body)));
    }

    /// Order 7 is placed and paid.
    fn begin(&self, may: impl IntoIterator<Item = Deed>) -> Moment {
        let mut moment =
            Moment { services: vec![Memory::default(); self.model.services.len()], may: may.into_iter().collect() };
        let (order, resource) = self.at("/orders");
        let basket = br#"{"storeName":"s","itemName":"i","itemQty":1,"price":22000}"#;
        let post = &self.model.services[order].resources[resource].commands[0];
        let place = post.read(basket).expect("a basket");
        let Outcome::Ask(asked) = self.take(&moment, order, (resource, 7), &place, None) else { panic!("it asks") };
        let (payment, at) = self.at(asked.target.path);
        let ask = self.model.services[payment].resources[at].ask.as_ref().expect("an ask");
        let (id, pay) = ask.read(asked.body.as_bytes()).expect("a question");
        let Outcome::Decided(paid) = self.take(&moment, payment, (at, id), &pay, None) else { panic!("it is paid") };
        let reply = Reply::Accepted(paid.documents[0].body.clone());
        Self::commit(&mut moment, payment, paid);
        let Outcome::Decided(ordered) = self.take(&moment, order, (resource, 7), &place, Some(&reply)) else {
            panic!("it stands")
        };
        Self::commit(&mut moment, order, ordered);
        moment
    }

    /// Every moment that comes of hearing one event; none: the system is quiet.
    fn heard(&self, moment: &Moment) -> Vec<Moment> {
        let services = 0..moment.services.len();
        let pairs = services.clone().flat_map(|listener| services.clone().map(move |source| (listener, source)));
        pairs.filter_map(|(listener, source)| self.after_hearing(moment, listener, source)).collect()
    }

    /// All events heard, in some order.
    fn settled(&self, mut moment: Moment) -> Moment {
        while let Some(next) = self.heard(&moment).into_iter().next() {
            moment = next;
        }
        moment
    }

    /// None: it is refused, and may be tried again later.
    fn after_deed(&self, moment: &Moment, deed: Deed) -> Option<Moment> {
        let mut moment = moment.clone();
        moment.may.remove(&deed);
        let (path, verb) = deed.request();
        let (service, resource) = self.at(path);
        let commands = &self.model.services[service].resources[resource].commands;
        let command =
            commands.iter().find(|command| command.verb == verb).expect("a command").read(b"").expect("no body");
        match self.take(&moment, service, (resource, 7), &command, None) {
            Outcome::Decided(decided) => Self::commit(&mut moment, service, decided),
            Outcome::Rejected(_) => return None,
            other => panic!("{deed:?}: {other:?}"),
        }
        Some(moment)
    }

    /// The next event of a source that a listener wants, heard.
    fn after_hearing(&self, moment: &Moment, listener: usize, source: usize) -> Option<Moment> {
        let listens = &self.model.services[listener].listens;
        let from = moment.services[listener].places.get(&source).copied().unwrap_or_default();
        let journal = &moment.services[source].journal;
        let wanted = |event_type: &str| listens.iter().any(|event| event.name == event_type);
        let at = (from..journal.len()).find(|at| listener != source && wanted(&journal[*at].0))?;
        let (event_type, body) = &journal[at];
        let heard = Heard { event_type, body, now: Timestamp::UNIX_EPOCH, new_ids: &BTreeMap::new() };
        let outcome = Self::run(&moment.services[listener], |documents| {
            self.behaviours[listener].hear(heard, documents).expect("no defect")
        });
        let Outcome::Decided(decided) = outcome else { panic!("{outcome:?}") };
        let mut after = moment.clone();
        after.services[listener].places.insert(source, at + 1);
        Self::commit(&mut after, listener, decided);
        Some(after)
    }

    fn violations(&self, moment: &Moment) -> Vec<String> {
        let mut case = Case::new(7);
        for (service, memory) in self.model.services.iter().zip(&moment.services) {
            for ((resource, _), body) in &memory.documents {
                case = case.with(&service.resources[*resource], body);
            }
        }
        let mut found = (self.model.audit)(&case).violations().to_vec();
        for memory in &moment.services {
            let types: BTreeSet<_> = memory.journal.iter().map(|(event_type, _)| event_type).collect();
            if types.len() < memory.journal.len() {
                found.push(format!("an event was published twice: {:?}", memory.journal));
            }
        }
        found
    }

    /// Goes through everything that can happen; tells how many moments there are, and how many of them are quiet.
    fn explore(&self, may: impl IntoIterator<Item = Deed>) -> (usize, usize) {
        let mut known = HashSet::new();
        let mut ahead = vec![self.begin(may)];
        let mut quiet = 0;
        while let Some(moment) = ahead.pop() {
            if known.contains(&moment) {
                continue;
            }
            let heard = self.heard(&moment);
            if heard.is_empty() {
                quiet += 1;
                assert_eq!(self.violations(&moment), Vec::<String>::new(), "{moment:#?}");
            }
            ahead.extend(heard);
            ahead.extend(moment.may.iter().filter_map(|deed| self.after_deed(&moment, *deed)));
            known.insert(moment);
        }
        (known.len(), quiet)
    }

    fn status_of(&self, moment: &Moment, path: &str) -> Option<String> {
        let (service, resource) = self.at(path);
        let body = moment.services[service].documents.get(&(resource, 7))?;
        let row: serde_json::Value = serde_json::from_str(body).expect("JSON");
        row.get("orderStatus").or(row.get("status")).and_then(|status| status.as_str()).map(str::to_owned)
    }
}

#[test]
fn every_interleaving_ends_well_when_orders_are_confirmed_at_once() {
    let (moments, quiet) = Saga::new("automatic").explore(Deed::ALL);
    println!("{moments} moments, {quiet} of them quiet");
    assert!(moments > 1_000, "there is much that can happen: {moments}");
}

#[test]
fn every_interleaving_ends_well_when_the_owner_confirms() {
    let (moments, quiet) = Saga::new("manual").explore(Deed::ALL);
    println!("{moments} moments, {quiet} of them quiet");
    assert!(moments > 1_000, "there is much that can happen: {moments}");
}

#[test]
fn an_order_that_nobody_disturbs_is_delivered() {
    let saga = Saga::new("automatic");
    let mut moment = saga.settled(saga.begin([]));
    for (deed, shown) in
        [(Deed::Cook, "DELIVERY_STARTED"), (Deed::PickUp, "PICKED_UP"), (Deed::Complete, "DELIVERY_COMPLETED")]
    {
        moment = saga.settled(saga.after_deed(&moment, deed).expect("it is allowed"));
        for path in ["/orders", "/deliveries", "/dashboards"] {
            assert_eq!(saga.status_of(&moment, path).as_deref(), Some(shown), "{path} after {deed:?}");
        }
    }
}

#[test]
fn a_shop_that_rejects_cancels_the_order() {
    let saga = Saga::new("manual");
    let moment = saga.settled(saga.begin([]));
    let moment = saga.settled(saga.after_deed(&moment, Deed::Reject).expect("it is allowed"));
    assert_eq!(saga.status_of(&moment, "/orders").as_deref(), Some("CANCELED"));
    assert_eq!(saga.status_of(&moment, "/stores").as_deref(), Some("CANCELED"));
    assert_eq!(saga.status_of(&moment, "/payinfos").as_deref(), Some("ORDER_CANCELED"));
    assert_eq!(saga.status_of(&moment, "/dashboards").as_deref(), Some("ORDER_CANCELED"));
}
