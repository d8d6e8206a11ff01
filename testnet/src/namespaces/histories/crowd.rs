//! The clients of all boxes: started together, and ended together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Result, anyhow};

use super::super::tamper::Tampered;
use super::super::town::Town;
use super::client::Client;
use super::record::Record;
use crate::dice::Dice;

/// Clients of each box.
const CLIENTS: usize = 2;

/// The clients of all boxes, members or not.
pub(crate) struct Crowd {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Crowd {
    /// Starts clients at every box, member or not.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn start(town: &Town, record: &Arc<Record>, seed: u64) -> Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut dice = Dice::new(seed ^ 1);
        let mut threads = Vec::new();
        for number in 0..town.seats.len() * CLIENTS {
            let seat = number / CLIENTS;
            let at = &town.seats[seat];
            let client = Client {
                seat,
                number,
                namespace: at.home.namespace().to_owned(),
                signer: town.signer.clone(),
                clock: at.tampered.as_ref().map(Tampered::share).transpose()?,
                record: Arc::clone(record),
                dice: dice.another(),
            };
            let over = Arc::clone(&is_over);
            threads.push(thread::spawn(move || client.run(&over)));
        }
        Ok(Self { is_over, threads })
    }

    /// Ends them, each after its operation.
    ///
    /// # Errors
    /// One could not enter the namespace of its box.
    pub(crate) fn stop(self) -> Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        for client in self.threads {
            client.join().map_err(|_| anyhow!("a client died"))??;
        }
        Ok(())
    }
}
