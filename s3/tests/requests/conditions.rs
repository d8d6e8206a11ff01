//! Conditions of bucket policies, over real HTTP against a real store.

use crate::common::World;
use storage::model::Grants;

/// A policy with one statement about everyone.
fn put_policy(effect: &str, action: &str, resource: &str, condition: &str) -> String {
    format!(
        r#"PUT /bucket?policy < {{"Version":"2012-10-17","Statement":{{"Effect":"{effect}","Principal":"*","Action":"{action}","Resource":"arn:aws:s3:::{resource}","Condition":{condition}}}}}"#
    )
}

async fn world() -> World {
    let world = World::start().await;
    world.check("PUT /bucket/home/anna/a < hello", "200").await;
    world.check("PUT /bucket/home/ben/b < hello", "200").await;
    world
}

#[tokio::test]
async fn an_address_is_that_of_the_connection_and_nothing_a_client_writes() {
    let world = world().await;
    let from = |address: &str| {
        let condition = format!(r#"{{"IpAddress":{{"aws:SourceIp":"{address}"}}}}"#);
        put_policy("Allow", "s3:GetObject", "bucket/*", &condition)
    };
    world.check(&from("127.0.0.0/8"), "204").await;
    world.check_anonymous("GET /bucket/home/anna/a", "200").await;
    world
        .check("GET /bucket?policyStatus", "200 | <IsPublic>false<")
        .await;
    world.check(&from("192.0.2.7"), "204").await;
    world
        .check_anonymous(
            "GET /bucket/home/anna/a x-forwarded-for=192.0.2.7 x-real-ip=192.0.2.7 forwarded=for=192.0.2.7",
            "403 AccessDenied",
        )
        .await;
    let deny = put_policy(
        "Deny",
        "s3:*",
        "bucket/*",
        r#"{"NotIpAddress":{"aws:SourceIp":["192.0.2.0/24"]}}"#,
    );
    world.check(&deny, "204").await;
    world
        .check(
            "GET /bucket/home/anna/a x-forwarded-for=192.0.2.7",
            "403 AccessDenied",
        )
        .await;
    world.check("DELETE /bucket?policy", "204").await;
    world.check("GET /bucket/home/anna/a", "200").await;
    world.stop().await;
}

#[tokio::test]
async fn a_listing_may_be_permitted_by_its_prefix() {
    let world = world().await;
    let condition = r#"{"StringEquals":{"s3:prefix":"home/anna/","s3:delimiter":"/"},
        "NumericLessThanEquals":{"s3:max-keys":10}}"#;
    world
        .check(&put_policy("Allow", "s3:ListBucket", "bucket", condition), "204")
        .await;
    let permitted = "GET /bucket?prefix=home/anna/&delimiter=/&max-keys=10";
    world.check_anonymous(permitted, "200 | home/anna/a").await;
    for request in [
        "GET /bucket",
        "GET /bucket?prefix=home/anna/&max-keys=10",
        "GET /bucket?prefix=home/&delimiter=/&max-keys=10",
        "GET /bucket?prefix=home/anna/&delimiter=/&max-keys=11",
        "GET /bucket?prefix=home/anna/&delimiter=/",
    ] {
        world.check_anonymous(request, "403 AccessDenied").await;
    }
    // Whoever may list one prefix must not learn of other keys by naming that prefix while reading.
    world
        .check_anonymous(
            "GET /bucket/home/ben/none?prefix=home/anna/&delimiter=/&max-keys=10",
            "403 AccessDenied",
        )
        .await;
    world.stop().await;
}

#[tokio::test]
async fn headers_versions_and_transport_are_judged() {
    let world = world().await;
    let writer = world
        .key(
            "writer",
            "bucket",
            Grants {
                read: false,
                write: true,
                owner: false,
            },
        )
        .await;
    let deny = |condition: &str| put_policy("Deny", "s3:*", "bucket/*", condition);
    world
        .check(
            &deny(r#"{"StringNotEquals":{"s3:x-amz-server-side-encryption":"AES256"}}"#),
            "204",
        )
        .await;
    world
        .check_as(&writer, "PUT /bucket/k < x", "403 AccessDenied")
        .await;
    world
        .check_as(
            &writer,
            "PUT /bucket/k x-amz-server-side-encryption=AES256 < x",
            "200",
        )
        .await;
    world
        .check(&deny(r#"{"Bool":{"aws:SecureTransport":"false"}}"#), "204")
        .await;
    world
        .check_as(
            &writer,
            "PUT /bucket/k x-forwarded-proto=https < x",
            "403 AccessDenied",
        )
        .await;
    let referer = r#"{"StringLike":{"aws:Referer":"https://a.example/*"}}"#;
    let allow = put_policy("Allow", "s3:GetObject*", "bucket/*", referer);
    world.check(&allow, "204").await;
    world
        .check("GET /bucket?policyStatus", "200 | <IsPublic>true<")
        .await;
    let read = "GET /bucket/home/anna/a";
    world
        .check_anonymous(&format!("{read} referer=https://a.example/page"), "200")
        .await;
    world
        .check_anonymous(
            &format!("{read} referer=https://b.example/https://a.example/"),
            "403",
        )
        .await;
    world.check_anonymous(read, "403").await;
    let version = r#"{"StringEquals":{"s3:VersionId":"null"}}"#;
    let allow = put_policy("Allow", "s3:GetObject*", "bucket/*", version);
    world.check(&allow, "204").await;
    world
        .check_anonymous(&format!("{read}?versionId=null"), "200")
        .await;
    world.check_anonymous(read, "403").await;
    world.stop().await;
}

#[tokio::test]
async fn a_policy_with_a_word_that_is_not_understood_is_refused() {
    let world = world().await;
    for condition in [
        r#"{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}"#,
        r#"{"StringEquals":{"aws:ResourceTag/public":"yes"}}"#,
        r#"{"StringResembles":{"aws:Referer":"a"}}"#,
        r#"{"IpAddress":{"aws:SourceIp":"home"}}"#,
        r#"{"StringLike":{"aws:Referer":"a"},"StringLike":{"aws:Referer":"*"}}"#,
    ] {
        for effect in ["Allow", "Deny"] {
            world
                .check(
                    &put_policy(effect, "s3:GetObject", "bucket/*", condition),
                    "400 MalformedPolicy",
                )
                .await;
        }
    }
    world.check("GET /bucket?policy", "404 NoSuchBucketPolicy").await;
    world.stop().await;
}
