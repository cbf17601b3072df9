//! Everything that can happen, and the standard saga tests.

use super::{
    state::{Facts, State, json},
    steps::{ReplyOutcome, Saga},
    time_outs::TimedOut,
};
use crate::{
    ask::AskTarget,
    audit::{Case, Findings},
    model::DocumentKey,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque, hash_map::Entry},
    fmt,
};

/// What an exploration has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explored {
    /// How many states there are.
    pub states: usize,
    /// How many of them are quiet: nothing is left to happen by itself.
    pub quiet: usize,
}

/// A quiet state that is wrong, and the shortest way there.
#[derive(Debug, Clone, PartialEq)]
pub struct Counterexample {
    /// What is wrong.
    pub violations: Vec<String>,
    /// The steps that lead there.
    pub steps: Vec<String>,
    /// The state.
    pub state: State,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for violation in &self.violations {
            writeln!(f, "{violation}")?;
        }
        for (nth, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:>3}. {step}", nth + 1)?;
        }
        write!(f, "{:?}", self.state)
    }
}

impl std::error::Error for Counterexample {}

/// A step of an exploration.
enum Step {
    Delivered { listener: usize, source: usize, nth: usize },
    Acted(usize, Vec<ReplyOutcome>),
    Replied(AskTarget, ReplyOutcome),
    TimedOut { service: usize, key: DocumentKey, name: &'static str },
}

/// What happens next by itself; and what may happen at any time: what people do, and time-outs.
type Next = (Vec<(Step, Node)>, Vec<(Step, Node)>);

/// A state of an exploration, and what people may still do in it: one bit for each action.
type Node = (Facts, u64);

impl Saga {
    /// Explores everything that can happen, and panics with a [`Counterexample`] if a quiet state is wrong.
    #[track_caller]
    pub fn explore(&self) -> Explored {
        self.try_explore().unwrap_or_else(|found| panic!("{found}"))
    }

    /// Like [`explore`](Self::explore), and panics if fewer states than these are found: an exploration that shrinks shows less.
    #[track_caller]
    pub fn explore_at_least(&self, states: usize) {
        let explored = self.explore();
        assert!(explored.states >= states, "{explored:?}");
    }

    /// Explores everything that can happen.
    pub fn try_explore(&self) -> Result<Explored, Box<Counterexample>> {
        let all = u64::MAX >> (64 - self.actions.len());
        let begin: Node = (self.nothing().facts, all);
        let mut known: HashMap<Node, usize> = HashMap::from([(begin.clone(), 0)]);
        let mut origins: Vec<Option<(usize, Step)>> = vec![None];
        let mut ahead = VecDeque::from([(begin, 0)]); // breadth first: a counterexample is as short as can be
        let mut quiet = 0;
        while let Some((node, at)) = ahead.pop_front() {
            let (by_itself, at_any_time) = self.next(&node);
            if by_itself.is_empty() {
                quiet += 1;
                let state = self.state(node.0.clone());
                let violations = self.violations(&state);
                if !violations.is_empty() {
                    let steps = self.way_to(&state, &origins, at);
                    return Err(Box::new(Counterexample { violations, steps, state }));
                }
            }
            for (step, next) in by_itself.into_iter().chain(at_any_time) {
                let nth = origins.len();
                if let Entry::Vacant(unknown) = known.entry(next) {
                    ahead.push_back((unknown.key().clone(), nth));
                    unknown.insert(nth);
                    origins.push(Some((at, step)));
                }
            }
        }
        Ok(Explored { states: known.len(), quiet })
    }

    fn next(&self, (facts, left): &Node) -> Next {
        let delivered = self.deliveries(facts);
        let delivered =
            delivered.map(|(listener, source, nth, after)| (Step::Delivered { listener, source, nth }, (after, *left)));
        let replied = self.replies(facts).into_iter();
        let replied = replied.map(|(call, outcome, after)| (Step::Replied(call.target, outcome), (after, *left)));
        let by_itself = delivered.chain(replied).collect();
        let timed_out = self.time_outs(facts).into_iter();
        let timed_out = timed_out.filter(|out| out.facts != *facts).map(|out| {
            let TimedOut { service, key, name, facts } = out;
            (Step::TimedOut { service, key, name }, (facts, *left))
        });
        let mut at_any_time: Vec<_> = timed_out.collect();
        for (at, action) in self.actions.iter().enumerate().filter(|(at, _)| left & (1 << at) != 0) {
            for branch in self.acts(facts, action) {
                // What is refused may be tried again.
                if branch.result.is_ok() || branch.facts != *facts {
                    at_any_time.push((Step::Acted(at, branch.outcomes), (branch.facts, left & !(1 << at))));
                }
            }
        }
        (by_itself, at_any_time)
    }

