//! Everything that three callers, an operator and time can do to a breaker, in every order, until nothing new happens:
//! states that behave alike from now on are one, so their number is finite, and all are visited.

use super::*;
use std::collections::{HashSet, VecDeque};

const CALLERS: usize = 3;

/// The unit in which time passes here.
const STEP: Duration = Duration::from_secs(1);

const COMMANDS: [Command; 5] =
    [Command::ForceOpen, Command::ForceClosed, Command::Disable, Command::Reset, Command::Probe];

#[derive(Debug, Clone, Copy)]
enum Action {
    Acquire(usize),
    Settle(usize, Verdict),
    /// The permit is never given back.
    Lose(usize),
    Pass,
    Command(Command),
}

/// A breaker with its callers, and what the callers know themselves.
struct World {
    breaker: Breaker,
    now: Instant,
    held: [Option<Ticket>; CALLERS],
    /// The epoch of each permit that was lost.
    lost: Vec<u64>,
    /// When the state last changed.
    since: Instant,
    /// The calls that have ended since, and count.
    counted: u64,
    /// When a permit was last granted.
    granted: Instant,
}

/// What the future of a world depends on.
type Key = (State, Vec<(u64, Tally)>, u64, [(bool, u64); CALLERS], usize);

impl Clone for World {
    fn clone(&self) -> Self {
        let copy = |ticket: &Option<Ticket>| {
            ticket.as_ref().map(|Ticket { epoch, granted }| Ticket { epoch: *epoch, granted: *granted })
        };
        Self { breaker: self.breaker.clone(), held: self.held.each_ref().map(copy), lost: self.lost.clone(), ..*self }
    }
}

impl World {
    fn new(config: &BreakerConfig) -> Self {
        let now = Instant::now();
        let breaker = Breaker::new(config, STEP * 2, now);
        let held = [const { None }; CALLERS];
        Self { breaker, now, held, lost: Vec::new(), since: now, counted: 0, granted: now }
    }

    fn is_current(&self, ticket: &Ticket) -> bool {
        ticket.epoch == self.breaker.epoch
    }

    /// Permits of this state in use, as their holders know.
    fn out(&self) -> u64 {
        let held = self.held.iter().flatten().filter(|ticket| self.is_current(ticket)).count();
        (held + self.lost_now()) as u64
    }

    fn lost_now(&self) -> usize {
        self.lost.iter().filter(|epoch| **epoch == self.breaker.epoch).count()
    }

    fn age(&self, since: Instant, most: Duration) -> u64 {
        self.now.duration_since(since).min(most).as_secs()
    }

    fn key(&self) -> Key {
        let rules = &self.breaker.rules;
        let (contents, age) = match &self.breaker.phase {
            Phase::Closed(window) | Phase::ForcedClosed(window) => (window.contents(self.now), 0),
            Phase::Open => (Vec::new(), self.age(self.breaker.since, rules.wait_open)),
            Phase::HalfOpen { tally, last_granted } => (vec![(0, *tally)], self.age(*last_granted, rules.permit_limit)),
            Phase::ForcedOpen | Phase::Disabled => (Vec::new(), 0),
        };
        let mut held = self.held.each_ref().map(|ticket| match ticket {
            None => (false, 0),
            Some(ticket) if self.is_current(ticket) => (true, self.age(ticket.granted, rules.slow_call)),
            Some(_) => (false, 1),
        });
        held.sort_unstable(); // who holds what makes no difference
        (self.breaker.state(), contents, age, held, self.lost_now())
    }

    fn actions(&self) -> Vec<Action> {
        let mut actions = vec![Action::Pass];
        actions.extend(COMMANDS.map(Action::Command));
        // A window of time holds any number of calls; a few are enough here.
        let is_room = self.breaker.tally(self.now).calls < 4 || matches!(self.breaker.rules.window, Window::Calls(_));
        for caller in 0..CALLERS {
            if self.held[caller].is_none() {
                actions.push(Action::Acquire(caller));
                continue;
            }
            actions.push(Action::Settle(caller, Verdict::Ignored));
            if is_room {
                actions.push(Action::Settle(caller, Verdict::Success));
                actions.push(Action::Settle(caller, Verdict::Failure));
            }
            if self.lost_now() < 2 {
                actions.push(Action::Lose(caller));
            }
        }
        actions
    }

