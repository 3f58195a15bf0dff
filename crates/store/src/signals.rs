//! What a backend tells those who wait, once it is durable.

use crate::Pending;
use tokio::sync::watch;

/// One counter per kind of news; whoever waits looks for itself what is new.
#[derive(Debug, Default)]
pub struct Signals {
    denied: watch::Sender<u64>,
    approvals: watch::Sender<u64>,
    mending: watch::Sender<bool>,
}

impl Signals {
    /// To be called once the transaction of all of `pending` is durable.
    pub fn tell<'a>(&self, pending: impl IntoIterator<Item = &'a Pending>) {
        let (mut denied, mut approvals) = (false, false);
        for pending in pending {
            denied |= pending.deny().is_some();
            approvals |= pending.changes_approval();
        }
        self.tell_of(denied, approvals);
    }

    /// Deny records, or approvals, or both are durable.
    pub fn tell_of(&self, denied: bool, approvals: bool) {
        if denied {
            count(&self.denied);
        }
        if approvals {
            count(&self.approvals);
        }
    }

    /// Anything may have happened.
    pub fn tell_all(&self) {
        self.tell_of(true, true);
    }

    /// Whether the store has lost what it acknowledged, and what was signed until now has to be cut off.
    pub fn set_mending(&self, mending: bool) {
        self.mending.send_if_modified(|before| std::mem::replace(before, mending) != mending);
    }

    /// See [`Signals::set_mending`].
    pub fn mending(&self) -> watch::Receiver<bool> {
        self.mending.subscribe()
    }

    /// Changes whenever a deny record is durable.
    pub fn denied(&self) -> watch::Receiver<u64> {
        self.denied.subscribe()
    }

    /// Changes whenever an approval is durable.
    pub fn approval_changed(&self) -> watch::Receiver<u64> {
        self.approvals.subscribe()
    }
}

fn count(sender: &watch::Sender<u64>) {
    sender.send_modify(|count| *count = count.wrapping_add(1));
}
