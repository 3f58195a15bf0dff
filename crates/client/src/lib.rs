//! For agents and orchestrators: declare a task, lease credentials under it, and have all of it die when the task is
//! done.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use taskpass_client::{Broker, Endpoint};
//! # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = Broker::connect(&Endpoint::unix("/run/taskpass.sock")).await?;
//! let task = broker.task("nightly report").scope("s3/reports:put").heartbeat(Duration::from_secs(10)).start().await?;
//! let lease = task.lease("s3/reports").action("put").ttl(Duration::from_secs(60)).token().await?;
//! let token = lease.token()?; // fresh at every call: the guard renews it
//! # let _ = token;
//! task.complete().await?; // here every lease under the task dies
//! # Ok(())
//! # }
//! ```
//!
//! - [`Endpoint`] says where the broker is and who we are to it.
//! - [`Broker`] has its calls, repeated when that is safe.
//! - [`Task`] and [`Lease`] are guards: they show life and renew by themselves, and stop when they are dropped.
//!
//! Invariants: a repeated call carries the same request id; a private key never leaves the process; no type that holds
//! a secret can be printed; dropping a [`Task`] ends it.

mod aging;
mod approvals;
mod broker;
mod connect;
mod credential;
mod endpoint;
mod error;
mod lease;
mod policies;
mod renew;
mod retry;
mod task;
mod tls;
mod tools;

pub use broker::Broker;
pub use credential::{Certificate, Credential, Token};
pub use endpoint::{Endpoint, EndpointError};
pub use error::Error;
pub use lease::{Lease, LeaseBuilder, LeaseState};
pub use policies::Plan;
pub use task::{Task, TaskBuilder};
pub use tls::{Pem, Tls};
pub use tools::Arguments;
