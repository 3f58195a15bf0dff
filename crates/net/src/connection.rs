//! A byte stream that ends when its peer is killed.

use crate::{Connections, Peer, admission::Place};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

/// An accepted connection: an I/O object and its [`Peer`]. Reads and writes fail as soon as the peer is killed, those
/// that wait already included; that is how a kill reaches open HTTP/2 streams.
pub struct Connection<IO> {
    io: IO,
    peer: Peer,
    killed: Pin<Box<WaitForCancellationFutureOwned>>,
    heard: Arc<AtomicBool>,
    _closing: Closing,
}

/// What happens when a connection is dropped: it leaves the registry, its guard ends, its place is free.
struct Closing {
    peer: Peer,
    connections: Connections,
    closed: CancellationToken,
    _place: Place,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.connections.remove(self.peer.id());
        self.closed.cancel();
    }
}

/// The outside view of a connection, for its guard.
pub(crate) struct Watch {
    pub(crate) peer: Peer,
    /// Set by every read that brought something.
    pub(crate) heard: Arc<AtomicBool>,
    /// Cancelled when the connection is dropped.
    pub(crate) closed: CancellationToken,
}

impl<IO> Connection<IO> {
    pub(crate) fn new(io: IO, peer: Peer, connections: Connections, place: Place) -> (Self, Watch) {
        let (heard, closed) = (Arc::new(AtomicBool::new(true)), CancellationToken::new());
        connections.insert(&peer);
        let closing = Closing { peer: peer.clone(), connections, closed: closed.clone(), _place: place };
        let killed = Box::pin(peer.kill_token().clone().cancelled_owned());
        let watch = Watch { peer: peer.clone(), heard: heard.clone(), closed };
        (Self { io, peer, killed, heard, _closing: closing }, watch)
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Fails once the peer is killed; else remembers to wake this task when it is.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.killed.as_mut().poll(context) {
            Poll::Ready(()) => {
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was killed"))
            }
            Poll::Pending => Ok(()),
        }
    }
}

impl<IO> Connected for Connection<IO> {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Connection<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(context)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.io).poll_read(context, buffer);
        if buffer.filled().len() > before {
            this.heard.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Connection<IO> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check(context)?;
        Pin::new(&mut this.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check(context)?;
        Pin::new(&mut this.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(context)?;
        Pin::new(&mut this.io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(context)?;
        Pin::new(&mut this.io).poll_shutdown(context)
    }
}
