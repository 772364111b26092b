//! What is warned of, and what is not.

use super::*;
#[cfg(target_os = "linux")]
use crate::vault::tests::forensic::device::ext4;

/// Neither `/proc/mounts` nor `mountinfo` said a word of it.
#[cfg(target_os = "linux")]
#[allow(clippy::print_stderr)]
#[test]
fn a_data_journal_that_the_superblock_asks_for_went_unseen() {
    use Trouble::*;
    for (superblock, options, trouble) in [
        ("journal_data", "noatime", Some(JournalsData)),
        ("journal_data", "data=ordered", None),
        ("journal_data_ordered", "noatime", None),
        ("journal_data_ordered", "data=journal", Some(JournalsData)),
    ] {
        let Some(ext4) = ext4::Ext4::make_as(superblock, options) else { return };
        let slot = ext4.folder().join("root");
        fs::write(&slot, "").unwrap();
        let found = look(&slot).map(|medium| medium.trouble);
        assert_eq!(found, trouble, "{superblock}, {options}");
    }
    let Some(ext4) = ext4::Ext4::make() else { return };
    let slot = ext4.folder().join("root");
    fs::write(&slot, "").unwrap();
    let flagged = std::process::Command::new("chattr").arg("+j").arg(&slot).status().unwrap();
    if !flagged.success() {
        eprintln!("SKIPPED: a file's data journal (chattr +j) takes CAP_SYS_RESOURCE");
        return;
    }
    assert_eq!(look(&slot).map(|medium| medium.trouble), Some(FileJournalsData));
}

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

#[test]
fn the_file_system_that_counts_is_the_deepest_and_last() {
    for (path, device, kind, options) in [
        ("/var/lib/x.root", "254:0", "ext4", "rw"),
        ("/tmp/x.root", "0:22", "tmpfs", "rw,size=1g"),
        ("/tmpx/x.root", "254:0", "ext4", "rw"),
        ("/home/erika/x.root", "0:23", "btrfs", "rw,space_cache=v2"),
        ("/home/erika/usb stick/x.root", "8:1", "vfat", "rw"),
        ("/journal/x.root", "8:2", "ext4", "rw,data=journal"),
        ("/net/x.root", "0:40", "nfs4", "rw,vers=4.2"),
        ("/layers/deep/x.root", "0:41", "overlay", "rw,lowerdir=/a,upperdir=/b"),
        ("/big/x.root", "8:4", "f2fs", "rw"),
    ] {
        let found = mount_of(MOUNTS, Path::new(path)).unwrap();
        assert_eq!(found.device, device, "{path}");
        assert_eq!((&*found.kind, &*found.options), (kind, options), "{path}");
    }
    assert!(mount_of("", Path::new("/x")).is_none());
}

#[test]
fn what_is_not_known_to_overwrite_in_place_is_told() {
    use Trouble::*;
    for (kind, trouble) in [
        ("xfs", None),
        ("ext2", None),
        ("vfat", None),
        ("btrfs", Some(WritesElsewhere)),
        ("nfs4", Some(Remote)),
        ("tmpfs", Some(Volatile)),
        ("reiser5", Some(Unknown)),
        ("fuseblk", Some(Unknown)),
        ("", Some(Unknown)),
    ] {
        assert_eq!(on(kind), trouble, "{kind}");
    }
}

#[test]
fn the_data_mode_in_force_counts_more_than_what_was_mounted_with() {
    use Trouble::*;
    for (in_force, mounted_with, trouble) in [
        (Some("rw\ndata=ordered\ninode_readahead_blks=32\n"), "rw", None),
        (Some("rw\ndata=writeback\n"), "rw", None),
        (Some("rw\ndata=journal\n"), "rw", Some(JournalsData)),
        (Some("rw\ndata=journal\n"), "rw,data=ordered", Some(JournalsData)),
        // Without a journal.
        (Some("rw\nbarrier\n"), "rw", None),
        (Some("rw\ndata=sometimes\n"), "rw", Some(MayJournalData)),
        (None, "rw,data=ordered", None),
        (None, "rw,data=journal", Some(JournalsData)),
        (None, "rw", Some(MayJournalData)),
    ] {
        assert_eq!(data_mode(in_force, mounted_with), trouble, "{in_force:?} {mounted_with}");
    }
}
