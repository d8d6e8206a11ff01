//! What compliance keeps, while the clock of a box is a year ahead: whoever asks that box for its removal, in whatever state it
//! is, hears no.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};

use super::super::home::{Home, within};
use super::super::town::Town;
use crate::client::{Body, Reply, Request, Take, iso, texts};

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
        let locked = [
            ("x-amz-object-lock-mode", "COMPLIANCE"),
            ("x-amz-object-lock-retain-until-date", until.as_str()),
        ];
        let mut versions = Vec::new();
        for number in 0..OBJECTS {
            let path = format!("/{BUCKET}/{number}");
            let put = request(("PUT", &path, ""), Body::Bytes(path.as_bytes()));
            let reply = home.ask_with((&town.signer, 0), &put, &locked)?;
            let said = String::from_utf8_lossy(&reply.body);
            ensure!(
                reply.status == 200,
                "storing {path} answers {} {said}",
                reply.status
            );
            versions.push((path, reply.version.context("no version is named")?));
        }
        Ok(Self(versions))
    }

    /// Asks a box for the removal of each, signed by its clock: it refuses, sooner or later.
    ///
    /// # Errors
    /// One is removed, or it is not decided in time.
    pub(super) fn stays(&self, town: &Town, asked: usize, ahead_ms: i64) -> Result<()> {
        for (path, version) in &self.0 {
            let query = format!("versionId={version}");
            let delete = request(("DELETE", path, &query), Body::Empty);
            let mut last = String::new();
            let refused = within(DECIDED_WITHIN, || {
                let reply = match town.seats[asked]
                    .home
                    .ask_with((&town.signer, ahead_ms), &delete, &[])
                {
                    Ok(reply) => reply,
                    Err(error) => {
                        last = format!("{error:#}");
                        return Ok(false);
                    }
                };
                last = format!("{} {}", reply.status, code(&reply));
                match reply.status {
                    403 if code(&reply) == "AccessDenied" => Ok(true),
                    // It asks others who are not there, or not yet.
                    500.. => Ok(false),
                    _ => bail!("the removal of {path} answers {last}"),
                }
            })?;
            refused.with_context(|| format!("the removal of {path} is never refused: {last}"))?;
        }
        Ok(())
    }

    /// Reads each through these boxes.
    ///
    /// # Errors
    /// One is not there.
    pub(super) fn is_there(&self, town: &Town, through: &[usize]) -> Result<()> {
        for number in through {
            for (path, version) in &self.0 {
                let query = format!("versionId={version}");
                let get = request(("GET", path, &query), Body::Empty);
                let home: &Home = &town.seats[*number].home;
                let reply = home.ask_with((&town.signer, 0), &get, &[])?;
                ensure!(
                    reply.status == 200 && reply.body == path.as_bytes(),
                    "{path} read through box {number} answers {} {}",
                    reply.status,
                    code(&reply)
                );
            }
        }
        Ok(())
    }
}

fn code(reply: &Reply) -> String {
    let said = String::from_utf8_lossy(&reply.body);
    texts(&said, "Code").next().unwrap_or_default().to_owned()
}

fn request<'a>((method, path, query): (&'a str, &'a str, &'a str), body: Body<'a>) -> Request<'a> {
    Request {
        method,
        path,
        query,
        body,
        take: Take::Keep,
    }
}
