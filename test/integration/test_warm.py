"""
A pool is at its minimum before anybody needs it, and stays there: at start, after a reload, when servers are
lost, when they are replaced for their age.

What is promised in seconds is held to three times as much, because other work may be going on.
"""

import contextlib
import socket
import threading
import time

import pytest

from harness.system import eventually, free_port
from harness.wire import FakeServer, cstring

SLACK = 3


class Crowd(FakeServer):
    """A server that counts: each login takes login_takes seconds; opened and closed are times, least is the
    smallest number of open connections since watch()."""

    def __init__(self, login_takes=0, port=0):
        self.login_takes = login_takes
        self.lock = threading.Lock()
        self.open = self.most = self.least = self.logging_in = self.most_logging_in = 0
        self.opened, self.closed, self.users, self.lets_in = [], [], [], True
        super().__init__(self._host, port=port)

    def _host(self, peer):
        self.users.append(peer.read_startup().get("user"))
        with self.lock:
            self.logging_in += 1
            self.most_logging_in = max(self.most_logging_in, self.logging_in)
        time.sleep(self.login_takes)
        with self.lock:
            self.logging_in -= 1
            if not self.lets_in:
                return
            # Before the welcome: what the pooler closes for it comes later, and the count dips only if the pool did.
            self.open += 1
            self.most = max(self.most, self.open)
            self.opened.append(time.monotonic())
        try:
            peer.welcome()
            self._serve(peer)
        finally:
            with self.lock:
                self.open -= 1
                self.least = min(self.least, self.open)
                self.closed.append(time.monotonic())

    @staticmethod
    def _serve(peer):
        status = "I"
        while True:
            kind, body = peer.recv()
            if kind == "X":
                return
            if body.startswith((b"BEGIN", b"COMMIT")):
                status = "T" if body.startswith(b"BEGIN") else "I"
            if kind == "Q":
                peer.send("C", cstring("SELECT 0"))
            if kind in "QS":
                peer.ready(status)

    def watch(self):
        """Counts anew from here."""
        with self.lock:
            self.least = self.most = self.open
            self.opened, self.closed = [], []

    def wait_open(self, n):
        eventually(lambda: self.open == n, f"{n} open servers, not {self.open}", timeout=20, every=0.01)

    def drop(self):
        """Ends all connections, as the server's end would."""
        for peer in list(self.peers):
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)

    def __exit__(self, *args):
        # A thread blocked in recv() keeps its connection alive past close().
        self.drop()
        super().__exit__(*args)


def use(pooler, dbname="app", **kwargs):
    """A client comes, uses a server, and goes."""
    with pooler.wire(dbname, **kwargs) as w:
        assert w.query("SELECT 1").tags == ["SELECT 0"]
        w.send("X")


def forced(server, **more):
    return {**server.entry, "user": "app", **more}


# Warm

def test_a_forced_users_pool_is_full_within_a_second_of_the_start(make_pooler):
    """From the call that starts the process to the welcome of the last of 20 servers."""
    with Crowd() as server:
        pooler = make_pooler(databases={"app": forced(server, min_pool_size=20)}, start=False)
        began = time.monotonic()
        pooler.start()
        server.wait_open(20)
        assert server.opened[-1] - began < 1 * SLACK
        assert set(server.users) == {"app"}


def test_with_postgresql_too(make_pooler, pg):
    """From the first moment that the pooler accepts connections."""
    make_pooler(databases={"app": {"user": "app", "min_pool_size": 20}})
    began = time.monotonic()
    eventually(lambda: len(pg.backends()) == 20, "20 backends", every=0.02)
    assert time.monotonic() - began < 1 * SLACK


def more_wanted(pooler, server, other):
    pooler.databases["app"]["min_pool_size"] = 12
    return server


def another_server(pooler, server, other):
    pooler.databases["app"].update(other.entry)
    return other


def another_database_there(pooler, server, other):
    pooler.databases["app"]["dbname"] = "elsewhere"
    return server


def another_server_for_all(pooler, server, other):
    for entry in pooler.databases.values():
        entry.update(other.entry)
    return other


@pytest.mark.parametrize("known", [False, True], ids=["forced_user", "known_user"])
@pytest.mark.parametrize("change", [more_wanted, another_server, another_database_there],
                         ids=lambda f: f.__name__)
