"""
Every message at every point of the protocol from a server, well formed and not: one case for each point.

Whatever a server says, the pooler lives, its client gets an answer, an error or the end of its connection, and whoever
gets a server of that pool next gets the answer to what he has asked.
"""

import collections
import concurrent.futures
import contextlib
import socket
import threading
import time

import pytest

from harness.echo import COLUMN, Echo, complete, ready, row
from harness.nonsense import OF_CLIENTS, OF_SERVERS, all_forms
from harness.pooler import Pooler
from harness.system import eventually
from harness.wire import Closed, FakeServer, Message, copy_data, copy_done, error_fields, extended, query, sync

# Points are tried in so many lanes at a time, each a pool of its own with one server, at a host of its own.
LANES = 8

# What a victim says that waits for no answer.
GONE = "gone"


def ask(w):
    w.send_raw(query("victim"))


def ask_in_a_batch(w):
    w.send_raw(extended("victim") + sync())


def ask_in_a_transaction(w):
    w.send_raw(query("BEGIN"))
    w.recv_until("Z")
    ask(w)


def copy_in(w):
    w.send_raw(query("COPY t FROM STDIN"))
    w.recv_until("GE")
    w.send_raw(copy_data(b"data\n") + copy_done())


def copy_out(w):
    w.send_raw(query("COPY t TO STDOUT"))


def leave_in_a_transaction(w):
    w.send_raw(query("BEGIN"))
    w.recv_until("Z")
    return GONE


def leave_in_a_query(w):
    ask(w)
    return GONE


def end_a_session(w):
    ask(w)
    w.recv_until("Z")
    return GONE


def stream(w):
    w.send_raw(query("START_REPLICATION 0/0"))


# database: which kind of pool. phase: where the server slips. act: what the victim does to get it there. parameters:
# of the victim's. is_new: on a connection that is made for it.
Point = collections.namedtuple("Point", "phase act database parameters is_new", defaults=["plain", {}, False])

POINTS = {
    "on connecting": Point("connecting", ask, is_new=True),
    "instead of an answer to SSLRequest": Point("asked for TLS", ask, is_new=True),
    "behind the answer to SSLRequest": Point("behind the refusal of TLS", ask, is_new=True),
    "instead of authentication": Point("authentication", ask, is_new=True),
    "instead of the SASL challenge": Point("SASL challenge", ask, "sasl", is_new=True),
    "instead of the SASL verdict": Point("SASL verdict", ask, "sasl", is_new=True),
    "before the parameters": Point("parameters", ask, is_new=True),
    "behind the login": Point("behind the login", ask, is_new=True),
    "in the connect query": Point("query CONNECT", ask, "connect", is_new=True),
    "behind the connect query": Point("behind CONNECT", ask, "connect", is_new=True),
    "before the rows": Point("query victim", ask),
    "between the rows": Point("rows victim", ask),
    "behind the answer": Point("behind victim", ask),
    "in a transaction": Point("rows victim", ask_in_a_transaction),
    "in a batch": Point("batch", ask_in_a_batch),
    "in COPY in": Point("COPY in", copy_in),
    "in COPY out": Point("COPY out", copy_out),
    "in the switch of parameters": Point("batch set_config", ask, parameters={"application_name": "victim"}),
    "in the ROLLBACK": Point("query ROLLBACK", leave_in_a_transaction),
    "behind the ROLLBACK": Point("behind ROLLBACK", leave_in_a_transaction),
    "in what nobody waits for": Point("query victim", leave_in_a_query),
    "in the reset query": Point("query DISCARD", end_a_session, "session"),
    "behind the reset query": Point("behind DISCARD", end_a_session, "session"),
    "in the check query": Point("query CHECK", ask, "plain"),
    "behind the check query": Point("behind CHECK", ask, "plain"),
    "in a replication connection": Point("query START_REPLICATION", stream, "plain", {"replication": "true"}),
}
CHECKS = ("in the check query", "behind the check query")


class Lane:
    """A pool whose server slips once for each nonsense, and then does well."""

    def __init__(self, number):
        self.host = f"127.0.0.{10 + number}"
        self.number = number
        self.peers = []
        self.arm(None, None)

    def arm(self, phase, nonsense):
        self.phase, self.nonsense = phase, nonsense
        self.reached, self.go_on = threading.Event(), threading.Event()

    def slip(self, phase):
        if phase != self.phase or self.reached.is_set():
            return None
        self.reached.set()
        self.go_on.wait(10)
        return self.nonsense

    def play(self, peer):
        self.peers.append(peer)
        echo = Echo(peer, self.slip)
        if echo.log_in():
            echo.serve()

    def close_servers(self):
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
        self.peers.clear()

    def database(self, kind):
        return f"lane_{self.number}_{kind}"


class House:
    """The pooler and its servers: one process of either, for all points."""

    KINDS = {"plain": {"user": "app"}, "session": {"user": "app", "pool_mode": "session"},
             "sasl": {"user": "by_sasl", "password": "secret"}, "connect": {"user": "app", "connect_query": "CONNECT"}}

    def __init__(self, cluster):
        self.lanes = [Lane(i) for i in range(LANES)]
        self.fake = FakeServer(self.play, host="0.0.0.0")
        databases = {lane.database(kind): {"host": lane.host, "port": self.fake.port, "pool_size": 1, **entry}
                     for lane in self.lanes for kind, entry in self.KINDS.items()}
        self.pooler = Pooler(cluster, databases=databases, server_login_retry=0, breaker_failures=1000000,
                             server_down_action="wait", server_check_query="CHECK", log_connections=0,
                             log_disconnections=0, log_pooler_errors=0)

    def play(self, peer):
        host = peer.sock.getsockname()[0]
        next(lane for lane in self.lanes if lane.host == host).play(peer)

    def close(self):
        try:
            self.pooler.close()
        finally:
            self.fake.__exit__()
        assert self.fake.failures == []


