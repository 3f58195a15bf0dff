//! Counts connections, in all and by source, and says no in time.

use crate::Limits;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

/// Whom a connection is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    Ip(IpAddr),
    User(u32),
}

impl Source {
    /// One IPv4 address, or the /64 of an IPv6 address: whoever has one address of it usually has them all.
    pub(crate) fn of_ip(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V6(v6) => Self::Ip(IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)))),
            v4 => Self::Ip(v4),
        }
    }
}

/// Why a connection is not let in; the word is the metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Connections,
    ConnectionsPerSource,
    HandshakesPerSource,
}

impl Full {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerSource => "connections_per_source",
            Self::HandshakesPerSource => "handshakes_per_source",
        }
    }
}

/// The counts of all listeners of one acceptor. It has at most as many entries as there are connections.
#[derive(Default)]
pub(crate) struct Admission(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    connections: usize,
    sources: HashMap<Source, Count>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    connections: usize,
    handshakes: usize,
}

impl Admission {
    /// Takes a place for a connection that begins its handshake.
    pub(crate) fn admit(self: &Arc<Self>, source: Source, limits: &Limits) -> Result<Place, Full> {
        let mut counts = self.0.lock();
        let count = counts.sources.get(&source).copied().unwrap_or_default();
        if counts.connections >= limits.connections {
            return Err(Full::Connections);
        }
        if count.connections >= limits.connections_per_source {
            return Err(Full::ConnectionsPerSource);
        }
        if count.handshakes >= limits.handshakes_per_source {
            return Err(Full::HandshakesPerSource);
        }
        counts.connections += 1;
        let count = Count { connections: count.connections + 1, handshakes: count.handshakes + 1 };
        counts.sources.insert(source, count);
        Ok(Place { admission: self.clone(), source, in_handshake: true })
    }

    fn update(&self, source: Source, change: impl FnOnce(&mut Count)) {
        if let Entry::Occupied(mut entry) = self.0.lock().sources.entry(source) {
            change(entry.get_mut());
            if entry.get().connections == 0 {
                entry.remove();
            }
        }
    }
}

/// The place of one connection; given back when dropped.
pub(crate) struct Place {
    admission: Arc<Admission>,
    source: Source,
    in_handshake: bool,
}

impl Place {
    /// The handshake is over.
    pub(crate) fn establish(&mut self) {
        if std::mem::take(&mut self.in_handshake) {
            self.admission.update(self.source, |count| count.handshakes = count.handshakes.saturating_sub(1));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.establish();
        self.admission.update(self.source, |count| count.connections = count.connections.saturating_sub(1));
        let mut counts = self.admission.0.lock();
        counts.connections = counts.connections.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { connections: 3, connections_per_source: 2, handshakes_per_source: 1, ..Limits::default() }
    }

    #[test]
    fn each_limit_holds_and_places_come_back() {
        let (admission, limits) = (Arc::new(Admission::default()), limits());
        let (a, b) = (Source::User(1), Source::User(2));
        let mut first = admission.admit(a, &limits).unwrap();
        assert_eq!(admission.admit(a, &limits).err(), Some(Full::HandshakesPerSource));
        first.establish();
        let mut second = admission.admit(a, &limits).unwrap();
        second.establish();
        assert_eq!(admission.admit(a, &limits).err(), Some(Full::ConnectionsPerSource));
        let third = admission.admit(b, &limits).unwrap();
        assert_eq!(admission.admit(b, &limits).err(), Some(Full::Connections));
        drop((first, second, third));
        let counts = admission.0.lock();
        assert_eq!((counts.connections, counts.sources.len()), (0, 0));
    }

    #[test]
    fn sources_are_users_addresses_and_ipv6_networks() {
        let ip = |text: &str| Source::of_ip(text.parse().unwrap());
        assert_eq!(ip("2001:db8::1"), ip("2001:db8::ffff:1"));
        assert_ne!(ip("2001:db8::1"), ip("2001:db8:0:1::1"));
        assert_eq!(ip("::ffff:127.0.0.1"), ip("127.0.0.1"));
        assert_ne!(ip("127.0.0.2"), ip("127.0.0.1"));
    }
}
