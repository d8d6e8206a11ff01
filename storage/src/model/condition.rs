//! Conditional requests (RFC 9110 section 13, as S3 reads it), decided on values.

use serde::{Deserialize, Serialize};

use super::{ETag, Timestamp, VersionFacts};

/// The tags an `If-Match` or `If-None-Match` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ETagMatch {
    /// `*`: any existing object.
    Any,
    /// Any of these. A tag this store never gives matches nothing and is left out.
    OneOf(Vec<ETag>),
}

impl ETagMatch {
    fn matches(&self, etag: ETag) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(tags) => tags.contains(&etag),
        }
    }
}

/// The conditions of a read or of a copy source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadConditions {
    /// `If-Match`.
    pub if_match: Option<ETagMatch>,
    /// `If-None-Match`.
    pub if_none_match: Option<ETagMatch>,
    /// `If-Modified-Since`, in whole seconds since 1970.
    pub if_modified_since: Option<u64>,
    /// `If-Unmodified-Since`, in whole seconds since 1970.
    pub if_unmodified_since: Option<u64>,
}

/// Why a conditional read is not answered with the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadRefusal {
    /// 304: the client already has it (412 for a copy source).
    NotModified,
    /// 412.
    PreconditionFailed,
}

impl ReadConditions {
    /// Decides for an object with this tag and time: `If-Match` overrides `If-Unmodified-Since`,
    /// `If-None-Match` overrides `If-Modified-Since`.
    ///
    /// # Errors
    /// Which refusal to answer.
    pub fn check(&self, etag: ETag, modified: Timestamp) -> Result<(), ReadRefusal> {
        let modified = modified.as_secs();
        match (&self.if_match, self.if_unmodified_since) {
            (Some(tags), _) if !tags.matches(etag) => return Err(ReadRefusal::PreconditionFailed),
            (None, Some(since)) if modified > since => return Err(ReadRefusal::PreconditionFailed),
            _ => {}
        }
        match (&self.if_none_match, self.if_modified_since) {
            (Some(tags), _) if tags.matches(etag) => Err(ReadRefusal::NotModified),
            (None, Some(since)) if modified <= since => Err(ReadRefusal::NotModified),
            _ => Ok(()),
        }
    }
}

/// What must hold at commit for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteCondition {
    /// Nothing.
    None,
    /// `If-None-Match: *`: no current object.
    Absent,
    /// `If-Match: *`: some current object.
    Present,
    /// `If-Match: "tag"`: the current object has this tag; `None` is a tag no object has.
    Tag(Option<ETag>),
    /// Of deletes: the current object, if there is one, is like this.
    Like(Likeness),
}

/// What an object is like that a client wants deleted; what is not named may be anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Likeness {
    /// Its tag. With one named, an object must be there.
    pub tag: Option<ETag>,
    /// When it was modified, in whole seconds since 1970.
    pub modified: Option<u64>,
    /// Its size in bytes.
    pub size: Option<u64>,
}

impl Likeness {
    fn is_of(&self, facts: &VersionFacts) -> bool {
        self.tag.is_none_or(|tag| tag == facts.etag)
            && self
                .modified
                .is_none_or(|modified| modified == facts.modified.as_secs())
            && self.size.is_none_or(|size| size == facts.size)
    }
}

/// Why a conditional write did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteRefusal {
    /// 412.
    PreconditionFailed,
    /// 404: `If-Match` on a key without a current object.
    NoSuchKey,
}

