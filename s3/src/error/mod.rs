//! Says no as S3 does: error codes, their status, their XML, and what each failure of the store becomes.

mod code;
mod from_store;

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use http::{HeaderName, HeaderValue, StatusCode};

use crate::xml::XmlWriter;

pub use code::S3Code;

/// A refusal as the client sees it. Cheap to build and to move; never holds a secret.
#[derive(Debug)]
pub struct S3Error {
    code: S3Code,
    message: Cow<'static, str>,
    fields: Vec<(&'static str, String)>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

/// The result of anything that answers a client.
pub type S3Result<T> = Result<T, S3Error>;

impl S3Error {
    /// The error of this code with the message that explains it in general.
    pub fn new(code: S3Code) -> Self {
        Self {
            code,
            message: Cow::Borrowed(code.message()),
            fields: Vec::new(),
            headers: Vec::new(),
            cause: None,
        }
    }

    /// The error of this code with a message of its own, which says what the caller can do.
    pub fn with_message(code: S3Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
            ..Self::new(code)
        }
    }

    /// `InvalidArgument` that names the argument and what was wrong with it.
    pub fn invalid_argument(
        name: &str,
        value: impl Into<String>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::with_message(S3Code::InvalidArgument, message)
            .field("ArgumentName", name)
            .field("ArgumentValue", value)
    }

    /// `InvalidRequest` with a message.
    pub fn invalid_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::with_message(S3Code::InvalidRequest, message)
    }

    /// `NotImplemented` that names what is not there.
    pub fn not_implemented(message: impl Into<Cow<'static, str>>) -> Self {
        Self::with_message(S3Code::NotImplemented, message)
    }

    /// Adds an XML element after Message, e.g. `BucketName`.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Adds a response header, e.g. `Content-Range` of a 416.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// As [`Self::header`], unless no header can carry the text.
    #[must_use]
    pub fn header_text(self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => self.header(name, value),
            Err(_) => self,
        }
    }

    /// Keeps what caused it: for the log of the box, never for the client.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Which error.
    pub fn code(&self) -> S3Code {
        self.code
    }

    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// The sentence for the caller.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Headers the response carries besides the usual ones.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// The XML elements besides Code, Message, Resource, RequestId and HostId.
    pub fn fields(&self) -> &[(&'static str, String)] {
        &self.fields
    }

    /// The whole error document. HEAD, 204 and 304 are answered without it.
    pub fn to_xml(&self, resource: &str, request_id: &str, host_id: &str) -> Vec<u8> {
        let mut xml = XmlWriter::document();
        self.write(&mut xml, resource, request_id, host_id);
        xml.finish()
    }

    /// The `Error` element alone, for a response whose 200 has already left.
    pub fn write(&self, xml: &mut XmlWriter, resource: &str, request_id: &str, host_id: &str) {
        xml.element("Error", |xml| {
            xml.text("Code", self.code.as_str());
            xml.text("Message", &self.message);
            for (name, value) in &self.fields {
                xml.text(name, value);
            }
            xml.text("Resource", resource);
            xml.text("RequestId", request_id);
            xml.text("HostId", host_id);
        });
    }
}

impl fmt::Display for S3Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl Error for S3Error {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

impl From<S3Code> for S3Error {
    fn from(code: S3Code) -> Self {
        Self::new(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_document_names_code_message_fields_and_request() {
        let xml = S3Error::new(S3Code::NoSuchBucket)
            .field("BucketName", "a<b")
            .to_xml("/a<b", "4442587FB7D0A2F9", "warren");
        assert_eq!(
            String::from_utf8(xml).unwrap(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchBucket</Code>\
             <Message>The specified bucket does not exist.</Message><BucketName>a&lt;b</BucketName>\
             <Resource>/a&lt;b</Resource><RequestId>4442587FB7D0A2F9</RequestId><HostId>warren</HostId></Error>"
        );
    }

    #[test]
    fn an_error_is_small_enough_to_pass_by_value() {
        assert!(size_of::<S3Error>() <= 112);
    }
}
