//! The one way to write an entry: a flat JSON object in the form of RFC 8785 (JSON canonicalisation scheme), whose
//! members are strings, integers below 2^53, booleans and lists of strings.
//!
//! Control, bidirectional and invisible characters are written out as `\u{…}`, so that an entry can be printed to a
//! terminal and never spans two lines. Of JSON's escapes only `\"` and `\\` are therefore ever needed or accepted.

use std::fmt::Write as _;

/// The largest integer that every JSON reader keeps exact, RFC 8785 section 3.2.2.3.
pub(crate) const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Longest written form of one text, in bytes.
pub(crate) const MAX_TEXT: usize = 1024;

/// Writes one object. The caller gives the members in order of their names.
pub(crate) struct Object {
    bytes: Vec<u8>,
    truncated: Vec<&'static str>,
    last: &'static str,
}

impl Object {
    pub(crate) fn new() -> Self {
        let mut bytes = Vec::with_capacity(512);
        bytes.push(b'{');
        Self { bytes, truncated: Vec::new(), last: "" }
    }

    /// Begins a member whose value is put in later, and returns where.
    pub(crate) fn gap(&mut self, name: &'static str) -> usize {
        debug_assert!(self.last < name, "`{name}` after `{}`", self.last);
        if !self.last.is_empty() {
            self.bytes.push(b',');
        }
        self.last = name;
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b"\":");
        self.bytes.len()
    }

    pub(crate) fn integer(&mut self, name: &'static str, value: u64) {
        self.gap(name);
        push_integer(&mut self.bytes, value.min(MAX_INTEGER));
    }

    /// Text; what is longer than [`MAX_TEXT`] when written is cut and the member marked.
    pub(crate) fn text(&mut self, name: &'static str, text: &str) {
        self.gap(name);
        if !push_text(&mut self.bytes, text, MAX_TEXT) {
            self.truncated.push(name);
        }
    }

    /// A list whose written form may have up to `max` bytes, its brackets aside; it ends with the first text that is
    /// cut. Left out when empty.
    pub(crate) fn list<T: AsRef<str>>(
        &mut self,
        name: &'static str,
        items: impl IntoIterator<Item = T>,
        max: usize,
    ) {
        let mut items = items.into_iter().peekable();
        if items.peek().is_none() {
            return;
        }
        let start = self.gap(name);
        self.bytes.push(b'[');
        for (index, item) in items.enumerate() {
            let before = self.bytes.len();
            if index > 0 {
                self.bytes.push(b',');
            }
            let whole = push_text(&mut self.bytes, item.as_ref(), MAX_TEXT);
            let fits = self.bytes.len() - start <= max;
            if !fits {
                self.bytes.truncate(before);
            }
            if !fits || !whole {
                self.truncated.push(name);
                break;
            }
        }
        self.bytes.push(b']');
    }

    /// The names of the members that were cut so far.
    pub(crate) fn mark_truncated(&mut self) {
        let names = std::mem::take(&mut self.truncated);
        self.list("truncated", names, usize::MAX);
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(b'}');
        self.bytes
    }
}

pub(crate) fn push_integer(out: &mut Vec<u8>, value: u64) {
    let mut digits = [b'0'; 20];
    let mut rest = value;
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

/// Appends a JSON string; `false` when it was cut to keep its written form within `max` bytes.
fn push_text(out: &mut Vec<u8>, text: &str, max: usize) -> bool {
    out.push(b'"');
    let whole = push_escaped(out, text, max);
    out.push(b'"');
    whole
}

fn push_escaped(out: &mut Vec<u8>, text: &str, max: usize) -> bool {
    if text.len() <= max && text.bytes().all(is_plain) {
        out.extend_from_slice(text.as_bytes());
        return true;
    }
    let mut escaped = String::with_capacity(16);
    let mut room = max;
    for c in text.chars() {
        escaped.clear();
        match c {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            c if is_unsafe_to_print(c) => write!(escaped, "\\\\u{{{:x}}}", u32::from(c)).unwrap_or(()),
            c => escaped.push(c),
        }
        if escaped.len() > room {
            return false;
        }
        room -= escaped.len();
        out.extend_from_slice(escaped.as_bytes());
    }
    true
}

/// Characters that stand for themselves; nearly all are.
fn is_plain(b: u8) -> bool {
    matches!(b, b' '..=b'~') && b != b'"' && b != b'\\'
}

/// Characters that a terminal or a reader obeys instead of showing.
fn is_unsafe_to_print(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The value of a member, as it is written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Flag,
    Integer(u64),
    List,
    /// Between its quotes, still escaped.
    Text(&'a str),
}

/// Reads an object that is in canonical form and gives each member to `member`; else says what is wrong.
pub(crate) fn read<'a>(
    line: &'a [u8],
    mut member: impl FnMut(&'a str, Value<'a>),
) -> Result<(), &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8")?;
    let mut rest = text.strip_prefix('{').ok_or("it does not begin with `{`")?;
    let mut last = "";
    loop {
        let (name, after) = read_text(rest)?;
        rest = after.strip_prefix(':').ok_or("a member's name is not followed by `:`")?;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
            return Err("a member's name is not lower case");
        }
        if name <= last {
            return Err("its members are not in order, or one is there twice");
        }
        last = name;
        let (value, after) = read_value(rest)?;
        member(name, value);
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None if after == "}" => return Ok(()),
            None => return Err("a member is not followed by `,` or the end"),
        }
    }
}

