"""
Timeouts: that each ends what it is to end, says so, counts it and cleans up behind it; that it leaves alone
what it is not about; whose value holds; what a reload does to what runs already.
"""

import contextlib
import os
import signal
import socket
import struct
import time

import pytest

from harness.pooler import assert_error, in_transaction, open_servers
from harness.system import eventually
from harness.wire import (Closed, FakeServer, Wire, bind, cstring, error_fields, execute, extended, flush, packet,
                          parse, query, sync)

SPAN = 0.3  # of those that are to fire: "300ms" in the configuration
LONG = 1.5  # of those that are not, with something happening every
STEP = 0.3  # seconds, for longer in all than LONG
STEPS = 8

SLEEPS = "SELECT pg_sleep(1000)"
PATIENT = {"connect_query": "SET client_connection_check_interval = 0"}  # notices a lost client only between queries


def closes(pooler):
    """How many clients were closed, by reason; those without any are left out."""
    rows = pooler.admin("SHOW CLOSE_REASONS")
    return {row["reason"]: int(row["clients"]) for row in rows if row["clients"] != "0"}


def is_left_alone(w, seconds=3 * SPAN):
    """Nothing comes for a while; the connection is good for more afterwards."""
    return are_left_alone([w], seconds)


def are_left_alone(clients, seconds=3 * SPAN):
    end = time.monotonic() + seconds
    return all([gets_nothing(w, end) for w in clients])


def gets_nothing(w, end):
    w.sock.settimeout(max(end - time.monotonic(), 0.01))
    try:
        w.recv()
        return False
    except socket.timeout:
        return True
    except Closed:
        return False
    finally:
        w.sock.settimeout(w.timeout)


def busily(act):
    """Does it again and again, for longer than LONG."""
    for _ in range(STEPS):
        act()
        time.sleep(STEP)


def sleepers(pg):
    return pg.value("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'")


# What a user's clients may take their time for

def runs_a_query(w):
    w.send_raw(query(SLEEPS))


def idles(w):
    w.value("SELECT 1")


def keeps_a_transaction_open(w):
    w.query("BEGIN")


# What is bounded; what the client is told: text and SQLSTATE; how it is counted
OF_A_USER = {
    "query_timeout": (runs_a_query, "query_timeout", "57014", "QUERY_TIMEOUT"),
    "client_idle_timeout": (idles, "client_idle_timeout", "57P05", "CLIENT_IDLE_TIMEOUT"),
    "idle_transaction_timeout": (keeps_a_transaction_open, "idle transaction timeout", "25P03",
                                 "IDLE_TRANSACTION_TIMEOUT"),
    "transaction_timeout": (keeps_a_transaction_open, "transaction timeout", "25P04", "TRANSACTION_TIMEOUT"),
}


def begin(setting, *clients):
    for w in clients:
        OF_A_USER[setting][0](w)


def assert_fired(setting, w, span=SPAN):
    """The client has been told what and why, and is closed."""
    _, text, sqlstate, _ = OF_A_USER[setting]
    error = w.result().error
    assert_error(error, text, sqlstate)
    assert (error["S"], error["D"]) == ("FATAL", f"{setting} is {span:g}s.")
    assert w.is_closed()


@pytest.fixture(params=OF_A_USER)
def setting(request):
    return request.param


def test_of_a_user_fires(make_pooler, pg, setting):
    pooler = make_pooler(default_pool_size=1, **{setting: "300ms"})
    with pooler.wire() as w:
        began = time.monotonic()
        begin(setting, w)
        assert_fired(setting, w)
        assert time.monotonic() - began > 0.9 * SPAN
    reason = OF_A_USER[setting][3]
    assert closes(pooler)[reason] == 1
    assert f"closing because: {OF_A_USER[setting][1]} (age=" in pooler.log()
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"
    eventually(lambda: not sleepers(pg), "no query is left behind")
    assert len(pg.backends()) == 1


@pytest.mark.parametrize("setting", [name for name in OF_A_USER if name != "client_idle_timeout"])
def test_of_a_user_closes_the_server_and_nothing_of_the_transaction_stays(make_pooler, pg, setting):
    pooler = make_pooler(users={"app": {setting: "300ms"}})
    pg.rows("DROP TABLE IF EXISTS left_behind; CREATE TABLE left_behind (i int); "
            "GRANT ALL ON left_behind TO app, other", "app")
    with pooler.wire() as w, pooler.wire(user="other") as other:
        w.query("BEGIN")
        backend = w.backend()
        w.query("INSERT INTO left_behind VALUES (1); LOCK TABLE left_behind")
        if setting == "query_timeout":
            runs_a_query(w)
        assert_fired(setting, w)
        assert other.value("SELECT count(*) FROM left_behind") == "0"
        assert other.backend() != backend
    eventually(lambda: backend not in pg.backends(), "the server's process ends")
    assert pooler.log().count(f"closing because: {OF_A_USER[setting][1]} (age=") == 2


def test_client_idle_timeout_leaves_the_server_to_others(make_pooler):
    pooler = make_pooler(default_pool_size=1, client_idle_timeout="300ms")
    with pooler.wire() as w:
        backend = w.backend()
        assert_fired("client_idle_timeout", w)
    with pooler.wire() as w:
        assert w.backend() == backend


def test_of_a_user_is_off_by_default_and_at_0(make_pooler, setting):
    for settings in ({}, {setting: 0}):
        pooler = make_pooler(**settings)
        with pooler.wire() as w:
            begin(setting, w)
            assert is_left_alone(w)


@pytest.mark.parametrize("own, everybodys, fires", [
    ("300ms", 0, True), ("300ms", 100, True), (0, "300ms", False), (100, "300ms", False), (-1, "300ms", True),
    (-1, 0, False)])
def test_of_a_user_goes_before_the_global_one(make_pooler, setting, own, everybodys, fires):
    """0 is no bound at all, a negative value none of one's own."""
    pooler = make_pooler(users={"app": {setting: own}}, **{setting: everybodys})
    with pooler.wire() as a, pooler.wire(user="other") as b:
        begin(setting, a, b)
        if fires:
            assert_fired(setting, a)
        else:
            assert is_left_alone(a)
        if everybodys == "300ms":
            assert_fired(setting, b)
        else:
            assert is_left_alone(b, 0.1)


def test_of_a_user_is_that_of_who_logged_in(make_pooler, setting):
    """Not of the user that the database has all its servers under."""
    pooler = make_pooler(databases={"app": {"user": "other"}},
                         users={"app": {setting: "300ms"}, "other": {setting: 100}})
    with pooler.wire() as w:
        begin(setting, w)
        assert_fired(setting, w)


