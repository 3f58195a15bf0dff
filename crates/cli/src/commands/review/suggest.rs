//! A tighter policy: what each agent did at each resource, and nothing else.
//!
//! Invariants: what is suggested compiles, and permits what the window saw to be of use; what a permission was tied to
//! (approvals, bound keys, budgets) stays, for each action on its own; a name that no broker could have written is left
//! out.

use super::{
    activity::{Activity, Obligations, Pair, PairUse},
    findings::{rounded, step},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};
use taskpass_policy::{Policies, Verb};
use taskpass_types::{ActionName, AgentId, ResourceName};

/// The file that a suggestion would be.
pub(super) const FILE: &str = "suggested.cedar";

/// How many characters of the parts go into an `@id`.
const MAX_ID_CHARS: usize = 80;

/// What can be carried over as it is; a time to live is suggested anew.
const CARRIED: [&str; 8] = [
    "approval",
    "bound",
    "max_calls",
    "max_credentials",
    "max_uses",
    "outside_scope",
    "recheck",
    "revocability",
];

/// Cedar text, one permit or two for each agent and resource; empty: there was nothing to go by.
pub(super) fn suggest(activity: &Activity) -> String {
    let mut ids = BTreeSet::new();
    let permits = activity.pairs.iter().map(|(pair, used)| permits(pair, used, &mut ids));
    permits.filter(|text| compiles(text)).collect()
}

/// A suggestion that the broker would refuse is none.
fn compiles(text: &str) -> bool {
    !text.is_empty() && Policies::from_sources([(FILE, text)]).is_ok()
}

/// What is permitted in one go: the same verbs, tied to the same.
type Group = (Vec<Verb>, Annotations);

/// Names and values.
type Annotations = BTreeMap<&'static str, String>;

fn permits((agent, resource): &Pair, used: &PairUse, ids: &mut BTreeSet<String>) -> String {
    let (Ok(agent), Ok(resource)) = (AgentId::new(agent), ResourceName::new(resource)) else {
        return String::new();
    };
    let permits: String = groups(used)
        .into_iter()
        .map(|((verbs, annotations), actions)| permit(&agent, &resource, &verbs, &actions, &annotations, ids))
        .collect();
    if permits.is_empty() { permits } else { comment(used) + &permits }
}

/// As few permits as say it: actions go together that are done with the same verbs and tied to the same.
fn groups(used: &PairUse) -> BTreeMap<Group, Vec<ActionName>> {
    let mut tied: BTreeMap<(Annotations, ActionName), Vec<Verb>> = BTreeMap::new();
    for ((verb, action), obligations) in &used.permitted {
        // Where calls are reported, what was never called was not needed.
        let is_needed = match verb {
            Verb::Issue | Verb::Renew => used.called.is_empty() || used.called.contains_key(action),
            Verb::CallTool | Verb::Delegate => true,
        };
        if let Some(action) = ActionName::new(action).ok().filter(|_| is_needed) {
            tied.entry((annotations(*verb, obligations, used), action)).or_default().push(*verb);
        }
    }
    let mut groups: BTreeMap<Group, Vec<ActionName>> = BTreeMap::new();
    for ((annotations, action), verbs) in tied {
        groups.entry((verbs, annotations)).or_default().push(action);
    }
    groups
}

fn comment(used: &PairUse) -> String {
    let PairUse { leases, renewals, called, longest, .. } = used;
    let calls: u64 = called.values().sum();
    let longest = longest.map_or_else(
        || "no task has ended".to_owned(),
        |longest| format!("the longest task ran for {}", rounded(longest)),
    );
    format!("// {leases} leases, {renewals} renewals, {calls} tool calls; {longest}\n")
}

/// What stays of what a permission was tied to, and the time to live that is enough.
fn annotations(verb: Verb, obligations: &Obligations, used: &PairUse) -> Annotations {
    let is_plain = |value: &str| value.chars().all(|c| c.is_ascii_alphanumeric() || " _-,./".contains(c));
    let carried = CARRIED.into_iter().filter_map(|name| Some((name, obligations.get(name)?.clone())));
    let mut annotations: Annotations = carried.filter(|(_, value)| is_plain(value)).collect();
    let today = obligations.get("max_ttl").and_then(|ttl| ttl.strip_suffix('s')?.parse().ok());
    let today = today.map(Duration::from_secs);
    let max_ttl = match verb {
        Verb::CallTool => None,
        Verb::Delegate => today,
        // Enough for the longest task, and no more than was asked for or is allowed today.
        Verb::Issue | Verb::Renew => {
            let asked = Some(used.asked).filter(|asked| !asked.is_zero());
            [used.longest.map(step), asked, today].into_iter().flatten().min()
        }
    };
    if let Some(max_ttl) = max_ttl {
        annotations.insert("max_ttl", written(max_ttl));
    }
    annotations
}

/// As an annotation has it.
fn written(ttl: Duration) -> String {
    match ttl.as_secs() {
        secs if secs % 3600 == 0 => format!("{}h", secs / 3600),
        secs if secs % 60 == 0 => format!("{}m", secs / 60),
        secs => format!("{secs}s"),
    }
}

