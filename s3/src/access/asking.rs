//! Who asks for something and how: what policies judge besides action and resource.

use std::borrow::Cow;
use std::net::IpAddr;

use http::{HeaderMap, header};
use storage::model::{AccessKeyId, Lock, Timestamp};

use super::key_of;
use crate::auth::Identity;
use crate::tags::{Tags, tags_of_header};
use crate::time::parse_basic;
use crate::uri::{Query, decode_path};
use crate::xml::mode_name;

const DAY_SECS: u64 = 24 * 60 * 60;

/// One request as conditions of a policy see it. Nothing here is taken from `X-Forwarded-For` and its like, which any
/// client can write, unless a proxy says it that the owner of the box named.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'r> {
    /// Whose signature it has.
    pub caller: &'r Identity,
    /// The address of the client.
    pub from: IpAddr,
    /// Whether it came over TLS.
    pub secure: bool,
    /// Which version of TLS, such as `1.3`, where that is known: a proxy does not say it.
    pub tls: Option<&'static str>,
    /// When it is judged, by the clock of this box.
    pub now: Timestamp,
    /// Its headers, with those that a presigned link has in its query.
    pub headers: &'r HeaderMap,
    /// Its parameters.
    pub query: &'r Query,
    /// The bucket that a copy is from, by its own name, if there is one.
    pub source_bucket: Option<&'r str>,
    /// The version it is about, if it names one.
    pub version: Option<&'r str>,
    /// The tags of the object it is about.
    pub tags: Tagged<'r>,
    /// How the object is to be kept, as a header or a document asks for it.
    pub lock: Lock,
}

/// The tags of an object, as far as they are known when somebody asks to do something to it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tagged<'r> {
    /// Those it has; nothing where there is none, or where the operation is not about what it holds.
    pub existing: Option<&'r [(String, String)]>,
    /// Those that a document gives it. Tags in a header are among the headers.
    pub requested: Option<&'r [(String, String)]>,
}

impl<'r> Asking<'r> {
    /// The key that signed.
    pub fn who(&self) -> Option<&'r AccessKeyId> {
        key_of(self.caller).map(|key| &key.id)
    }

    /// What a condition key stands for in this request; nothing where it has no such thing.
    pub(super) fn values(&self, key: &ConditionKey) -> Vec<Cow<'r, str>> {
        use ConditionKey as Key;
        if *key == Key::RequestTagNames {
            let tags = self.requested_tags().into_iter();
            return tags.map(|(name, _)| Cow::Owned(name)).collect();
        }
        let value = match key {
            Key::SourceIp => Some(self.from.to_canonical().to_string().into()),
            Key::SecureTransport => Some(self.secure.to_string().into()),
            Key::TlsVersion => self.tls.map(Cow::Borrowed),
            Key::RequestTagNames => None,
            Key::CurrentTime | Key::EpochTime => Some(self.now.as_secs().to_string().into()),
            Key::Referer => self.header(header::REFERER.as_str()),
            Key::UserAgent => self.header(header::USER_AGENT.as_str()),
            Key::Username => self.who().map(|id| id.as_str().into()),
            Key::AuthType => self.auth_type().map(Cow::Borrowed),
            Key::SignatureVersion => self.who().map(|_| "AWS4-HMAC-SHA256".into()),
            Key::SignatureAge => self.signature_age_ms().map(|age| age.to_string().into()),
            Key::Prefix => self.query.get("prefix").map(Cow::Borrowed),
            Key::Delimiter => self.query.get("delimiter").map(Cow::Borrowed),
            Key::MaxKeys => self.query.get("max-keys").map(Cow::Borrowed),
            Key::VersionId => self.version.map(Cow::Borrowed),
            Key::CopySource => self.copy_source().map(Cow::Owned),
            Key::ExistingTag(name) => tag_of(self.tags.existing.unwrap_or_default(), name).map(Cow::Borrowed),
            Key::RequestTag(name) => {
                tag_of(&self.requested_tags(), name).map(|value| value.to_owned().into())
            }
            Key::LockMode => self
                .lock
                .retention
                .map(|retention| mode_name(retention.mode).into()),
            Key::LockUntil => self
                .lock
                .retention
                .map(|retention| retention.until.as_secs().to_string().into()),
            Key::LockDays => self.lock_days().map(|days| days.to_string().into()),
            Key::LegalHold => self
                .lock
                .legal_hold
                .map(|on| if on { "ON" } else { "OFF" }.into()),
            Key::Header(name) => self.header(name),
        };
        value.into_iter().collect()
    }

    fn header(&self, name: &str) -> Option<Cow<'r, str>> {
        let value = self.headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()))
    }

    /// The tags that a document or a header gives the object.
    fn requested_tags(&self) -> Tags {
        match self.tags.requested {
            Some(tags) => tags.to_vec(),
            // A header that cannot be read gives nobody tags: the request fails where it is used.
            None => tags_of_header(self.headers).ok().flatten().unwrap_or_default(),
        }
    }

    /// How the request is signed, as AWS names it.
    fn auth_type(&self) -> Option<&'static str> {
        self.who()?;
        Some(match () {
            () if self.headers.contains_key(header::AUTHORIZATION) => "REST-HEADER",
            () if self.query.has("X-Amz-Signature") => "REST-QUERY-STRING",
            () => "POST",
        })
    }

    /// How long ago it was signed, in milliseconds.
    fn signature_age_ms(&self) -> Option<u64> {
        self.who()?;
        let date = self.header("x-amz-date");
        let date = date.or_else(|| self.query.get("X-Amz-Date").map(Cow::Borrowed))?;
        let signed = parse_basic(&date)?.checked_mul(1000)?;
        Some(self.now.as_millis().saturating_sub(signed))
    }

    /// For how many days from now it asks to have the object retained. A day that has begun counts, so that whoever asks for
    /// ten days is not judged to ask for less a moment later.
    fn lock_days(&self) -> Option<u64> {
        let left = self
            .lock
            .retention?
            .until
            .as_secs()
            .saturating_sub(self.now.as_secs());
        Some(left.div_ceil(DAY_SECS))
    }

    /// The source of a copy as `bucket/key`, however the client wrote it, and whatever it calls the bucket.
    fn copy_source(&self) -> Option<String> {
        let source = copy_source(self.headers)?;
        match (self.source_bucket, source.split_once('/')) {
            (Some(bucket), Some((_, key))) => Some(format!("{bucket}/{key}")),
            _ => Some(source),
        }
    }
}

