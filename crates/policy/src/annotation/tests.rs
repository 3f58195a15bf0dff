//! What annotations may say, and what they may not.

use super::*;

fn parse(key: &str, value: &str, permits: bool) -> Result<Annotations, Wrong> {
    Annotations::parse([(key, value)].into_iter(), permits)
}

#[test]
fn obligations_are_read_and_written_alike() {
    for (key, value, shown) in [
        ("approval", "finance-leads", "1 of finance-leads"),
        ("approval", "2 of finance-leads", "2 of finance-leads"),
        ("approval", "9 of b,1 of a/c", "1 of a/c, 9 of b"),
        ("approval", "a, b,  3 of c, d", "1 of a, 1 of b, 3 of c, 1 of d"),
        ("bound", "required", "required"),
        ("max_calls", "30 per minute", "30 per minute"),
        ("max_credentials", "5", "5"),
        ("max_credentials", "1000000", "1000000"),
        ("max_ttl", "900s", "15m"),
        ("max_uses", "10", "10"),
        ("outside_scope", "report", "report"),
        ("outside_scope", "hold", "hold"),
        ("outside_scope", "kill", "kill"),
        ("recheck", "10s", "10s"),
        ("recheck", "5m", "5m"),
        ("revocability", "bounded", "bounded"),
        ("revocability", "immediate", "immediate"),
        ("revocability", "expiry_only", "expiry_only"),
    ] {
        let read = parse(key, value, true).unwrap().obligations;
        let written: Vec<_> = annotations(&read).collect();
        assert_eq!(written, [(key, shown.to_owned())], "@{key}({value:?})");
        assert_eq!(parse(key, shown, true).unwrap().obligations, read, "@{key}({shown:?})");
    }
}

#[test]
fn other_values_are_refused() {
    let five_groups = "a, b, c, d, e";
    for (key, values) in [
        (
            "approval",
            vec![
                "",
                " ",
                ",",
                "a,",
                "0 of a",
                "10 of a",
                "00 of a",
                "01 of a",
                "-1 of a",
                "+1 of a",
                "1 of",
                "1 of ",
                "of a",
                "1  of a",
                "two of a",
                "1 OF a",
                "1 of A",
                "a, a",
                "1 of a, 2 of a",
                "2 of a b",
                "a; b",
                "256 of a",
                "4294967297 of a",
                "a\u{202e}",
                five_groups,
            ],
        ),
        ("bound", vec!["", "true", "Required", "required ", "no"]),
        (
            "max_calls",
            vec![
                "",
                "30",
                "0 per minute",
                "per minute",
                " per minute",
                "30 per hour",
                "30  per minute",
                "1000001 per minute",
                "-1 per minute",
                "30 per minute ",
            ],
        ),
        (
            "max_credentials",
            vec!["", "0", "-1", "+1", "1.5", "1e3", " 1", "01", "1000001", "4294967296", "many"],
        ),
        ("max_uses", vec!["", "0", "1000001", "99999999999999999999", "5 uses"]),
        ("max_ttl", vec!["", "0s", "15", "15 min", "745h"]),
        ("outside_scope", vec!["", "revoke", "Kill", "hold, kill"]),
        ("recheck", vec!["", "9s", "0s", "1d", "745h"]),
        ("revocability", vec!["", "none", "Bounded", "bounded(5s)"]),
    ] {
        for value in values {
            let (what, help) = parse(key, value, true).expect_err(&format!("@{key}({value:?}) was accepted"));
            assert!(what.starts_with(&format!("`@{key}(")) && !help.is_empty(), "{what}: {help}");
        }
    }
}

#[test]
fn a_forbid_has_at_most_a_consequence() {
    for kind in Kind::ALL {
        let value = match kind {
            Kind::Approval => "a",
            Kind::Bound => "required",
            Kind::MaxCalls => "1 per minute",
            Kind::MaxCredentials | Kind::MaxUses => "1",
            Kind::MaxTtl | Kind::Recheck => "1m",
            Kind::OutsideScope => "kill",
            Kind::Revocability => "bounded",
        };
        assert!(parse(kind.name(), value, true).is_ok(), "{kind:?}");
        let on_forbid = parse(kind.name(), value, false);
        assert_eq!(on_forbid.is_ok(), kind == Kind::OutsideScope, "{kind:?}");
        if let Err((what, _)) = on_forbid {
            assert_eq!(what, format!("`@{}` on a `forbid` limits nothing", kind.name()));
        }
    }
}

#[test]
fn names_and_descriptions_are_plain() {
    for (key, value, permits) in [
        ("id", "", true),
        ("id", " ", true),
        ("id", "a\nb", true),
        ("id", "a\u{202e}b", true),
        ("description", "a\u{1b}[31mb", false),
        ("description", &"x".repeat(501), false),
    ] {
        assert!(parse(key, value, permits).is_err(), "@{key}({value:?}) was accepted");
    }
}

#[test]
fn a_slip_is_answered_with_what_was_meant() {
    for (slip, meant) in [
        ("max_tll", "max_ttl"),
        ("maxttl", "max_ttl"),
        ("Max_TTL", "max_ttl"),
        ("aproval", "approval"),
        ("approvals", "approval"),
        ("revocabilty", "revocability"),
        ("max_call", "max_calls"),
        ("outside_scopes", "outside_scope"),
        ("ids", "id"),
    ] {
        let (what, help) = unknown(slip);
        assert_eq!(
            (what, help),
            (format!("unknown annotation `@{slip}`"), format!("did you mean `@{meant}`?"))
        );
    }
    for far in ["", "shorten_the_time_to_live", "geschwindigkeitsbegrenzung", &"x".repeat(100_000)] {
        let (what, help) = unknown(far);
        assert!(help.starts_with("there are `@id`, `@description`, `@approval`, "), "{far:?}: {help}");
        assert!(what.len() < 100, "{what}");
    }
}

#[test]
fn distance_counts_letters() {
    for (from, to, expected) in
        [("", "ab", 2), ("ab", "ab", 0), ("ba", "ab", 2), ("kitten", "sitting", 3), ("x", "ab", 2)]
    {
        assert_eq!(distance(from, to), expected, "{from} {to}");
    }
}
