"""Turns what `./bench scale` left in target/oubliette-bench/scale-N.json into the section of
docs/performance.md that stands between two marks. `report.py` calls it; run by itself it replaces
that section alone.
"""

import json
import statistics

import report

BEGIN, END = "<!-- scale: begin -->", "<!-- scale: end -->"
MIB = 1024 * 1024


def read():
    files = (report.TARGET / "oubliette-bench").glob("scale-*.json")
    return sorted((json.loads(file.read_text()) for file in files), key=lambda one: one["size"])


def time(seconds):
    for unit, factor in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:,.3g} {unit}" if seconds * factor < 1000 else f"{seconds * factor:,.0f} {unit}"
    return f"{seconds * 1e9:,.0f} ns"


def rate(row):
    return f"{row['keys'] / row['seconds']:,.0f}/s"


def mib(count):
    return f"{count / MIB:,.0f} MiB"


def inventory(one):
    runs = one["inventory"]["runs"]
    return statistics.median(run["keys"] / run["seconds"] for run in runs)


def growth(one):
    """How much more memory the later walks took than there was: the first finds a cold process."""
    return max(run["peak"] - run["resident_before"] for run in one["inventory"]["runs"][1:])


def quotient(pairs):
    return statistics.median(one / other for one, other in pairs)


def resident(one):
    steps = ("fill", "create", "look_up", "forget", "open_clean", "open_killed")
    return max(one[step]["peak"] for step in steps)


def targets(ones):
    rows = []

    def row(what, target, value, met):
        rows.append([what, target, f"**{value}**", "met" if met else "**missed**"])

    for one in ones:
        size = f"{one['size']:,}"
        forget = one["forget"]
        if forget["one_at_10000"]:
            # Each pair was timed within the same moment.
            ratio = quotient(zip(forget["one"], forget["one_at_10000"]))
            row(f"forget one stream: {size} keys against 10,000", "≤ 2 ×", f"{ratio:.2f} ×", ratio <= 2)
        ratio = 1 / quotient(forget["many"])
        row(f"forget a subject of 1,000 streams against 1,000 single forgets, vault alone, {size} keys",
            "≤ 1/50", f"1/{ratio:,.0f}", ratio >= 50)
        ratio = 1 / quotient(one["tombstones"]["many"])
        row(f"the same with tombstones, {size} keys", "≤ 1/20", f"1/{ratio:,.0f}", ratio >= 20)
        many = one["create"]["rows"][-1]
        writes = many["writes"] + many["root_writes"]
        row(f"keys that one flush serves, {many['tasks']:,} tasks, {size} keys", "many",
            f"{many['keys'] / writes:,.0f}", many["keys"] > 2 * writes)
        if one["size"] >= 10_000_000:
            row(f"inventory of {size} keys", "≥ 1,000,000 keys/s", f"{inventory(one):,.0f}/s", inventory(one) >= 1e6)
            seconds = one["open_clean"]["seconds"]
            row(f"open after a clean stop, {size} keys", "< 1 s", time(seconds), seconds < 1)
            row(f"highest resident memory of any step, {size} keys", "≤ 4 GiB", mib(resident(one)),
                resident(one) <= 4096 * MIB)
    return rows


def figures(ones):
    def create(one, index):
        row = one["create"]["rows"][index]
        writes = row["writes"] + row["root_writes"]
        return f"{rate(row)}; {writes:,} flushes for {row['keys']:,} keys"

    def fill(one):
        row = one["fill"]
        writes = row["writes"] + row["root_writes"]
        return f"{rate(row)}; {writes:,} flushes, {row['root_writes']:,} with a change of root"

    def batch(one):
        row = one["forget"]["batch"]
        return f"{time(row['seconds'])}; {row['pages']:,} pages"

    def many(one, of):
        pairs = one[of]["many"]
        return " against ".join(time(statistics.median(pair[side] for pair in pairs)) for side in (0, 1))

    yield "fill an empty vault, 4,096 tasks", fill
    yield "create in the full vault, one after another", lambda one: create(one, 0)
    yield "… by 8 tasks", lambda one: create(one, 1)
    yield "… by 64 tasks", lambda one: create(one, 2)
    yield "… by 1,024 tasks", lambda one: create(one, 3)
    yield "look up a key, in memory", lambda one: time(one["look_up"]["warm_ns"] / 1e9)
    yield "look up a key, cold", lambda one: time(one["look_up"]["cold_ns"] / 1e9)
    yield "first seal with a known key after opening (one write)", lambda one: time(one["look_up"]["seal_first_ns"] / 1e9)
    yield "forget one stream", lambda one: time(statistics.median(one["forget"]["one"]))
    yield "forget a subject of 1,000 streams, against 1,000 single forgets", lambda one: many(one, "forget")
    yield "… with tombstones", lambda one: many(one, "tombstones")
    yield "forget 10,000 subjects in one batch", batch
    yield "open after a clean stop", lambda one: time(one["open_clean"]["seconds"])
    yield "open after kill −9 under load", lambda one: time(one["open_killed"]["seconds"])
    yield "open after a clean stop, the same pages in SQLite", lambda one: time(one["open_sqlite"]["seconds"])
    yield "clean stop after the fill", lambda one: time(one["fill"]["stop_seconds"])
    yield "inventory", lambda one: f"{inventory(one):,.0f} keys/s"
    yield "memory that the inventory adds", lambda one: mib(max(0, growth(one)))
    yield "move the pages to SQLite", lambda one: f"{time(one['move']['seconds'])}; {one['move']['pages']:,} pages"
    yield "size on disk", lambda one: f"{mib(one['fill']['disk'])}, {one['fill']['disk'] / one['size']:,.0f} bytes a key"
    yield "size on disk, the same pages in SQLite", lambda one: mib(one["move"]["disk"])
    yield "resident memory after opening", lambda one: mib(one["open_clean"]["resident"])
    yield "highest resident memory of any step", lambda one: mib(resident(one))
    yield "load average before", lambda one: one["load"]


def section(ones):
    yield "## A vault of many keys"
    yield ""
    yield "Written by `./bench scale`. Ratios first:"
    yield ""
    yield from report.table(["what", "target", "measured", ""], ["---", "---:", "---:", "---"], targets(ones))
    yield from report.table(
        ["what"] + [f"{one['size']:,} keys" for one in ones],
        ["---"] + ["---:"] * len(ones),
        [[what] + [of(one) for one in ones] for what, of in figures(ones)],
    )
    yield from report.table(["what", "which"], ["---", "---"], [list(part) for part in report.machine()])
    yield (report.ROOT / "benches" / "scale" / "method.md").read_text().strip()


def marked():
    ones = read()
    return report.marked(BEGIN, END, section(ones) if ones else [])


if __name__ == "__main__":
    report.replace(BEGIN, END, marked())
