#!/usr/bin/env python3
"""Makes vectors anew, checks all, and pins them: `tests/vectors/renew.py FILE…`; without a name, those that are missing.

For forms that no release has written. What is frozen never changes: see CONTRIBUTING.md."""
import os, pathlib, subprocess, sys

here = pathlib.Path(__file__).resolve().parent
def cargo(*words, **env):
    run = [os.environ.get("CARGO", "cargo"), "test", "--quiet", "--features", "tpm,pkcs11,conformance", *words]
    return subprocess.run(run, cwd=here.parent.parent, env={**os.environ, **env}).returncode == 0
def write(): return cargo("--workspace", "--lib", "--bins", "the_committed_", OUBLIETTE_WRITE_VECTORS="1")

# Nothing of ours signs as most of its vectors do.
if "signatures.json" in sys.argv: sys.exit("signatures.json is not made here")
for name in sys.argv[1:]: (here / name).unlink()
# Some are made of others, which have to be there first.
write() or write() or sys.exit("not all could be made")
subprocess.run([sys.executable, here / "check.py"], check=True)
cargo("--test", "fixtures", "the_fixtures_are_there", OUBLIETTE_WRITE_FIXTURES="1") or sys.exit("they are not pinned")
