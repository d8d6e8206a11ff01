//! Promises about signatures: AWS's published examples, and those of another signer, verify.

mod refused;
mod signer;

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http::request::Parts;
use storage::model::{AccessKey, AccessKeyId, KeyName, KeySerial, SecretKey, Timestamp};

use super::canonical::{Spelling, canonical_request, string_to_sign};
use super::chunk_signing::sign;
use super::signing_key::derive;
use super::{Authenticator, ChunkedDecoder, Identity, PayloadRule, Verified, sigv4};
use crate::error::{S3Code, S3Result};
use crate::time;
use crate::uri::Query;

const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SIGNED_AT: &str = "20130524T000000Z";
const VIRTUAL_HOST: (&str, &str) = ("host", "examplebucket.s3.amazonaws.com");

fn access_key() -> Arc<AccessKey> {
    Arc::new(AccessKey {
        id: AccessKeyId::parse(KEY_ID).unwrap(),
        secret: SecretKey::parse(SECRET).unwrap(),
        name: KeyName::parse("example").unwrap(),
        created: Timestamp::from_millis(0),
        create_buckets: false,
        quota: storage::model::Quota::default(),
        aliases: std::collections::BTreeMap::new(),
        serial: KeySerial::from_bytes([1; 16]),
    })
}

fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let request = Request::builder().method(method).uri(uri);
    let request = headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(()).unwrap().into_parts().0
}

fn authorization(signed_headers: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={KEY_ID}/20130524/us-east-1/s3/aws4_request,\
         SignedHeaders={signed_headers},Signature={signature}"
    )
}

/// Verifies so many seconds after AWS's examples were signed.
fn verify_after(secs: i64, request: &Parts) -> S3Result<Verified> {
    let signed_at = time::parse_basic(SIGNED_AT).unwrap();
    let now = Timestamp::from_millis(signed_at.saturating_add_signed(secs) * 1000);
    let query = Query::parse(request.uri.query())?;
    let lookup = |id: &AccessKeyId| (id.as_str() == KEY_ID).then(access_key);
    Authenticator::new().verify(request, &query, now, lookup)
}

fn verify(request: &Parts) -> S3Result<Verified> {
    verify_after(0, request)
}

fn refusal(request: &Parts) -> S3Code {
    verify(request).unwrap_err().code()
}

fn is_known(verified: &Verified) -> bool {
    matches!(&verified.identity, Identity::Key(key) if key.id.as_str() == KEY_ID)
}

// Source of the next six: AWS S3 API reference, "Signature Calculations for the Authorization Header" and
// "Authenticating Requests: Using Query Parameters".

fn get_with_range() -> Vec<(&'static str, String)> {
    let signed = "host;range;x-amz-content-sha256;x-amz-date";
    let signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
    vec![
        (VIRTUAL_HOST.0, VIRTUAL_HOST.1.into()),
        ("range", "bytes=0-9".into()),
        ("x-amz-content-sha256", EMPTY_SHA256.into()),
        ("x-amz-date", SIGNED_AT.into()),
        ("authorization", authorization(signed, signature)),
    ]
}

fn with_headers(method: &str, uri: &str, headers: &[(&str, String)]) -> Parts {
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    request(method, uri, &headers)
}

#[test]
fn the_published_get_with_a_range_verifies() {
    let verified = verify(&with_headers("GET", "/test.txt", &get_with_range())).unwrap();
    assert!(is_known(&verified));
    assert!(matches!(verified.payload, PayloadRule::Sha256(hash) if hex::encode(hash) == EMPTY_SHA256));
}

#[test]
fn the_published_put_with_a_dollar_in_its_path_verifies_encoded_or_not() {
    for path in ["/test$file.text", "/test%24file.text"] {
        let hash = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
        let signed = "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class";
        let signature = "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd";
        let headers = [
            VIRTUAL_HOST,
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("x-amz-date", SIGNED_AT),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", hash),
            ("authorization", &authorization(signed, signature)),
        ];
        let verified = verify(&request("PUT", path, &headers)).unwrap();
        assert!(matches!(verified.payload, PayloadRule::Sha256(sum) if hex::encode(sum) == hash));
    }
}

