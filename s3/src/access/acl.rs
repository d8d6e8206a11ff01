//! Canned access control lists: their names, and the grants they read back as.

use storage::model::BucketAcl;

use crate::error::{S3Error, S3Result};

/// To whom a grant is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grantee {
    /// The owner of the bucket, or another key the client names.
    User,
    /// Anyone.
    AllUsers,
    /// Any access key of this store.
    AuthenticatedUsers,
}

impl Grantee {
    /// The URI S3 knows a group by.
    pub const fn uri(self) -> Option<&'static str> {
        match self {
            Self::User => None,
            Self::AllUsers => Some("http://acs.amazonaws.com/groups/global/AllUsers"),
            Self::AuthenticatedUsers => Some("http://acs.amazonaws.com/groups/global/AuthenticatedUsers"),
        }
    }

    /// Reads [`Self::uri`].
    pub fn from_uri(uri: &str) -> Option<Self> {
        [Self::AllUsers, Self::AuthenticatedUsers]
            .into_iter()
            .find(|group| group.uri() == Some(uri))
    }
}

/// What a grant permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Everything.
    FullControl,
    /// Reading and listing.
    Read,
    /// Writing and deleting.
    Write,
}

impl Permission {
    /// Its name in S3's XML.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FullControl => "FULL_CONTROL",
            Self::Read => "READ",
            Self::Write => "WRITE",
        }
    }

    /// Reads [`Self::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::FullControl, Self::Read, Self::Write]
            .into_iter()
            .find(|known| known.name() == name)
    }
}

/// The grants a canned ACL stands for.
pub const fn grants_of_canned(acl: BucketAcl) -> &'static [(Grantee, Permission)] {
    match acl {
        BucketAcl::Private => &[(Grantee::User, Permission::FullControl)],
        BucketAcl::PublicRead => &[
            (Grantee::User, Permission::FullControl),
            (Grantee::AllUsers, Permission::Read),
        ],
        BucketAcl::PublicReadWrite => &[
            (Grantee::User, Permission::FullControl),
            (Grantee::AllUsers, Permission::Read),
            (Grantee::AllUsers, Permission::Write),
        ],
        BucketAcl::AuthenticatedRead => &[
            (Grantee::User, Permission::FullControl),
            (Grantee::AuthenticatedUsers, Permission::Read),
        ],
    }
}

/// The canned ACL that grants exactly these, in any order; `None` when none does.
pub fn canned_of_grants(grants: &[(Grantee, Permission)]) -> Option<BucketAcl> {
    const ALL: [BucketAcl; 4] = [
        BucketAcl::Private,
        BucketAcl::PublicRead,
        BucketAcl::PublicReadWrite,
        BucketAcl::AuthenticatedRead,
    ];
    ALL.into_iter().find(|acl| {
        let stands_for = grants_of_canned(*acl);
        grants.iter().all(|grant| stands_for.contains(grant))
            && stands_for.iter().all(|grant| grants.contains(grant))
    })
}

/// Reads an `x-amz-acl`.
///
/// # Errors
/// `InvalidArgument` for a name S3 does not know, `NotImplemented` for one that is not honoured.
pub fn parse_canned(name: &str) -> S3Result<BucketAcl> {
    match name {
        // The bucket's owner owns every object in it, so these differ from `private` in nothing.
        "private" | "bucket-owner-full-control" | "bucket-owner-read" => Ok(BucketAcl::Private),
        "public-read" => Ok(BucketAcl::PublicRead),
        "public-read-write" => Ok(BucketAcl::PublicReadWrite),
        "authenticated-read" => Ok(BucketAcl::AuthenticatedRead),
        "aws-exec-read" | "log-delivery-write" => Err(S3Error::not_implemented(format!(
            "The canned ACL {name} is not implemented."
        ))),
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
    fn a_canned_acl_reads_back_from_its_grants() {
        for name in [
            "private",
            "public-read",
            "public-read-write",
            "authenticated-read",
        ] {
            let acl = parse_canned(name).unwrap();
            let mut grants = grants_of_canned(acl).to_vec();
            grants.reverse();
            assert_eq!(canned_of_grants(&grants), Some(acl));
        }
        assert_eq!(canned_of_grants(&[]), None);
        assert_eq!(
            canned_of_grants(&[(Grantee::AllUsers, Permission::FullControl)]),
            None
        );
        assert!(parse_canned("open-sesame").is_err());
    }
}
