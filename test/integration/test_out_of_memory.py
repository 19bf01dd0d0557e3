"""
Memory runs out, at each allocation of what clients, console, HTTP and a reload ask for, one after the other. Whoever is
concerned hears of it, or is served all the same; nobody is let in who must not be, nobody gets a wrong answer, and the
pooler goes on: the next client is served, and nothing is left of the one that was not.

Every STEPth by default, from a place chosen at random, all of them with --long. Output that is shown when a test fails
ends with the part and the number of the allocation, and the log with who had asked for it.
"""

import collections
import contextlib
import functools
import getpass
import http.client
import os
import random
import signal
import ssl
import struct
import subprocess

import pytest

from harness.certs import ask as request_tls, secure
from harness.http import Http
from harness.memory import FailingMalloc
from harness.pg import PASSWORD
from harness.pooler import is_pgbouncer
from harness.rest import idle_servers
from harness.scenario import Scenario
from harness.system import as_account, eventually
from harness.wire import (CANCEL_REQUEST, Closed, Wire, bind, close, copy_data, copy_done, copy_fail, describe, execute,
                          packet, parse, query, sync)

pytestmark = pytest.mark.skipif(is_pgbouncer(), reason="PgBouncer has other ways to end")

# A connection may end in the middle of anything.
ENDS = (Closed, ConnectionError, ssl.SSLError, http.client.HTTPException)

TABLES = ("CONFIG", "CONFIG_EXT", "DATABASES", "POOLS", "CLIENTS", "SERVERS", "SOCKETS", "ACTIVE_SOCKETS",
          "CLIENTS_EXT", "USERS", "PEERS", "PEER_POOLS", "HOSTS", "CAPACITY", "CAPACITY_POOLS", "CAPACITY_USE",
          "WAITING", "POOL_STATS", "POOL_EVENTS", "LATENCY", "LATENCY_TOTALS", "APPLICATIONS", "VERSION", "LISTS",
          "MEM", "STATE", "DNS_HOSTS", "DNS_ZONES", "CLOSE_REASONS", "PROCESS", "ERRORS", "FDS", "ALL", "STATS",
          "STATS_TOTALS", "STATS_AVERAGES", "TOTALS", "PREPARED_STATEMENTS", "PREPARED_STATS", "HELP", "COMMANDS")

LARGE = 300000

STEP, STEP_YOUNG = 50, 100


