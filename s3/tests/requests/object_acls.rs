//! ACLs of single objects, over real HTTP against a real store.

use crate::common::World;
use storage::model::Grants;

#[tokio::test]
async fn an_object_is_read_by_those_its_own_acl_names() {
    let world = World::start().await;
    world.check("PUT /bucket/private < x", "200").await;
    world
        .check("PUT /bucket/public x-amz-acl=public-read < hello", "200")
        .await;
    world
        .check("PUT /bucket/keys x-amz-acl=authenticated-read < hello", "200")
        .await;
    let stranger = world.key("stranger", "bucket", Grants::NONE).await;
    for (request, anonymous, key) in [
        ("GET /bucket/public", "200 | = hello", "200"),
        ("HEAD /bucket/public", "200 | content-length: 5", "200"),
        ("GET /bucket/public?versionId=null", "200", "200"),
        ("GET /bucket/public range=bytes=0-0", "206 | = h", "206"),
        ("GET /bucket/keys", "403 AccessDenied", "200"),
        ("GET /bucket/private", "403 AccessDenied", "403"),
        ("GET /bucket/none", "403 AccessDenied", "403"),
        ("GET /bucket", "403 AccessDenied", "403"),
        ("GET /bucket/public?acl", "403", "403"),
        ("GET /bucket/public?tagging", "403", "403"),
        ("PUT /bucket/public < x", "403", "403"),
        ("DELETE /bucket/public", "403", "403"),
    ] {
        world.check_anonymous(request, anonymous).await;
        world.check_as(&stranger, request, key).await;
    }
    world
        .check(
            "GET /bucket/public?acl",
            "200 | AllUsers</URI></Grantee><Permission>READ<",
        )
        .await;
    world
        .check("GET /bucket/keys?acl", "200 | AuthenticatedUsers")
        .await;
    world
        .check("GET /bucket/private?acl", "200 | FULL_CONTROL | !URI")
        .await;
    world.stop().await;
}

#[tokio::test]
async fn whoever_may_read_and_write_an_object_changes_its_acl() {
    let world = World::start().await;
    world.check("PUT /bucket/k < hello", "200").await;
    for (name, read, write, expected) in [
        ("reader", true, false, "403 AccessDenied"),
        // A key that only writes would give itself what it may not read.
        ("writer", false, true, "403 AccessDenied"),
        ("both", true, true, "200"),
    ] {
        let owner = false;
        let grants = Grants { read, write, owner };
        let key = world.key(name, "bucket", grants).await;
        let open = "PUT /bucket/k?acl x-amz-acl=public-read";
        world.check_as(&key, open, expected).await;
        let anonymous = if expected == "200" { "200 | = hello" } else { "403" };
        world.check_anonymous("GET /bucket/k", anonymous).await;
    }
    world.check("PUT /bucket/k?acl x-amz-acl=private", "200").await;
    world.check_anonymous("GET /bucket/k", "403").await;
    world
        .check("PUT /bucket/k?acl", "400 MissingSecurityHeader")
        .await;
    world.stop().await;
}

#[tokio::test]
async fn an_acl_is_given_anew_with_every_write_and_never_copied() {
    let world = World::start().await;
    let stranger = world.key("stranger", "bucket", Grants::NONE).await;
    world
        .check("PUT /bucket/k x-amz-acl=public-read < hello", "200")
        .await;
    world
        .check("PUT /bucket/copy x-amz-copy-source=bucket/k", "200")
        .await;
    world.check_anonymous("GET /bucket/copy", "403").await;
    let open = "PUT /bucket/open x-amz-copy-source=bucket/copy x-amz-acl=public-read";
    world.check(open, "200").await;
    world.check_anonymous("GET /bucket/open", "200").await;
    world.check("PUT /bucket/k < hello", "200").await;
    world.check_anonymous("GET /bucket/k", "403").await;
    // Whoever may read an object may copy it to where they may write.
    world
        .check("PUT /theirs x-amz-acl=public-read-write", "200")
        .await;
    world
        .check_as(&stranger, "PUT /theirs/a x-amz-copy-source=bucket/open", "200")
        .await;
    world
        .check_as(
            &stranger,
            "PUT /theirs/b x-amz-copy-source=bucket/k",
            "403 AccessDenied",
        )
        .await;
    let grants = "x-amz-grant-read=uri=http://acs.amazonaws.com/groups/global/AllUsers";
    world.check(&format!("PUT /bucket/k {grants} < x"), "200").await;
    world.check_anonymous("GET /bucket/k", "200 | = x").await;
    world
        .check(
            &format!("PUT /bucket/k {grants} x-amz-acl=private < x"),
            "400 InvalidRequest",
        )
        .await;
    world.stop().await;
}

