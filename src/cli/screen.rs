//! `warren screen`: shows on the screen of a box without a keyboard how and where it is, and what opens its page.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use appliance::api::{LoginCode, LoginState, Secret, Status};
use appliance::update::System;
use appliance::{UNNAMED, local_name};
use clap::Args;
use hyper::Method;
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};
use tracing::debug;
use zeroize::Zeroizing;

use super::failure::{Exit, Failure};
use super::qr::drawn;
use super::{Common, load};
use crate::admin_client::{AdminClient, AskError};
use crate::config::{Config, Flags, PageAddress};
use crate::mesh::box_name;
use crate::waiting::WaitingBox;

/// How often the box is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How often it is drawn although nothing has changed: the kernel may have written across it.
const AGAIN: Duration = Duration::from_secs(30);
/// How long the node may take to say how it is.
const ANSWER: Duration = Duration::from_secs(5);
/// How old a shown login code may be: it works a minute longer, for whoever has just read it.
const CODE_AGE_MAX: Duration = Duration::from_secs(9 * 60);
/// Letters of a line beside the QR code: with it, 80 columns.
const WIDTH: usize = 44;
/// The port that browsers take by themselves.
const HTTP: u16 = 80;
/// Of what somebody else wrote this much is shown, in letters.
const NOTE_LETTERS_MAX: usize = 300;

#[derive(Args)]
pub(super) struct ScreenArgs {
    /// The screen
    #[arg(long, value_name = "DEVICE", default_value = "/dev/tty1")]
    tty: PathBuf,
    /// A serial line that is told the same in words; may be repeated
    #[arg(long, value_name = "DEVICE")]
    line: Vec<PathBuf>,
    /// The folder in which the service says that it waits to be set up
    #[arg(long, value_name = "DIR", default_value = "/run/warren")]
    service: PathBuf,
    /// A file in which the system says what it does or what went wrong
    #[arg(long, value_name = "FILE", default_value = "/run/warren-note")]
    note: PathBuf,
}

/// How the box is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It does not answer yet, or not any more.
    Starting,
    /// It is nothing yet.
    Waiting,
    /// It serves.
    Serving {
        /// What people call the mesh.
        mesh: String,
        /// How safe the data is.
        summary: String,
    },
}

/// What there is to show.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    name: String,
    state: State,
    /// Where the page is, the URL to draw first; empty where there is none.
    page: Vec<String>,
    s3: Vec<String>,
    code: Option<Secret>,
    note: Option<String>,
    /// Which system it is, on a box that runs the image.
    system: Option<String>,
}

/// Shows the box until the process is ended.
pub(super) async fn run(common: &Common, args: &ScreenArgs) -> Result<Exit, Failure> {
    let mut watcher = Watcher::new(common, args)?;
    let mut drawn: Option<(Seen, Instant)> = None;
    loop {
        let seen = watcher.look().await;
        let (is_new, is_old) = drawn.as_ref().map_or((true, true), |(before, when)| {
            (*before != seen, when.elapsed() >= AGAIN)
        });
        if is_new {
            for line in &args.line {
                write(line, &in_words(&seen)).await;
            }
        }
        if is_new || is_old {
            write(&args.tty, &picture(&seen)).await;
            drawn = Some((seen, Instant::now()));
        }
        sleep(LOOK).await;
    }
}

/// A board without a screen, or without that line, is no reason to stop.
async fn write(device: &Path, text: &str) {
    let written = async {
        let mut device = tokio::fs::OpenOptions::new().write(true).open(device).await?;
        device.write_all(text.as_bytes()).await?;
        device.flush().await
    };
    if let Err(error) = written.await {
        debug!(device = %device.display(), %error, "not shown");
    }
}

/// Looks at the box.
struct Watcher<'a> {
    common: &'a Common,
    args: &'a ScreenArgs,
    client: AdminClient,
    system: Option<String>,
    /// The code that this process asked for, and when.
    code: Option<(Secret, Instant)>,
}

impl<'a> Watcher<'a> {
    fn new(common: &'a Common, args: &'a ScreenArgs) -> Result<Self, Failure> {
        let system = System::of_this_box("/boot".into()).ok().flatten();
        let version = env!("CARGO_PKG_VERSION");
        Ok(Self {
            common,
            args,
            client: AdminClient::new(&load(common, Flags::default())?.state.value),
            system: system.map(|system| {
                format!(
                    "Warren {version}, build {}, slot {}",
                    system.build,
                    system.slot.letter()
                )
            }),
            code: None,
        })
    }