def test_a_pool_is_full_within_a_second_of_a_reload(make_pooler, change, known):
    """From the RELOAD that changes something to the welcome of the last of 12 servers, with no client there."""
    with Crowd() as server, Crowd() as other:
        least = 3 if change == more_wanted else 12
        entry = {**server.entry, "min_pool_size": least} if known else forced(server, min_pool_size=least)
        pooler = make_pooler(databases={"app": entry})
        if known:
            use(pooler)
        server.wait_open(least)
        place = change(pooler, server, other)
        place.watch()
        began = time.monotonic()
        assert pooler.reload().error is None
        place.wait_open(12)
        eventually(lambda: len(place.opened) == (9 if change == more_wanted else 12), "the new ones are counted")
        assert place.opened[-1] - began < 1 * SLACK
        if change == another_server:
            server.wait_open(0)


def test_a_database_that_a_reload_brings_is_full_within_a_second(make_pooler):
    with Crowd() as server:
        pooler = make_pooler(databases={"app": server.entry})
        pooler.databases["new"] = forced(server, min_pool_size=12)
        began = time.monotonic()
        assert pooler.reload().error is None
        server.wait_open(12)
        assert server.opened[-1] - began < 1 * SLACK


def test_a_user_known_in_several_databases_has_each_of_them_warm(make_pooler):
    """A database with a name of its own, and one made from the * entry."""
    with Crowd() as server, Crowd() as other:
        pooler = make_pooler(databases={"app": server.entry, "*": server.entry}, min_pool_size=3)
        use(pooler)
        use(pooler, "automatic")
        server.wait_open(6)
        another_server_for_all(pooler, server, other)
        assert pooler.reload().error is None
        other.wait_open(6)
        server.wait_open(0)


def test_nobody_has_logged_in_and_nothing_is_opened(make_pooler):
    """Neither at start nor at reload; and a login that fails makes nobody known."""
    with Crowd() as server:
        pooler = make_pooler(databases={"app": server.entry}, auth_type="md5", min_pool_size=5,
                             userlist={"app": "secret", "admin": "secret"})
        with pooler.raw() as w:
            assert w.try_login("app", "app", "wrong")["C"] == "28P01"
        pooler.databases["app"]["dbname"] = "elsewhere"
        assert pooler.reload(default_pool_size=10).error is None
        time.sleep(1)
        assert server.users == []


def test_a_known_user_in_one_database_opens_nothing_in_another(make_pooler):
    with Crowd() as server, Crowd() as other:
        pooler = make_pooler(databases={"app": server.entry, "second": other.entry}, min_pool_size=2)
        use(pooler)
        server.wait_open(2)
        assert pooler.reload(min_pool_size=3).error is None
        server.wait_open(3)
        assert other.users == []


def test_the_minimum_is_not_exceeded(make_pooler):
    with Crowd() as server:
        make_pooler(databases={"app": forced(server, min_pool_size=5)})
        server.wait_open(5)
        time.sleep(1)
        assert (server.open, server.most) == (5, 5)


@pytest.mark.parametrize("bound", ["pool_size", "max_db_connections"])
def test_the_minimum_stays_within_other_bounds(make_pooler, bound):
    with Crowd() as server:
        make_pooler(databases={"app": forced(server, min_pool_size=8, **{bound: 3})})
        server.wait_open(3)
        time.sleep(0.5)
        assert server.most == 3


@pytest.mark.parametrize("bounds, most", [({"server_connect_parallel": 4}, 4), ({"server_connect_parallel": 6}, 6),
                                          ({"server_connect_parallel": 8, "host_connect_parallel": 3}, 3)])
def test_warming_up_is_parallel_and_bounded(make_pooler, bounds, most):
    """24 logins of 100 ms each. One after the other they would take 2.4 s."""
    with Crowd(login_takes=0.1) as server:
        make_pooler(databases={"app": forced(server, min_pool_size=24)}, default_pool_size=24, **bounds)
        server.wait_open(24)
        assert server.most_logging_in == most
        assert server.opened[-1] - server.opened[0] < 2.3 * 2 / most + 0.5


