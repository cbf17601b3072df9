//! Everything that answers and time can do to a pace, in every order, until nothing new happens; and callers who share a
//! neighbour.

#![allow(clippy::unchecked_time_subtraction, reason = "a test may fail")]

use super::*;
use proptest::{collection::vec, prelude::*};
use std::collections::{HashSet, VecDeque};

/// The unit in which time passes here. Two of them are a silence.
const STEP: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
enum Action {
    /// An answer to a call that was sent this many steps ago.
    Answered {
        capacity: Option<Capacity>,
        before: u32,
        is_used_up: bool,
    },
    Unanswered,
    Pass,
}

#[derive(Clone)]
struct World {
    pace: Pace,
    now: Instant,
}

/// What the future of a pace depends on.
type Key = Option<(Capacity, u32, u64, u64)>;

#[allow(clippy::unnecessary_wraps, reason = "an answer may tell nothing instead")]
fn told(places: u32, queue: u32) -> Option<Capacity> {
    Some(Capacity { places, queue })
}

impl World {
    fn new(most: u32) -> Self {
        let now = Instant::now() + STEP * 100;
        Self { pace: Pace::new(most, STEP), now }
    }

    fn key(&self) -> Key {
        let age = |since| self.now.duration_since(since).min(STEP * 3).as_secs();
        self.pace.told.map(|told| (told.capacity, told.limit, age(told.changed), age(told.heard)))
    }

    fn actions() -> Vec<Action> {
        let mut actions = vec![Action::Pass, Action::Unanswered];
        let capacities = [(1, 0), (1, 2), (1, 3), (2, 0), (2, 9), (4, 0), (4, 1), (4, 5), (4, 90), (9, 0), (9, 20)];
        let capacities = capacities.into_iter().map(|(places, queue)| told(places, queue)).chain([None]);
        for capacity in capacities {
            for before in 0..3 {
                actions.extend([true, false].map(|is_used_up| Action::Answered { capacity, before, is_used_up }));
            }
        }
        actions
    }

    /// Does it, and checks all that must hold of a single step.
    fn step(&mut self, action: Action) {
        let (before, most) = (self.pace.told, self.pace.most);
        match action {
            Action::Pass => self.now += STEP,
            Action::Unanswered => self.pace.unanswered(self.now),
            Action::Answered { capacity, before, is_used_up } => {
                self.pace.answered(capacity, self.now - STEP * before, is_used_up, self.now);
            }
        }
        let (limit, after) = (self.pace.limit(), self.pace.told);
        assert!((1..=most).contains(&limit), "{limit} by {action:?}");
        let Some(after) = after else {
            assert_eq!(limit, most, "without a word of places the configured limit applies");
            let is_silent = before.is_none_or(|told| self.now - told.heard >= STEP * 2);
            assert!(is_silent || matches!(action, Action::Answered { capacity: None, .. }), "{action:?}");
            return;
        };
        let Capacity { places, queue } = after.capacity;
        assert!(limit <= places * 2, "{after:?}");
        let Action::Answered { capacity, before: ago, is_used_up } = action else {
            assert_eq!(before.map(|told| told.limit), Some(limit), "only answers change it");
            return;
        };
        assert_eq!((capacity, after.heard), (Some(after.capacity), self.now));
        let is_known = before.filter(|told| told.capacity.places == places && self.now - told.heard < STEP * 2);
        let Some(before) = is_known else {
            assert_eq!(limit, places.min(most), "it starts with the places");
            return;
        };
        let expected = match queue {
            _ if self.now - STEP * ago < before.changed => before.limit,
            0 if is_used_up => (before.limit + 1).min(places * 2).min(most),
            queue if queue > after.capacity.tolerated() => {
                assert!(limit <= before.limit && limit >= before.limit / 2);
                assert!(limit < before.limit || limit == 1);
                return;
            }
            _ => before.limit,
        };
        assert_eq!(limit, expected, "{before:?}, {action:?}");
    }

    fn after_a_round_trip(&mut self, capacity: Option<Capacity>) {
        self.now += Duration::from_millis(1);
        self.step(Action::Answered { capacity, before: 0, is_used_up: true });
    }

