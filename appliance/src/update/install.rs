//! Puts a bundle into the slot that is not running, so that the next start tries it and no crash leaves a box that cannot start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::bundle::{Bundle, BundleError, Manifest, Part, PartName};

/// How often a new system may fail to become healthy before the boot loader goes back to the old one.
const TRIES: u32 = 3;

/// One of the two places for a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The one that a fresh image starts.
    A,
    /// The other.
    B,
}

impl Slot {
    /// Its letter, as partitions, folders and boot entries have it.
    pub const fn letter(self) -> char {
        match self {
            Self::A => 'a',
            Self::B => 'b',
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// The slot that runs, from the kernel's command line.
    fn running(command_line: &str) -> Option<Self> {
        let slot = command_line
            .split_ascii_whitespace()
            .find_map(|word| word.strip_prefix("warren.slot="))?;
        match slot {
            "a" => Some(Self::A),
            "b" => Some(Self::B),
            _ => None,
        }
    }
}

/// The system that runs, and where its boot partition and slots are.
#[derive(Clone, Debug)]
pub struct System {
    /// Which image it is.
    pub id: String,
    /// Its build.
    pub build: u64,
    /// The slot it runs from.
    pub slot: Slot,
    /// Whether a boot loader started it that has a menu and counts starts; a Raspberry Pi's own firmware has none, and
    /// U-Boot's EFI cannot rename the entry that carries the count.
    pub has_menu: bool,
    /// Where the boot partition is mounted, writable.
    pub boot: PathBuf,
    /// The folder whose `warren-a` and `warren-b` are the partitions of the slots.
    pub partitions: PathBuf,
}

impl System {
    /// The system of this box; `None` where it is not our image.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn of_this_box(boot: PathBuf) -> io::Result<Option<Self>> {
        let command_line = fs::read_to_string("/proc/cmdline")?;
        let release = fs::read_to_string("/etc/os-release")?;
        let partitions = "/dev/disk/by-partlabel".into();
        let described = Self::described(&command_line, &release, boot, partitions);
        Ok(described.map(|system| Self {
            has_menu: counts_starts(Path::new(EFI_VARIABLES)),
            ..system
        }))
    }

    fn described(command_line: &str, release: &str, boot: PathBuf, partitions: PathBuf) -> Option<Self> {
        let said = |key: &str| {
            let value = release
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
            Some(value.trim_matches('"').to_owned())
        };
        Some(Self {
            id: said("IMAGE_ID")?,
            build: said("IMAGE_VERSION")?.parse().ok()?,
            slot: Slot::running(command_line)?,
            has_menu: true,
            boot,
            partitions,
        })
    }

    fn entries(&self) -> PathBuf {
        self.boot.join("loader/entries")
    }

    fn folder(&self, slot: Slot) -> PathBuf {
        self.boot.join(slot.letter().to_string())
    }
}

/// Where Linux shows the variables of UEFI: four bytes of attributes, then the value.
const EFI_VARIABLES: &str = "/sys/firmware/efi/efivars";
/// Whose variables these are (systemd.io, "The Boot Loader Interface").
const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Whether the boot loader that started this box counts starts. systemd-boot does, by renaming the entry: on the UEFI of a PC
/// or a server board, not on the one that U-Boot imitates.
fn counts_starts(variables: &Path) -> bool {
    let said = |name: &str| {
        let value = fs::read(variables.join(format!("{name}-{LOADER}"))).ok()?;
        let letters = value.get(4..)?.chunks_exact(2);
        let letters: Vec<u16> = letters
            .filter_map(|two| Some(u16::from_le_bytes(two.try_into().ok()?)))
            .collect();
        Some(String::from_utf16_lossy(&letters))
    };
    let is_ours = said("LoaderInfo").is_some_and(|loader| loader.starts_with("systemd-boot"));
    is_ours && said("LoaderFirmwareInfo").is_some_and(|firmware| !firmware.contains("U-Boot"))
}

/// Why an update was not installed; the running system stays what the box starts.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// The bundle cannot be used.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// It belongs to another kind of box.
    #[error("the update is for {bundle}, this box is {system}")]
    OtherSystem {
        /// What the bundle is for.
        bundle: String,
        /// What the box is.
        system: String,
    },
    /// The box has it, or a newer one.
    #[error("build {build} of the update is not newer than {running}, which runs")]
    NotNewer {
        /// The build of the bundle.
        build: u64,
        /// The build that runs.
        running: u64,
    },
    /// Nothing would ever start the other slot, or go back from it.
    #[error(
        "this box is not started by systemd-boot on UEFI, which goes back from a system that fails: write the new image to its card"
    )]
    NoMenu,
    /// The system to install has no file that could be started.
    #[error("the update has no {0}")]
    Incomplete(&'static str),
    /// A disk of the box failed, or is not laid out as our image is.
    #[error("{what}")]
    Disk {
        /// What was being done.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn disk(what: impl Into<String>) -> impl FnOnce(io::Error) -> UpdateError {
    let what = what.into();
    |source| UpdateError::Disk { what, source }
}

/// An update that the next start tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Where it is.
    pub slot: Slot,
    /// What people call it.
    pub version: String,
    /// Its build.
    pub build: u64,
}

