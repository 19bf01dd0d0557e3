"""The instructions that each function executes itself, counted by valgrind's callgrind."""

import collections
import os
import re

NAME = re.compile(r"(c?)(ob|fn)=\((\d+)\)(?: (.*))?")
COST = re.compile(r"[\d+*-]\S* (\d+)")


def command(path):
    return ["valgrind", "-q", "--tool=callgrind", "--vgdb=no", f"--callgrind-out-file={path}"]


class Names:
    """
    Of functions (fn) and the objects they are in (ob): written out where they are used first, a number from then on.
    Those of functions that are called begin with a c, and are in the caller's object unless another one is named.
    """

    def __init__(self):
        self.known = {"ob": {}, "fn": {}}
        self.object = self.callee_object = self.function = None

    def take(self, is_callee, kind, number, name):
        known = self.known[kind]
        if number not in known:
            known[number] = name if kind == "ob" else self._full(name, is_callee)
        if kind == "ob" and is_callee:
            self.callee_object = known[number]
        elif kind == "ob":
            self.object = known[number]
        elif is_callee:
            self.callee_object = None
        else:
            self.function = known[number]

    def _full(self, name, is_callee):
        """Libraries without symbols have addresses instead."""
        where = is_callee and self.callee_object or self.object
        return f"{os.path.basename(where)}:{name}" if name.startswith("0x") else name


def read(path):
    """{function: how many}. The line behind "calls=" is what the called function has executed, which counts there."""
    counts, names, is_callee = collections.Counter(), Names(), False
    with open(path) as f:
        for line in f:
            if name := NAME.match(line):
                names.take(*name.groups())
            elif line.startswith("calls="):
                is_callee = True
            elif cost := COST.match(line):
                if not is_callee:
                    counts[names.function] += int(cost[1])
                is_callee = False
    return counts
