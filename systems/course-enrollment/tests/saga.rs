//! The saga of one order, every interleaving of it: which service hears which event when, whether and when the customer
//! cancels, the manager confirms, rejects or starts the course, and what becomes of a payment that is delayed. Whenever
//! nothing is under way any more the audit must be clean, no event may have been published twice, and the customer must
//! have been told of each one once.

use jiff::Timestamp;
use jumun::{
    AnyCommand, Asked, Behaviour, Case, Decided, DocumentKey, Documents, Heard, Outcome, Rejection, Reply, Step,
    Stored, SystemModel, Verb,
};
use serde_json::Value;
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
    call: Call,
}

/// The question to pay, as the runtime of the order's service has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Call {
    /// Answered, or taken back.
    Over,
    /// Asked until it is answered.
    Delayed,
    /// To be taken back.
    Voiding,
}

/// What becomes of the question to pay.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It is paid, and the answer is lost.
    Lost,
    /// It is paid, at last or before, and the answer comes.
    Paid,
    /// The card is declined.
    Declined,
    /// The deadline is over.
    Over,
    /// It is taken back.
    Void,
}

/// What somebody does, at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Deed {
    Cancel,
    Confirm,
    Reject,
    Start,
}

impl Deed {
    const ALL: [Deed; 4] = [Self::Cancel, Self::Confirm, Self::Reject, Self::Start];

    const fn request(self) -> (&'static str, Verb) {
        match self {
            Self::Cancel => ("/orders", Verb::Delete),
            Self::Confirm => ("/reservations", Verb::Put("confirm")),
            Self::Reject => ("/reservations", Verb::Put("reject")),
            Self::Start => ("/reservations", Verb::Put("start")),
        }
    }
}

/// The system, ready to be taken through moments.
struct Saga {
    model: SystemModel,
    behaviours: Vec<Arc<dyn Behaviour>>,
}

/// The only order.
const ORDER: DocumentKey = (0, 7);