@pytest.mark.parametrize("how", ["global", "user", "SET"])
def test_of_a_user_holds_for_what_runs_already_after_a_reload(make_pooler, setting, how):
    pooler = make_pooler()
    with pooler.wire() as w:
        begin(setting, w)
        assert is_left_alone(w, 0.1)
        before = time.monotonic()
        if how == "SET":
            pooler.admin(f"SET {setting} = '300ms'")
        elif how == "user":
            pooler.users["app"] = {setting: "300ms"}
            pooler.reload()
        else:
            pooler.reload(**{setting: "300ms"})
        assert_fired(setting, w)
        assert time.monotonic() - before > 0.9 * SPAN


def test_of_a_user_is_lifted_from_what_runs_already_by_a_reload(make_pooler, setting):
    pooler = make_pooler(**{setting: 1})
    with pooler.wire() as w:
        begin(setting, w)
        assert is_left_alone(w, 0.1)
        pooler.reload(**{setting: 0})
        assert is_left_alone(w, 1.5)


def test_of_a_user_is_not_prolonged_by_a_reload_of_something_else(make_pooler, setting):
    pooler = make_pooler(**{setting: 1})
    with pooler.wire() as w:
        begin(setting, w)
        end = time.monotonic() + 10
        w.sock.settimeout(0.1)
        with contextlib.suppress(Closed):
            while time.monotonic() < end:
                with contextlib.suppress(socket.timeout):
                    w.recv()
                pooler.reload(stats_period=60 + int(end - time.monotonic()))
        assert time.monotonic() < end


# query_timeout

def records_cancels(cancels, play):
    def script(peer):
        startup = peer.read_startup()
        if "cancel" in startup:
            cancels.append(startup["cancel"])
            return
        peer.welcome()
        play(peer)
    return script


def answers(peer, status="I"):
    peer.send("C", cstring("BEGIN"))
    peer.ready(status)


def never_answers(peer):
    peer.recv()
    peer.drain()


def opens_a_transaction(peer):
    peer.recv()
    answers(peer, "T")
    peer.drain()


def never_answers_the_second_one(peer):
    peer.recv()
    answers(peer, "T")
    never_answers(peer)


@pytest.mark.parametrize("setting, play, nqueries, is_cancelled", [
    ("query_timeout", never_answers, 1, True),
    ("transaction_timeout", never_answers, 1, True),
    ("transaction_timeout", never_answers_the_second_one, 2, True),
    ("transaction_timeout", opens_a_transaction, 1, False),
    ("idle_transaction_timeout", opens_a_transaction, 1, False)])
def test_a_cancel_request_follows_if_a_query_runs(make_pooler, setting, play, nqueries, is_cancelled):
    """With the server's own key, once; where nothing runs there is nothing to cancel."""
    cancels = []
    with FakeServer(records_cancels(cancels, play)) as fake:
        pooler = make_pooler(databases={"app": fake.entry}, **{setting: "300ms"})
        with pooler.wire() as w:
            for _ in range(nqueries - 1):
                w.query("BEGIN")
            w.send_raw(query("SELECT 1"))
            while w.recv().type != "E":
                pass
        if is_cancelled:
            eventually(lambda: cancels, "a cancel request")
        else:
            time.sleep(SPAN)
        assert cancels == [struct.pack("!II", 4711, 4712)] * is_cancelled
    assert not fake.failures


@pytest.mark.parametrize("setting", ["query_timeout", "transaction_timeout"])
def test_the_cancel_request_stops_the_query(make_pooler, pg, setting):
    """The server would not notice otherwise: it looks after its client between queries only."""
    pooler = make_pooler(databases={"app": PATIENT}, **{setting: "300ms"})
    before = cancelled(pg)
    with pooler.wire() as w:
        runs_a_query(w)
        eventually(lambda: sleepers(pg), "the query runs", every=0.01)
        assert_fired(setting, w)
    eventually(lambda: not sleepers(pg), "the server works on it no longer")
    assert cancelled(pg) == before + 1


def cancelled(pg):
    with open(pg.log, errors="replace") as f:
        return f.read().count("canceling statement due to user request")


def test_query_timeout_does_not_count_the_time_in_the_queue(make_pooler):
    pooler = make_pooler(default_pool_size=1, query_timeout=LONG)
    with in_transaction(pooler, 1) as [busy], pooler.wire() as waiting:
        waiting.send_raw(query("SELECT 'at last'"))
        busily(lambda: busy.query("SELECT 1"))
        busy.query("COMMIT")
        assert waiting.result().value == "at last"


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_query_timeout_does_not_count_the_time_between_queries(make_pooler, mode):
    pooler = make_pooler(pool_mode=mode, query_timeout="300ms")
    with pooler.wire() as w:
        w.value("SELECT 1")
        assert is_left_alone(w)
        w.query("BEGIN")
        assert is_left_alone(w)
        w.query("SELECT no_such_column")
        assert is_left_alone(w)
        assert w.query("COMMIT").tags == ["ROLLBACK"]


@pytest.mark.parametrize("one", [query("SELECT pg_sleep(0.3)"), extended("SELECT pg_sleep(0.3)") + sync()],
                         ids=["simple", "extended"])
def test_query_timeout_is_for_each_query_of_a_pipeline(make_pooler, one):
    pooler = make_pooler(query_timeout=LONG)
    with pooler.wire() as w:
        w.send_raw(one * STEPS)
        for _ in range(STEPS):
            assert w.result().error is None


def test_query_timeout_fires_in_the_middle_of_a_pipeline(make_pooler):
    pooler = make_pooler(query_timeout="300ms")
    with pooler.wire() as w:
        w.send_raw(query("SELECT 1") + query(SLEEPS) + query("SELECT 2"))
        assert w.result().value == "1"
        assert_fired("query_timeout", w)


def test_query_timeout_counts_until_the_sync(make_pooler):
    """All has been answered but what ends the implicit transaction: the server cannot do anything else meanwhile."""
    pooler = make_pooler(query_timeout="300ms", idle_transaction_timeout=0)
    with pooler.wire() as w:
        w.send_raw(parse("SELECT 1") + bind() + execute() + flush())
        assert [m.type for m in w.recv_until("C")] == ["1", "2", "D", "C"]
        assert_fired("query_timeout", w)


def test_query_timeout_ends_a_copy_that_stalls(make_pooler, pg):
    pooler = make_pooler(query_timeout="300ms")
    pg.rows("DROP TABLE IF EXISTS stalled; CREATE TABLE stalled (t text); GRANT ALL ON stalled TO app", "app")
    with pooler.wire() as w:
        w.send_raw(query("COPY stalled FROM STDIN"))
        assert w.recv().type == "G"
        w.send("d", b"half of it\n")
        assert_fired("query_timeout", w)
    with pooler.wire() as w:
        assert w.value("SELECT count(*) FROM stalled") == "0"


