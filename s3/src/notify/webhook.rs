//! A receiver of events: a name that buckets use, and the place that the owner of the box gave it.

use http::Uri;
use http::uri::Scheme;

use super::Authorities;

/// Where a bucket's rules name receivers, around the name. As in the ARNs of other stores that call webhooks.
const ARN: (&str, &str) = ("arn:warren:sqs::", ":webhook");

/// Longest name.
const NAME_BYTES_MAX: usize = 64;

/// A receiver that the owner of the box named.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    name: String,
    url: Uri,
    /// Who vouches for it; `None` for whomever browsers trust.
    authorities: Option<Authorities>,
}

/// What is wrong with the text of a receiver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWebhook {
    /// It is not a name, `=` and a URL.
    #[error("a webhook is written NAME=URL")]
    NoName,
    /// The name cannot stand in an ARN.
    #[error("the name of a webhook has 1 to {NAME_BYTES_MAX} letters, digits, `-` and `_`")]
    BadName,
    /// The URL is none, or not of HTTP.
    #[error("the URL of a webhook is http:// or https://, with a host and without a user")]
    BadUrl,
}

impl Webhook {
    /// Reads e.g. `photos=https://hooks.example/warren`.
    ///
    /// # Errors
    /// As [`InvalidWebhook`] says.
    pub fn parse(text: &str) -> Result<Self, InvalidWebhook> {
        let (name, url) = text.split_once('=').ok_or(InvalidWebhook::NoName)?;
        let name = name.trim();
        if !is_name(name) {
            return Err(InvalidWebhook::BadName);
        }
        let url: Uri = url.trim().parse().map_err(|_| InvalidWebhook::BadUrl)?;
        let is_http = matches!(url.scheme_str(), Some("http" | "https"));
        let has_host = url.host().is_some_and(|host| !host.is_empty());
        let has_user = url
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'));
        if !is_http || !has_host || has_user {
            return Err(InvalidWebhook::BadUrl);
        }
        let name = name.to_owned();
        Ok(Self {
            name,
            url,
            authorities: None,
        })
    }

    /// The same, for which nobody but these authorities vouches.
    #[must_use]
    pub fn vouched_for_by(self, authorities: Authorities) -> Self {
        let authorities = Some(authorities);
        Self { authorities, ..self }
    }

    /// The name of the receiver that an ARN names.
    pub fn name_in_arn(arn: &str) -> Option<&str> {
        let name = arn.strip_prefix(ARN.0)?.strip_suffix(ARN.1)?;
        is_name(name).then_some(name)
    }

    /// The ARN of the receiver of this name.
    pub fn arn_of(name: &str) -> String {
        format!("{}{name}{}", ARN.0, ARN.1)
    }

    /// What buckets call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is, as far as everybody may know: the rest of a URL is often a secret.
    pub fn shown(&self) -> String {
        let authority = self.url.authority().map_or("", |authority| authority.as_str());
        format!("{}={}://{authority}/…", self.name, self.scheme())
    }

    pub(super) fn authorities(&self) -> Option<&Authorities> {
        self.authorities.as_ref()
    }

    pub(super) fn url(&self) -> &Uri {
        &self.url
    }

    /// Whether it is reached over TLS.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == Some(&Scheme::HTTPS)
    }

    /// Host and port to connect to.
    pub(super) fn address(&self) -> (&str, u16) {
        let host = self.url.host().unwrap_or_default();
        let port = self
            .url
            .port_u16()
            .unwrap_or(if self.is_https() { 443 } else { 80 });
        (host.trim_start_matches('[').trim_end_matches(']'), port)
    }

    fn scheme(&self) -> &str {
        self.url.scheme_str().unwrap_or_default()
    }
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_a_name_and_a_url_of_http() {
        let hook = Webhook::parse("photos=https://hooks.example/secret?token=1=2").unwrap();
        assert_eq!((hook.name(), hook.address()), ("photos", ("hooks.example", 443)));
        assert_eq!(hook.shown(), "photos=https://hooks.example/…");
        assert_eq!(hook.url().path_and_query().unwrap(), "/secret?token=1=2");
        let local = Webhook::parse("a = http://[::1]:8123").unwrap();
        assert_eq!(local.address(), ("::1", 8123));
        for (text, why) in [
            ("https://hooks.example", InvalidWebhook::NoName),
            ("a b=https://hooks.example", InvalidWebhook::BadName),
            ("=https://hooks.example", InvalidWebhook::BadName),
            ("a=ftp://hooks.example", InvalidWebhook::BadUrl),
            ("a=/path", InvalidWebhook::BadUrl),
            ("a=https://user:pass@hooks.example", InvalidWebhook::BadUrl),
        ] {
            assert_eq!(Webhook::parse(text).unwrap_err(), why, "{text}");
        }
    }

    #[test]
    fn an_arn_names_a_webhook() {
        let arn = Webhook::arn_of("photos");
        assert_eq!(arn, "arn:warren:sqs::photos:webhook");
        assert_eq!(Webhook::name_in_arn(&arn), Some("photos"));
        for other in [
            "arn:aws:sqs:us-east-1:123456789012:q",
            "arn:warren:sqs:::webhook",
            "photos",
        ] {
            assert_eq!(Webhook::name_in_arn(other), None, "{other}");
        }
    }
}
