//! Classes of requests. After a change of the policies every live lease is decided anew; of those that no policy can tell
//! apart, one is enough.
//!
//! Invariant: requests of one class get one effect, determining policies and obligations. A class is all that an
//! evaluation can come to: what is known of agent and resource (their scopes pick the policies), and the attributes of
//! the context that those policies read.

use crate::{
    fingerprint::{Fingerprint, Writer},
    plain,
    policies::Policies,
    reads::Reads,
    request::Request,
};

/// Stands for all requests that one set of policies cannot tell apart. Classes of different sets are never equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Class(Fingerprint);

impl Class {
    pub(crate) fn of(policies: &Policies, request: &Request<'_>) -> Self {
        let slice = policies.slices.find(&policies.rules, request);
        let reads = slice.map_or(Reads::EVERYTHING, |slice| slice.reads);
        let mut writer = Writer::new();
        writer
            .text(policies.revision().as_str())
            .text(request.verb.as_str())
            .fingerprint(request.agent.fingerprint())
            .fingerprint(request.resource.fingerprint());
        for attribute in reads.iter() {
            plain::write(request.get(attribute), &mut writer);
        }
        Self(writer.finish())
    }
}
