//! What submissions and outcomes look like on a wire, and what fences turn away.

use super::*;
use crate::model::{
    AccessKeyId, AccessKeyRow, Bucket, BucketName, BucketRow, BucketSettings, BucketState, Cause, Checksum,
    ChecksumAlgorithm, ChecksumKind, ChecksumValue, DefaultRetention, EventKind, Granted, Grants, How,
    KeySerial, Likeness, MemberId, MeshKey, MeshRow, ObjectLock, Period, Telling,
};

const FIXTURE: &[u8] = include_bytes!("../../../../fixtures/commands-5.bin");

/// Texts with their lengths in front, 4 bytes little-endian.
pub(super) fn framed(texts: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend_from_slice(&u32::try_from(text.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(text);
    }
    bytes
}

fn write(byte: u8) -> WriteId {
    WriteId::from_bytes([byte; 16])
}

fn checksum() -> Checksum {
    Checksum {
        value: ChecksumValue::new(ChecksumAlgorithm::Crc32c, &[1, 2, 3, 4]).unwrap(),
        kind: ChecksumKind::Composite { parts: 2 },
    }
}

fn completed() -> Completed {
    Completed {
        etag: ETag::Multipart {
            md5: [5; 16],
            parts: 2,
        },
        checksum: Some(checksum()),
        size: 1 << 33,
        modified: Timestamp::from_millis(9),
        version: Some(VersionId::Named([6; 16])),
    }
}

fn locked() -> Lock {
    Lock {
        retention: Some(Retention {
            mode: RetentionMode::Governance,
            until: Timestamp::from_millis(1 << 41),
        }),
        legal_hold: Some(true),
    }
}

fn locked_version() -> SealedVersion {
    let mut version = version(write(1), vec![write(1)], 7);
    version.facts.lock = locked();
    version
}

fn amend(amendment: Amendment) -> Action {
    Action::Amend {
        version: VersionId::Named([6; 16]),
        write: write(6),
        amendment,
    }
}

fn upload_row() -> UploadRow {
    UploadRow {
        started: Timestamp::from_millis(3),
        initiator: Some(AccessKeyId::parse("anna-key").unwrap()),
        class: StorageClass::Glacier,
        checksum: Some(ChecksumAlgorithm::Crc32c),
        full_object: false,
        lock: locked(),
        state: UploadState::Open,
        headers: Bytes::from_static(b"headers"),
    }
}

pub(super) fn bucket_row() -> BucketRow {
    let id = AccessKeyId::parse("anna-key").unwrap();
    let granted = Granted {
        serial: KeySerial::from_bytes([4; 16]),
        grants: Grants::ALL,
    };
    BucketRow {
        bucket: Bucket {
            id: bucket(),
            name: BucketName::parse("photos").unwrap(),
            created: Timestamp::from_millis(1),
            owner: id.clone(),
            settings: BucketSettings::default(),
            grants: BTreeMap::from([(id, granted)]),
            state: BucketState::Closing,
            version: 3,
            unfenced: None,
        },
        wrapped_key: Bytes::from_static(b"wrapped"),
    }
}

fn mesh_row() -> MeshRow {
    MeshRow {
        version: 5,
        body: Bytes::from_static(b"voters"),
    }
}

fn key_row() -> AccessKeyRow {
    AccessKeyRow {
        serial: KeySerial::from_bytes([4; 16]),
        version: 2,
        sealed: Bytes::from_static(b"sealed"),
    }
}

fn telling() -> Telling {
    Telling {
        wanted: vec![EventKind::CreatedPut, EventKind::ExpiredMarker],
        cause: Cause {
            how: How::Post,
            requester: Some(AccessKeyId::parse("anna-key").unwrap()),
            from: Some([192, 0, 2, 1].into()),
            request: "4442587FB7D0A2F9".into(),
        },
    }
}

fn commands() -> Vec<Command> {
    let upload = upload_id(1);
    let chosen = |number, byte| ChosenPart {
        number: PartNumber::new(number).unwrap(),
        write: write(byte),
    };
    let actions = vec![
        Action::Put {
            version: locked_version(),
            condition: WriteCondition::Absent,
        },
        Action::Delete {
            marker: Marker {
                write: write(6),
                at: Timestamp::from_millis(8),
            },
            condition: WriteCondition::Present,
        },
        Action::Remove {
            version: VersionId::Named([6; 16]),
            condition: WriteCondition::Tag(Some(ETag::Md5([2; 16]))),
            bypass: true,
        },
        Action::Remove {
            version: VersionId::Null,
            condition: WriteCondition::Like(Likeness {
                tag: None,
                modified: Some(9),
                size: Some(1 << 33),
            }),
            bypass: false,
        },
        Action::Expire {
            seen: [9; 32],
            marker: Some(Marker {
                write: write(6),
                at: Timestamp::from_millis(8),
            }),
            remove: vec![VersionId::Named([6; 16]), VersionId::Null],
        },
        amend(Amendment::Details {
            from: [8; 32],
            details: Bytes::from_static(b"details"),
        }),
        amend(Amendment::Retention {
            retention: locked().retention,
            bypass: true,
        }),
        amend(Amendment::LegalHold(true)),
        Action::StartUpload {
            upload,
            row: upload_row(),
        },
        Action::PutPart {
            upload,
            part: part(2, write(2), 8),
        },
        Action::CompleteUpload {
            upload,
            parts: vec![chosen(1, 1), chosen(2, 2)],
            version: version(upload.into(), vec![write(1), write(2)], 9),
            checksum: Some(checksum()),
            condition: WriteCondition::None,
        },
        Action::AbortUpload { upload },
        Action::Forget {
            upload,
            rest: Rest::Parts,
        },
        Action::Settle {
            told: vec![Timestamp::from_millis(9)],
        },
        Action::Fold,
        Action::Unfold {
            archive: ArchiveId::from_bytes([0x17; 16]),
        },
        Action::Prune,
    ];
    let objects = actions.into_iter().map(|action| {
        Command::Object(ObjectCommand {
            bucket: bucket(),
            closings: 3,
            keeping: Keeping {
                versioning: Versioning::Enabled,
                lock: Some(ObjectLock {
                    default: Some(DefaultRetention {
                        mode: RetentionMode::Compliance,
                        period: Period::Years(3),
                    }),
                }),
            },
            asked: Timestamp::from_millis(1_700_000_000_000),
            key: key(),
            action,
            telling: Some(telling()),
        })
    });
    let id = AccessKeyId::parse("anna-key").unwrap();
    let (name, serial) = (BucketName::parse("photos").unwrap(), key_row().serial);
    let (row, from) = (bucket_row(), 2);
    let roots = vec![
        RootCommand::CreateBucket(bucket_row()),
        RootCommand::ReplaceBucket { row, from },
        RootCommand::DeleteBucket {
            name,
            id: bucket(),
            from,
        },
        RootCommand::CreateAccessKey {
            id: id.clone(),
            row: key_row(),
        },
        RootCommand::ReplaceAccessKey {
            id: id.clone(),
            row: key_row(),
            from,
        },
        RootCommand::DeleteAccessKey { id, serial },
        RootCommand::ReplaceMesh {
            key: MeshKey::Voters(256),
            body: Some(Bytes::from_static(b"voters")),
            from: 4,
        },
        RootCommand::ReplaceMesh {
            key: MeshKey::Member(MemberId(2)),
            body: None,
            from: 1,
        },
    ];
    objects.chain(roots.into_iter().map(Command::Root)).collect()
}

fn submission(command: Command) -> Submission {
    Submission {
        op: OpId::from_bytes([0xab; 16]),
        sweeps: 1_700_000_000,
        command,
    }
}

fn outcomes() -> Vec<Outcome> {
    let unneeded = || Unneeded {
        versions: vec![version(write(1), vec![write(1)], 7)],
        parts: vec![part(2, write(2), 8)],
    };
    let stands = true;
    let refusals = [
        Refusal::PreconditionFailed,
        Refusal::NoSuchKey,
        Refusal::NoSuchUpload,
        Refusal::TooManyVersions,
        Refusal::RefusedBefore,
        Refusal::Crowded,
        Refusal::Archived(ArchiveId::from_bytes([0x17; 16])),
        Refusal::Locked,
        Refusal::VersionChanged,
        Refusal::PartsChanged,
        Refusal::UploadOpen,
        Refusal::TooOld,
        Refusal::BucketClosed,
        Refusal::BucketExists(Box::new(bucket_row())),
        Refusal::NoSuchBucket,
        Refusal::BucketChanged(Box::new(bucket_row())),
        Refusal::BucketOpen,
        Refusal::AccessKeyExists,
        Refusal::NoSuchAccessKey,
        Refusal::AccessKeyChanged(Box::new(key_row())),
        Refusal::MeshChanged(Some(mesh_row())),
    ];
    let mut outcomes = vec![
        Outcome::Stored {
            facts: version(write(1), Vec::new(), 7).facts,
            version: Some(VersionId::Named([6; 16])),
            stands,
            unneeded: unneeded(),
        },
        Outcome::Removed {
            version: Some(VersionId::Null),
            delete_marker: true,
            unneeded: unneeded(),
        },
        Outcome::Amended { unneeded: unneeded() },
        Outcome::UploadStarted,
        Outcome::PartStored {
            modified: Timestamp::from_millis(8),
            stands,
            unneeded: unneeded(),
        },
        Outcome::Completed {
            completed: completed(),
            stands,
            unneeded: unneeded(),
        },
        Outcome::UploadAborted { unneeded: unneeded() },
        Outcome::RestForgotten { unneeded: unneeded() },
        Outcome::Bucket(Box::new(bucket_row())),
        Outcome::BucketGone,
        Outcome::AccessKey(key_row()),
        Outcome::AccessKeyGone,
        Outcome::Mesh(Some(mesh_row())),
        Outcome::Mesh(None),
    ];
    outcomes.extend(refusals.map(Outcome::Refused));
    outcomes
}

#[test]
fn every_command_and_outcome_reads_as_the_fixture_of_version_5_has_it() {
    let submissions: Vec<_> = commands().into_iter().map(submission).collect();
    let mut texts: Vec<_> = submissions.iter().map(Submission::encode).collect();
    texts.extend(outcomes().iter().map(Outcome::encode));
    assert!(framed(&texts) == FIXTURE);
    let (commands, told) = texts.split_at(submissions.len());
    for (text, submission) in commands.iter().zip(submissions) {
        assert_eq!(Submission::decode(text), Ok(submission));
    }
    for (text, outcome) in told.iter().zip(outcomes()) {
        assert_eq!(Outcome::decode(text), Ok(outcome));
    }
}

#[test]
fn a_newer_or_broken_text_is_refused() {
    assert_eq!(Submission::decode(&[6, 0]), Err(InvalidCommand::NewerVersion(6)));
    assert!(matches!(Outcome::decode(&[]), Err(InvalidCommand::Unreadable(_))));
    let mut text = submission(commands().remove(0)).encode();
    text.pop();
    assert!(matches!(
        Submission::decode(&text),
        Err(InvalidCommand::Unreadable(_))
    ));
}

proptest! {
    #[test]
    fn hostile_texts_never_panic(mut text: Vec<u8>) {
        text.insert(0, FORMAT);
        let _ = (Submission::decode(&text), Outcome::decode(&text));
    }
}

#[test]
fn fences_turn_away_what_adds_after_too_many_sweeps_or_to_a_bucket_that_may_be_closed() {
    let refused = |sweeps, closings, command| {
        let fences = Fences { sweeps, closings };
        let decision = decide(submission(command), (now(), FOLDING), &fences, &Memory::default()).unwrap();
        match decision.outcome {
            Outcome::Refused(refusal @ (Refusal::TooOld | Refusal::BucketClosed)) => Some(refusal),
            _ => None,
        }
    };
    for command in commands() {
        let begun = 1_700_000_000;
        assert_eq!(refused(begun, 3, command.clone()), None);
        let adds = match &command {
            Command::Root(_) => false,
            Command::Object(object) => object.action.adds(),
        };
        assert_eq!(
            refused(begun + 1, 0, command.clone()),
            adds.then_some(Refusal::TooOld)
        );
        assert_eq!(refused(begun, 4, command), adds.then_some(Refusal::BucketClosed));
    }
}
