//! Keys of rows on disk: what they name, ordered so that a listing is one range.
//!
//! ```text
//! 0x01 'b' bucket name                                  bucket
//! 0x01 'k' access key id                                access key
//! 0x01 'a'                                              which members are wanted to hold what
//! 0x01 'c'                                              how many buckets were ever closed
//! 0x01 'g' number u32, big-endian                       keys that the mesh began to use
//! 0x01 'h'                                              when the assignment changed, and why
//! 0x01 'i' public key of an invite 32                   invite
//! 0x01 'l'                                              other names of buckets, for everybody
//! 0x01 'm' member u32, big-endian                       member
//! 0x01 'n'                                              the highest number ever given to a member
//! 0x01 'p'                                              what a person decided for the mesh
//! 0x01 's'                                              how many sweeps of unreferenced blocks were begun
//! 0x01 't'                                              what signs the certificates that boxes show in their networks
//! 0x01 'v' partition u16, big-endian                    who votes in a partition
//! 0x02                                                  the store was closed in order
//! 0x03                                                  how far scrubbing has come
//! 0x05 row key of a root row                            what this node heard last of it
//! 0x06 owner 16 │ block id 32                           a reference that not all who should hold it are known to have
//! 0x07 owner 16 │ number u32, big-endian                references to be removed, and where still
//! 0x08                                                  the assignment by which all blocks here were handed on
//! 0x09                                                  how many of these sweeps were done here
//! 0x0A                                                  how far the disks of other members had come
//! 0x0B                                                  the latest time by which lifecycle rules were carried out here
//! 0x10 bucket id 16 │ object key                        object
//! 0x11 bucket id 16 │ object key, 00 as 00 FF │ 00 00 │ upload id 16    upload
//! 0x12 bucket id 16 │ object key, 00 as 00 FF │ 00 00 │ upload id 16 │ part number u16, big-endian    part
//! 0x13 bucket id 16 │ object key, 00 as 00 FF │ 00 00 │ archive id 16   older versions of an object
//! ```
//!
//! Whatever belongs to one object key names it, so that all of it is found in one partition.

use super::{
    AccessKeyId, ArchiveId, BlockId, BucketId, BucketName, ObjectKey, PartNumber, Partition, UploadId,
};

const ROOT: u8 = 0x01;
const CLEAN: u8 = 0x02;
const SCRUB: u8 = 0x03;
const HEARD: u8 = 0x05;
const WANTED: u8 = 0x06;
const RELEASED: u8 = 0x07;
const WALKED: u8 = 0x08;
const SWEPT: u8 = 0x09;
const MEMORIES: u8 = 0x0A;
const CLOCK: u8 = 0x0B;
const OBJECT: u8 = 0x10;
const UPLOAD: u8 = 0x11;
const PART: u8 = 0x12;
const ARCHIVE: u8 = 0x13;

/// Where the keys of objects begin inside a row key.
pub(crate) const OBJECT_KEY_AT: usize = 17;

/// The kind of the row of a bucket.
pub(crate) const BUCKET: u8 = b'b';
/// The kind of the row of an access key.
pub(crate) const ACCESS_KEY: u8 = b'k';

/// There while the store is closed, if it was closed in order.
pub(crate) fn clean_mark() -> Vec<u8> {
    vec![CLEAN]
}

/// The latest time by which lifecycle rules were carried out here.
pub(crate) fn clock() -> Vec<u8> {
    vec![CLOCK]
}

/// How far scrubbing has come.
pub(crate) fn scrub() -> Vec<u8> {
    vec![SCRUB]
}

/// Every root row.
pub(crate) fn all_root() -> (Vec<u8>, Vec<u8>) {
    (vec![ROOT], vec![ROOT + 1])
}

/// What this node heard last of a root row.
pub(crate) fn heard(root: &[u8]) -> Vec<u8> {
    join(vec![HEARD], root)
}

/// Everything this node heard of root rows.
pub(crate) fn all_heard() -> (Vec<u8>, Vec<u8>) {
    (vec![HEARD], vec![HEARD + 1])
}

/// The root row that was heard of.
pub(crate) fn heard_of(row: &[u8]) -> Option<&[u8]> {
    row.strip_prefix(&[HEARD])
}

/// A reference that not all who should hold it may have.
pub(crate) fn wanted(owner: &[u8; 16], id: &BlockId) -> Vec<u8> {
    join(wanted_of(owner), &id.0)
}

