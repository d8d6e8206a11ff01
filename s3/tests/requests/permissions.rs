//! For every operation, who may do it: nobody in particular, a key without grants, one that reads, one that writes, an owner.

use crate::common::{Signer, World};
use storage::model::Grants;
use warren_s3::route::Operation;

/// A request, who may send it, and what they are answered; the others are denied it.
type Row = (&'static str, &'static str, u16);

/// Requests about a bucket without a policy. May: `a`nonymous, an `o`ther key, a `r`eader, a `w`riter, the bucket's owner
/// (`x`), and keys that only the ACL of the bucket names: they `R`ead, `W`rite, read its `A`CL, `C`hange its ACL, have `F`ull
/// control. Where a document is missing, 400 says that it would have been read.
const TABLE: &[Row] = &[
    ("GET /", "orwxRWACF", 200),
    ("HEAD /bucket", "rwxRWF", 200),
    ("GET /bucket?location", "rwxRWF", 200),
    ("GET /bucket?versioning", "rwxRWF", 200),
    ("GET /bucket", "rxRF", 200),
    ("GET /bucket?list-type=2", "rxRF", 200),
    ("GET /bucket?versions", "rxRF", 200),
    ("GET /bucket?uploads", "rwx", 200),
    (
        "POST /bucket?delete x-amz-sdk-checksum-algorithm=CRC32 < <Delete><Object><Key>none</Key></Object></Delete>",
        "wxWF",
        200,
    ),
    ("PUT /bucket?versioning", "x", 400),
    ("DELETE /bucket", "x", 409),
    ("GET /bucket?acl", "rwxAF", 200),
    ("PUT /bucket?acl x-amz-acl=private", "xCF", 200),
    ("GET /bucket?policy", "x", 404),
    ("PUT /bucket?policy", "x", 400),
    ("DELETE /bucket?policy", "x", 204),
    ("GET /bucket?policyStatus", "rwx", 404),
    ("GET /bucket?cors", "rwx", 404),
    ("PUT /bucket?cors", "x", 400),
    ("DELETE /bucket?cors", "x", 204),
    ("GET /bucket?tagging", "rwx", 404),
    (
        "PUT /bucket?tagging < <Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
        "x",
        204,
    ),
    ("DELETE /bucket?tagging", "x", 204),
    ("GET /bucket?publicAccessBlock", "rwx", 404),
    ("PUT /bucket?publicAccessBlock", "x", 400),
    ("DELETE /bucket?publicAccessBlock", "x", 204),
    ("GET /bucket?ownershipControls", "rwx", 404),
    ("PUT /bucket?ownershipControls", "x", 400),
    ("DELETE /bucket?ownershipControls", "x", 204),
    ("GET /bucket?encryption", "rwx", 404),
    ("PUT /bucket?encryption", "x", 400),
    ("DELETE /bucket?encryption", "x", 204),
    ("GET /bucket?website", "rwx", 404),
    ("PUT /bucket?website", "x", 400),
    ("DELETE /bucket?website", "x", 204),
    ("GET /bucket?accelerate", "rwx", 200),
    ("GET /bucket?requestPayment", "rwx", 200),
    ("GET /bucket?logging", "rwx", 200),
    ("GET /bucket?notification", "rwx", 200),
    ("PUT /bucket?notification", "x", 400),
    ("PUT /bucket?logging", "x", 400),
    ("GET /bucket?lifecycle", "rwx", 404),
    ("PUT /bucket?lifecycle", "x", 400),
    ("DELETE /bucket?lifecycle", "x", 204),
    ("GET /bucket/k", "rxRF", 200),
    ("HEAD /bucket/k", "rxRF", 200),
    ("GET /bucket/k?versionId=null", "rxRF", 200),
    ("PUT /bucket/w < x", "wxWF", 200),
    ("PUT /bucket/w x-amz-tagging=a=b < x", "wxWF", 200),
    ("PUT /bucket/w x-amz-acl=public-read < x", "wxWF", 200),
    (
        "PUT /bucket/w x-amz-grant-read=uri=http://acs.amazonaws.com/groups/global/AllUsers < x",
        "wxWF",
        200,
    ),
    // A condition tells what is stored, so it is for those who may read that.
    ("PUT /bucket/w if-match=* < x", "xF", 200),
    ("PUT /bucket/c x-amz-copy-source=bucket/k", "xF", 200),
    (
        "PUT /bucket/c x-amz-copy-source=bucket/k?versionId=null",
        "xF",
        200,
    ),
    (
        "PUT /bucket/c x-amz-copy-source=bucket/k x-amz-acl=public-read",
        "xF",
        200,
    ),
    ("DELETE /bucket/none", "wxWF", 204),
    ("DELETE /bucket/none?versionId=null", "wxWF", 204),
    (
        "DELETE /bucket/none x-amz-bypass-governance-retention=true",
        "wxWF",
        204,
    ),
    ("POST /bucket/m?uploads", "wxWF", 200),
    ("POST /bucket/m?uploads x-amz-acl=public-read", "wxWF", 200),
    ("PUT /bucket/m?uploadId=x&partNumber=1 < x", "wxWF", 404),
    ("POST /bucket/m?uploadId=x", "wxWF", 404),
    ("DELETE /bucket/m?uploadId=x", "wxWF", 404),
    ("GET /bucket/m?uploadId=x", "wxWF", 404),
    ("GET /bucket/k?acl", "rwx", 200),
    ("PUT /bucket/k?acl x-amz-acl=private", "x", 200),
    ("PUT /bucket/k?acl&versionId=null x-amz-acl=private", "x", 200),
    ("GET /bucket/k?tagging", "rxRF", 200),
    (
        "PUT /bucket/k?tagging < <Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
        "wxWF",
        200,
    ),
    ("DELETE /bucket/k?tagging", "wxWF", 204),
    (
        "GET /bucket/k?attributes x-amz-object-attributes=ETag",
        "rxRF",
        200,
    ),
    ("GET /bucket/k?retention", "rxRF", 400),
    ("PUT /bucket/k?retention", "wxWF", 400),
    ("GET /bucket/k?legal-hold", "rxRF", 400),
    ("PUT /bucket/k?legal-hold", "wxWF", 400),
    // That there is no such upload is said before the source is looked at.
    (
        "PUT /bucket/m?uploadId=x&partNumber=1 x-amz-copy-source=bucket/k",
        "wxWF",
        404,
    ),
    ("GET /bucket?object-lock", "rwx", 404),
    ("PUT /bucket?object-lock", "x", 400),
    ("GET /bucket?replication", "rwx", 404),
    ("DELETE /bucket?replication", "x", 204),
    // A browser asks before anybody signs, and a bucket without rules answers none.
    (
        "OPTIONS /bucket origin=https://a.example access-control-request-method=GET",
        "",
        403,
    ),
    (
        "OPTIONS /bucket/k origin=https://a.example access-control-request-method=GET",
        "",
        403,
    ),
    // Nobody's grants reach beyond a bucket that is there.
    ("PUT /another", "x", 200),
];

