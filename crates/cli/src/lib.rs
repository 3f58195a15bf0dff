//! The one binary, `taskpass`: the broker and everything that its users type.

pub mod config;
pub mod span;
