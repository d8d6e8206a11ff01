//! Receivers of events as the configuration names them, and the files of the authorities that vouch for them.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;

use s3::notify::{Authorities, Webhook};

use super::InvalidValue;

/// A file with certificates of authorities, and the webhook for which these vouch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityFile {
    /// The name of the webhook.
    pub webhook: String,
    /// Where; absolute.
    pub path: PathBuf,
}

impl AuthorityFile {
    /// Reads `NAME=FILE`.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidValue> {
        let (webhook, path) = text
            .split_once('=')
            .ok_or_else(|| InvalidValue(format!("{text:?} is not NAME=FILE")))?;
        let path = std::path::absolute(path.trim())
            .map_err(|_| InvalidValue(format!("name a file for the webhook {webhook:?}")))?;
        let webhook = webhook.trim().to_owned();
        Ok(Self { webhook, path })
    }

    fn read(&self) -> Result<Authorities, InvalidValue> {
        let path = self.path.display();
        let pem = std::fs::read(&self.path).map_err(|error| InvalidValue(format!("{path}: {error}")))?;
        Authorities::parse(&pem).map_err(|error| InvalidValue(format!("{path}: {error}")))
    }
}

impl fmt::Display for AuthorityFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.webhook, self.path.display())
    }
}

/// Reads webhooks, no two of one name.
pub(super) fn reader() -> impl FnMut(&str) -> Result<Webhook, InvalidValue> {
    let mut names = HashSet::new();
    move |text| {
        let webhook = Webhook::parse(text).map_err(|error| InvalidValue(error.to_string()))?;
        match names.insert(webhook.name().to_owned()) {
            true => Ok(webhook),
            false => Err(InvalidValue(format!(
                "two webhooks are called {:?}",
                webhook.name()
            ))),
        }
    }
}

/// The webhooks, each vouched for by the authorities in the file that is named for it.
pub(super) fn vouched_for(
    webhooks: Vec<Webhook>,
    files: &[AuthorityFile],
) -> Result<Vec<Webhook>, InvalidValue> {
    let mut names = HashSet::new();
    for AuthorityFile { webhook: name, .. } in files {
        let Some(webhook) = webhooks.iter().find(|webhook| webhook.name() == name) else {
            return Err(InvalidValue(format!(
                "no webhook in s3.webhooks is called {name:?}"
            )));
        };
        if !webhook.is_https() {
            return Err(InvalidValue(format!(
                "the URL of the webhook {name:?} is not https://"
            )));
        }
        if !names.insert(name) {
            return Err(InvalidValue(format!(
                "two files are named for the webhook {name:?}"
            )));
        }
    }
    let vouch = |webhook: Webhook| match files.iter().find(|file| file.webhook == webhook.name()) {
        Some(file) => Ok(webhook.vouched_for_by(file.read()?)),
        None => Ok(webhook),
    };
    webhooks.into_iter().map(vouch).collect()
}
