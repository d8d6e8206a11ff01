//! What a client beside one box asks, one request after the other, so that the time of each is its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use tokio::runtime::Runtime;

use super::super::home::S3;
use super::super::street::Street;
use super::super::wire;
use super::BUCKET;
use super::goals::Found;
use crate::client::{Body, Connection, Content, Reply, Request, Signer, Take};

/// Objects of the bucket's first page, so many that every partition has some.
const OBJECTS: u64 = 2_000;
/// Bytes of a small object, which is kept in its row, and of one that is a block.
const SMALL_BYTES: u64 = 1024;
const BLOCK_BYTES: u64 = 64 * 1024;
const LARGE_BYTES: u64 = 64 << 20;
const FILLERS: u64 = 8;
/// How long whoever took partitions over may take to learn of them.
const SETTLING: Duration = Duration::from_secs(35);
/// How long a client in the foreground rests between two requests.
const REST: Duration = Duration::from_millis(25);

/// How often each operation is asked.
#[derive(Clone, Copy)]
pub(super) struct Counts {
    small: u64,
    pages: u64,
    large: u64,
}

impl Counts {
    pub(super) const fn of(quick: bool) -> Self {
        match quick {
            true => Self {
                small: 8,
                pages: 3,
                large: 1,
            },
            false => Self {
                small: 60,
                pages: 15,
                large: 3,
            },
        }
    }
}

/// Bytes of all objects that are there once every home has been asked, and large ones were stored.
pub(super) fn bytes_stored(homes: usize, counts: Counts) -> f64 {
    let blocks = homes as u64 * (counts.small / 2) * BLOCK_BYTES;
    crate::bench::float(OBJECTS * SMALL_BYTES + blocks + counts.large * LARGE_BYTES)
}

/// A box, and a client beside it.
pub(super) struct Gateway<'a> {
    pub(super) number: usize,
    pub(super) namespace: String,
    pub(super) signer: &'a Signer,
}

/// One kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Put,
    Overwrite,
    Head,
    Get,
    List,
    Delete,
    PutBlock,
    GetBlock,
}

impl Operation {
    /// What people call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Put => "PUT 1 KiB, new",
            Self::Overwrite => "PUT 1 KiB, again",
            Self::Head => "HEAD 1 KiB",
            Self::Get => "GET 1 KiB",
            Self::List => "LIST 1,000 keys",
            Self::Delete => "DELETE 1 KiB",
            Self::PutBlock => "PUT 64 KiB",
            Self::GetBlock => "GET 64 KiB",
        }
    }

    /// Whether a goal speaks of it. A block is durable in two homes before its row is written, which takes one more.
    pub(super) const fn has_goal(self) -> bool {
        !matches!(self, Self::PutBlock)
    }

    /// Whether it changes nothing.
    pub(super) const fn is_read(self) -> bool {
        matches!(self, Self::Head | Self::Get | Self::List | Self::GetBlock)
    }

    const fn method(self) -> &'static str {
        match self {
            Self::Put | Self::Overwrite | Self::PutBlock => "PUT",
            Self::Head => "HEAD",
            Self::Get | Self::GetBlock | Self::List => "GET",
            Self::Delete => "DELETE",
        }
    }
}

impl Gateway<'_> {
    /// Asks for every operation as often as told; how long each took, in milliseconds.
    ///
    /// # Errors
    /// An answer is not what it should be.
    pub(super) fn ask_one_after_the_other(&self, counts: Counts) -> Result<Vec<(Operation, Vec<f64>)>> {
        wire::on_a_thread(|| {
            let mut client = Client::enter(&self.namespace, self.signer)?;
            let rounds = [
                (Operation::Put, counts.small),
                (Operation::Overwrite, counts.small),
                (Operation::Head, counts.small),
                (Operation::Get, counts.small),
                (Operation::List, counts.pages),
                (Operation::Delete, counts.small),
                (Operation::PutBlock, counts.small / 2),
                (Operation::GetBlock, counts.small / 2),
            ];
            rounds
                .into_iter()
                .map(|(operation, count)| {
                    let took = (0..count).map(|number| client.ask(operation, self.number, number));
                    Ok((operation, took.collect::<Result<_>>()?))
                })
                .collect()
        })
    }
}

/// Has a box become the holder of every partition, and learn what others have of them, so that what is measured is how it
/// goes on.
///
/// # Errors
/// An answer is not what it should be.
pub(super) fn settle(gateway: &Gateway<'_>, counts: Counts) -> Result<()> {
    wire::on_a_thread(|| {
        let mut client = Client::enter(&gateway.namespace, gateway.signer)?;
        for number in 0..counts.small {
            client.put(&format!("/{BUCKET}/settling/{number}"), (number, SMALL_BYTES))?;
        }
        thread::sleep(SETTLING);
        Ok(())
    })
}

/// Fills the bucket from a home that nothing slows down yet.
///
/// # Errors
/// An object is not stored.
pub(super) fn fill(namespace: &str, signer: &Signer) -> Result<()> {
    thread::scope(|scope| {
        let filling = (0..FILLERS).map(|filler| {
            scope.spawn(move || {
                let mut client = Client::enter(namespace, signer)?;
                (filler..OBJECTS)
                    .step_by(usize::try_from(FILLERS)?)
                    .try_for_each(|number| {
                        client.put(&format!("/{BUCKET}/list/{number:06}"), (number, SMALL_BYTES))
                    })
            })
        });
        let filling: Vec<_> = filling.collect();
        filling
            .into_iter()
            .try_for_each(|filler| filler.join().map_err(|_| anyhow!("a thread died"))?)
    })
}

