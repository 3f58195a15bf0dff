//! I-24 and rule 5 under a disk that fails: no acknowledged entry is lost, no note is lost in silence, nothing is
//! acknowledged that is not durable, and the chain stays whole.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

mod common;

use common::{clock, event, open};
use proptest::prelude::*;
use std::{fs, io::Write as _, path::Path, sync::Arc};
use taskpass_audit::{
    AuditLog, Entry, Event, LOG_FILE, Receipt, Recorder as _,
    testing::{Faults, FaultyFile},
    verify_dir,
};
use taskpass_types::{ActionName, Reason, ResourceName, Scope};

fn faulty(dir: &Path) -> (Arc<Faults>, AuditLog) {
    let faults = Arc::new(Faults::default());
    let log = AuditLog::open_with(dir, clock(), FaultyFile::wrap(&faults)).unwrap();
    (faults, log)
}

fn entries(log: &AuditLog) -> Vec<Entry> {
    log.read_from(1, usize::MAX).unwrap().iter().map(|line| line.entry().unwrap()).collect()
}

fn counts(log: &AuditLog) -> Vec<u64> {
    entries(log)
        .iter()
        .filter(|entry| entry.action == "lease.issue")
        .map(|entry| entry.count.unwrap())
        .collect()
}

#[tokio::test]
async fn a_disk_that_fills_up_at_any_byte_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (faults, log) = faulty(dir.path());
    let mut expected = Vec::new();
    for room in (0..900).step_by(13) {
        faults.set_room(Some(room));
        log.note(event(room));
        expected.push(room);
        if log.record(event(room + 10_000)).await.is_ok() {
            expected.push(room + 10_000);
        }
        faults.set_room(None);
        log.record(event(room + 20_000)).await.unwrap();
        expected.push(room + 20_000);
        assert!(log.health().is_ready());
    }
    assert_eq!(counts(&log), expected);
    drop(log);
    verify_dir(dir.path(), None).unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_records_keeps_notes_and_recovers_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (faults, log) = faulty(dir.path());
    log.record(event(1)).await.unwrap();
    faults.set_room(Some(100));
    (2..=50).for_each(|count| log.note(event(count)));
    for _ in 0..3 {
        let refusal = log.record(event(0)).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::AuditUnavailable);
        assert!(refusal.fix_text().is_some() && !refusal.message().contains("audit.log"));
    }
    let health = log.health();
    assert_eq!((health.durable, health.lost, health.waiting), (1, 0, 49));
    assert!(health.failing.is_some() && !health.is_ready());
    assert_eq!(verify_dir(dir.path(), None).unwrap().records, 1);

    faults.set_room(None);
    log.wait_past(50).await.unwrap();
    assert_eq!(counts(&log), (1..=50).collect::<Vec<_>>());
    let report = entries(&log).pop().unwrap();
    assert_eq!((report.action.as_str(), report.count), ("audit.recover", Some(0)));
    assert!(report.purpose.unwrap().contains("could not be written since"));
    assert!(log.health().is_ready());
}

#[tokio::test]
async fn a_failed_sync_is_never_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let (faults, log) = faulty(dir.path());
    log.record(event(1)).await.unwrap();
    faults.fail_syncs(2);
    assert!(log.record(event(2)).await.is_err());
    log.note(event(3));
    assert!(log.record(event(4)).await.is_err());
    log.record(event(5)).await.unwrap();
    assert_eq!(counts(&log), [1, 3, 5]);
    verify_dir(dir.path(), None).unwrap();
}

#[tokio::test]
async fn short_writes_are_continued() {
    let dir = tempfile::tempdir().unwrap();
    let (faults, log) = faulty(dir.path());
    faults.set_chunk(Some(7));
    for count in 1..=5 {
        log.record(event(count)).await.unwrap();
    }
    assert_eq!(counts(&log), [1, 2, 3, 4, 5]);
    verify_dir(dir.path(), None).unwrap();
}

