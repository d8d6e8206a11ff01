//! GetBucketAcl, PutBucketAcl, GetObjectAcl, PutObjectAcl.

use http::StatusCode;
use storage::model::{Acl, AclGrant, Bucket, Grantee, How, ObjectKey};

use super::asked_acl::{Asked, Ids, asked_acl, read_document};
use super::get_object::{tell_version_id, version_id};
use super::put_object::private_in_public;
use super::setting::check_settable;
use super::user::User;
use crate::access::{Rule, name_of_permission, uri_of_group};
use crate::body::RequestBody;
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Call;
use crate::response::{Reply, empty, xml};
use crate::route::ObjectOperation;
use crate::xml::{BODY_BYTES_MAX, XmlWriter};

const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// Reads a bucket's ACL back.
pub(crate) fn get_bucket_acl(call: &Call, bucket: &Bucket) -> Reply {
    match bucket.settings.has_no_acls() {
        true => document(call, bucket, &Acl::Private),
        false => document(call, bucket, &bucket.settings.acl),
    }
}

/// Sets a bucket's ACL, given by name or as grants.
pub(crate) async fn put_bucket_acl(call: &Call, bucket: &Bucket, body: RequestBody) -> S3Result<Reply> {
    let acl = wanted(call, bucket, body).await?;
    check_settable(&bucket.settings, &acl)?;
    call.gateway
        .store
        .change_bucket(bucket, move |settings| settings.acl.clone_from(&acl))
        .await?;
    Ok(empty(StatusCode::OK))
}

/// Reads an object's ACL back; where it has none of its own, it is as public as the ACL of its bucket makes it.
pub(crate) async fn get_object_acl(call: &Call, bucket: &Bucket, key: &ObjectKey) -> S3Result<Reply> {
    let rules = Rule::both_of_object(ObjectOperation::GetObjectAcl);
    let version = version_id(&call.query)?;
    let object = call
        .opened(bucket, key, version, rules, |rights| rights.read_acl)
        .await?;
    let own = &object.info().headers.acl;
    let acl = match bucket.settings.has_no_acls() {
        true => &Acl::Private,
        false if !own.is_private() => own,
        false if call.gateway.access.is_opened_by_bucket(bucket, key) => &Acl::PublicRead,
        false if bucket.settings.acl == Acl::AuthenticatedRead && !bucket.settings.blocked().ignore_acls => {
            &Acl::AuthenticatedRead
        }
        false => &Acl::Private,
    };
    Ok(document(call, bucket, acl))
}

/// Sets the ACL of a stored object, or of the version named.
///
/// # Errors
/// `NotImplemented` for one without the public where the ACL of the bucket lets everyone read the object.
pub(crate) async fn put_object_acl(
    call: &Call,
    bucket: &Bucket,
    key: &ObjectKey,
    body: RequestBody,
) -> S3Result<Reply> {
    let version = version_id(&call.query)?;
    let rules = Rule::both_of_object(ObjectOperation::PutObjectAcl);
    call.opened(bucket, key, version, rules, |rights| rights.write_acl)
        .await?;
    let acl = wanted(call, bucket, body).await?;
    check_settable(&bucket.settings, &acl)?;
    if !acl.is_public() && call.gateway.access.is_opened_by_bucket(bucket, key) {
        return Err(private_in_public());
    }
    let acl = (acl, call.cause(bucket, How::SetAcl));
    let set = call.gateway.store.set_acl(bucket, key, version, acl).await;
    let version = set.map_err(|error| call.absence(bucket, S3Error::from(error)))?;
    let mut reply = empty(StatusCode::OK);
    tell_version_id(reply.headers_mut(), bucket, version);
    Ok(reply)
}

fn document(call: &Call, bucket: &Bucket, acl: &Acl) -> Reply {
    let store = &call.gateway.store;
    let owner = User::of(store, &bucket.owner);
    let mut document = XmlWriter::document();
    document.root("AccessControlPolicy", |xml| {
        owner.element(xml, "Owner");
        xml.element("AccessControlList", |xml| {
            for AclGrant { grantee, permission } in acl.grants() {
                xml.element("Grant", |xml| {
                    match grantee {
                        Grantee::Key { id, .. } => write_grantee(xml, grantee, &User::of(store, id)),
                        _ => write_grantee(xml, grantee, &owner),
                    }
                    xml.text("Permission", name_of_permission(*permission));
                });
            }
        });
    });
    xml(document.finish())
}

/// Names a group by its URI, and a single grantee as the user it is.
fn write_grantee(xml: &mut XmlWriter, grantee: &Grantee, user: &User) {
    let uri = uri_of_group(grantee);
    let kind = if uri.is_some() { "Group" } else { "CanonicalUser" };
    let attributes = [("xmlns:xsi", XSI), ("xsi:type", kind)];
    xml.element_with("Grantee", &attributes, |xml| match uri {
        Some(uri) => xml.text("URI", uri),
        None => user.content(xml),
    });
}

/// The ACL a request asks for, in its headers or in its body.
async fn wanted(call: &Call, bucket: &Bucket, body: RequestBody) -> S3Result<Acl> {
    let document = body.document(BODY_BYTES_MAX).await?;
    let ids = Ids::of(&call.gateway.store, bucket.owner.as_str());
    match asked_acl(&call.headers, &ids)?.map(Asked::acl) {
        Some(_) if !document.is_empty() => Err(S3Error::new(S3Code::UnexpectedContent)),
        Some(acl) => Ok(acl),
        None if document.is_empty() => {
            Err(S3Error::new(S3Code::MissingSecurityHeader).field("MissingHeaderName", "x-amz-acl"))
        }
        None => read_document(&document, &ids),
    }
}
