"""Keeps what each run of `./bench` measured, a file per machine and day, compares it with the run before on the same
machine, and draws all of them. `report.py` calls it.
"""

import json
import re

import report

FOLDER = report.ROOT / "benches" / "history"
PLOT = report.ROOT / "docs" / "performance.svg"
# A change of less than this is not told, however narrow the turns are.
LEAST = 0.03


def name_of(machine):
    slug = re.sub(r"[^a-z0-9]+", "-", machine["processor"].lower()).strip("-")
    return f"{slug}-{machine['measured on']}.json"


def keep(found):
    """Writes what was measured as this machine's run of today."""
    machine = dict(report.machine())
    ratios = {}
    for provider, cases in found.items():
        for row, _, kind, targets in report.ROWS + report.BESIDE:
            for case in (case for case in cases if case["row"] == row):
                low, middle, high = (round(ratio, 4) for ratio in report.ratios(case, kind))
                ratios.setdefault(provider, {})[f"{row}: {case['case']}"] = {
                    "ratio": middle, "from": low, "to": high,
                    "bare_ns": round(report.each(case, 0)), "ours_ns": round(report.each(case, 1)),
                }
    FOLDER.mkdir(exist_ok=True)
    run = {"machine": machine, "commit": report.command("git", "rev-parse", "--short", "HEAD"), "ratios": ratios}
    (FOLDER / name_of(machine)).write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n")
    PLOT.write_text(draw(runs()))


def runs():
    """All runs, the oldest first."""
    all_runs = [json.loads(file.read_text()) for file in FOLDER.glob("*.json")]
    return sorted(all_runs, key=lambda run: (run["machine"]["measured on"], run["machine"]["processor"]))


def changes():
    """The last run, the one before it on the same machine, and what is faster or slower beyond the middle halves."""
    last = runs()[-1]
    same = [run for run in runs() if run["machine"]["processor"] == last["machine"]["processor"]]
    if len(same) < 2:
        return last, None, []
    before, found = same[-2], []
    for provider, cases in last["ratios"].items():
        for case, now in cases.items():
            then = before["ratios"].get(provider, {}).get(case)
            if then is None or not (now["from"] > then["to"] or now["to"] < then["from"]):
                continue
            change = now["ratio"] / then["ratio"] - 1
            if abs(change) >= LEAST:
                kind = next(kind for row, _, kind, _ in report.ROWS + report.BESIDE if case.startswith(f"{row}:"))
                word = "slower" if (change > 0) == (kind == "times") else "faster"
                found.append((case, provider, then["ratio"], now["ratio"], word))
    return last, before, found


def section():
    last, before, found = changes()
    yield "## Since the run before"
    yield ""
    yield "![The ratios of every run that was kept](performance.svg)"
    yield ""
    if before is None:
        yield "There is no earlier run on this machine."
    elif not found:
        yield f"Nothing is beyond the middle halves of the run of {before['machine']['measured on']} on this machine."
    else:
        load = next(key for key in last["machine"] if key.startswith("load"))
        yield f"Against the run of {before['machine']['measured on']} on this machine, where the middle halves of both are apart. The"
        yield f"{load} were {before['machine'][load]} then, and are {last['machine'][load]} now."
        yield ""
        yield from report.table(
            ["what", "cipher", "then", "now", ""], ["---", "---", "---:", "---:", "---"],
            [[case, provider, f"{then:.2f} ×", f"{now:.2f} ×", word] for case, provider, then, now, word in found])
    yield ""


def tell(out):
    """What is slower now, for whoever ran it."""
    _, before, found = changes()
    slower = [row for row in found if row[-1] == "slower"]
    for case, provider, then, now, _ in slower:
        print(f"slower: {case} ({provider}): {now:.2f} ×, {then:.2f} × on {before['machine']['measured on']}", file=out)
    if before is not None and not slower:
        print(f"nothing is slower than on {before['machine']['measured on']}", file=out)


