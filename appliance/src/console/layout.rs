//! What is around every page: head, navigation, and what the last form came to.

use http::{Response, StatusCode};
use maud::{DOCTYPE, Markup, html};

use super::pictures::qr;
use super::pieces::{copyable, form, moment};
use super::{Page, Visit};
use crate::api::{AppTested, StepOutcome};
use crate::page::{Note, Visitor};
use crate::routes::{Body, full};

/// The places of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Overview,
    Homes,
    Invites,
    Buckets,
    Keys,
    Upkeep,
    Connect,
    Access,
}

/// In the order of the navigation.
const TABS: [(Tab, &str, &str); 8] = [
    (Tab::Overview, "/", "Overview"),
    (Tab::Homes, "/homes", "Homes"),
    (Tab::Invites, "/invites", "Invites"),
    (Tab::Buckets, "/buckets", "Buckets"),
    (Tab::Keys, "/keys", "Keys"),
    (Tab::Connect, "/connect", "Connect an app"),
    (Tab::Upkeep, "/upkeep", "Upkeep"),
    (Tab::Access, "/access", "Access"),
];

/// A page for whoever is logged in.
pub(super) fn inside<S>(
    visit: &Visit<'_, S>,
    visitor: &Visitor,
    note: Option<Note>,
    page: &Page,
) -> Response<Body> {
    let body = html! {
        a.skip href="#main" { "Skip to the content" }
        div.frame {
            header.side {
                a.mark href="/" { (emblem()) span { "Warren" } }
                nav aria-label="Pages" {
                    ul {
                        @for (tab, path, name) in TABS {
                            li { a href=(path) aria-current=[(tab == page.tab).then_some("page")] { (name) } }
                        }
                    }
                }
                (form(visitor, "/logout", html! { button.quiet type="submit" { "Log out" } }))
            }
            main #main tabindex="-1" {
                @if let Some(note) = &note { (said(note)) }
                (page.main)
            }
        }
    };
    respond(visit, StatusCode::OK, &page.title, Some(visitor), &body)
}

/// A page for whoever is not, or that leads nowhere.
pub(crate) fn alone<S>(
    visit: &Visit<'_, S>,
    status: StatusCode,
    title: &str,
    main: Markup,
) -> Response<Body> {
    let body = html! {
        main.alone #main {
            div.mark { (emblem()) span { "Warren" } }
            h1 { (title) }
            (main)
        }
    };
    respond(visit, status, title, None, &body)
}

fn respond<S>(
    visit: &Visit<'_, S>,
    status: StatusCode,
    title: &str,
    visitor: Option<&Visitor>,
    body: &Markup,
) -> Response<Body> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) " · Warren" }
                link rel="stylesheet" href=(visit.assets.style());
                link rel="icon" type="image/svg+xml" href=(visit.assets.icon());
                script src=(visit.assets.script()) defer {}
            }
            body data-live=[visitor.map(|_| "/api/v1/events")] { (body) }
        }
    };
    full(status, "text/html; charset=utf-8", page.into_string())
}

/// Three burrows that are joined.
fn emblem() -> Markup {
    html! {
        svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true" {
            path.tunnel d="M9 20 16 9l7 11z" fill="none" stroke-width="2.5" stroke-linejoin="round" {}
            circle.burrow cx="16" cy="8.5" r="5" {}
            circle.burrow cx="8.5" cy="21" r="5" {}
            circle.burrow cx="23.5" cy="21" r="5" {}
        }
    }
}

/// What the last form came to.
fn said(note: &Note) -> Markup {
    match note {
        Note::Done(what) => html! { div.note.good role="status" { p { (what) } } },
        Note::Failed { why, advice } => html! {
            div.note.bad role="alert" {
                p { strong { "Not done: " } (why) }
                @if !advice.is_empty() { p { (advice) } }
            }
        },
        Note::Key(made) => html! {
            section.note.good aria-labelledby="said" {
                h2 #said { "Access key “" (made.key.name) "” created" }
                p { "The secret is shown once. Keep it where your app asks for it." }
                dl.pairs {
                    dt { "Access key" } dd { (copyable("key-id", &made.key.id)) }
                    dt { "Secret key" } dd { (copyable("key-secret", made.secret.expose())) }
                }
                p { a href={ "/connect?key=" (made.key.id) } { "Connect an app with it" } }
            }
        },
        Note::Invite(made) => html! {
            section.note.good aria-labelledby="said" {
                h2 #said { "Invite a home" }
                p {
                    "It works once, until " (moment(&made.invite.expires)) ". Whoever joins with it is given the keys of the mesh: "
                    "send it only to whom you trust with everything."
                }
                div.qr-and-words {
                    @if let Some(code) = qr(made.qr.expose(), "The invite as a QR code") { div.qr { (code) } }
                    div {
                        p { "On the other box:" }
                        (copyable("invite", &format!("warren join {}", made.token.expose())))
                    }
                }
            }
        },
        Note::Link(made) => html! {
            section.note.good aria-labelledby="said" {
                h2 #said { "Link to " (made.key) }
                p { "Whoever has it may open that one file, until " (moment(&made.expires)) "." }
                (copyable("link", made.url.expose()))
                p.small {
                    "To end it sooner, delete the access key “" a href={ "/keys/" (made.signed_by) } { (made.signer) }
                    "”: that ends all links of this bucket."
                }
            }
        },
        Note::Tested(test) => tested(test),
        Note::Token(made) => html! {
            section.note.good aria-labelledby="said" {
                h2 #said { "Token “" (made.token.name) "” made" }
                p { "It is shown once, and works until " (moment(&made.token.expires)) "." }
                (copyable("token", made.secret.expose()))
                p.small { "Send it as the header " code { "Authorization: Bearer …" } "." }
            }
        },
    }
}

/// What an app could do with a key.
fn tested(test: &AppTested) -> Markup {
    html! {
        section.note.(if test.works { "good" } else { "bad" }) aria-labelledby="said" {
            h2 #said {
                @if test.works { "“" (test.key) "” works with " (test.bucket) } @else { "“" (test.key) "” does not do all of this with " (test.bucket) }
            }
            ol.steps { @for step in &test.steps { li {
                @match step.outcome {
                    StepOutcome::Worked => { span.state.good { (step.what) } span.small { (format!("{:.0} ms", step.seconds * 1000.0)) } }
                    StepOutcome::Failed => { span.state.bad { (step.what) } span.small { (step.why) } }
                    StepOutcome::Skipped => { span.state { (step.what) } span.small { "not tried" } }
                }
            } } }
            @if !test.left.is_empty() { p { (test.left) } }
            p.small { "Done over HTTP at " (test.endpoint) ", as an app does it." }
        }
    }
}
