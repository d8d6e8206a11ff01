//! Tests what an app could do with an access key: over HTTP, signed, against the endpoint that apps are told.

use std::time::{Duration, Instant};

use appliance::NodeError;
use appliance::api::{self, AppStep, Schema, StepOutcome};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode, header};
use s3::auth::{Signer, Unsigned};
use storage::model::{AccessKey, Bucket, Cause, Timestamp, WriteCondition};
use storage::{DeleteTarget, ListUploads, ListVersions};
use tokio::net::TcpStream;

use super::Console;
use crate::endpoint;
use crate::exchange::exchange;
use crate::node::REGION;

/// What test objects are called: sorted among what programs hide, and told from people's own.
const PREFIX: &str = ".warren-test-";

/// How long a step may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much is stored: more than fits into a row, so that blocks are stored and read as well.
const CONTENT_BYTES: usize = 64 * 1024;

/// Test objects that are left of earlier tests, and removed with those of this one.
const LEFT_MAX: usize = 100;

const NOT_TRIED: &str = "not tried";

impl Console {
    pub(super) async fn app_tested(&self, key: &str, bucket: &str) -> Result<api::AppTested, NodeError> {
        let key = self.find_key(key)?;
        let in_store = self.bucket_named(bucket)?;
        if in_store.settings.lock.is_some_and(|lock| lock.default.is_some()) {
            let why =
                "what is stored in this bucket is locked at once, so that a test could not be removed again";
            return Err(NodeError::Invalid(why.into()));
        }
        let urls = endpoint::urls(self.s3);
        let url = urls.first().map_or("", String::as_str);
        let host = url.trim_start_matches("http://");
        let client = Client {
            key: &key,
            address: host,
            host: host.strip_suffix(":80").unwrap_or(host),
            bucket: in_store.name.as_str(),
        };
        // Two tests at a time do not meet.
        let name = format!("{PREFIX}{}", Timestamp::now().as_millis());
        let mut steps = Vec::new();
        client.run(&name, &mut steps).await;
        let left = match self.clean(&in_store).await {
            Ok(()) => String::new(),
            Err(error) => format!("Objects that begin with {PREFIX} may be left: {error}"),
        };
        Ok(api::AppTested {
            schema: Schema,
            endpoint: url.to_owned(),
            key: key.name.as_str().into(),
            bucket: in_store.name.to_string(),
            works: steps.iter().all(|step| step.outcome == StepOutcome::Worked),
            steps,
            left,
        })
    }

    /// Removes what tests stored, every version of it, and what they did not finish.
    async fn clean(&self, bucket: &Bucket) -> Result<(), storage::StoreError> {
        let versions = ListVersions {
            prefix: PREFIX.into(),
            max: LEFT_MAX,
            ..ListVersions::default()
        };
        for left in self.store.list_versions(bucket, versions).await?.versions {
            let target = DeleteTarget {
                key: left.key,
                version: Some(left.version),
                condition: WriteCondition::None,
                bypass: false,
                cause: Cause::default(),
            };
            self.store.delete_object(bucket, target).await?;
        }
        let uploads = ListUploads {
            prefix: PREFIX.into(),
            max: LEFT_MAX,
            ..ListUploads::default()
        };
        for left in self.store.list_uploads(bucket, uploads).await?.uploads {
            self.store.abort_upload(bucket, &left.key, left.upload).await?;
        }
        Ok(())
    }
}

/// An answer that a step goes on with.
struct Answer {
    etag: String,
    body: Bytes,
}

/// An app with a key.
struct Client<'a> {
    key: &'a AccessKey,
    /// Where it connects.
    address: &'a str,
    /// What it calls that.
    host: &'a str,
    bucket: &'a str,
}

