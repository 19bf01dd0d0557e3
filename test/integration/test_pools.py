"""Pools: sizes, reserve, lifetimes, waiting, login failures, automatic databases, overrides."""

import contextlib
import threading
import time

import pytest

from harness.pooler import assert_error, in_transaction, open_servers
from harness.system import eventually
from harness.wire import Closed, FakeServer, cstring, packet, query, sync


# Size

def test_default_pool_size(make_pooler, pg):
    pooler = make_pooler(default_pool_size=2)
    with in_transaction(pooler, 2) as busy, pooler.wire() as waiting:
        waiting.send_raw(query("SELECT 'at last'"))
        pooler.wait_pool(cl_active=2, cl_waiting=1, sv_active=2)
        assert len(pg.backends()) == 2
        busy[0].query("COMMIT")
        assert waiting.result().value == "at last"


def test_waiting_clients_are_served_in_order(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    served = []
    with in_transaction(pooler, 1) as [busy], contextlib.ExitStack() as stack:
        waiting = []
        for i in range(5):
            waiting.append(stack.enter_context(pooler.wire()))
            waiting[i].send_raw(query("SELECT txid_current()"))
            pooler.wait_pool(cl_waiting=i + 1)
        busy.query("COMMIT")
        served = [int(w.result().value) for w in waiting]
    assert served == sorted(served)


def test_pools_are_apart_by_user_and_database(make_pooler):
    pooler = make_pooler(databases={"app": {}, "second": {}}, default_pool_size=1)
    with in_transaction(pooler, 1), in_transaction(pooler, 1, user="other"), \
            in_transaction(pooler, 1, dbname="second"):
        rows = {(row["database"], row["user"]): row["sv_active"] for row in pooler.admin("SHOW POOLS")}
        assert rows["app", "app"] == rows["app", "other"] == rows["second", "app"] == "1"


@pytest.mark.parametrize("database, user, expected", [(None, None, 3), (2, None, 2), (2, 1, 1), (None, 1, 1)])
def test_pool_size_of_user_before_database_before_global(make_pooler, database, user, expected):
    pooler = make_pooler(databases={"app": {"pool_size": database} if database else {}},
                         users={"app": {"pool_size": user}} if user else {}, default_pool_size=3)
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(pooler.wire()).send_raw(query("BEGIN"))
        pooler.wait_pool(sv_active=expected, cl_waiting=4 - expected)


def test_server_logins_go_in_parallel(make_pooler):
    """Four servers are in the middle of their logins at the same time, or the barrier breaks."""
    barrier = threading.Barrier(4)
    logins = []

    def script(peer):
        peer.read_startup()
        logins.append(peer)
        if len(logins) > 1:
            barrier.wait(10)
        peer.welcome()
        while True:
            kind, _ = peer.recv()
            if kind == "Q":
                peer.send("C", b"BEGIN\0")
                peer.ready("T")

    with FakeServer(script) as server:
        pooler = make_pooler(databases={"app": server.entry}, default_pool_size=8)
        with in_transaction(pooler, 1), in_transaction(pooler, 4):
            pass
        assert server.failures == []


def test_server_connect_parallel_is_a_limit(make_pooler):
    now, most, lock = 0, 0, threading.Lock()

    def script(peer):
        nonlocal now, most
        peer.read_startup()
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.1)
        with lock:
            now -= 1
        peer.welcome()
        peer.serve()

    with FakeServer(script) as server:
        pooler = make_pooler(databases={"app": server.entry}, default_pool_size=8, server_connect_parallel=2)
        with in_transaction_on_fake(pooler, 8):
            pass
    assert most <= 2


