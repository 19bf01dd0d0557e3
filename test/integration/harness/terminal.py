"""A program in a terminal: keys go in, a screen comes out."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pyte

from .system import PATIENCE, stop_process

KEYS = {"left": "\x1bOD", "right": "\x1bOC", "up": "\x1bOA", "down": "\x1bOB", "tab": "\t", "enter": "\r",
        "escape": "\x1b", "rubout": "\x7f"}


class Terminal:
    """The program runs in a session of its own, with this as its controlling terminal."""

    def __init__(self, command, columns=120, rows=30, env=None):
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.written = b""
        self.master, self.slave = pty.openpty()
        self._set_size(columns, rows)
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            command, stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **(env or {})},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def __enter__(self):
        return self

    def __exit__(self, *args):
        try:
            stop_process(self.process, signal.SIGKILL)
        finally:
            os.close(self.master)
            os.close(self.slave)

    def _set_size(self, columns, rows):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns, rows):
        self.screen.resize(rows, columns)
        self._set_size(columns, rows)

    def press(self, *keys):
        for key in keys:
            os.write(self.master, KEYS.get(key, key).encode())

    def read(self, timeout):
        """What the program has written by now goes to the screen; False if there was nothing for that long."""
        if not select.select([self.master], [], [], timeout)[0]:
            return False
        data = os.read(self.master, 65536)
        self.written += data
        self.stream.feed(data)
        return True

    @property
    def lines(self):
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self):
        return "\n".join(self.lines)

    def wait(self, condition, what, timeout=30):
        """Until the screen is so; the timeout only guards against hanging."""
        end = time.monotonic() + timeout * PATIENCE
        while not (value := condition()):
            if not self.read(0.1) and self.process.poll() is not None:
                break
            assert time.monotonic() < end, f"not within {timeout * PATIENCE:g} s: {what}\n{self.text}"
        value = value or condition()
        assert value, f"ended with {self.process.returncode}, not: {what}\n{self.text}"
        return value

    def wait_text(self, text):
        self.wait(lambda: text in self.text, f"{text!r} on the screen")

    def wait_no_text(self, text):
        self.wait(lambda: text not in self.text, f"{text!r} gone from the screen")

    def wait_exit(self, timeout=30):
        """The exit status."""
        end = time.monotonic() + timeout * PATIENCE
        while self.process.poll() is None:
            self.read(0.05)
            assert time.monotonic() < end, f"still running after {timeout * PATIENCE:g} s\n{self.text}"
        while self.read(0):
            continue
        return self.process.returncode

    def is_as_before(self):
        """Modes as they were, the cursor to be seen, the other screen left."""
        return (termios.tcgetattr(self.slave) == self.before and not self.screen.cursor.hidden
                and self.written.rfind(b"\x1b[?1049l") > self.written.rfind(b"\x1b[?1049h"))

    def row_of(self, *words):
        """The number of the first line that has all these words in this order, or None."""
        for i, line in enumerate(self.lines):
            rest = iter(line.split())
            if all(word in rest for word in words):
                return i
        return None

    def colours(self):
        return {char.fg for line in self.screen.buffer.values() for char in line.values()} - {"default"}


@contextlib.contextmanager
def frozen(process):
    """It neither runs nor answers meanwhile."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)
