"""Limits: on servers and on clients, whom they hold, who makes room for whom, and what the waiting are told."""

import collections
import contextlib
import selectors
import socket
import statistics
import threading
import time

import pytest

from harness.pooler import assert_error
from harness.system import eventually, free_port
from harness.wire import FakeServer, cstring, query

NAMES = ("aaa", "mmm", "zzz")
CAPS = ("max_db_connections", "max_user_connections", "max_server_connections")
SLEEP = "SELECT pg_sleep(0.002)"


# Pools under one limit, and their clients

@pytest.fixture
def roles(pg):
    for name in NAMES:
        pg.make_role(name)


def pools_under(cap, names=NAMES):
    """(database, user) of pools that share a limit and nothing else."""
    if cap == "max_db_connections":
        return [("app", name) for name in names]
    return [(name, "app" if cap == "max_user_connections" else name) for name in names]


def make_shared(make_pooler, cap, most, databases=None, names=NAMES, **settings):
    """Databases of these names, which all are the server's database app, and users of these names."""
    entries = {"app": {}, **{name: {"dbname": "app"} for name in names}}
    for name, more in (databases or {}).items():
        entries[name] = {**entries[name], **more}
    # A pool's own size is to hold nobody here.
    settings = {"default_pool_size": 50, "max_client_conn": 1000, cap: most, **settings}
    return make_pooler(databases=entries, userlist={name: "" for name in ("app", "other", *names)}, **settings)


@contextlib.contextmanager
def clients(pooler, n=1, dbname="app", user="app"):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(pooler.wire(dbname, user)) for _ in range(n)]


@contextlib.contextmanager
def in_transaction(pooler, n=1, dbname="app", user="app"):
    """n clients, each in a transaction on a server of its own."""
    with clients(pooler, n, dbname, user) as found:
        for w in found:
            w.send_raw(query("BEGIN"))
        for w in found:
            assert w.result().error is None
        yield found


@contextlib.contextmanager
def asking(pooler, n=1, dbname="app", user="app", sql="BEGIN"):
    """n clients that have asked and have not looked at the answer."""
    with clients(pooler, n, dbname, user) as found:
        for w in found:
            w.send_raw(query(sql))
        yield found


def know(pooler, *pools):
    """A pool's first client waits for a server already at its login, later ones need none to be let in."""
    for pool in pools:
        with pooler.wire(*pool) as w:
            assert w.query("SELECT 1").error is None


def open_servers(pooler, n, dbname="app", user="app"):
    """A pool with n idle servers and no client."""
    with in_transaction(pooler, n, dbname, user) as found:
        for w in found:
            assert w.query("COMMIT").error is None
    pooler.wait_pool(database=dbname, user=user, sv_idle=n, cl_active=0)


def server_counts(pooler):
    """Servers by pool, those without any left out."""
    counts = collections.Counter((row["database"], row["user"]) for row in pooler.admin("SHOW SERVERS"))
    return dict(counts)


def waiting(pooler):
    return pooler.admin("SHOW WAITING")


def reasons(pooler):
    return sorted(row["reason"] for row in waiting(pooler))


def is_waiting_for(pooler, reason, n=1):
    eventually(lambda: reasons(pooler) == [reason] * n, f"{n} waiting for {reason}")


def evictions(pooler):
    return pooler.log().count("closing because: evicted")


def hand_overs(pooler):
    return pooler.log().count("closing because: given up") + evictions(pooler)


def patience(pools, per_second):
    """Seconds that a client may wait: five, or five rounds in which all pools have a turn; so many turns end a second.
    On a busy machine they are longer, by the logins that begin them."""
    return 5 * max(1, len(pools) / per_second)


def most_backends(pg, seconds, condition="true"):
    """
    The most client backends there were at a time. One that the pooler has sent away needs a moment to go while
    another comes in its place: only those count that were there three times in a row.
    """
    most, last = 0, collections.deque(maxlen=3)
    end = time.monotonic() + seconds
    with pg.connect("postgres", autocommit=True, application_name="observer") as c:
        while time.monotonic() < end:
            rows = c.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND"
                             f" application_name <> 'observer' AND ({condition})").fetchall()
            last.append({row[0] for row in rows})
            if len(last) == 3:
                most = max(most, len(set.intersection(*last)))
            time.sleep(0.03)
    return most


class Load:
    """Clients that ask again as soon as they are answered, in a thread; answers and longest waits are kept by label."""

    def __init__(self, sql=SLEEP):
        self.request = query(sql)
        self.selector = selectors.DefaultSelector()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.pooler, self.clients, self.errors = None, [], []
        self.counts, self.longest = collections.Counter(), collections.Counter()
        self.is_over = False

    def add(self, pooler, n, dbname, user, label=None):
        self.pooler = pooler
        for _ in range(n):
            w = pooler.wire(dbname, user)
            w.label, w.answer = label or (dbname, user), b""
            w.sock.setblocking(False)
            self.selector.register(w.sock, selectors.EVENT_READ, w)
            self.clients.append(w)
            if self.thread.is_alive():
                self._ask(w)
        return self

    def __enter__(self):
        for w in self.clients:
            self._ask(w)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        self.thread.join()
        for w in self.clients:
            w.close()

    def _ask(self, w):
        w.asked_at = time.monotonic()
        w.sock.send(self.request)

    def _run(self):
        while not self.is_over:
            for key, _ in self.selector.select(0.05):
                self._read(key.data)

    def _read(self, w):
        try:
            data = w.sock.recv(65536)
        except OSError:
            data = b""
        w.answer += data
        if not data or w.answer.startswith(b"E"):
            self.errors.append((w.label, w.answer))
            self.selector.unregister(w.sock)
        elif w.answer.endswith(b"Z\0\0\0\5I"):
            w.answer = b""
            self.counts[w.label] += 1
            self.longest[w.label] = max(self.longest[w.label], time.monotonic() - w.asked_at)
            self._ask(w)

    def during(self, seconds):
        """Answers by label while so much time goes by; longest starts anew."""
        labels = {w.label for w in self.clients}
        before = collections.Counter(self.counts)
        self.longest.clear()
        time.sleep(seconds)
        assert self.errors == []
        return {label: self.counts[label] - before[label] for label in labels}

    def query_time(self):
        """Microseconds by pool in which its queries, those that have been answered, had a server."""
        return {(row["database"], row["user"]): int(row["sum_us"])
                for row in self.pooler.admin("SHOW LATENCY_TOTALS") if row["kind"] == "query"}

    def shares(self, seconds, before=None):
        """The same while so much time goes by, or since an earlier query_time(). It is what a limit shares: how many
        answers come of a turn is the machine's affair, and more so when it is busy."""
        if before is None:
            before = self.query_time()
        self.during(seconds)
        now = self.query_time()
        return {pool: now.get(pool, 0) - before.get(pool, 0) for pool in {w.label for w in self.clients}}


def load_on(pooler, pools, n=20, sql=SLEEP):
    load = Load(sql)
    for dbname, user in pools:
        load.add(pooler, n, dbname, user)
    return load


def ratio(counts):
    return max(counts.values()) / max(min(counts.values()), 1)


def fairest(load, seconds, enough, pools=None):
    """
    Shares of server time, of so many seconds, or of up to three times as many if that is what it takes to be fair:
    a turn that is longer because the machine stalls weighs the less the more turns there are, but favour adds up.
    """
    before = load.query_time()
    for _ in range(3):
        shares = {pool: n for pool, n in load.shares(seconds, before).items() if pools is None or pool in pools}
        if ratio(shares) <= enough:
            break
    return shares


# Servers: each limit holds

@pytest.mark.parametrize("cap", CAPS)
def test_a_limit_on_servers_holds_under_pressure(make_pooler, pg, roles, cap):
    pooler = make_shared(make_pooler, cap, 5)
    pools = pools_under(cap)
    with load_on(pooler, pools, 8) as load:
        assert most_backends(pg, 2.5) == 5
        for _ in range(20):
            assert len(pooler.admin("SHOW SERVERS")) <= 5
            assert current_connections(pooler, cap) <= 5
        counts = load.during(0.5)
    assert min(counts.values()) > 0


def current_connections(pooler, cap):
    """What the console says is under the limit."""
    databases = {row["name"]: int(row["current_connections"]) for row in pooler.admin("SHOW DATABASES")}
    users = {row["name"]: int(row["current_connections"]) for row in pooler.admin("SHOW USERS")}
    return {"max_db_connections": databases["app"], "max_user_connections": users["app"],
            "max_server_connections": sum(databases.values())}[cap]


