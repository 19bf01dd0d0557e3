"""
A connection to PostgreSQL is lost, or falls silent, in the middle of every phase of its life.

Whoever had it gets an answer or an error. The next in line gets its answer, with a pool of one server. Somebody in
another pool of the same host notices nothing. And nothing is left behind.
"""

import collections
import contextlib
import os
import secrets
import signal
import threading
import time

import pytest

from harness.cable import TO_POOLER, TO_SERVER, Cable, Strand
from harness.census import assert_same, census
from harness.pg import PASSWORD
from harness.system import children, eventually
from harness.vouchers import SecretTable
from harness.wire import bind, copy_data, copy_done, execute, extended, parse, query, sync

CANCEL_CODE, TLS_CODE = b"\x04\xd2\x16\x2e", b"\x04\xd2\x16\x2f"

ANSWER = "answer"
NOBODY = None
UNNOTICED = "unnoticed"
INSIDE = "the end inside a message"
CRASHED = ("08006", "server conn crashed?")
TOO_LONG = ("57014", "query_timeout")

SETTINGS = {"default_pool_size": 1, "query_timeout": 1, "server_connect_timeout": "500ms", "cancel_wait_timeout": 1,
            "server_login_retry": 1, "server_down_action": "wait"}


def outcome(w, result):
    """What has become of a query, whose right answer has the word "here" in it."""
    if result.error is not None:
        assert w.is_closed()
        return result.error["C"], result.error["M"]
    if w.is_inside:
        return INSIDE
    assert result.status == "I", result.messages
    assert "here" in result.rows[-1][-1], result.rows
    return ANSWER


def title(pid):
    """PostgreSQL's processes tell in theirs whom they serve."""
    try:
        with open(f"/proc/{pid}/cmdline") as f:
            return f.read()
    except FileNotFoundError:
        return ""


class Witness:
    """Somebody in another pool, who asks all the time and is to notice nothing."""

    def __init__(self, pooler):
        self.w = pooler.wire("by", "other")
        self.w.query("SELECT 1")
        self.is_enough = False
        self.failure = None
        self.thread = threading.Thread(target=self._ask, daemon=True)
        self.thread.start()

    def _ask(self):
        i = 0
        while not self.is_enough and self.failure is None:
            i += 1
            time.sleep(0.01)
            result = self.w.query(f"SELECT 'witness {i}'")
            if result.error is not None or result.rows != [[f"witness {i}"]]:
                self.failure = result.error or result.messages

    def close(self):
        self.is_enough = True
        self.thread.join(30)
        assert not self.thread.is_alive() and self.failure is None, self.failure
        self.w.close()


