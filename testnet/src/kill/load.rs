//! One worker: writes, overwrites and deletes its own keys until the server is killed under it.

use std::io;

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;

use super::BUCKET;
use super::ledger::{Ledger, Object};
use crate::bench::Home;
use crate::client::{Body, Connection, Content, NotUploaded, PART_BYTES_MIN, Reply, Request, Take, texts};
use crate::dice::Dice;

/// The tag of no content that anybody writes.
const STALE_TAG: &str = "\"00000000000000000000000000000000\"";

/// One worker's try to create a contested key.
#[derive(Debug)]
pub(super) struct Attempt {
    /// What it tried to write.
    pub(super) content: Content,
    /// What it was told.
    pub(super) told: Told,
}

/// What the server said to a try to create a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It is created, by this try.
    Created,
    /// It is there already.
    Exists,
    /// Another try was under way; whether that one succeeded is not said.
    Conflict,
    /// Nothing, or that the server could not: the try may have succeeded.
    Nothing,
}

/// One worker and what it knows; worth something only after it ended.
pub(super) struct Worker {
    pub(super) ledger: Ledger,
    pub(super) races: Vec<(String, Attempt)>,
    pub(super) acknowledged: u64,
    number: u64,
    round: u64,
    dice: Dice,
    writes: u64,
    /// Whether the request under way may be answered before its body is read.
    refusable: bool,
}

/// Why a worker cannot go on.
enum Ended {
    /// The connection broke: expected once the server is killed.
    Cut(io::Error),
    /// A body was refused, rightly: the connection may be closed, because the rest of the body is still on its way.
    Refused,
    /// The server said what it must not say.
    Wrong(anyhow::Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        // The body of an answer that differs is no accident of the connection.
        if error.kind() == io::ErrorKind::InvalidData {
            Self::Wrong(error.into())
        } else {
            Self::Cut(error)
        }
    }
}

impl From<anyhow::Error> for Ended {
    fn from(error: anyhow::Error) -> Self {
        Self::Wrong(error)
    }
}

impl Worker {
    /// A worker with the ledger of its earlier rounds.
    pub(super) fn new(number: u64, round: u64, ledger: Ledger, dice: Dice) -> Self {
        Self {
            ledger,
            races: Vec::new(),
            acknowledged: 0,
            number,
            round,
            dice,
            writes: 0,
            refusable: false,
        }
    }

    /// Works until the server is killed; before that it may close a connection only on a body it refuses.
    pub(super) async fn run(mut self, home: Home, killed: CancellationToken) -> Result<Self> {
        loop {
            let ended = match Connection::open(home.address, home.signer.clone()).await {
                Ok(connection) => self.work(connection).await,
                Err(error) => Ended::Cut(error),
            };
            match ended {
                Ended::Cut(_) if killed.is_cancelled() => return Ok(self),
                Ended::Refused => {}
                Ended::Cut(_) if self.refusable => {}
                Ended::Cut(error) => {
                    return Err(error).context("the server broke a connection before it was killed");
                }
                Ended::Wrong(error) => return Err(error),
            }
        }
    }

    /// Takes one step after the other on one connection.
    async fn work(&mut self, mut connection: Connection) -> Ended {
        loop {
            self.refusable = false;
            if let Err(ended) = self.step(&mut connection).await {
                return ended;
            }
        }
    }

    async fn step(&mut self, connection: &mut Connection) -> Result<(), Ended> {
        let keys = self.ledger.keys();
        let key = self.dice.one_of(&keys).context("no keys")?.clone();
        match self.dice.within(0..100) {
            0..50 => self.put(connection, &key).await,
            50..62 => self.delete(connection, &key).await,
            62..74 => self.create(connection, &key).await,
            74..82 => self.replace(connection, &key).await,
            82..90 => self.read(connection, &key).await,
            90..94 => self.multipart(connection, &key).await,
            _ => self.race(connection).await,
        }
    }

    async fn put(&mut self, connection: &mut Connection, key: &str) -> Result<(), Ended> {
        let content = self.fresh();
        self.ledger.of(key).attempt(Some(content));
        let reply = connection.send(&put(&path(key), content)).await?;
        self.settle(key, Some(content), &reply, None)
    }

    async fn delete(&mut self, connection: &mut Connection, key: &str) -> Result<(), Ended> {
        self.ledger.of(key).attempt(None);
        let reply = connection.send(&bare("DELETE", &path(key), "")).await?;
        self.settle(key, None, &reply, None)
    }

    /// Writes only if nothing is there.
    async fn create(&mut self, connection: &mut Connection, key: &str) -> Result<(), Ended> {
        if !self.ledger.of(key).is_certain() {
            return Ok(());
        }
        let exists = self.ledger.of(key).certain().is_some();
        let content = self.fresh();
        // Where something is, nothing may change, answered or not: the ledger goes on knowing what is there.
        if !exists {
            self.ledger.of(key).attempt(Some(content));
        }
        self.refusable = exists;
        let reply = connection
            .send_with(&put(&path(key), content), &[("if-none-match", "*")])
            .await?;
        self.settle(key, Some(content), &reply, exists.then_some(412))
    }

    /// Writes only if what is there is what was written last; now and then claims that it is something else.
    async fn replace(&mut self, connection: &mut Connection, key: &str) -> Result<(), Ended> {
        let known = self.ledger.of(key);
        let Some(etag) = known
            .certain()
            .filter(|_| known.is_certain())
            .map(|object| object.etag.clone())
        else {
            return Ok(());
        };
        let stale = self.dice.within(0..4) == 0;
        let tag = if stale { STALE_TAG } else { &etag };
        let content = self.fresh();
        if !stale {
            self.ledger.of(key).attempt(Some(content));
        }
        self.refusable = stale;
        let reply = connection
            .send_with(&put(&path(key), content), &[("if-match", tag)])
            .await?;
        self.settle(key, Some(content), &reply, stale.then_some(412))
    }

