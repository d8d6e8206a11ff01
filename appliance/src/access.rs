//! Decides who may call the admin API: at the box, with a session of the page, or with a token.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tracing::error;
use zeroize::Zeroizing;

use crate::Trouble;
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
use guesses::Guesses;
use kept::{Found, Kept};
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
    /// The file could not be read when the box started, so it must not be replaced.
    #[error("{} could not be read ({why}): repair that, then restart the box", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
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
    #[error("Too many wrong tries. Wait {} min, or use a code: on the box, run warren login-code.", .0.as_secs().div_ceil(60))]
    Wait(Duration),
    /// The new password will not do.
    #[error("{0}")]
    Weak(&'static str),
    /// The box could not.
    #[error("The box could not keep that: {0}")]
    Failed(#[from] AccessError),
}

/// Why a password was not set.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// It will not do.
    #[error("{0}")]
    Weak(&'static str),
    /// The box could not keep it.
    #[error("keep the password of the page")]
    Failed(#[from] AccessError),
}

/// Somebody who was let in over the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    /// By a session.
    Session(SessionId),
    /// By the token with this digest.
    Token([u8; 32]),
}

impl Caller {
    /// Whoever bears this token.
    pub(crate) fn bearing(token: &str) -> Self {
        Self::Token(tokens::digest(token))
    }
}

/// Who may call the admin API.
#[derive(Debug)]
pub struct Access {
    shared: Arc<Shared>,
    /// One password is hashed at a time: each takes 19 MiB. Also orders what is written to the file.
    turns: Arc<Semaphore>,
    /// What is being hashed or written, whether or not anybody still waits for it.
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    kept: Kept,
    code: Outstanding,
    guesses: Guesses,
    sessions: Sessions<Note>,
    fault: Option<Fault>,
}

/// What was wrong with the file when the box started, and still is.
#[derive(Clone, Debug)]
enum Fault {
    Damaged,
    /// Says why.
    Unreadable(String),
}

impl State {
    /// Whether a password that was proven is still the one that counts.
    fn still(&self, proven: &str) -> Result<(), NotLetIn> {
        match self.kept.password.as_deref() == Some(proven) {
            true => Ok(()),
            false => Err(NotLetIn::WrongPassword),
        }
    }
}

impl Access {
    /// Reads who may, from the state directory. Where that is not to be had, nobody may but whoever is at the box: a file for
    /// the page is no reason to serve nothing.
    pub fn open(state: &Path) -> Self {
        let path = state.join(FILE);
        let (kept, fault) = match Kept::read(&path) {
            Found::Whole(kept) => (kept, None),
            Found::Damaged => (Kept::default(), Some(Fault::Damaged)),
            Found::Unreadable(why) => (Kept::default(), Some(Fault::Unreadable(why.to_string()))),
        };
        if let Some(fault) = &fault {
            error!(path = %path.display(), ?fault, "who may use the page is not known");
        }
        let state = Mutex::new(State {
            kept,
            fault,
            ..State::default()
        });
        Self {
            shared: Arc::new(Shared { path, state }),
            turns: Arc::new(Semaphore::new(1)),
            tasks: TaskTracker::new(),
        }
    }

    /// What is wrong with what is known of who may.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        let path = self.shared.path.display().to_string();
        Some(match self.state(|state| state.fault.clone())? {
            Fault::Damaged => Trouble::AccessDamaged(path),
            Fault::Unreadable(why) => Trouble::AccessUnreadable(path, why),
        })
    }

    /// Returns once what is being written is written: whoever asked for it may have gone.
    pub(crate) async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Makes the one code that works for the next ten minutes.
    ///
    /// # Errors
    /// `NoRandom`.
    pub fn login_code(&self) -> Result<Secret, AccessError> {
        let code = Code::from_random(random()?);
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
    ) -> Result<SessionSecret, NotLetIn> {
        // Before the code is used up.
        password::check(&password).map_err(NotLetIn::Weak)?;
        match self.state(|state| state.code.answer(code, Instant::now())) {
            true => self.set_password(password, None).await,
            false => Err(NotLetIn::WrongCode),
        }
    }

    /// Sets the password of the page, for whoever is at the box; every session ends.
    ///
    /// # Errors
    /// It is too weak, or cannot be kept.
    pub async fn choose_password(&self, password: Zeroizing<String>) -> Result<(), PasswordError> {
        password::check(&password).map_err(PasswordError::Weak)?;
        match self.set_password(password, None).await {
            Ok(_) => Ok(()),
            Err(NotLetIn::Failed(error)) => Err(error.into()),
            Err(_) => Err(PasswordError::Weak("That password cannot be used.")),
        }
    }

    /// Lets in whoever has the password.
    pub(crate) async fn enter(
        &self,
        password: Zeroizing<String>,
        from: Source,
    ) -> Result<SessionSecret, NotLetIn> {
        let proven = self.prove(password, from).await?;
        let secret = SessionSecret::new(random()?);
        // In one step: a session that begins for a password that has just been replaced would outlive it.
        self.state(|state| {
            state.still(&proven)?;
            state.sessions.begin(secret.id(), Instant::now());
            Ok(secret)
        })
    }

    /// Replaces the password, for whoever knows the old one; all sessions end but the one that begins.
    pub(crate) async fn change_password(
        &self,
        old: Zeroizing<String>,
        new: Zeroizing<String>,
        from: Source,
    ) -> Result<SessionSecret, NotLetIn> {
        password::check(&new).map_err(NotLetIn::Weak)?;
        let proven = self.prove(old, from).await?;
        self.set_password(new, Some(proven)).await
    }

    /// Whether somebody who is logged in knows the password still: asked before what a borrowed browser must not get.
    pub(crate) async fn confirm(&self, password: Zeroizing<String>, from: Source) -> Result<(), NotLetIn> {
        self.prove(password, from).await.map(drop)
    }

    /// The hash of the password that was proven to be known.
    async fn prove(&self, password: Zeroizing<String>, from: Source) -> Result<String, NotLetIn> {
        let now = Instant::now();
        self.state(|state| state.guesses.charge(from, now))
            .map_err(NotLetIn::Wait)?;
        let turn = self.turn().await;
        // Read when it is our turn: whoever waited behind a change of the password has to know the new one.
        let hash = self
            .state(|state| state.kept.password.clone())
            .ok_or(NotLetIn::WrongPassword)?;
        let verified = self.tasks.spawn_blocking(move || {
            let _turn = turn;
            password::verify(&password, &hash).then_some(hash)
        });
        let proven = verified.await.ok().flatten().ok_or(NotLetIn::WrongPassword)?;
        self.state(|state| state.guesses.right(from));
        Ok(proven)
    }

    /// Replaces the password, where `proven` is still its hash, or whatever it is where nothing was proven.
    async fn set_password(
        &self,
        password: Zeroizing<String>,
        proven: Option<String>,
    ) -> Result<SessionSecret, NotLetIn> {
        let (salt, secret) = (random()?, SessionSecret::new(random()?));
        let turn = self.turn().await;
        let hashed = self.tasks.spawn_blocking(move || {
            let _turn = turn;
            password::hash(&password, salt)
        });
        let hash = hashed
            .await
            .ok()
            .flatten()
            .ok_or(NotLetIn::Weak("That password cannot be used."))?;
        let change = move |kept: &mut Kept| {
            if proven.is_some() && kept.password != proven {
                return Err(NotLetIn::WrongPassword);
            }
            kept.password = Some(hash);
            Ok(secret)
        };
        // Together with the password: no session that began with the old one is left for a moment.
        let outcome = self.change(change, |state, secret| {
            state.sessions.end_all();
            state.sessions.begin(secret.id(), Instant::now());
        });
        outcome.await?
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
        self.right_of_digest(&tokens::digest(token))
    }

    fn right_of_digest(&self, digest: &[u8; 32]) -> Option<Right> {
        self.state(|state| tokens::scope_of(&state.kept.tokens, digest, seconds()))
            .map(Right::from)
    }

    /// Whether somebody who was let in still would be. It does not count as using a session.
    pub(crate) fn still_knows(&self, caller: &Caller) -> bool {
        match caller {
            Caller::Session(session) => self.state(|state| state.sessions.lives(session, Instant::now())),
            Caller::Token(digest) => self.right_of_digest(digest).is_some(),
        }
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
        let (random, now, asked) = (random()?, seconds(), asked.clone());
        let make = move |kept: &mut Kept| {
            tokens::forget_expired(&mut kept.tokens, now);
            let (token, text) = tokens::make(&asked, random, &kept.tokens, now)?;
            let created = CreatedToken {
                schema: Schema,
                token: tokens::shown(&token, now),
                secret: Secret::new(text.to_string()),
            };
            kept.tokens.push(token);
            Ok(created)
        };
        self.change(make, |_, _| {}).await
    }

    /// Takes a token back, by the beginning of its id or its name. The inner error says that none or several are meant.
    pub(crate) async fn revoke_token(&self, id: &str) -> Result<Result<(), String>, AccessError> {
        let id = id.to_owned();
        let revoke = move |kept: &mut Kept| {
            let meant = tokens::named(&kept.tokens, &id).map(|token| token.id.clone());
            let meant = meant.ok_or_else(|| format!("no token, or more than one, is called {id:?}"))?;
            kept.tokens.retain(|token| token.id != meant);
            Ok(())
        };
        self.change(revoke, |_, &()| {}).await
    }

    /// Changes what is kept: on disk first, so that nothing counts that a restart would forget. `also` happens to the state
    /// in the same moment in which the change counts.
    ///
    /// # Cancellation
    /// Dropped before its turn, nothing changes; later it is done all the same, in memory as on disk.
    async fn change<T: Send + 'static, E: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Kept) -> Result<T, E> + Send + 'static,
        also: impl FnOnce(&mut State, &T) + Send + 'static,
    ) -> Result<Result<T, E>, AccessError> {
        let turn = self.turn().await;
        let shared = Arc::clone(&self.shared);
        let path = self.shared.path.clone();
        let done = self.tasks.spawn_blocking(move || {
            let _turn = turn;
            shared.change(change, also)
        });
        let broken = |error| AccessError::NotKept {
            path,
            source: io::Error::other(error),
        };
        done.await.map_err(broken).flatten()
    }

    /// Waits until it is our turn to hash or to write.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }

    /// Looks at the state, or changes it, for a moment.
    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        self.shared.state(look)
    }
}

