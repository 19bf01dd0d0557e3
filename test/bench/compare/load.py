"""load.c: many clients and a server that costs nothing, at both ends of a contender."""

import contextlib
import json
import os
import subprocess
import tempfile

from harness.system import as_account, give_away, run

HERE = os.path.dirname(os.path.abspath(__file__))
PORT = 5432


def build(directory, name, *libraries):
    """One of the programs beside this package; its path."""
    binary = os.path.join(directory, name)
    done = run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-o", binary,
                os.path.join(HERE, "..", f"{name}.c"), *libraries])
    assert done.returncode == 0, done.stderr
    return binary


def entry(directory):
    """How a pooler reaches the server in a directory."""
    return {"host": directory, "port": PORT}


def make_server_directory(bench):
    directory = tempfile.mkdtemp(prefix="server-", dir=bench.directory)
    give_away(directory)
    return directory


def command(bench, directory):
    return [bench.load, "-S", os.path.join(directory, f".s.PGSQL.{PORT}")]


@contextlib.contextmanager
def serving(bench):
    """A server without clients; its entry."""
    directory = make_server_directory(bench)
    process = subprocess.Popen(command(bench, directory), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               **as_account())
    try:
        assert "ready" in process.stdout.readline(), "no server"
        yield entry(directory)
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def measure(bench, directory, contender, clients, mode="simple", tls=False, rate=None):
    """What load.c says of a contender that leads to the server in a directory; with the cost of one transaction."""
    more = (["-T"] if tls else []) + (["-r", str(rate)] if rate else [])
    done = run([*command(bench, directory), "-p", str(contender.port), "-P", str(contender.pid), "-c", str(clients),
                "-m", mode, "-s", str(bench.seconds), "-w", str(bench.warmup), *more],
               timeout=300, stdin=subprocess.DEVNULL, **as_account())
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    result["cpu_us"] = result["cpu_seconds"] / result["transactions"] * 1e6
    return result
