//! Writes the support bundle: all that somebody who helps has to know of a box, and no secret.
//!
//! One text rather than an archive: whoever sends it can read what it says before, and nothing is needed to open it.

use serde::Serialize;

use crate::desk::Desk;
use crate::{Node, metrics, verdict};

/// Lines of the log in it.
const LOG_LINES: usize = 1_000;

/// What it says first.
const HEAD: &str = "\
Read it before you send it. It names your homes, their boxes and addresses, and how they are set up; the log may name buckets
and objects. It has no password, no key, no recovery phrase, no invite and nothing of what you store.
";

/// The support bundle of this box, as it is now.
pub(crate) async fn bundle<N: Node>(desk: &Desk<N>) -> String {
    let node = &desk.node;
    let facts = desk.facts().await;
    let measures = node.measures().await;
    let peers = node.peers().await;
    let mut text = format!(
        "Support bundle of {}\n{} {} on {} {}, {}\n\n{HEAD}",
        facts.name,
        env!("CARGO_PKG_NAME").trim_end_matches("-appliance"),
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        jiff::Timestamp::now(),
    );
    let numbers = metrics::text(&facts, &measures);
    document(&mut text, "Status", &verdict::status(facts));
    document(&mut text, "Settings", &node.settings());
    document(&mut text, "Boxes", &peers);
    document(&mut text, "Reach", &node.net());
    document(&mut text, "HTTPS", &desk.https());
    document(&mut text, "Who holds what", &node.layout());
    match node.repair().await {
        Ok(repair) => document(&mut text, "Repair", &repair),
        Err(error) => section(&mut text, "Repair", &error.to_string()),
    }
    document(&mut text, "Scrub", &node.scrub());
    document(&mut text, "Disks", &node.disks());
    document(&mut text, "History", &node.past().shown(&peers));
    section(&mut text, "Numbers", &numbers);
    let log = node.log();
    let newest = &log[log.len().saturating_sub(LOG_LINES)..];
    section(&mut text, "Log", &newest.join("\n"));
    text
}

fn document(text: &mut String, name: &str, document: &impl Serialize) {
    let shown = serde_json::to_string_pretty(document);
    section(text, name, &shown.unwrap_or_else(|error| error.to_string()));
}

fn section(text: &mut String, name: &str, content: &str) {
    for part in ["\n== ", name, " ==\n", content.trim_end(), "\n"] {
        text.push_str(part);
    }
}
