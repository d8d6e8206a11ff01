//! GetBucketAcl, PutBucketAcl, GetObjectAcl, PutObjectAcl.

use http::{HeaderMap, StatusCode};
use storage::model::{Bucket, BucketAcl, ObjectKey};

use super::get_object::{open, tell_version_id, version_id};
use super::listing::user;
use super::put_object::private_in_public;
use super::setting::check_settable;
use crate::access::{Grantee, Permission, canned_of_grants, grants_of_canned, parse_canned};
use crate::body::RequestBody;
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Call;
use crate::headers::text;
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

/// Reads an object's ACL back as grants; where it has none of its own, it is as public as its bucket.
pub(crate) async fn get_object_acl(call: &Call, bucket: &Bucket, key: &ObjectKey) -> S3Result<Reply> {
    let own = open(call, bucket, key).await?.info().headers.acl;
    let acl = match bucket.settings.effective_acl() {
        _ if bucket.settings.has_no_acls() => BucketAcl::Private,
        _ if !own.is_private() => own,
        _ if call.gateway.access.is_public_read(bucket, key) => BucketAcl::PublicRead,
        BucketAcl::AuthenticatedRead => BucketAcl::AuthenticatedRead,
        BucketAcl::Private | BucketAcl::PublicRead | BucketAcl::PublicReadWrite => BucketAcl::Private,
    };
    Ok(document(bucket, acl))
}

/// Sets the ACL of a stored object, or of the version named.
///
/// # Errors
/// `NotImplemented` for a private one where everyone may read the object as its bucket is.
pub(crate) async fn put_object_acl(
    call: &Call,
    bucket: &Bucket,
    key: &ObjectKey,
    body: RequestBody,
) -> S3Result<Reply> {
    let acl = wanted(call, bucket, body).await?;
    check_settable(&bucket.settings, acl)?;
    if acl.is_private() && call.gateway.access.is_public_read(bucket, key) {
        return Err(private_in_public());
    }
    let version = version_id(&call.query)?;
    let set = call.gateway.store.set_acl(bucket, key, version, acl).await;
    let version = set.map_err(|error| call.absence(bucket, S3Error::from(error)))?;
    let mut reply = empty(StatusCode::OK);
    tell_version_id(reply.headers_mut(), bucket, version);
    Ok(reply)
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

/// The ACL that headers ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// `bucket-owner-full-control`: what holds anyway, also where ACLs mean nothing.
    OwnerControls,
    /// `bucket-owner-read`: what holds anyway.
    OwnerReads,
    /// One of those that may change something.
    Canned(BucketAcl),
}

impl Asked {
    /// The ACL that comes of it.
    pub(super) fn canned(self) -> BucketAcl {
        match self {
            Self::OwnerControls | Self::OwnerReads => BucketAcl::Private,
            Self::Canned(acl) => acl,
        }
    }
}

/// The headers that grant something, and what.
const GRANT_HEADERS: [(&str, &str); 5] = [
    ("x-amz-grant-full-control", "FULL_CONTROL"),
    ("x-amz-grant-read", "READ"),
    ("x-amz-grant-write", "WRITE"),
    ("x-amz-grant-read-acp", "READ_ACP"),
    ("x-amz-grant-write-acp", "WRITE_ACP"),
];

/// The ACL that headers ask for, by its name or grant by grant; `owner` is the bucket's.
///
/// # Errors
/// `InvalidRequest`: both ways at once. `InvalidArgument`. `NotImplemented`: grants that no canned ACL stands for.
pub(super) fn asked_acl(headers: &HeaderMap, owner: &str) -> S3Result<Option<Asked>> {
    let name = text(headers, "x-amz-acl")?;
    let mut grants = Vec::new();
    for (header, permission) in GRANT_HEADERS {
        for grantee in text(headers, header)?.unwrap_or_default().split(',') {
            if !grantee.trim().is_empty() {
                let grantee = header_grantee(header, grantee, owner)?;
                grants.push((grantee, Permission::from_name(permission)));
            }
        }
    }
    match name {
        Some(_) if !grants.is_empty() => Err(S3Error::invalid_request(
            "Specifying both Canned ACLs and Header Grants is not allowed",
        )),
        Some("bucket-owner-full-control") => Ok(Some(Asked::OwnerControls)),
        Some("bucket-owner-read") => Ok(Some(Asked::OwnerReads)),
        Some(name) => parse_canned(name).map(|acl| Some(Asked::Canned(acl))),
        None if grants.is_empty() => Ok(None),
        None => canned_of(&grants).map(|acl| Some(Asked::Canned(acl))),
    }
}

