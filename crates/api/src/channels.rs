//! What anyone may read to learn what has ended, and where to ask more: revocation lists, status lists, OAuth metadata.

use crate::Api;
use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use taskpass_broker::{Crl, Crls};
use taskpass_crypto::x509::CrlShard;
use taskpass_types::{KeyGeneration, Refusal};

/// Where the metadata is, by RFC 8414; what an issuer has of a path comes behind it.
const METADATA: &str = "/.well-known/oauth-authorization-server";

/// The OAuth endpoints, by their names in the metadata.
const ENDPOINTS: [(&str, &str); 2] = [("introspection", "/introspect"), ("revocation", "/revoke")];

/// Where the channels are, for the metadata.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The `iss` of tokens.
    pub issuer: String,
    /// How the world reaches the listener on which callers are attested, if it does.
    pub api: Option<String>,
    /// Whether clients are registered that sign assertions: the OAuth endpoints are on the HTTP listener then, too.
    pub assertions: bool,
}

impl Places {
    /// The metadata of RFC 8414: what there is, and nothing else. There is no authorization endpoint, so no response type
    /// but `none` can be named where one has to be.
    fn metadata(&self) -> Value {
        let mut metadata = json!({
            "issuer": self.issuer,
            "jwks_uri": format!("{}/.well-known/jwks.json", self.origin()),
            "response_types_supported": ["none"],
            "tls_client_certificate_bound_access_tokens": true,
            "authorization_details_types_supported": [taskpass_crypto::jws::RAR_TYPE],
        });
        if let Some(members) = metadata.as_object_mut() {
            self.name_endpoints(members);
        }
        metadata
    }

    /// With assertions they are on the HTTP listener, where a certificate is of no use; where they are for certificates is
    /// said by RFC 8705 section 5.
    fn name_endpoints(&self, members: &mut Map<String, Value>) {
        let (mut aliases, mut methods) = (Map::new(), Vec::new());
        if self.assertions {
            methods.push("private_key_jwt");
        }
        if self.api.is_some() {
            methods.push("tls_client_auth");
        }
        for (what, path) in ENDPOINTS {
            let by_assertion = self.assertions.then(|| format!("{}{path}", self.origin()));
            let by_certificate = self.api.as_ref().map(|api| format!("{api}{path}"));
            let Some(endpoint) = by_assertion.as_ref().or(by_certificate.as_ref()) else { return };
            members.insert(format!("{what}_endpoint"), json!(endpoint));
            members.insert(format!("{what}_endpoint_auth_methods_supported"), json!(methods));
            if let (Some(_), Some(alias)) = (&by_assertion, &by_certificate) {
                aliases.insert(format!("{what}_endpoint"), json!(alias));
            }
            if self.assertions {
                let algs = json!(["ES256", "EdDSA"]);
                members.insert(format!("{what}_endpoint_auth_signing_alg_values_supported"), algs);
            }
        }
        if !aliases.is_empty() {
            members.insert("mtls_endpoint_aliases".to_owned(), Value::Object(aliases));
        }
    }

    /// What an assertion for the endpoint at `path` may name as its audience: the issuer, or the endpoint by any of its names.
    pub(crate) fn audiences(&self, path: &str) -> Vec<String> {
        let endpoints = [Some(self.origin()), self.api.as_deref()].into_iter().flatten();
        let endpoints = endpoints.map(|base| format!("{base}{path}"));
        [self.issuer.clone()].into_iter().chain(endpoints).collect()
    }

    /// The issuer without its path.
    fn origin(&self) -> &str {
        taskpass_crypto::jws::origin(&self.issuer)
    }

    fn metadata_path(&self) -> String {
        let path = self.issuer.strip_prefix(self.origin()).unwrap_or_default();
        format!("{METADATA}{}", path.trim_end_matches('/'))
    }
}

/// The routes.
pub(crate) fn router(places: &Places) -> Router<Api> {
    let metadata = places.metadata();
    Router::new()
        .route("/crl", get(all))
        .route("/crl.pem", get(all))
        .route("/crl/{generation}", get(one))
        .route("/crl/{generation}/{part}", get(part))
        .route("/status-lists/{id}", get(status_list))
        .route(&places.metadata_path(), get(async move || Json(metadata)))
}

async fn all(State(api): State<Api>, headers: HeaderMap) -> Response {
    answer(&api, &headers, |crls| {
        Ok(Some(List { kind: "application/x-pem-file", number: crls.number, bytes: crls.pem()? }))
    })
}

async fn one(State(api): State<Api>, Path(generation): Path<u32>, headers: HeaderMap) -> Response {
    answer(&api, &headers, |crls| {
        let lists = crls.of(KeyGeneration(generation));
        lists.map(|lists| lists.whole().map(List::of)).transpose()
    })
}

/// Where a certificate says that its list is.
async fn part(
    State(api): State<Api>,
    Path((generation, part)): Path<(u32, u8)>,
    headers: HeaderMap,
) -> Response {
    answer(&api, &headers, |crls| {
        let list =
            CrlShard::from_number(part).and_then(|shard| crls.of(KeyGeneration(generation))?.part(shard));
        Ok(list.map(List::of))
    })
}