    /// Does it, and checks all that must hold of a single step.
    fn step(&mut self, action: Action) -> Option<Transition> {
        let (from, epoch) = (self.breaker.state(), self.breaker.epoch);
        let transition = match action {
            Action::Pass => {
                self.now += STEP;
                None
            }
            Action::Command(command) => self.breaker.command(command, self.now),
            Action::Lose(caller) => {
                self.lost.extend(self.held[caller].take().map(|ticket| ticket.epoch));
                None
            }
            Action::Acquire(caller) => self.acquire(caller),
            Action::Settle(caller, verdict) => self.settle(caller, verdict),
        };
        let to = self.breaker.state();
        match transition {
            None => assert_eq!((to, self.breaker.epoch), (from, epoch), "a change is told"),
            Some(transition) => {
                assert_eq!((transition.from, transition.to, transition.number), (from, to, epoch + 1));
                assert_eq!(self.breaker.last, Some(transition));
                assert!(is_legal(&transition, action), "{transition:?} by {action:?}");
                (self.since, self.counted) = (self.now, 0);
                assert_eq!(self.breaker.tally(self.now), Tally::default(), "every state begins empty");
            }
        }
        assert_eq!(self.breaker.out, self.out(), "every permit is accounted for");
        if to == State::HalfOpen {
            let (out, calls, most) = (self.out(), self.counted, self.breaker.rules.half_open_calls);
            assert!(out + calls <= most, "{out} under way and {calls} ended of {most}");
            assert!(calls < most, "with the last call it has decided");
        }
        transition
    }

    fn acquire(&mut self, caller: usize) -> Option<Transition> {
        let rules = self.breaker.rules;
        let (from, waited) = (self.breaker.state(), self.now.duration_since(self.since));
        let are_out = self.out() + self.counted >= rules.half_open_calls;
        let may_pass = match from {
            State::Closed | State::ForcedClosed | State::Disabled => true,
            State::Open => waited >= rules.wait_open,
            State::HalfOpen => !are_out,
            State::ForcedOpen => false,
        };
        let rejected = self.breaker.rejected;
        // What the breaker announces is what happens.
        let foretold = self.breaker.clone().refuse(self.now);
        let (acquired, transition) = self.breaker.acquire(self.now);
        assert_eq!(foretold.0, acquired.as_ref().err().copied());
        assert_eq!(self.breaker.rejected - rejected, u64::from(!may_pass));
        match acquired {
            Ok(ticket) => {
                assert!(may_pass, "{from}, {waited:?}");
                assert_eq!(transition.is_some(), from == State::Open);
                assert_eq!(foretold.1, None);
                assert_eq!((ticket.epoch, ticket.granted), (self.breaker.epoch, self.now));
                self.held[caller] = Some(ticket);
                self.granted = self.now;
            }
            Err(Open { retry_after }) => {
                assert!(!may_pass, "{from}, {waited:?}");
                assert_eq!(foretold.1, transition);
                let expected = match (from, transition) {
                    (State::Open, None) => rules.wait_open - waited,
                    (State::HalfOpen, None) => rules.permit_limit - self.now.duration_since(self.granted),
                    _ => rules.wait_open,
                };
                assert_eq!(retry_after, expected);
                assert!(!retry_after.is_zero());
            }
        }
        transition
    }

    fn settle(&mut self, caller: usize, verdict: Verdict) -> Option<Transition> {
        let ticket = self.held[caller].take().expect("a permit");
        let is_current = self.is_current(&ticket);
        let state = self.breaker.state();
        let (before, tally) = (self.key(), self.breaker.tally(self.now));
        let transition = self.breaker.settle(ticket, verdict, self.now);
        if !is_current {
            assert_eq!((self.key(), transition), (before, None), "a result of an earlier state changes nothing");
            return None;
        }
        let is_counting = matches!(state, State::Closed | State::HalfOpen | State::ForcedClosed);
        if verdict == Verdict::Ignored || !is_counting {
            assert_eq!((self.breaker.tally(self.now), transition), (tally, None), "it does not count");
            return None;
        }
        self.counted += 1;
        // It changes its state exactly when the calls that count say so.
        let rules = self.breaker.rules;
        let counted = transition.map_or_else(|| self.breaker.tally(self.now), |transition| transition.tally);
        let is_bad = counted.failure_rate() >= rules.failure_rate || counted.slow_call_rate() >= rules.slow_call_rate;
        let to = match state {
            State::Closed if is_bad && counted.calls >= rules.minimum_calls => State::Open,
            State::HalfOpen if counted.calls == rules.half_open_calls && is_bad => State::Open,
            State::HalfOpen if counted.calls == rules.half_open_calls => State::Closed,
            _ => state,
        };
        assert_eq!(self.breaker.state(), to, "after {counted:?}");
        transition
    }

