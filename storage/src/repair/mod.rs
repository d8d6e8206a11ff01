//! Keeps what is stored whole and frees what nobody needs.

mod clock;
pub(crate) mod collect;
pub(crate) mod compare;
pub(crate) mod find_events;
pub(crate) mod lifecycle;
pub(crate) mod reopen;
pub(crate) mod scrub;
pub(crate) mod sweep;
pub(crate) mod tombstones;
