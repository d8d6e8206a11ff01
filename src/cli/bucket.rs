//! `warren bucket`: lists, creates, deletes, opens and bounds buckets, gives them other names, and says how they keep what is in them.

use appliance::ByteSize;
use appliance::api::{
    Alias, Bucket, BucketInfo, BucketList, CreateBucket, DefaultRetention, Grants, ObjectInfo, Public,
    RestoreObject, RetentionMode, Schema, SetAlias, SetLock, SetPublic, SetVersioning, SetWebsite,
    Versioning, WebsitePages, WebsiteShown,
};
use clap::{Subcommand, ValueEnum};
use hyper::Method;

use super::failure::{Exit, Failure};
use super::output::{Mark, Output, row};
use super::quota::{QuotaArgs, bounds, held};
use crate::admin_client::AdminClient;

#[derive(Subcommand)]
pub(super) enum BucketVerb {
    /// List all buckets
    Ls,
    /// Create a bucket
    Create {
        /// 3 to 63 lower-case letters, digits, dots and hyphens
        name: String,
        /// Id or name of the key that owns it [default: the oldest key that may create buckets]
        #[arg(long, value_name = "KEY")]
        owner: Option<String>,
    },
    /// Delete an empty bucket
    Rm {
        /// Its name
        name: String,
    },
    /// Show a bucket and who may use it
    Info {
        /// Its name
        name: String,
    },
    /// Give a bucket another name, for everybody or for one access key
    Alias {
        /// Its name
        name: String,
        /// The other name
        alias: String,
        /// Id or name of the key for which it is
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// Take the other name away
        #[arg(long)]
        remove: bool,
    },
    /// Bound what a bucket may hold
    Quota {
        /// Its name
        name: String,
        #[command(flatten)]
        quota: QuotaArgs,
    },
    /// Let anyone without a key read and list a bucket, or stop that
    Public {
        /// Its name
        name: String,
        /// On or off
        access: Switch,
    },
    /// Keep old versions of the objects of a bucket, or keep no more of them
    Versioning {
        /// Its name
        name: String,
        /// On or off; off keeps the versions that are there
        keep: Switch,
    },
    /// Give a bucket an object lock, for good: versions can be protected from everybody until a day
    Lock {
        /// Its name; it has to keep old versions
        name: String,
        /// Days for which new versions stay that are put without a retention of their own [default: as it is; none for a new lock]
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: Option<u32>,
        /// From now on only those versions stay that are put with a retention of their own
        #[arg(long, conflicts_with = "days")]
        no_days: bool,
        /// How that binds
        #[arg(long, value_enum, default_value_t = Mode::Governance, requires = "days")]
        mode: Mode,
    },
    /// Serve a bucket as a website, at the host that is its name or below `s3.website_domains`; or show no more of it
    Website {
        /// Its name
        name: String,
        /// What is shown for a folder
        #[arg(long, value_name = "FILE", default_value = "index.html")]
        index: String,
        /// The object that is shown for errors
        #[arg(long, value_name = "OBJECT")]
        error: Option<String>,
        /// Serve it no more
        #[arg(long, conflicts_with_all = ["index", "error"])]
        off: bool,
    },
    /// Bring back an object that was deleted, or with --version what was overwritten
    Undelete {
        /// The bucket's name
        name: String,
        /// The object's name
        key: String,
        /// Id of the version [default: the one that was deleted last]
        #[arg(long, value_name = "ID")]
        version: Option<String>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    /// Keys that may bypass governance can still delete
    Governance,
    /// Nobody can delete, not even you
    Compliance,
}

pub(super) async fn run(
    verb: BucketVerb,
    client: &AdminClient,
    yes: bool,
    out: &Output,
) -> Result<Exit, Failure> {
    match verb {
        BucketVerb::Ls => list(&client.get(&["buckets"]).await?, out)?,
        BucketVerb::Create { name, owner } => {
            let request = CreateBucket {
                schema: Schema,
                name,
                owner,
            };
            let made: BucketInfo = client.send(Method::POST, &["buckets"], &request).await?;
            done(
                &made,
                &format!(
                    "bucket {} created, owned by {}",
                    made.bucket.name, made.bucket.owner
                ),
                out,
            )?;
        }
        BucketVerb::Rm { name } => {
            client.delete(&["buckets", &name]).await?;
            out.deleted("bucket", &name)?;
        }
        BucketVerb::Info { name } => info(&client.get(&["buckets", &name]).await?, out)?,
        BucketVerb::Alias {
            name,
            alias,
            key,
            remove,
        } => {
            let request = SetAlias {
                schema: Schema,
                alias,
                key,
                on: !remove,
            };
            let path = ["buckets", &name, "aliases"];
            let changed: BucketInfo = client.send(Method::PUT, &path, &request).await?;
            let message = format!(
                "bucket {} is also called: {}",
                changed.bucket.name,
                called(&changed)
            );
            done(&changed, &message, out)?;
        }
        BucketVerb::Quota { name, quota } => {
            let path = ["buckets", &name, "quota"];
            let changed: BucketInfo = client.send(Method::PUT, &path, &quota.request()).await?;
            let message = format!(
                "bucket {name} may hold: {}; it holds {}",
                bounds(changed.quota),
                held(changed.holds)
            );
            done(&changed, &message, out)?;
        }
        BucketVerb::Public { name, access } => {
            let request = SetPublic {
                schema: Schema,
                public: access == Switch::On,
            };
            let path = ["buckets", &name, "public"];
            let changed: BucketInfo = client.send(Method::PUT, &path, &request).await?;
            done(&changed, &opened(&changed), out)?;
        }
        BucketVerb::Versioning { name, keep } => {
            let request = SetVersioning {
                schema: Schema,
                on: keep == Switch::On,
            };
            let path = ["buckets", &name, "versioning"];
            let changed: BucketInfo = client.send(Method::PUT, &path, &request).await?;
            let message = match keep {
                Switch::On => format!("bucket {name} keeps old versions from now on"),
                Switch::Off => format!("bucket {name} keeps no more old versions; those that are there stay"),
            };
            done(&changed, &message, out)?;
        }
        BucketVerb::Lock {
            name,
            days,
            no_days,
            mode,
        } => {
            let retention = days.map(|days| DefaultRetention {
                mode: match mode {
                    Mode::Governance => RetentionMode::Governance,
                    Mode::Compliance => RetentionMode::Compliance,
                },
                days,
            });
            let before: BucketInfo = client.get(&["buckets", &name]).await?;
            if before.lock.is_some() && retention.is_none() && !no_days {
                let message = format!("bucket {name} has a lock already: {}", locked(&before));
                done(&before, &message, out)?;
                return Ok(Exit::Ok);
            }
            if before.lock.is_none() || mode == Mode::Compliance {
                out.consent(yes, &unlockable(&name, retention))?;
            }
            let request = SetLock {
                schema: Schema,
                retention,
            };
            let path = ["buckets", &name, "lock"];
            let changed: BucketInfo = client.send(Method::PUT, &path, &request).await?;
            done(
                &changed,
                &format!("bucket {name} has a lock: {}", locked(&changed)),
                out,
            )?;
        }
        BucketVerb::Website {
            name,
            index,
            error,
            off,
        } => {
            let request = SetWebsite {
                schema: Schema,
                pages: (!off).then_some(WebsitePages { index, error }),
            };
            let path = ["buckets", &name, "website"];
            let changed: BucketInfo = client.send(Method::PUT, &path, &request).await?;
            let message = match off {
                true => format!("bucket {name} is no website any more"),
                false => format!("bucket {name} is a website: {}", website(&changed)),
            };
            done(&changed, &message, out)?;
            if !off && changed.bucket.public == Public::No && !changed.policy {
                out.note(&format!("→ nobody sees it yet: warren bucket public {name} on"));
            }
        }
        BucketVerb::Undelete { name, key, version } => {
            let request = RestoreObject {
                schema: Schema,
                key,
                version,
            };
            let path = ["buckets", &name, "objects", "restore"];
            let back: ObjectInfo = client.send(Method::POST, &path, &request).await?;
            match out.json {
                true => out.document(&back)?,
                // It may never have been deleted: what is said is what is there now.
                false => out.note(&format!(
                    "{} {} is in {name}: the version of {}, {}",
                    out.mark(Mark::Good),
                    request.key,
                    back.modified,
                    ByteSize(back.size)
                )),
            }
        }
    }
    Ok(Exit::Ok)
}

fn done(bucket: &BucketInfo, message: &str, out: &Output) -> Result<(), Failure> {
    if out.json {
        out.document(bucket)?;
    } else {
        out.note(&format!("{} {message}", out.mark(Mark::Good)));
    }
    Ok(())
}

/// What somebody has to say yes to: nothing takes a lock away.
fn unlockable(name: &str, retention: Option<DefaultRetention>) -> String {
    let stays = match retention {
        Some(DefaultRetention {
            mode: RetentionMode::Compliance,
            days,
        }) => format!(" Nobody, not even you, can delete for {days} days what is put there from now on."),
        _ => String::new(),
    };
    format!("The bucket {name} keeps its lock and its old versions for good.{stays} Go on?")
}

/// The lock of a bucket, in words.
fn locked(info: &BucketInfo) -> String {
    match info.lock.map(|lock| lock.retention) {
        None => "no".into(),
        Some(None) => "what is put with a retention stays".into(),
        Some(Some(DefaultRetention { mode, days })) => {
            let mode = match mode {
                RetentionMode::Governance => "governance",
                RetentionMode::Compliance => "compliance",
            };
            format!("what is put stays for {days} days ({mode})")
        }
    }
}

/// The website of a bucket, in words.
fn website(info: &BucketInfo) -> String {
    match &info.website {
        None => "no".into(),
        Some(WebsiteShown::Elsewhere { host }) => format!("sends everybody to {host}"),
        Some(WebsiteShown::Pages { index, error, rules }) => {
            let error = error.as_ref().map(|error| format!(", {error} for errors"));
            let rules = (*rules > 0).then(|| format!(", {rules} redirects"));
            format!(
                "{index} for folders{}{}",
                error.unwrap_or_default(),
                rules.unwrap_or_default()
            )
        }
    }
}

fn opened(changed: &BucketInfo) -> String {
    let name = &changed.bucket.name;
    match (changed.bucket.public, changed.policy) {
        (Public::No, false) => format!("bucket {name} is private: only keys with a permission"),
        (Public::No, true) => format!("bucket {name} is private, but its policy may let others in"),
        _ => format!("bucket {name} is public: whoever reaches this box reads and lists it"),
    }
}

fn list(list: &BucketList, out: &Output) -> Result<(), Failure> {
    if out.json {
        return Ok(out.document(list)?);
    }
    if list.buckets.is_empty() {
        out.note("no buckets yet: warren bucket create NAME");
        return Ok(());
    }
    let head = [row(["NAME", "CREATED", "OWNER", "PUBLIC"])];
    let buckets = list
        .buckets
        .iter()
        .map(|bucket| row([&bucket.name, &bucket.created, &bucket.owner, public(bucket)]));
    Ok(out.table(&head.into_iter().chain(buckets).collect::<Vec<_>>())?)
}

fn info(info: &BucketInfo, out: &Output) -> Result<(), Failure> {
    if out.json {
        return Ok(out.document(info)?);
    }
    let bucket = &info.bucket;
    out.table(&[
        row(["Bucket", &bucket.name]),
        row(["Created", &bucket.created]),
        row(["Owner", &bucket.owner]),
        row(["Public", public(bucket)]),
        row(["Aliases", &called(info)]),
        row(["Holds", &held(info.holds)]),
        row(["Quota", &bounds(info.quota)]),
        row(["Old versions", kept(info.versioning)]),
        row(["Lock", &locked(info)]),
        row(["Website", &website(info)]),
        row(["Policy", if info.policy { "yes" } else { "no" }]),
    ])?;
    let head = [row(["KEY", "NAME", "MAY"])];
    let keys = info
        .keys
        .iter()
        .map(|key| row([&key.id, &key.name, &granted(key.grants)]));
    Ok(out.table(&head.into_iter().chain(keys).collect::<Vec<_>>())?)
}

/// The other names of a bucket, in words.
fn called(info: &BucketInfo) -> String {
    let alias = |alias: &Alias| match &alias.key {
        Some(key) => format!("{} (by {key})", alias.name),
        None => alias.name.clone(),
    };
    match info.aliases.is_empty() {
        true => "nothing else".into(),
        false => info.aliases.iter().map(alias).collect::<Vec<_>>().join(", "),
    }
}

const fn kept(versioning: Versioning) -> &'static str {
    match versioning {
        Versioning::Off => "not kept",
        Versioning::On => "kept",
        Versioning::Suspended => "kept no more; some are there",
    }
}

fn public(bucket: &Bucket) -> &'static str {
    match bucket.public {
        Public::No => "no",
        Public::Read => "read",
        Public::ReadWrite => "read, write",
    }
}

/// Permissions in words.
pub(super) fn granted(grants: Grants) -> String {
    let named = [
        (grants.read, "read"),
        (grants.write, "write"),
        (grants.owner, "owner"),
    ];
    let held: Vec<&str> = named
        .into_iter()
        .filter_map(|(held, name)| held.then_some(name))
        .collect();
    if held.is_empty() {
        "nothing".into()
    } else {
        held.join(", ")
    }
}
