//! A breaker against a slow and obvious model, which remembers every call and computes everything each time.

use super::*;
use proptest::{collection::vec, prelude::*};

struct Model {
    config: BreakerConfig,
    slow_call: Duration,
    permit_limit: Duration,
    now: Instant,
    state: State,
    since: Instant,
    epoch: u64,
    /// Every permit that was ever granted: in which epoch, and when.
    permits: Vec<(u64, Instant)>,
    /// Those that are still out.
    out: Vec<usize>,
    /// Every call that ever counted: in which epoch, when it ended, whether it failed and was slow.
    calls: Vec<(u64, Instant, bool, bool)>,
    rejected: u64,
}

impl Model {
    fn counted(&self) -> Vec<(bool, bool)> {
        let calls = self.calls.iter().filter(|(epoch, ..)| *epoch == self.epoch);
        let kinds = |calls: Vec<&(u64, Instant, bool, bool)>| calls.iter().map(|call| (call.2, call.3)).collect();
        match (self.state, self.config.window) {
            (State::Closed | State::ForcedClosed, Window::Calls(most)) => {
                kinds(calls.rev().take(most as usize).collect())
            }
            (State::Closed | State::ForcedClosed, Window::Time(time)) => {
                let slot = |at: Instant| at.duration_since(self.since).as_nanos() / (time.as_nanos() / 20);
                let young = calls.clone().filter(|(_, at, ..)| slot(self.now) - slot(*at) < 20).count();
                // Whatever a slot is: it has forgotten what is too old, and remembers nearly everything else.
                let within =
                    |time: Duration| calls.clone().filter(|(_, at, ..)| self.now.duration_since(*at) < time).count();
                assert!((within(time * 19 / 20)..=within(time)).contains(&young));
                kinds(calls.filter(|(_, at, ..)| slot(self.now) - slot(*at) < 20).collect())
            }
            (State::HalfOpen, _) => kinds(calls.collect()),
            _ => Vec::new(),
        }
    }

    fn tally(&self) -> Tally {
        let counted = self.counted();
        let count = |is: fn(&(bool, bool)) -> bool| counted.iter().filter(|call| is(call)).count() as u64;
        Tally { calls: counted.len() as u64, failed: count(|call| call.0), slow: count(|call| call.1) }
    }

    fn permits_out(&self) -> u64 {
        self.out.iter().filter(|permit| self.permits[**permit].0 == self.epoch).count() as u64
    }

    fn enter(&mut self, state: State) {
        (self.state, self.since, self.epoch) = (state, self.now, self.epoch + 1);
    }

    fn acquire(&mut self) -> Result<(), Duration> {
        let waited = self.now - self.since;
        let refused = match self.state {
            State::Open if waited < self.config.wait_open => Err(self.config.wait_open - waited),
            State::Open => {
                self.enter(State::HalfOpen);
                Ok(())
            }
            State::HalfOpen => {
                let begun = self.permits_out() + self.tally().calls;
                let last = self.permits.iter().filter(|(epoch, _)| *epoch == self.epoch).map(|(_, granted)| *granted);
                let idle = self.now - last.max().unwrap_or(self.since);
                if begun < u64::from(self.config.half_open_calls) {
                    Ok(())
                } else if idle < self.permit_limit {
                    Err(self.permit_limit - idle)
                } else {
                    self.enter(State::Open);
                    Err(self.config.wait_open)
                }
            }
            State::ForcedOpen => Err(self.config.wait_open),
            State::Closed | State::ForcedClosed | State::Disabled => Ok(()),
        };
        match refused {
            Ok(()) => {
                self.out.push(self.permits.len());
                self.permits.push((self.epoch, self.now));
            }
            Err(_) => self.rejected += 1,
        }
        refused
    }

    fn settle(&mut self, permit: usize, verdict: Verdict) {
        self.out.retain(|out| *out != permit);
        let (epoch, granted) = self.permits[permit];
        let is_counting = matches!(self.state, State::Closed | State::ForcedClosed | State::HalfOpen);
        if epoch != self.epoch || verdict == Verdict::Ignored || !is_counting {
            return;
        }
        let is_failed = verdict != Verdict::Success;
        self.calls.push((epoch, self.now, is_failed, self.now - granted >= self.slow_call));
        let Tally { calls, failed, slow } = self.tally();
        #[allow(clippy::cast_precision_loss, reason = "a few calls")]
        let share = |part: u64| part as f64 / calls as f64;
        let is_bad = share(failed) >= self.config.failure_rate || share(slow) >= self.config.slow_call_rate;
        match self.state {
            State::Closed if calls >= self.config.minimum_calls().into() && is_bad => self.enter(State::Open),
            State::HalfOpen if calls == u64::from(self.config.half_open_calls) => {
                self.enter(if is_bad { State::Open } else { State::Closed });
            }
            _ => {}
        }
    }

    fn command(&mut self, command: Command) {
        let state = match command {
            Command::ForceOpen => State::ForcedOpen,
            Command::ForceClosed => State::ForcedClosed,
            Command::Disable => State::Disabled,
            Command::Reset => State::Closed,
            Command::Probe if self.state == State::Open => State::HalfOpen,
            Command::Probe => return,
        };
        if self.state != state || command == Command::Reset {
            self.enter(state);
        }
    }
}

