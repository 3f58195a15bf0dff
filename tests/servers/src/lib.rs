//! Real servers for tests: Redis and Valkey, alone, with replicas, watched by Sentinels, as a Cluster; and servers that check
//! client certificates by themselves, or ask the guard: nginx, PostgreSQL, Envoy.
//!
//! A store that claims to survive kills, failovers and cut cables is only proved by servers that really die. So:
//!
//! - Nothing here is a fake. A server that is not installed is a failure that names its fix, never a skipped test.
//! - Everything listens on free ports of 127.0.0.1 and writes below a temporary directory of its own.
//! - Dropping a value kills the processes it started, those only, and removes their files.
//! - Whoever waits, waits for an event with a deadline, and the panic of a missed deadline says for what.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness may panic: its caller is a test"
)]

mod cluster;
mod envoy;
mod nginx;
mod options;
mod postgres;
mod program;
mod proxy;
mod replicated;
mod resp;
mod sentinels;
mod server;

mod tls;
mod wait;

pub use cluster::Cluster;
pub use envoy::Envoy;
pub use nginx::Nginx;
pub use options::Options;
pub use postgres::Postgres;
pub use program::{Kind, program};
pub use proxy::Proxy;
pub use replicated::Replicated;
pub use resp::Reply;
pub use sentinels::Sentinels;
pub use server::Server;
pub use wait::{free_port, until};
