//! `warren join`: makes this box a member of a mesh.

use std::io::{self, Read};
use std::time::Duration;

use appliance::api::Schema;
use appliance::lasted;
use clap::Args;
use p2p::{Address, Invite, JoinError, LinkStatus, Path, Transport};
use serde::Serialize;
use zeroize::Zeroizing;

use super::Common;
use super::failure::{Exit, Failure};
use super::init::storage_line;
use super::invite::time;
use super::output::{Mark, Output, row};
use super::said::Said;
use super::server::runtime;
use super::status::millis;
use crate::config::Config;
use crate::mesh::{Arrival, Patience, box_name, is_free, knock};
use crate::node::claim;
use crate::{logging, mesh};

/// No pasted invite is longer, in bytes.
const TOKEN_BYTES_MAX: u64 = 4096;
/// How long a box waits to be called unless it is told otherwise: somebody has to walk to the other one.
const WAIT: Duration = Duration::from_secs(10 * 60);

#[derive(Args)]
pub(super) struct JoinArgs {
    /// What `warren invite` printed on the other box, or `-` to read it from stdin
    token: Vec<String>,
    /// What people call the place of this box, e.g. "Ben's flat"
    #[arg(long)]
    zone: Option<String>,
    /// What people will call this box [default: its host name]
    #[arg(long)]
    name: Option<String>,
    /// How much of the disk the box may use, e.g. 500G [default: all of it]
    #[arg(long, value_name = "SIZE", conflicts_with = "data")]
    give: Option<String>,
    /// Directory of blocks and how much it may hold, e.g. /mnt/a:500G; may be repeated
    #[arg(long, value_name = "DIR[:SIZE]")]
    data: Vec<String>,
    /// Where the internet reaches this box, e.g. box.example.org:4001, so that the inviting box can call it; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    mesh_public: Vec<String>,
    /// How long to wait to be called by the inviting box, where this one cannot reach it [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = time)]
    wait: Option<Duration>,
}

pub(super) fn run(common: &Common, args: JoinArgs, out: &Output) -> Result<Exit, Failure> {
    let invite = token(&args.token)?;
    let name = args.name.clone().unwrap_or_else(box_name);
    let said = Said {
        name: None,
        zone: args.zone,
        give: args.give,
        data: args.data,
        mesh_public: args.mesh_public,
    };
    let config = said.decide(common)?;
    for (what, text) in [("--name", &name), ("--zone", &config.zone.value)] {
        is_name(what, text)?;
    }
    logging::start(&config.log_level.value, config.log_format.value, out.colour);
    if !is_free(&config.state.value) {
        let message = format!("{} holds a box already", config.state.value.display());
        let hint = "a box is in one mesh only: name another --state directory, or stop that box and move its directory away";
        return Err(Failure::new(Exit::Conflict, message).hint(hint));
    }
    mesh::check_port(&config)?;
    let wait = args.wait.unwrap_or(WAIT);
    runtime()?.block_on(join(&config, &invite, (name, wait), said, out))
}

async fn join(
    config: &Config,
    invite: &Invite,
    (name, wait): (String, Duration),
    said: Said,
    out: &Output,
) -> Result<Exit, Failure> {
    let (_socket, identity) = claim(&config.state.value)?;
    out.note("  Knocking …");
    let tell = |at: &[Address]| {
        for line in wait_to_be_called(at, wait) {
            out.note(&line);
        }
    };
    let patience = Patience { wait, tell: &tell };
    let arrival = knock(config, &identity, invite, name, patience).await;
    let arrival = arrival.map_err(refused)?;
    let joined = Joined::by(&arrival, config);
    let said = Said {
        name: Some(arrival.mesh().to_owned()),
        ..said
    };
    if let Err(failure) = said.remember(config) {
        arrival.give_up().await;
        return Err(failure);
    }
    let link = arrival.settle(&config.state.value).await?;
    joined.report(config, link, out)?;
    Ok(Exit::Ok)
}

/// What a person does whose new box is reached by the internet, and cannot reach the one that invited it.
fn wait_to_be_called(at: &[Address], wait: Duration) -> [String; 3] {
    let call = |address: &Address| format!("warren invite call {address}");
    let calls: Vec<_> = at.iter().map(call).collect();
    [
        "! This box reaches nobody of the mesh. It may be the one that can be reached.".to_owned(),
        format!("→ On the box that invited, type:  {}", calls.join("   or   ")),
        format!("  Waiting for its call, for {} …", lasted(wait.as_secs())),
    ]
}

/// Reads the invite from the command line, in one piece or in several, or from stdin.
fn token(words: &[String]) -> Result<Invite, Failure> {
    let text = match words {
        [] => {
            return Err(Failure::usage(
                "name the invite: warren join wrn1…, as `warren invite` printed it",
            ));
        }
        [dash] if dash == "-" => {
            let mut text = Zeroizing::new(String::new());
            io::stdin()
                .lock()
                .take(TOKEN_BYTES_MAX)
                .read_to_string(&mut text)
                .map_err(|error| Failure::new(Exit::Error, format!("read stdin: {error}")))?;
            text
        }
        words => Zeroizing::new(words.concat()),
    };
    invite(&text)
}

