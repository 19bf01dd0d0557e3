"""
Mixed load for a long time while everything fails that can fail: servers are killed, stopped, restarted, the pooler is
reloaded, paused, replaced by another process. Each row whose COMMIT was answered is there, once, as it was sent; none
is there that was not committed; every client hears an answer or an error; memory and descriptors stay what they were.

12 seconds by default, an hour with --long, PGSLUICE_SOAK_SECONDS if that says how long. A failure names its seed, which
PGSLUICE_SOAK_SEED takes: what is done is the same then, when it hits is not.
"""

import collections
import contextlib
import os
import random
import signal
import socket
import threading
import time

import pytest

from harness.pg import PASSWORD, Postgres
from harness.pooler import Pooler, has_sanitizers, is_pgbouncer
from harness.rest import wait_for_rest
from harness.soaking import SCHEMA, STEPS, UNKNOWN, WRITTEN, Client, Ledger
from harness.system import children, eventually
from harness.wire import Wire

pytestmark = pytest.mark.skipif(is_pgbouncer(), reason="PgBouncer has neither -R like ours nor our ways to end clients")

SECONDS, SECONDS_LONG = 12, 3600

# Between two steps of a client, and between two faults, at most: dense in a short test, and so that an hour leaves no
# more than a gigabyte and servers time to get busy in a long one.
Pace = collections.namedtuple("Pace", "steps faults")
DENSE, EASY = Pace(0.05, 0.3), Pace(0.2, 3)

# What a quiet process may have more than after it was warm: what malloc() keeps between those that are in use.
SLACK = 8 << 20

RULES = """
local all all trust
host all scram_user all scram-sha-256
host all all all trust
"""

# One of these at a time, until the next reload takes it back.
CHANGES = [
    {"default_pool_size": 3}, {"default_pool_size": 12}, {"min_pool_size": 4}, {"reserve_pool_size": 2},
    {"server_lifetime": 2}, {"server_idle_timeout": 1}, {"server_tls_sslmode": "disable"}, {"server_round_robin": 1},
    {"max_prepared_statements": 5}, {"server_fast_close": 1}, {"pool_size_mode": "adaptive"}, {"server_check_delay": 0},
    {"max_db_connections": 5}, {"tcp_socket_buffer": 8192}, {"query_wait_timeout": 1}, {"server_reset_query_always": 1},
    {"client_idle_timeout": 1}, {"cancel_wait_timeout": 1}, {"prepared_unnamed": "cache"}, {"log_format": "json"},
    {"stats_period": 1}, {"server_abandoned": "close"}, {"tls_handshakes_per_turn": 1}, {"max_memory": "1GB"},
]


class Faults:
    """Whatever one of them breaks works again when it returns."""

    def __init__(self, pg, pooler, seed):
        self.pg, self.pooler = pg, pooler
        self.random = random.Random(f"{seed} faults")
        self.changed = {}
        self.kinds = [self.kill_a_backend, self.kill_the_server, self.restart_the_server, self.stop_the_server_at_once,
                      self.terminate_backends, self.freeze_backends, self.freeze_the_server, self.reload, self.pause,
                      self.reconnect, self.kill, self.suspend]
        self.done = []

    def next(self):
        """Each comes once before any comes again."""
        if len(self.done) % len(self.kinds) == 0:
            self.random.shuffle(self.kinds)
        fault = self.kinds[len(self.done) % len(self.kinds)]
        self.done.append(fault.__name__)
        fault()

    def wait(self):
        time.sleep(self.random.uniform(0.1, 0.6))

    def some_backends(self):
        pids = self.pg.backends()
        return self.random.sample(pids, self.random.randint(1, len(pids))) if pids else []

    def signal(self, pids, sig):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sig)

    def between(self, *commands):
        """Commands of one console, with a while between them."""
        with Wire(self.pooler.console_address).login("admin", "pgbouncer") as console:
            for text in commands:
                error = console.query(text).error
                assert error is None, (text, error)
                self.wait()

    # PostgreSQL

    def kill_a_backend(self):
        """All others end with it."""
        self.signal(self.some_backends()[:1], signal.SIGKILL)
        self.pg.wait_ready()

    def kill_the_server(self):
        process = self.pg.process
        self.pg.freeze()  # so that no more are born
        self.signal([*children(process.pid), process.pid], signal.SIGKILL)
        process.wait()
        self.wait()
        eventually(self.nobody_listens, "the last of them is gone")
        self.pg.start()

    def nobody_listens(self):
        with socket.socket() as s:
            return s.connect_ex((self.pg.address, self.pg.port)) != 0

    def restart_the_server(self):
        self.pg.restart()

    def stop_the_server_at_once(self):
        self.pg.stop()
        self.wait()
        self.pg.start()

    def terminate_backends(self):
        self.signal(self.some_backends(), signal.SIGTERM)

    def freeze_backends(self):
        pids = self.some_backends()
        self.signal(pids, signal.SIGSTOP)
        self.wait()
        self.signal(pids, signal.SIGCONT)

    def freeze_the_server(self):
        self.pg.freeze()
        self.wait()
        self.pg.thaw()

    # The pooler

    def reload(self):
        before = {name: None for name in self.changed}
        self.changed = self.random.choice(CHANGES)
        assert self.pooler.reload(**{**before, **BASE, **self.changed}).error is None, self.changed

    def pause(self):
        self.between("PAUSE app", "RESUME app")

    def reconnect(self):
        self.between("RECONNECT")

    def kill(self):
        self.between("KILL app", "RESUME app")

    def suspend(self):
        self.between("SUSPEND", "RESUME")


