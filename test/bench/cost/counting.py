"""
What a case costs the pooler, by name: instructions of each function under valgrind, system calls under strace. Two runs
that differ only in how often the case is played, and the difference of their counts: starting and stopping fall out.
"""

import collections
import contextlib
import os
import re
import socket

from compare.contenders import Contender
from harness.system import eventually

from .cases import MARK, play

WARM_UP = 50

# The C library and OpenSSL choose their code by the processor: the plainest, so that the machine makes no difference.
ENVIRONMENT = {"PATH": os.defpath, "OPENSSL_ia32cap": "0:0",
               "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX_Fast_Unaligned_Load,-AVX2,-AVX,-SSE4_2,-SSSE3,-BMI2,-ERMS"}

IDLE_TURN = re.compile(r"epoll_wait\(.*, \[\], \d+, [1-9]\d*\) += 0$")


class Profile:
    """
    callgrind's output, read for what each function has executed itself. A name is written out the first time that it
    is used, and a number from then on; the line behind "calls=" is what was executed in the function called.
    """

    LINE = re.compile(r"(c?)(ob|fn)=\((\d+)\)(?: (.*))?")

    def __init__(self, lines):
        self.objects, self.functions = {}, {}
        self.counts = collections.Counter()
        self.object = self.callee_object = self.function = None
        is_callee = False
        for line in lines:
            if name := self.LINE.match(line):
                self._take_name(*name.groups())
            elif line.startswith("calls="):
                is_callee = True
            elif re.match(r"[\d+*-]", line):
                if not is_callee:
                    self.counts[self.function] += int(line.split()[1])
                is_callee, self.callee_object = False, None

    def _take_name(self, is_callee, kind, number, name):
        if kind == "ob":
            found = self.objects.setdefault(number, name)
            if is_callee:
                self.callee_object = found
            else:
                self.object = found
            return
        if number not in self.functions:
            self.functions[number] = self._function_name(name, self.callee_object if is_callee else None)
        if not is_callee:
            self.function = self.functions[number]

    def _function_name(self, name, callee_object):
        """Libraries without symbols have addresses instead."""
        return f"{os.path.basename(callee_object or self.object)}:{name}" if name.startswith("0x") else name


class Instructions:
    @staticmethod
    def command(path):
        return ["valgrind", "-q", "--tool=callgrind", "--vgdb=no", f"--callgrind-out-file={path}"]

    @staticmethod
    def read(path):
        """{function: how many}."""
        with open(path) as f:
            return Profile(f).counts


class SystemCalls:
    @staticmethod
    def command(path):
        """As its grandchild (-D), so that the pooler is our child and gets our signals."""
        return ["strace", "-D", "-f", "-o", path]

    @staticmethod
    def read(path):
        """{call: how often}, from mark to mark. A turn that only a timer has caused depends on the time it takes."""
        def text():
            with open(path) as f:
                return f.read()
        eventually(lambda: "+++ exited" in text(), "strace has seen the end", every=0.01)
        lines = text().splitlines()
        marks = [i for i, line in enumerate(lines) if "recvfrom(" in line and MARK in line]
        return collections.Counter(call[1] for line in lines[marks[0]:marks[-1]] if not IDLE_TURN.search(line)
                                   and (call := re.match(r"\d+ +(\w+)\(", line)))


class Watched(Contender):
    """A pooler with one server, run by a tool that counts."""

    def __init__(self, program, tool, server, **settings):
        super().__init__(program, server, default_pool_size=1, log_stats=0, **settings)
        self.tool = tool
        self.counts = os.path.join(self.directory, "counts")
        self.under = tool.command(self.counts)

    def environment(self):
        return ENVIRONMENT

    def stop(self):
        super().stop()
        self.counted = self.tool.read(self.counts)


def run(program, tool, case, times):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        pooler = Watched(program, tool, {"host": host, "port": port}, **case.settings)
        try:
            pooler.start()
            play(case, pooler, listener, times)
            return pooler.counted
        finally:
            pooler.close()


def count(program, tool, case):
    """{name: how many for each time}, the most first. Rounded: a timer may have been due at the wrong moment."""
    few = run(program, tool, case, WARM_UP)
    many = run(program, tool, case, WARM_UP + case.times)
    many.subtract(few)
    each = {name: round(n / case.times, 2) for name, n in many.most_common()}
    return {name: int(n) if n == int(n) else n for name, n in each.items() if n != 0}