# The picture: a panel for each kind of case, all of which share the days.
PANELS = [
    ("seal and open, bytes", "bytes: ", "times"), ("seal and open, JSON token", "token: ", "times"),
    *((f"{row}, {layout}", f"{row}: {layout}, ", "rate") for row in ("append", "read") for layout in ("sealed", "inline", "split")),
]
COLOURS = {"aes-gcm": "#3b6ea8", "aws-lc": "#c4622d"}
WIDTH, HEIGHT, GAP, COLUMNS = 210, 120, 44, 4


def draw(all_runs):
    """A picture of all runs: the ratios of each case, and what is aimed at."""
    days = sorted({run["machine"]["measured on"] for run in all_runs})
    rows = -(-len(PANELS) // COLUMNS)
    width, height = COLUMNS * (WIDTH + GAP) + GAP, rows * (HEIGHT + GAP) + GAP + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="system-ui, sans-serif" font-size="11">',
        "<title>Ratios of every run: one line for each case</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for at, (title, begins, kind) in enumerate(PANELS):
        left, top = GAP + at % COLUMNS * (WIDTH + GAP), GAP + at // COLUMNS * (HEIGHT + GAP)
        parts += panel(all_runs, days, title, begins, kind, left, top)
    foot = height - 22
    x = GAP
    for provider, colour in COLOURS.items():
        parts.append(f'<circle cx="{x}" cy="{foot - 4}" r="4" fill="{colour}"/><text x="{x + 9}" y="{foot}">{provider}</text>')
        x += 90
    parts.append(f'<line x1="{x}" x2="{x + 22}" y1="{foot - 4}" y2="{foot - 4}" stroke="#777" stroke-dasharray="4 3"/>'
                 f'<text x="{x + 28}" y="{foot}">aimed at (grey: the good side)</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def panel(all_runs, days, title, begins, kind, left, top):
    points = [
        (run["machine"]["processor"], provider, case, days.index(run["machine"]["measured on"]), value["ratio"])
        for run in all_runs for provider, cases in run["ratios"].items() for case, value in cases.items() if case.startswith(begins)
    ]
    highest = max([1.0, *(value for *_, value in points)]) * 1.08
    x = lambda day: left + (WIDTH / 2 if len(days) == 1 else 8 + day * (WIDTH - 16) / (len(days) - 1))
    y = lambda value: top + HEIGHT - HEIGHT * value / highest
    row = next(row for row in report.ROWS if begins.startswith(row[0]))
    targets = {provider: report.target_of(row[3], {"case": begins.split(": ")[1] or "-"}, provider) for provider in report.PROVIDERS}
    loosest = (max if kind == "times" else min)(targets.values())
    good = (y(loosest), top + HEIGHT) if kind == "times" else (top, y(loosest))
    yield f'<rect x="{left}" y="{good[0]:.1f}" width="{WIDTH}" height="{good[1] - good[0]:.1f}" fill="#f0f0ee"/>'
    for provider, target in sorted(targets.items()):
        if provider == "aes-gcm" or target != targets["aes-gcm"]:
            yield (f'<line x1="{left}" x2="{left + WIDTH}" y1="{y(target):.1f}" y2="{y(target):.1f}" stroke="#777" stroke-dasharray="4 3"/>'
                   f'<text x="{left - 4}" y="{y(target) + 4:.1f}" text-anchor="end">{target:g}</text>')
    yield f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#bbb"/>'
    yield f'<text x="{left}" y="{top - 7}" font-weight="600">{title}</text>'
    yield f'<text x="{left - 4}" y="{top + HEIGHT}" text-anchor="end" fill="#777">0</text>'
    for line in sorted({point[:3] for point in points}):
        of_line = [(x(day), y(value)) for *head, day, value in points if tuple(head) == line]
        colour = COLOURS[line[1]]
        yield f'<polyline points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in of_line)}" fill="none" stroke="{colour}" stroke-opacity=".6"/>'
        yield from (f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.4" fill="{colour}"><title>{line[2]}</title></circle>' for a, b in of_line)
    for day in {0, len(days) - 1}:
        anchor = "middle" if len(days) == 1 else ("start", "end")[day > 0]
        yield f'<text x="{x(day):.1f}" y="{top + HEIGHT + 13}" text-anchor="{anchor}" fill="#777">{days[day]}</text>'
