//! The overview: how safe the data is, in one sentence, and what that rests on.

use maud::{Markup, html};

use super::layout::Tab;
use super::pictures::{map, ring};
use super::pieces::{bar, counted, moment, percent, progress, size, tone};
use super::{Page, past};
use crate::api::{Behind, Home, PathKind, PeerPath, RepairShown, Status, Verdict};
use crate::desk::Desk;
use crate::{Node, Past, lasted, verdict};

pub(super) async fn page<N: Node>(desk: &Desk<N>) -> Page {
    let status = verdict::status(desk.facts().await);
    let (repair, seen) = (desk.node.repair().await.ok(), desk.node.past());
    Page {
        tab: Tab::Overview,
        title: status.name.clone(),
        main: html! {
            (said(&status))
            (pictures(&status, &seen))
            section aria-labelledby="homes-title" {
                div.title-line { h2 #homes-title { "Homes" } a href="/homes" { "Manage" } }
                (table(&status.homes, "overview-homes"))
            }
            @if let Some(repair) = &repair { (upkeep(repair)) }
            (next(&status))
        },
    }
}

/// The verdict, what a fire would cost, and why it is not better.
fn said(status: &Status) -> Markup {
    let (word, sentence) = status.summary.split_once(": ").unwrap_or(("", &status.summary));
    html! {
        section.verdict.(tone(status.verdict)) #live-verdict data-part aria-live="polite" {
            p.name { (status.name) }
            h1 { span.word { (word) } " " (capital(sentence)) }
            p.burned { (status.if_burned) }
            @if !status.reasons.is_empty() {
                ul.reasons {
                    @for reason in &status.reasons {
                        li.(tone(reason.verdict)) {
                            strong { (sentence_of(&reason.what, &status.homes)) }
                            span { (capital(&reason.advice)) }
                        }
                    }
                }
            }
        }
    }
}

/// A sentence as one that stands alone; the name of a box at its beginning keeps its letters.
fn sentence_of(what: &str, homes: &[Home]) -> String {
    match homes.iter().any(|home| what.starts_with(&home.name)) {
        true => what.to_owned(),
        false => capital(what),
    }
}

fn pictures(status: &Status, seen: &Past) -> Markup {
    let given: u64 = status.homes.iter().map(|home| home.given_bytes).sum();
    let used: u64 = status.homes.iter().filter_map(|home| home.used_bytes).sum();
    let free = |home: &Home| Some(home.given_bytes.saturating_sub(seen.used(home)?));
    let free: u64 = status.homes.iter().filter_map(free).sum();
    html! {
        div.cards #live-pictures data-part {
            @if let Some(copies) = &status.copies {
                section.card aria-labelledby="copies-title" {
                    h2 #copies-title { "Copies" }
                    (ring(copies))
                    p.small {
                        @if !copies.known { "Not everything is known yet." }
                        @else if copies.goal == 1 { "A second home makes it two." }
                        @else { "Each in another home." }
                    }
                }
            }
            section.card.wide aria-labelledby="map-title" {
                h2 #map-title { "Sites" }
                (map(&status.homes))
            }
            section.card aria-labelledby="space-title" {
                h2 #space-title { "Space" }
                p.large { (size(used)) }
                (bar(used, given, &format!("{} of {} used", size(used), size(given))))
                p.small { (percent(used, given)) " % of " (size(given)) " given by " (counted(u64::try_from(status.homes.len()).unwrap_or(0), "box").replace("boxs", "boxes")) }
                p.small { (past::lasting(seen, &status.homes)) }
                dl.facts {
                    dt { "Free" } dd { (size(free)) }
                    dt { "Buckets" } dd { (status.buckets) }
                    dt { "Keys" } dd { (status.keys) }
                }
            }
        }
    }
}

/// All homes in a table, which is a list of cards on a phone.
pub(super) fn table(homes: &[Home], id: &str) -> Markup {
    html! {
        table.homes id=(id) data-part {
            thead { tr {
                th scope="col" { "Home" } th scope="col" { "State" } th scope="col" { "Used" }
                th.number scope="col" { "Behind" } th scope="col" { "Path" } th.number scope="col" { "Version" }
            } }
            tbody {
                @for home in homes {
                    tr {
                        th scope="row" {
                            (home.zone)
                            span.small { (home.name) @if home.here { " · this box" } }
                        }
                        td data-label="State" { (state(home)) }
                        td.space data-label="Used" { (used(home)) }
                        td.number data-label="Behind" { (behind(home.behind.as_ref())) }
                        td data-label="Path" { (path(home.path.as_ref(), home.here)) }
                        td.number data-label="Version" { (home.version.as_deref().unwrap_or("–")) }
                    }
                }
            }
        }
    }
}

