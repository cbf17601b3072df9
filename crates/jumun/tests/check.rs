//! What is wrong with a system, found by `System::build`.

use jumun::{Aggregate, Answers, Ask, Context, Decision, Id, LoadLine, Problem, Resource, Service, System, nothing};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An aggregate without business.
macro_rules! thing {
    ($name:ident) => {
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        struct $name {
            id: Id<$name>,
        }

        impl Answers<Question> for $name {
            fn answers(&self, _: &Question) -> bool {
                true
            }
        }

        impl Aggregate for $name {
            type Terms = ((), Event);
            const HEARS: &'static [Kind] = &[Kind::Made];
            fn decide(_: Option<&Self>, _: (), _: &Context<'_, Self>) -> Decision<Event> {
                nothing()
            }
            fn evolve(this: Option<Self>, _: &Event) -> Option<Self> {
                this
            }
        }
    };
}
thing!(A);
thing!(B);
thing!(C);
thing!(D);

jumun::published_language! {
    enum Event, Kind {
        a(by id): Made(A), Lost(A);
    }
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Question {}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Sent {
    qty: u32,
}

const ASK_A: Ask<Question, A> = Ask::post("a", "/as", |_| one());
const ASK_B: Ask<Question, B> = Ask::post("b", "/bs", |_| one());
const ASK_C: Ask<Question, C> = Ask::post("c", "/cs", |_| one());
const ASK_D: Ask<Question, D> = Ask::post("d", "/ds", |_| one());

const EXAMPLES: &str = r#"{"eventType":"Made","timestamp":1,"id":1}
{"eventType":"Lost","timestamp":1,"id":1}"#;

fn a() -> Service<Event> {
    Service::new("a", 1).aggregate(Resource::<A>::at("/as").on_ask(&ASK_A, |_| (), ()))
}

fn b() -> Service<Event> {
    Service::new("b", 2).aggregate(Resource::<B>::at("/bs").on_ask(&ASK_B, |_| (), ()))
}

fn c() -> Service<Event> {
    Service::new("c", 3).aggregate(Resource::<C>::at("/cs").on_ask(&ASK_C, |_| (), ()))
}

fn d() -> Service<Event> {
    Service::new("d", 4).aggregate(Resource::<D>::at("/ds").on_ask(&ASK_D, |_| (), ()))
}

fn one<T>() -> Id<T> {
    Id::new(1).expect("an id")
}

fn check(services: impl IntoIterator<Item = Service<Event>>) -> Vec<Problem> {
    let system = System::new("things", EXAMPLES);
    let model = services.into_iter().fold(system, System::service).build();
    model.problems().iter().filter(|problem| **problem != Problem::NotHeard("Lost")).cloned().collect()
}

#[test]
fn a_chain_of_two_asks_is_fine() {
    assert_eq!(check([a().asks(&ASK_B), b().asks(&ASK_C), c()]), []);
}

#[test]
fn a_chain_of_three_asks_is_too_deep() {
    let problems = check([a().asks(&ASK_B), b().asks(&ASK_C), c().asks(&ASK_D), d()]);
    assert_eq!(problems, [Problem::AsksTooDeep(vec!["a", "b", "c", "d"])]);
}

#[test]
fn a_circle_is_found_once() {
    let problems = check([a().asks(&ASK_B), b().asks(&ASK_A)]);
    assert_eq!(problems, [Problem::CircleOfAsks(vec!["a", "b", "a"])]);
    assert_eq!(check([a().asks(&ASK_A)]), [Problem::CircleOfAsks(vec!["a", "a"])]);
}

#[test]
fn a_question_without_an_answerer_is_found() {
    assert_eq!(check([a().asks(&ASK_B)]), [Problem::NotAnswered("a", ASK_B.target())]);
    let stray = Service::new("b", 2).aggregate(Resource::<A>::at("/elsewhere").on_ask(&ASK_A, |_| (), ()));
    assert!(check([a(), stray]).contains(&Problem::NotAnswered("b", ASK_A.target())));
}

#[test]
fn every_event_is_published_and_heard_and_has_an_example() {
    let check =
        |examples, service| System::<Event>::new("things", examples).service(service).build().problems().to_vec();
    let (check, of_b) = (|examples| check(examples, a()), check(EXAMPLES, b()));
    assert_eq!(check(EXAMPLES), [Problem::NotHeard("Lost")]);
    assert_eq!(check(""), [Problem::NoExample("Made"), Problem::NoExample("Lost"), Problem::NotHeard("Lost")]);
    assert!(check("{}\n").iter().any(|problem| matches!(problem, Problem::UnreadableExample { line: 1, .. })));
    assert!(
        check("\n{\"eventType\":\"Made\"}")
            .iter()
            .any(|problem| matches!(problem, Problem::UnreadableExample { line: 2, .. }))
    );
    assert!(of_b.contains(&Problem::NotPublished("Made")));

    // An earlier release published a field more. What this one publishes needs an example of its own, besides.
    let earlier = r#"{"eventType":"Lost","timestamp":9,"id":1,"why":"fire"}"#;
    let now = r#"{"eventType":"Lost","timestamp":9,"id":1}"#;
    let made = r#"{"eventType":"Made","timestamp":1,"id":1}"#;
    let lost = Problem::NoExampleOfNow("Lost", now.to_owned());
    assert_eq!(check(format!("{made}\n{earlier}").leak()), [lost, Problem::NotHeard("Lost")]);
    assert_eq!(check(format!("{made}\n{now}\n{earlier}").leak()), [Problem::NotHeard("Lost")]);
}

#[test]
fn what_must_be_there_once_is_found_twice() {
    let problems = check([a(), a()]);
    for what in ["the service a", "the port 1", "the path /as"] {
        assert!(problems.contains(&Problem::Twice(what.to_owned())), "{what}: {problems:?}");
    }
}

#[test]
fn a_path_that_is_asked_and_posted_to_has_ids_of_its_own() {
    let of = |asking: (u16, u16), asked: (u16, u16)| {
        let asking = Resource::<A>::at("/as").on_post(|_: Sent| ()).ids(asking.0, asking.1);
        let asked = Resource::<B>::at("/bs").on_post(|_: Sent| ()).ids(asked.0, asked.1);
        let asked = asked.on_ask(&ASK_B, |_| (), ());
        check([Service::new("a", 1).aggregate(asking).asks(&ASK_B), Service::new("b", 2).aggregate(asked)])
    };
    assert_eq!(of((1, 2), (2, 2)), []);
    assert_eq!(of((1, 1), (1, 1)), [Problem::SharedIds("/bs", "/as")]);
    assert_eq!(of((1, 2), (2, 3)), [Problem::SharedIds("/bs", "/as")]);
    assert_eq!(of((0, 1), (4, 3)), [Problem::InvalidIds("/as"), Problem::InvalidIds("/bs")]);
}

#[test]
fn a_finder_needs_its_field() {
    let service = Service::new("a", 1).aggregate(Resource::<A>::at("/as").find_by("id").find_by("colour"));
    assert_eq!(check([service]), [Problem::NoSuchField("as", "colour")]);
}

#[test]
fn a_load_line_must_be_one_that_is_taken_and_whose_outcome_can_be_seen() {
    const LINE: LoadLine = LoadLine {
        path: "/as",
        body: r#"{"qty":1}"#,
        canceled: Some(("id", "gone")),
        finished: Some(("/bs", ("id", "done"))),
    };
    let of = |line: LoadLine| {
        let a = Resource::<A>::at("/as").on_post(|_: Sent| ()).on_delete(());
        let services = [Service::new("a", 1).aggregate(a), Service::new("b", 2).aggregate(Resource::<B>::at("/bs"))];
        let system = services.into_iter().fold(System::new("things", EXAMPLES), System::service);
        let model = system.load(line).build();
        model
            .problems()
            .iter()
            .cloned()
            .find_map(|problem| if let Problem::LoadLine(why) = problem { Some(why) } else { None })
    };
    assert_eq!(of(LINE), None);
    for (line, named) in [
        (LoadLine { path: "/cs", ..LINE }, "/cs"),
        (LoadLine { path: "/bs", ..LINE }, "POST /bs"),
        (LoadLine { body: r#"{"qty":-1}"#, ..LINE }, "qty"),
        (LoadLine { canceled: Some(("state", "gone")), ..LINE }, "state"),
        (LoadLine { finished: Some(("/cs", ("id", "done"))), ..LINE }, "/cs"),
        (LoadLine { finished: Some(("/bs", ("state", "done"))), ..LINE }, "state"),
    ] {
        let why = of(line).unwrap_or_else(|| panic!("{line:?} is taken"));
        assert!(why.contains(named), "{why} names {named}");
    }
}

#[test]
fn a_path_that_services_need_themselves_is_no_resource() {
    for path in ["/docs", "/actuator", "/openapi.json", "/events"] {
        let service = Service::new("a", 1).aggregate(Resource::<A>::at(path));
        assert_eq!(check([service]), [Problem::ReservedPath(path)]);
    }
}