@pytest.mark.parametrize("cap", CAPS)
def test_a_limit_is_used_to_the_full_and_its_waiters_are_named(make_pooler, pg, roles, cap):
    pooler = make_shared(make_pooler, cap, 3)
    one, other, _ = pools_under(cap)
    with in_transaction(pooler, 1, *one) as [busy], in_transaction(pooler, 2, *other), \
            asking(pooler, 2, *one) as late:
        is_waiting_for(pooler, cap, 2)
        assert len(pg.backends()) == current_connections(pooler, cap) == 3
        busy.query("COMMIT")
        is_waiting_for(pooler, cap, 1)
        for w in late:
            w.send_raw(query("COMMIT"))
        assert [w.result().tags + w.result().tags for w in late] == [["BEGIN", "COMMIT"]] * 2
        assert server_counts(pooler) == {one: 1, other: 2}


@pytest.mark.parametrize("database, everybodys, expected", [
    (None, 2, 2), (1, 3, 1), (3, 1, 3), (0, 1, 5), (2, 0, 2), (-1, 2, 2)])
def test_max_db_connections_of_database_before_global(make_pooler, database, everybodys, expected):
    own = {} if database is None else {"max_db_connections": database}
    pooler = make_pooler(databases={"app": own, "second": {}}, max_db_connections=everybodys)
    know(pooler, ("app", "app"), ("app", "other"))
    with asking(pooler, 3, "app", "app"), asking(pooler, 2, "app", "other"):
        eventually(lambda: sum(server_counts(pooler).values()) == expected, f"{expected} servers")
        is_waiting_for(pooler, "max_db_connections", 5 - expected)
        rows = {row["name"]: row for row in pooler.admin("SHOW DATABASES")}
        assert rows["app"]["current_connections"] == str(expected)
        assert rows["app"]["max_connections"] == str(everybodys if database in (None, -1) else database)
        assert rows["second"]["max_connections"] == str(everybodys)


@pytest.mark.parametrize("user, everybodys, expected", [
    (None, 2, 2), (1, 3, 1), (3, 1, 3), (0, 1, 5), (2, 0, 2), (-1, 2, 2)])
def test_max_user_connections_of_user_before_global(make_pooler, user, everybodys, expected):
    own = {} if user is None else {"max_user_connections": user}
    pooler = make_pooler(databases={"app": {}, "second": {}}, users={"app": own} if own else {},
                         max_user_connections=everybodys)
    know(pooler, ("app", "app"), ("second", "app"))
    with asking(pooler, 3, "app"), asking(pooler, 2, "second"):
        eventually(lambda: sum(server_counts(pooler).values()) == expected, f"{expected} servers")
        is_waiting_for(pooler, "max_user_connections", 5 - expected)
        rows = {row["name"]: row for row in pooler.admin("SHOW USERS")}
        assert rows["app"]["current_connections"] == str(expected)
        assert rows["app"]["max_user_connections"] == str(everybodys if user in (None, -1) else user)


def test_databases_have_limits_of_their_own(make_pooler, pg):
    pooler = make_pooler(databases={"app": {"max_db_connections": 1}, "second": {"max_db_connections": 2}})
    with asking(pooler, 3, "app"), asking(pooler, 3, "second"):
        is_waiting_for(pooler, "max_db_connections", 3)
        assert (len(pg.backends("app")), len(pg.backends("second"))) == (1, 2)


def test_users_have_limits_of_their_own(make_pooler):
    pooler = make_pooler(users={"app": {"max_user_connections": 1}, "other": {"max_user_connections": 2}})
    with asking(pooler, 3, user="app"), asking(pooler, 3, user="other"):
        is_waiting_for(pooler, "max_user_connections", 3)
        assert server_counts(pooler) == {("app", "app"): 1, ("app", "other"): 2}


@pytest.mark.parametrize("scope", ["global", "user"])
def test_a_forced_user_is_the_one_that_counts(make_pooler, pg, scope):
    """Whoever logs in: at the server it is app."""
    own = {"max_user_connections": 2}
    pooler = make_pooler(databases={"app": {"user": "app"}, "second": {"user": "app"}},
                         users={"app": own} if scope == "user" else {}, **(own if scope == "global" else {}))
    know(pooler, ("app", "app"), ("second", "app"))
    with asking(pooler, 2, "app", "other"), asking(pooler, 2, "second", "postgres"), asking(pooler, 1, "app"):
        is_waiting_for(pooler, "max_user_connections", 3)
        assert pg.value("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'") == 2
        rows = {row["name"]: row["current_connections"] for row in pooler.admin("SHOW USERS")}
        assert (rows["app"], rows["other"], rows["postgres"]) == ("2", "0", "0")


def test_the_limit_of_the_user_that_logs_in_is_not_the_forced_ones(make_pooler):
    pooler = make_pooler(databases={"app": {"user": "app"}}, users={"other": {"max_user_connections": 1}})
    with in_transaction(pooler, 3, "app", "other"):
        assert server_counts(pooler) == {("app", "app"): 3}


@pytest.mark.parametrize("least", ["pool_size", *CAPS])
def test_of_several_limits_the_least_holds(make_pooler, least):
    limits = {"default_pool_size": 4, **dict.fromkeys(CAPS, 4)}
    limits["default_pool_size" if least == "pool_size" else least] = 2
    pooler = make_pooler(**limits)
    with in_transaction(pooler, 2), asking(pooler, 2):
        is_waiting_for(pooler, least, 2)
        assert server_counts(pooler) == {("app", "app"): 2}


def test_a_pool_of_any_size_is_bound_by_a_limit_over_everything(make_pooler):
    pooler = make_pooler(default_pool_size=0, max_server_connections=3)
    with in_transaction(pooler, 3), asking(pooler, 2):
        is_waiting_for(pooler, "max_server_connections", 2)


def test_failed_logins_at_the_server_take_no_place(make_pooler, pg):
    pooler = make_pooler(databases={"app": {}, "nowhere": {"dbname": "nosuch"}, "refused": {"port": 1}},
                         max_server_connections=2, server_login_retry=1)
    for dbname in ("nowhere", "refused") * 4:
        with pooler.raw() as w:
            assert w.try_login("app", dbname) is not None
    with in_transaction(pooler, 2):
        assert len(pg.backends()) == 2


def test_servers_that_die_free_their_places(make_pooler, pg):
    pooler = make_pooler(max_server_connections=2)
    know(pooler, ("app", "other"))
    for _ in range(3):
        with in_transaction(pooler, 2), asking(pooler, 1, user="other") as [late]:
            is_waiting_for(pooler, "max_server_connections")
            for pid in pg.backends():
                pg.value(f"SELECT pg_terminate_backend({pid})")
            assert late.result().error is None


def test_the_reserve_is_under_the_limits_too(make_pooler, pg):
    pooler = make_pooler(default_pool_size=1, reserve_pool_size=3, reserve_pool_timeout=1, max_db_connections=2)
    with in_transaction(pooler, 1), asking(pooler, 3):
        is_waiting_for(pooler, "pool_size", 3)
        pooler.wait_log("taking connection from reserve_pool")
        is_waiting_for(pooler, "max_db_connections", 2)
        assert len(pg.backends()) == 2
        assert pooler.log().count("taking connection from reserve_pool") == 1


# Changed while it runs

@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("way", ["RELOAD", "SET"])
def test_a_limit_that_is_raised_lets_those_in_who_wait(make_pooler, roles, cap, way):
    pooler = make_shared(make_pooler, cap, 1)
    one, other, _ = pools_under(cap)
    know(pooler, one, other)
    with in_transaction(pooler, 1, *one), asking(pooler, 1, *one) as [a], asking(pooler, 1, *other) as [b]:
        is_waiting_for(pooler, cap, 2)
        if way == "SET":
            assert pooler.admin_result(f"SET {cap} = 3").error is None
        else:
            pooler.reload(**{cap: 3})
        assert a.result().error is None and b.result().error is None


