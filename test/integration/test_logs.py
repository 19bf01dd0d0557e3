"""
What the log says: the format in JSON, lines that are folded or left out, slow transactions and waits; and SHOW ERRORS,
where what went wrong is kept in groups.
"""

import json
import re
import struct
import time

import pytest

from harness.pooler import keep_waiting
from harness.system import eventually
from harness.wire import FakeServer

# As PgBouncer writes them, and its tools read them.
TEXT = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \S+ \[\d+\] (FATAL|ERROR|WARNING|LOG|DEBUG|NOISE) "
                  r"([CS]-0x[0-9a-f]+: \S+/\S+@\S+:\d+ )?(.*)$")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d$")


def objects(pooler):
    """The lines of a log in JSON."""
    return [json.loads(line) for line in pooler.log().splitlines()]


def those_that_say(pooler, start):
    return [line for line in objects(pooler) if line["message"].startswith(start)]


def messages(pooler):
    """Of a log in text."""
    return [TEXT.match(line).group(3) for line in pooler.log().splitlines()]


def count(pooler, part):
    return sum(part in message for message in messages(pooler))


# The format


def test_in_json_every_line_is_an_object_with_the_same_keys_first(make_pooler):
    pooler = make_pooler(log_format="json", verbose=2)
    with pooler.wire() as w:
        w.query("SELECT 1")
    with pooler.raw() as w:
        w.try_login("app", "nosuch")
    pooler.admin_result("nonsense")
    pooler.stop()
    lines = objects(pooler)
    assert len(lines) > 8
    for line in lines:
        keys = list(line)
        assert keys[:3] == ["time", "pid", "level"] and keys[-1] == "message", line
        assert TIME.match(line["time"]), line
        assert line["level"] in ("FATAL", "ERROR", "WARNING", "LOG", "DEBUG", "NOISE")
        if "side" in keys:
            assert keys[3:9] == ["side", "id", "database", "user", "addr", "port"], line
            assert line["side"] in ("client", "server") and line["id"] > 0


def test_in_json_a_connections_lines_can_be_told_by_their_keys(make_pooler, pg):
    pooler = make_pooler(log_format="json")
    with pooler.wire() as w:
        w.query("SELECT 1")
        port = w.sock.getsockname()[1]
    with pooler.raw() as w:
        assert w.try_login("app", "nosuch")["C"] == "3D000"
    pooler.wait_log("no such database")
    [login] = [line for line in those_that_say(pooler, "login attempt") if line["database"] == "app"]
    assert (login["side"], login["user"], login["addr"], login["port"], login["tls"]) == (
        "client", "app", "127.0.0.1", port, "no")
    [server] = those_that_say(pooler, "new connection to server")
    assert (server["side"], server["database"], server["user"], server["port"]) == ("server", "app", "app", pg.port)
    eventually(lambda: [line for line in those_that_say(pooler, "closing because: client")
                        if line["id"] == login["id"]], "the client's end is in the log")
    [refused] = [line for line in those_that_say(pooler, "closing because") if line["database"] == "nosuch"]
    assert (refused["reason"], refused["sqlstate"], refused["age"]) == ("NO_DATABASE", "3D000", 0)
    [told] = [line for line in those_that_say(pooler, "pooler error") if line["database"] == "nosuch"]
    assert (told["reason"], told["sqlstate"], told["level"]) == ("NO_DATABASE", "3D000", "WARNING")


def test_in_json_what_is_no_utf8_or_has_quotes_is_still_valid(make_pooler):
    pooler = make_pooler(log_format="json")
    user = b'a"\\\n\x01\xff\xc3(\xed\xa0\x80'
    body = struct.pack("!I", 196608) + b"user\0" + user + b"\0database\0nosuch\0\0"
    with pooler.raw() as w:
        w.send_raw(struct.pack("!I", len(body) + 4) + body)
        assert w.recv().type == "E"
    [line] = eventually(lambda: [line for line in those_that_say(pooler, "closing because")
                                 if line["database"] == "nosuch"], "the refusal is in the log")
    assert line["user"] == 'a"\\\n\x01\ufffd\ufffd(\ufffd\ufffd\ufffd'


def test_the_format_changes_with_set_and_reload(make_pooler):
    pooler = make_pooler()
    pooler.admin_result("SET log_format = 'json'")
    with pooler.raw() as w:
        w.try_login("app", "one")
    assert pooler.reload().error is None
    with pooler.raw() as w:
        w.try_login("app", "two")
    eventually(lambda: "no such database: two (age" in pooler.log(), "the second refusal is in the log")
    lines = pooler.log().splitlines()
    assert json.loads(next(line for line in lines if "no such database: one" in line))
    assert TEXT.match(next(line for line in lines if "no such database: two" in line))
    assert pooler.admin_result("SET log_format = 'yaml'").error is not None


