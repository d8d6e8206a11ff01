//! What clients do with objects, over real HTTP against a real store.

use crate::common::World;

#[tokio::test]
async fn an_object_reads_back_with_everything_that_was_said_about_it() {
    let world = World::start().await;
    let put = "PUT /bucket/a%20b%2Bc content-type=text/x cache-control=no-store content-encoding=aws-chunked,gzip \
               x-amz-meta-Name=Ann x-amz-tagging=a=1&b=2 x-amz-storage-class=STANDARD_IA < hello";
    world
        .check(
            put.replace("Name", "name").as_str(),
            "200 | etag: \"5d41402abc4b2a76b9719d911017c592\" | = ",
        )
        .await;
    let told = "content-type: text/x | cache-control: no-store | content-encoding: gzip | x-amz-meta-name: ann \
                | x-amz-tagging-count: 2 | x-amz-storage-class: standard_ia | content-length: 5 \
                | accept-ranges: bytes | last-modified: | !x-amz-version-id";
    world
        .check("GET /bucket/a%20b%2Bc", &format!("200 | {told} | = hello"))
        .await;
    world
        .check("HEAD /bucket/a%20b%2Bc", &format!("200 | {told} | = "))
        .await;
    world
        .check(
            "GET /bucket/a%20b%2Bc?tagging",
            "200 | <Key>a</Key><Value>1</Value>",
        )
        .await;
    world.check("DELETE /bucket/a%20b%2Bc", "204 | = ").await;
    world.check("DELETE /bucket/a%20b%2Bc", "204").await;
    world.check("GET /bucket/a%20b%2Bc", "404 NoSuchKey").await;
    world
        .check("HEAD /bucket/a%20b%2Bc", "404 | = | !application/xml")
        .await;
    world.stop().await;
}

#[tokio::test]
async fn every_key_is_its_own_object() {
    let world = World::start().await;
    for key in [
        "/", "//a", "a/../b", ".", "a+b", "%C3%A9", "e%CC%81", "t/", "t", "%25", "a%0Ab", "%3Fx=1",
    ] {
        world.check(&format!("PUT /bucket/{key} < at {key}"), "200").await;
    }
    for key in [
        "/", "//a", "a/../b", ".", "a+b", "%C3%A9", "e%CC%81", "t/", "t", "%25", "a%0Ab", "%3Fx=1",
    ] {
        world
            .check(&format!("GET /bucket/{key}"), &format!("200 | = at {key}"))
            .await;
    }
    let long = "k".repeat(1025);
    world
        .check(&format!("PUT /bucket/{long} < x"), "400 KeyTooLongError")
        .await;
    world.check("PUT /bucket/%FF < x", "400 InvalidURI").await;
    world.stop().await;
}

#[tokio::test]
async fn a_range_is_answered_refused_or_ignored_as_s3_does() {
    let world = World::start().await;
    world.check("PUT /bucket/k < 0123456789", "200").await;
    world.check("PUT /bucket/empty < ", "200").await;
    world
        .check("GET /bucket/empty", "200 | content-length: 0 | = ")
        .await;
    world
        .check(
            "GET /bucket/k range=bytes=2-4",
            "206 | content-range: bytes 2-4/10 | content-length: 3 | = 234",
        )
        .await;
    world.check("GET /bucket/k range=bytes=-3", "206 | = 789").await;
    world
        .check(
            "GET /bucket/k range=bytes=8-99",
            "206 | content-range: bytes 8-9/10 | = 89",
        )
        .await;
    world
        .check("GET /bucket/k range=bytes=0-1,3-4", "200 | = 0123456789")
        .await;
    world
        .check(
            "GET /bucket/k range=bytes=10-",
            "416 InvalidRange | content-range: bytes */10",
        )
        .await;
    world
        .check(
            "GET /bucket/empty range=bytes=0-0",
            "416 InvalidRange | content-range: bytes */0",
        )
        .await;
    world
        .check("HEAD /bucket/k range=bytes=2-4", "206 | content-length: 3 | = ")
        .await;
    world
        .check("GET /bucket/k?partNumber=1", "206 | = 0123456789")
        .await;
    world.check("GET /bucket/k?partNumber=2", "400 InvalidPart").await;
    world
        .check("GET /bucket/k?partNumber=0", "400 InvalidArgument")
        .await;
    world
        .check("GET /bucket/k?partNumber=1 range=bytes=0-1", "400 InvalidRequest")
        .await;
    world
        .check(
            "GET /bucket/k range=bytes=0-1 if-range=\"other\"",
            "200 | = 0123456789",
        )
        .await;
    world.stop().await;
}

