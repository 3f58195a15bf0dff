//! `taskpass doctor`: everything that a broker rests on, on one screen.

use crate::{
    commands::store,
    compose,
    config::{Config, ConfigError},
    session::{Outcome, Session},
    view::show_report,
};
use clap::Args;
use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};
use taskpass_audit::{VerifyError, verify_dir};
use taskpass_store::{Mark, Report, journal::has_records};
use taskpass_types::{Clock as _, Timestamp};

/// No broker ran before this was written, so a clock that says so is wrong: 2026-01-01.
const BEGAN: Timestamp = Timestamp::from_secs(1_767_225_600);

/// Look at everything that the broker on this machine rests on
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass doctor
  taskpass doctor --config taskpass.toml -o json

Configuration, policies, keys, audit log, clock, and what `taskpass store check` proves. It changes nothing; the broker may
run. Run it as the broker's user. Exit code 10 when a line fails.")]
pub(crate) struct Doctor {
    /// The broker's configuration
    #[arg(short, long, value_name = "FILE", default_value = "/etc/taskpass/taskpass.toml")]
    config: PathBuf,
}

impl Doctor {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let mut report = Report::default();
        match Config::load(&self.config) {
            Ok(config) => examine(&config, session, &mut report).await,
            Err(error) => unreadable(&error, &mut report),
        }
        Ok(show_report(&report, &session.out)?)
    }
}

fn unreadable(error: &ConfigError, report: &mut Report) {
    for problem in error.problems() {
        let place = problem.position.map_or_else(String::new, |position| format!(":{position}"));
        let fix = problem.fix.clone().unwrap_or_else(|| "taskpass help config".to_owned());
        report.say(Mark::Fail, "config", format!("{}{place}: {problem}", error.path().display()), fix);
    }
}

async fn examine(config: &Config, session: &Session, report: &mut Report) {
    configuration(config, report);
    policies(config, report);
    seal(config, report);
    data(&config.data.dir, report);
    audit(&config.data.audit(), report);
    journal(&config.data.revocations(), report);
    clock(session.clock.now(), report);
    report.lines.extend(store::report(config, &session.clock).await.lines);
}

fn configuration(config: &Config, report: &mut Report) {
    let seen = format!("{} agents, {} operators", config.agents.len(), config.operators.len());
    report.ok("config", seen);
    for warning in config.warnings() {
        let (what, fix) = warning.split_once("; ").unwrap_or((&warning, "taskpass help config"));
        report.say(Mark::Warn, "config", what, fix);
    }
}

fn policies(config: &Config, report: &mut Report) {
    let found = taskpass_policy::Report::of_dir(&config.policy.dir);
    let look = format!("taskpass policy check {}", config.policy.dir.display());
    for warning in &found.warnings {
        report.say(Mark::Warn, "policies", warning.to_string(), look.clone());
    }
    match found.loaded {
        Some(loaded) => {
            report.ok("policies", format!("{}, revision {}", loaded.policies, loaded.revision));
        }
        None => {
            for problem in &found.problems {
                report.say(Mark::Fail, "policies", problem.to_string(), look.clone());
            }
        }
    }
}

fn seal(config: &Config, report: &mut Report) {
    match compose::seal(&config.keys.seal) {
        Ok(_) => report.ok("seal key", "readable, and it is one"),
        Err(error) => {
            let fix = error.fix().unwrap_or("run this as the broker's user; see [keys]");
            report.say(Mark::Fail, "seal key", error.to_string(), fix);
        }
    }
}

fn data(dir: &Path, report: &mut Report) {
    let seen = |rest: &str| format!("`{}`{rest}", dir.display());
    match std::fs::metadata(dir) {
        Ok(about) if about.mode() & 0o077 == 0 => report.ok("data", seen(", private")),
        Ok(about) => report.say(
            Mark::Fail,
            "data",
            seen(&format!(", mode {:04o}: others reach it", about.mode() & 0o777)),
            format!("chmod go-rwx {}", dir.display()),
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            report.say(
                Mark::Warn,
                "data",
                seen(" is not there"),
                "the first start makes it; or set `data.dir`",
            );
        }
        Err(error) => {
            report.say(Mark::Fail, "data", seen(&format!(": {error}")), "run this as the broker's user")
        }
    }
}

fn audit(dir: &Path, report: &mut Report) {
    if !dir.exists() {
        return report.ok("audit log", "none yet; the first start makes it");
    }
    match verify_dir(dir, None) {
        Ok(found) => {
            let last = found.last.unwrap_or_default();
            report.ok("audit log", format!("{} records, chain intact, last {last}", found.records));
        }
        Err(VerifyError::Broken(broken)) => report.say(
            Mark::Fail,
            "audit log",
            broken.to_string(),
            format!("compare with a backup and an anchor: taskpass audit verify --dir {}", dir.display()),
        ),
        Err(VerifyError::Unreadable(error)) => {
            report.say(Mark::Fail, "audit log", error.to_string(), "run this as the broker's user");
        }
    }
}

fn journal(path: &Path, report: &mut Report) {
    match has_records(path) {
        Ok(false) => report.ok("journal", "no end waits for the store to write again"),
        Ok(true) => report.say(
            Mark::Warn,
            "journal",
            format!("ends wait in `{}`: the store did not write when they were acknowledged", path.display()),
            "repair the store; a broker that runs writes them with its next write",
        ),
        Err(error) => {
            report.say(Mark::Fail, "journal", error.to_string(), "run this as the broker's user");
        }
    }
}

fn clock(now: Timestamp, report: &mut Report) {
    match now < BEGAN {
        true => report.say(
            Mark::Fail,
            "time",
            format!("it is not {now}"),
            "set the clock, and let NTP run: timedatectl",
        ),
        false => report.ok("time", now.to_string()),
    }
}
