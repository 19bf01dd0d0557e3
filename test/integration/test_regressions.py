"""
Defects that were once found by hand or by random load, one test each: what went wrong is in the name.
"""

import contextlib
import socket
import struct
import threading
import time

from harness.pooler import assert_error
from harness.system import eventually, rss
from harness.wire import FakeServer, Result, cstring, packet, query


def take_query(peer):
    """The next simple query; everything else that asks for an answer gets a plain one."""
    while True:
        kind, body = peer.recv()
        if kind == "Q":
            return body[:-1].decode()
        if kind == "S":
            peer.ready()
        assert kind != "X"


def answer(peer, status="I"):
    peer.send("C", cstring("SELECT 0"))
    peer.ready(status)


def test_database_removed_while_clients_wait_for_its_servers(make_pooler):
    pooler = make_pooler(databases={"app": {}, "other": {"dbname": "app"}}, default_pool_size=2)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(pooler.wire()) for _ in range(6)]
        # Whichever they are sent away in, the order leaves some waiting while the busy ones go.
        busy, waiting = clients[2:4], clients[:2] + clients[4:]
        for w in busy:
            w.query("BEGIN")
        for w in waiting:
            w.send_raw(query("SELECT 1"))
        pooler.wait_pool(cl_waiting=4)
        entry = pooler.databases.pop("app")
        assert pooler.reload().error is None
        for w in clients:
            assert_error(w.result().error, "database removed", "57P01")
    pooler.databases["app"] = entry
    assert pooler.reload().error is None
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"


def test_database_with_forced_user_and_min_pool_size_removed(make_pooler):
    pooler = make_pooler(databases={"app": {"user": "app", "min_pool_size": 2}, "other": {"dbname": "app"}})
    pooler.wait_pool(sv_idle=2)
    pooler.databases.pop("app")
    assert pooler.reload().error is None
    with pooler.wire("other") as w:
        assert w.value("SELECT 1") == "1"


def test_client_that_leaves_in_the_middle_of_a_query_has_not_sent_its_end(pooler, pg):
    """The pooler's own Terminate would become the rest of the query, which then runs."""
    pg.rows("DROP TABLE IF EXISTS cut; CREATE TABLE cut (i int)", "app")
    pg.rows("GRANT ALL ON cut TO PUBLIC", "app")
    with pooler.wire() as w:
        w.query("SELECT 1")
        w.send_raw(query("INSERT INTO cut VALUES (1) --a")[:-2])
        pooler.wait_pool(cl_active=1)
    pooler.wait_pool(cl_active=0)
    eventually(lambda: not pg.backends(), "the server connection is gone")
    assert pg.value("SELECT count(*) FROM cut", "app") == 0


def test_refused_parameter_takes_back_those_before_it(make_pooler):
    """The server rolls all of a failed switch back; a client that wants what was tried must not be told it is there."""
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as w:
        w.query("SELECT 1")
    with pooler.wire(DateStyle="SQL, DMY", TimeZone="Nowhere/At All") as w:
        assert w.query("SELECT 1").error["C"] == "22023"
    with pooler.wire(DateStyle="SQL, DMY") as w:
        assert w.value("SHOW DateStyle") == "SQL, DMY"
    with pooler.wire() as w:
        assert w.value("SHOW DateStyle") == "ISO, MDY"


def test_server_under_reset_when_its_host_changes_goes_to_nobody(make_pooler, pg):
    resetting, go_on = threading.Event(), threading.Event()

    def script(peer):
        if "cancel" in peer.read_startup():
            return
        peer.welcome()
        while True:
            sql = take_query(peer)
            if sql == "RESET ALL":
                resetting.set()
                go_on.wait(30)
            answer(peer)

    with FakeServer(script) as fake:
        pooler = make_pooler(databases={"app": fake.entry}, pool_mode="session", server_reset_query="RESET ALL",
                             default_pool_size=1)
        with pooler.wire() as w:
            w.query("SELECT 1")
        assert resetting.wait(30)
        with pooler.wire() as w:
            w.send_raw(query("SELECT 'from the new host'"))
            pooler.wait_pool(cl_waiting=1)
            pooler.databases["app"] = {"host": "127.0.0.1", "port": pg.port}
            assert pooler.reload().error is None
            go_on.set()
            assert w.result().rows == [["from the new host"]]


def test_login_after_a_change_of_host_does_not_wait_for_old_sessions_to_end(make_pooler, pg):
    pooler = make_pooler(pool_mode="session", client_login_timeout=10)
    with pooler.wire() as old:
        old.query("SELECT 1")
        pooler.databases["app"] = {"host": "localhost", "port": pg.port}
        assert pooler.reload().error is None
        with pooler.wire() as new:
            assert new.value("SELECT 2") == "2"
        assert old.value("SELECT 3") == "3"


