//! Reads the access control list that a request asks for: by name, grant by grant in headers, or in a document.

use http::HeaderMap;
use storage::Store;
use storage::model::{ACL_GRANTS_MAX, AccessKeyId, Acl, AclGrant, Grantee, KeySerial};

use crate::access::{grant_headers, group_of_uri, parse_canned, permission_of_name};
use crate::error::{S3Code, S3Error, S3Result};
use crate::headers::text;
use crate::xml::{Element, parse};

/// The ACL that headers ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// `bucket-owner-full-control`: what holds anyway, also where ACLs mean nothing.
    OwnerControls,
    /// `bucket-owner-read`: what holds anyway.
    OwnerReads,
    /// One of those that may change something.
    List(Acl),
}

impl Asked {
    /// The ACL that comes of it.
    pub(super) fn acl(self) -> Acl {
        match self {
            Self::OwnerControls | Self::OwnerReads => Acl::Private,
            Self::List(acl) => acl,
        }
    }
}

/// Finds the access key that an id names now.
type FindKey<'s> = dyn Fn(&str) -> Option<(AccessKeyId, KeySerial)> + Send + Sync + 's;

/// Whom the ids in a list name.
pub(super) struct Ids<'s> {
    owner: &'s str,
    find: Box<FindKey<'s>>,
}

impl<'s> Ids<'s> {
    /// The access keys of a store, one of which owns the bucket in question.
    pub(super) fn of(store: &'s Store, owner: &'s str) -> Self {
        let find = |id: &str| {
            let exactly = AccessKeyId::parse(id)
                .ok()
                .and_then(|id| store.access_key(&id).ok());
            let key = exactly.or_else(|| {
                // s3cmd writes ids in lower case, as those of AWS are: the only key of that id is meant.
                let mut keys = store.access_keys();
                keys.retain(|key| key.id.as_str().eq_ignore_ascii_case(id));
                keys.pop().filter(|_| keys.is_empty())
            })?;
            Some((key.id.clone(), key.serial))
        };
        Self {
            owner,
            find: Box::new(find),
        }
    }

    /// Whom an id names: the owner, or another access key of this mesh.
    fn grantee(&self, id: &str) -> S3Result<Grantee> {
        if id == self.owner {
            return Ok(Grantee::Owner);
        }
        match (self.find)(id) {
            Some((id, _)) if id.as_str() == self.owner => Ok(Grantee::Owner),
            Some((id, serial)) => Ok(Grantee::Key { id, serial }),
            None => Err(S3Error::invalid_argument(
                "CanonicalUser/ID",
                id,
                "Invalid id. Grantees here are access keys, by their ids.",
            )),
        }
    }
}

/// The ACL that headers ask for, by its name or grant by grant.
///
/// # Errors
/// `InvalidRequest`: both ways at once. `InvalidArgument`: who or what is granted is not known.
/// `UnresolvableGrantByEmailAddress`. `MalformedACLError`: too many grants. `NotImplemented`.
pub(super) fn asked_acl(headers: &HeaderMap, ids: &Ids<'_>) -> S3Result<Option<Asked>> {
    let mut grants = Vec::new();
    for (header, permission) in grant_headers() {
        for grantee in text(headers, header)?.unwrap_or_default().split(',') {
            if !grantee.trim().is_empty() {
                let grantee = header_grantee(header, grantee, ids)?;
                grants.push(AclGrant { grantee, permission });
            }
        }
    }
    match text(headers, "x-amz-acl")? {
        Some(_) if !grants.is_empty() => Err(S3Error::invalid_request(
            "Specifying both Canned ACLs and Header Grants is not allowed",
        )),
        Some("bucket-owner-full-control") => Ok(Some(Asked::OwnerControls)),
        Some("bucket-owner-read") => Ok(Some(Asked::OwnerReads)),
        Some(name) => parse_canned(name).map(|acl| Some(Asked::List(acl))),
        None if grants.is_empty() => Ok(None),
        None => list(grants).map(|acl| Some(Asked::List(acl))),
    }
}

