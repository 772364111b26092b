//! What the medium of a slot makes of “overwriting in place”.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Warns where a slot file lies on something that keeps what is overwritten, or loses it.
pub(super) fn warn(path: &Path) {
    // Only Linux has it; elsewhere nothing is known.
    let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo") else { return };
    let Ok(path) = path.canonicalize() else { return };
    if let Some(Medium { file_system, trouble }) = trouble(&mounts, &path) {
        tracing::warn!(slot = %path.display(), %file_system, "{}", trouble.words());
    }
}

/// Warns of a token that is none, but files.
#[cfg(feature = "pkcs11")]
pub(super) fn warn_of_token(token: &str, manufacturer: &str) {
    if manufacturer.to_ascii_lowercase().contains("softhsm") {
        tracing::warn!(
            %token, %manufacturer,
            "the root slot lies in a token that keeps its objects in files: earlier roots may stay on the              disk and in copies of these files, and with them what was forgotten; it is for tests, keep              the slot elsewhere"
        );
    }
}

/// The file system that a path lies on, and what is wrong with it for a slot.
#[derive(Debug, PartialEq, Eq)]
struct Medium {
    file_system: String,
    trouble: Trouble,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Writes go elsewhere, and the old bytes stay for some time.
    WritesElsewhere,
    /// Data go through the journal first, and stay there for some time.
    JournalsData,
    /// A server somewhere does as it likes.
    Remote,
    /// Gone when the machine stops.
    Volatile,
}

impl Trouble {
    fn words(self) -> &'static str {
        match self {
            Self::WritesElsewhere => {
                "the root slot lies on a file system that does not overwrite in place: earlier \
                 roots may stay on the disk, and with them what was forgotten; keep the slot elsewhere"
            }
            Self::JournalsData => {
                "the root slot lies on a file system that journals data: earlier roots may stay in \
                 the journal, and with them what was forgotten; keep the slot elsewhere"
            }
            Self::Remote => {
                "the root slot lies on a file system of another machine: whether it overwrites in \
                 place, or keeps snapshots, cannot be seen from here; keep the slot elsewhere"
            }
            Self::Volatile => {
                "the root slot lies in memory: when the machine stops it is gone, and every key of \
                 the vault with it; keep the slot elsewhere"
            }
        }
    }
}

/// What is wrong with the place of a file, by the text of `/proc/self/mountinfo`.
fn trouble(mounts: &str, path: &Path) -> Option<Medium> {
    let mut at: Option<(usize, Option<Medium>)> = None;
    for line in mounts.lines() {
        let Some((point, medium)) = mount(line) else { continue };
        // Of two at the same point the later one is on top.
        let depth = point.components().count();
        if path.starts_with(&point) && at.as_ref().is_none_or(|(deepest, _)| *deepest <= depth) {
            at = Some((depth, medium));
        }
    }
    at?.1
}

/// The mount point of a line, and what is wrong there.
/// `36 35 98:0 /root /mnt rw,noatime master:1 - ext4 /dev/sda rw,data=journal`
fn mount(line: &str) -> Option<(PathBuf, Option<Medium>)> {
    let (place, what) = line.split_once(" - ")?;
    let point = unescape(place.split(' ').nth(4)?);
    let mut what = what.split(' ');
    let (kind, options) = (what.next()?, what.nth(1).unwrap_or_default());
    let trouble = match kind {
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
        "ext3" | "ext4" if options.split(',').any(|option| option == "data=journal") => {
            Some(Trouble::JournalsData)
        }
        "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "ceph" | "fuse.sshfs" | "fuse.glusterfs"
        | "virtiofs" => Some(Trouble::Remote),
        "tmpfs" | "ramfs" => Some(Trouble::Volatile),
        _ => None,
    };
    Some((point, trouble.map(|trouble| Medium { file_system: kind.to_owned(), trouble })))
}

/// White space and backslashes stand there as `\` and three octal digits.
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
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:21 / /proc rw,nosuid shared:5 - proc proc rw
24 22 0:22 / /tmp rw shared:6 - tmpfs tmpfs rw,size=1g
25 22 0:23 /@home /home rw - btrfs /dev/vdb rw,space_cache=v2
26 25 8:1 / /home/erika/usb\\040stick rw,noatime shared:9 master:2 - vfat /dev/sdc1 rw
27 22 8:2 / /journal rw - ext4 /dev/sdd rw,data=journal
28 22 8:3 / /big rw - xfs /dev/sde rw,reflink
29 22 0:40 / /net rw - nfs4 server:/x rw,vers=4.2
30 22 0:41 / /layers rw - overlay overlay rw,lowerdir=/a,upperdir=/b
31 22 8:4 / /big rw - f2fs /dev/sdf rw
a line that means nothing
32 22 0:42 / /odd\\09 rw - ext4";

    fn at(path: &str) -> Option<(String, Trouble)> {
        trouble(MOUNTS, Path::new(path)).map(|medium| (medium.file_system, medium.trouble))
    }

    #[test]
    fn the_file_system_that_counts_is_the_deepest_and_last() {
        use Trouble::*;
        for (path, expected) in [
            ("/var/lib/x.root", None),
            ("/tmp/x.root", Some(("tmpfs", Volatile))),
            ("/tmpx/x.root", None),
            ("/home/erika/x.root", Some(("btrfs", WritesElsewhere))),
            ("/home/erika/usb stick/x.root", None),
            ("/journal/x.root", Some(("ext4", JournalsData))),
            ("/net/x.root", Some(("nfs4", Remote))),
            ("/layers/deep/x.root", Some(("overlay", WritesElsewhere))),
            ("/big/x.root", Some(("f2fs", WritesElsewhere))),
        ] {
            let expected = expected.map(|(kind, trouble)| (kind.to_owned(), trouble));
            assert_eq!(at(path), expected, "{path}");
        }
        assert_eq!(trouble("", Path::new("/x")), None);
    }
}
