//! Answers one request: who, what, may they, do it; and every refusal as S3 words it.

mod allow;
mod readable;
mod target;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use hyper::body::{Body, Incoming};
use storage::model::{AccessKey, Bucket, BucketName, Cause, How, Invocation, ObjectKey, Timestamp};
use storage::{Store, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::rustls::ServerConfig;
use tracing::{Instrument, debug, debug_span, error, warn};

use self::target::{Target, shared};
use crate::access::{Access, Rule, allow_service, key_of};
use crate::access_log::AccessLog;
use crate::account::{About, Account};
use crate::auth::{Authenticator, Identity, Verified};
use crate::body::{ChecksumOver, RequestBody};
use crate::connection::Watch;
use crate::error::{S3Code, S3Error, S3Result};
use crate::headers::{self, refuse_unhonoured};
use crate::meter::{Meter, WEBSITE};
use crate::notify::Webhooks;
use crate::ops;
use crate::proxies::{Origin, Proxies};
use crate::response::{Reply, ReplyBody, empty};
use crate::route::{BucketOperation, ObjectOperation, Operation, route};
use crate::server::Options;
use crate::uri::{Address, Query, RootDomains};

/// How long a request waits for a place among those being served.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// The `HostId` of error documents.
pub(crate) const HOST_ID: &str = "warren";

/// Names a request in its response, in errors and in the log: 16 hexadecimal digits, never the same twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestId([u8; 16]);

impl RequestId {
    fn from_number(mut number: u64) -> Self {
        let mut digits = [0; 16];
        for digit in digits.iter_mut().rev() {
            *digit = b"0123456789ABCDEF"[usize::from((number & 15).to_le_bytes()[0])];
            number >>= 4;
        }
        Self(digits)
    }

    /// The id as text.
    pub(crate) fn as_str(&self) -> &str {
        // Only hexadecimal digits are ever written there.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request's place among those being served; given back when the last piece of the response has been handed to the
/// connection, which may still be sending it.
#[derive(Debug)]
pub(crate) struct InFlight {
    watch: Arc<Watch>,
    _place: Option<OwnedSemaphorePermit>,
    pub(crate) account: Account,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.account.close(self.watch.received());
        self.watch.end();
    }
}

/// What every request needs.
pub(crate) struct Gateway {
    pub(crate) store: Store,
    pub(crate) access: Access,
    pub(crate) region: String,
    pub(crate) authenticator: Authenticator,
    pub(crate) meter: Arc<Meter>,
    pub(crate) webhooks: Arc<Webhooks>,
    pub(crate) access_log: Arc<AccessLog>,
    /// How handshakes are answered, if they are.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    proxies: Proxies,
    root_domains: RootDomains,
    website_domains: RootDomains,
    body_timeout: Duration,
    places: Arc<Semaphore>,
    next_id: AtomicU64,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gateway({} places)", self.places.available_permits())
    }
}

/// A request that has come in: which one it is, from where, and what its connection is doing.
#[derive(Clone)]
struct Arrival {
    id: RequestId,
    origin: Origin,
    watch: Arc<Watch>,
}

/// A request whose sender is known, without its body.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) id: RequestId,
    /// From where it came.
    pub(crate) origin: Origin,
    pub(crate) identity: Identity,
    /// The key whose own names of buckets hold: that which signed, or will sign what a browser asks about.
    pub(crate) named_by: Option<Arc<AccessKey>>,
    /// The bucket that a copy is from.
    pub(crate) source: Option<Arc<Bucket>>,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Query,
    /// The request target; its path is shown in errors.
    pub(crate) uri: Uri,
    /// True for HEAD, which is answered without a body.
    pub(crate) head: bool,
}

impl Gateway {
    pub(crate) fn new(store: Store, options: &Options) -> Self {
        // A random start, so that ids do not repeat when the server starts again.
        let start = getrandom::u64().unwrap_or_else(|_| Timestamp::now().as_millis() << 20);
        Self {
            store,
            access: Access::default(),
            region: options.region.clone(),
            authenticator: Authenticator::new(),
            meter: Arc::default(),
            access_log: Arc::default(),
            tls: options.tls.clone(),
            proxies: options.proxies.clone(),
            webhooks: Arc::new(Webhooks::new(&options.webhooks)),
            root_domains: options.root_domains.clone(),
            website_domains: options.website_domains.clone(),
            body_timeout: options.body_timeout,
            places: Arc::new(Semaphore::new(options.requests_max.min(Semaphore::MAX_PERMITS))),
            next_id: AtomicU64::new(start),
        }
    }

