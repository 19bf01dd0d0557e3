"""
target_session_attrs: which of a database's hosts serve it by what they are, primary or standby, and what follows
when that changes: failover, switch-over, a host that comes back as something else.
"""

import contextlib
import itertools
import socket
import threading
import time

import pytest

from harness.pg import PASSWORD
from harness.pooler import assert_error
from harness.replica import PRIMARY, STANDBY
from harness.system import eventually
from harness.wire import Closed, query

WHERE = "SELECT host(inet_server_addr())"
WRITE = "INSERT INTO written VALUES (1) RETURNING host(inet_server_addr())"

# Seconds from the end of a promotion until its pools use the new primary, with all settings as they are by default.
FAILOVER = 5

ATTRS = ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"]


@pytest.fixture
def pair(replicas):
    """With a table to write to."""
    replicas.primary.rows("CREATE TABLE written (i int); GRANT ALL ON written TO PUBLIC", "app")
    replicas.standby.wait_caught_up()
    return replicas


@pytest.fixture
def make(make_pooler, pair):
    """make("standby", setting=value): a pooler with one database, on both hosts."""
    def make(attrs=None, hosts=None, user=None, password=None, **settings):
        settings.setdefault("host_check_interval", 1)
        entry = {"host": hosts or pair.hosts, "port": pair.port}
        entry |= {"target_session_attrs": attrs} if attrs else {}
        entry |= {"user": user} if user else {}
        entry |= {"password": password} if password else {}
        return make_pooler(databases={"app": entry}, **settings)
    return make


def attempt(pooler, sql=WRITE, timeout=30, **login):
    """One statement of a new client: where it was executed, or the SQLSTATE, or how else it ended."""
    try:
        with pooler.raw(timeout) as w:
            error = w.try_login(login.get("user", "app"), login.get("database", "app"), login.get("password"))
            return error["C"] if error else outcome(w.query(sql))
    except (Closed, ConnectionError):
        return "closed"
    except socket.timeout:
        return "hangs"


def ask(w, sql=WRITE):
    """The same by a client that is there, and may have been cut off."""
    try:
        return outcome(w.query(sql))
    except ConnectionError:
        return "closed"


def outcome(result):
    if result.error:
        return result.error["C"]
    return result.rows[0][0] if result.rows else "closed"


@contextlib.contextmanager
def transactions(pooler, n, database="app"):
    """So many at a time, each on a server of its own: yields the clients."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(pooler.wire(database)) for _ in range(n)]
        for w in clients:
            assert w.query("BEGIN").error is None
        yield clients


def servers(pooler, n=4, database="app"):
    """Where so many servers are that are in use at a time."""
    with transactions(pooler, n, database) as clients:
        return [w.value(WHERE) for w in clients]


def expect_soon(pooler, where, sql=WRITE, timeout=FAILOVER, **login):
    eventually(lambda: attempt(pooler, sql, **login) == where, f"{sql} is executed at {where}", timeout)


def pooled(server):
    """Process ids of a server's backends that serve clients of the pooler."""
    return [pid for pid, in server.rows(
        "SELECT pid FROM pg_stat_activity WHERE datname = 'app' AND backend_type = 'client backend'"
        " AND application_name NOT IN ('observer', 'pgsluice')")]


def probing(server):
    """As whom the pooler asks a server what it is, one name for each connection."""
    return [name for name, in server.rows(
        "SELECT usename FROM pg_stat_activity WHERE application_name = 'pgsluice'")]


def hosts_table(pooler):
    """SHOW HOSTS by address."""
    rows = pooler.admin("SHOW HOSTS")
    found = {host: row for row in rows for host in (PRIMARY, STANDBY) if host in row["address"]}
    assert len(found) == len(rows), rows
    return found


