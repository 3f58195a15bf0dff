use crate::{Api, convert};
use taskpass_broker::Role;
use taskpass_proto::v1::{self, agent_service_server::AgentService};
use tonic::{Request, Response, Status};

/// Agents on one page, when nobody says how many, and at most.
const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;

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
            user: caller.user().map(ToString::to_string).unwrap_or_default(),
        }))
    }

    async fn list_agents(
        &self,
        request: Request<v1::ListAgentsRequest>,
    ) -> Result<Response<v1::ListAgentsResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let v1::ListAgentsRequest { page_size, page_token } = request.into_inner();
        let agents = self.broker.agents(&caller).map_err(|refusal| self.refuse(&caller, &refusal))?;
        let size = match usize::try_from(page_size).unwrap_or(MAX_PAGE) {
            0 => DEFAULT_PAGE,
            size => size.min(MAX_PAGE),
        };
        // The token is the last name of the page before.
        let mut rest = agents.into_iter().filter(|agent| agent.id.as_str() > page_token.as_str());
        let page: Vec<_> = rest.by_ref().take(size).collect();
        let next = page.last().filter(|_| rest.next().is_some()).map(|agent| agent.id.to_string());
        Ok(Response::new(v1::ListAgentsResponse {
            agents: page.into_iter().map(convert::agent).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }
}
