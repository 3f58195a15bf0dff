use super::{Answers, cursor};
use crate::{Api, convert, status};
use futures::{StreamExt, stream};
use std::collections::VecDeque;
use taskpass_broker::{Caller, PastDecision, PlanAsk, Replay};
use taskpass_policy::{MAX_BYTES, MAX_FILES};
use taskpass_proto::v1::{self, policy_service_server::PolicyService};
use taskpass_types::{DecisionId, PlanId, Reason, Refusal};
use tonic::{Request, Response, Status, Streaming};

/// How many entries of the audit log one look fetches.
const SLICE: usize = 512;
/// How many decisions are asked again when nobody says how many.
const REPLAYED: u64 = 10_000;
/// Sets on one page, when nobody says how many, and at most.
const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;
/// How much text one message carries.
const PIECE: usize = 32 * 1024;

#[tonic::async_trait]
impl PolicyService for Api {
    type PlanPoliciesStream = Answers<v1::PlanPoliciesResponse>;
    type ReplayDecisionsStream = Answers<v1::ReplayDecisionsResponse>;
    type GetPolicySetStream = Answers<v1::GetPolicySetResponse>;

    async fn get_policies(
        &self,
        request: Request<v1::GetPoliciesRequest>,
    ) -> Result<Response<v1::GetPoliciesResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let policies = self.broker.policy_status(&caller);
        let policies = policies.map_err(|refusal| self.refuse(&caller, &refusal))?;
        Ok(Response::new(v1::GetPoliciesResponse {
            revision: policies.revision.into(),
            load_time: Some(convert::timestamp(policies.since)),
            policies: policies.names,
            refused: policies.refused.unwrap_or_default(),
        }))
    }

    async fn plan_policies(
        &self,
        request: Request<Streaming<v1::PlanPoliciesRequest>>,
    ) -> Result<Response<Self::PlanPoliciesStream>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let operator = caller.require(&[taskpass_broker::Role::Operator]);
        operator.map_err(|refusal| self.refuse(&caller, &refusal))?;
        let ask = plan_ask(request.into_inner()).await?;
        let ask = ask.map_err(|refusal| self.refuse(&caller, &refusal))?;
        let broker = self.broker.clone();
        let plan = self.run(async move { broker.plan_policies(caller, ask).await }).await?;
        let first = v1::plan_policies_response::Part::Plan(convert::plan(&plan));
        let items = (0..plan.findings.len()).filter_map(move |index| {
            plan.findings.get(index).map(convert::plan_item).map(v1::plan_policies_response::Part::Item)
        });
        let parts = [first].into_iter().chain(items);
        let answers = parts.map(|part| Ok(v1::PlanPoliciesResponse { part: Some(part) }));
        Ok(Response::new(Box::pin(stream::iter(answers))))
    }

    async fn apply_policies(
        &self,
        request: Request<v1::ApplyPoliciesRequest>,
    ) -> Result<Response<v1::ApplyPoliciesResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let v1::ApplyPoliciesRequest { plan_id, reason } = request.into_inner();
        let id = self.plan_id(&caller, &plan_id).await;
        let id = id.map_err(|refusal| self.refuse(&caller, &refusal))?;
        let broker = self.broker.clone();
        let plan = self.run(async move { broker.apply_plan(caller, id, &reason).await }).await?;
        Ok(Response::new(v1::ApplyPoliciesResponse {
            revision: plan.policies.revision().to_string(),
            affected: u64::try_from(plan.findings.len()).unwrap_or(u64::MAX),
        }))
    }

    async fn simulate_decision(
        &self,
        request: Request<v1::SimulateDecisionRequest>,
    ) -> Result<Response<v1::SimulateDecisionResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let request = request.into_inner();
        let report = async {
            let task = match request.task_id.as_str() {
                "" => None,
                id => Some(self.task_id(&caller, id).await?),
            };
            let plan = self.plan(&caller, &request.plan_id).await?;
            self.broker.simulate(&caller, convert::simulate_ask(request, plan, task)?).await
        };
        let report = report.await.map_err(|refusal| self.refuse(&caller, &refusal))?;
        Ok(Response::new(v1::SimulateDecisionResponse { decision: Some(convert::report(report)) }))
    }

    async fn replay_decisions(
        &self,
        request: Request<v1::ReplayDecisionsRequest>,
    ) -> Result<Response<Self::ReplayDecisionsStream>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let request = request.into_inner();
        let replay = async {
            let plan = self.plan(&caller, &request.plan_id).await?;
            let since = request.since.map(|at| convert::instant("since", at)).transpose()?;
            Ok((self.broker.replay(&caller, plan)?, since))
        };
        let replay = replay.await;
        let (replay, since) = replay.map_err(|refusal: Refusal| self.refuse(&caller, &refusal))?;
        let limit = if request.limit == 0 { REPLAYED } else { u64::from(request.limit) };
        let rest = Replaying {
            api: self.clone(),
            replay,
            since: since.map(|at| at.to_string()),
            left: limit,
            next: 1,
            ready: VecDeque::new(),
            ended: false,
        };
        let answers = stream::unfold(Some(rest), |rest| async {
            let mut rest = rest?;
            match rest.next().await {
                Ok(Some(part)) => Some((Ok(v1::ReplayDecisionsResponse { part: Some(part) }), Some(rest))),
                Ok(None) => None,
                Err(refusal) => Some((Err(status(&refusal)), None)),
            }
        });
        Ok(Response::new(Box::pin(answers.take_until(Box::pin(self.drain.stopping())))))
    }

    async fn explain_decision(
        &self,
        request: Request<v1::ExplainDecisionRequest>,
    ) -> Result<Response<v1::ExplainDecisionResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let v1::ExplainDecisionRequest { decision_id, suggest } = request.into_inner();
        let explained = self.explain(&caller, &decision_id, suggest).await;
        let explained = explained.map_err(|refusal| self.refuse(&caller, &refusal))?;
        Ok(Response::new(convert::explained(explained)))
    }

    async fn list_policy_sets(
        &self,
        request: Request<v1::ListPolicySetsRequest>,
    ) -> Result<Response<v1::ListPolicySetsResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let v1::ListPolicySetsRequest { page_size, page_token } = request.into_inner();
        let size = match usize::try_from(page_size).unwrap_or(MAX_PAGE) {
            0 => DEFAULT_PAGE,
            size => size.min(MAX_PAGE),
        };
        // One more than the page tells whether there is another.
        let sets = async { self.broker.policy_history(&caller, cursor(&page_token)?, size + 1).await };
        let mut sets = sets.await.map_err(|refusal| self.refuse(&caller, &refusal))?;
        let more = sets.len() > size;
        sets.truncate(size);
        let next = sets.last().filter(|_| more).map(|last| last.number.to_string());
        Ok(Response::new(v1::ListPolicySetsResponse {
            sets: sets.iter().map(convert::policy_set).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn get_policy_set(
        &self,
        request: Request<v1::GetPolicySetRequest>,
    ) -> Result<Response<Self::GetPolicySetStream>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let revision = request.into_inner().revision;
        let revision = (!revision.is_empty()).then_some(revision.as_str());
        let set = self.broker.policy_set(&caller, revision).await;
        let set = set.map_err(|refusal| self.refuse(&caller, &refusal))?;
        let pieces = set.sources.into_iter().flat_map(|(name, text)| pieces(&name, &text));
        let answers = pieces.map(|file| Ok(v1::GetPolicySetResponse { file: Some(file) }));
        Ok(Response::new(Box::pin(stream::iter(answers.collect::<Vec<_>>()))))
    }
}

/// Collects what a plan is made of, within the bounds that a set of policies has anyway.
async fn plan_ask(mut parts: Streaming<v1::PlanPoliciesRequest>) -> Result<Result<PlanAsk, Refusal>, Status> {
    let (mut files, mut bytes): (Vec<(String, String)>, usize) = (Vec::new(), 0);
    while let Some(part) = parts.message().await? {
        let v1::PolicyFile { name, text } = match part.from {
            None => continue,
            Some(v1::plan_policies_request::From::File(file)) => file,
            Some(v1::plan_policies_request::From::Revision(revision)) => {
                return Ok(Ok(PlanAsk::Revision(revision)));
            }
        };
        bytes = bytes.saturating_add(name.len()).saturating_add(text.len());
        if bytes > 2 * MAX_BYTES {
            let why = format!("the policies have more than {MAX_BYTES} bytes");
            return Ok(Err(Refusal::new(Reason::PolicyInvalid, why)
                .fix("use groups and labels in place of one policy per agent")));
        }
        match files.last_mut() {
            Some((last, whole)) if *last == name => whole.push_str(&text),
            _ => files.push((name, text)),
        }
        // Names alone must not fill the memory either.
        if files.len() > MAX_FILES {
            let why = format!("there are more than {MAX_FILES} policy files");
            return Ok(Err(Refusal::new(Reason::PolicyInvalid, why).fix("put several policies in one file")));
        }
    }
    Ok(Ok(PlanAsk::Files(files)))
}

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

impl Api {
    /// The plan that a request names, if it names one.
    async fn plan(&self, caller: &Caller, text: &str) -> Result<Option<PlanId>, Refusal> {
        match text {
            "" => Ok(None),
            text => self.plan_id(caller, text).await.map(Some),
        }
    }

    /// Looks for a decision in the log, the newest entries first.
    async fn explain(
        &self,
        caller: &Caller,
        text: &str,
        suggest: bool,
    ) -> Result<taskpass_broker::Explained, Refusal> {
        caller.require(&[taskpass_broker::Role::Operator])?;
        let missing = || taskpass_broker::decision_not_found(text);
        if text.strip_prefix(DecisionId::PREFIX).is_none_or(|rest| rest.len() < 6) {
            let refusal =
                convert::invalid("decision_id", "it is no id of a decision, nor the beginning of one");
            return Err(refusal.fix("give the whole id, or at least 6 characters after `dc_`"));
        }
        let slice = u64::try_from(SLICE).unwrap_or(u64::MAX);
        let mut end = self.audit.head().seq;
        while end > 0 {
            let from = end.saturating_sub(slice).saturating_add(1);
            let lines = self.entries(from, SLICE).await?;
            let found = lines.iter().rev().filter(|line| line.seq <= end && line.json.contains(text));
            let mut entries = found.filter_map(|line| line.entry().ok());
            let tells = |entry: &taskpass_audit::Entry| {
                entry.decision.as_deref().is_some_and(|id| id.starts_with(text))
                    && PastDecision::of(entry).is_some()
            };
            if let Some(entry) = entries.find(tells) {
                return self.broker.explain(caller, &entry, suggest).await;
            }
            end = from.saturating_sub(1);
        }
        Err(missing())
    }
}

/// Past decisions as they are read and asked again.
struct Replaying {
    api: Api,
    replay: Replay,
    /// As the log writes it, so that it can be compared as text.
    since: Option<String>,
    /// How many decisions may still be asked.
    left: u64,
    next: u64,
    ready: VecDeque<taskpass_audit::EntryLine>,
    ended: bool,
}

impl Replaying {
    async fn next(&mut self) -> Result<Option<v1::replay_decisions_response::Part>, Refusal> {
        use v1::replay_decisions_response::Part;
        while !self.ended {
            let Some(line) = self.ready.pop_front() else {
                self.ready = self.api.entries(self.next, SLICE).await?.into();
                self.ended = self.ready.is_empty();
                continue;
            };
            self.next = line.seq + 1;
            let Ok(entry) = line.entry() else { continue };
            if self.since.as_ref().is_some_and(|since| entry.time < *since) {
                // Too old to be asked, but what its tasks are is needed later.
                self.replay.learn(&entry);
                continue;
            }
            let change = self.replay.entry(&entry);
            let sum = self.replay.sum();
            self.ended = sum.replayed >= self.left;
            if let Some(change) = change {
                return Ok(Some(Part::Change(convert::replay_change(change))));
            }
        }
        if self.left == 0 {
            return Ok(None);
        }
        self.left = 0;
        Ok(Some(Part::Sum(convert::replay_sum(self.replay.sum()))))
    }
}
