"""A CancelRequest reaches the right server, and never another client's query."""

import contextlib
import os
import random
import select
import socket
import threading
import time

import pytest
from harness.system import eventually
from harness.wire import CANCEL_REQUEST, FakeServer, execute, extended, packet, parse, query, sync


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


# A client that waits for a server

@contextlib.contextmanager
def waiting(make_pooler, request, **settings):
    """A pooler whose only server is busy, and a client that has sent a request and waits."""
    pooler = make_pooler(default_pool_size=1, **settings)
    with pooler.wire() as other, pooler.wire() as w:
        other.query("BEGIN")
        w.send_raw(request)
        pooler.wait_pool(cl_waiting=1)
        yield pooler, other, w


@pytest.mark.parametrize("request_", [query("SELECT 'served'"), query("BEGIN"), extended("SELECT 'served'") + sync(),
                                      parse("SELECT 1", "named") + sync(), query("SELECT '" + "x" * 20000 + "'")],
                         ids=["simple", "begin", "extended", "parse", "large"])
def test_a_waiting_query_is_cancelled_and_its_client_goes_on(make_pooler, request_):
    with waiting(make_pooler, request_) as (pooler, other, w):
        w.cancel()
        result = w.result()
        assert result.types == "EZ" and result.status == "I"
        assert (result.error["S"], result.error["C"]) == ("ERROR", "57014")
        assert result.error["M"] == "canceling statement due to user request"
        pooler.wait_pool(cl_waiting=0)
        other.query("COMMIT")
        assert w.value("SELECT 'next'") == "next"


def test_of_several_waiting_queries_the_first_is_cancelled(make_pooler):
    requests = query("SELECT 1") + extended("SELECT 2") + sync() + query("SELECT 3")
    with waiting(make_pooler, requests) as (pooler, other, w):
        w.cancel()
        assert w.result().types == "EZ"
        w.cancel()
        assert w.result().types == "EZ"
        pooler.wait_pool(cl_waiting=1)
        other.query("COMMIT")
        assert w.result().value == "3"


@pytest.mark.parametrize("request_", [extended("SELECT 'served'"), parse("SELECT 1") + execute() + query("SELECT 1"),
                                      query("SELECT '" + "x" * 500000 + "'")], ids=["no sync", "mixed", "huge"])
def test_what_a_waiting_client_has_not_finished_is_not_cancelled(make_pooler, request_):
    """Where an error would have to be answered without knowing what it ends, the request is ignored."""
    with waiting(make_pooler, request_) as (pooler, other, w):
        w.cancel()
        assert pooler.pool()["cl_waiting"] == "1"
        assert not select.select([w.sock], [], [], 0)[0]
        other.query("COMMIT")
        w.send_raw(sync())
        assert w.result().messages


def test_a_query_that_was_cancelled_while_it_waited_never_runs(make_pooler, pg):
    pg.psql("CREATE TABLE IF NOT EXISTS never (x int); TRUNCATE never; GRANT ALL ON never TO app")
    with waiting(make_pooler, query("INSERT INTO never VALUES (1)")) as (pooler, other, w):
        w.cancel()
        assert w.result().error["C"] == "57014"
        other.query("COMMIT")
        assert w.value("SELECT count(*) FROM never") == "0"


def test_a_waiting_client_cancels_nobody(make_pooler, pg):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as w, pooler.wire() as other:
        w.value("SELECT 1")
        other.send_raw(query("SELECT pg_sleep(1.5)"))
        eventually(lambda: running(pg) == 1, "the query runs")
        w.send_raw(query("SELECT 'served'"))
        pooler.wait_pool(cl_waiting=1)
        for _ in range(10):
            w.cancel()
        assert other.result().error is None


def test_the_queue_goes_on_without_whom_was_cancelled(make_pooler):
    with waiting(make_pooler, query("SELECT 'first'")) as (pooler, other, w):
        with pooler.wire() as third:
            third.send_raw(query("SELECT 'third'"))
            pooler.wait_pool(cl_waiting=2)
            w.cancel()
            assert w.result().error["C"] == "57014"
            w.send("X")
            other.query("COMMIT")
            assert third.result().value == "third"


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


# Requests wait for each other

def ask_to_cancel(pooler, w):
    """A request whose end is not waited for."""
    other = pooler.raw()
    other.send_raw(packet("", CANCEL_REQUEST.to_bytes(4, "big") + w.key))
    return other


