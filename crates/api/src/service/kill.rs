//! Kills of more than one lease, and holds that are wider than a task.

use crate::{Api, convert};
use std::sync::Arc;
use taskpass_broker::{Caller, KillAsk, KillSelector, KillWhat};
use taskpass_proto::v1::{self, kill_service_server::KillService};
use taskpass_types::Refusal;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl KillService for Api {
    async fn plan_kill(
        &self,
        request: Request<v1::PlanKillRequest>,
    ) -> Result<Response<v1::PlanKillResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let selector = self.kill_selector(&caller, request.into_inner().selector).await;
        let selector = selector.map_err(|refusal| self.refuse(&caller, &refusal))?;
        let broker = self.broker.clone();
        let plan = self.run(async move { broker.plan_kill(caller, selector).await }).await?;
        Ok(Response::new(convert::kill_plan(plan)))
    }

    async fn kill_leases(
        &self,
        request: Request<v1::KillLeasesRequest>,
    ) -> Result<Response<v1::KillLeasesResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let asked = self.kill_ask(&caller, request.into_inner()).await;
        let (ask, wait) = asked.map_err(|refusal| self.refuse(&caller, &refusal))?;
        let (broker, after, tenant) = (self.broker.clone(), ask.after, caller.tenant.clone());
        let mut killed = self.run(async move { broker.kill_leases(caller, ask).await }).await?;
        let enforcement = self.enforcement(&tenant, killed.dead.take(), wait).await;
        Ok(Response::new(convert::killed(killed, after, enforcement)))
    }

    async fn set_hold(
        &self,
        request: Request<v1::SetHoldRequest>,
    ) -> Result<Response<v1::SetHoldResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let v1::SetHoldRequest { wide, duration, reason } = request.into_inner();
        let asked = convert::wide(wide).and_then(|wide| Ok((wide, convert::span("duration", duration)?)));
        let (wide, span) = asked.map_err(|refusal| self.refuse(&caller, &refusal))?;
        let (broker, what) = (self.broker.clone(), wide.clone());
        let hold = self.run(async move { broker.hold_wide(caller, wide, span, &reason).await }).await?;
        Ok(Response::new(v1::SetHoldResponse { hold: Some(convert::wide_hold(what, hold)) }))
    }

    async fn list_holds(
        &self,
        request: Request<v1::ListHoldsRequest>,
    ) -> Result<Response<v1::ListHoldsResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let holds =
            self.broker.wide_holds(&caller).await.map_err(|refusal| self.refuse(&caller, &refusal))?;
        let holds = holds.into_iter().map(|(wide, hold)| convert::wide_hold(wide, hold)).collect();
        Ok(Response::new(v1::ListHoldsResponse { holds }))
    }

    async fn lift_hold(
        &self,
        request: Request<v1::LiftHoldRequest>,
    ) -> Result<Response<v1::LiftHoldResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let wide = convert::wide(request.into_inner().wide);
        let wide = wide.map_err(|refusal| self.refuse(&caller, &refusal))?;
        let broker = self.broker.clone();
        let lifted = self.run(async move { broker.lift_hold(caller, wide).await }).await?;
        Ok(Response::new(v1::LiftHoldResponse { lifted }))
    }
}

impl Api {
    async fn kill_ask(
        &self,
        caller: &Arc<Caller>,
        request: v1::KillLeasesRequest,
    ) -> Result<(KillAsk, Option<std::time::Duration>), Refusal> {
        let wait = convert::patience(request.wait)?;
        let after = convert::after_kill(request.reissue_ok, request.quarantine)?;
        let what = match request.what {
            Some(v1::kill_leases_request::What::PlanId(id)) => {
                KillWhat::Planned(id.parse().map_err(|error| convert::invalid("plan_id", error))?)
            }
            Some(v1::kill_leases_request::What::Selector(selector)) => {
                KillWhat::Selected(self.kill_selector(caller, Some(selector)).await?)
            }
            None => return Err(convert::invalid("what", "neither selector nor plan is set")),
        };
        let expect = usize::try_from(request.expect).ok().filter(|expect| *expect > 0);
        Ok((KillAsk { what, expect, confirm: request.confirm, why: request.reason, after }, wait))
    }

    async fn kill_selector(
        &self,
        caller: &Caller,
        selector: Option<v1::KillSelector>,
    ) -> Result<KillSelector, Refusal> {
        let selector = selector.unwrap_or_default();
        let task = match selector.task_id.as_str() {
            "" => None,
            id => Some(self.task_id(caller, id).await?),
        };
        let tree = match selector.tree_id.as_str() {
            "" => None,
            id => Some(self.task_id(caller, id).await?),
        };
        convert::kill_selector(selector, task, tree)
    }
}
