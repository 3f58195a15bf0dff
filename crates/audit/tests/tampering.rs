//! I-25 and I-26: every change, removal, insertion, move and cut is found; what a crash leaves is recovered.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

mod common;

use common::{clock, event, open};
use std::{
    fs,
    path::{Path, PathBuf},
};
use taskpass_audit::{
    Action, Actor, Anchor, AuditError, AuditLog, Broken, Event, HEAD_FILE, LOG_FILE, LeafHash, Recorder as _,
    VerifyError, verify_dir,
};
use taskpass_types::TenantId;
use tempfile::TempDir;

/// A finished log, its bytes, and `HEAD` as it was after each entry.
struct Sample {
    dir: TempDir,
    log: Vec<u8>,
    heads: Vec<Vec<u8>>,
}

impl Sample {
    async fn new(entries: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        let mut heads = vec![fs::read(dir.path().join(HEAD_FILE)).unwrap()];
        for count in 1..=entries {
            let actor = Actor::Broker("expiry");
            log.record(Event::intent(&TenantId::default(), Action::TaskEnd, actor).count(count))
                .await
                .unwrap();
            heads.push(fs::read(dir.path().join(HEAD_FILE)).unwrap());
        }
        drop(log);
        let log = fs::read(dir.path().join(LOG_FILE)).unwrap();
        Self { dir, log, heads }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn lines(&self) -> Vec<&[u8]> {
        self.log.split_inclusive(|b| *b == b'\n').collect()
    }

    /// The verdict on other bytes in place of the log.
    fn verdict(&self, log: &[u8]) -> Result<u64, Box<Broken>> {
        fs::write(self.path(LOG_FILE), log).unwrap();
        verdict(self.dir.path(), None)
    }

    fn put(&self, log: &[u8], head: &[u8]) {
        fs::write(self.path(LOG_FILE), log).unwrap();
        fs::write(self.path(HEAD_FILE), head).unwrap();
    }
}

fn verdict(dir: &Path, anchor: Option<Anchor>) -> Result<u64, Box<Broken>> {
    match verify_dir(dir, anchor) {
        Ok(report) => Ok(report.records),
        Err(VerifyError::Broken(broken)) => Err(broken),
        Err(VerifyError::Unreadable(error)) => panic!("{error}"),
    }
}

#[tokio::test]
async fn every_flipped_bit_is_found_and_named() {
    let sample = Sample::new(20).await;
    assert_eq!(sample.verdict(&sample.log), Ok(20));
    let mut log = sample.log.clone();
    let mut line = 1;
    for at in 0..log.len() {
        for bit in 0..8 {
            log[at] ^= 1 << bit;
            let broken = sample.verdict(&log).expect_err("a flipped bit was not found");
            assert!(broken.intact < line, "{broken}: but entry {line} was changed");
            assert!((line..=line + 1).contains(&broken.seq), "{broken}: but entry {line} was changed");
            log[at] ^= 1 << bit;
        }
        line += u64::from(log[at] == b'\n');
    }
}

#[tokio::test]
async fn every_removed_repeated_moved_or_inserted_line_is_found() {
    let sample = Sample::new(12).await;
    let lines = sample.lines();
    let expect = |lines: Vec<&[u8]>, what: String, line: usize| {
        let broken = sample.verdict(&lines.concat()).expect_err(&what);
        assert!(broken.intact <= u64::try_from(line).unwrap(), "{what}: {broken}");
    };
    for i in 0..lines.len() {
        let mut removed = lines.clone();
        removed.remove(i);
        expect(removed, format!("line {i} removed"), i);
        for j in 0..=lines.len() {
            let mut repeated = lines.clone();
            repeated.insert(j, lines[i]);
            expect(repeated, format!("line {i} repeated at {j}"), j + usize::from(i == j));
            if j < lines.len() && j != i {
                let mut swapped = lines.clone();
                swapped.swap(i, j);
                expect(swapped, format!("lines {i} and {j} swapped"), i.min(j));
            }
        }
        let mut blank = lines.clone();
        blank.insert(i, b"\n");
        expect(blank, format!("an empty line before {i}"), i);
    }
}

#[tokio::test]
async fn every_cut_is_found_by_the_verifier_and_at_the_next_start() {
    let sample = Sample::new(4).await;
    for length in 0..sample.log.len() {
        let broken = sample.verdict(&sample.log[..length]).expect_err("a cut was not found");
        let whole = sample.log[..length].iter().filter(|b| **b == b'\n').count();
        assert_eq!(broken.intact, u64::try_from(whole).unwrap(), "{broken}");
        match AuditLog::open(sample.dir.path(), clock()).err() {
            Some(AuditError::Cut { length: found, .. }) => assert_eq!(found, u64::try_from(length).unwrap()),
            other => panic!("cut to {length}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_a_crash_leaves_behind_head_is_cut_off_and_noted() {
    let sample = Sample::new(4).await;
    let durable: usize = sample.lines()[..2].iter().map(|line| line.len()).sum();
    for length in durable..=sample.log.len() {
        let left = &sample.log[..length];
        sample.put(left, &sample.heads[2]);
        let whole = u64::try_from(left.iter().filter(|b| **b == b'\n').count()).unwrap();
        let torn = !left.ends_with(b"\n");
        drop(open(sample.dir.path()));
        assert_eq!(verdict(sample.dir.path(), None), Ok(whole + u64::from(torn)), "cut to {length}");
        let last = taskpass_audit::read_dir(sample.dir.path(), whole + 1, 1).unwrap();
        assert_eq!(
            last.first().map(|line| line.entry().unwrap().action),
            torn.then(|| "audit.recover".to_owned())
        );
    }
}

#[tokio::test]
async fn blocks_that_never_reached_the_disk_are_cut_off_but_other_changes_behind_head_are_refused() {
    let sample = Sample::new(4).await;
    let durable: usize = sample.lines()[..2].iter().map(|line| line.len()).sum();
    let mut log = sample.log.clone();
    log[durable + 20..durable + 60].fill(0);
    sample.put(&log, &sample.heads[2]);
    drop(open(sample.dir.path()));
    assert_eq!(verdict(sample.dir.path(), None), Ok(3));

    let mut log = sample.log.clone();
    log[durable + 20] ^= 1;
    sample.put(&log, &sample.heads[2]);
    assert!(matches!(AuditLog::open(sample.dir.path(), clock()), Err(AuditError::Changed { seq: 3, .. })));
}

#[tokio::test]
async fn the_next_start_finds_every_change_of_the_last_entry_and_of_head() {
    let sample = Sample::new(3).await;
    let last = sample.log.len() - sample.lines()[2].len();
    let head = sample.heads[3].clone();
    for at in last..sample.log.len() {
        let mut log = sample.log.clone();
        log[at] ^= 1;
        sample.put(&log, &head);
        assert!(AuditLog::open(sample.dir.path(), clock()).is_err(), "byte {at} of the log");
    }
    for (at, bit) in (0..head.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut head = head.clone();
        head[at] ^= 1 << bit;
        sample.put(&sample.log, &head);
        assert!(AuditLog::open(sample.dir.path(), clock()).is_err(), "byte {at} of HEAD");
        assert!(verify_dir(sample.dir.path(), None).is_err(), "byte {at} of HEAD");
    }
    fs::remove_file(sample.path(HEAD_FILE)).unwrap();
    assert!(matches!(AuditLog::open(sample.dir.path(), clock()), Err(AuditError::Head { .. })));
    fs::write(sample.path(HEAD_FILE), "").unwrap();
    assert!(matches!(AuditLog::open(sample.dir.path(), clock()), Err(AuditError::Head { .. })));
}

#[tokio::test]
async fn an_anchor_finds_a_rollback_and_a_rewritten_log() {
    let sample = Sample::new(5).await;
    let anchor = |seq: usize| Anchor {
        seq: u64::try_from(seq).unwrap(),
        hash: LeafHash::of(sample.lines()[seq - 1].strip_suffix(b"\n").unwrap()),
    };
    let older = sample.lines()[..3].concat();
    for seq in 1..=5 {
        assert_eq!(verdict(sample.dir.path(), Some(anchor(seq))), Ok(5));
    }
    sample.put(&older, &sample.heads[3]);
    assert_eq!(verdict(sample.dir.path(), None), Ok(3), "without an anchor an older copy looks good");
    assert_eq!(verdict(sample.dir.path(), Some(anchor(3))), Ok(3));
    assert_eq!(verdict(sample.dir.path(), Some(anchor(4))).unwrap_err().intact, 3);

    let other = Sample::new(5).await;
    assert_eq!(verdict(other.dir.path(), None), Ok(5));
    assert_eq!(verdict(other.dir.path(), Some(anchor(2))).unwrap_err().seq, 2);
}

#[tokio::test]
async fn a_verdict_tells_where_and_what() {
    let sample = Sample::new(6).await;
    let text = String::from_utf8(sample.log.clone()).unwrap().replace("\"count\":4", "\"count\":7");
    let message = sample.verdict(text.as_bytes()).unwrap_err().to_string();
    assert!(message.starts_with("entry 5 (line 5, 20"), "{message}");
    assert!(message.ends_with("one of the two was changed; entries 1 to 3 are intact"), "{message}");
    let endless = [sample.log.as_slice(), &vec![b'x'; 1 << 20]].concat();
    assert!(sample.verdict(&endless).unwrap_err().to_string().contains("does not end"));
}

#[tokio::test]
async fn a_growing_log_verifies_at_any_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    for round in 1..=30 {
        (0..100).for_each(|count| log.note(event(count)));
        verify_dir(dir.path(), None).unwrap();
        log.record(event(round)).await.unwrap();
    }
    assert_eq!(verify_dir(dir.path(), None).unwrap().records, 30 * 101);
}
