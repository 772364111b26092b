"""Measures the program from start to end, in folders of its own, and rewrites that section of docs/performance.md.

Run by `./bench program`, which builds it; only Python's standard library is needed.
"""

import json
import os
import pathlib
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
ROWS = 200_000
COMMANDS = {
    "`append` of one event": ["append", "user-456", "UserMoved", "--data", '{"town":"Bremen"}'],
    "`read` of one stream": ["read", "user-456"],
    "`inventory`": ["inventory"],
    "`--version`, which opens nothing": ["--version"],
}


def run(folder, words, **how):
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "XDG_CONFIG_HOME": str(folder / "config")}
    return subprocess.run([PROGRAM, "--dir", folder / "data", *words] if words != ["--version"] else [PROGRAM, *words],
                          env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **how)


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
    return folders


def importing(temporary):
    """Rows a second, and the most memory in MiB, of an import of many rows of as many events of a few people."""
    folder = temporary / "import"
    folder.mkdir()
    rows = folder / "rows.ndjson"
    with rows.open("w") as file:
        for number in range(ROWS):
            data = {"id": f"booking-{number}", "amount": number % 1000, "currency": "EUR", "note": "paid in at the counter, " * 9}
            row = {"stream": f"account-{number % 5000}", "type": "AmountDeposited", "data": data}
            file.write(json.dumps(row, separators=(",", ":")) + "\n")
    found = {}
    for share in (ROWS // 10, ROWS):
        part = folder / f"{share}.ndjson"
        with rows.open() as whole, part.open("w") as some:
            some.writelines(line for _, line in zip(range(share), whole))
        home = folder / str(share)
        home.mkdir()
        environment = {**os.environ, "XDG_STATE_HOME": str(home / "state"), "XDG_CONFIG_HOME": str(home / "config")}
        begun = time.perf_counter()
        child = subprocess.Popen([PROGRAM, "--dir", home / "data", "import", part], env=environment,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        if status:
            sys.exit("the import failed")
        found[share] = (share / (time.perf_counter() - begun), usage.ru_maxrss / 1024)
    return found


def section():
    with tempfile.TemporaryDirectory(dir=report.TARGET) as temporary:
        temporary = pathlib.Path(temporary)
        folders = small_folders(temporary)
        cases = [(pages, name) for name in COMMANDS for pages in folders if name.startswith("`--version") is False or pages == "sled"]
        times = {case: [] for case in cases}
        for turn in range(TURNS):
            for pages, name in cases if turn % 2 else reversed(cases):
                times[pages, name].append(took(folders[pages], COMMANDS[name]))
        imports = importing(temporary)
    yield "## The program, from start to end"
    yield ""
    yield "Written by `./bench program`. A folder of five people; each command is a process of its own, and all take turns."
    yield ""
    rows = []
    for (pages, name), turns in times.items():
        lower, median, upper = statistics.quantiles(turns, n=4)
        opens = not name.startswith("`--version")
        judged = ("met" if median <= TARGET else "**missed**") if opens else ""
        rows.append([name, pages if opens else "", f"≤ {TARGET} ms" if opens else "", f"**{median:.1f} ms**",
                     f"{lower:.1f} to {upper:.1f}", judged])
    yield from report.table(["command", "pages of the vault", "target", "median", "middle half", ""],
                            ["---", "---", "---:", "---:", "---:", "---"], rows)
    yield "The pages are in sled unless somebody says otherwise. The difference between the two is what sled takes to open: it reads"
    yield "the segment that it wrote last twice, and clears the rest of it, 2 MiB each time, which are so large for a reason"
    yield "([decision 14](decisions/0014-two-page-stores.md)). What SQLite takes is mostly twenty syncs of files and folders, and"
    yield "starting a process."
    yield ""
    rows = [[f"{share:,}", f"{rate:,.0f}/s", f"{memory:.0f} MiB"] for share, (rate, memory) in imports.items()]
    yield from report.table(["rows that are imported, of 5,000 new streams", "rate", "most memory"], ["---:", "---:", "---:"], rows)
    yield from report.table(["what", "which"], ["---", "---"], report.machine())


def marked():
    """The section as it is."""
    return report.marked(BEGIN, END, [])


if __name__ == "__main__":
    report.replace(BEGIN, END, report.marked(BEGIN, END, section()))
