//! The values that settings may have.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use appliance::ByteSize;

/// What is wrong with a value, for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(pub(super) String);

/// A directory of blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDirectory {
    /// Where.
    pub path: PathBuf,
    /// How much it may hold; all of its file system if not given.
    pub capacity: Option<ByteSize>,
}

impl DataDirectory {
    /// Reads `DIR` or `DIR:SIZE`. What follows the last colon is a size if it begins with a digit.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidValue> {
        let (directory, size) = match text.rsplit_once(':') {
            Some((directory, size)) if size.starts_with(|c: char| c.is_ascii_digit()) => {
                (directory, Some(size))
            }
            _ => (text, None),
        };
        let capacity = size
            .map(|size| {
                size.parse::<ByteSize>()
                    .map_err(|error| InvalidValue(error.to_string()))
            })
            .transpose()?;
        if capacity == Some(ByteSize(0)) {
            return Err(InvalidValue(format!("{text:?} gives no room")));
        }
        Ok(Self {
            path: path(directory)?,
            capacity,
        })
    }
}

impl fmt::Display for DataDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whole bytes, so that reading it back gives the same directory.
        match self.capacity {
            Some(ByteSize(bytes)) => write!(f, "{}:{bytes}", self.path.display()),
            None => write!(f, "{}", self.path.display()),
        }
    }
}

/// Where S3 clients connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct S3Address(pub SocketAddr);

impl S3Address {
    /// The port nobody else uses by default; the page has 3980.
    const PORT: u16 = 3900;

    /// Every address of the box, IPv6 and IPv4.
    pub(super) fn everywhere() -> Self {
        Self(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), Self::PORT))
    }

    /// Reads `ADDRESS:PORT`, or a port alone for every address.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidValue> {
        if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
            return Ok(Self(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)));
        }
        text.parse().map(Self).map_err(|_| {
            InvalidValue(format!(
                "{text:?} is not an address: write it like [::]:3900, 127.0.0.1:3900 or 3900"
            ))
        })
    }
}

impl fmt::Display for S3Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where browsers connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageAddress {
    /// Nowhere: there is no page.
    Off,
    /// Here; at least one, the one to show first.
    At(Vec<SocketAddr>),
}

impl PageAddress {
    const PORT: u16 = 3980;

    /// Every address of the box, IPv6 and IPv4.
    pub(super) fn everywhere() -> Self {
        Self::At(vec![SocketAddr::new(
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            Self::PORT,
        )])
    }

    /// Reads `ADDRESS:PORT`, a port alone for every address, several of these with commas between them, or `off`.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidValue> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let address = |one: &str| {
            let read = S3Address::parse(one.trim()).map(|S3Address(address)| address);
            read.map_err(|_| {
                InvalidValue(format!(
                    "{text:?} is not an address: write it like [::]:3980, 127.0.0.1:3980, 3980, 3980,80 or off"
                ))
            })
        };
        text.split(',')
            .map(address)
            .collect::<Result<_, _>>()
            .map(Self::At)
    }
}

impl fmt::Display for PageAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(addresses) => {
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                f.write_str(&addresses.join(","))
            }
        }
    }
}

/// Where other members connect, with TCP and QUIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeshAddress(SocketAddr);

impl MeshAddress {
    /// Every address of the box, and a port of its own.
    pub(super) fn everywhere() -> Self {
        Self(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0))
    }

    /// Reads `ADDRESS:PORT`, or either of them alone.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidValue> {
        if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
            return Ok(Self(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)));
        }
        if let Ok(ip) = text.parse() {
            return Ok(Self(SocketAddr::new(ip, 0)));
        }
        text.parse().map(Self).map_err(|_| {
            InvalidValue(format!(
                "{text:?} is not an address: write it like [::]:4001, 192.168.1.20:4001 or 4001"
            ))
        })
    }

    /// The addresses to listen at.
    pub fn ips(&self) -> Vec<IpAddr> {
        if self.0.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            return vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED), self.0.ip()];
        }
        vec![self.0.ip()]
    }

    /// The port; none where one is chosen and kept.
    pub fn port(&self) -> Option<u16> {
        (self.0.port() != 0).then_some(self.0.port())
    }
}

impl fmt::Display for MeshAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Reads where a box can be reached from everywhere.
pub(super) fn public_address(text: &str) -> Result<p2p::Address, InvalidValue> {
    text.parse()
        .map_err(|error: p2p::InvalidAddress| InvalidValue(format!("{text:?}: {error}")))
}

/// Something that is on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch(pub bool);

impl Switch {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidValue> {
        match text {
            "on" | "true" | "yes" => Ok(Self(true)),
            "off" | "false" | "no" => Ok(Self(false)),
            _ => Err(InvalidValue(format!("{text:?} is neither on nor off"))),
        }
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "on" } else { "off" })
    }
}

/// Bytes per second; none means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub Option<u64>);

impl Rate {
    /// Reads a size, or `none`.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidValue> {
        if text == "none" {
            return Ok(Self(None));
        }
        match text.parse::<ByteSize>() {
            Ok(ByteSize(0)) => Err(InvalidValue("a limit of nothing stops everything".into())),
            Ok(ByteSize(bytes)) => Ok(Self(Some(bytes))),
            Err(error) => Err(InvalidValue(format!("{error}, in bytes per second, or none"))),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // Whole bytes, so that reading it back gives the same rate.
            Some(bytes) => bytes.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// A domain below which the first labels of a host name are a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Domain(String);

impl S3Domain {
    /// Reads a domain name without scheme, port or wildcard; case means nothing.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidValue> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        // A host that is an IP address has no labels in front of it.
        if text.len() <= 253 && text.split('.').all(label) && text.parse::<IpAddr>().is_err() {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(InvalidValue(format!(
            "{text:?} is not a domain: write it like s3.example, without port"
        )))
    }

    /// The domain as text, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which events are logged: a level, or levels by module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    pub(super) fn info() -> Self {
        Self("info".into())
    }

    pub(super) fn parse(text: &str) -> Result<Self, InvalidValue> {
        // The parser takes any lone word for a module, and a misspelt level would silence the log.
        let known = |part: &str| part.contains('=') || part.parse::<LevelFilter>().is_ok();
        match EnvFilter::builder().parse(text) {
            Ok(_) if text.split(',').all(|part| known(part.trim())) => Ok(Self(text.to_owned())),
            _ => Err(InvalidValue(format!(
                "{text:?} is not a log level: error, warn, info, debug or trace"
            ))),
        }
    }

    /// The filter as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

impl LogFormat {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidValue> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(InvalidValue(format!(
                "{text:?} is not a log format: text or json"
            ))),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// The name of a mesh or a place: 1–64 printable characters.
pub(super) fn label(text: &str) -> Result<String, InvalidValue> {
    let text = text.trim();
    if (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(InvalidValue("a name has 1 to 64 printable characters".into()))
    }
}

pub(super) fn path(text: &str) -> Result<PathBuf, InvalidValue> {
    if text.is_empty() {
        return Err(InvalidValue("name a directory".into()));
    }
    Ok(PathBuf::from(text))
}
