//! The documents about object lock, read into what they ask for and written from what holds.

use storage::model::{DefaultRetention, ObjectLock, Period, Retention, RetentionMode};

use super::XmlWriter;
use super::read::{Element, malformed, parse};
use crate::error::{S3Code, S3Error, S3Result};
use crate::time::{iso_date, parse_iso};

/// Most days and years of a default retention. Source: AWS S3 user guide, "Object Lock considerations".
const DAYS_MAX: u32 = 36_500;
const YEARS_MAX: u32 = 100;

/// The name of a mode.
pub(crate) const fn mode_name(mode: RetentionMode) -> &'static str {
    match mode {
        RetentionMode::Governance => "GOVERNANCE",
        RetentionMode::Compliance => "COMPLIANCE",
    }
}

/// Reads [`mode_name`].
pub(crate) fn mode_of(name: &str) -> Option<RetentionMode> {
    match name {
        "GOVERNANCE" => Some(RetentionMode::Governance),
        "COMPLIANCE" => Some(RetentionMode::Compliance),
        _ => None,
    }
}

/// Reads the body of PutObjectLockConfiguration.
///
/// # Errors
/// `MalformedXML`; `InvalidArgument` for a period that is none, or too long.
pub(crate) fn parse_object_lock(body: &[u8]) -> S3Result<ObjectLock> {
    let root = parse(body, "ObjectLockConfiguration")?;
    only(&root, &["ObjectLockEnabled", "Rule"])?;
    if root.required("ObjectLockEnabled")?.text().trim() != "Enabled" {
        return Err(malformed());
    }
    let Some(rule) = root.optional("Rule")? else {
        return Ok(ObjectLock::default());
    };
    only(rule, &["DefaultRetention"])?;
    let default = rule.required("DefaultRetention")?;
    only(default, &["Mode", "Days", "Years"])?;
    let mode = mode_of(default.required("Mode")?.text().trim()).ok_or_else(malformed)?;
    let days = number(default, "Days", DAYS_MAX)?.map(Period::Days);
    let years = number(default, "Years", YEARS_MAX)?.map(Period::Years);
    match (days, years) {
        (Some(period), None) | (None, Some(period)) => Ok(ObjectLock {
            default: Some(DefaultRetention { mode, period }),
        }),
        _ => Err(malformed()),
    }
}

/// Writes what [`parse_object_lock`] reads.
pub(crate) fn object_lock_document(lock: ObjectLock) -> Vec<u8> {
    let mut document = XmlWriter::document();
    document.root("ObjectLockConfiguration", |xml| {
        xml.text("ObjectLockEnabled", "Enabled");
        let Some(DefaultRetention { mode, period }) = lock.default else {
            return;
        };
        xml.element("Rule", |xml| {
            xml.element("DefaultRetention", |xml| {
                xml.text("Mode", mode_name(mode));
                match period {
                    Period::Days(days) => xml.number("Days", days.into()),
                    Period::Years(years) => xml.number("Years", years.into()),
                }
            });
        });
    });
    document.finish()
}

/// Reads the body of PutObjectRetention; nothing in it removes the retention.
///
/// # Errors
/// `MalformedXML`, also where one of the two is missing.
pub(crate) fn parse_retention(body: &[u8]) -> S3Result<Option<Retention>> {
    let root = parse(body, "Retention")?;
    only(&root, &["Mode", "RetainUntilDate"])?;
    let mode = root.optional_text("Mode")?.map(str::trim);
    let until = root.optional_text("RetainUntilDate")?.map(str::trim);
    match (mode, until) {
        (None, None) => Ok(None),
        (Some(mode), Some(until)) => {
            let mode = mode_of(mode).ok_or_else(malformed)?;
            let until = parse_iso(until).ok_or_else(malformed)?;
            Ok(Some(Retention { mode, until }))
        }
        _ => Err(malformed()),
    }
}

/// Writes what [`parse_retention`] reads.
pub(crate) fn retention_document(retention: Retention) -> Vec<u8> {
    let mut document = XmlWriter::document();
    document.root("Retention", |xml| {
        xml.text("Mode", mode_name(retention.mode));
        xml.text("RetainUntilDate", &iso_date(retention.until));
    });
    document.finish()
}

/// Reads the body of PutObjectLegalHold.
///
/// # Errors
/// `MalformedXML`.
pub(crate) fn parse_legal_hold(body: &[u8]) -> S3Result<bool> {
    let root = parse(body, "LegalHold")?;
    only(&root, &["Status"])?;
    match root.required("Status")?.text().trim() {
        "ON" => Ok(true),
        "OFF" => Ok(false),
        _ => Err(malformed()),
    }
}

