//! The conditions of a policy's statement: read to the last word, or the policy is refused.
//!
//! Source: AWS IAM user guide, "IAM JSON policy elements: Condition operators".

use std::borrow::Cow;
use std::net::IpAddr;

use storage::model::AccessKeyId;

use super::asking::{Asking, ConditionKey};
use super::policy::{MalformedPolicy, malformed, matches};
use super::variables::{check_variables, filled_in, has_variables};
use crate::proxies::Network;

/// One condition: an operator, what it looks at, and the values it compares with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    key: ConditionKey,
    operand: Operand,
    negated: bool,
    absent: Absent,
    /// Whether each of several values has to hold, rather than one of them.
    every: bool,
}

/// What holds of a request that has no such thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absent {
    /// The condition does not hold.
    Fails,
    /// The condition holds.
    Holds,
}

/// How a value is compared, and with what. One that fits is enough.
#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Equals(Vec<String>),
    EqualsIgnoringCase(Vec<String>),
    Like(Vec<String>),
    Number(Comparison, Vec<f64>),
    /// Seconds since 1970.
    Date(Comparison, Vec<f64>),
    Bool(Vec<bool>),
    Address(Vec<Network>),
    /// Whether there is no value.
    Null(Vec<bool>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equals,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    fn holds(self, value: f64, than: f64) -> bool {
        match self {
            Self::Equals => value == than,
            Self::Less => value < than,
            Self::LessOrEqual => value <= than,
            Self::Greater => value > than,
            Self::GreaterOrEqual => value >= than,
        }
    }
}

impl Condition {
    /// Reads one condition, e.g. `StringLike`, `aws:Referer` and its values.
    ///
    /// # Errors
    /// Names the operator, key or value that is not known here: it could not be honoured.
    pub(super) fn parse(operator: &str, key: &str, values: Vec<String>) -> Result<Self, MalformedPolicy> {
        let Some(known) = ConditionKey::parse(key) else {
            return malformed(format!("Policy has an invalid condition key: {key}"));
        };
        if values.is_empty() {
            return malformed(format!("The condition on {key} names no value"));
        }
        values.iter().try_for_each(|value| check_variables(value))?;
        let (quantifier, rest) = operator
            .split_once(':')
            .map_or((None, operator), |(q, rest)| (Some(q), rest));
        let (name, if_exists) = rest
            .strip_suffix("IfExists")
            .map_or((rest, false), |name| (name, true));
        let invalid = || MalformedPolicy(format!("Policy has an invalid condition operator: {operator}"));
        let (negated, operand) = operand(name, values).ok_or_else(invalid)??;
        if !operand.suits(&known) {
            return malformed(format!("{operator} cannot be asked about {key}"));
        }
        let is_null = matches!(operand, Operand::Null(_));
        if known == ConditionKey::RequestTagNames && quantifier.is_none() && !is_null {
            return malformed(format!("{key} needs ForAllValues or ForAnyValue"));
        }
        let absent = match quantifier {
            Some(_) if is_null => return Err(invalid()),
            None if is_null && if_exists => return Err(invalid()),
            Some("ForAllValues") => Absent::Holds,
            Some("ForAnyValue") if !if_exists => Absent::Fails,
            None if !if_exists && !negated => Absent::Fails,
            Some("ForAnyValue") | None => Absent::Holds,
            Some(_) => return Err(invalid()),
        };
        Ok(Self {
            key: known,
            operand,
            negated,
            absent,
            every: quantifier == Some("ForAllValues"),
        })
    }

    /// Whether the lock that a request asks for decides it.
    pub(super) const fn is_about_locks(&self) -> bool {
        self.key.is_about_locks()
    }

    /// Whether the tags of objects decide it.
    pub(super) const fn is_about_tags(&self) -> bool {
        self.key.is_about_tags()
    }

    /// Whether what it compares with has variables.
    pub(super) fn has_variables(&self) -> bool {
        let mut texts = self.operand.texts().iter();
        texts.any(|text| has_variables(text))
    }