    /// Answers a request; whatever goes wrong is an answer too.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Origin,
        watch: Arc<Watch>,
    ) -> Reply {
        let (begun, meter) = (Instant::now(), self.meter.clone());
        // An odd factor permutes the numbers: neighbouring ids look nothing alike and none repeats.
        let number = self
            .next_id
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let id = RequestId::from_number(number);
        let has_body = !request.body().is_end_stream();
        watch.begin(has_body);
        let expects = request.headers().contains_key(header::EXPECT);
        let span = debug_span!("request", %id, method = %request.method(), path = request.uri().path());
        let target = self.target(&request);
        let origin = self.proxies.origin(peer, request.headers());
        let bucket = target
            .as_ref()
            .ok()
            .and_then(|target| self.addressed(target, &request));
        let shared = bucket.as_deref().and_then(|bucket| shared(bucket, &request));
        let arrival = Arrival {
            id,
            origin,
            watch: watch.clone(),
        };
        let mut about = About {
            entry: bucket.and_then(|bucket| self.entry(&bucket, &target, &request, &arrival)),
            ..About::default()
        };
        let admitted = self.admit(request, target, arrival, &mut about).instrument(span);
        let (answered, place) = admitted.await;
        let refused = answered
            .as_ref()
            .err()
            .map(|refusal| refusal.error.code().as_str());
        let mut reply = answered.unwrap_or_else(|refusal| refusal.reply(id, &watch));
        if let Some(entry) = &mut about.entry {
            entry.answered(refused, reply.headers(), begun.elapsed());
        }
        stamp(reply.headers_mut(), id);
        reply.headers_mut().extend(shared.unwrap_or_default());
        if expects && (!has_body || watch.is_body_unread()) {
            // No `100 Continue` was sent. On a connection where that happened, botocore before 1.44, and with it
            // aws-cli 1, misreads the answer to the next request that expects one, and waits for its end for ever.
            let headers = reply.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let account = Account {
            meter,
            begun,
            about,
            status: reply.status(),
            sent: 0,
        };
        reply.body_mut().hold(InFlight {
            watch,
            _place: place,
            account,
        });
        reply
    }

    /// Serves a request once there is a place for it; the place is given back with the response.
    async fn admit(
        self: Arc<Self>,
        request: Request<Incoming>,
        target: S3Result<Target>,
        arrival: Arrival,
        about: &mut About,
    ) -> (Result<Reply, Refusal>, Option<OwnedSemaphorePermit>) {
        match self.place().await {
            Some(place) => (self.serve(request, target, arrival, about).await, Some(place)),
            None => {
                let refusal = Refusal {
                    error: S3Error::new(S3Code::SlowDown),
                    uri: request.uri().clone(),
                    head: request.method() == Method::HEAD,
                };
                (Err(refusal), None)
            }
        }
    }

    /// A place among the requests being served; `None` when none gets free in time.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Some(place);
        }
        timeout(QUEUE_TIMEOUT, self.places.clone().acquire_owned())
            .await
            .ok()?
            .ok()
    }

    async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        target: S3Result<Target>,
        arrival: Arrival,
        about: &mut About,
    ) -> Result<Reply, Refusal> {
        let (parts, incoming) = request.into_parts();
        let head = parts.method == Method::HEAD;
        let uri = parts.uri.clone();
        let refuse = |error| Refusal {
            error,
            uri: uri.clone(),
            head,
        };
        let address = match target.map_err(refuse)? {
            Target::Api(address) => address,
            Target::Website(bucket) => {
                about.operation = WEBSITE;
                return Ok(Box::pin(self.visit(parts, &bucket, arrival)).await);
            }
        };
        let again = self.store.is_meshed().then(|| (parts.clone(), address.clone()));
        let understood = match (self.understand(parts, address, &arrival), again) {
            // The key may have been made by another member a moment ago.
            (Err(error), Some((parts, address)))
                if error.code() == S3Code::InvalidAccessKeyId && self.store.hear_news().await =>
            {
                self.understand(parts, address, &arrival)
            }
            // Whoever knows nobody's key yet must not say that one is wrong.
            (Err(error), _) if error.code() == S3Code::InvalidAccessKeyId && !self.store.is_informed() => {
                Err(StoreError::Unavailable.into())
            }
            (understood, _) => understood,
        };
        let (call, operation, payload) = understood.map_err(refuse)?;
        about.operation = operation.name();
        if let Some(entry) = &mut about.entry {
            entry.by(&call.identity);
        }
        let over = match operation {
            Operation::Object(_, _, ObjectOperation::CompleteMultipartUpload) => ChecksumOver::Object,
            _ => ChecksumOver::Body,
        };
        if let Some(service) = operation.service() {
            allow_service(&call.identity, service).map_err(refuse)?;
        }
        let watch = arrival.watch;
        let body = RequestBody::new(incoming, &call.headers, payload, over, self.body_timeout, watch);
        let body = body.map_err(refuse)?;
        let outcome = match operation {
            Operation::ListBuckets => ops::list_buckets(&call),
            Operation::CreateBucket(name) => Box::pin(ops::create_bucket(&call, &name, body)).await,
            Operation::Bucket(bucket, operation) => Box::pin(call.on_bucket(bucket, operation, body)).await,
            Operation::Object(bucket, key, operation) => call.on_object(bucket, key, operation, body).await,
        };
        outcome.map_err(refuse)
    }

    /// Who asks for what; nothing of the body is read yet.
    fn understand(
        self: &Arc<Self>,
        parts: Parts,
        address: Address,
        arrival: &Arrival,
    ) -> S3Result<(Call, Operation, crate::auth::PayloadRule)> {
        let query = Query::parse(parts.uri.query())?;
        let lookup = |id: &_| self.store.access_key(id).ok();
        let verified = match parts.method {
            // A browser asks before it sends what the link in its hands was signed for.
            Method::OPTIONS => Verified::nobody(),
            _ => self
                .authenticator
                .verify(&parts, &query, Timestamp::now(), lookup)?,
        };
        let Verified {
            identity,
            payload,
            hoisted,
        } = verified;
        let named_by = match parts.method {
            Method::OPTIONS => self.claimed(&parts.headers, parts.uri.query()),
            _ => key_of(&identity).cloned(),
        };
        let mut headers = parts.headers;
        headers.extend(hoisted);
        let operation = route(&parts.method, address, &query, &headers)?;
        refuse_unhonoured(&operation, &headers)?;
        let call = Call {
            gateway: self.clone(),
            id: arrival.id,
            origin: arrival.origin,
            identity,
            source: self.copied_from(&headers, named_by.as_deref()),
            named_by,
            headers,
            query,
            uri: parts.uri,
            head: parts.method == Method::HEAD,
        };
        Ok((call, operation, payload))
    }
}

