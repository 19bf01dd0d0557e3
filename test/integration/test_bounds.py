"""
Floods: memory and descriptors stay within the bounds of doc/limits.md, and whoever has logged in is served.

What a bound is, is read from the table in doc/limits.md: the page and the program cannot disagree.
"""

import contextlib
import os
import re
import signal
import socket
import ssl
import struct
import threading
import time

import pytest

from harness.http import Http
from harness.pooler import assert_error, has_sanitizers
from harness.probe import Probe
from harness.system import eventually, free_port
from harness.wire import (CANCEL_REQUEST, SSL_REQUEST, Wire, cstring, packet, parse, query, startup_packet, sync)

kB, MB = 1024, 1024 * 1024

# What the C library and the tables that double may have taken besides what was asked for.
SLACK = 6 * MB

PAGE = os.path.join(os.path.dirname(__file__), "../../doc/limits.md")
STARTUP = startup_packet({"user": "app", "database": "app"})


def documented(name):
    """A number in the first column of figures in doc/limits.md: | `name` | number unit | ..."""
    with open(PAGE) as page:
        found = re.search(rf"^\| {re.escape(name)} \| ([\d,]+)(?: (kB|MB|B))? \|", page.read(), re.M)
    assert found, f"{name} is not in doc/limits.md"
    return int(found[1].replace(",", "")) * {"kB": kB, "MB": MB}.get(found[2], 1)


UNFINISHED = documented("connections that have not logged in, at least")
AUTOMATIC = documented("automatic databases without clients and servers")


def descriptors(pooler):
    """Open ones that are no server's."""
    servers = list_of(pooler, "used_servers")
    return len(os.listdir(f"/proc/{pooler.pid}/fd")) - servers


@contextlib.contextmanager
def bounded(pooler, growth):
    """The process takes no more than `growth` bytes more at any time, and has as many descriptors afterwards."""
    before, files = pooler.rss(), descriptors(pooler)
    with open(f"/proc/{pooler.pid}/clear_refs", "w") as f:
        f.write("5")  # the peak is counted from now
    yield
    if not has_sanitizers():
        assert pooler.peak_rss() - before <= growth + SLACK, (pooler.peak_rss() - before) / MB
    eventually(lambda: descriptors(pooler) <= files, f"{files} descriptors as before")


@pytest.fixture
def flooded(make_pooler):
    """flooded(...): a pooler whose listening socket takes what a flood brings, and gives it on."""
    def make(**settings):
        return make_pooler(**{"listen_backlog": 4096, "tcp_defer_accept": 0, "log_connections": 0,
                              "log_disconnections": 0, "log_pooler_errors": 0, **settings})
    return make


class Sockets:
    """Connections, all of them in one process: the oldest are closed before there are too many."""

    MOST = 15000

    def __init__(self, pooler):
        self.address = ("127.0.0.1", pooler.port)
        self.open = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in self.open:
            s.close()

    def connect(self, first=b""):
        if len(self.open) >= self.MOST:
            self.open.pop(0).close()
        s = socket.create_connection(self.address, 60)
        self.open.append(s)
        if first:
            with contextlib.suppress(ConnectionError):
                s.sendall(first)
        return s


def close_reasons(pooler):
    return {row["reason"]: int(row["clients"]) for row in pooler.admin("SHOW CLOSE_REASONS")}


def list_of(pooler, name):
    return {row["list"]: int(row["items"]) for row in pooler.admin("SHOW LISTS")}[name]


# Connections that never log in

