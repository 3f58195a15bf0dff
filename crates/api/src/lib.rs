//! The faces of the broker: gRPC services on attested connections, and an HTTP listener for what anyone may read.
//!
//! Nothing is decided here: a call is parsed, handed to the broker and its answer translated. Invariants: every error
//! carries exactly one `google.rpc.ErrorInfo`; a caller that hangs up does not stop what it began; what a caller may see
//! of an error is the refusal's message, never its context.

mod call;
mod channels;
mod convert;
mod errors;
mod http_face;
mod ids;
mod oauth;
mod server;
mod service;
mod status;

pub use channels::Places;
pub use http_face::{HttpFace, MetricsRender, serve_open};
pub use server::{ApiLimits, routes, serve};
pub use status::{DOMAIN, status};

use std::sync::Arc;
use taskpass_attest::Clients;
use taskpass_audit::AuditLog;
use taskpass_broker::Broker;
use taskpass_net::Drain;
use taskpass_types::Clock;

/// What the services need. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// The use cases.
    pub broker: Broker,
    /// For those who read the log.
    pub audit: Arc<AuditLog>,
    /// Who may sign assertions at the OAuth endpoints.
    pub clients: Arc<Clients>,
    /// What the endpoints are called from outside.
    pub places: Arc<Places>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ends streams when the server stops.
    pub drain: Drain,
}
