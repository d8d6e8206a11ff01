//! Turns what is known of copies into sentences: what is wrong, how many there are, what a fire would cost.

use crate::api::{Behind, Burned, Home};
use crate::verdict::Trouble;
use crate::{ByteSize, lasted};

/// How many copies there are, as far as the boxes say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopiesFacts {
    /// In how many homes there should be copies.
    pub goal: usize,
    /// In how many homes there are copies of everything that is not `short` or `unknown`.
    pub least: usize,
    /// Homes that may hold some.
    pub homes: usize,
    /// What is not known to be everywhere it should be.
    pub short: Vec<Short>,
    /// What is not known.
    pub unknown: Vec<NotKnown>,
    /// What would be lost with each home, and where there are more than two, with any two.
    pub burned: Vec<Burned>,
}

/// Something that is not known to be everywhere it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Short {
    /// The homes that are known to have it.
    pub homes: Vec<String>,
    /// References to blocks.
    pub blocks: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Changes of objects.
    pub changes: u64,
    /// Since when.
    pub since_seconds: Option<u64>,
}

/// Something that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotKnown {
    /// This box says nothing of itself.
    Silent(String),
    /// Of what this box holds, so many percent are known to be wherever they should be.
    Unproven {
        /// Which box.
        name: String,
        /// How much, rounded down.
        percent: u32,
        /// Bytes of the rest, about.
        bytes: u64,
    },
    /// Nobody knows who has every change in so many of 257 parts of the mesh.
    Rows(usize),
    /// The disk could not be asked.
    Uncounted,
}

/// What is wrong with the copies.
pub(crate) fn troubles(copies: &CopiesFacts, homes: &[Home]) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    if copies.least < copies.goal.min(2) && copies.homes > 1 {
        troubles.push(Trouble::FewCopies {
            least: copies.least,
            goal: copies.goal,
        });
    }
    let in_one = |short: &&Short| copies.homes > 1 && short.homes.len() < 2;
    troubles.extend(copies.short.iter().filter(in_one).cloned().map(Trouble::OnlyIn));
    for home in homes {
        if let Some(behind) = home
            .behind
            .as_ref()
            .filter(|behind| behind.blocks + behind.changes > 0)
        {
            troubles.push(Trouble::Behind(home.name.clone(), behind.clone()));
        }
    }
    let is_away = |name: &String| homes.iter().any(|home| home.name == *name && !home.online);
    for unknown in &copies.unknown {
        match unknown {
            // That it is away says it all.
            NotKnown::Silent(name) if is_away(name) => {}
            _ => troubles.push(Trouble::NotKnown(unknown.clone())),
        }
    }
    troubles
}

/// How many copies there are, in a sentence without its end.
pub(crate) fn sentence(copies: &CopiesFacts, homes: &[Home]) -> String {
    if homes.len() < 2 {
        return "1 of 1 homes: your data lives only on this box".into();
    }
    if copies.homes < 2 {
        return format!("1 home: your data lives only there, on {} boxes", homes.len());
    }
    let away = homes.iter().filter(|home| !home.online && !home.here).count();
    let away = match away {
        0 => String::new(),
        away => format!(", {away} of {} boxes away", homes.len()),
    };
    let goal = copies.goal;
    let is_silent = |unknown: &NotKnown| matches!(unknown, NotKnown::Silent(_));
    if !copies.unknown.iter().all(is_silent) || copies.least == 0 {
        return format!("not everything is known to be in {goal} homes yet{away}");
    }
    let every = match copies.short.iter().any(|short| short.homes.len() < copies.least) {
        true => "almost every object",
        false => "every object",
    };
    let (least, copy) = (copies.least, if copies.least == 1 { "copy" } else { "copies" });
    let home = if least == 1 { "home" } else { "homes" };
    format!("{every} has {least} {copy} in {least} {home} (goal {goal}){away}")
}

