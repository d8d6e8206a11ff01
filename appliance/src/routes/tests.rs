//! What the table promises: everything in it is described, and nothing is described twice.

use std::collections::BTreeSet;

use serde_json::Value;

use super::asked::{RANGE, said};
use super::*;
use crate::api::*;
use crate::{Content, Facts, FormReader, HttpsFacts, Measures, NodeError, Objects, Past, Upload};

/// A node that nobody can have: the table is described without one.
enum Nobody {}

impl Objects for Nobody {
    async fn list_objects(&self, _: &str, _: ListObjects) -> Result<ObjectList, NodeError> {
        match *self {}
    }

    async fn list_versions(&self, _: &str, _: ListVersions) -> Result<VersionList, NodeError> {
        match *self {}
    }

    async fn object(&self, _: &str, _: &ObjectAt) -> Result<ObjectInfo, NodeError> {
        match *self {}
    }

    async fn read_object(&self, _: &str, _: &ObjectAt, _: Option<&str>) -> Result<Content, NodeError> {
        match *self {}
    }

    async fn put_object(&self, _: &str, _: &str, _: Upload) -> Result<StoredObject, NodeError> {
        match *self {}
    }

    async fn delete_object(&self, _: &str, _: &ObjectAt) -> Result<(), NodeError> {
        match *self {}
    }

    async fn restore_object(&self, _: &str, _: RestoreObject) -> Result<ObjectInfo, NodeError> {
        match *self {}
    }

    async fn share_object(&self, _: &str, _: ShareObject) -> Result<Shared, NodeError> {
        match *self {}
    }

    async fn set_versioning(&self, _: &str, _: bool) -> Result<BucketInfo, NodeError> {
        match *self {}
    }

    async fn set_lock(&self, _: &str, _: SetLock) -> Result<BucketInfo, NodeError> {
        match *self {}
    }

    async fn set_website(&self, _: &str, _: SetWebsite) -> Result<BucketInfo, NodeError> {
        match *self {}
    }

    async fn uploads(&self, _: &str, _: &str) -> Result<UploadList, NodeError> {
        match *self {}
    }

    async fn start_upload(&self, _: &str, _: StartUpload) -> Result<StartedUpload, NodeError> {
        match *self {}
    }

    async fn put_part(&self, _: &str, _: &UploadAt, _: u16, _: Upload) -> Result<PartInfo, NodeError> {
        match *self {}
    }

    async fn parts(&self, _: &str, _: &UploadAt) -> Result<PartList, NodeError> {
        match *self {}
    }

    async fn complete_upload(&self, _: &str, _: CompleteUpload) -> Result<StoredObject, NodeError> {
        match *self {}
    }

    async fn abort_upload(&self, _: &str, _: &UploadAt) -> Result<(), NodeError> {
        match *self {}
    }

    fn form(&self, _: &str) -> Option<Box<dyn FormReader>> {
        match *self {}
    }
}

impl Node for Nobody {
    fn ready(&self) -> bool {
        match *self {}
    }

    async fn facts(&self) -> Facts {
        match *self {}
    }

    async fn peers(&self) -> Vec<Home> {
        match *self {}
    }

    async fn peer(&self, _: &str) -> Result<Home, NodeError> {
        match *self {}
    }

    async fn rename_peer(&self, _: &str, _: &str) -> Result<Home, NodeError> {
        match *self {}
    }

    async fn drain_peer(&self, _: &str, _: bool) -> Result<Home, NodeError> {
        match *self {}
    }

    async fn remove_peer(&self, _: &str, _: bool) -> Result<(), NodeError> {
        match *self {}
    }

    async fn force_epoch(&self, _: &[String], _: bool) -> Result<EpochForced, NodeError> {
        match *self {}
    }

    async fn ping_peer(&self, _: &str) -> Result<Pong, NodeError> {
        match *self {}
    }

    async fn leave(&self, _: bool) -> Result<(), NodeError> {
        match *self {}
    }

    async fn create_invite(&self, _: CreateInvite) -> Result<CreatedInvite, NodeError> {
        match *self {}
    }

    fn invites(&self) -> Vec<Invite> {
        match *self {}
    }

    fn call_box(&self, _: &str) -> Result<(), NodeError> {
        match *self {}
    }

    fn called(&self) -> Vec<CalledBox> {
        match *self {}
    }

    async fn revoke_invite(&self, _: &str) -> Result<(), NodeError> {
        match *self {}
    }

    fn https(&self) -> Option<HttpsFacts> {
        match *self {}
    }

    async fn renew_authority(&self) -> Result<(), NodeError> {
        match *self {}
    }

    fn net(&self) -> NetReport {
        match *self {}
    }

    async fn set_limit(&self, _: SetLimit) -> Result<NetReport, NodeError> {
        match *self {}
    }

    async fn set_quiet(&self, _: SetQuiet) -> Result<NetReport, NodeError> {
        match *self {}
    }

