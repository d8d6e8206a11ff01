//! What a seed decides about a schedule before it begins: how the store is laid out, and what will go wrong when.

use storage::disk::fault::Random;
use storage::disk::medium::Medium;
use storage::model::Folding;
use storage::simulation::{SimulatedLayout, SimulatedOptions};

use std::sync::Arc;
use std::time::Duration;

/// A store, its clients and its misfortunes.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(super) seed: u64,
    layout: SimulatedLayout,
    inline_bytes: usize,
    pub(super) block_bytes: usize,
    manifest_bytes: usize,
    pub(super) part_bytes_min: usize,
    hot: u64,
    /// One of the buckets keeps versions.
    pub(super) keeps_versions: bool,
    folding: Folding,
    /// Several boxes serve the clients.
    pub(super) in_mesh: bool,
    /// Clients at a time.
    pub(crate) clients: usize,
    /// The names of keys they use.
    pub(super) keys: usize,
    /// The store's lives; each ends in its own way.
    pub(super) lives: Vec<Life>,
}

/// The time from a start of the store to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// The power goes this many changes of the disk after the start begins, and the start is tried again.
    pub(super) cut_while_opening: Option<u64>,
    /// Calls that each client makes, if it comes to that.
    pub(super) calls: usize,
    pub(super) fault: Fault,
    pub(super) end: End,
}

/// What goes wrong while clients are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Nothing,
    /// The disk has room for so many bytes more, from one moment to another.
    Full {
        from: Duration,
        to: Duration,
        room: u64,
    },
    /// The sync after so many fails.
    FailedSync(u64),
}

/// How a life of the store ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// In order, when the clients are done.
    Closed,
    /// The power goes at a moment, or when the clients are done.
    PowerCut(Duration),
    /// The power goes in the middle of a change of the disk.
    PowerCutAtChange(u64),
    /// The process is killed at a moment; what it wrote is there.
    Killed(Duration),
}

impl Plan {
    /// A plan of several boxes.
    pub(crate) fn of_mesh(seed: u64) -> Self {
        Self {
            in_mesh: true,
            hot: 0,
            layout: SimulatedLayout {
                row_segment_bytes: 256 << 10,
                block_segment_bytes: 64 << 10,
                accept_loss: false,
            },
            ..Self::of_seed(seed)
        }
    }

    /// What everything follows from.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Keys that clients use in each bucket.
    pub(crate) fn keys(&self) -> usize {
        self.keys
    }

    pub(super) fn of_seed(seed: u64) -> Self {
        let mut dice = Random(seed ^ 0x005E_ED0F_91A4);
        let one_of = |dice: &mut Random, choices: &[usize]| choices[dice.below(choices.len())];
        let inline_bytes = one_of(&mut dice, &[0, 64, 512]);
        let lives = 1 + dice.below(4);
        Self {
            seed,
            layout: SimulatedLayout {
                row_segment_bytes: one_of(&mut dice, &[2 << 10, 8 << 10, 32 << 10]) as u64,
                block_segment_bytes: one_of(&mut dice, &[4 << 10, 16 << 10, 64 << 10]) as u64,
                accept_loss: false,
            },
            inline_bytes,
            block_bytes: one_of(&mut dice, &[256, 1024, 3000]),
            manifest_bytes: one_of(&mut dice, &[200, 1000]),
            part_bytes_min: 100,
            // Thrown apart, so that the other schedules stay what they were.
            keeps_versions: Random(seed ^ 0x4E25_1005).below(3) == 0,
            folding: match Random(seed ^ 0x0F01_D1E5).below(3) {
                0 => Folding::PRODUCT,
                _ => Folding { at: 1500, keep: 500 },
            },
            in_mesh: false,
            hot: one_of(&mut dice, &[0, 256 << 20]) as u64,
            clients: 1 + dice.below(4),
            keys: 2 + dice.below(5),
            lives: (0..lives).map(|_| Life::random(&mut dice)).collect(),
        }
    }

    /// How the store is opened on this disk.
    pub(crate) fn options(&self, medium: Arc<dyn Medium>) -> SimulatedOptions {
        SimulatedOptions {
            medium,
            layout: self.layout,
            keys: self.seed,
            inline_bytes: self.inline_bytes,
            block_bytes: self.block_bytes,
            manifest_bytes: self.manifest_bytes,
            part_bytes_min: self.part_bytes_min as u64,
            folding: self.folding,
            hot: self.hot,
            membership: storage::Membership::alone(),
        }
    }
}

impl Life {
    fn random(dice: &mut Random) -> Self {
        let millis = |dice: &mut Random, most: usize| Duration::from_millis(dice.below(most) as u64);
        let cut_while_opening = (dice.below(6) == 0).then(|| dice.below(30) as u64);
        let fault = match dice.below(6) {
            0 => {
                let from = millis(dice, 400);
                Fault::Full {
                    from,
                    to: from + millis(dice, 600),
                    room: dice.below(20_000) as u64,
                }
            }
            1 => Fault::FailedSync(dice.below(80) as u64),
            _ => Fault::Nothing,
        };
        let end = match dice.below(8) {
            0 => End::Closed,
            1..=3 => End::PowerCut(millis(dice, 1500)),
            4..=5 => End::PowerCutAtChange(dice.below(300) as u64),
            _ => End::Killed(millis(dice, 1500)),
        };
        Self {
            cut_while_opening,
            calls: 4 + dice.below(16),
            fault,
            end,
        }
    }
}
