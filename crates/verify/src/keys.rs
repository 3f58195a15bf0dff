//! What credentials are checked against, as the broker says it in the feed.

use crate::wire::Malformed;
use rustls_pki_types::CertificateDer;
use taskpass_crypto::{CaBundle, TokenKeys};
use taskpass_proto::v1;
use taskpass_types::TrustDomain;

/// The issuer with its public keys; taken whole or not at all.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The `iss` of tokens.
    pub(crate) issuer: String,
    pub(crate) tokens: TokenKeys,
    /// `None`: the broker signs no certificates, so all are refused.
    pub(crate) authorities: Option<CaBundle>,
}

impl Keys {
    pub(crate) fn parse(keys: &v1::VerificationKeys) -> Result<Self, Malformed> {
        let bad = |error: &dyn std::fmt::Display| Malformed(format!("its keys: {error}"));
        if keys.issuer.is_empty() {
            return Err(bad(&"there is no issuer"));
        }
        let tokens = TokenKeys::parse(keys.jwks.as_bytes()).map_err(|error| bad(&error))?;
        let authorities = (!keys.ca_certificates.is_empty()).then(|| authorities(keys)).transpose()?;
        Ok(Self { issuer: keys.issuer.clone(), tokens, authorities })
    }
}

fn authorities(keys: &v1::VerificationKeys) -> Result<CaBundle, Malformed> {
    let bad = |error: &dyn std::fmt::Display| Malformed(format!("its authorities: {error}"));
    let domain = TrustDomain::new(&keys.trust_domain).map_err(|error| bad(&error))?;
    let certificates: Vec<_> =
        keys.ca_certificates.iter().map(|der| CertificateDer::from(der.as_ref())).collect();
    let bundle = CaBundle::from_der(&certificates).map_err(|error| bad(&error))?;
    if *bundle.trust_domain() != domain {
        return Err(bad(&"they are of another trust domain"));
    }
    Ok(bundle)
}
