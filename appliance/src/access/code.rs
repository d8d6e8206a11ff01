//! The one-time code with which a person at the box lets a browser in.

use std::fmt;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

/// How long a code works: long enough to walk to another room.
pub(crate) const VALID: Duration = Duration::from_secs(10 * 60);

/// What a code is made of: Crockford's digits of base 32, without letters that look like others.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Digits of a code, which are 60 bits. Whoever sends 100,000 guesses a second for all of its ten minutes, more than a box can
/// answer, finds one in 2^34 codes: so wrong answers need not make it void, which would let anybody on the network keep the
/// owner out.
const LENGTH: usize = 12;

/// Digits between two dashes.
const GROUP: usize = 4;

/// A fresh code, as it is told to a person: `4F7K-9QXM-2TRB`.
#[derive(Clone)]
pub(super) struct Code(Zeroizing<[u8; LENGTH]>);

impl Code {
    /// Makes a code out of random bytes: 32 divides 256, so each digit is as likely as any other.
    pub(super) fn from_random(bytes: [u8; LENGTH]) -> Self {
        Self(Zeroizing::new(bytes.map(|byte| DIGITS[usize::from(byte % 32)])))
    }

    /// As people read it.
    pub(super) fn shown(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(LENGTH + LENGTH / GROUP));
        for (at, digit) in self.0.iter().enumerate() {
            if at > 0 && at % GROUP == 0 {
                text.push('-');
            }
            text.push(char::from(*digit));
        }
        text
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
    digest: [u8; 32],
    until: Instant,
}

impl Outstanding {
    /// From now on this code works and no other.
    pub(super) fn issue(&mut self, code: &Code, now: Instant) {
        self.0 = Some(Waiting {
            digest: digest(&code.shown()),
            until: now + VALID,
        });
    }

    /// Whether a code works at all.
    pub(super) fn is_waiting(&self, now: Instant) -> bool {
        self.0.as_ref().is_some_and(|waiting| now < waiting.until)
    }

    /// Whether this is the code, however it was typed. A right answer uses it up; a wrong one changes nothing.
    pub(super) fn answer(&mut self, text: &str, now: Instant) -> bool {
        let typed = digest(text);
        // Digests are compared, so the time it takes tells nothing about the code.
        self.0
            .take_if(|waiting| now >= waiting.until || waiting.digest == typed)
            .is_some_and(|waiting| now < waiting.until)
    }
}

/// The digest of a code as it was typed: spaces, dashes and case aside, with letters for the digits that they look like.
fn digest(text: &str) -> [u8; 32] {
    let typed = text.chars().filter(char::is_ascii_alphanumeric);
    let meant = typed.map(|typed| match typed.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    });
    let meant: Zeroizing<String> = Zeroizing::new(meant.collect());
    *blake3::hash(meant.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn issued(now: Instant) -> Outstanding {
        let mut outstanding = Outstanding::default();
        outstanding.issue(&Code::from_random([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 255]), now);
        outstanding
    }

    #[test]
    fn a_code_works_once_however_it_is_typed() {
        let now = Instant::now();
        for typed in ["0123-4567-89AZ", " o l23 4567 89az ", "OI23456789AZ"] {
            let mut code = issued(now);
            assert!(code.answer(typed, now), "{typed}");
            assert!(!code.answer("0123-4567-89AZ", now) && !code.is_waiting(now));
        }
    }

    #[test]
    fn a_code_works_for_ten_minutes() {
        let now = Instant::now();
        assert!(issued(now).answer("0123456789AZ", now + VALID - Duration::from_secs(1)));
        assert!(!issued(now).answer("0123456789AZ", now + VALID));
    }

    #[test]
    fn no_number_of_wrong_answers_makes_it_void() {
        let now = Instant::now();
        let mut code = issued(now);
        for _ in 0..1000 {
            assert!(!code.answer("0000-0000-0000", now) && !code.answer("", now));
        }
        assert!(code.answer("0123-4567-89AZ", now));
    }

    #[test]
    fn nothing_is_right_where_no_code_waits() {
        assert!(!Outstanding::default().answer("", Instant::now()));
    }

    proptest! {
        #[test]
        fn a_code_has_three_groups_of_four(bytes: [u8; LENGTH]) {
            let code = Code::from_random(bytes);
            let shown = code.shown();
            prop_assert_eq!(shown.split('-').map(str::len).collect::<Vec<_>>(), [GROUP; 3]);
            let mut outstanding = Outstanding::default();
            outstanding.issue(&code, Instant::now());
            prop_assert!(outstanding.answer(&shown, Instant::now()));
        }
    }
}
