//! The page that tells how to connect an app: lines to paste, with the endpoint, a key and a bucket filled in.

use maud::{Markup, html};

use super::layout::Tab;
use super::pieces::{copyable, form};
use super::{Outcome, Page, path_with, trust};
use crate::Node;
use crate::desk::Desk;
use crate::page::{Carrier, Form, Note, Visitor};
use crate::routes::AUTHORITY_TEXT;

/// Clients must say some region; ours is none that they know from Amazon.
const REGION: &str = "warren";

/// Where a program finds what it has to trust, in lines that are run beside it; nothing where the endpoint is HTTP.
fn trusting(endpoint: &str, line: &str) -> String {
    match endpoint.starts_with("https://") {
        true => format!("{line}\n"),
        false => String::new(),
    }
}

/// Where a client connects, as whom, and to what.
struct To<'a> {
    endpoint: &'a str,
    key: &'a str,
    bucket: &'a str,
}

pub(super) async fn page<N: Node>(desk: &Desk<N>, visitor: &Visitor, query: &Form, carrier: Carrier) -> Page {
    let mut s3 = desk.node.facts().await.s3;
    let https = desk.https().s3;
    // Who came over our own HTTPS trusts it; a program needs the certificate as a file all the same.
    if carrier.is_ours() && !https.is_empty() {
        s3.clone_from(&https);
    }
    let (keys, buckets) = (desk.node.keys(), desk.node.buckets());
    // Only what exists is filled in, whatever the address of the page says.
    let key = keys
        .iter()
        .find(|key| key.id == query.get("key"))
        .or(keys.first());
    let bucket = buckets
        .iter()
        .find(|bucket| bucket.name == query.get("bucket"))
        .or(buckets.first());
    let to = To {
        endpoint: s3.first().map_or("", String::as_str),
        key: key.map_or("YOUR-ACCESS-KEY", |key| &key.id),
        bucket: bucket.map_or("photos", |bucket| &bucket.name),
    };
    Page {
        tab: Tab::Connect,
        title: "Connect an app".into(),
        main: html! {
            h1 { "Connect an app" }
            p.lead { "Any S3 app works. Give it these, and the secret that was shown when its key was created." }
            dl.pairs {
                dt { "Endpoint" } dd { (copyable("endpoint", to.endpoint)) }
                @if let Some(url) = https.first() {
                    dt { "Over HTTPS" } dd { (copyable("endpoint-https", url)) span.small { "with " a href=(AUTHORITY_TEXT) { "this certificate" } ": " a href=(trust::PATH) { "how" } } }
                }
                dt { "Region" } dd { (copyable("region", REGION)) }
                dt { "Addressing" } dd { "path style" }
            }
            form.card method="get" action="/connect" {
                div.fields {
                    div { label for="key" { "Key" } select #key name="key" {
                        @for one in &keys { option value=(one.id) selected[one.id == to.key] { (one.name) } }
                        @if keys.is_empty() { option value="" { "none yet" } }
                    } }
                    div { label for="bucket" { "Bucket" } select #bucket name="bucket" {
                        @for one in &buckets { option value=(one.name) selected[one.name == to.bucket] { (one.name) } }
                        @if buckets.is_empty() { option value="" { "none yet" } }
                    } }
                    button type="submit" { "Fill in" }
                }
                p.small { "No key of its own yet? " a href="/keys" { "Create one" } ". Replace " code { (SECRET) } " by its secret." }
            }
            @if let (Some(key), Some(bucket)) = (key, bucket) {
                section.card aria-labelledby="test" {
                    h2 #test { "Try it" }
                    (form(visitor, "/connect/test", html! {
                        input type="hidden" name="key" value=(key.id);
                        input type="hidden" name="bucket" value=(bucket.name);
                        p { "Stores, reads, lists, uploads in parts and deletes in " strong { (bucket.name) } " with the key " strong { (key.name) } ", as an app would. Nothing stays." }
                        button type="submit" { "Test this key" }
                    }))
                }
            }
            @for (id, name, what, lines) in apps(&to) { (app(id, name, what, &lines)) }
        },
    }
}

/// Tests a key, and shows what came of it.
pub(super) async fn test<N: Node>(desk: &Desk<N>, form: &Form) -> Outcome {
    let (key, bucket) = (form.get("key"), form.get("bucket"));
    let tested = desk.node.test_app(key, bucket).await?;
    let to = path_with(&["connect"], &[("key", key), ("bucket", bucket)]);
    Ok((to, Note::Tested(Box::new(tested))))
}

/// What stands where the secret belongs.
const SECRET: &str = "YOUR-SECRET-KEY";

fn app(id: &str, name: &str, what: &str, lines: &str) -> Markup {
    html! {
        details.app id={ "app-" (id) } {
            summary { strong { (name) } span.small { (what) } }
            div.copyable { pre tabindex="0" aria-label={ "Lines for " (name) } { code id=(id) { (lines) } } button.copy type="button" data-copy=(id) hidden { "Copy" } }
        }
    }
}

/// Each app with what it is for, and its lines.
fn apps(to: &To<'_>) -> [(&'static str, &'static str, &'static str, String); 7] {
    [
        (
            "aws",
            "aws-cli",
            "The command line that every guide assumes",
            aws(to),
        ),
        ("rclone", "rclone", "Copy, sync and mount folders", rclone(to)),
        ("restic", "restic", "Encrypted backups with history", restic(to)),
        (
            "nextcloud",
            "Nextcloud",
            "Store its files here, or add an external storage",
            nextcloud(to),
        ),
        (
            "pbs",
            "Proxmox Backup",
            "An S3 endpoint for a datastore, from version 4",
            proxmox(to),
        ),
        (
            "homeassistant",
            "Home Assistant",
            "Backups by the integration for S3 storage",
            home_assistant(to),
        ),
        ("phone", "Phone", "Photos from Android or iOS", phone(to)),
    ]
}

