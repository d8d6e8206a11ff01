//! What the links give without Warren: round trips and copies over bare TCP between two namespaces.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::super::street::Street;
use super::super::wire;
use crate::bench::{float, median};

/// Where the far end listens.
const PORT: u16 = 4777;
/// Round trips to each home.
const ROUND_TRIPS: usize = 15;
/// How long a copy lasts before it counts, since TCP starts slowly, and how long it counts.
const WARM_UP: Duration = Duration::from_secs(2);
const COUNTED: Duration = Duration::from_secs(4);
const CHUNK_BYTES: usize = 64 * 1024;
/// How long one of them may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// How far the others are from a home, the nearest first, in milliseconds.
pub(super) struct RoundTrips(Vec<f64>);

impl RoundTrips {
    /// How many homes there are.
    pub(super) const fn homes(&self) -> usize {
        self.0.len() + 1
    }

    /// To the nearest other home, which makes a majority of three.
    pub(super) fn nearest_ms(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }
}

/// Measures the round trip from a home to every other.
///
/// # Errors
/// A connection fails.
pub(super) fn round_trips(street: &Street, from: usize, homes: usize) -> Result<RoundTrips> {
    let others = (0..homes).filter(|&other| other != from);
    let mut found = others
        .map(|to| round_trip(street, from, to))
        .collect::<Result<Vec<_>>>()?;
    found.sort_by(f64::total_cmp);
    Ok(RoundTrips(found))
}

fn round_trip(street: &Street, from: usize, to: usize) -> Result<f64> {
    between(
        street,
        (from, to),
        |mut stream| echo(&mut stream),
        |mut stream| {
            let mut took = Vec::new();
            let mut byte = [7];
            for _ in 0..ROUND_TRIPS {
                let began = Instant::now();
                stream.write_all(&byte)?;
                stream.read_exact(&mut byte)?;
                took.push(began.elapsed().as_secs_f64() * 1e3);
            }
            stream.shutdown(Shutdown::Write)?;
            median(took).context("no round trip")
        },
    )
    .map(|(_, median)| median)
}

fn echo(stream: &mut TcpStream) -> Result<()> {
    let mut byte = [0];
    while stream.read(&mut byte)? > 0 {
        stream.write_all(&byte)?;
    }
    Ok(())
}

/// Copies over one connection from a home to another; bytes per second that arrive once it is under way.
///
/// # Errors
/// A connection fails.
pub(super) fn copy(street: &Street, from: usize, to: usize) -> Result<f64> {
    let receiving = |mut stream: TcpStream| {
        let (began, mut chunk, mut counted) = (Instant::now(), vec![0; CHUNK_BYTES], 0);
        while began.elapsed() < WARM_UP + COUNTED {
            let read = stream.read(&mut chunk)?;
            if began.elapsed() > WARM_UP {
                counted += read as u64;
            }
        }
        Ok(float(counted) / (began.elapsed() - WARM_UP).as_secs_f64())
    };
    let sending = |mut stream: TcpStream| {
        let chunk = vec![7; CHUNK_BYTES];
        // It ends when the other has seen enough and closes.
        while stream.write_all(&chunk).is_ok() {}
        Ok(())
    };
    between(street, (from, to), receiving, sending).map(|(rate, ())| rate)
}

/// Connects two homes and has each end do its part.
fn between<A: Send, B: Send>(
    street: &Street,
    (from, to): (usize, usize),
    there: impl FnOnce(TcpStream) -> Result<A> + Send,
    here: impl FnOnce(TcpStream) -> Result<B> + Send,
) -> Result<(A, B)> {
    let far = street.namespace(to);
    let listener = thread::scope(|scope| {
        let listening = scope.spawn(|| -> Result<TcpListener> {
            wire::enter(&far)?;
            Ok(TcpListener::bind(("0.0.0.0", PORT))?)
        });
        listening.join()
    });
    let listener = listener
        .map_err(|_| anyhow!("the thread died"))?
        .context("listen")?;
    let (near, address) = (street.namespace(from), street.address(to));
    let ready = |stream: &TcpStream| -> Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream.set_write_timeout(Some(PATIENCE))?)
    };
    thread::scope(|scope| {
        let there = scope.spawn(|| {
            let stream = accept(&listener)?;
            ready(&stream)?;
            there(stream)
        });
        let here = scope.spawn(move || {
            wire::enter(&near)?;
            let stream = TcpStream::connect((address.as_str(), PORT)).context("connect")?;
            ready(&stream)?;
            here(stream)
        });
        let here = here.join().map_err(|_| anyhow!("the thread died"))??;
        let there = there.join().map_err(|_| anyhow!("the thread died"))??;
        Ok((there, here))
    })
}

/// Waits for the other end, which may have failed.
fn accept(listener: &TcpListener) -> Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let began = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && began.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error).context("wait for a connection"),
        }
    }
}
