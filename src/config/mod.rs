//! What the node runs with: flag, then `WARREN_*`, then file, then what `warren init` was told, then what the system it came
//! with says, then default.
//!
//! Warren runs with an empty configuration. Every key is optional:
//!
//! | key          | flag           | variable            | default, and why |
//! |--------------|----------------|---------------------|------------------|
//! | `name`       | `init --name`  | `WARREN_NAME`       | `Warren`: one box needs no name to work |
//! | `zone`       | `init --zone`  | `WARREN_ZONE`       | the host name: tells boxes apart until a person names the place |
//! | `state`      | `--state`      | `WARREN_STATE`      | `/var/lib/warren` as root or service, where system data belongs; else the user's data folder, which needs no rights |
//! | `data`       | `--data`       | `WARREN_DATA`       | `blocks` in the state directory, all of its file system: the one directory known to be writable |
//! | `s3.address` | `--s3`         | `WARREN_S3`         | `[::]:3900`: serving the local network is what a box is for, and every request is authenticated |
//! | `s3.domains` | `--s3-domain`  | `WARREN_S3_DOMAINS` | none: buckets are addressed by path, which needs no DNS; below a domain named here, `localhost` and the names of the box also as `bucket.domain` |
//! | `s3.website_domains` | `--s3-website-domain` | `WARREN_S3_WEBSITE_DOMAINS` | none: a bucket that is a website is served to browsers at the host that is its name; below a domain named here also as `bucket.domain` |
//! | `s3.proxies` |               | `WARREN_S3_PROXIES` | none: addresses and networks of proxies that are believed about a request: `X-Forwarded-Proto: https` makes it `aws:SecureTransport`, and the last of `X-Forwarded-For` its sender; anybody else could write anything |
//! | `s3.webhooks` |              | `WARREN_S3_WEBHOOKS` | none: receivers that buckets may have told of what happens to their objects, each as `NAME=URL`; buckets can name no others, so that nobody has this box connect anywhere |
//! | `s3.webhook_ca_files` |     | `WARREN_S3_WEBHOOK_CA_FILES` | none: for a webhook over HTTPS the authorities that browsers trust vouch; where one of its owner does, each as `NAME=FILE` with its certificates in PEM, and then nobody else does |
//! | `page.address` | `--page`      | `WARREN_PAGE`       | `[::]:3980`: the page for browsers and the admin API, which answer only this home's own network; several with commas between them, the one to show first; `off` for none |
//! | `page.hosts` |                | `WARREN_PAGE_HOSTS` | none: names by which the page is called, beside addresses, `localhost`, the host's own name and all in `.local`; others are refused, so that no page elsewhere borrows our address |
//! | `page.lan_only` |             | `WARREN_PAGE_LAN_ONLY` | `on`: private, link-local and loopback addresses; `off` lets the internet knock, behind a proxy with a certificate |
//! | `mesh.address` | `--mesh`     | `WARREN_MESH`       | `[::]:0`: every address, and one random port that is chosen once and kept, so that two boxes behind one router do not share it |
//! | `mesh.public` | `--mesh-public` | `WARREN_MESH_PUBLIC` | none: where the owner knows the box to be reachable from everywhere, a server on the internet or a forwarded port |
//! | `mesh.mdns`  |                | `WARREN_MESH_MDNS`  | `on`: members in one home find each other without the internet, and the box is called `warren-NAME.local` there, in as far as others may connect |
//! | `mesh.upnp`  |                | `WARREN_MESH_UPNP`  | `on`: many routers forward a port when asked to |
//! | `mesh.limit_up` |             | `WARREN_MESH_LIMIT_UP` | none: bytes per second that content may take; metadata is never limited |
//! | `mesh.limit_down` |           | `WARREN_MESH_LIMIT_DOWN` | none, as above |
//! | `log.level`  | `--log`        | `WARREN_LOG`        | `info`: what changed, not what happened |
//! | `log.format` | `--log-format` | `WARREN_LOG_FORMAT` | `text`: people read it first; `json` is for collectors |
//!
//! The file is `--config`, `WARREN_CONFIG` or `/etc/warren/warren.toml`; only the last may be missing. A system that was made
//! for Warren, as the image is, has defaults of its own in `/usr/lib/warren/warren.toml`.
//! `WARREN_DATA`, `WARREN_S3_DOMAINS`, `WARREN_S3_WEBSITE_DOMAINS`, `WARREN_S3_PROXIES`, `WARREN_S3_WEBHOOKS`, `WARREN_S3_WEBHOOK_CA_FILES`, `WARREN_PAGE_HOSTS` and `WARREN_MESH_PUBLIC` separate their values by commas. Accepting loss is only ever a flag: kept in a file
//! it would accept the next loss too.

