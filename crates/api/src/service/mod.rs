//! One service a file.

mod agent;
mod approval;
mod audit;
mod credential;
mod kill;
mod lease;
mod policy;
mod revocation;
mod task;
mod tool;

use tonic::codegen::tokio_stream::Stream;

/// The answer of a streaming method.
type Answers<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, tonic::Status>> + Send>>;

/// A page's size and cursor, as the wire has them.
fn cursor<Id: std::str::FromStr<Err: std::fmt::Display>>(
    token: &str,
) -> Result<Option<Id>, taskpass_types::Refusal> {
    match token {
        "" => Ok(None),
        token => token.parse().map(Some).map_err(|error| crate::convert::invalid("page_token", error)),
    }
}

/// An optional filter by name.
fn named(agent: &str) -> Result<Option<taskpass_types::AgentId>, taskpass_types::Refusal> {
    match agent {
        "" => Ok(None),
        agent => taskpass_types::AgentId::new(agent)
            .map(Some)
            .map_err(|error| crate::convert::invalid("agent", error)),
    }
}
