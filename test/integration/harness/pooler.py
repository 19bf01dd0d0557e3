"""The pooler under test as a process with a configuration of its own."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile

import psycopg

from .system import PATIENCE, as_account, children, cpu, eventually, free_port, give_away, peak_rss, rss, stop_process
from .wire import Wire, query

PROGRAM = os.path.abspath(os.environ.get(
    "PGSLUICE", os.path.join(os.path.dirname(__file__), "../../../build/test/pgsluice")))


def has_sanitizers():
    """Or valgrind, by test/valgrind-integration: memory and instructions are not only the program's own."""
    with open(PROGRAM, "rb") as f:
        program = f.read()
    return b"__asan_init" in program or b"exec valgrind" in program


def is_pgbouncer():
    return os.path.basename(PROGRAM) == "pgbouncer"


def program_copy(directory, name="pgsluice"):
    """The program where the ordinary user can reach it, whoever owns the build's directory."""
    path = os.path.join(directory, name)
    shutil.copy(PROGRAM, path)
    os.chmod(path, 0o755)
    return path


def value_text(value):
    """One value of a connection string."""
    text = str(value)
    if text and not any(c in text for c in " '\t"):
        return text
    return "'" + text.replace("'", "''") + "'"


def connection_text(entry):
    return entry if isinstance(entry, str) else " ".join(f"{k}={value_text(v)}" for k, v in entry.items())


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


