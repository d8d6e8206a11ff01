//! The `CORSConfiguration` document.

use http::HeaderName;
use storage::model::{CorsMethod, CorsRule};

use crate::error::{S3Error, S3Result};
use crate::xml::{Element, XmlWriter, malformed, parse};

/// Most rules of a bucket. Source: AWS S3 API reference, PutBucketCors.
const RULES_MAX: usize = 100;

/// Longest `ID`, in characters.
const ID_CHARS_MAX: usize = 255;

/// Reads the body of PutBucketCors.
///
/// # Errors
/// `MalformedXML`; `InvalidRequest` for what a rule must not say.
pub(super) fn read(document: &[u8]) -> S3Result<Vec<CorsRule>> {
    let root = parse(document, "CORSConfiguration")?;
    root.only(&["CORSRule"])?;
    let rules: Vec<_> = root.all("CORSRule").map(rule).collect::<S3Result<_>>()?;
    if rules.is_empty() || rules.len() > RULES_MAX {
        return Err(malformed());
    }
    Ok(rules)
}

fn rule(element: &Element<'_>) -> S3Result<CorsRule> {
    element.only(&[
        "ID",
        "AllowedOrigin",
        "AllowedMethod",
        "AllowedHeader",
        "ExposeHeader",
        "MaxAgeSeconds",
    ])?;
    let texts = |name| element.all(name).map(|element| element.text().trim().to_owned());
    let id = element.optional_text("ID")?.map(str::to_owned);
    let methods: Vec<_> = texts("AllowedMethod")
        .map(|name| method(&name))
        .collect::<S3Result<_>>()?;
    let rule = CorsRule {
        id: id.filter(|id| !id.is_empty()),
        origins: texts("AllowedOrigin").collect(),
        methods,
        headers: texts("AllowedHeader").collect(),
        exposed: texts("ExposeHeader").collect(),
        max_age_secs: match element.optional_text("MaxAgeSeconds")? {
            Some(seconds) => Some(seconds.trim().parse().map_err(|_| malformed())?),
            None => None,
        },
    };
    let too_long = rule
        .id
        .as_ref()
        .is_some_and(|id| id.chars().count() > ID_CHARS_MAX);
    if too_long || rule.origins.is_empty() || rule.methods.is_empty() {
        return Err(malformed());
    }
    check_patterns("AllowedOrigin", &rule.origins)?;
    check_patterns("AllowedHeader", &rule.headers)?;
    for name in &rule.exposed {
        check_exposed(name)?;
    }
    Ok(rule)
}

fn method(name: &str) -> S3Result<CorsMethod> {
    CorsMethod::from_name(name).ok_or_else(|| {
        S3Error::invalid_request(format!(
            "Found unsupported HTTP method in CORS config. Unsupported method is {name}"
        ))
    })
}

fn check_patterns(kind: &str, patterns: &[String]) -> S3Result<()> {
    for pattern in patterns {
        if pattern.matches('*').count() > 1 {
            return Err(S3Error::invalid_request(format!(
                "{kind} \"{pattern}\" can not have more than one wildcard."
            )));
        }
        if pattern.is_empty() || pattern.chars().any(char::is_control) {
            return Err(malformed());
        }
    }
    Ok(())
}

fn check_exposed(name: &str) -> S3Result<()> {
    if name.contains('*') {
        return Err(S3Error::invalid_request(format!(
            "ExposeHeader \"{name}\" contains wildcard. We currently do not support wildcard for ExposeHeader."
        )));
    }
    HeaderName::try_from(name).map(drop).map_err(|_| {
        S3Error::invalid_request(format!("ExposeHeader \"{name}\" is not the name of a header."))
    })
}

/// Writes the document GetBucketCors answers with.
pub(super) fn write(xml: &mut XmlWriter, rules: &[CorsRule]) {
    xml.root("CORSConfiguration", |xml| {
        for rule in rules {
            xml.element("CORSRule", |xml| {
                xml.text_if("ID", rule.id.as_deref());
                for method in &rule.methods {
                    xml.text("AllowedMethod", method.name());
                }
                for (name, texts) in [
                    ("AllowedOrigin", &rule.origins),
                    ("AllowedHeader", &rule.headers),
                    ("ExposeHeader", &rule.exposed),
                ] {
                    for text in texts {
                        xml.text(name, text);
                    }
                }
                if let Some(seconds) = rule.max_age_secs {
                    xml.number("MaxAgeSeconds", seconds.into());
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::S3Code;

    const RULE: &str = "<AllowedOrigin>https://*.a.example</AllowedOrigin><AllowedMethod>GET</AllowedMethod>";

    fn configuration(rules: &str) -> S3Result<Vec<CorsRule>> {
        read(format!("<CORSConfiguration>{rules}</CORSConfiguration>").as_bytes())
    }

    #[test]
    fn rules_read_back_as_they_were_put() {
        let rules = configuration(&format!(
            "<CORSRule><ID>a &amp; b</ID>{RULE}<AllowedMethod>HEAD</AllowedMethod><AllowedHeader>x-*</AllowedHeader>\
             <ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>0</MaxAgeSeconds></CORSRule><CORSRule>{RULE}</CORSRule>"
        ))
        .unwrap();
        assert_eq!(rules[0].methods, [CorsMethod::Get, CorsMethod::Head]);
        assert_eq!((rules[0].max_age_secs, rules[1].max_age_secs), (Some(0), None));
        let mut xml = XmlWriter::document();
        write(&mut xml, &rules);
        assert_eq!(read(&xml.finish()).unwrap(), rules);
    }

    #[test]
    fn a_rule_that_would_not_be_honoured_is_refused() {
        let with =
            |more: &str| configuration(&format!("<CORSRule>{RULE}{more}</CORSRule>")).map_err(|e| e.code());
        assert!(with("").is_ok());
        for (more, code) in [
            ("<AllowedMethod>PATCH</AllowedMethod>", S3Code::InvalidRequest),
            ("<AllowedMethod>get</AllowedMethod>", S3Code::InvalidRequest),
            ("<AllowedOrigin>*.*</AllowedOrigin>", S3Code::InvalidRequest),
            ("<AllowedHeader>x-*-*</AllowedHeader>", S3Code::InvalidRequest),
            ("<ExposeHeader>*</ExposeHeader>", S3Code::InvalidRequest),
            (
                "<ExposeHeader>a&#13;&#10;b</ExposeHeader>",
                S3Code::InvalidRequest,
            ),
            ("<MaxAgeSeconds>-1</MaxAgeSeconds>", S3Code::MalformedXML),
            ("<AllowedOrigin/>", S3Code::MalformedXML),
            (
                "<AllowPrivateNetwork>true</AllowPrivateNetwork>",
                S3Code::MalformedXML,
            ),
        ] {
            assert_eq!(with(more), Err(code), "{more}");
        }
        let of = |rules: &str| configuration(rules).map_err(|error| error.code());
        for rules in [
            "",
            "<CORSRule><AllowedMethod>GET</AllowedMethod></CORSRule>",
            "<CORSRule><AllowedOrigin>*</AllowedOrigin></CORSRule>",
            "<Rule/>",
        ] {
            assert_eq!(of(rules), Err(S3Code::MalformedXML), "{rules}");
        }
        let rule = format!("<CORSRule>{RULE}</CORSRule>");
        assert!(of(&rule.repeat(100)).is_ok());
        assert_eq!(of(&rule.repeat(101)), Err(S3Code::MalformedXML));
    }
}