@pytest.mark.parametrize("cap", CAPS)
def test_a_limit_that_is_taken_away_lets_all_in(make_pooler, roles, cap):
    pooler = make_shared(make_pooler, cap, 1)
    one, other, _ = pools_under(cap)
    know(pooler, one, other)
    with in_transaction(pooler, 1, *one), asking(pooler, 2, *one) as a, asking(pooler, 2, *other) as b:
        is_waiting_for(pooler, cap, 4)
        pooler.reload(**{cap: 0})
        assert [w.result().error for w in a + b] == [None] * 4


@pytest.mark.parametrize("cap", CAPS)
def test_a_limit_that_is_lowered_cuts_no_transaction_and_is_reached_as_they_end(make_pooler, pg, roles, cap):
    pooler = make_shared(make_pooler, cap, 6)
    one, other, _ = pools_under(cap)
    with in_transaction(pooler, 4, *one) as a, in_transaction(pooler, 2, *other) as b:
        pooler.reload(**{cap: 2})
        assert [w.value("SELECT 1") for w in a + b] == ["1"] * 6
        for left, w in zip((5, 4, 3, 2), a[:3] + b[:1]):
            assert w.query("COMMIT").error is None
            eventually(lambda left=left: len(pg.backends()) == left, f"{left} servers", timeout=10)
        for w in a[3:] + b[1:]:
            assert w.query("COMMIT").error is None
        for w in a + b:
            assert w.value("SELECT 1") == "1"
        assert len(pg.backends()) <= 2


@pytest.mark.parametrize("cap", CAPS)
def test_a_limit_that_is_lowered_under_pressure_is_reached(make_pooler, pg, roles, cap):
    pooler = make_shared(make_pooler, cap, 9)
    with load_on(pooler, pools_under(cap), 6) as load:
        eventually(lambda: sum(server_counts(pooler).values()) == 9, "nine servers")
        pooler.reload(**{cap: 3})
        eventually(lambda: len(pg.backends()) == 3, "three servers", timeout=10)
        counts = load.during(1.5)
        assert len(pooler.admin("SHOW SERVERS")) <= 3
    assert min(counts.values()) > 0


@pytest.mark.parametrize("cap", CAPS)
def test_a_limit_that_is_lowered_closes_idle_servers(make_pooler, pg, roles, cap):
    pooler = make_shared(make_pooler, cap, 6)
    one, other, _ = pools_under(cap)
    open_servers(pooler, 4, *one)
    open_servers(pooler, 2, *other)
    pooler.reload(**{cap: 3})
    with clients(pooler, 1, *one) as [a], clients(pooler, 1, *other) as [b]:
        for _ in range(3):
            assert a.value("SELECT 1") == b.value("SELECT 1") == "1"
        eventually(lambda: len(pg.backends()) <= 3, "three servers", timeout=10)


def limit_lowered(pooler):
    return pooler.log().count("closing because: a limit on server connections was lowered")


def test_a_pool_size_that_is_lowered_closes_idle_servers(make_pooler, pg):
    pooler = make_pooler(default_pool_size=5)
    open_servers(pooler, 5)
    pooler.reload(default_pool_size=2)
    eventually(lambda: len(pg.backends()) == 2, "two servers")
    assert limit_lowered(pooler) == 3


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_pool_size_that_is_lowered_cuts_nothing_and_is_reached_as_servers_are_released(make_pooler, pg, mode):
    pooler = make_pooler(default_pool_size=4, pool_mode=mode, server_fast_close=1)
    with in_transaction(pooler, 4) as found:
        pooler.reload(default_pool_size=2)
        assert [w.value("SELECT 1") for w in found] == ["1"] * 4
        for left, w in zip((3, 2, 2, 2), found):
            assert w.query("COMMIT").error is None
            if mode == "session":
                w.send("X")
            eventually(lambda left=left: len(pg.backends()) == left, f"{left} servers")
    assert limit_lowered(pooler) == 2


def test_a_pool_size_that_is_lowered_leaves_the_reserve_its_room(make_pooler, pg):
    pooler = make_pooler(default_pool_size=4, reserve_pool_size=1)
    open_servers(pooler, 4)
    pooler.reload(default_pool_size=2)
    eventually(lambda: len(pg.backends()) == 3, "three servers")
    pooler.reload(default_pool_size=4)
    open_servers(pooler, 4)
    assert limit_lowered(pooler) == 1


# Clients

CLIENT_CAPS = {"max_client_conn": "no more connections allowed (max_client_conn)",
               "max_db_client_connections": "client connections exceeded (max_db_client_connections)",
               "max_user_client_connections": "client connections exceeded (max_user_client_connections)"}


def refusal(pooler, dbname="app", user="app", password=None):
    with pooler.raw() as w:
        return w.try_login(user, dbname, password)


def is_let_in(pooler, dbname="app", user="app", password=None):
    return refusal(pooler, dbname, user, password) is None


def assert_refused(error, setting, most):
    assert_error(error, CLIENT_CAPS[setting], "53300")
    assert error["S"] == "FATAL"
    assert f"{setting} is {most}" in error["D"]
    assert setting in error["H"]


@pytest.mark.parametrize("setting", CLIENT_CAPS)
def test_a_limit_on_clients_refuses_the_next_and_says_why(make_pooler, setting):
    pooler = make_pooler(**{setting: 2})
    with clients(pooler, 2) as found:
        for _ in range(3):
            assert_refused(refusal(pooler), setting, 2)
        assert [w.value("SELECT 1") for w in found] == ["1", "1"]


@pytest.mark.parametrize("setting", CLIENT_CAPS)
@pytest.mark.parametrize("how", ["terminates", "closes", "resets", "leaves a transaction"])
def test_a_place_is_free_when_a_client_has_gone(make_pooler, setting, how):
    pooler = make_pooler(**{setting: 2})
    with clients(pooler, 2) as [w, _]:
        assert not is_let_in(pooler)
        if how == "leaves a transaction":
            w.query("BEGIN")
        if how == "terminates":
            w.send("X")
        if how == "resets":
            w.reset()
        w.close()
        eventually(lambda: is_let_in(pooler), "there is room again")
        with clients(pooler, 1):
            assert_refused(refusal(pooler), setting, 2)


@pytest.mark.parametrize("database, everybodys, expected", [(None, 2, 2), (1, 3, 1), (3, 1, 3), (-1, 2, 2)])
def test_max_db_client_connections_of_database_before_global(make_pooler, database, everybodys, expected):
    own = {} if database is None else {"max_db_client_connections": database}
    pooler = make_pooler(databases={"app": own, "second": {}}, max_db_client_connections=everybodys)
    with clients(pooler, expected - 1), clients(pooler, 1, user="other"):
        for user in ("app", "other"):
            assert_refused(refusal(pooler, user=user), "max_db_client_connections", expected)
        assert is_let_in(pooler, "second")
        rows = {row["name"]: row for row in pooler.admin("SHOW DATABASES")}
        assert rows["app"]["current_client_connections"] == rows["app"]["max_client_connections"] == str(expected)


@pytest.mark.parametrize("user, everybodys, expected", [(None, 2, 2), (1, 3, 1), (3, 1, 3), (-1, 2, 2)])
def test_max_user_client_connections_of_user_before_global(make_pooler, user, everybodys, expected):
    own = {} if user is None else {"max_user_client_connections": user}
    pooler = make_pooler(databases={"app": {}, "second": {}}, users={"app": own} if own else {},
                         max_user_client_connections=everybodys)
    with clients(pooler, expected - 1), clients(pooler, 1, "second"):
        for dbname in ("app", "second"):
            assert_refused(refusal(pooler, dbname), "max_user_client_connections", expected)
        assert is_let_in(pooler, user="other")
        rows = {row["name"]: row for row in pooler.admin("SHOW USERS")}
        assert rows["app"]["current_client_connections"] == rows["app"]["max_user_client_connections"] == str(expected)


@pytest.mark.parametrize("setting, entry", [("max_db_client_connections", "databases"),
                                            ("max_user_client_connections", "users")])
def test_zero_of_its_own_frees_it_of_the_global_limit(make_pooler, setting, entry):
    pooler = make_pooler(**{entry: {"app": {setting: 0}}, setting: 1})
    with clients(pooler, 4):
        pass


def test_clients_count_as_the_user_that_they_log_in_as(make_pooler):
    """Unlike the servers of a forced user."""
    pooler = make_pooler(databases={"app": {"user": "app"}},
                         users={"app": {"max_user_client_connections": 1}, "other": {"max_user_client_connections": 2}})
    with clients(pooler, 2, user="other"):
        assert_refused(refusal(pooler, user="other"), "max_user_client_connections", 2)
        assert is_let_in(pooler, user="app")


