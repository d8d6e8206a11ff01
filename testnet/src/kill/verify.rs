//! Reads everything back after a restart and compares it with what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};

use super::BUCKET;
use super::ledger::{Ledger, Object};
use super::load::{Attempt, Told};
use crate::bench::Home;
use crate::client::{Body, Connection, Content, Request, Take, texts};

/// Reads every key of every ledger and every contested key, and compares a full listing with what was read.
/// Afterwards the ledgers know what each key holds. Returns how many objects there are.
///
/// # Errors
/// Names the first key that holds what it must not hold.
pub(super) async fn everything(
    home: &Home,
    ledgers: &mut [Ledger],
    races: &BTreeMap<String, Vec<Attempt>>,
) -> Result<u64> {
    let mut connection = Connection::open(home.address, home.signer.clone())
        .await
        .context("connect")?;
    let mut found = BTreeMap::new();
    for ledger in ledgers {
        for key in ledger.keys() {
            let known = ledger.of(&key);
            let allowed: Vec<_> = known.allowed().collect();
            let object = read(&mut connection, &key, &allowed).await?;
            if let Some(object) = &object {
                found.insert(key.clone(), object.etag.clone());
            }
            ensure!(
                known.settle(object),
                "LOST: {key} is not in any of the states {allowed:?}"
            );
        }
    }
    for (key, attempts) in races {
        if let Some(etag) = verify_race(&mut connection, key, attempts).await? {
            found.insert(key.clone(), etag);
        }
    }
    let listed = list(&mut connection).await?;
    ensure!(
        listed == found,
        "LIST and GET disagree: {}",
        difference(&listed, &found)
    );
    clean_up(&mut connection, races, &listed).await?;
    Ok(found.len() as u64)
}

/// Exactly one of those who were told "created" created it; nobody else's content may be there instead.
async fn verify_race(connection: &mut Connection, key: &str, attempts: &[Attempt]) -> Result<Option<String>> {
    let told = |told| attempts.iter().filter(move |attempt| attempt.told == told);
    let winners: Vec<_> = told(Told::Created).map(|attempt| Some(attempt.content)).collect();
    ensure!(
        winners.len() <= 1,
        "{} writers were told they created {key}: {attempts:?}",
        winners.len()
    );
    let mut allowed: Vec<_> = told(Told::Nothing)
        .map(|attempt| Some(attempt.content))
        .chain([None])
        .collect();
    if !winners.is_empty() {
        allowed = winners;
    } else if told(Told::Exists).next().is_some() {
        allowed.retain(Option::is_some);
    }
    Ok(read(connection, key, &allowed).await?.map(|object| object.etag))
}

/// Reads one key, which must hold one of these contents byte for byte, or be absent if that is allowed.
async fn read(connection: &mut Connection, key: &str, allowed: &[Option<Content>]) -> Result<Option<Object>> {
    let path = format!("/{BUCKET}/{key}");
    let request = Request {
        take: Take::Keep,
        ..get(&path, "")
    };
    let reply = connection
        .send(&request)
        .await
        .with_context(|| format!("LOST: {key} cannot be read to its end"))?;
    match reply.status {
        404 if allowed.contains(&None) => Ok(None),
        404 => bail!("LOST: {key} is gone; it may be {allowed:?}"),
        200 => {
            let holds = |content: &Content| content.len == reply.length && content.matches(0, &reply.body);
            let content = allowed.iter().flatten().copied().find(holds).with_context(|| {
                let start = hex::encode(&reply.body[..reply.body.len().min(32)]);
                format!(
                    "LOST: {key} holds {} bytes {start}… instead of one of {allowed:?}",
                    reply.length
                )
            })?;
            let etag = reply.etag.with_context(|| format!("{key} has no ETag"))?;
            Ok(Some(Object { content, etag }))
        }
        status => bail!(
            "LOST: {key} answers {status}: {}",
            String::from_utf8_lossy(&reply.body)
        ),
    }
}

/// All keys of the bucket with their tags, page by page.
async fn list(connection: &mut Connection) -> Result<BTreeMap<String, String>> {
    let path = format!("/{BUCKET}");
    let mut listed = BTreeMap::new();
    let mut after = String::new();
    loop {
        let query = format!("list-type=2&start-after={}", after.replace('/', "%2F"));
        let reply = connection
            .send(&Request {
                take: Take::Keep,
                ..get(&path, &query)
            })
            .await?;
        let xml = String::from_utf8(reply.body).context("a listing is UTF-8")?;
        ensure!(reply.status == 200, "LIST answers {}: {xml}", reply.status);
        let tags = texts(&xml, "ETag").map(|tag| tag.replace("&quot;", "\""));
        listed.extend(texts(&xml, "Key").map(str::to_owned).zip(tags));
        match listed.last_key_value() {
            Some((last, _)) if xml.contains("<IsTruncated>true") => after.clone_from(last),
            _ => return Ok(listed),
        }
    }
}

/// Deletes the contested keys and aborts what was left unfinished, so that rounds do not pile up.
async fn clean_up(
    connection: &mut Connection,
    races: &BTreeMap<String, Vec<Attempt>>,
    listed: &BTreeMap<String, String>,
) -> Result<()> {
    for key in races.keys().filter(|key| listed.contains_key(*key)) {
        delete(connection, &format!("/{BUCKET}/{key}"), "").await?;
    }
    let path = format!("/{BUCKET}");
    let reply = connection
        .send(&Request {
            take: Take::Keep,
            ..get(&path, "uploads=")
        })
        .await?;
    let xml = String::from_utf8(reply.body).context("a listing is UTF-8")?;
    for (key, upload) in texts(&xml, "Key").zip(texts(&xml, "UploadId")) {
        delete(
            connection,
            &format!("/{BUCKET}/{key}"),
            &format!("uploadId={upload}"),
        )
        .await?;
    }
    Ok(())
}

async fn delete(connection: &mut Connection, path: &str, query: &str) -> Result<()> {
    let reply = connection
        .send(&Request {
            method: "DELETE",
            ..get(path, query)
        })
        .await?;
    let said = String::from_utf8_lossy(&reply.body);
    ensure!(
        reply.status == 204,
        "deleting {path} answers {}: {said}",
        reply.status
    );
    Ok(())
}

fn get<'a>(path: &'a str, query: &'a str) -> Request<'a> {
    Request {
        method: "GET",
        path,
        query,
        body: Body::Empty,
        take: Take::Discard,
    }
}

fn difference(listed: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> String {
    let (listed, found): (BTreeSet<_>, BTreeSet<_>) = (listed.iter().collect(), found.iter().collect());
    let only =
        |one: &BTreeSet<_>, other: &BTreeSet<_>| format!("{:?}", one.difference(other).collect::<Vec<_>>());
    format!(
        "only in LIST {}, only by GET {}",
        only(&listed, &found),
        only(&found, &listed)
    )
}
