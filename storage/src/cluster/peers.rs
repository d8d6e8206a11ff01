//! The port to other members: opaque bytes there and back. The mesh implements it, and the simulation.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::model::MemberId;

/// What a call is about: metadata never waits behind blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Small and urgent: registers.
    Metadata,
    /// Up to 8 MiB: blocks.
    Block,
}

/// Why a call has no answer. Whether the peer acted on it is unknown, except where it was never sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// There is no connection to it; nothing was sent.
    #[error("{0:?} is not connected")]
    NotConnected(MemberId),
    /// No answer in time, or the connection broke.
    #[error("{0:?} did not answer")]
    NoAnswer(MemberId),
    /// It answered that it cannot.
    #[error("{0:?} refused: {1}")]
    Refused(MemberId, String),
}

/// Other members of the mesh, as the store sees them.
pub trait Peers: Send + Sync + 'static {
    /// Sends a request, and waits for the answer for as long as the implementation deems a peer alive. Requests may be
    /// delivered late and in another order; those about metadata once at most, those about blocks more than once, and copies
    /// long after the answer.
    ///
    /// # Cancellation
    /// The request may arrive all the same.
    fn call(
        &self,
        to: MemberId,
        class: Class,
        request: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>>;

    /// Those of `of` that are connected, the nearest (by round-trip time) first.
    fn nearest(&self, of: &[MemberId]) -> Vec<MemberId>;

    /// Waits until calls can be made at all: a store is opened before what carries them.
    fn until_bound(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// The peers of a box that is alone.
#[derive(Clone, Copy, Debug)]
pub struct NoPeers;

impl Peers for NoPeers {
    fn call(&self, to: MemberId, _: Class, _: Bytes) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        Box::pin(std::future::ready(Err(PeerError::NotConnected(to))))
    }

    fn nearest(&self, _: &[MemberId]) -> Vec<MemberId> {
        Vec::new()
    }
}
