//! The lines of the table that are about objects. What is in them is seen and changed by those who may change what is stored:
//! a token that only watches a box sees names and sizes, and opens no picture.

use http::Method;
use http::request::Parts;
use hyper::body::Incoming;

use super::Routes;
use super::asked::{Ask, Asked, At, Parameter, Parameters, Query, RANGE, Taken, Wanted, said};
use super::reply::{Done, Made, Shown};
use crate::api::{
    CompleteUpload, ListObjects, ListVersions, ObjectAt, RestoreObject, SetLock, SetVersioning, SetWebsite,
    ShareObject, StartUpload, UploadAt,
};
use crate::content::Rest;
use crate::right::Right::{Admin, Read};
use crate::{Node, NodeError, Problem};

/// The longest key, in bytes. Source: AWS S3 user guide, "Naming Amazon S3 objects".
const KEY_BYTES_MAX: u32 = 1024;

/// A version or an upload has 32 digits.
const ID_BYTES_MAX: u32 = 64;

/// Entries of a page at most.
const PAGE_MAX: u32 = 1000;

/// The highest number of a part.
const PARTS_MAX: u32 = 10_000;

const KEY: Parameter = Parameter::text("key", KEY_BYTES_MAX, "The name of the object.");
const VERSION: Parameter =
    Parameter::text("version", ID_BYTES_MAX, "Which version; the newest if not given.").or_none();
const UPLOAD: Parameter = Parameter::text("upload", ID_BYTES_MAX, "The id of the upload.");
const PREFIX: Parameter = Parameter::text("prefix", KEY_BYTES_MAX, "Only names that begin so.").or_none();
const DELIMITER: Parameter = Parameter::text(
    "delimiter",
    KEY_BYTES_MAX,
    "Names with this text after the prefix are one folder.",
)
.or_none();
const AFTER: Parameter = Parameter::text(
    "after",
    KEY_BYTES_MAX,
    "Only what is after this: `next` of the page before.",
)
.or_none();
const AFTER_VERSION: Parameter = Parameter::text(
    "after_version",
    ID_BYTES_MAX,
    "`next_version` of the page before.",
)
.or_none();
const MAX: Parameter = Parameter::number("max", PAGE_MAX, "Entries at most; 1000 if not given.").or_none();
const NUMBER: Parameter = Parameter::number("number", PARTS_MAX, "The number of the part.");

impl Parameters for ListObjects {
    const LIST: &'static [Parameter] = &[PREFIX, DELIMITER, AFTER, MAX];

    fn read(query: &Query) -> Result<Self, Problem> {
        Ok(Self {
            prefix: query.text("prefix").unwrap_or_default(),
            delimiter: query.text("delimiter").filter(|text| !text.is_empty()),
            after: query.text("after"),
            max: query.number("max", PAGE_MAX)?.unwrap_or(PAGE_MAX),
        })
    }
}

impl Parameters for ListVersions {
    const LIST: &'static [Parameter] = &[PREFIX, DELIMITER, AFTER, AFTER_VERSION, MAX];

    fn read(query: &Query) -> Result<Self, Problem> {
        Ok(Self {
            of: ListObjects::read(query)?,
            after_version: query.text("after_version"),
        })
    }
}

impl Parameters for ObjectAt {
    const LIST: &'static [Parameter] = &[KEY, VERSION];

    fn read(query: &Query) -> Result<Self, Problem> {
        Ok(Self {
            key: query.required("key")?,
            version: query.text("version").filter(|version| !version.is_empty()),
        })
    }
}

/// The name of an object to be.
struct Named(String);

impl Parameters for Named {
    const LIST: &'static [Parameter] = &[KEY];

    fn read(query: &Query) -> Result<Self, Problem> {
        Ok(Self(query.required("key")?))
    }
}

/// What uploads are about.
struct Prefix(String);

impl Parameters for Prefix {
    const LIST: &'static [Parameter] = &[PREFIX];

    fn read(query: &Query) -> Result<Self, Problem> {
        Ok(Self(query.text("prefix").unwrap_or_default()))
    }
}

impl Parameters for UploadAt {
    const LIST: &'static [Parameter] = &[KEY, UPLOAD];

    fn read(query: &Query) -> Result<Self, Problem> {
        Ok(Self {
            key: query.required("key")?,
            upload: query.required("upload")?,
        })
    }
}

/// A part of an upload.
struct PartAt(UploadAt, u16);

impl Parameters for PartAt {
    const LIST: &'static [Parameter] = &[KEY, UPLOAD, NUMBER];

    fn read(query: &Query) -> Result<Self, Problem> {
        let number = query.number("number", PARTS_MAX)?;
        let number = number.and_then(|number| u16::try_from(number).ok());
        let missing = || Problem::malformed("the query does not say \"number\"");
        Ok(Self(UploadAt::read(query)?, number.ok_or_else(missing)?))
    }
}

/// Content that is asked for.
struct Opened(ObjectAt, Wanted);

impl Asked for Opened {
    const PARAMETERS: &'static [Parameter] = &[KEY, VERSION, RANGE];

    async fn read(head: &Parts, _: Incoming) -> Result<Self, Problem> {
        Ok(Self(said(head, Self::PARAMETERS)?, Wanted::of(head)))
    }
}

/// What came of content, so that whoever still sends some hears it.
async fn heard<T>(outcome: Result<T, NodeError>, rest: Rest) -> Result<T, NodeError> {
    if outcome.is_err() {
        rest.drain().await;
    }
    outcome
}

pub(super) fn fill<N: Node>(to: &mut Routes<N>) {
    looked_at(to);
    changed(to);
    uploads(to);
}

