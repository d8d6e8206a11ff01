//! The network between simulated stores: it delays, loses, repeats and cuts, as its seed says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use storage::disk::fault::Random;
use storage::model::MemberId;
use storage::{Class, PeerError, Peers, Store};
use tokio::time::sleep;

/// How long a caller waits for an answer that does not come.
const SILENCE: Duration = Duration::from_millis(300);
/// How much later than a request about blocks a copy of it may come, in milliseconds.
const COPY_LATER_MAX: usize = 20_000;

/// The network. Cloning gives another handle.
#[derive(Clone)]
pub(super) struct Network(Arc<Mutex<State>>);

struct State {
    dice: Random,
    stores: BTreeMap<MemberId, Store>,
    cuts: BTreeSet<(MemberId, MemberId)>,
    /// One message in so many is lost, or arrives twice; never where it is 0.
    loss: usize,
    /// The longest a message takes, in milliseconds.
    delay: usize,
    faults: u64,
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Random(seed);
        let loss = [0, 40, 12][dice.below(3)];
        let delay = [2, 20, 80][dice.below(3)];
        Self(Arc::new(Mutex::new(State {
            dice,
            stores: BTreeMap::new(),
            cuts: BTreeSet::new(),
            loss,
            delay,
            faults: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A store answers from now on.
    pub(super) fn join(&self, member: MemberId, store: Store) {
        self.state().stores.insert(member, store);
    }

    /// A store is gone.
    pub(super) fn leave(&self, member: MemberId) {
        self.state().stores.remove(&member);
    }

    /// Nothing passes between two members any more, or everything does again.
    pub(super) fn toggle(&self, a: MemberId, b: MemberId) {
        let mut state = self.state();
        let pair = (a.min(b), a.max(b));
        if !state.cuts.remove(&pair) {
            state.cuts.insert(pair);
            state.faults += 1;
        }
    }

    /// Every link holds again; messages are lost as before.
    pub(super) fn calm(&self) {
        self.state().cuts.clear();
    }

    /// From now on everything arrives once.
    pub(super) fn heal(&self) {
        let mut state = self.state();
        state.cuts.clear();
        state.loss = 0;
    }

    /// Messages lost or repeated, and links cut.
    pub(super) fn faults(&self) -> u64 {
        self.state().faults
    }

    /// The way of a member to the others.
    pub(super) fn line(&self, me: MemberId) -> Arc<dyn Peers> {
        Arc::new(Line {
            me,
            network: self.clone(),
        })
    }

    fn reach(&self, from: MemberId, to: MemberId) -> Option<Store> {
        let state = self.state();
        let is_cut = state.cuts.contains(&(from.min(to), from.max(to)));
        // Whoever is down hears nothing, and says nothing.
        let is_up = state.stores.contains_key(&from);
        state.stores.get(&to).filter(|_| is_up && !is_cut).cloned()
    }

    /// Has a copy of a request arrive when nobody expects it any more.
    async fn copy_later(self, (from, to): (MemberId, MemberId), request: Bytes) {
        let later = self.state().dice.below(COPY_LATER_MAX) as u64;
        sleep(Duration::from_millis(later)).await;
        if let Some(store) = self.reach(from, to) {
            // Nobody waits for the answer.
            drop(store.answer(from, &request).await);
        }
    }

    /// How long one way takes, and whether the message is lost or repeated.
    fn fate(&self) -> (Duration, Fate) {
        let mut state = self.state();
        let delay = state.delay;
        let millis = state.dice.below(delay) as u64;
        let fate = match state.loss {
            0 => Fate::Arrives,
            loss => match state.dice.below(2 * loss) {
                0 => Fate::Lost,
                1 => Fate::Twice,
                _ => Fate::Arrives,
            },
        };
        state.faults += u64::from(fate != Fate::Arrives);
        (Duration::from_millis(millis), fate)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrives,
    Lost,
    Twice,
}

struct Line {
    me: MemberId,
    network: Network,
}

impl Peers for Line {
    fn call(
        &self,
        to: MemberId,
        class: Class,
        request: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let (me, network) = (self.me, self.network.clone());
        Box::pin(async move {
            let (delay, fate) = network.fate();
            if class == Class::Block && fate == Fate::Twice {
                tokio::spawn(network.clone().copy_later((me, to), request.clone()));
            }
            sleep(delay).await;
            let target = network.reach(me, to).filter(|_| fate != Fate::Lost);
            let Some(store) = target else {
                sleep(SILENCE).await;
                return Err(PeerError::NoAnswer(to));
            };
            let mut answer = store.answer(me, &request).await;
            if fate == Fate::Twice {
                answer = store.answer(me, &request).await;
            }
            let (delay, fate) = network.fate();
            sleep(delay).await;
            match answer {
                Ok(answer) if fate != Fate::Lost && network.reach(me, to).is_some() => Ok(answer),
                _ => {
                    sleep(SILENCE).await;
                    Err(PeerError::NoAnswer(to))
                }
            }
        })
    }

    fn nearest(&self, of: &[MemberId]) -> Vec<MemberId> {
        let members = of.iter().copied();
        members
            .filter(|to| self.network.reach(self.me, *to).is_some())
            .collect()
    }
}
