//! Reads any bytes as whatever a stranger sends or a person pastes: nothing that nobody signed counts, and nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| p2p::hostile::join(bytes));