@pytest.mark.parametrize("mode, before", [("session", None), ("session", "BEGIN"), ("transaction", "BEGIN")])
def test_copy_data_behind_an_error_is_no_query(make_pooler, pg, mode, before):
    """What was on its way when the COPY failed: the server drops it without an answer, nothing runs."""
    pooler = make_pooler(pool_mode=mode, query_timeout="300ms")
    pg.rows("DROP TABLE IF EXISTS numbers; CREATE TABLE numbers (i int); GRANT ALL ON numbers TO app", "app")
    with pooler.wire() as w:
        if before is not None:
            w.query(before)
        w.send_raw(query("COPY numbers FROM STDIN"))
        assert w.recv().type == "G"
        w.send("d", b"no number\n" + b"1\n" * 10000)
        assert w.result().error["C"] == "22P02"
        w.send_raw(packet("d", b"1\n") + packet("c"))
        assert is_left_alone(w)
        assert w.query("ROLLBACK").status == "I"


def test_idle_transaction_timeout_goes_on_through_copy_data_behind_an_error(make_pooler, pg):
    pooler = make_pooler(idle_transaction_timeout="300ms", query_timeout=100)
    pg.rows("DROP TABLE IF EXISTS numbers; CREATE TABLE numbers (i int); GRANT ALL ON numbers TO app", "app")
    with pooler.wire() as w:
        w.query("BEGIN")
        w.send_raw(query("COPY numbers FROM STDIN"))
        assert w.recv().type == "G"
        w.send("d", b"no number\n" + b"1\n" * 10000)
        assert w.result().error["C"] == "22P02"
        w.send_raw(packet("d", b"1\n") + packet("c"))
        assert_fired("idle_transaction_timeout", w)


def test_query_timeout_of_a_server_that_answers_out_of_turn(make_pooler):
    """It ends a COPY that it has only begun: the server goes back with the timeout of that query armed."""
    def play(peer):
        peer.recv()
        peer.send("G", struct.pack("!bH", 0, 0))
        peer.ready()
        peer.serve()

    with FakeServer(records_cancels([], play)) as fake:
        pooler = make_pooler(databases={"app": fake.entry}, query_timeout="300ms")
        with pooler.wire() as w:
            w.send_raw(query("COPY t FROM STDIN"))
            w.recv_until("Z")
            w.send("c")
            assert is_left_alone(w)
            assert w.query("SELECT 1").error is None


def test_query_timeout_of_a_frozen_server(make_pooler):
    pooler = make_pooler(query_timeout="300ms", default_pool_size=1)
    with pooler.wire() as w:
        backend = w.backend()
        os.kill(backend, signal.SIGSTOP)
        try:
            w.send_raw(query("SELECT 1"))
            assert_fired("query_timeout", w)
            with pooler.wire() as other:
                assert other.backend() != backend
        finally:
            os.kill(backend, signal.SIGCONT)


def test_query_timeout_in_the_middle_of_a_row_says_nothing(make_pooler):
    """An error would be taken for the rest of the row."""
    half = packet("D", struct.pack("!HI", 1, 1000) + b"x" * 1000)[:500]

    def play(peer):
        peer.recv()
        peer.send_raw(half)
        peer.drain()

    with FakeServer(records_cancels([], play)) as fake:
        pooler = make_pooler(databases={"app": fake.entry}, query_timeout="300ms")
        with pooler.wire() as w:
            w.send_raw(query("SELECT 1"))
            assert w.read(500) == half
            with pytest.raises(Closed):
                w.read(1)
        assert closes(pooler)["QUERY_TIMEOUT"] == 1


# transaction_timeout

def test_transaction_timeout_counts_from_the_first_query_whatever_happens_meanwhile(make_pooler):
    pooler = make_pooler(transaction_timeout=1, query_timeout=100, idle_transaction_timeout=100)
    with pooler.wire() as w:
        began = time.monotonic()
        w.query("BEGIN")
        while (result := w.query("SELECT pg_sleep(0.1)")).error is None:
            assert time.monotonic() - began < 10
        assert_error(result.error, "transaction timeout", "25P04")
        assert result.error["D"] == "transaction_timeout is 1s."
        assert time.monotonic() - began > 0.9


SHORT_ONES = {"single": query("SELECT pg_sleep(0.1)"), "extended": extended("SELECT 1") + sync(),
              "block": query("BEGIN") + query("SELECT 1") + query("COMMIT"),
              "failed": query("BEGIN") + query("SELECT 1/0") + query("ROLLBACK")}


@pytest.mark.parametrize("mode, kind", [*(("transaction", kind) for kind in SHORT_ONES), ("session", "block")])
def test_transaction_timeout_does_not_fire_for_many_short_ones(make_pooler, mode, kind):
    pooler = make_pooler(pool_mode=mode, transaction_timeout=LONG)
    with pooler.wire() as w:
        def one():
            w.send_raw(SHORT_ONES[kind])
            for _ in range(3 if kind in ("block", "failed") else 1):
                assert w.result().status is not None

        busily(one)


def test_transaction_timeout_is_for_each_of_a_pipeline(make_pooler):
    pooler = make_pooler(transaction_timeout=LONG)
    with pooler.wire() as w:
        w.send_raw((query("BEGIN") + query("SELECT pg_sleep(0.3)") + query("COMMIT")) * STEPS)
        for _ in range(3 * STEPS):
            assert w.result().error is None


def test_transaction_timeout_does_not_count_the_time_in_the_queue(make_pooler):
    pooler = make_pooler(default_pool_size=1, users={"other": {"transaction_timeout": LONG}},
                         databases={"app": {"user": "app"}})
    with in_transaction(pooler, 1) as [busy], pooler.wire(user="other") as waiting:
        waiting.send_raw(query("BEGIN"))
        busily(lambda: busy.query("SELECT 1"))
        busy.query("COMMIT")
        assert waiting.result().tags == ["BEGIN"]
        assert waiting.query("COMMIT").tags == ["COMMIT"]


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_transaction_timeout_does_not_count_the_time_between_transactions(make_pooler, mode):
    pooler = make_pooler(pool_mode=mode, transaction_timeout="300ms")
    with pooler.wire() as w:
        w.query("BEGIN")
        w.query("COMMIT")
        assert is_left_alone(w)
        assert w.value("SELECT 1") == "1"


