//! `warren config`: what the node runs with, and whether a file is fine.

use std::path::PathBuf;

use appliance::api::{ConfigShown, Schema};
use clap::Subcommand;
use serde::Serialize;

use super::failure::{Exit, Failure};
use super::output::{Mark, Output, row};
use super::{Common, ask, load};
use crate::admin_client::{AdminClient, AskError};
use crate::config::Flags;
use crate::console;

#[derive(Subcommand)]
pub(super) enum ConfigVerb {
    /// Show every setting and who set it
    Show,
    /// Check the configuration without starting
    Check {
        /// The file to check [default: the one the server would read]
        file: Option<PathBuf>,
    },
}

#[derive(Serialize)]
struct Checked {
    schema: Schema,
    ok: bool,
}

pub(super) fn run(common: &Common, verb: ConfigVerb, out: &Output) -> Result<Exit, Failure> {
    match verb {
        ConfigVerb::Show => ask(show(common, out)),
        ConfigVerb::Check { file } => check(common, file, out),
    }
}

/// Asks the running node, for only it knows its flags and environment.
async fn show(common: &Common, out: &Output) -> Result<Exit, Failure> {
    let config = load(common, Flags::default())?;
    let shown: ConfigShown = match AdminClient::new(&config.state.value).get(&["config"]).await {
        Err(AskError::NotRunning(_)) => {
            out.note("no server is running; started from here it would use");
            ConfigShown {
                schema: Schema,
                settings: console::settings(&config),
            }
        }
        asked => asked?,
    };
    if out.json {
        out.document(&shown)?;
        return Ok(Exit::Ok);
    }
    let head = [row(["KEY", "VALUE", "SET BY"])];
    let settings = shown
        .settings
        .iter()
        .map(|set| row([&set.key, &set.value, &set.source]));
    out.table(&head.into_iter().chain(settings).collect::<Vec<_>>())?;
    Ok(Exit::Ok)
}

fn check(common: &Common, file: Option<PathBuf>, out: &Output) -> Result<Exit, Failure> {
    let common = Common {
        config: file.or_else(|| common.config.clone()),
        state: common.state.clone(),
        ..*common
    };
    load(&common, Flags::default())?;
    if out.json {
        out.document(&Checked {
            schema: Schema,
            ok: true,
        })?;
    } else {
        out.note(&format!("{} the configuration is fine", out.mark(Mark::Good)));
    }
    Ok(Exit::Ok)
}
