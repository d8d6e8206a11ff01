//! `warren password`: sets the password of the page, on a box that does not run.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use anyhow::Context;
use appliance::{Access, AdminSocket, PasswordError};
use clap::Args;
use zeroize::Zeroizing;

use super::failure::{Exit, Failure};
use super::output::{Mark, Output};
use super::{Common, load, secret};
use crate::admin_client::socket_path;
use crate::config::Flags;

#[derive(Args)]
pub(super) struct PasswordArgs {
    /// Read it from this private file instead of stdin
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

pub(super) async fn run(common: &Common, args: PasswordArgs, out: &Output) -> Result<Exit, Failure> {
    let state = load(common, Flags::default())?.state.value;
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&state);
    made.with_context(|| format!("create state directory {}", state.display()))?;
    // A running box has its own mind of who may log in.
    let _socket = AdminSocket::bind(&socket_path(&state)).map_err(|error| {
        Failure::from(anyhow::Error::from(error)).hint("on a box that runs: warren login-code")
    })?;
    let password = secret::read(args.password_file.as_deref(), "New password of the page", out)?;
    let access = Access::open(&state);
    let chosen = access
        .choose_password(Zeroizing::new(password.expose().to_owned()))
        .await;
    chosen.map_err(|error| match error {
        PasswordError::Weak(why) => Failure::usage(why),
        PasswordError::Failed(_) => Failure::from(anyhow::Error::from(error)),
    })?;
    out.note(&format!(
        "{} The page asks for it from the next start on",
        out.mark(Mark::Good)
    ));
    Ok(Exit::Ok)
}