    /// Whether it holds for this request. One with a variable for whoever signed holds for nobody who did not.
    pub(super) fn holds(&self, asking: &Asking<'_>) -> bool {
        if self.has_variables() {
            let operand = self.operand.filled_in(asking.who());
            return operand.is_some_and(|operand| self.holds_with(&operand, asking));
        }
        self.holds_with(&self.operand, asking)
    }

    fn holds_with(&self, operand: &Operand, asking: &Asking<'_>) -> bool {
        let values = asking.values(&self.key);
        if let Operand::Null(expected) = operand {
            return expected.contains(&values.is_empty());
        }
        if values.is_empty() {
            return self.absent == Absent::Holds;
        }
        let mut values = values.iter();
        let mut fits = |value: &Cow<'_, str>| operand.fits(value) != self.negated;
        if self.every {
            values.all(&mut fits)
        } else {
            values.any(fits)
        }
    }

    /// Whether it leaves only a few requests of the whole world: those of some addresses or of one key.
    pub(super) fn keeps_the_public_out(&self) -> bool {
        if self.negated || self.absent == Absent::Holds || self.has_variables() {
            return false;
        }
        match (&self.operand, &self.key) {
            (Operand::Address(networks), _) => networks.iter().all(|network| network.is_narrow()),
            (Operand::Equals(_) | Operand::EqualsIgnoringCase(_), ConditionKey::Username) => true,
            (Operand::Like(patterns), ConditionKey::Username) => {
                !patterns.iter().any(|pattern| pattern.contains(['*', '?']))
            }
            _ => false,
        }
    }
}

/// What an operator of this name compares with, and whether it holds where nothing fits. `None`: there is no such one.
fn operand(name: &str, values: Vec<String>) -> Option<Result<(bool, Operand), MalformedPolicy>> {
    let negated = name.contains("Not");
    let operand = match name {
        "StringEquals" | "StringNotEquals" => Ok(Operand::Equals(values)),
        "StringEqualsIgnoreCase" | "StringNotEqualsIgnoreCase" => Ok(Operand::EqualsIgnoringCase(values)),
        "StringLike" | "StringNotLike" => Ok(Operand::Like(values)),
        "Bool" => parsed(values, boolean).map(Operand::Bool),
        "Null" => parsed(values, boolean).map(Operand::Null),
        "IpAddress" | "NotIpAddress" => parsed(values, Network::parse).map(Operand::Address),
        _ => {
            let compared = name.strip_prefix("Numeric").map(|rest| (rest, false));
            let (rest, dates) = compared.or_else(|| name.strip_prefix("Date").map(|rest| (rest, true)))?;
            let comparison = match rest {
                "Equals" | "NotEquals" => Comparison::Equals,
                "LessThan" => Comparison::Less,
                "LessThanEquals" => Comparison::LessOrEqual,
                "GreaterThan" => Comparison::Greater,
                "GreaterThanEquals" => Comparison::GreaterOrEqual,
                _ => return None,
            };
            if dates {
                parsed(values, date).map(|dates| Operand::Date(comparison, dates))
            } else {
                parsed(values, number).map(|numbers| Operand::Number(comparison, numbers))
            }
        }
    };
    Some(operand.map(|operand| (negated, operand)))
}

fn parsed<T>(values: Vec<String>, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, MalformedPolicy> {
    let parse = |text: String| {
        parse(&text)
            .ok_or_else(|| MalformedPolicy(format!("Policy has an invalid condition value: {text:?}")))
    };
    values.into_iter().map(parse).collect()
}

fn boolean(text: &str) -> Option<bool> {
    text.to_ascii_lowercase().parse().ok()
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// Seconds since 1970 of an ISO 8601 date (of its first moment, in UTC, where it has no time), or as such a number.
fn date(text: &str) -> Option<f64> {
    let moment = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let day: jiff::civil::Date = text.parse().ok()?;
        let zoned = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(zoned.timestamp())
    });
    moment
        .map(jiff::Timestamp::as_duration)
        .map(|since| since.as_secs_f64())
        .or_else(|| number(text))
}

