//! The pages of buckets: create, bound, open to everybody, delete.

use maud::{Markup, html};

use super::layout::Tab;
use super::pieces::{bar, careful, counted, form, moment, size};
use super::{Outcome, Page, objects, path, unknown};
use crate::api::{
    BucketInfo, BucketLock, CreateBucket, DefaultRetention, Public, Quota, RetentionMode, Schema, Versioning,
    WebsiteShown,
};
use crate::desk::Desk;
use crate::page::{Form, Note, Visitor};
use crate::{ByteSize, Node, NodeError, Problem};

pub(super) async fn page<N: Node>(desk: &Desk<N>, visitor: &Visitor) -> Page {
    let (buckets, keys) = (desk.node.buckets(), desk.node.keys());
    let owners: Vec<_> = keys.iter().filter(|key| key.create_buckets).collect();
    let name_of = |id: &str| {
        keys.iter()
            .find(|key| key.id == id)
            .map_or(id.to_owned(), |key| key.name.clone())
    };
    Page {
        tab: Tab::Buckets,
        title: "Buckets".into(),
        main: html! {
            h1 { "Buckets" }
            p.lead { "Each holds the objects of one purpose: photos, backups, a website." }
            section.card aria-labelledby="make" {
                h2 #make { "Create a bucket" }
                (form(visitor, "/buckets", html! {
                    div.fields {
                        div {
                            label for="name" { "Name" }
                            input #name name="name" required minlength="3" maxlength="63" pattern="[a-z0-9][a-z0-9.\\-]+[a-z0-9]"
                                placeholder="photos" autocapitalize="none" aria-describedby="name-hint";
                        }
                        @if owners.len() > 1 {
                            div {
                                label for="owner" { "Owned by key" }
                                select #owner name="owner" { @for key in &owners { option value=(key.id) { (key.name) } } }
                            }
                        }
                        button.main type="submit" { "Create" }
                    }
                    p.small #name-hint { "3 to 63 small letters, digits, dots and dashes." }
                }))
            }
            @if buckets.is_empty() { p.empty { "No buckets yet." } } @else {
                table {
                    thead { tr { th scope="col" { "Bucket" } th scope="col" { "Owned by" } th scope="col" { "Created" } th scope="col" { "Without a key" } } }
                    tbody {
                        @for bucket in &buckets {
                            tr {
                                th scope="row" { a href=(path(&["buckets", &bucket.name])) { (bucket.name) } }
                                td data-label="Owned by" { (name_of(&bucket.owner)) }
                                td data-label="Created" { (moment(&bucket.created)) }
                                td data-label="Without a key" { (open_to(bucket.public)) }
                            }
                        }
                    }
                }
            }
        },
    }
}

fn open_to(public: Public) -> Markup {
    match public {
        Public::No => html! { span.state { "closed" } },
        Public::Read => html! { span.state.look { "anyone reads" } },
        Public::ReadWrite => html! { span.state.bad { "anyone writes" } },
    }
}

pub(super) async fn one<N: Node>(desk: &Desk<N>, visitor: &Visitor, name: &str) -> Result<Page, Problem> {
    let info = desk.node.bucket(name).await?;
    let bucket = &info.bucket;
    Ok(Page {
        tab: Tab::Buckets,
        title: bucket.name.clone(),
        main: html! {
            p.crumb { a href="/buckets" { "Buckets" } }
            h1 { (bucket.name) }
            p.lead { (open_to(bucket.public)) " · created " (moment(&bucket.created)) @if info.policy { " · a bucket policy may allow or deny more" } }
            p.next {
                a.button.main href=(objects::folder(&bucket.name, "")) { "Browse and upload" }
                a.button href={ "/connect?bucket=" (bucket.name) } { "Connect an app" }
            }
            div.cards.two {
                (held(&info, visitor))
                (openness(&info, visitor))
                (versions(&info, visitor))
            }
            h2 { "Who may use it" }
            @if info.keys.is_empty() { p.empty { "No access key may use it." } } @else {
                table {
                    thead { tr { th scope="col" { "Key" } th scope="col" { "May" } } }
                    tbody { @for key in &info.keys { tr {
                        th scope="row" { a href=(path(&["keys", &key.id])) { (key.name) } }
                        td data-label="May" { (super::keys::may(key.grants)) }
                    } } }
                }
            }
            @if !info.aliases.is_empty() {
                p.small { "Also called " (info.aliases.iter().map(|alias| alias.name.as_str()).collect::<Vec<_>>().join(", ")) "." }
            }
            (careful(
                visitor,
                "Delete this bucket…",
                &format!("Delete {}? Only an empty bucket can be deleted, and another may take its name then.", bucket.name),
                &path(&["buckets", &bucket.name, "delete"]),
                html! {},
                &format!("Delete {}", bucket.name),
            ))
        },
    })
}

