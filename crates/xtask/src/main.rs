//! The repository's own chores: `cargo xtask COMMAND`. Without a command it lists them.
//!
//! A chore is written in Rust, not in shell, so that it is tested and runs the same on every machine.

mod arch;
mod servers;

use anyhow::Context as _;
use std::{
    io::{self, Write as _},
    process::ExitCode,
};

struct Chore {
    name: &'static str,
    about: &'static str,
    run: fn() -> anyhow::Result<ExitCode>,
}

const CHORES: &[Chore] = &[
    Chore {
        name: "arch",
        about: "check that the arrows between crates point one way, and the rules of the house",
        run: arch::run,
    },
    Chore {
        name: "servers",
        about: "find or install the Redis and Valkey that the tests start",
        run: servers::run,
    },
];

fn main() -> anyhow::Result<ExitCode> {
    let Some(name) = std::env::args().nth(1) else {
        list(&mut io::stdout().lock()).context("cannot list the commands")?;
        return Ok(ExitCode::SUCCESS);
    };
    match CHORES.iter().find(|chore| chore.name == name) {
        Some(chore) => (chore.run)(),
        None => {
            let mut err = io::stderr().lock();
            writeln!(err, "error: there is no command `{}`", name.escape_debug())?;
            list(&mut err)?;
            Ok(ExitCode::from(2))
        }
    }
}

fn list(out: &mut impl io::Write) -> io::Result<()> {
    writeln!(out, "usage: cargo xtask COMMAND\n\ncommands:")?;
    CHORES.iter().try_for_each(|chore| writeln!(out, "  {:<8} {}", chore.name, chore.about))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_names_every_command() {
        let mut out = Vec::new();
        list(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for chore in CHORES {
            assert!(text.contains(chore.name) && text.contains(chore.about), "{text}");
        }
    }
}
