//! Writes and reads the three ways S3 spells a moment: ISO 8601 in XML, HTTP dates, and SigV4's basic format.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use storage::model::Timestamp;

const SECS_PER_DAY: u64 = 86_400;

/// 9999-12-31T23:59:59.999Z: the last moment four digits of a year can name. Later ones are shown as this.
const LAST_MILLIS: u64 = 253_402_300_799_999;

/// Formats moments as `2026-11-22T08:10:00.000Z`, remembering the calendar day it met last.
///
/// A LIST page holds a thousand moments, most of them of few days; turning a day number into a date is the
/// costly part.
#[derive(Clone, Debug)]
pub struct IsoTime {
    day: u64,
    text: [u8; 24],
}

impl Default for IsoTime {
    fn default() -> Self {
        Self {
            day: 0,
            text: *b"1970-01-01T00:00:00.000Z",
        }
    }
}

impl IsoTime {
    /// The moment as text; valid until the next call.
    pub fn format(&mut self, time: Timestamp) -> &str {
        // Only ASCII digits are ever written into the ASCII template.
        std::str::from_utf8(self.bytes(time)).unwrap_or_default()
    }

    /// As [`Self::format`], as the bytes of the text.
    pub fn bytes(&mut self, time: Timestamp) -> &[u8; 24] {
        let millis = time.as_millis().min(LAST_MILLIS);
        let (secs, millis) = (millis / 1000, millis % 1000);
        let (day, second) = (secs / SECS_PER_DAY, secs % SECS_PER_DAY);
        if day != self.day {
            self.day = day;
            let date = date_of_day(day);
            digits(&mut self.text[0..4], u64::from(date.year().unsigned_abs()));
            digits(&mut self.text[5..7], u64::from(date.month().unsigned_abs()));
            digits(&mut self.text[8..10], u64::from(date.day().unsigned_abs()));
        }
        self.text[11..13].copy_from_slice(two_digits(second / 3600));
        self.text[14..16].copy_from_slice(two_digits(second / 60 % 60));
        self.text[17..19].copy_from_slice(two_digits(second % 60));
        self.text[20] = two_digits(millis / 100)[1];
        self.text[21..23].copy_from_slice(two_digits(millis % 100));
        &self.text
    }
}

/// The calendar date of a day since 1970-01-01; at most 9999-12-31.
fn date_of_day(day: u64) -> Date {
    let secs = i64::try_from(day.saturating_mul(SECS_PER_DAY)).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(secs).map_or(Date::MAX, |time| TimeZone::UTC.to_datetime(time).date())
}

/// The last two decimal digits of a number.
#[inline]
pub(crate) fn two_digits(value: u64) -> &'static [u8; 2] {
    const ALL: [[u8; 2]; 100] = {
        let mut all = [[b'0'; 2]; 100];
        let mut value = 0_u8;
        while value < 100 {
            all[value as usize] = [b'0' + value / 10, b'0' + value % 10];
            value += 1;
        }
        all
    };
    &ALL[usize::from((value % 100).to_le_bytes()[0])]
}

/// Fills `into` with the decimal digits of `value`, zeros first.
fn digits(into: &mut [u8], mut value: u64) {
    for byte in into.iter_mut().rev() {
        *byte = b'0' + (value % 10).to_le_bytes()[0];
        value /= 10;
    }
}

/// The moment as an HTTP date (RFC 9110), e.g. for Last-Modified; whole seconds.
pub fn http_date(time: Timestamp) -> String {
    let secs = time.as_secs().min(LAST_MILLIS / 1000);
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(secs))
}

/// Reads an HTTP date in any of RFC 9110's three formats, in whole seconds since 1970.
pub fn parse_http_date(text: &str) -> Option<u64> {
    let time: SystemTime = httpdate::parse_http_date(text.trim()).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// The moment as XML shows it: `2026-11-22T08:10:00.000Z`.
pub(crate) fn iso_date(time: Timestamp) -> String {
    IsoTime::default().format(time).to_owned()
}

/// Reads a moment in ISO 8601 with its offset, e.g. `2026-11-22T08:10:00Z`, not before 1970.
pub(crate) fn parse_iso(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_millisecond())
        .ok()
        .map(Timestamp::from_millis)
}

/// Reads SigV4's `20130524T000000Z`, in whole seconds since 1970.
pub fn parse_basic(text: &str) -> Option<u64> {
    let bytes: &[u8; 16] = text.as_bytes().try_into().ok()?;
    if bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| -> Option<i16> {
        bytes[range].iter().try_fold(0_i16, |sum, byte| {
            let digit = byte.is_ascii_digit().then(|| i16::from(byte - b'0'))?;
            Some(sum * 10 + digit)
        })
    };
    let small = |range| number(range).and_then(|n| i8::try_from(n).ok());
    let time = DateTime::new(
        number(0..4)?,
        small(4..6)?,
        small(6..8)?,
        small(9..11)?,
        small(11..13)?,
        small(13..15)?,
        0,
    )
    .ok()?;
    let secs = TimeZone::UTC.to_timestamp(time).ok()?.as_second();
    u64::try_from(secs).ok()
}

/// The moment in SigV4's basic format, whole seconds.
pub fn format_basic(secs: u64) -> String {
    let mut iso = IsoTime::default();
    let text = iso.format(Timestamp::from_millis(secs.saturating_mul(1000)));
    text[..19]
        .chars()
        .filter(|c| !matches!(c, '-' | ':'))
        .chain(['Z'])
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_written_as_s3_writes_them() {
        let mut iso = IsoTime::default();
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_335_000_000, "2026-11-22T08:10:00.000Z"),
            (951_827_696_789, "2000-02-29T12:34:56.789Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(iso.format(Timestamp::from_millis(millis)), text);
        }
        assert_eq!(
            http_date(Timestamp::from_millis(784_111_777_999)),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(
            parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(784_111_777)
        );
        assert_eq!(
            http_date(Timestamp::from_millis(u64::MAX)),
            "Fri, 31 Dec 9999 23:59:59 GMT"
        );
    }

    #[test]
    fn only_real_moments_are_read() {
        assert_eq!(parse_basic("20130524T000000Z"), Some(1_369_353_600));
        for bad in [
            "",
            "20130524T000000",
            "20130532T000000Z",
            "2013-524T000000Z",
            "20130524 000000Z",
            "20130524T0000é",
        ] {
            assert_eq!(parse_basic(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_basic_format_reads_back(secs in 0..253_402_300_800_u64) {
            prop_assert_eq!(parse_basic(&format_basic(secs)), Some(secs));
        }

        #[test]
        fn a_remembered_day_changes_nothing(times in prop::collection::vec(0..LAST_MILLIS, 1..20)) {
            let mut iso = IsoTime::default();
            for millis in times {
                let time = jiff::Timestamp::from_millisecond(i64::try_from(millis).unwrap()).unwrap();
                prop_assert_eq!(iso.format(Timestamp::from_millis(millis)), format!("{time:.3}"));
            }
        }
    }
}
