//! For every operation, who may do it: nobody in particular, a key without grants, one that reads, one that writes, an owner.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{Signer, World};
use storage::model::Grants;
use warren_s3::route::Operation;

/// A request and who may send it, in a bucket without a policy: `a`nonymous, an `o`ther key, a `r`eader, a `w`riter, the
/// bucket's owner (`x`), and keys that only the ACL of the bucket names: they `R`ead, `W`rite, read its `A`CL, `C`hange its
/// ACL, have `F`ull control.
const TABLE: &[(&str, &str)] = &[
    ("GET /", "orwxRWACF"),
    ("HEAD /bucket", "rwxRWF"),
    ("GET /bucket?location", "rwxRWF"),
    ("GET /bucket?versioning", "rwxRWF"),
    ("GET /bucket", "rxRF"),
    ("GET /bucket?list-type=2", "rxRF"),
    ("GET /bucket?versions", "rxRF"),
    ("GET /bucket?uploads", "rwx"),
    ("POST /bucket?delete", "wxWF"),
    ("PUT /bucket?versioning", "x"),
    ("DELETE /bucket", "x"),
    ("GET /bucket?acl", "rwxAF"),
    ("PUT /bucket?acl", "xCF"),
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
    ("PUT /bucket?notification", "x"),
    ("PUT /bucket?logging", "x"),
    ("GET /bucket?lifecycle", "rwx"),
    ("PUT /bucket?lifecycle", "x"),
    ("DELETE /bucket?lifecycle", "x"),
    ("GET /bucket/k", "rxRF"),
    ("HEAD /bucket/k", "rxRF"),
    ("GET /bucket/k?versionId=null", "rxRF"),
    ("PUT /bucket/w < x", "wxWF"),
    ("PUT /bucket/w x-amz-tagging=a=b < x", "wxWF"),
    ("PUT /bucket/c x-amz-copy-source=bucket/k", "xF"),
    ("DELETE /bucket/none", "wxWF"),
    ("DELETE /bucket/none?versionId=null", "wxWF"),
    ("POST /bucket/m?uploads", "wxWF"),
    ("PUT /bucket/m?uploadId=x&partNumber=1 < x", "wxWF"),
    ("POST /bucket/m?uploadId=x", "wxWF"),
    ("DELETE /bucket/m?uploadId=x", "wxWF"),
    ("GET /bucket/m?uploadId=x", "wxWF"),
    ("GET /bucket/k?acl", "rwx"),
    ("PUT /bucket/k?acl", "x"),
    ("PUT /bucket/k?acl&versionId=null x-amz-acl=private", "x"),
    ("GET /bucket/k?tagging", "rxRF"),
    ("PUT /bucket/k?tagging", "wxWF"),
    ("DELETE /bucket/k?tagging", "wxWF"),
    ("GET /bucket/k?attributes x-amz-object-attributes=ETag", "rxRF"),
    ("GET /bucket/k?retention", "rxRF"),
    ("PUT /bucket/k?retention", "wxWF"),
    ("GET /bucket/k?legal-hold", "rxRF"),
    ("PUT /bucket/k?legal-hold", "wxWF"),
    // That there is no such upload is said before the source is looked at.
    (
        "PUT /bucket/m?uploadId=x&partNumber=1 x-amz-copy-source=bucket/k",
        "wxWF",
    ),
    ("GET /bucket?object-lock", "rwx"),
    ("PUT /bucket?object-lock", "x"),
    ("GET /bucket?replication", "rwx"),
    ("DELETE /bucket?replication", "x"),
    // A form says in itself who sends it, and a browser asks before anybody signs: neither is let in or kept out here, but
    // a form of anyone's is not let write, and a bucket without rules answers no browser.
    ("POST /bucket", "aorwxRWACF"),
    (
        "OPTIONS /bucket origin=https://a.example access-control-request-method=GET",
        "",
    ),
    (
        "OPTIONS /bucket/k origin=https://a.example access-control-request-method=GET",
        "",
    ),
    // Nobody's grants reach beyond a bucket that is there.
    ("PUT /another", "x"),
];

/// What the table does not ask for: requests that are no operation, and what no test server is told to do.
const NOT_ASKED: [&str; 2] = ["Unknown", "Website"];

/// The keys of the ACL by the letters of the tables, and what each is granted.
const GRANTED: [(char, &str); 5] = [
    ('R', "READ"),
    ('W', "WRITE"),
    ('A', "READ_ACP"),
    ('C', "WRITE_ACP"),
    ('F', "FULL_CONTROL"),
];

/// Keys without a grant of their own, and the document that grants each what its letter says.
async fn granted_keys(world: &World) -> (Vec<(char, Option<Signer>)>, String) {
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

async fn check_table(world: &World, keys: &[(char, Option<Signer>)], acl: &str, table: &[(&str, &str)]) {
    for (request, may) in table {
        for (who, key) in keys {
            // Whoever may change a list may have changed it.
            world.check(acl, "200").await;
            let status = status(world, *who, key.as_ref(), request).await;
            let expected = may.contains(*who);
            assert_eq!(status != 403, expected, "{request} by {who}: {status}");
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

#[tokio::test]
async fn each_operation_is_for_those_the_table_names() {
    let world = World::start().await;
    world.check("PUT /bucket/k < hello", "200").await;
    let grants = |read, write| Grants {
        read,
        write,
        owner: false,
    };
    let mut keys = vec![
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
    let (granted, list) = granted_keys(&world).await;
    keys.extend(granted);
    check_table(&world, &keys, &format!("PUT /bucket?acl < {list}"), TABLE).await;
    let asked: Vec<_> = world.meter.counted().iter().map(|of| of.operation).collect();
    let missing: Vec<_> = Operation::NAMES
        .into_iter()
        .filter(|name| !asked.contains(name) && !NOT_ASKED.contains(name))
        .collect();
    assert_eq!(missing, [""; 0], "operations that the table says nothing about");
    world.stop().await;
}

/// As [`TABLE`], for keys that only the ACL of the object names.
const OF_AN_OBJECT: &[(&str, &str)] = &[
    ("GET /bucket/k", "RF"),
    ("HEAD /bucket/k", "RF"),
    ("GET /bucket/k?versionId=null", "RF"),
    ("GET /bucket/k?acl", "AF"),
    ("GET /bucket/k?acl&versionId=null", "AF"),
    ("PUT /bucket/k?acl x-amz-acl=public-read", "CF"),
    ("PUT /bucket/k?acl&versionId=null x-amz-acl=public-read", "CF"),
    ("PUT /bucket/k < x", ""),
    ("DELETE /bucket/k", ""),
    ("GET /bucket/k?tagging", ""),
    ("GET /bucket", ""),
    ("GET /bucket/none", ""),
    ("GET /bucket?acl", ""),
];

#[tokio::test]
async fn the_acl_of_an_object_is_about_that_object_only() {
    let world = World::start().await;
    world.check("PUT /bucket/k < hello", "200").await;
    let (mut keys, list) = granted_keys(&world).await;
    keys.extend([
        ('a', None),
        ('o', Some(world.key("other", "bucket", Grants::NONE).await)),
    ]);
    check_table(
        &world,
        &keys,
        &format!("PUT /bucket/k?acl < {list}"),
        OF_AN_OBJECT,
    )
    .await;
    world.stop().await;
}
