//! `warren update`: installs a signed update of the system on a box that runs our image.

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::Context;
use appliance::api::Schema;
use appliance::update::{Bundle, BundleError, PublicKey, System, UpdateError, install};
use clap::Args;
use serde::Serialize;

use super::failure::{Exit, Failure};
use super::output::{Mark, Output};

#[derive(Args)]
pub(super) struct UpdateArgs {
    /// The update, a file that ends in .bundle
    bundle: PathBuf,
    /// The key by which it must be signed
    #[arg(long, value_name = "FILE", default_value = "/usr/lib/warren/update.pub")]
    key: PathBuf,
    /// Where the boot partition is mounted
    #[arg(long, value_name = "DIR", default_value = "/boot")]
    boot: PathBuf,
}

#[derive(Serialize)]
struct Updated<'a> {
    schema: Schema,
    version: &'a str,
    build: u64,
    slot: char,
}

pub(super) fn run(args: UpdateArgs, out: &Output) -> Result<Exit, Failure> {
    let system = System::of_this_box(args.boot).context("find out what this box runs")?;
    let Some(system) = system else {
        let failure = Failure::new(Exit::Error, "this box does not run the image of Warren");
        return Err(failure.hint("update it as it was installed: apt install ./warren_….deb"));
    };
    let key = fs::read_to_string(&args.key).with_context(|| format!("read {}", args.key.display()))?;
    let key = PublicKey::parse(&key).context("read the key for updates")?;
    let file = File::open(&args.bundle).with_context(|| format!("open {}", args.bundle.display()))?;
    let bundle = Bundle::open(file, &key).map_err(|error| refused(UpdateError::Bundle(error)))?;
    let installed = install(bundle, &system).map_err(refused)?;
    if out.json {
        out.document(&Updated {
            schema: Schema,
            version: &installed.version,
            build: installed.build,
            slot: installed.slot.letter(),
        })?;
        return Ok(Exit::Ok);
    }
    out.data(&format!(
        "{} Warren {} (build {}) is in slot {}: the next start tries it, and goes back by itself if it is not well",
        out.mark(Mark::Good),
        installed.version,
        installed.build,
        installed.slot.letter()
    ))?;
    Ok(Exit::Ok)
}

fn refused(error: UpdateError) -> Failure {
    let exit = match &error {
        UpdateError::Bundle(BundleError::WrongSignature) => Exit::Denied,
        UpdateError::NotNewer { .. } => Exit::Conflict,
        UpdateError::OtherSystem { .. } | UpdateError::Bundle(BundleError::NotABundle) => Exit::Usage,
        _ => return Failure::from(anyhow::Error::new(error).context("install the update")),
    };
    Failure::new(exit, error.to_string())
}
