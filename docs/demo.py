#!/usr/bin/env python3
"""Runs the demo in a terminal of 104 columns and draws some of its steps as SVG.

    cargo build --release && docs/demo.py target/release/oubliette 3 8 9 16 > docs/demo.svg

Needs Python alone. The numbers are those of the steps to show; `…` is in place of the others.
"""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from html import escape

COLUMNS, WIDTH, HEIGHT, MARGIN, BAR = 104, 8.4, 19, 22, 40
COLOURS = {"1;36": "#7dcfff", "2": "#8b93b5", "32": "#9ece6a", "": "#d5daf0"}
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace"


def demo(program):
    """What the program writes to a terminal, as text with escape sequences."""
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        os.environ["TERM"] = "xterm-256color"
        os.execv(program, [program, "demo"])
    said = bytearray()
    try:
        while piece := os.read(terminal, 65536):
            said += piece
    except OSError:  # Linux says so when the other end of the terminal is closed.
        pass
    if os.waitpid(child, 0)[1] != 0:
        sys.exit("the demo failed:\n" + said.decode())
    return said.decode().replace("\r\n", "\n")


def lines(text):
    """Each row of the terminal as a list of (column, colour, text); long lines wrap."""
    colour = ""
    for line in text.split("\n"):
        row, column = [], 0
        for part in re.split(r"(\x1b\[[0-9;]*m)", line):
            if part.startswith("\x1b"):
                colour = part[2:-1].removeprefix("0")
                continue
            while part:
                if column == COLUMNS:
                    yield row
                    row, column = [], 0
                piece, part = part[: COLUMNS - column], part[COLUMNS - column :]
                row.append((column, colour, piece))
                column += len(piece)
        yield row


def chosen(text, steps):
    """The title and the steps with these numbers."""
    title, *rest = re.split(r"\n\n(?=\x1b\[1;36m *\d+  )", text.rstrip())
    number = lambda step: int(re.search(r"m *(\d+)  ", step)[1])
    shown, before = [title], 0
    for step in rest:
        if number(step) in steps:
            shown += ["\x1b[2m    …\x1b[0m"] * (number(step) > before + 1) + [step]
            before = number(step)
    return "\n\n".join(shown)


def draw(rows):
    width, height = COLUMNS * WIDTH + 2 * MARGIN, len(rows) * HEIGHT + BAR + MARGIN
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img"'
    yield f'  font-family="{FONTS}" font-size="14">'
    yield "<title>oubliette demo</title>"
    yield f'<rect width="{width:.0f}" height="{height:.0f}" rx="10" fill="#1a1b26"/>'
    for at, colour in enumerate(["#f7768e", "#e0af68", "#9ece6a"]):
        yield f'<circle cx="{MARGIN + 6 + 20 * at}" cy="20" r="6" fill="{colour}"/>'
    for number, row in enumerate(rows):
        for column, colour, text in row:
            # Apart where there are two spaces: a renderer may make one of them.
            for word in re.finditer(r"\S+(?: \S+)*", text):
                x, y = MARGIN + (column + word.start()) * WIDTH, BAR + (number + 1) * HEIGHT - 5
                fill, weight = COLOURS.get(colour, COLOURS[""]), ' font-weight="bold"' * (colour == "1;36")
                length = f'textLength="{len(word[0]) * WIDTH:.1f}"'
                yield f'<text x="{x:.1f}" y="{y}" {length} fill="{fill}"{weight}>{escape(word[0])}</text>'
    yield "</svg>"


if __name__ == "__main__":
    steps = [int(number) for number in sys.argv[2:]]
    print("\n".join(draw(list(lines(chosen(demo(sys.argv[1]), steps))))))
