//! The one thread that writes: it takes what waits, writes it at once, syncs once and answers everyone.

use crate::{
    Action, Actor, Event, Receipt,
    chain::Chain,
    file::{Head, LogFile},
    queue::{Batch, Item, Queue},
};
use std::{io, sync::Arc};
use taskpass_types::{Clock, Reason, Refusal, TenantId, Timestamp};
use tokio::sync::watch;

pub(crate) struct Writer {
    pub(crate) file: Box<dyn LogFile>,
    pub(crate) chain: Chain,
    pub(crate) length: u64,
    pub(crate) queue: Arc<Queue>,
    pub(crate) durable: watch::Sender<Head>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Since when, and by what, writing is impossible.
struct Outage {
    since: Timestamp,
    error: String,
}

impl Writer {
    /// Runs until the queue is closed and empty, or closed and the disk refuses.
    pub(crate) fn run(mut self) {
        let mut outage: Option<Outage> = None;
        while let Some(batch) = self.queue.take() {
            if let Err(error) = self.commit(batch, outage.as_ref()) {
                tracing::error!(%error, "the audit log cannot be written");
                let now = self.clock.now();
                outage = Some(Outage {
                    since: outage.map_or(now, |outage| outage.since),
                    error: error.to_string(),
                });
                if self.queue.is_closed() {
                    let (waiting, lost, _) = self.queue.status();
                    tracing::error!(
                        waiting,
                        lost,
                        "the audit log closed while its disk refused; these notes are lost"
                    );
                    return;
                }
            } else if outage.take().is_some() {
                tracing::info!("the audit log can be written again");
            }
        }
    }

    /// Writes one batch, or nothing of it.
    fn commit(&mut self, batch: Batch, outage: Option<&Outage>) -> io::Result<()> {
        let mut chain = self.chain.clone();
        let mut bytes = Vec::new();
        let receipts: Vec<Receipt> =
            batch.items.iter().map(|item| chain.append(&mut bytes, &item.body, item.time)).collect();
        // Notes are lost only after those that are kept, so this comes after all of them.
        let report =
            (batch.last && (outage.is_some() || batch.lost > 0)).then(|| self.recovered(batch.lost, outage));
        if let Some(event) = &report {
            chain.append(&mut bytes, &event.encode(), self.clock.now());
        }
        let length = self.length + u64::try_from(bytes.len()).unwrap_or(0);
        let head = Head { seq: chain.seq, length, hash: chain.hash };
        if let Err(error) = self.write(&bytes, head, outage.is_some()) {
            self.refuse(batch.items, &error);
            return Err(error);
        }
        self.chain = chain;
        self.length = length;
        self.queue.succeed(if report.is_some() { batch.lost } else { 0 });
        self.durable.send_replace(head);
        for (item, receipt) in batch.items.into_iter().zip(receipts) {
            // Whoever no longer listens has no use for the receipt.
            item.waiter.map(|waiter| waiter.send(Ok(receipt)).ok());
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], head: Head, failed_before: bool) -> io::Result<()> {
        if failed_before {
            self.file.restore(Head { seq: self.chain.seq, length: self.length, hash: self.chain.hash })?;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.file.sync()?;
        self.file.save_head(head)
    }

    fn refuse(&self, items: Vec<Item>, error: &io::Error) {
        for waiter in self.queue.fail(items, error.to_string()) {
            waiter.send(Err(unavailable(error))).ok();
        }
    }

    fn recovered(&self, lost: u64, outage: Option<&Outage>) -> Event {
        let event =
            Event::outcome(&TenantId::default(), Action::AuditRecover, Actor::Broker("audit")).count(lost);
        match outage {
            Some(Outage { since, error }) => {
                event.purpose(&format!("could not be written since {since}: {error}"))
            }
            None => event.purpose("the queue was full"),
        }
    }
}

/// What a caller hears when an event cannot be made durable.
pub(crate) fn unavailable(context: impl std::fmt::Display) -> Refusal {
    Refusal::new(Reason::AuditUnavailable, "the audit log cannot be written, so nothing is granted")
        .fix("ask again later; an operator must make room on the disk of the audit log")
        .because(context)
}
