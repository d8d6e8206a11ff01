//! Turns what a node knows of itself into one honest sentence.

use crate::api::{Home, Schema, Status, Verdict};

/// What a node knows of itself.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What people call this mesh.
    pub name: String,
    /// The node and its place.
    pub home: Home,
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
    /// No room for new data; reading and deleting work.
    Full,
}

impl Trouble {
    fn verdict(&self) -> Verdict {
        match self {
            Self::NotServing => Verdict::Unavailable,
            Self::Lost(_) | Self::Stopped(_) | Self::Missing(_) | Self::Damaged(..) => Verdict::AtRisk,
            Self::Full => Verdict::Degraded,
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
            Self::Full => "the disk is full: nothing new is stored until something is deleted".into(),
        }
    }
}

/// Draws the status from the facts.
pub(crate) fn status(facts: Facts) -> Status {
    let verdict = facts
        .troubles
        .iter()
        .map(Trouble::verdict)
        .max()
        .unwrap_or(Verdict::Ok);
    let copies = "1 of 1 homes: your data lives only on this box";
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
        problems: facts.troubles.iter().map(Trouble::sentence).collect(),
        homes: vec![facts.home],
        s3: facts.s3,
        buckets: facts.buckets,
        keys: facts.keys,
        uptime_seconds: facts.uptime_seconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(troubles: &[Trouble], verdict: Verdict, summary: &str) {
        let home = Home {
            zone: "attic".into(),
            node: String::new(),
            here: true,
            online: true,
            used_bytes: 0,
            given_bytes: 0,
            verified: None,
            version: String::new(),
        };
        let status = status(Facts {
            name: "Maple family".into(),
            home,
            s3: vec![],
            buckets: 0,
            keys: 1,
            uptime_seconds: 0,
            troubles: troubles.to_vec(),
        });
        assert_eq!((status.verdict, status.problems.len()), (verdict, troubles.len()));
        assert!(status.summary.starts_with(summary), "{}", status.summary);
        assert!(status.summary.contains("only on this box"));
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
