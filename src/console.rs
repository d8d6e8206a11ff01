//! Shows the node to the appliance: implements its port over the store.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use appliance::api::{self, Change, ChangeKey, CreateBucket, CreateKey, CreatedKey, Schema};
use appliance::{Facts, HttpsFacts, Measures, NodeError, Past, Trouble};
use p2p::NodeId;
use storage::disk::{DirectoryState, DiskStatus};
use storage::model::{
    AccessKey, AccessKeyId, AclRights, Bucket, BucketName, BucketSettings, Grants, KeyName, Quota, SecretKey,
    Timestamp, Usage, Versioning,
};
use storage::{Alias, NewKey, Parting, Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::endpoint;
use crate::history::History;
use crate::https::Certificates;
use crate::logging;
use crate::mesh::Mesh;

mod app_test;
mod copies;
mod measures;
mod net;
mod objects;
mod past;
mod peers;
mod recent;
mod share;
mod upkeep;
mod uploads;
mod ways;

pub(crate) use copies::RecentCopies;
pub(crate) use measures::RecentObjects;

/// The node as the appliance sees it.
pub(crate) struct Console {
    pub(crate) store: Store,
    pub(crate) mesh: Mesh,
    pub(crate) config: Config,
    pub(crate) node: NodeId,
    pub(crate) s3: SocketAddr,
    /// The name under which the network knows this box, where it is told one.
    pub(crate) called: Option<String>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) started: Instant,
    pub(crate) stopping: CancellationToken,
    pub(crate) copies: RecentCopies,
    pub(crate) objects: RecentObjects,
    pub(crate) meter: Arc<s3::Meter>,
    pub(crate) history: History,
}

impl appliance::Node for Console {
    fn ready(&self) -> bool {
        !self.stopping.is_cancelled()
    }

    async fn facts(&self) -> Facts {
        let disk = self.store.disk_status();
        let stopping = self.stopping.is_cancelled();
        let (homes, copies, ailing) = self.copies_shown().await;
        Facts {
            name: self.config.name.value.clone(),
            homes,
            copies,
            s3: endpoint::urls_called(self.s3, self.called.as_deref()),
            buckets: self.store.buckets().len(),
            keys: self.store.access_keys().len(),
            uptime_seconds: self.started.elapsed().as_secs(),
            troubles: stopping
                .then_some(Trouble::NotServing)
                .into_iter()
                .chain(self.has_left().then_some(Trouble::Left))
                .chain(
                    self.store
                        .forgotten()
                        .map(|why| Trouble::Forgotten(why.to_string())),
                )
                .chain(troubles(&disk, &self.config.state.value))
                .chain(ailing)
                .collect(),
        }
    }

    async fn peers(&self) -> Vec<api::Home> {
        self.copies_shown().await.0
    }

    async fn peer(&self, peer: &str) -> Result<api::Home, NodeError> {
        let (member, row) = self.find_peer(peer).await?;
        Ok(self.home(member, &row).await)
    }

    async fn rename_peer(&self, peer: &str, name: &str) -> Result<api::Home, NodeError> {
        self.rename(peer, name).await
    }

    async fn drain_peer(&self, peer: &str, draining: bool) -> Result<api::Home, NodeError> {
        self.drain(peer, draining).await
    }

    async fn remove_peer(&self, peer: &str, lose: bool) -> Result<(), NodeError> {
        self.remove(peer, parting(lose)).await
    }

    async fn force_epoch(&self, without: &[String], dry_run: bool) -> Result<api::EpochForced, NodeError> {
        self.go_on_without(without, dry_run).await
    }

    async fn ping_peer(&self, peer: &str) -> Result<api::Pong, NodeError> {
        self.ping(peer).await
    }

    async fn leave(&self, lose: bool) -> Result<(), NodeError> {
        self.leave_mesh(parting(lose)).await
    }

    async fn create_invite(&self, request: api::CreateInvite) -> Result<api::CreatedInvite, NodeError> {
        self.invite(&request).await
    }

    fn invites(&self) -> Vec<api::Invite> {
        self.invites_shown()
    }

    fn call_box(&self, address: &str) -> Result<(), NodeError> {
        self.call(address)
    }

    fn called(&self) -> Vec<api::CalledBox> {
        self.called_shown()
    }

    async fn revoke_invite(&self, id: &str) -> Result<(), NodeError> {
        self.revoke(id).await
    }

    fn https(&self) -> Option<HttpsFacts> {
        self.https_facts()
    }

    async fn renew_authority(&self) -> Result<(), NodeError> {
        self.authority_renewed().await
    }

