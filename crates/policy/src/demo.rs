//! The policies of `taskpass dev` and of the tutorial, which are also the examples to start from.

/// File name and text of every demo policy file, for [`crate::Policies::from_sources`].
pub const DEMO: &[(&str, &str)] = &[
    ("agents.cedar", include_str!("../../../deploy/policies/demo/agents.cedar")),
    ("guardrails.cedar", include_str!("../../../deploy/policies/demo/guardrails.cedar")),
];
