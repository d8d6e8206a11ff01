//! `warren why`: what the verdict rests on, reason by reason, and what to do about each.

use appliance::api::{Status, Verdict};

use super::failure::{Exit, Failure};
use super::output::{Mark, Output};
use super::status::exit_of;
use crate::admin_client::AdminClient;

pub(super) async fn run(client: &AdminClient, out: &Output) -> Result<Exit, Failure> {
    let status: Status = client.get(&["status"]).await?;
    match out.json {
        true => out.document(&status)?,
        false => out.data(&text(&status, out))?,
    }
    Ok(exit_of(status.verdict))
}

fn text(status: &Status, out: &Output) -> String {
    let mut lines = vec![status.summary.clone()];
    if status.reasons.is_empty() {
        lines.push(format!(
            "{} nothing is wrong, and nothing is unknown",
            out.mark(Mark::Good)
        ));
    }
    for reason in &status.reasons {
        let mark = match reason.verdict {
            Verdict::Ok | Verdict::Degraded => Mark::Look,
            Verdict::AtRisk | Verdict::Unavailable => Mark::Bad,
        };
        lines.push(format!("{} {}", out.mark(mark), reason.what));
        lines.push(format!("  → {}", reason.advice));
    }
    lines.push(status.if_burned.clone());
    lines.join("\n")
}
