//! Uploads by forms, over real HTTP against a real store.

use crate::common::{Answer, World};

type Fields = Vec<(String, String)>;

/// A signed form for keys below `up/`, with more fields.
fn form(world: &World, conditions: &str, more: &[(&str, &str)]) -> Fields {
    let conditions = format!(r#"{{"bucket":"bucket"}},["starts-with","$key","up/"]{conditions}"#);
    let mut fields = world.signed_fields(&conditions);
    fields.extend(
        more.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    fields
}

fn check(answer: &Answer, expected: &str) {
    let (status, part) = expected.split_once(' ').unwrap_or((expected, ""));
    let shown = format!("{}{}", answer.head, answer.text());
    assert_eq!(answer.status.to_string(), status, "{shown}");
    assert!(shown.contains(part), "no {part} in {shown}");
}

#[tokio::test]
async fn a_signed_form_uploads_what_its_policy_lets_it() {
    let world = World::start().await;
    let conditions = r#",["eq","$Content-Type","text/plain"],["starts-with","$x-amz-meta-from",""],["starts-with","$success_action_status",""]"#;
    let fields = form(
        &world,
        conditions,
        &[
            ("key", "up/${filename}"),
            ("Content-Type", "text/plain"),
            ("x-amz-meta-from", "a form"),
            ("success_action_status", "201"),
            ("x-ignore-me", "1"),
        ],
    );
    let answer = world.send_form("bucket", &fields, "hello\r\n--X").await;
    check(&answer, "201 <Key>up/a.txt</Key>");
    check(&answer, "201 <ETag>&quot;");
    assert!(
        answer.text().contains("/bucket/up/a.txt</Location>"),
        "{}",
        answer.text()
    );
    world
        .check(
            "GET /bucket/up/a.txt",
            "200 | content-type: text/plain | x-amz-meta-from: a form | = hello\r\n--X",
        )
        .await;
    let plain = form(&world, "", &[("key", "up/b")]);
    check(
        &world.send_form("bucket", &plain, "").await,
        "204 x-amz-server-side-encryption",
    );
    world.check("GET /bucket/up/b", "200 | = ").await;
    let redirect = form(
        &world,
        r#",["starts-with","$success_action_redirect","https://a.example/"]"#,
        &[
            ("key", "up/c d"),
            ("success_action_redirect", "https://a.example/done?x=1"),
        ],
    );
    let answer = world.send_form("bucket", &redirect, "x").await;
    check(
        &answer,
        "303 location: https://a.example/done?x=1&bucket=bucket&key=up%2fc%20d&etag=%22",
    );
    world.stop().await;
}

#[tokio::test]
async fn whatever_a_policy_does_not_say_is_refused_and_nothing_is_stored() {
    let world = World::start().await;
    let key = ("key", "up/k");
    let range = r#",["content-length-range",3,5]"#;
    for (conditions, more, file, expected) in [
        ("", &[("key", "down/k")][..], "x", "403 Policy Condition failed"),
        ("", &[key, ("acl", "private")], "x", "403 Extra input fields: acl"),
        (
            "",
            &[key, ("x-amz-meta-a", "1")],
            "x",
            "403 Extra input fields: x-amz-meta-a",
        ),
        (
            r#",{"bucket":"other"}"#,
            &[key],
            "x",
            "403 Policy Condition failed",
        ),
        (
            r#",{"acl":"private"}"#,
            &[key],
            "x",
            "403 Policy Condition failed",
        ),
        (
            r#",["sounds-like","$key","up"]"#,
            &[key],
            "x",
            "400 InvalidPolicyDocument",
        ),
        (range, &[key], "ab", "400 EntityTooSmall"),
        (range, &[key], "abcdef", "400 EntityTooLarge"),
        ("", &[], "x", "400 must contain a field named"),
        ("", &[key, ("KEY", "up/other")], "x", "400 each field once"),
        ("", &[key, ("signature", "v2")], "x", "400 AWS4-HMAC-SHA256"),
        ("", &[key, ("x-amz-security-token", "t")], "x", "400 InvalidToken"),
        (
            r#",["starts-with","$x-amz-server-side-encryption-customer-key",""]"#,
            &[key, ("x-amz-server-side-encryption-customer-key", "k")],
            "x",
            "400 InvalidArgument",
        ),
        (
            r#",["starts-with","$x-amz-checksum-crc32",""]"#,
            &[key, ("x-amz-checksum-crc32", "AAAAAA==")],
            "x",
            "400 BadDigest",
        ),
    ] {
        let answer = world
            .send_form("bucket", &form(&world, conditions, more), file)
            .await;
        check(&answer, expected);
    }
    let tampered = |name: &str, value: &str| {
        let mut fields = form(&world, "", &[key]);
        let field = fields
            .iter_mut()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        field.unwrap().1 = value.into();
        fields
    };
    for (name, value, expected) in [
        (
            "x-amz-signature",
            &"0".repeat(64)[..],
            "403 SignatureDoesNotMatch",
        ),
        ("policy", "e30=", "403 SignatureDoesNotMatch"),
        ("x-amz-algorithm", "AWS4-ECDSA", "400 InvalidRequest"),
        ("x-amz-credential", "x", "400 InvalidArgument"),
        ("x-amz-date", "20200101T000000Z", "400 InvalidArgument"),
    ] {
        check(
            &world.send_form("bucket", &tampered(name, value), "x").await,
            expected,
        );
    }
    let fields = form(&world, "", &[key]);
    check(
        &world.send_form("bucket", &fields[1..], "x").await,
        "400 InvalidArgument",
    );
    world.check("GET /bucket", "200 | !<Key>").await;
    world.stop().await;
}

#[tokio::test]
async fn a_form_without_a_signature_is_for_buckets_that_anyone_may_write_to() {
    let world = World::start().await;
    let fields: Fields = vec![("key".into(), "k".into())];
    check(&world.send_form("bucket", &fields, "x").await, "403 AccessDenied");
    world
        .check("PUT /bucket?acl x-amz-acl=public-read-write", "200")
        .await;
    check(&world.send_form("bucket", &fields, "x").await, "204");
    world.check("GET /bucket/k", "200 | = x").await;
    check(
        &world.send_form("missing", &fields, "x").await,
        "404 NoSuchBucket",
    );
    // A policy of the bucket judges the fields as it would the headers of a PUT.
    let deny = r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:PutObject",
        "Resource":"arn:aws:s3:::bucket/*","Condition":{"StringEquals":{"s3:x-amz-storage-class":"GLACIER"}}}}"#;
    world.check(&format!("PUT /bucket?policy < {deny}"), "204").await;
    let cold = [&fields[..], &[("x-amz-storage-class".into(), "GLACIER".into())]].concat();
    check(&world.send_form("bucket", &cold, "x").await, "403 AccessDenied");
    world.stop().await;
}

