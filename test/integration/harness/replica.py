"""Two PostgreSQL servers on one port of two addresses: a primary, and a standby that follows it."""

import contextlib
import os
import shutil
import signal

from .pg import Postgres
from .system import as_account, children, eventually, free_port, give_away, run

PRIMARY, STANDBY = "127.0.0.1", "127.0.0.2"

SETTINGS = [
    "wal_level = replica",
    "max_wal_senders = 4",
    "wal_keep_size = '64MB'",
    "hot_standby = on",
    # What has been committed has been written, and is on its way to the standby.
    "synchronous_commit = on",
    # A server that starts, or loses the one it follows, tries again soon.
    "wal_retrieve_retry_interval = '100ms'",
    "wal_receiver_status_interval = '1s'",
]


def listing(directory):
    """All files by their paths, with what shows that one has been written to."""
    return {os.path.relpath(path, directory): (os.stat(path).st_size, os.stat(path).st_mtime_ns)
            for where, _, names in os.walk(directory) for path in (os.path.join(where, name) for name in names)}


def restore(directory, copy):
    """Makes a directory's files those of its copy: the few that differ, of some 1500 that cost seconds to make."""
    there, wanted = listing(directory), listing(copy)
    for name in there.keys() - wanted.keys():
        os.remove(os.path.join(directory, name))
    for name, state in wanted.items():
        if there.get(name) != state:
            path = os.path.join(directory, name)
            shutil.copy2(os.path.join(copy, name), path)
            give_away(path)


class Server(Postgres):
    """One that may be either, in the course of a test."""

    def __init__(self, address, port, primary=None):
        self.primary = primary
        super().__init__(SETTINGS, ["host replication replicator 127.0.0.0/8 trust"], address, port)

    def make(self, settings, hba):
        if self.primary is not None:
            self.follow(self.primary)
            return
        super().make(settings, hba)
        self.rows("CREATE ROLE replicator LOGIN REPLICATION")

    def follow(self, primary):
        """Begins anew as a standby of this one, with a copy of its files; returns when all of them have come."""
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)
        made = run([self.program("pg_basebackup"), "-D", self.data, "-R", "-X", "stream", "-c", "fast", "--no-sync",
                    "-h", primary.address, "-p", str(primary.port), "-U", "replicator"],
                   cwd=self.directory, **as_account())
        assert made.returncode == 0, made.stdout + made.stderr
        self.primary = primary
        self.start()
        self.wait_caught_up()

    def hang(self):
        """All its processes, but the kernel still accepts connections: nothing answers, old or new. Until thaw()."""
        self.freeze()
        self._signal_children(signal.SIGSTOP)

    def thaw(self):
        self._signal_children(signal.SIGCONT)
        super().thaw()

    def stop(self, sig=signal.SIGQUIT):
        if self.process is not None:
            self.thaw()
        super().stop(sig)

    def _signal_children(self, sig):
        for pid in children(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sig)

    def promote(self):
        """Writes are let in when this returns."""
        assert self.value("SELECT pg_promote()"), open(self.log).read()[-4000:]
        self.primary = None

    def wait_caught_up(self):
        """Until all has come that the primary has written by now."""
        written = self.primary.value("SELECT pg_current_wal_lsn()")
        eventually(lambda: self.value(f"SELECT pg_last_wal_replay_lsn() >= '{written}'"), "the standby has caught up")

    def be_read_only(self, on=True):
        """For transactions that do not say otherwise, in all sessions from their next one on."""
        self.rows(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}")
        self.rows("SELECT pg_reload_conf()")
        eventually(lambda: self.value("SHOW default_transaction_read_only") == ("on" if on else "off"), "the reload")


class Replicas:
    """
    A primary and its standby. What becomes of them in a test is undone by renew(), with the files of their first
    day. The names stay: after a failover `standby` is the primary.
    """

    hosts = f"{PRIMARY},{STANDBY}"

    def __init__(self):
        self.port = free_port(STANDBY)
        self.primary = Server(PRIMARY, self.port)
        self.standby = Server(STANDBY, self.port, self.primary)
        self.servers = [self.primary, self.standby]
        # The primary first: it ends when the standby has got all of it.
        for server in self.servers:
            server.stop(signal.SIGINT)
            copied = run(["cp", "-a", server.data, self._first_day(server)])
            assert copied.returncode == 0, copied.stderr

    @staticmethod
    def _first_day(server):
        return os.path.join(server.directory, "first-day")

    def renew(self):
        self.stop()
        for server in self.servers:
            restore(server.data, self._first_day(server))
        self.standby.primary = self.primary
        self.primary.start()
        self.standby.start()
        self.standby.wait_caught_up()

    def stop(self):
        for server in self.servers:
            server.stop()

    def close(self):
        for server in self.servers:
            server.close()
