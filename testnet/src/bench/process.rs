//! Runs a server as a child process and reads what it costs from the kernel.

use std::fs;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// The unit of times in `/proc/PID/stat`: Linux shows user space 100 ticks a second whatever the kernel uses.
const TICKS_PER_SECOND: u32 = 100;
const STOP_WITHIN: Duration = Duration::from_secs(20);
const SETTLE_WITHIN: Duration = Duration::from_secs(60);
const SETTLE_WINDOW: Duration = Duration::from_secs(2);

/// A child process, killed when dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts the command.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        let child = command
            .spawn()
            .with_context(|| format!("start {:?}", command.get_program()))?;
        Ok(Self { child })
    }

    /// The child, to take its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// User and system time used since it started, by all its threads; to 10 ms.
    ///
    /// # Errors
    /// The process is gone.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(self.proc("stat")).context("read process times")?;
        parse_cpu(&stat).context("parse process times")
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// The process is gone.
    pub(crate) fn rss(&self) -> Result<u64> {
        let status = fs::read_to_string(self.proc("status")).context("read process memory")?;
        parse_rss(&status).context("parse process memory")
    }

    /// Waits until the process has used less than 1 % of a core for two seconds.
    ///
    /// # Errors
    /// The process is gone, or still busy after a minute.
    pub(crate) fn settle(&self) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < SETTLE_WITHIN {
            let before = self.cpu()?;
            thread::sleep(SETTLE_WINDOW);
            if self.cpu()? - before <= SETTLE_WINDOW / 100 {
                return Ok(());
            }
        }
        anyhow::bail!("the server is still busy {SETTLE_WITHIN:?} after the load")
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// Its state cannot be read.
    pub(crate) fn running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().context("read process state")?.is_none())
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Errors
    /// It does not stop, or reports failure.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).context("signal the server")?;
        let asked = Instant::now();
        while asked.elapsed() < STOP_WITHIN {
            if let Some(status) = self.child.try_wait().context("wait for the server")? {
                ensure!(status.success(), "the server stopped with {status}");
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        anyhow::bail!("the server did not stop within {STOP_WITHIN:?}")
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(self) {
        drop(self);
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the child has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse_cpu(stat: &str) -> Option<Duration> {
    // The second field is the program's name in parentheses and may hold anything; utime and stime are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let ticks: u32 = fields.next()?.parse::<u32>().ok()? + fields.next()?.parse::<u32>().ok()?;
    Some(Duration::from_secs(1) * ticks / TICKS_PER_SECOND)
}

fn parse_rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_program_name() {
        let stat = "4242 (a) b ( c)) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 8 0 100 200 300";
        assert_eq!(parse_cpu(stat), Some(Duration::from_secs(2)));
        assert_eq!(parse_cpu("4242 (cut"), None);
    }

    #[test]
    fn resident_memory_is_given_in_kibibytes() {
        assert_eq!(
            parse_rss("VmHWM:\t  9 kB\nVmRSS:\t   2048 kB\n"),
            Some(2 * 1024 * 1024)
        );
        assert_eq!(parse_rss("VmHWM: 9 kB"), None);
    }

    #[test]
    fn a_process_has_times_and_memory_until_it_is_killed() {
        let mut process = Process::spawn(Command::new("sleep").arg("60")).unwrap();
        assert!(process.running().unwrap());
        process.cpu().unwrap();
        process.kill();
    }
}
