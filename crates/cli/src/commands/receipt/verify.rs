//! `taskpass receipt verify`: offline, so that nobody has to believe the broker, nor reach it.

use crate::{
    error::{Exit, Failure},
    session::{Outcome, Session},
    view::ReceiptView,
};
use clap::Args;
use std::{fs, io::Read as _, path::PathBuf};
use taskpass_crypto::{
    TokenKeys,
    jws::{ClosureReceipt, MAX_CLOSURE_BYTES},
};

/// A set of keys is smaller than that.
const MAX_KEYS_BYTES: usize = 64 << 10;

/// Check a receipt without a broker, and show what it says
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass receipt verify closure.jws --keys keys.json
  taskpass receipt verify - --keys keys.json -o json
  taskpass receipt verify closure.jws --keys keys.json --issuer https://taskpass.example.com

Exit code 10 when the receipt was changed or is not signed by one of these keys. What the keys are worth is yours to
know: take them from the issuer's `/.well-known/jwks.json`, or from whoever kept them.")]
pub(crate) struct Verify {
    /// The file; `-` reads standard input
    file: PathBuf,
    /// The public keys of the issuer, a JSON Web Key Set
    #[arg(long, value_name = "FILE", required = true)]
    keys: PathBuf,
    /// Who must have signed it
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
}

impl Verify {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let (text, keys) = (load(&self.file, MAX_CLOSURE_BYTES)?, load(&self.keys, MAX_KEYS_BYTES)?);
        let receipt = read(&text, keys.as_bytes())?;
        if let Some(issuer) = self.issuer.filter(|issuer| *issuer != receipt.iss) {
            return Err(found("the receipt is of another issuer")
                .why(format!("it is signed by `{}`, expected `{issuer}`", receipt.iss)));
        }
        session.out.one(&ReceiptView::new(&receipt))?;
        Ok(Exit::Done)
    }
}

fn found(what: &str) -> Failure {
    Failure::new(Exit::Found, what)
}

/// Reads a receipt that one of these keys signed.
pub(super) fn read(receipt: &str, keys: &[u8]) -> Result<ClosureReceipt, Failure> {
    let keys = TokenKeys::parse(keys).map_err(|error| {
        Failure::usage("these are no keys to check a receipt with")
            .why(error.to_string())
            .fix("give the issuer's `/.well-known/jwks.json`, or what `receipt get --keys-out` wrote")
    })?;
    keys.verify_closure(receipt).map_err(|error| {
        found("this is no receipt that these keys signed")
            .why(error.to_string())
            .fix("compare it with another copy; check with the keys that were current when it was made")
    })
}

fn load(file: &PathBuf, max: usize) -> Result<String, Failure> {
    let failed =
        |error: std::io::Error| Failure::usage(format!("`{}` cannot be read: {error}", file.display()));
    let limit = u64::try_from(max).unwrap_or(u64::MAX);
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin().lock().take(limit).read_to_string(&mut text).map_err(failed)?;
    } else {
        fs::File::open(file).map_err(failed)?.take(limit).read_to_string(&mut text).map_err(failed)?;
    }
    Ok(text)
}
