//! The three ways in: TLS over TCP, bare TCP, a Unix socket.

use crate::{Tls, UnixSocket, admission::Source};
use std::{
    future::{Future, ready},
    io,
    net::SocketAddr,
};
use taskpass_attest::{Evidence, unix::UnixPeer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream, UnixStream},
};
use tokio_rustls::server::TlsStream;

/// How many connections wait in the kernel until they are accepted. Above it the kernel drops them in silence: clients
/// that came in one burst, as after a restart, would wait seconds for its retry.
pub(crate) const BACKLOG: u32 = 1024;

/// Listens on a TCP address, with a backlog that takes a burst of reconnecting clients (`TcpListener::bind` has 128
/// places). Call it inside the runtime.
pub fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A listener, and what turns an accepted socket into a connection.
pub(crate) trait Transport: Send + Sync + 'static {
    /// An accepted socket; nothing was read from it.
    type Raw: Send + 'static;
    /// The bytes inside.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next socket.
    fn accept(&self) -> impl Future<Output = io::Result<Accepted<Self::Raw>>> + Send;

    /// Shakes hands. The caller bounds how long.
    fn establish(&self, raw: Self::Raw) -> impl Future<Output = io::Result<Established<Self::Io>>> + Send;
}

/// A socket, whom to charge it to, and its other end for people to read.
pub(crate) struct Accepted<Raw> {
    pub(crate) raw: Raw,
    pub(crate) source: Source,
    pub(crate) remote: String,
}

/// What a handshake gave.
pub(crate) struct Established<Io> {
    pub(crate) io: Io,
    pub(crate) evidence: Option<Evidence>,
}

/// TLS over TCP.
pub(crate) struct TlsTransport {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Tls,
}

impl Transport for TlsTransport {
    type Raw = TcpStream;
    type Io = TlsStream<TcpStream>;

    async fn accept(&self) -> io::Result<Accepted<TcpStream>> {
        self.listener.accept().await.map(of_tcp)
    }

    async fn establish(&self, raw: TcpStream) -> io::Result<Established<Self::Io>> {
        raw.set_nodelay(true)?;
        let io = self.tls.acceptor.accept(raw).await?;
        let chain = io.get_ref().1.peer_certificates();
        let evidence =
            chain.map(|chain| Evidence::X509(chain.iter().map(|one| one.clone().into_owned()).collect()));
        Ok(Established { io, evidence })
    }
}

/// Bare TCP, for a listener that serves public documents behind something else's TLS or on the loopback.
pub(crate) struct TcpTransport {
    pub(crate) listener: TcpListener,
}

impl Transport for TcpTransport {
    type Raw = TcpStream;
    type Io = TcpStream;

    async fn accept(&self) -> io::Result<Accepted<TcpStream>> {
        self.listener.accept().await.map(of_tcp)
    }

    fn establish(&self, raw: TcpStream) -> impl Future<Output = io::Result<Established<TcpStream>>> + Send {
        ready(raw.set_nodelay(true).map(|()| Established { io: raw, evidence: None }))
    }
}

fn of_tcp((raw, address): (TcpStream, SocketAddr)) -> Accepted<TcpStream> {
    Accepted { raw, source: Source::of_ip(address.ip()), remote: address.to_string() }
}

impl Transport for UnixSocket {
    type Raw = (UnixStream, UnixPeer);
    type Io = UnixStream;

    /// The peer is read here and now: the sooner, the surer that its process still exists.
    async fn accept(&self) -> io::Result<Accepted<Self::Raw>> {
        loop {
            let stream = self.accept_stream().await?;
            match UnixPeer::from_stream(&stream) {
                Ok(peer) => {
                    let remote = format!("unix pid={} uid={}", peer.pid(), peer.uid());
                    return Ok(Accepted { source: Source::User(peer.uid()), remote, raw: (stream, peer) });
                }
                Err(refusal) => tracing::warn!(?refusal, "a caller on the Unix socket cannot be identified"),
            }
        }
    }

    fn establish(
        &self,
        (io, peer): Self::Raw,
    ) -> impl Future<Output = io::Result<Established<UnixStream>>> + Send {
        ready(Ok(Established { io, evidence: Some(Evidence::Unix(peer)) }))
    }
}
