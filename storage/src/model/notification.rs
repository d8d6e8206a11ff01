//! What a bucket has told to others: which changes of its objects, to whom, and what is still to be told of one key.
//!
//! # What is promised
//! A change and the event about it are one change of one row: the event stands in the row of the object ([`ObjectEvent`])
//! from the commit that acknowledged the change until somebody has told it, on as many disks as the object. So an
//! acknowledged event is lost with no box that dies, and there is none of a change that did not happen. Events of a key
//! are told in the order of its changes; each at least once. A row carries the last [`EVENTS_MAX`] that are not told yet:
//! whoever changes one key more often than that while nobody takes events loses the oldest of them. Rules are judged twice, by
//! what the gateway of the change knows of them and when the event is told. Events that nobody took go with their bucket.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{AccessKeyId, ETag, Timestamp, VersionId};

/// Events of one key that wait to be told; older ones give way.
pub(crate) const EVENTS_MAX: usize = 64;

/// Something that happened to an object. Source: AWS S3 user guide, "Supported event types for SQS, SNS, and Lambda".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// By PutObject.
    CreatedPut,
    /// By a form.
    CreatedPost,
    /// By CopyObject.
    CreatedCopy,
    /// By CompleteMultipartUpload.
    CreatedComplete,
    /// A client removed it, or a version of it, for good.
    Removed,
    /// A client hid it behind a delete marker.
    RemovedMarker,
    /// A lifecycle rule removed it, or a version of it, for good.
    Expired,
    /// A lifecycle rule hid it behind a delete marker.
    ExpiredMarker,
    /// A client gave it, or a version of it, other tags.
    Tagged,
    /// A client took the tags of it, or of a version of it, away.
    Untagged,
    /// A client gave it, or a version of it, another ACL.
    AclPut,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::CreatedPut,
        Self::CreatedPost,
        Self::CreatedCopy,
        Self::CreatedComplete,
        Self::Removed,
        Self::RemovedMarker,
        Self::Expired,
        Self::ExpiredMarker,
        Self::Tagged,
        Self::Untagged,
        Self::AclPut,
    ];

    /// Its name in S3, as events have it: without `s3:` in front.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CreatedPut => "ObjectCreated:Put",
            Self::CreatedPost => "ObjectCreated:Post",
            Self::CreatedCopy => "ObjectCreated:Copy",
            Self::CreatedComplete => "ObjectCreated:CompleteMultipartUpload",
            Self::Removed => "ObjectRemoved:Delete",
            Self::RemovedMarker => "ObjectRemoved:DeleteMarkerCreated",
            Self::Expired => "LifecycleExpiration:Delete",
            Self::ExpiredMarker => "LifecycleExpiration:DeleteMarkerCreated",
            Self::Tagged => "ObjectTagging:Put",
            Self::Untagged => "ObjectTagging:Delete",
            Self::AclPut => "ObjectAcl:Put",
        }
    }
}

/// Kinds of events as rules name them, e.g. `s3:ObjectCreated:*` or `s3:ObjectRemoved:Delete`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventPattern(String);

impl EventPattern {
    /// Reads a name or a family of names; `None` for kinds that never happen here.
    pub fn parse(text: &str) -> Option<Self> {
        let pattern = Self(text.to_owned());
        let happens = EventKind::ALL.into_iter().any(|kind| pattern.fits(kind));
        happens.then_some(pattern)
    }

    /// As it was read.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn fits(&self, kind: EventKind) -> bool {
        let Some(name) = self.0.strip_prefix("s3:") else {
            return false;
        };
        match (name.strip_suffix(":*"), kind.name().split_once(':')) {
            (Some(family), Some((of, _))) => family == of,
            _ => kind.name() == name,
        }
    }
}

/// Which events go to one receiver. Source: AWS S3 API reference, `QueueConfiguration`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationRule {
    /// What people call it.
    pub id: String,
    /// The receiver, by the name that the configuration of a box gives it.
    pub endpoint: String,
    /// Which kinds; at least one.
    pub events: Vec<EventPattern>,
    /// Only keys that begin so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Only keys that end so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
}

