"""
Errors that the pooler makes itself: PgBouncer's text first, the SQLSTATE an application can act on, and
DETAIL or HINT naming the setting; with sqlstate_compat = pgbouncer its 08P01 everywhere.
"""

import contextlib
import os
import signal
import time

import pytest

from harness.pooler import assert_error
from harness.system import eventually
from harness.wire import query


def no_such_database(make_pooler, pg, **settings):
    pooler = make_pooler(**settings)
    with pooler.raw() as w:
        return w.try_login("app", "nosuch")


def no_more_connections(make_pooler, pg, **settings):
    pooler = make_pooler(max_client_conn=1, **settings)
    time.sleep(0.2)  # PgBouncer counts the connection that looked whether it is up a little longer
    with pooler.wire(), pooler.raw() as w:
        return w.try_login("app", "app")


def wrong_password(make_pooler, pg, **settings):
    pooler = make_pooler(auth_type="md5", userlist={"app": "right", "admin": "x"}, **settings)
    with pooler.raw() as w:
        return w.try_login("app", "app", "wrong")


def waited_too_long(make_pooler, pg, **settings):
    pooler = make_pooler(default_pool_size=1, query_wait_timeout=1, **settings)
    with pooler.wire() as busy, pooler.wire() as w:
        busy.query("BEGIN")
        return w.query("SELECT 1").error


def ran_too_long(make_pooler, pg, **settings):
    pooler = make_pooler(query_timeout=1, **settings)
    with pooler.wire(timeout=5) as w:
        return w.query("SELECT pg_sleep(1000)").error


def idle_client(make_pooler, pg, **settings):
    pooler = make_pooler(client_idle_timeout=1, **settings)
    with pooler.wire(timeout=5) as w:
        w.value("SELECT 1")
        return w.result().error


def idle_in_transaction(make_pooler, pg, **settings):
    pooler = make_pooler(idle_transaction_timeout=1, **settings)
    with pooler.wire(timeout=5) as w:
        w.query("BEGIN")
        return w.result().error


def long_transaction(make_pooler, pg, **settings):
    """Never idle for long, and no query takes long."""
    pooler = make_pooler(transaction_timeout=1, **settings)
    with pooler.wire(timeout=5) as w:
        w.query("BEGIN")
        for _ in range(50):
            result = w.query("SELECT pg_sleep(0.1)")
            if result.error:
                return result.error
    return None


def no_simple_queries(make_pooler, pg, **settings):
    pooler = make_pooler(disable_pqexec=1, **settings)
    with pooler.wire() as w:
        assert w.extended("SELECT 1").value == "1"
        return w.query("SELECT 1").error


def transaction_in_statement_mode(make_pooler, pg, **settings):
    pooler = make_pooler(pool_mode="statement", **settings)
    with pooler.wire() as w:
        return w.query("BEGIN").error


def unsupported_parameter(make_pooler, pg, **settings):
    pooler = make_pooler(**settings)
    with pooler.raw() as w:
        return w.try_login("app", "app", work_mem="1MB")


def no_user_name(make_pooler, pg, **settings):
    pooler = make_pooler(**settings)
    with pooler.raw() as w:
        w.startup({"database": "app"})
        return w.finish_login("")


def lost_server(make_pooler, pg, **settings):
    pooler = make_pooler(**settings)
    with pooler.wire() as w:
        w.send_raw(query("SELECT pg_sleep(1000)"))
        eventually(lambda: pg.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"),
                   "the query runs")
        os.kill(pg.backends()[0], signal.SIGKILL)
        error = w.result().error
    pg.wait_ready()
    return error


def refused_while_shutting_down(make_pooler, pg, **settings):
    """INT waits for the transaction; a client that queues meanwhile is told."""
    pooler = make_pooler(default_pool_size=1, **settings)
    with pooler.wire() as busy, pooler.wire() as w:
        w.value("SELECT 1")
        busy.query("BEGIN")
        pooler.signal(signal.SIGINT)
        pooler.wait_log("SIGINT")
        time.sleep(0.2)
        with contextlib.suppress(OSError):
            w.send_raw(query("SELECT 1"))
        error = w.result().error
        busy.query("COMMIT")
    assert pooler.wait_exit() == 0
    return error


