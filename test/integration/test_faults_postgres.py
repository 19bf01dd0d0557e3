"""
PostgreSQL is killed, stopped, restarted, full, slow or refuses, under clients that are in the middle of everything: each
gets an answer or an error, those of another server notice nothing, and all is as before when it is back.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time

import pytest

from harness.census import assert_same, census
from harness.pg import PASSWORD, Postgres
from harness.pooler import assert_error
from harness.system import as_account, children, eventually
from harness.wire import bind, copy_data, copy_done, execute, extended, parse, query, sync


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Victim(Postgres):
    """Few connections, and whatever may happen to a server."""

    SLOTS = 12

    def __init__(self):
        super().__init__([f"max_connections = {self.SLOTS + 3}", "superuser_reserved_connections = 3"])

    def processes(self):
        return [self.process.pid, *children(self.process.pid)]

    def signal_all(self, sig):
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sig)

    def kill_a_backend(self):
        """All others go down with it, and the server recovers by itself: it has when this returns."""
        def ended():
            with open(self.log, errors="replace") as f:
                return f.read().count("all server processes terminated")

        before = ended()
        os.kill(self.backends()[0], signal.SIGKILL)
        eventually(lambda: ended() > before, "the others have ended")
        self.wait_ready()

    def kill_everything(self):
        pids = self.processes()
        self.signal_all(signal.SIGKILL)
        self.process.wait()
        self.process = None
        # As long as one is there, the next server does not start.
        eventually(lambda: not any(is_running(pid) for pid in pids), "they have ended", every=0.01)
        self.start()

    def stop_at_once(self):
        self.stop(signal.SIGQUIT)
        self.start()

    def start_without_waiting(self):
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                [self.program("postgres"), "-D", self.data, "-p", str(self.port), "-h", self.address, "-k", self.directory],
                stdout=log, stderr=log, cwd=self.directory, **as_account())

    def make_table(self):
        """One that outlives a crash: commits are asynchronous here."""
        self.rows("SET synchronous_commit = on; DROP TABLE IF EXISTS faults; CREATE TABLE faults (line text);"
                  " GRANT ALL ON faults TO app", "app")

    def set(self, **settings):
        """By ALTER SYSTEM; None takes a setting back."""
        for name, value in settings.items():
            self.rows(f"ALTER SYSTEM RESET {name}" if value is None else f"ALTER SYSTEM SET {name} = '{value}'")
        self.rows("SELECT pg_reload_conf()")


@pytest.fixture(scope="module")
def victim_files(cluster):
    victim = Victim()
    yield victim
    victim.close()


@pytest.fixture
def victim(victim_files):
    if victim_files.process is None or victim_files.process.poll() is not None:
        victim_files.start()
    victim_files.signal_all(signal.SIGCONT)
    victim_files.wait_ready()
    victim_files.clear()
    return victim_files


def at(server, **more):
    return {"host": "127.0.0.1", "port": server.port, **more}


# Clients that are in the middle of something: how it begins, and what is said last to a server that waits for more.

BIG = "SELECT repeat('x', 1000) FROM generate_series(1, 20000)"


def idle(w, _):
    w.query("SELECT 1")
    return query("SELECT 1")


def in_transaction(w, _):
    w.query("BEGIN")
    w.query("INSERT INTO faults VALUES ('lost')")
    return query("COMMIT")


def running(w, seconds):
    w.send_raw(query(f"SELECT pg_sleep({seconds})"))
    return b""


def rows(w, _):
    w.send_raw(query(BIG))
    w.recv()
    return b""


def copy_in(w, _):
    w.send_raw(query("COPY faults FROM STDIN"))
    assert w.recv().type == "G"
    w.send_raw(copy_data(b"lost\n") * 100)
    return copy_done()


def copy_out(w, _):
    w.send_raw(query(f"COPY ({BIG}) TO STDOUT"))
    w.recv()
    return b""


def pipeline(w, seconds):
    w.send_raw(b"".join(extended(f"SELECT {i}, pg_sleep({i * seconds})") + sync() for i in range(3)))
    w.recv_until("Z")
    return b""


def prepared(w, _):
    assert w.say(parse("SELECT 'prepared'", "one")).error is None
    return bind(name="one") + execute() + sync()


MIDDLES = [idle, in_transaction, running, rows, copy_in, copy_out, pipeline, prepared]


class Crowd:
    """One client in each of them, each with a server of its own, and one more that waits for one."""

    def __init__(self, pooler, seconds):
        """seconds: how long what runs takes, if nothing happens to it."""
        self.clients = {middle.__name__: pooler.wire() for middle in MIDDLES}
        self.rest = {middle.__name__: middle(self.clients[middle.__name__], seconds) for middle in MIDDLES}

    def outcomes(self):
        return {name: self._outcome(w, self.rest[name]) for name, w in self.clients.items()}

    @staticmethod
    def _outcome(w, rest):
        """The SQLSTATE of the error, "inside" for an end inside a message, "answer" for what came to its good end."""
        with contextlib.suppress(ConnectionError):
            w.send_raw(rest)
        result = w.result()
        while result.error is None and result.status == "I" and "Z" in result.types and w.buffer:
            result = w.result()
        if result.error is not None:
            return result.error["C"]
        return "inside" if w.is_inside else "answer" if result.status == "I" else f"closed after {result.types[-3:]}"

    def close(self):
        for w in self.clients.values():
            w.close()


# What becomes of each: lost for certain, or its answer where it needs no server in that moment.
LOST = {"08006", "57P01", "57P02", "inside"}
ALLOWED = {"idle": {"answer"}, "prepared": {"answer"}, "in_transaction": LOST, "running": LOST, "rows": LOST,
           "copy_in": LOST, "copy_out": LOST, "pipeline": LOST}

DISASTERS = [Victim.kill_a_backend, Victim.kill_everything, Victim.stop_at_once, Victim.restart]


def pytest_generate_tests(metafunc):
    if "disaster" in metafunc.fixturenames:
        few = DISASTERS if metafunc.config.getoption("--long") else DISASTERS[:2]
        metafunc.parametrize("disaster", few, ids=lambda f: f.__name__)


def test_whoever_is_in_the_middle_of_something_is_told_and_the_rest_wait(make_pooler, pg, victim, disaster):
    """With server_down_action = wait: who needs a server gets one when PostgreSQL is back."""
    pooler = make_pooler(databases={"app": at(victim), "by": {"dbname": "app"}}, server_down_action="wait",
                         server_login_retry=1, default_pool_size=len(MIDDLES))
    victim.make_table()
    with pooler.wire("by") as other:
        other.query("SELECT 1")
        before = census(pooler)
        with contextlib.closing(Crowd(pooler, 60)) as crowd, pooler.wire() as new:
            eventually(lambda: len(victim.backends()) >= 6, "they are in the middle")
            happening = threading.Thread(target=disaster, args=[victim])
            happening.start()
            while happening.is_alive():
                assert other.value("SELECT 'elsewhere'") == "elsewhere"
                time.sleep(0.01)
            for name, outcome in crowd.outcomes().items():
                assert outcome in ALLOWED[name], (name, outcome)
            assert new.value("SELECT 'new'") == "new"
        victim.wait_ready()
        assert victim.value("SELECT count(*) FROM faults", "app") == 0
        assert_same(pooler, before)
        eventually(lambda: len(victim.backends()) == len(
            [s for s in pooler.admin("SHOW SERVERS") if s["database"] == "app"]), "each backend is a server")


def test_a_server_that_is_stopped_and_goes_on_is_a_pause(make_pooler, pg, victim):
    """All its processes; nobody has a timeout, and nobody is told anything."""
    pooler = make_pooler(databases={"app": at(victim), "by": {"dbname": "app"}}, default_pool_size=len(MIDDLES))
    victim.make_table()
    with pooler.wire("by") as other:
        before = census(pooler)
        with contextlib.closing(Crowd(pooler, 0.3)) as crowd, pooler.wire() as new:
            victim.signal_all(signal.SIGSTOP)
            try:
                new.send_raw(query("SELECT 'new'"))
                for _ in range(100):
                    assert other.value("SELECT 'elsewhere'") == "elsewhere"
            finally:
                victim.signal_all(signal.SIGCONT)
            assert set(crowd.outcomes().values()) == {"answer"}
            assert new.result().value == "new"
        assert victim.value("SELECT count(*) FROM faults", "app") == 101
        assert_same(pooler, before)


def test_a_server_that_stays_stopped_costs_each_its_timeout(make_pooler, pg, victim):
    pooler = make_pooler(databases={"app": at(victim), "by": {"dbname": "app"}}, default_pool_size=len(MIDDLES),
                         query_timeout="500ms", server_connect_timeout="500ms", query_wait_timeout=1,
                         server_login_retry=1, cancel_wait_timeout=1)
    victim.make_table()
    with pooler.wire("by") as other:
        before = census(pooler)
        with contextlib.closing(Crowd(pooler, 60)) as crowd, pooler.wire() as new:
            victim.signal_all(signal.SIGSTOP)
            try:
                new.send_raw(query("SELECT 'new'"))
                outcomes = crowd.outcomes()
                assert set(outcomes.values()) <= {"57014", "inside"}, outcomes
                assert_error(new.result().error, None, "57014", "57P03")
                assert other.value("SELECT 'elsewhere'") == "elsewhere"
            finally:
                victim.signal_all(signal.SIGCONT)
        # What of it was done in the end nobody could tell them: the server had got it.
        eventually(lambda: serves(pooler), "it serves again", every=0.2)
        assert_same(pooler, before)


def serves(pooler, database="app", user="app"):
    with pooler.raw() as w:
        return w.try_login(user, database) is None and w.query("SELECT 1").error is None


# Refusals

@contextlib.contextmanager
def all_slots_taken(victim):
    with contextlib.ExitStack() as stack:
        free = Victim.SLOTS - len(victim.backends()) - len(victim.backends("postgres"))
        for _ in range(free):
            stack.enter_context(victim.connect(user="app"))
        yield


@contextlib.contextmanager
def said_and_unsaid(victim, sql, back):
    victim.rows(sql)
    yield
    victim.rows(back)


REFUSALS = {
    "full": ("53300", lambda v: all_slots_taken(v)),
    "role full": ("53300", lambda v: said_and_unsaid(v, "ALTER ROLE other CONNECTION LIMIT 0",
                                                     "ALTER ROLE other CONNECTION LIMIT -1")),
    "role may not log in": ("28000", lambda v: said_and_unsaid(v, "ALTER ROLE other NOLOGIN", "ALTER ROLE other LOGIN")),
    "database closed": ("55000", lambda v: said_and_unsaid(v, "ALTER DATABASE second ALLOW_CONNECTIONS off",
                                                           "ALTER DATABASE second ALLOW_CONNECTIONS on")),
    "no such database": ("3D000", lambda v: said_and_unsaid(v, "ALTER DATABASE second RENAME TO gone",
                                                            "ALTER DATABASE gone RENAME TO second")),
    "no such role": ("28000", lambda v: said_and_unsaid(v, "ALTER ROLE other RENAME TO gone",
                                                        "ALTER ROLE gone RENAME TO other")),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_a_refusal_is_the_servers_word_and_ends_with_its_cause(make_pooler, victim, why):
    """Who needs a new connection hears it; a pool that has one goes on."""
    code, refusal = REFUSALS[why]
    pooler = make_pooler(databases={"app": at(victim), "second": at(victim)}, server_login_retry=1)
    with pooler.wire() as inside:
        inside.query("SELECT 1")
        before = census(pooler)
        with refusal(victim):
            with pooler.raw() as w:
                error = w.try_login("other", "second")
            assert_error(error, None, code)
            assert error["S"] == "FATAL" and victim_says(victim, error["M"])
            for i in range(10):
                assert inside.value(f"SELECT {i}") == str(i)
        eventually(lambda: serves(pooler, "second", "other"), "it is let in", every=0.1)
        assert_same(pooler, before)


def victim_says(victim, text):
    with open(victim.log, errors="replace") as f:
        return text in f.read()


def test_a_password_that_is_wrong_at_the_server_only_is_no_secret_and_heals(make_pooler, victim):
    """The server's text, and not a word of ours about which password it was."""
    pooler = make_pooler(databases={"app": at(victim)}, userlist={"scram_user": PASSWORD, "app": ""},
                         server_login_retry=1)
    with pooler.wire() as inside:
        inside.query("SELECT 1")
        before = census(pooler)
        victim.set_password("scram_user", "another")
        try:
            with pooler.raw() as w:
                assert_error(w.try_login("scram_user", "app"), 'password authentication failed for user "scram_user"',
                             "28P01")
            assert inside.value("SELECT 'inside'") == "inside"
        finally:
            victim.set_password("scram_user", PASSWORD)
        eventually(lambda: serves(pooler, user="scram_user"), "it is let in", every=0.1)
        assert PASSWORD not in pooler.log()
        assert_same(pooler, before)


