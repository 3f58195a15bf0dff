//! A verifier for servers that have no library of ours: beside nginx it answers `auth_request`, beside Envoy it is the
//! external authorization service.
//!
//! [`Guard`] asks `taskpass-verify` about each request: the same checks, the same deny feed, the same words as in a server
//! that has the library. [`Guard::serve`] answers on Unix sockets and TCP addresses: `GET /verify` for nginx
//! (`ngx_http_auth_request_module`), `envoy.service.auth.v3.Authorization/Check` for Envoy, `/livez`, `/readyz` and
//! `grpc.health.v1.Health/Check`, and `/metrics` for who is given a recorder.
//!
//! Invariants:
//! - Nothing but an accepted credential is answered as accepted; without the feed nothing is (I7).
//! - Who terminates TLS says which certificate the client presented. That is believed only from this machine: on a Unix
//!   socket or on a loopback address.
//! - Of a request only its credential and the action that the proxy demands are looked at, so nothing else that a client
//!   sends can change the form of the answer.
//! - Connections, headers and messages are bounded; nothing panics on input (I11, I14).

mod certificate;
mod envoy;
mod facts;
mod health;
mod judge;
mod nginx;
mod serve;

pub use judge::{Guard, Metrics};
pub use serve::{Limits, Listener};
