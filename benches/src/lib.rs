//! Measures Taskpass from outside: a real broker in a process of its own, real mTLS on the loopback, and in the same run
//! a bare echo over the same transport, so that figures of different machines can be compared as ratios.
//!
//! Invariants: bounded in calls and time; only children that this process started are ended; nothing is left on disk.

pub mod authority;
pub mod channels;
pub mod clock;
pub mod command;
pub mod death;
pub mod drift;
pub mod drive;
pub mod echo;
pub mod exchange;
pub mod fixtures;
pub mod fleet;
pub mod offline;
pub mod process;
pub mod report;
pub mod startup;
pub mod suite;
pub mod verifiers;
pub mod world;
