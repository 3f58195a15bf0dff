//! What the server says of itself, and what that means for what is promised.

use super::{Mark, Report, section};
use crate::{
    error::Trouble,
    link::Link,
    settings::{Durability, Place, Settings},
};
use std::collections::HashMap;

type Section = HashMap<String, String>;

/// The oldest Redis whose scripts obey the rights of who calls them.
const OLDEST: u32 = 7;
/// More of its memory in use than so many percent is too much.
const FULL: u64 = 90;

/// What is needed of it.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) address: String,
    pub(super) server: Section,
    replication: Section,
    persistence: Section,
    memory: Section,
}

impl Facts {
    pub(super) async fn read(link: &mut Link) -> Result<Self, Trouble> {
        Ok(Self {
            address: link.client.get_connection_info().addr().to_string(),
            server: section(link, "server").await?,
            replication: section(link, "replication").await?,
            persistence: section(link, "persistence").await?,
            memory: section(link, "memory").await?,
        })
    }
}

fn text<'a>(section: &'a Section, name: &str) -> &'a str {
    section.get(name).map_or("", String::as_str)
}

fn number(section: &Section, name: &str) -> u64 {
    text(section, name).parse().unwrap_or_default()
}

/// `Redis 7.0.15` or `Valkey 8.1.1`.
pub(super) fn version(server: &Section) -> String {
    match text(server, "valkey_version") {
        "" => format!("Redis {}", text(server, "redis_version")),
        version => format!("Valkey {version}"),
    }
}

