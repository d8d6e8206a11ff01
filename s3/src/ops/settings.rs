//! Settings of a bucket that cannot be changed yet: what holds, or that nothing is set.

use crate::body::RequestBody;
use crate::error::{S3Code, S3Error, S3Result};
use crate::response::{Reply, xml};
use crate::route::{DefaultSetting, UnsetSetting};
use crate::xml::{BODY_BYTES_MAX, XmlWriter, parse_versioning};

/// Says what holds where nobody sets it.
pub(crate) fn get_default(setting: DefaultSetting) -> Reply {
    let mut document = XmlWriter::document();
    match setting {
        DefaultSetting::Accelerate => document.root("AccelerateConfiguration", |_| {}),
        DefaultSetting::RequestPayment => {
            document.root("RequestPaymentConfiguration", |xml| {
                xml.text("Payer", "BucketOwner")
            });
        }
        DefaultSetting::Logging => document.root("BucketLoggingStatus", |_| {}),
        DefaultSetting::Notification => document.root("NotificationConfiguration", |_| {}),
    }
    xml(document.finish())
}

/// The answer to reading a setting no bucket has.
pub(crate) fn unset(setting: UnsetSetting) -> S3Error {
    S3Error::new(match setting {
        UnsetSetting::Lifecycle => S3Code::NoSuchLifecycleConfiguration,
        UnsetSetting::ObjectLock => S3Code::ObjectLockConfigurationNotFoundError,
        UnsetSetting::Replication => S3Code::ReplicationConfigurationNotFoundError,
    })
}

/// Says that versioning was never on.
pub(crate) fn get_bucket_versioning() -> Reply {
    let mut document = XmlWriter::document();
    document.root("VersioningConfiguration", |_| {});
    xml(document.finish())
}

/// Refuses to turn versioning on or off, once it is clear that this is what is asked.
pub(crate) async fn put_bucket_versioning(body: RequestBody) -> S3Result<Reply> {
    parse_versioning(&body.document(BODY_BYTES_MAX).await?)?;
    Err(S3Error::not_implemented(
        "Versioning is not implemented yet: this bucket keeps one version of each object.",
    ))
}
