//! The one binary, `taskpass`: the broker and everything that its users type.
//!
//! `compose` is the only place that names adapters and puts a broker together; a file in `commands` is one command,
//! thin; `output`, `view` and `error` decide what people and programs see, and are a contract (see
//! `taskpass help exit-codes`); `connect` and `context` find the broker.

mod args;
mod commands;
pub mod compose;
pub mod config;
mod connect;
pub mod context;
pub mod demo;
pub mod dev;
mod error;
mod exit;
mod logging;
pub mod metrics;
mod output;
pub mod sandbox;
mod session;
pub mod span;
mod view;

use clap::Parser as _;
use commands::Cli;
use output::Output;
use session::Session;
use std::process::ExitCode;
use taskpass_types::{Clock as _, SystemClock};

/// Runs one command line, that of this process.
pub fn run() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let clock = SystemClock::default();
    let out = Output::new(global.output, global.color, global.quiet, clock.now());
    let session = Session { out, address: global.address, clock };
    let outcome = match command {
        None => commands::brief(&session),
        Some(command) => {
            logging::start(command.log_filter());
            command.run(&session)
        }
    };
    let exit = outcome.unwrap_or_else(|failure| {
        failure.report(&session.out);
        failure.exit()
    });
    ExitCode::from(exit.code())
}
