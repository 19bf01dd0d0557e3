"""A pooler that nobody uses, and what it should have then."""

import collections
import os

from .system import eventually

Figures = collections.namedtuple("Figures", "rss descriptors")


def idle_servers(pooler):
    """How many there are; None while anybody is in the pooler, but for who asks."""
    rows = [row for row in pooler.admin("SHOW POOLS") if row["database"] != "pgbouncer"]
    lists = {row["list"]: int(row["items"]) for row in pooler.admin("SHOW LISTS")}
    is_busy = any(name.startswith(("cl_", "sv_")) and name not in ("sv_idle", "sv_used") and value != "0"
                  for row in rows for name, value in row.items())
    if is_busy or lists["used_clients"] != 1:
        return None
    return sum(int(row["sv_idle"]) + int(row["sv_used"]) for row in rows)


def wait_for_rest(pooler, pg):
    """Its servers are idle, and all that PostgreSQL knows: what the process has besides them."""
    looks = [None]

    def is_at_rest():
        # Before we come ourselves: the pooler has not yet closed what we close.
        descriptors = len(os.listdir(f"/proc/{pooler.pid}/fd"))
        servers = idle_servers(pooler)
        looks.append(descriptors - servers if servers is not None and servers == len(pg.backends()) else None)
        return looks[-1] is not None and looks[-1] == looks[-2]

    eventually(is_at_rest, "the pooler is at rest", 60, every=0.2)
    return Figures(pooler.rss(), looks[-1])
