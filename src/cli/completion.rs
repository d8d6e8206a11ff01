//! `warren completion SHELL`: a script that makes the shell complete our words.

use std::io::{self, Write};

use clap::{Args, Command};
use clap_complete::Shell;

use super::failure::{Exit, Failure};

#[derive(Args)]
pub(super) struct CompletionArgs {
    /// Which shell
    shell: Shell,
}

pub(super) fn run(args: &CompletionArgs, mut command: Command) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "warren", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(Exit::Ok)
}
