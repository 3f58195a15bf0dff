//! Looks that come at the same time share one read.
//!
//! While one read is under way, whoever wants rows waits for the next, and all of them are in it. So the cost of a look
//! falls as there are more of them, and none waits longer than one read.

use crate::{
    draft::{Fetched, Missing},
    error::Trouble,
    fetch::fetch,
    writer::Shared,
};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// How many looks share a read.
const CROWD: usize = 256;

/// What one look misses, and where the rows go.
pub(crate) struct Look {
    missing: Missing,
    answer: oneshot::Sender<Result<Fetched, Trouble>>,
}

impl Look {
    /// The look, and where its answer arrives.
    pub(crate) fn new(missing: Missing) -> (Self, oneshot::Receiver<Result<Fetched, Trouble>>) {
        let (answer, answered) = oneshot::channel();
        (Self { missing, answer }, answered)
    }
}

/// Serves looks for rows until nobody can ask any more.
pub(crate) async fn run(shared: Arc<Shared>, mut looks: mpsc::Receiver<Look>) {
    let mut crowd = Vec::with_capacity(CROWD);
    while looks.recv_many(&mut crowd, CROWD).await > 0 {
        let read = together(&shared, &crowd).await;
        for look in crowd.drain(..) {
            // Who does not wait any more does not mind.
            drop(look.answer.send(match &read {
                Ok(fetched) => Ok(fetched.only(&look.missing.rows)),
                Err(trouble) => Err(Trouble::Refused(trouble.to_string())),
            }));
        }
    }
}

async fn together(shared: &Shared, crowd: &[Look]) -> Result<Fetched, Trouble> {
    let mut reader = shared.reader().map_err(|refusal| Trouble::Refused(refusal.to_string()))?;
    let mut missing = Missing::default();
    missing.rows.extend(crowd.iter().flat_map(|look| look.missing.rows.iter().cloned()));
    let mut fetched = Fetched::default();
    let read = fetch(&mut reader, &shared.layout, missing, &mut fetched).await;
    if read.as_ref().is_err_and(Trouble::breaks_link) {
        shared.broken.notify_one();
    }
    read.map(|()| fetched)
}
