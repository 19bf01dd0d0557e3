"""Clients that connect, ask once and leave, as many a second as are wanted, from processes of their own."""

import multiprocessing
import time

from .certs import tls
from .wire import Wire


def _come_and_go(port, context, password, stop, interval, done, failures):
    due = time.monotonic()
    while not stop.is_set():
        due = max(due + interval, time.monotonic() - 1)
        time.sleep(max(0, due - time.monotonic()))
        try:
            with Wire(("127.0.0.1", port), 60) as w:
                if context is not None:
                    tls(w, context)
                w.login("app", "app", password)
                assert w.value("SELECT 1") == "1"
                w.send("X")
            with done.get_lock():
                done.value += 1
        except Exception as error:  # whatever it is, somebody was refused
            failures.put(repr(error))


class Storm:
    """
    From the beginning of the with block to its end, `rate` connections a second, or as many as the machine allows.
    Then `done` are those that were served, `failures` what became of the others, and `reached` the rate.
    """

    def __init__(self, port, context=None, rate=1000, processes=6, password=None):
        fork = multiprocessing.get_context("fork")
        self.stop, self._done, self._failures = fork.Event(), fork.Value("i", 0), fork.SimpleQueue()
        self.processes = [fork.Process(target=_come_and_go, daemon=True, args=(
            port, context, password, self.stop, processes / rate, self._done, self._failures)) for _ in range(processes)]
        self.failures = []

    @property
    def done(self):
        return self._done.value

    def __enter__(self):
        self.began = time.monotonic()
        for process in self.processes:
            process.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for process in self.processes:
            process.join(90)
        self.reached = self.done / (time.monotonic() - self.began)
        while not self._failures.empty():
            self.failures.append(self._failures.get())
