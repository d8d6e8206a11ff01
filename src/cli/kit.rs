//! `warren kit`: saves the recovery kit as a page to print, and verifies that one still helps.

use std::fs;
use std::path::{Path, PathBuf};

use appliance::api::{Kit, Schema};
use appliance::{keys_of_kit, kit_page};
use clap::Subcommand;
use serde::Serialize;
use storage::RecoveryCopy;

use super::failure::{Exit, Failure};
use super::new_file;
use super::output::{Mark, Output};
use super::secret::{self, unusable};
use crate::admin_client::{AdminClient, AskError};

/// No kit is longer, in bytes.
const KIT_BYTES_MAX: u64 = 4 << 20;

#[derive(Subcommand)]
pub(super) enum KitVerb {
    /// Save a page to print, with all that helps when boxes are lost, and room for the 24 words
    Save {
        /// A new file, e.g. warren-kit.html; browsers print it and make a PDF of it
        file: PathBuf,
    },
    /// Verify that a kit is whole and has the keys that the mesh uses now
    Verify {
        /// The file as it was saved, or a text with the digits typed from paper
        file: PathBuf,
        /// Also verify the 24 words: read them from this file, or `-` for the keyboard
        #[arg(long, value_name = "FILE")]
        recovery_phrase_file: Option<PathBuf>,
    },
}

pub(super) async fn run(verb: KitVerb, client: &AdminClient, out: &Output) -> Result<Exit, Failure> {
    match verb {
        KitVerb::Save { file } => save(&file, client, out).await,
        KitVerb::Verify {
            file,
            recovery_phrase_file,
        } => verify(&file, recovery_phrase_file.as_deref(), client, out).await,
    }
}

async fn save(file: &Path, client: &AdminClient, out: &Output) -> Result<Exit, Failure> {
    if file
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("pdf"))
    {
        let hint = "name it .html: a browser prints it, and makes a PDF of it";
        return Err(Failure::usage("the kit is a page of HTML").hint(hint));
    }
    let kit: Kit = client.get(&["kit"]).await?;
    let saved = new_file::save(file, &kit_page(&kit))?;
    if out.json {
        out.document(&saved)?;
        return Ok(Exit::Ok);
    }
    out.note(&format!(
        "{} Recovery kit saved: {}",
        out.mark(Mark::Good),
        file.display()
    ));
    out.note("→ print it, write the 24 words on it, and keep it in another home");
    out.note(&format!(
        "→ verify it: warren kit verify {} --recovery-phrase-file -",
        file.display()
    ));
    Ok(Exit::Ok)
}

/// What a kit is good for.
#[derive(Serialize)]
struct Verified {
    schema: Schema,
    /// Whether it helps.
    good: bool,
    /// Generations of keys in it.
    generations: usize,
    /// Generations that the mesh uses and it lacks; absent where no server runs that could say.
    #[serde(skip_serializing_if = "Option::is_none")]
    lacks: Option<usize>,
    /// Generations that the words open; absent where none were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    opened: Option<usize>,
    /// What is wrong with it.
    problems: Vec<String>,
}

async fn verify(
    file: &Path,
    phrase: Option<&Path>,
    client: &AdminClient,
    out: &Output,
) -> Result<Exit, Failure> {
    let length = fs::metadata(file).map_err(|error| unusable(file, &error))?.len();
    let text = match length {
        0..=KIT_BYTES_MAX => fs::read_to_string(file).map_err(|error| unusable(file, &error))?,
        _ => String::new(),
    };
    let copy = keys_of_kit(&text).and_then(|keys| RecoveryCopy::read(&keys));
    let Some(copy) = copy else {
        let message = format!("{} is no recovery kit, or is damaged", file.display());
        return Err(Failure::new(Exit::Error, message).hint("save another: warren kit save FILE"));
    };
    let mut verified = Verified {
        schema: Schema,
        good: true,
        generations: copy.generations(),
        lacks: None,
        opened: None,
        problems: Vec::new(),
    };
    if let Some(now) = keys_now(client).await? {
        verified.compare(&copy, &now);
    }
    if let Some(file) = phrase {
        let file = (file != Path::new("-")).then_some(file);
        let words = secret::read(file, "Recovery phrase", out)?;
        verified.open(&copy, words.expose());
    }
    verified.good = verified.problems.is_empty();
    verified.report(phrase.is_some(), out)?;
    Ok(if verified.good { Exit::Ok } else { Exit::Error })
}

/// The sealed keys that the running server has; none where none runs.
async fn keys_now(client: &AdminClient) -> Result<Option<RecoveryCopy>, Failure> {
    match client.get::<Kit>(&["kit"]).await {
        Ok(kit) => {
            let page = kit_page(&kit);
            Ok(keys_of_kit(&page).and_then(|keys| RecoveryCopy::read(&keys)))
        }
        Err(AskError::NotRunning(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Verified {
    fn compare(&mut self, copy: &RecoveryCopy, now: &RecoveryCopy) {
        if !copy.is_of_mesh_of(now) {
            self.problems.push("it is of another mesh".into());
            return;
        }
        let lacks = copy.lacks(now);
        self.lacks = Some(lacks);
        if lacks > 0 {
            let why =
                "the mesh has had new keys since it was made: save another, and write the same words on it";
            self.problems.push(why.into());
        }
    }

    fn open(&mut self, copy: &RecoveryCopy, words: &str) {
        match copy.opened_by(words) {
            Ok(opened) => {
                self.opened = Some(opened);
                if opened < self.generations {
                    self.problems.push("these words do not open it".into());
                }
            }
            Err(why) => self.problems.push(why),
        }
    }

    fn report(&self, has_words: bool, out: &Output) -> Result<(), Failure> {
        if out.json {
            return Ok(out.document(self)?);
        }
        for problem in &self.problems {
            out.data(&format!("{} {problem}", out.mark(Mark::Bad)))?;
        }
        if self.good {
            out.data(&format!("{} the kit is whole", out.mark(Mark::Good)))?;
            let now = match self.lacks {
                Some(_) => (Mark::Good, "it has the keys that the mesh uses now"),
                None => (
                    Mark::Look,
                    "whether it has the newest keys, only a running server can say",
                ),
            };
            out.data(&format!("{} {}", out.mark(now.0), now.1))?;
            let words = match has_words {
                true => (Mark::Good, "the words open it"),
                false => (
                    Mark::Look,
                    "the words were not verified: --recovery-phrase-file -",
                ),
            };
            out.data(&format!("{} {}", out.mark(words.0), words.1))?;
        }
        Ok(())
    }
}
