//! Access control lists: what a bucket or an object grants beside the grants of access keys.

use serde::{Deserialize, Serialize};

use super::{AccessKey, AccessKeyId, KeySerial};

/// Most grants of a list. Source: AWS S3 user guide, "Access control list (ACL) overview".
pub const ACL_GRANTS_MAX: usize = 100;

/// The access control list of a bucket or of an object. It gives and never takes away: what the owner and the keys with a
/// grant on the bucket may do does not depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Acl {
    /// Only keys with a grant.
    #[default]
    Private,
    /// Anyone may read and list.
    PublicRead,
    /// Anyone may read, list and write.
    PublicReadWrite,
    /// Any access key of this mesh may read and list.
    AuthenticatedRead,
    /// What these grant, in the order they were put; at most [`ACL_GRANTS_MAX`], and none of the lists above.
    Grants(Vec<AclGrant>),
}

/// One line of an access control list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclGrant {
    /// To whom.
    pub grantee: Grantee,
    /// What.
    pub permission: Permission,
}

/// To whom a grant is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grantee {
    /// The owner of the bucket, who owns every object in it and may do everything anyway.
    Owner,
    /// One access key; a key that is imported again under this id is another.
    Key {
        /// Its id.
        id: AccessKeyId,
        /// Which key of that id.
        serial: KeySerial,
    },
    /// Anyone.
    AllUsers,
    /// Any access key of this mesh.
    AuthenticatedUsers,
    /// Whoever writes access logs. Nobody signs as that.
    LogDelivery,
}

impl Grantee {
    /// Whether it is more people than anyone has chosen.
    pub const fn is_public(&self) -> bool {
        matches!(self, Self::AllUsers | Self::AuthenticatedUsers)
    }

    /// Whether it includes whoever signed with this key, or with none.
    fn includes(&self, who: Option<&AccessKey>) -> bool {
        match self {
            Self::AllUsers => true,
            Self::AuthenticatedUsers => who.is_some(),
            Self::Key { id, serial } => who.is_some_and(|key| key.id == *id && key.serial == *serial),
            // What an owner may do is a grant of the bucket, which can be taken from its key.
            Self::Owner | Self::LogDelivery => false,
        }
    }
}

/// What a grant permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Permission {
    /// All of the others.
    FullControl,
    /// Reading, and listing a bucket.
    Read,
    /// Writing and deleting in a bucket. Of an object it means nothing.
    Write,
    /// Reading the list itself.
    ReadAcl,
    /// Changing the list itself.
    WriteAcl,
}

/// What an access control list permits somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AclRights {
    /// Reading.
    pub read: bool,
    /// Writing.
    pub write: bool,
    /// Reading the list.
    pub read_acl: bool,
    /// Changing the list.
    pub write_acl: bool,
}

impl AclRights {
    /// Nothing.
    pub const NONE: Self = Self {
        read: false,
        write: false,
        read_acl: false,
        write_acl: false,
    };

    const fn add(&mut self, permission: Permission) {
        let all = matches!(permission, Permission::FullControl);
        self.read |= all || matches!(permission, Permission::Read);
        self.write |= all || matches!(permission, Permission::Write);
        self.read_acl |= all || matches!(permission, Permission::ReadAcl);
        self.write_acl |= all || matches!(permission, Permission::WriteAcl);
    }
}

const fn grant(grantee: Grantee, permission: Permission) -> AclGrant {
    AclGrant { grantee, permission }
}

const PRIVATE: &[AclGrant] = &[grant(Grantee::Owner, Permission::FullControl)];
const PUBLIC_READ: &[AclGrant] = &[
    grant(Grantee::Owner, Permission::FullControl),
    grant(Grantee::AllUsers, Permission::Read),
];
const PUBLIC_READ_WRITE: &[AclGrant] = &[
    grant(Grantee::Owner, Permission::FullControl),
    grant(Grantee::AllUsers, Permission::Read),
    grant(Grantee::AllUsers, Permission::Write),
];
const AUTHENTICATED_READ: &[AclGrant] = &[
    grant(Grantee::Owner, Permission::FullControl),
    grant(Grantee::AuthenticatedUsers, Permission::Read),
];

impl Acl {
    /// The list of these grants, by its name where it has one; `None` for more than [`ACL_GRANTS_MAX`].
    pub fn of(grants: Vec<AclGrant>) -> Option<Self> {
        let named = [
            Self::Private,
            Self::PublicRead,
            Self::PublicReadWrite,
            Self::AuthenticatedRead,
        ];
        let is_same = |acl: &Self| {
            let (left, right) = (acl.grants(), &grants);
            left.len() == right.len() && left.iter().all(|grant| right.contains(grant))
        };
        match named.into_iter().find(is_same) {
            Some(named) => Some(named),
            None => (grants.len() <= ACL_GRANTS_MAX).then_some(Self::Grants(grants)),
        }
    }

    /// Its lines.
    pub fn grants(&self) -> &[AclGrant] {
        match self {
            Self::Private => PRIVATE,
            Self::PublicRead => PUBLIC_READ,
            Self::PublicReadWrite => PUBLIC_READ_WRITE,
            Self::AuthenticatedRead => AUTHENTICATED_READ,
            Self::Grants(grants) => grants,
        }
    }