#[derive(Debug, Clone)]
enum Action {
    Acquire,
    /// One of those that are out.
    Settle(usize, Verdict),
    /// Several calls at once.
    Burst(usize, Verdict),
    Pass(Duration),
    /// The caller's clock is behind by this much, for one call.
    Late(Duration),
    Command(Command),
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        3 => Just(Verdict::Success),
        3 => Just(Verdict::Failure),
        1 => Just(Verdict::Ignored)
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let command = [Command::ForceOpen, Command::ForceClosed, Command::Disable, Command::Reset, Command::Probe];
    let command = proptest::sample::select(command.to_vec());
    let time = prop_oneof![0_u64..30_000_000, 0_u64..3_000_000_000].prop_map(Duration::from_nanos);
    prop_oneof![
        16 => Just(Action::Acquire),
        16 => (any::<usize>(), verdict()).prop_map(|(which, verdict)| Action::Settle(which, verdict)),
        4 => (1_usize..8, verdict()).prop_map(|(calls, verdict)| Action::Burst(calls, verdict)),
        12 => time.clone().prop_map(Action::Pass),
        2 => time.prop_map(Action::Late),
        1 => command.prop_map(Action::Command),
    ]
}

fn config() -> impl Strategy<Value = BreakerConfig> {
    let window = prop_oneof![
        (1_u32..30).prop_map(Window::Calls),
        (20_u64..3_000).prop_map(|ms| Window::Time(Duration::from_millis(ms))),
    ];
    let rate = || (1_u32..=10).prop_map(|tenths| f64::from(tenths) / 10.0);
    (window, 1_u32..10, rate(), 1_u64..2_000, rate(), 1_u64..2_000, 1_u32..6).prop_map(
        |(window, minimum_calls, failure_rate, slow_call, slow_call_rate, wait_open, half_open_calls)| BreakerConfig {
            window,
            minimum_calls: match window {
                Window::Calls(most) => Some(minimum_calls.min(most)),
                Window::Time(_) => Some(minimum_calls),
            },
            failure_rate,
            slow_call: Some(Duration::from_millis(slow_call)),
            slow_call_rate,
            wait_open: Duration::from_millis(wait_open),
            half_open_calls,
        },
    )
}

fn acquire(
    breaker: &mut Breaker,
    model: &mut Model,
    tickets: &mut Vec<Option<Ticket>>,
    behind: Duration,
) -> Option<Transition> {
    breaker.at(model.now);
    let (acquired, transition) = breaker.acquire(model.now - behind);
    let acquired = acquired.map(|ticket| tickets.push(Some(ticket)));
    assert_eq!(acquired.map_err(|open| open.retry_after), model.acquire());
    transition
}

fn check(config: BreakerConfig, time_limit: Duration, actions: Vec<Action>) {
    let now = Instant::now() + Duration::from_hours(1); // so that a clock can be behind
    let mut breaker = Breaker::new(&config, time_limit, now);
    let mut model = Model {
        config,
        slow_call: config.slow_call.expect("given"),
        permit_limit: time_limit * 2,
        now,
        state: State::Closed,
        since: now,
        epoch: 0,
        permits: Vec::new(),
        out: Vec::new(),
        calls: Vec::new(),
        rejected: 0,
    };
    // By the model's number of the permit.
    let mut tickets: Vec<Option<Ticket>> = Vec::new();
    for action in actions {
        let (from, epoch) = (model.state, model.epoch);
        let mut transition = None;
        match action {
            Action::Acquire => transition = acquire(&mut breaker, &mut model, &mut tickets, Duration::ZERO),
            Action::Late(behind) => transition = acquire(&mut breaker, &mut model, &mut tickets, behind),
            Action::Settle(which, verdict) => {
                if !model.out.is_empty() {
                    let permit = model.out[which % model.out.len()];
                    let ticket = tickets[permit].take().expect("a permit that is out");
                    transition = breaker.settle(ticket, verdict, model.now);
                    model.settle(permit, verdict);
                }
            }
            Action::Burst(calls, verdict) => {
                for _ in 0..calls {
                    let permit = tickets.len();
                    acquire(&mut breaker, &mut model, &mut tickets, Duration::ZERO);
                    let Some(ticket) = tickets.get_mut(permit).and_then(Option::take) else { continue };
                    breaker.settle(ticket, verdict, model.now);
                    model.settle(permit, verdict);
                }
                transition = breaker.last.filter(|last| last.number > epoch);
            }
            Action::Pass(time) => model.now += time,
            Action::Command(command) => {
                transition = breaker.command(command, model.now);
                model.command(command);
            }
        }
        assert_eq!(transition.is_some(), model.epoch > epoch);
        if let Some(transition) = transition {
            assert_eq!((transition.to, transition.number), (model.state, model.epoch));
            assert!(transition.from == from || model.epoch > epoch + 1);
        }
        let seen = breaker.snapshot(model.now);
        assert_eq!((seen.state, seen.tally), (model.state, model.tally()));
        assert_eq!((seen.permits_out, seen.rejected), (model.permits_out(), model.rejected));
        assert_eq!(u128::from(seen.in_state_ms), (model.now - model.since).as_millis());
        breaker.at(model.now);
        assert_eq!(breaker.snapshot(model.now - Duration::from_secs(9)), seen, "time that goes back stands still");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn it_does_what_the_obvious_one_does(config in config(), time_limit in 1_u64..2_000, actions in vec(action(), 1..120)) {
        check(config, Duration::from_millis(time_limit), actions);
    }
}