# idle_transaction_timeout

def test_idle_transaction_timeout_does_not_count_a_running_query(make_pooler):
    pooler = make_pooler(idle_transaction_timeout="300ms")
    with pooler.wire() as w:
        w.query("BEGIN")
        assert w.query("SELECT pg_sleep(1)").error is None
        assert_fired("idle_transaction_timeout", w)


def test_idle_transaction_timeout_counts_from_the_last_query(make_pooler):
    pooler = make_pooler(idle_transaction_timeout=LONG)
    with pooler.wire() as w:
        w.query("BEGIN")
        busily(lambda: w.value("SELECT 1"))
        assert w.query("COMMIT").tags == ["COMMIT"]


def test_idle_transaction_timeout_counts_in_a_failed_transaction_too(make_pooler):
    pooler = make_pooler(idle_transaction_timeout="300ms")
    with pooler.wire() as w:
        w.query("BEGIN")
        assert w.query("SELECT 1/0").status == "E"
        assert_fired("idle_transaction_timeout", w)


UNFINISHED = {
    "behind its rows": (parse("SELECT 1") + bind() + execute() + flush(), "C"),
    "behind an error": (parse("SELEC") + flush(), "E"),
}


@pytest.mark.parametrize("what", UNFINISHED)
def test_idle_transaction_timeout_counts_where_a_sync_is_missing(make_pooler, pg, what):
    """All is answered, and only the client can end what it has begun."""
    pooler = make_pooler(default_pool_size=1, idle_transaction_timeout="300ms", query_timeout=100)
    said, last = UNFINISHED[what]
    with pooler.wire() as w:
        w.send_raw(said)
        w.recv_until(last)
        assert_fired("idle_transaction_timeout", w)
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"


def test_idle_transaction_timeout_counts_behind_a_copy_of_which_nobody_knows_the_end(make_pooler):
    """A Sync amid the data of a COPY that fails: it may be answered or not."""
    pooler = make_pooler(default_pool_size=1, idle_transaction_timeout="300ms", query_timeout=100)
    with pooler.wire() as w:
        w.query("CREATE TEMP TABLE unsure (n int)")
        w.send_raw(parse("COPY pg_temp.unsure FROM STDIN") + bind() + execute() + flush())
        w.recv_until("G")
        w.send_raw(packet("d", b"no number\n") + sync())
        assert w.recv_until("E")[-1].type == "E"
        assert "25P03" in [error_fields(m.body)["C"] for m in w.drain() if m.type == "E"]


def test_idle_transaction_timeout_begins_anew_with_each_message_before_the_sync(make_pooler):
    pooler = make_pooler(idle_transaction_timeout=LONG)
    with pooler.wire() as w:
        def say():
            w.send_raw(extended("SELECT 1") + flush())
            w.recv_until("C")
        busily(say)
        w.send_raw(extended("SELECT pg_sleep(2)") + flush())
        w.recv_until("C")
        w.send_raw(sync())
        assert w.recv_until("Z")[-1].body == b"I"


def test_idle_transaction_timeout_is_counted_anew_by_a_reload_where_a_sync_is_missing(make_pooler):
    pooler = make_pooler(idle_transaction_timeout=100)
    with pooler.wire() as w:
        w.send_raw(extended("SELECT 1") + flush())
        w.recv_until("C")
        pooler.reload(idle_transaction_timeout="300ms")
        assert_fired("idle_transaction_timeout", w)


def test_a_lone_flush_keeps_no_server(make_pooler):
    pooler = make_pooler(default_pool_size=1, query_wait_timeout=5)
    with pooler.wire() as w, pooler.wire() as other:
        w.send_raw(flush())
        pooler.wait_pool(sv_active=0, sv_idle=1)
        assert other.value("SELECT 1") == "1"
        assert w.value("SELECT 2") == "2"


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_idle_transaction_timeout_does_not_count_outside_of_transactions(make_pooler, mode):
    pooler = make_pooler(pool_mode=mode, idle_transaction_timeout="300ms")
    with pooler.wire() as w:
        assert is_left_alone(w)
        w.query("BEGIN")
        w.query("COMMIT")
        assert is_left_alone(w)
        assert w.value("SELECT 1") == "1"


# client_idle_timeout

def test_client_idle_timeout_counts_from_the_login_too(make_pooler):
    pooler = make_pooler(client_idle_timeout="300ms")
    with pooler.wire() as w:
        assert_fired("client_idle_timeout", w)


def test_client_idle_timeout_counts_from_the_last_query(make_pooler):
    pooler = make_pooler(client_idle_timeout=LONG)
    with pooler.wire() as w:
        busily(lambda: w.value("SELECT 1"))


def test_client_idle_timeout_does_not_count_queries_and_transactions(make_pooler):
    pooler = make_pooler(client_idle_timeout="300ms")
    with pooler.wire() as w:
        assert w.query("SELECT pg_sleep(1)").error is None
        w.query("BEGIN")
        assert is_left_alone(w)
        assert w.query("COMMIT").tags == ["COMMIT"]
        assert_fired("client_idle_timeout", w)


def test_client_idle_timeout_does_not_count_the_time_in_the_queue(make_pooler):
    pooler = make_pooler(default_pool_size=1, client_idle_timeout="300ms")
    with pooler.wire() as busy, pooler.wire() as waiting:
        busy.query("BEGIN")
        waiting.send_raw(query("SELECT 'at last'"))
        assert is_left_alone(waiting)
        busy.query("COMMIT")
        assert waiting.result().value == "at last"


def test_client_idle_timeout_is_not_for_a_session_that_has_a_server(make_pooler):
    """As in PgBouncer: it may be waiting for notifications."""
    pooler = make_pooler(pool_mode="session", client_idle_timeout="300ms")
    with pooler.wire() as w:
        w.query("LISTEN news")
        assert is_left_alone(w)
        assert w.value("SELECT 1") == "1"


def test_the_console_has_no_idle_timeout(make_pooler):
    pooler = make_pooler(client_idle_timeout="300ms", client_login_timeout="300ms")
    with pooler.wire("pgbouncer", "admin") as w:
        assert is_left_alone(w)
        assert w.query("SHOW VERSION").error is None


# query_wait_timeout

def assert_waited_too_long(w, span=SPAN, waiting=1):
    result = w.result()
    assert_error(result.error, "query_wait_timeout", "57014")
    assert result.error["D"] == (f"query_wait_timeout is {span:g}s; held by pool_size: all server connections of the "
                                 f"pool are in use. The pool has 1 server connections (pool_size is 1) and {waiting} "
                                 "waiting clients.")
    assert w.is_closed()


