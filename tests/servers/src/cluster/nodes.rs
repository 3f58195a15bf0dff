//! `CLUSTER NODES`: how one node sees the Cluster.

use std::ops::RangeInclusive;

/// A node, as another or it itself sees it.
pub(super) struct Node {
    pub(super) id: String,
    pub(super) port: u16,
    pub(super) joined: bool,
    /// The identifier of its primary; `None` when it is one.
    pub(super) primary: Option<String>,
    slots: Vec<RangeInclusive<u16>>,
}

impl Node {
    pub(super) fn owns(&self, slot: u16) -> bool {
        self.slots.iter().any(|range| range.contains(&slot))
    }
}

pub(super) fn parse(text: &str) -> Vec<Node> {
    text.lines()
        .map(|line| node(line).unwrap_or_else(|| panic!("not a line of CLUSTER NODES: `{line}`")))
        .collect()
}

/// `<id> <ip:port@cport,hostname> <flags> <primary> <ping> <pong> <epoch> <link> <slot> ...`
fn node(line: &str) -> Option<Node> {
    let mut words = line.split(' ');
    let id = words.next()?.to_owned();
    let address = words.next()?.split('@').next()?;
    let port = address.rsplit(':').next()?.parse().ok()?;
    let flags = words.next()?;
    let joined = flags.split(',').all(|flag| flag != "handshake" && flag != "noaddr");
    let primary = words.next().filter(|primary| *primary != "-").map(str::to_owned);
    // Slots that are being moved are in brackets, besides their owner's range.
    let slots = words.skip(4).filter(|word| !word.starts_with('[') && !word.is_empty());
    Some(Node { id, port, joined, primary, slots: slots.map(range).collect::<Option<_>>()? })
}

fn range(word: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some(first.parse().ok()?..=last.parse().ok()?)
}
