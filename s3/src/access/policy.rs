//! Bucket policies: checked once when put, then asked who may do what.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use storage::model::{AccessKeyId, BucketName};

use super::asking::Asking;
use super::condition::Condition;
use super::variables::{check_variables, filled_in, has_variables};

/// The longest policy text, in bytes. Source: AWS S3 user guide, "Bucket policies".
pub const POLICY_BYTES_MAX: usize = 20 * 1024;

const ARN: &str = "arn:aws:s3:::";

/// Why a text is not a policy Warren can keep its word on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MalformedPolicy(pub(super) String);

pub(super) fn malformed<T>(why: impl Into<String>) -> Result<T, MalformedPolicy> {
    Err(MalformedPolicy(why.into()))
}

/// What a policy says about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A statement denies it, whatever else allows it.
    Deny,
    /// A statement allows it and none denies it.
    Allow,
    /// No statement speaks of it.
    Silent,
}

/// What a request acts upon, as policies name it: a bucket or an object in it.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// The object's key, unless the request is about the bucket.
    pub key: Option<&'a str>,
}

/// The statements of a bucket's policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    statements: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq)]
struct Statement {
    effect: Effect,
    principals: Principals,
    /// Lower-case, e.g. `s3:get*`.
    actions: Vec<String>,
    /// Without the `arn:aws:s3:::` in front.
    resources: Vec<String>,
    /// All of them must hold.
    conditions: Vec<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Principals {
    Everyone,
    Keys(Vec<AccessKeyId>),
}

impl Policy {
    /// Reads the JSON of a policy for `bucket`.
    ///
    /// # Errors
    /// Says what is malformed, names another bucket, or would not be honoured (unknown conditions, negations).
    pub fn parse(text: &str, bucket: &BucketName) -> Result<Self, MalformedPolicy> {
        if text.len() > POLICY_BYTES_MAX {
            return malformed("a policy has at most 20 KB");
        }
        let document: Document = serde_json::from_str(text)
            .map_err(|error| MalformedPolicy(format!("Policy is not valid: {error}")))?;
        if let Some(version) = &document.version
            && !matches!(version.as_str(), "2012-10-17" | "2008-10-17")
        {
            return malformed("The policy must contain a valid version string");
        }
        let statements: Vec<Statement> = document
            .statement
            .into_vec()
            .into_iter()
            .map(|statement| statement.check(bucket))
            .collect::<Result<_, _>>()?;
        if statements.is_empty() {
            return malformed("a policy has at least one statement");
        }
        // In the older version they are text like any other, which nobody means.
        if document.version.as_deref() != Some("2012-10-17")
            && statements.iter().any(Statement::has_variables)
        {
            return malformed("Policy variables need \"Version\": \"2012-10-17\"");
        }
        Ok(Self { statements })
    }

    /// What the policy says of a request for `action` (e.g. `s3:GetObject`). A denial wins over every allowance.
    pub fn decide(&self, asking: &Asking<'_>, action: &str, on: Resource<'_>) -> Verdict {
        self.verdict(asking.who(), action, on, |statement| {
            statement
                .conditions
                .iter()
                .all(|condition| condition.holds(asking))
        })
    }

    /// Whether the policy denies everyone this action, however they ask.
    pub fn denies_everyone(&self, action: &str, on: Resource<'_>) -> bool {
        let unconditional = |statement: &Statement| statement.conditions.is_empty();
        self.verdict(None, action, on, unconditional) == Verdict::Deny
    }

    fn verdict(
        &self,
        who: Option<&AccessKeyId>,
        action: &str,
        on: Resource<'_>,
        applies: impl Fn(&Statement) -> bool,
    ) -> Verdict {
        let action = action.to_ascii_lowercase();
        let resource = match on.key {
            Some(key) => format!("{}/{key}", on.bucket),
            None => on.bucket.to_owned(),
        };
        let mut verdict = Verdict::Silent;
        for statement in &self.statements {
            if statement.speaks_of(who, &action, &resource) && applies(statement) {
                match statement.effect {
                    Effect::Deny => return Verdict::Deny,
                    Effect::Allow => verdict = Verdict::Allow,
                }
            }
        }
        verdict
    }