class Pooler:
    """
    databases: {name: {key: value}}, host and port filled in unless one says host; settings and users likewise.
    userlist: {name: secret}. Not started when start=False: start(), or run() for one that should end by itself.
    """

    def __init__(self, pg, databases=None, users=None, userlist=None, section="pgbouncer", start=True, args=(),
                 peers=None, **settings):
        self.pg = pg
        self.directory = tempfile.mkdtemp(prefix="pgsluice-", dir="/tmp")
        os.chmod(self.directory, 0o755)
        give_away(self.directory)
        self.program = program_copy(self.directory)
        self.port = free_port()
        self.section = section
        self.args = list(args)
        self.under = []  # the command of a tool that runs the program
        self.ini = os.path.join(self.directory, "pooler.ini")
        self.userlist_file = os.path.join(self.directory, "userlist.txt")
        self.log_file = os.path.join(self.directory, "log")
        self.process = None
        self.databases = {}
        for name, entry in (databases or {"app": {}}).items():
            if isinstance(entry, dict) and "host" not in entry:
                entry = {"host": "127.0.0.1", "port": pg.port, **entry}
            self.databases[name] = entry
        self.users = users or {}
        self.peers = peers or {}
        self.userlist = userlist if userlist is not None else {
            name: "" for name in ("app", "other", "plain_user", "md5_user", "scram_user", "postgres", "stats")}
        self.settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": self.directory,
            "auth_type": "trust",
            "auth_file": self.userlist_file,
            "admin_users": "admin",
            "stats_users": "stats",
            "pool_mode": "transaction",
            # Nobody but clients is to connect to servers that tests count the connections of.
            **({} if is_pgbouncer() else {"capacity_check_interval": 0}),
            # Tests look into the process: at its descriptors, at its memory. Whoever is not root has to be let.
            **({} if is_pgbouncer() or os.getuid() == 0 else {"core_dumps": 1}),
            **settings,
        }
        self.userlist.setdefault("admin", "")
        self.write()
        if start:
            self.start()

    # Configuration

    def text(self):
        lines = ["[databases]"]
        lines += [f"{name} = {connection_text(entry)}" for name, entry in self.databases.items()]
        lines += ["[users]"] + [f"{name} = {connection_text(entry)}" for name, entry in self.users.items()]
        lines += ["[peers]"] + [f"{number} = {connection_text(entry)}" for number, entry in self.peers.items()]
        lines += [f"[{self.section}]"]
        lines += [f"{name} = {value}" for name, value in self.settings.items() if value is not None]
        return "\n".join(lines) + "\n"

    def write(self, text=None):
        self._write_file(self.ini, text if text is not None else self.text())
        self._write_file(self.userlist_file, "".join(
            f"{quoted(name)} {quoted(secret)}\n" for name, secret in self.userlist.items()))

    def _write_file(self, path, text):
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o600)
        give_away(path)

    def write_file(self, name, text):
        """A file beside the configuration; its path."""
        path = os.path.join(self.directory, name)
        self._write_file(path, text)
        return path

    def reload(self, **settings):
        """Writes the file with some settings changed (None takes one away) and has it read, by RELOAD."""
        self.settings.update(settings)
        self.write()
        return self.admin_result("RELOAD")

    def hang_up(self, **settings):
        """As reload(), by SIGHUP: for those whom the console does not let in, or who expect it to fail."""
        self.settings.update(settings)
        self.write()
        before = self.reloads()
        self.signal(signal.SIGHUP)
        eventually(lambda: self.reloads() > before, "the reload is over", every=0.01)

    def reloads(self):
        """How many there were, the refused ones too: the last line of each."""
        log = self.log()
        return log.count("configuration reloaded") + log.count("RELOAD failed")

    # The process

    def environment(self):
        return {**os.environ, "ASAN_OPTIONS": "abort_on_error=0:exitcode=99:detect_leaks=1",
                "UBSAN_OPTIONS": "print_stacktrace=1"}

    def run(self, *args, timeout=30):
        """Runs the program to its end, for what it says and its exit status."""
        return subprocess.run([self.program, *args], capture_output=True, text=True, timeout=timeout * PATIENCE,
                              cwd=self.directory, env=self.environment(), stdin=subprocess.DEVNULL, **as_account())

    def run_under(self, *command):
        """From now on another program starts it: the command, with the program and its arguments behind."""
        real = self.program
        self.program = os.path.join(self.directory, "under")
        self._write_file(self.program, f"#!/bin/sh\nexec {shlex.join(command)} {real} \"$@\"\n")
        os.chmod(self.program, 0o755)

    def start(self, as_root=False):
        with open(self.log_file, "a") as log:
            self.process = subprocess.Popen([*self.under, self.program, *self.args, self.ini], stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, cwd=self.directory,
                                            env=self.environment(), **({} if as_root else as_account()))
        try:
            eventually(self._accepts, "the pooler accepts connections")
        except AssertionError:
            stop_process(self.process)
            self.process = None
            raise
        return self

    def take_over(self):
        """Starts another process in this one's place; returns this one, which ends when its clients have gone."""
        old, n = self.process, self.log().count("taken over from")
        self.args = ["-R"]
        self.start()
        eventually(lambda: self.log().count("taken over from") > n, "it is taken over")
        return old

    def _accepts(self):
        assert self.process.poll() is None, f"exit status {self.process.returncode}: {self.log()[-4000:]}"
        try:
            with socket.create_connection(("127.0.0.1", self.settings["listen_port"]), 1) as s:
                # Until it has closed its side, the pooler counts this one among its clients.
                s.shutdown(socket.SHUT_WR)
                s.settimeout(5)
                s.recv(1)
            return True
        except OSError:
            return False

    def log(self):
        with open(self.log_file, errors="replace") as f:
            return f.read()

    def wait_log(self, text, timeout=30):
        eventually(lambda: text in self.log(), f"{text!r} in the log", timeout)

    @property
    def pid(self):
        return self.process.pid

    def rss(self):
        return rss(self.pid)

    def peak_rss(self):
        return peak_rss(self.pid)

    def cpu(self):
        return cpu(self.pid)

    def alive(self):
        return self.process.poll() is None

    def signal(self, sig):
        self.process.send_signal(sig)

    def wait_exit(self, timeout=30):
        return self.process.wait(timeout * PATIENCE)

    def check_log(self):
        for line in self.log().splitlines():
            assert "AddressSanitizer" not in line and "LeakSanitizer" not in line, self.log()[-8000:]
            assert "runtime error:" not in line, line

    def stop(self):
        """Ends the pooler at once, and holds it to a clean end."""
        if self.process is not None:
            # PgBouncer took SIGTERM for "at once" before 1.23, and does not know SIGQUIT.
            status = stop_process(self.process, signal.SIGTERM if is_pgbouncer() else signal.SIGQUIT)
            self.process = None
            self.check_log()
            assert status == 0 or is_pgbouncer(), f"exit status {status}: {self.log()[-4000:]}"

    def close(self):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def lose_servers(self, user):
        """Has the server end all backends of a user; when this returns, the pooler has noticed."""
        closed = re.compile(r"\bS-\S+: .*closing because: |\"side\":\"server\",.*closing because: ")
        before = len(closed.findall(self.log()))
        ended = len(self.pg.rows(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'"))
        eventually(lambda: len(closed.findall(self.log())) >= before + ended, "the servers are gone", every=0.01)

    def children(self):
        """Process ids of the processes that it has started."""
        return children(self.pid)

    # Clients

    @property
    def unix_socket(self):
        return os.path.join(self.directory, f".s.PGSQL.{self.port}")

    def attempt(self, password=None, user="app", database="app", source=None, unix=False, **parameters):
        """A login and how it went: over TCP, from an address of the loopback network, or over the Unix socket."""
        address = self.unix_socket if unix else ("127.0.0.1", self.port)
        with Wire(address, source=source) as w:
            return w.attempt(user, database, password, **parameters)

    def dsn(self, user="app", dbname="app", **more):
        values = {"host": "127.0.0.1", "port": self.port, "user": user, "dbname": dbname, **more}
        return " ".join(f"{k}='{v}'" for k, v in values.items())

    def connect(self, dbname="app", user="app", autocommit=True, **kwargs):
        """psycopg 3, without prepared statements of its own."""
        kwargs.setdefault("prepare_threshold", None)
        return psycopg.connect(host=kwargs.pop("host", "127.0.0.1"), port=self.port, dbname=dbname, user=user,
                               autocommit=autocommit, connect_timeout=60, **kwargs)

    def wire(self, dbname="app", user="app", password=None, timeout=30, **parameters):
        """A logged in raw connection."""
        return Wire(("127.0.0.1", self.port), timeout).login(user, dbname, password, **parameters)

    def raw(self, timeout=30):
        """A raw connection that has not said anything yet."""
        return Wire(("127.0.0.1", self.port), timeout)

    @property
    def console_address(self):
        """TCP, but where that may demand TLS the Unix socket."""
        return self.unix_socket if "client_tls_cert_file" in self.settings else ("127.0.0.1", self.port)

    def admin_result(self, sql, user="admin"):
        """The console's answer with columns, rows, tag and error, whatever it is."""
        with Wire(self.console_address).login(user, "pgbouncer", self.userlist.get(user)) as w:
            return w.query(sql)

    def admin(self, sql, user="admin"):
        """The console's rows as dicts; an error fails the test."""
        result = self.admin_result(sql, user)
        assert result.error is None, result.error
        return result.dicts()

    def pool(self, database="app", user="app"):
        """One row of SHOW POOLS, or None."""
        for row in self.admin("SHOW POOLS"):
            if row["database"] == database and row["user"] == user:
                return row
        return None

    def config(self, key):
        return {row["key"]: row["value"] for row in self.admin("SHOW CONFIG")}[key]

    def wait_pool(self, timeout=30, database="app", user="app", **expected):
        """Waits until a row of SHOW POOLS has these numbers."""
        def reached():
            row = self.pool(database, user) or {}
            return all(row.get(k) == str(v) for k, v in expected.items())
        eventually(reached, f"SHOW POOLS has {expected}", timeout)


def assert_error(error, text=None, *codes):
    """An error with one of these SQLSTATEs that begins with PgBouncer's text; PgBouncer itself says 08P01."""
    assert error is not None, "no error"
    assert text is None or error["M"].startswith(text), error
    assert not codes or error["C"] in codes or is_pgbouncer(), error


def keep_waiting(pooler, first, second, seconds):
    """One keeps the only server for so long, in a transaction of three queries; the result of another's that waits."""
    first.query("BEGIN")
    second.send_raw(query("SELECT 1"))
    pooler.wait_pool(cl_waiting=1)
    first.query(f"SELECT pg_sleep({seconds})")
    first.query("COMMIT")
    return second.result()


@contextlib.contextmanager
def in_transaction(pooler, n, **kwargs):
    """n clients, each in a transaction on a server of its own."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(pooler.wire(**kwargs)) for _ in range(n)]
        for client in clients:
            client.send_raw(query("BEGIN"))
        for client in clients:
            assert client.result().error is None
        yield clients


def open_servers(pooler, n, **kwargs):
    with in_transaction(pooler, n, **kwargs) as clients:
        for client in clients:
            client.query("COMMIT")
            client.send("X")
    pooler.wait_pool(sv_idle=n, **{k: v for k, v in kwargs.items() if k == "user"})
