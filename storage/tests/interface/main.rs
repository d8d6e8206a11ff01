//! What the store promises through its public interface. One program, since each would be built and linked with everything under it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod buckets;
mod fixture;
mod listing;
mod locks;
mod multipart;
mod objects;
mod versions;