    /// Whether the policy allows `who` this action on anything, if its conditions hold.
    pub fn may_allow(&self, who: Option<&AccessKeyId>, action: &str) -> bool {
        let action = action.to_ascii_lowercase();
        let allows = |s: &Statement| s.effect == Effect::Allow && s.names(who) && any(&s.actions, &action);
        self.statements.iter().any(allows)
    }

    /// Whether the locks that requests ask for decide anything.
    pub fn asks_for_locks(&self) -> bool {
        let mut conditions = self.statements.iter().flat_map(|s| &s.conditions);
        conditions.any(Condition::is_about_locks)
    }

    /// Whether the tags of objects decide anything.
    pub fn asks_for_tags(&self) -> bool {
        let mut conditions = self.statements.iter().flat_map(|s| &s.conditions);
        conditions.any(Condition::is_about_tags)
    }

    /// Whether the policy allows anything to everyone, or to everyone but few.
    pub fn is_public(&self) -> bool {
        let public = |s: &Statement| {
            let is_narrow = s.conditions.iter().any(Condition::keeps_the_public_out);
            s.effect == Effect::Allow && s.principals == Principals::Everyone && !is_narrow
        };
        self.statements.iter().any(public)
    }
}

impl Statement {
    fn speaks_of(&self, who: Option<&AccessKeyId>, action: &str, resource: &str) -> bool {
        let fits =
            |pattern: &String| filled_in(pattern, who).is_some_and(|pattern| matches(&pattern, resource));
        self.names(who) && any(&self.actions, action) && self.resources.iter().any(fits)
    }

    fn has_variables(&self) -> bool {
        let mut resources = self.resources.iter();
        resources.any(|resource| has_variables(resource))
            || self.conditions.iter().any(Condition::has_variables)
    }

    fn names(&self, who: Option<&AccessKeyId>) -> bool {
        match (&self.principals, who) {
            (Principals::Everyone, _) => true,
            (Principals::Keys(keys), Some(who)) => keys.contains(who),
            (Principals::Keys(_), None) => false,
        }
    }
}

/// Whether `text` fits one of the patterns.
fn any(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, text))
}

