#!/usr/bin/env python3
"""Makes vectors anew, checks all, and pins them: `tests/vectors/renew.py FILE…`; without a name, those that are missing.

For forms that no release has written. What is frozen never changes: see CONTRIBUTING.md."""
import os, pathlib, re, subprocess, sys

here = pathlib.Path(__file__).resolve().parent
root = here.parent.parent
fixtures = root / "crates/oubliette-cli/tests/fixtures"
def cargo(*words, **env):
    run = [os.environ.get("CARGO", "cargo"), "test", "--quiet", "--features", "tpm,pkcs11,conformance", *words]
    return subprocess.run(run, cwd=root, env={**os.environ, **env}).returncode == 0
def write(): return cargo("--workspace", "--lib", "--bins", "the_committed_", OUBLIETTE_WRITE_VECTORS="1")

# Nothing of ours signs as most of its vectors do.
if "signatures.json" in sys.argv: sys.exit("signatures.json is not made here")
files = {(here / name).resolve() for name in sys.argv[1:]}
if not re.search(r"^const FROZEN: .* = None;$", (fixtures / "pins.rs").read_text(), re.M):
    pinned = {line.split("  ", 1)[1] for line in (fixtures / "SHA256SUMS").read_text().splitlines()}
    for file in files:
        name = file.relative_to(root).as_posix()
        if name in pinned: sys.exit(f"{name} is frozen: a new version of a format gets a file of its own, see CONTRIBUTING.md")
for file in files: file.unlink()
# Some are made of others, which have to be there first.
write() or write() or sys.exit("not all could be made")
subprocess.run([sys.executable, here / "check.py"], check=True)
cargo("--test", "fixtures", "the_fixtures_are_there", OUBLIETTE_WRITE_FIXTURES="1") or sys.exit("they are not pinned")
