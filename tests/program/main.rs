//! What the `warren` program promises: the real binary, from the outside.
#![allow(clippy::unwrap_used, reason = "tests")]

mod buckets;
mod caring;
mod client;
mod command_line;
mod history;
mod https;
mod mesh;
mod objects;
mod page;
mod server;
mod support;
mod trouble;
mod webhooks;
