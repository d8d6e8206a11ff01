//! The `LifecycleConfiguration` document.

use std::collections::HashSet;

use http::{HeaderMap, HeaderValue};
use storage::model::{Expiration, LifecycleFilter, LifecycleRule, NoncurrentExpiration};

use crate::error::{S3Code, S3Error, S3Result};
use crate::headers::{TRANSITION_SIZE, TRANSITION_SIZE_DEFAULT};
use crate::tags::{TagsOf, check as check_tags, tag_of, write_tag};
use crate::time::parse_iso;
use crate::xml::{Element, XmlWriter, malformed, parse};

/// Most rules of a bucket. Source: AWS S3 user guide, "Lifecycle configuration elements".
const RULES_MAX: usize = 1000;
/// Most bytes of a rule's id. Source: as above.
const ID_BYTES_MAX: usize = 255;
const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// Reads the body of PutBucketLifecycleConfiguration.
///
/// # Errors
/// `MalformedXML`, `InvalidArgument`, `InvalidRequest`; `NotImplemented` for transitions.
pub(super) fn read(document: &[u8]) -> S3Result<Vec<LifecycleRule>> {
    let root = parse(document, "LifecycleConfiguration")?;
    let root = root.only(&["Rule"])?;
    let rules: Vec<_> = root.all("Rule").map(read_rule).collect::<S3Result<_>>()?;
    if !(1..=RULES_MAX).contains(&rules.len()) {
        return Err(malformed());
    }
    let mut ids = HashSet::new();
    match rules.iter().find(|rule| !ids.insert(rule.id.as_str())) {
        None => Ok(rules),
        Some(twice) => Err(S3Error::invalid_argument(
            "ID",
            twice.id.as_str(),
            "Rule ID must be unique. Found same ID for more than one rule",
        )),
    }
}

fn read_rule(rule: &Element<'_>) -> S3Result<LifecycleRule> {
    if rule
        .children()
        .iter()
        .any(|child| child.name().ends_with("Transition"))
    {
        return Err(S3Error::not_implemented(
            "Transition is not implemented: there is one class of storage here. Use Expiration, \
             NoncurrentVersionExpiration or AbortIncompleteMultipartUpload.",
        ));
    }
    let rule = rule.only(&[
        "ID",
        "Status",
        "Prefix",
        "Filter",
        "Expiration",
        "NoncurrentVersionExpiration",
        "AbortIncompleteMultipartUpload",
    ])?;
    let read = LifecycleRule {
        id: read_id(rule)?,
        enabled: match rule.required("Status")?.text().trim() {
            "Enabled" => true,
            "Disabled" => false,
            _ => return Err(malformed()),
        },
        filter: read_filter(rule)?,
        expiration: rule.optional("Expiration")?.map(read_expiration).transpose()?,
        noncurrent: rule
            .optional("NoncurrentVersionExpiration")?
            .map(read_noncurrent)
            .transpose()?,
        abort_uploads: rule
            .optional("AbortIncompleteMultipartUpload")?
            .map(read_abort)
            .transpose()?,
    };
    check_together(&read)?;
    Ok(read)
}

/// Refuses what each for itself would be fine.
fn check_together(rule: &LifecycleRule) -> S3Result<()> {
    if rule.expiration.is_none() && rule.noncurrent.is_none() && rule.abort_uploads.is_none() {
        return Err(S3Error::invalid_request(
            "At least one action needs to be specified in a rule",
        ));
    }
    let sizes = rule.filter.larger_than.is_some() || rule.filter.smaller_than.is_some();
    let tags = !rule.filter.tags.is_empty();
    // Neither a delete marker nor an unfinished upload has tags or a size.
    for (is_there, action) in [
        (
            matches!(rule.expiration, Some(Expiration::Markers(_))),
            "ExpiredObjectDeleteMarker",
        ),
        (rule.abort_uploads.is_some(), "AbortIncompleteMultipartUpload"),
    ] {
        if is_there && tags {
            return Err(S3Error::invalid_request(format!(
                "{action} cannot be specified with Tags."
            )));
        }
        if is_there && sizes {
            return Err(S3Error::invalid_request(format!(
                "{action} cannot be specified with ObjectSizeGreaterThan or ObjectSizeLessThan."
            )));
        }
    }
    Ok(())
}

