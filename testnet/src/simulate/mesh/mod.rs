//! Whole stores that are one mesh, in simulated worlds: each schedule is repeatable by its seed.

mod network;
mod world;

pub(crate) use world::run;

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn a_seed_repeats_every_change_of_every_disk_and_every_answer() {
        assert_eq!(run(1), run(1));
    }
}
