//! Says what the n-th request of a load is, and whether its answer is right.

use std::fmt::{self, Display, Formatter};

use anyhow::{Result, bail, ensure};
use serde::Serialize;

use crate::client::{Body, Content, Reply, Request, Take, etag_of, scramble};

/// Keys on one page of a listing.
pub(crate) const PAGE_KEYS: u64 = 1000;
/// One answer in this many has its content checked, all have their status and length.
const SAMPLE: u64 = 16;
/// Larger bodies are not hashed again by the client, which would take the processor from the server.
const ETAG_CHECKED_BYTES: u64 = 64 * 1024;
/// Coprime to every count of objects in use, so that multiples of it visit them all in an order that looks random.
const STRIDE: u64 = 2_654_435_761;

/// What a load does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operation {
    /// Writes each key of the range once, in scattered order.
    Put,
    /// Writes random keys of the range.
    Overwrite,
    /// Reads random keys of the range.
    Get,
    /// Reads each key of the range once, in scattered order.
    GetEach,
    /// Asks for random keys of the range.
    Head,
    /// Removes each key of the range once, in scattered order.
    Delete,
    /// Reads full pages that start at random keys of the range.
    List,
}

/// What the objects contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Every key has its own, as in a store.
    PerKey,
    /// One for all, as from the bare server.
    Constant,
}

/// A range of keys in a bucket, and what to do with them.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// What to do.
    pub(crate) operation: Operation,
    /// Where.
    pub(crate) bucket: String,
    /// What the keys start with.
    pub(crate) prefix: String,
    /// How many keys there are.
    pub(crate) keys: u64,
    /// Bytes per object.
    pub(crate) size: u64,
    /// What the objects contain.
    pub(crate) contents: Contents,
}

/// One request of a load, owning its text.
pub(crate) struct Step {
    path: String,
    query: String,
    content: Content,
    sampled: bool,
}

impl Work {
    /// The path of the object that stands `index`-th in the range.
    pub(crate) fn path(&self, index: u64) -> String {
        format!("/{}/{}{index:09}", self.bucket, self.prefix)
    }

    /// The `ticket`-th request; `salt` makes random choices differ between rounds.
    pub(crate) fn step(&self, ticket: u64, salt: u64) -> Step {
        let random = scramble(ticket ^ (salt << 44));
        let index = match self.operation {
            Operation::Put | Operation::GetEach | Operation::Delete => self.scattered(ticket),
            Operation::Overwrite | Operation::Get | Operation::Head => random % self.keys.max(1),
            Operation::List => random % self.keys.saturating_sub(PAGE_KEYS).max(1),
        };
        let (path, query) = match self.operation {
            Operation::List => (
                format!("/{}", self.bucket),
                format!(
                    "list-type=2&max-keys={PAGE_KEYS}&start-after={}{index:09}",
                    self.prefix
                ),
            ),
            _ => (self.path(index), String::new()),
        };
        Step {
            path,
            query,
            content: self.content(index),
            sampled: random.is_multiple_of(SAMPLE),
        }
    }

    fn scattered(&self, ticket: u64) -> u64 {
        let index = u128::from(ticket) * u128::from(STRIDE) % u128::from(self.keys.max(1));
        u64::try_from(index).unwrap_or(0)
    }

    fn content(&self, index: u64) -> Content {
        let seed = match self.contents {
            Contents::PerKey => self
                .prefix
                .bytes()
                .fold(index, |seed, byte| scramble(seed ^ u64::from(byte))),
            Contents::Constant => 0,
        };
        Content { seed, len: self.size }
    }

