//! The pictures of the console: plain SVG, each with words for those who do not see it.

use std::f64::consts::TAU;
use std::fmt::Write;

use maud::{Markup, html};
use qrcodegen::{QrCode, QrCodeEcc};

use crate::api::{CopiesShown, Home, PathKind};

/// Empty modules around a QR code, without which phones do not see it.
const QUIET: i32 = 4;

/// A QR code; none where the text is too long for one.
pub(crate) fn qr(text: &str, says: &str) -> Option<Markup> {
    let code = QrCode::encode_text(text, QrCodeEcc::Low).ok()?;
    let mut path = String::new();
    for y in 0..code.size() {
        let mut x = 0;
        while x < code.size() {
            let run = (x..code.size()).take_while(|x| code.get_module(*x, y)).count();
            let run = i32::try_from(run).unwrap_or(0);
            if run > 0 {
                // Writing to a string does not fail.
                let _ = write!(path, "M{} {}h{run}v1h-{run}z", x + QUIET, y + QUIET);
            }
            x += run.max(1);
        }
    }
    let side = code.size() + 2 * QUIET;
    Some(html! {
        svg viewBox={ "0 0 " (side) " " (side) } role="img" aria-label=(says) shape-rendering="crispEdges" {
            rect.paper width=(side) height=(side) {}
            path.ink d=(path) {}
        }
    })
}

/// A ring with a part for each copy there should be, full where there is one.
pub(super) fn ring(copies: &CopiesShown) -> Markup {
    const RADIUS: f64 = 50.0;
    let goal = u32::try_from(copies.goal.clamp(1, 12)).unwrap_or(1);
    let least = copies.least.min(copies.goal);
    let around = TAU * RADIUS;
    let gap = if goal == 1 { 0.0 } else { 8.0 };
    let part = around / f64::from(goal);
    let says = format!("{least} of {} copies of everything", copies.goal);
    html! {
        svg.ring viewBox="0 0 128 128" role="img" aria-label=(says) {
            @for n in 0..goal {
                @let full = usize::try_from(n).is_ok_and(|n| n < least);
                circle class=(if full { "full" } else { "hollow" }) cx="64" cy="64" r=(RADIUS) fill="none" stroke-width="11"
                    stroke-dasharray={ (tenths(part - gap)) " " (tenths(around - part + gap)) }
                    stroke-dashoffset=(tenths(-(part * f64::from(n) + gap / 2.0)))
                    transform="rotate(-90 64 64)" {}
            }
            text.number x="64" y="69" text-anchor="middle" { (least) "/" (copies.goal) }
            text.word x="64" y="87" text-anchor="middle" { (if copies.goal == 1 { "copy" } else { "copies" }) }
        }
    }
}

/// A place on the map.
struct Site<'a> {
    zone: &'a str,
    boxes: usize,
    here: bool,
    online: bool,
    path: Option<PathKind>,
}

/// The sites, this one in the middle, with a line to each that is thick where the path is good.
pub(super) fn map(homes: &[Home]) -> Markup {
    let sites = sites(homes);
    let others = sites.iter().filter(|site| !site.here).count().max(1);
    let step = TAU / u32::try_from(others).map_or(1.0, f64::from);
    let alone = sites.len() < 2;
    let mut placed = Vec::new();
    let mut angle = -TAU / 12.0;
    for site in &sites {
        if site.here {
            placed.push((site, 170.0, 100.0));
        } else {
            placed.push((site, 170.0 + 118.0 * angle.cos(), 100.0 + 66.0 * angle.sin()));
            angle += step;
        }
    }
    let says = if alone {
        "One home, and no other yet".to_owned()
    } else {
        format!("{} homes and the paths between them", sites.len())
    };
    html! {
        svg.map viewBox=(if sites.len() < 3 { "100 6 256 152" } else { "24 8 292 190" }) role="img" aria-label=(says) {
            @for (site, x, y) in &placed {
                @if !site.here {
                    line class={ "link " (link(site)) } x1="170" y1="100" x2=(tenths(*x)) y2=(tenths(*y)) { title { (way(site)) } }
                }
            }
            @if alone {
                line.link.none x1="170" y1="100" x2="272" y2="67" {}
                circle.site.ghost cx="272" cy="67" r="15" {}
                text.label x="272" y="101" text-anchor="middle" { "a second home" }
            }
            @for (site, x, y) in &placed {
                circle class={ "site " (if site.here { "here" } else if site.online { "there" } else { "away" }) }
                    cx=(tenths(*x)) cy=(tenths(*y)) r=(if site.here { "20" } else { "15" }) { title { (site.zone) } }
                @if site.boxes > 1 {
                    text.count x=(tenths(*x)) y=(tenths(*y + 5.0)) text-anchor="middle" { (site.boxes) }
                }
                text.label x=(tenths(*x)) y=(tenths(*y + if site.here { 38.0 } else { 33.0 })) text-anchor="middle" { (short(site.zone)) }
            }
        }
    }
}

/// The homes by the place where they stand, in their order.
fn sites(homes: &[Home]) -> Vec<Site<'_>> {
    let mut sites: Vec<Site<'_>> = Vec::new();
    for home in homes {
        let path = home.path.as_ref().map(|path| path.kind);
        match sites.iter_mut().find(|site| site.zone == home.zone) {
            Some(site) => {
                site.boxes += 1;
                site.here |= home.here;
                site.online |= home.online;
                site.path = site.path.or(path);
            }
            None => sites.push(Site {
                zone: &home.zone,
                boxes: 1,
                here: home.here,
                online: home.online,
                path,
            }),
        }
    }
    sites
}

fn link(site: &Site<'_>) -> &'static str {
    match site.path {
        _ if !site.online => "none",
        Some(PathKind::Lan) => "lan",
        Some(PathKind::Direct) => "direct",
        Some(PathKind::Relayed) | None => "relayed",
    }
}

fn way(site: &Site<'_>) -> String {
    let how = match link(site) {
        "none" => "away",
        "lan" => "in one network",
        "direct" => "direct",
        _ => "relayed by another box",
    };
    format!("{}: {how}", site.zone)
}

/// A name that fits under a circle.
fn short(name: &str) -> String {
    match name.char_indices().nth(16) {
        Some((at, _)) => format!("{}…", &name[..at]),
        None => name.to_owned(),
    }
}

fn tenths(number: f64) -> String {
    format!("{number:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(goal: usize, least: usize) -> CopiesShown {
        CopiesShown {
            goal,
            least,
            homes: goal,
            known: true,
        }
    }

    #[test]
    fn the_ring_has_a_part_for_each_copy_and_is_full_where_there_is_one() {
        let shown = ring(&copies(3, 2)).into_string();
        assert_eq!(
            (
                shown.matches("\"full\"").count(),
                shown.matches("\"hollow\"").count()
            ),
            (2, 1)
        );
        assert!(shown.contains("2 of 3 copies"));
        assert!(ring(&copies(0, 0)).into_string().contains("hollow"));
    }

    #[test]
    fn a_code_has_quiet_around_it_and_too_long_a_text_has_none() {
        let shown = qr("WRN1QQQQ", "invite").unwrap().into_string();
        assert!(shown.contains("viewBox=\"0 0 29 29\"") && shown.contains("M4 4h7v1h-7z"));
        assert!(qr(&"x".repeat(10_000), "").is_none());
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(short("Großmutters Häuschen am See"), "Großmutters Häus…");
        assert_eq!(short("flat"), "flat");
    }
}