/// Writes a bundle into the other slot of `system`. The next start tries it three times at most; then the boot loader
/// takes the system that runs now, unless a healthy start has dropped the count from the name of the entry.
///
/// The order makes every crash harmless: the entry of the slot goes first, and comes back when all of the slot is durable.
///
/// # Errors
/// The bundle is not for this box, not newer, or damaged; or a disk failed. The other slot may then hold no system.
pub fn install<R: Read>(bundle: Bundle<R>, system: &System) -> Result<Installed, UpdateError> {
    check(bundle.manifest(), system)?;
    let slot = system.slot.other();
    forget_entries(system, slot).map_err(disk("take the other slot out of the boot menu"))?;
    let folder = system.folder(slot);
    empty(&folder).map_err(disk("empty the other slot's folder"))?;
    let manifest = bundle.unpack(
        |part| open(part, &folder, &system.partitions, slot),
        |file| file.sync_all(),
    )?;
    sync_directory(&folder).map_err(disk("sync the other slot's folder"))?;
    add_entry(system, slot, &manifest).map_err(disk("put the other slot into the boot menu"))?;
    Ok(Installed {
        slot,
        version: manifest.version,
        build: manifest.build,
    })
}

fn check(manifest: &Manifest, system: &System) -> Result<(), UpdateError> {
    if manifest.system != system.id {
        return Err(UpdateError::OtherSystem {
            bundle: manifest.system.clone(),
            system: system.id.clone(),
        });
    }
    if !system.has_menu {
        return Err(UpdateError::NoMenu);
    }
    if manifest.build <= system.build {
        return Err(UpdateError::NotNewer {
            build: manifest.build,
            running: system.build,
        });
    }
    let has = |name: &PartName| manifest.parts.iter().any(|part| part.name == *name);
    let needed = [
        (PartName::Root, "root"),
        (PartName::Boot("vmlinuz".into()), "kernel"),
        (PartName::Boot("initrd.img".into()), "first stage"),
        (PartName::Boot("cmdline.txt".into()), "command line"),
    ];
    match needed.iter().find(|(name, _)| !has(name)) {
        Some((_, what)) => Err(UpdateError::Incomplete(what)),
        None => Ok(()),
    }
}

/// The boot entries of a slot, whatever count of tries their names carry: `b.conf`, `b+2-1.conf`.
fn forget_entries(system: &System, slot: Slot) -> io::Result<()> {
    let entries = system.entries();
    for entry in fs::read_dir(&entries)? {
        let entry = entry?;
        let name = entry.file_name();
        let rest = name
            .to_str()
            .and_then(|name| name.strip_prefix(slot.letter())?.strip_suffix(".conf"));
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('+')) {
            fs::remove_file(entry.path())?;
        }
    }
    sync_directory(&entries)
}

fn empty(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir(folder),
    }
}

fn open(part: &Part, folder: &Path, partitions: &Path, slot: Slot) -> io::Result<File> {
    match &part.name {
        // A partition is there or the disk is not ours; it is never made.
        PartName::Root => OpenOptions::new()
            .write(true)
            .open(partitions.join(format!("warren-{}", slot.letter()))),
        PartName::Boot(name) => File::create_new(folder.join(name)),
    }
}

