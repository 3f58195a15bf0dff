use crate::{Api, convert};
use taskpass_broker::Role;
use taskpass_proto::v1::{self, agent_service_server::AgentService};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl AgentService for Api {
    async fn who_am_i(
        &self,
        request: Request<v1::WhoAmIRequest>,
    ) -> Result<Response<v1::WhoAmIResponse>, Status> {
        // Whoever is not registered is told so, and what to register, by the refusal's `selectors`.
        let caller = self.caller(request.extensions()).await?;
        Ok(Response::new(v1::WhoAmIResponse {
            evidence: caller.identity.description.clone(),
            selectors: caller.identity.selectors.iter().map(ToString::to_string).collect(),
            expire_time: Some(convert::timestamp(caller.identity.expires_at)),
            agent: caller.agent().map(ToString::to_string).unwrap_or_default(),
            owner: caller.owner().map(ToString::to_string).unwrap_or_default(),
            roles: caller.roles().map(Role::as_str).map(str::to_owned).collect(),
            tenant: caller.tenant.to_string(),
        }))
    }
}
