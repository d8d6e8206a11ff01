//! Drives servers and stores from outside: benchmarks and torture, one subcommand each.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool prints what it finds"
)]

mod client;

fn main() {}
