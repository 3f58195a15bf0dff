//! Keeps one lease: sleeps until about two thirds of a credential's life are over, renews it, hands out the new one.
//!
//! Time is the broker's: how far our clock is off is learnt from the lease's creation. Long sleeps are cut, so that a
//! machine that was suspended finds out within seconds.

use crate::{
    Broker, Credential, Error, LeaseState, broker,
    lease::{instant, receive},
    retry,
};
use std::{sync::Arc, time::Duration};
use taskpass_proto::v1;
use taskpass_types::{Reason, Timestamp};
use tokio::{sync::watch, time::sleep};
use tonic::Code;

/// The longest sleep without a look at the clock.
const SLICE: Duration = Duration::from_secs(5);
/// Between two renewals at least.
const BREATH: Duration = Duration::from_millis(250);
/// What part of a life is over when it is renewed; a random part of the spread is added.
const PART: f64 = 0.6;
const SPREAD: f64 = 0.1;

pub(crate) struct Keeper<C> {
    broker: Broker,
    lease: v1::Lease,
    ttl: Option<prost_types::Duration>,
    jkt: String,
    /// What to add to our clock to have the broker's, in milliseconds.
    offset: i64,
    state: watch::Sender<LeaseState<C>>,
}

impl<C: Credential> Keeper<C> {
    pub(crate) fn new(
        broker: Broker,
        lease: v1::Lease,
        ttl: Option<prost_types::Duration>,
        jkt: String,
        state: watch::Sender<LeaseState<C>>,
    ) -> Self {
        let now = broker.clock.now();
        let created = lease.create_time.and_then(instant).unwrap_or(now);
        let offset = i64::try_from(created.as_millis())
            .unwrap_or_default()
            .saturating_sub(i64::try_from(now.as_millis()).unwrap_or_default());
        Self { broker, lease, ttl, jkt, offset, state }
    }

    pub(crate) async fn run(mut self) {
        let error = loop {
            if self.at_hard_stop() {
                self.sleep_until(self.expiry()).await;
                break self.ended();
            }
            let now = self.now();
            let part = fastrand::f64().mul_add(SPREAD, PART);
            self.sleep_until(now.plus(self.expiry().since(now).mul_f64(part).max(BREATH))).await;
            if let Err(error) = self.renew().await {
                break error;
            }
        };
        tracing::warn!(lease = self.lease.id, %error, "the lease is lost");
        self.state.send_replace(LeaseState::Lost(error));
    }

    /// One renewal, asked for again with the same id until it is answered or the credential has ended.
    async fn renew(&mut self) -> Result<(), Error> {
        let prepared = C::prepare(&self.jkt)?;
        let mut request = v1::RenewCredentialRequest {
            lease_id: self.lease.id.clone(),
            ttl: self.ttl,
            ..Default::default()
        };
        C::renew(&prepared, &mut request);
        broker::name(&mut request.request_id);
        let mut attempt = 0;
        let (lease, credential) = loop {
            match self.broker.renew(request.clone()).await {
                Err(error) if error.is_retryable() && self.now() < self.expiry() => {
                    let pause = error.retry_after().unwrap_or_default().min(SLICE) + retry::backoff(attempt);
                    attempt += 1;
                    sleep(pause).await;
                }
                answer => break answer?,
            }
        };
        let credential = receive::<C>(prepared, &lease, credential)?;
        self.lease = lease;
        self.state.send_replace(LeaseState::Current(Arc::new(credential)));
        Ok(())
    }

    async fn sleep_until(&self, at: Timestamp) {
        while self.now() < at {
            sleep(at.since(self.now()).min(SLICE)).await;
        }
    }

    fn now(&self) -> Timestamp {
        let now = self.broker.clock.now().as_millis();
        Timestamp::from_millis(now.saturating_add_signed(self.offset))
    }

    fn expiry(&self) -> Timestamp {
        self.lease.expire_time.and_then(instant).unwrap_or_default()
    }

    /// No renewal passes the hard stop, so there is nothing to ask for.
    fn at_hard_stop(&self) -> bool {
        self.lease.hard_stop_time.and_then(instant).is_some_and(|stop| self.expiry() >= stop)
    }

    fn ended(&self) -> Error {
        let message = format!("lease `{}` has reached the deadline of its task", self.lease.id);
        Error::local(Code::FailedPrecondition, Some(Reason::LeaseEnded), message)
    }
}
