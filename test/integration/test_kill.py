"""
One side dies in the middle of something. The next client finds a clean server, or a new one; the client of
a dead server gets an error, not a hang.
"""

import contextlib
import os
import signal
import socket
import time

import pytest

from harness.pooler import assert_error
from harness.system import eventually
from harness.wire import extended, packet, query, sync

BIG = "SELECT repeat('x', 100000) FROM generate_series(1, 5000)"


def transaction(w):
    w.query("BEGIN")
    w.query("CREATE TABLE IF NOT EXISTS killed (i int)")
    w.query("INSERT INTO killed VALUES (1)")


def failed_transaction(w):
    w.query("BEGIN")
    w.query("SELECT 1/0")


def running_query(w):
    w.send_raw(query("SELECT pg_sleep(1000)"))


def copy_in(w):
    w.query("CREATE TABLE IF NOT EXISTS copied (t text)")
    w.send_raw(query("COPY copied FROM STDIN"))
    assert w.recv().type == "G"
    w.send_raw(packet("d", b"x\n") * 1000 + packet("d", b"x" * 10000)[:500])


def copy_out(w):
    w.send_raw(query(f"COPY ({BIG}) TO STDOUT"))
    w.recv()


def large_result(w):
    w.send_raw(query(BIG))
    w.recv()


def pipeline(w):
    w.send_raw(extended("SELECT pg_sleep(1000)") + sync() + extended("SELECT 2") * 100)


def half_a_pipeline(w):
    """Parse, Bind, Execute, no Sync: the server waits for more."""
    w.send_raw(extended("SELECT 1") + packet("H"))
    w.recv_until("C")


def half_a_message(w):
    w.query("BEGIN")
    w.send_raw(query("SELECT 'and then the connection is cut'")[:20])


PLACES = [transaction, failed_transaction, running_query, copy_in, copy_out, large_result, pipeline,
          half_a_pipeline, half_a_message]


def assert_clean(pooler, n=1):
    """The pool's servers answer as fresh ones do."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(pooler.wire()) for _ in range(n)]
        for w in clients:
            result = w.query("BEGIN; SELECT txid_current_if_assigned() IS NULL, count(*) FROM pg_locks"
                             " WHERE pid = pg_backend_pid() AND locktype = 'transactionid'")
            assert result.error is None
            assert result.rows[-1] == ["t", "0"]
            assert result.status == "T"
        for w in clients:
            assert w.query("ROLLBACK").status == "I"


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("place", PLACES, ids=lambda f: f.__name__)
def test_client_dies(make_pooler, pg, place, how):
    pooler = make_pooler(default_pool_size=1)
    w = pooler.wire()
    place(w)
    [backend] = pg.backends()
    getattr(w, how)()
    assert_clean(pooler)
    eventually(lambda: backend not in pg.backends() or pg.value(
        f"SELECT state = 'idle' FROM pg_stat_activity WHERE pid = {backend}"), "the dead client's work is over")
    pooler.wait_pool(cl_active=0, sv_active=0)


def test_client_leaves_politely(make_pooler):
    """Terminate between transactions: the server is as good as new and is kept."""
    pooler = make_pooler(default_pool_size=1)
    backends = set()
    for _ in range(3):
        with pooler.wire() as w:
            backends.add(w.backend())
            w.send("X")
            w.drain()
    assert len(backends) == 1


def test_many_clients_die_at_once(make_pooler):
    pooler = make_pooler(default_pool_size=5, max_client_conn=200)
    clients = [pooler.wire() for _ in range(50)]
    for i, w in enumerate(clients):
        w.send_raw(query(BIG if i % 2 else "BEGIN"))
    for w in clients:
        w.reset()
    assert_clean(pooler, 5)
    pooler.wait_pool(cl_active=0, cl_waiting=0)


@pytest.mark.parametrize("place", PLACES, ids=lambda f: f.__name__)
def test_server_is_terminated(make_pooler, pg, place):
    """pg_terminate_backend(): the server says why before it goes."""
    pooler = make_pooler(default_pool_size=1, server_login_retry=1)
    with pooler.wire() as w:
        place(w)
        [backend] = pg.backends()
        pg.value(f"SELECT pg_terminate_backend({backend})")
        assert_told(w)
    assert_clean(pooler)


@pytest.mark.parametrize("place", PLACES, ids=lambda f: f.__name__)
def test_server_is_killed(make_pooler, pg, place):
    """kill -9: the whole PostgreSQL goes through a crash recovery."""
    pooler = make_pooler(default_pool_size=1, server_login_retry=1)
    with pooler.wire() as w:
        place(w)
        [backend] = pg.backends()
        os.kill(backend, signal.SIGKILL)
        assert_told(w)
    pg.wait_ready()
    eventually(lambda: works(pooler), "the pooler has a server again", every=0.3)
    assert_clean(pooler)


def assert_told(w):
    """An error and the end. A message that is cut off in its middle leaves no place for an error."""
    messages = w.drain()
    assert w.is_inside or messages[-1].type == "E", [m.type for m in messages[-5:]]


def works(pooler):
    with pooler.raw() as w:
        try:
            return w.try_login("app", "app") is None and w.query("SELECT 1").error is None
        except Exception:
            return False


def test_server_dies_before_it_says_anything(make_pooler, pg):
    """The error's SQLSTATE is one that applications take for a lost connection."""
    pooler = make_pooler(default_pool_size=1, server_login_retry=1)
    with pooler.wire() as w:
        w.send_raw(query("SELECT pg_sleep(1000)"))
        eventually(lambda: pg.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"),
                   "the query runs")
        os.kill(pg.backends()[0], signal.SIGKILL)
        error = w.result().error
        assert_error(error, "server conn crashed?", "08006")
    pg.wait_ready()


def test_an_idle_server_dies_and_nobody_notices(make_pooler, pg):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as w:
        for _ in range(3):
            backend = w.backend()
            pg.value(f"SELECT pg_terminate_backend({backend})")
            eventually(lambda: backend not in pg.backends(), "the server is gone")
            time.sleep(0.1)
            assert w.backend() != backend


def test_postgresql_restarts_under_idle_clients(make_pooler, pg):
    pooler = make_pooler(server_login_retry=1)
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"
        pg.restart()
        assert w.value("SELECT 2") == "2"


def test_the_client_closes_its_half(pooler):
    """As `psql -c | nc` would: the answer is not owed any more, the pooler does not spin."""
    with pooler.wire() as w:
        w.sock.shutdown(socket.SHUT_WR)
        w.drain()
    cpu = pooler.cpu()
    time.sleep(0.5)
    assert pooler.cpu() - cpu < 0.3