#[tokio::test]
async fn a_condition_is_kept() {
    let world = World::start().await;
    let etag = "\"5d41402abc4b2a76b9719d911017c592\"";
    world.check("PUT /bucket/k if-none-match=* < hello", "200").await;
    world
        .check("PUT /bucket/k if-none-match=* < other", "412 PreconditionFailed")
        .await;
    world
        .check(
            "PUT /bucket/k if-match=\"other\" < other",
            "412 PreconditionFailed",
        )
        .await;
    world
        .check("PUT /bucket/none if-match=* < other", "404 NoSuchKey")
        .await;
    world
        .check(
            &format!("PUT /bucket/k if-none-match={etag} < other"),
            "501 NotImplemented",
        )
        .await;
    world
        .check(&format!("PUT /bucket/k if-match={etag} < hello"), "200")
        .await;
    world
        .check(
            &format!("GET /bucket/k if-none-match={etag}"),
            &format!("304 | etag: {etag} | = "),
        )
        .await;
    world
        .check("GET /bucket/k if-match=\"other\"", "412 PreconditionFailed")
        .await;
    let past = "Thu,~01~Jan~1970~00:00:01~GMT";
    world
        .check(&format!("GET /bucket/k if-unmodified-since={past}"), "412")
        .await;
    world
        .check(
            &format!("GET /bucket/k if-match={etag} if-unmodified-since={past}"),
            "200",
        )
        .await;
    world.check("DELETE /bucket/k if-match=\"other\"", "412").await;
    world
        .check(&format!("DELETE /bucket/k if-match={etag}"), "204")
        .await;
    world.check("DELETE /bucket/k if-match=*", "404 NoSuchKey").await;
    world.stop().await;
}

#[tokio::test]
async fn content_that_is_not_what_was_claimed_is_not_stored() {
    let world = World::start().await;
    let zeros = "0".repeat(64);
    world
        .check(
            "PUT /bucket/k content-md5=XUFAKrxLKna5cZ2REBfFkg== < hello",
            "200",
        )
        .await;
    world
        .check(
            "PUT /bucket/no content-md5=AAAAAAAAAAAAAAAAAAAAAA== < hello",
            "400 BadDigest",
        )
        .await;
    world
        .check("PUT /bucket/no content-md5=short < hello", "400 InvalidDigest")
        .await;
    world
        .check(
            &format!("PUT /bucket/no x-amz-content-sha256={zeros} < hello"),
            "400 XAmzContentSHA256Mismatch",
        )
        .await;
    world
        .check(
            "PUT /bucket/c x-amz-checksum-crc32=NhCmhg== < hello",
            "200 | x-amz-checksum-crc32: nhcmhg==",
        )
        .await;
    world
        .check(
            "PUT /bucket/no x-amz-checksum-crc32=AAAAAA== < hello",
            "400 BadDigest",
        )
        .await;
    world
        .check(
            "PUT /bucket/no x-amz-checksum-crc32=x < hello",
            "400 InvalidRequest",
        )
        .await;
    world.check("GET /bucket/no", "404 NoSuchKey").await;
    let told = "x-amz-checksum-crc32: nhcmhg== | x-amz-checksum-type: full_object";
    world
        .check(
            "GET /bucket/c x-amz-checksum-mode=ENABLED",
            &format!("200 | {told}"),
        )
        .await;
    world.check("GET /bucket/c", "200 | !x-amz-checksum").await;
    world
        .check(
            "GET /bucket/c x-amz-checksum-mode=ENABLED range=bytes=0-1",
            "206 | !x-amz-checksum",
        )
        .await;
    world.stop().await;
}

#[tokio::test]
async fn a_chunked_body_is_stored_as_what_it_holds() {
    let world = World::start().await;
    let put = "PUT /bucket/k x-amz-content-sha256=STREAMING-UNSIGNED-PAYLOAD-TRAILER content-encoding=aws-chunked \
               x-amz-trailer=x-amz-checksum-crc32 x-amz-decoded-content-length=5";
    let chunks = "3\r\nhel\r\n2\r\nlo\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n";
    world
        .check(
            &format!("{put} < {chunks}"),
            "200 | x-amz-checksum-crc32: nhcmhg==",
        )
        .await;
    world
        .check("GET /bucket/k", "200 | !content-encoding | = hello")
        .await;
    let wrong = chunks.replace("NhCmhg==", "AAAAAA==");
    world
        .check(
            &format!("{} < {wrong}", put.replace("/k", "/no")),
            "400 BadDigest",
        )
        .await;
    let cut = "3\r\nhel\r\n";
    world
        .check(
            &format!("{} < {cut}", put.replace("/k", "/no")),
            "400 IncompleteBody",
        )
        .await;
    world.check("GET /bucket/no", "404").await;
    world.stop().await;
}

