use super::*;
use proptest::{collection::vec, prelude::*};
use std::{
    collections::BTreeMap,
    future::Future,
    pin::{Pin, pin},
    sync::Mutex,
    task::Poll,
};
use tokio::time::{advance, sleep};

const MAX_WAIT: Duration = Duration::from_millis(100);

/// Admission with these limits of commands in progress and in the queue.
fn admission(max_concurrent: u32, max_waiting: u32) -> Admission {
    Admission::new(AdmissionConfig { max_concurrent, max_waiting, max_wait: MAX_WAIT, max_reads: 1 }, Shed::New)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

async fn enter(admission: &Admission) -> Result<Permit, Problem> {
    admission.command(false, None, None).await.map(|permit| permit.expect("a command needs a permit"))
}

/// Refused commands, by reason, in the order of the reasons.
fn shed(admission: &Admission) -> [u64; 3] {
    [0, 1, 2].map(|reason: usize| admission.commands.shed[reason].get())
}

/// Polls a future once.
async fn is_pending<F: Future>(mut future: Pin<&mut F>) -> bool {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

/// Holds a permit for this long, so that the average is known.
async fn after(admission: &Admission, takes: Duration) {
    let permit = enter(admission).await.expect("a permit");
    advance(takes).await;
    drop(permit);
    assert_eq!(admission.commands.takes(), takes);
}

#[tokio::test(start_paused = true)]
async fn commands_over_the_limit_queue_first_come_first_served() {
    let admission = admission(1, 2);
    let first = enter(&admission).await.expect("a permit");
    let mut second = pin!(enter(&admission));
    let mut third = pin!(enter(&admission));
    assert!(is_pending(second.as_mut()).await && is_pending(third.as_mut()).await);
    assert_eq!(admission.status()["commands"]["waiting"], 2);
    drop(first);
    assert!(is_pending(third.as_mut()).await, "it is not its turn");
    let second = second.await.expect("a permit");
    assert_eq!((admission.commands.at_work(), admission.commands.waiting.load(Relaxed)), (1, 1));
    drop(second);
    drop(third.await.expect("a permit"));
    assert_eq!((admission.commands.at_work(), admission.commands.waiting.load(Relaxed)), (0, 0));
    assert_eq!(shed(&admission), [0; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once_with_the_estimated_wait() {
    let admission = admission(2, 3);
    after(&admission, ms(3_000)).await;
    let _both = (enter(&admission).await.expect("a permit"), enter(&admission).await.expect("a permit"));
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(enter(&admission))).collect();
    for one in &mut waiting {
        assert!(is_pending(one.as_mut()).await);
    }
    let began = Instant::now();
    let problem = enter(&admission).await.expect_err("no permit");
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(problem.code == Code::Overloaded && problem.code.is_surely_not_done() && !problem.code.is_final());
    // Three before it, two at a time, three seconds each.
    assert_eq!((problem.code.status(), problem.retry_after_s()), (503, Some(6)));
    assert_eq!(shed(&admission), [1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn no_command_queues_longer_than_the_limit() {
    let admission = admission(1, 8);
    let _only = enter(&admission).await.expect("a permit");
    let began = Instant::now();
    let problem = enter(&admission).await.expect_err("no permit");
    assert_eq!(began.elapsed(), MAX_WAIT);
    assert_eq!(problem.retry_after_s(), Some(1), "no command has ended yet, so the estimate is 0");
    assert_eq!(shed(&admission), [0, 1, 0]);
    assert_eq!(admission.commands.waiting.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn an_ask_whose_answer_would_be_too_late_is_refused() {
    let admission = admission(2, 8);
    after(&admission, ms(40)).await;
    let ask = |left| admission.command(false, Some(ms(left)), None);
    let _both = (ask(1).await.expect("a free permit is given at once"), enter(&admission).await.expect("a permit"));

    let began = Instant::now();
    let problem = ask(59).await.expect_err("half of 40 ms to wait, 40 to work");
    assert_eq!((problem.code, began.elapsed()), (Code::Overloaded, Duration::ZERO));
    assert!(ask(61).await.is_err());
    assert_eq!(began.elapsed(), ms(61), "its time was up while it waited");
    assert!(ask(1_000).await.is_err());
    assert_eq!(began.elapsed(), ms(61) + MAX_WAIT);
    assert_eq!(shed(&admission), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn commands_that_end_things_need_no_permit_unless_all_is_shed() {
    let admission = admission(1, 0);
    let _only = enter(&admission).await.expect("a permit");
    assert!(enter(&admission).await.is_err());
    assert!(admission.command(true, None, None).await.expect("it may").is_none());

    let config = AdmissionConfig { max_concurrent: 1, max_waiting: 0, ..AdmissionConfig::default() };
    let admission = Admission::new(config, Shed::All);
    let _only = enter(&admission).await.expect("a permit");
    assert_eq!(admission.command(true, None, None).await.expect_err("all is shed").code, Code::Overloaded);
}

#[tokio::test(start_paused = true)]
async fn reads_and_commands_have_permits_of_their_own() {
    let admission = admission(1, 1);
    let _command = enter(&admission).await.expect("a permit");
    let _read = admission.read().await.expect("a permit");
    assert!(admission.read().await.expect_err("no permit").detail.contains("too many reads"));
    assert!(enter(&admission).await.expect_err("no permit").detail.contains("too many commands"));
}

#[tokio::test(start_paused = true)]
async fn a_fault_limit_bounds_the_commands_in_progress_and_its_queue_holds_no_permit() {
    let admission = admission(4, 2);
    let places = Arc::new(Semaphore::new(1));
    let fault_limit = || Some(FaultLimit { places: places.clone(), width: 1 });
    let enter = || admission.command(false, None, fault_limit());
    let first = enter().await.expect("a permit");
    let mut second = pin!(enter());
    let mut third = pin!(enter());
    assert!(is_pending(second.as_mut()).await && is_pending(third.as_mut()).await);
    assert_eq!(admission.commands.at_work(), 1);
    assert!(enter().await.is_err(), "two wait already: a drill's queue has the same bound");
    drop(first);
    let _second = second.await.expect("a permit");
    assert!(is_pending(third.as_mut()).await);
    places.close();
    let _third = third.await.expect("the drill is over");
    let _fourth = enter().await.expect("a permit");
    assert_eq!(admission.commands.at_work(), 3);
}

#[tokio::test(start_paused = true)]
async fn shedding_is_on_from_the_first_refusal_until_a_second_without_one() {
    let admission = admission(1, 0);
    assert_eq!((admission.look(), admission.shedding.is_on()), (0, false));
    let only = enter(&admission).await.expect("a permit");
    for _ in 0..3 {
        assert!(enter(&admission).await.is_err());
    }
    assert!(admission.shedding.is_on());
    assert_eq!((admission.look(), admission.shedding.is_on()), (3, true));
    drop(only);
    assert_eq!((admission.look(), admission.shedding.is_on()), (0, false), "a second without a refusal");
}

#[tokio::test(start_paused = true)]
async fn the_average_follows_the_last_commands() {
    let admission = admission(1, 0);
    after(&admission, ms(10)).await;
    for _ in 0..200 {
        let _permit = enter(&admission).await.expect("a permit");
        advance(ms(50)).await;
    }
    let takes = admission.commands.takes();
    assert!((ms(49)..=ms(50)).contains(&takes), "{takes:?}");
}

/// A command, in milliseconds: when it comes, how long it works, after how long its client hangs up, how long its caller waits.
#[derive(Debug, Clone)]
struct Visit {
    comes: u64,
    works: u64,
    leaves_after: Option<u64>,
    left: Option<u64>,
}

fn visit() -> impl Strategy<Value = Visit> {
    let (leaves, left) = (proptest::option::weighted(0.3, 0..200_u64), proptest::option::weighted(0.3, 0..300_u64));
    (0..300_u64, 1..80_u64, leaves, left).prop_map(|(comes, works, leaves_after, left)| Visit {
        comes,
        works,
        leaves_after,
        left,
    })
}

/// What happened, in the order in which it did.
#[derive(Debug, Default)]
struct Seen {
    at_work: u32,
    most_at_work: u32,
    /// The commands that wait, in the order of coming.
    queue: Vec<usize>,
    overtaken: Vec<usize>,
    too_long: Vec<Duration>,
    answered: u32,
}

/// Removes a command from the queue when dropped.
struct Queued<'a>(&'a Mutex<Seen>, usize);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.lock().expect("one thread").queue.retain(|one| *one != self.1);
    }
}

async fn come(admission: Arc<Admission>, seen: Arc<Mutex<Seen>>, name: usize, visit: Visit) {
    sleep(ms(visit.comes)).await;
    let look = || seen.lock().expect("one thread");
    let came = Instant::now();
    look().queue.push(name);
    let queued = Queued(&seen, name);
    let entering = admission.command(false, visit.left.map(ms), None);
    let leaves_after = ms(visit.leaves_after.unwrap_or(1_000_000));
    let Ok(entered) = tokio::time::timeout(leaves_after, entering).await else { return };
    let waited = came.elapsed();
    let limit = visit.left.map_or(MAX_WAIT, |left| MAX_WAIT.min(ms(left)));
    if waited > limit {
        look().too_long.push(waited);
    }
    look().answered += 1;
    if let Ok(permit) = entered {
        if look().queue.first() != Some(&name) {
            look().overtaken.push(name);
        }
        drop(queued);
        {
            let mut seen = look();
            seen.at_work += 1;
            seen.most_at_work = seen.most_at_work.max(seen.at_work);
        }
        sleep(ms(visit.works)).await;
        look().at_work -= 1;
        drop(permit);
    }
}

proptest! {
    #[test]
    fn the_limits_hold_for_any_sequence_of_commands(
        (max_concurrent, max_waiting) in (1..4_u32, 0..6_u32),
        visits in vec(visit(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        let admission = Arc::new(admission(max_concurrent, max_waiting));
        let seen = Arc::new(Mutex::new(Seen::default()));
        // Tokio wakes commands of the same millisecond in any order, so each comes in a millisecond of its own.
        let by_time: BTreeMap<_, _> = visits.into_iter().map(|visit| (visit.comes, visit)).collect();
        let stayed = by_time.values().filter(|visit| visit.leaves_after.is_none()).count();
        runtime.block_on(async {
            let mut all = tokio::task::JoinSet::new();
            for (name, visit) in by_time.into_values().enumerate() {
                all.spawn(come(admission.clone(), seen.clone(), name, visit));
            }
            all.join_all().await;
        });
        let seen = seen.lock().expect("one thread");
        prop_assert!(seen.most_at_work <= max_concurrent, "{seen:?}");
        prop_assert!(seen.overtaken.is_empty(), "{seen:?}");
        prop_assert!(seen.too_long.is_empty(), "{seen:?}");
        prop_assert!(usize::try_from(seen.answered).expect("small") >= stayed, "a command whose client stays gets an answer: {seen:?}");
        prop_assert_eq!(admission.commands.at_work(), 0, "all permits are released");
        prop_assert_eq!(admission.commands.waiting.load(Relaxed), 0);
    }
}
