//! The page of one object: a preview, download, a link for others, its versions, and the end of it.

use futures_util::StreamExt;
use maud::{Markup, html};

use super::layout::Tab;
use super::objects::{crumbs, folder_of};
use super::pieces::{careful, form, moment, size};
use super::{Page, path_with};
use crate::api::{ListObjects, ListVersions, ListedVersion, ObjectAt, ObjectInfo, Versioning};
use crate::desk::Desk;
use crate::page::{Form, Visitor};
use crate::{Node, NodeError, Problem};

/// The largest picture that is shown: what a camera makes, and a browser can hold.
const PICTURE_BYTES_MAX: u64 = 64 << 20;

/// How much of a text is shown.
const TEXT_BYTES_MAX: u64 = 64 << 10;

/// Versions that are shown.
const VERSIONS_MAX: u32 = 200;

/// The address of an object's page.
pub(super) fn address(bucket: &str, key: &str, version: Option<&str>) -> String {
    at(&["buckets", bucket, "object"], key, version)
}

fn at(path: &[&str], key: &str, version: Option<&str>) -> String {
    match version {
        None => path_with(path, &[("key", key)]),
        Some(version) => path_with(path, &[("key", key), ("version", version)]),
    }
}

/// The page of an object, or of one that was deleted and has versions that can be brought back.
pub(super) async fn page<N: Node>(
    desk: &Desk<N>,
    visitor: &Visitor,
    name: &str,
    query: &Form,
) -> Result<Page, Problem> {
    let info = desk.node.bucket(name).await?;
    let bucket = info.bucket.name.as_str();
    let key = query.exact("key").unwrap_or_default();
    let asked = ObjectAt {
        key: key.to_owned(),
        version: query.exact("version").map(str::to_owned),
    };
    let versions = match info.versioning {
        Versioning::Off => Vec::new(),
        Versioning::On | Versioning::Suspended => versions_of(desk, bucket, key).await?,
    };
    let (title, shown) = match desk.node.object(bucket, &asked).await {
        Ok(object) => (
            object.file_name().to_owned(),
            here(desk, visitor, bucket, &asked, &object, info.versioning).await?,
        ),
        Err(NodeError::NoSuchObject(_)) if !versions.is_empty() => {
            (key.to_owned(), html! { p.lead { span.state.bad { "deleted" } } })
        }
        Err(other) => return Err(other.into()),
    };
    Ok(Page {
        tab: Tab::Buckets,
        title: title.clone(),
        main: html! {
            (crumbs(bucket, folder_of(key)))
            h1.name { (title) }
            (shown)
            (history(visitor, bucket, key, info.versioning, &versions))
        },
    })
}

async fn versions_of<N: Node>(
    desk: &Desk<N>,
    bucket: &str,
    key: &str,
) -> Result<Vec<ListedVersion>, Problem> {
    let list = ListVersions {
        of: ListObjects {
            prefix: key.to_owned(),
            max: VERSIONS_MAX,
            ..ListObjects::default()
        },
        after_version: None,
    };
    let mut versions = desk.node.list_versions(bucket, list).await?.versions;
    versions.retain(|version| version.key == key);
    Ok(versions)
}

/// What there is to see of an object and to do with it.
async fn here<N: Node>(
    desk: &Desk<N>,
    visitor: &Visitor,
    bucket: &str,
    asked: &ObjectAt,
    object: &ObjectInfo,
    versioning: Versioning,
) -> Result<Markup, Problem> {
    let version = asked.version.as_deref();
    let content = at(
        &["api", "v1", "buckets", bucket, "objects", "content"],
        &asked.key,
        version,
    );
    let act = |what: &str| at(&["buckets", bucket, "objects", what], &asked.key, version);
    let (says, question) = end_of(object, asked, versioning);
    Ok(html! {
        p.lead {
            (size(object.size)) " · stored " (moment(&object.modified))
            @if let Some(media) = &object.media { " · " (media) }
            @if !object.latest { " · " span.state.look { "an earlier version" } }
            @if let Some(until) = &object.locked_until { " · locked until " (moment(until)) }
            @if object.held { " · kept by a legal hold" }
        }
        @if object.sealed_by_customer {
            p.empty { "This is sealed with a key that only its owner has: open it with the S3 program that stored it." }
        } @else {
            (preview(desk, bucket, asked, object, &content).await?)
            div.next {
                a.button.main href=(content) download=(object.file_name()) { "Download" }
            }
            section.card aria-labelledby="share" {
                h2 #share { "Share" }
                (form(visitor, &act("share"), html! {
                    div.row {
                        label for="seconds" { "A link for" }
                        select #seconds name="seconds" {
                            option value="3600" { "one hour" }
                            option value="86400" { "one day" }
                            option value="604800" selected { "seven days" }
                        }
                        button type="submit" { "Make a link" }
                    }
                    p.small { "Whoever has the link opens this one file, without an account, wherever this box is reached." }
                }))
            }
        }
        (careful(visitor, says, &question, &act("delete"), html! {}, "Delete"))
    })
}

