"""A pool without servers, and clients that need fifty at once: how long until all are open, in logins to the server."""

import contextlib
import statistics
import time

from harness.wire import Closed, FakeServer, cstring, query

from .contenders import POOLERS, running
from .work import LIMIT, Figure, Work

NEEDED = 50


def slow_server(login, took):
    """
    One that sleeps so many seconds in a login, and whose transactions do not end. Notes how long each login took it:
    more than that where fifty threads and whatever else runs have to share a core.
    """
    def script(peer):
        with contextlib.suppress(Closed):
            began = time.monotonic()
            peer.read_startup()
            time.sleep(login)
            peer.welcome()
            took.append(time.monotonic() - began)
            while peer.recv().type == "Q":
                peer.send("C", cstring("BEGIN"))
                peer.ready("T")
    return FakeServer(script)


def all_begin(contender):
    """Seconds from the first client's first byte to the last one's transaction."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(contender.raw()) for _ in range(NEEDED)]
        began = time.monotonic()
        for client in clients:
            client.startup({"user": "app", "database": "app"})
        for client in clients:
            assert client.finish_login("app") is None
            client.send_raw(query("BEGIN"))
        for client in clients:
            assert client.result().error is None
        return time.monotonic() - began


@contextlib.contextmanager
def cold(bench):
    def measure(who):
        took = []
        with slow_server(bench.login, took) as server, \
                running(bench, who, server.entry, default_pool_size=NEEDED) as contender:
            return {"logins": all_begin(contender) / statistics.median(took)}
    yield measure


WORKS = [
    Work("cold", POOLERS, cold,
         [Figure("logins", f"{NEEDED} servers at once on a cold pool", "logins", {LIMIT: 3})]),
]
