//! Who sent a request: verifies its signature, or that it has none.

mod chunked;
mod payload;

use std::sync::Arc;

use http::HeaderMap;
use http::request::Parts;
use storage::model::{AccessKey, AccessKeyId, Timestamp};

use crate::error::S3Result;
use crate::uri::Query;

pub use chunked::{Chunked, ChunkedDecoder};
pub use payload::PayloadRule;

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

/// Verifies requests; remembers derived signing keys. One per server.
#[derive(Debug, Default)]
pub struct Authenticator {}

impl Authenticator {
    /// An authenticator that has seen no key yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds out who sent a request. `now` is the server's clock; `lookup` finds an access key by its id.
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
        let _ = (request, query, now, lookup);
        unimplemented!()
    }
}
