//! Where the broker is and who we are to it.
//!
//! A Unix socket needs nothing more: the kernel vouches for the caller. Over TCP it is TLS, always, with the roots that
//! the broker's certificate must chain to; there is no plain-text form.

use crate::{connect, tls::Tls};
use http::{Uri, uri::Scheme};
use std::{fmt, path::PathBuf, str::FromStr, time::Duration};
use tonic::transport::Channel;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the broker is, how to get there, and how long to wait.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub(crate) route: Route,
    pub(crate) request_timeout: Duration,
    pub(crate) connect_timeout: Duration,
}

#[derive(Clone, Debug)]
pub(crate) enum Route {
    Tls { host: String, port: u16, tls: Tls },
    Unix(PathBuf),
}

/// Why there is no endpoint, or no connection to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Two settings contradict each other.
    #[error("`{0}` and `{1}` are both set: unset one")]
    Ambiguous(&'static str, &'static str),
    /// The connection could not be made.
    #[error("cannot connect to the broker at `{address}`: {why}")]
    Connect {
        /// Where it was tried.
        address: String,
        /// What went wrong.
        why: String,
    },
    /// A certificate, key or root cannot be used.
    #[error("the TLS material cannot be used: {0}")]
    Material(String),
    /// A TLS address without the roots to check the broker by, or a certificate without its key.
    #[error("`{0}` is not set, and `{1}` needs it")]
    Missing(&'static str, &'static str),
    /// Nothing says where the broker is.
    #[error("nothing says where the broker is: set `TASKPASS_SOCKET` or `TASKPASS_ADDRESS`")]
    Unset,
    /// The text is no address.
    #[error("`{0}` is no broker address: expected `unix:/path` or `https://host:port`")]
    Unreadable(String),
}

impl Endpoint {
    /// A broker's Unix socket.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::new(Route::Unix(path.into()))
    }

    /// A broker over TLS 1.3; `address` is `https://host:port`.
    pub fn https(address: &str, tls: Tls) -> Result<Self, EndpointError> {
        let (host, port) = host_and_port(address).ok_or_else(|| unreadable(address))?;
        Ok(Self::new(Route::Tls { host, port, tls }))
    }

    /// `unix:/path`, or `https://host:port` with the material to prove both sides.
    pub fn parse(address: &str, tls: Option<Tls>) -> Result<Self, EndpointError> {
        match address.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::unix(path)),
            Some(_) => Err(unreadable(address)),
            None => {
                host_and_port(address).ok_or_else(|| unreadable(address))?;
                Self::https(address, tls.ok_or(EndpointError::Missing("TASKPASS_CA", "https"))?)
            }
        }
    }

    /// From the environment, or whatever else `lookup` reads by name.
    ///
    /// - `TASKPASS_SOCKET`: the path of a Unix socket; or
    /// - `TASKPASS_ADDRESS`: `unix:/path` or `https://host:port`, the latter with
    /// - `TASKPASS_CA`: a PEM file with the roots that the broker's certificate must chain to, and
    /// - `TASKPASS_CERT`, `TASKPASS_KEY`: PEM files with our own certificate chain and key. They are read again for
    ///   every connection, so that a rotation needs no restart.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, EndpointError> {
        let lookup = |name| lookup(name).filter(|value| !value.is_empty());
        match (lookup("TASKPASS_SOCKET"), lookup("TASKPASS_ADDRESS")) {
            (Some(_), Some(_)) => Err(EndpointError::Ambiguous("TASKPASS_SOCKET", "TASKPASS_ADDRESS")),
            (Some(path), None) => Ok(Self::unix(path)),
            (None, Some(address)) => Self::parse(&address, tls_from(lookup)?),
            (None, None) => Err(EndpointError::Unset),
        }
    }

    /// How long to wait for a connection; 5 s when not said.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// How long to wait for an answer to one attempt of a call; 10 s when not said. The life of a stream is not
    /// limited by it.
    #[must_use]
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = limit;
        self
    }

    /// Connects now. The channel connects anew by itself whenever it is used after a loss.
    pub async fn connect(&self) -> Result<Channel, EndpointError> {
        connect::eager(self).await
    }

    /// A channel that connects when it is first used. Must be called in a Tokio runtime.
    pub fn connect_lazy(&self) -> Result<Channel, EndpointError> {
        connect::lazy(self)
    }

    fn new(route: Route) -> Self {
        Self { route, request_timeout: REQUEST_TIMEOUT, connect_timeout: CONNECT_TIMEOUT }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.route {
            Route::Tls { host, port, .. } => write!(f, "https://{}", authority(host, *port)),
            Route::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `host:port`, with the brackets that an IPv6 address needs.
pub(crate) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn unreadable(address: &str) -> EndpointError {
    EndpointError::Unreadable(address.escape_debug().take(128).collect())
}

fn host_and_port(address: &str) -> Option<(String, u16)> {
    let uri = Uri::from_str(address).ok()?;
    let authority = uri.authority()?;
    let bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !authority.as_str().contains('@');
    if uri.scheme() != Some(&Scheme::HTTPS) || !bare {
        return None;
    }
    let host = authority.host();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host.to_owned(), authority.port_u16()?))
}