class Life:
    """
    What a pooler does, in parts. Each part may be cut short by the end of a connection or by an error, and checks what
    it does hear.
    """

    def __init__(self, stack, pg, tls_pg, certs, make_pooler):
        self.scenario = s = Scenario(stack, pg, certs, make_pooler)
        self.pg, self.certs, self.pooler = pg, certs, s.pooler
        self.n = 0
        s.pooler.databases.update({
            "secure": {"host": "localhost", "port": tls_pg.port, "dbname": "app", "user": "app"},
            "scrammed": {"host": "127.0.0.1", "port": pg.port, "dbname": "app", "user": "scram_user",
                         "password": PASSWORD},
            "session": {"host": "127.0.0.1", "port": pg.port, "dbname": "app", "user": "app", "pool_mode": "session",
                        "pool_size": 1},
            "*": {"host": "127.0.0.1", "port": pg.port, "dbname": "app", "user": "app"}})
        s.pooler.settings.update(server_login_retry=0.1, stats_period=60, server_tls_sslmode="prefer",
                                 max_prepared_statements=5, auth_query_ttl=0, log_min_duration=0, query_wait_notify=0,
                                 default_pool_size=2, autodb_idle_timeout=1,
                                 # Nobody is there, and says so at once: no test waits for a name server elsewhere.
                                 resolv_conf=s.pooler.write_file("resolv.conf", "nameserver 127.77.0.255\n"))
        self.change_configuration()
        self.memory = FailingMalloc(s.pooler)
        stack.callback(self.memory.close)

    def start(self):
        self.pooler.start()
        # Deriving a key allocates 16,000 times: here, and never again.
        self.visit("scrammed")

    # Talking: whatever ends a connection ends the part

    def raw(self, context=None):
        w = Wire(("127.0.0.1", self.pooler.port))
        if context is None:
            return w
        if request_tls(w) != b"S":
            w.close()
            raise Closed
        return secure(w, context)

    def wire(self, database="app", user="trusted", password=None, context=None, **parameters):
        w = self.raw(context)
        if w.try_login(user, database, password, **parameters) is not None:
            w.close()
            raise Closed
        return w

    def console(self):
        return self.wire("pgbouncer", "admin", "secret")

    def hear(self, w, rows=None):
        """The answer: an error, or else these rows."""
        result = w.result()
        if result.status is None:
            raise Closed
        assert result.error is not None or rows is None or result.rows == rows, (result.rows, rows)
        return result

    def ask(self, w, data, rows=None):
        w.send_raw(data if isinstance(data, bytes) else query(data))
        return self.hear(w, rows)

    def one(self, w):
        self.n += 1
        return self.ask(w, f"SELECT {self.n}", [[str(self.n)]])

    def visit(self, *args, **kwargs):
        with self.wire(*args, **kwargs) as w:
            self.one(w)
            w.send("X")

    def turned_away(self, *args, **kwargs):
        with contextlib.suppress(Closed), self.wire(*args, **kwargs):
            raise AssertionError(f"let in: {args} {kwargs}")

    # Parts: clients

    def login_trust(self):
        self.visit()

    def login_plain(self):
        self.visit(user="plain", password=self.scenario.PEOPLE["plain"])

    def login_md5(self):
        self.visit(user="md5", password=self.scenario.PEOPLE["md5"])

    def login_scram(self):
        self.visit(user="scram", password=self.scenario.PEOPLE["scram"])

    def login_by_auth_query(self):
        self.visit(user="looked_up", password=self.scenario.PEOPLE["looked_up"])

    def login_by_pam(self):
        self.visit(user="pam", password=self.scenario.PEOPLE["pam"])

    def login_by_ldap(self):
        self.visit(user="ldap", password=self.scenario.PEOPLE["ldap"])

    def login_by_certificate(self):
        self.visit(user="cert_user", context=self.certs.client(self.certs.client_cert_user))

    def login_with_tls(self):
        self.visit(context=self.certs.client())

    def login_over_unix_socket(self):
        with Wire(self.pooler.unix_socket) as w:
            if w.try_login("trusted", "app") is None:
                self.one(w)

    def login_refused(self):
        self.turned_away(user="reject")
        self.turned_away(user="nobody")
        self.turned_away(user="cert_user")
        self.turned_away("pgbouncer", "trusted")

    def password_refused(self):
        for user in ("plain", "md5", "scram", "looked_up"):
            with contextlib.suppress(ConnectionError):
                self.turned_away(user=user, password="wrong")

    def password_refused_by_others(self):
        for user in ("pam", "ldap"):
            with contextlib.suppress(ConnectionError):
                self.turned_away(user=user, password="wrong")

    def startup_packets(self):
        for parameters in ({"options": "-c nonsense=1"}, {"replication": "x"}, {"extra_float_digits": "1"}):
            with contextlib.suppress(*ENDS), self.wire(**parameters):
                pass
        with self.wire(client_encoding="latin1", application_name="x" * 1000, options="-c TimeZone=UTC") as w:
            self.one(w)
        with self.raw() as w:
            data = b"x" * 20
            w.send_raw(struct.pack("!I", 90000) + data)
            w.drain()

    # Queries

    def extended(self):
        with self.wire() as w:
            value = "x" * 20000
            self.ask(w, parse("SELECT $1::text") + bind([value]) + describe() + execute() + sync(), [[value]])
            self.ask(w, parse("SELECT 1/0") + bind() + execute() + sync())
            self.one(w)

    def prepared(self):
        """More of them than a server keeps, under two names each."""
        with self.wire() as w:
            for i in range(8):
                self.ask(w, parse(f"SELECT {i}, $1::text", f"p{i}") + describe("S", f"p{i}") + sync())
            for i in range(8):
                self.ask(w, bind(["x"], f"p{i}") + describe() + execute() + sync(), [[str(i), "x"]])
            self.ask(w, bind(["y"], "p0") + describe() + execute() + bind(["z"], "p1") + execute() + sync())
            self.ask(w, close("S", "p0") + sync())
            self.ask(w, bind(["x"], "p0") + execute() + sync())

    def prepared_by_sql(self):
        with self.wire() as w:
            self.ask(w, "PREPARE q (int) AS SELECT $1 + 1")
            self.ask(w, "EXECUTE q (1)", [["2"]])
            self.ask(w, "DEALLOCATE q")
            self.ask(w, "PREPARE r AS SELECT 5")
            self.ask(w, "EXECUTE r", [["5"]])
            self.ask(w, "DISCARD ALL")

    def outdated_statement(self):
        with self.wire() as w:
            self.ask(w, "CREATE TABLE IF NOT EXISTS outdated (a int); ALTER TABLE outdated DROP COLUMN IF EXISTS b")
            self.ask(w, parse("SELECT * FROM outdated", "o") + describe("S", "o") + sync())
            self.ask(w, "ALTER TABLE outdated ADD COLUMN b int")
            self.ask(w, bind((), "o") + execute() + sync())

    def parameters(self):
        with self.wire() as a, self.wire(TimeZone="Europe/Rome") as b:
            for zone in ("Asia/Tokyo", "America/Lima"):
                if self.ask(a, f"SET TimeZone = '{zone}'").error is None:
                    self.ask(a, "SHOW TimeZone", [[zone]])
            self.ask(b, "SHOW TimeZone", [["Europe/Rome"]])

    def large_values(self):
        """One that stands in the client's way, and one in the server's."""
        with self.wire() as w:
            value = "y" * LARGE
            self.ask(w, f"SELECT '{value}'", [[value]])
            w.send_raw(query(f"SELECT repeat('z', {LARGE}) FROM generate_series(1, 20)"))
            self.pg.value("SELECT 1")
            self.hear(w, [["z" * LARGE]] * 20)

    def pieces(self):
        """A message that has to be seen whole comes in two pieces."""
        with self.wire() as w:
            data = parse("SELECT $1::text", "whole") + bind(["v" * 5000], "whole") + execute() + sync()
            w.send_raw(data[:20])
            self.one_elsewhere()
            w.send_raw(data[20:])
            self.hear(w)

    def one_elsewhere(self):
        with contextlib.suppress(*ENDS):
            self.visit()

    def copy(self):
        with self.wire() as w:
            w.send_raw(query("CREATE TEMP TABLE t (t text); COPY t FROM STDIN"))
            while (kind := w.recv().type) not in "GZ":
                pass
            if kind == "G":
                self.ask(w, copy_data(b"x" * 50000 + b"\n") + copy_done())
            self.ask(w, "BEGIN")
            w.send_raw(query("COPY outdated FROM STDIN"))
            while (kind := w.recv().type) not in "GZ":
                pass
            if kind == "G":
                self.ask(w, copy_fail("x"))
            self.ask(w, "COPY (SELECT repeat('x', 50000)) TO STDOUT")
            self.ask(w, "ROLLBACK")

    def transaction(self):
        with self.wire() as w:
            self.ask(w, "BEGIN")
            self.one(w)
            self.ask(w, "COMMIT")

    def waiting(self):
        """Two for a server."""
        with self.wire("session") as a, self.wire("session") as b:
            self.one(a)
            b.send_raw(query("SELECT 3"))
            self.one(a)
            a.send("X")
            a.close()
            self.hear(b, [["3"]])

    def cancel(self):
        with self.wire() as w:
            w.send_raw(query("SELECT pg_sleep(0.05), 1"))
            with contextlib.suppress(*ENDS):
                w.cancel()
            self.hear(w, [["", "1"]])
        with self.raw() as w:
            w.send_raw(packet("", struct.pack("!I", CANCEL_REQUEST) + b"nonsense"))
            w.drain()

    def leave_in_a_transaction(self):
        with self.wire() as w:
            self.ask(w, "BEGIN")
            w.send_raw(query("SELECT pg_sleep(0.01)"))

    def leave_in_a_batch(self):
        with self.wire() as w:
            w.send_raw(parse("SELECT pg_sleep(0.01)") + bind() + execute())

    def leave_the_server_dirty(self):
        with self.wire("session") as w:
            self.ask(w, "CREATE TEMP TABLE mine ()")

    def replication(self):
        with contextlib.suppress(*ENDS), self.wire(replication="database") as w:
            self.ask(w, "SELECT 1", [["1"]])

    # Servers

    def without_servers(self, database):
        """The last failure is forgotten: its pool does not wait to try again."""
        eventually(lambda: self.is_served(database), f"{database} is served", every=0.01)
        self.pooler.admin("RECONNECT", user="admin")
        eventually(lambda: idle_servers(self.pooler) == 0, "no servers", every=0.002)

    def server_login(self):
        self.visit()

    def server_login_by_unix_socket(self):
        self.visit("by_unix")

    def server_login_by_name(self):
        self.visit("named")

    def server_login_with_tls(self):
        self.visit("secure")

    def server_login_by_scram(self):
        self.visit("scrammed")

    def name_that_is_none(self):
        with self.wire("nowhere") as w:
            assert self.ask(w, "SELECT 1").error is not None

    def new_pool(self):
        self.n += 1
        self.visit(f"new{self.n}")

    def server_killed(self):
        with self.wire() as w:
            self.ask(w, "SELECT pg_terminate_backend(pg_backend_pid())")

    # The console

    def show(self):
        tables = list(TABLES)
        while tables:
            with contextlib.suppress(*ENDS), self.console() as w:
                while tables:
                    self.ask(w, f"SHOW {tables.pop()}")

    def show_extended(self):
        with self.console() as w:
            for table in ("POOLS", "CONFIG", "LISTS"):
                self.ask(w, parse(f"SHOW {table}", table) + describe("S", table) + bind((), table) + execute(rows=3) +
                         execute() + close("S", table) + sync())
            self.ask(w, "SELECT current_setting('server_version'); SHOW VERSION")

    def command(self, *texts):
        with self.console() as w:
            for text in texts:
                self.ask(w, text)

    def set(self):
        self.n += 1
        self.command(f"SET query_timeout = {1000 + self.n}", f"SET DATABASE app pool_size = {2 + self.n % 3}",
                     "SET USER trusted max_user_connections = 10", "SET nonsense = 1", "nonsense")

    def pause(self):
        self.command("PAUSE app", "RESUME app", "PAUSE", "RESUME")

    def suspend(self):
        self.command("SUSPEND", "RESUME")

    def kill(self):
        with contextlib.suppress(*ENDS), self.wire():
            self.command("KILL app", "RESUME app", "DISABLE named", "ENABLE named", "RECONNECT app", "WAIT_CLOSE app")

    def wait_for_the_console(self):
        with self.wire() as w, self.console() as console:
            self.ask(w, "BEGIN")
            console.send_raw(query("PAUSE app"))
            self.one(w)
            self.ask(w, "COMMIT")
            self.hear(console)

    def undo_commands(self):
        with Wire(self.pooler.unix_socket).login("admin", "pgbouncer") as w:
            for text in ("RESUME", "RESUME app", "ENABLE app", "ENABLE named"):
                w.query(text)

    # Configuration

    def change_configuration(self):
        """Every file says something else than before."""
        self.n += 1
        p = self.pooler
        p.userlist["plain"] = self.scenario.PEOPLE["plain"]
        p.userlist[f"new{self.n % 2}"] = f"{self.n}"
        p.databases[f"fresh{self.n % 2}"] = {"host": "127.0.0.1,localhost", "port": self.pg.port, "dbname": "app",
                                             "pool_size": self.n}
        p.users = {"trusted": {"max_user_connections": 10 + self.n}}
        p.settings.update(query_timeout=1000 + self.n, stats_applications=20 + self.n % 20,
                          http_tls_cert_file=None, listen_backlog=100 + self.n)
        # No regular expression: glibc's regcomp() frees twice, or never, what it was making (conf/pattern.c).
        p.settings["auth_ident_file"] = p.write_file("ident", f"us {getpass.getuser()} admin\nus x{self.n} y\n")
        p.write()

    def reload(self):
        self.command("RELOAD")

    def reload_again(self):
        """What has failed succeeds."""
        assert self.pooler.admin_result("RELOAD").error is None

    def change_log(self):
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.pooler.settings["logfile"], self.pooler.settings["logfile"] + ".1")

    def reopen_log(self):
        """By a signal: there is no answer but the line."""
        self.pooler.signal(signal.SIGHUP)
        self.visit()

    # HTTP

    def http(self):
        for path in ("/livez", "/readyz", "/metrics", "/api/health", "/api/tables/pools", "/api/tables",
                     "/api/pools", "/"):
            with contextlib.suppress(*ENDS), Http(self.scenario.http_port, login=("admin", "secret")) as h:
                assert h.get(path).status in (200, 401, 500, 503), path

    def http_command(self):
        with contextlib.suppress(*ENDS, AssertionError), Http(self.scenario.http_port, login=("admin", "secret")) as h:
            h.command("RECONNECT")

    def http_refused(self):
        with contextlib.suppress(*ENDS), Http(self.scenario.http_port, login=("admin", "wrong")) as h:
            assert h.get("/metrics").status != 200

    # Afterwards

    def is_served(self, database="app"):
        with contextlib.suppress(*ENDS), Wire(self.pooler.unix_socket) as w:
            return w.try_login("trusted", database) is None and w.query("SELECT 'well'").rows == [["well"]]

    def assert_well(self):
        assert self.pooler.alive(), f"exit status {self.pooler.process.returncode}: {self.pooler.log()[-6000:]}"
        eventually(self.is_served, "the next client is served", every=0.01)
        eventually(lambda: idle_servers(self.pooler) is not None, "nothing is left of it", every=0.01)


