//! Every way in which a request can be refused, and that nothing makes the verifier panic.

use proptest::prelude::*;

use super::*;
use crate::auth::{Authorization, Credential, Presigned};

/// The published GET with one header changed, added (`+name`) or removed (empty value).
fn altered(name: &str, value: &str) -> Parts {
    let mut headers = get_with_range();
    match (name.strip_prefix('+'), value) {
        (Some(name), value) => {
            let name: &'static str = name.to_owned().leak();
            headers.push((name, value.to_owned()));
        }
        (None, "") => headers.retain(|(known, _)| *known != name),
        (None, value) => headers
            .iter_mut()
            .filter(|(known, _)| *known == name)
            .for_each(|header| {
                value.clone_into(&mut header.1);
            }),
    }
    with_headers("GET", "/test.txt", &headers)
}

#[test]
fn a_request_that_was_changed_on_the_way_is_refused() {
    let headers = get_with_range();
    assert_eq!(
        refusal(&with_headers("HEAD", "/test.txt", &headers)),
        S3Code::SignatureDoesNotMatch
    );
    assert_eq!(
        refusal(&with_headers("GET", "/test.txt?acl", &headers)),
        S3Code::SignatureDoesNotMatch
    );
    assert_eq!(
        refusal(&with_headers("GET", "/Test.txt", &headers)),
        S3Code::SignatureDoesNotMatch
    );
    assert_eq!(
        refusal(&altered("range", "bytes=0-10")),
        S3Code::SignatureDoesNotMatch
    );
    assert_eq!(refusal(&altered("range", "")), S3Code::SignatureDoesNotMatch);
    assert_eq!(
        refusal(&altered("host", "examplebucket.s3.amazonaws.com:8080")),
        S3Code::SignatureDoesNotMatch
    );
    let other = EMPTY_SHA256.replace('e', "f");
    assert_eq!(
        refusal(&altered("x-amz-content-sha256", &other)),
        S3Code::SignatureDoesNotMatch
    );
}