/// Reads e.g. `uri="http://acs.amazonaws.com/groups/global/AllUsers"`.
fn header_grantee(header: &str, text: &str, ids: &Ids<'_>) -> S3Result<Grantee> {
    let invalid = || S3Error::invalid_argument(header, text, "Argument format not recognized");
    let (kind, value) = text.trim().split_once('=').ok_or_else(invalid)?;
    let value = value.trim().trim_matches('"');
    match kind.trim().to_ascii_lowercase().as_str() {
        "uri" => group(value),
        "id" => ids.grantee(value),
        "emailaddress" => Err(no_addresses(value)),
        _ => Err(invalid()),
    }
}

/// Reads an `AccessControlPolicy`.
///
/// # Errors
/// `MalformedXML`, `MalformedACLError`; `AccessDenied` for one that names another owner; as [`asked_acl`].
pub(super) fn read_document(document: &[u8], ids: &Ids<'_>) -> S3Result<Acl> {
    let malformed = || S3Error::new(S3Code::MalformedACLError);
    let root = parse(document, "AccessControlPolicy")?;
    if let Some(owner) = root.optional("Owner")?
        && let Some(id) = owner.optional_text("ID")?
        && id.trim() != ids.owner
    {
        return Err(S3Error::with_message(
            S3Code::AccessDenied,
            "Access Denied. An access control list does not give what it is about to another owner.",
        ));
    }
    let lines = root.optional("AccessControlList")?.ok_or_else(malformed)?;
    let mut grants = Vec::new();
    for line in lines.only(&["Grant"])?.all("Grant") {
        let name = line.optional_text("Permission")?.ok_or_else(malformed)?;
        let grantee = line.optional("Grantee")?.ok_or_else(malformed)?;
        grants.push(AclGrant {
            grantee: read_grantee(grantee, ids)?,
            permission: permission_of_name(name.trim()).ok_or_else(malformed)?,
        });
    }
    list(grants)
}

fn read_grantee(grantee: &Element<'_>, ids: &Ids<'_>) -> S3Result<Grantee> {
    let text = |name| Ok::<_, S3Error>(grantee.optional_text(name)?.map(str::trim));
    match (text("URI")?, text("ID")?, text("EmailAddress")?) {
        (Some(uri), None, None) => group(uri),
        (None, Some(id), None) => ids.grantee(id),
        (None, None, Some(address)) => Err(no_addresses(address)),
        _ => Err(S3Error::new(S3Code::MalformedACLError)),
    }
}

fn group(uri: &str) -> S3Result<Grantee> {
    group_of_uri(uri).ok_or_else(|| S3Error::invalid_argument("Group/URI", uri, "Invalid group uri"))
}

fn no_addresses(address: &str) -> S3Error {
    S3Error::new(S3Code::UnresolvableGrantByEmailAddress).field("EmailAddress", address)
}

fn list(grants: Vec<AclGrant>) -> S3Result<Acl> {
    Acl::of(grants).ok_or_else(|| {
        S3Error::with_message(
            S3Code::MalformedACLError,
            format!("An access control list has at most {ACL_GRANTS_MAX} grants."),
        )
    })
}

#[cfg(test)]
mod tests {
    use storage::model::Permission;

    use super::*;

    const EVERYONE: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
    const READ: &str = "x-amz-grant-read";

