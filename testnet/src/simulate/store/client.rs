//! One client of a simulated store: random calls, each noted with its answer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use md5::{Digest as _, Md5};
use storage::disk::fault::Random;
use storage::model::{
    AccessKeyId, Bucket, BucketName, BucketSettings, ChecksumAlgorithm, ETag, Lock, ObjectHeaders, ObjectKey,
    PartNumber, StorageClass, UploadId, WriteCondition,
};
use storage::{
    Claims, CompleteUpload, CompletedPart, CopyObject, DeleteTarget, ListObjects, NewObject, NewUpload,
    Object, ObjectBody, Store, StoreError,
};

use super::history::{Answer, Ask, History, Key, Open};
use super::plan::Plan;
use super::versions::{Kept, keeping};

/// Names of the buckets that clients use.
const BUCKETS: usize = 2;
/// The longest a client waits before it gives a call up.
const PATIENCE_MILLIS: usize = 60;
/// The longest a client rests between two calls.
const REST_MILLIS: usize = 120;

/// What clients have found out together.
#[derive(Default)]
pub(crate) struct Noted {
    pub(crate) history: History,
    /// Versions that buckets keep.
    pub(super) kept: Kept,
    /// Content by its tag.
    contents: BTreeMap<String, Bytes>,
    /// Calls made, and of them those that were answered.
    pub(crate) calls: u64,
    /// The first promise that was broken.
    pub(crate) broken: Option<String>,
    /// A hash of every answer.
    pub(crate) trace: u64,
}

