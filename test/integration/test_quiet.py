"""Clients that say nothing: what wakes an idle process up, and what they take up."""

import contextlib
import re
import time

from harness.pooler import has_sanitizers
from harness.system import rss

POOLS = 20
SILENCE = 10    # seconds


def wakeups(pooler):
    """How often the process has gone to sleep."""
    with open(f"/proc/{pooler.pid}/status") as f:
        return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", f.read(), re.M)[1])


@contextlib.contextmanager
def idle_clients(pooler, n):
    """Logged in, and silent after a query, over all databases."""
    with contextlib.ExitStack() as stack:
        for i in range(n):
            assert stack.enter_context(pooler.wire(f"d{i % POOLS}")).value("SELECT 1") == "1"
        yield


def samples(pooler):
    return {row["database"]: int(row["samples"]) for row in pooler.admin("SHOW CAPACITY_POOLS")}


def test_idle_clients_wake_nobody_up_and_each_second_is_a_sample_all_the_same(make_pooler, pg, is_long):
    """What is due once a minute may come. With --long pools are adaptive: they take half a minute to come to rest."""
    mode, settling = ("adaptive", 35) if is_long else ("fixed", 2.5)
    pooler = make_pooler(databases={f"d{i}": {"dbname": "app"} for i in range(POOLS)},
                         max_client_conn=400, pool_size_mode=mode)
    with idle_clients(pooler, 200):
        time.sleep(settling)
        began, first = time.monotonic(), samples(pooler)
        woken = wakeups(pooler)
        time.sleep(SILENCE)
        woken = wakeups(pooler) - woken
        took, last = time.monotonic() - began, samples(pooler)
    assert woken < SILENCE / 2
    assert len(first) == POOLS
    for name, n in first.items():
        assert abs(last[name] - n - took) <= 2, (name, n, last[name], took)


def test_an_idle_client_that_has_run_a_query_takes_less_than_400_bytes(make_pooler):
    """Of resident memory. The first ones pay for what is allocated once; sanitizers need several times as much."""
    pooler = make_pooler(databases={f"d{i}": {"dbname": "app"} for i in range(POOLS)}, max_client_conn=5000,
                         log_connections=0, log_disconnections=0)
    with idle_clients(pooler, 2 * POOLS):
        before = rss(pooler.pid)
        with idle_clients(pooler, 4000):
            each = (rss(pooler.pid) - before) / 4000
    assert each < (4000 if has_sanitizers() else 400)
