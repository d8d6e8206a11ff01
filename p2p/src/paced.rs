//! Moves large bodies in pieces, each at the pace allowed and each given up when it stalls.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::frame::Head;
use crate::pace::Pace;
use crate::traffic::Traffic;

/// What moves at once: large enough to be cheap, small enough to be paced smoothly.
const PIECE_BYTES: usize = 256 << 10;
/// How long one piece may take before the other end counts as stalled: 256 KiB at 70 kbit/s.
const PIECE_WAIT: Duration = Duration::from_secs(30);

/// The limits of this node on blocks.
pub(crate) struct Paces {
    pub(crate) sent: Pace,
    pub(crate) received: Pace,
    /// Both ways, through relays: somebody else's uplink, twice.
    pub(crate) relayed: Pace,
}

/// What a body moves over, and what counts it.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) paces: &'a Paces,
    pub(crate) relayed: bool,
    pub(crate) traffic: &'a Traffic,
}

/// Writes a message, and flushes.
pub(crate) async fn write<W: AsyncWrite + Unpin>(
    writer: &mut W,
    head: Head,
    body: &[u8],
    way: Way<'_>,
) -> io::Result<()> {
    unstalled(writer.write_all(&head.encode())).await?;
    let flow = way.traffic.sending(body.len());
    for piece in body.chunks(PIECE_BYTES) {
        way.paces.sent.spend(piece.len()).await;
        if way.relayed {
            way.paces.relayed.spend(piece.len()).await;
        }
        unstalled(writer.write_all(piece)).await?;
        way.traffic.count_sent(piece.len());
        flow.count(piece.len());
    }
    unstalled(writer.flush()).await
}

/// Reads a body of a length that a head said, and that is therefore bounded.
pub(crate) async fn read_body<R: AsyncRead + Unpin>(
    reader: &mut R,
    length: usize,
    way: Way<'_>,
) -> io::Result<Bytes> {
    let mut body = vec![0; length];
    let flow = way.traffic.receiving(length);
    for piece in body.chunks_mut(PIECE_BYTES) {
        way.paces.received.spend(piece.len()).await;
        unstalled(reader.read_exact(piece)).await?;
        way.traffic.count_received(piece.len());
        flow.count(piece.len());
    }
    Ok(body.into())
}

async fn unstalled<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PIECE_WAIT, step)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
