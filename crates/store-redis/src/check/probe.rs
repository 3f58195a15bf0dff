//! What is tried: writes, what the user may not do, the server's time.

use super::{Mark, Report, fix};
use crate::{
    error::Trouble,
    layout::Layout,
    link::Link,
    scripts::{Confirmation, Script, Written},
    settings::Settings,
    texts::Texts,
};
use redis::{Cmd, RedisError, Value, cmd};
use std::time::{Duration, Instant};
use taskpass_types::Clock;

/// How many writes are timed.
const TIMED: usize = 50;
/// How far apart the clocks may be.
const APART: Duration = Duration::from_secs(2);
/// What verifiers allow for.
const TOO_FAR: Duration = Duration::from_secs(5);

/// The users that deploy/redis makes.
const USERS: &str = include_str!("../../../../deploy/redis/users.acl");

/// The line of a broker's user with the rights that it needs and no other.
pub(super) fn acl(ledger: &str) -> String {
    let line = USERS.lines().find(|line| line.starts_with("user taskpass ")).unwrap_or_default();
    line.replace("{taskpass}", &format!("{{{ledger}}}"))
}

/// Tries what a broker's user must not be able to do. What does no harm stands for what would. Says how the server
/// syncs its file, if that is not hidden.
pub(super) async fn rights(settings: &Settings, link: &mut Link, report: &mut Report) -> Option<String> {
    let mut config = cmd("CONFIG");
    config.arg("GET").arg("appendfsync");
    let mut other = cmd("EXISTS");
    other.arg(Layout::new(&settings.ledger).elsewhere());
    let mut script = cmd("EVAL");
    script.arg("return 1").arg(0);
    let tried = [("CONFIG GET", config), ("other keys", other), ("EVAL", script), ("DBSIZE", cmd("DBSIZE"))];
    let (mut allowed, mut refused, mut configured) = (Vec::new(), Vec::new(), None);
    for (what, command) in tried {
        match ask(link, &command).await {
            Err(error) if error.code() == Some("NOPERM") => refused.push(what),
            answer => {
                allowed.push(what);
                configured = configured.or_else(|| answer.ok().and_then(fsync));
            }
        }
    }
    if allowed.is_empty() {
        report.ok("rights", format!("refused as they should be: {}", refused.join(", ")));
    } else {
        let seen = format!("too many: this user may use {}", allowed.join(", "));
        report.say(Mark::Warn, "rights", seen, acl(&settings.ledger));
    }
    configured
}

fn fsync(answer: Value) -> Option<String> {
    let pairs: Vec<String> = redis::from_redis_value(answer).ok()?;
    let [name, value] = pairs.as_slice() else { return None };
    (name == "appendfsync").then(|| value.clone())
}

async fn ask(link: &mut Link, command: &Cmd) -> Result<Value, RedisError> {
    command.query_async(link.writer.connection()).await
}

/// Compares the server's time with ours, as of the middle of the question.
pub(super) async fn clocks(link: &mut Link, clock: &dyn Clock, report: &mut Report) {
    let before = clock.now();
    let answer: Result<(u64, u64), RedisError> = cmd("TIME").query_async(link.writer.connection()).await;
    let middle = before.plus(clock.now().since(before) / 2).as_millis();
    match answer {
        Ok((secs, micros)) => offset((secs * 1000 + micros / 1000).abs_diff(middle), report),
        Err(error) => {
            report.say(Mark::Warn, "clock", error.to_string(), "give the user the right to ask for TIME");
        }
    }
}

fn offset(millis: u64, report: &mut Report) {
    let apart = Duration::from_millis(millis);
    let seen = format!("{millis} ms apart from the server's");
    let mark = match apart {
        apart if apart > TOO_FAR => Mark::Fail,
        apart if apart > APART => Mark::Warn,
        _ => return report.ok("clock", seen),
    };
    report.say(mark, "clock", seen, "let NTP run here and on the server: timedatectl shows whether it does");
}

async fn write(settings: &Settings, link: &mut Link) -> Result<Written, Trouble> {
    let confirmation = Confirmation::of(settings, true);
    let key = Layout::new(&settings.ledger).probe();
    link.writer.write(Script::Probe, &[key], &[&Texts::from(vec![b"probe".to_vec()])], confirmation).await
}

/// Whether a write gets through, and is confirmed by as many as it has to be.
pub(super) async fn writes(settings: &Settings, link: &mut Link, report: &mut Report) -> bool {
    let wanted = settings.durability.replicas(true);
    match write(settings, link).await {
        Err(trouble) => {
            report.say(Mark::Fail, "write", trouble.to_string(), refused(settings, &trouble));
            false
        }
        Ok(written) if !written.confirmed => {
            let seen = format!("{} of {wanted} replicas confirmed it in time", written.replicas);
            report.say(
                Mark::Fail,
                "write",
                seen,
                "bring the replicas back, see the link to them, or raise `timeout`",
            );
            false
        }
        Ok(_) if wanted == 0 => {
            report.ok("write", "a script of ours wrote and read it back");
            true
        }
        Ok(written) => {
            report.ok("write", format!("a script of ours wrote, {} replicas confirmed it", written.replicas));
            true
        }
    }
}

fn refused(settings: &Settings, trouble: &Trouble) -> String {
    let said = trouble.to_string().to_lowercase();
    for (word, fix) in [
        ("noreplicas", "bring the replicas back: the server wants min-replicas-to-write of them"),
        ("misconf", "make room on the server's disk: it cannot save, and so takes no writes"),
        ("oom", "raise maxmemory"),
        ("readonly", "this is a replica: let `address` name the primary, or use Sentinel"),
    ] {
        if said.contains(word) {
            return fix.to_owned();
        }
    }
    fix(settings, trouble)
}

#[expect(clippy::disallowed_methods, reason = "measures; no decision rests on it")]
fn now() -> Instant {
    Instant::now()
}

/// How long a write takes, confirmations included.
pub(super) async fn latency(settings: &Settings, link: &mut Link, report: &mut Report) {
    let mut took = Vec::with_capacity(TIMED);
    for _ in 0..TIMED {
        let start = now();
        if let Err(trouble) = write(settings, link).await {
            report.say(Mark::Fail, "latency", trouble.to_string(), refused(settings, &trouble));
            return;
        }
        took.push(start.elapsed());
    }
    took.sort_unstable();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
    let millis = |span: Duration| span.as_secs_f64() * 1000.0;
    let (middle, slow) = (at(50), at(99));
    let seen = format!("p50 {:.2} ms, p99 {:.2} ms of {TIMED} writes", millis(middle), millis(slow));
    if slow > settings.patience / 4 {
        let fix = format!(
            "`timeout` is {} ms: see the way to the server, its disk and its replicas",
            settings.patience.as_millis()
        );
        report.say(Mark::Warn, "latency", seen, fix);
    } else {
        report.ok("latency", seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_be_a_little_apart() {
        for (millis, mark) in [(0, Mark::Ok), (2000, Mark::Ok), (2001, Mark::Warn), (5001, Mark::Fail)] {
            let mut report = Report::default();
            offset(millis, &mut report);
            assert_eq!(report.lines.first().map(|line| line.mark), Some(mark), "{millis}");
        }
    }

    #[test]
    fn the_rights_are_those_of_deploy_for_this_ledger() {
        let line = acl("prod");
        assert!(line.contains("~{prod}:*") && line.contains("&{prod}:*"), "{line}");
        assert!(!line.contains("+@") && !line.contains("+eval ") && line.contains("-@all"), "{line}");
    }
}
