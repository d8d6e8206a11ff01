//! The root row of an assignment: what was ever written reads back, and nothing else does.

use ciborium::Value;
use proptest::prelude::*;

use super::*;

fn fixture() -> Assignment {
    let mut world = World::placed(&[(0, 4), (0, 2), (1, 3)]);
    let assignment = world.current.as_mut().unwrap();
    assignment.history.balanced = Some(Timestamp::from_millis(1_700_000_000_000));
    assignment.history.replaced = Some((zone_named(2), Timestamp::from_millis(1_700_000_000_001)));
    assignment.clone()
}

#[test]
fn the_first_version_reads_for_ever() {
    let bytes = include_bytes!("../../../fixtures/assignment-1.bin");
    let assignment = Assignment::decode(bytes).unwrap();
    assert_eq!(assignment.encode(), bytes);
    assert_eq!(assignment.history, fixture().history);
    assert_eq!(assignment.blocks.holders_of(Partition(9)).len(), 2);
    assert_eq!(assignment.rows.voters(Partition(9)).iter().count(), 3);
}

#[test]
fn a_newer_version_is_named() {
    assert!(matches!(Assignment::decode(&[]), Err(InvalidAssignment::Empty)));
    assert!(matches!(
        Assignment::decode(&[2, 0xa0]),
        Err(InvalidAssignment::Version(2))
    ));
}

/// The fixture with one of its fields replaced must not read.
#[track_caller]
fn check_refused(field: &str, value: Value) {
    let bytes = fixture().encode();
    let mut map = ciborium::from_reader::<Value, _>(&bytes[1..])
        .unwrap()
        .into_map()
        .unwrap();
    let entry = map
        .iter_mut()
        .find(|(key, _)| key.as_text() == Some(field))
        .unwrap();
    entry.1 = value;
    let mut changed = vec![1];
    ciborium::into_writer(&Value::Map(map), &mut changed).unwrap();
    assert!(
        matches!(Assignment::decode(&changed), Err(InvalidAssignment::Damaged(_))),
        "{field}"
    );
}

#[test]
fn broken_promises_are_refused() {
    let members = |ids: &[u32]| Value::Array(ids.iter().map(|&id| id.into()).collect());
    check_refused("blocks", Value::Array(vec![members(&[1]); 255]));
    check_refused("blocks", Value::Array(vec![members(&[2, 1]); 256]));
    check_refused("blocks", Value::Array(vec![members(&[1, 1]); 256]));
    let voters = |votes: &[(u32, u8)]| {
        let vote = |&(member, votes): &(u32, u8)| {
            Value::Map(vec![
                ("member".into(), member.into()),
                ("votes".into(), votes.into()),
            ])
        };
        Value::Array(vec![Value::Array(votes.iter().map(vote).collect()); 256])
    };
    for votes in [
        &[][..],
        &[(1, 1), (2, 1)],
        &[(2, 2), (1, 1)],
        &[(1, 3)],
        &[(1, 1), (2, 0)],
        &[(1, 1), (2, 1), (3, 1), (4, 2)],
    ] {
        check_refused("rows", voters(votes));
    }
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(bytes: Vec<u8>, at in 0usize..4000, byte: u8) {
        let _ = Assignment::decode(&bytes);
        let mut damaged = include_bytes!("../../../fixtures/assignment-1.bin").to_vec();
        let at = at % damaged.len();
        damaged[at] = byte;
        let _ = Assignment::decode(&damaged);
    }
}