fn read_id(rule: &Element<'_>) -> S3Result<String> {
    let id = rule.optional_text("ID")?.unwrap_or_default();
    if id.len() > ID_BYTES_MAX {
        return Err(S3Error::invalid_argument(
            "ID",
            id,
            "ID length should not exceed allowed limit of 255",
        ));
    }
    if !id.is_empty() {
        return Ok(id.to_owned());
    }
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| S3Error::new(S3Code::InternalError).caused_by(error.to_string()))?;
    Ok(hex::encode(bytes))
}

fn read_filter(rule: &Element<'_>) -> S3Result<LifecycleFilter> {
    let filter = match (rule.optional("Filter")?, rule.optional_text("Prefix")?) {
        (Some(filter), None) => filter,
        (None, Some(prefix)) => {
            return Ok(LifecycleFilter {
                prefix: Some(prefix.to_owned()),
                is_bare: true,
                ..LifecycleFilter::default()
            });
        }
        _ => return Err(malformed()),
    };
    match filter.children() {
        [] => Ok(LifecycleFilter::default()),
        [and] if and.name() == "And" => read_predicates(and),
        [_] => read_predicates(filter),
        // Several stand in an And.
        _ => Err(malformed()),
    }
}

fn read_predicates(of: &Element<'_>) -> S3Result<LifecycleFilter> {
    let of = of.only(&["Prefix", "Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan"])?;
    let size = |name| {
        let text = of.optional_text(name)?.map(str::trim);
        text.map(|text| text.parse::<u64>().map_err(|_| malformed()))
            .transpose()
    };
    let tags = of.all("Tag").map(tag_of).collect::<S3Result<_>>()?;
    let filter = LifecycleFilter {
        prefix: of.optional_text("Prefix")?.map(str::to_owned),
        tags: check_tags(tags, TagsOf::Object)?,
        larger_than: size("ObjectSizeGreaterThan")?,
        smaller_than: size("ObjectSizeLessThan")?,
        is_bare: false,
    };
    match (filter.larger_than, filter.smaller_than) {
        (Some(larger), Some(smaller)) if smaller <= larger => Err(S3Error::invalid_request(
            "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.",
        )),
        _ => Ok(filter),
    }
}

fn read_expiration(expiration: &Element<'_>) -> S3Result<Expiration> {
    let [action] = expiration.children() else {
        return Err(malformed());
    };
    match action.name() {
        "Days" => {
            positive(action, "'Days' for Expiration action must be a positive integer").map(Expiration::Days)
        }
        "Date" => {
            let date = parse_iso(action.text().trim()).ok_or_else(malformed)?;
            if !date.as_millis().is_multiple_of(DAY_MILLIS) {
                let text = action.text().trim();
                let message = "'Date' must be at midnight GMT";
                return Err(S3Error::invalid_argument("Date", text, message));
            }
            Ok(Expiration::Date(date))
        }
        "ExpiredObjectDeleteMarker" => {
            let on = expiration.optional_boolean("ExpiredObjectDeleteMarker")?;
            Ok(Expiration::Markers(on.unwrap_or_default()))
        }
        _ => Err(malformed()),
    }
}

fn read_noncurrent(noncurrent: &Element<'_>) -> S3Result<NoncurrentExpiration> {
    let noncurrent = noncurrent.only(&["NoncurrentDays", "NewerNoncurrentVersions"])?;
    let days = positive(
        noncurrent.required("NoncurrentDays")?,
        "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer",
    )?;
    let message = "'NewerNoncurrentVersions' must be an integer between 1 and 100";
    let keep = noncurrent
        .optional("NewerNoncurrentVersions")?
        .map(|keep| {
            let number = positive(keep, message)?;
            (number <= 100)
                .then_some(number)
                .ok_or_else(|| S3Error::invalid_argument("NewerNoncurrentVersions", keep.text(), message))
        })
        .transpose()?;
    Ok(NoncurrentExpiration { days, keep })
}

fn read_abort(abort: &Element<'_>) -> S3Result<u32> {
    let days = abort
        .only(&["DaysAfterInitiation"])?
        .required("DaysAfterInitiation")?;
    positive(
        days,
        "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer",
    )
}

