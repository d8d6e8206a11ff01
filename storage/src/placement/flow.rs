//! The cheapest way to send as much as possible through a network of arcs with capacities and costs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

const UNREACHED: i64 = i64::MAX;

struct Arc {
    to: usize,
    room: usize,
    cost: i64,
}

/// A directed network; nodes are numbers.
pub(super) struct Network {
    /// Each arc is followed by its reverse, so that `arc ^ 1` is the way back.
    arcs: Vec<Arc>,
    leaving: Vec<Vec<usize>>,
    /// Price of a node: an arc's cost plus the price of its tail minus that of its head is never negative.
    prices: Vec<i64>,
}

impl Network {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            arcs: Vec::new(),
            leaving: vec![Vec::new(); nodes],
            prices: vec![0; nodes],
        }
    }

    /// Adds a node and returns its number.
    pub(super) fn node(&mut self) -> usize {
        self.leaving.push(Vec::new());
        self.prices.push(0);
        self.leaving.len() - 1
    }

    /// Adds an arc of a cost that is not negative, and returns its number.
    pub(super) fn arc(&mut self, from: usize, to: usize, capacity: usize, cost: i64) -> usize {
        let arc = self.arcs.len();
        self.leaving[from].push(arc);
        self.leaving[to].push(arc + 1);
        self.arcs.push(Arc {
            to,
            room: capacity,
            cost,
        });
        self.arcs.push(Arc {
            to: from,
            room: 0,
            cost: -cost,
        });
        arc
    }

    /// What flows through an arc.
    pub(super) fn flow(&self, arc: usize) -> usize {
        self.arcs[arc ^ 1].room
    }

    /// Sends as much as possible; of all such flows, one of the cheapest.
    ///
    /// Primal-dual: prices make the cheapest ways free, and everything that fits through free arcs is sent
    /// before the next round of prices. Costs here take few values, so there are few rounds.
    pub(super) fn fill(&mut self, source: usize, sink: usize) {
        while self.reprice(source, sink) {
            while self.sweep(source, sink) {}
        }
    }

    /// Makes the cheapest ways from source to sink free; false when there is no way left. (Dijkstra)
    fn reprice(&mut self, source: usize, sink: usize) -> bool {
        let mut distances = vec![UNREACHED; self.leaving.len()];
        let mut open = BinaryHeap::from([Reverse((0, source))]);
        distances[source] = 0;
        while let Some(Reverse((distance, node))) = open.pop() {
            if node == sink {
                break;
            }
            if distance > distances[node] {
                continue;
            }
            for &arc in &self.leaving[node] {
                let to = self.arcs[arc].to;
                let through = distance + self.price_of(node, arc);
                if self.arcs[arc].room > 0 && through < distances[to] {
                    distances[to] = through;
                    open.push(Reverse((through, to)));
                }
            }
        }
        let reach = distances[sink];
        if reach == UNREACHED {
            return false;
        }
        // Nodes farther than the sink were not all settled; the same rise for all keeps their arcs valid.
        for (price, distance) in self.prices.iter_mut().zip(distances) {
            *price += distance.min(reach);
        }
        true
    }

    /// What an arc costs beyond the difference of prices; zero on a cheapest way.
    fn price_of(&self, from: usize, arc: usize) -> i64 {
        self.arcs[arc].cost + self.prices[from] - self.prices[self.arcs[arc].to]
    }

    /// Sends along free arcs; false if nothing was sent, which is when there is no such way left.
    ///
    /// A node that led nowhere is not tried again in the same sweep. It may have led only to a node on the way
    /// to itself, so only a sweep that sends nothing is the last.
    fn sweep(&mut self, source: usize, sink: usize) -> bool {
        let mut seen = vec![false; self.leaving.len()];
        let mut tried = vec![0; self.leaving.len()];
        let mut sent = false;
        while let Some(path) = self.free_path(source, sink, &mut seen, &mut tried) {
            self.send(&path);
            sent = true;
            for arc in path {
                seen[self.arcs[arc].to] = false;
                // The arc may have room left.
                tried[self.arcs[arc ^ 1].to] -= 1;
            }
        }
        sent
    }

    /// The arcs of one way along free arcs with room, by depth first. `tried` counts the arcs of a node behind it.
    fn free_path(
        &self,
        source: usize,
        sink: usize,
        seen: &mut [bool],
        tried: &mut [usize],
    ) -> Option<Vec<usize>> {
        let mut path: Vec<usize> = Vec::new();
        let mut node = source;
        seen[source] = true;
        while node != sink {
            let untried = &self.leaving[node][tried[node]..];
            let next = untried.iter().position(|&arc| {
                self.arcs[arc].room > 0 && !seen[self.arcs[arc].to] && self.price_of(node, arc) == 0
            });
            if let Some(skipped) = next {
                path.push(untried[skipped]);
                tried[node] += skipped + 1;
                node = self.arcs[untried[skipped]].to;
                seen[node] = true;
            } else {
                node = self.arcs[path.pop()? ^ 1].to;
            }
        }
        Some(path)
    }

    fn send(&mut self, path: &[usize]) {
        let amount = path.iter().map(|&arc| self.arcs[arc].room).min().unwrap_or(0);
        for &arc in path {
            self.arcs[arc].room -= amount;
            self.arcs[arc ^ 1].room += amount;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sends_all_it_can_and_takes_the_cheap_way_first() {
        let mut network = Network::new(4);
        let cheap = network.arc(0, 1, 2, 1);
        let dear = network.arc(0, 2, 5, 3);
        network.arc(1, 3, 3, 0);
        let narrow = network.arc(2, 3, 1, 0);
        let across = network.arc(2, 1, 9, 0);
        network.fill(0, 3);
        assert_eq!(
            [cheap, dear, narrow, across].map(|arc| network.flow(arc)),
            [2, 2, 1, 1]
        );
    }

    /// The cheapest of all ways to give each worker its own task, by trying all.
    fn cheapest(costs: &[Vec<i64>], taken: &mut Vec<usize>) -> i64 {
        let Some(row) = costs.get(taken.len()) else {
            return 0;
        };
        let free: Vec<_> = (0..row.len()).filter(|task| !taken.contains(task)).collect();
        free.into_iter()
            .map(|task| {
                taken.push(task);
                let rest = cheapest(costs, taken);
                taken.pop();
                row[task] + rest
            })
            .min()
            .unwrap()
    }

    proptest! {
        #[test]
        fn finds_the_cheapest_matching(costs in proptest::collection::vec(proptest::collection::vec(0i64..20, 5), 5)) {
            let mut network = Network::new(12);
            let mut arcs = Vec::new();
            for (worker, row) in costs.iter().enumerate() {
                network.arc(0, 1 + worker, 1, 0);
                network.arc(6 + worker, 11, 1, 0);
                for (task, &cost) in row.iter().enumerate() {
                    arcs.push((network.arc(1 + worker, 6 + task, 1, cost), cost));
                }
            }
            network.fill(0, 11);
            let paid: i64 = arcs.iter().filter(|(arc, _)| network.flow(*arc) == 1).map(|(_, cost)| cost).sum();
            prop_assert_eq!(paid, cheapest(&costs, &mut Vec::new()));
        }
    }
}
