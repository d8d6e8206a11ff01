//! Reads everything back through every box, and compares it with what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

use super::super::home::S3;
use super::super::wire;
use super::BUCKET;
use super::load::path;
use crate::client::{Body, Connection, Content, Reply, Request, Signer, texts};

/// How long a box may take to answer at last.
const EVER: Duration = Duration::from_secs(90);
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(40);
/// Before it is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// Every key, and all that it may hold.
pub(super) type Allowed = BTreeMap<String, Vec<Option<Content>>>;

/// Reads every key through every box, and lists all; how many objects there are.
///
/// # Errors
/// A key holds what it must not hold, boxes disagree, or one does not answer.
pub(super) fn everywhere(namespaces: &[String], signer: &Signer, allowed: &Allowed) -> Result<usize> {
    let found: Vec<Result<Found>> = thread::scope(|scope| {
        let reading = namespaces
            .iter()
            .map(|namespace| scope.spawn(|| Asker::enter(namespace, signer)?.read_all(allowed)));
        let reading: Vec<_> = reading.collect();
        let ended = reading.into_iter().map(|reader| reader.join());
        ended
            .map(|ended| ended.map_err(|_| anyhow!("a reader died"))?)
            .collect()
    });
    let found = found.into_iter().collect::<Result<Vec<_>>>()?;
    let first = found.first().context("no box")?;
    for other in &found {
        let only = |one: &Found, other: &Found| {
            let one: BTreeSet<_> = one.iter().map(|(key, content)| (key, content.seed)).collect();
            let other: BTreeSet<_> = other.iter().map(|(key, content)| (key, content.seed)).collect();
            format!("{:?}", one.difference(&other).collect::<Vec<_>>())
        };
        ensure!(
            first == other,
            "two boxes disagree: only one has {}, only the other {}",
            only(first, other),
            only(other, first)
        );
    }
    Ok(first.len())
}

type Found = BTreeMap<String, Content>;

/// Deletes these keys through one box, however often it has to be asked.
///
/// # Errors
/// It refuses, or does not answer.
pub(super) fn delete(namespace: &str, signer: &Signer, keys: Vec<String>) -> Result<()> {
    wire::on_a_thread(|| {
        let mut asker = Asker::enter(namespace, signer)?;
        for key in &keys {
            let reply = asker.ask("DELETE", &path(key), "")?;
            ensure!(reply.status == 204, "deleting {key} answers {}", reply.status);
        }
        Ok(())
    })
}

/// Ends all uploads that were begun and not completed; how many.
///
/// # Errors
/// The box refuses, or does not answer.
pub(super) fn abort_uploads(namespace: &str, signer: &Signer) -> Result<usize> {
    wire::on_a_thread(|| {
        let mut asker = Asker::enter(namespace, signer)?;
        let mut aborted = 0;
        loop {
            let reply = asker.ask("GET", &format!("/{BUCKET}"), "uploads=")?;
            ensure!(reply.status == 200, "listing uploads answers {}", reply.status);
            let xml = String::from_utf8(reply.body).context("a listing is UTF-8")?;
            let uploads: Vec<_> = texts(&xml, "Key").zip(texts(&xml, "UploadId")).collect();
            for (key, upload) in &uploads {
                let reply = asker.ask("DELETE", &path(key), &format!("uploadId={upload}"))?;
                ensure!(
                    matches!(reply.status, 204 | 404),
                    "aborting answers {}",
                    reply.status
                );
            }
            aborted += uploads.len();
            if uploads.is_empty() {
                return Ok(aborted);
            }
        }
    })
}

/// Asks one box, patiently.
struct Asker<'a> {
    namespace: &'a str,
    signer: &'a Signer,
    runtime: Runtime,
    connection: Option<Connection>,
}

impl<'a> Asker<'a> {
    /// Moves this thread into the namespace of the box.
    fn enter(namespace: &'a str, signer: &'a Signer) -> Result<Self> {
        wire::enter(namespace)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self {
            namespace,
            signer,
            runtime,
            connection: None,
        })
    }

    /// The answer to a request that may be sent again: the first that is not about the box itself.
    fn ask(&mut self, method: &str, path: &str, query: &str) -> Result<Reply> {
        let request = Request::kept((method, path, query), Body::Empty);
        let (began, mut last) = (Instant::now(), String::new());
        while began.elapsed() < EVER {
            let (signer, connection) = (self.signer, self.connection.take());
            let sent = self
                .runtime
                .block_on(async { timeout(PATIENCE, send(connection, signer, &request)).await });
            match sent {
                Ok(Ok((reply, connection))) if reply.status < 500 && reply.status != 409 => {
                    self.connection = matches!(reply.status, 200..300 | 404).then_some(connection);
                    return Ok(reply);
                }
                Ok(Ok((reply, _))) => last = reply.status.to_string(),
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => last = format!("no answer in {PATIENCE:?}"),
            }
            self.runtime.block_on(sleep(PAUSE));
        }
        bail!("{} never answers {method} {path}: {last}", self.namespace)
    }

    fn read_all(&mut self, allowed: &Allowed) -> Result<Found> {
        let mut found = Found::new();
        for (key, allowed) in allowed {
            let reply = self.ask("GET", &path(key), "")?;
            match reply.status {
                404 if allowed.contains(&None) => {}
                200 => {
                    let holds =
                        |content: &Content| content.len == reply.length && content.matches(0, &reply.body);
                    let content = allowed.iter().flatten().copied().find(holds).with_context(|| {
                        let length = reply.length;
                        format!(
                            "LOST: {key} has {length} bytes in {}, and may be {allowed:?}",
                            self.namespace
                        )
                    })?;
                    found.insert(key.clone(), content);
                }
                status => bail!(
                    "LOST: {key} answers {status} in {}, and may be {allowed:?}",
                    self.namespace
                ),
            }
        }
        let listed = self.list()?;
        let keys: BTreeSet<_> = found.keys().cloned().collect();
        let differ: Vec<_> = listed.symmetric_difference(&keys).collect();
        ensure!(
            differ.is_empty(),
            "LIST and GET disagree in {}: {differ:?}",
            self.namespace
        );
        Ok(found)
    }

    fn list(&mut self) -> Result<BTreeSet<String>> {
        let (mut listed, mut after) = (BTreeSet::new(), String::new());
        loop {
            let query = format!("list-type=2&start-after={}", after.replace('/', "%2F"));
            let reply = self.ask("GET", &format!("/{BUCKET}"), &query)?;
            let xml = String::from_utf8(reply.body).context("a listing is UTF-8")?;
            ensure!(reply.status == 200, "LIST answers {}: {xml}", reply.status);
            listed.extend(texts(&xml, "Key").map(str::to_owned));
            match listed.last() {
                Some(last) if xml.contains("<IsTruncated>true") => after.clone_from(last),
                _ => return Ok(listed),
            }
        }
    }
}

async fn send(
    connection: Option<Connection>,
    signer: &Signer,
    request: &Request<'_>,
) -> Result<(Reply, Connection)> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => Connection::open(S3.parse()?, signer.clone()).await?,
    };
    let reply = connection.send(request).await?;
    Ok((reply, connection))
}
