//! The life of tasks and leases as a pure state machine: `step(view, event, now) -> effects`.
//!
//! No I/O, no async, no clock: a store loads a [`View`], calls [`step()`] inside its own serialised transaction and saves
//! the [`Effects`]. Every rule about what may live, for how long, and what ends it, is here and nowhere else.
//!
//! Invariants (named as in the design; `tests/model` holds them against random histories):
//! - I2: a child's scopes and deadline are within its parent's; a lease is within its task; a credential ends with the
//!   earliest of its TTL, the policy's limit, the kind's limit, the evidence, the cut and the task.
//! - I3: one request id, one task or lease; a repeat after the end says *ended*.
//! - I5: an end is final: nothing is issued, renewed or revived under it, whatever `now` says.
//! - I13: a renewal is decided anew and never passes the task's deadline.
//! - What policy ties a permission to is checked and counted in the step that uses it: a budget holds exactly for the whole
//!   tree of a task, and an approval permits exactly what was approved, once, and nothing after a *no*.

mod approval;
mod ask;
mod calls;
mod consent;
mod cut;
mod effects;
mod event;
mod fleet;
mod followers;
mod lease;
mod limits;
mod obligations;
mod plan;
mod policies;
mod settle;
mod start;
mod step;
mod task;
mod view;
mod wide;

pub use approval::{Approval, ApprovalState, Quorum, Verdict, Vote};
pub use ask::{CastVote, RequestApproval};
pub use calls::{CallTool, CallWindow, HoldTask};
pub use consent::ApprovalUse;
pub use cut::{Cut, CutLease};
pub use effects::{Effects, Ended, HoldChange, Outcome, Settled};
pub use event::{
    EndLease, EndTask, Event, Fence, Heartbeat, PlanLease, ReleaseHold, RenewLease, Request, StartTask,
};
pub use fleet::{DenyKeys, Duty, ShareKeys, SharedKeys, TakeTurn, Turn};
pub use followers::{Follower, Followers, ShareFollowers};
pub use lease::{Lease, LeaseState};
pub use limits::Limits;
pub use policies::{PolicyOrigin, PolicySet, PolicySetInfo, SetPolicies};
pub use step::{VERIFIER_LEEWAY, step};
pub use task::{End, Task, TaskState};
pub use view::{Hold, HoldKey, RequestKey, RequestRecord, RequestTarget, View};
pub use wide::{Bar, BarWide, Bars, HeldFor, ReleaseWide, Wide, WideHold};
