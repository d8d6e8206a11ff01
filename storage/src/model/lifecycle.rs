//! Lifecycle rules of a bucket, and what they say is due of one key: no clock, no disk.
//!
//! Source: AWS S3 user guide, "Managing the lifecycle of objects" and "Lifecycle configuration elements". Something is due
//! at the midnight (UTC) that follows so many days after it began. Where several rules fit, each has its say; of two days the
//! nearer counts.

use serde::{Deserialize, Serialize};

use super::{ObjectRow, SealedVersion, Timestamp, UploadRow, VersionFacts, VersionId};

const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// One rule of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleRule {
    /// What people call it; 1 to 255 bytes, no other rule of the bucket has it.
    pub id: String,
    /// Whether it has any effect.
    pub enabled: bool,
    /// What it is about.
    pub filter: LifecycleFilter,
    /// When the current version goes.
    pub expiration: Option<Expiration>,
    /// When versions go that are not the current one.
    pub noncurrent: Option<NoncurrentExpiration>,
    /// After how many days an upload that was not completed goes; at least 1.
    pub abort_uploads: Option<u32>,
}

/// What a rule is about: all of these must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleFilter {
    /// How keys begin; read back where it was put, even if empty.
    pub prefix: Option<String>,
    /// Tags an object has.
    pub tags: Vec<(String, String)>,
    /// It has more bytes.
    pub larger_than: Option<u64>,
    /// It has fewer bytes.
    pub smaller_than: Option<u64>,
    /// Whether the prefix was put beside the actions, as it was done before there were filters; then there is nothing else.
    pub is_bare: bool,
}

/// When the current version of an object goes: where versions are kept, a delete marker hides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expiration {
    /// So many days after it was written; at least 1.
    Days(u32),
    /// From that midnight on.
    Date(Timestamp),
    /// Never; but a delete marker goes that hides nothing any more.
    Markers(bool),
}

/// When versions go that are not the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoncurrentExpiration {
    /// So many days after another took its place; at least 1.
    pub days: u32,
    /// Of these, so many of the newest stay; 1 to 100.
    pub keep: Option<u32>,
}

/// What of a key is due: done in one commit, and only if its row is still as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// The current version is to go: hidden by a marker where versions are kept.
    pub(crate) current: bool,
    /// Versions and markers that are to be removed for good, newest first.
    pub(crate) remove: Vec<VersionId>,
}

impl Due {
    /// Whether there is nothing to do.
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl LifecycleFilter {
    /// Whether it fits every object whose key fits.
    fn is_of_keys_alone(&self) -> bool {
        self.tags.is_empty() && self.larger_than.is_none() && self.smaller_than.is_none()
    }

    fn fits_key(&self, key: &str) -> bool {
        self.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix))
    }

    fn fits(&self, key: &str, size: u64, tags: &[(String, String)]) -> bool {
        self.fits_key(key)
            && self.larger_than.is_none_or(|least| size > least)
            && self.smaller_than.is_none_or(|most| size < most)
            && self.tags.iter().all(|tag| tags.contains(tag))
    }
}

impl Expiration {
    /// When a current version written then goes.
    fn of(self, modified: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Days(days) => Some(midnight_after(modified, days)),
            Self::Date(date) => Some(date),
            Self::Markers(_) => None,
        }
    }
}

/// The midnight that follows so many days after a time.
fn midnight_after(time: Timestamp, days: u32) -> Timestamp {
    let after = time
        .as_millis()
        .saturating_add(u64::from(days).saturating_mul(DAY_MILLIS));
    Timestamp::from_millis(after.div_ceil(DAY_MILLIS).saturating_mul(DAY_MILLIS))
}

/// The midnight before a time: what is due by the one is due by the other.
pub(crate) fn day_of(time: Timestamp) -> u64 {
    time.as_millis() / DAY_MILLIS
}

/// When the current version of a key goes, and by which rule, if it is not replaced before.
pub fn expiry<'r>(
    rules: &'r [LifecycleRule],
    key: &str,
    (size, modified): (u64, Timestamp),
    tags: &[(String, String)],
) -> Option<(Timestamp, &'r LifecycleRule)> {
    let fitting = rules
        .iter()
        .filter(|rule| rule.enabled && rule.filter.fits(key, size, tags));
    fitting
        .filter_map(|rule| Some((rule.expiration?.of(modified)?, rule)))
        .min_by_key(|(at, _)| *at)
}

/// Whether anything of a row with one version can be due: that version as an index knows it. `false` saves reading the row.
pub(crate) fn may_be_due(
    rules: &[LifecycleRule],
    key: &str,
    (modified, delete_marker): (Timestamp, bool),
    now: Timestamp,
) -> bool {
    rules.iter().any(|rule| {
        let is_due = match rule.expiration {
            Some(Expiration::Markers(on)) => on && delete_marker,
            Some(expiration) => expiration.of(modified).is_some_and(|at| at <= now),
            None => false,
        };
        rule.enabled && is_due && rule.filter.fits_key(key)
    })
}

