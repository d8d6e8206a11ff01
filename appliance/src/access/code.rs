//! The one-time code with which a person at the box lets a browser in.

use std::fmt;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

/// How long a code works: long enough to walk to another room.
pub(crate) const VALID: Duration = Duration::from_secs(10 * 60);

/// Wrong answers until a code is void. One in 20 million guesses of a whole code's life is right.
const TRIES: u8 = 5;

/// So many codes there are: eight digits.
const CODES: u32 = 100_000_000;

/// A fresh code, as it is told to a person: `4821-0937`.
#[derive(Clone)]
pub(super) struct Code(u32);

impl Code {
    /// Makes a code out of random bytes; none where they would make some codes likelier than others.
    pub(super) fn from_random(bytes: [u8; 4]) -> Option<Self> {
        let random = u32::from_le_bytes(bytes);
        (random < u32::MAX - u32::MAX % CODES).then_some(Self(random % CODES))
    }

    /// As people read it.
    pub(super) fn shown(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{:04}-{:04}", self.0 / 10_000, self.0 % 10_000))
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

/// The code that works now, if one does.
#[derive(Debug, Default)]
pub(super) struct Outstanding(Option<Waiting>);

#[derive(Debug)]
struct Waiting {
    digits: [u8; 32],
    until: Instant,
    tries_left: u8,
}

impl Outstanding {
    /// From now on this code works and no other.
    pub(super) fn issue(&mut self, code: &Code, now: Instant) {
        self.0 = Some(Waiting {
            digits: digest(&code.shown()),
            until: now + VALID,
            tries_left: TRIES,
        });
    }

    /// Whether a code works at all.
    pub(super) fn is_waiting(&self, now: Instant) -> bool {
        self.0.as_ref().is_some_and(|waiting| now < waiting.until)
    }

    /// Whether this is the code, spaces and dashes aside. A right answer uses it up, and so do too many wrong ones.
    pub(super) fn answer(&mut self, text: &str, now: Instant) -> bool {
        let Some(waiting) = self.0.as_mut().filter(|waiting| now < waiting.until) else {
            self.0 = None;
            return false;
        };
        // Digests are compared, so the time it takes tells nothing about the code.
        let right = waiting.digits == digest(text);
        waiting.tries_left -= 1;
        if right || waiting.tries_left == 0 {
            self.0 = None;
        }
        right
    }
}

fn digest(text: &str) -> [u8; 32] {
    let digits: Zeroizing<String> = Zeroizing::new(text.chars().filter(char::is_ascii_digit).collect());
    *blake3::hash(digits.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn issued(now: Instant) -> Outstanding {
        let mut outstanding = Outstanding::default();
        outstanding.issue(&Code(48_210_937), now);
        outstanding
    }

    #[test]
    fn a_code_works_once() {
        let now = Instant::now();
        let mut code = issued(now);
        assert!(code.answer(" 4821 0937 ", now));
        assert!(!code.answer("4821-0937", now));
    }

    #[test]
    fn a_code_works_for_ten_minutes() {
        let now = Instant::now();
        assert!(issued(now).answer("48210937", now + VALID - Duration::from_secs(1)));
        assert!(!issued(now).answer("48210937", now + VALID));
    }

    #[test]
    fn five_wrong_answers_make_it_void() {
        let now = Instant::now();
        let mut code = issued(now);
        for _ in 0..5 {
            assert!(!code.answer("00000000", now));
        }
        assert!(!code.answer("48210937", now) && !code.is_waiting(now));
    }

    #[test]
    fn nothing_is_right_where_no_code_waits() {
        assert!(!Outstanding::default().answer("", Instant::now()));
    }

    proptest! {
        #[test]
        fn a_code_has_eight_digits(bytes: [u8; 4]) {
            if let Some(code) = Code::from_random(bytes) {
                let shown = code.shown();
                prop_assert_eq!(shown.len(), 9);
                let mut outstanding = Outstanding::default();
                outstanding.issue(&code, Instant::now());
                prop_assert!(outstanding.answer(&shown, Instant::now()));
            }
        }
    }
}
