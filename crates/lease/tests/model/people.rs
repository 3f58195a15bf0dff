//! What people were asked and said, as the model counts it: nothing rests on a no, on too few, on the wrong ones, on a late
//! yes, or twice on the same.

use crate::model::Model;
use std::collections::{BTreeMap, BTreeSet};
use taskpass_lease::{
    Approval, ApprovalState, ApprovalUse, CastVote, Effects, Quorum, RequestApproval, Verdict,
};
use taskpass_types::{AgentId, ApprovalId, GroupName, Timestamp};

/// One request for approval, and all that was accepted about it.
pub(crate) struct Asked {
    digest: [u8; 32],
    agent: AgentId,
    quorums: Vec<Quorum>,
    expires_at: Timestamp,
    /// In lower case.
    yes: BTreeSet<String>,
    denied: bool,
    over: bool,
}

impl Model {
    pub(crate) fn check_asked(&mut self, ask: &RequestApproval, approval: &Approval) {
        self.check_alive(ask.task);
        assert_eq!(self.declared[&ask.task].agent, ask.agent);
        assert_eq!((approval.digest, &approval.agent), (ask.digest, &ask.agent));
        assert!(self.now < approval.expires_at, "nobody waits for what is over");
        let asked = self.asked.entry(approval.id).or_insert_with(|| Asked {
            digest: ask.digest,
            agent: ask.agent.clone(),
            quorums: ask.quorums.clone(),
            expires_at: approval.expires_at,
            yes: BTreeSet::new(),
            denied: false,
            over: false,
        });
        assert!(!asked.over && !asked.denied);
        assert!(
            approval.expires_at <= self.now.plus(self.world.limits.approval_ttl) || approval.id != ask.id
        );
        assert!(approval.expires_at <= self.declared[&approval.task].deadline);
        for Quorum { group, members, count } in &ask.quorums {
            assert!(asked.quorums.iter().any(|had| had.group == *group && had.count >= *count));
            let people: BTreeSet<String> = members.iter().map(|name| lower(name.as_str())).collect();
            let able = people.iter().filter(|name| *name != "maya@acme.test").count();
            assert!(approval.id != ask.id || able >= usize::from(*count), "nobody waits for what cannot be");
        }
        let waiting =
            self.world.approvals.values().filter(|found| found.agent == ask.agent && found.is_pending());
        assert!(waiting.count() <= usize::try_from(self.world.limits.approvals_per_agent).unwrap());
    }

    pub(crate) fn check_vote(&mut self, cast: &CastVote, approval: &Approval) {
        let asked = self.asked.get_mut(&cast.approval).unwrap();
        let name = lower(cast.by.as_str());
        assert!(self.now < asked.expires_at, "no vote after the time");
        assert!(!asked.over && !asked.denied, "no vote on what is decided");
        assert!(name != "maya@acme.test", "the owner and initiator does not judge");
        assert!(asked.quorums.iter().any(|quorum| quorum.members.contains(&cast.by)), "a member");
        match cast.verdict {
            Verdict::Approve => assert!(asked.yes.insert(name), "one person, one vote"),
            Verdict::Deny => asked.denied = true,
        }
        let expected = match (asked.denied, asked.is_granted()) {
            (true, _) => matches!(approval.state, ApprovalState::Denied { .. }),
            (false, true) => matches!(approval.state, ApprovalState::Granted { .. }),
            (false, false) => approval.state == ApprovalState::Pending,
        };
        assert!(expected, "{:?} after {:?}", approval.state, approval.votes);
    }

    pub(crate) fn check_expired(&mut self, approval: &Approval) {
        let asked = self.asked.get_mut(&approval.id).unwrap();
        assert!(self.now >= asked.expires_at && !asked.denied && !asked.over);
        assert_eq!(
            approval.state,
            ApprovalState::Expired { at: asked.expires_at },
            "a time-out is no denial"
        );
        asked.over = true;
    }

    /// What needs approval rests on exactly one that was granted for it and not used; what needs none leaves it alone.
    pub(crate) fn check_consent(
        &mut self,
        effects: &Effects,
        agent: &AgentId,
        obliged: &BTreeMap<GroupName, u8>,
        using: Option<&ApprovalUse>,
        by: String,
    ) {
        let required: Vec<_> = obliged.iter().chain(using.iter().flat_map(|using| &using.required)).collect();
        let Some(used) = &effects.approval else {
            assert!(required.is_empty(), "nobody approved this");
            return;
        };
        assert!(!required.is_empty(), "an approval is not used up for nothing");
        let using = using.unwrap();
        assert_eq!(used.state, ApprovalState::Used { at: self.now, by });
        assert!(using.id.is_none_or(|id| id == used.id));
        let asked = self.asked.get_mut(&used.id).unwrap();
        assert_eq!((asked.digest, &asked.agent), (using.digest, agent), "approved was exactly this");
        assert!(!asked.denied, "deny wins");
        assert!(!asked.over, "an approval is used once");
        assert!(self.now < asked.expires_at, "in time");
        assert!(asked.is_granted(), "enough people");
        for (group, count) in required {
            assert!(asked.quorums.iter().any(|had| had.group == *group && had.count >= *count));
        }
        asked.over = true;
    }

    pub(crate) fn check_approvals(&self) {
        for approval in self.world.approvals.values() {
            let asked = &self.asked[&approval.id];
            assert_eq!(approval.expires_at, asked.expires_at, "its time is not lengthened");
            assert_eq!(approval.quorums, asked.quorums, "what was asked stays as it was");
            assert_eq!(approval.settled_at().is_some(), asked.denied || asked.over, "final");
        }
    }

    pub(crate) fn forget_approval(&mut self, id: ApprovalId) {
        let asked = &self.asked[&id];
        assert!((asked.denied || asked.over) && self.now >= asked.expires_at);
    }
}

impl Asked {
    fn is_granted(&self) -> bool {
        self.quorums.iter().all(|quorum| {
            let members: BTreeSet<String> =
                quorum.members.iter().map(|member| lower(member.as_str())).collect();
            members.intersection(&self.yes).count() >= usize::from(quorum.count)
        })
    }
}

fn lower(name: &str) -> String {
    name.to_ascii_lowercase()
}
