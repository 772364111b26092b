"""Turns what the benchmarks left in target/oubliette-bench into docs/performance.md.

Run by `./bench`; only Python's standard library is needed.
"""

import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PAGE = ROOT / "docs" / "performance.md"

# What is aimed at. `times`: our time over the bare one, at most; `rate`: our rate over the bare one, at least. The
# first target whose beginning a case has is the case's.
ROWS = [
    ("bytes", "Seal and open 1 KiB as bytes, against the bare AEAD with a fresh nonce", "times", {"": 1.25}),
    ("token", "Seal and open 1 KiB as a JSON token, against the bare AEAD with a fresh nonce", "times", {"": 1.5}),
    ("append", "Append through the layer, warm streams, against the same store bare", "rate", {"split": 0.75, "": 0.90}),
    ("read", "Read through the layer, warm keys, against the same store bare", "rate",
     {"sealed": {"aes-gcm": 0.65, "aws-lc": 0.80}, "inline": 0.50, "split": 0.35}),
]
# What explains the others, and has no target.
BESIDE = [
    ("first", "Append the first events of new streams, each with a new key, against the same store bare", "rate", {}),
    ("batch", "Append in batches through the layer, as an import does, against the same store bare", "rate", {}),
    ("stored", "Append to the bare store what the layer would give it, against the events as they are", "rate", {}),
    ("beneath", "Read what the layer reads, from the store beneath it and unopened, against the events as they are", "rate", {}),
    ("open", "Open one event, by one thread, against sealing and opening as many bytes by the bare AEAD", "times", {}),
    ("aead", "For comparison, the bare AEAD against itself", "times", {}),
    ("nonce", "What the nonce that is a keyed hash of the text costs beside it", "times", {}),
    ("tag", "What the tag that survives the key costs beside it", "times", {}),
]
# The cipher's libraries: each is a folder of results.
PROVIDERS = {"aes-gcm": "aes-gcm (default)", "aws-lc": "AWS-LC (feature `aws-lc`)"}


def read_cases():
    """What was measured, by provider."""
    found = {}
    for provider in PROVIDERS:
        files = [TARGET / "oubliette-bench" / provider / f"{name}.ndjson" for name in ("codec", "layer")]
        cases = [json.loads(line) for file in files if file.exists() for line in file.read_text().splitlines()]
        if cases:
            found[provider] = cases
    return found


def target_of(targets, case, provider):
    """The target of a case; `None` where it has none."""
    target = next((target for begins, target in targets.items() if case["case"].startswith(begins)), None)
    return target.get(provider) if isinstance(target, dict) else target


def marked(begin, end, lines):
    """A section between its marks: new where there are lines, or as it was; empty where it never was."""
    if lines := list(lines):
        return "\n".join([begin, "", *lines]).rstrip() + f"\n\n{end}"
    page = PAGE.read_text() if PAGE.exists() else ""
    return page[page.index(begin) : page.index(end) + len(end)] if begin in page else ""


def replace(begin, end, section):
    """Puts a section where it was, or at the end of the page."""
    page = PAGE.read_text()
    if not section:
        sys.exit("nothing was measured")
    if begin in page:
        page = page[: page.index(begin)] + section + page[page.index(end) + len(end) :]
    else:
        page = page.rstrip() + "\n\n" + section + "\n"
    PAGE.write_text(page)


def ratios(case, kind):
    """The ratio of each turn, and its quartiles: lower, median, upper."""
    of = (lambda bare, ours: ours / bare) if kind == "times" else (lambda bare, ours: bare / ours)
    return statistics.quantiles([of(*turn) for turn in case["turns"]], n=4)


def each(case, side):
    """The median time of one doing, in nanoseconds."""
    return statistics.median(turn[side] for turn in case["turns"]) / case["times"]


def human(case, side):
    nanoseconds = each(case, side)
    if case["unit"] == "event":
        return f"{1e9 / nanoseconds:,.0f}/s"
    return f"{nanoseconds:,.0f} ns"


def met(kind, target, ratio):
    return ratio <= target if kind == "times" else ratio >= target


def target_text(kind, target):
    return f"≤ {target:.2f} ×" if kind == "times" else f"≥ {target:.2f} ×"


