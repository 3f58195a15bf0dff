//! A scope is one (resource, action) pair; each that is asked for is decided on its own.

use crate::{ActionName, ParseNameError, ResourceName};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// One resource and one action on it. Text form `resource:action`; the resource ends at the first colon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope {
    /// What is acted upon.
    pub resource: ResourceName,
    /// What is done.
    pub action: ActionName,
}

/// Why a text is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseScopeError {
    /// There is no colon.
    #[error("`{0}` is not a scope: expected `resource:action`, for example `billing-api:invoice:read`")]
    NoColon(String),
    /// One of the halves is no name.
    #[error(transparent)]
    Name(#[from] ParseNameError),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.resource, self.action)
    }
}

impl FromStr for Scope {
    type Err = ParseScopeError;

    fn from_str(text: &str) -> Result<Self, ParseScopeError> {
        let (resource, action) = text
            .split_once(':')
            .ok_or_else(|| ParseScopeError::NoColon(text.escape_debug().take(64).collect()))?;
        Ok(Self { resource: ResourceName::new(resource)?, action: ActionName::new(action)? })
    }
}

impl TryFrom<String> for Scope {
    type Error = ParseScopeError;
    fn try_from(text: String) -> Result<Self, ParseScopeError> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> String {
        scope.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resource_ends_at_the_first_colon() {
        let scope: Scope = "billing-api:invoice:read".parse().unwrap();
        assert_eq!((scope.resource.as_str(), scope.action.as_str()), ("billing-api", "invoice:read"));
        assert_eq!(scope.to_string(), "billing-api:invoice:read");
    }

    #[test]
    fn halves_must_be_names() {
        for bad in ["", "billing-api", ":read", "billing-api:", "a b:c"] {
            assert!(bad.parse::<Scope>().is_err(), "{bad:?} was accepted");
        }
    }
}
