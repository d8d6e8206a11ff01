//! A world that follows from one seed: its clock, its random numbers and who goes first.
//!
//! A world is one future on one thread, with a tokio runtime of its own whose time is paused: it passes at once to the
//! next moment at which anything happens. Inside, [`Timestamp::now`](crate::model::Timestamp::now) says the world's
//! time, all random bytes come from its seed, and simulated disks let a seed decide how long each step takes. Any number
//! of simulated stores may live in one world; each has a medium of its own.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

pub use crate::disk::SimulatedLayout;
use crate::disk::fault::Random;
pub use crate::store::SimulatedOptions;

/// Milliseconds since 1970 at which every world begins: 2026-01-01.
const BEGAN_MILLIS: u64 = 1_767_225_600_000;
/// The longest a step of a simulated disk takes, in milliseconds.
const STEP_MILLIS_MAX: usize = 20;

struct World {
    random: Random,
    began: Instant,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// Ends the world of this thread, however its future ends.
struct Ends;

impl Drop for Ends {
    fn drop(&mut self) {
        WORLD.with_borrow_mut(|world| *world = None);
    }
}

/// Runs `world` to its end in a world of its own. Equal seeds give equal runs, if `world` itself depends on nothing
/// else: no threads, no hash maps in random order, no other clock.
///
/// # Errors
/// The system gives no runtime.
pub fn run<T>(seed: u64, world: impl Future<Output = T>) -> io::Result<T> {
    let _ends = Ends;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    Ok(runtime.block_on(async {
        let (random, began) = (Random(seed), Instant::now());
        WORLD.with_borrow_mut(|slot| *slot = Some(World { random, began }));
        world.await
    }))
}

/// Milliseconds since 1970 by the clock of this thread's world; `None` outside of one.
pub(crate) fn millis() -> Option<u64> {
    with(|world| BEGAN_MILLIS + u64::try_from(world.began.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// Fills `bytes` from the seed of this thread's world; false outside of one.
pub(crate) fn fill(bytes: &mut [u8]) -> bool {
    with(|world| {
        for piece in bytes.chunks_mut(8) {
            piece.copy_from_slice(&world.random.next_u64().to_le_bytes()[..piece.len()]);
        }
    })
    .is_some()
}

/// Lets others go first for as long as the seed says: often not at all, sometimes for milliseconds.
pub(crate) async fn pause() {
    match with(|world| (world.random.below(8), world.random.below(STEP_MILLIS_MAX))) {
        None | Some((0..=2, _)) => {}
        Some((3..=5, _)) => tokio::task::yield_now().await,
        Some((_, millis)) => tokio::time::sleep(Duration::from_millis(millis as u64 + 1)).await,
    }
}

fn with<T>(act: impl FnOnce(&mut World) -> T) -> Option<T> {
    WORLD.with_borrow_mut(|world| world.as_mut().map(act))
}