/// Whether `text` fits a pattern in which `*` stands for any text and `?` for any one byte.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to resume when the text after the last `*` turns out not to fit: only the last one needs
    // trying again, so that no pattern takes more than pattern × text steps.
    let mut resume: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                resume = Some((p + 1, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match &mut resume {
                Some((after_star, from)) => {
                    *from += 1;
                    (p, t) = (*after_star, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// The JSON as clients write it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Document {
    version: Option<String>,
    #[serde(rename = "Id")]
    _id: Option<String>,
    statement: OneOrMany<RawStatement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RawStatement {
    #[serde(rename = "Sid")]
    _sid: Option<String>,
    effect: Effect,
    principal: Option<RawPrincipal>,
    action: Option<OneOrMany<String>>,
    resource: Option<OneOrMany<String>>,
    condition: Option<Unique<Unique<OneOrMany<Scalar>>>>,
    not_principal: Option<serde_json::Value>,
    not_action: Option<serde_json::Value>,
    not_resource: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawPrincipal {
    Text(String),
    Map(Unique<OneOrMany<String>>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

/// A value of a condition: text, or what clients write without quotes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Bool(bool),
    Number(serde_json::Number),
}

impl From<Scalar> for String {
    fn from(scalar: Scalar) -> Self {
        match scalar {
            Scalar::Text(text) => text,
            Scalar::Bool(value) => value.to_string(),
            Scalar::Number(number) => number.to_string(),
        }
    }
}

/// The members of a JSON object, none of which may come twice: where the last one won, a condition would vanish.
struct Unique<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Unique<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData))
    }
}

struct Members<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for Members<V> {
    type Value = Unique<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object whose members differ in name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(String, V)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, V>()? {
            if members.iter().any(|(known, _)| *known == name) {
                return Err(de::Error::custom(format_args!("{name} is there twice")));
            }
            members.push((name, value));
        }
        Ok(Unique(members))
    }
}

impl RawStatement {
    fn check(self, bucket: &BucketName) -> Result<Statement, MalformedPolicy> {
        if self.not_principal.is_some() || self.not_action.is_some() || self.not_resource.is_some() {
            return malformed("NotPrincipal, NotAction and NotResource are not supported yet");
        }
        Ok(Statement {
            effect: self.effect,
            principals: principals(self.principal)?,
            actions: actions(self.action)?,
            resources: resources(self.resource, bucket)?,
            conditions: conditions(self.condition)?,
        })
    }
}

fn principals(raw: Option<RawPrincipal>) -> Result<Principals, MalformedPolicy> {
    let names = match raw {
        None => return malformed("Missing required field Principal"),
        Some(RawPrincipal::Text(text)) if text == "*" => return Ok(Principals::Everyone),
        Some(RawPrincipal::Text(_)) => return malformed("Invalid principal in policy"),
        Some(RawPrincipal::Map(Unique(mut map))) => match (map.pop(), map.is_empty()) {
            (Some((kind, names)), true) if kind == "AWS" => names.into_vec(),
            _ => return malformed("Invalid principal in policy: only AWS principals are known"),
        },
    };
    let mut keys = Vec::with_capacity(names.len());
    for name in names {
        if name == "*" {
            return Ok(Principals::Everyone);
        }
        let id = match name.strip_prefix("arn:aws:iam::") {
            Some(rest) => rest.split_once(":user/").map_or("", |(_, id)| id),
            None => &name,
        };
        keys.push(AccessKeyId::parse(id).map_err(|_| {
            MalformedPolicy(format!(
                "Invalid principal in policy: {name} is not an access key id"
            ))
        })?);
    }
    if keys.is_empty() {
        return malformed("Invalid principal in policy: none is named");
    }
    Ok(Principals::Keys(keys))
}

fn conditions(raw: Option<Unique<Unique<OneOrMany<Scalar>>>>) -> Result<Vec<Condition>, MalformedPolicy> {
    let mut conditions = Vec::new();
    for (operator, keys) in raw.map(|raw| raw.0).unwrap_or_default() {
        for (key, values) in keys.0 {
            let values = values.into_vec().into_iter().map(String::from).collect();
            conditions.push(Condition::parse(&operator, &key, values)?);
        }
    }
    Ok(conditions)
}

fn actions(raw: Option<OneOrMany<String>>) -> Result<Vec<String>, MalformedPolicy> {
    let actions = raw.map(OneOrMany::into_vec).unwrap_or_default();
    if actions.is_empty() {
        return malformed("Missing required field Action");
    }
    let lower = |action: String| {
        let action = action.to_ascii_lowercase();
        if action == "*" || action.len() > 3 && action.starts_with("s3:") {
            Ok(action)
        } else {
            malformed("Policy has invalid action")
        }
    };
    actions.into_iter().map(lower).collect()
}

fn resources(raw: Option<OneOrMany<String>>, bucket: &BucketName) -> Result<Vec<String>, MalformedPolicy> {
    let resources = raw.map(OneOrMany::into_vec).unwrap_or_default();
    if resources.is_empty() {
        return malformed("Missing required field Resource");
    }
    let within = |resource: String| {
        check_variables(&resource)?;
        let inside = resource.strip_prefix(ARN).filter(|rest| {
            let name = rest.split_once('/').map_or(*rest, |(name, _)| name);
            matches(name, bucket.as_str())
        });
        match inside {
            Some(inside) => Ok(inside.to_owned()),
            None => malformed(format!(
                "Policy has invalid resource: {resource} is not in this bucket"
            )),
        }
    };
    resources.into_iter().map(within).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderMap;
    use proptest::prelude::*;
    use storage::model::{AccessKey, KeyName, KeySerial, Lock, SecretKey, Timestamp};

    use super::super::asking::Tagged;
    use super::*;
    use crate::auth::Identity;
    use crate::uri::Query;

    const READER: &str = "WKREADER0001";

    fn bucket() -> BucketName {
        BucketName::parse("photos").unwrap()
    }

    fn policy(statements: &str) -> Result<Policy, MalformedPolicy> {
        Policy::parse(
            &format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#),
            &bucket(),
        )
    }

    fn statement(effect: &str, principal: &str, action: &str, resource: &str) -> String {
        format!(r#"{{"Effect":"{effect}","Principal":{principal},"Action":{action},"Resource":{resource}}}"#)
    }

    fn identity(id: &str) -> Identity {
        Identity::Key(Arc::new(AccessKey {
            id: AccessKeyId::parse(id).unwrap(),
            serial: KeySerial::from_bytes([1; 16]),
            secret: SecretKey::parse("0123456789abcdef").unwrap(),
            name: KeyName::parse("a key").unwrap(),
            created: Timestamp::now(),
            create_buckets: false,
            quota: storage::model::Quota::default(),
            aliases: std::collections::BTreeMap::new(),
        }))
    }

    fn check(statements: &str, who: Option<&str>, action: &str, key: Option<&str>, expected: Verdict) {
        let caller = who.map_or(Identity::Anonymous, identity);
        let on = Resource {
            bucket: "photos",
            key,
        };
        let asking = Asking {
            caller: &caller,
            from: [127, 0, 0, 1].into(),
            secure: false,
            tls: None,
            now: Timestamp::now(),
            headers: &HeaderMap::new(),
            query: &Query::default(),
            source_bucket: None,
            version: None,
            tags: Tagged::default(),
            lock: Lock::default(),
        };
        let verdict = policy(statements).unwrap().decide(&asking, action, on);
        assert_eq!(verdict, expected, "{statements} | {who:?} {action} {key:?}");
    }

    #[test]
    fn a_variable_that_would_match_nothing_is_refused() {
        let of = |resource| policy(&statement("Deny", r#""*""#, r#""s3:*""#, resource)).is_ok();
        assert!(!of(r#""arn:aws:s3:::photos/${aws:PrincipalTag/team}/*""#));
        assert!(!of(r#""arn:aws:s3:::${aws:username}/*""#));
        assert!(of(r#""arn:aws:s3:::photos/${aws:username}/*""#));
        assert!(of(r#""arn:aws:s3:::photos/$a{b}/*""#));
        let old = |text: &str| {
            let statement = statement("Allow", r#""*""#, r#""s3:*""#, text);
            Policy::parse(&format!(r#"{{"Statement":{statement}}}"#), &bucket()).is_ok()
        };
        assert!(!old(r#""arn:aws:s3:::photos/${aws:username}/*""#));
        assert!(old(r#""arn:aws:s3:::photos/*""#));
    }

    #[test]
    fn everyone_has_a_folder_of_their_own_and_nobody_without_a_key_has_one() {
        use Verdict::{Allow, Deny, Silent};
        let home = r#""arn:aws:s3:::photos/home/${aws:username}/*""#;
        let own = statement("Allow", r#""*""#, r#""s3:GetObject""#, home);
        let mine = format!("home/{READER}/a");
        check(&own, Some(READER), "s3:GetObject", Some(&mine), Allow);
        check(&own, Some("WKOTHER00001"), "s3:GetObject", Some(&mine), Silent);
        for key in [mine.as_str(), "home//a", "home/${aws:username}/a", "home/a"] {
            check(&own, None, "s3:GetObject", Some(key), Silent);
        }
        let not_mine = format!("{},{own}", statement("Deny", r#""*""#, r#""s3:*""#, home));
        check(&not_mine, Some(READER), "s3:GetObject", Some(&mine), Deny);
        let listing = r#"{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::photos","Condition":{"StringEquals":{"aws:userid":"${aws:username}"}}}"#;
        check(listing, Some(READER), "s3:ListBucket", None, Allow);
        check(listing, None, "s3:ListBucket", None, Silent);
        // Every key there is may, so that it is as public as without the condition.
        assert!(policy(listing).unwrap().is_public());
    }

    #[test]
    fn a_policy_speaks_only_of_what_it_names() {
        use Verdict::{Allow, Deny, Silent};
        let everyone = r#""*""#;
        let reader = format!(r#"{{"AWS":["arn:aws:iam::123456789012:user/{READER}"]}}"#);
        let objects = r#""arn:aws:s3:::photos/*""#;
        let public = statement("Allow", everyone, r#""s3:GetObject""#, objects);
        check(&public, None, "s3:GetObject", Some("a/b"), Allow);
        check(&public, Some(READER), "s3:GetObject", Some("a/b"), Allow);
        check(&public, None, "s3:PutObject", Some("a/b"), Silent);
        check(&public, None, "s3:ListBucket", None, Silent);
        let named = statement("Allow", &reader, r#"["s3:get*"]"#, objects);
        check(&named, Some(READER), "s3:GetObject", Some("a"), Allow);
        check(&named, Some("WKOTHER00001"), "s3:GetObject", Some("a"), Silent);
        check(&named, None, "s3:GetObject", Some("a"), Silent);
        let but = statement("Deny", everyone, r#""*""#, r#""arn:aws:s3:::photos/private/?""#);
        let both = format!("{but},{public}");
        check(&both, None, "s3:GetObject", Some("private/a"), Deny);
        check(&both, None, "s3:GetObject", Some("private/ab"), Allow);
        let listing = statement(
            "Allow",
            everyone,
            r#""s3:ListBucket""#,
            r#""arn:aws:s3:::photos""#,
        );
        check(&listing, None, "s3:ListBucket", None, Allow);
        check(&listing, None, "s3:ListBucket", Some("photos"), Silent);
    }

    #[test]
    fn a_policy_that_would_not_be_honoured_is_refused() {
        let fine = statement("Allow", r#""*""#, r#""s3:*""#, r#""arn:aws:s3:::photos/*""#);
        assert!(policy(&fine).is_ok());
        let when = |conditions: &str| {
            let condition = format!("\"Condition\":{{{conditions}}},\"Effect\"");
            policy(&fine.replace("\"Effect\"", &condition)).is_ok()
        };
        assert!(when(r#""Bool":{"aws:SecureTransport":true}"#));
        assert!(when(r#""NumericLessThan":{"s3:max-keys":[5,"6"]}"#));
        for unhonoured in [
            r#""Bool":{"aws:MultiFactorAuthPresent":"true"}"#,
            r#""Bool":{"aws:SecureTransport":null}"#,
            r#""StringEquals":{"aws:Referer":"a"},"StringEquals":{"aws:UserAgent":"b"}"#,
            r#""StringEquals":{"aws:Referer":"a","aws:Referer":"b"}"#,
            r#""StringEquals":{"aws:Referer":[]}"#,
            r#""StringEquals":"aws:Referer""#,
        ] {
            assert!(!when(unhonoured), "{unhonoured}");
        }
        for bad in [
            fine.replace("Principal", "NotPrincipal"),
            fine.replace("\"Action\"", "\"NotAction\""),
            fine.replace("photos", "other"),
            fine.replace("arn:aws:s3:::photos/*", "photos/*"),
            fine.replace("s3:*", "ec2:*"),
            fine.replace("Allow", "Perhaps"),
            fine.replace("Effect", "Efect"),
            fine.replace(r#""Principal":"*""#, r#""Principal":"bob""#),
            fine.replace(r#""Principal":"*""#, r#""Principal":{"Service":"x"}"#),
            fine.replace(r#""Principal":"*""#, r#""Principal":{"AWS":[]}"#),
            fine.replace(
                r#""Principal":"*""#,
                r#""Principal":{"AWS":"*","AWS":"WKREADER0001"}"#,
            ),
            String::new(),
        ] {
            assert!(policy(&bad).is_err(), "{bad}");
        }
        assert!(Policy::parse("{", &bucket()).is_err());
        assert!(Policy::parse(&"[".repeat(10_000), &bucket()).is_err());
    }

    #[test]
    fn a_policy_is_public_when_it_allows_something_to_everyone() {
        let to = |effect, principal| statement(effect, principal, r#""s3:*""#, r#""arn:aws:s3:::photos/*""#);
        let key = format!(r#"{{"AWS":"{READER}"}}"#);
        assert!(policy(&to("Allow", r#"{"AWS":"*"}"#)).unwrap().is_public());
        assert!(!policy(&to("Deny", r#""*""#)).unwrap().is_public());
        assert!(!policy(&to("Allow", &key)).unwrap().is_public());
        let when = |condition: &str| {
            let condition = format!("\"Condition\":{condition},\"Effect\"");
            let statement = to("Allow", r#""*""#).replace("\"Effect\"", &condition);
            policy(&statement).unwrap().is_public()
        };
        assert!(!when(r#"{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}"#));
        assert!(when(r#"{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}"#));
        assert!(when(r#"{"StringLike":{"aws:Referer":"https://a.example/*"}}"#));
    }

    /// The definition of a wildcard match, too slow for hostile patterns.
    fn matches_by_definition(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                (0..=text.len()).any(|skip| matches_by_definition(rest, &text[skip..]))
            }
            (Some((&p, rest)), Some((&t, text))) => {
                (p == b'?' || p == t) && matches_by_definition(rest, text)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn wildcards_match_as_defined(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            prop_assert_eq!(
                matches(&pattern, &text),
                matches_by_definition(pattern.as_bytes(), text.as_bytes())
            );
        }
    }
}
