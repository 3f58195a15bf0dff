//! The annotations that mean something to Taskpass. Any other is refused, because a misspelt `@max_ttl` would silently
//! not limit anything.

mod obligation;

pub(crate) use obligation::Kind;
pub use obligation::annotations;

use crate::problem::is_deceptive;
use taskpass_types::Obligations;

/// What a policy says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Annotations {
    pub(crate) id: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) obligations: Obligations,
}

/// What is wrong, and what to do about it.
pub(crate) type Wrong = (String, String);

const MAX_ID_CHARS: usize = 100;
const MAX_DESCRIPTION_CHARS: usize = 500;

impl Annotations {
    /// Reads the annotations of one policy.
    pub(crate) fn parse<'a>(
        annotations: impl Iterator<Item = (&'a str, &'a str)>,
        permits: bool,
    ) -> Result<Self, Wrong> {
        let mut parsed = Self::default();
        for (key, value) in annotations {
            match key {
                "description" => parsed.description = Some(plain(key, value, MAX_DESCRIPTION_CHARS)?),
                "id" => parsed.id = Some(plain(key, value, MAX_ID_CHARS)?),
                _ => {
                    let kind = Kind::find(key).ok_or_else(|| unknown(key))?;
                    if !permits && !kind.is_for_forbid() {
                        let what = format!("`@{key}` on a `forbid` limits nothing");
                        return Err((what, "put it on the `permit`".to_owned()));
                    }
                    kind.set(value, &mut parsed.obligations)?;
                }
            }
        }
        Ok(parsed)
    }
}

/// Text for people, on one line, which cannot play tricks on a terminal.
fn plain(key: &str, value: &str, max_chars: usize) -> Result<String, Wrong> {
    let wrong = |why: &str| {
        Err((format!("`@{key}(\"{}\")` {why}", cut(value)), "use a short plain text in quotes".to_owned()))
    };
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

/// An annotation that nobody knows, with the one that was meant, or else with all there are.
pub(crate) fn unknown(key: &str) -> Wrong {
    let names = || ["id", "description"].into_iter().chain(Kind::ALL.map(Kind::name));
    let near =
        names().map(|name| (distance(key, name), name)).filter(|(slips, name)| *slips <= max_slips(name));
    let help = match near.min() {
        Some((_, name)) => format!("did you mean `@{name}`?"),
        None => {
            let all: Vec<_> = names().map(|name| format!("`@{name}`")).collect();
            format!("there are {}", all.join(", "))
        }
    };
    (format!("unknown annotation `@{}`", cut(key)), help)
}

/// How many letters may be wrong for something to be taken for this name.
fn max_slips(name: &str) -> usize {
    (name.len() / 3).clamp(1, 3)
}

/// How many letters have to be added, left out or changed to make one word of another.
fn distance(from: &str, to: &str) -> usize {
    let mut costs: Vec<usize> = (0..=to.len()).collect();
    // Beyond twice the length there is no likeness to be found.
    for (i, a) in from.bytes().take(to.len() * 2).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cost, b) in costs.iter_mut().skip(1).zip(to.bytes()) {
            let changed = diagonal + usize::from(!a.eq_ignore_ascii_case(&b));
            diagonal = *cost;
            *cost = changed.min(diagonal + 1).min(left + 1);
            left = *cost;
        }
    }
    costs.last().copied().unwrap_or(0)
}

fn cut(text: &str) -> String {
    text.escape_debug().take(64).collect()
}

#[cfg(test)]
mod tests;