def test_warming_up_many_pools_is_bounded_by_the_host(make_pooler):
    """10 pools of 4 each, which could all begin at once."""
    with Crowd(login_takes=0.1) as server:
        pooler = make_pooler(databases={f"d{i}": forced(server, min_pool_size=4) for i in range(10)},
                             host_connect_parallel=8)
        server.wait_open(40)
        assert server.most_logging_in == 8
        assert {row["database"]: row["sv_idle"] for row in pooler.admin("SHOW POOLS")
                if row["database"] != "pgbouncer"} == {f"d{i}": "4" for i in range(10)}


@pytest.mark.parametrize("known", [False, True], ids=["forced_user", "known_user"])
def test_lost_servers_are_replaced_without_a_client(make_pooler, known):
    """All of 8, more than a second old, are lost at once; from then to the welcome of the last new one."""
    with Crowd() as server:
        entry = {**server.entry, "min_pool_size": 8} if known else forced(server, min_pool_size=8)
        pooler = make_pooler(databases={"app": entry})
        if known:
            use(pooler)
        server.wait_open(8)
        time.sleep(1.2)
        server.watch()
        began = time.monotonic()
        server.drop()
        eventually(lambda: len(server.opened) == 8 and server.open == 8, "eight new servers", every=0.01)
        assert server.opened[-1] - began < 1 * SLACK


@pytest.mark.parametrize("down", [0.3, 4])
def test_a_server_that_comes_after_the_pooler_has_its_pool_full_at_once(make_pooler, down):
    """From the moment its port is open, however long it was not, to the welcome of the last of 8."""
    port = free_port()
    make_pooler(databases={"app": {"host": "127.0.0.1", "port": port, "user": "app", "min_pool_size": 8}})
    time.sleep(down)
    with Crowd(port=port) as server:
        began = time.monotonic()
        server.wait_open(8)
        assert server.opened[-1] - began < 1 * SLACK


def test_a_known_user_needs_no_client_after_an_outage_either(make_pooler):
    port = free_port()
    with Crowd(port=port) as server:
        pooler = make_pooler(databases={"app": server.entry}, min_pool_size=4)
        use(pooler)
        server.wait_open(4)
    time.sleep(1.5)
    with Crowd(port=port) as server:
        began = time.monotonic()
        server.wait_open(4)
        assert server.opened[-1] - began < 1 * SLACK


def test_idle_servers_of_the_minimum_stay_open(make_pooler):
    with Crowd() as server:
        pooler = make_pooler(databases={"app": server.entry}, min_pool_size=3, server_idle_timeout=1)
        use(pooler)
        server.wait_open(3)
        server.watch()
        time.sleep(2.5)
        assert (server.least, server.closed) == (3, [])


# Lifetimes: replacement

class Busy:
    """A client that goes on asking, in a thread; an error or another end of it is kept."""

    def __init__(self, pooler, every=0.002):
        self.failure, self.done, self.every = None, 0, every
        self.end = threading.Event()
        self.thread = threading.Thread(target=self._run, args=[pooler])

    def _run(self, pooler):
        try:
            with pooler.wire() as w:
                while not self.end.is_set():
                    assert w.query("SELECT 1").tags == ["SELECT 0"]
                    self.done += 1
                    time.sleep(self.every)
        except Exception as error:
            self.failure = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()


@pytest.mark.parametrize("clients", [0, 3])
@pytest.mark.parametrize("size", [4, 5, 20])
def test_a_pool_at_its_minimum_never_dips(make_pooler, size, clients):
    """Four servers, a lifetime of 1 s, 5 s long: the count is taken at every end of a connection."""
    with Crowd() as server:
        pooler = make_pooler(databases={"app": forced(server, min_pool_size=4)}, default_pool_size=size,
                             server_lifetime=1)
        server.wait_open(4)
        server.watch()
        with contextlib.ExitStack() as stack:
            busy = [stack.enter_context(Busy(pooler)) for _ in range(clients)]
            time.sleep(5)
        assert [b.failure for b in busy] == [None] * clients
        assert server.least >= 4
        assert server.most <= 5
        assert len(server.closed) >= 8
    assert "server lifetime over" in pooler.log()