#[tokio::test]
async fn a_copy_keeps_or_replaces_what_it_says() {
    let world = World::start().await;
    world
        .check(
            "PUT /bucket/a%3Fb x-amz-meta-x=1 content-type=text/x < hello",
            "200",
        )
        .await;
    let from = "x-amz-copy-source=/bucket/a%3Fb";
    world
        .check(
            &format!("PUT /bucket/copy {from}"),
            "200 | <ETag>&quot;5d41402abc4b2a76b9719d911017c592&quot;",
        )
        .await;
    world
        .check(
            "GET /bucket/copy",
            "200 | x-amz-meta-x: 1 | content-type: text/x | = hello",
        )
        .await;
    world
        .check(&format!("PUT /bucket/a%3Fb {from}"), "400 InvalidRequest")
        .await;
    let replace = "x-amz-metadata-directive=REPLACE x-amz-meta-y=2";
    world
        .check(&format!("PUT /bucket/a%3Fb {from} {replace}"), "200")
        .await;
    world
        .check(
            "GET /bucket/a%3Fb",
            "200 | x-amz-meta-y: 2 | !x-amz-meta-x | = hello",
        )
        .await;
    world
        .check(
            &format!("PUT /bucket/c {from} x-amz-copy-source-if-match=\"other\""),
            "412",
        )
        .await;
    world
        .check(
            &format!("PUT /bucket/c {from} x-amz-copy-source-if-none-match=*"),
            "412",
        )
        .await;
    world
        .check("PUT /bucket/c x-amz-copy-source=/bucket/none", "404 NoSuchKey")
        .await;
    world
        .check(
            "PUT /bucket/c x-amz-copy-source=/nobucket/none",
            "404 NoSuchBucket",
        )
        .await;
    world
        .check("PUT /bucket/c x-amz-copy-source=bucket", "400 InvalidArgument")
        .await;
    world.stop().await;
}

