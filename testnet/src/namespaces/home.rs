//! The real program in a namespace: started, told things as people tell it, asked over S3, killed.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::lab::PORT;
use super::wire;
use crate::client::{Body, Connection, Payload, Reply, Request, Signer};

/// Where clients of a box connect, in its own namespace.
pub(super) const S3: &str = "127.0.0.1:3900";
/// Where clients in its network connect too, if they are to.
const S3_FOR_ALL: &str = "[::]:3900";
/// How long between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a server may take from its start until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// How many seconds a command may take before it is ended, unless told otherwise.
const COMMAND_S: u32 = 70;
/// The exit code of `timeout` when it ended what it ran.
const OVERDUE: i32 = 124;

/// Waits until it comes true; how long that took.
pub(super) fn within(ever: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<Option<Duration>> {
    let began = Instant::now();
    while began.elapsed() < ever {
        if is_so()? {
            return Ok(Some(began.elapsed()));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(None)
}

/// What a command came to.
#[derive(Debug)]
pub(super) struct Said {
    /// Its exit code.
    pub(super) code: i32,
    /// The document it printed; null where it printed none.
    pub(super) document: Value,
    /// What it said on standard error.
    pub(super) error: String,
}

/// A box in a namespace, running or not; ended when dropped.
pub(super) struct Home {
    namespace: String,
    folder: PathBuf,
    program: PathBuf,
    environment: Vec<(String, String)>,
    extra: Vec<String>,
    s3: &'static str,
    process: Option<Child>,
}

impl Drop for Home {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Home {
    /// A box that keeps everything in this folder, and does not run yet.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(super) fn new(namespace: String, folder: PathBuf, program: &Path) -> Result<Self> {
        fs::create_dir_all(folder.join("disk")).context("create folder of box")?;
        Ok(Self {
            namespace,
            folder,
            program: program.to_owned(),
            environment: Vec::new(),
            extra: Vec::new(),
            s3: S3,
            process: None,
        })
    }

    /// Sets a variable for everything that this box runs from now on.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Lets clients in its network connect from its next start on, not only those beside it.
    pub(super) fn serve_network(&mut self) {
        self.s3 = S3_FOR_ALL;
    }

    /// What is its disk: a folder that holds its state, and nothing else.
    pub(super) fn disk(&self) -> PathBuf {
        self.folder.join("disk")
    }

    /// The namespace it stands in.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn command(&self, before: &[&str], words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace])
            .args(before)
            .arg(&self.program)
            .arg("--state")
            .arg(self.disk().join("state"))
            .args(["--json", "--yes"])
            .args(words)
            .env("WARREN_MESH", PORT.to_string())
            .env("WARREN_MESH_UPNP", "off")
            .env("WARREN_PAGE", "off")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs one command to its end, which comes after so many seconds at the latest.
    ///
    /// # Errors
    /// It cannot be run.
    pub(super) fn tell(&self, words: &[&str], seconds: u32) -> Result<Said> {
        let seconds = seconds.to_string();
        let before = ["timeout", "-k", "1", &seconds];
        let output: Output = self.command(&before, words).output().context("run warren")?;
        let code = output.status.code().unwrap_or(OVERDUE);
        Ok(Said {
            code,
            document: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
            error: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// Runs one command to its end, and reads the document that it prints.
    ///
    /// # Errors
    /// It fails.
    pub(super) fn say(&self, words: &[&str]) -> Result<Value> {
        let said = self.tell(words, COMMAND_S)?;
        // A mesh of which one box is away is degraded, which is no failure here.
        let is_fine = said.code == 0 || words == ["status"];
        ensure!(
            is_fine,
            "warren {}: {} ({})",
            words.join(" "),
            said.error,
            said.code
        );
        ensure!(!said.document.is_null(), "{words:?} printed no document");
        Ok(said.document)
    }

    /// Joins the mesh of another box by an invite that is made there.
    ///
    /// # Errors
    /// The invite is not made, or not taken.
    pub(super) fn join(&self, through: &Self, name: &str) -> Result<()> {
        let invite = through.say(&["invite"])?;
        let token = invite["token"].as_str().context("find the token")?;
        self.say(&["join", token, "--name", name, "--zone", name])
            .map(drop)
    }

    /// Starts its server, and waits until it is ready.
    ///
    /// # Errors
    /// It ends, or is never ready.
    pub(super) fn start(&mut self, extra: &[&str]) -> Result<()> {
        self.extra = extra.iter().map(|&word| word.to_owned()).collect();
        self.start_in(|_| Ok(()))
    }

    /// Starts its server as it was started before, puts its process somewhere, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Self::start`], or the process cannot be put there.
    pub(super) fn start_in(&mut self, put: impl FnOnce(u32) -> Result<()>) -> Result<()> {
        let heard = self.logged_bytes();
        self.launch()?;
        put(self.process().context("find the server")?)?;
        let ready = within(READY_WITHIN, || {
            ensure!(
                self.is_running()?,
                "the server ended, see {}",
                self.log().display()
            );
            self.is_ready_since(heard)
        })?;
        ready.map(drop).context("the server is not ready")
    }

    /// Starts its server as it was started before, and does not wait.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn launch(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log());
        let log = log.context("open log")?;
        let extra: Vec<_> = self.extra.iter().map(String::as_str).collect();
        let child = self
            .command(&[], &[&["server", "--s3", self.s3], &extra[..]].concat())
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share log")?)
            .stderr(log)
            .spawn()
            .context("start server")?;
        self.process = Some(child);
        Ok(())
    }

    /// How many bytes it has printed and logged.
    pub(super) fn logged_bytes(&self) -> u64 {
        fs::metadata(self.log()).map_or(0, |log| log.len())
    }

    /// Whether it has said from this byte of its log on that it is ready.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(super) fn is_ready_since(&self, byte: u64) -> Result<bool> {
        Ok(self.logged_since(byte)?.contains("\"event\":\"ready\""))
    }

    /// What it printed and logged from this byte on; nothing where it never ran.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn logged_since(&self, byte: u64) -> Result<String> {
        if !self.log().exists() {
            return Ok(String::new());
        }
        let log = fs::read(self.log()).context("read log")?;
        let start = usize::try_from(byte).unwrap_or(log.len()).min(log.len());
        Ok(String::from_utf8_lossy(&log[start..]).into_owned())
    }

    /// The process of its server, since it was started.
    pub(super) fn process(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Whether its server runs.
    ///
    /// # Errors
    /// The system does not say.
    pub(super) fn is_running(&mut self) -> Result<bool> {
        match &mut self.process {
            Some(process) => Ok(process.try_wait().context("look at the server")?.is_none()),
            None => Ok(false),
        }
    }

    /// Whether its server was killed, or never started, and did not end by itself.
    pub(super) fn is_killed(&self) -> bool {
        self.process.is_none()
    }

    /// Kills its server at once, as a power cut would.
    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Stops its server in the middle of whatever it does, or lets it go on as if nothing had been.
    ///
    /// # Errors
    /// It does not run.
    pub(super) fn freeze(&self, is_frozen: bool) -> Result<()> {
        let process = self.process.as_ref().context("freeze what does not run")?;
        let signal = if is_frozen { Signal::STOP } else { Signal::CONT };
        kill_process(Pid::from_child(process), signal).context("signal the server")
    }

    /// A key that may create buckets, called `lab`.
    ///
    /// # Errors
    /// It is not made.
    pub(super) fn signer(&self) -> Result<Signer> {
        let key = self.say(&["key", "create", "lab", "--create-buckets"])?;
        let text = |field: &str| key[field].as_str().context("find the key");
        Ok(Signer::new(
            text("id")?,
            text("secret")?,
            "warren",
            Payload::Signed,
        ))
    }

    /// How another box is reached: `lan`, `direct`, `relayed`; empty where it is not. The server goes by its zone.
    ///
    /// # Errors
    /// The status cannot be read.
    pub(super) fn path_to(&self, name: &str) -> Result<String> {
        let status = self.say(&["status"])?;
        let homes = status["homes"].as_array().context("find homes")?;
        let is_server = |home: &Value| name == "server" && home["member"] == 1;
        let found = homes.iter().find(|home| home["name"] == name || is_server(home));
        let kind = found.and_then(|home| home["path"]["kind"].as_str());
        Ok(kind.unwrap_or_default().to_owned())
    }

    /// Stores an object; the status of the answer.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) fn put(&self, signer: &Signer, path: &str, body: &[u8]) -> Result<u16> {
        Ok(self
            .ask((signer, 0), &Request::kept(("PUT", path, ""), Body::Bytes(body)))?
            .status)
    }

    /// Reads an object; the status of the answer, and its body.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) fn get(&self, signer: &Signer, path: &str) -> Result<(u16, Vec<u8>)> {
        let reply = self.ask((signer, 0), &Request::kept(("GET", path, ""), Body::Empty))?;
        Ok((reply.status, reply.body))
    }

    /// Asks its server from beside it, by a clock that is so many milliseconds ahead: a thread of its own enters the
    /// namespace.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) fn ask(&self, (signer, ahead_ms): (&Signer, i64), request: &Request<'_>) -> Result<Reply> {
        wire::on_a_thread(|| {
            wire::enter(&self.namespace)?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let address: SocketAddr = S3.parse()?;
                let mut connection = Connection::open(address, signer.clone()).await?;
                connection.set_clock(ahead_ms);
                Ok(connection.send(request).await?)
            })
        })
    }

    /// Makes a bucket with locks.
    ///
    /// # Errors
    /// It is refused.
    pub(super) fn make_bucket_with_locks(&self, signer: &Signer, bucket: &str) -> Result<()> {
        let path = format!("/{bucket}");
        let versioning = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        let locks = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
        for (query, body) in [("", ""), ("versioning=", versioning), ("object-lock=", locks)] {
            let put = Request::kept(("PUT", &path, query), Body::Bytes(body.as_bytes()));
            let reply = self.ask((signer, 0), &put)?;
            let said = String::from_utf8_lossy(&reply.body);
            ensure!(reply.status == 200, "{bucket} {query}: {} {said}", reply.status);
        }
        Ok(())
    }
}
