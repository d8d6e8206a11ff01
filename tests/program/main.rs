//! What the `warren` program promises: the real binary, from the outside.
#![allow(clippy::unwrap_used, reason = "tests")]

mod command_line;
mod server;
mod support;
mod trouble;