/// Headers every response carries; hyper adds Date.
fn stamp(headers: &mut HeaderMap, id: RequestId) {
    headers.insert(header::SERVER, HeaderValue::from_static("Warren"));
    if let Ok(id) = HeaderValue::from_bytes(&id.0) {
        headers.insert("x-amz-request-id", id);
    }
}

/// Logs a request that was not done: loudly only where the owner of the box can mend it.
pub(crate) fn log_refusal(id: RequestId, resource: &str, refusal: &S3Error) {
    let status = refusal.status();
    if refusal.code() == S3Code::SlowDown {
        warn!(%id, resource, "request refused: too many at a time");
    } else if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
        error!(%id, resource, error = refusal as &dyn Error, "request failed");
    } else {
        debug!(%id, resource, error = %refusal, "request refused");
    }
}

/// A request that is refused, and what its error document needs to know.
struct Refusal {
    error: S3Error,
    uri: Uri,
    head: bool,
}

impl Refusal {
    fn reply(self, id: RequestId, watch: &Watch) -> Reply {
        let status = self.error.status();
        let resource = self.uri.path();
        log_refusal(id, resource, &self.error);
        let mut reply = empty(status);
        let headers = reply.headers_mut();
        for (name, value) in self.error.headers() {
            headers.insert(name, value.clone());
        }
        if watch.is_body_unread() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if !self.head && status != StatusCode::NOT_MODIFIED {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            let document = self.error.to_xml(resource, id.as_str(), HOST_ID);
            *reply.body_mut() = ReplyBody::Whole(document.into(), None);
        }
        reply
    }
}

