//! `warren app`: tests what an app could do with an access key.

use appliance::api::{AppTested, Schema, StepOutcome, TestApp};
use clap::Subcommand;
use hyper::Method;

use super::failure::{Exit, Failure};
use super::output::{Mark, Output, row};
use super::status::millis;
use crate::admin_client::AdminClient;

#[derive(Subcommand)]
pub(super) enum AppVerb {
    /// Store, read, list, upload in parts and delete with a key, as an app would; nothing of it stays
    Test {
        /// Id or name of the access key
        key: String,
        /// The bucket
        bucket: String,
    },
}

pub(super) async fn run(verb: AppVerb, client: &AdminClient, out: &Output) -> Result<Exit, Failure> {
    let AppVerb::Test { key, bucket } = verb;
    let request = TestApp {
        schema: Schema,
        bucket,
    };
    let tested: AppTested = client
        .send(Method::POST, &["keys", &key, "test"], &request)
        .await?;
    match out.json {
        true => out.document(&tested)?,
        false => report(&tested, out)?,
    }
    Ok(if tested.works { Exit::Ok } else { Exit::Error })
}

fn report(tested: &AppTested, out: &Output) -> Result<(), Failure> {
    let steps = tested.steps.iter().map(|step| {
        let (mark, says) = match step.outcome {
            StepOutcome::Worked => (Mark::Good, millis(step.seconds)),
            StepOutcome::Failed => (Mark::Bad, step.why.clone()),
            StepOutcome::Skipped => (Mark::Look, step.why.clone()),
        };
        row([&format!("{} {}", out.mark(mark), step.what), &says])
    });
    out.table(&steps.collect::<Vec<_>>())?;
    if !tested.left.is_empty() {
        out.note(&format!("{} {}", out.mark(Mark::Look), tested.left));
    }
    out.note(&match tested.works {
        true => format!(
            "key {:?} works with {} at {}",
            tested.key, tested.bucket, tested.endpoint
        ),
        false => format!(
            "→ what it may do: warren key allow {:?} {} --read --write",
            tested.key, tested.bucket
        ),
    });
    Ok(())
}
