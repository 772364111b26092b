"""Turns what `./bench decisions` left of decisions and folder into the
section of docs/performance.md that stands between two marks. `report.py` calls it; run by itself it
replaces that section alone.
"""

import json

import report
import scale_section

BEGIN, END = "<!-- decisions: begin -->", "<!-- decisions: end -->"
FILES = ("decisions.ndjson", "folder.ndjson")


def read():
    folder = report.TARGET / "oubliette-bench" / "aes-gcm"
    files = [folder / name for name in FILES]
    if not all(file.exists() for file in files):
        return []
    cases = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return sorted(cases, key=lambda case: int(case["row"]))


def page_of(number):
    file = next((report.ROOT / "docs" / "decisions").glob(f"{int(number):04}-*.md"))
    return f"[{number}](decisions/{file.name})"


def section(cases):
    yield "## What decisions cost in time"
    yield ""
    yield "Written by `./bench decisions`. Each row compares two ways of doing something. Vault and store are in memory"
    yield "where a row names neither disk, nor SQLite, nor a folder."
    yield ""
    rows = []
    for case in cases:
        low, ratio, high = report.ratios(case, "times")
        each = [scale_section.time(report.each(case, side) / 1e9) for side in (1, 0)]
        rows.append([page_of(case["row"]), case["case"], f"{ratio:,.2f} ×", f"{low:,.2f} to {high:,.2f}", *each, str(len(case["turns"]))])
    yield from report.table(
        ["decision", "what, against what", "time ratio", "middle half", "this", "that", "turns"],
        ["---:", "---", "---:", "---:", "---:", "---:", "---:"], rows)
    yield "Measured as above, in turns. Of what is done to many events the times are of one."
    yield ""
    yield from report.table(["what", "which"], ["---", "---"], [list(part) for part in report.machine()])


def marked():
    cases = read()
    return report.marked(BEGIN, END, section(cases) if cases else [])


if __name__ == "__main__":
    report.replace(BEGIN, END, marked())