class Writer:
    """Writes all the time, as a new client each time, and remembers what came of it."""

    def __init__(self, pooler):
        self.pooler, self.outcomes, self.is_over = pooler, [], threading.Event()
        self.thread = threading.Thread(target=self._write, daemon=True)

    def _write(self):
        while not self.is_over.is_set():
            self.outcomes.append(attempt(self.pooler))
            time.sleep(0.005)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()


# Who serves whom

SERVED_BY = {"any": {PRIMARY, STANDBY}, "read-write": {PRIMARY}, "primary": {PRIMARY}, "read-only": {STANDBY},
             "standby": {STANDBY}, "prefer-standby": {STANDBY}}


@pytest.mark.parametrize("hosts", [f"{PRIMARY},{STANDBY}", f"{STANDBY},{PRIMARY}"], ids=["primary first", "last"])
@pytest.mark.parametrize("attrs", ATTRS)
def test_each_reaches_its_own(make, attrs, hosts):
    pooler = make(attrs, hosts)
    # The first client already, when nothing is known yet.
    assert attempt(pooler, WHERE) in SERVED_BY[attrs]
    assert set(servers(pooler, 6)) == SERVED_BY[attrs]


@pytest.mark.parametrize("balance", ["disable", "round-robin", "least-connections"])
@pytest.mark.parametrize("attrs", ["primary", "standby"])
def test_whatever_load_balance_hosts_says(make, attrs, balance):
    assert set(servers(make(attrs, load_balance_hosts=balance))) == SERVED_BY[attrs]


def test_without_it_any_host_serves(make):
    assert set(servers(make())) == {PRIMARY, STANDBY}


def test_the_global_setting_holds_where_a_database_has_none(make_pooler, pair):
    on_both = {"host": pair.hosts, "port": pair.port, "dbname": "app"}
    pooler = make_pooler(databases={"app": on_both, "writes": {**on_both, "target_session_attrs": "primary"}},
                         target_session_attrs="standby")
    assert pooler.config("target_session_attrs") == "standby"
    assert set(servers(pooler)) == {STANDBY}
    assert set(servers(pooler, database="writes")) == {PRIMARY}


def test_a_word_that_is_none_is_refused(make):
    pooler = make("primary")
    pooler.databases["app"]["target_session_attrs"] = "master"
    error = pooler.reload().error
    assert error is not None
    assert "target_session_attrs" in error["M"] + error.get("D", "") + pooler.log()
    assert attempt(pooler) == PRIMARY


def test_a_reload_moves_the_pool(make):
    pooler = make("primary")
    assert set(servers(pooler)) == {PRIMARY}
    pooler.databases["app"]["target_session_attrs"] = "standby"
    assert pooler.reload().error is None
    expect_soon(pooler, STANDBY, WHERE)
    assert set(servers(pooler)) == {STANDBY}


def test_a_primary_that_is_read_only_is_still_the_primary(make, pair):
    """read-write and read-only go by what a transaction may do, primary and standby by recovery."""
    pair.primary.be_read_only()
    assert set(servers(make("primary"))) == {PRIMARY}
    assert set(servers(make("standby"))) == {STANDBY}
    assert set(servers(make("read-only"), 6)) == {PRIMARY, STANDBY}
    pooler = make("read-write", server_down_action="fail")
    assert attempt(pooler) == "57P03"
    pair.primary.be_read_only(False)
    expect_soon(pooler, PRIMARY)


def test_no_host_is_what_is_wanted(make, pair):
    """The standby does not serve writers, nor the primary those who want a standby."""
    pair.standby.stop()
    pooler = make("standby", server_down_action="fail")
    assert attempt(pooler, WHERE) == "57P03"
    pair.standby.start()
    expect_soon(pooler, STANDBY, WHERE)
    pair.primary.stop()
    pooler = make("read-write", server_down_action="fail")
    assert attempt(pooler) == "57P03"


# prefer-standby

