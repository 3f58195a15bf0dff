//! The client's certificate as nginx (`$ssl_client_escaped_cert`) and Envoy (`attributes.source.certificate`) hand it
//! on: the leaf in PEM, percent-encoded.

use percent_encoding::percent_decode_str;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

/// Longer than any certificate of ours, and any that a token could be bound to.
const MAX_BYTES: usize = 16 * 1024;

/// What was handed on is no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client certificate that the proxy hands on cannot be read")]
pub(crate) struct Unreadable;

/// The certificate; `None` when there is none, which proxies say by an empty text.
pub(crate) fn parse(text: &str) -> Result<Option<CertificateDer<'static>>, Unreadable> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > MAX_BYTES {
        return Err(Unreadable);
    }
    let pem: Vec<u8> = percent_decode_str(text).collect();
    CertificateDer::from_pem_slice(&pem).map(Some).map_err(|_| Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAQ+/\n-----END CERTIFICATE-----\n";

    #[test]
    fn both_proxies_spellings_are_read() {
        let nginx = "-----BEGIN%20CERTIFICATE-----%0AAQ%2B%2F%0A-----END%20CERTIFICATE-----%0A";
        let plus = "-----BEGIN%20CERTIFICATE-----%0AAQ+/%0A-----END%20CERTIFICATE-----%0A";
        for text in [nginx, plus, PEM] {
            let der = parse(text).unwrap().unwrap();
            assert_eq!(der.as_ref(), [1, 0x0f, 0xbf], "{text}");
        }
        assert_eq!(parse(""), Ok(None));
    }

    #[test]
    fn what_is_none_is_refused() {
        let long = format!("{}{PEM}", "x".repeat(MAX_BYTES));
        for text in
            ["x", "%", "%00", "-----BEGIN%20CERTIFICATE-----%0A", "-----BEGIN PRIVATE KEY-----", &long]
        {
            assert_eq!(parse(text), Err(Unreadable), "{text}");
        }
    }
}
