"""
The network between the pooler and PostgreSQL, or between clients and the pooler, is cut without a word, mended in time
or not, or slow: whoever it concerns gets an answer or an error within the timeouts that are set, all others go on.
"""

import contextlib
import random
import threading
import time

import pytest

from harness.cable import Cable
from harness.census import assert_same, census
from harness.pooler import assert_error
from harness.system import eventually
from harness.wire import Wire, bind, copy_data, copy_done, describe, error_fields, execute, extended, parse, query, sync

# The shortest that the kernel has. Where something had been sent and not been acknowledged, it is the user timeout.
KEEPALIVE = {"tcp_keepalive": 1, "tcp_keepidle": 1, "tcp_keepintvl": 1, "tcp_keepcnt": 1, "tcp_user_timeout": 1500}
SHORT = {"server_connect_timeout": "500ms", "server_login_retry": 1, "cancel_wait_timeout": 1}


@contextlib.contextmanager
def far_server(make_pooler, pg, network, entry=None, **settings):
    """
    A pooler whose database `app` is on the other machine, and `by` on its own. PostgreSQL itself is neither here nor
    there: it is reached through the file system.
    """
    unix_socket = f"{pg.directory}/.s.PGSQL.{pg.port}"
    with network.far.inside():
        cable = Cable(unix_socket, network.far.address)
    with cable, network.near.inside():
        yield make_pooler(databases={"app": {**cable.entry, **(entry or {})},
                                     "by": {"host": pg.directory, "port": pg.port, "dbname": "app"}},
                          **{**SHORT, **settings})


@contextlib.contextmanager
def far_client(make_pooler, pg, network, **settings):
    """A pooler beside PostgreSQL, and the way to it from the other machine."""
    def connect():
        with network.far.inside():
            return Wire((network.near.address, pooler.port))

    with network.near.inside():
        pooler = make_pooler(databases={"app": {"host": pg.directory, "port": pg.port}},
                             listen_addr=f"127.0.0.1, {network.near.address}", **settings)
        yield pooler, connect


def sleeps(pg):
    return pg.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")


def serves(pooler):
    with pooler.wire() as w:
        return w.value("SELECT 'served'") == "served"


# Between the pooler and PostgreSQL

def test_servers_that_the_network_has_lost_while_idle_are_found_out(make_pooler, pg, network):
    """tcp_keepalive: nobody has to run into them."""
    with far_server(make_pooler, pg, network, **KEEPALIVE) as pooler:
        before = census(pooler)
        with pooler.wire() as w:
            w.query("SELECT 1")
        network.cut()
        eventually(lambda: pooler.pool()["sv_idle"] == "0", "the server is gone")
        network.mend()
        eventually(lambda: serves(pooler), "it serves again")
        assert_same(pooler, before)


