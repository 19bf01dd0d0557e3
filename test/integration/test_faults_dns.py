"""
Names cannot be looked up while a pool must connect, or while it has servers: who has a server or whose host's address is
known goes on, who needs the name is told or waits, and gets in when it is answered again.
"""

import contextlib
import os

import pytest

from harness.census import assert_same, census
from harness.pooler import assert_error
from harness.system import eventually
from harness.vouchers import SecretTable
from harness.wire import query

NAME, OTHER = "db.pgsluice.test", "other.pgsluice.test"


def silent(names):
    names.spoil = lambda *_: None


def fails(names):
    names.spoil = lambda question, reply, is_tcp: question.reply(code=2)


def garbage(names):
    names.spoil = lambda question, reply, is_tcp: question.packet[:2] + os.urandom(40)


def of_another_question(names):
    names.spoil = lambda question, reply, is_tcp: reply.replace(b"other", b"wrong")


WAYS = [silent, fails, garbage, of_another_question]


def make_named(make_pooler, names, pg, **settings):
    """`known` is a database on the host of NAME, `app` one on that of OTHER; answers expire at once."""
    names.names[NAME] = names.names[OTHER] = ["127.0.0.1"]
    return make_pooler(databases={"known": {"host": NAME, "port": pg.port, "dbname": "app"},
                                  "app": {"host": OTHER, "port": pg.port}},
                       **{"resolv_conf": names.conf, "dns_max_ttl": 0, "dns_nxdomain_ttl": 0, "server_login_retry": 1,
                          "breaker_failures": 1, "server_connect_timeout": 2, **settings})


@pytest.mark.parametrize("way", WAYS, ids=lambda f: f.__name__)
def test_who_needs_the_name_is_told_and_who_has_a_server_goes_on(make_pooler, names, pg, way):
    pooler = make_named(make_pooler, names, pg)
    with pooler.wire("known") as w:
        w.query("SELECT 1")
        before = census(pooler)
        way(names)
        with pooler.raw() as new:
            new.startup({"user": "app", "database": "app"})
            for i in range(20):
                assert w.value(f"SELECT {i}") == str(i)
            error = new.finish_login("app")
            assert_error(error, "server login has been failing, cached error: ", "57P03")
            assert OTHER in error["D"]
        names.spoil = None
        eventually(lambda: is_let_in(pooler), "the name is found again", every=0.1)
        eventually(lambda: {**census(pooler), "descriptors": 0} == {**before, "descriptors": 0}, "nobody is left")


def is_let_in(pooler):
    with pooler.raw() as w:
        return w.try_login("app", "app") is None and w.query("SELECT 1").error is None


@pytest.mark.parametrize("way", [silent, fails], ids=lambda f: f.__name__)
def test_who_may_wait_gets_in_when_names_are_answered_again(make_pooler, names, pg, way):
    pooler = make_named(make_pooler, names, pg, server_down_action="wait")
    way(names)
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(pooler.raw()) for _ in range(5)]
        for w in waiting:
            w.startup({"user": "app", "database": "app"})
        pooler.wait_pool(cl_waiting=5)
        pooler.wait_log("server DNS lookup failed")
        names.spoil = None
        for i, w in enumerate(waiting):
            assert w.finish_login("app") is None
            assert w.value(f"SELECT {i}") == str(i)


def test_servers_that_are_lost_while_names_fail_are_replaced_at_the_last_known_address(make_pooler, names, pg):
    pooler = make_named(make_pooler, names, pg)
    with pooler.wire("known") as w:
        w.query("SELECT 1")
        before = census(pooler)
        fails(names)
        pooler.lose_servers("app")
        assert w.value("SELECT 'replaced'") == "replaced"
        w.send_raw(query("SELECT pg_sleep(100)"))
        eventually(lambda: pg.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), "it runs")
        # A cancel request goes to an address, not to a name.
        w.cancel()
        assert w.result().error["C"] == "57014"
        assert_same(pooler, before)


def test_auth_query_where_the_name_is_not_found_refuses_the_login(make_pooler, names, pg):
    table = SecretTable(pg)
    try:
        table.put("looked_up", "look me up")
        names.names[NAME] = ["127.0.0.1"]
        pooler = make_pooler(databases={"app": {"host": NAME, "port": pg.port, "user": "app"}}, auth_type="md5",
                             auth_user="postgres", auth_query=SecretTable.QUERY, userlist={"admin": "admin"},
                             resolv_conf=names.conf, dns_max_ttl=0, dns_nxdomain_ttl=0, server_login_retry=1)
        fails(names)
        assert_error(pooler.attempt("look me up", "looked_up").error, "bouncer config error", "58000")
        assert f'cannot find host "{NAME}"' in pooler.log()
        names.spoil = None
        eventually(lambda: pooler.attempt("look me up", "looked_up").outcome == "in", "it is asked again")
    finally:
        table.close()