def test_prefer_standby_falls_back_to_the_primary_and_returns(make, pair):
    """A server of the primary's stays until its time has come, the one that replaces it is the standby's."""
    pooler = make("prefer-standby", server_lifetime=2)
    assert set(servers(pooler)) == {STANDBY}
    pair.standby.stop()
    expect_soon(pooler, PRIMARY)
    with transactions(pooler, 1) as [w]:
        assert w.value(WHERE) == PRIMARY
        pair.standby.start()
        eventually(lambda: set(servers(pooler)) == {STANDBY}, "the standby serves again")
        assert w.value(WHERE) == PRIMARY


def test_prefer_standby_starts_with_the_standby_down(make, pair):
    pair.standby.stop()
    assert set(servers(make("prefer-standby"))) == {PRIMARY}


def test_prefer_standby_serves_when_the_only_standby_becomes_the_primary(make, pair):
    pooler = make("prefer-standby")
    assert set(servers(pooler)) == {STANDBY}
    pair.primary.stop()
    pair.standby.promote()
    expect_soon(pooler, STANDBY)


# Failover

@pytest.mark.parametrize("action", ["wait", "fail"])
@pytest.mark.parametrize("attrs", ["read-write", "primary"])
def test_the_new_primary_is_found_after_a_failover(make, pair, attrs, action):
    pooler = make(attrs, server_down_action=action, host_check_interval=None)
    assert set(servers(pooler)) == {PRIMARY}
    pair.primary.stop()
    pair.standby.promote()
    began = time.monotonic()
    expect_soon(pooler, STANDBY)
    assert time.monotonic() - began < FAILOVER
    assert set(servers(pooler)) == {STANDBY}


def test_clients_stay_connected_over_a_failover(make, pair):
    pooler = make("read-write", server_down_action="wait")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(pooler.wire()) for _ in range(20)]
        assert {w.value(WRITE) for w in clients} == {PRIMARY}
        pair.primary.stop()
        pooler.wait_pool(sv_idle=0, sv_active=0)
        pair.standby.promote()
        assert {w.value(WRITE) for w in clients} == {STANDBY}


def test_clients_wait_for_the_new_primary(make, pair):
    """Those who ask during the failover: nobody is told of it."""
    pooler = make("read-write", server_down_action="wait")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(pooler.wire()) for _ in range(20)]
        assert {w.value(WRITE) for w in clients} == {PRIMARY}
        pair.primary.stop()
        pooler.wait_pool(sv_idle=0, sv_active=0)
        for w in clients:
            w.send_raw(query(WRITE))
        pooler.wait_pool(cl_waiting=20)
        # Longer than a few rounds of questions: waiting is not bounded by them.
        time.sleep(3)
        pair.standby.promote()
        began = time.monotonic()
        assert {outcome(w.result()) for w in clients} == {STANDBY}
        assert time.monotonic() - began < FAILOVER


def test_clients_that_come_during_a_failover_wait_too(make, pair):
    pooler = make("read-write", server_down_action="wait")
    assert attempt(pooler) == PRIMARY
    pair.primary.stop()
    pooler.wait_pool(sv_idle=0, sv_active=0)
    outcomes = []
    late = [threading.Thread(target=lambda: outcomes.append(attempt(pooler))) for _ in range(5)]
    for thread in late:
        thread.start()
    time.sleep(1)
    assert not outcomes
    pair.standby.promote()
    for thread in late:
        thread.join()
    assert outcomes == [STANDBY] * 5


def test_clients_are_told_with_server_down_action_fail(make, pair):
    pooler = make("read-write", server_down_action="fail")
    with pooler.wire() as w:
        assert w.value(WRITE) == PRIMARY
        pair.primary.stop()
        pooler.wait_pool(sv_idle=0, sv_active=0)
        eventually(lambda: attempt(pooler) == "57P03", "new clients are refused")
        result = w.query(WRITE)
        assert_error(result.error, None, "57P03")
    assert attempt(pooler) == "57P03"
    pair.standby.promote()
    expect_soon(pooler, STANDBY)


