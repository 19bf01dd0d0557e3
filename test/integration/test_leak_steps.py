"""
Many clients of few servers, each at random: queries, batches, pipelines, COPY, errors, cancel requests, timeouts and
disconnects in the middle of anything, with values of 1 byte to 60 kB. Each value names its client: whatever a client
receives, nobody else's name is in it, and what it has asked for is answered.
"""

import contextlib
import math
import random
import re
import socket
import threading

import pytest

from harness.system import eventually
from harness.wire import (Wire, bind, close, copy_data, copy_done, copy_fail, describe, error_fields, execute, extended,
                          packet, parse, query, sync)

CLIENTS = 20
LARGEST = 60000
MARK = re.compile(rb"<(\d+)\.\d+>")

# 100,000 in all with --long; by default as many as a few seconds allow.
STEPS, STEPS_LONG = 4000, 100000


class Leak(AssertionError):
    """Somebody else's value, or not one's own."""


class Watching(Wire):
    """A connection that looks into everything it receives."""

    def __init__(self, address, number):
        super().__init__(address, timeout=60)
        self.number = str(number).encode()

    def recv(self):
        message = super().recv()
        for number in MARK.findall(message.body):
            if number != self.number:
                raise Leak(f"client {self.number} received {message.type} of client {number}: {message.body[:200]}")
        return message


