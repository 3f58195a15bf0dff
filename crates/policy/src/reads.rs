//! Which attributes of the context a policy reads, found once when it is loaded. A decision builds no more of the context
//! than its policies read, and requests that differ in nothing that is read are of one class.
//!
//! Invariant: a policy reads no attribute that is not found here. What is not understood (the context used whole,
//! compared, put in a record) counts as reading everything.

use cedar_policy::Policy;
use serde_json::Value as Json;

/// One attribute of the context, or of a record in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attribute {
    Action,
    AttestationAge,
    Bound,
    Credentials,
    Live,
    ToolCalls,
    DelegateTo,
    Kind,
    Hour,
    Minute,
    UnixSeconds,
    Weekday,
    Revocability,
    Depth,
    Initiator,
    TaskKind,
    Labels,
    Purpose,
    Sensitivity,
    Tool,
    Ttl,
}

/// The records in the context.
pub(crate) const RECORDS: [&str; 3] = ["counters", "now", "task"];

impl Attribute {
    pub(crate) const ALL: [Self; 21] = [
        Self::Action,
        Self::AttestationAge,
        Self::Bound,
        Self::Credentials,
        Self::Live,
        Self::ToolCalls,
        Self::DelegateTo,
        Self::Kind,
        Self::Hour,
        Self::Minute,
        Self::UnixSeconds,
        Self::Weekday,
        Self::Revocability,
        Self::Depth,
        Self::Initiator,
        Self::TaskKind,
        Self::Labels,
        Self::Purpose,
        Self::Sensitivity,
        Self::Tool,
        Self::Ttl,
    ];

    /// The record of the context that it is in, if it is in one, and its name there.
    pub(crate) const fn place(self) -> (Option<&'static str>, &'static str) {
        match self {
            Self::Action => (None, "action"),
            Self::AttestationAge => (None, "attestation_age_seconds"),
            Self::Bound => (None, "bound"),
            Self::Credentials => (Some("counters"), "credentials"),
            Self::Live => (Some("counters"), "live"),
            Self::ToolCalls => (Some("counters"), "tool_calls"),
            Self::DelegateTo => (None, "delegate_to"),
            Self::Kind => (None, "kind"),
            Self::Hour => (Some("now"), "hour"),
            Self::Minute => (Some("now"), "minute"),
            Self::UnixSeconds => (Some("now"), "unix_seconds"),
            Self::Weekday => (Some("now"), "weekday"),
            Self::Revocability => (None, "revocability"),
            Self::Depth => (Some("task"), "depth"),
            Self::Initiator => (Some("task"), "initiator"),
            Self::TaskKind => (Some("task"), "kind"),
            Self::Labels => (Some("task"), "labels"),
            Self::Purpose => (Some("task"), "purpose"),
            Self::Sensitivity => (Some("task"), "sensitivity"),
            Self::Tool => (None, "tool"),
            Self::Ttl => (None, "ttl_seconds"),
        }
    }

    /// Whether reading `path`, from the context down, reads this.
    fn is_read_by(self, path: &[&str]) -> bool {
        match (self.place(), path) {
            (_, []) => true,
            ((Some(record), _), [first]) => *first == record,
            ((Some(record), name), [first, second, ..]) => *first == record && *second == name,
            ((None, name), [first, ..]) => *first == name,
        }
    }
}

/// A set of attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reads(u32);

impl Reads {
    /// All that there is.
    pub(crate) const EVERYTHING: Self = Self((1 << Attribute::ALL.len()) - 1);

    /// What the conditions of a policy read. Its scope reads nothing of the context.
    pub(crate) fn of(policy: &Policy) -> Self {
        let json = policy.to_json().ok();
        let Some(conditions) = json.as_ref().and_then(|json| json.get("conditions")) else {
            return Self::EVERYTHING;
        };
        let mut reads = Self::default();
        reads.walk(conditions);
        reads
    }

