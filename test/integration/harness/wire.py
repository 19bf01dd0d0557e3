"""
PostgreSQL's protocol by hand: a client that says exactly what a test wants said, and a server that does.

Messages are (type, body): type is a one-byte string, body what follows the length.
"""

import base64
import collections
import contextlib
import hashlib
import hmac
import os
import socket
import struct
import threading

from .system import PATIENCE

Message = collections.namedtuple("Message", "type body")
Column = collections.namedtuple("Column", "name oid size format")

PROTOCOL_3_0 = 3 << 16
SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104
CANCEL_REQUEST = 80877102


class Closed(Exception):
    """The peer closed the connection."""


def cstring(text):
    return (text if isinstance(text, bytes) else text.encode()) + b"\0"


def packet(kind, body=b""):
    """A message on the wire; without a type (b"") as the startup packet is."""
    return kind.encode("latin-1") + struct.pack("!I", len(body) + 4) + body


def startup_packet(parameters, version=PROTOCOL_3_0):
    body = b"".join(cstring(k) + cstring(v) for k, v in parameters.items())
    return packet("", struct.pack("!I", version) + body + b"\0")


# Builders of the frontend's messages, as bytes on the wire: concatenated they are a pipeline.

def query(sql):
    return packet("Q", cstring(sql))


def parse(sql, name="", types=()):
    return packet("P", cstring(name) + cstring(sql) + struct.pack(f"!H{len(types)}I", len(types), *types))


def bind(values=(), name="", portal="", formats=()):
    """formats: of the columns of the result, 1 for binary; one for all, or one for each."""
    body = cstring(portal) + cstring(name) + struct.pack("!HH", 0, len(values))
    for value in values:
        data = None if value is None else value if isinstance(value, bytes) else str(value).encode()
        body += struct.pack("!i", -1) if data is None else struct.pack("!i", len(data)) + data
    return packet("B", body + struct.pack(f"!H{len(formats)}H", len(formats), *formats))


def describe(kind="P", name=""):
    return packet("D", kind.encode() + cstring(name))


def execute(portal="", rows=0):
    return packet("E", cstring(portal) + struct.pack("!I", rows))


def close(kind="S", name=""):
    return packet("C", kind.encode() + cstring(name))


def sync():
    return packet("S")


def flush():
    return packet("H")


def copy_data(data):
    return packet("d", data)


def copy_done():
    return packet("c")


def copy_fail(reason=""):
    return packet("f", cstring(reason))


def extended(sql, values=()):
    """One statement in the extended protocol, without the Sync."""
    return parse(sql) + bind(values) + describe() + execute()


def error_fields(body):
    """The fields of an ErrorResponse or NoticeResponse by their letter: S, V, C, M, D, H, ..."""
    return {field[:1].decode(): field[1:].decode(errors="replace") for field in body.split(b"\0") if field}


class Result:
    """What came back up to ReadyForQuery; values in binary stay bytes."""

    def __init__(self, messages):
        self.messages = messages
        self.types = "".join(m.type for m in messages)
        self.columns, self.rows, self.tags, self.errors, self.notices, self.parameters = [], [], [], [], [], {}
        self.status = None
        for kind, body in messages:
            if kind == "T":
                self.columns = columns_of(body)
            elif kind == "D":
                self.rows.append(values_of(body, [c.format for c in self.columns]))
            elif kind == "C":
                self.tags.append(body[:-1].decode())
            elif kind == "E":
                self.errors.append(error_fields(body))
            elif kind == "N":
                self.notices.append(error_fields(body))
            elif kind == "S":
                name, value = body[:-1].split(b"\0")
                self.parameters[name.decode()] = value.decode()
            elif kind == "Z":
                self.status = body.decode()

    @property
    def error(self):
        return self.errors[0] if self.errors else None

    @property
    def value(self):
        assert self.error is None, self.error
        return self.rows[0][0]

    def dicts(self):
        names = [c.name for c in self.columns]
        return [dict(zip(names, row)) for row in self.rows]


def columns_of(body):
    columns, at = [], 2
    for _ in range(struct.unpack_from("!H", body)[0]):
        end = body.index(b"\0", at)
        _, _, oid, size, _, fmt = struct.unpack_from("!IHIhiH", body, end + 1)
        columns.append(Column(body[at:end].decode(), oid, size, fmt))
        at = end + 19
    return columns


def values_of(body, formats=()):
    """The values of a row: text but for columns whose format is 1."""
    values, at = [], 2
    for i in range(struct.unpack_from("!H", body)[0]):
        size, = struct.unpack_from("!i", body, at)
        at += 4
        data = body[at:at + max(size, 0)]
        values.append(None if size < 0 else data if i < len(formats) and formats[i] else data.decode())
        at += max(size, 0)
    return values