def test_never_dips_with_slow_logins(make_pooler):
    """The replacement takes half a lifetime to log in."""
    with Crowd(login_takes=0.5) as server:
        make_pooler(databases={"app": forced(server, min_pool_size=3)}, default_pool_size=3, server_lifetime=1)
        server.wait_open(3)
        server.watch()
        eventually(lambda: len(server.closed) >= 4, "four replacements", timeout=20)
        assert server.least >= 3


def test_every_server_is_replaced(make_pooler):
    """None is forgotten: in some lifetimes all that were there at first have gone."""
    with Crowd() as server:
        make_pooler(databases={"app": forced(server, min_pool_size=6)}, default_pool_size=6, server_lifetime=1)
        server.wait_open(6)
        first = list(server.peers)
        eventually(lambda: all(peer.sock.fileno() < 0 for peer in first), "all have been replaced", timeout=6)


@pytest.mark.parametrize("n, size", [(1, 1), (1, 20), (2, 2), (4, 4), (4, 20), (4, 0)])
def test_a_server_is_replaced_in_its_time_whatever_the_pools_size(make_pooler, n, size):
    """A lifetime of 2 s, n servers at the minimum: the first goes in half a lifetime more, all in a whole one."""
    with Crowd() as server:
        make_pooler(databases={"app": forced(server, min_pool_size=n, pool_size=size)}, server_lifetime=2)
        server.wait_open(n)
        first, opened = list(server.peers), server.opened[0]
        eventually(lambda: len(server.closed) >= 1, "one was replaced", timeout=20)
        assert server.closed[0] - opened < 3
        eventually(lambda: all(peer.sock.fileno() < 0 for peer in first), "all were replaced", timeout=20)
        assert time.monotonic() - opened < 4.5


def test_an_unused_server_above_the_minimum_goes_without_replacement(make_pooler):
    with Crowd() as server:
        pooler = make_pooler(databases={"app": server.entry}, server_lifetime=1)
        use(pooler)
        eventually(lambda: len(server.closed) == 1, "closed for its age", timeout=6)
        time.sleep(0.5)
        assert (server.open, len(server.opened)) == (0, 1)
        assert "server lifetime over" in pooler.log()


def test_old_servers_stay_while_no_new_one_can_be_had(make_pooler):
    """The server takes nobody new for three lifetimes: those that are there serve on, and are replaced afterwards."""
    with Crowd() as server:
        pooler = make_pooler(databases={"app": forced(server, min_pool_size=3)}, default_pool_size=3,
                             server_lifetime=1, server_login_retry=1)
        server.wait_open(3)
        server.lets_in = False
        server.watch()
        time.sleep(3)
        assert (server.least, server.closed) == (3, [])
        use(pooler)
        server.lets_in = True
        eventually(lambda: len(server.closed) >= 3, "they are replaced", timeout=10)
        assert server.least >= 2


def test_at_a_shared_bound_a_server_is_replaced_in_its_own_place(make_pooler):
    """max_db_connections leaves no room for one more: the bound is held, and the old one goes all the same."""
    with Crowd() as server:
        make_pooler(databases={"app": forced(server, min_pool_size=3, max_db_connections=3)}, server_lifetime=1)
        server.wait_open(3)
        eventually(lambda: len(server.closed) >= 6, "they are replaced", timeout=10)
        server.wait_open(3)
        assert server.most == 3


# Lifetimes: jitter

def most_within(times, span):
    """How many of these lie within any such time."""
    return max((sum(1 for other in times if 0 <= other - t < span) for t in times), default=0)


@pytest.mark.parametrize("size", [10, 20])
def test_servers_opened_together_do_not_close_together(make_pooler, size):
    """Ten of one pool, opened within milliseconds, with a lifetime of 3 s."""
    with Crowd() as server:
        make_pooler(databases={"app": forced(server, min_pool_size=10)}, default_pool_size=size,
                    server_connect_parallel=10, server_lifetime=3)
        server.wait_open(10)
        eventually(lambda: len(server.closed) >= 10, "all were replaced", timeout=20)
        first = server.closed[:10]
        assert most_within(first, 0.1) <= 5
        assert first[-1] - first[0] > 0.3


