//! Decodes any aws-chunked body, cut anywhere: whole and of the announced length, or refused.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use s3::auth::{Chunked, ChunkedDecoder};
use storage::model::ChecksumAlgorithm;

fuzz_target!(|input: (u16, bool, u8, &[u8])| {
    let (announced, trailer, piece, body) = input;
    let trailer = trailer.then_some(ChecksumAlgorithm::Crc32);
    let mut decoder = ChunkedDecoder::new(Chunked::new(announced.into(), trailer, None));
    let mut decoded = 0;
    for piece in body.chunks(usize::from(piece) + 1) {
        let mut piece = Bytes::copy_from_slice(piece);
        loop {
            match decoder.decode(&mut piece) {
                Ok(Some(content)) => decoded += content.len() as u64,
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(decoded <= u64::from(announced));
    }
    if decoder.finish().is_ok() {
        assert_eq!(decoded, u64::from(announced));
    }
});
