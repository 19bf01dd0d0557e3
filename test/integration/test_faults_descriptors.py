"""
The process may open nothing more: whoever needs something new waits or is told, whoever has what he needs goes on, the
pooler rests meanwhile, and serves everybody again when it may.
"""

import contextlib
import itertools
import os
import re
import select
import time

import pytest

from harness.census import assert_same, census
from harness.http import Http
from harness.pooler import assert_error
from harness.system import as_account, eventually, free_port, run
from harness.vouchers import Pam, SecretTable
from harness.wire import Wire, query

NO_MORE = "Too many open files"


def limit_of(pooler):
    """Of open files, the soft one."""
    with open(f"/proc/{pooler.pid}/limits") as f:
        return int(next(line for line in f if line.startswith("Max open files")).split()[3])


def set_limit(pooler, n):
    """Whoever it runs as may do that, root may not everywhere."""
    done = run(["prlimit", "--pid", str(pooler.pid), f"--nofile={n}:"], **as_account())
    assert done.returncode == 0, done.stderr


def descriptors(pooler):
    return {int(name) for name in os.listdir(f"/proc/{pooler.pid}/fd")}


@contextlib.contextmanager
def out_of_descriptors(pooler, spare=0):
    """It may open so many more. What is open stays open."""
    before, taken = limit_of(pooler), set()
    # Those who have left may still be on their way out.
    while taken != (taken := descriptors(pooler)):
        time.sleep(0.05)
    free = (n for n in itertools.count() if n not in taken)
    set_limit(pooler, next(itertools.islice(free, spare, None)))
    try:
        yield
    finally:
        set_limit(pooler, before)


def assert_rests(pooler, seconds=0.5):
    """It does not try again and again: most of the time it sleeps."""
    began, cpu = time.monotonic(), pooler.cpu()
    time.sleep(seconds)
    assert pooler.cpu() - cpu < 0.3 * (time.monotonic() - began)


def is_silent(w, seconds=0.2):
    return not select.select([w.sock], [], [], seconds)[0]


def ask(pooler, database="app", user="app", password=None):
    """A new client that logs in and asks: its error, or None."""
    with pooler.raw() as w:
        return w.try_login(user, database, password) or w.query("SELECT 1").error


def open_console(pooler):
    return Wire(pooler.console_address).login("admin", "pgbouncer", pooler.userlist.get("admin"))


# Accepting

def test_who_comes_waits_for_a_descriptor_and_those_inside_go_on(make_pooler):
    http_port = free_port()
    pooler = make_pooler(http_listen_addr="127.0.0.1", http_port=http_port)
    before = census(pooler)
    with pooler.wire() as w, contextlib.ExitStack() as stack:
        w.query("SELECT 1")
        with out_of_descriptors(pooler):
            waiting = [stack.enter_context(pooler.raw()) for _ in range(5)]
            for new in waiting:
                new.startup({"user": "app", "database": "app"})
            by_http = stack.enter_context(Http(http_port))
            by_http.connection.request("GET", "/livez")
            pooler.wait_log(f"accept() failed: {NO_MORE}")
            assert w.value("SELECT 'inside'") == "inside"
            assert_rests(pooler)
            assert all(is_silent(new, 0) for new in waiting)
        for new in waiting:
            assert new.finish_login("app") is None
            assert new.value("SELECT 'served'") == "served"
        assert by_http.connection.getresponse().status == 200
    # It is no line for each attempt.
    assert pooler.log().count("accept() failed") <= 4
    assert_same(pooler, before)


# Servers

def test_a_client_that_needs_a_new_server_waits_for_one_that_there_is(make_pooler):
    pooler = make_pooler(default_pool_size=2)
    before = census(pooler)
    with pooler.wire() as first, pooler.wire() as second:
        first.query("BEGIN")
        with out_of_descriptors(pooler):
            second.send_raw(query("SELECT 'second'"))
            pooler_waits = eventually(lambda: "connect failed" in pooler.log(), "it is tried")
            assert pooler_waits and is_silent(second)
            assert_rests(pooler)
            assert first.value("SELECT 'first'") == "first"
            first.query("COMMIT")
            assert second.result().value == "second"
    assert_same(pooler, before)


def test_a_client_that_no_server_can_be_opened_for_is_told(make_pooler):
    """Those of another pool, which has a server, are not concerned."""
    pooler = make_pooler(databases={"app": {}, "second": {}}, breaker_failures=1, server_login_retry=1)
    before = census(pooler)
    with pooler.wire("second") as other:
        other.query("SELECT 1")
        with pooler.wire() as w:
            pooler.lose_servers("app")
            other.query("SELECT 1")
            with out_of_descriptors(pooler):
                error = w.query("SELECT 1").error
                assert_error(error, "server login has been failing, cached error: connect failed", "57P03")
                assert NO_MORE in error["D"]
                assert other.value("SELECT 'other'") == "other"
                assert_rests(pooler)
        eventually(lambda: ask(pooler) is None, "servers are opened again")
    assert_same(pooler, before)


def test_a_cancel_request_that_cannot_be_passed_on_ends_and_the_query_does_not(make_pooler, pg):
    pooler = make_pooler()
    with pooler.wire() as w:
        w.query("SELECT 1")
        before = census(pooler)
        with out_of_descriptors(pooler, spare=1):
            w.send_raw(query("SELECT pg_sleep(0.5), 'to its end'"))
            eventually(lambda: pg.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), "it runs")
            w.cancel()
            assert w.result().rows == [["", "to its end"]]
        w.send_raw(query("SELECT pg_sleep(100)"))
        eventually(lambda: pg.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), "it runs")
        w.cancel()
        assert w.result().error["C"] == "57014"
        assert_same(pooler, before)