def test_clients_that_wait_for_a_server_count(make_pooler):
    pooler = make_pooler(max_db_client_connections=2, default_pool_size=1)
    with in_transaction(pooler, 1), asking(pooler, 1):
        is_waiting_for(pooler, "pool_size")
        assert_refused(refusal(pooler), "max_db_client_connections", 2)


@pytest.mark.parametrize("setting", CLIENT_CAPS)
def test_clients_that_wait_for_their_welcome_count(make_pooler, setting):
    gate = threading.Event()

    def script(peer):
        peer.read_startup()
        gate.wait(60)
        peer.welcome()
        peer.serve()

    with FakeServer(script) as server, contextlib.ExitStack() as stack:
        pooler = make_pooler(databases={"app": server.entry}, **{setting: 2})
        early = [stack.enter_context(pooler.raw()) for _ in range(2)]
        for w in early:
            w.startup({"user": "app", "database": "app"})
        is_waiting_for(pooler, "login", 2)
        assert_refused(refusal(pooler), setting, 2)
        gate.set()
        assert [w.finish_login("app") for w in early] == [None, None]


@pytest.mark.parametrize("setting", CLIENT_CAPS)
def test_logins_that_fail_leave_no_count(make_pooler, pg, setting):
    """None of the ways in which a login can end before its time costs a place."""
    pooler = make_pooler(
        databases={"app": {}, "second": {"dbname": "nosuch"}}, auth_type="scram-sha-256",
        userlist={"app": "x", "other": "x", "admin": "x"}, server_login_retry=1, **{setting: 2})

    def leaves(w, *messages):
        w.startup({"user": "app", "database": "app"})
        for message in messages:
            w.recv()
            w.send_raw(message)
        w.close()

    for _ in range(3):
        assert not is_let_in(pooler, password="wrong")
        assert not is_let_in(pooler, user="nobody", password="x")
        assert not is_let_in(pooler, "nosuch", password="x")
        assert not is_let_in(pooler, "second", password="x")
        with pooler.raw() as w:
            leaves(w)
        with pooler.raw() as w:
            leaves(w, b"p\0\0\0\4")
        with pooler.raw() as w:
            w.startup({"user": "app", "database": "app", "search": "x"})
            w.drain()
    counts = {"DATABASES": ("app", "second"), "USERS": ("app", "other")}
    for table, names in counts.items():
        eventually(lambda table=table, names=names: all(
            row["current_client_connections"] == "0" for row in pooler.admin(f"SHOW {table}")
            if row["name"] in names), f"no client counts in {table}")
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(pooler.wire(password="x"))
        for _ in range(3):
            assert_refused(refusal(pooler, password="x"), setting, 2)
    eventually(lambda: is_let_in(pooler, password="x"), "there is room again")
    with pooler.wire(password="x"), pooler.wire(password="x"):
        assert_refused(refusal(pooler, password="x"), setting, 2)


def test_one_who_is_refused_for_a_limit_takes_no_place_in_another(make_pooler):
    """Refused for his user, he is not among the database's clients; and the other way round."""
    pooler = make_pooler(databases={"app": {"max_db_client_connections": 2}, "second": {}},
                         users={"app": {"max_user_client_connections": 1}})
    with clients(pooler, 1, user="app"):
        for _ in range(3):
            assert_refused(refusal(pooler, user="app"), "max_user_client_connections", 1)
        with clients(pooler, 1, user="other"):
            for _ in range(3):
                assert_refused(refusal(pooler, user="other"), "max_db_client_connections", 2)
        rows = {row["name"]: row["current_client_connections"] for row in pooler.admin("SHOW USERS")}
        assert (rows["app"], rows["other"]) == ("1", "0")


def test_the_console_is_open_when_there_is_no_room_for_clients(make_pooler):
    pooler = make_pooler(admin_users="admin,app", **dict.fromkeys(CLIENT_CAPS, 1))
    with clients(pooler, 1):
        assert not is_let_in(pooler)
        assert pooler.admin("SHOW VERSION", user="app") != []
        assert pooler.admin("SHOW VERSION", user="admin") != []


def test_a_connection_to_the_console_takes_no_place(make_pooler):
    pooler = make_pooler(admin_users="admin,app", **dict.fromkeys(CLIENT_CAPS, 1))
    with clients(pooler, 1, "pgbouncer", "app"), clients(pooler, 1, "pgbouncer", "app"):
        assert is_let_in(pooler)


@pytest.mark.parametrize("setting", CLIENT_CAPS)
def test_a_limit_on_clients_that_is_lowered_sends_nobody_away(make_pooler, setting):
    pooler = make_pooler(**{setting: 3})
    with clients(pooler, 3) as found:
        pooler.reload(**{setting: 1})
        assert [w.value("SELECT 1") for w in found] == ["1"] * 3
        for w in found[:2]:
            w.send("X")
            assert w.is_closed()
            assert_refused(refusal(pooler), setting, 1)
        found[2].send("X")
        assert found[2].is_closed()
        eventually(lambda: is_let_in(pooler), "there is room again")
        pooler.reload(**{setting: 2})
        with clients(pooler, 2):
            assert_refused(refusal(pooler), setting, 2)


def test_the_limit_of_an_automatic_database_is_that_of_its_template(make_pooler):
    pooler = make_pooler(databases={"*": {"max_db_client_connections": 1, "max_db_connections": 1}})
    with in_transaction(pooler, 1, "app"), clients(pooler, 1, "second"):
        assert_refused(refusal(pooler, "app"), "max_db_client_connections", 1)


# Room is made: eviction

@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("rich", [0, 1])
def test_the_pool_with_the_most_to_spare_makes_room(make_pooler, roles, cap, rich):
    pooler = make_shared(make_pooler, cap, 4)
    pools = pools_under(cap)
    a, b, c = pools[rich], pools[1 - rich], pools[2]
    open_servers(pooler, 1, *b)
    open_servers(pooler, 3, *a)
    with in_transaction(pooler, 1, *c):
        assert server_counts(pooler) == {a: 2, b: 1, c: 1}
    assert evictions(pooler) == 1


@pytest.mark.parametrize("cap", CAPS)
def test_only_as_many_as_are_needed_make_room(make_pooler, roles, cap):
    pooler = make_shared(make_pooler, cap, 4)
    a, b, _ = pools_under(cap)
    open_servers(pooler, 4, *a)
    with in_transaction(pooler, 2, *b):
        assert server_counts(pooler) == {a: 2, b: 2}
        time.sleep(0.5)
        assert server_counts(pooler) == {a: 2, b: 2}
    assert evictions(pooler) == 2


@pytest.mark.parametrize("round_robin", [0, 1])
def test_the_server_that_has_rested_longest_makes_room(make_pooler, pg, roles, round_robin):
    pooler = make_shared(make_pooler, "max_server_connections", 3, server_round_robin=round_robin)
    with in_transaction(pooler, 3, "aaa") as found:
        pids = [w.backend() for w in found]
        for w in (found[1], found[0], found[2]):
            assert w.query("COMMIT").error is None
            time.sleep(0.15)
    with in_transaction(pooler, 1, "zzz"):
        eventually(lambda: pids[1] not in pg.backends(), "the first one released has gone")
        assert {pids[0], pids[2]} <= set(pg.backends())


def test_clients_of_the_pool_that_made_room_notice_nothing(make_pooler, roles):
    pooler = make_shared(make_pooler, "max_server_connections", 1)
    with clients(pooler, 1, "aaa") as [a], clients(pooler, 1, "zzz") as [b]:
        for i in range(6):
            assert a.value(f"SELECT {i}") == b.value(f"SELECT {i}") == str(i)
        assert a.value("SELECT count(*) FROM pg_stat_activity WHERE application_name <> 'observer'"
                       " AND backend_type = 'client backend'") in ("1", "2")


def test_nobody_makes_room_when_nobody_waits(make_pooler, pg, roles):
    pooler = make_shared(make_pooler, "max_server_connections", 4)
    open_servers(pooler, 3, "aaa")
    open_servers(pooler, 1, "mmm")
    before = set(pg.backends())
    with clients(pooler, 3, "aaa") as found, clients(pooler, 1, "mmm") as [other]:
        for _ in range(10):
            for w in (*found, other):
                w.value("SELECT 1")
        time.sleep(1)
    assert set(pg.backends()) == before
    assert hand_overs(pooler) == 0


