//! `warren logs` and `warren support-bundle`: what a box says of itself to whoever looks after it.

use std::path::{Path, PathBuf};

use appliance::api::LogShown;
use clap::Args;

use super::failure::{Exit, Failure};
use super::new_file;
use super::output::{Mark, Output};
use crate::admin_client::AdminClient;

#[derive(Args)]
pub(super) struct LogsArgs {
    /// How many lines, the newest
    #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 100)]
    lines: usize,
}

#[derive(Args)]
pub(super) struct SupportArgs {
    /// A new file, or `-` to print it
    #[arg(default_value = "warren-support.txt")]
    file: PathBuf,
}

/// Prints the end of the log.
pub(super) async fn run(args: &LogsArgs, client: &AdminClient, out: &Output) -> Result<Exit, Failure> {
    let mut log: LogShown = client.get(&["log"]).await?;
    log.lines.drain(..log.lines.len().saturating_sub(args.lines));
    match out.json {
        true => out.document(&log)?,
        false if log.lines.is_empty() => out.note("nothing was logged yet: log.level says how much is"),
        false => out.data(&log.lines.join("\n"))?,
    }
    Ok(Exit::Ok)
}

/// Saves what somebody who helps has to know.
pub(super) async fn support(args: &SupportArgs, client: &AdminClient, out: &Output) -> Result<Exit, Failure> {
    let is_printed = args.file == Path::new("-");
    if is_printed && out.json {
        return Err(Failure::usage(
            "the support bundle is a text, and no JSON: name a file, or leave out --json",
        ));
    }
    let text = client.text(&["support-bundle"]).await?;
    if is_printed {
        out.data(&text)?;
        return Ok(Exit::Ok);
    }
    let saved = new_file::save(&args.file, &text)?;
    if out.json {
        out.document(&saved)?;
        return Ok(Exit::Ok);
    }
    let (mark, file) = (out.mark(Mark::Good), args.file.display());
    out.note(&format!("{mark} Support bundle saved: {file}"));
    out.note("→ it has no key and no password, but names your homes, and its log may name buckets and objects: read it before you send it");
    Ok(Exit::Ok)
}
