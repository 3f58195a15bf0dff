//! Which verifiers enforce an end, and until when the others may accept what has ended.

use super::{rfc3339, timestamp, word};
use crate::output::Style;
use serde::Serialize;
use taskpass_proto::v1;
use taskpass_types::Timestamp;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EnforcementView {
    epoch: u64,
    #[serde(serialize_with = "rfc3339")]
    time: Option<Timestamp>,
    enforced: u32,
    verifiers: u32,
    /// Null: all enforce it.
    #[serde(serialize_with = "rfc3339")]
    accepted_until: Option<Timestamp>,
    standings: Vec<StandingView>,
    /// Some verifiers that follow other brokers of the fleet are not counted.
    others_uncounted: bool,
    /// How many verifiers were asked about a credential under the end, and how many of them refuse it.
    probed: u32,
    probes_refused: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StandingView {
    name: String,
    /// Empty: any.
    audience: String,
    /// `enforces`, `waiting`, `offline`, `unproven`.
    state: String,
    /// Null: it does not.
    after_millis: Option<u64>,
    /// Null: it enforces the end.
    #[serde(serialize_with = "rfc3339")]
    accepts_until: Option<Timestamp>,
}

impl From<v1::Enforcement> for EnforcementView {
    fn from(enforcement: v1::Enforcement) -> Self {
        Self {
            epoch: enforcement.epoch,
            time: timestamp(enforcement.time),
            enforced: enforcement.enforced,
            verifiers: enforcement.verifiers,
            accepted_until: timestamp(enforcement.accepted_until),
            standings: enforcement.standings.into_iter().map(StandingView::from).collect(),
            others_uncounted: enforcement.others_uncounted,
            probed: enforcement.probed,
            probes_refused: enforcement.probes_refused,
        }
    }
}

impl From<v1::VerifierStanding> for StandingView {
    fn from(standing: v1::VerifierStanding) -> Self {
        let millis = |span: prost_types::Duration| {
            let seconds = u64::try_from(span.seconds).ok()?;
            seconds.checked_mul(1000)?.checked_add(u64::try_from(span.nanos).ok()? / 1_000_000)
        };
        Self {
            state: word(standing.state().as_str_name(), "STATE_"),
            name: standing.name,
            audience: standing.audience,
            after_millis: standing.after.and_then(millis),
            accepts_until: timestamp(standing.accepts_until),
        }
    }
}

impl EnforcementView {
    /// Whether it is known that nobody may still accept it.
    pub(crate) fn is_complete(&self) -> bool {
        self.enforced == self.verifiers && !self.others_uncounted
    }

    /// For people: how many, how fast; then each that does not, and until when it may accept what has ended.
    pub(crate) fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        let slowest = self.standings.iter().filter_map(|standing| standing.after_millis).max();
        let Self { enforced, verifiers, .. } = self;
        let them = if *verifiers == 1 { "verifier" } else { "verifiers" };
        let how = match slowest {
            _ if *verifiers == 0 => "by nobody: no verifier that it concerns follows this broker".to_owned(),
            None => format!("by none of {verifiers} {them} yet"),
            Some(millis) => format!("by {enforced} of {verifiers} {them} within {millis} ms"),
        };
        let others = "some that follow other brokers of the fleet, for they are too many".to_owned();
        let others = self.others_uncounted.then_some(("not counted", others));
        let late = self.standings.iter().filter(|standing| standing.after_millis.is_none());
        let late = late.map(|standing| ("not yet", standing.sentence(style)));
        let asked = (self.probed > 0).then(|| {
            ("probed", format!("refused by {} of {} that were asked", self.probes_refused, self.probed))
        });
        std::iter::once(("enforced", how)).chain(asked).chain(late).chain(others).collect()
    }
}

impl StandingView {
    fn sentence(&self, style: &Style) -> String {
        let guards = if self.audience.is_empty() { "anything" } else { &self.audience };
        let until = match style.terminal {
            true => format!("in {} at the latest", style.left(self.accepts_until)),
            false => format!("by {}", style.left(self.accepts_until)),
        };
        let over = self.accepts_until.is_some_and(|until| until <= style.now);
        let until = if over { "already, having heard nothing".to_owned() } else { until };
        format!("{} ({guards}) is {}; it refuses everything {until}", self.name, self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::keys;
    use taskpass_proto::v1::verifier_standing::State;

    fn view() -> EnforcementView {
        let standing = |name: &str, state: State| v1::VerifierStanding {
            name: format!("billing-api/{name}"),
            audience: "billing-api".to_owned(),
            state: state.into(),
            ..Default::default()
        };
        let until = Some(prost_types::Timestamp { seconds: 105, nanos: 0 });
        EnforcementView::from(v1::Enforcement {
            epoch: 7,
            time: Some(prost_types::Timestamp { seconds: 100, nanos: 0 }),
            enforced: 1,
            verifiers: 2,
            accepted_until: until,
            others_uncounted: true,
            probed: 2,
            probes_refused: 1,
            standings: vec![
                v1::VerifierStanding { accepts_until: until, ..standing("web-2", State::Offline) },
                v1::VerifierStanding {
                    after: Some(prost_types::Duration { seconds: 0, nanos: 3_900_000 }),
                    ..standing("web-1", State::Enforces)
                },
            ],
        })
    }

    #[test]
    fn who_does_not_enforce_it_is_named_with_its_bound() {
        let style = Style { now: Timestamp::from_secs(101), terminal: true };
        let said = view().details(&style);
        let said: Vec<_> = said.iter().map(|(what, how)| format!("{what}: {how}")).collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        enforced: by 1 of 2 verifiers within 3 ms
        probed: refused by 1 of 2 that were asked
        not yet: billing-api/web-2 (billing-api) is offline; it refuses everything in 4s at the latest
        not counted: some that follow other brokers of the fleet, for they are too many
        ");
        assert!(!view().is_complete());
    }

    #[test]
    fn keys_are_stable() {
        insta::assert_snapshot!(keys(&view()), @r"
        .acceptedUntil
        .enforced
        .epoch
        .othersUncounted
        .probed
        .probesRefused
        .standings
        .standings[].acceptsUntil
        .standings[].afterMillis
        .standings[].audience
        .standings[].name
        .standings[].state
        .time
        .verifiers
        ");
    }
}
