//! Who asks for something and how: what policies judge besides action and resource.

use std::borrow::Cow;
use std::net::IpAddr;

use http::{HeaderMap, header};
use storage::model::{AccessKeyId, Timestamp};

use super::key_of;
use crate::auth::Identity;
use crate::uri::Query;

/// One request as conditions of a policy see it. Nothing here is taken from `X-Forwarded-For` and its like, which any
/// client can write.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'r> {
    /// Whose signature it has.
    pub caller: &'r Identity,
    /// The address at the other end of the connection.
    pub from: IpAddr,
    /// When it is judged, by the clock of this box.
    pub now: Timestamp,
    /// Its headers, with those that a presigned link has in its query.
    pub headers: &'r HeaderMap,
    /// Its parameters.
    pub query: &'r Query,
    /// The version it is about, if it names one.
    pub version: Option<&'r str>,
}

impl<'r> Asking<'r> {
    /// The key that signed.
    pub fn who(&self) -> Option<&'r AccessKeyId> {
        key_of(self.caller).map(|key| &key.id)
    }

    /// What a condition key stands for in this request; nothing where it has no such thing.
    pub(super) fn value(&self, key: ConditionKey) -> Option<Cow<'r, str>> {
        use ConditionKey as Key;
        let header = |name| {
            let value = self.headers.get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()))
        };
        match key {
            Key::SourceIp => Some(self.from.to_canonical().to_string().into()),
            // The server itself speaks no TLS. What a proxy before it speaks, only the proxy knows.
            Key::SecureTransport => Some("false".into()),
            Key::CurrentTime | Key::EpochTime => Some(self.now.as_secs().to_string().into()),
            Key::Referer => header(header::REFERER.as_str()),
            Key::UserAgent => header(header::USER_AGENT.as_str()),
            Key::Username => self.who().map(|id| id.as_str().into()),
            Key::Prefix => self.query.get("prefix").map(Cow::Borrowed),
            Key::Delimiter => self.query.get("delimiter").map(Cow::Borrowed),
            Key::MaxKeys => self.query.get("max-keys").map(Cow::Borrowed),
            Key::VersionId => self.version.map(Cow::Borrowed),
            Key::Header(name) => header(name),
        }
    }
}

/// A fact about a request that a condition can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConditionKey {
    SourceIp,
    SecureTransport,
    CurrentTime,
    EpochTime,
    Referer,
    UserAgent,
    /// The access key's id: it stands in `arn:aws:iam::…:user/` where AWS has the user's name.
    Username,
    Prefix,
    Delimiter,
    MaxKeys,
    VersionId,
    /// A header of this name.
    Header(&'static str),
}

/// Headers that a condition may ask for, each as `s3:` and its name.
const HEADERS: [&str; 10] = [
    "x-amz-acl",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-metadata-directive",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
];

impl ConditionKey {
    /// Reads a key as policies name it; case means nothing.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        Some(match name.as_str() {
            "aws:sourceip" => Self::SourceIp,
            "aws:securetransport" => Self::SecureTransport,
            "aws:currenttime" => Self::CurrentTime,
            "aws:epochtime" => Self::EpochTime,
            "aws:referer" => Self::Referer,
            "aws:useragent" => Self::UserAgent,
            "aws:username" | "aws:userid" => Self::Username,
            "s3:prefix" => Self::Prefix,
            "s3:delimiter" => Self::Delimiter,
            "s3:max-keys" => Self::MaxKeys,
            "s3:versionid" => Self::VersionId,
            other => {
                let header = other.strip_prefix("s3:")?;
                Self::Header(HEADERS.into_iter().find(|known| *known == header)?)
            }
        })
    }
}
