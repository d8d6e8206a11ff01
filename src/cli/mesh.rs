//! `warren mesh`: goes on when too many boxes are lost for good.

use appliance::api::{EpochForced, ForceEpoch, Schema};
use clap::{Args, Subcommand};
use hyper::Method;

use super::failure::{Exit, Failure};
use super::output::{Mark, Output};
use crate::admin_client::AdminClient;

#[derive(Subcommand)]
pub(super) enum MeshVerb {
    /// Go on without boxes that are lost for good, where those that are left are too few to decide anything
    ///
    /// Only you can know that they are lost: if they go on elsewhere, without this box, both halves change the same
    /// objects, and what one of them wrote is lost when they meet. Wherever one box that is left held a part of the mesh,
    /// what it has of it counts. The lost boxes are removed; never start them again as what they were. Where enough boxes
    /// are left, `warren peer remove NAME --lose-data` does it without any of this.
    ForceEpoch(ForceArgs),
}

#[derive(Args)]
pub(super) struct ForceArgs {
    /// A box that is lost, by name or number; may be repeated
    #[arg(long, value_name = "BOX", required = true)]
    without: Vec<String>,
    /// Only say what it would mean
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(
    verb: MeshVerb,
    client: &AdminClient,
    yes: bool,
    out: &Output,
) -> Result<Exit, Failure> {
    let MeshVerb::ForceEpoch(args) = verb;
    let mut request = ForceEpoch {
        schema: Schema,
        without: args.without,
        dry_run: true,
    };
    let path = ["mesh", "force-epoch"];
    let mut forced: EpochForced = client.send(Method::POST, &path, &request).await?;
    if !args.dry_run {
        let question = format!(
            "{} They are removed for good. Go on without {}?",
            meaning(&forced),
            request.without.join(", ")
        );
        out.consent(yes, &question)?;
        request.dry_run = false;
        forced = client.send(Method::POST, &path, &request).await?;
    }
    if out.json {
        out.document(&forced)?;
    } else if args.dry_run {
        out.data(&meaning(&forced))?;
    } else {
        let gone = request.without.join(", ");
        out.note(&format!(
            "{} The mesh goes on without {gone}",
            out.mark(Mark::Good)
        ));
        out.note("→ see what there is one copy of now: warren status");
    }
    Ok(Exit::Ok)
}

fn meaning(forced: &EpochForced) -> String {
    match (forced.partitions, forced.emptied) {
        (0, _) => "Enough boxes are left to decide everything.".into(),
        (stuck, 0) => format!(
            "Too few boxes are left in {stuck} of 257 parts of the mesh; what they have of them counts."
        ),
        (stuck, emptied) => format!(
            "Too few boxes are left in {stuck} of 257 parts of the mesh, and none at all in {emptied}: everything in those is lost."
        ),
    }
}
