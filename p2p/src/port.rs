//! The port of a node: chosen once and kept, and free before it is listened on.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::{Address, Options, StartError};

/// From where a random port is taken: below those of outgoing connections, which are 32768 and up on Linux and 49152 and up
/// elsewhere (RFC 6335, section 6). One of theirs could be held by any program when the node starts again.
const RANDOM_PORTS: Range<u16> = 20_000..32_768;
/// How many random ports are tried before giving up.
const PORT_TRIES: usize = 32;
/// How long a port may be in use still: a node that has just stopped holds its socket until its connections are known to
/// be closed.
const FREE_WAIT: Duration = Duration::from_secs(5);
/// How often the port is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The port to use, once nobody else listens on it: the one asked for, the one kept, the one that the owner says is reached from
/// everywhere, or a random one, which is kept from now on. A node that went on without one of its transports would look well,
/// and be reached by some and not by others.
///
/// Where another program has the one that is kept, and nobody asked for it, a random one is used until the next start: others
/// find a node that has moved, and none that did not start.
pub(crate) async fn settle(options: &Options) -> Result<u16, StartError> {
    let (port, origin) = choose(options)?;
    let Err(taken) = wait_until_free(&options.listen, port).await else {
        return Ok(port);
    };
    if origin == Origin::Owner {
        return Err(taken);
    }
    let other = free().map_err(|_| taken)?;
    warn!(
        kept = port,
        other, "another program uses the port of this node, which takes another one until it starts again"
    );
    Ok(other)
}

/// Who chose a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The owner asked for it, or says that it is reached from everywhere: no other will do.
    Owner,
    /// This node.
    Chance,
}

fn choose(options: &Options) -> Result<(u16, Origin), StartError> {
    if let Some(port) = options.port {
        return Ok((port, Origin::Owner));
    }
    let public = options.public.first().map(Address::port);
    let path = options.folder.join("port");
    if let Some(port) = kept(&path) {
        let is_public = options.public.iter().any(|public| public.port() == port);
        let origin = if is_public { Origin::Owner } else { Origin::Chance };
        return Ok((port, origin));
    }
    let failed = |action| {
        let path = path.clone();
        move |source| StartError::Port { action, path, source }
    };
    let (port, origin) = match public {
        Some(port) => (port, Origin::Owner),
        None => (
            free().map_err(failed("choose a port to keep in"))?,
            Origin::Chance,
        ),
    };
    fs::write(&path, format!("{port}\n")).map_err(failed("keep the port in"))?;
    Ok((port, origin))
}

async fn wait_until_free(at: &[IpAddr], port: u16) -> Result<(), StartError> {
    let until = Instant::now() + FREE_WAIT;
    while at.iter().any(|ip| is_in_use(SocketAddr::new(*ip, port))) {
        if Instant::now() >= until {
            let source = io::ErrorKind::AddrInUse.into();
            return Err(StartError::Listen { port, source });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Whether somebody listens there, with TCP or UDP. An address that is missing is in nobody's use.
fn is_in_use(address: SocketAddr) -> bool {
    let bound = TcpListener::bind(address).and_then(|_| UdpSocket::bind(address));
    bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

fn kept(path: &Path) -> Option<u16> {
    let text = fs::read_to_string(path).ok()?;
    text.trim().parse().ok().filter(|port| *port != 0)
}

/// A random port that is free for TCP and UDP, in both families where both exist.
fn free() -> io::Result<u16> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORT_TRIES {
        let port = random()?;
        let tcp = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
        let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port));
        let both = match UdpSocket::bind((Ipv6Addr::LOCALHOST, port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
            _ => udp,
        };
        match tcp.and(both) {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn random() -> io::Result<u16> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    let ports = u32::from(RANDOM_PORTS.end - RANDOM_PORTS.start);
    let offset = u16::try_from(u32::from_le_bytes(bytes) % ports).unwrap_or_default();
    Ok(RANDOM_PORTS.start + offset)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_random_port_is_none_that_an_outgoing_connection_may_hold() {
        let ports: BTreeSet<u16> = (0..100).map(|_| free().unwrap()).collect();
        assert!(ports.iter().all(|port| RANDOM_PORTS.contains(port)), "{ports:?}");
        assert!(ports.len() > 50, "{ports:?}");
    }
}
