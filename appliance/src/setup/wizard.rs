//! The pages of the wizard: what the box is to be, that it is being made, what is to be written down, and that it starts.

use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use maud::{Markup, html};

use super::{
    Became, Fresh, MeshWish, NotDone, Order, Setup, ShownOnce, SpareDisk, Stage, Suggestion, Wish, disk,
};
use crate::announce::{UNNAMED, local_name};
use crate::api::Secret;
use crate::console::pieces::{copyable, form, size};
use crate::console::{Visit, layout, login, query, read, redirect, stale};
use crate::page::{Form, Visitor, named};
use crate::routes::Body;

/// How often a page that waits looks again, in seconds.
const AGAIN: &str = "2; url=/";

/// When a box is there again that has taken a disk, in seconds; nobody answers for some of them.
const TAKEN: &str = "20; url=/";

/// When a box that starts is there under the name that it was called by, in seconds.
const STARTED: &str = "4; url=/";

/// In how many seconds its network knows it under another name.
const RENAMED_SECONDS: u32 = 8;

/// Answers a request to a box that is nothing yet.
pub(super) async fn answer<F: Fresh>(
    visit: &Visit<'_, Setup<F>>,
    visitor: Option<Visitor>,
    request: Request<Incoming>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let is_get = matches!(head.method, Method::GET | Method::HEAD);
    let path = head.uri.path();
    match (path, visitor) {
        ("/login", None) if is_get => login::page(visit, &query(&head)),
        ("/login", _) if head.method == Method::POST => match read(body).await {
            Ok(form) => login::enter(visit, &form).await,
            Err(response) => response,
        },
        (_, None) => redirect("/login"),
        ("/", Some(visitor)) if is_get => shown(visit, &visitor),
        (_, Some(visitor)) if head.method == Method::POST => match read(body).await {
            Ok(form) if !visitor.sent(form.get("token")) => stale(visit),
            Ok(form) => act(visit, &visitor, (path, &host(&head)), &form),
            Err(response) => response,
        },
        _ => redirect("/"),
    }
}

