//! How a verb ends: the exit codes, and the message for the person at the keyboard.

use std::io;
use std::process::ExitCode;

use appliance::SocketError;
use hyper::StatusCode;
use storage::StoreError;
use storage::disk::DiskError;

use super::output::Output;
use crate::admin_client::AskError;
use crate::config::ConfigError;
use crate::listen::ListenError;

/// The exit codes of `warren`, stable for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// It failed.
    Error = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// No server is running.
    ServerDown = 3,
    /// Not allowed.
    Denied = 4,
    /// What was named does not exist.
    NotFound = 5,
    /// It exists already, or is in use.
    Conflict = 6,
    /// No answer in time.
    Timeout = 7,
    /// `status`: something is wrong, no data is in danger.
    Degraded = 10,
    /// `status`: data is lost or may be lost next.
    AtRisk = 11,
    /// `status`: nothing is served.
    Unavailable = 12,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        // The discriminants are the codes.
        Self::from(exit as u8)
    }
}

/// Why a verb was not done.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The code for scripts.
    pub(crate) exit: Exit,
    /// What went wrong; causes after colons.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Says it on stderr.
    pub(crate) fn print(&self, out: &Output) {
        // A reader that went away wants to know nothing more.
        if self.message.is_empty() {
            return;
        }
        out.error(&format!("warren: {}", self.message));
        if let Some(hint) = &self.hint {
            out.error(&format!("→ {hint}"));
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Usage, format!("{:#}", anyhow::Error::from(error)))
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        let (exit, hint) = match &error {
            AskError::NotRunning(_) => (
                Exit::ServerDown,
                Some("start it with `warren server`, or name its --state directory"),
            ),
            AskError::Denied(_) => (
                Exit::Denied,
                Some("run this as the user of the server, or with sudo"),
            ),
            AskError::Timeout => (Exit::Timeout, None),
            AskError::Problem(problem) => (exit_of(problem.status), None),
            _ => (Exit::Error, None),
        };
        let message = format!("{:#}", anyhow::Error::from(error));
        Self {
            exit,
            message,
            hint: hint.map(str::to_owned),
        }
    }
}

fn exit_of(status: u16) -> Exit {
    match StatusCode::from_u16(status) {
        Ok(StatusCode::NOT_FOUND) => Exit::NotFound,
        Ok(StatusCode::CONFLICT) => Exit::Conflict,
        Ok(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Exit::Denied,
        Ok(StatusCode::UNPROCESSABLE_ENTITY) => Exit::Usage,
        Ok(StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT) => Exit::Timeout,
        _ => Exit::Error,
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let exit = error.chain().find_map(exit_of_cause).unwrap_or(Exit::Error);
        Self::new(exit, format!("{error:#}"))
    }
}

fn exit_of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(SocketError::InUse { .. }) = cause.downcast_ref() {
        return Some(Exit::Conflict);
    }
    if let Some(ListenError::InUse(_)) = cause.downcast_ref() {
        return Some(Exit::Conflict);
    }
    if let Some(StoreError::Disk(DiskError::Locked { .. })) = cause.downcast_ref() {
        return Some(Exit::Conflict);
    }
    let denied = cause.downcast_ref::<io::Error>()?.kind() == io::ErrorKind::PermissionDenied;
    denied.then_some(Exit::Denied)
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // `warren key ls | head -1` is no failure worth a word.
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::Ok, ""),
            _ => Self::new(Exit::Error, format!("write: {error}")),
        }
    }
}
