//! What the broker makes of the caller.

use super::{rfc3339, timestamp};
use crate::output::{Record, Style};
use serde::Serialize;
use taskpass_proto::v1;
use taskpass_types::Timestamp;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WhoAmIView {
    agent: String,
    owner: String,
    tenant: String,
    roles: Vec<String>,
    evidence: String,
    selectors: Vec<String>,
    #[serde(serialize_with = "rfc3339")]
    expire_time: Option<Timestamp>,
    /// The person, who can approve; empty for a workload.
    user: String,
}

impl From<v1::WhoAmIResponse> for WhoAmIView {
    fn from(answer: v1::WhoAmIResponse) -> Self {
        Self {
            agent: answer.agent,
            owner: answer.owner,
            tenant: answer.tenant,
            roles: answer.roles,
            evidence: answer.evidence,
            selectors: answer.selectors,
            expire_time: timestamp(answer.expire_time),
            user: answer.user,
        }
    }
}

impl Record for WhoAmIView {
    const KIND: &'static str = "Identity";
    const COLUMNS: &'static [&'static str] = &["AGENT", "OWNER", "TENANT", "ROLES"];

    fn name(&self) -> String {
        self.agent.clone()
    }

    fn row(&self, _: &Style) -> Vec<String> {
        vec![self.agent.clone(), self.owner.clone(), self.tenant.clone(), self.roles.join(",")]
    }

    fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
        vec![
            ("agent", or_none(&self.agent)),
            ("owner", or_none(&self.owner)),
            ("person", self.user.clone()),
            ("roles", or_none(&self.roles.join(" "))),
            ("tenant", self.tenant.clone()),
            ("evidence", self.evidence.clone()),
            ("selectors", self.selectors.join("  ")),
            ("expires", style.left(self.expire_time)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::keys;

    #[test]
    fn keys_are_stable() {
        insta::assert_snapshot!(keys(&WhoAmIView::from(v1::WhoAmIResponse::default())), @r"
        .agent
        .evidence
        .expireTime
        .owner
        .roles
        .selectors
        .tenant
        .user
        ");
    }
}
