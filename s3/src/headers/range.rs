//! Which bytes of an object a request asks for.

use std::ops::Range;

use http::{HeaderMap, HeaderValue, header};

use crate::error::{S3Code, S3Error, S3Result};

/// One range as a client wrote it, not yet held against a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// From here to there, both included; to the end without a second number.
    From(u64, Option<u64>),
    /// So many bytes at the end.
    Last(u64),
}

/// Reads one `bytes=a-b`, `bytes=a-` or `bytes=-n`; anything else is no range.
fn parse(text: &str) -> Option<Wanted> {
    let (unit, range) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    // `parse` alone would take a leading plus.
    let number = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => digits.parse::<u64>().ok(),
        false => None,
    };
    match (first, last) {
        ("", last) => Some(Wanted::Last(number(last)?)),
        (first, "") => Some(Wanted::From(number(first)?, None)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Wanted::From(first, Some(last)))
        }
    }
}

/// A range that begins behind the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the range begins behind the end")]
pub struct BehindTheEnd;

/// The bytes that the text of a `Range` asks for of an object of this size; `None` for all of it, as a malformed or multiple
/// range does.
///
/// # Errors
/// The range begins behind the end.
pub fn range_of(text: &str, size: u64) -> Result<Option<Range<u64>>, BehindTheEnd> {
    let Some(wanted) = parse(text) else {
        return Ok(None);
    };
    let range = match wanted {
        Wanted::From(first, last) => first..last.map_or(size, |last| size.min(last.saturating_add(1))),
        Wanted::Last(count) => size.saturating_sub(count)..size,
    };
    if range.start < range.end {
        Ok(Some(range))
    } else {
        Err(BehindTheEnd)
    }
}

/// The bytes a `Range` asks for, as [`range_of`] reads it.
///
/// # Errors
/// `InvalidRange`, with the size in `Content-Range`: the range begins behind the end.
pub(crate) fn requested_range(headers: &HeaderMap, size: u64) -> S3Result<Option<Range<u64>>> {
    let Some(text) = headers.get(header::RANGE).and_then(|text| text.to_str().ok()) else {
        return Ok(None);
    };
    range_of(text, size).map_err(|BehindTheEnd| {
        let error = S3Error::new(S3Code::InvalidRange)
            .field("RangeRequested", text)
            .field("ActualObjectSize", size.to_string());
        match HeaderValue::try_from(format!("bytes */{size}")) {
            Ok(content_range) => error.header(header::CONTENT_RANGE, content_range),
            Err(_) => error,
        }
    })
}

/// The bytes an `x-amz-copy-source-range` asks for, all if it is not there.
///
/// # Errors
/// `InvalidArgument`: anything but `bytes=first-last`. `InvalidRange`: past the end.
pub(crate) fn copy_range(headers: &HeaderMap, size: u64) -> S3Result<Range<u64>> {
    const NAME: &str = "x-amz-copy-source-range";
    let Some(text) = super::text(headers, NAME)? else {
        return Ok(0..size);
    };
    match parse(text) {
        Some(Wanted::From(first, Some(last))) if last < size => Ok(first..last + 1),
        Some(Wanted::From(_, Some(_))) => Err(S3Error::with_message(
            S3Code::InvalidRange,
            format!("Range specified is not valid for source object of size: {size}"),
        )),
        _ => Err(S3Error::invalid_argument(
            NAME,
            text,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy",
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn requested(text: &str, size: u64) -> Result<Option<Range<u64>>, S3Code> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_str(text).unwrap());
        requested_range(&headers, size).map_err(|error| error.code())
    }

    fn copied(text: &str, size: u64) -> Result<Range<u64>, S3Code> {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-copy-source-range", HeaderValue::from_str(text).unwrap());
        copy_range(&headers, size).map_err(|error| error.code())
    }

    #[test]
    fn a_range_is_clipped_refused_or_ignored_as_s3_does() {
        for (text, size, expected) in [
            ("bytes=0-3", 10, Ok(Some(0..4))),
            ("bytes=0-99", 10, Ok(Some(0..10))),
            ("bytes=0-18446744073709551615", 10, Ok(Some(0..10))),
            ("bytes=9-", 10, Ok(Some(9..10))),
            ("bytes=-3", 10, Ok(Some(7..10))),
            ("bytes=-99", 10, Ok(Some(0..10))),
            ("bytes=10-", 10, Err(S3Code::InvalidRange)),
            ("bytes=-0", 10, Err(S3Code::InvalidRange)),
            ("bytes=0-0", 0, Err(S3Code::InvalidRange)),
            ("bytes=-1", 0, Err(S3Code::InvalidRange)),
            ("bytes=3-1", 10, Ok(None)),
            ("bytes=0-1,3-4", 10, Ok(None)),
            ("bytes=+1-2", 10, Ok(None)),
            ("lines=0-1", 10, Ok(None)),
            ("bytes=", 10, Ok(None)),
            ("bytes=-", 10, Ok(None)),
        ] {
            assert_eq!(requested(text, size), expected, "{text} of {size}");
        }
    }

    #[test]
    fn the_range_of_a_copy_is_taken_at_its_word() {
        assert_eq!(copied("bytes=0-9", 10), Ok(0..10));
        for past_the_end in ["bytes=5-10", "bytes=10-10", "bytes=10-99"] {
            assert_eq!(
                copied(past_the_end, 10),
                Err(S3Code::InvalidRange),
                "{past_the_end}"
            );
        }
        for malformed in ["bytes=0-", "bytes=-1", "0-9", "bytes=3-1", "bytes=0-1,2-3"] {
            assert_eq!(copied(malformed, 10), Err(S3Code::InvalidArgument), "{malformed}");
        }
    }

    proptest! {
        #[test]
        fn a_range_never_leaves_the_object(text in "bytes=[0-9]{0,20}-[0-9]{0,20}", size in any::<u64>()) {
            if let Ok(Some(range)) = requested(&text, size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }
}
