//! What is known of a request about a bucket that logs: gathered while it is answered, written as a line when it is over.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, StatusCode, header};
use storage::model::{Bucket, BucketLogging, ObjectKey, Timestamp};

use super::{AccessLog, line};
use crate::access::key_of;
use crate::auth::Identity;
use crate::proxies::Origin;
use crate::transport::Cipher;
use crate::uri::Query;

/// A request about a bucket that logs.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(super) log: Arc<AccessLog>,
    pub(super) to: BucketLogging,
    pub(super) owner: String,
    pub(super) bucket: String,
    pub(super) at: Timestamp,
    pub(super) from: IpAddr,
    pub(super) cipher: Option<Cipher>,
    pub(super) requester: Option<String>,
    pub(super) id: String,
    pub(super) method: Method,
    pub(super) key: Option<String>,
    pub(super) target: String,
    pub(super) version: Option<String>,
    pub(super) host: Option<String>,
    pub(super) referer: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) signed: Option<&'static str>,
    /// What an ACL alone permitted is not told apart.
    pub(super) error: Option<&'static str>,
    /// Bytes of the object that was read or written.
    pub(super) object: Option<u64>,
    /// Until the answer was known.
    pub(super) turned: Duration,
}

/// How a request went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) operation: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) sent: u64,
    pub(crate) took: Duration,
    pub(crate) received: u64,
}

impl Entry {
    /// A request that has come in, unless its bucket logs nothing.
    pub(crate) fn of<B>(
        log: &Arc<AccessLog>,
        (bucket, key): (&Bucket, Option<&ObjectKey>),
        request: &Request<B>,
        (id, origin): (&str, Origin),
    ) -> Option<Box<Self>> {
        let to = bucket.settings.logging.clone()?;
        let headers = request.headers();
        let query = request.uri().query();
        let text = |name| {
            let value = headers.get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let version = query.and_then(|query| Query::parse(Some(query)).ok());
        Some(Box::new(Self {
            log: log.clone(),
            to,
            owner: bucket.owner.as_str().to_owned(),
            bucket: bucket.name.as_str().to_owned(),
            at: Timestamp::now(),
            from: origin.from,
            cipher: origin.cipher,
            requester: None,
            id: id.to_owned(),
            method: request.method().clone(),
            key: key.map(|key| key.as_str().to_owned()),
            target: without_signature(&request.uri().to_string()),
            version: version.and_then(|query| query.get("versionId").map(str::to_owned)),
            host: text(header::HOST),
            referer: text(header::REFERER),
            agent: text(header::USER_AGENT),
            signed: signed(headers, query),
            error: None,
            object: None,
            turned: Duration::ZERO,
        }))
    }

    /// Notes who it was.
    pub(crate) fn by(&mut self, identity: &Identity) {
        self.requester = key_of(identity).map(|key| key.id.as_str().to_owned());
    }

    /// Notes what it is answered.
    pub(crate) fn answered(&mut self, error: Option<&'static str>, headers: &HeaderMap, turned: Duration) {
        let number = |name| headers.get(name)?.to_str().ok();
        let range = number(header::CONTENT_RANGE).and_then(|range| range.rsplit_once('/'));
        let object = range
            .map(|(_, size)| size)
            .or_else(|| number(header::CONTENT_LENGTH));
        self.object = object.and_then(|size| size.parse().ok());
        (self.error, self.turned) = (error, turned);
    }

    /// Writes its line.
    pub(crate) fn close(&self, ended: &Ended) {
        self.log.add(&self.to, &line::of(self, ended));
    }
}

/// Whoever reads a log must not be able to use the links in it.
fn without_signature(target: &str) -> String {
    const NAME: &str = "X-Amz-Signature=";
    match target.split_once(NAME) {
        None => target.to_owned(),
        Some((before, after)) => {
            let rest = after.find('&').map_or("", |end| &after[end..]);
            format!("{before}{NAME}hidden{rest}")
        }
    }
}

/// How a request is signed, as logs name it.
fn signed(headers: &HeaderMap, query: Option<&str>) -> Option<&'static str> {
    match query.is_some_and(|query| query.contains("X-Amz-Signature=")) {
        _ if headers.contains_key(header::AUTHORIZATION) => Some("AuthHeader"),
        true => Some("QueryString"),
        false => None,
    }
}
