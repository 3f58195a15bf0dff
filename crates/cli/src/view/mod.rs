//! What commands show: the API's messages with stable JSON keys (camelCase, RFC 3339, enums as words).
//!
//! Keys are only ever added; the golden tests here fail when one is renamed or goes.

mod end;
mod lease;
mod task;
mod time;
mod whoami;

pub(crate) use end::End;
pub(crate) use lease::LeaseView;
pub(crate) use task::TaskView;
pub(crate) use time::{rfc3339, timestamp, ttl_seconds};
pub(crate) use whoami::WhoAmIView;

/// The word of a protobuf enum value: `CREDENTIAL_KIND_X509` without its prefix, in lower case.
fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
pub(crate) mod testing {
    use serde::Serialize;
    use serde_json::Value;

    /// The keys of a body, a path a line, sorted; lists count by their first element.
    pub(crate) fn keys(record: &impl Serialize) -> String {
        fn walk(value: &Value, path: &str, out: &mut Vec<String>) {
            match value {
                Value::Object(object) => {
                    for (key, value) in object {
                        let path = format!("{path}.{key}");
                        out.push(path.clone());
                        walk(value, &path, out);
                    }
                }
                Value::Array(list) => {
                    list.iter().take(1).for_each(|value| walk(value, &format!("{path}[]"), out))
                }
                _ => {}
            }
        }
        let mut out = Vec::new();
        walk(&serde_json::to_value(record).unwrap(), "", &mut out);
        out.sort();
        out.join("\n")
    }
}
