//! The shapes in which the admin API is asked and answers.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::SchemaOf;
use crate::Problem;

/// The body of an answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What an answer is, for the description.
#[derive(Clone, Copy)]
pub(super) struct ReplyKind {
    pub(super) status: StatusCode,
    /// Media type; none where there is no body.
    pub(super) media: Option<&'static str>,
    /// What a JSON body is.
    pub(super) schema: Option<SchemaOf>,
}

/// What can be read from a body.
pub(super) trait Asked: Sized + Send + 'static {
    /// What it has to be; none for no body.
    fn schema() -> Option<SchemaOf>;

    /// Reads it.
    fn read(body: &[u8]) -> Result<Self, Problem>;
}

/// No body.
pub(super) struct Nothing;

impl Asked for Nothing {
    fn schema() -> Option<SchemaOf> {
        None
    }

    fn read(_: &[u8]) -> Result<Self, Problem> {
        Ok(Self)
    }
}

/// A JSON document.
pub(super) struct Ask<T>(pub(super) T);

impl<T: DeserializeOwned + JsonSchema + Send + 'static> Asked for Ask<T> {
    fn schema() -> Option<SchemaOf> {
        Some(|generator| generator.subschema_for::<T>())
    }

    fn read(body: &[u8]) -> Result<Self, Problem> {
        // The message may quote the body, which may hold a secret, but goes only to whoever sent it.
        let read = serde_json::from_slice(body).map(Self);
        read.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "malformed", error.to_string()))
    }
}

/// What can be an answer.
pub(super) trait Reply {
    const KIND: ReplyKind;

    fn response(self) -> Response<Body>;
}

/// Shows a document.
pub(super) struct Shown<T>(pub(super) T);

impl<T: Serialize + JsonSchema> Reply for Shown<T> {
    const KIND: ReplyKind = document::<T>(StatusCode::OK);

    fn response(self) -> Response<Body> {
        json(StatusCode::OK, &self.0)
    }
}

/// The description of all this, as JSON.
pub(super) struct Described(pub(super) Bytes);

impl Reply for Described {
    const KIND: ReplyKind = document::<serde_json::Value>(StatusCode::OK);

    fn response(self) -> Response<Body> {
        full(StatusCode::OK, "application/json", self.0)
    }
}

/// Shows what was made.
pub(super) struct Made<T>(pub(super) T);

impl<T: Serialize + JsonSchema> Reply for Made<T> {
    const KIND: ReplyKind = document::<T>(StatusCode::CREATED);

    fn response(self) -> Response<Body> {
        json(StatusCode::CREATED, &self.0)
    }
}

const fn document<T: JsonSchema>(status: StatusCode) -> ReplyKind {
    ReplyKind {
        status,
        media: Some("application/json"),
        schema: Some(|generator| generator.subschema_for::<T>()),
    }
}

/// It is done, and there is nothing to say about it.
pub(super) struct Done;

impl Reply for Done {
    const KIND: ReplyKind = ReplyKind {
        status: StatusCode::NO_CONTENT,
        media: None,
        schema: None,
    };

    fn response(self) -> Response<Body> {
        let mut response = Response::new(Full::default().boxed_unsync());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    }
}

/// A line for programs that watch whether the box lives.
pub(super) struct Line(pub(super) StatusCode, pub(super) &'static str);

impl Reply for Line {
    const KIND: ReplyKind = text("text/plain; charset=utf-8");

    fn response(self) -> Response<Body> {
        full(self.0, "text/plain; charset=utf-8", self.1)
    }
}

/// Events that come while somebody listens.
pub(super) struct Events(pub(super) Body);

impl Reply for Events {
    const KIND: ReplyKind = text("text/event-stream");

    fn response(self) -> Response<Body> {
        let mut response = Response::new(self.0);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // A proxy that collects events before it passes them on makes them late.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }
}

/// The media type of the text format of Prometheus.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Numbers for Prometheus.
pub(super) struct Numbers(pub(super) String);

impl Reply for Numbers {
    const KIND: ReplyKind = text(PROMETHEUS);

    fn response(self) -> Response<Body> {
        full(StatusCode::OK, PROMETHEUS, self.0)
    }
}

const fn text(media: &'static str) -> ReplyKind {
    ReplyKind {
        status: StatusCode::OK,
        media: Some(media),
        schema: None,
    }
}

/// A document as an answer.
pub(crate) fn json<T: Serialize>(status: StatusCode, document: &T) -> Response<Body> {
    // Our documents are structs of strings and numbers, which always serialize.
    let body = serde_json::to_vec(document).unwrap_or_default();
    full(status, "application/json", body)
}

/// A body that is known whole, which nobody keeps a copy of.
pub(crate) fn full(status: StatusCode, media: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