@pytest.mark.parametrize("first", [b"", STARTUP[:-1]], ids=["silent", "unfinished packet"])
def test_connections_that_never_log_in_give_way_to_others(flooded, is_long, first):
    n = 20000 if is_long else 1800
    pooler = flooded()
    with Probe(pooler) as probe, bounded(pooler, UNFINISHED * documented("a connection that has not logged in")):
        with Sockets(pooler) as sockets, probe.phase("flood"):
            for _ in range(n):
                sockets.connect(first)
            # Somebody who means it gets in meanwhile.
            with pooler.wire() as w:
                assert w.value("SELECT 1") == "1"
            assert list_of(pooler, "login_clients") <= UNFINISHED + 1
            assert close_reasons(pooler)["LOGIN_SHED"] >= n - UNFINISHED
    probe.assert_served("flood")


def test_who_gives_way_is_told_why(flooded):
    pooler = flooded()
    with Sockets(pooler) as sockets:
        first = sockets.connect()
        for _ in range(UNFINISHED):
            sockets.connect()
        answer = first.recv(4096)
        assert answer[:1] == b"E" and b"C53300\0" in answer and b"unfinished logins" in answer
        assert first.recv(1) == b""


def test_a_login_that_stands_still_gives_way_when_max_client_conn_is_reached(make_pooler):
    pooler = make_pooler(max_client_conn=2, auth_type="scram-sha-256", userlist={"app": "secret", "admin": "secret"})
    with Sockets(pooler) as sockets, pooler.wire(password="secret") as w:
        stalled = sockets.connect(STARTUP)
        assert stalled.recv(1) == b"R"
        # It may be about to answer.
        assert_error(pooler.attempt("secret").error, "no more connections allowed (max_client_conn)", "53300")
        time.sleep(5.2)
        with pooler.wire(password="secret") as other:
            assert b"53300" in stalled.recv(4096)
            assert other.value("SELECT 1") == w.value("SELECT 1") == "1"
            # Clients that have logged in stay, however long they have been there.
            assert_error(pooler.attempt("secret").error, "no more connections allowed (max_client_conn)", "53300")


def test_slow_logins_end_at_client_login_timeout_and_hold_nobody_else(flooded):
    n = 200
    pooler = flooded(client_login_timeout=2, max_client_conn=1000)
    text = startup_packet({"user": "app", "database": "app", "application_name": "x" * 300})
    with Probe(pooler) as probe, bounded(pooler, n * documented("a connection that has not logged in")):
        with Sockets(pooler) as sockets, probe.phase("flood"):
            left = [sockets.connect() for _ in range(n)]
            for i in range(len(text) - 1):
                time.sleep(0.05)
                for s in list(left):
                    try:
                        s.sendall(text[i:i + 1])
                    except ConnectionError:
                        left.remove(s)
                if not left:
                    break
                if i == 10:
                    with pooler.wire() as w:
                        assert w.value("SELECT 1") == "1"
            assert not left
    probe.assert_served("flood")
    assert close_reasons(pooler)["LOGIN_TIMEOUT"] == n


def test_startup_packets_that_do_not_end_are_kept_within_bounds(flooded):
    n = 200
    longest = documented("a startup packet")
    pooler = flooded()
    with bounded(pooler, n * 2 * longest), Sockets(pooler) as sockets:
        for _ in range(n):
            sockets.connect(struct.pack("!II", longest + 4, 3 << 16) + b"x" * (longest - 8))
        with pooler.wire() as w:
            assert w.value("SELECT 1") == "1"
        too_long = sockets.connect(struct.pack("!II", longest + 5, 3 << 16))
        assert b"08P01" in too_long.recv(4096)


# Cancels, handshakes, HTTP

@pytest.mark.parametrize("which", ["nobody's", "a query's"])
def test_a_flood_of_cancel_requests(flooded, is_long, which):
    n = 50000 if is_long else 1500
    pooler = flooded(databases={"app": {}, "other": {"dbname": "app"}})
    with Probe(pooler) as probe, pooler.wire("other") as busy:
        key = busy.key if which == "a query's" else b"\x01" * 8
        request = packet("", struct.pack("!I", CANCEL_REQUEST) + key)
        busy.send_raw(query("SELECT pg_sleep(600)"))
        pooler.wait_pool(database="other", sv_active=1)
        with bounded(pooler, UNFINISHED * documented("a connection that has not logged in")):
            with Sockets(pooler) as sockets, probe.phase("flood"):
                for _ in range(n):
                    sockets.connect(request)
                if which == "a query's":
                    assert busy.result().error["C"] == "57014"
                else:
                    busy.cancel()
                    assert busy.result().error["C"] == "57014"
        assert busy.value("SELECT 1") == "1"
    probe.assert_served("flood")


