//! What is behind the door: the console and the admin API of a node, or something else that people log in to.

use std::sync::Arc;

use http::{HeaderName, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use super::Visitor;
use super::door::{changes, text};
use crate::access::{Access, Caller};
use crate::console::{self, Visit};
use crate::desk::Desk;
use crate::right::Right;
use crate::routes::{self, Body, refused};
use crate::{Node, Problem, live};

/// Forms of the page carry their token in a field, scripts in this header.
const FORM_TOKEN: HeaderName = HeaderName::from_static("x-form-token");

/// Something that people log in to.
pub(crate) trait Site: Send + Sync + Sized + 'static {
    /// Who may enter.
    fn access(&self) -> &Access;

    /// Whether visitors can be told what to trust, so that they come over HTTPS.
    fn can_be_trusted(&self) -> bool {
        false
    }

    /// Answers whoever may ask at all.
    fn answer(
        visit: Visit<'_, Self>,
        visitor: Option<Visitor>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Body>> + Send;
}

impl<N: Node> Site for Desk<N> {
    fn access(&self) -> &Access {
        &self.access
    }

    fn can_be_trusted(&self) -> bool {
        self.node.https().is_some()
    }

    async fn answer(
        visit: Visit<'_, Self>,
        visitor: Option<Visitor>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let path = request.uri().path();
        let is_for_programs = matches!(
            path,
            "/healthz" | "/readyz" | "/metrics" | routes::AUTHORITY | routes::AUTHORITY_TEXT
        );
        if !path.starts_with("/api/") && !is_for_programs {
            return console::answer(visit, visitor, request).await;
        }
        let desk = visit.desk;
        match right(&desk.access, visitor.as_ref(), &request) {
            Ok((right, Some(caller))) if desk.routes.leads_to(path, live::PATH) => {
                listen(desk, right, caller, request).await
            }
            Ok((right, _)) => routes::answer(desk, right, request).await,
            Err(problem) => refused(*problem),
        }
    }
}

/// Answers whoever wants to hear events, for as long as it may.
async fn listen<N: Node>(
    desk: Arc<Desk<N>>,
    right: Right,
    caller: Caller,
    request: Request<Incoming>,
) -> Response<Body> {
    let Some(seat) = desk.live.seat(caller) else {
        return refused(live::too_many());
    };
    let response = routes::answer(Arc::clone(&desk), right, request).await;
    response.map(|events| live::seated(desk, seat, events))
}

/// Who sent this, as far as it says, and what it may do. A browser's session changes something only for a script that knows its form token.
fn right(
    access: &Access,
    visitor: Option<&Visitor>,
    request: &Request<Incoming>,
) -> Result<(Right, Option<Caller>), Box<Problem>> {
    let headers = request.headers();
    if let Some(said) = text(headers, &header::AUTHORIZATION) {
        let token = said
            .split_once(' ')
            .filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
        let right = token.and_then(|(_, token)| {
            let right = access.right_of(token.trim())?;
            Some((right, Some(Caller::bearing(token.trim()))))
        });
        let unknown = || {
            Problem::new(
                StatusCode::UNAUTHORIZED,
                "no-such-token",
                "that token does not work, or no more",
            )
        };
        return right.ok_or_else(|| Box::new(unknown()));
    }
    let Some(visitor) = visitor else {
        return Ok((Right::Anyone, None));
    };
    let form_token = text(headers, &FORM_TOKEN).unwrap_or_default();
    if changes(request.method()) && !visitor.sent(form_token) {
        let why = "the request lacks the form token of its session";
        return Err(Box::new(Problem::new(
            StatusCode::FORBIDDEN,
            "no-form-token",
            why,
        )));
    }
    Ok((Right::Owner, Some(Caller::Session(visitor.session))))
}