impl Call {
    /// Finds the bucket, lets pass who may, and does what is asked of it.
    async fn on_bucket(
        self: &Call,
        name: BucketName,
        operation: BucketOperation,
        body: RequestBody,
    ) -> S3Result<Reply> {
        use BucketOperation as Op;
        let bucket = self.bucket(&name).await?;
        self.allow(&bucket, None, Rule::of_bucket(operation))?;
        match operation {
            Op::HeadBucket => Ok(ops::head_bucket(self)),
            Op::DeleteBucket => ops::delete_bucket(self, &bucket, &name).await,
            Op::GetBucketLocation => Ok(ops::get_bucket_location(self)),
            Op::ListObjects => ops::list_objects(self, &bucket).await,
            Op::ListObjectsV2 => ops::list_objects_v2(self, &bucket).await,
            Op::ListObjectVersions => ops::list_object_versions(self, &bucket).await,
            Op::ListMultipartUploads => ops::list_multipart_uploads(self, &bucket).await,
            Op::DeleteObjects => ops::delete_objects(self, &bucket, body).await,
            Op::PostObject => Box::pin(ops::post_object(self, (&bucket, &name), body)).await,
            Op::GetBucketVersioning => Ok(ops::get_bucket_versioning(&bucket)),
            Op::PutBucketVersioning => ops::put_bucket_versioning(self, &bucket, body).await,
            Op::GetObjectLockConfiguration => ops::get_object_lock_configuration(&bucket),
            Op::PutObjectLockConfiguration => ops::put_object_lock_configuration(self, &bucket, body).await,
            Op::GetBucketAcl => Ok(ops::get_bucket_acl(self, &bucket)),
            Op::PutBucketAcl => ops::put_bucket_acl(self, &bucket, body).await,
            Op::GetBucketPolicy => ops::get_bucket_policy(&bucket),
            Op::PutBucketPolicy => ops::put_bucket_policy(self, &bucket, body).await,
            Op::DeleteBucketPolicy => ops::delete_bucket_policy(self, &bucket).await,
            Op::GetBucketPolicyStatus => ops::get_bucket_policy_status(&bucket),
            Op::GetBucketNotificationConfiguration => Ok(ops::get_bucket_notification_configuration(&bucket)),
            Op::PutBucketNotificationConfiguration => {
                ops::put_bucket_notification_configuration(self, &bucket, body).await
            }
            Op::GetBucketLogging => Ok(ops::get_bucket_logging(&bucket)),
            Op::PutBucketLogging => ops::put_bucket_logging(self, &bucket, body).await,
            Op::GetSetting(setting) => ops::get_setting(&bucket, setting),
            Op::PutSetting(setting) => ops::put_setting(self, &bucket, setting, body).await,
            Op::DeleteSetting(setting) => ops::delete_setting(self, &bucket, setting).await,
            Op::GetDefault(setting) => Ok(ops::get_default(setting)),
            Op::GetUnset(setting) => Err(ops::unset(setting)),
            Op::DeleteUnset(_) => Ok(empty(StatusCode::NO_CONTENT)),
            Op::Preflight => ops::preflight(self, &bucket),
        }
    }

