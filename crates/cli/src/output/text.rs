//! Text that came from elsewhere (purposes, reasons, names, messages) made safe to show.
//!
//! Invariant: no control character and no bidirectional override reaches a terminal; what would is shown as an escape.

use std::{borrow::Cow, fmt::Write as _};

/// One line of text without control characters: they are shown as `\n`, `\u{1b}` and so on.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// JSON text whose strings hide nothing from a terminal. The serialiser escapes C0 by itself; the rest can only be
/// within strings, where an escape means the same.
pub(crate) fn safe_json(json: &str) -> Cow<'_, str> {
    let hidden = |c: char| is_unsafe(c) && !c.is_ascii_whitespace();
    if !json.chars().any(hidden) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if hidden(c) {
            // Everything unsafe is in the basic plane. Writing to a string cannot fail.
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// At most `max` characters; a cut is marked.
pub(crate) fn clip(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

/// Control characters, and those that reorder or hide what is around them.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        for (text, shown) in [
            ("close November", "close November"),
            ("Größe ✓", "Größe ✓"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("abc\u{202e}fed", "abc\\u{202e}fed"),
            ("\u{7f}", "\\u{7f}"),
        ] {
            assert_eq!(safe(text), shown);
        }
    }

    #[test]
    fn a_long_text_is_clipped_with_a_mark() {
        assert_eq!(clip("Größe", 5), "Größe");
        assert_eq!(clip("Größen", 5), "Größ…");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_is_left_and_json_means_the_same(text in any::<String>()) {
            prop_assert!(!safe(&text).chars().any(is_unsafe));
            let json = serde_json::to_string(&text).unwrap();
            let shown = safe_json(&json);
            prop_assert!(!shown.chars().any(is_unsafe));
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }
    }
}
