//! The lines of the table about HTTPS: what has to be trusted, and how the box is known.

use http::{Method, StatusCode};

use super::Routes;
use super::asked::Nothing;
use super::reply::{Pem, Shown, ToTrust};
use crate::right::Right::{Admin, Anyone, Read};
use crate::{HttpsFacts, Node, Problem};

pub(super) fn fill<N: Node>(to: &mut Routes<N>) {
    // Who has to trust it first cannot log in yet, and it is shown to whoever connects anyway.
    to.add(
        Method::GET,
        AUTHORITY,
        Anyone,
        "The certificate of the mesh's authority, as browsers and phones install it (DER).",
        |desk, _, Nothing| async move { Ok(ToTrust(facts(desk.node.https())?.der)) },
    );
    to.add(
        Method::GET,
        AUTHORITY_TEXT,
        Anyone,
        "The certificate of the mesh's authority, as programs read it (PEM).",
        |desk, _, Nothing| async move { Ok(Pem(facts(desk.node.https())?.authority.pem)) },
    );
    to.add(
        Method::GET,
        "/api/v1/https",
        Read,
        "How the box speaks HTTPS, and what has to be trusted for that.",
        |desk, _, Nothing| async move { Ok(Shown(desk.https())) },
    );
    to.add(
        Method::POST,
        "/api/v1/https/authority",
        Admin,
        "Has another authority sign for the mesh, which all clients have to trust anew.",
        |desk, _, Nothing| async move {
            desk.node.renew_authority().await?;
            Ok(Shown(desk.https()))
        },
    );
}

/// Where the certificate of the authority is.
pub(crate) const AUTHORITY: &str = "/ca.crt";
/// Where it is as text.
pub(crate) const AUTHORITY_TEXT: &str = "/ca.pem";

fn facts(facts: Option<HttpsFacts>) -> Result<HttpsFacts, Problem> {
    let none = "the box has no certificate yet: it gets one as soon as it has heard from its mesh";
    facts.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "no-certificate", none))
}
