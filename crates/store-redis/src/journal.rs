//! The ends that this broker wrote, kept until nothing that they ended could still live.
//!
//! A ledger may come back older than what was acknowledged: a replica that lagged was promoted, a backup was restored. So
//! every end is durable here before it is sent there, and is written into the ledger again when that has another past.
//! The files are segments of one size; a segment goes when the last of its ends no longer matters.

use crate::ledger::Known;
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
};
use taskpass_lease::{BarWide, EndLease, EndTask, Event, HeldFor, Wide};
use taskpass_store::{Tail, journal::JournalFile};
use taskpass_types::{DenyRecord, DenySubject, Timestamp};

/// How large a segment is; about five thousand ends.
const SEGMENT: usize = 1 << 20;
/// How many segments there may be. More ends than these can hold are still written to the ledger, which is then all that
/// knows them.
const SEGMENTS: usize = 64;

/// One end: what is refused, and whether the agent may ask for the same again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) deny: DenyRecord,
    pub(crate) hold: bool,
    /// How long what is wider than a task is held: 0 not at all, 1 for good, else until then, in milliseconds.
    held: Tail,
}

impl End {
    pub(crate) fn new(deny: DenyRecord, hold: bool, held: Option<HeldFor>) -> Self {
        let held = match held {
            None => 0,
            Some(HeldFor::Good) => 1,
            Some(HeldFor::Until(until)) => until.as_millis().max(2),
        };
        Self { deny, hold, held: Tail(held) }
    }

    fn held(&self) -> Option<HeldFor> {
        match self.held.0 {
            0 => None,
            1 => Some(HeldFor::Good),
            until => Some(HeldFor::Until(Timestamp::from_millis(until))),
        }
    }

    /// The event that wrote it.
    fn event(&self) -> Option<Event> {
        let DenyRecord { tenant, subject, reason, by, .. } = self.deny.clone();
        match subject {
            DenySubject::Lease(lease) => {
                Some(Event::EndLease(EndLease { tenant, lease, reason, by, hold: self.hold }))
            }
            DenySubject::Task(task) => Some(Event::EndTask(EndTask { tenant, task, reason, by })),
            subject => {
                let wide = Wide::of(&subject)?;
                Some(Event::BarWide(BarWide { tenant, wide, end: true, hold: self.held(), by }))
            }
        }
    }
}

/// An end, and the past of the ledger that it was written into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    past: Known,
    end: End,
}

struct Segment {
    number: u64,
    path: PathBuf,
    file: JournalFile,
    kept: Vec<Kept>,
}

impl Segment {
    fn until(&self) -> Timestamp {
        self.kept.iter().map(|kept| kept.end.deny.until).max().unwrap_or_default()
    }
}

/// The ends of one broker.
pub(crate) struct Journal {
    dir: PathBuf,
    segments: VecDeque<Segment>,
}