@pytest.mark.parametrize("cap, stranger", [("max_db_connections", ("second", "app")),
                                           ("max_user_connections", ("app", "other"))])
def test_a_pool_under_another_limit_makes_no_room(make_pooler, pg, cap, stranger):
    pooler = make_pooler(databases={"app": {}, "second": {}}, query_wait_timeout=1, **{cap: 2})
    open_servers(pooler, 2, *stranger)
    with in_transaction(pooler, 2), clients(pooler, 1) as [late]:
        error = late.query("SELECT 1").error
        assert_error(error, "query_wait_timeout", "57014")
        assert cap in error["D"]
    assert evictions(pooler) == 0


def test_the_minimum_of_a_pool_evicts_nobody(make_pooler, pg, roles):
    pooler = make_shared(make_pooler, "max_server_connections", 3)
    open_servers(pooler, 3, "aaa")
    before = set(pg.backends())
    pooler.databases["kept"] = {**pooler.databases["aaa"], "user": "app", "min_pool_size": 2}
    pooler.reload()
    with clients(pooler, 2, "kept", "app"):
        pass
    time.sleep(1)
    assert len(before & set(pg.backends())) >= 2  # a first client's welcome may have cost one
    counts = server_counts(pooler)
    assert counts["aaa", "app"] + counts.get(("kept", "app"), 0) == 3 and counts["aaa", "app"] >= 2


def test_the_minimum_without_clients_evicts_nobody(make_pooler, pg, roles):
    pooler = make_shared(make_pooler, "max_server_connections", 3)
    open_servers(pooler, 3, "aaa")
    before = set(pg.backends())
    pooler.databases["kept"] = {**pooler.databases["aaa"], "user": "app", "min_pool_size": 2}
    pooler.reload()
    time.sleep(1)
    assert set(pg.backends()) == before
    assert hand_overs(pooler) == 0


def test_the_minimum_is_filled_when_there_is_room(make_pooler, pg, roles):
    pooler = make_shared(make_pooler, "max_server_connections", 3, server_idle_timeout=1,
                         databases={"zzz": {"user": "app", "min_pool_size": 2}})
    eventually(lambda: server_counts(pooler) == {("zzz", "app"): 2}, "the minimum")
    with in_transaction(pooler, 3, "aaa"):
        assert server_counts(pooler) == {("aaa", "app"): 3}
    eventually(lambda: server_counts(pooler) == {("zzz", "app"): 2}, "the minimum again")


def test_idle_in_a_transaction_is_not_idle(make_pooler, roles):
    pooler = make_shared(make_pooler, "max_server_connections", 2, query_wait_timeout=1)
    know(pooler, ("zzz", "app"))
    with in_transaction(pooler, 2, "aaa") as found, clients(pooler, 1, "zzz") as [late]:
        assert_error(late.query("SELECT 1").error, "query_wait_timeout", "57014")
        assert [w.query("COMMIT").tags for w in found] == [["COMMIT"]] * 2


def host_row(pooler, port):
    return next(row for row in pooler.admin("SHOW HOSTS") if row["address"].endswith(f":{port}"))


def seconds_to_next_try(pooler, port):
    """Whole ones, as SHOW HOSTS has it."""
    text = host_row(pooler, port)["next_try"]
    return time.mktime(time.strptime(text.rsplit(" ", 1)[0], "%Y-%m-%d %H:%M:%S")) - time.time() if text else 0


def make_with_one_down(make_pooler, **settings):
    """A bound of two servers, and a database "down" at a port where nobody listens, who has been asked for."""
    port = free_port()
    pooler = make_shared(make_pooler, "max_server_connections", 2, breaker_failures=1, **settings)
    pooler.databases["down"] = {"host": "127.0.0.1", "port": port}
    pooler.reload()
    with in_transaction(pooler, 1, "aaa"):
        assert not is_let_in(pooler, "down")  # it had room, and has failed
    return pooler, port


def test_nobody_makes_room_for_a_host_that_is_down(make_pooler, roles):
    """Its clients are refused at once, though it would be looked at twice a second whether its port is open again."""
    pooler, port = make_with_one_down(make_pooler, server_login_retry=60)
    eventually(lambda: not is_let_in(pooler, "down") and seconds_to_next_try(pooler, port) > 2, "a long wait",
               timeout=90, every=0.05)
    failures = host_row(pooler, port)["failures"]
    open_servers(pooler, 2, "aaa")
    for _ in range(3):
        assert_error(refusal(pooler, "down"), None, "57P03")
        time.sleep(0.6)
    # An attempt whose time has come is another matter.
    if host_row(pooler, port)["failures"] == failures:
        assert server_counts(pooler) == {("aaa", "app"): 2}
        assert evictions(pooler) == 0


def test_nobody_makes_room_for_clients_that_have_been_refused(make_pooler, roles):
    """A host is looked after for some time for those who may come again; when one does, somebody makes room."""
    pooler, port = make_with_one_down(make_pooler, server_login_retry=0)
    open_servers(pooler, 2, "aaa")
    failures = host_row(pooler, port)["failures"]
    time.sleep(0.7)
    assert host_row(pooler, port)["failures"] == failures
    assert server_counts(pooler) == {("aaa", "app"): 2}

    def script(peer):
        peer.read_startup()
        peer.welcome()
        peer.serve()

    with FakeServer(script, port=port):
        assert is_let_in(pooler, "down")
        assert evictions(pooler) == 1


def test_nobody_makes_room_when_another_limit_holds_all_the_same(make_pooler, pg):
    """The database has an idle server to spare, but its waiter's user has no place left."""
    pooler = make_pooler(databases={"app": {"max_db_connections": 2}, "second": {}},
                         users={"app": {"max_user_connections": 2}})
    know(pooler, ("app", "app"))
    with in_transaction(pooler, 1, "second") as _, in_transaction(pooler, 1, "app"):
        open_servers(pooler, 1, "app", "other")
        before = set(pg.backends())
        with asking(pooler, 2, "app", "app"):
            is_waiting_for(pooler, "max_user_connections", 2)
            assert set(pg.backends()) == before
    assert evictions(pooler) == 0


@pytest.mark.parametrize("first, second", [("aaa", "zzz"), ("zzz", "aaa")])
@pytest.mark.parametrize("cap", CAPS)
def test_the_longest_waiter_has_the_place(make_pooler, roles, cap, first, second):
    pooler = make_shared(make_pooler, cap, 1)
    pools = {name: pool for name, pool in zip(NAMES, pools_under(cap))}
    with clients(pooler, 1, *pools[first]) as [a], clients(pooler, 1, *pools[second]) as [b]:
        # Both have had a server before, and as long.
        a.value("SELECT 1")
        b.value("SELECT 1")
        with in_transaction(pooler, 1, *pools["mmm"]) as [busy]:
            a.send_raw(query("BEGIN"))
            is_waiting_for(pooler, cap, 1)
            time.sleep(0.1)
            b.send_raw(query("BEGIN"))
            is_waiting_for(pooler, cap, 2)
            busy.query("COMMIT")
            assert a.result().error is None
            [row] = waiting(pooler)
            assert (row["database"], row["user"]) == pools[second]
            a.query("COMMIT")
            assert b.result().error is None


# guaranteed_pool_size

@pytest.mark.parametrize("scope", ["database", "user"])
def test_a_pool_is_not_evicted_below_its_guarantee(make_pooler, roles, scope):
    own = {"guaranteed_pool_size": 3}
    pooler = make_shared(make_pooler, "max_server_connections", 4,
                         databases={"aaa": own} if scope == "database" else {},
                         users={"aaa": own} if scope == "user" else {})
    rich, poor, late = [(name, name) for name in NAMES]
    open_servers(pooler, 3, *rich)
    open_servers(pooler, 1, *poor)
    with in_transaction(pooler, 1, *late):
        assert server_counts(pooler) == {rich: 3, late: 1}
        with asking(pooler, 1, *poor) as [w]:
            is_waiting_for(pooler, "max_server_connections")
            time.sleep(0.5)
            assert server_counts(pooler) == {rich: 3, late: 1}
            pooler.reload(max_server_connections=5)
            assert w.result().error is None


