//! Finds who answers an admin request: one plain match.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::api::{
    BucketList, Change, ChangeKey, ConfigShown, DrainPeer, InviteList, KeyInfo, KeyList, PartWith, PeerInfo,
    PeerList, RenamePeer, Schema, SetPaused, SetQuota, Settled,
};
use crate::{Node, Problem, metrics, verdict};

/// No admin document comes near this many bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// A caller on the same machine sends its few bytes at once or is broken.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The media type of the text format of Prometheus.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

type Answer = Result<Response<Full<Bytes>>, Problem>;

/// Answers one request; whatever goes wrong becomes a problem document.
pub(crate) async fn answer<N: Node>(node: &N, request: Request<Incoming>) -> Response<Full<Bytes>> {
    route(node, request).await.unwrap_or_else(|problem| {
        if problem.status().is_server_error() {
            warn!(
                code = problem.code,
                detail = problem.detail,
                "admin request failed"
            );
        }
        let mut response = json(problem.status(), &problem);
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static(Problem::CONTENT_TYPE),
        );
        response
    })
}

async fn route<N: Node>(node: &N, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let path = segments(head.uri.path())?;
    let path: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
    let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    match (&head.method, path.as_slice()) {
        (m, ["healthz"]) if m == get => Ok(text(StatusCode::OK, "alive\n")),
        (m, ["readyz"]) if m == get => Ok(ready(node)),
        (m, ["api", "v1", "status"]) if m == get => ok(&verdict::status(node.facts().await)),
        (m, ["api", "v1", "config"]) if m == get => ok(&ConfigShown {
            schema: Schema,
            settings: node.settings(),
        }),
        (m, ["api", "v1", "leave"]) if m == post => {
            let request: PartWith = read(body).await?;
            gone(node.leave(request.lose_data).await?)
        }
        (m, ["api", "v1", "net"]) if m == get => ok(&node.net()),
        (m, ["api", "v1", "net", "limit"]) if m == put => ok(&node.set_limit(read(body).await?).await?),
        (m, ["metrics"] | ["api", "v1", "metrics"]) if m == get => {
            let drawn = metrics::text(&node.facts().await, &node.measures());
            Ok(respond(StatusCode::OK, METRICS, drawn.into()))
        }
        (m, ["api", "v1", "repair"]) if m == get => ok(&node.repair().await?),
        (_, ["api", "v1", "scrub", rest @ ..]) => scrub(node, &head.method, rest, body).await,
        (_, ["api", "v1", "layout", rest @ ..]) => layout(node, &head.method, rest, body).await,
        (_, ["api", "v1", "invites", rest @ ..]) => invites(node, &head.method, rest, body).await,
        (_, ["api", "v1", "peers", rest @ ..]) => peers(node, &head.method, rest, body).await,
        (m, ["api", "v1", "buckets"]) if m == get => ok(&BucketList {
            schema: Schema,
            buckets: node.buckets(),
        }),
        (m, ["api", "v1", "buckets"]) if m == post => created(&node.create_bucket(read(body).await?).await?),
        (m, ["api", "v1", "buckets", name]) if m == get => ok(&node.bucket(name).await?),
        (m, ["api", "v1", "buckets", name]) if m == delete => gone(node.delete_bucket(name).await?),
        (m, ["api", "v1", "buckets", name, "public"]) if m == put => {
            let request: crate::api::SetPublic = read(body).await?;
            ok(&node.set_public(name, request.public).await?)
        }
        (m, ["api", "v1", "buckets", name, "aliases"]) if m == put => {
            ok(&node.set_alias(name, read(body).await?).await?)
        }
        (m, ["api", "v1", "buckets", name, "quota"]) if m == put => {
            let request: SetQuota = read(body).await?;
            ok(&node.set_bucket_quota(name, request.quota).await?)
        }
        (m, ["api", "v1", "keys", key, "quota"]) if m == put => {
            let request: SetQuota = read(body).await?;
            ok(&KeyInfo {
                schema: Schema,
                key: node.set_key_quota(key, request.quota).await?,
            })
        }
        (m, ["api", "v1", "keys"]) if m == get => ok(&KeyList {
            schema: Schema,
            keys: node.keys(),
        }),
        (m, ["api", "v1", "keys"]) if m == post => created(&node.create_key(read(body).await?).await?),
        (m, ["api", "v1", "keys", key]) if m == get => ok(&KeyInfo {
            schema: Schema,
            key: node.key(key)?,
        }),
        (m, ["api", "v1", "keys", key]) if m == delete => gone(node.delete_key(key).await?),
        (m, ["api", "v1", "keys", key, "allow"]) if m == post => {
            change_key(node, key, Change::Allow, read(body).await?).await
        }
        (m, ["api", "v1", "keys", key, "deny"]) if m == post => {
            change_key(node, key, Change::Deny, read(body).await?).await
        }
        _ => Err(unknown(&head.method, head.uri.path())),
    }
}

