//! The open connections, so that a kill reaches them.

use crate::{ConnectionId, Peer};
use parking_lot::Mutex;
use std::{collections::HashMap, fmt, sync::Arc};

/// The open connections of an acceptor; clones share them. Bounded by [`Limits::connections`](crate::Limits).
#[derive(Clone, Default)]
pub struct Connections(Arc<Mutex<HashMap<ConnectionId, Peer>>>);

impl Connections {
    /// How many are open, handshakes not counted.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The peers that are connected now.
    pub fn peers(&self) -> Vec<Peer> {
        self.0.lock().values().cloned().collect()
    }

    /// Cuts the connections that `doomed` picks; says how many.
    pub fn kill_where(&self, doomed: impl Fn(&Peer) -> bool) -> usize {
        let doomed: Vec<Peer> = self.peers().into_iter().filter(doomed).collect();
        doomed.iter().for_each(Peer::kill);
        doomed.len()
    }

    pub(crate) fn insert(&self, peer: &Peer) {
        self.0.lock().insert(peer.id(), peer.clone());
    }

    pub(crate) fn remove(&self, id: ConnectionId) {
        self.0.lock().remove(&id);
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections", self.len())
    }
}
