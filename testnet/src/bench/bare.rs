//! A hyper server that answers a constant body: what HTTP alone costs on this machine.

use std::convert::Infallible;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::Args;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::group_sync::{GroupSync, Layout};
use super::process::Process;
use crate::client::Content;

/// What a deletion writes where writes are made durable: about the size of a tombstone's row.
const TOMBSTONE: &[u8] = &[0; 128];

/// The options of the hidden subcommand.
#[derive(Args)]
pub(crate) struct BareOptions {
    /// Answer GET with this many bytes.
    #[arg(long, default_value_t = 0)]
    content: u64,
    /// Answer GET with this file instead.
    #[arg(long)]
    page: Option<PathBuf>,
    /// Make bodies of PUT durable in this file before answering.
    #[arg(long)]
    append: Option<PathBuf>,
    /// How that file takes records.
    #[arg(long, value_enum, default_value = "appending")]
    layout: Layout,
}

/// What the bare server answers.
pub(crate) enum Answers<'a> {
    /// This many bytes; bodies of PUT are dropped.
    Content(u64),
    /// The bytes of a file.
    Page(&'a Path),
    /// Nothing, after a body of PUT is durable in a file.
    Durably(&'a Path, Layout),
}

/// The bare server, in a process of its own so that its cost can be told from the client's.
pub(crate) struct Bare {
    /// The child.
    pub(crate) process: Process,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Bare {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// It cannot be started or does not say where it listens.
    pub(crate) fn start(answers: &Answers<'_>) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("find own program")?);
        command
            .arg("bench-bare")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        match answers {
            Answers::Content(bytes) => command.arg("--content").arg(bytes.to_string()),
            Answers::Page(path) => command.arg("--page").arg(path),
            Answers::Durably(path, Layout::Appending) => command.arg("--append").arg(path),
            Answers::Durably(path, Layout::Prewritten) => {
                command.arg("--append").arg(path).args(["--layout", "prewritten"])
            }
        };
        let mut process = Process::spawn(&mut command)?;
        let stdout = process
            .child()
            .stdout
            .take()
            .context("take output of the bare server")?;
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .context("read address of the bare server")?;
        let address = line.trim().parse().context("the bare server did not start")?;
        Ok(Self { process, address })
    }
}

struct Answerer {
    body: Bytes,
    log: Option<GroupSync>,
}

/// Serves until standard input ends, which it does with the parent.
///
/// # Errors
/// The page cannot be read or no port be opened.
pub(crate) fn serve(options: &BareOptions) -> Result<()> {
    let body = match &options.page {
        Some(path) => fs::read(path).context("read page")?,
        None => {
            let mut body = vec![0; usize::try_from(options.content).context("content too large")?];
            Content {
                seed: 0,
                len: options.content,
            }
            .fill(0, &mut body);
            body
        }
    };
    let log = match &options.append {
        Some(path) => Some(GroupSync::create(path, options.layout)?.0),
        None => None,
    };
    thread::spawn(|| {
        let ended = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(i32::from(ended.is_err()));
    });
    let answerer: &'static Answerer = Box::leak(Box::new(Answerer {
        body: body.into(),
        log,
    }));
    tokio::runtime::Runtime::new()
        .context("start runtime")?
        .block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.context("listen")?;
            println!("{}", listener.local_addr().context("own address")?);
            accept(listener, answerer).await
        })
}

async fn accept(listener: TcpListener, answerer: &'static Answerer) -> Result<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                connections.spawn(converse(answerer, accepted.context("accept")?.0));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(answerer: &'static Answerer, stream: TcpStream) {
    // A client that goes away ends its connection; the bench on the other side reports what it missed.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(answerer, request));
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    answerer: &'static Answerer,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let method = request.method().clone();
    let mut response = Response::new(Full::default());
    match method {
        Method::GET => *response.body_mut() = Full::new(answerer.body.clone()),
        Method::HEAD => {
            let length = HeaderValue::from(answerer.body.len());
            response.headers_mut().insert(header::CONTENT_LENGTH, length);
        }
        Method::PUT | Method::DELETE => {
            let done = if method == Method::PUT {
                StatusCode::OK
            } else {
                StatusCode::NO_CONTENT
            };
            *response.status_mut() = match receive(answerer, request).await {
                Ok(()) => done,
                Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
        }
        _ => *response.status_mut() = StatusCode::NOT_IMPLEMENTED,
    }
    Ok(response)
}

/// Takes a body in, durably where a file was given.
async fn receive(answerer: &Answerer, request: Request<Incoming>) -> Result<()> {
    let tombstone = request.method() == Method::DELETE;
    let mut body = request.into_body();
    let mut last = if tombstone {
        Bytes::from_static(TOMBSTONE)
    } else {
        Bytes::new()
    };
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.context("receive body")?.into_data() else {
            continue;
        };
        if let Some(log) = answerer.log.as_ref().filter(|_| !last.is_empty()) {
            log.write(last).await?;
        }
        last = data;
    }
    match &answerer.log {
        Some(log) => log.commit(last).await,
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::{Load, drive};
    use super::super::work::{Contents, Operation, Work};
    use super::*;
    use crate::client::{Payload, Signer};
    use std::time::Duration;

    /// Drives a server in this process with `ops` operations; returns body bytes moved and the file it appended to.
    async fn check(operation: Operation, size: u64, ops: u64) -> Result<(u64, Vec<u8>)> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("log");
        let mut body = vec![0; usize::try_from(size)?];
        Content { seed: 0, len: size }.fill(0, &mut body);
        let log = Some(GroupSync::create(&path, Layout::Appending)?.0);
        let answerer = Box::leak(Box::new(Answerer {
            body: body.into(),
            log,
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(accept(listener, answerer));
        let (bucket, prefix) = ("b".into(), "k".into());
        let work = Work {
            operation,
            bucket,
            prefix,
            keys: 100,
            size,
            contents: Contents::Constant,
        };
        let signer = Signer::new("id", "secret", "r", Payload::Signed);
        let time = Duration::from_secs(60);
        let load = Load {
            address,
            signer,
            connections: 3,
            time,
            first: 0,
            end: ops,
            salt: 0,
            work,
        };
        let round = tokio::task::spawn_blocking(|| drive(load)).await??;
        server.abort();
        assert_eq!((round.ops, round.latencies.len()), (ops, ops));
        Ok((round.bytes, fs::read(&path)?))
    }

    #[tokio::test]
    async fn a_load_of_reads_moves_every_byte_and_recognises_it() {
        assert_eq!(check(Operation::Get, 300_000, 40).await.unwrap().0, 40 * 300_000);
        assert_eq!(check(Operation::Head, 300_000, 40).await.unwrap().0, 0);
    }

    #[tokio::test]
    async fn an_answered_write_is_in_the_file() {
        let (moved, log) = check(Operation::Put, 1000, 40).await.unwrap();
        assert_eq!((moved, log.len()), (40_000, 40_000));
        let written = Content { seed: 0, len: 1000 };
        assert!(log.chunks(1000).all(|record| written.matches(0, record)));
        assert_eq!(
            check(Operation::Delete, 1000, 4).await.unwrap().1.len(),
            4 * TOMBSTONE.len()
        );
    }
}
