"""A client that asks and asks, in a process of its own: whether others keep it from its answers."""

import contextlib
import multiprocessing
import time

from .system import PATIENCE
from .wire import Wire, query

fork = multiprocessing.get_context("fork")


def _ask(address, login, pipe):
    """
    Tells of its first answer, and at the word from the other end the moments of all of them. An error ends it and is
    told instead.
    """
    with Wire(address, timeout=60).login(*login) as w:
        moments = []
        while True:
            w.send_raw(query("SELECT 1"))
            result = w.result()
            if result.error is not None or not result.rows:
                pipe.send(result.error or "closed")
                return
            moments.append(time.monotonic())
            if len(moments) == 1:
                pipe.send("asks")
            if pipe.poll():
                pipe.recv()
                pipe.send(moments)
                return


class Probe:
    """
    with Probe(pooler) as probe: ... asks from the beginning to the end of the block. Latencies depend on the machine:
    only those of its own calm phase are what others are held against.
    """

    def __init__(self, pooler, user="app", dbname="app", password=None):
        self.address = ("127.0.0.1", pooler.port)
        self.login = (user, dbname, password)
        self.phases = {}

    def __enter__(self):
        self.pipe, theirs = fork.Pipe()
        self.process = fork.Process(target=_ask, args=(self.address, self.login, theirs), daemon=True)
        self.process.start()
        assert self._hear() == "asks", "it is not answered when all is calm"
        with self.phase("calm"):
            time.sleep(0.5)
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self._finish()
        self.process.terminate()
        self.process.join()

    @contextlib.contextmanager
    def phase(self, name):
        begin = time.monotonic()
        yield
        self.phases[name] = (begin, time.monotonic())

    def _hear(self):
        assert self.pipe.poll(60 * PATIENCE), "the client that was logged in gets no answers"
        return self.pipe.recv()

    def _finish(self):
        if self.process.is_alive():
            self.pipe.send("enough")
        moments = self._hear()
        assert isinstance(moments, list), moments
        self.moments = moments

    def rate(self, phase):
        """Answers a second."""
        begin, end = self.phases[phase]
        return sum(begin <= at <= end for at in self.moments) / (end - begin)

    def assert_served(self, phase):
        """In that phase answers came, and not more slowly than they may where the machine is busy with both sides."""
        assert self.rate(phase) > 0.005 * self.rate("calm") > 0, (self.rate(phase), self.rate("calm"))