/// All such references of an owner begin so.
pub(crate) fn wanted_of(owner: &[u8; 16]) -> Vec<u8> {
    join(vec![WANTED], owner)
}

/// Every such reference.
pub(crate) fn all_wanted() -> (Vec<u8>, Vec<u8>) {
    (vec![WANTED], vec![WANTED + 1])
}

/// The reference that is wanted.
pub(crate) fn parse_wanted(row: &[u8]) -> Option<([u8; 16], BlockId)> {
    let (owner, id) = row.strip_prefix(&[WANTED])?.split_first_chunk()?;
    Some((*owner, BlockId(id.try_into().ok()?)))
}

/// References of an owner that are to be removed; the number tells rows of one owner apart.
pub(crate) fn released(owner: &[u8; 16], number: u32) -> Vec<u8> {
    join(join(vec![RELEASED], owner), &number.to_be_bytes())
}

/// All references of an owner that are to be removed.
pub(crate) fn released_of(owner: &[u8; 16]) -> (Vec<u8>, Vec<u8>) {
    let from = join(vec![RELEASED], owner);
    let to = after_prefix(from.clone());
    (from, to)
}

/// All references that are to be removed.
pub(crate) fn all_released() -> (Vec<u8>, Vec<u8>) {
    (vec![RELEASED], vec![RELEASED + 1])
}

/// The owner whose references are to be removed.
pub(crate) fn parse_released(row: &[u8]) -> Option<[u8; 16]> {
    let (owner, number) = row.strip_prefix(&[RELEASED])?.split_first_chunk()?;
    (number.len() == 4).then_some(*owner)
}

/// The assignment by which all blocks of this node were handed on.
pub(crate) fn walked() -> Vec<u8> {
    vec![WALKED]
}

/// How many sweeps were done here.
pub(crate) fn swept() -> Vec<u8> {
    vec![SWEPT]
}

/// How far the disks of other members had come.
pub(crate) fn memories() -> Vec<u8> {
    vec![MEMORIES]
}

/// A root row of a kind.
pub(crate) fn root(kind: u8, name: &[u8]) -> Vec<u8> {
    join(vec![ROOT, kind], name)
}

/// Kind and name of a root row.
pub(crate) fn parse_root(row: &[u8]) -> Option<(u8, &[u8])> {
    match row {
        [ROOT, kind, name @ ..] => Some((*kind, name)),
        _ => None,
    }
}

pub(crate) fn bucket(name: &BucketName) -> Vec<u8> {
    root(BUCKET, name.as_str().as_bytes())
}

pub(crate) fn access_key(id: &AccessKeyId) -> Vec<u8> {
    root(ACCESS_KEY, id.as_str().as_bytes())
}

/// The row of an object, or with part of a key the place where keys that begin so would be.
pub(crate) fn object(bucket: BucketId, key: &str) -> Vec<u8> {
    join(table(OBJECT, bucket), key.as_bytes())
}

/// All uploads of a key begin so.
pub(crate) fn uploads(bucket: BucketId, key: &ObjectKey) -> Vec<u8> {
    key_prefix(UPLOAD, bucket, key)
}

/// All uploads of keys that begin with `prefix` begin so.
pub(crate) fn upload_prefix(bucket: BucketId, prefix: &str) -> Vec<u8> {
    escaped(UPLOAD, bucket, prefix)
}

pub(crate) fn upload(bucket: BucketId, key: &ObjectKey, upload: UploadId) -> Vec<u8> {
    join(uploads(bucket, key), upload.as_bytes())
}

/// All parts of uploads of a key begin so.
pub(crate) fn parts_of_key(bucket: BucketId, key: &ObjectKey) -> Vec<u8> {
    key_prefix(PART, bucket, key)
}

/// All parts of an upload begin so.
pub(crate) fn parts(bucket: BucketId, key: &ObjectKey, upload: UploadId) -> Vec<u8> {
    join(parts_of_key(bucket, key), upload.as_bytes())
}

pub(crate) fn part(bucket: BucketId, key: &ObjectKey, upload: UploadId, number: PartNumber) -> Vec<u8> {
    join(parts(bucket, key, upload), &number.get().to_be_bytes())
}

/// All archives of a key begin so.
pub(crate) fn archives_of_key(bucket: BucketId, key: &ObjectKey) -> Vec<u8> {
    key_prefix(ARCHIVE, bucket, key)
}

