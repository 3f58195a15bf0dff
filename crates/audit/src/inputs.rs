//! What a decision was asked, so that it can be asked again of other policies: the part that no other detail of an entry
//! says. One line of text: the verb, then `name=value`.

use std::{fmt, str::FromStr};
use taskpass_types::Counters;

/// What a decision was asked, beyond who, for what, for how long and under which task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// What would be done with the credential, as policies name it.
    pub verb: &'static str,
    /// How long before the agent had been attested.
    pub attestation_age_secs: u32,
    /// Whether the credential would be bound to a key.
    pub bound: bool,
    /// What the task had used by then.
    pub counters: Counters,
}

/// The verbs that can be written down.
const VERBS: [&str; 4] = ["call_tool", "delegate", "issue", "renew"];

impl fmt::Display for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, attestation_age_secs, bound, counters } = self;
        let Counters { credentials, live, tool_calls } = counters;
        write!(
            f,
            "{verb} age={attestation_age_secs} bound={bound} credentials={credentials} live={live} tool_calls={tool_calls}"
        )
    }
}

/// The text was not written by [`Inputs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these are no inputs of a decision")]
pub struct ParseInputsError;

impl FromStr for Inputs {
    type Err = ParseInputsError;

    /// Members that a newer version may have added are passed over.
    fn from_str(text: &str) -> Result<Self, ParseInputsError> {
        let mut words = text.split(' ');
        let verb = words.next().and_then(|word| VERBS.into_iter().find(|verb| *verb == word));
        let mut inputs = Self {
            verb: verb.ok_or(ParseInputsError)?,
            attestation_age_secs: 0,
            bound: false,
            counters: Counters::default(),
        };
        for word in words {
            let (name, value) = word.split_once('=').ok_or(ParseInputsError)?;
            let number = || value.parse().map_err(|_| ParseInputsError);
            match name {
                "age" => inputs.attestation_age_secs = number()?,
                "bound" => inputs.bound = value.parse().map_err(|_| ParseInputsError)?,
                "credentials" => inputs.counters.credentials = number()?,
                "live" => inputs.counters.live = number()?,
                "tool_calls" => inputs.counters.tool_calls = number()?,
                _ => {}
            }
        }
        Ok(inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_read_back() {
        for verb in VERBS {
            let inputs = Inputs {
                verb,
                attestation_age_secs: 12,
                bound: true,
                counters: Counters { credentials: 3, live: 2, tool_calls: u32::MAX },
            };
            assert_eq!(inputs.to_string().parse(), Ok(inputs));
        }
        let newer = "issue age=1 colour=red bound=false".parse::<Inputs>().unwrap();
        assert_eq!((newer.verb, newer.attestation_age_secs, newer.bound), ("issue", 1, false));
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in
            ["", "kill", "issue ", "issue age", "issue age=-1", "issue age=x", "issue bound=1", "ISSUE"]
        {
            assert_eq!(bad.parse::<Inputs>(), Err(ParseInputsError), "{bad:?}");
        }
    }
}
