//! The console: the pages that people see, and the forms they send. Everything works without a script.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::desk::Desk;
use crate::page::{Assets, Carrier, Form, Note, Source, Visitor};
use crate::routes::{self, Body, full};
use crate::{Node, Problem};

mod access;
mod buckets;
mod connect;
mod homes;
mod invites;
mod keys;
pub(crate) mod layout;
pub(crate) mod login;
mod object;
mod objects;
mod overview;
mod past;
mod pictures;
pub(crate) mod pieces;
mod trust;
mod upkeep;
mod upload;

use layout::Tab;
pub(crate) use pictures::qr;

/// What a request to the console is answered with.
pub(crate) struct Visit<'a, S> {
    /// What is visited: the desk of a node, or of a box that is not set up yet.
    pub(crate) desk: Arc<S>,
    pub(crate) assets: &'a Assets,
    pub(crate) from: Source,
    pub(crate) carrier: Carrier,
}

/// A page inside the console.
struct Page {
    tab: Tab,
    title: String,
    main: Markup,
}

/// Where a form leads, and what is said there.
type Outcome = Result<(String, Note), Problem>;

/// Answers a request for a page, or a form.
pub(crate) async fn answer<N: Node>(
    visit: Visit<'_, Desk<N>>,
    visitor: Option<Visitor>,
    request: Request<Incoming>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let get = matches!(head.method, Method::GET | Method::HEAD);
    match (head.uri.path(), visitor) {
        ("/login", Some(_)) if get => redirect("/"),
        ("/login", None) if get => login::page(&visit, &query(&head)),
        ("/login", _) if head.method == Method::POST => match read(body).await {
            Ok(form) => login::enter(&visit, &form).await,
            Err(response) => response,
        },
        // Who has to trust the box first cannot log in yet.
        (trust::PATH, visitor) if get => trust::page(&visit, visitor.as_ref()),
        (_, None) => redirect("/login"),
        (_, Some(visitor)) if get => show(&visit, &visitor, &head).await,
        // A file, which is not read before its place is known.
        (path, Some(visitor)) if head.method == Method::POST && upload::is_for(path) => {
            upload::take(&visit, &visitor, &head, body).await
        }
        (_, Some(visitor)) if head.method == Method::POST => match read(body).await {
            Ok(form) if !visitor.sent(form.get("token")) => stale(&visit),
            Ok(form) => act(&visit, &visitor, &head, &form).await,
            Err(response) => response,
        },
        _ => layout::alone(
            &visit,
            StatusCode::METHOD_NOT_ALLOWED,
            "That cannot be done here",
            html! {},
        ),
    }
}

pub(crate) async fn read(body: Incoming) -> Result<Form, Response<Body>> {
    let bytes = routes::read(body).await.map_err(routes::refused)?;
    Ok(Form::parse(&bytes))
}

pub(crate) fn query(head: &Parts) -> Form {
    Form::parse(head.uri.query().unwrap_or_default().as_bytes())
}

/// The parts of a path, decoded.
fn parts(head: &Parts) -> Vec<String> {
    let parts = head.uri.path().split('/').filter(|part| !part.is_empty());
    parts
        .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
        .collect()
}

/// A form that was open while its session ended.
pub(crate) fn stale<S>(visit: &Visit<'_, S>) -> Response<Body> {
    let why = html! {
        p { "This form was opened before you logged in last, or came from somewhere else. Nothing was done." }
        p { a.button href="/" { "Go to the overview" } }
    };
    layout::alone(visit, StatusCode::FORBIDDEN, "Please try again", why)
}

