//! What clients do with versions, in a bucket of its own that has locks.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use tokio::time::timeout;

use super::client::{Client, is_kept};
use super::record::Record;
use super::value::{body, value_of};
use super::versions::Name;
use crate::client::{Body, Connection, Reply, Request, iso, texts};

/// The bucket of versions.
pub(crate) const KEEPING: &str = "versions";
/// For how long a version is retained, in seconds.
const RETAINED_S: std::ops::Range<u64> = 4..60;
/// More versions than a key has.
const LISTED_MAX: usize = 1000;

impl Client {
    /// Does something with versions; whether the connection can be used again.
    pub(super) async fn keep(&mut self, connection: &mut Connection) -> bool {
        let dice = self.dice.within(0..100);
        if dice < 30 {
            return self.make(connection).await;
        }
        if dice < 36 {
            return self.hide(connection).await;
        }
        let Some((name, _)) = self.record.versions().one(&mut self.dice) else {
            return self.make(connection).await;
        };
        match dice {
            36..54 => self.retain(connection, &name).await,
            54..74 => self.remove(connection, &name).await,
            74..92 => self.read(connection, &name).await,
            _ => self.list_versions(connection, &name.0).await,
        }
    }

    async fn make(&mut self, connection: &mut Connection) -> bool {
        let (key, value) = (
            self.record.versions().key(&mut self.dice),
            self.record.fresh_value(),
        );
        let bytes = body(value);
        let path = format!("/{KEEPING}/{key}");
        let Some(reply) = self
            .get(connection, ("PUT", &path, ""), Body::Bytes(&bytes))
            .await
        else {
            return false;
        };
        match (reply.status, &reply.version) {
            (200, Some(version)) => {
                let wrong = self.record.versions().made((key, version.clone()), value);
                wrong.into_iter().for_each(|wrong| self.record.accuse(wrong));
            }
            (403 | 409 | 500.., _) => {}
            _ => self.accuse("PUT", &reply),
        }
        is_kept(reply.status)
    }

    /// Deletes a key, which leaves a marker and every version.
    async fn hide(&mut self, connection: &mut Connection) -> bool {
        let key = self.record.versions().key(&mut self.dice);
        let path = format!("/{KEEPING}/{key}");
        let Some(reply) = self.get(connection, ("DELETE", &path, ""), Body::Empty).await else {
            return false;
        };
        if !matches!(reply.status, 204 | 403 | 409 | 500..) {
            self.accuse("DELETE", &reply);
        }
        is_kept(reply.status)
    }

    async fn retain(&mut self, connection: &mut Connection, name: &Name) -> bool {
        let seconds = now_ms() / 1000 + self.dice.within(RETAINED_S);
        let date = iso(UNIX_EPOCH + Duration::from_secs(seconds));
        let wish = format!(
            "<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>{date}</RetainUntilDate></Retention>"
        );
        let (path, query) = place(name, "retention=&");
        let asked = self
            .get(connection, ("PUT", &path, &query), Body::Bytes(wish.as_bytes()))
            .await;
        let Some(reply) = asked else { return false };
        match reply.status {
            200 => self.record.versions().bind(name, seconds * 1000),
            // By the clock of the box it is past, or another retention is longer; or the version is gone.
            400 | 403 | 404 | 409 | 500.. => {}
            _ => self.accuse("PUT retention", &reply),
        }
        is_kept(reply.status)
    }

    async fn remove(&mut self, connection: &mut Connection, name: &Name) -> bool {
        let before = self.record.versions().get(name);
        self.record.versions().ask_removal(name);
        let (path, query) = place(name, "");
        let Some(reply) = self.get(connection, ("DELETE", &path, &query), Body::Empty).await else {
            return false;
        };
        match reply.status {
            204 if before.is_some_and(|version| version.is_bound(now_ms())) => {
                let what = format!("box {} removed {name:?}, which is retained", self.seat);
                self.record.accuse(what);
            }
            204 => self.record.versions().removed(),
            403 | 409 | 500.. => {}
            _ => self.accuse("DELETE version", &reply),
        }
        is_kept(reply.status)
    }

