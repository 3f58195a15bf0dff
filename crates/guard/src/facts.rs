//! What the server behind the proxy is told about an accepted credential.

use http::{HeaderValue, Response, StatusCode};
use taskpass_verify::Granted;

/// The name of the agent that holds the credential.
pub(crate) const AGENT: &str = "x-taskpass-agent";
/// The id of the task that it was granted for.
pub(crate) const TASK: &str = "x-taskpass-task";
/// The id of its lease.
pub(crate) const LEASE: &str = "x-taskpass-lease";
/// What is granted, with spaces between.
pub(crate) const ACTIONS: &str = "x-taskpass-actions";

/// Every one, by its header. They replace what a client says under these names, so none is ever left out.
pub(crate) fn list(granted: &Granted) -> [(&'static str, String); 4] {
    let actions = granted.actions.iter().map(|action| action.as_str()).collect::<Vec<_>>().join(" ");
    [
        (AGENT, granted.agent().map(ToString::to_string).unwrap_or_default()),
        (TASK, granted.task_path.task().map(|task| task.to_string()).unwrap_or_default()),
        (LEASE, granted.lease.to_string()),
        (ACTIONS, actions),
    ]
}

/// Accepted.
pub(crate) fn of(granted: &Granted) -> Response<()> {
    let mut response = Response::new(());
    for (name, value) in list(granted) {
        let Ok(value) = HeaderValue::try_from(value) else { return broken() };
        response.headers_mut().insert(name, value);
    }
    response.extensions_mut().insert(granted.clone());
    response
}

/// What cannot be, and accepts nothing.
pub(crate) fn broken() -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
