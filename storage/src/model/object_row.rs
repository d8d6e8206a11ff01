//! What writes and deletes do to the versions of one key.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    ETag, Keeping, ObjectRow, SealedVersion, StorageClass, Timestamp, VersionFacts, VersionId, Versioning,
    WriteCondition, WriteId, WriteRefusal,
};

/// A row after a change, and the versions the change displaced.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    /// The row to commit; without versions it is to be forgotten.
    pub(crate) row: ObjectRow,
    /// Versions nobody can read any more.
    pub(crate) displaced: Vec<SealedVersion>,
}

/// What a delete did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Removed {
    /// The change; `None` when there was nothing to remove.
    pub(crate) changed: Option<Changed>,
    /// The delete marker that was added, or the version that is gone, where versioning ever was on or a version was named.
    pub(crate) version: Option<VersionId>,
    /// Whether that is a delete marker.
    pub(crate) delete_marker: bool,
}

/// The delete marker that a delete leaves where versions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Which write makes it.
    pub write: WriteId,
    /// The clock of whoever submits it; moved on if the version before is as new.
    pub at: Timestamp,
}

impl Marker {
    /// A new one.
    pub fn new() -> Self {
        Self {
            // It stores nothing that a sweep could find.
            write: WriteId::after(0),
            at: Timestamp::now(),
        }
    }

    fn version(self) -> SealedVersion {
        SealedVersion {
            facts: VersionFacts {
                id: VersionId::Null,
                modified: self.at,
                size: 0,
                etag: ETag::Md5([0; 16]),
                class: StorageClass::Standard,
                checksum: None,
                delete_marker: true,
            },
            write: self.write,
            extents: Vec::new(),
            details: Bytes::new(),
        }
    }
}

impl Default for Marker {
    fn default() -> Self {
        Self::new()
    }
}

impl ObjectRow {
    /// Makes a version the current one. Where versions are not kept it replaces the one called `null`.
    ///
    /// # Errors
    /// The condition does not hold for the current version.
    pub(crate) fn put(
        mut self,
        new: SealedVersion,
        condition: &WriteCondition,
        keeping: &Keeping,
    ) -> Result<Changed, WriteRefusal> {
        condition.check(self.current().map(|current| &current.facts))?;
        let displaced = self.push(new, keeping.versioning);
        Ok(Changed { row: self, displaced })
    }

    /// Deletes the key: a marker hides its versions where they are kept, else its version goes.
    ///
    /// # Errors
    /// The condition does not hold for the current version.
    pub(crate) fn delete(
        mut self,
        marker: Marker,
        condition: &WriteCondition,
        keeping: &Keeping,
    ) -> Result<Removed, WriteRefusal> {
        condition.check(self.current().map(|current| &current.facts))?;
        if keeping.versioning.was_ever_on() {
            let displaced = self.push(marker.version(), keeping.versioning);
            return Ok(Removed {
                version: self.current().map(|marker| marker.facts.id),
                delete_marker: true,
                changed: Some(Changed { row: self, displaced }),
            });
        }
        let displaced: Vec<_> = self.versions.drain(..).collect();
        let is_there = !displaced.is_empty();
        Ok(Removed {
            changed: is_there.then_some(Changed { row: self, displaced }),
            version: None,
            delete_marker: false,
        })
    }

    /// Removes one version for good, or a marker.
    ///
    /// # Errors
    /// The condition does not hold for that version.
    pub(crate) fn remove(
        mut self,
        version: VersionId,
        condition: &WriteCondition,
    ) -> Result<Removed, WriteRefusal> {
        condition.check(self.version(version).map(|there| &there.facts))?;
        let displaced = self.take(version);
        let is_there = !displaced.is_empty();
        Ok(Removed {
            version: Some(version),
            delete_marker: displaced.iter().any(|gone| gone.facts.delete_marker),
            changed: is_there.then_some(Changed { row: self, displaced }),
        })
    }

