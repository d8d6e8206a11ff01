//! The pages of a bucket's folders: what is in them, what was deleted there, search, and upload.

use maud::{Markup, html};

use super::layout::Tab;
use super::pieces::{counted, form, moment, size};
use super::{Outcome, Page, object, path, path_with, unknown};
use crate::api::{
    BucketInfo, ListObjects, ListVersions, ListedObject, ListedUpload, ListedVersion, ObjectAt,
    RestoreObject, Schema, ShareObject, UploadAt, Versioning,
};
use crate::desk::Desk;
use crate::page::{Assets, Carrier, Form, Note, Visitor};
use crate::{Node, NodeError, Problem};

/// Entries of a page.
const PAGE: u32 = 200;

/// What ends a folder's name.
const SLASH: &str = "/";

/// What of a folder is shown.
enum View<'a> {
    /// What is in it.
    Folder,
    /// All below it whose names go on so.
    Found(&'a str),
    /// What was deleted in it.
    Deleted,
}

/// The address of a folder of a bucket.
pub(super) fn folder(bucket: &str, prefix: &str) -> String {
    let parts = ["buckets", bucket, "objects"];
    match prefix {
        "" => path(&parts),
        prefix => path_with(&parts, &[("prefix", prefix)]),
    }
}

/// A page of a folder.
pub(super) async fn page<N: Node>(
    desk: &Desk<N>,
    assets: &Assets,
    visitor: &Visitor,
    name: &str,
    query: &Form,
) -> Result<Page, Problem> {
    let info = desk.node.bucket(name).await?;
    let bucket = info.bucket.name.as_str();
    let prefix = query.exact("prefix").unwrap_or_default();
    let view = match query.exact("find") {
        Some(find) if !find.is_empty() => View::Found(find),
        _ if query.has("deleted") => View::Deleted,
        _ => View::Folder,
    };
    let list = match &view {
        View::Deleted => deleted(desk, visitor, bucket, prefix, query).await?,
        View::Folder => listed(desk, bucket, prefix, "", query).await?,
        View::Found(find) => listed(desk, bucket, prefix, find, query).await?,
    };
    let open = match view {
        View::Folder => desk.node.uploads(bucket, prefix).await?.uploads,
        View::Found(_) | View::Deleted => Vec::new(),
    };
    let title = prefix.trim_end_matches(SLASH).rsplit(SLASH).next();
    let title = title.filter(|folder| !folder.is_empty()).unwrap_or(bucket);
    Ok(Page {
        tab: Tab::Buckets,
        title: title.to_owned(),
        main: html! {
            (crumbs(bucket, prefix))
            h1 { (title) }
            @if matches!(view, View::Folder) { (upload(visitor, assets, bucket, prefix)) (unfinished(visitor, bucket, prefix, &open)) }
            (tools(&info, prefix, &view))
            (list)
        },
    })
}

/// The way to a folder.
pub(super) fn crumbs(bucket: &str, prefix: &str) -> Markup {
    let folders = prefix.match_indices(SLASH).map(|(at, _)| &prefix[..=at]);
    let folders: Vec<&str> = folders.collect();
    let name = |folder: &str| {
        let name = folder
            .trim_end_matches(SLASH)
            .rsplit(SLASH)
            .next()
            .unwrap_or_default();
        if name.is_empty() {
            SLASH.to_owned()
        } else {
            name.to_owned()
        }
    };
    html! {
        nav.crumb aria-label="Folders" {
            a href="/buckets" { "Buckets" } " / "
            a href=(path(&["buckets", bucket])) { (bucket) } " / "
            a href=(folder(bucket, "")) { "files" }
            @for one in folders { " / " a href=(folder(bucket, one)) { (name(one)) } }
        }
    }
}

fn upload(visitor: &Visitor, assets: &Assets, bucket: &str, prefix: &str) -> Markup {
    let to = path_with(&["buckets", bucket, "upload"], &[("prefix", prefix)]);
    html! {
        section.card aria-labelledby="upload" {
            h2 #upload { "Upload" }
            form.drop method="post" enctype="multipart/form-data" action=(to)
                data-upload=(path(&["api", "v1", "buckets", bucket])) data-prefix=(prefix) data-token=(visitor.form_token) {
                input type="hidden" name="token" value=(visitor.form_token);
                div.row {
                    label.hidden for="file" { "Files" }
                    input #file type="file" name="file" multiple required;
                    button.main type="submit" { "Upload" }
                }
                p.small { "A file replaces one of the same name. Drop files here, or choose them." }
            }
            ul.uploads #uploads aria-live="polite" {}
            script src=(assets.upload()) defer {}
        }
    }
}