class Gate:
    """A server whose logins stand at a gate until it is opened for those that are there."""

    def __init__(self):
        self.lock, self.at_gate, self.most, self.inside = threading.Condition(), [], 0, 0

    def script(self, peer):
        peer.read_startup()
        answer = self.stand()
        if answer is not None:
            peer.error(*answer)
            peer.close()
            return
        peer.welcome()
        with self.lock:
            self.inside += 1
        with contextlib.suppress(Closed):
            while peer.recv().type == "Q":
                peer.send("C", cstring("BEGIN"))
                peer.ready("T")

    def stand(self):
        place = {}
        with self.lock:
            self.at_gate.append(place)
            self.most = max(self.most, len(self.at_gate))
            self.lock.wait_for(lambda: "answer" in place)
        return place["answer"]

    def open(self, answer=None):
        """Returns how many have gone through, or away with that error."""
        with self.lock:
            n = len(self.at_gate)
            for place in self.at_gate:
                place["answer"] = answer
            self.at_gate.clear()
            self.lock.notify_all()
            return n

    def wait(self, least=1):
        """Until so many stand there, and no more come."""
        eventually(lambda: len(self.at_gate) >= least, f"{least} logins", every=0.01)
        time.sleep(0.3)

    def let_in(self, n):
        """Opens it until so many are in, and returns how often."""
        rounds = 0
        while self.inside < n:
            self.wait()
            expected = self.inside + self.open()
            eventually(lambda: self.inside == expected, "all of the round are in", every=0.01)
            rounds += 1
        return rounds


@contextlib.contextmanager
def crowd(pooler, n):
    """Clients that come all at once, and begin a transaction as soon as they are let in."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(pooler.raw()) for _ in range(n)]
        for client in clients:
            client.startup({"user": "app", "database": "app"})
        yield clients


def begin(clients):
    for client in clients:
        assert client.finish_login("app") is None
        client.send_raw(query("BEGIN"))


def test_a_crowd_on_a_cold_pool_has_50_servers_after_three_logins_in_a_row(make_pooler):
    """With nothing set but the pool's size. Two are the rule: one that shows that logins succeed, and all others together."""
    gate = Gate()
    with FakeServer(gate.script) as server:
        pooler = make_pooler(databases={"app": server.entry}, default_pool_size=50)
        with crowd(pooler, 50) as clients:
            assert gate.let_in(1) == 1
            begin(clients)
            assert gate.let_in(50) <= 2
            for client in clients:
                assert client.result().status == "T"


def test_a_crowd_on_a_server_in_trouble_does_not_become_a_herd(make_pooler):
    """It is full from the second login on: after that no more than four try at a time until one has got in."""
    full = ("53300", "sorry, too many clients already", "FATAL")
    gate = Gate()
    with FakeServer(gate.script) as server:
        pooler = make_pooler(databases={"app": server.entry}, default_pool_size=50)
        with crowd(pooler, 50) as clients:
            gate.let_in(1)
            begin(clients)
            gate.wait(4)
            gate.open(full)
            gate.most = 0
            for _ in range(3):
                gate.wait()
                gate.open(full)
            assert gate.most <= 4
            gate.let_in(50)
            for client in clients:
                assert client.result().status == "T"


@contextlib.contextmanager
def in_transaction_on_fake(pooler, n):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(pooler.wire()) for _ in range(n)]
        for client in clients:
            client.send_raw(query("SELECT 1"))
        for client in clients:
            client.result()
        yield clients


def test_min_pool_size(make_pooler, pg):
    pooler = make_pooler(min_pool_size=3)
    assert pg.backends() == []
    with pooler.wire() as w:
        w.value("SELECT 1")
        eventually(lambda: len(pg.backends()) == 3, "three servers")
        pg.value(f"SELECT pg_terminate_backend({pg.backends()[0]})")
        eventually(lambda: len(pg.backends()) == 3, "three servers again")
        assert w.value("SELECT 1") == "1"


def test_min_pool_size_of_a_database(make_pooler, pg):
    pooler = make_pooler(databases={"app": {"min_pool_size": 2}, "second": {}}, min_pool_size=3)
    with pooler.wire(), pooler.wire("second"):
        eventually(lambda: (len(pg.backends()), len(pg.backends("second"))) == (2, 3), "as many as each wants")


