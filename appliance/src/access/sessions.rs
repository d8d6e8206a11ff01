//! Who is logged in: sessions by the digest of their secret, each with what its next page says once.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

/// A session that is not used ends after this: an evening and a night.
const IDLE: Duration = Duration::from_secs(12 * 60 * 60);

/// The longest a session lasts, used or not.
pub(crate) const LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Sessions at once; the one that was used longest ago makes room.
const SESSIONS_MAX: usize = 32;

/// Sets the tokens of forms apart from everything else that is made of a session's secret.
const FORM_CONTEXT: &str = "warren page form token 1";

/// What the browser keeps: 32 random bytes, of which we keep only the digest.
#[derive(Clone)]
pub(crate) struct SessionSecret(Zeroizing<[u8; 32]>);

/// Names a session to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionId([u8; 32]);

impl SessionSecret {
    pub(super) fn new(random: [u8; 32]) -> Self {
        Self(Zeroizing::new(random))
    }

    /// Reads what a browser sends.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text, bytes.as_mut_slice()).ok()?;
        Some(Self(bytes))
    }

    /// As the browser is given it.
    pub(crate) fn shown(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(64));
        for byte in self.0.iter() {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    pub(crate) fn id(&self) -> SessionId {
        SessionId(*blake3::hash(self.0.as_slice()).as_bytes())
    }

    /// What forms of this session carry, so that no other page can send them.
    pub(crate) fn form_token(&self) -> String {
        hex::encode(blake3::derive_key(FORM_CONTEXT, self.0.as_slice()))
    }
}

/// Who is logged in.
#[derive(Debug)]
pub(super) struct Sessions<T> {
    by_id: HashMap<SessionId, Session<T>>,
}

#[derive(Debug)]
struct Session<T> {
    began: Instant,
    used: Instant,
    note: Option<T>,
}

impl<T> Session<T> {
    fn lives(&self, now: Instant) -> bool {
        now < self.began + LIFE && now < self.used + IDLE
    }
}

impl<T> Default for Sessions<T> {
    fn default() -> Self {
        Self {
            by_id: HashMap::new(),
        }
    }
}

impl<T> Sessions<T> {
    pub(super) fn begin(&mut self, id: SessionId, now: Instant) {
        self.by_id.retain(|_, session| session.lives(now));
        if self.by_id.len() >= SESSIONS_MAX {
            let stalest = self.by_id.iter().min_by_key(|(_, session)| session.used);
            if let Some(stalest) = stalest.map(|(id, _)| *id) {
                self.by_id.remove(&stalest);
            }
        }
        let session = Session {
            began: now,
            used: now,
            note: None,
        };
        self.by_id.insert(id, session);
    }

    /// Whether this session goes on; it counts as used then.
    pub(super) fn touch(&mut self, id: &SessionId, now: Instant) -> bool {
        match self.by_id.get_mut(id) {
            Some(session) if session.lives(now) => {
                session.used = now;
                true
            }
            _ => {
                self.by_id.remove(id);
                false
            }
        }
    }

    /// Whether this session goes on, without using it.
    pub(super) fn lives(&self, id: &SessionId, now: Instant) -> bool {
        self.by_id.get(id).is_some_and(|session| session.lives(now))
    }

    pub(super) fn end(&mut self, id: &SessionId) {
        self.by_id.remove(id);
    }

    pub(super) fn end_all(&mut self) {
        self.by_id.clear();
    }

    /// Leaves something for the session's next page.
    pub(super) fn leave(&mut self, id: &SessionId, note: T) {
        if let Some(session) = self.by_id.get_mut(id) {
            session.note = Some(note);
        }
    }

    /// Takes what was left.
    pub(super) fn take(&mut self, id: &SessionId) -> Option<T> {
        self.by_id.get_mut(id)?.note.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(n: u8) -> SessionSecret {
        SessionSecret::new([n; 32])
    }

    #[test]
    fn a_session_ends_when_it_is_not_used_and_in_any_case_after_a_week() {
        let (mut sessions, now) = (Sessions::<()>::default(), Instant::now());
        sessions.begin(secret(1).id(), now);
        assert!(sessions.touch(&secret(1).id(), now + IDLE - Duration::from_secs(1)));
        assert!(!sessions.touch(&secret(1).id(), now + 2 * IDLE));
        sessions.begin(secret(2).id(), now);
        let step = IDLE / 2;
        let lasted = (1..100).take_while(|n| sessions.touch(&secret(2).id(), now + step * *n));
        assert_eq!(step * u32::try_from(lasted.count() + 1).unwrap(), LIFE);
    }

    #[test]
    fn a_session_that_was_never_begun_is_none() {
        let mut sessions = Sessions::<()>::default();
        assert!(!sessions.touch(&secret(1).id(), Instant::now()));
        sessions.leave(&secret(1).id(), ());
        assert_eq!(sessions.take(&secret(1).id()), None);
    }

    #[test]
    fn the_stalest_session_makes_room() {
        let (mut sessions, now) = (Sessions::<()>::default(), Instant::now());
        for n in 0..=u8::try_from(SESSIONS_MAX).unwrap() {
            sessions.begin(secret(n).id(), now + Duration::from_secs(n.into()));
        }
        let later = now + Duration::from_secs(60);
        assert!(!sessions.touch(&secret(0).id(), later) && sessions.touch(&secret(1).id(), later));
    }

    #[test]
    fn a_note_is_read_once() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        sessions.begin(secret(1).id(), now);
        sessions.leave(&secret(1).id(), "done");
        assert_eq!(sessions.take(&secret(1).id()), Some("done"));
        assert_eq!(sessions.take(&secret(1).id()), None);
    }

    #[test]
    fn the_browsers_secret_reads_back_and_is_not_the_form_token() {
        let secret = secret(7);
        let read = SessionSecret::parse(&secret.shown()).unwrap();
        assert_eq!(read.id(), secret.id());
        assert_ne!(secret.form_token(), *secret.shown());
        assert!(SessionSecret::parse("07").is_none() && SessionSecret::parse("x").is_none());
    }
}