    fn net(&self) -> api::NetReport {
        self.net_report()
    }

    async fn set_limit(&self, limit: api::SetLimit) -> Result<api::NetReport, NodeError> {
        self.limit(&limit).await
    }

    async fn set_quiet(&self, quiet: api::SetQuiet) -> Result<api::NetReport, NodeError> {
        self.quieten(&quiet).await
    }

    fn log(&self) -> Vec<String> {
        logging::recent()
    }

    fn keys_sealed(&self) -> Result<String, NodeError> {
        let missing = "recovery.sealed is missing on this box: ask another one, or copy the file from there";
        let copy = self.store.recovery_copy();
        let copy = copy.ok_or_else(|| NodeError::Invalid(missing.into()))?;
        Ok(hex::encode(copy))
    }

    async fn measures(&self) -> Measures {
        self.measured().await
    }

    fn past(&self) -> Past {
        self.past_shown()
    }

    fn layout(&self) -> api::LayoutShown {
        self.layout_shown()
    }

    fn preview_layout(&self) -> Result<api::LayoutPreviewShown, NodeError> {
        self.layout_previewed()
    }

    async fn pause_layout(&self, pause: bool) -> Result<api::LayoutShown, NodeError> {
        self.set_layout_paused(pause).await
    }

    async fn settle_layout(&self) -> Result<bool, NodeError> {
        self.layout_settled().await
    }

    async fn repair(&self) -> Result<api::RepairShown, NodeError> {
        self.repair_shown().await
    }

    async fn sweep(&self, until: Option<u32>) -> Result<api::SweepShown, NodeError> {
        self.swept(until).await
    }

    fn scrub(&self) -> api::ScrubShown {
        self.scrub_shown()
    }

    fn disks(&self) -> Vec<api::DiskShown> {
        self.disks_shown()
    }

    fn set_scrub(&self, paused: bool) {
        match paused {
            true => self.store.pause_scrub(),
            false => self.store.start_scrub(),
        }
    }

    fn settings(&self) -> Vec<api::Setting> {
        settings(&self.config)
    }

    fn buckets(&self) -> Vec<api::Bucket> {
        self.store
            .buckets()
            .iter()
            .map(|bucket| bucket_shown(bucket))
            .collect()
    }

    async fn bucket(&self, name: &str) -> Result<api::BucketInfo, NodeError> {
        let bucket = self
            .store
            .bucket(&existing(name)?)
            .map_err(|error| refusal(error, name))?;
        Ok(self.bucket_info(&bucket).await)
    }

    async fn create_bucket(&self, request: CreateBucket) -> Result<api::BucketInfo, NodeError> {
        let name = BucketName::parse(&request.name).map_err(|error| NodeError::Invalid(error.to_string()))?;
        let owner = match &request.owner {
            Some(key) => self.find_key(key)?,
            None => default_owner(&self.store.access_keys()).ok_or(NodeError::NoOwner)?,
        };
        let created = self
            .store
            .create_bucket(&name, &owner.id, BucketSettings::default())
            .await;
        let bucket = created.map_err(|error| refusal(error, name.as_str()))?;
        Ok(self.bucket_info(&bucket).await)
    }

    async fn delete_bucket(&self, name: &str) -> Result<(), NodeError> {
        let refusal = |error| refusal(error, name);
        let bucket = self.store.bucket(&existing(name)?).map_err(refusal)?;
        if bucket.name.as_str() != name {
            let own = &bucket.name;
            return Err(NodeError::Invalid(format!(
                "{name:?} is another name of the bucket {own}: say which you mean by its own"
            )));
        }
        self.store.delete_bucket(&bucket).await.map_err(refusal)
    }

    async fn set_public(&self, name: &str, public: bool) -> Result<api::BucketInfo, NodeError> {
        let refusal = |error| refusal(error, name);
        let bucket = self.store.bucket(&existing(name)?).map_err(refusal)?;
        let blocked = bucket.settings.blocked();
        if public && (bucket.settings.has_no_acls() || blocked.block_acls || blocked.ignore_acls) {
            return Err(NodeError::Invalid(
                "the bucket's public access block or ownership controls forbid a public ACL: change those first".into(),
            ));
        }
        let changed = self
            .store
            .change_bucket(&bucket, move |settings| {
                settings.acl = settings.acl.with_public_read(public)
            })
            .await;
        let bucket = changed.map_err(refusal)?;
        Ok(self.bucket_info(&bucket).await)
    }

