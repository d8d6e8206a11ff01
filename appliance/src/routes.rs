//! The one table of what the admin API answers: it finds who answers a request, and is what the API's description is made of.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use tracing::warn;

use crate::desk::Desk;
use crate::right::Right;
use crate::{Node, Problem};

mod asked;
mod described;
mod https;
mod objects;
mod reply;
mod v1;

use asked::{Asked, Parameter, Sent};
pub(crate) use described::described;
pub(crate) use https::{AUTHORITY, AUTHORITY_TEXT};
pub(crate) use reply::{Body, full, json};
use reply::{Reply, ReplyKind};
pub(crate) use v1::SUPPORT;

/// No admin document comes near this many bytes.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;

/// A caller sends its few bytes at once or is broken.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What comes of a request.
pub(crate) type Answer = Result<Response<Body>, Problem>;

type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;
type Handler<N> = Box<dyn Fn(Arc<Desk<N>>, String, Parts, Incoming) -> Answering + Send + Sync>;
type SchemaOf = fn(&mut schemars::SchemaGenerator) -> schemars::Schema;

/// One thing that can be asked.
pub(crate) struct Route<N> {
    method: Method,
    /// From the root, with at most one part in braces, e.g. `/api/v1/buckets/{name}`.
    path: &'static str,
    /// What whoever asks must have.
    pub(crate) right: Right,
    /// What it does, in a sentence.
    says: &'static str,
    /// What else it says in its query and its headers.
    parameters: &'static [Parameter],
    /// What the body must be.
    sent: Sent,
    reply: ReplyKind,
    handler: Handler<N>,
}

/// All that can be asked.
pub(crate) struct Routes<N>(Vec<Route<N>>);

impl<N: Node> Routes<N> {
    /// The table.
    pub(crate) fn new() -> Self {
        let mut routes = Self(Vec::new());
        v1::fill(&mut routes);
        objects::fill(&mut routes);
        https::fill(&mut routes);
        routes
    }

    /// Adds a line: what is asked and answered is in the types of `handler`, which is given the part of the path that is in
    /// braces.
    fn add<Q, R, F>(
        &mut self,
        method: Method,
        path: &'static str,
        right: Right,
        says: &'static str,
        handler: impl Fn(Arc<Desk<N>>, String, Q) -> F + Send + Sync + Copy + 'static,
    ) where
        Q: Asked,
        R: Reply,
        F: Future<Output = Result<R, Problem>> + Send + 'static,
    {
        self.0.push(Route {
            method,
            path,
            right,
            says,
            parameters: Q::PARAMETERS,
            sent: Q::SENT,
            reply: R::KIND,
            handler: Box::new(move |desk, at, head, body| {
                Box::pin(async move {
                    let asked = Q::read(&head, body).await?;
                    Ok(handler(desk, at, asked).await?.response())
                })
            }),
        });
    }

    /// Whether a path, however it is written, is answered by the line that has this one.
    pub(crate) fn leads_to(&self, path: &str, line: &str) -> bool {
        segments(path).is_ok_and(|asked| matched(line, &asked).is_some())
    }

    /// The line that answers this, and the decoded part of the path that is in braces there.
    ///
    /// # Errors
    /// Nothing answers that, or not with that method.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Result<(&Route<N>, String), Problem> {
        let asked = segments(path)?;
        // A HEAD is a GET whose body nobody reads.
        let method = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        let known = self.lines(&asked);
        match known.iter().find(|(route, _)| route.method == *method) {
            Some((route, at)) => Ok((route, at.clone())),
            None if known.is_empty() => Err(Problem::new(
                StatusCode::NOT_FOUND,
                "no-such-resource",
                format!("nothing answers {method} {path}"),
            )),
            None => Err(Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "no-such-method",
                format!("{path} does not answer {method}"),
            )),
        }
    }
}

