"""pgsluice top: the pools in a terminal, and as text for scripts; PgBouncer's too."""

import os
import signal
import subprocess
import threading

import pytest

from harness.pooler import Pooler, in_transaction, is_pgbouncer
from harness.system import eventually, run, stop_process
from harness.terminal import Terminal, frozen

pytestmark = pytest.mark.skipif(is_pgbouncer(), reason="top is a part of pgsluice")

PGBOUNCER = "/usr/sbin/pgbouncer"
FAST = ("-n", "0.2")


class PgBouncer(Pooler):
    """Debian's, which is older than what we are compatible with: SIGTERM is at once."""

    def __init__(self, pg, **settings):
        super().__init__(pg, start=False, **settings)
        self.top_program = self.program
        self.program = PGBOUNCER

    def text(self):
        return "".join(line + "\n" for line in super().text().splitlines() if line != "[peers]")

    def stop(self):
        if self.process is not None:
            stop_process(self.process, signal.SIGTERM)
            self.process = None


@pytest.fixture
def pgbouncer(pg):
    pooler = PgBouncer(pg, capacity_check_interval=None)
    try:
        yield pooler.start()
    finally:
        pooler.close()


@pytest.fixture(params=["pooler", "pgbouncer"])
def peer(request):
    """Whose console is asked."""
    return request.getfixturevalue(request.param)


def environment(peer, **more):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PG") and k != "NO_COLOR"}
    return {**inherited, **{k: v for k, v in peer.environment().items() if "SAN_" in k}, **more}


def command(peer, *args, user="admin"):
    program = getattr(peer, "top_program", peer.program)
    return [program, "top", "-h", "127.0.0.1", "-p", str(peer.port), "-U", user, *args]


def batch(peer, *args, env=None, **kwargs):
    return run(command(peer, "-b", "-c", "1", *FAST, *args, **kwargs), env=environment(peer, **(env or {})),
               stdin=subprocess.DEVNULL)


def live(peer, *args, env=None, **kwargs):
    return Terminal(command(peer, *FAST, *args), env=environment(peer, **(env or {})), **kwargs)


def pictures(text):
    """Of each picture the head and the rows, as dicts."""
    for picture in text.rstrip("\n").split("\n\n"):
        head, titles, *rows = picture.split("\n")
        yield (dict(item.split("=", 1) for item in head.split()[2:]),
               [dict(zip(titles.split(), row.split(), strict=True)) for row in rows])


class Traffic:
    """One query after the other, until the block ends."""

    def __init__(self, pooler):
        self.pooler = pooler
        self.is_over = False
        self.thread = threading.Thread(target=self.run)

    def run(self):
        with self.pooler.wire() as w:
            while not self.is_over:
                w.value("SELECT pg_sleep(0.001)")

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *args):
        self.is_over = True
        self.thread.join()


# As text

def test_batch_tells_pools_and_rates_as_fields(peer):
    with Traffic(peer):
        eventually(lambda: peer.pool() is not None, "there is a pool")
        done = run(command(peer, "-b", "-c", "2", *FAST), env=environment(peer))
    assert (done.returncode, done.stderr) == (0, "")
    found = list(pictures(done.stdout))
    assert len(found) == 2
    for head, rows in found:
        (row,) = rows
        assert head["version"].startswith("PgBouncer\\x20")
        assert (row["database"], row["user"], row["size"]) == ("app", "app", "20")
        assert int(row["cl_active"]) == int(head["cl_active"]) == 1
        assert float(row["query/s"]) > 0 and float(head["xact/s"]) == float(row["xact/s"])
        assert float(row["avg_query"]) >= 1
        assert int(row["in/s"]) > 0 and int(row["out/s"]) > 0


def test_batch_sorts_by_a_column(peer):
    with peer.wire(user="other"), peer.wire(user="app"), peer.wire(user="app"):
        orders = {column: [row["user"] for _, rows in pictures(batch(peer, "-s", column).stdout) for row in rows]
                  for column in ("user", "cl_active")}
        clients = list(pictures(batch(peer, "--view", "clients", "-s", "user").stdout))[0][1]
    assert orders == {"user": ["app", "other"], "cl_active": ["app", "other"]}
    assert [(row["user"], row["clients"]) for row in clients] == [("app", "2"), ("other", "1")]


def test_what_a_client_calls_itself_reaches_no_terminal_as_it_is(peer):
    with peer.wire(application_name="\x1b]0;owned\x07 x\u202ey"):
        done = batch(peer, "--view", "clients", env={"LC_ALL": "C.UTF-8"})
        with live(peer, "--view", "clients") as t:
            t.wait_text("owned")
            t.press("q")
            t.wait_exit()
    name = list(pictures(done.stdout))[0][1][0]["application_name"]
    assert "owned" in name and name.isascii()
    assert b"\x1b]0;owned" not in t.written and "\u202e".encode() not in t.written