fn add_entry(system: &System, slot: Slot, manifest: &Manifest) -> io::Result<()> {
    let letter = slot.letter();
    let options = fs::read_to_string(system.folder(slot).join("cmdline.txt"))?;
    let entry = format!(
        "title Warren {} ({letter})\nsort-key warren\nversion {}\nlinux /{letter}/vmlinuz\ninitrd /{letter}/initrd.img\n\
         options {} warren.slot={letter}\n",
        manifest.version.replace(char::is_control, " "),
        manifest.build,
        options.trim()
    );
    let entries = system.entries();
    let partial = entries.join(format!("{letter}.partial"));
    fs::write(&partial, entry)?;
    // Sync before renaming: after a crash the menu must never name a torn entry.
    File::open(&partial)?.sync_all()?;
    fs::rename(&partial, entries.join(format!("{letter}+{TRIES}.conf")))?;
    sync_directory(&entries)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::bundle::tests::{made, public_key};
    use super::*;

    const PARTS: &[(&str, &[u8])] = &[
        ("root", b"new root"),
        ("boot/vmlinuz", b"new kernel"),
        ("boot/initrd.img", b"new first stage"),
        ("boot/cmdline.txt", b"quiet\n"),
    ];

    /// A box that runs build 5 from slot a, and had another system in slot b.
    struct Box {
        _folder: tempfile::TempDir,
        system: System,
    }

    impl Box {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (boot, partitions) = (folder.path().join("boot"), folder.path().join("partitions"));
            fs::create_dir_all(boot.join("loader/entries")).unwrap();
            fs::create_dir_all(boot.join("b")).unwrap();
            fs::create_dir_all(&partitions).unwrap();
            for (path, content) in [
                (boot.join("loader/entries/a.conf"), "a"),
                (boot.join("loader/entries/b+0-3.conf"), "b"),
                (boot.join("b/old"), "old"),
                (partitions.join("warren-a"), "old root"),
                (partitions.join("warren-b"), "old root, longer than the new"),
            ] {
                fs::write(path, content).unwrap();
            }
            let system = System::described(
                "quiet warren.slot=a panic=10",
                "NAME=Debian\nIMAGE_ID=box\nIMAGE_VERSION=\"5\"\n",
                boot,
                partitions,
            );
            Self {
                _folder: folder,
                system: system.unwrap(),
            }
        }

        fn update(&self, bundle: &[u8]) -> Result<Installed, UpdateError> {
            install(Bundle::open(bundle, &public_key())?, &self.system)
        }

        fn entries(&self) -> Vec<String> {
            let names = fs::read_dir(self.system.entries()).unwrap();
            let mut names: Vec<_> = names
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }

        fn read(&self, path: &str) -> String {
            fs::read_to_string(self.system.boot.join(path)).unwrap()
        }
    }

    #[test]
    fn an_update_is_tried_at_the_next_start_and_the_running_system_stays() {
        let ours = Box::new();
        let installed = ours.update(&made("box", 6, PARTS)).unwrap();
        assert_eq!((installed.slot, installed.build), (Slot::B, 6));
        assert_eq!(ours.entries(), ["a.conf", "b+3.conf"]);
        let entry = ours.read("loader/entries/b+3.conf");
        assert!(
            entry.contains("version 6\n") && entry.contains("options quiet warren.slot=b\n"),
            "{entry}"
        );
        assert_eq!(ours.read("b/vmlinuz"), "new kernel");
        assert!(!ours.system.boot.join("b/old").exists());
        let root = fs::read_to_string(ours.system.partitions.join("warren-b")).unwrap();
        assert!(root.starts_with("new root"));
        let running = fs::read_to_string(ours.system.partitions.join("warren-a")).unwrap();
        assert_eq!(running, "old root");
    }

    #[test]
    fn what_is_refused_leaves_both_slots_as_they_are() {
        let ours = Box::new();
        for bundle in [
            made("other", 6, PARTS),
            made("box", 5, PARTS),
            made("box", 6, &PARTS[..2]),
        ] {
            ours.update(&bundle).unwrap_err();
            assert_eq!(ours.entries(), ["a.conf", "b+0-3.conf"]);
            assert_eq!(ours.read("b/old"), "old");
        }
    }

    #[test]
    fn where_no_menu_would_start_it_an_update_is_refused() {
        let mut ours = Box::new();
        ours.system.has_menu = false;
        let refused = ours.update(&made("box", 6, PARTS));
        assert!(matches!(refused, Err(UpdateError::NoMenu)));
        assert_eq!(ours.entries(), ["a.conf", "b+0-3.conf"]);
    }

    #[test]
    fn starts_are_counted_by_systemd_boot_where_it_can_rename_its_entries() {
        let counted = |said: &[(&str, &str)]| {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in said {
                let letters = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
                let value: Vec<u8> = [6, 0, 0, 0].into_iter().chain(letters).collect();
                fs::write(folder.path().join(format!("{name}-{LOADER}")), value).unwrap();
            }
            counts_starts(folder.path())
        };
        let loader = ("LoaderInfo", "systemd-boot 257.9-1");
        assert!(counted(&[loader, ("LoaderFirmwareInfo", "EDK II 1.00")]));
        assert!(!counted(&[
            loader,
            ("LoaderFirmwareInfo", "Das U-Boot 8228.2560")
        ]));
        assert!(!counted(&[
            ("LoaderInfo", "GRUB 2.12"),
            ("LoaderFirmwareInfo", "EDK II 1.00")
        ]));
        assert!(!counted(&[loader]) && !counted(&[]));
    }

    #[test]
    fn a_damaged_update_is_never_started() {
        let ours = Box::new();
        let mut bundle = made("box", 6, PARTS);
        *bundle.last_mut().unwrap() ^= 1;
        assert!(matches!(
            ours.update(&bundle),
            Err(UpdateError::Bundle(BundleError::Damaged(_)))
        ));
        assert_eq!(ours.entries(), ["a.conf"]);
    }

    #[test]
    fn a_system_that_is_not_our_image_is_not_updated() {
        let described = |line: &str, release: &str| System::described(line, release, "/".into(), "/".into());
        assert!(described("quiet", "IMAGE_ID=box\nIMAGE_VERSION=5").is_none());
        assert!(described("warren.slot=a", "ID=debian").is_none());
        assert!(described("warren.slot=c", "IMAGE_ID=box\nIMAGE_VERSION=5").is_none());
    }
}
