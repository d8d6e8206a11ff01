//! Tells a service manager (systemd) how the node is doing, if one asks.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tracing::warn;

/// The line to the service manager; silent when there is none. Protocol: sd_notify(3).
pub(crate) struct ServiceManager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Looks for a service manager in the environment.
    pub(crate) fn from_env() -> Self {
        let socket = env::var_os("NOTIFY_SOCKET").and_then(|path| {
            connect(path.as_bytes())
                .inspect_err(|error| warn!(%error, "service manager not reached"))
                .ok()
        });
        Self {
            socket,
            watchdog: watchdog_interval(),
        }
    }

    /// The node serves.
    pub(crate) fn ready(&self) {
        self.say(&format!("READY=1\nMAINPID={}", std::process::id()));
    }

    /// The node is stopping.
    pub(crate) fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// Says that the node lives as often as asked, for ever. Runs among the node's own tasks, so that
    /// a runtime that is stuck goes silent and is restarted.
    pub(crate) async fn keep_alive(&self) {
        let (Some(interval), Some(_)) = (self.watchdog, &self.socket) else {
            return std::future::pending().await;
        };
        // Half the time allowed, as sd_watchdog_enabled(3) recommends.
        let mut ticks = tokio::time::interval(interval / 2);
        loop {
            ticks.tick().await;
            self.say("WATCHDOG=1");
        }
    }

    fn say(&self, message: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(message.as_bytes())
        {
            warn!(%error, message, "service manager not told");
        }
    }
}

fn connect(path: &[u8]) -> io::Result<UnixDatagram> {
    let address = match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // Losing a message is better than a node that waits for its manager.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn watchdog_interval() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let micros = number("WATCHDOG_USEC").filter(|micros| *micros > 0 && for_us)?;
    Some(Duration::from_micros(micros))
}
