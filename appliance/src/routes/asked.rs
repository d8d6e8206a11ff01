//! The shapes in which the admin API is asked.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, header};
use hyper::body::Incoming;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::SchemaOf;
use crate::Problem;
use crate::api::object;
use crate::content::{Rest, Upload};
use crate::page::Form;

/// What can be read from a request.
pub(super) trait Asked: Sized + Send + 'static {
    /// What it says beside its body.
    const PARAMETERS: &'static [Parameter] = &[];
    /// What its body has to be.
    const SENT: Sent = Sent::Nothing;

    /// Reads it.
    fn read(head: &Parts, body: Incoming) -> impl Future<Output = Result<Self, Problem>> + Send;
}

/// What a body has to be.
#[derive(Clone, Copy)]
pub(super) enum Sent {
    /// There is none.
    Nothing,
    /// A JSON document.
    Document(SchemaOf),
    /// Bytes, as many as there are.
    Content,
}

/// Something that a request says in its query or in a header.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: Place,
    /// What it means, in a sentence.
    pub(super) says: &'static str,
    pub(super) is_required: bool,
    pub(super) kind: Kind,
}

/// Where a parameter is.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Query,
    Header,
}

/// What a parameter can be.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A text of so many bytes at most.
    Text { bytes_max: u32 },
    /// A whole number from 1 to this.
    Number { most: u32 },
}

impl Parameter {
    /// A text that has to be there.
    pub(super) const fn text(name: &'static str, bytes_max: u32, says: &'static str) -> Self {
        Self {
            name,
            place: Place::Query,
            says,
            is_required: true,
            kind: Kind::Text { bytes_max },
        }
    }

    /// A number that has to be there.
    pub(super) const fn number(name: &'static str, most: u32, says: &'static str) -> Self {
        Self {
            kind: Kind::Number { most },
            ..Self::text(name, 0, says)
        }
    }

    /// The same, in a header.
    const fn in_header(self) -> Self {
        Self {
            place: Place::Header,
            ..self
        }
    }

    /// The same, where it need not be there.
    pub(super) const fn or_none(self) -> Self {
        Self {
            is_required: false,
            ..self
        }
    }
}

/// What can be read from a query.
pub(super) trait Parameters: Sized + Send + 'static {
    /// All that it may say.
    const LIST: &'static [Parameter];

    /// Reads it.
    fn read(query: &Query) -> Result<Self, Problem>;
}

/// The query of a request.
pub(super) struct Query(Form);

impl Query {
    fn of(head: &Parts) -> Self {
        Self(Form::parse(head.uri.query().unwrap_or_default().as_bytes()))
    }

    /// A text, exactly as it was sent.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.exact(name).map(str::to_owned)
    }

    /// A text that has to be there.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn required(&self, name: &str) -> Result<String, Problem> {
        self.text(name)
            .ok_or_else(|| Problem::malformed(format!("the query does not say {name:?}")))
    }

    /// A whole number of at least 1.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn number(&self, name: &str, most: u32) -> Result<Option<u32>, Problem> {
        let number = |text: &str| text.parse().ok().filter(|number| (1..=most).contains(number));
        let read = |text| {
            number(text).ok_or_else(|| {
                Problem::malformed(format!("{name}: {text:?} is not a number from 1 to {most}"))
            })
        };
        self.0.exact(name).map(read).transpose()
    }
}

/// Reads what a request says beside its body.
///
/// # Errors
/// A text is longer than it may be, or [`Parameters::read`] fails.
pub(super) fn said<P: Parameters>(head: &Parts, list: &[Parameter]) -> Result<P, Problem> {
    let query = Query::of(head);
    for Parameter {
        name, place, kind, ..
    } in list
    {
        let bytes = match place {
            Place::Query => query.0.exact(name).map(str::len),
            Place::Header => head.headers.get(*name).map(HeaderValue::len),
        };
        match kind {
            Kind::Text { bytes_max } if bytes.is_some_and(|bytes| bytes > *bytes_max as usize) => {
                let why = format!("{name} is longer than {bytes_max} bytes");
                return Err(Problem::malformed(why));
            }
            _ => {}
        }
    }
    P::read(&query)
}

/// Nothing.
pub(super) struct Nothing;

impl Asked for Nothing {
    async fn read(_: &Parts, _: Incoming) -> Result<Self, Problem> {
        Ok(Self)
    }
}

/// A JSON document.
pub(super) struct Ask<T>(pub(super) T);

impl<T: DeserializeOwned + JsonSchema + Send + 'static> Asked for Ask<T> {
    const SENT: Sent = Sent::Document(|generator| generator.subschema_for::<T>());

    async fn read(_: &Parts, body: Incoming) -> Result<Self, Problem> {
        let body: Bytes = super::read(body).await?;
        // The message may quote the body, which may hold a secret, but goes only to whoever sent it.
        let mut json = serde_json::Deserializer::from_slice(&body);
        let read = object(&mut json).and_then(|document| json.end().map(|()| Self(document)));
        read.map_err(|error| Problem::malformed(error.to_string()))
    }
}

/// What the query says.
pub(super) struct At<P>(pub(super) P);

impl<P: Parameters> Asked for At<P> {
    const PARAMETERS: &'static [Parameter] = P::LIST;

    async fn read(head: &Parts, _: Incoming) -> Result<Self, Problem> {
        Ok(Self(said(head, Self::PARAMETERS)?))
    }
}

/// What the query says, content as it arrives, and what is left of it where nobody takes it.
pub(super) struct Taken<P>(pub(super) P, pub(super) Upload, pub(super) Rest);

impl<P: Parameters> Asked for Taken<P> {
    const PARAMETERS: &'static [Parameter] = P::LIST;
    const SENT: Sent = Sent::Content;

    async fn read(head: &Parts, body: Incoming) -> Result<Self, Problem> {
        let (upload, rest) = Upload::of(head, body);
        Ok(Self(said(head, Self::PARAMETERS)?, upload, rest))
    }
}

/// The `Range` of a request, if it has one.
pub(super) const RANGE: Parameter =
    Parameter::text("Range", 100, "Some bytes of it: bytes=0-99, answered with 206.")
        .in_header()
        .or_none();

/// Which bytes of something are wanted: what `Range` says, unless `If-Range` names another state of it.
pub(super) struct Wanted {
    pub(super) range: Option<String>,
    /// For the state that has this tag only.
    pub(super) of: Option<String>,
}

impl Wanted {
    pub(super) fn of(head: &Parts) -> Self {
        let text = |name| Some(head.headers.get(name)?.to_str().ok()?.to_owned());
        Self {
            range: text(header::RANGE),
            of: text(header::IF_RANGE),
        }
    }
}
