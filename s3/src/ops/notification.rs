//! GetBucketNotificationConfiguration and PutBucketNotificationConfiguration.

use std::collections::HashSet;

use http::StatusCode;
use storage::model::{Bucket, EventPattern, NotificationRule, Timestamp};

use crate::body::RequestBody;
use crate::error::{S3Error, S3Result};
use crate::gateway::Call;
use crate::headers::SKIP_VALIDATION;
use crate::notify::{Webhook, test_event};
use crate::response::{Reply, empty, xml};
use crate::xml::{Element, XmlWriter, malformed, parse};

/// Most rules of a bucket. Source: AWS S3 API reference.
const RULES_MAX: usize = 100;
/// The largest document: a hundred rules with long names and filters.
const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
/// Longest name of a rule, in bytes. Source: AWS S3 API reference.
const ID_BYTES_MAX: usize = 255;
/// Longest prefix or suffix, in bytes: that of a key.
const VALUE_BYTES_MAX: usize = 1024;

/// Names the element of a rule and that of its receiver.
const QUEUE: (&str, &str) = ("QueueConfiguration", "Queue");

/// Receivers of AWS that are nothing here.
const OTHERS: [&str; 3] = [
    "TopicConfiguration",
    "CloudFunctionConfiguration",
    "EventBridgeConfiguration",
];

/// Gives back the rules as they were put.
pub(crate) fn get_bucket_notification_configuration(bucket: &Bucket) -> Reply {
    let mut document = XmlWriter::document();
    document.root("NotificationConfiguration", |xml| {
        for rule in &bucket.settings.notifications {
            xml.element(QUEUE.0, |xml| write_rule(xml, rule));
        }
    });
    xml(document.finish())
}

fn write_rule(xml: &mut XmlWriter, rule: &NotificationRule) {
    xml.text("Id", &rule.id);
    xml.text(QUEUE.1, &Webhook::arn_of(&rule.endpoint));
    for event in &rule.events {
        xml.text("Event", event.as_str());
    }
    if rule.prefix.is_none() && rule.suffix.is_none() {
        return;
    }
    xml.element("Filter", |xml| {
        xml.element("S3Key", |xml| {
            for (name, value) in [("prefix", &rule.prefix), ("suffix", &rule.suffix)] {
                let Some(value) = value else { continue };
                xml.element("FilterRule", |xml| {
                    xml.text("Name", name);
                    xml.text("Value", value);
                });
            }
        });
    });
}

/// Puts rules in place of those before. Each receiver that is named is told so, once it listens.
pub(crate) async fn put_bucket_notification_configuration(
    call: &Call,
    bucket: &Bucket,
    body: RequestBody,
) -> S3Result<Reply> {
    let rules = read(&body.document(DOCUMENT_BYTES_MAX).await?)?;
    let skips = call.headers.get(SKIP_VALIDATION);
    let skips = skips.is_some_and(|skips| skips.as_bytes().eq_ignore_ascii_case(b"true"));
    let webhooks = &call.gateway.webhooks;
    if !skips && let Some(unknown) = rules.iter().find(|rule| !webhooks.knows(&rule.endpoint)) {
        return Err(S3Error::invalid_argument(
            "Queue",
            Webhook::arn_of(&unknown.endpoint),
            "Unable to validate the following destination configurations: the configuration of this box names no such webhook \
             (s3.webhooks). Where another box names it, ask that one, or skip the validation.",
        ));
    }
    let named: HashSet<String> = rules.iter().map(|rule| rule.endpoint.clone()).collect();
    let set = move |settings: &mut storage::model::BucketSettings| {
        settings.notifications.clone_from(&rules);
        settings.was_notifying |= !rules.is_empty();
    };
    call.gateway.store.change_bucket(bucket, set).await?;
    for name in named {
        webhooks.say(&name, test_event(bucket, call.id.as_str(), Timestamp::now()));
    }
    // Of what was left by receivers that are none any more.
    call.gateway.store.find_events();
    Ok(empty(StatusCode::OK))
}

fn read(document: &[u8]) -> S3Result<Vec<NotificationRule>> {
    let root = parse(document, "NotificationConfiguration")?;
    if OTHERS.iter().any(|other| root.all(other).next().is_some()) {
        return Err(S3Error::not_implemented(
            "Events go to webhooks, each a QueueConfiguration with an ARN such as arn:warren:sqs::NAME:webhook.",
        ));
    }
    let mut rules = Vec::new();
    for (place, rule) in root.only(&[QUEUE.0])?.children().iter().enumerate() {
        rules.push(read_rule(rule, place)?);
    }
    if rules.len() > RULES_MAX {
        return Err(malformed());
    }
    let mut ids = HashSet::new();
    if !rules.iter().all(|rule| ids.insert(&rule.id)) {
        return Err(invalid(
            "Id",
            "",
            "Same ID used for multiple configurations. IDs must be unique",
        ));
    }
    let overlaps = |(place, rule): (usize, &NotificationRule)| {
        rules.iter().skip(place + 1).any(|other| rule.overlaps(other))
    };
    if rules.iter().enumerate().any(overlaps) {
        return Err(invalid(
            "NotificationConfiguration",
            "",
            "Configurations overlap. Configurations on the same bucket cannot share a common event type.",
        ));
    }
    Ok(rules)
}