def test_a_failover_in_the_middle_of_transactions(make, pair):
    """They end with an error and not with silence; nothing of them comes to the new primary."""
    pooler = make("read-write")
    with transactions(pooler, 3) as clients:
        for w in clients:
            assert w.value(WRITE) == PRIMARY
        pair.primary.stop()
        for w in clients:
            assert ask(w) not in (PRIMARY, STANDBY)
    pair.standby.promote()
    assert pair.standby.value("SELECT count(*) FROM written", "app") == 0
    expect_soon(pooler, STANDBY)


def test_a_primary_that_hangs_is_left(make, pair):
    """It has not gone, it says nothing, as if its machine had lost its network."""
    pooler = make("primary", server_connect_timeout=2)
    assert set(servers(pooler)) == {PRIMARY}
    pair.primary.hang()
    pair.standby.promote()
    eventually(lambda: attempt(pooler, timeout=3) == STANDBY, "the new primary", timeout=30)
    eventually(lambda: set(servers(pooler)) == {STANDBY}, "nobody is sent to the old one")


@pytest.mark.parametrize("attrs", ["standby", "read-only"])
def test_readers_leave_a_promoted_standby(make, pair, attrs):
    """Its servers, idle and in use, become those of a primary without their connections ending."""
    pooler = make(attrs)
    assert set(servers(pooler, 3)) == {STANDBY}
    with transactions(pooler, 1) as [w]:
        assert w.value(WHERE) == STANDBY
        pair.standby.promote()
        pair.primary.follow(pair.standby)
        expect_soon(pooler, PRIMARY, WHERE)
        assert w.query("COMMIT").error is None
        assert w.value(WHERE) == PRIMARY
    assert set(servers(pooler)) == {PRIMARY}
    eventually(lambda: not pooled(pair.standby), "the servers of the new primary are closed")


# The old primary comes back

def test_nobody_writes_to_an_old_primary_that_is_a_standby_now(make, pair):
    pooler = make("read-write")
    servers(pooler, 5)
    pair.primary.stop()
    pair.standby.promote()
    expect_soon(pooler, STANDBY)
    with Writer(pooler) as one, Writer(pooler) as other:
        pair.primary.follow(pair.standby)
        before = len(one.outcomes)
        eventually(lambda: len(one.outcomes) >= before + 100, "enough of them")
        assert set(servers(pooler, 5)) == {STANDBY}
    assert set(one.outcomes) | set(other.outcomes) == {STANDBY}
    assert not pooled(pair.primary)


def test_there_and_back_again(make, pair):
    pooler = make("primary")
    assert attempt(pooler) == PRIMARY
    pair.standby.wait_caught_up()
    pair.primary.stop()
    pair.standby.promote()
    expect_soon(pooler, STANDBY)
    pair.primary.follow(pair.standby)
    pair.standby.stop()
    pair.primary.promote()
    expect_soon(pooler, PRIMARY)
    assert pair.primary.value("SELECT count(*) FROM written", "app") == 3


def test_a_switch_over_with_the_old_primary_up_and_read_only(make, pair):
    """Idle servers of the old one are not used again, and the one in use is closed at the end of its transaction."""
    pooler = make("read-write")
    assert set(servers(pooler, 5)) == {PRIMARY}
    with transactions(pooler, 1) as [w]:
        assert w.value(WRITE) == PRIMARY
        pair.primary.be_read_only()
        pair.standby.wait_caught_up()
        pair.standby.promote()
        expect_soon(pooler, STANDBY)
        # It has begun as one that writes, and ends so.
        assert w.value(WRITE) == PRIMARY
        assert w.query("COMMIT").error is None
        assert w.value(WRITE) == STANDBY
    assert set(servers(pooler, 5)) == {STANDBY}
    eventually(lambda: not pooled(pair.primary), "the old servers are closed")


