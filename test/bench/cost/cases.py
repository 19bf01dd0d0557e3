"""
What is counted. One thread plays the clients and the server, and never is more than one thing under way: the pooler
goes through the same steps each time, so that what they cost can be counted instead of measured.
"""

import collections
import contextlib
import fcntl
import struct
import termios
import threading

from compare.logins import PASSWORD, SECRETS
from harness import wire
from harness.system import eventually

SQL = "SELECT abalance FROM pgbench_accounts WHERE aid = "
SIMPLE = wire.query(SQL + "123456;")
EXTENDED = wire.extended(SQL + "$1;", ["123456"]) + wire.sync()
PREPARE = wire.parse(SQL + "$1;", "P_0") + wire.sync()
PREPARED = wire.bind(["123456"], "P_0") + wire.execute() + wire.sync()
MARK = "this is a mark"

COLUMNS = wire.packet("T", struct.pack("!H", 1) + wire.cstring("abalance") + struct.pack("!IHIhiH", 0, 0, 23, 4, -1, 0))
ROW = wire.packet("D", struct.pack("!Hi", 1, 1) + b"1") + wire.packet("C", wire.cstring("SELECT 1"))
READY = wire.packet("Z", b"I")
ANSWERS = {
    "Q": COLUMNS + ROW + READY,
    "P": wire.packet("1"),
    "B": wire.packet("2"),
    "C": wire.packet("3"),
    "D": COLUMNS,
    "E": ROW,
    "S": READY,
}
PARAMETERS_OF_A_STATEMENT = wire.packet("t", struct.pack("!HI", 1, 23))


def answer(message):
    of_statement = message.type == "D" and message.body[:1] == b"S"
    return (PARAMETERS_OF_A_STATEMENT if of_statement else b"") + ANSWERS[message.type]


def wait_until_taken(client):
    """All that it has sent has been read: a Unix socket knows."""
    def waiting_bytes():
        return struct.unpack("i", fcntl.ioctl(client.sock, termios.TIOCOUTQ, bytes(4)))[0]
    eventually(lambda: waiting_bytes() == 0, "the pooler reads", every=0.0001)


class Stage:
    """A pooler, the only server of its only pool, and the clients that log in. The first one only marks."""

    def __init__(self, pooler, listener, stack):
        self.pooler, self.stack = pooler, stack
        greeter = threading.Thread(target=self._greet_server, args=[listener], daemon=True)
        greeter.start()
        self.marker = self.log_in(pooler.unix_socket)
        greeter.join(30)

    def _greet_server(self, listener):
        sock, _ = listener.accept()
        sock.settimeout(30)
        self.server = self.stack.enter_context(wire.Peer(sock))
        self.server.read_startup()
        self.server.welcome()

    def log_in(self, address=None):
        client = self.stack.enter_context(wire.Wire(address or ("127.0.0.1", self.pooler.port)))
        return client.login("app", "app", PASSWORD)

    def hear(self):
        """The request that the server gets."""
        return self.server.recv_until("QS")

    def reply(self, request):
        self.server.send_raw(b"".join(answer(message) for message in request))

    def ask(self, client, request):
        client.send_raw(request)
        self.reply(self.hear())
        assert client.result().error is None

    def mark_begin(self):
        self.ask(self.marker, wire.query(MARK))

    def mark_end(self):
        """Once the pooler has read it: the server may be another's."""
        self.marker.send_raw(wire.query(MARK))
        wait_until_taken(self.marker)


def asking(request, first=None):
    """A client and its server, again and again."""
    def begin(stage):
        client = stage.log_in()
        if first is not None:
            stage.ask(client, first)
        return lambda: stage.ask(client, request)
    return begin


def queueing(stage):
    """Two clients and one server: each always asks before the other has its answer."""
    clients = collections.deque(stage.log_in(stage.pooler.unix_socket) for _ in range(2))
    clients[0].send_raw(SIMPLE)
    request = stage.hear()

    def once():
        clients[1].send_raw(SIMPLE)
        wait_until_taken(clients[1])
        stage.reply(request)
        assert clients[0].result().error is None
        stage.hear()
        clients.rotate()
    return once


def logging_in(stage):
    """From connect() until the pooler has closed the connection."""
    def once():
        with wire.Wire(("127.0.0.1", stage.pooler.port)) as client:
            client.login("app", "app", PASSWORD)
            client.send("X")
            assert client.is_closed()
    return once


# name: in the budget and for --cases. begin(stage): makes ready, and returns what does it once. times: how often the
# longer run does it more often than the shorter one. settings: of the pooler.
Case = collections.namedtuple("Case", "name begin times settings")


def login(method):
    return Case(f"login-{method}", logging_in, 250,
                {"auth_type": method, "userlist": {"app": SECRETS[method]()}})


CASES = [
    Case("simple", asking(SIMPLE), 500, {}),
    Case("extended", asking(EXTENDED), 500, {}),
    Case("prepared", asking(PREPARED, PREPARE), 500, {}),
    Case("waiting", queueing, 500, {}),
    *(login(method) for method in SECRETS),
]


def play(case, pooler, listener, times):
    """To the pooler's end, which comes before that of the connections: how many of these it sees would be chance."""
    with contextlib.ExitStack() as stack:
        stage = Stage(pooler, listener, stack)
        stage.mark_begin()
        once = case.begin(stage)
        for _ in range(times):
            once()
        stage.mark_end()
        pooler.stop()