def test_tls_handshakes_that_do_not_go_on(flooded, certs, is_long):
    """Each has had the server's part of the handshake, which is what costs."""
    n = 20000 if is_long else 400
    pooler = flooded(client_tls_sslmode="allow", client_tls_key_file=certs.server.key,
                     client_tls_cert_file=certs.server.cert, tls_handshakes_per_turn=4)
    context = ssl.create_default_context(cafile=certs.ca.cert)
    ours = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), ours, server_hostname="localhost").do_handshake()
    hello = ours.read()
    with Probe(pooler) as probe:
        growth = min(n, UNFINISHED) * documented("the same in the middle of a TLS handshake")
        with bounded(pooler, growth), Sockets(pooler) as sockets, probe.phase("flood"):
            for _ in range(n):
                s = sockets.connect(struct.pack("!II", 8, SSL_REQUEST))
                with contextlib.suppress(ConnectionError):
                    if s.recv(1) == b"S":
                        s.sendall(hello)
            with contextlib.suppress(ConnectionError):
                assert s.recv(1) == b"\x16"
            with pooler.wire() as w:
                assert w.value("SELECT 1") == "1"
    probe.assert_served("flood")


def test_a_flood_of_http_requests(flooded, is_long):
    n = 20000 if is_long else 1000
    port = free_port()
    pooler = flooded(http_port=port, http_listen_addr="127.0.0.1", http_allow_anonymous=1)
    assert answers_http(port)
    with Probe(pooler) as probe:
        growth = documented("connections over HTTP") * documented("a connection over HTTP")
        with bounded(pooler, growth), Sockets(pooler) as sockets, probe.phase("flood"):
            for i in range(n):
                s = socket.socket()
                sockets.open.append(s)
                s.setblocking(False)
                s.connect_ex(("127.0.0.1", port))
                with contextlib.suppress(OSError):
                    s.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                if len(sockets.open) > 400:
                    sockets.open.pop(0).close()
            assert descriptors(pooler) < documented("connections over HTTP") + 50
            with pooler.wire() as w:
                assert w.value("SELECT 1") == "1"
        eventually(lambda: answers_http(port), "HTTP is answered again")
    probe.assert_served("flood")


def answers_http(port):
    with contextlib.suppress(Exception), Http(port) as h:
        return h.get("/livez").status == 200


# Clients that do not read, clients that do not stop

def test_clients_that_never_read(flooded, is_long):
    n = 100 if is_long else 20
    pooler = flooded(databases={"app": {}, "other": {"dbname": "app", "pool_size": n}}, max_client_conn=1000)
    sql = f"SELECT repeat('x', 1000) FROM generate_series(1, {200000 if is_long else 20000})"
    with Probe(pooler) as probe, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(pooler.wire("other")) for _ in range(n)]
        for w in clients:
            assert w.value("SELECT 1") == "1"
        with bounded(pooler, n * documented("bytes on their way to one peer")), probe.phase("flood"):
            for w in clients:
                w.send_raw(query(sql))
            time.sleep(2)
            for w in clients:
                w.reset()
            pooler.wait_pool(database="other", cl_active=0, sv_active=0)
            # The servers of those that have gone may have been closed or given back.
            pooler.admin("RECONNECT other")
            pooler.wait_pool(database="other", sv_idle=0, sv_used=0)
    probe.assert_served("flood")


