//! Requests: their states, keys, lists and end.

use super::fixtures::{Home, answer, conflict, event, insert, moved, request, requests, schema};
use crate::{
    AskRecord, Changes, Conflict, Database, ReadDatabase, Request, RequestChange, RequestFilter, RequestState,
    StoredAnswer, limits,
};
use futures_util::future::join_all;
use uuid::Uuid;

#[doc(hidden)]
pub async fn a_request_moves_only_forward_and_only_from_the_state_it_is_in(home: &impl Home) {
    let database = home.open(schema(1));
    for state in RequestState::ALL {
        for from in RequestState::ALL {
            for to in RequestState::ALL {
                let asked = request(None, state, 1);
                database.commit(requests([insert(&asked)])).await.unwrap();
                let result = database.commit(requests([moved(asked.id, from, to)])).await;
                let after = database.request(asked.id).await.unwrap().unwrap().state;
                if state == from && from <= to {
                    assert!(result.is_ok(), "{state}: {from} → {to}: {result:?}");
                    assert_eq!(after, to);
                } else {
                    assert_eq!(conflict(result), Conflict::Request { id: asked.id }, "{state}: {from} → {to}");
                    assert_eq!(after, state);
                }
            }
        }
    }
    let nobody = Uuid::now_v7();
    let result = database.commit(requests([moved(nobody, RequestState::Asking, RequestState::Done)])).await;
    assert_eq!(conflict(result), Conflict::Request { id: nobody });
    let known = request(None, RequestState::Asking, 1);
    database.commit(requests([insert(&known)])).await.unwrap();
    assert_eq!(conflict(database.commit(requests([insert(&known)])).await), Conflict::Request { id: known.id });
    // Two steps in one commit.
    let steps = [(RequestState::Asking, RequestState::Voiding), (RequestState::Voiding, RequestState::Voided)];
    database.commit(requests(steps.map(|(from, to)| moved(known.id, from, to)))).await.unwrap();
    assert_eq!(database.request(known.id).await.unwrap().unwrap().state, RequestState::Voided);
}

#[doc(hidden)]
pub async fn an_answer_stays_until_there_is_another(home: &impl Home) {
    let database = home.open(schema(1));
    let asked = request(None, RequestState::Asking, 1);
    database.commit(requests([insert(&asked)])).await.unwrap();
    let step = async |from, to, answer: Option<StoredAnswer>| {
        database.commit(requests([RequestChange::Move { id: asked.id, from, to, answer }])).await.unwrap();
        database.request(asked.id).await.unwrap().unwrap().answer
    };

    let first = step(RequestState::Asking, RequestState::Done, Some(answer(201))).await;
    assert_eq!(first, Some(answer(201)));
    let kept = step(RequestState::Done, RequestState::Voiding, None).await;
    assert_eq!(kept, Some(answer(201)));
    let other = StoredAnswer { status: 409, location: None, body: String::new(), last_event: None };
    let replaced = step(RequestState::Voiding, RequestState::Voided, Some(other.clone())).await;
    assert_eq!(replaced, Some(other));
    // A request can be born with an answer, and without an ask.
    let born = Request { answer: Some(answer(200)), ask: None, ..request(Some("k"), RequestState::Done, 1) };
    database.commit(requests([insert(&born)])).await.unwrap();
    assert_eq!(database.request_by_key("k").await.unwrap(), Some(born));
}

