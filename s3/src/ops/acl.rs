//! GetBucketAcl, PutBucketAcl, GetObjectAcl, PutObjectAcl.

use http::StatusCode;
use storage::model::{Bucket, BucketAcl, ObjectKey};

use super::get_object::open;
use super::listing::user;
use super::put_object::check_public;
use super::setting::check_settable;
use crate::access::{Grantee, Permission, canned_of_grants, grants_of_canned};
use crate::body::RequestBody;
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Call;
use crate::headers::canned_acl;
use crate::response::{Reply, empty, xml};
use crate::xml::{BODY_BYTES_MAX, Element, XmlWriter, parse};

const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// Reads a bucket's canned ACL back as grants.
pub(crate) fn get_bucket_acl(bucket: &Bucket) -> Reply {
    let acl = match bucket.settings.has_no_acls() {
        true => BucketAcl::Private,
        false => bucket.settings.acl,
    };
    document(bucket, acl)
}

/// Sets a bucket's ACL, given by name or as grants that a canned ACL stands for.
pub(crate) async fn put_bucket_acl(call: &Call, bucket: &Bucket, body: RequestBody) -> S3Result<Reply> {
    let acl = wanted(call, bucket, body).await?;
    check_settable(&bucket.settings, acl)?;
    call.gateway
        .store
        .change_bucket(bucket, move |settings| settings.acl = acl)
        .await?;
    Ok(empty(StatusCode::OK))
}

/// Says how public an object is: as public as its bucket.
pub(crate) async fn get_object_acl(call: &Call, bucket: &Bucket, key: &ObjectKey) -> S3Result<Reply> {
    open(call, bucket, key).await?;
    let acl = match bucket.settings.effective_acl() {
        _ if call.gateway.access.is_public_read(bucket, key) => BucketAcl::PublicRead,
        BucketAcl::AuthenticatedRead => BucketAcl::AuthenticatedRead,
        BucketAcl::Private | BucketAcl::PublicRead | BucketAcl::PublicReadWrite => BucketAcl::Private,
    };
    Ok(document(bucket, acl))
}

/// Accepts an ACL that already holds for an object.
pub(crate) async fn put_object_acl(
    call: &Call,
    bucket: &Bucket,
    key: &ObjectKey,
    body: RequestBody,
) -> S3Result<Reply> {
    open(call, bucket, key).await?;
    let acl = wanted(call, bucket, body).await?;
    check_settable(&bucket.settings, acl)?;
    check_public(call, bucket, key, acl)?;
    Ok(empty(StatusCode::OK))
}

fn document(bucket: &Bucket, acl: BucketAcl) -> Reply {
    let owner = bucket.owner.as_str();
    let mut document = XmlWriter::document();
    document.root("AccessControlPolicy", |xml| {
        user(xml, "Owner", owner, owner);
        xml.element("AccessControlList", |xml| {
            for (grantee, permission) in grants_of_canned(acl) {
                xml.element("Grant", |xml| {
                    write_grantee(xml, *grantee, owner);
                    xml.text("Permission", permission.name());
                });
            }
        });
    });
    xml(document.finish())
}

fn write_grantee(xml: &mut XmlWriter, grantee: Grantee, owner: &str) {
    let kind = if grantee.uri().is_some() {
        "Group"
    } else {
        "CanonicalUser"
    };
    xml.element_with(
        "Grantee",
        &[("xmlns:xsi", XSI), ("xsi:type", kind)],
        |xml| match grantee.uri() {
            Some(uri) => xml.text("URI", uri),
            None => {
                xml.text("ID", owner);
                xml.text("DisplayName", owner);
            }
        },
    );
}

/// The ACL a request asks for, in its header or in its body.
async fn wanted(call: &Call, bucket: &Bucket, body: RequestBody) -> S3Result<BucketAcl> {
    if let Some(acl) = canned_acl(&call.headers)? {
        return Ok(acl);
    }
    let document = body.document(BODY_BYTES_MAX).await?;
    if document.is_empty() {
        return Err(S3Error::new(S3Code::MissingSecurityHeader).field("MissingHeaderName", "x-amz-acl"));
    }
    read_grants(&document, bucket.owner.as_str())
}

/// Reads an `AccessControlPolicy` that a canned ACL stands for.
fn read_grants(document: &[u8], owner: &str) -> S3Result<BucketAcl> {
    let malformed = || S3Error::new(S3Code::MalformedACLError);
    let root = parse(document, "AccessControlPolicy")?;
    let list = root.optional("AccessControlList")?.ok_or_else(malformed)?;
    let mut grants = Vec::new();
    for grant in list.all("Grant") {
        let permission = grant.optional_text("Permission")?.ok_or_else(malformed)?;
        let grantee = grant.optional("Grantee")?.ok_or_else(malformed)?;
        match (
            read_grantee(grantee, owner)?,
            Permission::from_name(permission.trim()),
        ) {
            (Some(grantee), Some(permission)) => grants.push((grantee, permission)),
            _ => return Err(unsupported()),
        }
    }
    canned_of_grants(&grants).ok_or_else(unsupported)
}

fn read_grantee(grantee: &Element<'_>, owner: &str) -> S3Result<Option<Grantee>> {
    if let Some(uri) = grantee.optional_text("URI")? {
        return Ok(Grantee::from_uri(uri.trim()));
    }
    let id = grantee.optional_text("ID")?;
    Ok(id.filter(|id| id.trim() == owner).map(|_| Grantee::User))
}

fn unsupported() -> S3Error {
    S3Error::not_implemented(
        "Only the grants of the canned ACLs private, public-read, public-read-write and authenticated-read are \
         implemented. Give a key access with `warren key allow`, or put a bucket policy.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(grantee: &str, permission: &str) -> String {
        format!("<Grant><Grantee>{grantee}</Grantee><Permission>{permission}</Permission></Grant>")
    }

    fn read(grants: &[String]) -> Result<BucketAcl, S3Code> {
        let grants = grants.concat();
        let document = format!(
            "<AccessControlPolicy><Owner><ID>me</ID></Owner><AccessControlList>{grants}</AccessControlList>\
             </AccessControlPolicy>"
        );
        read_grants(document.as_bytes(), "me").map_err(|error| error.code())
    }

    #[test]
    fn grants_that_a_canned_acl_stands_for_are_understood() {
        let mine = || grant("<ID>me</ID>", "FULL_CONTROL");
        let everyone = "<URI>http://acs.amazonaws.com/groups/global/AllUsers</URI>";
        assert_eq!(read(&[mine()]), Ok(BucketAcl::Private));
        assert_eq!(
            read(&[grant(everyone, "READ"), mine()]),
            Ok(BucketAcl::PublicRead)
        );
        assert_eq!(
            read(&[mine(), grant("<ID>you</ID>", "READ")]),
            Err(S3Code::NotImplemented)
        );
        assert_eq!(
            read(&[mine(), grant(everyone, "READ_ACP")]),
            Err(S3Code::NotImplemented)
        );
        assert_eq!(read(&["<Grant/>".into()]), Err(S3Code::MalformedACLError));
    }
}
