//! What compliance keeps, while the clock of a box is a year ahead: whoever asks that box for its removal, in whatever state it
//! is, hears no.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};

use super::super::home::within;
use super::super::town::Town;
use crate::client::{Body, Reply, Request, iso, texts};

const BUCKET: &str = "archive";
/// Objects: so many that every box decides about some, if boxes ever share that.
const OBJECTS: usize = 8;
/// For how long they are retained: longer than the story takes, and far shorter than the clock is ahead.
const RETAINED: Duration = Duration::from_secs(24 * 3600);
/// How soon a box that is needed to decide does.
const DECIDED_WITHIN: Duration = Duration::from_secs(90);

/// Versions that nobody can remove.
pub(super) struct Archive(Vec<(String, String)>);

impl Archive {
    /// Stores them through a box.
    ///
    /// # Errors
    /// Something is refused.
    pub(super) fn store(town: &Town, through: usize) -> Result<Self> {
        let home = &town.seats[through].home;
        home.make_bucket_with_locks(&town.signer, BUCKET)?;
        let until = iso(SystemTime::now() + RETAINED);
        let wish = format!(
            "<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>"
        );
        let mut versions = Vec::new();
        for number in 0..OBJECTS {
            let path = format!("/{BUCKET}/{number}");
            let put = Request::kept(("PUT", &path, ""), Body::Bytes(path.as_bytes()));
            let reply = home.ask((&town.signer, 0), &put)?;
            ensure!(reply.status == 200, "storing {path} answers {}", said(&reply));
            let version = reply.version.context("no version is named")?;
            let query = format!("retention=&versionId={version}");
            let retain = Request::kept(("PUT", &path, &query), Body::Bytes(wish.as_bytes()));
            let reply = home.ask((&town.signer, 0), &retain)?;
            ensure!(reply.status == 200, "retaining {path} answers {}", said(&reply));
            versions.push((path, version));
        }
        Ok(Self(versions))
    }

    /// Asks a box for the removal of each, signed by its clock: it refuses, sooner or later.
    ///
    /// # Errors
    /// One is removed, or it is not decided in time.
    pub(super) fn stays(&self, town: &Town, asked: usize, ahead_ms: i64) -> Result<()> {
        self.each(town, (asked, ahead_ms), "DELETE", |reply, _| {
            reply.status == 403 && code(reply) == "AccessDenied"
        })
    }

    /// Reads each through these boxes.
    ///
    /// # Errors
    /// One is not there.
    pub(super) fn is_there(&self, town: &Town, through: &[usize]) -> Result<()> {
        through.iter().try_for_each(|number| {
            self.each(town, (*number, 0), "GET", |reply, path| {
                reply.status == 200 && reply.body == path.as_bytes()
            })
        })
    }

    /// Asks the same of each version until it is answered well. A box that asks others who are not there, or not yet, says
    /// that it cannot tell; any other answer is wrong.
    fn each(
        &self,
        town: &Town,
        (asked, ahead_ms): (usize, i64),
        method: &str,
        is_well: impl Fn(&Reply, &str) -> bool,
    ) -> Result<()> {
        for (path, version) in &self.0 {
            let query = format!("versionId={version}");
            let ask = Request::kept((method, path, &query), Body::Empty);
            let mut last = String::new();
            let answered = within(DECIDED_WITHIN, || {
                match town.seats[asked].home.ask((&town.signer, ahead_ms), &ask) {
                    Ok(reply) if is_well(&reply, path) => return Ok(true),
                    Ok(reply) if reply.status >= 500 => last = said(&reply),
                    Ok(reply) => bail!("{method} {path} at box {asked} answers {}", said(&reply)),
                    Err(error) => last = format!("{error:#}"),
                }
                Ok(false)
            })?;
            answered.with_context(|| format!("{method} {path} at box {asked} is never answered: {last}"))?;
        }
        Ok(())
    }
}

fn code(reply: &Reply) -> String {
    let said = String::from_utf8_lossy(&reply.body);
    texts(&said, "Code").next().unwrap_or_default().to_owned()
}

fn said(reply: &Reply) -> String {
    format!("{} {}", reply.status, code(reply))
}
