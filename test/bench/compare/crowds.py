"""Clients that have asked something and are silent since: what they take up, and what they cost."""

import contextlib
import time

from harness.certs import tls
from harness.system import rss

from . import load
from .contenders import POOLERS, running
from .machine import cpu_seconds, switches
from .work import LIMIT, Figure, Work

FIRST = 5       # they pay for what is allocated once
SETTLED = 1.5   # seconds after the last login


def visitor(contender, context):
    """A client that is logged in and has run a query; over TLS when there is a context."""
    client = contender.raw()
    if context is not None:
        tls(client, context)
    client.login("app", "app")
    assert client.query("SELECT 1").error is None
    return client


@contextlib.contextmanager
def silent(bench, contender, n, in_tls=False):
    context = bench.certs.client() if in_tls else None
    with contextlib.ExitStack() as stack:
        for _ in range(n):
            stack.enter_context(visitor(contender, context))
        yield


@contextlib.contextmanager
def pooler(bench, who, in_tls=False):
    with load.serving(bench) as server, \
            running(bench, who, server, **(bench.certs.for_clients() if in_tls else {})) as contender:
        yield contender


def memory(clients, in_tls):
    @contextlib.contextmanager
    def begin(bench):
        def measure(who):
            n = bench.crowd(clients)
            with pooler(bench, who, in_tls) as contender, silent(bench, contender, FIRST, in_tls):
                before = rss(contender.pid)
                with silent(bench, contender, n, in_tls):
                    return {"bytes": (rss(contender.pid) - before) / n}
        yield measure
    return begin


@contextlib.contextmanager
def quiet(bench):
    def measure(who):
        with pooler(bench, who) as contender, silent(bench, contender, bench.crowd(5000)):
            time.sleep(SETTLED)
            began, woken, cpu = time.monotonic(), switches(contender.pid), cpu_seconds(contender.pid)
            time.sleep(bench.silence)
            took = time.monotonic() - began
            return {"wakeups": (switches(contender.pid) - woken) / took,
                    "cpu_ms": (cpu_seconds(contender.pid) - cpu) / took * 1e3}
    yield measure


WORKS = [
    Work("memory", POOLERS, memory(10000, False),
         [Figure("bytes", "idle plain client, of 10,000", "bytes RSS", {LIMIT: 400})]),
    Work("memory-tls", POOLERS, memory(2000, True),
         [Figure("bytes", "idle TLS client, of 2,000", "bytes RSS", {LIMIT: 14500})]),
    Work("silence", POOLERS, quiet,
         # Under one a second, as it is printed.
         [Figure("wakeups", "5,000 idle clients, wake-ups", "a second", {LIMIT: 0.99}),
          Figure("cpu_ms", "5,000 idle clients, CPU", "ms/s", {})]),
]
