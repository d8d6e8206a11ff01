//! Turns what a node knows of itself into one honest sentence.

use crate::api::{Behind, CopiesShown, Health, Home, Reason, Schema, Status, Verdict};
use crate::copies::{self, CopiesFacts, NotKnown, Short};
use crate::span::lasted;

/// What a node knows of itself.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What people call this mesh.
    pub name: String,
    /// All boxes of the mesh with their places, this one first.
    pub homes: Vec<Home>,
    /// How many copies there are.
    pub copies: CopiesFacts,
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
    /// The disk forgot what this box promised to the others, in words: it says nothing about what is stored until it has
    /// taken its place among them anew.
    Forgotten(String),
    /// This box of the mesh is away.
    Away(String),
    /// No room for new data; reading and deleting work.
    Full,
    /// Something is in one home only, or in none that is known.
    OnlyIn(Short),
    /// Everything is in fewer homes than it should be.
    FewCopies {
        /// In how many.
        least: usize,
        /// In how many it should be.
        goal: usize,
    },
    /// A box lacks something.
    Behind(String, Behind),
    /// Something is not known.
    NotKnown(NotKnown),
    /// Another box has lost something, or cannot read it: so many blocks are damaged there, so many directories do not work.
    Ailing(String, u64, u32),
    /// The clock of a box is so many seconds ahead of the others, or behind.
    ClockOff(String, i64),
    /// The clocks of these boxes are so many seconds apart, and nobody knows which is right.
    ClocksApart(Vec<String>, u64),
    /// This file, which says who may use the page, is damaged.
    AccessDamaged(String),
    /// This file, which says who may use the page, could not be read when the box started, and why.
    AccessUnreadable(String, String),
    /// The page is not served at one of its addresses, and why.
    NoPage(String),
}

impl Trouble {
    fn verdict(&self) -> Verdict {
        match self {
            Self::NotServing | Self::Left | Self::Forgotten(_) => Verdict::Unavailable,
            // A home may burn while a box that joined waits for its share.
            Self::Lost(_)
            | Self::Stopped(_)
            | Self::Missing(_)
            | Self::Damaged(..)
            | Self::OnlyIn(_)
            | Self::FewCopies { .. } => Verdict::AtRisk,
            Self::Full
            | Self::Away(_)
            | Self::Behind(..)
            | Self::NotKnown(_)
            | Self::Ailing(..)
            | Self::ClockOff(..)
            | Self::ClocksApart(..)
            | Self::AccessDamaged(_)
            | Self::AccessUnreadable(..)
            | Self::NoPage(_) => Verdict::Degraded,
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
            Self::Forgotten(why) => format!("{why}; the box is asking the others for a new place"),
            Self::Away(name) => format!("{name} is away"),
            Self::Full => "the disk is full: nothing new is stored until something is deleted".into(),
            Self::OnlyIn(short) => short.sentence(),
            Self::FewCopies { least, goal } => {
                format!("everything is in {least} of the {goal} homes where it should be")
            }
            Self::Behind(name, behind) => copies::behind(name, behind),
            Self::NotKnown(unknown) => unknown.sentence(),
            Self::Ailing(name, blocks, directories) => {
                format!("{name} has {blocks} damaged blocks and {directories} data directories that do not work")
            }
            Self::ClockOff(name, ahead) => {
                let way = if *ahead < 0 { "behind" } else { "ahead of" };
                format!("the clock of {name} is {} {way} the others", lasted(ahead.unsigned_abs()))
            }
            Self::ClocksApart(names, seconds) => {
                format!("the clocks of {} are {} apart", names.join(" and "), lasted(*seconds))
            }
            Self::AccessDamaged(file) => {
                format!("{file} is damaged: the password of the page and all tokens are gone")
            }
            Self::AccessUnreadable(file, why) => {
                format!("{file} could not be read ({why}): nobody can log in to the page")
            }
            Self::NoPage(why) => format!("the page is not served at each of its addresses: {why}"),
        }
    }