# (what happens, PgBouncer's text, SQLSTATEs, a setting that DETAIL or HINT names)
CASES = [
    (no_such_database, "no such database: nosuch", ("3D000",), None),
    (no_more_connections, "no more connections allowed (max_client_conn)", ("53300",), "max_client_conn"),
    (wrong_password, "password authentication failed", ("28P01",), None),
    (waited_too_long, "query_wait_timeout", ("57014", "53300"), "query_wait_timeout"),
    (ran_too_long, "query_timeout", ("57014",), "query_timeout"),
    (idle_client, "client_idle_timeout", ("57P05",), "client_idle_timeout"),
    (idle_in_transaction, "idle transaction timeout", ("25P03",), "idle_transaction_timeout"),
    (long_transaction, "transaction timeout", ("25P04",), "transaction_timeout"),
    (no_simple_queries, "PQexec disallowed", ("0A000",), "disable_pqexec"),
    (transaction_in_statement_mode, "transaction blocks not allowed in statement pooling mode", ("0A000",), "pool_mode"),
    (unsupported_parameter, "unsupported startup parameter: work_mem", ("0A000", "22023"), "ignore_startup_parameters"),
    (no_user_name, "no username supplied", ("28000", "08P01"), None),
    (lost_server, "server conn crashed?", ("08006",), None),
    (refused_while_shutting_down, "server shutting down", ("57P01", "57P03"), None),
]


@pytest.mark.parametrize("happening, text, codes, setting", CASES, ids=[case[0].__name__ for case in CASES])
def test_error(make_pooler, pg, happening, text, codes, setting):
    error = happening(make_pooler, pg)
    if happening is ran_too_long:
        error = {**error, "M": error["M"].replace("query timeout", "query_timeout")}
    assert_error(error, text, *codes)
    assert error["S"] == "FATAL"
    assert error.get("V", "FATAL") == "FATAL"
    if setting:
        assert setting in error.get("D", "") + error.get("H", "")


@pytest.mark.parametrize("happening, text, codes, setting", CASES, ids=[case[0].__name__ for case in CASES])
def test_error_as_pgbouncer_says_it(make_pooler, pg, happening, text, codes, setting):
    error = happening(make_pooler, pg, sqlstate_compat="pgbouncer")
    assert error["C"] == "08P01"


def test_the_servers_errors_keep_their_code_all_the_same(make_pooler):
    pooler = make_pooler(sqlstate_compat="pgbouncer", databases={"app": {"dbname": "nosuch"}})
    with pooler.raw() as w:
        assert w.try_login("app", "app")["C"] == "3D000"


def test_long_texts_are_not_cut(make_pooler):
    pooler = make_pooler()
    name = "d" * 60
    with pooler.raw() as w:
        error = w.try_login("app", "app", **{"p" * 300: "x"})
        assert error["M"].startswith("unsupported startup parameter: " + "p" * 300)
    with pooler.raw() as w:
        assert name in w.try_login("app", name)["M"]


def test_errors_are_logged_with_their_client(make_pooler):
    pooler = make_pooler()
    with pooler.raw() as w:
        w.try_login("app", "nosuch")
    pooler.wait_log("pooler error: no such database: nosuch")
    line = next(line for line in pooler.log().splitlines() if "pooler error: no such database" in line)
    assert "nosuch/app@127.0.0.1:" in line and "WARNING C-" in line


def test_control_characters_do_not_reach_the_log(make_pooler):
    pooler = make_pooler()
    with pooler.raw() as w:
        w.try_login("app", "no\nsuch\x1b[31m")
    pooler.wait_log("no such database: no")
    assert "\x1b" not in pooler.log()
    assert not any(line.startswith("such") for line in pooler.log().splitlines())
