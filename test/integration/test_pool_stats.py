"""SHOW POOL_STATS, POOL_EVENTS, LATENCY, APPLICATIONS: what is counted, and how long things take."""

import contextlib
import time

import pytest

from harness.pooler import in_transaction, open_servers
from harness.system import eventually
from harness.wire import FakeServer, bind, execute, parse, query, sync


def row_of(pooler, database="app", user="app"):
    found = [row for row in pooler.admin("SHOW POOL_STATS") if (row["database"], row["user"]) == (database, user)]
    return found[0] if found else None


def number(pooler, column, **which):
    return int(row_of(pooler, **which)[column])


def events(pooler, event, database="app", user="app"):
    return {row["reason"]: int(row["count"]) for row in pooler.admin("SHOW POOL_EVENTS")
            if (row["database"], row["user"], row["event"]) == (database, user, event)}


def latency(pooler, kind, database="app", user="app"):
    """A row with its numbers as numbers; None when nothing was recorded. database None: of all pools."""
    for row in pooler.admin("SHOW LATENCY"):
        if (row["database"], row["user"], row["kind"]) == (database, user if database else None, kind):
            return {k: None if v is None else int(v) for k, v in row.items() if k not in ("database", "user", "kind")}
    return None


def assert_sums(pooler):
    """Of every pool, however it is just now: no server came or went uncounted."""
    # One look at each table, so that nothing happens in between.
    rows = pooler.admin("SHOW POOL_STATS")
    for row in rows:
        assert int(row["created"]) - int(row["closed"]) == int(row["open"]), row
    return rows


def settled(pooler, **expected):
    eventually(lambda: all(row_of(pooler)[k] == str(v) for k, v in expected.items()), f"POOL_STATS has {expected}")


# Hits, misses, assignments


