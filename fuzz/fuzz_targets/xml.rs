//! Reads any bytes as each of the documents clients send: an error or a document within its limits, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use s3::xml::{CompleteMultipartUpload, Delete, parse_create_bucket, parse_versioning};

fuzz_target!(|body: &[u8]| {
    if let Ok(complete) = CompleteMultipartUpload::parse(body) {
        assert!((1..=10_000).contains(&complete.parts.len()));
    }
    if let Ok(delete) = Delete::parse(body) {
        assert!((1..=1000).contains(&delete.objects.len()));
        assert!(delete.objects.iter().all(|object| !object.key.is_empty()));
    }
    let _ = parse_create_bucket(body);
    let _ = parse_versioning(body);
});