fn aws(to: &To<'_>) -> String {
    let To {
        endpoint,
        key,
        bucket,
    } = to;
    format!(
        "export AWS_ACCESS_KEY_ID={key}\nexport AWS_SECRET_ACCESS_KEY={SECRET}\nexport AWS_DEFAULT_REGION={REGION}\n{ca}\
         aws --endpoint-url {endpoint} s3 ls s3://{bucket}\naws --endpoint-url {endpoint} s3 cp picture.jpg s3://{bucket}/",
        ca = trusting(endpoint, "export AWS_CA_BUNDLE=warren-ca.pem"),
    )
}

fn rclone(to: &To<'_>) -> String {
    let To {
        endpoint,
        key,
        bucket,
    } = to;
    format!(
        "# ~/.config/rclone/rclone.conf\n[warren]\ntype = s3\nprovider = Other\nendpoint = {endpoint}\nregion = {REGION}\n\
         access_key_id = {key}\nsecret_access_key = {SECRET}\nforce_path_style = true\n\n\
         # then\n{ca}rclone copy ~/Pictures warren:{bucket}/Pictures --progress",
        ca = trusting(endpoint, "export RCLONE_CA_CERT=warren-ca.pem"),
    )
}

fn restic(to: &To<'_>) -> String {
    let To {
        endpoint,
        key,
        bucket,
    } = to;
    format!(
        "export AWS_ACCESS_KEY_ID={key}\nexport AWS_SECRET_ACCESS_KEY={SECRET}\nexport AWS_DEFAULT_REGION={REGION}\n\
         export RESTIC_REPOSITORY=s3:{endpoint}/{bucket}/restic\n{ca}restic init\nrestic backup ~/Documents",
        ca = trusting(endpoint, "export RESTIC_CACERT=warren-ca.pem"),
    )
}

fn nextcloud(to: &To<'_>) -> String {
    let To {
        endpoint,
        key,
        bucket,
    } = to;
    let (scheme, place) = endpoint.split_once("://").unwrap_or(("http", endpoint));
    let (host, port) = place.rsplit_once(':').unwrap_or((place, "3900"));
    let tls = if scheme == "https" { "true" } else { "false" };
    format!(
        "// config/config.php, before the first start, to keep all files here\n'objectstore' => [\n  \
         'class' => '\\\\OC\\\\Files\\\\ObjectStore\\\\S3',\n  'arguments' => [\n    'bucket' => '{bucket}',\n    \
         'hostname' => '{host}',\n    'port' => {port},\n    'use_ssl' => {tls},\n    'use_path_style' => true,\n    \
         'region' => '{REGION}',\n    'key' => '{key}',\n    'secret' => '{SECRET}',\n    'autocreate' => false,\n  ],\n],"
    )
}

fn proxmox(to: &To<'_>) -> String {
    let To {
        endpoint,
        key,
        bucket,
    } = to;
    let place = endpoint.split_once("://").map_or(*endpoint, |(_, place)| place);
    let (host, port) = place.rsplit_once(':').unwrap_or((place, "3900"));
    format!(
        "# Proxmox Backup speaks https only, so that its host has to trust this home first:\n\
         # as root, with warren-ca.pem from the page “Trust this home”\n\
         cp warren-ca.pem /usr/local/share/ca-certificates/warren.crt && update-ca-certificates\n\
         proxmox-backup-manager s3 endpoint create warren --endpoint {host} --port {port} --region {REGION} \\\n  \
         --path-style true --access-key {key} --secret-key {SECRET}\n\
         proxmox-backup-manager datastore create warren /var/cache/warren --backend type=s3,client=warren,bucket={bucket}"
    )
}

fn home_assistant(to: &To<'_>) -> String {
    let To {
        endpoint,
        key,
        bucket,
    } = to;
    format!(
        "# Install an integration for S3-compatible backups (with HACS), then fill in:\n\
         Access key ID      {key}\nSecret access key  {SECRET}\nBucket             {bucket}\nEndpoint URL       {endpoint}\nRegion             {REGION}"
    )
}

fn phone(to: &To<'_>) -> String {
    let To {
        endpoint,
        key,
        bucket,
    } = to;
    format!(
        "Android  Round Sync or S3Drive: add a remote of the type S3, provider Other\niOS      S3 Files or S3Drive: add an S3-compatible account\n\n\
         Endpoint    {endpoint}\nAccess key  {key}\nSecret key  {SECRET}\nBucket      {bucket}\nRegion      {REGION}\nPath style  on"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_what_to_trust_where_they_connect_over_https() {
        let lines = |endpoint| {
            let to = To {
                endpoint,
                key: "KEY1",
                bucket: "photos",
            };
            [aws(&to), rclone(&to), restic(&to)]
        };
        assert!(
            lines("https://192.168.1.20:3900")
                .iter()
                .all(|lines| lines.contains("=warren-ca.pem\n"))
        );
        assert!(
            lines("http://192.168.1.20:3900")
                .iter()
                .all(|lines| !lines.contains("warren-ca.pem"))
        );
    }

    #[test]
    fn every_app_is_told_endpoint_key_and_bucket() {
        let to = To {
            endpoint: "http://192.168.1.20:3900",
            key: "KEY1",
            bucket: "photos",
        };
        for (id, _, _, lines) in apps(&to) {
            for part in ["192.168.1.20", "3900", "KEY1", "photos", SECRET, REGION] {
                assert!(lines.contains(part), "{id} lacks {part}: {lines}");
            }
        }
    }
}
