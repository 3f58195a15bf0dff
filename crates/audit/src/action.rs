//! What can be in the log. Words and codes are a contract with everyone who searches it: they are added, never changed.

use std::fmt;

/// Before or after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It is about to be done; written before the effect.
    Intent,
    /// It was done, or refused.
    Outcome,
}

impl Phase {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Outcome => "outcome",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $number:literal;)*) => {
        /// What was done, or was about to be done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action {
            $($(#[$doc])* $variant,)*
        }

        impl Action {
            /// Every action, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word, `noun.verb`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// The code of an intent: `TP`, three digits, `I`.
            pub const fn intent_code(self) -> &'static str {
                match self { $(Self::$variant => concat!("TP", $number, "I")),* }
            }

            /// The code of a success: `TP`, three digits, `S`.
            pub const fn success_code(self) -> &'static str {
                match self { $(Self::$variant => concat!("TP", $number, "S")),* }
            }

            /// The code of a failure or refusal: `TP`, three digits, `F`.
            pub const fn failure_code(self) -> &'static str {
                match self { $(Self::$variant => concat!("TP", $number, "F")),* }
            }
        }
    };
}

actions! {
    /// A person approved or denied.
    ApprovalDecide = "approval.decide", "902";
    /// Nobody decided in time.
    ApprovalExpire = "approval.expire", "903";
    /// A request waits for people.
    ApprovalRequest = "approval.request", "901";
    /// Evidence was not accepted.
    AttestRefuse = "attest.refuse", "601";
    /// The log continues after a crash or after an outage of its disk.
    AuditRecover = "audit.recover", "801";
    /// The broker began to serve.
    BrokerStart = "broker.start", "701";
    /// The broker stopped in good order.
    BrokerStop = "broker.stop", "702";
    /// A tool call was allowed or denied.
    CallAuthorize = "call.authorize", "211";
    /// A tool call was made; how it ended.
    CallReport = "call.report", "212";
    /// Deny records whose last credential has expired were forgotten.
    DenyForget = "deny.forget", "302";
    /// What is out is no longer what would be allowed; what the rule made of it.
    DriftDetect = "drift.detect", "403";
    /// An agent may ask again after a kill.
    HoldRelease = "hold.release", "301";
    /// An agent, task and resource are held without a kill.
    HoldSet = "hold.set", "303";
    /// A signing key began to sign.
    KeyActivate = "key.activate", "502";
    /// A signing key was shown to verifiers.
    KeyPublish = "key.publish", "501";
    /// A signing key will not sign again.
    KeyRetire = "key.retire", "503";
    /// A lease was given an earlier end.
    LeaseCut = "lease.cut", "205";
    /// A lease ended before its task.
    LeaseEnd = "lease.end", "203";
    /// A credential: the intent is the planned lease, the outcome what was signed and handed out.
    LeaseIssue = "lease.issue", "201";
    /// A new credential under an old lease.
    LeaseRenew = "lease.renew", "202";
    /// What became of an ended lease at its target.
    LeaseSettle = "lease.settle", "204";
    /// A set of policies came into force.
    PolicyLoad = "policy.load", "401";
    /// An invalid set of policies was kept out.
    PolicyRefuse = "policy.refuse", "402";
    /// A receipt of a task's end was signed.
    ReceiptSign = "receipt.sign", "105";
    /// Who is registered changed, and what is known of resources.
    RegistryLoad = "registry.load", "411";
    /// An invalid registry was kept out.
    RegistryRefuse = "registry.refuse", "412";
    /// A call was denied or invalid.
    RequestRefuse = "request.refuse", "602";
    /// Records past their retention were deleted from the store.
    StorePurge = "store.purge", "802";
    /// All that there was of an agent, an owner, a resource or the tenant ended.
    WideEnd = "wide.end", "304";
    /// An agent, an owner, a resource or the tenant is held.
    WideHold = "wide.hold", "305";
    /// A task ended, whatever the reason.
    TaskEnd = "task.end", "103";
    /// A task's heartbeat stopped.
    TaskHeartbeatLost = "task.heartbeat_lost", "102";
    /// Every lease of an ended task is settled.
    TaskSettle = "task.settle", "104";
    /// A task was declared.
    TaskStart = "task.start", "101";
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn words_and_codes_are_unique() {
        let mut seen = BTreeSet::new();
        for action in Action::ALL {
            let (noun, verb) = action.as_str().split_once('.').unwrap();
            assert!(!noun.is_empty() && !verb.is_empty());
            assert!(seen.insert(action.as_str()), "{action} twice");
            for code in [action.intent_code(), action.success_code(), action.failure_code()] {
                assert_eq!(code.len(), 6);
                assert!(seen.insert(code), "{code} twice");
            }
        }
    }
}
