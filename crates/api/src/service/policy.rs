use crate::{Api, convert};
use taskpass_proto::v1::{self, policy_service_server::PolicyService};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl PolicyService for Api {
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
}