    async fn look(&mut self) -> Seen {
        // A file that somebody is just replacing says nothing for a moment.
        let config = load(self.common, Flags::default()).ok();
        let note = tokio::fs::read_to_string(&self.args.note).await.ok();
        let mut seen = Seen {
            name: box_name(),
            state: State::Starting,
            page: Vec::new(),
            s3: Vec::new(),
            code: None,
            note: note.map(|note| plain(&note)).filter(|note| !note.is_empty()),
            system: self.system.clone(),
        };
        if let Some(waiting) = WaitingBox::heard(&self.args.service) {
            seen.state = State::Waiting;
            seen.code = waiting.login_code;
            seen.page = page_urls(config.as_ref(), UNNAMED);
            return seen;
        }
        if let Ok(Ok(status)) = timeout(ANSWER, self.client.get::<Status>(&["status"])).await {
            if let Some(own) = status.homes.iter().find(|home| home.here) {
                seen.name.clone_from(&own.name);
            }
            seen.page = page_urls(config.as_ref(), &seen.name);
            seen.s3 = config.map(|config| s3_urls(&config)).unwrap_or_default();
            seen.state = State::Serving {
                mesh: status.name,
                summary: status.summary,
            };
            seen.code = timeout(ANSWER, self.login_code())
                .await
                .ok()
                .and_then(Result::ok)
                .flatten();
        }
        seen
    }

    /// A login code, for as long as nobody has chosen a password: from then on it is nobody's business.
    async fn login_code(&mut self) -> Result<Option<Secret>, AskError> {
        let state: LoginState = self.client.get(&["login-code"]).await?;
        if state.has_password {
            self.code = None;
            return Ok(None);
        }
        let is_good = |asked: &Instant| state.has_code && asked.elapsed() < CODE_AGE_MAX;
        if !self.code.as_ref().is_some_and(|(_, asked)| is_good(asked)) {
            let made: LoginCode = self.client.send(Method::POST, &["login-code"], &()).await?;
            self.code = Some((made.code.clone(), Instant::now()));
        }
        Ok(self.code.as_ref().map(|(code, _)| code.clone()))
    }
}

/// Addresses of this box in its networks, those that people can type first.
fn addresses() -> Vec<IpAddr> {
    let found = if_addrs::get_if_addrs().unwrap_or_default();
    let mut addresses: Vec<IpAddr> = found
        .into_iter()
        .filter(|interface| !interface.is_loopback() && !interface.is_link_local())
        .map(|interface| interface.ip())
        .filter(IpAddr::is_ipv4)
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

/// Where the page of a box of this name is.
fn page_urls(config: Option<&Config>, name: &str) -> Vec<String> {
    let Some(config) = config else { return Vec::new() };
    let PageAddress::At(listens) = &config.page.address.value else {
        return Vec::new();
    };
    let ports: Vec<u16> = listens.iter().map(|address| address.port()).collect();
    let Some(port) = ports.iter().find(|port| **port == HTTP).or(ports.first()) else {
        return Vec::new();
    };
    let called = config.mesh.mdns.value.0.then(|| local_name(name));
    let hosts = addresses()
        .into_iter()
        .map(|address| address.to_string())
        .chain(called);
    hosts.map(|host| url(&host, *port)).collect()
}

fn s3_urls(config: &Config) -> Vec<String> {
    let port = config.s3_address.value.0.port();
    addresses()
        .iter()
        .map(|address| url(&address.to_string(), port))
        .collect()
}

/// As people type it.
fn url(host: &str, port: u16) -> String {
    match port {
        HTTP => format!("http://{host}"),
        port => format!("http://{host}:{port}"),
    }
}

/// What others wrote, without anything that a terminal would obey.
fn plain(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|letter: char| letter.is_control() || letter == ' ')
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ").chars().take(NOTE_LETTERS_MAX).collect()
}

/// What is shown, without the drawing: lines as wide as there is room beside it.
fn lines(seen: &Seen) -> Vec<String> {
    let mut lines = vec![format!("Warren   {}", plain(&seen.name)), String::new()];
    match &seen.state {
        State::Starting => lines.push("starting".into()),
        State::Waiting => lines.push("waiting to be set up".into()),
        State::Serving { mesh, summary } => {
            lines.extend(wrapped(&format!("serving {}", plain(mesh))));
            lines.extend(wrapped(&plain(summary)));
        }
    }
    lines.push(String::new());
    let places = |what: &str, urls: &[String]| -> Vec<String> {
        let label = |at| if at == 0 { what } else { "" };
        urls.iter()
            .enumerate()
            .map(|(at, url)| format!("{:<7}{url}", label(at)))
            .collect()
    };
    lines.extend(places("page", &seen.page));
    lines.extend(places("S3", &seen.s3));
    if seen.state != State::Starting && seen.page.is_empty() && seen.s3.is_empty() {
        lines.push("no address yet: is the network cable in?".into());
    }
    if let Some(code) = &seen.code {
        lines.extend([String::new(), format!("login code {}", code.expose())]);
    }
    if let Some(note) = &seen.note {
        lines.push(String::new());
        lines.extend(wrapped(note));
    }
    if let Some(system) = &seen.system {
        lines.extend([String::new(), system.clone()]);
    }
    lines
}

