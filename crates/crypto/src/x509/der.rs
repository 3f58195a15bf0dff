//! The few DER values that nobody else writes for us.

use x509_parser::{
    der_parser::asn1_rs::{Any, Tag},
    prelude::FromDer,
};

/// ecdsa-with-SHA256 as an AlgorithmIdentifier (RFC 5758 section 3.2).
const ECDSA_WITH_SHA256: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

const BIT_STRING: u8 = 0x03;
const UTF8_STRING: u8 = 0x0c;
const SEQUENCE: u8 = 0x30;

fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len().to_be_bytes();
    let length = length.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
    let mut der = vec![tag];
    match length.as_slice() {
        [] => der.push(0),
        [short @ 0..0x80] => der.push(*short),
        long => {
            der.push(0x80 | u8::try_from(long.len()).unwrap_or(u8::MAX));
            der.extend(long);
        }
    }
    der.extend(content);
    der
}

/// A UTF8String.
pub(super) fn utf8_string(text: &[u8]) -> Vec<u8> {
    value(UTF8_STRING, &[text])
}

/// The content of a UTF8String that is all of `der`.
pub(super) fn read_utf8_string(der: &[u8]) -> Option<&[u8]> {
    let (rest, text) = Any::from_der(der).ok()?;
    (rest.is_empty() && text.tag() == Tag::Utf8String).then_some(text.data)
}

/// The first element of a certificate, header and all: what is signed.
pub(super) fn to_be_signed(certificate: &[u8]) -> Option<&[u8]> {
    let (_, outer) = Any::from_der(certificate).ok()?;
    let (rest, _) = Any::from_der(outer.data).ok()?;
    outer.data.get(..outer.data.len().checked_sub(rest.len())?)
}

/// A certificate: what is signed, with which algorithm, the signature (RFC 5280 section 4.1).
pub(super) fn certificate(tbs: &[u8], ecdsa_signature: &[u8]) -> Vec<u8> {
    value(SEQUENCE, &[tbs, ECDSA_WITH_SHA256, &value(BIT_STRING, &[&[0], ecdsa_signature])])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_fewest_bytes() {
        for (len, head) in
            [(0, &[12, 0][..]), (127, &[12, 127]), (128, &[12, 0x81, 128]), (256, &[12, 0x82, 1, 0])]
        {
            let text = vec![b'a'; len];
            let der = utf8_string(&text);
            assert_eq!(&der[..head.len()], head);
            assert_eq!(read_utf8_string(&der), Some(&text[..]));
            assert_eq!(read_utf8_string(&[&der[..], &[0]].concat()), None, "trailing byte");
        }
    }
}