    /// Puts a version in front, newer than the one before, and takes out what it replaces.
    fn push(&mut self, mut new: SealedVersion, versioning: Versioning) -> Vec<SealedVersion> {
        let before = self.current().map(|current| current.facts.modified);
        new.facts.modified = new.facts.modified.after(before);
        new.facts.id = match versioning {
            Versioning::Enabled => VersionId::new(new.facts.modified, new.write),
            Versioning::Off | Versioning::Suspended => VersionId::Null,
        };
        let displaced = self.take(new.facts.id);
        self.versions.insert(0, new);
        displaced
    }

    fn take(&mut self, id: VersionId) -> Vec<SealedVersion> {
        self.versions
            .extract_if(.., |version| version.facts.id == id)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NO_CONDITION: &WriteCondition = &WriteCondition::None;

    fn keeping(versioning: Versioning) -> Keeping {
        Keeping { versioning }
    }

    fn version(tag: u8, millis: u64) -> SealedVersion {
        let facts = VersionFacts {
            etag: ETag::Md5([tag; 16]),
            modified: Timestamp::from_millis(millis),
            delete_marker: false,
            ..VersionFacts::marker_for_tests()
        };
        SealedVersion {
            facts,
            write: WriteId::from_bytes([tag; 16]),
            extents: Vec::new(),
            details: Bytes::new(),
        }
    }

    fn marker(tag: u8, millis: u64) -> Marker {
        Marker {
            write: WriteId::from_bytes([tag; 16]),
            at: Timestamp::from_millis(millis),
        }
    }

    /// Does e.g. `on put 1 | suspended delete 2` one millisecond apart, and prints the versions, newest first: the byte
    /// of the write, `d` for a marker, `!` for one that is called `null`.
    fn after(steps: &str) -> String {
        let row = steps
            .split(" | ")
            .zip(1..)
            .fold(ObjectRow::default(), |row, (step, millis)| {
                let words: Vec<_> = step.split(' ').collect();
                let [mode, what, tag] = words[..] else {
                    panic!("{step}")
                };
                let keeping = keeping(match mode {
                    "off" => Versioning::Off,
                    "on" => Versioning::Enabled,
                    _ => Versioning::Suspended,
                });
                let tag = tag.parse().unwrap();
                if what == "put" {
                    return row.put(version(tag, millis), NO_CONDITION, &keeping).unwrap().row;
                }
                let kept = row.clone();
                let deleted = row.delete(marker(tag, millis), NO_CONDITION, &keeping);
                deleted.unwrap().changed.map_or(kept, |changed| changed.row)
            });
        shown(&row)
    }

    fn shown(row: &ObjectRow) -> String {
        let versions = row.versions.iter().map(|version| {
            let marker = if version.facts.delete_marker { "d" } else { "" };
            let null = if version.facts.id == VersionId::Null {
                "!"
            } else {
                ""
            };
            format!("{}{marker}{null}", version.write.as_bytes()[0])
        });
        versions.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_a_write_replaces_depends_on_how_versions_are_kept() {
        assert_eq!(after("off put 1 | off put 2"), "2!");
        assert_eq!(after("off put 1 | off delete 2"), "");
        assert_eq!(after("off delete 1"), "");
        assert_eq!(after("off put 1 | on put 2 | on put 3"), "3 2 1!");
        assert_eq!(after("on put 1 | on delete 2 | on delete 3"), "3d 2d 1");
        assert_eq!(after("on delete 1"), "1d");
        assert_eq!(after("on put 1 | suspended put 2 | suspended put 3"), "3! 1");
        assert_eq!(after("off put 1 | on put 2 | suspended put 3"), "3! 2");
        assert_eq!(after("off put 1 | on put 2 | suspended delete 3"), "3d! 2");
        assert_eq!(after("suspended delete 1 | suspended delete 2"), "2d!");
        assert_eq!(after("suspended delete 1 | on put 2 | suspended put 3"), "3! 2");
    }

    #[test]
    fn a_put_displaces_the_null_version_and_time_never_goes_back() {
        let off = keeping(Versioning::Off);
        let first = ObjectRow::default()
            .put(version(1, 100), NO_CONDITION, &off)
            .unwrap();
        assert!(first.displaced.is_empty());
        let second = first.row.clone().put(version(2, 50), NO_CONDITION, &off).unwrap();
        assert_eq!(second.displaced, first.row.versions);
        assert_eq!(second.row.versions.len(), 1);
        assert_eq!(
            second.row.current().unwrap().facts.modified,
            Timestamp::from_millis(101)
        );
    }

    #[test]
    fn a_refused_condition_changes_nothing_and_a_marker_counts_as_absent() {
        let on = keeping(Versioning::Enabled);
        let row = ObjectRow::default()
            .put(version(1, 100), NO_CONDITION, &on)
            .unwrap()
            .row;
        assert_eq!(
            row.clone().put(version(2, 200), &WriteCondition::Absent, &on),
            Err(WriteRefusal::PreconditionFailed)
        );
        assert_eq!(
            row.clone()
                .delete(marker(2, 200), &WriteCondition::Tag(None), &on),
            Err(WriteRefusal::PreconditionFailed)
        );
        let hidden = row.delete(marker(2, 200), &WriteCondition::Present, &on).unwrap();
        let row = hidden.changed.unwrap().row;
        assert_eq!(
            row.clone().delete(marker(3, 300), &WriteCondition::Present, &on),
            Err(WriteRefusal::NoSuchKey)
        );
        let created = row.put(version(4, 400), &WriteCondition::Absent, &on).unwrap();
        assert_eq!(shown(&created.row), "4 2d 1");
    }

    #[test]
    fn a_removed_version_is_gone_for_good_and_a_removed_marker_shows_what_it_hid() {
        let on = keeping(Versioning::Enabled);
        let row = ObjectRow::default()
            .put(version(1, 100), NO_CONDITION, &on)
            .unwrap()
            .row;
        let hidden = row.delete(marker(2, 200), NO_CONDITION, &on).unwrap();
        let (id, row) = (hidden.version.unwrap(), hidden.changed.unwrap().row);
        let removed = row.remove(id, NO_CONDITION).unwrap();
        assert!(removed.delete_marker && removed.version == Some(id));
        let row = removed.changed.unwrap().row;
        assert_eq!(shown(&row), "1");
        let id = row.versions[0].facts.id;
        let removed = row.remove(id, NO_CONDITION).unwrap();
        assert!(!removed.delete_marker);
        let changed = removed.changed.unwrap();
        assert!(changed.row.versions.is_empty() && changed.displaced.len() == 1);
        let nothing = changed.row.remove(id, NO_CONDITION).unwrap();
        assert_eq!((nothing.changed, nothing.version), (None, Some(id)));
    }

    proptest! {
        #[test]
        fn versions_stay_newest_first_with_ids_of_their_own_whatever_the_clocks_say(
            steps in prop::collection::vec((0_u8..3, any::<bool>(), 0_u64..20, any::<prop::sample::Index>()), 1..40),
        ) {
            let mut row = ObjectRow::default();
            for (tag, (mode, deletes, millis, place)) in (1..).zip(steps) {
                let kept = row.clone();
                let keeping = keeping(if mode == 0 { Versioning::Suspended } else { Versioning::Enabled });
                row = match deletes {
                    true if mode == 2 && !row.versions.is_empty() => {
                        let id = row.versions[place.index(row.versions.len())].facts.id;
                        row.remove(id, NO_CONDITION).unwrap().changed.unwrap().row
                    }
                    true => row.delete(marker(tag, millis), NO_CONDITION, &keeping).unwrap().changed.unwrap().row,
                    false => row.put(version(tag, millis), NO_CONDITION, &keeping).unwrap().row,
                };
                prop_assert!(row.versions.is_sorted_by(|newer, older| newer.facts.modified > older.facts.modified));
                let mut ids: Vec<_> = row.versions.iter().map(|version| version.facts.id).collect();
                ids.sort();
                prop_assert!(ids.is_sorted_by(|one, other| one < other), "an id twice");
                for version in &row.versions {
                    if let Some(made) = version.facts.id.made() {
                        prop_assert_eq!(made, version.facts.modified);
                    }
                }
                // What was kept with an id of its own goes only when it is named.
                if mode != 2 || !deletes {
                    for version in kept.versions.iter().filter(|version| version.facts.id != VersionId::Null) {
                        prop_assert!(row.versions.contains(version));
                    }
                }
            }
        }
    }
}
