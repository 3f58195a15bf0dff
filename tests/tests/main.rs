//! The stories: what Taskpass promises, told with real processes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod assertions;
mod bad_config;
mod bad_disk;
mod bad_identity;
mod bad_requests;
mod canary;
mod channels;
mod cli;
mod crash;
mod death;
mod delegation;
mod faces;
mod fleet;
mod guard_envoy;
mod guard_nginx;
mod intent;
mod kills;
mod main_road;
mod receipts;
mod sandbox;
mod seal;
mod servers_nginx;
mod servers_postgresql;
mod services;
