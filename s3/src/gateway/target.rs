//! Tells requests to the S3 API from visits to websites, and what a browser is told about either.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use hyper::body::Incoming;
use storage::model::{AccessKey, Bucket, BucketName};

use super::{Arrival, Call, Gateway};
use crate::access::copy_source;
use crate::access_log::Entry;
use crate::auth::{Identity, claimed_key};
use crate::cors;
use crate::error::{S3Code, S3Error, S3Result};
use crate::response::Reply;
use crate::uri::{Address, Query, host_of, site_of};
use crate::website;

/// Longest request target, in bytes: a key of 1024 bytes, each percent-encoded, and a long query.
const TARGET_BYTES_MAX: usize = 8 * 1024;

/// Most bytes of all headers together.
const HEADERS_BYTES_MAX: usize = 64 * 1024;

/// What a request is for.
#[derive(Clone)]
pub(super) enum Target {
    /// An operation of S3.
    Api(Address),
    /// A page of the website that this bucket is.
    Website(BucketName),
}

impl Gateway {
    /// What a request is for; a head that is larger than any client needs is for nothing.
    pub(super) fn target(&self, request: &Request<Incoming>) -> S3Result<Target> {
        check_size(request)?;
        let (uri, headers) = (request.uri(), request.headers());
        let host = host_of(headers.get(header::HOST).and_then(|host| host.to_str().ok()), uri);
        let is_website = |name: &_| {
            self.store
                .bucket(name)
                .is_ok_and(|bucket| bucket.settings.website.is_some())
        };
        let roots = (&self.website_domains, &self.root_domains);
        let site =
            host.and_then(|host| site_of(host, (request.method(), uri.query(), headers), roots, is_website));
        match site {
            Some(bucket) => Ok(Target::Website(bucket)),
            None => Address::parse(host, uri, &self.root_domains).map(Target::Api),
        }
    }

    /// The bucket that a request is about, whoever sends it: the names that a key has for buckets hold for whoever says that
    /// it is that key. What this gives away, whoever asks by the bucket's own name is told, too.
    pub(super) fn addressed(&self, target: &Target, request: &Request<Incoming>) -> Option<Arc<Bucket>> {
        let (name, key) = match target {
            Target::Api(address) => (
                address.bucket()?,
                self.claimed(request.headers(), request.uri().query()),
            ),
            Target::Website(bucket) => (bucket, None),
        };
        self.store.bucket_for(key.as_deref(), name).ok()
    }

    /// The bucket that a copy is from, by a name that everybody or this key has for it.
    pub(super) fn copied_from(&self, headers: &HeaderMap, key: Option<&AccessKey>) -> Option<Arc<Bucket>> {
        let source = copy_source(headers)?;
        let (name, _) = source.split_once('/')?;
        self.store.bucket_for(key, &BucketName::parse(name).ok()?).ok()
    }

    /// The key that a request says it is signed with; nobody has verified that.
    pub(super) fn claimed(&self, headers: &HeaderMap, query: Option<&str>) -> Option<Arc<AccessKey>> {
        self.store.access_key(&claimed_key(headers, query)?).ok()
    }

    /// What the access log of a bucket is to say of a request, if there is one.
    pub(super) fn entry(
        &self,
        bucket: &Bucket,
        target: &S3Result<Target>,
        request: &Request<Incoming>,
        arrival: &Arrival,
    ) -> Option<Box<Entry>> {
        let key = match target {
            Ok(Target::Api(Address::Object(_, key))) => Some(key),
            _ => None,
        };
        let arrived = (arrival.id.as_str(), arrival.origin);
        Entry::of(&self.access_log, (bucket, key), request, arrived)
    }

    /// Shows somebody whom nobody knows a page of a website.
    pub(super) async fn visit(self: Arc<Self>, parts: Parts, bucket: &BucketName, arrival: Arrival) -> Reply {
        let call = Call {
            gateway: self,
            id: arrival.id,
            origin: arrival.origin,
            identity: Identity::Anonymous,
            named_by: None,
            source: None,
            headers: parts.headers,
            query: Query::default(),
            uri: parts.uri,
            head: parts.method == Method::HEAD,
        };
        let mut reply = website::serve(&call, &parts.method, bucket).await;
        if arrival.watch.is_body_unread() {
            reply
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        reply
    }
}

/// What the answer tells a browser, whatever becomes of the request.
pub(super) fn shared(bucket: &Bucket, request: &Request<Incoming>) -> Option<HeaderMap> {
    cors::shared(&bucket.settings.cors, request.method(), request.headers())
}

/// Refuses heads that are larger than any client needs.
fn check_size(request: &Request<Incoming>) -> S3Result<()> {
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    let headers: usize = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if target > TARGET_BYTES_MAX || headers > HEADERS_BYTES_MAX {
        return Err(S3Error::new(S3Code::RequestHeaderSectionTooLarge)
            .field("MaxSizeAllowed", HEADERS_BYTES_MAX.to_string()));
    }
    Ok(())
}
