//! A disk that fills up, loses what was not synced, and gets well again.

use crate::{OpenError, RedbBackend, RedbStore, file};
use parking_lot::Mutex;
use redb::{Builder, Database, StorageBackend};
use std::{future::poll_fn, io, path::Path, pin::pin, sync::Arc, task::Poll};
use taskpass_lease::{Event, Limits, Outcome};
use taskpass_store::{Store, conformance::events};
use taskpass_types::{LeaseId, Reason, TaskId, TenantId, Timestamp};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<Platters>>);

#[derive(Debug, Default)]
struct Platters {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    full: bool,
}

impl Disk {
    fn database(&self) -> Database {
        Builder::new().create_with_backend(self.clone()).unwrap()
    }

    /// A store on a new disk.
    fn store(&self) -> RedbStore {
        file::prepare(&self.database()).unwrap();
        self.mount()
    }

    fn mount(&self) -> RedbStore {
        let database = self.database();
        let history = file::history(Path::new("disk"), &database).unwrap();
        let disk = self.clone();
        let reopen = move || {
            Builder::new()
                .create_with_backend(disk.clone())
                .map_err(|error| OpenError::database(Path::new("disk"), error))
        };
        let path = Path::new("disk");
        RedbStore::new(
            RedbBackend::start(path, Limits::default(), database, history, Box::new(reopen)).unwrap(),
        )
    }

    /// What another machine finds after the power went.
    fn without_power(&self) -> Self {
        let bytes = self.0.lock().synced.clone();
        Self(Arc::new(Mutex::new(Platters { synced: bytes.clone(), bytes, full: false })))
    }

    fn set_full(&self, full: bool) {
        self.0.lock().full = full;
    }
}

impl Platters {
    fn check(&self) -> io::Result<()> {
        if self.full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock();
        let start = usize::try_from(offset).unwrap();
        out.copy_from_slice(disk.bytes.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.check()?;
        disk.bytes.resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.check()?;
        disk.synced = disk.bytes.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.check()?;
        let start = usize::try_from(offset).unwrap();
        disk.bytes[start..start + data.len()].copy_from_slice(data);
        Ok(())
    }
}

async fn start(store: &RedbStore) -> TaskId {
    let task = TaskId::new();
    store.apply(Event::SetPolicies(Box::new(events::set_policies("r1"))), NOW).await.unwrap();
    let start = events::start(&TenantId::default(), task, None);
    store.apply(Event::StartTask(Box::new(start)), NOW).await.unwrap();
    task
}

fn plan(task: TaskId) -> (LeaseId, Event) {
    let lease = LeaseId::new();
    (lease, Event::PlanLease(Box::new(events::plan(&TenantId::default(), lease, task))))
}

#[tokio::test]
async fn what_was_acknowledged_survives_the_loss_of_power_at_any_moment() {
    let disk = Disk::default();
    let store = disk.store();
    let tenant = TenantId::default();
    let task = start(&store).await;
    let mut leases = Vec::new();
    for turn in 0..12 {
        let (lease, event) = plan(task);
        store.apply(event, NOW).await.unwrap();
        leases.push(lease);
        if turn % 3 == 0 {
            store.apply(events::end_lease(&tenant, lease, false), NOW).await.unwrap();
        }
        let found = disk.without_power().mount();
        for (nth, lease) in leases.iter().enumerate() {
            let lease = found.lease(&tenant, *lease).await.unwrap().unwrap();
            assert_eq!(lease.end().is_some(), nth % 3 == 0);
        }
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_a_well_one_goes_on() {
    let disk = Disk::default();
    let store = disk.store();
    let tenant = TenantId::default();
    let task = start(&store).await;
    let (before, event) = plan(task);
    store.apply(event, NOW).await.unwrap();

    disk.set_full(true);
    let (during, event) = plan(task);
    let first = store.apply(event.clone(), NOW).await.unwrap_err();
    assert_eq!(first.reason(), Reason::OutcomeUnknown);
    let end = store.apply(events::end_lease(&tenant, before, false), NOW).await.unwrap_err();
    assert!(matches!(end.reason(), Reason::StoreUnavailable | Reason::OutcomeUnknown), "{end:?}");

    disk.set_full(false);
    let repeat = store.apply(event, NOW).await.unwrap();
    assert!(
        matches!(repeat.outcome(), Outcome::Planned(lease) | Outcome::ReplayedLease(lease) if lease.id == during)
    );
    store.apply(events::end_lease(&tenant, before, false), NOW).await.unwrap();
    assert!(store.lease(&tenant, before).await.unwrap().unwrap().end().is_some());
    assert_eq!(store.task(&tenant, task).await.unwrap().unwrap().issued, 2, "nothing was made twice");
}

/// Nobody writes after the disk is well again; the writer looks after the file by itself.
#[tokio::test]
async fn reads_come_back_without_a_write() {
    let disk = Disk::default();
    let store = disk.store();
    let tenant = TenantId::default();
    let task = start(&store).await;
    disk.set_full(true);
    while store.task(&tenant, task).await.is_ok() {
        store.apply(plan(task).1, NOW).await.unwrap_err();
    }
    let mut reopened = store.denied();
    disk.set_full(false);
    reopened.changed().await.unwrap();
    assert!(store.task(&tenant, task).await.unwrap().is_some());
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_undo_it() {
    let disk = Disk::default();
    let store = disk.store();
    let task = start(&store).await;
    let (lease, event) = plan(task);
    {
        let mut call = pin!(store.apply(event, NOW));
        poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready())).await;
    }
    drop(store);
    assert!(disk.mount().lease(&TenantId::default(), lease).await.unwrap().is_some());
}
