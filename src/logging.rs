//! Sets up the log of the owner of the box: one line an event on stderr, text or JSON; and keeps the last ones in memory.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::panic;
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::config::{LogFilter, LogFormat};

/// What members do is told by our own crate.
const LIBP2P: &str = "libp2p_swarm=error,libp2p_kad=error,libp2p_autonat=error,libp2p_identify=error,\
                      libp2p_mdns=error,libp2p_relay=error,libp2p_dcutr=error,libp2p_upnp=error";

/// Most lines that are kept.
const LINES_MAX: usize = 2_000;
/// Most bytes of all of them.
const BYTES_MAX: usize = 512 << 10;
/// No line is kept beyond these bytes.
const LINE_BYTES_MAX: usize = 4 << 10;

/// The last lines of this process, as its subscriber is this process's.
static RECENT: Mutex<Recent> = Mutex::new(Recent::new());

/// Starts logging; only the first call of a process does anything.
pub(crate) fn start(filter: &LogFilter, format: LogFormat, colour: bool) {
    // Libraries report their housekeeping as news, and a peer that goes away as a warning; whoever wants that names the
    // modules.
    let filter = format!("fjall=warn,lsm_tree=warn,{},{}", LIBP2P, filter.as_str());
    let filter = EnvFilter::builder().parse_lossy(filter);
    let told = fmt::layer().with_writer(io::stderr);
    let told = match format {
        LogFormat::Text => told
            .with_ansi(colour && io::stderr().is_terminal())
            .with_target(false)
            .boxed(),
        LogFormat::Json => told.json().flatten_event(true).boxed(),
    };
    let kept = fmt::layer()
        .fmt_fields(Plain(DefaultFields::new()))
        .with_ansi(false)
        .with_target(false)
        .with_writer(|| Keeper);
    // Fails only when a host program of this library logs already, and then its log counts.
    let started = tracing_subscriber::registry()
        .with(filter)
        .with(told)
        .with(kept)
        .try_init();
    if started.is_ok() {
        keep_panics();
    }
}

/// Keeps what a thread says that panics, beside telling it on stderr. Not as an event: what panics may be in the middle of one.
fn keep_panics() {
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        told(panicked);
        let mut line = String::new();
        let at = SystemTime.format_time(&mut Writer::new(&mut line));
        // Whoever has it is the one that panics: its line is lost, not the box.
        if let (Ok(()), Ok(mut recent)) = (at, RECENT.try_lock()) {
            line.push_str(&format!(" ERROR {panicked}").replace('\n', " "));
            recent.push(&line);
        }
    }));
}

/// The last lines that this process logged, oldest first, as text whatever the format of the log is.
pub(crate) fn recent() -> Vec<String> {
    let recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    recent.lines.iter().cloned().collect()
}

/// How fields are written where they are kept. Spans remember their fields once for each type of it: of the type that colours
/// them for a terminal, colours would be kept.
struct Plain(DefaultFields);

impl<'writer> FormatFields<'writer> for Plain {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> std::fmt::Result {
        self.0.format_fields(writer, fields)
    }
}

/// Keeps what is written to it: a whole event at a time, as the subscriber writes.
struct Keeper;

impl Write for Keeper {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
        text.lines().for_each(|line| recent.push(line));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines, of which the oldest make room.
struct Recent {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Recent {
    const fn new() -> Self {
        Self {
            lines: VecDeque::new(),
            bytes: 0,
        }
    }

    fn push(&mut self, line: &str) {
        let line = &line[..line.floor_char_boundary(LINE_BYTES_MAX)];
        self.bytes += line.len();
        self.lines.push_back(line.to_owned());
        while self.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
            let oldest = self.lines.pop_front();
            self.bytes -= oldest.map_or(0, |line| line.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_newest_lines_are_kept_and_no_more_than_there_is_room_for(
            lengths in prop::collection::vec(0..3 * LINE_BYTES_MAX, 0..400),
            letter in prop::char::any(),
        ) {
            let mut recent = Recent::new();
            for length in &lengths {
                recent.push(&letter.to_string().repeat(length / letter.len_utf8()));
            }
            let kept: usize = recent.lines.iter().map(String::len).sum();
            prop_assert_eq!(kept, recent.bytes);
            prop_assert!(kept <= BYTES_MAX && recent.lines.len() <= LINES_MAX);
            prop_assert!(recent.lines.iter().all(|line| line.len() <= LINE_BYTES_MAX));
            // One more would not have found room.
            prop_assert!(recent.lines.len() == lengths.len() || kept > BYTES_MAX - LINE_BYTES_MAX);
        }
    }

    #[test]
    fn what_a_thread_said_that_panicked_is_kept() {
        keep_panics();
        let panics = std::thread::spawn(|| panic!("the cellar is\nflooded"));
        assert!(panics.join().is_err());
        let kept = recent();
        let line = kept.iter().find(|line| line.contains("the cellar is flooded"));
        let line = line.unwrap_or_else(|| panic!("it is not in {kept:?}"));
        assert!(line.contains("Z ERROR panicked at src/logging.rs:"), "{line}");
    }

    #[test]
    fn many_short_lines_leave_the_newest() {
        let mut recent = Recent::new();
        (0..LINES_MAX + 10).for_each(|number| recent.push(&number.to_string()));
        assert_eq!(recent.lines.len(), LINES_MAX);
        assert_eq!(recent.lines[0], "10");
    }
}
