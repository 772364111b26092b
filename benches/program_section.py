"""Measures the program from start to end, in folders of its own, and rewrites that section of docs/performance.md.

Run by `./bench program`, which builds it; only Python's standard library is needed.
"""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import report

BEGIN, END = "<!-- program: begin -->", "<!-- program: end -->"
PROGRAM = report.TARGET / "release" / "oubliette"
#: What a command may take, in milliseconds.
TARGET = 15
TURNS = 60
IMPORTS = [(20_000, 5_000), (200_000, 5_000), (1_000_000, 5_000), (200_000, 200_000)]
COMMANDS = {
    "`append` of one event": ["append", "user-1", "UserMoved", "--data", '{"town":"Bremen"}'],
    "`read` of one stream": ["read", "user-0"],
    "`inventory`": ["inventory"],
}
#: What every command takes at least.
NOTHING = "`--version`, which opens nothing"


def environment(folder):
    """Nothing of the caller's own folders, and all that is made in this one."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("OUBLIETTE_")}
    return {**others, "XDG_STATE_HOME": str(folder / "state"), "XDG_CONFIG_HOME": str(folder / "config")}


def run(folder, words):
    """What a command prints."""
    where = [] if words == ["--version"] else ["--dir", folder / "data"]
    ran = subprocess.run([PROGRAM, *words, *where], env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if ran.returncode:
        sys.exit(f"oubliette {' '.join(words)}: exit code {ran.returncode}\n{ran.stderr}")
    return ran.stdout


def took(folder, words):
    begun = time.perf_counter()
    run(folder, words)
    return 1000 * (time.perf_counter() - begun)


def small_folders(temporary):
    """A folder with a handful of people for each page store."""
    folders = {}
    for pages in ("sled", "sqlite"):
        folders[pages] = temporary / pages
        folders[pages].mkdir()
        run(folders[pages], ["vault", "create", "--pages", pages])
        for person in range(5):
            run(folders[pages], ["append", f"user-{person}", "UserRegistered", "--data", '{"name":"Erika"}'])
        read, listed = run(folders[pages], ["read", "user-0"]), run(folders[pages], ["inventory", "--json"])
        if "Erika" not in read or listed.count("user-") < 5:
            sys.exit(f"the folder is not as it should be:\n{read}{listed}")
    return folders


def importing(temporary):
    """Rows a second, and the most memory in MiB, of imports of so many rows into so many new streams."""
    found = {}
    for count, streams in IMPORTS:
        home = temporary / f"import-{count}-{streams}"
        home.mkdir()
        rows = home / "rows.ndjson"
        with rows.open("w") as file:
            for number in range(count):
                data = {"id": f"booking-{number}", "amount": number % 1000, "currency": "EUR", "note": "paid in at the counter, " * 9}
                row = {"stream": f"account-{number % streams}", "type": "AmountDeposited", "data": data}
                file.write(json.dumps(row, separators=(",", ":")) + "\n")
        begun = time.perf_counter()
        with (home / "told").open("w+") as told:
            child = subprocess.Popen([PROGRAM, "import", rows, "--dir", home / "data"], env=environment(home),
                                     stdout=told, stderr=told)
            _, status, usage = os.wait4(child.pid, 0)
            told.seek(0)
            said = told.read()
        if status or str(count) not in said.replace(",", ""):
            sys.exit(f"the import failed:\n{said}")
        found[count, streams] = (count / (time.perf_counter() - begun), usage.ru_maxrss / 1024)
        shutil.rmtree(home)
    return found


def section():
    with tempfile.TemporaryDirectory(dir=report.TARGET) as temporary:
        temporary = pathlib.Path(temporary)
        folders = small_folders(temporary)
        cases = {(name, pages): (folders[pages], words) for name, words in COMMANDS.items() for pages in folders}
        cases[NOTHING, ""] = (temporary, ["--version"])
        times = {case: [] for case in cases}
        for turn in range(TURNS):
            for case in times if turn % 2 else reversed(times):
                times[case].append(took(*cases[case]))
        imports = importing(temporary)
    yield "## The program, from start to end"
    yield ""
    yield "Written by `./bench program`. A folder of five people, of whom one gets the events that are appended and another is"
    yield "read; each command is a process of its own, and all take turns."
    yield ""
    rows = []
    for (name, pages), turns in times.items():
        lower, median, upper = statistics.quantiles(turns, n=4)
        target, judged = (f"≤ {TARGET} ms", "met" if median <= TARGET else "**missed**") if pages else ("", "")
        rows.append([name, pages, target, f"**{median:.1f} ms**", f"{lower:.1f} to {upper:.1f}", judged])
    yield from report.table(["command", "pages of the vault", "target", "median", "middle half", ""],
                            ["---", "---", "---:", "---:", "---:", "---"], rows)
    yield "The pages are in sled unless somebody says otherwise. With SQLite a command makes some twenty syncs of files and folders, by which"
    yield "it is certain that what it relies on is on the disk: a third of a millisecond each where the disk has nothing else to do. To start a"
    yield "process takes what `--version` takes. The rest is the processor's, more than half of it the system's, for memory that is touched for"
    yield "the first time. What sled takes longer is its last segment, which it reads twice and writes over when it opens; that is"
    yield "2 MiB for a reason ([decision 14](decisions/0014-two-page-stores.md))."
    yield ""
    rows = [[f"{count:,}", f"{streams:,}", f"{rate:,.0f}/s", f"{memory:.0f} MiB"]
            for (count, streams), (rate, memory) in imports.items()]
    yield from report.table(["rows that are imported", "into new streams", "rate", "most memory"], ["---:", "---:", "---:", "---:"], rows)
    yield from report.table(["what", "which"], ["---", "---"], report.machine())


def marked():
    """The section as it is."""
    return report.marked(BEGIN, END, [])


if __name__ == "__main__":
    report.replace(BEGIN, END, report.marked(BEGIN, END, section()))