#[tokio::test]
async fn a_denial_or_the_settings_of_the_bucket_win_over_an_acl() {
    let world = World::start().await;
    let put = "PUT /bucket/k x-amz-acl=public-read < hello";
    let writer = Grants {
        read: false,
        write: true,
        owner: false,
    };
    let writer = world.key("writer", "bucket", writer).await;
    world.check_as(&writer, put, "200").await;
    world.check_anonymous("GET /bucket/k", "200").await;
    let deny = |action: &str| {
        format!(
            r#"PUT /bucket?policy < {{"Statement":{{"Effect":"Deny","Principal":"*","Action":"{action}","Resource":"arn:aws:s3:::bucket/*"}}}}"#
        )
    };
    world.check(&deny("s3:GetObject"), "204").await;
    world.check_anonymous("GET /bucket/k", "403").await;
    world.check_anonymous("GET /bucket/k?versionId=null", "403").await;
    world.check(&deny("s3:GetObjectVersion"), "204").await;
    world.check_anonymous("GET /bucket/k", "200").await;
    world.check_anonymous("GET /bucket/k?versionId=null", "403").await;
    world.check(&deny("s3:PutObjectAcl"), "204").await;
    world.check_as(&writer, put, "403 AccessDenied").await;
    world.check_as(&writer, "PUT /bucket/k2 < x", "200").await;
    world.check("DELETE /bucket?policy", "204").await;
    let ignore = "PUT /bucket?publicAccessBlock < <PublicAccessBlockConfiguration><IgnorePublicAcls>true\
                  </IgnorePublicAcls></PublicAccessBlockConfiguration>";
    world.check(ignore, "200").await;
    world.check_anonymous("GET /bucket/k", "403").await;
    world.check("GET /bucket/k?acl", "200 | AllUsers").await;
    world.check("DELETE /bucket?publicAccessBlock", "204").await;
    world.check_anonymous("GET /bucket/k", "200").await;
    let enforce = "PUT /bucket?ownershipControls < <OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced\
                   </ObjectOwnership></Rule></OwnershipControls>";
    world.check(enforce, "200").await;
    world.check_anonymous("GET /bucket/k", "403").await;
    world.check("GET /bucket/k?acl", "200 | !AllUsers").await;
    world.stop().await;
}

#[tokio::test]
async fn an_object_of_a_private_bucket_may_be_a_page() {
    let world = World::start().await;
    world
        .check("PUT /bucket/index.html x-amz-acl=public-read < home", "200")
        .await;
    let website = "<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument></WebsiteConfiguration>";
    world
        .check(&format!("PUT /bucket?website < {website}"), "200")
        .await;
    world
        .check_anonymous("GET / host=bucket.web.example", "200 | = home")
        .await;
    world.stop().await;
}

#[tokio::test]
async fn a_policy_that_opens_an_object_is_in_no_acl_and_contradicts_none() {
    let world = World::start().await;
    world.check("PUT /bucket/k < hello", "200").await;
    let everyone = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}}"#;
    world
        .check(&format!("PUT /bucket?policy < {everyone}"), "204")
        .await;
    for request in [
        "PUT /bucket/put",
        "PUT /bucket/copy x-amz-copy-source=bucket/k",
        "PUT /bucket/k?acl",
        "POST /bucket/parts?uploads",
    ] {
        world.check(&format!("{request} x-amz-acl=private"), "200").await;
    }
    for key in ["k", "put", "copy"] {
        // Private by its list, and open to everyone by the policy all the same.
        world
            .check(
                &format!("GET /bucket/{key}?acl"),
                "200 | FULL_CONTROL | !AllUsers",
            )
            .await;
        world.check_anonymous(&format!("GET /bucket/{key}"), "200").await;
    }
    world.check("DELETE /bucket?policy", "204").await;
    world.check_anonymous("GET /bucket/put", "403").await;
    world.stop().await;
}

#[tokio::test]
async fn a_list_that_the_acl_of_the_bucket_belies_is_refused_unless_a_policy_makes_it_true() {
    let world = World::start().await;
    world.check("PUT /bucket?acl x-amz-acl=public-read", "200").await;
    let private = "PUT /bucket/k x-amz-acl=private < hello";
    world.check(private, "501 NotImplemented").await;
    let deny = |condition: &str| {
        format!(
            r#"PUT /bucket?policy < {{"Statement":{{"Effect":"Deny","Principal":"*","Action":"s3:GetObject",{condition}"Resource":"arn:aws:s3:::bucket/*"}}}}"#
        )
    };
    // Whoever comes over TLS reads it all the same.
    let plain = r#""Condition":{"Bool":{"aws:SecureTransport":"false"}},"#;
    world.check(&deny(plain), "204").await;
    world.check(private, "501 NotImplemented").await;
    world.check(&deny(""), "204").await;
    world.check(private, "200").await;
    world
        .check("GET /bucket/k?acl", "200 | FULL_CONTROL | !AllUsers")
        .await;
    world.check_anonymous("GET /bucket/k", "403").await;
    world.stop().await;
}
