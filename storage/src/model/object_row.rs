//! What writes and deletes do to the versions of one key.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::command::{Refusal, encode_row};
use super::{
    ETag, Keeping, Lock, ObjectRow, Retention, SealedVersion, StorageClass, Timestamp, VersionFacts,
    VersionId, Versioning, WriteCondition, WriteId,
};

/// By what a change of a row is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// How the bucket keeps versions.
    pub(crate) keeping: Keeping,
    /// The earliest that it may be now.
    pub(crate) now: Timestamp,
}

/// A change of what is said about a version, not of its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Amendment {
    /// Replaces the sealed details.
    Details {
        /// The blake3 of those it was made from.
        #[serde(with = "serde_bytes")]
        from: [u8; 32],
        /// The new ones: the same content, of the same write.
        details: Bytes,
    },
    /// Sets or removes the retention.
    Retention {
        /// The new one.
        retention: Option<Retention>,
        /// Whether whoever wants it may bypass one of governance.
        bypass: bool,
    },
    /// Sets the legal hold.
    LegalHold(bool),
}

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
                lock: Lock::default(),
            },
            write: self.write,
            extents: Vec::new(),
            invocation: None,
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
    /// The condition does not hold for the current version, or what it replaces is locked.
    pub(crate) fn put(
        mut self,
        new: SealedVersion,
        condition: &WriteCondition,
        terms: &Terms,
    ) -> Result<Changed, Refusal> {
        condition.check(self.current().map(|current| &current.facts))?;
        let displaced = self.push(new, terms)?;
        if let (Some(lock), Some(put)) = (terms.keeping.lock, self.versions.first_mut())
            && put.facts.lock.retention.is_none()
        {
            put.facts.lock.retention = lock.default.map(|default| default.of(put.facts.modified));
        }
        Ok(Changed { row: self, displaced })
    }

    /// Deletes the key: a marker hides its versions where they are kept, else its version goes.
    ///
    /// # Errors
    /// The condition does not hold for the current version, or what goes is locked.
    pub(crate) fn delete(
        mut self,
        marker: Marker,
        condition: &WriteCondition,
        terms: &Terms,
    ) -> Result<Removed, Refusal> {
        condition.check(self.current().map(|current| &current.facts))?;
        if terms.keeping.versioning.was_ever_on() {
            let displaced = self.push(marker.version(), terms)?;
            return Ok(Removed {
                version: self.current().map(|marker| marker.facts.id),
                delete_marker: true,
                changed: Some(Changed { row: self, displaced }),
            });
        }
        must_be_free(&self.versions, terms.now, false)?;
        let displaced = std::mem::take(&mut self.versions);
        let is_there = !displaced.is_empty();
        Ok(Removed {
            changed: is_there.then_some(Changed { row: self, displaced }),
            version: None,
            delete_marker: false,
        })
    }

    /// Removes one version for good, or a marker. `bypass`: whether a retention of governance does not count.
    ///
    /// # Errors
    /// The condition does not hold for the current version, or the one that is to go is locked.
    pub(crate) fn remove(
        mut self,
        version: VersionId,
        condition: &WriteCondition,
        (now, bypass): (Timestamp, bool),
    ) -> Result<Removed, Refusal> {
        condition.check(self.current().map(|current| &current.facts))?;
        let displaced = self.take(version);
        must_be_free(&displaced, now, bypass)?;
        let is_there = !displaced.is_empty();
        Ok(Removed {
            version: Some(version),
            delete_marker: displaced.iter().any(|gone| gone.facts.delete_marker),
            changed: is_there.then_some(Changed { row: self, displaced }),
        })
    }

    /// Removes versions for good, and then hides the current one if there is a marker for it.
    ///
    /// # Errors
    /// One that is to go is locked.
    pub(crate) fn expire(
        mut self,
        marker: Option<Marker>,
        remove: &[VersionId],
        terms: &Terms,
    ) -> Result<Removed, Refusal> {
        let gone: Vec<_> = remove.iter().flat_map(|id| self.take(*id)).collect();
        must_be_free(&gone, terms.now, false)?;
        let Some(marker) = marker.filter(|_| !self.versions.is_empty()) else {
            let is_other = !gone.is_empty();
            return Ok(Removed {
                changed: is_other.then_some(Changed {
                    row: self,
                    displaced: gone,
                }),
                version: None,
                delete_marker: false,
            });
        };
        let mut removed = self.delete(marker, &WriteCondition::None, terms)?;
        if let Some(changed) = &mut removed.changed {
            changed.displaced.extend(gone);
        }
        Ok(removed)
    }

    /// The blake3 of all versions: by it a command finds out whether the row is still the one that was judged.
    pub(crate) fn digest(&self) -> [u8; 32] {
        *blake3::hash(&encode_row(&(&self.versions, &self.archived))).as_bytes()
    }

    /// Changes what is said about the version of that id and write.
    ///
    /// # Errors
    /// `VersionChanged`: it is not there any more, or its details are others by now. `Locked`: its retention binds.
    pub(crate) fn amend(
        mut self,
        (id, write): (VersionId, WriteId),
        amendment: Amendment,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let is_it = |there: &&mut SealedVersion| there.facts.id == id && there.write == write;
        let version = self.versions.iter_mut().find(is_it);
        let version = version
            .filter(|version| !version.facts.delete_marker)
            .ok_or(Refusal::VersionChanged)?;
        match amendment {
            Amendment::Details { from, details } => {
                if blake3::hash(&version.details) != from {
                    return Err(Refusal::VersionChanged);
                }
                version.details = details;
            }
            Amendment::Retention { retention, bypass } => {
                if !version.facts.lock.permits_retention(retention, now, bypass) {
                    return Err(Refusal::Locked);
                }
                version.facts.lock.retention = retention;
            }
            Amendment::LegalHold(on) => version.facts.lock.legal_hold = Some(on),
        }
        Ok(self)
    }

    /// Puts a version in front, newer than the one before, and takes out what it replaces.
    fn push(&mut self, mut new: SealedVersion, terms: &Terms) -> Result<Vec<SealedVersion>, Refusal> {
        let before = self.current().map(|current| current.facts.modified);
        new.facts.modified = new.facts.modified.after(before);
        new.facts.id = match terms.keeping.versioning {
            Versioning::Enabled => VersionId::new(new.facts.modified, new.write),
            Versioning::Off | Versioning::Suspended => VersionId::Null,
        };
        let displaced = self.take(new.facts.id);
        // A bucket with locks keeps its versions, so this is none of them; if it were, it would stay all the same.
        must_be_free(&displaced, terms.now, false)?;
        self.versions.insert(0, new);
        Ok(displaced)
    }

    fn take(&mut self, id: VersionId) -> Vec<SealedVersion> {
        self.versions
            .extract_if(.., |version| version.facts.id == id)
            .collect()
    }
}