/// Stores large objects from the first home, beside what its uplink carries in bytes per second.
///
/// # Errors
/// One is not stored.
pub(super) fn upload(
    (street, signer): (&Street, &Signer),
    uplink: f64,
    counts: Counts,
) -> Result<[Found; 2]> {
    let namespace = street.namespace(0);
    wire::on_a_thread(|| {
        let mut client = Client::enter(&namespace, signer)?;
        let (mut took, mut sent) = (0.0, 0.0);
        for number in 0..counts.large {
            let (before, began) = (bytes_over(&namespace, "tx_bytes")?, Instant::now());
            client.put(
                &format!("/{BUCKET}/large/{number}"),
                (1 << 32 | number, LARGE_BYTES),
            )?;
            took += began.elapsed().as_secs_f64();
            sent += bytes_over(&namespace, "tx_bytes")? - before;
        }
        let stored = crate::bench::float(counts.large * LARGE_BYTES);
        Ok([
            Found::uplink_filled(sent / took, uplink),
            Found::uplink_stored(stored / took, uplink),
        ])
    })
}

/// How long small reads and writes take a client beside a box, in turns, until it is over, in milliseconds. It writes new
/// objects, which have numbers from this one on.
///
/// # Errors
/// An answer is not what it should be.
pub(super) fn foreground(gateway: &Gateway<'_>, from: u64, is_over: &AtomicBool) -> Result<Vec<f64>> {
    let mut client = Client::enter(&gateway.namespace, gateway.signer)?;
    let mut took = Vec::new();
    for number in from.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        for operation in [Operation::Put, Operation::Get] {
            took.push(client.ask(operation, 100 + gateway.number, number)?);
            // Else it would measure how much it writes itself wherever a home decides alone.
            thread::sleep(REST);
        }
    }
    Ok(took)
}

/// How many bytes have passed the interface of a home, in one direction.
///
/// # Errors
/// The system does not say.
pub(super) fn bytes_over(namespace: &str, counter: &str) -> Result<f64> {
    let file = format!("/sys/class/net/eth0/statistics/{counter}");
    let output = std::process::Command::new("ip")
        .args(["netns", "exec", namespace, "cat", &file])
        .output()
        .context("read counter")?;
    let said = String::from_utf8(output.stdout).context("read counter")?;
    said.trim()
        .parse()
        .with_context(|| format!("{counter} of {namespace}: {said}"))
}

struct Client {
    runtime: Runtime,
    connection: Connection,
}

impl Client {
    /// Moves this thread into the namespace, and connects.
    fn enter(namespace: &str, signer: &Signer) -> Result<Self> {
        wire::enter(namespace)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let connection = runtime.block_on(Connection::open(S3.parse()?, signer.clone()))?;
        Ok(Self { runtime, connection })
    }

    /// Asks once; how long it took, in milliseconds.
    fn ask(&mut self, operation: Operation, gateway: usize, number: u64) -> Result<f64> {
        let length = match operation {
            Operation::PutBlock | Operation::GetBlock => BLOCK_BYTES,
            _ => SMALL_BYTES,
        };
        // What is written again differs from what was there.
        let seed = match operation {
            Operation::Put => number,
            _ => 1 << 20 | number,
        };
        let content = Content {
            seed: (gateway as u64 + 1) << 40 | seed << 1 | u64::from(length == BLOCK_BYTES),
            len: length,
        };
        let path = match operation {
            Operation::List => format!("/{BUCKET}"),
            _ => format!("/{BUCKET}/of-{gateway}/{length}/{number}"),
        };
        let request = Request {
            method: operation.method(),
            path: &path,
            query: match operation {
                Operation::List => "list-type=2&max-keys=1000&prefix=list%2F",
                _ => "",
            },
            body: match operation.method() {
                "PUT" => Body::Content(content),
                _ => Body::Empty,
            },
            take: Take::Keep,
        };
        let began = Instant::now();
        let reply = self.send(&request)?;
        let took = began.elapsed();
        let status = match operation {
            Operation::Delete => 204,
            _ => 200,
        };
        ensure!(
            reply.status == status,
            "{} {path} answers {}: {}",
            operation.name(),
            reply.status,
            String::from_utf8_lossy(&reply.body)
        );
        Ok(took.as_secs_f64() * 1e3)
    }

    fn put(&mut self, path: &str, (seed, len): (u64, u64)) -> Result<()> {
        let request = Request {
            method: "PUT",
            path,
            query: "",
            body: Body::Content(Content { seed, len }),
            take: Take::Keep,
        };
        let reply = self.send(&request)?;
        ensure!(reply.status == 200, "PUT {path} answers {}", reply.status);
        Ok(())
    }

    fn send(&mut self, request: &Request<'_>) -> Result<Reply> {
        /// How long one answer may take.
        const PATIENCE: Duration = Duration::from_secs(300);
        let sending = async { tokio::time::timeout(PATIENCE, self.connection.send(request)).await };
        let sent = self.runtime.block_on(sending);
        sent.context("no answer for minutes")?
            .with_context(|| format!("{} {}", request.method, request.path))
    }
}
