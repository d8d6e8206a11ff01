//! The command line: reads it, runs the verb, turns the outcome into an exit code.

mod app;
mod bucket;
mod completion;
mod config;
mod disk;
mod doctor;
mod failure;
mod init;
mod invite;
mod join;
mod key;
mod kit;
mod layout;
mod login_code;
mod logs;
mod man;
mod mesh;
mod net;
mod new_file;
mod output;
mod password;
mod peer;
mod qr;
mod quota;
mod repair;
mod said;
mod screen;
mod secret;
mod server;
mod status;
mod token;
mod update;
mod version;
mod why;
mod wizard;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use failure::{Exit, Failure};
use output::Output;

use crate::admin_client::AdminClient;
use crate::config::{Config, ConfigError, Flags, Surroundings, VENDOR_FILE};

/// One private, encrypted S3 store on your own boxes.
#[derive(Parser)]
#[command(
    name = "warren",
    version,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Start a box: warren server    Then open the page it names, or in another window: warren status"
)]
struct CommandLine {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb understands.
#[derive(Args, Clone)]
#[command(next_help_heading = "Options of every command")]
struct Common {
    /// Configuration file [default: $WARREN_CONFIG, or /etc/warren/warren.toml if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of keys and index [default: /var/lib/warren as root, else ~/.local/share/warren]
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<String>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Say nothing but data and errors
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Answer every question with yes
    #[arg(long, short, global = true)]
    yes: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the box until it is told to stop
    Server(server::ServerArgs),
    /// Create the box without running it
    Init(init::InitArgs),
    /// Let another box join: makes an invite; or lists and revokes them
    Invite(invite::InviteArgs),
    /// Make this box a member of a mesh, with an invite from it
    Join(join::JoinArgs),
    /// Take this box out of its mesh
    Leave(peer::LeaveArgs),
    /// Show, name, measure and remove the boxes of the mesh
    #[command(subcommand)]
    Peer(peer::PeerVerb),
    /// Go on when too many boxes are lost for good
    #[command(subcommand)]
    Mesh(mesh::MeshVerb),
    /// Show how other boxes reach this one
    #[command(subcommand)]
    Net(net::NetVerb),
    /// Show how the box is; exit code 10, 11 or 12 when it is not well
    Status,
    /// Explain the verdict of `status`, reason by reason; exit codes as there
    Why,
    /// Look at all that could keep this box from working, also when it does not run, and say what to do; exit codes as `status`, and 1 for what is wrong beside the data
    Doctor,
    /// Show who holds what, what would change next, and pause that
    #[command(subcommand)]
    Layout(layout::LayoutVerb),
    /// Show what is being repaired
    #[command(subcommand)]
    Repair(repair::RepairVerb),
    /// Verify all blocks of this box
    #[command(subcommand)]
    Scrub(repair::ScrubVerb),
    /// Show the directories in which this box keeps blocks
    #[command(subcommand)]
    Disk(disk::DiskVerb),
    /// Print numbers for Prometheus
    Metrics,
    /// Show the end of the log of this box since it started; what came before is in the journal of the system
    Logs(logs::LogsArgs),
    /// Save all that somebody who helps has to know, without secrets
    SupportBundle(logs::SupportArgs),
    /// List, create and change buckets
    #[command(subcommand)]
    Bucket(bucket::BucketVerb),
    /// List, create and change access keys
    #[command(subcommand)]
    Key(key::KeyVerb),
    /// Test what an app could do with a key
    #[command(subcommand)]
    App(app::AppVerb),
    /// Save and verify the recovery kit, a page to print
    #[command(subcommand)]
    Kit(kit::KitVerb),
    /// Show a code that lets a browser into the page, once
    LoginCode,
    /// Set the password of the page, on a box that does not run
    Password(password::PasswordArgs),
    /// List, make and revoke tokens for programs that use the admin API
    #[command(subcommand)]
    Token(token::TokenVerb),
    /// Show or check the configuration
    #[command(subcommand)]
    Config(config::ConfigVerb),
    /// Install a signed update of the system, on a box that runs the image
    Update(update::UpdateArgs),
    /// Show on a screen how and where the box is, and what opens its page
    #[command(hide = true)]
    Screen(screen::ScreenArgs),
    /// Print a completion script for a shell
    Completion(completion::CompletionArgs),
    /// Write the manual, a page for each command
    #[command(hide = true)]
    Man(man::ManArgs),
    /// Print the version
    Version,
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let line = CommandLine::parse();
    let out = Output::new(line.common.json, line.common.quiet);
    match dispatch(line, &out) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.print(&out);
            failure.exit.into()
        }
    }
}

