use super::{cursor, named};
use crate::{Api, convert};
use taskpass_broker::{AfterKill, Dead, Held};
use taskpass_proto::v1::{self, lease_service_server::LeaseService};
use taskpass_store::LeaseQuery;
use taskpass_types::{Refusal, ResourceName};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl LeaseService for Api {
    async fn get_lease(
        &self,
        request: Request<v1::GetLeaseRequest>,
    ) -> Result<Response<v1::GetLeaseResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let lease = async {
            let id = self.lease_id(&caller, &request.get_ref().lease_id).await?;
            self.broker.lease(&caller, id).await
        };
        let lease = lease.await.map_err(|refusal| self.refuse(&caller, &refusal))?;
        Ok(Response::new(v1::GetLeaseResponse { lease: Some(convert::lease(lease)) }))
    }

    async fn list_leases(
        &self,
        request: Request<v1::ListLeasesRequest>,
    ) -> Result<Response<v1::ListLeasesResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let request = request.into_inner();
        let page = async {
            let task = match request.task_id.as_str() {
                "" => None,
                id => Some(self.task_id(&caller, id).await?),
            };
            let query = LeaseQuery {
                task,
                agent: named(&request.agent)?,
                active: request.active,
                before: cursor(&request.page_token)?,
                limit: usize::try_from(request.page_size).unwrap_or(0),
                ..LeaseQuery::default()
            };
            self.broker.leases(&caller, query).await
        };
        let page = page.await.map_err(|refusal| self.refuse(&caller, &refusal))?;
        Ok(Response::new(v1::ListLeasesResponse {
            leases: page.items.into_iter().map(convert::lease).collect(),
            next_page_token: page.next.map(|id| id.to_string()).unwrap_or_default(),
        }))
    }

    async fn kill_lease(
        &self,
        request: Request<v1::KillLeaseRequest>,
    ) -> Result<Response<v1::KillLeaseResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let request = request.into_inner();
        let asked = async {
            let after = convert::after_kill(request.reissue_ok, request.quarantine)?;
            Ok((self.lease_id(&caller, &request.lease_id).await?, after, convert::patience(request.wait)?))
        };
        let (id, after, wait) = asked.await.map_err(|refusal| self.refuse(&caller, &refusal))?;
        let (broker, held) = (self.broker.clone(), after != AfterKill::Reissue);
        let lease =
            self.run(async move { broker.kill_lease(caller, id, after, &request.reason).await }).await?;
        let enforcement = self.enforcement(&lease.tenant, Dead::lease(&lease), wait).await;
        Ok(Response::new(v1::KillLeaseResponse { lease: Some(convert::lease(lease)), held, enforcement }))
    }

    async fn release_hold(
        &self,
        request: Request<v1::ReleaseHoldRequest>,
    ) -> Result<Response<v1::ReleaseHoldResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let v1::ReleaseHoldRequest { lease_id, task_id, resource } = request.into_inner();
        let held = async {
            if task_id.is_empty() {
                return Ok(Held::Lease(self.lease_id(&caller, &lease_id).await?));
            }
            let resource =
                ResourceName::new(&resource).map_err(|error| convert::invalid("resource", error))?;
            Ok(Held::Task(self.task_id(&caller, &task_id).await?, resource))
        };
        let held = held.await.map_err(|refusal: Refusal| self.refuse(&caller, &refusal))?;
        let broker = self.broker.clone();
        let released = self.run(async move { broker.release_hold(caller, held).await }).await?;
        Ok(Response::new(v1::ReleaseHoldResponse { released }))
    }
}
