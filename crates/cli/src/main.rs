//! Starts the library: everything is there.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// What one thread of the broker makes another one frees; the system's allocator spends a sixth of an exchange on that.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    taskpass_cli::run()
}
