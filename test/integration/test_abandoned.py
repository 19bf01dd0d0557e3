"""
A client leaves in the middle of something: what it ran is cancelled, its transaction rolled back, and the next
client has the same server, clean. What a client that took its leave had sent before is run all the same.
"""

import contextlib
import os
import random
import signal
import struct
import threading
import time

import pytest

from harness.certs import tls
from harness.system import eventually
from harness.wire import FakeServer, bind, cstring, execute, extended, flush, packet, parse, query, sync

CLOSED = "client disconnect while server was not ready"
ROLLED_BACK = "client gone in a transaction: rolled back"
SLEEP = "SELECT pg_sleep(1000)"
TERMINATE = packet("X")
ENDLESS = "SELECT repeat('x', 1000), generate_series(1, 1000000000)"

# A query in a transaction that goes on for ever must not hold anybody up for longer; some ten times what it takes.
SOON = 10


def vanish(w, how="reset"):
    getattr(w, how)()


def terminate(w, before=b""):
    """As PQfinish() does it: Terminate, in the same segment as what came before, and the socket is closed."""
    w.send_raw(before + TERMINATE)
    w.close()


@pytest.fixture
def table(pg):
    """A table with one row, its own name's; rows() is what is committed."""
    pg.rows("DROP TABLE IF EXISTS t; CREATE TABLE t (i int); INSERT INTO t VALUES (0); ALTER TABLE t OWNER TO app",
            "app")
    yield lambda: sorted(row[0] for row in pg.rows("SELECT i FROM t", "app"))
    pg.clear()
    pg.rows("DROP TABLE t", "app")


def state_of(pg, backend):
    rows = pg.rows(f"SELECT state FROM pg_stat_activity WHERE pid = {backend}")
    return rows[0][0] if rows else None


def wait_running(pg, text="pg_sleep", n=1):
    eventually(lambda: pg.value("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND usename = 'app'"
                                f" AND query LIKE '%{text}%'") == n, f"{text} runs")


def wait_settled(pooler):
    pooler.wait_pool(cl_active=0, cl_waiting=0, sv_active=0, sv_tested=0, sv_being_canceled=0, sv_active_cancel=0)


def assert_clean(pooler, backend, timeout=SOON):
    """The next client gets this server, soon, and finds no transaction open."""
    with pooler.wire(timeout=timeout) as w:
        result = w.query("SELECT pg_backend_pid(), txid_current_if_assigned() IS NULL, now() = statement_timestamp()")
        assert result.error is None
        assert result.status == "I"
        assert result.rows == [[str(backend), "t", "t"]]
        w.send("X")
        w.drain()


def begin(w):
    """In a transaction that has changed something and holds locks of all kinds; the server's process id."""
    backend = w.backend()
    for sql in ("BEGIN", "INSERT INTO t VALUES (1)", "SELECT * FROM t WHERE i = 0 FOR UPDATE",
                "SELECT pg_advisory_xact_lock(4711)", "LOCK TABLE t IN SHARE ROW EXCLUSIVE MODE"):
        assert w.query(sql).error is None
    return backend


def assert_rolled_back(pg, table):
    """Nothing committed, and the locks can be had at once."""
    assert table() == [0]
    with pg.connect("app", autocommit=True) as c, c.transaction():
        c.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE NOWAIT")
        c.execute("SELECT * FROM t WHERE i = 0 FOR UPDATE NOWAIT")
        assert c.execute("SELECT pg_try_advisory_xact_lock(4711)").fetchone() == (True,)


# In a transaction

@pytest.mark.parametrize("how", ["reset", "close"])
def test_idle_in_a_transaction(make_pooler, pg, table, how):
    pooler = make_pooler(default_pool_size=1)
    w = pooler.wire()
    backend = begin(w)
    vanish(w, how)
    assert_clean(pooler, backend)
    assert_rolled_back(pg, table)
    assert ROLLED_BACK in pooler.log()
    assert CLOSED not in pooler.log()


def test_in_a_failed_transaction(make_pooler, pg, table):
    pooler = make_pooler(default_pool_size=1)
    w = pooler.wire()
    backend = begin(w)
    assert w.query("SELECT 1/0").status == "E"
    vanish(w)
    assert_clean(pooler, backend)
    assert_rolled_back(pg, table)


@pytest.mark.parametrize("run", [query(SLEEP), extended(SLEEP) + sync()], ids=["simple", "extended"])
def test_with_a_query_running_in_a_transaction(make_pooler, pg, table, run):
    pooler = make_pooler(default_pool_size=1)
    w = pooler.wire()
    backend = begin(w)
    w.send_raw(run)
    wait_running(pg)
    vanish(w)
    assert_clean(pooler, backend)
    assert_rolled_back(pg, table)


def test_with_a_query_running_outside_a_transaction(make_pooler, pg):
    pooler = make_pooler(default_pool_size=1)
    w = pooler.wire()
    backend = w.backend()
    w.send_raw(query(SLEEP))
    wait_running(pg)
    vanish(w)
    assert_clean(pooler, backend)
    assert ROLLED_BACK not in pooler.log()


def test_it_takes_less_than_a_second(make_pooler, pg, table):
    """The median of some: this machine has other things to do."""
    pooler = make_pooler(default_pool_size=1)
    times = []
    with pooler.wire() as other:
        backend = other.backend()
        for _ in range(9):
            w = pooler.wire()
            assert begin(w) == backend
            w.send_raw(query(SLEEP))
            wait_running(pg)
            other.send_raw(query("SELECT pg_backend_pid()"))
            pooler.wait_pool(cl_waiting=1)
            began = time.monotonic()
            vanish(w)
            assert other.result().value == str(backend)
            times.append(time.monotonic() - began)
    assert sorted(times)[4] < 1


