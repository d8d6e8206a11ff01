//! Looks for a box as phones and computers do, in the network of a namespace (mDNS, DNS-SD).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use mdns_sd::{HostnameResolutionEvent, ServiceDaemon, ServiceEvent};

use super::wire;

/// How long a search waits for answers.
const SEARCH: Duration = Duration::from_secs(2);

/// The addresses that a name has in the network of a namespace; none where nobody answers.
///
/// # Errors
/// The namespace is gone, or gives no socket.
pub(super) fn addresses(namespace: &str, name: &str) -> Result<BTreeSet<IpAddr>> {
    searched(namespace, |daemon| {
        let wait = u64::try_from(SEARCH.as_millis()).ok();
        let events = daemon.resolve_hostname(&format!("{name}."), wait)?;
        let began = Instant::now();
        while let Ok(event) = events.recv_timeout(SEARCH.saturating_sub(began.elapsed())) {
            if let HostnameResolutionEvent::AddressesFound(_, found) = event {
                return Ok(found.iter().map(|address| address.to_ip_addr()).collect());
            }
        }
        Ok(BTreeSet::new())
    })
}

/// Hosts and ports at which a kind of service is found in the network of a namespace.
///
/// # Errors
/// As [`addresses`].
pub(super) fn services(namespace: &str, kind: &str) -> Result<BTreeSet<(String, u16)>> {
    searched(namespace, |daemon| {
        let events = daemon.browse(&format!("{kind}.local."))?;
        let mut found = BTreeSet::new();
        let began = Instant::now();
        while let Ok(event) = events.recv_timeout(SEARCH.saturating_sub(began.elapsed())) {
            if let ServiceEvent::ServiceResolved(service) = event {
                let host = service.get_hostname().trim_end_matches('.');
                found.insert((host.to_owned(), service.get_port()));
            }
        }
        Ok(found)
    })
}

/// Searches from inside a namespace: a thread of its own enters it, and those that it starts stay there.
fn searched<T: Send>(
    namespace: &str,
    search: impl FnOnce(&ServiceDaemon) -> mdns_sd::Result<T> + Send,
) -> Result<T> {
    let searching = || {
        wire::enter(namespace)?;
        let daemon = ServiceDaemon::new().context("begin to search")?;
        let found = search(&daemon).context("search");
        if let Ok(ended) = daemon.shutdown() {
            // However it ends, the thread has ended.
            let _ = ended.recv_timeout(SEARCH);
        }
        found
    };
    let searched = std::thread::scope(|scope| scope.spawn(searching).join());
    searched.map_err(|_| anyhow!("the thread died"))?
}
