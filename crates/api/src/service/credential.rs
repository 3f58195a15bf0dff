use crate::{Api, convert};
use taskpass_proto::v1::{self, credential_service_server::CredentialService};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl CredentialService for Api {
    async fn issue_credential(
        &self,
        request: Request<v1::IssueCredentialRequest>,
    ) -> Result<Response<v1::IssueCredentialResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let request = request.into_inner();
        let ask = async {
            let task = self.task_id(&caller, &request.task_id).await?;
            convert::issue_ask(request, task)
        };
        let ask = ask.await.map_err(|refusal| self.refuse(&caller, &refusal))?;
        let broker = self.broker.clone();
        let issued = self.run(async move { broker.issue(caller, ask).await }).await?;
        Ok(Response::new(v1::IssueCredentialResponse {
            lease: Some(convert::lease(issued.lease)),
            credential: Some(convert::credential(issued.credential)),
        }))
    }

    async fn renew_credential(
        &self,
        request: Request<v1::RenewCredentialRequest>,
    ) -> Result<Response<v1::RenewCredentialResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let request = request.into_inner();
        let ask = async {
            let id = self.lease_id(&caller, &request.lease_id).await?;
            let lease = self.broker.lease(&caller, id).await?;
            convert::renew_ask(request, id, lease.kind)
        };
        let ask = ask.await.map_err(|refusal| self.refuse(&caller, &refusal))?;
        let broker = self.broker.clone();
        let renewed = self.run(async move { broker.renew(caller, ask).await }).await?;
        Ok(Response::new(v1::RenewCredentialResponse {
            lease: Some(convert::lease(renewed.lease)),
            credential: Some(convert::credential(renewed.credential)),
        }))
    }
}
