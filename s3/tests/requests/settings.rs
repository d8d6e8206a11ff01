//! Settings of buckets that have documents of their own, over real HTTP against a real store.

use crate::common::World;
use storage::model::Grants;

const CORS: &str = "<CORSConfiguration><CORSRule><AllowedOrigin>https://a.example</AllowedOrigin>\
    <AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod><AllowedHeader>*</AllowedHeader>\
    <ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>600</MaxAgeSeconds></CORSRule></CORSConfiguration>";

const PUBLIC: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}]}"#;

#[tokio::test]
async fn every_setting_is_put_read_back_and_deleted() {
    let world = World::start().await;
    let tags = "<Tagging><TagSet><Tag><Key>k</Key><Value>v &amp; w</Value></Tag></TagSet></Tagging>";
    let block = "<PublicAccessBlockConfiguration><BlockPublicPolicy>true</BlockPublicPolicy>\
                 </PublicAccessBlockConfiguration>";
    let ownership = "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerPreferred</ObjectOwnership></Rule>\
                     </OwnershipControls>";
    let encryption = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256\
                      </SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>";
    for (name, document, put, holds, unset) in [
        (
            "cors",
            CORS,
            200,
            "<MaxAgeSeconds>600</MaxAgeSeconds>",
            "NoSuchCORSConfiguration",
        ),
        ("tagging", tags, 204, "<Value>v &amp; w</Value>", "NoSuchTagSet"),
        (
            "publicAccessBlock",
            block,
            200,
            "<BlockPublicPolicy>true<",
            "NoSuchPublicAccessBlockConfiguration",
        ),
        (
            "ownershipControls",
            ownership,
            200,
            "BucketOwnerPreferred",
            "OwnershipControlsNotFoundError",
        ),
        (
            "encryption",
            encryption,
            200,
            "AES256",
            "ServerSideEncryptionConfigurationNotFoundError",
        ),
    ] {
        let unset = format!("404 {unset} | <BucketName>bucket</BucketName>");
        world.check(&format!("GET /bucket?{name}"), &unset).await;
        world
            .check(&format!("PUT /bucket?{name} < <Nonsense/>"), "400 MalformedXML")
            .await;
        world
            .check(
                &format!("PUT /bucket?{name} < {document}"),
                &format!("{put} | = "),
            )
            .await;
        let holds = format!("200 | application/xml | http://s3.amazonaws.com/doc/2006-03-01/ | {holds}");
        world.check(&format!("GET /bucket?{name}"), &holds).await;
        world.check(&format!("DELETE /bucket?{name}"), "204 | = ").await;
        world.check(&format!("DELETE /bucket?{name}"), "204").await;
        world.check(&format!("GET /bucket?{name}"), &unset).await;
        world
            .check(&format!("GET /missing?{name}"), "404 NoSuchBucket")
            .await;
    }
    world.stop().await;
}

#[tokio::test]
async fn pages_of_allowed_origins_read_answers_and_refusals() {
    let world = World::start().await;
    world.check("PUT /bucket/k < hello", "200").await;
    let silent = "200 | !access-control | !vary";
    world
        .check("GET /bucket/k origin=https://a.example", silent)
        .await;
    world.check(&format!("PUT /bucket?cors < {CORS}"), "200").await;
    let allowed = "access-control-allow-origin: https://a.example | access-control-allow-credentials: true | \
                   access-control-expose-headers: etag | vary: origin";
    world
        .check(
            "GET /bucket/k origin=https://a.example",
            &format!("200 | {allowed} | = hello"),
        )
        .await;
    world
        .check(
            "PUT /bucket/k origin=https://a.example < hello",
            &format!("200 | {allowed}"),
        )
        .await;
    world
        .check(
            "GET /bucket/none origin=https://a.example",
            &format!("404 NoSuchKey | {allowed}"),
        )
        .await;
    let refused = format!("403 AccessDenied | {allowed}");
    world
        .check_anonymous("GET /bucket/k origin=https://a.example", &refused)
        .await;
    for request in [
        "GET /bucket/k",
        "GET /bucket/k origin=https://b.example",
        "DELETE /bucket/x origin=https://a.example",
        "HEAD /bucket/k origin=https://a.example",
    ] {
        let answer = world.send(request).await;
        assert!(answer.head.contains("vary: origin"), "{request}");
        assert!(
            !answer.head.contains("\naccess-control-"),
            "{request} {}",
            answer.head
        );
    }
    world.stop().await;
}

