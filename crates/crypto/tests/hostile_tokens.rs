//! Tokens that must be refused, each with the class of its refusal. The hostile claims are signed with a key that the
//! verifier trusts: what is tested is the parser and the checks, not the signature.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

mod common;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use common::{ISSUER, T0, delegated, grant, keys};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};
use std::time::Duration;
use taskpass_crypto::{Expect, Leeway, TokenError, TokenKeys, jws::inspect_unverified};
use taskpass_types::{Grant, ResourceName};

/// An issuer that signs whatever it is given.
struct Forge {
    key: EcdsaKeyPair,
    keys: TokenKeys,
    claims: Value,
    grant: Grant,
}

impl Forge {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        let point = &key.public_key().as_ref()[1..];
        let (x, y) = (BASE64URL.encode(&point[..32]), BASE64URL.encode(&point[32..]));
        let jwks = json!({"keys": [{"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "k1"}]}).to_string();
        let grant = delegated(2);
        let token = keys().ring.signer().sign(ISSUER, &grant).unwrap();
        let claims = inspect_unverified(&token).unwrap().claims;
        Self { key, keys: TokenKeys::parse(jwks.as_bytes()).unwrap(), claims, grant }
    }

    fn sign_text(&self, header: &str, claims: &str) -> String {
        self.sign_segments(&BASE64URL.encode(header), &BASE64URL.encode(claims))
    }

    fn sign_segments(&self, header: &str, claims: &str) -> String {
        let signed = format!("{header}.{claims}");
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64URL.encode(signature))
    }

    fn with_claims(&self, claims: &Value) -> String {
        self.sign_text(HEADER, &claims.to_string())
    }

    /// The good claims with one replaced, or removed when `value` is `None`.
    fn with(&self, pointer: &str, value: Option<Value>) -> String {
        let mut claims = self.claims.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = claims.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Some(value) => parent.insert(name.into(), value),
            None => Some(parent.remove(name).unwrap()),
        };
        self.with_claims(&claims)
    }

    /// The good claims with `from` replaced in their text, once.
    fn with_text(&self, from: &str, to: &str) -> String {
        let claims = self.claims.to_string();
        assert!(claims.contains(from), "{from} is not in {claims}");
        self.sign_text(HEADER, &claims.replacen(from, to, 1))
    }

    fn verify(&self, token: &str) -> Result<Grant, TokenError> {
        self.verify_at(token, 0)
    }

    fn verify_at(&self, token: &str, millis: i64) -> Result<Grant, TokenError> {
        let now = taskpass_types::Timestamp::from_millis(T0.as_millis().saturating_add_signed(millis));
        let expect =
            Expect { issuer: ISSUER, audience: Some(&self.grant.resource), now, leeway: Leeway::MAX };
        self.keys.verify(token, &expect)
    }
}

/// In another order than our issuer writes it, so that it is parsed.
const HEADER: &str = r#"{"typ":"at+jwt","kid":"k1","alg":"ES256"}"#;

fn assert_refused(forge: &Forge, cases: Vec<(&str, &str, String)>) {
    let good = forge.with_claims(&forge.claims);
    assert_eq!(forge.verify(&good).as_ref(), Ok(&forge.grant), "the forge itself works");
    for (what, code, token) in cases {
        match forge.verify(&token) {
            Ok(_) => panic!("accepted: {what}"),
            Err(error) => assert_eq!(error.code(), code, "{what}: {error}"),
        }
    }
}

#[test]
fn headers() {
    let forge = Forge::new();
    let good = forge.with_claims(&forge.claims);
    let claims = forge.claims.to_string();
    let header = |header: &str| forge.sign_text(header, &claims);
    let signed = good.rsplit_once('.').unwrap().0;
    let public = forge.key.public_key().as_ref();
    let hs256 = BASE64URL.encode(r#"{"alg":"HS256","kid":"k1","typ":"at+jwt"}"#);
    let hs256 = format!("{hs256}.{}", BASE64URL.encode(&claims));
    let mac = BASE64URL.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, public), hs256.as_bytes()));
    let long_kid = "k".repeat(1 << 20);
    let with = |member: &str| header(&format!(r#"{{"alg":"ES256","kid":"k1","typ":"at+jwt",{member}}}"#));
    assert_refused(
        &forge,
        vec![
            ("none", "alg_mismatch", header(r#"{"alg":"none","kid":"k1","typ":"at+jwt"}"#)),
            ("none, unsigned", "alg_mismatch", {
                let none = BASE64URL.encode(r#"{"alg":"none","kid":"k1","typ":"at+jwt"}"#);
                format!("{none}.{}.", BASE64URL.encode(&claims))
            }),
            ("HS256 with the public key", "alg_mismatch", format!("{hs256}.{mac}")),
            (
                "alg of another kind of key",
                "alg_mismatch",
                header(r#"{"alg":"EdDSA","kid":"k1","typ":"at+jwt"}"#),
            ),
            ("alg in lower case", "alg_mismatch", header(r#"{"alg":"es256","kid":"k1","typ":"at+jwt"}"#)),
            ("alg twice", "header_invalid", with(r#""alg":"ES256""#)),
            (
                "alg with an escape",
                "header_invalid",
                header(r#"{"alg":"ES\u0032256","kid":"k1","typ":"at+jwt"}"#),
            ),
            ("unknown crit", "header_invalid", with(r#""crit":["exp"]"#)),
            ("empty crit", "header_invalid", with(r#""crit":[]"#)),
            ("b64 false", "header_invalid", with(r#""crit":["b64"],"b64":false"#)),
            ("jku", "header_invalid", with(r#""jku":"http://127.0.0.1/jwks""#)),
            ("x5u", "header_invalid", with(r#""x5u":"http://127.0.0.1/x""#)),
            ("x5c", "header_invalid", with(r#""x5c":["AAAA"]"#)),
            ("jwk", "header_invalid", with(r#""jwk":{"kty":"oct","k":"AAAA"}"#)),
            ("cty (nested)", "header_invalid", with(r#""cty":"JWT""#)),
            ("zip", "header_invalid", with(r#""zip":"DEF""#)),
            ("typ JWT", "typ_mismatch", header(r#"{"alg":"ES256","kid":"k1","typ":"JWT"}"#)),
            ("typ in upper case", "typ_mismatch", header(r#"{"alg":"ES256","kid":"k1","typ":"AT+JWT"}"#)),
            ("typ missing", "header_invalid", header(r#"{"alg":"ES256","kid":"k1"}"#)),
            ("kid missing", "header_invalid", header(r#"{"alg":"ES256","typ":"at+jwt"}"#)),
            ("kid a number", "header_invalid", header(r#"{"alg":"ES256","kid":1,"typ":"at+jwt"}"#)),
            ("kid unknown", "key_unknown", header(r#"{"alg":"ES256","kid":"k2","typ":"at+jwt"}"#)),
            ("kid a path", "key_unknown", header(r#"{"alg":"ES256","kid":"../../k1","typ":"at+jwt"}"#)),
            ("kid SQL", "key_unknown", header(r#"{"alg":"ES256","kid":"' or 1","typ":"at+jwt"}"#)),
            ("kid NUL", "header_invalid", header("{\"alg\":\"ES256\",\"kid\":\"k1\0\",\"typ\":\"at+jwt\"}")),
            (
                "kid of 1 MB",
                "too_long",
                header(&format!(r#"{{"alg":"ES256","kid":"{long_kid}","typ":"at+jwt"}}"#)),
            ),
            ("header no object", "header_invalid", header(r#""ES256""#)),
            // Serde reads a struct from an array as well, which is no JOSE header.
            ("header an array", "header_invalid", header(r#"["ES256","k1","at+jwt"]"#)),
            ("header deep", "header_invalid", header(&"[".repeat(3000))),
            ("header with trailing bytes", "header_invalid", header(&format!("{HEADER}{{}}"))),
            ("no signature", "signature_invalid", format!("{signed}.")),
        ],
    );
}

#[test]
fn segments() {
    let forge = Forge::new();
    let good = forge.with_claims(&forge.claims);
    let (head, rest) = good.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let flip = |text: &str| {
        let last = text.chars().last().unwrap();
        format!("{}{}", &text[..text.len() - 1], if last == 'A' { 'B' } else { 'A' })
    };
    // 64 bytes leave four unused bits in the last character: another of the same value would be a second text.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.find(&signature[signature.len() - 1..]).unwrap();
    let twin = format!("{}{}", &signature[..signature.len() - 1], &alphabet[last + 1..=last + 1]);
    assert_refused(
        &forge,
        vec![
            ("empty", "segment_count", String::new()),
            ("one segment", "segment_count", head.into()),
            ("two segments", "segment_count", format!("{head}.{payload}")),
            ("four segments", "segment_count", format!("{good}.{signature}")),
            ("five segments (JWE)", "segment_count", format!("{good}.a.b")),
            ("nested", "segment_count", format!("{head}.{good}.{signature}")),
            ("only dots", "header_invalid", "..".into()),
            ("padded", "base64_invalid", format!("{good}==")),
            ("padded header", "base64_invalid", format!("{head}=.{payload}.{signature}")),
            ("signature not canonical", "base64_invalid", format!("{head}.{payload}.{twin}")),
            ("standard alphabet", "base64_invalid", format!("{head}.{payload}.+{}", &signature[1..])),
            ("trailing newline", "base64_invalid", format!("{good}\n")),
            ("leading space", "base64_invalid", format!(" {good}")),
            ("trailing bytes", "signature_invalid", format!("{good}AAAA")),
            ("signature cut", "signature_invalid", good[..good.len() - 2].into()),
            (
                "signature of another",
                "signature_invalid",
                format!("{head}.{payload}.{}{}", flip(&signature[..1]), &signature[1..]),
            ),
            ("payload flipped", "signature_invalid", format!("{head}.{}.{signature}", flip(payload))),
            ("payload not canonical", "base64_invalid", forge.sign_segments(head, &format!("{payload}="))),
            ("payload empty", "claims_invalid", forge.sign_segments(head, "")),
            ("longer than 8 KiB", "too_long", format!("{head}.{}.{signature}", "A".repeat(8 * 1024))),
        ],
    );
}

#[test]
fn members() {
    let forge = Forge::new();
    let mut cases = Vec::new();
    for claim in
        ["iss", "sub", "aud", "client_id", "jti", "iat", "exp", "authorization_details", "urn:taskpass:grant"]
    {
        cases.push(("missing", "claims_invalid", forge.with(&format!("/{claim}"), None)));
        cases.push(("null", "claims_invalid", forge.with(&format!("/{claim}"), Some(Value::Null))));
        let value = &forge.claims[claim];
        cases.push(("twice", "claims_invalid", {
            let text = forge.claims.to_string();
            forge.sign_text(HEADER, &format!(r#"{{"{claim}":{value},{}"#, &text[1..]))
        }));
    }
    let details = &forge.claims["authorization_details"][0];
    cases.extend([
        ("unknown claim", "claims_invalid", forge.with("/scope", Some(json!("*")))),
        ("not before", "claims_invalid", forge.with("/nbf", Some(json!(1)))),
        ("twice at depth 2, act", "claims_invalid", forge.with_text(r#""act":{"#, r#""act":{"sub":"x","#)),
        ("twice at depth 2, grant", "claims_invalid", forge.with_text(r#""gen":1"#, r#""gen":1,"gen":0"#)),
        (
            "twice at depth 3",
            "claims_invalid",
            forge.with_text(r#""locations""#, r#""locations":["a"],"locations""#),
        ),
        ("unknown at depth 2", "claims_invalid", forge.with("/urn:taskpass:grant/admin", Some(json!(true)))),
        (
            "unknown at depth 3",
            "claims_invalid",
            forge.with("/authorization_details/0/privileges", Some(json!([]))),
        ),
        (
            "two details",
            "claims_invalid",
            forge.with("/authorization_details", Some(json!([details, details]))),
        ),
        (
            "two locations",
            "claims_invalid",
            forge.with("/authorization_details/0/locations", Some(json!(["billing-api", "b"]))),
        ),
        ("aud a list", "claims_invalid", forge.with("/aud", Some(json!(["billing-api"])))),
        ("aud two", "claims_invalid", forge.with("/aud", Some(json!(["billing-api", "other"])))),
        ("iss with an escape", "claims_invalid", forge.with_text(r#""iss":"h"#, r#""iss":"\u0068"#)),
        (
            "two confirmations",
            "claims_invalid",
            forge.with("/cnf", Some(json!({"jkt": "a", "x5t#S256": "b"}))),
        ),
        ("a confirmation that is none", "grant_unsound", forge.with("/cnf", Some(json!({"jkt": "short"})))),
        ("another kind of confirmation", "claims_invalid", forge.with("/cnf", Some(json!({"jwk": {}})))),
        ("claims an array", "claims_invalid", forge.with_claims(&json!([1]))),
        ("act an array", "claims_invalid", forge.with("/act/act", Some(json!(["ci/invoice-bot-0"])))),
        ("grant an array", "claims_invalid", {
            let grant = &forge.claims["urn:taskpass:grant"];
            let order = [
                "v",
                "tenant",
                "lease",
                "renewal",
                "task_path",
                "agents",
                "owner",
                "decision",
                "policy",
                "gen",
            ];
            let mut members = order.map(|member| grant[member].clone()).to_vec();
            members.resize(16, Value::Null);
            forge.with("/urn:taskpass:grant", Some(json!(members)))
        }),
        ("detail an array", "claims_invalid", {
            let members = ["type", "locations", "actions"].map(|member| details[member].clone());
            forge.with("/authorization_details", Some(json!([members])))
        }),
        (
            "claims with trailing bytes",
            "claims_invalid",
            forge.sign_text(HEADER, &format!("{}{{}}", forge.claims)),
        ),
        (
            "claims not UTF-8",
            "claims_invalid",
            forge.sign_segments(&BASE64URL.encode(HEADER), &BASE64URL.encode([0xff])),
        ),
        ("deep", "claims_invalid", forge.sign_text(HEADER, &"[".repeat(4000))),
        ("deep act", "claims_invalid", {
            let act = r#"{"sub":"a","act":"#.repeat(250) + r#"{"sub":"a"}"# + &"}".repeat(250);
            let mut claims = forge.claims.clone();
            claims["act"] = json!("deep");
            forge.sign_text(HEADER, &claims.to_string().replace(r#""deep""#, &act))
        }),
    ]);
    assert_refused(&forge, cases);
}

#[test]
fn times() {
    let forge = Forge::new();
    let mut cases = Vec::new();
    for claim in ["/exp", "/iat"] {
        for bad in
            [json!("1790000300"), json!(1_790_000_300.0), json!(1e300), json!(-1), json!(true), json!([1])]
        {
            cases.push(("not an integer", "claims_invalid", forge.with(claim, Some(bad))));
        }
        for bad in [json!(0), json!(1_u64 << 40), json!(u64::MAX)] {
            cases.push(("out of range", "grant_unsound", forge.with(claim, Some(bad))));
        }
    }
    cases.push(("ends before it begins", "grant_unsound", forge.with("/exp", Some(json!(T0.as_secs() - 1)))));
    assert_refused(&forge, cases);

    let good = forge.with_claims(&forge.claims);
    let code = |millis| forge.verify_at(&good, millis).map_or_else(|error| error.code(), |_| "ok");
    assert_eq!(code(304_999), "ok", "within the leeway");
    assert_eq!(code(305_000), "expired");
    assert_eq!(code(306_000), "expired", "six seconds after");
    assert_eq!(code(-5_000), "ok", "within the leeway");
    assert_eq!(code(-5_001), "issued_in_future");
    assert_eq!(Leeway::new(Duration::from_secs(60)), Leeway::MAX, "no more than five seconds can be had");
}

#[test]
fn contradictions() {
    let forge = Forge::new();
    let own = |member: &str| format!("/urn:taskpass:grant/{member}");
    let (lease, task) = (taskpass_types::LeaseId::new(), taskpass_types::TaskId::new());
    let subject = |path: &str| Some(json!(format!("spiffe://acme.test/{path}")));
    let task_of_grant = forge.grant.task_path.task().unwrap();
    assert_refused(
        &forge,
        vec![
            ("another issuer", "issuer_mismatch", forge.with("/iss", Some(json!("https://evil.test")))),
            ("issuer with a slash", "issuer_mismatch", forge.with("/iss", Some(json!(format!("{ISSUER}/"))))),
            ("another audience", "audience_mismatch", forge.with("/aud", Some(json!("payroll-api")))),
            (
                "another location",
                "grant_inconsistent",
                forge.with("/authorization_details/0/locations", Some(json!(["b"]))),
            ),
            (
                "another type",
                "grant_inconsistent",
                forge.with("/authorization_details/0/type", Some(json!("b"))),
            ),
            ("no action", "grant_unsound", forge.with("/authorization_details/0/actions", Some(json!([])))),
            (
                "actions not sorted",
                "grant_unsound",
                forge.with("/authorization_details/0/actions", Some(json!(["b", "a"]))),
            ),
            ("another's jti", "grant_inconsistent", forge.with("/jti", Some(json!(format!("{lease}.0"))))),
            ("jti of a renewal", "grant_inconsistent", forge.with(&own("renewal"), Some(json!(1)))),
            ("another's lease", "grant_inconsistent", forge.with(&own("lease"), Some(json!(lease)))),
            (
                "another's client_id",
                "grant_inconsistent",
                forge.with("/client_id", Some(json!("ci/invoice-bot-0"))),
            ),
            (
                "another's sub",
                "grant_unsound",
                forge.with("/sub", subject(&format!("ci/other/task/{task_of_grant}"))),
            ),
            (
                "sub of another task",
                "grant_unsound",
                forge.with("/sub", subject(&format!("ci/invoice-bot-1/task/{task}"))),
            ),
            ("sub without a task", "grant_unsound", forge.with("/sub", subject("ci/invoice-bot-1"))),
            ("act missing", "grant_inconsistent", forge.with("/act", None)),
            ("act cut", "grant_inconsistent", forge.with("/act", Some(json!({"sub": "ci/invoice-bot-1"})))),
            ("act of another", "grant_inconsistent", forge.with("/act/act/sub", Some(json!("ci/root")))),
            ("no agents", "grant_unsound", forge.with(&own("agents"), Some(json!([])))),
            ("no tasks", "claims_invalid", forge.with(&own("task_path"), Some(json!([])))),
            ("version 2", "grant_unsound", forge.with(&own("v"), Some(json!(2)))),
            ("a later version's member", "grant_unsound", forge.with(&own("deny_epoch"), Some(json!(7)))),
            ("said twice", "grant_unsound", forge.with(&own("exp"), Some(json!(2)))),
            ("generation too large", "claims_invalid", forge.with(&own("gen"), Some(json!(1_u64 << 32)))),
        ],
    );
}

/// A place on a status list is taken at its word by whoever looks there: it has to be exactly ours.
#[test]
fn places_on_status_lists() {
    let forge = Forge::new();
    let list = format!("1-{}", "ab".repeat(12));
    let uri = format!("{ISSUER}/status-lists/{list}");
    let status = |value: Value| {
        let mut claims = forge.claims.clone();
        claims["status"] = value;
        forge.with_claims(&claims)
    };
    let place = |idx: Value, uri: &str| status(json!({"status_list": {"idx": idx, "uri": uri}}));
    let good = forge.verify(&place(json!(65_535), &uri)).unwrap();
    let found = good.status.unwrap();
    assert_eq!((found.index, found.list.to_string()), (65_535, list.clone()));
    assert_refused(
        &forge,
        vec![
            ("beyond the list", "grant_inconsistent", place(json!(65_536), &uri)),
            ("negative", "claims_invalid", place(json!(-1), &uri)),
            ("a fraction", "claims_invalid", place(json!(1.5), &uri)),
            ("a text", "claims_invalid", place(json!("1"), &uri)),
            (
                "of another issuer",
                "grant_inconsistent",
                place(json!(1), &uri.replace("https://", "https://x.")),
            ),
            ("of newer keys", "grant_inconsistent", place(json!(1), &uri.replace("/1-", "/2-"))),
            ("no list", "grant_inconsistent", place(json!(1), &format!("{ISSUER}/status-lists/"))),
            ("elsewhere", "grant_inconsistent", place(json!(1), &format!("{ISSUER}/lists/{list}"))),
            ("with a query", "grant_inconsistent", place(json!(1), &format!("{uri}?a"))),
            ("upper case", "grant_inconsistent", place(json!(1), &uri.replace("ab", "AB"))),
            ("no place", "claims_invalid", status(json!({}))),
            ("an array", "claims_invalid", status(json!([[1, uri]]))),
            ("an array inside", "claims_invalid", status(json!({"status_list": [1, uri]}))),
            (
                "a second mechanism",
                "claims_invalid",
                status(json!({"status_list": {"idx": 1, "uri": uri}, "x": {}})),
            ),
            (
                "one member more",
                "claims_invalid",
                status(json!({"status_list": {"idx": 1, "uri": uri, "x": 1}})),
            ),
        ],
    );
}

#[test]
fn a_status_list_is_no_access_token_and_checks_out_by_the_published_keys() {
    let keys = keys();
    let signer = keys.ring.signer();
    let id = taskpass_types::StatusListId::new(signer.generation(), [7; 12]);
    let terms = taskpass_crypto::jws::StatusTerms {
        now: T0,
        validity: Duration::from_secs(60),
        ttl: Duration::from_secs(5),
    };
    let list = taskpass_crypto::jws::StatusList::new(taskpass_types::StatusListId::SIZE);
    let token = signer.sign_status_list("https://a.test/path", &id, &list, &terms).unwrap();
    assert_eq!(keys.ring.token_keys().verify_signature(&token), Err(TokenError::TypMismatch));
    let said = inspect_unverified(&token).unwrap();
    assert_eq!(said.header["typ"], "statuslist+jwt");
    assert_eq!(said.claims["sub"], format!("https://a.test/status-lists/{id}"));
    let (now, end) = (T0.as_secs(), T0.as_secs() + 60);
    assert_eq!(
        (&said.claims["iat"], &said.claims["exp"], &said.claims["ttl"]),
        (&json!(now), &json!(end), &json!(5))
    );
    assert_eq!(said.claims["status_list"]["bits"], 1);
    // By hand, with the key as it is published.
    let jwks: Value = serde_json::from_str(&keys.ring.jwks_json()).unwrap();
    let half = |name: &str| BASE64URL.decode(jwks["keys"][0][name].as_str().unwrap()).unwrap();
    let point = [vec![4], half("x"), half("y")].concat();
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, point);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    key.verify(signed.as_bytes(), &BASE64URL.decode(signature).unwrap()).unwrap();
}

#[test]
fn an_audience_is_optional_only_for_whoever_says_so() {
    let keys = keys();
    let (grant, other) = (grant(), ResourceName::new("payroll-api").unwrap());
    let token = keys.ring.signer().sign(ISSUER, &grant).unwrap();
    let verifier = TokenKeys::parse(keys.ring.jwks_json().as_bytes()).unwrap();
    let expect = |audience| Expect { issuer: ISSUER, audience, now: T0, leeway: Leeway::ZERO };
    assert_eq!(verifier.verify(&token, &expect(None)), Ok(grant));
    assert_eq!(verifier.verify(&token, &expect(Some(&other))), Err(TokenError::AudienceMismatch));
}

#[test]
fn every_flipped_bit_is_refused() {
    let forge = Forge::new();
    let good = forge.with_claims(&forge.claims);
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(token) = String::from_utf8(bytes) else { continue };
        assert!(forge.verify(&token).is_err(), "byte {at}");
    }
}
