//! Whole stores that are one mesh, in simulated worlds: each schedule is repeatable by its seed.

mod network;
mod world;

pub(crate) use world::run;
