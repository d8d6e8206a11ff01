//! What commands about the directory promise: each is one change of one row.

use std::collections::BTreeMap;

use super::*;
use crate::model::{
    AccessKeyId, AccessKeyRow, Bucket, BucketName, BucketRow, BucketSettings, BucketState, Granted, Grants,
    KeySerial,
};

fn name() -> BucketName {
    BucketName::parse("photos").unwrap()
}

fn anna() -> AccessKeyId {
    AccessKeyId::parse("anna-key").unwrap()
}

fn key_row(serial: u8) -> AccessKeyRow {
    AccessKeyRow {
        serial: KeySerial::from_bytes([serial; 16]),
        version: 0,
        sealed: Bytes::from_static(b"sealed"),
    }
}

fn bucket_row(id: u8, serial: u8) -> BucketRow {
    let granted = Granted {
        serial: KeySerial::from_bytes([serial; 16]),
        grants: Grants::ALL,
    };
    let bucket = Bucket {
        id: BucketId::from_bytes([id; 16]),
        name: name(),
        created: Timestamp::from_millis(1),
        owner: anna(),
        settings: BucketSettings::default(),
        grants: BTreeMap::from([(anna(), granted)]),
        state: BucketState::Open,
        version: 0,
        unfenced: None,
    };
    BucketRow {
        bucket,
        wrapped_key: Bytes::from_static(b"wrapped"),
    }
}

/// The directory, and operations by number.
#[derive(Default)]
struct Directory(Memory);

impl Directory {
    fn with_anna() -> Self {
        let mut directory = Self::default();
        let created = directory.submit(100, create_key(1));
        assert_eq!(created.access_key().unwrap().version, 1);
        directory
    }

    fn submit(&mut self, op: u8, command: RootCommand) -> Outcome {
        let submission = Submission {
            op: OpId::from_bytes([op; 16]),
            sweeps: 0,
            command: Command::Root(command),
        };
        let decision = self.0.decide(&submission);
        assert!(decision.stages.iter().flatten().count() <= 1, "more than one row");
        self.0.submit(&submission)
    }

    fn replace(&mut self, op: u8, from: u64, change: impl FnOnce(&mut Bucket)) -> Outcome {
        let mut row = self.bucket();
        change(&mut row.bucket);
        self.submit(op, RootCommand::ReplaceBucket { row, from })
    }

    fn delete(&mut self, op: u8, from: u64) -> Outcome {
        let delete = RootCommand::DeleteBucket {
            name: name(),
            id: BucketId::from_bytes([1; 16]),
            from,
        };
        self.submit(op, delete)
    }

    fn bucket(&self) -> BucketRow {
        self.0.read(&row_key::bucket(&name())).unwrap()
    }
}

fn create_key(serial: u8) -> RootCommand {
    let (id, row) = (anna(), key_row(serial));
    RootCommand::CreateAccessKey { id, row }
}

fn delete_key(serial: u8) -> RootCommand {
    let (id, serial) = (anna(), KeySerial::from_bytes([serial; 16]));
    RootCommand::DeleteAccessKey { id, serial }
}

#[test]
fn of_two_that_create_a_bucket_of_one_name_the_row_decides() {
    let mut directory = Directory::with_anna();
    let first = directory.submit(1, RootCommand::CreateBucket(bucket_row(1, 1)));
    assert_eq!(first.bucket().unwrap().bucket.version, 1);
    let second = directory.submit(2, RootCommand::CreateBucket(bucket_row(2, 1)));
    assert!(
        matches!(&second, Outcome::Refused(Refusal::BucketExists(taken)) if Some(&**taken) == first.bucket())
    );
    let again = directory.submit(1, RootCommand::CreateBucket(bucket_row(3, 1)));
    assert!(matches!(again, Outcome::Bucket(_)));
    assert_eq!(Some(&directory.bucket()), first.bucket());
}

