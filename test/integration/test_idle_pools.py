"""pool_idle_timeout: pools and users that nobody needs any more go, and what they counted stays."""

import time

import pytest

from harness.system import eventually


def pools(pooler):
    return {(row["database"], row["user"]) for row in pooler.admin("SHOW POOLS")} - {("pgbouncer", "pgbouncer")}


def users(pooler):
    return {row["name"] for row in pooler.admin("SHOW USERS")}


def use(pooler, *args, **kwargs):
    with pooler.wire(*args, **kwargs) as w:
        assert w.value("SELECT 1") == "1"
        w.send("X")


def is_gone(pooler, *pool):
    eventually(lambda: pool not in pools(pooler), "the pool is dropped")
    return True


def stays(pooler, *pool, seconds=1):
    """It is there, and is still there after a time that is long for the timeouts here."""
    assert pool in pools(pooler)
    time.sleep(seconds)
    return pool in pools(pooler)


class Totals:
    """The counters of a database, and those of all; they may only grow."""

    def __init__(self, pooler, database):
        self.pooler, self.database = pooler, database
        self.last = {}
        self.check()

    def read(self):
        found = {row["name"]: int(row["value"]) for row in self.pooler.admin("SHOW TOTALS")
                 if row["name"].startswith("total_")}
        for table in ("STATS", "STATS_TOTALS"):
            for row in self.pooler.admin(f"SHOW {table}"):
                if row["database"] == self.database:
                    found.update({(table, k): int(v) for k, v in row.items()
                                  if k != "database" and not k.startswith("avg_")})
        return found

    def check(self):
        now = self.read()
        assert self.last.keys() <= now.keys()
        assert {k: (v, now[k]) for k, v in self.last.items() if now[k] < v} == {}
        self.last = now
        return now


def test_a_pool_without_clients_and_servers_goes(make_pooler):
    pooler = make_pooler(pool_idle_timeout="300ms", server_idle_timeout="300ms")
    use(pooler)
    totals = Totals(pooler, "app")
    assert totals.last["STATS", "total_query_count"] == 1
    assert is_gone(pooler, "app", "app")
    assert "dropping pool 'app/app' as inactive" in pooler.log()
    # The database stays, and so does what was counted.
    assert "app" in {row["name"] for row in pooler.admin("SHOW DATABASES")}
    assert totals.check()["STATS", "total_query_count"] == 1
    use(pooler)
    assert totals.check()["STATS", "total_query_count"] == 2
    assert ("app", "app") in pools(pooler)


def test_by_default_no_pool_goes(make_pooler):
    pooler = make_pooler(server_idle_timeout="100ms")
    use(pooler)
    assert stays(pooler, "app", "app")
    assert pooler.pool()["sv_idle"] == "0"


def test_a_pool_with_a_client_stays(make_pooler):
    pooler = make_pooler(pool_idle_timeout="200ms", server_idle_timeout="200ms")
    with pooler.wire() as w:
        w.query("SELECT 1")
        assert stays(pooler, "app", "app", seconds=1.5)
        assert w.value("SELECT 1") == "1"
    assert is_gone(pooler, "app", "app")


def test_a_pool_with_a_server_stays(make_pooler):
    pooler = make_pooler(pool_idle_timeout="200ms")
    use(pooler)
    assert stays(pooler, "app", "app")
    assert pooler.pool()["sv_idle"] == "1"


def test_a_pool_that_is_waited_for_stays(make_pooler, pg):
    """A login that waits for its first server."""
    pooler = make_pooler(pool_idle_timeout="200ms", server_connect_timeout=30)
    pg.freeze()
    with pooler.raw() as w:
        w.startup({"user": "app", "database": "app"})
        pooler.wait_pool(sv_login=1)
        assert stays(pooler, "app", "app")
        pg.thaw()
        assert w.finish_login("app") is None


def test_a_paused_pool_stays(make_pooler):
    """Its welcome lets clients in while there is no server to ask."""
    pooler = make_pooler(pool_idle_timeout="200ms")
    use(pooler)
    pooler.admin("PAUSE")
    assert stays(pooler, "app", "app")
    with pooler.wire():
        pooler.admin("RESUME")
    assert is_gone(pooler, "app", "app")


def test_the_time_begins_when_the_last_one_leaves(make_pooler):
    pooler = make_pooler(pool_idle_timeout=2, server_idle_timeout="100ms")
    for _ in range(4):
        use(pooler)
        time.sleep(0.7)
    assert ("app", "app") in pools(pooler)
    assert is_gone(pooler, "app", "app")


