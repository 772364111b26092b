"""Turns what `./bench durable` left in target/oubliette-bench/durable.json into the section of
docs/performance.md that stands between two marks. `report.py` calls it; run by itself it replaces
that section alone.
"""

import json
import statistics

import report
import scale_section

BEGIN, END = "<!-- durable: begin -->", "<!-- durable: end -->"
NAMES = {"bare": "a bare write of 4 KiB and `fdatasync`", "sled": "sled (default)", "sqlite": "SQLite"}


def section(measured):
    def rows(of):
        return [row for row in measured["rows"] if row["pages"] == of]

    def rate(values):
        return f"{statistics.median(values):,.0f}/s ({min(values):,.0f} to {max(values):,.0f})"

    yield "## What a durable key costs"
    yield ""
    yield "Written by `./bench durable`."
    yield ""
    yield f"| a vault of {measured['keys']:,} keys | 1 task | 8 tasks | 64 tasks | forget one |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    yield f"| {NAMES['bare']} | {rate([row['syncs'] for row in rows('bare')])} | | | |"
    for of in ("sled", "sqlite"):
        made = zip(*([one["rate"] for one in row["made"]] for row in rows(of)))
        one = [statistics.median(row["forgets"]) for row in rows(of)]
        least, middle, most = map(scale_section.time, (min(one), statistics.median(one), max(one)))
        yield f"| {NAMES[of]} | {' | '.join(map(rate, made))} | {middle} ({least} to {most}) |"
    yield ""
    yield "- A key counts as made when it is on the disk: sled's log is written through and synced, SQLite's"
    yield "  is synced at each commit. Keys that are wanted at the same moment share one write."
    yield f"- *Forget one*: {measured['forgets']} times `destroy` of one subject with one key."
    yield "- Medians of three rounds, in each of which the stores take turns; in brackets the least and the"
    yield "  most. Where these are far apart, other programs used the disk: read them as orders of magnitude."
    yield f"- Load averages before the run (1, 5, 15 minutes): {measured['load'] or 'not noted'}."


def marked():
    file = report.TARGET / "oubliette-bench" / "durable.json"
    return report.marked(BEGIN, END, section(json.loads(file.read_text())) if file.exists() else [])


if __name__ == "__main__":
    report.replace(BEGIN, END, marked())
