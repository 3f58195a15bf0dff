//! Proves what a ledger promises, in place of believing what was configured.
//!
//! Every line rests on something that was done just now, or on what the server says of itself. Invariants:
//! - nothing of the ledger changes: what is written goes to a key of its own, by a script of ours;
//! - nothing is asked that would do harm if it were allowed;
//! - what cannot be seen by this user is said to be unseen, with the way to look.

mod about;
mod probe;
mod server;

pub use about::About;
pub(crate) use about::control;
pub use taskpass_store::{Line, Mark, Report};

use crate::{
    backend::OpenError,
    error::Trouble,
    layout::{Layout, is_name},
    link::{self, Link},
    settings::{Durability, Settings},
};
use server::Facts;
use taskpass_types::Clock;

/// Looks at everything.
pub async fn check(settings: &Settings, clock: &dyn Clock) -> Report {
    let mut report = Report::default();
    let Some((mut link, facts)) = reach(settings, &mut report).await else { return report };
    server::identity(&facts, &mut report);
    server::encryption(settings, &mut report);
    let configured = probe::rights(settings, &mut link, &mut report).await;
    probe::clocks(&mut link, clock, &mut report).await;
    if probe::writes(settings, &mut link, &mut report).await {
        probe::latency(settings, &mut link, &mut report).await;
    }
    server::replicas(settings, &facts, &mut report);
    server::persistence(settings, &facts, &mut report);
    server::fsync(configured.as_deref(), &mut report);
    server::eviction(settings, &facts, &mut report);
    match About::read(settings, &mut link).await {
        Ok(about) => about.say(&mut report),
        Err(trouble) => report.say(Mark::Fail, "ledger", trouble.to_string(), fix(settings, &trouble)),
    }
    report
}

/// What the ledger is, without proving anything.
///
/// # Errors
/// When it cannot be read.
pub async fn about(settings: &Settings) -> Result<About, OpenError> {
    let unreachable = |trouble: Trouble| OpenError::Unreachable(trouble.to_string());
    let mut link = open(settings).await.map_err(unreachable)?;
    About::read(settings, &mut link).await.map_err(unreachable)
}

/// Whether an acknowledgement means what `durable` says. One that cannot be reached is for others to report.
pub(crate) async fn durable(settings: &Settings) -> Result<(), OpenError> {
    let mut report = Report::default();
    if matches!(settings.durability, Durability::Standard { .. }) {
        return Ok(());
    }
    let Some((mut link, facts)) = reach(settings, &mut Report::default()).await else { return Ok(()) };
    probe::writes(settings, &mut link, &mut report).await;
    server::replicas(settings, &facts, &mut report);
    server::persistence(settings, &facts, &mut report);
    server::eviction(settings, &facts, &mut report);
    report.lines.retain(|line| line.mark == Mark::Fail);
    if report.lines.is_empty() { Ok(()) } else { Err(OpenError::NotDurable(report)) }
}

async fn open(settings: &Settings) -> Result<Link, Trouble> {
    Link::open(settings, &Layout::new(&settings.ledger).control()).await
}

async fn reach(settings: &Settings, report: &mut Report) -> Option<(Link, Facts)> {
    if !is_name(&settings.ledger) {
        let error = OpenError::Name(settings.ledger.clone());
        report.say(Mark::Fail, "ledger", error.to_string(), error.fix());
        return None;
    }
    let reached = async {
        let mut link = open(settings).await?;
        let facts = Facts::read(&mut link).await?;
        Ok::<_, Trouble>((link, facts))
    };
    match reached.await {
        Ok(reached) => Some(reached),
        Err(trouble) => {
            report.say(Mark::Fail, "server", trouble.to_string(), fix(settings, &trouble));
            None
        }
    }
}

/// The way out, as far as the server's words show it.
pub(crate) fn fix(settings: &Settings, trouble: &Trouble) -> String {
    // The client writes the codes of a server its own way: `NoPerm` for `NOPERM`.
    let said = trouble.to_string().to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["wrongpass", "noauth", "authentication"]) {
        "give `user` and `password` of a user that the server has; deploy/redis has one to copy".to_owned()
    } else if has(&["noperm", "no permissions", "can't run this command"]) {
        format!("give the user exactly these rights: {}", probe::acl(&settings.ledger))
    } else if has(&["certificate", "unknownissuer", "tls"]) {
        "let `tls.ca` name the authority that signed the server's certificate, and `address` a name in it"
            .to_owned()
    } else if has(&["wrongtype", "wrong kind of value", "no taskpass ledger"]) {
        "another application uses our keys: give Taskpass another `ledger` name, or a server of its own"
            .to_owned()
    } else {
        "see that it runs, that this machine reaches it, and that `address` and `tls` are as the server has them"
            .to_owned()
    }
}

/// One section of what a server says about itself.
async fn section(link: &mut Link, name: &str) -> Result<std::collections::HashMap<String, String>, Trouble> {
    link::info(link.writer.connection(), name).await
}