def test_gone_before_the_server_has_read_the_query(make_pooler, table):
    """A cancel request that comes too early hits nothing: there is another one."""
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as w:
        backend = w.backend()
    for i in range(30):
        w = pooler.wire()
        w.send_raw((query("BEGIN; INSERT INTO t VALUES (2)") if i % 2 else b"") + query(SLEEP))
        vanish(w, "reset" if i % 3 else "close")
    assert_clean(pooler, backend)
    assert table() == [0]


def test_a_pipeline(make_pooler, pg, table):
    """Each of its queries has to be cancelled by itself."""
    pooler = make_pooler(default_pool_size=1)
    w = pooler.wire()
    backend = begin(w)
    w.send_raw(query("ROLLBACK") + (extended(SLEEP) + sync()) * 3 + query("BEGIN") + query(SLEEP) * 3)
    wait_running(pg)
    vanish(w)
    assert_clean(pooler, backend)
    assert_rolled_back(pg, table)


@pytest.mark.parametrize("before", [b"", query("BEGIN")], ids=["alone", "in_a_transaction"])
def test_without_a_sync_nothing_is_committed(make_pooler, pg, table, before):
    """The Sync that never came would have committed it: PostgreSQL is left alone with the broken connection."""
    pooler = make_pooler(default_pool_size=1)
    w = pooler.wire()
    backend = w.backend()
    w.send_raw(before + extended("INSERT INTO t VALUES (3)") + flush())
    w.recv_until("C")
    vanish(w)
    with pooler.wire() as v:
        assert v.backend() != backend
    eventually(lambda: backend not in pg.backends(), "the server is gone")
    assert_rolled_back(pg, table)
    assert CLOSED in pooler.log()


def test_what_runs_without_a_sync_is_cancelled(make_pooler, pg, table):
    """By a request, not by the server's looking after its connection, which it does not by itself."""
    pg.rows("ALTER SYSTEM SET client_connection_check_interval = 0")
    pg.rows("SELECT pg_reload_conf()")
    try:
        pooler = make_pooler(default_pool_size=1)
        w = pooler.wire()
        backend = begin(w)
        w.send_raw(extended(SLEEP) + flush())
        wait_running(pg)
        vanish(w)
        eventually(lambda: backend not in pg.backends(), "the server is gone", SOON)
        assert_rolled_back(pg, table)
    finally:
        pg.rows("ALTER SYSTEM RESET client_connection_check_interval")
        pg.rows("SELECT pg_reload_conf()")


def test_a_large_result_that_nobody_reads(make_pooler, pg, table):
    pooler = make_pooler(default_pool_size=1)
    for sql in (ENDLESS, f"COPY ({ENDLESS}) TO STDOUT"):
        w = pooler.wire()
        backend = begin(w)
        w.send_raw(query(sql))
        w.recv()
        time.sleep(0.2)  # until all buffers on the way are full
        vanish(w)
        assert_clean(pooler, backend)
    assert_rolled_back(pg, table)


def test_a_client_that_waits_is_served(make_pooler, pg):
    """By the server that was left behind; there is no other."""
    pooler = make_pooler(default_pool_size=1)
    w = pooler.wire()
    backend = w.backend()
    w.send_raw(query(f"BEGIN; {SLEEP}"))
    wait_running(pg)
    with pooler.wire(timeout=SOON) as waiting:
        waiting.send_raw(query("SELECT pg_backend_pid()"))
        pooler.wait_pool(cl_waiting=1)
        vanish(w)
        assert waiting.result().value == str(backend)


def test_no_second_server_for_it(make_pooler, pg, table):
    """Clients one after the other, all of whom vanish, have one server between them, though there might be more."""
    pooler = make_pooler(default_pool_size=10)
    for _ in range(20):
        w = pooler.wire()
        backend = begin(w)
        vanish(w)
        assert_clean(pooler, backend)
    assert pg.backends() == [backend]


@pytest.mark.parametrize("leave", ["vanish", "close"])
def test_through_psycopg(make_pooler, pg, table, leave):
    pooler = make_pooler(default_pool_size=1)
    c = pooler.connect(autocommit=False)
    backend = c.execute("SELECT pg_backend_pid()").fetchone()[0]
    c.execute("INSERT INTO t VALUES (1)")
    if leave == "vanish":
        with open(os.devnull) as null:
            os.dup2(null.fileno(), c.fileno())
    c.close()
    assert_clean(pooler, backend)
    assert_rolled_back(pg, table)


# COPY FROM STDIN

@pytest.mark.parametrize("how", ["reset", "close", "terminate"])
@pytest.mark.parametrize("before", ["SELECT 1", "BEGIN; INSERT INTO t VALUES (1)"], ids=["alone", "in_a_transaction"])
def test_copy_in(make_pooler, pg, table, before, how):
    pooler = make_pooler(default_pool_size=1)
    w = pooler.wire()
    backend = w.backend()
    w.query(before)
    w.send_raw(query("COPY t FROM STDIN"))
    assert w.recv().type == "G"
    w.send_raw(packet("d", b"7\n") * 1000)
    terminate(w) if how == "terminate" else vanish(w, how)
    assert_clean(pooler, backend)
    assert_rolled_back(pg, table)


@pytest.mark.parametrize("leave", [vanish, terminate])
def test_copy_in_that_had_only_been_asked_for(make_pooler, pg, table, leave):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as w:
        backend = w.backend()
    for _ in range(10):
        w = pooler.wire()
        w.send_raw(query("COPY t FROM STDIN"))
        leave(w)
    assert_clean(pooler, backend)
    assert_rolled_back(pg, table)