/// What is due of a key. Tags are asked for only where a rule names some.
///
/// What is locked is left alone: it is asked for anew every day.
///
/// # Errors
/// Those of `tags`.
pub(crate) fn due<E>(
    rules: &[LifecycleRule],
    key: &str,
    row: &ObjectRow,
    now: Timestamp,
    mut tags: impl FnMut(&SealedVersion) -> Result<Vec<(String, String)>, E>,
) -> Result<Due, E> {
    let rules: Vec<_> = rules
        .iter()
        .filter(|rule| rule.enabled && rule.filter.fits_key(key))
        .collect();
    let names_tags = rules.iter().any(|rule| !rule.filter.tags.is_empty());
    let mut due = Due::default();
    let newer = std::iter::once(None).chain(row.versions.iter().map(Some));
    for (place, (version, newer)) in row.versions.iter().zip(newer).enumerate() {
        let facts = &version.facts;
        let tags = match names_tags && !facts.delete_marker {
            true => tags(version)?,
            false => Vec::new(),
        };
        let mut fitting = rules.iter().filter(|rule| match facts.delete_marker {
            // A marker has neither bytes nor tags.
            true => rule.filter.is_of_keys_alone(),
            false => rule.filter.fits(key, facts.size, &tags),
        });
        match newer {
            None if facts.delete_marker => {
                let hides_nothing = row.versions.len() == 1;
                if hides_nothing && fitting.any(|rule| rule.ends_marker(facts, now)) {
                    due.remove.push(facts.id);
                }
            }
            None => due.current = fitting.any(|rule| rule.ends_current(facts, now)),
            Some(newer) => {
                let since = newer.facts.modified;
                let is_free = facts.lock.permits_removal(now, false);
                if is_free && fitting.any(|rule| rule.ends_noncurrent(place - 1, since, now)) {
                    due.remove.push(facts.id);
                }
            }
        }
    }
    Ok(due)
}

/// Whether an open upload is to go.
pub(crate) fn upload_is_due(rules: &[LifecycleRule], key: &str, upload: &UploadRow, now: Timestamp) -> bool {
    rules.iter().any(|rule| {
        let days = rule.abort_uploads.filter(|_| rule.enabled);
        days.is_some_and(|days| midnight_after(upload.started, days) <= now) && rule.filter.fits_key(key)
    })
}

impl LifecycleRule {
    fn ends_current(&self, facts: &VersionFacts, now: Timestamp) -> bool {
        let at = self
            .expiration
            .and_then(|expiration| expiration.of(facts.modified));
        at.is_some_and(|at| at <= now)
    }

    /// Whether a delete marker goes that hides nothing: where it is told so, and where it is old enough to expire itself.
    fn ends_marker(&self, facts: &VersionFacts, now: Timestamp) -> bool {
        self.expiration == Some(Expiration::Markers(true)) || self.ends_current(facts, now)
    }