def test_a_guarantee_for_everybody_is_one_for_each_pool(make_pooler, roles):
    pooler = make_shared(make_pooler, "max_server_connections", 5, guaranteed_pool_size=2)
    a, b, c = [(name, name) for name in NAMES]
    open_servers(pooler, 2, *b)
    open_servers(pooler, 3, *a)
    with asking(pooler, 2, *c):
        eventually(lambda: server_counts(pooler) == {a: 2, b: 2, c: 1}, "one of the three has gone")
        pooler.wait_pool(database="zzz", user="zzz", cl_active=1, cl_waiting=1)
        is_waiting_for(pooler, "max_server_connections")
    assert evictions(pooler) == 1


def test_what_a_guarantee_leaves_to_spare_is_what_counts(make_pooler, roles):
    """Four with three guaranteed is less to spare than two."""
    pooler = make_shared(make_pooler, "max_server_connections", 6, databases={"aaa": {"guaranteed_pool_size": 3}})
    a, b, c = [(name, name) for name in NAMES]
    open_servers(pooler, 4, *a)
    open_servers(pooler, 2, *b)
    with in_transaction(pooler, 1, *c):
        assert server_counts(pooler) == {a: 4, b: 1, c: 1}


def test_a_pool_keeps_its_guarantee_under_pressure(make_pooler, roles):
    pooler = make_shared(make_pooler, "max_server_connections", 6, databases={"mmm": {"guaranteed_pool_size": 4}})
    pools = [(name, name) for name in NAMES]
    with load_on(pooler, pools) as load:
        time.sleep(1)
        for _ in range(20):
            assert server_counts(pooler).get(pools[1], 0) >= 4
            time.sleep(0.05)
        counts = load.during(2)
    assert counts[pools[1]] > 2 * max(counts[pools[0]], counts[pools[2]])
    assert min(counts.values()) > 0


def test_a_pool_that_lacks_its_guarantee_is_given_it_under_pressure(make_pooler, roles):
    pooler = make_shared(make_pooler, "max_server_connections", 6, databases={"zzz": {"guaranteed_pool_size": 4}})
    a, b, late = [(name, name) for name in NAMES]
    with load_on(pooler, [a, b]) as load:
        eventually(lambda: sum(server_counts(pooler).values()) == 6, "six servers")
        load.add(pooler, 20, *late)
        eventually(lambda: server_counts(pooler).get(late, 0) >= 4, "its guarantee", timeout=10)
        time.sleep(0.5)
        assert server_counts(pooler)[late] >= 4
        assert min(load.during(1.5).values()) > 0


def test_guarantees_beyond_the_limit_do_no_harm(make_pooler, pg, roles):
    pooler = make_shared(make_pooler, "max_server_connections", 4, guaranteed_pool_size=3)
    pools = [(name, name) for name in NAMES[:2]]
    with load_on(pooler, pools) as load:
        counts = load.during(2)
        assert most_backends(pg, 1) <= 4
        assert hand_overs(pooler) < 60
    assert min(counts.values()) > 0


def test_a_guarantee_changes_at_reload(make_pooler, roles):
    pooler = make_shared(make_pooler, "max_server_connections", 2)
    a, b = ("aaa", "aaa"), ("zzz", "zzz")
    know(pooler, b)
    open_servers(pooler, 2, *a)
    pooler.reload(guaranteed_pool_size=2)
    with asking(pooler, 1, *b) as [w]:
        is_waiting_for(pooler, "max_server_connections")
        pooler.reload(guaranteed_pool_size=1)
        assert w.result().error is None
        assert server_counts(pooler) == {a: 1, b: 1}


# Room is shared

@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)], ids=["amz", "zma", "mza"])
@pytest.mark.parametrize("cap", CAPS)
def test_equal_pools_share_a_limit_equally(make_pooler, roles, cap, order):
    """Three want all of ten places: no name, and no place in a row, is worth anything."""
    pooler = make_shared(make_pooler, cap, 10)
    pools = [pools_under(cap)[i] for i in order]
    with load_on(pooler, pools) as load:
        time.sleep(1)
        before, began_at = hand_overs(pooler), time.monotonic()
        shares = fairest(load, 4, 1.10)
        per_second = (hand_overs(pooler) - before) / (time.monotonic() - began_at)
        longest = max(load.longest.values())
    assert ratio(shares) <= 1.10, shares
    assert per_second <= 20
    assert longest < patience(pools, per_second)


@pytest.mark.parametrize("cap, most", [("max_db_connections", 1), ("max_user_connections", 2),
                                       ("max_server_connections", 4), ("max_db_connections", 5)])
def test_few_places_are_shared_by_turns(make_pooler, roles, cap, most):
    pooler = make_shared(make_pooler, cap, most)
    pools = pools_under(cap)
    # A turn lasts a quarter of a second: with one place each has ten or eleven of them.
    enough = 1.25 if most == 1 else 1.15
    with load_on(pooler, pools, 8) as load:
        time.sleep(1)
        before, began_at = hand_overs(pooler), time.monotonic()
        shares = fairest(load, 8, enough)
        per_second = (hand_overs(pooler) - before) / (time.monotonic() - began_at)
        longest = max(load.longest.values())
    assert ratio(shares) <= enough, shares
    assert per_second <= 20
    assert longest < patience(pools, per_second)


def test_many_pools_share_few_places(make_pooler):
    names = [f"db{i:02}" for i in range(15)]
    pooler = make_shared(make_pooler, "max_server_connections", 4, names=names)
    pools = [(name, "app") for name in names]
    with load_on(pooler, pools, 8) as load:
        time.sleep(2)
        before, began_at = hand_overs(pooler), time.monotonic()
        shares = fairest(load, 12, 1.3)
        per_second = (hand_overs(pooler) - before) / (time.monotonic() - began_at)
        longest = max(load.longest.values())
    assert min(shares.values()) > 0, shares
    assert ratio(shares) <= 1.3, shares
    assert per_second <= 40
    assert longest < patience(pools, per_second)


def test_pools_of_unequal_appetite_share_equally(make_pooler, roles):
    """More clients are no reason to get more, as long as there are enough to use the share."""
    pooler = make_shared(make_pooler, "max_server_connections", 6)
    load = Load()
    for (dbname, user), n in zip(pools_under("max_server_connections"), (60, 20, 6)):
        load.add(pooler, n, dbname, user)
    with load:
        time.sleep(1)
        shares = fairest(load, 4, 1.25)
    assert ratio(shares) <= 1.25, shares


def test_a_pool_that_wants_little_has_all_that_it_wants(make_pooler, roles):
    """One client, always busy, beside two pools that want everything: it keeps its server, the rest is theirs."""
    pooler = make_shared(make_pooler, "max_server_connections", 7)
    few, a, b = pools_under("max_server_connections")
    with load_on(pooler, [a, b]) as load:
        load.add(pooler, 1, *few)
        time.sleep(1)
        before = pooler.log().count(f"{few[0]}/{few[1]}@127.0.0.1:{pooler.pg.port} new connection to server")
        counts = load.during(4)
        after = pooler.log().count(f"{few[0]}/{few[1]}@127.0.0.1:{pooler.pg.port} new connection to server")
        equals = fairest(load, 2, 1.15, (a, b))
        longest = load.longest[few]
    assert before >= 1 and after - before <= 4
    assert counts[few] > 0.5 * (counts[a] + counts[b]) / 6, counts
    assert longest < 2
    assert ratio(equals) <= 1.15, equals


@pytest.mark.parametrize("cap, most, enough", [("max_user_connections", 10, 1.15), ("max_server_connections", 2, 1.2)])
def test_who_comes_later_has_its_share_soon(make_pooler, roles, cap, most, enough):
    """Neither does what the first has had count against it, nor does the others' absence count for them."""
    pooler = make_shared(make_pooler, cap, most)
    first, *late = pools_under(cap)
    with load_on(pooler, [first]) as load:
        time.sleep(3)
        for pool in late:
            load.add(pooler, 20, *pool)
        time.sleep(1.5)
        shares = fairest(load, 5, enough)
    assert ratio(shares) <= enough, shares


@pytest.mark.parametrize("most", [1, 2])
def test_servers_that_nobody_else_wanted_are_no_debt(make_pooler, roles, most):
    """The first has sat on its servers for a while, unused, before anybody came."""
    pooler = make_shared(make_pooler, "max_server_connections", most)
    first, *others = pools_under("max_server_connections")
    open_servers(pooler, most, *first)
    time.sleep(6)
    load = Load()
    for pool in others[:most]:
        load.add(pooler, 5, *pool)
    with load:
        time.sleep(1)
        load.add(pooler, 5, *first)
        # Six seconds that it had to make up for would still show after three spans.
        shares = fairest(load, 2.5, 2)
    assert ratio(shares) <= 2, shares


