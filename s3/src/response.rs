//! The bodies of responses: one concrete type, so that a request costs no boxed one.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, Uri, header};
use http_body::{Body, Frame, SizeHint};
use storage::{ObjectReader, StoreError};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::ReusableBoxFuture;
use tracing::error;

use crate::error::S3Result;
use crate::gateway::{Call, InFlight, RequestId};

/// What a request is answered with.
pub(crate) type Reply = Response<ReplyBody>;

/// How often a response that waits for the store says that it is still alive.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// How much of a response is handed to the connection at a time, in bytes: what it buffers. With the last piece the
/// request's place is given back, so that one who takes nothing of a response holds its place for most of it.
const PIECE_BYTES: usize = 256 * 1024;

/// The body of a response.
#[derive(Debug, Default)]
pub(crate) enum ReplyBody {
    /// Nothing (more).
    #[default]
    Empty,
    /// What is known already; large ones are sent in pieces.
    Whole(Bytes, Option<InFlight>),
    /// The content of an object as it is read.
    Object(Box<ObjectBody>),
    /// A document that takes long to come about.
    Slow(Box<SlowBody>),
}

/// Why a response is cut off: the client must not take it for complete.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CutOff {
    /// The store could not read on.
    #[error("the content could not be read")]
    Store(#[from] StoreError),
    /// The store gave another number of bytes than promised.
    #[error("the content has another length than promised")]
    Length,
}

/// A read under way; its place in memory serves one piece after another.
type Read = ReusableBoxFuture<'static, (ObjectReader, Option<Result<Bytes, StoreError>>)>;

async fn read_next(mut reader: ObjectReader) -> (ObjectReader, Option<Result<Bytes, StoreError>>) {
    let piece = reader.next().await;
    (reader, piece)
}

/// The content of an object as it is read: at most one piece is held here.
pub(crate) struct ObjectBody {
    ready: Option<Bytes>,
    /// Not yet handed over, the piece that is ready included.
    remaining: u64,
    /// The read under way while no piece is ready; `None` once the content ended or failed.
    read: Option<Read>,
    /// Which request, for the log.
    id: RequestId,
    /// What it asked for, for the log.
    uri: Uri,
    /// Holds the request's place among those being served.
    pub(crate) in_flight: Option<InFlight>,
}

impl std::fmt::Debug for ObjectBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ObjectBody({} bytes remain)", self.remaining)
    }
}

/// The content a reader gives, `bytes` in all. The first piece is read before anything is sent, so that a
/// damaged object is an error and a small one is sent together with its headers.
///
/// # Errors
/// The first piece cannot be read.
pub(crate) async fn content(call: &Call, mut reader: ObjectReader, bytes: u64) -> S3Result<ReplyBody> {
    let Some(first) = reader.next().await.transpose()? else {
        return if bytes == 0 {
            Ok(ReplyBody::Empty)
        } else {
            Err(damaged())
        };
    };
    let first_bytes = first.len() as u64;
    if first_bytes > bytes {
        return Err(damaged());
    }
    if first_bytes == bytes {
        return Ok(ReplyBody::Whole(first, None));
    }
    Ok(ReplyBody::Object(Box::new(ObjectBody {
        ready: Some(first),
        remaining: bytes,
        read: Some(ReusableBoxFuture::new(read_next(reader))),
        id: call.id,
        uri: call.uri.clone(),
        in_flight: None,
    })))
}

fn damaged() -> crate::error::S3Error {
    StoreError::Damaged("content has another length than its row says".into()).into()
}

impl ObjectBody {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutOff>>> {
        if let Some(piece) = self.ready.take() {
            return Poll::Ready(Some(self.hand_over(piece)));
        }
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        let Some(read) = &mut self.read else {
            return Poll::Ready(Some(Err(CutOff::Length)));
        };
        let (reader, piece) = ready!(read.poll(cx));
        let handed_over = match piece {
            Some(Ok(piece)) => {
                read.set(read_next(reader));
                self.hand_over(piece)
            }
            Some(Err(error)) => Err(error.into()),
            None => Err(CutOff::Length),
        };
        if let Err(error) = &handed_over {
            self.read = None;
            error!(
                id = %self.id,
                resource = self.uri.path(),
                error = error as &dyn Error,
                missing = self.remaining,
                "response cut off"
            );
        }
        Poll::Ready(Some(handed_over))
    }

    fn hand_over(&mut self, piece: Bytes) -> Result<Bytes, CutOff> {
        self.remaining = self
            .remaining
            .checked_sub(piece.len() as u64)
            .ok_or(CutOff::Length)?;
        Ok(piece)
    }
}

/// A document that is still being worked on: its declaration and then white space keep the client waiting
/// until the rest, or the error, is known.
pub(crate) struct SlowBody {
    begun: bool,
    work: Option<Pin<Box<dyn Future<Output = Bytes> + Send>>>,
    pause: Pin<Box<Sleep>>,
    /// Holds the request's place among those being served.
    pub(crate) in_flight: Option<InFlight>,
}