def is_open(other):
    return not select.select([other.sock], [], [], 0)[0]


def without_end(requests):
    """A server that answers each query when told so, and keeps requests to cancel open."""
    def script(peer):
        startup = peer.read_startup()
        if "cancel" in startup:
            peer.key = startup["cancel"]
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
            peer.ready("T" if body.startswith(b"wait in") else "I")
    return FakeServer(script)


@contextlib.contextmanager
def busy(make_pooler, n, **settings):
    """n clients with a query each that runs until told otherwise, as (pooler, requests, [(client, server)])."""
    requests = []
    with without_end(requests) as server, contextlib.ExitStack() as stack:
        pooler = make_pooler(databases={"app": server.entry}, default_pool_size=n, **settings)
        pairs = []
        for _ in range(n):
            w = stack.enter_context(pooler.wire())
            w.send_raw(query("wait"))
            known = [backend for _, backend in pairs]
            [backend] = eventually(lambda: [p for p in running_on(server) if p not in known], "the query runs")
            pairs.append((w, backend))
        yield pooler, requests, pairs
        for _, backend in pairs:
            backend.go_on.set()


def running_on(server):
    return [peer for peer in server.peers if hasattr(peer, "go_on") and not peer.go_on.is_set()]


def let_end(peer):
    peer.sock.shutdown(socket.SHUT_RDWR)


def test_so_many_requests_are_under_way_to_a_host_at_a_time(make_pooler):
    with busy(make_pooler, 5, host_connect_parallel=2) as (pooler, requests, pairs):
        asking = [ask_to_cancel(pooler, w) for w, _ in pairs]
        pooler.wait_pool(cl_active_cancel_req=2, cl_waiting_cancel_req=3, sv_active_cancel=2)
        eventually(lambda: len(requests) == 2, "the server is asked twice")
        for i in range(5):
            eventually(lambda: len(requests) > i, "the next request comes")
            assert len(requests) <= i + 2
            let_end(requests[i])
        assert all(other.drain() == [] for other in asking)
        pooler.wait_pool(cl_active_cancel_req=0, cl_waiting_cancel_req=0, sv_active_cancel=0)


def test_a_request_whose_query_is_over_before_its_turn_is_never_sent(make_pooler):
    with busy(make_pooler, 2, host_connect_parallel=1) as (pooler, requests, [(a, _), (b, server_of_b)]):
        first = ask_to_cancel(pooler, a)
        eventually(lambda: requests, "the server is asked")
        second = ask_to_cancel(pooler, b)
        pooler.wait_pool(cl_waiting_cancel_req=1)
        server_of_b.go_on.set()
        assert b.result().tags == ["SELECT 0"]
        let_end(requests[0])
        assert first.drain() == [] and second.drain() == []
        assert b.query("SELECT 1").tags == ["SELECT 0"]
        assert len(requests) == 1


def test_requests_that_wait_for_the_same_server_are_one(make_pooler):
    with busy(make_pooler, 2, host_connect_parallel=1) as (pooler, requests, [(a, _), (b, _)]):
        first = ask_to_cancel(pooler, a)
        eventually(lambda: requests, "the server is asked")
        others = [ask_to_cancel(pooler, b) for _ in range(20)]
        pooler.wait_pool(cl_waiting_cancel_req=1)
        # One that gives up costs the others nothing.
        others.pop(7).close()
        let_end(requests[0])
        eventually(lambda: len(requests) == 2, "the second request comes")
        assert first.drain() == []
        assert all(is_open(other) for other in others)
        let_end(requests[1])
        assert all(other.drain() == [] for other in others)
        assert len(requests) == 2


def test_a_second_request_behind_one_that_was_sent_is_for_the_next_query(make_pooler):
    """In a transaction the server stays with its client. The first request may have come too early to do anything."""
    requests = []
    with without_end(requests) as server:
        pooler = make_pooler(databases={"app": server.entry})
        with pooler.wire() as w:
            w.send_raw(query("wait in a transaction"))
            [backend] = eventually(lambda: running_on(server), "the query runs")
            first = ask_to_cancel(pooler, w)
            eventually(lambda: len(requests) == 1, "the server is asked")
            backend.go_on.set()
            assert w.result().status == "T"
            w.send_raw(query("wait in the same"))
            eventually(lambda: not backend.go_on.is_set(), "the next query runs")
            second = ask_to_cancel(pooler, w)
            pooler.wait_pool(cl_waiting_cancel_req=1)
            let_end(requests[0])
            assert first.drain() == []
            eventually(lambda: len(requests) == 2, "the server is asked again")
            let_end(requests[1])
            assert second.drain() == []
            backend.go_on.set()
            assert w.result().status == "T"