/// Refuses to let go of versions while one of them is locked.
fn must_be_free(versions: &[SealedVersion], now: Timestamp, bypass: bool) -> Result<(), Refusal> {
    let is_free = |version: &SealedVersion| version.facts.lock.permits_removal(now, bypass);
    match versions.iter().all(is_free) {
        true => Ok(()),
        false => Err(Refusal::Locked),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{DefaultRetention, ObjectLock, Period, RetentionMode};

    const NO_CONDITION: &WriteCondition = &WriteCondition::None;
    const NOW: Timestamp = Timestamp::from_millis(1000);
    const FREE: (Timestamp, bool) = (NOW, false);

    fn terms(versioning: Versioning) -> Terms {
        Terms {
            keeping: Keeping {
                versioning,
                lock: None,
            },
            now: NOW,
        }
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
            invocation: None,
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
                let terms = terms(match mode {
                    "off" => Versioning::Off,
                    "on" => Versioning::Enabled,
                    _ => Versioning::Suspended,
                });
                let tag = tag.parse().unwrap();
                if what == "put" {
                    return row.put(version(tag, millis), NO_CONDITION, &terms).unwrap().row;
                }
                let kept = row.clone();
                let deleted = row.delete(marker(tag, millis), NO_CONDITION, &terms);
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
        let off = terms(Versioning::Off);
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
        let on = terms(Versioning::Enabled);
        let row = ObjectRow::default()
            .put(version(1, 100), NO_CONDITION, &on)
            .unwrap()
            .row;
        assert_eq!(
            row.clone().put(version(2, 200), &WriteCondition::Absent, &on),
            Err(Refusal::PreconditionFailed)
        );
        assert_eq!(
            row.clone()
                .delete(marker(2, 200), &WriteCondition::Tag(None), &on),
            Err(Refusal::PreconditionFailed)
        );
        let hidden = row.delete(marker(2, 200), &WriteCondition::Present, &on).unwrap();
        let row = hidden.changed.unwrap().row;
        assert_eq!(
            row.clone().delete(marker(3, 300), &WriteCondition::Present, &on),
            Err(Refusal::NoSuchKey)
        );
        let created = row.put(version(4, 400), &WriteCondition::Absent, &on).unwrap();
        assert_eq!(shown(&created.row), "4 2d 1");
    }

    #[test]
    fn a_removed_version_is_gone_for_good_and_a_removed_marker_shows_what_it_hid() {
        let on = terms(Versioning::Enabled);
        let row = ObjectRow::default()
            .put(version(1, 100), NO_CONDITION, &on)
            .unwrap()
            .row;
        let hidden = row.delete(marker(2, 200), NO_CONDITION, &on).unwrap();
        let (id, row) = (hidden.version.unwrap(), hidden.changed.unwrap().row);
        let removed = row.remove(id, NO_CONDITION, FREE).unwrap();
        assert!(removed.delete_marker && removed.version == Some(id));
        let row = removed.changed.unwrap().row;
        assert_eq!(shown(&row), "1");
        let id = row.versions[0].facts.id;
        let removed = row.remove(id, NO_CONDITION, FREE).unwrap();
        assert!(!removed.delete_marker);
        let changed = removed.changed.unwrap();
        assert!(changed.row.versions.is_empty() && changed.displaced.len() == 1);
        let nothing = changed.row.remove(id, NO_CONDITION, FREE).unwrap();
        assert_eq!((nothing.changed, nothing.version), (None, Some(id)));
    }

    fn retained(row: &mut ObjectRow, mode: RetentionMode, until: u64) -> VersionId {
        let until = Timestamp::from_millis(until);
        row.versions[0].facts.lock.retention = Some(Retention { mode, until });
        row.versions[0].facts.id
    }

    #[test]
    fn a_locked_version_is_hidden_and_stays() {
        let on = terms(Versioning::Enabled);
        let put = ObjectRow::default().put(version(1, 100), NO_CONDITION, &on);
        let mut row = put.unwrap().row;
        let id = retained(&mut row, RetentionMode::Governance, 2000);
        let at = |row: &ObjectRow, now, bypass| {
            let terms = (Timestamp::from_millis(now), bypass);
            row.clone().remove(id, NO_CONDITION, terms).map(|_| ())
        };
        assert_eq!(at(&row, 1999, false), Err(Refusal::Locked));
        assert_eq!((at(&row, 2000, false), at(&row, 1999, true)), (Ok(()), Ok(())));
        retained(&mut row, RetentionMode::Compliance, 2000);
        assert_eq!(at(&row, 1999, true), Err(Refusal::Locked));
        let hidden = row.clone().delete(marker(2, 200), NO_CONDITION, &on).unwrap();
        assert_eq!(shown(&hidden.changed.unwrap().row), "2d 1");
        // However a bucket came to this, nothing replaces what is locked.
        row.versions[0].facts.id = VersionId::Null;
        for versioning in [Versioning::Off, Versioning::Suspended] {
            let terms = terms(versioning);
            assert_eq!(
                row.clone().put(version(3, 300), NO_CONDITION, &terms),
                Err(Refusal::Locked)
            );
            assert_eq!(
                row.clone().delete(marker(3, 300), NO_CONDITION, &terms),
                Err(Refusal::Locked)
            );
        }
    }

    #[test]
    fn a_version_that_is_put_without_a_retention_gets_that_of_its_bucket() {
        let mut on = terms(Versioning::Enabled);
        let default = DefaultRetention {
            mode: RetentionMode::Compliance,
            period: Period::Days(1),
        };
        on.keeping.lock = Some(ObjectLock {
            default: Some(default),
        });
        let put = ObjectRow::default()
            .put(version(1, 100), NO_CONDITION, &on)
            .unwrap();
        let retention = put.row.versions[0].facts.lock.retention.unwrap();
        assert_eq!(retention.until.as_millis(), 86_400_100);
        let mut own = version(2, 200);
        let until = Timestamp::from_millis(5);
        let mode = RetentionMode::Governance;
        own.facts.lock.retention = Some(Retention { mode, until });
        let put = put.row.put(own, NO_CONDITION, &on).unwrap();
        assert_eq!(put.row.versions[0].facts.lock.retention.unwrap().until, until);
        let hidden = put.row.delete(marker(3, 300), NO_CONDITION, &on).unwrap();
        assert!(hidden.changed.unwrap().row.versions[0].facts.lock.is_none());
    }

    #[test]
    fn an_amendment_changes_the_version_it_was_made_from_or_nothing() {
        let on = terms(Versioning::Enabled);
        let row = ObjectRow::default()
            .put(version(1, 100), NO_CONDITION, &on)
            .unwrap()
            .row;
        let it = (row.versions[0].facts.id, row.versions[0].write);
        let amend = |row: &ObjectRow, it, amendment| row.clone().amend(it, amendment, NOW);
        let from = *blake3::hash(b"").as_bytes();
        let details = |details: &'static [u8]| Amendment::Details {
            from,
            details: Bytes::from_static(details),
        };
        let amended = amend(&row, it, details(b"new")).unwrap();
        assert_eq!(amended.versions[0].details, &b"new"[..]);
        assert_eq!(amended.versions[0].facts, row.versions[0].facts);
        assert_eq!(
            amend(&amended, it, details(b"late")),
            Err(Refusal::VersionChanged)
        );
        let other = (it.0, WriteId::from_bytes([9; 16]));
        assert_eq!(amend(&row, other, details(b"new")), Err(Refusal::VersionChanged));
        let held = amend(&row, it, Amendment::LegalHold(true)).unwrap();
        assert_eq!(
            held.clone().remove(it.0, NO_CONDITION, FREE),
            Err(Refusal::Locked)
        );
        let released = amend(&held, it, Amendment::LegalHold(false)).unwrap();
        assert!(released.remove(it.0, NO_CONDITION, FREE).is_ok());
        let retention = |until, bypass| Amendment::Retention {
            retention: Some(Retention {
                mode: RetentionMode::Governance,
                until: Timestamp::from_millis(until),
            }),
            bypass,
        };
        let locked = amend(&row, it, retention(3000, false)).unwrap();
        assert_eq!(amend(&locked, it, retention(2000, false)), Err(Refusal::Locked));
        assert!(amend(&locked, it, retention(4000, false)).is_ok());
        assert!(amend(&locked, it, retention(2000, true)).is_ok());
        let hidden = row.delete(marker(2, 200), NO_CONDITION, &on).unwrap();
        let it = (hidden.version.unwrap(), WriteId::from_bytes([2; 16]));
        let row = hidden.changed.unwrap().row;
        assert_eq!(
            amend(&row, it, Amendment::LegalHold(true)),
            Err(Refusal::VersionChanged)
        );
    }

    proptest! {
        #[test]
        fn versions_stay_newest_first_with_ids_of_their_own_whatever_the_clocks_say(
            steps in prop::collection::vec((0_u8..3, any::<bool>(), 0_u64..20, any::<prop::sample::Index>()), 1..40),
        ) {
            let mut row = ObjectRow::default();
            for (tag, (mode, deletes, millis, place)) in (1..).zip(steps) {
                let kept = row.clone();
                let terms = terms(if mode == 0 { Versioning::Suspended } else { Versioning::Enabled });
                row = match deletes {
                    true if mode == 2 && !row.versions.is_empty() => {
                        let id = row.versions[place.index(row.versions.len())].facts.id;
                        row.remove(id, NO_CONDITION, FREE).unwrap().changed.unwrap().row
                    }
                    true => row.delete(marker(tag, millis), NO_CONDITION, &terms).unwrap().changed.unwrap().row,
                    false => row.put(version(tag, millis), NO_CONDITION, &terms).unwrap().row,
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
