//! What the next page of a session says once: that something was done, why not, or a secret that is shown now or never.

use crate::Problem;
use crate::api::{AppTested, CreatedInvite, CreatedKey, CreatedToken, Shared};

/// Something to say on the next page.
#[derive(Debug)]
pub(crate) enum Note {
    /// It was done.
    Done(String),
    /// It was not done.
    Failed {
        /// Why, as a sentence.
        why: String,
        /// What to do about it; empty where the sentence says that.
        advice: &'static str,
    },
    /// An access key with its secret.
    Key(Box<CreatedKey>),
    /// An invite with its token.
    Invite(Box<CreatedInvite>),
    /// A link that opens one object to whoever has it.
    Link(Box<Shared>),
    /// What an app could do with a key.
    Tested(Box<AppTested>),
    /// A token of the admin API with its secret.
    Token(Box<CreatedToken>),
}

impl From<Problem> for Note {
    fn from(problem: Problem) -> Self {
        Self::Failed {
            advice: advice(&problem.code),
            why: problem.detail,
        }
    }
}

/// What a person can do about a problem of this kind.
fn advice(code: &str) -> &'static str {
    match code {
        "no-such-bucket" | "no-such-key" | "no-such-invite" | "no-such-peer" | "no-such-object"
        | "no-such-version" | "no-such-upload" => "Somebody may have removed it: look at the list.",
        "bucket-exists" => "Choose another name.",
        "bucket-not-empty" => "Empty it with an S3 program, for example: rclone purge warren:NAME",
        "no-owner" => "Create an access key that may create buckets first, on the page Keys.",
        "still-needed" | "still-holds" => {
            "It is handing over what it holds: wait until Upkeep says that nothing is left, then try again. If it is gone for good, remove it with what only it has."
        }
        "no-answer" | "too-few-answer" => "Look at Homes to see who is away, and try again when it is back.",
        "no-versions" => "Have the bucket keep versions from now on, on its page.",
        "locked" => "It can be deleted once its retention or legal hold ends.",
        "over-quota" => "Delete something, or raise the bounds on the bucket's page.",
        "broke-off" => "Try again.",
        "busy" => "Try again in a moment.",
        "disk-full" => "Delete something, or give the mesh more room.",
        "read-only" => "Overview says why, and what to do about it.",
        "failed" => "The box's log says more.",
        _ => "",
    }
}
