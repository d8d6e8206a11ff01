//! Promises about aws-chunked bodies, however their bytes arrive.

use proptest::collection::vec;
use proptest::prelude::*;
use ring::digest::{SHA256, digest};
use ring::hmac;

use super::*;
use crate::auth::canonical::push_hex;

const TIMESTAMP: &str = "20130524T000000Z";
const SCOPE: &str = "20130524/us-east-1/s3/aws4_request";
const SEED: [u8; 64] = [b'5'; 64];
const CRC32: ChecksumAlgorithm = ChecksumAlgorithm::Crc32;

/// Which of the four forms of S3 a body has.
#[derive(Clone, Copy, Debug)]
struct Form {
    signed: bool,
    trailer: bool,
}

const FORMS: [Form; 4] = [
    Form {
        signed: false,
        trailer: false,
    },
    Form {
        signed: false,
        trailer: true,
    },
    Form {
        signed: true,
        trailer: false,
    },
    Form {
        signed: true,
        trailer: true,
    },
];

fn decoder(form: Form, length: usize) -> ChunkedDecoder {
    let signing = form
        .signed
        .then(|| ChunkSigning::new(b"secret", TIMESTAMP, SCOPE, SEED));
    ChunkedDecoder::new(Chunked::new(
        length as u64,
        form.trailer.then_some(CRC32),
        signing,
    ))
}

/// Signs as a client does, one text after the other.
struct Signer {
    previous: String,
}

impl Signer {
    fn new() -> Self {
        Self {
            previous: String::from_utf8(SEED.to_vec()).unwrap(),
        }
    }

    fn sign(&mut self, what: &str, hashes: &[&[u8]]) -> &str {
        let mut text =
            format!("AWS4-HMAC-SHA256-{what}\n{TIMESTAMP}\n{SCOPE}\n{}", self.previous).into_bytes();
        for hashed in hashes {
            text.push(b'\n');
            push_hex(digest(&SHA256, hashed).as_ref(), &mut text);
        }
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"secret"), &text);
        self.previous = hex::encode(tag);
        &self.previous
    }
}

/// The body a client sends for these chunks.
fn encode(form: Form, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut signer = Signer::new();
    let mut body = Vec::new();
    for chunk in chunks
        .iter()
        .map(Vec::as_slice)
        .filter(|chunk| !chunk.is_empty())
        .chain([&b""[..]])
    {
        body.extend_from_slice(format!("{:x}", chunk.len()).as_bytes());
        if form.signed {
            let signature = signer.sign("PAYLOAD", &[b"", chunk]);
            body.extend_from_slice(format!(";chunk-signature={signature}").as_bytes());
        }
        body.extend_from_slice(b"\r\n");
        body.extend_from_slice(chunk);
        if !chunk.is_empty() {
            body.extend_from_slice(b"\r\n");
        }
    }
    if form.trailer {
        body.extend_from_slice(b"x-amz-checksum-crc32:AAAAAA==\r\n");
    }
    if form.trailer && form.signed {
        let signature = signer.sign("TRAILER", &[b"x-amz-checksum-crc32:AAAAAA==\n"]);
        body.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
    }
    body.extend_from_slice(b"\r\n");
    body
}

/// Decodes a body that arrives in these pieces: its content, and whether a checksum came with it.
fn decode<'p>(
    mut decoder: ChunkedDecoder,
    pieces: impl IntoIterator<Item = &'p [u8]>,
) -> Result<(Vec<u8>, bool), S3Code> {
    let mut content = Vec::new();
    for piece in pieces {
        let mut input = Bytes::copy_from_slice(piece);
        while let Some(decoded) = decoder.decode(&mut input).map_err(|error| error.code())? {
            assert!(!decoded.is_empty());
            content.extend_from_slice(&decoded);
        }
        assert!(input.is_empty());
    }
    let checksum = decoder.finish().map_err(|error| error.code())?;
    Ok((content, checksum.is_some()))
}

