//! The page of upkeep: verify, repair, move, and how fast.

use maud::{Markup, html};

use super::layout::Tab;
use super::overview::{behind, capital};
use super::pieces::{button, counted, form, moment, progress, size};
use super::{Outcome, Page, unknown};
use crate::api::{
    DiskShown, DiskState, FlowWay, LayoutShown, NetReport, RepairShown, Schema, ScrubShown, SetLimit,
    SetQuiet,
};
use crate::desk::Desk;
use crate::page::{Form, Note, Visitor};
use crate::routes::SUPPORT;
use crate::{ByteSize, Node, NodeError, Problem};

/// How long the button on the page has it quiet: two hours.
const QUIET_SECONDS: u64 = 2 * 3600;

pub(super) async fn page<N: Node>(desk: &Desk<N>, visitor: &Visitor) -> Page {
    let node = &desk.node;
    let (scrub, layout, net) = (node.scrub(), node.layout(), node.net());
    let repair = node.repair().await;
    Page {
        tab: Tab::Upkeep,
        title: "Upkeep".into(),
        main: html! {
            h1 { "Upkeep" }
            p.lead { "The mesh mends itself. Here you see how far it is, and can hurry or hold it." }
            div.cards.three {
                (verifying(&scrub, visitor))
                (moving(&layout, visitor))
                (limits(&net, visitor))
                (help())
            }
            h2 { "Repair" }
            @match &repair { Ok(repair) => { (repairs(repair)) } Err(why) => { p.empty { (capital(&why.to_string())) "." } } }
            (disks(&node.disks()))
            @if !layout.history.is_empty() { (history(&layout)) }
        },
    }
}

fn verifying(scrub: &ScrubShown, visitor: &Visitor) -> Markup {
    html! {
        section.card aria-labelledby="verify" {
            h2 #verify { "Verify what is stored" }
            div #live-scrub data-part {
                dl.facts {
                    dt { "Last whole pass" } dd { @match &scrub.finished { Some(at) => { (moment(at)) } None => { "not yet" } } }
                    dt { "Now" } dd { @if scrub.paused { "paused" } @else if scrub.began.is_some() { "verifying" } @else { "at rest" } }
                    dt { "Verified" } dd { (counted(scrub.blocks, "block")) ", " (size(scrub.bytes)) }
                    dt { "Damaged" } dd.bad[scrub.damaged > 0] { (scrub.damaged) }
                }
            }
            div.row {
                (button(visitor, "/upkeep/verify", "Verify now"))
                @if !scrub.paused { (button(visitor, "/upkeep/hold-verify", "Pause")) }
            }
        }
    }
}

fn moving(layout: &LayoutShown, visitor: &Visitor) -> Markup {
    html! {
        section.card aria-labelledby="moving" {
            h2 #moving { "Who holds what" }
            dl.facts {
                dt { "Changes by itself" } dd { @match &layout.paused { Some(since) => { "paused since " (moment(since)) } None => { "yes" } } }
                dt { "Changing hands now" } dd { (layout.changing) " of 257 parts" }
                @for of in &layout.boxes { dt { (of.name) } dd { (of.blocks) " of 256 parts" } }
            }
            div.row {
                @if layout.paused.is_some() { (button(visitor, "/upkeep/resume", "Go on")) } @else { (button(visitor, "/upkeep/hold", "Pause")) }
                (button(visitor, "/upkeep/settle", "Share out now"))
            }
        }
    }
}

fn limits(net: &NetReport, visitor: &Visitor) -> Markup {
    let shown = |limit: Option<u64>| {
        limit
            .map(|bytes| size(bytes).replace(' ', ""))
            .unwrap_or_default()
    };
    let one = |id: &str, says: &str, way: &str, limit| {
        form(
            visitor,
            "/upkeep/limit",
            html! {
                input type="hidden" name="way" value=(way);
                label for=(id) { (says) }
                div.row { input id=(id) name="rate" value=(shown(limit)) placeholder="no limit"; button type="submit" { "Set" } }
            },
        )
    };
    html! {
        section.card aria-labelledby="limits" {
            h2 #limits { "How fast" }
            (one("limit-up", "To others, bytes a second", "up", net.limit_up))
            (one("limit-down", "From others, bytes a second", "down", net.limit_down))
            @match &net.quiet {
                Some(quiet) => {
                    p { "Quiet until " (moment(&quiet.until)) ": " (size(quiet.bytes_per_second)) " a second at most." }
                    (button(visitor, "/upkeep/loud", "Go on at full speed"))
                }
                None => { (button(visitor, "/upkeep/quiet", "Quiet for two hours")) }
            }
            p.small { "For example 5M. It holds for content, never for what is small and urgent." }
        }
    }
}