def test_a_request_between_two_queries_of_a_transaction_is_not_sent(make_pooler):
    requests = []
    with without_end(requests) as server:
        pooler = make_pooler(databases={"app": server.entry})
        with pooler.wire() as w:
            w.send_raw(query("wait in a transaction"))
            [backend] = eventually(lambda: running_on(server), "the query runs")
            backend.go_on.set()
            assert w.result().status == "T"
            w.cancel()
            assert requests == []
            assert w.query("SELECT 1").tags == ["SELECT 0"]


# cancel_wait_timeout

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


# The race

ROUNDS = 10000


class Asker(threading.Thread):
    """Runs short queries and asks, at random moments, that they be cancelled; waits for every second request to end."""

    def __init__(self, pooler, number, rounds, spans):
        super().__init__()
        self.pooler, self.number, self.rounds, self.spans = pooler, number, rounds, spans
        self.random = random.Random(number)
        self.cancelled, self.faults = 0, []

    def run(self):
        try:
            with self.pooler.wire(timeout=60) as w:
                for i in range(self.rounds):
                    self.round(w, i)
        except Exception as error:
            self.faults.append(repr(error))

    def round(self, w, i):
        span = self.random.choice(self.spans)
        w.send_raw(query(f"SELECT 'asker {self.number} {i}', pg_sleep({span})"))
        time.sleep(self.random.choice((0, 0, 0.0002, 0.001)))
        with ask_to_cancel(self.pooler, w) as other:
            if i % 2:
                # PostgreSQL has signalled, if ever it does, when it closes: the next query has nothing to fear.
                other.drain()
                self.check(w.result(), i)
                self.check(w.query(f"SELECT 'asker {self.number} {i}'"), i, may_be_cancelled=False)
            else:
                self.check(w.result(), i)
                # The same client's next query is all that a request may still hit.
                self.check(w.query(f"SELECT 'asker {self.number} {i}'"), i)
                other.drain()

    def check(self, result, i, may_be_cancelled=True):
        if result.error is None:
            if result.rows[0][0] != f"asker {self.number} {i}":
                self.faults.append(f"round {i}: another's answer: {result.rows}")
        elif may_be_cancelled and result.error["C"] == "57014" and result.status == "I":
            self.cancelled += 1
        else:
            self.faults.append(f"round {i}: {result.error}")


class Victim(threading.Thread):
    """Shares the servers, and asks for nothing."""

    def __init__(self, pooler, number, is_over):
        super().__init__()
        self.pooler, self.number, self.is_over = pooler, number, is_over
        self.queries, self.faults = 0, []

    def run(self):
        try:
            with self.pooler.wire(timeout=60) as w:
                while not self.is_over.is_set():
                    text = f"victim {self.number} {self.queries}"
                    result = w.query(f"SELECT '{text}'")
                    self.queries += 1
                    if result.error is not None or result.rows != [[text]]:
                        self.faults.append(f"{text}: {result.error or result.rows}")
        except Exception as error:
            self.faults.append(repr(error))


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_race_of_thousands_of_cancels_hits_nobody_elses_query(make_pooler, mode):
    """
    Eight clients ask for cancels of short queries, four others just use the same three servers. Session pooling is
    the control: nobody shares a server while it has one, so it gets fewer rounds, a server for each, and queries that
    last longer, for twelve busy servers are slow to hear of a cancel.
    """
    rounds = ROUNDS if mode == "transaction" else ROUNDS // 10
    pooler = make_pooler(pool_mode=mode, default_pool_size=3 if mode == "transaction" else 20)
    is_over = threading.Event()
    spans = (0, 0, 0.0005, 0.002) if mode == "transaction" else (0, 0.001, 0.005, 0.02)
    askers = [Asker(pooler, n, rounds // 8, spans) for n in range(8)]
    victims = [Victim(pooler, n, is_over) for n in range(4)]
    for thread in askers + victims:
        thread.start()
    for thread in askers:
        thread.join()
    is_over.set()
    for thread in victims:
        thread.join()
    assert [fault for thread in askers + victims for fault in thread.faults] == []
    assert sum(thread.cancelled for thread in askers) > rounds / 50
    assert all(thread.queries > 100 for thread in victims)
