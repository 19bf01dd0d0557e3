"""A CancelRequest reaches the right server, and never another client's query."""

import contextlib
import os
import select
import socket
import threading
import time

from harness.system import eventually
from harness.wire import CANCEL_REQUEST, FakeServer, packet, query


def running(pg, text="pg_sleep"):
    return pg.value(f"SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND usename = 'app'"
                    f" AND query LIKE '%{text}%'")


def test_cancel_a_running_query(pooler, pg):
    with pooler.wire() as w:
        w.send_raw(query("SELECT pg_sleep(1000)"))
        eventually(lambda: running(pg) == 1, "the query runs")
        w.cancel()
        result = w.result()
        assert result.error["C"] == "57014"
        assert result.error["M"] == "canceling statement due to user request"
        assert w.value("SELECT 1") == "1"


def test_cancel_through_libpq(pooler, pg):
    with pooler.connect() as c:
        threading.Timer(0.5, c.cancel).start()
        try:
            c.execute("SELECT pg_sleep(1000)")
            raise AssertionError("not cancelled")
        except Exception as error:
            assert error.sqlstate == "57014"
        assert c.execute("SELECT 1").fetchone() == (1,)


def test_cancel_inside_a_transaction(pooler, pg):
    with pooler.wire() as w:
        w.query("BEGIN")
        w.send_raw(query("SELECT pg_sleep(1000)"))
        eventually(lambda: running(pg) == 1, "the query runs")
        w.cancel()
        assert w.result().status == "E"
        assert w.query("ROLLBACK").status == "I"


def test_cancel_with_a_full_pool(make_pooler, pg):
    """The request needs a connection of its own, and gets it though all servers are busy."""
    pooler = make_pooler(default_pool_size=2)
    with pooler.wire() as a, pooler.wire() as b:
        for w in (a, b):
            w.send_raw(query("SELECT pg_sleep(1000)"))
        eventually(lambda: running(pg) == 2, "the queries run")
        a.cancel()
        assert a.result().error["C"] == "57014"
        assert running(pg) == 1
        b.cancel()
        assert b.result().error["C"] == "57014"


def test_an_idle_client_cancels_nobody(make_pooler, pg):
    """The server that ran its last query now runs somebody else's."""
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as idle, pooler.wire() as other:
        assert idle.value("SELECT 1") == "1"
        other.send_raw(query("SELECT pg_sleep(1)"))
        eventually(lambda: running(pg) == 1, "the query runs")
        for _ in range(20):
            idle.cancel()
        assert other.result().error is None


def test_a_waiting_client_cancels_nobody(make_pooler, pg):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as waiting, pooler.wire() as other:
        waiting.value("SELECT 1")
        other.send_raw(query("SELECT pg_sleep(1.5)"))
        eventually(lambda: running(pg) == 1, "the query runs")
        waiting.send_raw(query("SELECT 'served'"))
        pooler.wait_pool(cl_waiting=1)
        waiting.cancel()
        assert other.result().error is None
        # Whether the waiting query was given up or not: its client gets an answer.
        result = waiting.result()
        assert result.messages and (result.error or result.value == "served")


def test_a_wrong_key_cancels_nobody(pooler, pg):
    with pooler.wire() as w:
        w.send_raw(query("SELECT pg_sleep(1)"))
        eventually(lambda: running(pg) == 1, "the query runs")
        for key in (b"\0" * 8, b"\xff" * 8, os.urandom(8), bytes([w.key[0] ^ 1]) + w.key[1:],
                    w.key[:-1] + bytes([w.key[-1] ^ 128])):
            with pooler.raw() as other:
                other.send_raw(packet("", CANCEL_REQUEST.to_bytes(4, "big") + key))
                assert other.drain() == []
        assert w.result().error is None


def test_cancel_requests_of_odd_lengths(pooler):
    for key in (b"", b"\0" * 4, b"\0" * 9, b"\0" * 1000):
        with pooler.raw() as w:
            w.send_raw(packet("", CANCEL_REQUEST.to_bytes(4, "big") + key))
            w.drain()
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"


def test_cancels_race_with_the_end_of_queries(make_pooler):
    """Late cancels must hit neither the next query of the same client nor anybody else's."""
    pooler = make_pooler(default_pool_size=1)
    stop = threading.Event()
    with pooler.wire() as hasty, pooler.wire() as victim:
        errors = []

        def work():
            while not stop.is_set():
                errors.extend(victim.query("SELECT 1").errors)

        worker = threading.Thread(target=work)
        worker.start()
        for i in range(100):
            hasty.send_raw(query(f"SELECT pg_sleep({0.001 * (i % 3)})"))
            hasty.cancel()
            hasty.result()
        stop.set()
        worker.join()
        assert errors == []


