//! `warren status`: how the box is, in the words of its own verdict.

use appliance::api::{Status, Verdict};

use super::failure::{Exit, Failure};
use super::output::{Mark, Output, row};
use crate::admin_client::AdminClient;
use crate::size::ByteSize;

pub(super) async fn run(client: &AdminClient, out: &Output) -> Result<Exit, Failure> {
    let status: Status = client.get(&["status"]).await?;
    if out.json {
        out.document(&status)?;
    } else {
        out.data(&text(&status, out))?;
        out.table(&homes(&status))?;
        out.data(&details(&status))?;
    }
    Ok(match status.verdict {
        Verdict::Ok => Exit::Ok,
        Verdict::Degraded => Exit::Degraded,
        Verdict::AtRisk => Exit::AtRisk,
        Verdict::Unavailable => Exit::Unavailable,
    })
}

fn text(status: &Status, out: &Output) -> String {
    let mark = match status.verdict {
        Verdict::Ok => Mark::Good,
        Verdict::Degraded => Mark::Look,
        Verdict::AtRisk | Verdict::Unavailable => Mark::Bad,
    };
    let problems = status
        .problems
        .iter()
        .map(|problem| format!("{} {problem}\n", out.mark(Mark::Bad)));
    format!(
        "{}   {}\n{}",
        status.name,
        out.marked(mark, &status.summary),
        problems.collect::<String>()
    )
}

fn homes(status: &Status) -> Vec<Vec<String>> {
    let head = [row(["ZONE", "STATE", "USED/GIVEN", "VERSION"])];
    let homes = status.homes.iter().map(|home| {
        let zone = if home.here {
            format!("{} (you)", home.zone)
        } else {
            home.zone.clone()
        };
        let state = if home.online { "online" } else { "stopping" };
        row([
            &zone,
            state,
            &used(home.used_bytes, home.given_bytes),
            &home.version,
        ])
    });
    head.into_iter().chain(homes).collect()
}

fn used(used: u64, given: u64) -> String {
    // Rounded up: a disk is full before its last percent is.
    let percent = (u128::from(used) * 100).div_ceil(u128::from(given.max(1)));
    format!("{} / {} {percent}%", ByteSize(used), ByteSize(given))
}

fn details(status: &Status) -> String {
    format!(
        "S3: {}   Buckets: {}   Access keys: {}   Up: {}",
        status.s3.join(" "),
        status.buckets,
        status.keys,
        lasted(status.uptime_seconds)
    )
}

/// A duration in its largest whole unit.
fn lasted(seconds: u64) -> String {
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min", seconds / 60),
        3600..=86_399 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
