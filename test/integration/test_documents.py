"""Everything that a reader is told to type works, in the order of the page; and no page leads into nothing."""

import os
import re

import pytest
import yaml

from harness import document
from harness.netns import Unavailable
from harness.pooler import is_pgbouncer
from harness.reader import Reader, Template
from harness.system import run

if is_pgbouncer():
    pytest.skip("the pages are about pgsluice", allow_module_level=True)

INI = "/etc/pgsluice/pgsluice.ini"
KINDS = ("sh", "ini", "conf", "sql", "yaml", "text")
FLAGS = ("foreground", "fails", "add", "elsewhere")

# Blocks that are not run, by page and first line, and why. What is listed and not there is a fault, too.
ELSEWHERE = {
    ("README", "etc/quickstart"): "test_quickstart.py runs it",
    ("README", "test/run"): "it runs this test",
    ("README", "autoreconf -i"): "test/run and etc/quickstart build so; installing is for the package's test",
    ("doc/quickstart.md", "etc/quickstart"): "test_quickstart.py runs it",
    ("doc/authentication.md", 'psql "host=127.0.0.1 port=6432 user=ann dbname=app" -c "SELECT 1"'):
        "nobody knows a password of this system; test_pam_ldap.py logs in by PAM",
    ("doc/kubernetes.md", "kubectl apply -f etc/kubernetes/pgsluice.yaml"): "no cluster; test_kubernetes.py",
    ("doc/kubernetes.md", "kubectl rollout restart statefulset/pgsluice"): "no cluster",
    ("etc/docker/README.md", "docker build -f etc/docker/Dockerfile -t pgsluice ."): "no Docker; test_docker.py",
    ("etc/docker/README.md", "docker run --rm --entrypoint pgsluice-mkauth pgsluice \\"): "no Docker; test_mkauth.py",
    ("etc/docker/README.md", "docker kill -s HUP pgsluice"): "no Docker",
    ("etc/kubernetes/README.md", "kubectl apply -f pgsluice.yaml"): "no cluster; test_kubernetes.py",
    ("etc/kubernetes/README.md", "kubectl rollout restart statefulset/pgsluice"): "no cluster",
}

# Pages whose indented lines are no commands of users: what a reader may type there, others run.
PLAIN = {
    "doc/architecture.md": "file names, layers",
    "doc/benchmarks.md": "the benchmark: CI runs its --smoke",
}

SMALLEST = "[databases]\n* = host=127.0.0.1\n[pgsluice]\nlisten_addr = 127.0.0.1\n"

PAGES = document.pages()


def where(block):
    return f"{block.page}:{block.line}"


def is_elsewhere(block):
    return (block.page, block.text.split("\n")[0]) in ELSEWHERE


def is_typed(block):
    return block.kind not in ("text", "yaml") and not is_elsewhere(block)


TYPED = [page for page in PAGES if page not in PLAIN and any(is_typed(block) for block in document.blocks(page))]


# What can be said of a page without running it

@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page):
    for block in document.blocks(page):
        assert block.kind in KINDS, f"{where(block)}: what is a block of kind {block.kind!r}?"
        assert set(block.flags) <= set(FLAGS), where(block)


@pytest.mark.parametrize("page", [p for p in PAGES if p.endswith(".md") and p not in PLAIN])
def test_nothing_to_type_hides_in_indented_lines(page):
    """They would not be run. Behind an empty line, that is, where Markdown makes them a block."""
    lines = list(document.without_blocks(page))
    for number in range(1, len(lines)):
        is_block = lines[number].startswith(document.INDENTED) and not lines[number - 1].strip()
        assert not is_block or re.match(r" *([-*]|\d+\.) ", lines[number]), f"{page}:{number + 1}: {lines[number]}"


def test_every_block_that_is_not_run_is_listed_with_its_reason():
    marked = {(b.page, b.text.split("\n")[0]) for page in PAGES if page.endswith(".md")
              for b in document.blocks(page) if "elsewhere" in b.flags}
    there = {(b.page, b.text.split("\n")[0]) for page in PAGES for b in document.blocks(page)}
    assert marked <= set(ELSEWHERE)
    assert set(ELSEWHERE) <= marked | {key for key in there if key[0] == "README"}


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_are_not_run_can_be_parsed(page):
    for block in document.blocks(page):
        if block.kind == "sh" and is_elsewhere(block):
            parsed = run(["bash", "-n", "-c", block.text])
            assert parsed.returncode == 0, f"{where(block)}: {parsed.stderr}"
        if block.kind == "yaml":
            list(yaml.safe_load_all(block.text))


@pytest.mark.parametrize("page", [p for p in PAGES if p.endswith(".md")])
def test_links_lead_somewhere(page):
    for line, target in document.links(page):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        assert os.path.exists(os.path.join(document.TOP, there)), f"{page}:{line}: {target}"
        if anchor:
            assert anchor in list(document.anchors(there)), f"{page}:{line}: {target}"


