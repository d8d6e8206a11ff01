//! The messages of calls and blocks on the wire: a small head, then the body as it is.
//!
//! A message is one byte with the length of the head (1 to 32), the head, and the body. The head is the CBOR array
//! `[id, kind, wait, length]`: the id of the call, chosen by the caller; 1 for a request, 2 for an answer, 3 for a refusal;
//! the milliseconds the caller will still wait, 0 in answers; the length of the body. A refusal's body is UTF-8 text of at
//! most 512 bytes. The version is in the name of the protocol that was agreed on.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

/// The longest body, in bytes: a block of 8 MiB, and room for what is said about it.
pub const BODY_BYTES_MAX: usize = (8 << 20) + (64 << 10);
/// The longest text of a refusal, in bytes.
pub(crate) const REFUSAL_BYTES_MAX: usize = 512;
/// The longest head, in bytes: four integers.
const HEAD_BYTES_MAX: usize = 32;
/// How long the rest of a head may take once it has begun: it fits into one packet, which may be lost a few times.
pub(crate) const HEAD_WAIT: Duration = Duration::from_secs(10);

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Answer,
    Refusal,
}

/// What comes before a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    pub(crate) wait: Duration,
    pub(crate) length: usize,
}

#[derive(Serialize, Deserialize)]
struct Written(u64, u8, u32, u32);

impl Head {
    pub(crate) fn request(id: u64, wait: Duration, body: &Bytes) -> Self {
        Self {
            id,
            kind: Kind::Request,
            wait,
            length: body.len(),
        }
    }

    /// The head with its length before it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let kind = match self.kind {
            Kind::Request => 1,
            Kind::Answer => 2,
            Kind::Refusal => 3,
        };
        let wait = u32::try_from(self.wait.as_millis()).unwrap_or(u32::MAX);
        let length = u32::try_from(self.length).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(1 + HEAD_BYTES_MAX);
        bytes.push(0);
        let written = ciborium::into_writer(&Written(self.id, kind, wait, length), &mut bytes);
        debug_assert!(
            written.is_ok() && bytes.len() <= 1 + HEAD_BYTES_MAX,
            "four integers fit"
        );
        let head_length = u8::try_from(bytes.len() - 1).unwrap_or_default();
        if let Some(first) = bytes.first_mut() {
            *first = head_length;
        }
        bytes
    }

    /// Reads a head without its length byte; none for anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let Written(id, kind, wait, length) = ciborium::from_reader(&mut rest).ok()?;
        let head = Self {
            id,
            kind: match kind {
                1 => Kind::Request,
                2 => Kind::Answer,
                3 => Kind::Refusal,
                _ => return None,
            },
            wait: Duration::from_millis(wait.into()),
            length: usize::try_from(length).ok()?,
        };
        let length_max = if head.kind == Kind::Refusal {
            REFUSAL_BYTES_MAX
        } else {
            BODY_BYTES_MAX
        };
        (rest.is_empty() && head.length <= length_max).then_some(head)
    }
}

/// Reads the head of the next message, for which it waits; none where the stream ends cleanly between messages. A head that
/// has begun must come to its end.
pub(crate) async fn read_head<R: AsyncRead + Unpin>(reader: &mut R) -> io::Result<Option<Head>> {
    let mut length = [0];
    if reader.read(&mut length).await? == 0 {
        return Ok(None);
    }
    let mut buffer = [0; HEAD_BYTES_MAX];
    let head = buffer
        .get_mut(..usize::from(length[0]))
        .ok_or(io::ErrorKind::InvalidData)?;
    timeout(HEAD_WAIT, reader.read_exact(head))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(Some(Head::decode(head).ok_or(io::ErrorKind::InvalidData)?))
}

/// Reads a body of a length that a head said, and that is therefore bounded.
pub(crate) async fn read_body<R: AsyncRead + Unpin>(reader: &mut R, length: usize) -> io::Result<Bytes> {
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await?;
    Ok(body.into())
}

/// Writes a message without flushing.
pub(crate) async fn write<W: AsyncWrite + Unpin>(writer: &mut W, head: Head, body: &[u8]) -> io::Result<()> {
    writer.write_all(&head.encode()).await?;
    writer.write_all(body).await
}

/// A refusal's text, cut where it is too long.
pub(crate) fn refusal_text(text: &str) -> Bytes {
    let mut end = text.len().min(REFUSAL_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Bytes::copy_from_slice(text.get(..end).unwrap_or_default().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use proptest::prelude::*;

    use super::*;

    fn read_all(bytes: &[u8]) -> io::Result<Option<Head>> {
        futures_executor(read_head(&mut &bytes[..]))
    }

    fn futures_executor<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn the_first_format_stays_readable() {
        let head = Head {
            id: 7,
            kind: Kind::Request,
            wait: Duration::from_secs(5),
            length: 200,
        };
        let bytes = include_bytes!("../fixtures/call-head-1");
        assert_eq!(head.encode(), bytes);
        assert_eq!(read_all(bytes).unwrap(), Some(head));
    }

    #[test]
    fn a_stream_that_ends_between_messages_ended_well_and_one_that_ends_inside_did_not() {
        assert_eq!(read_all(&[]).unwrap(), None);
        let bytes = include_bytes!("../fixtures/call-head-1");
        assert!(read_all(&bytes[..3]).is_err());
    }

    #[test]
    fn a_lying_length_is_refused_before_memory_is_taken() {
        let mut bytes = vec![0];
        ciborium::into_writer(&Written(1, 1, 0, u32::MAX), &mut bytes).unwrap();
        bytes[0] = u8::try_from(bytes.len() - 1).unwrap();
        assert!(read_all(&bytes).is_err());
        assert!(read_all(&[255; 300]).is_err());
    }

    /// Gives some bytes, and then nothing for ever.
    struct Stalled(&'static [u8]);

    impl AsyncRead for Stalled {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            if self.0.is_empty() {
                return Poll::Pending;
            }
            Pin::new(&mut self.0).poll_read(cx, buffer)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_is_half_sent_is_given_up_and_one_that_has_not_begun_is_waited_for() {
        let bytes = include_bytes!("../fixtures/call-head-1");
        for sent in 1..bytes.len() {
            let start = tokio::time::Instant::now();
            let error = read_head(&mut Stalled(&bytes[..sent])).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(start.elapsed() <= HEAD_WAIT + Duration::from_secs(1), "{sent}");
        }
        let waited = timeout(Duration::from_secs(3600), read_head(&mut Stalled(b""))).await;
        assert!(waited.is_err());
        assert!(read_head(&mut Stalled(bytes)).await.unwrap().is_some());
    }

    proptest! {
        #[test]
        fn a_head_survives_the_wire(
            id: u64,
            kind in prop_oneof![Just(Kind::Request), Just(Kind::Answer), Just(Kind::Refusal)],
            wait_ms: u32,
            length in 0..=REFUSAL_BYTES_MAX,
        ) {
            let head = Head { id, kind, wait: Duration::from_millis(wait_ms.into()), length };
            prop_assert_eq!(read_all(&head.encode()).unwrap(), Some(head));
        }

        #[test]
        fn any_bytes_are_refused_or_are_a_bounded_head(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(head) = Head::decode(&bytes) {
                prop_assert!(head.length <= BODY_BYTES_MAX);
            }
            drop(read_all(&bytes));
        }

        #[test]
        fn a_refusal_is_cut_between_letters(text: String) {
            let cut = refusal_text(&text.repeat(40));
            prop_assert!(cut.len() <= REFUSAL_BYTES_MAX && std::str::from_utf8(&cut).is_ok());
        }
    }
}