    /// The steps that lead to a state. Journals only grow, so it has every event on the way.
    fn way_to(&self, state: &State, origins: &[Option<(usize, Step)>], mut at: usize) -> Vec<String> {
        let mut steps = Vec::new();
        while let Some((before, step)) = &origins[at] {
            let name = |service: usize| self.model.services[service].name;
            steps.push(match step {
                Step::Delivered { listener, source, nth } => {
                    let event = &state.facts.services[*source].journal[*nth];
                    format!("{} applies {}", name(*listener), event.event_type)
                }
                Step::Acted(action, outcomes) if outcomes.is_empty() => self.actions[*action].to_string(),
                Step::Acted(action, outcomes) => format!("{}, asks: {outcomes:?}", self.actions[*action]),
                Step::TimedOut { service, key: (resource, id), name } => {
                    let path = self.model.services[*service].resources[*resource].path;
                    format!("{path}/{id} is not done in time: {name}")
                }
                Step::Replied(target, outcome) => format!("ask {}{}: {outcome:?}", target.service, target.path),
            });
            at = *before;
        }
        steps.reverse();
        steps
    }

    /// What is wrong with a quiet state: findings of the audit, a ledger that does not balance, an event that was published
    /// twice, findings of the checks.
    pub fn violations(&self, state: &State) -> Vec<String> {
        let mut found = Vec::new();
        let mut all = Findings::default();
        for case in self.cases(state) {
            let findings = (self.model.audit)(&case);
            all.merge(findings.clone());
            if findings.violations().is_empty() && self.model.ledger.difference(findings.sums()) != 0 {
                found.push(format!("the ledger does not balance: {:?}", findings.sums()));
            }
            found.extend_from_slice(findings.violations());
        }
        if found.is_empty() && self.model.total.difference(all.sums()) != 0 {
            found.push(format!("the totals do not balance: {:?}", all.sums()));
        }
        let mut names = BTreeSet::new();
        for (event_type, event) in state.published() {
            if let Some(name) = (self.name)(event_type, &event)
                && !names.insert(name.clone())
            {
                found.push(format!("{name} was published twice"));
            }
        }
        found.extend(self.checks.iter().flat_map(|check| check(state)));
        found
    }

    /// All rows by their correlation key.
    fn cases<'a>(&self, state: &'a State) -> impl Iterator<Item = Case<'a>> {
        let mut cases = BTreeMap::new();
        for (service, memory) in self.model.services.iter().zip(&state.facts.services) {
            for ((resource, id), body) in &memory.documents {
                let resource = &service.resources[*resource];
                let key = resource.belongs_by.map_or(Some(*id), |field| json(body)[field].as_i64()).unwrap_or(*id);
                let case = cases.remove(&key).unwrap_or_else(|| Case::new(key));
                cases.insert(key, case.with(resource, body));
            }
        }
        cases.into_values()
    }

    #[track_caller]
    fn assert_clean(&self, state: &State) {
        assert_eq!(self.violations(state), Vec::<String>::new(), "{state:?}");
    }

    /// Everything happens that happens by itself: events are applied, what is to be undone is undone.
    fn quieted(&self, state: &State) -> State {
        let mut state = self.deliver(state);
        while let Some(undone) = self.reply(&state, ReplyOutcome::Voided) {
            state = self.deliver(&undone);
        }
        state
    }

    /// Standard test: each ask of the founding action, nested ones included, meets each outcome. If the order is refused,
    /// no document remains except what was undone. Delayed asks are left to [`explore`](Self::explore).
    #[track_caller]
    pub fn each_step_fails(&self) {
        let nothing = self.nothing();
        for branch in self.acts(&nothing.facts, &self.actions[0]) {
            let state = self.state(branch.facts);
            let has_founded = branch.result.is_ok();
            if !has_founded && !state.is_undoing() {
                assert_eq!(state, nothing, "{:?}: {:?}", branch.outcomes, branch.result);
            }
            if !state.is_delayed() {
                self.assert_clean(&self.quieted(&state));
            }
        }
    }

    /// Standard test: all services apply all events again, and nothing changes. For quiet states.
    #[track_caller]
    pub fn each_step_repeats(&self, state: &State) {
        assert_eq!(self.deliver_again(state), *state);
    }

    /// Standard test: each undo of what the founding action asks, nested asks included, changes nothing if there is nothing
    /// to undo, and nothing when it repeats.
    #[track_caller]
    pub fn each_undo_repeats(&self) {
        let nothing = self.nothing();
        for branch in self.acts(&nothing.facts, &self.actions[0]) {
            let mut state = self.state(branch.facts);
            while let Some(path) = state.facts.calls.iter().find(|call| call.is_voiding).map(|call| call.target.path) {
                assert_eq!(self.undo(&nothing, path), nothing, "{path} undoes what was never done");
                state = self.reply(&state, ReplyOutcome::Voided).expect("it is undone");
                assert_eq!(self.undo(&state, path), state, "{path} undoes twice");
            }
        }
    }
}
