//! The content of objects on its way between whoever asks and the node: pieces of it, never all.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::header;
use http::request::Parts;
use http_body::Body as _;
use http_body_util::BodyDataStream;
use hyper::body::Incoming;
use tokio::sync::Mutex;

use crate::NodeError;
use crate::api::ObjectInfo;

/// An upload may stall this long: a laptop changes networks in less.
const STALL: Duration = Duration::from_secs(60);

/// How much is read, and for how long, of what is refused: two parts of an upload.
const DRAIN_BYTES: usize = 32 << 20;
const DRAIN: Duration = Duration::from_secs(10);

/// Why content ends before its end.
pub type ContentError = Box<dyn std::error::Error + Send + Sync>;

/// Pieces of content, in order.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, ContentError>> + Send>>;

/// Content that somebody sends. It may be dropped at any time.
pub struct Upload {
    /// What it is, if its sender says: a media type.
    pub media: Option<String>,
    /// How many bytes there will be, if its sender says.
    pub size: Option<u64>,
    /// Its bytes, as they arrive.
    pub pieces: Pieces,
}

impl Upload {
    /// The body of a request, and a handle to what is left of it.
    pub(crate) fn of(head: &Parts, body: Incoming) -> (Self, Rest) {
        let media = head.headers.get(header::CONTENT_TYPE);
        let size = body.size_hint().exact();
        let (pieces, rest) = in_time(body);
        let media = media.and_then(|media| media.to_str().ok()).map(str::to_owned);
        (Self { media, size, pieces }, rest)
    }
}

type Shared = Arc<Mutex<BodyDataStream<Incoming>>>;

/// What is left of a body whose reader stopped.
pub(crate) struct Rest(Shared);

impl Rest {
    /// Reads on for a while: browsers hear why something was refused only once they have sent all of it.
    pub(crate) async fn drain(self) {
        let drain = async {
            let (mut body, mut left) = (self.0.lock().await, DRAIN_BYTES);
            while let (Some(Ok(piece)), true) = (body.next().await, left > 0) {
                left = left.saturating_sub(piece.len());
            }
        };
        let _ = tokio::time::timeout(DRAIN, drain).await;
    }
}

/// The bytes of a body, which break off when none come for a minute.
pub(crate) fn in_time(body: Incoming) -> (Pieces, Rest) {
    let body: Shared = Arc::new(Mutex::new(BodyDataStream::new(body)));
    let rest = Rest(Arc::clone(&body));
    let next = |body: Shared| async move {
        let piece = tokio::time::timeout(STALL, async { body.lock().await.next().await }).await;
        let piece = match piece {
            Ok(piece) => piece?.map_err(ContentError::from),
            Err(stalled) => Err(stalled.into()),
        };
        Some((piece, body))
    };
    (Box::pin(stream::unfold(body, next)), rest)
}

/// Content that the node sends.
pub struct Content {
    /// Of which object.
    pub object: ObjectInfo,
    /// Which bytes of it.
    pub range: Range<u64>,
    /// Whether a range was asked for.
    pub is_part: bool,
    /// The bytes of that range.
    pub pieces: Pieces,
}

/// What comes next in a form (`multipart/form-data`) that is being read.
#[derive(Debug, PartialEq, Eq)]
pub enum FormEvent {
    /// A field begins.
    Field {
        /// What it is called.
        name: String,
        /// What the file in it is called where it comes from.
        file: Option<String>,
        /// What its sender says that it is: a media type.
        media: Option<String>,
    },
    /// Some of its content.
    Content(Bytes),
    /// It ends.
    FieldEnd,
    /// The form ends.
    End,
}

/// Takes a form apart as it arrives, holding no more than a piece of it.
pub trait FormReader: Send {
    /// Takes bytes of the form.
    fn push(&mut self, bytes: &[u8]);

    /// The next event in what was pushed; `None`: more is needed.
    ///
    /// # Errors
    /// `Invalid`: it is no form.
    fn event(&mut self) -> Result<Option<FormEvent>, NodeError>;
}

/// A form that is being read, and what it comes from.
pub(crate) struct FormBody {
    reader: Box<dyn FormReader>,
    pieces: Pieces,
}

impl FormBody {
    pub(crate) fn new(reader: Box<dyn FormReader>, pieces: Pieces) -> Self {
        Self { reader, pieces }
    }

    /// The next event.
    ///
    /// # Errors
    /// It is no form, or breaks off.
    pub(crate) async fn next(&mut self) -> Result<FormEvent, NodeError> {
        loop {
            if let Some(event) = self.reader.event()? {
                return Ok(event);
            }
            match self.pieces.next().await {
                Some(Ok(piece)) => self.reader.push(&piece),
                Some(Err(_)) | None => return Err(NodeError::BrokeOff),
            }
        }
    }

    /// The text of the field that has begun, which is not long.
    ///
    /// # Errors
    /// It is long or no text, or [`Self::next`] fails.
    pub(crate) async fn text(&mut self, bytes_max: usize) -> Result<String, NodeError> {
        let mut text = Vec::new();
        while let FormEvent::Content(piece) = self.next().await? {
            text.extend_from_slice(&piece);
            if text.len() > bytes_max {
                return Err(NodeError::Invalid("a field of the form is too long".into()));
            }
        }
        String::from_utf8(text).map_err(|_| NodeError::Invalid("a field of the form is no text".into()))
    }
}

/// The content of the field that has begun, to its end: what follows is read when this is.
pub(crate) fn field(form: Arc<Mutex<FormBody>>) -> Pieces {
    let next = |form: Arc<Mutex<FormBody>>| async move {
        let event = form.lock().await.next().await;
        match event {
            Ok(FormEvent::Content(piece)) => Some((Ok(piece), form)),
            Ok(_) => None,
            Err(error) => Some((Err(error.into()), form)),
        }
    };
    Box::pin(stream::unfold(form, next))
}
