//! Which bucket a request asks for as a website, by host name.

use http::{HeaderMap, Method, header};
use storage::model::BucketName;

use super::RootDomains;
use super::address::host_without_port;

/// The bucket whose website a request is for; nothing where it is for the S3 API.
///
/// Below a website domain everything is for a website. A bucket whose name is a whole host name is one there, too, but
/// must not keep S3 clients from a server that happens to be reached by that name: only what a browser sends, and nothing
/// that is signed, is for it.
pub(crate) fn site_of(
    host: &str,
    request: (&Method, Option<&str>, &HeaderMap),
    (websites, buckets): (&RootDomains, &RootDomains),
    is_website: impl FnOnce(&BucketName) -> bool,
) -> Option<BucketName> {
    if let Some(label) = websites.bucket_of(host) {
        return BucketName::parse(&label.to_ascii_lowercase()).ok();
    }
    let (method, query, headers) = request;
    let browses = match *method {
        Method::GET | Method::HEAD => true,
        Method::OPTIONS => headers
            .get(header::ACCESS_CONTROL_REQUEST_METHOD)
            .is_some_and(|asked| asked == "GET" || asked == "HEAD"),
        _ => false,
    };
    let signed = headers.contains_key(header::AUTHORIZATION)
        || query.is_some_and(|query| query.contains("X-Amz-Signature=") || query.contains("Signature="));
    let name = host_without_port(host);
    if !browses || signed || !name.contains('.') || buckets.knows(name) {
        return None;
    }
    BucketName::parse(&name.to_ascii_lowercase())
        .ok()
        .filter(is_website)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// The website that `GET host ?query` is for, where `www.a.example` and `box.example` are buckets and websites.
    fn site(line: &str, headers: &[(header::HeaderName, &'static str)]) -> String {
        let mut words = line.split(' ');
        let method: Method = words.next().unwrap().parse().unwrap();
        let host = words.next().unwrap();
        let query = words.next().and_then(|query| query.strip_prefix('?'));
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        let roots = (
            &RootDomains::new(["web.example"]),
            &RootDomains::new(["s3.example", "box.example"]),
        );
        let is_website = |name: &BucketName| matches!(name.as_str(), "www.a.example" | "box.example");
        site_of(host, (&method, query, &headers.collect()), roots, is_website)
            .map_or(String::new(), |name| name.to_string())
    }

    #[test]
    fn a_host_names_a_website_below_its_domain_or_by_its_whole_name() {
        for (line, expected) in [
            ("GET photos.web.example", "photos"),
            ("PUT Photos.web.example:3900", "photos"),
            ("GET www.a.example:80", "www.a.example"),
            ("HEAD WWW.A.EXAMPLE", "www.a.example"),
            ("GET photos.s3.example", ""),
            ("GET web.example", ""),
            ("GET other.example", ""),
            ("GET 127.0.0.1:3900", ""),
            ("GET [::1]:3900", ""),
        ] {
            assert_eq!(site(line, &[]), expected, "{line}");
        }
    }

    #[test]
    fn a_bucket_never_takes_a_host_from_the_clients_of_a_server() {
        for line in [
            "PUT www.a.example",
            "GET www.a.example ?X-Amz-Algorithm=x&X-Amz-Signature=y",
            "OPTIONS www.a.example",
            "GET box.example",
        ] {
            assert_eq!(site(line, &[]), "", "{line}");
        }
        assert_eq!(
            site(
                "GET www.a.example",
                &[(header::AUTHORIZATION, "AWS4-HMAC-SHA256")]
            ),
            ""
        );
        let asks = |method| {
            site(
                "OPTIONS www.a.example",
                &[(header::ACCESS_CONTROL_REQUEST_METHOD, method)],
            )
        };
        assert_eq!(
            (asks("GET").as_str(), asks("PUT").as_str()),
            ("www.a.example", "")
        );
    }
}
