//! From text to checked rules. Every problem of every file is collected, and any problem refuses the whole set.

use crate::{
    annotation::Annotations,
    nesting,
    problem::{Lines, PolicyError, Position, Problem, one_line},
    request::Verb,
    rule::{self, Rule},
    schema,
    source::{MAX_POLICIES, Sources},
};
use cedar_policy::{PolicyId, PolicySet, ValidationMode, Validator};
use miette::Diagnostic;
use std::{
    collections::{BTreeMap, HashMap},
    thread,
};

/// Policies see the attributes and groups of what the request names (the agent, the resource, the initiator, who is
/// delegated to) and of the owners of those, and nothing farther: nothing else is there at decision time. For the same
/// reason nothing is known of an entity that only the policy names: `Agent::"x".owner` is refused.
const MAX_DEREFERENCES: u32 = 2;

/// Enough for the deepest text that [`nesting`] lets through. Cedar recurses over an expression to parse, to validate and
/// to write it as JSON; what it does not use is never touched.
const STACK_BYTES: usize = 32 << 20;

/// How much of one of Cedar's messages is kept; they can quote a file.
const MAX_CHARS: usize = 400;

/// A set of policies, checked.
pub(crate) struct Compiled {
    pub(crate) rules: Vec<Rule>,
    pub(crate) warnings: Vec<Problem>,
}

/// Parses, reads the annotations, and validates strictly; on a stack of its own, for how much the caller has left must
/// not decide what is valid.
pub(crate) fn compile(sources: &Sources) -> Result<Compiled, PolicyError> {
    let failed = |why: String| PolicyError::from(Problem::of_file("policies", why));
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("policies".to_owned()).stack_size(STACK_BYTES);
        match thread.spawn_scoped(scope, || check(sources)) {
            Ok(checking) => {
                checking.join().unwrap_or_else(|_| Err(failed("they could not be checked".to_owned())))
            }
            Err(error) => Err(failed(format!("no thread to check them: {error}"))),
        }
    })
}

fn check(sources: &Sources) -> Result<Compiled, PolicyError> {
    let mut rules = Vec::new();
    let mut problems = Vec::new();
    for (file, text) in sources.iter() {
        parse_file(file, text, &mut rules, &mut problems);
        if rules.len() > MAX_POLICIES {
            return Err(Problem::of_file(
                file,
                format!("with this file there are more than {MAX_POLICIES} policies"),
            )
            .help("use groups and labels in place of one policy per agent")
            .into());
        }
    }
    problems.extend(repeated_ids(&rules));
    let warnings = validate(sources, &rules, &mut problems);
    if problems.is_empty() {
        return Ok(Compiled { rules, warnings });
    }
    tidy(&mut problems);
    Err(PolicyError::new(problems))
}

fn parse_file(file: &str, text: &str, rules: &mut Vec<Rule>, problems: &mut Vec<Problem>) {
    if let Some((offset, what)) = nesting::too_deep(text) {
        let problem = Problem::at(file, Position::at(text, offset), what);
        problems.push(problem.help("split the policy, or compare with a set: `[\"a\", \"b\"].contains(…)`"));
        return;
    }
    let set: PolicySet = match text.parse() {
        Ok(set) => set,
        Err(errors) => {
            problems.extend(errors.iter().map(|error| describe(file, text, Position::at(text, 0), error)));
            return;
        }
    };
    let lines = Lines::of(text);
    for template in set.templates() {
        let position = lines.position(template.as_ref().loc().map_or(0, |loc| loc.start()));
        problems.push(
            Problem::at(file, position, "policy templates are not supported")
                .help("name the agent, group or resource in place of `?principal` and `?resource`"),
        );
    }
    for policy in set.policies() {
        let position = lines.position(policy.as_ref().loc().map_or(0, |loc| loc.start()));
        let permits = policy.effect() == cedar_policy::Effect::Permit;
        match Annotations::parse(policy.annotations(), permits) {
            Ok(annotations) => {
                let number = rule::policy_id(rules.len());
                rules.push(Rule::new(file, position, annotations, policy.new_id(number)));
            }
            Err((what, help)) => problems.push(Problem::at(file, position, what).help(help)),
        }
    }
}

fn repeated_ids(rules: &[Rule]) -> Vec<Problem> {
    let mut first: HashMap<&str, &Rule> = HashMap::new();
    let mut problems = Vec::new();
    for rule in rules {
        let Some(id) = rule.name.id() else { continue };
        if let Some(earlier) = first.get(id) {
            let what = format!(
                "`@id(\"{id}\")` is already the name of {}:{}",
                earlier.name.file(),
                earlier.name.line()
            );
            problems.push(
                Problem::at(rule.name.file(), rule.position, what).help("give each policy its own `@id`"),
            );
        } else {
            first.insert(id, rule);
        }
    }
    problems
}

/// Validates the rules that were read, adds what is wrong to `problems`, and returns what is suspicious.
fn validate(sources: &Sources, rules: &[Rule], problems: &mut Vec<Problem>) -> Vec<Problem> {
    let set = match PolicySet::from_policies(rules.iter().map(|rule| rule.policy.clone())) {
        Ok(set) => set,
        Err(error) => {
            problems.push(Problem::of_file("policies", error.to_string()));
            return Vec::new();
        }
    };
    let texts: BTreeMap<&str, &str> = sources.iter().collect();
    let locate = |id: &PolicyId, diagnostic: &dyn Diagnostic| {
        let Some(rule) = rule::number(id).and_then(|number| rules.get(number)) else {
            return Problem::of_file("policies", diagnostic.to_string());
        };
        let text = texts.get(rule.name.file()).copied().unwrap_or("");
        describe(rule.name.file(), text, rule.position, diagnostic)
    };
    let validator = Validator::new(schema::PARSED.clone());
    let result = validator.validate_with_level(&set, ValidationMode::Strict, MAX_DEREFERENCES);
    problems.extend(result.validation_errors().map(|error| locate(error.policy_id(), error)));
    let mut warnings: Vec<_> =
        result.validation_warnings().map(|warning| locate(warning.policy_id(), warning)).collect();
    tidy(&mut warnings);
    warnings
}

/// Puts one of Cedar's messages in our form, at the place of its first label, or else at `fallback`.
fn describe(file: &str, text: &str, fallback: Position, diagnostic: &dyn Diagnostic) -> Problem {
    let label = diagnostic.labels().and_then(|mut labels| labels.next());
    let position = label.as_ref().map_or(fallback, |label| Position::at(text, label.offset()));
    let mut what = essence(&diagnostic.to_string());
    if let Some(note) = label.as_ref().and_then(|label| label.label()) {
        what = format!("{what}: {note}");
    }
    let problem = Problem::at(file, position, one_line(&what, MAX_CHARS));
    match diagnostic.help() {
        Some(help) => problem.help(one_line(&essence(&help.to_string()), MAX_CHARS)),
        None => problem,
    }
}

/// By place, each once.
fn tidy(problems: &mut Vec<Problem>) {
    problems.sort_by(|a, b| (&a.file, a.position, &a.what).cmp(&(&b.file, b.position, &b.what)));
    problems.dedup();
}

/// Without the numbers that we gave the policies, which mean nothing to their author, and without the action: Cedar
/// repeats a problem for each action that a policy applies to.
fn essence(message: &str) -> String {
    let message = message
        .strip_prefix("for policy `")
        .and_then(|rest| rest.split_once("`, "))
        .map_or(message, |(_, rest)| rest);
    Verb::ALL.iter().fold(message.to_owned(), |text, verb| text.replace(&format!(" for {}", verb.uid()), ""))
}