def nothing(life):
    pass


Part = collections.namedtuple("Part", "run before after", defaults=[nothing, nothing])

L = Life
PARTS = [
    *(Part(run) for run in (
        L.login_trust, L.login_plain, L.login_md5, L.login_scram, L.login_by_auth_query, L.login_by_pam,
        L.login_by_ldap,
        L.login_by_certificate, L.login_with_tls, L.login_over_unix_socket, L.login_refused, L.password_refused,
        L.password_refused_by_others, L.startup_packets, L.extended, L.prepared, L.prepared_by_sql,
        L.outdated_statement,
        L.parameters, L.large_values, L.pieces, L.copy, L.transaction, L.waiting, L.cancel, L.leave_in_a_transaction,
        L.leave_in_a_batch, L.leave_the_server_dirty, L.replication, L.new_pool, L.server_killed, L.name_that_is_none,
        L.show, L.show_extended, L.set, L.http, L.http_command, L.http_refused)),
    *(Part(run, before=functools.partial(L.without_servers, database=database)) for run, database in (
        (L.server_login, "app"), (L.server_login_by_unix_socket, "by_unix"), (L.server_login_by_name, "named"),
        (L.server_login_with_tls, "secure"), (L.server_login_by_scram, "scrammed"))),
    *(Part(run, after=L.undo_commands) for run in (L.pause, L.suspend, L.kill, L.wait_for_the_console)),
    Part(L.reload, before=L.change_configuration, after=L.reload_again),
    Part(L.reopen_log, before=L.change_log, after=L.reload_again),
]


