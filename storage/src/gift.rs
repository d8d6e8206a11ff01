//! What a new member is given by the one that admits it: the keys, its number, who votes, and who takes part.
//!
//! On the wire a gift is CBOR, `{version: 2, mesh, seat, secrets, recovery}`: the name of the mesh, the [`Seat`], the keys as
//! in `mesh.keys`, and the bytes of `recovery.sealed`. It holds every secret of the mesh, so it only ever crosses a channel
//! that is encrypted to somebody who proved to be invited.
//!
//! On disk `seat` (mode 0600) is CBOR, `{version: 1, welcome, members}`. It is written before the keys: a box that has keys
//! and no seat takes itself for a founder that is alone. Whoever lets
//! somebody in keeps it anew, with all members, a founder for the first time. A member that takes its place anew has the new seat in `seat.next`, until its
//! rows are forgotten.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::disk::forget_rows;
use crate::model::{MemberId, MemberRow};
use crate::seal::{KeyringError, Secrets, cbor, recovery_file, write_file};
use crate::{StoreError, Welcome};

/// Of a gift. The first had keys of another form.
const VERSION: u32 = 2;
const SEAT_VERSION: u32 = 1;
const SEAT_FILE: &str = "seat";
const NEXT_SEAT_FILE: &str = "seat.next";

/// The place of a member in its mesh, as it was told when it was admitted: enough to find the others and hear the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Its number, and who voted in the root partition.
    pub welcome: Welcome,
    /// Who took part.
    pub members: Vec<(MemberId, MemberRow)>,
}

#[derive(Serialize, Deserialize)]
struct SeatFile {
    version: u32,
    #[serde(flatten)]
    seat: Seat,
}

/// What makes a box a member.
#[derive(Serialize, Deserialize)]
pub struct Gift {
    version: u32,
    /// What people call the mesh.
    pub mesh: String,
    /// The place of the new member.
    pub seat: Seat,
    secrets: Secrets,
    #[serde(with = "serde_bytes")]
    recovery: Vec<u8>,
}

impl fmt::Debug for Gift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gift")
            .field("mesh", &self.mesh)
            .field("seat", &self.seat)
            .finish_non_exhaustive()
    }
}

impl Seat {
    /// The place of the box with this state directory; none where it is a founder that let nobody in, or nothing yet.
    ///
    /// # Errors
    /// The file is damaged, newer than this program, or the disk fails.
    pub fn read(state: &Path) -> Result<Option<Self>, StoreError> {
        let path = state.join(SEAT_FILE);
        match fs::read(&path) {
            Ok(bytes) => Self::decode(&bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::Damaged(format!("{}: {error}", path.display()))),
        }
    }

    /// As bytes, for a file or a member.
    pub fn encode(&self) -> Vec<u8> {
        cbor(&SeatFile {
            version: SEAT_VERSION,
            seat: self.clone(),
        })
    }

    /// Reads [`Self::encode`].
    ///
    /// # Errors
    /// `Damaged`: not a seat that this version knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        match ciborium::from_reader::<SeatFile, _>(bytes) {
            Ok(file) if file.version == SEAT_VERSION => Ok(file.seat),
            Ok(_) => Err(StoreError::Damaged("seat of another version of Warren".into())),
            Err(error) => Err(StoreError::Damaged(format!("seat: {error}"))),
        }
    }

    /// Keeps whom a member knows that lets somebody in: with the place of a founder, where there is none yet.
    ///
    /// # Errors
    /// The disk fails.
    pub fn keep_members(&self, state: &Path) -> Result<(), StoreError> {
        let mut kept = self.clone();
        if let Some(before) = Self::read(state)? {
            kept.welcome = before.welcome;
        }
        write_file(&state.join(SEAT_FILE), &kept.encode()).map_err(keys)
    }

    /// Keeps the new place of a member whose disk has forgotten what it promised under the old one: the next
    /// [`Self::take_up`] makes it the place of this box.
    ///
    /// # Errors
    /// The disk fails.
    pub fn keep_next(&self, state: &Path) -> Result<(), StoreError> {
        write_file(&state.join(NEXT_SEAT_FILE), &self.encode()).map_err(keys)
    }

    /// Takes up a new place, if one is kept: forgets the rows of the old one, and keeps the blocks. Says whether it did. The
    /// store must not be open. Where it is cut off, the next attempt goes on.
    ///
    /// # Errors
    /// The store is open, or the disk fails.
    pub fn take_up(state: &Path) -> Result<bool, StoreError> {
        let next = state.join(NEXT_SEAT_FILE);
        let failed = |error: io::Error| StoreError::Damaged(format!("{}: {error}", next.display()));
        if !next.try_exists().map_err(failed)? {
            return Ok(false);
        }
        forget_rows(&state.join("rows"))?;
        // Only now: with the old rows it would answer as somebody whom it never was.
        fs::rename(&next, state.join(SEAT_FILE)).map_err(failed)?;
        fs::File::open(state)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)?;
        Ok(true)
    }
}

impl Gift {
    /// Packs what a new member needs, from the state directory of the member that admitted it.
    ///
    /// # Errors
    /// The keys cannot be read.
    pub fn pack(state: &Path, mesh: String, seat: Seat) -> Result<Self, StoreError> {
        let read = Secrets::read(state).and_then(|secrets| Ok((secrets, recovery_file(state)?)));
        let (secrets, recovery) = read.map_err(keys)?;
        Ok(Self {
            version: VERSION,
            mesh,
            seat,
            secrets,
            recovery,
        })
    }