/// What a fire would cost, in sentences.
pub(crate) fn if_burned(copies: &CopiesFacts) -> String {
    let (one, two): (Vec<_>, Vec<_>) = copies.burned.iter().partition(|burned| burned.homes.len() == 1);
    let cost = |burned: &&Burned| match burned.is_nothing() {
        true => None,
        false => Some(format!(
            "if {} burned: {}",
            burned.homes.join(" and "),
            loss(burned)
        )),
    };
    let worst: Vec<String> = one.iter().filter_map(cost).collect();
    let unknown = one.iter().map(|burned| burned.unknown_bytes).max().unwrap_or(0);
    let mut text = match (worst.is_empty(), unknown) {
        (true, 0) => "If one home burned now: nothing lost.".to_owned(),
        (true, bytes) => format!(
            "If one home burned now: nothing that is known; of up to {} it is not known yet.",
            ByteSize(bytes)
        ),
        (false, _) if copies.homes < 2 => "If this home burned now: everything lost.".to_owned(),
        (false, _) => format!("If one home burned now: {}.", worst.join("; ")),
    };
    if let Some(worst) = two
        .iter()
        .filter(|burned| !burned.is_nothing())
        .max_by_key(|burned| burned.bytes)
    {
        text.push_str(&format!("  If {}: {}.", worst.homes.join(" and "), loss(worst)));
    }
    text
}

fn loss(burned: &Burned) -> String {
    match burned.everything {
        true => "everything lost".into(),
        false => amounts(burned.blocks, burned.bytes, burned.changes) + " lost",
    }
}

/// Blocks and changes, in words.
pub(crate) fn amounts(blocks: u64, bytes: u64, changes: u64) -> String {
    let blocks = match blocks {
        0 => None,
        1 => Some(format!("1 block ({})", ByteSize(bytes))),
        blocks => Some(format!("{blocks} blocks ({})", ByteSize(bytes))),
    };
    let changes = match changes {
        0 => None,
        1 => Some("1 change of an object".to_owned()),
        changes => Some(format!("{changes} changes of objects")),
    };
    let both: Vec<String> = blocks.into_iter().chain(changes).collect();
    both.join(" and ")
}

impl Short {
    pub(crate) fn sentence(&self) -> String {
        let amounts = amounts(self.blocks, self.bytes, self.changes);
        let since = self
            .since_seconds
            .map(|seconds| format!(" since {}", lasted(seconds)));
        let place = match &self.homes[..] {
            [] => "not known to be anywhere".to_owned(),
            homes => format!("in one home only ({})", homes.join(", ")),
        };
        format!("{amounts}: {place}{}", since.unwrap_or_default())
    }
}

impl NotKnown {
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Silent(name) => format!("{name} does not say what it holds"),
            Self::Unproven { name, percent, bytes } => format!(
                "{percent} % of what {name} holds is known to be where it should be; {} are being looked at or copied",
                ByteSize(*bytes)
            ),
            Self::Rows(parts) => {
                format!("which boxes have every change is not known of {parts} of 257 parts of the mesh")
            }
            Self::Uncounted => "the copies could not be counted: the disk of this box does not answer".into(),
        }
    }

    pub(crate) const fn advice(&self) -> &'static str {
        match self {
            Self::Silent(_) => {
                "it may be busy or of another version: warren peer ping; look at its own warren status"
            }
            Self::Unproven { .. } => "wait: it goes on by itself, see warren repair status",
            Self::Rows(_) => {
                "boxes compare what they have within a minute after they see each other; if it lasts, too few of them are \
                 connected: warren peer ls"
            }
            Self::Uncounted => "look at the log of this box",
        }
    }
}

/// What a box may lack, in words.
pub(crate) fn behind(name: &str, behind: &Behind) -> String {
    let since = behind
        .since_seconds
        .map(|seconds| format!(", since {}", lasted(seconds)));
    let amounts = amounts(behind.blocks, behind.bytes, behind.changes);
    format!("{name} is behind by {amounts}{}", since.unwrap_or_default())
}
