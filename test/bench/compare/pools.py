"""A thousand pools, and one of them busy: what its transactions cost, beside the same with no other pool."""

import contextlib

from . import load
from .contenders import OURS, running
from .work import Figure, Work

EACH = 10
BUSY = 32


@contextlib.contextmanager
def pooler(bench, others):
    """measure() for a pooler that has so many other pools, with silent clients that have asked something."""
    directory = load.make_server_directory(bench)
    names = [f"app_{i}" for i in range(others)]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(load.serving(bench))
        contender = stack.enter_context(running(
            bench, OURS, server, databases={"app": load.entry(directory), **{name: dict(server) for name in names}}))
        for name in names:
            for _ in range(EACH):
                client = stack.enter_context(contender.wire(name))
                assert client.query("SELECT 1").error is None
        yield lambda: {"cpu_us": load.measure(bench, directory, contender, BUSY)["cpu_us"]}


@contextlib.contextmanager
def session(bench):
    with pooler(bench, bench.crowd(1000)) as many, pooler(bench, 0) as one:
        measures = {f"{OURS}, many": many, f"{OURS}, 1 pool": one}
        yield lambda who: measures[who]()


WORKS = [Work("pools", [f"{OURS}, many", f"{OURS}, 1 pool"], session,
              [Figure("cpu_us", f"1,000 pools x {EACH} idle clients, 1 busy", "us CPU", {f"{OURS}, 1 pool": 1.03})])]
