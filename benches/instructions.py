"""Counts the instructions of sealing, opening and reading with valgrind, and compares them with those that were kept.

    ./bench instructions          counts, and tells what rose by more than 5 %: exit code 1 then
    ./bench instructions --keep   keeps what was counted, and of reading in which parts, and rewrites that section of
                                  docs/performance.md

A count is the difference of two runs of which one does the thing twice as often, so that starting is not counted.
"""

import collections
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import report

KEPT = report.ROOT / "benches" / "instructions.json"
BEGIN, END = "<!-- instructions: begin -->", "<!-- instructions: end -->"
TIMES = 500
RISE = 0.05


def build():
    """The program that does the things."""
    built = subprocess.run(
        ["cargo", "bench", "--bench", "instructions", "--no-run", "--message-format=json-render-diagnostics"],
        cwd=report.ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    artifacts = [json.loads(line) for line in built.splitlines()]
    return next(one["executable"] for one in artifacts if one.get("target", {}).get("name") == "instructions" and one["executable"])


def count(program, case, times):
    ran = subprocess.run(
        ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", program, case, str(times)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    found = re.search(r"I\s+refs:\s+([\d,]+)", ran.stderr)
    if ran.returncode or not found:
        sys.exit(f"{case}: valgrind failed\n{ran.stderr}")
    return int(found[1].replace(",", ""))


def counts(program):
    cases = subprocess.run([program], check=True, stdout=subprocess.PIPE, text=True).stdout.split("\n")
    for case in filter(None, cases):
        each = (count(program, case, 2 * TIMES) - count(program, case, TIMES)) / TIMES
        yield case, round(each)


# Of these it is told where the instructions go. The first part whose pattern a function's name or file has is its part.
PARTED = ("seal sealed 1024", "open sealed 1024", "read sealed 300", "open inline 300", "read split 300")
PARTS = [
    ("malloc and free", r"malloc|_int_free|:free|realloc|rdl_|finish_grow|raw_vec|calloc|__rust_"),
    ("moving structs and bytes (memcpy)", r"memcpy|memmove"),
    ("wiping and zeroing", r"memset"),
    ("SHA-256, in software here", r"sha2"),
    ("base64", r"base64"),
    ("cipher", r"aes::|aes_gcm|ghash|polyval|ctr::|Provider|universal_hash|cipher"),
    ("reading JSON", r"event::json::reader|json::node::Node::(key|new|children)"),
    ("canonical form", r"canonical|is_left_out|PublicHash|digest::"),
    ("putting fields back", r"filling"),
    ("the notes", r"notes|Head"),
    ("looking up the key", r"oubliette::vault|lru"),
    ("the rest of the layer", r"oubliette"),
    ("the rest", r""),
]


def by_function(program, case, times):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "callgrind"
        subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", program, case, str(times)],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        told = subprocess.run(["callgrind_annotate", "--threshold=100", "--auto=no", str(out)],
                              check=True, stdout=subprocess.PIPE, text=True).stdout
    found = collections.Counter()
    for line in told.splitlines():
        if (match := re.match(r"\s*([\d,]+) \([ \d.]+%\)\s+([^\[]*)", line)) and "PROGRAM TOTALS" not in line:
            found[match[2]] += int(match[1].replace(",", ""))
    return found


def parts(program, case):
    """How many instructions of one doing go into each part."""
    once, twice = by_function(program, case, TIMES), by_function(program, case, 2 * TIMES)
    found = collections.Counter()
    for function in once.keys() | twice.keys():
        part = next(part for part, pattern in PARTS if re.search(pattern, function))
        found[part] += (twice[function] - once[function]) / TIMES
    return {part: round(found[part]) for part, _ in PARTS}


def section(kept):
    yield "## Instructions"
    yield ""
    yield "Written by `./bench instructions --keep`: how many instructions one event takes, as valgrind counts them, on one thread"
    yield "and in memory. valgrind has no instructions for SHA-256, so that hashing counts for more than it takes. *Read* is of the"
    yield "whole way through a store in memory; *seal* with the answer that the event was stored."
    yield ""
    yield from report.table(["case", "instructions"], ["---", "---:"], [[case, f"{number:,}"] for case, number in kept["counts"].items()])
    if kept["parts"]:
        yield "Where they go:"
        yield ""
        rows = [[part, *(f"{kept['parts'][case][part]:,}" for case in PARTED)] for part, _ in PARTS]
        yield from report.table(["part", *PARTED], ["---", *["---:"] * len(PARTED)], rows)
    yield f"Counted with {kept['compiler']} on {kept['processor']}."


def marked():
    return report.marked(BEGIN, END, section(json.loads(KEPT.read_text())) if KEPT.exists() else [])


def main(arguments):
    if not shutil.which("valgrind"):
        sys.exit("valgrind is not installed: on Debian, `apt install valgrind`")
    kept = json.loads(KEPT.read_text())["counts"] if KEPT.exists() else {}
    program, found, risen = build(), {}, False
    for case, number in counts(program):
        found[case] = number
        change = number / kept[case] - 1 if case in kept else 0
        risen |= change > RISE
        print(f"{case:20} {number:>10,}  {f'{change:+.1%}' if case in kept else 'new'}{'  risen' if change > RISE else ''}", flush=True)
    if "--keep" in arguments:
        machine = dict(report.machine())
        where = {"compiler": machine["compiler"], "processor": machine["processor"]}
        of_parts = {case: parts(program, case) for case in PARTED}
        KEPT.write_text(json.dumps({**where, "counts": found, "parts": of_parts}, indent=1) + "\n")
        report.replace(BEGIN, END, marked())
        print("written: benches/instructions.json, docs/performance.md")
    elif risen:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