impl Journal {
    /// Opens what is in `dir`, or makes it.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let mut numbers = Vec::new();
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("ends-")?.parse::<u64>().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        let mut journal = Self { dir: dir.to_owned(), segments: VecDeque::new() };
        for number in numbers {
            journal.open_segment(number)?;
        }
        // To take room is slow, so that is done before anybody waits for an end.
        if journal.segments.is_empty() {
            journal.open_segment(0)?;
        }
        Ok(journal)
    }

    fn open_segment(&mut self, number: u64) -> io::Result<()> {
        let path = self.dir.join(format!("ends-{number}"));
        let (file, records) = JournalFile::open(&path, SEGMENT)?;
        let unreadable = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let kept: Result<Vec<Kept>, _> =
            records.iter().map(|record| postcard::from_bytes(record).map_err(unreadable)).collect();
        self.segments.push_back(Segment { number, path, file, kept: kept? });
        Ok(())
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.segments.iter().all(|segment| segment.kept.is_empty())
    }

    /// The past that the newest end was written into.
    pub(crate) fn past(&self) -> Option<&Known> {
        self.segments.iter().rev().find_map(|segment| segment.kept.last()).map(|kept| &kept.past)
    }

    /// Keeps these ends; durable when it returns.
    pub(crate) fn keep(&mut self, past: &Known, ends: Vec<End>, now: Timestamp) -> io::Result<()> {
        self.forget(now);
        for end in ends {
            let kept = Kept { past: past.clone(), end };
            let bytes = postcard::to_stdvec(&kept).map_err(io::Error::other)?;
            if self.append(&bytes).is_err() {
                let next = self.segments.back().map_or(0, |newest| newest.number + 1);
                if self.segments.len() >= SEGMENTS {
                    return Err(io::Error::other("the journal of ends is full"));
                }
                self.open_segment(next)?;
                self.append(&bytes)?;
            }
            if let Some(newest) = self.segments.back_mut() {
                newest.kept.push(kept);
            }
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.segments.back_mut() {
            Some(newest) => newest.file.append(bytes),
            None => Err(io::Error::other("there is no segment yet")),
        }
    }

    /// Drops the oldest segments whose ends no longer matter.
    fn forget(&mut self, now: Timestamp) {
        while let Some(oldest) = self.segments.front().filter(|_| self.segments.len() > 1) {
            if oldest.until() >= now {
                return;
            }
            // What cannot be removed is read again at the next start, and dropped then.
            drop(fs::remove_file(&oldest.path));
            self.segments.pop_front();
        }
    }

    /// What has to be in the ledger, in the order in which it was written.
    pub(crate) fn ends(&self) -> Vec<(Event, Timestamp)> {
        let kept = self.segments.iter().flat_map(|segment| &segment.kept);
        kept.filter_map(|kept| Some((kept.end.event()?, kept.end.deny.at))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use taskpass_types::{EndReason, Epoch, LeaseId, TaskId, TenantId};

    fn past(home: &str) -> Known {
        Known { generation: "1.x".to_owned(), home: home.to_owned(), sequence: 7 }
    }

    fn end(subject: DenySubject, until: u64) -> End {
        let deny = DenyRecord {
            tenant: TenantId::default(),
            epoch: Epoch(1),
            subject: subject.clone(),
            reason: EndReason::Killed,
            by: "ops/ann".to_owned(),
            at: Timestamp::from_secs(10),
            until: Timestamp::from_secs(until),
            audiences: Vec::new(),
        };
        End::new(deny, matches!(subject, DenySubject::Lease(_)), None)
    }

    #[test]
    fn ends_come_back_until_they_no_longer_matter() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::from_secs(10);
        let mut journal = Journal::open(dir.path()).unwrap();
        assert!(journal.is_empty());
        let (task, lease) = (TaskId::new(), LeaseId::new());
        journal.keep(&past("a"), vec![end(DenySubject::Task(task), 100)], now).unwrap();
        journal.keep(&past("b"), vec![end(DenySubject::Lease(lease), 50)], now).unwrap();
        drop(journal);
        let mut journal = Journal::open(dir.path()).unwrap();
        assert_eq!(journal.past(), Some(&past("b")));
        let ends = journal.ends();
        assert!(matches!(&ends[0].0, Event::EndTask(end) if end.task == task));
        assert!(matches!(&ends[1].0, Event::EndLease(end) if end.lease == lease && end.hold));
        journal.keep(&past("b"), Vec::new(), Timestamp::from_secs(101)).unwrap();
        assert_eq!(journal.ends().len(), 2, "the newest segment stays");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_wide_end_is_written_again_with_its_hold() {
        let dir = tempfile::tempdir().unwrap();
        let agent = || DenySubject::Agent(taskpass_types::AgentId::new("ci/bot").unwrap());
        let until = HeldFor::Until(Timestamp::from_secs(77));
        let held = [None, Some(HeldFor::Good), Some(until)];
        let mut journal = Journal::open(dir.path()).unwrap();
        for hold in held {
            let deny = end(agent(), 100).deny;
            journal.keep(&past("a"), vec![End::new(deny, false, hold)], Timestamp::from_secs(10)).unwrap();
        }
        drop(journal);
        let again = Journal::open(dir.path()).unwrap().ends();
        let again: Vec<_> = again
            .into_iter()
            .map(|(event, _)| match event {
                Event::BarWide(bar) => (bar.wide.subject(), bar.end, bar.hold),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(again, held.map(|hold| (agent(), true, hold)));
    }

    #[test]
    fn it_grows_by_segments_and_loses_the_old_ones() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        let count = SEGMENT / 200;
        for round in 0..6 {
            let ends = (0..count).map(|_| end(DenySubject::Task(TaskId::new()), 100 + round)).collect();
            journal.keep(&past("a"), ends, Timestamp::from_secs(10)).unwrap();
        }
        assert_eq!(journal.ends().len(), 6 * count);
        let before = journal.segments.len();
        assert!(before > 1, "{before}");
        journal.keep(&past("a"), Vec::new(), Timestamp::from_secs(104)).unwrap();
        assert!(journal.segments.len() < before, "{before}");
        let left = journal.ends().len();
        drop(journal);
        assert_eq!(Journal::open(dir.path()).unwrap().ends().len(), left);
    }
}