impl Operand {
    /// Whether values of this kind stand behind a key. Every value is text, too.
    fn suits(&self, key: &ConditionKey) -> bool {
        use ConditionKey as Key;
        match self {
            Self::Equals(_) | Self::EqualsIgnoringCase(_) | Self::Like(_) => {
                !matches!(key, Key::CurrentTime | Key::EpochTime | Key::LockUntil)
            }
            Self::Null(_) => true,
            Self::Number(..) => matches!(
                key,
                Key::MaxKeys | Key::EpochTime | Key::SignatureAge | Key::TlsVersion | Key::LockDays
            ),
            Self::Date(..) => matches!(key, Key::CurrentTime | Key::EpochTime | Key::LockUntil),
            Self::Bool(_) => *key == Key::SecureTransport,
            Self::Address(_) => *key == Key::SourceIp,
        }
    }

    /// The texts it compares with, in which variables may stand.
    fn texts(&self) -> &[String] {
        match self {
            Self::Equals(texts) | Self::EqualsIgnoringCase(texts) | Self::Like(texts) => texts,
            _ => &[],
        }
    }

    /// The same for a request of `who`; nothing where a variable stands for nobody.
    fn filled_in(&self, who: Option<&AccessKeyId>) -> Option<Self> {
        let texts = self.texts().iter();
        let texts = texts
            .map(|text| filled_in(text, who).map(Cow::into_owned))
            .collect::<Option<_>>()?;
        Some(match self {
            Self::Equals(_) => Self::Equals(texts),
            Self::EqualsIgnoringCase(_) => Self::EqualsIgnoringCase(texts),
            Self::Like(_) => Self::Like(texts),
            other => other.clone(),
        })
    }