fn positive(element: &Element<'_>, message: &'static str) -> S3Result<u32> {
    let text = element.text().trim();
    let number: i64 = text.parse().map_err(|_| malformed())?;
    match u32::try_from(number) {
        Ok(number @ 1..=0x7fff_ffff) => Ok(number),
        _ => Err(S3Error::invalid_argument(element.name(), text, message)),
    }
}

/// Says from which size on objects change their class where nobody said otherwise: the one answer AWS knows for new
/// configurations, and Terraform waits for it.
pub(super) fn tell_transition_size(headers: &mut HeaderMap) {
    headers.insert(TRANSITION_SIZE, HeaderValue::from_static(TRANSITION_SIZE_DEFAULT));
}

/// Writes the document GetBucketLifecycleConfiguration answers with.
pub(super) fn write(xml: &mut XmlWriter, rules: &[LifecycleRule]) {
    xml.root("LifecycleConfiguration", |xml| {
        for rule in rules {
            xml.element("Rule", |xml| write_rule(xml, rule));
        }
    });
}

fn write_rule(xml: &mut XmlWriter, rule: &LifecycleRule) {
    xml.text("ID", &rule.id);
    write_filter(xml, &rule.filter);
    xml.text("Status", if rule.enabled { "Enabled" } else { "Disabled" });
    if let Some(expiration) = rule.expiration {
        xml.element("Expiration", |xml| match expiration {
            Expiration::Days(days) => xml.text("Days", &days.to_string()),
            Expiration::Date(date) => xml.time("Date", date),
            Expiration::Markers(on) => xml.boolean("ExpiredObjectDeleteMarker", on),
        });
    }
    if let Some(NoncurrentExpiration { days, keep }) = rule.noncurrent {
        xml.element("NoncurrentVersionExpiration", |xml| {
            xml.text("NoncurrentDays", &days.to_string());
            let keep = keep.map(|keep| keep.to_string());
            xml.text_if("NewerNoncurrentVersions", keep.as_deref());
        });
    }
    if let Some(days) = rule.abort_uploads {
        xml.element("AbortIncompleteMultipartUpload", |xml| {
            xml.text("DaysAfterInitiation", &days.to_string());
        });
    }
}

fn write_filter(xml: &mut XmlWriter, filter: &LifecycleFilter) {
    if filter.is_bare {
        return xml.text("Prefix", filter.prefix.as_deref().unwrap_or_default());
    }
    let predicates = usize::from(filter.prefix.is_some())
        + filter.tags.len()
        + usize::from(filter.larger_than.is_some())
        + usize::from(filter.smaller_than.is_some());
    xml.element("Filter", |xml| match predicates {
        0 | 1 => write_predicates(xml, filter),
        _ => xml.element("And", |xml| write_predicates(xml, filter)),
    });
}

