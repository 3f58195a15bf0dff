//! The claims of an access token (RFC 9068 section 2.2), to write and to read with one type.

use super::{TokenError, status::Status};
use crate::{
    claims::{GrantClaim, Terms, says},
    object::{self, Object},
};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use taskpass_types::{ActionName, AgentId, Confirmation, Grant, ResourceName, SpiffeId};

/// The type of our `authorization_details` (RFC 9396 section 2.1).
pub const RAR_TYPE: &str = "urn:taskpass:rar:task:v1";

/// The whole payload; unknown and duplicate members are refused at every depth. Texts are borrowed: one that needs an
/// escape is not one that we write.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claims<'a> {
    #[serde(borrow)]
    pub(super) iss: &'a str,
    pub(super) sub: SpiffeId,
    pub(super) aud: ResourceName,
    client_id: AgentId,
    #[serde(borrow)]
    jti: Cow<'a, str>,
    pub(super) iat: u64,
    pub(super) exp: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    status: Option<Object<Status<'a>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    act: Option<Object<Act>>,
    #[serde(borrow)]
    authorization_details: [Object<Detail<'a>>; 1],
    #[serde(rename = "urn:taskpass:grant")]
    grant: Object<GrantClaim>,
}

/// One actor of a delegation; `act` within is the one before (RFC 8693 section 4.1).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Act {
    sub: AgentId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    act: Option<Box<Object<Act>>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Detail<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    locations: [ResourceName; 1],
    actions: Vec<ActionName>,
}

impl Act {
    /// The chain for `agents` (root first): the holder outermost. `None` when nothing was delegated.
    fn chain(agents: &[AgentId]) -> Option<Self> {
        let [first, .., _] = agents else { return None };
        let root = Self { sub: first.clone(), act: None };
        Some(
            agents
                .iter()
                .skip(1)
                .fold(root, |older, agent| Self { sub: agent.clone(), act: Some(Box::new(Object(older))) }),
        )
    }

    /// From the holder back to the root.
    fn agents(&self) -> impl Iterator<Item = &AgentId> {
        std::iter::successors(Some(self), |act| act.act.as_deref().map(|Object(older)| older))
            .map(|act| &act.sub)
    }
}

/// All claims of a token from `issuer` for a sound grant, as they are in it; `None` for one that is not.
pub fn claims(issuer: &str, grant: &Grant) -> Option<serde_json::Map<String, serde_json::Value>> {
    match serde_json::to_value(Claims::of(issuer, grant)?).ok()? {
        serde_json::Value::Object(claims) => Some(claims),
        _ => None,
    }
}

impl<'a> Claims<'a> {
    /// What a token from `issuer` says of a sound grant; `None` without a holder.
    pub(super) fn of(issuer: &'a str, grant: &Grant) -> Option<Self> {
        Some(Self {
            iss: issuer,
            sub: grant.subject.clone(),
            aud: grant.resource.clone(),
            client_id: grant.agent()?.clone(),
            jti: Cow::Owned(grant.jti()),
            iat: grant.issued_at.as_secs(),
            exp: grant.expires_at.as_secs(),
            cnf: grant.confirmation.clone(),
            status: grant.status.map(|status| Object(Status::of(issuer, &status))),
            act: Act::chain(&grant.agents).map(Object),
            authorization_details: [Object(Detail {
                kind: RAR_TYPE,
                locations: [grant.resource.clone()],
                actions: grant.actions.clone(),
            })],
            grant: Object(GrantClaim::for_token(grant)),
        })
    }

    /// Parses a payload.
    pub(super) fn parse(json: &'a [u8]) -> Result<Self, TokenError> {
        object::from_json(json).map_err(|error| TokenError::ClaimsInvalid(error.to_string()))
    }

    /// The grant that the claims say, when all of them say the same.
    pub(super) fn into_grant(self) -> Result<Grant, TokenError> {
        let differ = |what| Err(TokenError::GrantInconsistent(what));
        let [Object(detail)] = self.authorization_details;
        if detail.kind != RAR_TYPE {
            return differ("the type of `authorization_details` is not ours");
        }
        let [location] = &detail.locations;
        if *location != self.aud {
            return differ("`aud` is not the location in `authorization_details`");
        }
        let terms = Terms {
            resource: self.aud,
            actions: detail.actions,
            cnf: self.cnf,
            iat: self.iat,
            exp: self.exp,
        };
        let mut grant = self.grant.0.with_terms(self.sub, terms)?;
        if let Some(Object(status)) = &self.status {
            let Some(place) =
                status.place(self.iss).filter(|place| place.list.generation() <= grant.key_generation)
            else {
                return differ("`status` is no place on a list of this issuer");
            };
            grant.status = Some(place);
        }
        if grant.agent() != Some(&self.client_id) {
            return differ("`client_id` is not the holder");
        }
        // As `Grant::jti` writes it.
        if !says(&self.jti, format_args!("{}.{}", grant.lease, grant.renewal)) {
            return differ("`jti` is not the lease and its renewal");
        }
        let delegated = grant.agents.len() > 1;
        match &self.act {
            None if delegated => differ("`act` is missing"),
            Some(_) if !delegated => differ("`act` without a delegation"),
            Some(Object(act)) if !act.agents().eq(grant.agents.iter().rev()) => {
                differ("`act` is not the agents' chain")
            }
            _ => Ok(grant),
        }
    }
}
