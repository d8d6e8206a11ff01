//! The shapes in which the admin API answers.

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use schemars::JsonSchema;
use serde::Serialize;

use super::SchemaOf;
use crate::api::{Health, Verdict};
use crate::content::{Content, ContentError};

/// The body of an answer. After an error the connection is cut, so that no part of it passes for all.
pub(crate) type Body = UnsyncBoxBody<Bytes, ContentError>;

/// What an answer is, for the description.
#[derive(Clone, Copy)]
pub(super) struct ReplyKind {
    /// What tells that it went well, the usual first.
    pub(super) statuses: &'static [StatusCode],
    /// Media types, the usual first; none where there is no body.
    pub(super) media: &'static [&'static str],
    /// What a JSON body is.
    pub(super) schema: Option<SchemaOf>,
}

/// What can be an answer.
pub(super) trait Reply {
    const KIND: ReplyKind;

    fn response(self) -> Response<Body>;
}

/// Shows a document.
pub(super) struct Shown<T>(pub(super) T);

impl<T: Serialize + JsonSchema> Reply for Shown<T> {
    const KIND: ReplyKind = document::<T>(&[StatusCode::OK]);

    fn response(self) -> Response<Body> {
        json(StatusCode::OK, &self.0)
    }
}

/// Shows how safe the data is. Its status alone tells a program that watches the box whether somebody has to come now.
pub(super) struct Judged(pub(super) Health);

impl Reply for Judged {
    const KIND: ReplyKind = document::<Health>(&[StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE]);

    fn response(self) -> Response<Body> {
        let status = match self.0.verdict {
            Verdict::Ok | Verdict::Degraded => StatusCode::OK,
            Verdict::AtRisk | Verdict::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        json(status, &self.0)
    }
}

/// The description of all this, as JSON.
pub(super) struct Described(pub(super) Bytes);

impl Reply for Described {
    const KIND: ReplyKind = document::<serde_json::Value>(&[StatusCode::OK]);

    fn response(self) -> Response<Body> {
        full(StatusCode::OK, "application/json", self.0)
    }
}

/// Shows what was made.
pub(super) struct Made<T>(pub(super) T);

impl<T: Serialize + JsonSchema> Reply for Made<T> {
    const KIND: ReplyKind = document::<T>(&[StatusCode::CREATED]);

    fn response(self) -> Response<Body> {
        json(StatusCode::CREATED, &self.0)
    }
}

const fn document<T: JsonSchema>(statuses: &'static [StatusCode]) -> ReplyKind {
    ReplyKind {
        statuses,
        media: &["application/json"],
        schema: Some(|generator| generator.subschema_for::<T>()),
    }
}

/// It is done, and there is nothing to say about it.
pub(super) struct Done;

impl Reply for Done {
    const KIND: ReplyKind = ReplyKind {
        statuses: &[StatusCode::NO_CONTENT],
        media: &[],
        schema: None,
    };

