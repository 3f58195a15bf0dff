//! Tokens that come back: what one is worth now (RFC 7662), and that it is to be worth nothing any more (RFC 7009).
//!
//! Invariants: nothing of a token counts before its signature is verified with a key of ours; whoever asks learns nothing
//! of a token that is not for them, not even that it exists; when the store does not answer, neither does this.

use super::wide::Wide;
use crate::{Broker, Caller, Role};
use std::sync::Arc;
use taskpass_crypto::{Expect, Leeway, TokenError};
use taskpass_lease::EndLease;
use taskpass_types::{EndReason, Grant, Kind, Reason, Refusal, Timestamp};

/// What came of a token that was to be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokedToken {
    /// It is worth nothing from now on, or was already.
    Dead,
    /// It is none of ours.
    Foreign,
}

impl Broker {
    /// What a token grants, if it is good now and for this caller: a verifier is told about tokens for the resources that it
    /// is, an operator about all of the tenant.
    ///
    /// # Errors
    /// `NOT_PERMITTED`; when the store does not answer.
    pub async fn introspect(&self, caller: &Caller, token: &str) -> Result<Option<Grant>, Refusal> {
        caller
            .require(&[Role::Verifier, Role::Operator])
            .inspect_err(|refusal| self.refused(caller, refusal, |event| event))?;
        let Ok(Some(grant)) = self.own_token(token).await? else { return Ok(None) };
        let is_theirs = caller.has(Role::Operator) || caller.audiences.contains(&grant.resource);
        if !is_theirs || grant.tenant != caller.tenant {
            return Ok(None);
        }
        Ok(self.is_good(&grant).await?.then_some(grant))
    }

    /// Ends the lease of a token, for its holder or an operator. A token of somebody else is left as it is, and whoever tried
    /// is not told, but written down.
    ///
    /// # Errors
    /// When the end could not be written.
    pub async fn revoke_token(&self, caller: Arc<Caller>, token: &str) -> Result<RevokedToken, Refusal> {
        let grant = match self.own_token(token).await? {
            Ok(Some(grant)) => grant,
            Ok(None) => return Ok(RevokedToken::Dead),
            Err(_) => return Ok(RevokedToken::Foreign),
        };
        let is_theirs =
            caller.has(Role::Operator) || caller.agent().is_some_and(|agent| grant.agent() == Some(agent));
        if !is_theirs || grant.tenant != caller.tenant {
            let refusal =
                Refusal::new(Reason::NotPermitted, "only its holder or an operator can revoke a token")
                    .with("lease", grant.lease);
            self.refused(&caller, &refusal, |event| event.lease(grant.lease));
            return Ok(RevokedToken::Dead);
        }
        let actor = caller.actor(grant.agent());
        let end = EndLease {
            tenant: caller.tenant.clone(),
            lease: grant.lease,
            reason: EndReason::Cancelled,
            by: actor.to_string(),
            hold: false,
        };
        match self.end_lease(actor, end, "").await {
            Ok(_) => Ok(RevokedToken::Dead),
            // It has been forgotten, long after its end.
            Err(refusal) if refusal.kind() == Kind::NotFound => Ok(RevokedToken::Dead),
            Err(refusal) => Err(refusal),
        }
    }

    /// What a token says that a key of ours signed; `None` when it has expired.
    async fn own_token(&self, token: &str) -> Result<Result<Option<Grant>, TokenError>, Refusal> {
        if *self.parts().store.mending().borrow() {
            return Err(Refusal::new(
                Reason::StoreUnavailable,
                "the store has lost something and is being made whole",
            )
            .fix("ask again in a moment"));
        }
        self.follow_keys().await?;
        let parts = self.parts();
        let now = self.now();
        // Another broker of the fleet may be ahead of our clock. An expiry is one all the same.
        let expect = Expect { issuer: &parts.settings.issuer, audience: None, now, leeway: Leeway::MAX };
        Ok(match parts.keys.token_keys().verify(token, &expect) {
            Ok(grant) => Ok(Some(grant).filter(|grant| now < grant.expires_at)),
            Err(TokenError::Expired) => Ok(None),
            Err(error) => Err(error),
        })
    }

    /// Whether nothing has ended what a grant rests on: its lease, a task above it, or anything wider.
    async fn is_good(&self, grant: &Grant) -> Result<bool, Refusal> {
        let (store, now) = (&self.parts().store, self.now());
        if self.is_widely_denied(grant, now).await? {
            return Ok(false);
        }
        match store.standing(&grant.tenant, grant.lease, now).await {
            // A renewal that the store does not know of was never released.
            Ok(lease) => Ok(grant.renewal <= lease.renewal),
            Err(refusal) if matches!(refusal.kind(), Kind::Ended | Kind::NotFound) => Ok(false),
            // What cannot be read counts as ended.
            Err(refusal) if refusal.reason() == Reason::StoreCorrupt => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }
    async fn is_widely_denied(&self, grant: &Grant, now: Timestamp) -> Result<bool, Refusal> {
        let store = &self.parts().store;
        let mut wide = self.0.channels.wide.lock().await;
        let wide = wide.get_or_insert_with(|| Wide::new(store.history()));
        wide.follow(&**store, &grant.tenant, now).await?;
        Ok(wide.denies(grant))
    }
}