pub(crate) fn archive(bucket: BucketId, key: &ObjectKey, archive: ArchiveId) -> Vec<u8> {
    join(archives_of_key(bucket, key), archive.as_bytes())
}

/// Whether a row is a part.
pub(crate) fn is_part(row: &[u8]) -> bool {
    row.first() == Some(&PART)
}

/// Key and upload out of the row key of an upload; of an archive its id.
pub(crate) fn parse_upload(row: &[u8]) -> Option<(ObjectKey, UploadId)> {
    let (rest, id) = row.get(OBJECT_KEY_AT..)?.split_last_chunk::<16>()?;
    Some((unescaped(rest.strip_suffix(&[0, 0])?)?, UploadId::from_bytes(*id)))
}

/// Key and upload out of the row key of a part.
pub(crate) fn parse_part(row: &[u8]) -> Option<(ObjectKey, UploadId)> {
    let (upload, _number) = row.split_last_chunk::<2>()?;
    parse_upload(upload)
}

/// The partition of a row: the first byte of blake3(bucket id ‖ object key). `None` for a row of the directory, for
/// one that only this node knows, and for what is no key of a row.
pub fn partition_of(row: &[u8]) -> Option<u8> {
    let bucket = bucket_id(row)?;
    Some(Partition::of(bucket, &object_key(row)?).0)
}

/// The row of the object that a row of objects, uploads, parts or archives is about.
pub(crate) fn object_of(row: &[u8]) -> Option<Vec<u8>> {
    let bucket = bucket_id(row)?;
    Some(object(bucket, object_key(row)?.as_str()))
}

/// The object key that a row of objects, uploads, parts or archives is about.
pub(crate) fn object_key(row: &[u8]) -> Option<ObjectKey> {
    match *row.first()? {
        OBJECT => ObjectKey::parse(row.get(OBJECT_KEY_AT..)?).ok(),
        UPLOAD | ARCHIVE => Some(parse_upload(row)?.0),
        PART => Some(parse_part(row)?.0),
        _ => None,
    }
}

/// The first key behind all rows of the kind and the bucket of this one.
pub(crate) fn after_bucket(row: &[u8]) -> Vec<u8> {
    after_prefix(row.get(..OBJECT_KEY_AT).unwrap_or(row).to_vec())
}

/// Whether a row is one of the directory.
pub(crate) fn is_root(row: &[u8]) -> bool {
    row.first() == Some(&ROOT)
}

/// Whether a row is one of the directory, or is about an object, and not one that only this node knows.
pub(crate) fn is_shared(row: &[u8]) -> bool {
    matches!(row.first(), Some(&(ROOT | OBJECT | UPLOAD | PART | ARCHIVE)))
}

/// Everything of a bucket in one table: the first key, and the first key behind it.
pub(crate) fn objects_of(bucket: BucketId) -> (Vec<u8>, Vec<u8>) {
    let from = table(OBJECT, bucket);
    let to = after_prefix(from.clone());
    (from, to)
}

/// As [`objects_of`], of uploads.
pub(crate) fn uploads_of(bucket: BucketId) -> (Vec<u8>, Vec<u8>) {
    let from = table(UPLOAD, bucket);
    let to = after_prefix(from.clone());
    (from, to)
}

/// As [`objects_of`], of parts.
pub(crate) fn parts_of(bucket: BucketId) -> (Vec<u8>, Vec<u8>) {
    let from = table(PART, bucket);
    let to = after_prefix(from.clone());
    (from, to)
}

/// Every archive row of every bucket.
pub(crate) fn all_archives() -> (Vec<u8>, Vec<u8>) {
    (vec![ARCHIVE], vec![ARCHIVE + 1])
}

/// Every object row of every bucket.
pub(crate) fn all_objects() -> (Vec<u8>, Vec<u8>) {
    (vec![OBJECT], vec![OBJECT + 1])
}

/// Every upload row of every bucket.
pub(crate) fn all_uploads() -> (Vec<u8>, Vec<u8>) {
    (vec![UPLOAD], vec![UPLOAD + 1])
}

/// Every part row of every bucket.
pub(crate) fn all_parts() -> (Vec<u8>, Vec<u8>) {
    (vec![PART], vec![PART + 1])
}

/// The bucket a row of objects, uploads, parts or archives belongs to.
pub(crate) fn bucket_id(row: &[u8]) -> Option<BucketId> {
    Some(BucketId::from_bytes(*row.get(1..)?.first_chunk::<16>()?))
}

