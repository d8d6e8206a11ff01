//! Registers: every row of a partition is one, and every one is linearizable, without a log of commands, without leases
//! and without trusting any clock.
//!
//! The protocol is single-register Paxos (Lamport, "Paxos Made Simple") in the form of CASPaxos (Rystsov,
//! arXiv 1802.07000): each register is changed by proposing its whole next content. Here all registers of a partition share
//! one promise per acceptor (as in arXiv 2001.03362), so that whoever was promised a ballot by a quorum, the *holder*,
//! writes each register in one round trip.
//!
//! # Rules
//! Each is needed; `Mutant` switches it off and the simulation finds the history that breaks.
//! 1. **Write.** The holder decides on the newest content that a quorum of promises told, one operation of a lane at a time
//!    (`holder`). Otherwise an operation would be decided on a content that is not the last, and its effect lost.
//! 2. **A result that writes nothing** is confirmed by a quorum accepting the content once more, by answers to questions
//!    asked after the operation began. Otherwise a deposed holder would answer from the past, or rely on a write of somebody
//!    else that is never chosen, or on the absence of one that is chosen later.
//! 3. **Read.** The newest row of a quorum is the answer once it is known to be chosen (`reader`). Otherwise two readers
//!    could see a write come and go.
//! 4. **Takeover.** Any member may make a higher ballot; an acceptor accepts nothing below what it promised. An operation
//!    of a deposed holder is *unknown*, never failed: it may be chosen by the takeover. A retry has the same id, which the
//!    row remembers. That an attempt failed on a condition is told to a client only if there is no other attempt, or if it is
//!    the last one and leaves its refusal in the row ([`Decision::Refuse`]): else an earlier one that still waits somewhere
//!    could be executed after the client was told that nothing happened. Where the row may have forgotten an operation, no
//!    attempt of it is done, not even the first, which may have waited while another was done: done twice it would undo what
//!    others did in between. What counts are the rows in which its attempts look for one another ([`Operation::keys`]), not
//!    others that it wrote besides. Who made but that one attempt makes it again under another name.
//! 5. **Tombstones** are forgotten only when all have them and all promised a new ballot, behind a fence against what they
//!    remember (`holder/collect.rs`). Otherwise an older value that still stands somewhere, or is on its way, becomes the
//!    newest, or an operation is done twice.
//! 6. **Reconfiguration** is joint, and adopting an epoch is promising its barrier (`reconfiguration`). Who is outside
//!    answers reads only.
//! 7. **Across registers** there is no atomicity. An operation on several rows writes them in stages, relies on rows that it
//!    confirms first, and is resumed by whoever meets it half done. Fences, raised at a quorum under the holder's ballot and
//!    told with every promise, end what must not commit any more.
//! 8. **Amnesia.** A disk that forgot promises is another member (`amnesia`).
//!
//! Everything here is a pure function of events: no clock, no disk, no network, no async.

mod acceptor;
mod amnesia;
mod ballot;
mod config;
mod holder;
mod message;
mod mutant;
mod reader;
mod reconfiguration;
mod row;
#[cfg(test)]
mod tests;

pub use acceptor::{Acceptor, Part, Rows, Step};
pub use amnesia::{DiskMark, Memory, Run, Runs, judge};
pub use ballot::{Ballot, Epoch, Stamp};
pub use config::{Config, Configs, Votes};
pub use holder::{
    Answer, Change, Decision, Effect, Event, Holder, LANE_MAX, Loaded, Operation, Ticket, Turn,
};
pub use message::{Fences, KeyRange, Nonce, Reply, Request};
pub use mutant::{Broken, Mutant};
pub use reader::{Purpose, ReadEffect, Reader};
pub use reconfiguration::{Adoption, Next, Transition, adopt};
pub use row::{Content, Key, Known, OpId, RECENT_MAX, Recent, Row, Value};
