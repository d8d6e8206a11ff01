//! `warren doctor`: looks at all that could keep a box from working, also where no server runs, and says what to do.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use appliance::ByteSize;
use appliance::api::{HttpsShown, LoginState, NetReport, Schema, Status, Verdict};
use jiff::Timestamp;
use rustix::fs::{StatVfsMountFlags, statvfs};
use serde::Serialize;

use super::failure::{Exit, Failure};
use super::output::{Mark, Output};
use super::status::exit_of;
use super::{Common, load};
use crate::admin_client::{AdminClient, AskError};
use crate::config::{Config, Flags};

/// A file system with less room than this is full soon, in percent.
const FREE_PERCENT_LOW: u64 = 10;

/// What was found.
#[derive(Serialize)]
struct Findings {
    schema: Schema,
    /// Whether nothing is wrong; there may be what is worth a look.
    ok: bool,
    findings: Vec<Finding>,
    /// What the running server says of the data.
    #[serde(skip)]
    verdict: Option<Verdict>,
    /// Why the server says nothing.
    #[serde(skip)]
    unheard: Option<Exit>,
}

/// One thing that was looked at.
#[derive(Serialize)]
struct Finding {
    /// `good`, `look` or `bad`.
    state: &'static str,
    /// What is the case, in a sentence.
    what: String,
    /// What to do; absent where nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    #[serde(skip)]
    mark: Mark,
}

pub(super) async fn run(common: &Common, out: &Output) -> Result<Exit, Failure> {
    // What it does not understand ends this with the place and what to write instead.
    let config = load(common, Flags::default())?;
    let mut found = Findings {
        schema: Schema,
        ok: true,
        findings: Vec::new(),
        verdict: None,
        unheard: None,
    };
    found.good("the configuration is fine");
    let client = AdminClient::new(&config.state.value);
    match found.server(&client).await {
        false => found.folders(&config),
        true => {
            if let Err(error) = found.reach(&client).await {
                let advice = "it may have stopped meanwhile, or be of another version: warren status";
                found.bad(error.to_string(), advice);
            }
        }
    }
    found.ok = found.findings.iter().all(|finding| finding.mark != Mark::Bad);
    match out.json {
        true => out.document(&found)?,
        false => out.data(&found.text(out))?,
    }
    Ok(found.exit())
}

impl Findings {
    fn good(&mut self, what: impl Into<String>) {
        self.add(Mark::Good, what, None);
    }

    fn look(&mut self, what: impl Into<String>, advice: impl Into<String>) {
        self.add(Mark::Look, what, Some(advice.into()));
    }

    fn bad(&mut self, what: impl Into<String>, advice: impl Into<String>) {
        self.add(Mark::Bad, what, Some(advice.into()));
    }

    fn add(&mut self, mark: Mark, what: impl Into<String>, advice: Option<String>) {
        self.findings.push(Finding {
            state: match mark {
                Mark::Good => "good",
                Mark::Look => "look",
                Mark::Bad => "bad",
            },
            what: what.into(),
            advice,
            mark,
        });
    }

    /// Looks at the directories that a server would use that is started as this command was: only a running one knows its own.
    fn folders(&mut self, config: &Config) {
        let state = &config.state.value;
        let is_there = fs::read_dir(state).map(|mut entries| entries.next().is_some());
        match is_there {
            Ok(true) => self.folder("keys and index", state),
            Ok(false) => return self.nothing_yet(state),
            Err(error) if error.kind() == ErrorKind::NotFound => return self.nothing_yet(state),
            Err(error) => return self.unreadable(state, &error),
        }
        for directory in &config.data.value {
            let path = &directory.path;
            let shown = path.display();
            let mounted =
                "where it was used before, its disk is not mounted: mount it, then start the server";
            match storage::disk::is_of_a_store(path) {
                Ok(true) => self.folder("blocks", path),
                Err(error) => self.unreadable(path, &error),
                Ok(false) if path.exists() => self.look(format!("{shown} holds no blocks of a box"), mounted),
                Ok(false) => self.look(format!("the directory of blocks {shown} is not there"), mounted),
            }
        }
    }

    fn nothing_yet(&mut self, state: &Path) {
        self.look(
            format!("there is no box in {} yet", state.display()),
            "start one with warren server, let it join with warren join, or name its --state directory",
        );
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        self.bad(
            format!("{} cannot be read: {error}", path.display()),
            "run this as root, or as the user of the service",
        );
    }

