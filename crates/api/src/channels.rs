//! What anyone may read to learn what has ended, and where to ask more: revocation lists, status lists, OAuth metadata.

use crate::Api;
use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use std::sync::Arc;
use taskpass_broker::Crls;
use taskpass_types::{KeyGeneration, Refusal};

/// Where the metadata is, by RFC 8414; what an issuer has of a path comes behind it.
const METADATA: &str = "/.well-known/oauth-authorization-server";

/// Where the channels are, for the metadata.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The `iss` of tokens.
    pub issuer: String,
    /// How the world reaches the listener on which callers are attested, if it does.
    pub api: Option<String>,
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
        if let (Some(api), Some(members)) = (&self.api, metadata.as_object_mut()) {
            for what in ["introspection", "revocation"] {
                let path = if what == "revocation" { "revoke" } else { "introspect" };
                members.insert(format!("{what}_endpoint"), json!(format!("{api}/{path}")));
                members.insert(format!("{what}_endpoint_auth_methods_supported"), json!(["tls_client_auth"]));
            }
        }
        metadata
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
        .route("/status-lists/{id}", get(status_list))
        .route(&places.metadata_path(), get(async move || Json(metadata)))
}

async fn all(State(api): State<Api>, headers: HeaderMap) -> Response {
    answer(&api, &headers, |crls| Some(("application/x-pem-file", crls.pem.as_bytes().into())))
}

async fn one(State(api): State<Api>, Path(generation): Path<u32>, headers: HeaderMap) -> Response {
    answer(&api, &headers, |crls| {
        let list = crls.lists.iter().find(|list| list.generation == KeyGeneration(generation))?;
        Some(("application/pkix-crl", list.der.clone()))
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

/// Whoever fetches a list to put it into a file asks often: an unchanged one costs nothing.
fn answer(
    api: &Api,
    headers: &HeaderMap,
    body: impl FnOnce(&Crls) -> Option<(&'static str, Arc<[u8]>)>,
) -> Response {
    let crls = match api.broker.crls() {
        Ok(crls) => crls,
        Err(refusal) => return unavailable(&refusal),
    };
    let tag = format!("\"{:x}\"", crls.number);
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    match body(&crls) {
        Some((kind, bytes)) => {
            let headers = [
                (header::CONTENT_TYPE, kind.to_owned()),
                (header::ETAG, tag),
                // A copy on the way would be older than need be.
                (header::CACHE_CONTROL, "no-cache".to_owned()),
            ];
            (headers, axum::body::Bytes::from_owner(bytes)).into_response()
        }
        None => {
            (StatusCode::NOT_FOUND, "there is no such key generation, or nothing counts that it signed\n")
                .into_response()
        }
    }
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
        Places { issuer: issuer.to_owned(), api: api.map(str::to_owned) }
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
