//! Starts the library: everything is there.

use std::process::ExitCode;

fn main() -> ExitCode {
    taskpass_cli::run()
}