/// No name of ours needs an escape: their grammars have neither quotes nor backslashes.
fn permit(
    agent: &AgentId,
    resource: &ResourceName,
    verbs: &[Verb],
    actions: &[ActionName],
    annotations: &Annotations,
    ids: &mut BTreeSet<String>,
) -> String {
    let listed = actions.iter().map(|action| format!("\"{action}\"")).collect::<Vec<_>>().join(", ");
    let verb_list = verbs.iter().map(|verb| format!("Action::\"{verb}\"")).collect::<Vec<_>>().join(", ");
    let verb_clause = if verbs.len() == 1 { format!("== {verb_list}") } else { format!("in [{verb_list}]") };
    let condition = match actions.len() {
        1 => format!("context.action == {listed}"),
        _ => format!("[{listed}].contains(context.action)"),
    };
    let what = match verbs {
        [Verb::CallTool] => "call",
        [Verb::Delegate] => "delegate",
        _ => "use",
    };
    let mut text = format!("@id(\"{}\")\n", unused(&format!("{agent}-may-{what}-{resource}"), ids));
    for (name, value) in annotations {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "@{name}(\"{value}\")");
    }
    let _ = write!(
        text,
        "permit (\n    principal == Agent::\"{agent}\",\n    action {verb_clause},\n    resource == Resource::\"{resource}\"\n)\nwhen {{ {condition} }};\n\n"
    );
    text
}

/// A name, or with a number behind it the first that is free.
fn unused(name: &str, ids: &mut BTreeSet<String>) -> String {
    let word: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(MAX_ID_CHARS).collect();
    let mut id = word.clone();
    let mut number = 2;
    while !ids.insert(id.clone()) {
        id = format!("{word}-{number}");
        number += 1;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::{
        super::activity::tests::{USED, activity},
        *,
    };

    fn suggested(lines: &[&str]) -> String {
        let text = suggest(&activity(0, lines));
        let policies = Policies::from_sources([(FILE, text.as_str())]).unwrap();
        assert_eq!(policies.warnings(), [], "{text}");
        text
    }

    #[test]
    fn a_permit_is_for_what_was_used_and_for_as_long_as_it_took() {
        insta::assert_snapshot!(suggested(USED), @r#"
        // 1 leases, 1 renewals, 0 tool calls; the longest task ran for 1m
        @id("ci-bot-may-use-api")
        @max_ttl("1m")
        permit (
            principal == Agent::"ci/bot",
            action in [Action::"issue", Action::"renew"],
            resource == Resource::"api"
        )
        when { context.action == "read" };
        "#);
    }

    #[test]
    fn what_a_permission_was_tied_to_stays() {
        let issue =
            "2 intent lease.issue lease=l1 task=t1 agent=ci/bot resource=api actions=read,write ttl=7200";
        let text = suggested(&[
            &format!(
                "{issue} obligations=approval_1_of_finance,approval_2_of_security,bound_required,max_ttl_900s"
            ),
            "2 outcome lease.issue lease=l1",
        ]);
        assert!(
            text.contains(
                "@approval(\"1 of finance, 2 of security\")\n@bound(\"required\")\n@max_ttl(\"15m\")"
            ),
            "{text}"
        );
        assert!(text.contains("action == Action::\"issue\","), "{text}");
        assert!(text.contains("[\"read\", \"write\"].contains(context.action)"), "{text}");
    }

    #[test]
    fn what_one_action_is_tied_to_does_not_tie_another() {
        let text = suggested(&[
            "2 intent lease.issue lease=l1 agent=ci/bot resource=api actions=refund ttl=60 obligations=approval_1_of_finance",
            "2 outcome lease.issue lease=l1",
            "3 intent lease.issue lease=l2 agent=ci/bot resource=api actions=read ttl=60",
            "3 outcome lease.issue lease=l2",
        ]);
        let (refunds, reads) = text.split_once("\n\n").unwrap();
        assert!(refunds.contains("@approval") && refunds.contains("context.action == \"refund\""), "{text}");
        assert!(!reads.contains("@approval") && reads.contains("context.action == \"read\""), "{text}");
    }

    #[test]
    fn calls_and_delegations_are_permitted_as_they_were_made() {
        let mut lines = USED.to_vec();
        lines.extend([
            "12 intent lease.issue lease=l2 task=t1 agent=ci/bot resource=api actions=write ttl=60",
            "12 outcome lease.issue lease=l2",
            "30 outcome call.authorize call=c1 agent=ci/bot resource=api actions=read",
            "31 outcome task.start task=t2 parent=t1 actor=agent/ci/bot agent=ci/child scopes=api:list",
        ]);
        let text = suggested(&lines);
        assert!(text.contains("@id(\"ci-bot-may-call-api\")\npermit"), "{text}");
        assert!(text.contains("@id(\"ci-bot-may-delegate-api\")\npermit"), "{text}");
        assert!(text.contains("context.action == \"list\""), "{text}");
        assert!(!text.contains("write"), "what was never called was not needed: {text}");
    }

    #[test]
    fn names_that_look_alike_have_ids_of_their_own() {
        let text = suggested(&[
            "1 intent lease.issue lease=l1 agent=ci/bot resource=api actions=read ttl=60",
            "1 outcome lease.issue lease=l1",
            "1 intent lease.issue lease=l2 agent=ci-bot resource=api actions=read ttl=60",
            "1 outcome lease.issue lease=l2",
        ]);
        assert!(
            text.contains("@id(\"ci-bot-may-use-api\")") && text.contains("@id(\"ci-bot-may-use-api-2\")"),
            "{text}"
        );
    }

    #[test]
    fn a_name_cannot_end_a_text_and_go_on_as_policy() {
        let evil = "1 intent lease.issue lease=l1 agent=ci/bot resource=a\");permit(principal,action,resource);// actions=read ttl=60";
        assert_eq!(suggested(&[evil, "1 outcome lease.issue lease=l1"]), "");
        let evil = "1 intent lease.issue lease=l1 agent=ci/bot resource=api actions=read\"};permit ttl=60";
        assert_eq!(suggested(&[evil, "1 outcome lease.issue lease=l1"]), "");
    }
}