# What it is that ends it, with its settings, and what the client is told.
ENDS = {
    "query_timeout": ({"query_timeout": 1}, "57014", "query_timeout"),
    "tcp_keepalive": (KEEPALIVE, "08006", "server conn crashed?"),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_query_that_the_network_cuts_ends_and_the_rest_goes_on(make_pooler, pg, network, end):
    settings, code, text = ENDS[end]
    with far_server(make_pooler, pg, network, default_pool_size=1, **settings) as pooler, pooler.wire("by") as other:
        other.query("SELECT 1")
        before = census(pooler)
        with pooler.wire() as w:
            w.send_raw(query("SELECT pg_sleep(0.5), 'lost'"))
            eventually(lambda: sleeps(pg), "it runs")
            network.cut()
            assert other.value("SELECT 'by'") == "by"
            assert_error(w.result().error, text, code)
            assert other.value("SELECT 'by'") == "by"
        network.mend()
        eventually(lambda: serves(pooler), "it serves again")
        assert_same(pooler, before)


@pytest.mark.parametrize("action", ["fail", "wait"])
def test_a_login_that_the_network_cuts_is_tried_again_or_told(make_pooler, pg, network, action):
    settings = {"server_down_action": action, "breaker_failures": 2}
    with far_server(make_pooler, pg, network, **settings) as pooler, pooler.wire("by") as other:
        other.query("SELECT 1")
        before = census(pooler)
        network.cut()
        with pooler.raw() as w:
            w.startup({"user": "app", "database": "app"})
            pooler.wait_log("connect timeout")
            assert other.value("SELECT 'by'") == "by"
            if action == "fail":
                error = error_fields(w.recv_until("E")[-1].body)
                assert_error(error, "server login has been failing, cached error: connect timeout", "57P03")
            network.mend()
            if action == "wait":
                assert w.finish_login("app") is None
                assert w.value("SELECT 'served'") == "served"
        eventually(lambda: is_let_in(pooler), "it serves again")
        assert_same(pooler, before)


def is_let_in(pooler):
    with pooler.raw() as w:
        return w.try_login("app", "app") is None and w.query("SELECT 1").error is None


def test_a_cancel_request_that_the_network_swallows_is_given_up(make_pooler, pg, network):
    """After cancel_wait_timeout. The query's own end comes when the network is back."""
    with far_server(make_pooler, pg, network) as pooler:
        before = census(pooler)
        with pooler.wire() as w:
            w.send_raw(query("SELECT pg_sleep(0.5), 'to its end'"))
            eventually(lambda: sleeps(pg), "it runs")
            network.cut()
            w.cancel()
            network.mend()
            assert w.result().rows == [["", "to its end"]]
        assert_same(pooler, before)


def test_an_outage_shorter_than_all_timeouts_loses_nothing(make_pooler, pg, network):
    """In the middle of a large result: TCP sends again what was lost."""
    big = "SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i"
    with far_server(make_pooler, pg, network, tcp_user_timeout=20000) as pooler, pooler.wire() as w:
        w.send_raw(query(big))
        first = w.recv()
        network.cut()
        time.sleep(0.3)
        network.mend()
        result = w.result()
        assert first.type == "T" and result.error is None and result.tags == ["SELECT 20000"]
        rows = [m for m in result.messages if m.type == "D"]
        assert len(rows) == 20000 and all(len(m.body) == len(rows[0].body) + len(str(i + 1)) - 1
                                          for i, m in enumerate(rows))


# Between clients and the pooler

@pytest.mark.parametrize("what", ["in a transaction", "in a COPY", "idle"])
def test_a_client_that_the_network_has_lost_leaves_its_server_to_others(make_pooler, pg, network, what):
    with far_client(make_pooler, pg, network, default_pool_size=1, **KEEPALIVE) as (pooler, connect):
        with pooler.wire() as near:
            near.query("CREATE TABLE IF NOT EXISTS faults (line text); TRUNCATE faults")
            before = census(pooler)
            with connect().login("app", "app") as w:
                w.query("SELECT 1" if what == "idle" else "BEGIN; INSERT INTO faults VALUES ('lost')")
                if what == "in a COPY":
                    w.send_raw(query("COPY faults FROM STDIN"))
                    assert w.recv().type == "G"
                    w.send_raw(copy_data(b"lost\n"))
                network.cut()
                assert near.value("SELECT count(*) FROM faults") == "0"
                assert_same(pooler, before)
                network.mend()


def test_a_client_that_the_network_cuts_in_its_login_is_given_up(make_pooler, pg, network):
    settings = {"auth_type": "md5", "userlist": {"app": "secret", "admin": "admin"}, "client_login_timeout": 1}
    with far_client(make_pooler, pg, network, **settings) as (pooler, connect):
        before = census(pooler)
        with connect() as w:
            w.startup({"user": "app", "database": "app"})
            assert w.recv().type == "R"
            network.cut()
            pooler.wait_log("client_login_timeout")
            assert_same(pooler, before)
            network.mend()


# Slow

def slow(seed, most_delay):
    """Bytes come late, and in pieces that know nothing of messages."""
    chance = random.Random(seed)
    lock = threading.Lock()

    def pieces(data):
        while data:
            with lock:
                n = chance.choice((1, 5, 100, len(data)))
                delay = chance.uniform(0, most_delay)
            time.sleep(delay)
            yield data[:n]
            data = data[n:]
    return pieces


def talk(w, name, rounds):
    """All kinds of traffic, each answer with its asker's name in it; the answers that were wrong."""
    for i in range(rounds):
        own = f"{name}-{i}"
        assert w.value(f"SELECT '{own}'") == own
        assert w.extended("SELECT $1::text", [own]).value == own
        w.send_raw(b"".join(extended(f"SELECT '{own}-{n}'") + sync() for n in range(3)))
        assert [w.result().value for _ in range(3)] == [f"{own}-{n}" for n in range(3)]
        assert w.say(parse("SELECT $1 || ' prepared'", own, [25])).error is None
        assert w.say(bind([own], own), describe(), execute()).value == f"{own} prepared"
        w.query("BEGIN")
        w.query(f"CREATE TEMP TABLE \"{own}\" (line text) ON COMMIT DROP")
        w.send_raw(query(f'COPY "{own}" FROM STDIN'))
        assert w.recv().type == "G"
        w.send_raw(copy_data(f"{own}\n".encode()) * 20 + copy_done())
        assert w.result().tags == ["COPY 20"]
        assert w.value(f'SELECT string_agg(DISTINCT line, \',\') FROM "{own}"') == own
        assert w.query("COMMIT").status == "I"
        assert w.query("SELECT 1/0").error["C"] == "22012"


@pytest.mark.parametrize("side", ["server", "client"])
def test_a_slow_and_choppy_line_changes_no_answer(make_pooler, pg, is_long, side):
    most_delay, clients, rounds = (0.2, 10, 3) if is_long else (0.01, 4, 1)
    with contextlib.ExitStack() as stack:
        lines = {"server": stack.enter_context(Cable(("127.0.0.1", pg.port)))}
        pooler = make_pooler(databases={"app": lines["server"].entry}, default_pool_size=2)
        lines["client"] = stack.enter_context(Cable(("127.0.0.1", pooler.port)))
        before = census(pooler)
        lines[side].pieces = slow(10, most_delay)
        failures = []

        def one(i):
            try:
                with Wire(("127.0.0.1", lines["client"].port), timeout=300) as w:
                    talk(w.login("app", "app", application_name=f"client {i}"), f"client-{i}", rounds)
            except BaseException as error:
                failures.append((i, repr(error)))

        threads = [threading.Thread(target=one, args=[i]) for i in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        lines[side].pieces = lambda data: [data]
        assert_same(pooler, before)