impl NotificationRule {
    /// Whether an event of this kind about this key goes to its receiver.
    pub fn fits(&self, kind: EventKind, key: &str) -> bool {
        self.fits_key(key) && self.events.iter().any(|pattern| pattern.fits(kind))
    }

    fn fits_key(&self, key: &str) -> bool {
        key.starts_with(self.prefix()) && key.ends_with(self.suffix())
    }

    /// Whether some event may fit both: each event has one receiver at most.
    pub fn overlaps(&self, other: &Self) -> bool {
        let both = |kind: &EventKind| {
            let fits = |rule: &Self| rule.events.iter().any(|pattern| pattern.fits(*kind));
            fits(self) && fits(other)
        };
        let (one, two) = (self.prefix(), other.prefix());
        let prefixes = one.starts_with(two) || two.starts_with(one);
        let (one, two) = (self.suffix(), other.suffix());
        let suffixes = one.ends_with(two) || two.ends_with(one);
        prefixes && suffixes && EventKind::ALL.iter().any(both)
    }

    fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or_default()
    }

    fn suffix(&self) -> &str {
        self.suffix.as_deref().unwrap_or_default()
    }
}

/// How a change came about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// PutObject.
    #[default]
    Put,
    /// A form.
    Post,
    /// CopyObject.
    Copy,
    /// CompleteMultipartUpload.
    Complete,
    /// A client deletes.
    Delete,
    /// A lifecycle rule deletes.
    Expire,
    /// PutObjectTagging.
    Tag,
    /// DeleteObjectTagging.
    Untag,
    /// PutObjectAcl.
    SetAcl,
}

impl How {
    /// What it is that makes a version; nothing where it makes none.
    pub(crate) const fn created(self) -> Option<EventKind> {
        match self {
            Self::Put => Some(EventKind::CreatedPut),
            Self::Post => Some(EventKind::CreatedPost),
            Self::Copy => Some(EventKind::CreatedCopy),
            Self::Complete => Some(EventKind::CreatedComplete),
            Self::Delete | Self::Expire | Self::Tag | Self::Untag | Self::SetAcl => None,
        }
    }

    /// What it is that removes a version, or hides it; nothing where it does neither.
    pub(crate) const fn removed(self, by_marker: bool) -> Option<EventKind> {
        match (self, by_marker) {
            (Self::Delete, false) => Some(EventKind::Removed),
            (Self::Delete, true) => Some(EventKind::RemovedMarker),
            (Self::Expire, false) => Some(EventKind::Expired),
            (Self::Expire, true) => Some(EventKind::ExpiredMarker),
            _ => None,
        }
    }

    /// What it is that changes what is said of a version; nothing where it makes or removes one.
    pub(crate) const fn amended(self) -> Option<EventKind> {
        match self {
            Self::Tag => Some(EventKind::Tagged),
            Self::Untag => Some(EventKind::Untagged),
            Self::SetAcl => Some(EventKind::AclPut),
            Self::Put | Self::Post | Self::Copy | Self::Complete | Self::Delete | Self::Expire => None,
        }
    }

    /// All that it may be.
    fn happens(self) -> impl Iterator<Item = EventKind> {
        let kinds = [
            self.created(),
            self.removed(false),
            self.removed(true),
            self.amended(),
        ];
        kinds.into_iter().flatten()
    }
}

/// Who asked for a change, as events tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// How it came about.
    pub how: How,
    /// The access key that signed; nothing for nobody, and for the box itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<AccessKeyId>,
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
    /// The id of the request.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request: String,
}

impl Cause {
    /// The same, of a change that comes about in this way.
    #[must_use]
    pub fn of(self, how: How) -> Self {
        Self { how, ..self }
    }
}

/// What is to be told of a change, by the rules that its gateway knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Telling {
    /// The kinds that somebody wants to know of.
    pub wanted: Vec<EventKind>,
    /// Why it happens.
    pub cause: Cause,
}

impl Telling {
    /// What these rules want to know of a change of this key; `None` where nobody wants to know anything.
    pub(crate) fn of(rules: &[NotificationRule], key: &str, cause: &Cause) -> Option<Self> {
        if rules.is_empty() {
            return None;
        }
        let wants = |kind: &EventKind| rules.iter().any(|rule| rule.fits(*kind, key));
        let wanted: Vec<_> = cause.how.happens().filter(wants).collect();
        (!wanted.is_empty()).then(|| Self {
            wanted,
            cause: cause.clone(),
        })
    }
}

