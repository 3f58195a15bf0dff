//! The command tree keeps its promises.

use super::*;
use clap::{Command as Tree, CommandFactory as _};

/// Every command that does something, with the words that lead to it.
fn leaves() -> Vec<(String, Tree)> {
    fn walk(command: &Tree, path: &str, found: &mut Vec<(String, Tree)>) {
        let path = format!("{path} {}", command.get_name());
        if command.has_subcommands() {
            command
                .get_subcommands()
                .filter(|command| !command.is_hide_set())
                .for_each(|sub| walk(sub, &path, found));
        } else {
            found.push((path.trim().to_owned(), command.clone()));
        }
    }
    let mut root = Cli::command();
    root.build();
    let mut found = Vec::new();
    walk(&root, "", &mut found);
    found
}

#[test]
fn clap_finds_no_contradiction() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_says_what_it_does_with_an_example_of_itself() {
    for (path, command) in leaves() {
        assert!(command.get_about().is_some(), "`{path}` has no about");
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(
            after.starts_with("Examples:\n") && after.contains(&path),
            "`{path}` has no example of itself"
        );
    }
}

#[test]
fn every_argument_is_explained_and_every_short_flag_has_a_long_one() {
    for (path, command) in leaves() {
        for argument in command.get_arguments() {
            let id = argument.get_id();
            assert!(argument.get_help().is_some(), "`{path}`: {id} has no help");
            assert!(
                argument.get_short().is_none() || argument.get_long().is_some(),
                "`{path}`: {id} is only short"
            );
        }
    }
}

#[test]
fn every_command_takes_the_form_of_data_and_the_broker() {
    for (path, command) in leaves() {
        for long in ["output", "address", "quiet", "color"] {
            assert!(
                command.get_arguments().any(|argument| argument.get_long() == Some(long)),
                "`{path}` has no --{long}"
            );
        }
    }
}

#[test]
fn no_flag_takes_a_secret() {
    for (path, command) in leaves() {
        for argument in command.get_arguments() {
            let long = argument.get_long().unwrap_or_default();
            assert!(!["token", "secret", "password", "key"].contains(&long), "`{path}`: --{long}");
        }
    }
}

#[test]
fn the_examples_parse() {
    for (path, command) in leaves() {
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        // An example may go on on the next line.
        let after = after.replace("\\\n", " ");
        for line in after.lines().filter(|line| line.starts_with("  taskpass ")) {
            // What the shell does is not ours to test.
            let line = line.split(['|', '#', '<', '>']).next().unwrap_or_default();
            if line.contains(['"', '\'', '$']) {
                continue;
            }
            let parsed = Cli::try_parse_from(line.split_whitespace());
            assert!(parsed.is_ok(), "`{path}`: {line}: {}", parsed.err().unwrap());
        }
    }
}