/// For anyone, also for pages in a browser.
async fn status_list(State(api): State<Api>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse() else {
        return (StatusCode::NOT_FOUND, "there is no such status list\n").into_response();
    };
    match api.broker.status_list(&id) {
        Ok((list, ttl)) => {
            let headers = [
                (header::CONTENT_TYPE, format!("application/{}", taskpass_crypto::jws::STATUS_LIST_TYP)),
                (header::CACHE_CONTROL, format!("max-age={}", ttl.as_secs())),
                (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*".to_owned()),
            ];
            (headers, list).into_response()
        }
        Err(refusal) => unavailable(&refusal),
    }
}

/// What is answered with.
struct List {
    kind: &'static str,
    number: u128,
    bytes: Arc<[u8]>,
}

impl List {
    fn of(crl: &Crl) -> Self {
        Self { kind: "application/pkix-crl", number: crl.number, bytes: crl.der.clone() }
    }
}

/// Whoever fetches a list to put it into a file asks often: an unchanged one costs nothing.
fn answer(
    api: &Api,
    headers: &HeaderMap,
    list: impl FnOnce(&Crls) -> Result<Option<List>, Refusal>,
) -> Response {
    let List { kind, number, bytes } = match api.broker.crls().and_then(|crls| list(&crls)) {
        Ok(Some(list)) => list,
        Ok(None) => {
            let none = "there is no such key generation or part, or nothing counts that it signed\n";
            return (StatusCode::NOT_FOUND, none).into_response();
        }
        Err(refusal) => return unavailable(&refusal),
    };
    let tag = format!("\"{number:x}\"");
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::ETAG, tag),
        // A copy on the way would be older than need be.
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    (headers, axum::body::Bytes::from_owner(bytes)).into_response()
}

/// What cannot be known is not said.
pub(crate) fn unavailable(refusal: &Refusal) -> Response {
    let later = [(header::RETRY_AFTER, HeaderValue::from_static("1"))];
    (StatusCode::SERVICE_UNAVAILABLE, later, format!("{refusal}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(issuer: &str, api: Option<&str>) -> Places {
        Places { issuer: issuer.to_owned(), api: api.map(str::to_owned), assertions: false }
    }

    #[test]
    fn assertions_are_for_the_open_listener_and_certificates_for_the_other() {
        let only = Places { assertions: true, ..places("https://a.test/x", None) };
        assert_eq!(only.metadata()["introspection_endpoint"], "https://a.test/introspect");
        assert_eq!(
            only.metadata()["introspection_endpoint_auth_methods_supported"],
            json!(["private_key_jwt"])
        );
        assert!(only.metadata().get("mtls_endpoint_aliases").is_none());
        let both = Places { assertions: true, ..places("https://a.test", Some("https://b.test:7443")) };
        let metadata = both.metadata();
        assert_eq!(metadata["introspection_endpoint"], "https://a.test/introspect");
        assert_eq!(
            metadata["mtls_endpoint_aliases"]["introspection_endpoint"],
            "https://b.test:7443/introspect"
        );
        assert_eq!(
            metadata["revocation_endpoint_auth_methods_supported"],
            json!(["private_key_jwt", "tls_client_auth"])
        );
        let algs = &metadata["revocation_endpoint_auth_signing_alg_values_supported"];
        assert_eq!(*algs, json!(["ES256", "EdDSA"]));
        assert_eq!(
            both.audiences("/introspect"),
            ["https://a.test", "https://a.test/introspect", "https://b.test:7443/introspect"]
        );
    }

    #[test]
    fn the_path_of_an_issuer_is_inserted_and_not_appended() {
        for (issuer, path, jwks) in [
            ("https://a.test", METADATA.to_owned(), "https://a.test/.well-known/jwks.json"),
            ("https://a.test/", METADATA.to_owned(), "https://a.test/.well-known/jwks.json"),
            (
                "http://localhost:7420/x/y",
                format!("{METADATA}/x/y"),
                "http://localhost:7420/.well-known/jwks.json",
            ),
        ] {
            let places = places(issuer, None);
            assert_eq!(places.metadata_path(), path);
            let metadata = places.metadata();
            assert_eq!((&metadata["issuer"], &metadata["jwks_uri"]), (&json!(issuer), &json!(jwks)));
        }
    }

    #[test]
    fn only_what_exists_is_named_and_nothing_is_empty() {
        let without = places("https://a.test", None).metadata();
        let with = places("https://a.test", Some("https://a.test:7443")).metadata();
        assert_eq!(with["introspection_endpoint"], "https://a.test:7443/introspect");
        assert_eq!(with["revocation_endpoint"], "https://a.test:7443/revoke");
        for absent in
            ["authorization_endpoint", "token_endpoint", "grant_types_supported", "scopes_supported"]
        {
            assert!(with.get(absent).is_none() && without.get(absent).is_none(), "{absent}");
        }
        assert!(
            without.get("introspection_endpoint").is_none() && without.get("revocation_endpoint").is_none()
        );
        for (name, value) in with.as_object().unwrap() {
            assert!(value.as_array().is_none_or(|array| !array.is_empty()), "{name}");
        }
    }
}
