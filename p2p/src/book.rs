//! Where members were reached before, remembered across restarts.
//!
//! The file is text: the line `warren addresses 1`, then for each address a line `NODE ADDRESS SECONDS`, the seconds since
//! 1970 when it last worked, 0 for one that was only heard of; of a node the best first. A line that makes no sense is
//! dropped: what is lost is found again.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::{Address, NodeId};

const HEADER: &str = "warren addresses 1";
/// Addresses kept per node, those that worked last; more than one node may tell of itself, or each telling would be news.
const PER_NODE_MAX: usize = 32;
/// The longest file read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The addresses of nodes, those that worked last first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Book {
    nodes: HashMap<NodeId, Vec<Entry>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    address: Address,
    /// Zero for one that was only heard of.
    worked_s: u64,
}

impl Book {
    /// Reads a book; none that can be read is an empty one.
    pub(crate) fn parse(text: &str) -> Self {
        let mut book = Self::default();
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return book;
        }
        // Noted last comes first, so the best, which the file has first, is noted last.
        for line in lines.rev() {
            let mut words = line.split(' ');
            let (node, address, worked) = (words.next(), words.next(), words.next());
            let node = node.and_then(|word| word.parse().ok());
            let address = address.and_then(|word| word.parse().ok());
            let worked = worked.and_then(|word| word.parse().ok());
            if let (Some(node), Some(address), Some(worked_s)) = (node, address, worked) {
                book.note(node, address, worked_s);
            }
        }
        book
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("{HEADER}\n");
        let mut nodes: Vec<_> = self.nodes.iter().collect();
        nodes.sort_by_key(|(node, _)| **node);
        for (node, entries) in nodes {
            for entry in entries {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{node} {} {}", entry.address, entry.worked_s);
            }
        }
        text
    }

    /// Notes that `node` was reached there. Says whether that is news worth keeping.
    pub(crate) fn worked(&mut self, node: NodeId, address: Address, now_s: u64) -> bool {
        let before = self.nodes.get(&node).and_then(|entries| entries.first());
        // What worked last comes first, also where the clock was ahead when another did.
        let last_s = match before {
            Some(entry) if entry.address != address => entry.worked_s.saturating_add(1),
            _ => 1,
        };
        self.note(node, address, now_s.max(last_s))
    }

    /// Notes that `node` is said to be there. Says whether that is news worth keeping.
    pub(crate) fn heard(&mut self, node: NodeId, address: Address) -> bool {
        self.note(node, address, 0)
    }

    fn note(&mut self, node: NodeId, address: Address, worked_s: u64) -> bool {
        let entries = self.nodes.entry(node).or_default();
        let known = entries.iter_mut().find(|entry| entry.address == address);
        let news = match known {
            Some(entry) => {
                let first = entry.worked_s == 0 && worked_s > 0;
                entry.worked_s = entry.worked_s.max(worked_s);
                first
            }
            None => {
                entries.insert(0, Entry { address, worked_s });
                true
            }
        };
        // The sort is stable: of those only heard of, the newest stays first, and the oldest goes.
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.worked_s));
        entries.truncate(PER_NODE_MAX);
        news
    }

    /// Where to look for a node, the best first.
    pub(crate) fn of(&self, node: &NodeId) -> Vec<Address> {
        let entries = self.nodes.get(node).into_iter().flatten();
        entries.map(|entry| entry.address.clone()).collect()
    }

    pub(crate) fn keep_only(&mut self, nodes: &HashSet<NodeId>) {
        self.nodes.retain(|node, _| nodes.contains(node));
    }
}

/// Reads the book kept at `path`. Losing it costs time, not data, so whatever is wrong with it makes it an empty one.
pub(crate) fn load(path: &Path) -> Book {
    let small = |file: &fs::Metadata| file.len() <= FILE_BYTES_MAX;
    let text = fs::metadata(path)
        .ok()
        .filter(small)
        .and_then(|_| fs::read_to_string(path).ok());
    text.map(|text| Book::parse(&text)).unwrap_or_default()
}

/// Keeps a book, whole or not at all.
pub(crate) fn keep(path: &Path, text: &str) -> io::Result<()> {
    let partial = path.with_extension("partial");
    fs::write(&partial, text)?;
    File::open(&partial)?.sync_all()?;
    fs::rename(&partial, path)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    use super::*;
    use crate::address::tests::any_address;

    fn node(seed: u8) -> NodeId {
        NodeId::of(&SigningKey::from_bytes(&[seed; 32]).verifying_key())
    }

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_format_stays_readable() {
        let text = include_str!("../fixtures/addresses-1");
        let book = Book::parse(text);
        assert_eq!(
            book.of(&node(2)),
            [address("203.0.113.7:4001"), address("[2001:db8::7]:4001")]
        );
        assert_eq!(book.text(), text);
    }

    #[test]
    fn an_address_that_worked_comes_before_one_that_was_heard_of() {
        let mut book = Book::default();
        book.heard(node(1), address("203.0.113.1:1"));
        assert!(book.worked(node(1), address("203.0.113.2:1"), 100));
        assert!(!book.worked(node(1), address("203.0.113.2:1"), 200));
        assert!(book.worked(node(1), address("203.0.113.1:1"), 300));
        assert_eq!(
            book.of(&node(1)),
            [address("203.0.113.1:1"), address("203.0.113.2:1")]
        );
    }

    #[test]
    fn what_worked_last_comes_first_although_the_clock_was_put_right() {
        let mut book = Book::default();
        book.worked(node(1), address("203.0.113.1:1"), 100 + 86_400);
        book.worked(node(1), address("203.0.113.2:1"), 100);
        assert_eq!(book.of(&node(1))[0], address("203.0.113.2:1"));
    }

    #[test]
    fn a_flood_of_hearsay_does_not_push_out_what_worked() {
        let mut book = Book::default();
        book.worked(node(1), address("203.0.113.1:1"), 1);
        for port in 0..1000 {
            book.heard(node(1), Address::new([198, 51, 100, 1].into(), port));
        }
        assert_eq!(book.of(&node(1)).len(), PER_NODE_MAX);
        assert_eq!(book.of(&node(1))[0], address("203.0.113.1:1"));
    }

    #[test]
    fn a_damaged_book_is_read_as_far_as_it_makes_sense() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("addresses");
        assert_eq!(load(&path), Book::default());
        let whole = include_str!("../fixtures/addresses-1");
        keep(&path, &format!("{whole}nonsense\n")).unwrap();
        assert_eq!(load(&path), Book::parse(whole));
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert_eq!(load(&path), Book::default());
    }

    proptest! {
        #[test]
        fn a_book_survives_being_kept(
            entries in proptest::collection::vec((1_u8..5, any_address(), 1_u64..1 << 40), 0..30)
        ) {
            let mut book = Book::default();
            for (seed, address, worked_s) in entries {
                book.worked(node(seed), address, worked_s);
            }
            prop_assert_eq!(Book::parse(&book.text()), book);
        }

        #[test]
        fn any_text_is_read_without_harm(text: String) {
            drop(Book::parse(&format!("{HEADER}\n{text}")));
        }
    }
}