fn unsigned(length: usize, trailer: bool, body: &[u8]) -> Result<(Vec<u8>, bool), S3Code> {
    decode(
        decoder(
            Form {
                signed: false,
                trailer,
            },
            length,
        ),
        [body],
    )
}

#[test]
fn content_is_handed_out_without_copying_it() {
    let body = Bytes::from(encode(FORMS[2], &[vec![7; 100_000]]));
    let mut input = body.clone();
    let mut decoder = decoder(FORMS[2], 100_000);
    let piece = decoder.decode(&mut input).unwrap().unwrap();
    assert_eq!(piece.len(), 100_000);
    assert!(body.as_ptr_range().contains(&piece.as_ptr()));
}

#[test]
fn lines_may_end_bare_and_the_last_blank_line_may_be_missing() {
    let crc = "x-amz-checksum-crc32:AAAAAA==";
    for body in [
        format!("3\r\nabc\r\n0\r\n{crc}\r\n\r\n"),
        format!("3\nabc\n0\n{crc}\n\n"),
        format!("3\r\nabc\r\n0\r\n{crc}\n\r\n"),
        format!("3\r\nabc\r\n0\r\n{crc}"),
        "003;ext=1\r\nabc\r\n000\r\n\r\nX-Amz-Checksum-CRC32 : AAAAAA==\r\n".into(),
    ] {
        assert_eq!(
            unsigned(3, true, body.as_bytes()),
            Ok((b"abc".to_vec(), true)),
            "{body:?}"
        );
    }
    assert_eq!(
        unsigned(3, false, b"3\r\nabc\r\n0\r\n"),
        Ok((b"abc".to_vec(), false))
    );
    assert_eq!(unsigned(0, false, b"0\r\n\r\n"), Ok((vec![], false)));
}

#[test]
fn a_body_of_another_length_than_announced_is_incomplete() {
    for body in [
        &b""[..],
        b"3\r\nab",
        b"3\r\nabc",
        b"3\r\nabc\r\n",
        b"3\r\nabc\r\n0",
        b"2\r\nab\r\n0\r\n\r\n",
        b"4\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\nabc",
        b"0\r\n\r\n",
    ] {
        assert_eq!(unsigned(3, false, body), Err(S3Code::IncompleteBody), "{body:?}");
    }
}

#[test]
fn a_malformed_chunk_is_refused() {
    for body in [
        &b"x\r\n"[..],
        b"\r\n3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"-3\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"10000000000000000\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"\xff\r\n",
        &[b'0'; 300],
    ] {
        assert_eq!(unsigned(3, false, body), Err(S3Code::InvalidRequest), "{body:?}");
    }
    let unsigned_chunk = [&b"3\r\nabc\r\n0\r\n\r\n"[..]];
    assert_eq!(
        decode(decoder(FORMS[2], 3), unsigned_chunk),
        Err(S3Code::InvalidRequest)
    );
}

#[test]
fn only_the_announced_trailer_is_taken_and_it_must_come() {
    let crc = "x-amz-checksum-crc32:AAAAAA==\r\n";
    for (trailer, lines) in [
        (true, String::new()),
        (true, format!("{crc}{crc}")),
        (true, format!("{crc}x-amz-meta-a:1\r\n")),
        (true, "x-amz-checksum-sha1:AAAAAA==\r\n".into()),
        (true, "no colon\r\n".into()),
        (true, "\r\n".repeat(9)),
        (false, crc.into()),
        (false, "3\r\nabc\r\n".into()),
    ] {
        let body = format!("0\r\n{lines}\r\n");
        assert_eq!(
            unsigned(0, trailer, body.as_bytes()),
            Err(S3Code::MalformedTrailerError),
            "{lines:?}"
        );
    }
    let short = b"0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n";
    assert_eq!(unsigned(0, true, short), Err(S3Code::InvalidRequest));
}