fn tls_from(lookup: impl Fn(&'static str) -> Option<String>) -> Result<Option<Tls>, EndpointError> {
    let Some(roots) = lookup("TASKPASS_CA") else {
        return Ok(None);
    };
    let tls = Tls::new(PathBuf::from(roots));
    match (lookup("TASKPASS_CERT"), lookup("TASKPASS_KEY")) {
        (Some(chain), Some(key)) => Ok(Some(tls.identity(PathBuf::from(chain), PathBuf::from(key)))),
        (Some(_), None) => Err(EndpointError::Missing("TASKPASS_KEY", "TASKPASS_CERT")),
        (None, Some(_)) => Err(EndpointError::Missing("TASKPASS_CERT", "TASKPASS_KEY")),
        (None, None) => Ok(Some(tls)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(values: &[(&str, &str)]) -> Result<String, String> {
        let find =
            |name: &str| values.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Endpoint::from_lookup(find).map(|endpoint| endpoint.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_the_environment() {
        assert_eq!(from(&[("TASKPASS_SOCKET", "/run/taskpass.sock")]).unwrap(), "unix:/run/taskpass.sock");
        assert_eq!(from(&[("TASKPASS_ADDRESS", "unix:/run/t.sock")]).unwrap(), "unix:/run/t.sock");
        for address in ["https://broker.acme.test:7420", "https://[::1]:7420"] {
            assert_eq!(from(&[("TASKPASS_ADDRESS", address), ("TASKPASS_CA", "ca.pem")]).unwrap(), address);
        }
    }

    #[test]
    fn says_what_is_missing_or_contradictory() {
        let https = ("TASKPASS_ADDRESS", "https://broker.acme.test:7420");
        for (values, expected) in [
            (&[][..], "nothing says where"),
            (&[("TASKPASS_SOCKET", "")], "nothing says where"),
            (&[("TASKPASS_SOCKET", "/s"), https], "both set"),
            (&[https], "`TASKPASS_CA` is not set"),
            (&[https, ("TASKPASS_CA", "ca"), ("TASKPASS_CERT", "c")], "`TASKPASS_KEY` is not set"),
            (&[https, ("TASKPASS_CA", "ca"), ("TASKPASS_KEY", "k")], "`TASKPASS_CERT` is not set"),
        ] {
            let error = from(values).unwrap_err();
            assert!(error.contains(expected), "{values:?}: {error}");
        }
    }

    #[test]
    fn refuses_what_is_no_address() {
        for bad in [
            "",
            "unix:",
            "unix:relative",
            "/run/t.sock",
            "http://localhost:80",
            "https://",
            "https://broker",
            "https://broker:0x50",
            "https://broker:99999",
            "https://me@broker:1",
            "https://broker:1/path",
            "https://broker:1?q",
            "tcp://broker:1",
            "broker:7420",
        ] {
            let tls = Tls::new(PathBuf::from("ca.pem"));
            assert!(Endpoint::parse(bad, Some(tls)).is_err(), "{bad:?} was accepted");
        }
    }
}