fn unfinished(visitor: &Visitor, bucket: &str, prefix: &str, open: &[ListedUpload]) -> Markup {
    let to = |one: &ListedUpload| {
        path_with(
            &["buckets", bucket, "objects", "abort"],
            &[("key", &one.key), ("upload", &one.upload), ("prefix", prefix)],
        )
    };
    html! {
        @if !open.is_empty() {
            details.app {
                summary { strong { (counted(open.len() as u64, "unfinished upload")) } span.small { "Choose the same file again to go on" } }
                ul.lines { @for one in open { li {
                    span { (one.key) span.small { " begun " (moment(&one.started)) } }
                    (form(visitor, &to(one), html! { button type="submit" aria-label={ "Give up " (one.key) } { "Give up" } }))
                } } }
            }
        }
    }
}

/// Search, and the way to what was deleted.
fn tools(info: &BucketInfo, prefix: &str, view: &View<'_>) -> Markup {
    let bucket = info.bucket.name.as_str();
    let find = match view {
        View::Found(find) => *find,
        View::Folder | View::Deleted => "",
    };
    html! {
        div.tools {
            form.row method="get" action=(path(&["buckets", bucket, "objects"])) role="search" {
                @if !prefix.is_empty() { input type="hidden" name="prefix" value=(prefix); }
                label.hidden for="find" { "Names that begin with" }
                input #find name="find" type="search" value=(find) placeholder="Names that begin with…" autocapitalize="none";
                button type="submit" { "Find" }
            }
            @match view {
                View::Folder if info.versioning != Versioning::Off => {
                    a href=(path_with(&["buckets", bucket, "objects"], &[("prefix", prefix), ("deleted", "")])) { "What was deleted here" }
                }
                View::Folder => {}
                View::Found(_) | View::Deleted => { a href=(folder(bucket, prefix)) { "Back to the folder" } }
            }
        }
        @match view {
            View::Deleted => { p.lead { "Deleted here, and kept: bring back what you miss." } }
            View::Found(find) => { p.lead { "All names that begin with “" (prefix) (find) "”." } }
            View::Folder => {}
        }
    }
}

/// What is in a folder, or what is found below it.
async fn listed<N: Node>(
    desk: &Desk<N>,
    bucket: &str,
    prefix: &str,
    find: &str,
    query: &Form,
) -> Result<Markup, Problem> {
    let list = ListObjects {
        prefix: format!("{prefix}{find}"),
        delimiter: find.is_empty().then(|| SLASH.to_owned()),
        after: query.exact("after").map(str::to_owned),
        max: PAGE,
    };
    let page = desk.node.list_objects(bucket, list).await?;
    // A folder itself may be there as an object without content: people see the folder.
    let objects = page
        .objects
        .iter()
        .filter(|object| object.key != prefix || object.size > 0);
    let objects: Vec<&ListedObject> = objects.collect();
    let is_empty = objects.is_empty() && page.folders.is_empty();
    let more = page.next.as_deref().map(|next| {
        let mut fields = vec![("prefix", prefix), ("after", next)];
        if !find.is_empty() {
            fields.push(("find", find));
        }
        path_with(&["buckets", bucket, "objects"], &fields)
    });
    Ok(html! {
        @if is_empty { p.empty { @if find.is_empty() { "Nothing here yet." } @else { "Nothing is called so." } } } @else {
            table.files {
                thead { tr { th scope="col" { "Name" } th.number scope="col" { "Size" } th scope="col" { "Stored" } } }
                tbody {
                    @for one in &page.folders { tr {
                        th scope="row" { a.folder href=(folder(bucket, one)) { (short(one, prefix)) } }
                        td.number.none { "–" }
                        td.none { "–" }
                    } }
                    @for one in objects { tr {
                        th scope="row" { a.file href=(object::address(bucket, &one.key, None)) { (short(&one.key, prefix)) } }
                        td.number data-label="Size" { (size(one.size)) }
                        td data-label="Stored" { (moment(&one.modified)) }
                    } }
                }
            }
            @if let Some(more) = more { p { a.button href=(more) { "More" } } }
        }
    })
}

/// A name as it is seen inside a folder.
fn short<'a>(key: &'a str, prefix: &str) -> &'a str {
    key.strip_prefix(prefix)
        .filter(|name| !name.is_empty())
        .unwrap_or(key)
}

