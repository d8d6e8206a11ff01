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
/// How it is asked, in the folder of what runs: `NAME BYTES format|keep NUMBER`.
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
/// The kernel counts the size of a disk in these, in bytes.
const SECTOR_BYTES: u64 = 512;

/// Where Linux and udev tell of disks.
pub(crate) struct Sources {
    /// `/sys/block`.
    pub(crate) blocks: PathBuf,
    /// `/run/udev/data`.
    pub(crate) udev: PathBuf,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            blocks: "/sys/block".into(),
            udev: "/run/udev/data".into(),
        }
    }
}

/// The disks that this box could take; none where its system gives it none.
pub(crate) fn offered() -> Vec<SpareDisk> {
    match Path::new(GIVER).exists() && own_folder().is_some() {
        true => spare(&Sources::default()),
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
    let partial = folder.join("disk-request.partial");
    let what = match wish.what {
        DiskUse::Format => "format",
        DiskUse::Keep => "keep",
    };
    fs::write(
        &partial,
        format!("{} {} {what} {number}\n", wish.name, wish.bytes),
    )?;
    // In memory: a crash takes it along, so that it need not be synced.
    fs::rename(partial, folder.join(REQUEST))
}

/// All disks but the one that the box starts from, by name.
pub(crate) fn spare(sources: &Sources) -> Vec<SpareDisk> {
    let entries = fs::read_dir(&sources.blocks).into_iter().flatten().flatten();
    let mut disks: Vec<SpareDisk> = entries
        .filter_map(|entry| disk(&entry.path(), &sources.udev))
        .collect();
    disks.sort_by(|a, b| a.name.cmp(&b.name));
    disks
}

/// A disk, if it is one that could be used.
fn disk(path: &Path, udev: &Path) -> Option<SpareDisk> {
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
    let own = Found::by_udev(path, udev);
    let model = own
        .said("ID_MODEL")
        .or_else(|| said("device/model").map(|model| model.trim().to_owned()));
    Some(SpareDisk {
        model: model.unwrap_or_default().replace('_', " "),
        bytes,
        is_box: own.said("ID_FS_TYPE").as_deref() == Some("ext4")
            && own.said("ID_FS_LABEL").as_deref() == Some(LABEL),
        holds: holds(&own, &partitions, udev),
        name,
    })
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
            fs::write(found.join(format!("b{number}")), udev).unwrap();
        }

        fn disk(&mut self, name: &str, bytes: u64, udev: &str) {
            let size = (bytes / SECTOR_BYTES).to_string();
            self.device(name, udev, &[("size", &size), ("ro", "0\n"), ("device/type", "")]);
        }

        fn partition(&mut self, path: &str, called: &str, udev: &str) {
            let uevent = format!("DEVTYPE=partition\nPARTNAME={called}\n");
            self.device(path, udev, &[("partition", "1"), ("uevent", &uevent)]);
        }

        fn spare(&self) -> Vec<SpareDisk> {
            spare(&Sources {
                blocks: self.folder.path().join("block"),
                udev: self.folder.path().join("udev"),
            })
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
