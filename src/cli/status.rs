//! `warren status`: how the box is, in the words of its own verdict.

use appliance::api::{Behind, Home, HttpsShown, PathKind, PeerPath, Status, Verdict};
use appliance::{ByteSize, lasted};

use super::failure::{Exit, Failure};
use super::output::{Mark, Output, row};
use crate::admin_client::AdminClient;

pub(super) async fn run(client: &AdminClient, out: &Output) -> Result<Exit, Failure> {
    let status: Status = client.get(&["status"]).await?;
    if out.json {
        out.document(&status)?;
    } else {
        out.data(&text(&status, out))?;
        out.table(&homes(&status.homes))?;
        out.data(&details(&status))?;
        let https: HttpsShown = client.get(&["https"]).await?;
        if let (Some(url), Some(authority)) = (https.s3.first(), &https.authority) {
            out.data(&format!(
                "HTTPS: {url}   Trust: warren net ca   SHA-256: {}",
                authority.fingerprint
            ))?;
        }
    }
    Ok(exit_of(status.verdict))
}

/// Prints what the node knows as numbers for Prometheus.
pub(super) async fn metrics(client: &AdminClient, out: &Output) -> Result<Exit, Failure> {
    out.data(&client.text(&["metrics"]).await?)?;
    Ok(Exit::Ok)
}

/// The exit code that says the verdict.
pub(super) fn exit_of(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Ok => Exit::Ok,
        Verdict::Degraded => Exit::Degraded,
        Verdict::AtRisk => Exit::AtRisk,
        Verdict::Unavailable => Exit::Unavailable,
    }
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
        "{}   {}   {}\n{}",
        status.name,
        out.marked(mark, &status.summary),
        verified(status),
        problems.collect::<String>()
    )
}

/// When every box had last read and proven all its blocks.
fn verified(status: &Status) -> String {
    let times: Option<Vec<&String>> = status.homes.iter().map(|home| home.verified.as_ref()).collect();
    // All are of one form, in which the earlier is the smaller text.
    let earliest = times.and_then(|times| times.into_iter().min()?.parse::<jiff::Timestamp>().ok());
    match earliest {
        None => "not verified yet".into(),
        Some(time) => {
            let seconds = jiff::Timestamp::now().duration_since(time).as_secs();
            format!(
                "last verified {} ago",
                lasted(u64::try_from(seconds).unwrap_or(0))
            )
        }
    }
}

/// The boxes as a table.
pub(super) fn homes(homes: &[Home]) -> Vec<Vec<String>> {
    let head = [row([
        "#",
        "BOX",
        "ZONE",
        "STATE",
        "USED / GIVEN",
        "BEHIND",
        "PATH",
        "SPEED",
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
            &home.behind.as_ref().map_or_else(|| "?".to_owned(), behind),
            &home.path.as_ref().map_or_else(|| "–".to_owned(), path),
            &home
                .path
                .as_ref()
                .and_then(speed)
                .unwrap_or_else(|| "–".to_owned()),
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

/// How fast content went and came when that was measured last; `None` before it was.
pub(super) fn speed(path: &PeerPath) -> Option<String> {
    let one = |arrow: char, bytes: Option<u64>| bytes.map(|bytes| format!("{arrow} {}/s", ByteSize(bytes)));
    let both = [
        one('↑', path.sent_bytes_per_second),
        one('↓', path.received_bytes_per_second),
    ];
    let both: Vec<_> = both.into_iter().flatten().collect();
    (!both.is_empty()).then(|| both.join(" "))
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

/// What a box may lack, in a few characters.
pub(super) fn behind(behind: &Behind) -> String {
    let known = match (behind.bytes, behind.blocks + behind.changes) {
        (_, 0) => None,
        (0, 1) => Some("1 change".to_owned()),
        (0, changes) => Some(format!("{changes} changes")),
        (bytes, _) => Some(ByteSize(bytes).to_string()),
    };
    match (known, behind.unproven_bytes) {
        (None, 0) => "0".into(),
        (Some(known), 0) => known,
        (None, most) => format!("≤ {}", ByteSize(most)),
        (Some(_), most) => format!("≤ {}", ByteSize(behind.bytes.saturating_add(most))),
    }
}

fn details(status: &Status) -> String {
    let why = if status.reasons.is_empty() {
        ""
    } else {
        "  → warren why"
    };
    format!(
        "{}{why}\nS3: {}   Buckets: {}   Access keys: {}   Up: {}",
        status.if_burned,
        status.s3.join(" "),
        status.buckets,
        status.keys,
        lasted(status.uptime_seconds)
    )
}
