//! `warren server --wizard`: has a person at a browser say what a fresh box is to be, before it is anything.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use appliance::api::{Schema, Secret};
use appliance::{
    Access, Became, DiskWish, Fresh, MeshWish, Setup, ShownOnce, SpareDisk, Suggestion, UNNAMED, Wish,
    local_name,
};
use p2p::Address;
use rustix::fs::statvfs;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::failure::Failure;
use super::join;
use super::output::{Mark, Output};
use super::said::Said;
use super::{Common, load};
use crate::config::{Config, Flags};
use crate::disks;
use crate::endpoint;
use crate::first_start::{self, Made};
use crate::mesh::{Patience, box_name, is_free, knock};
use crate::node::{Loss, Node, Start, announce, claim, page_listeners, page_options};
use crate::notify::ServiceManager;
use crate::waiting::{self, WaitingBox};

/// How often the box looks whether its login code still works: each is shown before anybody has to ask for it.
const LOOK: Duration = Duration::from_secs(5);
/// How long a box that reaches nobody waits to be called, while its page says so.
const CALL_WAIT: Duration = Duration::from_secs(5 * 60);

/// Serves the wizard until the box is made, if it is to be asked and is nothing yet. False where it is told to stop before.
///
/// # Errors
/// The page cannot be served: without it nobody could say anything.
pub(super) async fn ask(
    common: &Common,
    config: &Config,
    stop: &CancellationToken,
    out: &Output,
) -> Result<bool, Failure> {
    let state = &config.state.value;
    if !is_free(state) {
        return Ok(true);
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(state);
    made.with_context(|| format!("create state directory {}", state.display()))?;
    let (listeners, failed) = page_listeners(config).await;
    let first = match (listeners.first(), failed) {
        (None, None) => return Err(Failure::usage("--wizard needs the page: leave --page off away")),
        (None, Some(why)) => return Err(anyhow::Error::from(why).into()),
        (Some(first), failed) => {
            if let Some(why) = failed {
                warn!(%why, "page not served at each of its addresses");
            }
            first
        }
    };
    let urls = endpoint::urls(first.local_addr().context("read page address")?);
    let fresh = FreshBox {
        common: common.clone(),
        state: state.clone(),
        wants: Mutex::default(),
    };
    let announcer = announce(config, UNNAMED, None, &listeners);
    let (setup, maker) = Setup::new(fresh, Access::open(state));
    let page = setup.serve(listeners, page_options(config));
    let manager = ServiceManager::from_env();
    manager.ready();
    let tell = async {
        let mut shown = None;
        loop {
            match setup.login_code() {
                Ok(Some(code)) => {
                    say(&urls, code.expose(), out);
                    shown = Some(code);
                }
                Ok(None) if !setup.has_code() => shown = None,
                Ok(None) => {}
                Err(error) => warn!(%error, "no login code"),
            }
            let waiting = WaitingBox::new(shown.as_ref());
            if let Err(error) = waiting.tell() {
                warn!(%error, "the screen is not told that the box waits");
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let made = tokio::select! {
        () = maker.run() => true,
        () = stop.cancelled() => false,
        () = manager.keep_alive() => false,
        () = tell => false,
    };
    waiting::over();
    if let Some(announcer) = announcer {
        announcer.stop().await;
    }
    page.shutdown().await;
    setup.settle().await;
    Ok(made)
}

#[derive(Serialize)]
struct Waiting<'a> {
    schema: Schema,
    event: &'static str,
    page: &'a [String],
    login_code: &'a str,
}

/// Tells where the wizard is and what opens it. That may go to a log: the box holds nothing yet, and the code is worth nothing
/// once it does.
fn say(page: &[String], code: &str, out: &Output) {
    if out.json {
        let document = Waiting {
            schema: Schema,
            event: "wizard",
            page,
            login_code: code,
        };
        // Without anybody who reads, the page is there all the same.
        let _ = out.document(&document);
        return;
    }
    let url = page.first().map_or("", String::as_str);
    out.error(&format!(
        "{} Set up this box: {url}   login code {code} (valid 10 min)",
        out.mark(Mark::Look)
    ));
}

/// A box whose state directory is empty.
struct FreshBox {
    common: Common,
    state: PathBuf,
    /// What a person has to do for it while it is being made.
    wants: Mutex<Option<String>>,
}

impl Fresh for FreshBox {
    fn suggestion(&self) -> Suggestion {
        let config = load(&self.common, Flags::default()).ok();
        let said = |look: fn(&Config) -> &String| config.as_ref().map(look).cloned().unwrap_or_default();
        Suggestion {
            name: said(|config| &config.name.value),
            zone: said(|config| &config.zone.value),
            disk: disk(&self.state),
        }
    }

    async fn become_it(&self, wish: Wish) -> Result<Became, String> {
        let said = Said {
            name: None,
            zone: Some(wish.zone).filter(|zone| !zone.is_empty()),
            give: Some(wish.give).filter(|give| !give.is_empty()),
            data: Vec::new(),
            mesh_public: Vec::new(),
        };
        let became = match wish.mesh {
            MeshWish::New(name) => {
                let name = Some(name).filter(|name| !name.is_empty());
                Box::pin(self.found(Said { name, ..said })).await
            }
            MeshWish::Invited(invite) => Box::pin(self.join(&invite, said)).await,
        };
        self.want(None);
        became.map_err(|failure| match failure.hint {
            Some(hint) => format!("{}; {hint}", failure.message),
            None => failure.message,
        })
    }

    fn wants(&self) -> Option<String> {
        self.wants.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn spare_disks(&self) -> Vec<SpareDisk> {
        disks::offered()
    }

    async fn take_disk(&self, wish: DiskWish) -> String {
        disks::take(&wish).await
    }

    fn noted(&self) {
        let path = first_start::file(&self.state);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                warn!(path = %path.display(), %error, "what is shown once was not deleted");
            }
            _ => {}
        }
    }
}

impl FreshBox {
    fn want(&self, command: Option<String>) {
        *self.wants.lock().unwrap_or_else(PoisonError::into_inner) = command;
    }

    async fn found(&self, said: Said) -> Result<Became, Failure> {
        let config = said.decide(&self.common)?;
        let mesh = config.name.value.clone();
        let called = called(&config, &box_name());
        let urls = endpoint::urls(config.s3_address.value.0);
        // Before anything is made: a box that has keys is not asked again what it was told.
        said.remember(&config)?;
        let start = Start {
            config,
            loss: Loss::Refuse,
            recovery_phrase: None,
        };
        let created = Node::create(&start).await?;
        let created = created.context("it holds a box already")?;
        let made = Made {
            first: &created.first,
            endpoint: urls.first().map_or("", String::as_str),
            page: None,
        };
        // Until somebody has written it down: whoever pulls the plug now must not lose it.
        let kept = first_start::keep(&made, &self.state);
        if let Err(error) = kept {
            warn!(%error, "what is shown once is only on the page");
        }
        created.closed?;
        let key = &created.first.owner_key;
        Ok(Became {
            mesh,
            called,
            first: Some(ShownOnce {
                phrase: Secret::new(created.first.recovery_phrase.to_string()),
                key: key.id.to_string(),
                secret: Secret::new(key.secret.expose().to_owned()),
            }),
        })
    }

    async fn join(&self, invite: &Secret, said: Said) -> Result<Became, Failure> {
        let invite = join::invite(invite.expose())?;
        let config = said.decide(&self.common)?;
        join::is_name("the place", &config.zone.value)?;
        let (_socket, identity) = claim(&config.state.value)?;
        let tell = |at: &[Address]| {
            let calls: Vec<_> = at.iter().map(|at| format!("warren invite call {at}")).collect();
            self.want(Some(calls.join(" or ")));
        };
        let patience = Patience {
            wait: CALL_WAIT,
            tell: &tell,
        };
        let arrival = knock(&config, &identity, &invite, box_name(), patience).await;
        let arrival = arrival.map_err(join::refused)?;
        let mesh = arrival.mesh().to_owned();
        let said = Said {
            name: Some(mesh.clone()),
            ..said
        };
        if let Err(failure) = said.remember(&config) {
            arrival.give_up().await;
            return Err(failure);
        }
        let called = called(&config, &arrival.name);
        arrival.settle(&config.state.value).await?;
        Ok(Became {
            mesh,
            called,
            first: None,
        })
    }
}

/// The host name under which the network knows a box of this name, where it is told at all.
fn called(config: &Config, name: &str) -> Option<String> {
    config.mesh.mdns.value.0.then(|| local_name(name))
}

/// Bytes of the disk that a folder is on, and of them free.
fn disk(folder: &Path) -> (u64, u64) {
    statvfs(folder).map_or((0, 0), |system| {
        (
            system.f_blocks * system.f_frsize,
            system.f_bavail * system.f_frsize,
        )
    })
}
