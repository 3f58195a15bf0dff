//! Spans of time as people write them here: `30s`, `15m`, `2h`.

use std::str::FromStr;
use taskpass_types::Ttl;

/// Whole seconds, minutes or hours. No signs, no fractions, no spaces.
pub(crate) fn parse_secs(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    let factor: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return None,
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    u64::from_str(digits).ok()?.checked_mul(factor)
}

/// The same, of 1 s to 31 days.
pub(crate) fn parse_ttl(text: &str) -> Option<Ttl> {
    Ttl::from_secs(parse_secs(text)?).ok()
}

/// In the largest unit of which it is a whole number.
pub(crate) fn show(ttl: Ttl) -> String {
    match ttl.as_secs() {
        secs if secs % 3600 == 0 => format!("{}h", secs / 3600),
        secs if secs % 60 == 0 => format!("{}m", secs / 60),
        secs => format!("{secs}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_a_number_and_a_unit() {
        for (text, secs, shown) in [
            ("30s", 30, "30s"),
            ("15m", 900, "15m"),
            ("2h", 7200, "2h"),
            ("90s", 90, "90s"),
            ("120m", 7200, "2h"),
            ("744h", 2_678_400, "744h"),
        ] {
            let ttl = parse_ttl(text).unwrap();
            assert_eq!((ttl.as_secs(), show(ttl).as_str()), (secs, shown), "{text}");
        }
        assert_eq!(parse_secs("0s"), Some(0));
    }

    #[test]
    fn other_spans_are_refused() {
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
            assert!(parse_ttl(bad).is_none(), "{bad:?} was accepted");
        }
    }
}