def scopes(everybodys, databases, users):
    """Settings by what query_wait_timeout is in each scope; None: not given."""
    def of(value):
        return {} if value is None else {"query_wait_timeout": value}
    return {"databases": {"app": of(databases)}, "users": {"app": of(users)}, "default_pool_size": 1,
            "query_wait_notify": 0, **of(everybodys)}


@pytest.mark.parametrize("everybodys, databases, users, fires", [
    ("300ms", None, None, True), (100, "300ms", None, True), (100, None, "300ms", True), (100, 100, "300ms", True),
    ("300ms", 100, None, False), ("300ms", None, 100, False), ("300ms", "300ms", 100, False),
    ("300ms", 0, None, False), ("300ms", None, 0, False), (0, None, None, False),
    ("300ms", -1, None, True), ("300ms", None, -1, True), ("300ms", 100, -1, False), (100, "300ms", -1, True)])
def test_query_wait_timeout(make_pooler, everybodys, databases, users, fires):
    """The user's goes before the database's, that before the global one; 0 is no bound, a negative one is inherited."""
    pooler = make_pooler(**scopes(everybodys, databases, users))
    with in_transaction(pooler, 1) as [busy], pooler.wire() as waiting:
        began = time.monotonic()
        waiting.send_raw(query("SELECT 'at last'"))
        if fires:
            assert_waited_too_long(waiting)
            assert time.monotonic() - began > 0.9 * SPAN
            assert closes(pooler)["QUERY_WAIT_TIMEOUT"] == 1
            assert busy.value("SELECT 1") == "1"
        else:
            assert is_left_alone(waiting)
            busy.query("COMMIT")
            assert waiting.result().value == "at last"


def test_query_wait_timeout_takes_each_client_at_its_time(make_pooler):
    pooler = make_pooler(default_pool_size=1, query_wait_timeout=1)
    with in_transaction(pooler, 1) as [busy], pooler.wire() as first, pooler.wire() as second:
        first.send_raw(query("SELECT 1"))
        time.sleep(0.6)
        second.send_raw(query("SELECT 2"))
        assert_waited_too_long(first, 1, waiting=2)
        busy.query("COMMIT")
        assert second.result().value == "2"


def test_query_wait_timeout_does_not_count_once_served(make_pooler):
    pooler = make_pooler(default_pool_size=1, query_wait_timeout="300ms")
    with in_transaction(pooler, 1) as [busy], pooler.wire() as waiting:
        waiting.send_raw(query("BEGIN"))
        pooler.wait_pool(cl_waiting=1)
        busy.query("COMMIT")
        assert waiting.result().tags == ["BEGIN"]
        assert waiting.query("SELECT pg_sleep(1)").error is None
        assert is_left_alone(waiting)
        assert waiting.query("COMMIT").tags == ["COMMIT"]


def test_query_wait_timeout_counts_each_wait_from_its_query(make_pooler):
    pooler = make_pooler(default_pool_size=1, query_wait_timeout=LONG)
    with pooler.wire() as busy, pooler.wire() as waiting:
        for _ in range(4):
            busy.query("BEGIN")
            waiting.send_raw(query("SELECT 1"))
            time.sleep(2 * STEP)
            busy.query("COMMIT")
            assert waiting.result().value == "1"


@pytest.mark.parametrize("scope", ["global", "database", "user"])
def test_query_wait_timeout_holds_for_those_who_wait_already_after_a_reload(make_pooler, scope):
    pooler = make_pooler(**scopes(100, None, None))
    with in_transaction(pooler, 1), pooler.wire() as waiting:
        waiting.send_raw(query("SELECT 1"))
        pooler.wait_pool(cl_waiting=1)
        own = {"query_wait_timeout": "300ms"}
        if scope == "database":
            pooler.databases["app"].update(own)
        elif scope == "user":
            pooler.users["app"] = own
        pooler.reload(**(own if scope == "global" else {}))
        assert_waited_too_long(waiting)


def test_query_wait_timeout_is_lifted_from_those_who_wait_already_by_a_reload(make_pooler):
    pooler = make_pooler(default_pool_size=1, query_wait_timeout=1)
    with in_transaction(pooler, 1) as [busy], pooler.wire() as waiting:
        waiting.send_raw(query("SELECT 'at last'"))
        pooler.wait_pool(cl_waiting=1)
        pooler.reload(query_wait_timeout=0)
        assert is_left_alone(waiting, 1.5)
        busy.query("COMMIT")
        assert waiting.result().value == "at last"


# query_wait_notify

QUEUED = "No server connection available in postgres backend, client being queued"


def test_query_wait_notify_tells_once_in_each_wait(make_pooler):
    pooler = make_pooler(default_pool_size=1, query_wait_notify="300ms")
    with pooler.wire() as busy, pooler.wire() as waiting:
        for _ in range(2):
            busy.query("BEGIN")
            began = time.monotonic()
            waiting.send_raw(query("SELECT 'at last'"))
            assert waiting.recv() == notice()
            assert time.monotonic() - began > 0.9 * SPAN
            assert is_left_alone(waiting)
            busy.query("COMMIT")
            result = waiting.result()
            assert (result.value, result.notices) == ("at last", [])


def notice():
    fields = {"S": "NOTICE", "V": "NOTICE", "C": "00000", "M": QUEUED}
    return "N", b"".join(k.encode() + cstring(v) for k, v in fields.items()) + b"\0"


@pytest.mark.parametrize("settings", [
    {"query_wait_notify": 0}, {"query_wait_notify": LONG}, {"query_wait_notify": 2, "query_wait_timeout": 2}],
    ids=["off", "served before", "no time left"])
def test_query_wait_notify_does_not_tell(make_pooler, settings):
    pooler = make_pooler(default_pool_size=1, **settings)
    with in_transaction(pooler, 1) as [busy], pooler.wire() as waiting:
        waiting.send_raw(query("SELECT 'at last'"))
        assert is_left_alone(waiting, 0.5)
        busy.query("COMMIT")
        result = waiting.result()
        assert (result.value, result.notices) == ("at last", [])
        assert is_left_alone(waiting, 1.5)


def test_query_wait_notify_is_part_of_query_wait_timeout(make_pooler):
    pooler = make_pooler(default_pool_size=1, query_wait_notify="300ms", query_wait_timeout=1)
    with in_transaction(pooler, 1), pooler.wire() as waiting:
        began = time.monotonic()
        waiting.send_raw(query("SELECT 1"))
        assert waiting.recv() == notice()
        assert_waited_too_long(waiting, 1)
        assert 0.9 < time.monotonic() - began < 10


