//! Gives the mesh new keys when a trusted member goes, and whoever stays its letter with them.
//!
//! A removal is decided by one compare-and-set, which marks the member's row as parting: it is no member to anybody from
//! then on. What follows is done by whoever decided it, or by whoever leads if that one is cut off, any number of times:
//!
//! 1. a new generation of keys that is `without` the member, written once under the next number;
//! 2. invites that were not used are taken back: the member may know their seeds, and they name a key that signs no more;
//! 3. the member's row goes.
//!
//! **Invariant.** No row of a member that held the keys is gone unless there is a generation without it, and no generation
//! from that one on has a letter for it: whoever is `without` stays so in all later ones, and letters are only added for
//! others. So whoever knows that a member is gone either holds keys that it lacks, or knows that such keys exist.
//!
//! Two removals at once make one generation without both, or two. A member that was away finds its letters when it is back.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use tracing::info;
use zeroize::Zeroizing;

use super::feed::refresh;
use super::view::View;
use crate::model::{GenerationRow, MemberId, MemberRow, MeshKey, Role};
use crate::seal::is_node_key;
use crate::store::Inner;
use crate::{Store, StoreError};

/// Steps after which somebody else's changes are in the way for too long.
const STEPS_MAX: usize = 100;

/// What has to be done next.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    /// Keys that these members never get, under this number.
    Begin(u32, BTreeSet<MemberId>),
    /// Letters with the keys of this number, to these members.
    Letters(u32, BTreeSet<MemberId>),
    /// The row of this member goes.
    Unseat(MemberId),
}

/// Decides what has to be done by what is known here, and by somebody who holds the keys of these numbers; all of it is a
/// compare-and-set on what was seen.
fn due(view: &View, holds: impl Fn(u32) -> bool) -> Option<Due> {
    let uncovered = uncovered(view);
    if !uncovered.is_empty() {
        let newest = view.generations.last_key_value();
        let without = newest.map(|(_, row)| &row.value.without);
        return Some(Due::Begin(
            newest.map_or(1, |(number, _)| *number).saturating_add(1),
            without.into_iter().flatten().copied().chain(uncovered).collect(),
        ));
    }
    if let Some(member) = view.parting.keys().next() {
        return Some(Due::Unseat(*member));
    }
    let mut lacking = view
        .generations
        .iter()
        .filter(|(number, _)| holds(**number))
        .map(|(number, row)| (*number, missing(view, &row.value)));
    let (number, members) = lacking.find(|(_, members)| !members.is_empty())?;
    Some(Due::Letters(number, members))
}

/// Members that go, and have all keys there are.
fn uncovered(view: &View) -> BTreeSet<MemberId> {
    let none = BTreeSet::new();
    let newest = view.generations.last_key_value();
    let without = newest.map_or(&none, |(_, row)| &row.value.without);
    let parting = view.parting.iter();
    let holders = parting.filter(|(_, row)| row.value.role == Role::Trusted);
    holders
        .map(|(member, _)| *member)
        .filter(|member| !without.contains(member))
        .collect()
}

/// Who is to have the keys of a generation that is without these. Who has no key that could be sealed to gets none.
fn readers<'a>(
    view: &'a View,
    without: &'a BTreeSet<MemberId>,
) -> impl Iterator<Item = (MemberId, &'a [u8])> {
    let trusted = view.members.iter().filter(|(member, row)| {
        // What is known of members may be older than what is known of keys.
        row.value.role == Role::Trusted && is_node_key(&row.value.node) && !without.contains(member)
    });
    trusted.map(|(member, row)| (*member, row.value.node.as_ref()))
}

/// Members that are to have a generation and have no letter.
fn missing(view: &View, generation: &GenerationRow) -> BTreeSet<MemberId> {
    let readers = readers(view, &generation.without).map(|(member, _)| member);
    readers
        .filter(|member| !generation.letters.contains_key(member))
        .collect()
}

/// One step; whether a root row was changed.
///
/// # Errors
/// `Unavailable`: too few members answer. The disk fails.
pub(super) async fn step(inner: &Arc<Inner>) -> Result<bool, StoreError> {
    let view = inner.mesh.view();
    // Who goes must not make the keys that it is not to have.
    if !view.members.contains_key(&inner.me) {
        return Ok(false);
    }
    match due(&view, |number| inner.keyring.holds(number)) {
        None => Ok(false),
        Some(Due::Begin(number, without)) => begin(inner, &view, number, without).await,
        Some(Due::Letters(number, members)) => write_letters(inner, &view, number, members).await,
        Some(Due::Unseat(member)) => unseat(inner, &view, member).await,
    }
}

