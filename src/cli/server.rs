//! `warren server`: runs the node until a signal stops it.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use appliance::api::{Schema, Secret};
use appliance::over_https;
use clap::Args;
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::failure::{Exit, Failure};
use super::output::{Mark, Output};
use super::{Common, load};
use super::{secret, wizard};
use crate::config::Flags;
use crate::first_start::{self, Made, ShowSecrets, Shown};
use crate::node::{Loss, Node, Start};
use crate::notify::ServiceManager;
use crate::{limits, logging};

#[derive(Args)]
pub(super) struct ServerArgs {
    /// Directory of blocks and how much it may hold, e.g. /mnt/a:500G; may be repeated
    #[arg(long, value_name = "DIR[:SIZE]")]
    data: Vec<String>,
    /// Where S3 clients connect [default: [::]:3900]
    #[arg(long, value_name = "ADDRESS")]
    s3: Option<String>,
    /// Domain below which host names name buckets, e.g. s3.example for photos.s3.example; may be repeated
    #[arg(long, value_name = "DOMAIN")]
    s3_domain: Vec<String>,
    /// Domain below which host names name buckets that are served as websites; may be repeated
    #[arg(long, value_name = "DOMAIN")]
    s3_website_domain: Vec<String>,
    /// Where browsers connect, or `off` [default: [::]:3980]
    #[arg(long, value_name = "ADDRESS")]
    page: Option<String>,
    /// Where other boxes of the mesh connect [default: every address, one random port that is kept]
    #[arg(long, value_name = "ADDRESS")]
    mesh: Option<String>,
    /// Where this box can be reached from everywhere, e.g. box.example.org:4001; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    mesh_public: Vec<String>,
    /// Take writes again although data is known to be lost
    #[arg(long)]
    accept_loss: bool,
    /// Read the 24 words from this file, or `-` for the keyboard, when the key file is lost
    #[arg(long, value_name = "FILE")]
    recovery_phrase_file: Option<PathBuf>,
    /// Print the secrets of a first start even when stdout is no terminal
    #[arg(long)]
    show_secrets: bool,
    /// Let a person set up a fresh box on its page: what it is called, how much it gives, which mesh it joins
    #[arg(long)]
    wizard: bool,
    /// Which events are logged: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
    /// How events are written: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

pub(super) fn run(common: &Common, args: ServerArgs, out: &Output) -> Result<Exit, Failure> {
    let loss = if args.accept_loss {
        Loss::Accept
    } else {
        Loss::Refuse
    };
    let secrets = if args.show_secrets {
        ShowSecrets::Always
    } else {
        ShowSecrets::OnTerminal
    };
    let flags = Flags {
        data: args.data,
        s3: args.s3,
        s3_domains: args.s3_domain,
        website_domains: args.s3_website_domain,
        page: args.page,
        mesh: args.mesh,
        mesh_public: args.mesh_public,
        log: args.log,
        log_format: args.log_format,
        ..Flags::default()
    };
    let config = load(common, flags.clone())?;
    let recovery_phrase = args.recovery_phrase_file.map(|file| {
        let file = (file != Path::new("-")).then_some(file);
        secret::read(file.as_deref(), "Recovery phrase", out)
    });
    let recovery_phrase = recovery_phrase.transpose()?;
    logging::start(&config.log_level.value, config.log_format.value, out.colour);
    limits::raise_files();
    let stop = CancellationToken::new();
    let runtime = runtime()?;
    let run = async {
        let config = match args.wizard {
            false => config,
            true if wizard::ask(common, &config, &stop, out).await? => load(common, flags)?,
            true => return Ok(Exit::Ok),
        };
        let start = Start {
            config,
            loss,
            recovery_phrase,
        };
        // All that a start holds is large; it is on the heap, and beside the wait for signals there is little.
        Box::pin(serve(start, secrets, &stop, out))
            .await
            .map(|()| Exit::Ok)
    };
    let outcome = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        tokio::select! {
            biased;
            served = run => served,
            () = signals.until_second(&stop) => {
                Err(Failure::new(Exit::Error, "stopped at once by a second signal"))
            }
        }
    });
    // After a graceful stop nothing is left; after a second signal nobody waits for a stuck disk.
    runtime.shutdown_background();
    outcome
}

/// One thread a core runs the tasks, but never fewer than two: small reads happen inline, and on a
/// box of one core a read that waits for the disk must not stop everybody else.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.max(2))
        .enable_all()
        .build();
    runtime.map_err(|error| Failure::new(Exit::Error, format!("start threads: {error}")))
}