    /// Finds the bucket, lets pass who may, and does what is asked of the object.
    async fn on_object(
        self: &Call,
        name: BucketName,
        key: ObjectKey,
        operation: ObjectOperation,
        body: RequestBody,
    ) -> S3Result<Reply> {
        use ObjectOperation as Op;
        let bucket = self.bucket(&name).await?;
        let rules = Rule::both_of_object(operation);
        // Who may do these, the object itself may say, by its ACL or its tags, or the document by the lock in it.
        let may_say = matches!(
            operation,
            Op::GetObject
                | Op::HeadObject
                | Op::GetObjectAcl
                | Op::PutObjectAcl
                | Op::GetObjectAttributes
                | Op::GetObjectTagging
                | Op::PutObjectTagging
                | Op::DeleteObjectTagging
                | Op::PutObjectRetention
                | Op::PutObjectLegalHold
        );
        if !may_say {
            self.allow_version(&bucket, &key, self.query.get("versionId"), rules)?;
        }
        if self.headers.contains_key(headers::TAGGING) {
            self.allow(&bucket, Some(&key), Rule::TAG_OBJECT)?;
        }
        let bucket = &bucket;
        match operation {
            Op::GetObject | Op::HeadObject => ops::get_object(self, bucket, &key).await,
            Op::PutObject => Box::pin(ops::put_object(self, bucket, &key, body)).await,
            Op::CopyObject => Box::pin(ops::copy_object(self, bucket, &key)).await,
            Op::DeleteObject => Box::pin(ops::delete_object(self, bucket, key)).await,
            Op::CreateMultipartUpload => Box::pin(ops::create_multipart_upload(self, bucket, &key)).await,
            Op::UploadPart => Box::pin(ops::upload_part(self, bucket, &key, body)).await,
            Op::UploadPartCopy => Box::pin(ops::upload_part_copy(self, bucket, &key)).await,
            Op::CompleteMultipartUpload => {
                Box::pin(ops::complete_multipart_upload(self, bucket, &key, body)).await
            }
            Op::AbortMultipartUpload => Box::pin(ops::abort_multipart_upload(self, bucket, &key)).await,
            Op::ListParts => Box::pin(ops::list_parts(self, bucket, &key)).await,
            Op::GetObjectAcl => Box::pin(ops::get_object_acl(self, bucket, &key)).await,
            Op::PutObjectAcl => Box::pin(ops::put_object_acl(self, bucket, &key, body)).await,
            Op::GetObjectTagging => Box::pin(ops::get_object_tagging(self, bucket, &key)).await,
            Op::PutObjectTagging => Box::pin(ops::put_object_tagging(self, bucket, &key, body)).await,
            Op::DeleteObjectTagging => Box::pin(ops::delete_object_tagging(self, bucket, &key)).await,
            Op::GetObjectRetention => Box::pin(ops::get_object_retention(self, bucket, &key)).await,
            Op::PutObjectRetention => Box::pin(ops::put_object_retention(self, bucket, &key, body)).await,
            Op::GetObjectLegalHold => Box::pin(ops::get_object_legal_hold(self, bucket, &key)).await,
            Op::PutObjectLegalHold => Box::pin(ops::put_object_legal_hold(self, bucket, &key, body)).await,
            Op::GetObjectAttributes => Box::pin(ops::get_object_attributes(self, bucket, &key)).await,
            Op::Preflight => ops::preflight(self, bucket),
        }
    }

    /// The bucket of that name, if it is the client's idea of its owner that owns it.
    ///
    /// # Errors
    /// `NoSuchBucket`, `AccessDenied`.
    pub(crate) async fn bucket(&self, name: &BucketName) -> S3Result<Arc<Bucket>> {
        self.bucket_of_owner(name, "x-amz-expected-bucket-owner").await
    }

    /// As [`Self::bucket`], with the owner expected in this header.
    pub(crate) async fn bucket_of_owner(&self, name: &BucketName, owner: &str) -> S3Result<Arc<Bucket>> {
        let store = &self.gateway.store;
        let find = || store.bucket_for(self.named_by.as_deref(), name);
        let found = match find() {
            // Another member may have created it a moment ago.
            Err(StoreError::NoSuchBucket) if store.hear_news().await => find(),
            found => found,
        };
        let bucket = found.map_err(|error| S3Error::from(error).field("BucketName", name.as_str()))?;
        match self.headers.get(owner) {
            Some(expected) if expected.as_bytes() != bucket.owner.as_str().as_bytes() => {
                Err(S3Error::new(S3Code::AccessDenied))
            }
            _ => Ok(bucket),
        }
    }

    /// Why a change of an object in this bucket happens, for those who are told of it.
    pub(crate) fn cause(&self, bucket: &Bucket, how: How) -> Cause {
        if bucket.settings.notifications.is_empty() {
            return Cause::default();
        }
        Cause {
            how,
            requester: key_of(&self.identity).map(|key| key.id.clone()),
            from: Some(self.origin.from),
            request: self.id.to_string(),
        }
    }

    /// What its client calls what it does, where somebody signed and says so.
    pub(crate) fn invocation(&self) -> Option<Invocation> {
        let said = |name| self.headers.get(name)?.to_str().ok();
        let key = key_of(&self.identity)?;
        Invocation::of(
            key.id.as_str(),
            said("amz-sdk-invocation-id")?,
            said("amz-sdk-request")?,
        )
    }

    /// The key that signed the request.
    ///
    /// # Errors
    /// `AccessDenied`: nobody did.
    pub(crate) fn signer(&self) -> S3Result<&Arc<AccessKey>> {
        key_of(&self.identity).ok_or_else(|| S3Error::new(S3Code::AccessDenied))
    }

    /// Whether somebody signed the request.
    pub(crate) fn is_signed(&self) -> bool {
        key_of(&self.identity).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_have_sixteen_upper_case_digits() {
        assert_eq!(
            RequestId::from_number(0x4442_587f_b7d0_a2f9).as_str(),
            "4442587FB7D0A2F9"
        );
        assert_eq!(RequestId::from_number(1).as_str(), "0000000000000001");
    }
}
