//! Tokens: RFC 9068, `typ: at+jwt`.

use crate::{
    Credential, Form, Issuer, Material,
    port::{differs, key_is_gone},
};
use async_trait::async_trait;
use std::sync::Arc;
use taskpass_crypto::{KeyRing, jws, thumbprint};
use taskpass_store::Prepared;
use taskpass_types::{Confirmation, CredentialKind, KeyGeneration, Reason, Refusal, Revocability, Secret};

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
        let token = signer.sign(&self.issuer, &grant)?;
        match jws::read_back(&token) {
            Ok(signed) if signed == grant => {}
            Ok(_) => return Err(differs(&grant, &"a field differs")),
            Err(error) => return Err(differs(&grant, &error)),
        }
        Ok(Credential::Token(Secret::new(token)))
    }
}