impl WriteCondition {
    /// Decides against the current version; a delete marker counts as absent.
    ///
    /// # Errors
    /// Which refusal to answer.
    pub fn check(&self, current: Option<&VersionFacts>) -> Result<(), WriteRefusal> {
        let current = current.filter(|facts| !facts.delete_marker);
        match (self, current) {
            (Self::None, _) | (Self::Absent, None) | (Self::Present, Some(_)) => Ok(()),
            (Self::Absent, Some(_)) => Err(WriteRefusal::PreconditionFailed),
            (Self::Like(like), None) if like.tag.is_none() => Ok(()),
            (Self::Like(like), Some(facts)) if like.is_of(facts) => Ok(()),
            (Self::Present | Self::Tag(_) | Self::Like(_), None) => Err(WriteRefusal::NoSuchKey),
            (Self::Tag(tag), Some(facts)) if *tag == Some(facts.etag) => Ok(()),
            (Self::Tag(_) | Self::Like(_), Some(_)) => Err(WriteRefusal::PreconditionFailed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: ETag = ETag::Md5([1; 16]);
    const OTHER: ETag = ETag::Md5([2; 16]);

    fn read(conditions: ReadConditions) -> Result<(), ReadRefusal> {
        conditions.check(TAG, Timestamp::from_millis(100_500))
    }

    #[test]
    fn a_matching_tag_overrides_the_date() {
        let old = Some(1);
        let tags = |tag| Some(ETagMatch::OneOf(vec![tag]));
        let none = ReadConditions::default;
        assert_eq!(
            read(ReadConditions {
                if_unmodified_since: old,
                ..none()
            }),
            Err(ReadRefusal::PreconditionFailed)
        );
        assert_eq!(
            read(ReadConditions {
                if_match: tags(TAG),
                if_unmodified_since: old,
                ..none()
            }),
            Ok(())
        );
        assert_eq!(
            read(ReadConditions {
                if_match: tags(OTHER),
                ..none()
            }),
            Err(ReadRefusal::PreconditionFailed)
        );
        assert_eq!(
            read(ReadConditions {
                if_none_match: tags(TAG),
                ..none()
            }),
            Err(ReadRefusal::NotModified)
        );
        let unchanged_but_other_tag = ReadConditions {
            if_none_match: tags(OTHER),
            if_modified_since: Some(100),
            ..none()
        };
        assert_eq!(read(unchanged_but_other_tag), Ok(()));
        assert_eq!(
            read(ReadConditions {
                if_modified_since: Some(100),
                ..none()
            }),
            Err(ReadRefusal::NotModified)
        );
        assert_eq!(
            read(ReadConditions {
                if_modified_since: Some(99),
                ..none()
            }),
            Ok(())
        );
    }

    #[test]
    fn a_delete_marker_counts_as_absent_for_writes() {
        let here = VersionFacts {
            etag: TAG,
            ..VersionFacts::marker_for_tests()
        };
        let live = VersionFacts {
            delete_marker: false,
            ..here.clone()
        };
        assert_eq!(WriteCondition::Absent.check(Some(&here)), Ok(()));
        assert_eq!(
            WriteCondition::Absent.check(Some(&live)),
            Err(WriteRefusal::PreconditionFailed)
        );
        assert_eq!(
            WriteCondition::Tag(Some(TAG)).check(Some(&here)),
            Err(WriteRefusal::NoSuchKey)
        );
        assert_eq!(WriteCondition::Tag(Some(TAG)).check(Some(&live)), Ok(()));
        assert_eq!(
            WriteCondition::Tag(Some(OTHER)).check(Some(&live)),
            Err(WriteRefusal::PreconditionFailed)
        );
        assert_eq!(
            WriteCondition::Tag(None).check(Some(&live)),
            Err(WriteRefusal::PreconditionFailed)
        );
    }

    #[test]
    fn what_is_deleted_only_if_it_is_like_something_differs_in_nothing_that_is_named() {
        let facts = VersionFacts {
            etag: TAG,
            size: 5,
            modified: Timestamp::from_millis(9_999),
            delete_marker: false,
            ..VersionFacts::marker_for_tests()
        };
        let check = |tag, modified, size, facts| {
            let likeness = Likeness { tag, modified, size };
            WriteCondition::Like(likeness).check(facts)
        };
        let there = Some(&facts);
        assert_eq!(check(Some(TAG), Some(9), Some(5), there), Ok(()));
        assert_eq!(check(None, None, Some(5), there), Ok(()));
        for (tag, modified, size) in [
            (Some(OTHER), Some(9), Some(5)),
            (Some(TAG), Some(10), Some(5)),
            (Some(TAG), Some(9), Some(6)),
        ] {
            assert_eq!(
                check(tag, modified, size, there),
                Err(WriteRefusal::PreconditionFailed)
            );
        }
        assert_eq!(check(None, Some(9), Some(5), None), Ok(()));
        assert_eq!(
            check(Some(TAG), None, Some(5), None),
            Err(WriteRefusal::NoSuchKey)
        );
    }
}
