"""etc/haproxy: two poolers behind HAProxy, as the example has them, share clients and are restarted without a loss."""

import collections
import contextlib
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import threading

import psycopg
import pytest

from harness.pg import PASSWORD
from harness.pooler import is_pgbouncer
from harness.system import as_account, eventually, free_port, stop_process
from harness.wire import Wire, query

if is_pgbouncer():
    pytest.skip("the example is for pgsluice", allow_module_level=True)

EXAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../etc/haproxy")
LONG_QUERY = "SELECT pg_sleep(1000) /* scale out */"


def example(name):
    with open(os.path.join(EXAMPLE, name)) as f:
        return f.read()


def replaced(text, places):
    """The example with the addresses and files of this test: each must be there to be replaced."""
    for old, new in places.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


class HAProxy:
    """With the very file of the example: what differs are the environment variables it names."""

    def __init__(self, poolers):
        self.port = free_port()
        self.directory = tempfile.mkdtemp(prefix="haproxy-", dir="/tmp")
        os.chmod(self.directory, 0o755)
        file = os.path.join(self.directory, "haproxy.cfg")
        shutil.copy(os.path.join(EXAMPLE, "haproxy.cfg"), file)
        self.log_file = os.path.join(self.directory, "log")
        environment = {**os.environ, "PGSLUICE_FRONT": f"127.0.0.1:{self.port}",
                       "PGSLUICE_1": f"127.0.0.1:{poolers[0].port}", "PGSLUICE_1_HTTP": str(poolers[0].http_port),
                       "PGSLUICE_2": f"127.0.0.1:{poolers[1].port}", "PGSLUICE_2_HTTP": str(poolers[1].http_port)}
        with open(self.log_file, "w") as log:
            self.process = subprocess.Popen(["haproxy", "-db", "-f", file], stdout=log, stderr=log, env=environment,
                                            stdin=subprocess.DEVNULL, **as_account())

    def log(self):
        with open(self.log_file) as f:
            return f.read()

    def close(self):
        stop_process(self.process)
        shutil.rmtree(self.directory)

    def wire(self):
        return Wire(("127.0.0.1", self.port)).login("app", "app", PASSWORD)

    def is_ready(self):
        assert self.process.poll() is None, self.log()
        try:
            self.wire().close()
            return True
        except OSError:
            return False


@pytest.fixture
def poolers(make_pooler, pg):
    """The two of the example. Their ports differ here, their addresses do not."""
    made = [make_pooler(start=False, userlist={"app": PASSWORD}, args=["-v"]) for _ in range(2)]
    for i, pooler in enumerate(made):
        pooler.http_port = free_port()
        text = replaced(example(f"pgsluice-{i + 1}.ini"), {
            "host=10.0.0.5 port=5432": f"host=127.0.0.1 port={pg.port}",
            "host=10.0.0.11 port=6432": f"host=127.0.0.1 port={made[0].port}",
            "host=10.0.0.12 port=6432": f"host=127.0.0.1 port={made[1].port}",
            "\nlisten_addr = *": "\nlisten_addr = 127.0.0.1",
            "http_listen_addr = *": "http_listen_addr = 127.0.0.1",
            "http_port = 9127": f"http_port = {pooler.http_port}",
            "listen_port = 6432": f"listen_port = {pooler.port}",
            "/run/pgsluice": pooler.directory,
            "/etc/pgsluice/userlist.txt": pooler.userlist_file})
        pooler.write(text)
        pooler.start()
    return made


@pytest.fixture
def proxy(poolers):
    proxy = HAProxy(poolers)
    try:
        eventually(proxy.is_ready, "HAProxy serves")
        yield proxy
    finally:
        proxy.close()


def home(wire):
    """Which pooler a client is at: its peer_id is in the cancel key."""
    return struct.unpack("<H", wire.key[1:3])[0]


def test_the_two_configurations_differ_in_peer_id_alone():
    one, two = (example(f"pgsluice-{i}.ini").splitlines()[1:] for i in (1, 2))
    assert [(a, b) for a, b in zip(one, two, strict=True) if a != b] == [("peer_id = 1", "peer_id = 2")]


def test_clients_are_shared_among_both(proxy):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.wire()) for _ in range(20)]
        assert [w.value("SELECT 1") for w in clients] == ["1"] * 20
        assert collections.Counter(home(w) for w in clients) == {1: 10, 2: 10}


def running(pg):
    return pg.value("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%out */'")


