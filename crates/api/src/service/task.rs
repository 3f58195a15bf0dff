use super::{cursor, named};
use crate::{Api, convert};
use taskpass_broker::Dead;
use taskpass_proto::v1::{self, task_service_server::TaskService};
use taskpass_store::TaskQuery;
use taskpass_types::EndReason;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl TaskService for Api {
    async fn start_task(
        &self,
        request: Request<v1::StartTaskRequest>,
    ) -> Result<Response<v1::StartTaskResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let request = request.into_inner();
        let ask = async {
            let parent = match request.parent_task_id.as_str() {
                "" => None,
                id => Some(self.task_id(&caller, id).await?),
            };
            convert::start_ask(request, parent)
        };
        let ask = ask.await.map_err(|refusal| self.refuse(&caller, &refusal))?;
        let broker = self.broker.clone();
        let task = self.run(async move { broker.start_task(caller, ask).await }).await?;
        Ok(Response::new(v1::StartTaskResponse { task: Some(convert::task(task)) }))
    }

    async fn get_task(
        &self,
        request: Request<v1::GetTaskRequest>,
    ) -> Result<Response<v1::GetTaskResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let task = async {
            let id = self.task_id(&caller, &request.get_ref().task_id).await?;
            self.broker.task(&caller, id).await
        };
        let task = task.await.map_err(|refusal| self.refuse(&caller, &refusal))?;
        Ok(Response::new(v1::GetTaskResponse { task: Some(convert::task(task)) }))
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Result<Response<v1::ListTasksResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let request = request.into_inner();
        let page = async {
            let query = TaskQuery {
                agent: named(&request.agent)?,
                running: request.running,
                before: cursor(&request.page_token)?,
                limit: usize::try_from(request.page_size).unwrap_or(0),
                ..TaskQuery::default()
            };
            self.broker.tasks(&caller, query).await
        };
        let page = page.await.map_err(|refusal| self.refuse(&caller, &refusal))?;
        Ok(Response::new(v1::ListTasksResponse {
            tasks: page.items.into_iter().map(convert::task).collect(),
            next_page_token: page.next.map(|id| id.to_string()).unwrap_or_default(),
        }))
    }

    async fn heartbeat_task(
        &self,
        request: Request<v1::HeartbeatTaskRequest>,
    ) -> Result<Response<v1::HeartbeatTaskResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let task = async {
            let id = self.task_id(&caller, &request.get_ref().task_id).await?;
            self.broker.heartbeat(caller.clone(), id).await
        };
        let task = task.await.map_err(|refusal| self.refuse(&caller, &refusal))?;
        Ok(Response::new(v1::HeartbeatTaskResponse { silent_time: task.silent_at.map(convert::timestamp) }))
    }

    async fn complete_task(
        &self,
        request: Request<v1::CompleteTaskRequest>,
    ) -> Result<Response<v1::CompleteTaskResponse>, Status> {
        let v1::CompleteTaskRequest { task_id, wait } = request.get_ref();
        let (task, enforcement) = self.end(&request, task_id, EndReason::Completed, "", *wait).await?;
        Ok(Response::new(v1::CompleteTaskResponse { task: Some(task), enforcement }))
    }

    async fn get_task_receipt(
        &self,
        request: Request<v1::GetTaskReceiptRequest>,
    ) -> Result<Response<v1::GetTaskReceiptResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let v1::GetTaskReceiptRequest { task_id, wait } = request.into_inner();
        let asked = async { Ok((self.task_id(&caller, &task_id).await?, convert::patience(wait)?)) };
        let (id, wait) = asked.await.map_err(|refusal| self.refuse(&caller, &refusal))?;
        let broker = self.broker.clone();
        let closure =
            self.run(async move { broker.close_task(caller, id, wait.unwrap_or_default()).await }).await?;
        let (receipt, jwks) = (closure.signed, closure.jwks.to_string());
        Ok(Response::new(v1::GetTaskReceiptResponse { receipt, jwks }))
    }

    async fn cancel_task(
        &self,
        request: Request<v1::CancelTaskRequest>,
    ) -> Result<Response<v1::CancelTaskResponse>, Status> {
        let v1::CancelTaskRequest { task_id, reason, wait } = request.get_ref();
        let (task, enforcement) = self.end(&request, task_id, EndReason::Cancelled, reason, *wait).await?;
        Ok(Response::new(v1::CancelTaskResponse { task: Some(task), enforcement }))
    }
}

impl Api {
    async fn end<T>(
        &self,
        request: &Request<T>,
        id: &str,
        reason: EndReason,
        why: &str,
        wait: Option<prost_types::Duration>,
    ) -> Result<(v1::Task, Option<v1::Enforcement>), Status> {
        let caller = self.caller(request.extensions()).await?;
        let asked = async { Ok((self.task_id(&caller, id).await?, convert::patience(wait)?)) };
        let (id, wait) = asked.await.map_err(|refusal| self.refuse(&caller, &refusal))?;
        let (broker, why) = (self.broker.clone(), why.to_owned());
        let task = self.run(async move { broker.end_task(caller, id, reason, &why).await }).await?;
        let dead = match (Dead::task(&task), wait) {
            (Some(dead), Some(_)) => Some(self.broker.marked(dead, &task).await),
            (dead, _) => dead,
        };
        let enforcement = self.enforcement(&task.tenant, dead, wait).await;
        Ok((convert::task(task), enforcement))
    }
}
