//! Chooses the members of every partition at once: as many copies as asked for, at the least cost.

use super::flow::Network;
use super::holders::Holders;
use crate::model::{MemberId, Partition};

/// A member to choose.
pub(super) struct Place {
    pub(super) member: MemberId,
    /// The number of its zone.
    pub(super) zone: usize,
    /// What the partitions it gets cost, the first ones first; tiers must not become cheaper.
    pub(super) tiers: Vec<Tier>,
}

/// Copies of one price.
pub(super) struct Tier {
    /// How many.
    pub(super) copies: usize,
    /// What each of them costs.
    pub(super) cost: i64,
}

/// What a partition asks for.
pub(super) struct Wish {
    /// How many members.
    pub(super) copies: usize,
    /// What using each zone costs, by the number of the zone; tiers as for a place.
    pub(super) zones: Vec<Vec<Tier>>,
    /// Those it may use, by their number among the places, and what each costs.
    pub(super) options: Vec<(usize, i64)>,
}

/// Fulfils as many wishes as can be; of all ways to do so, one of the cheapest.
pub(super) fn spread(places: &[Place], wish: impl Fn(Partition) -> Wish) -> Holders {
    let (source, sink) = (0, 1);
    let mut network = Network::new(2);
    let loads: Vec<_> = places.iter().map(|_| network.node()).collect();
    for (place, &load) in places.iter().zip(&loads) {
        for tier in &place.tiers {
            network.arc(load, sink, tier.copies, tier.cost);
        }
    }
    let mut chosen_if_used = Vec::new();
    for partition in Partition::all() {
        let wish = wish(partition);
        let start = network.node();
        network.arc(source, start, wish.copies, 0);
        let mut zones = vec![None; wish.zones.len()];
        let mut arcs = Vec::new();
        for (place, cost) in wish.options {
            let zone = places[place].zone;
            let inside = *zones[zone].get_or_insert_with(|| {
                let inside = network.node();
                for tier in &wish.zones[zone] {
                    network.arc(start, inside, tier.copies, tier.cost);
                }
                inside
            });
            arcs.push((network.arc(inside, loads[place], 1, cost), places[place].member));
        }
        chosen_if_used.push(arcs);
    }
    network.fill(source, sink);
    Holders::from_fn(|partition| {
        let arcs = &chosen_if_used[usize::from(partition.0)];
        let used = arcs.iter().filter(|(arc, _)| network.flow(*arc) > 0);
        used.map(|(_, member)| *member).collect()
    })
}