/// The source of a copy as the client calls it.
pub fn copy_source(headers: &HeaderMap) -> Option<String> {
    let source = String::from_utf8_lossy(headers.get("x-amz-copy-source")?.as_bytes());
    let path = source
        .split_once("?versionId=")
        .map_or(&*source, |(path, _)| path);
    let path = decode_path(path).ok()?;
    let path = path.strip_prefix(b"/").unwrap_or(&path);
    Some(String::from_utf8_lossy(path).into_owned())
}

fn tag_of<'t>(tags: &'t [(String, String)], name: &str) -> Option<&'t str> {
    let mut tags = tags.iter();
    tags.find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
}

/// A fact about a request that a condition can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    TlsVersion,
    AuthType,
    SignatureVersion,
    /// In milliseconds.
    SignatureAge,
    CopySource,
    /// The value of the tag of this name that the object has.
    ExistingTag(String),
    /// The value of the tag of this name that the request gives it.
    RequestTag(String),
    /// The names of the tags that the request gives it: as many values as tags.
    RequestTagNames,
    /// How the retention binds that the request asks for.
    LockMode,
    /// Until when that lasts.
    LockUntil,
    /// For how many days.
    LockDays,
    /// The legal hold that the request asks for.
    LegalHold,
    /// A header of this name.
    Header(&'static str),
}

/// Headers that a condition may ask for, each as `s3:` and its name.
const HEADERS: [&str; 16] = [
    "if-match",
    "if-none-match",
    "x-amz-acl",
    "x-amz-content-sha256",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-metadata-directive",
    "x-amz-object-ownership",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
];

impl ConditionKey {
    /// Reads a key as policies name it; case means nothing.
    pub(super) fn parse(name: &str) -> Option<Self> {
        if let Some((kind, tag)) = name.split_once('/') {
            // The names of tags are told apart by case.
            return match kind.to_ascii_lowercase().as_str() {
                "s3:existingobjecttag" => Some(Self::ExistingTag(tag.to_owned())),
                "s3:requestobjecttag" => Some(Self::RequestTag(tag.to_owned())),
                _ => None,
            };
        }
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
            "s3:tlsversion" => Self::TlsVersion,
            "s3:authtype" => Self::AuthType,
            "s3:signatureversion" => Self::SignatureVersion,
            "s3:signatureage" => Self::SignatureAge,
            "s3:x-amz-copy-source" => Self::CopySource,
            "s3:requestobjecttagkeys" => Self::RequestTagNames,
            "s3:object-lock-mode" => Self::LockMode,
            "s3:object-lock-retain-until-date" => Self::LockUntil,
            "s3:object-lock-remaining-retention-days" => Self::LockDays,
            "s3:object-lock-legal-hold" => Self::LegalHold,
            other => {
                let header = other.strip_prefix("s3:")?;
                Self::Header(HEADERS.into_iter().find(|known| *known == header)?)
            }
        })
    }

    /// Whether the lock that a request asks for decides.
    pub(super) const fn is_about_locks(&self) -> bool {
        matches!(
            self,
            Self::LockMode | Self::LockUntil | Self::LockDays | Self::LegalHold
        )
    }

    /// Whether the tags of objects decide.
    pub(super) const fn is_about_tags(&self) -> bool {
        matches!(
            self,
            Self::ExistingTag(_) | Self::RequestTag(_) | Self::RequestTagNames
        )
    }
}
