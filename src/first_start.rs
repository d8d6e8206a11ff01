//! Shows once what a first start made: endpoint, access key, recovery phrase, and how to use them.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use appliance::api::Schema;
use serde::Serialize;
use storage::FirstStart;
use zeroize::Zeroizing;

use crate::node::REGION;

/// Whether secrets may be printed where nobody may be looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShowSecrets {
    /// Only on a terminal; otherwise into a private file.
    OnTerminal,
    /// Always: a person asked for it.
    Always,
}

/// Where the secrets went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// To stdout.
    Printed,
    /// Into this file, which only the owner can read.
    Kept(PathBuf),
}

/// What a first start made, and where clients connect.
pub(crate) struct Made<'a> {
    pub(crate) first: &'a FirstStart,
    pub(crate) endpoint: &'a str,
    /// Where the page is, and the code that opens it; none where it is off, or not running yet.
    pub(crate) page: Option<(&'a str, &'a str)>,
}

/// Prints what a first start made, or keeps it in a private file when stdout leads to a log.
///
/// # Errors
/// Neither was possible.
pub(crate) fn show(made: &Made<'_>, state: &Path, secrets: ShowSecrets, json: bool) -> io::Result<Shown> {
    if secrets == ShowSecrets::Always || io::stdout().is_terminal() {
        let shown = if json { document(made)? } else { text(made) };
        let mut stdout = io::stdout().lock();
        stdout.write_all(shown.as_bytes())?;
        stdout.flush()?;
        return Ok(Shown::Printed);
    }
    keep(made, state).map(Shown::Kept)
}

/// Keeps what a first start made in a private file.
///
/// # Errors
/// The file is there already, or the disk fails.
pub(crate) fn keep(made: &Made<'_>, state: &Path) -> io::Result<PathBuf> {
    let path = file(state);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    file.write_all(text(made).as_bytes())?;
    file.sync_all()?;
    Ok(path)
}

/// Where [`keep`] puts it.
pub(crate) fn file(state: &Path) -> PathBuf {
    state.join("first-start.txt")
}

#[derive(Serialize)]
struct Document<'a> {
    schema: Schema,
    event: &'static str,
    endpoint: &'a str,
    access_key: &'a str,
    secret_key: &'a str,
    recovery_phrase: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_code: Option<&'a str>,
}

fn document(made: &Made<'_>) -> io::Result<Zeroizing<String>> {
    let document = Document {
        schema: Schema,
        event: "first-start",
        endpoint: made.endpoint,
        access_key: made.first.owner_key.id.as_str(),
        secret_key: made.first.owner_key.secret.expose(),
        recovery_phrase: &made.first.recovery_phrase,
        page: made.page.map(|(url, _)| url),
        login_code: made.page.map(|(_, code)| code),
    };
    Ok(Zeroizing::new(serde_json::to_string(&document)? + "\n"))
}

fn text(made: &Made<'_>) -> Zeroizing<String> {
    let Made {
        first,
        endpoint,
        page,
    } = made;
    let page = page.map(|(url, code)| format!("  Page         {url}   login code {code} (valid 10 min)\n"));
    let page = Zeroizing::new(page.unwrap_or_default());
    let (id, secret) = (first.owner_key.id.as_str(), first.owner_key.secret.expose());
    Zeroizing::new(format!(
        "\
Your box is ready. This is shown once: keep it.

  Endpoint     {endpoint}   any region
  Access key   {id}
  Secret key   {secret}
{page}
aws-cli
  export AWS_ACCESS_KEY_ID={id}
  export AWS_SECRET_ACCESS_KEY={secret}
  export AWS_DEFAULT_REGION={REGION}
  aws --endpoint-url {endpoint} s3 mb s3://photos
  aws --endpoint-url {endpoint} s3 ls

rclone
  export RCLONE_CONFIG_WARREN_TYPE=s3
  export RCLONE_CONFIG_WARREN_PROVIDER=Other
  export RCLONE_CONFIG_WARREN_ENDPOINT={endpoint}
  export RCLONE_CONFIG_WARREN_ACCESS_KEY_ID={id}
  export RCLONE_CONFIG_WARREN_SECRET_ACCESS_KEY={secret}
  rclone lsd warren:

Recovery phrase: opens your data when the key file of this box is lost. Write it on paper, keep it
elsewhere, show it to nobody.
{phrase}

",
        page = *page,
        phrase = numbered(&first.recovery_phrase),
    ))
}

/// The words in rows of six with their numbers, as people copy them to paper.
fn numbered(phrase: &str) -> String {
    let words: Vec<&str> = phrase.split_whitespace().collect();
    let rows = words.chunks(6).enumerate().map(|(row, words)| {
        let cells = words
            .iter()
            .enumerate()
            .map(|(column, word)| format!("{:>3} {word:<9}", row * 6 + column + 1));
        cells.collect::<String>().trim_end().to_owned()
    });
    rows.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_phrase_is_shown_with_its_number() {
        let phrase = (1..=24).map(|n| format!("word{n}")).collect::<Vec<_>>().join(" ");
        let shown = numbered(&phrase);
        assert_eq!(shown.lines().count(), 4);
        assert!((1..=24).all(|n| shown.contains(&format!("{n} word{n}"))));
    }
}
