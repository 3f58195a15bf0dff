//! `taskpass policy simulate`: one request as if. Nothing happens by it.

use crate::{
    args::{Pair, proto_span, proto_time},
    error::{Exit, Failure},
    session::{Outcome, Session},
    span::Span,
    view::DecisionView,
};
use clap::{Args, ValueEnum};
use taskpass_proto::v1;
use taskpass_types::{Scope, Timestamp};

/// Decide one request as it would be decided, and do nothing
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass policy simulate --agent ci/invoice-bot --resource billing-api:invoice:read
  taskpass policy simulate --agent support/triage --resource payments-api:refund:create --verb call_tool \\
      --tool refund.create --task tk_9f2c4x
  taskpass policy simulate --agent ci/deployer --resource prod:deploy --task-kind release --at 2026-12-24T22:00:00Z

Exit code 0 when it is allowed, 3 when it is denied.")]
pub(crate) struct Simulate {
    /// Who asks: a registered agent
    #[arg(long, value_name = "AGENT")]
    agent: String,
    /// What for, `resource:action`
    #[arg(short, long, value_name = "SCOPE")]
    resource: Scope,
    /// What would be done with the credential
    #[arg(long, value_enum, default_value_t)]
    verb: VerbName,
    /// What would be issued
    #[arg(long, value_enum, default_value_t)]
    kind: KindName,
    /// How long it would live; the broker's default when not said
    #[arg(long, value_name = "SPAN")]
    ttl: Option<Span>,
    /// As if the credential were bound to a key that its holder must prove
    #[arg(long)]
    bound: bool,
    /// Under this task; else under one as the flags that follow describe
    #[arg(long, value_name = "TASK", conflicts_with_all = ["task_kind", "purpose", "initiator", "label", "sensitivity"])]
    task: Option<String>,
    /// The class of the task
    #[arg(long, value_name = "KIND")]
    task_kind: Option<String>,
    /// Why the task would be done
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
    /// Who or what the task would be done for; the agent itself when not said
    #[arg(long, value_name = "NAME")]
    initiator: Option<String>,
    /// A label of the task; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<Pair>,
    /// How sensitive the task would be
    #[arg(long, value_name = "WORD")]
    sensitivity: Option<String>,
    /// For `call_tool`: the tool
    #[arg(long, value_name = "TOOL")]
    tool: Option<String>,
    /// For `delegate`: who would hold the child task
    #[arg(long, value_name = "AGENT")]
    delegate_to: Option<String>,
    /// When, RFC 3339; now when not said
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Under the policies of a change that `policy diff` showed; else under those in force
    #[arg(long, value_name = "ID")]
    plan: Option<String>,
}

/// What would be done, as policies call it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum VerbName {
    /// One tool call.
    CallTool,
    /// A child task.
    Delegate,
    /// A new credential.
    #[default]
    Issue,
    /// The same lease goes on.
    Renew,
}

/// What would be issued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum KindName {
    /// An access token.
    #[default]
    Jwt,
    /// A client certificate.
    X509,
}

impl Simulate {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let request = self.into_request()?;
        let decision = DecisionView::from(session.broker().await?.simulate(request).await?);
        session.out.one(&decision)?;
        Ok(if decision.allowed { Exit::Done } else { Exit::Denied })
    }

    fn into_request(self) -> Result<v1::SimulateDecisionRequest, Failure> {
        let kind = match self.kind {
            KindName::Jwt => v1::CredentialKind::Jwt,
            KindName::X509 => v1::CredentialKind::X509,
        };
        let verb = self.verb.to_possible_value().map(|value| value.get_name().to_owned());
        Ok(v1::SimulateDecisionRequest {
            plan_id: self.plan.unwrap_or_default(),
            agent: self.agent,
            verb: verb.unwrap_or_default(),
            resource: self.resource.resource.to_string(),
            action: self.resource.action.to_string(),
            kind: kind.into(),
            ttl: self.ttl.map(proto_span).transpose()?,
            bound: self.bound,
            task_id: self.task.unwrap_or_default(),
            task_kind: self.task_kind.unwrap_or_default(),
            purpose: self.purpose.unwrap_or_default(),
            initiator: self.initiator.unwrap_or_default(),
            labels: self.label.into_iter().map(|pair| (pair.name, pair.value)).collect(),
            sensitivity: self.sensitivity.unwrap_or_default(),
            tool: self.tool.unwrap_or_default(),
            delegate_to: self.delegate_to.unwrap_or_default(),
            time: self.at.map(proto_time),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        simulate: Simulate,
    }

    fn request(more: &str) -> Result<v1::SimulateDecisionRequest, String> {
        let line = format!("x --agent ci/bot --resource billing-api:invoice:read {more}");
        let parsed = Line::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
        parsed.simulate.into_request().map_err(|failure| failure.what().to_owned())
    }

    #[test]
    fn what_is_said_is_asked() {
        let bare = request("").unwrap();
        assert_eq!((bare.verb.as_str(), bare.kind()), ("issue", v1::CredentialKind::Jwt));
        assert_eq!((bare.resource.as_str(), bare.action.as_str()), ("billing-api", "invoice:read"));
        let full = request(
            "--verb call_tool --tool refund.create --kind x509 --ttl 5m --bound --label a=b --at 1970-01-01T00:01:00Z",
        )
        .unwrap();
        assert_eq!(
            (full.verb.as_str(), full.tool.as_str(), full.bound),
            ("call_tool", "refund.create", true)
        );
        assert_eq!((full.kind(), full.ttl.unwrap().seconds), (v1::CredentialKind::X509, 300));
        assert_eq!((full.labels["a"].as_str(), full.time.unwrap().seconds), ("b", 60));
        for verb in taskpass_policy::Verb::ALL {
            assert_eq!(request(&format!("--verb {verb}")).unwrap().verb, verb.as_str());
        }
    }

    #[test]
    fn nonsense_and_contradictions_are_refused() {
        for bad in [
            "--verb kill",
            "--kind ssh",
            "--ttl 5",
            "--at yesterday",
            "--task tk_1 --task-kind x",
            "--label a",
        ] {
            assert!(request(bad).is_err(), "{bad} was accepted");
        }
    }
}
