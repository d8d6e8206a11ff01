//! Reads signatures from any header and any query: an error or a claim, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use s3::auth::{Authorization, Credential, Presigned};
use s3::uri::Query;

fuzz_target!(|text: &str| {
    let _ = Credential::parse(text);
    if let Ok(authorization) = Authorization::parse(text) {
        assert!(text.contains(authorization.signature));
    }
    if let Ok(query) = Query::parse(Some(text)) {
        let _ = Presigned::parse(&query);
    }
});
