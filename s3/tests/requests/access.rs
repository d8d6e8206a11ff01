//! Who may do what, over real HTTP against a real store.

use crate::common::World;
use storage::model::Grants;

const READ: Grants = Grants {
    read: true,
    write: false,
    owner: false,
};
const WRITE: Grants = Grants {
    read: false,
    write: true,
    owner: false,
};

#[tokio::test]
async fn a_key_may_do_what_it_was_granted_and_nothing_else() {
    let world = World::start().await;
    world.check("PUT /bucket/k < hello", "200").await;
    let reader = world.key("reader", "bucket", READ).await;
    let writer = world.key("writer", "bucket", WRITE).await;
    let nobody = world.key("nobody", "bucket", Grants::NONE).await;
    world.check_as(&reader, "GET /bucket/k", "200 | = hello").await;
    world.check_as(&reader, "GET /bucket", "200 | <Key>k</Key>").await;
    world
        .check_as(&reader, "PUT /bucket/k < x", "403 AccessDenied")
        .await;
    world
        .check_as(&reader, "DELETE /bucket/k", "403 AccessDenied")
        .await;
    world
        .check_as(&reader, "GET /", "200 | <Name>bucket</Name>")
        .await;
    world.check_as(&writer, "PUT /bucket/w < x", "200").await;
    world.check_as(&writer, "GET /bucket/w", "403 AccessDenied").await;
    for request in [
        "PUT /bucket/w if-match=*",
        "PUT /bucket/w if-match=d41d8cd98f00b204e9800998ecf8427e",
        "DELETE /bucket/w if-match=*",
    ] {
        world.check_as(&writer, request, "403 AccessDenied").await;
    }
    world
        .check_as(&writer, "PUT /bucket/w if-none-match=*", "412 PreconditionFailed")
        .await;
    world.check_as(&writer, "HEAD /bucket", "200").await;
    world
        .check_as(
            &writer,
            "PUT /bucket/c x-amz-copy-source=bucket/k",
            "403 AccessDenied",
        )
        .await;
    world
        .check_as(&writer, "DELETE /bucket", "403 AccessDenied")
        .await;
    world
        .check_as(&nobody, "GET /bucket/none", "403 AccessDenied")
        .await;
    world.check_as(&nobody, "HEAD /bucket", "403").await;
    world.check_as(&nobody, "GET /", "200 | !<Name>").await;
    world.check_as(&nobody, "PUT /mine", "403 AccessDenied").await;
    world
        .check_as(&nobody, "GET /missing/k", "404 NoSuchBucket")
        .await;
    world.check_anonymous("GET /bucket/k", "403 AccessDenied").await;
    world.check_anonymous("GET /", "403 AccessDenied").await;
    world.check_anonymous("PUT /bucket2", "403 AccessDenied").await;
    world.stop().await;
}

