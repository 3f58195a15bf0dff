//! Certificates: X.509-SVIDs for one task, from the public key of a CSR and nothing else of it.

use crate::{
    Credential, Form, Issuer, Material,
    port::{differs, key_is_gone},
};
use async_trait::async_trait;
use std::sync::Arc;
use taskpass_crypto::{
    KeyRing, thumbprint,
    x509::{self, CrlShard},
};
use taskpass_store::Prepared;
use taskpass_types::{CredentialKind, KeyGeneration, Reason, Refusal, Revocability};

/// Signs certificates with the key ring's certificate authority.
pub struct X509Issuer {
    keys: Arc<KeyRing>,
    crl_base: String,
}

impl X509Issuer {
    /// Signs with `keys`; the revocation lists are below the URL `crl_base`.
    pub fn new(keys: Arc<KeyRing>, crl_base: String) -> Self {
        Self { keys, crl_base }
    }
}

#[async_trait]
impl Issuer for X509Issuer {
    fn kind(&self) -> CredentialKind {
        CredentialKind::X509
    }

    fn revocability(&self) -> Revocability {
        Revocability::Bounded
    }

    fn key_generation(&self) -> KeyGeneration {
        self.keys.ca().generation()
    }

    fn accept(&self, form: Form) -> Result<Material, Refusal> {
        let Form::Certificate { csr } = form else {
            return Err(Refusal::new(
                Reason::CsrInvalid,
                "a certificate needs a certificate signing request",
            )
            .fix("send a PKCS #10 request for a P-256 or Ed25519 key"));
        };
        let key = x509::csr::public_key(&csr)?;
        Ok(Material { confirmation: Some(thumbprint::key(key.public_key())), key: Some(key) })
    }

    async fn issue(&self, prepared: Prepared, material: &Material) -> Result<Credential, Refusal> {
        let grant = prepared.grant();
        let key = material
            .key
            .as_ref()
            .ok_or_else(|| Refusal::new(Reason::Internal, "a certificate was planned without a key"))?;
        let ca = self.keys.ca_of(grant.key_generation).ok_or_else(|| key_is_gone(&grant))?;
        let leaf = ca.sign(&self.crl_base, key, &grant)?;
        let crl = CrlShard::of(grant.lease).url(&self.crl_base, grant.key_generation);
        x509::lint(&leaf, key, &grant, &crl).map_err(|error| differs(&grant, &error))?;
        Ok(Credential::Certificate(vec![leaf]))
    }
}