fn looked_at<N: Node>(to: &mut Routes<N>) {
    to.add(
        Method::GET,
        "/api/v1/buckets/{name}/objects",
        Read,
        "Objects of a bucket by name, a page at a time.",
        |desk, name, At(list)| async move { Ok(Shown(desk.node.list_objects(&name, list).await?)) },
    );
    to.add(
        Method::GET,
        "/api/v1/buckets/{name}/objects/versions",
        Read,
        "Versions by name and age, also of what was deleted, a page at a time.",
        |desk, name, At(list)| async move { Ok(Shown(desk.node.list_versions(&name, list).await?)) },
    );
    to.add(
        Method::GET,
        "/api/v1/buckets/{name}/objects/info",
        Read,
        "All about an object but its bytes.",
        |desk, name, At(at)| async move { Ok(Shown(desk.node.object(&name, &at).await?)) },
    );
    to.add(
        Method::GET,
        "/api/v1/buckets/{name}/objects/content",
        Admin,
        "The bytes of an object, or some of them.",
        |desk, name, Opened(at, wanted)| async move {
            let node = &desk.node;
            let is_current = match &wanted.of {
                None => true,
                Some(tag) => node.object(&name, &at).await?.etag == tag.trim_matches('"'),
            };
            let range = wanted.range.filter(|_| is_current);
            Ok(node.read_object(&name, &at, range.as_deref()).await?)
        },
    );
}

fn changed<N: Node>(to: &mut Routes<N>) {
    to.add(
        Method::PUT,
        "/api/v1/buckets/{name}/objects/content",
        Admin,
        "Stores an object; `Content-Type` says what it is.",
        |desk, name, Taken(Named(key), upload, rest)| async move {
            let stored = desk.node.put_object(&name, &key, upload).await;
            Ok(Made(heard(stored, rest).await?))
        },
    );
    to.add(
        Method::DELETE,
        "/api/v1/buckets/{name}/objects",
        Admin,
        "Deletes an object, or a version of it for good.",
        |desk, name, At(at)| async move {
            let at: ObjectAt = at;
            desk.node.delete_object(&name, &at).await?;
            Ok(Done)
        },
    );
    to.add(
        Method::POST,
        "/api/v1/buckets/{name}/objects/restore",
        Admin,
        "Makes a version the newest, or brings back what was deleted.",
        |desk, name, Ask(asked)| async move {
            let asked: RestoreObject = asked;
            Ok(Shown(desk.node.restore_object(&name, asked).await?))
        },
    );
    to.add(
        Method::POST,
        "/api/v1/buckets/{name}/objects/share",
        Admin,
        "Makes a link that opens an object to whoever has it, for seven days at most.",
        |desk, name, Ask(asked)| async move {
            let asked: ShareObject = asked;
            Ok(Made(desk.node.share_object(&name, asked).await?))
        },
    );
    to.add(
        Method::PUT,
        "/api/v1/buckets/{name}/versioning",
        Admin,
        "Has a bucket keep old versions, or keep no more.",
        |desk, name, Ask(asked)| async move {
            let asked: SetVersioning = asked;
            Ok(Shown(desk.node.set_versioning(&name, asked.on).await?))
        },
    );
    to.add(
        Method::PUT,
        "/api/v1/buckets/{name}/lock",
        Admin,
        "Gives a bucket an object lock, which it keeps for good, or another default retention.",
        |desk, name, Ask(asked)| async move {
            let asked: SetLock = asked;
            Ok(Shown(desk.node.set_lock(&name, asked).await?))
        },
    );
    to.add(
        Method::PUT,
        "/api/v1/buckets/{name}/website",
        Admin,
        "Serves a bucket as a website, or no more.",
        |desk, name, Ask(asked)| async move {
            let asked: SetWebsite = asked;
            Ok(Shown(desk.node.set_website(&name, asked).await?))
        },
    );
}

fn uploads<N: Node>(to: &mut Routes<N>) {
    to.add(
        Method::GET,
        "/api/v1/buckets/{name}/uploads",
        Read,
        "Uploads in parts that are not finished.",
        |desk, name, At(Prefix(prefix))| async move { Ok(Shown(desk.node.uploads(&name, &prefix).await?)) },
    );
    to.add(
        Method::POST,
        "/api/v1/buckets/{name}/uploads",
        Admin,
        "Begins an upload in parts.",
        |desk, name, Ask(asked)| async move {
            let asked: StartUpload = asked;
            Ok(Made(desk.node.start_upload(&name, asked).await?))
        },
    );
    to.add(
        Method::DELETE,
        "/api/v1/buckets/{name}/uploads",
        Admin,
        "Gives an upload up.",
        |desk, name, At(at)| async move {
            let at: UploadAt = at;
            desk.node.abort_upload(&name, &at).await?;
            Ok(Done)
        },
    );
    to.add(
        Method::GET,
        "/api/v1/buckets/{name}/uploads/parts",
        Read,
        "The parts of an upload that are stored.",
        |desk, name, At(at)| async move {
            let at: UploadAt = at;
            Ok(Shown(desk.node.parts(&name, &at).await?))
        },
    );
    to.add(
        Method::PUT,
        "/api/v1/buckets/{name}/uploads/parts",
        Admin,
        "Stores a part: 5 MiB at least, but for the last one.",
        |desk, name, Taken(PartAt(at, number), upload, rest)| async move {
            let stored = desk.node.put_part(&name, &at, number, upload).await;
            Ok(Made(heard(stored, rest).await?))
        },
    );
    to.add(
        Method::POST,
        "/api/v1/buckets/{name}/uploads/complete",
        Admin,
        "Makes all parts of an upload the object.",
        |desk, name, Ask(asked)| async move {
            let asked: CompleteUpload = asked;
            Ok(Made(desk.node.complete_upload(&name, asked).await?))
        },
    );
}