/// A text in lines of at most [`WIDTH`] letters, broken between words where that is possible.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for piece in letters.chunks(WIDTH) {
            let line = lines.last().map_or(0, |line| line.chars().count());
            if line > 0 && line + 1 + piece.len() > WIDTH {
                lines.push(String::new());
            }
            if let Some(line) = lines.last_mut() {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.extend(piece);
            }
        }
    }
    lines
}

/// The whole screen: what there is to read, and beside it the first URL for a telephone.
fn picture(seen: &Seen) -> Zeroizing<String> {
    let mut words = lines(seen);
    let code = seen.page.first().and_then(|url| drawn(url)).unwrap_or_default();
    let code: Vec<&str> = code.lines().collect();
    words.resize(words.len().max(code.len()), String::new());
    // Home, clear, no cursor, and never blank: whoever comes by reads it without a keyboard to wake it.
    let mut screen = Zeroizing::new(String::from("\x1b[H\x1b[2J\x1b[?25l\x1b[9;0]"));
    for (at, line) in words.iter().enumerate() {
        let line = match code.get(at) {
            Some(beside) => format!("{line:<WIDTH$}  {beside}"),
            None => line.clone(),
        };
        screen.push_str(line.trim_end_matches(' '));
        screen.push_str("\r\n");
    }
    screen
}

/// The same for a serial line.
fn in_words(seen: &Seen) -> Zeroizing<String> {
    let lines = lines(seen).into_iter().filter(|line| !line.is_empty());
    let told: String = lines.map(|line| format!("warren: {line}\r\n")).collect();
    Zeroizing::new(format!("\r\n{told}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting() -> Seen {
        Seen {
            name: "warren-1a2b".into(),
            state: State::Waiting,
            page: vec!["http://192.168.1.20".into(), "http://warren.local".into()],
            s3: Vec::new(),
            code: Some(Secret::new("4F7K-9QXM-2TRB".into())),
            note: None,
            system: Some("Warren 0.1.0, build 7, slot a".into()),
        }
    }

    #[test]
    fn a_fresh_box_shows_where_it_is_and_what_opens_it() {
        let told = in_words(&waiting());
        for said in [
            "warren-1a2b",
            "waiting to be set up",
            "http://192.168.1.20",
            "http://warren.local",
            "login code 4F7K-9QXM-2TRB",
            "slot a",
        ] {
            assert!(told.contains(said), "{said}");
        }
    }

    #[test]
    fn a_screen_of_80_by_25_is_enough() {
        let seen = Seen {
            state: State::Serving {
                mesh: "M".repeat(64),
                summary: "every object has 2 copies in 2 homes ".repeat(3),
            },
            s3: vec!["http://192.168.1.20:3900".into()],
            note: Some("an update was not installed: it is not newer".into()),
            ..waiting()
        };
        let screen = picture(&seen);
        let shown: Vec<&str> = screen.lines().collect();
        assert!(shown.len() <= 25, "{}", shown.len());
        for line in &shown[1..] {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(screen.contains('█'));
    }

    #[test]
    fn a_box_without_an_address_says_so_and_draws_nothing() {
        let seen = Seen {
            page: Vec::new(),
            code: None,
            ..waiting()
        };
        let screen = picture(&seen);
        assert!(screen.contains("network cable") && !screen.contains('█') && !screen.contains("login code"));
    }

    #[test]
    fn nothing_that_others_wrote_moves_the_cursor() {
        let note = plain("not taken:\n\x1b[2Jline 3\t\u{9b}31m");
        assert_eq!(note, "not taken: [2Jline 3 31m");
        assert_eq!(plain(&"x".repeat(1000)).len(), NOTE_LETTERS_MAX);
    }

    #[test]
    fn a_url_is_shown_as_people_type_it() {
        assert_eq!(url("10.0.0.1", 80), "http://10.0.0.1");
        assert_eq!(url("10.0.0.1", 3980), "http://10.0.0.1:3980");
    }
}
