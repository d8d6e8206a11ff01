//! Announces a box on its LAN: under a name of its own, `warren-NAME.local`, and as a place of S3 and of a page
//! (mDNS, RFC 6762; DNS-SD, RFC 6763).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mdns_sd::{DaemonEvent, IfKind, Receiver, ServiceDaemon, ServiceInfo};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info, info_span, warn};

/// The longest label of a host name (RFC 1035, section 2.3.4), and the longest name of a service (RFC 6763, section 4.1.1).
const LABEL_BYTES_MAX: usize = 63;
/// Leaves room for the number that tells two boxes of one name apart.
const OWN_BYTES_MAX: usize = LABEL_BYTES_MAX - 4;
/// The word that all names begin with.
const WORD: &str = "warren";
/// The name of a box that has none yet: it is called `warren.local`.
pub const UNNAMED: &str = "";
/// How long it may take to say that a box is gone.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a box offers in its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// S3, at `_s3._tcp`.
    S3,
    /// The page, at `_http._tcp`.
    Page,
}

impl Offer {
    const fn service(self) -> &'static str {
        match self {
            Self::S3 => "_s3._tcp.local.",
            Self::Page => "_http._tcp.local.",
        }
    }
}

/// Why nothing is announced.
#[derive(Debug, thiserror::Error)]
#[error("announce the box in its network")]
pub struct AnnounceError(#[from] mdns_sd::Error);

/// Answers whoever asks in the network for the box, in a thread of its own.
pub struct Announcer {
    daemon: ServiceDaemon,
    watching: TaskTracker,
}

impl Announcer {
    /// Announces a box of this name, with what it offers and where it listens for that: on every network of the box where
    /// every address is meant, never on the box itself. `None` where nobody else could connect anyway.
    ///
    /// # Errors
    /// The system gives no socket or thread.
    pub fn start(name: &str, offers: &[(Offer, SocketAddr)]) -> Result<Option<Self>, AnnounceError> {
        let offers: Vec<_> = offers
            .iter()
            .filter(|(_, address)| is_for_others(*address))
            .collect();
        if offers.is_empty() {
            return Ok(None);
        }
        let daemon = ServiceDaemon::new()?;
        daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
        let events = daemon.monitor()?;
        for (offer, address) in offers {
            daemon.register(service(name, *offer, *address)?)?;
        }
        let watching = TaskTracker::new();
        watching.spawn(watch(events).instrument(info_span!("mdns")));
        watching.close();
        Ok(Some(Self { daemon, watching }))
    }

    /// Says that the box is gone, so that nobody looks for it until what they remember is out of date.
    pub async fn stop(self) {
        let gone = async {
            if let Ok(gone) = self.daemon.shutdown() {
                // However it ends, the thread has ended.
                let _ = gone.recv_async().await;
            }
            self.watching.wait().await;
        };
        if timeout(FAREWELL, gone).await.is_err() {
            debug!("nobody was told that the box is gone");
        }
    }
}

/// Logs what happens to the names, until nothing is announced any more.
async fn watch(events: Receiver<DaemonEvent>) {
    while let Ok(event) = events.recv_async().await {
        match event {
            DaemonEvent::NameChange(change) => {
                info!(
                    wanted = change.original,
                    name = change.new_name,
                    "another box has that name"
                );
            }
            DaemonEvent::Error(error) => warn!(%error, "not announced everywhere"),
            other => debug!(?other, "announced"),
        }
    }
}

/// Whether anybody but the box itself can connect.
fn is_for_others(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

fn service(name: &str, offer: Offer, address: SocketAddr) -> mdns_sd::Result<ServiceInfo> {
    let host = format!("{}.", local_name(name));
    let shown = shown(name);
    let properties = [("path", "/")];
    let of = |ip: &str| {
        ServiceInfo::new(
            offer.service(),
            &shown,
            &host,
            ip,
            address.port(),
            &properties[..],
        )
    };
    let ip = address.ip().to_canonical();
    if !ip.is_unspecified() {
        let mut info = of(&ip.to_string())?;
        info.set_interfaces(vec![IfKind::Addr(ip)]);
        return Ok(info);
    }
    let mut info = of("")?.enable_addr_auto();
    if matches!(ip, IpAddr::V4(_)) {
        info.set_interfaces(vec![IfKind::IPv4]);
    }
    Ok(info)
}

/// The host name under which a box of this name is announced, without the dot at its end: `warren-anna.local`.
pub fn local_name(name: &str) -> String {
    let own = label_of(name);
    // A box that is called so already is not called so twice.
    let is_ours = own
        .strip_prefix(WORD)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    let mut label = if is_ours { own } else { format!("{WORD}-{own}") };
    // Of one byte a letter.
    label.truncate(OWN_BYTES_MAX);
    format!("{}.local", label.trim_end_matches('-'))
}

/// A name in the letters of a host name, with one dash for whatever else stands between them.
fn label_of(name: &str) -> String {
    let mut label = String::new();
    for letter in name.chars().flat_map(char::to_lowercase) {
        match letter {
            'a'..='z' | '0'..='9' => label.push(letter),
            _ if label.is_empty() || label.ends_with('-') => {}
            _ => label.push('-'),
        }
        if label.len() == OWN_BYTES_MAX {
            break;
        }
    }
    label.truncate(label.trim_end_matches('-').len());
    label
}

/// How the box is called in lists of services, which people read.
fn shown(name: &str) -> String {
    const WHAT: &str = " (Warren)";
    if name == UNNAMED {
        return "Warren".into();
    }
    let most = OWN_BYTES_MAX - WHAT.len();
    format!("{}{WHAT}", &name[..name.floor_char_boundary(most)])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_box_is_called_by_its_name_as_far_as_hosts_can_be() {
        for (name, local) in [
            ("anna", "warren-anna.local"),
            ("Anna's box", "warren-anna-s-box.local"),
            ("büro", "warren-b-ro.local"),
            ("--x--", "warren-x.local"),
            ("日本", "warren.local"),
            ("", "warren.local"),
        ] {
            assert_eq!(local_name(name), local, "{name}");
        }
    }

    #[test]
    fn a_box_whose_name_begins_with_the_word_is_not_called_so_twice() {
        for (name, local) in [
            ("warren-1a2b", "warren-1a2b.local"),
            ("Warren Anna", "warren-anna.local"),
            ("warren", "warren.local"),
            ("WARREN--", "warren.local"),
            ("warrenton", "warren-warrenton.local"),
        ] {
            assert_eq!(local_name(name), local, "{name}");
        }
    }

    #[tokio::test]
    async fn a_box_that_only_itself_can_reach_is_not_announced() {
        for address in ["127.0.0.1:3900", "[::1]:3900", "[::ffff:127.0.0.1]:3900"] {
            let offers = [(Offer::S3, address.parse().unwrap())];
            assert!(Announcer::start("anna", &offers).unwrap().is_none(), "{address}");
        }
    }

    proptest! {
        #[test]
        fn every_name_can_be_announced(name in "\\PC{0,80}", port: u16, offer in prop_oneof![Just(Offer::S3), Just(Offer::Page)]) {
            let local = local_name(&name);
            let label = local.strip_suffix(".local").unwrap();
            prop_assert!(label.len() <= OWN_BYTES_MAX && !label.ends_with('-'));
            prop_assert!(label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')));
            prop_assert!(shown(&name).len() <= LABEL_BYTES_MAX);
            for address in ["0.0.0.0", "[::]", "192.168.1.2", "[fd00::1]"] {
                let address = format!("{address}:{port}").parse().unwrap();
                prop_assert!(service(&name, offer, address).is_ok());
            }
        }
    }
}