class Stream:
    """Messages over one socket, of either side."""

    def __init__(self, sock):
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.buffer = bytearray()
        self.is_inside = False  # a message has begun and has not ended

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.close()

    def reset(self):
        """Closes so that the peer gets an RST: how a killed machine looks."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def send_raw(self, data):
        self.sock.sendall(data)

    def send(self, kind, body=b""):
        self.send_raw(packet(kind, body))

    def read(self, n):
        while len(self.buffer) < n:
            try:
                data = self.sock.recv(max(65536, n - len(self.buffer)))
            except ConnectionError:
                data = b""
            if not data:
                raise Closed
            self.buffer += data
        data = bytes(self.buffer[:n])
        del self.buffer[:n]
        return data

    def recv(self):
        kind = self.read(1).decode("latin-1")
        self.is_inside = True
        size, = struct.unpack("!I", self.read(4))
        body = self.read(size - 4)
        self.is_inside = False
        return Message(kind, body)

    def recv_until(self, kinds):
        """All messages up to and with the first of one of these types."""
        messages = [self.recv()]
        while messages[-1].type not in kinds:
            messages.append(self.recv())
        return messages

    def drain(self):
        """All messages until the peer closes."""
        messages = []
        with contextlib.suppress(Closed):
            while True:
                messages.append(self.recv())
        return messages


class Attempt:
    """How a login went: the codes of the Authentication messages, the types of all, the error or None."""

    def __init__(self, messages, error):
        self.codes = [struct.unpack_from("!I", m.body)[0] for m in messages if m.type == "R"]
        self.types = "".join(m.type for m in messages)
        self.error = error

    @property
    def outcome(self):
        """"in", or the SQLSTATE of the refusal."""
        return self.error["C"] if self.error else "in"

    def looks(self, user):
        """All that a client sees of a refusal, its own name aside."""
        error = {k: v.replace(user, "?") for k, v in (self.error or {}).items()}
        return self.codes, self.types, error


class Wire(Stream):
    """A client. Its timeout guards against hanging: socket.timeout fails the test."""

    def __init__(self, address, timeout=30, source=None):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        sock = socket.socket(family)
        sock.settimeout(timeout * PATIENCE)
        if source is not None:
            sock.bind((source, 0))
        sock.connect(address)
        super().__init__(sock)
        self.address = address
        self.timeout = timeout
        self.parameters = {}
        self.key = None
        self.negotiated = None

    # Login

    def startup(self, parameters, version=PROTOCOL_3_0):
        self.send_raw(startup_packet(parameters, version))

    def try_login(self, user, database, password=None, version=PROTOCOL_3_0, **parameters):
        """Logs in; the fields of the error, or None when that went well."""
        self.startup({"user": user, "database": database, **parameters}, version)
        return self.finish_login(user, password)

    def finish_login(self, user, password=None):
        scram = None
        while True:
            kind, body = self.recv()
            if kind == "E":
                return error_fields(body)
            if kind == "Z":
                return None
            if kind == "S":
                name, value = body[:-1].split(b"\0")
                self.parameters[name.decode()] = value.decode()
            elif kind == "K":
                self.key = body
            elif kind == "v":
                self.negotiated = body
            elif kind == "R":
                method, = struct.unpack_from("!I", body)
                if method == 3:
                    self.send("p", cstring(password or ""))
                elif method == 5:
                    inner = hashlib.md5((password or "").encode() + user.encode()).hexdigest()
                    self.send("p", cstring("md5" + hashlib.md5(inner.encode() + body[4:8]).hexdigest()))
                elif method == 10:
                    scram = Scram(password or "")
                    first = scram.first()
                    self.send("p", cstring("SCRAM-SHA-256") + struct.pack("!I", len(first)) + first)
                elif method == 11:
                    self.send("p", scram.final(body[4:]))
                elif method == 12:
                    scram.verify(body[4:])

    def attempt(self, user, database, password=None, **parameters):
        """A login with everything that is said to it on the way."""
        messages, recv = [], self.recv

        def recording():
            messages.append(recv())
            return messages[-1]

        self.recv = recording
        try:
            error = self.try_login(user, database, password, **parameters)
        finally:
            self.recv = recv
        return Attempt(messages, error)

    def login(self, user, database, password=None, **parameters):
        error = self.try_login(user, database, password, **parameters)
        assert error is None, error
        return self

    # Queries

    def result(self):
        """Up to ReadyForQuery; when the connection is closed before that, what came until then."""
        messages = []
        with contextlib.suppress(Closed):
            while True:
                messages.append(self.recv())
                if messages[-1].type == "Z":
                    break
        return Result(messages)

    def query(self, sql):
        self.send_raw(query(sql))
        return self.result()

    def value(self, sql):
        """The first value of a query that must go well."""
        return self.query(sql).value

    def extended(self, sql, values=()):
        return self.say(extended(sql, values))

    def say(self, *messages):
        """These messages in one write and a Sync behind them; what comes back."""
        self.send_raw(b"".join(messages) + sync())
        return self.result()

    def backend(self):
        """The process id of the server we are talking to."""
        return int(self.value("SELECT pg_backend_pid()"))

    def cancel(self):
        """A CancelRequest for this connection, on another; back when that is closed."""
        with Wire(self.address, self.timeout) as other:
            other.send_raw(packet("", struct.pack("!I", CANCEL_REQUEST) + self.key))
            other.drain()

    def is_closed(self):
        """True once the peer has closed, whatever it said before."""
        self.drain()
        return True


class Scram:
    """SCRAM-SHA-256, the client's side (RFC 5802); bound to a channel by a header "p=..." and its data."""

    def __init__(self, password, header="n,,", binding=b""):
        self.password = password.encode()
        self.header = header
        self.binding = base64.b64encode(header.encode() + binding).decode()
        self.nonce = base64.b64encode(os.urandom(18)).decode()
        self.auth_message = b""
        self.salted = b""

    def first(self):
        self.bare = f"n=,r={self.nonce}"
        return (self.header + self.bare).encode()

    def final(self, server_first):
        fields = dict(f.split("=", 1) for f in server_first.decode().split(","))
        assert fields["r"].startswith(self.nonce)
        self.salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(fields["s"]), int(fields["i"]))
        without_proof = f"c={self.binding},r={fields['r']}"
        self.auth_message = f"{self.bare},{server_first.decode()},{without_proof}".encode()
        client_key = self.mac(self.salted, b"Client Key")
        signature = self.mac(hashlib.sha256(client_key).digest(), self.auth_message)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def verify(self, server_final):
        expected = self.mac(self.mac(self.salted, b"Server Key"), self.auth_message)
        assert server_final == b"v=" + base64.b64encode(expected), "the server does not know the password"

    @staticmethod
    def mac(key, data):
        return hmac.new(key, data, hashlib.sha256).digest()


