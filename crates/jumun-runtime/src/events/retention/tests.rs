//! The board of the rebuild tests on a log of small segments, one round at a time. The test cuts the log of the till, as the
//! till would.

use super::*;
use crate::events::{
    consumer::Instruction,
    rebuild::tests::{Shop, note},
};
use jumun_bus::EmbeddedLog;
use jumun_control::RebuildReport;
use jumun_database::Document;
use std::sync::atomic::Ordering;
use tempfile::TempDir;
use tokio::sync::oneshot;

const SEGMENT_MAX_BYTES: u64 = 2_000;

struct Kept {
    shop: Shop,
    keeper: Keeper,
    log: EmbeddedLog,
    _folder: TempDir,
}

impl Kept {
    async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = EmbeddedLog::with_segments_of(folder.path(), SEGMENT_MAX_BYTES).expect("a folder");
        let shop = Shop::on(log.clone()).await;
        let kept_for = Duration::from_millis(1);
        let consumers = BTreeSet::from(["board".to_owned()]);
        let retention = Retention { bus: Arc::new(log.clone()), kept_for, consumers };
        let keeper = Keeper::new(retention, shop.engine.core(), &shop.rebuilds);
        Self { shop, keeper, log, _folder: folder }
    }

    /// The same after this many rings.
    async fn rung(times: i64) -> Self {
        let mut kept = Self::open().await;
        kept.ring(times).await;
        kept
    }

    async fn ring(&mut self, times: i64) {
        for nth in 0..times {
            self.shop.ring(1 + nth % 20, 1 + nth % 7);
        }
        self.shop.applied_all().await;
        // Retention reads committed positions, not applied ones.
        let till = self.shop.till.sync().expect("a disk")[0];
        let committed = async {
            while position(&self.shop.engine.core().database().positions().await.expect("memory can be read")) < till {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), committed).await.expect("positions are written");
    }

    /// Cuts the log of the till. Returns the number of its first event.
    fn cut(&self) -> u64 {
        let consumers = self.keeper.retention.consumers.clone();
        self.log.retain_since("till", self.keeper.since_ms(), &consumers).expect("a log");
        self.log.kept_from("till").expect("a log")[0]
    }

    async fn base(&self) -> Option<Vec<Position>> {
        self.shop.engine.core().database().base("tallies").await.expect("memory can be read")
    }

    fn released(&self, source: &str) -> Option<u64> {
        self.log.released(source, "board").expect("a file").map(|released| released.up_to[0])
    }
}

fn position(positions: &[Position]) -> u64 {
    positions.iter().find(|position| position.source == "till").map_or(0, |position| position.sequence)
}