BASE = {"default_pool_size": 6, "query_wait_timeout": 15, "server_login_retry": 1, "server_connect_timeout": 5,
        "max_prepared_statements": 30, "log_connections": 0, "log_disconnections": 0, "log_pooler_errors": 0,
        "server_tls_sslmode": "require"}


@pytest.fixture
def soaked(certs):
    """A server of its own: what it has answered it has to keep when it is killed."""
    pg = Postgres(settings=["ssl = on", f"ssl_cert_file = '{certs.server.cert}'",
                            f"ssl_key_file = '{certs.server.key}'", "synchronous_commit = on",
                            "full_page_writes = on", "max_wal_size = '512MB'", "restart_after_crash = on"])
    pg.rows(SCHEMA, "app")
    yield pg
    pg.thaw()
    pg.close()


@pytest.fixture
def pooler(soaked, certs):
    here = {"host": "127.0.0.1", "port": soaked.port, "dbname": "app"}
    pooler = Pooler(soaked, start=False, auth_type="hba", databases={"app": here, "session": {
        **here, "pool_mode": "session", "pool_size": 8}}, **certs.for_clients(mode="allow"), **BASE)
    pooler.userlist["scram_user"] = PASSWORD
    pooler.settings["auth_hba_file"] = pooler.write_file("hba", RULES)
    pooler.settings["pidfile"] = os.path.join(pooler.directory, "pid")
    pooler.write()
    try:
        yield pooler.start()
    finally:
        pooler.close()


class Load:
    """Twenty clients in four pools, some of them with TLS."""

    def __init__(self, pooler, seed, pace, context):
        self.gate = threading.Event()
        address = ("127.0.0.1", pooler.port)
        self.clients = [
            Client(address, n, seed, self.gate, pace.steps, database="session" if n % 4 == 3 else "app",
                   user=user, password=PASSWORD if user == "scram_user" else None,
                   context=context if n % 3 == 0 else None, stays=n % 2 == 0)
            for n, user in enumerate(["app", "app", "scram_user", "app"] * 5)]

    def __enter__(self):
        self.gate.set()
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_):
        for client in self.clients:
            client.stop()
        for client in self.clients:
            client.join()

    def check(self):
        assert [fault for client in self.clients for fault in client.faults] == []

    def leave(self):
        """All clients have gone when this returns; enter() lets them in again."""
        self.gate.clear()
        eventually(lambda: all(client.w is None for client in self.clients), "all have left", 120)
        self.check()

    def enter(self):
        self.gate.set()


def replace(pooler, load, pg):
    """Another process takes over under load; the old one ends when its clients have left."""
    old = pooler.take_over()
    time.sleep(1)
    load.leave()
    assert old.wait(60) == 0
    wait_for_rest(pooler, pg)
    load.enter()


def go_on(faults, load, seconds, pace):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        faults.next()
        load.check()
        time.sleep(faults.random.uniform(0, pace.faults))


def assert_ledgers_are_true(load, pg):
    found, broken = collections.defaultdict(dict), []
    for client, seq, rows, is_whole in pg.rows(
            "SELECT client, seq, count(*), bool_and(md5(body) = digest) FROM soak GROUP BY 1, 2", "app"):
        found[client][seq] = rows
        if not is_whole:
            broken.append((client, seq))
    assert broken == []
    assert {client.number: faults for client in load.clients
            if (faults := client.ledger.faults(found[client.number]))} == {}


def tell(load, faults, warm, end):
    states, errors = collections.Counter(), collections.Counter()
    for client in load.clients:
        states.update(state for state, _ in client.ledger.entries.values())
        errors.update(client.errors)
    print(f"transactions: {dict(states)}, errors: {dict(errors)}, connections lost: "
          f"{sum(client.lost for client in load.clients)}, faults: {dict(collections.Counter(faults.done))}, "
          f"when warm: {warm}, at the end: {end}")
    return states


def test_a_ledger_is_true_only_when_all_rows_are_as_it_says():
    """Else the next test would prove nothing."""
    ledger = Ledger()
    written, refused, doubted = (ledger.open(rows=2) for _ in range(3))
    ledger.doubt(written)
    ledger.settle(written, True)
    ledger.doubt(doubted)
    for found in ({written: 2}, {written: 2, doubted: 2}):
        assert ledger.faults(found) == []
    for found in ({}, {written: 1}, {written: 4}, {written: 2, refused: 2}, {written: 2, doubted: 1},
                  {written: 2, 9: 1}):
        assert ledger.faults(found) != [], found


def test_nothing_is_lost_and_nobody_left_waiting_whatever_fails(soaked, pooler, certs, is_long):
    seconds = int(os.environ.get("PGSLUICE_SOAK_SECONDS", SECONDS_LONG if is_long else SECONDS))
    seed = os.environ.get("PGSLUICE_SOAK_SEED", str(random.randrange(1000000)))
    print(f"seed {seed}")
    faults = Faults(soaked, pooler, seed)
    pace = DENSE if seconds < 120 else EASY
    with Load(pooler, seed, pace, certs.client()) as load:
        go_on(faults, load, seconds / 10, pace)
        replace(pooler, load, soaked)
        go_on(faults, load, seconds / 5, pace)
        load.leave()
        warm = wait_for_rest(pooler, soaked)
        load.enter()
        go_on(faults, load, seconds * 7 / 10, pace)
        load.leave()
        end = wait_for_rest(pooler, soaked)
    states = tell(load, faults, warm, end)
    assert_ledgers_are_true(load, soaked)
    # The test has tested something.
    assert states[WRITTEN] > states[UNKNOWN]
    assert {step.__name__ for step in STEPS} == {name for client in load.clients for name in client.done}
    assert end.descriptors == warm.descriptors
    assert has_sanitizers() or end.rss <= warm.rss + SLACK
