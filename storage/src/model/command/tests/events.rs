//! What commands leave to be told: every change that somebody wants to know of, once, in order, until it is settled.

use super::*;
use crate::model::notification::EVENTS_MAX;
use crate::model::{Cause, EventKind, How, ObjectEvent, Telling};

/// Submits actions that are to be told, one after the other.
struct Told {
    rows: Memory,
    versioning: Versioning,
    wanted: Vec<EventKind>,
    ops: u8,
}

impl Told {
    fn new(versioning: Versioning) -> Self {
        Self {
            rows: Memory::default(),
            versioning,
            wanted: EventKind::ALL.to_vec(),
            ops: 0,
        }
    }

    fn submission(&mut self, how: How, action: Action) -> Submission {
        self.ops += 1;
        let cause = Cause {
            how,
            ..Cause::default()
        };
        Submission {
            op: OpId::from_bytes([self.ops; 16]),
            sweeps: 0,
            command: Command::Object(ObjectCommand {
                bucket: bucket(),
                closings: 0,
                keeping: Keeping {
                    versioning: self.versioning,
                    lock: None,
                },
                asked: Timestamp::from_millis(30),
                key: key(),
                action,
                telling: Some(Telling {
                    wanted: self.wanted.clone(),
                    cause,
                }),
            }),
        }
    }

    fn put(&mut self, condition: WriteCondition) -> Submission {
        let write = WriteId::from_bytes([self.ops + 1; 16]);
        let version = version(write, Vec::new(), 5);
        self.submission(How::Put, Action::Put { version, condition })
    }

    fn delete(&mut self) -> Submission {
        let marker = Marker {
            write: WriteId::from_bytes([self.ops + 1; 16]),
            at: Timestamp::from_millis(5),
        };
        let condition = WriteCondition::None;
        self.submission(How::Delete, Action::Delete { marker, condition })
    }

    fn amend(&mut self, how: How, place: usize) -> Submission {
        let row = self.rows.object();
        let there = &row.versions[place];
        let amendment = Amendment::Details {
            from: *blake3::hash(&there.details).as_bytes(),
            details: Bytes::from(vec![self.ops; 3]),
        };
        let amend = Action::Amend {
            version: there.facts.id,
            write: there.write,
            amendment,
        };
        self.submission(how, amend)
    }

    fn settle(&mut self, told: Vec<Timestamp>) -> Submission {
        self.submission(How::Put, Action::Settle { told })
    }

    fn kinds(&self) -> Vec<EventKind> {
        let events = self.rows.object().events;
        assert!(events.is_sorted_by(|one, next| one.at < next.at), "{events:?}");
        events.iter().map(|event| event.kind).collect()
    }
}

#[test]
fn every_change_is_told_once_however_often_it_is_submitted() {
    use EventKind::{CreatedPut, Removed};
    let mut told = Told::new(Versioning::Off);
    let put = told.put(WriteCondition::None);
    told.rows.submit(&put);
    told.rows.submit(&put);
    let refused = told.put(WriteCondition::Absent);
    told.rows.submit(&refused);
    assert_eq!(told.kinds(), [CreatedPut]);
    let delete = told.delete();
    told.rows.submit(&delete);
    told.rows.submit(&delete);
    // There is nothing left to delete.
    let again = told.delete();
    told.rows.submit(&again);
    assert_eq!(told.kinds(), [CreatedPut, Removed]);
    assert!(told.rows.object().versions.is_empty());
}

#[test]
fn a_row_of_which_only_events_are_left_goes_with_the_last_of_them() {
    let mut told = Told::new(Versioning::Off);
    let (put, delete) = (told.put(WriteCondition::None), told.delete());
    told.rows.submit(&put);
    told.rows.submit(&delete);
    let times: Vec<_> = told.rows.object().events.iter().map(|event| event.at).collect();
    let first = told.settle(vec![times[0]]);
    told.rows.submit(&first);
    assert_eq!(told.kinds(), [EventKind::Removed]);
    let row = row_key::object(bucket(), key().as_str());
    assert!(told.rows.get(&row).unwrap().value.is_some());
    let rest = told.settle(times);
    told.rows.submit(&rest);
    assert_eq!(told.rows.get(&row).unwrap().value, None);
    // Who says it late changes nothing.
    let late = told.settle(vec![Timestamp::from_millis(5)]);
    assert_eq!(told.rows.decide(&late).stages, [[]; 0]);
}

#[test]
fn a_deletion_is_told_to_be_of_when_it_was_asked_for() {
    let mut told = Told::new(Versioning::Off);
    for submission in [told.put(WriteCondition::None), told.delete()] {
        told.rows.submit(&submission);
    }
    // By the clock that is furthest behind, which locks are judged by, it is earlier.
    assert_eq!(told.rows.object().events[1].at, Timestamp::from_millis(30));
    assert!(now() < Timestamp::from_millis(30));
}

