//! The page that tells how to trust the home: shown to everybody, because whoever does not trust it yet cannot log in safely.

use http::{Response, StatusCode};
use maud::{Markup, html};

use super::layout::Tab;
use super::pieces::{copyable, moment};
use super::{Page, Visit, layout};
use crate::api::HttpsAuthority;
use crate::desk::Desk;
use crate::page::Visitor;
use crate::routes::{AUTHORITY, AUTHORITY_TEXT, Body};
use crate::{HttpsFacts, Node, over_https};

/// Where it is.
pub(super) const PATH: &str = "/trust";

const TITLE: &str = "Trust this home";

/// The page, around which there is the console for whoever is logged in.
pub(super) fn page<N: Node>(visit: &Visit<'_, Desk<N>>, visitor: Option<&Visitor>) -> Response<Body> {
    let page = visit.desk.page();
    let main = match visit.desk.node.https() {
        Some(facts) => how(&facts, page.iter().map(|url| over_https(url))),
        None => {
            html! { p { "This box has no certificate yet: it waits for the rest of its mesh. Try again in a minute." } }
        }
    };
    let Some(visitor) = visitor else {
        return layout::alone(visit, StatusCode::OK, TITLE, main);
    };
    let page = Page {
        tab: Tab::Access,
        title: TITLE.into(),
        main: html! { h1 { (TITLE) } (main) },
    };
    layout::inside(visit, visitor, None, &page)
}

fn how(facts: &HttpsFacts, page: impl Iterator<Item = String>) -> Markup {
    let authority = &facts.authority;
    html! {
        p.lead {
            "Install the certificate of this home once on each device. From then on nobody in the network can read or change what "
            "the device and any box of the mesh say to each other."
        }
        (changed(authority))
        p { a.button.main href=(AUTHORITY) { "Download the certificate" } " " a href=(AUTHORITY_TEXT) { "as text (PEM)" } }
        dl.pairs {
            dt { "Name" } dd { (authority.name) }
            dt { "SHA-256" } dd { (copyable("fingerprint", &authority.fingerprint)) }
        }
        p.small {
            "Compare the fingerprint with what " code { "warren net ca --fingerprint" } " says at a box: over http somebody could "
            "have changed this page. The certificate vouches for private addresses and names in "
            @for (index, domain) in authority.domains.iter().enumerate() { @if index > 0 { ", " } code { (domain) } }
            " only, never for your bank."
        }
        @for (id, system, steps) in systems() {
            details.app id={ "on-" (id) } { summary { strong { (system) } } (steps) }
        }
        h2 { "Then open" }
        ul { @for url in page { li { a href=(url) { (url) } } } }
        p.small { "S3 apps use " @for url in &facts.s3 { code { (over_https(url)) } " " } "from then on. Plain http goes on to work, for devices that cannot do this." }
    }
}

/// Says that the authority is not the first: devices that trusted the one before have to be told.
pub(super) fn changed(authority: &HttpsAuthority) -> Markup {
    html! {
        @if authority.number > 1 {
            div.note role="status" { p {
                strong { "This certificate is new" } " since " (moment(&authority.since)) " (it is the home’s no. " (authority.number) "). "
                "Another begins when a box is removed, which knew the key of the one before, or when somebody renews it. Install this one, "
                "and remove the earlier one from your devices."
            } }
        }
    }
}

/// How each system is told.
fn systems() -> [(&'static str, &'static str, Markup); 7] {
    [
        (
            "windows",
            "Windows",
            html! { ol {
                li { "Open the file and choose “Install Certificate…”." }
                li { "Take “Current User”, then “Place all certificates in the following store”." }
                li { "Choose “Trusted Root Certification Authorities” and confirm." }
            } },
        ),
        (
            "macos",
            "macOS",
            html! { ol {
                li { "Open the file: Keychain Access adds it to “login”." }
                li { "Double-click “Warren home …”, open “Trust”, and set “When using this certificate” to “Always Trust”." }
            } },
        ),
        (
            "ios",
            "iPhone and iPad",
            html! { ol {
                li { "Download it with Safari and allow the profile." }
                li { "Settings → General → VPN & Device Management: install the profile." }
                li { "Settings → General → About → Certificate Trust Settings: turn it on." }
            } },
        ),
        (
            "android",
            "Android",
            html! { ol {
                li { "Settings → Security → More → Encryption & credentials → Install a certificate → CA certificate." }
                li { "Choose the downloaded file. Browsers trust it then; some apps trust only what came with the phone." }
            } },
        ),
        (
            "linux",
            "Linux",
            html! {
                p { "Debian, Ubuntu and their kin, with the PEM file:" }
                pre tabindex="0" aria-label="Lines for Debian" { code { "sudo cp warren-ca.pem /usr/local/share/ca-certificates/warren.crt\nsudo update-ca-certificates" } }
                p { "Fedora and its kin:" }
                pre tabindex="0" aria-label="Lines for Fedora" { code { "sudo cp warren-ca.pem /etc/pki/ca-trust/source/anchors/\nsudo update-ca-trust" } }
            },
        ),
        (
            "firefox",
            "Firefox",
            html! { ol {
                li { "Settings → Privacy & Security → Certificates → View Certificates… → Authorities → Import…" }
                li { "Choose the file and “Trust this CA to identify websites”." }
            } },
        ),
        (
            "programs",
            "Programs",
            html! {
                p { "Most take the PEM file, without anything installed:" }
                pre tabindex="0" aria-label="Lines for programs" { code { "export AWS_CA_BUNDLE=warren-ca.pem        # aws-cli, boto3\nrclone --ca-cert warren-ca.pem …\nrestic --cacert warren-ca.pem …\ncurl --cacert warren-ca.pem …" } }
            },
        ),
    ]
}
