//! The journal, and how far consumers have come in those of others.

use super::fixtures::{Home, conflict, event, events, order, positions, schema, step};
use crate::{Changes, CommitError, Conflict, Database, ReadDatabase, partition_of};
use futures_util::future::join_all;

#[doc(hidden)]
pub async fn events_are_numbered_without_gaps_in_commit_order(home: &impl Home) {
    let database = home.open(schema(1));
    let body = serde_json::json!({});

    let committer = async |caller: i64| {
        let mut given = Vec::new();
        for round in 0..20_i64 {
            let id = caller * 100 + round;
            // Every fifth is refused, with its events.
            let expected = u64::from(round % 5 == 4);
            let changes = Changes {
                documents: vec![order(id, expected, &body)],
                journal: vec![event(id), event(id)],
                ..Changes::default()
            };
            match database.commit(changes).await {
                Ok(receipt) => given.push((id, receipt.sequences)),
                Err(CommitError::Conflict(_)) => assert_eq!(round % 5, 4),
                Err(error) => panic!("{error}"),
            }
        }
        given
    };
    let given = join_all((1..=64).map(committer)).await;

    let mut journal = Vec::new();
    while let batch = database.journal(0, journal.len() as u64, 1_000).await.unwrap()
        && !batch.is_empty()
    {
        journal.extend(batch);
    }
    assert_eq!(journal.len(), 64 * 16 * 2);
    assert!(journal.iter().zip(1..).all(|(record, number)| record.sequence == number), "there is a gap");
    for (id, sequences) in given.into_iter().flatten() {
        let [(_, first), (_, second)] = sequences[..] else { panic!("{sequences:?}") };
        assert_eq!(second, first + 1, "events of one commit follow each other");
        for sequence in [first, second] {
            assert_eq!(journal[usize::try_from(sequence).unwrap() - 1].key, id, "the receipt names another event");
        }
    }
}

#[doc(hidden)]
pub async fn each_partition_is_numbered_on_its_own(home: &impl Home) {
    let partitions = 3;
    let database = home.open(schema(partitions));

    let mut expected = vec![Vec::new(); usize::from(partitions)];
    for start in (1..100).step_by(10) {
        let receipt = database.commit(events((start..start + 10).map(event))).await.unwrap();
        for (key, (partition, sequence)) in (start..).zip(receipt.sequences) {
            assert_eq!(partition, partition_of(key, partitions));
            expected[usize::from(partition)].push(key);
            assert_eq!(sequence, expected[usize::from(partition)].len() as u64);
        }
    }

    for (partition, expected) in (0..).zip(expected) {
        let journal = database.journal(partition, 0, 1_000).await.unwrap();
        assert!(journal.iter().all(|record| record.partition == partition));
        assert_eq!(journal.iter().map(|record| record.key).collect::<Vec<_>>(), expected);
        assert!(!expected.is_empty(), "the keys do not reach partition {partition}");
    }
    assert_eq!(database.journal(partitions, 0, 10).await.unwrap(), []);
    // Written down in released databases.
    assert_eq!([0, 1, 2, 7, -1, i64::MAX].map(|key| partition_of(key, 12)), PARTITIONS_OF_TWELVE);
}

/// See [`partition_of`]: these never change.
const PARTITIONS_OF_TWELVE: [u16; 6] = [1, 0, 3, 10, 1, 9];

#[doc(hidden)]
pub async fn the_journal_is_read_in_pieces(home: &impl Home) {
    let database = home.open(schema(1));
    database.commit(events((1..=10).map(event))).await.unwrap();
    let read = async |after, limit| -> Vec<u64> {
        database.journal(0, after, limit).await.unwrap().iter().map(|record| record.sequence).collect()
    };

    assert_eq!(read(0, 3).await, [1, 2, 3]);
    assert_eq!(read(3, 3).await, [4, 5, 6]);
    assert_eq!(read(9, 3).await, [10]);
    assert_eq!(read(10, 3).await, [0; 0]);
    assert_eq!(read(u64::MAX, 3).await, [0; 0]);
}

#[doc(hidden)]
pub async fn a_place_moves_only_from_where_it_is(home: &impl Home) {
    let database = home.open(schema(1));
    let refused = Conflict::Position { source: "store".to_owned(), partition: 0 };

    assert_eq!(conflict(database.commit(positions([step("store", 1, 3, 4)])).await), refused);
    database.commit(positions([step("store", 1, 0, 4)])).await.unwrap();
    assert_eq!(conflict(database.commit(positions([step("store", 1, 0, 4)])).await), refused);
    assert_eq!(conflict(database.commit(positions([step("store", 1, 5, 6)])).await), refused);
    database.commit(positions([step("store", 1, 4, 5), step("payment", 1, 0, 9)])).await.unwrap();
    let mut other = step("store", 1, 0, 2);
    other.position.partition = 1;
    database.commit(positions([other.clone()])).await.unwrap();

    let expected = [step("payment", 1, 0, 9).position, step("store", 1, 4, 5).position, other.position];
    assert_eq!(database.positions().await.unwrap(), expected);
    // Two consumers at work: the fence lets one through.
    let racers = (0..16).map(|_| database.commit(positions([step("store", 1, 5, 6)])));
    assert_eq!(join_all(racers).await.iter().filter(|result| result.is_ok()).count(), 1);
}

#[doc(hidden)]
pub async fn a_place_of_another_epoch_is_a_conflict(home: &impl Home) {
    let database = home.open(schema(1));
    database.commit(positions([step("store", 1, 0, 4)])).await.unwrap();
    let refused = Conflict::Position { source: "store".to_owned(), partition: 0 };

    assert_eq!(conflict(database.commit(positions([step("store", 2, 4, 5)])).await), refused);
    assert_eq!(conflict(database.commit(positions([step("store", 2, 0, 1)])).await), refused);

    assert_eq!(database.positions().await.unwrap(), [step("store", 1, 0, 4).position]);
}