async fn serve(
    start: Start,
    secrets: ShowSecrets,
    stop: &CancellationToken,
    out: &Output,
) -> Result<(), Failure> {
    let manager = ServiceManager::from_env();
    let state = start.config.state.value.clone();
    let (mut node, first) = Node::start(start.clone()).await?;
    let urls = node.s3();
    let endpoint = urls.first().map(String::as_str).unwrap_or_default();
    let code = node.first_login_code()?;
    let page = node
        .page()
        .first()
        .map(String::as_str)
        .zip(code.as_ref().map(Secret::expose));
    let kept = match &first {
        Some(first) => match show(
            &Made {
                first,
                endpoint,
                page,
            },
            &state,
            secrets,
            out,
        ) {
            Ok(kept) => kept,
            Err(failure) => {
                node.stop().await?;
                return Err(failure);
            }
        },
        None => {
            if node.has_no_keys() {
                out.note("! No access key exists: warren key create NAME --create-buckets");
            }
            None
        }
    };
    // Not being read is no reason to stop serving.
    let shown = (first.is_none() && (secrets == ShowSecrets::Always || io::stderr().is_terminal()))
        .then(|| page.map(|(_, code)| code))
        .flatten();
    let _ = say_ready(&node, shown, kept, out);
    manager.ready();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = manager.keep_alive() => break,
            () = node.until_given_place() => {}
        }
        let again = async {
            node.stop().await?;
            Node::start(start.clone()).await
        };
        // Whoever watches over this process is told all the while that it lives.
        let watched = async {
            manager.keep_alive().await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            started = again => {
                (node, _) = started?;
                // It is another where any port will do.
                let _ = say_ready(&node, None, None, out);
            }
            () = watched => return Ok(()),
        }
    }
    manager.stopping();
    Ok(node.stop().await?)
}

/// Shows the secrets of a first start; returns the file they went to, if one.
///
/// # Errors
/// They could not be shown, and nobody can ask for them again.
pub(super) fn show(
    made: &Made<'_>,
    state: &Path,
    secrets: ShowSecrets,
    out: &Output,
) -> Result<Option<String>, Failure> {
    match first_start::show(made, state, secrets, out.json) {
        Ok(Shown::Printed) => Ok(None),
        Ok(Shown::Kept(path)) => {
            let path = path.display().to_string();
            let mark = out.mark(Mark::Look);
            out.error(&format!("{mark} Access key and recovery phrase are in {path}"));
            out.error("→ keep them elsewhere, then delete that file");
            Ok(Some(path))
        }
        Err(error) => {
            let message = format!(
                "the recovery phrase and the first access key could not be shown and are lost: {error}"
            );
            let hint = format!(
                "nothing is stored yet: delete {} and the directories of its data, then start over",
                state.display()
            );
            Err(Failure::new(Exit::Error, message).hint(hint))
        }
    }
}

#[derive(Serialize)]
struct Ready<'a> {
    schema: Schema,
    event: &'static str,
    s3: &'a [String],
    page: &'a [String],
    /// The same places over HTTPS, and what has to be trusted there; absent while there is no certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    https: Option<ReadyHttps>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secrets_file: Option<String>,
}

#[derive(Serialize)]
struct ReadyHttps {
    s3: Vec<String>,
    page: Vec<String>,
    fingerprint: String,
}

fn say_ready(
    node: &Node,
    login_code: Option<&str>,
    secrets_file: Option<String>,
    out: &Output,
) -> io::Result<()> {
    let (urls, page) = (node.s3(), node.page());
    let over = |urls: &[String]| -> Vec<String> { urls.iter().map(|url| over_https(url)).collect() };
    let https = node.https().map(|facts| ReadyHttps {
        s3: over(&urls),
        page: over(page),
        fingerprint: facts.authority.fingerprint,
    });
    if out.json {
        return out.document(&Ready {
            schema: Schema,
            event: "ready",
            s3: &urls,
            page,
            https,
            login_code,
            secrets_file,
        });
    }
    out.note(&format!(
        "{} Ready   S3 {}",
        out.mark(Mark::Good),
        urls.join("  ")
    ));
    if let Some(url) = page.first() {
        let code = match login_code {
            Some(code) => format!("login code {code} (valid 10 min)"),
            None => "login code: warren login-code".into(),
        };
        out.note(&format!("{} Page    {url}   {code}", out.mark(Mark::Good)));
    }
    if let Some((https, url)) = https.as_ref().and_then(|https| Some((https, https.s3.first()?))) {
        let mark = out.mark(Mark::Good);
        out.note(&format!("{mark} HTTPS   {url}   trust it once: warren net ca"));
        out.note(&format!("          SHA-256 {}", https.fingerprint));
    }
    Ok(())
}

/// The signals that stop a node: the first gracefully, the second at once.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::new(Exit::Error, format!("listen for signals: {error}")))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Cancels `stop` at the first signal, returns at the second.
    async fn until_second(&mut self, stop: &CancellationToken) {
        self.next().await;
        stop.cancel();
        self.next().await;
    }
}
