//! Operators' calls about policies and agents: what is in force, what a change would take, why something was decided.

use crate::{Broker, Error};
use taskpass_proto::v1::{
    self, agent_service_client::AgentServiceClient, policy_service_client::PolicyServiceClient,
};
use tonic::Streaming;

/// How much text one message carries, in bytes.
const PIECE: usize = 32 * 1024;

/// A previewed change, whole.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What it is about, and what is wrong with it.
    pub plan: v1::PolicyPlan,
    /// The live tasks and leases that would lose something.
    pub items: Vec<v1::PlanItem>,
}

impl Broker {
    /// The policies in force.
    pub async fn policies(&self) -> Result<v1::GetPoliciesResponse, Error> {
        self.call(v1::GetPoliciesRequest {}, |channel, request| async move {
            PolicyServiceClient::new(channel).get_policies(request).await
        })
        .await
    }

    /// Previews what other policies, given as pairs of file name and text, would change.
    pub async fn plan_policies<N: AsRef<str>, T: AsRef<str>>(
        &self,
        files: impl IntoIterator<Item = (N, T)>,
    ) -> Result<Plan, Error> {
        let pieces = files.into_iter().flat_map(|(name, text)| pieces(name.as_ref(), text.as_ref()));
        let from = v1::plan_policies_request::From::File;
        self.plan(pieces.map(from).collect()).await
    }

    /// Previews the return to a set of the history.
    pub async fn plan_rollback(&self, revision: impl Into<String>) -> Result<Plan, Error> {
        self.plan(vec![v1::plan_policies_request::From::Revision(revision.into())]).await
    }

    async fn plan(&self, parts: Vec<v1::plan_policies_request::From>) -> Result<Plan, Error> {
        let requests: Vec<_> =
            parts.into_iter().map(|from| v1::PlanPoliciesRequest { from: Some(from) }).collect();
        let mut stream = self
            .call(requests, |channel, requests| async move {
                PolicyServiceClient::new(channel).plan_policies(tokio_stream::iter(requests)).await
            })
            .await?;
        let mut whole = Plan::default();
        while let Some(response) = stream.message().await? {
            match response.part {
                Some(v1::plan_policies_response::Part::Item(item)) => whole.items.push(item),
                Some(v1::plan_policies_response::Part::Plan(plan)) => whole.plan = plan,
                None => {}
            }
        }
        Ok(whole)
    }

    /// Puts a previewed change in force. Asked once: a plan is used up by it, so that a repeat after a lost answer would be
    /// told that there is none, and one that was made over other policies stays so.
    pub async fn apply_policies(
        &self,
        plan: impl Into<String>,
        reason: impl Into<String>,
    ) -> Result<v1::ApplyPoliciesResponse, Error> {
        let request = v1::ApplyPoliciesRequest { plan_id: plan.into(), reason: reason.into() };
        Ok(PolicyServiceClient::new(self.channel()).apply_policies(request).await?.into_inner())
    }

    /// Decides one request and does nothing.
    pub async fn simulate(&self, request: v1::SimulateDecisionRequest) -> Result<v1::DecisionReport, Error> {
        let answer = self
            .call(request, |channel, request| async move {
                PolicyServiceClient::new(channel).simulate_decision(request).await
            })
            .await?;
        answer.decision.ok_or_else(|| Error::unexpected("the decision is missing"))
    }

    /// Decides past requests anew and streams those that come out differently, then the sum.
    pub async fn replay(
        &self,
        request: v1::ReplayDecisionsRequest,
    ) -> Result<Streaming<v1::ReplayDecisionsResponse>, Error> {
        self.call(request, |channel, request| async move {
            PolicyServiceClient::new(channel).replay_decisions(request).await
        })
        .await
    }

    /// Why something was decided.
    pub async fn explain(
        &self,
        request: v1::ExplainDecisionRequest,
    ) -> Result<v1::ExplainDecisionResponse, Error> {
        self.call(request, |channel, request| async move {
            PolicyServiceClient::new(channel).explain_decision(request).await
        })
        .await
    }

    /// One page of the sets that were in force, newest first.
    pub async fn list_policy_sets(
        &self,
        request: v1::ListPolicySetsRequest,
    ) -> Result<v1::ListPolicySetsResponse, Error> {
        self.call(request, |channel, request| async move {
            PolicyServiceClient::new(channel).list_policy_sets(request).await
        })
        .await
    }

    /// The files of one set, by its revision or the beginning of it; empty: the one in force.
    pub async fn policy_set(&self, revision: impl Into<String>) -> Result<Vec<(String, String)>, Error> {
        let request = v1::GetPolicySetRequest { revision: revision.into() };
        let mut stream = self
            .call(request, |channel, request| async move {
                PolicyServiceClient::new(channel).get_policy_set(request).await
            })
            .await?;
        let mut files: Vec<(String, String)> = Vec::new();
        while let Some(response) = stream.message().await? {
            let Some(v1::PolicyFile { name, text }) = response.file else { continue };
            match files.last_mut() {
                Some((last, whole)) if *last == name => whole.push_str(&text),
                _ => files.push((name, text)),
            }
        }
        Ok(files)
    }

    /// One page of the registered agents, by name.
    pub async fn list_agents(&self, request: v1::ListAgentsRequest) -> Result<v1::ListAgentsResponse, Error> {
        self.call(request, |channel, request| async move {
            AgentServiceClient::new(channel).list_agents(request).await
        })
        .await
    }
}

/// A file in messages of bounded size; an empty file is one empty piece.
fn pieces(name: &str, text: &str) -> Vec<v1::PolicyFile> {
    let mut rest = text;
    let mut pieces = Vec::new();
    loop {
        let (piece, more) = rest.split_at(rest.floor_char_boundary(PIECE.min(rest.len())));
        pieces.push(v1::PolicyFile { name: name.to_owned(), text: piece.to_owned() });
        if more.is_empty() {
            return pieces;
        }
        rest = more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_bounded_and_make_the_file_again() {
        for text in [String::new(), "short".to_owned(), "é".repeat(PIECE), format!("x{}", "🦀".repeat(PIECE))]
        {
            let pieces = pieces("a.cedar", &text);
            assert!(pieces.iter().all(|piece| piece.text.len() <= PIECE && piece.name == "a.cedar"));
            assert_eq!(pieces.into_iter().map(|piece| piece.text).collect::<String>(), text);
        }
    }
}
