//! The life of tasks and leases as a pure state machine: `step(view, event, now) -> effects`.
//!
//! No I/O, no async, no clock: a store loads a [`View`], calls [`step()`] inside its own serialised transaction and saves
//! the [`Effects`]. Every rule about what may live, for how long, and what ends it, is here and nowhere else.
//!
//! Invariants (named as in the design; `tests/model.rs` holds them against random histories):
//! - I2: a child's scopes and deadline are within its parent's; a lease is within its task; a credential ends with the
//!   earliest of its TTL, the policy's limit, the kind's limit, the evidence and the task.
//! - I3: one request id, one task or lease; a repeat after the end says *ended*.
//! - I5: an end is final: nothing is issued, renewed or revived under it, whatever `now` says.
//! - I13: a renewal is decided anew and never passes the task's deadline.

mod effects;
mod event;
mod lease;
mod limits;
mod plan;
mod settle;
mod start;
mod step;
mod task;
mod view;

pub use effects::{Effects, Ended, HoldChange, Outcome, Settled};
pub use event::{
    EndLease, EndTask, Event, Fence, Heartbeat, PlanLease, ReleaseHold, RenewLease, Request, StartTask,
};
pub use lease::{Lease, LeaseState};
pub use limits::Limits;
pub use step::step;
pub use task::{End, Task, TaskState};
pub use view::{Hold, HoldKey, RequestKey, RequestRecord, RequestTarget, View};
