//! `warren key`: lists, creates, imports and deletes access keys, and says what they may do and hold.

use std::path::PathBuf;

use appliance::api::{
    ChangeKey, CreateKey, CreatedKey, Grants, ImportedKey, Key, KeyBucket, KeyInfo, KeyList, Schema,
};
use clap::{Args, Subcommand};
use hyper::Method;
use serde::Serialize;

use super::bucket::granted;
use super::failure::{Exit, Failure};
use super::output::{Mark, Output, row};
use super::quota::{QuotaArgs, bounds};
use super::secret;
use crate::admin_client::AdminClient;

#[derive(Subcommand)]
pub(super) enum KeyVerb {
    /// List all access keys
    Ls,
    /// Create an access key; its secret is shown once
    Create {
        /// What people will call it
        name: String,
        /// Let it create buckets
        #[arg(long)]
        create_buckets: bool,
        /// Write the secret to this new file instead of showing it
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
    },
    /// Delete an access key: whoever uses it is locked out at once
    Rm {
        /// Its id or name
        key: String,
    },
    /// Give permissions to a key
    Allow(ChangeArgs),
    /// Take permissions from a key: those named, or all on the bucket
    Deny(ChangeArgs),
    /// Bound what all buckets together may hold that a key owns
    Quota {
        /// Its id or name
        key: String,
        #[command(flatten)]
        quota: QuotaArgs,
    },
    /// Bring an access key from another store; its secret comes from stdin or a file
    Import {
        /// What people will call it
        name: String,
        /// The access key id
        #[arg(long, value_name = "ID")]
        id: String,
        /// Read the secret from this file instead of stdin
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
        /// Let it create buckets
        #[arg(long)]
        create_buckets: bool,
    },
}

#[derive(Args)]
pub(super) struct ChangeArgs {
    /// Its id or name
    key: String,
    /// The bucket
    #[arg(required_unless_present = "create_buckets")]
    bucket: Option<String>,
    /// Read and list objects
    #[arg(long, requires = "bucket")]
    read: bool,
    /// Write and delete objects
    #[arg(long, requires = "bucket")]
    write: bool,
    /// Delete the bucket and change its settings
    #[arg(long, requires = "bucket")]
    owner: bool,
    /// Create buckets
    #[arg(long)]
    create_buckets: bool,
}

impl ChangeArgs {
    fn grants(&self) -> Grants {
        Grants {
            read: self.read,
            write: self.write,
            owner: self.owner,
        }
    }
}

pub(super) async fn run(
    verb: KeyVerb,
    client: &AdminClient,
    yes: bool,
    out: &Output,
) -> Result<Exit, Failure> {
    match verb {
        KeyVerb::Ls => list(&client.get(&["keys"]).await?, out)?,
        KeyVerb::Create {
            name,
            create_buckets,
            secret_file,
        } => {
            create(name, create_buckets, secret_file, client, out).await?;
        }
        KeyVerb::Rm { key } => remove(&key, client, yes, out).await?,
        KeyVerb::Allow(args) => {
            if args.bucket.is_some() && args.grants() == Grants::default() {
                return Err(Failure::usage("say what to allow: --read, --write or --owner"));
            }
            let grants = args.grants();
            change("allow", args, grants, client, out).await?;
        }
        KeyVerb::Deny(args) => {
            let all = Grants {
                read: true,
                write: true,
                owner: true,
            };
            let named = args.grants();
            let grants = if named == Grants::default() { all } else { named };
            change("deny", args, grants, client, out).await?;
        }
        KeyVerb::Quota { key, quota } => {
            let path = ["keys", &key, "quota"];
            let changed: KeyInfo = client.send(Method::PUT, &path, &quota.request()).await?;
            if out.json {
                return out.document(&changed).map(|()| Exit::Ok).map_err(Failure::from);
            }
            let (name, may_hold) = (&changed.key.name, bounds(changed.key.quota));
            out.note(&format!(
                "{} all buckets that {name:?} owns may hold: {may_hold}",
                out.mark(Mark::Good)
            ));
        }
        KeyVerb::Import {
            name,
            id,
            secret_file,
            create_buckets,
        } => {
            let secret = secret::read(secret_file.as_deref(), "Secret key", out)?;
            let import = Some(ImportedKey { id, secret });
            let request = CreateKey {
                schema: Schema,
                name,
                create_buckets,
                import,
            };
            let made: CreatedKey = client.send(Method::POST, &["keys"], &request).await?;
            imported(&made.key, out)?;
        }
    }
    Ok(Exit::Ok)
}

