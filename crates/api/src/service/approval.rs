use super::{Answers, cursor, named};
use crate::{Api, convert, status};
use futures::{StreamExt, stream};
use taskpass_lease::Verdict;
use taskpass_proto::v1::{self, approval_service_server::ApprovalService};
use taskpass_store::ApprovalQuery;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl ApprovalService for Api {
    type WatchApprovalsStream = Answers<v1::WatchApprovalsResponse>;

    async fn get_approval(
        &self,
        request: Request<v1::GetApprovalRequest>,
    ) -> Result<Response<v1::GetApprovalResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let approval = async {
            let id = self.approval_id(&caller, &request.get_ref().approval_id).await?;
            self.broker.approval(&caller, id).await
        };
        let approval = approval.await.map_err(|refusal| self.refuse(&caller, &refusal))?;
        Ok(Response::new(v1::GetApprovalResponse { approval: Some(convert::approval(approval)) }))
    }

    async fn list_approvals(
        &self,
        request: Request<v1::ListApprovalsRequest>,
    ) -> Result<Response<v1::ListApprovalsResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let request = request.into_inner();
        let page = async {
            let query = ApprovalQuery {
                agent: named(&request.agent)?,
                pending: request.pending,
                before: cursor(&request.page_token)?,
                limit: usize::try_from(request.page_size).unwrap_or(0),
                ..ApprovalQuery::default()
            };
            self.broker.approvals(&caller, query).await
        };
        let page = page.await.map_err(|refusal| self.refuse(&caller, &refusal))?;
        Ok(Response::new(v1::ListApprovalsResponse {
            approvals: page.items.into_iter().map(convert::approval).collect(),
            next_page_token: page.next.map(|id| id.to_string()).unwrap_or_default(),
        }))
    }

    async fn watch_approvals(
        &self,
        request: Request<v1::WatchApprovalsRequest>,
    ) -> Result<Response<Self::WatchApprovalsStream>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let feed = async {
            let only = match request.get_ref().approval_id.as_str() {
                "" => None,
                id => Some(self.approval_id(&caller, id).await?),
            };
            self.broker.watch_approvals(caller.clone(), only).await
        };
        let feed = feed.await.map_err(|refusal| self.refuse(&caller, &refusal))?;
        let changes = stream::unfold(Some(feed), |feed| async {
            let mut feed = feed?;
            match feed.next().await {
                Ok(Some(approval)) => {
                    let message = v1::WatchApprovalsResponse { approval: Some(convert::approval(approval)) };
                    Some((Ok(message), Some(feed)))
                }
                Ok(None) => None,
                Err(refusal) => Some((Err(status(&refusal)), None)),
            }
        });
        Ok(Response::new(Box::pin(changes.take_until(Box::pin(self.drain.stopping())))))
    }

    async fn decide_approval(
        &self,
        request: Request<v1::DecideApprovalRequest>,
    ) -> Result<Response<v1::DecideApprovalResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let request = request.into_inner();
        let id = self.approval_id(&caller, &request.approval_id).await;
        let id = id.map_err(|refusal| self.refuse(&caller, &refusal))?;
        let verdict = if request.approve { Verdict::Approve } else { Verdict::Deny };
        let broker = self.broker.clone();
        let decided = self
            .run(async move { broker.decide_approval(caller, id, verdict, &request.reason).await })
            .await?;
        Ok(Response::new(v1::DecideApprovalResponse { approval: Some(convert::approval(decided)) }))
    }
}
