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
            (Self::Present | Self::Tag(_), None) => Err(WriteRefusal::NoSuchKey),
            (Self::Tag(tag), Some(facts)) if *tag == Some(facts.etag) => Ok(()),
            (Self::Tag(_), Some(_)) => Err(WriteRefusal::PreconditionFailed),
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
}