/// As [`TABLE`], about a bucket that locks, and an object that is retained under governance.
const OF_A_LOCK: &[Row] = &[
    ("PUT /locked/w x-amz-object-lock-legal-hold=ON < x", "wxWF", 200),
    (
        "PUT /locked/w x-amz-object-lock-mode=GOVERNANCE x-amz-object-lock-retain-until-date=2098-01-01T00:00:00Z < x",
        "wxWF",
        200,
    ),
    (
        "PUT /locked/c x-amz-copy-source=locked/k x-amz-object-lock-legal-hold=ON",
        "xF",
        200,
    ),
    (
        "POST /locked/m?uploads x-amz-object-lock-legal-hold=ON",
        "wxWF",
        200,
    ),
    ("GET /locked/k?retention", "rxRF", 200),
    ("GET /locked/k?legal-hold", "rxRF", 200),
    (
        "PUT /locked/k?legal-hold < <LegalHold><Status>OFF</Status></LegalHold>",
        "wxWF",
        200,
    ),
    (
        "PUT /locked/k?retention < <Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2099-01-01T00:00:00Z</RetainUntilDate></Retention>",
        "wxWF",
        200,
    ),
    // Whoever owns the bucket has to say that it means it, and nobody else may.
    ("PUT /locked/k?retention < <Retention/>", "", 403),
    (
        "PUT /locked/k?retention x-amz-bypass-governance-retention=true < <Retention/>",
        "x",
        200,
    ),
    ("GET /locked?object-lock", "rwx", 200),
    (
        "PUT /locked?object-lock < <ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>",
        "x",
        200,
    ),
];

