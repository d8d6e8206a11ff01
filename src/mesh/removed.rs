//! Remembers which boxes were members and are none, so that they can be told when they are back.
//!
//! The file is text: the line `warren removed 1`, then for each box a line `NODE NUMBER SECONDS`: the number it had, and the
//! seconds since 1970 when it was found gone. A line that makes no sense is dropped: that box is told nothing, as others are.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use p2p::{NodeId, Removed};

use super::wire::Roster;

const HEADER: &str = "warren removed 1";
/// Boxes remembered, those that went last; a mesh has far fewer.
const REMEMBERED_MAX: usize = 256;
/// The longest file read, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The boxes that are members no longer.
#[derive(Debug, Default)]
pub(super) struct Former {
    path: PathBuf,
    gone: BTreeMap<NodeId, Removed>,
}

impl Former {
    /// Reads what is kept in this folder; what cannot be read is nothing.
    pub(super) fn load(folder: &Path) -> Self {
        let path = folder.join("removed");
        let is_small = fs::metadata(&path).is_ok_and(|file| file.len() <= FILE_BYTES_MAX);
        let text = is_small.then(|| fs::read_to_string(&path).ok()).flatten();
        Self {
            path,
            gone: text.map(|text| parse(&text)).unwrap_or_default(),
        }
    }

    /// Notes who was in one roster and is not in the one that follows it; says whether that is news. A box that joined anew
    /// was not removed.
    pub(super) fn note(&mut self, before: &Roster, after: &Roster, now_s: u64) -> bool {
        let known = self.gone.len();
        self.gone.retain(|node, _| after.member(node).is_none());
        let mut is_news = self.gone.len() < known;
        for node in before.nodes() {
            if let (Some(member), None) = (before.member(&node), after.member(&node)) {
                let removed = Removed {
                    node,
                    number: member.0.into(),
                    removed_s: now_s,
                };
                is_news |= self.gone.insert(node, removed).is_none();
            }
        }
        while self.gone.len() > REMEMBERED_MAX {
            let oldest = self.gone.values().min_by_key(|removed| removed.removed_s);
            let Some(oldest) = oldest.map(|removed| removed.node) else {
                break;
            };
            self.gone.remove(&oldest);
        }
        is_news
    }

    pub(super) fn all(&self) -> Vec<Removed> {
        self.gone.values().copied().collect()
    }

    /// What is to be kept, and where.
    pub(super) fn kept(&self) -> (PathBuf, String) {
        let mut text = format!("{HEADER}\n");
        for Removed {
            node,
            number,
            removed_s,
        } in self.gone.values()
        {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{node} {number} {removed_s}");
        }
        (self.path.clone(), text)
    }
}

/// Keeps a text, whole or not at all. Losing it in a crash costs an explanation, nothing else.
pub(super) fn keep(path: &Path, text: &str) -> io::Result<()> {
    let partial = path.with_extension("partial");
    fs::write(&partial, text)?;
    fs::rename(&partial, path)
}

fn parse(text: &str) -> BTreeMap<NodeId, Removed> {
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return BTreeMap::new();
    }
    let read = |line: &str| {
        let mut words = line.split(' ');
        let removed = Removed {
            node: words.next()?.parse().ok()?,
            number: words.next()?.parse().ok()?,
            removed_s: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some((removed.node, removed))
    };
    lines.filter_map(read).take(REMEMBERED_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn node(folder: &Path, name: &str) -> NodeId {
        let identity = p2p::Identity::load_or_create(&folder.join(name));
        identity.unwrap().node_id()
    }

    #[test]
    fn who_is_gone_is_remembered_until_it_joins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (anna, ben) = (node(folder.path(), "anna"), node(folder.path(), "ben"));
        let roster = |rows: &[(u32, NodeId)]| {
            let rows = rows
                .iter()
                .map(|(number, node)| sample(*number, "box", node.as_bytes()));
            Roster::of(&rows.collect::<Vec<_>>())
        };
        let (both, one) = (roster(&[(1, anna), (2, ben)]), roster(&[(1, anna)]));
        let mut former = Former::load(folder.path());
        assert!(!former.note(&both, &both, 5));
        assert!(former.note(&both, &one, 5) && !former.note(&one, &one, 6));
        let removed = Removed {
            node: ben,
            number: 2,
            removed_s: 5,
        };
        assert_eq!(former.all(), [removed]);
        let (path, text) = former.kept();
        keep(&path, &text).unwrap();
        assert_eq!(text, format!("warren removed 1\n{ben} 2 5\n"));
        let mut read = Former::load(folder.path());
        assert_eq!(read.all(), [removed]);
        // Under another number in the same breath, and later.
        let anew = roster(&[(1, anna), (3, ben)]);
        assert!(!former.note(&both, &anew, 7) || former.all().is_empty());
        assert!(read.note(&one, &anew, 7) && read.all().is_empty());
    }

    #[test]
    fn a_file_that_makes_no_sense_remembers_nobody() {
        for text in [
            "",
            "warren removed 2\n",
            "warren removed 1\nx 1 2\n",
            "warren removed 1\n\n",
        ] {
            assert!(parse(text).is_empty(), "{text:?}");
        }
    }
}