def test_min_pool_size_with_a_forced_user_needs_no_client(make_pooler, pg):
    make_pooler(databases={"app": {"user": "app", "min_pool_size": 2}})
    eventually(lambda: len(pg.backends()) == 2, "two servers")


def test_reserve_pool_by_its_other_name(make_pooler):
    pooler = make_pooler(databases={"app": {"reserve_pool": 4}})
    assert next(row for row in pooler.admin("SHOW DATABASES") if row["name"] == "app")["reserve_pool_size"] == "4"


@pytest.mark.parametrize("scope", ["global", "database", "user"])
def test_reserve_pool(make_pooler, scope):
    own = {"reserve_pool_size": 1}
    pooler = make_pooler(databases={"app": own if scope == "database" else {}},
                         users={"app": own} if scope == "user" else {}, default_pool_size=1,
                         reserve_pool_timeout=1, **(own if scope == "global" else {}))
    with in_transaction(pooler, 1), pooler.wire() as helped, pooler.wire() as waiting:
        helped.send_raw(query("BEGIN"))
        pooler.wait_pool(cl_waiting=1, sv_active=1)
        assert helped.result().error is None
        assert "taking connection from reserve_pool" in pooler.log()
        waiting.send_raw(query("SELECT 1"))
        pooler.wait_pool(cl_waiting=1, sv_active=2)


def test_no_reserve_by_default(make_pooler):
    pooler = make_pooler(default_pool_size=1, reserve_pool_timeout=1)
    with in_transaction(pooler, 1), pooler.wire() as waiting:
        waiting.send_raw(query("SELECT 1"))
        time.sleep(1.5)
        assert pooler.pool()["sv_active"] == "1"
        assert "reserve" not in pooler.log()


# Which server, and for how long

def test_last_used_server_first(make_pooler):
    pooler = make_pooler(default_pool_size=3)
    open_servers(pooler, 3)
    with pooler.wire() as w:
        assert len({w.backend() for _ in range(6)}) == 1


def test_round_robin(make_pooler):
    pooler = make_pooler(default_pool_size=3, server_round_robin=1)
    open_servers(pooler, 3)
    with pooler.wire() as w:
        assert len({w.backend() for _ in range(6)}) == 3


def test_server_lifetime(make_pooler):
    pooler = make_pooler(server_lifetime=1, server_check_delay=100)
    with pooler.wire() as w:
        first = w.backend()
        eventually(lambda: w.backend() != first, "a new server", every=0.3)
    assert "server lifetime over" in pooler.log()


def test_server_lifetime_does_not_cut_a_transaction(make_pooler):
    pooler = make_pooler(server_lifetime=1)
    with in_transaction(pooler, 1) as [w]:
        first = w.backend()
        time.sleep(2)
        assert w.backend() == first
        assert w.query("COMMIT").tags == ["COMMIT"]
        eventually(lambda: w.backend() != first, "a new server", every=0.3)


def test_server_lifetime_of_a_database(make_pooler):
    pooler = make_pooler(databases={"app": {"server_lifetime": 1}, "second": {}}, default_pool_size=1)
    with pooler.wire() as a, pooler.wire("second") as b:
        before = a.backend(), b.backend()
        eventually(lambda: a.backend() != before[0], "a new server", every=0.3)
        assert b.backend() == before[1]


def test_server_lifetime_zero_uses_each_server_once(make_pooler):
    pooler = make_pooler(server_lifetime=0)
    with pooler.wire() as w:
        assert len({w.backend() for _ in range(3)}) == 3


def recorder(seen):
    def script(peer):
        peer.read_startup()
        peer.welcome()
        while True:
            kind, body = peer.recv()
            if kind == "X":
                return
            seen.append((kind, body))
            if kind == "Q":
                peer.send("C" if body != b"\0" else "I", b"SELECT 0\0" if body != b"\0" else b"")
            if kind in "QS":
                peer.ready()
    return FakeServer(script)


