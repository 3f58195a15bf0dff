//! JSON values as YAML blocks.
//!
//! Every scalar is written as JSON writes it, which YAML 1.2 reads as the same: nothing is a number, a truth value or a
//! date by accident.

use serde_json::Value;

/// One document, with a newline at its end.
pub(super) fn write(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(_) | Value::Array(_) if !is_empty(value) => block(value, 0, &mut out),
        scalar => {
            out.push_str(&scalar.to_string());
            out.push('\n');
        }
    }
    out
}

fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                out.extend(std::iter::repeat_n(' ', indent));
                out.push_str(&key(name));
                out.push(':');
                below(value, indent, out);
            }
        }
        Value::Array(list) => {
            for value in list {
                out.extend(std::iter::repeat_n(' ', indent));
                out.push('-');
                below(value, indent, out);
            }
        }
        _ => {}
    }
}

/// What follows a key or a dash.
fn below(value: &Value, indent: usize, out: &mut String) {
    if matches!(value, Value::Object(_) | Value::Array(_)) && !is_empty(value) {
        out.push('\n');
        block(value, indent + 2, out);
    } else {
        out.push(' ');
        out.push_str(&value.to_string());
        out.push('\n');
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// What some reader of YAML takes for a truth value or for nothing.
const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// A key as it is when nobody could take it for something else; ours all are.
fn key(name: &str) -> String {
    let is_word = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic());
    if is_word && !WORDS.contains(&name.to_ascii_lowercase().as_str()) {
        name.to_owned()
    } else {
        Value::from(name).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn blocks_are_indented_and_scalars_are_as_in_json() {
        let value = json!({
            "kind": "Task", "items": [{ "id": "tk_1", "scopes": ["a:b"], "end": null }, []], "labels": {},
            "no": "no: \u{1b}",
        });
        insta::assert_snapshot!(write(&value), @r#"
        kind: "Task"
        items:
          -
            id: "tk_1"
            scopes:
              - "a:b"
            end: null
          - []
        labels: {}
        "no": "no: \u001b"
        "#);
    }

    fn values() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[\\PC\n\t]{0,12}".prop_map(Value::from),
        ];
        scalar.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[\\PC]{0,6}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_reader_of_yaml_reads_the_same(value in values()) {
            let text = write(&json!({ "value": value }));
            let read: Value = serde_saphyr::from_str(&text).unwrap();
            prop_assert_eq!(&read["value"], &value, "{}", text);
        }
    }
}
