"""server_fast_close: servers that are to be replaced do not wait for the end of their clients' sessions."""

import select

import pytest
from harness.pooler import assert_error
from harness.system import eventually
from harness.wire import query

TEXT = "database configuration changed"


def replace_servers(pooler, **settings):
    """A reload after which the database's servers are to be others."""
    pooler.databases["app"]["connect_query"] = "SELECT 'another'"
    assert pooler.reload(**settings).error is None


def make(make_pooler, pool_mode="session", server_fast_close=1, **settings):
    return make_pooler(pool_mode=pool_mode, server_fast_close=server_fast_close, **settings)


def test_an_idle_session_ends_at_once(make_pooler):
    pooler = make(make_pooler)
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"
        replace_servers(pooler)
        result = w.result()
        assert_error(result.error, TEXT, "57P01")
        assert result.error["S"] == "FATAL" and "server_fast_close" in result.error["H"]
        assert w.is_closed()
    pooler.wait_pool(cl_active=0, sv_active=0, sv_idle=0, sv_used=0)


def test_a_transaction_is_not_interrupted(make_pooler):
    pooler = make(make_pooler)
    with pooler.wire() as w:
        w.query("BEGIN")
        replace_servers(pooler)
        assert w.value("SELECT 1") == "1"
        result = w.query("COMMIT")
        assert result.tags == ["COMMIT"] and result.status == "I"
        assert_error(w.result().error, TEXT, "57P01")


def test_a_running_query_is_not_interrupted(make_pooler):
    pooler = make(make_pooler)
    with pooler.wire() as w:
        w.send_raw(query("SELECT pg_sleep(1), 'whole'"))
        pooler.wait_pool(sv_active=1)
        replace_servers(pooler)
        assert w.result().rows == [["", "whole"]]
        assert_error(w.result().error, TEXT, "57P01")


def test_a_client_without_a_server_stays(make_pooler):
    pooler = make(make_pooler)
    with pooler.wire() as w:
        replace_servers(pooler)
        assert w.value("SELECT 1") == "1"


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_elsewhere_than_in_session_mode_nobody_is_sent_away(make_pooler, mode):
    pooler = make(make_pooler, mode)
    with pooler.wire() as w:
        before = w.backend()
        replace_servers(pooler)
        eventually(lambda: w.backend() != before, "another server")


def test_without_the_setting_a_session_goes_on(make_pooler):
    pooler = make(make_pooler, server_fast_close=0)
    with pooler.wire() as w:
        before = w.backend()
        replace_servers(pooler)
        assert w.backend() == before
        assert not select.select([w.sock], [], [], 0)[0]


def test_setting_it_ends_sessions_whose_servers_were_to_be_replaced_before(make_pooler):
    pooler = make(make_pooler, server_fast_close=0)
    with pooler.wire() as w, pooler.wire() as busy:
        w.backend()
        busy.query("BEGIN")
        replace_servers(pooler)
        assert w.value("SELECT 1") == "1"
        pooler.reload(server_fast_close=1)
        assert_error(w.result().error, TEXT, "57P01")
        assert busy.query("COMMIT").tags == ["COMMIT"]
        assert_error(busy.result().error, TEXT, "57P01")


def test_sessions_of_other_databases_go_on(make_pooler, pg):
    pooler = make(make_pooler, databases={"app": {}, "other": {"dbname": "app"}})
    with pooler.wire() as w, pooler.wire(dbname="other") as other:
        w.backend()
        before = other.backend()
        replace_servers(pooler)
        assert_error(w.result().error, TEXT, "57P01")
        assert other.backend() == before
