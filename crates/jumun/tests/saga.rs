//! The saga kit, on a system that can be made wrong in many ways: the kit must find each of them.

mod defective;

use defective::{Command, EXAMPLES, Order, PAY, system};
use jumun::{
    Rejection, Resource, Service, System,
    saga::{Action, Explored, ReplyOutcome, Saga},
};

const CANCEL: Action = Action::delete("/orders");

fn saga(defect: &str) -> Saga {
    Saga::new(system(), Action::post("/orders", r#"{"customer":"kim","price":100}"#))
        .set("payment", "defect", defect)
        .actions([CANCEL])
}

/// What an exploration finds, and how it got there.
fn found(defect: &str) -> (Vec<String>, Vec<String>) {
    let found = saga(defect).try_explore().expect_err("it is wrong");
    (found.violations, found.steps)
}

mod a_correct_system {
    use super::*;

    #[test]
    fn is_explored_and_clean() {
        let saga = saga("none");
        let explored = saga.explore();
        assert_eq!(explored, Explored { states: 6, quiet: 4 });
        saga.each_step_fails();
        saga.each_undo_repeats();
        let canceled = saga.deliver(&saga.act(&saga.begin(), &CANCEL).expect("it is allowed"));
        saga.each_step_repeats(&canceled);
        assert_eq!(canceled.field("/pays", "active"), "false");
    }

    #[test]
    fn is_left_as_it_was_by_what_is_refused() {
        let saga = saga("none");
        for outcome in [ReplyOutcome::Refused, ReplyOutcome::NotDone] {
            assert_eq!(saga.begin_with(outcome).0, saga.nothing());
        }
        assert_eq!(saga.act(&saga.nothing(), &CANCEL), Err(Rejection::NotFound));
        assert_eq!(saga.reply(&saga.begin(), ReplyOutcome::Voided), None, "no ask is pending");
    }
}

mod a_defect_is_found {
    use super::*;

    #[test]
    fn when_a_policy_does_not_compensate_with_the_shortest_way_there() {
        let (violations, steps) = found("keeps_the_money");
        assert_eq!(violations, ["payment and order differ"]);
        assert_eq!(steps.len(), 3, "{steps:?}");
        assert_eq!(steps[0], "POST /orders, asks: [Accepted]");
        assert!(steps.contains(&"DELETE /orders/7".to_owned()), "{steps:?}");
        assert!(steps.contains(&"payment applies OrderCanceled".to_owned()), "{steps:?}");
    }

    #[test]
    fn when_an_undo_does_nothing() {
        let (violations, steps) = found("does_not_undo");
        assert!(violations.contains(&"payment and order differ".to_owned()));
        assert!(steps[0].starts_with("POST /orders, asks: [Lost"), "{steps:?}");
    }

    #[test]
    fn when_the_ledger_does_not_balance() {
        let (violations, _) = found("takes_too_much");
        assert!(violations[0].starts_with("the ledger does not balance"), "{violations:?}");
    }

    #[test]
    fn when_an_event_is_published_twice() {
        let saga = saga("gives_back_twice");
        let canceled = saga.deliver(&saga.act(&saga.begin(), &CANCEL).expect("it is allowed"));
        assert_eq!(saga.violations(&canceled), Vec::<String>::new());
        assert_eq!(saga.violations(&saga.undo(&canceled, "/pays")), ["PaymentCanceled of 7 was published twice"]);
    }

    #[test]
    fn by_a_check_of_the_team() {
        let saga = saga("none").check(|state| {
            let is_paid = !state.field("/pays", "active").is_empty();
            if is_paid { vec!["it is paid".into()] } else { Vec::new() }
        });
        assert_eq!(saga.try_explore().expect_err("a finding").violations, ["it is paid"]);
    }
}

mod the_standard_tests_fail {
    use super::*;

    #[test]
    #[should_panic(expected = "payment and order differ")]
    fn on_an_undo_that_does_nothing() {
        saga("does_not_undo").each_step_fails();
    }

    #[test]
    #[should_panic(expected = "undoes twice")]
    fn on_an_undo_that_does_not_repeat() {
        saga("gives_back_twice").each_undo_repeats();
    }

    #[test]
    #[should_panic(expected = "PaymentCanceled")]
    fn on_a_step_that_does_not_repeat() {
        let saga = saga("gives_back_twice");
        let canceled = saga.act(&saga.begin(), &CANCEL).expect("it is allowed");
        saga.each_step_repeats(&saga.deliver(&canceled));
    }

    #[test]
    #[should_panic(expected = "DELETE /orders/7")]
    fn with_the_way_to_what_is_wrong() {
        saga("keeps_the_money").explore();
    }

    #[test]
    #[should_panic(expected = "NotAnswered")]
    fn on_a_system_with_problems() {
        let order = Resource::<Order>::at("/orders").on_post(Command::Place);
        let order = Service::new("order", 1).aggregate(order).asks(&PAY);
        Saga::new(System::new("half", EXAMPLES).service(order).build(), Action::post("/orders", "{}"));
    }
}
