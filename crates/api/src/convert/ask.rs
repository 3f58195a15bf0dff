//! Requests, parsed: what gets past here is canonical and bounded.

use super::{invalid, ttl};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Display,
    str::FromStr,
};
use taskpass_broker::{IssueAsk, RenewAsk, StartAsk};
use taskpass_issue::Form;
use taskpass_proto::v1;
use taskpass_types::{CredentialKind, LeaseId, Refusal, RequestId, ResourceName, TaskId, TaskKind};

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

fn token(jkt: String) -> Form {
    Form::Token { jkt: (!jkt.is_empty()).then_some(jkt) }
}

fn request_id(text: &str) -> Result<Option<RequestId>, Refusal> {
    optional("request_id", text)
}

fn optional<T: FromStr<Err: Display>>(field: &'static str, text: &str) -> Result<Option<T>, Refusal> {
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
fn ordered(labels: HashMap<String, String>) -> Result<BTreeMap<String, String>, Refusal> {
    if labels.len() > MAX_LIST {
        return Err(invalid("labels", format!("it has more than {MAX_LIST} entries")));
    }
    Ok(labels.into_iter().collect())
}