/// What was deleted in a folder, and is still there.
async fn deleted<N: Node>(
    desk: &Desk<N>,
    visitor: &Visitor,
    bucket: &str,
    prefix: &str,
    query: &Form,
) -> Result<Markup, Problem> {
    let list = ListVersions {
        of: ListObjects {
            prefix: prefix.to_owned(),
            delimiter: Some(SLASH.to_owned()),
            after: query.exact("after").map(str::to_owned),
            max: 1000,
        },
        after_version: query.exact("after_version").map(str::to_owned),
    };
    let page = desk.node.list_versions(bucket, list).await?;
    let gone = page
        .versions
        .iter()
        .filter(|version| version.latest && version.delete_marker);
    let gone: Vec<&ListedVersion> = gone.collect();
    let more = page.next.as_deref().map(|next| {
        let version = page.next_version.as_deref().unwrap_or_default();
        let fields = [
            ("prefix", prefix),
            ("deleted", ""),
            ("after", next),
            ("after_version", version),
        ];
        path_with(
            &["buckets", bucket, "objects"],
            &fields[..if version.is_empty() { 3 } else { 4 }],
        )
    });
    let restore = |key: &str| path_with(&["buckets", bucket, "objects", "restore"], &[("key", key)]);
    Ok(html! {
        @if gone.is_empty() && page.folders.is_empty() { p.empty { "Nothing was deleted here." } } @else {
            table.files {
                thead { tr { th scope="col" { "Name" } th scope="col" { "Deleted" } td {} } }
                tbody {
                    @for one in &page.folders { tr {
                        th scope="row" { a.folder href=(path_with(&["buckets", bucket, "objects"], &[("prefix", one), ("deleted", "")])) { (short(one, prefix)) } }
                        td.none { "–" } td.none {}
                    } }
                    @for one in gone { tr {
                        th scope="row" { a.file href=(object::address(bucket, &one.key, None)) { (short(&one.key, prefix)) } }
                        td data-label="Deleted" { (moment(&one.modified)) }
                        td { (form(visitor, &restore(&one.key), html! { button type="submit" aria-label={ "Bring back " (one.key) } { "Bring back" } })) }
                    } }
                }
            }
        }
        @if let Some(more) = more { p { a.button href=(more) { "More" } } }
    })
}

/// Does what a form asks of objects. Which, the query says: fields of forms change line breaks, which names may have.
pub(super) async fn act<N: Node>(
    desk: &Desk<N>,
    bucket: &str,
    what: &str,
    (query, form): (&Form, &Form),
    carrier: Carrier,
) -> Outcome {
    let node = &desk.node;
    let key = query.exact("key").unwrap_or_default().to_owned();
    let version = query.exact("version").filter(|version| !version.is_empty());
    let version = version.map(str::to_owned);
    match what {
        "delete" => {
            let for_good = version.is_some();
            let at = ObjectAt { key, version };
            node.delete_object(bucket, &at).await?;
            let ObjectAt { key, .. } = at;
            let kept = node.bucket(bucket).await?.versioning == Versioning::On && !for_good;
            let note = match (for_good, kept) {
                (true, _) => format!("That version of {key} is deleted for good."),
                (false, true) => format!("{key} is deleted, and can be brought back."),
                (false, false) => format!("{key} is deleted."),
            };
            let to = match for_good {
                true => object::address(bucket, &key, None),
                false => folder(bucket, folder_of(&key)),
            };
            Ok((to, Note::Done(note)))
        }
        "restore" => {
            let request = RestoreObject {
                schema: Schema,
                key,
                version,
            };
            let key = node.restore_object(bucket, request).await?.key;
            Ok((
                object::address(bucket, &key, None),
                Note::Done(format!("{key} is back.")),
            ))
        }
        "share" => {
            let seconds = form.get("seconds").parse();
            let request = ShareObject {
                schema: Schema,
                key,
                version,
                seconds: seconds.map_err(|_| NodeError::Invalid("that is no time".into()))?,
                https: carrier.is_ours(),
            };
            let to = object::address(bucket, &request.key, request.version.as_deref());
            let shared = node.share_object(bucket, request).await?;
            Ok((to, Note::Link(Box::new(shared))))
        }
        "abort" => {
            let upload = query.exact("upload").unwrap_or_default().to_owned();
            let at = UploadAt { key, upload };
            node.abort_upload(bucket, &at).await?;
            let to = folder(bucket, query.exact("prefix").unwrap_or_default());
            Ok((to, Note::Done(format!("The upload of {} is given up.", at.key))))
        }
        _ => Err(unknown()),
    }
}

/// The folder that an object is in.
pub(super) fn folder_of(key: &str) -> &str {
    let name = key.strip_suffix(SLASH).unwrap_or(key);
    name.rfind(SLASH).map_or("", |at| &key[..=at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_in_the_folder_before_its_last_slash() {
        assert_eq!(folder_of("a/b/c.jpg"), "a/b/");
        assert_eq!(folder_of("a/b/"), "a/");
        assert_eq!((folder_of("c.jpg"), folder_of("/c")), ("", "/"));
    }

    #[test]
    fn every_folder_on_the_way_is_a_link_whatever_it_is_called() {
        let shown = crumbs("photos", "a <b>/c/").into_string();
        assert!(shown.contains("href=\"/buckets/photos/objects?prefix=a%20%3Cb%3E%2F\">a &lt;b&gt;</a>"));
        assert!(shown.contains("prefix=a%20%3Cb%3E%2Fc%2F\">c</a>"));
    }

    #[test]
    fn names_are_short_inside_their_folder_and_never_empty() {
        assert_eq!(short("a/b.jpg", "a/"), "b.jpg");
        assert_eq!(short("a/", "a/"), "a/");
    }
}
