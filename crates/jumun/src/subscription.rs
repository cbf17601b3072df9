//! Subscriptions: the only code that passes events to aggregates and views, so that an event outside `HEARS` reaches none.

use crate::{
    aggregate::{Aggregate, CommandOf, EventOf, View},
    describe::{Instances, PolicyModel, name_of},
    event::PublishedLanguage,
    first::First,
    value::Id,
};

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
