//! Connections that end with the credential that opened them.
//!
//! A TLS session proves a certificate once, and then lasts: HTTP/1.1 keeps it alive, HTTP/2 puts any number of requests and
//! streams on it, an upgraded one leaves HTTP altogether. So the stream itself is guarded, below all of them. Invariant:
//! once a certificate that was good is not good any more, no byte goes through its connection, in either direction, and
//! whoever waits to read from it is told at once.

use crate::{Granted, Rejected, Verifier, keys::Keys};
use rustls_pki_types::CertificateDer;
use std::{
    fmt,
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// The certificates that the TLS client presented, leaf first. The server puts them into each request's extensions,
/// after the handshake has proved that the client holds the leaf's key; nobody else may.
#[derive(Clone, Debug, Default)]
pub struct PeerCertificates(pub Vec<CertificateDer<'static>>);

impl Verifier {
    /// Guards the connection of a TLS client that presented `peer`: as soon as that certificate is no longer good, the
    /// connection ends with [`io::ErrorKind::ConnectionAborted`].
    ///
    /// A client whose certificate was never good is let through: its requests are answered with the reason, and it may
    /// bring a token that is bound to it. So every request has to be checked as well, for example by
    /// [`Verifier::layer`](crate::layer).
    pub fn guard<S>(&self, stream: S, peer: PeerCertificates) -> Guarded<S> {
        Guarded { stream, peer, verifier: self.clone(), judged: None, watch: None }
    }
}

/// A connection that ends with its certificate; made by [`Verifier::guard`].
pub struct Guarded<S> {
    stream: S,
    peer: PeerCertificates,
    verifier: Verifier,
    /// By these keys the certificate is not good, for a reason that does not pass by itself.
    judged: Option<Arc<Keys>>,
    watch: Option<Watch>,
}

impl<S> fmt::Debug for Guarded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("watched", &self.watch.is_some()).finish_non_exhaustive()
    }
}

impl<S> Guarded<S> {
    /// What the client presented, for the extensions of its requests.
    pub fn peer(&self) -> &PeerCertificates {
        &self.peer
    }

    /// Begins to watch the certificate once it is good: it may have come before the feed, or before its authority.
    fn begin(&mut self) {
        if self.watch.is_some() || self.peer.0.is_empty() {
            return;
        }
        let keys = self.verifier.keys();
        if let (Some(judged), Some(keys)) = (&self.judged, &keys)
            && Arc::ptr_eq(judged, keys)
        {
            return;
        }
        match self.verifier.judge_certificate(&self.peer.0) {
            Ok(granted) => self.watch = Some(Watch::new(&self.verifier, granted)),
            Err(Rejected::FeedStale { .. } | Rejected::NotReady) => {}
            Err(_) => self.judged = keys,
        }
    }

    fn still_good(&mut self) -> io::Result<()> {
        self.begin();
        self.watch.as_ref().map_or(Ok(()), Watch::still_good).map_err(aborted)
    }
}

fn aborted(rejected: Rejected) -> io::Error {
    tracing::info!(code = rejected.code(), %rejected, "closing a connection");
    io::Error::new(io::ErrorKind::ConnectionAborted, rejected)
}

/// Something that lasts and the grant that it rests on.
pub(crate) struct Watch {
    verifier: Verifier,
    granted: Granted,
    /// Begun when somebody waits.
    denied: Option<Pin<Box<dyn Future<Output = Rejected> + Send>>>,
}

impl Watch {
    pub(crate) fn new(verifier: &Verifier, granted: Granted) -> Self {
        Self { verifier: verifier.clone(), granted, denied: None }
    }

    pub(crate) fn still_good(&self) -> Result<(), Rejected> {
        self.verifier.recheck(&self.granted)
    }

    /// Wakes whoever waits when the grant is no longer good.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Rejected> {
        let denied = self.denied.get_or_insert_with(|| Box::pin(self.verifier.denied(&self.granted)));
        let rejected = std::task::ready!(denied.as_mut().poll(context));
        // It has come to its end, and must not be asked again.
        self.denied = None;
        Poll::Ready(rejected)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.still_good()?;
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_pending()
            && let Some(watch) = &mut self.watch
            && let Poll::Ready(rejected) = watch.poll(context)
        {
            return Poll::Ready(Err(aborted(rejected)));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.still_good()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.still_good()?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.still_good()?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// tonic puts the certificates into the extensions of every request.
impl<S> Connected for Guarded<S> {
    type ConnectInfo = PeerCertificates;

    fn connect_info(&self) -> PeerCertificates {
        self.peer.clone()
    }
}