def command(*words):
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine():
    cpu = platform.processor() or "unknown"
    memory = "unknown"
    try:
        info = pathlib.Path("/proc/cpuinfo").read_text()
        named = [line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")]
        cpu = named[0] if named else cpu
        kib = int(pathlib.Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0])
        memory = f"{kib / 1024 / 1024:.0f} GiB"
    except (OSError, IndexError, ValueError):
        pass
    file_system = command("df", "--output=fstype", str(TARGET)).splitlines()[-1]
    load = os.environ.get("load_before", "unknown")
    return [
        ("processor", f"{cpu}, {os.cpu_count()} cores"),
        ("memory", memory),
        ("kernel", f"{platform.system()} {platform.release()} ({platform.machine()})"),
        ("file system of the stores", file_system),
        ("compiler", command("rustc", "--version")),
        ("load averages before the run (1, 5, 15 minutes)", load),
        ("measured on", datetime.date.today().isoformat()),
    ]


def table(head, align, rows):
    yield "| " + " | ".join(head) + " |"
    yield "| " + " | ".join(align) + " |"
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def verdict(kind, target, low, high):
    """Of the middle half of the turns: where it is on both sides of the target, the machine was too busy to tell."""
    judged = {met(kind, target, low), met(kind, target, high)}
    return "not clear" if len(judged) > 1 else "met" if True in judged else "**missed**"


def page(found):
    yield "# Performance"
    yield ""
    yield "Written by `./bench`; do not edit. Ratios come first, because they depend less on the machine than figures do."
    yield ""
    yield "## Against the targets"
    yield ""
    summary = []
    for row, _, kind, targets in ROWS:
        for provider, cases in found.items():
            for case in (case for case in cases if case["row"] == row):
                target = target_of(targets, case, provider)
                low, ratio, high = ratios(case, kind)
                summary.append([
                    f"{row}: {case['case']}", provider, target_text(kind, target), f"**{ratio:.2f} ×**",
                    f"{low:.2f} to {high:.2f}", verdict(kind, target, low, high),
                ])
    yield from table(["what", "cipher", "target", "median ratio", "middle half of the turns", ""],
                     ["---", "---", "---:", "---:", "---:", "---"], summary)
    count = lambda word: sum(row[-1] == word for row in summary)
    yield f"Met: {count('met')} of {len(summary)}; missed: {count('**missed**')}; not clear, because the middle half of the turns is on both"
    yield f"sides of the target: {count('not clear')}. Why they are missed is said [below](#where-the-time-goes). The targets were set before the"
    yield "parts were measured."
    yield ""
    yield from history.section()
    yield "## All cases"
    yield ""
    yield "The two ciphers were measured one after the other. The bare store has no cipher: where its rates differ between the two,"
    yield "it is the machine. Compare ratios."
    for provider, cases in found.items():
        yield ""
        yield f"### By {PROVIDERS[provider]}"
        for row, what, kind, targets in ROWS + BESIDE:
            rows = [
                [case["case"], f"{ratio:.2f} ×", f"{low:.2f} to {high:.2f}", human(case, 0), human(case, 1), str(len(case["turns"]))]
                for case in cases if case["row"] == row
                for low, ratio, high in [ratios(case, kind)]
            ]
            if rows:
                yield ""
                yield f"#### {what}"
                yield ""
                yield from table(["case", f"{'time' if kind == 'times' else 'rate'} ratio", "middle half", "bare", "ours", "turns"],
                                 ["---", "---:", "---:", "---:", "---:", "---:"], rows)
    yield "## The machine"
    yield ""
    yield from table(["what", "which"], ["---", "---"], [list(part) for part in machine()])
    yield "## How it was measured"
    yield ""
    yield (ROOT / "benches" / "method.md").read_text().strip()
    for section in (program_section, decisions_section, scale_section, durable_section, instructions):
        if text := section.marked():
            yield ""
            yield text


if __name__ == "__main__":
    # They need this module.
    import decisions_section, durable_section, history, instructions, program_section, scale_section

    found = read_cases()
    history.keep(found)
    print("\n".join(page(found)))
    history.tell(sys.stderr)
