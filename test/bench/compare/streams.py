"""Much data at once, by psql from a PostgreSQL: what a gigabyte costs the contender."""

import contextlib
import functools
import os
import subprocess

from .contenders import ALL, PGBOUNCER, POOLERS, running
from .machine import cpu_seconds
from .work import Figure, Work

LINE = 1000
COMMANDS = {
    "result": "SELECT repeat('x', {line}) FROM generate_series(1, {lines})",
    "copy-out": "COPY stream_out TO STDOUT",
    "copy-in": "\\copy stream_in FROM '{file}'",
}


@functools.lru_cache(maxsize=1)
def make_data(bench):
    """The tables that are read and written, and the file that is copied in; its path."""
    bench.pg.rows("CREATE UNLOGGED TABLE IF NOT EXISTS stream_in (t text);"
                  "DROP TABLE IF EXISTS stream_out;"
                  "CREATE UNLOGGED TABLE stream_out AS"
                  f" SELECT repeat('x', {LINE}) AS t FROM generate_series(1, {bench.stream_lines});"
                  "GRANT ALL ON stream_in, stream_out TO app", "app")
    path = os.path.join(bench.directory, "stream.data")
    with open(path, "w") as f:
        f.writelines(["x" * LINE + "\n"] * bench.stream_lines)
    return path


def psql(bench, port, command, tls):
    environment = {**os.environ, "PGSSLMODE": "require" if tls else "disable", "PGGSSENCMODE": "disable"}
    done = subprocess.run([bench.pg.program("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1",
                           "-p", str(port), "-U", "app", "-c", command, "app"], env=environment, timeout=120,
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr


def session(kind, tls):
    @contextlib.contextmanager
    def begin(bench):
        path = make_data(bench)
        command = COMMANDS[kind].format(line=LINE, lines=bench.stream_lines, file=path)
        server = {"host": bench.pg.directory, "port": bench.pg.port}

        def measure(who):
            bench.pg.rows("TRUNCATE stream_in", "app")
            with running(bench, who, server, **(bench.certs.for_clients() if tls else {})) as contender:
                psql(bench, contender.port, "SELECT 1", tls)
                before = cpu_seconds(contender.pid)
                psql(bench, contender.port, command, tls)
                return {"cpu_s": (cpu_seconds(contender.pid) - before) / os.path.getsize(path) * 1e9}
        yield measure
    return begin


WORKS = [Work(kind + ("-tls" if tls else ""), POOLERS if tls else ALL, session(kind, tls),
              [Figure("cpu_s", f"stream, {kind}" + (" over TLS" if tls else ""), "s CPU/GB",
                      {PGBOUNCER: 0.75 if tls else 0.4})])
         for tls in (False, True) for kind in COMMANDS]