    async fn read(&mut self, connection: &mut Connection, key: &str) -> Result<(), Ended> {
        if !self.ledger.of(key).is_certain() {
            return Ok(());
        }
        let expected = self.ledger.of(key).certain().map(|object| object.content);
        let take = expected.map_or(Take::Discard, Take::Compare);
        let reply = connection
            .send(&Request {
                take,
                ..bare("GET", &path(key), "")
            })
            .await?;
        let found = (reply.status == 200).then_some(reply.length);
        if reply.status < 500 && found != expected.map(|content| content.len) {
            return Err(wrong(key, "GET", &reply));
        }
        Ok(())
    }

    async fn multipart(&mut self, connection: &mut Connection, key: &str) -> Result<(), Ended> {
        let path = path(key);
        let content = Content {
            seed: self.seed(),
            len: PART_BYTES_MIN + self.dice.within(1..200_000),
        };
        let uploaded = connection
            .upload(&path, content)
            .await
            .map_err(|error| match error {
                NotUploaded::Cut(error) => error.into(),
                NotUploaded::Answered(step, reply) => wrong(key, step, &reply),
            })?;
        let request = Request {
            body: Body::Bytes(uploaded.body.as_bytes()),
            take: Take::Keep,
            ..bare("POST", &path, &uploaded.query)
        };
        self.ledger.of(key).attempt(Some(content));
        let mut reply = connection.send(&request).await?;
        let said = String::from_utf8_lossy(&reply.body).into_owned();
        // A completion answers 200 before it is done; only the tag in the body acknowledges it.
        reply.etag = texts(&said, "ETag").next().map(|tag| tag.replace("&quot;", "\""));
        if reply.status == 200 && reply.etag.is_none() {
            return Err(wrong(key, "complete upload", &reply));
        }
        self.settle(key, Some(content), &reply, None)
    }

    /// Tries to be the one who creates a key that all workers want.
    async fn race(&mut self, connection: &mut Connection) -> Result<(), Ended> {
        let key = format!("race/{}/{}", self.round, self.races.len());
        let content = self.fresh();
        self.races.push((
            key.clone(),
            Attempt {
                content,
                told: Told::Nothing,
            },
        ));
        self.refusable = true;
        let reply = connection
            .send_with(&put(&path(&key), content), &[("if-none-match", "*")])
            .await?;
        let told = match reply.status {
            200 => Told::Created,
            412 => Told::Exists,
            409 => Told::Conflict,
            500.. => Told::Nothing,
            _ => return Err(wrong(&key, "race", &reply)),
        };
        self.acknowledged += u64::from(told == Told::Created);
        if let Some((_, attempt)) = self.races.last_mut() {
            attempt.told = told;
        }
        match told {
            Told::Exists | Told::Conflict => Err(Ended::Refused),
            Told::Created | Told::Nothing => Ok(()),
        }
    }

    /// Records what an answer to a write means; with `refusal`, that is the only right answer, and the ledger was not
    /// told of an attempt.
    fn settle(
        &mut self,
        key: &str,
        content: Option<Content>,
        reply: &Reply,
        refusal: Option<u16>,
    ) -> Result<(), Ended> {
        let known = self.ledger.of(key);
        match reply.status {
            // The server may be overloaded at any time; what it did then is not known.
            500.. => {}
            status if refusal.is_some_and(|expected| status == expected) => {
                return Err(Ended::Refused);
            }
            200 | 204 if refusal.is_none() => {
                let object = match (content, &reply.etag) {
                    (None, _) => None,
                    (Some(content), Some(etag)) => Some(Object {
                        content,
                        etag: etag.clone(),
                    }),
                    (Some(_), None) => return Err(wrong(key, "an acknowledged write without ETag", reply)),
                };
                known.acknowledge(object);
                self.acknowledged += 1;
            }
            _ => return Err(wrong(key, "write", reply)),
        }
        Ok(())
    }

    /// Content that nobody has written yet: mostly small, now and then of several blocks.
    fn fresh(&mut self) -> Content {
        let len = match self.dice.within(0..100) {
            0..5 => 0,
            5..50 => self.dice.within(1..4096),
            50..90 => self.dice.within(4096..200_000),
            90..98 => self.dice.within(200_000..2_000_000),
            _ => self.dice.within(4_000_000..10_000_000),
        };
        Content {
            seed: self.seed(),
            len,
        }
    }

    fn seed(&mut self) -> u64 {
        self.writes += 1;
        (self.round << 40) | (self.number << 32) | self.writes
    }
}

fn put(path: &str, content: Content) -> Request<'_> {
    Request {
        body: Body::Content(content),
        ..bare("PUT", path, "")
    }
}

fn bare<'a>(method: &'a str, path: &'a str, query: &'a str) -> Request<'a> {
    Request {
        method,
        path,
        query,
        body: Body::Empty,
        take: Take::Discard,
    }
}

fn path(key: &str) -> String {
    format!("/{BUCKET}/{key}")
}

fn wrong(key: &str, what: &str, reply: &Reply) -> Ended {
    let said = String::from_utf8_lossy(&reply.body);
    Ended::Wrong(anyhow::anyhow!(
        "{key}: {what} answered {} with {} bytes: {said}",
        reply.status,
        reply.length
    ))
}