def test_a_server_that_is_slow_to_let_in_holds_up_only_those_who_need_it(make_pooler, victim):
    pooler = make_pooler(databases={"app": at(victim), "second": at(victim)})
    with pooler.wire() as inside, pooler.raw() as new:
        inside.query("SELECT 1")
        victim.set(pre_auth_delay=1)
        try:
            new.startup({"user": "other", "database": "second"})
            pooler.wait_pool(database="second", user="other", sv_login=1)
            for i in range(20):
                assert inside.value(f"SELECT {i}") == str(i)
            assert pooler.pool("second", "other")["sv_login"] == "1"
            assert new.finish_login("other") is None
            assert new.value("SELECT 'in'") == "in"
        finally:
            victim.set(pre_auth_delay=None)
    pooler.wait_pool(database="second", user="other", sv_idle=1, cl_active=0)


def test_a_server_that_starts_is_worth_waiting_for(make_pooler, victim):
    """A standby that lets nobody in until it is promoted: it says "starting up" for as long as the test wants."""
    pooler = make_pooler(databases={"app": at(victim)}, server_login_retry=1)
    before = census(pooler)
    victim.set(hot_standby="off")
    victim.stop(signal.SIGINT)
    with open(os.path.join(victim.data, "standby.signal"), "w"):
        pass
    victim.start_without_waiting()
    try:
        with pooler.raw() as w, pooler.raw() as behind:
            for each in (w, behind):
                each.startup({"user": "app", "database": "app"})
            pooler.wait_pool(cl_waiting=2)
            pooler.wait_log("server login failed: FATAL the database system is ")
            promote(victim)
            for each in (w, behind):
                assert each.finish_login("app") is None
                assert each.value("SELECT 'in'") == "in"
    finally:
        promote(victim)
        victim.set(hot_standby=None)
    assert_same(pooler, before)


def promote(victim):
    with open(os.path.join(victim.data, "promote"), "w"):
        pass
    victim.process.send_signal(signal.SIGUSR1)
    victim.wait_ready()
