//! The disks on which a box that runs the image could keep everything: what they are, what is on them, and how it gets one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use appliance::{DiskUse, DiskWish, SpareDisk};
use tokio::time::{Instant, sleep};

use crate::waiting::own_folder;

/// What gives a box another disk, on a system that has it; this process itself may touch none.
const GIVER: &str = "/usr/lib/warren/take-disk";
/// How it is asked, in the folder of what runs: `NAME SEQUENCE format|keep NUMBER`.
const REQUEST: &str = "disk-request";
/// What it answers: the same number, and why not.
const ANSWER: &str = "/run/warren-disk-answer";
/// How long that may take: making a file system on a large slow disk.
const ANSWER_WITHIN: Duration = Duration::from_secs(15 * 60);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(500);

/// How the file system of a box is called on a disk of its own.
const LABEL: &str = "warren-store";
/// What the names of our partitions begin with.
const PARTITIONS: &str = "warren-";
/// Of the partition that every box starts from.
const BOOT: &str = "warren-boot";
/// Smaller ones are the boot areas of cards, and sticks that nobody wants to keep anything on; in bytes.
const BYTES_MIN: u64 = 1 << 30;
/// What udev says of a device that changes when another one, or something else, is there.
const IDENTITY: [&str; 7] = [
    "ID_SERIAL",
    "ID_WWN",
    "ID_PART_TABLE_UUID",
    "ID_PART_ENTRY_UUID",
    "ID_FS_TYPE",
    "ID_FS_LABEL",
    "ID_FS_UUID",
];
/// Of the mark of a disk; 128 bits.
const MARK_CHARACTERS: usize = 32;
/// The kernel counts the size of a disk in these, in bytes.
const SECTOR_BYTES: u64 = 512;

/// Where Linux and udev tell of disks.
pub(crate) struct Sources {
    /// `/sys/block`.
    pub(crate) blocks: PathBuf,
    /// `/run/udev/data`.
    pub(crate) udev: PathBuf,
    /// `/proc/sys/kernel/random/boot_id`.
    pub(crate) boot: PathBuf,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            blocks: "/sys/block".into(),
            udev: "/run/udev/data".into(),
            boot: "/proc/sys/kernel/random/boot_id".into(),
        }
    }
}

/// A disk, and how whoever gives it to this box finds it.
struct Plugged {
    disk: SpareDisk,
    /// The kernel's own number of it since it started; no other disk gets it, nor does this one once it was unplugged.
    /// Source: `diskseq` in Linux, Documentation/ABI/stable/sysfs-block.
    sequence: u64,
}

/// The disks that this box could take; none where its system gives it none.
pub(crate) fn offered() -> Vec<SpareDisk> {
    match Path::new(GIVER).exists() && own_folder().is_some() {
        true => spare(&Sources::default())
            .into_iter()
            .map(|plugged| plugged.disk)
            .collect(),
        false => Vec::new(),
    }
}

/// Asks for a disk. The service is stopped once it has it, so that this returns only why it was refused.
pub(crate) async fn take(wish: &DiskWish) -> String {
    let number = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_nanos());
    if let Err(error) = ask(wish, number) {
        return format!("the system could not be asked for the disk: {error}");
    }
    let asked = Instant::now();
    while asked.elapsed() < ANSWER_WITHIN {
        let answer = tokio::fs::read_to_string(ANSWER).await.unwrap_or_default();
        if let Some((_, why)) = answer
            .split_once(' ')
            .filter(|(answered, _)| *answered == number.to_string())
        {
            return why.trim().to_owned();
        }
        sleep(LOOK).await;
    }
    "the system did not answer".into()
}

fn ask(wish: &DiskWish, number: u128) -> io::Result<()> {
    let folder = own_folder().ok_or_else(|| io::Error::other("there is no folder to ask in"))?;
    let plugged = spare(&Sources::default())
        .into_iter()
        .find(|plugged| plugged.disk.mark == wish.mark)
        .ok_or_else(|| io::Error::other("it is not as it was shown any more: look at it again"))?;
    let partial = folder.join("disk-request.partial");
    let what = match wish.what {
        DiskUse::Format => "format",
        DiskUse::Keep => "keep",
    };
    fs::write(
        &partial,
        format!("{} {} {what} {number}\n", plugged.disk.name, plugged.sequence),
    )?;
    // In memory: a crash takes it along, so that it need not be synced.
    fs::rename(partial, folder.join(REQUEST))
}

