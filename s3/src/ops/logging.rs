//! GetBucketLogging and PutBucketLogging.

use http::StatusCode;
use storage::model::{Bucket, BucketLogging, BucketName};

use crate::access::Rule;
use crate::body::RequestBody;
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Call;
use crate::response::{Reply, empty, xml};
use crate::xml::{Element, XmlWriter, parse};

/// The largest document.
const DOCUMENT_BYTES_MAX: usize = 16 * 1024;
/// Longest prefix, in bytes: what a key has room for before the time.
const PREFIX_BYTES_MAX: usize = 900;

/// Says where access logs go; nothing where there are none.
pub(crate) fn get_bucket_logging(bucket: &Bucket) -> Reply {
    let mut document = XmlWriter::document();
    document.root("BucketLoggingStatus", |xml| {
        let Some(logging) = &bucket.settings.logging else {
            return;
        };
        xml.element("LoggingEnabled", |xml| {
            xml.text("TargetBucket", logging.target_name.as_str());
            xml.text("TargetPrefix", &logging.prefix);
        });
    });
    xml(document.finish())
}

/// Has access logs written from now on, or no more.
pub(crate) async fn put_bucket_logging(call: &Call, bucket: &Bucket, body: RequestBody) -> S3Result<Reply> {
    let document = body.document(DOCUMENT_BYTES_MAX).await?;
    let logging = match read(&document)? {
        None => None,
        Some((target_name, prefix)) => {
            let target = target(call, bucket, &target_name).await?;
            Some(BucketLogging {
                target: target.id,
                target_name,
                prefix,
            })
        }
    };
    let set = move |settings: &mut storage::model::BucketSettings| settings.logging.clone_from(&logging);
    call.gateway.store.change_bucket(bucket, set).await?;
    Ok(empty(StatusCode::OK))
}

/// The bucket that is to take the logs: one of the same owner, and of whoever says so, since they tell who asks for what.
async fn target(call: &Call, bucket: &Bucket, name: &BucketName) -> S3Result<std::sync::Arc<Bucket>> {
    let refused = || {
        S3Error::with_message(
            S3Code::InvalidTargetBucketForLogging,
            "The target bucket for logging does not exist, is not owned by you, or belongs to another owner than this one.",
        )
        .field("TargetBucket", name.as_str())
    };
    let target = call.bucket(name).await.map_err(|_| refused())?;
    call.allow(&target, None, Rule::TAKE_LOGS)
        .map_err(|_| refused())?;
    match target.owner == bucket.owner {
        true => Ok(target),
        false => Err(refused()),
    }
}

fn read(document: &[u8]) -> S3Result<Option<(BucketName, String)>> {
    let root = parse(document, "BucketLoggingStatus")?;
    let Some(logging) = root.only(&["LoggingEnabled"])?.optional("LoggingEnabled")? else {
        return Ok(None);
    };
    let logging = logging.only(&[
        "TargetBucket",
        "TargetPrefix",
        "TargetGrants",
        "TargetObjectKeyFormat",
    ])?;
    let has_grants = logging
        .optional("TargetGrants")?
        .is_some_and(|grants| !grants.children().is_empty());
    let format = logging.optional("TargetObjectKeyFormat")?;
    if has_grants || format.is_some_and(|format| !is_simple(format)) {
        return Err(S3Error::not_implemented(
            "Logs belong to the owner of their bucket alone, and are named by prefix and time (SimplePrefix).",
        ));
    }
    let name = logging.required("TargetBucket")?.text().trim();
    let name = BucketName::parse(name)
        .map_err(|_| S3Error::new(S3Code::InvalidTargetBucketForLogging).field("TargetBucket", name))?;
    let prefix = logging
        .optional_text("TargetPrefix")?
        .unwrap_or_default()
        .to_owned();
    if prefix.len() > PREFIX_BYTES_MAX {
        return Err(S3Error::invalid_argument(
            "TargetPrefix",
            prefix,
            "The prefix leaves no room for the name of a log.",
        ));
    }
    Ok(Some((name, prefix)))
}

/// Whether logs are to be named as they are.
fn is_simple(format: &Element<'_>) -> bool {
    format
        .children()
        .iter()
        .all(|child| child.name() == "SimplePrefix")
}
