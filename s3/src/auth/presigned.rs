//! Reads a signature from the query of a presigned URL.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::claim::{Claim, Lifetime};
use super::credential::Credential;
use super::sigv4::{sigv2_refused, sigv4a_refused};
use crate::error::{S3Code, S3Error, S3Result};
use crate::time;
use crate::uri::Query;

/// The longest a presigned URL may hold, in seconds: seven days.
const EXPIRES_MAX_SECS: u64 = 7 * 24 * 60 * 60;

/// The parameters that are the signature; every other `x-amz-*` parameter counts as a header.
const SIGNATURE_PARAMETERS: [&str; 8] = [
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-signedheaders",
    "x-amz-signature",
    "x-amz-security-token",
    "x-amz-content-sha256",
];

/// The parameters of a presigned URL that are the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presigned<'r> {
    /// `X-Amz-Credential`.
    pub credential: Credential<'r>,
    /// `X-Amz-SignedHeaders`.
    pub signed_headers: &'r str,
    /// `X-Amz-Signature`.
    pub signature: &'r str,
    /// `X-Amz-Date`, as written.
    pub date: &'r str,
    /// `X-Amz-Date` in seconds since 1970.
    pub signed_at: u64,
    /// `X-Amz-Expires`, in seconds: 1 to 604,800.
    pub expires: u64,
    /// `X-Amz-Content-Sha256`, if given.
    pub payload_hash: Option<&'r str>,
}

impl<'r> Presigned<'r> {
    /// Reads the parameters; `None` when the query carries no signature at all.
    ///
    /// # Errors
    /// `NotImplemented` for the other two signature versions of AWS, else
    /// `AuthorizationQueryParametersError`.
    pub fn parse(query: &'r Query) -> S3Result<Option<Self>> {
        let marks = ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature"];
        if !query
            .iter()
            .any(|(name, _)| marks.iter().any(|mark| mark.eq_ignore_ascii_case(name)))
        {
            let version_two = query.has("AWSAccessKeyId") || query.has("Signature");
            return if version_two {
                Err(sigv2_refused())
            } else {
                Ok(None)
            };
        }
        match required(query, "X-Amz-Algorithm")? {
            "AWS4-HMAC-SHA256" => {}
            "AWS4-ECDSA-P256-SHA256" => return Err(sigv4a_refused()),
            _ => return Err(malformed("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"")),
        }
        let credential = Credential::parse(required(query, "X-Amz-Credential")?).map_err(|what| {
            malformed(format!(
                "Error parsing the X-Amz-Credential parameter: the credential {what}."
            ))
        })?;
        let date = required(query, "X-Amz-Date")?;
        let signed_at = time::parse_basic(date).ok_or_else(|| {
            malformed("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
        })?;
        if !date.starts_with(credential.date) {
            return Err(malformed(
                "The date in X-Amz-Credential is not that of X-Amz-Date.",
            ));
        }
        Ok(Some(Self {
            credential,
            signed_headers: required(query, "X-Amz-SignedHeaders")?,
            signature: required(query, "X-Amz-Signature")?,
            date,
            signed_at,
            expires: expires(required(query, "X-Amz-Expires")?)?,
            payload_hash: only(query, "X-Amz-Content-Sha256")?,
        }))
    }

    pub(super) fn claim(self, headers: &'r HeaderMap) -> S3Result<Claim<'r>> {
        let payload_hash = match self.payload_hash {
            Some(hash) => hash,
            None => super::payload::header(headers)?.unwrap_or(super::payload::UNSIGNED),
        };
        Ok(Claim {
            credential: self.credential,
            signed_headers: self.signed_headers,
            signature: self.signature,
            timestamp: Cow::Borrowed(self.date),
            signed_at: self.signed_at,
            payload_hash,
            lifetime: Lifetime::Presigned(self.expires),
        })
    }
}

/// The `x-amz-*` parameters of a presigned request that count as headers. The signature covers the query,
/// so they are as signed as a signed header.
pub(super) fn hoisted(query: &Query, headers: &HeaderMap) -> S3Result<HeaderMap> {
    let mut hoisted = HeaderMap::new();
    for (name, value) in query.iter() {
        let header = name
            .get(..6)
            .is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"));
        if !header
            || SIGNATURE_PARAMETERS
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name))
        {
            continue;
        }
        let refused = |message| S3Error::invalid_argument(name, value, message);
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| refused("The parameter's name is not that of a header."))?;
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| refused("The parameter's value cannot be that of a header."))?;
        if headers.get(&header).is_some_and(|given| *given != value) {
            return Err(refused("The parameter contradicts the header of the same name."));
        }
        if hoisted.insert(header, value).is_some() {
            return Err(refused("The parameter is given twice."));
        }
    }
    Ok(hoisted)
}

fn expires(text: &str) -> S3Result<u64> {
    match text.parse::<i64>() {
        Err(_) => Err(malformed("X-Amz-Expires should be a number")),
        Ok(secs) => match u64::try_from(secs) {
            Ok(secs @ 1..=EXPIRES_MAX_SECS) => Ok(secs),
            Ok(secs) if secs > 0 => Err(malformed(
                "X-Amz-Expires must be less than a week (in seconds) that is 604800",
            )),
            _ => Err(malformed("X-Amz-Expires must be at least one second")),
        },
    }
}

/// The one value of a parameter, whatever the case of its name.
fn only<'r>(query: &'r Query, wanted: &str) -> S3Result<Option<&'r str>> {
    let mut found = query
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(wanted))
        .map(|(_, value)| value);
    match (found.next(), found.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(malformed(format!("{wanted} is given twice."))),
    }
}

fn required<'r>(query: &'r Query, name: &str) -> S3Result<&'r str> {
    only(query, name)?.ok_or_else(|| {
        malformed(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
             X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
        )
    })
}

fn malformed(message: impl Into<Cow<'static, str>>) -> S3Error {
    S3Error::with_message(S3Code::AuthorizationQueryParametersError, message)
}