fn state(home: &Home) -> Markup {
    let (tone, word) = match (home.online || home.here, home.draining) {
        (true, false) => ("good", "online".to_owned()),
        (true, true) => ("look", "handing over".to_owned()),
        (false, _) => (
            "bad",
            home.seen_seconds.filter(|seconds| *seconds >= 60).map_or_else(
                || "away".to_owned(),
                |seconds| format!("away {}", lasted(seconds)),
            ),
        ),
    };
    html! { span.state.(tone) { (word) } }
}

fn used(home: &Home) -> Markup {
    let given = size(home.given_bytes);
    html! {
        @match home.used_bytes {
            Some(used) => {
                span.amount { (size(used)) " of " (given) }
                (bar(used, home.given_bytes, &format!("{} percent used", percent(used, home.given_bytes))))
            }
            None => { span.amount { (given) " given" } }
        }
    }
}

/// What a box lacks, and until when.
pub(super) fn behind(behind: Option<&Behind>) -> Markup {
    html! {
        @match behind {
            None => { "?" }
            Some(behind) if behind.blocks == 0 && behind.changes == 0 => { "–" }
            Some(behind) => {
                (size(behind.bytes))
                @if behind.changes > 0 { span.small { (counted(behind.changes, "change")) } }
                @if let Some(eta) = behind.eta_seconds { span.small { "done in " (lasted(eta)) } }
            }
        }
    }
}

fn path(path: Option<&PeerPath>, here: bool) -> Markup {
    html! {
        @match path {
            None if here => { "here" }
            None => { "–" }
            Some(path) => {
                (match path.kind { PathKind::Lan => "LAN", PathKind::Direct => "direct", PathKind::Relayed => "relayed" })
                @if let Some(seconds) = path.round_trip_seconds { " " (format!("{:.0} ms", seconds * 1e3)) }
                @if let Some(via) = &path.via { span.small { "by " (via) } }
                @if let Some(bytes) = path.sent_bytes_per_second { span.small { "↑ " (size(bytes)) "/s" } }
                @if let Some(bytes) = path.received_bytes_per_second { span.small { "↓ " (size(bytes)) "/s" } }
            }
        }
    }
}

/// How far repairing and verifying have come.
fn upkeep(repair: &RepairShown) -> Markup {
    html! {
        section aria-labelledby="upkeep-title" {
            div.title-line { h2 #upkeep-title { "Repair and verification" } a href="/upkeep" { "Verify now" } }
            div.cards #live-upkeep data-part {
                @for of in &repair.boxes {
                    section.card {
                        h3 { (of.name) }
                        p.small { (of.proven_percent) " % is known to be where it should be" }
                        (progress(of.proven_percent))
                        dl.facts {
                            dt { "Behind" } dd { (behind(Some(&of.behind))) }
                            dt { "Verified" }
                            dd { @match &of.scrub.finished { Some(at) => { (moment(at)) } None => { "not yet" } } }
                            @if of.scrub.damaged > 0 { dt { "Damaged" } dd.bad { (of.scrub.damaged) } }
                        }
                    }
                }
            }
        }
    }
}

/// What a person may want to do next.
fn next(status: &Status) -> Markup {
    let alone = status.homes.len() < 2 && status.verdict <= Verdict::Degraded;
    html! {
        nav.next aria-label="Next steps" {
            @if alone { a.button.main href="/invites" { "Invite a home" } a.button href="/connect" { "Connect an app" } }
            @else { a.button.main href="/connect" { "Connect an app" } a.button href="/invites" { "Invite a home" } }
            a.button href="/buckets" { "Create a bucket" }
        }
    }
}

/// A sentence as one that stands alone.
pub(super) fn capital(sentence: &str) -> String {
    let mut letters = sentence.chars();
    let first = letters
        .next()
        .map(|first| first.to_uppercase().to_string())
        .unwrap_or_default();
    // A command keeps its own letters.
    if sentence.starts_with("warren ") {
        sentence.to_owned()
    } else {
        first + letters.as_str()
    }
}
