//! What this box signs itself: as AWS's published example has it, and as the verifying side accepts it.

use http::Method;
use proptest::prelude::*;

use super::*;
use crate::auth::{Signer, Unsigned};

fn signed_at() -> Timestamp {
    Timestamp::from_millis(time::parse_basic(SIGNED_AT).unwrap() * 1000)
}

/// A link for a day, as AWS's documentation signs it, to this path and query of its host.
fn link(path: &str, query: &[(&str, &str)]) -> String {
    let key = access_key();
    let request = Unsigned {
        method: Method::GET,
        host: VIRTUAL_HOST.1,
        path,
        query,
    };
    Signer::new(&key, "us-east-1", signed_at())
        .link(&request, 86_400)
        .unwrap()
}

#[test]
fn a_link_is_signed_as_the_published_example() {
    // Source: AWS S3 API reference, "Authenticating Requests: Using Query Parameters".
    let link = link("test.txt", &[]);
    assert!(link.starts_with("/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA"));
    let signature = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    assert!(link.ends_with(&format!("&X-Amz-Signature={signature}")), "{link}");
}

#[test]
fn a_link_holds_for_its_time_and_for_what_it_names() {
    let link = link("test.txt", &[]);
    let held = request("GET", &link, &[VIRTUAL_HOST]);
    assert!(verify_after(86_400, &held).is_ok());
    assert!(verify_after(86_401, &held).is_err());
    for other in [
        request("PUT", &link, &[VIRTUAL_HOST]),
        request("GET", &link.replace("test", "best"), &[VIRTUAL_HOST]),
        request("GET", &link, &[("host", "example.org")]),
    ] {
        assert_eq!(
            verify_after(0, &other).unwrap_err().code(),
            S3Code::SignatureDoesNotMatch
        );
    }
}

proptest! {
    #[test]
    fn whatever_an_object_is_called_what_is_signed_verifies(path in ".{1,40}", version in ".{0,20}") {
        let query = [("versionId", version.as_str())];
        let link = link(&path, &query);
        prop_assert!(verify_after(0, &request("GET", &link, &[VIRTUAL_HOST])).is_ok(), "{link}");
        let key = access_key();
        let unsigned = Unsigned { method: Method::PUT, host: VIRTUAL_HOST.1, path: &path, query: &query };
        let signed = Signer::new(&key, "warren", signed_at()).signed(&unsigned).unwrap();
        let verified = verify_after(0, &signed).unwrap();
        prop_assert!(matches!(verified.payload, PayloadRule::Unsigned));
    }
}