def test_servers_of_many_pools_opened_together_do_not_close_together(make_pooler):
    """One each of 40 pools, with a lifetime of 3 s: they spread over a twentieth of it, and not in few bunches."""
    with Crowd() as server:
        make_pooler(databases={f"d{i}": forced(server, min_pool_size=1) for i in range(40)},
                    host_connect_parallel=0, server_lifetime=3)
        server.wait_open(40)
        eventually(lambda: len(server.closed) >= 40, "all were replaced", timeout=20)
        assert server.closed[39] - server.closed[0] > 3 / 20
        assert most_within(server.closed[:40], 0.01) <= 20


# Lifetimes: not firing

def test_a_server_that_has_not_reached_its_lifetime_is_not_closed(make_pooler):
    with Crowd() as server:
        pooler = make_pooler(databases={"app": forced(server, min_pool_size=4)}, server_lifetime=1000)
        server.wait_open(4)
        for _ in range(20):
            use(pooler)
            time.sleep(0.1)
        assert (server.closed, len(server.opened)) == ([], 4)


def test_no_server_goes_much_before_its_time(make_pooler):
    """Jitter takes off a tenth at most: nothing is closed in the first 80 % of a lifetime of 3 s."""
    with Crowd() as server:
        pooler = make_pooler(databases={"app": forced(server, min_pool_size=10)}, default_pool_size=20,
                             server_lifetime=3)
        server.wait_open(10)
        with Busy(pooler):
            eventually(lambda: len(server.closed) >= 10, "all were replaced", timeout=20)
        assert server.closed[0] - server.opened[0] > 0.8 * 3


def test_lifetime_of_a_database(make_pooler):
    with Crowd() as short, Crowd() as usual:
        make_pooler(databases={"short": forced(short, min_pool_size=2, server_lifetime=1),
                               "usual": forced(usual, min_pool_size=2)}, server_lifetime=1000)
        short.wait_open(2)
        usual.wait_open(2)
        short.watch()
        eventually(lambda: len(short.closed) >= 4, "replaced, and again", timeout=15)
        assert short.least >= 2
        assert (usual.closed, len(usual.opened)) == ([], 2)


def test_a_lifetime_does_not_cut_a_transaction_at_the_minimum(make_pooler):
    """min_pool_size and pool_size are one: the only server is in a transaction for three lifetimes."""
    with Crowd() as server:
        pooler = make_pooler(databases={"app": forced(server, min_pool_size=1, pool_size=1)}, server_lifetime=1)
        with pooler.wire() as w:
            assert w.query("BEGIN").status == "T"
            server.wait_open(1)
            server.watch()
            time.sleep(3)
            assert server.closed == []
            assert w.query("COMMIT").status == "I"
            eventually(lambda: len(server.closed) >= 1, "replaced afterwards", timeout=10)
            assert server.least >= 1
            assert w.query("SELECT 1").tags == ["SELECT 0"]


@pytest.mark.parametrize("least", [0, 2])
def test_lifetime_zero_closes_after_each_use(make_pooler, least):
    """And only then: servers of the minimum that nobody uses are not opened again and again."""
    with Crowd() as server:
        pooler = make_pooler(databases={"app": forced(server, min_pool_size=least)}, server_lifetime=0)
        server.wait_open(least)
        time.sleep(1)
        assert server.closed == []
        for n in range(1, 6):
            use(pooler)
            eventually(lambda: len(server.closed) == n, "closed after its use")
        server.wait_open(least)
        assert len(server.opened) == 5 + least


def test_a_lifetime_shortened_by_a_reload_holds_for_servers_that_are_there(make_pooler):
    with Crowd() as server:
        pooler = make_pooler(databases={"app": forced(server, min_pool_size=3)}, server_lifetime=1000)
        server.wait_open(3)
        server.watch()
        assert pooler.reload(server_lifetime=1).error is None
        eventually(lambda: len(server.closed) >= 3, "they are replaced", timeout=8)
        assert server.least >= 3


def test_a_lifetime_lengthened_by_a_reload_holds_for_servers_that_are_there(make_pooler):
    with Crowd() as server:
        pooler = make_pooler(databases={"app": forced(server, min_pool_size=3)}, server_lifetime=2)
        server.wait_open(3)
        assert pooler.reload(server_lifetime=1000).error is None
        time.sleep(3)
        assert server.closed == []
