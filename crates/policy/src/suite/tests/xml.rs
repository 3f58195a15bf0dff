//! The report for CI servers is well-formed, whatever it says.

use super::*;
use proptest::prelude::*;

/// Whether a text is well-formed XML 1.0, as far as a report uses it: elements, attributes, text, the five entities.
fn is_well_formed(xml: &str) -> bool {
    let Some(mut rest) = xml.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n") else {
        return false;
    };
    let is_char = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    let is_text = |text: &str| {
        let entities = ["amp;", "lt;", "gt;", "quot;", "apos;"];
        let mut after = text.split('&').skip(1);
        text.chars().all(|c| is_char(c) && c != '<')
            && after.all(|after| entities.iter().any(|entity| after.starts_with(entity)))
    };
    let mut open = Vec::new();
    while let Some((text, tag_on)) = rest.split_once('<') {
        let Some((tag, after)) = tag_on.split_once('>') else { return false };
        rest = after;
        if !is_text(text) || (open.is_empty() && !text.trim().is_empty()) {
            return false;
        }
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return false;
            }
            continue;
        }
        let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let parts: Vec<_> = attributes.split('"').collect();
        let is_key = |key: &str| {
            key.trim_start().strip_suffix('=').is_some_and(|key| key.bytes().all(|b| b.is_ascii_lowercase()))
        };
        let (keys, values): (Vec<_>, Vec<_>) = parts.chunks_exact(2).map(|pair| (pair[0], pair[1])).unzip();
        if parts.len() % 2 == 0
            || !keys.iter().all(|key| is_key(key))
            || !values.iter().all(|value| is_text(value))
        {
            return false;
        }
        if !is_empty {
            open.push(name);
        }
    }
    open.is_empty() && rest.trim().is_empty()
}

fn report(cases: Vec<CaseReport>) -> SuiteReport {
    SuiteReport { cases, ..suite("cases: []").run(&policies()) }
}

fn case(file: &str, text: &str, wrong: &[&str]) -> CaseReport {
    CaseReport {
        file: file.to_owned(),
        line: 3,
        name: text.to_owned(),
        expected: format!("allow {text}"),
        got: format!("deny {text}"),
        why: text.to_owned(),
        wrong: wrong.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_report_is_what_ci_servers_read() {
    let xml = report(vec![
        case("a.yaml", "one", &[]),
        case("a.yaml", "two & <more>", &["expected \"x\"", "and y"]),
        case("b.yaml", "three", &[]),
    ])
    .junit();
    let revision = policies().revision().clone();
    assert_eq!(
        xml,
        format!(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="policies {revision}" tests="3" failures="1" errors="0" skipped="0">
  <testsuite name="a.yaml" tests="2" failures="1" errors="0" skipped="0">
    <testcase name="one" classname="a.yaml" file="a.yaml" line="3"/>
    <testcase name="two &amp; &lt;more&gt;" classname="a.yaml" file="a.yaml" line="3">
      <failure message="expected &quot;x&quot;; and y">a.yaml:3
expected: allow two &amp; &lt;more&gt;
got: deny two &amp; &lt;more&gt;
why: two &amp; &lt;more&gt;</failure>
    </testcase>
  </testsuite>
  <testsuite name="b.yaml" tests="1" failures="0" errors="0" skipped="0">
    <testcase name="three" classname="b.yaml" file="b.yaml" line="3"/>
  </testsuite>
</testsuites>
"#
        )
    );
    assert!(is_well_formed(&xml));
    assert!(is_well_formed(&report(Vec::new()).junit()));
}

#[test]
fn the_judge_of_xml_refuses_what_is_none() {
    let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    for (body, good) in [
        ("<a b=\"c &amp; d\"><e/>text</a>", true),
        ("<a>", false),
        ("<a></b>", false),
        ("<a b=\"c\"d\"/>", false),
        ("<a>&</a>", false),
        ("<a>\u{1}</a>", false),
        ("<a b=\"<\"/>", false),
        ("text", false),
    ] {
        assert_eq!(is_well_formed(&format!("{head}{body}")), good, "{body}");
    }
}

proptest! {
    #[test]
    fn a_report_is_well_formed_whatever_it_says(file in any::<String>(), text in any::<String>(), wrong in any::<String>()) {
        let xml = report(vec![case(&file, &text, &[&wrong]), case("b", &wrong, &[]), case(&file, &text, &[])]).junit();
        prop_assert!(is_well_formed(&xml), "{xml}");
    }
}
