"""Clients that log in, ask once and leave: what one of them costs the contender."""

import contextlib
import io
import os
import re
import time

from harness.storm import Storm
from harness.system import run
from harness.wire import md5_secret, scram_secret

from . import load
from .contenders import PGBOUNCER, POOLERS, running
from .machine import cpu_seconds
from .work import Figure, Work

PASSWORD = "benchmark"
SECRETS = {
    "trust": lambda: "",
    "md5": lambda: md5_secret("app", PASSWORD),
    "scram-sha-256": lambda: scram_secret(PASSWORD),
}
AT_ONCE = 8
A_SECOND = 1000


def pgbench(bench, contender):
    """Connects for each of its transactions; how many there were."""
    script = os.path.join(bench.directory, "once.sql")
    with open(script, "w") as f:
        f.write("SELECT 1;\n")
    environment = {**os.environ, "PGPASSWORD": PASSWORD, "PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}
    done = run([bench.postgres_program("pgbench"), "-n", "-C", "-f", script, "-c", str(AT_ONCE), "-j", "2",
                "-T", str(max(1, round(bench.seconds))), "-h", "127.0.0.1", "-p", str(contender.port), "-U", "app",
                "app"], env=environment)
    assert done.returncode == 0, done.stderr
    return int(re.search(r"transactions actually processed: (\d+)", done.stdout)[1])


def returning_clients(bench, contender):
    """All of them resume a TLS session, if the contender lets them; how many there were."""
    storm = Storm(bench.connects, contender.port, bench.certs.ca, rate=A_SECOND)
    storm.command[-1] = "0"
    with contextlib.redirect_stdout(io.StringIO()), storm:
        time.sleep(bench.seconds)
    assert storm.result["failed"] == 0, storm.result
    return storm.result["done"]


def session(log_in, settings):
    @contextlib.contextmanager
    def begin(bench):
        def measure(who):
            with load.serving(bench) as server, running(bench, who, server, **settings(bench)) as contender:
                before = cpu_seconds(contender.pid)
                n = log_in(bench, contender)
                return {"cpu_us": (cpu_seconds(contender.pid) - before) / n * 1e6}
        yield measure
    return begin


def login(name, what, log_in, settings):
    return Work(name, POOLERS, session(log_in, settings), [Figure("cpu_us", what, "us CPU", {PGBOUNCER: 0.75})])


def plain(method):
    return login(f"login-{method}", f"login, {method}", pgbench,
                 lambda bench: {"auth_type": method, "userlist": {"app": SECRETS[method]()}})


WORKS = [
    *(plain(method) for method in SECRETS),
    login("login-tls", "login, TLS resumed", returning_clients, lambda bench: bench.certs.for_clients()),
]