    /// A mesh with the keys `owner-key` (which owns the bucket) and `other-key`.
    fn ids() -> Ids<'static> {
        Ids {
            owner: "owner-key",
            find: Box::new(|id| {
                let id = AccessKeyId::parse(id).ok()?;
                (id.as_str() == "other-key").then_some((id, KeySerial::from_bytes([7; 16])))
            }),
        }
    }

    fn other() -> Grantee {
        ids().grantee("other-key").unwrap()
    }

    fn asked(lines: &[(&'static str, &str)]) -> Result<Option<Asked>, S3Code> {
        let pair = |(name, value): &(&'static str, &str)| {
            (http::HeaderName::from_static(name), value.parse().unwrap())
        };
        asked_acl(&lines.iter().map(pair).collect(), &ids()).map_err(|error| error.code())
    }

    fn granted(grants: &[(Grantee, Permission)]) -> Acl {
        let grant = |(grantee, permission): &(Grantee, Permission)| AclGrant {
            grantee: grantee.clone(),
            permission: *permission,
        };
        Acl::of(grants.iter().map(grant).collect()).unwrap()
    }

    #[test]
    fn headers_grant_by_name_or_one_by_one() {
        let everyone = format!("uri=\"{EVERYONE}\"");
        let (full, read_acl) = ("x-amz-grant-full-control", "x-amz-grant-read-acp");
        assert_eq!(asked(&[]), Ok(None));
        let list = |acl| Ok(Some(Asked::List(acl)));
        let public = list(Acl::PublicRead);
        assert_eq!(asked(&[(full, "id=owner-key"), (READ, &everyone)]), public);
        assert_eq!(asked(&[(full, "id=\"owner-key\"")]), list(Acl::Private));
        assert_eq!(
            asked(&[("x-amz-acl", "bucket-owner-read")]),
            Ok(Some(Asked::OwnerReads))
        );
        let both = granted(&[
            (other(), Permission::Read),
            (Grantee::Owner, Permission::Read),
            (Grantee::AllUsers, Permission::ReadAcl),
        ]);
        assert_eq!(
            asked(&[(READ, "id=other-key, id=owner-key"), (read_acl, &everyone)]),
            list(both)
        );
    }

    #[test]
    fn headers_that_name_nobody_are_refused() {
        for (lines, code) in [
            (&[(READ, "id=nobody-known")][..], S3Code::InvalidArgument),
            (&[(READ, "uri=http://a.example/friends")], S3Code::InvalidArgument),
            (&[(READ, "owner-key")], S3Code::InvalidArgument),
            (
                &[(READ, "emailAddress=\"me@a.example\"")],
                S3Code::UnresolvableGrantByEmailAddress,
            ),
            (
                &[(READ, "id=other-key"), ("x-amz-acl", "private")],
                S3Code::InvalidRequest,
            ),
        ] {
            assert_eq!(asked(lines), Err(code), "{lines:?}");
        }
        let many = vec!["id=other-key"; ACL_GRANTS_MAX + 1].join(",");
        assert_eq!(asked(&[(READ, &many)]), Err(S3Code::MalformedACLError));
    }

    fn grant(grantee: &str, permission: &str) -> String {
        format!("<Grant><Grantee>{grantee}</Grantee><Permission>{permission}</Permission></Grant>")
    }

    fn read(owner: &str, grants: &[String]) -> Result<Acl, S3Code> {
        let grants = grants.concat();
        let document = format!(
            "<AccessControlPolicy><Owner><ID>{owner}</ID></Owner><AccessControlList>{grants}</AccessControlList>\
             </AccessControlPolicy>"
        );
        read_document(document.as_bytes(), &ids()).map_err(|error| error.code())
    }

    #[test]
    fn a_document_grants_what_it_says_and_nothing_else() {
        let mine = || grant("<ID>owner-key</ID>", "FULL_CONTROL");
        let everyone = format!("<URI>{EVERYONE}</URI>");
        let of = |grants: &[String]| read("owner-key", grants);
        assert_eq!(of(&[mine()]), Ok(Acl::Private));
        assert_eq!(of(&[]), Ok(Acl::Grants(Vec::new())));
        assert_eq!(of(&[grant(&everyone, "READ"), mine()]), Ok(Acl::PublicRead));
        let to_other = granted(&[
            (Grantee::Owner, Permission::FullControl),
            (other(), Permission::WriteAcl),
        ]);
        assert_eq!(
            of(&[mine(), grant("<ID>other-key</ID>", "WRITE_ACP")]),
            Ok(to_other)
        );
        for (grants, code) in [
            (grant("<ID>nobody-known</ID>", "READ"), S3Code::InvalidArgument),
            (
                grant("<EmailAddress>a@b.example</EmailAddress>", "READ"),
                S3Code::UnresolvableGrantByEmailAddress,
            ),
            (grant(&everyone, "EAT"), S3Code::MalformedACLError),
            (grant("", "READ"), S3Code::MalformedACLError),
            (
                grant(&format!("{everyone}<ID>other-key</ID>"), "READ"),
                S3Code::MalformedACLError,
            ),
            ("<Grant/>".into(), S3Code::MalformedACLError),
        ] {
            assert_eq!(of(&[grants]), Err(code));
        }
        assert_eq!(read("other-key", &[mine()]), Err(S3Code::AccessDenied));
    }
}