    async fn set_alias(&self, name: &str, request: api::SetAlias) -> Result<api::BucketInfo, NodeError> {
        let bucket = self
            .store
            .bucket(&existing(name)?)
            .map_err(|error| refusal(error, name))?;
        let alias = BucketName::parse(&request.alias);
        let key = request.key.as_deref().map(|key| self.find_key(key)).transpose()?;
        let alias = Alias {
            name: alias.map_err(|error| NodeError::Invalid(error.to_string()))?,
            key: key.map(|key| key.id.clone()),
        };
        let set = self.store.set_alias(&bucket, alias, request.on).await;
        set.map_err(|error| match error {
            StoreError::BucketState(why) => NodeError::Invalid(why.into()),
            other => refusal(other, &request.alias),
        })?;
        Ok(self.bucket_info(&bucket).await)
    }

    async fn set_bucket_quota(&self, name: &str, set: api::Quota) -> Result<api::BucketInfo, NodeError> {
        let refusal = |error| refusal(error, name);
        let bucket = self.store.bucket(&existing(name)?).map_err(refusal)?;
        let changed = self
            .store
            .change_bucket(&bucket, move |settings| settings.quota = quota(set))
            .await;
        Ok(self.bucket_info(&*changed.map_err(refusal)?).await)
    }

    fn keys(&self) -> Vec<api::Key> {
        self.store
            .access_keys()
            .iter()
            .map(|key| self.key_shown(key))
            .collect()
    }

    fn key(&self, id_or_name: &str) -> Result<api::Key, NodeError> {
        Ok(self.key_shown(&*self.find_key(id_or_name)?))
    }

    async fn create_key(&self, request: CreateKey) -> Result<CreatedKey, NodeError> {
        let name = KeyName::parse(&request.name).map_err(NodeError::Invalid)?;
        let import = request.import.map(|import| {
            let id = AccessKeyId::parse(&import.id).map_err(NodeError::Invalid)?;
            let secret = SecretKey::parse(import.secret.expose()).map_err(NodeError::Invalid)?;
            Ok::<_, NodeError>((id, secret))
        });
        let import = import.transpose()?;
        let id = import.as_ref().map(|(id, _)| id.to_string()).unwrap_or_default();
        let new = NewKey {
            name,
            create_buckets: request.create_buckets,
            import,
        };
        let key = self
            .store
            .create_key(new)
            .await
            .map_err(|error| refusal(error, &id))?;
        Ok(CreatedKey {
            schema: Schema,
            key: self.key_shown(&key),
            secret: api::Secret::new(key.secret.expose().to_owned()),
        })
    }

    async fn change_key(
        &self,
        id_or_name: &str,
        change: Change,
        request: ChangeKey,
    ) -> Result<api::Key, NodeError> {
        let mut key = self.find_key(id_or_name)?;
        if request.on.is_none() && !request.create_buckets {
            return Err(NodeError::Invalid(
                "name a bucket or the right to create buckets".into(),
            ));
        }
        if let Some(on) = request.on {
            let bucket = existing(&on.bucket)?;
            let named = grants(on.grants);
            let changed = self.store.set_grants(&key.id, &bucket, move |held| match change {
                Change::Allow => held.with(named),
                Change::Deny => held.without(named),
            });
            changed.await.map_err(|error| match error {
                StoreError::NoSuchBucket => NodeError::NoSuchBucket(on.bucket.clone()),
                other => refusal(other, id_or_name),
            })?;
        }
        if request.create_buckets {
            let changed = self
                .store
                .set_create_buckets(&key.id, change == Change::Allow)
                .await;
            key = changed.map_err(|error| refusal(error, id_or_name))?;
        }
        Ok(self.key_shown(&key))
    }

    async fn set_key_quota(&self, id_or_name: &str, set: api::Quota) -> Result<api::Key, NodeError> {
        let key = self.find_key(id_or_name)?;
        let changed = self.store.set_key_quota(&key.id, quota(set)).await;
        Ok(self.key_shown(&*changed.map_err(|error| refusal(error, id_or_name))?))
    }

    async fn test_app(&self, id_or_name: &str, bucket: &str) -> Result<api::AppTested, NodeError> {
        self.app_tested(id_or_name, bucket).await
    }

    async fn delete_key(&self, id_or_name: &str) -> Result<(), NodeError> {
        let key = self.find_key(id_or_name)?;
        let deleted = self.store.delete_key(&key.id).await;
        deleted.map_err(|error| refusal(error, id_or_name))
    }
}