def test_server_goes_back_when_what_waited_for_it_has_been_sent(make_pooler):
    """ReadyForQuery came while COPY data was still on its way to the server, and the client says no more."""
    go_on = threading.Event()

    def script(peer):
        if "cancel" in peer.read_startup():
            return
        peer.welcome()
        if take_query(peer).startswith("COPY"):
            peer.send("G", struct.pack("!bH", 0, 0))
            go_on.wait(30)
            peer.error("22P04", "enough")
            peer.ready()
            time.sleep(0.5)
        peer.serve()

    def waiting_bytes(pooler):
        return int([row for row in pooler.admin("SHOW MEM") if row["name"] == "iobuf_cache"][0]["used"])

    with FakeServer(script) as fake:
        pooler = make_pooler(databases={"app": fake.entry}, default_pool_size=1)
        with pooler.wire() as w, pooler.wire() as other:
            w.send_raw(query("COPY t FROM STDIN"))
            assert w.recv().type == "G"
            # Until the server's socket is full and the last piece is held by the pooler, all of it.
            for _ in range(2000):
                w.send("d", b"x" * 20000)
                if waiting_bytes(pooler) > 0:
                    break
            assert waiting_bytes(pooler) > 0
            go_on.set()
            assert w.result().error["C"] == "22P04"
            assert other.query("SELECT 1").tags == ["SELECT 0"]


def test_retry_at_once_does_not_stop_the_pooler(make_pooler):
    """With no pause between attempts, a connect() that fails on the spot was tried for ever."""
    pooler = make_pooler(databases={"app": {"host": "/nonexistent", "user": "app", "min_pool_size": 1}},
                         server_login_retry=0)
    assert pooler.admin("SHOW VERSION")
    with pooler.raw() as w:
        assert_error(w.try_login("app", "app"), "server login has been failing", "57P03")


def test_console_client_that_does_not_read_is_not_read_from(pooler):
    with pooler.wire("pgbouncer", "admin") as w:
        before = rss(pooler.pid)
        w.sock.settimeout(2)
        with contextlib.suppress(socket.timeout):
            for _ in range(300):
                w.send_raw(query("SHOW CONFIG") * 100)
        assert pooler.admin("SHOW VERSION")
        assert rss(pooler.pid) - before < 30 * 1024 * 1024
        w.sock.settimeout(30)
        # What it has sent is answered once it reads.
        assert Result(w.recv_until("Z")).rows
        assert Result(w.recv_until("Z")).rows


def test_shutdown_while_a_client_ends_what_is_left_of_a_copy(make_pooler):
    """The client is closed in the middle of its own bytes, of which some are left over."""
    def script(peer):
        if "cancel" in peer.read_startup():
            return
        peer.welcome()
        if take_query(peer).startswith("COPY"):
            peer.send("G", struct.pack("!bH", 0, 0))
            peer.recv()
            peer.error("22P04", "enough")
            peer.ready()
        peer.serve()

    with FakeServer(script) as fake:
        pooler = make_pooler(databases={"app": fake.entry})
        with pooler.wire() as w:
            w.send_raw(query("COPY t FROM STDIN"))
            assert w.recv().type == "G"
            w.send("d", b"x\n")
            w.send_raw(packet("d", b"x" * 100)[:50])
            assert w.result().error["C"] == "22P04"
            with pooler.wire("pgbouncer", "admin") as admin:
                assert admin.query("SHUTDOWN WAIT_FOR_SERVERS").error is None
                w.send_raw(packet("d", b"x" * 100)[50:] + b"d\0\0")
                assert_error(w.result().error, "server shutting down", "57P01")
        assert pooler.wait_exit() == 0


def test_idle_server_that_says_goodbye_goes_to_nobody(make_pooler):
    """Between its last words and the end of its connection a client would be given a dead server."""
    said = threading.Event()

    def script(peer):
        if "cancel" in peer.read_startup():
            return
        peer.welcome()
        if not said.is_set():
            answer_to = take_query(peer)
            answer(peer)
            assert answer_to == "SELECT 1"
            peer.error("57P01", "terminating connection due to administrator command", "FATAL")
            said.set()
            time.sleep(3)
            return
        peer.serve()

    with FakeServer(script) as fake:
        pooler = make_pooler(databases={"app": fake.entry}, default_pool_size=1)
        with pooler.wire() as w:
            assert w.query("SELECT 1").error is None
            assert said.wait(30)
            time.sleep(0.5)
            assert w.query("SELECT 2").error is None


def test_server_that_freezes_while_it_takes_over_parameters(make_pooler):
    def script(peer):
        if "cancel" in peer.read_startup():
            return
        peer.welcome()
        peer.recv()
        time.sleep(60)

    with FakeServer(script) as fake:
        pooler = make_pooler(databases={"app": fake.entry}, server_connect_timeout=2)
        with pooler.wire(timeout=10, TimeZone="Asia/Tokyo") as w:
            assert_error(w.query("SELECT 1").error, "server conn crashed?", "08006")


def test_cached_error_is_not_that_of_another_host(make_pooler, pg):
    pooler = make_pooler(databases={"app": {"host": "/nonexistent"}}, server_login_retry=100)
    with pooler.raw() as w:
        assert_error(w.try_login("app", "app"), "server login has been failing", "57P03")
    pooler.databases["app"] = {"host": "127.0.0.1", "port": pg.port}
    assert pooler.reload().error is None
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"


def test_client_that_makes_its_servers_close_keeps_nobody_from_another(make_pooler):
    """PostgreSQL ends a connection on which a query interrupts a COPY; that says nothing of the next connection."""
    pooler = make_pooler(default_pool_size=1, server_login_retry=1000)
    for _ in range(12):
        with pooler.wire() as w:
            w.send_raw(query("CREATE TEMP TABLE t (t text); COPY t FROM STDIN") + query("SELECT 1"))
            w.drain()
        with pooler.wire() as w:
            assert w.value("SELECT 'served'") == "served"