/// Reads an invite, or the whole line that was printed with it.
pub(super) fn invite(text: &str) -> Result<Invite, Failure> {
    let text = text.trim();
    let text = text.strip_prefix("warren join").unwrap_or(text);
    Invite::parse(text).map_err(|error| Failure::usage(error.to_string()))
}

/// Whether a text can name a box or a place.
pub(super) fn is_name(what: &str, text: &str) -> Result<(), Failure> {
    let most = p2p::NAME_BYTES_MAX;
    if text.trim().is_empty() || text.len() > most || text.chars().any(char::is_control) {
        return Err(Failure::usage(format!(
            "{what}: a name has 1 to {most} bytes, all printable"
        )));
    }
    Ok(())
}

/// Why a box was not let in.
pub(super) fn refused(error: anyhow::Error) -> Failure {
    let exit = match error.downcast_ref::<JoinError>() {
        Some(JoinError::NobodyAnswered { .. } | JoinError::NobodyCalled) => Exit::Timeout,
        Some(JoinError::Refused | JoinError::Impostor) => Exit::Denied,
        Some(JoinError::OtherMesh) => Exit::Conflict,
        None => return Failure::from(error),
    };
    Failure::new(exit, error.to_string())
}

/// What became of it, as scripts read it.
#[derive(Serialize)]
struct Joined {
    schema: Schema,
    mesh: String,
    name: String,
    zone: String,
    node: String,
    state: String,
    /// The box that let it in.
    by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

impl Joined {
    fn by(arrival: &Arrival, config: &Config) -> Self {
        Self {
            schema: Schema,
            mesh: arrival.mesh().to_owned(),
            name: arrival.name.clone(),
            zone: config.zone.value.clone(),
            node: arrival.node_id().to_string(),
            state: config.state.value.display().to_string(),
            by: arrival.host_name.clone(),
            path: None,
        }
    }

    fn report(mut self, config: &Config, link: Option<LinkStatus>, out: &Output) -> Result<(), Failure> {
        self.path = link.map(|link| way(&link));
        if out.json {
            return Ok(out.document(&self)?);
        }
        let (good, look) = (out.mark(Mark::Good), out.mark(Mark::Look));
        let first = config.data.value.first();
        let (place, given) = first.map_or((String::new(), 0), |data| {
            (data.path.display().to_string(), mesh::capacity(config))
        });
        out.data(&format!(
            "{good} Token valid: mesh {:?}, signed by {}; this box is {:?} in {:?}",
            self.mesh, self.by, self.name, self.zone
        ))?;
        let path = match &self.path {
            Some(path) => row([&format!("{good} Path to {}", self.by), path, ""]),
            None => row([&format!("{look} Path to {}", self.by), "not there yet", ""]),
        };
        let storage = storage_line(Some(config.state.value.as_path()), given, None);
        out.table(&[path, row([&format!("{good} Storage"), &place, &storage])])?;
        out.note("→ Run it:  warren server");
        Ok(())
    }
}

fn way(link: &LinkStatus) -> String {
    let transport = match link.transport {
        Transport::Quic => "QUIC",
        Transport::Tcp => "TCP",
    };
    let way = match link.path {
        Path::Lan => format!("lan {transport}"),
        Path::Direct => format!("direct {transport}"),
        Path::Relayed { .. } => "relayed".to_owned(),
    };
    match link.round_trip {
        Some(time) => format!("{way}, {}", millis(time.as_secs_f64())),
        None => way,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed() -> String {
        let key = p2p::MeshKey::generate().unwrap();
        let invite = Invite::new(key.id(), p2p::Role::Trusted, 1 << 33, Vec::new()).unwrap();
        invite.text().to_string()
    }

    #[test]
    fn a_box_that_waits_says_what_to_type_at_the_other() {
        let at = ["203.0.113.7:4001", "box.example.org:4001"].map(|at| at.parse().unwrap());
        let lines = wait_to_be_called(&at, WAIT);
        assert!(
            lines[1].contains(
                "warren invite call 203.0.113.7:4001   or   warren invite call box.example.org:4001"
            )
        );
        assert!(lines[2].contains("10 min"), "{lines:?}");
    }

    #[test]
    fn an_invite_is_read_however_it_was_pasted() {
        let text = printed();
        let invite = Invite::parse(&text).unwrap();
        let (front, back) = text.split_at(20);
        for words in [
            vec![text.clone()],
            vec![front.to_owned(), back.to_owned()],
            vec![format!("warren join {text}")],
            vec![text.to_uppercase()],
        ] {
            assert!(token(&words).unwrap() == invite, "{words:?}");
        }
        assert_eq!(token(&[front.to_owned()]).unwrap_err().exit, Exit::Usage);
        assert_eq!(token(&[]).unwrap_err().exit, Exit::Usage);
    }
}