/// Shows a page.
async fn show<N: Node>(visit: &Visit<'_, Desk<N>>, visitor: &Visitor, head: &Parts) -> Response<Body> {
    let (parts, query) = (parts(head), query(head));
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let desk = &*visit.desk;
    let page = match parts.as_slice() {
        [] => Ok(overview::page(desk).await),
        ["homes"] => Ok(homes::page(desk, visitor).await),
        ["invites"] => Ok(invites::page(desk, visitor)),
        ["buckets"] => Ok(buckets::page(desk, visitor).await),
        ["buckets", name] => buckets::one(desk, visitor, name).await,
        ["buckets", name, "objects"] => objects::page(desk, visit.assets, visitor, name, &query).await,
        ["buckets", name, "object"] => object::page(desk, visitor, name, &query).await,
        ["keys"] => Ok(keys::page(desk, visitor)),
        ["keys", id] => keys::one(desk, visitor, id),
        ["upkeep"] => Ok(upkeep::page(desk, visitor).await),
        ["connect"] => Ok(connect::page(desk, visitor, &query, visit.carrier).await),
        ["access"] => Ok(access::page(desk, visitor)),
        _ => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no-such-page",
            "There is no such page.",
        )),
    };
    let page = match page {
        Ok(page) => page,
        Err(problem) => {
            let status = problem.status();
            let why = html! { p { (problem.detail) } p { a.button href="/" { "Go to the overview" } } };
            return layout::alone(visit, status, "Not found", why);
        }
    };
    // What is said once is not said to a script that only looks for news, nor to another site's picture.
    let note = (!query.has("live") && is_for_a_person(head))
        .then(|| desk.access.said(&visitor.session))
        .flatten();
    layout::inside(visit, visitor, note, &page)
}

/// Whether a browser is to show the answer, as far as it says. A page of a bucket, on another port of this box, can have it
/// ask for our pages as pictures, and that must not take away what is said once.
fn is_for_a_person(head: &Parts) -> bool {
    head.headers
        .get("sec-fetch-dest")
        .is_none_or(|asked_as| asked_as == "document")
}

/// Does what a form asks, and leads to the page that says so.
async fn act<N: Node>(
    visit: &Visit<'_, Desk<N>>,
    visitor: &Visitor,
    head: &Parts,
    form: &Form,
) -> Response<Body> {
    let (parts, query) = (parts(head), query(head));
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let desk = &*visit.desk;
    let outcome = match parts.as_slice() {
        ["logout"] => return login::leave(visit, visitor),
        ["access", "password"] => return login::change(visit, visitor, form).await,
        ["access", "kit"] => return access::kit(visit, visitor, form).await,
        ["access", rest @ ..] => access::act(desk, rest, form).await,
        ["homes", peer, what] => homes::act(desk, peer, what, form).await,
        ["invites", rest @ ..] => invites::act(desk, rest, form).await,
        ["buckets", name, "objects", what] => {
            objects::act(desk, name, what, (&query, form), visit.carrier).await
        }
        ["buckets", rest @ ..] => buckets::act(desk, rest, form).await,
        ["keys", rest @ ..] => keys::act(desk, rest, form).await,
        ["connect", "test"] => connect::test(desk, form).await,
        ["upkeep", what] => upkeep::act(desk, what, form).await,
        _ => Err(unknown()),
    };
    let (to, note) = outcome.unwrap_or_else(|problem| (back(&parts, &query), problem.into()));
    desk.access.say(&visitor.session, note);
    redirect(&to)
}

fn unknown() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no-such-action",
        "There is nothing to do here.",
    )
}

/// The page with the form that was sent here: a list, or one thing of it.
fn back(parts: &[&str], query: &Form) -> String {
    match parts {
        ["buckets", name, "objects", "abort"] => {
            objects::folder(name, query.exact("prefix").unwrap_or_default())
        }
        ["buckets", name, "objects", ..] => {
            object::address(name, query.exact("key").unwrap_or_default(), None)
        }
        [tab @ ("buckets" | "keys"), name, _, ..] => path(&[tab, name]),
        [tab, ..] => path(&[tab]),
        [] => "/".into(),
    }
}

/// A path made of these parts, whatever is in them.
fn path(parts: &[&str]) -> String {
    let parts = parts
        .iter()
        .map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string());
    parts.fold(String::new(), |path, part| path + "/" + &part)
}

/// The same with a query.
fn path_with(parts: &[&str], query: &[(&str, &str)]) -> String {
    let mut address = path(parts);
    for (index, (name, value)) in query.iter().enumerate() {
        address += if index == 0 { "?" } else { "&" };
        address += name;
        address += "=";
        address.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
    }
    address
}

pub(crate) fn redirect(to: &str) -> Response<Body> {
    let mut response = full(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", "");
    let to = HeaderValue::from_str(to).unwrap_or_else(|_| HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, to);
    response
}
