//! `warren layout`: who is wanted to hold what, what would change next, and a pause.

use appliance::ByteSize;
use appliance::api::{LayoutPreviewShown, LayoutShown, Schema, SetPaused, Settled};
use clap::Subcommand;
use hyper::Method;

use super::failure::{Exit, Failure};
use super::output::{Mark, Output, row};
use crate::admin_client::AdminClient;

#[derive(Subcommand)]
pub(super) enum LayoutVerb {
    /// Show which box holds how much of everything
    Show,
    /// Show what would change next, and what waits
    Preview,
    /// Show the last changes, and why they were made
    History,
    /// Keep everything where it is: nothing moves by itself any more
    Pause,
    /// Let it change by itself again
    Resume,
    /// Give boxes their share that joined a moment ago, without waiting for ten minutes
    Settle,
}

pub(super) async fn run(verb: LayoutVerb, client: &AdminClient, out: &Output) -> Result<Exit, Failure> {
    match verb {
        LayoutVerb::Show => show(&client.get(&["layout"]).await?, out)?,
        LayoutVerb::Preview => preview(&client.get(&["layout", "preview"]).await?, out)?,
        LayoutVerb::History => history(&client.get(&["layout"]).await?, out)?,
        LayoutVerb::Pause => pause(client, true, out).await?,
        LayoutVerb::Resume => pause(client, false, out).await?,
        LayoutVerb::Settle => {
            let nothing = serde_json::Value::Null;
            let settled: Settled = client.send(Method::POST, &["layout", "settle"], &nothing).await?;
            match (out.json, settled.changed) {
                (true, _) => out.document(&settled)?,
                (false, true) => out.note(&format!(
                    "{} every box that is here gets its share",
                    out.mark(Mark::Good)
                )),
                (false, false) => out.note("nothing to be done: every box that is here has its share"),
            }
        }
    }
    Ok(Exit::Ok)
}

async fn pause(client: &AdminClient, paused: bool, out: &Output) -> Result<(), Failure> {
    let request = SetPaused {
        schema: Schema,
        paused,
    };
    let layout: LayoutShown = client.send(Method::PUT, &["layout", "paused"], &request).await?;
    Ok(show(&layout, out)?)
}

fn show(layout: &LayoutShown, out: &Output) -> std::io::Result<()> {
    if out.json {
        return out.document(layout);
    }
    let mut rows = vec![row(["#", "BOX", "ZONE", "BLOCKS", "ROWS"])];
    rows.extend(layout.boxes.iter().map(|one| {
        let share = |parts: usize| format!("{parts}/256");
        row([
            &one.member.to_string(),
            &one.name,
            &one.zone,
            &share(one.blocks),
            &share(one.rows),
        ])
    }));
    out.table(&rows)?;
    let paused = match &layout.paused {
        Some(since) => format!("paused since {since}: warren layout resume"),
        None => "changes by itself".into(),
    };
    out.data(&format!(
        "Version {}, {paused}; {} of 257 parts change hands now",
        layout.version, layout.changing
    ))
}

fn preview(preview: &LayoutPreviewShown, out: &Output) -> std::io::Result<()> {
    if out.json {
        return out.document(preview);
    }
    let mut lines: Vec<String> = preview.reasons.clone();
    match lines.is_empty() {
        true => lines.push("nothing would change now".into()),
        false => lines.push(format!(
            "{} copies of 256 parts, about {}; other voters in {} of 256 parts",
            preview.copies,
            ByteSize(preview.bytes),
            preview.rows
        )),
    }
    lines.extend(preview.waits.iter().map(|wait| match &wait.until {
        Some(until) => format!("waits until {until}: {}", wait.what),
        None => format!("waits: {}", wait.what),
    }));
    out.data(&lines.join("\n"))
}

fn history(layout: &LayoutShown, out: &Output) -> std::io::Result<()> {
    if out.json {
        return out.document(layout);
    }
    let mut rows = vec![row(["WHEN", "BY", "COPIES", "ROWS", "WHY"])];
    rows.extend(layout.history.iter().map(|change| {
        row([
            &change.at,
            &change.by,
            &change.copies.to_string(),
            &change.rows.to_string(),
            &change.reasons.join("; "),
        ])
    }));
    out.table(&rows)
}
