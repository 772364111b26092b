//! What strace wrote, as calls that matter to a disk.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// The calls that `read` knows.
pub(crate) const CALLS: &str = "trace=open,openat,creat,write,writev,pwrite64,pwritev,pwritev2,\
    copy_file_range,sendfile,splice,fallocate,ftruncate,truncate,fsync,fdatasync,sync_file_range,\
    mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir";

/// A call that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// At which line of the trace it began, and at which it had returned.
    pub(crate) begun: usize,
    pub(crate) ended: usize,
    pub(crate) what: What,
}

impl Call {
    /// When it counts: a write as soon as it begins, all else when it is done.
    fn moment(&self) -> usize {
        match self.what {
            What::Wrote(_) | What::Said(_) => self.begun,
            _ => self.ended,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// Bytes or length of a file, wherever they are now.
    Wrote(PathBuf),
    /// `fsync` or `fdatasync` of a file or folder. `sync_file_range` is none.
    Synced(PathBuf),
    /// A name that may be new.
    Named(PathBuf),
    Moved {
        from: PathBuf,
        to: PathBuf,
    },
    Removed(PathBuf),
    /// What it wrote to the file for what it says.
    Said(String),
}

/// The calls of a trace, in the order of their moments.
pub(crate) fn read(trace: &str, said: &Path) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: HashMap<&str, (usize, String)> = HashMap::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((thread, text)) = line.split_once(' ') else { continue };
        let text = text.trim_start();
        if let Some(begun) = text.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, (number, begun.to_owned()));
            continue;
        }
        let (begun, whole) = match text.strip_prefix("<... ") {
            Some(resumed) => {
                let Some((_, rest)) = resumed.split_once(" resumed>") else { continue };
                let Some((begun, head)) = unfinished.remove(thread) else { continue };
                (begun, format!("{head}{rest}"))
            }
            None => (number, text.to_owned()),
        };
        for what in call(&whole, said) {
            calls.push(Call { begun, ended: number, what });
        }
    }
    calls.sort_by_key(Call::moment);
    calls
}

/// One call, whole: `name(arguments) = result`.
fn call(text: &str, said: &Path) -> Vec<What> {
    let parts = || {
        let (name, rest) = text.split_once('(')?;
        let (arguments, result) = rest.rsplit_once(") = ").or_else(|| {
            // Strace pads short calls: `fsync(3<…>)            = 0`.
            let (arguments, result) = rest.rsplit_once(" = ")?;
            Some((arguments.trim_end().strip_suffix(')')?, result))
        })?;
        Some((name, arguments, result))
    };
    let Some((name, arguments, result)) = parts() else { return Vec::new() };
    if result.starts_with('-') || result.starts_with('?') {
        return Vec::new();
    }
    let paths = || paths(arguments);
    let descriptor = || described(arguments);
    match name {
        "fsync" | "fdatasync" => descriptor().map(What::Synced).into_iter().collect(),
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" | "fallocate" | "ftruncate" => {
            match descriptor() {
                Some(path) if path == said => {
                    quoted(arguments).into_iter().map(What::Said).take(1).collect()
                }
                Some(path) => vec![What::Wrote(path)],
                None => Vec::new(),
            }
        }
        // Nothing of ours uses them; if it does, the writes must not go unseen.
        "copy_file_range" | "sendfile" | "splice" => panic!("not modelled: {text}"),
        "truncate" => paths().into_iter().take(1).map(What::Wrote).collect(),
        "open" | "openat" | "creat" => {
            let Some(path) = described(result) else { return Vec::new() };
            let mut done = Vec::new();
            if name == "creat" || arguments.contains("O_CREAT") {
                done.push(What::Named(path.clone()));
            }
            if name == "creat" || arguments.contains("O_TRUNC") {
                done.push(What::Wrote(path));
            }
            done
        }
        "mkdir" | "mkdirat" | "symlink" | "symlinkat" | "link" | "linkat" => {
            paths().pop().map(What::Named).into_iter().collect()
        }
        "rename" | "renameat" | "renameat2" => match &paths()[..] {
            [from, to] => vec![What::Moved { from: from.clone(), to: to.clone() }],
            other => panic!("{other:?} of {text}"),
        },
        "unlink" | "unlinkat" | "rmdir" => paths().into_iter().take(1).map(What::Removed).collect(),
        _ => Vec::new(),
    }
}

/// The path of the first descriptor: `3</a/path>`.
fn described(text: &str) -> Option<PathBuf> {
    let (descriptor, rest) = text.split_once('<')?;
    let plain = descriptor.bytes().all(|byte| byte.is_ascii_digit());
    let (path, rest) = rest.split_once('>')?;
    // Not a pipe, a socket or the like, nor what was removed.
    let there = path.starts_with('/') && !rest.starts_with("(deleted)");
    (plain && there).then(|| PathBuf::from(path))
}

/// The paths that are given as text, each in the folder that is before it.
fn paths(arguments: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folder = PathBuf::new();
    let mut rest = arguments;
    while let Some(at) = rest.find(['<', '"']) {
        if rest[at..].starts_with('<') {
            let Some((path, after)) = rest[at + 1..].split_once('>') else { break };
            (folder, rest) = (PathBuf::from(path), after);
        } else {
            let Some((path, after)) = rest[at + 1..].split_once('"') else { break };
            found.push(folder.join(path));
            rest = after;
        }
    }
    found
}

/// Texts between quotes.
fn quoted(arguments: &str) -> Vec<String> {
    let mut parts = arguments.split('"').skip(1);
    let mut found = Vec::new();
    while let Some(text) = parts.next() {
        found.push(text.replace("\\n", "\n"));
        parts.next();
    }
    found
}

#[test]
fn calls_are_read_as_strace_writes_them() {
    let said = Path::new("/t/said");
    let trace = concat!(
        "7 openat(AT_FDCWD</w>, \"/t/a\", O_RDWR|O_CREAT|O_CLOEXEC, 0666) = 3</t/a>\n",
        "7 openat(AT_FDCWD</w>, \"/t/b\", O_RDONLY) = -1 ENOENT (No such file or directory)\n",
        "8 pwrite64(3</t/a>, \"x) = 1\\n\"..., 4096, 0 <unfinished ...>\n",
        "7 fsync(3</t/a>)                         = 0\n",
        "8 <... pwrite64 resumed>)                = 4096\n",
        "7 sync_file_range(3</t/a>, 0, 10, 7)     = 0\n",
        "7 rename(\"/t/a\", \"/t/c\")                = 0\n",
        "7 unlinkat(5</t>, \"c\", 0)               = 0\n",
        "7 write(1</t/said>, \"one .\\n\", 6)       = 6\n",
        "7 +++ exited with 0 +++\n",
    );
    let path = |path: &str| PathBuf::from(path);
    let calls: Vec<(usize, usize, What)> =
        read(trace, said).into_iter().map(|call| (call.begun, call.ended, call.what)).collect();
    let wanted = [
        (0, 0, What::Named(path("/t/a"))),
        (2, 4, What::Wrote(path("/t/a"))),
        (3, 3, What::Synced(path("/t/a"))),
        (6, 6, What::Moved { from: path("/t/a"), to: path("/t/c") }),
        (7, 7, What::Removed(path("/t/c"))),
        (8, 8, What::Said("one .\n".into())),
    ];
    assert_eq!(calls, wanted);
}
