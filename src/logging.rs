//! Sets up the log of the owner of the box: one line an event on stderr, text or JSON.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::{LogFilter, LogFormat};

/// Starts logging; only the first call of a process does anything.
pub(crate) fn start(filter: &LogFilter, format: LogFormat, colour: bool) {
    // The index engine reports its housekeeping as news; whoever wants it names the modules.
    let filter = format!("fjall=warn,lsm_tree=warn,{}", filter.as_str());
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
