//! Decides where a website sends a request instead of answering it.

use http::StatusCode;
use storage::model::{Protocol, Replacement, RoutingRule, Website};

use crate::uri::encode_path_into;

/// Where a request is sent, and with which status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redirect {
    pub(super) status: StatusCode,
    /// The `Location`; holds nothing that a header cannot.
    pub(super) location: String,
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The host as the client named it, with its port.
    pub(super) host: &'a str,
    /// The decoded path without its first slash.
    pub(super) path: &'a str,
    /// The query as sent, without its question mark.
    pub(super) query: Option<&'a str>,
}

/// Where a request is sent before anything is looked up.
pub(super) fn at_once(website: &Website, asked: Asked<'_>) -> Option<Redirect> {
    match website {
        Website::Elsewhere { host, protocol } => {
            let mut location = location(asked.host, Some(host), *protocol, asked.path);
            if let Some(query) = asked.query {
                location.push('?');
                location.push_str(query);
            }
            Some(moved(location))
        }
        Website::Pages { rules, .. } => rules
            .iter()
            .filter(|rule| rule.error.is_none())
            .find_map(|rule| by_rule(rule, asked)),
    }
}

/// Where a request is sent that would be answered with this error.
pub(super) fn instead_of(website: &Website, asked: Asked<'_>, error: StatusCode) -> Option<Redirect> {
    let Website::Pages { rules, .. } = website else {
        return None;
    };
    rules
        .iter()
        .filter(|rule| rule.error == Some(error.as_u16()))
        .find_map(|rule| by_rule(rule, asked))
}

/// Where a folder is found that was asked for without its slash.
pub(super) fn into_folder(asked: Asked<'_>) -> Redirect {
    Redirect {
        status: StatusCode::FOUND,
        location: location(asked.host, None, None, &format!("{}/", asked.path)),
    }
}

/// Where an object says that it is now.
pub(super) fn moved(location: String) -> Redirect {
    Redirect {
        status: StatusCode::MOVED_PERMANENTLY,
        location,
    }
}

fn by_rule(rule: &RoutingRule, asked: Asked<'_>) -> Option<Redirect> {
    let rest = asked
        .path
        .strip_prefix(rule.prefix.as_deref().unwrap_or_default())?;
    let key = match &rule.replace {
        None => asked.path.to_owned(),
        Some(Replacement::Key(key)) => key.clone(),
        Some(Replacement::Prefix(prefix)) => format!("{prefix}{rest}"),
    };
    let status = rule.status.and_then(|status| StatusCode::from_u16(status).ok());
    Some(Redirect {
        status: status.unwrap_or(StatusCode::MOVED_PERMANENTLY),
        location: location(asked.host, rule.host.as_deref(), rule.protocol, &key),
    })
}

/// A URL of a key. Without a protocol the client keeps its own: a proxy before the server may speak TLS.
fn location(own_host: &str, host: Option<&str>, protocol: Option<Protocol>, key: &str) -> String {
    let mut path = b"/".to_vec();
    // Two slashes at its beginning would make a path a host.
    let slashes = key.len() - key.trim_start_matches('/').len();
    (0..slashes).for_each(|_| path.extend_from_slice(b"%2F"));
    encode_path_into(&key.as_bytes()[slashes..], &mut path);
    let path = String::from_utf8_lossy(&path);
    match (protocol, host) {
        (None, None) => path.into_owned(),
        (None, Some(host)) => format!("//{host}{path}"),
        (Some(protocol), host) => format!("{}://{}{path}", protocol.name(), host.unwrap_or(own_host)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(path: &str) -> Asked<'_> {
        Asked {
            host: "www.a.example:3900",
            path,
            query: Some("q=1"),
        }
    }

    fn rule() -> RoutingRule {
        RoutingRule {
            prefix: None,
            error: None,
            host: None,
            protocol: None,
            replace: None,
            status: None,
        }
    }

    fn pages(rules: Vec<RoutingRule>) -> Website {
        Website::Pages {
            index: "index.html".into(),
            error: None,
            rules,
        }
    }

    fn shown(redirect: Option<Redirect>) -> String {
        redirect.map_or(String::new(), |redirect| {
            format!("{} {}", redirect.status.as_u16(), redirect.location)
        })
    }

    #[test]
    fn every_request_is_sent_elsewhere_with_its_query() {
        let elsewhere = |protocol| Website::Elsewhere {
            host: "b.example".into(),
            protocol,
        };
        let to = |protocol| shown(at_once(&elsewhere(protocol), asked("a b/c")));
        assert_eq!(to(None), "301 //b.example/a%20b/c?q=1");
        assert_eq!(to(Some(Protocol::Https)), "301 https://b.example/a%20b/c?q=1");
    }

    #[test]
    fn the_first_rule_that_applies_counts() {
        let website = pages(vec![
            RoutingRule {
                prefix: Some("docs/".into()),
                replace: Some(Replacement::Prefix("documents/".into())),
                ..rule()
            },
            RoutingRule {
                error: Some(404),
                host: Some("c.example".into()),
                replace: Some(Replacement::Key("lost.html".into())),
                status: Some(307),
                ..rule()
            },
            RoutingRule {
                prefix: Some("secure/".into()),
                protocol: Some(Protocol::Https),
                ..rule()
            },
        ]);
        let first = |path| shown(at_once(&website, asked(path)));
        assert_eq!(first("docs/a"), "301 /documents/a");
        assert_eq!(first("secure/a"), "301 https://www.a.example:3900/secure/a");
        assert_eq!(first("doc"), "");
        let failed = |path, status| shown(instead_of(&website, asked(path), status));
        assert_eq!(failed("x", StatusCode::NOT_FOUND), "307 //c.example/lost.html");
        assert_eq!(failed("x", StatusCode::FORBIDDEN), "");
    }

    #[test]
    fn a_path_never_becomes_a_host_and_a_key_never_a_header() {
        for (path, expected) in [
            ("/evil.example", "302 /%2Fevil.example/"),
            ("//evil.example", "302 /%2F%2Fevil.example/"),
            ("a\r\nb", "302 /a%0D%0Ab/"),
            ("a", "302 /a/"),
        ] {
            assert_eq!(shown(Some(into_folder(asked(path)))), expected);
        }
    }
}