def endless(kind):
    """What begins it, and what is said again and again."""
    if kind == "a COPY":
        return query("COPY endless FROM STDIN"), packet("d", b"x" * 60000 + b"\n")
    if kind == "queries":
        return b"", query("SELECT 1") * 1000
    if kind == "a pipeline":
        return b"", (parse("SELECT 1", "") + packet("B", b"\0\0" + bytes(6)) + packet("E", b"\0" + bytes(4))) * 500
    # The longest that a server takes.
    return b"Q" + struct.pack("!I", (1 << 30) - 2), b" " * 65536


@pytest.mark.parametrize("kind", ["queries", "a pipeline", "a COPY", "a message of 1 GB"])
def test_clients_that_send_without_end_to_a_server_that_has_stopped(flooded, kind):
    pooler = flooded(databases={"app": {}, "other": {"dbname": "app"}})
    begin, more = endless(kind)
    with Probe(pooler) as probe, pooler.wire("other") as w:
        assert w.query("CREATE TEMP TABLE IF NOT EXISTS endless (x text)").error is None
        w.query("BEGIN")
        backend = w.backend()
        with bounded(pooler, 2 * documented("bytes on their way to one peer")), probe.phase("flood"):
            w.send_raw(begin)
            if kind == "a COPY":
                w.recv_until("G")
            w.sock.settimeout(1)
            # It waits for us, and so has none of the locks that keep others waiting.
            os.kill(backend, signal.SIGSTOP)
            try:
                with pytest.raises(TimeoutError):
                    while True:
                        w.sock.sendall(more)
            finally:
                os.kill(backend, signal.SIGCONT)
    probe.assert_served("flood")


def test_a_statement_that_is_announced_at_nearly_1_gb_is_refused_at_once(flooded):
    pooler = flooded()
    with pooler.wire() as w, bounded(pooler, 0):
        w.send_raw(b"P" + struct.pack("!I", (1 << 30) - 100) + cstring("name") + b"SELECT 1")
        assert_error(w.result().error, "prepared statement is too long", "54000")
        assert w.is_closed()


# Names of databases

def use_databases(pooler, names, answers):
    for name in names:
        with Wire(("127.0.0.1", pooler.port), timeout=60) as w:
            answers.append(w.try_login("app", name))


def test_names_of_databases_that_lead_nowhere(flooded, is_long):
    n = 100000 if is_long else 1600
    pooler = flooded(databases={"app": {}, "*": {"host": "127.0.0.1", "port": free_port()}}, server_login_retry="3s")
    answers = []
    with Probe(pooler) as probe, bounded(pooler, (AUTOMATIC + 100) * documented("an automatic database, with its pool")):
        with probe.phase("flood"):
            use_databases(pooler, [f"none{i}" for i in range(n)], answers)
        assert len(pooler.admin("SHOW DATABASES")) <= AUTOMATIC + 10
        eventually(lambda: len(pooler.admin("SHOW DATABASES")) < 10,
                   "names that nobody was let in to are forgotten after server_login_retry")
    probe.assert_served("flood")
    assert len(answers) == n
    assert {error["C"] for error in answers} <= {"57P03", "08006"}


def test_a_database_that_was_there_is_kept_for_autodb_idle_timeout(make_pooler):
    pooler = make_pooler(databases={"*": {}}, server_login_retry="300ms", server_idle_timeout="100ms")
    with pooler.wire("app") as w:
        assert w.value("SELECT 1") == "1"
    assert pooler.attempt(database="none").error["C"] == "3D000"
    eventually(lambda: pooler.pool("none") is None, "the name that no server knows is gone")
    assert "app" in [row["name"] for row in pooler.admin("SHOW DATABASES")]


# Prepared statements

