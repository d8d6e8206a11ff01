//! Runs the real server from a folder of its own and knows its key.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::process::Process;
use crate::client::{Body, Connection, Payload, Reply, Request, Signer, Take};

const READY_WITHIN: Duration = Duration::from_secs(120);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const REGION: &str = "us-east-1";

/// A running server.
pub(crate) struct Warren {
    /// The child.
    pub(crate) process: Process,
    home: Home,
}

/// What of a server outlives its process.
#[derive(Clone)]
pub(crate) struct Home {
    /// Where it listens for S3.
    pub(crate) address: SocketAddr,
    /// Its key, which may do everything.
    pub(crate) signer: Signer,
    binary: PathBuf,
    dir: PathBuf,
}

/// How a server's process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Asked to stop, it flushes.
    Stop,
    /// Killed without warning.
    Kill,
}

/// What `warren key create --json` prints, as far as we need it.
#[derive(Deserialize)]
struct CreatedKey {
    #[serde(alias = "access_key", alias = "access_key_id")]
    id: String,
    #[serde(alias = "secret_key", alias = "secret_access_key")]
    secret: String,
}

impl Warren {
    /// Starts a server with nothing in it and makes a key.
    ///
    /// # Errors
    /// It does not start, or makes no key; the message names its log.
    pub(crate) fn start_empty(binary: &Path, dir: &Path, payload: Payload) -> Result<Self> {
        fs::create_dir_all(dir).context("create server folder")?;
        let free = TcpListener::bind("127.0.0.1:0")
            .and_then(|port| port.local_addr())
            .context("find a port")?;
        let signer = Signer::new("none", "none", REGION, payload);
        let mut home = Home {
            address: free,
            signer,
            binary: binary.into(),
            dir: dir.into(),
        };
        let mut process = home.spawn()?;
        home.wait_until_answering(&mut process, 403)?;
        let key = home.create_key()?;
        home.signer = Signer::new(&key.id, &key.secret, REGION, payload);
        Ok(Self { process, home })
    }

    /// Its address and key.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// Ends the process; everything it stored stays.
    ///
    /// # Errors
    /// It does not stop.
    pub(crate) fn end(self, end: End) -> Result<Home> {
        let Self { process, home } = self;
        match end {
            End::Stop => process.stop()?,
            End::Kill => process.kill(),
        }
        Ok(home)
    }

    /// Ends the process and starts it anew, see [`Home::start`].
    ///
    /// # Errors
    /// It does not stop or does not come back.
    pub(crate) fn restart(self, end: End) -> Result<(Self, Duration)> {
        self.end(end)?.start()
    }
}

impl Home {
    /// Starts a process and waits for the first answer to an authenticated request; returns the time from start to
    /// that answer.
    ///
    /// # Errors
    /// It does not come up.
    pub(crate) fn start(self) -> Result<(Warren, Duration)> {
        let started = Instant::now();
        let mut process = self.spawn()?;
        self.wait_until_answering(&mut process, 200)?;
        let ready = started.elapsed();
        Ok((Warren { process, home: self }, ready))
    }

    /// Bytes of log so far: where to begin reading what comes next.
    ///
    /// # Errors
    /// It cannot be measured.
    pub(crate) fn logged(&self) -> Result<u64> {
        Ok(fs::metadata(self.log()).context("measure server log")?.len())
    }

    /// What the server logged from this byte on.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn logged_since(&self, byte: u64) -> Result<String> {
        let log = fs::read(self.log()).context("read server log")?;
        let start = usize::try_from(byte).unwrap_or(log.len()).min(log.len());
        Ok(String::from_utf8_lossy(&log[start..]).into_owned())
    }

    /// The folder with everything the server keeps.
    pub(crate) fn folder(&self) -> &Path {
        &self.dir
    }

    /// Creates a bucket that the key may use.
    ///
    /// # Errors
    /// The server refuses.
    pub(crate) fn create_bucket(&self, name: &str) -> Result<()> {
        let path = format!("/{name}");
        let request = Request {
            method: "PUT",
            path: &path,
            query: "",
            body: Body::Bytes(b""),
            take: Take::Keep,
        };
        let reply = self.once(&request)?;
        let body = String::from_utf8_lossy(&reply.body);
        ensure!(
            reply.status == 200,
            "creating bucket {name} answered {}: {body}",
            reply.status
        );
        Ok(())
    }

    /// Sends one request on a connection of its own.
    ///
    /// # Errors
    /// The connection failed or the answer is late.
    pub(crate) fn once(&self, request: &Request<'_>) -> Result<Reply> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("runtime")?;
        runtime.block_on(async {
            let exchange = async {
                let mut connection = Connection::open(self.address, self.signer.clone()).await?;
                connection.send(request).await
            };
            let reply = tokio::time::timeout(ANSWER_WITHIN, exchange)
                .await
                .context("no answer in time")?;
            Ok(reply?)
        })
    }

    fn spawn(&self) -> Result<Process> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .context("open server log")?;
        let mut command = self.command("server");
        command
            .args(["--s3", &self.address.to_string()])
            // A box that is alone, whoever else is on this network.
            .args(["--mesh", "127.0.0.1:0"])
            .env("WARREN_MESH_MDNS", "off")
            .env("WARREN_MESH_UPNP", "off")
            .env("WARREN_PAGE", "off")
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share log")?)
            .stderr(log);
        Process::spawn(&mut command)
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(verb.split(' '))
            .arg("--state")
            .arg(self.dir.join("state"));
        command
    }

    fn log(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    /// Polls with a listing of buckets until it is answered with `status`; only a server that is still starting may
    /// answer otherwise, with 503.
    fn wait_until_answering(&self, process: &mut Process, status: u16) -> Result<()> {
        let list = Request {
            method: "GET",
            path: "/",
            query: "",
            body: Body::Empty,
            take: Take::Discard,
        };
        let asked = Instant::now();
        loop {
            match self.once(&list) {
                Ok(reply) if reply.status == status => return Ok(()),
                Ok(reply) if reply.status != 503 => {
                    let body = String::from_utf8_lossy(&reply.body);
                    bail!(
                        "the server answered {} instead of {status} after its start: {body}",
                        reply.status
                    );
                }
                outcome if asked.elapsed() > READY_WITHIN => {
                    bail!(
                        "not ready after {READY_WITHIN:?}, see {}: {outcome:?}",
                        self.log().display()
                    );
                }
                _ => ensure!(
                    process.running()?,
                    "the server ended at start, see {}",
                    self.log().display()
                ),
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn create_key(&self) -> Result<CreatedKey> {
        let output = self
            .command("key create bench --create-buckets --json")
            .output()
            .context("run warren key create")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "warren key create failed: {said}");
        serde_json::from_slice(&output.stdout).context("read the created key")
    }
}

/// Finds the server's program beside this one. Under cargo it is brought up to date first, in the same profile, so that
/// no stale server is measured.
///
/// # Errors
/// It cannot be built, or stands nowhere.
pub(crate) fn find_or_build() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find own program")?;
    let binary = own.parent().context("own folder")?.join("warren");
    let cargo = std::env::var_os("CARGO");
    if cargo.is_some() || !binary.exists() {
        let mut build = Command::new(cargo.unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--quiet", "-p", "warren", "--bin", "warren"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        ensure!(
            build.status().context("run cargo build")?.success(),
            "the server could not be built"
        );
    }
    ensure!(binary.exists(), "no server at {}", binary.display());
    Ok(binary)
}
