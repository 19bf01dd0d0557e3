"""What a pooler holds: whether there is as much of it after a fault as there was before."""

import os

from .system import eventually

# What comes and goes with connections, in SHOW MEM.
OF_CONNECTIONS = ("client_cache", "server_cache")


def census(pooler):
    """Clients, servers that no table shows, descriptors that are no server's. The console's own connection is in it."""
    servers = pooler.admin("SHOW SERVERS")
    used = {row["name"]: int(row["used"]) for row in pooler.admin("SHOW MEM")}
    return {
        "clients": len(pooler.admin("SHOW CLIENTS")),
        "servers without a row": used["server_cache"] - len(servers),
        "client objects": used["client_cache"],
        "busy servers": sum(row["state"] != "idle" for row in servers),
        "waiting": sum(int(row["cl_waiting"]) + int(row["cl_waiting_cancel_req"]) for row in pooler.admin("SHOW POOLS")),
        "descriptors": len(os.listdir(f"/proc/{pooler.pid}/fd")) - len(servers),
    }


def assert_same(pooler, before):
    now = {}

    def is_same():
        now.update(census(pooler))
        return now == before

    try:
        eventually(is_same, "all is as it was")
    except AssertionError as error:
        raise AssertionError(f"{now} instead of {before}") from error
