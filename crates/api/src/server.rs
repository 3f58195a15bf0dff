//! All services on one connection, with the limits that the transport leaves to us.

use crate::{Api, errors, oauth};
use std::time::Duration;
use taskpass_net::{Connection, Incoming, Peer};
use taskpass_proto::{
    DESCRIPTORS,
    v1::{
        agent_service_server::AgentServiceServer, approval_service_server::ApprovalServiceServer,
        audit_service_server::AuditServiceServer, credential_service_server::CredentialServiceServer,
        kill_service_server::KillServiceServer, lease_service_server::LeaseServiceServer,
        policy_service_server::PolicyServiceServer, revocation_service_server::RevocationServiceServer,
        task_service_server::TaskServiceServer, tool_service_server::ToolServiceServer,
    },
};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::{
    service::Routes,
    transport::{Server, server::Connected},
};

/// What one connection and one message may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiLimits {
    /// The largest message that is read, in bytes.
    pub message: usize,
    /// Calls at a time on one connection.
    pub streams: u32,
    /// How long a call may take until its answer begins.
    pub call: Duration,
}

impl Default for ApiLimits {
    /// 64 KiB, 128 calls, 10 s.
    fn default() -> Self {
        Self { message: 64 * 1024, streams: 128, call: Duration::from_secs(10) }
    }
}

/// How often a silent connection is asked whether it lives, and how long it has to answer.
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_PATIENCE: Duration = Duration::from_secs(10);
/// When a connection is told to come again (GOAWAY), so that it is not cut in the middle of a call: before the acceptor's
/// own limit of an hour. No grace is given on purpose: with one, tonic cuts instead of telling.
const CONNECTION_AGE: Duration = Duration::from_secs(50 * 60);
/// The largest header list of a request.
const HEADERS: u32 = 16 * 1024;

/// All services, health and reflection included, and the OAuth endpoints whose clients are attested as gRPC callers are.
///
/// # Errors
/// When the compiled descriptors cannot be read, which a test rules out.
pub async fn routes(api: &Api, limits: &ApiLimits) -> Result<Routes, tonic_reflection::server::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<TaskServiceServer<Api>>().await;
    health.set_serving::<CredentialServiceServer<Api>>().await;
    health.set_serving::<RevocationServiceServer<Api>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let size = limits.message;
    let routes = Routes::new(AgentServiceServer::new(api.clone()).max_decoding_message_size(size))
        .add_service(ApprovalServiceServer::new(api.clone()).max_decoding_message_size(size))
        .add_service(AuditServiceServer::new(api.clone()).max_decoding_message_size(size))
        .add_service(CredentialServiceServer::new(api.clone()).max_decoding_message_size(size))
        .add_service(KillServiceServer::new(api.clone()).max_decoding_message_size(size))
        .add_service(LeaseServiceServer::new(api.clone()).max_decoding_message_size(size))
        .add_service(PolicyServiceServer::new(api.clone()).max_decoding_message_size(size))
        .add_service(RevocationServiceServer::new(api.clone()).max_decoding_message_size(size))
        .add_service(TaskServiceServer::new(api.clone()).max_decoding_message_size(size))
        .add_service(ToolServiceServer::new(api.clone()).max_decoding_message_size(size))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    let layer = axum::middleware::from_fn_with_state(api.clone(), errors::complete);
    Ok(Routes::from(routes.into_axum_router().layer(layer).merge(oauth::router(api))))
}

/// Serves `routes` on attested connections until the drain begins, and then until the last call has ended.
///
/// # Errors
/// When the transport fails as a whole; single connections do not end it.
pub async fn serve<IO>(
    api: &Api,
    routes: Routes,
    limits: &ApiLimits,
    incoming: Incoming<IO>,
) -> Result<(), tonic::transport::Error>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    Connection<IO>: Connected<ConnectInfo = Peer>,
{
    Server::builder()
        // For the OAuth endpoints, whose clients often speak nothing newer; gRPC needs HTTP/2.
        .accept_http1(true)
        .max_concurrent_streams(limits.streams)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_PATIENCE))
        .http2_max_header_list_size(HEADERS)
        .max_connection_age(CONNECTION_AGE)
        .timeout(limits.call)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, api.drain.stopping())
        .await
}