impl Console {
    /// The key of that id, or the only one of that name.
    fn find_key(&self, id_or_name: &str) -> Result<Arc<AccessKey>, NodeError> {
        let by_id = AccessKeyId::parse(id_or_name)
            .ok()
            .and_then(|id| self.store.access_key(&id).ok());
        if let Some(key) = by_id {
            return Ok(key);
        }
        let mut named = self
            .store
            .access_keys()
            .into_iter()
            .filter(|key| key.name.as_str() == id_or_name);
        match (named.next(), named.next()) {
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) => Err(NodeError::AmbiguousKey(id_or_name.into())),
            (None, _) => Err(NodeError::NoSuchKey(id_or_name.into())),
        }
    }

    async fn bucket_info(&self, bucket: &Bucket) -> api::BucketInfo {
        let held = self.store.usage(bucket).await.ok();
        let keys = self.store.access_keys().into_iter().filter_map(|key| {
            let held = bucket.grants_of(&key);
            (held != Grants::NONE).then(|| api::BucketKey {
                id: key.id.to_string(),
                name: key.name.as_str().into(),
                grants: grants_shown(held),
            })
        });
        api::BucketInfo {
            schema: Schema,
            policy: bucket.settings.policy.is_some(),
            versioning: match bucket.settings.versioning {
                Versioning::Off => api::Versioning::Off,
                Versioning::Enabled => api::Versioning::On,
                Versioning::Suspended => api::Versioning::Suspended,
            },
            lock: ways::lock_shown(bucket),
            website: ways::website_shown(bucket),
            aliases: self.store.aliases(bucket).into_iter().map(alias_shown).collect(),
            quota: quota_shown(bucket.settings.quota),
            holds: held.map(|Usage { bytes, objects }| api::Usage { bytes, objects }),
            keys: keys.collect(),
            bucket: bucket_shown(bucket),
        }
    }

    fn key_shown(&self, key: &AccessKey) -> api::Key {
        let buckets = self.store.buckets().into_iter().filter_map(|bucket| {
            let held = bucket.grants_of(key);
            (held != Grants::NONE).then(|| api::KeyBucket {
                bucket: bucket.name.to_string(),
                grants: grants_shown(held),
            })
        });
        api::Key {
            id: key.id.to_string(),
            name: key.name.as_str().into(),
            created: time_shown(key.created),
            create_buckets: key.create_buckets,
            quota: quota_shown(key.quota),
            buckets: buckets.collect(),
        }
    }
}

/// What is wrong with a disk whose rows are in `state`.
fn troubles(disk: &DiskStatus, state: &Path) -> Vec<Trouble> {
    let mut troubles: Vec<Trouble> = disk.rows.loss.iter().cloned().map(Trouble::Lost).collect();
    if disk.rows.stopped {
        troubles.push(Trouble::Stopped(state.display().to_string()));
    }
    for directory in &disk.directories {
        let path = directory.path.display().to_string();
        match directory.state {
            DirectoryState::Serving => {}
            DirectoryState::Stopped => troubles.push(Trouble::Stopped(path.clone())),
            DirectoryState::Missing => troubles.push(Trouble::Missing(path.clone())),
        }
        if directory.damaged > 0 {
            troubles.push(Trouble::Damaged(path, directory.damaged));
        }
    }
    // One directory with room is enough: new blocks go there.
    let mut serving = disk
        .directories
        .iter()
        .filter(|one| one.state == DirectoryState::Serving)
        .peekable();
    if serving.peek().is_some() && serving.all(|directory| directory.full) {
        troubles.push(Trouble::Full);
    }
    troubles
}

/// The settings as the API shows them.
pub(crate) fn settings(config: &Config) -> Vec<api::Setting> {
    let shown = config.settings().map(|(key, value, source)| api::Setting {
        key: key.into(),
        value,
        source: source.to_string(),
    });
    shown.into()
}

/// Who owns a bucket that somebody at the box creates: the oldest key that may create buckets.
fn default_owner(keys: &[Arc<AccessKey>]) -> Option<Arc<AccessKey>> {
    let may_create = keys.iter().filter(|key| key.create_buckets);
    may_create.min_by_key(|key| (key.created, &key.id)).cloned()
}

/// A name that is asked about. One that no bucket can have names no bucket.
fn existing(name: &str) -> Result<BucketName, NodeError> {
    BucketName::parse(name).map_err(|_| NodeError::NoSuchBucket(name.into()))
}

/// What a box takes along, by whether a person gives up what only it has.
fn parting(lose: bool) -> Parting {
    match lose {
        true => Parting::WithWhatItHolds,
        false => Parting::WithNothing,
    }
}