async fn layout<N: Node>(node: &N, method: &Method, path: &[&str], body: Incoming) -> Answer {
    match (method, path) {
        (m, []) if m == Method::GET => ok(&node.layout()),
        (m, ["preview"]) if m == Method::GET => ok(&node.preview_layout()?),
        (m, ["paused"]) if m == Method::PUT => {
            let request: SetPaused = read(body).await?;
            ok(&node.pause_layout(request.paused).await?)
        }
        (m, ["settle"]) if m == Method::POST => ok(&Settled {
            schema: Schema,
            changed: node.settle_layout().await?,
        }),
        _ => Err(unknown(method, &format!("/api/v1/layout/{}", path.join("/")))),
    }
}

async fn scrub<N: Node>(node: &N, method: &Method, path: &[&str], body: Incoming) -> Answer {
    match (method, path) {
        (m, []) if m == Method::GET => ok(&node.scrub()),
        (m, ["paused"]) if m == Method::PUT => {
            let request: SetPaused = read(body).await?;
            node.set_scrub(request.paused);
            ok(&node.scrub())
        }
        _ => Err(unknown(method, &format!("/api/v1/scrub/{}", path.join("/")))),
    }
}

async fn invites<N: Node>(node: &N, method: &Method, path: &[&str], body: Incoming) -> Answer {
    match (method, path) {
        (m, []) if m == Method::GET => ok(&InviteList {
            schema: Schema,
            invites: node.invites(),
        }),
        (m, []) if m == Method::POST => created(&node.create_invite(read(body).await?).await?),
        (m, [id]) if m == Method::DELETE => gone(node.revoke_invite(id).await?),
        _ => Err(unknown(method, &format!("/api/v1/invites/{}", path.join("/")))),
    }
}

async fn peers<N: Node>(node: &N, method: &Method, path: &[&str], body: Incoming) -> Answer {
    let shown = |home| {
        ok(&PeerInfo {
            schema: Schema,
            peer: home,
        })
    };
    match (method, path) {
        (m, []) if m == Method::GET => ok(&PeerList {
            schema: Schema,
            peers: node.peers().await,
        }),
        (m, [peer]) if m == Method::GET => shown(node.peer(peer).await?),
        (m, [peer, "remove"]) if m == Method::POST => {
            let request: PartWith = read(body).await?;
            gone(node.remove_peer(peer, request.lose_data).await?)
        }
        (m, [peer, "name"]) if m == Method::PUT => {
            let request: RenamePeer = read(body).await?;
            shown(node.rename_peer(peer, &request.name).await?)
        }
        (m, [peer, "draining"]) if m == Method::PUT => {
            let request: DrainPeer = read(body).await?;
            shown(node.drain_peer(peer, request.draining).await?)
        }
        (m, [peer, "ping"]) if m == Method::POST => ok(&node.ping_peer(peer).await?),
        _ => Err(unknown(method, &format!("/api/v1/peers/{}", path.join("/")))),
    }
}

fn unknown(method: &Method, path: &str) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no-such-resource",
        format!("nothing answers {method} {path}"),
    )
}

async fn change_key<N: Node>(node: &N, key: &str, change: Change, request: ChangeKey) -> Answer {
    let key = node.change_key(key, change, request).await?;
    ok(&KeyInfo { schema: Schema, key })
}

fn ready<N: Node>(node: &N) -> Response<Full<Bytes>> {
    if node.ready() {
        text(StatusCode::OK, "ready\n")
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

/// The decoded segments of a path. Decoded after splitting, so that a name may hold a slash.
fn segments(path: &str) -> Result<Vec<Cow<'_, str>>, Problem> {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split('/')
        .map(|segment| percent_decode_str(segment).decode_utf8())
        .collect::<Result<_, _>>()
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "malformed", "the path is not UTF-8"))
}

async fn read<T: DeserializeOwned>(body: Incoming) -> Result<T, Problem> {
    let body = Limited::new(body, BODY_BYTES_MAX).collect();
    let bytes = tokio::time::timeout(BODY_TIMEOUT, body)
        .await
        .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not arrive"))?
        .map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the body is too long"),
            None => Problem::new(StatusCode::BAD_REQUEST, "malformed", "the body broke off"),
        })?
        .to_bytes();
    // The message may quote the body, which may hold a secret, but goes only to whoever sent it.
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "malformed", error.to_string()))
}

fn ok<T: Serialize>(document: &T) -> Answer {
    Ok(json(StatusCode::OK, document))
}

fn created<T: Serialize>(document: &T) -> Answer {
    Ok(json(StatusCode::CREATED, document))
}

fn gone((): ()) -> Answer {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

fn json<T: Serialize>(status: StatusCode, document: &T) -> Response<Full<Bytes>> {
    // Our documents are structs of strings and numbers, which always serialize.
    let body = serde_json::to_vec(document).unwrap_or_default();
    respond(status, "application/json", body.into())
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    respond(
        status,
        "text/plain; charset=utf-8",
        Bytes::from_static(body.as_bytes()),
    )
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content_type),
    );
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
    );
    response
}
