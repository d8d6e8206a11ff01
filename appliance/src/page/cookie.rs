//! The cookie that carries a session.

use http::{HeaderMap, HeaderValue, header};
use zeroize::Zeroizing;

use crate::access::{SESSION_LIFE, SessionSecret};

/// Over a connection that others read.
const NAME: &str = "warren_session";
/// Over one that nobody reads. Another name, because browsers refuse a cookie over HTTP where HTTPS has set one of that name,
/// and nobody could log in over HTTP any more; with this prefix they take it over HTTPS alone, and only from us.
const SECURE_NAME: &str = "__Host-warren_session";

/// Whether the browser came to us over a connection that nobody else reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// HTTP.
    Plain,
    /// HTTPS.
    Encrypted,
    /// HTTPS at the proxy on this box that passes it on: its certificate is none of ours.
    Proxied,
}

impl Carrier {
    /// What the browser speaks, where a proxy on this box says what that is.
    pub(super) fn for_whom(self, said: Option<&str>) -> Self {
        match said {
            Some("https") => Self::Proxied,
            Some(_) => Self::Plain,
            None => self,
        }
    }

    /// Whether whoever asks trusts our own certificate: links to other ports of the box may be HTTPS as well.
    pub(crate) fn is_ours(self) -> bool {
        self == Self::Encrypted
    }
}

/// The sessions that a browser says it has. A page of a bucket, on another port of this box, can add some of its own that come
/// before the one we gave: cookies know no ports.
pub(super) fn read(headers: &HeaderMap) -> impl Iterator<Item = SessionSecret> {
    let cookies = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let pairs = cookies
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .filter(|(name, _)| matches!(*name, NAME | SECURE_NAME))
        .filter_map(|(_, value)| SessionSecret::parse(value))
}

/// Has the browser keep a session. No script reads it, and no other site's page sends it.
pub(crate) fn set(secret: &SessionSecret, carrier: Carrier) -> HeaderValue {
    header(&secret.shown(), SESSION_LIFE.as_secs(), carrier)
}

/// Has the browser forget it.
pub(crate) fn clear(carrier: Carrier) -> HeaderValue {
    header("", 0, carrier)
}

fn header(value: &str, seconds: u64, carrier: Carrier) -> HeaderValue {
    let (name, secure) = match carrier {
        Carrier::Plain => (NAME, ""),
        Carrier::Encrypted | Carrier::Proxied => (SECURE_NAME, "; Secure"),
    };
    let text = Zeroizing::new(format!(
        "{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
    ));
    let mut header = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_comes_back_among_other_cookies() {
        let secret = SessionSecret::parse(&"ab".repeat(32)).unwrap();
        let set = set(&secret, Carrier::Plain);
        let pair = set.to_str().unwrap().split(';').next().unwrap().to_owned();
        let mut headers = HeaderMap::new();
        headers.insert(
            header::COOKIE,
            format!("theme=dark; {NAME}=x; {NAME}={}; {pair}; a=b", "cd".repeat(32))
                .parse()
                .unwrap(),
        );
        assert!(read(&headers).any(|read| read.id() == secret.id()));
        let secure = format!("{SECURE_NAME}={}", secret.shown().as_str());
        headers.insert(header::COOKIE, secure.parse().unwrap());
        assert!(read(&headers).any(|read| read.id() == secret.id()));
        assert!(read(&HeaderMap::new()).next().is_none());
    }

    #[test]
    fn a_proxy_on_the_box_says_what_the_browser_speaks() {
        for (connected, said, spoken) in [
            (Carrier::Plain, None, Carrier::Plain),
            (Carrier::Encrypted, None, Carrier::Encrypted),
            (Carrier::Plain, Some("https"), Carrier::Proxied),
            (Carrier::Encrypted, Some("http"), Carrier::Plain),
        ] {
            assert_eq!(connected.for_whom(said), spoken);
        }
    }

    #[test]
    fn no_script_and_no_other_site_gets_it() {
        let secret = SessionSecret::parse(&"ab".repeat(32)).unwrap();
        let plain = set(&secret, Carrier::Plain);
        let plain = plain.to_str().unwrap();
        assert!(plain.contains("; HttpOnly; SameSite=Strict") && !plain.contains("Secure"));
        for carrier in [Carrier::Encrypted, Carrier::Proxied] {
            let secure = set(&secret, carrier);
            let secure = secure.to_str().unwrap();
            assert!(
                secure.starts_with("__Host-")
                    && secure.contains("; Path=/; ")
                    && secure.ends_with("; Secure")
            );
            assert!(!secure.contains("Domain"));
        }
        assert!(clear(Carrier::Plain).to_str().unwrap().contains("Max-Age=0"));
    }
}
