//! An entry of an access log as AWS writes it. Source: AWS S3 user guide, "Amazon S3 server access log format".

use std::borrow::Cow;

use storage::model::Timestamp;

use super::entry::{Ended, Entry};
use crate::gateway::HOST_ID;
use crate::time::iso_date;
use crate::uri::encode_path_into;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// The line of a request, with its end.
pub(super) fn of(entry: &Entry, ended: &Ended) -> String {
    let dash = |text: Option<&str>| text.filter(|text| !text.is_empty()).unwrap_or("-").to_owned();
    let quoted = |text: Option<&str>| format!("\"{}\"", without_quotes(text.unwrap_or("-")));
    let count = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
    let key = entry.key.as_deref().map(encoded);
    let request = format!("{} {} HTTP/1.1", entry.method, entry.target);
    // Of an upload that went well, what was sent is what the object has; an answer without a body says nothing of it.
    let written = Some(ended.received).filter(|bytes| *bytes > 0 && ended.status.is_success());
    let fields = [
        entry.owner.clone(),
        entry.bucket.clone(),
        format!("[{}]", time(entry.at)),
        entry.from.to_string(),
        dash(entry.requester.as_deref()),
        entry.id.clone(),
        operation(entry, ended.operation),
        dash(key.as_deref()),
        quoted(Some(&request)),
        ended.status.as_u16().to_string(),
        dash(entry.error),
        count(Some(ended.sent).filter(|sent| *sent > 0)),
        count(entry.object.or(written)),
        ended.took.as_millis().to_string(),
        entry.turned.as_millis().to_string(),
        quoted(entry.referer.as_deref()),
        quoted(entry.agent.as_deref()),
        dash(entry.version.as_deref()),
        HOST_ID.to_owned(),
        dash(entry.signed.map(|_| "SigV4")),
        dash(entry.cipher.map(|cipher| cipher.suite)),
        dash(entry.signed),
        dash(entry.host.as_deref()),
        dash(entry.cipher.map(|cipher| cipher.version)),
        "-".to_owned(),
        "-".to_owned(),
    ];
    let mut line = fields.join(" ");
    line.push('\n');
    line
}

/// How the name of a log goes on behind its prefix, e.g. `2019-02-06-00-00-38-4442587FB7D0A2F9`.
pub(super) fn key_suffix(now: Timestamp, unique: u64) -> String {
    let iso = iso_date(now);
    let time: String = iso
        .chars()
        .take(19)
        .map(|c| if matches!(c, 'T' | ':') { '-' } else { c })
        .collect();
    format!("{time}-{unique:016X}")
}

/// e.g. `06/Feb/2019:00:00:38 +0000`.
fn time(at: Timestamp) -> String {
    let iso = iso_date(at);
    let part = |from: usize, to: usize| iso.get(from..to).unwrap_or_default();
    let month: usize = part(5, 7).parse().unwrap_or(1);
    let month = MONTHS.get(month.saturating_sub(1)).copied().unwrap_or_default();
    format!("{}/{month}/{}:{} +0000", part(8, 10), part(0, 4), part(11, 19))
}

/// Keys in logs are percent-encoded twice.
fn encoded(key: &str) -> String {
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    encode_path_into(key.as_bytes(), &mut once);
    encode_path_into(&once, &mut twice);
    String::from_utf8_lossy(&twice).into_owned()
}

/// What clients wrote must not end a field or a line.
fn without_quotes(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c != '"' && !c.is_control();
    match text.chars().all(is_plain) {
        true => text.into(),
        false => text.chars().map(|c| if is_plain(c) { c } else { '?' }).collect(),
    }
}

/// e.g. `REST.GET.OBJECT`.
fn operation(entry: &Entry, name: &str) -> String {
    let front = if name == "Website" { "WEBSITE" } else { "REST" };
    let method = match name {
        "CopyObject" => "COPY",
        "UploadPartCopy" => "COPY",
        _ => entry.method.as_str(),
    };
    let what = what(name).unwrap_or(if entry.key.is_some() { "OBJECT" } else { "BUCKET" });
    format!("{front}.{method}.{what}")
}

/// What an operation is about, where it is not plainly its object or its bucket.
fn what(name: &str) -> Option<&'static str> {
    Some(match name {
        "UploadPart" | "UploadPartCopy" => "PART",
        "CreateMultipartUpload" | "ListMultipartUploads" => "UPLOADS",
        "CompleteMultipartUpload" | "AbortMultipartUpload" | "ListParts" => "UPLOAD",
        "DeleteObjects" => "MULTI_OBJECT_DELETE",
        "PostObject" => "OBJECT",
        "ListObjectVersions" => "BUCKETVERSIONS",
        "GetBucketLocation" => "LOCATION",
        "GetBucketVersioning" | "PutBucketVersioning" => "VERSIONING",
        "GetBucketLogging" | "PutBucketLogging" => "LOGGING_STATUS",
        "GetBucketPolicy" | "PutBucketPolicy" | "DeleteBucketPolicy" => "BUCKETPOLICY",
        "GetBucketPolicyStatus" => "BUCKETPOLICYSTATUS",
        "GetObjectLockConfiguration" | "PutObjectLockConfiguration" => "OBJECT_LOCK_CONFIGURATION",
        "GetObjectRetention" | "PutObjectRetention" => "OBJECT_LOCK_RETENTION",
        "GetObjectLegalHold" | "PutObjectLegalHold" => "OBJECT_LOCK_LEGALHOLD",
        "GetObjectTagging" | "PutObjectTagging" | "DeleteObjectTagging" => "OBJECT_TAGGING",
        "GetObjectAttributes" => "OBJECT_ATTRIBUTES",
        "Preflight" => "PREFLIGHT",
        _ => return rest(name),
    })
}

