//! The cells of the matrix in the systems whose asks are one deep and answered at once: whoever founds something asks one
//! neighbour. A system dies cell after cell in one place, so each cell also begins with what the cells before have left.

use super::{CELLS, First, Plot};
use crate::lab::{Any, Attempt, BOOK_RENTAL, Customer, LONG, Plan, SAUCE_SHOP, Step, Told, Trap, wait_until};
use http::Method;
use tokio::task::JoinHandle;

/// Something that is founded with the yes of a neighbour.
struct Founding {
    step: Step,
    asker: &'static str,
    asked: &'static str,
    /// The path of what a yes leaves at the neighbour. None: an inquiry, which leaves nothing.
    leaves: Option<&'static str>,
}

impl Founding {
    fn new(any: &Any, step: Step) -> Self {
        let asker = any.model.service(step.service).expect("a service");
        let (asked, path) = (asker.asks[0].service, asker.asks[0].path);
        let neighbour = any.model.service(asked).expect("a service");
        let resource = &neighbour.resources[neighbour.resource_at(path).expect("a path")];
        let is_inquiry = resource.ask.as_ref().expect("an ask").is_inquiry;
        Self { asker: asker.name, asked, leaves: (!is_inquiry).then_some(path), step }
    }

    /// The service that plays this part in the matrix, which is told of food delivery.
    fn service(&self, part: &str) -> &'static str {
        if part == "order" { self.asker } else { self.asked }
    }

    /// A customer who insists on it, beside what happens to the services.
    fn begin(&self, any: &Any) -> (Customer, JoinHandle<Told>) {
        let customer = any.somebody(&self.step, 0);
        let insisting = customer.clone();
        (customer, tokio::spawn(async move { insisting.insist().await }))
    }
}

/// Whether a cell of the matrix is played.
type IsPlayed = fn(&Plot) -> bool;

fn is_placing(plot: &Plot) -> bool {
    matches!(plot, Plot::Placing(..))
}

fn is_undoing(plot: &Plot) -> bool {
    matches!(plot, Plot::Undoing(..))
}

/// Everybody who founds this is left with one of it, whoever dies at which point.
async fn every_death(plan: &Plan, found: fn(&Plan) -> Step, is_played: IsPlayed) {
    let mut any = Any::new(plan);
    let founding = Founding::new(&any, found(plan));
    let (asker, asked) = (founding.asker, founding.asked);
    // On a busy machine a slow answer must not be one more thing that happens to a customer.
    any.service(asker).set(format!("{asker}.calls.{asked}.time_limit=20s"));
    any.start_all().await;
    for plot in CELLS.iter().filter(|plot| is_played(plot)) {
        eprintln!("{plot:?}"); // if it fails
        let before = any.attempts(founding.asker).len();
        let (customer, told, first) = match *plot {
            Plot::Placing(part, point, first) => {
                let victim = founding.service(part);
                any.service(victim).kill();
                any.service(victim).start_with(Trap::Dies(point)).await;
                let (customer, told) = founding.begin(&any);
                any.service(victim).wait_until_dead().await;
                if victim == founding.asked {
                    // Else the question, asked again over a new connection, would find the next process.
                    let new = || any.attempts(founding.asker)[before..].to_vec();
                    let given_up = async || new().iter().any(|attempt| attempt.state.starts_with("void"));
                    wait_until(LONG, "it is given up", given_up).await;
                }
                (customer, told, first)
            }
            Plot::Undoing(part, point, left) => {
                let victim = founding.service(part);
                any.service(founding.asker).kill();
                any.service(founding.asker).start_with(Trap::Dies(left.by_dying_at())).await;
                let (customer, told) = founding.begin(&any);
                any.service(founding.asker).wait_until_dead().await;
                if victim == founding.asked {
                    any.service(victim).kill();
                }
                any.service(victim).start_with(Trap::Dies(point)).await;
                if victim == founding.asked {
                    any.service(founding.asker).start().await;
                }
                any.service(victim).wait_until_dead().await;
                (customer, told, left.becomes())
            }
            Plot::Cancelling(..) => continue,
        };
        any.start_all().await;
        let told = told.await.expect("a customer");
        assert_one(&any, &founding, &customer, &told, before, first).await;
    }
    any.assert_the_promise().await;
}

/// The customer has one of it, and the attempt that was hit is what it is to be.
async fn assert_one(any: &Any, founding: &Founding, customer: &Customer, told: &Told, before: usize, first: First) {
    assert!(!told.before.is_empty(), "nothing has happened to this customer");
    let answer = &told.answer;
    assert_eq!(answer.status, 201, "{answer:?}");
    let again = customer.ask_once().await.expect("an answer");
    assert_eq!((again.status, &again.body), (201, &answer.body), "the same key, the same answer, byte by byte");
    let asker = any.client(founding.asker);
    let location = answer.header("location").expect("a place").to_owned();
    assert_eq!(asker.get(&location).await.status, 200, "a yes, and what it is about");

    let attempts = || any.attempts(founding.asker)[before..].to_vec();
    let are_over = async || attempts().iter().all(|attempt| ["done", "voided"].contains(&&*attempt.state));
    wait_until(LONG, "nothing is in doubt", are_over).await;
    let attempts = attempts();
    let standing: Vec<&Attempt> = attempts.iter().filter(|attempt| attempt.stands()).collect();
    assert_eq!((standing.len(), standing[0].subject), (1, answer.id()), "one key, one answer: {attempts:?}");
    if let First::Vanished | First::Stands = first {
        assert_eq!(attempts.len(), 1, "no trace, or nothing done again: {attempts:?}");
        return;
    }
    let hit = &attempts[0];
    assert_eq!((&*hit.state, hit.key.as_deref()), ("voided", None), "{attempts:?}");
    let never = location.replace(&answer.id().to_string(), &hit.subject.to_string());
    assert_eq!(asker.get(&never).await.problem(), "not-found");
    if let Some(path) = founding.leaves {
        let left = any.client(founding.asked).get(&format!("{path}/{}", hit.subject)).await;
        if first == First::NeverPaid {
            assert_eq!(left.problem(), "not-found");
        } else {
            assert_eq!(left.json()["status"], "VOIDED");
        }
    }
}

fn an_order(plan: &Plan) -> Step {
    let [mut way, _] = plan.ways();
    way.remove(0)
}

fn a_place_in_the_queue(plan: &Plan) -> Step {
    plan.step(&Method::POST, "/reserves", r#"{"bookId":5,"customerId":"lee"}"#)
}

macro_rules! every_death {
    ($($name:ident: $plan:ident, $found:ident, $is_played:ident;)*) => { $(
        #[tokio::test]
        async fn $name() {
            every_death(&$plan, $found, $is_played).await;
        }
    )* };
}

every_death! {
    an_order_of_sauce_is_placed_over_every_death: SAUCE_SHOP, an_order, is_placing;
    an_order_of_sauce_is_undone_over_every_death: SAUCE_SHOP, an_order, is_undoing;
    a_book_is_rented_over_every_death: BOOK_RENTAL, an_order, is_placing;
    a_rental_is_undone_over_every_death: BOOK_RENTAL, an_order, is_undoing;
    a_book_is_reserved_over_every_death: BOOK_RENTAL, a_place_in_the_queue, is_placing;
}
