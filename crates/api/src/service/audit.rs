use super::Answers;
use crate::{Api, status};
use futures::{Stream, StreamExt, stream};
use std::collections::VecDeque;
use taskpass_audit::EntryLine;
use taskpass_broker::Role;
use taskpass_proto::v1::{self, audit_service_server::AuditService};
use taskpass_types::{Reason, Refusal};
use tonic::{Request, Response, Status};

/// How many entries one look at the file fetches.
const SLICE: usize = 256;
const DEFAULT_LAST: u64 = 20;

#[tonic::async_trait]
impl AuditService for Api {
    type TailAuditStream = Answers<v1::TailAuditResponse>;

    async fn tail_audit(
        &self,
        request: Request<v1::TailAuditRequest>,
    ) -> Result<Response<Self::TailAuditStream>, Status> {
        let caller = self.caller(request.extensions()).await?;
        caller.require(&[Role::Operator]).map_err(|refusal| self.refuse(&caller, &refusal))?;
        let v1::TailAuditRequest { from_seq, last, follow } = *request.get_ref();
        let last = if last == 0 { DEFAULT_LAST } else { u64::from(last) };
        let next = if from_seq == 0 { self.audit.head().seq.saturating_sub(last) + 1 } else { from_seq };
        let entries = Tail { api: self.clone(), next, follow, ready: VecDeque::new() }.stream();
        Ok(Response::new(Box::pin(entries.take_until(Box::pin(self.drain.stopping())))))
    }
}

impl Api {
    /// Up to `count` entries from `seq` on.
    pub(crate) async fn entries(&self, seq: u64, count: usize) -> Result<Vec<EntryLine>, Refusal> {
        let audit = self.audit.clone();
        let read = tokio::task::spawn_blocking(move || audit.read_from(seq, count)).await;
        let unreadable =
            |why: String| Refusal::new(Reason::AuditUnavailable, "the audit log cannot be read").because(why);
        let entries = read.map_err(|error| unreadable(error.to_string()))?;
        entries.map_err(|error| unreadable(error.to_string()))
    }
}

struct Tail {
    api: Api,
    next: u64,
    follow: bool,
    ready: VecDeque<EntryLine>,
}

impl Tail {
    fn stream(self) -> impl Stream<Item = Result<v1::TailAuditResponse, Status>> + Send {
        stream::unfold(Some(self), |tail| async {
            let mut tail = tail?;
            match tail.entry().await {
                Ok(Some(entry)) => {
                    Some((Ok(v1::TailAuditResponse { seq: entry.seq, entry: entry.json }), Some(tail)))
                }
                Ok(None) => None,
                Err(refusal) => Some((Err(status(&refusal)), None)),
            }
        })
    }

    async fn entry(&mut self) -> Result<Option<EntryLine>, Refusal> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                self.next = entry.seq + 1;
                return Ok(Some(entry));
            }
            if self.api.audit.head().seq < self.next {
                if !self.follow {
                    return Ok(None);
                }
                self.api.audit.wait_past(self.next - 1).await?;
            }
            self.ready = self.api.entries(self.next, SLICE).await?.into();
            if self.ready.is_empty() && !self.follow {
                return Ok(None);
            }
        }
    }
}
