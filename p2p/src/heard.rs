//! Gives strangers their turns to be heard: many at once, and of each only a few, so that nobody waits for another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use libp2p::PeerId;

use crate::gate::GUESTS_MAX;
use crate::locked::locked;

/// Turns of one stranger at once: who lost a connection asks again while its last turn is not over yet.
const TURNS_MAX: usize = 4;
/// Turns of all: each that the gate lets in finds its own.
const ALL_MAX: usize = GUESTS_MAX * TURNS_MAX;

/// Who is being heard, and how often.
#[derive(Clone, Default)]
pub(crate) struct Heard {
    turns: Arc<Mutex<HashMap<PeerId, usize>>>,
}

impl Heard {
    /// A turn, unless this peer has too many, or all are taken; who is honest tries again.
    pub(crate) fn turn(&self, peer: PeerId) -> Option<Turn> {
        let mut turns = locked(&self.turns);
        let all: usize = turns.values().sum();
        let own = turns.get(&peer).copied().unwrap_or_default();
        if all >= ALL_MAX || own >= TURNS_MAX {
            return None;
        }
        turns.insert(peer, own + 1);
        let heard = self.clone();
        Some(Turn { heard, peer })
    }
}

/// Held while a peer is heard.
pub(crate) struct Turn {
    heard: Heard,
    peer: PeerId,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = locked(&self.heard.turns);
        if let Some(own) = turns.get_mut(&self.peer) {
            *own = own.saturating_sub(1);
        }
        turns.retain(|_, own| *own > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_heard_a_few_times_at_once_and_each_guest_finds_a_turn() {
        let (heard, one) = (Heard::default(), PeerId::random());
        let mut turns: Vec<_> = (0..100).filter_map(|_| heard.turn(one)).collect();
        assert_eq!(turns.len(), TURNS_MAX);
        let others: Vec<_> = (1..GUESTS_MAX)
            .flat_map(|_| {
                let other = PeerId::random();
                (0..100).filter_map(|_| heard.turn(other)).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(others.len(), ALL_MAX - TURNS_MAX);
        assert!(heard.turn(PeerId::random()).is_none());
        turns.pop();
        assert!(heard.turn(one).is_some());
    }
}