def prepare_all(w, names, size=200):
    """Errors by their SQLSTATE; each batch is a Sync of its own, each name too."""
    codes = {}
    names = list(names)
    for at in range(0, len(names), size):
        batch = names[at:at + size]
        w.send_raw(b"".join(parse(f"SELECT {name[1:]}", name) + sync() for name in batch))
        for _ in batch:
            error = w.result().error
            code = error["C"] if error else None
            codes[code] = codes.get(code, 0) + 1
    return codes


def prepared_most():
    return documented("`max_client_prepared_statements`")


def test_names_of_prepared_statements(flooded, is_long):
    n = 1000000 if is_long else 12000
    most = prepared_most()
    pooler = flooded()
    with Probe(pooler, user="other") as probe, bounded(pooler, most * documented("a prepared statement of a client")):
        with probe.phase("flood"):
            for _ in range(2):
                # What the first has had, the second gets again.
                with pooler.wire() as w:
                    assert prepare_all(w, (f"s{i}" for i in range(n))) == {None: most, "54000": n - most}
                    w.send("X")
                    assert w.is_closed()
    probe.assert_served("flood")


def full(pooler, names=("a", "b")):
    w = pooler.wire()
    for name in names:
        assert w.say(parse("SELECT 1", name)).error is None
    return w


def is_refused(error):
    assert error["M"].startswith("too many prepared statements"), error
    assert (error["S"], error["C"]) == ("ERROR", "54000")
    assert error["D"] == "max_client_prepared_statements is 2."


def test_one_prepared_statement_too_many_is_an_error_for_its_client_alone(make_pooler):
    pooler = make_pooler(max_client_prepared_statements=2)
    with full(pooler) as w, pooler.wire() as other:
        is_refused(w.say(parse("SELECT 3", "c")).error)
        is_refused(w.query("PREPARE c AS SELECT 3").error)
        is_refused(w.extended("PREPARE c AS SELECT 3").error)
        assert w.query("EXECUTE c").error["C"] == "26000"
        assert w.value("EXECUTE a") == "1"
        assert other.say(parse("SELECT 3", "c")).error is None
        # The unnamed statement is no name.
        assert w.extended("SELECT 4").value == "4"
        assert w.query("DEALLOCATE b").error is None
        assert w.say(parse("SELECT 3", "c")).error is None
        assert w.value("EXECUTE c") == "3"


def test_one_prepared_statement_too_many_fails_its_transaction(make_pooler):
    pooler = make_pooler(max_client_prepared_statements=2)
    with full(pooler) as w:
        w.query("BEGIN")
        result = w.say(parse("SELECT 3", "c"), parse("SELECT 4", "d"))
        is_refused(result.error)
        assert len(result.errors) == 1 and result.status == "E"
        assert w.say(parse("SELECT 3", "c")).error["C"] == "25P02"
        assert w.query("ROLLBACK").error is None


def test_what_is_wrong_with_a_statement_is_told_before_that_it_is_one_too_many(make_pooler):
    pooler = make_pooler(max_client_prepared_statements=2)
    with full(pooler) as w:
        assert w.say(parse("SELEC 3", "c")).error["C"] == "42601"
        assert w.say(parse("SELECT 3", "a")).error["C"] == "42P05"


def test_max_client_prepared_statements_of_0_sets_no_bound(make_pooler):
    pooler = make_pooler(max_client_prepared_statements=0)
    with pooler.wire() as w:
        assert prepare_all(w, (f"s{i}" for i in range(300))) == {None: 300}


# max_memory

def is_short(pooler):
    return {row["key"]: row["value"] for row in pooler.admin("SHOW PROCESS")}["memory_short"] == "1"


def set_memory(pooler, size):
    assert pooler.admin_result(f"SET max_memory = '{size}'").error is None
    eventually(lambda: is_short(pooler) == (0 < size < pooler.rss()), "it has been looked at", every=0.01)


