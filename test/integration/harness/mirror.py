"""
Sessions in two worlds: what a client says goes to PostgreSQL itself and through the pooler, and what comes back has
to be the same, message by message.

A message is a tuple, the name of its builder in harness/wire.py and the builder's arguments, so that a step that
went wrong can be read, cut down and said again. A step is what one client writes at once.
"""

import collections
import socket
import time

from . import wire
from .wire import Closed, Message, error_fields

Step = collections.namedtuple("Step", "client messages cuts")

INTERNAL_NAMES = b"pgsluice_"

# Which replies end the answer to a message; ReadyForQuery where none is due ends it too, as something to look at.
ENDS = {"parse": "1E", "bind": "2E", "describe": "TnE", "execute": "CIsEG", "close": "3E"}

# Where an error was raised in the server's own source: an error that the pooler makes has no such place.
SOURCE_FIELDS = "FLR"


def encode(message):
    return getattr(wire, message[0])(*message[1:])


def show(message):
    text = f"{message[0]}({', '.join(map(repr, message[1:]))})"
    return text if len(text) < 200 else f"{text[:150]}... ({len(text)} characters)"


def show_reply(reply):
    if reply.type in "EN":
        return f"{reply.type} {error_fields(reply.body)}"
    body = repr(reply.body)
    return f"{reply.type} {body if len(body) < 200 else body[:200] + '...'}"


def comparable(reply):
    """What of a reply has to be the same in both worlds."""
    if reply.type not in "EN":
        return reply
    return reply.type, {k: v for k, v in error_fields(reply.body).items() if k not in SOURCE_FIELDS}


def kind_of(reply):
    """What to call two differences the same by."""
    return reply.type, error_fields(reply.body)["C"] if reply.type in "EN" else None


def is_late_refusal(pooled, direct):
    """
    In a failed transaction a server refuses a statement that it has not seen yet before anybody has counted the
    parameters. Either way the Bind has failed, and so has all up to the Sync.
    """
    if (pooled.type, direct.type) != ("E", "E"):
        return False
    return (error_fields(pooled.body)["C"], error_fields(direct.body)["C"]) == ("25P02", "08P01")


class Difference(Exception):
    """The two worlds are not the same."""

    def __init__(self, why, messages=(), pooled=(), direct=(), at=None):
        super().__init__(why)
        self.why, self.messages, self.pooled, self.direct = why, messages, pooled, direct
        self.kind = why if at is None else (kind_of(pooled[at]), kind_of(direct[at]))

    def __str__(self):
        return "\n".join([self.why, "said:", *(f"    {show(m)}" for m in self.messages),
                          "PostgreSQL:", *(f"    {show_reply(r)}" for r in self.direct),
                          "pooler:", *(f"    {show_reply(r)}" for r in self.pooled)])


class Side:
    """One of the two connections of a client, and where in the protocol it is."""

    def __init__(self, w):
        self.w = w
        self.status = "I"
        self.is_skipping = False  # an error: nothing is answered up to the Sync

    def say(self, data, cuts=()):
        at = 0
        for cut in sorted(cuts):
            self.w.send_raw(data[at:cut])
            at = cut
            time.sleep(0.0002)  # so that the other side may read what there is
        self.w.send_raw(data[at:])

    def replies(self, messages):
        """All that comes back, without waiting for more than is due. "closed" and "silent" are the last, if at all."""
        got = []
        try:
            self._collect(messages, got)
        except Closed:
            got.append(Message("closed", b""))
        except socket.timeout:
            got.append(Message("silent", b""))
        return got

    def _collect(self, messages, got):
        is_copying = False
        for name, *_ in messages:
            if name == "sync" or name == "query" and not self.is_skipping:
                got += self.w.recv_until("Z")
                self.is_skipping = is_copying = False
                self.status = got[-1].body.decode()
                continue
            if is_copying and name in ("copy_done", "copy_fail"):
                ends = "CE"
            elif self.is_skipping or name not in ENDS:
                continue
            else:
                ends = ENDS[name]
            got += self.w.recv_until(ends + "Z")
            is_copying = got[-1].type == "G"
            self.is_skipping = got[-1].type == "E"
            if got[-1].type == "Z":
                return


class Mirror:
    """One client in both worlds."""

    def __init__(self, pooled, direct):
        self.pooled, self.direct = Side(pooled), Side(direct)
        self.is_open = False  # something has been said that no Sync has ended: a Query does not
        self.has_skipped = False  # some of what was said last may have been skipped behind an error

    def close(self):
        self.pooled.w.close()
        self.direct.w.close()

    @property
    def status(self):
        return self.direct.status

    @property
    def holds_server(self):
        return self.is_open or self.status != "I"

    def step(self, messages, cuts=()):
        """Says it on both sides; raises a Difference."""
        if not messages:
            return
        data = b"".join(encode(m) for m in messages)
        self.direct.say(data)
        self.pooled.say(data, [cut % len(data) for cut in cuts])
        was_skipping = self.direct.is_skipping
        direct, pooled = self.direct.replies(messages), self.pooled.replies(messages)
        self.has_skipped = was_skipping or any(reply.type == "E" for reply in direct)
        for name, *_ in messages:
            self.is_open = name != "sync" and (self.is_open or name in ENDS or name == "flush")
        self._compare(messages, pooled, direct)

    @staticmethod
    def _compare(messages, pooled, direct):
        if direct and direct[-1].type in ("silent", "closed"):
            raise AssertionError(f"nothing to compare with: {Difference('', messages, pooled, direct)}")
        for reply in pooled:
            if INTERNAL_NAMES in reply.body:
                raise Difference("an internal name is seen", messages, pooled, direct)
        for i, (a, b) in enumerate(zip(pooled, direct)):
            if comparable(a) != comparable(b) and not is_late_refusal(a, b):
                raise Difference(f"reply {i} differs: {show_reply(a)}\n instead of {show_reply(b)}", messages, pooled,
                                 direct, at=i)
        if len(pooled) != len(direct):
            raise Difference(f"{len(pooled)} replies instead of {len(direct)}", messages, pooled, direct)


def smaller(steps, fails, seconds):
    """
    Fewer and shorter steps for which fails(steps) still holds, as far as can be found in so many seconds: first
    whole runs of steps are left out, then single messages.
    """
    end = time.monotonic() + seconds

    def left_out(items, rebuild):
        size = max(len(items) // 2, 1)
        while True:
            at = 0
            while at < len(items) and time.monotonic() < end:
                fewer = items[:at] + items[at + size:]
                if fails(rebuild(fewer)):
                    items = fewer
                else:
                    at += size
            if size == 1 or time.monotonic() >= end:
                return items
            size //= 2

    steps = left_out(steps, lambda fewer: fewer)
    for i in range(len(steps) - 1, -1, -1):
        messages = left_out(list(steps[i].messages), lambda fewer: steps[:i] + [steps[i]._replace(messages=fewer)] +
                            steps[i + 1:])
        steps[i] = steps[i]._replace(messages=messages)
    return steps
