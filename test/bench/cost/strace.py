"""The system calls of a pooler, counted by strace."""

import collections
import re

from harness.system import eventually

from .cases import MARK

CALL = re.compile(r"\d+ +(\w+)\(")
MARK_IS_READ = re.compile(rf"\d+ +(recv|read)\w*\(.*{MARK}")

# A turn of the loop that only a timer has caused. How many there are depends on how long it all takes.
TIMER = re.compile(r"epoll_wait\(.*, \[\], \d+, [1-9]\d*\) += 0$")


def command(path):
    """As a grandchild of the pooler (-D), which so is our child and gets our signals."""
    return ["strace", "-D", "-f", "-o", path]


def read(path):
    """{call: how often}, from mark to mark."""
    def lines():
        with open(path) as f:
            return f.read().splitlines()
    eventually(lambda: any("+++ exited" in line for line in lines()), "strace has seen the end", every=0.01)
    calls = [line for line in lines() if not TIMER.search(line)]
    marks = [i for i, line in enumerate(calls) if MARK_IS_READ.match(line)]
    return collections.Counter(call[1] for call in map(CALL.match, calls[marks[0]:marks[-1]]) if call)
