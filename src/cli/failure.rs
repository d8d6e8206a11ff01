//! How a verb ends: the exit codes, and the message for the person at the keyboard.

use std::io;
use std::process::ExitCode;

use appliance::api::Schema;
use appliance::{Problem, SocketError};
use hyper::StatusCode;
use serde::Serialize;
use storage::StoreError;
use storage::disk::DiskError;

use super::output::Output;
use crate::admin_client::AskError;
use crate::config::{ConfigError, FileError};
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
    /// What the node said, where it said no.
    problem: Option<Problem>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
            problem: None,
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

    /// The code by which the node said no, if it did.
    pub(crate) fn code(&self) -> Option<&str> {
        self.problem.as_ref().map(|problem| problem.code.as_ref())
    }

    /// Says it on stderr: in words, or as a document.
    pub(crate) fn print(&self, out: &Output) {
        // A reader that went away wants to know nothing more.
        if self.message.is_empty() {
            return;
        }
        if out.json
            && let Ok(document) = serde_json::to_string(&self.document())
        {
            return out.error(&document);
        }
        out.error(&format!("warren: {}", self.message));
        if let Some(hint) = &self.hint {
            out.error(&format!("→ {hint}"));
        }
    }
}

/// A failure as scripts read it: the problem document of the admin API, and what to do about it.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    problem: Problem,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl Failure {
    fn document(&self) -> Document<'_> {
        let problem = self.problem.clone().unwrap_or_else(|| {
            let (status, code) = self.exit.problem();
            Problem {
                schema: Schema,
                status: status.as_u16(),
                code: code.into(),
                detail: self.message.clone(),
            }
        });
        Document {
            problem,
            hint: self.hint.as_deref(),
        }
    }
}

impl Exit {
    /// The status and the code of a problem that the node did not name itself.
    const fn problem(self) -> (StatusCode, &'static str) {
        match self {
            Self::Usage => (StatusCode::UNPROCESSABLE_ENTITY, "usage"),
            Self::ServerDown => (StatusCode::SERVICE_UNAVAILABLE, "server-down"),
            Self::Denied => (StatusCode::FORBIDDEN, "denied"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found"),
            Self::Conflict => (StatusCode::CONFLICT, "conflict"),
            Self::Timeout => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
            Self::Ok | Self::Error | Self::Degraded | Self::AtRisk | Self::Unavailable => {
                (StatusCode::INTERNAL_SERVER_ERROR, "failed")
            }
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let kind = match &error {
            ConfigError::File(FileError::Read { source, .. }) => Some(source.kind()),
            _ => None,
        };
        let exit = match kind {
            Some(io::ErrorKind::PermissionDenied) => Exit::Denied,
            Some(io::ErrorKind::NotFound) => Exit::NotFound,
            _ => Exit::Usage,
        };
        let failure = Self::new(exit, format!("{:#}", anyhow::Error::from(error)));
        match exit {
            Exit::Denied => failure.hint(DENIED_HINT),
            _ => failure,
        }
    }
}

/// What to do where the state or the socket belongs to somebody else.
const DENIED_HINT: &str = "run this as the user of the server, or with sudo";

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        let (exit, hint) = match &error {
            AskError::NotRunning(_) => (
                Exit::ServerDown,
                Some("start it with `warren server`, or name its --state directory"),
            ),
            AskError::Denied(_) => (Exit::Denied, Some(DENIED_HINT)),
            AskError::Timeout => (Exit::Timeout, None),
            AskError::Problem(problem) => (exit_of(problem.status), None),
            _ => (Exit::Error, None),
        };
        let problem = match &error {
            AskError::Problem(problem) => Some(problem.clone()),
            _ => None,
        };
        let message = format!("{:#}", anyhow::Error::from(error));
        Self {
            exit,
            message,
            hint: hint.map(str::to_owned),
            problem,
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
    if let Some(ListenError::InUse(..) | ListenError::MeshInUse(_)) = cause.downcast_ref() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_says_why_in_the_exit_code() {
        let failure = |kind: io::ErrorKind| {
            Failure::from(ConfigError::File(FileError::Read {
                path: "/x".into(),
                source: kind.into(),
            }))
        };
        let denied = failure(io::ErrorKind::PermissionDenied);
        assert_eq!(denied.exit, Exit::Denied);
        assert!(denied.hint.is_some_and(|hint| hint.contains("sudo")));
        assert_eq!(failure(io::ErrorKind::NotFound).exit, Exit::NotFound);
        assert_eq!(failure(io::ErrorKind::InvalidData).exit, Exit::Usage);
    }
}