impl Noted {
    /// Notes a broken promise, unless there is one already.
    pub(crate) fn broken(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    fn trace(&mut self, text: &str) {
        for byte in text.bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
}

/// A client of one life of the store.
pub(crate) struct Client {
    pub(crate) store: Store,
    pub(crate) dice: Random,
    pub(crate) owner: AccessKeyId,
    pub(crate) keys: usize,
    pub(crate) plan: Rc<Plan>,
    pub(crate) noted: Rc<RefCell<Noted>>,
}

/// How a call ended.
pub(super) enum Ended<T> {
    Well(T),
    /// The condition does not hold.
    Refused,
    /// Nothing happened, and nothing was learnt.
    Nothing,
    Unknown,
}

impl Client {
    /// Makes so many calls, one after another.
    pub(crate) async fn run(mut self, calls: usize) {
        for _ in 0..calls {
            let rest = Duration::from_millis(self.dice.below(REST_MILLIS) as u64);
            tokio::time::sleep(rest).await;
            self.noted.borrow_mut().calls += 1;
            let gives_up = self.dice.below(12) == 0;
            let patience = Duration::from_millis(self.dice.below(PATIENCE_MILLIS) as u64);
            let call = Box::pin(self.call());
            if gives_up {
                // Whatever is dropped on the way stays unknown.
                drop(tokio::time::timeout(patience, call).await);
            } else {
                call.await;
            }
        }
    }

    async fn call(&mut self) {
        let name = bucket_name(self.dice.below(BUCKETS));
        let known = match self.store.bucket(&name) {
            Err(_) if self.store.hear_news().await => self.store.bucket(&name),
            known => known,
        };
        let Ok(bucket) = known else {
            return self.create_bucket(&name).await;
        };
        if bucket.settings.versioning.was_ever_on() && self.dice.below(4) == 0 {
            let key = self.random_key(&bucket);
            return self.use_a_version(&bucket, &key).await;
        }
        match self.dice.below(100) {
            0..=37 => self.put(&bucket).await,
            38..=57 => {
                let key = self.random_key(&bucket);
                self.get(&bucket, &key).await;
            }
            58..=69 => self.delete(&bucket).await,
            70..=79 => self.copy(&bucket).await,
            80..=91 => Box::pin(self.upload(&bucket)).await,
            92..=96 => drop(self.list(&bucket).await),
            _ => self.delete_bucket(&bucket).await,
        }
    }

    async fn create_bucket(&mut self, name: &BucketName) {
        let settings = match self.plan.keeps_versions && *name == bucket_name(1) {
            true => keeping(),
            false => BucketSettings::default(),
        };
        let created = self.store.create_bucket(name, &self.owner, settings).await;
        let ended = match created {
            Err(StoreError::BucketAlreadyOwnedByYou) => Ended::Nothing,
            created => self.ended("create bucket", created),
        };
        if let Ended::Well(bucket) = ended {
            let keys = (0..self.keys).map(|number| key_of(&bucket, number));
            self.noted.borrow_mut().history.know(keys);
        }
    }

    async fn delete_bucket(&mut self, bucket: &Bucket) {
        let keys: Vec<_> = (0..self.keys).map(|number| key_of(bucket, number)).collect();
        let opens: Vec<_> = keys
            .into_iter()
            .map(|key| self.ask(key, Ask::DropBucket))
            .collect();
        let deleted = self.store.delete_bucket(bucket).await;
        let ended = match deleted {
            Err(StoreError::BucketNotEmpty) => Ended::Nothing,
            deleted => self.ended("delete bucket", deleted),
        };
        for open in &opens {
            self.answered(open, &ended);
        }
        let mut noted = self.noted.borrow_mut();
        if let Ended::Well(()) = ended
            && let Some(what) = noted.kept.dropped(bucket.id)
        {
            noted.broken(what);
        }
    }

    async fn put(&mut self, bucket: &Bucket) {
        let key = self.random_key(bucket);
        let content = self.content();
        let tag = self.note_content(ETag::Md5(Md5::digest(&content).into()), content.clone());
        let condition = self.condition(bucket, &key).await;
        let open = self.ask(key.clone(), Ask::Put(tag, condition));
        let new = NewObject {
            headers: ObjectHeaders::default(),
            class: StorageClass::Standard,
            condition,
            lock: Lock::default(),
            cause: storage::model::Cause::default(),
            invocation: None,
        };
        let body = Body::new(content, 1 + self.dice.below(1500));
        let put = self.store.put_object(bucket, &object_key(&key), new, body).await;
        self.note_version(bucket, &key, &put);
        let ended = self.ended("put", put.map(|outcome| outcome.etag));
        self.expect_tag(&ended, tag);
        self.answered(&open, &ended);
    }

    /// Mostly none; else one that holds or does not.
    async fn condition(&mut self, bucket: &Bucket, key: &Key) -> WriteCondition {
        match self.dice.below(10) {
            0 | 1 => WriteCondition::Absent,
            2 => WriteCondition::Present,
            3 | 4 => WriteCondition::Tag(self.get(bucket, key).await),
            _ => WriteCondition::None,
        }
    }

    async fn delete(&mut self, bucket: &Bucket) {
        let key = self.random_key(bucket);
        let condition = match self.dice.below(4) {
            0 => WriteCondition::Tag(self.get(bucket, &key).await),
            _ => WriteCondition::None,
        };
        let open = self.ask(key.clone(), Ask::Delete(condition));
        let target = DeleteTarget {
            key: object_key(&key),
            version: None,
            condition,
            bypass: false,
            cause: storage::model::Cause::default(),
        };
        let deleted = self.store.delete_object(bucket, target).await;
        let ended = self.ended("delete", deleted);
        self.answered(&open, &ended);
    }

    async fn copy(&mut self, bucket: &Bucket) {
        let from = self.random_key(bucket);
        let Some(source) = self.open(bucket, &from).await else {
            return;
        };
        // Whoever copies may take its time.
        tokio::time::sleep(Duration::from_millis(self.dice.below(30) as u64)).await;
        let name = bucket_name(self.dice.below(BUCKETS));
        let Ok(target) = self.store.bucket(&name) else {
            return;
        };
        let key = self.random_key(&target);
        let condition = match self.dice.below(5) {
            0 => WriteCondition::Absent,
            _ => WriteCondition::None,
        };
        // A copy with a checksum reads and stores the content anew, as that of a plain object.
        let anew = self.dice.below(4) == 0;
        let tag = match anew {
            true => {
                let content = self.content_of(source.info().etag).unwrap_or_default();
                self.note_content(ETag::Md5(Md5::digest(&content).into()), content)
            }
            false => source.info().etag,
        };
        let copy = CopyObject {
            customer: None,
            headers: None,
            tags: None,
            class: StorageClass::Standard,
            checksum: anew.then_some(ChecksumAlgorithm::Crc32),
            condition,
            lock: Lock::default(),
            cause: storage::model::Cause::default(),
            invocation: None,
        };
        let open = self.ask(key.clone(), Ask::Put(tag, condition));
        let copied = self
            .store
            .copy_object(&source, &target, &object_key(&key), copy)
            .await;
        self.note_version(&target, &key, &copied);
        let ended = self.ended("copy", copied.map(|outcome| outcome.etag));
        self.expect_tag(&ended, tag);
        self.answered(&open, &ended);
    }

    /// An upload with a few parts, which is completed, aborted, both at a time, or left open.
    async fn upload(&mut self, bucket: &Bucket) {
        let key = self.random_key(bucket);
        let new = NewUpload {
            customer: None,
            headers: ObjectHeaders::default(),
            class: StorageClass::Standard,
            checksum: None,
            full_object: false,
            initiator: None,
            lock: Lock::default(),
        };
        let created = self.store.create_upload(bucket, &object_key(&key), new).await;
        let Ended::Well(upload) = self.ended("create upload", created) else {
            return;
        };
        let Some((tag, parts)) = self.parts(bucket, &key, upload).await else {
            return;
        };
        match self.dice.below(8) {
            0 => {}
            1 => {
                let aborted = self.store.abort_upload(bucket, &object_key(&key), upload).await;
                self.ended("abort", aborted);
            }
            2 => Box::pin(self.complete_and_abort(bucket, &key, upload, tag, parts)).await,
            _ => drop(self.complete(bucket, &key, upload, tag, parts).await),
        }
    }

    /// Stores parts; gives the tag of the object they make.
    async fn parts(
        &mut self,
        bucket: &Bucket,
        key: &Key,
        upload: UploadId,
    ) -> Option<(ETag, Vec<CompletedPart>)> {
        let (mut parts, mut content, mut tags) = (Vec::new(), Vec::new(), Md5::new());
        let count = 1 + self.dice.below(4);
        for number in 1..=count {
            let number = PartNumber::new(u16::try_from(number).ok()?).ok()?;
            // Now and then a part is stored twice: the second counts.
            for _ in 0..1 + self.dice.below(5) / 4 {
                let mut part = self.content();
                if part.len() < self.plan.part_bytes_min {
                    part = Bytes::from(vec![7; self.plan.part_bytes_min + self.dice.below(9)]);
                }
                let body = Body::new(part.clone(), 1 + self.dice.below(1500));
                let stored = self
                    .store
                    .put_part(bucket, &object_key(key), upload, number, body)
                    .await;
                let Ended::Well(stored) = self.ended("put part", stored) else {
                    return None;
                };
                let etag = Some(stored.etag);
                parts.retain(|part: &(CompletedPart, Bytes)| part.0.number != number);
                let checksum = None;
                parts.push((
                    CompletedPart {
                        number,
                        etag,
                        checksum,
                    },
                    part,
                ));
            }
        }
        // A Complete may leave parts out.
        if parts.len() > 1 && self.dice.below(4) == 0 {
            parts.remove(self.dice.below(parts.len()));
        }
        for (_, part) in &parts {
            tags.update(Md5::digest(part));
            content.extend_from_slice(part);
        }
        let tag = ETag::Multipart {
            md5: tags.finalize().into(),
            parts: u16::try_from(parts.len()).ok()?,
        };
        self.note_content(tag, content.into());
        Some((tag, parts.into_iter().map(|(part, _)| part).collect()))
    }

    async fn complete(
        &mut self,
        bucket: &Bucket,
        key: &Key,
        upload: UploadId,
        tag: ETag,
        parts: Vec<CompletedPart>,
    ) -> bool {
        let condition = match self.dice.below(6) {
            0 => WriteCondition::Absent,
            _ => WriteCondition::None,
        };
        let call = CompleteUpload {
            customer: None,
            parts,
            condition,
            checksum: None,
            size: None,
            cause: storage::model::Cause::default(),
        };
        let open = self.ask(key.clone(), Ask::Put(tag, condition));
        let completed = self
            .store
            .complete_upload(bucket, &object_key(key), upload, call.clone())
            .await;
        self.note_version(bucket, key, &completed);
        let ended = self.ended("complete", completed.map(|outcome| outcome.etag));
        self.expect_tag(&ended, tag);
        self.answered(&open, &ended);
        let well = matches!(ended, Ended::Well(_));
        if well && self.dice.below(3) == 0 {
            // A repeated Complete hears the same and changes nothing.
            let again = self
                .store
                .complete_upload(bucket, &object_key(key), upload, call)
                .await;
            self.note_version(bucket, key, &again);
            let again = self.ended("complete again", again.map(|outcome| outcome.etag));
            self.expect_tag(&again, tag);
            if matches!(again, Ended::Refused) {
                self.noted
                    .borrow_mut()
                    .broken("a repeated Complete was refused".into());
            }
        }
        well
    }

    async fn complete_and_abort(
        &mut self,
        bucket: &Bucket,
        key: &Key,
        upload: UploadId,
        tag: ETag,
        parts: Vec<CompletedPart>,
    ) {
        let (store, object) = (self.store.clone(), object_key(key));
        let wait = Duration::from_millis(self.dice.below(30) as u64);
        let abort = async {
            tokio::time::sleep(wait).await;
            store.abort_upload(bucket, &object, upload).await
        };
        let (completed, aborted) = tokio::join!(self.complete(bucket, key, upload, tag, parts), abort);
        if let Ended::Well(()) = self.ended("abort beside complete", aborted)
            && completed
        {
            self.noted
                .borrow_mut()
                .broken("an upload was completed and aborted".into());
        }
    }

    /// Reads an object whole; gives its tag if there is one.
    pub(crate) async fn get(&self, bucket: &Bucket, key: &Key) -> Option<ETag> {
        let object = self.open(bucket, key).await?;
        let tag = object.info().etag;
        let expected = self.content_of(tag);
        match (read(&object).await, expected) {
            (Ok(content), Some(expected)) if content == expected => {}
            (Ok(content), _) => {
                let what = format!(
                    "{:?} with tag {tag} reads as {} other bytes",
                    key.1,
                    content.len()
                );
                self.noted.borrow_mut().broken(what);
            }
            // Whoever cannot reach a reader frees what it reads once that is overwritten.
            (Err(StoreError::Damaged(_)), _) if self.plan.in_mesh && !self.stands(bucket, key, tag).await => {
            }
            (Err(error), _) => drop(self.ended::<()>("read", Err(error))),
        }
        Some(tag)
    }

    /// Whether a key still has the object that was read.
    async fn stands(&self, bucket: &Bucket, key: &Key, tag: ETag) -> bool {
        let object = self.store.object(bucket, &object_key(key), None).await;
        object.is_ok_and(|object| object.info().etag == tag)
    }

    async fn open(&self, bucket: &Bucket, key: &Key) -> Option<Object> {
        let open = self.ask(key.clone(), Ask::Read);
        let found = match self.store.object(bucket, &object_key(key), None).await {
            Ok(object) => Ok(Some(object)),
            Err(StoreError::NoSuchKey | StoreError::DeleteMarker { .. }) => Ok(None),
            Err(error) => Err(error),
        };
        match self.ended("get", found) {
            Ended::Well(object) => {
                let tag = object.as_ref().map(|object| object.info().etag);
                self.noted.borrow_mut().history.answer(&open, Answer::Found(tag));
                object
            }
            Ended::Refused | Ended::Nothing | Ended::Unknown => {
                self.noted.borrow_mut().history.forget(&open);
                None
            }
        }
    }

    /// Lists a bucket in small pages, which tells something of each of its keys.
    pub(crate) async fn list(&self, bucket: &Bucket) -> Option<BTreeMap<String, ETag>> {
        let keys: Vec<_> = (0..self.keys).map(|number| key_of(bucket, number)).collect();
        let opens: Vec<_> = keys.iter().map(|key| self.ask(key.clone(), Ask::Read)).collect();
        let listed = self.pages(bucket).await;
        let listed = match self.ended("list", listed) {
            Ended::Well(listed) => Some(listed),
            Ended::Refused | Ended::Nothing | Ended::Unknown => None,
        };
        let history = &mut self.noted.borrow_mut().history;
        for (key, open) in keys.iter().zip(&opens) {
            match &listed {
                Some(listed) => history.answer(open, Answer::Found(listed.get(&key.1).copied())),
                None => history.forget(open),
            }
        }
        listed
    }

    async fn pages(&self, bucket: &Bucket) -> Result<BTreeMap<String, ETag>, StoreError> {
        let mut listed = BTreeMap::new();
        let mut after = None;
        loop {
            let list = ListObjects {
                after,
                max: 2,
                ..ListObjects::default()
            };
            let page = self.store.list_objects(bucket, list).await?;
            listed.extend(page.objects().map(|(key, facts)| (key.to_owned(), facts.etag)));
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(listed),
            }
        }
    }

    fn ask(&self, key: Key, ask: Ask) -> Open {
        self.noted.borrow_mut().history.ask(key, ask)
    }

    fn answered<T>(&self, open: &Open, ended: &Ended<T>) {
        let history = &mut self.noted.borrow_mut().history;
        match ended {
            Ended::Well(_) => history.answer(open, Answer::Done),
            Ended::Refused => history.answer(open, Answer::Refused),
            Ended::Nothing => history.forget(open),
            Ended::Unknown => history.answer(open, Answer::Unknown),
        }
    }

    fn expect_tag(&self, ended: &Ended<ETag>, expected: ETag) {
        if let Ended::Well(tag) = ended
            && *tag != expected
        {
            self.noted
                .borrow_mut()
                .broken(format!("the tag of {expected} was said to be {tag}"));
        }
    }

    /// What the answer to a call means, and whether the store may give it at all.
    pub(super) fn ended<T>(&self, call: &str, result: Result<T, StoreError>) -> Ended<T> {
        let mut noted = self.noted.borrow_mut();
        let error = match result {
            Ok(value) => {
                noted.trace(call);
                return Ended::Well(value);
            }
            Err(error) => error,
        };
        noted.trace(&format!("{call}: {error}"));
        match error {
            StoreError::PreconditionFailed
            | StoreError::NoSuchKey
            | StoreError::NoSuchVersion
            | StoreError::DeleteMarker { .. }
            | StoreError::Locked => Ended::Refused,
            StoreError::NoSuchBucket
            | StoreError::NoSuchAccessKey
            | StoreError::NoSuchUpload
            | StoreError::DiskFull
            | StoreError::Busy
            | StoreError::Conflict => Ended::Nothing,
            error if is_cut_off(&error) => Ended::Unknown,
            // The source of a copy could not be read.
            StoreError::Body(source) if source.downcast_ref().is_some_and(is_cut_off) => Ended::Nothing,
            error => {
                noted.broken(format!("{call}: {error}"));
                Ended::Unknown
            }
        }
    }

    /// The content of that tag.
    pub(super) fn content_of(&self, tag: ETag) -> Option<Bytes> {
        self.noted.borrow().contents.get(&tag.to_string()).cloned()
    }

    fn note_content(&self, tag: ETag, content: Bytes) -> ETag {
        self.noted.borrow_mut().contents.insert(tag.to_string(), content);
        tag
    }

    fn random_key(&mut self, bucket: &Bucket) -> Key {
        key_of(bucket, self.dice.below(self.keys))
    }

    /// Content of any size up to a few blocks; sometimes one that others store too.
    fn content(&mut self) -> Bytes {
        let block = self.plan.block_bytes;
        let len = match self.dice.below(12) {
            0 => 0,
            1..=3 => self.dice.below(80),
            4..=7 => self.dice.below(block),
            8 | 9 => block,
            10 => block + self.dice.below(block),
            _ => self.dice.below(6 * block),
        };
        let (shared, compressible) = (self.dice.below(3) == 0, self.dice.below(2) == 0);
        let seed = if shared {
            self.dice.below(3) as u64
        } else {
            self.dice.next_u64()
        };
        let mut bytes = Random(seed);
        let mut content = Vec::with_capacity(len);
        while content.len() < len {
            let word = bytes.next_u64() & if compressible { 0x3 } else { u64::MAX };
            content.extend_from_slice(&word.to_le_bytes());
        }
        content.truncate(len);
        content.into()
    }
}

/// The key of that number in a bucket.
pub(super) fn key_of(bucket: &Bucket, number: usize) -> Key {
    (bucket.id, format!("key {number}"))
}

#[allow(clippy::expect_used, reason = "the names are made here")]
fn bucket_name(number: usize) -> BucketName {
    BucketName::parse(&format!("bucket-{number}")).expect("a bucket name")
}

#[allow(clippy::expect_used, reason = "the names are made here")]
pub(super) fn object_key(key: &Key) -> ObjectKey {
    ObjectKey::parse(key.1.as_bytes()).expect("an object key")
}

pub(super) async fn read(object: &Object) -> Result<Vec<u8>, StoreError> {
    let mut reader = object.read(0..object.info().size);
    let mut content = Vec::new();
    while let Some(piece) = reader.next().await {
        content.extend_from_slice(&piece?);
    }
    Ok(content)
}

/// Content that arrives in pieces.
struct Body {
    content: Bytes,
    piece: usize,
}

impl Body {
    fn new(content: Bytes, piece: usize) -> Self {
        Self { content, piece }
    }
}

impl ObjectBody for Body {
    async fn next(&mut self) -> Option<Result<Bytes, Box<dyn std::error::Error + Send + Sync>>> {
        if self.content.is_empty() {
            return None;
        }
        tokio::task::yield_now().await;
        Some(Ok(self.content.split_to(self.piece.min(self.content.len()))))
    }

    fn size_hint(&self) -> Option<u64> {
        None
    }

    fn checksum_algorithm(&self) -> Option<ChecksumAlgorithm> {
        None
    }

    fn claims_sha256(&self) -> bool {
        false
    }

    fn claims(&self) -> Claims {
        Claims::default()
    }
}

/// Whether a store could not go on, so that nobody knows what it did.
fn is_cut_off(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Disk(_) | StoreError::Closed | StoreError::Unavailable | StoreError::Forgotten(_)
    )
}
