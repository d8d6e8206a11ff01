//! Decodes any path and query: what is decoded encodes to something that decodes to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use s3::uri::{decode_path, encode_path_into};

fuzz_target!(|raw: &str| {
    if let Ok(decoded) = decode_path(raw) {
        let mut encoded = Vec::new();
        encode_path_into(&decoded, &mut encoded);
        let encoded = String::from_utf8(encoded).expect("percent-encoded text is ASCII");
        assert_eq!(decode_path(&encoded).ok().as_deref(), Some(decoded.as_ref()));
    }
});
