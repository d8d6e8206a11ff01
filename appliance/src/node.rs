//! The port through which the appliance sees its node.

use std::future::Future;

use crate::api::{
    AppTested, Bucket, BucketInfo, CalledBox, Change, ChangeKey, CreateBucket, CreateInvite, CreateKey,
    CreatedInvite, CreatedKey, DiskShown, EpochForced, Home, Invite, Key, LayoutPreviewShown, LayoutShown,
    NetReport, Pong, Quota, RepairShown, ScrubShown, SetAlias, SetLimit, SetQuiet, Setting, SweepShown,
};
use crate::{Facts, HttpsFacts, Measures, Past};

mod objects;

pub use objects::Objects;

/// Why the node could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// No bucket of that name.
    #[error("no bucket is called {0:?}")]
    NoSuchBucket(String),
    /// No access key of that id or name.
    #[error("no access key has the id or name {0:?}")]
    NoSuchKey(String),
    /// Several access keys have that name.
    #[error("several access keys are called {0:?}: use the id of one")]
    AmbiguousKey(String),
    /// The name is taken.
    #[error("a bucket called {0:?} exists already")]
    BucketExists(String),
    /// The bucket holds objects.
    #[error("{0:?} is not empty: delete its objects first")]
    BucketNotEmpty(String),
    /// The id is taken.
    #[error("an access key {0:?} exists already")]
    KeyExists(String),
    /// No object of that name, or it was deleted.
    #[error("there is no object {0:?}")]
    NoSuchObject(String),
    /// The object has no such version.
    #[error("{0:?} has no such version")]
    NoSuchVersion(String),
    /// The upload is finished, or was given up.
    #[error("there is no such upload, or no more")]
    NoSuchUpload,
    /// The bucket keeps no versions, so that nothing can be brought back.
    #[error("{0:?} keeps no versions: what is deleted or replaced there is gone")]
    NoVersions(String),
    /// A retention or a legal hold keeps it.
    #[error("{0:?} is locked")]
    Locked(String),
    /// More would be held than may be.
    #[error("{0}")]
    OverQuota(String),
    /// No room for another version.
    #[error("{0:?} has as many versions as it can have: delete some")]
    TooManyVersions(String),
    /// Only its owner has the key that opens it.
    #[error("{0:?} is sealed with a key that only its owner has: use the S3 program that stored it")]
    CustomerKey(String),
    /// The object ends before the bytes that were asked for; it has so many.
    #[error("the object has only {0} bytes")]
    OutOfRange(u64),
    /// More than fits into one object or part.
    #[error("{0}")]
    TooLarge(String),
    /// What was sent broke off.
    #[error("the upload broke off: nothing of it was stored")]
    BrokeOff,
    /// No key could own a new bucket.
    #[error("no access key may create buckets: name an owner")]
    NoOwner,
    /// No box of that number, name or node id takes part.
    #[error("no box of the mesh has the number, name or node id {0:?}")]
    NoSuchPeer(String),
    /// Several boxes have that name.
    #[error("several boxes are called {0:?}: use the number of one")]
    AmbiguousPeer(String),
    /// It cannot be done to the box that answers.
    #[error("{0:?} is this box")]
    ThisBox(String),
    /// A box cannot go yet: so many parts of the directory and of the buckets could not be changed without it.
    #[error("{0:?} is still needed: {1} of 257 parts of the mesh could not be changed without it")]
    StillNeeded(String, usize),
    /// A box cannot go yet: so many references to blocks, counted up to 10,000, are still to be handed over.
    #[error("{0:?} still has blocks that are not elsewhere yet ({1} references)")]
    StillHolds(String, u32),
    /// The mesh does not go on without some boxes, because of this one.
    #[error("{0}")]
    NotLost(String),
    /// No invite of that id, or of several.
    #[error("no invite, or more than one, has an id that begins with {0:?}")]
    NoSuchInvite(String),
    /// Somebody has joined with the invite.
    #[error("invite {0} was used already")]
    InviteUsed(String),
    /// The box does not answer.
    #[error("{0:?} does not answer")]
    NoAnswer(String),
    /// Too few members answer.
    #[error("too few boxes of the mesh answer: whether it was done is not known")]
    TooFewAnswer,
    /// Something in the request is not what it must be.
    #[error("{0}")]
    Invalid(String),
    /// Somebody else is changing the same thing.
    #[error("something else is changing this: try again")]
    Busy,
    /// No room.
    #[error("the disk is full")]
    Full,
    /// The node takes no writes.
    #[error("the node is read-only: {0}")]
    ReadOnly(String),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
    /// Something failed in the node.
    #[error("the node failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What the appliance asks of its node. Cheap questions answer at once, changes when they are durable.
pub trait Node: Objects {
    /// Whether requests are served right now.
    fn ready(&self) -> bool;

    /// What the status is drawn from. Waits a moment for other boxes to tell how they are.
    fn facts(&self) -> impl Future<Output = Facts> + Send;

    /// All boxes of the mesh, this one first.
    fn peers(&self) -> impl Future<Output = Vec<Home>> + Send;

