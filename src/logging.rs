//! Sets up the log of the owner of the box: one line an event on stderr, text or JSON.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::{LogFilter, LogFormat};

/// What members do is told by our own crate.
const LIBP2P: &str = "libp2p_swarm=error,libp2p_kad=error,libp2p_autonat=error,libp2p_identify=error,\
                      libp2p_mdns=error,libp2p_relay=error,libp2p_dcutr=error,libp2p_upnp=error";

/// Starts logging; only the first call of a process does anything.
pub(crate) fn start(filter: &LogFilter, format: LogFormat, colour: bool) {
    // Libraries report their housekeeping as news, and a peer that goes away as a warning; whoever wants that names the
    // modules.
    let filter = format!("fjall=warn,lsm_tree=warn,{},{}", LIBP2P, filter.as_str());
    let filter = EnvFilter::builder().parse_lossy(filter);
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    // Fails only when a host program of this library logs already, and then its log counts.
    let _ = match format {
        LogFormat::Text => subscriber
            .with_ansi(colour && io::stderr().is_terminal())
            .with_target(false)
            .try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
}