#[tokio::test]
async fn views_get_a_base_before_the_log_is_cut_and_are_rebuilt_from_it() {
    let mut kept = Kept::open().await;
    let (mut notes, mut version) = (0, 0);
    for round in 1..=3 {
        kept.ring(300).await;
        for tally in 1..=30 {
            note(&kept.shop.engine, tally).await;
            notes += 1;
        }
        let rows = kept.shop.rows().await;
        let before = kept.log.kept_from("till").expect("a log")[0];
        assert_eq!(kept.cut(), before, "round {round}: the view needs it");
        // A damaged row is in the view, and not in the base.
        kept.shop.spoil(1, true, r#"{"id":1,"sum":1000000,"notes":0}"#).await;
        kept.shop.spoil(777, true, r#"{"id":777,"sum":1,"notes":0}"#).await;
        kept.keeper.look().await;
        let (base, rung) = (kept.base().await.expect("a base"), kept.shop.till.last(0));
        assert_eq!(position(&base), rung);
        assert_eq!(
            base.iter().find(|position| position.source == "board").map(|position| position.sequence),
            Some(notes)
        );
        assert_eq!((kept.released("till"), kept.released("board")), (Some(rung), Some(notes)));
        let kept_from = kept.cut();
        assert!(kept_from > before && kept_from > rung - 50, "round {round}: {kept_from}");

        for nth in 0..2 {
            // Twice from the same base, with events beyond it.
            kept.shop.ring(1, 5);
            kept.shop.ring(1, -5);
            kept.shop.applied_all().await;
            let rebuilt = kept.shop.rebuilt().await;
            assert!(rebuilt.from_base);
            assert_eq!(rebuilt.events, 2 + 2 * nth, "{rebuilt:?}");
            // Otherwise a step that read the row before could write over it.
            let row = kept.shop.engine.core().database().document("tallies", 20).await.expect("memory can be read");
            let before = std::mem::replace(&mut version, row.expect("a row").version);
            assert!(version > before, "a row of the base has the version of the rebuild");
            assert_eq!(kept.shop.rows().await, rows, "round {round}");
        }
    }
    // Its own log too, which its relay fills and syncs.
    let own = async {
        while kept.log.kept_from("board").expect("a log")[0] == 1 {
            kept.keeper.look().await;
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), own).await.expect("it is cut");
    assert_eq!(kept.shop.engine.core().database().journal(0, 0, 1_000).await.expect("memory can be read").len(), 90);
    assert!(kept.shop.rebuilt().await.from_base);
}

/// Otherwise the parked event would be missing from the base forever.
#[tokio::test]
async fn nothing_is_released_while_an_event_is_parked() {
    let mut kept = Kept::open().await;
    kept.shop.fails_in_consumer.store(true, Ordering::Relaxed);
    kept.shop.ring(2, 13); // parked
    kept.shop.ring(3, 13); // parked
    kept.ring(200).await;
    let (done, outcome) = oneshot::channel();
    assert!(kept.shop.consumer.instruct(Instruction::Discard { key: 3, done }).await);
    assert_eq!(outcome.await, Ok(Ok(11)));
    kept.keeper.look().await;
    assert_eq!((kept.base().await, kept.released("till"), kept.cut()), (None, Some(0), 1));

    kept.shop.fails_in_consumer.store(false, Ordering::Relaxed);
    let (done, outcome) = oneshot::channel();
    assert!(kept.shop.consumer.instruct(Instruction::Retry { key: None, done }).await);
    assert_eq!(outcome.await, Ok(Ok((11, 0))));
    let rows = kept.shop.rows().await;
    kept.keeper.look().await;
    assert_eq!(kept.released("till"), Some(202));
    assert!(kept.cut() > 1);
    let rebuilt = kept.shop.rebuilt().await;
    assert!(rebuilt.from_base, "{rebuilt:?}");
    assert_eq!(kept.shop.rows().await, rows, "discarded events have no effect, events applied late do");
}

#[tokio::test]
async fn no_base_is_made_that_would_release_nothing() {
    let mut kept = Kept::open().await;
    kept.ring(5).await; // the newest segment stays in any case
    kept.keeper.look().await;
    assert_eq!((kept.base().await, kept.released("till")), (None, Some(0)));
    kept.keeper.retention.kept_for = Duration::MAX;
    kept.ring(300).await;
    kept.keeper.look().await;
    assert_eq!((kept.base().await, kept.released("till")), (None, Some(0)), "nothing is old");
    kept.keeper.retention.kept_for = Duration::from_millis(1);
    kept.keeper.look().await;
    assert_eq!(kept.released("till"), Some(305));
}

/// Whichever process dies between two parts: the next round goes on from what is stored.
#[tokio::test]
async fn a_process_may_die_after_each_part() {
    let mut kept = Kept::rung(300).await;
    let rows = kept.shop.rows().await;
    kept.keeper.make_base().await.expect("a base");
    assert_eq!(kept.cut(), 1, "the consumer has not published its offset yet");
    assert!(!kept.shop.rebuilt().await.from_base, "the log is whole");
    assert_eq!(kept.shop.rows().await, rows);
    kept.keeper.release().await.expect("a file");
    let kept_from = kept.cut();
    assert!(kept_from > 1);
    // Another process, without the memory of the one before.
    kept.keeper = Keeper::new(kept.keeper.retention, kept.shop.engine.core(), &kept.shop.rebuilds);
    kept.keeper.look().await;
    assert_eq!((kept.cut(), kept.released("till")), (kept_from, Some(300)));
    assert!(kept.shop.rebuilt().await.from_base);
    assert_eq!(kept.shop.rows().await, rows);
}

/// A release adds a view, and the log is cut already: there is no first event. The rebuild reports it, and retention cuts
/// nothing more.
#[tokio::test]
async fn without_a_base_on_a_cut_log_a_view_cannot_be_rebuilt_and_nothing_more_is_cut() {
    let mut kept = Kept::rung(300).await;
    let rows = kept.shop.rows().await;
    kept.log.retain("till", &[250]).expect("a log"); // against the rules of retention
    let kept_from = kept.log.kept_from("till").expect("a log")[0];
    assert!(kept_from > 1);
    let RebuildReport::Failed { code, .. } = kept.shop.rebuild().await else { panic!("it must fail") };
    assert_eq!(code, "bus-gone");
    kept.ring(300).await;
    let error = kept.keeper.make_base().await.expect_err("the first event is gone");
    assert!(matches!(error, Delay::Base(RebuildError::Bus(BusError::Gone { .. }))), "{error}");
    kept.keeper.look().await;
    assert_eq!((kept.cut(), kept.released("till")), (kept_from, Some(0)));
    assert_eq!(kept.shop.rows().await.len(), rows.len());
}

/// A base has the rows of the release that made it. A release that folds differently makes its view and its base from the
/// whole log.
#[tokio::test]
async fn while_the_log_is_whole_a_rebuild_also_renews_the_base_of_an_earlier_release() {
    let kept = Kept::rung(300).await;
    let rows = kept.shop.rows().await;
    let database = kept.shop.engine.core().database().clone();
    let positions = database.positions().await.expect("memory can be read");
    let earlier = Document { id: 1, version: 1, shown: true, body: r#"{"id":1,"sum":-5,"notes":0}"#.into() };
    database.write_next_base("tallies", vec![earlier]).await.expect("memory has room");
    database.keep_bases(vec!["tallies"], positions).await.expect("memory has room");
    assert!(!kept.shop.rebuilt().await.from_base);
    assert_eq!(kept.shop.rows().await, rows);
    let in_base = async || {
        let rows = database.scan_base("tallies", 0, 1_000).await.expect("memory can be read");
        rows.into_iter().map(|row| (row.id, row.shown, row.body)).collect::<Vec<_>>()
    };
    let renewed = async {
        while in_base().await != rows {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), renewed).await.expect("the base is renewed");
    kept.keeper.look().await;
    assert!(kept.cut() > 1);
    assert!(kept.shop.rebuilt().await.from_base);
    assert_eq!(kept.shop.rows().await, rows);
}

/// A rebuild does not wait for a base.
#[tokio::test]
async fn a_base_gives_way_to_a_rebuild() {
    let kept = Kept::rung(300).await;
    // The rebuild waits for this lock before it reads, so it is still in progress when the base is requested.
    let parked = kept.shop.consumer.keep_parked().await;
    let rebuilding = kept.shop.rebuilds.begin("board").expect("nothing is in the way");
    assert_eq!(kept.shop.rebuilds.make_base().await.expect("no error"), BaseOutcome::InTheWay);
    drop(parked);
    drop(rebuilding);
    let made = async {
        while kept.shop.rebuilds.make_base().await.expect("no error") != BaseOutcome::Kept {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), made).await.expect("nothing is in the way any more");
}

#[test]
fn the_consumers_are_those_that_listen_and_those_whose_views_fold() {
    let system = food_delivery::system();
    let folder = tempfile::tempdir().expect("a folder");
    let consumers = |service: &str| {
        let log = EmbeddedLog::open(folder.path()).expect("a folder");
        let service = system.service(service).expect("a service");
        let retention = Retention::new(&system, service, Arc::new(log), Duration::from_secs(1));
        retention.consumers.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(consumers("order"), ["dashboard", "delivery", "payment", "store"]);
    assert_eq!(consumers("dashboard"), Vec::<String>::new());
    assert!(consumers("store").contains(&"dashboard".to_owned()));
}
