"""The manual, the example configuration, and what is told to those who come from PgBouncer."""

import os
import re
import shutil

import pytest

from harness.pooler import Pooler, is_pgbouncer
from harness.system import run

TOP = os.path.join(os.path.dirname(__file__), "../..")
PGBOUNCER = "/usr/sbin/pgbouncer"

if is_pgbouncer():
    pytest.skip("about our program", allow_module_level=True)


def read(path):
    with open(os.path.join(TOP, path)) as f:
        return f.read()


def pgbouncers_settings():
    """Its names, and values that are not their defaults."""
    lines = read("test/integration/data/pgbouncer-1.25.2.settings").splitlines()
    return dict(line.split(" = ", 1) for line in lines if not line.startswith("#"))


@pytest.fixture
def idle_pooler(make_pooler):
    """Configured, not started."""
    return make_pooler(start=False)


@pytest.fixture
def config(pooler):
    """SHOW CONFIG by name."""
    return {row["key"]: row for row in pooler.admin("SHOW CONFIG")}


# The manual

@pytest.mark.parametrize("page", ["doc/pgsluice.1", "doc/pgsluice.5", "doc/pgsluice-mkauth.1"])
def test_pages_are_what_manual_programs_understand(page):
    checked = run(["mandoc", "-T", "lint", "-W", "warning", os.path.join(TOP, page)])
    assert (checked.returncode, checked.stdout) == (0, "")


def rendered(page):
    """As a reader sees it, in one line."""
    done = run(["mandoc", "-T", "ascii", "-O", "width=999", os.path.join(TOP, page)])
    assert done.returncode == 0, done.stderr
    return " ".join(re.sub(r".\x08", "", done.stdout).split())


@pytest.mark.parametrize("program", [[], ["top"]])
def test_the_manual_has_every_option_of_the_help(idle_pooler, program):
    page = rendered("doc/pgsluice.1")
    options = re.findall(r"(?<![\w-])-{1,2}\w[\w-]*", idle_pooler.run(*program, "--help").stdout)
    assert len(options) > 15
    assert [option for option in options if option not in page] == []


def test_the_manual_has_every_command_of_the_console(pooler):
    page = rendered("doc/pgsluice.1")
    for row in pooler.admin("SHOW COMMANDS"):
        assert f"{row['name']} {row['argument']}".strip() in page, row


def test_the_manual_has_every_setting(config):
    page = rendered("doc/pgsluice.5")
    for name, row in config.items():
        assert re.search(rf" {name} [A-Z].* Default: {re.escape(row['default'] or 'empty')}", page), name


@pytest.mark.parametrize("program", [[], ["top"]])
def test_the_help_fits_a_screen(idle_pooler, program):
    lines = idle_pooler.run(*program, "--help").stdout.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


# The example configuration

def test_the_example_is_accepted_as_it_stands(idle_pooler):
    idle_pooler.write(read("etc/pgsluice.ini"))
    checked = idle_pooler.run("--check", idle_pooler.ini)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, f"{idle_pooler.ini}: ok\n", "")


def test_the_example_has_every_setting_with_its_default(make_pooler):
    """What is commented out in it is what holds without it."""
    pooler = make_pooler(start=False)
    for name in ("listen_addr", "listen_port", "unix_socket_dir", "auth_type", "auth_file", "admin_users"):
        pooler.args += ["-c", f"{name}={pooler.settings[name]}"]
    example, n = re.subn(r"(?m)^;(?=\w+ =)", "", read("etc/pgsluice.ini").partition("[pgsluice]")[2])
    pooler.write("[databases]\n[pgsluice]" + example)
    pooler.start()
    rows = [row for row in pooler.admin("SHOW CONFIG_EXT") if row["scope"] == "global"]
    assert len(rows) == n > 100
    for row in rows:
        assert row["source"] == "command line" or row["key"] == "conffile" or row["value"] == row["default"], row
        assert row["source"] != "default", row


@pytest.mark.parametrize("entry", ["databases", "users", "peers"])
def test_the_example_of_an_entry_is_accepted(idle_pooler, entry):
    section = re.search(rf"(?ms)^\[{entry}\]\n(.*?)^(\[|;;;)", read("etc/pgsluice.ini"))[1]
    lines, n = re.subn(r"(?m)^;(?!;)", "", section)
    assert n > 0
    idle_pooler.write(f"[{entry}]\n{lines}\n[pgsluice]\n")
    assert idle_pooler.run("--check", idle_pooler.ini).returncode == 0


# --check and PgBouncer's files

def told(checked, pooler):
    """[(line of the file, setting)] of what --check says is different; 0 for defaults."""
    assert checked.returncode == 0, checked.stderr
    lines = checked.stdout.splitlines()
    assert lines.pop() == f"{pooler.ini}: ok"
    found = [re.fullmatch(rf"{pooler.ini}(?::(\d+): (\w+)|: (\w+) is not set): .+", line) for line in lines]
    assert all(found), lines
    return [(int(m[1] or 0), m[2] or m[3]) for m in found]


