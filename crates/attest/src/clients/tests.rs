//! What an assertion has to be, and that it is good once.

use super::*;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);
const ISSUER: &str = "https://taskpass.acme.test";
const ENDPOINT: &str = "https://taskpass.acme.test/introspect";
const AUDIENCES: [&str; 2] = [ISSUER, ENDPOINT];

enum Key {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Key {
    fn ec() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random);
        Self::Ec(key.unwrap())
    }

    fn ed() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
    }

    fn alg(&self) -> &'static str {
        match self {
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }

    fn public(&self) -> &[u8] {
        match self {
            Self::Ec(key) => key.public_key().as_ref(),
            Self::Ed(key) => key.public_key().as_ref(),
        }
    }

    fn jwks(&self) -> String {
        let text = |bytes: &[u8]| BASE64URL.encode(bytes);
        let key = match self {
            Self::Ec(_) => {
                let (x, y) = self.public()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "kid": "k1", "x": text(x), "y": text(y) })
            }
            Self::Ed(_) => json!({ "kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": text(self.public()) }),
        };
        json!({ "keys": [key] }).to_string()
    }

    fn sign(&self, signed: &str) -> Vec<u8> {
        match self {
            Self::Ec(key) => key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(signed.as_bytes()).as_ref().to_vec(),
        }
    }

    fn assertion(&self, header: &Value, claims: &Value) -> String {
        let signed = signed(header, claims);
        format!("{signed}.{}", BASE64URL.encode(self.sign(&signed)))
    }
}

fn signed(header: &Value, claims: &Value) -> String {
    [header, claims].map(|part| BASE64URL.encode(part.to_string())).join(".")
}

fn header(key: &Key) -> Value {
    json!({ "alg": key.alg(), "kid": "k1", "typ": "JWT" })
}

fn claims(id: &str) -> Value {
    json!({ "iss": "billing", "sub": "billing", "aud": ISSUER, "jti": id, "exp": NOW.as_secs() + 60 })
}

fn with(mut value: Value, name: &str, other: Value) -> Value {
    value[name] = other;
    value
}

fn without(mut value: Value, name: &str) -> Value {
    value.as_object_mut().unwrap().remove(name);
    value
}

fn clients(key: &Key) -> Clients {
    let clients = Clients::default();
    clients.replace(&[("billing".to_owned(), key.jwks())]).unwrap();
    clients
}

#[test]
fn a_good_assertion_says_who_it_is_once() {
    for key in [Key::ec(), Key::ed()] {
        let clients = clients(&key);
        let one = key.assertion(&header(&key), &claims("1"));
        let identity = clients.identify(&one, None, &AUDIENCES, NOW).unwrap();
        assert_eq!(identity.selectors, BTreeSet::from([Selector::client("billing").unwrap()]));
        assert!(identity.is_current(NOW));
        // Until nobody would accept it any more, and then not either.
        for (after, refused) in [
            (0, Unproven::Replayed),
            (64, Unproven::Replayed),
            (65, TokenError::Expired.into()),
            (600, TokenError::Expired.into()),
        ] {
            let now = NOW.plus(Duration::from_secs(after));
            assert_eq!(clients.identify(&one, None, &AUDIENCES, now), Err(refused), "{after}");
        }
        // Another one is good, with as little as it may say; the same identity is kept.
        for claims in [
            with(claims("2"), "aud", json!(ENDPOINT)),
            with(claims("3"), "aud", json!([ISSUER])),
            with(claims("4"), "iat", json!(NOW.as_secs())),
        ] {
            let minimal = json!({ "alg": key.alg() });
            let again = clients.identify(&key.assertion(&minimal, &claims), Some("billing"), &AUDIENCES, NOW);
            assert!(Arc::ptr_eq(&again.unwrap(), &identity));
        }
    }
}

