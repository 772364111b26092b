//! The medium of a slot. Whether it is known to overwrite in place, for forgetting rests on that: what is not
//! known to do so is warned of. And whether a mirror is on another one, as it should be.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

/// What a file is on, as far as the system tells: a mount point without its medium is a folder like any other,
/// and only this shows that the file is on the disk below.
///
/// ```
/// use std::path::Path;
///
/// use oubliette::vault::Medium;
/// if let Some(medium) = Medium::of(Path::new("/")) {
///     println!("the root slot would be on {medium}"); // ext4, mounted at /
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Medium {
    /// The kind of its file system: `ext4`.
    pub file_system: String,
    /// Where that is mounted.
    pub mounted_at: PathBuf,
}

impl Medium {
    /// That of a file or folder. Linux alone tells.
    pub fn of(path: &Path) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let place = path.canonicalize().ok()?;
        let Mount { kind, point, .. } = mount_of(&mounts, &place)?;
        Some(Self { file_system: kind, mounted_at: point })
    }
}

impl fmt::Display for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, mounted at {}", self.file_system, self.mounted_at.display())
    }
}

/// Whether both are known to be on one device. What is on two partitions of one disk is not known to be.
#[cfg(unix)]
pub(super) fn share_device(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| fs::metadata(path).map(|about| about.dev()).ok();
    device(one).is_some_and(|of_one| device(other) == Some(of_one))
}

#[cfg(not(unix))]
pub(super) fn share_device(_: &Path, _: &Path) -> bool {
    false
}

/// Warns where a slot file is on something that is not known to overwrite in place, or that loses
/// it.
pub(super) fn warn(path: &Path) {
    if let Some(FileSystem { file_system, trouble }) = look(path) {
        tracing::warn!(slot = %path.display(), %file_system, "{}", trouble.words());
    }
}

/// Warns of a token that is none, but files.
#[cfg(feature = "pkcs11")]
pub(super) fn warn_of_token(token: &str, manufacturer: &str) {
    if manufacturer.to_ascii_lowercase().contains("softhsm") {
        tracing::warn!(
            %token, %manufacturer,
            "the root slot is in a token that keeps its objects in files: earlier roots may stay on \
             the disk and in copies of these files, and with them what was forgotten; it is for tests, \
             keep the slot elsewhere"
        );
    }
}

/// The file system that a path is on, and what is wrong with it for a slot.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FileSystem {
    file_system: String,
    pub(super) trouble: Trouble,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Writes go elsewhere, and the old bytes stay for some time.
    WritesElsewhere,
    /// Data go through the journal first, and stay there for some time.
    JournalsData,
    /// So it is with this file.
    FileJournalsData,
    /// Whether they do, cannot be seen.
    MayJournalData,
    /// A server somewhere does as it likes.
    Remote,
    /// Gone when the machine stops.
    Volatile,
    /// Nothing is known of it.
    Unknown,
}

impl Trouble {
    fn words(self) -> &'static str {
        match self {
            Self::WritesElsewhere => {
                "the root slot is on a file system that does not overwrite in place: earlier \
                 roots may stay on the disk, and with them what was forgotten; keep the slot on ext4 in \
                 its default mode, on XFS, or in a TPM or token"
            }
            Self::JournalsData => {
                "the root slot is on a file system that journals data: earlier roots may stay in \
                 the journal, and with them what was forgotten; mount it with data=ordered (if \
                 `tune2fs -l` lists journal_data among the default mount options, \
                 `tune2fs -o ^journal_data` removes it), or keep the slot elsewhere"
            }
            Self::FileJournalsData => {
                "the root slot is a file whose data go through the journal: earlier roots may stay in \
                 the journal, and with them what was forgotten; `chattr -j` takes that away"
            }
            Self::MayJournalData => {
                "whether the file system of the root slot journals data cannot be seen (in \
                 /proc/fs/ext4): if it does, earlier roots may stay in the journal, and with them what \
                 was forgotten; mount it with data=ordered, or keep the slot elsewhere"
            }
            Self::Remote => {
                "the root slot is on a file system of another machine: whether it overwrites in \
                 place, or keeps snapshots, cannot be seen from here; keep the slot on a local disk"
            }
            Self::Volatile => {
                "the root slot is in memory: when the machine stops it is gone, and every key of \
                 the vault with it; keep the slot on a disk"
            }
            Self::Unknown => {
                "the root slot is on a file system that is not known to overwrite in place: if it \
                 does not, earlier roots may stay on the disk, and with them what was forgotten; \
                 keep the slot on ext4 in its default mode, on XFS, or in a TPM or token"
            }
        }
    }
}

