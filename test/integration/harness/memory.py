"""A pooler whose memory runs out when a test says so: c/failing_malloc.c in its process, and the file they share."""

import collections
import mmap
import os
import struct

from .system import give_away, run

SOURCE = os.path.join(os.path.dirname(__file__), "..", "c", "failing_malloc.c")

Count = collections.namedtuple("Count", "counted failed")

ORDER = struct.Struct("=6q")  # struct order


class FailingMalloc:
    """For a pooler that has not been started."""

    def __init__(self, pooler):
        library, order = (os.path.join(pooler.directory, name) for name in ("failing.so", "order"))
        done = run(["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-o", library,
                    SOURCE, "-ldl"])
        assert done.returncode == 0, done.stderr
        with open(order, "w+b") as f:
            f.write(bytes(ORDER.size))
            f.flush()
            self.order = mmap.mmap(f.fileno(), ORDER.size)
        for path in (library, order):
            give_away(path)
        environment = pooler.environment()
        environment["ASAN_OPTIONS"] += ":verify_asan_link_order=0:allocator_may_return_null=1"
        pooler.environment = lambda: {**environment, "LD_PRELOAD": library, "FAILING_MALLOC": order}
        self.pooler = pooler

    def begin(self, first, times=1, own_only=False, pid=None):
        """
        From now on the pooler's allocations are counted, from 0, and those in [first, first + times) fail. own_only:
        only what the program itself asks for counts, and not what its libraries do.
        """
        self.order[:] = ORDER.pack(0, own_only, first, times, 0, 0)
        self.order[:8] = struct.pack("=q", pid or self.pooler.pid)

    def end(self):
        """No more. How many were counted, and how many have failed."""
        self.order[:8] = bytes(8)
        return Count(*ORDER.unpack(self.order[:])[4:])

    def close(self):
        self.order.close()