/// Reads e.g. `uri="http://acs.amazonaws.com/groups/global/AllUsers"`; nothing for somebody no canned ACL speaks of.
fn header_grantee(header: &str, text: &str, owner: &str) -> S3Result<Option<Grantee>> {
    let invalid = || S3Error::invalid_argument(header, text, "Argument format not recognized");
    let (kind, value) = text.trim().split_once('=').ok_or_else(invalid)?;
    let value = value.trim().trim_matches('"');
    match kind.trim().to_ascii_lowercase().as_str() {
        "uri" => Ok(Grantee::from_uri(value)),
        "id" => Ok((value == owner).then_some(Grantee::User)),
        "emailaddress" => Ok(None),
        _ => Err(invalid()),
    }
}

/// The canned ACL that grants exactly these.
fn canned_of(grants: &[(Option<Grantee>, Option<Permission>)]) -> S3Result<BucketAcl> {
    let known: Option<Vec<_>> = grants
        .iter()
        .map(|(grantee, permission)| grantee.zip(*permission))
        .collect();
    known
        .and_then(|grants| canned_of_grants(&grants))
        .ok_or_else(unsupported)
}

/// The ACL a request asks for, in its headers or in its body.
async fn wanted(call: &Call, bucket: &Bucket, body: RequestBody) -> S3Result<BucketAcl> {
    if let Some(asked) = asked_acl(&call.headers, bucket.owner.as_str())? {
        return Ok(asked.canned());
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
        grants.push((
            read_grantee(grantee, owner)?,
            Permission::from_name(permission.trim()),
        ));
    }
    canned_of(&grants)
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
    fn headers_grant_what_a_canned_acl_stands_for() {
        let asked = |lines: &[(&'static str, &str)]| {
            let pair = |(name, value): &(&'static str, &str)| {
                (http::HeaderName::from_static(name), value.parse().unwrap())
            };
            asked_acl(&lines.iter().map(pair).collect(), "me").map_err(|error| error.code())
        };
        let everyone = "uri=\"http://acs.amazonaws.com/groups/global/AllUsers\"";
        let (full, read) = ("x-amz-grant-full-control", "x-amz-grant-read");
        assert_eq!(asked(&[]), Ok(None));
        let public = Ok(Some(Asked::Canned(BucketAcl::PublicRead)));
        assert_eq!(asked(&[(full, "id=me"), (read, everyone)]), public);
        assert_eq!(
            asked(&[(full, "id=\"me\"")]),
            Ok(Some(Asked::Canned(BucketAcl::Private)))
        );
        assert_eq!(
            asked(&[("x-amz-acl", "bucket-owner-read")]),
            Ok(Some(Asked::OwnerReads))
        );
        for (lines, code) in [
            (&[(read, everyone)][..], S3Code::NotImplemented),
            (&[(full, "id=me, id=you")], S3Code::NotImplemented),
            (&[(full, "emailAddress=\"me@a.example\"")], S3Code::NotImplemented),
            (
                &[(full, "id=me"), ("x-amz-grant-read-acp", everyone)],
                S3Code::NotImplemented,
            ),
            (&[(full, "me")], S3Code::InvalidArgument),
            (
                &[(full, "id=me"), ("x-amz-acl", "private")],
                S3Code::InvalidRequest,
            ),
        ] {
            assert_eq!(asked(lines), Err(code), "{lines:?}");
        }
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