/// What is wrong with the place of a file, if anything is.
pub(super) fn look(path: &Path) -> Option<FileSystem> {
    // Only Linux has it; elsewhere nothing is known of any file system.
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let Some(mount) = mount_of(&mounts, &place) else {
        let file_system = "unknown".to_owned();
        return Some(FileSystem { file_system, trouble: Trouble::Unknown });
    };
    let trouble = match mount.kind.as_str() {
        "ext3" | "ext4" => journalling(&mount).or_else(|| flagged(&place)),
        kind => on(kind),
    };
    trouble.map(|trouble| FileSystem { file_system: mount.kind, trouble })
}

/// What is wrong with a file system of this kind, whatever its options.
fn on(kind: &str) -> Option<Trouble> {
    match kind {
        // These write a block to where it is. (XFS: unless it is shared, as by `cp --reflink`, and a
        // slot that is made by us never is.)
        "ext2" | "xfs" | "vfat" | "exfat" => None,
        "btrfs"
        | "zfs"
        | "bcachefs"
        | "overlay"
        | "aufs"
        | "fuse.fuse-overlayfs"
        | "f2fs"
        | "nilfs2"
        | "ubifs"
        | "jffs2"
        | "apfs"
        | "fuse.apfs" => Some(Trouble::WritesElsewhere),
        "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "ceph" | "fuse.sshfs" | "fuse.glusterfs"
        | "virtiofs" => Some(Trouble::Remote),
        "tmpfs" | "ramfs" => Some(Trouble::Volatile),
        _ => Some(Trouble::Unknown),
    }
}

/// Whether an ext4 journals data. What the superblock has as its default is neither in
/// `/proc/mounts` nor in `mountinfo`; the kernel tells what is in force under the device's own name.
fn journalling(mount: &Mount) -> Option<Trouble> {
    let device = fs::canonicalize(format!("/sys/dev/block/{}", mount.device)).ok();
    let name = device.as_deref().and_then(Path::file_name);
    let options = name.map(|name| Path::new("/proc/fs/ext4").join(name).join("options"));
    let in_force = options.and_then(|options| fs::read_to_string(options).ok());
    data_mode(in_force.as_deref(), &mount.options)
}

fn data_mode(in_force: Option<&str>, mounted_with: &str) -> Option<Trouble> {
    let said = in_force.into_iter().flat_map(str::lines).chain(mounted_with.split(','));
    match said.filter_map(|option| option.trim().strip_prefix("data=")).next() {
        Some("ordered" | "writeback") => None,
        Some("journal") => Some(Trouble::JournalsData),
        // No journal, no mode.
        None if in_force.is_some() => None,
        _ => Some(Trouble::MayJournalData),
    }
}

/// Whether this one file journals its data: `chattr +j` on it, or on its folder when it was made.
#[cfg(target_os = "linux")]
fn flagged(path: &Path) -> Option<Trouble> {
    let file = fs::File::open(path).ok()?;
    let flags = rustix::fs::ioctl_getflags(&file).ok()?;
    let journals = flags.contains(rustix::fs::IFlags::JOURNALING);
    journals.then_some(Trouble::FileJournalsData)
}

#[cfg(not(target_os = "linux"))]
fn flagged(_: &Path) -> Option<Trouble> {
    None
}

/// A line of `/proc/self/mountinfo`.
#[derive(Debug)]
struct Mount {
    point: PathBuf,
    /// Its numbers, `8:1`.
    device: String,
    kind: String,
    options: String,
}

/// The mount that a path is on, by the text of `/proc/self/mountinfo`: the deepest, and of two at
/// the same point the later one, which is on top.
fn mount_of(mounts: &str, path: &Path) -> Option<Mount> {
    let on_the_way = mounts.lines().filter_map(mount).filter(|it| path.starts_with(&it.point));
    on_the_way.max_by_key(|mount| mount.point.components().count())
}

/// `36 35 98:0 /root /mnt rw,noatime master:1 - ext4 /dev/sda rw,data=journal`
fn mount(line: &str) -> Option<Mount> {
    let (place, what) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(2);
    let (device, point) = (place.next()?.to_owned(), unescape(place.nth(1)?));
    let mut what = what.split(' ');
    let (kind, options) = (what.next()?.to_owned(), what.nth(1).unwrap_or_default().to_owned());
    Some(Mount { point, device, kind, options })
}

/// White space and backslashes are there as `\` and three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match byte {
            Some(byte) => {
                plain.push(char::from(byte));
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain.into()
}

#[cfg(test)]
mod tests;
