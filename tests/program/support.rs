//! Runs the real program in a folder of its own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long anything here may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder in which one box lives, running or not.
pub(crate) struct TestBox {
    folder: tempfile::TempDir,
    server: Option<Child>,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// The one JSON document on stdout.
    pub(crate) fn json(&self) -> Value {
        let document: Value = serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("{self:?}"));
        assert_eq!(document["schema"], 1, "{self:?}");
        document
    }

    /// Checks the exit code and that nothing looks like a crash.
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.exit, code, "{self:?}");
        assert!(
            !self.stderr.contains("panicked") && !self.stderr.contains("backtrace"),
            "{self:?}"
        );
        self
    }
}

impl TestBox {
    /// A box that does not run yet.
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            server: None,
        }
    }

    /// A box that serves.
    pub(crate) fn serving() -> Self {
        let mut new = Self::new();
        new.start(&[]);
        new
    }

    /// Where its state is.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// A path in the folder beside the state.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with nothing from our own environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
        command
            .env_clear()
            .env("HOME", self.folder.path())
            .env("WARREN_CONFIG", self.config_file())
            // Members are found by invites, and not the boxes of other tests or the router of whoever runs these.
            .env("WARREN_MESH", "127.0.0.1:0")
            .env("WARREN_PAGE", "127.0.0.1:0")
            .env("WARREN_MESH_MDNS", "off")
            .env("WARREN_MESH_UPNP", "off")
            .arg("--state")
            .arg(self.state())
            .args(args);
        command
    }

    /// The configuration file, empty until written.
    pub(crate) fn config_file(&self) -> PathBuf {
        let path = self.path("warren.toml");
        if !path.exists() {
            fs::write(&path, "").unwrap();
        }
        path
    }

    /// Runs one command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Said {
        self.run_with_input(args, "")
    }

    /// Runs one command to its end with this on stdin.
    pub(crate) fn run_with_input(&self, args: &[&str], input: &str) -> Said {
        finish(self.command(args), input)
    }

    /// Starts the server and waits until it is ready; returns what it printed then.
    pub(crate) fn start(&mut self, args: &[&str]) -> Value {
        self.try_start(args)
            .unwrap_or_else(|| panic!("no start: {}", self.log()))
    }

    /// Starts the server; `None` if it ended instead of getting ready.
    pub(crate) fn try_start(&mut self, args: &[&str]) -> Option<Value> {
        let mut command = self.command(&["server", "--json", "--s3", "127.0.0.1:0"]);
        self.try_start_command(command.args(args))
    }

    /// Starts this command as the server.
    pub(crate) fn try_start_command(&mut self, command: &mut Command) -> Option<Value> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        self.server = Some(child);
        loop {
            let mut line = String::new();
            if stdout.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            match serde_json::from_str::<Value>(&line) {
                Ok(document) if document["event"] == "ready" => return Some(document),
                _ => fs::write(
                    self.path("stdout"),
                    fs::read_to_string(self.path("stdout")).unwrap_or_default() + &line,
                )
                .unwrap(),
            }
        }
    }

    /// What the server printed before it was ready.
    pub(crate) fn printed(&self) -> String {
        fs::read_to_string(self.path("stdout")).unwrap_or_default()
    }

    /// What the servers so far wrote to stderr.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Sends a signal to the server.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.server.as_ref().unwrap().id();
        kill_process(Pid::from_raw(i32::try_from(id).unwrap()).unwrap(), signal).unwrap();
    }

    /// What the kernel tells of the server in this file of `/proc`.
    pub(crate) fn proc(&self, name: &str) -> String {
        let id = self.server.as_ref().unwrap().id();
        fs::read_to_string(format!("/proc/{id}/{name}")).unwrap()
    }

    /// Waits for the server to end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        wait(&mut self.server.take().unwrap())
    }

    /// Stops the server gracefully.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        assert!(self.ended().success(), "{}", self.log());
    }

    /// Sends raw bytes to the admin socket and returns the whole answer.
    pub(crate) fn ask_raw(&self, request: &str) -> String {
        let mut stream = std::os::unix::net::UnixStream::connect(self.state().join("admin.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        answer
    }
}

impl Drop for TestBox {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// Runs a command to its end.
pub(crate) fn finish(mut command: Command, input: &str) -> Said {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input closes it, which is fine.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Said {
        exit: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The words of `first-start.txt` by which everything can be restored, in order.
pub(crate) fn recovery_words(told: &str) -> Vec<&str> {
    let (_, phrase) = told.split_once("show it to nobody.\n").unwrap();
    let words = phrase.split_whitespace();
    let words: Vec<_> = words.filter(|word| word.parse::<u8>().is_err()).collect();
    assert_eq!(words.len(), 24);
    words
}

/// The permission bits of a file.
pub(crate) fn mode(path: &Path) -> u32 {
    std::os::unix::fs::MetadataExt::mode(&fs::metadata(path).unwrap()) & 0o777
}

fn wait(child: &mut Child) -> ExitStatus {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(begin.elapsed() < PATIENCE, "the server does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}