#[tokio::test]
async fn a_body_that_is_no_whole_form_is_refused() {
    let world = World::start().await;
    world
        .check("PUT /bucket?acl x-amz-acl=public-read-write", "200")
        .await;
    let kind = "multipart/form-data; boundary=XX";
    let part = |name: &str, value: &str| {
        format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let key = part("key", "k");
    for (content_type, body, expected) in [
        (
            "application/x-www-form-urlencoded",
            "key=k".to_owned(),
            "412 PreconditionFailed",
        ),
        ("multipart/form-data", String::new(), "412 PreconditionFailed"),
        (kind, String::new(), "400 MalformedPOSTRequest"),
        (kind, "nonsense".into(), "400 MalformedPOSTRequest"),
        (kind, format!("{key}--XX--\r\n"), "400 exactly one file"),
        (
            kind,
            format!("{key}{}", part("file", "cut off")),
            "400 MalformedPOSTRequest",
        ),
        (
            kind,
            format!(
                "{key}{}{}--XX--",
                part("file", "x"),
                part("more", &"x".repeat(70_000))
            ),
            "400 MalformedPOSTRequest",
        ),
        (
            kind,
            format!(
                "{key}{}{}--XX--",
                part("x-amz-meta-a", &"x".repeat(21_000)),
                part("file", "x")
            ),
            "400 MaxPostPreDataLengthExceededError",
        ),
    ] {
        check(&world.send_body("bucket", content_type, &body).await, expected);
    }
    world.check("GET /bucket/k", "404 NoSuchKey").await;
    let whole = format!("{key}{}{}--XX--", part("file", "x"), part("submit", "go"));
    check(&world.send_body("bucket", kind, &whole).await, "204");
    world.check("GET /bucket/k", "200 | = x").await;
    let signed = "POST /bucket content-type=multipart/form-data;boundary=XX < x";
    world
        .check(signed, "400 InvalidArgument | Only one auth mechanism")
        .await;
    world.stop().await;
}

#[tokio::test]
async fn a_large_file_is_stored_as_it_arrives() {
    let world = World::start().await;
    world
        .check("PUT /bucket?acl x-amz-acl=public-read-write", "200")
        .await;
    let file: String = "0123456789abcdef\r\n--X".repeat(400_000);
    let fields: Fields = vec![("key".into(), "large".into())];
    check(&world.send_form("bucket", &fields, &file).await, "204");
    let length = format!("200 | content-length: {}", file.len());
    world.check("HEAD /bucket/large", &length).await;
    assert!(world.send("GET /bucket/large").await.body == file.as_bytes());
    world.stop().await;
}