def test_query_wait_notify_without_query_wait_timeout(make_pooler):
    pooler = make_pooler(default_pool_size=1, query_wait_notify="300ms", query_wait_timeout=0)
    with in_transaction(pooler, 1) as [busy], pooler.wire() as waiting:
        waiting.send_raw(query("SELECT 'at last'"))
        assert waiting.recv() == notice()
        assert is_left_alone(waiting)
        busy.query("COMMIT")
        assert waiting.result().value == "at last"


def test_query_wait_notify_holds_for_those_who_wait_already_after_a_reload(make_pooler):
    """And whoever has been told is not told again by a reload that changes something else."""
    pooler = make_pooler(default_pool_size=1, query_wait_notify=0, query_wait_timeout=100)
    with in_transaction(pooler, 1) as [busy], pooler.wire() as waiting:
        waiting.send_raw(query("SELECT 'at last'"))
        pooler.wait_pool(cl_waiting=1)
        pooler.reload(query_wait_notify="300ms")
        assert waiting.recv() == notice()
        pooler.reload(stats_period=77)
        assert is_left_alone(waiting)
        busy.query("COMMIT")
        assert waiting.result().value == "at last"


# client_login_timeout

DEMANDS_PASSWORD = {"auth_type": "md5", "userlist": {"app": "x", "admin": "x"}}


def says_nothing(w):
    pass


def says_half_of_it(w):
    w.send_raw(b"\0\0\1")


def has_asked_for_tls(w):
    w.send_raw(packet("", struct.pack("!I", 80877103)))
    assert w.read(1) == b"N"


def keeps_its_password(w):
    w.startup({"user": "app", "database": "app"})
    assert w.recv().type == "R"


def assert_login_timeout(w, span=SPAN, text="client_login_timeout"):
    error = w.result().error
    held = "" if text == "client_login_timeout" else "; held by login: a server connection is being made"
    assert (error["M"], error["C"], error["D"]) == (text, "57014", f"client_login_timeout is {span:g}s{held}.")
    assert w.is_closed()


LOGINS = [says_nothing, says_half_of_it, has_asked_for_tls, keeps_its_password]


@pytest.mark.parametrize("begins", LOGINS)
def test_client_login_timeout(make_pooler, begins):
    pooler = make_pooler(client_login_timeout="300ms", **DEMANDS_PASSWORD)
    began = time.monotonic()
    with pooler.raw() as w:
        begins(w)
        assert_login_timeout(w)
        assert time.monotonic() - began > 0.9 * SPAN
    assert closes(pooler)["LOGIN_TIMEOUT"] == 1


@pytest.mark.parametrize("begins", LOGINS)
def test_client_login_timeout_of_0_waits_for_ever(make_pooler, begins):
    pooler = make_pooler(client_login_timeout=0, **DEMANDS_PASSWORD)
    with pooler.raw() as w:
        begins(w)
        assert is_left_alone(w)


def test_client_login_timeout_counts_the_whole_login(make_pooler):
    """However much the client says meanwhile."""
    pooler = make_pooler(client_login_timeout=1, **DEMANDS_PASSWORD)
    with pooler.raw() as w:
        began = time.monotonic()
        says_half_of_it(w)
        with contextlib.suppress(Closed, OSError):
            while time.monotonic() < began + 10:
                w.send_raw(b"\0")
                if not is_left_alone(w, 0.1):
                    break
        assert 0.9 < time.monotonic() - began < 10


def test_client_login_timeout_counts_the_wait_for_the_first_server(make_pooler):
    with FakeServer(lambda peer: peer.drain()) as server:
        pooler = make_pooler(databases={"app": server.entry}, client_login_timeout="300ms")
        with pooler.raw() as w:
            w.startup({"user": "app", "database": "app"})
            assert_login_timeout(w, text="client_login_timeout (server down)")
        assert closes(pooler)["LOGIN_TIMEOUT_DOWN"] == 1


def test_client_login_timeout_is_over_with_the_login(make_pooler):
    pooler = make_pooler(client_login_timeout="300ms")
    with pooler.wire() as idle, pooler.wire() as busy:
        busy.query("BEGIN")
        assert are_left_alone([idle, busy])
        assert idle.value("SELECT 1") == busy.value("SELECT 1") == "1"
        assert busy.query("SELECT pg_sleep(1)").error is None


def test_client_login_timeout_leaves_a_slow_login_the_time(make_pooler):
    def script(peer):
        peer.read_startup()
        time.sleep(1)
        peer.welcome()
        peer.serve()

    with FakeServer(script) as server:
        pooler = make_pooler(databases={"app": server.entry}, client_login_timeout=10)
        with pooler.raw() as w:
            time.sleep(0.5)
            assert w.try_login("app", "app") is None


@pytest.mark.parametrize("before, after, fires", [(100, "300ms", True), (1, 0, False)])
def test_client_login_timeout_holds_for_logins_under_way_after_a_reload(make_pooler, before, after, fires):
    pooler = make_pooler(client_login_timeout=before, **DEMANDS_PASSWORD)
    with pooler.raw() as silent, pooler.raw() as slow:
        keeps_its_password(slow)
        pooler.reload(client_login_timeout=after)
        for w in (silent, slow) if fires else ():
            assert_login_timeout(w)
        assert fires or are_left_alone([silent, slow], 1.5)


# server_connect_timeout

