//! No key stays in memory when it is gone: a child process works with a vault, and its parent
//! reads all of its memory at each step.
//!
//! The parent learns the keys as an adversary would, from a copy of the folder and the root slot: the
//! child knows of none. What it looks for is the
//! keys, each half of them, and all that AES derives from them: any two neighbouring round keys
//! give the key back.

use std::{
    collections::{HashMap, HashSet},
    env,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use self::child::{CHILD, FOLDER, OTHER, STREAMS, VICTIM};
use crate::{
    crypto::{SECRET_BYTES, Secret},
    vault::{
        pages::{PageStore, SledPages},
        records::{entries::KeyEntry, places},
        root::{RootSlot, Slot},
        tree::page::{Page, PageId},
    },
};

type Bytes = [u8; SECRET_BYTES];

#[path = "../../../../tests/memory/child.rs"]
mod child;

#[test]
fn no_destroyed_key_is_left_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Process::start(dir.path());
    if !child.readable() {
        assert!(env::var_os(CHILD).is_none(), "the memory of a child process cannot be read");
        io::stderr().write_all(b"SKIPPED: the memory of a child process cannot be read\n").unwrap();
        return;
    }
    child.reach("used");
    let before = Learned::from(dir.path(), "used");
    let victims = before.data[VICTIM].clone();
    let others = before.data[OTHER].clone();
    assert_eq!((victims.len(), others.len()), (STREAMS.len(), STREAMS.len()));
    // The search finds what is there.
    let found = child.search(&[&victims[..], &others, &[before.root]].concat());
    for (name, keys) in [("victim", &victims), ("other", &others), ("root", &vec![before.root])] {
        assert!(keys.iter().all(|key| found.contains_key(key)), "{name}: not found while in use");
    }

    child.reach("forgotten");
    let after = Learned::from(dir.path(), "forgotten");
    let living: HashSet<Bytes> = after.all().into_iter().collect();
    let dead: Vec<Bytes> = before.all().into_iter().filter(|key| !living.contains(key)).collect();
    assert!(dead.contains(&before.root) && victims.iter().all(|key| dead.contains(key)));
    assert!(dead.len() >= victims.len() + 2, "a leaf at least was replaced, and the root");
    before.none_of(&child.search(&dead), "after forgetting");
    assert_eq!(after.data[OTHER], others);
    let found = child.search(&others);
    assert!(others.iter().all(|key| found.contains_key(key)), "the living are in use");

    child.reach("rotated");
    let rotated = Learned::from(dir.path(), "rotated");
    assert_ne!(rotated.root, after.root);
    before.none_of(&child.search(&dead), "after rotating the root");
    after.none_of(&child.search(&[after.root]), "after rotating the root");

    child.reach("closed");
    let pages = &rotated.pages[..];
    rotated.none_of(&child.search(&[&dead[..], &others, pages].concat()), "after closing");
    child.end();
}

#[test]
#[ignore = "run by `no_destroyed_key_is_left_in_memory`, in a process of its own"]
fn as_child() {
    child::main();
}

/// The child, as its parent sees it.
struct Process {
    child: Child,
    go_on: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
}

