//! Where each token goes: into a variable of the command's environment, or into a file.

use crate::{
    args::{Ask, Pair},
    error::Failure,
};
use std::{collections::BTreeSet, path::PathBuf};

/// The variable of the only resource, and the beginning of every resource's own.
const TOKEN: &str = "TASKPASS_TOKEN";

/// One resource and the places of its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Injection {
    pub(super) ask: Ask,
    pub(super) variables: Vec<String>,
    pub(super) file: Option<PathBuf>,
}

/// Whether a variable that the command would inherit could be taken for one of ours.
pub(super) fn is_ours(variable: &str) -> bool {
    variable.starts_with(TOKEN) || variable == super::TASK_VARIABLE
}

/// Gives every resource its places; `variables` are `NAME=resource`, `files` are `resource=PATH`.
pub(super) fn plan(asks: &[Ask], variables: &[Pair], files: &[Pair]) -> Result<Vec<Injection>, Failure> {
    let mut injections: Vec<Injection> = Vec::new();
    for ask in asks {
        if injections.iter().any(|other| other.ask.resource == ask.resource) {
            return Err(Failure::usage(format!("resource `{}` comes twice", ask.resource))
                .fix(format!("join its actions: --resource {}:one,two", ask.resource)));
        }
        injections.push(Injection { ask: ask.clone(), variables: Vec::new(), file: None });
    }
    for Pair { name, value } in variables {
        check_variable(name)?;
        find(&mut injections, value)?.variables.push(name.clone());
    }
    for Pair { name, value } in files {
        let injection = find(&mut injections, name)?;
        if injection.file.replace(PathBuf::from(value)).is_some() {
            return Err(
                Failure::usage(format!("resource `{name}` has two files")).fix("use one --file for each")
            );
        }
    }
    add_defaults(&mut injections);
    check_distinct(&injections)?;
    Ok(injections)
}

fn find<'a>(injections: &'a mut [Injection], resource: &str) -> Result<&'a mut Injection, Failure> {
    injections.iter_mut().find(|injection| injection.ask.resource.as_str() == resource).ok_or_else(|| {
        Failure::usage(format!("`{resource}` is not asked for"))
            .fix(format!("add --resource {resource}:ACTION"))
    })
}

fn add_defaults(injections: &mut [Injection]) {
    let only = injections.len() == 1;
    for injection in
        injections.iter_mut().filter(|injection| injection.variables.is_empty() && injection.file.is_none())
    {
        injection.variables.push(default_variable(injection.ask.resource.as_str()));
        if only {
            injection.variables.push(TOKEN.to_owned());
        }
    }
}

/// `s3/reports` becomes `TASKPASS_TOKEN_S3_REPORTS`.
fn default_variable(resource: &str) -> String {
    let name = resource.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    format!("{TOKEN}_{}", name.collect::<String>())
}

fn check_variable(name: &str) -> Result<(), Failure> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts_well && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Ok(());
    }
    Err(Failure::usage(format!("`{name}` is no name of a variable")).fix("use letters, digits and `_`"))
}

/// No token may silently take another's place.
fn check_distinct(injections: &[Injection]) -> Result<(), Failure> {
    let (mut variables, mut files) = (BTreeSet::new(), BTreeSet::new());
    for injection in injections {
        if let Some(twice) = injection.variables.iter().find(|name| !variables.insert(name.as_str())) {
            return Err(Failure::usage(format!("variable `{twice}` would hold two tokens"))
                .fix(format!("name one: --env NAME={}", injection.ask.resource)));
        }
        if let Some(twice) = injection.file.as_ref().filter(|file| !files.insert(*file)) {
            return Err(Failure::usage(format!("file `{}` would hold two tokens", twice.display())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Places = (Vec<String>, Option<PathBuf>);

    fn planned(asks: &[&str], variables: &[&str], files: &[&str]) -> Result<Vec<Places>, String> {
        let pairs = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Pair>>();
        let asks: Vec<Ask> = asks.iter().map(|ask| ask.parse().unwrap()).collect();
        plan(&asks, &pairs(variables), &pairs(files))
            .map(|all| all.into_iter().map(|one| (one.variables, one.file)).collect())
            .map_err(|failure| failure.what().to_owned())
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_token_goes_into_a_variable_of_its_resource_unless_said_otherwise() {
        assert_eq!(
            planned(&["s3/reports:put"], &[], &[]).unwrap(),
            [(names(&["TASKPASS_TOKEN_S3_REPORTS", "TASKPASS_TOKEN"]), None)]
        );
        assert_eq!(
            planned(&["a-b:x", "c:y", "d:z"], &["C=c", "CC=c"], &["d=/run/d"]).unwrap(),
            [
                (names(&["TASKPASS_TOKEN_A_B"]), None),
                (names(&["C", "CC"]), None),
                (names(&[]), Some(PathBuf::from("/run/d"))),
            ]
        );
    }

    #[test]
    fn no_token_takes_anothers_place() {
        for (asks, variables, files, what) in [
            (&["a:x", "a:y"][..], &[][..], &[][..], "comes twice"),
            (&["a-b:x", "a_b:x"], &[], &[], "two tokens"),
            (&["a:x", "b:x"], &["T=a", "T=b"], &[], "two tokens"),
            (&["a:x", "b:x"], &[], &["a=/t", "b=/t"], "two tokens"),
            (&["a:x"], &[], &["a=/t", "a=/u"], "two files"),
            (&["a:x"], &["T=b"], &[], "not asked for"),
            (&["a:x"], &[], &["b=/t"], "not asked for"),
            (&["a:x"], &["1T=a"], &[], "no name of a variable"),
            (&["a:x"], &["A B=a"], &[], "no name of a variable"),
        ] {
            let error = planned(asks, variables, files).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}
