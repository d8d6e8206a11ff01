//! The pages of access keys: create with a secret that is shown once, allow, deny, delete.

use maud::{Markup, html};

use super::layout::Tab;
use super::pieces::{careful, form, moment};
use super::{Outcome, Page, path, unknown};
use crate::api::{Change, ChangeKey, CreateKey, Grants, Key, KeyBucket, Schema};
use crate::desk::Desk;
use crate::page::{Form, Note, Visitor};
use crate::{Node, NodeError, Problem};

pub(super) fn page<N: Node>(desk: &Desk<N>, visitor: &Visitor) -> Page {
    let (keys, buckets) = (desk.node.keys(), desk.node.buckets());
    Page {
        tab: Tab::Keys,
        title: "Keys".into(),
        main: html! {
            h1 { "Access keys" }
            p.lead { "Each app and device gets its own key, so that it can be locked out alone." }
            section.card aria-labelledby="make" {
                h2 #make { "Create a key" }
                (form(visitor, "/keys", html! {
                    div.fields {
                        div { label for="name" { "Name" } input #name name="name" required maxlength="64" placeholder="laptop"; }
                        @if !buckets.is_empty() {
                            div { label for="bucket" { "Reads and writes" }
                                select #bucket name="bucket" {
                                    option value="" { "no bucket yet" }
                                    @for bucket in &buckets { option value=(bucket.name) { (bucket.name) } }
                                } }
                        }
                        button.main type="submit" { "Create" }
                    }
                    label.tick for="create-buckets" { input #create-buckets type="checkbox" name="create_buckets"; " It may create buckets" }
                }))
            }
            @if keys.is_empty() { p.empty { "No keys yet." } } @else {
                table {
                    thead { tr { th scope="col" { "Key" } th scope="col" { "Id" } th scope="col" { "Created" } th scope="col" { "May use" } } }
                    tbody {
                        @for key in &keys {
                            tr {
                                th scope="row" { a href=(path(&["keys", &key.id])) { (key.name) } }
                                td data-label="Id" { code { (key.id) } }
                                td data-label="Created" { (moment(&key.created)) }
                                td data-label="May use" { (summary(key)) }
                            }
                        }
                    }
                }
            }
        },
    }
}

/// What a key may do, in a few words.
fn summary(key: &Key) -> String {
    let buckets = match key.buckets.as_slice() {
        [] => None,
        [one] => Some(one.bucket.clone()),
        [one, two] => Some(format!("{}, {}", one.bucket, two.bucket)),
        more => Some(format!("{} buckets", more.len())),
    };
    let create = key.create_buckets.then(|| "create buckets".to_owned());
    let all: Vec<String> = buckets.into_iter().chain(create).collect();
    if all.is_empty() {
        "nothing yet".into()
    } else {
        all.join(", ")
    }
}

/// What grants allow, in words.
pub(super) fn may(grants: Grants) -> String {
    let words = [
        (grants.read, "read"),
        (grants.write, "write"),
        (grants.owner, "change its settings"),
    ];
    let words: Vec<&str> = words
        .into_iter()
        .filter_map(|(may, word)| may.then_some(word))
        .collect();
    words.join(", ")
}

pub(super) fn one<N: Node>(desk: &Desk<N>, visitor: &Visitor, id: &str) -> Result<Page, Problem> {
    let key = desk.node.key(id)?;
    let to = |what: &str| path(&["keys", &key.id, what]);
    let free: Vec<_> = desk.node.buckets();
    Ok(Page {
        tab: Tab::Keys,
        title: key.name.clone(),
        main: html! {
            p.crumb { a href="/keys" { "Keys" } }
            h1 { (key.name) }
            p.lead { code { (key.id) } " · created " (moment(&key.created)) }
            h2 { "What it may use" }
            @if key.buckets.is_empty() { p.empty { "No bucket yet." } } @else {
                table {
                    thead { tr { th scope="col" { "Bucket" } th scope="col" { "May" } th scope="col" { span.hidden { "Take away" } } } }
                    tbody { @for on in &key.buckets { tr {
                        th scope="row" { a href=(path(&["buckets", &on.bucket])) { (on.bucket) } }
                        td data-label="May" { (may(on.grants)) }
                        td.number { (deny(visitor, &to("deny"), on)) }
                    } } }
                }
            }
            div.cards.two {
                @if !free.is_empty() { (allow(visitor, &to("allow"), &free.iter().map(|bucket| bucket.name.as_str()).collect::<Vec<_>>())) }
                section.card aria-labelledby="buckets" {
                    h2 #buckets { "New buckets" }
                    @if key.create_buckets {
                        p { "It may create buckets." }
                        (form(visitor, &to("deny"), html! { input type="hidden" name="create_buckets" value="on"; button type="submit" { "Not any more" } }))
                    } @else {
                        p { "It may not create buckets." }
                        (form(visitor, &to("allow"), html! { input type="hidden" name="create_buckets" value="on"; button type="submit" { "Let it" } }))
                    }
                }
            }
            p { a.button.main href={ "/connect?key=" (key.id) } { "Connect an app" } }
            (careful(
                visitor,
                "Delete this key…",
                &format!("Delete {}? Whoever uses it is locked out at once. Its buckets and objects stay.", key.name),
                &to("delete"),
                html! {},
                &format!("Delete {}", key.name),
            ))
        },
    })
}

fn deny(visitor: &Visitor, action: &str, on: &KeyBucket) -> Markup {
    form(
        visitor,
        action,
        html! {
            input type="hidden" name="bucket" value=(on.bucket);
            @for right in ["read", "write", "owner"] { input type="hidden" name=(right) value="on"; }
            button type="submit" aria-label={ "Take " (on.bucket) " away" } { "Take away" }
        },
    )
}

fn allow(visitor: &Visitor, action: &str, buckets: &[&str]) -> Markup {
    html! {
        section.card aria-labelledby="allow" {
            h2 #allow { "Let it use a bucket" }
            (form(visitor, action, html! {
                label for="bucket" { "Bucket" }
                select #bucket name="bucket" { @for name in buckets { option value=(name) { (name) } } }
                fieldset {
                    legend { "It may" }
                    label.tick for="read" { input #read type="checkbox" name="read" checked; " read" }
                    label.tick for="write" { input #write type="checkbox" name="write" checked; " write and delete" }
                    label.tick for="owner" { input #owner type="checkbox" name="owner"; " change its settings" }
                }
                button.main type="submit" { "Allow" }
            }))
        }
    }
}

/// Does what a form asks of access keys.
pub(super) async fn act<N: Node>(desk: &Desk<N>, parts: &[&str], form: &Form) -> Outcome {
    let node = &desk.node;
    match parts {
        [] => create(desk, form).await,
        [id, what @ ("allow" | "deny")] => {
            let (change, note) = match *what {
                "allow" => (Change::Allow, "Allowed."),
                _ => (Change::Deny, "Taken away."),
            };
            node.change_key(id, change, change_of(form)?).await?;
            Ok((path(&["keys", id]), Note::Done(note.into())))
        }
        [id, "delete"] => {
            let key = node.key(id)?;
            node.delete_key(id).await?;
            Ok((
                "/keys".into(),
                Note::Done(format!("The key {} is deleted.", key.name)),
            ))
        }
        _ => Err(unknown()),
    }
}

async fn create<N: Node>(desk: &Desk<N>, form: &Form) -> Outcome {
    let request = CreateKey {
        schema: Schema,
        name: form.get("name").to_owned(),
        create_buckets: form.has("create_buckets"),
        import: None,
    };
    let mut made = desk.node.create_key(request).await?;
    let bucket = form.get("bucket");
    if !bucket.is_empty() {
        let grants = Grants {
            read: true,
            write: true,
            owner: false,
        };
        let on = KeyBucket {
            bucket: bucket.to_owned(),
            grants,
        };
        let change = ChangeKey {
            schema: Schema,
            on: Some(on),
            create_buckets: false,
        };
        // The secret is shown whatever comes of this: the key is there, and what it may do is seen below.
        if let Ok(key) = desk.node.change_key(&made.key.id, Change::Allow, change).await {
            made.key = key;
        }
    }
    Ok(("/keys".into(), Note::Key(Box::new(made))))
}

/// What a form gives or takes.
fn change_of(form: &Form) -> Result<ChangeKey, Problem> {
    let grants = Grants {
        read: form.has("read"),
        write: form.has("write"),
        owner: form.has("owner"),
    };
    let bucket = form.get("bucket");
    if !bucket.is_empty() && grants == Grants::default() {
        return Err(NodeError::Invalid("tick what it may do: read, write, or change settings".into()).into());
    }
    let on = (!bucket.is_empty()).then(|| KeyBucket {
        bucket: bucket.to_owned(),
        grants,
    });
    Ok(ChangeKey {
        schema: Schema,
        on,
        create_buckets: form.has("create_buckets"),
    })
}
