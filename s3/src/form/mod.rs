//! A form that uploads an object: its fields first, then its file as it arrives.
//!
//! Source: AWS S3 API reference, "POST Object".

mod multipart;
mod policy;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use storage::model::{BucketName, ChecksumAlgorithm, Timestamp};
use storage::{Claims, ObjectBody};

use self::multipart::malformed;
pub use self::multipart::{Event, Multipart, Part, boundary_of};
use self::policy::PostPolicy;
use crate::body::RequestBody;
use crate::checksum::{ChecksumHeaders, parse_content_md5};
use crate::error::{S3Code, S3Error, S3Result};
use crate::headers::text;

/// Most bytes of names and values before the file. Source: AWS S3 API reference, "POST Object".
const FIELDS_BYTES_MAX: usize = 20 * 1024;

/// Most bytes that may follow the file: a submit button, no more.
const REST_BYTES_MAX: usize = 64 * 1024;

/// What stands for the name of the file on the client.
const FILENAME: &str = "${filename}";

/// Fields that become headers of the object under the name they have.
const HEADERS: [HeaderName; 6] = [
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::EXPIRES,
];

/// Fields that say who sends the form, in the order of their names.
const SIGNATURE: [&str; 5] = [
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-signature",
];

/// The fields of a form before its file, each once, by lower-case name.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

/// A form whose file is still to be read.
pub(crate) struct Form {
    /// What comes before the file.
    pub(crate) fields: Fields,
    /// The file.
    pub(crate) file: FormFile,
}

impl Form {
    /// Reads a form as far as its file.
    ///
    /// # Errors
    /// `PreconditionFailed`: it is no form. `MalformedPOSTRequest`, `MaxPostPreDataLengthExceededError`,
    /// `InvalidArgument`: a field twice, or no file.
    pub(crate) async fn read(headers: &HeaderMap, body: RequestBody) -> S3Result<Self> {
        let boundary = text(headers, header::CONTENT_TYPE.as_str())?.and_then(boundary_of);
        let boundary = boundary.ok_or_else(|| {
            S3Error::with_message(
                S3Code::PreconditionFailed,
                "Bucket POST must be of the enclosure-type multipart/form-data",
            )
        })?;
        let mut source = Source {
            body,
            multipart: Multipart::new(&boundary),
        };
        let mut fields = Fields::default();
        let mut bytes = 0;
        loop {
            let Event::Part(part) = source.event().await? else {
                return Err(argument(
                    "file",
                    "POST requires exactly one file upload per request.",
                ));
            };
            let name = part.name.to_ascii_lowercase();
            if name == "file" {
                let filename = part.filename.unwrap_or_default();
                return Ok(Self {
                    file: FormFile::new(source, &fields)?,
                    fields: fields.with_filename(&filename),
                });
            }
            bytes += name.len();
            let value = source.field(&mut bytes).await?;
            if fields.get(&name).is_some() {
                return Err(argument(&name, "A form has each field once."));
            }
            fields.0.push((name, value));
        }
    }
}

impl Fields {
    /// The value of the field of this lower-case name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The fields with the name of the file in their key: what follows its last slash, as some browsers send a path.
    fn with_filename(mut self, path: &str) -> Self {
        let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
        for (field, value) in &mut self.0 {
            if field == "key" {
                *value = value.replace(FILENAME, name);
            }
        }
        self
    }

    /// What a PUT of the same object would have in its headers.
    ///
    /// # Errors
    /// `InvalidArgument`: a value that no header can have.
    pub(crate) fn headers(&self) -> S3Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (field, value) in &self.0 {
            let known = HEADERS.iter().any(|name| name.as_str() == field);
            let name = match field.as_str() {
                "acl" => "x-amz-acl",
                name if known || name.starts_with("x-amz-") && !SIGNATURE.contains(&name) => name,
                _ => continue,
            };
            let unfit = |_| argument(field, "A header cannot have this value.");
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| ())
                .map_err(unfit)?;
            headers.append(HeaderName::try_from(name).map_err(|_| ()).map_err(unfit)?, value);
        }
        Ok(headers)
    }
}

impl FormFile {
    /// Has the file judged by the policy of the form, and the fields at once. `None`: the form is not signed and has none.
    ///
    /// # Errors
    /// `InvalidPolicyDocument`, `AccessDenied`.
    pub(crate) fn under_policy(
        mut self,
        json: &[u8],
        fields: &Fields,
        bucket: &BucketName,
        now: Timestamp,
    ) -> S3Result<Self> {
        let policy = PostPolicy::parse(json)?;
        // The bucket is the one addressed, whatever a field of that name says.
        let fields = fields.0.iter().filter(|(name, _)| name != "bucket");
        let mut fields: Vec<_> = fields
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        fields.push(("bucket", bucket.as_str()));
        policy.check(&fields, now)?;
        self.policy = Some(policy);
        Ok(self)
    }
}

/// A body that is read as a form.
struct Source {
    body: RequestBody,
    multipart: Multipart,
}

