//! Serves buckets as websites: to anyone, what anyone may read, with pages for errors.
//!
//! Source: AWS S3 user guide, "Hosting a static website using Amazon S3".

mod error_page;
mod redirect;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use storage::model::{Bucket, BucketName, ObjectKey, Website};

use self::error_page::error_page;
use self::redirect::{Asked, Redirect, at_once, instead_of, into_folder, moved};
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::{Call, log_refusal};
use crate::ops;
use crate::response::{Reply, ReplyBody, empty};
use crate::uri::{decode_path, host_of, parse_key};

const REDIRECT: &str = "x-amz-website-redirect-location";

/// Answers a request to a website. The call is that of somebody nobody knows, and has no parameters.
pub(crate) async fn serve(call: &Call, method: &Method, name: &BucketName) -> Reply {
    let answered = async {
        let bucket = call.bucket(name).await?;
        match *method {
            Method::OPTIONS => ops::preflight(call, &bucket),
            Method::GET | Method::HEAD => {
                let unset =
                    || S3Error::new(S3Code::NoSuchWebsiteConfiguration).field("BucketName", name.as_str());
                let site = Site {
                    call,
                    bucket: &bucket,
                    website: bucket.settings.website.as_ref().ok_or_else(unset)?,
                };
                site.answer(&path(call)?).await
            }
            _ => Err(S3Error::new(S3Code::MethodNotAllowed)
                .field("Method", method.as_str())
                .header(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"))),
        }
    };
    answered.await.unwrap_or_else(|error| refused(call, &error))
}

/// The path asked for, decoded, without its first slash.
fn path(call: &Call) -> S3Result<String> {
    let path = call.uri.path();
    let path = decode_path(path.strip_prefix('/').unwrap_or(path))?.into_owned();
    String::from_utf8(path).map_err(|_| S3Error::new(S3Code::InvalidURI))
}

/// One bucket that is a website, and who asks for something of it.
struct Site<'a> {
    call: &'a Call,
    bucket: &'a Bucket,
    website: &'a Website,
}

impl Site<'_> {
    async fn answer(&self, path: &str) -> S3Result<Reply> {
        let call = self.call;
        let host = call.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let asked = Asked {
            host: host_of(host, &call.uri).unwrap_or_default(),
            path,
            query: call.uri.query(),
        };
        if let Some(redirect) = at_once(self.website, asked) {
            return Ok(sent(redirect));
        }
        let Website::Pages { index, error, .. } = self.website else {
            return Err(S3Error::new(S3Code::NoSuchWebsiteConfiguration));
        };
        let is_folder = path.is_empty() || path.ends_with('/');
        let key = if is_folder {
            format!("{path}{index}")
        } else {
            path.to_owned()
        };
        let failed = match self.page(call, &key).await {
            Ok(reply) => return Ok(reply),
            Err(failed) => failed,
        };
        if !is_folder && self.page(&self.plain(), &format!("{path}/{index}")).await.is_ok() {
            return Ok(sent(into_folder(asked)));
        }
        if let Some(redirect) = instead_of(self.website, asked, failed.status()) {
            return Ok(sent(redirect));
        }
        match error {
            Some(error) if failed.status().is_client_error() => self.own_error_page(error, failed).await,
            _ => Err(failed),
        }
    }

    /// An object, for whoever may read it: everyone. Where the object says that it moved, so does the answer.
    async fn page(&self, call: &Call, key: &str) -> S3Result<Reply> {
        let key: ObjectKey = parse_key(key.as_bytes())?;
        let reply = ops::get_object(call, self.bucket, &key).await?;
        match reply.headers().get(REDIRECT).map(|to| to.to_str()) {
            Some(Ok(to)) => Ok(sent(moved(to.to_owned()))),
            _ => Ok(reply),
        }
    }

    /// The page of the website that explains an error, with the status of that error.
    async fn own_error_page(&self, key: &str, failed: S3Error) -> S3Result<Reply> {
        let call = self.plain();
        match self.page(&call, key).await {
            Ok(mut reply) if reply.status() == StatusCode::OK => {
                log_refusal(call.id, call.uri.path(), &failed);
                *reply.status_mut() = failed.status();
                tell_error(reply.headers_mut(), &failed);
                Ok(reply)
            }
            Ok(redirect) => Ok(redirect),
            Err(_) => Err(failed),
        }
    }

    /// The call without conditions and ranges, which are about another object.
    fn plain(&self) -> Call {
        Call {
            headers: HeaderMap::new(),
            ..self.call.clone()
        }
    }
}

fn sent(redirect: Redirect) -> Reply {
    let mut reply = empty(redirect.status);
    if let Ok(location) = HeaderValue::try_from(redirect.location) {
        reply.headers_mut().insert(header::LOCATION, location);
    }
    reply
}

/// An error as a page for people.
fn refused(call: &Call, error: &S3Error) -> Reply {
    log_refusal(call.id, call.uri.path(), error);
    let mut reply = empty(error.status());
    let headers = reply.headers_mut();
    for (name, value) in error.headers() {
        headers.insert(name, value.clone());
    }
    tell_error(headers, error);
    if !call.head && error.status() != StatusCode::NOT_MODIFIED {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        *reply.body_mut() = ReplyBody::Whole(error_page(error, call.id.as_str()).into(), None);
    }
    reply
}

fn tell_error(headers: &mut HeaderMap, error: &S3Error) {
    headers.insert(
        "x-amz-error-code",
        HeaderValue::from_static(error.code().as_str()),
    );
    if let Ok(message) = HeaderValue::from_str(error.message()) {
        headers.insert("x-amz-error-message", message);
    }
}