mod file;
mod values;
mod webhooks;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use file::{File, FileError, MeshSection};
use p2p::Address;
use s3::notify::Webhook;
use s3::proxies::Network;
pub use values::{
    DataDirectory, InvalidValue, LogFilter, LogFormat, MeshAddress, PageAddress, Rate, S3Address, S3Domain,
    Switch,
};
pub use webhooks::AuthorityFile;

/// Every key of the configuration file, in the order of the manual.
pub const KEYS: [&str; 21] = [
    "name",
    "zone",
    "state",
    "data",
    "s3.address",
    "s3.domains",
    "s3.website_domains",
    "s3.proxies",
    "s3.webhooks",
    "s3.webhook_ca_files",
    "page.address",
    "page.hosts",
    "page.lan_only",
    "mesh.address",
    "mesh.public",
    "mesh.mdns",
    "mesh.upnp",
    "mesh.limit_up",
    "mesh.limit_down",
    "log.level",
    "log.format",
];

/// Where the configuration file is when nobody says.
const SYSTEM_FILE: &str = "/etc/warren/warren.toml";

/// What the system says that Warren came with: weaker than anything a person said.
pub const VENDOR_FILE: &str = "/usr/lib/warren/warren.toml";

/// What `warren init` was told, inside the state directory; same format as the configuration file.
const INIT_FILE: &str = "init.toml";

/// A value, and who set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Who set it.
    pub source: Source,
}

/// Who set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Flag(&'static str),
    /// The environment.
    Variable(&'static str),
    /// A file: the configuration file or what `warren init` was told.
    File(PathBuf),
    /// Nobody.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Why there is no configuration to run with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read or understood.
    #[error(transparent)]
    File(#[from] FileError),
    /// A value is not what its key needs.
    #[error("{origin}: {error}")]
    Value {
        /// Who set it, e.g. `--s3` or a file and key.
        origin: String,
        /// What is wrong.
        error: InvalidValue,
    },
    /// Two data directories are the same.
    #[error("the data directory {} is named twice", .0.display())]
    SameDirectory(PathBuf),
    /// A relative path, and no directory to begin from.
    #[error("find the current directory")]
    CurrentDirectory(#[source] io::Error),
}

/// What the command line says; `None` and empty where it says nothing.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--name`.
    pub name: Option<String>,
    /// `--zone`.
    pub zone: Option<String>,
    /// `--state`.
    pub state: Option<String>,
    /// `--data`, repeated.
    pub data: Vec<String>,
    /// `--s3`.
    pub s3: Option<String>,
    /// `--s3-domain`, repeated.
    pub s3_domains: Vec<String>,
    /// `--s3-website-domain`, repeated.
    pub website_domains: Vec<String>,
    /// `--page`.
    pub page: Option<String>,
    /// `--mesh`.
    pub mesh: Option<String>,
    /// `--mesh-public`, repeated.
    pub mesh_public: Vec<String>,
    /// `--log`.
    pub log: Option<String>,
    /// `--log-format`.
    pub log_format: Option<String>,
}

/// What the node finds around itself.
pub struct Surroundings<'a> {
    /// Looks up an environment variable; empty ones count as unset.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Whether it runs as root.
    pub root: bool,
    /// The name of the host.
    pub host: String,
    /// The file of the system's own defaults, which need not exist.
    pub vendor: &'a Path,
}

/// What the node runs with. A value that exists is valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// What people call this mesh.
    pub name: Setting<String>,
    /// What people call the place where the box stands.
    pub zone: Setting<String>,
    /// Directory of keys, rows and index; absolute.
    pub state: Setting<PathBuf>,
    /// Directories of blocks; absolute, at least one, none twice.
    pub data: Setting<Vec<DataDirectory>>,
    /// Where S3 clients connect.
    pub s3_address: Setting<S3Address>,
    /// Domains below which host names name buckets; may be none.
    pub s3_domains: Setting<Vec<S3Domain>>,
    /// Domains below which host names name buckets that are websites; may be none.
    pub website_domains: Setting<Vec<S3Domain>>,
    /// Who is believed about where requests come from; may be none.
    pub proxies: Setting<Vec<Network>>,
    /// Whom buckets may have told; may be none, no two of one name.
    pub webhooks: Setting<Vec<Webhook>>,
    /// Who vouches for some of them; what is in the files stands in `webhooks`.
    pub webhook_authorities: Setting<Vec<AuthorityFile>>,
    /// The page for browsers.
    pub page: PageConfig,
    /// How it takes part in a mesh.
    pub mesh: MeshConfig,
    /// Which events are logged.
    pub log_level: Setting<LogFilter>,
    /// How events are written.
    pub log_format: Setting<LogFormat>,
}

