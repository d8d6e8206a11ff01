//! Errors of the admin API as problem documents (RFC 9457) with a stable code.

use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::NodeError;
use crate::api::Schema;

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Version of this document.
    pub schema: Schema,
    /// The HTTP status, repeated for readers who see only the document.
    pub status: u16,
    /// Stable name of the kind of problem, for programs.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
}

impl Problem {
    /// The media type of the document.
    pub const CONTENT_TYPE: &str = "application/problem+json";

    pub(crate) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            schema: Schema,
            status: status.as_u16(),
            code: code.into(),
            detail: detail.into(),
        }
    }

    /// A request that cannot be read, and why.
    pub(crate) fn malformed(why: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", why)
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<NodeError> for Problem {
    fn from(error: NodeError) -> Self {
        let (status, code) = match &error {
            NodeError::NoSuchBucket(_) => (StatusCode::NOT_FOUND, "no-such-bucket"),
            NodeError::NoSuchKey(_) => (StatusCode::NOT_FOUND, "no-such-key"),
            NodeError::AmbiguousKey(_) => (StatusCode::CONFLICT, "ambiguous-key"),
            NodeError::BucketExists(_) => (StatusCode::CONFLICT, "bucket-exists"),
            NodeError::BucketNotEmpty(_) => (StatusCode::CONFLICT, "bucket-not-empty"),
            NodeError::KeyExists(_) => (StatusCode::CONFLICT, "key-exists"),
            NodeError::NoSuchPeer(_) => (StatusCode::NOT_FOUND, "no-such-peer"),
            NodeError::AmbiguousPeer(_) => (StatusCode::CONFLICT, "ambiguous-peer"),
            NodeError::ThisBox(_) => (StatusCode::UNPROCESSABLE_ENTITY, "this-box"),
            NodeError::StillNeeded(..) => (StatusCode::CONFLICT, "still-needed"),
            NodeError::StillHolds(..) => (StatusCode::CONFLICT, "still-holds"),
            NodeError::NotLost(_) => (StatusCode::CONFLICT, "not-lost"),
            NodeError::NoSuchInvite(_) => (StatusCode::NOT_FOUND, "no-such-invite"),
            NodeError::InviteUsed(_) => (StatusCode::CONFLICT, "invite-used"),
            NodeError::NoAnswer(_) => (StatusCode::GATEWAY_TIMEOUT, "no-answer"),
            NodeError::TooFewAnswer => (StatusCode::GATEWAY_TIMEOUT, "too-few-answer"),
            NodeError::NoSuchObject(_) => (StatusCode::NOT_FOUND, "no-such-object"),
            NodeError::NoSuchVersion(_) => (StatusCode::NOT_FOUND, "no-such-version"),
            NodeError::NoSuchUpload => (StatusCode::NOT_FOUND, "no-such-upload"),
            NodeError::NoVersions(_) => (StatusCode::CONFLICT, "no-versions"),
            NodeError::Locked(_) => (StatusCode::CONFLICT, "locked"),
            NodeError::OverQuota(_) => (StatusCode::CONFLICT, "over-quota"),
            NodeError::TooManyVersions(_) => (StatusCode::CONFLICT, "too-many-versions"),
            NodeError::CustomerKey(_) => (StatusCode::CONFLICT, "customer-key"),
            NodeError::OutOfRange(_) => (StatusCode::RANGE_NOT_SATISFIABLE, "out-of-range"),
            NodeError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
            NodeError::BrokeOff => (StatusCode::BAD_REQUEST, "broke-off"),
            NodeError::NoOwner => (StatusCode::CONFLICT, "no-owner"),
            NodeError::Busy => (StatusCode::CONFLICT, "busy"),
            NodeError::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            NodeError::Full => (StatusCode::INSUFFICIENT_STORAGE, "disk-full"),
            NodeError::ReadOnly(_) => (StatusCode::SERVICE_UNAVAILABLE, "read-only"),
            NodeError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            NodeError::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
        };
        let detail = match &error {
            NodeError::Failed(cause) => with_causes(cause.as_ref()),
            _ => error.to_string(),
        };
        Self::new(status, code, detail)
    }
}

/// An error and what caused it, outermost first.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