impl std::fmt::Debug for SlowBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SlowBody(begun: {})", self.begun)
    }
}

impl SlowBody {
    /// Waits for `work`, which gives the document without its declaration.
    pub(crate) fn new(work: impl Future<Output = Bytes> + Send + 'static) -> Self {
        Self {
            begun: false,
            work: Some(Box::pin(work)),
            pause: Box::pin(sleep(KEEP_ALIVE)),
            in_flight: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if !self.begun {
            self.begun = true;
            return Poll::Ready(Some(Bytes::from_static(
                b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
            )));
        }
        let Some(work) = &mut self.work else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(rest) = work.as_mut().poll(cx) {
            self.work = None;
            return Poll::Ready(Some(rest));
        }
        if self.pause.as_mut().poll(cx).is_ready() {
            self.pause.as_mut().reset(Instant::now() + KEEP_ALIVE);
            return Poll::Ready(Some(Bytes::from_static(b" ")));
        }
        Poll::Pending
    }
}

impl ReplyBody {
    /// Makes a body that outlives its handler keep the request's place until it ends.
    pub(crate) fn hold(&mut self, in_flight: InFlight) {
        match self {
            Self::Empty => drop(in_flight),
            Self::Whole(_, place) => *place = Some(in_flight),
            Self::Object(object) => object.in_flight = Some(in_flight),
            Self::Slow(slow) => slow.in_flight = Some(in_flight),
        }
    }
}

fn note_sent(place: &mut Option<InFlight>, piece: &Bytes) {
    if let Some(place) = place {
        place.account.sent += piece.len() as u64;
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let this = self.get_mut();
        let piece = match this {
            Self::Empty => return Poll::Ready(None),
            Self::Whole(bytes, place) => {
                let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
                note_sent(place, &piece);
                if bytes.is_empty() {
                    *this = Self::Empty;
                }
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            Self::Object(object) => {
                let piece = ready!(object.poll(cx));
                if let Some(Ok(piece)) = &piece {
                    note_sent(&mut object.in_flight, piece);
                }
                piece
            }
            Self::Slow(slow) => {
                let piece = ready!(slow.poll(cx));
                if let Some(piece) = &piece {
                    note_sent(&mut slow.in_flight, piece);
                }
                piece.map(Ok)
            }
        };
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(..) => false,
            Self::Object(object) => object.remaining == 0,
            Self::Slow(slow) => slow.work.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes, _) => SizeHint::with_exact(bytes.len() as u64),
            Self::Object(object) => SizeHint::with_exact(object.remaining),
            Self::Slow(_) => SizeHint::default(),
        }
    }
}

/// A response without a body.
pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(ReplyBody::Empty);
    *reply.status_mut() = status;
    reply
}

/// A 200 with an XML document.
pub(crate) fn xml(document: Vec<u8>) -> Reply {
    with_type(document.into(), "application/xml")
}

/// A 200 with a JSON document.
pub(crate) fn json(document: String) -> Reply {
    with_type(document.into(), "application/json")
}

fn with_type(document: Bytes, content_type: &'static str) -> Reply {
    let mut reply = Response::new(ReplyBody::Whole(document, None));
    let content_type = HeaderValue::from_static(content_type);
    reply.headers_mut().insert(header::CONTENT_TYPE, content_type);
    reply
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn collected(work: impl Future<Output = Bytes> + Send + 'static) -> String {
        let body = ReplyBody::Slow(Box::new(SlowBody::new(work)));
        let bytes = body.collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_large_document_is_handed_over_in_pieces() {
        let document = Bytes::from(vec![7; 2 * PIECE_BYTES + 1]);
        let mut body = ReplyBody::Whole(document.clone(), None);
        assert_eq!(body.size_hint().exact(), Some(document.len() as u64));
        let mut sizes = Vec::new();
        while let Some(frame) = body.frame().await {
            sizes.push(frame.unwrap().into_data().unwrap().len());
        }
        assert_eq!(sizes, [PIECE_BYTES, PIECE_BYTES, 1]);
        assert!(body.is_end_stream());
    }

    #[tokio::test]
    async fn a_slow_answer_is_one_document() {
        let declaration = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
        let done = collected(async { Bytes::from_static(b"<Done/>") }).await;
        assert_eq!(done, format!("{declaration}<Done/>"));
    }

    #[tokio::test]
    async fn a_client_that_waits_is_kept_awake_by_white_space() {
        let mut body = SlowBody::new(std::future::pending());
        body.pause = Box::pin(sleep(Duration::from_millis(10)));
        let mut body = ReplyBody::Slow(Box::new(body));
        for expected in ["<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n", " "] {
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), expected);
        }
        assert!(!body.is_end_stream());
    }
}