/// All disks but the one that the box starts from, by name.
fn spare(sources: &Sources) -> Vec<Plugged> {
    // Without it, numbers of the kernel say nothing.
    let Ok(boot) = fs::read_to_string(&sources.boot) else {
        return Vec::new();
    };
    let entries = fs::read_dir(&sources.blocks).into_iter().flatten().flatten();
    let mut disks: Vec<Plugged> = entries
        .filter_map(|entry| plugged(&entry.path(), &sources.udev, &boot))
        .collect();
    disks.sort_by(|a, b| a.disk.name.cmp(&b.disk.name));
    disks
}

/// A disk, if it is one that could be used.
fn plugged(path: &Path, udev: &Path, boot: &str) -> Option<Plugged> {
    let said = |file: &str| fs::read_to_string(path.join(file)).ok();
    // What only exists in memory has no device behind it.
    if !path.join("device").exists() || said("ro")?.trim() != "0" {
        return None;
    }
    let bytes = said("size")?
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(SECTOR_BYTES)?;
    if bytes < BYTES_MIN {
        return None;
    }
    let name = path.file_name()?.to_str()?.to_owned();
    let partitions = partitions(path);
    if partitions
        .iter()
        .any(|partition| partition_name(partition).as_deref() == Some(BOOT))
    {
        return None;
    }
    let sequence = said("diskseq")?.trim().parse().ok()?;
    let own = Found::by_udev(path, udev);
    // What udev has not looked at yet would pass for empty.
    let is_seen = |device: &PathBuf| Found::by_udev(device, udev).is_complete();
    if !own.is_complete() || !partitions.iter().all(is_seen) {
        return None;
    }
    let model = own
        .said("ID_MODEL")
        .or_else(|| said("device/model").map(|model| model.trim().to_owned()));
    let disk = SpareDisk {
        mark: mark(boot, sequence, path, udev, &partitions),
        serial: own.serial().unwrap_or_default(),
        model: model.unwrap_or_default().replace('_', " "),
        bytes,
        is_box: own.said("ID_FS_TYPE").as_deref() == Some("ext4")
            && own.said("ID_FS_LABEL").as_deref() == Some(LABEL),
        holds: holds(&own, &partitions, udev),
        name,
    };
    Some(Plugged { disk, sequence })
}

/// Tells a disk, with what is known to be on it, from all others.
fn mark(boot: &str, sequence: u64, path: &Path, udev: &Path, partitions: &[PathBuf]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("warren 2026-11-28 mark of a disk");
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    };
    add(boot);
    add(&sequence.to_string());
    for device in std::iter::once(path).chain(partitions.iter().map(PathBuf::as_path)) {
        add(&fs::read_to_string(device.join("size")).unwrap_or_default());
        let found = Found::by_udev(device, udev);
        for key in IDENTITY {
            add(&found.said(key).unwrap_or_default());
        }
    }
    hasher.finalize().to_hex()[..MARK_CHARACTERS].to_owned()
}

/// What is on a disk, for a person; none where there is nothing that anybody knows.
fn holds(own: &Found, partitions: &[PathBuf], udev: &Path) -> Option<String> {
    if let Some(contents) = own.contents() {
        return Some(contents);
    }
    let of = |partition: &PathBuf| {
        let ours = partition_name(partition).filter(|name| name.starts_with(PARTITIONS));
        let contents = Found::by_udev(partition, udev).contents();
        ours.or(contents).unwrap_or_else(|| "a partition".to_owned())
    };
    let parts: Vec<String> = partitions.iter().map(of).collect();
    match parts.is_empty() {
        false => Some(parts.join(", ")),
        true => own
            .said("ID_PART_TABLE_TYPE")
            .map(|_| "an empty table of partitions".to_owned()),
    }
}

fn partitions(disk: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(disk).into_iter().flatten().flatten();
    let mut partitions: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.join("partition").exists())
        .collect();
    partitions.sort();
    partitions
}

/// What the table calls a partition.
fn partition_name(partition: &Path) -> Option<String> {
    let said = fs::read_to_string(partition.join("uevent")).ok()?;
    said.lines()
        .find_map(|line| line.strip_prefix("PARTNAME="))
        .map(str::to_owned)
}

/// What udev found on a device.
struct Found(String);

