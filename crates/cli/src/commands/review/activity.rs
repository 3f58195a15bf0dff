//! What the audit log tells of who used what, added up as it is read.
//!
//! Invariants: what the log says twice counts once (a repeated request, a repeated end); what ended is folded into sums, so
//! that memory grows with what lives and with what there is, not with the length of the log.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};
use taskpass_audit::Entry;
use taskpass_policy::Verb;
use taskpass_types::Timestamp;

/// An agent and a resource.
pub(super) type Pair = (String, String);

/// Names and values.
pub(super) type Obligations = BTreeMap<String, String>;

/// What was done within a window of time.
#[derive(Debug)]
pub(super) struct Activity {
    tenant: String,
    since: Timestamp,
    /// How many entries there were in the window.
    pub(super) entries: u64,
    pub(super) agents: BTreeMap<String, AgentUse>,
    pub(super) pairs: BTreeMap<Pair, PairUse>,
    /// Whether anybody asked about or reported a tool call.
    pub(super) calls_are_logged: bool,
    /// Tasks that have not ended.
    tasks: HashMap<String, Running>,
    /// Credentials that were announced and are not out yet.
    announced: HashMap<String, Entry>,
}

/// What one agent did.
#[derive(Debug, Default)]
pub(super) struct AgentUse {
    pub(super) tasks_started: u64,
    pub(super) tasks_ended: u64,
    pub(super) timed_out: u64,
    pub(super) silent: u64,
}

/// What one agent did at one resource.
#[derive(Debug, Default)]
pub(super) struct PairUse {
    /// By action: tasks that declared it and have ended, and how many of those had a lease with it.
    pub(super) declared: BTreeMap<String, Declared>,
    /// By action: leases with it.
    pub(super) issued: BTreeMap<String, u64>,
    /// By action: tool calls that were allowed, or reported as made.
    pub(super) called: BTreeMap<String, u64>,
    /// By what was allowed and for which action: what the permission was tied to, as the newest decision says.
    pub(super) permitted: BTreeMap<(Verb, String), Obligations>,
    pub(super) leases: u64,
    pub(super) renewals: u64,
    /// The longest time to live that was asked for.
    pub(super) asked: Duration,
    /// The longest of the tasks that ended and had a lease for it; `None`: none ended.
    pub(super) longest: Option<Duration>,
}

/// Of ended tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Declared {
    pub(super) tasks: u64,
    pub(super) used: u64,
}

#[derive(Debug)]
struct Running {
    agent: String,
    start: Timestamp,
    scopes: Vec<(String, String)>,
    leases: BTreeSet<String>,
    used: BTreeSet<(String, String)>,
}

impl Activity {
    /// Nothing yet, of one tenant.
    pub(super) fn new(tenant: &str, since: Timestamp) -> Self {
        Self {
            tenant: tenant.to_owned(),
            since,
            entries: 0,
            agents: BTreeMap::new(),
            pairs: BTreeMap::new(),
            calls_are_logged: false,
            tasks: HashMap::new(),
            announced: HashMap::new(),
        }
    }

    /// Takes one entry, in the order of the log. What is older than the window only explains what is in it.
    pub(super) fn take(&mut self, entry: Entry) {
        let Ok(time) = entry.time.parse::<Timestamp>() else { return };
        if entry.tenant != self.tenant {
            return;
        }
        let within = time >= self.since;
        self.entries += u64::from(within);
        let outcome = entry.phase == "outcome";
        let done = outcome && entry.refusal.is_none();
        match entry.action.as_str() {
            "task.start" if done => self.started(&entry, time, within),
            "task.end" if done => self.ended(&entry, time, within),
            "lease.issue" | "lease.renew" if !outcome => {
                if let Some(lease) = entry.lease.clone() {
                    self.announced.insert(lease, entry);
                }
            }
            "lease.issue" | "lease.renew" => {
                let announced = entry.lease.as_ref().and_then(|lease| self.announced.remove(lease));
                if let Some(announced) = announced.filter(|_| done) {
                    self.issued(&announced, within);
                }
            }
            "call.authorize" | "call.report" if outcome && within => self.called(&entry, done),
            _ => {}
        }
    }

