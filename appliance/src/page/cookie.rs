//! The cookie that carries a session.

use http::{HeaderMap, HeaderValue, header};
use zeroize::Zeroizing;

use crate::access::{SESSION_LIFE, SessionSecret};

const NAME: &str = "warren_session";

/// Whether the browser came to us over a connection that nobody else reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// HTTP.
    Plain,
    /// HTTPS, at the proxy on this box that passes it on.
    Encrypted,
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
        .filter(|(name, _)| *name == NAME)
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
    let secure = match carrier {
        Carrier::Plain => "",
        Carrier::Encrypted => "; Secure",
    };
    let text = Zeroizing::new(format!(
        "{NAME}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
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
        assert!(read(&HeaderMap::new()).next().is_none());
    }

    #[test]
    fn no_script_and_no_other_site_gets_it() {
        let secret = SessionSecret::parse(&"ab".repeat(32)).unwrap();
        let plain = set(&secret, Carrier::Plain);
        let plain = plain.to_str().unwrap();
        assert!(plain.contains("; HttpOnly; SameSite=Strict") && !plain.contains("Secure"));
        assert!(
            set(&secret, Carrier::Encrypted)
                .to_str()
                .unwrap()
                .ends_with("; Secure")
        );
        assert!(clear(Carrier::Plain).to_str().unwrap().contains("Max-Age=0"));
    }
}