impl<N> Routes<N> {
    /// The lines of one path, each with the part of the path that is in braces there. Lines that spell the path out leave no
    /// others (OpenAPI 3.1, "Path Templating Matching"): `/invites/call` is not an invite named `call`.
    fn lines(&self, asked: &[Cow<'_, str>]) -> Vec<(&Route<N>, String)> {
        let lines = self.0.iter();
        let mut lines: Vec<_> = lines
            .filter_map(|route| Some((route, matched(route.path, asked)?)))
            .collect();
        if lines.iter().any(|(route, _)| !route.path.contains('{')) {
            lines.retain(|(route, _)| !route.path.contains('{'));
        }
        lines
    }

    /// The methods that a path answers, as the header `Allow` lists them.
    fn allowed(&self, path: &str) -> Option<HeaderValue> {
        let asked = segments(path).ok()?;
        let mut methods = BTreeSet::new();
        for (route, _) in self.lines(&asked) {
            methods.insert(route.method.as_str());
            if route.method == Method::GET {
                methods.insert(Method::HEAD.as_str());
            }
        }
        let methods: Vec<&str> = methods.into_iter().collect();
        HeaderValue::try_from(methods.join(", ")).ok()
    }
}

impl<N: Node> Route<N> {
    /// Answers a request that may be answered.
    async fn answer(&self, desk: Arc<Desk<N>>, at: String, head: Parts, body: Incoming) -> Response<Body> {
        (self.handler)(desk, at, head, body).await.unwrap_or_else(refused)
    }
}

/// Answers one request of whoever has this right; whatever goes wrong becomes a problem document.
pub(crate) async fn answer<N: Node>(
    desk: Arc<Desk<N>>,
    right: Right,
    request: Request<Incoming>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let found = desk.routes.find(&head.method, head.uri.path());
    match found {
        Ok((route, _)) if right < route.right => refused(denied(right, route.right)),
        Ok((route, at)) => route.answer(Arc::clone(&desk), at, head, body).await,
        Err(problem) if problem.status() == StatusCode::METHOD_NOT_ALLOWED => {
            let mut response = refused(problem);
            // Source: RFC 9110 section 15.5.6, which demands it.
            response.headers_mut().extend(
                desk.routes
                    .allowed(head.uri.path())
                    .map(|allowed| (header::ALLOW, allowed)),
            );
            response
        }
        Err(problem) => refused(problem),
    }
}

/// Why somebody with one right may not do what needs another.
pub(crate) fn denied(has: Right, needs: Right) -> Problem {
    if has == Right::Anyone {
        let advice = "log in, or send a token: warren token create";
        return Problem::new(StatusCode::UNAUTHORIZED, "not-logged-in", advice);
    }
    let why = match needs {
        Right::AtTheBox => "this is done only at the box itself: run the command line there".to_owned(),
        Right::Owner => "this needs a person who is logged in: no token may do it".to_owned(),
        other => format!("this needs a token with the scope {:?}", other.word()),
    };
    Problem::new(StatusCode::FORBIDDEN, "not-allowed", why)
}

/// A problem as the answer to a request.
pub(crate) fn refused(problem: Problem) -> Response<Body> {
    if problem.status().is_server_error() {
        warn!(
            code = problem.code,
            detail = problem.detail,
            "admin request failed"
        );
    }
    let mut response = json(problem.status(), &problem);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(Problem::CONTENT_TYPE),
    );
    if problem.status() == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Reads a body.
///
/// # Errors
/// It is too long, too slow, or breaks off.
pub(crate) async fn read(body: Incoming) -> Result<Bytes, Problem> {
    let body = Limited::new(body, BODY_BYTES_MAX).collect();
    let read = tokio::time::timeout(BODY_TIMEOUT, body)
        .await
        .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not arrive"))?
        .map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the body is too long"),
            None => Problem::new(StatusCode::BAD_REQUEST, "malformed", "the body broke off"),
        })?;
    Ok(read.to_bytes())
}

/// What stands where `pattern` has braces, if `asked` is like it; empty where it has none.
fn matched(pattern: &str, asked: &[Cow<'_, str>]) -> Option<String> {
    let mut at = String::new();
    let parts: Vec<&str> = pattern.trim_start_matches('/').split('/').collect();
    if parts.len() != asked.len() {
        return None;
    }
    for (part, asked) in parts.iter().zip(asked) {
        if part.starts_with('{') && !asked.is_empty() {
            at = asked.to_string();
        } else if part != asked {
            return None;
        }
    }
    Some(at)
}

/// The decoded segments of a path. Decoded after splitting, so that a name may hold a slash.
fn segments(path: &str) -> Result<Vec<Cow<'_, str>>, Problem> {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split('/')
        .map(|segment| percent_decode_str(segment).decode_utf8())
        .collect::<Result<_, _>>()
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "malformed", "the path is not UTF-8"))
}

#[cfg(test)]
mod tests;