/// What deleting is called, and what it means.
fn end_of(object: &ObjectInfo, asked: &ObjectAt, versioning: Versioning) -> (&'static str, String) {
    let name = object.file_name();
    match (&asked.version, versioning) {
        (Some(_), _) => (
            "Delete this version…",
            format!("Delete this version of {name} for good? It cannot be brought back."),
        ),
        (None, Versioning::On) => (
            "Delete…",
            format!("Delete {name}? It stays as an old version, and can be brought back."),
        ),
        (None, Versioning::Off | Versioning::Suspended) => (
            "Delete…",
            format!("Delete {name}? It cannot be brought back: this bucket keeps no versions."),
        ),
    }
}

/// A picture, the beginning of a text, or nothing.
async fn preview<N: Node>(
    desk: &Desk<N>,
    bucket: &str,
    asked: &ObjectAt,
    object: &ObjectInfo,
    content: &str,
) -> Result<Markup, Problem> {
    if object.picture().is_some() && object.size <= PICTURE_BYTES_MAX {
        return Ok(
            html! { figure.preview { img src=(content) alt={ "Preview of " (object.file_name()) }; } },
        );
    }
    if object.size == 0 || object.encoding.is_some() {
        return Ok(html! {});
    }
    let range = format!("bytes=0-{}", TEXT_BYTES_MAX - 1);
    let mut opened = desk.node.read_object(bucket, asked, Some(&range)).await?;
    let mut start = Vec::new();
    while let Some(piece) = opened.pieces.next().await {
        start.extend_from_slice(&piece.map_err(NodeError::Failed)?);
    }
    let is_cut = object.size > TEXT_BYTES_MAX;
    Ok(match text(&start, is_cut) {
        Some(text) => html! {
            figure.preview {
                pre tabindex="0" aria-label={ "Preview of " (object.file_name()) } { code { (text) } }
                @if is_cut { figcaption.small { "The first " (size(TEXT_BYTES_MAX)) " of it." } }
            }
        },
        None => html! {},
    })
}

/// The text that these bytes are, if they are one; where they are only a beginning, their last letter may be cut.
fn text(bytes: &[u8], is_cut: bool) -> Option<&str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if is_cut && error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let is_plain = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\r' | '\t');
    text.chars().all(is_plain).then_some(text)
}

/// The versions of an object.
fn history(
    visitor: &Visitor,
    bucket: &str,
    key: &str,
    versioning: Versioning,
    versions: &[ListedVersion],
) -> Markup {
    let restore = |version: &str| at(&["buckets", bucket, "objects", "restore"], key, Some(version));
    html! {
        h2 { "Versions" }
        @if versioning == Versioning::Off {
            p.small { "This bucket keeps no old versions: what is deleted or replaced is gone. "
                a href=(super::path(&["buckets", bucket])) { "Keep them from now on" } "." }
        } @else {
            table {
                thead { tr { th scope="col" { "Stored" } th.number scope="col" { "Size" } th scope="col" { "State" } td {} } }
                tbody {
                    @for one in versions { tr {
                        th scope="row" {
                            @if one.delete_marker { (moment(&one.modified)) } @else { a href=(address(bucket, key, Some(&one.version))) { (moment(&one.modified)) } }
                        }
                        td.number data-label="Size" { @if one.delete_marker { "–" } @else { (size(one.size)) } }
                        td data-label="State" {
                            @if one.delete_marker { span.state.bad { "deleted" } }
                            @else if one.latest { span.state.good { "newest" } }
                            @else { span.state { "earlier" } }
                        }
                        td { @if !one.latest && !one.delete_marker {
                            (form(visitor, &restore(&one.version), html! { button type="submit" { "Bring back" span.hidden { " the version of " (moment(&one.modified)) } } }))
                        } }
                    } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_told_from_other_bytes() {
        assert_eq!(text("é\n<b>".as_bytes(), false), Some("é\n<b>"));
        assert_eq!(text(b"\x89PNG\r\n", false), None);
        assert_eq!(text(b"a\0b", false), None);
    }

    #[test]
    fn a_letter_that_is_cut_is_left_away_only_where_more_follows() {
        let cut = &"aé".as_bytes()[..2];
        assert_eq!(text(cut, true), Some("a"));
        assert_eq!(text(cut, false), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_text_or_not(bytes: Vec<u8>, is_cut: bool) {
            let _ = text(&bytes, is_cut);
        }
    }
}