#[tokio::test]
async fn a_multipart_upload_becomes_one_object() {
    let world = World::start().await;
    let upload = world
        .check(
            "POST /bucket/k?uploads x-amz-meta-x=1",
            "200 InitiateMultipartUploadResult",
        )
        .await;
    let id = upload.element("UploadId");
    let big = "x".repeat(5 << 20);
    let part = |number: u32| format!("PUT /bucket/k?partNumber={number}&uploadId={id}");
    let first = world.check(&format!("{} < {big}", part(2)), "200").await;
    world.check(&format!("{} < tail", part(7)), "200").await;
    let source = "x-amz-copy-source=bucket/none";
    world
        .check(&format!("{} {source}", part(9)), "404 NoSuchKey")
        .await;
    let listed = world
        .check(
            &format!("GET /bucket/k?uploadId={id}&max-parts=1"),
            "200 | <IsTruncated>true",
        )
        .await;
    assert_eq!(listed.element("NextPartNumberMarker"), "2");
    world
        .check("GET /bucket?uploads", &format!("200 | <UploadId>{id}</UploadId>"))
        .await;
    let etag = first.header("etag").unwrap();
    let tail = "7aea2552dfe7eb84b9443b6fc9ba6e01";
    let named = |number: u32, etag: &str| {
        format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
    };
    let complete = |parts: String| {
        format!("POST /bucket/k?uploadId={id} < <CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
    };
    world
        .check(
            &complete(named(7, tail) + &named(2, etag)),
            "400 InvalidPartOrder",
        )
        .await;
    world.check(&complete(named(2, tail)), "400 InvalidPart").await;
    world.check(&complete(String::new()), "400 MalformedXML").await;
    let whole = complete(named(2, etag) + &named(7, tail));
    world.check(&whole, "200 | <Location>http://").await;
    world.check(&whole, "200 CompleteMultipartUploadResult").await;
    // The first answer may have been lost: asked again, the upload is complete whatever its condition says.
    let retried = whole.replacen(" < ", " if-none-match=* < ", 1);
    world.check(&retried, "200 CompleteMultipartUploadResult").await;
    let told =
        "x-amz-mp-parts-count: 2 | content-range: bytes 5242880-5242883/5242884 | x-amz-meta-x: 1 | = tail";
    world
        .check("GET /bucket/k?partNumber=7", &format!("206 | {told}"))
        .await;
    world.check("GET /bucket/k?partNumber=8", "400 InvalidPart").await;
    let object = world.check("GET /bucket/k", "200").await;
    assert_eq!(object.body, [big.as_bytes(), b"tail"].concat());
    world
        .check(&format!("{} < late", part(1)), "404 NoSuchUpload")
        .await;
    world
        .check("DELETE /bucket/k?uploadId=unknown", "404 NoSuchUpload")
        .await;
    world.stop().await;
}

#[tokio::test]
async fn a_complete_may_claim_the_checksum_as_it_is_shown() {
    let world = World::start().await;
    let crc32 = "x-amz-checksum-algorithm=CRC32";
    let upload = world
        .check(&format!("POST /bucket/k?uploads {crc32}"), "200")
        .await;
    let id = upload.element("UploadId");
    let part = world
        .check(
            &format!("PUT /bucket/k?partNumber=1&uploadId={id} < 123456789"),
            "200",
        )
        .await;
    let etag = part.header("etag").unwrap();
    let complete = |claim: &str| {
        format!(
            "POST /bucket/k?uploadId={id} x-amz-checksum-crc32={claim} < <CompleteMultipartUpload><Part>\
             <PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
        )
    };
    // The CRC-32 of the four bytes of the CRC-32 of `123456789`.
    let claim = "7kxlUA==";
    world
        .check(&complete(&format!("{claim}-2")), "400 BadDigest")
        .await;
    world.check(&complete("AAAAAA==-1"), "400 BadDigest").await;
    world
        .check(
            &complete(&format!("{claim}-1")),
            &format!("200 | <ChecksumCRC32>{claim}-1<"),
        )
        .await;
    world
        .check(
            "PUT /bucket/k x-amz-checksum-crc32=y/Q5Jg==-1 < 123456789",
            "400 InvalidRequest",
        )
        .await;
    world.stop().await;
}

#[tokio::test]
async fn a_list_of_uploads_goes_on_behind_its_markers() {
    let world = World::start().await;
    for key in ["a", "b", "b", "c/1"] {
        world.check(&format!("POST /bucket/{key}?uploads"), "200").await;
    }
    let keys = async |query: &str| {
        let answer = world.check(&format!("GET /bucket?uploads&{query}"), "200").await;
        let text = answer.text();
        let keys = text
            .split("<Key>")
            .skip(1)
            .map(|rest| &rest[..rest.find('<').unwrap()]);
        keys.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys("").await, "a b b c/1");
    assert_eq!(keys("key-marker=a").await, "b b c/1");
    assert_eq!(keys("key-marker=b").await, "c/1");
    let first = world
        .check("GET /bucket?uploads&prefix=b&max-uploads=1", "200")
        .await;
    let id = first.element("NextUploadIdMarker");
    assert_eq!(
        keys(&format!("key-marker=b&upload-id-marker={id}")).await,
        "b c/1"
    );
    assert_eq!(
        keys(&format!("key-marker=a&upload-id-marker={id}&prefix=c")).await,
        "c/1"
    );
    assert_eq!(keys("key-marker=a&prefix=c").await, "c/1");
    world.stop().await;
}

#[tokio::test]
async fn many_objects_are_deleted_one_by_one() {
    let world = World::start().await;
    world.check("PUT /bucket/a < 1", "200").await;
    let delete = "<Delete><Object><Key>a</Key></Object><Object><Key>none</Key></Object></Delete>";
    let md5 = "content-md5=oRVqKvH2gLHyGz7DfF2fVg==";
    world
        .check(&format!("POST /bucket?delete {md5} < {delete}"), "400 BadDigest")
        .await;
    world
        .check(&format!("POST /bucket?delete < {delete}"), "400 InvalidRequest")
        .await;
    world.check("GET /bucket/a", "200").await;
    let crc = crc32(delete.as_bytes());
    let deleted = "200 | <Deleted><Key>a</Key></Deleted><Deleted><Key>none</Key></Deleted>";
    world
        .check(
            &format!("POST /bucket?delete x-amz-checksum-crc32={crc} < {delete}"),
            deleted,
        )
        .await;
    world.check("GET /bucket/a", "404").await;
    let excluded = "<Delete><Object><Key>kept</Key><Size>5</Size></Object></Delete>";
    world.check("PUT /bucket/kept < 1", "200").await;
    world
        .check(
            &format!("POST /bucket?delete x-amz-sdk-checksum-algorithm=CRC32 < {excluded}"),
            "200 | <Key>kept</Key><Code>PreconditionFailed</Code> | !Deleted",
        )
        .await;
    world.check("HEAD /bucket/kept", "200").await;
    world.stop().await;
}

fn crc32(bytes: &[u8]) -> String {
    use base64::Engine;
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, bytes);
    base64::engine::general_purpose::STANDARD.encode(&crc.to_be_bytes()[4..])
}
