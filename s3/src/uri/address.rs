//! Which bucket and key a request addresses, by path or by host name.

use http::Uri;
use http::uri::Authority;
use storage::model::{BucketName, InvalidKey, ObjectKey};

use super::percent::decode_path;
use crate::error::{S3Code, S3Error, S3Result};

/// What a request addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// The store: only listing the buckets.
    Service,
    /// A bucket.
    Bucket(BucketName),
    /// An object or an upload of one.
    Object(BucketName, ObjectKey),
}

impl Address {
    /// The bucket it is about, if any.
    pub fn bucket(&self) -> Option<&BucketName> {
        match self {
            Self::Service => None,
            Self::Bucket(bucket) | Self::Object(bucket, _) => Some(bucket),
        }
    }

    /// Reads the bucket from the host name where it is below a root domain, else from the path. The path is
    /// decoded once and never normalised.
    ///
    /// # Errors
    /// `InvalidURI`, `InvalidBucketName`, `KeyTooLongError`.
    pub fn parse(host: Option<&str>, uri: &Uri, roots: &RootDomains) -> S3Result<Self> {
        let path = uri.path();
        let path = path.strip_prefix('/').unwrap_or(path);
        let (bucket, key) = match host.and_then(|host| roots.bucket_of(host)) {
            Some(bucket) => (bucket.to_ascii_lowercase(), path),
            None if path.is_empty() => return Ok(Self::Service),
            None => {
                let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                let bucket = String::from_utf8(decode_path(bucket)?.into_owned());
                (bucket.map_err(|_| S3Error::new(S3Code::InvalidBucketName))?, key)
            }
        };
        let name = BucketName::parse(&bucket).map_err(|broken_rule| {
            S3Error::with_message(
                S3Code::InvalidBucketName,
                format!("The specified bucket is not valid: {broken_rule}."),
            )
            .field("BucketName", bucket)
        })?;
        if key.is_empty() {
            return Ok(Self::Bucket(name));
        }
        Ok(Self::Object(name, parse_key(&decode_path(key)?)?))
    }
}

/// Takes decoded bytes as a key.
///
/// # Errors
/// `KeyTooLongError`, `InvalidURI` for bytes that are not UTF-8, `InvalidArgument` for no bytes.
pub fn parse_key(bytes: &[u8]) -> S3Result<ObjectKey> {
    ObjectKey::parse(bytes).map_err(|why| match why {
        InvalidKey::TooLong(size) => S3Error::new(S3Code::KeyTooLongError)
            .field("Size", size.to_string())
            .field("MaxSizeAllowed", ObjectKey::BYTES_MAX.to_string()),
        InvalidKey::NotUtf8 => {
            S3Error::with_message(S3Code::InvalidURI, "The key is not UTF-8 once percent-decoded.")
        }
        InvalidKey::Empty => S3Error::invalid_argument("Key", "", "A key has at least one byte."),
    })
}

/// Domains below which the first labels of a host name are a bucket, e.g. `s3.example` or `localhost`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootDomains(Vec<String>);

impl RootDomains {
    /// Takes domains without port, in any case, with or without a leading or trailing dot.
    pub fn new(domains: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut domains: Vec<String> = domains
            .into_iter()
            .map(|domain| domain.as_ref().trim_matches('.').to_ascii_lowercase())
            .filter(|domain| !domain.is_empty())
            .collect();
        // The longest match wins, so that `s3.example` and `example` can both be roots.
        domains.sort_by_key(|domain| std::cmp::Reverse(domain.len()));
        Self(domains)
    }

    /// Whether a host is one of the roots or below one.
    pub(super) fn knows(&self, host: &str) -> bool {
        let is_root = |root: &String| host.eq_ignore_ascii_case(root);
        self.0.iter().any(is_root) || self.bucket_of(host).is_some()
    }

    /// The labels in front of the longest matching root; `None` for a root itself, an IP address or a
    /// foreign name, which are addressed by path.
    pub(super) fn bucket_of<'h>(&self, host: &'h str) -> Option<&'h str> {
        let host = host_without_port(host);
        for root in &self.0 {
            let Some(split) = host.len().checked_sub(root.len()) else {
                continue;
            };
            if !host.is_char_boundary(split) || !host[split..].eq_ignore_ascii_case(root) {
                continue;
            }
            let Some(bucket) = host[..split].strip_suffix('.') else {
                if split == 0 {
                    return None;
                }
                continue;
            };
            return (!bucket.is_empty()).then_some(bucket);
        }
        None
    }
}