impl Found {
    fn by_udev(device: &Path, udev: &Path) -> Self {
        let number = fs::read_to_string(device.join("dev")).unwrap_or_default();
        Self(fs::read_to_string(udev.join(format!("b{}", number.trim()))).unwrap_or_default())
    }

    fn said(&self, key: &str) -> Option<String> {
        let mut lines = self.0.lines();
        let value = lines.find_map(|line| line.strip_prefix("E:")?.strip_prefix(key)?.strip_prefix('='))?;
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// Whether udev is done with it. Source: systemd, `device_update_db`, which notes when a device was initialised.
    fn is_complete(&self) -> bool {
        self.0.lines().any(|line| line.starts_with("I:"))
    }

    /// What tells it from others of its model.
    fn serial(&self) -> Option<String> {
        // The longer one begins with the model, where there is a shorter one.
        self.said("ID_SERIAL_SHORT").or_else(|| self.said("ID_SERIAL"))
    }

    /// Of which kind it is, and how people called it.
    fn contents(&self) -> Option<String> {
        let kind = self.said("ID_FS_TYPE")?;
        Some(match self.said("ID_FS_LABEL") {
            Some(label) => format!("{kind} “{label}”"),
            None => kind,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The folders of a computer with these disks and partitions.
    struct Computer {
        folder: tempfile::TempDir,
        devices: u32,
    }

    impl Computer {
        fn new() -> Self {
            Self {
                folder: tempfile::tempdir().unwrap(),
                devices: 0,
            }
        }

        fn device(&mut self, path: &str, udev: &str, files: &[(&str, &str)]) {
            let device = self.folder.path().join("block").join(path);
            fs::create_dir_all(&device).unwrap();
            for (name, text) in files {
                fs::create_dir_all(device.join(name).parent().unwrap()).unwrap();
                fs::write(device.join(name), text).unwrap();
            }
            self.devices += 1;
            let number = format!("8:{}", self.devices);
            fs::write(device.join("dev"), format!("{number}\n")).unwrap();
            let found = self.folder.path().join("udev");
            fs::create_dir_all(&found).unwrap();
            fs::write(found.join(format!("b{number}")), format!("I:1\n{udev}")).unwrap();
        }

        fn disk(&mut self, name: &str, bytes: u64, udev: &str) {
            let size = (bytes / SECTOR_BYTES).to_string();
            let sequence = (self.devices + 1).to_string();
            let files = [
                ("size", size.as_str()),
                ("ro", "0\n"),
                ("device/type", ""),
                ("diskseq", &sequence),
            ];
            self.device(name, udev, &files);
        }

        fn partition(&mut self, path: &str, called: &str, udev: &str) {
            let uevent = format!("DEVTYPE=partition\nPARTNAME={called}\n");
            self.device(path, udev, &[("partition", "1"), ("uevent", &uevent)]);
        }

        fn spare(&self) -> Vec<SpareDisk> {
            self.spare_since("one start")
        }

        fn spare_since(&self, boot: &str) -> Vec<SpareDisk> {
            let path = |name| self.folder.path().join(name);
            fs::write(path("boot"), boot).unwrap();
            let sources = Sources {
                blocks: path("block"),
                udev: path("udev"),
                boot: path("boot"),
            };
            let plugged = spare(&sources).into_iter();
            plugged.map(|plugged| plugged.disk).collect()
        }

        fn marks(&self) -> Vec<String> {
            self.spare().into_iter().map(|disk| disk.mark).collect()
        }
    }

    #[test]
    fn the_disk_that_the_box_starts_from_is_never_offered() {
        let mut computer = Computer::new();
        computer.disk("mmcblk0", 32 << 30, "E:ID_PART_TABLE_TYPE=gpt\n");
        computer.partition("mmcblk0/mmcblk0p1", BOOT, "E:ID_FS_TYPE=vfat\n");
        computer.disk("sda", 4 << 40, "E:ID_MODEL=Big_Disk\n");
        let spare = computer.spare();
        assert_eq!(spare.len(), 1);
        assert_eq!(
            (spare[0].name.as_str(), spare[0].model.as_str(), spare[0].bytes),
            ("sda", "Big Disk", 4 << 40)
        );
        assert!(spare[0].holds.is_none() && !spare[0].is_box);
    }

    #[test]
    fn disks_of_a_size_are_told_apart_after_they_changed_places() {
        let mut computer = Computer::new();
        computer.disk("sda", 1 << 40, "E:ID_SERIAL=Disk_A1\nE:ID_SERIAL_SHORT=A1\n");
        computer.disk("sdb", 1 << 40, "E:ID_SERIAL=B2\n");
        let before = computer.spare();
        assert_eq!(
            (before[0].serial.as_str(), before[1].serial.as_str()),
            ("A1", "B2")
        );
        let blocks = computer.folder.path().join("block");
        for (from, to) in [("sda", "sdc"), ("sdb", "sda"), ("sdc", "sdb")] {
            fs::rename(blocks.join(from), blocks.join(to)).unwrap();
        }
        let after = computer.marks();
        assert_eq!(after, [before[1].mark.clone(), before[0].mark.clone()]);
        // Two that say nothing of themselves may have changed places over a restart.
        assert_ne!(computer.spare_since("another start")[0].mark, after[0]);
    }

    #[test]
    fn a_disk_is_another_one_once_something_else_is_on_it_or_it_was_plugged_in_again() {
        let mut computer = Computer::new();
        computer.disk("sda", 1 << 40, "E:ID_FS_TYPE=ext4\nE:ID_FS_UUID=11\n");
        let mut seen = vec![computer.marks()];
        let found = computer.folder.path().join("udev/b8:1");
        fs::write(found, "I:1\nE:ID_FS_TYPE=ext4\nE:ID_FS_UUID=22\n").unwrap();
        seen.push(computer.marks());
        computer.partition("sda/sda1", "", "E:ID_FS_TYPE=ext4\nE:ID_FS_UUID=33\n");
        seen.push(computer.marks());
        fs::write(computer.folder.path().join("block/sda/diskseq"), "9\n").unwrap();
        seen.push(computer.marks());
        let different: std::collections::BTreeSet<_> = seen.iter().collect();
        assert_eq!(different.len(), 4);
        assert_eq!(computer.marks(), seen[3]);
    }

    #[test]
    fn a_disk_is_offered_only_once_it_is_known_what_is_on_it() {
        let mut computer = Computer::new();
        computer.disk("sda", 1 << 40, "");
        computer.partition("sda/sda1", "", "E:ID_FS_TYPE=ext4\n");
        assert_eq!(computer.spare().len(), 1);
        let found = computer.folder.path().join("udev");
        for device in ["b8:1", "b8:2"] {
            let known = fs::read(found.join(device)).unwrap();
            fs::write(found.join(device), "").unwrap();
            assert!(computer.spare().is_empty(), "{device}");
            fs::remove_file(found.join(device)).unwrap();
            assert!(computer.spare().is_empty(), "{device}");
            fs::write(found.join(device), known).unwrap();
        }
        assert_eq!(computer.spare().len(), 1);
    }

    #[test]
    fn what_is_no_disk_is_not_offered() {
        let mut computer = Computer::new();
        computer.device("loop0", "", &[("size", "99999999"), ("ro", "0")]);
        computer.device(
            "sr0",
            "",
            &[("size", "99999999"), ("ro", "1"), ("device/type", "")],
        );
        computer.disk("mmcblk0boot0", 4 << 20, "");
        computer.device(
            "sdz",
            "",
            &[("size", "no number"), ("ro", "0"), ("device/type", "")],
        );
        assert!(computer.spare().is_empty());
    }

    #[test]
    fn it_is_told_what_a_disk_holds() {
        let mut computer = Computer::new();
        computer.disk("sda", 1 << 40, "E:ID_PART_TABLE_TYPE=gpt\n");
        computer.partition(
            "sda/sda1",
            "Basic data partition",
            "E:ID_FS_TYPE=ntfs\nE:ID_FS_LABEL=Photos\n",
        );
        computer.partition("sda/sda2", "", "");
        computer.disk("sdb", 1 << 40, "E:ID_FS_TYPE=ext4\nE:ID_FS_LABEL=warren-store\n");
        computer.disk("sdc", 1 << 40, "E:ID_PART_TABLE_TYPE=dos\n");
        let told: Vec<_> = computer
            .spare()
            .into_iter()
            .map(|disk| (disk.holds, disk.is_box))
            .collect();
        assert_eq!(
            told,
            [
                (Some("ntfs “Photos”, a partition".into()), false),
                (Some("ext4 “warren-store”".into()), true),
                (Some("an empty table of partitions".into()), false),
            ]
        );
    }
}