#[test]
fn what_is_wrong_with_one_is_refused_and_uses_nothing_up() {
    let (key, stranger, other) = (Key::ec(), Key::ec(), Key::ed());
    let clients = clients(&key);
    let good = (header(&key), claims("1"));
    let later = |seconds: u64| json!(NOW.as_secs() + seconds);
    let cases = [
        ("signed by a stranger", stranger.assertion(&good.0, &good.1)),
        ("another algorithm", other.assertion(&header(&other), &good.1)),
        ("a header that lies about it", key.assertion(&header(&other), &good.1)),
        ("nobody signed it", format!("{}.", signed(&with(good.0.clone(), "alg", json!("none")), &good.1))),
        ("no signature", format!("{}.", signed(&good.0, &good.1))),
        ("an unknown key", key.assertion(&with(good.0.clone(), "kid", json!("k2")), &good.1)),
        ("an access token", key.assertion(&with(good.0.clone(), "typ", json!("at+jwt")), &good.1)),
        ("a critical header", key.assertion(&with(good.0.clone(), "crit", json!(["x"])), &good.1)),
        ("a key of its own", key.assertion(&with(good.0.clone(), "jwk", json!({})), &good.1)),
        ("another subject", key.assertion(&good.0, &with(good.1.clone(), "sub", json!("ledger")))),
        ("another client", key.assertion(&good.0, &with(good.1.clone(), "iss", json!("ledger")))),
        ("another audience", key.assertion(&good.0, &with(good.1.clone(), "aud", json!("https://x.test")))),
        ("an audience besides", key.assertion(&good.0, &with(good.1.clone(), "aud", json!([ISSUER, "x"])))),
        ("no audience", key.assertion(&good.0, &with(good.1.clone(), "aud", json!([])))),
        ("the end of time", key.assertion(&good.0, &with(good.1.clone(), "exp", json!(u64::MAX)))),
        ("too far ahead", key.assertion(&good.0, &with(good.1.clone(), "exp", later(306)))),
        ("expired", key.assertion(&good.0, &with(good.1.clone(), "exp", json!(NOW.as_secs() - 5)))),
        ("no number", key.assertion(&good.0, &with(good.1.clone(), "exp", json!("1790000060")))),
        ("not yet", key.assertion(&good.0, &with(good.1.clone(), "nbf", later(6)))),
        ("of the future", key.assertion(&good.0, &with(good.1.clone(), "iat", later(6)))),
        ("an empty id", key.assertion(&good.0, &with(good.1.clone(), "jti", json!("")))),
        ("a long id", key.assertion(&good.0, &with(good.1.clone(), "jti", json!("x".repeat(129))))),
        ("without an end", key.assertion(&good.0, &without(good.1.clone(), "exp"))),
        ("without an id", key.assertion(&good.0, &without(good.1.clone(), "jti"))),
        ("without an audience", key.assertion(&good.0, &without(good.1.clone(), "aud"))),
        ("without a subject", key.assertion(&good.0, &without(good.1.clone(), "sub"))),
        ("nothing", String::new()),
        ("no JWT", "a.b.c".to_owned()),
        ("a long one", "x".repeat(9_000)),
    ];
    for (what, assertion) in cases {
        assert!(clients.identify(&assertion, None, &AUDIENCES, NOW).is_err(), "{what}");
    }
    // The public key as a secret, in each form that somebody may have at hand.
    for secret in [key.public(), key.jwks().as_bytes()] {
        let signed = signed(&with(good.0.clone(), "alg", json!("HS256")), &good.1);
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
        let forged = format!("{signed}.{}", BASE64URL.encode(mac));
        assert!(clients.identify(&forged, None, &AUDIENCES, NOW).is_err());
    }
    let assertion = key.assertion(&good.0, &good.1);
    assert!(clients.identify(&assertion, Some("ledger"), &AUDIENCES, NOW).is_err(), "another client_id");
    assert!(clients.identify(&assertion, None, &AUDIENCES, NOW).is_ok(), "the id is still good");
}

#[test]
fn what_is_used_is_bounded_and_nothing_is_forgotten_early() {
    let (key, ledger) = (Key::ec(), Key::ec());
    let clients = Clients { most: 3, ..Clients::default() };
    let both = [("billing".to_owned(), key.jwks()), ("ledger".to_owned(), ledger.jwks())];
    clients.replace(&both).unwrap();
    let ask = |id: &str, life: u64, now: Timestamp| {
        let claims = with(claims(id), "exp", json!(now.as_secs() + life));
        clients.identify(&key.assertion(&header(&key), &claims), None, &AUDIENCES, now).map(drop)
    };
    for (id, life) in [("1", 10), ("2", 100), ("3", 200)] {
        ask(id, life, NOW).unwrap();
    }
    assert_eq!(ask("4", 60, NOW), Err(Unproven::TooMany));
    // A reload of the configuration brings nothing back, and neither is another client kept waiting.
    clients.replace(&both).unwrap();
    assert_eq!(ask("1", 10, NOW), Err(Unproven::Replayed));
    let of_ledger =
        json!({ "iss": "ledger", "sub": "ledger", "aud": ISSUER, "jti": "1", "exp": NOW.as_secs() + 9 });
    let of_ledger = ledger.assertion(&header(&ledger), &of_ledger);
    assert!(clients.identify(&of_ledger, None, &AUDIENCES, NOW).is_ok());
    let later = NOW.plus(Duration::from_secs(15));
    ask("4", 60, later).unwrap();
    assert_eq!(ask("2", 60, later), Err(Unproven::Replayed));
    assert_eq!(ask("5", 60, later), Err(Unproven::TooMany));
}

#[test]
fn who_is_no_longer_registered_is_nobody() {
    let (key, newer) = (Key::ec(), Key::ec());
    let clients = clients(&key);
    assert!(clients.replace(&[("billing".to_owned(), "{}".to_owned())]).is_err());
    assert!(clients.replace(&[("a b".to_owned(), key.jwks())]).is_err());
    let ask = |key: &Key, id: &str| {
        clients.identify(&key.assertion(&header(key), &claims(id)), None, &AUDIENCES, NOW).map(drop)
    };
    assert_eq!(ask(&key, "1"), Ok(()), "what was refused changed nothing");
    clients.replace(&[("billing".to_owned(), newer.jwks())]).unwrap();
    assert_eq!(ask(&key, "2"), Err(TokenError::SignatureInvalid.into()));
    assert_eq!(ask(&newer, "3"), Ok(()));
    clients.replace(&[]).unwrap();
    assert!(clients.is_empty());
    assert_eq!(ask(&newer, "4"), Err(Unproven::Unknown));
}