impl Shared {
    /// See [`Access::change`]. Writes to the disk; whoever calls has the turn.
    fn change<T, E>(
        &self,
        change: impl FnOnce(&mut Kept) -> Result<T, E>,
        also: impl FnOnce(&mut State, &T),
    ) -> Result<Result<T, E>, AccessError> {
        let mut next = self.state(|state| state.kept.clone());
        let changed = match change(&mut next) {
            Ok(changed) => changed,
            Err(refused) => return Ok(Err(refused)),
        };
        let ready = match self.state(|state| state.fault.clone()) {
            None => Ok(()),
            Some(Fault::Damaged) => kept::set_aside(&self.path),
            Some(Fault::Unreadable(why)) => {
                let path = self.path.clone();
                return Err(AccessError::Unreadable { path, why });
            }
        };
        let written = ready.and_then(|()| next.write(&self.path));
        written.map_err(|source| AccessError::NotKept {
            path: self.path.clone(),
            source,
        })?;
        self.state(|state| {
            state.kept = next;
            state.fault = None;
            also(state, &changed);
        });
        Ok(Ok(changed))
    }

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
        let access = Access::open(folder.path());
        let code = access.login_code().unwrap();
        let weak = access.enter_with_code(code.expose(), words("short")).await;
        assert!(matches!(weak, Err(NotLetIn::Weak(_))));
        let session = access
            .enter_with_code(code.expose(), words("four quiet words"))
            .await
            .unwrap();
        assert!(access.knows(&session) && access.still_knows(&Caller::Session(session.id())));
        let again = access
            .enter_with_code(code.expose(), words("four other words"))
            .await;
        assert!(matches!(again, Err(NotLetIn::WrongCode)));
        // As after a restart, which ends sessions and codes.
        let access = Access::open(folder.path());
        assert!(access.has_password() && !access.knows(&session));
        let wrong = access.enter(words("four other words"), home()).await;
        assert!(matches!(wrong, Err(NotLetIn::WrongPassword)));
        let session = access.enter(words("four quiet words"), home()).await.unwrap();
        access.leave(&session.id());
        assert!(!access.still_knows(&Caller::Session(session.id())) && !access.knows(&session));
    }

    #[tokio::test]
    async fn a_new_password_ends_every_other_session() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::open(folder.path());
        let code = access.login_code().unwrap();
        let first = access
            .enter_with_code(code.expose(), words("four quiet words"))
            .await
            .unwrap();
        let (old, new) = (words("four quiet words"), words("some louder words"));
        let second = access.change_password(old, new, home()).await.unwrap();
        assert!(!access.knows(&first) && access.knows(&second));
        assert!(access.enter(words("four quiet words"), home()).await.is_err());
    }

    #[tokio::test]
    async fn a_password_that_is_being_replaced_lets_nobody_in_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::open(folder.path());
        let code = access.login_code().unwrap();
        access
            .enter_with_code(code.expose(), words("four quiet words"))
            .await
            .unwrap();
        for _ in 0..3 {
            let held = access.turn().await;
            let code = access.login_code().unwrap();
            let replaced = access.enter_with_code(code.expose(), words("some louder words"));
            let (held, entered) = (
                async { drop(held) },
                access.enter(words("four quiet words"), home()),
            );
            let stolen =
                access.change_password(words("four quiet words"), words("the thief's own words"), home());
            let (_, replaced, entered, stolen) =
                futures_util::future::join4(held, replaced, entered, stolen).await;
            let owner = replaced.unwrap();
            assert!(access.knows(&owner));
            assert!(entered.map_or(true, |session| !access.knows(&session)));
            assert!(stolen.is_err() && access.enter(words("some louder words"), home()).await.is_ok());
            let (old, new) = (words("some louder words"), words("four quiet words"));
            access.change_password(old, new, home()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_the_same_in_memory_and_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::open(folder.path());
        let asked = CreateToken {
            schema: Schema,
            name: "prometheus".into(),
            scope: Scope::Read,
            valid_seconds: 3600,
        };
        for _ in 0..20 {
            let mut broken_off = Box::pin(access.create_token(&asked));
            let _ = futures_util::poll!(&mut broken_off);
            drop(broken_off);
            access.create_token(&asked).await.unwrap().unwrap();
        }
        access.settle().await;
        assert_eq!(access.tokens().len(), 40);
        assert_eq!(Access::open(folder.path()).tokens(), access.tokens());
    }

    #[tokio::test]
    async fn many_wrong_passwords_at_once_are_as_many_one_after_another() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::open(folder.path());
        let code = access.login_code().unwrap();
        access
            .enter_with_code(code.expose(), words("four quiet words"))
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
        // Whoever guesses keeps nobody out who is at the box.
        let code = access.login_code().unwrap();
        assert!(
            access
                .enter_with_code("0000-0000-0000", words("four quiet words"))
                .await
                .is_err()
        );
        access
            .enter_with_code(code.expose(), words("four quiet words"))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_damaged_file_lets_nobody_in_and_is_kept_beside_the_one_that_replaces_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, aside) = (
            folder.path().join(FILE),
            folder.path().join("access.json.damaged-2"),
        );
        std::fs::write(folder.path().join("access.json.damaged-1"), "older").unwrap();
        std::fs::write(&path, r#"{"format":2,"tokens":[]}"#).unwrap();
        let access = Access::open(folder.path());
        assert!(!access.has_password());
        assert!(matches!(access.trouble(), Some(Trouble::AccessDamaged(_))));
        let code = access.login_code().unwrap();
        access
            .enter_with_code(code.expose(), words("four quiet words"))
            .await
            .unwrap();
        assert_eq!(access.trouble(), None);
        assert!(std::fs::read_to_string(aside).unwrap().contains("format\":2"));
        assert!(Access::open(folder.path()).has_password());
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        // Reading a directory fails whoever we are.
        std::fs::create_dir(folder.path().join(FILE)).unwrap();
        let access = Access::open(folder.path());
        assert!(matches!(access.trouble(), Some(Trouble::AccessUnreadable(..))));
        let code = access.login_code().unwrap();
        let entered = access
            .enter_with_code(code.expose(), words("four quiet words"))
            .await;
        let refused = matches!(entered, Err(NotLetIn::Failed(AccessError::Unreadable { .. })));
        assert!(refused && folder.path().join(FILE).is_dir());
    }

    #[tokio::test]
    async fn a_token_outlives_a_restart_until_it_is_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::open(folder.path());
        let asked = CreateToken {
            schema: Schema,
            name: "prometheus".into(),
            scope: Scope::Read,
            valid_seconds: 3600,
        };
        let made = access.create_token(&asked).await.unwrap().unwrap();
        let access = Access::open(folder.path());
        assert_eq!(access.right_of(made.secret.expose()), Some(Right::Read));
        let caller = Caller::bearing(made.secret.expose());
        assert!(access.still_knows(&caller));
        access.revoke_token("prometheus").await.unwrap().unwrap();
        assert_eq!(access.right_of(made.secret.expose()), None);
        assert!(!access.still_knows(&caller));
        assert!(access.revoke_token("prometheus").await.unwrap().is_err());
        assert_eq!(Access::open(folder.path()).tokens(), []);
    }
}