def test_copy_in_of_a_server_that_does_not_read(make_pooler, pg, table):
    """The end of the data waits behind the data: only a cancel request gets through."""
    pg.rows("CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_sleep(1000); RETURN NEW; END';"
            "CREATE TRIGGER wait BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION wait()", "app")
    try:
        pooler = make_pooler(default_pool_size=1)
        w = pooler.wire()
        backend = w.backend()
        w.send_raw(query("COPY t FROM STDIN"))
        assert w.recv().type == "G"
        w.send_raw(packet("d", b"7\n") * 100)
        eventually(lambda: pg.value(f"SELECT wait_event FROM pg_stat_activity WHERE pid = {backend}") == "PgSleep",
                   "the trigger waits")
        vanish(w)
        assert_clean(pooler, backend)
        assert_rolled_back(pg, table)
    finally:
        pg.rows("DROP FUNCTION wait() CASCADE", "app")


def test_copy_in_through_the_extended_protocol(make_pooler, pg, table):
    """Whether its Sync counts nobody can tell: the server goes."""
    pooler = make_pooler(default_pool_size=1)
    w = pooler.wire()
    w.send_raw(extended("COPY t FROM STDIN") + sync())
    w.recv_until("G")
    w.send_raw(packet("d", b"7\n"))
    vanish(w)
    with pooler.wire(timeout=SOON) as v:
        assert v.value("SELECT 1") == "1"
    wait_settled(pooler)
    assert_rolled_back(pg, table)


@pytest.mark.parametrize("begun", [query("COPY t FROM STDIN") + packet("d", b"7\n" * 5000)[:5000],
                                   query("BEGIN") + query("INSERT INTO t VALUES (1)")[:20]], ids=["copy", "query"])
def test_half_a_message(make_pooler, pg, table, begun):
    """Nothing can be said behind it."""
    pooler = make_pooler(default_pool_size=1)
    w = pooler.wire()
    backend = w.backend()
    w.send_raw(begun)
    w.recv()
    vanish(w)
    with pooler.wire(timeout=SOON) as v:
        assert v.backend() != backend
    eventually(lambda: backend not in pg.backends(), "the server is gone")
    assert_rolled_back(pg, table)


def test_half_a_message_behind_the_answer(make_pooler, table):
    """The COPY has failed, the server is between transactions: but what it is told next is still COPY data to it."""
    pooler = make_pooler(default_pool_size=1)
    w = pooler.wire()
    backend = w.backend()
    w.send_raw(query("COPY t FROM STDIN") + packet("d", b"no number\n" * 20000) + packet("d", b"x" * 10000)[:500])
    assert w.result().status == "I"
    vanish(w)
    with pooler.wire(timeout=SOON) as v:
        assert v.backend() != backend


# Terminate

def test_terminate_behind_commit(make_pooler, table):
    pooler = make_pooler(default_pool_size=1)
    for i in range(1, 51):
        w = pooler.wire()
        w.query(f"BEGIN; INSERT INTO t VALUES ({i})")
        terminate(w, query("COMMIT"))
    wait_settled(pooler)
    assert table() == list(range(51))
    assert CLOSED not in pooler.log()


@pytest.mark.parametrize("statement", [lambda sql: query(sql), lambda sql: extended(sql) + sync()],
                         ids=["simple", "extended"])
def test_terminate_behind_a_statement(make_pooler, pg, table, statement):
    pooler = make_pooler(default_pool_size=1)
    for i in range(1, 51):
        terminate(pooler.wire(), statement(f"INSERT INTO t VALUES ({i})"))
    wait_settled(pooler)
    assert table() == list(range(51))
    assert len(pg.backends()) == 1


def test_terminate_while_the_server_takes_over_parameters(make_pooler, pg, table):
    """The statement has not been sent yet, and is all the same."""
    pooler = make_pooler(default_pool_size=1)
    for i in range(1, 51):
        terminate(pooler.wire(application_name=f"number {i}"), query(f"INSERT INTO t VALUES ({i})"))
    wait_settled(pooler)
    assert table() == list(range(51))
    assert len(pg.backends()) == 1


def test_terminate_while_waiting_for_a_server(make_pooler, pg, table):
    """What is there when its turn comes is run. Who only vanishes has wanted to know, and nothing has begun yet."""
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as busy:
        backend = begin(busy)
        for i in range(10, 15):
            terminate(pooler.wire(), query(f"INSERT INTO t VALUES ({i})"))
            w = pooler.wire()
            w.send_raw(query(f"INSERT INTO t VALUES ({i * 10})"))
            pooler.wait_pool(cl_waiting=i - 8)
            vanish(w, "close")
            pooler.wait_pool(cl_waiting=i - 9)
        before = pooler.cpu()
        time.sleep(0.5)
        assert pooler.cpu() - before < 0.3
        assert busy.query("COMMIT").error is None
    wait_settled(pooler)
    assert table() == [0, 1, 10, 11, 12, 13, 14]
    assert pg.backends() == [backend]


# A client that says more than can be looked at while it waits: it is not read from, and its end is noticed all the same

def say_more(w):
    """Until the pooler reads no more of it."""
    w.send_raw(query("SELECT 'more'") * 2)
    time.sleep(0.2)
    w.send_raw(query("SELECT 'and more'"))
    time.sleep(0.2)


@pytest.mark.parametrize("how", ["close", "reset", "TLS"])
def test_a_client_that_says_more_while_it_waits_and_hangs_up_leaves_the_queue(make_pooler, certs, how):
    pooler = make_pooler(default_pool_size=1, **certs.for_clients(mode="allow"))
    w = tls(pooler.raw(), certs.client()) if how == "TLS" else pooler.raw()
    with pooler.wire() as holder:
        holder.query("BEGIN")
        w.login("app", "app")
        w.send_raw(query("SELECT 'first'"))
        pooler.wait_pool(cl_waiting=1)
        say_more(w)
        vanish(w, "close" if how == "TLS" else how)
        pooler.wait_pool(cl_waiting=0)
        assert holder.value("SELECT 1") == "1"


