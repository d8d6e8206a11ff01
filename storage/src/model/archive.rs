//! Versions of a key that stand in rows of their own, so that a key may have many more than a row has room for, while each
//! write of it changes a small row.
//!
//! The object's row has the newest versions and the one called `null`; older ones are moved, oldest first, into an archive, which
//! is written once and never changed. To change or remove one of its versions, the archive is moved back first. So whatever
//! decides about versions looks at those in the object's row alone, and refuses, without a change, where it would have to look at
//! others. Archives of one key do not overlap in time: each version is in the one that its id names.

use serde::{Deserialize, Serialize};

use super::{ArchiveId, ObjectRow, SealedVersion, Timestamp, Usage, VersionId};

/// Bytes that the versions in an archive take together at most, about; one alone may take more.
const ARCHIVE_BYTES: usize = 256 << 10;
/// Bytes of a version besides its details, about.
const FACTS_BYTES: usize = 200;
/// Bytes of each write that a version names.
const EXTENT_BYTES: usize = 17;

/// When versions are moved out of an object's row.
#[derive(Clone, Copy, Debug)]
pub struct Folding {
    /// Once those in it take so many bytes.
    pub at: usize,
    /// Then so many bytes of the newest stay.
    pub keep: usize,
}

impl Folding {
    /// That of the product: versions of small objects take 600 bytes to 5 KB each.
    pub const PRODUCT: Self = Self {
        at: 128 << 10,
        keep: 32 << 10,
    };
}

/// What an object's row knows of versions that are not in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archived {
    /// The row in which they are.
    pub id: ArchiveId,
    /// When the newest of them was made.
    pub newest: Timestamp,
    /// When the oldest of them was made.
    pub oldest: Timestamp,
    /// What they hold.
    pub usage: Usage,
}

impl Archived {
    fn of(id: ArchiveId, versions: &[SealedVersion]) -> Option<Self> {
        let (newest, oldest) = (versions.first()?, versions.last()?);
        Some(Self {
            id,
            newest: newest.facts.modified,
            oldest: oldest.facts.modified,
            usage: usage(versions),
        })
    }
}

/// The row of an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveRow {
    /// Newest first; at least one, none called `null`.
    pub versions: Vec<SealedVersion>,
}

/// What versions hold.
pub(super) fn usage(versions: &[SealedVersion]) -> Usage {
    let versions = versions.iter().map(|version| &version.facts);
    versions.fold(Usage::default(), |held, facts| {
        held.plus(Usage {
            bytes: facts.size,
            objects: u64::from(!facts.delete_marker),
        })
    })
}

impl ObjectRow {
    /// Whether versions are to be moved out of it before there are more.
    pub(crate) fn is_crowded(&self, folding: &Folding) -> bool {
        // Most keys have one version, and are not measured.
        self.versions.len() > 1
            && self.versions.iter().map(bytes).sum::<usize>() > folding.at
            && !self.foldable(folding).is_empty()
    }

    /// Moves the oldest versions out of it, if they take more room than they may: what becomes of them is to be written before
    /// the row.
    pub(crate) fn fold(&mut self, id: ArchiveId, folding: &Folding) -> Option<ArchiveRow> {
        if !self.is_crowded(folding) {
            return None;
        }
        let mut versions: Vec<_> = self
            .foldable(folding)
            .into_iter()
            .map(|place| self.versions.remove(place))
            .collect();
        versions.reverse();
        let archived = Archived::of(id, &versions)?;
        let place = self
            .archived
            .partition_point(|other| other.newest > archived.newest);
        self.archived.insert(place, archived);
        Some(ArchiveRow { versions })
    }

    /// Takes back what was moved out of it; the row of the archive counts for nothing from then on.
    pub(crate) fn unfold(&mut self, id: ArchiveId, archive: ArchiveRow) {
        self.join(id, archive);
        self.left.push(id);
    }

    /// Looks at the versions of an archive as if they were in it.
    pub(crate) fn join(&mut self, id: ArchiveId, archive: ArchiveRow) {
        self.archived.retain(|archived| archived.id != id);
        self.versions.extend(archive.versions);
        self.versions
            .sort_by_key(|version| std::cmp::Reverse(version.facts.modified));
    }

    /// The archive in which a version is, if there is one of that id.
    pub(crate) fn archive_of(&self, version: VersionId) -> Option<&Archived> {
        let made = version.made()?;
        if self.version(version).is_some() {
            return None;
        }
        let mut archived = self.archived.iter();
        archived.find(|archived| (archived.oldest..=archived.newest).contains(&made))
    }

    /// The archive with versions that are newer than all in it: they come first.
    pub(crate) fn archive_in_front(&self) -> Option<&Archived> {
        let current = self.current().map(|current| current.facts.modified);
        let newest = self.archived.first()?;
        current
            .is_none_or(|current| current < newest.newest)
            .then_some(newest)
    }