fn read_value(text: &str) -> Result<(Value<'_>, &str), &'static str> {
    if text.starts_with('"') {
        return read_text(text).map(|(text, rest)| (Value::Text(text), rest));
    }
    if let Some(items) = text.strip_prefix('[') {
        return read_list(items).map(|rest| (Value::List, rest));
    }
    if let Some(rest) = text.strip_prefix("true").or_else(|| text.strip_prefix("false")) {
        return Ok((Value::Flag, rest));
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.len() > 1 && digits.starts_with('0') {
        return Err("an integer begins with a zero");
    }
    match digits.parse() {
        Ok(value) if value <= MAX_INTEGER => Ok((Value::Integer(value), rest)),
        _ => Err("a value is no string, list, boolean or integer below 2^53"),
    }
}

fn read_list(items: &str) -> Result<&str, &'static str> {
    if let Some(rest) = items.strip_prefix(']') {
        return Ok(rest);
    }
    let mut rest = items;
    loop {
        rest = read_text(rest)?.1;
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => return rest.strip_prefix(']').ok_or("a list does not end"),
        }
    }
}

fn read_text(text: &str) -> Result<(&str, &str), &'static str> {
    let body = text.strip_prefix('"').ok_or("a string or name is missing")?;
    let plain = body.bytes().position(|b| !is_plain(b)).unwrap_or(body.len());
    if let Some((text, rest)) = body.split_at_checked(plain)
        && let Some(rest) = rest.strip_prefix('"')
    {
        return Ok((text, rest));
    }
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let (text, rest) = body.split_at(at);
                return Ok((text, rest.strip_prefix('"').unwrap_or(rest)));
            }
            '\\' if !matches!(chars.next(), Some((_, '"' | '\\'))) => {
                return Err("a string has a needless escape");
            }
            c if is_unsafe_to_print(c) => return Err("a string has a character that must be written out"),
            _ => {}
        }
    }
    Err("a string does not end")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn check(line: impl AsRef<[u8]>) -> Result<(), &'static str> {
        read(line.as_ref(), |_, _| {})
    }

    #[test]
    fn accepts_canonical_objects() {
        for good in [
            r#"{"a":""}"#,
            r#"{"a":"x","b":0,"c":9007199254740991,"d":true,"e":false}"#,
            r#"{"a":[],"b":["x","y"]}"#,
            r#"{"a":"\"\\"}"#,
            r#"{"a":"ünï"}"#,
            r#"{"a":"x","a_b":1}"#,
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn refuses_everything_else() {
        for bad in [
            "", "{", "{}", "[]", "null", r#"{"a":null}"#, r#"{"a":1.0}"#, r#"{"a":1e3}"#, r#"{"a":-1}"#, r#"{"a":01}"#,
            r#"{"a":9007199254740992}"#, r#"{"a":99999999999999999999999}"#, r#"{"a":}"#, r#"{"a":{}}"#, r#"{"a":[1]}"#,
            r#"{"a":[["x"]]}"#, r#"{"a":["x",]}"#, r#"{"a":["x"}"#, r#"{"b":1,"a":1}"#, r#"{"a":1,"a":1}"#,
            r#"{"A":1}"#, r#"{"":1}"#, r#"{"a":1,}"#, r#"{"a":1} "#, r#" {"a":1}"#, r#"{"a": 1}"#, r#"{"a":1}}"#,
            r#"{"a":"\u0041"}"#, r#"{"a":"\/"}"#, r#"{"a":"\n"}"#, r#"{"a":"x}"#, r#"{"a":"\"}"#, r#"{"a":tru}"#,
            r#"{"a":"x""b":1}"#, "{a:1}", "{\"a\":\"\u{1b}\"}", "{\"a\":\"\u{202e}\"}", "{\"a\":\"\n\"}",
        ] {
            assert!(check(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(check(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn integers_are_written_as_json_writes_them() {
        for value in [0, 1, 9, 10, 1_795_000_000, MAX_INTEGER, u64::MAX] {
            let mut out = Vec::new();
            push_integer(&mut out, value);
            assert_eq!(out, value.to_string().as_bytes());
        }
    }

    proptest! {
        #[test]
        fn text_comes_back_or_is_cut(text: String, times in 1usize..64) {
            let text = text.repeat(times);
            let mut object = Object::new();
            object.text("a", &text);
            object.mark_truncated();
            let line = object.finish();
            prop_assert_eq!(check(&line), Ok(()));
            let frame = r#"{"a":"","truncated":["a"]}"#.len();
            prop_assert!(line.len() <= MAX_TEXT + frame);
            let back: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&line).unwrap();
            let shown = back["a"].as_str().unwrap();
            prop_assert!(!shown.contains(is_unsafe_to_print));
            if back.contains_key("truncated") {
                prop_assert!(text.chars().count() * r"\\u{e0001}".len() > MAX_TEXT, "cut although there was room");
            } else if !text.contains(is_unsafe_to_print) {
                prop_assert_eq!(shown, &text);
            }
        }

        #[test]
        fn bytes_never_panic(line: Vec<u8>) {
            let _ = check(line);
        }

        #[test]
        fn what_is_accepted_has_no_second_form(at: usize, byte: u8) {
            let mut line = br#"{"a":["x","y"],"b":"q\"\\z","c":10,"d":true}"#.to_vec();
            let at = at % line.len();
            line[at] = byte;
            if check(&line).is_ok() {
                let value: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&line).unwrap();
                prop_assert_eq!(serde_json::to_vec(&value).unwrap(), line);
            }
        }
    }
}
