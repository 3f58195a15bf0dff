//! The load generator: `load suite`, or `load run --help`.

use clap::Parser as _;
use mimalloc::MiMalloc;
use taskpass_bench::command::Load;

/// The broker's, so that the echo is not slower by another one.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let interrupted = async { anyhow::Ok(tokio::signal::ctrl_c().await?) };
    // Whichever ends first: dropping the other ends the children that it started.
    tokio::select! {
        done = Load::parse().run() => done,
        stopped = interrupted => stopped,
    }
}
