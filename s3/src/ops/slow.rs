//! Answers that may take long: at once if they can, else kept alive until they are there.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use tokio::time::timeout;

use crate::error::S3Result;
use crate::gateway::{Call, HOST_ID, log_refusal};
use crate::response::{Reply, ReplyBody, SlowBody, xml};
use crate::xml::XmlWriter;

/// How long a client waits for a status. Short enough for every proxy, long enough that errors of requests
/// that can be judged quickly come with their own status.
const STATUS_WITHIN: Duration = Duration::from_secs(10);

/// A document and the headers to send with it, where they can still be sent.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    /// Without its declaration.
    pub(super) document: XmlWriter,
}

/// Answers with what `work` gives: with its status if that comes soon, else with a 200 whose document says
/// how it went, as S3 does.
///
/// # Errors
/// Those of `work`, when they come soon.
pub(super) async fn answer(
    call: &Call,
    work: impl Future<Output = S3Result<Answer>> + Send + 'static,
) -> S3Result<Reply> {
    let mut work = Box::pin(work);
    if let Ok(outcome) = timeout(STATUS_WITHIN, &mut work).await {
        let answer = outcome?;
        let mut document = XmlWriter::document().finish();
        document.extend_from_slice(&answer.document.finish());
        let mut reply = xml(document);
        reply.headers_mut().extend(answer.headers);
        return Ok(reply);
    }
    let (id, uri) = (call.id, call.uri.clone());
    let rest = async move {
        let document = work.await.map(|answer| answer.document).unwrap_or_else(|error| {
            log_refusal(id, uri.path(), &error);
            let mut document = XmlWriter::fragment();
            error.write(&mut document, uri.path(), id.as_str(), HOST_ID);
            document
        });
        Bytes::from(document.finish())
    };
    let mut reply = xml(Vec::new());
    *reply.body_mut() = ReplyBody::Slow(Box::new(SlowBody::new(rest)));
    Ok::<Response<ReplyBody>, _>(reply)
}