    pub(crate) fn contains(self, attribute: Attribute) -> bool {
        self.0 & Self::bit(attribute) != 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Attribute> {
        Attribute::ALL.into_iter().filter(move |attribute| self.contains(*attribute))
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn bit(attribute: Attribute) -> u32 {
        1 << attribute as u32
    }

    fn walk(&mut self, node: &Json) {
        if let Some(path) = path(node) {
            return self.mark(&path);
        }
        match node {
            Json::Object(fields) => fields.values().for_each(|value| self.walk(value)),
            Json::Array(items) => items.iter().for_each(|item| self.walk(item)),
            _ => {}
        }
    }

    fn mark(&mut self, path: &[&str]) {
        let read = Attribute::ALL.into_iter().filter(|attribute| attribute.is_read_by(path));
        let read = read.fold(Self::default(), |read, attribute| Self(read.0 | Self::bit(attribute)));
        // An attribute that the schema does not know: the validator refuses most of those, and we are not it.
        *self = self.and(if read == Self::default() { Self::EVERYTHING } else { read });
    }
}

/// What a node of Cedar's JSON form reads of the context, when it is `context`, or an attribute of such a node, or the
/// question whether it has one.
fn path(node: &Json) -> Option<Vec<&str>> {
    let fields = node.as_object().filter(|fields| fields.len() == 1)?;
    let (operator, operand) = fields.iter().next()?;
    match operator.as_str() {
        "Var" => (operand.as_str()? == "context").then(Vec::new),
        "." | "has" => {
            let mut path = path(operand.get("left")?)?;
            match operand.get("attr")? {
                Json::String(name) => path.push(name),
                Json::Array(names) => {
                    for name in names {
                        path.push(name.as_str()?);
                    }
                }
                _ => return None,
            }
            Some(path)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Attribute::*;

    fn reads(condition: &str) -> Reads {
        Reads::of(&format!("permit(principal, action, resource) when {{ {condition} }};").parse().unwrap())
    }

    #[test]
    fn attributes_are_numbered_in_order() {
        for (number, attribute) in Attribute::ALL.into_iter().enumerate() {
            assert_eq!(Reads::bit(attribute), 1 << number, "{attribute:?}");
        }
    }

    #[test]
    fn what_is_read_is_found_wherever_it_stands() {
        for (condition, expected) in [
            ("true", vec![]),
            (r#"principal.labels.contains("context")"#, vec![]),
            (r#"principal has labels && resource has environment && resource.environment == "a""#, vec![]),
            (r#"context.action == "a""#, vec![Action]),
            (r#"context["action"] like "a*""#, vec![Action]),
            (r#"["a", context.action].contains("b")"#, vec![Action]),
            (
                "if context.bound then context.ttl_seconds > 1 else -context.task.depth < 0",
                vec![Bound, Depth, Ttl],
            ),
            ("context has tool", vec![Tool]),
            ("context.task has sensitivity", vec![Sensitivity]),
            ("context has task.sensitivity", vec![Sensitivity]),
            ("context has delegate_to.owner", vec![DelegateTo]),
            (r#"context.task.initiator in Group::"a""#, vec![Initiator]),
            (r#"context.task.initiator.labels.contains("a")"#, vec![Initiator]),
            (r#"principal.owner == context.task.initiator"#, vec![Initiator]),
            (r#"context.delegate_to.owner is User in Group::"a""#, vec![DelegateTo]),
            (r#"context.delegate_to is Agent in Group::"a""#, vec![DelegateTo]),
            (r#"{a: context.now.hour}.a > 3 || context.now.weekday == "monday""#, vec![Hour, Weekday]),
            (r#"decimal("1.0").lessThan(decimal(context.kind))"#, vec![Kind]),
            ("context has task", vec![Depth, Initiator, TaskKind, Labels, Purpose, Sensitivity]),
            ("context.counters == {credentials: 1}", vec![Credentials, Live, ToolCalls]),
        ] {
            assert_eq!(reads(condition).iter().collect::<Vec<_>>(), expected, "{condition}");
        }
    }

    #[test]
    fn what_is_not_understood_reads_everything() {
        for condition in [
            "context == context",
            "{a: context}.a.bound",
            "(if context.bound then context else context).bound",
            "[context].contains(context)",
            "context has amount",
            "context.task.amount > 1",
            "context.now has context",
            r#"{Var: context}.Var.bound"#,
        ] {
            assert_eq!(reads(condition), Reads::EVERYTHING, "{condition}");
        }
        let record = r#"{"Var": "context"} == {"Var": "context"}"#;
        assert_eq!(reads(record), Reads::default(), "a text is not the context");
    }
}