def test_a_refused_write_is_a_reason_to_ask(make, pair):
    """SQLSTATE 25006: long before it would be time to ask, the pool has moved."""
    pooler = make("read-write", host_check_interval=1000)
    with pooler.wire() as w:
        assert w.value(WRITE) == PRIMARY
        pair.primary.be_read_only()
        pair.standby.promote()
        eventually(lambda: ask(w) == STANDBY, "the new primary", timeout=10)
    assert set(servers(pooler)) == {STANDBY}


def test_a_write_refused_by_a_clients_own_transaction_moves_nothing(make, pair):
    pooler = make("read-write", default_pool_size=1)
    with pooler.wire() as w:
        backend = w.backend()
        for _ in range(20):
            w.query("BEGIN READ ONLY")
            assert_error(w.query(WRITE).error, None, "25006")
            assert w.query("ROLLBACK").error is None
        time.sleep(1.5)
        assert w.value(WRITE) == PRIMARY
        assert w.backend() == backend


def test_a_lost_connection_is_a_reason_to_ask(make, pair):
    """That of the pooler's own, which ends with the server: no client is needed to find out."""
    pooler = make("read-write", host_check_interval=1000)
    assert attempt(pooler) == PRIMARY
    eventually(lambda: hosts_table(pooler)[PRIMARY]["role"] == "primary", "the role is known")
    assert hosts_table(pooler)[PRIMARY]["failures"] == "0"
    pair.primary.stop()
    eventually(lambda: hosts_table(pooler)[PRIMARY]["failures"] != "0", "the failure is known")


# How hosts are chosen

def test_least_connections_fills_both_hosts_evenly(make):
    pooler = make("any", load_balance_hosts="least-connections")
    found = servers(pooler, 6)
    assert found.count(PRIMARY) == found.count(STANDBY) == 3


def test_least_connections_counts_the_servers_of_all_pools(make_pooler, pair):
    one = {"host": PRIMARY, "port": pair.port, "dbname": "app"}
    pooler = make_pooler(databases={"app": {**one, "host": pair.hosts}, "one": one},
                         load_balance_hosts="least-connections")
    with transactions(pooler, 4, "one"):
        assert servers(pooler, 4) == [STANDBY] * 4
        found = servers(pooler, 6)
        assert found.count(PRIMARY) == 1


def test_least_connections_passes_over_a_dead_host(make, pair):
    pair.standby.stop()
    assert servers(make("any", load_balance_hosts="least-connections")) == [PRIMARY] * 4


# Who asks

def test_the_forced_user_asks(make, pair):
    make("primary", user="scram_user", password=PASSWORD).wire().close()
    for server in pair.servers:
        eventually(lambda: probing(server) == ["scram_user"], "the forced user asks")


def test_auth_user_asks(make, pair):
    make("primary", auth_user="md5_user", userlist={"app": "", "md5_user": PASSWORD}).wire().close()
    for server in pair.servers:
        eventually(lambda: probing(server) == ["md5_user"], "auth_user asks")


def test_a_user_with_a_known_password_asks(make, pair):
    pooler = make("primary", userlist={"scram_user": PASSWORD})
    assert attempt(pooler, user="scram_user") == PRIMARY
    for server in pair.servers:
        eventually(lambda: probing(server) == ["scram_user"], "the pool's user asks")


@pytest.mark.parametrize("hosts", [f"{PRIMARY},{STANDBY}", f"{STANDBY},{PRIMARY}"], ids=["primary first", "last"])
def test_without_a_password_logins_tell(make, pair, hosts):
    """Only SCRAM secrets are known, which let the pooler in for a client, but libpq cannot use them."""
    pooler = make("read-write", hosts, userlist={"scram_user": pair.primary.secret("scram_user")},
                  auth_type="scram-sha-256")
    login = {"user": "scram_user", "password": PASSWORD}
    expect_soon(pooler, PRIMARY, **login)
    for _ in range(10):
        assert attempt(pooler, **login) == PRIMARY
    pair.primary.stop()
    pair.standby.promote()
    expect_soon(pooler, STANDBY, timeout=20, **login)


