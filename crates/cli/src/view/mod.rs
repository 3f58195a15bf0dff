//! What commands show: the API's messages with stable JSON keys (camelCase, RFC 3339, enums as words).
//!
//! Keys are only ever added; the golden tests here fail when one is renamed or goes.

mod agent;
mod approval;
mod decision;
mod end;
mod enforcement;
mod kill;
mod lease;
mod policy;
mod receipt;
mod report;
mod task;
mod time;
mod whoami;

pub(crate) use agent::AgentView;
pub(crate) use approval::ApprovalView;
pub(crate) use decision::{CallView, DecisionView, ExplainedView, ReplayChangeView};
pub(crate) use end::End;
pub(crate) use enforcement::EnforcementView;
pub(crate) use kill::{KillPlanView, KilledView, WideHoldView, WideView};
pub(crate) use lease::LeaseView;
pub(crate) use policy::{PlanItemView, PlanView, PolicySetView};
pub(crate) use receipt::ReceiptView;
pub(crate) use report::show as show_report;
pub(crate) use task::TaskView;
pub(crate) use time::{rfc3339, timestamp, ttl_seconds};
pub(crate) use whoami::WhoAmIView;

/// The word of a protobuf enum value: `CREDENTIAL_KIND_X509` without its prefix, in lower case.
fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
pub(crate) mod testing {
    use serde::Serialize;
    use serde_json::Value;
    use taskpass_proto::v1;

    /// One that two groups have to approve, and one person did.
    pub(crate) fn approval() -> v1::Approval {
        v1::Approval {
            id: "ap_0123456789abcdefghjkmnpqrs".into(),
            state: v1::ApprovalState::Pending.into(),
            agent: "support/triage".into(),
            purpose: "order 7291 \u{1b}[2Jdouble charged".into(),
            verb: "issue".into(),
            resource: "payments-api".into(),
            actions: vec!["refund:create".into()],
            quorums: vec![
                v1::Quorum {
                    group: "finance".into(),
                    count: 2,
                    members: vec!["maya".into(), "noor".into(), "omar".into()],
                },
                v1::Quorum { group: "security".into(), count: 1, members: vec!["noor".into()] },
            ],
            votes: vec![v1::Vote { by: "maya".into(), approve: true, ..Default::default() }],
            create_time: Some(prost_types::Timestamp { seconds: 40, nanos: 0 }),
            expire_time: Some(prost_types::Timestamp { seconds: 640, nanos: 0 }),
            ..Default::default()
        }
    }

    /// The keys of a body, a path a line, sorted; lists count by their first element.
    pub(crate) fn keys(record: &impl Serialize) -> String {
        fn walk(value: &Value, path: &str, out: &mut Vec<String>) {
            match value {
                Value::Object(object) => {
                    for (key, value) in object {
                        let path = format!("{path}.{key}");
                        out.push(path.clone());
                        walk(value, &path, out);
                    }
                }
                Value::Array(list) => {
                    list.iter().take(1).for_each(|value| walk(value, &format!("{path}[]"), out))
                }
                _ => {}
            }
        }
        let mut out = Vec::new();
        walk(&serde_json::to_value(record).unwrap(), "", &mut out);
        out.sort();
        out.join("\n")
    }
}
