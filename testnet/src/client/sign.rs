//! Signs requests with AWS Signature Version 4, deriving each day's key once.

use std::time::{SystemTime, UNIX_EPOCH};

use ring::{digest, hmac};

use super::Body;

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const SIGNED_HEADERS: &str = "host;x-amz-content-sha256;x-amz-date";

/// Whether signatures cover bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// The body is hashed before it is sent.
    Signed,
    /// `UNSIGNED-PAYLOAD`, which is what clients use over TLS.
    Unsigned,
}

/// An access key, ready to sign.
#[derive(Clone)]
pub(crate) struct Signer {
    access_key: String,
    secret: String,
    region: String,
    payload: Payload,
    day: Option<Day>,
}

/// The key derived for one day.
#[derive(Clone)]
struct Day {
    date: String,
    key: hmac::Key,
}

/// The parts of a request that a signature covers beside its time and body.
pub(super) struct Signable<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) host: &'a str,
}

impl Signer {
    /// Signs as `access_key` for `region`.
    pub(crate) fn new(access_key: &str, secret: &str, region: &str, payload: Payload) -> Self {
        Self {
            access_key: access_key.into(),
            secret: secret.into(),
            region: region.into(),
            payload,
            day: None,
        }
    }

    /// Appends the headers that authenticate the request, each with its line end.
    pub(super) fn sign(
        &mut self,
        request: &Signable<'_>,
        body: &Body<'_>,
        now: SystemTime,
        out: &mut Vec<u8>,
    ) {
        let time = timestamp(now);
        let hash = match self.payload {
            Payload::Signed => body_hash(body),
            Payload::Unsigned => UNSIGNED.to_owned(),
        };
        let scope = format!("{}/{}/s3/aws4_request", &time[..8], self.region);
        let to_sign = [
            "AWS4-HMAC-SHA256\n",
            &time,
            "\n",
            &scope,
            "\n",
            &canonical_hash(request, &time, &hash),
        ]
        .concat();
        let signature = hex::encode(hmac::sign(self.key_of(&time[..8]), to_sign.as_bytes()));
        let lines = [
            "x-amz-date: ",
            &time,
            "\r\nx-amz-content-sha256: ",
            &hash,
            "\r\nauthorization: AWS4-HMAC-SHA256 Credential=",
            &self.access_key,
            "/",
            &scope,
            ", SignedHeaders=",
            SIGNED_HEADERS,
            ", Signature=",
            &signature,
            "\r\n",
        ];
        lines
            .iter()
            .for_each(|part| out.extend_from_slice(part.as_bytes()));
    }

    fn key_of(&mut self, date: &str) -> &hmac::Key {
        if self.day.as_ref().is_some_and(|day| day.date != date) {
            self.day = None;
        }
        let Self {
            secret, region, day, ..
        } = self;
        &day.get_or_insert_with(|| Day {
            date: date.into(),
            key: derive(secret, region, date),
        })
        .key
    }
}

fn derive(secret: &str, region: &str, date: &str) -> hmac::Key {
    let first = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
    [date, region, "s3", "aws4_request"]
        .iter()
        .fold(first, |key, step| {
            hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, step.as_bytes()).as_ref())
        })
}

fn canonical_hash(request: &Signable<'_>, time: &str, body_hash: &str) -> String {
    let lines = [
        request.method,
        "\n",
        request.path,
        "\n",
        request.query,
        "\nhost:",
        request.host,
        "\nx-amz-content-sha256:",
        body_hash,
        "\nx-amz-date:",
        time,
        "\n\n",
        SIGNED_HEADERS,
        "\n",
        body_hash,
    ];
    let mut context = digest::Context::new(&digest::SHA256);
    lines.iter().for_each(|part| context.update(part.as_bytes()));
    hex::encode(context.finish())
}

fn body_hash(body: &Body<'_>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    match body {
        Body::Empty => {}
        Body::Bytes(bytes) => context.update(bytes),
        Body::Content(content) => content.for_each_chunk(|chunk| context.update(chunk)),
    }
    hex::encode(context.finish())
}

/// `20130524T000000Z`; a time before 1970 counts as 1970.
/// A time in whole seconds as XML has it: `2026-11-27T20:45:45Z`.
pub(crate) fn iso(time: SystemTime) -> String {
    let amz = timestamp(time);
    let part = |range: std::ops::Range<usize>| amz.get(range).unwrap_or_default().to_owned();
    format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0..4),
        part(4..6),
        part(6..8),
        part(9..11),
        part(11..13),
        part(13..15)
    )
}

fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Days since 1970 to year, month and day (read: Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    // The algorithm's eras of 400 years start on 0000-03-01, which lies 719,468 days before 1970.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// 2013-05-24, the day of Amazon's published examples.
    const EXAMPLE_DAY: Duration = Duration::from_secs(1_369_353_600);

    /// Amazon's published examples for S3: their key, bucket and time.
    fn check(query: &str, signature: &str) {
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let mut signer = Signer::new("AKIAIOSFODNN7EXAMPLE", secret, "us-east-1", Payload::Signed);
        let request = Signable {
            method: "GET",
            path: "/",
            query,
            host: "examplebucket.s3.amazonaws.com",
        };
        let mut out = Vec::new();
        signer.sign(&request, &Body::Empty, UNIX_EPOCH + EXAMPLE_DAY, &mut out);
        let headers = String::from_utf8(out).unwrap();
        assert!(
            headers.contains(&format!("Signature={signature}\r\n")),
            "{headers}"
        );
    }

    #[test]
    fn signatures_equal_those_amazon_publishes() {
        check(
            "lifecycle=",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        );
        check(
            "max-keys=2&prefix=J",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        );
    }

    #[test]
    fn a_new_day_derives_a_new_key() {
        let mut signer = Signer::new("id", "secret", "us-east-1", Payload::Unsigned);
        let first = hmac::sign(signer.key_of("20130524"), b"x");
        let next = hmac::sign(signer.key_of("20130525"), b"x");
        assert_ne!(first.as_ref(), next.as_ref());
    }

    #[test]
    fn a_time_is_written_as_xml_has_it() {
        let time = UNIX_EPOCH + Duration::from_secs(1_795_812_345);
        assert_eq!(iso(time), "2026-11-27T20:45:45Z");
    }

    #[test]
    fn timestamps_know_leap_years_and_year_ends() {
        for (seconds, text) in [
            (0, "19700101T000000Z"),
            (951_782_400, "20000229T000000Z"),
            (1_709_251_199, "20240229T235959Z"),
            (1_767_225_599, "20251231T235959Z"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
