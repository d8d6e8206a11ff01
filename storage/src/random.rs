//! Random bytes: the system's, or in a simulation those of its seed.

/// Fills `bytes` with random ones.
///
/// # Errors
/// The system has no source of randomness.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), getrandom::Error> {
    #[cfg(any(test, feature = "simulation"))]
    if crate::simulation::fill(bytes) {
        return Ok(());
    }
    getrandom::fill(bytes)
}