/// As [`TABLE`], for keys that only the ACL of the object names.
const OF_AN_OBJECT: &[Row] = &[
    ("GET /bucket/k", "RF", 200),
    ("HEAD /bucket/k", "RF", 200),
    ("GET /bucket/k?versionId=null", "RF", 200),
    ("GET /bucket/k?acl", "AF", 200),
    ("GET /bucket/k?acl&versionId=null", "AF", 200),
    ("PUT /bucket/k?acl x-amz-acl=public-read", "CF", 200),
    (
        "PUT /bucket/k?acl&versionId=null x-amz-acl=public-read",
        "CF",
        200,
    ),
    ("PUT /bucket/k < x", "", 403),
    ("DELETE /bucket/k", "", 403),
    ("GET /bucket/k?tagging", "", 403),
    ("GET /bucket", "", 403),
    ("GET /bucket/none", "", 403),
    ("GET /bucket?acl", "", 403),
];

/// The keys of the ACL by the letters of the tables, and what each is granted.
const GRANTED: [(char, &str); 5] = [
    ('R', "READ"),
    ('W', "WRITE"),
    ('A', "READ_ACP"),
    ('C', "WRITE_ACP"),
    ('F', "FULL_CONTROL"),
];

/// Who write by a grant or by an ACL.
const WRITERS: &str = "wxWF";

/// Whoever sends the requests of the tables, by their letters. The owner and nobody have no key of their own here.
type Callers = Vec<(char, Option<Signer>)>;

/// Keys without a grant of their own, and the document that grants each what its letter says.
async fn granted_keys(world: &World) -> (Callers, String) {
    let (mut keys, mut lines) = (Vec::new(), String::new());
    for (who, permission) in GRANTED {
        let key = world.key(permission, "bucket", Grants::NONE).await;
        let id = key.id();
        lines.push_str(&format!(
            "<Grant><Grantee><ID>{id}</ID></Grantee><Permission>{permission}</Permission></Grant>"
        ));
        keys.push((who, Some(key)));
    }
    let list =
        format!("<AccessControlPolicy><AccessControlList>{lines}</AccessControlList></AccessControlPolicy>");
    (keys, list)
}

/// All callers of the tables with their grants on a bucket, and the request that gives it the ACL that names some of them.
async fn callers(world: &World, bucket: &str) -> (Callers, String) {
    let (granted, list) = granted_keys(world).await;
    let mut callers = vec![('a', None), ('x', None)];
    for (who, name, read, write) in [
        ('o', "other", false, false),
        ('r', "reader", true, false),
        ('w', "writer", false, true),
    ] {
        let grants = Grants {
            read,
            write,
            owner: false,
        };
        callers.push((who, Some(world.key(name, bucket, grants).await)));
    }
    callers.extend(granted);
    (callers, format!("PUT /{bucket}?acl < {list}"))
}

/// Sends each request as each caller, after what sets the stage for it.
async fn check_table(world: &World, callers: &Callers, before: &[String], table: &[Row]) {
    for (request, may, answered) in table {
        for (who, key) in callers {
            // Whoever may change a list may have changed it.
            for request in before {
                world.check(request, "200").await;
            }
            let status = status(world, *who, key.as_ref(), request).await;
            let expected = if may.contains(*who) { *answered } else { 403 };
            assert_eq!(status, expected, "{request} by {who}");
        }
    }
}

async fn status(world: &World, who: char, key: Option<&Signer>, request: &str) -> u16 {
    match (who, key) {
        ('a', _) => world.send_anonymous(request).await.status,
        (_, Some(key)) => world.send_as(key, request).await.status,
        (_, None) => world.send(request).await.status,
    }
}

