//! A notice: one message on a stream of its own, to which nothing comes back.
//!
//! Two bytes of length (big-endian) and that many bytes of CBOR; the writer closes, and then the reader.

use std::io;

use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use serde::Serialize;

/// A message as it is sent; none where it is too long.
pub(crate) fn framed(message: &impl Serialize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 2];
    ciborium::into_writer(message, &mut bytes).ok()?;
    let length = u16::try_from(bytes.len() - 2).ok()?;
    *bytes.first_chunk_mut::<2>()? = length.to_be_bytes();
    Some(bytes)
}

/// Sends what [`framed`] made.
pub(crate) async fn send<S: AsyncWrite + AsyncRead + Unpin>(stream: &mut S, framed: &[u8]) -> io::Result<()> {
    stream.write_all(framed).await?;
    stream.close().await?;
    // Until it closes too: the connection must not end before the message was read.
    stream.read(&mut [0]).await.map(drop)
}

/// Receives a message of so many bytes at most.
pub(crate) async fn receive<R: AsyncRead + Unpin>(stream: &mut R, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > bytes_max {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(message)
}