@pytest.mark.parametrize("setting, expected", [
    ("SELECT 42", b"SELECT 42\0"), ("<empty>", b"\0"), (None, b"\0"), ("", None)])
def test_check_query_before_use(make_pooler, setting, expected):
    seen = []
    with recorder(seen) as server:
        pooler = make_pooler(databases={"app": server.entry}, server_check_delay=0, server_check_query=setting)
        with pooler.wire() as w:
            w.query("SELECT 'first'")
            time.sleep(1.2)  # PgBouncer's granularity of "idle for longer than"
            w.query("SELECT 'second'")
    between = seen[seen.index(("Q", b"SELECT 'first'\0")) + 1:seen.index(("Q", b"SELECT 'second'\0"))]
    assert (between != []) == (expected is not None)
    assert all(message == ("Q", expected) for message in between)


def test_no_check_query_within_the_delay(make_pooler):
    seen = []
    with recorder(seen) as server:
        pooler = make_pooler(databases={"app": server.entry}, server_check_delay=100)
        with pooler.wire() as w:
            for _ in range(3):
                w.query("SELECT 1")
    assert seen == [("Q", b"SELECT 1\0")] * 3


def test_a_server_that_fails_its_check_is_replaced(make_pooler):
    logins = []

    def script(peer):
        peer.read_startup()
        logins.append(peer)
        first = len(logins) == 1
        peer.welcome()
        while True:
            kind, body = peer.recv()
            if kind == "Q" and body == b"SELECT check\0" and first:
                return
            if kind == "Q":
                peer.send("C", b"SELECT 0\0")
                peer.ready()

    with FakeServer(script) as server:
        pooler = make_pooler(databases={"app": server.entry}, server_check_delay=0, server_login_retry=1,
                             server_check_query="SELECT check")
        with pooler.wire() as w:
            w.query("SELECT 1")
            time.sleep(1.2)
            assert w.query("SELECT 2").tags == ["SELECT 0"]
    assert len(logins) >= 2


@pytest.mark.parametrize("statements", ["SET work_mem = '77MB'", "SET work_mem = '77MB'; SELECT 1"])
def test_connect_query(make_pooler, statements):
    pooler = make_pooler(databases={"app": {"connect_query": statements}})
    with in_transaction(pooler, 2) as clients:
        for w in clients:
            assert w.value("SHOW work_mem") == "77MB"


def test_a_failing_connect_query_does_not_hang(make_pooler):
    pooler = make_pooler(databases={"app": {"connect_query": "SELECT no_such_column"}}, query_wait_timeout=5,
                         server_login_retry=1)
    with pooler.raw() as w:
        if w.try_login("app", "app") is None:
            w.query("SELECT 1")
    assert "no_such_column" in pooler.log()


# Waiting and failing

def test_nothing_listens_at_the_server(make_pooler):
    pooler = make_pooler(databases={"app": {"host": "127.0.0.1", "port": 1}}, server_login_retry=1,
                         query_wait_timeout=5, client_login_timeout=5)
    with pooler.raw() as w:
        assert_error(w.try_login("app", "app"), None, "08001", "08006", "57P03", "57014", "53300")


def test_a_server_that_comes_later_is_found(make_pooler, pg):
    pooler = make_pooler(server_login_retry=1)
    pg.stop()
    with pooler.raw() as w:
        w.startup({"user": "app", "database": "app"})
        time.sleep(0.5)
        pg.start()

        def answered():
            with contextlib.suppress(Closed):
                return w.finish_login("app") is None
            return False

        if not answered():
            eventually(lambda: can_log_in(pooler), "a login succeeds", every=0.3)


def can_log_in(pooler):
    with pooler.raw() as w:
        try:
            return w.try_login("app", "app") is None
        except Closed:
            return False