@contextlib.contextmanager
def nobody_accepts():
    """The queue of connections is full: the kernel drops what would open another."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        address = listener.getsockname()
        for _ in range(2):
            s = stack.enter_context(socket.socket())
            s.setblocking(False)
            s.connect_ex(address)
        time.sleep(0.1)
        yield {"host": address[0], "port": address[1]}


@contextlib.contextmanager
def nobody_answers():
    with FakeServer(lambda peer: peer.drain()) as server:
        yield server.entry


@contextlib.contextmanager
def login_ends_in_the_middle():
    def script(peer):
        peer.read_startup()
        peer.send("R", struct.pack("!I", 0))
        peer.send("S", cstring("server_version") + cstring("15.0"))
        peer.drain()

    with FakeServer(script) as server:
        yield server.entry


@pytest.mark.parametrize("server", [nobody_accepts, nobody_answers, login_ends_in_the_middle])
def test_server_connect_timeout(make_pooler, server):
    with server() as entry:
        pooler = make_pooler(databases={"app": entry}, server_connect_timeout="300ms", server_login_retry=100)
        with pooler.raw() as w:
            began = time.monotonic()
            error = w.try_login("app", "app")
            assert_error(error, "server login has been failing, cached error: connect timeout (server_login_retry)",
                         "57P03")
            assert 0.9 * SPAN < time.monotonic() - began < 10
            assert f'Host "127.0.0.1", port {entry["port"]}: server_connect_timeout is 0.3s.' in error["D"]
        assert "closing because: connect timeout" in pooler.log()
        assert pooler.pool() is None or pooler.pool()["sv_login"] == "0"


def test_server_connect_timeout_covers_the_connect_query(make_pooler, pg):
    pooler = make_pooler(databases={"app": {"connect_query": SLEEPS}}, server_connect_timeout="300ms",
                         server_login_retry=100)
    with pooler.wire() as w:
        assert_error(w.query("SELECT 1").error, "server login has been failing, cached error: connect timeout", "57P03")
    eventually(lambda: pg.backends() == [], "the server is closed")


def logs_in_after(seconds):
    def script(peer):
        peer.read_startup()
        time.sleep(seconds)
        peer.welcome()
        peer.serve()
    return FakeServer(script)


@pytest.mark.parametrize("timeout", [0, 10])
def test_server_connect_timeout_leaves_a_slow_server_the_time(make_pooler, timeout):
    with logs_in_after(1) as server:
        pooler = make_pooler(databases={"app": server.entry}, server_connect_timeout=timeout)
        with pooler.wire() as w:
            assert w.query("SELECT 1").tags == ["SELECT 0"]
        assert len(server.peers) == 1


def test_server_connect_timeout_is_over_with_the_login(make_pooler):
    pooler = make_pooler(server_connect_timeout=1, default_pool_size=1)
    with pooler.wire() as w:
        backend = w.backend()
        assert w.query("SELECT pg_sleep(1.5)").error is None
        time.sleep(1.5)
        assert w.backend() == backend


def test_server_connect_timeout_changes_at_reload(make_pooler):
    with nobody_answers() as entry:
        pooler = make_pooler(databases={"app": entry}, server_connect_timeout=100, server_login_retry=100)
        with pooler.raw() as w:
            w.startup({"user": "app", "database": "app"})
            assert is_left_alone(w, 0.1)
            pooler.reload(server_connect_timeout="300ms")
            assert_error(w.finish_login("app"), "server login has been failing, cached error: connect timeout", "57P03")


@pytest.mark.parametrize("timeout, told", [("300ms", "The server did not take over the session's parameters; "
                                                     "server_connect_timeout is 0.3s."), (0, None)])
def test_server_connect_timeout_bounds_the_switch_of_parameters(make_pooler, timeout, told):
    """A server that has died in the meantime never answers."""
    def play(peer):
        peer.recv()
        peer.drain()

    with FakeServer(records_cancels([], play)) as fake:
        pooler = make_pooler(databases={"app": fake.entry}, server_connect_timeout=timeout)
        with pooler.wire(TimeZone="Asia/Tokyo") as w:
            w.send_raw(query("SELECT 1"))
            if told:
                error = w.result().error
                assert_error(error, "server conn crashed?", "08006")
                assert error["D"] == told
            else:
                assert is_left_alone(w)


def test_server_connect_timeout_bounds_the_check_query(make_pooler):
    """The client that waits for it gets another server."""
    def play(peer):
        first = peer is fake.peers[0]
        while True:
            _, body = peer.recv()
            if first and body == cstring("SELECT check"):
                peer.drain()
            answers(peer)

    with FakeServer(records_cancels([], play)) as fake:
        pooler = make_pooler(databases={"app": fake.entry}, server_connect_timeout="300ms", server_check_delay=0,
                             server_check_query="SELECT check", default_pool_size=1)
        with pooler.wire() as w:
            w.query("SELECT 1")
            assert w.query("SELECT 2").error is None
        assert "closing because: test query timeout" in pooler.log()
        assert len(fake.peers) == 2


# server_idle_timeout

def test_server_idle_timeout(make_pooler, pg):
    pooler = make_pooler(server_idle_timeout="300ms")
    with pooler.wire() as w:
        began = time.monotonic()
        open_servers(pooler, 2)
        eventually(lambda: pg.backends() == [], "no servers")
        assert time.monotonic() - began > 0.9 * SPAN
        pooler.wait_pool(sv_idle=0, sv_active=0)
        assert pooler.log().count("closing because: server idle timeout") == 2
        assert w.value("SELECT 1") == "1"


def test_server_idle_timeout_of_0_keeps_servers(make_pooler, pg):
    pooler = make_pooler(server_idle_timeout=0)
    open_servers(pooler, 2)
    time.sleep(3 * SPAN)
    assert len(pg.backends()) == 2


def test_server_idle_timeout_leaves_min_pool_size(make_pooler, pg):
    pooler = make_pooler(server_idle_timeout="300ms", min_pool_size=1)
    with pooler.wire() as w:
        open_servers(pooler, 3)
        eventually(lambda: len(pg.backends()) == 1, "one server")
        [left] = pg.backends()
        time.sleep(3 * SPAN)
        assert pg.backends() == [left]
        assert w.backend() == left


def test_server_idle_timeout_counts_from_the_last_use(make_pooler):
    pooler = make_pooler(server_idle_timeout=LONG)
    with pooler.wire() as w:
        backend = w.backend()
        busily(lambda: w.value("SELECT 1"))
        assert w.backend() == backend


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_server_idle_timeout_does_not_count_while_a_client_has_the_server(make_pooler, mode):
    pooler = make_pooler(pool_mode=mode, server_idle_timeout="300ms")
    with pooler.wire() as w:
        backend = w.backend()
        w.query("BEGIN" if mode == "transaction" else "SELECT 1")
        assert w.query("SELECT pg_sleep(1)").error is None
        assert is_left_alone(w)
        assert mode == "transaction" or w.backend() == backend
        assert w.query("COMMIT").tags == ["COMMIT"]


@pytest.mark.parametrize("before, after, left", [(100, "300ms", 0), (1, 0, 2)])
def test_server_idle_timeout_holds_for_idle_servers_after_a_reload(make_pooler, pg, before, after, left):
    pooler = make_pooler(server_idle_timeout=before)
    open_servers(pooler, 2)
    pooler.reload(server_idle_timeout=after)
    if left:
        time.sleep(1.5)
    eventually(lambda: len(pg.backends()) == left, f"{left} servers")


# autodb_idle_timeout

def database_names(pooler):
    return [row["name"] for row in pooler.admin("SHOW DATABASES")]


def use(pooler, database):
    """A client comes, has a server, and goes."""
    with pooler.wire(database) as w:
        assert w.value("SELECT current_database()") == database
        w.send("X")
        assert w.is_closed()


AUTOMATIC = {"databases": {"*": {}}, "server_idle_timeout": "100ms"}


def test_autodb_idle_timeout(make_pooler):
    pooler = make_pooler(autodb_idle_timeout="300ms", **AUTOMATIC)
    use(pooler, "second")
    assert "second" in database_names(pooler)
    eventually(lambda: "second" not in database_names(pooler), "the automatic database is gone")
    assert pooler.pool("second") is None
    assert "dropping auto-database 'second' as inactive" in pooler.log()
    use(pooler, "second")
    assert "second" in database_names(pooler)


def test_autodb_idle_timeout_of_0_keeps_databases(make_pooler):
    pooler = make_pooler(autodb_idle_timeout=0, **AUTOMATIC)
    use(pooler, "second")
    time.sleep(3 * SPAN)
    assert "second" in database_names(pooler)


def test_autodb_idle_timeout_does_not_count_while_there_are_clients(make_pooler):
    pooler = make_pooler(autodb_idle_timeout="300ms", **AUTOMATIC)
    with pooler.wire("second") as w:
        assert w.value("SELECT 1") == "1"
        time.sleep(3 * SPAN)
        assert "second" in database_names(pooler)
        assert w.value("SELECT 1") == "1"


def test_autodb_idle_timeout_counts_from_the_last_client(make_pooler):
    pooler = make_pooler(autodb_idle_timeout=LONG, **AUTOMATIC)
    busily(lambda: use(pooler, "second"))
    assert "dropping" not in pooler.log()


def test_autodb_idle_timeout_waits_for_the_servers(make_pooler):
    """They go by timeouts of their own."""
    pooler = make_pooler(autodb_idle_timeout="300ms", databases={"*": {}}, server_idle_timeout=LONG)
    use(pooler, "second")
    time.sleep(3 * SPAN)
    assert "second" in database_names(pooler)
    eventually(lambda: "second" not in database_names(pooler), "the automatic database is gone")
    assert pooler.log().index("server idle timeout") < pooler.log().index("dropping auto-database")


def test_autodb_idle_timeout_is_not_for_configured_databases(make_pooler):
    pooler = make_pooler(autodb_idle_timeout="300ms", server_idle_timeout="100ms", databases={"second": {}, "*": {}})
    use(pooler, "second")
    time.sleep(3 * SPAN)
    assert "second" in database_names(pooler)
    use(pooler, "second")


@pytest.mark.parametrize("before, after, stays", [(100, "300ms", False), (1, 0, True)])
def test_autodb_idle_timeout_holds_for_unused_databases_after_a_reload(make_pooler, before, after, stays):
    pooler = make_pooler(autodb_idle_timeout=before, **AUTOMATIC)
    use(pooler, "second")
    pooler.reload(autodb_idle_timeout=after)
    if stays:
        time.sleep(1.5)
    eventually(lambda: ("second" in database_names(pooler)) == stays, "as it should be")


def test_an_automatic_database_that_is_configured_now_stays(make_pooler):
    pooler = make_pooler(autodb_idle_timeout=1, **AUTOMATIC)
    use(pooler, "second")
    pooler.databases["second"] = dict(pooler.databases.pop("*"), pool_size=7)
    assert pooler.reload().error is None
    time.sleep(1.5)
    assert "second" in database_names(pooler)
    use(pooler, "second")


def test_a_configured_database_that_is_automatic_now_goes(make_pooler):
    pooler = make_pooler(autodb_idle_timeout="300ms", server_idle_timeout="100ms", databases={"second": {}, "*": {}})
    use(pooler, "second")
    del pooler.databases["second"]
    assert pooler.reload().error is None
    eventually(lambda: "second" not in database_names(pooler), "the automatic database is gone")
    use(pooler, "second")


# tcp_user_timeout: that it is set on the sockets of both sides is in test_sockets.py

@contextlib.contextmanager
def near_pooler(make_pooler, pg, network, **settings):
    """On a machine that reaches PostgreSQL through the file system only."""
    with network.near.inside():
        yield make_pooler(**{"databases": {"app": {"host": pg.directory, "port": pg.port}},
                             "listen_addr": f"127.0.0.1, {network.near.address}", **settings})


def far_client(pooler, network):
    with network.far.inside():
        w = Wire((network.near.address, pooler.port))
    return w.login("app", "app")


def far_clients(pooler, network):
    return [row for row in pooler.admin("SHOW CLIENTS") if row["addr"] == network.far.address]


@pytest.mark.parametrize("timeout, is_noticed", [(1000, True), (0, False)])
def test_tcp_user_timeout_of_a_client_that_has_vanished(make_pooler, pg, network, timeout, is_noticed):
    """With an answer on its way to it."""
    with near_pooler(make_pooler, pg, network, tcp_user_timeout=timeout) as pooler, far_client(pooler, network) as w:
        w.send_raw(query("SELECT pg_sleep(0.5)"))
        eventually(lambda: sleepers(pg), "the query runs", every=0.01)
        network.cut()
        if is_noticed:
            eventually(lambda: not far_clients(pooler, network), "the client is gone", timeout=15)
        else:
            time.sleep(4)
            assert len(far_clients(pooler, network)) == 1


@pytest.mark.parametrize("timeout, is_noticed", [(1000, True), (0, False)])
def test_tcp_user_timeout_of_a_server_that_has_vanished(make_pooler, pg, network, timeout, is_noticed):
    with network.far.inside():
        fake = FakeServer(records_cancels([], lambda peer: peer.serve()), host=network.far.address)
    with fake, near_pooler(make_pooler, pg, network, databases={"app": fake.entry},
                           tcp_user_timeout=timeout) as pooler, pooler.wire() as w:
        w.query("SELECT 1")
        network.cut()
        w.send_raw(query("SELECT 2"))
        if is_noticed:
            assert_error(w.result().error, "server conn crashed?", "08006")
        else:
            assert is_left_alone(w, 4)


@pytest.mark.parametrize("timeout, outage, is_asking", [(20000, 1, True), (1000, 3, False)],
                         ids=["shorter outage", "idle meanwhile"])
def test_tcp_user_timeout_leaves_the_connection_alone(make_pooler, pg, network, timeout, outage, is_asking):
    with near_pooler(make_pooler, pg, network, tcp_user_timeout=timeout) as pooler, far_client(pooler, network) as w:
        if is_asking:
            w.send_raw(query("SELECT pg_sleep(0.5)"))
            eventually(lambda: sleepers(pg), "the query runs", every=0.01)
        network.cut()
        time.sleep(outage)
        network.mend()
        if is_asking:
            assert w.result().error is None
        assert w.value("SELECT 1") == "1"
