//! The password of the page: argon2id, whose cost makes guessing slow.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};

/// What a password must have.
pub(crate) const LENGTH_MIN: usize = 10;

/// More than anybody types, and little enough to hash.
const BYTES_MAX: usize = 256;

/// A password that is long enough and not one of those that are tried first.
///
/// # Errors
/// What to do, as a sentence.
pub(super) fn check(password: &str) -> Result<(), &'static str> {
    let distinct = password.chars().collect::<std::collections::HashSet<_>>().len();
    if password.chars().count() < LENGTH_MIN {
        return Err("The password is too short: take ten characters or more, for example four words.");
    }
    if password.len() > BYTES_MAX {
        return Err("The password is too long: take 256 bytes at most.");
    }
    if distinct < 4 || password.chars().all(|c| c.is_ascii_digit()) {
        return Err("The password is too easy to guess: take several words, or letters and digits.");
    }
    Ok(())
}

/// Hashes a password with 16 random bytes of salt, into the text that `verify` takes. Takes 19 MiB of memory and tens of
/// milliseconds: RFC 9106 and OWASP's first choice for argon2id.
pub(super) fn hash(password: &str, salt: [u8; 16]) -> Option<String> {
    let hash = Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .ok()?;
    Some(hash.to_string())
}

/// Whether this password made that hash.
pub(super) fn verify(password: &str, hash: &str) -> bool {
    let Ok(parsed) = PasswordHash::new(hash) else {
        return false;
    };
    Argon2::default()
        .verify_password(password.as_bytes(), &parsed)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_opens_what_it_closed_and_no_other_does() {
        let hash = hash("correct horse battery", [7; 16]).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify("correct horse battery", &hash));
        assert!(!verify("correct horse batterz", &hash));
        assert!(!verify("correct horse battery", "nonsense"));
    }

    #[test]
    fn a_password_that_is_guessed_first_is_refused() {
        for weak in ["", "short", "aaaaaaaaaaaa", "1234567890", "121212121212"] {
            assert!(check(weak).is_err(), "{weak}");
        }
        assert!(check(&"x1 y2".repeat(100)).is_err());
        check("four words are plenty").unwrap();
    }
}
