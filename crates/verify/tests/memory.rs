//! What a resource server pays for its deny set. A process of its own, so that nothing else is in the figures.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::fs;
use taskpass_types::{DenySubject, EndReason, Epoch, HistoryId, TaskId, Timestamp};
use taskpass_verify::{denies::Record, feed::Feed, wire::Message};

const RECORDS: u64 = 100_000;
/// As the broker pages a snapshot.
const PAGE: u64 = 512;
const WANTED: u64 = 16_000_000;

/// A line of `/proc/self/status` in bytes.
fn memory(what: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<u64>().unwrap() * 1024
}

fn page(after: u64) -> Message {
    let epoch = RECORDS.min(after + PAGE);
    let record = |epoch| Record {
        epoch: Epoch(epoch),
        subject: DenySubject::Task(TaskId::new()),
        reason: Some(EndReason::Completed),
        until: Timestamp::from_secs(3600 + epoch),
    };
    Message {
        history: HistoryId([1; 16]),
        after: Epoch(after),
        epoch: Epoch(epoch),
        snapshot: after == 0,
        records: (after + 1..=epoch).map(record).collect(),
        sent_at: Timestamp::from_secs(1),
        keys: None,
        more: epoch < RECORDS,
        session: None,
        probes: Vec::new(),
    }
}

#[test]
fn a_hundred_thousand_records_stay_under_16_mb_also_while_they_are_replaced() {
    let before = memory("VmRSS");
    let mut feed = Feed::new(1_000_000);
    for what in ["the first snapshot", "the next, beside the one in force"] {
        let mut after = 0;
        while after < RECORDS {
            feed.apply(page(after), Timestamp::from_millis(0)).unwrap();
            after = RECORDS.min(after + PAGE);
        }
        assert_eq!(feed.denies().read().len() as u64, RECORDS);
        let (held, peak) = (memory("VmRSS") - before, memory("VmHWM") - before);
        assert!(held < WANTED, "{what}: {held} bytes");
        assert!(peak < WANTED, "{what}: {peak} bytes at its peak");
    }
}
