//! `warren man DIR`: writes the manual, a page for each command.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command};

use super::failure::{Exit, Failure};

#[derive(Args)]
pub(super) struct ManArgs {
    /// The directory that receives the pages; it must exist
    dir: PathBuf,
}

pub(super) fn run(args: &ManArgs, command: Command) -> Result<Exit, Failure> {
    clap_mangen::generate_to(command, &args.dir)
        .with_context(|| format!("write the manual to {}", args.dir.display()))?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::CommandLine;

    #[test]
    fn every_command_that_help_shows_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        run(
            &ManArgs {
                dir: dir.path().into(),
            },
            CommandLine::command(),
        )
        .unwrap();
        let page = |name: &str| dir.path().join(format!("{name}.1")).exists();
        let command = CommandLine::command();
        let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
        let missing: Vec<_> = shown
            .map(|verb| format!("warren-{}", verb.get_name()))
            .chain(["warren".to_owned(), "warren-bucket-create".to_owned()])
            .filter(|name| !page(name))
            .collect();
        assert_eq!(missing, Vec::<String>::new());
    }
}