    /// What to do about it.
    const fn advice(&self) -> &'static str {
        match self {
            Self::NotServing => "wait until it has stopped, then start it again",
            Self::Lost(_) => {
                "if another box of the mesh has everything, remove this one and let it join anew"
            }
            Self::Stopped(_) => "check the device and its cables, then restart the box",
            Self::Missing(_) => "mount it again, then restart the box",
            Self::Damaged(..) => {
                "other boxes mend it if they have copies; check the device: warren scrub start"
            }
            Self::Left => "stop it, move its state directory away, and join with a new invite",
            Self::Forgotten(_) => {
                "nothing where the others can do without it: it goes on by itself once one of them is reached"
            }
            Self::Away(_) => {
                "nothing for a day or two: it catches up when it is back; if it is gone for good: warren peer remove"
            }
            Self::Full => {
                "delete something, or give the mesh more room: another box, or a larger data directory"
            }
            Self::OnlyIn(_) => {
                "it is copied as soon as another home can be reached: see who is away, warren peer ls"
            }
            Self::FewCopies { .. } => {
                "a box that joined is given its share after ten minutes, by itself; see warren layout show"
            }
            Self::Behind(..) => {
                "wait: it catches up by itself while it is connected, see warren repair status"
            }
            Self::NotKnown(unknown) => unknown.advice(),
            Self::Ailing(..) => "look at warren status on that box",
            Self::ClockOff(..) | Self::ClocksApart(..) => {
                "set the clock that is wrong; from a quarter of an hour on apps are refused there, RequestTimeTooSkewed"
            }
            Self::AccessDamaged(_) => "log in with a code, warren login-code, and make new tokens",
            Self::AccessUnreadable(..) => "check the device and who may read the file, then restart the box",
            Self::NoPage(_) => "free the port or choose another, then restart the box",
        }
    }

    fn reason(&self) -> Reason {
        Reason {
            verdict: self.verdict(),
            what: self.sentence(),
            advice: self.advice().into(),
        }
    }
}

/// Draws from the facts how safe the data is.
pub(crate) fn health(facts: Facts) -> Health {
    let copies = shown(&facts.copies);
    let Status {
        verdict,
        summary,
        reasons,
        if_burned,
        ..
    } = status(facts);
    Health {
        schema: Schema,
        verdict,
        summary,
        copies,
        if_burned,
        reasons,
    }
}

fn shown(copies: &CopiesFacts) -> CopiesShown {
    CopiesShown {
        goal: copies.goal,
        least: copies.least,
        homes: copies.homes,
        known: copies.unknown.is_empty(),
    }
}

