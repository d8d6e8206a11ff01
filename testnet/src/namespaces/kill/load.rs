//! One client of one box: writes, overwrites, deletes and reads its own keys, while boxes are killed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{sleep, timeout};

use super::super::home::S3;
use super::super::wire;
use super::BUCKET;
use super::ledger::Ledger;
use crate::client::{
    Body, Connection, Content, NotUploaded, PART_BYTES_MIN, Reply, Request, Signer, Take, texts,
};
use crate::dice::Dice;

/// How long an answer may take; a box tries for less.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long before it tries again to connect.
const RECONNECT: Duration = Duration::from_millis(50);
/// How long a worker rests between two operations, in milliseconds: the boxes share this machine.
const REST_MS: std::ops::Range<u64> = 0..20;

/// One worker and what it knows.
pub(super) struct Worker {
    pub(super) number: usize,
    pub(super) ledger: Ledger,
    pub(super) dice: Dice,
    /// Writes that were acknowledged.
    pub(super) acknowledged: u64,
    /// Writes of which nobody said whether they were done.
    pub(super) unanswered: u64,
    /// Contents it has made.
    pub(super) made: u64,
}

/// Why a worker needs another connection.
enum Ended {
    /// It broke, or it may be closed because a body was not read.
    Cut,
    /// A box said what it must not say.
    Wrong(anyhow::Error),
}

impl Worker {
    /// A worker that has done nothing yet.
    pub(super) fn new(number: usize, dice: Dice) -> Self {
        Self {
            number,
            ledger: Ledger::of_worker(number),
            dice,
            acknowledged: 0,
            unanswered: 0,
            made: 0,
        }
    }

