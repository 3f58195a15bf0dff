//! Between the domain's types and the wire's.

mod ask;
mod feed;
mod record;

pub(crate) use ask::{issue_ask, renew_ask, start_ask};
pub(crate) use feed::{feed_message, resume};
pub(crate) use record::{credential, lease, task, timestamp};

use taskpass_types::{Reason, Refusal, Ttl};

/// A field that is not valid.
pub(crate) fn invalid(field: &'static str, why: impl std::fmt::Display) -> Refusal {
    Refusal::new(Reason::FieldInvalid, format!("`{field}`: {why}")).with("field", field)
}

/// A time to live. Zero, negative, broken and endless ones are refused, milliseconds are cut.
pub(crate) fn ttl(field: &'static str, span: Option<prost_types::Duration>) -> Result<Option<Ttl>, Refusal> {
    let Some(span) = span else { return Ok(None) };
    let out_of_range = |why: &dyn std::fmt::Display| {
        Refusal::new(Reason::TtlOutOfRange, format!("`{field}`: {why}"))
            .fix("use whole seconds, at least 1 s")
            .with("field", field)
    };
    let span = std::time::Duration::try_from(span).map_err(|error| out_of_range(&error))?;
    Ttl::from_duration(span).map(Some).map_err(|error| out_of_range(&error))
}