def test_a_pool_that_has_rested_takes_no_more_than_its_share(make_pooler, roles):
    pooler = make_shared(make_pooler, "max_server_connections", 2)
    a, b, rested = pools_under("max_server_connections")
    with clients(pooler, 1, *rested) as [w], load_on(pooler, [a, b]) as load:
        w.value("SELECT 1")
        time.sleep(5)
        load.add(pooler, 20, *rested)
        shares = load.shares(3)
    assert shares[rested] <= 1.6 * max(shares[a], shares[b]), shares


def test_an_occasional_client_is_answered_soon_and_costs_little(make_pooler, roles):
    pooler = make_shared(make_pooler, "max_server_connections", 4)
    rare, *greedy = pools_under("max_server_connections")
    waits = []
    with clients(pooler, 1, *rare) as [w], load_on(pooler, greedy):
        time.sleep(1)
        before = hand_overs(pooler)
        for _ in range(15):
            asked_at = time.monotonic()
            assert w.query("SELECT 1").error is None
            waits.append(time.monotonic() - asked_at)
            time.sleep(0.25)
        cost = hand_overs(pooler) - before
    assert statistics.median(waits) < 0.3 and max(waits) < 3, waits
    # Each time one server comes and goes; beside that, the others have turns.
    assert cost <= 15 * 4


def test_a_pools_first_client_gets_in_while_others_take_everything(make_pooler, roles):
    """Its login waits for a server as a query does."""
    pooler = make_shared(make_pooler, "max_server_connections", 4)
    *greedy, new = pools_under("max_server_connections")
    with load_on(pooler, greedy):
        time.sleep(0.5)
        asked_at = time.monotonic()
        with clients(pooler, 1, *new) as [w]:
            assert w.query("SELECT 1").error is None
        assert time.monotonic() - asked_at < 5


def test_two_limits_at_once_are_kept_and_shared(make_pooler, pg, roles):
    """Users that hold each other up in one database while they have limits of their own."""
    pooler = make_pooler(databases={"app": {"max_db_connections": 4}, "second": {"max_db_connections": 4}},
                         userlist={name: "" for name in NAMES}, max_user_connections=3, max_client_conn=1000)
    pools = [(dbname, user) for dbname in ("app", "second") for user in NAMES]
    with load_on(pooler, pools, 8) as load:
        time.sleep(1)
        before = hand_overs(pooler)
        most = most_backends(pg, 1), most_backends(pg, 1, "datname = 'app'"), most_backends(pg, 1, "usename = 'mmm'")
        shares = load.shares(3)
        per_second = (hand_overs(pooler) - before) / 6
    assert most[0] <= 8 and most[1] <= 4 and most[2] <= 3
    assert min(shares.values()) > 0, shares
    assert ratio(shares) <= 2, shares
    assert per_second <= 40


@pytest.mark.parametrize("cap", CAPS)
def test_nobody_waits_past_query_wait_timeout(make_pooler, roles, cap):
    pooler = make_shared(make_pooler, cap, 2, query_wait_timeout=2)
    holder, *others = pools_under(cap)
    with in_transaction(pooler, 2, *holder) as busy, contextlib.ExitStack() as stack:
        late = [w for pool in others for w in stack.enter_context(clients_that_know_the_pool(pooler, busy, pool))]
        asked_at = time.monotonic()
        for w in late:
            w.send_raw(query("SELECT 1"))
        for w in late:
            error = w.result().error
            assert_error(error, "query_wait_timeout", "57014")
            assert f"held by {cap}:" in error["D"]
            assert "query_wait_timeout is 2s" in error["D"]
            assert error["H"]
        assert 1.8 < time.monotonic() - asked_at < 6
        assert [w.query("COMMIT").tags for w in busy] == [["COMMIT"]] * 2


@contextlib.contextmanager
def clients_that_know_the_pool(pooler, busy, pool, n=3):
    """Logged in to a pool that cannot have a server now: one of the busy ones lends its place for the welcome."""
    busy[0].query("COMMIT")
    with clients(pooler, n, *pool) as found:
        busy[0].query("BEGIN")
        yield found


# The other modes

@pytest.mark.parametrize("cap", CAPS)
def test_a_session_keeps_its_server_and_its_end_makes_room(make_pooler, pg, roles, cap):
    pooler = make_shared(make_pooler, cap, 2, pool_mode="session")
    one, other, _ = pools_under(cap)
    with clients(pooler, 2, *one) as sessions:
        pids = {w.backend() for w in sessions}
        with pooler.raw() as late:
            late.startup({"user": other[1], "database": other[0]})
            is_waiting_for(pooler, cap)
            time.sleep(0.5)
            assert {w.backend() for w in sessions} == pids
            sessions[0].send("X")
            assert late.finish_login(other[1]) is None
            assert late.value("SELECT 1") == "1"
            assert sessions[1].backend() in pids
            assert len(pg.backends()) == 2


class Visitors:
    """Clients that log in, ask once and leave, over and over; counts by pool."""

    def __init__(self, pooler, pools, n):
        self.pooler, self.counts, self.errors, self.is_over = pooler, collections.Counter(), [], False
        self.threads = [threading.Thread(target=self._run, args=[pool], daemon=True) for pool in pools * n]

    def _run(self, pool):
        while not self.is_over:
            try:
                with self.pooler.wire(*pool) as w:
                    assert w.query("SELECT pg_sleep(0.005)").error is None
                    w.send("X")
                self.counts[pool] += 1
            except Exception as error:  # the test looks at it: an exception in a thread fails nothing by itself
                self.errors.append(error)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        for thread in self.threads:
            thread.join()


def test_sessions_that_come_and_go_share_a_limit(make_pooler, pg, roles):
    pooler = make_shared(make_pooler, "max_server_connections", 6, pool_mode="session")
    pools = pools_under("max_server_connections")
    with Visitors(pooler, pools, 6) as visitors:
        time.sleep(1)
        before = collections.Counter(visitors.counts)
        assert most_backends(pg, 4) <= 6
        counts = {pool: visitors.counts[pool] - before[pool] for pool in pools}
    assert visitors.errors == []
    assert ratio(counts) <= 1.3, counts


def test_statement_pooling_shares_a_limit(make_pooler, pg, roles):
    pooler = make_shared(make_pooler, "max_server_connections", 6, pool_mode="statement")
    with load_on(pooler, pools_under("max_server_connections")) as load:
        time.sleep(1)
        shares = fairest(load, 3, 1.15)
        assert most_backends(pg, 0.5) == 6
    assert ratio(shares) <= 1.15, shares


def test_a_reserve_goes_to_who_waits_long_and_stays_under_the_limit(make_pooler, pg, roles):
    pooler = make_shared(make_pooler, "max_server_connections", 4, default_pool_size=1, reserve_pool_size=2,
                         reserve_pool_timeout=1)
    pools = pools_under("max_server_connections")
    with in_transaction(pooler, 1, *pools[0]), in_transaction(pooler, 1, *pools[1]), \
            in_transaction(pooler, 1, *pools[2]), asking(pooler, 2, *pools[0]), asking(pooler, 2, *pools[1]):
        eventually(lambda: reasons(pooler) == ["max_server_connections"] * 3, "all but one wait for the limit")
        assert len(pg.backends()) == 4


def test_limits_hold_while_clients_come_and_go_and_servers_die(make_pooler, pg, roles):
    """Whatever happens, the counts are right in the end: the whole limit can be used, and no more."""
    pooler = make_shared(make_pooler, "max_server_connections", 5, server_lifetime=1, server_idle_timeout=1,
                         server_login_retry=1, max_db_connections=4, max_user_connections=4)
    pools = pools_under("max_server_connections")
    with Visitors(pooler, pools, 3) as visitors:
        end = time.monotonic() + 4
        while time.monotonic() < end:
            for pid in pg.backends()[:2]:
                pg.value(f"SELECT pg_terminate_backend({pid})")
            pooler.reload(max_server_connections=(5, 2)[int(end - time.monotonic()) % 2])
            assert most_backends(pg, 0.3) <= 5
    assert visitors.counts.total() > 50
    pooler.reload(max_server_connections=5)
    with in_transaction(pooler, 3, *pools[0]), in_transaction(pooler, 2, *pools[1]), asking(pooler, 1, *pools[2]):
        is_waiting_for(pooler, "max_server_connections")
        assert current_connections(pooler, "max_server_connections") == 5


