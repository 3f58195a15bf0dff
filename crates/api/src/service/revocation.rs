use super::Answers;
use crate::{Api, convert, status};
use futures::{StreamExt, stream};
use std::time::Duration;
use taskpass_broker::Dead;
use taskpass_proto::v1::{self, revocation_service_server::RevocationService};
use taskpass_types::TenantId;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl RevocationService for Api {
    type WatchDeniesStream = Answers<v1::WatchDeniesResponse>;

    async fn watch_denies(
        &self,
        request: Request<v1::WatchDeniesRequest>,
    ) -> Result<Response<Self::WatchDeniesStream>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let feed =
            convert::watch_ask(request.into_inner()).and_then(|ask| self.broker.watch_denies(&caller, ask));
        let feed = feed.map_err(|refusal| self.refuse(&caller, &refusal))?;
        // A failed read ends the feed; the verifier comes back and resumes.
        let messages = stream::unfold(Some(feed), |feed| async {
            let mut feed = feed?;
            match feed.next().await {
                Ok(message) => Some((Ok(convert::feed_message(message)), Some(feed))),
                Err(refusal) => Some((Err(status(&refusal)), None)),
            }
        });
        Ok(Response::new(Box::pin(messages.take_until(Box::pin(self.drain.stopping())))))
    }

    async fn acknowledge_denies(
        &self,
        request: Request<v1::AcknowledgeDeniesRequest>,
    ) -> Result<Response<v1::AcknowledgeDeniesResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let noted = convert::acknowledged(request.get_ref())
            .and_then(|said| self.broker.acknowledge_denies(&caller, said));
        noted.map_err(|refusal| self.refuse(&caller, &refusal))?;
        Ok(Response::new(v1::AcknowledgeDeniesResponse {}))
    }

    async fn answer_probes(
        &self,
        request: Request<v1::AnswerProbesRequest>,
    ) -> Result<Response<v1::AnswerProbesResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let noted = convert::probed(request.into_inner())
            .and_then(|(session, answers)| self.broker.answer_probes(&caller, session, &answers));
        noted.map_err(|refusal| self.refuse(&caller, &refusal))?;
        Ok(Response::new(v1::AnswerProbesResponse {}))
    }
}

impl Api {
    /// Who enforces what has just ended, after `wait` at the latest; nothing for who does not ask, and for what ended with
    /// what was above it.
    pub(super) async fn enforcement(
        &self,
        tenant: &TenantId,
        dead: Option<Dead>,
        wait: Option<Duration>,
    ) -> Option<v1::Enforcement> {
        let (dead, wait) = dead.zip(wait)?;
        Some(convert::enforcement(self.broker.enforcement(tenant, &dead, wait).await))
    }
}
