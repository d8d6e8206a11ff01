//! Reads any bytes as the calls of a member: refused, or heads whose bodies are bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| p2p::hostile::call(bytes));
