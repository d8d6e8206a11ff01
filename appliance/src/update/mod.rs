//! Updates the system of a box that runs our image: a signed bundle goes into the slot that is not running.

mod bundle;
mod install;

pub use bundle::{Bundle, BundleError, Manifest, Part, PartName, PublicKey};
pub use install::{Installed, Slot, System, UpdateError, install};
