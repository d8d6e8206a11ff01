//! Uploads an object in two parts, up to the request that completes it.

use std::io;

use super::{Body, Connection, Content, Reply, Request, Take, texts};

/// The least a part has that is not the last.
pub(crate) const PART_BYTES_MIN: u64 = 5 << 20;

/// An upload whose parts are there.
pub(crate) struct Uploaded {
    /// The query of the request that completes it.
    pub(crate) query: String,
    /// Its body.
    pub(crate) body: String,
}

/// Why parts are not there.
pub(crate) enum NotUploaded {
    /// The connection broke.
    Cut(io::Error),
    /// A step was answered otherwise.
    Answered(&'static str, Reply),
}

impl From<io::Error> for NotUploaded {
    fn from(error: io::Error) -> Self {
        Self::Cut(error)
    }
}

impl Connection {
    /// Uploads pieces of one content, so that the joined object can be recognised; it is longer than a part has to be.
    ///
    /// # Errors
    /// See [`NotUploaded`].
    pub(crate) async fn upload(&mut self, path: &str, content: Content) -> Result<Uploaded, NotUploaded> {
        let begin = Request {
            method: "POST",
            path,
            query: "uploads=",
            body: Body::Empty,
            take: Take::Keep,
        };
        let created = self.send(&begin).await?;
        let xml = String::from_utf8_lossy(&created.body).into_owned();
        let Some(upload) = texts(&xml, "UploadId").next() else {
            return Err(NotUploaded::Answered("create upload", created));
        };
        let length = |bytes: u64| usize::try_from(bytes).map_err(io::Error::other);
        let mut whole = vec![0; length(content.len)?];
        content.fill(0, &mut whole);
        let (first, last) = whole.split_at(length(PART_BYTES_MIN.min(content.len))?);
        let mut listed = String::new();
        for (number, part) in (1..).zip([first, last]) {
            let query = format!("partNumber={number}&uploadId={upload}");
            let part = Request {
                method: "PUT",
                query: &query,
                body: Body::Bytes(part),
                ..begin
            };
            let reply = self.send(&part).await?;
            let Some(etag) = &reply.etag else {
                return Err(NotUploaded::Answered("upload part", reply));
            };
            listed += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
        }
        Ok(Uploaded {
            query: format!("uploadId={upload}"),
            body: format!("<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>"),
        })
    }
}