/// The host of a Host header: port and trailing dot dropped, an IPv6 address kept in its brackets.
pub(super) fn host_without_port(host: &str) -> &str {
    let host = host.trim();
    let name = if host.starts_with('[') {
        host.split_once(']')
            .map_or(host, |(address, _)| &host[..=address.len()])
    } else {
        host.split_once(':').map_or(host, |(name, _)| name)
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// The host a request names: its Host header, or the authority of an absolute target.
pub fn host_of<'r>(header: Option<&'r str>, uri: &'r Uri) -> Option<&'r str> {
    header.or_else(|| uri.authority().map(Authority::as_str))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is addressed, as `bucket` or `bucket:key`.
    fn address(host: &str, target: &str) -> Result<String, S3Code> {
        let roots = RootDomains::new(["S3.example", ".example.", "localhost", ""]);
        let uri: Uri = target.parse().unwrap();
        match Address::parse(Some(host), &uri, &roots).map_err(|error| error.code())? {
            Address::Service => Ok(String::new()),
            Address::Bucket(bucket) => Ok(bucket.to_string()),
            Address::Object(bucket, key) => Ok(format!("{bucket}:{key}")),
        }
    }

    fn check(host: &str, target: &str, expected: &str) {
        assert_eq!(address(host, target).as_deref(), Ok(expected), "{host} {target}");
    }

    #[test]
    fn a_path_names_bucket_and_key() {
        for host in [
            "s3.example",
            "localhost:3900",
            "127.0.0.1:3900",
            "[::1]:3900",
            "[::1]",
            "elsewhere",
            "",
        ] {
            check(host, "/", "");
            check(host, "/photos", "photos");
            check(host, "/photos/", "photos");
            check(host, "/photos/a/b?acl", "photos:a/b");
        }
    }

    #[test]
    fn a_host_below_a_root_domain_names_the_bucket() {
        for host in [
            "photos.s3.example",
            "PHOTOS.S3.EXAMPLE:80",
            "photos.s3.example.",
            "photos.localhost:3900",
        ] {
            check(host, "/", "photos");
            check(host, "/a/b", "photos:a/b");
        }
        check("my.photos.s3.example", "/a", "my.photos:a");
        check("photos.example", "/a", "photos:a");
        check("xs3.example", "/a", "xs3:a");
        check("notlocalhost", "/photos/a", "photos:a");
        assert_eq!(address("_.localhost", "/"), Err(S3Code::InvalidBucketName));
    }

    #[test]
    fn a_key_is_never_normalised() {
        for (target, key) in [
            ("/photos//", "/"),
            ("/photos//a//b/", "/a//b/"),
            ("/photos/a/../b/./c", "a/../b/./c"),
            ("/photos/..", ".."),
            ("/photos/a+b%20c%2Fd%25", "a+b c/d%"),
            ("/photos/%00%0D%C3%A9", "\0\ré"),
        ] {
            check("localhost", target, &format!("photos:{key}"));
        }
        check("photos.localhost", "//a", "photos:/a");
    }

    #[test]
    fn what_cannot_be_addressed_is_refused() {
        for (target, code) in [
            ("/Photos", S3Code::InvalidBucketName),
            ("/ab/k", S3Code::InvalidBucketName),
            ("/%ff/k", S3Code::InvalidBucketName),
            ("//k", S3Code::InvalidBucketName),
            ("/photos/%zz", S3Code::InvalidURI),
            ("/photos/%ff", S3Code::InvalidURI),
            (&format!("/photos/{}", "k".repeat(1025)), S3Code::KeyTooLongError),
        ] {
            assert_eq!(address("localhost", target), Err(code), "{target}");
        }
    }

    proptest! {
        #[test]
        fn any_host_and_path_are_read_without_a_panic(host: String, path in "/[!-~é]{0,20}") {
            let roots = RootDomains::new(["s3.example", "é"]);
            if let Ok(uri) = path.parse::<Uri>() {
                let _ = Address::parse(Some(&host), &uri, &roots);
                let _ = Address::parse(Some("photos.s3.example"), &uri, &roots);
            }
        }

        #[test]
        fn every_key_is_addressed_by_its_encoding(key in "\\PC{1,40}") {
            let mut target = b"/photos/".to_vec();
            crate::uri::encode_path_into(key.as_bytes(), &mut target);
            let target = String::from_utf8(target).unwrap();
            prop_assert_eq!(address("localhost", &target), Ok(format!("photos:{key}")));
        }
    }
}
