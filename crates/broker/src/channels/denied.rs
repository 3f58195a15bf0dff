//! From deny records to the certificates and the places on status lists that they cut off.
//!
//! A deny record names a lease, a task or something wider, a revocation list names serial numbers and a status list has
//! places; leases are what connects them. Invariants: whatever a record cuts off is found in the store, because nothing is
//! planned or renewed under an end once its record is there; a certificate stays until a regular list has named it beyond
//! its expiry (RFC 5280 section 3.3); what cannot be read is never taken for good.

use super::{
    cuts::{Cut, Cuts},
    statuses::Statuses,
    wide::{is_under, signed_before},
};
use futures::future::try_join_all;
use std::{collections::BTreeMap, time::Duration};
use taskpass_lease::Lease;
use taskpass_store::{LeaseQuery, Store, TaskQuery};
use taskpass_types::{
    DenyRecord, DenySubject, Epoch, HistoryId, KeyGeneration, LeaseId, Reason, Refusal, StatusIndex,
    StatusListId, TaskId, TenantId, Timestamp,
};

/// Deny records that are read at once, and how many of them are resolved side by side.
const RECORDS: usize = 512;
const ABREAST: usize = 16;
/// Tasks or leases of one look at the store.
const PAGE: usize = 1_000;
/// At most so many certificates are listed; with more no list is served, for one that leaves some out would call them good.
const MAX_CERTIFICATES: usize = 1_000_000;
/// And so many tokens have their place set.
const MAX_TOKENS: usize = 1_000_000;

/// What one round works with.
pub(super) struct Look<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) tenant: &'a TenantId,
    pub(super) now: Timestamp,
    /// How long a certificate is listed beyond its expiry.
    pub(super) keep: Duration,
    /// The longest that one lives.
    pub(super) life: Duration,
}

/// Everything that is cut off, as far as it was read.
pub(super) struct Denied {
    history: HistoryId,
    epoch: Epoch,
    cuts: Cuts,
    statuses: BTreeMap<StatusListId, BTreeMap<u32, Timestamp>>,
    /// What is about more than a task: also what comes later is under it, so it is resolved again and again.
    broad: Vec<DenyRecord>,
    /// Under an end there is a record that cannot be read; its certificate is dead by then.
    unreadable_until: Timestamp,
}

/// What one record cuts off.
#[derive(Clone, Default)]
struct Found {
    cuts: Vec<(LeaseId, Cut)>,
    certificates: usize,
    /// The places of tokens, and when the last of each has expired.
    places: Vec<(StatusIndex, Timestamp)>,
    unreadable: bool,
}

impl Found {
    fn add(&mut self, lease: &Lease, record: &DenyRecord, look: &Look<'_>) -> Result<(), Refusal> {
        if let Some(cut) = Cut::of(lease, record, look) {
            self.certificates = self.certificates.saturating_add(cut.count());
            self.cuts.push((lease.id, cut));
        }
        if let Some(status) = lease.status.filter(|_| lease.last_expiry.plus(look.keep) > look.now) {
            self.places.push((status, lease.last_expiry));
        }
        bounded(self.certificates, self.places.len())
    }
}

impl Denied {
    pub(super) fn new(history: HistoryId) -> Self {
        Self {
            history,
            epoch: Epoch::default(),
            cuts: Cuts::new(),
            statuses: BTreeMap::new(),
            broad: Vec::new(),
            unreadable_until: Timestamp::from_millis(0),
        }
    }

    /// Reads what was denied since the last round, and says whether there was anything. `anew`: what is wider than a task
    /// is resolved again in any case.
    pub(super) async fn follow(&mut self, look: &Look<'_>, anew: bool) -> Result<bool, Refusal> {
        if self.history != look.store.history() {
            *self = Self::new(look.store.history());
        }
        self.forget(look);
        let mut changed = false;
        loop {
            let denies = look.store.denies_after(look.tenant, self.epoch, RECORDS).await?;
            if denies.epoch < self.epoch {
                // The store has gone back behind what it said: all over again.
                *self = Self::new(self.history);
                changed = true;
                continue;
            }
            let full = denies.records.len() == RECORDS;
            let reached = denies
                .records
                .last()
                .map_or(denies.epoch, |last| if full { last.epoch } else { denies.epoch });
            changed |= reached != self.epoch;
            self.resolve(denies.records, look).await?;
            self.epoch = reached;
            if !full {
                break;
            }
        }
        if changed || anew {
            self.resolve_broad(look).await?;
        }
        bounded(self.cuts.certificates(), self.places()).map(|()| changed)
    }

    fn forget(&mut self, look: &Look<'_>) {
        self.cuts.forget(look);
        self.statuses.retain(|_, places| {
            places.retain(|_, expiry| expiry.plus(look.keep) > look.now);
            !places.is_empty()
        });
        self.broad.retain(|record| record.until.plus(look.keep) > look.now);
    }

    fn places(&self) -> usize {
        self.statuses.values().map(BTreeMap::len).fold(0, usize::saturating_add)
    }

