"""Counts the instructions of sealing, opening and reading with valgrind, and compares them with those that were kept.

    ./bench instructions          counts, and tells what rose by more than 5 %: exit code 1 then
    ./bench instructions --keep   keeps what was counted, and rewrites that section of docs/performance.md

A count is the difference of two runs of which one does the thing twice as often, so that starting is not counted.
"""

import json
import re
import shutil
import subprocess
import sys

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


def counts():
    program = build()
    cases = subprocess.run([program], check=True, stdout=subprocess.PIPE, text=True).stdout.split("\n")
    for case in filter(None, cases):
        each = (count(program, case, 2 * TIMES) - count(program, case, TIMES)) / TIMES
        yield case, round(each)


def section(kept):
    yield "## Instructions"
    yield ""
    yield "Written by `./bench instructions --keep`: how many instructions one event takes, as valgrind counts them, on one thread"
    yield "and in memory. valgrind has no instructions for SHA-256, so that hashing counts for more than it takes. *Read* is of the"
    yield "whole way through a store in memory; *seal* with the answer that the event was stored."
    yield ""
    yield from report.table(["case", "instructions"], ["---", "---:"], [[case, f"{number:,}"] for case, number in kept["counts"].items()])
    yield f"Counted with {kept['compiler']} on {kept['processor']}."


def marked():
    return report.marked(BEGIN, END, section(json.loads(KEPT.read_text())) if KEPT.exists() else [])


def main(arguments):
    if not shutil.which("valgrind"):
        sys.exit("valgrind is not installed: on Debian, `apt install valgrind`")
    kept = json.loads(KEPT.read_text())["counts"] if KEPT.exists() else {}
    found, risen = {}, False
    for case, number in counts():
        found[case] = number
        change = number / kept[case] - 1 if case in kept else 0
        risen |= change > RISE
        print(f"{case:20} {number:>10,}  {f'{change:+.1%}' if case in kept else 'new'}{'  risen' if change > RISE else ''}", flush=True)
    if "--keep" in arguments:
        machine = dict(report.machine())
        KEPT.write_text(json.dumps({"compiler": machine["compiler"], "processor": machine["processor"], "counts": found}, indent=1) + "\n")
        report.replace(BEGIN, END, marked())
        print("written: benches/instructions.json, docs/performance.md")
    elif risen:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
