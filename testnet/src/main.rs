//! Drives.
fn main() {}