class Case:
    """One fault in one phase: a client that will be concerned, and one who waits behind it."""

    user = "app"

    def __init__(self, make_pooler, pg, fault, more):
        self.pg, self.fault = pg, fault
        self.sprung = threading.Event()
        self.stack = contextlib.ExitStack()
        self.cable = self.stack.enter_context(Cable(("127.0.0.1", pg.port)))
        settings = {**SETTINGS, **more.pop("settings", {})}
        self.user = more.pop("user", "app")
        self.pooler = make_pooler(databases={
            "app": {**self.cable.entry, **more},
            "by": {**self.cable.entry, "dbname": "app"}}, **settings)
        self.pooler.pg = pg
        with self.pooler.wire(user=self.user) as first:
            first.query("CREATE TABLE IF NOT EXISTS faults (line text)")
            first.send("X")
            assert first.is_closed()
        self.witness = Witness(self.pooler)
        self.before = census(self.pooler)
        self.clients, self.stopped = [], []
        self.next = self.client()

    def client(self, **parameters):
        self.clients.append(self.pooler.wire(user=self.user, **parameters))
        return self.clients[-1]

    def strike(self, strand):
        """The fault; and just before it somebody comes who is next in line."""
        self.next.send_raw(query("SELECT 'next, here'"))
        self.fault(self, strand)
        self.sprung.set()

    def stop_backend(self, strand):
        """The process is there, its socket takes what is sent to it; until the case is mended."""
        [pid] = [pid for pid in children(self.pg.process.pid) if f"({strand.port})" in title(pid)]
        os.kill(pid, signal.SIGSTOP)
        self.stopped.append(pid)

    def mend(self):
        self.cable.mend()
        while self.stopped:
            os.kill(self.stopped.pop(), signal.SIGCONT)

    def strike_at(self, towards, pattern, keep=0):
        self.cable.trap(towards, pattern, self.strike, keep)

    def strand_of(self, w):
        port = self.pg.value(f"SELECT client_port FROM pg_stat_activity WHERE pid = {w.backend()}")
        return next(strand for strand in self.cable.strands if strand.port == port)

    def strike_server_of(self, w):
        self.strike(self.strand_of(w))

    def begin(self, w, what):
        """A query with pg_sleep(), which runs when this returns."""
        w.send_raw(query(what))
        eventually(lambda: self.pg.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), "it runs")

    def ask(self, w, what="SELECT 'here'"):
        return outcome(w, w.query(what))

    def lose_server(self):
        """The pool has none when this returns."""
        self.pooler.lose_servers(self.user)

    def check(self):
        assert self.sprung.wait(30), "the fault has not happened"
        assert outcome(self.next, self.next.result()) == ANSWER
        self.mend()
        assert self.ask(self.next) == ANSWER
        self.next.send("X")
        with self.pooler.wire(user=self.user) as new:
            assert self.ask(new) == ANSWER

        for w in self.clients:
            w.close()
        assert_same(self.pooler, self.before)

    def close(self):
        self.mend()
        for w in self.clients:
            w.close()
        with self.stack:
            self.witness.close()


Phase = collections.namedtuple("Phase", "play lost silent more")
PHASES = {}


def phase(lost, silent, **more):
    """
    What becomes of whom it concerns when the connection is lost, and when it falls silent (UNNOTICED: nothing, by
    design); and more for the database's entry.
    """
    def register(fn):
        PHASES[fn.__name__] = Phase(fn, lost, silent, more)
        return fn
    return register


# Logging in to the server

@phase(lost=ANSWER, silent=ANSWER)
def startup_packet(case):
    case.lose_server()
    case.strike_at(TO_SERVER, b"user\0app\0")
    return case.ask(case.client())


@phase(lost=ANSWER, silent=ANSWER, user="scram_user", settings={"userlist": {"scram_user": PASSWORD, "other": ""}})
def scram_exchange(case):
    case.lose_server()
    case.strike_at(TO_POOLER, b"\0\0\0\x0br=", keep=6)
    return case.ask(case.client())


@phase(lost=ANSWER, silent=ANSWER)
def between_authentication_and_ready(case):
    case.lose_server()
    case.strike_at(TO_POOLER, b"integer_datetimes", keep=7)
    return case.ask(case.client())


@phase(lost=ANSWER, silent=ANSWER, connect_query="SELECT 'connected'")
def connect_query(case):
    case.lose_server()
    case.strike_at(TO_SERVER, b"SELECT 'connected'")
    return case.ask(case.client())


# At work for a client

@phase(lost=ANSWER, silent=TOO_LONG)
def idle(case):
    """Here nobody stands behind anybody when it happens."""
    w = case.client()
    case.fault(case, case.strand_of(w))
    case.sprung.set()
    told = case.ask(w)
    case.next.send_raw(query("SELECT 'next, here'"))
    return told


@phase(lost=CRASHED, silent=TOO_LONG)
def query_unanswered(case):
    w = case.client()
    case.strike_at(TO_SERVER, b"here")
    return case.ask(w)


@phase(lost=INSIDE, silent=INSIDE)
def rows(case):
    w = case.client()
    case.strike_at(TO_POOLER, b"row 1000", keep=3)
    return case.ask(w, "SELECT 'row ' || i FROM generate_series(1, 2000) i")


@phase(lost=CRASHED, silent=TOO_LONG)
def idle_in_transaction(case):
    w = case.client()
    w.query("BEGIN")
    case.strike_server_of(w)
    return case.ask(w)


def copied_to(w, line):
    w.send_raw(query("COPY faults FROM STDIN"))
    assert w.recv().type == "G"
    w.send_raw(copy_data(b"before\n"))
    w.send_raw(copy_data(line) + copy_done())
    return w.result()


