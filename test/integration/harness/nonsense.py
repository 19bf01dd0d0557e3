"""
Messages as they should be and as they should not: each type in every form that a peer may give it.

The forms of one message go from well formed to absurd, so that whoever reads lengths, strings and counts has something
to get wrong.
"""

import collections
import struct

from .wire import cstring, packet

# whole: as many bytes come as the header announces. impossible: no message has such a length.
Nonsense = collections.namedtuple("Nonsense", "name data whole impossible", defaults=[True, False])

# A good body of each message, by its type.
OF_CLIENTS = {
    "Q": cstring("SELECT 'asked'"),
    "P": cstring("matrix") + cstring("SELECT $1::text") + struct.pack("!HI", 1, 25),
    "B": cstring("") + cstring("matrix") + struct.pack("!HHi", 0, 1, 2) + b"ab" + struct.pack("!H", 0),
    "D": b"S" + cstring("matrix"),
    "E": cstring("") + struct.pack("!I", 0),
    "C": b"S" + cstring("matrix"),
    "H": b"",
    "S": b"",
    "F": struct.pack("!IHHiiH", 1598, 0, 0, 0, 0, 0),
    "d": b"data\n",
    "c": b"",
    "f": cstring("no more"),
    "p": cstring("password"),
    "X": b"",
}

OF_SERVERS = {
    "1": b"", "2": b"", "3": b"", "n": b"", "s": b"", "I": b"", "c": b"",
    "T": struct.pack("!H", 1) + cstring("poison") + struct.pack("!IHIhiH", 0, 0, 25, -1, -1, 0),
    "t": struct.pack("!HI", 1, 25),
    "C": cstring("SELECT 1"),
    "D": struct.pack("!Hi", 1, 6) + b"poison",
    "V": struct.pack("!i", 6) + b"poison",
    "H": struct.pack("!bHH", 0, 1, 0),
    "G": struct.pack("!bHH", 0, 1, 0),
    "W": struct.pack("!bHH", 0, 1, 0),
    "d": b"poison\n",
    "N": b"SNOTICE\0C00000\0Mpoison\0\0",
    "A": struct.pack("!I", 4711) + cstring("channel") + cstring("poison"),
    "E": b"SERROR\0VERROR\0CXX000\0Mpoison\0\0",
    "Z": b"I",
    "S": cstring("application_name") + cstring("poison"),
    "R": struct.pack("!I", 0),
    "K": struct.pack("!II", 4711, 4712),
    "v": struct.pack("!II", 3 << 16, 0),
}

# Types that nobody has given a meaning, and one that text in the wrong place begins with.
STRANGE = [0, 1, ord("?"), ord("a"), ord("z"), 0x7f, 0x80, 0xff]


def header(kind, length):
    return kind.encode("latin-1") + struct.pack("!I", length)


def forms_of(kind, good):
    """All forms of one message, `good` being a sound body of it."""
    middle = len(good) // 2
    yield Nonsense("well formed", packet(kind, good))
    yield Nonsense("empty", packet(kind))
    yield Nonsense("NULs", packet(kind, bytes(16)))
    yield Nonsense("a NUL inside", packet(kind, good[:middle] + b"\0" + good[middle:]))
    yield Nonsense("without its last byte", packet(kind, good[:-1]))
    yield Nonsense("with something behind it", packet(kind, good + b"and more\0"))
    yield Nonsense("counts and lengths of -1", packet(kind, b"\0\0" + b"\xff" * 40))
    yield Nonsense("without an end of its strings", packet(kind, b"S" + b"x" * 3000))
    for length in (0, 3, 0x80000000, 0xffffffff):
        yield Nonsense(f"length {length:#x}", header(kind, length) + good, impossible=True)
    yield Nonsense("half a header", header(kind, len(good) + 4)[:3], whole=False)
    yield Nonsense("a header alone", header(kind, len(good) + 40), whole=False)
    yield Nonsense("cut", header(kind, len(good) + 40) + good, whole=False)
    yield Nonsense("the longest there is", header(kind, 0x7fffffff) + good + b"x" * 1000, whole=False)


def strange(all_types):
    """Types that neither side has: some, or all of the others."""
    known = {ord(t) for t in (*OF_CLIENTS, *OF_SERVERS)}
    for byte in range(256) if all_types else STRANGE:
        if byte not in known:
            kind = chr(byte)
            yield Nonsense(f"type {byte:#x}", packet(kind))
            yield Nonsense(f"type {byte:#x} with a body", packet(kind, bytes(16)))
            if all_types:
                yield Nonsense(f"type {byte:#x}, length 0", header(kind, 0), impossible=True)
                yield Nonsense(f"type {byte:#x}, cut", header(kind, 100) + b"x", whole=False)


def all_forms(bodies, all_types):
    """Everything of one direction."""
    for kind, good in bodies.items():
        for form in forms_of(kind, good):
            yield form._replace(name=f"{kind} {form.name}")
    yield from strange(all_types)
