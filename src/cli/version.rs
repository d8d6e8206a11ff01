//! `warren version`: which program this is.

use appliance::api::Schema;
use serde::Serialize;

use super::failure::{Exit, Failure};
use super::output::Output;

#[derive(Serialize)]
struct Version {
    schema: Schema,
    version: &'static str,
}

pub(super) fn run(out: &Output) -> Result<Exit, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    if out.json {
        out.document(&Version {
            schema: Schema,
            version,
        })?;
    } else {
        out.data(&format!("warren {version}"))?;
    }
    Ok(Exit::Ok)
}
