//! The annotations that mean something to Taskpass. Any other is refused, because a misspelt `@max_ttl` would silently
//! not limit anything.

use crate::problem::is_deceptive;
use std::str::FromStr;
use taskpass_types::Ttl;

/// What a policy says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Annotations {
    pub(crate) id: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) max_ttl: Option<Ttl>,
}

const MAX_ID_CHARS: usize = 100;
const MAX_DESCRIPTION_CHARS: usize = 500;

impl Annotations {
    /// Reads the annotations of one policy; on failure, what is wrong and what to do.
    pub(crate) fn parse<'a>(
        annotations: impl Iterator<Item = (&'a str, &'a str)>,
        permits: bool,
    ) -> Result<Self, (String, &'static str)> {
        let mut parsed = Self::default();
        for (key, value) in annotations {
            match key {
                "description" => parsed.description = Some(plain(key, value, MAX_DESCRIPTION_CHARS)?),
                "id" => parsed.id = Some(plain(key, value, MAX_ID_CHARS)?),
                "max_ttl" if permits => parsed.max_ttl = Some(parse_ttl(value)?),
                "max_ttl" => {
                    return Err((
                        "`@max_ttl` on a `forbid` limits nothing".to_owned(),
                        "put it on the `permit`",
                    ));
                }
                _ => {
                    let what = format!("unknown annotation `@{}`", cut(key));
                    return Err((what, "use `@id`, `@description` or `@max_ttl`"));
                }
            }
        }
        Ok(parsed)
    }
}

/// Text for people, on one line, which cannot play tricks on a terminal.
fn plain(key: &str, value: &str, max_chars: usize) -> Result<String, (String, &'static str)> {
    let wrong =
        |why: &str| Err((format!("`@{key}(\"{}\")` {why}", cut(value)), "use a short plain text in quotes"));
    if value.trim().is_empty() {
        return wrong("is empty");
    }
    if value.chars().count() > max_chars {
        return wrong("is too long");
    }
    if value.chars().any(is_deceptive) {
        return wrong("has a control character");
    }
    Ok(value.to_owned())
}

/// `30s`, `15m` or `2h`.
fn parse_ttl(text: &str) -> Result<Ttl, (String, &'static str)> {
    const HELP: &str = "use whole seconds, minutes or hours, for example `30s`, `15m`, `2h`; at most 31 days";
    let wrong = || (format!("`@max_ttl(\"{}\")` is not a time to live", cut(text)), HELP);
    let unit = text.chars().last().ok_or_else(wrong)?;
    let digits = text.strip_suffix(unit).unwrap_or("");
    let factor: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err(wrong()),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let secs = u64::from_str(digits).ok().and_then(|n| n.checked_mul(factor)).ok_or_else(wrong)?;
    Ttl::from_secs(secs).map_err(|_| wrong())
}

fn cut(text: &str) -> String {
    text.escape_debug().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_has_a_number_and_a_unit() {
        for (text, secs) in [("30s", 30), ("15m", 900), ("2h", 7200), ("744h", 2_678_400)] {
            assert_eq!(parse_ttl(text).unwrap().as_secs(), secs, "{text}");
        }
    }

    #[test]
    fn other_times_are_refused() {
        for bad in [
            "",
            "s",
            "15",
            "0s",
            "-1s",
            "+1s",
            "1.5h",
            " 1s",
            "1s ",
            "1d",
            "1S",
            "745h",
            "1m30s",
            "é",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(parse_ttl(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn other_annotations_are_refused() {
        for (key, value, permits) in [
            ("max_tll", "15m", true),
            ("max_ttl", "15m", false),
            ("id", "", true),
            ("id", " ", true),
            ("id", "a\nb", true),
            ("id", "a\u{202e}b", true),
            ("description", "a\u{1b}[31mb", false),
            ("description", &"x".repeat(501), false),
        ] {
            let parsed = Annotations::parse([(key, value)].into_iter(), permits);
            assert!(parsed.is_err(), "@{key}({value:?}) was accepted");
        }
    }
}
