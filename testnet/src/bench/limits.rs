//! Measures what the disk, the loopback and one core can do at most.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use md5::{Digest, Md5};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use tokio::runtime;
use tokio::task::JoinSet;

use super::group_sync::{GroupSync, Layout};
use super::measured::{MIB, Round, float, latencies};
use crate::client::Content;

const WRITE_BYTES: usize = 4 * 1024 * 1024;
const FILE_BYTES: u64 = 256 * 1024 * 1024;
const SEAL_BYTES: usize = 64 * 1024;
const SYNC_RECORD: usize = 4096;

/// How many times a second one thread can append 4 KiB and make it durable.
pub(crate) fn fdatasync(dir: &Path, layout: Layout, time: Duration) -> Result<f64> {
    let file = scratch(dir)?;
    let record = noise(SYNC_RECORD);
    if layout == Layout::Prewritten {
        (0..FILE_BYTES / WRITE_BYTES as u64)
            .try_for_each(|block| file.write_all_at(&noise(WRITE_BYTES), block * WRITE_BYTES as u64))
            .and_then(|()| file.sync_all())
            .context("prewrite")?;
    }
    let mut offset = 0;
    per_second(time, || {
        file.write_all_at(&record, offset)?;
        offset = (offset + SYNC_RECORD as u64) % FILE_BYTES;
        Ok(file.sync_data()?)
    })
}

/// MiB/s of 4 MiB writes, each made durable.
pub(crate) fn raw_write(dir: &Path, time: Duration) -> Result<f64> {
    let file = scratch(dir)?;
    let block = noise(WRITE_BYTES);
    let mut offset = 0;
    let rate = per_second(time, || {
        file.write_all_at(&block, offset)?;
        offset = (offset + WRITE_BYTES as u64) % (8 * FILE_BYTES);
        Ok(file.sync_data()?)
    })?;
    Ok(rate * float(WRITE_BYTES as u64) / MIB)
}

/// MiB/s of 4 MiB reads from the page cache.
pub(crate) fn raw_read(dir: &Path, time: Duration) -> Result<f64> {
    let file = scratch(dir)?;
    let mut block = noise(WRITE_BYTES);
    for offset in (0..FILE_BYTES).step_by(WRITE_BYTES) {
        file.write_all_at(&block, offset).context("write file to read")?;
    }
    let mut offset = 0;
    let rate = per_second(time, || {
        file.read_exact_at(&mut block, offset)?;
        offset = (offset + WRITE_BYTES as u64) % FILE_BYTES;
        Ok(())
    })?;
    Ok(rate * float(WRITE_BYTES as u64) / MIB)
}

/// MiB/s from one thread to another over one TCP connection on the loopback.
pub(crate) fn loopback(time: Duration) -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0").context("listen")?;
    let address = listener.local_addr().context("own address")?;
    let sender = thread::spawn(move || {
        let mut stream = TcpStream::connect(address)?;
        let block = noise(256 * 1024);
        let started = Instant::now();
        while started.elapsed() < time {
            stream.write_all(&block)?;
        }
        std::io::Result::Ok(())
    });
    let mut stream = listener.accept().context("accept")?.0;
    let mut buffer = vec![0; 256 * 1024];
    let (started, mut received) = (Instant::now(), 0);
    loop {
        match stream.read(&mut buffer).context("receive")? {
            0 => break,
            length => received += length as u64,
        }
    }
    let elapsed = started.elapsed();
    sender
        .join()
        .map_err(|_| anyhow!("sender panicked"))?
        .context("send")?;
    Ok(float(received) / MIB / elapsed.as_secs_f64())
}

/// MiB/s of MD5 on one core: every ETag needs one.
pub(crate) fn md5(time: Duration) -> Result<f64> {
    let block = noise(WRITE_BYTES);
    let mut md5 = Md5::new();
    let rate = per_second(time, || {
        md5.update(black_box(&block));
        Ok(())
    })?;
    black_box(md5.finalize());
    Ok(rate * float(WRITE_BYTES as u64) / MIB)
}

