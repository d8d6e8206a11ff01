//! What a box was told when it was made: decides its configuration, and is kept so that `warren server` needs no flags.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;

use super::failure::Failure;
use super::{Common, load};
use crate::config::{self, Config, Flags};
use appliance::ByteSize;

/// What a person said on the command line of `init` or `join`.
pub(super) struct Said {
    /// The name of the mesh.
    pub(super) name: Option<String>,
    pub(super) zone: Option<String>,
    pub(super) give: Option<String>,
    pub(super) data: Vec<String>,
    /// Where the internet reaches this box.
    pub(super) mesh_public: Vec<String>,
}

impl Said {
    /// The configuration as this command line has it, with `--give` as the size of the default directory.
    pub(super) fn decide(&self, common: &Common) -> Result<Config, Failure> {
        let mut flags = Flags {
            name: self.name.clone(),
            zone: self.zone.clone(),
            data: self.data.clone(),
            mesh_public: self.mesh_public.clone(),
            ..Flags::default()
        };
        if let Some(give) = &self.give {
            let size: ByteSize = give
                .parse()
                .map_err(|error| Failure::usage(format!("--give: {error}")))?;
            let state = load(common, flags.clone())?.state.value;
            flags.data = vec![format!("{}:{}", state.join("blocks").display(), size.0)];
        }
        Ok(load(common, flags)?)
    }

    /// Keeps what was said in the state directory.
    pub(super) fn remember(&self, config: &Config) -> Result<(), Failure> {
        let said_data = self.give.is_some() || !self.data.is_empty();
        let said_public = !self.mesh_public.is_empty();
        let mesh = config::MeshSection {
            public: said_public.then(|| self.mesh_public.clone()),
            ..config::MeshSection::default()
        };
        let file = config::File {
            name: self.name.clone(),
            zone: self.zone.as_ref().map(|_| config.zone.value.clone()),
            data: said_data.then(|| config.data.value.iter().map(ToString::to_string).collect()),
            mesh,
            ..config::File::default()
        };
        let text = toml::to_string(&file).context("write what this box was told")?;
        let path = Config::init_file(&config.state.value);
        keep(&path, &text).with_context(|| format!("write {}", path.display()))?;
        Ok(())
    }
}

/// Writes a file that appears whole or not at all.
fn keep(path: &Path, text: &str) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = File::create(&partial)?;
    file.write_all(
        b"# What this box was told when it was made. Flags, WARREN_* and the configuration file come first.\n",
    )?;
    file.write_all(text.as_bytes())?;
    // Sync before renaming: after a crash the name must never point at a torn file.
    file.sync_all()?;
    fs::rename(&partial, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}