/// How the page and the admin API are served.
#[derive(Clone, Debug)]
pub struct PageConfig {
    /// Where browsers connect.
    pub address: Setting<PageAddress>,
    /// Names of the box beside those it knows itself; may be none.
    pub hosts: Setting<Vec<S3Domain>>,
    /// Whether only this home's own network is answered.
    pub lan_only: Setting<Switch>,
}

/// How a node takes part in a mesh.
#[derive(Clone, Debug)]
pub struct MeshConfig {
    /// Where other members connect.
    pub address: Setting<MeshAddress>,
    /// Where it can be reached from everywhere; may be none.
    pub public: Setting<Vec<Address>>,
    /// Whether members on the LAN are looked for.
    pub mdns: Setting<Switch>,
    /// Whether the router is asked to forward the port.
    pub upnp: Setting<Switch>,
    /// How fast content may be sent to other members.
    pub limit_up: Setting<Rate>,
    /// How fast content may be received from other members.
    pub limit_down: Setting<Rate>,
}

impl Config {
    /// Reads the files and decides every setting.
    ///
    /// # Errors
    /// A file cannot be read, holds an unknown key, or any value is not what it must be.
    pub fn load(flags: &Flags, around: &Surroundings<'_>) -> Result<Self, ConfigError> {
        let layers = Layers {
            flags,
            around,
            files: vec![configuration_file(flags, around)?],
        };
        let state = layers.state()?;
        let init = state.value.join(INIT_FILE);
        let layers = Layers {
            files: [
                layers.files,
                vec![read_if_there(init)?, read_if_there(around.vendor.into())?],
            ]
            .concat(),
            ..layers
        };
        layers.decide(state)
    }

    /// Keys and values as the configuration file would have them, in the order of the manual; without what is a secret in them.
    pub fn settings(&self) -> [(&'static str, String, &Source); 21] {
        let data: Vec<String> = self.data.value.iter().map(ToString::to_string).collect();
        let domains: Vec<&str> = self.s3_domains.value.iter().map(S3Domain::as_str).collect();
        let websites: Vec<&str> = self.website_domains.value.iter().map(S3Domain::as_str).collect();
        let proxies: Vec<String> = self.proxies.value.iter().map(ToString::to_string).collect();
        let webhooks: Vec<String> = self.webhooks.value.iter().map(Webhook::shown).collect();
        let authorities = self.webhook_authorities.value.iter();
        let authorities: Vec<String> = authorities.map(ToString::to_string).collect();
        let hosts: Vec<&str> = self.page.hosts.value.iter().map(S3Domain::as_str).collect();
        let public: Vec<String> = self.mesh.public.value.iter().map(ToString::to_string).collect();
        let values = [
            (self.name.value.clone(), &self.name.source),
            (self.zone.value.clone(), &self.zone.source),
            (self.state.value.display().to_string(), &self.state.source),
            (data.join(", "), &self.data.source),
            (self.s3_address.value.to_string(), &self.s3_address.source),
            (domains.join(", "), &self.s3_domains.source),
            (websites.join(", "), &self.website_domains.source),
            (proxies.join(", "), &self.proxies.source),
            (webhooks.join(", "), &self.webhooks.source),
            (authorities.join(", "), &self.webhook_authorities.source),
            (self.page.address.value.to_string(), &self.page.address.source),
            (hosts.join(", "), &self.page.hosts.source),
            (self.page.lan_only.value.to_string(), &self.page.lan_only.source),
            (self.mesh.address.value.to_string(), &self.mesh.address.source),
            (public.join(", "), &self.mesh.public.source),
            (self.mesh.mdns.value.to_string(), &self.mesh.mdns.source),
            (self.mesh.upnp.value.to_string(), &self.mesh.upnp.source),
            (self.mesh.limit_up.value.to_string(), &self.mesh.limit_up.source),
            (
                self.mesh.limit_down.value.to_string(),
                &self.mesh.limit_down.source,
            ),
            (self.log_level.value.as_str().to_owned(), &self.log_level.source),
            (self.log_format.value.to_string(), &self.log_format.source),
        ];
        let mut keys = KEYS.into_iter();
        values.map(|(value, source)| (keys.next().unwrap_or_default(), value, source))
    }

    /// Where what `warren init` was told is kept.
    pub fn init_file(state: &Path) -> PathBuf {
        state.join(INIT_FILE)
    }
}

/// The configuration file, which must exist if somebody named it.
fn configuration_file(flags: &Flags, around: &Surroundings<'_>) -> Result<(File, PathBuf), ConfigError> {
    let named = flags
        .config
        .clone()
        .or_else(|| (around.variable)("WARREN_CONFIG").map(PathBuf::from));
    let file = match named {
        Some(path) => (File::read(&path)?, path),
        None => (File::read_if_there(Path::new(SYSTEM_FILE))?, SYSTEM_FILE.into()),
    };
    Ok(file)
}

fn read_if_there(path: PathBuf) -> Result<(File, PathBuf), ConfigError> {
    Ok((File::read_if_there(&path)?, path))
}

/// Everything that may say something, strongest first.
struct Layers<'a> {
    flags: &'a Flags,
    around: &'a Surroundings<'a>,
    files: Vec<(File, PathBuf)>,
}