def test_paths_of_the_readme_exist():
    """It is plain text, and names what it links to."""
    text = document.read("README")
    named = set(re.findall(r"(?<![\w/])(?:doc|etc|test|src)/[\w./-]*\w|\b[A-Z]+\.md\b", text))
    assert "doc/quickstart.md" in named
    for path in named:
        assert os.path.exists(os.path.join(document.TOP, path)), path


@pytest.mark.parametrize("page", ["doc/README.md"])
def test_the_index_has_every_page(page):
    listed = {target.partition("#")[0] for _, target in document.links(page)}
    missing = {os.path.relpath(p, "doc") for p in PAGES if p not in ("README", page)} - listed
    assert not missing


def rows_of_table(text, start):
    """{first cell: cells} of the table in Markdown whose header begins with this."""
    lines = text[text.index(start):].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:lines.index("")]]
    header = cells[0]
    return {row[0]: dict(zip(header, row)) for row in cells[2:]}


def test_the_figures_of_the_readme_are_those_of_the_benchmarks():
    measured = rows_of_table(document.read("doc/benchmarks.md"), "| work |")
    shown = rows_of_table(document.read("README"), "| work ")
    assert len(shown) >= 5
    for work, row in shown.items():
        assert work in measured, work
        for column, cell in row.items():
            assert cell == measured[work][column].partition(" (limit")[0], (work, column)


# What can be run

@pytest.fixture(scope="module")
def template(cluster):
    template = Template(cluster.bindir)
    yield template
    template.close()


@pytest.fixture
def reader(template):
    try:
        reader = Reader(template)
    except Unavailable as why:
        pytest.skip(f"no machine of its own for the reader: {why}")
    yield reader
    reader.close()


def path_of(block):
    """That a file's first line names, in a comment."""
    first = re.match(r"[;#] (/\S+)\n", block.text)
    return first[1] if first else None


# All other pages go on from there.
BEGINNING = "doc/quickstart.md"

# What else there is in the world of a page.
NEIGHBOURS = {
    "doc/authentication.md": lambda reader: reader.start_directory({"app": "directory"}),
    "doc/high-availability.md": lambda reader: reader.start_standby(),
}


class Page:
    """What has been typed of one so far."""

    def __init__(self, reader):
        self.reader = reader
        self.files = {}
        self.foreground = []

    def take(self, block):
        if block.kind == "sh":
            self.type(block)
        elif block.kind == "sql":
            self.ask(block)
        elif path_of(block) is not None:
            self.write(block, path_of(block), block.text)
        elif "add" in block.flags:
            self.write(block, INI, self.files[INI] + section_of(block))
        else:
            self.check(block, self.files.get(INI, SMALLEST) + section_of(block))

    def type(self, block):
        if "foreground" in block.flags:
            self.foreground.append(self.reader.start(block.text))
            self.reader.wait(self.foreground[-1], "exec 3<>/dev/tcp/127.0.0.1/6432")
            return
        typed = self.reader.run(block.text)
        assert (typed.status != 0) == ("fails" in block.flags), f"{where(block)}: {typed.output}"

    def ask(self, block):
        self.reader.write("/run/statements.sql", block.text)
        typed = self.reader.run("psql -X -q -v ON_ERROR_STOP=1 -U postgres -f /run/statements.sql")
        assert typed.status == 0, f"{where(block)}: {typed.output}"

    def write(self, block, path, text):
        """What a file was before has served its turn; so it is looked at when it is changed, and at the end."""
        self.check_files(block)
        self.reader.write(path, text)
        self.files[path] = text

    def check_files(self, block):
        for path in self.files:
            if path.endswith(".ini"):
                self.check_file(block, path)

    def check(self, block, text):
        self.reader.write("/etc/pgsluice/some-lines.ini", text)
        self.check_file(block, "/etc/pgsluice/some-lines.ini")

    def check_file(self, block, path):
        typed = self.reader.run(f"pgsluice --check {path}")
        assert typed.status == 0, f"{where(block)}: {path}: {typed.output}"


def section_of(block):
    return block.text if block.text.startswith("[") else "[pgsluice]\n" + block.text


def starts_pooler(block):
    return "foreground" in block.flags or (block.kind == "sh" and re.search(r"^pgsluice (?!--).*ini", block.text, re.M))


def preparation(name):
    """The blocks of the beginning up to where the pooler runs, that included if the page does not start it."""
    if name == BEGINNING:
        return
    is_started = any(starts_pooler(block) for block in document.blocks(name))
    for block in document.blocks(BEGINNING):
        if "foreground" not in block.flags:
            yield block
        elif is_started:
            return
        else:
            yield block
            return


@pytest.mark.parametrize("name", TYPED)
def test_what_a_page_says_works_as_it_stands(reader, name):
    page, block = Page(reader), None
    NEIGHBOURS.get(name, lambda _: None)(reader)
    for block in filter(is_typed, (*preparation(name), *document.blocks(name))):
        page.take(block)
    page.check_files(block)
    ends = [reader.interrupt(process) for process in page.foreground]
    said = reader.said()
    assert not any(ends), said
    assert "AddressSanitizer" not in said and "runtime error" not in said, said
