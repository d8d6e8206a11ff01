//! A node of the lab as the scenarios see it: a process at a place, told what to do.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::driver::{Order, Reply, Way};
use super::lab::{Lab, Place};

/// How long between two looks at what a node should soon be able to do.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What a call may take, for it to count as working.
const CALL_MS: u64 = 1000;

/// A process at a place, killed when dropped.
pub(crate) struct Driven {
    child: Child,
    orders: ChildStdin,
    replies: BufReader<ChildStdout>,
    pub(crate) id: String,
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Driven {
    /// Starts a node; the same folder makes it the same node again.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn start(lab: &Lab, place: Place, folder: &Path, extra: &[&str]) -> Result<Self> {
        std::fs::create_dir_all(folder).context("create folder of node")?;
        let program = std::env::current_exe().context("find this program")?;
        let mut child = lab
            .command(place, &program)
            .args(["mesh-node", "--folder"])
            .arg(folder)
            .args(extra)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start node")?;
        let orders = child.stdin.take().context("take input of node")?;
        let replies = BufReader::new(child.stdout.take().context("take output of node")?);
        let mut driven = Self {
            child,
            orders,
            replies,
            id: String::new(),
        };
        driven.id = driven.text()?;
        Ok(driven)
    }

    /// Kills it at once, as a power cut would.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Makes an invite that names these addresses.
    pub(crate) fn invite(&mut self, addresses: Vec<String>) -> Result<String> {
        self.tell(&Order::Invite { addresses })?;
        self.text()
    }

    pub(crate) fn join(&mut self, invite: &str) -> Result<String> {
        self.tell(&Order::Join {
            invite: invite.to_owned(),
        })?;
        self.text()
    }

    pub(crate) fn set_members(&mut self, nodes: &[String]) -> Result<()> {
        self.tell(&Order::Members {
            nodes: nodes.to_vec(),
        })?;
        match self.reply()? {
            Reply::Done => Ok(()),
            other => bail!("unexpected {other:?}"),
        }
    }

    /// Whether a call to a peer works now.
    pub(crate) fn reaches(&mut self, to: &str) -> Result<bool> {
        let (to, is_block) = (to.to_owned(), false);
        self.tell(&Order::Call {
            to,
            is_block,
            bytes: 200,
            wait_ms: CALL_MS,
        })?;
        Ok(self.reply()? == Reply::Done)
    }

    /// Sends a block there and back; how long it took.
    pub(crate) fn block(&mut self, to: &str, bytes: usize, wait: Duration) -> Result<Duration> {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let start = Instant::now();
        self.tell(&Order::Call {
            to: to.to_owned(),
            is_block: true,
            bytes,
            wait_ms,
        })?;
        match self.reply()? {
            Reply::Done => Ok(start.elapsed()),
            other => bail!("no block: {other:?}"),
        }
    }

    /// How a peer is reached; none when it is away.
    pub(crate) fn path(&mut self, to: &str) -> Result<Option<Way>> {
        self.tell(&Order::Peer { node: to.to_owned() })?;
        match self.reply()? {
            Reply::Reached(path) => Ok(path),
            other => bail!("unexpected {other:?}"),
        }
    }

    /// Waits until a call to a peer works; how long that took.
    pub(crate) fn reach(&mut self, to: &str, within: Duration) -> Result<Option<Duration>> {
        let start = Instant::now();
        self.until(within, |node| node.reaches(to))
            .map(|came| came.then(|| start.elapsed()))
    }

    /// Waits until a peer is reached without a relay; how long that took.
    pub(crate) fn direct(&mut self, to: &str, within: Duration) -> Result<Option<Duration>> {
        let start = Instant::now();
        let is_direct = |node: &mut Self| Ok(node.path(to)?.is_some_and(|way| way.path != "relayed"));
        self.until(within, is_direct)
            .map(|came| came.then(|| start.elapsed()))
    }

    /// Waits until a peer is reached by such a path, through this one where it is relayed; how long that took.
    pub(crate) fn reached(
        &mut self,
        to: &str,
        (path, via): (&str, Option<&str>),
        within: Duration,
    ) -> Result<Option<Duration>> {
        let start = Instant::now();
        let is_so = |node: &mut Self| {
            let way = node.path(to)?;
            Ok(way.is_some_and(|way| way.path == path && way.via.as_deref() == via))
        };
        self.until(within, is_so)
            .map(|came| came.then(|| start.elapsed()))
    }

    /// Waits until a peer counts as away.
    pub(crate) fn away(&mut self, to: &str, within: Duration) -> Result<bool> {
        self.until(within, |node| Ok(node.path(to)?.is_none()))
    }

    fn until(&mut self, within: Duration, mut is_so: impl FnMut(&mut Self) -> Result<bool>) -> Result<bool> {
        let start = Instant::now();
        while start.elapsed() < within {
            if is_so(self)? {
                return Ok(true);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(false)
    }

    fn tell(&mut self, order: &Order) -> Result<()> {
        let mut line = serde_json::to_string(order)?;
        line.push('\n');
        self.orders.write_all(line.as_bytes()).context("tell node")?;
        self.orders.flush().context("tell node")
    }

    fn reply(&mut self) -> Result<Reply> {
        let mut line = String::new();
        self.replies.read_line(&mut line).context("hear node")?;
        serde_json::from_str(&line).with_context(|| format!("node said {line:?}"))
    }

    fn text(&mut self) -> Result<String> {
        match self.reply()? {
            Reply::Text(text) => Ok(text),
            Reply::Failed(why) => bail!(why),
            other => bail!("unexpected {other:?}"),
        }
    }
}
