//! The part of the port that is about objects: what a person does with files.

use std::future::Future;

use crate::NodeError;
use crate::api::{
    BucketInfo, CompleteUpload, ListObjects, ListVersions, ObjectAt, ObjectInfo, ObjectList, PartInfo,
    PartList, RestoreObject, SetLock, SetWebsite, ShareObject, Shared, StartUpload, StartedUpload,
    StoredObject, UploadAt, UploadList, VersionList,
};
use crate::content::{Content, FormReader, Upload};

/// What the appliance asks of its node about objects. Buckets are named as [`Node`](crate::Node) names them, and every call may
/// fail with `NoSuchBucket`, `TooFewAnswer`, or the store's own.
pub trait Objects: Send + Sync + 'static {
    /// Some objects, with those below a delimiter as folders.
    ///
    /// # Errors
    /// As above.
    fn list_objects(
        &self,
        bucket: &str,
        list: ListObjects,
    ) -> impl Future<Output = Result<ObjectList, NodeError>> + Send;

    /// Some versions, also of objects that were deleted.
    ///
    /// # Errors
    /// As above; `Invalid`.
    fn list_versions(
        &self,
        bucket: &str,
        list: ListVersions,
    ) -> impl Future<Output = Result<VersionList, NodeError>> + Send;

    /// All about an object but its bytes.
    ///
    /// # Errors
    /// `NoSuchObject`, `NoSuchVersion`.
    fn object(
        &self,
        bucket: &str,
        at: &ObjectAt,
    ) -> impl Future<Output = Result<ObjectInfo, NodeError>> + Send;

    /// Opens an object: all of it, or what a `Range` of HTTP asks for. A range that is none means all.
    ///
    /// # Errors
    /// As [`Self::object`]; `OutOfRange`, `CustomerKey`.
    fn read_object(
        &self,
        bucket: &str,
        at: &ObjectAt,
        range: Option<&str>,
    ) -> impl Future<Output = Result<Content, NodeError>> + Send;

    /// Stores an object as a PUT of S3 does.
    ///
    /// # Errors
    /// `Invalid`, `OverQuota`, `TooManyVersions`, `TooLarge`, `BrokeOff`.
    fn put_object(
        &self,
        bucket: &str,
        key: &str,
        upload: Upload,
    ) -> impl Future<Output = Result<StoredObject, NodeError>> + Send;

    /// Deletes an object as a DELETE of S3 does: the newest version, which stays below a mark where versions are kept, or the
    /// one that is named, for good. What is not there is deleted already.
    ///
    /// # Errors
    /// `Locked`, `TooManyVersions`.
    fn delete_object(
        &self,
        bucket: &str,
        at: &ObjectAt,
    ) -> impl Future<Output = Result<(), NodeError>> + Send;

    /// Brings a version back: takes away the mark of a delete, or copies the version to the front.
    ///
    /// # Errors
    /// `NoVersions`, `NoSuchObject`, `NoSuchVersion`, `CustomerKey`, `TooLarge`, `OverQuota`.
    fn restore_object(
        &self,
        bucket: &str,
        request: RestoreObject,
    ) -> impl Future<Output = Result<ObjectInfo, NodeError>> + Send;

    /// Makes a link that opens one object to whoever has it.
    ///
    /// # Errors
    /// `Invalid`, `NoSuchObject`, `NoSuchVersion`, `CustomerKey`.
    fn share_object(
        &self,
        bucket: &str,
        request: ShareObject,
    ) -> impl Future<Output = Result<Shared, NodeError>> + Send;

    /// Has a bucket keep versions, or keep no more.
    ///
    /// # Errors
    /// `Invalid`: it has an object lock.
    fn set_versioning(
        &self,
        bucket: &str,
        on: bool,
    ) -> impl Future<Output = Result<BucketInfo, NodeError>> + Send;

    /// Gives a bucket an object lock, which it keeps for good, or another default retention.
    ///
    /// # Errors
    /// `Invalid`: it does not keep versions, or nothing stays that long.
    fn set_lock(
        &self,
        bucket: &str,
        request: SetLock,
    ) -> impl Future<Output = Result<BucketInfo, NodeError>> + Send;

    /// Serves a bucket as a website, or no more.
    ///
    /// # Errors
    /// `Invalid`: no website has such pages.
    fn set_website(
        &self,
        bucket: &str,
        request: SetWebsite,
    ) -> impl Future<Output = Result<BucketInfo, NodeError>> + Send;

    /// Uploads whose objects' names begin so, and that are not finished.
    ///
    /// # Errors
    /// As above.
    fn uploads(
        &self,
        bucket: &str,
        prefix: &str,
    ) -> impl Future<Output = Result<UploadList, NodeError>> + Send;

    /// Begins an upload in parts.
    ///
    /// # Errors
    /// `Invalid`, `OverQuota`.
    fn start_upload(
        &self,
        bucket: &str,
        request: StartUpload,
    ) -> impl Future<Output = Result<StartedUpload, NodeError>> + Send;

    /// Stores a part, in place of an earlier one of that number.
    ///
    /// # Errors
    /// `NoSuchUpload`, `Invalid`, `OverQuota`, `TooLarge`, `BrokeOff`.
    fn put_part(
        &self,
        bucket: &str,
        at: &UploadAt,
        number: u16,
        upload: Upload,
    ) -> impl Future<Output = Result<PartInfo, NodeError>> + Send;

    /// The parts that are stored: an upload that broke off goes on behind them.
    ///
    /// # Errors
    /// `NoSuchUpload`.
    fn parts(&self, bucket: &str, at: &UploadAt) -> impl Future<Output = Result<PartList, NodeError>> + Send;

    /// Makes the parts the object.
    ///
    /// # Errors
    /// `NoSuchUpload`, `Invalid`: parts are missing or too small; `OverQuota`, `TooManyVersions`.
    fn complete_upload(
        &self,
        bucket: &str,
        request: CompleteUpload,
    ) -> impl Future<Output = Result<StoredObject, NodeError>> + Send;

    /// Gives an upload up, and frees its parts.
    ///
    /// # Errors
    /// `NoSuchUpload`.
    fn abort_upload(&self, bucket: &str, at: &UploadAt)
    -> impl Future<Output = Result<(), NodeError>> + Send;

    /// What takes a form of this `Content-Type` apart; none for what is no form.
    fn form(&self, content_type: &str) -> Option<Box<dyn FormReader>>;
}
