"""
A server that answers each query with its own text, and at one point of the protocol says something else besides.

What it says there goes out in one write with what comes before and behind it, so that whoever reads it has all of it
at hand.
"""

import struct

from .wire import CANCEL_REQUEST, GSSENC_REQUEST, PARAMETERS, SSL_REQUEST, Closed, cstring, packet

COLUMN = packet("T", struct.pack("!H", 1) + cstring("echo") + struct.pack("!IHIhiH", 0, 0, 25, -1, -1, 0))


def row(value):
    return packet("D", struct.pack("!Hi", 1, len(value)) + value)


def complete(tag="SELECT 1"):
    return packet("C", cstring(tag))


def ready(status="I"):
    return packet("Z", status.encode())


class Echo:
    """
    One connection. slip(phase) is asked at every phase and says what there is to be said, as a Nonsense, or None.
    """

    def __init__(self, peer, slip):
        self.peer = peer
        self.slip = slip
        self.out = b""
        self.status = "I"
        self.statements, self.portals = {}, {}

    def flush(self):
        out, self.out = self.out, b""
        self.peer.send_raw(out)

    def at(self, phase):
        """The place for a slip."""
        nonsense = self.slip(phase)
        if nonsense is None:
            return
        self.out += nonsense.data
        if nonsense.whole and not nonsense.impossible:
            return
        self.flush()
        if nonsense.impossible:
            # Nobody may wait for what cannot come.
            self.peer.drain()
        raise Closed

    # Login

    def log_in(self):
        """False: it was a cancel request."""
        self.at("connecting")
        if self.out:
            self.flush()
        while True:
            size, = struct.unpack("!I", self.peer.read(4))
            body = self.peer.read(size - 4)
            code, = struct.unpack_from("!I", body)
            if code == CANCEL_REQUEST:
                return False
            if code not in (SSL_REQUEST, GSSENC_REQUEST):
                break
            self.at("asked for TLS")
            self.out += b"N"
            self.at("behind the refusal of TLS")
            self.flush()
        self.authenticate(dict(zip(body[4:-2].split(b"\0")[::2], body[4:-2].split(b"\0")[1::2])))
        return True

    def authenticate(self, parameters):
        self.at("authentication")
        if parameters[b"user"] == b"by_sasl":
            self.out += packet("R", struct.pack("!I", 10) + cstring("SCRAM-SHA-256") + b"\0")
            self.flush()
            nonce = self.peer.recv().body.rpartition(b"r=")[2]
            self.at("SASL challenge")
            self.out += packet("R", struct.pack("!I", 11) + b"r=" + nonce + b"more,s=c2FsdHNhbHQ=,i=1")
            self.flush()
            self.peer.recv()
            # It does not know the password, and cannot go on.
            self.at("SASL verdict")
            self.out += packet("E", b"SFATAL\0C28P01\0Mno\0\0")
            self.flush()
            raise Closed
        self.out += packet("R", struct.pack("!I", 0))
        self.at("parameters")
        for name, value in PARAMETERS.items():
            self.out += packet("S", cstring(name) + cstring(value))
        self.out += packet("K", struct.pack("!II", 4711, 4712)) + ready()
        self.at("behind the login")
        self.flush()

    # Queries

    def serve(self):
        while True:
            kind, body = self.peer.recv()
            if kind == "X":
                return
            getattr(self, "on_" + kind)(body)
            if kind in "QSH":
                self.flush()

    def on_Q(self, body):  # noqa: N802
        sql = body[:-1]
        first = sql.split(b" ")[0].decode()
        self.status = {"BEGIN": "T", "COMMIT": "I", "ROLLBACK": "I"}.get(first, self.status)
        self.at(f"query {first}")
        if first == "COPY":
            self.copy(sql)
        elif first in ("BEGIN", "COMMIT", "ROLLBACK", "DISCARD", "CONNECT", "CHECK", "START_REPLICATION"):
            self.out += complete(first)
        else:
            self.out += COLUMN + row(sql)
            self.at(f"rows {first}")
            self.out += complete()
        self.out += ready(self.status)
        self.at(f"behind {first}")

    def copy(self, sql):
        if b"STDIN" in sql:
            self.out += packet("G", struct.pack("!bH", 0, 0))
            self.flush()
            while True:
                kind = self.peer.recv().type
                self.at("COPY in")
                if kind in "cf":
                    break
        else:
            self.out += packet("H", struct.pack("!bH", 0, 0)) + packet("d", b"data\n")
            self.at("COPY out")
            self.out += packet("d", b"data\n") + packet("c")
        self.out += complete("COPY 1")

    # The extended protocol: answers wait for the Sync or Flush

    def on_P(self, body):  # noqa: N802
        name, sql = body.split(b"\0")[:2]
        self.statements[name] = sql
        self.out += packet("1")

    def on_B(self, body):  # noqa: N802
        portal, name, rest = body.split(b"\0", 2)
        sql = self.statements.get(name, b"")
        self.portals[portal] = last_value(rest) if sql.startswith(b"SELECT pg_catalog.set_config") else sql
        self.at("batch set_config" if sql.startswith(b"SELECT pg_catalog") else "batch")
        self.out += packet("2")

    def on_D(self, body):  # noqa: N802
        self.out += packet("t", struct.pack("!H", 0)) if body[:1] == b"S" else b""
        self.out += COLUMN

    def on_E(self, body):  # noqa: N802
        self.out += row(self.portals[body.partition(b"\0")[0]]) + complete()

    def on_C(self, _):  # noqa: N802
        self.out += packet("3")

    def on_H(self, _):  # noqa: N802
        pass

    def on_S(self, _):  # noqa: N802
        self.out += ready(self.status)

    def on_d(self, _):  # noqa: N802
        pass

    on_c = on_f = on_d


def last_value(rest):
    """The last parameter of a Bind of text values."""
    at, value = 4, b""
    for _ in range(struct.unpack_from("!H", rest, 2)[0]):
        size, = struct.unpack_from("!i", rest, at)
        value = rest[at + 4:at + 4 + max(size, 0)]
        at += 4 + max(size, 0)
    return value