    fn response(self) -> Response<Body> {
        let mut response = Response::new(whole(Bytes::new()));
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    }
}

/// The media type of a line of text.
const LINE: &str = "text/plain; charset=utf-8";

/// A line for programs that watch whether the box lives.
pub(super) struct Line(pub(super) StatusCode, pub(super) &'static str);

impl Reply for Line {
    const KIND: ReplyKind = ReplyKind {
        statuses: &[StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE],
        ..text(&[LINE])
    };

    fn response(self) -> Response<Body> {
        full(self.0, LINE, self.1)
    }
}

/// Events that come while somebody listens.
pub(super) struct Events(pub(super) Body);

impl Reply for Events {
    const KIND: ReplyKind = text(&["text/event-stream"]);

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
    const KIND: ReplyKind = text(&[PROMETHEUS]);

    fn response(self) -> Response<Body> {
        full(StatusCode::OK, PROMETHEUS, self.0)
    }
}

/// The support bundle, which browsers keep as a file.
pub(super) struct Report(pub(super) String);

impl Reply for Report {
    const KIND: ReplyKind = text(&[LINE]);

    fn response(self) -> Response<Body> {
        let mut response = full(StatusCode::OK, LINE, self.0);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment; filename=\"warren-support.txt\""),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// The media type by which browsers and phones know that a certificate is to be trusted.
const AUTHORITY: &str = "application/x-x509-ca-cert";

/// The certificate of an authority, to be installed (DER).
pub(super) struct ToTrust(pub(super) Bytes);

impl Reply for ToTrust {
    const KIND: ReplyKind = text(&[AUTHORITY]);

    fn response(self) -> Response<Body> {
        full(StatusCode::OK, AUTHORITY, self.0)
    }
}

/// The media type of certificates as text.
const PEM: &str = "application/x-pem-file";

/// The same as text, for programs: browsers keep it as a file.
pub(super) struct Pem(pub(super) String);

impl Reply for Pem {
    const KIND: ReplyKind = text(&[PEM]);

    fn response(self) -> Response<Body> {
        let mut response = full(StatusCode::OK, PEM, self.0);
        response.headers_mut().insert(
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment; filename=\"warren-ca.pem\""),
        );
        response
    }
}

const fn text(media: &'static [&'static str]) -> ReplyKind {
    ReplyKind {
        statuses: &[StatusCode::OK],
        media,
        schema: None,
    }
}

/// What browsers are told of content that somebody uploaded: to keep it as a file, to guess nothing about it, and should they
/// show it after all, to let it do nothing, under an origin that is nobody's.
const OF_SOMEBODY: [(HeaderName, &str); 3] = [
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    (header::ACCEPT_RANGES, "bytes"),
    (header::CACHE_CONTROL, "no-store"),
];

/// The media type of content about which nothing is promised.
const BYTES: &str = "application/octet-stream";

impl Reply for Content {
    const KIND: ReplyKind = ReplyKind {
        statuses: &[StatusCode::OK, StatusCode::PARTIAL_CONTENT],
        media: &[BYTES, "image/*"],
        schema: None,
    };

    fn response(self) -> Response<Body> {
        let Self {
            object,
            range,
            is_part,
            pieces,
        } = self;
        let frames = pieces.map(|piece| piece.map(Frame::data));
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        if is_part {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        let headers = response.headers_mut();
        for (name, value) in OF_SOMEBODY {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let media = object.picture().unwrap_or(BYTES);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        headers.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
        let mut say = |name, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        say(header::CONTENT_DISPOSITION, attached(object.file_name()));
        say(header::ETAG, format!("\"{}\"", object.etag));
        if let Some(last) = range.end.checked_sub(1).filter(|_| is_part) {
            say(
                header::CONTENT_RANGE,
                format!("bytes {}-{last}/{}", range.start, object.size),
            );
        }
        response
    }
}

/// Has a browser keep content under this name (RFC 6266): in ASCII for old ones, and as it is.
fn attached(name: &str) -> String {
    let plain = name.chars().map(|letter| match letter {
        '"' | '\\' | '%' => '_',
        letter if letter.is_ascii_graphic() || letter == ' ' => letter,
        _ => '_',
    });
    let plain: String = plain.collect();
    let exact = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}")
}

/// A document as an answer.
pub(crate) fn json<T: Serialize>(status: StatusCode, document: &T) -> Response<Body> {
    // Our documents are structs of strings and numbers, which always serialize.
    let body = serde_json::to_vec(document).unwrap_or_default();
    full(status, "application/json", body)
}

/// A body that is known whole, which nobody keeps a copy of.
pub(crate) fn full(status: StatusCode, media: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(whole(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_kept_under_its_name_and_no_name_adds_a_header() {
        assert_eq!(
            attached("a b.txt"),
            "attachment; filename=\"a b.txt\"; filename*=UTF-8''a%20b%2Etxt"
        );
        let odd = attached("é\"\r\nx: y");
        assert_eq!(
            odd,
            "attachment; filename=\"____x: y\"; filename*=UTF-8''%C3%A9%22%0D%0Ax%3A%20y"
        );
        assert!(HeaderValue::try_from(odd).is_ok());
    }
}
