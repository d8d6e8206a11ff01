//! What whoever signed a form lets others upload with it.
//!
//! Source: AWS S3 API reference, "POST Policy".

use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::Value;
use storage::model::Timestamp;

use crate::error::{S3Code, S3Error, S3Result};

/// A condition on one field of a form, or on what is not one: its bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    /// Lower-case.
    field: String,
    test: Test,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Equals,
    StartsWith,
}

/// A policy that is signed and put into a form.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PostPolicy {
    expires: jiff::Timestamp,
    conditions: Vec<Condition>,
    /// How many bytes the file may have: all of them must hold.
    lengths: Vec<RangeInclusive<u64>>,
}

/// The JSON as clients write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    expiration: String,
    conditions: Vec<Value>,
}

impl PostPolicy {
    /// Reads the JSON of a policy.
    ///
    /// # Errors
    /// `InvalidPolicyDocument`.
    pub(super) fn parse(json: &[u8]) -> S3Result<Self> {
        let document: Document = serde_json::from_slice(json).map_err(|error| invalid(error.to_string()))?;
        let expires = document.expiration.parse();
        let mut policy = Self {
            expires: expires.map_err(|_| invalid("Invalid 'expiration' value"))?,
            conditions: Vec::new(),
            lengths: Vec::new(),
        };
        for condition in document.conditions {
            policy.add(condition)?;
        }
        Ok(policy)
    }

    fn add(&mut self, condition: Value) -> S3Result<()> {
        let shown = condition.to_string();
        let unclear = || invalid(format!("Invalid condition: {shown}"));
        match condition {
            Value::Object(members) => {
                let mut members = members.into_iter();
                let (Some((field, Value::String(value))), None) = (members.next(), members.next()) else {
                    return Err(unclear());
                };
                self.require(&field, Test::Equals, value);
            }
            Value::Array(items) => match &items[..] {
                [Value::String(name), least, most] if name.eq_ignore_ascii_case("content-length-range") => {
                    let (least, most) = (
                        bytes(least).ok_or_else(unclear)?,
                        bytes(most).ok_or_else(unclear)?,
                    );
                    self.lengths.push(least..=most);
                }
                [Value::String(test), Value::String(field), Value::String(value)] => {
                    let test = match test.to_ascii_lowercase().as_str() {
                        "eq" => Test::Equals,
                        "starts-with" => Test::StartsWith,
                        _ => return Err(unclear()),
                    };
                    let field = field.strip_prefix('$').ok_or_else(unclear)?;
                    self.require(field, test, value.clone());
                }
                _ => return Err(unclear()),
            },
            _ => return Err(unclear()),
        }
        Ok(())
    }

    fn require(&mut self, field: &str, test: Test, value: String) {
        self.conditions.push(Condition {
            field: field.to_ascii_lowercase(),
            test,
            value,
        });
    }

    /// Lets pass a form whose fields (by lower-case name, each once; the bucket among them) all are as they should be.
    ///
    /// # Errors
    /// `AccessDenied`: expired, a condition does not hold, or a field that the policy does not speak of.
    pub(super) fn check(&self, fields: &[(&str, &str)], now: Timestamp) -> S3Result<()> {
        let denied = |why: String| Err(S3Error::with_message(S3Code::AccessDenied, why));
        if self.expires.as_millisecond() < i64::try_from(now.as_millis()).unwrap_or(i64::MAX) {
            return denied("Invalid according to Policy: Policy expired.".into());
        }
        for condition in &self.conditions {
            let value = fields.iter().find(|(name, _)| *name == condition.field);
            if !condition.holds(value.map_or("", |(_, value)| *value)) {
                return denied(format!(
                    "Invalid according to Policy: Policy Condition failed: [{}, \"${}\", \"{}\"]",
                    condition.test.name(),
                    condition.field,
                    condition.value
                ));
            }
        }
        let spoken_of = |name: &str| self.conditions.iter().any(|condition| condition.field == name);
        match fields
            .iter()
            .find(|(name, _)| !needs_no_condition(name) && !spoken_of(name))
        {
            Some((name, _)) => denied(format!("Invalid according to Policy: Extra input fields: {name}")),
            None => Ok(()),
        }
    }

    /// Whether a file may have so many bytes, or get there.
    ///
    /// # Errors
    /// `EntityTooLarge`.
    pub(super) fn check_growing(&self, received: u64) -> S3Result<()> {
        match self.lengths.iter().find(|range| received > *range.end()) {
            Some(range) => Err(S3Error::new(S3Code::EntityTooLarge)
                .field("ProposedSize", received.to_string())
                .field("MaxSizeAllowed", range.end().to_string())),
            None => Ok(()),
        }
    }