    /// Works until it is over, on a thread of its own that enters the box's namespace.
    ///
    /// # Errors
    /// A box says what it must not say.
    pub(super) fn run(mut self, namespace: &str, signer: &Signer, is_over: &AtomicBool) -> Result<Self> {
        wire::enter(namespace)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let address = S3.parse()?;
            while !is_over.load(Ordering::Relaxed) {
                match Connection::open(address, signer.clone()).await {
                    Ok(connection) => self.work(connection, is_over).await?,
                    Err(_) => sleep(RECONNECT).await,
                }
            }
            Ok(self)
        })
    }

    async fn work(&mut self, mut connection: Connection, is_over: &AtomicBool) -> Result<()> {
        while !is_over.load(Ordering::Relaxed) {
            match self.step(&mut connection).await {
                Ok(()) => sleep(Duration::from_millis(self.dice.within(REST_MS))).await,
                Err(Ended::Cut) => return Ok(()),
                Err(Ended::Wrong(error)) => return Err(error),
            }
        }
        Ok(())
    }

    async fn step(&mut self, connection: &mut Connection) -> Result<(), Ended> {
        let (key, held) = self.ledger.one(&mut self.dice);
        match (self.dice.within(0..100), held) {
            (0..48, _) | (48..58, None) => {
                let content = self.fresh();
                let headers = [("if-none-match", "*")];
                let is_new = held.is_none() && self.dice.chance(0.3);
                let headers = if is_new { &headers[..] } else { &[] };
                let (path, body) = (path(&key), Body::Content(content));
                self.write(
                    connection,
                    (&key, Some(content)),
                    &Request::kept(("PUT", &path, ""), body),
                    headers,
                )
                .await
            }
            (48..66, Some(_)) => {
                let path = path(&key);
                self.write(
                    connection,
                    (&key, None),
                    &Request::kept(("DELETE", &path, ""), Body::Empty),
                    &[],
                )
                .await
            }
            (66..70, _) => self.multipart(connection, &key).await,
            _ => self.read(connection, &key, held).await,
        }
    }

    /// Writes what would leave this; the ledger knows what came of it.
    async fn write(
        &mut self,
        connection: &mut Connection,
        (key, content): (&str, Option<Content>),
        request: &Request<'_>,
        headers: &[(&str, &str)],
    ) -> Result<(), Ended> {
        let sent = timeout(PATIENCE, connection.send_with(request, headers)).await;
        let reply = match sent {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) | Err(_) => {
                self.leave_unanswered(key, content);
                return Err(Ended::Cut);
            }
        };
        let is_complete = request.method == "POST";
        match reply.status {
            // A completion answers 200 before it is done; only the tag in the body acknowledges it.
            200 if is_complete
                && texts(&String::from_utf8_lossy(&reply.body), "ETag")
                    .next()
                    .is_none() =>
            {
                self.leave_unanswered(key, content);
            }
            200 | 204 => {
                self.ledger.acknowledge(key, content);
                self.acknowledged += 1;
                return Ok(());
            }
            // Another write of the same key is under way, or too few boxes answer: nothing is said of this one.
            409 | 500.. => self.leave_unanswered(key, content),
            _ => return Err(wrong(key, request.method, &reply)),
        }
        Err(Ended::Cut)
    }

    async fn multipart(&mut self, connection: &mut Connection, key: &str) -> Result<(), Ended> {
        let path = path(key);
        let seed = self.seed();
        let len = PART_BYTES_MIN + self.dice.within(1..200_000);
        let content = Content { seed, len };
        let uploaded = match timeout(PATIENCE, connection.upload(&path, content)).await {
            Ok(Ok(uploaded)) => uploaded,
            // Nothing was written to the key: what was uploaded is left behind.
            Ok(Err(NotUploaded::Answered(step, reply))) if reply.status < 500 => {
                return Err(wrong(key, step, &reply));
            }
            Ok(Err(_)) | Err(_) => return Err(Ended::Cut),
        };
        let complete = Request::kept(
            ("POST", &path, &uploaded.query),
            Body::Bytes(uploaded.body.as_bytes()),
        );
        self.write(connection, (key, Some(content)), &complete, &[]).await
    }

    async fn read(
        &mut self,
        connection: &mut Connection,
        key: &str,
        held: Option<Content>,
    ) -> Result<(), Ended> {
        let path = path(key);
        let get = Request {
            take: held.map_or(Take::Keep, Take::Compare),
            ..Request::kept(("GET", &path, ""), Body::Empty)
        };
        let reply = match timeout(PATIENCE, connection.send(&get)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
                return Err(Ended::Wrong(anyhow!(
                    "{key} does not hold what was acknowledged: {error}"
                )));
            }
            Ok(Err(_)) | Err(_) => return Err(Ended::Cut),
        };
        match (reply.status, held) {
            (200, Some(content)) if reply.length == content.len => Ok(()),
            (404, None) => Ok(()),
            (500.., _) => Err(Ended::Cut),
            _ => Err(wrong(key, "GET", &reply)),
        }
    }

    fn leave_unanswered(&mut self, key: &str, content: Option<Content>) {
        self.ledger.leave_unanswered(key, content);
        self.unanswered += 1;
    }

    /// Content that nobody has written yet: in its row, in one block, or in several.
    fn fresh(&mut self) -> Content {
        let len = match self.dice.within(0..100) {
            0..5 => 0,
            5..55 => self.dice.within(1..4096),
            55..97 => self.dice.within(4097..200_000),
            _ => self.dice.within(4_200_000..9_000_000),
        };
        let seed = self.seed();
        Content { seed, len }
    }

    fn seed(&mut self) -> u64 {
        self.made += 1;
        ((self.number as u64 + 1) << 40) | self.made
    }
}

/// Where an object is.
pub(super) fn path(key: &str) -> String {
    format!("/{BUCKET}/{key}")
}

fn wrong(key: &str, what: &str, reply: &Reply) -> Ended {
    let said = String::from_utf8_lossy(&reply.body);
    Ended::Wrong(anyhow!("{key}: {what} answered {}: {said}", reply.status))
}
