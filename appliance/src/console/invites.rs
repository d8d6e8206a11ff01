//! The page on which homes are invited.

use maud::html;

use super::layout::Tab;
use super::pieces::{button, form, moment};
use super::{Outcome, Page, path, unknown};
use crate::Node;
use crate::api::{CallState, CalledBox, CreateInvite, InviteState, Role, Schema};
use crate::desk::Desk;
use crate::page::{Form, Note, Visitor};

const HOUR: u64 = 60 * 60;

/// For how long an invite may work: hours, and what people call that. The first is what people get who do not choose.
const LIVES: [(u64, &str); 4] = [
    (24, "a day"),
    (1, "an hour"),
    (48, "two days"),
    (7 * 24, "a week"),
];

pub(super) fn page<N: Node>(desk: &Desk<N>, visitor: &Visitor) -> Page {
    let invites = desk.node.invites();
    let called = desk.node.called();
    let public = !desk.node.net().public.is_empty();
    Page {
        tab: Tab::Invites,
        title: "Invites".into(),
        main: html! {
            h1 { "Invites" }
            p.lead { "An invite lets one box join, once. Whoever joins is given the keys of the mesh." }
            section.card aria-labelledby="make" {
                h2 #make { "Invite a home" }
                (form(visitor, "/invites", html! {
                    label for="hours" { "It works for" }
                    div.row {
                        select #hours name="hours" { @for (hours, name) in LIVES { option value=(hours) { (name) } } }
                        button.main type="submit" { "Make an invite" }
                    }
                }))
                @if !public {
                    p.small {
                        "No address of this box is known to be open to the internet. The invite works in this network, and wherever "
                        "another member can be reached. " code { "warren net check" } " says more."
                    }
                }
            }
            @if invites.iter().any(|invite| invite.state == InviteState::Open) || !called.is_empty() {
                section.card aria-labelledby="call" {
                    h2 #call { "The new box is a server on the internet" }
                    p {
                        "Where this box reaches it and not the other way round, let it wait with the invite ("
                        code { "warren join" } ", or its page), and call it from here."
                    }
                    (form(visitor, "/invites/call", html! {
                        label for="address" { "Its address" }
                        div.row {
                            input #address name="address" required maxlength="270" placeholder="box.example.org:4001" autocapitalize="none" spellcheck="false";
                            button type="submit" { "Call it" }
                        }
                    }))
                    @for called in &called { (call(called)) }
                }
            }
            @if invites.is_empty() { p.empty { "No invites yet." } } @else {
                table {
                    thead { tr { th scope="col" { "Invite" } th scope="col" { "State" } th scope="col" { "Expires" } th scope="col" { span.hidden { "Revoke" } } } }
                    tbody {
                        @for invite in &invites {
                            tr {
                                th scope="row" { code { (invite.id.get(..12).unwrap_or(&invite.id)) } }
                                td data-label="State" { @match invite.state {
                                    InviteState::Open => { span.state.good { "open" } }
                                    InviteState::Used => { span.state { "used" @if let Some(member) = invite.member { " by box " (member) } } }
                                    InviteState::Expired => { span.state { "expired" } }
                                } }
                                td data-label="Expires" { (moment(&invite.expires)) }
                                td.number { @if invite.state == InviteState::Open { (button(visitor, &path(&["invites", &invite.id, "revoke"]), "Revoke")) } }
                            }
                        }
                    }
                }
            }
        },
    }
}

/// How far the call of a box has come.
fn call(called: &CalledBox) -> maud::Markup {
    let what = match (called.state, &called.name, &called.why) {
        (CallState::LetIn, Some(name), _) => format!("{name} is in. It runs once its server is started."),
        (CallState::LetIn, None, _) => "is in.".into(),
        (CallState::Over, ..) => "no invite was open any more.".into(),
        (CallState::Answered, ..) => "answered, and asks to be let in.".into(),
        (_, _, Some(why)) => format!("is called again and again: {why}."),
        (_, _, None) => "is called.".into(),
    };
    html! { p role="status" { code { (called.address) } ": " (what) } }
}

/// Makes an invite, takes one back, or calls a box that waits with one.
pub(super) async fn act<N: Node>(desk: &Desk<N>, parts: &[&str], form: &Form) -> Outcome {
    let to = || "/invites".to_owned();
    match parts {
        [] => {
            let hours = form.get("hours").parse().unwrap_or(LIVES[0].0).clamp(1, 30 * 24);
            let request = CreateInvite {
                schema: Schema,
                role: Role::Trusted,
                valid_seconds: hours * HOUR,
            };
            let made = desk.node.create_invite(request).await?;
            Ok((to(), Note::Invite(Box::new(made))))
        }
        ["call"] => {
            desk.node.call_box(form.get("address"))?;
            let said = "The box is called until it is in, or no invite is open; look here again in a moment.";
            Ok((to(), Note::Done(said.into())))
        }
        [id, "revoke"] => {
            desk.node.revoke_invite(id).await?;
            Ok((
                to(),
                Note::Done("The invite is revoked: nobody joins with it any more.".into()),
            ))
        }
        _ => Err(unknown()),
    }
}
