//! Tokens of the admin API: made for one scope and a while, kept as digests.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::Scope;
use crate::api::{CreateToken, Token};

/// What every token begins with, so that people and scanners know one when they see it.
const PREFIX: &str = "warren_";

/// Tokens at once: more are a script that forgets to take them back.
const TOKENS_MAX: usize = 128;

/// The shortest and longest that a token works: a minute, and two years.
const VALID_SECONDS: std::ops::RangeInclusive<u64> = 60..=2 * 366 * 24 * 60 * 60;

/// A token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptToken {
    /// Names it: the first digits of its digest.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) scope: Scope,
    /// BLAKE3 of the whole token.
    #[serde(with = "hex::serde")]
    pub(super) digest: [u8; 32],
    /// Seconds since 1970.
    pub(super) created: u64,
    /// Seconds since 1970.
    pub(super) expires: u64,
}

impl KeptToken {
    /// Whether it works. Not before it was made either: a clock that was set back must not revive what has expired for long.
    fn works(&self, now: u64) -> bool {
        (self.created..self.expires).contains(&now)
    }
}

/// Forgets what has expired, so that no clock revives it.
pub(super) fn forget_expired(tokens: &mut Vec<KeptToken>, now: u64) {
    tokens.retain(|token| now < token.expires);
}

/// Makes a token of 32 random bytes: what is kept, and what its owner is given.
///
/// # Errors
/// What is wrong with the request, as a sentence.
pub(super) fn make(
    asked: &CreateToken,
    random: [u8; 32],
    others: &[KeptToken],
    now: u64,
) -> Result<(KeptToken, Zeroizing<String>), String> {
    let name = asked.name.trim();
    if !(1..=64).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return Err("a token's name has 1 to 64 printable characters".into());
    }
    if !VALID_SECONDS.contains(&asked.valid_seconds) {
        return Err("a token works for a minute at least and two years at most".into());
    }
    if others.len() >= TOKENS_MAX {
        return Err(format!("there are {TOKENS_MAX} tokens already: revoke some"));
    }
    let text = Zeroizing::new(format!("{PREFIX}{}", hex::encode(random)));
    let digest = digest(&text);
    let kept = KeptToken {
        id: hex::encode(&digest[..5]),
        name: name.into(),
        scope: asked.scope,
        digest,
        created: now,
        expires: now + asked.valid_seconds,
    };
    Ok((kept, text))
}

/// What the bearer of the token with this digest may do.
pub(super) fn scope_of(tokens: &[KeptToken], digest: &[u8; 32], now: u64) -> Option<Scope> {
    // The digest of 32 random bytes: the time a comparison takes tells nothing that helps to find them.
    let held = tokens.iter().find(|token| token.digest == *digest)?;
    held.works(now).then_some(held.scope)
}

/// The token that this id, or the beginning of it, or a name means; none where several are meant.
pub(super) fn named<'a>(tokens: &'a [KeptToken], id: &str) -> Option<&'a KeptToken> {
    let mut meant = tokens
        .iter()
        .filter(|token| !id.is_empty() && (token.id.starts_with(id) || token.name == id));
    meant.next().filter(|_| meant.next().is_none())
}

/// A token as it is shown: never its secret.
pub(super) fn shown(token: &KeptToken, now: u64) -> Token {
    Token {
        id: token.id.clone(),
        name: token.name.clone(),
        scope: token.scope,
        created: time(token.created),
        expires: time(token.expires),
        works: token.works(now),
    }
}

fn time(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds)
        .unwrap_or(Timestamp::MAX)
        .to_string()
}

/// The digest by which a token is known.
pub(super) fn digest(text: &str) -> [u8; 32] {
    *blake3::hash(text.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Schema;

    fn asked(name: &str, valid_seconds: u64) -> CreateToken {
        CreateToken {
            schema: Schema,
            name: name.into(),
            scope: Scope::Operate,
            valid_seconds,
        }
    }

    #[test]
    fn a_token_works_until_it_expires() {
        let (kept, text) = make(&asked("prometheus", 3600), [1; 32], &[], 1000).unwrap();
        let tokens = [kept];
        assert_eq!(scope_of(&tokens, &digest(&text), 4599), Some(Scope::Operate));
        assert_eq!(scope_of(&tokens, &digest(&text), 4600), None);
        assert_eq!(scope_of(&tokens, &digest("warren_00"), 1000), None);
        assert!(
            !serde_json::to_string(&tokens)
                .unwrap()
                .contains(&text[PREFIX.len()..])
        );
    }

    #[test]
    fn a_clock_that_goes_back_revives_no_token() {
        let (kept, text) = make(&asked("prometheus", 3600), [1; 32], &[], 10_000).unwrap();
        assert_eq!(scope_of(std::slice::from_ref(&kept), &digest(&text), 9_999), None);
        assert!(!shown(&kept, 9_999).works);
        let mut tokens = vec![kept];
        forget_expired(&mut tokens, 13_599);
        assert_eq!(tokens.len(), 1);
        forget_expired(&mut tokens, 13_600);
        assert_eq!(scope_of(&tokens, &digest(&text), 10_001), None);
    }

    #[test]
    fn a_token_without_a_name_or_an_end_is_refused() {
        for (name, valid) in [("", 3600), ("a\nb", 3600), ("a", 59), ("a", u64::MAX)] {
            assert!(
                make(&asked(name, valid), [1; 32], &[], 0).is_err(),
                "{name:?} {valid}"
            );
        }
    }

    #[test]
    fn a_token_is_named_by_the_beginning_of_its_id_unless_several_are_meant() {
        let (one, _) = make(&asked("a", 60), [1; 32], &[], 0).unwrap();
        let (two, _) = make(&asked("a", 60), [2; 32], &[], 0).unwrap();
        let tokens = [one.clone(), two];
        assert_eq!(named(&tokens, &one.id[..4]), Some(&one));
        assert_eq!(named(&tokens, "a"), None);
        assert_eq!(named(&tokens, ""), None);
    }
}
