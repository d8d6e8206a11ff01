//! Buckets, their listings and settings, over real HTTP against a real store.

use crate::common::{World, options};

#[tokio::test]
async fn a_bucket_is_created_found_and_deleted() {
    let world = World::start().await;
    world.check("PUT /other", "200 | location: /other").await;
    world.check("PUT /other", "200").await;
    world
        .check("HEAD /other", "200 | x-amz-bucket-region: us-east-1")
        .await;
    world
        .check("GET /other?location", "200 | <LocationConstraint")
        .await;
    world
        .check("GET /", "200 | <Name>bucket</Name> | <Name>other</Name>")
        .await;
    world
        .check(
            "GET /?prefix=o",
            "200 | <Name>other</Name> | !<Name>bucket</Name>",
        )
        .await;
    world.check("PUT /other/k < 1", "200").await;
    world.check("DELETE /other", "409 BucketNotEmpty").await;
    world.check("DELETE /other/k", "204").await;
    world.check("DELETE /other", "204").await;
    world.check("HEAD /other", "404 | = ").await;
    world.check("GET /other", "404 NoSuchBucket").await;
    world.check("PUT /No", "400 InvalidBucketName").await;
    world
        .check("PUT /fourth < <CreateBucketConfiguration", "400 MalformedXML")
        .await;
    world.stop().await;
}

#[tokio::test]
async fn outside_the_classic_region_a_bucket_is_created_once() {
    let world = World::start_with(warren_s3::Options {
        region: "home".into(),
        ..options()
    })
    .await;
    world.check("PUT /bucket", "409 BucketAlreadyOwnedByYou").await;
    world
        .check("GET /bucket?location", "200 | >home</LocationConstraint>")
        .await;
    world.stop().await;
}

#[tokio::test]
async fn a_bucket_is_also_found_by_its_host_name() {
    let world = World::start().await;
    world.check("PUT /k host=bucket.s3.example < hello", "200").await;
    world.check("GET /bucket/k", "200 | = hello").await;
    world
        .check("GET /?list-type=2 host=bucket.s3.example", "200 | <Key>k</Key>")
        .await;
    world.stop().await;
}

#[tokio::test]
async fn pages_show_every_key_once() {
    let world = World::start().await;
    for key in ["a", "b/1", "b/2", "b+", "c%20d", "%C3%A9"] {
        world.check(&format!("PUT /bucket/{key} < x"), "200").await;
    }
    let mut token = String::new();
    let mut seen = Vec::new();
    loop {
        let next = format!("&continuation-token={token}");
        let page = world
            .check(
                &format!("GET /bucket?list-type=2&max-keys=1&delimiter=%2F{next}"),
                "200",
            )
            .await;
        let text = page.text();
        seen.push(match text.contains("<Contents>") {
            true => page.element("Key"),
            false => text
                .split("<CommonPrefixes><Prefix>")
                .nth(1)
                .unwrap()
                .split('<')
                .next()
                .unwrap()
                .into(),
        });
        assert_eq!(page.element("KeyCount"), "1");
        if page.element("IsTruncated") == "false" {
            break;
        }
        token = page.element("NextContinuationToken");
    }
    assert_eq!(seen, ["a", "b+", "b/", "c d", "é"]);
    let v1 = world
        .check("GET /bucket?max-keys=2&delimiter=%2F", "200 | <Owner>")
        .await;
    assert_eq!(v1.element("NextMarker"), "b+");
    world
        .check("GET /bucket?max-keys=2", "200 | !NextMarker | <IsTruncated>true")
        .await;
    world
        .check("GET /bucket?max-keys=0", "200 | <IsTruncated>false")
        .await;
    world.check("GET /bucket?max-keys=x", "400 InvalidArgument").await;
    world
        .check(
            "GET /bucket?list-type=2&continuation-token=%21",
            "400 InvalidArgument",
        )
        .await;
    let encoded =
        "200 | <Key>b%2B</Key> | <Key>c%20d</Key> | <Key>b/1</Key> | <EncodingType>url</EncodingType>";
    world.check("GET /bucket?encoding-type=url", encoded).await;
    world
        .check("GET /bucket?encoding-type=x", "400 InvalidArgument")
        .await;
    world
        .check(
            "GET /bucket?versions",
            "200 | <VersionId>null</VersionId><IsLatest>true</IsLatest>",
        )
        .await;
    world
        .check(
            "GET /bucket?versions&version-id-marker=null",
            "400 InvalidArgument",
        )
        .await;
    world.stop().await;
}

#[tokio::test]
async fn what_is_not_set_says_so_in_its_own_words() {
    let world = World::start().await;
    for (name, code) in [
        ("cors", "NoSuchCORSConfiguration"),
        ("lifecycle", "NoSuchLifecycleConfiguration"),
        ("website", "NoSuchWebsiteConfiguration"),
        ("tagging", "NoSuchTagSet"),
        ("encryption", "ServerSideEncryptionConfigurationNotFoundError"),
        ("object-lock", "ObjectLockConfigurationNotFoundError"),
        ("replication", "ReplicationConfigurationNotFoundError"),
        ("publicAccessBlock", "NoSuchPublicAccessBlockConfiguration"),
        ("ownershipControls", "OwnershipControlsNotFoundError"),
        ("policy", "NoSuchBucketPolicy"),
        ("policyStatus", "NoSuchBucketPolicy"),
    ] {
        world
            .check(&format!("GET /bucket?{name}"), &format!("404 {code}"))
            .await;
    }
    for name in [
        "accelerate",
        "requestPayment",
        "logging",
        "notification",
        "versioning",
    ] {
        world.check(&format!("GET /bucket?{name}"), "200 | xmlns=").await;
    }
    world
        .check("PUT /bucket?replication < <x/>", "501 NotImplemented")
        .await;
    world
        .check("GET /bucket?inventory&id=1", "501 NotImplemented")
        .await;
    world
        .check("PUT /bucket?versioning < <x/>", "400 MalformedXML")
        .await;
    world.stop().await;
}

#[tokio::test]
async fn what_would_not_be_honoured_is_refused() {
    let world = World::start().await;
    for header in [
        "x-amz-server-side-encryption=aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id=x",
        "x-amz-acl=aws-exec-read",
        "x-amz-write-offset-bytes=1",
        "content-range=bytes~0-1/2",
    ] {
        world
            .check(&format!("PUT /bucket/k {header} < x"), "501 NotImplemented")
            .await;
    }
    world
        .check(
            "PUT /bucket/k x-amz-object-lock-legal-hold=ON < x",
            "400 InvalidRequest",
        )
        .await;
    world
        .check(
            "PUT /bucket/k x-amz-storage-class=SHELF < x",
            "400 InvalidStorageClass",
        )
        .await;
    world
        .check("PUT /bucket/k?retention < x", "400 InvalidRequest")
        .await;
    world
        .check("PUT /bucket/k?inventedTomorrow < x", "501 NotImplemented")
        .await;
    world.check("GET /bucket/k", "404 NoSuchKey").await;
    world.stop().await;
}