@pytest.fixture(scope="module")
def house(cluster):
    house = House(cluster)
    yield house
    house.close()


# What a server says at its login is for everybody who waits for it, if it is an error.
REFUSED = "the bystander is refused"


def heard_by_victim(w):
    """Up to an answer, an error or the end of the connection; what is wrong with that, if anything."""
    heard = []
    try:
        while not heard or heard[-1].type not in "EZ":
            heard.append(w.recv())
    except Closed:
        pass
    except socket.timeout:
        return f"nothing more comes behind {heard[-3:]}"
    if any(b"bystander" in m.body for m in heard):
        return "what is another's"
    return None


def heard_by_bystander(w, mine):
    """What is wrong with the answer to what it has asked."""
    heard = []
    try:
        while not heard or heard[-1].type != "Z":
            heard.append(w.recv())
    except Closed:
        pass
    except socket.timeout:
        return f"the bystander hears nothing behind {heard[-3:]}"
    if heard and heard[-1].type == "E" and error_fields(heard[-1].body).get("S") == "FATAL":
        return REFUSED
    # A notice that it waits may come first.
    if [m for m in heard if m.type not in "NS"] == answer_to(mine):
        return None
    return f"the bystander hears {heard}"


def answer_to(sql):
    stream = COLUMN + row(sql.encode()) + complete() + ready()
    messages = []
    while stream:
        end = 1 + int.from_bytes(stream[1:5], "big")
        messages.append(Message(stream[:1].decode(), stream[5:end]))
        stream = stream[end:]
    return messages


class Trial:
    """One lane, one point, one nonsense after the other."""

    def __init__(self, house, lane, point):
        self.pooler, self.lane, self.point = house.pooler, lane, point
        # Where no server ever logs in nobody can be next.
        self.bystanders = lane.database("plain" if point.database == "sasl" else point.database)

    def run(self, nonsense):
        faults = {}
        self.recover()
        with self.pooler.wire("pgbouncer", "admin") as console, concurrent.futures.ThreadPoolExecutor(1) as threads:
            for what in nonsense:
                fault = self.try_one(what, console, threads)
                if fault:
                    self.recover()
                if fault and not (self.point.is_new and fault == REFUSED):
                    faults[what.name] = fault
        return faults

    def recover(self):
        """Until the pool has forgotten what its server has said at the login."""
        def is_served():
            with self.pooler.raw(10) as w:
                if w.try_login("app", self.bystanders) is not None:
                    return False
                w.send_raw(query("once more"))
                return heard_by_bystander(w, "once more") is None
        self.lane.arm(None, None)
        eventually(is_served, "the pool serves", 10, 0.01)

    def try_one(self, what, console, threads):
        lane = self.lane
        if self.point.is_new:
            lane.close_servers()
        lane.arm(self.point.phase, what)
        victim = threads.submit(self.be_victim)
        if not lane.reached.wait(10):
            return f"the server was never asked: {victim.result()}"
        with self.pooler.wire(self.bystanders, timeout=10) as bystander:
            mine = f"bystander {what.name}"
            bystander.send_raw(query(mine))
            # By the time that this is answered, the pooler has read the bystander's query, too.
            console.query("SHOW VERSION")
            lane.go_on.set()
            fault = heard_by_bystander(bystander, mine)
            if not fault:
                bystander.send_raw(query("bystander again"))
                fault = heard_by_bystander(bystander, "bystander again")
        # In session mode the victim may have had to wait for the bystander's end.
        return victim.result() or fault

    def be_victim(self):
        """Until the server has slipped; what is wrong with what came of it."""
        while True:
            with self.pooler.raw(10) as w:
                try:
                    error = w.try_login("app", self.lane.database(self.point.database), **self.point.parameters)
                    if error is None and self.point.act(w) == GONE:
                        return None
                    if error is None:
                        return heard_by_victim(w)
                except Closed:
                    pass
                except socket.timeout:
                    return "the victim waits"
            if self.lane.reached.is_set():
                return None
            time.sleep(0.01)


@pytest.mark.parametrize("point", POINTS)
def test_whatever_a_server_says_is_for_one_client_alone(house, is_long, point):
    nonsense = [*all_forms(OF_SERVERS, is_long), *(what for what in all_forms(OF_CLIENTS, False) if what.whole)]
    if not is_long:
        # Another fifth at each point.
        nonsense = nonsense[list(POINTS).index(point) % 5::5]
    if point in CHECKS:
        assert house.pooler.reload(server_check_delay=0).error is None
    with concurrent.futures.ThreadPoolExecutor(LANES) as threads:
        jobs = [threads.submit(Trial(house, lane, POINTS[point]).run, nonsense[i::LANES])
                for i, lane in enumerate(house.lanes)]
    faults = {name: fault for job in jobs for name, fault in job.result().items()}
    if point in CHECKS:
        assert house.pooler.reload(server_check_delay=30).error is None
    assert faults == {}