def test_a_name_that_cannot_be_asked_for_is_told_and_asked_for_again(make_pooler, pg, names):
    names.names["db.pgsluice.test"] = ["127.0.0.1"]
    pooler = make_pooler(databases={"app": {"host": "db.pgsluice.test", "port": pg.port}}, dns_nxdomain_ttl=0,
                         resolv_conf=names.conf, breaker_failures=1, server_login_retry=1)
    before = census(pooler)
    with out_of_descriptors(pooler, spare=1):
        assert_error(ask(pooler), "server login has been failing, cached error: server DNS lookup failed", "57P03")
        assert_rests(pooler)
    eventually(lambda: ask(pooler) is None, "the name is found")
    # The library keeps its socket to the name server.
    eventually(lambda: census(pooler)["descriptors"] <= before["descriptors"] + 1, "no descriptor is lost")


# Logins that others decide on

def test_auth_query_that_cannot_be_asked_refuses_the_login(make_pooler, pg):
    table = SecretTable(pg)
    try:
        table.put("looked_up", "look me up")
        pooler = make_pooler(databases={"app": {"user": "app"}}, auth_type="md5", auth_user="postgres",
                             auth_query=SecretTable.QUERY, userlist={"admin": "admin"})
        with out_of_descriptors(pooler, spare=1):
            assert_error(pooler.attempt("look me up", "looked_up").error, "bouncer config error", "58000")
            assert_rests(pooler)
        assert pooler.attempt("look me up", "looked_up").outcome == "in"
        assert NO_MORE in pooler.log()
    finally:
        table.close()


def test_pam_that_cannot_be_asked_refuses_the_login(make_pooler):
    pam = Pam({"by_pam": "right"})
    try:
        pooler = make_pooler(databases={"app": {"user": "app"}}, auth_type="pam", auth_pam_confdir=pam.confdir)
        with out_of_descriptors(pooler, spare=1):
            assert pooler.attempt("right", "by_pam").outcome == "28000"
            assert_rests(pooler)
        assert pooler.attempt("right", "by_pam").outcome == "in"
        assert f"cannot start an auth helper process: {NO_MORE}" in pooler.log()
    finally:
        pam.close()


# Configuration and log

@pytest.mark.parametrize("way", ["RELOAD", "SIGHUP"])
def test_a_reload_that_cannot_read_its_files_changes_nothing(make_pooler, way):
    pooler = make_pooler(start=False, databases={"app": {"user": "app"}}, auth_type="md5",
                         userlist={"app": "secret", "admin": "admin"})
    pooler.settings["logfile"] = os.path.join(pooler.directory, "lines")
    pooler.write()
    pooler.start()
    pooler.userlist["another"] = "of the new file"
    pooler.settings["default_pool_size"] = 7
    pooler.write()
    with open_console(pooler) as console:
        with out_of_descriptors(pooler):
            if way == "RELOAD":
                assert NO_MORE in str(console.query("RELOAD").error)
            else:
                pooler.hang_up()
            assert "7" not in [row["value"] for row in console.query("SHOW CONFIG").dicts()
                               if row["key"] == "default_pool_size"]
        assert pooler.attempt("secret").outcome == "in"
        assert pooler.attempt("of the new file", "another").outcome == "28P01"
        assert console.query("RELOAD").error is None
        assert pooler.attempt("of the new file", "another").outcome == "in"
    with open(pooler.settings["logfile"]) as f:
        assert "RELOAD failed, the former configuration stays in force" in f.read()


# Looking on

def test_figures_are_told_without_a_descriptor(make_pooler):
    """And the one that says so is right: all that may be open are."""
    http_port = free_port()
    pooler = make_pooler(http_listen_addr="127.0.0.1", http_port=http_port, userlist={"admin": "admin", "app": ""})
    with pooler.wire() as w, open_console(pooler) as console, Http(http_port, login=("admin", "admin")) as http:
        w.query("SELECT 1")
        http.text("/metrics")
        shown = [row[0].split()[-1] for row in console.query("SHOW HELP").rows if row[0].startswith("SHOW ")]
        with out_of_descriptors(pooler):
            for name in shown or ("POOLS", "CLIENTS", "SERVERS", "SOCKETS", "LISTS", "MEM", "CONFIG", "STATE", "FDS"):
                console.query(f"SHOW {name}")
            metrics = http.text("/metrics")
            limit = limit_of(pooler)
    used = re.findall(r"^\w*process_open_fds (\d+)$", metrics, re.M)
    assert used and all(int(n) >= limit for n in used)


def test_memory_that_cannot_be_looked_at_is_as_it_was(make_pooler):
    pooler = make_pooler()
    assert ask(pooler) is None
    assert pooler.admin_result("SET max_memory = '1MB'").error is None
    eventually(lambda: "max_memory is" in pooler.log(), "memory is short")
    with out_of_descriptors(pooler, spare=1):
        with pooler.raw() as w:
            eventually(lambda: len(descriptors(pooler)) >= limit_of(pooler), "it is let in", every=0.01)
            time.sleep(0.3)
            assert_error(w.try_login("app", "app"), "no more connections allowed (max_memory)", "53200")