# Why am I waiting?

COLUMNS = ["id", "database", "user", "addr", "wait", "wait_us", "wait_for", "reason", "detail"]


def test_who_waits_is_shown_with_the_time_and_the_reason(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    assert pooler.admin_result("SHOW WAITING").rows == []
    assert [c.name for c in pooler.admin_result("SHOW WAITING").columns] == COLUMNS
    with in_transaction(pooler, 1) as [busy], asking(pooler, 1) as [first]:
        is_waiting_for(pooler, "pool_size", 1)
        time.sleep(1.1)
        with asking(pooler, 1) as [second]:
            is_waiting_for(pooler, "pool_size", 2)
            a, b = waiting(pooler)
            assert (a["database"], a["user"], a["wait_for"]) == ("app", "app", "query")
            assert int(a["wait"]) >= 1 and int(b["wait"]) == 0
            assert a["detail"] == "all server connections of the pool are in use"
            for row, w in ((a, first), (b, second)):
                assert str(w.sock.getsockname()[1]) in row["addr"]
            busy.query("COMMIT")
            assert first.result().error is None
            [left] = waiting(pooler)
            assert left["id"] == b["id"]
            first.query("COMMIT")
            assert second.result().error is None
            assert waiting(pooler) == []


def test_who_waits_and_goes_is_not_shown(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with in_transaction(pooler, 1):
        with asking(pooler, 2):
            is_waiting_for(pooler, "pool_size", 2)
        is_waiting_for(pooler, "pool_size", 0)


def in_turn(scripts):
    """A fake server whose first connection is played by the first script and so on, the last by all further ones."""
    logins = []

    def script(peer):
        logins.append(peer)
        scripts[min(len(logins), len(scripts)) - 1](peer)
    return FakeServer(script)


def welcomes(peer):
    """One that begins transactions."""
    peer.read_startup()
    peer.welcome()
    while True:
        kind, body = peer.recv()
        if kind == "Q":
            begins = body.startswith(b"BEGIN")
            peer.send("C", cstring("BEGIN" if begins else "COMMIT"))
            peer.ready("T" if begins else "I")


def never_answers(peer):
    peer.read_startup()
    peer.recv()


def refuses(peer):
    peer.read_startup()
    peer.error("28000", "you shall not pass", "FATAL")


def hangs_up(peer):
    peer.read_startup()


@pytest.mark.parametrize("scripts, settings, n, reason", [
    ([welcomes, never_answers], {}, 1, "login"),
    ([welcomes, never_answers], {"server_connect_parallel": 1}, 3, "server_connect_parallel"),
    ([welcomes, never_answers], {"host_connect_parallel": 1}, 3, "host_connect_parallel"),
    ([welcomes, refuses], {}, 2, "server_login_retry"),
    ([welcomes, hangs_up], {"breaker_failures": 100}, 2, "server_login_retry"),
    ([welcomes, hangs_up], {"breaker_failures": 1}, 2, "breaker"),
])
def test_a_query_that_waits_tells_why(make_pooler, scripts, settings, n, reason):
    """One server is there and busy; what happens to the next one is what those who wait are told."""
    with in_turn(scripts) as server:
        pooler = make_pooler(databases={"app": server.entry}, server_login_retry=100, query_wait_timeout=3, **settings)
        with in_transaction(pooler, 1), asking(pooler, n) as late:
            is_waiting_for(pooler, reason, n)
            assert {row["wait_for"] for row in waiting(pooler)} == {"query"}
            errors = [w.result().error for w in late]
            for error in errors:
                assert_error(error, "query_wait_timeout", "57014")
            # When the others have gone, the last may be waiting for the login that is under way.
            assert any(f"held by {reason}:" in error["D"] for error in errors)


def test_a_login_that_waits_for_the_first_server_tells_why(make_pooler):
    with in_turn([never_answers]) as server:
        pooler = make_pooler(databases={"app": server.entry}, client_login_timeout=2)
        with pooler.raw() as w:
            w.startup({"user": "app", "database": "app"})
            is_waiting_for(pooler, "login")
            assert waiting(pooler)[0]["wait_for"] == "login"
            error = w.finish_login("app")
            assert_error(error, "client_login_timeout", "57014")
            assert "client_login_timeout is 2s" in error["D"]
            assert "a server connection is being made" in error["D"] and "login" in error["D"]


@pytest.mark.parametrize("cap", CAPS)
def test_a_login_that_waits_for_a_limit_names_it(make_pooler, roles, cap):
    pooler = make_shared(make_pooler, cap, 1, client_login_timeout=2)
    one, other, _ = pools_under(cap)
    with in_transaction(pooler, 1, *one) as [busy], pooler.raw() as w:
        w.startup({"user": other[1], "database": other[0]})
        is_waiting_for(pooler, cap)
        assert waiting(pooler)[0]["wait_for"] == "login"
        error = w.finish_login(other[1])
        assert_error(error, "client_login_timeout", "57014")
        assert cap in error["D"]
        assert busy.value("SELECT 1") == "1"


@pytest.mark.parametrize("failures, reason", [(1, "breaker"), (100, "server_login_retry")])
def test_a_login_that_waits_for_a_host_tells_why(make_pooler, failures, reason):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    pooler = make_pooler(databases={"app": {"host": "127.0.0.1", "port": port}}, server_login_retry=100,
                         server_down_action="wait", breaker_failures=failures, client_login_timeout=2)
    with pooler.raw() as w:
        w.startup({"user": "app", "database": "app"})
        is_waiting_for(pooler, reason)
        error = w.finish_login("app")
        assert_error(error, "client_login_timeout", "57014")
        assert reason in error["D"]


def test_a_client_that_waits_for_a_standby_tells_why(make_pooler):
    pooler = make_pooler(databases={"app": {"target_session_attrs": "standby", "server_down_action": "wait"}},
                         client_login_timeout=3)
    with pooler.raw() as w:
        w.startup({"user": "app", "database": "app"})
        is_waiting_for(pooler, "target_session_attrs")
        error = w.finish_login("app")
        assert_error(error, "client_login_timeout", "57014")
        assert "target_session_attrs" in error["D"]


def test_a_client_that_waits_for_a_check_tells_why(make_pooler):
    is_silent = threading.Event()

    def script(peer):
        peer.read_startup()
        peer.welcome()
        while True:
            kind, _ = peer.recv()
            if kind == "Q" and not is_silent.is_set():
                peer.send("C", cstring("SELECT 0"))
                peer.ready()

    with FakeServer(script) as server:
        pooler = make_pooler(databases={"app": server.entry}, default_pool_size=1, server_check_delay=0,
                             server_check_query="SELECT check", query_wait_timeout=3)
        with clients(pooler, 1) as [w]:
            assert w.query("SELECT 1").error is None
            time.sleep(1.2)  # PgBouncer's granularity of "idle for longer than"
            is_silent.set()
            w.send_raw(query("SELECT 2"))
            is_waiting_for(pooler, "server_check")
            error = w.result().error
            assert_error(error, "query_wait_timeout", "57014")
            assert "held by server_check:" in error["D"]


def test_the_reason_changes_with_what_holds(make_pooler):
    pooler = make_pooler(default_pool_size=1, max_db_connections=2)
    with in_transaction(pooler, 1), asking(pooler, 1) as [late], in_transaction(pooler, 1, user="other") as [other]:
        is_waiting_for(pooler, "pool_size")
        pooler.reload(default_pool_size=5)
        is_waiting_for(pooler, "max_db_connections")
        other.query("COMMIT")
        assert late.result().error is None
        assert waiting(pooler) == []


def test_a_client_of_a_paused_database_is_told_so(make_pooler):
    pooler = make_pooler(query_wait_timeout=3)
    with clients(pooler, 1) as [w]:
        w.value("SELECT 1")
        assert pooler.admin_result("PAUSE app").error is None
        w.send_raw(query("SELECT 1"))
        is_waiting_for(pooler, "paused")
        pooler.admin_result("RESUME app")
        assert w.result().error is None
