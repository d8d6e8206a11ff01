//! Reads everything that was ever written, at every box, once nothing goes wrong any more.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::super::town::Town;
use super::super::wire;
use super::client::{ask, connect, listed, understood};
use super::keeper::{is_wrong, now_ms, read_version};
use super::record::Record;
use super::register::{Command, Outcome};
use super::versions::Name;
use crate::client::{Connection, Signer};

/// How long a box may take to answer a read at last.
const EVER: Duration = Duration::from_secs(90);
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Before it is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// Reads every key and every element, and lists every set, at every member; how many reads that were.
///
/// # Errors
/// A box does not answer.
pub(crate) fn everywhere(town: &Town, record: &Arc<Record>) -> Result<usize> {
    let mut readers = Vec::new();
    for seat in town.members() {
        let (namespace, signer) = (town.street.namespace(seat), town.signer.clone());
        let record = Arc::clone(record);
        readers.push(thread::spawn(move || read_all(seat, &namespace, signer, &record)));
    }
    let mut reads = 0;
    for reader in readers {
        reads += reader.join().map_err(|_| anyhow!("a reader died"))??;
    }
    Ok(reads)
}

fn read_all(seat: usize, namespace: &str, signer: Signer, record: &Record) -> Result<usize> {
    wire::enter(namespace)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime of a reader")?;
    let mut reader = Reader {
        seat,
        signer,
        connection: None,
    };
    runtime.block_on(async {
        let (keys, elements) = (record.keys(), record.elements());
        for key in &keys {
            let begun = record.begin(key, Command::Get);
            let (outcome, how) = reader.read(key).await?;
            match outcome {
                Some(outcome) => record.end(begun, Some(outcome), seat, format!("{how}, at last")),
                None => record.accuse(format!("box {seat} answers a read of {key} with {how}")),
            }
        }
        for (key, value) in &elements {
            let (outcome, how) = reader.read(key).await?;
            if outcome != Some(Outcome::Is(*value)) {
                record.accuse(format!("{key} is lost: box {seat} reads {outcome:?} ({how})"));
            }
        }
        for number in 0..record.sets() {
            let (called, prefix) = (record.moment(), record.set_prefix(number));
            let seen = reader.list(&prefix).await?;
            record.saw_set(number, called, seen, format!("box {seat}, at last"));
        }
        let versions = record.versions().there(None, now_ms());
        for name in versions.keys() {
            if let Some(wrong) = reader.is_version_wrong(record, name).await? {
                record.accuse(format!("box {seat}, at last: {wrong}"));
            }
        }
        Ok(keys.len() + elements.len() + versions.len())
    })
}

/// Reads at one box, patiently.
struct Reader {
    seat: usize,
    signer: Signer,
    connection: Option<Connection>,
}

impl Reader {
    /// What a key holds, and how that was said; nothing where the answer is one that no box may give.
    async fn read(&mut self, key: &str) -> Result<(Option<Outcome>, String)> {
        let (began, mut last) = (Instant::now(), String::new());
        while began.elapsed() < EVER {
            let reply = match self.connection().await {
                Ok(connection) => ask(connection, key, Command::Get, PATIENCE).await,
                Err(error) => Err(error),
            };
            match reply.map(|reply| (reply.status, understood(Command::Get, &reply))) {
                Ok((status, Ok(Some(outcome)))) => return Ok((Some(outcome), status.to_string())),
                Ok((status, Err(_))) => return Ok((None, status.to_string())),
                Ok((status, Ok(None))) => last = status.to_string(),
                Err(error) => last = format!("{error:#}"),
            }
            self.connection = None;
            tokio::time::sleep(PAUSE).await;
        }
        bail!("box {} never reads {key}: {last}", self.seat)
    }

    /// What is wrong with a version, if anything is.
    async fn is_version_wrong(&mut self, record: &Record, name: &Name) -> Result<Option<String>> {
        let (began, mut last) = (Instant::now(), String::new());
        while began.elapsed() < EVER {
            let reply = match self.connection().await {
                Ok(connection) => read_version(connection, name, PATIENCE).await,
                Err(error) => Err(error),
            };
            match reply {
                Ok(reply) if matches!(reply.status, 200 | 404) => return Ok(is_wrong(record, name, &reply)),
                Ok(reply) => last = reply.status.to_string(),
                Err(error) => last = format!("{error:#}"),
            }
            self.connection = None;
            tokio::time::sleep(PAUSE).await;
        }
        bail!("box {} never reads version {name:?}: {last}", self.seat)
    }

    async fn list(&mut self, prefix: &str) -> Result<std::collections::BTreeSet<String>> {
        let began = Instant::now();
        while began.elapsed() < EVER {
            if let Ok(connection) = self.connection().await
                && let Some(seen) = listed(connection, prefix, PATIENCE).await
            {
                return Ok(seen.into_keys().collect());
            }
            self.connection = None;
            tokio::time::sleep(PAUSE).await;
        }
        bail!("box {} never lists {prefix}", self.seat)
    }

    async fn connection(&mut self) -> Result<&mut Connection> {
        if self.connection.is_none() {
            self.connection = Some(connect(&self.signer).await.context("connect")?);
        }
        self.connection.as_mut().context("connect")
    }
}
