//! The page of the boxes of the mesh: names, handing over, removal.

use maud::{Markup, html};

use super::layout::Tab;
use super::overview::table;
use super::pieces::{button, careful, form};
use super::{Outcome, Page, past, path, unknown};
use crate::api::Home;
use crate::desk::Desk;
use crate::page::{Form, Note, Visitor};
use crate::{Node, lasted};

pub(super) async fn page<N: Node>(desk: &Desk<N>, visitor: &Visitor) -> Page {
    let (homes, seen) = (desk.node.peers().await, desk.node.past());
    Page {
        tab: Tab::Homes,
        title: "Homes".into(),
        main: html! {
            h1 { "Homes" }
            p.lead { "The boxes of this mesh. What is stored is in several of them, so that any one may be lost." }
            (table(&homes, "live-homes"))
            p { a.button.main href="/invites" { "Invite a home" } }
            h2 { "What they did" }
            div.cards.two #live-past data-part {
                @for home in &homes {
                    section.card aria-label={ "What " (home.name) " did" } {
                        h3 { (home.name) span.small { (home.zone) @if home.here { " · this box" } } }
                        (past::of(&seen, home))
                    }
                }
            }
            (past::ledger(&seen.ledger(&homes)))
            h2 { "Change a box" }
            div.cards.two { @for home in &homes { (one(home, visitor)) } }
        },
    }
}

fn one(home: &Home, visitor: &Visitor) -> Markup {
    let member = home.member.to_string();
    let to = |what: &str| path(&["homes", &member, what]);
    let field = format!("name-{member}");
    html! {
        section.card aria-label=(home.name) {
            h3 { (home.name) span.small { (home.zone) @if home.here { " · this box" } } }
            (form(visitor, &to("rename"), html! {
                label for=(field) { "Name" }
                div.row {
                    input id=(field) name="name" value=(home.name) maxlength="64" required;
                    button type="submit" { "Rename" }
                }
            }))
            div.row {
                @if !home.here { (button(visitor, &to("ping"), "Measure the path")) }
                @if home.draining { (button(visitor, &to("keep"), "Keep what it holds")) }
                @else { (button(visitor, &to("drain"), "Hand over what it holds")) }
            }
            @if !home.here { (removal(home, visitor, &to("remove"))) }
        }
    }
}

fn removal(home: &Home, visitor: &Visitor, action: &str) -> Markup {
    let question = format!(
        "Cut {} off for good? It hands over first, and goes only once nothing is left on it that is not elsewhere. To come back it needs a new invite.",
        home.name
    );
    let field = format!("lose-{}", home.member);
    let fields = html! {
        label.tick for=(field) {
            input id=(field) type="checkbox" name="lose";
            " It is gone or broken: remove it even if what only it has is lost"
        }
    };
    careful(
        visitor,
        "Remove this box…",
        &question,
        action,
        fields,
        &format!("Remove {}", home.name),
    )
}

/// Does what a form asks of a box.
pub(super) async fn act<N: Node>(desk: &Desk<N>, peer: &str, what: &str, form: &Form) -> Outcome {
    let done = |what: String| Ok(("/homes".to_owned(), Note::Done(what)));
    let node = &desk.node;
    match what {
        "rename" => {
            let home = node.rename_peer(peer, form.get("name")).await?;
            done(format!("The box is called {} now.", home.name))
        }
        "drain" => {
            let home = node.drain_peer(peer, true).await?;
            done(format!(
                "{} hands over what it holds. Upkeep shows what is left.",
                home.name
            ))
        }
        "keep" => {
            let home = node.drain_peer(peer, false).await?;
            done(format!("{} keeps what it holds.", home.name))
        }
        "ping" => {
            let pong = node.ping_peer(peer).await?;
            done(format!(
                "{} answered after {:.1} ms.",
                pong.name,
                pong.answer_seconds * 1e3
            ))
        }
        "remove" => {
            let home = node.peer(peer).await?;
            node.remove_peer(peer, form.has("lose")).await?;
            let seen = home
                .seen_seconds
                .map(|seconds| format!(" It was last seen {} ago.", lasted(seconds)));
            done(format!("{} is removed.{}", home.name, seen.unwrap_or_default()))
        }
        _ => Err(unknown()),
    }
}