#[tokio::test]
async fn a_preflight_is_answered_without_a_signature() {
    let world = World::start().await;
    let ask = "access-control-request-method=PUT access-control-request-headers=X-Amz-Date";
    let request = format!("OPTIONS /bucket/k origin=https://a.example {ask}");
    world
        .check_anonymous(
            &request,
            "403 AccessForbidden | CORS is not enabled for this bucket",
        )
        .await;
    world.check(&format!("PUT /bucket?cors < {CORS}"), "200").await;
    let allowed = "200 | access-control-allow-origin: https://a.example | access-control-allow-methods: get, put | \
                   access-control-allow-headers: x-amz-date | access-control-max-age: 600 | vary: origin | = ";
    world.check_anonymous(&request, allowed).await;
    let of_bucket = request.replace("/bucket/k", "/bucket?uploads");
    world.check_anonymous(&of_bucket, allowed).await;
    // A link signed for PUT; what is signed for OPTIONS is for nobody to check.
    let signed = "x?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A%2F20260101%2Fr%2Fs3%2Faws4_request\
                  &X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00";
    world
        .check_anonymous(
            &request.replace("/bucket/k", &format!("/bucket/{signed}")),
            allowed,
        )
        .await;
    for (request, expected) in [
        (
            request.replace("a.example", "b.example"),
            "403 AccessForbidden | vary: origin",
        ),
        (
            request.replace("=PUT", "=DELETE"),
            "403 AccessForbidden | not allowed",
        ),
        (request.replace("/bucket/", "/missing/"), "404 NoSuchBucket"),
        (
            "OPTIONS /bucket/k origin=https://a.example".into(),
            "400 BadRequest",
        ),
        (
            "OPTIONS /bucket/k".into(),
            "400 BadRequest | Origin request header needed",
        ),
        (request.replace("/bucket/k", "/"), "405 MethodNotAllowed"),
    ] {
        world.check_anonymous(&request, expected).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn what_is_blocked_for_the_public_is_kept_from_it() {
    let world = World::start().await;
    world.check("PUT /bucket/k < hello", "200").await;
    world.check("PUT /bucket?acl x-amz-acl=public-read", "200").await;
    world.check_anonymous("GET /bucket/k", "200").await;
    let block = |what: &str| {
        format!(
            "PUT /bucket?publicAccessBlock < <PublicAccessBlockConfiguration><{what}>true</{what}>\
             </PublicAccessBlockConfiguration>"
        )
    };
    world.check(&block("IgnorePublicAcls"), "200").await;
    world.check_anonymous("GET /bucket/k", "403 AccessDenied").await;
    world.check("GET /bucket?acl", "200 | AllUsers").await;
    world.check("GET /bucket/k?acl", "200 | !AllUsers").await;

    world.check(&block("BlockPublicAcls"), "200").await;
    world.check_anonymous("GET /bucket/k", "200").await;
    for request in [
        "PUT /bucket?acl x-amz-acl=public-read-write",
        "PUT /bucket?acl x-amz-acl=authenticated-read",
        "PUT /bucket/k?acl x-amz-acl=public-read",
        "PUT /bucket/k x-amz-acl=public-read",
        "POST /bucket/k?uploads x-amz-acl=public-read",
        "PUT /bucket/c x-amz-copy-source=bucket/k x-amz-acl=public-read",
    ] {
        world
            .check(request, "403 AccessDenied | public access block")
            .await;
    }
    world.check("PUT /bucket?acl x-amz-acl=private", "200").await;

    world.check(&block("BlockPublicPolicy"), "200").await;
    let put_policy = format!("PUT /bucket?policy < {PUBLIC}");
    world
        .check(&put_policy, "403 AccessDenied | public access block")
        .await;
    let nonpublic = put_policy.replace(r#""*""#, r#"{"AWS":"WKREADER0001"}"#);
    world.check(&nonpublic, "204").await;

    world.check(&block("RestrictPublicBuckets"), "200").await;
    world.check(&put_policy, "204").await;
    let reader = world
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
    let stranger = world.key("stranger", "bucket", Grants::NONE).await;
    world.check_anonymous("GET /bucket/k", "403 AccessDenied").await;
    world
        .check_as(&stranger, "GET /bucket/k", "403 AccessDenied")
        .await;
    world.check_as(&reader, "GET /bucket/k", "200").await;
    world.check("DELETE /bucket?publicAccessBlock", "204").await;
    world.check_anonymous("GET /bucket/k", "200").await;
    world.stop().await;
}

#[tokio::test]
async fn where_the_owner_is_enforced_acls_are_refused() {
    let world = World::start().await;
    world.check("PUT /bucket/k < hello", "200").await;
    let put = "PUT /bucket?ownershipControls < <OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced\
               </ObjectOwnership></Rule></OwnershipControls>";
    world.check("PUT /bucket?acl x-amz-acl=public-read", "200").await;
    world.check(put, "400 InvalidBucketAclWithObjectOwnership").await;
    world.check("PUT /bucket?acl x-amz-acl=private", "200").await;
    world.check(put, "200").await;
    for request in [
        "PUT /bucket?acl x-amz-acl=public-read",
        "PUT /bucket?acl x-amz-acl=private",
        "PUT /bucket/k?acl x-amz-acl=private",
        "PUT /bucket/k x-amz-acl=private",
        "PUT /bucket/k x-amz-acl=public-read",
    ] {
        world.check(request, "400 AccessControlListNotSupported").await;
    }
    world
        .check("PUT /bucket/k x-amz-acl=bucket-owner-full-control < x", "200")
        .await;
    world
        .check("GET /bucket?acl", "200 | FULL_CONTROL | !AllUsers")
        .await;
    world
        .check("PUT /enforced x-amz-object-ownership=BucketOwnerEnforced", "200")
        .await;
    world
        .check("GET /enforced?ownershipControls", "200 | BucketOwnerEnforced")
        .await;
    world
        .check(
            "PUT /both x-amz-object-ownership=BucketOwnerEnforced x-amz-acl=public-read",
            "400 InvalidBucketAclWithObjectOwnership",
        )
        .await;
    world.stop().await;
}

#[tokio::test]
async fn every_answer_about_content_says_that_it_is_encrypted() {
    let world = World::start().await;
    let told = "200 | x-amz-server-side-encryption: aes256";
    for request in [
        "PUT /bucket/k < hello",
        "GET /bucket/k",
        "HEAD /bucket/k",
        "PUT /bucket/c x-amz-copy-source=bucket/k",
        "POST /bucket/m?uploads",
    ] {
        world.check(request, told).await;
    }
    world
        .check(
            "PUT /bucket/k x-amz-server-side-encryption=aws:kms < x",
            "501 NotImplemented",
        )
        .await;
    world.stop().await;
}
