//! The page of who may use this page and its API: the password, and tokens.

use http::{HeaderValue, Response, StatusCode, header};
use maud::{Markup, html};

use super::layout::Tab;
use super::pieces::{careful, copyable, form, moment};
use super::{Outcome, Page, Visit, path, redirect, trust, unknown};
use crate::access::PASSWORD_LENGTH_MIN;
use crate::api::{CreateToken, HttpsShown, Schema};
use crate::desk::Desk;
use crate::page::{Form, Note, Visitor};
use crate::routes::{AUTHORITY, Body, full};
use crate::{Node, NodeError, Problem, Scope, kit};

const DAY: u64 = 24 * 60 * 60;

/// For how long a token may work: days, and what people call that.
const LIVES: [(u64, &str); 4] = [(90, "three months"), (1, "a day"), (7, "a week"), (365, "a year")];

pub(super) fn page<N: Node>(desk: &Desk<N>, visitor: &Visitor) -> Page {
    let tokens = desk.access.tokens();
    Page {
        tab: Tab::Access,
        title: "Access".into(),
        main: html! {
            h1 { "Access" }
            p.lead { "Who may use this page, and the programs that may use its " a href="/api/v1/openapi.json" { "API" } "." }
            div.cards.two {
                section.card aria-labelledby="make" {
                    h2 #make { "Make a token" }
                    (form(visitor, "/access/tokens", html! {
                        label for="name" { "Name" }
                        input #name name="name" required maxlength="64" placeholder="prometheus";
                        label for="scope" { "It may" }
                        select #scope name="scope" {
                            option value="read" { "see all but secrets and what is in files" }
                            option value="operate" { "also pause, verify and limit" }
                            option value="admin" { "open and change everything" }
                        }
                        label for="days" { "It works for" }
                        select #days name="days" { @for (days, name) in LIVES { option value=(days) { (name) } } }
                        button.main type="submit" { "Make a token" }
                    }))
                }
                section.card aria-labelledby="password" {
                    h2 #password { "Change the password" }
                    (form(visitor, "/access/password", html! {
                        label for="old" { "Password now" }
                        input #old name="old" type="password" autocomplete="current-password" required;
                        label for="new" { "New password" }
                        input #new name="new" type="password" autocomplete="new-password" minlength=(PASSWORD_LENGTH_MIN) required;
                        button type="submit" { "Change" }
                        p.small { "Everybody else is logged out then." }
                    }))
                }
                section.card aria-labelledby="kit" {
                    h2 #kit { "Recovery kit" }
                    p { "A page to print, for the day a box is lost: where everything is, the keys sealed to your 24 words, and room to write those by hand. They are kept nowhere." }
                    (form(visitor, "/access/kit", html! {
                        label for="kit-password" { "Password" }
                        input #kit-password name="password" type="password" autocomplete="current-password" required;
                        button type="submit" { "Save the kit" }
                    }))
                }
            }
            (https(&desk.https()))
            h2 { "Tokens" }
            @if tokens.is_empty() { p.empty { "No tokens yet." } } @else {
                table {
                    thead { tr { th scope="col" { "Token" } th scope="col" { "May" } th scope="col" { "Expires" } th scope="col" { span.hidden { "Revoke" } } } }
                    tbody { @for token in &tokens { tr {
                        th scope="row" { (token.name) span.small { (token.id) } }
                        td data-label="May" { (scope(token.scope)) }
                        td data-label="Expires" { @if token.works { (moment(&token.expires)) } @else { span.state { "expired" } } }
                        td.number { (careful(visitor, "Revoke…", "Programs that use it are refused from then on.", &path(&["access", "tokens", &token.id, "revoke"]), html! {}, "Revoke")) }
                    } } }
                }
            }
        },
    }
}

/// How people and programs come over HTTPS.
fn https(shown: &HttpsShown) -> Markup {
    html! {
        section.card aria-labelledby="https" {
            h2 #https { "HTTPS" }
            @if let (Some(authority), Some(certificate)) = (&shown.authority, &shown.certificate) {
                p {
                    "This page is also at " @for url in &shown.page { a href=(url) { (url) } " " }
                    "and S3 at " @for url in &shown.s3 { code { (url) } " " }
                    "for whoever trusts “" (authority.name) "”, once per device and for every box."
                }
                (trust::changed(authority))
                dl.pairs {
                    dt { "Fingerprint" } dd { (copyable("fingerprint", &authority.fingerprint)) }
                    dt { "Certificate" } dd { "of this box, until " (moment(&certificate.until)) ", renewed by itself" }
                    @if !certificate.left_out.is_empty() {
                        dt { "Not covered" } dd {
                            (certificate.left_out.join(", ")) ". "
                            span.small {
                                "It vouches for homes only. Names in " code { "s3.domains" } " and " code { "page.hosts" }
                                " are covered after " code { "warren net ca --renew" } "."
                            }
                        }
                    }
                }
                p { a.button href=(AUTHORITY) { "Download the certificate" } " " a href=(trust::PATH) { "How to install it" } }
            } @else { p.empty { "Not yet: this box waits for the rest of its mesh." } }
        }
    }
}

/// Gives the recovery kit, as a file, to whoever knows the password.
pub(super) async fn kit<N: Node>(
    visit: &Visit<'_, Desk<N>>,
    visitor: &Visitor,
    form: &Form,
) -> Response<Body> {
    let access = &visit.desk.access;
    let confirmed = access.confirm(form.secret("password"), visit.from).await;
    let made = match confirmed {
        Ok(()) => kit::kit(&visit.desk)
            .await
            .map_err(|error| Note::from(Problem::from(error))),
        Err(why) => Err(Note::Failed {
            why: why.to_string(),
            advice: "",
        }),
    };
    let kit = match made {
        Ok(kit) => kit,
        Err(note) => {
            access.say(&visitor.session, note);
            return redirect("/access");
        }
    };
    let page = kit::kit_page(&kit);
    let mut response = full(StatusCode::OK, "text/html; charset=utf-8", page);
    let headers = response.headers_mut();
    // It has a style of its own, and is looked at as a file.
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"warren-kit.html\""),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox"),
    );
    response
}

const fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Operate => "operate",
        Scope::Admin => "admin",
    }
}

/// Makes a token, or takes one back.
pub(super) async fn act<N: Node>(desk: &Desk<N>, parts: &[&str], form: &Form) -> Outcome {
    let failed = |error: crate::AccessError| NodeError::Failed(Box::new(error));
    match parts {
        ["tokens"] => {
            let asked = CreateToken {
                schema: Schema,
                name: form.get("name").to_owned(),
                scope: match form.get("scope") {
                    "admin" => Scope::Admin,
                    "operate" => Scope::Operate,
                    _ => Scope::Read,
                },
                valid_seconds: form.get("days").parse().unwrap_or(LIVES[0].0).min(2 * 365) * DAY,
            };
            let made = desk.access.create_token(&asked).await.map_err(failed)?;
            Ok((
                "/access".into(),
                Note::Token(Box::new(made.map_err(NodeError::Invalid)?)),
            ))
        }
        ["tokens", id, "revoke"] => {
            let revoked = desk.access.revoke_token(id).await.map_err(failed)?;
            revoked.map_err(NodeError::Invalid)?;
            Ok(("/access".into(), Note::Done("The token is revoked.".into())))
        }
        _ => Err(unknown()),
    }
}