fn held(info: &BucketInfo, visitor: &Visitor) -> Markup {
    let quota = info.quota;
    let size_now = quota
        .max_bytes
        .map(|bytes| size(bytes).replace(' ', ""))
        .unwrap_or_default();
    html! {
        section.card aria-labelledby="holds" {
            h2 #holds { "Holds" }
            @match &info.holds {
                Some(held) => {
                    p.large { (size(held.bytes)) }
                    p.small { (counted(held.objects, "object")) @if let Some(most) = quota.max_objects { " of " (most) } }
                    @if let Some(most) = quota.max_bytes { (bar(held.bytes, most, &format!("{} of {}", size(held.bytes), size(most)))) }
                }
                None => { p { "Too few boxes answer to count that." } }
            }
            (form(visitor, &path(&["buckets", &info.bucket.name, "quota"]), html! {
                div.fields {
                    div { label for="max-size" { "At most" } input #max-size name="size" value=(size_now) placeholder="100G"; }
                    div { label for="max-objects" { "Objects at most" }
                        input #max-objects name="objects" inputmode="numeric" value=[quota.max_objects] placeholder="any number"; }
                    button type="submit" { "Set bounds" }
                }
                p.small { "An empty field means no bound." }
            }))
        }
    }
}

fn openness(info: &BucketInfo, visitor: &Visitor) -> Markup {
    let to = |what: &str| path(&["buckets", &info.bucket.name, what]);
    html! {
        section.card aria-labelledby="open" {
            h2 #open { "Without a key" }
            @match &info.website {
                Some(WebsiteShown::Pages { index, .. }) => { p { "It is a website: folders show " code { (index) } "." } }
                Some(WebsiteShown::Elsewhere { host }) => { p { "It is a website that sends everybody to " (host) "." } }
                None => {}
            }
            @if info.bucket.public == Public::No {
                p { "Nobody without an access key reads it." }
                (careful(visitor, "Let anyone read…", "Anyone who reaches this box may then list and read everything in it.", &to("public"), html! {}, "Let anyone read"))
            } @else {
                p { "Anyone who reaches this box may list and read everything in it." }
                (form(visitor, &to("private"), html! { button.main type="submit" { "Close it" } }))
            }
        }
    }
}

/// What a lock means, for a person.
fn locked(lock: &BucketLock) -> String {
    match lock.retention {
        None => "It has an object lock: what is put with a retention stays until then.".into(),
        Some(DefaultRetention { mode, days }) => {
            let who = match mode {
                RetentionMode::Governance => "only keys that may bypass governance delete it before",
                RetentionMode::Compliance => "nobody deletes it before",
            };
            format!("It has an object lock: what is put stays for {days} days, and {who}.")
        }
    }
}

fn versions(info: &BucketInfo, visitor: &Visitor) -> Markup {
    let to = |what: &str| path(&["buckets", &info.bucket.name, what]);
    html! {
        section.card aria-labelledby="versions" {
            h2 #versions { "Old versions" }
            @if info.versioning == Versioning::On {
                p { "What is deleted or replaced is kept, and can be brought back." }
                p.small { "Old versions count to what the bucket holds." }
                @if info.lock.is_none() { (careful(visitor, "Keep no more…", "What is kept stays. What is deleted or replaced from now on is gone.", &to("forget"), html! {}, "Keep no more")) }
                @if let Some(lock) = &info.lock { p { (locked(lock)) } }
            } @else {
                p { "What is deleted or replaced is gone." @if info.versioning == Versioning::Suspended { " Earlier versions are still there." } }
                (form(visitor, &to("keep"), html! { button type="submit" { "Keep versions from now on" } }))
            }
        }
    }
}

/// Does what a form asks of buckets.
pub(super) async fn act<N: Node>(desk: &Desk<N>, parts: &[&str], form: &Form) -> Outcome {
    let node = &desk.node;
    match parts {
        [] => {
            let owner = form.get("owner");
            let request = CreateBucket {
                schema: Schema,
                name: form.get("name").to_owned(),
                owner: (!owner.is_empty()).then(|| owner.to_owned()),
            };
            let made = node.create_bucket(request).await?;
            let name = made.bucket.name;
            Ok((
                path(&["buckets", &name]),
                Note::Done(format!("The bucket {name} is created.")),
            ))
        }
        [name, "quota"] => {
            node.set_bucket_quota(name, quota(form)?).await?;
            Ok((path(&["buckets", name]), Note::Done("The bounds are set.".into())))
        }
        [name, what @ ("public" | "private")] => {
            node.set_public(name, *what == "public").await?;
            let note = match *what {
                "public" => "Anyone may read it now.",
                _ => "It is closed: only access keys open it.",
            };
            Ok((path(&["buckets", name]), Note::Done(note.into())))
        }
        [name, what @ ("keep" | "forget")] => {
            node.set_versioning(name, *what == "keep").await?;
            let note = match *what {
                "keep" => "What is deleted or replaced from now on can be brought back.",
                _ => "What is deleted or replaced from now on is gone.",
            };
            Ok((path(&["buckets", name]), Note::Done(note.into())))
        }
        [name, "delete"] => {
            node.delete_bucket(name).await?;
            Ok((
                "/buckets".into(),
                Note::Done(format!("The bucket {name} is deleted.")),
            ))
        }
        _ => Err(unknown()),
    }
}

/// The bounds that a form says.
pub(super) fn quota(form: &Form) -> Result<Quota, Problem> {
    let (size, objects) = (form.get("size"), form.get("objects"));
    let max_bytes = (!size.is_empty()).then(|| size.parse::<ByteSize>()).transpose();
    let max_objects = (!objects.is_empty()).then(|| objects.parse::<u64>()).transpose();
    Ok(Quota {
        max_bytes: max_bytes
            .map_err(|error| NodeError::Invalid(error.to_string()))?
            .map(|size| size.0),
        max_objects: max_objects
            .map_err(|_| NodeError::Invalid(format!("{objects:?} is not a number of objects")))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_as_people_write_them_and_nothing_is_no_bound() {
        let both = quota(&Form::parse(b"size=100G&objects=5")).unwrap();
        assert_eq!(
            (both.max_bytes, both.max_objects),
            (Some(100_000_000_000), Some(5))
        );
        assert_eq!(quota(&Form::parse(b"size=&objects=+")).unwrap(), Quota::default());
        assert!(quota(&Form::parse(b"size=much")).is_err() && quota(&Form::parse(b"objects=-1")).is_err());
    }
}
