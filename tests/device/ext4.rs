//! An ext4 file system of its own on a loop device: for what is asked of the disk itself. Needs
//! root and e2fsprogs.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

/// How large each is: what tests write fits many times.
const BYTES: u64 = 64 << 20;

/// Data are not journalled; and nothing is written that was not asked for, or only after longer than
/// a test takes.
const OPTIONS: &str = "data=ordered,commit=3600";

/// A mounted file system, taken down when dropped, also by a failure.
pub(crate) struct Ext4 {
    work: tempfile::TempDir,
    device: String,
    at: PathBuf,
    mounted: bool,
}

impl Ext4 {
    /// An empty one. `None`: not available here, and said so.
    pub(crate) fn make() -> Option<Self> {
        let work = tempfile::tempdir().unwrap();
        let at = work.path().join("mounted");
        fs::create_dir(&at).unwrap();
        Self::make_in(work, &at)
    }

    /// An empty one, at this folder.
    pub(crate) fn make_at(at: &Path) -> Option<Self> {
        Self::make_in(tempfile::tempdir().unwrap(), at)
    }

    /// An empty one, whose superblock has this among its default mount options, mounted with these.
    #[allow(dead_code)]
    pub(crate) fn make_as(superblock: &str, options: &str) -> Option<Self> {
        let work = tempfile::tempdir().unwrap();
        let at = work.path().join("mounted");
        fs::create_dir(&at).unwrap();
        Self::make_with(work, &at, &["-o", superblock], options)
    }

    fn make_in(work: tempfile::TempDir, at: &Path) -> Option<Self> {
        Self::make_with(work, at, &[], OPTIONS)
    }

    fn make_with(
        work: tempfile::TempDir,
        at: &Path,
        tuned: &[&str],
        options: &str,
    ) -> Option<Self> {
        let image = work.path().join("image");
        File::create(&image).unwrap().set_len(BYTES).unwrap();
        let made = run("mkfs.ext4", &["-q", "-F", image.to_str()?]);
        let made = made.and_then(|_| match tuned {
            [] => Some(String::new()),
            tuned => run("tune2fs", &[tuned, &[image.to_str()?]].concat()),
        });
        let made = made.and_then(|_| Self::mount(work, at.to_owned(), options));
        match &made {
            Some(made) => fs::remove_dir(made.at.join("lost+found")).unwrap(),
            None => skipped(),
        }
        made
    }

    fn mount(work: tempfile::TempDir, at: PathBuf, options: &str) -> Option<Self> {
        let image = work.path().join("image");
        let device = run("losetup", &["--find", "--show", image.to_str()?])?;
        let mut made = Self { work, device: device.trim().to_owned(), at, mounted: false };
        run("mount", &["-o", options, &made.device, made.at.to_str()?])?;
        made.mounted = true;
        Some(made)
    }

    /// Where it is mounted.
    pub(crate) fn folder(&self) -> &Path {
        &self.at
    }

    /// What the device holds at this moment, as a file system that is mounted there: what a power
    /// cut would leave. The device's bytes are those of its backing file, which the system's cache
    /// of the file system above is no part of.
    pub(crate) fn cut(&self, at: &Path) -> Self {
        let work = tempfile::tempdir().unwrap();
        let (from, to) = (self.image(), work.path().join("image"));
        let paths = [from.to_str().unwrap(), to.to_str().unwrap()];
        run("cp", &["--sparse=always", paths[0], paths[1]]).unwrap();
        Self::mount(work, at.to_owned(), OPTIONS).unwrap()
    }

    /// Everything that the device holds.
    pub(crate) fn raw(&self) -> Vec<u8> {
        run("sync", &[]);
        let raw = fs::read(self.image()).unwrap();
        assert_eq!(raw.len() as u64, BYTES);
        raw
    }

    /// Takes the file system down, and reads the device then.
    pub(crate) fn raw_after(mut self) -> Vec<u8> {
        assert!(self.unmount());
        self.raw()
    }

    fn image(&self) -> PathBuf {
        self.work.path().join("image")
    }

    fn unmount(&mut self) -> bool {
        !std::mem::take(&mut self.mounted)
            || run("umount", &[self.at.to_str().unwrap_or_default()]).is_some()
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        if !self.unmount() {
            run("umount", &["--lazy", self.at.to_str().unwrap_or_default()]);
        }
        run("losetup", &["--detach", &self.device]);
    }
}

#[allow(clippy::print_stderr)]
fn skipped() {
    let required = std::env::var_os("OUBLIETTE_REQUIRE_DISKS").is_some();
    assert!(!required, "ext4 on a loop device is required here, and not available");
    eprintln!("SKIPPED: no ext4 on a loop device could be had; run as root, with e2fsprogs");
}

fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let done = Command::new(program).args(arguments).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
}
