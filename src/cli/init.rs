//! `warren init`: creates a box without running it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use appliance::api::Schema;
use clap::Args;
use serde::Serialize;

use super::Common;
use super::failure::{Exit, Failure};
use super::output::{Mark, Output, row};
use super::said::Said;
use super::server::{runtime, show};
use crate::config::{Config, PageAddress};
use crate::first_start::{Made, ShowSecrets};
use crate::node::{Created, Loss, Node, Start};
use crate::{endpoint, logging};
use appliance::ByteSize;

#[derive(Args)]
pub(super) struct InitArgs {
    /// What people will call the mesh, e.g. "Maple family"
    #[arg(long)]
    name: Option<String>,
    /// What people call the place of this box, e.g. "Anna's house"
    #[arg(long)]
    zone: Option<String>,
    /// How much of the disk the box may use, e.g. 500G [default: all of it]
    #[arg(long, value_name = "SIZE", conflicts_with = "data")]
    give: Option<String>,
    /// Directory of blocks and how much it may hold, e.g. /mnt/a:500G; may be repeated
    #[arg(long, value_name = "DIR[:SIZE]")]
    data: Vec<String>,
    /// Print the secrets even when stdout is no terminal
    #[arg(long)]
    show_secrets: bool,
}

pub(super) fn run(common: &Common, args: InitArgs, out: &Output) -> Result<Exit, Failure> {
    let secrets = if args.show_secrets {
        ShowSecrets::Always
    } else {
        ShowSecrets::OnTerminal
    };
    let said = Said {
        name: args.name,
        zone: args.zone,
        give: args.give,
        data: args.data,
        mesh_public: Vec::new(),
    };
    let config = said.decide(common)?;
    logging::start(&config.log_level.value, config.log_format.value, out.colour);
    let state = config.state.value.clone();
    let start = Start {
        config,
        loss: Loss::Refuse,
        recovery_phrase: None,
    };
    let Some(created) = runtime()?.block_on(Node::create(&start))? else {
        let message = format!("{} holds a box already", state.display());
        return Err(Failure::new(Exit::Conflict, message).hint("run it with `warren server`"));
    };
    let config = start.config;
    // The secrets first: nothing that fails later may take them along.
    let urls = endpoint::urls(config.s3_address.value.0);
    let url = urls.first().map(String::as_str).unwrap_or_default();
    let kept = show(
        &Made {
            first: &created.first,
            endpoint: url,
            page: None,
        },
        &state,
        secrets,
        out,
    )?;
    said.remember(&config)?;
    report(&config, &created, url, kept, out)?;
    created.closed?;
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct Initialised<'a> {
    schema: Schema,
    name: &'a str,
    zone: &'a str,
    node: String,
    state: String,
    given_bytes: u64,
    sync_seconds: Option<f64>,
    s3: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secrets_file: Option<String>,
}

fn report(
    config: &Config,
    created: &Created,
    url: &str,
    secrets_file: Option<String>,
    out: &Output,
) -> Result<(), Failure> {
    let first = config.data.value.first().map(|data| data.path.as_path());
    let sync = first.and_then(|path| sync_time(path).ok());
    if out.json {
        return Ok(out.document(&Initialised {
            schema: Schema,
            name: &config.name.value,
            zone: &config.zone.value,
            node: created.node.to_string(),
            state: config.state.value.display().to_string(),
            given_bytes: created.given,
            sync_seconds: sync.map(|time| time.as_secs_f64()),
            s3: url,
            secrets_file,
        })?);
    }
    let (good, look) = (out.mark(Mark::Good), out.mark(Mark::Look));
    let page = match &config.page.address.value {
        PageAddress::Off => vec!["off".to_owned()],
        PageAddress::At(addresses) => addresses
            .first()
            .map(|first| endpoint::urls(*first))
            .unwrap_or_default(),
    };
    let page = page.into_iter().next().unwrap_or_default();
    let place = first.map(|path| path.display().to_string()).unwrap_or_default();
    let storage = storage_line(first, created.given, sync);
    out.data(&format!(
        "{good} Box {:?} created in {:?}",
        config.name.value, config.zone.value
    ))?;
    out.table(&[
        row([&format!("{good} Storage"), &place, &storage]),
        row([&format!("{good} S3"), url, "any region"]),
        row([
            &format!("{good} Page"),
            &page,
            "login code: warren login-code, once it runs",
        ]),
        row([
            &format!("{look} Copies"),
            "1 of 1",
            "your data lives only on this box until a second home joins",
        ]),
    ])?;
    out.note("→ Run it:         warren server");
    out.note("→ Invite a home:  warren invite");
    Ok(())
}

pub(super) fn storage_line(path: Option<&Path>, given: u64, sync: Option<Duration>) -> String {
    let total = path
        .and_then(|path| rustix::fs::statvfs(path).ok())
        .map(|fs| fs.f_blocks * fs.f_frsize);
    let of = total
        .map(|total| format!(" of {}", ByteSize(total)))
        .unwrap_or_default();
    let sync = sync
        .map(|time| format!("   sync {:.1} ms", time.as_secs_f64() * 1e3))
        .unwrap_or_default();
    format!("{} given{of}{sync}", ByteSize(given))
}

/// How long the disk takes to make a small write durable: the middle of five.
pub(super) fn sync_time(directory: &Path) -> io::Result<Duration> {
    let path = directory.join(".sync-time");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)?;
    let mut times = (0..5)
        .map(|_| {
            let start = Instant::now();
            file.write_all(&[0; 4096])?;
            file.sync_data()?;
            Ok(start.elapsed())
        })
        .collect::<io::Result<Vec<_>>>()?;
    fs::remove_file(&path)?;
    times.sort_unstable();
    Ok(times[2])
}
