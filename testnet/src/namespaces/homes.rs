//! Two homes behind routers and a server between them, all running the real program: they become one mesh as people make it
//! one, store and read, and lose the server.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use super::lab::{Lab, Nat, PORT, Place, SERVER};
use super::nat::{DIRECT_WITHIN, EVER, Kept, QUALITY, played};
use super::wire;
use crate::bench::find_or_build;
use crate::client::{Body, Connection, Payload, Request, Signer, Take};

/// Where clients of a box connect, in its own namespace.
const S3: &str = "127.0.0.1:3900";
/// The most that a row carries itself.
const INLINE_BYTES: usize = 4096;
/// How long between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The routers of the two homes, and whether a direct path is promised between them.
const PAIRS: [(Nat, Nat, bool); 3] = [
    (Nat::Cone, Nat::Cone, true),
    (Nat::Cone, Nat::Symmetric, false),
    (Nat::Symmetric, Nat::Symmetric, false),
];

/// Plays the story for each pair of routers; the number of promises broken.
///
/// # Errors
/// The lab cannot be built, or a command fails.
pub(crate) fn homes() -> Result<usize> {
    let program = find_or_build()?;
    let mut broken = 0;
    for (a, b, is_direct) in PAIRS {
        broken += played(&format!("the real program: {a} / {b}"), || {
            pair(&program, (a, b), is_direct)
        })?;
    }
    Ok(broken + played("the real program: one LAN, no internet", || lan(&program))?)
}

fn pair(program: &Path, (a, b): (Nat, Nat), is_direct: bool) -> Result<Kept> {
    let lab = Lab::build(a, b, QUALITY).context("build the lab")?;
    let folder = tempfile::tempdir().context("make folder")?;
    let place = |place, name| Home::new(&lab, place, folder.path().join(name), program);
    let homes = [
        place(Place::Server, "server")?,
        place(Place::HomeA, "anna")?,
        place(Place::HomeB, "ben")?,
    ];
    story(&lab, homes, is_direct)
}

/// Two boxes on one LAN with no internet.
fn lan(program: &Path) -> Result<Kept> {
    let lab = Lab::build(Nat::Cone, Nat::Cone, QUALITY).context("build the lab")?;
    lab.set_internet_of_home_a(false)?;
    let folder = tempfile::tempdir().context("make folder")?;
    let mut anna = Home::new(&lab, Place::HomeA, folder.path().join("anna"), program)?;
    let mut ben = Home::new(&lab, Place::HomeA2, folder.path().join("ben"), program)?;
    anna.start(&[])?;
    let signer = anna.signer()?;
    ben.join(&anna, "ben")?;
    ben.start(&[])?;
    let took = within(EVER, || Ok(anna.path_to("ben")? == "lan"))?;
    let mut kept = Kept::default();
    kept.tell("path to ben", took, DIRECT_WITHIN);
    anna.say(&["bucket", "create", "photos", "--owner", "lab"])?;
    let stores = |key: &str| within(EVER, || Ok(ben.put(&signer, key, b"from ben")? == 200));
    kept.tell("ben stores", stores("/photos/a")?, EVER);
    lab.change_lan_address(Place::HomeA, 10, 30)?;
    kept.tell("anna has another address, ben stores", stores("/photos/b")?, EVER);
    let took = within(EVER, || Ok(anna.get(&signer, "/photos/b")?.0 == 200))?;
    kept.tell("anna reads it", took, EVER);
    Ok(kept)
}