    /// From wherever it is, the way back is open: with what callers hold given back, or lost.
    fn check_that_it_recovers(mut self, are_given_back: bool) {
        for caller in 0..CALLERS {
            match &self.held[caller] {
                Some(_) if are_given_back => self.step(Action::Settle(caller, Verdict::Ignored)),
                Some(_) => self.step(Action::Lose(caller)),
                None => None,
            };
        }
        match self.breaker.state() {
            forced @ (State::ForcedOpen | State::ForcedClosed | State::Disabled) => {
                for _ in 0..10 {
                    self.step(Action::Pass);
                    self.step(Action::Acquire(0));
                    if self.held[0].is_some() {
                        self.step(Action::Settle(0, Verdict::Failure));
                    }
                    assert_eq!(self.breaker.state(), forced, "forced is forced");
                }
                self.step(Action::Command(Command::Reset));
            }
            State::Closed => {
                // And it still does what it is for.
                let enough = self.counted + 10;
                while self.breaker.state() == State::Closed {
                    assert!(self.counted < enough, "it does not open: {:?}", self.breaker);
                    self.step(Action::Acquire(0));
                    self.step(Action::Settle(0, Verdict::Failure));
                }
            }
            State::Open | State::HalfOpen => {}
        }
        let mut patience = 40;
        while self.breaker.state() != State::Closed {
            assert!(patience > 0, "it does not close: {:?}", self.breaker);
            patience -= 1;
            self.step(Action::Acquire(0));
            match self.held[0] {
                Some(_) => self.step(Action::Settle(0, Verdict::Success)),
                None => self.step(Action::Pass),
            };
        }
    }
}

/// The arrows of the picture at the top of the module.
fn is_legal(transition: &Transition, action: Action) -> bool {
    let Transition { from, to, cause, .. } = transition;
    let is_too_bad = matches!(cause, Cause::FailureRate | Cause::SlowCallRate);
    match action {
        Action::Acquire(_) => match (from, to) {
            (State::Open, State::HalfOpen) => *cause == Cause::WaitOver,
            (State::HalfOpen, State::Open) => *cause == Cause::PermitsLost,
            _ => false,
        },
        Action::Settle(_, Verdict::Success | Verdict::Failure) => match (from, to) {
            (State::Closed | State::HalfOpen, State::Open) => is_too_bad && transition.tally.calls > 0,
            (State::HalfOpen, State::Closed) => *cause == Cause::Recovered,
            _ => false,
        },
        Action::Command(command) => {
            let wanted = match command {
                Command::ForceOpen => State::ForcedOpen,
                Command::ForceClosed => State::ForcedClosed,
                Command::Disable => State::Disabled,
                Command::Reset => State::Closed,
                Command::Probe => State::HalfOpen,
            };
            let may = match command {
                Command::Reset => true,
                Command::Probe => *from == State::Open,
                _ => from != to,
            };
            let why = if command == Command::Probe { Cause::Answered } else { Cause::Command };
            *cause == why && *to == wanted && may
        }
        Action::Settle(..) | Action::Lose(_) | Action::Pass => false,
    }
}

/// Visits all; gives the number of states and the transitions that were seen.
fn explore(config: &BreakerConfig) -> (usize, HashSet<(State, State, Cause)>) {
    let first = World::new(config);
    let mut seen = HashSet::from([first.key()]);
    let mut transitions = HashSet::new();
    let mut next = VecDeque::from([first]);
    while let Some(world) = next.pop_front() {
        world.clone().check_that_it_recovers(true);
        world.clone().check_that_it_recovers(false);
        for action in world.actions() {
            let mut world = world.clone();
            transitions.extend(world.step(action).map(|Transition { from, to, cause, .. }| (from, to, cause)));
            if seen.insert(world.key()) {
                next.push_back(world);
            }
        }
    }
    (seen.len(), transitions)
}

fn config(window: Window) -> BreakerConfig {
    BreakerConfig {
        window,
        minimum_calls: Some(2),
        failure_rate: 0.6,
        slow_call: None, // two steps
        slow_call_rate: 1.0,
        wait_open: STEP * 3,
        half_open_calls: 2,
    }
}

fn check(config: &BreakerConfig) {
    let (states, transitions) = explore(config);
    assert!(states > 1_000, "only {states} states");
    let by_itself = [
        (State::Closed, State::Open, Cause::FailureRate),
        (State::Closed, State::Open, Cause::SlowCallRate),
        (State::Open, State::HalfOpen, Cause::WaitOver),
        (State::HalfOpen, State::Open, Cause::FailureRate),
        (State::HalfOpen, State::Open, Cause::SlowCallRate),
        (State::HalfOpen, State::Open, Cause::PermitsLost),
        (State::HalfOpen, State::Closed, Cause::Recovered),
    ];
    for arrow in by_itself {
        assert!(transitions.contains(&arrow), "{arrow:?} was never seen");
    }
    // 6 states times 4 commands, less the three that change nothing; and probing, which changes one.
    assert_eq!(transitions.len(), by_itself.len() + 22);
}

#[test]
fn every_interleaving_with_a_window_of_calls() {
    check(&config(Window::Calls(3)));
}

#[test]
fn every_interleaving_with_a_window_of_time() {
    check(&config(Window::Time(STEP * 2)));
}

#[test]
fn every_interleaving_with_one_call_in_half_open() {
    check(&BreakerConfig { half_open_calls: 1, ..config(Window::Calls(2)) });
}

#[test]
fn every_interleaving_with_three_calls_in_half_open_and_any_slow_call_too_many() {
    let config = config(Window::Calls(3));
    check(&BreakerConfig { half_open_calls: 3, failure_rate: 1.0, slow_call_rate: 0.3, ..config });
}
