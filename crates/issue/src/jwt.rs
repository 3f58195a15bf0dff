//! Tokens: RFC 9068, `typ: at+jwt`.

use crate::{
    Credential, Form, Issuer, Material,
    port::{differs, key_is_gone},
};
use async_trait::async_trait;
use std::sync::Arc;
use taskpass_crypto::{KeyRing, jws, thumbprint};
use taskpass_store::Prepared;
use taskpass_types::{
    Confirmation, CredentialKind, Grant, KeyGeneration, Reason, Refusal, Revocability, Secret,
};

/// Signs tokens with the key ring's active key.
pub struct JwtIssuer {
    keys: Arc<KeyRing>,
    issuer: String,
}

impl JwtIssuer {
    /// `issuer` is the tokens' `iss`.
    pub fn new(keys: Arc<KeyRing>, issuer: String) -> Self {
        Self { keys, issuer }
    }
}

#[async_trait]
impl Issuer for JwtIssuer {
    fn kind(&self) -> CredentialKind {
        CredentialKind::Jwt
    }

    fn revocability(&self) -> Revocability {
        Revocability::Bounded
    }

    fn key_generation(&self) -> KeyGeneration {
        self.keys.signer().generation()
    }

    fn accept(&self, form: Form) -> Result<Material, Refusal> {
        let Form::Token { jkt } = form else {
            return Err(Refusal::new(Reason::FieldInvalid, "a token needs no certificate signing request"));
        };
        match jkt {
            Some(jkt) if !thumbprint::is_sha256(&jkt) => Err(Refusal::new(
                Reason::FieldInvalid,
                "`jkt` is not a SHA-256 thumbprint in base64url without padding",
            )
            .with("field", "jkt")),
            jkt => Ok(Material { key: None, confirmation: jkt.map(Confirmation::KeyThumbprint) }),
        }
    }

    async fn issue(&self, prepared: Prepared, _material: &Material) -> Result<Credential, Refusal> {
        let grant = prepared.grant();
        let signer = self.keys.signer_of(grant.key_generation).ok_or_else(|| key_is_gone(&grant))?;
        released(signer.sign(&self.issuer, &grant)?, &grant)
    }
}

/// What was signed, if it says what was decided and nothing else (I4).
fn released(token: String, decided: &Grant) -> Result<Credential, Refusal> {
    match jws::read_back(&token) {
        Ok(signed) if signed == *decided => Ok(Credential::Token(Secret::new(token))),
        Ok(_) => Err(differs(decided, &"a field differs")),
        Err(error) => Err(differs(decided, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use taskpass_crypto::{KeyPolicy, SealKey};
    use taskpass_types::{
        DecisionId, LeaseId, ManualClock, PolicyRevision, SpiffeId, StatusIndex, StatusListId, TaskId,
        TaskPath, TenantId, Timestamp, TrustDomain,
    };

    fn grant() -> Grant {
        let (task, now) = (TaskId::new(), Timestamp::from_secs(1_800_000_000));
        Grant {
            tenant: TenantId::default(),
            lease: LeaseId::new(),
            renewal: 0,
            task_path: TaskPath::root(task),
            agents: vec!["ci/bot".parse().unwrap()],
            owner: "maya@acme.test".parse().unwrap(),
            subject: SpiffeId::new(format!("spiffe://acme.test/ci/bot/task/{task}")).unwrap(),
            resource: "billing-api".parse().unwrap(),
            actions: vec!["invoice:read".parse().unwrap()],
            decision: DecisionId::new(),
            policy_revision: PolicyRevision::new("p1").unwrap(),
            key_generation: KeyGeneration(1),
            deny_epoch: taskpass_types::Epoch::default(),
            confirmation: None,
            status: None,
            issued_at: now,
            expires_at: now.plus(Duration::from_secs(300)),
        }
    }

    type Change = fn(&mut Grant);

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_token_that_says_something_else_than_was_decided_is_not_released() {
        let dir = tempfile::tempdir().unwrap();
        let seal = SealKey::generate_file(&dir.path().join("seal")).unwrap();
        let policy = KeyPolicy::new(TrustDomain::new("acme.test").unwrap());
        let signed = grant();
        let clock = ManualClock::new(signed.issued_at);
        let keys = KeyRing::open(&dir.path().join("keys"), &seal, &clock, policy).unwrap();
        let token = keys.signer().sign("https://taskpass.acme.test", &signed).unwrap();
        assert!(released(token.clone(), &signed).is_ok());

        let changes: [(&str, Change); 16] = [
            ("status", |grant| {
                let list = StatusListId::new(KeyGeneration(1), [1; 12]);
                grant.status = Some(StatusIndex { list, index: 0 });
            }),
            ("tenant", |grant| grant.tenant = "other".parse().unwrap()),
            ("lease", |grant| grant.lease = LeaseId::new()),
            ("renewal", |grant| grant.renewal += 1),
            ("task_path", |grant| grant.task_path = TaskPath::root(TaskId::new())),
            ("agents", |grant| grant.agents.push("ci/other".parse().unwrap())),
            ("owner", |grant| grant.owner = "eve@acme.test".parse().unwrap()),
            ("subject", |grant| grant.subject = SpiffeId::new("spiffe://acme.test/ci/other").unwrap()),
            ("resource", |grant| grant.resource = "ledger-api".parse().unwrap()),
            ("actions", |grant| grant.actions.push("invoice:delete".parse().unwrap())),
            ("decision", |grant| grant.decision = DecisionId::new()),
            ("policy_revision", |grant| grant.policy_revision = PolicyRevision::new("p2").unwrap()),
            ("key_generation", |grant| grant.key_generation = KeyGeneration(2)),
            ("confirmation", |grant| grant.confirmation = Some(Confirmation::KeyThumbprint("x".into()))),
            ("issued_at", |grant| grant.issued_at = grant.issued_at.plus(SECOND)),
            ("expires_at", |grant| grant.expires_at = grant.expires_at.plus(SECOND)),
        ];
        for (field, change) in changes {
            let mut decided = signed.clone();
            change(&mut decided);
            assert_ne!(decided, signed, "{field}");
            let refusal = released(token.clone(), &decided).err().unwrap_or_else(|| panic!("{field}"));
            assert_eq!(refusal.reason(), Reason::SignedNotDecided, "{field}");
        }
        for garbage in [String::new(), "a.b.c".to_owned(), token[..token.len() / 2].to_owned()] {
            let refusal = released(garbage, &signed).err().unwrap();
            assert_eq!(refusal.reason(), Reason::SignedNotDecided);
        }
    }
}
