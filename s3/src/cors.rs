//! Decides which pages of other origins may use a bucket from a browser, as the bucket's rules say.
//!
//! Source: the Fetch standard, "HTTP CORS protocol", and the AWS S3 user guide, "Using cross-origin resource sharing".

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method};
use storage::model::{CorsMethod, CorsRule};

use crate::error::{S3Code, S3Error, S3Result};

/// What answers differ by where a bucket has rules: no cache may show one origin what another was told.
const DIFFERS_BY: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

/// What the answer to a request, or its refusal, says to the browser. Without rules it says nothing.
pub(crate) fn shared(rules: &[CorsRule], method: &Method, asked: &HeaderMap) -> Option<HeaderMap> {
    if rules.is_empty() {
        return None;
    }
    let mut told = HeaderMap::new();
    told.insert(VARY, HeaderValue::from_static(DIFFERS_BY));
    if let Some(origin) = asked.get(ORIGIN)
        && method != Method::OPTIONS
        // As at AWS: a client may ask about another method than it uses.
        && let method = text(asked, ACCESS_CONTROL_REQUEST_METHOD).unwrap_or(method.as_str())
        && let Some(granted) = Granted::find(rules, origin, method, &[])
    {
        granted.tell(origin, &mut told);
    }
    Some(told)
}

/// What a browser is told that asks whether a page may send a request. A bucket without rules allows none.
///
/// # Errors
/// `AccessForbidden`: no rule allows it. `BadRequest`: it does not say what it wants.
pub(crate) fn preflight(rules: &[CorsRule], asked: &HeaderMap) -> S3Result<HeaderMap> {
    let insufficient = |why: &'static str| S3Error::with_message(S3Code::BadRequest, why);
    let origin = asked
        .get(ORIGIN)
        .ok_or_else(|| insufficient("Insufficient information. Origin request header needed."))?;
    let method = text(asked, ACCESS_CONTROL_REQUEST_METHOD)
        .ok_or_else(|| insufficient("Insufficient information. Access-Control-Request-Method needed."))?;
    if rules.is_empty() {
        return Err(S3Error::with_message(
            S3Code::AccessForbidden,
            "CORSResponse: CORS is not enabled for this bucket.",
        ));
    }
    let wanted = text(asked, ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
    let wanted: Vec<String> = wanted
        .split(',')
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect();
    let granted = Granted::find(rules, origin, method, &wanted).ok_or_else(not_allowed)?;
    let mut told = HeaderMap::new();
    told.insert(VARY, HeaderValue::from_static(DIFFERS_BY));
    granted.tell(origin, &mut told);
    insert_list(&mut told, ACCESS_CONTROL_ALLOW_HEADERS, &wanted);
    if let Some(seconds) = granted.rule.max_age_secs {
        told.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(seconds));
    }
    Ok(told)
}

fn not_allowed() -> S3Error {
    S3Error::with_message(
        S3Code::AccessForbidden,
        "CORSResponse: This CORS request is not allowed. This is usually because the evaluation of Origin, request \
         method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the \
         resource's CORS spec.",
    )
}

/// The rule that allows a request, and which origins it does so for.
struct Granted<'r> {
    rule: &'r CorsRule,
    pattern: &'r str,
}

impl<'r> Granted<'r> {
    /// The first rule that allows this origin, method and all these (lower-case) headers.
    fn find(rules: &'r [CorsRule], origin: &HeaderValue, method: &str, wanted: &[String]) -> Option<Self> {
        let origin = origin.to_str().ok()?;
        let method = CorsMethod::from_name(method)?;
        rules.iter().find_map(|rule| {
            let allows = |header: &String| {
                rule.headers
                    .iter()
                    .any(|pattern| fits(&pattern.to_ascii_lowercase(), header))
            };
            let pattern = rule.origins.iter().find(|pattern| fits(pattern, origin))?;
            (rule.methods.contains(&method) && wanted.iter().all(allows)).then_some(Self { rule, pattern })
        })
    }

