//! What every service method does first: who calls, and may they.

use crate::{Api, status};
use std::sync::Arc;
use taskpass_broker::Caller;
use taskpass_net::Peer;
use taskpass_types::{Reason, Refusal};
use tonic::{Extensions, Status};

impl Api {
    /// The caller behind a request: its connection's evidence, verified lately, and what it is registered as.
    pub(crate) async fn caller(&self, extensions: &Extensions) -> Result<Arc<Caller>, Status> {
        let peer = extensions.get::<Peer>().ok_or_else(|| {
            status(&Refusal::new(Reason::AttestationInvalid, "the connection has no identity"))
        })?;
        self.caller_of(peer).await
    }

    /// The same of its connection.
    pub(crate) async fn caller_of(&self, peer: &Peer) -> Result<Arc<Caller>, Status> {
        self.attested(peer).await.map_err(|refusal| status(&refusal))
    }

    /// The caller behind a connection. Who is nobody is refused, and that is written down.
    pub(crate) async fn attested(&self, peer: &Peer) -> Result<Arc<Caller>, Refusal> {
        let identity = peer.attested(self.clock.now()).await;
        let identity = identity.inspect_err(|refusal| self.broker.refused_peer(peer.remote(), refusal))?;
        self.broker.caller(&identity)
    }

    /// Runs a use case to its end even if the caller hangs up.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<T, Status> {
        self.broker.detached(work).await.map_err(|refusal| status(&refusal))
    }

    /// Writes down what was refused before any use case began, and makes a status of it.
    pub(crate) fn refuse(&self, caller: &Caller, refusal: &Refusal) -> Status {
        self.broker.refused(caller, refusal, |event| event);
        status(refusal)
    }
}
