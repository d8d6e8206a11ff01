//! A link between two namespaces with latency, loss and a rate, in user space: this works where the kernel has no netem.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// `TUNSETIFF` of linux/if_tun.h.
const SET_INTERFACE: libc::Ioctl = 0x4004_54ca;
/// `IFF_TAP | IFF_NO_PI`: whole Ethernet frames, nothing before them.
const TAP_WITHOUT_HEADER: u16 = 0x0002 | 0x1000;
/// The longest name of an interface, with its ending zero.
const NAME_BYTES: usize = 16;
/// The size of `struct ifreq`.
const REQUEST_BYTES: usize = 40;
/// The largest frame that a TAP gives.
const FRAME_BYTES: usize = 65_600;
/// What a link holds before it drops.
const QUEUE_BYTES: f64 = 256.0 * 1024.0;
/// Sleeping shorter than this is not worth it.
const SLEEP_MIN: Duration = Duration::from_micros(60);

/// What a link does to what crosses it, the same in both directions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quality {
    /// How long a frame is under way.
    pub(crate) delay: Duration,
    /// How many of 100 frames are lost.
    pub(crate) loss_percent: f64,
    /// Megabits per second; zero for no limit.
    pub(crate) rate_mbit: f64,
}

/// A link that carries, and whose quality may change while it does.
#[derive(Clone)]
pub(crate) struct Link(Arc<Mutex<Quality>>);

impl Link {
    /// Makes it another link from the next frame on.
    pub(crate) fn set(&self, quality: Quality) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = quality;
    }

    fn quality(&self) -> Quality {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One end of a link: an interface to be made in a namespace.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) namespace: String,
    pub(crate) interface: String,
}

/// Joins two namespaces until one of them is removed.
///
/// # Errors
/// An interface cannot be made.
pub(crate) fn join(one: &End, other: &End, quality: Quality) -> Result<Link> {
    let link = Link(Arc::new(Mutex::new(quality)));
    let (one, other) = (tap(one)?, tap(other)?);
    let ends = |from: &File, to: &File| -> Result<(File, File)> { Ok((from.try_clone()?, to.try_clone()?)) };
    for (seed, (from, to)) in [(1, ends(&one, &other)?), (99, ends(&other, &one)?)] {
        let ((sender, frames), link) = (mpsc::channel(), link.clone());
        thread::spawn(move || take(from, &sender, &link, seed));
        thread::spawn(move || give(to, frames));
    }
    Ok(link)
}

/// Reads frames and decides for each when it arrives, or that it does not.
fn take(mut from: File, frames: &mpsc::Sender<(Instant, Vec<u8>)>, link: &Link, seed: u64) {
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64 ^ seed;
    let mut free = Instant::now();
    let mut frame = vec![0; FRAME_BYTES];
    while let Ok(length) = from.read(&mut frame) {
        let quality = link.quality();
        if percent(&mut dice) < quality.loss_percent {
            continue;
        }
        let now = Instant::now();
        if quality.rate_mbit > 0.0 {
            let bytes_per_s = quality.rate_mbit * 1e6 / 8.0;
            free = free.max(now);
            if (free - now).as_secs_f64() * bytes_per_s > QUEUE_BYTES {
                continue;
            }
            let length = u32::try_from(length).unwrap_or(u32::MAX);
            free += Duration::from_secs_f64(f64::from(length) / bytes_per_s);
        } else {
            free = now;
        }
        let Some(bytes) = frame.get(..length) else { return };
        if frames.send((free + quality.delay, bytes.to_vec())).is_err() {
            return;
        }
    }
}

/// Writes frames when their time has come.
fn give(mut to: File, frames: mpsc::Receiver<(Instant, Vec<u8>)>) {
    for (at, frame) in frames {
        let wait = at.saturating_duration_since(Instant::now());
        if wait > SLEEP_MIN {
            thread::sleep(wait);
        }
        // An interface that is down takes nothing; it may come up again.
        let _ = to.write(&frame);
    }
}

/// A number from 0 to below 100 (xorshift64).
fn percent(dice: &mut u64) -> f64 {
    *dice ^= *dice << 13;
    *dice ^= *dice >> 7;
    *dice ^= *dice << 17;
    f64::from(u32::try_from(*dice >> 32).unwrap_or_default()) / f64::from(u32::MAX) * 100.0
}

/// Moves this thread, and nothing else, into a namespace for good.
///
/// # Errors
/// It is not there, or the system refuses.
pub(crate) fn enter(namespace: &str) -> Result<()> {
    let namespace = File::open(format!("/var/run/netns/{namespace}")).context("open namespace")?;
    let network = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), network).context("enter namespace")
}

/// Runs something on a thread of its own, which may enter another namespace for good.
///
/// # Errors
/// Those of what is run.
pub(crate) fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| scope.spawn(work).join()).map_err(|_| anyhow::anyhow!("a thread died"))?
}

/// Makes an interface in a namespace. A thread of its own enters the namespace, so that nothing else does.
fn tap(end: &End) -> Result<File> {
    let end = end.clone();
    let making = thread::spawn(move || -> Result<File> {
        enter(&end.namespace)?;
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/net/tun")
            .context("open /dev/net/tun")?;
        name(&device, &end.interface)?;
        Ok(device)
    });
    making.join().map_err(|_| anyhow::anyhow!("the thread died"))?
}

#[allow(unsafe_code, reason = "no safe call names a TAP interface")]
fn name(device: &File, interface: &str) -> Result<()> {
    ensure!(interface.len() < NAME_BYTES, "the name {interface} is too long");
    let mut request = [0_u8; REQUEST_BYTES];
    for (to, from) in request.iter_mut().zip(interface.bytes()) {
        *to = from;
    }
    for (to, from) in request
        .iter_mut()
        .skip(NAME_BYTES)
        .zip(TAP_WITHOUT_HEADER.to_ne_bytes())
    {
        *to = from;
    }
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, which is REQUEST_BYTES long and lives until it returns.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), SET_INTERFACE, request.as_mut_ptr()) };
    ensure!(
        result == 0,
        "make interface {interface}: {}",
        std::io::Error::last_os_error()
    );
    Ok(())
}
