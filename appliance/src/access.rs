//! Decides who may call the admin API: at the box, with a session of the page, or with a token.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::api::{CreateToken, CreatedToken, Schema, Secret, Token};
use crate::page::{Note, Source};
use crate::right::Right;

mod code;
mod guesses;
mod kept;
mod password;
mod sessions;
mod tokens;

pub(crate) use code::VALID as CODE_VALID;
use code::{Code, Outstanding};
use guesses::{Guess, Guesses};
use kept::Kept;
pub(crate) use password::LENGTH_MIN as PASSWORD_LENGTH_MIN;
use sessions::Sessions;
pub(crate) use sessions::{LIFE as SESSION_LIFE, SessionId, SessionSecret};

/// Where it is kept, in the state directory.
const FILE: &str = "access.json";

/// Why it is not known, or not kept, who may call the API.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The file cannot be read or written.
    #[error("keep who may use the page, in {}", .path.display())]
    NotKept {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not what we write.
    #[error("{} is not understood: move it away, then log in with a new code and make new tokens", .0.display())]
    Malformed(PathBuf),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    NoRandom(getrandom::Error),
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotLetIn {
    /// The code is not the one that works.
    #[error("That code is wrong, was used, or is older than ten minutes. Get another: warren login-code")]
    WrongCode,
    /// The password is not the one that was set.
    #[error("That password is wrong.")]
    WrongPassword,
    /// Too many wrong guesses.
    #[error("Too many wrong tries. Wait {} min, or go on from another device.", .0.as_secs().div_ceil(60))]
    Wait(Duration),
    /// The new password will not do.
    #[error("{0}")]
    Weak(&'static str),
    /// The box could not.
    #[error("The box could not keep that: {0}")]
    Failed(#[from] AccessError),
}

/// Who may call the admin API.
#[derive(Debug)]
pub struct Access {
    path: PathBuf,
    state: Mutex<State>,
    /// One password is hashed at a time: each takes 19 MiB. Also orders what is written to the file.
    hashing: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    kept: Kept,
    code: Outstanding,
    guesses: Guesses,
    sessions: Sessions<Note>,
}

impl Access {
    /// Reads who may, from the state directory.
    ///
    /// # Errors
    /// The file cannot be read or understood.
    pub fn open(state: &Path) -> Result<Self, AccessError> {
        let path = state.join(FILE);
        let kept = Kept::read(&path)?;
        Ok(Self {
            path,
            state: Mutex::new(State {
                kept,
                ..State::default()
            }),
            hashing: Semaphore::new(1),
        })
    }

    /// Makes the one code that works for the next ten minutes.
    ///
    /// # Errors
    /// `NoRandom`.
    pub fn login_code(&self) -> Result<Secret, AccessError> {
        let code = loop {
            if let Some(code) = Code::from_random(random()?) {
                break code;
            }
        };
        self.state(|state| state.code.issue(&code, Instant::now()));
        Ok(Secret::new(code.shown().to_string()))
    }

    /// Whether anybody has chosen a password yet.
    pub fn has_password(&self) -> bool {
        self.state(|state| state.kept.password.is_some())
    }

    /// Lets in whoever has the code, with a new password that counts from now on.
    pub(crate) async fn enter_with_code(
        &self,
        code: &str,
        password: Zeroizing<String>,
        from: Source,
    ) -> Result<SessionSecret, NotLetIn> {
        // Before the code is used up.
        password::check(&password).map_err(NotLetIn::Weak)?;
        let now = Instant::now();
        self.state(|state| {
            state
                .guesses
                .charge(Guess::Code, from, now)
                .map_err(NotLetIn::Wait)?;
            if !state.code.answer(code, now) {
                return Err(NotLetIn::WrongCode);
            }
            state.guesses.right(Guess::Code, from);
            Ok(())
        })?;
        self.set_password(password).await
    }

    /// Lets in whoever has the password.
    pub(crate) async fn enter(
        &self,
        password: Zeroizing<String>,
        from: Source,
    ) -> Result<SessionSecret, NotLetIn> {
        self.prove(password, from).await?;
        Ok(self.begin()?)
    }

    /// Replaces the password, for whoever knows the old one; all sessions end but the one that begins.
    pub(crate) async fn change_password(
        &self,
        old: Zeroizing<String>,
        new: Zeroizing<String>,
        from: Source,
    ) -> Result<SessionSecret, NotLetIn> {
        password::check(&new).map_err(NotLetIn::Weak)?;
        self.prove(old, from).await?;
        self.set_password(new).await
    }

    async fn prove(&self, password: Zeroizing<String>, from: Source) -> Result<(), NotLetIn> {
        let now = Instant::now();
        self.state(|state| state.guesses.charge(Guess::Password, from, now))
            .map_err(NotLetIn::Wait)?;
        let hash = self
            .state(|state| state.kept.password.clone())
            .ok_or(NotLetIn::WrongPassword)?;
        let _one_at_a_time = self.hashing.acquire().await;
        let verified = tokio::task::spawn_blocking(move || password::verify(&password, &hash));
        if !verified.await.unwrap_or(false) {
            return Err(NotLetIn::WrongPassword);
        }
        self.state(|state| state.guesses.right(Guess::Password, from));
        Ok(())
    }

    async fn set_password(&self, password: Zeroizing<String>) -> Result<SessionSecret, NotLetIn> {
        let salt = random()?;
        let turn = self.hashing.acquire().await;
        let hashed = tokio::task::spawn_blocking(move || password::hash(&password, salt)).await;
        drop(turn);
        let hash = hashed
            .ok()
            .flatten()
            .ok_or(NotLetIn::Weak("That password cannot be used."))?;
        self.change(|kept| {
            kept.password = Some(hash);
            Ok(())
        })
        .await?
        .unwrap_or_default();
        self.state(|state| state.sessions.end_all());
        Ok(self.begin()?)
    }

    fn begin(&self) -> Result<SessionSecret, AccessError> {
        let secret = SessionSecret::new(random()?);
        self.state(|state| state.sessions.begin(secret.id(), Instant::now()));
        Ok(secret)
    }

    /// Whether a code works right now.
    pub(crate) fn has_code(&self) -> bool {
        self.state(|state| state.code.is_waiting(Instant::now()))
    }

    /// Whether whoever has this secret is logged in.
    pub(crate) fn knows(&self, secret: &SessionSecret) -> bool {
        self.state(|state| state.sessions.touch(&secret.id(), Instant::now()))
    }

    /// Logs a session out.
    pub(crate) fn leave(&self, session: &SessionId) {
        self.state(|state| state.sessions.end(session));
    }

    /// Leaves something for the next page of a session.
    pub(crate) fn say(&self, session: &SessionId, note: Note) {
        self.state(|state| state.sessions.leave(session, note));
    }

    /// Takes what was left for it.
    pub(crate) fn said(&self, session: &SessionId) -> Option<Note> {
        self.state(|state| state.sessions.take(session))
    }

    /// What the bearer of a token may do.
    pub(crate) fn right_of(&self, token: &str) -> Option<Right> {
        self.state(|state| tokens::scope_of(&state.kept.tokens, token, seconds()))
            .map(Right::from)
    }

    /// All tokens, the oldest first.
    pub(crate) fn tokens(&self) -> Vec<Token> {
        let now = seconds();
        self.state(|state| {
            state
                .kept
                .tokens
                .iter()
                .map(|token| tokens::shown(token, now))
                .collect()
        })
    }

    /// Makes a token. The inner error is what is wrong with the request.
    pub(crate) async fn create_token(
        &self,
        asked: &CreateToken,
    ) -> Result<Result<CreatedToken, String>, AccessError> {
        let (random, now) = (random()?, seconds());
        let made = self.change(|kept| {
            let (token, text) = tokens::make(asked, random, &kept.tokens, now)?;
            let created = CreatedToken {
                schema: Schema,
                token: tokens::shown(&token, now),
                secret: Secret::new(text.to_string()),
            };
            kept.tokens.push(token);
            Ok(created)
        });
        made.await
    }

    /// Takes a token back, by the beginning of its id or its name. The inner error says that none or several are meant.
    pub(crate) async fn revoke_token(&self, id: &str) -> Result<Result<(), String>, AccessError> {
        let revoked = self.change(|kept| {
            let meant = tokens::named(&kept.tokens, id).map(|token| token.id.clone());
            let meant = meant.ok_or_else(|| format!("no token, or more than one, is called {id:?}"))?;
            kept.tokens.retain(|token| token.id != meant);
            Ok(())
        });
        revoked.await
    }

    /// Changes what is kept: on disk first, so that nothing counts that a restart would forget.
    async fn change<T>(
        &self,
        change: impl FnOnce(&mut Kept) -> Result<T, String>,
    ) -> Result<Result<T, String>, AccessError> {
        let _turn = self.hashing.acquire().await;
        let mut next = self.state(|state| state.kept.clone());
        let changed = match change(&mut next) {
            Ok(changed) => changed,
            Err(refused) => return Ok(Err(refused)),
        };
        let (path, next) = (self.path.clone(), Arc::new(next));
        let to_write = Arc::clone(&next);
        let written = tokio::task::spawn_blocking(move || to_write.write(&path)).await;
        written
            .map_err(io::Error::other)
            .flatten()
            .map_err(|source| AccessError::NotKept {
                path: self.path.clone(),
                source,
            })?;
        self.state(|state| state.kept = Arc::unwrap_or_clone(next));
        Ok(Ok(changed))
    }

    /// Looks at the state, or changes it, for a moment.
    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        // Nothing in here panics half-way, so what a panic elsewhere left is whole.
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn random<const N: usize>() -> Result<[u8; N], AccessError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(AccessError::NoRandom)?;
    Ok(bytes)
}

/// Seconds since 1970.
fn seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scope;

    fn home() -> Source {
        Source::of([192, 168, 1, 9].into())
    }

    fn words(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.into())
    }

    #[tokio::test]
    async fn a_code_sets_the_password_that_lets_in_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::open(folder.path()).unwrap();
        let code = access.login_code().unwrap();
        let weak = access
            .enter_with_code(code.expose(), words("short"), home())
            .await;
        assert!(matches!(weak, Err(NotLetIn::Weak(_))));
        let session = access
            .enter_with_code(code.expose(), words("four quiet words"), home())
            .await
            .unwrap();
        assert!(access.knows(&session));
        let again = access
            .enter_with_code(code.expose(), words("four other words"), home())
            .await;
        assert!(matches!(again, Err(NotLetIn::WrongCode)));
        // As after a restart, which ends sessions and codes.
        let access = Access::open(folder.path()).unwrap();
        assert!(access.has_password() && !access.knows(&session));
        let wrong = access.enter(words("four other words"), home()).await;
        assert!(matches!(wrong, Err(NotLetIn::WrongPassword)));
        let session = access.enter(words("four quiet words"), home()).await.unwrap();
        access.leave(&session.id());
        assert!(!access.knows(&session));
    }

    #[tokio::test]
    async fn a_new_password_ends_every_other_session() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::open(folder.path()).unwrap();
        let code = access.login_code().unwrap();
        let first = access
            .enter_with_code(code.expose(), words("four quiet words"), home())
            .await
            .unwrap();
        let (old, new) = (words("four quiet words"), words("some louder words"));
        let second = access.change_password(old, new, home()).await.unwrap();
        assert!(!access.knows(&first) && access.knows(&second));
        assert!(access.enter(words("four quiet words"), home()).await.is_err());
    }

    #[tokio::test]
    async fn many_wrong_passwords_at_once_are_as_many_one_after_another() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::open(folder.path()).unwrap();
        let code = access.login_code().unwrap();
        access
            .enter_with_code(code.expose(), words("four quiet words"), home())
            .await
            .unwrap();
        let tries = (0..12).map(|n| access.enter(words(&format!("wrong password {n}")), home()));
        let outcomes = futures_util::future::join_all(tries).await;
        let waits = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Err(NotLetIn::Wait(_))));
        assert_eq!(waits.count(), 7);
        assert!(matches!(
            access.enter(words("four quiet words"), home()).await,
            Err(NotLetIn::Wait(_))
        ));
    }

    #[tokio::test]
    async fn a_token_outlives_a_restart_until_it_is_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::open(folder.path()).unwrap();
        let asked = CreateToken {
            schema: Schema,
            name: "prometheus".into(),
            scope: Scope::Read,
            valid_seconds: 3600,
        };
        let made = access.create_token(&asked).await.unwrap().unwrap();
        let access = Access::open(folder.path()).unwrap();
        assert_eq!(access.right_of(made.secret.expose()), Some(Right::Read));
        access.revoke_token("prometheus").await.unwrap().unwrap();
        assert_eq!(access.right_of(made.secret.expose()), None);
        assert!(access.revoke_token("prometheus").await.unwrap().is_err());
        assert_eq!(Access::open(folder.path()).unwrap().tokens(), []);
    }
}
