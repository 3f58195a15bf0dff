//! Kills and wide holds.

use super::{feed::duration, invalid, lease, timestamp};
use std::time::Duration;
use taskpass_broker::{AfterKill, KillPlan, KillSelector, Killed};
use taskpass_lease::{HeldFor, Wide, WideHold};
use taskpass_proto::v1::{self, wide::What};
use taskpass_types::{AgentId, Owner, Refusal, ResourceName, TaskId};

/// How long the text of a failure may be.
const MESSAGE: usize = 256;

pub(crate) fn span(
    field: &'static str,
    span: Option<prost_types::Duration>,
) -> Result<Option<Duration>, Refusal> {
    span.map(|span| duration(field, span)).transpose()
}

pub(crate) fn kill_selector(
    selector: v1::KillSelector,
    task: Option<TaskId>,
    tree: Option<TaskId>,
) -> Result<KillSelector, Refusal> {
    let set = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let agent = set(&selector.agent).map(AgentId::new).transpose().map_err(|why| invalid("agent", why))?;
    let owner = set(&selector.owner).map(Owner::new).transpose().map_err(|why| invalid("owner", why))?;
    let resource = set(&selector.resource).map(ResourceName::new).transpose();
    Ok(KillSelector {
        agent,
        owner,
        resource: resource.map_err(|why| invalid("resource", why))?,
        task,
        tree,
        policy: set(&selector.policy),
        older_than: span("older_than", selector.older_than)?,
        labels: selector.labels.into_iter().collect(),
        all: selector.all,
    })
}

pub(crate) fn after_kill(
    reissue_ok: bool,
    quarantine: Option<prost_types::Duration>,
) -> Result<AfterKill, Refusal> {
    match (reissue_ok, span("quarantine", quarantine)?) {
        (true, Some(_)) => Err(invalid("quarantine", "it does not go with `reissue_ok`")),
        (_, Some(span)) => Ok(AfterKill::Quarantine(span)),
        (true, None) => Ok(AfterKill::Reissue),
        (false, None) => Ok(AfterKill::Hold),
    }
}

pub(crate) fn wide(wide: Option<v1::Wide>) -> Result<Wide, Refusal> {
    Ok(match wide.and_then(|wide| wide.what) {
        Some(What::Agent(name)) => Wide::Agent(AgentId::new(name).map_err(|why| invalid("agent", why))?),
        Some(What::Owner(name)) => Wide::Owner(Owner::new(name).map_err(|why| invalid("owner", why))?),
        Some(What::Resource(name)) => {
            Wide::Resource(ResourceName::new(name).map_err(|why| invalid("resource", why))?)
        }
        Some(What::Tenant(true)) => Wide::Tenant,
        Some(What::Tenant(false)) | None => return Err(invalid("wide", "it says nothing")),
    })
}

fn said(wide: Wide) -> v1::Wide {
    let what = match wide {
        Wide::Agent(agent) => What::Agent(agent.into()),
        Wide::Owner(owner) => What::Owner(owner.into()),
        Wide::Resource(resource) => What::Resource(resource.into()),
        Wide::Tenant => What::Tenant(true),
    };
    v1::Wide { what: Some(what) }
}

pub(crate) fn wide_hold(wide: Wide, hold: WideHold) -> v1::WideHold {
    let expire_time = match hold.held {
        HeldFor::Good => None,
        HeldFor::Until(until) => Some(timestamp(until)),
    };
    v1::WideHold { wide: Some(said(wide)), create_time: Some(timestamp(hold.at)), by: hold.by, expire_time }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(crate) fn kill_plan(plan: KillPlan) -> v1::PlanKillResponse {
    v1::PlanKillResponse {
        plan_id: plan.id.to_string(),
        expire_time: Some(timestamp(plan.expires_at)),
        matched: count(plan.leases.len()),
        leases: plan.shown.into_iter().map(lease).collect(),
        needs_confirm: plan.needs_confirm,
        wide: plan.wide.map(said),
    }
}

pub(crate) fn killed(
    killed: Killed,
    after: AfterKill,
    enforcement: Option<v1::Enforcement>,
) -> v1::KillLeasesResponse {
    let after = match after {
        AfterKill::Hold => v1::AfterKill::Held,
        AfterKill::Quarantine(_) => v1::AfterKill::Quarantined,
        AfterKill::Reissue => v1::AfterKill::ReissueOk,
    };
    let failures = killed.failures.into_iter().map(|(id, refusal)| v1::KillFailure {
        lease_id: id.to_string(),
        reason: refusal.reason().code().to_owned(),
        message: refusal.to_string().chars().take(MESSAGE).collect(),
    });
    v1::KillLeasesResponse {
        killed: count(killed.count),
        ended_before: count(killed.ended_before),
        leases: killed.leases.into_iter().map(lease).collect(),
        wide: killed.wide.map(said),
        after: after.into(),
        held_until: killed.held_until.map(timestamp),
        enforcement,
        failures: failures.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wide_comes_back_as_it_was() {
        for one in [
            Wide::Agent(AgentId::new("ci/bot").unwrap()),
            Wide::Owner(Owner::new("maya@acme.test").unwrap()),
            Wide::Resource(ResourceName::new("billing-api").unwrap()),
            Wide::Tenant,
        ] {
            assert_eq!(wide(Some(said(one.clone()))).unwrap(), one);
        }
        let bad = [
            None,
            Some(What::Tenant(false)),
            Some(What::Agent(String::new())),
            Some(What::Owner("\n".into())),
        ];
        for bad in bad {
            assert!(wide(Some(v1::Wide { what: bad.clone() })).is_err(), "{bad:?}");
        }
        assert!(wide(None).is_err());
    }
}
