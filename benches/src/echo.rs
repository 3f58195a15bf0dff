//! The bare echo: what the transport alone costs. Same listener, TLS and HTTP/2 settings as the broker, messages of the
//! same sizes, and nothing in between.

use crate::{drive::Slot, world::TRUST_DOMAIN};
use bytes::Bytes;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use std::{convert::Infallible, future::Future, net::Ipv4Addr, path::Path, pin::Pin, sync::Arc};
use taskpass_attest::spiffe::{Authority, Bundle, Bundles, X509Attestor};
use taskpass_net::{Acceptor, ClientAuth, Drain, Limits, Protocol, ServerCertificate, Tls, listen_tcp};
use taskpass_types::{SystemClock, TrustDomain};
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
    transport::{Channel, Server},
};
use tonic_prost::ProstCodec;

const PATH: &str = "/taskpass.bench.Echo/Call";

/// What is sent.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Ask {
    /// How many bytes to send back.
    #[prost(uint32, tag = "1")]
    pub answer: u32,
    /// What makes the message as long as it is to be.
    #[prost(bytes = "bytes", tag = "2")]
    pub padding: Bytes,
}

/// What comes back.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Answer {
    /// As many bytes as were asked for.
    #[prost(bytes = "bytes", tag = "1")]
    pub padding: Bytes,
}

/// Message sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Sizes {
    /// Of the request.
    pub ask: usize,
    /// Of the answer.
    pub answer: usize,
}

/// One caller of the echo.
pub struct EchoSlot {
    client: tonic::client::Grpc<Channel>,
    ask: Ask,
}

impl EchoSlot {
    /// Calls over `channel` with messages of `sizes`.
    pub fn new(channel: Channel, sizes: Sizes) -> anyhow::Result<Self> {
        // Tags, lengths and the number take the rest.
        let padding = Bytes::from(vec![0x5a; sizes.ask.saturating_sub(6)]);
        let answer = u32::try_from(sizes.answer.saturating_sub(3))?;
        Ok(Self { client: tonic::client::Grpc::new(channel), ask: Ask { answer, padding } })
    }
}

impl Slot for EchoSlot {
    async fn call(&mut self) -> anyhow::Result<()> {
        self.client.ready().await?;
        let path = http::uri::PathAndQuery::from_static(PATH);
        let codec = ProstCodec::<Ask, Answer>::default();
        let _: Response<Answer> = self.client.unary(Request::new(self.ask.clone()), path, codec).await?;
        Ok(())
    }
}

#[derive(Clone)]
struct Echo;

impl UnaryService<Ask> for Echo {
    type Response = Answer;
    type Future = std::future::Ready<Result<Response<Answer>, Status>>;

    fn call(&mut self, request: Request<Ask>) -> Self::Future {
        let length = usize::try_from(request.get_ref().answer).unwrap_or(0).min(1 << 16);
        std::future::ready(Ok(Response::new(Answer { padding: Bytes::from(vec![0x5a; length]) })))
    }
}

impl NamedService for Echo {
    const NAME: &'static str = "taskpass.bench.Echo";
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let codec = ProstCodec::<Answer, Ask>::default();
            Ok(Grpc::new(codec).unary(Self, request).await)
        })
    }
}

/// Serves the echo on `port` with the files of a [`World`](crate::world::World) until the process is ended.
pub async fn serve(dir: &Path, port: u16) -> anyhow::Result<()> {
    let bundle = CertificateDer::from_pem_file(dir.join("bundle.pem"))?;
    let bundle = Bundle::new(vec![Authority::from_der(&bundle)?]);
    let bundles = Bundles::new([(TrustDomain::new(TRUST_DOMAIN)?, bundle)]);
    let attestor = Arc::new(X509Attestor::new(bundles));
    let drain = Drain::new();
    let acceptor = Acceptor::new(attestor, Arc::new(SystemClock::default()), Limits::default(), drain);
    let certificate = ServerCertificate::from_pem_files(&dir.join("server.pem"), &dir.join("server.key"))?;
    let tls = Tls::new(certificate, ClientAuth::Required, Protocol::Http2)?;
    let incoming = acceptor.tls(listen_tcp((Ipv4Addr::LOCALHOST, port).into())?, tls);
    Server::builder().max_concurrent_streams(128).add_service(Echo).serve_with_incoming(incoming).await?;
    Ok(())
}
