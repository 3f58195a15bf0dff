//! The accept loops.

use crate::{
    Connection, Connections, Drain, Limits, Peer, Tls, UnixSocket,
    admission::{Admission, Place},
    guard::guard,
    transport::{Accepted, Established, TcpTransport, TlsTransport, Transport},
};
use futures::Stream;
use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use taskpass_attest::Attestor;
use taskpass_types::Clock;
use tokio::{
    net::{TcpListener, TcpStream, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::server::TlsStream;

/// How many connections wait for the server to take them.
const READY: usize = 64;
/// The first and the longest pause after a failed accept (no descriptors left, no memory).
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Accepts connections for one server. Its listeners share the limits, the attestor and the drain.
#[derive(Clone)]
pub struct Acceptor(Arc<Shared>);

struct Shared {
    attestor: Arc<dyn Attestor>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    drain: Drain,
    connections: Connections,
    admission: Arc<Admission>,
    handshakes: Arc<Semaphore>,
}

impl Acceptor {
    /// An acceptor without listeners.
    pub fn new(attestor: Arc<dyn Attestor>, clock: Arc<dyn Clock>, limits: Limits, drain: Drain) -> Self {
        let handshakes = Arc::new(Semaphore::new(limits.handshakes.clamp(1, Semaphore::MAX_PERMITS)));
        let (connections, admission) = (Connections::default(), Arc::default());
        Self(Arc::new(Shared { attestor, clock, limits, drain, connections, admission, handshakes }))
    }

    /// The connections that are open now, of all listeners.
    pub fn connections(&self) -> &Connections {
        &self.0.connections
    }

    /// Serves TLS over TCP; call it inside the runtime.
    pub fn tls(&self, listener: TcpListener, tls: Tls) -> Incoming<TlsStream<TcpStream>> {
        self.listen(TlsTransport { listener, tls })
    }

    /// Serves bare TCP, for public documents only: its peers have no evidence and [`Peer::attested`] refuses them.
    pub fn tcp(&self, listener: TcpListener) -> Incoming<TcpStream> {
        self.listen(TcpTransport { listener })
    }

    /// Serves a Unix socket; call it inside the runtime.
    pub fn unix(&self, socket: UnixSocket) -> Incoming<UnixStream> {
        self.listen(socket)
    }

    fn listen<T: Transport>(&self, transport: T) -> Incoming<T::Io> {
        let (sender, ready) = mpsc::channel(READY);
        let drain = &self.0.drain;
        let (stopping, abandoned) = (drain.stopping(), sender.clone());
        let accepting = accept(self.0.clone(), Arc::new(transport), sender);
        drain.tasks().spawn(async move {
            tokio::select! {
                () = stopping => {}
                () = abandoned.closed() => {}
                () = accepting => {}
            }
        });
        Incoming { ready }
    }
}

/// Established connections, for `tonic`'s `serve_with_incoming_shutdown`. It ends when the drain
/// begins; dropping it closes the listener.
pub struct Incoming<IO> {
    ready: mpsc::Receiver<Connection<IO>>,
}

impl<IO> Stream for Incoming<IO> {
    type Item = io::Result<Connection<IO>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(context).map(|connection| connection.map(Ok))
    }
}

impl<IO> fmt::Debug for Incoming<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Incoming")
    }
}

/// Accepts for ever: an error is a reason to pause, never to leave.
async fn accept<T: Transport>(
    shared: Arc<Shared>,
    transport: Arc<T>,
    ready: mpsc::Sender<Connection<T::Io>>,
) {
    let mut pause = PAUSE.0;
    loop {
        // Closed never; and without a slot nobody is accepted.
        let Ok(slot) = shared.handshakes.clone().acquire_owned().await else { return };
        match transport.accept().await {
            Ok(accepted) => {
                pause = PAUSE.0;
                admit(&shared, &transport, accepted, slot, &ready);
            }
            Err(error) => {
                metrics::counter!("taskpass_accept_errors_total").increment(1);
                tracing::warn!(%error, ?pause, "accept failed");
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
}

fn admit<T: Transport>(
    shared: &Arc<Shared>,
    transport: &Arc<T>,
    accepted: Accepted<T::Raw>,
    slot: OwnedSemaphorePermit,
    ready: &mpsc::Sender<Connection<T::Io>>,
) {
    match shared.admission.admit(accepted.source, &shared.limits) {
        Ok(place) => {
            let serving = serve(shared.clone(), transport.clone(), accepted, place, slot, ready.clone());
            shared.drain.tasks().spawn(serving);
        }
        Err(full) => {
            metrics::counter!("taskpass_connections_refused_total", "limit" => full.as_str()).increment(1);
            tracing::debug!(remote = accepted.remote, limit = full.as_str(), "connection refused");
        }
    }
}

/// One connection from its first byte to its last: handshake, attestation, hand-over, guard.
async fn serve<T: Transport>(
    shared: Arc<Shared>,
    transport: Arc<T>,
    accepted: Accepted<T::Raw>,
    mut place: Place,
    slot: OwnedSemaphorePermit,
    ready: mpsc::Sender<Connection<T::Io>>,
) {
    let Accepted { raw, remote, .. } = accepted;
    let limits = &shared.limits;
    let establishing = async {
        let Established { io, evidence } = transport.establish(raw).await?;
        let kill = shared.drain.kill_token();
        let peer = Peer::new(remote.as_str(), evidence, shared.attestor.clone(), limits.reattest_after, kill);
        let attested = peer.attested(shared.clock.now()).await;
        io::Result::Ok((io, peer, attested.map(drop)))
    };
    let established = tokio::select! {
        () = shared.drain.stopping() => return,
        established = timeout(limits.handshake_timeout, establishing) => established,
    };
    let (io, peer, attested) = match established {
        Ok(Ok(established)) => established,
        Ok(Err(error)) => return failed(&remote, "failed", &error),
        Err(elapsed) => return failed(&remote, "timeout", &elapsed),
    };
    drop(transport);
    place.establish();
    let (connection, watch) = Connection::new(io, peer, shared.connections.clone(), place);
    tokio::select! {
        () = watch.peer.kill_token().cancelled() => return,
        sent = ready.send(connection) => if sent.is_err() { return },
    }
    drop((slot, ready));
    guard(watch, attested, limits, shared.clock.as_ref()).await;
}

fn failed(remote: &str, why: &'static str, error: &dyn fmt::Display) {
    metrics::counter!("taskpass_handshakes_failed_total", "why" => why).increment(1);
    tracing::debug!(remote, why, %error, "handshake failed");
}