    fn fits(&self, value: &str) -> bool {
        match self {
            Self::Equals(values) => values.iter().any(|known| known == value),
            Self::EqualsIgnoringCase(values) => {
                let value = value.to_lowercase();
                values.iter().any(|known| known.to_lowercase() == value)
            }
            Self::Like(patterns) => patterns.iter().any(|pattern| matches(pattern, value)),
            Self::Number(comparison, numbers) | Self::Date(comparison, numbers) => {
                number(value).is_some_and(|value| numbers.iter().any(|than| comparison.holds(value, *than)))
            }
            Self::Bool(values) => boolean(value).is_some_and(|value| values.contains(&value)),
            Self::Address(networks) => {
                let address = value.parse::<IpAddr>();
                address.is_ok_and(|address| networks.iter().any(|network| network.holds(address)))
            }
            Self::Null(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;
    use storage::model::{Lock, Retention, RetentionMode, Timestamp};

    use super::super::asking::Tagged;
    use super::*;
    use crate::auth::Identity;
    use crate::uri::Query;

    /// 2026-01-02T00:00:00Z.
    const NOW_SECS: u64 = 1_767_312_000;

    fn condition(text: &str) -> Result<Condition, MalformedPolicy> {
        let mut words = text.split(' ');
        let (operator, key) = (words.next().unwrap(), words.next().unwrap());
        Condition::parse(operator, key, words.map(str::to_owned).collect())
    }

    /// Whoever asks from here comes over TLS.
    const OVER_TLS: &str = "198.51.100.1";

    /// Whether `StringLike aws:Referer a* b*` holds for a request from an address, with headers and a query.
    fn holds(text: &str, from: &str, headers: &[(&'static str, &str)], query: &str) -> bool {
        let pair = |(name, value): &(&'static str, &str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        };
        let asking = Asking {
            caller: &Identity::Anonymous,
            from: from.parse().unwrap(),
            secure: from == OVER_TLS,
            tls: (from == OVER_TLS).then_some("1.2"),
            now: Timestamp::from_millis(NOW_SECS * 1000),
            headers: &headers.iter().map(pair).collect::<HeaderMap>(),
            query: &Query::parse(Some(query)).unwrap(),
            source_bucket: None,
            version: None,
            tags: Tagged {
                existing: Some(&[("Team".into(), "red".into())]),
                requested: None,
            },
            lock: Lock {
                retention: Some(Retention {
                    mode: RetentionMode::Governance,
                    // Ten days, less a moment.
                    until: Timestamp::from_millis((NOW_SECS + 863_999) * 1000),
                }),
                legal_hold: Some(false),
            },
        };
        condition(text).unwrap().holds(&asking)
    }

    #[test]
    fn who_comes_over_tls_is_told_apart() {
        for (text, from, expected) in [
            ("Bool aws:SecureTransport true", OVER_TLS, true),
            ("Bool aws:SecureTransport false", OVER_TLS, false),
            ("Bool aws:SecureTransport false", "192.0.2.7", true),
            ("NumericLessThan s3:TlsVersion 1.3", OVER_TLS, true),
            ("NumericGreaterThanEquals s3:TlsVersion 1.2", OVER_TLS, true),
            ("NumericGreaterThan s3:TlsVersion 1.2", OVER_TLS, false),
            ("StringEquals s3:TlsVersion 1.2", OVER_TLS, true),
            // What comes without TLS, or through a proxy that does not say how, has no version.
            ("NumericLessThan s3:TlsVersion 1.3", "192.0.2.7", false),
            ("NumericLessThanIfExists s3:TlsVersion 1.3", "192.0.2.7", true),
            ("Null s3:TlsVersion true", "192.0.2.7", true),
        ] {
            assert_eq!(holds(text, from, &[], ""), expected, "{text} {from}");
        }
    }

    #[test]
    fn what_is_to_be_kept_is_judged_by_how_and_how_long() {
        for (text, expected) in [
            ("StringEquals s3:object-lock-mode GOVERNANCE", true),
            ("StringEquals s3:object-lock-mode COMPLIANCE", false),
            ("StringEquals s3:object-lock-legal-hold OFF", true),
            (
                "NumericLessThan s3:object-lock-remaining-retention-days 10",
                false,
            ),
            ("NumericEquals s3:object-lock-remaining-retention-days 10", true),
            (
                "NumericGreaterThan s3:object-lock-remaining-retention-days 10",
                false,
            ),
            ("DateLessThan s3:object-lock-retain-until-date 2026-01-12", true),
            (
                "DateGreaterThan s3:object-lock-retain-until-date 2026-01-11",
                true,
            ),
            ("DateLessThan s3:object-lock-retain-until-date 2026-01-11", false),
            ("Null s3:object-lock-mode true", false),
        ] {
            assert_eq!(holds(text, "192.0.2.7", &[], ""), expected, "{text}");
        }
    }

    #[test]
    fn addresses_are_compared_by_their_leading_bits() {
        for (text, from, expected) in [
            ("IpAddress aws:SourceIp 192.0.2.0/24", "192.0.2.7", true),
            ("IpAddress aws:SourceIp 192.0.2.0/24", "::ffff:192.0.2.7", true),
            ("IpAddress aws:SourceIp 192.0.2.0/24", "192.0.3.7", false),
            ("IpAddress aws:SourceIp 10.0.0.1 192.0.2.7", "192.0.2.7", true),
            ("IpAddress aws:SourceIp 0.0.0.0/0", "192.0.2.7", true),
            ("IpAddress aws:SourceIp ::/0", "2001:db8::1", true),
            ("IpAddress aws:SourceIp 0.0.0.0/0", "2001:db8::1", false),
            ("IpAddress aws:SourceIp 2001:db8::/32", "2001:db8:9::1", true),
            ("NotIpAddress aws:SourceIp 192.0.2.0/24", "192.0.2.7", false),
            ("NotIpAddress aws:SourceIp 192.0.2.0/24", "203.0.113.1", true),
            ("StringEquals aws:SourceIp 192.0.2.7", "::ffff:192.0.2.7", true),
        ] {
            assert_eq!(holds(text, from, &[], ""), expected, "{text} from {from}");
        }
        let headers = [("x-forwarded-for", "192.0.2.7"), ("forwarded", "for=192.0.2.7")];
        assert!(!holds(
            "IpAddress aws:SourceIp 192.0.2.7",
            "203.0.113.1",
            &headers,
            ""
        ));
    }

    #[test]
    fn a_request_without_the_value_satisfies_only_what_says_so() {
        let referer = [("referer", "https://a.example/x")];
        for (operator, with_it, without_it) in [
            ("StringLike", true, false),
            ("StringNotLike", false, true),
            ("StringLikeIfExists", true, true),
            ("StringNotLikeIfExists", false, true),
            ("ForAnyValue:StringLike", true, false),
            ("ForAnyValue:StringNotLike", false, false),
            ("ForAllValues:StringLike", true, true),
        ] {
            let text = format!("{operator} aws:Referer https://a.example/*");
            assert_eq!(holds(&text, "::1", &referer, ""), with_it, "{operator} with");
            assert_eq!(holds(&text, "::1", &[], ""), without_it, "{operator} without");
        }
        assert!(holds("Null aws:Referer true", "::1", &[], ""));
        assert!(!holds("Null aws:Referer true", "::1", &referer, ""));
        assert!(holds("Null aws:Referer false", "::1", &referer, ""));
    }

    #[test]
    fn tags_are_those_the_object_has_and_those_it_is_given() {
        let tags = [("x-amz-tagging", "a=1&b=2")];
        for (text, expected) in [
            ("StringEquals s3:ExistingObjectTag/Team red", true),
            ("StringEquals s3:ExistingObjectTag/team red", false),
            ("StringNotEquals s3:ExistingObjectTag/team red", true),
            ("Null s3:ExistingObjectTag/Team false", true),
            ("StringLike s3:RequestObjectTag/a 1*", true),
            ("StringEquals s3:RequestObjectTag/c 3", false),
            ("ForAllValues:StringEquals s3:RequestObjectTagKeys a b c", true),
            ("ForAllValues:StringEquals s3:RequestObjectTagKeys a", false),
            ("ForAnyValue:StringEquals s3:RequestObjectTagKeys b", true),
            ("ForAnyValue:StringEquals s3:RequestObjectTagKeys c", false),
            ("ForAnyValue:StringNotEquals s3:RequestObjectTagKeys a", true),
        ] {
            assert_eq!(holds(text, "::1", &tags, ""), expected, "{text}");
        }
        assert!(holds(
            "ForAllValues:StringEquals s3:RequestObjectTagKeys a",
            "::1",
            &[],
            ""
        ));
        assert!(condition("StringEquals s3:RequestObjectTagKeys a").is_err());
        assert!(condition("StringEquals aws:RequestTag/a 1").is_err());
    }

    #[test]
    fn a_copy_source_is_the_same_however_it_is_written() {
        for written in ["bucket/a b", "/bucket/a%20b", "bucket%2Fa%20b?versionId=null"] {
            let headers = [("x-amz-copy-source", written)];
            assert!(
                holds("StringLike s3:x-amz-copy-source bucket/a?b", "::1", &headers, ""),
                "{written}"
            );
            assert!(
                !holds("StringLike s3:x-amz-copy-source /bucket/*", "::1", &headers, ""),
                "{written}"
            );
        }
    }

    #[test]
    fn each_operator_compares_as_its_name_says() {
        let query = "prefix=home/anna/&max-keys=10&delimiter=/";
        let headers = [("x-amz-acl", "public-read"), ("user-agent", "Backup/2")];
        for (text, expected) in [
            ("StringEquals s3:prefix home/anna/ home/ben/", true),
            ("StringEquals s3:prefix Home/anna/", false),
            ("StringEqualsIgnoreCase s3:prefix Home/anna/", true),
            ("StringNotEquals s3:prefix home/ben/", true),
            ("StringNotEquals s3:prefix home/ben/ home/anna/", false),
            ("StringLike s3:prefix home/*", true),
            ("StringEquals s3:prefix home/*", false),
            ("StringEquals s3:delimiter /", true),
            ("NumericLessThanEquals s3:max-keys 10", true),
            ("NumericLessThan s3:max-keys 10", false),
            ("NumericGreaterThan s3:max-keys 9.5", true),
            ("NumericNotEquals s3:max-keys 10", false),
            ("Bool aws:SecureTransport true", false),
            ("Bool aws:securetransport false", true),
            ("DateLessThan aws:CurrentTime 2026-01-02T00:00:01Z", true),
            ("DateLessThan aws:CurrentTime 2026-01-02", false),
            ("DateGreaterThanEquals aws:CurrentTime 2026-01-02", true),
            ("DateGreaterThan aws:CurrentTime 2026-01-01T23:59:59+00:00", true),
            ("DateGreaterThan aws:EpochTime 1767311999", true),
            ("StringEquals s3:x-amz-acl private", false),
            ("StringNotEquals s3:x-amz-acl private", true),
            ("StringLike aws:UserAgent Backup/?", true),
            ("StringEquals aws:username WKREADER0001", false),
        ] {
            assert_eq!(holds(text, "::1", &headers, query), expected, "{text}");
        }
    }

    #[test]
    fn what_could_not_be_honoured_is_refused() {
        for text in [
            "StringEquals aws:PrincipalOrgID o-1",
            "StringEquals s3:ExistingTag/a b",
            "StringEquals x-amz-acl private",
            "StringSounds aws:Referer a",
            "ForSomeValues:StringLike aws:Referer a",
            "ForAllValues:Null aws:Referer true",
            "NullIfExists aws:Referer true",
            "StringEquals aws:Referer",
            "StringEquals aws:Referer ${aws:PrincipalTag/team}",
            "IpAddress aws:SourceIp 192.0.2.0/33",
            "IpAddress aws:SourceIp everywhere",
            "IpAddress aws:Referer 192.0.2.0/24",
            "NumericLessThan s3:max-keys many",
            "NumericLessThan s3:max-keys NaN",
            "NumericLessThan s3:prefix 5",
            "DateLessThan aws:CurrentTime soon",
            "StringEquals aws:CurrentTime 2026-01-02",
            "StringEquals s3:object-lock-retain-until-date 2026-01-02",
            "NumericEquals s3:object-lock-mode 1",
            "Bool aws:SecureTransport perhaps",
            "BinaryEquals aws:Referer YQ==",
            "NotBool aws:SecureTransport true",
            "stringequals aws:Referer a",
        ] {
            assert!(condition(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_narrow_conditions_keep_the_public_out() {
        for (text, expected) in [
            ("IpAddress aws:SourceIp 192.0.2.0/24", true),
            ("IpAddress aws:SourceIp 192.0.2.0/24 0.0.0.0/0", false),
            ("IpAddress aws:SourceIp 2001::/16", false),
            ("NotIpAddress aws:SourceIp 192.0.2.0/24", false),
            ("IpAddressIfExists aws:SourceIp 192.0.2.0/24", false),
            ("StringEquals aws:username WKREADER0001", true),
            ("StringLike aws:username WK*", false),
            ("StringLike aws:Referer https://a.example/*", false),
            ("Bool aws:SecureTransport true", false),
        ] {
            assert_eq!(
                condition(text).unwrap().keeps_the_public_out(),
                expected,
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_condition_is_read_or_refused(operator in "\\PC{0,20}", key in "\\PC{0,20}", values: Vec<String>) {
            let _ = Condition::parse(&operator, &key, values);
        }
    }
}
