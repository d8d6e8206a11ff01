//! Looks at every request from the network before anybody answers it: from where, to which name, how often, and by whom.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use super::cookie::{self, Carrier};
use super::{Shared, Site, Source, host, source};
use crate::Problem;
use crate::access::{SessionId, SessionSecret};
use crate::console::Visit;
use crate::routes::{Body, refused};

/// For whom a proxy asks.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What whoever a proxy asks for speaks.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What every answer tells the browser: run and show nothing but ours, inside no other page, and tell nobody.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Not `no-referrer`: with that, browsers hide from us that a form is our own.
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

/// A person who is logged in.
#[derive(Clone)]
pub(crate) struct Visitor {
    pub(crate) session: SessionId,
    /// What forms of this session carry.
    pub(crate) form_token: String,
}

impl Visitor {
    fn of(secret: &SessionSecret) -> Self {
        Self {
            session: secret.id(),
            form_token: secret.form_token(),
        }
    }

    /// Whether a form carries what forms of this session carry.
    pub(crate) fn sent(&self, form_token: &str) -> bool {
        // Comparing digests takes the same time wherever the difference is.
        blake3::hash(form_token.as_bytes()) == blake3::hash(self.form_token.as_bytes())
    }
}

/// Answers one request.
pub(super) async fn answer<S: Site>(
    shared: &Shared<S>,
    (connected, carrier): (IpAddr, Carrier),
    request: Request<Incoming>,
) -> Response<Body> {
    let mut response = match let_in(shared, connected, &request) {
        Ok(from) => {
            let forwarded = text(request.headers(), &FORWARDED_PROTO);
            let carrier = carrier.for_whom(forwarded.filter(|_| connected.to_canonical().is_loopback()));
            route(shared, from, carrier, request).await
        }
        Err(response) => *response,
    };
    for (name, value) in HEADERS {
        // What somebody uploaded is told to do even less than ours.
        let told = response.headers_mut().entry(name);
        told.or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Who asks, if it is answered at all.
fn let_in<S>(
    shared: &Shared<S>,
    connected: IpAddr,
    request: &Request<Incoming>,
) -> Result<Source, Box<Response<Body>>> {
    let deny = |code, why: &str| Box::new(refused(Problem::new(StatusCode::FORBIDDEN, code, why)));
    let headers = request.headers();
    let asking = source::asking(connected, text(headers, &FORWARDED_FOR));
    let asking = asking.ok_or_else(|| deny("not-here", "the proxy does not say who asks"))?;
    let forwarded_for = headers.get_all(&FORWARDED_FOR).iter();
    let forwarded_for = forwarded_for.map(|value| value.to_str().unwrap_or_default());
    if shared.options.lan_only && !source::is_local_throughout(connected, forwarded_for) {
        return Err(deny(
            "not-here",
            "this page answers only its own network; whoever sets page.lan_only to off opens it to all",
        ));
    }
    let from = Source::of(asking);
    shared.pass(from).map_err(|wait| Box::new(too_many(wait)))?;
    let host = text(headers, &header::HOST).unwrap_or_default();
    if !host::is_ours(host, &shared.options.hosts) {
        return Err(deny(
            "unknown-name",
            "this box is not known by that name: use its address, or add the name to page.hosts",
        ));
    }
    let origin = text(headers, &header::ORIGIN);
    let fetch_site = text(headers, &HeaderName::from_static("sec-fetch-site"));
    if changes(request.method()) && !host::is_same_origin(origin, fetch_site, host) {
        return Err(deny(
            "other-page",
            "another page sent this: open the page of the box itself",
        ));
    }
    Ok(from)
}

/// Whether a method may change something.
pub(super) fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    // Two of them would let a proxy and us read different ones: the last is what the nearest proxy added.
    headers.get_all(name).iter().next_back()?.to_str().ok()
}

fn too_many(wait: Duration) -> Response<Body> {
    let mut response = refused(Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too-many-requests",
        "too many requests from your address: wait a moment",
    ));
    let seconds = HeaderValue::from(wait.as_secs() + 1);
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}

async fn route<S: Site>(
    shared: &Shared<S>,
    from: Source,
    carrier: Carrier,
    request: Request<Incoming>,
) -> Response<Body> {
    if let Some(asset) = shared.assets.find(request.uri().path()) {
        return asset;
    }
    let headers = request.headers();
    let access = shared.site.access();
    let secret = cookie::read(headers).find(|secret| access.knows(secret));
    let visitor = secret.as_ref().map(Visitor::of);
    let visit = Visit {
        desk: Arc::clone(&shared.site),
        assets: &shared.assets,
        from,
        carrier,
    };
    S::answer(visit, visitor, request).await
}