    /// The places of versions to be moved out, oldest first: those behind the newest, up to the next archive.
    fn foldable(&self, folding: &Folding) -> Vec<usize> {
        let mut kept = 0;
        let is_beyond = |version: &SealedVersion| {
            kept += bytes(version);
            kept > folding.keep
        };
        let stay = self.versions.iter().position(is_beyond);
        // The current one stays, however large.
        let stay = stay.unwrap_or(self.versions.len()).max(1);
        let mut places = Vec::new();
        let (mut moved, mut before) = (0, None);
        for place in (stay..self.versions.len()).rev() {
            let version = &self.versions[place];
            let made = version.facts.modified;
            if version.facts.id == VersionId::Null {
                continue;
            }
            moved += bytes(version);
            let between = |archived: &Archived| {
                before.is_some_and(|before| archived.newest > before) && archived.newest < made
            };
            if !places.is_empty() && (moved > ARCHIVE_BYTES || self.archived.iter().any(between)) {
                break;
            }
            before = Some(made);
            places.push(place);
        }
        places
    }
}

/// Bytes of a version in a row, about.
fn bytes(version: &SealedVersion) -> usize {
    FACTS_BYTES + version.details.len() + EXTENT_BYTES * version.extents.len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{VersionFacts, WriteId};

    fn version(millis: u64, is_null: bool, details: usize) -> SealedVersion {
        let modified = Timestamp::from_millis(millis);
        let write = WriteId::from_bytes([1; 16]);
        let id = match is_null {
            true => VersionId::Null,
            false => VersionId::new(modified, write),
        };
        SealedVersion {
            facts: VersionFacts {
                id,
                modified,
                size: millis,
                ..VersionFacts::marker_for_tests()
            },
            write,
            extents: Vec::new(),
            invocation: None,
            details: vec![0; details].into(),
        }
    }

    fn id(number: usize) -> ArchiveId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        ArchiveId::from_bytes(bytes)
    }

    proptest! {
        #[test]
        fn versions_move_out_and_back_in_any_order_and_none_is_lost_or_hidden(
            sizes in prop::collection::vec(0_usize..2000, 1..40),
            null in prop::option::of(0_usize..40),
            moves in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..30),
        ) {
            let folding = Folding { at: 4000, keep: 1500 };
            let count = sizes.len();
            let versions = sizes.into_iter().enumerate().map(|(place, size)| {
                version((count - place) as u64, null == Some(place), size)
            });
            let all = ObjectRow { versions: versions.collect(), ..ObjectRow::default() };
            let mut row = all.clone();
            let mut rows = std::collections::BTreeMap::new();
            for (number, (out, which)) in moves.into_iter().enumerate() {
                if out {
                    let is_crowded = row.is_crowded(&folding);
                    let folded = row.fold(id(number), &folding);
                    prop_assert_eq!(folded.is_some(), is_crowded);
                    rows.extend(folded.map(|archive| (id(number), archive)));
                } else if !row.archived.is_empty() {
                    let which = row.archived[which.index(row.archived.len())].id;
                    row.unfold(which, rows.remove(&which).unwrap());
                    prop_assert_eq!(row.left.pop(), Some(which));
                }
                prop_assert!(row.archive_in_front().is_none());
                prop_assert_eq!(row.usage(), all.usage());
                prop_assert_eq!(row.current(), all.current());
                prop_assert_eq!(row.version(VersionId::Null), all.version(VersionId::Null));
                prop_assert!(row.versions.is_sorted_by(|newer, older| newer.facts.modified > older.facts.modified));
                prop_assert!(row.archived.is_sorted_by(|newer, older| newer.oldest > older.newest));
                for version in &all.versions {
                    let archive = row.archive_of(version.facts.id).map(|archived| archived.id);
                    let is_here = row.versions.contains(version);
                    prop_assert_eq!(archive.is_none(), is_here);
                    prop_assert!(archive.is_none_or(|archive| rows[&archive].versions.contains(version)));
                }
                let mut joined = row.clone();
                for (id, archive) in &rows {
                    joined.join(*id, archive.clone());
                }
                prop_assert_eq!(&joined.versions, &all.versions);
            }
        }
    }

    #[test]
    fn a_row_that_is_not_crowded_and_one_with_one_large_version_stay_as_they_are() {
        let folding = Folding { at: 4000, keep: 1500 };
        let small = (1..10).rev().map(|millis| version(millis, false, 100));
        let mut row = ObjectRow {
            versions: small.collect(),
            ..ObjectRow::default()
        };
        assert_eq!(row.fold(id(1), &folding), None);
        row.versions.insert(0, version(20, false, 10_000));
        row.versions.truncate(1);
        assert!(!row.is_crowded(&folding));
        // The next one finds it crowded, and can have it moved.
        row.versions.insert(0, version(21, false, 100));
        let archive = row.fold(id(1), &folding).unwrap();
        assert_eq!((row.versions.len(), archive.versions.len()), (1, 1));
        assert_eq!(Bytes::from(vec![0; 10_000]), archive.versions[0].details);
    }
}