    fn started(&mut self, entry: &Entry, time: Timestamp, within: bool) {
        let (Some(task), Some(agent)) = (&entry.task, &entry.agent) else { return };
        let scopes: Vec<_> = entry.scopes.iter().filter_map(|scope| split(scope)).collect();
        if self.tasks.contains_key(task) {
            return;
        }
        if within {
            self.agents.entry(agent.clone()).or_default().tasks_started += 1;
            let from = entry.parent.as_ref().and(entry.actor.strip_prefix("agent/"));
            for (from, (resource, action)) in
                from.into_iter().flat_map(|from| scopes.iter().map(move |s| (from, s)))
            {
                self.pair(from, resource).permit(Verb::Delegate, [action], &entry.obligations);
            }
        }
        let running = Running {
            agent: agent.clone(),
            start: time,
            scopes,
            leases: BTreeSet::new(),
            used: BTreeSet::new(),
        };
        self.tasks.insert(task.clone(), running);
    }

    fn ended(&mut self, entry: &Entry, time: Timestamp, within: bool) {
        let task = entry.task.as_ref().and_then(|task| self.tasks.remove(task));
        let Some(task) = task.filter(|_| within) else { return };
        let agent = self.agents.entry(task.agent.clone()).or_default();
        agent.tasks_ended += 1;
        match entry.reason.as_deref() {
            Some("timed_out") => agent.timed_out += 1,
            Some("silent") => agent.silent += 1,
            _ => {}
        }
        let ran = time.since(task.start);
        for scope @ (resource, action) in &task.scopes {
            let used = task.used.contains(scope);
            let pair = self.pair(&task.agent, resource);
            let declared = pair.declared.entry(action.clone()).or_default();
            declared.tasks += 1;
            declared.used += u64::from(used);
            if used {
                pair.longest = Some(pair.longest.unwrap_or_default().max(ran));
            }
        }
    }

    /// A credential is out.
    fn issued(&mut self, announced: &Entry, within: bool) {
        let Entry { agent: Some(agent), resource: Some(resource), lease: Some(lease), .. } = announced else {
            return;
        };
        let task = announced.task.as_ref().and_then(|task| self.tasks.get_mut(task));
        let fresh = announced.action == "lease.issue";
        let mut first = fresh;
        if let Some(task) = task {
            task.used.extend(announced.actions.iter().map(|action| (resource.clone(), action.clone())));
            // A repeated request hands the same lease out again.
            first = fresh && task.leases.insert(lease.clone());
        }
        if !within {
            return;
        }
        self.agents.entry(agent.clone()).or_default();
        let pair = self.pair(agent, resource);
        let verb = if fresh { Verb::Issue } else { Verb::Renew };
        pair.permit(verb, &announced.actions, &announced.obligations);
        if first {
            pair.leases += 1;
            pair.asked = pair.asked.max(Duration::from_secs(announced.ttl_secs.unwrap_or_default()));
            for action in &announced.actions {
                *pair.issued.entry(action.clone()).or_default() += 1;
            }
        } else if !fresh {
            pair.renewals += 1;
        }
    }

    fn called(&mut self, entry: &Entry, done: bool) {
        self.calls_are_logged = true;
        let (Some(agent), Some(resource)) = (&entry.agent, &entry.resource) else { return };
        self.agents.entry(agent.clone()).or_default();
        // The report of a call that was authorized tells of the same call once more.
        let counted = done && (entry.action == "call.authorize" || entry.call.is_none());
        if counted {
            let pair = self.pair(agent, resource);
            pair.permit(Verb::CallTool, &entry.actions, &entry.obligations);
            for action in &entry.actions {
                *pair.called.entry(action.clone()).or_default() += 1;
            }
        }
    }

