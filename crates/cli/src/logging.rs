//! What is logged: to standard error, text on a terminal and JSON otherwise.

use std::io::{self, IsTerminal as _};
use tracing_subscriber::{EnvFilter, fmt};

/// Starts logging; `default` is what counts unless `TASKPASS_LOG` says otherwise.
pub(crate) fn start(default: &str) {
    let filter = std::env::var("TASKPASS_LOG").ok().filter(|filter| !filter.is_empty());
    let filter =
        filter.and_then(|filter| EnvFilter::try_new(filter).ok()).unwrap_or_else(|| EnvFilter::new(default));
    let logs = fmt().with_env_filter(filter).with_writer(io::stderr);
    // A test that runs several commands in one process has a subscriber already.
    if io::stderr().is_terminal() {
        drop(logs.with_target(false).try_init());
    } else {
        drop(logs.json().flatten_event(true).try_init());
    }
}