    /// The request of a step.
    pub(crate) fn request<'a>(&self, step: &'a Step) -> Request<'a> {
        let (method, body, take) = match self.operation {
            Operation::Put | Operation::Overwrite => ("PUT", Body::Content(step.content), Take::Discard),
            Operation::Get if step.sampled => ("GET", Body::Empty, Take::Compare(step.content)),
            Operation::List if step.sampled => ("GET", Body::Empty, Take::Keep),
            Operation::Get | Operation::GetEach | Operation::List => ("GET", Body::Empty, Take::Discard),
            Operation::Head => ("HEAD", Body::Empty, Take::Discard),
            Operation::Delete => ("DELETE", Body::Empty, Take::Discard),
        };
        Request {
            method,
            path: &step.path,
            query: &step.query,
            body,
            take,
        }
    }

    /// Checks an answer; returns the body bytes that the operation moved.
    ///
    /// # Errors
    /// Says what was asked and what is wrong with the answer.
    pub(crate) fn check(&self, step: &Step, reply: &Reply) -> Result<u64> {
        let Step { path, query, .. } = step;
        let expected = if self.operation == Operation::Delete {
            204
        } else {
            200
        };
        if reply.status != expected {
            let body = String::from_utf8_lossy(&reply.body);
            bail!(
                "{:?} {path}?{query} answered {} instead of {expected}: {body}",
                self.operation,
                reply.status
            );
        }
        match self.operation {
            Operation::Put | Operation::Overwrite => {
                self.check_etag(step, reply)?;
                Ok(self.size)
            }
            Operation::Get | Operation::GetEach | Operation::Head => {
                ensure!(
                    reply.length == self.size,
                    "{path} has {} bytes, not {}",
                    reply.length,
                    self.size
                );
                Ok(if self.operation == Operation::Head {
                    0
                } else {
                    reply.length
                })
            }
            Operation::List => {
                let keys = if step.sampled {
                    count(&reply.body, b"<Key>")
                } else {
                    PAGE_KEYS
                };
                ensure!(
                    keys == PAGE_KEYS,
                    "{path}?{query} lists {keys} keys, not {PAGE_KEYS}"
                );
                Ok(reply.length)
            }
            Operation::Delete => Ok(0),
        }
    }

    fn check_etag(&self, step: &Step, reply: &Reply) -> Result<()> {
        let checked = step.sampled && self.contents == Contents::PerKey && self.size <= ETAG_CHECKED_BYTES;
        if checked {
            let expected = etag_of(step.content);
            let path = &step.path;
            ensure!(
                reply.etag.as_deref() == Some(&expected),
                "{path} has ETag {:?}, not {expected}",
                reply.etag
            );
        }
        Ok(())
    }
}

impl Display for Operation {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Put | Self::Overwrite => "PUT",
            Self::Get | Self::GetEach => "GET",
            Self::Head => "HEAD",
            Self::Delete => "DELETE",
            Self::List => "LIST",
        })
    }
}

fn count(text: &[u8], word: &[u8]) -> u64 {
    text.windows(word.len()).filter(|window| *window == word).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn work(operation: Operation, keys: u64) -> Work {
        Work {
            operation,
            bucket: "b".into(),
            prefix: "k".into(),
            keys,
            size: 3,
            contents: Contents::PerKey,
        }
    }

    fn reply(status: u16, length: u64) -> Reply {
        Reply {
            status,
            length,
            etag: None,
            version: None,
            body: Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn a_put_load_writes_every_key_exactly_once(keys in 1..3000u64) {
            let work = work(Operation::Put, keys);
            let paths: HashSet<_> = (0..keys).map(|ticket| work.step(ticket, 0).path).collect();
            let all: HashSet<_> = (0..keys).map(|index| work.path(index)).collect();
            prop_assert_eq!(paths, all);
        }

        #[test]
        fn every_page_starts_early_enough_to_be_full(keys in 1001..1_000_000u64, ticket: u64) {
            let step = work(Operation::List, keys).step(ticket, 1);
            let start: u64 = step.query.rsplit('k').next().unwrap().parse().unwrap();
            prop_assert!(start + PAGE_KEYS < keys);
        }
    }

    #[test]
    fn a_read_expects_what_the_write_sent() {
        let put = work(Operation::Put, 100).step(5, 0);
        let get = (0..)
            .map(|ticket| work(Operation::Get, 100).step(ticket, 0))
            .find(|step| step.path == put.path);
        assert_eq!(put.content, get.unwrap().content);
    }

    #[test]
    fn a_wrong_status_or_length_is_named() {
        let work = work(Operation::Get, 1);
        let step = work.step(0, 0);
        let problem = |reply| work.check(&step, &reply).unwrap_err().to_string();
        assert!(problem(reply(503, 0)).contains("/b/k000000000? answered 503 instead of 200"));
        assert!(problem(reply(200, 2)).contains("has 2 bytes, not 3"));
        assert_eq!(work.check(&step, &reply(200, 3)).unwrap(), 3);
    }

    #[test]
    fn a_sampled_put_must_answer_the_md5_of_its_content() {
        let work = work(Operation::Put, 1000);
        let step = (0..)
            .map(|ticket| work.step(ticket, 0))
            .find(|step| step.sampled)
            .unwrap();
        assert!(work.check(&step, &reply(200, 0)).is_err());
        let good = Reply {
            etag: Some(etag_of(step.content)),
            ..reply(200, 0)
        };
        assert_eq!(work.check(&step, &good).unwrap(), 3);
    }
}