@phase(lost=CRASHED, silent=TOO_LONG)
def copy_in(case):
    """What the server has not heard of is not there. Once it hears the rest after all, when the client has gone, it may be."""
    w = case.client()
    line = secrets.token_hex(8)
    case.strike_at(TO_SERVER, line.encode())
    result = copied_to(w, f"{line}\n".encode())
    assert case.pg.value(f"SELECT count(*) FROM faults WHERE line = '{line}'", "app") == 0
    case.mend()
    return outcome(w, result)


@phase(lost=INSIDE, silent=INSIDE)
def copy_out(case):
    w = case.client()
    case.strike_at(TO_POOLER, b"row 1000", keep=3)
    return case.ask(w, "COPY (SELECT 'row ' || i FROM generate_series(1, 2000) i) TO STDOUT")


@phase(lost=CRASHED, silent=TOO_LONG)
def pipeline(case):
    w = case.client()
    case.strike_at(TO_SERVER, b"here")
    w.send_raw(b"".join(extended(f"SELECT '{word}'") + sync() for word in ("first", "here", "last")))
    result = w.result()
    return outcome(w, result if result.error is not None else w.result())


@phase(lost=CRASHED, silent=TOO_LONG)
def prepared_statement_being_put(case):
    w = case.client()
    assert w.say(parse("SELECT 'prepared, here'", "one")).error is None
    case.lose_server()
    case.strike_at(TO_SERVER, b"prepared, here")
    return outcome(w, w.say(bind(name="one"), execute()))


@phase(lost=CRASHED, silent=CRASHED)
def parameters_being_taken_over(case):
    w = case.client(TimeZone="Asia/Tokyo")
    case.strike_at(TO_SERVER, b"set_config")
    return case.ask(w)


@phase(lost=CRASHED, silent=TOO_LONG)
def half_a_message_from_the_client(case):
    w = case.client()
    w.query("BEGIN")
    case.strike_at(TO_SERVER, b"SELECT 'h")
    w.send_raw(query("SELECT 'here'")[:-3])
    return outcome(w, w.result())


@phase(lost=CRASHED, silent=TOO_LONG, pool_mode="session")
def session_that_listens(case):
    w = case.client()
    w.query("LISTEN channel")
    case.strike_server_of(w)
    return case.ask(w)


@phase(lost=CRASHED, silent=UNNOTICED, user="postgres")
def replication(case):
    """Nobody looks at what is said there: both ends have timeouts of their own for it."""
    w = case.client(replication="database")
    assert w.query("IDENTIFY_SYSTEM").error is None
    case.strike_server_of(w)
    return case.ask(w)


# Between two clients

@phase(lost=NOBODY, silent=NOBODY, pool_mode="session", settings={"server_reset_query": "DISCARD ALL"})
def reset_query(case):
    w = case.client()
    case.ask(w)
    case.strike_at(TO_SERVER, b"DISCARD ALL")
    w.send("X")


@phase(lost=ANSWER, silent=ANSWER, settings={"server_check_query": "SELECT 'checked'", "server_check_delay": 0})
def check_query(case):
    w = case.client()
    case.ask(w)
    case.strike_at(TO_SERVER, b"SELECT 'checked'")
    return case.ask(w)


@phase(lost=NOBODY, silent=NOBODY)
def rollback_of_what_a_client_has_left(case):
    w = case.client()
    w.query("BEGIN")
    case.strike_at(TO_SERVER, b"ROLLBACK")
    w.close()


@phase(lost=ANSWER, silent=ANSWER)
def cancel_request(case):
    """It is lost, and the query goes on to its end."""
    w = case.client()
    case.begin(w, "SELECT pg_sleep(0.7), 'here'")
    case.strike_at(TO_SERVER, CANCEL_CODE)
    w.cancel()
    return outcome(w, w.result())


# TLS

@phase(lost=ANSWER, silent=ANSWER, tls=True)
def request_for_tls(case):
    case.lose_server()
    case.strike_at(TO_SERVER, TLS_CODE)
    return case.ask(case.client())