    async fn read(&self, connection: &mut Connection, name: &Name) -> bool {
        let (path, query) = place(name, "");
        let Some(reply) = self.get(connection, ("GET", &path, &query), Body::Empty).await else {
            return false;
        };
        if let Some(wrong) = is_wrong(&self.record, name, &reply) {
            self.record.accuse(format!("box {}: {wrong}", self.seat));
        }
        is_kept(reply.status)
    }

    async fn list_versions(&self, connection: &mut Connection, key: &str) -> bool {
        let before = self.record.versions().there(Some(key), now_ms());
        let (path, query) = (
            format!("/{KEEPING}"),
            format!("max-keys={LISTED_MAX}&prefix={key}&versions="),
        );
        let Some(reply) = self.get(connection, ("GET", &path, &query), Body::Empty).await else {
            return false;
        };
        match reply.status {
            200 => {
                let xml = String::from_utf8_lossy(&reply.body);
                let seen: BTreeSet<_> = texts(&xml, "VersionId").map(str::to_owned).collect();
                let is_whole = !xml.contains("<IsTruncated>true");
                let lacks = self.record.versions().lacks(&before, &seen, now_ms());
                if is_whole && !lacks.is_empty() {
                    let what = format!("box {} lists {key} without {lacks:?}", self.seat);
                    self.record.accuse(what);
                }
            }
            403 | 500.. => {}
            _ => self.accuse("LIST versions", &reply),
        }
        is_kept(reply.status)
    }

    async fn get(
        &self,
        connection: &mut Connection,
        what: (&str, &str, &str),
        body: Body<'_>,
    ) -> Option<Reply> {
        let sent = timeout(self.patience(), connection.send(&Request::kept(what, body))).await;
        let reply = sent.ok().and_then(Result::ok);
        self.record.heard(reply.is_some());
        reply
    }

    fn accuse(&self, what: &str, reply: &Reply) {
        let said = String::from_utf8_lossy(&reply.body);
        let what = format!(
            "box {} answers {what} of versions with {} {said}",
            self.seat, reply.status
        );
        self.record.accuse(what);
    }
}

/// Reads one version, for nobody's account.
///
/// # Errors
/// The connection breaks, or nothing comes in time.
pub(super) async fn read_version(
    connection: &mut Connection,
    name: &Name,
    patience: Duration,
) -> Result<Reply> {
    let (path, query) = place(name, "");
    let get = Request::kept(("GET", &path, &query), Body::Empty);
    Ok(timeout(patience, connection.send(&get))
        .await
        .context("no answer")??)
}

/// What is wrong with an answer to who reads a version, if anything is.
pub(super) fn is_wrong(record: &Record, name: &Name, reply: &Reply) -> Option<String> {
    let version = record.versions().get(name)?;
    match reply.status {
        200 if value_of(&reply.body) == Some(version.value) => None,
        404 if !version.must_be_there(now_ms()) => None,
        403 | 500.. => None,
        status => Some(format!(
            "{name:?} is {version:?}, and a read answers {status}, {} bytes",
            reply.body.len()
        )),
    }
}

/// Milliseconds since 1970, by the clock of this machine.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn place((key, version): &Name, before: &str) -> (String, String) {
    (
        format!("/{KEEPING}/{key}"),
        format!("{before}versionId={version}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_is_retained_is_missed_whoever_asked_for_its_removal() {
        let record = Record::new(0);
        let name = ("k1".to_owned(), "v".to_owned());
        let value = record.fresh_value();
        record.versions().made(name.clone(), value);
        let reply = |status, body: Vec<u8>| Reply {
            status,
            length: body.len() as u64,
            etag: None,
            version: None,
            body,
        };
        assert_eq!(is_wrong(&record, &name, &reply(200, body(value))), None);
        assert!(is_wrong(&record, &name, &reply(200, b"else".to_vec())).is_some());
        assert!(is_wrong(&record, &name, &reply(404, Vec::new())).is_some());
        record.versions().ask_removal(&name);
        assert_eq!(is_wrong(&record, &name, &reply(404, Vec::new())), None);
        record.versions().bind(&name, now_ms() + 60_000);
        assert!(is_wrong(&record, &name, &reply(404, Vec::new())).is_some());
        assert_eq!(is_wrong(&record, &name, &reply(503, Vec::new())), None);
    }
}
