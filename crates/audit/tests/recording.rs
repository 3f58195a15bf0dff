//! The main road: record, note, reopen, read.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

mod common;

use common::{clock, event, open};
use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc};
use taskpass_audit::{
    Anchor, AuditError, AuditLog, LOG_FILE, LeafHash, Recorder as _,
    testing::{Faults, FaultyFile, FaultyRecorder},
    verify_dir,
};
use taskpass_types::Reason;

#[tokio::test]
async fn what_was_recorded_is_durable_and_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    for seq in 1..=20 {
        let receipt = log.record(event(seq)).await.unwrap();
        assert_eq!(receipt.seq, seq);
        assert_eq!(log.head(), Anchor { seq, hash: receipt.hash });
    }
    let report = verify_dir(dir.path(), Some(log.head())).unwrap();
    assert_eq!((report.records, report.head, report.unfinished), (20, log.head(), 0));
    let lines = log.read_from(1, usize::MAX).unwrap();
    assert_eq!(lines.len(), 20);
    let mut prev = LeafHash::GENESIS;
    for line in lines {
        let entry = line.entry().unwrap();
        assert_eq!((entry.seq, entry.prev), (line.seq, prev.to_string()));
        assert_eq!((entry.code.as_str(), entry.actor.as_str()), ("TP201S", "agent/ci/invoice-bot"));
        prev = line.hash();
    }
}

#[tokio::test]
async fn reopening_continues_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let log = open(dir.path());
        assert_eq!(log.head().seq, round * 3);
        log.note(event(1));
        log.note(event(2));
        assert_eq!(log.record(event(3)).await.unwrap().seq, round * 3 + 3);
    }
    assert_eq!(verify_dir(dir.path(), None).unwrap().records, 15);
}

#[tokio::test]
async fn notes_are_written_when_the_log_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    (0..5_000).for_each(|i| log.note(event(i)));
    drop(log);
    assert_eq!(verify_dir(dir.path(), None).unwrap().records, 5_000);
}

#[test]
fn one_writer_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    assert!(matches!(AuditLog::open(dir.path(), clock()), Err(AuditError::Locked(_))));
    drop(first);
    open(dir.path());
}

#[test]
fn only_the_owner_can_read_and_nobody_else_may_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made/here");
    drop(open(&path));
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.clone()), 0o700);
    for file in fs::read_dir(&path).unwrap() {
        assert_eq!(mode(file.unwrap().path()), 0o600);
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
    assert!(matches!(AuditLog::open(&path, clock()), Err(AuditError::Open(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_records_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let log = Arc::new(AuditLog::open_with(dir.path(), clock(), FaultyFile::wrap(&faults)).unwrap());
    let mut set = tokio::task::JoinSet::new();
    let mut spawn = |i| {
        let log = Arc::clone(&log);
        set.spawn(async move { log.record(event(i)).await })
    };
    faults.hold_syncs(true);
    spawn(1);
    faults.wait_for_syncs(1);
    (2..=64).for_each(|i| drop(spawn(i)));
    while log.health().waiting < 63 {
        tokio::task::yield_now().await;
    }
    faults.hold_syncs(false);
    let mut seqs: Vec<_> = set.join_all().await.into_iter().map(|receipt| receipt.unwrap().seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=64).collect::<Vec<_>>());
    assert_eq!(faults.syncs(), 2, "one for the first, one for all that came meanwhile");
}

#[tokio::test]
async fn readers_find_any_entry_and_follow() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    (0..2_000).for_each(|i| log.note(event(i)));
    log.record(event(0)).await.unwrap();
    assert!(fs::metadata(dir.path().join(LOG_FILE)).unwrap().len() > 500_000);
    for seq in (0..=2_010).step_by(7).chain([1, 2, 1_999, 2_000, 2_001, u64::MAX]) {
        let found: Vec<_> = log.read_from(seq, 3).unwrap().iter().map(|line| line.seq).collect();
        let expected: Vec<_> = (seq.max(1)..=2_001).take(3).collect();
        assert_eq!(found, expected, "from {seq}");
    }
    let (waited, receipt) = tokio::join!(log.wait_past(2_001), log.record(event(0)));
    waited.unwrap();
    assert_eq!(receipt.unwrap().seq, 2_002);
}

#[tokio::test]
async fn the_faulty_recorder_refuses_as_told() {
    let dir = tempfile::tempdir().unwrap();
    let faulty = FaultyRecorder::new(Arc::new(open(dir.path())));
    faulty.fail_next(2);
    for _ in 0..2 {
        assert_eq!(faulty.record(event(0)).await.unwrap_err().reason(), Reason::AuditUnavailable);
    }
    assert_eq!(faulty.record(event(0)).await.unwrap().seq, 1);
    faulty.fail_always();
    assert!(faulty.record(event(0)).await.is_err() && !faulty.health().is_ready());
    faulty.heal();
    assert_eq!(faulty.record(event(0)).await.unwrap().seq, 2);
}
