"""Those that are compared, each as a process on a core of its own."""

import contextlib
import os
import socket
import subprocess

from harness import pooler
from harness.system import as_account, eventually, free_port, stop_process

from . import machine

OURS, PGBOUNCER, RELAY = "pgsluice", "pgbouncer", "relay"
POOLERS = [OURS, PGBOUNCER]
ALL = [OURS, PGBOUNCER, RELAY]

SERVERS = 20


@contextlib.contextmanager
def program_is(path):
    """The harness knows one program, from its environment."""
    before, pooler.PROGRAM = pooler.PROGRAM, path
    try:
        yield
    finally:
        pooler.PROGRAM = before


class Contender(pooler.Pooler):
    """A pooler that leads to `server`, keywords of a [databases] line, with the settings of all comparisons."""

    def __init__(self, built, server, databases=None, **settings):
        self.built = built
        with program_is(built):
            super().__init__(None, databases=databases or {"app": dict(server)}, start=False, **{
                "default_pool_size": SERVERS, "max_client_conn": 15000,
                "log_connections": 0, "log_disconnections": 0, **settings})

    def text(self):
        """Debian's PgBouncer does not know [peers], and nobody has any."""
        return super().text().replace("[peers]\n", "")

    def start(self):
        super().start()
        machine.pin_contender(self.pid)
        return self

    def stop(self):
        with program_is(self.built):
            super().stop()


class Relay:
    """A program of this directory whose clients end up at a server's Unix socket."""

    def __init__(self, binary, server):
        self.port = free_port()
        path = os.path.join(server["host"], f".s.PGSQL.{server['port']}")
        self.process = subprocess.Popen([binary, str(self.port), path], stdin=subprocess.DEVNULL, **as_account())
        self.pid = self.process.pid

    def start(self):
        machine.pin_contender(self.pid)
        eventually(self._accepts, "the relay accepts connections", every=0.01)

    def _accepts(self):
        assert self.process.poll() is None, "the relay has ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True

    def close(self):
        stop_process(self.process)


@contextlib.contextmanager
def running(bench, who, server, relay=None, **settings):
    """The contender of that name; it has port and pid. relay: which of the programs takes this part, if not the relay."""
    if who == RELAY:
        contender = Relay(relay or bench.relay, server)
    else:
        contender = Contender(bench.programs[who], server, **settings)
    try:
        contender.start()
        yield contender
    finally:
        contender.close()
