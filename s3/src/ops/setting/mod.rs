//! Reads, puts and deletes the settings of a bucket that have a document of their own.

mod cors;
mod encryption;
mod lifecycle;
mod ownership;
mod public_access;
mod website;

use http::StatusCode;
use storage::model::{Acl, Bucket, BucketSettings};

use crate::body::RequestBody;
use crate::cors::preflight as preflight_headers;
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Call;
use crate::response::{Reply, empty, xml};
use crate::route::Setting;
use crate::tags::{TagsOf, tags_of_document, write_tags};
use crate::xml::XmlWriter;

pub(super) use ownership::check_acl as check_ownership;

/// The largest document of a setting, in bytes. Source: AWS S3 API reference: 64 KB of CORS, 128 KB of website.
const DOCUMENT_BYTES_MAX: usize = 128 * 1024;

/// Gives back a setting as it was put.
///
/// # Errors
/// The 404 of its own, where nobody set it.
pub(crate) fn get_setting(bucket: &Bucket, setting: Setting) -> S3Result<Reply> {
    let settings = &bucket.settings;
    let mut document = XmlWriter::document();
    let written = match setting {
        Setting::Cors => (!settings.cors.is_empty()).then(|| cors::write(&mut document, &settings.cors)),
        Setting::Tagging => (!settings.tags.is_empty()).then(|| write_tags(&mut document, &settings.tags)),
        Setting::PublicAccessBlock => settings
            .public_access
            .map(|block| public_access::write(&mut document, block)),
        Setting::OwnershipControls => settings
            .ownership
            .map(|ownership| ownership::write(&mut document, ownership)),
        Setting::Encryption => settings
            .encryption
            .map(|encryption| encryption::write(&mut document, encryption)),
        Setting::Lifecycle => {
            (!settings.lifecycle.is_empty()).then(|| lifecycle::write(&mut document, &settings.lifecycle))
        }
        Setting::Website => settings
            .website
            .as_ref()
            .map(|website| website::write(&mut document, website)),
    };
    match written {
        Some(()) => {
            let mut reply = xml(document.finish());
            if setting == Setting::Lifecycle {
                lifecycle::tell_transition_size(reply.headers_mut());
            }
            Ok(reply)
        }
        None => Err(S3Error::new(unset_code(setting)).field("BucketName", bucket.name.as_str())),
    }
}

/// Puts a setting that is understood to the last element.
pub(crate) async fn put_setting(
    call: &Call,
    bucket: &Bucket,
    setting: Setting,
    body: RequestBody,
) -> S3Result<Reply> {
    let document = body.document(DOCUMENT_BYTES_MAX).await?;
    let document = &document[..];
    match setting {
        Setting::Cors => {
            let rules = cors::read(document)?;
            change(call, bucket, move |settings| settings.cors.clone_from(&rules)).await?;
        }
        Setting::Tagging => {
            let tags = tags_of_document(document, TagsOf::Bucket)?;
            change(call, bucket, move |settings| settings.tags.clone_from(&tags)).await?;
            // Source: AWS S3 API reference, PutBucketTagging.
            return Ok(empty(StatusCode::NO_CONTENT));
        }
        Setting::PublicAccessBlock => {
            let block = public_access::read(document)?;
            change(call, bucket, move |settings| settings.public_access = Some(block)).await?;
        }
        Setting::OwnershipControls => {
            let ownership = ownership::read(document)?;
            let wanted = BucketSettings {
                ownership: Some(ownership),
                ..bucket.settings.clone()
            };
            check_ownership(&wanted)?;
            change(call, bucket, move |settings| settings.ownership = Some(ownership)).await?;
        }
        Setting::Website => {
            let website = website::read(document)?;
            change(call, bucket, move |settings| {
                settings.website = Some(website.clone())
            })
            .await?;
        }
        Setting::Lifecycle => {
            let rules = lifecycle::read(document)?;
            change(call, bucket, move |settings| {
                settings.lifecycle.clone_from(&rules)
            })
            .await?;
            let mut reply = empty(StatusCode::OK);
            lifecycle::tell_transition_size(reply.headers_mut());
            return Ok(reply);
        }
        Setting::Encryption => {
            let encryption = encryption::read(document)?;
            change(call, bucket, move |settings| {
                settings.encryption = Some(encryption)
            })
            .await?;
        }
    }
    Ok(empty(StatusCode::OK))
}

/// Removes a setting; one that is not there is removed already.
pub(crate) async fn delete_setting(call: &Call, bucket: &Bucket, setting: Setting) -> S3Result<Reply> {
    change(call, bucket, move |settings| match setting {
        Setting::Cors => settings.cors.clear(),
        Setting::Tagging => settings.tags.clear(),
        Setting::PublicAccessBlock => settings.public_access = None,
        Setting::OwnershipControls => settings.ownership = None,
        Setting::Encryption => settings.encryption = None,
        Setting::Website => settings.website = None,
        Setting::Lifecycle => settings.lifecycle.clear(),
    })
    .await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Tells a browser whether a page of another origin may send a request; nobody need have signed that.
pub(crate) fn preflight(call: &Call, bucket: &Bucket) -> S3Result<Reply> {
    let told = preflight_headers(&bucket.settings.cors, &call.headers)?;
    let mut reply = empty(StatusCode::OK);
    reply.headers_mut().extend(told);
    Ok(reply)
}

async fn change(
    call: &Call,
    bucket: &Bucket,
    change: impl FnMut(&mut BucketSettings) + Send + 'static,
) -> S3Result<()> {
    call.gateway.store.change_bucket(bucket, change).await?;
    Ok(())
}

/// Refuses an ACL that a bucket's settings do not permit to be set, on the bucket or on an object in it.
///
/// # Errors
/// `AccessControlListNotSupported` where ACLs mean nothing, `AccessDenied` where public ones are blocked.
pub(super) fn check_settable(settings: &BucketSettings, acl: &Acl) -> S3Result<()> {
    if settings.has_no_acls() {
        return Err(S3Error::new(S3Code::AccessControlListNotSupported));
    }
    if settings.blocked().block_acls && acl.is_public() {
        return Err(S3Error::with_message(
            S3Code::AccessDenied,
            "Access Denied. Public ACLs are blocked by the public access block of this bucket.",
        ));
    }
    Ok(())
}

const fn unset_code(setting: Setting) -> S3Code {
    match setting {
        Setting::Cors => S3Code::NoSuchCORSConfiguration,
        Setting::Tagging => S3Code::NoSuchTagSet,
        Setting::PublicAccessBlock => S3Code::NoSuchPublicAccessBlockConfiguration,
        Setting::OwnershipControls => S3Code::OwnershipControlsNotFoundError,
        Setting::Website => S3Code::NoSuchWebsiteConfiguration,
        Setting::Lifecycle => S3Code::NoSuchLifecycleConfiguration,
        Setting::Encryption => S3Code::ServerSideEncryptionConfigurationNotFoundError,
    }
}
