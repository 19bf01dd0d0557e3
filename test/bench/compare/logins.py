"""
Clients that log in, ask once and leave: what one of them costs the contender, when so many come that it is always busy.
Otherwise most of what is counted would be that it falls asleep and wakes up again.
"""

import contextlib
import io
import time

from harness.storm import Storm
from harness.system import eventually
from harness.wire import md5_secret, scram_secret

from . import load
from .contenders import ALL, PGBOUNCER, POOLERS, running
from .machine import cpu_seconds
from .work import Figure, Work

PASSWORD = "benchmark"
SECRETS = {
    "trust": lambda: "",
    "md5": lambda: md5_secret("app", PASSWORD),
    "scram-sha-256": lambda: scram_secret(PASSWORD),
}
AT_ONCE = 128

# All of them may be waiting to be accepted.
BACKLOG = {"listen_backlog": 4 * AT_ONCE}


def so_far(storm, contender):
    """Logins, and CPU seconds of the contender, at the moment that the storm tells of."""
    before = storm.result
    eventually(lambda: storm.result is not before, "the storm goes on", every=0.001)
    return storm.done, cpu_seconds(contender.pid)


def cost(bench, contender, **how):
    """Of one login, in microseconds."""
    storm = Storm(bench.connects, contender.port, rate=0, in_flight=AT_ONCE, **how)
    with contextlib.redirect_stdout(io.StringIO()), storm:
        time.sleep(bench.warmup)
        storm.wait_more(AT_ONCE)
        logins, cpu = so_far(storm, contender)
        time.sleep(bench.seconds)
        storm.wait_more(AT_ONCE)
        more_logins, more_cpu = so_far(storm, contender)
    assert storm.result["failed"] == 0, storm.result
    return (more_cpu - cpu) / (more_logins - logins) * 1e6


def session(settings, clients):
    @contextlib.contextmanager
    def begin(bench):
        def measure(who):
            with load.serving(bench) as server, \
                    running(bench, who, server, relay=bench.greeter, **BACKLOG, **settings(bench)) as contender:
                return {"cpu_us": cost(bench, contender, **clients(bench))}
        yield measure
    return begin


def login(method, contenders, settings, clients, what=None):
    return Work(f"login-{method}", contenders, session(settings, clients),
                [Figure("cpu_us", f"login, {what or method}", "us CPU", {PGBOUNCER: 0.75})])


def plain(method, contenders=POOLERS):
    return login(method, contenders, lambda bench: {"auth_type": method, "userlist": {"app": SECRETS[method]()}},
                 lambda bench: {"password": PASSWORD})


WORKS = [
    plain("trust", ALL),
    plain("md5"),
    plain("scram-sha-256"),
    login("tls", POOLERS, lambda bench: bench.certs.for_clients(), lambda bench: {"ca": bench.certs.ca, "full": 0},
          "TLS resumed"),
]
