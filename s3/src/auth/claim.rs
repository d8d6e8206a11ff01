//! A signature to be checked: what the client says it signed, wherever in the request it says so.

use std::borrow::Cow;

use storage::model::Timestamp;

use super::credential::Credential;
use crate::error::{S3Code, S3Error, S3Result};
use crate::time::IsoTime;

/// How far the client's clock may be from ours, in seconds. Source: AWS, "RequestTimeTooSkewed".
const SKEW_MAX_SECS: u64 = 15 * 60;

/// A signature to be checked.
#[derive(Clone, Debug)]
pub(super) struct Claim<'r> {
    pub(super) credential: Credential<'r>,
    /// Lower-case names with `;` between them.
    pub(super) signed_headers: &'r str,
    /// 64 hexadecimal digits, or it matches nothing.
    pub(super) signature: &'r str,
    /// When it was signed, as the string to sign has it.
    pub(super) timestamp: Cow<'r, str>,
    /// The same in seconds since 1970.
    pub(super) signed_at: u64,
    /// The last line of the canonical request.
    pub(super) payload_hash: &'r str,
    pub(super) lifetime: Lifetime,
}

/// How long a signature holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// In an Authorization header: fifteen minutes around our clock.
    Now,
    /// In a query: so many seconds, 1 to 604,800.
    Presigned(u64),
}

impl Claim<'_> {
    /// Whether the signature holds at this moment.
    pub(super) fn check_time(&self, now: Timestamp) -> S3Result<()> {
        let server = now.as_secs();
        match self.lifetime {
            Lifetime::Now if server.abs_diff(self.signed_at) > SKEW_MAX_SECS => {
                Err(S3Error::new(S3Code::RequestTimeTooSkewed)
                    .field("RequestTime", self.timestamp.as_ref())
                    .field("ServerTime", iso(server))
                    .field("MaxAllowedSkewMilliseconds", (SKEW_MAX_SECS * 1000).to_string()))
            }
            Lifetime::Presigned(_) if self.signed_at > server.saturating_add(SKEW_MAX_SECS) => {
                Err(S3Error::with_message(
                    S3Code::AccessDenied,
                    "Request is not valid yet: compare the clocks of signer and server.",
                )
                .field("ServerTime", iso(server)))
            }
            Lifetime::Presigned(secs) if server > self.signed_at.saturating_add(secs) => Err(
                S3Error::with_message(S3Code::AccessDenied, "Request has expired. Ask for a new link.")
                    .field("X-Amz-Expires", secs.to_string())
                    .field("Expires", iso(self.signed_at.saturating_add(secs)))
                    .field("ServerTime", iso(server)),
            ),
            _ => Ok(()),
        }
    }
}

fn iso(secs: u64) -> String {
    IsoTime::default()
        .format(Timestamp::from_millis(secs.saturating_mul(1000)))
        .to_owned()
}
