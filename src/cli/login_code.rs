//! `warren login-code`: shows a code that lets a browser into the page, once.

use appliance::api::LoginCode;
use appliance::lasted;
use hyper::Method;

use super::failure::{Exit, Failure};
use super::output::{Mark, Output, row};
use crate::admin_client::AdminClient;

pub(super) async fn run(client: &AdminClient, out: &Output) -> Result<Exit, Failure> {
    let made: LoginCode = client.send(Method::POST, &["login-code"], &()).await?;
    if out.json {
        out.document(&made)?;
        return Ok(Exit::Ok);
    }
    let page = made.page.first().map_or("off", String::as_str);
    let valid = format!("valid {}, once", lasted(made.valid_seconds));
    out.table(&[
        row(["Page", page, ""]),
        row(["Login code", made.code.expose(), &valid]),
    ])?;
    if made.page.is_empty() {
        out.note(&format!(
            "{} There is no page: page.address is off, or warren status says why",
            out.mark(Mark::Look)
        ));
    }
    Ok(Exit::Ok)
}
