//! Who sent a request: verifies its signature, or that it has none; and signs requests of our own.

mod canonical;
mod chunk_signing;
mod chunked;
mod claim;
mod credential;
mod payload;
mod post;
mod presigned;
mod signer;
mod signing_key;
mod sigv4;
mod verify;

pub use chunk_signing::ChunkSigning;
pub use chunked::{Chunked, ChunkedDecoder};
pub use credential::Credential;
pub use payload::PayloadRule;
pub(crate) use post::SignedForm;
pub use presigned::Presigned;
pub use signer::{Signer, Unsigned};
pub use sigv4::Authorization;
pub(crate) use verify::claimed_key;
pub use verify::{Authenticator, Identity, Verified};

#[cfg(test)]
mod tests;
