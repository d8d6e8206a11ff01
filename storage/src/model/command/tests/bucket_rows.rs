//! What the rows of buckets look like on disk, with every setting that people can make.

use super::wire::{bucket_row, framed};
use super::*;
use crate::model::command::{decode_row, encode_row};
use crate::model::{
    AccessKeyId, Acl, AclGrant, Bucket, BucketEncryption, BucketLogging, BucketName, BucketRow,
    BucketSettings, CorsMethod, CorsRule, DefaultRetention, EventPattern, Expiration, Grantee, KeySerial,
    LifecycleFilter, LifecycleRule, NoncurrentExpiration, NotificationRule, ObjectLock, ObjectOwnership,
    Period, Permission, Protocol, PublicAccessBlock, Quota, Replacement, RoutingRule, Website,
};

const FIXTURE: &[u8] = include_bytes!("../../../../fixtures/bucket-rows-1.bin");

fn cors() -> CorsRule {
    CorsRule {
        id: Some("app".into()),
        origins: vec!["https://app.example".into()],
        methods: vec![CorsMethod::Get, CorsMethod::Put],
        headers: vec!["x-amz-*".into()],
        exposed: vec!["ETag".into()],
        max_age_secs: Some(300),
    }
}

fn website() -> Website {
    Website::Pages {
        index: "index.html".into(),
        error: Some("error.html".into()),
        rules: vec![RoutingRule {
            prefix: Some("old/".into()),
            error: Some(404),
            protocol: Some(Protocol::Https),
            host: Some("b.example".into()),
            replace: Some(Replacement::Prefix("new/".into())),
            status: Some(302),
        }],
    }
}

fn lifecycle() -> Vec<LifecycleRule> {
    let rule = |id: &str, expiration| LifecycleRule {
        id: id.into(),
        enabled: true,
        filter: LifecycleFilter::default(),
        expiration: Some(expiration),
        noncurrent: None,
        abort_uploads: None,
    };
    let all = LifecycleRule {
        enabled: false,
        filter: LifecycleFilter {
            prefix: Some("logs/".into()),
            tags: vec![("a".into(), "b".into())],
            larger_than: Some(5),
            smaller_than: Some(500),
            is_bare: false,
        },
        noncurrent: Some(NoncurrentExpiration {
            days: 7,
            keep: Some(2),
        }),
        abort_uploads: Some(3),
        ..rule("all", Expiration::Days(30))
    };
    let midnight = Timestamp::from_millis(1_767_225_600_000);
    vec![
        all,
        rule("date", Expiration::Date(midnight)),
        rule("markers", Expiration::Markers(true)),
    ]
}

fn acl() -> Acl {
    let key = Grantee::Key {
        id: AccessKeyId::parse("WKANNA0000001").unwrap(),
        serial: KeySerial::from_bytes([7; 16]),
    };
    let grants = [
        (Grantee::Owner, Permission::FullControl),
        (key, Permission::ReadAcl),
        (Grantee::AllUsers, Permission::Read),
        (Grantee::AuthenticatedUsers, Permission::Write),
        (Grantee::LogDelivery, Permission::WriteAcl),
    ];
    let grants = grants.map(|(grantee, permission)| AclGrant { grantee, permission });
    Acl::of(grants.into()).unwrap()
}

fn settings() -> BucketSettings {
    BucketSettings {
        acl: Acl::PublicRead,
        policy: Some("{}".into()),
        cors: vec![cors()],
        tags: vec![("a".into(), "b".into())],
        public_access: Some(PublicAccessBlock {
            block_acls: true,
            ..PublicAccessBlock::default()
        }),
        ownership: Some(ObjectOwnership::BucketOwnerPreferred),
        encryption: Some(BucketEncryption {
            bucket_key: Some(true),
        }),
        website: Some(website()),
        versioning: Versioning::Enabled,
        lock: Some(ObjectLock {
            default: Some(DefaultRetention {
                mode: RetentionMode::Compliance,
                period: Period::Days(3),
            }),
        }),
        lifecycle: lifecycle(),
        notifications: vec![NotificationRule {
            id: "new".into(),
            endpoint: "hook".into(),
            events: vec![EventPattern::parse("s3:ObjectCreated:*").unwrap()],
            prefix: Some("in/".into()),
            suffix: Some(".jpg".into()),
        }],
        was_notifying: true,
        logging: Some(BucketLogging {
            target: BucketId::from_bytes([8; 16]),
            target_name: BucketName::parse("logs").unwrap(),
            prefix: "photos/".into(),
        }),
        quota: Quota {
            bytes: Some(1 << 40),
            objects: Some(7),
        },
    }
}

fn row(settings: BucketSettings, unfenced: Option<u64>) -> BucketRow {
    let row = bucket_row();
    let bucket = Bucket {
        settings,
        unfenced,
        ..row.bucket
    };
    BucketRow { bucket, ..row }
}

#[test]
fn rows_of_buckets_read_as_the_fixture_of_version_1_has_them() {
    let granted = BucketSettings {
        acl: acl(),
        ..BucketSettings::default()
    };
    let rows = [
        row(BucketSettings::default(), None),
        row(settings(), Some(3)),
        row(granted, None),
    ];
    let texts: Vec<Vec<u8>> = rows.iter().map(|row| encode_row(row).to_vec()).collect();
    assert!(framed(&texts) == FIXTURE);
    for (text, row) in texts.into_iter().zip(rows) {
        assert_eq!(decode_row::<BucketRow>(&text).unwrap(), row);
    }
}