/// Why the store refused something about `name`.
fn refusal(error: StoreError, name: &str) -> NodeError {
    match error {
        StoreError::NoSuchBucket => NodeError::NoSuchBucket(name.into()),
        StoreError::NoSuchAccessKey => NodeError::NoSuchKey(name.into()),
        StoreError::BucketAlreadyExists | StoreError::BucketAlreadyOwnedByYou => {
            NodeError::BucketExists(name.into())
        }
        StoreError::BucketNotEmpty => NodeError::BucketNotEmpty(name.into()),
        StoreError::AccessKeyExists => NodeError::KeyExists(name.into()),
        StoreError::Conflict => NodeError::Busy,
        StoreError::DiskFull => NodeError::Full,
        StoreError::ReadOnly(why) => NodeError::ReadOnly(why),
        StoreError::Closed => NodeError::Stopping,
        StoreError::Unavailable => NodeError::TooFewAnswer,
        StoreError::NoSuchMember => NodeError::NoSuchPeer(name.into()),
        StoreError::StillNeeded { partitions } => NodeError::StillNeeded(name.into(), partitions),
        StoreError::StillHolds { references } => NodeError::StillHolds(name.into(), references),
        StoreError::MemberAway => NodeError::NoAnswer(name.into()),
        StoreError::NoSuchInvite => NodeError::NoSuchInvite(name.into()),
        other => NodeError::Failed(Box::new(other)),
    }
}

fn bucket_shown(bucket: &Bucket) -> api::Bucket {
    api::Bucket {
        name: bucket.name.to_string(),
        created: time_shown(bucket.created),
        owner: bucket.owner.to_string(),
        public: match bucket.settings.rights(&bucket.settings.acl, None) {
            AclRights {
                read: false,
                write: false,
                ..
            } => api::Public::No,
            AclRights { write: false, .. } => api::Public::Read,
            AclRights { .. } => api::Public::ReadWrite,
        },
    }
}

fn alias_shown(alias: Alias) -> api::Alias {
    api::Alias {
        name: alias.name.to_string(),
        key: alias.key.map(|key| key.to_string()),
    }
}

fn quota_shown(quota: Quota) -> api::Quota {
    api::Quota {
        max_bytes: quota.bytes,
        max_objects: quota.objects,
    }
}

fn quota(set: api::Quota) -> Quota {
    Quota {
        bytes: set.max_bytes,
        objects: set.max_objects,
    }
}

fn grants_shown(held: Grants) -> api::Grants {
    api::Grants {
        read: held.read,
        write: held.write,
        owner: held.owner,
    }
}

fn grants(named: api::Grants) -> Grants {
    Grants {
        read: named.read,
        write: named.write,
        owner: named.owner,
    }
}

/// RFC 3339 in UTC, to the second.
pub(crate) fn time_shown(time: Timestamp) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds)
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}

#[cfg(test)]
mod tests {
    use storage::disk::DirectoryStatus;

    use super::*;

    fn directory(path: &str, state: DirectoryState, full: bool) -> DirectoryStatus {
        DirectoryStatus {
            path: path.into(),
            state,
            used: 1,
            given: 2,
            full,
            damaged: 0,
            frames_lost: 0,
        }
    }

    fn check(directories: Vec<DirectoryStatus>, expected: &[Trouble]) {
        let disk = DiskStatus {
            directories,
            ..DiskStatus::default()
        };
        assert_eq!(troubles(&disk, Path::new("/state")), expected);
    }

    #[test]
    fn a_disk_is_full_only_when_no_directory_has_room() {
        let (room, full) = (
            directory("/a", DirectoryState::Serving, false),
            directory("/b", DirectoryState::Serving, true),
        );
        check(vec![room, full.clone()], &[]);
        check(vec![full], &[Trouble::Full]);
    }

    #[test]
    fn a_directory_that_stopped_or_is_missing_is_named() {
        check(
            vec![directory("/a", DirectoryState::Stopped, false)],
            &[Trouble::Stopped("/a".into())],
        );
        check(
            vec![directory("/a", DirectoryState::Missing, false)],
            &[Trouble::Missing("/a".into())],
        );
    }

    #[test]
    fn lost_rows_are_told_in_the_words_of_the_disk() {
        let mut disk = DiskStatus::default();
        disk.rows.loss = Some("3 frames".into());
        assert_eq!(
            troubles(&disk, Path::new("/state")),
            [Trouble::Lost("3 frames".into())]
        );
    }
}
