//! Subscriptions: the only code that passes events to aggregates and views, so that an event outside `HEARS` reaches none.

use crate::{
    aggregate::{Aggregate, CommandOf, EventOf, Settings, SettingsOf, View},
    describe::{Instances, PolicyModel, TimeOutModel, name_of},
    event::PublishedLanguage,
    first::First,
    value::Id,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The instance that an event concerns.
pub(crate) fn concerned<A: Aggregate>(event: &EventOf<A>) -> Option<Id<A>> {
    if hears::<A>(event) { A::concerns(event) } else { None }
}

/// The row that an event concerns.
pub(crate) fn concerned_row<V: View>(event: &V::Event) -> Option<i64> {
    if V::HEARS.contains(&event.kind()) { V::concerns(event) } else { None }
}

/// The command that an event causes, and the instance that decides it.
pub(crate) fn reaction<A: Aggregate>(event: &EventOf<A>) -> Option<(Id<A>, CommandOf<A>)> {
    Some((concerned::<A>(event)?, A::react(event)?))
}

/// The instances that an event chooses, and their command.
pub(crate) fn reaction_first<A: Aggregate>(event: &EventOf<A>) -> Option<First<CommandOf<A>>> {
    if hears::<A>(event) { A::react_first(event) } else { None }
}

/// The commands that make new instances because of an event.
pub(crate) fn reactions_anew<A: Aggregate>(event: &EventOf<A>) -> Vec<CommandOf<A>> {
    if hears::<A>(event) { A::react_anew(event) } else { Vec::new() }
}

/// The state of an instance after an event.
pub(crate) fn evolved<A: Aggregate>(id: Id<A>, state: Option<A>, event: &EventOf<A>) -> Option<A> {
    if concerned::<A>(event) == Some(id) { A::evolve(state, event) } else { state }
}

/// The state of an instance after several events.
pub(crate) fn folded<A: Aggregate>(id: Id<A>, state: Option<A>, events: &[EventOf<A>]) -> Option<A> {
    events.iter().fold(state, |state, event| evolved(id, state, event))
}

fn hears<A: Aggregate>(event: &EventOf<A>) -> bool {
    A::HEARS.contains(&event.kind())
}

/// The policies of an aggregate that an event sets off.
pub(crate) fn policies<A: Aggregate>(event: &EventOf<A>) -> Vec<PolicyModel> {
    let kind = event.event_type();
    let policy = |command: &CommandOf<A>, instances| PolicyModel { event: kind, command: name_of(command), instances };
    let own = reaction::<A>(event).map(|(_, command)| policy(&command, Instances::Concerned));
    let first = reaction_first::<A>(event).map(|first| policy(&first.command, Instances::First));
    let anew = reactions_anew::<A>(event);
    let anew = anew.iter().map(|command| policy(command, Instances::New));
    own.into_iter().chain(first).chain(anew).collect()
}

/// The time-outs of an aggregate: those of the states to which each event leads by itself, and to which the events of each
/// order lead one after the other.
pub(crate) fn time_outs<A: Aggregate>(events: &[EventOf<A>]) -> Vec<TimeOutModel> {
    let settings = with_limits::<SettingsOf<A>>();
    let mut states: BTreeMap<i64, Option<A>> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for event in events.iter().filter(|event| hears::<A>(event)) {
        let state = states.entry(event.correlation_key()).or_default();
        *state = A::evolve(state.take(), event);
        for state in [A::evolve(None, event).as_ref(), state.as_ref()].into_iter().flatten() {
            let waits = state.time_out(&settings);
            found.extend(waits.map(|waits| TimeOutModel { name: waits.name, command: name_of(&waits.command) }));
        }
    }
    found.into_iter().collect()
}

/// The default settings, but with every [limit](crate::TimeLimit) on: those keys that are nothing and may be a duration.
fn with_limits<S: Settings>() -> S {
    let mut settings = serde_json::to_value(S::default()).unwrap_or_default();
    let keys = settings.as_object().into_iter().flatten().filter(|(_, value)| value.is_null());
    for key in keys.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
        let mut with = settings.clone();
        with[&key] = Value::from("1s");
        if serde_json::from_value::<S>(with.clone()).is_ok() {
            settings = with;
        }
    }
    serde_json::from_value(settings).unwrap_or_default()
}