#[test]
fn a_failed_signature_says_what_was_signed_and_where_to_look() {
    let error = verify(&altered("range", "bytes=0-10")).unwrap_err();
    assert!(error.message().contains("proxy"), "{error}");
    let field = |name| {
        error
            .fields()
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(field("AWSAccessKeyId"), Some(KEY_ID));
    assert!(
        field("CanonicalRequest")
            .unwrap()
            .contains("\nrange:bytes=0-10\n")
    );
    assert!(
        field("StringToSign")
            .unwrap()
            .starts_with("AWS4-HMAC-SHA256\n20130524T000000Z\n")
    );
}

#[test]
fn an_unsigned_amz_header_or_host_is_refused() {
    let error = verify(&altered("+x-amz-meta-evil", "1")).unwrap_err();
    assert_eq!(error.code(), S3Code::AccessDenied);
    assert_eq!(
        error.fields(),
        [("HeadersNotSigned", "x-amz-meta-evil".to_owned())]
    );
    let no_host = authorization("range;x-amz-content-sha256;x-amz-date", &"0".repeat(64));
    assert_eq!(refusal(&altered("authorization", &no_host)), S3Code::AccessDenied);
    assert!(verify(&altered("+user-agent", "curl")).is_ok());
}

#[test]
fn a_clock_more_than_fifteen_minutes_off_is_refused() {
    let request = with_headers("GET", "/test.txt", &get_with_range());
    for secs in [-900, 900] {
        assert!(verify_after(secs, &request).is_ok(), "{secs}");
    }
    for secs in [-901, 901] {
        let error = verify_after(secs, &request).unwrap_err();
        assert_eq!(error.code(), S3Code::RequestTimeTooSkewed, "{secs}");
    }
}

#[test]
fn an_unknown_key_is_told_from_a_wrong_signature() {
    let unknown = authorization("host", "0").replace(KEY_ID, "AKIAUNKNOWN");
    assert_eq!(
        refusal(&altered("authorization", &unknown)),
        S3Code::InvalidAccessKeyId
    );
    let strange = authorization("host", "0").replace(KEY_ID, "a%b");
    assert_eq!(
        refusal(&altered("authorization", &strange)),
        S3Code::InvalidAccessKeyId
    );
    let signed = "host;range;x-amz-content-sha256;x-amz-date";
    for signature in ["", "0", &"0".repeat(64)] {
        let wrong = authorization(signed, signature);
        assert_eq!(
            refusal(&altered("authorization", &wrong)),
            S3Code::SignatureDoesNotMatch,
            "{signature}"
        );
    }
}

#[test]
fn a_malformed_authorization_says_what_is_wrong() {
    let good = authorization("host", &"0".repeat(64));
    for (value, code) in [
        (" ", S3Code::AccessDenied),
        ("Basic YTpi", S3Code::InvalidArgument),
        ("AWS AKID:c2ln", S3Code::NotImplemented),
        ("AWS4-ECDSA-P256-SHA256 Credential=a", S3Code::NotImplemented),
        ("AWS4-HMAC-SHA256", S3Code::AuthorizationHeaderMalformed),
        (
            "AWS4-HMAC-SHA256 Credential",
            S3Code::AuthorizationHeaderMalformed,
        ),
        (
            &format!("{good},Signature=1"),
            S3Code::AuthorizationHeaderMalformed,
        ),
        (&format!("{good},More=1"), S3Code::AuthorizationHeaderMalformed),
        (
            &good.replace("/s3/", "/ec2/"),
            S3Code::AuthorizationHeaderMalformed,
        ),
        (
            &good.replace("/20130524/", "/20130525/"),
            S3Code::AuthorizationHeaderMalformed,
        ),
    ] {
        assert_eq!(refusal(&altered("authorization", value)), code, "{value}");
    }
    assert_eq!(refusal(&altered("x-amz-date", "")), S3Code::AccessDenied);
    assert_eq!(refusal(&altered("x-amz-date", "yesterday")), S3Code::AccessDenied);
    assert_eq!(
        refusal(&altered("x-amz-content-sha256", "")),
        S3Code::InvalidRequest
    );
    assert_eq!(
        refusal(&altered("+x-amz-security-token", "t")),
        S3Code::InvalidToken
    );
}

#[test]
fn a_request_with_two_signatures_is_refused() {
    let again = authorization("host", "0");
    assert_eq!(
        refusal(&altered("+authorization", &again)),
        S3Code::InvalidArgument
    );
    let headers = [VIRTUAL_HOST, ("authorization", &again)];
    assert_eq!(
        refusal(&request("GET", PRESIGNED, &headers)),
        S3Code::InvalidArgument
    );
}

#[test]
fn a_malformed_presigned_url_says_what_is_wrong() {
    let refused = |from: &str, to: &str| {
        let altered = PRESIGNED.replace(from, to);
        assert_ne!(altered, PRESIGNED);
        refusal(&request("GET", &altered, &[VIRTUAL_HOST]))
    };
    let malformed = S3Code::AuthorizationQueryParametersError;
    assert_eq!(refused("Expires=86400", "Expires=604801"), malformed);
    assert_eq!(refused("Expires=86400", "Expires=0"), malformed);
    assert_eq!(refused("Expires=86400", "Expires=-1"), malformed);
    assert_eq!(refused("Expires=86400", "Expires=soon"), malformed);
    assert_eq!(refused("&X-Amz-Expires=86400", ""), malformed);
    assert_eq!(
        refused("X-Amz-Expires=86400", "X-Amz-Expires=86400&X-Amz-Expires=1"),
        malformed
    );
    assert_eq!(refused("Date=20130524", "Date=20130525"), malformed);
    assert_eq!(refused("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), malformed);
    assert_eq!(refused("%2Fs3%2F", "%2Fsts%2F"), malformed);
    assert_eq!(
        refused("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        S3Code::NotImplemented
    );
    assert_eq!(
        refused("Expires=86400", "Expires=86401"),
        S3Code::SignatureDoesNotMatch
    );
    assert_eq!(
        refused("X-Amz-Expires=86400", "X-Amz-Expires=86400&x-id=1"),
        S3Code::SignatureDoesNotMatch
    );
    let version_two = request(
        "GET",
        "/k?AWSAccessKeyId=a&Expires=1&Signature=b",
        &[VIRTUAL_HOST],
    );
    assert_eq!(refusal(&version_two), S3Code::NotImplemented);
}

#[test]
fn a_request_without_a_signature_is_anonymous() {
    let put = |headers: &[(&str, &str)]| verify(&request("PUT", "/public/key", headers));
    let plain = put(&[]).unwrap();
    assert!(matches!(
        (plain.identity, plain.payload),
        (Identity::Anonymous, PayloadRule::Unsigned)
    ));
    let chunked = put(&[
        ("content-encoding", "gzip, aws-chunked"),
        ("x-amz-decoded-content-length", "0"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
    ]);
    assert!(matches!(chunked.unwrap().payload, PayloadRule::Chunked(_)));
    let length = ("x-amz-decoded-content-length", "1");
    let hash = |hash| ("x-amz-content-sha256", hash);
    for (headers, code) in [
        (
            &[hash("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), length][..],
            S3Code::AccessDenied,
        ),
        (
            &[hash("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"), length],
            S3Code::NotImplemented,
        ),
        (
            &[hash("STREAMING-UNSIGNED-PAYLOAD-TRAILER")],
            S3Code::MissingContentLength,
        ),
        (
            &[hash("STREAMING-UNSIGNED-PAYLOAD-TRAILER"), (length.0, "+1")],
            S3Code::InvalidArgument,
        ),
        (&[hash("STREAMING-NOTHING")], S3Code::InvalidArgument),
        (&[hash("abc")], S3Code::InvalidArgument),
        (
            &[("x-amz-trailer", "x-amz-checksum-crc32")],
            S3Code::InvalidRequest,
        ),
    ] {
        assert_eq!(put(headers).unwrap_err().code(), code, "{headers:?}");
    }
}

#[test]
fn a_trailer_announced_in_a_presigned_url_is_not_ignored() {
    let mut parts = request("PUT", PRESIGNED, &[VIRTUAL_HOST]);
    let raw = format!(
        "x-amz-trailer=x-amz-checksum-crc32&{}",
        PRESIGNED.split_once('?').unwrap().1
    );
    let query = Query::parse(Some(&raw)).unwrap();
    let claim = Presigned::parse(&query)
        .unwrap()
        .unwrap()
        .claim(&parts.headers)
        .unwrap();
    let canonical = canonical_request(&parts, &query, &claim, Spelling::Canonical);
    let key = derive(&access_key().secret, &claim.credential);
    let signature = String::from_utf8(sign(&key, &string_to_sign(&claim, &canonical)).to_vec()).unwrap();
    let signed = raw.replace(claim.signature, &signature);
    parts.uri = format!("/test.txt?{signed}").parse().unwrap();
    assert_eq!(refusal(&parts), S3Code::InvalidRequest);
}

proptest! {
    #[test]
    fn arbitrary_requests_never_panic(path in "/[ -~]{0,20}", text: String, name in "[a-z-]{1,12}") {
        if let Ok(uri) = path.parse::<http::Uri>() {
            let mut request = request("GET", "/", &[("host", "h")]);
            request.uri = uri;
            for name in [name.as_str(), "authorization", "x-amz-date", "x-amz-content-sha256"] {
                let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
                if let Ok(value) = http::HeaderValue::from_str(&text) {
                    request.headers.insert(name, value);
                }
            }
            let _ = verify(&request);
        }
        let _ = Authorization::parse(&text);
        let _ = Authorization::parse(&format!("AWS4-HMAC-SHA256 Credential={text}"));
        let _ = Credential::parse(&text);
    }

    #[test]
    fn arbitrary_queries_never_panic(values in prop::collection::vec("[ -~]{0,40}", 7)) {
        let names = ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature", "Meta-A"];
        let pair = |(name, value): (&str, &String)| format!("X-Amz-{name}={value}");
        let raw: Vec<_> = names.into_iter().zip(&values).map(pair).collect();
        for raw in [raw.join("&"), values.join("&")] {
            if let Ok(query) = Query::parse(Some(&raw)) {
                let _ = Presigned::parse(&query);
                let mut request = request("GET", "/", &[VIRTUAL_HOST]);
                request.uri = http::Uri::from_static("/k");
                let lookup = |_: &AccessKeyId| Some(access_key());
                let _ = Authenticator::new().verify(&request, &query, Timestamp::from_millis(0), lookup);
            }
        }
    }
}
