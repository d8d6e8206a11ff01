//! What calls are: their classes, what answers them, and how they fail.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::NodeId;

/// What a call is about: metadata never waits behind blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Small and urgent; many share one stream.
    Metadata,
    /// Large; each has a stream to itself, on another connection than metadata where there is one, and is paced.
    Block,
}

/// Why a request is not served, for the caller to read: at most 512 bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Answers the calls of members.
pub trait Service: Send + Sync + 'static {
    /// Answers one request. Calls of one peer run in parallel, up to a limit per class; one that began is always run to
    /// its end, even when the caller has gone.
    fn answer(
        &self,
        from: NodeId,
        class: Class,
        request: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>>;
}

/// Why a call has no answer. Whether the peer acted on it is unknown, except where it was never sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no connection; nothing was sent.
    #[error("not connected")]
    NotConnected,
    /// No answer in time, or the connection broke.
    #[error("no answer")]
    NoAnswer,
    /// It answered that it cannot.
    #[error("refused: {0}")]
    Refused(String),
    /// The request is larger than any message; nothing was sent.
    #[error("a request of {bytes} bytes is too large")]
    TooLarge {
        /// How large it is.
        bytes: usize,
    },
}
