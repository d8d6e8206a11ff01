//! Takes files from a form of the page, for browsers without a script: each streams to the node as it arrives.

use std::sync::Arc;

use http::header;
use http::request::Parts;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::Mutex;

use super::objects::folder;
use super::pieces::{counted, size};
use super::{Visit, parts, query, redirect, stale};
use crate::content::{FormBody, FormEvent, Pieces, Upload, field, in_time};
use crate::desk::Desk;
use crate::page::{Note, Visitor};
use crate::routes::Body;
use crate::{Node, NodeError, Problem};

/// The longest form token, and more.
const TOKEN_BYTES_MAX: usize = 256;

/// Whether a form that is sent here holds files.
pub(super) fn is_for(path: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    parts.next() == Some("buckets") && parts.nth(1) == Some("upload") && parts.next().is_none()
}

/// What was stored of a form.
#[derive(Default)]
struct Stored {
    files: u64,
    bytes: u64,
    last: String,
}

/// Why nothing more of a form is taken.
enum Refused {
    /// It does not carry the token of its session.
    Stale,
    /// Something else.
    Because(NodeError),
}

impl From<NodeError> for Refused {
    fn from(error: NodeError) -> Self {
        Self::Because(error)
    }
}

/// Stores the files of a form.
pub(super) async fn take<N: Node>(
    visit: &Visit<'_, Desk<N>>,
    visitor: &Visitor,
    head: &Parts,
    body: Incoming,
) -> Response<Body> {
    let (at, query) = (parts(head), query(head));
    let bucket = at.get(1).map_or("", String::as_str);
    let prefix = query.exact("prefix").unwrap_or_default();
    let (pieces, rest) = in_time(body);
    let outcome = store(visit, visitor, head, (bucket, prefix), pieces).await;
    if outcome.is_err() {
        rest.drain().await;
    }
    let note = match outcome {
        Err(Refused::Stale) => return stale(visit),
        Err(Refused::Because(error)) => Problem::from(error).into(),
        Ok(Stored { files: 0, .. }) => Note::from(Problem::new(
            StatusCode::BAD_REQUEST,
            "malformed",
            "no file was chosen",
        )),
        Ok(Stored {
            files: 1,
            bytes,
            last,
        }) => Note::Done(format!("{last} is stored: {}.", size(bytes))),
        Ok(Stored { files, bytes, .. }) => {
            Note::Done(format!("{} are stored: {}.", counted(files, "file"), size(bytes)))
        }
    };
    visit.desk.access.say(&visitor.session, note);
    redirect(&folder(bucket, prefix))
}

async fn store<N: Node>(
    visit: &Visit<'_, Desk<N>>,
    visitor: &Visitor,
    head: &Parts,
    (bucket, prefix): (&str, &str),
    pieces: Pieces,
) -> Result<Stored, Refused> {
    let node = &visit.desk.node;
    let said = head.headers.get(header::CONTENT_TYPE);
    let said = said.and_then(|said| said.to_str().ok()).unwrap_or_default();
    let no_form = || NodeError::Invalid("that is no form with files".into());
    let reader = node.form(said).ok_or_else(no_form)?;
    let form = Arc::new(Mutex::new(FormBody::new(reader, pieces)));
    let (mut is_ours, mut stored) = (false, Stored::default());
    loop {
        let event = form.lock().await.next().await?;
        match event {
            FormEvent::End => return Ok(stored),
            FormEvent::Field { name, file: None, .. } if name == "token" => {
                is_ours = visitor.sent(&form.lock().await.text(TOKEN_BYTES_MAX).await?);
            }
            FormEvent::Field { .. } if !is_ours => return Err(Refused::Stale),
            FormEvent::Field {
                file: Some(name),
                media,
                ..
            } if !name.is_empty() => {
                let upload = Upload {
                    media,
                    size: None,
                    pieces: field(Arc::clone(&form)),
                };
                let key = format!("{prefix}{}", base_name(&name));
                let object = node.put_object(bucket, &key, upload).await?;
                stored.files += 1;
                stored.bytes += object.size;
                stored.last = object.key;
            }
            FormEvent::Field { .. } | FormEvent::Content(_) | FormEvent::FieldEnd => {}
        }
    }
}

/// A file's name without the folders that it is in where it comes from.
fn base_name(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_taken_only_where_they_are_sent() {
        assert!(is_for("/buckets/photos/upload"));
        for other in [
            "/buckets/photos",
            "/buckets/photos/upload/x",
            "/keys/a/upload",
            "/upload",
        ] {
            assert!(!is_for(other), "{other}");
        }
    }

    #[test]
    fn no_folder_of_the_sender_is_in_a_name() {
        assert_eq!(
            (base_name("C:\\dir\\a.jpg"), base_name("d/a b")),
            ("a.jpg", "a b")
        );
    }
}