class Client(threading.Thread):
    """One client; `faults` is empty unless something is wrong."""

    def __init__(self, pooler, number, steps, seed, weights):
        super().__init__()
        self.pooler, self.number, self.steps, self.weights = pooler, number, steps, weights
        self.random = random.Random(f"{seed} {number}")
        self.faults, self.done = [], []
        self.step = 0
        self.w = None

    def run(self):
        try:
            for self.step in range(self.steps):
                step = self.random.choices(list(self.weights), self.weights.values())[0]
                self.done.append(step.__name__)
                self.take(step)
        except Exception as error:  # the test looks at it
            self.faults.append(f"{self.number}, step {self.step}, after {self.done[-5:]}: {error!r}")
        finally:
            self.leave()

    def take(self, step):
        if self.w is None:
            self.w = Watching(("127.0.0.1", self.pooler.port), self.number)
            self.w.login("app", "app", application_name=self.mark())
        step(self)

    def leave(self):
        if self.w is not None:
            self.w.close()
            self.w = None

    def mark(self):
        return f"<{self.number}.{self.step}>"

    def value(self):
        """Any size is as likely as twice that, or half of it."""
        size = int(math.exp(self.random.uniform(0, math.log(LARGEST))))
        mark = self.mark()
        return (mark * (size // len(mark) + 1))[:size]

    def expect(self, got, expected):
        if got != expected:
            raise Leak(f"{str(got)[:300]} instead of {str(expected)[:300]}")

    # What a client does

    def simple(self):
        value = self.value()
        self.expect(self.w.query(f"SELECT '{value}'").rows, [[value]])

    def batch(self):
        value = self.value()
        self.expect(self.w.extended("SELECT $1::text", [value]).rows, [[value]])

    def named(self):
        """All clients use the same name for texts of their own."""
        value, mark = self.value(), self.mark()
        result = self.w.say(parse(f"SELECT $1::text, '{mark}'", "mine"), bind([value], "mine"), execute())
        self.expect(result.rows, [[value, mark]])
        if self.random.random() < 0.5:
            value = self.value()
            self.expect(self.w.say(bind([value], "mine"), execute()).rows, [[value, mark]])
        self.expect(self.w.say(close("S", "mine")).error, None)

    def pipeline(self):
        values = [self.value() for _ in range(self.random.randint(2, 6))]
        broken = self.random.choice([None, *range(len(values))])
        self.w.send_raw(b"".join(
            extended("SELECT 1/0" if i == broken else "SELECT $1::text", [] if i == broken else [value]) + sync()
            for i, value in enumerate(values)))
        for i, value in enumerate(values):
            self.expect(self.w.result().rows, [] if i == broken else [[value]])

    def copy_in(self):
        value = self.value()
        self.w.query("BEGIN")
        self.w.send_raw(query("COPY leak_steps FROM STDIN"))
        self.w.recv_until("G")
        self.w.send_raw(b"".join(copy_data(value.encode() + b"\n") for _ in range(3)))
        if self.random.random() < 0.3:
            self.w.send_raw(copy_fail(self.mark()))
            self.expect(self.w.result().error["C"], "57014")
        else:
            self.w.send_raw(copy_done())
            self.expect(self.w.result().tags, ["COPY 3"])
            self.expect(self.w.query("SELECT t FROM leak_steps").rows, [[value]] * 3)
        self.expect(self.w.query("ROLLBACK").status, "I")

    def copy_out(self):
        value = self.value()
        self.w.send_raw(query(f"COPY (SELECT '{value}' FROM generate_series(1, 3)) TO STDOUT"))
        self.expect([m.body for m in self.w.result().messages if m.type == "d"], [value.encode() + b"\n"] * 3)

    def transaction(self):
        value = self.value()
        self.w.query("BEGIN")
        self.w.query(f"SET LOCAL my.value = '{value}'")
        self.expect(self.w.query("SELECT current_setting('my.value')").rows, [[value]])
        self.w.query(self.random.choice(["COMMIT", "ROLLBACK"]))

    def error(self):
        mark = self.mark()
        self.expect(mark in self.w.query(f"SELECT '{mark}'::int").error["M"], True)

    def notice(self):
        mark = self.mark()
        self.expect([n["M"] for n in self.w.query(f"DO $$ BEGIN RAISE NOTICE '{mark}'; END $$").notices], [mark])

    def parameter(self):
        mark = self.mark()
        self.w.query(f"SET application_name = '{mark}'")
        self.expect(self.w.query("SHOW application_name").rows, [[mark]])

    def cancel(self):
        value = self.value()
        self.w.send_raw(query(f"SELECT '{value}' FROM (SELECT pg_sleep({self.random.choice([0, 0.001, 0.02])})) s"))
        self.w.cancel()
        result = self.w.result()
        self.expect((result.error or {}).get("C", result.rows), "57014" if result.error else [[value]])

    def time_out(self):
        """The pooler's query_timeout ends it."""
        self.w.send_raw(query(f"SELECT pg_sleep(60), '{self.mark()}'"))
        errors = [error_fields(m.body)["C"] for m in self.w.drain() if m.type == "E"]
        self.expect(errors, ["57014"])
        self.leave()

    # How a client goes

    def disconnect(self):
        self.leave()

    def disconnect_in_an_answer(self):
        self.w.send_raw(query(f"SELECT '{self.value()}' FROM generate_series(1, 20)"))
        with contextlib.suppress(socket.timeout):
            self.w.read(self.random.choice([1, 5, 100]))
        self.leave()

    def disconnect_unread(self):
        self.w.send_raw((extended("SELECT $1::text", [self.value()]) + sync()) * self.random.randint(1, 5))
        if self.random.random() < 0.5:
            self.w.reset()
        self.leave()

    def disconnect_in_a_message(self):
        data = query(f"SELECT '{self.value()}'")
        self.w.send_raw(data[:self.random.randrange(1, len(data))])
        self.leave()

    def disconnect_in_a_batch(self):
        self.w.send_raw(parse(f"SELECT '{self.value()}'") + bind() + describe() + execute())
        self.leave()

    def disconnect_in_a_transaction(self):
        self.w.query("BEGIN")
        self.w.send_raw(query(f"SELECT '{self.value()}'"))
        self.leave()

    def disconnect_in_copy(self):
        self.w.send_raw(query("COPY leak_steps FROM STDIN"))
        self.w.recv_until("G")
        self.w.send_raw(copy_data(self.value().encode()))
        self.leave()

    def terminate_behind_a_query(self):
        self.w.send_raw(query(f"SELECT '{self.value()}'") + packet("X"))
        self.leave()


STEP_WEIGHTS = {
    Client.simple: 100, Client.batch: 100, Client.named: 60, Client.pipeline: 60, Client.copy_in: 30,
    Client.copy_out: 30, Client.transaction: 40, Client.error: 40, Client.notice: 20, Client.parameter: 40, Client.cancel: 40,
    Client.time_out: 1, Client.disconnect: 20, Client.disconnect_in_an_answer: 15, Client.disconnect_unread: 15,
    Client.disconnect_in_a_message: 15, Client.disconnect_in_a_batch: 15, Client.disconnect_in_a_transaction: 15,
    Client.disconnect_in_copy: 15, Client.terminate_behind_a_query: 15,
}


def test_what_is_anothers_would_be_seen(pooler):
    """Else the next test would prove nothing."""
    with Watching(("127.0.0.1", pooler.port), 1) as w:
        w.login("app", "app")
        assert w.value("SELECT '<1.1>'") == "<1.1>"
        for ask in (w.query, w.extended):
            with pytest.raises(Leak):
                ask("SELECT 'before <2.1> behind'")
            w.recv_until("Z")


@pytest.mark.parametrize("mode, statements", [("transaction", 200), ("transaction", 0), ("session", 200)])
def test_no_value_of_one_client_is_seen_by_another(make_pooler, pg, is_long, mode, statements):
    pg.rows("DROP TABLE IF EXISTS leak_steps; CREATE TABLE leak_steps (t text)", "app")
    pg.rows("GRANT ALL ON leak_steps TO PUBLIC", "app")
    # Where they are not tracked, names of statements belong to servers, as temporary tables do.
    weights = {step: weight for step, weight in STEP_WEIGHTS.items() if statements or step is not Client.named}
    seed = random.randrange(1000000)
    print(f"seed {seed}")
    pooler = make_pooler(pool_mode=mode, default_pool_size=4, query_timeout=2, max_prepared_statements=statements,
                         server_lifetime=10, log_connections=0, log_disconnections=0, log_pooler_errors=0)
    steps = (STEPS_LONG if is_long else STEPS) // (1 if (mode, statements) == ("transaction", 200) else 4)
    clients = [Client(pooler, n, steps // CLIENTS, seed, weights) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert [fault for client in clients for fault in client.faults] == []
    assert {step.__name__ for step in weights} - {name for client in clients for name in client.done} <= {"time_out"}
    eventually(lambda: not pg.rows("SELECT 1 FROM pg_stat_activity WHERE datname = 'app' AND state <> 'idle'"
                                   " AND application_name <> 'observer'"), "no server is in the middle of anything")
    assert pg.value("SELECT count(*) FROM leak_steps", "app") == 0