fn repairs(repair: &RepairShown) -> Markup {
    html! {
        table #live-repair data-part {
            thead { tr { th scope="col" { "Box" } th scope="col" { "Proven" } th.number scope="col" { "Behind" } th scope="col" { "Verified" } } }
            tbody { @for of in &repair.boxes { tr {
                th scope="row" { (of.name) }
                td.space data-label="Proven" { span.amount { (of.proven_percent) " %" } (progress(of.proven_percent)) }
                td.number data-label="Behind" { (behind(Some(&of.behind))) }
                td data-label="Verified" { @match &of.scrub.finished { Some(at) => { (moment(at)) } None => { "not yet" } } }
            } } }
        }
    }
}

fn disks(disks: &[DiskShown]) -> Markup {
    html! {
        h2 { "Disks of this box" }
        table #live-disks data-part {
            thead { tr { th scope="col" { "Directory" } th scope="col" { "State" } th.number scope="col" { "Used" } th.number scope="col" { "Of" } th.number scope="col" { "Damaged" } } }
            tbody { @for of in disks { tr {
                th scope="row" { (of.path) }
                td.bad[of.state != DiskState::Serving] data-label="State" { (of.state.says()) }
                td.number data-label="Used" { (size(of.used)) }
                td.number data-label="Of" { (size(of.given)) }
                td.number.bad[of.damaged > 0] data-label="Damaged" { (of.damaged) }
            } } }
        }
    }
}

fn history(layout: &LayoutShown) -> Markup {
    html! {
        h2 { "What changed last" }
        ul.history {
            @for entry in layout.history.iter().rev().take(10) {
                li { (moment(&entry.at)) span { (capital(&entry.reasons.join(", "))) } span.small { "by " (entry.by) } }
            }
        }
    }
}

fn help() -> Markup {
    html! {
        section.card aria-labelledby="help" {
            h2 #help { "Ask somebody for help" }
            p { "The support bundle is one text: how this box and the others are, how they are set up, and the end of the log of this one. No password, no key, and nothing of what is in your files; the log may name buckets and objects. Read it before you send it." }
            p { a.button href=(SUPPORT) download="warren-support.txt" { "Save the support bundle" } }
        }
    }
}

/// Does what a form asks of upkeep.
pub(super) async fn act<N: Node>(desk: &Desk<N>, what: &str, form: &Form) -> Outcome {
    let node = &desk.node;
    let note = match what {
        "verify" => {
            node.set_scrub(false);
            "Every block of this box is read and proven now."
        }
        "hold-verify" => {
            node.set_scrub(true);
            "Verifying is paused."
        }
        "hold" => {
            node.pause_layout(true).await?;
            "Who holds what stays as it is until you say otherwise."
        }
        "resume" => {
            node.pause_layout(false).await?;
            "Who holds what changes by itself again."
        }
        "settle" => match node.settle_layout().await? {
            true => "Everybody is given a share now.",
            false => "Everybody has its share already.",
        },
        "quiet" => {
            node.set_quiet(quiet(QUIET_SECONDS)).await?;
            "The line is yours for two hours. What is urgent still comes, and nothing is lost."
        }
        "loud" => {
            node.set_quiet(quiet(0)).await?;
            "Content flows as fast as before."
        }
        "limit" => {
            node.set_limit(limit(form)?).await?;
            "The limit is set."
        }
        _ => return Err(unknown()),
    };
    Ok(("/upkeep".into(), Note::Done(note.into())))
}

const fn quiet(seconds: u64) -> SetQuiet {
    SetQuiet {
        schema: Schema,
        seconds,
        bytes_per_second: None,
    }
}

fn limit(form: &Form) -> Result<SetLimit, Problem> {
    let rate = form.get("rate");
    let bytes = (!rate.is_empty()).then(|| rate.parse::<ByteSize>()).transpose();
    let bytes = bytes
        .map_err(|error| NodeError::Invalid(format!("{error}, in bytes a second, or leave it empty")))?;
    Ok(SetLimit {
        schema: Schema,
        way: if form.get("way") == "down" {
            FlowWay::Down
        } else {
            FlowWay::Up
        },
        bytes_per_second: bytes.map(|size| size.0),
    })
}