def test_a_storm_of_cancels_does_not_starve_queries(make_pooler, pg):
    pooler = make_pooler(default_pool_size=2, max_client_conn=500)
    with pooler.wire() as long, pooler.wire() as w, contextlib.ExitStack() as stack:
        long.send_raw(query("SELECT pg_sleep(1000)"))
        eventually(lambda: running(pg) == 1, "the query runs")
        for _ in range(100):
            other = stack.enter_context(pooler.raw())
            other.send_raw(packet("", CANCEL_REQUEST.to_bytes(4, "big") + long.key))
        for i in range(20):
            assert w.value(f"SELECT {i}") == str(i)
        assert long.result().error["C"] == "57014"
        time.sleep(0.2)
        assert long.value("SELECT 1") == "1"


def test_keys_differ(pooler):
    with contextlib.ExitStack() as stack:
        keys = {stack.enter_context(pooler.wire()).key for _ in range(20)}
    assert len(keys) == 20


# cancel_wait_timeout

def ask_to_cancel(pooler, w):
    """A request whose end is not waited for."""
    other = pooler.raw()
    other.send_raw(packet("", CANCEL_REQUEST.to_bytes(4, "big") + w.key))
    return other


def without_end(requests):
    """A server that answers each query when told so, and keeps requests to cancel open."""
    def script(peer):
        startup = peer.read_startup()
        if "cancel" in startup:
            requests.append(peer)
            peer.recv()
        peer.welcome()
        while True:
            kind, body = peer.recv()
            if kind != "Q":
                return
            if body.startswith(b"wait"):
                peer.go_on = threading.Event()
                peer.go_on.wait(60)
            peer.send("C", b"SELECT 0\0")
            peer.ready()
    return FakeServer(script)


def test_cancel_wait_timeout_gives_up(make_pooler):
    """The server has the request, so it may still hit: nobody else gets that connection."""
    requests = []
    with without_end(requests) as server:
        pooler = make_pooler(databases={"app": server.entry}, cancel_wait_timeout=1, default_pool_size=1)
        with pooler.wire() as w, pooler.wire() as next_one:
            w.send_raw(query("wait"))
            pooler.wait_pool(sv_active=1)
            [first] = [peer for peer in server.peers]
            other = ask_to_cancel(pooler, w)
            eventually(lambda: requests, "the server is asked")
            first.go_on.set()
            assert w.result().tags == ["SELECT 0"]
            next_one.send_raw(query("SELECT 1"))
            pooler.wait_pool(sv_being_canceled=1, cl_waiting=1)
            assert other.drain() == []
            pooler.wait_log("closing because: cancel_wait_timeout")
            assert next_one.result().tags == ["SELECT 0"]
            assert len(server.peers) == 3
        assert pooler.pool()["sv_being_canceled"] == "0"


def test_cancel_wait_timeout_leaves_the_query_alone(make_pooler):
    requests = []
    with without_end(requests) as server:
        pooler = make_pooler(databases={"app": server.entry}, cancel_wait_timeout=1)
        with pooler.wire() as w:
            w.send_raw(query("wait"))
            pooler.wait_pool(sv_active=1)
            assert ask_to_cancel(pooler, w).drain() == []
            # It may be asked for again.
            eventually(lambda: len(requests) == 1, "the server was asked")
            ask_to_cancel(pooler, w)
            eventually(lambda: len(requests) == 2, "the server is asked once more")
            server.peers[0].go_on.set()
            assert w.result().tags == ["SELECT 0"]


def test_cancel_wait_timeout_while_the_server_does_not_answer(make_pooler, pg):
    """The postmaster is frozen: the kernel takes the connection, nobody reads the request."""
    pooler = make_pooler(cancel_wait_timeout=1)
    with pooler.wire() as w:
        w.send_raw(query("SELECT pg_sleep(3), 'whole'"))
        eventually(lambda: running(pg) == 1, "the query runs")
        pg.freeze()
        assert ask_to_cancel(pooler, w).drain() == []
        pooler.wait_log("closing because: cancel_wait_timeout")
        assert w.result().rows == [["", "whole"]]
        pg.thaw()
        assert w.value("SELECT 1") == "1"


def test_cancel_wait_timeout_does_not_count_what_is_done(make_pooler, pg):
    pooler = make_pooler(cancel_wait_timeout=1)
    with pooler.wire() as w:
        for _ in range(3):
            w.send_raw(query("SELECT pg_sleep(1000)"))
            eventually(lambda: running(pg) == 1, "the query runs")
            w.cancel()
            assert w.result().error["C"] == "57014"
        backend = w.backend()
        time.sleep(1.5)
        assert w.backend() == backend
    assert "cancel_wait_timeout" not in pooler.log()


def test_cancel_wait_timeout_of_0_is_no_bound(make_pooler):
    requests = []
    with without_end(requests) as server:
        pooler = make_pooler(databases={"app": server.entry}, cancel_wait_timeout=0)
        with pooler.wire() as w:
            w.send_raw(query("wait"))
            pooler.wait_pool(sv_active=1)
            with ask_to_cancel(pooler, w) as other:
                eventually(lambda: requests, "the server is asked")
                assert not select.select([other.sock], [], [], 1.5)[0]
                requests[0].sock.shutdown(socket.SHUT_RDWR)
                assert other.drain() == []
            server.peers[0].go_on.set()
            assert w.result().tags == ["SELECT 0"]