/// Steps until nobody is parting any more.
///
/// # Errors
/// As [`step`]. Whoever leads goes on with it.
pub(super) async fn finish(inner: &Arc<Inner>) -> Result<(), StoreError> {
    for _ in 0..STEPS_MAX {
        refresh(inner).await?;
        if inner.mesh.view().parting.is_empty() {
            inner.tell_of_change();
            return Ok(());
        }
        step(inner).await?;
    }
    Err(StoreError::Conflict)
}

impl Store {
    /// The seeds of the keys that ever signed for the mesh, as far as they are here, the oldest first: whoever has the last
    /// lets others in. The first names the mesh.
    pub fn signing_seeds(&self) -> Vec<Zeroizing<[u8; 32]>> {
        self.0.keyring.signing_seeds()
    }

    /// Whether the newest key that signs for the mesh, as far as this member has heard, is here and in nobody's hands who
    /// went. Else nothing that is signed proves anything until the mesh has new keys, or they are here.
    pub fn has_newest_keys(&self) -> bool {
        let view = self.0.mesh.view();
        let newest = view.generations.keys().next_back();
        uncovered(&view).is_empty() && newest.is_none_or(|number| self.0.keyring.holds(*number))
    }
}

async fn begin(
    inner: &Arc<Inner>,
    view: &View,
    number: u32,
    without: BTreeSet<MemberId>,
) -> Result<bool, StoreError> {
    info!(number, ?without, "the mesh gets new keys");
    let row = inner
        .keyring
        .next_generation(number, readers(view, &without), &without);
    inner
        .change_mesh(MeshKey::Generation(number), Some(&row), 0)
        .await
}

async fn write_letters(
    inner: &Arc<Inner>,
    view: &View,
    number: u32,
    members: BTreeSet<MemberId>,
) -> Result<bool, StoreError> {
    let Some(known) = view.generations.get(&number) else {
        return Ok(false);
    };
    let mut row = known.value.clone();
    for member in members {
        let node = view.members.get(&member).map(|row| row.value.node.as_ref());
        // Whoever does not have these keys leaves it to somebody who does.
        if let Some(letter) = node.and_then(|node| inner.keyring.letter(number, node)) {
            row.letters.insert(member, letter);
        }
    }
    if row == known.value {
        return Ok(false);
    }
    inner
        .change_mesh(MeshKey::Generation(number), Some(&row), known.version)
        .await
}

async fn unseat(inner: &Arc<Inner>, view: &View, member: MemberId) -> Result<bool, StoreError> {
    let Some(known) = view.parting.get(&member) else {
        return Ok(false);
    };
    for (invite, row) in view
        .invites
        .iter()
        .filter(|(_, row)| row.value.redeemed.is_none())
    {
        inner
            .change_mesh::<()>(MeshKey::Invite(*invite), None, row.version)
            .await?;
    }
    inner
        .change_mesh::<MemberRow>(MeshKey::Member(member), None, known.version)
        .await
}

/// What only tests may ask of a mesh.
#[cfg(test)]
impl Store {
    /// Decides that a member goes, does so many steps of what follows, and leaves the rest to others.
    pub(super) async fn decide_removal(&self, member: MemberId, steps: usize) -> Result<(), StoreError> {
        refresh(&self.0).await?;
        let view = self.0.mesh.view();
        let known = view.members.get(&member).ok_or(StoreError::NoSuchMember)?;
        let marked = MemberRow {
            parting: true,
            ..known.value.clone()
        };
        let key = MeshKey::Member(member);
        self.0.change_mesh(key, Some(&marked), known.version).await?;
        refresh(&self.0).await?;
        for _ in 0..steps {
            step(&self.0).await?;
            refresh(&self.0).await?;
        }
        Ok(())
    }

    /// Whether somebody's row has not gone yet.
    pub(super) fn is_parting(&self) -> bool {
        !self.0.mesh.view().parting.is_empty()
    }
}