    /// Whether it is the one that everything has unless somebody says otherwise.
    pub fn is_private(&self) -> bool {
        *self == Self::Private
    }

    /// Whether it grants something to more people than anyone has chosen.
    pub fn is_public(&self) -> bool {
        self.grants().iter().any(|grant| grant.grantee.is_public())
    }

    /// Whether it grants something to anyone but the owner.
    pub fn opens_something(&self) -> bool {
        self.grants().iter().any(|grant| grant.grantee != Grantee::Owner)
    }

    /// The same list with anyone reading, or with nothing for the public.
    #[must_use]
    pub fn with_public_read(&self, on: bool) -> Self {
        let chosen = self.grants().iter().filter(|grant| !grant.grantee.is_public());
        let mut grants: Vec<AclGrant> = chosen.cloned().collect();
        if on && grants.len() < ACL_GRANTS_MAX {
            grants.push(grant(Grantee::AllUsers, Permission::Read));
        }
        Self::of(grants).unwrap_or_default()
    }

    /// What it permits whoever signed with this key, or with none; `ignores_public`: grants to the public count for nothing.
    pub fn rights(&self, who: Option<&AccessKey>, ignores_public: bool) -> AclRights {
        let mut rights = AclRights::NONE;
        for AclGrant { grantee, permission } in self.grants() {
            if grantee.includes(who) && !(ignores_public && grantee.is_public()) {
                rights.add(*permission);
            }
        }
        rights
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{KeyName, Quota, SecretKey, Timestamp};

    fn key(id: &str, serial: u8) -> AccessKey {
        AccessKey {
            id: AccessKeyId::parse(id).unwrap(),
            serial: KeySerial::from_bytes([serial; 16]),
            secret: SecretKey::parse("0123456789abcdef").unwrap(),
            name: KeyName::parse("a key").unwrap(),
            created: Timestamp::from_millis(0),
            create_buckets: false,
            quota: Quota::default(),
            aliases: std::collections::BTreeMap::new(),
        }
    }

    fn to_key(key: &AccessKey, permission: Permission) -> AclGrant {
        let (id, serial) = (key.id.clone(), key.serial);
        grant(Grantee::Key { id, serial }, permission)
    }

    #[test]
    fn grants_that_have_a_name_are_known_by_it_in_any_order() {
        for acl in [
            Acl::Private,
            Acl::PublicRead,
            Acl::PublicReadWrite,
            Acl::AuthenticatedRead,
        ] {
            let mut grants = acl.grants().to_vec();
            grants.reverse();
            assert_eq!(Acl::of(grants), Some(acl));
        }
        assert_eq!(Acl::of(Vec::new()), Some(Acl::Grants(Vec::new())));
        let twice = vec![grant(Grantee::AllUsers, Permission::Read); 2];
        assert_eq!(Acl::of(twice.clone()), Some(Acl::Grants(twice)));
    }

    #[test]
    fn a_list_has_at_most_a_hundred_grants() {
        let many = |count| vec![grant(Grantee::AllUsers, Permission::Read); count];
        assert!(Acl::of(many(100)).is_some());
        assert_eq!(Acl::of(many(101)), None);
    }

    #[test]
    fn a_grant_to_a_key_is_for_that_very_key() {
        let (anna, ben) = (key("WKANNA0000001", 1), key("WKBEN00000001", 2));
        let acl = Acl::of(vec![to_key(&anna, Permission::Write)]).unwrap();
        assert!(acl.rights(Some(&anna), true).write);
        assert_eq!(acl.rights(Some(&ben), false), AclRights::NONE);
        assert_eq!(acl.rights(None, false), AclRights::NONE);
        let again = key("WKANNA0000001", 3);
        assert_eq!(acl.rights(Some(&again), false), AclRights::NONE);
    }

    #[test]
    fn a_console_changes_only_what_the_public_gets() {
        let anna = key("WKANNA0000001", 1);
        let chosen = Acl::of(vec![to_key(&anna, Permission::Read)]).unwrap();
        let open = chosen.with_public_read(true);
        assert!(open.rights(None, false).read && open.rights(Some(&anna), true).read);
        assert_eq!(open.with_public_read(false), chosen);
        assert_eq!(Acl::Private.with_public_read(true), Acl::PublicRead);
        assert_eq!(Acl::PublicReadWrite.with_public_read(false), Acl::Private);
    }

    proptest! {
        #[test]
        fn full_control_is_every_other_permission(signed in any::<bool>()) {
            use Permission::{FullControl, Read, ReadAcl, Write, WriteAcl};
            let anna = key("WKANNA0000001", 1);
            let who = signed.then_some(&anna);
            let of = |permissions: &[Permission]| {
                let grants = permissions.iter().map(|permission| grant(Grantee::AuthenticatedUsers, *permission));
                Acl::Grants(grants.collect()).rights(who, false)
            };
            prop_assert_eq!(of(&[FullControl]), of(&[Read, Write, ReadAcl, WriteAcl]));
            prop_assert_eq!(of(&[FullControl]).read, signed);
        }
    }
}
