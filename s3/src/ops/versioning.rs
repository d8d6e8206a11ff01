//! GetBucketVersioning and PutBucketVersioning.

use http::StatusCode;
use storage::model::{Bucket, Versioning};

use crate::body::RequestBody;
use crate::error::S3Result;
use crate::gateway::Call;
use crate::response::{Reply, empty, xml};
use crate::xml::{BODY_BYTES_MAX, XmlWriter, parse_versioning};

/// Says whether old versions are kept; nothing where nobody ever set it.
pub(crate) fn get_bucket_versioning(bucket: &Bucket) -> Reply {
    let status = match bucket.settings.versioning {
        Versioning::Off => None,
        Versioning::Enabled => Some("Enabled"),
        Versioning::Suspended => Some("Suspended"),
    };
    let mut document = XmlWriter::document();
    document.root("VersioningConfiguration", |xml| xml.text_if("Status", status));
    xml(document.finish())
}

/// Keeps old versions from now on, or keeps no more of them; those that are kept stay.
pub(crate) async fn put_bucket_versioning(
    call: &Call,
    bucket: &Bucket,
    body: RequestBody,
) -> S3Result<Reply> {
    let versioning = parse_versioning(&body.document(BODY_BYTES_MAX).await?)?;
    call.gateway.store.set_versioning(bucket, versioning).await?;
    Ok(empty(StatusCode::OK))
}
