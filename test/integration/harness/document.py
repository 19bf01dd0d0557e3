"""
The pages that readers go by, taken apart: their blocks of commands and files, their headings and links.

What a page's blocks are says the first word behind the fence:

    sh          commands, to be typed as they stand
    ini, conf   a file, if its first line is a comment with the path; else some lines of /etc/pgsluice/pgsluice.ini
    sql, yaml   as they say
    text        to look at, not to type

and more words after it, which no renderer shows: `foreground` (goes on until it is stopped), `fails` (as the page
says), `add` (lines that are added to /etc/pgsluice/pgsluice.ini), `elsewhere` (cannot be run by a test, which lists
why). Commands that start the pooler are marked, or begin with `pgsluice`.
"""

import collections
import glob
import os
import re

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))

Block = collections.namedtuple("Block", "page line kind flags text")

FENCE = re.compile(r"^( *)```(.*)$")
INDENTED = "    "
SETTING = re.compile(r"[\w.*-]+ = |\[|; /")


def pages():
    """By their paths from the top."""
    found = [path for pattern in ("doc/*.md", "etc/*/README.md") for path in glob.glob(os.path.join(TOP, pattern))]
    return ["README", *sorted(os.path.relpath(path, TOP) for path in found)]


def read(page):
    with open(os.path.join(TOP, page)) as f:
        return f.read()


def fenced(page):
    """Yields the blocks of a page in Markdown, without the indentation of a list that they may stand in."""
    block = None
    for number, line in enumerate(read(page).splitlines(), 1):
        fence = FENCE.match(line)
        if block is None and fence:
            kind, *flags = fence[2].split() or [""]
            block = (number, len(fence[1]), kind, tuple(flags), [])
        elif fence and not fence[2]:
            yield Block(page, block[0], *block[2:4], "\n".join(block[4]) + "\n")
            block = None
        elif block is not None:
            block[4].append(line[block[1]:])
    assert block is None, f"{page}:{block[0]}: the block does not end"


def indented(page):
    """Yields the blocks of plain text: lines that are indented, and the empty ones between them."""
    first, lines = 0, []
    for number, line in enumerate([*read(page).splitlines(), "."], 1):
        if line.startswith(INDENTED):
            first = first or number
            lines.append(line[len(INDENTED):])
        elif first and line:
            yield Block(page, first, kind_of_plain(lines), (), "\n".join(lines).rstrip("\n") + "\n")
            first, lines = 0, []
        elif first:
            lines.append("")


def kind_of_plain(lines):
    """The README is plain text, where nothing says what a block is: nothing but commands and settings is indented."""
    return "ini" if SETTING.match(lines[0]) else "sh"


def blocks(page):
    return list(fenced(page) if page.endswith(".md") else indented(page))


def without_blocks(page):
    """The lines of a page in Markdown, those of blocks emptied."""
    inside = False
    for line in read(page).splitlines():
        if FENCE.match(line):
            inside = not inside
            yield ""
        else:
            yield "" if inside else line


def anchors(page):
    """What headings can be linked by, as GitHub makes it."""
    seen = collections.Counter()
    for line in without_blocks(page):
        heading = re.match(r"#+ (.*)", line)
        if heading:
            name = re.sub(r"[^\w\- ]", "", heading[1].replace("`", "").strip().lower()).replace(" ", "-")
            yield name if seen[name] == 0 else f"{name}-{seen[name]}"
            seen[name] += 1


def links(page):
    """(line, target) of each link and picture of a page in Markdown."""
    for number, line in enumerate(without_blocks(page), 1):
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", line)):
            yield number, target
