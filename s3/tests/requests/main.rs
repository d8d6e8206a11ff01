//! Requests over real HTTP against a real store. One program, since each would be built and linked with everything under it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod buckets;
mod common;
mod conditions;
mod connections;
mod forms;
mod object_acls;
mod objects;
mod permissions;
mod settings;
mod versions;
mod website;
