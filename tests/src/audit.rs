//! What the broker wrote down, read as an auditor would: from the disk, while it serves or after.

use crate::{World, until};
use taskpass_audit::{Entry, Report, read_dir, verify_dir};

/// More than any story writes in one read.
const PAGE: usize = 10_000;

impl World {
    /// All entries that are durable now.
    ///
    /// # Panics
    /// When the log cannot be read.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let next = entries.last().map_or(1, |entry| entry.seq + 1);
            let page = read_dir(&self.audit(), next, PAGE).unwrap();
            if page.is_empty() {
                return entries;
            }
            entries.extend(page.iter().map(|line| line.entry().unwrap()));
        }
    }

    /// The first entry that `fits`; waits for it, because what is only noted becomes durable a little later.
    ///
    /// # Panics
    /// When there is none.
    pub async fn recorded(&self, what: &str, fits: impl Fn(&Entry) -> bool) -> Entry {
        until(what, async || self.entries().into_iter().find(|entry| fits(entry))).await
    }

    /// Waits for the entry that says that `actor` was refused for `reason`, at or after entry `since`.
    ///
    /// # Panics
    /// When there is none.
    pub async fn recorded_refusal(&self, since: u64, actor: &str, reason: &str) -> Entry {
        self.recorded(&format!("{actor} was refused for {reason}"), |entry| {
            entry.seq >= since && entry.actor == actor && entry.refusal.as_deref() == Some(reason)
        })
        .await
    }

    /// The number that the next entry will have at least.
    pub fn next_entry(&self) -> u64 {
        self.entries().last().map_or(1, |entry| entry.seq + 1)
    }

    /// Checks the whole chain.
    ///
    /// # Panics
    /// When an entry was changed, lost or added.
    pub fn assert_intact(&self) -> Report {
        verify_dir(&self.audit(), None).unwrap()
    }
}