fn dispatch(line: CommandLine, out: &Output) -> Result<Exit, Failure> {
    let common = line.common;
    match line.verb {
        Verb::Server(args) => server::run(&common, args, out),
        Verb::Init(args) => init::run(&common, args, out),
        Verb::Invite(args) => ask(async { invite::run(args, &client(&common)?, out).await }),
        Verb::Join(args) => join::run(&common, args, out),
        Verb::Leave(args) => ask(async { peer::leave(args, &client(&common)?, common.yes, out).await }),
        Verb::Peer(verb) => ask(async { peer::run(verb, &client(&common)?, common.yes, out).await }),
        Verb::Mesh(verb) => ask(async { mesh::run(verb, &client(&common)?, common.yes, out).await }),
        Verb::Net(verb) => ask(async { net::run(verb, &client(&common)?, common.yes, out).await }),
        Verb::Status => ask(async { status::run(&client(&common)?, out).await }),
        Verb::Why => ask(async { why::run(&client(&common)?, out).await }),
        Verb::Doctor => ask(doctor::run(&common, out)),
        Verb::Layout(verb) => ask(async { layout::run(verb, &client(&common)?, out).await }),
        Verb::Repair(verb) => ask(async { repair::run(verb, &client(&common)?, out).await }),
        Verb::Scrub(verb) => ask(async { repair::scrub(verb, &client(&common)?, out).await }),
        Verb::Disk(verb) => ask(async { disk::run(verb, &client(&common)?, out).await }),
        Verb::Metrics => ask(async { status::metrics(&client(&common)?, out).await }),
        Verb::Logs(args) => ask(async { logs::run(&args, &client(&common)?, out).await }),
        Verb::SupportBundle(args) => ask(async { logs::support(&args, &client(&common)?, out).await }),
        Verb::Bucket(verb) => ask(async { bucket::run(verb, &client(&common)?, common.yes, out).await }),
        Verb::Key(verb) => ask(async { key::run(verb, &client(&common)?, common.yes, out).await }),
        Verb::App(verb) => ask(async { app::run(verb, &client(&common)?, out).await }),
        Verb::Kit(verb) => ask(async { kit::run(verb, &client(&common)?, out).await }),
        Verb::LoginCode => ask(async { login_code::run(&client(&common)?, out).await }),
        Verb::Token(verb) => ask(async { token::run(verb, &client(&common)?, common.yes, out).await }),
        Verb::Config(verb) => config::run(&common, verb, out),
        Verb::Password(args) => ask(async { password::run(&common, args, out).await }),
        Verb::Screen(args) => ask(async { screen::run(&common, &args).await }),
        Verb::Update(args) => update::run(args, out),
        Verb::Completion(args) => completion::run(&args, CommandLine::command()),
        Verb::Man(args) => man::run(&args, CommandLine::command()),
        Verb::Version => version::run(out),
    }
}

/// Runs a verb that only asks the running node.
fn ask(verb: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .map_err(|error| Failure::new(Exit::Error, format!("start: {error}")))?
        .block_on(verb)
}

fn client(common: &Common) -> Result<AdminClient, Failure> {
    Ok(AdminClient::new(&load(common, Flags::default())?.state.value))
}

/// Decides the configuration from the common options, the verb's flags and everything below them.
fn load(common: &Common, flags: Flags) -> Result<Config, ConfigError> {
    let flags = Flags {
        config: common.config.clone(),
        state: common.state.clone(),
        ..flags
    };
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Config::load(
        &flags,
        &Surroundings {
            variable: &variable,
            root: rustix::process::geteuid().is_root(),
            host,
            vendor: Path::new(VENDOR_FILE),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