# Lines that are left out


@pytest.fixture
def refusing():
    """A server that lets nobody in."""
    def script(peer):
        peer.read_startup()
        peer.error("28000", "not you", "FATAL")

    with FakeServer(script) as server:
        yield server


def refused_logins(pooler, server, n=3):
    """Logins until the server has refused so many connections; how many of them there were."""
    logins = 0
    while len(server.peers) < n:
        with pooler.raw() as w:
            assert w.try_login("app", "app") is not None
        logins += 1
        time.sleep(0.02)
    return logins


def folded(pooler, text):
    """How many lines tell of repetitions of a message, and of how many."""
    numbers = [int(n) for n in re.findall(r"message repeated (\d+) times: \[" + re.escape(text), pooler.log())]
    return len(numbers), sum(numbers)


REFUSED = "server login failed: FATAL not you"


def test_a_warning_that_repeats_is_written_once_with_a_number_later(make_pooler, refusing):
    pooler = make_pooler(databases={"app": refusing.entry}, server_login_retry=0, log_fold_interval=3600)
    logins = refused_logins(pooler, refusing)
    assert sum(m == REFUSED for m in messages(pooler)) == 1
    assert folded(pooler, REFUSED) == (0, 0)
    pooler.stop()
    times, repeated = folded(pooler, REFUSED)
    assert times == 1 and repeated == count(pooler, "new connection to server") - 1
    # Each client's own lines are all there.
    assert count(pooler, "login attempt: db=app") == logins
    assert count(pooler, "pooler error: ") == logins


def test_repetitions_are_told_when_their_time_is_over_though_nothing_else_happens(make_pooler, refusing):
    pooler = make_pooler(databases={"app": refusing.entry}, server_login_retry=0, log_fold_interval="500ms")
    refused_logins(pooler, refusing)
    eventually(lambda: folded(pooler, REFUSED)[0] > 0, "the repetitions are in the log")
    pooler.stop()
    written = sum(m == REFUSED for m in messages(pooler))
    assert written + folded(pooler, REFUSED)[1] == count(pooler, "new connection to server")


def test_without_an_interval_every_warning_is_written(make_pooler, refusing):
    pooler = make_pooler(databases={"app": refusing.entry}, server_login_retry=0, log_fold_interval=0)
    refused_logins(pooler, refusing)
    pooler.stop()
    assert sum(m == REFUSED for m in messages(pooler)) == count(pooler, "new connection to server") >= 3
    assert folded(pooler, REFUSED) == (0, 0)


def test_a_reload_tells_what_was_folded_before(make_pooler, refusing):
    pooler = make_pooler(databases={"app": refusing.entry}, server_login_retry=0, log_fold_interval=3600)
    refused_logins(pooler, refusing)
    assert pooler.reload().error is None
    assert folded(pooler, REFUSED)[0] == 1


def test_lines_about_connections_are_bounded_and_what_is_left_out_is_counted(make_pooler):
    pooler = make_pooler(log_connections_limit=1)
    for _ in range(30):
        with pooler.raw() as w:
            assert w.try_login("app", "nosuch")["C"] == "3D000"
    pooler.wait_log("left out: log_connections_limit is 1 a second")
    pooler.stop()
    left_out = sum(int(n) for n in re.findall(r"(\d+) lines about connections left out", pooler.log()))
    written = sum(bool(re.search(r" C-\S+: ", line)) for line in pooler.log().splitlines())
    # Of each client: its login, the error it was told, its end.
    assert written + left_out == 90
    assert left_out > 0


def test_by_default_no_line_about_a_connection_is_left_out(make_pooler):
    pooler = make_pooler()
    for _ in range(20):
        with pooler.raw() as w:
            w.try_login("app", "nosuch")
    pooler.stop()
    for part in ("login attempt: db=nosuch", "pooler error: no such database", "closing because: no such database"):
        assert count(pooler, part) == 20, part


# Slow transactions and waits


def test_a_slow_transaction_is_logged_without_its_text(make_pooler):
    pooler = make_pooler(log_format="json", log_min_duration=0.2)
    with pooler.wire() as w:
        pid = w.backend()
        w.query("SELECT 'quick secret'")
        w.query("BEGIN")
        w.query("SELECT pg_sleep(0.3), 'slow secret'")
        w.query("COMMIT")
        pooler.wait_log("slow transaction")
        w.query("SELECT 1")
    pooler.stop()
    [line] = those_that_say(pooler, "slow transaction")
    assert line["duration_us"] >= 300000 and line["wait_us"] < line["duration_us"]
    assert (line["queries"], line["server_pid"], line["side"], line["level"]) == (3, pid, "client", "LOG")
    assert "secret" not in pooler.log() and "pg_sleep" not in pooler.log()


