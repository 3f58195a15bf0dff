//! Bad servers, bad cables and bad records, one at a time: a typed error, nothing granted that was not confirmed, an answer
//! to every end, and all goes on within 5 s of the cause being gone.
//!
//! The kill campaign draws such faults by chance and under load; here each is made exactly, so that what is seen of it can
//! be said exactly.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod cluster;
mod damage;
mod foreign;
mod loss;
mod records;
mod refusals;
mod silence;
mod together;
mod world;
