"""
What a case costs the pooler, by name, as a tool counts it (callgrind or strace): two runs that differ only in how often
the case is played, and the difference of their counts. Starting and stopping fall out.
"""

import os
import socket

from compare.contenders import Contender

from .cases import play

WARM_UP = 50

# The C library and OpenSSL choose their code by the processor: the plainest, so that the machine makes no difference.
ENVIRONMENT = {"PATH": os.defpath, "OPENSSL_ia32cap": "0:0",
               "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX_Fast_Unaligned_Load,-AVX2,-AVX,-SSE4_2,-SSSE3,-BMI2,-ERMS"}


class Watched(Contender):
    """A pooler with one server, run by a tool that counts."""

    def __init__(self, program, tool, server, **settings):
        # strace reads what is in its memory.
        ours = {} if os.path.basename(program) == "pgbouncer" else {"core_dumps": 1}
        super().__init__(program, server, default_pool_size=1, log_stats=0, **ours, **settings)
        self.counts = os.path.join(self.directory, "counts")
        self.under = tool.command(self.counts)

    def environment(self):
        return ENVIRONMENT


def run(program, tool, case, times):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        pooler = Watched(program, tool, {"host": host, "port": port}, **case.settings)
        try:
            pooler.start()
            play(case, pooler, listener, times)
            return tool.read(pooler.counts)
        finally:
            pooler.close()


def count(program, tool, case):
    """{name: how many for each time}, the most first. Rounded: a timer may have been due at the wrong moment."""
    few = run(program, tool, case, WARM_UP)
    many = run(program, tool, case, WARM_UP + case.times)
    many.subtract(few)
    each = {name: round(n / case.times, 2) for name, n in many.most_common()}
    return {name: int(n) if n == int(n) else n for name, n in each.items() if n != 0}
