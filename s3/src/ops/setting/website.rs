//! The `WebsiteConfiguration` document.

use http::uri::Authority;
use storage::model::{Protocol, Replacement, RoutingRule, Website};

use crate::error::{S3Error, S3Result};
use crate::xml::{Element, XmlWriter, malformed, parse};

/// Most routing rules. Source: AWS S3 user guide, "Configuring a webpage redirect".
const RULES_MAX: usize = 50;

/// Most bytes of a key or of what replaces one.
const KEY_BYTES_MAX: usize = 1024;

/// Reads the body of PutBucketWebsite.
///
/// # Errors
/// `MalformedXML`; `InvalidArgument` and `InvalidRequest` for what a website cannot be.
pub(super) fn read(document: &[u8]) -> S3Result<Website> {
    let root = parse(document, "WebsiteConfiguration")?;
    root.only(&[
        "RedirectAllRequestsTo",
        "IndexDocument",
        "ErrorDocument",
        "RoutingRules",
    ])?;
    if let Some(all) = root.optional("RedirectAllRequestsTo")? {
        if root.children().len() > 1 {
            return Err(S3Error::invalid_request(
                "RedirectAllRequestsTo cannot be provided in conjunction with other properties.",
            ));
        }
        all.only(&["HostName", "Protocol"])?;
        return Ok(Website::Elsewhere {
            host: host(all.required("HostName")?.text())?,
            protocol: protocol(all)?,
        });
    }
    let index = root.optional("IndexDocument")?.ok_or_else(|| {
        S3Error::invalid_argument(
            "IndexDocument",
            "",
            "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty",
        )
    })?;
    let index = index.only(&["Suffix"])?.required("Suffix")?.text();
    if index.is_empty() || index.contains('/') || index.len() > KEY_BYTES_MAX {
        return Err(S3Error::invalid_argument(
            "IndexDocument",
            index,
            "The IndexDocument Suffix is not well formed",
        ));
    }
    let error = match root.optional("ErrorDocument")? {
        Some(error) => Some(key(error.only(&["Key"])?.required("Key")?.text())?),
        None => None,
    };
    Ok(Website::Pages {
        index: index.to_owned(),
        error,
        rules: rules(&root)?,
    })
}

fn rules(root: &Element<'_>) -> S3Result<Vec<RoutingRule>> {
    let Some(list) = root.optional("RoutingRules")? else {
        return Ok(Vec::new());
    };
    list.only(&["RoutingRule"])?;
    let rules: Vec<_> = list.all("RoutingRule").map(rule).collect::<S3Result<_>>()?;
    if rules.len() > RULES_MAX {
        return Err(S3Error::invalid_request(
            "The number of routing rules must not exceed 50 in a website configuration.",
        ));
    }
    Ok(rules)
}

fn rule(element: &Element<'_>) -> S3Result<RoutingRule> {
    element.only(&["Condition", "Redirect"])?;
    let (mut prefix, mut error) = (None, None);
    if let Some(condition) = element.optional("Condition")? {
        condition.only(&["KeyPrefixEquals", "HttpErrorCodeReturnedEquals"])?;
        prefix = condition.optional_text("KeyPrefixEquals")?.map(str::to_owned);
        let code = condition.optional_text("HttpErrorCodeReturnedEquals")?;
        error = code
            .map(|code| status(code, 400..=599, "HttpErrorCodeReturnedEquals"))
            .transpose()?;
        if prefix.is_none() && error.is_none() {
            return Err(malformed());
        }
    }
    let redirect = element.required("Redirect")?.only(&[
        "HostName",
        "Protocol",
        "ReplaceKeyPrefixWith",
        "ReplaceKeyWith",
        "HttpRedirectCode",
    ])?;
    if redirect.children().is_empty() {
        return Err(malformed());
    }
    let replace = match (
        redirect.optional_text("ReplaceKeyPrefixWith")?,
        redirect.optional_text("ReplaceKeyWith")?,
    ) {
        (None, None) => None,
        (Some(prefix), None) if prefix.len() <= KEY_BYTES_MAX => Some(Replacement::Prefix(prefix.to_owned())),
        (None, Some(whole)) => Some(Replacement::Key(key(whole)?)),
        (Some(_), None) => return Err(malformed()),
        (Some(_), Some(_)) => {
            return Err(S3Error::invalid_request(
                "You can only define ReplaceKeyPrefix or ReplaceKey but not both.",
            ));
        }
    };
    let code = redirect.optional_text("HttpRedirectCode")?;
    Ok(RoutingRule {
        prefix,
        error,
        host: redirect.optional_text("HostName")?.map(host).transpose()?,
        protocol: protocol(redirect)?,
        replace,
        status: code
            .map(|code| status(code, 301..=399, "HttpRedirectCode"))
            .transpose()?,
    })
}

