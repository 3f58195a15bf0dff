//! Finds the broker.
//!
//! `--address` wins over the environment (`TASKPASS_ADDRESS`, `TASKPASS_SOCKET`), that over the context file that
//! `taskpass dev` leaves, and that over `/run/taskpass/api.sock`.

use crate::{
    context::{self, Context},
    error::{Exit, Failure},
};
use taskpass_client::{Broker, Endpoint};

/// Where a broker listens that was installed as a service.
pub(crate) const DEFAULT_ADDRESS: &str = "unix:/run/taskpass/api.sock";

/// What `taskpass help environment` says.
pub(crate) const ENVIRONMENT: &[(&str, &str)] = &[
    ("TASKPASS_ADDRESS", "the broker: `unix:/path` or `https://host:port`"),
    ("TASKPASS_SOCKET", "the broker: the path of its Unix socket"),
    ("TASKPASS_CA", "PEM file with the roots that the broker's certificate must chain to, for https"),
    ("TASKPASS_CERT", "PEM file with our own certificate chain, for https"),
    ("TASKPASS_KEY", "PEM file with its key, for https"),
    ("TASKPASS_OUTPUT", "the form of data, as --output: table, json, jsonl, yaml, name"),
    ("TASKPASS_LOG", "what to log to standard error, for example `debug` or `taskpass_client=debug`"),
    ("NO_COLOR", "no colour, whatever the terminal can"),
    ("CLICOLOR_FORCE", "colour, whatever standard error is"),
    ("XDG_RUNTIME_DIR", "where the context file of `taskpass dev` is; ~/.config when unset"),
];

/// Where the broker is; `flag` is `--address`, `lookup` reads the environment.
pub(crate) fn endpoint(
    flag: Option<&str>,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Endpoint, Failure> {
    let set = |name: &str| lookup(name).is_some_and(|value| !value.is_empty());
    if flag.is_none() && (set("TASKPASS_ADDRESS") || set("TASKPASS_SOCKET")) {
        return Ok(Endpoint::from_lookup(lookup)?);
    }
    let address = match flag {
        Some(address) => address.to_owned(),
        None => context_address(&lookup)?.unwrap_or_else(|| DEFAULT_ADDRESS.to_owned()),
    };
    Ok(Endpoint::from_lookup(|name| match name {
        "TASKPASS_ADDRESS" => Some(address.clone()),
        "TASKPASS_SOCKET" => None,
        _ => lookup(name),
    })?)
}

fn context_address(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<String>, Failure> {
    let Some(path) = context::path(lookup) else { return Ok(None) };
    let context = Context::read(&path).map_err(|error| {
        Failure::new(Exit::Usage, format!("the context file `{}` cannot be used: {error}", path.display()))
            .fix("remove it, or say where the broker is with --address")
    })?;
    Ok(context.map(|context| context.address))
}

/// Connects now.
pub(crate) async fn broker(flag: Option<&str>) -> Result<Broker, Failure> {
    let endpoint = endpoint(flag, |name| std::env::var(name).ok())?;
    Ok(Broker::connect(&endpoint).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(flag: Option<&str>, values: &[(&str, &str)]) -> Result<String, String> {
        let find =
            |name: &str| values.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        endpoint(flag, find).map(|endpoint| endpoint.to_string()).map_err(|failure| failure.what().to_owned())
    }

    #[test]
    fn the_flag_wins_over_the_environment_that_over_the_context_that_over_the_default() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = folder.path().to_str().unwrap();
        let runtime = ("XDG_RUNTIME_DIR", runtime);
        assert_eq!(found(None, &[runtime]).unwrap(), DEFAULT_ADDRESS);
        let context = Context { address: "unix:/run/context.sock".to_owned() };
        context.write(&folder.path().join("taskpass/context.toml")).unwrap();
        assert_eq!(found(None, &[runtime]).unwrap(), "unix:/run/context.sock");
        let socket = ("TASKPASS_SOCKET", "/run/environment.sock");
        assert_eq!(found(None, &[runtime, socket]).unwrap(), "unix:/run/environment.sock");
        let address = ("TASKPASS_ADDRESS", "unix:/run/address.sock");
        assert_eq!(found(None, &[runtime, address]).unwrap(), "unix:/run/address.sock");
        assert_eq!(found(Some("unix:/run/flag.sock"), &[runtime, socket]).unwrap(), "unix:/run/flag.sock");
        let (tls, ca) = ("https://broker.acme.test:7443", ("TASKPASS_CA", "ca.pem"));
        assert_eq!(found(Some(tls), &[socket, ca]).unwrap(), tls);
    }

    #[test]
    fn nonsense_says_so() {
        for (flag, values, what) in [
            (Some("tcp://x"), &[][..], "no broker address"),
            (Some("https://broker.acme.test:7443"), &[], "`TASKPASS_CA` is not set"),
            (None, &[("TASKPASS_SOCKET", "/a"), ("TASKPASS_ADDRESS", "unix:/b")], "both set"),
        ] {
            let error = found(flag, values).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}
