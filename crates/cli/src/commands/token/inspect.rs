//! `taskpass token inspect`: decodes, offline, without believing anything.

use crate::{
    error::{Exit, Failure},
    output::{Record, Style},
    session::{Outcome, Session},
};
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use std::{
    fs::File,
    io::{self, Read},
};
use taskpass_crypto::jws::inspect_unverified;
use taskpass_types::{Secret, Timestamp};

/// More than any token has.
const MAX_BYTES: u64 = 16 * 1024;

/// Decode a token from standard input or a file, without verifying it
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass token inspect < token.txt
  printenv TASKPASS_TOKEN | taskpass token inspect -o json | jq .item.claims")]
pub(crate) struct Inspect {
    /// A file with the token; `-`: standard input. Never the token itself: other users see arguments
    #[arg(default_value = "-")]
    file: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenView {
    header: Value,
    claims: Value,
    /// Always false: nothing was verified.
    verified: bool,
    /// Why it is none of ours; null when it has the right form.
    problem: Option<String>,
    ttl_seconds: u64,
}

impl Inspect {
    pub(super) fn run(self, session: &Session) -> Outcome {
        if looks_like_a_token(&self.file) {
            return Err(Failure::usage("this is a token, and other users of the machine see arguments")
                .why("it may be in the shell's history now, too")
                .fix("taskpass token inspect < FILE"));
        }
        let token = match self.file.as_str() {
            "-" => read(io::stdin().lock())?,
            path => read(File::open(path).map_err(|error| Failure::usage(format!("`{path}`: {error}")))?)?,
        };
        let inspection = inspect_unverified(token.expose().trim())
            .map_err(|error| Failure::usage(format!("this is no token: {error}")))?;
        let expiry = inspection.claims.get("exp").and_then(Value::as_u64).map(Timestamp::from_secs);
        session.out.one(&TokenView {
            ttl_seconds: expiry.map_or(0, |end| end.since(session.now()).as_secs()),
            header: inspection.header,
            claims: inspection.claims,
            verified: false,
            problem: inspection.unverified_grant.err().map(|error| error.to_string()),
        })?;
        session.out.say("nothing of this was verified");
        Ok(Exit::Done)
    }
}

/// Three parts of base64url, the first of which is a JSON object.
fn looks_like_a_token(text: &str) -> bool {
    text.starts_with("ey") && text.split('.').count() == 3
}

fn read(from: impl Read) -> Result<Secret<String>, Failure> {
    let mut text = String::new();
    from.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text.into())
}

impl Record for TokenView {
    const KIND: &'static str = "Token";
    const COLUMNS: &'static [&'static str] = &["CLAIMS"];

    fn name(&self) -> String {
        self.claims.get("jti").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn row(&self, _: &Style) -> Vec<String> {
        vec![self.claims.to_string()]
    }

    fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        let claim = |name: &str| match self.claims.get(name) {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let time = |name: &str| self.claims.get(name).and_then(Value::as_u64).map(Timestamp::from_secs);
        vec![
            ("header", self.header.to_string()),
            ("issuer", claim("iss")),
            ("subject", claim("sub")),
            ("audience", claim("aud")),
            ("client", claim("client_id")),
            ("token id", claim("jti")),
            ("issued", style.past(time("iat"))),
            ("expires", style.left(time("exp"))),
            ("bound to", claim("cnf")),
            ("grants", claim("authorization_details")),
            ("claims", self.claims.to_string()),
            ("problem", self.problem.clone().unwrap_or_default()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_told_from_the_name_of_a_file() {
        assert!(looks_like_a_token("eyJhbGciOiJFUzI1NiJ9.e30.AAAA"));
        for file in ["-", "token.txt", "./ey.tar.gz/x", "eyes.txt"] {
            assert!(!looks_like_a_token(file), "{file}");
        }
    }
}