/// Settings by the end of their names.
fn rest(name: &str) -> Option<&'static str> {
    let ends = [
        ("Acl", "ACL"),
        ("Cors", "CORS"),
        ("Tagging", "TAGGING"),
        ("PublicAccessBlock", "PUBLIC_ACCESS_BLOCK"),
        ("OwnershipControls", "OWNERSHIP_CONTROLS"),
        ("Encryption", "ENCRYPTION"),
        ("LifecycleConfiguration", "LIFECYCLE"),
        ("Lifecycle", "LIFECYCLE"),
        ("Website", "WEBSITE"),
        ("NotificationConfiguration", "NOTIFICATION"),
        ("AccelerateConfiguration", "ACCELERATE"),
        ("RequestPayment", "REQUEST_PAYMENT"),
        ("Replication", "REPLICATION"),
    ];
    let is_setting = name != "Website";
    let mut ends = ends.into_iter().filter(|_| is_setting);
    ends.find(|(end, _)| name.ends_with(end)).map(|(_, what)| what)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use http::{Method, StatusCode};
    use storage::model::{BucketId, BucketLogging, BucketName};

    use super::*;
    use crate::transport::Cipher;

    fn entry() -> Entry {
        Entry {
            log: Arc::default(),
            to: BucketLogging {
                target: BucketId::from_bytes([1; 16]),
                target_name: BucketName::parse("logs").unwrap(),
                prefix: String::new(),
            },
            owner: "anna".into(),
            bucket: "photos".into(),
            at: Timestamp::from_millis(1_549_411_238_000),
            from: [192, 0, 2, 3].into(),
            cipher: None,
            requester: Some("ben".into()),
            id: "3E57427F3EXAMPLE".into(),
            method: Method::GET,
            key: Some("a b".into()),
            target: "/photos/a%20b?x=\"1\"".into(),
            version: None,
            host: Some("s3.example".into()),
            referer: None,
            agent: Some("app\u{7}/1 \"beta\"".into()),
            signed: Some("AuthHeader"),
            error: None,
            object: Some(100),
            turned: Duration::from_millis(3),
        }
    }

    fn ended(operation: &'static str) -> Ended {
        Ended {
            operation,
            status: StatusCode::PARTIAL_CONTENT,
            sent: 10,
            took: Duration::from_millis(7),
            received: 0,
        }
    }

    #[test]
    fn a_line_has_the_fields_of_aws_and_nothing_a_client_wrote_breaks_it() {
        assert_eq!(
            of(&entry(), &ended("GetObject")),
            "anna photos [06/Feb/2019:00:00:38 +0000] 192.0.2.3 ben 3E57427F3EXAMPLE REST.GET.OBJECT a%2520b \
             \"GET /photos/a%20b?x=?1? HTTP/1.1\" 206 - 10 100 7 3 \"-\" \"app?/1 ?beta?\" - warren SigV4 - AuthHeader \
             s3.example - - -\n"
        );
        let cipher = Cipher {
            version: "TLSv1.3",
            suite: "TLS_AES_256_GCM_SHA384",
        };
        let encrypted = Entry {
            cipher: Some(cipher),
            ..entry()
        };
        let line = of(&encrypted, &ended("GetObject"));
        assert!(
            line.ends_with("SigV4 TLS_AES_256_GCM_SHA384 AuthHeader s3.example TLSv1.3 - -\n"),
            "{line}"
        );
    }

    #[test]
    fn operations_are_named_as_aws_names_them() {
        let named = |name, key: Option<&str>| {
            let key = key.map(str::to_owned);
            operation(&Entry { key, ..entry() }, name)
        };
        for (name, key, expected) in [
            ("GetObject", Some("k"), "REST.GET.OBJECT"),
            ("ListObjectsV2", None, "REST.GET.BUCKET"),
            ("CopyObject", Some("k"), "REST.COPY.OBJECT"),
            ("GetObjectAcl", Some("k"), "REST.GET.ACL"),
            ("GetBucketLifecycleConfiguration", None, "REST.GET.LIFECYCLE"),
            ("GetObjectTagging", Some("k"), "REST.GET.OBJECT_TAGGING"),
            ("Website", Some("k"), "WEBSITE.GET.OBJECT"),
            ("Unknown", Some("k"), "REST.GET.OBJECT"),
        ] {
            assert_eq!(named(name, key), expected, "{name}");
        }
    }

    #[test]
    fn a_log_is_named_by_its_time() {
        let at = Timestamp::from_millis(1_549_411_238_000);
        assert_eq!(key_suffix(at, 0xab), "2019-02-06-00-00-38-00000000000000AB");
    }
}