/// Draws the status from the facts.
pub(crate) fn status(facts: Facts) -> Status {
    let away = facts.homes.iter().filter(|home| !home.online && !home.here);
    let away: Vec<Trouble> = away.map(|home| Trouble::Away(home.name.clone())).collect();
    let of_copies = copies::troubles(&facts.copies, &facts.homes);
    let mut troubles: Vec<Trouble> = facts.troubles.into_iter().chain(away).chain(of_copies).collect();
    // Stable: the worst first.
    troubles.sort_by_key(|trouble| std::cmp::Reverse(trouble.verdict()));
    let verdict = troubles.iter().map(Trouble::verdict).max().unwrap_or(Verdict::Ok);
    let copies = copies::sentence(&facts.copies, &facts.homes);
    let summary = match verdict {
        Verdict::Ok => format!("OK: {copies}"),
        Verdict::Degraded => format!("DEGRADED: {copies}"),
        Verdict::AtRisk => format!("AT RISK: {copies}"),
        Verdict::Unavailable => format!("UNAVAILABLE: {copies}"),
    };
    Status {
        schema: Schema,
        name: facts.name,
        verdict,
        summary,
        problems: troubles.iter().map(Trouble::sentence).collect(),
        reasons: troubles.iter().map(Trouble::reason).collect(),
        copies: Some(shown(&facts.copies)),
        if_burned: copies::if_burned(&facts.copies),
        burned: facts.copies.burned,
        homes: facts.homes,
        s3: facts.s3,
        buckets: facts.buckets,
        keys: facts.keys,
        uptime_seconds: facts.uptime_seconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Burned;

    fn home(name: &str, online: bool) -> Home {
        Home {
            zone: name.into(),
            name: name.into(),
            member: 1,
            node: String::new(),
            here: name == "attic",
            online,
            draining: false,
            used_bytes: None,
            given_bytes: 0,
            behind: None,
            verified: None,
            version: None,
            path: None,
            seen_seconds: None,
        }
    }

    fn burned(homes: &[&str], everything: bool, blocks: u64) -> Burned {
        Burned {
            homes: homes.iter().map(|home| (*home).to_owned()).collect(),
            everything,
            blocks,
            bytes: blocks * 1000,
            changes: 0,
            unknown_bytes: 0,
        }
    }

    /// Two homes that have everything.
    fn well() -> CopiesFacts {
        CopiesFacts {
            goal: 2,
            least: 2,
            homes: 2,
            burned: vec![burned(&["attic"], false, 0), burned(&["flat"], false, 0)],
            ..CopiesFacts::default()
        }
    }

    fn facts(homes: Vec<Home>, copies: CopiesFacts, troubles: &[Trouble]) -> Facts {
        Facts {
            name: "Maple family".into(),
            homes,
            copies,
            s3: vec![],
            buckets: 0,
            keys: 1,
            uptime_seconds: 0,
            troubles: troubles.to_vec(),
        }
    }

    #[track_caller]
    fn check_alone(troubles: &[Trouble], verdict: Verdict, summary: &str) {
        let copies = CopiesFacts {
            goal: 1,
            least: 1,
            homes: 1,
            burned: vec![burned(&["attic"], true, 0)],
            ..CopiesFacts::default()
        };
        let status = status(facts(vec![home("attic", true)], copies, troubles));
        assert_eq!((status.verdict, status.problems.len()), (verdict, troubles.len()));
        assert!(status.summary.starts_with(summary), "{}", status.summary);
        assert!(status.summary.contains("only on this box"));
        assert_eq!(status.if_burned, "If this home burned now: everything lost.");
    }

    #[track_caller]
    fn check(flat_is_here: bool, copies: CopiesFacts, verdict: Verdict, summary: &str, problems: &[&str]) {
        let homes = vec![home("attic", true), home("flat", flat_is_here)];
        let status = status(facts(homes, copies, &[]));
        assert_eq!((status.verdict, &*status.summary), (verdict, summary));
        assert_eq!(status.problems, problems);
        assert!(status.reasons.iter().all(|reason| !reason.advice.is_empty()));
    }

    #[test]
    fn two_homes_that_are_known_to_have_everything_are_well() {
        let all = "OK: every object has 2 copies in 2 homes (goal 2)";
        check(true, well(), Verdict::Ok, all, &[]);
        assert_eq!(
            copies::if_burned(&well()),
            "If one home burned now: nothing lost."
        );
    }

    #[test]
    fn a_home_that_is_away_is_named_and_counted() {
        let silent = CopiesFacts {
            unknown: vec![NotKnown::Silent("flat".into())],
            ..well()
        };
        check(
            false,
            silent,
            Verdict::Degraded,
            "DEGRADED: every object has 2 copies in 2 homes (goal 2), 1 of 2 boxes away",
            &["flat is away"],
        );
    }

    #[test]
    fn what_is_in_one_home_only_is_at_risk_and_named_first() {
        let short = Short {
            homes: vec!["attic".into()],
            blocks: 3,
            bytes: 12_000_000,
            changes: 1,
            since_seconds: Some(300),
        };
        let copies = CopiesFacts {
            short: vec![short],
            unknown: vec![NotKnown::Silent("flat".into())],
            burned: vec![burned(&["attic"], false, 3), burned(&["flat"], false, 0)],
            ..well()
        };
        let cost = "If one home burned now: if attic burned: 3 blocks (3 kB) lost.";
        assert_eq!(copies::if_burned(&copies), cost);
        check(
            false,
            copies,
            Verdict::AtRisk,
            "AT RISK: almost every object has 2 copies in 2 homes (goal 2), 1 of 2 boxes away",
            &[
                "3 blocks (12 MB) and 1 change of an object: in one home only (attic) since 5 min",
                "flat is away",
            ],
        );
    }

    #[test]
    fn what_is_not_known_is_never_well() {
        let unproven = NotKnown::Unproven {
            name: "attic".into(),
            percent: 40,
            bytes: 6_000_000_000,
        };
        let mut copies = CopiesFacts {
            unknown: vec![unproven, NotKnown::Rows(257)],
            ..well()
        };
        copies.burned[0].unknown_bytes = 6_000_000_000;
        assert_eq!(
            copies::if_burned(&copies),
            "If one home burned now: nothing that is known; of up to 6 GB it is not known yet."
        );
        check(
            true,
            copies,
            Verdict::Degraded,
            "DEGRADED: not everything is known to be in 2 homes yet",
            &[
                "40 % of what attic holds is known to be where it should be; 6 GB are being looked at or copied",
                "which boxes have every change is not known of 257 of 257 parts of the mesh",
            ],
        );
        let uncounted = CopiesFacts {
            unknown: vec![NotKnown::Uncounted],
            ..CopiesFacts::default()
        };
        let both = vec![home("attic", true), home("flat", true)];
        assert_eq!(status(facts(both, uncounted, &[])).verdict, Verdict::Degraded);
    }

    #[test]
    fn until_a_new_home_has_its_share_everything_is_in_one() {
        let copies = CopiesFacts { least: 1, ..well() };
        check(
            true,
            copies,
            Verdict::AtRisk,
            "AT RISK: every object has 1 copy in 1 home (goal 2)",
            &["everything is in 1 of the 2 homes where it should be"],
        );
    }

    #[test]
    fn who_is_behind_is_named_although_two_homes_have_everything() {
        let mut flat = home("flat", true);
        flat.behind = Some(Behind {
            blocks: 2,
            bytes: 8_000_000,
            since_seconds: Some(7200),
            ..Behind::default()
        });
        let copies = CopiesFacts {
            goal: 3,
            homes: 3,
            least: 3,
            short: vec![Short {
                homes: vec!["attic".into(), "shed".into()],
                blocks: 2,
                ..Short::default()
            }],
            burned: vec![
                burned(&["attic"], false, 0),
                burned(&["attic", "shed"], false, 2),
                burned(&["attic", "flat"], false, 0),
            ],
            ..CopiesFacts::default()
        };
        let status = status(facts(vec![home("attic", true), flat], copies, &[]));
        assert_eq!(
            (status.verdict, &*status.problems),
            (
                Verdict::Degraded,
                &["flat is behind by 2 blocks (8 MB), since 2 h".to_owned()][..]
            )
        );
        assert_eq!(
            status.if_burned,
            "If one home burned now: nothing lost.  If attic and shed: 2 blocks (2 kB) lost."
        );
    }

    #[test]
    fn a_single_box_never_hides_that_it_is_single() {
        check_alone(&[], Verdict::Ok, "OK: 1 of 1 homes");
    }

    #[test]
    fn a_clock_that_is_off_is_named_with_how_far() {
        let says = |trouble: Trouble| (trouble.verdict(), trouble.sentence());
        let year = 365 * 86_400;
        assert_eq!(
            says(Trouble::ClockOff("ben".into(), year)),
            (
                Verdict::Degraded,
                "the clock of ben is 365 d ahead of the others".into()
            )
        );
        assert_eq!(
            says(Trouble::ClockOff("ben".into(), -7200)).1,
            "the clock of ben is 2 h behind the others"
        );
        assert_eq!(
            says(Trouble::ClocksApart(vec!["anna".into(), "ben".into()], 600)).1,
            "the clocks of anna and ben are 10 min apart"
        );
    }

    #[test]
    fn the_worst_trouble_gives_the_verdict() {
        check_alone(&[Trouble::Full], Verdict::Degraded, "DEGRADED");
        check_alone(
            &[Trouble::Full, Trouble::Lost("3 rows".into())],
            Verdict::AtRisk,
            "AT RISK",
        );
        for nothing_is_served in [
            Trouble::NotServing,
            Trouble::Left,
            Trouble::Forgotten("set back".into()),
        ] {
            check_alone(
                &[nothing_is_served, Trouble::Full],
                Verdict::Unavailable,
                "UNAVAILABLE",
            );
        }
    }
}