    /// As bytes for a wire.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(cbor(self))
    }

    /// Reads [`Self::encode`].
    ///
    /// # Errors
    /// `Damaged`: not a gift that this version knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let gift: Self =
            ciborium::from_reader(bytes).map_err(|error| StoreError::Damaged(format!("gift: {error}")))?;
        if gift.version == VERSION {
            Ok(gift)
        } else {
            Err(StoreError::Damaged("gift of another version of Warren".into()))
        }
    }

    /// Whether a state directory has nothing yet that keeping a gift there would put at risk.
    pub fn fits(state: &Path) -> bool {
        // What cannot be asked for counts as being there.
        let is_there = |name: &str| state.join(name).try_exists().unwrap_or(true);
        !is_there("mesh.keys") && !is_there("rows")
    }

    /// Makes a box of an empty state directory; whole or not at all, it is a member then.
    ///
    /// # Errors
    /// There are keys already, or the disk fails.
    pub fn keep(&self, state: &Path) -> Result<(), StoreError> {
        write_file(&state.join(SEAT_FILE), &self.seat.encode()).map_err(keys)?;
        self.secrets.keep(state, &self.recovery).map_err(keys)
    }
}

fn keys(error: KeyringError) -> StoreError {
    StoreError::Keys(Box::new(error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use bytes::Bytes;

    use super::*;
    use crate::cluster::mesh::first_config;
    use crate::model::{Role, Timestamp, Zone};
    use crate::register::Configs;
    use crate::seal::{Keyring, NodeSecret};

    fn seat() -> Seat {
        Seat {
            welcome: Welcome {
                member: MemberId(2),
                root: Configs::first(first_config()),
            },
            members: vec![(MemberId(1), anna())],
        }
    }

    fn anna() -> MemberRow {
        MemberRow {
            name: "anna".into(),
            zone: Zone::home(),
            role: Role::Trusted,
            capacity: 5,
            draining: false,
            parting: false,
            node: Bytes::from_static(&[7; 32]),
            joined: Timestamp::from_millis(1),
        }
    }

    fn open(
        state: &Path,
        has_data: bool,
        phrase: Option<&str>,
    ) -> Result<(Keyring, Option<Zeroizing<String>>), KeyringError> {
        Keyring::open(state, NodeSecret::from_bytes(&[1; 32]), has_data, phrase)
    }

    fn given(from: &Path) -> Gift {
        let gift = Gift::pack(from, "Maple family".into(), seat()).unwrap();
        Gift::decode(&gift.encode()).unwrap()
    }

    #[test]
    fn a_gift_makes_a_box_with_the_same_keys_and_the_same_phrase() {
        let (giver, taker) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (ours, phrase) = open(giver.path(), false, None).unwrap();
        assert!(Gift::fits(taker.path()) && !Gift::fits(giver.path()));
        given(giver.path()).keep(taker.path()).unwrap();
        assert_eq!(Seat::read(taker.path()).unwrap(), Some(seat()));
        let (theirs, shown) = open(taker.path(), true, None).unwrap();
        assert!(shown.is_none());
        assert_eq!(theirs.dedup_key(), ours.dedup_key());
        assert_eq!(theirs.signing_seeds(), ours.signing_seeds());
        let keys = taker.path().join("mesh.keys");
        assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_file(keys).unwrap();
        let (recovered, _) = open(taker.path(), true, Some(&phrase.unwrap())).unwrap();
        assert_eq!(recovered.signing_seeds(), ours.signing_seeds());
    }

    fn sample_gift() -> Gift {
        Gift {
            version: VERSION,
            mesh: "Maple family".into(),
            seat: seat(),
            secrets: Secrets::sample(),
            recovery: b"sealed".to_vec(),
        }
    }

    #[test]
    fn the_formats_of_gift_and_seat_stay_readable() {
        let gift = sample_gift();
        let fixture = include_bytes!("../fixtures/gift-2.bin");
        assert_eq!(gift.encode().as_slice(), fixture);
        let state = tempfile::tempdir().unwrap();
        Gift::decode(fixture).unwrap().keep(state.path()).unwrap();
        let path = state.path().join(SEAT_FILE);
        let fixture = include_bytes!("../fixtures/seat-1.bin");
        assert_eq!(fs::read(&path).unwrap(), fixture);
        fs::write(path, fixture).unwrap();
        assert_eq!(Seat::read(state.path()).unwrap(), Some(seat()));
    }

    #[test]
    fn a_new_place_is_taken_up_once() {
        let state = tempfile::tempdir().unwrap();
        open(state.path(), false, None).unwrap();
        given(state.path()).seat.keep_next(state.path()).unwrap();
        assert_eq!(Seat::read(state.path()).unwrap(), None);
        assert!(Seat::take_up(state.path()).unwrap());
        assert_eq!(Seat::read(state.path()).unwrap(), Some(seat()));
        assert!(!Seat::take_up(state.path()).unwrap());
    }

    #[test]
    fn keys_that_are_there_are_never_overwritten() {
        let (giver, taker) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        open(giver.path(), false, None).unwrap();
        let (kept, _) = open(taker.path(), false, None).unwrap();
        assert!(given(giver.path()).keep(taker.path()).is_err());
        let (still, _) = open(taker.path(), true, None).unwrap();
        assert_eq!(still.dedup_key(), kept.dedup_key());
    }

    #[test]
    fn bytes_that_are_no_gift_are_refused_and_debug_output_shows_no_key() {
        let giver = tempfile::tempdir().unwrap();
        open(giver.path(), false, None).unwrap();
        let gift = given(giver.path());
        assert!(!format!("{gift:?}").contains("secrets"));
        let bytes = gift.encode();
        for cut in 0..bytes.len() {
            assert!(Gift::decode(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn a_seat_that_does_not_read_is_no_reason_to_found_a_mesh() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(Seat::read(state.path()).unwrap(), None);
        fs::write(state.path().join("seat"), b"x").unwrap();
        assert!(Seat::read(state.path()).is_err());
    }
}
