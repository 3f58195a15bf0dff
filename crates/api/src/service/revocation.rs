use super::Answers;
use crate::{Api, convert, status};
use futures::{StreamExt, stream};
use taskpass_proto::v1::{self, revocation_service_server::RevocationService};
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
            convert::resume(request.get_ref()).and_then(|resume| self.broker.watch_denies(&caller, resume));
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
}