#[test]
fn a_change_is_made_from_the_row_as_it_is_or_not_at_all() {
    let mut directory = Directory::with_anna();
    directory.submit(1, RootCommand::CreateBucket(bucket_row(1, 1)));
    let public = |bucket: &mut Bucket| bucket.settings.policy = Some("{}".into());
    let changed = directory.replace(2, 1, public);
    assert_eq!(changed.bucket().unwrap().bucket.version, 2);
    let late = directory.replace(3, 1, |bucket| bucket.settings.policy = None);
    assert!(matches!(late, Outcome::Refused(Refusal::BucketChanged(_))));
    let again = directory.replace(2, 1, public);
    assert_eq!(again, changed);
    assert_eq!(directory.bucket().bucket.version, 2);
}

#[test]
fn a_bucket_is_deleted_in_the_version_in_which_it_was_closed() {
    let mut directory = Directory::with_anna();
    directory.submit(1, RootCommand::CreateBucket(bucket_row(1, 1)));
    assert_eq!(directory.delete(2, 1), Outcome::Refused(Refusal::BucketOpen));
    directory.replace(3, 1, |bucket| bucket.state = BucketState::Closing);
    directory.replace(4, 2, |bucket| bucket.state = BucketState::Open);
    directory.replace(5, 3, |bucket| bucket.state = BucketState::Closing);
    let stale = directory.delete(6, 2);
    assert!(matches!(stale, Outcome::Refused(Refusal::BucketChanged(_))));
    assert_eq!(directory.delete(7, 4), Outcome::BucketGone);
    assert_eq!(directory.delete(7, 4), Outcome::BucketGone);
    assert_eq!(directory.delete(8, 4), Outcome::Refused(Refusal::NoSuchBucket));
    let next = directory.submit(9, RootCommand::CreateBucket(bucket_row(2, 1)));
    assert!(matches!(next, Outcome::Bucket(_)));
    assert_eq!(directory.delete(7, 4), Outcome::BucketGone);
    assert_eq!(directory.bucket().bucket.id, BucketId::from_bytes([2; 16]));
}

#[test]
fn a_key_imported_under_the_id_of_a_deleted_one_inherits_nothing() {
    let mut directory = Directory::with_anna();
    directory.submit(1, RootCommand::CreateBucket(bucket_row(1, 1)));
    assert_eq!(
        directory.submit(2, create_key(2)),
        Outcome::Refused(Refusal::AccessKeyExists)
    );
    assert_eq!(directory.submit(3, delete_key(1)), Outcome::AccessKeyGone);
    assert_eq!(directory.submit(3, delete_key(1)), Outcome::AccessKeyGone);
    assert!(matches!(
        directory.submit(4, create_key(2)),
        Outcome::AccessKey(_)
    ));
    assert_eq!(
        directory.submit(5, delete_key(1)),
        Outcome::Refused(Refusal::NoSuchAccessKey)
    );
    let dangling = directory.bucket().bucket.grants[&anna()].serial;
    assert_ne!(dangling, key_row(2).serial);
    directory.replace(6, 1, |bucket| bucket.settings.policy = None);
    assert!(directory.bucket().bucket.grants.is_empty());
}

#[test]
fn a_bucket_is_not_created_for_a_key_that_is_gone() {
    let mut directory = Directory::with_anna();
    directory.submit(1, delete_key(1));
    let created = directory.submit(2, RootCommand::CreateBucket(bucket_row(1, 1)));
    assert_eq!(created, Outcome::Refused(Refusal::NoSuchAccessKey));
}

#[test]
fn an_access_key_is_replaced_from_its_last_version_only() {
    let mut directory = Directory::with_anna();
    let replace = |serial, from| RootCommand::ReplaceAccessKey {
        id: anna(),
        row: key_row(serial),
        from,
    };
    assert_eq!(
        directory.submit(1, replace(1, 1)).access_key().unwrap().version,
        2
    );
    let late = directory.submit(2, replace(1, 1));
    assert!(matches!(late, Outcome::Refused(Refusal::AccessKeyChanged(_))));
    assert_eq!(
        directory.submit(3, replace(2, 2)),
        Outcome::Refused(Refusal::NoSuchAccessKey)
    );
}