def test_a_refused_login_is_remembered(make_pooler):
    attempts = []

    def script(peer):
        attempts.append(peer.read_startup())
        peer.error("28000", "you shall not pass", "FATAL")

    with FakeServer(script) as server:
        pooler = make_pooler(databases={"app": server.entry}, server_login_retry=100)
        with pooler.raw() as w:
            error = w.try_login("app", "app")
            assert error["C"] == "28000" or error["C"] == "08P01"
            assert "you shall not pass" in error["M"]
        before = len(attempts)
        for _ in range(3):
            with pooler.raw() as w:
                assert "you shall not pass" in w.try_login("app", "app")["M"]
        assert len(attempts) == before == 1
        pooler.wait_log("server login failed: FATAL you shall not pass")


def test_the_next_try_comes_after_server_login_retry(make_pooler):
    attempts = []

    def script(peer):
        peer.read_startup()
        attempts.append(time.monotonic())
        if len(attempts) == 1:
            return peer.error("28000", "not yet", "FATAL")
        peer.welcome()
        peer.serve()

    with FakeServer(script) as server:
        pooler = make_pooler(databases={"app": server.entry}, server_login_retry=1)
        assert not can_log_in(pooler)
        eventually(lambda: can_log_in(pooler), "a login succeeds", every=0.2)
        assert attempts[1] - attempts[0] >= 0.9


def test_a_starting_server_is_waited_for(make_pooler):
    attempts = []

    def script(peer):
        peer.read_startup()
        attempts.append(peer)
        if len(attempts) == 1:
            return peer.error("57P03", "the database system is starting up", "FATAL")
        peer.welcome()
        peer.serve()

    with FakeServer(script) as server:
        pooler = make_pooler(databases={"app": server.entry}, server_login_retry=1)
        with pooler.raw() as w:
            assert w.try_login("app", "app") is None
        assert len(attempts) == 2


# Databases

def test_automatic_databases(make_pooler):
    pooler = make_pooler(databases={"*": {}, "named": {"dbname": "app"}})
    for name, real in (("second", "second"), ("app", "app"), ("named", "app")):
        with pooler.wire(name) as w:
            assert w.value("SELECT current_database()") == real
    assert "registered new auto-database" in pooler.log()
    assert {"second", "app", "named"} <= {row["name"] for row in pooler.admin("SHOW DATABASES")}
    with pooler.raw() as w:
        assert_error(w.try_login("app", "nosuch"), None, "3D000")


def test_a_template_with_a_fixed_database(make_pooler):
    pooler = make_pooler(databases={"*": {"dbname": "second"}})
    with pooler.wire("whatever") as w:
        assert w.value("SELECT current_database()") == "second"


def test_no_such_database(pooler):
    with pooler.raw() as w:
        assert_error(w.try_login("app", "nosuch"), "no such database: nosuch", "3D000")


def test_database_named_as_the_user_by_default(make_pooler):
    pooler = make_pooler()
    with pooler.raw() as w:
        w.startup({"user": "app"})
        assert w.finish_login("app") is None
        assert w.value("SELECT current_database()") == "app"


def test_through_the_servers_unix_socket(make_pooler, pg):
    pooler = make_pooler(databases={"app": {"host": pg.directory, "port": pg.port}})
    with pooler.wire() as w:
        assert w.value("SELECT inet_client_addr() IS NULL") == "t"


def test_database_settings_of_the_server(make_pooler):
    pooler = make_pooler(databases={"app": {"timezone": "Asia/Kolkata", "datestyle": "German",
                                            "client_encoding": "LATIN1"}})
    with pooler.wire() as w:
        assert w.value("SHOW timezone") == "Asia/Kolkata"
        assert w.value("SHOW datestyle").startswith("German")
        assert w.value("SHOW client_encoding") == "LATIN1"