fn key(text: &str) -> S3Result<String> {
    if (1..=KEY_BYTES_MAX).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(malformed())
    }
}

/// A host as it stands in a URL, without anything that could lead elsewhere.
fn host(text: &str) -> S3Result<String> {
    let text = text.trim();
    match text.parse::<Authority>() {
        Ok(_) if !text.contains('@') => Ok(text.to_owned()),
        _ => Err(S3Error::invalid_argument(
            "HostName",
            text,
            "The host name of a redirect is a name without scheme and path, e.g. www.example.com",
        )),
    }
}

fn protocol(element: &Element<'_>) -> S3Result<Option<Protocol>> {
    let invalid = |text| {
        let message = "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected \
                       automatically.";
        S3Error::invalid_argument("Protocol", text, message)
    };
    let text = element.optional_text("Protocol")?.map(str::trim);
    text.map(|text| Protocol::from_name(text).ok_or_else(|| invalid(text)))
        .transpose()
}

fn status(text: &str, range: std::ops::RangeInclusive<u16>, name: &str) -> S3Result<u16> {
    let code = text.trim().parse().ok().filter(|code| range.contains(code));
    code.ok_or_else(|| {
        let (least, most) = range.into_inner();
        let message = format!("The provided HTTP code is not valid. Valid codes are {least} to {most}.");
        S3Error::invalid_argument(name, text, message)
    })
}

/// Writes the document GetBucketWebsite answers with.
pub(super) fn write(xml: &mut XmlWriter, website: &Website) {
    xml.root("WebsiteConfiguration", |xml| match website {
        Website::Elsewhere { host, protocol } => xml.element("RedirectAllRequestsTo", |xml| {
            xml.text("HostName", host);
            xml.text_if("Protocol", protocol.map(Protocol::name));
        }),
        Website::Pages { index, error, rules } => {
            xml.element("IndexDocument", |xml| xml.text("Suffix", index));
            if let Some(error) = error {
                xml.element("ErrorDocument", |xml| xml.text("Key", error));
            }
            if !rules.is_empty() {
                xml.element("RoutingRules", |xml| {
                    rules.iter().for_each(|rule| write_rule(xml, rule))
                });
            }
        }
    });
}