# Of a process that has just begun: much is allocated once. Without servers it begins anyway.
YOUNG = (L.login_by_auth_query, L.login_by_certificate, L.prepared, L.parameters, L.cancel, L.waiting, L.new_pool,
         L.show, L.http, L.set, L.reload)

# Which allocations count, and how many in a row fail.
WAYS = {"one of the program's own": {"own_only": True}, "one": {}, "five of them": {"own_only": True, "times": 5}}


@pytest.fixture
def life(pg, tls_pg, certs, make_pooler):
    with contextlib.ExitStack() as stack:
        yield Life(stack, pg, tls_pg, certs, make_pooler)


def go_through(life, part, first, step, **how):
    """The part once more for each `step`th of its allocations."""
    failed = 1
    while failed:
        print(f"{part.run.__name__} {first}", end=", ")
        part.before(life)
        life.memory.begin(first, **how)
        with contextlib.suppress(*ENDS):
            part.run(life)
        failed = life.memory.end().failed
        part.after(life)
        life.assert_well()
        first += step


@pytest.mark.parametrize("way", WAYS)
def test_a_pooler_goes_on_whatever_it_has_no_memory_for(life, is_long, way):
    life.start()
    for part in PARTS:
        step = 1 if is_long else STEP
        go_through(life, part, random.randrange(step), step, **WAYS[way])


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("way", [way for way in WAYS if "own_only" in WAYS[way]])
def test_who_needs_a_name_to_be_looked_up_is_served_or_told(make_pooler, pg, names, tmp_path, way, is_known):
    """Each time another name, of which nothing is known yet. The look-up's own timeout, and that of the login at the
    server, are longer than clients have patience here: nobody waits for an answer that is not listened for."""
    hosts = [f"db{n}.pgsluice.test" for n in range(18)]
    names.names.update({host: ["127.0.0.1"] for host in hosts if is_known})
    databases = {host: {"host": host, "port": pg.port, "dbname": "app"} for host in hosts}
    pooler = make_pooler(start=False, databases=databases,
                         resolv_conf=names.write_conf(tmp_path / "resolv.conf", timeout=120),
                         dns_nxdomain_ttl=0, server_connect_timeout=120, server_login_retry=0.2)

    def is_let_in(host):
        with pooler.raw(timeout=20) as w:
            return w.try_login("app", host) is None

    with contextlib.closing(FailingMalloc(pooler)) as memory:
        pooler.start()
        for first, host in enumerate(hosts):
            print(first, end=", ")
            memory.begin(first, **WAYS[way])
            with contextlib.suppress(*ENDS):
                is_let_in(host)
            memory.end()
            eventually(lambda: is_let_in(host) == is_known and host in names.asked, "the next one is served or told")