def test_a_minimum_without_clients_goes(make_pooler, pg):
    pooler = make_pooler(pool_idle_timeout=1, min_pool_size=2)
    with pooler.wire() as w:
        w.query("SELECT 1")
        pooler.wait_pool(sv_idle=2)
        time.sleep(1.5)
        pooler.wait_pool(sv_idle=2)
    assert pooler.pool()["sv_idle"] == "2"
    assert is_gone(pooler, "app", "app")
    assert "pool idle timeout" in pooler.log()
    eventually(lambda: not pg.backends(), "its servers are closed")


def test_a_minimum_of_a_forced_user_stays(make_pooler, pg):
    pooler = make_pooler(databases={"app": {"user": "app", "min_pool_size": 2}}, pool_idle_timeout="200ms",
                         server_idle_timeout="200ms")
    pooler.wait_pool(sv_idle=2)
    assert stays(pooler, "app", "app")
    assert pooler.pool()["sv_idle"] == "2"
    # Not even when it has none for a while.
    pg.stop()
    pooler.wait_pool(sv_idle=0)
    assert stays(pooler, "app", "app")


def test_a_forced_users_pool_without_minimum_goes(make_pooler):
    pooler = make_pooler(databases={"app": {"user": "app"}}, pool_idle_timeout="200ms", server_idle_timeout="200ms")
    use(pooler, user="other")
    assert is_gone(pooler, "app", "app")
    use(pooler, user="other")


def test_pools_go_one_by_one(make_pooler):
    pooler = make_pooler(databases={"app": {}, "second": {}}, pool_idle_timeout="300ms", server_idle_timeout="100ms")
    use(pooler, "second")
    use(pooler, user="other")
    totals = Totals(pooler, "app")
    with pooler.wire() as w:
        w.query("SELECT 1")
        assert is_gone(pooler, "app", "other") and is_gone(pooler, "second", "app")
        assert pools(pooler) == {("app", "app")}
        totals.check()
        assert w.value("SELECT 1") == "1"


def test_users_of_whom_nothing_is_left_go(make_pooler):
    pooler = make_pooler(databases={"app": {"user": "app"}}, auth_type="any", users={"named": {"pool_mode": "session"}},
                         pool_idle_timeout="300ms", server_idle_timeout="100ms", userlist={"app": "", "listed": ""})
    with pooler.wire(user="stays") as w:
        for user in ("stranger", "named", "listed"):
            use(pooler, user=user)
        assert {"stays", "stranger", "named", "listed"} <= users(pooler)
        eventually(lambda: "stranger" not in users(pooler), "the stranger is forgotten")
        assert {"stays", "named", "listed", "app"} <= users(pooler)
        assert w.value("SELECT 1") == "1"
        use(pooler, user="stranger")
    eventually(lambda: "stays" not in users(pooler), "all that are not configured are forgotten")


def test_a_dropped_automatic_database_leaves_its_counts_to_the_totals(make_pooler):
    pooler = make_pooler(databases={"*": {}}, autodb_idle_timeout="500ms", server_idle_timeout="100ms")
    use(pooler, "second")
    totals = Totals(pooler, "none of these")
    assert totals.last["total_query_count"] >= 1
    eventually(lambda: "second" not in {row["name"] for row in pooler.admin("SHOW DATABASES")},
               "the database is dropped")
    totals.check()
    use(pooler, "second")
    totals.check()


@pytest.mark.parametrize("before", ["0", "1h"])
def test_a_reload_changes_it_for_pools_that_idle_already(make_pooler, before):
    pooler = make_pooler(pool_idle_timeout=before, server_idle_timeout="100ms")
    use(pooler)
    pooler.wait_pool(sv_idle=0)
    assert pooler.reload(pool_idle_timeout="200ms").error is None
    assert is_gone(pooler, "app", "app")
    use(pooler)
    assert pooler.reload(pool_idle_timeout=before).error is None
    assert stays(pooler, "app", "app")


def test_frequent_reloads_do_not_put_it_off(make_pooler):
    pooler = make_pooler(pool_idle_timeout=1, server_idle_timeout="100ms")
    use(pooler)

    def dropped():
        assert pooler.reload().error is None
        return ("app", "app") not in pools(pooler)

    eventually(dropped, "the pool is dropped", every=0.1)


def test_clients_come_and_go_while_pools_are_dropped(make_pooler):
    """As often as not a login meets a pool that is being dropped."""
    pooler = make_pooler(pool_idle_timeout="10ms", server_idle_timeout="10ms", server_lifetime=0)
    totals = Totals(pooler, "app")
    for i in range(100):
        use(pooler, user=("app", "other")[i % 2])
        time.sleep(0.002 * (i % 10))
    assert totals.check()["STATS", "total_query_count"] == 100