    /// Whether a file may have so many bytes and no more.
    ///
    /// # Errors
    /// `EntityTooSmall`, `EntityTooLarge`.
    pub(super) fn check_length(&self, bytes: u64) -> S3Result<()> {
        self.check_growing(bytes)?;
        match self.lengths.iter().find(|range| bytes < *range.start()) {
            Some(range) => Err(S3Error::with_message(
                S3Code::EntityTooSmall,
                "Your proposed upload is smaller than the minimum allowed size.",
            )
            .field("ProposedSize", bytes.to_string())
            .field("MinSizeAllowed", range.start().to_string())),
            None => Ok(()),
        }
    }
}

impl Condition {
    fn holds(&self, value: &str) -> bool {
        match self.test {
            Test::Equals => value == self.value,
            // A list of types is as good as one of them is not: each has to begin so.
            Test::StartsWith if self.field == "content-type" => value
                .split(',')
                .all(|one| one.trim_start().starts_with(&self.value)),
            Test::StartsWith => value.starts_with(&self.value),
        }
    }
}

impl Test {
    const fn name(self) -> &'static str {
        match self {
            Self::Equals => "\"eq\"",
            Self::StartsWith => "\"starts-with\"",
        }
    }
}

/// Fields that are the signature itself, or that the form's author wants ignored.
fn needs_no_condition(name: &str) -> bool {
    matches!(name, "policy" | "x-amz-signature" | "file") || name.starts_with("x-ignore-")
}

/// A number of bytes, which some clients write in quotes.
fn bytes(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn invalid(why: impl std::fmt::Display) -> S3Error {
    S3Error::with_message(S3Code::InvalidPolicyDocument, format!("Invalid Policy: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(conditions: &str) -> S3Result<PostPolicy> {
        let json = format!(r#"{{"expiration":"2026-01-02T00:00:00Z","conditions":[{conditions}]}}"#);
        PostPolicy::parse(json.as_bytes())
    }

    fn passes(conditions: &str, fields: &[(&str, &str)]) -> bool {
        let now = Timestamp::from_millis(1_767_311_999_000);
        policy(conditions).unwrap().check(fields, now).is_ok()
    }

    #[test]
    fn every_condition_holds_and_every_field_has_one() {
        let conditions = r#"{"bucket":"photos"},["starts-with","$key","anna/"],["eq","$ACL","private"]"#;
        let fields = [("bucket", "photos"), ("key", "anna/1"), ("acl", "private")];
        assert!(passes(conditions, &fields));
        let with = |name, value| [&fields[..], &[(name, value)]].concat();
        for (name, value) in [("policy", "p"), ("x-amz-signature", "s"), ("x-ignore-me", "1")] {
            assert!(passes(conditions, &with(name, value)), "{name}");
        }
        assert!(!passes(conditions, &with("x-amz-meta-a", "1")));
        assert!(!passes(
            conditions,
            &[("bucket", "others"), ("key", "anna/1"), ("acl", "private")]
        ));
        assert!(!passes(
            conditions,
            &[("bucket", "photos"), ("key", "ben/1"), ("acl", "private")]
        ));
        assert!(!passes(conditions, &fields[..2]));
        assert!(!passes(r#"["starts-with","$key",""]"#, &fields[..2]));
        let images = r#"["starts-with","$Content-Type","image/"]"#;
        assert!(passes(images, &[("content-type", "image/png, image/gif")]));
        assert!(!passes(images, &[("content-type", "image/png,text/html")]));
    }

    #[test]
    fn a_policy_ends() {
        let policy = policy("").unwrap();
        assert!(
            policy
                .check(&[], Timestamp::from_millis(1_767_312_000_000))
                .is_ok()
        );
        assert!(
            policy
                .check(&[], Timestamp::from_millis(1_767_312_000_001))
                .is_err()
        );
    }

    #[test]
    fn a_file_is_as_long_as_every_range_says() {
        let policy = policy(r#"["content-length-range",2,"10"],["Content-Length-Range",0,8]"#).unwrap();
        let outcome = |bytes| policy.check_length(bytes).err().map(|error| error.code());
        assert_eq!(outcome(1), Some(S3Code::EntityTooSmall));
        assert_eq!((outcome(2), outcome(8)), (None, None));
        assert_eq!(outcome(9), Some(S3Code::EntityTooLarge));
        assert!(policy.check_growing(0).is_ok() && policy.check_growing(9).is_err());
    }

    #[test]
    fn a_policy_that_is_not_understood_is_refused() {
        for conditions in [
            r#"["ends-with","$key","x"]"#,
            r#"["eq","key","x"]"#,
            r#"["eq","$key"]"#,
            r#"["content-length-range",-1,5]"#,
            r#"{"acl":"private","bucket":"photos"}"#,
            r#"{"acl":1}"#,
            "{}",
            "1",
        ] {
            assert!(policy(conditions).is_err(), "{conditions}");
        }
        for json in [
            "",
            "[]",
            r#"{"conditions":[]}"#,
            r#"{"expiration":"soon","conditions":[]}"#,
        ] {
            assert!(PostPolicy::parse(json.as_bytes()).is_err(), "{json}");
        }
    }
}