def test_without_a_password_a_switch_over_is_seen(make, pair):
    pooler = make("read-write", userlist={"scram_user": pair.primary.secret("scram_user")},
                  auth_type="scram-sha-256")
    login = {"user": "scram_user", "password": PASSWORD}
    expect_soon(pooler, PRIMARY, **login)
    pair.primary.be_read_only()
    pair.standby.promote()
    expect_soon(pooler, STANDBY, timeout=20, **login)


def test_a_host_is_asked_over_one_connection_whoever_wants_to_know(make_pooler, pair):
    on_both = {"host": pair.hosts, "port": pair.port, "dbname": "app"}
    names = [f"app{i}" for i in range(5)]
    pooler = make_pooler(databases={name: {**on_both, "target_session_attrs": attrs}
                                    for name, attrs in zip(names, itertools.cycle(["primary", "standby"]))},
                         host_check_interval=1)
    for name in names:
        servers(pooler, 1, name)
    for server in pair.servers:
        eventually(lambda: probing(server), "it is asked")
    time.sleep(1.5)
    assert [len(probing(server)) for server in pair.servers] == [1, 1]


# SHOW HOSTS

def test_show_hosts(make, pair):
    pooler = make("any")
    with transactions(pooler, 4) as clients:
        where = [w.value(WHERE) for w in clients]

        def are_known():
            table = hosts_table(pooler)
            return [table[host]["role"] for host in (PRIMARY, STANDBY)] == ["primary", "standby"]

        eventually(are_known, "both roles are known")
        table = hosts_table(pooler)
        for host, row in table.items():
            assert {"address", "state", "role", "failures", "last_error", "next_try", "connecting",
                    "servers"} <= row.keys()
            assert row["servers"] == str(where.count(host))
            assert row["connecting"] == "0"
            assert row["failures"] == "0"
        assert table[PRIMARY]["state"] == table[STANDBY]["state"]


def test_show_hosts_has_a_row_for_each_host_and_port(make_pooler, pair):
    on_both = {"host": pair.hosts, "port": pair.port, "dbname": "app"}
    pooler = make_pooler(databases={"app": on_both, "again": on_both})
    servers(pooler)
    servers(pooler, database="again")
    assert sorted(row["address"] for row in pooler.admin("SHOW HOSTS")) == sorted(
        row["address"] for row in hosts_table(pooler).values())
    assert hosts_table(pooler).keys() == {PRIMARY, STANDBY}


def test_show_hosts_tells_of_failures_and_recovery(make, pair):
    pooler = make("primary")
    assert attempt(pooler) == PRIMARY
    eventually(lambda: hosts_table(pooler)[STANDBY]["role"] == "standby", "the role is known")
    state = hosts_table(pooler)[STANDBY]["state"]
    pair.standby.stop()
    eventually(lambda: int(hosts_table(pooler)[STANDBY]["failures"]) >= 2, "it fails again and again")
    row = hosts_table(pooler)[STANDBY]
    assert row["state"] != state
    assert row["last_error"]
    pair.standby.start()
    eventually(lambda: hosts_table(pooler)[STANDBY]["state"] == state, "it is well again")
    assert hosts_table(pooler)[STANDBY]["failures"] == "0"


def test_show_hosts_follows_a_promotion(make, pair):
    pooler = make("primary")
    assert attempt(pooler) == PRIMARY
    eventually(lambda: hosts_table(pooler)[STANDBY]["role"] == "standby", "the role is known")
    pair.standby.promote()
    eventually(lambda: hosts_table(pooler)[STANDBY]["role"] == "primary", "the new role is known", FAILOVER)
