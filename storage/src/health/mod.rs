//! How many copies there are, and what is missing where, by what members say of their own disks.
//!
//! Nothing here is hoped for: a member counts what it has not been told to be durable elsewhere, and with whom it compared
//! its rows. What no member says is not known, and is shown so.
//!
//! | file | its job |
//! |---|---|
//! | `report` | what a member says of what it holds, to the byte |
//! | `account` | what this member says |
//! | `heard` | asks the others, and remembers what they said last |
//! | `clocks` | which clocks are off; pure |
//! | `copies` | what follows from all of that for the mesh; pure |

mod account;
mod clocks;
mod copies;
mod heard;
mod report;
#[cfg(test)]
mod tests;

pub use self::clocks::Clocks;
pub use self::copies::{Copies, Loss, MemberHealth, Unknown};
pub(crate) use self::heard::{Memory, answer, clocks, run};
pub(crate) use self::report::is_about_health;
pub use self::report::{Amount, BlocksReport, Kept, Report, RowsKept, RowsReport};