#[test]
fn the_published_gets_with_a_query_verify() {
    for (uri, signature) in [
        (
            "/?lifecycle",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "/?max-keys=2&prefix=J",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
        (
            "/?prefix=%4A&max-keys=2",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ] {
        let headers = [
            VIRTUAL_HOST,
            ("x-amz-date", SIGNED_AT),
            ("x-amz-content-sha256", EMPTY_SHA256),
            (
                "authorization",
                &authorization("host;x-amz-content-sha256;x-amz-date", signature),
            ),
        ];
        assert!(verify(&request("GET", uri, &headers)).is_ok(), "{uri}");
    }
}

const PRESIGNED: &str = "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
    &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
    &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
    &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";

#[test]
fn the_published_presigned_url_verifies_until_it_expires() {
    let link = request("GET", PRESIGNED, &[VIRTUAL_HOST]);
    for secs in [-900, 0, 86_400] {
        let verified = verify_after(secs, &link).unwrap();
        assert!(is_known(&verified));
        assert!(matches!(verified.payload, PayloadRule::Unsigned));
    }
    for secs in [-901, 86_401] {
        let error = verify_after(secs, &link).unwrap_err();
        assert_eq!(error.code(), S3Code::AccessDenied, "{secs}");
    }
}

/// The published chunked PUT, with or without a trailer: its request and its encoded body.
fn chunked_put(trailer: bool) -> (Parts, Vec<u8>) {
    let mut headers = vec![
        ("host", "s3.amazonaws.com"),
        ("x-amz-date", SIGNED_AT),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "66560"),
    ];
    let (authorization, signatures) = if trailer {
        headers.push((
            "x-amz-content-sha256",
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        ));
        headers.push(("x-amz-trailer", "x-amz-checksum-crc32c"));
        let signed = "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;\
                      x-amz-storage-class;x-amz-trailer";
        let signatures = [
            "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
            "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
            "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
        ];
        (
            authorization(
                signed,
                "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
            ),
            signatures,
        )
    } else {
        headers.push(("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"));
        headers.push(("content-length", "66824"));
        let signed = "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;\
                      x-amz-decoded-content-length;x-amz-storage-class";
        let signatures = [
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ];
        (
            authorization(
                signed,
                "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
            ),
            signatures,
        )
    };
    headers.push(("authorization", &authorization));
    let mut body = Vec::new();
    for (size, signature) in [65_536, 1024, 0].into_iter().zip(signatures) {
        body.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
        body.extend(std::iter::repeat_n(b'a', size));
        if size > 0 || !trailer {
            body.extend_from_slice(b"\r\n");
        }
    }
    if trailer {
        body.extend_from_slice(
            b"x-amz-checksum-crc32c:sOO8/Q==\r\n\
              x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n",
        );
    }
    (request("PUT", "/examplebucket/chunkObject.txt", &headers), body)
}

/// Decodes a body that arrives in these pieces.
fn decode(rule: PayloadRule, pieces: &[&[u8]]) -> S3Result<(Vec<u8>, Option<String>)> {
    let PayloadRule::Chunked(rule) = rule else {
        panic!("the body is not chunked")
    };
    let mut decoder = ChunkedDecoder::new(rule);
    let mut content = Vec::new();
    for piece in pieces {
        let mut input = Bytes::copy_from_slice(piece);
        while let Some(decoded) = decoder.decode(&mut input)? {
            content.extend_from_slice(&decoded);
        }
        assert!(input.is_empty());
    }
    Ok((content, decoder.finish()?.map(|value| format!("{value:?}"))))
}

#[test]
fn the_published_chunked_bodies_verify() {
    for trailer in [false, true] {
        let (request, body) = chunked_put(trailer);
        let (content, checksum) = decode(verify(&request).unwrap().payload, &[&body]).unwrap();
        assert!(content.len() == 66_560 && content.iter().all(|byte| *byte == b'a'));
        assert_eq!(checksum, trailer.then(|| "CRC32C:b0e3bcfd".to_owned()));
    }
}

// Signed by botocore 1.44.5, which encodes paths and queries by itself.

fn signed_by_botocore(
    method: &str,
    uri: &str,
    signed: &str,
    signature: &str,
    more: &[(&str, &str)],
) -> Parts {
    let mut headers = vec![("host", "localhost:3900"), ("x-amz-date", SIGNED_AT)];
    let authorization = authorization(signed, signature);
    headers.push(("authorization", &authorization));
    headers.extend_from_slice(more);
    request(method, uri, &headers)
}

fn put_with_odd_bytes(uri: &str, note: &str) -> Parts {
    signed_by_botocore(
        "PUT",
        uri,
        "content-type;host;x-amz-content-sha256;x-amz-date;x-amz-meta-note",
        "3baf9183b3af7108c5abf7d9581ffde3582135485c536642c7aafd6cd156b0b8",
        &[
            ("content-type", "text/plain"),
            ("x-amz-meta-note", note),
            (
                "x-amz-content-sha256",
                "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
            ),
        ],
    )
}

#[test]
fn odd_bytes_in_paths_headers_and_queries_verify() {
    for uri in [
        "/bucket/a%20b%2Bc%C3%A9/../%24%21%27%28%29%2A//x",
        "/bucket/a%20b+c%c3%a9/../$!'()*//x",
    ] {
        for note in ["two   spaces", "  two spaces "] {
            assert!(verify(&put_with_odd_bytes(uri, note)).is_ok(), "{uri} {note:?}");
        }
    }
    for uri in [
        "/bucket?list-type=2&prefix=a%2Fb%20c%2Bd&delimiter=%2F&encoding-type=url&start-after=",
        "/bucket?start-after&prefix=a/b+c%2bd&delimiter=/&encoding-type=url&list-type=2",
    ] {
        let list = signed_by_botocore(
            "GET",
            uri,
            "host;x-amz-content-sha256;x-amz-date",
            "403332cf366e64a9756d992bb64050fd9663aeac8a6c91b97ee481c8ac530031",
            &[("x-amz-content-sha256", EMPTY_SHA256)],
        );
        assert!(verify(&list).is_ok(), "{uri}");
    }
}

#[test]
fn parameters_of_a_presigned_put_count_as_headers() {
    let uri = "/bucket/key?x-amz-acl=public-read&x-amz-meta-Who=me&X-Amz-Algorithm=AWS4-HMAC-SHA256\
        &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
        &X-Amz-Date=20130524T000000Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host%3Bx-amz-storage-class\
        &X-Amz-Signature=2a1338c79f885b244a837956b6fefb561e6ab1645ad07761c5bdbe80363d6cdd";
    let host = ("host", "localhost:3900");
    let class = ("x-amz-storage-class", "STANDARD_IA");
    let verified = verify(&request("PUT", uri, &[host, class])).unwrap();
    assert_eq!(verified.hoisted.len(), 2);
    assert_eq!(verified.hoisted["x-amz-acl"], "public-read");
    assert_eq!(verified.hoisted["x-amz-meta-who"], "me");
    // A header that was signed cannot be left out, one that was not cannot be added.
    assert_eq!(
        refusal(&request("PUT", uri, &[host])),
        S3Code::SignatureDoesNotMatch
    );
    let added = [host, class, ("x-amz-acl", "private")];
    assert_eq!(refusal(&request("PUT", uri, &added)), S3Code::AccessDenied);
    let both = uri.replace("&x-amz-meta-Who=me", "&x-amz-meta-Who=me&x-amz-acl=private");
    assert_eq!(
        refusal(&request("PUT", &both, &[host, class])),
        S3Code::SignatureDoesNotMatch
    );
}

/// A GET signed by ourselves, of a path and with a date of the caller's choice.
fn signed_here(path: &str, spelling: Spelling, date: (&str, &str)) -> Parts {
    let signed = format!("{};host;x-amz-content-sha256;x-amz-meta-note", date.0);
    let note = ("x-amz-meta-note", "two  spaces");
    let headers = [VIRTUAL_HOST, date, note, ("x-amz-content-sha256", EMPTY_SHA256)];
    let mut parts = request("GET", path, &headers);
    let unsigned = authorization(&signed, "");
    let claim = sigv4::claim(&unsigned, &parts.headers).unwrap();
    let canonical = canonical_request(&parts, &Query::default(), &claim, spelling);
    let key = derive(&access_key().secret, &claim.credential);
    let signature = String::from_utf8(sign(&key, &string_to_sign(&claim, &canonical)).to_vec()).unwrap();
    parts.headers.insert(
        "authorization",
        authorization(&signed, &signature).parse().unwrap(),
    );
    parts
}

#[test]
fn a_request_verifies_as_aws_spells_it_and_as_it_was_sent() {
    let date = ("x-amz-date", SIGNED_AT);
    for spelling in [Spelling::Canonical, Spelling::AsSent] {
        for path in ["/a%2Fb", "/(a)", "/%7ea", "/"] {
            assert!(
                verify(&signed_here(path, spelling, date)).is_ok(),
                "{path} {spelling:?}"
            );
        }
    }
}

#[test]
fn a_request_may_be_dated_by_its_date_header() {
    for date in ["Fri, 24 May 2013 00:00:00 GMT", SIGNED_AT] {
        let request = signed_here("/", Spelling::Canonical, ("date", date));
        assert!(verify(&request).is_ok(), "{date}");
    }
}

#[test]
fn a_remembered_signing_key_verifies_the_next_request() {
    let authenticator = Authenticator::new();
    let request = with_headers("GET", "/test.txt", &get_with_range());
    let now = Timestamp::from_millis(time::parse_basic(SIGNED_AT).unwrap() * 1000);
    for _ in 0..2 {
        let verified = authenticator.verify(&request, &Query::default(), now, |_| Some(access_key()));
        assert!(is_known(&verified.unwrap()));
    }
}
