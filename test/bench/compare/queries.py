"""Short transactions: what one costs the contender, and how long it takes."""

import contextlib

from . import load
from .contenders import ALL, OURS, PGBOUNCER, POOLERS, RELAY, running
from .work import Figure, Work

MANY = 2000


def once(bench, who, settings=None, **how):
    directory = load.make_server_directory(bench)
    with running(bench, who, load.entry(directory), **(settings or {})) as contender:
        return load.measure(bench, directory, contender, **how)


def session(key, settings=lambda bench: {}, **how):
    """Measures by one figure of what load.c says."""
    @contextlib.contextmanager
    def begin(bench):
        yield lambda who: {key: once(bench, who, settings(bench), **how)[key]}
    return begin


def tls_settings(bench):
    return bench.certs.for_clients()


def cost(mode, clients, at_most):
    return Work(f"{mode}-{clients}", ALL, session("cpu_us", mode=mode, clients=clients),
                [Figure("cpu_us", f"{mode} query, {clients:,} clients", "us CPU", at_most)])


@contextlib.contextmanager
def half_of_capacity(bench):
    """The capacity is that of the slowest, so that all are measured at one rate."""
    rate = min(r["transactions"] / r["seconds"] for r in (once(bench, who, clients=MANY) for who in POOLERS)) / 2

    def measure(who):
        result = once(bench, who, clients=MANY, rate=rate)
        return {key: result[key] for key in ("p99_us", "p999_us")}
    yield measure


FEW = {PGBOUNCER: 0.98, RELAY: 1.12}
CROWD = {PGBOUNCER: 0.75, RELAY: 1.08}

WORKS = [
    *(cost(mode, clients, FEW if clients == 32 else CROWD)
      for mode in ("simple", "extended") for clients in (32, 256, 1000)),
    # Debian's PgBouncer does not follow prepared statements.
    Work("prepared-256", [OURS, RELAY], session("cpu_us", mode="prepared", clients=256),
         [Figure("cpu_us", "prepared statements, 256 clients", "us CPU", {RELAY: 1.15})]),
    Work("latency-1", ALL, session("p50_us", clients=1),
         [Figure("p50_us", "1 client, median latency", "us", {PGBOUNCER: 1.0})]),
    Work("tls-32", POOLERS, session("cpu_us", tls_settings, clients=32, tls=True),
         [Figure("cpu_us", "simple query over TLS, 32 clients", "us CPU", {PGBOUNCER: 0.8})]),
    Work("half-capacity", POOLERS, half_of_capacity,
         [Figure("p99_us", f"{MANY:,} clients at half of the capacity, p99", "us", {PGBOUNCER: 0.9}),
          Figure("p999_us", f"{MANY:,} clients at half of the capacity, p99.9", "us", {PGBOUNCER: 0.9})]),
]