def test_an_idle_server_is_a_hit_and_a_wait_is_a_miss(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as a, pooler.wire() as b:
        a.query("SELECT 1")
        before = row_of(pooler)
        for _ in range(5):
            a.query("SELECT 1")
        assert number(pooler, "hits") == int(before["hits"]) + 5
        assert number(pooler, "misses") == int(before["misses"])
        a.query("BEGIN")
        b.send_raw(query("SELECT 2"))
        settled(pooler, waiting=1)
        assert int(row_of(pooler)["oldest_wait_us"]) > 0
        assert number(pooler, "misses") == int(before["misses"]) + 1
        a.query("COMMIT")
        assert b.result().value == "2"
        assert number(pooler, "misses") == int(before["misses"]) + 1
        assert number(pooler, "hits") == int(before["hits"]) + 6
        settled(pooler, waiting=0, oldest_wait_us=0)


def test_load_is_the_share_of_the_limit_that_clients_have(make_pooler):
    pooler = make_pooler(default_pool_size=3, databases={"app": {}, "free": {"dbname": "app", "pool_size": 0}})
    with in_transaction(pooler, 2), in_transaction(pooler, 1, dbname="free"):
        row = row_of(pooler)
        assert (row["active"], row["limit"], row["load_factor"]) == ("2", "3", "0.6667")
        row = row_of(pooler, "free")
        assert (row["active"], row["limit"], row["load_factor"]) == ("1", "0", None)
    settled(pooler, active=0, load_factor="0.0000")


def test_reuse_is_what_was_given_out_beyond_what_was_opened(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as w:
        for _ in range(10):
            w.query("SELECT 1")
        assert row_of(pooler)["reuse_ratio"] == "0.9000"
    pooler.admin("RECONNECT")
    with pooler.wire() as w:
        for _ in range(6):
            w.query("SELECT 1")
    assert row_of(pooler)["reuse_ratio"] == "0.8750"
    assert number(pooler, "created") == 2


# Servers: created - closed = open


def test_the_sum_holds_while_servers_come_and_go(make_pooler, pg):
    pooler = make_pooler(default_pool_size=4, min_pool_size=1, server_lifetime="1s", server_idle_timeout="500ms",
                         databases={"app": {}, "second": {"dbname": "app"}, "wrong": {"dbname": "nowhere"}})
    open_servers(pooler, 4)
    assert_sums(pooler)
    pooler.lose_servers("app")
    assert_sums(pooler)
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            w = stack.enter_context(pooler.wire(dbname="second", user="other"))
            w.send_raw(query("SELECT pg_sleep(0.1)"))
        assert_sums(pooler)
        assert pooler.raw().attempt("app", "wrong").error is not None
        assert_sums(pooler)
        pooler.reload(server_lifetime="2s")
        assert_sums(pooler)
        pooler.admin("RECONNECT")
        assert_sums(pooler)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        assert_sums(pooler)
        with pooler.wire() as w:
            w.query("SELECT 1")
    pg.restart()
    assert_sums(pooler)
    with pooler.wire() as w:
        w.query("SELECT 1")
    pooler.admin("KILL second")
    pooler.admin("RESUME second")
    rows = assert_sums(pooler)
    assert sum(int(row["closed"]) for row in rows) > 10


def test_each_end_of_a_server_has_its_reason(make_pooler, pg):
    pooler = make_pooler(default_pool_size=2, server_idle_timeout=0)
    open_servers(pooler, 2)
    pooler.lose_servers("app")
    # An idle one says so first.
    assert events(pooler, "server_closed") == {"UNEXPECTED": 2}
    open_servers(pooler, 2)
    pooler.admin("RECONNECT")
    assert events(pooler, "server_closed") == {"UNEXPECTED": 2, "RECONNECT": 2}
    open_servers(pooler, 1)
    pooler.admin("PAUSE")
    pooler.admin("RESUME")
    assert events(pooler, "server_closed")["PAUSED"] == 1
    open_servers(pooler, 1)
    pooler.reload(server_idle_timeout="100ms")
    eventually(lambda: events(pooler, "server_closed").get("IDLE_TIMEOUT") == 1, "the idle one has ended")
    pooler.reload(query_timeout="100ms")
    with pooler.wire() as w:
        assert w.query("SELECT pg_sleep(5)").error["C"] == "57014"
    assert events(pooler, "server_closed")["QUERY_TIMEOUT"] == 1
    assert events(pooler, "client_closed")["QUERY_TIMEOUT"] == 1
    assert number(pooler, "timeouts") == 1
    assert_sums(pooler)


def test_a_login_that_the_server_refuses_is_a_server_closed(make_pooler):
    pooler = make_pooler(databases={"app": {}, "wrong": {"dbname": "nowhere"}, "down": {"host": "127.0.0.1", "port": 1}})
    assert pooler.attempt(database="wrong").error is not None
    assert events(pooler, "server_closed", database="wrong") == {"LOGIN_FAILED": 1}
    assert events(pooler, "login_failed", database="wrong") == {"SERVER_REFUSED": 1}
    assert pooler.attempt(database="down").error is not None
    assert set(events(pooler, "server_closed", database="down")) == {"CONNECT_FAILED"}
    assert_sums(pooler)


def test_what_a_silent_server_costs_is_counted_too(make_pooler):
    """One that is still logging in is open; one whose login took too long is closed."""
    def say_nothing(peer):
        peer.read_startup()
        peer.recv()

    with FakeServer(say_nothing) as server:
        pooler = make_pooler(databases={"app": server.entry}, server_connect_timeout="1s")
        with pooler.raw() as w:
            w.startup({"user": "app", "database": "app"})
            settled(pooler, created=1, closed=0, open=1)
            eventually(lambda: number(pooler, "closed") > 0, "it is closed")
            assert set(events(pooler, "server_closed")) == {"LOGIN_FAILED"}
            assert_sums(pooler)


# Clients


def test_clients_are_counted_by_the_reason_of_their_end(make_pooler):
    pooler = make_pooler(client_idle_timeout="500ms")
    with pooler.wire() as w:
        w.query("SELECT 1")
        w.send("X")
    with pooler.wire() as w:
        w.query("SELECT 1")
        eventually(lambda: events(pooler, "client_closed").get("CLIENT_IDLE_TIMEOUT") == 1, "it has idled too long")
    pooler.wire().close()
    eventually(lambda: events(pooler, "client_closed") == {"CLIENT_QUIT": 1, "CLIENT_IDLE_TIMEOUT": 1, "CLIENT_EOF": 1},
               "all three are counted")
    row = row_of(pooler)
    assert (row["client_closes"], row["login_failures"], row["timeouts"]) == ("3", "0", "1")


def test_a_wrong_password_is_a_failure_of_the_pool_that_it_was_for(make_pooler):
    pooler = make_pooler(auth_type="md5", userlist={"app": "secret", "admin": "also"})
    assert pooler.attempt("wrong").error is not None
    assert row_of(pooler) is None  # nobody has made it yet, and a guess does not
    assert pooler.attempt("secret").error is None
    for _ in range(3):
        assert pooler.attempt("wrong").error is not None
    assert events(pooler, "login_failed") == {"AUTH_PASSWORD": 3}
    assert number(pooler, "login_failures") == 3
    assert number(pooler, "timeouts") == 0


# Pins


def test_a_pipeline_pins_its_server(make_pooler):
    pooler = make_pooler()
    with pooler.wire() as w:
        w.query("SELECT 1")
        assert number(pooler, "pins") == 0
        w.send_raw(query("SELECT 1") * 4)
        for _ in range(4):
            assert w.result().value == "1"
    assert set(events(pooler, "pinned")) == {"PIPELINE"}
    assert number(pooler, "pins") >= 1


def test_a_missing_sync_pins_its_server(make_pooler):
    pooler = make_pooler()
    with pooler.wire() as w:
        w.send_raw(query("SELECT pg_sleep(0.2)") + parse("SELECT 2") + bind() + execute())
        assert w.result().error is None
        eventually(lambda: "UNSYNCED" in events(pooler, "pinned") or "PIPELINE" in events(pooler, "pinned"), "it is pinned")
        assert pooler.pool()["sv_active"] == "1"
        w.send_raw(sync())
        assert w.result().value == "2"
    pooler.wait_pool(sv_active=0)


def test_a_half_message_pins_its_server(make_pooler):
    pooler = make_pooler()
    with pooler.wire() as w:
        second = query("SELECT '" + "x" * 100 + "'")
        w.send_raw(query("SELECT pg_sleep(0.2)") + second[:50])
        assert w.result().error is None
        eventually(lambda: number(pooler, "pins") == 1, "it is pinned")
        w.send_raw(second[50:])
        assert w.result().value == "x" * 100


def test_who_leaves_with_its_pipeline_pins_nothing(make_pooler):
    """The second batch waits for the answer to the first, and is followed by the end: the client has gone by then."""
    pooler = make_pooler()
    for i in range(5):
        with pooler.wire(application_name="leaves") as w:
            w.send_raw(parse(f"SELECT {i}", "name") + sync() + bind(name="name") + execute() + sync() + b"X\0\0\0\4")
    eventually(lambda: applications(pooler).get("leaves", {}).get("transactions") == 10, "all of it has run")
    assert number(pooler, "pins") == 0


def test_sessions_are_not_pins(make_pooler):
    pooler = make_pooler(pool_mode="session")
    with pooler.wire() as w:
        for _ in range(3):
            w.query("SELECT 1")
        w.send_raw(query("SELECT 1") * 4)
        for _ in range(4):
            w.result()
    assert number(pooler, "pins") == 0


# Latency


def test_waiting_is_no_part_of_the_query(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as a, pooler.wire() as b:
        a.query("BEGIN")
        b.send_raw(query("SELECT 1"))
        settled(pooler, waiting=1)
        time.sleep(1)
        a.query("COMMIT")
        assert b.result().value == "1"
        waits, queries = latency(pooler, "wait"), latency(pooler, "query")
        assert waits["max"] >= 1000000
        # a's transaction was open for all that time; no query ran for half of it.
        assert latency(pooler, "transaction")["max"] >= 1000000
        assert queries["max"] < waits["max"] / 2
        assert queries["count"] == 3


def test_a_query_takes_as_long_as_it_takes(make_pooler):
    pooler = make_pooler()
    with pooler.wire() as w:
        for _ in range(19):
            w.query("SELECT 1")
        w.query("SELECT pg_sleep(0.5)")
        w.query("BEGIN")
        time.sleep(0.3)
        w.query("COMMIT")
    queries, transactions = latency(pooler, "query"), latency(pooler, "transaction")
    assert (queries["count"], transactions["count"]) == (22, 21)
    assert queries["max"] >= 500000
    assert queries["p50"] <= queries["p90"] <= queries["p99"] <= queries["p99_9"] <= queries["max"]
    assert queries["p99"] >= 500000 > queries["p90"]
    assert transactions["p90"] < 300000 <= transactions["max"]
    assert queries["mean"] <= queries["max"]


def test_logins_and_connects_are_timed(make_pooler):
    def slow(peer):
        peer.read_startup()
        time.sleep(0.5)
        peer.welcome()
        peer.serve()

    with FakeServer(slow) as server:
        pooler = make_pooler(databases={"app": server.entry})
        with pooler.wire(), pooler.wire():
            connect, login = latency(pooler, "connect"), latency(pooler, "login")
            assert connect["count"] == 1
            assert connect["max"] >= 500000
            # The first one waited for the server, the second for nobody.
            assert login["count"] == 2
            assert login["max"] >= 500000 > login["p50"]


def test_all_pools_together_have_rows_without_a_name(make_pooler):
    pooler = make_pooler(databases={"app": {}, "second": {"dbname": "app"}})
    assert latency(pooler, "query", None)["p50"] is None
    for name in ("app", "app", "second"):
        with pooler.wire(dbname=name) as w:
            w.query("SELECT 1")
    assert latency(pooler, "query", None)["count"] == 3
    assert latency(pooler, "query")["count"] == 2
    assert latency(pooler, "query", "second")["count"] == 1
    assert latency(pooler, "query", "second", "other") is None


def test_what_is_older_than_two_periods_is_forgotten(make_pooler):
    pooler = make_pooler(stats_period=1)
    with pooler.wire() as w:
        w.query("SELECT 1")
        assert latency(pooler, "query")["count"] == 1
        eventually(lambda: latency(pooler, "query") is None, "two periods have passed")
    # What is counted stays.
    assert number(pooler, "hits") + number(pooler, "misses") == 1


@pytest.mark.parametrize("table", ["POOL_STATS", "POOL_EVENTS", "LATENCY", "APPLICATIONS"])
def test_those_who_may_look_see_them(make_pooler, table):
    assert make_pooler().admin(f"SHOW {table}", user="stats") is not None


def test_ratios_are_numbers_to_a_driver_in_binary(make_pooler):
    """psycopg reads them as Decimal."""
    import psycopg

    pooler = make_pooler(default_pool_size=3)
    with in_transaction(pooler, 2), pooler.connect(dbname="pgbouncer", user="admin") as console:
        with psycopg.Cursor(console) as cursor:
            cursor.execute("SHOW POOL_STATS", binary=True)
            names = [column.name for column in cursor.description]
            row = dict(zip(names, cursor.fetchone()))
    assert float(row["load_factor"]) == pytest.approx(2 / 3, abs=1e-4)


# Applications


def applications(pooler):
    return {row.pop("application_name"): {k: int(v) for k, v in row.items()}
            for row in pooler.admin("SHOW APPLICATIONS")}


def test_applications_are_counted_by_name(make_pooler):
    pooler = make_pooler(default_pool_size=2)
    with pooler.wire(application_name="shop") as a, pooler.wire(application_name="shop") as b, \
            pooler.wire(application_name="report") as c:
        for w in (a, b):
            w.query("BEGIN")
            w.query("SELECT 1")
            w.query("COMMIT")
        c.query("SELECT pg_sleep(0.3)")
        found = applications(pooler)
        assert (found["shop"]["clients"], found["shop"]["transactions"], found["shop"]["queries"]) == (2, 2, 6)
        assert (found["report"]["clients"], found["report"]["transactions"]) == (1, 1)
        assert found["report"]["query_time_us"] >= 300000 > found["shop"]["query_time_us"]
        assert found["report"]["transaction_time_us"] >= 300000
        assert found["other"]["transactions"] == 0
    eventually(lambda: applications(pooler)["shop"]["clients"] == 0, "they have left")
    assert applications(pooler)["shop"]["transactions"] == 2


def test_who_waits_has_waited(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire(application_name="holds") as a, pooler.wire(application_name="waits") as b:
        a.query("BEGIN")
        b.send_raw(query("SELECT 1"))
        settled(pooler, waiting=1)
        time.sleep(0.5)
        a.query("COMMIT")
        assert b.result().value == "1"
        found = applications(pooler)
        assert found["waits"]["wait_time_us"] >= 500000 > found["waits"]["query_time_us"]
        assert found["holds"]["wait_time_us"] < 500000


def test_a_session_has_waited_once(make_pooler):
    pooler = make_pooler(pool_mode="session", default_pool_size=1)
    with pooler.wire(application_name="second") as b:
        with pooler.wire(application_name="first") as a:
            a.query("SELECT 1")
            b.send_raw(query("SELECT 1"))
            settled(pooler, waiting=1)
            time.sleep(0.5)
        assert b.result().value == "1"
        waited = applications(pooler)["second"]["wait_time_us"]
        b.query("SELECT 1")
        b.query("SELECT 1")
        assert applications(pooler)["second"]["wait_time_us"] == waited >= 500000


def test_another_name_counts_from_then_on(make_pooler):
    pooler = make_pooler()
    with pooler.wire(application_name="before") as w, pooler.wire() as nameless:
        w.query("SELECT 1")
        w.query("SELECT 1")
        w.query("SET application_name = 'after'")
        w.query("SELECT 1")
        nameless.query("SELECT 1")
        found = applications(pooler)
        assert (found["before"]["transactions"], found["before"]["clients"]) == (2, 0)
        assert (found["after"]["transactions"], found["after"]["clients"]) == (2, 1)
        assert (found[""]["transactions"], found[""]["clients"]) == (1, 1)


def test_ten_thousand_names_are_fifty_and_the_others(make_pooler):
    pooler = make_pooler()
    batch = 100
    with pooler.wire(application_name="steady") as steady, pooler.wire() as w:
        for i in range(0, 10000, batch):
            w.send_raw(b"".join(query(f"SET application_name = 'random {j * 7919 % 10007}'")
                                for j in range(i, i + batch)))
            for _ in range(batch):
                assert w.result().error is None
            for _ in range(5):
                steady.query("SELECT 1")
        rows = pooler.admin("SHOW APPLICATIONS")
        assert len(rows) == 51
        assert rows[0]["application_name"] == "steady"
        assert rows[-1]["application_name"] == "other"
        assert sum(int(row["transactions"]) for row in rows) == 10500
        # Fewer places, by a reload, and none.
        pooler.reload(stats_applications=1)
        assert [row["application_name"] for row in pooler.admin("SHOW APPLICATIONS")] == ["steady", "other"]
        pooler.admin("SET stats_applications = 0")
        [row] = pooler.admin("SHOW APPLICATIONS")
        assert (row["application_name"], row["transactions"], row["clients"]) == ("other", "10500", "2")


def test_what_a_client_left_running_is_its_applications(make_pooler):
    """Its server runs it to the end, and nobody is there any more to be asked for a name."""
    pooler = make_pooler()
    with pooler.wire(application_name="gone") as w:
        w.send_raw(query("SELECT pg_sleep(0.3)"))
        w.send("X")
    eventually(lambda: applications(pooler).get("gone", {}).get("transactions") == 1, "it is counted")
