//! Gives this box its certificate: has the mesh begin an authority where it lacks one, and issues another certificate whenever
//! one is due.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use appliance::{Https, Names, Signer, local_name, new_authority};
use storage::{Authority, Store};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::config::{Config, S3Domain};
use crate::console::time_shown;
use crate::mesh;

/// How often the clock, the addresses and the names are looked at: a laptop that comes into another network is known there
/// before its owner has opened a browser twice.
const LOOK: Duration = Duration::from_secs(30);

/// How long a change of the mesh is left to be followed by others.
const CALM: Duration = Duration::from_millis(500);

/// How long a start waits for the certificate: alone or among boxes that answer it is there at once.
const AT_START: Duration = Duration::from_secs(3);

/// What a certificate is made for and with.
pub(crate) struct Certificates {
    pub(crate) https: Arc<Https>,
    store: Store,
    /// Domains in which an authority that begins here may vouch for hosts.
    domains: Vec<String>,
    /// Names that do not change while the box runs; with `*.` where buckets are found below them.
    hosts: Vec<String>,
    /// Whether the last certificate could not be made, which was said then.
    ails: AtomicBool,
}

impl Certificates {
    /// For a box whose own names are `own`, and which its network is told to call `called`.
    ///
    /// # Errors
    /// This machine cannot speak TLS.
    pub(crate) fn new(
        store: Store,
        config: &Config,
        own: &[String],
        called: Option<&str>,
    ) -> anyhow::Result<Arc<Self>> {
        let listed = |domains: &[S3Domain]| -> Vec<String> {
            domains.iter().map(|domain| domain.as_str().to_owned()).collect()
        };
        let of_buckets = [
            own.to_vec(),
            called.map(str::to_owned).into_iter().collect(),
            listed(&config.s3_domains.value),
            listed(&config.website_domains.value),
        ]
        .concat();
        let of_page = listed(&config.page.hosts.value);
        let hosts = [with_buckets(&of_buckets), of_page.clone()].concat();
        Ok(Arc::new(Self {
            https: Arc::new(Https::new().context("prepare HTTPS")?),
            store,
            domains: [of_buckets, of_page].concat(),
            hosts,
            ails: AtomicBool::new(false),
        }))
    }

    /// Has the certificate there, if it can be soon, before anybody is told where to connect.
    pub(crate) async fn first(&self) {
        if timeout(AT_START, self.look()).await.is_err() {
            debug!("the first certificate is not there yet");
        }
    }

    /// Keeps the certificate good until stopped.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut changes = self.store.mesh_changes();
        let mut next = async || {
            self.look().await;
            tokio::select! {
                () = sleep(LOOK) => {}
                Ok(()) = changes.changed() => sleep(CALM).await,
            }
        };
        while stop.run_until_cancelled(next()).await.is_some() {}
    }

    /// Does what is due.
    async fn look(&self) {
        if self.store.wants_authority() {
            let known = self.store.authority().map_or(0, |authority| authority.number);
            if let Err(error) = self.begin(known).await {
                // Too few boxes answer, or the disk takes no writes: what was signed before goes on.
                debug!(%error, "no new authority signs for the mesh");
            }
        }
        let Some(authority) = self.store.authority() else {
            return;
        };
        let (wanted, now) = (self.names(), now());
        if !self.https.is_due(authority.number, &wanted, now) {
            return;
        }
        let renewed = self.https.renew(&signer(authority), &wanted, now);
        let ailed = self.ails.swap(renewed.is_err(), Ordering::Relaxed);
        match renewed {
            Ok(()) => info!("this box has a new certificate"),
            Err(error) if !ailed => warn!(%error, "no new certificate"),
            Err(_) => {}
        }
    }

    /// Has another authority sign for the mesh in place of the one that does, and is certified by it; says whether it still was that
    /// one.
    ///
    /// # Errors
    /// The root rows cannot be changed, or the system gives no random bytes.
    pub(crate) async fn replace(&self) -> anyhow::Result<bool> {
        let known = self.store.authority().map_or(0, |authority| authority.number);
        let replaced = self.begin(known).await?;
        self.look().await;
        Ok(replaced)
    }

    async fn begin(&self, instead_of: u64) -> anyhow::Result<bool> {
        let secret = new_authority(&self.domains).context("make an authority")?;
        let began = self.store.set_authority(secret, instead_of).await?;
        if began {
            info!("another authority signs the certificates of the mesh");
        }
        Ok(began)
    }

    /// How this box is called now.
    fn names(&self) -> Names {
        // It may have been renamed; the network is told so at the next start.
        let name = local_name(&mesh::name_of(&self.store, self.store.me()));
        let hosts = self.hosts.iter().cloned().chain(with_buckets(&[name]));
        Names::new(hosts, addresses())
    }
}

/// These domains, and all names directly below each: where buckets are. `*.localhost` and the like are believed by no client.
fn with_buckets(domains: &[String]) -> Vec<String> {
    let below = domains.iter().filter(|domain| domain.contains('.'));
    let below = below.map(|domain| format!("*.{domain}"));
    domains.iter().cloned().chain(below).collect()
}

/// The addresses of this box, in all its networks.
fn addresses() -> Vec<IpAddr> {
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces.iter().map(if_addrs::Interface::ip).collect(),
        Err(error) => {
            warn!(%error, "the system does not tell the addresses of this box");
            Vec::new()
        }
    }
}

fn signer(authority: Authority) -> Signer {
    Signer {
        number: authority.number,
        since: time_shown(authority.since),
        secret: authority.secret,
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_below_every_name_that_clients_let_have_some() {
        let names = ["localhost".into(), "warren-anna.local".into()];
        assert_eq!(
            with_buckets(&names),
            ["localhost", "warren-anna.local", "*.warren-anna.local"]
        );
    }

    #[test]
    fn a_box_knows_at_least_its_loopback_address() {
        assert!(addresses().iter().any(IpAddr::is_loopback));
    }
}