/// Something that happened to an object and is still to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectEvent {
    /// What.
    pub kind: EventKind,
    /// When: later than all that happened to the key before, as long as its row knows of them. It names the event.
    pub at: Timestamp,
    /// The version it is about, where versions are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionId>,
    /// Bytes of content.
    pub size: u64,
    /// The entity tag, of what was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<ETag>,
    /// Why it happened.
    pub cause: Cause,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(events: &[&str], prefix: &str, suffix: &str) -> NotificationRule {
        NotificationRule {
            id: "r".into(),
            endpoint: "hook".into(),
            events: events
                .iter()
                .map(|event| EventPattern::parse(event).unwrap())
                .collect(),
            prefix: Some(prefix.to_owned()),
            suffix: Some(suffix.to_owned()),
        }
    }

    #[test]
    fn patterns_name_what_happens_here_and_nothing_else() {
        for text in [
            "s3:ObjectCreated:*",
            "s3:ObjectRemoved:Delete",
            "s3:LifecycleExpiration:*",
            "s3:ObjectTagging:*",
            "s3:ObjectTagging:Delete",
            "s3:ObjectAcl:Put",
        ] {
            assert_eq!(EventPattern::parse(text).unwrap().as_str(), text);
        }
        for text in [
            "",
            "*",
            "s3:*",
            "s3:Object*",
            "ObjectCreated:*",
            "s3:ObjectRestore:*",
            "s3:ObjectCreated:P*",
        ] {
            assert_eq!(EventPattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_rule_fits_by_kind_prefix_and_suffix() {
        let rule = rule(&["s3:ObjectCreated:*"], "in/", ".jpg");
        assert!(rule.fits(EventKind::CreatedCopy, "in/a.jpg"));
        assert!(!rule.fits(EventKind::Removed, "in/a.jpg"));
        assert!(!rule.fits(EventKind::CreatedPut, "in/a.png"));
        assert!(!rule.fits(EventKind::CreatedPut, "a.jpg"));
    }

    #[test]
    fn rules_overlap_where_one_event_could_have_two_receivers() {
        let all = rule(&["s3:ObjectCreated:*"], "", "");
        assert!(all.overlaps(&rule(&["s3:ObjectCreated:Put"], "in/", ".jpg")));
        assert!(!all.overlaps(&rule(&["s3:ObjectRemoved:*"], "", "")));
        let jpg = rule(&["s3:ObjectCreated:*"], "in/", ".jpg");
        assert!(!jpg.overlaps(&rule(&["s3:ObjectCreated:*"], "in/", ".png")));
        assert!(!jpg.overlaps(&rule(&["s3:ObjectCreated:*"], "out/", ".jpg")));
        assert!(jpg.overlaps(&rule(&["s3:ObjectCreated:*"], "in/a", "jpg")));
    }

    #[test]
    fn only_what_somebody_wants_to_know_is_told() {
        let rules = [rule(&["s3:ObjectRemoved:DeleteMarkerCreated"], "", "")];
        let telling = |how| {
            let cause = Cause {
                how,
                ..Cause::default()
            };
            Telling::of(&rules, "k", &cause).map(|telling| telling.wanted)
        };
        assert_eq!(telling(How::Put), None);
        assert_eq!(telling(How::Expire), None);
        assert_eq!(telling(How::Delete), Some(vec![EventKind::RemovedMarker]));
        let rules = [rule(&["s3:ObjectTagging:*", "s3:ObjectAcl:Put"], "", "")];
        for (how, expected) in [
            (How::Put, None),
            (How::Delete, None),
            (How::Tag, Some(EventKind::Tagged)),
            (How::Untag, Some(EventKind::Untagged)),
            (How::SetAcl, Some(EventKind::AclPut)),
        ] {
            let cause = Cause::default().of(how);
            let wanted = Telling::of(&rules, "k", &cause).map(|telling| telling.wanted);
            assert_eq!(wanted, expected.map(|kind| vec![kind]), "{how:?}");
        }
    }
}
