//! Revoking never waits (rule 5 of the design): when a store cannot write, ends go to a journal.
//!
//! [`Journaled`] stands in front of a store. While the store writes, it only passes on. When an end is refused because
//! the store cannot write (a full disk, above all), the end is written to a file whose room was taken beforehand, and
//! from then on every read and the feed show it as ended. As soon as the store writes again, the journal is replayed into
//! it, before anything else gets through.
//!
//! Invariants: an end that was answered is durable, here or there; nothing is issued while the journal holds an end that
//! the store does not know; epochs that the feed told are the ones that the store gives on replay, because nothing else
//! is written in between.

mod file;
mod overlay;

pub use file::{JournalFile, has_records};

use crate::{ApprovalQuery, Committed, Denies, Due, LeaseQuery, Page, Store, TaskQuery};
use async_trait::async_trait;
use overlay::{Journaled as Entry, Overlay};
use parking_lot::{Mutex, RwLock};
use std::{collections::BTreeMap, io, path::Path, sync::Arc};
use taskpass_lease::{
    Approval, Bars, Event, Followers, Lease, Limits, Outcome, PolicySet, PolicySetInfo, SharedKeys, Task,
    View, step,
};
use taskpass_types::{
    AgentId, ApprovalId, Epoch, HistoryId, LeaseId, PolicyRevision, Reason, Refusal, TaskId, TenantId,
    Timestamp,
};
use tokio::sync::{RwLockReadGuard, RwLockWriteGuard, watch};

/// How much room there is; about a thousand ends.
const CAPACITY: usize = 256 * 1024;

/// A store with a revocation journal in front of it.
pub struct Journaled {
    store: Arc<dyn Store>,
    limits: Limits,
    file: Mutex<JournalFile>,
    overlay: RwLock<Overlay>,
    /// Shared by writes that go straight to the store; alone for who replays or writes the journal, so that epochs are
    /// given in one order.
    writing: tokio::sync::RwLock<()>,
    denied: watch::Sender<u64>,
}

/// Leave to write to the store, until it is dropped.
enum Passage<'a> {
    Alone { _guard: RwLockWriteGuard<'a, ()> },
    Shared { _guard: RwLockReadGuard<'a, ()> },
}

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
#[error("the revocation journal `{path}` cannot be opened: {error}")]
pub struct JournalError {
    path: String,
    #[source]
    error: io::Error,
}

impl JournalError {
    /// What an operator can do about it.
    pub fn fix(&self) -> &'static str {
        match self.error.kind() {
            io::ErrorKind::InvalidData => {
                "move the file away and end again what was ended while the disk was full: see the audit log"
            }
            _ => "check who else has it open, and that the broker may write to it",
        }
    }
}

impl Journaled {
    /// In front of `store`, with the journal in `path`. What it still holds from before is replayed with the first
    /// write.
    ///
    /// # Errors
    /// When the file cannot be opened, somebody else has it open, or it is damaged: a record that was answered for cannot
    /// be read. What a crash left half written at its end was not.
    pub fn open(store: Arc<dyn Store>, path: &Path, limits: Limits) -> Result<Self, JournalError> {
        let fail = |error| JournalError { path: path.display().to_string(), error };
        let (file, records) = JournalFile::open(path, CAPACITY).map_err(fail)?;
        let entries = records.iter().map(|record| postcard::from_bytes(record).map_err(unreadable));
        let entries = entries.collect::<io::Result<Vec<Entry>>>().map_err(fail)?;
        Ok(Self {
            store,
            limits,
            file: Mutex::new(file),
            overlay: RwLock::new(Overlay::new(entries)),
            writing: tokio::sync::RwLock::new(()),
            denied: watch::Sender::new(0),
        })
    }

    fn is_empty(&self) -> bool {
        self.overlay.read().entries().is_empty()
    }

    fn tell(&self) {
        self.denied.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Deadlines, silence and cuts write deny records too.
    fn tell_if_denied(&self, committed: &Committed) {
        let denied = match committed.outcome() {
            Outcome::LeaseEnded(ended) => ended.deny.is_some(),
            Outcome::TaskEnded(ended) => ended.deny.is_some(),
            Outcome::Denied(_) => true,
            Outcome::Barred(bar) => bar.end.is_some(),
            _ => false,
        };
        if denied {
            self.tell();
        }
    }

    /// Leave to write to the store: at once while the journal is empty, else after its replay.
    async fn passage(&self) -> Result<Passage<'_>, Refusal> {
        let shared = self.writing.read().await;
        if self.is_empty() {
            return Ok(Passage::Shared { _guard: shared });
        }
        drop(shared);
        let alone = self.writing.write().await;
        self.replay().await?;
        Ok(Passage::Alone { _guard: alone })
    }

