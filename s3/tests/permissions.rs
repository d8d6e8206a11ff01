//! For every operation, who may do it: nobody in particular, a key without grants, one that reads, one that writes, an owner.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{Signer, World};
use storage::model::Grants;

/// A request and who may send it, in a private bucket without a policy: `a`nonymous, an `o`ther key, a `r`eader, a
/// `w`riter, and the bucket's owner (`x`).
const TABLE: &[(&str, &str)] = &[
    ("GET /", "orwx"),
    ("HEAD /bucket", "rwx"),
    ("GET /bucket?location", "rwx"),
    ("GET /bucket?versioning", "rwx"),
    ("GET /bucket", "rx"),
    ("GET /bucket?list-type=2", "rx"),
    ("GET /bucket?versions", "rx"),
    ("GET /bucket?uploads", "rwx"),
    ("POST /bucket?delete", "wx"),
    ("PUT /bucket?versioning", "x"),
    ("DELETE /bucket", "x"),
    ("GET /bucket?acl", "rwx"),
    ("PUT /bucket?acl", "x"),
    ("GET /bucket?policy", "x"),
    ("PUT /bucket?policy", "x"),
    ("DELETE /bucket?policy", "x"),
    ("GET /bucket?policyStatus", "rwx"),
    ("GET /bucket?cors", "rwx"),
    ("PUT /bucket?cors", "x"),
    ("DELETE /bucket?cors", "x"),
    ("GET /bucket?tagging", "rwx"),
    ("PUT /bucket?tagging", "x"),
    ("DELETE /bucket?tagging", "x"),
    ("GET /bucket?publicAccessBlock", "rwx"),
    ("PUT /bucket?publicAccessBlock", "x"),
    ("DELETE /bucket?publicAccessBlock", "x"),
    ("GET /bucket?ownershipControls", "rwx"),
    ("PUT /bucket?ownershipControls", "x"),
    ("DELETE /bucket?ownershipControls", "x"),
    ("GET /bucket?encryption", "rwx"),
    ("PUT /bucket?encryption", "x"),
    ("DELETE /bucket?encryption", "x"),
    ("GET /bucket?website", "rwx"),
    ("PUT /bucket?website", "x"),
    ("DELETE /bucket?website", "x"),
    ("GET /bucket?accelerate", "rwx"),
    ("GET /bucket?requestPayment", "rwx"),
    ("GET /bucket?logging", "rwx"),
    ("GET /bucket?notification", "rwx"),
    ("GET /bucket?lifecycle", "rwx"),
    ("PUT /bucket?lifecycle", "x"),
    ("DELETE /bucket?lifecycle", "x"),
    ("GET /bucket/k", "rx"),
    ("HEAD /bucket/k", "rx"),
    ("GET /bucket/k?versionId=null", "rx"),
    ("PUT /bucket/w < x", "wx"),
    ("PUT /bucket/w x-amz-tagging=a=b < x", "wx"),
    ("PUT /bucket/c x-amz-copy-source=bucket/k", "x"),
    ("DELETE /bucket/none", "wx"),
    ("DELETE /bucket/none?versionId=null", "wx"),
    ("POST /bucket/m?uploads", "wx"),
    ("PUT /bucket/m?uploadId=x&partNumber=1 < x", "wx"),
    ("POST /bucket/m?uploadId=x", "wx"),
    ("DELETE /bucket/m?uploadId=x", "wx"),
    ("GET /bucket/m?uploadId=x", "wx"),
    ("GET /bucket/k?acl", "rwx"),
    ("PUT /bucket/k?acl", "x"),
    ("PUT /bucket/k?acl&versionId=null x-amz-acl=private", "x"),
    ("GET /bucket/k?tagging", "rx"),
];

async fn status(world: &World, who: char, key: Option<&Signer>, request: &str) -> u16 {
    match (who, key) {
        ('a', _) => world.send_anonymous(request).await.status,
        (_, Some(key)) => world.send_as(key, request).await.status,
        (_, None) => world.send(request).await.status,
    }
}

#[tokio::test]
async fn each_operation_is_for_those_the_table_names() {
    let world = World::start().await;
    world.check("PUT /bucket/k < hello", "200").await;
    let grants = |read, write| Grants {
        read,
        write,
        owner: false,
    };
    let keys = [
        ('a', None),
        ('o', Some(world.key("other", "bucket", Grants::NONE).await)),
        (
            'r',
            Some(world.key("reader", "bucket", grants(true, false)).await),
        ),
        (
            'w',
            Some(world.key("writer", "bucket", grants(false, true)).await),
        ),
        ('x', None),
    ];
    for (request, may) in TABLE {
        for (who, key) in &keys {
            let status = status(&world, *who, key.as_ref(), request).await;
            let expected = may.contains(*who);
            assert_eq!(status != 403, expected, "{request} by {who}: {status}");
        }
    }
    world.stop().await;
}