def md5_secret(user, password):
    return "md5" + hashlib.md5(password.encode() + user.encode()).hexdigest()


def scram_secret(password, iterations=4096):
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(Scram.mac(salted, b"Client Key")).digest()
    b64 = lambda data: base64.b64encode(data).decode()  # noqa: E731
    return f"SCRAM-SHA-256${iterations}:{b64(salt)}${b64(stored)}:{b64(Scram.mac(salted, b'Server Key'))}"


# The other side

PARAMETERS = {
    "server_version": "15.0", "server_encoding": "UTF8", "client_encoding": "UTF8", "DateStyle": "ISO, MDY",
    "TimeZone": "UTC", "standard_conforming_strings": "on", "integer_datetimes": "on", "is_superuser": "off",
    "IntervalStyle": "postgres", "application_name": "",
}


class Peer(Stream):
    """One connection to a fake server, for its script to play."""

    def read_startup(self):
        """The startup packet's parameters; SSLRequest and GSSENCRequest are refused on the way."""
        while True:
            size, = struct.unpack("!I", self.read(4))
            body = self.read(size - 4)
            code, = struct.unpack_from("!I", body)
            if code in (SSL_REQUEST, GSSENC_REQUEST):
                self.send_raw(b"N")
                continue
            if code == CANCEL_REQUEST:
                return {"cancel": body[4:]}
            parts = body[4:-2].split(b"\0")
            return {k.decode(): v.decode() for k, v in zip(parts[::2], parts[1::2])}

    def welcome(self, **parameters):
        """Everything from AuthenticationOk to the first ReadyForQuery."""
        self.send("R", struct.pack("!I", 0))
        for name, value in {**PARAMETERS, **parameters}.items():
            self.send("S", cstring(name) + cstring(value))
        self.send("K", struct.pack("!II", 4711, 4712))
        self.ready()

    def ready(self, status="I"):
        self.send("Z", status.encode())

    def error(self, code="XX000", message="made up", severity="ERROR"):
        self.send("E", b"".join([b"S", cstring(severity), b"V", cstring(severity), b"C", cstring(code), b"M",
                                 cstring(message), b"\0"]))

    def serve(self):
        """Answers every simple query and every Sync with nothing but success, until the client goes."""
        while True:
            kind, _ = self.recv()
            if kind == "Q":
                self.send("C", cstring("SELECT 0"))
            if kind in "QS":
                self.ready()
            if kind == "X":
                return


class Listener:
    """Listens on a port of a TCP address; _accept() runs in a thread, and hang_up() ends what has come of it."""

    def __init__(self, host, port=0):
        self.listener = socket.create_server((host, port),
                                             family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.host, self.port = self.listener.getsockname()[:2]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def entry(self):
        """What a [databases] line says to reach it."""
        return {"host": self.host, "port": self.port}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A thread blocked in accept() keeps the listening socket alive past close().
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.hang_up()


class FakeServer(Listener):
    """A server that misbehaves: script(peer) is called, in a thread, for each connection it gets."""

    def __init__(self, script, host="127.0.0.1", port=0):
        self.script = script
        self.peers = []
        self.failures = []
        super().__init__(host, port)

    def hang_up(self):
        for peer in self.peers:
            peer.close()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.settimeout(120)
            self.peers.append(Peer(sock))
            threading.Thread(target=self._play, args=[self.peers[-1]], daemon=True).start()

    def _play(self, peer):
        try:
            self.script(peer)
        except (Closed, OSError):
            pass
        except Exception as error:  # the test looks at it: an exception in a thread fails nothing by itself
            self.failures.append(error)
        finally:
            peer.close()
