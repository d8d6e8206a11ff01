//! `warren token`: makes, lists and revokes tokens for programs that use the admin API.

use std::path::PathBuf;
use std::time::Duration;

use appliance::Scope;
use appliance::api::{CreateToken, CreatedToken, Schema, Token, TokenList};
use clap::{Subcommand, ValueEnum};
use hyper::Method;
use serde::Serialize;

use super::failure::{Exit, Failure};
use super::invite::time;
use super::output::{Mark, Output, row};
use super::secret::SecretFile;
use crate::admin_client::AdminClient;

#[derive(Subcommand)]
pub(super) enum TokenVerb {
    /// List all tokens
    Ls,
    /// Make a token; it is shown once
    Create {
        /// What people will call it
        name: String,
        /// What its bearer may do
        #[arg(long, value_enum, default_value_t = ScopeArg::Read)]
        scope: ScopeArg,
        /// For how long it works, e.g. 30m, 48h or 365d
        #[arg(long, value_name = "TIME", default_value = "90d", value_parser = time)]
        expires: Duration,
        /// Write the token to this new file instead of showing it
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
    },
    /// Take a token back: whoever uses it is refused at once
    Revoke {
        /// The beginning of its id, or its name
        token: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum ScopeArg {
    /// See all but secrets
    Read,
    /// Also what loses nothing and lets nobody in: pause, verify, limit
    Operate,
    /// Change what is stored, who may use it, and who takes part
    Admin,
}

pub(super) async fn run(
    verb: TokenVerb,
    client: &AdminClient,
    yes: bool,
    out: &Output,
) -> Result<Exit, Failure> {
    match verb {
        TokenVerb::Ls => list(&client.get(&["tokens"]).await?, out)?,
        TokenVerb::Create {
            name,
            scope,
            expires,
            secret_file,
        } => {
            let scope = match scope {
                ScopeArg::Read => Scope::Read,
                ScopeArg::Operate => Scope::Operate,
                ScopeArg::Admin => Scope::Admin,
            };
            let request = CreateToken {
                schema: Schema,
                name,
                scope,
                valid_seconds: expires.as_secs(),
            };
            create(&request, secret_file, client, out).await?;
        }
        TokenVerb::Revoke { token } => {
            out.consent(
                yes,
                &format!("Revoke the token {token}? Programs that use it are refused."),
            )?;
            client.delete(&["tokens", &token]).await?;
            out.deleted("token", &token)?;
        }
    }
    Ok(Exit::Ok)
}

/// A token just made, as far as it is printed.
#[derive(Serialize)]
struct TokenMade<'a> {
    schema: Schema,
    #[serde(flatten)]
    token: &'a Token,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_file: Option<PathBuf>,
}

async fn create(
    request: &CreateToken,
    secret_file: Option<PathBuf>,
    client: &AdminClient,
    out: &Output,
) -> Result<(), Failure> {
    // The file comes first: a token that cannot be kept would be of no use.
    let file = secret_file.map(SecretFile::create).transpose()?;
    let made: CreatedToken = client.send(Method::POST, &["tokens"], request).await?;
    let kept = file.map(|file| file.keep(&made.secret)).transpose()?;
    let secret = kept.is_none().then(|| made.secret.expose());
    if out.json {
        return Ok(out.document(&TokenMade {
            schema: Schema,
            token: &made.token,
            secret,
            secret_file: kept,
        })?);
    }
    let (good, token) = (out.mark(Mark::Good), &made.token);
    out.note(&format!(
        "{good} token {:?} made, works until {}",
        token.name, token.expires
    ));
    let place = kept.as_ref().map(|path| path.display().to_string());
    match (secret, &place) {
        (Some(secret), _) => {
            out.data(secret)?;
            out.note("It is shown once: keep it, and send it as the header `Authorization: Bearer …`.");
        }
        (None, place) => out.data(place.as_deref().unwrap_or_default())?,
    }
    Ok(())
}

fn list(list: &TokenList, out: &Output) -> Result<(), Failure> {
    if out.json {
        return Ok(out.document(list)?);
    }
    let head = [row(["ID", "NAME", "MAY", "EXPIRES"])];
    let tokens = list.tokens.iter().map(|token| {
        let scope = match token.scope {
            Scope::Read => "read",
            Scope::Operate => "operate",
            Scope::Admin => "admin",
        };
        let expires = if token.works { &token.expires } else { "expired" };
        row([&token.id, &token.name, scope, expires])
    });
    Ok(out.table(&head.into_iter().chain(tokens).collect::<Vec<_>>())?)
}