fn read_rule(element: &Element<'_>, place: usize) -> S3Result<NotificationRule> {
    let element = element.only(&["Id", QUEUE.1, "Event", "Filter"])?;
    let arn = element.required(QUEUE.1)?.text().trim();
    let endpoint = Webhook::name_in_arn(arn).ok_or_else(|| {
        invalid(
            "Queue",
            arn,
            "The ARN could not be parsed: arn:warren:sqs::NAME:webhook is expected",
        )
    })?;
    let id = match element.optional_text("Id")?.map(str::trim) {
        Some(id) if !id.is_empty() => id.to_owned(),
        _ => format!("rule-{}", place + 1),
    };
    if id.len() > ID_BYTES_MAX {
        return Err(invalid("Id", &id, "The ID is longer than 255 characters"));
    }
    let mut events = Vec::new();
    for event in element.all("Event") {
        events.push(read_event(event.text().trim())?);
    }
    if events.is_empty() {
        return Err(malformed());
    }
    let (prefix, suffix) = match element.optional("Filter")? {
        Some(filter) => read_filter(filter)?,
        None => (None, None),
    };
    Ok(NotificationRule {
        id,
        endpoint: endpoint.to_owned(),
        events,
        prefix,
        suffix,
    })
}

fn read_event(name: &str) -> S3Result<EventPattern> {
    if let Some(pattern) = EventPattern::parse(name) {
        return Ok(pattern);
    }
    // Kinds that AWS knows and that never happen here, or are told to nobody.
    let known = [
        "s3:ObjectRestore:",
        "s3:Replication:",
        "s3:LifecycleTransition",
        "s3:IntelligentTiering",
        "s3:ReducedRedundancyLostObject",
    ];
    match known.iter().any(|known| name.starts_with(known)) {
        true => Err(S3Error::not_implemented(format!("Nobody is told of {name} yet."))),
        false => Err(invalid(
            "Event",
            name,
            "The event is not supported for notifications",
        )),
    }
}

type Filter = (Option<String>, Option<String>);

fn read_filter(filter: &Element<'_>) -> S3Result<Filter> {
    let (mut prefix, mut suffix) = (None, None);
    let Some(key) = filter.only(&["S3Key"])?.optional("S3Key")? else {
        return Ok((None, None));
    };
    for rule in key.only(&["FilterRule"])?.children() {
        let rule = rule.only(&["Name", "Value"])?;
        let value = rule.required("Value")?.text();
        if value.len() > VALUE_BYTES_MAX {
            return Err(invalid(
                "FilterRuleValue",
                value,
                "Size of filter rule value cannot exceed 1024 bytes",
            ));
        }
        let name = rule.required("Name")?.text().trim();
        let filled = match name.to_ascii_lowercase().as_str() {
            "prefix" => prefix.replace(value.to_owned()),
            "suffix" => suffix.replace(value.to_owned()),
            _ => {
                return Err(invalid(
                    "FilterRuleName",
                    name,
                    "filter rule name must be either prefix or suffix",
                ));
            }
        };
        if filled.is_some() {
            return Err(invalid(
                "FilterRuleName",
                name,
                "Cannot specify more than one prefix or suffix rule in a filter.",
            ));
        }
    }
    Ok((prefix, suffix))
}

fn invalid(name: &str, value: &str, message: &'static str) -> S3Error {
    S3Error::invalid_argument(name, value, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::S3Code;

    fn outcome(rules: &str) -> Result<usize, S3Code> {
        let document = format!("<NotificationConfiguration>{rules}</NotificationConfiguration>");
        let rules = read(document.as_bytes()).map_err(|error| error.code());
        rules.map(|rules| rules.len())
    }

    fn rule(inside: &str) -> String {
        format!(
            "<QueueConfiguration><Queue>arn:warren:sqs::hook:webhook</Queue>{inside}</QueueConfiguration>"
        )
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let created = "<Event>s3:ObjectCreated:*</Event>";
        let filter = |rules: &str| format!("{created}<Filter><S3Key>{rules}</S3Key></Filter>");
        let prefix = "<FilterRule><Name>Prefix</Name><Value>in/</Value></FilterRule>";
        for (rules, expected) in [
            (String::new(), Ok(0)),
            (rule(created), Ok(1)),
            (rule(&filter(prefix)), Ok(1)),
            (rule(""), Err(S3Code::MalformedXML)),
            (rule("<Event>s3:Nothing:*</Event>"), Err(S3Code::InvalidArgument)),
            (rule("<Event>s3:ObjectTagging:*</Event>"), Ok(1)),
            (rule("<Event>s3:ObjectAcl:Put</Event>"), Ok(1)),
            (
                rule("<Event>s3:ObjectAcl:Get</Event>"),
                Err(S3Code::InvalidArgument),
            ),
            (
                rule("<Event>s3:ObjectRestore:Post</Event>"),
                Err(S3Code::NotImplemented),
            ),
            (rule(&filter(&prefix.repeat(2))), Err(S3Code::InvalidArgument)),
            (rule(&format!("{created}<Other/>")), Err(S3Code::MalformedXML)),
            (rule(created).repeat(2), Err(S3Code::InvalidArgument)),
            (
                rule(created).replace("arn:warren", "arn:aws"),
                Err(S3Code::InvalidArgument),
            ),
            ("<TopicConfiguration/>".to_owned(), Err(S3Code::NotImplemented)),
        ] {
            assert_eq!(outcome(&rules), expected, "{rules}");
        }
    }
}