@phase(lost=ANSWER, silent=ANSWER, tls=True)
def tls_handshake(case):
    case.lose_server()
    case.strike_at(TO_SERVER, b"\x16\x03\x01")
    return case.ask(case.client())


@phase(lost=CRASHED, silent=TOO_LONG, tls=True)
def query_under_tls(case):
    w = case.client()
    strand = case.strand_of(w)
    case.begin(w, "SELECT pg_sleep(5)")
    case.strike(strand)
    return outcome(w, w.result())


FAULTS = {"cut": lambda case, strand: strand.cut(), "reset": lambda case, strand: strand.reset(),
          "silence": lambda case, strand: strand.silence(), "stop": Case.stop_backend}
SILENT = ("silence", "stop")

# No backend serves it yet or any more, or what is to come is already in the socket.
NOTHING_TO_STOP = ("startup_packet", "scram_exchange", "between_authentication_and_ready", "rows", "copy_out",
                   "request_for_tls", "tls_handshake", "cancel_request", "copy_in")


def applies(name, how):
    if how == "stop" and name in NOTHING_TO_STOP:
        return False
    return how not in SILENT or PHASES[name].silent != UNNOTICED


def pytest_generate_tests(metafunc):
    """Each phase with one way to be lost, half of them with silence; all with all under --long."""
    if "how" not in metafunc.fixturenames:
        return
    names = list(PHASES)
    pairs = [(name, ("cut", "reset")[i % 2]) for i, name in enumerate(names)] + [(name, "silence") for name in names[::2]]
    if metafunc.config.getoption("--long"):
        pairs = [(name, how) for name in names for how in FAULTS]
    metafunc.parametrize("name, how", [pair for pair in pairs if applies(*pair)])


def test_a_fault_in_a_phase_concerns_nobody_else(make_pooler, pg, request, name, how):
    phase = PHASES[name]
    more = {**phase.more}
    if more.pop("tls", False):
        pg = request.getfixturevalue("tls_pg")
        more["settings"] = {"server_tls_sslmode": "require"}
    with contextlib.closing(Case(make_pooler, pg, FAULTS[how], more)) as case:
        assert phase.play(case) == (phase.silent if how in SILENT else phase.lost)
        case.check()


# auth_query: its connection is not a pool's

# Where it happens, and what becomes of the login when the connection is lost and when it is silent.
AUTH_QUERY = {
    "startup": (TO_SERVER, b"user\0postgres\0", "58000", {"58000"}),
    # One that has been open is opened anew, and the question put once more. client_login_timeout bounds both the login
    # and the question.
    "question": (TO_SERVER, b"looked_up", "in", {"57014", "58000"}),
    "answer": (TO_POOLER, b"look me up", "in", {"57014", "58000"}),
}


@pytest.mark.parametrize("fault", [Strand.cut, Strand.silence], ids=lambda f: f.__name__)
@pytest.mark.parametrize("place", AUTH_QUERY)
def test_a_fault_in_auth_query_concerns_only_the_login_that_asked(make_pooler, pg, place, fault):
    towards, pattern, lost, silent = AUTH_QUERY[place]
    table = SecretTable(pg)
    with Cable(("127.0.0.1", pg.port)) as cable, contextlib.closing(table):
        table.put("looked_up", "look me up")
        pooler = make_pooler(databases={"app": {**cable.entry, "user": "app"}}, auth_type="md5", auth_user="postgres",
                             auth_query=SecretTable.QUERY, userlist={"admin": "admin", "known": "known"},
                             server_connect_timeout="500ms", client_login_timeout=1, server_idle_timeout=1)
        before = census(pooler)
        with pooler.wire(user="known", password="known") as other:
            other.query("SELECT 1")
            if place != "startup":
                assert pooler.attempt("look me up", "looked_up").outcome == "in"
            cable.trap(towards, pattern, fault)
            assert pooler.attempt("look me up", "looked_up").outcome in (silent if fault == Strand.silence else {lost})
            assert other.value("SELECT 'here'") == "here"
            cable.mend()
            assert pooler.attempt("look me up", "looked_up").outcome == "in"
        assert_same(pooler, before)
