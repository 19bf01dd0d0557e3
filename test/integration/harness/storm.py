"""Clients that connect, ask once and leave, as many a second as are wanted, from a program of their own (c/connects.c)."""

import contextlib
import json
import os
import subprocess
import threading

from .system import eventually, run

SOURCES = [os.path.join(os.path.dirname(__file__), "..", "c", name) for name in ("connects.c", "password.c")]

# Of a hundred clients, those that cannot resume a TLS session.
FULL_HANDSHAKES = 20

# More would wait for each other in the kernel's queue, if the pooler's listen_backlog is half as long.
IN_FLIGHT = 500


def build(directory):
    """The program's path."""
    binary = os.path.join(directory, "connects")
    done = run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-o", binary, *SOURCES,
                "-lssl", "-lcrypto"])
    assert done.returncode == 0, done.stderr
    return binary


class Storm:
    """
    From the beginning of the with block to its end, `rate` connections a second, or as many as the machine allows;
    with a rate of 0 always `in_flight` at once. With TLS, when there is a CA to check the pooler by. `done` are those
    that were served so far, `result` what became of all of them.
    """

    def __init__(self, binary, port, ca=None, rate=1000, in_flight=IN_FLIGHT, full=FULL_HANDSHAKES, password=""):
        tls = ["-c", ca.cert, "-f", str(full)] if ca is not None else []
        self.command = [binary, "-p", password, *tls, str(port), str(rate), str(in_flight)]
        self.result = {"done": 0, "failed": 0}

    @property
    def done(self):
        return self.result["done"]

    def _listen(self):
        for line in self.process.stdout:
            self.result = json.loads(line)

    def wait_more(self, n):
        """Until n more have been served, or one has not."""
        goal = self.done + n
        eventually(lambda: self.done >= goal or self.result["failed"], f"{n} more connections", 120)

    @contextlib.contextmanager
    def going_on(self):
        """Clients were served before what is done in the block, while it is done, and after it."""
        self.wait_more(300)
        before = self.done
        yield
        assert self.done > before, "nobody was served meanwhile"
        self.wait_more(300)

    def assert_nobody_noticed(self):
        assert self.result["failed"] == 0 and self.result["failures"] == [], self.result

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.listener.join(90)
        # One that hangs is no result.
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        assert self.process.returncode == 0, f"exit status {self.process.returncode}, last heard {self.result}"
        print("{done} connections, {rate} a second, {resumed} resumed, {failed} failed; milliseconds: median {p50_ms}, "
              "99 of 100 {p99_ms}, longest {max_ms}".format(**self.result))