    /// Brings the store up to date with the journal. Whoever calls holds `writing` alone.
    async fn replay(&self) -> Result<(), Refusal> {
        let entries = self.overlay.read().entries().to_vec();
        for Entry { event, at, deny } in &entries {
            let committed = self.store.apply(event.clone().into(), *at).await?;
            let given = match committed.outcome() {
                Outcome::TaskEnded(ended) => ended.deny.as_ref().map(|deny| deny.epoch),
                Outcome::LeaseEnded(ended) => ended.deny.as_ref().map(|deny| deny.epoch),
                Outcome::Barred(bar) => bar.end.as_ref().and_then(|(end, _)| end.epoch),
                // It had been written after all, before the store said that it had not.
                Outcome::AlreadyEnded(end) => end.epoch,
                _ => None,
            };
            if given != Some(deny.epoch) {
                tracing::error!(journal = %deny.epoch, store = ?given, "an end was replayed under another epoch");
            }
        }
        if !entries.is_empty() {
            let cleared = self.file.lock().clear();
            cleared
                .map_err(|error| unavailable("the revocation journal cannot be cleared").because(error))?;
            *self.overlay.write() = Overlay::default();
            tracing::info!(ends = entries.len(), "the revocation journal was replayed into the store");
            self.tell();
        }
        Ok(())
    }

    async fn end(&self, event: Event, now: Timestamp) -> Result<Committed, Refusal> {
        let _passage = self.passage().await?;
        let committed = self.store.apply(event, now).await?;
        self.tell();
        Ok(committed)
    }

    /// Writes an end to the journal; the store could not.
    async fn journal(&self, event: Event, now: Timestamp, why: Refusal) -> Result<Committed, Refusal> {
        let view = self.view(&event).await?;
        let effects = step(view, &event, &self.limits, now)?;
        let (Some(event), Some(deny)) = (overlay::End::of(event), effects.deny) else {
            // Nothing new ends by it.
            return Ok(Committed::new(effects.outcome));
        };
        let entry = Entry { event, at: now, deny };
        let bytes = postcard::to_stdvec(&entry)
            .map_err(|error| Refusal::new(Reason::Internal, "an end cannot be encoded").because(error))?;
        let appended = self.file.lock().append(&bytes);
        appended
            .map_err(|error| unavailable("neither the store nor its journal can write").because(error))?;
        tracing::warn!(%why, epoch = %entry.deny.epoch, "the store cannot write; an end went to the revocation journal");
        self.overlay.write().push(entry);
        self.tell();
        Ok(Committed::new(effects.outcome))
    }

    /// What the step needs to see, read as everyone reads: with the journal over the store.
    async fn view(&self, event: &Event) -> Result<View, Refusal> {
        let mut view = View::default();
        let tenant = match event {
            // A bar that the journal takes counts by its record; the whole set is the store's.
            Event::BarWide(bar) => &bar.tenant,
            Event::EndLease(end) => {
                view.lease = self.lease(&end.tenant, end.lease).await?;
                &end.tenant
            }
            Event::EndTask(end) => {
                view.task = self.task(&end.tenant, end.task).await?;
                &end.tenant
            }
            _ => return Ok(view),
        };
        view.epoch = self.denies_after(tenant, Epoch(u64::MAX), 1).await?.epoch;
        Ok(view)
    }
}

#[async_trait]
impl Store for Journaled {
    async fn apply(&self, event: Event, now: Timestamp) -> Result<Committed, Refusal> {
        let ends = match &event {
            Event::EndLease(_) | Event::EndTask(_) => true,
            Event::BarWide(bar) => bar.end,
            _ => false,
        };
        if !ends {
            let _passage = self.passage().await?;
            let committed = self.store.apply(event, now).await?;
            self.tell_if_denied(&committed);
            return Ok(committed);
        }
        match self.end(event.clone(), now).await {
            Err(why) if cannot_write(&why) => {
                let _alone = self.writing.write().await;
                self.journal(event, now, why).await
            }
            done => done,
        }
    }