    fn pair(&mut self, agent: &str, resource: &str) -> &mut PairUse {
        self.pairs.entry((agent.to_owned(), resource.to_owned())).or_default()
    }
}

impl PairUse {
    /// Whether an action was handed on to others.
    pub(super) fn delegated(&self, action: &str) -> bool {
        self.permitted.contains_key(&(Verb::Delegate, action.to_owned()))
    }

    fn permit<'a>(
        &mut self,
        verb: Verb,
        actions: impl IntoIterator<Item = &'a String>,
        obligations: &[String],
    ) {
        for action in actions {
            self.permitted.insert((verb, action.clone()), tied(obligations));
        }
    }
}

/// `name value` each; what is said of several groups is one list.
fn tied(obligations: &[String]) -> Obligations {
    let mut tied = Obligations::new();
    for (name, value) in obligations.iter().filter_map(|words| words.split_once(' ')) {
        tied.entry(name.to_owned())
            .and_modify(|all| *all = format!("{all}, {value}"))
            .or_insert_with(|| value.to_owned());
    }
    tied
}

fn split(scope: &str) -> Option<(String, String)> {
    let (resource, action) = scope.split_once(':')?;
    Some((resource.to_owned(), action.to_owned()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An entry of the log at a second of 1970: `1 outcome task.start`, then `name=value`.
    pub(in super::super) fn entry(text: &str) -> Entry {
        let mut words = text.split(' ');
        let mut next = || words.next().unwrap();
        let time = Timestamp::from_secs(next().parse().unwrap()).to_string();
        let (phase, action) = (next().to_owned(), next().to_owned());
        let mut entry = Entry { time, phase, action, tenant: "default".to_owned(), ..Entry::default() };
        for (name, value) in words.map(|word| word.split_once('=').unwrap()) {
            let (text, list) = (value.to_owned(), || value.split(',').map(str::to_owned).collect());
            match name {
                "task" => entry.task = Some(text),
                "agent" => entry.agent = Some(text),
                "actor" => entry.actor = text,
                "scopes" => entry.scopes = list(),
                "reason" => entry.reason = Some(text),
                "lease" => entry.lease = Some(text),
                "resource" => entry.resource = Some(text),
                "actions" => entry.actions = list(),
                "ttl" => entry.ttl_secs = Some(text.parse().unwrap()),
                "parent" => entry.parent = Some(text),
                "refusal" => entry.refusal = Some(text),
                "call" => entry.call = Some(text),
                "obligations" => {
                    entry.obligations = list()
                        .into_iter()
                        .map(|words: String| words.replace('_', " ").replacen("max ", "max_", 1))
                        .collect()
                }
                "tenant" => entry.tenant = text,
                other => panic!("{other} is no member of an entry"),
            }
        }
        entry
    }

    pub(in super::super) fn activity(since: u64, lines: &[&str]) -> Activity {
        let mut activity = Activity::new("default", Timestamp::from_secs(since));
        lines.iter().for_each(|line| activity.take(entry(line)));
        activity
    }

    pub(in super::super) const USED: &[&str] = &[
        "10 outcome task.start task=t1 agent=ci/bot scopes=api:read,api:write",
        "11 intent lease.issue lease=l1 task=t1 agent=ci/bot resource=api actions=read ttl=3600 obligations=max_ttl_900s",
        "11 outcome lease.issue lease=l1",
        "20 intent lease.renew lease=l1 task=t1 agent=ci/bot resource=api actions=read ttl=3600",
        "20 outcome lease.renew lease=l1",
        "70 outcome task.end task=t1 reason=completed",
    ];

    fn api(activity: &Activity) -> &PairUse {
        &activity.pairs[&("ci/bot".to_owned(), "api".to_owned())]
    }

    #[test]
    fn what_was_declared_issued_renewed_and_how_long_it_took() {
        let activity = activity(0, USED);
        let pair = api(&activity);
        assert_eq!((pair.leases, pair.renewals), (1, 1));
        assert_eq!((pair.asked, pair.longest), (Duration::from_secs(3600), Some(Duration::from_secs(60))));
        assert_eq!(pair.declared["read"], Declared { tasks: 1, used: 1 });
        assert_eq!(pair.declared["write"], Declared { tasks: 1, used: 0 });
        assert_eq!((pair.issued.get("read"), pair.issued.get("write")), (Some(&1), None));
        assert_eq!(pair.permitted[&(Verb::Issue, "read".to_owned())]["max_ttl"], "900s");
        assert!(pair.permitted[&(Verb::Renew, "read".to_owned())].is_empty());
        assert_eq!(activity.agents["ci/bot"].tasks_ended, 1);
        assert!(!activity.calls_are_logged && activity.tasks.is_empty() && activity.announced.is_empty());
    }

    #[test]
    fn what_is_told_twice_or_failed_or_is_another_tenants_does_not_count() {
        let mut lines = USED[..3].to_vec();
        lines.extend([
            "12 outcome task.start task=t1 agent=ci/bot scopes=api:read,api:write",
            "13 intent lease.issue lease=l1 task=t1 agent=ci/bot resource=api actions=read ttl=3600",
            "13 outcome lease.issue lease=l1",
            "14 intent lease.issue lease=l2 task=t1 agent=ci/bot resource=api actions=write ttl=60",
            "14 outcome lease.issue lease=l2 refusal=SIGNER_UNAVAILABLE",
            "15 intent lease.issue lease=l3 task=t9 agent=ci/bot resource=api actions=write ttl=60 tenant=other",
            "15 outcome lease.issue lease=l3 tenant=other",
            "70 outcome task.end task=t1 reason=completed",
            "71 outcome task.end task=t1 reason=cancelled refusal=TASK_ENDED",
        ]);
        let activity = activity(0, &lines);
        assert_eq!((api(&activity).leases, activity.agents["ci/bot"].tasks_started), (1, 1));
        assert_eq!(api(&activity).longest, Some(Duration::from_secs(60)));
    }

    #[test]
    fn what_is_before_the_window_only_explains_what_is_in_it() {
        let activity = activity(60, USED);
        let pair = api(&activity);
        assert_eq!((pair.leases, pair.renewals, activity.agents["ci/bot"].tasks_started), (0, 0, 0));
        assert_eq!(pair.declared["read"], Declared { tasks: 1, used: 1 }, "its lease was before the window");
        assert!(tests::activity(80, USED).agents.is_empty());
    }

    #[test]
    fn a_call_counts_once_and_a_denied_one_not_at_all() {
        let activity = activity(
            0,
            &[
                "1 intent call.authorize call=c1 agent=ci/bot resource=api actions=read",
                "1 outcome call.authorize call=c1 agent=ci/bot resource=api actions=read",
                "2 outcome call.report call=c1 agent=ci/bot resource=api actions=read",
                "3 outcome call.report agent=ci/bot resource=api actions=write",
                "4 outcome call.authorize agent=ci/bot resource=api actions=delete refusal=POLICY_DENIED",
            ],
        );
        assert!(activity.calls_are_logged);
        let called = &api(&activity).called;
        assert_eq!(
            called.iter().map(|(action, n)| (action.as_str(), *n)).collect::<Vec<_>>(),
            [("read", 1), ("write", 1)]
        );
    }

    #[test]
    fn what_is_handed_on_is_known_of_whoever_did() {
        let activity = activity(
            0,
            &["1 outcome task.start task=t2 parent=t1 actor=agent/ci/bot agent=ci/child scopes=api:read"],
        );
        assert!(api(&activity).delegated("read") && !api(&activity).delegated("write"));
        assert_eq!(activity.agents["ci/child"].tasks_started, 1);
    }
}
