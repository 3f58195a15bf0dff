//! Between the domain's types and the wire's.

mod approval;
mod ask;
mod feed;
mod kill;
mod policy;
mod record;

pub(crate) use approval::{approval, call_decision};
pub(crate) use ask::{call_ask, instant, issue_ask, optional, renew_ask, simulate_ask, start_ask};
pub(crate) use feed::{acknowledged, enforcement, feed_message, patience, probed, watch_ask};
pub(crate) use kill::{after_kill, kill_plan, kill_selector, killed, span, wide, wide_hold};
pub(crate) use policy::{explained, plan, plan_item, policy_set, replay_change, replay_sum, report};
pub(crate) use record::{agent, credential, lease, task, timestamp};

use taskpass_types::{Reason, Refusal, Ttl};

/// A field that is not valid.
pub(crate) fn invalid(field: &'static str, why: impl std::fmt::Display) -> Refusal {
    Refusal::new(Reason::FieldInvalid, format!("`{field}`: {why}")).with("field", field)
}

/// A time to live. Zero, negative, broken and endless ones are refused, milliseconds are cut.
///
/// Taken apart by hand: the conversion that protobuf's types come with panics on the most negative number of seconds.
pub(crate) fn ttl(field: &'static str, span: Option<prost_types::Duration>) -> Result<Option<Ttl>, Refusal> {
    let Some(prost_types::Duration { seconds, nanos }) = span else { return Ok(None) };
    let out_of_range = |why: &dyn std::fmt::Display| {
        Refusal::new(Reason::TtlOutOfRange, format!("`{field}`: {why}"))
            .fix("use whole seconds, at least 1 s")
            .with("field", field)
    };
    if !(0..1_000_000_000).contains(&nanos) {
        return Err(out_of_range(&"its nanoseconds are no part of a second"));
    }
    let seconds = u64::try_from(seconds).map_err(|_| out_of_range(&"it is negative"))?;
    Ttl::from_secs(seconds).map(Some).map_err(|error| out_of_range(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_protobuf_can_say_is_a_span_or_a_refusal() {
        let parse = |seconds, nanos| ttl("ttl", Some(prost_types::Duration { seconds, nanos }));
        assert_eq!(parse(60, 999_999_999).unwrap(), Some(Ttl::from_secs(60).unwrap()));
        assert_eq!(ttl("ttl", None).unwrap(), None);
        for (seconds, nanos) in [
            (0, 0),
            (0, 999_999_999),
            (-1, 0),
            (i64::MIN, 0),
            (i64::MIN, i32::MIN),
            (i64::MAX, 0),
            (i64::MAX, i32::MAX),
            (60, -1),
            (60, 1_000_000_000),
        ] {
            let refusal = parse(seconds, nanos).unwrap_err();
            assert_eq!(refusal.reason(), Reason::TtlOutOfRange, "{seconds} {nanos}");
        }
    }
}