impl Source {
    /// The next event; an error where the body ends before the form does.
    async fn event(&mut self) -> S3Result<Event> {
        loop {
            if let Some(event) = self.multipart.event()? {
                return Ok(event);
            }
            match self.body.piece().await? {
                Some(bytes) => self.multipart.push(&bytes),
                None => return Err(malformed()),
            }
        }
    }

    /// The content of a field that is no file; counts its bytes.
    async fn field(&mut self, bytes: &mut usize) -> S3Result<String> {
        let mut value = Vec::new();
        loop {
            if *bytes + value.len() > FIELDS_BYTES_MAX {
                return Err(S3Error::new(S3Code::MaxPostPreDataLengthExceededError));
            }
            match self.event().await? {
                Event::Content(content) => value.extend_from_slice(&content),
                Event::PartEnd => {
                    *bytes += value.len();
                    return String::from_utf8(value).map_err(|_| malformed());
                }
                Event::Part(_) | Event::End => return Err(malformed()),
            }
        }
    }

    /// Reads what follows the file to the end of the body, so that nothing is stored of a form that breaks off.
    async fn rest(&mut self) -> S3Result<()> {
        let mut bytes = self.multipart.buffered();
        let mut ended = self.ends()?;
        while bytes <= REST_BYTES_MAX {
            let Some(piece) = self.body.piece().await? else {
                return if ended { Ok(()) } else { Err(malformed()) };
            };
            bytes += piece.len();
            self.multipart.push(&piece);
            ended = self.ends()?;
        }
        Err(malformed())
    }

    /// Whether the form ends with what was received; events until then are passed over.
    fn ends(&mut self) -> S3Result<bool> {
        while let Some(event) = self.multipart.event()? {
            if event == Event::End {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The file of a form as it arrives; at most one piece of it is held.
pub(crate) struct FormFile {
    source: Source,
    policy: Option<PostPolicy>,
    received: u64,
    claims: Claims,
    algorithm: Option<ChecksumAlgorithm>,
}

impl FormFile {
    fn new(source: Source, fields: &Fields) -> S3Result<Self> {
        let headers = fields.headers()?;
        let checksums = ChecksumHeaders::parse(&headers)?;
        Ok(Self {
            source,
            policy: None,
            received: 0,
            claims: Claims {
                md5: parse_content_md5(&headers)?,
                sha256: None,
                checksum: checksums.value,
            },
            algorithm: checksums.algorithm,
        })
    }

    async fn piece(&mut self) -> S3Result<Option<Bytes>> {
        match self.source.event().await? {
            Event::Content(bytes) => {
                self.received += bytes.len() as u64;
                if let Some(policy) = &self.policy {
                    policy.check_growing(self.received)?;
                }
                Ok(Some(bytes))
            }
            Event::PartEnd => {
                if let Some(policy) = &self.policy {
                    policy.check_length(self.received)?;
                }
                self.source.rest().await?;
                Ok(None)
            }
            Event::Part(_) | Event::End => Err(malformed()),
        }
    }
}

impl ObjectBody for FormFile {
    async fn next(&mut self) -> Option<Result<Bytes, Box<dyn std::error::Error + Send + Sync>>> {
        match self.piece().await {
            Ok(Some(piece)) => Some(Ok(piece)),
            Ok(None) => None,
            Err(error) => Some(Err(Box::new(error))),
        }
    }

    fn size_hint(&self) -> Option<u64> {
        None
    }

    fn checksum_algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.algorithm
    }

    fn claims_sha256(&self) -> bool {
        false
    }

    fn claims(&self) -> Claims {
        self.claims.clone()
    }
}

/// A field that is not as it should be.
pub(crate) fn argument(name: &str, message: &'static str) -> S3Error {
    S3Error::invalid_argument(name, "", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        Fields(
            pairs
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
        )
    }

    #[test]
    fn a_key_takes_the_last_name_of_a_path() {
        for (path, key) in [
            ("a.txt", "up/a.txt"),
            ("C:\\dir\\a.txt", "up/a.txt"),
            ("/tmp/../a", "up/a"),
            ("", "up/"),
        ] {
            let fields = fields(&[("key", "up/${filename}"), ("acl", "${filename}")]).with_filename(path);
            assert_eq!(
                (fields.get("key"), fields.get("acl")),
                (Some(key), Some(FILENAME))
            );
        }
    }

    #[test]
    fn fields_become_the_headers_of_a_put() {
        let headers = fields(&[
            ("acl", "private"),
            ("content-type", "text/plain"),
            ("x-amz-meta-a", "1"),
            ("x-amz-signature", "s"),
            ("key", "k"),
            ("submit", "go"),
        ]);
        let headers = headers.headers().unwrap();
        assert_eq!(headers.len(), 3);
        assert_eq!(
            (&headers["x-amz-acl"], &headers["x-amz-meta-a"]),
            (&"private".parse().unwrap(), &"1".parse().unwrap())
        );
        assert!(fields(&[("x-amz-meta-a", "1\r\nx: y")]).headers().is_err());
        assert!(fields(&[("x-amz-a b", "1")]).headers().is_err());
    }
}