/// One key: its names, and what the flag says.
struct Key<'a> {
    name: &'static str,
    flag: (&'static str, Option<&'a String>),
    variable: &'static str,
}

impl Layers<'_> {
    fn decide(&self, state: Setting<PathBuf>) -> Result<Config, ConfigError> {
        let flags = self.flags;
        let key = |name, flag, said, variable| Key {
            name,
            flag: (flag, said),
            variable,
        };
        let webhook_authorities = self.webhook_authorities()?;
        Ok(Config {
            name: self.setting(
                &key("name", "--name", flags.name.as_ref(), "WARREN_NAME"),
                |file| file.name.clone(),
                values::label,
                || "Warren".into(),
            )?,
            zone: self.setting(
                &key("zone", "--zone", flags.zone.as_ref(), "WARREN_ZONE"),
                |file| file.zone.clone(),
                values::label,
                || self.around.host.clone(),
            )?,
            data: self.data(&state.value)?,
            state,
            s3_address: self.setting(
                &key("s3.address", "--s3", flags.s3.as_ref(), "WARREN_S3"),
                |file| file.s3.address.clone(),
                S3Address::parse,
                S3Address::everywhere,
            )?,
            s3_domains: self.s3_domains()?,
            website_domains: self.website_domains()?,
            proxies: self.proxies()?,
            webhooks: self.webhooks(&webhook_authorities)?,
            webhook_authorities,
            page: self.page()?,
            mesh: self.mesh()?,
            log_level: self.setting(
                &key("log.level", "--log", flags.log.as_ref(), "WARREN_LOG"),
                |file| file.log.level.clone(),
                LogFilter::parse,
                LogFilter::info,
            )?,
            log_format: self.setting(
                &key(
                    "log.format",
                    "--log-format",
                    flags.log_format.as_ref(),
                    "WARREN_LOG_FORMAT",
                ),
                |file| file.log.format.clone(),
                LogFormat::parse,
                || LogFormat::Text,
            )?,
        })
    }

    /// Where the state is. Decided first, from flag, variable and configuration file alone.
    fn state(&self) -> Result<Setting<PathBuf>, ConfigError> {
        let key = Key {
            name: "state",
            flag: ("--state", self.flags.state.as_ref()),
            variable: "WARREN_STATE",
        };
        let state = self.setting(
            &key,
            |file| file.state.clone(),
            values::path,
            || default_state(self.around),
        )?;
        Ok(Setting {
            value: absolute(&state.value)?,
            source: state.source,
        })
    }

    fn data(&self, state: &Path) -> Result<Setting<Vec<DataDirectory>>, ConfigError> {
        let said = self.list(("--data", &self.flags.data), "WARREN_DATA", |file| {
            file.data.clone()
        });
        let Some((texts, source)) = said else {
            let directory = DataDirectory {
                path: state.join("blocks"),
                capacity: None,
            };
            return Ok(Setting {
                value: vec![directory],
                source: Source::Default,
            });
        };
        let wrong = |error| ConfigError::Value {
            origin: format!("{source}, data"),
            error,
        };
        if texts.is_empty() {
            return Err(wrong(InvalidValue("name at least one data directory".into())));
        }
        let mut value: Vec<DataDirectory> = Vec::new();
        for text in &texts {
            let directory = DataDirectory::parse(text).map_err(wrong)?;
            let path = absolute(&directory.path)?;
            if value.iter().any(|other| other.path == path) {
                return Err(ConfigError::SameDirectory(path));
            }
            value.push(DataDirectory { path, ..directory });
        }
        Ok(Setting { value, source })
    }

    fn s3_domains(&self) -> Result<Setting<Vec<S3Domain>>, ConfigError> {
        let flag = ("--s3-domain", &self.flags.s3_domains[..]);
        let said = self.list(flag, "WARREN_S3_DOMAINS", |file| file.s3.domains.clone());
        parsed("s3.domains", said, S3Domain::parse)
    }

    fn website_domains(&self) -> Result<Setting<Vec<S3Domain>>, ConfigError> {
        let flag = ("--s3-website-domain", &self.flags.website_domains[..]);
        let said = self.list(flag, "WARREN_S3_WEBSITE_DOMAINS", |file| {
            file.s3.website_domains.clone()
        });
        parsed("s3.website_domains", said, S3Domain::parse)
    }

    fn proxies(&self) -> Result<Setting<Vec<Network>>, ConfigError> {
        let said = self.list(("", &[]), "WARREN_S3_PROXIES", |file| file.s3.proxies.clone());
        parsed("s3.proxies", said, |text| {
            Network::parse(text.trim()).ok_or_else(|| {
                InvalidValue(format!(
                    "{text:?} is not an address, or a network such as 10.0.0.0/8"
                ))
            })
        })
    }

    fn webhooks(&self, vouching: &Setting<Vec<AuthorityFile>>) -> Result<Setting<Vec<Webhook>>, ConfigError> {
        let said = self.list(("", &[]), "WARREN_S3_WEBHOOKS", |file| file.s3.webhooks.clone());
        let Setting { value, source } = parsed("s3.webhooks", said, webhooks::reader())?;
        match webhooks::vouched_for(value, &vouching.value) {
            Ok(value) => Ok(Setting { value, source }),
            Err(error) => Err(ConfigError::Value {
                origin: format!("{}, s3.webhook_ca_files", vouching.source),
                error,
            }),
        }
    }

    fn webhook_authorities(&self) -> Result<Setting<Vec<AuthorityFile>>, ConfigError> {
        let said = self.list(("", &[]), "WARREN_S3_WEBHOOK_CA_FILES", |file| {
            file.s3.webhook_ca_files.clone()
        });
        parsed("s3.webhook_ca_files", said, AuthorityFile::parse)
    }

    fn page(&self) -> Result<PageConfig, ConfigError> {
        let key = |name, said, variable| Key {
            name,
            flag: ("--page", said),
            variable,
        };
        let said = self.list(("", &[]), "WARREN_PAGE_HOSTS", |file| file.page.hosts.clone());
        Ok(PageConfig {
            address: self.setting(
                &key("page.address", self.flags.page.as_ref(), "WARREN_PAGE"),
                |file| file.page.address.clone(),
                PageAddress::parse,
                PageAddress::everywhere,
            )?,
            hosts: parsed("page.hosts", said, S3Domain::parse)?,
            lan_only: self.setting(
                &key("page.lan_only", None, "WARREN_PAGE_LAN_ONLY"),
                |file| file.page.lan_only.clone(),
                Switch::parse,
                || Switch(true),
            )?,
        })
    }

    fn mesh(&self) -> Result<MeshConfig, ConfigError> {
        // Without flags of their own: nobody says these twice.
        let key = |name, variable| Key {
            name,
            flag: ("", None),
            variable,
        };
        let address = Key {
            flag: ("--mesh", self.flags.mesh.as_ref()),
            ..key("mesh.address", "WARREN_MESH")
        };
        let switch = |name, variable, in_file: fn(&File) -> Option<String>| {
            self.setting(&key(name, variable), in_file, Switch::parse, || Switch(true))
        };
        let rate = |name, variable, in_file: fn(&File) -> Option<String>| {
            self.setting(&key(name, variable), in_file, Rate::parse, || Rate(None))
        };
        Ok(MeshConfig {
            address: self.setting(
                &address,
                |file| file.mesh.address.clone(),
                MeshAddress::parse,
                MeshAddress::everywhere,
            )?,
            public: self.mesh_public()?,
            mdns: switch("mesh.mdns", "WARREN_MESH_MDNS", |file| file.mesh.mdns.clone())?,
            upnp: switch("mesh.upnp", "WARREN_MESH_UPNP", |file| file.mesh.upnp.clone())?,
            limit_up: rate("mesh.limit_up", "WARREN_MESH_LIMIT_UP", |file| {
                file.mesh.limit_up.clone()
            })?,
            limit_down: rate("mesh.limit_down", "WARREN_MESH_LIMIT_DOWN", |file| {
                file.mesh.limit_down.clone()
            })?,
        })
    }

    fn mesh_public(&self) -> Result<Setting<Vec<Address>>, ConfigError> {
        let flag = ("--mesh-public", &self.flags.mesh_public[..]);
        let said = self.list(flag, "WARREN_MESH_PUBLIC", |file| file.mesh.public.clone());
        parsed("mesh.public", said, values::public_address)
    }

    /// All flags, or all of the variable, or all of the file: lists are replaced, never mixed.
    fn list(
        &self,
        (flag, flags): (&'static str, &[String]),
        variable: &'static str,
        in_file: impl Fn(&File) -> Option<Vec<String>>,
    ) -> Option<(Vec<String>, Source)> {
        if !flags.is_empty() {
            return Some((flags.to_vec(), Source::Flag(flag)));
        }
        if let Some(list) = (self.around.variable)(variable) {
            let texts = list.split(',').map(|one| one.trim().to_owned()).collect();
            return Some((texts, Source::Variable(variable)));
        }
        let mut files = self.files.iter();
        files.find_map(|(file, path)| Some((in_file(file)?, Source::File(path.clone()))))
    }

    fn setting<T>(
        &self,
        key: &Key<'_>,
        in_file: impl Fn(&File) -> Option<String>,
        mut parse: impl FnMut(&str) -> Result<T, InvalidValue>,
        default: impl FnOnce() -> T,
    ) -> Result<Setting<T>, ConfigError> {
        let (flag, said) = key.flag;
        let variable = || (self.around.variable)(key.variable);
        let from_file = || {
            let mut files = self.files.iter();
            files.find_map(|(file, path)| Some((in_file(file)?, Source::File(path.clone()))))
        };
        let said = said
            .map(|text| (text.clone(), Source::Flag(flag)))
            .or_else(|| variable().map(|text| (text, Source::Variable(key.variable))))
            .or_else(from_file);
        let Some((text, source)) = said else {
            return Ok(Setting {
                value: default(),
                source: Source::Default,
            });
        };
        match parse(&text) {
            Ok(value) => Ok(Setting { value, source }),
            Err(error) => {
                let origin = match &source {
                    Source::File(path) => format!("{}: {}", path.display(), key.name),
                    other => other.to_string(),
                };
                Err(ConfigError::Value { origin, error })
            }
        }
    }
}