def test_a_young_pooler_goes_on_whatever_it_has_no_memory_for(life, is_long):
    first, step, failed = random.randrange(1 if is_long else STEP_YOUNG), 1 if is_long else STEP_YOUNG, 1
    while failed:
        print(first, end=", ")
        life.start()
        life.change_configuration()
        life.memory.begin(first, own_only=True)
        for run in YOUNG:
            with contextlib.suppress(*ENDS):
                run(life)
        failed = life.memory.end().failed
        life.reload_again()
        life.assert_well()
        life.pooler.stop()
        first += step


def test_a_reload_without_memory_is_refused_and_changes_nothing(life):
    """In the middle of the first file that is read."""
    life.start()
    before = life.pooler.config("query_timeout")
    life.change_configuration()
    with life.console() as w:
        life.memory.begin(10, own_only=True, times=1)
        error = w.query("RELOAD").error
        life.memory.end()
    assert "out of memory" in error["M"] + error.get("D", ""), error
    with open(life.pooler.settings["logfile"]) as f:
        text = f.read()
    assert "out of memory" in text and "RELOAD failed, the former configuration stays in force" in text
    assert life.pooler.config("query_timeout") == before
    life.reload_again()
    assert life.pooler.config("query_timeout") != before


def test_a_file_that_there_is_no_memory_to_read_is_not_read_and_the_program_says_so(life):
    life.pooler.write()
    for first in range(20):
        done = subprocess.run(
            [life.pooler.program, "--check", life.pooler.ini], capture_output=True, text=True, timeout=30,
            env=life.pooler.environment(), cwd=life.pooler.directory, **as_account(),
            preexec_fn=lambda: life.memory.begin(first, own_only=True, times=5, pid=os.getpid()))
        assert life.memory.end().failed
        assert done.returncode == 0 or "memory" in done.stderr, (first, done)