@pytest.mark.parametrize("args, says", [
    (["-s", "beauty"], "no such column: beauty"),
    (["--view", "beauty"], "no such view: beauty"),
    (["-n", "0"], "expected 0.1 to 3600 seconds"),
    (["-c", "0"], "expected a number from 1"),
    (["one", "two"], 'what is "two" for?'),
    (["-U", "app"], "not allowed"),
])
def test_what_cannot_be_done_ends_with_a_reason(pooler, args, says):
    done = batch(pooler, *args)
    assert done.returncode == 1 and says in done.stderr and done.stdout == ""


def test_pgbouncer_is_told_to_lack_what_is_ours(pgbouncer):
    done = batch(pgbouncer, "--view", "hosts")
    assert done.returncode == 1 and "does not have this view: hosts" in done.stderr


def test_a_pooler_that_is_not_there_is_an_error(pooler):
    pooler.stop()
    done = batch(pooler)
    assert done.returncode == 1 and "Connection refused" in done.stderr


@pytest.mark.parametrize("where", [
    lambda p: [f"host=127.0.0.1 port={p.port} user=admin"],
    lambda p: [f"postgresql://admin@127.0.0.1:{p.port}"],
    lambda p: ["-d", f"postgresql://nobody@127.0.0.1:{p.port}/pgbouncer", "-U", "admin"],
    lambda p: ["-h", p.directory, "-p", str(p.port), "-U", "stats", "pgbouncer"],
])
def test_connection_strings_name_the_console_too(pooler, where):
    done = run([pooler.program, "top", "-b", "-c", "1", *FAST, *where(pooler)], env=environment(pooler))
    assert (done.returncode, done.stderr) == (0, "")
    assert "state=active" in done.stdout


def test_help_and_version_are_told_without_a_pooler(pooler):
    assert "--interval" in run([pooler.program, "top", "--help"], env=environment(pooler)).stdout
    assert "pgsluice" in run([pooler.program, "top", "--version"], env=environment(pooler)).stdout


def test_a_file_called_top_can_still_be_a_configuration(pooler):
    pooler.write_file("top", pooler.text())
    assert pooler.run("--check", "./top").stdout.endswith("./top: ok\n")


# Passwords

@pytest.fixture
def guarded(pooler):
    pooler.userlist["admin"] = "secret"
    pooler.hang_up(auth_type="scram-sha-256")
    return pooler


def test_the_password_comes_from_the_environment(guarded):
    assert batch(guarded, env={"PGPASSWORD": "secret"}).returncode == 0
    wrong = batch(guarded, env={"PGPASSWORD": "wrong"})
    assert wrong.returncode == 1 and "authentication failed" in wrong.stderr


def test_the_password_is_asked_for_where_it_cannot_be_seen(guarded):
    with live(guarded) as t:
        t.wait_text("Password:")
        t.press("secret", "enter")
        t.wait_text("by cl_waiting")
        assert b"secret" not in t.written
        t.press("q")
        assert t.wait_exit() == 0


# In a terminal

def test_it_draws_and_quits_with_the_terminal_as_it_was(peer):
    with peer.wire(), live(peer) as t:
        t.wait(lambda: t.row_of("app"), "the pool")
        assert t.row_of("database", "user", "cl_active") + 1 == t.row_of("app")
        assert "cl_active 1" in t.text and "PgBouncer" in t.text
        t.press("q")
        assert t.wait_exit() == 0
        assert t.is_as_before()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_the_terminal_as_it_was(pooler, sig):
    with live(pooler) as t:
        t.wait_text("by cl_waiting")
        t.process.send_signal(sig)
        t.wait_exit()
        assert t.is_as_before()


def test_keys_sort(peer):
    with peer.wire(user="other"), peer.wire(user="app"), peer.wire(user="app"), live(peer) as t:
        t.wait(lambda: t.row_of("app", "2"), "both clients")
        t.press("u")
        t.wait(lambda: "by user" in t.text and t.row_of("app", "app") < t.row_of("app", "other"), "by user")
        t.press("r")
        t.wait(lambda: "reversed" in t.text and t.row_of("app", "app") > t.row_of("app", "other"), "reversed")
        t.press("right")
        t.wait(lambda: "by cl_active" in t.text and t.row_of("app", "app") < t.row_of("app", "other"), "more first")
        t.press("left", "left")
        t.wait_text("by database")


def test_the_filter_leaves_only_names_that_have_it(pooler):
    with pooler.wire(user="other"), pooler.wire(user="app"), live(pooler) as t:
        t.wait(lambda: t.row_of("app", "other"), "the other one")
        t.press("/", "OTHx", "rubout", "enter")
        t.wait(lambda: t.row_of("app", "app") is None and t.row_of("app", "other"), "only the other one")
        assert "/OTH" in t.lines
        t.press("escape")
        t.wait(lambda: t.row_of("app", "app"), "both again")