def test_at_max_memory_nobody_new_is_let_in_and_all_others_go_on(make_pooler):
    pooler = make_pooler(tcp_defer_accept=0)
    with pooler.wire() as w, Sockets(pooler) as sockets:
        assert w.value("SELECT 1") == "1"
        waits = sockets.connect()
        set_memory(pooler, pooler.rss() - 2 * MB)
        error = pooler.attempt().error
        assert_error(error, "no more connections allowed (max_memory)", "53200")
        assert "max_memory is" in error["D"]
        # Whoever is about to log in gives way to the next.
        assert b"53300" in waits.recv(4096)
        assert w.value("SELECT 2") == "2"
        assert "no more clients are let in" in pooler.log()
        assert close_reasons(pooler)["MAX_MEMORY"] == 1
        set_memory(pooler, 0)
        with pooler.wire() as other:
            assert other.value("SELECT 3") == "3"


@pytest.mark.skipif(has_sanitizers(), reason="their memory is not given back")
def test_above_max_memory_those_are_closed_who_hold_most(make_pooler):
    pooler = make_pooler()
    with pooler.wire() as w, pooler.wire() as small, pooler.wire() as greedy:
        assert prepare_all(small, ["s1", "s2"]) == {None: 2}
        set_memory(pooler, pooler.rss() + 16 * MB)
        # Half a Parse of 60 MB, which is kept until it is whole.
        greedy.send_raw(b"P" + struct.pack("!I", 60 * MB) + cstring("name"))
        with contextlib.suppress(ConnectionError):
            greedy.send_raw(b" " * 59 * MB)
        assert_error(greedy.result().error, "too much memory is held for this connection", "53200")
        assert w.value("SELECT 1") == "1"
        assert small.value("EXECUTE s2") == "2"
        eventually(lambda: not is_short(pooler), "what it held is free again")
        with pooler.wire() as other:
            assert other.value("SELECT 1") == "1"
    assert close_reasons(pooler)["MEMORY_HELD"] == 1


@pytest.mark.skipif(has_sanitizers(), reason="their memory is not given back")
def test_memory_that_is_free_again_is_no_reason_to_refuse_anybody(make_pooler):
    pooler = make_pooler(max_client_prepared_statements=0)
    with pooler.wire() as w:
        assert prepare_all(w, (f"s{i}" for i in range(12000))) == {None: 12000}
        grown = pooler.rss()
        w.send("X")
        assert w.is_closed()
    # Had the C library kept it, this would be too little.
    assert pooler.admin_result(f"SET max_memory = '{grown - 2 * MB}'").error is None
    eventually(lambda: not is_short(pooler), "it was given back")
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"


# Descriptors

def limited(pooler, n):
    pooler.under = ["prlimit", f"--nofile={n}:{n}"]
    return pooler.start()


def test_logins_that_do_not_end_leave_descriptors_to_servers(flooded):
    pooler = limited(flooded(databases={"app": {}, "other": {"dbname": "app"}}, start=False), 256)
    with pooler.wire() as w, Sockets(pooler) as sockets:
        for _ in range(400):
            sockets.connect()
        with pooler.wire("other") as other:
            assert other.value("SELECT 1") == w.value("SELECT 1") == "1"
    assert "accept() failed" not in pooler.log()


def test_clients_that_descriptors_are_short_for_are_refused(flooded):
    pooler = limited(flooded(databases={"app": {}, "other": {"dbname": "app"}}, max_client_conn=1000, start=False), 256)
    with contextlib.ExitStack() as stack:
        clients = []
        with pytest.raises(AssertionError, match="no more connections allowed .open files"):
            while True:
                clients.append(stack.enter_context(pooler.wire()))
        assert 150 < len(clients) < 256
        # The console is within reach of the machine itself.
        with Wire(pooler.unix_socket).login("admin", "pgbouncer") as console:
            assert console.query("SHOW VERSION").error is None
        clients[0].close()
        eventually(lambda: pooler.attempt(database="other").error is None, "there is room for another")
        assert clients[-1].value("SELECT 1") == "1"
    assert "accept() failed" not in pooler.log()