/// A key just made, as far as it is printed.
#[derive(Serialize)]
struct KeyMade<'a> {
    schema: Schema,
    #[serde(flatten)]
    key: &'a Key,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_file: Option<PathBuf>,
}

async fn create(
    name: String,
    create_buckets: bool,
    secret_file: Option<PathBuf>,
    client: &AdminClient,
    out: &Output,
) -> Result<(), Failure> {
    // The file comes first: a key whose secret cannot be kept would be of no use.
    let file = secret_file.map(secret::SecretFile::create).transpose()?;
    let request = CreateKey {
        schema: Schema,
        name,
        create_buckets,
        import: None,
    };
    let made: CreatedKey = client.send(Method::POST, &["keys"], &request).await?;
    let kept = file.map(|file| file.keep(&made.secret)).transpose()?;
    let secret = kept.is_none().then(|| made.secret.expose());
    if out.json {
        return Ok(out.document(&KeyMade {
            schema: Schema,
            key: &made.key,
            secret,
            secret_file: kept,
        })?);
    }
    out.note(&format!(
        "{} access key {:?} created",
        out.mark(Mark::Good),
        made.key.name
    ));
    let place = kept
        .as_ref()
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    let second = match secret {
        Some(secret) => row(["Secret key", secret]),
        None => row(["Secret file", &place]),
    };
    out.table(&[row(["Access key", &made.key.id]), second])?;
    if secret.is_some() {
        out.note("The secret is shown once: keep it.");
    }
    out.note(&format!(
        "→ Give it a bucket:  warren key allow {} BUCKET --read --write",
        made.key.id
    ));
    Ok(())
}

async fn remove(key: &str, client: &AdminClient, yes: bool, out: &Output) -> Result<(), Failure> {
    let info: KeyInfo = client.get(&["keys", key]).await?;
    let (id, name) = (&info.key.id, &info.key.name);
    let question = format!("Delete access key {id} ({name:?})? Whoever uses it is locked out.");
    out.consent(yes, &question)?;
    client.delete(&["keys", id]).await?;
    Ok(out.deleted("access key", id)?)
}

async fn change(
    verb: &str,
    args: ChangeArgs,
    grants: Grants,
    client: &AdminClient,
    out: &Output,
) -> Result<(), Failure> {
    let on = args.bucket.map(|bucket| KeyBucket { bucket, grants });
    let request = ChangeKey {
        schema: Schema,
        on,
        create_buckets: args.create_buckets,
    };
    let changed: KeyInfo = client
        .send(Method::POST, &["keys", &args.key, verb], &request)
        .await?;
    if out.json {
        return Ok(out.document(&changed)?);
    }
    out.note(&format!(
        "{} {:?} now may: {}",
        out.mark(Mark::Good),
        changed.key.name,
        may(&changed.key)
    ));
    Ok(())
}

fn imported(key: &Key, out: &Output) -> Result<(), Failure> {
    if out.json {
        return Ok(out.document(&KeyMade {
            schema: Schema,
            key,
            secret: None,
            secret_file: None,
        })?);
    }
    out.note(&format!(
        "{} access key {} imported as {:?}",
        out.mark(Mark::Good),
        key.id,
        key.name
    ));
    Ok(())
}

fn list(list: &KeyList, out: &Output) -> Result<(), Failure> {
    if out.json {
        return Ok(out.document(list)?);
    }
    let head = [row(["ID", "NAME", "CREATED", "QUOTA", "MAY"])];
    let keys = list
        .keys
        .iter()
        .map(|key| row([&key.id, &key.name, &key.created, &bounds(key.quota), &may(key)]));
    Ok(out.table(&head.into_iter().chain(keys).collect::<Vec<_>>())?)
}

/// Everything a key may do, in words.
fn may(key: &Key) -> String {
    let create = key.create_buckets.then(|| "create buckets".to_owned());
    let buckets = key
        .buckets
        .iter()
        .map(|on| format!("{}: {}", on.bucket, granted(on.grants)));
    let all: Vec<String> = create.into_iter().chain(buckets).collect();
    if all.is_empty() {
        "nothing".into()
    } else {
        all.join("; ")
    }
}