/// A list that was said, or none.
fn parsed<T>(
    key: &str,
    said: Option<(Vec<String>, Source)>,
    mut parse: impl FnMut(&str) -> Result<T, InvalidValue>,
) -> Result<Setting<Vec<T>>, ConfigError> {
    let (texts, source) = said.unwrap_or((Vec::new(), Source::Default));
    match texts.iter().map(|text| parse(text)).collect() {
        Ok(value) => Ok(Setting { value, source }),
        Err(error) => Err(ConfigError::Value {
            origin: format!("{source}, {key}"),
            error,
        }),
    }
}

fn default_state(around: &Surroundings<'_>) -> PathBuf {
    let variable = |name| (around.variable)(name).filter(|path| path.starts_with('/'));
    // systemd names the directory it made for the service; of several the first is ours.
    if let Some(path) = variable("STATE_DIRECTORY") {
        return PathBuf::from(path.split(':').next().unwrap_or(&path));
    }
    if !around.root {
        if let Some(path) = variable("XDG_DATA_HOME") {
            return Path::new(&path).join("warren");
        }
        if let Some(path) = variable("HOME") {
            return Path::new(&path).join(".local/share/warren");
        }
    }
    PathBuf::from("/var/lib/warren")
}

fn absolute(path: &Path) -> Result<PathBuf, ConfigError> {
    std::path::absolute(path).map_err(ConfigError::CurrentDirectory)
}

#[cfg(test)]
mod tests;
