//! seal
/// Random bytes from the system.
#[allow(clippy::unwrap_used)]
pub fn random<const N: usize>() -> [u8; N] {
    let mut b = [0; N];
    getrandom::fill(&mut b).unwrap();
    b
}