fn write_rule(xml: &mut XmlWriter, rule: &RoutingRule) {
    xml.element("RoutingRule", |xml| {
        if rule.prefix.is_some() || rule.error.is_some() {
            xml.element("Condition", |xml| {
                xml.text_if("KeyPrefixEquals", rule.prefix.as_deref());
                let error = rule.error.map(|error| error.to_string());
                xml.text_if("HttpErrorCodeReturnedEquals", error.as_deref());
            });
        }
        xml.element("Redirect", |xml| {
            xml.text_if("HostName", rule.host.as_deref());
            let status = rule.status.map(|status| status.to_string());
            xml.text_if("HttpRedirectCode", status.as_deref());
            xml.text_if("Protocol", rule.protocol.map(Protocol::name));
            match &rule.replace {
                Some(Replacement::Prefix(prefix)) => xml.text("ReplaceKeyPrefixWith", prefix),
                Some(Replacement::Key(key)) => xml.text("ReplaceKeyWith", key),
                None => {}
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::S3Code;

    const INDEX: &str = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>";

    fn website(inside: &str) -> Result<Website, S3Code> {
        let document = format!("<WebsiteConfiguration>{inside}</WebsiteConfiguration>");
        read(document.as_bytes()).map_err(|error| error.code())
    }

    fn with_rule(rule: &str) -> Result<Website, S3Code> {
        website(&format!(
            "{INDEX}<RoutingRules><RoutingRule>{rule}</RoutingRule></RoutingRules>"
        ))
    }

    #[test]
    fn a_website_reads_back_as_it_was_put() {
        let rule = "<Condition><KeyPrefixEquals>docs/</KeyPrefixEquals><HttpErrorCodeReturnedEquals>404\
                    </HttpErrorCodeReturnedEquals></Condition><Redirect><HostName>www.a.example:8080</HostName>\
                    <HttpRedirectCode>302</HttpRedirectCode><Protocol>https</Protocol>\
                    <ReplaceKeyPrefixWith></ReplaceKeyPrefixWith></Redirect>";
        let pages = with_rule(rule).unwrap();
        let Website::Pages { rules, .. } = &pages else {
            panic!("{pages:?}");
        };
        assert_eq!(rules[0].replace, Some(Replacement::Prefix(String::new())));
        let elsewhere = "<RedirectAllRequestsTo><HostName>a.example</HostName></RedirectAllRequestsTo>";
        let with_error = format!("{INDEX}<ErrorDocument><Key>404.html</Key></ErrorDocument>");
        for website in [pages, website(elsewhere).unwrap(), website(&with_error).unwrap()] {
            let mut xml = XmlWriter::document();
            write(&mut xml, &website);
            assert_eq!(read(&xml.finish()).unwrap(), website);
        }
    }

    #[test]
    fn what_a_website_cannot_be_is_refused() {
        let all = "<RedirectAllRequestsTo><HostName>a.example</HostName></RedirectAllRequestsTo>";
        for (inside, code) in [
            ("", S3Code::InvalidArgument),
            (&format!("{INDEX}{all}"), S3Code::InvalidRequest),
            (
                "<IndexDocument><Suffix>a/b</Suffix></IndexDocument>",
                S3Code::InvalidArgument,
            ),
            (
                "<IndexDocument><Suffix/></IndexDocument>",
                S3Code::InvalidArgument,
            ),
            (
                &all.replace("a.example", "a.example/path"),
                S3Code::InvalidArgument,
            ),
            (
                &all.replace("a.example", "user@a.example"),
                S3Code::InvalidArgument,
            ),
            (
                &all.replace("</HostName>", "</HostName><Protocol>ftp</Protocol>"),
                S3Code::InvalidArgument,
            ),
            (
                &format!("{INDEX}<ErrorDocument><Key/></ErrorDocument>"),
                S3Code::MalformedXML,
            ),
            (&format!("{INDEX}<Other/>"), S3Code::MalformedXML),
        ] {
            assert_eq!(website(inside), Err(code), "{inside}");
        }
        for (rule, code) in [
            ("<Redirect/>", S3Code::MalformedXML),
            (
                "<Condition/><Redirect><HostName>a</HostName></Redirect>",
                S3Code::MalformedXML,
            ),
            (
                "<Redirect><HttpRedirectCode>200</HttpRedirectCode></Redirect>",
                S3Code::InvalidArgument,
            ),
            (
                "<Redirect><ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith></Redirect>",
                S3Code::InvalidRequest,
            ),
            (
                "<Condition><HttpErrorCodeReturnedEquals>200</HttpErrorCodeReturnedEquals></Condition>\
                 <Redirect><HostName>a</HostName></Redirect>",
                S3Code::InvalidArgument,
            ),
        ] {
            assert_eq!(with_rule(rule), Err(code), "{rule}");
        }
    }
}