    /// From wherever it is: a neighbour whose places are idle gets them filled, one that is flooded gets nearly nothing, and
    /// one that is silent is forgotten.
    fn check_that_it_follows(&self, most: u32) {
        let mut idle = self.clone();
        (0..20).for_each(|_| idle.after_a_round_trip(told(4, 0)));
        assert_eq!(idle.pace.limit(), most.min(8));
        let mut flooded = self.clone();
        (0..20).for_each(|_| flooded.after_a_round_trip(told(4, 90)));
        assert_eq!(flooded.pace.limit(), 1);
        let mut silent = self.clone();
        (0..2).for_each(|_| silent.step(Action::Pass));
        silent.step(Action::Unanswered);
        assert_eq!((silent.pace.limit(), silent.pace.told()), (most, None));
    }
}

#[test]
fn every_order_of_answers_and_time_keeps_the_rule() {
    for most in [1, 3, 100] {
        let first = World::new(most);
        let mut seen = HashSet::from([first.key()]);
        let mut next = VecDeque::from([first]);
        while let Some(world) = next.pop_front() {
            world.check_that_it_follows(most);
            for action in World::actions() {
                let mut world = world.clone();
                world.step(action);
                if seen.insert(world.key()) {
                    next.push_back(world);
                }
            }
        }
        let expected = if most == 1 { 50 } else { 200 };
        assert!(seen.len() > expected, "only {} states", seen.len());
    }
}

/// A neighbour with this many places, and callers who always have calls left. One round trip: each has as many calls in flight
/// as its limit.
fn round_trip(paces: &mut [Pace], places: u32, others: u32, now: Instant) -> u32 {
    let calls: u32 = paces.iter().map(Pace::limit).sum::<u32>() + others;
    let queue = calls.saturating_sub(places);
    for pace in paces {
        pace.answered(told(places, queue), now, true, now);
    }
    calls
}

proptest! {
    /// However they start: the places stay filled, few queue, each has a fair share.
    #[test]
    fn callers_fill_the_places_of_a_neighbour_and_share_them(
        starts in vec((1..100_u32, 0..100_u32), 1..5),
        places in 8..200_u32,
    ) {
        let mut now = Instant::now();
        let mut paces: Vec<_> = starts.iter().map(|(limit, _)| Pace::new(*limit, STEP)).collect();
        for (pace, (_, queue)) in paces.iter_mut().zip(&starts) {
            pace.answered(told(places, *queue), now, false, now);
            pace.most = 1_000; // wherever they start, they may go
        }
        for _ in 0..1_000 {
            now += Duration::from_millis(1);
            round_trip(&mut paces, places, 0, now);
        }
        let (rounds, callers) = (50, u32::try_from(paces.len()).expect("few"));
        let mut used = 0;
        for _ in 0..rounds {
            now += Duration::from_millis(1);
            let calls = round_trip(&mut paces, places, 0, now);
            used += calls.min(places);
            prop_assert!(calls + callers > places, "{calls} calls leave some of {places} places idle");
            let queue = calls.saturating_sub(places);
            let bound = Capacity { places, queue }.tolerated() + callers;
            prop_assert!(queue <= bound, "{queue} queue for {places} places");
        }
        prop_assert!(used * 10 >= rounds * places * 9, "{used} of {} places were used", rounds * places);
    }

    /// One that comes later gets a share, too, and callers that do not keep to the places leave the others at least one.
    #[test]
    fn whoever_comes_later_or_is_crowded_out_still_gets_some(places in 8..200_u32, others in 0..1_000_u32) {
        let mut now = Instant::now();
        let mut paces: Vec<_> = (0..2).map(|_| Pace::new(1_000, STEP)).collect();
        for _ in 0..100 {
            now += Duration::from_millis(1);
            round_trip(&mut paces[..1], places, 0, now);
        }
        for _ in 0..100 {
            now += Duration::from_millis(1);
            round_trip(&mut paces, places, others, now);
        }
        let limits: Vec<_> = paces.iter().map(Pace::limit).collect();
        prop_assert!(limits.iter().all(|limit| *limit >= 1));
        if others == 0 {
            prop_assert!(limits[1] >= places / 3, "{limits:?} of {places}");
        }
    }
}

#[test]
fn a_neighbour_that_is_replaced_is_heard_at_once() {
    let mut world = World::new(256);
    world.after_a_round_trip(told(30, 0));
    assert_eq!(world.pace.limit(), 30);
    world.step(Action::Answered { capacity: told(1_024, 0), before: 2, is_used_up: false });
    assert_eq!(world.pace.limit(), 256, "a fault was turned off");
    world.step(Action::Answered { capacity: told(8, 3), before: 2, is_used_up: false });
    assert_eq!(world.pace.limit(), 8);
    world.step(Action::Answered { capacity: None, before: 0, is_used_up: false });
    assert_eq!((world.pace.limit(), world.pace.told()), (256, None), "an older release tells nothing");
}