fn write_predicates(xml: &mut XmlWriter, filter: &LifecycleFilter) {
    xml.text_if("Prefix", filter.prefix.as_deref());
    filter.tags.iter().for_each(|tag| write_tag(xml, tag));
    let size = |size: Option<u64>| size.map(|size| size.to_string());
    xml.text_if("ObjectSizeGreaterThan", size(filter.larger_than).as_deref());
    xml.text_if("ObjectSizeLessThan", size(filter.smaller_than).as_deref());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads rules made of these elements, beside `Status` and, unless they have a filter, an empty one.
    fn put(rules: &[&str]) -> Result<Vec<LifecycleRule>, S3Code> {
        let rule = |inner: &&str| {
            let has_filter = inner.contains("<Filter") || inner.contains("</Prefix>");
            let filter = if has_filter { "" } else { "<Filter/>" };
            format!("<Rule><Status>Enabled</Status>{filter}{inner}</Rule>")
        };
        let rules: String = rules.iter().map(rule).collect();
        let document = format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
        read(document.as_bytes()).map_err(|error| error.code())
    }

    const DAYS: &str = "<Expiration><Days>1</Days></Expiration>";

    #[test]
    fn a_configuration_reads_back_as_it_was_put() {
        let tag = "<Tag><Key>a</Key><Value>b</Value></Tag>";
        let rules = put(&[
            &format!("<ID>one</ID>{DAYS}"),
            &format!("<ID>old</ID><Prefix>logs/</Prefix>{DAYS}"),
            &format!("<ID>prefix</ID><Filter><Prefix>p</Prefix></Filter>{DAYS}"),
            &format!("<ID>tag</ID><Filter>{tag}</Filter>{DAYS}"),
            &format!(
                "<ID>and</ID><Filter><And><Prefix/>{tag}<ObjectSizeGreaterThan>1</ObjectSizeGreaterThan>\
                 <ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter>{DAYS}"
            ),
            "<ID>date</ID><Expiration><Date>2026-01-02T00:00:00.000Z</Date></Expiration>",
            "<ID>more</ID><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>\
             <NoncurrentVersionExpiration><NoncurrentDays>2</NoncurrentDays><NewerNoncurrentVersions>3\
             </NewerNoncurrentVersions></NoncurrentVersionExpiration><AbortIncompleteMultipartUpload>\
             <DaysAfterInitiation>4</DaysAfterInitiation></AbortIncompleteMultipartUpload>",
            DAYS,
        ])
        .unwrap();
        assert_eq!(rules.last().unwrap().id.len(), 32);
        let mut xml = XmlWriter::document();
        write(&mut xml, &rules);
        assert_eq!(read(&xml.finish()).unwrap(), rules);
    }

    #[test]
    fn what_aws_refuses_is_refused() {
        let long = format!("<ID>{}</ID>{DAYS}", "x".repeat(256));
        let expiration = |inner: &str| format!("<Expiration>{inner}</Expiration>");
        let noncurrent =
            |inner: &str| format!("<NoncurrentVersionExpiration>{inner}</NoncurrentVersionExpiration>");
        let filter = |inner: &str| format!("<Filter>{inner}</Filter>");
        let (tag, larger) = (
            "<Tag><Key>a</Key><Value/></Tag>",
            "<ObjectSizeGreaterThan>5</ObjectSizeGreaterThan>",
        );
        let abort = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation>\
                     </AbortIncompleteMultipartUpload>";
        let smaller = "<ObjectSizeLessThan>5</ObjectSizeLessThan>";
        use S3Code::{InvalidArgument, InvalidRequest, InvalidTag, MalformedXML, NotImplemented};
        for (rule, code) in [
            (String::new(), InvalidRequest),
            (long, InvalidArgument),
            (expiration("<Days>0</Days>"), InvalidArgument),
            (expiration("<Days>-1</Days>"), InvalidArgument),
            (expiration("<Days>x</Days>"), MalformedXML),
            (expiration(""), MalformedXML),
            (
                expiration("<Days>1</Days><Date>2026-01-02T00:00:00Z</Date>"),
                MalformedXML,
            ),
            (expiration("<Date>2026-01-02T10:00:00Z</Date>"), InvalidArgument),
            (expiration("<Date>tomorrow</Date>"), MalformedXML),
            (noncurrent(""), MalformedXML),
            (noncurrent("<NoncurrentDays>0</NoncurrentDays>"), InvalidArgument),
            (
                noncurrent(
                    "<NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>101</NewerNoncurrentVersions>",
                ),
                InvalidArgument,
            ),
            (format!("{}{DAYS}<Prefix>x</Prefix>", filter("")), MalformedXML),
            (
                format!("{}{DAYS}", filter(&format!("{tag}{larger}"))),
                MalformedXML,
            ),
            (
                format!("{}{DAYS}", filter(&format!("<And>{larger}{smaller}</And>"))),
                InvalidRequest,
            ),
            (
                format!("{}{DAYS}", filter(&format!("<And>{tag}{tag}</And>"))),
                InvalidTag,
            ),
            (format!("{}{abort}", filter(tag)), InvalidRequest),
            (format!("{}{abort}", filter(larger)), InvalidRequest),
            (
                "<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>".into(),
                NotImplemented,
            ),
            (format!("{DAYS}<Surprise/>"), MalformedXML),
        ] {
            assert_eq!(put(&[&rule]), Err(code), "{rule}");
        }
        assert_eq!(put(&[]), Err(MalformedXML));
        let twice = format!("<ID>a</ID>{DAYS}");
        assert_eq!(put(&[&twice, &twice]), Err(InvalidArgument));
        let no_filter =
            "<LifecycleConfiguration><Rule><Status>Enabled</Status></Rule></LifecycleConfiguration>";
        assert_eq!(
            read(no_filter.as_bytes()).map_err(|error| error.code()),
            Err(MalformedXML)
        );
    }
}
