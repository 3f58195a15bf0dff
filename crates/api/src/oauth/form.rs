//! The form of a request to an OAuth endpoint.

use axum::http::{HeaderMap, header};
use taskpass_types::Secret;

/// RFC 7523 section 2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What a request asks about, and who says that they ask.
pub(super) struct Form {
    pub(super) token: Secret<String>,
    pub(super) hint: Option<String>,
    pub(super) assertion: Option<Secret<String>>,
    pub(super) client: Option<String>,
}

impl Form {
    /// A parameter without a value counts as left out; none may come twice (RFC 6749 section 3.2).
    pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, &'static str> {
        const FORM: &str = "application/x-www-form-urlencoded";
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case(FORM) {
            return Err("the body has to be application/x-www-form-urlencoded");
        }
        let (mut token, mut hint, mut assertion, mut kind, mut client) = (None, None, None, None, None);
        for (name, value) in form_urlencoded::parse(body).filter(|(_, value)| !value.is_empty()) {
            let place = match &*name {
                "token" => &mut token,
                "token_type_hint" => &mut hint,
                "client_assertion" => &mut assertion,
                "client_assertion_type" => &mut kind,
                "client_id" => &mut client,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return Err("a parameter comes twice");
            }
        }
        match (&assertion, kind.as_deref()) {
            (None, None) | (Some(_), Some(ASSERTION_TYPE)) => {}
            _ => return Err("`client_assertion` comes with `client_assertion_type` of the JWT bearer"),
        }
        let token = Secret::new(token.ok_or("`token` is missing")?);
        Ok(Self { token, hint, assertion: assertion.map(Secret::new), client })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const FORM: &str = "application/x-www-form-urlencoded";

    fn form(kind: &'static str, body: &str) -> Result<Form, &'static str> {
        let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(kind))].into_iter().collect();
        Form::parse(&headers, body.as_bytes())
    }

    #[test]
    fn an_assertion_comes_with_its_type() {
        let kind = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
        let read = form(FORM, &format!("token=a&client_assertion=b.c.d&{kind}&client_id=e")).unwrap();
        assert_eq!(read.assertion.unwrap().expose(), "b.c.d");
        assert_eq!(read.client.as_deref(), Some("e"));
        for body in [
            "token=a&client_assertion=b".to_owned(),
            format!("token=a&{kind}"),
            format!("token=a&{kind}&{kind}&client_assertion=b"),
            format!("token=a&{kind}&client_assertion=b&client_assertion=b"),
            "token=a&client_assertion=b&client_assertion_type=saml2-bearer".to_owned(),
        ] {
            assert!(form(FORM, &body).is_err(), "{body}");
        }
    }

    fn parse(kind: &'static str, body: &str) -> Result<(String, Option<String>), &'static str> {
        form(kind, body).map(|form| (form.token.expose().clone(), form.hint))
    }

    #[test]
    fn a_form_has_one_token_and_may_have_a_hint() {
        let form = FORM;
        assert_eq!(parse(form, "token=a.b-c").unwrap(), ("a.b-c".to_owned(), None));
        assert_eq!(
            parse(
                "Application/X-WWW-Form-Urlencoded; charset=utf-8",
                "token_type_hint=x%20y&client_id=z&token=a%2E"
            )
            .unwrap(),
            ("a.".to_owned(), Some("x y".to_owned()))
        );
        for body in [
            "",
            "token=",
            "token",
            "tokens=a",
            "token=a&token=b",
            "token=a&token=a",
            "token=a&token_type_hint=b&token_type_hint=b",
        ] {
            assert!(parse(form, body).is_err(), "{body}");
        }
        for kind in ["application/json", "text/plain", "", "multipart/form-data"] {
            assert!(parse(kind, "token=a").is_err(), "{kind}");
        }
    }
}