def test_reload_adds_and_removes_databases(make_pooler):
    pooler = make_pooler(databases={"app": {}, "going": {"dbname": "second"}})
    with pooler.wire("going") as w:
        assert w.value("SELECT 1") == "1"
        del pooler.databases["going"]
        pooler.databases["coming"] = {"host": "127.0.0.1", "port": pooler.pg.port, "dbname": "second"}
        assert pooler.reload().error is None
        assert any(b"database removed" in m.body for m in w.drain())
    with pooler.wire("coming") as w:
        assert w.value("SELECT current_database()") == "second"
    with pooler.raw() as w:
        assert_error(w.try_login("app", "going"), "no such database: going", "3D000")


def test_reload_changes_sizes_without_touching_servers(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with in_transaction(pooler, 1) as [busy], pooler.wire() as waiting:
        before = busy.backend()
        waiting.send_raw(query("SELECT 'now'"))
        pooler.wait_pool(cl_waiting=1)
        pooler.reload(default_pool_size=2)
        assert waiting.result().value == "now"
        assert busy.backend() == before


def test_reload_moves_to_another_server_database(make_pooler):
    pooler = make_pooler()
    with pooler.wire() as w, in_transaction(pooler, 1) as [busy]:
        assert w.value("SELECT current_database()") == "app"
        pooler.databases["app"]["dbname"] = "second"
        pooler.reload()
        assert busy.value("SELECT current_database()") == "app"
        eventually(lambda: w.value("SELECT current_database()") == "second", "the new database")
        busy.query("COMMIT")
        eventually(lambda: busy.value("SELECT current_database()") == "second", "the new database")


def test_max_packet_size(make_pooler):
    pooler = make_pooler(max_packet_size=10000)
    with pooler.wire() as w:
        assert w.value("SELECT '%s'" % ("x" * 9000)) == "x" * 9000
        w.send_raw(query("SELECT '%s'" % ("x" * 20000)))
        assert w.is_closed()
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"


TOO_LONG = {
    "a query of 2 GB": b"Q\x7f\xff\xff\xff",
    "a query of 1 GB": b"Q\x3f\xff\xff\xff",
    "COPY data of 1 GB": b"d\x3f\xff\xff\xff",
    "Sync": packet("S", bytes(9997)),
    "Execute": packet("E", b"p" * 9996 + bytes(5)),
    "Describe": packet("D", b"P" + b"p" * 20000 + bytes(1)),
    "CopyFail": packet("f", b"x" * 20000 + bytes(1)),
}


@pytest.mark.parametrize("what", TOO_LONG)
def test_a_message_that_no_server_takes_ends_its_client_and_harms_no_pool(make_pooler, pg, what):
    """A server would end without a word: of a young one the pool would think that it is no use to open another."""
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as w:
        w.send_raw(TOO_LONG[what])
        error = w.result().error
        assert error["C"] == "08P01" and "so long" in error["D"]
        assert w.is_closed()
    with pooler.wire() as w:
        backend = w.backend()
        with pooler.wire() as other:
            other.send_raw(TOO_LONG[what])
            assert other.result().error["C"] == "08P01"
        assert w.backend() == backend


def test_as_long_as_a_server_takes_it(make_pooler):
    """The same from PostgreSQL and through the pooler, to the byte."""
    pooler = make_pooler()
    with pooler.wire() as w:
        w.send_raw(packet("E", b"p" * 9991 + bytes(5)) + sync())
        assert w.result().error["C"] == "34000"
        assert w.value("SELECT 1") == "1"


def test_max_packet_size_holds_for_rows_too(make_pooler):
    """One by one: a result of any length may pass, a row longer than that may not."""
    pooler = make_pooler(max_packet_size=10000)
    with pooler.wire() as w:
        assert len(w.query("SELECT repeat('x', 9000) FROM generate_series(1, 10)").rows) == 10
        result = w.query("SELECT repeat('x', 20000)")
        assert result.rows == [] and result.status is None
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"
