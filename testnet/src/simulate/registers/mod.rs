//! Dense random schedules of the real register code: faults, crashes, takeovers and changes of voters in one small partition.

mod clients;
mod disk;
mod heal;
mod history;
mod lane;
mod member;
mod network;
mod plan;
mod root;
mod run;
mod seeds;
mod tally;
mod world;

pub(crate) use run::{MutantsOptions, Options, mutants, registers};