/// The first key behind all keys that begin with `prefix`.
pub(crate) fn after_prefix(mut prefix: Vec<u8>) -> Vec<u8> {
    while let Some(last) = prefix.pop() {
        if last < 0xff {
            prefix.push(last + 1);
            break;
        }
    }
    prefix
}

/// What rows of one key in a table where something follows the key begin with.
fn key_prefix(table: u8, bucket: BucketId, key: &ObjectKey) -> Vec<u8> {
    join(escaped(table, bucket, key.as_str()), &[0, 0])
}

fn escaped(kind: u8, bucket: BucketId, key: &str) -> Vec<u8> {
    let mut row = table(kind, bucket);
    for byte in key.bytes() {
        row.push(byte);
        if byte == 0 {
            row.push(0xff);
        }
    }
    row
}

fn unescaped(escaped: &[u8]) -> Option<ObjectKey> {
    let mut key = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(&byte) = bytes.next() {
        key.push(byte);
        if byte == 0 && bytes.next() != Some(&0xff) {
            return None;
        }
    }
    ObjectKey::parse(&key).ok()
}

fn table(table: u8, bucket: BucketId) -> Vec<u8> {
    // Room for most keys, so that they are appended without growing.
    let mut row = Vec::with_capacity(96);
    row.push(table);
    row.extend_from_slice(bucket.as_bytes());
    row
}

fn join(mut front: Vec<u8>, back: &[u8]) -> Vec<u8> {
    front.extend_from_slice(back);
    front
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn uploads_sort_by_key_and_read_back(a in "[\u{0}-\u{3}a-c]{1,5}", b in "[\u{0}-\u{3}a-c]{1,5}", x: [u8; 16], y: [u8; 16]) {
            let bucket = BucketId::from_bytes([1; 16]);
            let row = |key: &str, id| upload(bucket, &ObjectKey::parse(key.as_bytes()).unwrap(), UploadId::from_bytes(id));
            prop_assert_eq!((&a, x).cmp(&(&b, y)), row(&a, x).cmp(&row(&b, y)));
            let (key, id) = parse_upload(&row(&a, x)).unwrap();
            prop_assert_eq!((key.as_str(), id.as_bytes()), (a.as_str(), &x));
        }

        #[test]
        fn all_rows_of_a_key_are_in_one_partition(key in "[\u{0}-\u{3}a-c]{1,5}", id: [u8; 16], number in 1_u16..=10_000) {
            let (bucket, upload_id) = (BucketId::from_bytes([1; 16]), UploadId::from_bytes(id));
            let key = ObjectKey::parse(key.as_bytes()).unwrap();
            let part = part(bucket, &key, upload_id, PartNumber::new(number).unwrap());
            prop_assert_eq!(parse_part(&part), Some((key.clone(), upload_id)));
            let partition = blake3::hash(&[bucket.as_bytes(), key.as_str().as_bytes()].concat()).as_bytes()[0];
            let archive = archive(bucket, &key, ArchiveId::from_bytes(id));
            for row in [object(bucket, key.as_str()), upload(bucket, &key, upload_id), part, archive] {
                prop_assert_eq!(partition_of(&row), Some(partition));
                prop_assert!(is_shared(&row));
            }
        }

        #[test]
        fn hostile_rows_never_panic(row: Vec<u8>) {
            let _ = (parse_upload(&row), parse_part(&row), bucket_id(&row), partition_of(&row));
            prop_assert!(is_shared(&row) || partition_of(&row).is_none() && !is_root(&row));
        }
    }

    #[test]
    fn rows_of_the_directory_are_in_no_partition() {
        let name = BucketName::parse(&"b".repeat(60)).unwrap();
        for row in [bucket(&name), clean_mark(), clock(), scrub(), Vec::new()] {
            assert_eq!(partition_of(&row), None);
        }
        assert!(is_shared(&bucket(&name)));
        for own in [clean_mark(), scrub(), wanted(&[0x10; 16], &BlockId([0x10; 32]))] {
            assert!(!is_shared(&own));
        }
    }

    #[test]
    fn the_key_behind_a_prefix_is_behind_everything_that_begins_so() {
        assert_eq!(after_prefix(vec![1, 2]), vec![1, 3]);
        assert_eq!(after_prefix(vec![1, 0xff, 0xff]), vec![2]);
        let (from, to) = objects_of(BucketId::from_bytes([0xff; 16]));
        assert!(from < to);
    }
}