    /// Whether the version goes that so many others, which are not the current one either, are newer than.
    fn ends_noncurrent(&self, newer: usize, since: Timestamp, now: Timestamp) -> bool {
        self.noncurrent.is_some_and(|noncurrent| {
            let kept = noncurrent
                .keep
                .is_some_and(|keep| u32::try_from(newer).is_ok_and(|newer| newer < keep));
            !kept && midnight_after(since, noncurrent.days) <= now
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Lock, WriteId};

    /// Noon of a day.
    fn noon(day: u64) -> Timestamp {
        Timestamp::from_millis(day * DAY_MILLIS + DAY_MILLIS / 2)
    }

    /// Reads e.g. `prefix=a/ tag=k:v larger=10 days=3`; a word of its own is one action, filter or state.
    fn rule(text: &str) -> LifecycleRule {
        let mut rule = LifecycleRule {
            id: text.into(),
            enabled: true,
            filter: LifecycleFilter::default(),
            expiration: None,
            noncurrent: None,
            abort_uploads: None,
        };
        let mut noncurrent = NoncurrentExpiration { days: 0, keep: None };
        for word in text.split(' ') {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let number = value.parse().unwrap_or(0);
            match name {
                "prefix" => rule.filter.prefix = Some(value.into()),
                "tag" => {
                    let (name, value) = value.split_once(':').unwrap();
                    rule.filter.tags.push((name.into(), value.into()));
                }
                "larger" => rule.filter.larger_than = Some(number.into()),
                "smaller" => rule.filter.smaller_than = Some(number.into()),
                "days" => rule.expiration = Some(Expiration::Days(number)),
                "date" => {
                    let midnight = Timestamp::from_millis(u64::from(number) * DAY_MILLIS);
                    rule.expiration = Some(Expiration::Date(midnight));
                }
                "markers" => rule.expiration = Some(Expiration::Markers(true)),
                "no-markers" => rule.expiration = Some(Expiration::Markers(false)),
                "noncurrent" => noncurrent.days = number,
                "keep" => noncurrent.keep = Some(number),
                "abort" => rule.abort_uploads = Some(number),
                "off" => rule.enabled = false,
                _ => panic!("{word}"),
            }
        }
        rule.noncurrent = (noncurrent.days > 0).then_some(noncurrent);
        rule
    }

    fn rules(text: &str) -> Vec<LifecycleRule> {
        text.split(" | ").map(rule).collect()
    }

    /// Reads e.g. `3d@9 2@5 1L@4`, newest first: the number of a version, `d` for a marker, `L` for one under a legal hold,
    /// and the day at whose noon it was written. Version 7 has 7 bytes and the tag `n:7`.
    fn row(text: &str) -> ObjectRow {
        let versions = text.split(' ').map(|word| {
            let (name, day) = word.split_once('@').unwrap();
            let tag: u8 = name.trim_end_matches(['d', 'L']).parse().unwrap();
            let legal_hold = name.contains('L').then_some(true);
            let facts = VersionFacts {
                id: VersionId::Named([tag; 16]),
                modified: noon(day.parse().unwrap()),
                size: tag.into(),
                delete_marker: name.contains('d'),
                lock: Lock {
                    retention: None,
                    legal_hold,
                },
                ..VersionFacts::marker_for_tests()
            };
            SealedVersion {
                facts,
                write: WriteId::from_bytes([tag; 16]),
                extents: Vec::new(),
                invocation: None,
                details: Bytes::new(),
            }
        });
        ObjectRow {
            versions: versions.collect(),
            ..ObjectRow::default()
        }
    }

    fn tags_of(version: &SealedVersion) -> Result<Vec<(String, String)>, Infallible> {
        Ok(vec![("n".into(), version.facts.size.to_string())])
    }

    /// What is due of key `a/k` just after that midnight: `hide`, and the numbers of what is removed.
    fn outcome(rules: &[LifecycleRule], versions: &ObjectRow, day: u64) -> String {
        let now = Timestamp::from_millis(day * DAY_MILLIS);
        let Ok(due) = due(rules, "a/k", versions, now, tags_of);
        let number = |id: &VersionId| match id {
            VersionId::Named([tag, ..]) => tag.to_string(),
            VersionId::Null => "null".into(),
        };
        let hide = due.current.then(|| "hide".to_owned());
        let all: Vec<_> = hide.into_iter().chain(due.remove.iter().map(number)).collect();
        all.join(" ")
    }

    fn check(of: &str, versions: &str, day: u64, expected: &str) {
        assert_eq!(
            outcome(&rules(of), &row(versions), day),
            expected,
            "{of}: {versions}"
        );
    }

    #[test]
    fn a_current_version_goes_at_the_midnight_after_its_days() {
        check("days=1", "1@5", 6, "");
        check("days=1", "1@5", 7, "hide");
        check("date=9", "1@5", 8, "");
        check("date=9", "1@5", 9, "hide");
        check("days=1 off", "1@5", 70, "");
        check("days=90 | days=2", "1@5", 8, "hide");
        // What hides it already is not hidden again, and what is not current does not expire.
        check("days=1", "2d@5 1@5", 70, "");
        check("days=1", "2@69 1@5", 70, "");
    }

    #[test]
    fn a_filter_fits_only_what_all_of_it_fits() {
        for (filter, fits) in [
            ("prefix=", true),
            ("prefix=a/", true),
            ("prefix=b", false),
            ("tag=n:5", true),
            ("tag=n:6", false),
            ("tag=n:5 tag=m:1", false),
            ("larger=4", true),
            ("larger=5", false),
            ("smaller=6", true),
            ("smaller=5", false),
            ("prefix=a/ tag=n:5 larger=4 smaller=6", true),
        ] {
            let expected = if fits { "hide" } else { "" };
            check(&format!("{filter} days=1"), "5@5", 70, expected);
        }
    }

    #[test]
    fn versions_that_are_not_current_go_after_their_days_but_for_the_newest_of_them() {
        // Days count from when the next one took its place.
        check("noncurrent=3", "3@20 2@10 1@1", 13, "");
        check("noncurrent=3", "3@20 2@10 1@1", 14, "1");
        check("noncurrent=3", "3@20 2@10 1@1", 24, "2 1");
        check("noncurrent=3 keep=1", "3@20 2@10 1@1", 24, "1");
        check("noncurrent=3 keep=2", "3@20 2@10 1@1", 24, "");
        check("noncurrent=3", "3d@20 2@10", 24, "2");
        check("noncurrent=3", "3@20 2L@10 1@1", 24, "1");
        check("noncurrent=3", "3@20 2d@10 1@1", 24, "2 1");
        check("noncurrent=3 tag=n:1", "3@20 2d@10 1@1", 24, "1");
        check("noncurrent=3 larger=1", "3@20 2d@10 1@1", 24, "");
        check("days=1 noncurrent=3", "3@20 2@10", 24, "hide 2");
    }

    #[test]
    fn a_marker_that_hides_nothing_goes_when_told_or_when_it_is_old() {
        check("markers", "2d@5", 6, "2");
        check("no-markers", "2d@5", 6, "");
        check("markers", "2d@5 1@1", 70, "");
        check("markers", "1@1", 70, "");
        check("days=3", "2d@5", 8, "");
        check("days=3", "2d@5", 9, "2");
        check("tag=n:2 days=3", "2d@5", 70, "");
        check("prefix=b markers", "2d@5", 70, "");
    }

    #[test]
    fn the_nearest_expiry_is_told_with_its_rule() {
        let told = |of: &str, size| {
            let rules = rules(of);
            let (at, rule) = expiry(&rules, "a/k", (size, noon(5)), &[])?;
            Some((at.as_millis() / DAY_MILLIS, rule.id.clone()))
        };
        assert_eq!(told("days=9 | days=2 | date=30", 1), Some((8, "days=2".into())));
        assert_eq!(
            told("days=9 | larger=5 days=2 | days=1 off", 1),
            Some((15, "days=9".into()))
        );
        assert_eq!(told("markers | noncurrent=1 | abort=1", 1), None);
    }

    #[test]
    fn an_upload_goes_after_its_days_if_its_key_fits() {
        let upload = UploadRow {
            started: noon(5),
            initiator: None,
            class: crate::model::StorageClass::Standard,
            checksum: None,
            full_object: false,
            lock: Lock::default(),
            state: crate::model::UploadState::Open,
            headers: Bytes::new(),
        };
        let is_due = |of: &str, day| {
            upload_is_due(
                &rules(of),
                "a/k",
                &upload,
                Timestamp::from_millis(day * DAY_MILLIS),
            )
        };
        assert!(!is_due("abort=1", 6) && is_due("abort=1", 7));
        assert!(!is_due("prefix=b abort=1", 70) && !is_due("abort=1 off", 70) && !is_due("days=1", 70));
    }

    fn any_rules() -> impl Strategy<Value = Vec<LifecycleRule>> {
        let words = [
            "days=1",
            "days=4",
            "date=6",
            "markers",
            "noncurrent=1",
            "noncurrent=3 keep=1",
            "prefix=a/ days=2",
            "tag=n:2 days=1",
            "larger=1 noncurrent=2",
        ];
        prop::collection::vec(prop::sample::select(words.to_vec()).prop_map(rule), 0..4)
    }

    fn any_row() -> impl Strategy<Value = ObjectRow> {
        let version = (0_u64..4, prop::sample::select(vec!["", "d", "L"]));
        prop::collection::vec(version, 1..5).prop_map(|versions| {
            let (mut day, mut words) = (0, Vec::new());
            for (number, (days, kind)) in (1..).zip(versions) {
                day += days;
                words.insert(0, format!("{number}{kind}@{day}"));
            }
            row(&words.join(" "))
        })
    }

    proptest! {
        #[test]
        fn what_is_due_stays_due_and_nothing_locked_is(rules in any_rules(), versions in any_row(), day in 0_u64..20) {
            let at = |day: u64| {
                let Ok(due) = due(&rules, "a/k", &versions, Timestamp::from_millis(day * DAY_MILLIS), tags_of);
                due
            };
            let (now, later) = (at(day), at(day + 1));
            prop_assert!(!now.current || later.current);
            prop_assert!(now.remove.iter().all(|id| later.remove.contains(id)));
            for version in &versions.versions {
                let facts = &version.facts;
                prop_assert!(facts.lock.legal_hold.is_none() || !now.remove.contains(&facts.id));
            }
            let current = &versions.versions[0].facts;
            // Nothing takes the current version away for good, and no marker is hidden by another.
            prop_assert!(current.delete_marker || !now.remove.contains(&current.id));
            prop_assert!(!current.delete_marker || !now.current);
        }

        #[test]
        fn a_row_that_is_not_read_has_nothing_due(rules in any_rules(), versions in any_row(), day in 0_u64..20) {
            let mut versions = versions;
            versions.versions.truncate(1);
            let now = Timestamp::from_millis(day * DAY_MILLIS);
            let facts = &versions.versions[0].facts;
            let Ok(due) = due(&rules, "a/k", &versions, now, tags_of);
            if !may_be_due(&rules, "a/k", (facts.modified, facts.delete_marker), now) {
                prop_assert!(due.is_nothing());
            }
        }
    }
}
