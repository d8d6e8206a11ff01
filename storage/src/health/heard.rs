//! Asks the other members how they are, and remembers what they said last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::account;
use super::copies::{self, Copies, Said, World};
use super::report::{self, Report};
use crate::cluster::peers::Class;
use crate::model::{MemberId, Timestamp};
use crate::store::Inner;
use crate::{Store, StoreError};

/// How often all are asked, so that it is known how somebody was who goes away.
const EVERY: Duration = Duration::from_secs(30);
/// How often, until anybody has answered: nothing that was ever locked goes before that.
const SOON: Duration = Duration::from_secs(1);
/// How long a member is given to look at its disk.
const PATIENCE: Duration = Duration::from_secs(3);

/// What other members said last, since this one started.
#[derive(Default)]
pub(crate) struct Memory(Mutex<BTreeMap<MemberId, Said>>);

impl Memory {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<MemberId, Said>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what was said now, and forgets who is no member any more. Whoever said nothing now is not `now`.
    fn take(&self, members: &[MemberId], said: Vec<(MemberId, Said)>) -> BTreeMap<MemberId, Said> {
        let mut memory = self.lock();
        memory.retain(|member, _| members.contains(member));
        memory.values_mut().for_each(|said| said.now = false);
        memory.extend(said);
        memory.clone()
    }
}

/// Answers whoever asks how this member is.
///
/// # Errors
/// The disk fails.
pub(crate) async fn answer(inner: &Inner) -> Result<Bytes, StoreError> {
    Ok(report::encode(&account::report(inner).await?))
}

/// Asks all now and then, until stopped.
pub(crate) async fn run(inner: Weak<Inner>, stop: CancellationToken) {
    let mut wait = SOON;
    while stop.run_until_cancelled(sleep(wait)).await.is_some() {
        let Some(inner) = inner.upgrade() else { return };
        if stop.run_until_cancelled(ask_all(&inner)).await.is_none() {
            return;
        }
        wait = if inner.partitions.clock().is_known() {
            EVERY
        } else {
            SOON
        };
    }
}

/// What every other member says now, or said last.
async fn ask_all(inner: &Arc<Inner>) -> BTreeMap<MemberId, Said> {
    let others = inner.others();
    let here = inner.peers.nearest(&others);
    let asking = here.into_iter().map(|member| async move {
        let asked = inner.peers.call(member, Class::Metadata, report::question());
        let answer = timeout(PATIENCE, asked).await.ok()?.ok()?;
        let report = report::decode(&answer);
        let report = report.inspect_err(|error| debug!(%member, %error, "not understood"));
        let said = Said {
            report: report.ok()?,
            at: Timestamp::now(),
            now: true,
        };
        Some((member, said))
    });
    let said = join_all(asking).await.into_iter().flatten().collect();
    let said = inner.memory_of_health.take(&others, said);
    let now = |(member, said): (&MemberId, &Said)| Some((*member, said.report.clock.filter(|_| said.now)?));
    inner
        .partitions
        .clock()
        .hear(&others, said.iter().filter_map(now));
    said
}

/// What the clocks of the other members say, as far as they answer now. A moment passes until it is known here.
pub(crate) async fn clocks(inner: &Arc<Inner>) -> Vec<Timestamp> {
    let said = ask_all(inner).await.into_values();
    said.filter(|said| said.now)
        .filter_map(|said| said.report.clock)
        .collect()
}

impl Inner {
    /// What all members say of themselves now; nothing of those that say nothing.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) async fn ask_how_all_are(
        self: &Arc<Self>,
    ) -> Result<BTreeMap<MemberId, Option<Report>>, StoreError> {
        let (mut said, own) = futures_util::join!(ask_all(self), account::report(self));
        said.retain(|_, said| said.now);
        let others = self.others().into_iter();
        let mut all: BTreeMap<_, _> = others
            .map(|member| (member, said.remove(&member).map(|said| said.report)))
            .collect();
        all.insert(self.me, Some(own?));
        Ok(all)
    }
}

impl Store {
    /// How many copies there are of everything, and what is missing where, by what all members say now. Waits a moment for
    /// those that are here.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn copies(&self) -> Result<Copies, StoreError> {
        let inner = &self.0;
        let (mut said, own) = futures_util::join!(ask_all(inner), account::report(inner));
        let own = Said {
            report: own?,
            at: Timestamp::now(),
            now: true,
        };
        said.insert(inner.me, own);
        let view = inner.mesh.view();
        let mut members: BTreeMap<MemberId, _> = view
            .members
            .iter()
            .map(|(member, row)| (*member, row.value.clone()))
            .collect();
        if members.is_empty() {
            members.insert(inner.me, inner.node.clone());
        }
        Ok(copies::copies(&World {
            me: inner.me,
            members: &members,
            assignment: view
                .assignment
                .as_ref()
                .map(|assignment| (assignment.version, &assignment.value)),
            said: &said,
        }))
    }
}
