//! The canonical request and the string to sign of SigV4.
//!
//! Source: AWS S3 API reference, "Signature Calculations for the Authorization Header".

use http::HeaderValue;
use http::request::Parts;
use ring::digest::{SHA256, digest};

use super::claim::Claim;
use crate::error::{S3Code, S3Error, S3Result};
use crate::uri::{Query, encode_query_into, hex_pair, host_of, is_unreserved, push_encoded};

/// How path and header values are spelt in the canonical request. Either names the same object and says the
/// same things, so that accepting both gives nothing away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// The path decoded once and encoded as SigV4 says, runs of spaces as one: what AWS computes.
    Canonical,
    /// As the client sent them: what clients compute that encode in their own way, for example `/` as `%2F`,
    /// or keep runs of spaces, as s3cmd does.
    AsSent,
}

/// The canonical request.
pub(super) fn canonical_request(
    request: &Parts,
    query: &Query,
    claim: &Claim<'_>,
    spelling: Spelling,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b'\n');
    match (request.uri.path(), spelling) {
        ("", _) => out.push(b'/'),
        (path, Spelling::Canonical) => push_canonical_path(path, &mut out),
        (path, Spelling::AsSent) => out.extend_from_slice(path.as_bytes()),
    }
    out.push(b'\n');
    push_canonical_query(query, &mut out);
    out.push(b'\n');
    for name in claim.signed_headers.split(';') {
        push_header(request, name, spelling, &mut out);
    }
    out.push(b'\n');
    out.extend_from_slice(claim.signed_headers.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(claim.payload_hash.as_bytes());
    out
}

/// What the signature is the HMAC of.
pub(super) fn string_to_sign(claim: &Claim<'_>, canonical_request: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(192);
    out.extend_from_slice(b"AWS4-HMAC-SHA256\n");
    out.extend_from_slice(claim.timestamp.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(claim.credential.scope.as_bytes());
    out.push(b'\n');
    push_hex(digest(&SHA256, canonical_request).as_ref(), &mut out);
    out
}

/// Appends lower-case hexadecimal digits.
pub(super) fn push_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// Refuses a request whose `host` or whose `x-amz-*` headers are not all signed: an unsigned one could have
/// been added by anybody on the way.
pub(super) fn require_signed(request: &Parts, signed_headers: &str) -> S3Result<()> {
    let signed = |name: &str| signed_headers.split(';').any(|signed| signed == name);
    let mut unsigned = Vec::new();
    if !signed("host") {
        unsigned.push("host");
    }
    for name in request.headers.keys().map(http::HeaderName::as_str) {
        if name.starts_with("x-amz-") && !signed(name) {
            unsigned.push(name);
        }
    }
    if unsigned.is_empty() {
        return Ok(());
    }
    Err(S3Error::with_message(
        S3Code::AccessDenied,
        "There were headers present in the request which were not signed.",
    )
    .field("HeadersNotSigned", unsigned.join(", ")))
}

fn push_canonical_path(path: &str, out: &mut Vec<u8>) {
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        // A percent sign that encodes nothing stands for itself.
        let (byte, after) = match byte {
            b'%' => hex_pair(after).unwrap_or((b'%', after)),
            byte => (*byte, after),
        };
        rest = after;
        if is_unreserved(byte) || byte == b'/' {
            out.push(byte);
        } else {
            push_encoded(byte, out);
        }
    }
}

/// Appends the parameters, encoded and sorted by name and value, without the signature itself.
fn push_canonical_query(query: &Query, out: &mut Vec<u8>) {
    if query.is_empty() {
        return;
    }
    let mut parameters: Vec<_> = query
        .iter()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("X-Amz-Signature"))
        .map(|(name, value)| (encoded(name), encoded(value)))
        .collect();
    parameters.sort_unstable();
    for (index, (name, value)) in parameters.iter().enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value);
    }
}

fn encoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    encode_query_into(text.as_bytes(), &mut out);
    out
}

/// Appends `name:value,value\n`. A header that is signed but not there has no value.
fn push_header(request: &Parts, name: &str, spelling: Spelling, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    let mut values = request
        .headers
        .get_all(name)
        .iter()
        .map(HeaderValue::as_bytes)
        .peekable();
    if name == "host" && values.peek().is_none() {
        push_value(host_of(None, &request.uri).unwrap_or_default().as_bytes(), out);
    }
    while let Some(value) = values.next() {
        match spelling {
            Spelling::Canonical => push_value(value, out),
            Spelling::AsSent => out.extend_from_slice(value.trim_ascii()),
        }
        if values.peek().is_some() {
            out.push(b',');
        }
    }
    out.push(b'\n');
}

/// Appends a value without white space around it and with runs of spaces as one.
fn push_value(value: &[u8], out: &mut Vec<u8>) {
    let mut rest = value.trim_ascii();
    while let Some(run) = rest.windows(2).position(|pair| pair == b"  ") {
        out.extend_from_slice(&rest[..=run]);
        rest = rest[run..].trim_ascii_start();
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::uri::encode_path_into;

    fn canonical_path(path: &str) -> Vec<u8> {
        let mut out = Vec::new();
        push_canonical_path(path, &mut out);
        out
    }

    fn canonical_query(raw: &str) -> String {
        let mut out = Vec::new();
        push_canonical_query(&Query::parse(Some(raw)).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn parameters_are_sorted_by_name_and_then_by_value() {
        assert_eq!(
            canonical_query("b=2&a-b=1&a=2&a=1&acl&a=%2f"),
            "a=%2F&a=1&a=2&a-b=1&acl=&b=2"
        );
        assert_eq!(canonical_query("a=b+c&X-Amz-Signature=0&a=+"), "a=%20&a=b%20c");
    }

    #[test]
    fn values_lose_outer_and_repeated_spaces() {
        for (value, expected) in [
            ("", ""),
            ("  a ", "a"),
            ("a  b   c d", "a b c d"),
            ("a\tb", "a\tb"),
        ] {
            let mut out = Vec::new();
            push_value(value.as_bytes(), &mut out);
            assert_eq!(out, expected.as_bytes(), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn a_path_is_canonical_however_it_was_escaped(bytes: Vec<(u8, bool)>) {
            let (mut sent, mut expected) = (String::from("/"), vec![b'/']);
            for (byte, escape) in bytes {
                if escape || !byte.is_ascii_graphic() || byte == b'%' {
                    sent.push_str(&format!("%{byte:02x}"));
                } else {
                    sent.push(char::from(byte));
                }
                encode_path_into(&[byte], &mut expected);
            }
            prop_assert_eq!(canonical_path(&sent), expected);
        }

        #[test]
        fn a_canonical_path_stays_as_it_is(path: String) {
            let canonical = String::from_utf8(canonical_path(&path)).unwrap();
            // A percent sign that encoded nothing was itself encoded, so that the second pass finds none.
            prop_assert_eq!(canonical_path(&canonical), canonical.as_bytes());
        }

        #[test]
        fn the_order_of_parameters_means_nothing(mut pairs in vec("[a-c]{1,2}=[a-c%+]{0,2}", 0..5)) {
            pairs.retain(|pair| !pair.contains('%'));
            let forwards = canonical_query(&pairs.join("&"));
            pairs.reverse();
            prop_assert_eq!(canonical_query(&pairs.join("&")), forwards);
        }
    }
}