#[test]
fn markers_and_versions_are_told_apart() {
    use EventKind::{CreatedPut, Expired, ExpiredMarker, Removed, RemovedMarker};
    let mut told = Told::new(Versioning::Enabled);
    let (put, hide) = (told.put(WriteCondition::None), told.delete());
    told.rows.submit(&put);
    told.rows.submit(&hide);
    let ids: Vec<_> = told
        .rows
        .object()
        .versions
        .iter()
        .map(|version| version.facts.id)
        .collect();
    let remove = Action::Remove {
        version: ids[0],
        condition: WriteCondition::None,
        bypass: false,
    };
    let remove = told.submission(How::Delete, remove);
    told.rows.submit(&remove);
    assert_eq!(told.kinds(), [CreatedPut, RemovedMarker, Removed]);
    assert_eq!(told.rows.object().events[2].version, Some(ids[0]));
    let second = told.put(WriteCondition::None);
    told.rows.submit(&second);
    let expire = Action::Expire {
        seen: told.rows.object().digest(),
        marker: Some(Marker {
            write: WriteId::from_bytes([0xaa; 16]),
            at: Timestamp::from_millis(5),
        }),
        remove: vec![ids[1]],
    };
    let expire = told.submission(How::Expire, expire);
    told.rows.submit(&expire);
    assert_eq!(told.kinds()[3..], [CreatedPut, Expired, ExpiredMarker]);
}

#[test]
fn what_is_said_anew_of_a_version_is_told_once_with_its_id() {
    use EventKind::{AclPut, CreatedPut, Tagged, Untagged};
    let mut told = Told::new(Versioning::Enabled);
    for _ in 0..2 {
        let put = told.put(WriteCondition::None);
        told.rows.submit(&put);
    }
    let older = told.rows.object().versions[1].facts.clone();
    let mut refused = told.amend(How::Tag, 1);
    for how in [How::Tag, How::Untag, How::SetAcl] {
        let amend = told.amend(how, 1);
        told.rows.submit(&amend);
        told.rows.submit(&amend);
    }
    assert_eq!(told.kinds(), [CreatedPut, CreatedPut, Tagged, Untagged, AclPut]);
    for event in &told.rows.object().events[2..] {
        assert_eq!((event.version, event.etag), (Some(older.id), Some(older.etag)));
        assert!(event.at > older.modified);
    }
    // What was decided of another state of the version changes nothing, and is not told.
    refused.op = OpId::from_bytes([0xff; 16]);
    told.rows.submit(&refused);
    assert_eq!(told.kinds().len(), 5);
    // A retention, or a legal hold, is nothing that anybody is told.
    let held = Action::Amend {
        version: older.id,
        write: told.rows.object().versions[1].write,
        amendment: Amendment::LegalHold(true),
    };
    let held = told.submission(How::Put, held);
    told.rows.submit(&held);
    assert_eq!(told.kinds().len(), 5);
}

/// The rows of objects of which something is to be told, as version 1 has them: one event of each kind, each by another way.
#[test]
fn events_read_as_the_fixture_of_version_1_has_them() {
    const FIXTURE: &[u8] = include_bytes!("../../../../fixtures/object-events-1.bin");
    let ways = [
        How::Put,
        How::Post,
        How::Copy,
        How::Complete,
        How::Delete,
        How::Delete,
        How::Expire,
        How::Expire,
        How::Tag,
        How::Untag,
        How::SetAcl,
    ];
    let mut row = ObjectRow::default();
    for (at, (kind, how)) in EventKind::ALL.into_iter().zip(ways).enumerate() {
        let happens = [
            how.created(),
            how.removed(false),
            how.removed(true),
            how.amended(),
        ];
        assert!(happens.contains(&Some(kind)), "{kind:?}");
        row.events.push(ObjectEvent {
            kind,
            at: Timestamp::from_millis(at as u64 + 1),
            version: Some(VersionId::Named([6; 16])),
            size: 7,
            etag: Some(ETag::Md5([2; 16])),
            cause: Cause {
                how,
                ..Cause::default()
            },
        });
    }
    assert_eq!(row.events.len(), EventKind::ALL.len());
    let bytes = encode_row(&row);
    assert_eq!(hex::encode(&bytes), hex::encode(FIXTURE));
    let read: ObjectRow = decode_row(&bytes).unwrap();
    assert_eq!(read, row);
}

#[test]
fn a_row_keeps_the_last_events_and_no_more() {
    let mut told = Told::new(Versioning::Off);
    for _ in 0..EVENTS_MAX + 3 {
        let put = told.put(WriteCondition::None);
        told.rows.submit(&put);
    }
    let events = told.rows.object().events;
    assert_eq!(events.len(), EVENTS_MAX);
    told.kinds();
    assert_eq!(
        events.last().map(|event| event.at),
        told.rows.object().current().map(|current| current.facts.modified)
    );
}

#[test]
fn what_nobody_wants_to_know_is_not_kept() {
    let mut told = Told::new(Versioning::Off);
    told.wanted = vec![EventKind::Removed];
    let (put, delete) = (told.put(WriteCondition::None), told.delete());
    told.rows.submit(&put);
    assert_eq!(told.kinds(), []);
    told.rows.submit(&delete);
    assert_eq!(told.kinds(), [EventKind::Removed]);
}
