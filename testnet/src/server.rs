//! Runs the real `warren` binary as a process of its own, and stops or kills it.

use std::env;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::client::Credentials;

/// How long a start may take, index rebuild included.
const START_MAX: Duration = Duration::from_secs(60);
/// How long an orderly stop may take.
const STOP_MAX: Duration = Duration::from_secs(30);

/// Where one server keeps what it stores, and where it listens; outlives its processes.
pub(crate) struct Home {
    binary: PathBuf,
    folder: PathBuf,
    address: SocketAddr,
}

/// A running process of the server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    ready_after: Duration,
}

impl Home {
    /// A server to be run from `folder` on a free port of 127.0.0.1.
    pub(crate) fn new(binary: PathBuf, folder: &Path) -> Result<Self> {
        let free = TcpListener::bind("127.0.0.1:0").context("find a free port")?;
        Ok(Self {
            binary,
            folder: folder.to_owned(),
            address: free.local_addr()?,
        })
    }

    /// Where the server listens for S3.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the server keeps its objects.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// What the server's processes logged, one after the other.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// Starts a process and waits until it accepts connections.
    pub(crate) async fn start(&self) -> Result<Server> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .context("open the log")?;
        let began = Instant::now();
        let child = Command::new(&self.binary)
            .arg("server")
            .args(["--state".as_ref(), self.state().as_os_str()])
            .args(["--data".as_ref(), self.data().as_os_str()])
            .args(["--s3", &self.address.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", self.binary.display()))?;
        let mut server = Server {
            child,
            ready_after: Duration::ZERO,
        };
        while TcpStream::connect(self.address).await.is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!(
                    "the server ended at start with {status}; see {}",
                    self.log().display()
                );
            }
            ensure!(began.elapsed() < START_MAX, "not ready after {START_MAX:?}");
            sleep(Duration::from_millis(2)).await;
        }
        server.ready_after = began.elapsed();
        Ok(server)
    }

    /// Asks the running server for an access key that may do everything.
    pub(crate) async fn create_key(&self) -> Result<Credentials> {
        let output = Command::new(&self.binary)
            .args(["key", "create", "testnet", "--admin", "--json"])
            .args(["--state".as_ref(), self.state().as_os_str()])
            .output()
            .await
            .context("run `warren key create`")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`warren key create` failed: {said}");
        let key: CreatedKey = serde_json::from_slice(&output.stdout).context("read the created key")?;
        Ok(Credentials {
            access_key: key.id,
            secret: key.secret,
        })
    }

    fn state(&self) -> PathBuf {
        self.folder.join("state")
    }
}

#[derive(Deserialize)]
struct CreatedKey {
    id: String,
    secret: String,
}

impl Server {
    /// The process id.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// How long it took from start to the first accepted connection.
    pub(crate) fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Ends the process as a power cut would, from the program's view: SIGKILL.
    pub(crate) async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("kill the server")
    }

    /// Asks the process to end with SIGTERM, and waits until it has.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let Some(pid) = self.child.id() else { return Ok(()) };
        let status = Command::new("kill")
            .args(["-TERM", &pid.to_string()])
            .status()
            .await?;
        ensure!(status.success(), "no such process {pid}");
        let status = timeout(STOP_MAX, self.child.wait())
            .await
            .context("wait for an orderly stop")??;
        ensure!(status.success(), "the server stopped with {status}");
        Ok(())
    }
}

/// Builds the `warren` binary in the profile of the running program, and says where it is.
pub(crate) async fn build() -> Result<PathBuf> {
    let beside = env::current_exe()?.with_file_name("warren");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "-p", "warren", "--bin", "warren"]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    ensure!(
        build.status().await.context("run cargo")?.success(),
        "the `warren` binary does not build"
    );
    ensure!(beside.exists(), "no binary at {}", beside.display());
    Ok(beside)
}
