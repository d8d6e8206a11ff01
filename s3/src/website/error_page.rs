//! Writes errors for people, as AWS's website endpoints do.

use crate::error::S3Error;
use crate::gateway::HOST_ID;

/// A page that says what went wrong. Whatever a client sent is shown as text.
pub(super) fn error_page(error: &S3Error, request_id: &str) -> String {
    let status = error.status();
    let reason = status.canonical_reason().unwrap_or("Error");
    let title = format!("{} {reason}", status.as_u16());
    let mut items = vec![("Code", error.code().as_str()), ("Message", error.message())];
    items.extend(error.fields().iter().map(|(name, value)| (*name, value.as_str())));
    items.extend([("RequestId", request_id), ("HostId", HOST_ID)]);
    let list: String = items
        .into_iter()
        .map(|(name, value)| format!("<li>{name}: {}</li>\n", escaped(value)))
        .collect();
    format!(
        "<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<ul>\n{list}</ul>\n<hr/>\n</body>\n</html>\n"
    )
}

fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::S3Code;

    #[test]
    fn what_a_client_sent_is_shown_as_text() {
        let error = S3Error::new(S3Code::NoSuchKey).field("Key", "<script>\"'&");
        let page = error_page(&error, "00000000000000AB");
        for part in [
            "<h1>404 Not Found</h1>",
            "<li>Code: NoSuchKey</li>",
            "<li>Key: &lt;script&gt;&quot;&#39;&amp;</li>",
            "<li>RequestId: 00000000000000AB</li>",
        ] {
            assert!(page.contains(part), "{page}");
        }
    }
}
