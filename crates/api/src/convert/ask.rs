//! Requests, parsed: what gets past here is canonical and bounded.

use super::{invalid, ttl};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Display,
    str::FromStr,
};
use taskpass_broker::{CallAsk, IssueAsk, RenewAsk, SimulateAsk, StartAsk};
use taskpass_issue::Form;
use taskpass_policy::Verb;
use taskpass_proto::v1;
use taskpass_types::{
    ActionName, AgentId, CredentialKind, LeaseId, PlanId, Refusal, RequestId, ResourceName, TaskId, TaskKind,
    Timestamp, ToolName,
};

const MAX_LIST: usize = 64;

pub(crate) fn start_ask(request: v1::StartTaskRequest, parent: Option<TaskId>) -> Result<StartAsk, Refusal> {
    let kind = if request.kind.is_empty() { "task" } else { &request.kind };
    Ok(StartAsk {
        request: request_id(&request.request_id)?,
        kind: TaskKind::new(kind).map_err(|error| invalid("kind", error))?,
        purpose: request.purpose,
        scopes: set("scopes", &request.scopes)?,
        ttl: ttl("ttl", request.ttl)?,
        heartbeat: ttl("heartbeat_interval", request.heartbeat_interval)?,
        labels: ordered(request.labels)?,
        initiator: optional("initiator", &request.initiator)?,
        agent: optional("agent", &request.agent)?,
        parent,
        sensitivity: word("sensitivity", request.sensitivity)?,
        approval: optional("approval_id", &request.approval_id)?,
    })
}

pub(crate) fn issue_ask(request: v1::IssueCredentialRequest, task: TaskId) -> Result<IssueAsk, Refusal> {
    use v1::issue_credential_request::Form as Wire;
    let form = match request.form {
        Some(Wire::Certificate(form)) => Form::Certificate { csr: form.csr.to_vec() },
        Some(Wire::Token(form)) => token(form.jkt),
        None => Form::Token { jkt: None },
    };
    Ok(IssueAsk {
        request: request_id(&request.request_id)?,
        task,
        resource: ResourceName::new(&request.resource).map_err(|error| invalid("resource", error))?,
        actions: set("actions", &request.actions)?,
        ttl: ttl("ttl", request.ttl)?,
        form,
        approval: optional("approval_id", &request.approval_id)?,
    })
}

pub(crate) fn renew_ask(
    request: v1::RenewCredentialRequest,
    lease: LeaseId,
    kind: CredentialKind,
) -> Result<RenewAsk, Refusal> {
    let form = match kind {
        CredentialKind::Jwt => token(request.jkt),
        CredentialKind::X509 => Form::Certificate { csr: request.csr.to_vec() },
    };
    Ok(RenewAsk { request: request_id(&request.request_id)?, lease, ttl: ttl("ttl", request.ttl)?, form })
}

/// A tool call; its task and lease are looked up by the caller.
pub(crate) fn call_ask(
    call: v1::ToolCall,
    task: Option<TaskId>,
    lease: Option<LeaseId>,
    approval: &str,
) -> Result<CallAsk, Refusal> {
    let arguments = match call.arguments_digest.len() {
        0 => None,
        _ => Some(
            call.arguments_digest
                .as_ref()
                .try_into()
                .map_err(|_| invalid("arguments_digest", "it is no SHA-256 digest: 32 bytes, or empty"))?,
        ),
    };
    Ok(CallAsk {
        lease,
        task,
        tool: ToolName::new(&call.tool).map_err(|error| invalid("tool", error))?,
        resource: ResourceName::new(&call.resource).map_err(|error| invalid("resource", error))?,
        action: ActionName::new(&call.action).map_err(|error| invalid("action", error))?,
        arguments,
        approval: optional("approval_id", approval)?,
    })
}

pub(crate) fn simulate_ask(
    request: v1::SimulateDecisionRequest,
    plan: Option<PlanId>,
    task: Option<TaskId>,
) -> Result<SimulateAsk, Refusal> {
    let verb = if request.verb.is_empty() { "issue" } else { &request.verb };
    let verb = Verb::parse(verb)
        .ok_or_else(|| invalid("verb", "it is none of `issue`, `renew`, `delegate`, `call_tool`"))?;
    let kind = match request.kind() {
        v1::CredentialKind::X509 => CredentialKind::X509,
        v1::CredentialKind::Jwt | v1::CredentialKind::Unspecified => CredentialKind::Jwt,
    };
    let task_kind = if request.task_kind.is_empty() { "task" } else { &request.task_kind };
    let task_kind = TaskKind::new(task_kind).map_err(|error| invalid("task_kind", error))?;
    Ok(SimulateAsk {
        plan,
        agent: AgentId::new(&request.agent).map_err(|error| invalid("agent", error))?,
        verb,
        resource: ResourceName::new(&request.resource).map_err(|error| invalid("resource", error))?,
        action: ActionName::new(&request.action).map_err(|error| invalid("action", error))?,
        kind,
        ttl: ttl("ttl", request.ttl)?,
        bound: request.bound,
        task,
        task_kind,
        purpose: request.purpose,
        initiator: request.initiator,
        labels: ordered(request.labels)?,
        sensitivity: word("sensitivity", request.sensitivity)?,
        tool: optional("tool", &request.tool)?,
        delegate_to: optional("delegate_to", &request.delegate_to)?,
        at: request.time.map(|at| instant("time", at)).transpose()?,
    })
}

/// An instant from 1970 on.
pub(crate) fn instant(field: &'static str, at: prost_types::Timestamp) -> Result<Timestamp, Refusal> {
    let millis = u64::try_from(at.seconds).ok().and_then(|seconds| seconds.checked_mul(1000));
    let more = u64::try_from(at.nanos).ok().map(|nanos| nanos / 1_000_000);
    let millis = millis.zip(more).and_then(|(millis, more)| millis.checked_add(more));
    millis.map(Timestamp::from_millis).ok_or_else(|| invalid(field, "it is no instant from 1970 on"))
}

/// A word that policies compare with; `None` when it is empty.
fn word(field: &'static str, text: String) -> Result<Option<String>, Refusal> {
    const MAX: usize = 100;
    if text.len() > MAX || text.chars().any(char::is_control) {
        return Err(invalid(field, format!("it is longer than {MAX} bytes, or has a control character")));
    }
    Ok((!text.is_empty()).then_some(text))
}

fn token(jkt: String) -> Form {
    Form::Token { jkt: (!jkt.is_empty()).then_some(jkt) }
}

fn request_id(text: &str) -> Result<Option<RequestId>, Refusal> {
    optional("request_id", text)
}

pub(crate) fn optional<T: FromStr<Err: Display>>(
    field: &'static str,
    text: &str,
) -> Result<Option<T>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| invalid(field, error))
}

fn set<T: Ord + FromStr<Err: Display>>(
    field: &'static str,
    texts: &[String],
) -> Result<BTreeSet<T>, Refusal> {
    if texts.is_empty() {
        return Err(invalid(field, "it is empty"));
    }
    if texts.len() > MAX_LIST {
        return Err(invalid(field, format!("it has more than {MAX_LIST} entries")));
    }
    texts.iter().map(|text| text.parse().map_err(|error| invalid(field, error))).collect()
}

/// Labels in an order, so that equal requests are equal.
pub(crate) fn ordered(labels: HashMap<String, String>) -> Result<BTreeMap<String, String>, Refusal> {
    if labels.len() > MAX_LIST {
        return Err(invalid("labels", format!("it has more than {MAX_LIST} entries")));
    }
    Ok(labels.into_iter().collect())
}