/// A repeat is told of the same event as the first attempt.
#[doc(hidden)]
pub async fn an_answer_names_the_last_event_of_its_commit(home: &impl Home) {
    let database = home.open(schema(1));
    let answered = |subject| Request { answer: Some(answer(201)), ..request(None, RequestState::Done, subject) };
    let last_event = async |id| database.request(id).await.unwrap().unwrap().answer.unwrap().last_event;
    let with = |journal: &[i64], change| Changes {
        journal: journal.iter().map(|key| event(*key)).collect(),
        requests: vec![change],
        ..Changes::default()
    };

    let born = answered(1);
    database.commit(with(&[1, 1], insert(&born))).await.unwrap();
    assert_eq!(last_event(born.id).await, Some((0, 2)));
    let without = answered(2);
    database.commit(with(&[], insert(&without))).await.unwrap();
    assert_eq!(last_event(without.id).await, None);

    let asked = request(None, RequestState::Asking, 3);
    let delayed = request(None, RequestState::Asking, 4);
    database.commit(with(&[1], insert(&asked))).await.unwrap();
    database.commit(with(&[1], insert(&delayed))).await.unwrap();
    assert_eq!(database.request(asked.id).await.unwrap().unwrap().answer, None);
    let (from, to) = (RequestState::Asking, RequestState::Done);
    database
        .commit(with(&[3], RequestChange::Move { id: asked.id, from, to, answer: Some(answer(201)) }))
        .await
        .unwrap();
    assert_eq!(last_event(asked.id).await, Some((0, 5)));
    let delay = RequestChange::Delay { id: delayed.id, until_ms: 9_000, answer: Some(answer(201)) };
    database.commit(with(&[4], delay)).await.unwrap();
    assert_eq!(last_event(delayed.id).await, Some((0, 6)));
    // What follows later changes neither the answer nor its event.
    let (from, to) = (RequestState::Delayed, RequestState::Done);
    database.commit(with(&[4], RequestChange::Move { id: delayed.id, from, to, answer: None })).await.unwrap();
    assert_eq!(last_event(delayed.id).await, Some((0, 6)));
    let (from, to) = (RequestState::Done, RequestState::Voiding);
    database.commit(with(&[3], RequestChange::Move { id: asked.id, from, to, answer: None })).await.unwrap();
    assert_eq!(last_event(asked.id).await, Some((0, 5)));
}