impl Saga {
    fn new(confirm: &str) -> Self {
        let model = course_enrollment::system();
        let behaviours = model.services.iter().map(|service| {
            let mut settings = serde_json::Map::new();
            if service.name == "reservation" {
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

    fn commit(&self, moment: &mut Moment, service: usize, decided: Decided) {
        let memory = &mut moment.services[service];
        memory.documents.extend(decided.documents.into_iter().map(|after| (after.key, after.body)));
        memory.journal.extend(decided.events.into_iter().map(|event| (event.event_type.to_owned(), event.body)));
        if self.model.services[service].name == "notification" {
            memory.journal.sort(); // nobody listens to it: which message was first makes no difference
        }
        if decided.withdrawn.iter().any(|(key, _)| (service, *key) == (0, ORDER)) && moment.call == Call::Delayed {
            moment.call = Call::Voiding;
        }
    }

    fn nothing_yet(&self, may: impl IntoIterator<Item = Deed>) -> Moment {
        let services = vec![Memory::default(); self.model.services.len()];
        Moment { services, may: may.into_iter().collect(), call: Call::Over }
    }

    fn place(&self) -> AnyCommand {
        let body = br#"{"orderId":2,"customerId":"kim","eduNo":102,"cardNo":"4111-1111-1111-1111"}"#;
        let commands = &self.model.services[0].resources[0].commands;
        commands.iter().find(|command| command.verb == Verb::Post).expect("a command").read(body).expect("an order")
    }

    /// What is asked before an order stands.
    fn question(&self) -> Asked {
        match self.take(&self.nothing_yet([]), 0, ORDER, &self.place(), None) {
            Outcome::Ask(asked) => *asked,
            other => panic!("it asks: {other:?}"),
        }
    }

    /// The order is placed, and this is what the neighbour says.
    fn placed(&self, moment: &mut Moment, reply: &Reply) -> Result<(), Rejection> {
        match self.take(moment, 0, ORDER, &self.place(), Some(reply)) {
            Outcome::Decided(ordered) => {
                if *reply == Reply::Later {
                    assert_eq!(ordered.later, [(ORDER, self.question())], "the same is asked later");
                    moment.call = Call::Delayed;
                }
                self.commit(moment, 0, ordered);
                Ok(())
            }
            Outcome::Rejected(why) => Err(why),
            other => panic!("{other:?}"),
        }
    }

    /// The payment is taken, if it was not yet. Gives the answer.
    fn paid(&self, moment: &mut Moment) -> Reply {
        let asked = self.question();
        let (pay, at) = self.at(asked.target.path);
        let ask = self.model.services[pay].resources[at].ask.as_ref().expect("an ask");
        let (id, command) = ask.read(asked.body.as_bytes()).expect("a question");
        if !moment.services[pay].documents.contains_key(&(at, id)) {
            let Outcome::Decided(paid) = self.take(moment, pay, (at, id), &command, None) else { panic!("it pays") };
            self.commit(moment, pay, paid);
        }
        let answer = moment.services[pay].documents[&(at, id)].clone();
        assert!((asked.is_answer)(&asked.body, &answer), "{answer} answers {}", asked.body);
        Reply::Accepted(answer)
    }

    /// What was paid is given back.
    fn voided(&self, moment: &mut Moment) {
        let (pay, at) = self.at("/pays");
        let ask = self.model.services[pay].resources[at].ask.as_ref().expect("an ask");
        let Outcome::Decided(undone) = self.take(moment, pay, (at, 7), &ask.void, None) else { panic!("it undoes") };
        self.commit(moment, pay, undone);
    }

    /// Order 7 is placed and paid.
    fn begin(&self, may: impl IntoIterator<Item = Deed>) -> Moment {
        let mut moment = self.nothing_yet(may);
        let reply = self.paid(&mut moment);
        self.placed(&mut moment, &reply).expect("it stands");
        moment
    }

    /// Order 7 is placed and its payment delayed.
    fn begin_delayed(&self, may: impl IntoIterator<Item = Deed>) -> Moment {
        let mut moment = self.nothing_yet(may);
        self.placed(&mut moment, &Reply::Later).expect("it stands");
        moment
    }

    /// None: that cannot become of the question now.
    fn after_fate(&self, moment: &Moment, fate: Fate) -> Option<Moment> {
        let mut moment = moment.clone();
        let is_taken = !moment.services[self.at("/pays").0].documents.is_empty();
        let reply = match (moment.call, fate) {
            (Call::Delayed | Call::Voiding, Fate::Lost) if !is_taken => {
                self.paid(&mut moment);
                return Some(moment);
            }
            (Call::Voiding, Fate::Void) => {
                self.voided(&mut moment);
                moment.call = Call::Over;
                return Some(moment);
            }
            (Call::Delayed, Fate::Paid) => self.paid(&mut moment),
            (Call::Delayed, Fate::Declined) if !is_taken => Reply::Refused(Rejection::Declined("no".into())),
            (Call::Delayed, Fate::Over) => Reply::Unavailable,
            _ => return None,
        };
        moment.call = if reply == Reply::Unavailable { Call::Voiding } else { Call::Over };
        let settle = &self.model.services[0].resources[0].settles[0];
        let Outcome::Decided(settled) = self.take(&moment, 0, ORDER, &settle.command, Some(&reply)) else {
            panic!("it settles")
        };
        self.commit(&mut moment, 0, settled);
        Some(moment)
    }

    /// Every moment that comes of one thing that happens by itself; none: the system is quiet.
    fn next(&self, moment: &Moment) -> Vec<Moment> {
        let services = 0..moment.services.len();
        let pairs = services.clone().flat_map(|listener| services.clone().map(move |source| (listener, source)));
        let heard = pairs.filter_map(|(listener, source)| self.after_hearing(moment, listener, source));
        let fates = [Fate::Lost, Fate::Paid, Fate::Declined, Fate::Over, Fate::Void];
        heard.chain(fates.into_iter().filter_map(|fate| self.after_fate(moment, fate))).collect()
    }

    /// All events heard, in some order.
    fn settled(&self, mut moment: Moment) -> Moment {
        let services = moment.services.len();
        let pairs = || (0..services).flat_map(|listener| (0..services).map(move |source| (listener, source)));
        while let Some(next) = pairs().find_map(|(listener, source)| self.after_hearing(&moment, listener, source)) {
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
            Outcome::Decided(decided) => self.commit(&mut moment, service, decided),
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
        let mut after = moment.clone();
        after.services[listener].places.insert(source, at + 1);
        self.hear(&mut after, listener, source, at);
        Some(after)
    }

    /// One event of a source, heard.
    fn hear(&self, moment: &mut Moment, listener: usize, source: usize, at: usize) {
        let (event_type, body) = &moment.services[source].journal[at];
        // The same for the same event, so that messages do not differ by the order in which they were made.
        let id = i64::try_from(1_000 * (source + 1) + 2 * at).expect("small");
        let (now, new_ids) = (Timestamp::UNIX_EPOCH, &BTreeMap::from([(0, vec![id, id + 1])]));
        let heard = Heard { event_type, body, now, new_ids };
        let outcome = Self::run(&moment.services[listener], |documents| {
            self.behaviours[listener].hear(heard, documents).expect("no defect")
        });
        let Outcome::Decided(decided) = outcome else { panic!("{outcome:?}") };
        self.commit(moment, listener, decided);
    }

    fn violations(&self, moment: &Moment) -> Vec<String> {
        let mut case = Case::new(7);
        for (service, memory) in self.model.services.iter().zip(&moment.services) {
            for ((resource, id), body) in &memory.documents {
                let resource = &service.resources[*resource];
                if *id == 7 || resource.belongs_by.is_some() {
                    case = case.with(resource, body);
                }
            }
        }
        let findings = (self.model.audit)(&case);
        let mut found = findings.violations().to_vec();
        if found.is_empty() && self.model.ledger.difference(findings.sums()) != 0 {
            found.push(format!("the ledger does not balance: {:?}", findings.sums()));
        }
        let published = Self::published(moment);
        let once: BTreeSet<_> = published.iter().collect();
        if once.len() < published.len() {
            found.push(format!("an event was published twice: {published:?}"));
        }
        let (told, due) = (self.told(moment), Self::due(moment));
        if told != due {
            found.push(format!("the customer was told {told:?} of {due:?}"));
        }
        found
    }

    /// What has happened to the order: events, or what they say where they may say two things.
    fn published(moment: &Moment) -> Vec<String> {
        let journals = moment.services.iter().flat_map(|memory| &memory.journal);
        let published = journals.filter(|(event_type, _)| !event_type.starts_with("Notification"));
        let name = |(event_type, body): &(String, String)| match (&**event_type, &*text(body, "status")) {
            ("Ordered", "Payment Delayed") => "PaymentDelayed".to_owned(),
            ("Reserved", "Reservation Confirmed") => "ReservationConfirmed".to_owned(),
            ("PaymentCanceled", _) if body.contains("\"voided\":true") => "PaymentVoided".to_owned(),
            _ => event_type.clone(),
        };
        published.map(name).collect()
    }

    /// What the customer is to be told of that, sorted: of a payment once the order stands that it is for.
    fn due(moment: &Moment) -> Vec<String> {
        let published = Self::published(moment);
        let told = published.iter().map(String::as_str).filter(|event| !["Paid", "PaymentVoided"].contains(event));
        let paid = published.iter().filter(|event| ["Ordered", "PaymentSettled"].contains(&event.as_str()));
        let mut due: Vec<_> = told.chain(paid.map(|_| "Paid")).map(str::to_owned).collect();
        due.sort();
        due
    }

    /// What the customer was told, sorted.
    fn told(&self, moment: &Moment) -> Vec<String> {
        let (service, resource) = self.at("/notifications");
        let documents = moment.services[service].documents.iter().filter(|((at, _), _)| *at == resource);
        let mut kinds: Vec<_> = documents.map(|(_, body)| text(body, "kind")).collect();
        kinds.sort();
        kinds
    }

    /// Goes through everything that can happen; tells how many moments there are.
    fn explore(&self, begin: Moment) -> usize {
        let mut known = HashSet::new();
        let mut ahead = vec![begin];
        while let Some(moment) = ahead.pop() {
            if known.contains(&moment) {
                continue;
            }
            let next = self.next(&moment);
            if next.is_empty() {
                assert_eq!(self.violations(&moment), Vec::<String>::new(), "{moment:#?}");
            }
            ahead.extend(next);
            ahead.extend(moment.may.iter().filter_map(|deed| self.after_deed(&moment, *deed)));
            known.insert(moment);
        }
        known.len()
    }

    /// What the customer sees: of order, payment and reservation. None: nothing.
    fn seen(&self, moment: &Moment) -> Option<[String; 3]> {
        let (service, resource) = self.at("/infomations");
        let body = moment.services[service].documents.get(&(resource, 7))?;
        let is_shown = !text(body, "orderId").is_empty();
        is_shown.then(|| ["orderStatus", "payStatus", "reservationStatus"].map(|field| text(body, field)))
    }

    #[track_caller]
    fn ends_with(&self, moment: Moment, seen: [&str; 3]) -> Moment {
        let moment = self.settled(moment);
        assert_eq!(self.violations(&moment), Vec::<String>::new(), "{moment:#?}");
        assert_eq!(self.seen(&moment), Some(seen.map(str::to_owned)));
        moment
    }
}

/// A field as a text; empty where there is nothing in it.
fn text(body: &str, field: &str) -> String {
    let row: Value = serde_json::from_str(body).expect("JSON");
    match &row[field] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

const STANDING: [&str; 3] = ["Ordered", "Paid", "Reservation Confirmed"];
const CANCELED: [&str; 3] = ["Order Canceled", "Payment Canceled", "Reservation Canceled"];

mod every_interleaving_ends_well {
    use super::*;

    #[track_caller]
    fn explored(confirm: &str, begin: fn(&Saga) -> Moment) {
        let saga = Saga::new(confirm);
        let moments = saga.explore(begin(&saga));
        assert!(moments > 500, "there is much that can happen: {moments}");
    }

    #[test]
    fn when_reservations_are_confirmed_at_once() {
        explored("automatic", |saga| saga.begin(Deed::ALL));
    }

    #[test]
    fn when_the_manager_confirms() {
        explored("manual", |saga| saga.begin(Deed::ALL));
    }

    #[test]
    fn when_the_payment_is_delayed() {
        explored("automatic", |saga| saga.begin_delayed(Deed::ALL));
    }

    #[test]
    fn when_the_payment_is_delayed_and_the_manager_confirms() {
        explored("manual", |saga| saga.begin_delayed(Deed::ALL));
    }
}

mod an_order {
    use super::*;

    #[test]
    fn that_nobody_disturbs_is_reserved_and_its_course_starts() {
        let saga = Saga::new("automatic");
        let moment = saga.ends_with(saga.begin([]), STANDING);
        let moment = saga.after_deed(&moment, Deed::Start).expect("it is allowed");
        let moment = saga.ends_with(moment, ["Ordered", "Paid", "Course Started"]);
        assert_eq!(saga.after_deed(&moment, Deed::Cancel), None, "it is too late to cancel");
    }

    #[test]
    fn waits_for_its_manager_if_it_has_to() {
        let saga = Saga::new("manual");
        let moment = saga.ends_with(saga.begin([]), ["Ordered", "Paid", "Reservation Requested"]);
        saga.ends_with(saga.after_deed(&moment, Deed::Confirm).expect("it is allowed"), STANDING);
        saga.ends_with(saga.after_deed(&moment, Deed::Reject).expect("it is allowed"), CANCELED);
    }

    #[test]
    fn that_is_cancelled_before_anybody_heard_of_it_is_undone_everywhere() {
        let saga = Saga::new("automatic");
        saga.ends_with(saga.after_deed(&saga.begin([]), Deed::Cancel).expect("it is allowed"), CANCELED);
    }

    /// A seat is the same, in whatever order its events come, and however often.
    #[test]
    fn is_undone_in_whatever_order_its_events_come() {
        let saga = Saga::new("automatic");
        let paid = saga.after_deed(&saga.begin([]), Deed::Cancel).expect("it is allowed");
        let settled = saga.after_fate(&saga.begin_delayed([]), Fate::Paid).expect("it is paid");
        let settled = saga.after_deed(&settled, Deed::Cancel).expect("it is allowed");
        let (reservation, _) = saga.at("/reservations");
        for (moment, orders) in [
            (paid, [[0, 1, 1], [1, 0, 0], [0, 0, 1], [1, 1, 0], [0, 1, 0], [1, 0, 1]].to_vec()),
            (settled, [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].to_vec()),
        ] {
            for order in orders {
                let mut moment = moment.clone();
                for at in order {
                    saga.hear(&mut moment, reservation, 0, at);
                }
                let body = &moment.services[reservation].documents[&(0, 7)];
                assert_eq!(text(body, "status"), "Reservation Canceled", "{order:?}");
                let journal = moment.services[reservation].journal.iter();
                let canceled = journal.filter(|(event_type, _)| event_type == "ReservationCanceled");
                assert_eq!(canceled.count(), 1, "{order:?}");
            }
        }
    }
}

mod each_step_fails {
    use super::*;

    #[test]
    fn a_declined_payment_leaves_nothing() {
        let saga = Saga::new("automatic");
        for (reply, why) in [
            (Reply::Refused(Rejection::Declined("no".into())), Rejection::Declined("no".into())),
            (Reply::Unavailable, Rejection::Unavailable("pay")),
        ] {
            let mut moment = saga.nothing_yet([]);
            assert_eq!(saga.placed(&mut moment, &reply), Err(why));
            assert_eq!(moment, saga.nothing_yet([]));
        }
    }

    #[test]
    fn a_payment_whose_answer_is_lost_is_given_back() {
        let saga = Saga::new("automatic");
        let mut moment = saga.nothing_yet([]);
        saga.paid(&mut moment);
        let before = saga.settled(moment.clone());
        assert_eq!(saga.violations(&before), ["there is no order, its payment is Paid"]);
        saga.voided(&mut moment);
        let moment = saga.settled(moment);
        assert_eq!(saga.violations(&moment), Vec::<String>::new());
        assert_eq!(saga.seen(&moment), None, "there never was an order");
    }

    #[test]
    fn a_seat_that_is_refused_undoes_what_was_done_before() {
        let saga = Saga::new("automatic");
        let moment = saga.settled(saga.begin([]));
        saga.ends_with(saga.after_deed(&moment, Deed::Reject).expect("it is allowed"), CANCELED);
    }
}

mod each_step_repeats {
    use super::*;

    /// Everybody hears everything again, and again.
    #[track_caller]
    fn heard_again(saga: &Saga, moment: &Moment) {
        let mut again = moment.clone();
        for memory in &mut again.services {
            memory.places.clear();
        }
        assert_eq!(saga.settled(again), *moment);
    }

    #[test]
    fn and_changes_nothing() {
        for confirm in ["automatic", "manual"] {
            let saga = Saga::new(confirm);
            heard_again(&saga, &saga.settled(saga.begin([])));
            let settled = saga.after_fate(&saga.begin_delayed([]), Fate::Paid).expect("it is paid");
            heard_again(&saga, &saga.settled(settled));
        }
    }

    #[test]
    fn nor_does_an_undo_that_repeats() {
        let saga = Saga::new("automatic");
        let mut moment = saga.settled(saga.after_deed(&saga.begin([]), Deed::Cancel).expect("it is allowed"));
        heard_again(&saga, &moment);
        let before = moment.clone();
        saga.voided(&mut moment);
        assert_eq!(moment, before, "it was given back already");

        let mut moment = saga.nothing_yet([]);
        saga.voided(&mut moment);
        assert_eq!(moment, saga.nothing_yet([]), "there is nothing to give back");
        saga.paid(&mut moment);
        saga.voided(&mut moment);
        let before = moment.clone();
        saga.voided(&mut moment);
        assert_eq!(moment, before, "it was given back already");
    }
}

mod a_delayed_payment {
    use super::*;

    #[test]
    fn is_in_doubt_and_nothing_is_reserved() {
        let saga = Saga::new("automatic");
        let moment = saga.settled(saga.begin_delayed([]));
        assert_eq!(saga.seen(&moment), Some(["Payment Delayed", "", ""].map(str::to_owned)));
        assert_eq!(saga.violations(&moment), ["its payment is delayed, and nobody asks for it any more"]);
        let paid = saga.settled(saga.after_fate(&moment, Fate::Lost).expect("it is paid"));
        assert_eq!(saga.seen(&paid), Some(["Payment Delayed", "Paid", ""].map(str::to_owned)));
        assert_eq!(saga.violations(&paid).len(), 1, "the order has not heard of its payment yet");
    }

    #[test]
    fn settles_the_order() {
        let saga = Saga::new("automatic");
        let moment = saga.settled(saga.begin_delayed([]));
        saga.ends_with(saga.after_fate(&moment, Fate::Paid).expect("it is paid"), STANDING);
    }

    #[test]
    fn that_was_made_when_its_answer_got_lost_settles_the_order() {
        let saga = Saga::new("automatic");
        let moment = saga.after_fate(&saga.begin_delayed([]), Fate::Lost).expect("it is paid");
        let moment = saga.settled(moment);
        saga.ends_with(saga.after_fate(&moment, Fate::Paid).expect("it is told"), STANDING);
    }

    #[test]
    fn that_is_refused_cancels_the_order() {
        let saga = Saga::new("automatic");
        let moment = saga.settled(saga.begin_delayed([]));
        saga.ends_with(saga.after_fate(&moment, Fate::Declined).expect("a no"), ["Order Canceled", "", ""]);
    }

    #[test]
    fn that_does_not_come_before_the_deadline_cancels_the_order_and_is_taken_back() {
        let saga = Saga::new("automatic");
        let begun = saga.settled(saga.begin_delayed([]));
        let moment = saga.after_fate(&begun, Fate::Over).expect("the deadline");
        assert_eq!(moment.call, Call::Voiding);
        let moment = saga.after_fate(&moment, Fate::Void).expect("it is taken back");
        saga.ends_with(moment, ["Order Canceled", "", ""]);

        let paid = saga.after_fate(&begun, Fate::Lost).expect("it is paid");
        let moment = saga.after_fate(&paid, Fate::Over).expect("the deadline");
        let moment = saga.after_fate(&moment, Fate::Void).expect("it is taken back");
        saga.ends_with(moment, ["Order Canceled", "Payment Canceled", ""]);
    }

    #[test]
    fn of_an_order_that_was_cancelled_meanwhile_is_taken_back() {
        let saga = Saga::new("automatic");
        let begun = saga.settled(saga.begin_delayed([]));
        for (lost, pay_status) in [(false, ""), (true, "Payment Canceled")] {
            let moment = saga.after_deed(&begun, Deed::Cancel).expect("it is allowed");
            assert_eq!(moment.call, Call::Voiding, "the cancel takes it back");
            let moment = if lost { saga.after_fate(&moment, Fate::Lost).expect("it comes late") } else { moment };
            let moment = saga.after_fate(&saga.settled(moment), Fate::Void).expect("it is taken back");
            saga.ends_with(moment, ["Order Canceled", pay_status, ""]);
        }
    }
}