fn story(lab: &Lab, [mut server, mut anna, mut ben]: [Home<'_>; 3], is_direct: bool) -> Result<Kept> {
    let mut kept = Kept::default();
    let public = format!("{SERVER}:{PORT}");
    server.start(&["--mesh-public", &public])?;
    let signer = server.signer()?;
    anna.join(&server, "anna")?;
    anna.start(&[])?;
    // Made behind a router that lets nobody in: the server answers for anna.
    let began = Instant::now();
    ben.join(&anna, "ben")?;
    println!(
        "  ben joined by anna's invite: {:.2} s",
        began.elapsed().as_secs_f64()
    );
    ben.start(&[])?;
    let soon = if is_direct { DIRECT_WITHIN } else { EVER };
    meets(&mut kept, &ben, (is_direct, soon))?;
    server.say(&["bucket", "create", "photos", "--owner", "lab"])?;
    gives(&mut kept, "anna", (&anna, &ben), &signer, &vec![7; INLINE_BYTES])?;
    gives(&mut kept, "ben", (&ben, &anna), &signer, b"from ben")?;

    server.kill();
    let took = within(EVER, || Ok(anna.path_to("server")?.is_empty()))?;
    kept.tell("the server is missed", took, EVER);
    if is_direct {
        meets(&mut kept, &ben, (is_direct, EVER))?;
    }
    server.start(&["--mesh-public", &public])?;
    gives(
        &mut kept,
        "the server is back, ben",
        (&ben, &anna),
        &signer,
        b"again",
    )?;

    lab.change_address_of_home_a()?;
    gives(
        &mut kept,
        "at another address, anna",
        (&anna, &ben),
        &signer,
        b"moved",
    )?;
    anna.kill();
    anna.start(&[])?;
    gives(
        &mut kept,
        "after a power failure, anna",
        (&anna, &ben),
        &signer,
        b"back",
    )?;
    let took = within(EVER, || Ok(is_as_promised(&ben.path_to("anna")?, is_direct)))?;
    kept.tell("ben reaches anna as before", took, EVER);
    Ok(kept)
}

/// Whether a path is one that the routers allow.
fn is_as_promised(path: &str, is_direct: bool) -> bool {
    match is_direct {
        true => path == "direct",
        false => !path.is_empty(),
    }
}

/// Ben finds a path to anna.
fn meets(kept: &mut Kept, ben: &Home<'_>, (is_direct, soon): (bool, Duration)) -> Result<()> {
    let took = within(EVER, || Ok(is_as_promised(&ben.path_to("anna")?, is_direct)))?;
    kept.tell("path to anna", took, soon);
    println!("  which is {}", ben.path_to("anna")?);
    Ok(())
}

/// One box stores what the other reads, byte for byte.
fn gives(
    kept: &mut Kept,
    who: &str,
    (from, to): (&Home<'_>, &Home<'_>),
    signer: &Signer,
    content: &[u8],
) -> Result<()> {
    let stored = within(EVER, || Ok(from.put(signer, "/photos/it", content)? == 200))?;
    let read = within(EVER, || {
        Ok(to.get(signer, "/photos/it")? == (200, content.to_vec()))
    })?;
    kept.tell(&format!("{who} stores"), stored, EVER);
    kept.tell("the other reads it", read, EVER);
    Ok(())
}

/// Waits until it comes true; how long that took.
fn within(ever: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<Option<Duration>> {
    let began = Instant::now();
    while began.elapsed() < ever {
        if is_so()? {
            return Ok(Some(began.elapsed()));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(None)
}

/// A box at a place, running or not; ended when dropped.
struct Home<'a> {
    lab: &'a Lab,
    place: Place,
    folder: PathBuf,
    program: &'a Path,
    process: Option<Child>,
}

impl Drop for Home<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

impl<'a> Home<'a> {
    fn new(lab: &'a Lab, place: Place, folder: PathBuf, program: &'a Path) -> Result<Self> {
        std::fs::create_dir_all(&folder).context("create folder of box")?;
        Ok(Self {
            lab,
            place,
            folder,
            program,
            process: None,
        })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.lab.command(self.place, self.program);
        command
            .arg("--state")
            .arg(self.folder.join("state"))
            .args(["--json", "--yes"])
            .args(words)
            .env("WARREN_MESH", PORT.to_string())
            .env("WARREN_MESH_UPNP", "off")
            .env("WARREN_PAGE", "off");
        command
    }

    /// Runs one command to its end, and reads the document that it prints.
    fn say(&self, words: &[&str]) -> Result<Value> {
        let output = self.command(words).output().context("run warren")?;
        let said = String::from_utf8_lossy(&output.stderr);
        // A mesh of which one box is away is degraded, which is no failure here.
        let is_fine = output.status.success() || words == ["status"];
        ensure!(is_fine, "warren {}: {}", words.join(" "), said.trim());
        serde_json::from_slice(&output.stdout).with_context(|| format!("read what {words:?} printed"))
    }

    fn join(&self, through: &Self, name: &str) -> Result<()> {
        let invite = through.say(&["invite"])?;
        let token = invite["token"].as_str().context("find the token")?;
        self.say(&["join", token, "--name", name, "--zone", name])
            .map(drop)
    }

    /// Starts its server, and waits until it is ready.
    fn start(&mut self, extra: &[&str]) -> Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"));
        let mut child = self
            .command(&["server", "--s3", S3])
            .args(extra)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.context("open log")?)
            .spawn()
            .context("start server")?;
        let mut lines = BufReader::new(child.stdout.take().context("take output of server")?).lines();
        self.process = Some(child);
        let is_ready = |line: &str| line.contains("\"event\":\"ready\"");
        let ready = lines.find(|line| line.as_ref().map_or(true, |line| is_ready(line)));
        let log = self.folder.join("log");
        ready
            .with_context(|| {
                format!(
                    "the server ended: {}",
                    std::fs::read_to_string(log).unwrap_or_default()
                )
            })?
            .context("hear the server")
            .map(drop)
    }

    /// A key that may create buckets, called `lab`.
    fn signer(&self) -> Result<Signer> {
        let key = self.say(&["key", "create", "lab", "--create-buckets"])?;
        let text = |field: &str| key[field].as_str().context("find the key");
        Ok(Signer::new(
            text("id")?,
            text("secret")?,
            "warren",
            Payload::Signed,
        ))
    }

    /// Kills its server at once, as a power cut would.
    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// How another box is reached: `lan`, `direct`, `relayed`; empty where it is not. The server goes by its zone.
    fn path_to(&self, name: &str) -> Result<String> {
        let status = self.say(&["status"])?;
        let homes = status["homes"].as_array().context("find homes")?;
        let is_server = |home: &Value| name == "server" && home["member"] == 1;
        let found = homes.iter().find(|home| home["name"] == name || is_server(home));
        let kind = found.and_then(|home| home["path"]["kind"].as_str());
        Ok(kind.unwrap_or_default().to_owned())
    }

    fn put(&self, signer: &Signer, path: &str, body: &[u8]) -> Result<u16> {
        Ok(self.ask(signer, "PUT", path, Body::Bytes(body))?.0)
    }

    fn get(&self, signer: &Signer, path: &str) -> Result<(u16, Vec<u8>)> {
        self.ask(signer, "GET", path, Body::Empty)
    }

    /// Asks its server from beside it: a thread of its own enters the namespace.
    fn ask(&self, signer: &Signer, method: &str, path: &str, body: Body<'_>) -> Result<(u16, Vec<u8>)> {
        let asking = || -> Result<(u16, Vec<u8>)> {
            wire::enter(&self.lab.namespace(self.place))?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let address: SocketAddr = S3.parse()?;
                let mut connection = Connection::open(address, signer.clone()).await?;
                let request = Request {
                    method,
                    path,
                    query: "",
                    body,
                    take: Take::Keep,
                };
                let reply = connection.send(&request).await?;
                Ok((reply.status, reply.body))
            })
        };
        let asked = std::thread::scope(|scope| scope.spawn(asking).join());
        asked.map_err(|_| anyhow!("the thread died"))?
    }
}