    fn folder(&mut self, what: &str, path: &Path) {
        let shown = path.display();
        let system = match statvfs(path) {
            Ok(system) => system,
            Err(error) => {
                return self.bad(
                    format!("the file system of {shown} does not answer: {error}"),
                    "the disk may be failing: dmesg says more",
                );
            }
        };
        let free = ByteSize(system.f_bavail.saturating_mul(system.f_frsize));
        let percent = system.f_bavail.saturating_mul(100) / system.f_blocks.max(1);
        if system.f_flag.contains(StatVfsMountFlags::RDONLY) {
            self.bad(
                format!("{shown} ({what}) is mounted read-only"),
                "after an error of the disk systems do that: dmesg says more",
            );
        } else if percent < FREE_PERCENT_LOW {
            self.look(
                format!("the file system of {shown} ({what}) is nearly full: {free} free, {percent} %"),
                "make room, add a disk or a box; nothing that is stored is lost",
            );
        } else {
            self.good(format!(
                "the file system of {shown} ({what}) has {free} free, {percent} %"
            ));
        }
    }

    /// Asks the server; says whether one answers.
    async fn server(&mut self, client: &AdminClient) -> bool {
        let status: Status = match client.get(&["status"]).await {
            Ok(status) => status,
            Err(error) => {
                let is_slow = matches!(error, AskError::Timeout);
                let why = Failure::from(error);
                let journal = "what it says of itself: journalctl -u warren, or the window in which it runs";
                let advice = match why.hint {
                    _ if is_slow => format!("it may be opening its disks still; {journal}"),
                    Some(hint) => format!("{hint}; {journal}"),
                    None => journal.into(),
                };
                self.bad(why.message, advice);
                self.unheard = Some(why.exit);
                return false;
            }
        };
        self.good(format!(
            "the server runs for {}",
            appliance::lasted(status.uptime_seconds)
        ));
        // Also of its disks and how full they are, of its clock, and of the other boxes.
        if status.reasons.is_empty() {
            self.good(status.summary);
        }
        for reason in status.reasons {
            match reason.verdict {
                Verdict::Ok | Verdict::Degraded => self.look(reason.what, reason.advice),
                Verdict::AtRisk | Verdict::Unavailable => self.bad(reason.what, reason.advice),
            }
        }
        self.verdict = Some(status.verdict);
        true
    }

    /// How other boxes and browsers reach the server.
    ///
    /// # Errors
    /// It does not say any more.
    async fn reach(&mut self, client: &AdminClient) -> Result<(), AskError> {
        let net: NetReport = client.get(&["net"]).await?;
        let away = net.peers.iter().filter(|peer| peer.path.is_none()).count();
        match (net.peers.len(), away) {
            (0, _) => self.good("it is alone: no other box is to be reached"),
            (boxes, 0) => self.good(format!("it reaches the other boxes: {boxes} of {boxes}")),
            (boxes, away) => self.look(
                format!("it reaches {} of {boxes} other boxes", boxes - away),
                "warren net check shows which; are they on, and on the internet?",
            ),
        }
        if !net.peers.is_empty() {
            for advice in net.advice {
                self.look("the paths to other boxes could be better", advice);
            }
        }
        let https: HttpsShown = client.get(&["https"]).await?;
        match https.certificate {
            None => self.look(
                "it does not speak HTTPS yet",
                "it gets a certificate once it has heard from its mesh",
            ),
            Some(certificate) => {
                let until = certificate.until.parse::<Timestamp>();
                match until.is_ok_and(|until| until > Timestamp::now()) {
                    true => self.good(format!(
                        "it speaks HTTPS with a certificate until {}",
                        certificate.until
                    )),
                    false => self.bad(
                        format!("its certificate for HTTPS was valid until {}", certificate.until),
                        "it renews it by itself: is the clock of this box right? warren logs says why not",
                    ),
                }
            }
        }
        if https.page.is_empty() {
            return Ok(());
        }
        let login: LoginState = client.get(&["login-code"]).await?;
        match login.has_password {
            true => self.good("the page has a password"),
            false => self.look(
                "nobody has chosen a password for the page",
                "warren login-code lets you in to choose one",
            ),
        }
        Ok(())
    }

    fn text(&self, out: &Output) -> String {
        let mut lines = Vec::new();
        for finding in &self.findings {
            lines.push(format!("{} {}", out.mark(finding.mark), finding.what));
            lines.extend(finding.advice.as_ref().map(|advice| format!("  → {advice}")));
        }
        lines.join("\n")
    }

    /// As `warren status` where a server says how the data is; else that none does. A fault beside that is an error.
    fn exit(&self) -> Exit {
        let is_bad = self.findings.iter().any(|finding| finding.mark == Mark::Bad);
        match (self.unheard, self.verdict.map(exit_of)) {
            (Some(unheard), _) => unheard,
            (None, Some(exit)) if exit != Exit::Ok => exit,
            _ if is_bad => Exit::Error,
            _ => Exit::Ok,
        }
    }
}
