//! Clients beside a box that ask it many things at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};

use super::super::home::S3;
use super::super::wire;
use super::{BUCKET, OBJECT_BYTES};
use crate::client::{Body, Connection, Content, Request, Signer, Take};

/// Clients that ask at a time.
const CLIENTS: u64 = 16;

/// What clients ask for, of objects by number.
#[derive(Clone, Copy)]
pub(super) enum Ask {
    /// Store it.
    Put,
    /// Read it, and look at every byte.
    Get,
    /// The page that follows it.
    Page,
}

fn path(number: u64) -> String {
    format!("/{BUCKET}/shelf-{:03}/{number:09}", number % 1000)
}

const fn content(number: u64) -> Content {
    Content {
        seed: number,
        len: OBJECT_BYTES,
    }
}

fn is_of(number: u64, body: &[u8]) -> bool {
    body.len() as u64 == OBJECT_BYTES && content(number).matches(0, body)
}

/// Asks a box in a namespace about some objects, each once, from many clients; how many answers there were each second.
///
/// # Errors
/// An answer is not what it should be.
pub(super) fn ask_all(
    (namespace, signer): (&str, &Signer),
    what: Ask,
    numbers: impl Fn(u64) -> u64 + Sync,
    count: u64,
) -> Result<f64> {
    let (next, began) = (AtomicU64::new(0), Instant::now());
    thread::scope(|scope| {
        let clients = (0..CLIENTS).map(|_| {
            scope.spawn(|| {
                wire::enter(namespace)?;
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(async {
                    let mut connection = Connection::open(S3.parse()?, signer.clone()).await?;
                    loop {
                        let place = next.fetch_add(1, Ordering::Relaxed);
                        if place >= count {
                            return Ok::<_, anyhow::Error>(());
                        }
                        ask(&mut connection, what, numbers(place)).await?;
                    }
                })
            })
        });
        let clients: Vec<_> = clients.collect();
        clients
            .into_iter()
            .try_for_each(|client| client.join().map_err(|_| anyhow!("a client died"))?)
    })?;
    Ok(crate::bench::float(count) / began.elapsed().as_secs_f64())
}

async fn ask(connection: &mut Connection, what: Ask, number: u64) -> Result<()> {
    let (object, query) = (
        path(number),
        format!("list-type=2&prefix=shelf-{:03}%2F", number % 1000),
    );
    let bucket = format!("/{BUCKET}");
    let request = match what {
        Ask::Put => Request {
            method: "PUT",
            path: &object,
            query: "",
            body: Body::Content(content(number)),
            take: Take::Keep,
        },
        Ask::Get => Request {
            method: "GET",
            path: &object,
            query: "",
            body: Body::Empty,
            take: Take::Keep,
        },
        Ask::Page => Request {
            method: "GET",
            path: &bucket,
            query: &query,
            body: Body::Empty,
            take: Take::Keep,
        },
    };
    let reply = connection.send(&request).await.context(object.clone())?;
    ensure!(
        reply.status == 200,
        "{} {object} answers {}: {}",
        request.method,
        reply.status,
        String::from_utf8_lossy(&reply.body)
    );
    match what {
        Ask::Put => {}
        Ask::Get => ensure!(is_of(number, &reply.body), "{object} is not what was stored"),
        Ask::Page => {
            let name = object.trim_start_matches(&format!("/{BUCKET}/")).to_owned();
            let page = String::from_utf8_lossy(&reply.body);
            let is_cut = page.contains("<IsTruncated>true");
            ensure!(page.contains(&name) || is_cut, "{name} is not listed");
        }
    }
    Ok(())
}