def test_by_default_slowness_is_not_logged(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as first, pooler.wire() as second:
        assert keep_waiting(pooler, first, second, 0.3).error is None
    pooler.stop()
    assert count(pooler, "slow ") == 0


def test_a_slow_transaction_that_its_client_has_left_is_logged_too(make_pooler):
    pooler = make_pooler(log_format="json", log_min_duration=0.2)
    with pooler.wire() as w:
        w.query("BEGIN")
        w.query("SELECT pg_sleep(0.3)")
    pooler.wait_log("slow transaction")
    [line] = those_that_say(pooler, "slow transaction")
    assert line["side"] == "server" and line["duration_us"] >= 300000


def test_a_long_wait_is_logged_and_belongs_to_the_first_transaction_behind_it(make_pooler):
    pooler = make_pooler(log_format="json", default_pool_size=1, log_min_wait=0.2, log_min_duration="1us")
    with pooler.wire() as first, pooler.wire() as second:
        assert keep_waiting(pooler, first, second, 0.3).error is None
        second.query("SELECT 2")
    pooler.stop()
    [wait] = those_that_say(pooler, "slow wait")
    assert wait["wait_us"] >= 300000 and (wait["servers"], wait["waiting"]) == (1, 0)
    waits = [line["wait_us"] for line in those_that_say(pooler, "slow transaction") if line["id"] == wait["id"]]
    assert waits == [wait["wait_us"], 0]
    # What kept it waiting is not told of the one that did the keeping.
    [held] = [line for line in those_that_say(pooler, "slow transaction") if line["id"] != wait["id"]]
    assert held["queries"] == 3


# SHOW ERRORS


def errors(pooler, who="admin", **like):
    return [row for row in pooler.admin("SHOW ERRORS", who) if all(row[k] == v for k, v in like.items())]


def test_errors_are_shown_in_groups_the_last_one_first(make_pooler):
    pooler = make_pooler(auth_type="md5", userlist={"app": "right", "admin": "x", "stats": "y"}, stats_users="stats")
    assert pooler.admin("SHOW ERRORS") == []
    for _ in range(3):
        assert pooler.attempt("wrong").outcome == "28P01"
    assert pooler.attempt("right", database="nosuch").outcome == "3D000"
    for user in ("admin", "stats"):
        missing, wrong = errors(pooler, user)
        assert (missing["sqlstate"], missing["reason"], missing["database"], missing["user"], missing["count"]) == (
            "3D000", "NO_DATABASE", "nosuch", "app", "1")
        assert missing["message"] == "no such database: nosuch"
        assert (wrong["sqlstate"], wrong["reason"], wrong["user"], wrong["count"]) == (
            "28P01", "AUTH_PASSWORD", "app", "3")
        assert wrong["first"] <= wrong["last"] <= missing["last"]


def test_failed_logins_at_the_server_are_among_the_errors(make_pooler, refusing):
    pooler = make_pooler(databases={"app": refusing.entry, "away": {"host": "127.0.0.1", "port": 1}},
                         server_login_retry=0)
    refused_logins(pooler, refusing)
    with pooler.raw() as w:
        assert w.try_login("app", "away") is not None
    [at_login] = errors(pooler, reason="SERVER_LOGIN")
    assert (at_login["sqlstate"], at_login["database"], at_login["user"]) == ("28000", "app", "app")
    assert int(at_login["count"]) == len(refusing.peers) and at_login["message"] == "not you"
    [connecting] = errors(pooler, reason="SERVER_CONNECT")
    assert (connecting["database"], connecting["sqlstate"]) == ("away", "08001")
    assert connecting["message"] == "connect failed: Host \"127.0.0.1\", port 1: Connection refused."


def test_a_flood_of_names_hides_no_other_error(make_pooler):
    pooler = make_pooler()
    with pooler.raw() as w:
        w.try_login("app", "nosuch", search_path="x")
    for i in range(200):
        with pooler.raw() as w:
            w.try_login(f"u{i}", f"d{i}")
    [ours] = errors(pooler, user="app")
    assert ours["reason"] == "BAD_PARAMETER"
    of_flood = [row for row in errors(pooler) if row != ours]
    assert len(of_flood) < 50
    assert sum(int(row["count"]) for row in of_flood) == 200
    [rest] = [row for row in of_flood if row["user"] is None]
    assert rest["database"] is None and int(rest["count"]) > 100


def test_what_ends_well_is_no_error(make_pooler):
    pooler = make_pooler()
    with pooler.wire() as w:
        w.query("SELECT 1/0")
        w.send("X")
        w.is_closed()
    with pooler.wire():
        pass
    eventually(lambda: len(pooler.admin("SHOW CLIENTS")) == 1, "both clients have gone")
    assert errors(pooler) == []
