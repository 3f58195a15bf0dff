//! The shape of policy text, found without parsing it: how deep its expressions nest, and where conditions begin.
//!
//! Cedar's parser recurses, so that text which nests without limit exhausts the stack; and its validator, when the stack
//! runs low, stops looking and finds nothing wrong. Neither can happen to text that passed here.

/// How deep brackets may nest. Each level costs the parser a dozen calls.
pub(crate) const MAX_BRACKETS: usize = 64;
/// How many operators one policy may have: `a && b && c` nests as deep as it is long.
pub(crate) const MAX_OPERATORS: usize = 400;

/// Where a text nests too deep, in bytes from its start, and what is too much there.
pub(crate) fn too_deep(text: &str) -> Option<(usize, String)> {
    let mut brackets: usize = 0;
    let mut operators: usize = 0;
    let mut last = b' ';
    for (offset, byte) in code(text) {
        match byte {
            b'(' | b'[' | b'{' => brackets += 1,
            b')' | b']' | b'}' => brackets = brackets.saturating_sub(1),
            b';' => operators = 0,
            b'.' | b'+' | b'-' | b'*' => operators += 1,
            b'&' | b'|' if last == byte => operators += 1,
            b'f' if last == b'i' => operators += 1,
            _ => {}
        }
        if brackets > MAX_BRACKETS {
            return Some((offset, format!("brackets are nested more than {MAX_BRACKETS} deep")));
        }
        if operators > MAX_OPERATORS {
            return Some((offset, format!("the policy has more than {MAX_OPERATORS} operators")));
        }
        last = byte;
    }
    None
}

/// The `when` and `unless` clauses of one policy's text. A scope has no braces, so the first is theirs.
pub(crate) fn conditions(policy: &str) -> Option<&str> {
    let (brace, _) = code(policy).find(|(_, byte)| *byte == b'{')?;
    let head = policy.get(..brace)?.trim_end();
    let before = head.strip_suffix("when").or_else(|| head.strip_suffix("unless"))?;
    policy.get(before.len()..).map(|clauses| clauses.trim_end().trim_end_matches(';'))
}

/// The bytes that are in no string and no comment, by Cedar's lexical rules.
fn code(text: &str) -> impl Iterator<Item = (usize, u8)> {
    let mut inside = Inside::Code;
    let mut bytes = text.bytes().enumerate().peekable();
    std::iter::from_fn(move || {
        loop {
            let (offset, byte) = bytes.next()?;
            match (&inside, byte) {
                (Inside::Code, b'"') => inside = Inside::String,
                (Inside::Code, b'/') if matches!(bytes.peek(), Some((_, b'/'))) => inside = Inside::Comment,
                (Inside::Code, _) => return Some((offset, byte)),
                (Inside::Comment, b'\n' | b'\r') => inside = Inside::Code,
                (Inside::String, b'\\') => drop(bytes.next()),
                (Inside::String, b'"') => inside = Inside::Code,
                (Inside::Comment | Inside::String, _) => {}
            }
        }
    })
}

enum Inside {
    Code,
    Comment,
    String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_counts() {
        for (text, code_left) in [
            ("a\"(((\"b", "ab"),
            (r#"a"\"((("b"#, "ab"),
            (r#"a"\\"(b"#, "a(b"),
            ("a // (((\nb", "a b"),
            ("a // (((\rb", "a b"),
            ("\"// \"(", "("),
            ("a / b", "a / b"),
        ] {
            let left: String = code(text).map(|(_, byte)| char::from(byte)).collect();
            assert_eq!(left, code_left, "{text:?}");
        }
    }

    #[test]
    fn conditions_begin_at_the_first_keyword() {
        for (policy, expected) in [
            ("permit(principal, action, resource);", None),
            ("@id(\"when {\") permit(principal, action, resource) when { true };", Some("when { true }")),
            (
                "forbid(principal, action, resource)\nunless\n{ a } when { b };",
                Some("unless\n{ a } when { b }"),
            ),
            ("permit(principal, action, resource) when // why\n{ true };", None),
        ] {
            assert_eq!(conditions(policy), expected, "{policy}");
        }
    }

    #[test]
    fn wide_is_not_deep() {
        let names = format!("[{}].contains(context.action);", r#""s3.reports-eu","#.repeat(5000));
        assert_eq!(too_deep(&names), None);
        let many = "permit(principal, action, resource) when { context.bound && context.task.depth < 2 };\n"
            .repeat(5000);
        assert_eq!(too_deep(&many), None);
    }

    #[test]
    fn deep_is_found_where_it_begins() {
        assert_eq!(too_deep(&"(".repeat(65)).unwrap().0, 64);
        for operator in [".a", "+1", "-1", "*1", "&&a", "||a", "if a "] {
            let text = format!("\"; ;\" // ;\n{}", operator.repeat(MAX_OPERATORS + 1));
            assert!(too_deep(&text).is_some(), "{operator}");
            assert_eq!(too_deep(&operator.repeat(MAX_OPERATORS)), None, "{operator}");
        }
    }
}
