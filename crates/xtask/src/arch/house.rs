//! The plan of the house: who lives on which floor, and what is kept out.
//!
//! A package uses only packages of lower floors. A new crate needs a line here: that is the moment to say where it
//! belongs.

/// What all our packages begin with, except this one.
pub(super) const PREFIX: &str = "taskpass-";

/// Longer files are split by noun.
pub(super) const MAX_LINES: usize = 500;

/// Longer files that are right as they are: path from the workspace's root, and why.
pub(super) const LONG_FILES: &[(&str, &str)] = &[];

/// Where a package lives.
pub(super) struct Room {
    /// Without [`PREFIX`].
    pub(super) name: &'static str,
    pub(super) floor: u8,
    /// The only packages of ours that it may use; `None`: all of the lower floors.
    pub(super) only: Option<&'static [&'static str]>,
    /// Whether it connects a port to the world. No adapter knows another.
    pub(super) adapter: bool,
    /// Foreign crates, and all whose names begin with one of these and a hyphen, that it must not use directly.
    pub(super) without: &'static [&'static str],
}

/// Decisions know neither the wire nor a database.
const PURE: &[&str] = &["fred", "redis", "rustls", "tonic"];

const fn room(name: &'static str, floor: u8) -> Room {
    Room { name, floor, only: None, adapter: false, without: &[] }
}
const fn adapter(name: &'static str, floor: u8) -> Room {
    Room { adapter: true, ..room(name, floor) }
}
const fn pure(name: &'static str, floor: u8) -> Room {
    Room { without: PURE, ..room(name, floor) }
}
const fn only(room: Room, only: &'static [&'static str]) -> Room {
    Room { only: Some(only), ..room }
}

/// Every package.
pub(super) const ROOMS: &[Room] = &[
    pure("types", 0),
    room("proto", 0),
    only(room("servers", 0), &[]),
    pure("lease", 1),
    pure("policy", 1),
    room("crypto", 1),
    room("attest", 2),
    room("audit", 2),
    room("store", 2),
    room("issue", 3),
    adapter("net", 3),
    adapter("store-redb", 3),
    adapter("store-redis", 3),
    only(pure("broker", 4), &["types", "lease", "policy", "crypto", "attest", "audit", "issue", "store"]),
    only(room("client", 4), &["types", "proto"]),
    only(room("verify", 4), &["types", "crypto", "proto"]),
    room("api", 5),
    only(room("guard", 5), &["types", "verify"]),
    room("cli", 6),
    room("bench", 7),
    room("e2e", 7),
    only(room("xtask", 7), &[]),
];

/// The room of a package, by its full name.
pub(super) fn find<'a>(rooms: &'a [Room], package: &str) -> Option<&'a Room> {
    let name = short(package);
    rooms.iter().find(|room| room.name == name)
}

/// A package's name as we speak it.
pub(super) fn short(package: &str) -> &str {
    package.strip_prefix(PREFIX).unwrap_or(package)
}