/// By what the box was called, as the browser has it.
fn host(head: &Parts) -> String {
    let host = head.headers.get(header::HOST);
    host.and_then(|host| host.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

fn act<F: Fresh>(
    visit: &Visit<'_, Setup<F>>,
    visitor: &Visitor,
    (path, host): (&str, &str),
    form: &Form,
) -> Response<Body> {
    let wish = |mesh| Wish {
        mesh,
        zone: form.get("zone").to_owned(),
        give: form.get("give").to_owned(),
    };
    match path {
        "/setup/new" => {
            let mesh = MeshWish::New(form.get("name").to_owned());
            visit.desk.order(Order::Become(wish(mesh)));
        }
        "/setup/join" => {
            let invite = Secret::new(form.get("invite").to_owned());
            visit.desk.order(Order::Become(wish(MeshWish::Invited(invite))));
        }
        "/setup/disk" => match disk::chosen(&visit.desk.fresh.spare_disks(), form) {
            disk::Chosen::Nothing => {}
            disk::Chosen::Gone => visit
                .desk
                .refuse("the disks are not as they were shown: look at them again"),
            disk::Chosen::Taken(wish) => visit.desk.order(Order::Take(wish)),
            disk::Chosen::Unsure(disk) => return disk::question(visit, visitor, &disk),
        },
        "/setup/done" => {
            let moved = visit.desk.called().and_then(|called| moved(host, &called));
            visit.desk.finish();
            if let Some(url) = moved {
                return renamed(visit, &url);
            }
        }
        _ => {}
    }
    redirect("/")
}

fn shown<F: Fresh>(visit: &Visit<'_, Setup<F>>, visitor: &Visitor) -> Response<Body> {
    // Before it is drawn: it takes a look at the system.
    let disks = visit.desk.fresh.spare_disks();
    // Drawn while nobody changes it; sent afterwards.
    let (title, main, again) = visit.desk.stage(|stage| match stage {
        Stage::Asking(last) => (
            "Set up this box",
            asking(visitor, &visit.desk.fresh.suggestion(), last.as_ref(), &disks),
            None,
        ),
        Stage::Working => (
            "One moment",
            working(visit.desk.fresh.wants().as_deref()),
            Some(AGAIN),
        ),
        Stage::Taking => (
            "One moment",
            html! { p role="status" { "The disk is being prepared. In a minute log in again, with the password you chose." } },
            Some(TAKEN),
        ),
        Stage::Made(became) => match &became.first {
            Some(first) => ("Write this down", once(visitor, &became.mesh, first), None),
            None => ("It is a member", joined(visitor, became), None),
        },
        Stage::Done => ("It starts", starting("/"), Some(STARTED)),
    });
    let mut response = layout::alone(visit, StatusCode::OK, title, main);
    if let Some(again) = again {
        let again = HeaderValue::from_static(again);
        response.headers_mut().insert(header::REFRESH, again);
    }
    response
}

/// That the box is being made, and what a person has to do for it meanwhile.
fn working(wants: Option<&str>) -> Markup {
    html! {
        @if let Some(command) = wants {
            div role="status" {
                p { strong { "This box reaches nobody of the mesh. It may be the one that can be reached." } }
                p { "On the box that invited, in a terminal:" }
                (copyable("call", command))
                p { "or give it this address on its page, under Invites. This box waits five minutes for the call; let its port through its firewall." }
            }
        } @else {
            p role="status" { "The box is being made. Where it joins a mesh, it looks for the others: up to a minute." }
        }
    }
}

fn starting(url: &str) -> Markup {
    html! {
        p role="status" { "In a few seconds it is there. Log in with the password you chose." }
        p { a.button.main href=(url) { "Open the console" } }
    }
}

/// Where a box is once it has started, for a browser that came by a name which it has only before: the same port of its own
/// name.
fn moved(host: &str, called: &str) -> Option<String> {
    let (name, port) = named(host);
    let is_unnamed = name.eq_ignore_ascii_case(&local_name(UNNAMED));
    (is_unnamed && !name.eq_ignore_ascii_case(called)).then(|| format!("http://{called}{port}/"))
}

/// The last page under the old name.
fn renamed<F: Fresh>(visit: &Visit<'_, Setup<F>>, url: &str) -> Response<Body> {
    let main = html! {
        (starting(url))
        p.small { "From now on it is at " a href=(url) { (url) } }
    };
    let mut response = layout::alone(visit, StatusCode::OK, "It starts", main);
    if let Ok(again) = HeaderValue::from_str(&format!("{RENAMED_SECONDS}; url={url}")) {
        response.headers_mut().insert(header::REFRESH, again);
    }
    response
}

/// The two ways that a box can go, with what was said before where that could not be done.
fn asking(visitor: &Visitor, suggestion: &Suggestion, last: Option<&NotDone>, disks: &[SpareDisk]) -> Markup {
    let wish = last.and_then(|last| last.wish.as_ref());
    let is_invited = matches!(
        wish,
        Some(Wish {
            mesh: MeshWish::Invited(_),
            ..
        })
    );
    let zone = wish.map_or(suggestion.zone.as_str(), |wish| &wish.zone);
    let give = wish.map_or("", |wish| &wish.give);
    let name = match wish {
        Some(Wish {
            mesh: MeshWish::New(name),
            ..
        }) => name,
        _ => &suggestion.name,
    };
    html! {
        p { "It is empty. Say what it is to be: that takes a minute." }
        @if let Some(NotDone { why, .. }) = last { div.note.bad role="alert" { p { strong { "Not done: " } (why) } } }
        details.app open[!is_invited] name="way" {
            summary { strong { "Begin" } span.small { "A mesh of your own, which others can join" } }
            (form(visitor, "/setup/new", html! {
                label for="name" { "What you call it" }
                input #name name="name" required maxlength="64" value=(name) placeholder="Maple family";
                (place("new", zone, give, suggestion.disk))
                button.main type="submit" { "Begin" }
            }))
        }
        details.app open[is_invited] name="way" {
            summary { strong { "Join" } span.small { "Somebody sent you an invite" } }
            (form(visitor, "/setup/join", html! {
                label for="invite" { "The invite" }
                input #invite name="invite" required maxlength="4000" autocomplete="off" autocapitalize="none" spellcheck="false" placeholder="wrn1…";
                (place("join", zone, give, suggestion.disk))
                button.main type="submit" { "Join" }
            }))
        }
        @if !disks.is_empty() { (disk::offers(visitor, disks)) }
    }
}

/// Where the box stands, and how much it gives.
fn place(way: &str, zone: &str, give: &str, (disk, free): (u64, u64)) -> Markup {
    html! {
        label for={ "zone-" (way) } { "Where it stands" }
        input id={ "zone-" (way) } name="zone" required maxlength="64" value=(zone) placeholder="Anna's house";
        label for={ "give-" (way) } { "How much it gives" }
        input id={ "give-" (way) } name="give" value=(give) placeholder="all of it" aria-describedby={ "disk-" (way) };
        p.small id={ "disk-" (way) } {
            "For example 500G. Left empty, the whole disk."
            @if disk > 0 { " It has " (size(disk)) ", " (size(free)) " of it free." }
        }
    }
}

/// What is shown once.
fn once(visitor: &Visitor, mesh: &str, first: &ShownOnce) -> Markup {
    html! {
        p { strong { (mesh) } " is there. These words open your data when the keys of all boxes are lost. Write them on paper, keep it elsewhere, show it to nobody." }
        ol.phrase { @for word in first.phrase.expose().split_whitespace() { li { (word) } } }
        p { "Your first access key, for apps:" }
        dl.pairs {
            dt { "Access key" } dd { (copyable("key-id", &first.key)) }
            dt { "Secret key" } dd { (copyable("key-secret", first.secret.expose())) }
        }
        p.small { "All this is shown here only, and is gone when the box starts." }
        (form(visitor, "/setup/done", html! {
            label.tick { input type="checkbox" name="noted" required; span { "I have written the words on paper" } }
            button.main type="submit" { "Start the box" }
        }))
    }
}

fn joined(visitor: &Visitor, became: &Became) -> Markup {
    html! {
        p { "This box is a member of " strong { (became.mesh) } ". What it holds for the others begins to arrive in ten minutes." }
        (form(visitor, "/setup/done", html! { button.main type="submit" { "Start the box" } }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_that_came_by_the_name_of_a_fresh_box_is_sent_to_its_own() {
        let own = "warren-anna.local";
        assert_eq!(
            moved("warren.local", own).as_deref(),
            Some("http://warren-anna.local/")
        );
        assert_eq!(
            moved("Warren.local:3980", own).as_deref(),
            Some("http://warren-anna.local:3980/")
        );
    }

    #[test]
    fn a_browser_that_came_another_way_stays_where_it_is() {
        for host in [
            "192.168.1.20",
            "192.168.1.20:3980",
            "[::1]:3980",
            "box.example",
            "",
        ] {
            assert_eq!(moved(host, "warren-anna.local"), None, "{host}");
        }
        assert_eq!(moved("warren.local", "warren.local"), None);
    }
}
