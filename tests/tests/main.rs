//! The stories: what Taskpass promises, told with real processes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod bad_identity;
mod death;
mod main_road;
