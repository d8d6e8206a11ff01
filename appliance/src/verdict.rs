//! Turns what a node knows of itself into one honest sentence.

use std::collections::BTreeSet;

use crate::api::{Home, Schema, Status, Verdict};

/// What a node knows of itself.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What people call this mesh.
    pub name: String,
    /// All boxes of the mesh with their places, this one first.
    pub homes: Vec<Home>,
    /// URLs that S3 clients use.
    pub s3: Vec<String>,
    /// How many buckets there are.
    pub buckets: usize,
    /// How many access keys there are.
    pub keys: usize,
    /// Seconds since the node started to serve.
    pub uptime_seconds: u64,
    /// What is wrong.
    pub troubles: Vec<Trouble>,
}

/// Something that is wrong with a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The node does not serve: it is stopping.
    NotServing,
    /// Acknowledged data is lost; the node takes no writes until a person accepts it. Says what is lost.
    Lost(String),
    /// The device of this directory failed; nothing is written there until a restart.
    Stopped(String),
    /// This data directory is not there.
    Missing(String),
    /// So many blocks in this directory do not verify.
    Damaged(String, u64),
    /// Nothing can be changed: this box is not a member of its mesh any more.
    Left,
    /// This box of the mesh is away.
    Away(String),
    /// No room for new data; reading and deleting work.
    Full,
}

impl Trouble {
    fn verdict(&self) -> Verdict {
        match self {
            Self::NotServing | Self::Left => Verdict::Unavailable,
            Self::Lost(_) | Self::Stopped(_) | Self::Missing(_) | Self::Damaged(..) => Verdict::AtRisk,
            Self::Full | Self::Away(_) => Verdict::Degraded,
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::NotServing => "the server is stopping".into(),
            Self::Lost(what) => {
                format!("read-only: {what}; to go on without what is lost: warren server --accept-loss")
            }
            Self::Stopped(directory) => {
                format!("{directory} takes no more writes: its device failed; check it, then restart")
            }
            Self::Missing(directory) => {
                format!("{directory} is missing: what it holds cannot be read until it is back")
            }
            Self::Damaged(directory, blocks) => {
                format!("{directory} holds {blocks} damaged blocks: the objects in them cannot be read")
            }
            Self::Left => {
                "this box is no member of the mesh any more: stop it, move its state directory away, join anew".into()
            }
            Self::Away(name) => format!("{name} is away"),
            Self::Full => "the disk is full: nothing new is stored until something is deleted".into(),
        }
    }
}

/// Draws the status from the facts.
pub(crate) fn status(facts: Facts) -> Status {
    let away = facts.homes.iter().filter(|home| !home.online && !home.here);
    let away: Vec<Trouble> = away.map(|home| Trouble::Away(home.name.clone())).collect();
    let troubles: Vec<Trouble> = facts.troubles.into_iter().chain(away).collect();
    let verdict = troubles.iter().map(Trouble::verdict).max().unwrap_or(Verdict::Ok);
    let copies = copies(&facts.homes);
    let summary = match verdict {
        Verdict::Ok => format!("OK, {copies}"),
        Verdict::Degraded => format!("DEGRADED, {copies}"),
        Verdict::AtRisk => format!("AT RISK, {copies}"),
        Verdict::Unavailable => format!("UNAVAILABLE, {copies}"),
    };
    Status {
        schema: Schema,
        name: facts.name,
        verdict,
        summary,
        problems: troubles.iter().map(Trouble::sentence).collect(),
        homes: facts.homes,
        s3: facts.s3,
        buckets: facts.buckets,
        keys: facts.keys,
        uptime_seconds: facts.uptime_seconds,
    }
}

/// Where the data is, as far as anybody has looked.
fn copies(homes: &[Home]) -> String {
    if homes.len() < 2 {
        return "1 of 1 homes: your data lives only on this box".into();
    }
    let zones = |online: bool| {
        let homes = homes.iter().filter(|home| home.online || !online);
        homes.map(|home| &home.zone).collect::<BTreeSet<_>>().len()
    };
    format!(
        "{} of {} homes online: how many copies each object has is not counted yet",
        zones(true),
        zones(false)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(zone: &str, online: bool) -> Home {
        Home {
            zone: zone.into(),
            name: zone.into(),
            member: 1,
            node: String::new(),
            here: zone == "attic",
            online,
            draining: false,
            used_bytes: None,
            given_bytes: 0,
            verified: None,
            version: None,
            path: None,
            seen_seconds: None,
        }
    }

    fn facts(homes: Vec<Home>, troubles: &[Trouble]) -> Facts {
        Facts {
            name: "Maple family".into(),
            homes,
            s3: vec![],
            buckets: 0,
            keys: 1,
            uptime_seconds: 0,
            troubles: troubles.to_vec(),
        }
    }

    fn check(troubles: &[Trouble], verdict: Verdict, summary: &str) {
        let status = status(facts(vec![home("attic", true)], troubles));
        assert_eq!((status.verdict, status.problems.len()), (verdict, troubles.len()));
        assert!(status.summary.starts_with(summary), "{}", status.summary);
        assert!(status.summary.contains("only on this box"));
    }

    #[test]
    fn a_home_that_is_away_is_named_and_counted() {
        let here = || home("attic", true);
        let both = status(facts(vec![here(), home("flat", true)], &[]));
        assert_eq!(both.verdict, Verdict::Ok);
        assert!(both.summary.contains("2 of 2 homes online"), "{}", both.summary);
        let one = status(facts(vec![here(), home("flat", false)], &[]));
        assert_eq!(
            (one.verdict, one.problems),
            (Verdict::Degraded, vec!["flat is away".into()])
        );
        assert!(one.summary.contains("1 of 2 homes online"), "{}", one.summary);
    }

    #[test]
    fn a_single_box_never_hides_that_it_is_single() {
        check(&[], Verdict::Ok, "OK, 1 of 1 homes");
    }

    #[test]
    fn the_worst_trouble_gives_the_verdict() {
        check(&[Trouble::Full], Verdict::Degraded, "DEGRADED");
        check(
            &[Trouble::Full, Trouble::Lost("3 rows".into())],
            Verdict::AtRisk,
            "AT RISK",
        );
        check(
            &[Trouble::NotServing, Trouble::Full],
            Verdict::Unavailable,
            "UNAVAILABLE",
        );
    }
}