    fn log(&self) -> Vec<String> {
        match *self {}
    }

    fn keys_sealed(&self) -> Result<String, NodeError> {
        match *self {}
    }

    async fn measures(&self) -> Measures {
        match *self {}
    }

    fn past(&self) -> Past {
        match *self {}
    }

    fn layout(&self) -> LayoutShown {
        match *self {}
    }

    fn preview_layout(&self) -> Result<LayoutPreviewShown, NodeError> {
        match *self {}
    }

    async fn pause_layout(&self, _: bool) -> Result<LayoutShown, NodeError> {
        match *self {}
    }

    async fn settle_layout(&self) -> Result<bool, NodeError> {
        match *self {}
    }

    async fn repair(&self) -> Result<RepairShown, NodeError> {
        match *self {}
    }

    async fn sweep(&self, _: Option<u32>) -> Result<SweepShown, NodeError> {
        match *self {}
    }

    fn scrub(&self) -> ScrubShown {
        match *self {}
    }

    fn set_scrub(&self, _: bool) {
        match *self {}
    }

    fn disks(&self) -> Vec<DiskShown> {
        match *self {}
    }

    fn settings(&self) -> Vec<Setting> {
        match *self {}
    }

    fn buckets(&self) -> Vec<Bucket> {
        match *self {}
    }

    async fn bucket(&self, _: &str) -> Result<BucketInfo, NodeError> {
        match *self {}
    }

    async fn set_alias(&self, _: &str, _: SetAlias) -> Result<BucketInfo, NodeError> {
        match *self {}
    }

    async fn set_bucket_quota(&self, _: &str, _: Quota) -> Result<BucketInfo, NodeError> {
        match *self {}
    }

    async fn create_bucket(&self, _: CreateBucket) -> Result<BucketInfo, NodeError> {
        match *self {}
    }

    async fn delete_bucket(&self, _: &str) -> Result<(), NodeError> {
        match *self {}
    }

    async fn set_public(&self, _: &str, _: bool) -> Result<BucketInfo, NodeError> {
        match *self {}
    }

    fn keys(&self) -> Vec<Key> {
        match *self {}
    }

    fn key(&self, _: &str) -> Result<Key, NodeError> {
        match *self {}
    }

    async fn create_key(&self, _: CreateKey) -> Result<CreatedKey, NodeError> {
        match *self {}
    }

    async fn change_key(&self, _: &str, _: Change, _: ChangeKey) -> Result<Key, NodeError> {
        match *self {}
    }

    async fn set_key_quota(&self, _: &str, _: Quota) -> Result<Key, NodeError> {
        match *self {}
    }

    async fn test_app(&self, _: &str, _: &str) -> Result<AppTested, NodeError> {
        match *self {}
    }

    async fn delete_key(&self, _: &str) -> Result<(), NodeError> {
        match *self {}
    }
}

fn description() -> Value {
    described(&Routes::<Nobody>::new())
}

#[test]
fn every_line_of_the_table_is_described() {
    let (routes, described) = (Routes::<Nobody>::new(), description());
    assert!(routes.0.len() > 40, "only {} lines", routes.0.len());
    for route in &routes.0 {
        let method = route.method.as_str().to_ascii_lowercase();
        let operation = &described["paths"][route.path][&method];
        let shown = format!("{method} {}", route.path);
        assert_eq!(operation["x-right"], route.right.word(), "{shown}");
        assert_eq!(
            operation["requestBody"].is_object(),
            !matches!(route.sent, Sent::Nothing),
            "{shown}"
        );
        assert!(operation["responses"]["default"].is_object(), "{shown}");
        assert_eq!(
            route.path.contains('{') || !route.parameters.is_empty(),
            operation["parameters"].is_array(),
            "{shown}"
        );
    }
}