#[doc(hidden)]
pub async fn only_what_is_asked_is_delayed(home: &impl Home) {
    let database = home.open(schema(1));
    let question = Some(r#"{"orderId":1}"#.to_owned());
    for state in RequestState::ALL {
        let mut asked = request(None, state, 1);
        asked.ask = asked.ask.map(|ask| AskRecord { question: question.clone(), ..ask });
        database.commit(requests([insert(&asked)])).await.unwrap();
        let delay = |answer| requests([RequestChange::Delay { id: asked.id, until_ms: 9_000, answer }]);
        if state == RequestState::Asking {
            database.commit(delay(Some(answer(201)))).await.unwrap();
            let delayed = Request { state: RequestState::Delayed, until_ms: 9_000, answer: Some(answer(201)), ..asked };
            assert_eq!(database.request(delayed.id).await.unwrap(), Some(delayed.clone()));
            // What is delayed is answered, or taken back, and keeps the answer of its client.
            database.commit(requests([moved(asked.id, RequestState::Delayed, RequestState::Done)])).await.unwrap();
            let done = Request { state: RequestState::Done, ..delayed };
            assert_eq!(database.request(done.id).await.unwrap(), Some(done));
        } else {
            assert_eq!(conflict(database.commit(delay(None)).await), Conflict::Request { id: asked.id }, "{state}");
            assert_eq!(database.request(asked.id).await.unwrap(), Some(asked));
        }
    }
    let silent = request(None, RequestState::Asking, 1);
    let delay = RequestChange::Delay { id: silent.id, until_ms: 9_000, answer: None };
    database.commit(requests([insert(&silent), delay])).await.unwrap();
    assert_eq!(database.request(silent.id).await.unwrap().unwrap().answer, None);
}

#[doc(hidden)]
pub async fn a_key_belongs_to_one_request(home: &impl Home) {
    let database = home.open(schema(1));
    let first = request(Some("key '\"한글"), RequestState::Asking, 1);
    database.commit(requests([insert(&first)])).await.unwrap();

    let second = Request { id: Uuid::now_v7(), ..first.clone() };
    assert_eq!(conflict(database.commit(requests([insert(&second)])).await), Conflict::Key);
    let twins = ["a", "a"].map(|key| insert(&request(Some(key), RequestState::Done, 1)));
    assert_eq!(conflict(database.commit(requests(twins)).await), Conflict::Key);
    let racers = (0..32).map(|_| database.commit(requests([insert(&request(Some("race"), RequestState::Done, 1))])));
    assert_eq!(join_all(racers).await.iter().filter(|result| result.is_ok()).count(), 1);

    assert_eq!(database.request_by_key("key '\"한글").await.unwrap(), Some(first));
    assert_eq!(database.request(second.id).await.unwrap(), None);
    // Any number of requests have no key.
    let keyless = (0..3).map(|_| insert(&request(None, RequestState::Done, 1)));
    database.commit(requests(keyless)).await.unwrap();
}

#[doc(hidden)]
pub async fn a_key_is_released_only_by_an_attempt_without_an_answer(home: &impl Home) {
    let database = home.open(schema(1));
    for state in RequestState::ALL {
        for has_key in [true, false] {
            for answered in [true, false] {
                let key = format!("{state} {has_key} {answered}");
                let asked =
                    Request { answer: answered.then(|| answer(201)), ..request(has_key.then_some(&*key), state, 1) };
                database.commit(requests([insert(&asked)])).await.unwrap();
                let result = database.commit(requests([RequestChange::ReleaseKey { id: asked.id }])).await;
                if state >= RequestState::Voiding && has_key && !answered {
                    assert!(result.is_ok(), "{asked:?}: {result:?}");
                    assert_eq!(database.request_by_key(&key).await.unwrap(), None);
                    assert_eq!(database.request(asked.id).await.unwrap(), Some(Request { key: None, ..asked }));
                    database.commit(requests([insert(&request(Some(&*key), RequestState::Asking, 1))])).await.unwrap();
                } else {
                    assert_eq!(conflict(result), Conflict::Request { id: asked.id });
                    assert_eq!(database.request_by_key(&key).await.unwrap(), has_key.then_some(asked));
                }
            }
        }
    }
    let nobody = Uuid::now_v7();
    let result = database.commit(requests([RequestChange::ReleaseKey { id: nobody }])).await;
    assert_eq!(conflict(result), Conflict::Request { id: nobody });
}

#[doc(hidden)]
pub async fn a_key_can_pass_on_within_one_commit(home: &impl Home) {
    let database = home.open(schema(1));
    let old = request(Some("key"), RequestState::Voiding, 1);
    database.commit(requests([insert(&old)])).await.unwrap();
    let new = request(Some("key"), RequestState::Asking, 2);

    let too_late = [insert(&new), RequestChange::ReleaseKey { id: old.id }];
    assert_eq!(conflict(database.commit(requests(too_late)).await), Conflict::Key);
    let in_order = [RequestChange::ReleaseKey { id: old.id }, insert(&new)];
    database.commit(requests(in_order)).await.unwrap();

    assert_eq!(database.request_by_key("key").await.unwrap(), Some(new.clone()));
    assert_eq!(database.request(old.id).await.unwrap().unwrap().key, None);
    // Given up and tried again at once.
    let newest = request(Some("key"), RequestState::Asking, 3);
    let handed_on = [
        moved(new.id, RequestState::Asking, RequestState::Voiding),
        RequestChange::ReleaseKey { id: new.id },
        insert(&newest),
    ];
    database.commit(requests(handed_on)).await.unwrap();
    assert_eq!(database.request_by_key("key").await.unwrap(), Some(newest));
}

#[doc(hidden)]
pub async fn requests_are_listed_by_state_age_and_place(home: &impl Home) {
    let database = home.open(schema(1));
    let mut all = Vec::new();
    for subject in 1..=15 {
        let state = RequestState::ALL[usize::try_from(subject).unwrap() % 5];
        all.push(request(None, state, subject));
    }
    if let Some(ask) = &mut all[10].ask {
        "stock".clone_into(&mut ask.service);
    }
    database.commit(requests(all.iter().rev().map(insert))).await.unwrap();
    let of = async |service, state, until_before_ms, after, limit| -> Vec<i64> {
        let filter = RequestFilter { state, service, until_before_ms, after, limit };
        database.requests(filter).await.unwrap().iter().map(|request| request.subject).collect()
    };

    let list = async |state, until_before_ms, after, limit| of(None, state, until_before_ms, after, limit).await;

    assert_eq!(list(RequestState::Asking, None, None, 10).await, [5, 10, 15]);
    assert_eq!(list(RequestState::Delayed, None, None, 10).await, [1, 6, 11]);
    assert_eq!(list(RequestState::Done, None, None, 10).await, [2, 7, 12]);
    assert_eq!(list(RequestState::Voiding, None, None, 2).await, [3, 8]);
    assert_eq!(list(RequestState::Voiding, None, Some(all[7].id), 2).await, [13]);
    assert_eq!(list(RequestState::Voided, Some(1_009), None, 10).await, [4]);
    assert_eq!(list(RequestState::Voided, Some(1_010), None, 10).await, [4, 9]);
    assert_eq!(list(RequestState::Delayed, Some(1_007), None, 10).await, [1, 6]);
    assert_eq!(list(RequestState::Delayed, Some(1_007), Some(all[0].id), 10).await, [6]);
    assert_eq!(list(RequestState::Asking, None, None, 0).await, [0; 0]);
    assert_eq!(of(Some("stock"), RequestState::Delayed, None, None, 10).await, [11]);
    assert_eq!(of(Some("payment"), RequestState::Delayed, None, None, 1).await, [1]);
    assert_eq!(of(Some("payment"), RequestState::Delayed, Some(2_000), None, 10).await, [1, 6]);
}

#[doc(hidden)]
pub async fn doubts_are_found_by_their_subject(home: &impl Home) {
    let database = home.open(schema(1));
    let mut doubts = Vec::new();
    for state in RequestState::ALL {
        for subject in [1, 2] {
            let asked = request(None, state, subject);
            database.commit(requests([insert(&asked)])).await.unwrap();
            if subject == 1 && state.is_in_doubt() {
                doubts.push(asked);
            }
        }
    }

    assert_eq!(database.doubts_about(1).await.unwrap(), doubts);
    assert_eq!(database.doubts_about(3).await.unwrap(), []);
    database.commit(requests([moved(doubts[0].id, RequestState::Asking, RequestState::Done)])).await.unwrap();
    assert_eq!(database.doubts_about(1).await.unwrap(), doubts[1..]);
}

#[doc(hidden)]
pub async fn a_purge_takes_the_oldest_that_are_not_in_doubt(home: &impl Home) {
    use RequestState::{Asking, Delayed, Done, Voided, Voiding};
    let database = home.open(schema(1));
    let at = |time_ms: u64, number: u64, state| {
        let id = uuid::Builder::from_unix_timestamp_millis(time_ms, &[u8::try_from(number).unwrap(); 10]).into_uuid();
        Request { id, key: Some(format!("{time_ms} {number}")), ..request(None, state, 1) }
    };
    let mut all = Vec::new();
    for time_ms in [1_000, 2_000, 3_000] {
        for (state, number) in RequestState::ALL.into_iter().zip(0..) {
            all.push(at(time_ms, number, state));
        }
    }
    database.commit(requests(all.iter().map(insert))).await.unwrap();
    let left = async || {
        let mut left = Vec::new();
        for asked in &all {
            let found = database.request(asked.id).await.unwrap();
            assert_eq!(database.request_by_key(asked.key.as_ref().unwrap()).await.unwrap(), found);
            left.extend(found.map(|request| (request.id.as_u128() >> 80, request.state)));
        }
        left
    };
    assert_eq!(database.purge_requests(1_000, 100).await.unwrap(), 0);
    assert_eq!(database.purge_requests(2_000, 100).await.unwrap(), 2);
    let newer = [(2_000, Asking), (2_000, Delayed), (2_000, Done), (2_000, Voiding), (2_000, Voided)];
    let newest = newer.map(|(_, state)| (3_000, state));
    let in_doubt = [(1_000, Asking), (1_000, Delayed), (1_000, Voiding)];
    assert_eq!(left().await, [&in_doubt[..], &newer, &newest].concat());

    // Four that are answered are left; of those three may stay.
    assert_eq!(database.purge_requests(0, 4).await.unwrap(), 0);
    assert_eq!(database.purge_requests(0, 3).await.unwrap(), 1);
    assert_eq!(left().await, [&in_doubt[..], &newer[..2], &newer[3..], &newest].concat());
    assert_eq!(database.purge_requests(i64::MAX, 0).await.unwrap(), 3);
    let of = |time_ms| [Asking, Delayed, Voiding].map(|state| (time_ms, state));
    assert_eq!(left().await, [of(1_000), of(2_000), of(3_000)].concat());

    let many = (0..u64::from(limits::PURGE_MAX_ROWS) + 5).map(|n| {
        let bytes = [u8::try_from(n % 251).unwrap(); 10];
        let id = uuid::Builder::from_unix_timestamp_millis(5_000 + n, &bytes).into_uuid();
        insert(&Request { id, ..request(None, Done, 1) })
    });
    database.commit(requests(many)).await.unwrap();
    assert_eq!(database.purge_requests(i64::MAX, 0).await.unwrap(), u64::from(limits::PURGE_MAX_ROWS));
    assert_eq!(database.purge_requests(i64::MAX, 0).await.unwrap(), 5);
}
