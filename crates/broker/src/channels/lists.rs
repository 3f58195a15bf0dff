//! The revocation lists themselves: for each authority one of everything, for servers that read a file, and one for each part,
//! for whoever goes where a certificate says.
//!
//! A part in which nothing changed keeps its list until that grows old; so an end signs the list of everything and one part.

use super::cuts::{Cuts, Part, revoked};
use std::sync::Arc;
use taskpass_crypto::{
    CertificateAuthority, SignError,
    x509::{CrlScope, CrlShard, CrlTerms, crl_pem},
};
use taskpass_types::{KeyGeneration, Reason, Refusal};

/// One list.
#[derive(Clone, Debug)]
pub struct Crl {
    /// Its number, greater than that of every list before it that speaks for the same certificates.
    pub number: u128,
    /// It.
    pub der: Arc<[u8]>,
}

/// The lists of one authority.
#[derive(Clone, Debug)]
pub struct AuthorityCrls {
    /// The generation of the authority's key.
    pub generation: KeyGeneration,
    whole: Option<Crl>,
    /// By number, each with what it was made of.
    parts: Vec<(Arc<Part>, Crl)>,
}

impl AuthorityCrls {
    /// The list that speaks for all its certificates.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE` while there are more than such a list may name.
    pub fn whole(&self) -> Result<&Crl, Refusal> {
        self.whole.as_ref().ok_or_else(too_long)
    }

    /// The list that speaks for those of one part.
    pub fn part(&self, shard: CrlShard) -> Option<&Crl> {
        self.parts.get(usize::from(shard.number())).map(|(_, crl)| crl)
    }
}

/// The lists of all authorities.
#[derive(Clone, Debug)]
pub struct Crls {
    /// Oldest generation first.
    pub authorities: Vec<AuthorityCrls>,
    pem: Option<Arc<[u8]>>,
    /// The number of the newest, which only ever grows.
    pub number: u128,
}

impl Crls {
    /// The lists that speak for everything, one after the other, in PEM.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE` while there are more certificates than such a list may name.
    pub fn pem(&self) -> Result<Arc<[u8]>, Refusal> {
        self.pem.clone().ok_or_else(too_long)
    }

    /// Those of one authority.
    pub fn of(&self, generation: KeyGeneration) -> Option<&AuthorityCrls> {
        self.authorities.iter().find(|one| one.generation == generation)
    }
}

fn too_long() -> Refusal {
    let why = "more certificates are cut off than one list may name; only its parts are there, /crl/GENERATION/PART";
    Refusal::new(Reason::StoreUnavailable, why).fix("fetch the part that the certificate names")
}

/// What lists are made of.
pub(super) struct Material {
    pub(super) authorities: Vec<Arc<CertificateAuthority>>,
    pub(super) cuts: Cuts,
    pub(super) terms: CrlTerms,
    /// Below which URL they are.
    pub(super) crl_base: String,
    /// The most certificates that a list of everything names.
    pub(super) longest: usize,
    /// The lists before, of which those may be kept that say nothing else than now; `None`: they grow old.
    pub(super) before: Option<Arc<Crls>>,
}

impl Material {
    pub(super) fn sign(&self) -> Result<Crls, SignError> {
        let authorities: Vec<_> =
            self.authorities.iter().map(|one| self.sign_all(one)).collect::<Result<_, _>>()?;
        let whole: Option<String> =
            authorities.iter().map(|one| one.whole.as_ref().map(|crl| crl_pem(&crl.der))).collect();
        Ok(Crls { authorities, pem: whole.map(|pem| pem.into_bytes().into()), number: self.terms.number })
    }

    fn sign_all(&self, authority: &CertificateAuthority) -> Result<AuthorityCrls, SignError> {
        let generation = authority.generation();
        let known = self.before.as_ref().and_then(|before| before.of(generation));
        let part = |(shard, part): (CrlShard, &Arc<Part>)| {
            let same = known.and_then(|known| known.parts.get(usize::from(shard.number())));
            match same.filter(|(of, _)| Arc::ptr_eq(of, part)) {
                Some(same) => Ok(same.clone()),
                None => {
                    let url = shard.url(&self.crl_base, generation);
                    let crl = self.sign_one(authority, CrlScope::At(&url), [part])?;
                    Ok((part.clone(), crl))
                }
            }
        };
        let parts = self.cuts.parts().map(part).collect::<Result<_, SignError>>()?;
        let all = || self.sign_one(authority, CrlScope::All, self.cuts.parts().map(|(_, part)| part));
        let whole = (self.cuts.certificates() <= self.longest).then(all).transpose()?;
        Ok(AuthorityCrls { generation, whole, parts })
    }

    fn sign_one<'a>(
        &self,
        authority: &CertificateAuthority,
        scope: CrlScope<'_>,
        parts: impl IntoIterator<Item = &'a Arc<Part>>,
    ) -> Result<Crl, SignError> {
        let named = |part: &'a Arc<Part>| revoked(part, authority.generation(), self.terms.this_update);
        let revoked: Vec<_> = parts.into_iter().flat_map(named).collect();
        let der = authority.sign_crl(&self.terms, scope, &revoked)?;
        Ok(Crl { number: self.terms.number, der: der.into() })
    }
}