impl Process {
    fn start(folder: &Path) -> Self {
        let mut command = match env::var_os(CHILD) {
            Some(program) => Command::new(program),
            None => {
                let name = format!("{}::as_child", module_path!().split_once("::").unwrap().1);
                let mut command = Command::new(env::current_exe().unwrap());
                command.args([&name, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
                command
            }
        };
        let mut child = command
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (go_on, said) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, go_on, said: BufReader::new(said) }
    }

    fn readable(&self) -> bool {
        let mut byte = [0];
        let regions = regions(self.child.id());
        let Some((from, ..)) = regions.first() else { return false };
        let memory = File::open(format!("/proc/{}/mem", self.child.id()));
        memory.is_ok_and(|mut memory| {
            memory.seek(SeekFrom::Start(*from)).is_ok() && memory.read(&mut byte).is_ok()
        })
    }

    /// Lets the child go on until it reaches a step.
    fn reach(&mut self, step: &str) {
        if step != "used" {
            self.go_on.as_mut().unwrap().write_all(b"\n").unwrap();
        }
        let reached = format!("reached {step}");
        let mut line = String::new();
        while line.trim() != reached {
            line.clear();
            assert_ne!(self.said.read_line(&mut line).unwrap(), 0, "the child ended before {step}");
        }
    }

    /// Which of the keys are in the child's memory, each with where and what of it.
    fn search(&self, keys: &[Bytes]) -> HashMap<Bytes, Vec<String>> {
        let traces: Vec<(usize, usize, [u8; 16])> = keys
            .iter()
            .enumerate()
            .flat_map(|(k, key)| schedule(key).into_iter().enumerate().map(move |(r, t)| (k, r, t)))
            .collect();
        let mut patterns = AhoCorasick::builder();
        let patterns = patterns.kind(Some(AhoCorasickKind::DFA));
        let patterns = patterns.build(traces.iter().map(|(_, _, trace)| trace)).unwrap();
        let mut memory = File::open(format!("/proc/{}/mem", self.child.id())).unwrap();
        let mut found: HashMap<Bytes, Vec<String>> = HashMap::new();
        let mut piece = vec![0; 1 << 20];
        for (from, to, name) in regions(self.child.id()) {
            let mut at = from;
            while at < to {
                let length = piece.len().min((to - at) as usize);
                let read = memory
                    .seek(SeekFrom::Start(at))
                    .and_then(|_| memory.read_exact(&mut piece[..length]));
                if read.is_ok() {
                    for hit in patterns.find_overlapping_iter(&piece[..length]) {
                        let (key, round, _) = traces[hit.pattern().as_usize()];
                        let place = format!(
                            "round key {round} at {:x} in {name} of {from:x}-{to:x}",
                            at + hit.start() as u64
                        );
                        found.entry(keys[key]).or_default().push(place);
                    }
                }
                // What lies across a border is in the next piece.
                at += if at + length as u64 == to { length } else { length - 15 } as u64;
            }
        }
        found
    }

    fn end(mut self) {
        drop(self.go_on.take());
        io::copy(&mut self.said, &mut io::sink()).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a process has memory that can be read, and what is there.
fn regions(process: u32) -> Vec<(u64, u64, String)> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap_or_default();
    let region = |line: &str| {
        let mut words = line.split_whitespace();
        let (from, to) = words.next()?.split_once('-')?;
        let readable = words.next()?.starts_with('r');
        let name = words.nth(3).unwrap_or("no file").to_owned();
        let hex = |text| u64::from_str_radix(text, 16).ok();
        (readable && name != "[vvar]" && name != "[vsyscall]").then_some((
            hex(from)?,
            hex(to)?,
            name,
        ))
    };
    maps.lines().filter_map(region).collect()
}

/// All keys that there are at one moment.
struct Learned {
    root: Bytes,
    pages: Vec<Bytes>,
    data: HashMap<String, Vec<Bytes>>,
}

impl Learned {
    /// From a copy, as of a step.
    fn from(folder: &Path, step: &str) -> Self {
        let copy = folder.join(step);
        fs::create_dir(&copy).unwrap();
        for file in fs::read_dir(folder.join("vault/pages")).unwrap() {
            let file = file.unwrap();
            if file.path().is_file() {
                fs::copy(file.path(), copy.join(file.file_name())).unwrap();
            }
        }
        let slot = folder.join(format!("root of {step}"));
        fs::copy(folder.join("root"), &slot).unwrap();
        let root = Slot::in_file(&slot, false).unwrap().read().unwrap();
        let store = SledPages::open(&copy).unwrap();
        let mut learned = Self { root: *root.key, pages: Vec::new(), data: HashMap::new() };
        let mut todo: Vec<(PageId, Secret)> = vec![(root.page, root.key.clone())];
        while let Some((id, key)) = todo.pop() {
            let stored = store.get(&id).unwrap().unwrap();
            let page = Page::open(root.vault, &id, &key, id == root.page, &stored).unwrap();
            learned.pages.push(*key);
            for index in 0..page.len() {
                if page.level() > 0 {
                    todo.push(page.child(index));
                } else if places::is_key(page.place(index)) {
                    let entry = KeyEntry::decode(page.value(index)).unwrap();
                    let keys = learned.data.entry(entry.subject.to_string()).or_default();
                    keys.push(*entry.secret);
                }
            }
        }
        learned
    }

    fn all(&self) -> Vec<Bytes> {
        self.pages.iter().chain(self.data.values().flatten()).copied().collect()
    }

    fn kind(&self, key: &Bytes) -> String {
        if *key == self.root {
            return "the root key".to_owned();
        }
        let whose = self.data.iter().find(|(_, keys)| keys.contains(key));
        whose.map_or_else(|| "a page key".to_owned(), |(who, _)| format!("a data key of {who}"))
    }

    fn none_of(&self, found: &HashMap<Bytes, Vec<String>>, when: &str) {
        let lines = found.iter().map(|(key, places)| {
            format!(
                "{}: {} times, {}",
                self.kind(key),
                places.len(),
                places[..places.len().min(6)].join("; ")
            )
        });
        let mut lines: Vec<String> = lines.collect();
        lines.sort();
        lines.truncate(20);
        assert!(found.is_empty(), "{when}, {} keys:\n{}", found.len(), lines.join("\n"));
    }
}

/// The round keys of AES-256 (FIPS 197, section 5.2): the two halves of the key come first.
fn schedule(key: &Bytes) -> [[u8; 16]; 15] {
    let mut words = [[0; 4]; 60];
    for (word, bytes) in words.iter_mut().zip(key.as_chunks::<4>().0) {
        *word = *bytes;
    }
    let mut round = 1_u8;
    for i in 8..60 {
        let mut last = words[i - 1];
        if i % 8 == 0 {
            last.rotate_left(1);
            last = last.map(substitute);
            last[0] ^= round;
            round = double(round);
        } else if i % 8 == 4 {
            last = last.map(substitute);
        }
        words[i] = std::array::from_fn(|at| words[i - 8][at] ^ last[at]);
    }
    std::array::from_fn(|r| std::array::from_fn(|at| words[4 * r + at / 4][at % 4]))
}

fn substitute(byte: u8) -> u8 {
    static BOX: std::sync::LazyLock<[u8; 256]> = std::sync::LazyLock::new(|| {
        std::array::from_fn(|byte| {
            let inverse = (1..=255).find(|&other| multiply(byte as u8, other) == 1).unwrap_or(0);
            (0..5).fold(0x63, |sum, turn| sum ^ inverse.rotate_left(turn))
        })
    });
    BOX[usize::from(byte)]
}

fn double(byte: u8) -> u8 {
    (byte << 1) ^ if byte & 0x80 != 0 { 0x1b } else { 0 }
}

fn multiply(a: u8, b: u8) -> u8 {
    let powers = std::iter::successors(Some(a), |power| Some(double(*power)));
    powers.take(8).enumerate().filter(|(bit, _)| b >> bit & 1 == 1).fold(0, |sum, (_, p)| sum ^ p)
}

#[test]
fn the_round_keys_are_those_of_the_standard() {
    let keys = schedule(&std::array::from_fn(|byte| byte as u8));
    let last = 0x24fc_79cc_bf09_79e9_371a_c23c_6d68_de36_u128;
    assert_eq!(u128::from_be_bytes(keys[14]), last);
}