def test_a_client_that_says_more_while_it_waits_and_stays_is_served(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as holder, pooler.wire() as w:
        holder.query("BEGIN")
        w.send_raw(query("SELECT 'first'"))
        pooler.wait_pool(cl_waiting=1)
        say_more(w)
        time.sleep(2.5)
        pooler.wait_pool(cl_waiting=1)
        holder.query("COMMIT")
        assert [w.result().value for _ in range(4)] == ["first", "more", "more", "and more"]


def test_terminate_behind_more_that_is_said_while_waiting(make_pooler, table):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as holder:
        holder.query("BEGIN")
        w = pooler.wire()
        w.send_raw(query("INSERT INTO t VALUES (1)"))
        pooler.wait_pool(cl_waiting=1)
        say_more(w)
        terminate(w, query("INSERT INTO t VALUES (2)"))
        time.sleep(2.5)
        pooler.wait_pool(cl_waiting=1)
        holder.query("COMMIT")
        eventually(lambda: table() == [0, 1, 2], "all of it is run")
    wait_settled(pooler)


def test_a_client_whose_next_message_waits_for_answers_and_that_hangs_up(make_pooler, pg):
    """What the name means hangs on a query that takes its time; that is cancelled."""
    pooler = make_pooler(default_pool_size=1)
    w = pooler.wire()
    w.send_raw(parse(SLEEP, "s") + bind((), "s") + execute() + sync())
    wait_running(pg)
    w.send_raw(bind((), "s") + execute() + sync())
    time.sleep(0.2)
    w.send_raw(bind((), "s") + execute() + sync())
    w.close()
    pooler.wait_pool(cl_active=0, sv_active=0)
    wait_running(pg, n=0)


def test_terminate_behind_a_statement_that_takes_its_time(make_pooler, pg, table):
    """Longer than any cancel request would have taken."""
    pooler = make_pooler(default_pool_size=1)
    w = pooler.wire()
    backend = w.backend()
    terminate(w, query("INSERT INTO t SELECT 1 FROM pg_sleep(1.5)"))
    assert_clean(pooler, backend)
    assert table() == [0, 1]


def test_terminate_behind_a_commit_that_takes_its_time(make_pooler, pg, table):
    """In the check of a constraint."""
    pg.rows("CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END';"
            "CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION wait()", "app")
    try:
        pooler = make_pooler(default_pool_size=1)
        w = pooler.wire()
        backend = w.backend()
        w.query("BEGIN; INSERT INTO t VALUES (1)")
        terminate(w, query("COMMIT"))
        assert_clean(pooler, backend)
        assert table() == [0, 1]
    finally:
        pg.rows("DROP FUNCTION wait() CASCADE", "app")


def test_terminate_behind_a_pipeline(make_pooler, pg, table):
    """All of it is run, as far as it is complete; the transaction it leaves open is rolled back."""
    pooler = make_pooler(default_pool_size=1)
    w = pooler.wire()
    backend = w.backend()
    one = [extended(sql) + sync() for sql in ("BEGIN", "INSERT INTO t VALUES (1)", "COMMIT")]
    terminate(w, b"".join(one) * 200 + query("INSERT INTO t VALUES (2)") + query("BEGIN; INSERT INTO t VALUES (3)"))
    assert_clean(pooler, backend)
    assert table() == [0] + [1] * 200 + [2]


def test_terminate_in_a_transaction(make_pooler, pg, table):
    pooler = make_pooler(default_pool_size=1)
    w = pooler.wire()
    backend = begin(w)
    terminate(w)
    assert_clean(pooler, backend)
    assert_rolled_back(pg, table)


def test_terminate_in_a_transaction_with_a_query_running(make_pooler, pg, table):
    """The query is run to its end, the transaction is not committed."""
    pg.rows("CREATE SEQUENCE ended; GRANT ALL ON ended TO app", "app")
    try:
        pooler = make_pooler(default_pool_size=1)
        w = pooler.wire()
        backend = begin(w)
        terminate(w, query("SELECT nextval('ended') FROM pg_sleep(0.5)"))
        assert_clean(pooler, backend)
        assert_rolled_back(pg, table)
        assert pg.value("SELECT is_called FROM ended", "app")
    finally:
        pg.rows("DROP SEQUENCE ended", "app")


def test_a_query_left_to_run_keeps_nobody_from_another_server(make_pooler, pg):
    """It is not on its way to those who wait: who knows how long it takes."""
    pooler = make_pooler(default_pool_size=2)
    terminate(pooler.wire(), query(SLEEP))
    wait_running(pg)
    with pooler.wire(timeout=SOON) as w:
        assert w.value("SELECT 1") == "1"
    row = pooler.pool()
    assert row["sv_active"] == "1" and row["cl_active"] == "0"
    wait_running(pg)


@pytest.mark.parametrize("setting", ["query_timeout", "transaction_timeout"])
def test_a_query_left_to_run_has_its_clients_timeouts(make_pooler, pg, table, setting):
    pooler = make_pooler(default_pool_size=1, **{setting: 1})
    w = pooler.wire()
    backend = w.backend()
    terminate(w, query(f"BEGIN; INSERT INTO t VALUES (1); {SLEEP}"))
    wait_running(pg)
    eventually(lambda: backend not in pg.backends(), "the server is gone")
    assert_rolled_back(pg, table)
    with pooler.wire(timeout=SOON) as v:
        assert v.value("SELECT 1") == "1"


def test_each_query_left_to_run_has_the_query_timeout_to_itself(make_pooler, table):
    pooler = make_pooler(default_pool_size=1, query_timeout=2)
    w = pooler.wire()
    backend = w.backend()
    terminate(w, query("INSERT INTO t SELECT 1 FROM pg_sleep(1.2)") * 3)
    assert_clean(pooler, backend)
    assert table() == [0, 1, 1, 1]


@pytest.mark.parametrize("sql", [ENDLESS, f"COPY ({ENDLESS}) TO STDOUT"], ids=["rows", "copy"])
def test_terminate_in_a_result_without_an_end(make_pooler, pg, table, sql):
    """PostgreSQL, whose client has closed its socket, does not go on for ever either."""
    pooler = make_pooler(default_pool_size=1)
    w = pooler.wire()
    backend = begin(w)
    w.send_raw(query(sql))
    w.recv()
    terminate(w)
    assert_clean(pooler, backend)
    assert_rolled_back(pg, table)


# Session pooling

@pytest.mark.parametrize("leave", [vanish, terminate])
def test_a_session_is_rolled_back_and_reset(make_pooler, pg, table, leave):
    pooler = make_pooler(pool_mode="session", default_pool_size=1)
    w = pooler.wire()
    w.query("CREATE TEMP TABLE mine (i int); SET work_mem = '77MB'; SELECT pg_advisory_lock(42)")
    backend = begin(w)
    leave(w)
    assert_clean(pooler, backend)
    assert_rolled_back(pg, table)
    assert pg.value("SELECT pg_try_advisory_lock(42)", "app")
    with pooler.wire() as v:
        assert v.backend() == backend
        assert v.query("SELECT * FROM mine").error["C"] == "42P01"
        assert v.value("SHOW work_mem") != "77MB"


def test_a_session_with_a_query_running(make_pooler, pg, table):
    pooler = make_pooler(pool_mode="session", default_pool_size=1)
    w = pooler.wire()
    w.query("SET work_mem = '77MB'")
    backend = begin(w)
    w.send_raw(query(SLEEP))
    wait_running(pg)
    vanish(w)
    assert_clean(pooler, backend)
    assert_rolled_back(pg, table)


# server_abandoned

def test_server_abandoned_close(make_pooler, pg, table):
    pooler = make_pooler(default_pool_size=1, server_abandoned="close")
    for run in (b"", query(SLEEP)):
        w = pooler.wire()
        backend = begin(w)
        w.send_raw(run)
        vanish(w)
        with pooler.wire(timeout=SOON) as v:
            assert v.backend() != backend
    assert CLOSED in pooler.log()
    assert ROLLED_BACK not in pooler.log()
    eventually(lambda: len(pg.backends()) == 1, "the others are gone")
    assert_rolled_back(pg, table)


def test_server_abandoned_is_changed_by_a_reload(make_pooler, table):
    pooler = make_pooler(default_pool_size=1)
    assert pooler.config("server_abandoned") == "rollback"
    pooler.reload(server_abandoned="close")
    w = pooler.wire()
    backend = begin(w)
    pooler.reload(server_abandoned="rollback")
    vanish(w)
    assert_clean(pooler, backend)


# Parameters

def test_parameters_go_back_to_what_they_were(make_pooler, table):
    """The server reports what its ROLLBACK has changed."""
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire(application_name="before") as w:
        backend = w.backend()
    w = pooler.wire(application_name="before")
    w.query("BEGIN")
    assert w.query("SET application_name = 'inside'").parameters == {"application_name": "inside"}
    w.query("SET DateStyle = 'German'")
    vanish(w)
    for name in ("before", "inside"):
        with pooler.wire(application_name=name) as v:
            assert v.backend() == backend
            assert v.value("SHOW application_name") == name
            assert v.value("SHOW DateStyle").startswith("ISO")


# Statistics

def test_statistics(make_pooler, pg, table):
    pooler = make_pooler(default_pool_size=1)

    def totals():
        [row] = [row for row in pooler.admin("SHOW STATS_TOTALS") if row["database"] == "app"]
        return int(row["query_count"]), int(row["xact_count"]), int(row["query_time"])

    w = pooler.wire()
    w.query("BEGIN")
    w.query("SELECT 1")
    vanish(w)
    wait_settled(pooler)
    assert totals()[:2] == (2, 1)
    w = pooler.wire()
    w.send_raw(query(SLEEP))
    wait_running(pg)
    vanish(w)
    wait_settled(pooler)
    assert totals()[:2] == (3, 2)
    terminate(pooler.wire(), query("SELECT 1") * 3)
    wait_settled(pooler)
    assert totals()[:2] == (6, 5)
    before = totals()[2]
    time.sleep(1)
    with pooler.wire() as w:
        w.query("SELECT 1")
    assert totals()[2] - before < 900_000


# Shutdown

def test_shutdown_waits_for_a_query_left_to_run(make_pooler, table):
    pooler = make_pooler(default_pool_size=1)
    terminate(pooler.wire(), query("INSERT INTO t SELECT 1 FROM pg_sleep(1)"))
    pooler.wait_pool(cl_active=0, sv_active=1)
    pooler.signal(signal.SIGINT)
    assert pooler.wait_exit() == 0
    assert table() == [0, 1]


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_clients_vanish_in_a_shutdown(make_pooler, pg, table, mode):
    pooler = make_pooler(default_pool_size=2, pool_mode=mode)
    w, v = pooler.wire(), pooler.wire()
    begin(w)
    v.send_raw(query(SLEEP))
    wait_running(pg)
    pooler.signal(signal.SIGINT)
    pooler.wait_log("SIGINT")
    vanish(w)
    time.sleep(0.2)
    assert pooler.alive()
    vanish(v)
    assert pooler.wait_exit() == 0
    assert_rolled_back(pg, table)


def test_the_end_of_the_pooler_ends_transactions(make_pooler, pg, table):
    """PostgreSQL does that when the connections go."""
    pooler = make_pooler(default_pool_size=2)
    with pooler.wire() as w, pooler.wire() as v:
        begin(w)
        v.send_raw(query(SLEEP))
        wait_running(pg)
        pooler.signal(signal.SIGQUIT)
        assert pooler.wait_exit() == 0
    eventually(lambda: not pg.backends(), "the servers are gone")
    assert_rolled_back(pg, table)


def test_the_end_of_the_pooler_asks_servers_for_nothing(make_pooler):
    with Scripted(lambda peer, sql: ordinary(sql)) as server:
        pooler = server.pooler(make_pooler)
        with pooler.wire() as w:
            w.query("BEGIN")
            pooler.signal(signal.SIGQUIT)
            assert pooler.wait_exit() == 0
        eventually(lambda: server.hung_up == 1, "the server's connection is closed")
        assert server.seen == ["BEGIN"]


# Servers that do not play along

class Scripted:
    """
    A fake server that notes what it gets, cancel requests too. answer(peer, sql) answers simple queries when it
    returns a status; `cancel` is called with a cancel request's connection.
    """

    def __init__(self, answer, cancel=lambda peer: None):
        self.answer, self.cancel = answer, cancel
        self.seen = []
        self.logins = self.hung_up = 0
        self.server = FakeServer(self.script)

    def __enter__(self):
        self.server.__enter__()
        return self

    def __exit__(self, *error):
        self.server.__exit__(*error)
        assert self.server.failures == []

    def script(self, peer):
        if "cancel" in peer.read_startup():
            self.seen.append("cancel")
            self.cancel(peer)
            return
        self.logins += 1
        peer.welcome()
        try:
            self.play(peer)
        finally:
            self.hung_up += 1

    def play(self, peer):
        while True:
            kind, body = peer.recv()
            if kind == "X":
                return
            if kind == "Q":
                sql = body[:-1].decode()
                self.seen.append(sql)
                status = self.answer(peer, sql)
                if status is not None:
                    peer.send("C", cstring("SELECT 0"))
                    peer.ready(status)

    def pooler(self, make_pooler, **settings):
        settings = {"default_pool_size": 1, "server_connect_timeout": 1, "server_check_query": "", **settings}
        return make_pooler(databases={"app": self.server.entry}, **settings)


def ordinary(sql):
    return "T" if sql == "BEGIN" else "I"


def assert_goes_on(pooler, server):
    """The server that failed is closed, and another one serves."""
    with pooler.wire(timeout=30) as w:
        assert w.query("SELECT 'next'").tags == ["SELECT 0"]
    assert server.logins == 2
    wait_settled(pooler)


def test_what_a_server_is_told(make_pooler):
    with Scripted(lambda peer, sql: ordinary(sql)) as server:
        pooler = server.pooler(make_pooler)
        w = pooler.wire()
        w.query("BEGIN")
        vanish(w)
        with pooler.wire() as v:
            v.query("SELECT 1")
        assert server.seen == ["BEGIN", "ROLLBACK", "SELECT 1"]
        assert server.logins == 1


def test_what_a_sessions_server_is_told(make_pooler):
    with Scripted(lambda peer, sql: ordinary(sql)) as server:
        pooler = server.pooler(make_pooler, pool_mode="session")
        for sql in ("BEGIN", "SELECT 1"):
            w = pooler.wire()
            w.query(sql)
            vanish(w)
            wait_settled(pooler)
        assert server.seen == ["BEGIN", "ROLLBACK", "DISCARD ALL", "SELECT 1", "DISCARD ALL"]


def test_a_server_that_never_answers_the_rollback(make_pooler):
    with Scripted(lambda peer, sql: None if sql == "ROLLBACK" else ordinary(sql)) as server:
        pooler = server.pooler(make_pooler)
        w = pooler.wire()
        w.query("BEGIN")
        vanish(w)
        assert_goes_on(pooler, server)


@pytest.mark.parametrize("timeout", [0, 1])
def test_a_server_that_cannot_be_cancelled(make_pooler, timeout):
    """It is asked more than once. There is a bound even when there is none for connecting."""
    with Scripted(lambda peer, sql: None if sql == "SELECT hang" else ordinary(sql)) as server:
        pooler = server.pooler(make_pooler, server_connect_timeout=timeout)
        w = pooler.wire()
        w.query("BEGIN")
        w.send_raw(query("SELECT hang"))
        eventually(lambda: "SELECT hang" in server.seen, "the query has come")
        vanish(w)
        assert_goes_on(pooler, server)
        assert server.seen[2:4] == ["cancel", "cancel"]
        assert "ROLLBACK" not in server.seen


def test_a_query_that_cannot_be_cancelled_keeps_nobody_from_another_server(make_pooler):
    with Scripted(lambda peer, sql: None if sql == "SELECT hang" else ordinary(sql)) as server:
        pooler = server.pooler(make_pooler, server_connect_timeout=60, default_pool_size=2)
        w = pooler.wire()
        w.send_raw(query("SELECT hang"))
        eventually(lambda: "SELECT hang" in server.seen, "the query has come")
        vanish(w)
        with pooler.wire(timeout=30) as v:
            assert v.query("SELECT 1").tags == ["SELECT 0"]
        assert server.logins == 2


@pytest.mark.parametrize("status", ["T", "E"])
def test_a_rollback_that_ends_no_transaction(make_pooler, status):
    with Scripted(lambda peer, sql: status if sql == "ROLLBACK" else ordinary(sql)) as server:
        pooler = server.pooler(make_pooler)
        w = pooler.wire()
        w.query("BEGIN")
        vanish(w)
        assert_goes_on(pooler, server)
        assert "closing because: rollback failed" in pooler.log()


def test_a_rollback_that_fails(make_pooler):
    def answer(peer, sql):
        if sql != "ROLLBACK":
            return ordinary(sql)
        peer.error(message="not so")
        peer.ready()
        return None

    with Scripted(answer) as server:
        pooler = server.pooler(make_pooler)
        w = pooler.wire()
        w.query("BEGIN")
        vanish(w)
        assert_goes_on(pooler, server)
        assert "WARNING" in pooler.log() and "not so" in pooler.log()


@pytest.mark.parametrize("garbage", [packet("R", struct.pack("!I", 0)), packet("Z", b"I") * 2, b"?" * 8,
                                     packet("S", b"no NUL")],
                         ids=["type", "ready", "bytes", "parameter"])
def test_a_server_that_makes_no_sense(make_pooler, garbage):
    def answer(peer, sql):
        if sql == "SELECT hang":
            peer.send("T", struct.pack("!H", 0))
            gone.wait(30)
            peer.send_raw(garbage)
            return None
        return ordinary(sql)

    gone = threading.Event()
    with Scripted(answer) as server:
        pooler = server.pooler(make_pooler)
        w = pooler.wire()
        w.send_raw(query("SELECT hang"))
        w.recv()
        vanish(w)
        pooler.wait_log("client unexpected eof")
        gone.set()
        assert_goes_on(pooler, server)


def test_a_server_that_dies_meanwhile(make_pooler):
    def answer(peer, sql):
        if sql == "ROLLBACK":
            peer.error("57P01", "terminating connection due to administrator command", "FATAL")
            peer.close()
            return None
        return ordinary(sql)

    with Scripted(answer) as server:
        pooler = server.pooler(make_pooler, server_login_retry=1)
        w = pooler.wire()
        w.query("BEGIN")
        vanish(w)
        pooler.wait_log("server conn crashed?")
        assert_goes_on(pooler, server)


def test_what_it_says_meanwhile_is_for_nobody(make_pooler):
    """Notices and notifications; but a parameter's new value counts, half a message or not."""
    def answer(peer, sql):
        if sql != "SELECT hang":
            return ordinary(sql)
        notice = packet("N", b"SNOTICE\0CXXXXX\0M" + b"for the one who has gone" * 1000 + b"\0\0")
        peer.send("T", struct.pack("!H", 0))
        peer.send_raw(notice[:1000])
        gone.wait(30)
        peer.send_raw(notice[1000:])
        peer.send("A", struct.pack("!I", 1) + cstring("channel") + cstring("payload"))
        peer.send("S", cstring("TimeZone") + cstring("Asia/Tokyo"))
        peer.error("57014")
        peer.ready("E")
        return None

    gone = threading.Event()
    with Scripted(answer) as server:
        pooler = server.pooler(make_pooler)
        w = pooler.wire()
        w.query("BEGIN")
        w.send_raw(query("SELECT hang"))
        w.recv()
        vanish(w)
        pooler.wait_log("client unexpected eof")
        gone.set()
        # One that has what it reported needs no switch: the fake server would answer none.
        with pooler.wire(timezone="Asia/Tokyo") as v:
            assert v.query("SELECT 1").types == "CZ"
        assert server.logins == 1
        assert [sql for sql in server.seen if sql != "cancel"] == ["BEGIN", "SELECT hang", "ROLLBACK", "SELECT 1"]


def test_a_copy_is_ended_and_not_cancelled(make_pooler):
    def answer(peer, sql):
        if sql != "COPY":
            return ordinary(sql)
        peer.send("G", struct.pack("!BH", 0, 0))
        while peer.recv().type != "f":
            pass
        server.seen.append("f")
        peer.error("57014", "COPY from stdin failed")
        peer.ready()
        return None

    with Scripted(answer) as server:
        pooler = server.pooler(make_pooler)
        w = pooler.wire()
        w.send_raw(query("COPY"))
        assert w.recv().type == "G"
        w.send_raw(packet("d", b"x") * 100)
        vanish(w)
        with pooler.wire() as v:
            v.query("SELECT 1")
        assert server.seen == ["COPY", "f", "SELECT 1"]


# Cancel requests

def held(release):
    """What a fake server does with a cancel request: it answers by closing, in its own time."""
    return lambda peer: release.wait(60)


@contextlib.contextmanager
def too_late(release):
    """A server that answers "SELECT late" when it has been asked to cancel it, which goes on until released."""
    def answer(peer, sql):
        if sql == "SELECT late":
            eventually(lambda: "cancel" in server.seen, "the request has come")
            return "T" if "BEGIN" in server.seen else "I"
        return ordinary(sql)

    with Scripted(answer, held(release)) as server:
        yield server


@contextlib.contextmanager
def asked_too_late(pooler, server, w):
    """The client has asked for a cancel, and has its answer all the same."""
    w.send_raw(query("SELECT late"))
    eventually(lambda: "SELECT late" in server.seen, "the query runs")
    with pooler.raw() as other:
        other.send_raw(packet("", struct.pack("!I", 80877102) + w.key))
        assert w.result().tags == ["SELECT 0"]
        yield


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_no_rollback_while_a_cancel_request_is_under_way(make_pooler, mode):
    """The client has sent one, has its answer and vanishes: the signal would hit the ROLLBACK."""
    release = threading.Event()
    with too_late(release) as server:
        pooler = server.pooler(make_pooler, pool_mode=mode, server_connect_timeout=60)
        w = pooler.wire()
        w.query("BEGIN")
        with asked_too_late(pooler, server, w):
            vanish(w)
            pooler.wait_log("client unexpected eof")
            with pooler.wire() as v:
                v.send_raw(query("SELECT 1"))
                time.sleep(0.5)
                assert server.seen == ["BEGIN", "SELECT late", "cancel"]
                release.set()
                assert v.result().error is None
                reset = ["DISCARD ALL"] if mode == "session" else []
                assert server.seen == ["BEGIN", "SELECT late", "cancel", "ROLLBACK", *reset, "SELECT 1"]
        assert server.logins == 1


def test_no_reset_query_while_a_cancel_request_is_under_way(make_pooler):
    release = threading.Event()
    with too_late(release) as server:
        pooler = server.pooler(make_pooler, pool_mode="session", server_connect_timeout=60)
        w = pooler.wire()
        with asked_too_late(pooler, server, w):
            terminate(w)
            pooler.wait_pool(sv_being_canceled=1)
            assert server.seen == ["SELECT late", "cancel"]
            release.set()
            wait_settled(pooler)
        assert server.seen == ["SELECT late", "cancel", "DISCARD ALL"]
        assert server.logins == 1


def test_a_cancel_request_that_is_never_answered(make_pooler):
    """It may still be carried out when the server goes on, in whatever runs there by then: nobody gets it any more."""
    release = threading.Event()
    with too_late(release) as server:
        pooler = server.pooler(make_pooler, server_connect_timeout=60)
        w = pooler.wire()
        w.query("BEGIN")
        with asked_too_late(pooler, server, w):
            vanish(w)
            assert_goes_on(pooler, server)
        release.set()


def test_real_cancel_requests_and_vanishing(make_pooler, pg):
    """Ctrl-C and the end of the terminal: the signal hits nobody else."""
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as victim:
        backend = victim.backend()
        for i in range(50):
            w = pooler.wire()
            w.send_raw(query("BEGIN; SELECT pg_sleep(0.01)" if i % 2 else SLEEP))
            time.sleep(0.002 * (i % 3))
            with pooler.raw() as other:
                other.send_raw(packet("", struct.pack("!I", 80877102) + w.key))
                vanish(w, "reset" if i % 3 else "close")
                for _ in range(3):
                    assert victim.query("SELECT pg_backend_pid()").value == str(backend)
    wait_settled(pooler)


# Frozen servers

def test_a_frozen_backend(make_pooler, pg, table):
    pooler = make_pooler(default_pool_size=1, server_connect_timeout=1)
    w = pooler.wire()
    backend = begin(w)
    os.kill(backend, signal.SIGSTOP)
    try:
        vanish(w)
        with pooler.wire(timeout=30) as v:
            assert v.backend() != backend
    finally:
        os.kill(backend, signal.SIGCONT)
    eventually(lambda: backend not in pg.backends(), "the server is gone")
    assert_rolled_back(pg, table)


def test_a_frozen_postmaster(make_pooler, pg):
    """It carries out no cancel request, and lets nobody in; when it goes on, the pool does."""
    pooler = make_pooler(default_pool_size=1, server_connect_timeout=1, server_login_retry=1)
    w = pooler.wire()
    w.send_raw(query(SLEEP))
    wait_running(pg)
    pg.freeze()
    try:
        vanish(w)
        pooler.wait_log("not clean in time")
    finally:
        pg.thaw()
    with pooler.wire() as v:
        assert v.value("SELECT 1") == "1"
    wait_settled(pooler)


# Many

def vanish_somehow(pooler, dice):
    """One client that leaves something behind."""
    w = pooler.wire()
    w.send_raw(query("BEGIN; INSERT INTO t VALUES (666); SET LOCAL application_name = 'abandoned'"))
    what = dice.randrange(8)
    if what != 0:
        w.result()
    if what == 1:
        w.query("SELECT 1/0")
    elif what == 2:
        w.send_raw(query(SLEEP))
    elif what == 3:
        w.send_raw(extended("INSERT INTO t VALUES (667)") + (sync() if dice.random() < 0.5 else flush()))
    elif what == 4:
        w.send_raw(query("COPY t FROM STDIN") + packet("d", b"668\n") * dice.randrange(100))
    elif what == 5:
        w.send_raw(query(ENDLESS))
    elif what == 6:
        w.send_raw(query("SELECT pg_sleep(0.01)") + query("INSERT INTO t VALUES (669)")[:dice.randrange(1, 20)])
    time.sleep(dice.random() / 100)
    if dice.random() < 0.2 and what in (1, 4, 5, 7):
        terminate(w)
    else:
        vanish(w, dice.choice(["reset", "close"]))


def test_two_hundred_clients_vanish_among_others(make_pooler, pg, table):
    """The others never find themselves in a transaction of somebody else's, nor cancelled."""
    pooler = make_pooler(default_pool_size=5, max_client_conn=300)
    seed = random.randrange(1 << 32)
    wrong, stop = [], threading.Event()

    def work(i):
        with pooler.wire() as w:
            while not stop.is_set():
                result = w.query("SELECT now() = statement_timestamp(), txid_current_if_assigned() IS NULL,"
                                 " current_setting('application_name') <> 'abandoned',"
                                 " NOT EXISTS (SELECT FROM t WHERE i >= 666)")
                if result.error or result.rows != [["t"] * 4] or result.status != "I":
                    wrong.append((seed, i, result.error, result.rows, result.status))
                done[i] += w.query(f"BEGIN; INSERT INTO t VALUES ({i + 1}); COMMIT").error is None

    def leave(dice):
        for _ in range(50):
            vanish_somehow(pooler, dice)

    done = [0] * 4
    workers = [threading.Thread(target=work, args=[i]) for i in range(4)]
    leavers = [threading.Thread(target=leave, args=[random.Random(seed + i)]) for i in range(4)]
    most = 0
    for thread in workers + leavers:
        thread.start()
    while any(thread.is_alive() for thread in leavers):
        most = max(most, sum(int(n) for k, n in (pooler.pool() or {}).items()
                             if k in ("sv_active", "sv_idle", "sv_used", "sv_tested", "sv_login", "sv_being_canceled")))
        time.sleep(0.05)
    stop.set()
    for thread in workers:
        thread.join(60)
        assert not thread.is_alive()
    assert wrong == []
    assert min(done) > 0
    assert most <= 5
    wait_settled(pooler)
    assert table() == sorted([0] + [i + 1 for i in range(4) for _ in range(done[i])])
    eventually(lambda: all(state_of(pg, backend) == "idle" for backend in pg.backends()), "nothing runs any more")
    eventually(lambda: len(pg.backends()) <= 5, "the closed ones are gone")