    /// The box of that number, name or node id.
    ///
    /// # Errors
    /// `NoSuchPeer`, `AmbiguousPeer`.
    fn peer(&self, peer: &str) -> impl Future<Output = Result<Home, NodeError>> + Send;

    /// Gives a box another name.
    ///
    /// # Errors
    /// `NoSuchPeer`, `AmbiguousPeer`, `Invalid`, or the store's own.
    fn rename_peer(&self, peer: &str, name: &str) -> impl Future<Output = Result<Home, NodeError>> + Send;

    /// Has a box hand over what it holds, or keep it after all.
    ///
    /// # Errors
    /// `NoSuchPeer`, `AmbiguousPeer`, or the store's own.
    fn drain_peer(&self, peer: &str, draining: bool) -> impl Future<Output = Result<Home, NodeError>> + Send;

    /// Cuts a box off for good.
    ///
    /// # Errors
    /// `NoSuchPeer`, `AmbiguousPeer`, `ThisBox`, `StillNeeded`, or the store's own. `StillHolds` (it hands over what it
    /// holds from now on) and `NoAnswer`, unless what only it has is to be lost.
    fn remove_peer(&self, peer: &str, lose: bool) -> impl Future<Output = Result<(), NodeError>> + Send;

    /// Goes on without boxes that are lost for good, where those that are left are too few, or says what that would mean.
    ///
    /// # Errors
    /// `NoSuchPeer`, `AmbiguousPeer`, `ThisBox`, `NotLost`, `Invalid`, or the store's own.
    fn force_epoch(
        &self,
        without: &[String],
        dry_run: bool,
    ) -> impl Future<Output = Result<EpochForced, NodeError>> + Send;

    /// Asks a box, and measures how long the answer takes.
    ///
    /// # Errors
    /// `NoSuchPeer`, `AmbiguousPeer`, `ThisBox`, `NoAnswer`.
    fn ping_peer(&self, peer: &str) -> impl Future<Output = Result<Pong, NodeError>> + Send;

    /// Takes this box out of the mesh.
    ///
    /// # Errors
    /// `StillNeeded`, or `StillHolds` unless what only it has is to be lost: it hands over what it holds from now on.
    /// `Invalid`: it is alone. Or the store's own.
    fn leave(&self, lose: bool) -> impl Future<Output = Result<(), NodeError>> + Send;

    /// Makes an invite.
    ///
    /// # Errors
    /// `Invalid`, or the store's own.
    fn create_invite(
        &self,
        request: CreateInvite,
    ) -> impl Future<Output = Result<CreatedInvite, NodeError>> + Send;

    /// All invites that work, and those that did of late.
    fn invites(&self) -> Vec<Invite>;

    /// Takes an invite back.
    ///
    /// # Errors
    /// `NoSuchInvite`, `InviteUsed`, or the store's own.
    fn revoke_invite(&self, id: &str) -> impl Future<Output = Result<(), NodeError>> + Send;

    /// Has a box called that waits with an invite at this address, again and again until it is in or no invite is open.
    ///
    /// # Errors
    /// It is no address, or no invite is open.
    fn call_box(&self, address: &str) -> Result<(), NodeError>;

    /// The boxes that are called, or were of late.
    fn called(&self) -> Vec<CalledBox>;

    /// What vouches for this box over HTTPS; none before there is a certificate.
    fn https(&self) -> Option<HttpsFacts>;

    /// Has another authority sign for the mesh, which permits what this box is called now: all clients have to trust it anew.
    ///
    /// # Errors
    /// `Busy`: there is none yet, or somebody else does the same. Or the store's own.
    fn renew_authority(&self) -> impl Future<Output = Result<(), NodeError>> + Send;

    /// How this box can be reached.
    fn net(&self) -> NetReport;

    /// Limits how fast content flows one way.
    ///
    /// # Errors
    /// `Invalid`: nothing would flow, or the configuration says it. It cannot be kept.
    fn set_limit(&self, limit: SetLimit) -> impl Future<Output = Result<NetReport, NodeError>> + Send;

    /// Has content flow slowly for a while, or no longer.
    ///
    /// # Errors
    /// `Invalid`: for too long, or nothing would flow. It cannot be kept.
    fn set_quiet(&self, quiet: SetQuiet) -> impl Future<Output = Result<NetReport, NodeError>> + Send;

    /// The last lines of its log, oldest first.
    fn log(&self) -> Vec<String>;

    /// The copy of the sealed keys that a recovery kit holds, in hexadecimal digits.
    ///
    /// # Errors
    /// `Invalid`: somebody took the file away.
    fn keys_sealed(&self) -> Result<String, NodeError>;

    /// What it measures beside [`Node::facts`]. Objects are counted now and then; whoever asks first waits a moment for that.
    fn measures(&self) -> impl Future<Output = Measures> + Send;

    /// What it saw of the boxes over time.
    fn past(&self) -> Past;

    /// Who is wanted to hold what.
    fn layout(&self) -> LayoutShown;

    /// What would change next.
    ///
    /// # Errors
    /// `Invalid`: nothing can be proposed, and why.
    fn preview_layout(&self) -> Result<LayoutPreviewShown, NodeError>;

