//! What becomes of one request, from its arrival to the last piece of its response.

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;

use crate::access_log::{Ended, Entry};
use crate::meter::{Done, Meter, UNKNOWN};

/// What is known of a request as soon as it is understood.
#[derive(Debug)]
pub(crate) struct About {
    /// What it asks for, as S3 names it.
    pub(crate) operation: &'static str,
    /// What the access log of its bucket is to say.
    pub(crate) entry: Option<Box<Entry>>,
}

impl Default for About {
    fn default() -> Self {
        Self {
            operation: UNKNOWN,
            entry: None,
        }
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) meter: Arc<Meter>,
    pub(crate) begun: Instant,
    pub(crate) about: About,
    pub(crate) status: StatusCode,
    /// Bytes of the response's body that were handed over.
    pub(crate) sent: u64,
}

impl Account {
    /// Notes that the request is over, of whose body so many bytes were read.
    pub(crate) fn close(&mut self, received: u64) {
        let took = self.begun.elapsed();
        let (operation, status, sent) = (self.about.operation, self.status, self.sent);
        self.meter.count(&Done {
            operation,
            status,
            took,
            received,
            sent,
        });
        if let Some(entry) = &self.about.entry {
            entry.close(&Ended {
                operation,
                status,
                sent,
                took,
                received,
            });
        }
    }
}