/// How many replicas follow and are not behind a transfer.
pub(super) fn online(replication: &Section) -> u32 {
    let slaves = replication.iter().filter(|(name, _)| {
        name.strip_prefix("slave").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let online = slaves.filter(|(_, about)| about.split(',').any(|part| part == "state=online")).count();
    u32::try_from(online).unwrap_or(u32::MAX)
}

pub(super) fn identity(facts: &Facts, report: &mut Report) {
    let major = text(&facts.server, "redis_version").split('.').next().unwrap_or_default().parse::<u32>();
    let seen =
        format!("{} at {}, run {}", version(&facts.server), facts.address, text(&facts.server, "run_id"));
    match major {
        Ok(major) if major >= OLDEST => report.ok("server", seen),
        _ => report.say(Mark::Fail, "server", seen, "use Redis 7.0 or newer, or Valkey"),
    }
}

pub(super) fn encryption(settings: &Settings, report: &mut Report) {
    let local = |host: &str| matches!(host, "localhost" | "::1") || host.starts_with("127.");
    let addresses = match &settings.place {
        Place::Single(address) => std::slice::from_ref(address),
        Place::Sentinel { sentinels, .. } => sentinels,
        Place::Cluster(nodes) => nodes,
    };
    match &settings.tls {
        Some(files) if files.client.is_some() => report.ok("tls", "on, with a certificate of ours"),
        Some(_) => report.ok("tls", "on"),
        None if addresses.iter().all(|address| local(&address.host)) => {
            report.ok("tls", "off, on the loopback address");
        }
        None => report.say(
            Mark::Warn,
            "tls",
            "off: who is on the way reads the password, and changes what is answered",
            "set `tls.ca`, and a tls-port on the server",
        ),
    }
}

pub(super) fn replicas(settings: &Settings, facts: &Facts, report: &mut Report) {
    let online = online(&facts.replication);
    let seen = format!("{online} online");
    match settings.durability {
        Durability::Standard { replicas: 0 } => {
            report.ok("replicas", format!("{seen}; an acknowledgement waits for none (`standard`)"));
        }
        Durability::Durable { replicas } | Durability::Standard { replicas } if online < replicas => report
            .say(
                Mark::Fail,
                "replicas",
                format!("{seen}, {replicas} have to confirm (`replicas`)"),
                "bring the others back: redis-cli INFO replication shows who follows",
            ),
        Durability::Durable { replicas } | Durability::Standard { replicas } if online > replicas => report
            .say(
                Mark::Warn,
                "replicas",
                format!("{seen}, only {replicas} have to confirm: one that lacks an end could be promoted"),
                format!("set `replicas = {online}`, or give the others replica-priority 0"),
            ),
        Durability::Durable { .. } => report.ok("replicas", format!("{seen}, all have to confirm")),
        Durability::Standard { .. } => report.ok("replicas", format!("{seen}, all have to confirm an end")),
    }
}

pub(super) fn persistence(settings: &Settings, facts: &Facts, report: &mut Report) {
    let bad = match settings.durability {
        Durability::Durable { .. } => Mark::Fail,
        Durability::Standard { .. } => Mark::Warn,
    };
    let section = &facts.persistence;
    let status = |name: &str| text(section, name);
    if status("aof_enabled") != "1" {
        report.say(
            bad,
            "aof",
            "off: a restart of the server forgets what was acknowledged",
            "appendonly yes in redis.conf; now: redis-cli CONFIG SET appendonly yes",
        );
    } else if status("aof_last_write_status") != "ok" {
        let seen = format!("on, but its last write: {}", status("aof_last_write_status"));
        report.say(Mark::Fail, "aof", seen, "make room on the server's disk, and see its log");
    } else if status("aof_last_bgrewrite_status") != "ok" {
        let seen = format!("on, but its last rewrite: {}", status("aof_last_bgrewrite_status"));
        report.say(Mark::Warn, "aof", seen, "make room on the server's disk, and see its log");
    } else {
        report.ok("aof", "on, its last write went well");
    }
}

/// `configured`: what the server has set, which a user with the rights of a broker does not see.
pub(super) fn fsync(configured: Option<&str>, report: &mut Report) {
    const FIX: &str = "an administrator looks: redis-cli CONFIG GET appendfsync; it should say always";
    match configured {
        None => report.say(Mark::Look, "fsync", "not visible to this user", FIX),
        Some("always") => report.ok("fsync", "always"),
        Some(other) => {
            let seen = format!("{other}: what was acknowledged just before a loss of power is lost");
            report.say(Mark::Warn, "fsync", seen, "appendfsync always in redis.conf");
        }
    }
}

pub(super) fn eviction(settings: &Settings, facts: &Facts, report: &mut Report) {
    const FIX: &str =
        "maxmemory-policy noeviction in redis.conf; now: redis-cli CONFIG SET maxmemory-policy noeviction";
    let policy = text(&facts.memory, "maxmemory_policy");
    let (used, limit) = (number(&facts.memory, "used_memory"), number(&facts.memory, "maxmemory"));
    // Our keys do not expire, so a policy that takes only such spares them.
    let spares =
        policy.starts_with("volatile-") && matches!(settings.durability, Durability::Standard { .. });
    let percent = used.saturating_mul(100).checked_div(limit).unwrap_or_default();
    let seen = match limit {
        0 => format!("{policy}, {} MiB in use, no limit", used >> 20),
        _ => format!("{policy}, {} of {} MiB in use", used >> 20, limit >> 20),
    };
    match policy {
        "noeviction" if percent >= FULL => {
            let fix = "raise maxmemory: when it is used up, nothing is issued and nothing is ended";
            report.say(Mark::Warn, "eviction", seen, fix);
        }
        "noeviction" => report.ok("eviction", seen),
        _ if spares => report.say(Mark::Warn, "eviction", seen, FIX),
        _ => report.say(Mark::Fail, "eviction", format!("{seen}: ends could be evicted"), FIX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Address, TlsFiles};
    use std::time::Duration;

    fn section(pairs: &[(&str, &str)]) -> Section {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn settings(durability: Durability) -> Settings {
        Settings {
            place: Place::Single(Address { host: "redis.acme.test".to_owned(), port: 6379 }),
            ledger: "taskpass".to_owned(),
            account: None,
            sentinel_account: None,
            tls: None,
            durability,
            patience: Duration::from_millis(500),
        }
    }

    const DURABLE: Durability = Durability::Durable { replicas: 2 };

    fn mark(look: impl FnOnce(&mut Report)) -> Mark {
        let mut report = Report::default();
        look(&mut report);
        let [line] = report.lines.as_slice() else { panic!("{report:?}") };
        assert_eq!(
            line.fix.is_empty(),
            line.mark == Mark::Ok,
            "a line that is not ok says what to do: {line:?}"
        );
        line.mark
    }

    #[test]
    fn an_old_server_fails() {
        for (pairs, expected) in [
            (&[("redis_version", "6.2.14")][..], Mark::Fail),
            (&[("redis_version", "7.0.15")], Mark::Ok),
            (&[("redis_version", "7.2.4"), ("valkey_version", "9.1.2")], Mark::Ok),
            (&[("redis_version", "10.0.0")], Mark::Ok),
            (&[("redis_version", "")], Mark::Fail),
            (&[], Mark::Fail),
        ] {
            let facts = Facts { server: section(pairs), ..Facts::default() };
            assert_eq!(mark(|report| identity(&facts, report)), expected, "{pairs:?}");
        }
    }

    #[test]
    fn only_replicas_that_follow_count() {
        let online = "ip=10.0.0.2,port=6379,state=online,offset=1,lag=0";
        let behind = "ip=10.0.0.3,port=6379,state=wait_bgsave,offset=0,lag=0";
        for (pairs, durability, expected) in [
            (&[("slave0", online), ("slave1", online)][..], DURABLE, Mark::Ok),
            (&[("slave0", online), ("slave1", behind)], DURABLE, Mark::Fail),
            (&[("slave_read_only", online), ("slave0", online)], DURABLE, Mark::Fail),
            (&[("slave0", online), ("slave1", online), ("slave2", online)], DURABLE, Mark::Warn),
            (&[], Durability::Standard { replicas: 0 }, Mark::Ok),
        ] {
            let facts = Facts { replication: section(pairs), ..Facts::default() };
            assert_eq!(mark(|report| replicas(&settings(durability), &facts, report)), expected, "{pairs:?}");
        }
    }

    #[test]
    fn a_file_that_forgets_fails_only_whoever_promised_more() {
        let well = [("aof_last_write_status", "ok"), ("aof_last_bgrewrite_status", "ok")];
        let with = |pairs: &[(&str, &str)]| section(&[&well[..], pairs].concat());
        for (pairs, durability, expected) in [
            (&[("aof_enabled", "1")][..], DURABLE, Mark::Ok),
            (&[("aof_enabled", "0")], DURABLE, Mark::Fail),
            (&[("aof_enabled", "0")], Durability::Standard { replicas: 0 }, Mark::Warn),
            (
                &[("aof_enabled", "1"), ("aof_last_write_status", "err")],
                Durability::Standard { replicas: 0 },
                Mark::Fail,
            ),
            (&[("aof_enabled", "1"), ("aof_last_bgrewrite_status", "err")], DURABLE, Mark::Warn),
            (&[], DURABLE, Mark::Fail),
        ] {
            let facts = Facts { persistence: with(pairs), ..Facts::default() };
            let found = mark(|report| persistence(&settings(durability), &facts, report));
            assert_eq!(found, expected, "{pairs:?}");
        }
    }

    #[test]
    fn what_may_be_evicted_may_be_forgotten() {
        for (policy, used, limit, durability, expected) in [
            ("noeviction", "1", "0", DURABLE, Mark::Ok),
            ("noeviction", "95", "100", DURABLE, Mark::Warn),
            ("allkeys-lru", "1", "0", Durability::Standard { replicas: 0 }, Mark::Fail),
            ("volatile-ttl", "1", "0", Durability::Standard { replicas: 0 }, Mark::Warn),
            ("volatile-ttl", "1", "0", DURABLE, Mark::Fail),
            ("", "", "", DURABLE, Mark::Fail),
        ] {
            let pairs = [("maxmemory_policy", policy), ("used_memory", used), ("maxmemory", limit)];
            let facts = Facts { memory: section(&pairs), ..Facts::default() };
            let found = mark(|report| eviction(&settings(durability), &facts, report));
            assert_eq!(found, expected, "{policy} {used}/{limit}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_said_to_be_unseen() {
        for (configured, expected) in
            [(None, Mark::Look), (Some("always"), Mark::Ok), (Some("everysec"), Mark::Warn)]
        {
            assert_eq!(mark(|report| fsync(configured, report)), expected, "{configured:?}");
        }
    }

    #[test]
    fn only_the_loopback_address_is_fine_in_the_clear() {
        let mut settings = settings(DURABLE);
        assert_eq!(mark(|report| encryption(&settings, report)), Mark::Warn);
        settings.tls = Some(TlsFiles { ca: "ca.pem".into(), client: None });
        assert_eq!(mark(|report| encryption(&settings, report)), Mark::Ok);
        settings.tls = None;
        settings.place = Place::Single(Address { host: "127.0.0.1".to_owned(), port: 1 });
        assert_eq!(mark(|report| encryption(&settings, report)), Mark::Ok);
    }
}
