//! What each operation does: headers to a request of the store, and its outcome to a response.

mod acl;
mod asked_acl;
mod attributes;
mod buckets;
mod copy;
mod customer_key;
mod delete;
mod expiration;
mod get_object;
mod list_objects;
mod list_parts;
mod list_uploads;
mod list_versions;
mod listing;
mod logging;
mod multipart;
mod notification;
mod object_lock;
mod policy;
mod post_object;
mod put_object;
mod setting;
mod settings;
mod slow;
mod tagging;
mod user;
mod versioning;

pub(crate) use acl::{get_bucket_acl, get_object_acl, put_bucket_acl, put_object_acl};
pub(crate) use attributes::get_object_attributes;
pub(crate) use buckets::{create_bucket, delete_bucket, get_bucket_location, head_bucket, list_buckets};
pub(crate) use copy::{copy_object, upload_part_copy};
pub(crate) use delete::{delete_object, delete_objects};
pub(crate) use get_object::{get_object, version_id};
pub(crate) use list_objects::{list_objects, list_objects_v2};
pub(crate) use list_parts::list_parts;
pub(crate) use list_uploads::list_multipart_uploads;
pub(crate) use list_versions::list_object_versions;
pub(crate) use logging::{get_bucket_logging, put_bucket_logging};
pub(crate) use multipart::{
    abort_multipart_upload, complete_multipart_upload, create_multipart_upload, upload_part,
};
pub(crate) use notification::{get_bucket_notification_configuration, put_bucket_notification_configuration};
pub(crate) use object_lock::{
    get_object_legal_hold, get_object_lock_configuration, get_object_retention, put_object_legal_hold,
    put_object_lock_configuration, put_object_retention,
};
pub(crate) use policy::{
    delete_bucket_policy, get_bucket_policy, get_bucket_policy_status, put_bucket_policy,
};
pub(crate) use post_object::post_object;
pub(crate) use put_object::put_object;
pub(crate) use setting::{delete_setting, get_setting, preflight, put_setting};
pub(crate) use settings::{get_default, unset};
pub(crate) use tagging::{delete_object_tagging, get_object_tagging, put_object_tagging};
pub(crate) use versioning::{get_bucket_versioning, put_bucket_versioning};