def test_a_file_with_everything_that_pgbouncer_knows_is_accepted_and_told_of(idle_pooler, certs):
    settings = pgbouncers_settings()
    some_file = idle_pooler.write_file("empty", "")
    files = {"client_tls_key_file": certs.server.key, "client_tls_cert_file": certs.server.cert,
             "server_tls_key_file": certs.server.key, "server_tls_cert_file": certs.server.cert,
             "client_tls_ca_file": certs.ca.cert, "server_tls_ca_file": certs.ca.cert}
    lines = [f"{name} = {files.get(name, some_file) if value == 'FILE' else value}" for name, value in settings.items()]
    idle_pooler.write("\n".join(["[pgbouncer]", *lines]) + "\n")
    found = dict(map(reversed, told(idle_pooler.run("--check", idle_pooler.ini), idle_pooler)))
    for name in ("pkt_buf", "sbuf_loopcnt", "query_timeout", "server_lifetime", "auth_query", "so_reuseport"):
        assert found[name] == list(settings).index(name) + 2
    page = read("doc/from-pgbouncer.md")
    assert [name for name in found if f"| `{name}` |" not in page] == []


def test_debians_file_is_accepted_and_told_of(idle_pooler):
    path = "/etc/pgbouncer/pgbouncer.ini"
    if not os.access(path, os.R_OK):
        pytest.skip("PgBouncer's file is not for others to read")
    with open(path) as f:
        text = f.read()
    userlist = idle_pooler.write_file("userlist", "")
    idle_pooler.write(text.replace("/etc/pgbouncer/userlist.txt", userlist))
    found = told(idle_pooler.run("--check", idle_pooler.ini), idle_pooler)
    assert (0, "server_abandoned") in found
    # What it sets is the same here: there is nothing to tell of a line.
    assert {line for line, _ in found} == {0}


def test_quiet_says_errors_only(idle_pooler):
    idle_pooler.settings["pkt_buf"] = 8192
    idle_pooler.write()
    assert "pkt_buf" in idle_pooler.run("--check", idle_pooler.ini).stdout
    assert idle_pooler.run("-q", "--check", idle_pooler.ini).stdout == f"{idle_pooler.ini}: ok\n"


def test_with_an_error_nothing_else_is_told(idle_pooler):
    idle_pooler.settings.update(pkt_buf=8192, no_such_setting=1)
    idle_pooler.write()
    checked = idle_pooler.run("--check", idle_pooler.ini)
    assert (checked.returncode, checked.stdout) == (1, "")
    assert "no_such_setting: unknown setting" in checked.stderr


class PgBouncer(Pooler):
    """Debian's, whatever version that is, without what it may not know yet."""

    def __init__(self, pg):
        super().__init__(pg, start=False)
        shutil.copy(PGBOUNCER, self.program)
        for name in ("capacity_check_interval", "core_dumps"):
            self.settings.pop(name, None)
        self.write()

    def text(self):
        return super().text().replace("[peers]\n", "")

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            self.process = None


@pytest.fixture
def pgbouncer(pg):
    """Configured, not started."""
    other = PgBouncer(pg)
    yield other
    other.close()


def test_defaults_are_those_of_pgbouncer_or_told_of(pgbouncer, config):
    pgbouncer.start()
    theirs = {row["key"]: row["default"] for row in pgbouncer.admin("SHOW CONFIG")}
    differing = {name for name, value in theirs.items() if (config[name]["default"] or "") != (value or "")}
    # Other words for the same: schemas are named, all of these ciphers are OpenSSL's default, any query will do.
    same = {"auth_query", "client_tls_ciphers", "server_tls_ciphers", "server_check_query", "verbose"}
    listed = re.findall(r"(?m)^\| `(\w+)` \| `.*` \|.*\| `.*` \|$", read("doc/from-pgbouncer.md"))
    assert "sqlstate_compat" in listed
    assert differing - same <= set(listed)


# What the page says that PgBouncer reads past: a change of the configuration, and a word of the error here.
READ_PAST = {
    "a number with something behind it": (lambda p: p.databases["app"].update(pool_size="20x"), "pool_size"),
    "several ports": (lambda p: p.databases["app"].update(port="5432,5433"), "port"),
    "a mode without a 0": (lambda p: p.settings.update(unix_socket_mode="777"), "unix_socket_mode"),
    "a line of rules": (lambda p: p.settings.update(auth_type="hba", auth_hba_file=p.write_file(
        "hba", "host all all all no_method\nhost all all 0.0.0.0/0 trust\n")), "no_method"),
}


@pytest.mark.parametrize("what", READ_PAST)
def test_what_pgbouncer_reads_past_is_refused(pgbouncer, idle_pooler, what):
    spoil, word = READ_PAST[what]
    for pooler in (pgbouncer, idle_pooler):
        spoil(pooler)
        pooler.write()
    pgbouncer.start()
    checked = idle_pooler.run("--check", idle_pooler.ini)
    assert checked.returncode == 1 and word in checked.stderr


def test_pgbouncer_applies_what_stands_before_an_error_and_we_nothing(pgbouncer, pooler):
    pgbouncer.start()
    for one in (pgbouncer, pooler):
        one.write(one.text() + "default_pool_size = 7\nno_such_setting = 1\n")
        one.admin_result("RELOAD")
    assert (pgbouncer.config("default_pool_size"), pooler.config("default_pool_size")) == ("7", "20")


# Pages

def test_the_page_about_pgbouncer_names_every_setting_that_it_does_not_have(config):
    page = read("doc/from-pgbouncer.md")
    assert [name for name in config if name not in pgbouncers_settings() and f"`{name}`" not in page] == []


def test_the_page_about_others_names_settings_that_exist(config):
    keys = {"dbname", "host", "port", "user", "password", "pool_size"}
    words = [word for row in re.findall(r"(?m)^\|.*\| (.*) \|$", read("doc/from-others.md"))
             for word in re.findall(r"`([a-z]+(?:_[a-z0-9]+)+)", row)]
    assert len(words) > 80
    assert [word for word in words if word not in config and word not in keys] == []