impl Inner {
    async fn change_mesh<T: Serialize + Sync>(
        &self,
        key: MeshKey,
        row: Option<&T>,
        from: u64,
    ) -> Result<bool, StoreError> {
        self.mesh.replace(&self.partitions, key, row, from).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::view::Versioned;
    use super::*;
    use crate::NodeSecret;
    use crate::model::{Timestamp, Zone};

    /// Members of a mesh in a model of root rows, each with the copy of them that it saw last.
    struct World {
        rows: View,
        seen: BTreeMap<MemberId, View>,
        /// Everybody who had keys and whose row is gone.
        gone: BTreeSet<MemberId>,
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Join(u32),
        Mark(u32),
        /// Reads all rows, or only some: a copy is of no one moment.
        Look(u32, [bool; 2]),
        Step(u32),
    }

    fn row(number: u32) -> MemberRow {
        let mut seed = [1; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        MemberRow {
            name: "box".into(),
            zone: Zone::home(),
            role: Role::Trusted,
            capacity: 0,
            draining: false,
            parting: false,
            node: Bytes::copy_from_slice(&NodeSecret::from_bytes(&seed).public()),
            joined: Timestamp::from_millis(0),
        }
    }

    fn versioned<T>(value: T) -> Versioned<T> {
        Versioned { version: 1, value }
    }

    impl World {
        fn new() -> Self {
            let members = (1..=3).map(|number| (MemberId(number), versioned(row(number))));
            let rows = View {
                members: members.collect(),
                ..View::default()
            };
            Self {
                rows,
                seen: BTreeMap::new(),
                gone: BTreeSet::new(),
            }
        }

        fn happen(&mut self, event: Event) {
            match event {
                Event::Join(number) => {
                    let member = MemberId(number);
                    let is_new = !self.gone.contains(&member) && !self.rows.parting.contains_key(&member);
                    if is_new {
                        self.rows.members.entry(member).or_insert(versioned(row(number)));
                    }
                }
                Event::Mark(number) => {
                    let marked = self.rows.members.remove(&MemberId(number));
                    self.rows
                        .parting
                        .extend(marked.map(|row| (MemberId(number), row)));
                }
                Event::Look(number, [members, keys]) => {
                    let seen = self.seen.entry(MemberId(number)).or_default();
                    if members {
                        seen.members.clone_from(&self.rows.members);
                        seen.parting.clone_from(&self.rows.parting);
                    }
                    if keys {
                        seen.generations.clone_from(&self.rows.generations);
                    }
                }
                Event::Step(number) => self.step(MemberId(number)),
            }
        }

        fn step(&mut self, actor: MemberId) {
            let Some(seen) = self
                .seen
                .get(&actor)
                .filter(|seen| seen.members.contains_key(&actor))
            else {
                return;
            };
            match due(seen, |_| true) {
                None => {}
                Some(Due::Begin(number, without)) => {
                    let letters = readers(seen, &without).map(|(member, _)| (member, Bytes::new()));
                    let letters = letters.collect();
                    let recovery = Bytes::new();
                    let row = GenerationRow {
                        without,
                        letters,
                        recovery,
                    };
                    self.rows.generations.entry(number).or_insert(versioned(row));
                }
                Some(Due::Letters(number, members)) => {
                    let version = seen.generations[&number].version;
                    let row = self.rows.generations.get_mut(&number).unwrap();
                    if row.version == version {
                        row.version += 1;
                        row.value
                            .letters
                            .extend(members.into_iter().map(|member| (member, Bytes::new())));
                    }
                }
                Some(Due::Unseat(member)) => {
                    self.gone
                        .extend(self.rows.parting.remove(&member).map(|_| member));
                }
            }
        }

        /// Nobody is gone without keys that it lacks, and whoever lacks keys lacks all later ones.
        fn check(&self) {
            for member in &self.gone {
                let mut generations = self.rows.generations.values();
                let first = generations.find(|row| row.value.without.contains(member));
                let first = first.unwrap_or_else(|| panic!("{member} went with all keys"));
                for row in [first].into_iter().chain(generations) {
                    assert!(row.value.without.contains(member), "{member} is forgotten");
                    assert!(!row.value.letters.contains_key(member), "{member} was given keys");
                }
            }
        }
    }

    fn event() -> impl Strategy<Value = Event> {
        let who = || 1..6_u32;
        prop_oneof![
            1 => who().prop_map(Event::Join),
            1 => who().prop_map(Event::Mark),
            4 => (who(), any::<[bool; 2]>()).prop_map(|(number, what)| Event::Look(number, what)),
            4 => who().prop_map(Event::Step),
        ]
    }

    proptest! {
        #[test]
        fn nobody_goes_without_keys_that_it_lacks_and_it_never_gets_them(
            events in proptest::collection::vec(event(), 0..60),
        ) {
            let mut world = World::new();
            for event in events {
                world.happen(event);
                world.check();
            }
            // Whoever stays and looks has it all done, and its letters, in the end.
            world.happen(Event::Join(9));
            for _ in 0..20 {
                world.happen(Event::Look(9, [true; 2]));
                world.happen(Event::Step(9));
                world.check();
            }
            prop_assert!(world.rows.parting.is_empty());
            for row in world.rows.generations.values() {
                prop_assert!(missing(&world.rows, &row.value).is_empty());
            }
        }
    }
}
