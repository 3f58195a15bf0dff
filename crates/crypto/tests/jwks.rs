//! Key sets that a verifier must refuse, pass over or take; and that a library takes every token that we take.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

mod common;

use common::{ISSUER, T0, delegated, keys_with, policy};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    crypto::{CryptoProvider, JwtVerifier, KeyUtils},
    errors::ErrorKind,
    jwk::JwkSet,
    signature,
};
use serde_json::{Value, json};
use taskpass_crypto::{Alg, Expect, KeyPolicy, Leeway, PublicKey, TokenKeys, jws::JwksError};

const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

fn ec(extra: &Value) -> Value {
    let mut key =
        json!({"kty": "EC", "crv": "P-256", "x": X, "y": Y, "kid": "a", "use": "sig", "alg": "ES256"});
    for (name, value) in extra.as_object().unwrap() {
        match value {
            Value::Null => drop(key.as_object_mut().unwrap().remove(name)),
            value => key[name] = value.clone(),
        }
    }
    key
}

fn parse(keys: &[Value]) -> Result<TokenKeys, JwksError> {
    TokenKeys::parse(json!({ "keys": keys }).to_string().as_bytes())
}

/// RFC 7515 appendix A.3, the example for ES256.
#[test]
fn the_signature_of_rfc_7515_appendix_a_3_holds() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let message = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let keys = parse(&[ec(&json!({}))]).unwrap();
    let key = keys.key("a").unwrap();
    assert!(key.verifies(message.as_bytes(), &signature));
    assert!(!key.verifies(&message.as_bytes()[1..], &signature));
    assert!(matches!(key, PublicKey::P256(_)));
}

#[test]
fn a_bad_key_refuses_the_whole_set() {
    let good = ec(&json!({"kid": "good"}));
    let cases = [
        (ec(&json!({"d": X})), JwksError::PrivateKey),
        (ec(&json!({"d": null, "k": "AAAA"})), JwksError::PrivateKey),
        (json!({"kty": "oct", "kid": "a"}), JwksError::PrivateKey),
        (json!({"kty": "RSA", "kid": "a", "n": "AQ", "e": "AQAB", "p": "AQ"}), JwksError::PrivateKey),
        (ec(&json!({"kid": "good"})), JwksError::DuplicateKid),
        (ec(&json!({"kid": null})), JwksError::KeyInvalid("its `kid` is missing or longer than 64 bytes")),
        (ec(&json!({"kid": ""})), JwksError::KeyInvalid("its `kid` is missing or longer than 64 bytes")),
        (
            ec(&json!({"kid": "k".repeat(65)})),
            JwksError::KeyInvalid("its `kid` is missing or longer than 64 bytes"),
        ),
        (ec(&json!({"alg": "HS256"})), JwksError::KeyInvalid("its `alg` is not that of its type")),
        (ec(&json!({"alg": "EdDSA"})), JwksError::KeyInvalid("its `alg` is not that of its type")),
    ];
    for (bad, error) in cases {
        assert_eq!(parse(&[good.clone(), bad.clone()]).unwrap_err(), error, "{bad}");
    }
    for (name, value) in
        [("x", json!("AA")), ("y", Value::Null), ("x", json!(format!("{X}="))), ("y", json!(""))]
    {
        let error = parse(&[good.clone(), ec(&json!({ name: value }))]).unwrap_err();
        assert!(matches!(error, JwksError::KeyInvalid(_)), "{name}: {error}");
    }
}

#[test]
fn a_key_for_somebody_else_is_passed_over() {
    let others = [
        json!({"kty": "RSA", "kid": "a", "n": "AQ", "e": "AQAB"}),
        json!({"kty": "AKP", "kid": "b", "alg": "ML-DSA-44"}),
        ec(&json!({"crv": "P-384", "kid": "c"})),
        ec(&json!({"use": "enc", "kid": "d"})),
    ];
    assert_eq!(parse(&others).unwrap_err(), JwksError::Empty);
    let all: Vec<_> = others
        .into_iter()
        .chain([ec(&json!({"kid": "mine", "x5t": "unknown members are ignored"}))])
        .collect();
    assert_eq!(parse(&all).unwrap().kids().collect::<Vec<_>>(), ["mine"]);
}

#[test]
fn a_set_is_bounded_and_json() {
    let many: Vec<_> = (0..17).map(|i| ec(&json!({"kid": i.to_string()}))).collect();
    assert_eq!(parse(&many).unwrap_err(), JwksError::TooLarge);
    assert_eq!(TokenKeys::parse(&vec![b' '; 64 * 1024 + 1]).unwrap_err(), JwksError::TooLarge);
    assert_eq!(parse(&[]).unwrap_err(), JwksError::Empty);
    let twice = r#"{"keys":[{"kty":"EC","kty":"oct","kid":"a"}]}"#;
    for bad in ["", "null", "[]", r#"{"keys":1}"#, r#"{"keys":[[]]}"#, r#"{"keys":[],"keys":[]}"#, twice] {
        let error = TokenKeys::parse(bad.as_bytes()).unwrap_err();
        assert!(matches!(error, JwksError::Malformed(_)), "{bad}: {error}");
    }
}

struct RingVerifier(PublicKey);

impl signature::Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        if self.0.verifies(message, signature) { Ok(()) } else { Err(signature::Error::new()) }
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        match self.0.alg() {
            Alg::EdDsa => Algorithm::EdDSA,
            Alg::Es256 => Algorithm::ES256,
        }
    }
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    verifier_factory: |alg, key| {
        let bytes = key.try_get_as_bytes()?;
        let key = match alg {
            Algorithm::ES256 => bytes.try_into().ok().map(PublicKey::P256),
            Algorithm::EdDSA => bytes.try_into().ok().map(PublicKey::Ed25519),
            _ => None,
        };
        key.map(|key| Box::new(RingVerifier(key)) as Box<dyn JwtVerifier>)
            .ok_or_else(|| ErrorKind::InvalidAlgorithm.into())
    },
    key_utils: KeyUtils::new_unimplemented(),
};

/// A library's reader is wider than ours: it must take whatever we take.
#[test]
fn whatever_we_accept_jsonwebtoken_accepts() {
    let _ = PROVIDER.install_default();
    for alg in [Alg::EdDsa, Alg::Es256] {
        let keys = keys_with(KeyPolicy { alg, ..policy() });
        let ours = TokenKeys::parse(keys.ring.jwks_json().as_bytes()).unwrap();
        let theirs: JwkSet = serde_json::from_str(&keys.ring.jwks_json()).unwrap();
        for agents in 1..=8 {
            let grant = delegated(agents);
            let token = keys.ring.signer().sign(ISSUER, &grant).unwrap();
            let expect =
                Expect { issuer: ISSUER, audience: Some(&grant.resource), now: T0, leeway: Leeway::ZERO };
            assert_eq!(ours.verify(&token, &expect).as_ref(), Ok(&grant));

            let header = jsonwebtoken::decode_header(&token).unwrap();
            let key = DecodingKey::from_jwk(theirs.find(&header.kid.unwrap()).unwrap()).unwrap();
            let mut validation = Validation::new(header.alg);
            validation.set_audience(&[&grant.resource]);
            validation.set_issuer(&[ISSUER]);
            validation.set_required_spec_claims(&["aud", "exp", "iss", "sub"]);
            // The test's clock is not the machine's.
            validation.validate_exp = false;
            let claims = jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap().claims;
            assert_eq!(claims["jti"], grant.jti());
        }
    }
}