    fn tell(&self, origin: &HeaderValue, told: &mut HeaderMap) {
        if self.pattern == "*" {
            told.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        } else {
            told.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        if names_a_site(self.pattern) {
            told.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        let methods: Vec<&str> = self.rule.methods.iter().map(|method| method.name()).collect();
        insert_list(told, ACCESS_CONTROL_ALLOW_METHODS, &methods);
        insert_list(told, ACCESS_CONTROL_EXPOSE_HEADERS, &self.rule.exposed);
    }
}

/// Whether a pattern names one site, or those below one domain. Only such pages may send what the browser knows of its
/// user: `*`, `https://*` and `*example.com` fit pages of strangers, and `null` is what any sandboxed page is.
fn names_a_site(pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern != "null",
        Some((_, after)) => after.starts_with('.'),
    }
}

/// Whether a text fits a pattern with at most one `*`, which stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => {
            text.len() >= before.len() + after.len() && text.starts_with(before) && text.ends_with(after)
        }
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn insert_list(headers: &mut HeaderMap, name: HeaderName, values: &[impl AsRef<str>]) {
    let list: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
    if !list.is_empty()
        && let Ok(value) = HeaderValue::try_from(list.join(", "))
    {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(origins: &[&str], methods: &[CorsMethod], headers: &[&str]) -> CorsRule {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        CorsRule {
            id: None,
            origins: owned(origins),
            methods: methods.to_vec(),
            headers: owned(headers),
            exposed: vec!["ETag".into(), "x-amz-version-id".into()],
            max_age_secs: Some(3000),
        }
    }

    fn asked(lines: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        };
        lines.iter().map(pair).collect()
    }

    /// The origin and whether credentials are allowed, as a page of `origin` is told that GETs something.
    fn told(pattern: &str, origin: &str) -> Option<(String, bool)> {
        let rules = [rule(&[pattern], &[CorsMethod::Get], &[])];
        let told = shared(&rules, &Method::GET, &asked(&[("origin", origin)])).unwrap();
        assert_eq!(told[VARY], DIFFERS_BY);
        let credentials = told.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS);
        let origin = told.get(ACCESS_CONTROL_ALLOW_ORIGIN)?.to_str().unwrap();
        Some((origin.to_owned(), credentials))
    }

    #[test]
    fn only_sites_that_a_rule_names_may_send_credentials() {
        for (pattern, origin, expected) in [
            ("*", "https://a.example", Some(("*", false))),
            (
                "https://a.example",
                "https://a.example",
                Some(("https://a.example", true)),
            ),
            ("https://a.example", "https://a.example:8443", None),
            ("https://a.example", "http://a.example", None),
            (
                "https://*.a.example",
                "https://b.a.example",
                Some(("https://b.a.example", true)),
            ),
            ("https://*.a.example", "https://a.example", None),
            (
                "https://*",
                "https://evil.example",
                Some(("https://evil.example", false)),
            ),
            (
                "*a.example",
                "https://evila.example",
                Some(("https://evila.example", false)),
            ),
            ("null", "null", Some(("null", false))),
            ("aa*aa", "aaa", None),
        ] {
            let expected = expected.map(|(origin, credentials)| (origin.to_owned(), credentials));
            assert_eq!(told(pattern, origin), expected, "{pattern} {origin}");
        }
    }

    #[test]
    fn a_bucket_without_rules_says_nothing_and_one_with_rules_always_varies() {
        let rules = [rule(&["https://a.example"], &[CorsMethod::Get], &[])];
        assert_eq!(
            shared(&[], &Method::GET, &asked(&[("origin", "https://a.example")])),
            None
        );
        for (method, lines) in [
            (Method::GET, &[][..]),
            (Method::PUT, &[("origin", "https://a.example")]),
            (Method::OPTIONS, &[("origin", "https://a.example")]),
        ] {
            let told = shared(&rules, &method, &asked(lines)).unwrap();
            assert_eq!(told.len(), 1, "{method}");
            assert!(told.contains_key(VARY));
        }
    }

    #[test]
    fn a_preflight_needs_one_rule_for_origin_method_and_every_header() {
        let rules = [
            rule(
                &["https://a.example"],
                &[CorsMethod::Put],
                &["x-amz-*", "Content-Type"],
            ),
            rule(&["*"], &[CorsMethod::Get], &[]),
        ];
        let outcome = |origin, method, headers| {
            let mut lines = vec![("origin", origin), ("access-control-request-method", method)];
            lines.extend((!str::is_empty(headers)).then_some(("access-control-request-headers", headers)));
            preflight(&rules, &asked(&lines)).map_err(|error| error.code())
        };
        let told = outcome("https://a.example", "PUT", "X-Amz-Date,content-type").unwrap();
        assert_eq!(told[ACCESS_CONTROL_ALLOW_HEADERS], "x-amz-date, content-type");
        assert_eq!(told[ACCESS_CONTROL_ALLOW_METHODS], "PUT");
        assert_eq!(told[ACCESS_CONTROL_EXPOSE_HEADERS], "ETag, x-amz-version-id");
        assert_eq!(told[ACCESS_CONTROL_MAX_AGE], "3000");
        assert_eq!(told[VARY], DIFFERS_BY);
        let any = outcome("https://b.example", "GET", "").unwrap();
        assert_eq!(any[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!any.contains_key(ACCESS_CONTROL_ALLOW_HEADERS));
        for (origin, method, headers) in [
            ("https://b.example", "PUT", ""),
            ("https://a.example", "DELETE", ""),
            ("https://a.example", "put", ""),
            ("https://a.example", "PUT", "x-amz-date, authorization"),
            ("https://b.example", "GET", "x-amz-date"),
        ] {
            assert_eq!(
                outcome(origin, method, headers).err(),
                Some(S3Code::AccessForbidden),
                "{origin} {method} {headers}"
            );
        }
        for lines in [
            &[("origin", "https://a.example")][..],
            &[("access-control-request-method", "GET")],
        ] {
            assert_eq!(
                preflight(&rules, &asked(lines)).unwrap_err().code(),
                S3Code::BadRequest
            );
        }
        let asked = asked(&[("origin", "a"), ("access-control-request-method", "GET")]);
        assert_eq!(
            preflight(&[], &asked).unwrap_err().code(),
            S3Code::AccessForbidden
        );
    }
}