/// Sends a form that each caller signed for itself: whoever it is stands in it.
async fn check_forms(world: &World, callers: &Callers) {
    for (who, key) in callers {
        let object = format!("by-{who}");
        let conditions = format!(r#"{{"bucket":"bucket"}},{{"key":"{object}"}}"#);
        let mut fields = match (who, key) {
            ('a', _) => Vec::new(),
            (_, Some(key)) => world.signed_fields_as(key, &conditions),
            (_, None) => world.signed_fields(&conditions),
        };
        fields.push(("key".into(), object.clone()));
        let answer = world.send_form("bucket", &fields, "hello").await;
        let (status, stored) = if WRITERS.contains(*who) {
            (204, "200")
        } else {
            (403, "404")
        };
        assert_eq!(answer.status, status, "a form by {who}: {}", answer.text());
        world.check(&format!("GET /bucket/{object}"), stored).await;
    }
}

#[tokio::test]
async fn each_operation_is_for_those_the_table_names() {
    let world = World::start().await;
    world.check("PUT /bucket/k < hello", "200").await;
    let (callers, acl) = callers(&world, "bucket").await;
    check_table(&world, &callers, std::slice::from_ref(&acl), TABLE).await;
    world.check(&acl, "200").await;
    check_forms(&world, &callers).await;
    let asked: Vec<_> = world.meter.counted().iter().map(|of| of.operation).collect();
    let missing: Vec<_> = Operation::names()
        .into_iter()
        .filter(|name| !asked.contains(name))
        .collect();
    assert_eq!(missing, [""; 0], "operations that the table says nothing about");
    world.stop().await;
}

#[tokio::test]
async fn a_lock_is_for_those_the_table_names() {
    let world = World::start().await;
    world
        .check("PUT /locked x-amz-bucket-object-lock-enabled=true", "200")
        .await;
    world
        .check("PUT /locked/k x-amz-object-lock-legal-hold=OFF < hello", "200")
        .await;
    let (callers, acl) = callers(&world, "locked").await;
    // It is prolonged freely, and set back by whoever may bypass it.
    let retain = "PUT /locked/k?retention x-amz-bypass-governance-retention=true < <Retention><Mode>GOVERNANCE</Mode>\
                  <RetainUntilDate>2098-01-01T00:00:00Z</RetainUntilDate></Retention>";
    check_table(&world, &callers, &[acl.clone(), retain.to_owned()], OF_A_LOCK).await;
    for (who, key) in &callers {
        world.check(&acl, "200").await;
        let locked =
            "x-amz-object-lock-mode=GOVERNANCE x-amz-object-lock-retain-until-date=2098-01-01T00:00:00Z";
        let put = world.check(&format!("PUT /locked/k {locked} < x"), "200").await;
        let version = put.header("x-amz-version-id").unwrap();
        let delete = format!("DELETE /locked/k?versionId={version}");
        assert_eq!(status(&world, *who, key.as_ref(), &delete).await, 403, "{who}");
        let bypass = format!("{delete} x-amz-bypass-governance-retention=true");
        let expected = if *who == 'x' { 204 } else { 403 };
        assert_eq!(
            status(&world, *who, key.as_ref(), &bypass).await,
            expected,
            "{who}"
        );
    }
    world.stop().await;
}

#[tokio::test]
async fn of_many_deletes_each_is_done_for_those_who_may() {
    let world = World::start().await;
    let (callers, acl) = callers(&world, "bucket").await;
    let policy = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::bucket/mine/*"}}"#;
    world
        .check(&format!("PUT /bucket?policy < {policy}"), "204")
        .await;
    let entries = "<Object><Key>mine/a</Key></Object><Object><Key>yours/b</Key></Object>\
                   <Object><Key>mine/c</Key><VersionId>null</VersionId></Object>";
    let delete =
        format!("POST /bucket?delete x-amz-sdk-checksum-algorithm=CRC32 < <Delete>{entries}</Delete>");
    for (who, key) in &callers {
        world.check(&acl, "200").await;
        for object in ["mine/a", "yours/b", "mine/c"] {
            world.check(&format!("PUT /bucket/{object} < x"), "200").await;
        }
        assert_eq!(status(&world, *who, key.as_ref(), &delete).await, 200, "{who}");
        // The policy opens the first to everyone; a version that is named, were it the same one, it does not.
        let left = if WRITERS.contains(*who) { "404" } else { "200" };
        world.check("GET /bucket/mine/a", "404").await;
        world.check("GET /bucket/yours/b", left).await;
        world.check("GET /bucket/mine/c", left).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn the_acl_of_an_object_is_about_that_object_only() {
    let world = World::start().await;
    world.check("PUT /bucket/k < hello", "200").await;
    let (mut callers, list) = granted_keys(&world).await;
    callers.extend([
        ('a', None),
        ('o', Some(world.key("other", "bucket", Grants::NONE).await)),
    ]);
    let acl = format!("PUT /bucket/k?acl < {list}");
    check_table(&world, &callers, &[acl], OF_AN_OBJECT).await;
    world.stop().await;
}
