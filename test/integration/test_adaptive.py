"""pool_size_mode = adaptive. How it decides is tested in simulated time: test/unit/pool/test_adaptive.c."""

import contextlib

import pytest

from harness.pg import Postgres
from harness.system import eventually
from harness.wire import query


@pytest.fixture
def make(make_pooler):
    def make_(**settings):
        return make_pooler(**{"pool_size_mode": "adaptive", "default_pool_size": 20, **settings})
    return make_


def row(pooler):
    [row] = pooler.admin("SHOW CAPACITY_POOLS")
    return row


def working_size(pooler):
    return int(row(pooler)["working_size"] or 0)


@contextlib.contextmanager
def asking(pooler, n, sql):
    """n clients that have asked; those who have not been answered are cut off at the end."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(pooler.wire()) for _ in range(n)]
        for client in clients:
            client.send_raw(query(sql))
        yield clients


def test_fixed_is_the_default(pooler):
    with pooler.wire() as w:
        w.query("SELECT 1")
        assert row(pooler)["working_size"] is None
    assert pooler.config("pool_size_mode") == "fixed"


def test_a_pool_begins_small_and_grows_to_what_is_asked_for(make, pg):
    pooler = make()
    with pooler.wire() as w:
        w.query("SELECT 1")
        assert working_size(pooler) == 1
    with asking(pooler, 12, "SELECT pg_sleep(60)"):
        pooler.wait_pool(cl_active=12, sv_active=12, cl_waiting=0)
        assert 12 <= working_size(pooler) <= 20


def test_it_never_exceeds_pool_size(make, pg):
    pooler = make(default_pool_size=5)
    with asking(pooler, 12, "SELECT pg_sleep(60)"):
        pooler.wait_pool(sv_active=5, cl_waiting=7)
        eventually(lambda: working_size(pooler) == 5, "pool_size is reached")
        assert len(pg.backends()) == 5


def test_min_pool_size_is_where_it_begins(make):
    pooler = make(min_pool_size=3)
    with pooler.wire() as w:
        w.query("SELECT 1")
        assert working_size(pooler) == 3


def test_a_query_behind_a_long_one_is_answered_before_it(make):
    pooler = make()
    with pooler.wire() as long, pooler.wire() as short:
        long.send_raw(query("SELECT pg_sleep(60)"))
        pooler.wait_pool(sv_active=1)
        assert short.query("SELECT 1").value == "1"
        assert pooler.pool()["sv_active"] == "1"


def test_databases_and_users_choose_for_themselves(make_pooler):
    pooler = make_pooler(databases={"app": {"pool_size_mode": "adaptive"}}, users={"other": {"pool_size_mode": "fixed"}})
    with pooler.wire() as a, pooler.wire(user="other") as b:
        a.query("SELECT 1")
        b.query("SELECT 1")
        assert {r["user"]: r["working_size"] for r in pooler.admin("SHOW CAPACITY_POOLS")} == {
            "app": "1", "other": None}


@pytest.fixture(scope="module")
def small_cluster(cluster):
    """17 slots that are not reserved; of 85 % of these, 14, two instances have 7 each."""
    pg = Postgres(settings=["max_connections = 20", "superuser_reserved_connections = 3"])
    yield pg
    pg.close()


@pytest.fixture
def bounded(make, small_cluster):
    small_cluster.clear()
    pooler = make(capacity_check_interval="0.2s",
                  databases={"app": {"host": "127.0.0.1", "port": small_cluster.port, "user": "app"}})
    eventually(lambda: pooler.admin("SHOW CAPACITY")[0]["checked_at"], "the server has been asked")
    return pooler


def test_what_the_server_has_for_this_pooler_is_not_exceeded(bounded):
    bounded.admin_result("SET instances = 2")
    with asking(bounded, 15, "SELECT pg_sleep(60)"):
        bounded.wait_pool(sv_active=7, cl_waiting=8)
        reasons = {w["reason"] for w in bounded.admin("SHOW WAITING")}
        assert (working_size(bounded), reasons) == (7, {"pool_size_mode"})
        bounded.admin_result("SET instances = 1")
        bounded.wait_pool(sv_active=14, cl_waiting=1)


def test_beyond_the_working_size_servers_rest_until_the_pool_is_fixed(bounded):
    with asking(bounded, 14, "SELECT pg_sleep(1)") as clients:
        bounded.wait_pool(sv_active=14)
        bounded.admin_result("SET instances = 2")
        for client in clients:
            client.result()
    eventually(lambda: working_size(bounded) == 7, "the bound is lower")
    with asking(bounded, 10, "SELECT pg_sleep(60)"):
        bounded.wait_pool(sv_active=7, sv_idle=7, cl_waiting=3)
        assert bounded.admin_result("SET pool_size_mode = fixed").error is None
        bounded.wait_pool(sv_active=10, sv_idle=4, cl_waiting=0)
        assert row(bounded)["working_size"] is None
    bounded.admin_result("SET pool_size_mode = adaptive")
    assert working_size(bounded) == 1