/// MiB/s of sealing 64 KiB frames on one core. ChaCha20-Poly1305 stands for XChaCha20-Poly1305, which differs by one
/// block of 64 bytes per key.
pub(crate) fn seal(time: Duration) -> Result<f64> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).map_err(|_| anyhow!("make key"))?;
    let key = LessSafeKey::new(key);
    let mut frame = noise(SEAL_BYTES);
    let rate = per_second(time, || {
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut frame);
        black_box(tag.map_err(|_| anyhow!("seal"))?.as_ref());
        Ok(())
    })?;
    Ok(rate * float(SEAL_BYTES as u64) / MIB)
}

/// Records of `size` bytes from `tasks` tasks, each waiting until its record is durable, no HTTP between.
pub(crate) fn group_sync(
    dir: &Path,
    layout: Layout,
    tasks: usize,
    size: u64,
    time: Duration,
) -> Result<Round> {
    let path = dir.join(format!("group-sync-{layout:?}"));
    let (log, writer) = GroupSync::create(&path, layout)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start runtime")?;
    let round = runtime.block_on(async {
        let record = Bytes::from(noise(usize::try_from(size).context("record size")?));
        let started = Instant::now();
        let mut running = JoinSet::new();
        for _ in 0..tasks {
            running.spawn(append_until(log.clone(), record.clone(), started + time));
        }
        drop(log);
        let mut round = Round {
            ops: 0,
            bytes: 0,
            elapsed: Duration::ZERO,
            latencies: latencies(),
            cpu: None,
        };
        while let Some(microseconds) = running.join_next().await {
            for latency in microseconds.context("append task")?? {
                round.ops += 1;
                round.bytes += size;
                round.latencies.saturating_record(latency);
            }
        }
        round.elapsed = started.elapsed();
        anyhow::Ok(round)
    })?;
    writer.join()?;
    // A prewritten file has its fixed length and is taken over next time; an appended one would fill the disk.
    if layout == Layout::Appending {
        std::fs::remove_file(&path).context("remove appended file")?;
    }
    Ok(round)
}

/// Appends one record after the other; returns the microseconds each took.
async fn append_until(log: GroupSync, record: Bytes, end: Instant) -> Result<Vec<u64>> {
    let mut taken = Vec::new();
    while Instant::now() < end {
        let asked = Instant::now();
        let mut rest = record.clone();
        while rest.len() > WRITE_BYTES {
            log.write(rest.split_to(WRITE_BYTES)).await?;
        }
        log.commit(rest).await?;
        taken.push(u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    Ok(taken)
}

/// Repeats `step` for `time`; returns how often a second it ran.
fn per_second(time: Duration, mut step: impl FnMut() -> Result<()>) -> Result<f64> {
    let (started, mut count) = (Instant::now(), 0);
    while started.elapsed() < time {
        step()?;
        count += 1;
    }
    Ok(float(count) / started.elapsed().as_secs_f64())
}

/// A nameless file on the measured disk.
fn scratch(dir: &Path) -> Result<File> {
    let path = dir.join("scratch");
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path);
    let file = file.context("create scratch file")?;
    std::fs::remove_file(&path).context("unlink scratch file")?;
    Ok(file)
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    Content {
        seed: 1,
        len: bytes as u64,
    }
    .fill(0, &mut noise);
    noise
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[test]
    fn every_limit_can_be_measured() {
        let dir = tempfile::tempdir().unwrap();
        for rate in [
            fdatasync(dir.path(), Layout::Appending, SHORT),
            raw_write(dir.path(), SHORT),
            raw_read(dir.path(), SHORT),
            loopback(SHORT),
            md5(SHORT),
            seal(SHORT),
        ] {
            assert!(rate.unwrap() > 0.0);
        }
    }

    #[test]
    fn every_task_of_a_group_gets_its_records_through() {
        let dir = tempfile::tempdir().unwrap();
        let round = group_sync(dir.path(), Layout::Appending, 3, 5_000_000, SHORT).unwrap();
        // How many depends on the machine.
        assert!(round.ops >= 1);
        assert_eq!(round.bytes, round.ops * 5_000_000);
        assert_eq!(round.latencies.len(), round.ops);
    }
}
