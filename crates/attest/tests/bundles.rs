//! Bundle files: formats, refusals and reloading.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may panic")]

mod authority;

use authority::TestAuthority;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::path::Path;
use taskpass_attest::spiffe::{BundleError, BundleFile, BundleFiles, BundleFormat};
use taskpass_types::{Timestamp, TrustDomain};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn domain() -> TrustDomain {
    TrustDomain::new("acme.test").unwrap()
}

fn file(path: &Path, format: BundleFormat) -> BundleFile {
    BundleFile { trust_domain: domain(), path: path.to_owned(), format }
}

fn load(text: &str, format: BundleFormat) -> Result<usize, BundleError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bundle");
    std::fs::write(&path, text).unwrap();
    let files = BundleFiles::load([file(&path, format)])?;
    Ok(files.bundles().of(&domain()).unwrap().len())
}

fn x5c() -> String {
    STANDARD.encode(TestAuthority::new("acme.test", NOW).der())
}

fn key(x5c: &str) -> String {
    format!(r#"{{"kty":"EC","use":"x509-svid","crv":"P-256","x":"","y":"","x5c":["{x5c}"]}}"#)
}

#[test]
fn good_bundles() {
    let pem = format!("{}{}", TestAuthority::new("a", NOW).pem(), TestAuthority::new("b", NOW).pem());
    assert_eq!(load(&pem, BundleFormat::Pem).unwrap(), 2);
    let good = key(&x5c());
    for (document, authorities) in [
        (format!(r#"{{"keys":[{good}],"spiffe_sequence":7,"spiffe_refresh_hint":300}}"#), 1),
        (r#"{"keys":[]}"#.to_owned(), 0),
        (
            format!(
                r#"{{"keys":[{good},{{"kty":"EC","use":"jwt-svid","kid":"k","crv":"P-256","x":"","y":""}}]}}"#
            ),
            1,
        ),
        (
            format!(
                r#"{{"keys":[{{"kty":"XX","use":"x509-svid"}},{{"kty":"EC","use":"later"}},{{"kty":"EC"}},{good}]}}"#
            ),
            1,
        ),
        (r#"{"keys":[1,"two",null,[]]}"#.to_owned(), 0),
    ] {
        assert_eq!(load(&document, BundleFormat::Spiffe).expect(&document), authorities, "{document}");
    }
}

#[test]
fn bad_bundles_say_why() {
    let (good, leaf) = (x5c(), {
        let authority = TestAuthority::new("acme.test", NOW);
        STANDARD.encode(authority.sign(authority::Leaf::svid("spiffe://acme.test/a")))
    });
    let many = vec![key(&good); 65].join(",");
    let deep = "[".repeat(10_000);
    let json = BundleFormat::Spiffe;
    for (text, format, why) in [
        (String::new(), BundleFormat::Pem, "no certificate"),
        ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n".into(), BundleFormat::Pem, "not PEM"),
        (
            "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n".into(),
            BundleFormat::Pem,
            "certificate 1",
        ),
        (String::new(), json, "not a JSON document"),
        ("[]".into(), json, "not an object"),
        (deep, json, "recursion limit"),
        ("{}".into(), json, "no `keys` list"),
        (r#"{"keys":{}}"#.into(), json, "no `keys` list"),
        (r#"{"keys":[],"keys":[]}"#.into(), json, "comes twice"),
        (r#"{"keys":[{"use":"x","use":"y"}]}"#.into(), json, "comes twice"),
        (format!(r#"{{"keys":[{}]}} "#, key(&leaf)), json, "not a certificate authority"),
        (
            format!(r#"{{"keys":[{{"kty":"EC","use":"x509-svid","x5c":["{good}","{good}"]}}]}}"#),
            json,
            "exactly one",
        ),
        (r#"{"keys":[{"kty":"EC","use":"x509-svid","x5c":[]}]}"#.into(), json, "exactly one"),
        (r#"{"keys":[{"kty":"EC","use":"x509-svid"}]}"#.into(), json, "exactly one"),
        (r#"{"keys":[{"kty":"EC","use":"x509-svid","x5c":["%"]}]}"#.into(), json, "not base64"),
        (
            format!(r#"{{"keys":[{{"kty":"EC","use":"x509-svid","kid":"k","x5c":["{good}"]}}]}}"#),
            json,
            "no `kid`",
        ),
        (format!(r#"{{"keys":[{many}]}}"#), json, "more than 64"),
        (" ".repeat((1 << 20) + 1), json, "more than 1 MiB"),
    ] {
        let error = load(&text, format).expect_err(why).to_string();
        assert!(error.contains(why), "{why}: {error}");
        assert!(error.contains("acme.test"), "{error}");
    }
}

#[test]
fn two_files_for_one_trust_domain_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bundle");
    std::fs::write(&path, r#"{"keys":[]}"#).unwrap();
    let twice = [file(&path, BundleFormat::Spiffe), file(&path, BundleFormat::Spiffe)];
    assert!(matches!(BundleFiles::load(twice), Err(BundleError::Duplicate(_))));
}

#[test]
fn a_broken_file_never_replaces_a_good_set() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bundle");
    std::fs::write(&path, TestAuthority::new("a", NOW).pem()).unwrap();
    let files = BundleFiles::load([file(&path, BundleFormat::Pem)]).unwrap();
    let authorities = || files.bundles().of(&domain()).unwrap().len();

    for broken in ["", "nonsense"] {
        std::fs::write(&path, broken).unwrap();
        let reload = files.reload();
        assert!(reload.changed.is_empty() && reload.errors.len() == 1, "{reload:?}");
        assert_eq!(authorities(), 1);
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(files.reload().errors.len(), 1);
    assert_eq!(authorities(), 1);

    let two = format!("{}{}", TestAuthority::new("a", NOW).pem(), TestAuthority::new("b", NOW).pem());
    std::fs::write(&path, two).unwrap();
    assert_eq!(files.reload().changed, [domain()]);
    assert_eq!(authorities(), 2);
    let again = files.reload();
    assert!(again.changed.is_empty() && again.errors.is_empty(), "an unchanged file is no change: {again:?}");
}
