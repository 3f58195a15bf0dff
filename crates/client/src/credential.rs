//! What a lease hands over: a token, or a certificate with its key. Neither has `Debug`.

use crate::Error;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use taskpass_proto::v1;
use taskpass_types::{Secret, Timestamp};
use tonic::Code;

/// A kind of credential that a lease can keep fresh: [`Token`] or [`Certificate`].
pub trait Credential: sealed::Sealed + Send + Sync + 'static {
    /// When it ends.
    fn expires_at(&self) -> Timestamp;
}

pub(crate) mod sealed {
    use super::{Error, Timestamp, v1};

    /// How a kind is asked for. What a request prepares stays here until its answer comes: a key never travels.
    pub trait Sealed: Sized {
        /// What the answer is completed with.
        type Prepared: Send + Sync;

        fn prepare(jkt: &str) -> Result<Self::Prepared, Error>;
        fn issue(prepared: &Self::Prepared) -> v1::issue_credential_request::Form;
        fn renew(prepared: &Self::Prepared, request: &mut v1::RenewCredentialRequest);
        fn receive(
            prepared: Self::Prepared,
            form: v1::credential::Form,
            expires_at: Timestamp,
        ) -> Result<Self, Error>;
    }
}

/// An RFC 9068 access token.
pub struct Token {
    text: Secret<String>,
    expires_at: Timestamp,
}

impl Token {
    /// The compact JWS, for the `Authorization: Bearer` header.
    pub fn secret(&self) -> &Secret<String> {
        &self.text
    }
}

impl Credential for Token {
    fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

impl sealed::Sealed for Token {
    /// The thumbprint of the key that the caller will prove; empty: none.
    type Prepared = String;

    fn prepare(jkt: &str) -> Result<String, Error> {
        Ok(jkt.to_owned())
    }

    fn issue(jkt: &String) -> v1::issue_credential_request::Form {
        v1::issue_credential_request::Form::Token(v1::TokenForm { jkt: jkt.clone() })
    }

    fn renew(jkt: &String, request: &mut v1::RenewCredentialRequest) {
        request.jkt.clone_from(jkt);
    }

    fn receive(_: String, form: v1::credential::Form, expires_at: Timestamp) -> Result<Self, Error> {
        match form {
            v1::credential::Form::Token(text) => Ok(Self { text: text.into(), expires_at }),
            v1::credential::Form::Certificate(_) => {
                Err(Error::unexpected("a certificate instead of a token"))
            }
        }
    }
}

/// A client certificate with its chain and its P-256 key, which was made here and never left.
pub struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    key: Secret<Vec<u8>>,
    expires_at: Timestamp,
}

impl Certificate {
    /// The leaf first, without the root.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The chain in PEM.
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|der| pem("CERTIFICATE", der)).collect()
    }

    /// The key, for rustls.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.expose().clone()).into()
    }

    /// The key in PEM (PKCS #8).
    pub fn key_pem(&self) -> Secret<String> {
        pem("PRIVATE KEY", self.key.expose()).into()
    }
}

impl Credential for Certificate {
    fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

/// A fresh key and the request for its certificate.
pub struct Requested {
    key: Secret<Vec<u8>>,
    csr: Vec<u8>,
}

impl sealed::Sealed for Certificate {
    type Prepared = Requested;

    fn prepare(_: &str) -> Result<Requested, Error> {
        let failed =
            |error: rcgen::Error| Error::local(Code::Internal, None, format!("cannot make a key: {error}"));
        let key = KeyPair::generate().map_err(failed)?;
        let csr = CertificateParams::default().serialize_request(&key).map_err(failed)?;
        Ok(Requested { key: key.serialize_der().into(), csr: csr.der().to_vec() })
    }

    fn issue(requested: &Requested) -> v1::issue_credential_request::Form {
        let csr = requested.csr.clone().into();
        v1::issue_credential_request::Form::Certificate(v1::CertificateForm { csr })
    }

    fn renew(requested: &Requested, request: &mut v1::RenewCredentialRequest) {
        request.csr = requested.csr.clone().into();
    }

    fn receive(
        requested: Requested,
        form: v1::credential::Form,
        expires_at: Timestamp,
    ) -> Result<Self, Error> {
        let v1::credential::Form::Certificate(chain) = form else {
            return Err(Error::unexpected("a token instead of a certificate"));
        };
        let chain: Vec<_> =
            chain.certificates.into_iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        if chain.is_empty() {
            return Err(Error::unexpected("a certificate chain without a certificate"));
        }
        Ok(Self { chain, key: requested.key, expires_at })
    }
}

/// RFC 7468: 64 characters a line.
fn pem(label: &str, der: &[u8]) -> String {
    let body: String = der.chunks(48).flat_map(|line| [BASE64.encode(line), "\n".to_owned()]).collect();
    format!("-----BEGIN {label}-----\n{body}-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::{sealed::Sealed, *};
    use rustls_pki_types::pem::PemObject;

    #[test]
    fn a_certificate_comes_with_the_key_of_its_request_in_both_forms() {
        let requested = Certificate::prepare("").unwrap();
        let key = requested.key.expose().clone();
        let form = v1::credential::Form::Certificate(v1::CertificateChain {
            certificates: vec![vec![7; 100].into(), vec![8; 48].into()],
        });
        let certificate = Certificate::receive(requested, form, Timestamp::from_secs(60)).unwrap();
        let from_pem: Vec<_> = CertificateDer::pem_slice_iter(certificate.chain_pem().as_bytes())
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(from_pem, certificate.chain());
        let from_pem = PrivateKeyDer::from_pem_slice(certificate.key_pem().expose().as_bytes()).unwrap();
        assert_eq!(from_pem.secret_der(), key);
    }

    #[test]
    fn an_answer_of_the_other_kind_is_refused() {
        let token = v1::credential::Form::Token("eyJ".into());
        let chain = v1::credential::Form::Certificate(v1::CertificateChain::default());
        let requested = || Certificate::prepare("").unwrap();
        assert!(Certificate::receive(requested(), token, Timestamp::default()).is_err());
        assert!(Certificate::receive(requested(), chain.clone(), Timestamp::default()).is_err());
        assert!(Token::receive(String::new(), chain, Timestamp::default()).is_err());
    }
}