impl Client<'_> {
    /// Does every step that those before it leave sense in.
    async fn run(&self, name: &str, steps: &mut Vec<AppStep>) {
        let content = Bytes::from(vec![b'w'; CONTENT_BYTES]);
        let stored = step(steps, "Store an object", async {
            self.ask(Method::PUT, name, &[], content.clone()).await.map(drop)
        })
        .await;
        if stored {
            step(steps, "Read it", async {
                let read = self.ask(Method::GET, name, &[], Bytes::new()).await?;
                same(read.body == content, "what was read is not what was stored")
            })
            .await;
        } else {
            skip(steps, "Read it");
        }
        step(steps, "List the bucket", async {
            let query = [("list-type", "2"), ("prefix", name)];
            let listed = self.ask(Method::GET, "", &query, Bytes::new()).await?;
            let is_there = String::from_utf8_lossy(&listed.body).contains(&format!("<Key>{name}</Key>"));
            same(is_there || !stored, "what was stored is not in the list")
        })
        .await;
        let parts = format!("{name}-parts");
        let joined = step(steps, "Upload in parts", self.in_parts(&parts, &content)).await;
        match stored || joined {
            true => {
                step(steps, "Delete", async {
                    for name in [name, &parts] {
                        self.ask(Method::DELETE, name, &[], Bytes::new()).await?;
                    }
                    let gone = self.ask(Method::GET, name, &[], Bytes::new()).await;
                    same(gone.is_err(), "what was deleted can still be read")
                })
                .await;
            }
            false => skip(steps, "Delete"),
        }
    }

    async fn in_parts(&self, name: &str, content: &Bytes) -> Result<(), String> {
        let begun = self
            .ask(Method::POST, name, &[("uploads", "")], Bytes::new())
            .await?;
        let said = String::from_utf8_lossy(&begun.body).into_owned();
        let id = said
            .split_once("<UploadId>")
            .and_then(|(_, rest)| rest.split_once('<'));
        let (id, _) = id.ok_or("the answer names no upload")?;
        let of = ("uploadId", id);
        let part = self
            .ask(Method::PUT, name, &[("partNumber", "1"), of], content.clone())
            .await?;
        let complete = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
            part.etag
        );
        self.ask(Method::POST, name, &[of], complete.into()).await?;
        let read = self.ask(Method::GET, name, &[], Bytes::new()).await;
        // Whoever may only write cannot read what it wrote, and the step before says so.
        let is_same = read.map_or(true, |read| read.body == *content);
        same(is_same, "what was read is not what was stored in parts")
    }

    /// Sends a request about an object of the bucket, or about the bucket itself.
    async fn ask(
        &self,
        method: Method,
        name: &str,
        query: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, String> {
        let path = match name {
            "" => self.bucket.to_owned(),
            name => format!("{}/{name}", self.bucket),
        };
        let signed = Signer::new(self.key, REGION, Timestamp::now()).signed(&Unsigned {
            method,
            host: self.host,
            path: &path,
            query,
        });
        let head = signed.map_err(|error| error.message().to_owned())?;
        let exchanged = async {
            let stream = TcpStream::connect(self.address).await?;
            exchange(stream, Request::from_parts(head, Full::new(body))).await
        };
        let answer = tokio::time::timeout(PATIENCE, exchanged)
            .await
            .map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?
            .map_err(|error| format!("nobody answers at {}: {error}", self.address))?;
        let etag = answer.headers().get(header::ETAG);
        let etag = etag
            .and_then(|tag| tag.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let status = answer.status();
        let body = answer.into_body();
        if status.is_success() {
            Ok(Answer { etag, body })
        } else {
            Err(said_no(status, &String::from_utf8_lossy(&body)))
        }
    }
}

/// What an S3 error says, in a line.
fn said_no(status: StatusCode, document: &str) -> String {
    let element = |name: &str| {
        let (_, rest) = document.split_once(&format!("<{name}>"))?;
        rest.split_once('<').map(|(text, _)| text.to_owned())
    };
    match (element("Code"), element("Message")) {
        (Some(code), Some(message)) => format!("{} {code}: {message}", status.as_u16()),
        _ => format!("status {}", status.as_u16()),
    }
}

fn same(is_so: bool, otherwise: &str) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(otherwise.to_owned()) }
}

/// Does a step, and says whether it worked.
async fn step(steps: &mut Vec<AppStep>, what: &str, doing: impl Future<Output = Result<(), String>>) -> bool {
    let start = Instant::now();
    let done = doing.await;
    let outcome = match done {
        Ok(()) => StepOutcome::Worked,
        Err(_) => StepOutcome::Failed,
    };
    steps.push(AppStep {
        what: what.into(),
        outcome,
        seconds: start.elapsed().as_secs_f64(),
        why: done.err().unwrap_or_default(),
    });
    outcome == StepOutcome::Worked
}

fn skip(steps: &mut Vec<AppStep>, what: &str) {
    steps.push(AppStep {
        what: what.into(),
        outcome: StepOutcome::Skipped,
        seconds: 0.0,
        why: NOT_TRIED.into(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_words_of_s3() {
        let document = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
        assert_eq!(
            said_no(StatusCode::FORBIDDEN, document),
            "403 AccessDenied: Access Denied"
        );
        assert_eq!(said_no(StatusCode::BAD_GATEWAY, "<html>"), "status 502");
    }
}