    /// Keeps the layout as it is, or lets it change by itself again.
    ///
    /// # Errors
    /// The store's own.
    fn pause_layout(&self, pause: bool) -> impl Future<Output = Result<LayoutShown, NodeError>> + Send;

    /// Gives everybody who is connected its share now; says whether anything changes.
    ///
    /// # Errors
    /// The store's own.
    fn settle_layout(&self) -> impl Future<Output = Result<bool, NodeError>> + Send;

    /// What is being repaired. Waits a moment for other boxes to tell.
    ///
    /// # Errors
    /// The store's own.
    fn repair(&self) -> impl Future<Output = Result<RepairShown, NodeError>> + Send;

    /// Has all boxes free the blocks that nothing refers to, or goes on with that where an earlier answer said `until`.
    ///
    /// # Errors
    /// The store's own.
    fn sweep(&self, until: Option<u32>) -> impl Future<Output = Result<SweepShown, NodeError>> + Send;

    /// How far verifying the blocks of this box has come.
    fn scrub(&self) -> ScrubShown;

    /// Begins to verify them now, or pauses that.
    fn set_scrub(&self, paused: bool);

    /// The directories in which this box keeps blocks.
    fn disks(&self) -> Vec<DiskShown>;

    /// The settings the node runs with, in the order of the manual.
    fn settings(&self) -> Vec<Setting>;

    /// All buckets by name.
    fn buckets(&self) -> Vec<Bucket>;

    /// The bucket of that name, and what it holds.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    fn bucket(&self, name: &str) -> impl Future<Output = Result<BucketInfo, NodeError>> + Send;

    /// Gives a bucket another name, or takes it away.
    ///
    /// # Errors
    /// `NoSuchBucket`, `NoSuchKey`, `AmbiguousKey`, `BucketExists`, `Invalid`, or the store's own.
    fn set_alias(
        &self,
        name: &str,
        request: SetAlias,
    ) -> impl Future<Output = Result<BucketInfo, NodeError>> + Send;

    /// Bounds what a bucket may hold.
    ///
    /// # Errors
    /// `NoSuchBucket`, or the store's own.
    fn set_bucket_quota(
        &self,
        name: &str,
        quota: Quota,
    ) -> impl Future<Output = Result<BucketInfo, NodeError>> + Send;

    /// Creates a bucket.
    ///
    /// # Errors
    /// `Invalid`, `BucketExists`, `NoOwner`, `NoSuchKey`, or the store's own.
    fn create_bucket(
        &self,
        request: CreateBucket,
    ) -> impl Future<Output = Result<BucketInfo, NodeError>> + Send;

    /// Deletes an empty bucket.
    ///
    /// # Errors
    /// `NoSuchBucket`, `BucketNotEmpty`, or the store's own.
    fn delete_bucket(&self, name: &str) -> impl Future<Output = Result<(), NodeError>> + Send;

    /// Lets anyone read and list a bucket, or only keys.
    ///
    /// # Errors
    /// `NoSuchBucket`, or the store's own.
    fn set_public(
        &self,
        name: &str,
        public: bool,
    ) -> impl Future<Output = Result<BucketInfo, NodeError>> + Send;

    /// All access keys by id.
    fn keys(&self) -> Vec<Key>;

    /// The key of that id, or the only one of that name.
    ///
    /// # Errors
    /// `NoSuchKey`, `AmbiguousKey`.
    fn key(&self, id_or_name: &str) -> Result<Key, NodeError>;

    /// Creates or imports an access key.
    ///
    /// # Errors
    /// `Invalid`, `KeyExists`, or the store's own.
    fn create_key(&self, request: CreateKey) -> impl Future<Output = Result<CreatedKey, NodeError>> + Send;

    /// Gives or takes permissions.
    ///
    /// # Errors
    /// `NoSuchKey`, `AmbiguousKey`, `NoSuchBucket`, or the store's own.
    fn change_key(
        &self,
        id_or_name: &str,
        change: Change,
        request: ChangeKey,
    ) -> impl Future<Output = Result<Key, NodeError>> + Send;

    /// Bounds what all buckets together may hold that a key owns.
    ///
    /// # Errors
    /// `NoSuchKey`, `AmbiguousKey`, or the store's own.
    fn set_key_quota(
        &self,
        id_or_name: &str,
        quota: Quota,
    ) -> impl Future<Output = Result<Key, NodeError>> + Send;

    /// Does what an app does with a key: stores, reads, lists, uploads in parts and deletes over HTTP. What it stored is
    /// removed again.
    ///
    /// # Errors
    /// `NoSuchKey`, `AmbiguousKey`, `NoSuchBucket`; `Invalid`: what is stored there is locked at once.
    fn test_app(
        &self,
        id_or_name: &str,
        bucket: &str,
    ) -> impl Future<Output = Result<AppTested, NodeError>> + Send;

    /// Deletes a key; whoever uses it is refused from then on.
    ///
    /// # Errors
    /// `NoSuchKey`, `AmbiguousKey`, or the store's own.
    fn delete_key(&self, id_or_name: &str) -> impl Future<Output = Result<(), NodeError>> + Send;
}
