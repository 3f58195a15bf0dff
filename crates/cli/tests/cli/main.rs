//! The program as users run it, against a whole broker on a real socket.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic"
)]

mod approvals;
mod commands;
mod exec;
mod policies;
mod stores;
mod support;
