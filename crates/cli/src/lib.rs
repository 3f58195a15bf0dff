//! The one binary, `taskpass`: the broker and everything that its users type.

pub mod compose;
pub mod config;
pub mod metrics;
pub mod span;
