"""Makes a crate of the room `crypto` and the rooms that it is tested with, in a folder: `.ci/mutants crypto` changes it
there, because it is built in seconds, and the whole library in a minute and more.

What needs a vault or a policy is left out: the vectors, and the tests of those rooms.
"""

import pathlib
import re
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROOMS = ["src/crypto", "src/event", "src/layer/document", "src/words.rs", "src/store/error.rs", "src/store/options.rs",
         "tests/common", "tests/vectors"]
LIBRARY = """#![allow(unused, dead_code, private_interfaces, unreachable_pub)]
pub mod crypto;
pub mod event;
pub mod layer {
    pub mod document;
}
pub mod store {
    mod error;
    mod options;
    pub use error::*;
    pub use options::*;
}
mod runtime;
pub mod words;
pub use runtime::TaskError;
"""
VECTORS = """#[path = "../../../tests/common/vectors.rs"]
mod files;
pub(crate) use files::{are_committed, committed, hex};
"""
TESTS = 'additional_cargo_test_args = ["--lib"]\n'


def between(text, begin, end):
    return text[text.index(begin) : text.index(end)]


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def main(folder):
    for name in ("src", "tests"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for room in ROOMS:
        (folder / room).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / room).is_dir() else shutil.copy
        copy(ROOT / room, folder / room)
    shutil.copy(ROOT / "Cargo.lock", folder)
    runtime = (ROOT / "src/runtime.rs").read_text()
    write(folder / "src/runtime.rs", runtime[: runtime.index("#[cfg(test)]\nmod tests")])
    write(folder / "src/layer/document/vectors.rs", VECTORS)
    write(folder / "src/lib.rs", LIBRARY)
    left_out = between((ROOT / ".cargo/mutants.toml").read_text(), "# Compiled for tests", "# The library's own tests")
    write(folder / ".cargo/mutants.toml", left_out + TESTS)
    manifest = (ROOT / "Cargo.toml").read_text()
    shared = re.sub(r"^oubliette.*\n", "", between(manifest, "[workspace.dependencies]", "[package]"), flags=re.M)
    features = re.sub(r"^default = .*", 'default = ["drill", "backup"]', between(manifest, "[features]", "[[bench]]"), flags=re.M)
    features = features.replace("oubliette-files.workspace = true\n", "")
    profile = "[profile.dev]\ndebug = false\n\n" + between(manifest, "[profile.dev.package]", "[profile.release]")
    package = '[package]\nname = "oubliette"\nversion = "0.1.0"\nedition = "2024"\nautotests = false\n\n'
    write(folder / "Cargo.toml", f"[workspace]\n\n{shared}{package}{features}{profile}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