def test_pause_holds_the_picture(pooler):
    with live(pooler) as t, pooler.wire(user="app"):
        t.wait(lambda: t.row_of("app", "app"), "the pool")
        t.press(" ")
        t.wait_text("PAUSED")
        with pooler.wire(user="other"):
            asked = len(pooler.log())
            t.press("h")
            t.wait_text("this help")
            t.press("h")
            t.wait(lambda: t.row_of("app", "app"), "the table again")
            assert t.row_of("app", "other") is None and len(pooler.log()) == asked
            t.press(" ")
            t.wait(lambda: t.row_of("app", "other"), "what is new")


def test_the_interval_changes_by_keys(pooler):
    with live(pooler) as t:
        t.wait_text("every 0.2s")
        t.press("+", "+")
        t.wait_text("every 1s")
        t.press("-")
        t.wait_text("every 0.5s")


def views(t):
    """Titles, as tab shows them, until the first comes again."""
    seen = []
    while (title := t.lines[0].split()[0]) not in seen:
        seen.append(title)
        t.press("tab")
        t.wait(lambda: t.lines[0].split()[0] != title and "asking" not in t.text, "another view")
    return seen


def test_tab_shows_the_views_that_the_peer_has(peer):
    with peer.wire() as w, live(peer) as t:
        w.value("SELECT 1")
        t.wait_text("pools")
        seen = views(t)
    assert seen[:3] == ["pools", "clients", "servers"]
    assert ("hosts" in seen) == (not isinstance(peer, PgBouncer))


def test_it_survives_a_restart_of_the_pooler(peer):
    with live(peer, env={"NO_COLOR": ""}) as t:
        with peer.wire():
            t.wait(lambda: t.row_of("app", "app"), "the pool")
            peer.stop()
        t.wait_text("STALE")
        t.wait_text("Connection refused")
        assert t.row_of("app", "app") and "red" in t.colours()
        peer.start()
        t.wait_no_text("STALE")
        with peer.wire(user="other"):
            t.wait(lambda: t.row_of("app", "other"), "a pool of the new process")
        t.press("q")
        assert t.wait_exit() == 0


def test_no_color_forbids_colours(pooler):
    with live(pooler, env={"NO_COLOR": "1"}) as t:
        t.wait_text("by cl_waiting")
        pooler.stop()
        t.wait_text("STALE")
        assert not t.colours()


def test_keys_work_while_the_pooler_hangs(pooler):
    with pooler.wire(), live(pooler) as t:
        t.wait(lambda: t.row_of("app", "app"), "the pool")
        with frozen(pooler.process):
            t.wait_text("no answer yet")
            t.press("u")
            t.wait_text("by user")
            assert t.row_of("app", "app")
        t.wait_no_text("STALE")
        with frozen(pooler.process):
            t.wait_text("no answer yet")
            t.press("q")
            assert t.wait_exit() == 0


def test_it_fits_into_whatever_size_the_terminal_gets(pooler):
    with pooler.wire(user="other"), pooler.wire(), live(pooler) as t:
        t.wait(lambda: t.row_of("app", "app"), "the pool")
        t.resize(40, 20)
        t.wait(lambda: "avg_wait" in t.text.split() and t.row_of("app", "app"), "a narrow one")
        assert t.row_of("database", "in/s") is None
        t.press("d", "left")
        t.wait(lambda: t.row_of("database", "pool_mode") and t.row_of("app", "transaction"), "its last column")
        t.resize(5, 2)
        t.wait(lambda: t.lines[0] == "pools", "a tiny one")
        t.press("d")
        t.resize(120, 30)
        t.wait(lambda: t.row_of("app", "app") and t.row_of("database", "user", "avg_query"), "a wide one")


def test_waiting_clients_are_seen(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with in_transaction(pooler, 1), pooler.wire() as waiting, live(pooler) as t:
        waiting.send_raw(b"Q\0\0\0\rSELECT 1\0")
        t.wait(lambda: "cl_waiting 1" in t.text and "100%" in t.text, "one that waits")
        assert "##########" in t.text


@pytest.mark.parametrize("term", ["dumb", "no-such-terminal"])
def test_a_terminal_that_cannot_is_sent_to_batch(pooler, term):
    with live(pooler, env={"TERM": term}) as t:
        assert t.wait_exit() == 1
        assert "try --batch" in t.text


def test_without_a_terminal_there_is_no_live_view(pooler):
    done = run(command(pooler), env=environment(pooler), stdin=subprocess.DEVNULL)
    assert done.returncode == 1 and "try --batch" in done.stderr
