//! The port of a node: chosen once and kept, and free before it is listened on.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::{Options, StartError};

/// How many random ports are tried before giving up.
const PORT_TRIES: usize = 32;
/// How long a port may be in use still: a node that has just stopped holds its socket until its connections are known to
/// be closed.
const FREE_WAIT: Duration = Duration::from_secs(5);
/// How often the port is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The port to use: the one asked for, the one kept, the one that the owner says is reached from everywhere, or a free one; it
/// is kept from now on.
pub(crate) fn choose(options: &Options) -> Result<u16, StartError> {
    if let Some(port) = options.port {
        return Ok(port);
    }
    let path = options.folder.join("port");
    if let Some(port) = kept(&path) {
        return Ok(port);
    }
    let failed = |action| {
        let path = path.clone();
        move |source| StartError::Port { action, path, source }
    };
    let port = match options.public.first() {
        Some(public) => public.port(),
        None => free().map_err(failed("choose a port to keep in"))?,
    };
    fs::write(&path, format!("{port}\n")).map_err(failed("keep the port in"))?;
    Ok(port)
}

/// Waits until nobody else listens on the port. A node that went on without one of its transports would look well, and be
/// reached by some and not by others.
pub(crate) async fn wait_until_free(at: &[IpAddr], port: u16) -> Result<(), StartError> {
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

/// A port that is free for TCP and UDP, in both families where both exist.
fn free() -> io::Result<u16> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORT_TRIES {
        let tcp = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let port = tcp.local_addr()?.port();
        let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port));
        let both = match UdpSocket::bind((Ipv6Addr::LOCALHOST, port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
            _ => udp,
        };
        match both {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(last)
}
