//! The words S3 has for access control lists: groups, permissions and canned lists by their names.

use storage::model::{Acl, AclGrant, Grantee, Permission};

use crate::error::{S3Error, S3Result};

/// Groups by the URI S3 knows them by.
const GROUPS: [(&str, Grantee); 3] = [
    (
        "http://acs.amazonaws.com/groups/global/AllUsers",
        Grantee::AllUsers,
    ),
    (
        "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
        Grantee::AuthenticatedUsers,
    ),
    (
        "http://acs.amazonaws.com/groups/s3/LogDelivery",
        Grantee::LogDelivery,
    ),
];

/// Permissions by their names in XML, and by the headers that grant them.
const PERMISSIONS: [(&str, &str, Permission); 5] = [
    (
        "FULL_CONTROL",
        "x-amz-grant-full-control",
        Permission::FullControl,
    ),
    ("READ", "x-amz-grant-read", Permission::Read),
    ("WRITE", "x-amz-grant-write", Permission::Write),
    ("READ_ACP", "x-amz-grant-read-acp", Permission::ReadAcl),
    ("WRITE_ACP", "x-amz-grant-write-acp", Permission::WriteAcl),
];

/// The group with this URI.
pub fn group_of_uri(uri: &str) -> Option<Grantee> {
    let mut groups = GROUPS.iter();
    groups
        .find(|(known, _)| *known == uri)
        .map(|(_, group)| group.clone())
}

/// The URI of a group; `None` for a single grantee.
pub fn uri_of_group(grantee: &Grantee) -> Option<&'static str> {
    let mut groups = GROUPS.iter();
    groups.find(|(_, group)| group == grantee).map(|(uri, _)| *uri)
}

/// The permission with this name.
pub fn permission_of_name(name: &str) -> Option<Permission> {
    let mut permissions = PERMISSIONS.iter();
    permissions
        .find(|(known, ..)| *known == name)
        .map(|(.., permission)| *permission)
}

/// The name of a permission.
pub fn name_of_permission(permission: Permission) -> &'static str {
    let mut permissions = PERMISSIONS.iter();
    permissions
        .find(|(.., known)| *known == permission)
        .map_or("", |(name, ..)| name)
}

/// The headers that grant something, each with what it grants.
pub fn grant_headers() -> impl Iterator<Item = (&'static str, Permission)> {
    PERMISSIONS
        .iter()
        .map(|(_, header, permission)| (*header, *permission))
}

/// Reads an `x-amz-acl`.
///
/// # Errors
/// `InvalidArgument` for a name S3 does not know, `NotImplemented` for one that is not honoured.
pub fn parse_canned(name: &str) -> S3Result<Acl> {
    let log_delivery = |permission| AclGrant {
        grantee: Grantee::LogDelivery,
        permission,
    };
    match name {
        // The bucket's owner owns every object in it, so these differ from `private` in nothing.
        "private" | "bucket-owner-full-control" | "bucket-owner-read" => Ok(Acl::Private),
        "public-read" => Ok(Acl::PublicRead),
        "public-read-write" => Ok(Acl::PublicReadWrite),
        "authenticated-read" => Ok(Acl::AuthenticatedRead),
        "log-delivery-write" => {
            let mut grants = Acl::Private.grants().to_vec();
            grants.extend([Permission::Write, Permission::ReadAcl].map(log_delivery));
            Ok(Acl::Grants(grants))
        }
        "aws-exec-read" => Err(S3Error::not_implemented(
            "The canned ACL aws-exec-read is not implemented.",
        )),
        _ => Err(S3Error::invalid_argument(
            "x-amz-acl",
            name,
            "Invalid canned ACL.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_a_list_reads_back() {
        for (name, _, permission) in PERMISSIONS {
            assert_eq!(permission_of_name(name), Some(permission));
            assert_eq!(name_of_permission(permission), name);
        }
        for (uri, group) in GROUPS {
            assert_eq!(uri_of_group(&group), Some(uri));
            assert_eq!(group_of_uri(uri), Some(group));
        }
        assert_eq!(uri_of_group(&Grantee::Owner), None);
        assert_eq!(permission_of_name("read"), None);
    }

    #[test]
    fn a_canned_list_is_known_by_its_name() {
        assert_eq!(parse_canned("public-read").unwrap(), Acl::PublicRead);
        let logs = parse_canned("log-delivery-write").unwrap();
        assert!(logs.opens_something() && !logs.is_public());
        assert!(parse_canned("aws-exec-read").is_err());
        assert!(parse_canned("open-sesame").is_err());
    }
}