#[test]
fn no_two_operations_have_the_same_name_and_no_line_hides_another() {
    let described = description();
    let operations = described["paths"].as_object().unwrap().values();
    let operations: Vec<&Value> = operations
        .flat_map(|path| path.as_object().unwrap().values())
        .collect();
    let names: BTreeSet<&str> = operations
        .iter()
        .map(|one| one["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), operations.len());
    assert_eq!(operations.len(), Routes::<Nobody>::new().0.len());
}

#[test]
fn what_the_description_refers_to_is_in_it() {
    let described = description();
    let text = described.to_string();
    let references = text.split("\"$ref\":\"#").skip(1);
    let references: BTreeSet<&str> = references.map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(references.len() > 30, "only {} references", references.len());
    for reference in references {
        assert!(described.pointer(reference).is_some(), "{reference}");
    }
}

/// The statuses below 400 or of a body in plain text, and the media types, that the description tells of an answer.
#[track_caller]
fn check_answers(method: &str, path: &str, statuses: &[&str], media: &[&str]) {
    let described = description();
    let responses = described["paths"][path][method]["responses"].as_object().unwrap();
    let told: Vec<&str> = responses
        .keys()
        .map(String::as_str)
        .filter(|status| !["431", "default"].contains(status))
        .collect();
    assert_eq!(told, statuses);
    for status in statuses {
        let content = responses[*status]["content"].as_object().unwrap();
        assert_eq!(content.keys().collect::<Vec<_>>(), media, "{status}");
    }
}

#[test]
fn an_answer_that_comes_in_several_shapes_is_described_in_all() {
    check_answers("get", "/readyz", &["200", "503"], &["text/plain; charset=utf-8"]);
    let content = "/api/v1/buckets/{name}/objects/content";
    check_answers(
        "get",
        content,
        &["200", "206"],
        &["application/octet-stream", "image/*"],
    );
    check_answers("get", "/api/v1/status", &["200"], &["application/json"]);
}

#[test]
fn what_a_request_says_is_no_longer_than_the_description_tells() {
    let read = |query: &str, range: &str| {
        let asked = Request::get(format!("/?{query}")).header("range", range);
        let (head, ()) = asked.body(()).unwrap().into_parts();
        let list = &[Parameter::text("key", 3, "A name."), RANGE];
        said::<ObjectAt>(&head, list).map_err(|problem| problem.code)
    };
    assert_eq!(read("key=abc", "bytes=0-1").unwrap().key, "abc");
    assert_eq!(read("key=%C3%A4%C3%A4", "bytes=0-1").unwrap_err(), "malformed");
    assert_eq!(read("key=abc", &"0".repeat(101)).unwrap_err(), "malformed");
    assert_eq!(read("", "bytes=0-1").unwrap_err(), "malformed");
}

#[test]
fn what_changes_something_needs_more_than_to_see() {
    let routes = Routes::<Nobody>::new();
    for route in routes.0.iter().filter(|route| route.method != Method::GET) {
        assert!(route.right > Right::Read, "{} {}", route.method, route.path);
    }
}

#[test]
fn a_path_is_found_by_its_method_and_the_missing_are_told_apart() {
    let routes = Routes::<Nobody>::new();
    let (route, at) = routes.find(&Method::PUT, "/api/v1/buckets/a%2Fb/quota").unwrap();
    assert_eq!((route.path, at.as_str()), ("/api/v1/buckets/{name}/quota", "a/b"));
    assert!(routes.find(&Method::HEAD, "/healthz").is_ok());
    let code = |method, path| routes.find(&method, path).err().unwrap().code;
    assert_eq!(code(Method::POST, "/api/v1/status"), "no-such-method");
    assert_eq!(code(Method::GET, "/api/v1/nothing"), "no-such-resource");
    let allowed = |path| routes.allowed(path).unwrap();
    assert_eq!(allowed("/api/v1/status"), "GET, HEAD");
    assert_eq!(allowed("/api/v1/buckets/a%2Fb"), "DELETE, GET, HEAD");
    assert_eq!(allowed("/api/v1/leave"), "POST");
}

#[test]
fn a_path_that_is_spelled_out_is_no_other_path_with_a_name_in_it() {
    let routes = Routes::<Nobody>::new();
    let allowed = |path| routes.allowed(path).unwrap();
    assert_eq!(allowed("/api/v1/invites/call"), "POST");
    assert_eq!(allowed("/api/v1/invites/other"), "DELETE");
    let refused = routes
        .find(&Method::DELETE, "/api/v1/invites/call")
        .err()
        .unwrap();
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[track_caller]
fn check(pattern: &str, path: &str, at: Option<&str>) {
    assert_eq!(matched(pattern, &segments(path).unwrap()).as_deref(), at);
}

#[test]
fn a_path_is_matched_part_by_part_and_decoded() {
    check("/healthz", "/healthz", Some(""));
    check("/api/v1/keys/{key}", "/api/v1/keys/a%2Fb%20c", Some("a/b c"));
    check("/api/v1/keys/{key}/quota", "/api/v1/keys/a/quota", Some("a"));
    check("/api/v1/keys/{key}", "/api/v1/keys/", None);
    check("/api/v1/keys/{key}", "/api/v1/keys", None);
    check("/api/v1/keys", "/api/v1/keys/", None);
}

#[test]
fn a_path_that_is_no_text_is_refused() {
    assert_eq!(segments("/%ff").unwrap_err().code, "malformed");
}

#[test]
fn who_may_more_may_all_that_is_below() {
    let ladder = [
        Right::Anyone,
        Right::Read,
        Right::Operate,
        Right::Admin,
        Right::Owner,
        Right::AtTheBox,
    ];
    assert!(ladder.is_sorted());
    assert_eq!(denied(Right::Anyone, Right::Read).status, 401);
    assert_eq!(denied(Right::Admin, Right::Owner).status, 403);
}
