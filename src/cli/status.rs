//! `warren status`: how the box is, in the words of its own verdict.

use appliance::api::{Home, PathKind, PeerPath, Status, Verdict};

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
        out.table(&homes(&status.homes))?;
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

/// The boxes as a table.
pub(super) fn homes(homes: &[Home]) -> Vec<Vec<String>> {
    let head = [row([
        "#",
        "BOX",
        "ZONE",
        "STATE",
        "USED / GIVEN",
        "PATH",
        "VERSION",
    ])];
    let homes = homes.iter().map(|home| {
        let name = if home.here {
            format!("{} (you)", home.name)
        } else {
            home.name.clone()
        };
        row([
            &home.member.to_string(),
            &name,
            &home.zone,
            &state(home),
            &used(home),
            &home.path.as_ref().map_or_else(|| "–".to_owned(), path),
            home.version.as_deref().unwrap_or("–"),
        ])
    });
    head.into_iter().chain(homes).collect()
}

fn state(home: &Home) -> String {
    let state = match (home.online, home.here, home.seen_seconds) {
        (true, ..) => "online".to_owned(),
        (false, true, _) => "stopping".to_owned(),
        (false, false, Some(seconds)) => format!("away {}", lasted(seconds)),
        (false, false, None) => "away".to_owned(),
    };
    if home.draining {
        return format!("{state}, handing over");
    }
    state
}

/// How a box is reached, in a few words.
pub(super) fn path(path: &PeerPath) -> String {
    let way = match (path.kind, &path.via) {
        (PathKind::Lan, _) => format!("lan {}", path.transport),
        (PathKind::Direct, _) => format!("direct {}", path.transport),
        (PathKind::Relayed, Some(via)) => format!("relayed via {via}"),
        (PathKind::Relayed, None) => "relayed".to_owned(),
    };
    match path.round_trip_seconds {
        Some(seconds) => format!("{way}, {}", millis(seconds)),
        None => way,
    }
}

/// A short time as people read it.
pub(super) fn millis(seconds: f64) -> String {
    let millis = seconds * 1e3;
    if millis < 10.0 {
        format!("{millis:.1} ms")
    } else {
        format!("{millis:.0} ms")
    }
}

fn used(home: &Home) -> String {
    let given = home.given_bytes;
    let Some(used) = home.used_bytes else {
        return format!("– / {}", ByteSize(given));
    };
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
pub(super) fn lasted(seconds: u64) -> String {
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min", seconds / 60),
        3600..=86_399 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
