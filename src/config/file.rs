//! The configuration file: TOML, every key optional, unknown keys refused.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::KEYS;

/// What a configuration file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    /// `name`.
    pub name: Option<String>,
    /// `zone`.
    pub zone: Option<String>,
    /// `state`.
    pub state: Option<String>,
    /// `data`.
    pub data: Option<Vec<String>>,
    /// The `[s3]` section.
    pub s3: S3Section,
    /// The `[page]` section.
    pub page: PageSection,
    /// The `[mesh]` section.
    pub mesh: MeshSection,
    /// The `[log]` section.
    pub log: LogSection,
}

/// What a configuration file says about S3.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Section {
    /// `s3.address`.
    pub address: Option<String>,
    /// `s3.domains`.
    pub domains: Option<Vec<String>>,
    /// `s3.website_domains`.
    pub website_domains: Option<Vec<String>>,
    /// `s3.proxies`.
    pub proxies: Option<Vec<String>>,
    /// `s3.webhooks`.
    pub webhooks: Option<Vec<String>>,
    /// `s3.webhook_ca_files`.
    pub webhook_ca_files: Option<Vec<String>>,
}

/// What a configuration file says about the page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PageSection {
    /// `page.address`.
    pub address: Option<String>,
    /// `page.hosts`.
    pub hosts: Option<Vec<String>>,
    /// `page.lan_only`.
    pub lan_only: Option<String>,
}

/// What a configuration file says about the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeshSection {
    /// `mesh.address`.
    pub address: Option<String>,
    /// `mesh.public`.
    pub public: Option<Vec<String>>,
    /// `mesh.mdns`.
    pub mdns: Option<String>,
    /// `mesh.upnp`.
    pub upnp: Option<String>,
    /// `mesh.limit_up`.
    pub limit_up: Option<String>,
    /// `mesh.limit_down`.
    pub limit_down: Option<String>,
}

/// What a configuration file says about the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSection {
    /// `log.level`.
    pub level: Option<String>,
    /// `log.format`.
    pub format: Option<String>,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("read {}", .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is not TOML, or a value has the wrong type.
    #[error("{}: {message}", .path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where and why, over several lines.
        message: String,
    },
    /// It has a key that means nothing.
    #[error("{}, line {line}: unknown key `{key}`{}", .path.display(), suggestion(.nearest))]
    UnknownKey {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The key with its section.
        key: String,
        /// The known key that looks most like it, if any does.
        nearest: Option<&'static str>,
    },
}

fn suggestion(nearest: &Option<&'static str>) -> String {
    nearest
        .map(|key| format!("; did you mean `{key}`?"))
        .unwrap_or_default()
}

impl File {
    /// Reads a file that must exist.
    pub(super) fn read(path: &Path) -> Result<Self, FileError> {
        let text = std::fs::read_to_string(path).map_err(|source| FileError::Read {
            path: path.into(),
            source,
        })?;
        Self::parse(path, &text)
    }

    /// Reads a file; one that does not exist says nothing.
    pub(super) fn read_if_there(path: &Path) -> Result<Self, FileError> {
        match Self::read(path) {
            Err(FileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            other => other,
        }
    }

    /// Understands the text of a file; `path` is for the message.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        let malformed = |error: toml::de::Error| FileError::Malformed {
            path: path.into(),
            message: error.to_string(),
        };
        let table = DeTable::parse(text).map_err(malformed)?;
        if let Some((key, at)) = unknown_key(table.get_ref(), "") {
            let line = 1 + text
                .as_bytes()
                .iter()
                .take(at)
                .filter(|byte| **byte == b'\n')
                .count();
            let nearest = nearest(&key);
            return Err(FileError::UnknownKey {
                path: path.into(),
                line,
                key,
                nearest,
            });
        }
        toml::from_str(text).map_err(malformed)
    }
}

/// The first key that means nothing, and the byte where it stands.
fn unknown_key(table: &DeTable<'_>, section: &str) -> Option<(String, usize)> {
    let mut keys: Vec<(&Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>)> = table.iter().collect();
    keys.sort_by_key(|(key, _)| key.span().start);
    keys.into_iter().find_map(|(key, value)| {
        let path = format!("{section}{}", key.get_ref());
        let inside = format!("{path}.");
        match value.get_ref() {
            DeValue::Table(inner) if KEYS.iter().any(|known| known.starts_with(&inside)) => {
                unknown_key(inner, &inside)
            }
            _ if KEYS.contains(&path.as_str()) => None,
            // A value where a section belongs is a matter of types, reported by the next step.
            _ if KEYS.iter().any(|known| known.starts_with(&inside)) => None,
            _ => Some((path, key.span().start)),
        }
    })
}

/// The known key that looks most like `key`, with or without its section.
fn nearest(key: &str) -> Option<&'static str> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |known: &str| {
        let whole = strsim::jaro_winkler(key, known);
        whole.max(strsim::jaro_winkler(&last(key), &last(known)))
    };
    // Below 0.8 the words have little more in common than their first letter.
    KEYS.into_iter()
        .map(|known| (likeness(known), known))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}