    async fn resolve(&mut self, records: Vec<DenyRecord>, look: &Look<'_>) -> Result<(), Refusal> {
        let live = records.into_iter().filter(|record| record.until.plus(look.keep) > look.now);
        let (narrow, broad): (Vec<_>, Vec<_>) =
            live.partition(|record| matches!(record.subject, DenySubject::Lease(_) | DenySubject::Task(_)));
        self.broad.extend(broad);
        for some in narrow.chunks(ABREAST) {
            let mut looks = Vec::with_capacity(some.len());
            for record in some {
                looks.push(resolve(record, look));
            }
            for (found, record) in try_join_all(looks).await?.into_iter().zip(some) {
                self.take_up(found, record, look);
            }
        }
        bounded(self.cuts.certificates(), self.places())
    }

    fn take_up(&mut self, found: Found, record: &DenyRecord, look: &Look<'_>) {
        found.cuts.into_iter().for_each(|(lease, cut)| self.cuts.take_up(lease, cut));
        for (status, expiry) in found.places {
            self.statuses.entry(status.list).or_default().insert(status.index, expiry);
        }
        if found.unreadable {
            let dead = record.until.min(record.at.plus(look.life));
            tracing::error!(subject = ?record.subject, until = %dead, "a record under an end cannot be read; no revocation list until its certificate is dead");
            self.unreadable_until = self.unreadable_until.max(dead);
        }
    }

    async fn resolve_broad(&mut self, look: &Look<'_>) -> Result<(), Refusal> {
        let broad: Vec<_> =
            self.broad.iter().filter(|record| signed_before(record).is_none()).cloned().collect();
        if broad.is_empty() {
            return Ok(());
        }
        // Not only active ones: what is under such an end is listed as ended.
        let query = leases(look);
        let mut all = vec![Found::default(); broad.len()];
        pages(look, query, |lease| {
            let under = broad.iter().zip(&mut all).filter(|(record, _)| is_under(&lease.grant(), record));
            under.into_iter().try_for_each(|(record, found)| found.add(lease, record, look))
        })
        .await
        .map(|unreadable| all.iter_mut().for_each(|found| found.unreadable = unreadable))?;
        for (found, record) in all.into_iter().zip(&broad) {
            self.take_up(found, record, look);
        }
        Ok(())
    }

    /// The newest generation of keys that nothing counts of any more.
    pub(super) fn cut_off(&self) -> Option<KeyGeneration> {
        self.broad.iter().filter_map(signed_before).max()
    }

    /// Until when no list can be made; `None`: it can.
    pub(super) fn blind_until(&self, now: Timestamp) -> Option<Timestamp> {
        (self.unreadable_until > now).then_some(self.unreadable_until)
    }

    /// Which places of status lists are set.
    pub(super) fn statuses(&self) -> Statuses {
        Statuses { set: self.statuses.clone(), cut_off: self.cut_off() }
    }

    /// All leases with certificates that are cut off.
    pub(super) fn cuts(&self) -> Cuts {
        self.cuts.clone()
    }
}

async fn resolve(record: &DenyRecord, look: &Look<'_>) -> Result<Found, Refusal> {
    let mut found = Found::default();
    match &record.subject {
        DenySubject::Lease(id) => match look.store.lease(look.tenant, *id).await {
            Ok(lease) => lease.iter().try_for_each(|lease| found.add(lease, record, look))?,
            Err(refusal) if refusal.reason() == Reason::StoreCorrupt => found.unreadable = true,
            Err(refusal) => return Err(refusal),
        },
        DenySubject::Task(id) => below(*id, record, look, &mut found).await?,
        _ => {}
    }
    Ok(found)
}

/// Everything below a task: its leases, and those of its children. A task is deeper than its parent, so this ends.
async fn below(root: TaskId, record: &DenyRecord, look: &Look<'_>, found: &mut Found) -> Result<(), Refusal> {
    let mut tasks = vec![root];
    while let Some(task) = tasks.pop() {
        let query = LeaseQuery { task: Some(task), ..leases(look) };
        found.unreadable |= pages(look, query, |lease| found.add(lease, record, look)).await?;
        let tenant = look.tenant.clone();
        let mut query = TaskQuery { tenant, parent: Some(task), limit: PAGE, ..TaskQuery::default() };
        loop {
            let page = look.store.tasks(&query).await?;
            found.unreadable |= page.unreadable > 0;
            tasks.extend(page.items.iter().map(|child| child.id));
            match page.next {
                Some(next) => query.before = Some(next),
                None => break,
            }
        }
    }
    Ok(())
}

fn leases(look: &Look<'_>) -> LeaseQuery {
    LeaseQuery { tenant: look.tenant.clone(), limit: PAGE, ..LeaseQuery::default() }
}

/// Visits every lease of a list; says whether one of them could not be read.
async fn pages(
    look: &Look<'_>,
    mut query: LeaseQuery,
    mut visit: impl FnMut(&Lease) -> Result<(), Refusal>,
) -> Result<bool, Refusal> {
    let mut unreadable = false;
    loop {
        let page = look.store.leases(&query).await?;
        unreadable |= page.unreadable > 0;
        page.items.iter().try_for_each(&mut visit)?;
        match page.next {
            Some(next) => query.before = Some(next),
            None => return Ok(unreadable),
        }
    }
}

fn bounded(certificates: usize, tokens: usize) -> Result<(), Refusal> {
    if certificates <= MAX_CERTIFICATES && tokens <= MAX_TOKENS {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::QuotaExceeded,
        format!("more than {MAX_CERTIFICATES} certificates or {MAX_TOKENS} tokens are cut off at once, too many to list"),
    )
    .fix("let verifiers follow the deny feed, or issue for less time"))
}