#[test]
fn a_signed_trailer_without_its_signature_is_refused() {
    let body = encode(FORMS[3], &[b"abc".to_vec()]);
    let end = body.windows(8).rposition(|window| window == b"x-amz-tr").unwrap();
    let unsigned = [&body[..end], b"\r\n"].concat();
    assert_eq!(
        decode(decoder(FORMS[3], 3), [&unsigned[..]]),
        Err(S3Code::MalformedTrailerError)
    );
    let other = String::from_utf8(body).unwrap().replace("AAAAAA==", "AAAAAQ==");
    assert_eq!(
        decode(decoder(FORMS[3], 3), [other.as_bytes()]),
        Err(S3Code::SignatureDoesNotMatch)
    );
}

#[test]
fn a_broken_body_stays_broken() {
    let mut decoder = decoder(FORMS[0], 3);
    assert!(decoder.decode(&mut Bytes::from_static(b"x\r\n")).is_err());
    assert!(
        decoder
            .decode(&mut Bytes::from_static(b"3\r\nabc\r\n0\r\n\r\n"))
            .is_err()
    );
    assert!(decoder.finish().is_err());
}

#[test]
fn a_body_split_anywhere_decodes_alike() {
    let chunks = [b"hello".to_vec(), b"\r\n0\r\n".to_vec(), vec![0; 20]];
    for form in FORMS {
        let body = encode(form, &chunks);
        let expected = Ok((chunks.concat(), form.trailer));
        for first in 0..=body.len() {
            for second in [first, first + 1, first + 7] {
                let second = second.min(body.len());
                let pieces = [&body[..first], &body[first..second], &body[second..]];
                assert_eq!(
                    decode(decoder(form, 30), pieces),
                    expected,
                    "{form:?} {first} {second}"
                );
            }
        }
        assert_eq!(decode(decoder(form, 30), body.chunks(1)), expected, "{form:?}");
    }
}

#[test]
fn a_body_cut_anywhere_before_its_last_line_is_refused() {
    for form in FORMS {
        let body = encode(form, &[b"hello".to_vec()]);
        let whole = body.len() - if form.trailer { 4 } else { 2 };
        for end in 0..whole {
            let cut = decode(decoder(form, 5), [&body[..end]]);
            // The end of the final chunk's line is not content.
            let only_line_end = !form.trailer && end >= whole - 1;
            assert!(cut.is_err() || only_line_end, "{form:?} {end}");
        }
    }
}

proptest! {
    #[test]
    fn any_chunks_in_any_pieces_decode_to_their_content(
        chunks in vec(vec(any::<u8>(), 0..200), 0..6),
        sizes in vec(1..50_usize, 1..100),
        form in 0..4_usize,
    ) {
        let form = FORMS[form];
        let body = encode(form, &chunks);
        let mut rest = &body[..];
        let mut pieces = Vec::new();
        for size in sizes {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        let content = chunks.concat();
        prop_assert_eq!(decode(decoder(form, content.len()), pieces), Ok((content, form.trailer)));
    }

    #[test]
    fn a_changed_byte_of_a_signed_body_never_passes(
        chunks in vec(vec(any::<u8>(), 1..50), 1..4),
        at: prop::sample::Index,
        flip in 1..=255_u8,
    ) {
        let mut body = encode(FORMS[3], &chunks);
        let content = chunks.concat();
        // The last blank line means nothing.
        let at = at.index(body.len() - 4);
        body[at] ^= flip;
        if let Ok((decoded, _)) = decode(decoder(FORMS[3], content.len()), [&body[..]]) {
            // White space and the case of hexadecimal digits and names are all that may differ.
            prop_assert_eq!(decoded, content);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(body: Vec<u8>, length in 0..100_usize, form in 0..4_usize) {
        let _ = decode(decoder(FORMS[form], length), [&body[..]]);
        let with_header = [b"5\r\n", &body[..]].concat();
        let _ = decode(decoder(FORMS[form], length), with_header.chunks(3));
    }
}