#[tokio::test]
async fn many_deletes_are_permitted_one_by_one() {
    let world = World::start().await;
    for key in ["mine/a", "yours/b"] {
        world.check(&format!("PUT /bucket/{key} < x"), "200").await;
    }
    let policy = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::bucket/mine/*"}}"#;
    world
        .check(&format!("PUT /bucket?policy < {policy}"), "204")
        .await;
    let delete = "<Delete><Object><Key>mine/a</Key></Object><Object><Key>yours/b</Key></Object></Delete>";
    let nobody = world.key("nobody", "bucket", Grants::NONE).await;
    let sums = "x-amz-sdk-checksum-algorithm=CRC32";
    let outcome =
        "200 | <Deleted><Key>mine/a</Key></Deleted> | <Error><Key>yours/b</Key><Code>AccessDenied</Code>";
    world
        .check_as(
            &nobody,
            &format!("POST /bucket?delete {sums} < {delete}"),
            outcome,
        )
        .await;
    world.check("GET /bucket/mine/a", "404").await;
    world.check("GET /bucket/yours/b", "200").await;
    world.stop().await;
}

#[tokio::test]
async fn a_canned_acl_opens_a_bucket_and_reads_back_as_grants() {
    let world = World::start().await;
    world.check("PUT /bucket/k < hello", "200").await;
    world
        .check("GET /bucket?acl", "200 | FULL_CONTROL | !AllUsers")
        .await;
    world.check("PUT /bucket?acl x-amz-acl=public-read", "200").await;
    world
        .check(
            "GET /bucket?acl",
            "200 | global/AllUsers</URI></Grantee><Permission>READ</Permission>",
        )
        .await;
    world.check_anonymous("GET /bucket/k", "200 | = hello").await;
    world.check_anonymous("GET /bucket/none", "404 NoSuchKey").await;
    world.check_anonymous("GET /bucket", "200 | <Key>k</Key>").await;
    world.check_anonymous("GET /bucket?acl", "403 AccessDenied").await;
    world
        .check_anonymous("PUT /bucket/k < x", "403 AccessDenied")
        .await;
    world
        .check_anonymous(
            "GET /bucket/k?response-content-type=text%2Fhtml",
            "400 InvalidRequest",
        )
        .await;
    world
        .check(
            "GET /bucket/k?response-content-type=text%2Fhtml",
            "200 | content-type: text/html",
        )
        .await;
    world
        .check("PUT /bucket/k x-amz-acl=public-read < hello", "200")
        .await;
    world.check("GET /bucket/k?acl", "200 | AllUsers").await;
    for request in [
        "PUT /bucket/k",
        "PUT /bucket/k2 x-amz-copy-source=bucket/k",
        "POST /bucket/k?uploads",
    ] {
        world
            .check(
                &format!("{request} x-amz-acl=private"),
                "501 NotImplemented | everyone may read",
            )
            .await;
        world
            .check(&format!("{request} x-amz-acl=bucket-owner-full-control"), "200")
            .await;
    }
    world
        .check("PUT /bucket?acl x-amz-acl=authenticated-read", "200")
        .await;
    world.check_anonymous("GET /bucket/k", "403").await;
    let stranger = world.key("stranger", "bucket", Grants::NONE).await;
    world.check_as(&stranger, "GET /bucket/k", "200").await;
    world
        .check("PUT /bucket?acl x-amz-acl=public-read-write", "200")
        .await;
    world.check_anonymous("PUT /bucket/guest < x", "200").await;
    world.check_anonymous("DELETE /bucket", "403").await;
    world
        .check("PUT /bucket?acl x-amz-acl=aws-exec-read", "501 NotImplemented")
        .await;
    world.check("PUT /bucket?acl", "400 MissingSecurityHeader").await;
    world.check("PUT /open x-amz-acl=public-read", "200").await;
    world.check_anonymous("GET /open", "200").await;
    world.check("PUT /open", "200").await;
    world.check("PUT /open x-amz-acl=public-read", "200").await;
    world
        .check("PUT /open x-amz-acl=private", "409 BucketAlreadyOwnedByYou")
        .await;
    world.stop().await;
}

#[tokio::test]
async fn a_policy_allows_and_denies() {
    let world = World::start().await;
    for key in ["public/a", "private/b"] {
        world.check(&format!("PUT /bucket/{key} < x"), "200").await;
    }
    let policy = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Principal":"*","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::bucket/public/*"]},
        {"Effect":"Deny","Principal":"*","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::bucket/*"}]}"#;
    let reader = world.key("reader", "bucket", READ).await;
    world
        .check_as(
            &reader,
            &format!("PUT /bucket?policy < {policy}"),
            "403 AccessDenied",
        )
        .await;
    world
        .check(&format!("PUT /bucket?policy < {policy}"), "204")
        .await;
    world
        .check(
            "GET /bucket?policy",
            &format!("200 | content-type: application/json | = {policy}"),
        )
        .await;
    world
        .check("GET /bucket?policyStatus", "200 | <IsPublic>true</IsPublic>")
        .await;
    world.check_anonymous("GET /bucket/public/a", "200 | = x").await;
    world
        .check_anonymous("HEAD /bucket/public/none", "403 | = ")
        .await;
    world.check_anonymous("GET /bucket/private/b", "403").await;
    world.check_anonymous("GET /bucket", "403").await;
    for request in [
        "DELETE /bucket/public/a",
        "DELETE /bucket/public/a?versionId=null",
    ] {
        world.check(request, "403 AccessDenied").await;
    }
    let named = "<Delete><Object><Key>public/a</Key><VersionId>null</VersionId></Object></Delete>";
    world
        .check(
            &format!("POST /bucket?delete x-amz-sdk-checksum-algorithm=CRC32 < {named}"),
            "200 | <Code>AccessDenied</Code>",
        )
        .await;
    let everything = policy.replace(
        "s3:DeleteObject\",\"Resource\":\"arn:aws:s3:::bucket/*",
        "s3:*\",\"Resource\":\"arn:aws:s3:::*",
    );
    world
        .check(&format!("PUT /bucket?policy < {everything}"), "204")
        .await;
    world.check("GET /bucket", "403 AccessDenied").await;
    world.check("DELETE /bucket?policy", "204").await;
    world.check("DELETE /bucket/public/a", "204").await;
    world.check("PUT /bucket?policy < {", "400 MalformedPolicy").await;
    world.stop().await;
}

#[tokio::test]
async fn a_bucket_of_an_unexpected_owner_is_left_alone() {
    let world = World::start().await;
    world
        .check(
            "PUT /bucket/k x-amz-expected-bucket-owner=somebody < x",
            "403 AccessDenied",
        )
        .await;
    world
        .check(
            "OPTIONS /bucket/k origin=http://a access-control-request-method=GET",
            "403",
        )
        .await;
    world.stop().await;
}
