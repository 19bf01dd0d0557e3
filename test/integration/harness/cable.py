"""
A cable between the pooler and a real PostgreSQL. Bytes pass unchanged, until something is done to a connection: by the
test, or by a trap, which does it at the moment when certain bytes come by.
"""

import collections
import contextlib
import socket
import struct
import threading

from .wire import Listener

TO_SERVER, TO_POOLER = "to the server", "to the pooler"

# keep: so many bytes of the pattern pass before it happens.
Trap = collections.namedtuple("Trap", "towards pattern keep fault")


class Strand:
    """One connection, and what can be done to it."""

    def __init__(self, cable, near, far):
        self.cable, self.near, self.far = cable, near, far
        # What PostgreSQL takes for the client's; none over a Unix socket.
        self.port = far.getsockname()[1] if far.family == socket.AF_INET else None
        self.going = threading.Event()
        self.going.set()
        self.seen = {TO_SERVER: b"", TO_POOLER: b""}
        self.running = 2
        self.is_over = False
        self.lock = threading.Lock()
        for args in ((near, far, TO_SERVER), (far, near, TO_POOLER)):
            threading.Thread(target=self._carry, args=args, daemon=True).start()

    # Faults

    def cut(self):
        """As a process that ends: whoever is at the other end hears of it."""
        self._shut()

    def reset(self):
        """As a machine that has forgotten the connection: the pooler gets an RST."""
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._shut(socket.SHUT_RD)

    def silence(self):
        """Nothing passes any more, and nobody is told, until the cable is mended."""
        self.going.clear()

    # Bytes

    def _carry(self, source, sink, towards):
        try:
            while data := source.recv(65536):
                self._pass(sink, self._spring(sink, towards, data))
            self.going.wait()
            # Of one that is reset nothing more is to be heard than that.
            if not self.is_over:
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            self._shut()
        with self.lock:
            self.running -= 1
            is_last = self.running == 0
        if is_last:
            self.near.close()
            self.far.close()

    def _pass(self, sink, data):
        for piece in self.cable.pieces(data):
            self.going.wait()
            if not self.is_over:
                sink.sendall(piece)

    def _spring(self, sink, towards, data):
        """What is left to pass when the trap, if there is one for these bytes, has sprung."""
        seen = self.seen[towards]
        trap, at = self.cable.take(towards, seen, data)
        self.seen[towards] = (seen + data)[-64:]
        if trap is None:
            return data
        self._pass(sink, data[:at])
        trap.fault(self)
        return data[at:]

    def _shut(self, how_near=socket.SHUT_RDWR):
        self.is_over = True
        self.going.set()
        for sock, how in ((self.near, how_near), (self.far, socket.SHUT_RDWR)):
            with contextlib.suppress(OSError):
                sock.shutdown(how)


def whole(data):
    return [data]


class Cable(Listener):
    """
    target: of PostgreSQL, a TCP address or the path of a Unix socket. pieces(data): in what portions bytes pass, each when
    it is made. Faults act on strands; mend() undoes silence.
    """

    def __init__(self, target, host="127.0.0.1", pieces=whole):
        self.target, self.pieces = target, pieces
        self.strands, self.traps = [], []
        self.lock = threading.Lock()
        super().__init__(host)

    def hang_up(self):
        for strand in self.strands:
            strand.cut()

    def trap(self, towards, pattern, fault, keep=0):
        """fault(strand) is called once, when the pattern comes by; the bytes from there on have not passed yet."""
        with self.lock:
            self.traps.append(Trap(towards, pattern, keep, fault))

    def take(self, towards, seen, data):
        """The trap that these bytes spring behind those seen before, gone then, and how many it lets pass; or None."""
        with self.lock:
            for trap in [trap for trap in self.traps if trap.towards == towards]:
                at = (seen + data).find(trap.pattern, max(len(seen) - len(trap.pattern) + 1, 0))
                if at >= 0:
                    self.traps.remove(trap)
                    return trap, max(at + trap.keep - len(seen), 0)
        return None, 0

    def mend(self):
        for strand in self.strands:
            strand.going.set()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = self._connect()
            except OSError:
                near.close()
                continue
            for sock in (near, far):
                if sock.family != socket.AF_UNIX:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.strands.append(Strand(self, near, far))

    def _connect(self):
        far = socket.socket(socket.AF_UNIX if isinstance(self.target, str) else socket.AF_INET)
        try:
            far.connect(self.target)
        except OSError:
            far.close()
            raise
        return far