def test_a_cancel_request_lands_on_its_query_though_it_goes_to_the_other_pooler(poolers, proxy, pg):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.wire()) for _ in range(8)]
        ours, others = ([w for w in clients if home(w) == number] for number in (1, 2))
        # HAProxy gives each new connection to the pooler that has fewer: from now on that is the second.
        while len(others) > 1:
            others.pop().close()
        for w in ours + others:
            w.send_raw(query(LONG_QUERY))
        for _ in range(10):
            for w in ours:
                eventually(lambda: running(pg) == 5, "all run", every=0.005)
                w.cancel()
                assert w.result().error["C"] == "57014"
                assert running(pg) == 4
                w.send_raw(query(LONG_QUERY))
        for w in ours + others:
            w.cancel()
            assert w.result().error["C"] == "57014"
    assert poolers[1].log().count("closing because: cancel request done") >= 40


def connect(port):
    return psycopg.connect(host="127.0.0.1", port=port, user="app", password=PASSWORD, dbname="app",
                           prepare_threshold=None, connect_timeout=60)


class Visitor(threading.Thread):
    """Connects, asks once and leaves, again and again. Nothing may go wrong."""

    def __init__(self, port):
        super().__init__()
        self.port = port
        self.stop, self.done, self.failure = threading.Event(), 0, None

    def run(self):
        try:
            while not self.stop.is_set():
                with connect(self.port) as connection:
                    connection.execute("SELECT 1")
                self.done += 1
        except psycopg.Error as error:
            self.failure = repr(error)


class Worker(threading.Thread):
    """
    A client that stays connected, with transactions of two statements one after the other. Told 57P01 before its
    transaction has begun it connects anew and tries that again: so do applications that follow PostgreSQL's advice for
    servers that restart. Whatever else goes wrong is a failure.
    """

    def __init__(self, port, number):
        super().__init__()
        self.port, self.number = port, number
        self.stop, self.done, self.moves, self.failure = threading.Event(), 0, 0, None

    def run(self):
        connection = connect(self.port)
        try:
            while not self.stop.is_set():
                connection = self.step(connection)
        except psycopg.Error as error:
            self.failure = repr(error)
        finally:
            connection.close()

    def step(self, connection):
        """One transaction, or a new connection."""
        try:
            connection.execute("SELECT 1")
        except psycopg.OperationalError as error:
            # This psycopg has the text and not the SQLSTATE of an error that ends a connection.
            if "server shutting down" not in str(error):
                raise
            connection.close()
            self.moves += 1
            return connect(self.port)
        connection.execute("INSERT INTO scaled VALUES (%s)", (self.number,))
        connection.commit()
        self.done += 1
        return connection


@contextlib.contextmanager
def at_work(workers):
    for worker in workers:
        worker.start()
    try:
        eventually(lambda: all(w.done > 0 for w in workers), "all are at work")
        yield
    finally:
        for worker in workers:
            worker.stop.set()
        for worker in workers:
            worker.join(60)


def restart(pooler):
    """As a service manager does it."""
    pooler.signal(signal.SIGTERM)
    assert pooler.wait_exit(60) == 0
    pooler.stop()
    pooler.start()


def is_served_by(proxy, number):
    with proxy.wire() as w:
        return home(w) == number


def test_the_rolling_restart_of_both_costs_no_query(poolers, proxy, pg):
    with pg.connect(autocommit=True) as admin:
        admin.execute("DROP TABLE IF EXISTS scaled; CREATE TABLE scaled (n int); GRANT ALL ON scaled TO PUBLIC")
    workers = [Worker(proxy.port, i) for i in range(8)]
    visitors = [Visitor(proxy.port) for _ in range(2)]
    with at_work(workers + visitors):
        for number, pooler in enumerate(poolers, 1):
            restart(pooler)
            # Whoever restarts the next one before has none for a moment.
            eventually(lambda: is_served_by(proxy, number), "HAProxy gives it clients again")
    assert [w.failure for w in workers + visitors if w.failure is not None] == []
    # HAProxy heard of it by the check, and not from refused connections.
    for number in (1, 2):
        assert f"pgsluice/pgsluice-{number} is DOWN, reason: Layer7 wrong status, code: 503" in proxy.log()
    # Everybody was told, and nothing was done twice or not at all.
    assert all(w.moves > 0 for w in workers)
    assert int(pg.value("SELECT count(*) FROM scaled", "app")) == sum(w.done for w in workers)