#[tokio::test]
async fn notes_that_do_not_fit_are_counted_shown_and_written_down() {
    let dir = tempfile::tempdir().unwrap();
    let (faults, log) = faulty(dir.path());
    faults.set_room(Some(0));
    let scope = Scope {
        resource: ResourceName::new("r".repeat(200)).unwrap(),
        action: ActionName::new("a".repeat(100)).unwrap(),
    };
    let large: Event = event(0).scopes(&vec![scope; 40]);
    (0..8_000).for_each(|_| log.note(large.clone()));
    let lost = log.health().lost;
    assert!(lost > 0 && log.health().waiting > 4_000, "{:?}", log.health());
    assert!(log.record(event(1)).await.is_err());

    faults.set_room(None);
    log.wait_past(8_000 - lost).await.unwrap();
    assert_eq!(log.head().seq, 8_000 - lost + 1);
    let report = log.read_from(log.head().seq, 1).unwrap()[0].entry().unwrap();
    assert_eq!((report.action.as_str(), report.count), ("audit.recover", Some(lost)));
    assert_eq!(log.health().lost, 0);
}

#[tokio::test]
async fn a_log_that_is_moved_cut_or_written_by_another_is_not_written_on_blindly() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(LOG_FILE);
    let log = open(dir.path());
    let last = log.record(event(1)).await.unwrap();

    let aside = dir.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    assert!(log.record(event(2)).await.is_err() && log.record(event(2)).await.is_err());
    fs::write(&path, "").unwrap();
    assert!(log.record(event(2)).await.is_err());
    fs::rename(&aside, &path).unwrap();
    assert_eq!(log.record(event(3)).await.unwrap().seq, last.seq + 1);

    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{}\n").unwrap();
    assert!(log.record(event(4)).await.is_err());
    log.record(event(5)).await.unwrap();
    verify_dir(dir.path(), None).unwrap();
    assert_eq!(counts(&log), [1, 3, 5]);

    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(10).unwrap();
    assert!(log.record(event(6)).await.is_err() && log.record(event(6)).await.is_err());
    assert!(verify_dir(dir.path(), None).is_err());
}

#[derive(Clone, Debug)]
enum Step {
    Chunk(Option<usize>),
    FailSyncs(u64),
    Note,
    Record,
    Reopen,
    Room(Option<u64>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => prop::option::of(1usize..200).prop_map(Step::Chunk),
        1 => (0u64..3).prop_map(Step::FailSyncs),
        4 => Just(Step::Note),
        4 => Just(Step::Record),
        1 => Just(Step::Reopen),
        2 => prop::option::of(0u64..2_000).prop_map(Step::Room),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// After any history of faults: what was acknowledged is where its receipt says, notes are there once and in order,
    /// what was refused is not there.
    #[test]
    fn no_history_of_faults_loses_or_invents_anything(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (mut faults, mut log) = faulty(dir.path());
        let mut receipts: Vec<Receipt> = Vec::new();
        let mut expected = Vec::new();
        let heal = |faults: &Faults, log: &AuditLog| {
            faults.set_room(None);
            faults.set_chunk(None);
            faults.fail_syncs(0);
            runtime.block_on(log.record(event(0))).unwrap()
        };
        for (count, step) in (1..).zip(steps) {
            match step {
                Step::Chunk(bytes) => faults.set_chunk(bytes),
                Step::FailSyncs(n) => faults.fail_syncs(n),
                Step::Note => {
                    log.note(event(count));
                    expected.push(count);
                }
                Step::Record => {
                    if let Ok(receipt) = runtime.block_on(log.record(event(count))) {
                        receipts.push(receipt);
                        expected.push(count);
                    }
                }
                Step::Reopen => {
                    receipts.push(heal(&faults, &log));
                    expected.push(0);
                    drop(log);
                    (faults, log) = faulty(dir.path());
                }
                Step::Room(bytes) => faults.set_room(bytes),
            }
        }
        receipts.push(heal(&faults, &log));
        expected.push(0);
        prop_assert_eq!(counts(&log), expected);
        for receipt in receipts {
            prop_assert_eq!(log.read_from(receipt.seq, 1).unwrap()[0].hash(), receipt.hash);
        }
        drop(log);
        verify_dir(dir.path(), None).unwrap();
    }
}
