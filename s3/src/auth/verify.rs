//! Verifies one request: which of its parts claims a signature, whose it is, and whether it matches.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use ring::hmac;
use storage::model::{AccessKey, AccessKeyId, SecretKey, Timestamp};
use subtle::ConstantTimeEq;

use super::canonical::{Spelling, canonical_request, require_signed, string_to_sign};
use super::chunk_signing::{Seed, sign};
use super::claim::{Claim, Lifetime};
use super::payload::{self, PayloadRule};
use super::presigned::{self, Presigned};
use super::signing_key::{SigningKeys, derive};
use super::sigv4::{self, Authorization};
use crate::error::{S3Code, S3Error, S3Result};
use crate::uri::Query;

/// Who sent a request.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Nobody we know: no signature at all.
    Anonymous,
    /// Whoever holds the secret of this access key.
    Key(Arc<AccessKey>),
}

/// A request whose sender is known.
#[derive(Debug)]
pub struct Verified {
    /// Who sent it.
    pub identity: Identity,
    /// What its body must satisfy.
    pub payload: PayloadRule,
    /// `x-amz-*` parameters of a presigned request, which count as headers; add them to the request's own.
    pub hoisted: HeaderMap,
}

impl Verified {
    /// A request that nobody needs to have signed, without a body.
    pub(crate) fn nobody() -> Self {
        Self {
            identity: Identity::Anonymous,
            payload: PayloadRule::Unsigned,
            hoisted: HeaderMap::new(),
        }
    }
}

/// Verifies requests; remembers derived signing keys. One per server.
#[derive(Debug)]
pub struct Authenticator {
    keys: SigningKeys,
}

impl Default for Authenticator {
    fn default() -> Self {
        Self::new()
    }
}

impl Authenticator {
    /// An authenticator that has seen no key yet.
    pub fn new() -> Self {
        Self {
            keys: SigningKeys::new(),
        }
    }

    /// Finds out who sent a request. `query` is that of `request`, `now` is the server's clock, and `lookup`
    /// finds an access key by its id.
    ///
    /// # Errors
    /// Why the request is refused: `SignatureDoesNotMatch`, `InvalidAccessKeyId`, `RequestTimeTooSkewed`,
    /// `AccessDenied` (expired, or headers not signed), or how its authorization is malformed.
    pub fn verify(
        &self,
        request: &Parts,
        query: &Query,
        now: Timestamp,
        lookup: impl FnOnce(&AccessKeyId) -> Option<Arc<AccessKey>>,
    ) -> S3Result<Verified> {
        let headers = &request.headers;
        let Some(claim) = claim(headers, query)? else {
            return Ok(Verified {
                identity: Identity::Anonymous,
                payload: PayloadRule::parse(payload::header(headers)?, headers, None)?,
                hoisted: HeaderMap::new(),
            });
        };
        claim.check_time(now)?;
        refuse_session_token(headers, query)?;
        let unknown =
            || S3Error::new(S3Code::InvalidAccessKeyId).field("AWSAccessKeyId", claim.credential.key_id);
        let access_key = claim
            .credential
            .access_key_id()
            .and_then(|id| lookup(&id))
            .ok_or_else(unknown)?;
        require_signed(request, claim.signed_headers)?;
        let seed = self.check_signature(request, query, &claim, &access_key.secret)?;
        let hoisted = match claim.lifetime {
            Lifetime::Now => HeaderMap::new(),
            Lifetime::Presigned(_) => presigned::hoisted(query, headers)?,
        };
        let mut headers = Cow::Borrowed(headers);
        if !hoisted.is_empty() {
            headers.to_mut().extend(hoisted.clone());
        }
        Ok(Verified {
            payload: PayloadRule::parse(Some(claim.payload_hash), &headers, Some(seed))?,
            identity: Identity::Key(access_key),
            hoisted,
        })
    }

    /// Compares the signature with the one the secret makes; gives what a chain over chunks begins with.
    fn check_signature<'c>(
        &self,
        request: &Parts,
        query: &Query,
        claim: &'c Claim<'_>,
        secret: &SecretKey,
    ) -> S3Result<Seed<'c>> {
        let recalled = self.keys.recall(secret, &claim.credential);
        let known = recalled.is_some();
        let key = recalled.unwrap_or_else(|| derive(secret, &claim.credential));
        let canonical = canonical_request(request, query, claim, Spelling::Canonical);
        let signature = match matching(&key, claim, &canonical) {
            Some(signature) => signature,
            None => {
                let as_sent = canonical_request(request, query, claim, Spelling::AsSent);
                matching(&key, claim, &as_sent).ok_or_else(|| mismatch(claim, &canonical))?
            }
        };
        if !known {
            self.keys.remember(secret, &claim.credential, &key);
        }
        Ok(Seed {
            key,
            timestamp: &claim.timestamp,
            scope: claim.credential.scope,
            signature,
        })
    }
}

/// The key that a request says it is signed with, be that true or not: enough to know what its sender calls things, and for
/// nothing else.
pub(crate) fn claimed_key(headers: &HeaderMap, query: Option<&str>) -> Option<AccessKeyId> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let authorization = Authorization::parse(value.to_str().ok()?).ok()?;
        return authorization.credential.access_key_id();
    }
    let query = Query::parse(query).ok()?;
    Presigned::parse(&query).ok()??.credential.access_key_id()
}

/// The signature to check, if the request has any: exactly one, in its header or in its query.
fn claim<'r>(headers: &'r HeaderMap, query: &'r Query) -> S3Result<Option<Claim<'r>>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let presigned = Presigned::parse(query);
    match (values.next(), values.next()) {
        (None, _) => presigned?.map(|presigned| presigned.claim(headers)).transpose(),
        (Some(value), None) if matches!(presigned, Ok(None)) => {
            let text = value.to_str().map_err(|_| S3Error::new(S3Code::AccessDenied))?;
            sigv4::claim(text, headers).map(Some)
        }
        _ => Err(S3Error::with_message(
            S3Code::InvalidArgument,
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
             parameter or the Authorization header should be specified, and once.",
        )
        .field("ArgumentName", "Authorization")),
    }
}

/// This store gives no temporary credentials, so that a session token is a mistake that should be noticed.
fn refuse_session_token(headers: &HeaderMap, query: &Query) -> S3Result<()> {
    let header = headers
        .get("x-amz-security-token")
        .is_some_and(|token| !token.is_empty());
    if header
        || query
            .get("X-Amz-Security-Token")
            .is_some_and(|token| !token.is_empty())
    {
        return Err(S3Code::InvalidToken.into());
    }
    Ok(())
}

/// The signature in hexadecimal digits, if it is the one claimed.
fn matching(key: &hmac::Key, claim: &Claim<'_>, canonical: &[u8]) -> Option<[u8; 64]> {
    let computed = sign(key, &string_to_sign(claim, canonical));
    bool::from(computed.ct_eq(claim.signature.as_bytes())).then_some(computed)
}

/// Shows what the server signed, so that it can be laid beside what the client signed.
fn mismatch(claim: &Claim<'_>, canonical: &[u8]) -> S3Error {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    S3Error::new(S3Code::SignatureDoesNotMatch)
        .field("AWSAccessKeyId", claim.credential.key_id)
        .field("StringToSign", text(&string_to_sign(claim, canonical)))
        .field("SignatureProvided", claim.signature)
        .field("CanonicalRequest", text(canonical))
}
