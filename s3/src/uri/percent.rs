//! Percent-decodes once, and encodes as S3 and SigV4 do.

use std::borrow::Cow;

use crate::error::{S3Code, S3Error, S3Result};

const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// True for a byte that stands for itself in a canonical path or query (RFC 3986 "unreserved").
pub(crate) const fn is_unreserved(byte: u8) -> bool {
    // Without branches, so that a whole text can be looked at many bytes at a time.
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let digit = byte.wrapping_sub(b'0') < 10;
    letter | digit | (byte == b'-') | (byte == b'.') | (byte == b'_') | (byte == b'~')
}

/// Decodes a piece of a path once. `+` is a plus.
///
/// # Errors
/// `InvalidURI` for a `%` without two hexadecimal digits.
pub fn decode_path(raw: &str) -> S3Result<Cow<'_, [u8]>> {
    decode(raw, b'+')
}

/// Decodes a name or value of a query once. `+` is a space.
pub(super) fn decode_query(raw: &str) -> S3Result<Cow<'_, [u8]>> {
    decode(raw, b' ')
}

fn decode(raw: &str, plus: u8) -> S3Result<Cow<'_, [u8]>> {
    let bytes = raw.as_bytes();
    let Some(first) = bytes
        .iter()
        .position(|b| *b == b'%' || (*b == b'+' && plus != b'+'))
    else {
        return Ok(Cow::Borrowed(bytes));
    };
    let mut out = Vec::with_capacity(bytes.len());
    out.extend_from_slice(&bytes[..first]);
    let mut rest = &bytes[first..];
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let (decoded, after) = hex_pair(rest).ok_or(S3Error::new(S3Code::InvalidURI))?;
                out.push(decoded);
                rest = after;
            }
            b'+' => out.push(plus),
            _ => out.push(*byte),
        }
    }
    Ok(Cow::Owned(out))
}

/// The byte two hexadecimal digits in front of `bytes` name, and what follows them.
pub(crate) fn hex_pair(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (pair, rest) = bytes.split_first_chunk::<2>()?;
    Some((hex_digit(pair[0])? << 4 | hex_digit(pair[1])?, rest))
}

const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Appends bytes percent-encoded but for unreserved ones and `/`: a key in a listing or a canonical path.
pub fn encode_path_into(bytes: &[u8], out: &mut Vec<u8>) {
    encode(bytes, true, out);
}

/// Appends bytes percent-encoded but for unreserved ones: a name or value of a canonical query.
pub fn encode_query_into(bytes: &[u8], out: &mut Vec<u8>) {
    encode(bytes, false, out);
}

fn encode(bytes: &[u8], keep_slash: bool, out: &mut Vec<u8>) {
    let stays = |byte: u8| is_unreserved(byte) | (keep_slash & (byte == b'/'));
    if bytes.iter().fold(true, |all, byte| all & stays(*byte)) {
        out.extend_from_slice(bytes);
        return;
    }
    let mut copied = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if stays(*byte) {
            continue;
        }
        out.extend_from_slice(&bytes[copied..at]);
        push_encoded(*byte, out);
        copied = at + 1;
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// Appends one byte as `%XX`.
pub(crate) fn push_encoded(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[
        b'%',
        HEX_UPPER[usize::from(byte >> 4)],
        HEX_UPPER[usize::from(byte & 15)],
    ]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        encode_path_into(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_plus_is_a_plus_in_a_path_and_a_space_in_a_query() {
        assert_eq!(&*decode_path("a+b%20c%2B").unwrap(), b"a+b c+");
        assert_eq!(&*decode_query("a+b%20c%2B").unwrap(), b"a b c+");
    }

    #[test]
    fn decoding_happens_once() {
        assert_eq!(&*decode_path("%2541%ff").unwrap(), b"%41\xff");
        for bad in ["%", "%4", "%zz", "a%4", "%+1"] {
            assert_eq!(decode_path(bad).unwrap_err().code(), S3Code::InvalidURI, "{bad}");
        }
    }

    #[test]
    fn a_listing_encodes_all_but_slashes_and_unreserved_bytes() {
        assert_eq!(path("a b+c/é~._-*'".as_bytes()), "a%20b%2Bc/%C3%A9~._-%2A%27");
        let mut query = Vec::new();
        encode_query_into(b"a/b", &mut query);
        assert_eq!(query, b"a%2Fb");
    }

    proptest! {
        #[test]
        fn any_bytes_survive_encoding(bytes: Vec<u8>) {
            let encoded = path(&bytes);
            prop_assert_eq!(&*decode_path(&encoded).unwrap(), &bytes[..]);
            prop_assert_eq!(&*decode_query(&encoded).unwrap(), &bytes[..]);
        }
    }
}