    async fn apply_due(&self, due: Due, now: Timestamp) -> Result<Committed, Refusal> {
        let _passage = self.passage().await?;
        let committed = self.store.apply_due(due, now).await?;
        self.tell_if_denied(&committed);
        Ok(committed)
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Due>, Refusal> {
        self.store.due(now, limit).await
    }

    async fn task(&self, tenant: &TenantId, id: TaskId) -> Result<Option<Task>, Refusal> {
        let task = self.store.task(tenant, id).await?;
        Ok(task.map(|task| self.overlay.read().task(task)))
    }

    async fn lease(&self, tenant: &TenantId, id: LeaseId) -> Result<Option<Lease>, Refusal> {
        let lease = self.store.lease(tenant, id).await?;
        Ok(lease.map(|lease| self.overlay.read().lease(lease)))
    }

    async fn standing(&self, tenant: &TenantId, id: LeaseId, now: Timestamp) -> Result<Lease, Refusal> {
        let lease = self.store.standing(tenant, id, now).await?;
        match self.overlay.read().denies(&lease) {
            None => Ok(lease),
            Some(deny) => {
                Err(Refusal::new(Reason::LeaseEnded, format!("lease `{id}` has ended: {}", deny.reason))
                    .with("lease", id)
                    .with("end_reason", deny.reason))
            }
        }
    }

    async fn tasks(&self, query: &TaskQuery) -> Result<Page<Task, TaskId>, Refusal> {
        let mut page = self.store.tasks(query).await?;
        let overlay = self.overlay.read();
        page.items = page.items.into_iter().map(|task| overlay.task(task)).collect();
        page.items.retain(|task| !(query.running && task.end().is_some()));
        Ok(page)
    }

    async fn leases(&self, query: &LeaseQuery) -> Result<Page<Lease, LeaseId>, Refusal> {
        let mut page = self.store.leases(query).await?;
        let overlay = self.overlay.read();
        page.items = page.items.into_iter().map(|lease| overlay.lease(lease)).collect();
        page.items.retain(|lease| !(query.active && lease.end().is_some()));
        Ok(page)
    }

    /// Holds that are only in the journal show after its replay; nothing is granted until then in any case.
    async fn bars(&self, tenant: &TenantId) -> Result<Bars, Refusal> {
        self.store.bars(tenant).await
    }

    async fn denies_after(&self, tenant: &TenantId, epoch: Epoch, limit: usize) -> Result<Denies, Refusal> {
        let denies = self.store.denies_after(tenant, epoch, limit).await?;
        Ok(self.overlay.read().add(denies, tenant, epoch, limit))
    }

    async fn approval(&self, tenant: &TenantId, id: ApprovalId) -> Result<Option<Approval>, Refusal> {
        self.store.approval(tenant, id).await
    }

    async fn approval_for(
        &self,
        tenant: &TenantId,
        agent: &AgentId,
        digest: &[u8; 32],
    ) -> Result<Option<Approval>, Refusal> {
        self.store.approval_for(tenant, agent, digest).await
    }

    async fn approvals(&self, query: &ApprovalQuery) -> Result<Page<Approval, ApprovalId>, Refusal> {
        self.store.approvals(query).await
    }

    async fn policy_revision(&self) -> Result<Option<PolicyRevision>, Refusal> {
        self.store.policy_revision().await
    }

    async fn policy_set(&self, revision: Option<&PolicyRevision>) -> Result<Option<PolicySet>, Refusal> {
        self.store.policy_set(revision).await
    }

    async fn policy_history(&self, before: Option<u64>, limit: usize) -> Result<Vec<PolicySetInfo>, Refusal> {
        self.store.policy_history(before, limit).await
    }

    async fn shared_keys(&self) -> Result<Option<SharedKeys>, Refusal> {
        self.store.shared_keys().await
    }

    async fn followers(&self) -> Result<BTreeMap<String, Followers>, Refusal> {
        self.store.followers().await
    }

    fn history(&self) -> HistoryId {
        self.store.history()
    }

    async fn still_mending(&self) -> Result<bool, Refusal> {
        self.store.still_mending().await
    }

    fn mending(&self) -> watch::Receiver<bool> {
        self.store.mending()
    }

    fn denied(&self) -> watch::Receiver<u64> {
        self.denied.subscribe()
    }

    fn approval_changed(&self) -> watch::Receiver<u64> {
        self.store.approval_changed()
    }
}

fn unreadable(error: postcard::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn cannot_write(refusal: &Refusal) -> bool {
    matches!(refusal.reason(), Reason::OutcomeUnknown | Reason::StoreUnavailable)
}

fn unavailable(message: &str) -> Refusal {
    Refusal::new(Reason::StoreUnavailable, message).fix("make room on the broker's disk")
}
