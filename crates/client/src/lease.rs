//! Guards of leases: the current credential, renewed before it ends for as long as the guard lives.

use crate::{
    Broker, Certificate, Credential, Error, Token, approvals::Patience, broker, credential::sealed::Sealed,
    renew::Keeper,
};
use std::{fmt, sync::Arc, time::Duration};
use taskpass_proto::v1;
use taskpass_types::{Secret, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What a lease guard has to hand out.
pub enum LeaseState<C> {
    /// A credential that lives.
    Current(Arc<C>),
    /// There will be no other: its renewal was refused, or its end came.
    Lost(Error),
}

impl<C> Clone for LeaseState<C> {
    fn clone(&self) -> Self {
        match self {
            Self::Current(credential) => Self::Current(Arc::clone(credential)),
            Self::Lost(error) => Self::Lost(error.clone()),
        }
    }
}

/// Asks for a lease; made by [`Task::lease`](crate::Task::lease).
#[derive(Clone)]
#[must_use = "nothing is asked for before `token` or `certificate`"]
pub struct LeaseBuilder {
    broker: Broker,
    task: String,
    resource: String,
    actions: Vec<String>,
    ttl: Option<Duration>,
    jkt: String,
    patience: Option<Patience>,
}

impl LeaseBuilder {
    pub(crate) fn new(broker: Broker, task: String, resource: String) -> Self {
        Self { broker, task, resource, actions: Vec::new(), ttl: None, jkt: String::new(), patience: None }
    }

    /// Adds one action; the task must have declared it for the resource.
    pub fn action(mut self, action: impl Into<String>) -> Self {
        self.actions.push(action.into());
        self
    }

    /// Adds several actions.
    pub fn actions<A: Into<String>>(mut self, actions: impl IntoIterator<Item = A>) -> Self {
        self.actions.extend(actions.into_iter().map(Into::into));
        self
    }

    /// How long each credential is to live; the broker's default when not said. Policy and the task may shorten it.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Binds a token to a key that the caller will prove: its SHA-256 thumbprint (RFC 7638, base64url).
    pub fn bound_to(mut self, jkt: impl Into<String>) -> Self {
        self.jkt = jkt.into();
        self
    }

    /// When people have to approve, waits for them that long, and asks again. `told` hears of the approval that is waited
    /// for. Without this, the refusal `APPROVAL_REQUIRED` comes at once.
    pub fn wait_for_approval(
        mut self,
        at_most: Duration,
        told: impl Fn(&v1::Approval) + Send + Sync + 'static,
    ) -> Self {
        self.patience = Some(Patience::new(at_most, told));
        self
    }

    /// Leases an access token.
    pub async fn token(self) -> Result<Lease<Token>, Error> {
        self.issue().await
    }

    /// Leases a client certificate, for a P-256 key that is made here.
    pub async fn certificate(self) -> Result<Lease<Certificate>, Error> {
        self.issue().await
    }

    async fn issue<C: Credential>(self) -> Result<Lease<C>, Error> {
        let prepared = C::prepare(&self.jkt)?;
        let mut request = v1::IssueCredentialRequest {
            request_id: String::new(),
            task_id: self.task,
            resource: self.resource,
            actions: self.actions,
            ttl: self.ttl.map(span).transpose()?,
            form: Some(C::issue(&prepared)),
            approval_id: String::new(),
        };
        // One id for all attempts: the one after the approval is the same request.
        broker::name(&mut request.request_id);
        let ttl = request.ttl;
        let asking = || self.broker.issue(request.clone());
        let (record, credential) = self.broker.approved(self.patience.as_ref(), asking).await?;
        let credential = receive::<C>(prepared, &record, credential)?;
        let (state, watched) = watch::channel(LeaseState::Current(Arc::new(credential)));
        let stop = CancellationToken::new();
        let keeper = Keeper::new(self.broker.clone(), record.clone(), ttl, self.jkt, state);
        self.broker.keepers.spawn(stop.clone().run_until_cancelled_owned(keeper.run()));
        Ok(Lease { record, state: watched, _stop: stop.drop_guard() })
    }
}

/// A lease whose credential is kept fresh: renewed at about two thirds of its life, until the guard is dropped, the
/// broker refuses, or the task's deadline comes. Dropping the guard stops the renewal; what was issued dies when it
/// expires or when the task ends, whichever is first.
pub struct Lease<C> {
    record: v1::Lease,
    state: watch::Receiver<LeaseState<C>>,
    _stop: DropGuard,
}

impl<C> fmt::Debug for Lease<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("id", &self.record.id).finish_non_exhaustive()
    }
}

impl<C: Credential> Lease<C> {
    /// Its id, `ls_…`.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// The broker's record of it, as of its first credential.
    pub fn record(&self) -> &v1::Lease {
        &self.record
    }

    /// The current credential; an error when the lease is lost.
    pub fn current(&self) -> Result<Arc<C>, Error> {
        match &*self.state.borrow() {
            LeaseState::Current(credential) => Ok(Arc::clone(credential)),
            LeaseState::Lost(error) => Err(error.clone()),
        }
    }

    /// Every credential from now on, and why there are no more.
    pub fn watch(&self) -> watch::Receiver<LeaseState<C>> {
        self.state.clone()
    }

    /// Waits until the lease is lost and says why.
    pub async fn lost(&self) -> Error {
        let mut state = self.state.clone();
        let lost = state.wait_for(|state| matches!(state, LeaseState::Lost(_))).await;
        match lost.as_deref() {
            Ok(LeaseState::Lost(error)) => error.clone(),
            _ => Error::unexpected("the lease is no longer kept"),
        }
    }
}

impl Lease<Token> {
    /// The current token; an error when the lease is lost.
    pub fn token(&self) -> Result<Secret<String>, Error> {
        self.current().map(|token| token.secret().clone())
    }
}

/// Completes what was prepared with what the broker answered.
pub(crate) fn receive<C: Sealed>(
    prepared: C::Prepared,
    lease: &v1::Lease,
    credential: v1::Credential,
) -> Result<C, Error> {
    let form = credential.form.ok_or_else(|| Error::unexpected("an empty credential"))?;
    let expires_at = lease.expire_time.and_then(instant);
    let expires_at = expires_at.ok_or_else(|| Error::unexpected("a lease that does not say when it ends"))?;
    C::receive(prepared, form, expires_at)
}

pub(crate) fn instant(time: prost_types::Timestamp) -> Option<Timestamp> {
    let millis = u64::try_from(time.seconds).ok()?.checked_mul(1000)?;
    Some(Timestamp::from_millis(millis.checked_add(u64::try_from(time.nanos).ok()? / 1_000_000)?))
}

/// `None` for a negative or broken one. By hand, because the conversion that protobuf's types come with panics on the
/// most negative number of seconds.
pub(crate) fn duration(span: prost_types::Duration) -> Option<Duration> {
    let nanos = u32::try_from(span.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(span.seconds).ok()?, nanos))
}

pub(crate) fn span(span: Duration) -> Result<prost_types::Duration, Error> {
    span.try_into().map_err(|_| {
        Error::local(tonic::Code::InvalidArgument, None, format!("{span:?} is too long to be said"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_says_nonsense_is_not_believed() {
        let parse = |seconds, nanos| duration(prost_types::Duration { seconds, nanos });
        assert_eq!(parse(5, 500_000_000), Some(Duration::from_millis(5500)));
        for (seconds, nanos) in [(-1, 0), (i64::MIN, 0), (0, -1), (u32::MAX.into(), i32::MAX)] {
            assert_eq!(parse(seconds, nanos), None, "{seconds} {nanos}");
        }
    }
}
