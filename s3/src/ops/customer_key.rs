//! The keys that customers send along (SSE-C).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use md5::{Digest as _, Md5};
use storage::model::ChecksumAlgorithm;
use storage::{Claims, CustomerKey, ObjectBody};
use zeroize::Zeroizing;

use crate::error::{S3Code, S3Error, S3Result};
use crate::headers::{CUSTOMER_KEY, CustomerHeaders, SOURCE_CUSTOMER_KEY, text};

/// The key that what a request writes, or reads, is sealed with.
///
/// # Errors
/// `InvalidArgument`, `InvalidEncryptionAlgorithmError`.
pub(super) fn customer_key(headers: &HeaderMap) -> S3Result<Option<CustomerKey>> {
    let key = read(headers, &CUSTOMER_KEY)?;
    if key.is_some() && headers.contains_key("x-amz-server-side-encryption") {
        return Err(S3Error::invalid_argument(
            CUSTOMER_KEY.algorithm,
            "AES256",
            "Server Side Encryption with Customer provided key is incompatible with the encryption method specified",
        ));
    }
    Ok(key)
}

/// The key that the source of a copy is sealed with.
///
/// # Errors
/// As [`customer_key`].
pub(super) fn source_customer_key(headers: &HeaderMap) -> S3Result<Option<CustomerKey>> {
    read(headers, &SOURCE_CUSTOMER_KEY)
}

fn read(headers: &HeaderMap, names: &CustomerHeaders) -> S3Result<Option<CustomerKey>> {
    let (algorithm, key, md5) = (
        text(headers, names.algorithm)?,
        text(headers, names.key)?,
        text(headers, names.md5)?,
    );
    if algorithm.is_none() && key.is_none() && md5.is_none() {
        return Ok(None);
    }
    // What is refused is never repeated in the answer: it may be the key.
    let refused = |name, why| Err(S3Error::invalid_argument(name, "", why));
    let Some(algorithm) = algorithm else {
        return refused(
            names.algorithm,
            "Requests specifying Server Side Encryption with Customer provided keys must provide a valid encryption algorithm.",
        );
    };
    if algorithm != "AES256" {
        return Err(S3Error::new(S3Code::InvalidEncryptionAlgorithmError));
    }
    let Some(key) = key else {
        return refused(
            names.key,
            "Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate secret key.",
        );
    };
    let Some(md5) = md5 else {
        return refused(
            names.md5,
            "Requests specifying Server Side Encryption with Customer provided keys must provide the client calculated MD5 of the secret key.",
        );
    };
    let bytes = Zeroizing::new(STANDARD.decode(key).unwrap_or_default());
    let Ok(key) = <[u8; 32]>::try_from(bytes.as_slice()).map(Zeroizing::new) else {
        return refused(
            names.key,
            "The secret key was invalid for the specified algorithm.",
        );
    };
    if STANDARD.encode(Md5::digest(key.as_slice())) != md5 {
        return refused(
            names.md5,
            "The calculated MD5 hash of the key did not match the hash that was provided.",
        );
    }
    Ok(Some(CustomerKey::new(*key)))
}

/// Says that what is stored is sealed with the key of the request, where it has one.
pub(super) fn tell_customer_key(reply: &mut HeaderMap, request: &HeaderMap) {
    let Some(md5) = request.get(CUSTOMER_KEY.md5) else {
        return;
    };
    reply.remove("x-amz-server-side-encryption");
    reply.insert(
        HeaderName::from_static(CUSTOMER_KEY.algorithm),
        HeaderValue::from_static("AES256"),
    );
    reply.insert(HeaderName::from_static(CUSTOMER_KEY.md5), md5.clone());
}

/// A body, and the key its content is to be sealed with.
pub(super) struct SealedWith<B> {
    pub(super) key: Option<CustomerKey>,
    pub(super) body: B,
}

impl<B: ObjectBody> ObjectBody for SealedWith<B> {
    async fn next(&mut self) -> Option<Result<bytes::Bytes, Box<dyn std::error::Error + Send + Sync>>> {
        self.body.next().await
    }

    fn size_hint(&self) -> Option<u64> {
        self.body.size_hint()
    }

    fn checksum_algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.body.checksum_algorithm()
    }

    fn claims_sha256(&self) -> bool {
        self.body.claims_sha256()
    }

    fn claims(&self) -> Claims {
        self.body.claims()
    }

    fn customer_key(&self) -> Option<&CustomerKey> {
        self.key.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALGORITHM: (&str, &str) = ("x-amz-server-side-encryption-customer-algorithm", "AES256");
    const KEY: (&str, &str) = (
        "x-amz-server-side-encryption-customer-key",
        "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    );
    const MD5: (&str, &str) = (
        "x-amz-server-side-encryption-customer-key-md5",
        "hRasmdxgYDKV3nvbahU1MA==",
    );

    fn read(lines: &[(&'static str, &str)]) -> Result<bool, S3Code> {
        let pair =
            |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        let key = customer_key(&lines.iter().map(pair).collect());
        key.map(|key| key.is_some()).map_err(|error| error.code())
    }

    #[test]
    fn a_key_comes_whole_and_with_its_hash_or_not_at_all() {
        assert_eq!(read(&[]), Ok(false));
        assert_eq!(read(&[ALGORITHM, KEY, MD5]), Ok(true));
        let short = (KEY.0, "MDEyMw==");
        for (lines, code) in [
            (&[ALGORITHM, KEY][..], S3Code::InvalidArgument),
            (&[ALGORITHM, MD5], S3Code::InvalidArgument),
            (&[KEY, MD5], S3Code::InvalidArgument),
            (&[ALGORITHM, short, MD5], S3Code::InvalidArgument),
            (
                &[ALGORITHM, KEY, (MD5.0, "AAAAAAAAAAAAAAAAAAAAAA==")],
                S3Code::InvalidArgument,
            ),
            (
                &[(ALGORITHM.0, "AES128"), KEY, MD5],
                S3Code::InvalidEncryptionAlgorithmError,
            ),
            (
                &[ALGORITHM, KEY, MD5, ("x-amz-server-side-encryption", "AES256")],
                S3Code::InvalidArgument,
            ),
        ] {
            assert_eq!(read(lines), Err(code), "{lines:?}");
        }
    }
}
