//! By which names the page is called, and whether a form comes from itself: the guard against other people's pages.

use std::net::IpAddr;

/// Whether this is a name of ours. A page elsewhere may have its own name lead to our address, and would then read with the
/// rights of whoever looks at it (DNS rebinding); but its name is none of these. `known` are in lower case.
pub(crate) fn is_ours(host: &str, known: &[String]) -> bool {
    let name = named(host).0.trim_end_matches('.').to_ascii_lowercase();
    let plain = name.trim_start_matches('[').trim_end_matches(']');
    plain.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || name.strip_suffix(".local").is_some_and(|label| !label.is_empty())
        || known.contains(&name)
}

/// A host without its port, and the port with its colon; empty where there is none.
pub(crate) fn named(host: &str) -> (&str, &str) {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => {
            // The last group of a bare IPv6 address is no port.
            if name.contains(':') && !name.ends_with(']') {
                (host, "")
            } else {
                host.split_at(name.len())
            }
        }
        _ => (host, ""),
    }
}

/// Whether a browser that sends this says that the request comes from our own page. Programs send no origin.
pub(crate) fn is_same_origin(origin: Option<&str>, fetch_site: Option<&str>, host: &str) -> bool {
    if fetch_site.is_some_and(|site| site != "same-origin" && site != "none") {
        return false;
    }
    match origin {
        None => true,
        Some(origin) => {
            let place = origin
                .strip_prefix("http://")
                .or_else(|| origin.strip_prefix("https://"));
            place.is_some_and(|place| place.eq_ignore_ascii_case(host))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_page_is_called_by_addresses_local_names_and_those_configured() {
        let known = ["box.example".to_owned()];
        for ours in [
            "127.0.0.1:3980",
            "192.168.1.20",
            "[::1]:3980",
            "[fe80::1]",
            "::1",
            "localhost:3980",
            "warren-anna.local:3980",
            "BOX.example.",
            "box.example:80",
        ] {
            assert!(is_ours(ours, &known), "{ours}");
        }
        for other in [
            "evil.example",
            "box.example.evil",
            "xbox.example",
            ".local",
            "local",
            "",
            ":3980",
            "a.local.evil",
        ] {
            assert!(!is_ours(other, &known), "{other}");
        }
    }

    #[test]
    fn a_form_of_another_page_is_told_from_our_own() {
        assert!(is_same_origin(None, None, "10.0.0.1:3980"));
        assert!(is_same_origin(
            Some("http://10.0.0.1:3980"),
            Some("same-origin"),
            "10.0.0.1:3980"
        ));
        // A website in a bucket of this very box has another port.
        assert!(!is_same_origin(
            Some("http://10.0.0.1:3900"),
            None,
            "10.0.0.1:3980"
        ));
        assert!(!is_same_origin(Some("null"), None, "10.0.0.1:3980"));
        assert!(!is_same_origin(None, Some("same-site"), "10.0.0.1:3980"));
        assert!(!is_same_origin(None, Some("cross-site"), "10.0.0.1:3980"));
    }

    proptest! {
        #[test]
        fn a_name_with_dots_that_nobody_configured_is_never_ours(name in "[a-z]{1,8}\\.(com|org|example|evil)", port: u16) {
            let host = format!("{name}:{port}");
            prop_assert!(!is_ours(&host, &[]));
            prop_assert!(is_ours(&host, &[name]));
        }
    }
}