/// Writes what [`parse_legal_hold`] reads.
pub(crate) fn legal_hold_document(on: bool) -> Vec<u8> {
    let mut document = XmlWriter::document();
    document.root("LegalHold", |xml| {
        xml.text("Status", if on { "ON" } else { "OFF" });
    });
    document.finish()
}

/// Refuses an element that is not known: it might say that something stays longer.
fn only(element: &Element<'_>, names: &[&str]) -> S3Result<()> {
    match element
        .children()
        .iter()
        .all(|child| names.contains(&child.name()))
    {
        true => Ok(()),
        false => Err(malformed()),
    }
}

fn number(element: &Element<'_>, name: &'static str, most: u32) -> S3Result<Option<u32>> {
    let Some(text) = element.optional_text(name)?.map(str::trim) else {
        return Ok(None);
    };
    let number: i64 = text.parse().map_err(|_| malformed())?;
    match u32::try_from(number) {
        Ok(number) if (1..=most).contains(&number) => Ok(Some(number)),
        Ok(number) if number > most => Err(invalid(name, text, "Default retention period too large")),
        _ => Err(invalid(
            name,
            text,
            "Default retention period must be a positive integer value",
        )),
    }
}

fn invalid(name: &'static str, text: &str, why: &'static str) -> S3Error {
    S3Error::with_message(S3Code::InvalidArgument, why)
        .field("ArgumentName", name)
        .field("ArgumentValue", text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use storage::model::Timestamp;

    use super::*;

    fn modes() -> impl Strategy<Value = RetentionMode> {
        prop_oneof![Just(RetentionMode::Governance), Just(RetentionMode::Compliance)]
    }

    fn locks() -> impl Strategy<Value = ObjectLock> {
        let periods = prop_oneof![
            (1..=DAYS_MAX).prop_map(Period::Days),
            (1..=YEARS_MAX).prop_map(Period::Years)
        ];
        let defaults = (modes(), periods).prop_map(|(mode, period)| DefaultRetention { mode, period });
        prop::option::of(defaults).prop_map(|default| ObjectLock { default })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(lock in locks(), mode in modes(), millis in 0_u64..1 << 42, on: bool) {
            prop_assert_eq!(parse_object_lock(&object_lock_document(lock)).unwrap(), lock);
            let retention = Retention { mode, until: Timestamp::from_millis(millis) };
            prop_assert_eq!(parse_retention(&retention_document(retention)).unwrap(), Some(retention));
            prop_assert_eq!(parse_legal_hold(&legal_hold_document(on)).unwrap(), on);
        }
    }

    #[test]
    fn a_lock_that_is_not_understood_is_refused() {
        let lock = |rule: &str| {
            let body = format!(
                "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>\
                 <Rule><DefaultRetention>{rule}</DefaultRetention></Rule></ObjectLockConfiguration>"
            );
            parse_object_lock(body.as_bytes()).unwrap_err().code()
        };
        let mode = "<Mode>GOVERNANCE</Mode>";
        for rule in [
            "<Mode>SOFT</Mode><Days>1</Days>",
            "<Days>1</Days>",
            mode,
            &format!("{mode}<Days>1</Days><Years>1</Years>"),
            &format!("{mode}<Days>one</Days>"),
            &format!("{mode}<Days>1</Days><DefaultEventHold/>"),
        ] {
            assert_eq!(lock(rule), S3Code::MalformedXML, "{rule}");
        }
        for period in [
            "<Days>0</Days>",
            "<Days>-1</Days>",
            "<Days>36501</Days>",
            "<Years>101</Years>",
        ] {
            assert_eq!(
                lock(&format!("{mode}{period}")),
                S3Code::InvalidArgument,
                "{period}"
            );
        }
        for body in [
            "<ObjectLockConfiguration/>",
            "<ObjectLockConfiguration><ObjectLockEnabled>Disabled</ObjectLockEnabled></ObjectLockConfiguration>",
        ] {
            let refused = parse_object_lock(body.as_bytes()).unwrap_err();
            assert_eq!(refused.code(), S3Code::MalformedXML);
        }
        for body in [
            "<Retention><Mode>GOVERNANCE</Mode></Retention>",
            "<Retention><Mode>governance</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Retention>",
            "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>soon</RetainUntilDate></Retention>",
            "<Retention><EventHold>ON</EventHold></Retention>",
        ] {
            let refused = parse_retention(body.as_bytes()).unwrap_err();
            assert_eq!(refused.code(), S3Code::MalformedXML, "{body}");
        }
        assert_eq!(parse_retention(b"<Retention/>").unwrap(), None);
        for body in ["<LegalHold/>", "<LegalHold><Status>on</Status></LegalHold>"] {
            let refused = parse_legal_hold(body.as_bytes()).unwrap_err();
            assert_eq!(refused.code(), S3Code::MalformedXML);
        }
    }
}
