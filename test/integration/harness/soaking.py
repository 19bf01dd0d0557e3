"""
Clients for a soak: each writes rows by every way there is, at random, and keeps a ledger of what it was told about
them. Whatever becomes of pooler and server, the ledger says which rows have to be in the table in the end.
"""

import contextlib
import hashlib
import math
import random
import ssl
import threading
import time

from .certs import tls
from .wire import (Closed, Result, Wire, bind, copy_data, copy_done, copy_fail, describe, execute, extended, packet,
                   parse, query, sync)

SCHEMA = ("CREATE TABLE soak (client int NOT NULL, seq int NOT NULL, body text NOT NULL, digest text NOT NULL);"
          "CREATE INDEX ON soak (client, seq); GRANT ALL ON soak TO PUBLIC")

# In one value of 30; the others are short. An hour's rows stay below a gigabyte.
LARGEST = 200000

# A client hears nothing for so long only when something hangs: longer than any timeout of the pooler's.
PATIENCE = 90

# What a client may be told when servers die, are frozen, restarted or replaced, and when it cancels.
EXPECTED = {
    "57P01", "57P02", "57P03", "57P05",  # shut down, crashed, not yet up
    "57014",                             # cancelled; query_wait_timeout
    "08006",                             # the server's connection was lost
    "53300",                             # no more connections
}

WRITTEN, ABSENT, UNKNOWN = "written", "absent", "unknown"


class Lost(Exception):
    """The connection has ended; result has what came before."""

    def __init__(self, result):
        super().__init__(result.errors)
        self.result = result


class Ledger:
    """
    What one client knows of its rows, by sequence number: how many there are, and whether COMMIT was answered
    (WRITTEN), was never sent or was refused (ABSENT), or has been sent without an answer (UNKNOWN: all of them, or
    none).
    """

    def __init__(self):
        self.entries = {}
        self.written = []  # those of which something is known to be there

    def open(self, rows=1):
        seq = len(self.entries)
        self.entries[seq] = (ABSENT, rows)
        return seq

    def doubt(self, seq):
        """From now on, and until settle(), it may be committed."""
        self.entries[seq] = (UNKNOWN, self.entries[seq][1])

    def settle(self, seq, is_written):
        self.entries[seq] = (WRITTEN if is_written else ABSENT, self.entries[seq][1])
        if is_written:
            self.written.append(seq)

    def faults(self, found):
        """found: {seq: number of rows} in the table."""
        faults = [f"{seq}: {n} rows that nobody has written" for seq, n in found.items() if seq not in self.entries]
        for seq, (state, rows) in self.entries.items():
            n = found.get(seq, 0)
            if n not in {WRITTEN: (rows,), ABSENT: (0,), UNKNOWN: (0, rows)}[state]:
                faults.append(f"{seq}: {n} rows, {state}, {rows} in all")
        return faults


class Client(threading.Thread):
    """
    One client, until stop() or a fault: `faults` says what no client may see. `gate` is a threading.Event: while it is
    cleared, the client has no connection. pace: seconds between two steps at most. stays: it goes only when it is
    made to.
    """

    def __init__(self, address, number, seed, gate, pace, database="app", user="app", password=None, context=None,
                 stays=False):
        super().__init__(daemon=True)
        self.address, self.number, self.gate, self.pace, self.stays = address, number, gate, pace, stays
        self.login = (user, database, password)
        self.context = context  # of TLS; None: none
        self.random = random.Random(f"{seed} {number}")
        self.ledger = Ledger()
        self.faults, self.done = [], {}
        self.errors = {}        # how often which SQLSTATE was seen
        self.lost = 0
        self.end = threading.Event()
        self.w = None
        self.step_name = ""

    # Its life

    def run(self):
        try:
            while not self.end.is_set():
                self.gate.wait(0.1)
                if not self.gate.is_set():
                    self.leave()
                    continue
                with contextlib.suppress(Lost):
                    self.take()
                time.sleep(self.random.uniform(0, self.pace))
        except Exception as error:  # the test looks at it
            self.faults.append(f"client {self.number} {self.login[:2]}, in {self.step_name}: {error!r}")
        finally:
            self.leave()

    def stop(self):
        self.end.set()

    def take(self):
        self.step_name = "login"
        if self.w is None:
            self.connect()
        step = self.random.choices(list(STEPS), STEPS.values())[0]
        self.step_name = step.__name__
        step(self)
        self.done[step.__name__] = self.done.get(step.__name__, 0) + 1

    def connect(self):
        self.statements = set()
        try:
            self.w = Wire(self.address, PATIENCE)
            if self.context is not None:
                tls(self.w, self.context)
            self.w.startup({"user": self.login[0], "database": self.login[1], "application_name": f"soak{self.number}"})
            error = self.w.finish_login(self.login[0], self.login[2])
        except (Closed, ConnectionError, ssl.SSLError):
            self.leave()
            self.lost += 1
            raise Lost(Result([])) from None
        if error is not None:
            self.leave()
            self.judge(error)
            raise Lost(Result([]))

    def leave(self):
        if self.w is not None:
            self.w.close()
            self.w = None

    def judge(self, error):
        code = error["C"]
        self.errors[code] = self.errors.get(code, 0) + 1
        if code not in EXPECTED and not (code == "25P02" and self.w is not None):
            raise AssertionError(f"nobody expects {error}")

    # Talking

    def send(self, data):
        # What was said to us before the end can still be read.
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            self.w.send_raw(data)

    def hear(self, kinds="Z"):
        """What comes, up to a message of these types; Lost when the connection ends before."""
        messages = []
        with contextlib.suppress(Closed, ssl.SSLError):
            while not messages or messages[-1].type not in kinds:
                messages.append(self.w.recv())
        result = Result(messages)
        if not messages or messages[-1].type not in kinds:
            self.leave()
            self.lost += 1
            self.judge_all(result)
            if not result.errors:
                raise AssertionError(f"the connection ended without a word, after {result.types!r}")
            raise Lost(result)
        self.judge_all(result)
        return result

    def judge_all(self, result):
        for error in result.errors:
            self.judge(error)

    def ask(self, *messages):
        self.send(b"".join(messages))
        return self.hear()

    def expect(self, got, expected):
        if got != expected:
            raise AssertionError(f"{str(got)[:300]} instead of {str(expected)[:300]}")

    # Values

    def value(self, largest=LARGEST):
        """Mostly short; of the others any size is as likely as twice that, or half of it."""
        size = self.random.randint(1, 100)
        if self.random.random() < 1 / 30:
            size = int(math.exp(self.random.uniform(math.log(100), math.log(largest))))
        return f"{self.random.getrandbits(64):016x} " * (size // 17 + 1)

    def row(self, seq, largest=LARGEST):
        body = self.value(largest)
        return [self.number, seq, body, hashlib.md5(body.encode()).hexdigest()]

    def insert(self, seq):
        return query("INSERT INTO soak VALUES ({}, {}, '{}', '{}')".format(*self.row(seq)))

    def insert_extended(self, seq):
        return extended("INSERT INTO soak VALUES ($1, $2, $3, $4)", self.row(seq))

    # Steps that write

    def write_at_once(self, message, seq):
        """A transaction of one message."""
        self.ledger.doubt(seq)
        result = self.ask(message)
        self.ledger.settle(seq, result.error is None)

    def simple(self):
        seq = self.ledger.open()
        self.write_at_once(self.insert(seq), seq)

    def batch(self):
        seq = self.ledger.open()
        self.write_at_once(self.insert_extended(seq) + sync(), seq)

    def batch_of_many(self):
        """No BEGIN: what stands before one Sync is one transaction all the same."""
        rows = self.random.randint(2, 8)
        seq = self.ledger.open(rows)
        self.write_at_once(b"".join(self.insert_extended(seq) for _ in range(rows)) + sync(), seq)

    def prepared(self):
        """One of some statements that have names; all clients use the same texts, but not the same names."""
        text = self.random.randrange(40)
        name = f"insert{text}"
        seq = self.ledger.open()
        messages = bind(self.row(seq), name) + describe() + execute() + sync()
        if name not in self.statements:
            messages = parse(f"INSERT INTO soak VALUES ($1, $2, $3, $4) /* {text} */", name) + messages
        self.ledger.doubt(seq)
        result = self.ask(messages)
        self.ledger.settle(seq, result.error is None)
        if "1" in result.types:
            self.statements.add(name)

    def pipeline(self):
        seqs = [self.ledger.open() for _ in range(self.random.randint(2, 8))]
        for seq in seqs:
            self.ledger.doubt(seq)
        self.send(b"".join(self.insert_extended(seq) + sync() for seq in seqs))
        for seq in seqs:
            self.ledger.settle(seq, self.hear().error is None)

    def transaction(self):
        """Unless COMMIT has been sent nothing may be there, however the transaction ends."""
        rows = self.random.randint(1, 5)
        seq = self.ledger.open(rows)
        results = [self.ask(query("BEGIN"))]
        for _ in range(rows):
            results.append(self.ask(self.random.choice([self.insert(seq), self.insert_extended(seq) + sync()])))
            if self.random.random() < 0.2:
                time.sleep(self.random.uniform(0, 0.05))
        if any(result.error for result in results) or self.random.random() < 0.2:
            self.ask(query("ROLLBACK"))
            return
        self.ledger.doubt(seq)
        self.ledger.settle(seq, self.ask(query("COMMIT")).tags == ["COMMIT"])

    def copy_in(self):
        rows = self.random.randint(1, 50)
        seq = self.ledger.open(rows)
        self.send(query("COPY soak FROM STDIN"))
        if self.hear("GZ").messages[-1].type == "Z":
            return
        lines = ["\t".join(str(v) for v in self.row(seq, 20000)) + "\n" for _ in range(rows)]
        self.send(b"".join(copy_data(line.encode()) for line in lines))
        if self.random.random() < 0.2:
            self.send(copy_fail("changed my mind"))
            self.expect(self.hear().error["C"], "57014")
            return
        self.ledger.doubt(seq)
        self.ledger.settle(seq, self.ask(copy_done()).error is None)

    def cancelled(self):
        """It may come too late, or never: the answer says."""
        seq = self.ledger.open()
        row = self.row(seq)
        sql = "INSERT INTO soak SELECT {}, {}, '{}', '{}' FROM pg_sleep({})".format(
            *row, self.random.choice([0, 0.01, 0.1]))
        self.ledger.doubt(seq)
        self.send(query(sql))
        with contextlib.suppress(ConnectionError):
            self.w.cancel()
        self.ledger.settle(seq, self.hear().error is None)

    # Steps that read

    def look_back(self):
        """What was answered is there at once."""
        if not self.ledger.written:
            return
        seq = self.random.choice(self.ledger.written[-100:])
        result = self.ask(query("SELECT count(*), bool_and(md5(body) = digest) FROM soak"
                                f" WHERE client = {self.number} AND seq = {seq}"))
        if not result.error:
            self.expect(result.rows, [[str(self.ledger.entries[seq][1]), "t"]])

    def echo(self):
        value = self.value()
        result = self.ask(extended("SELECT $1::text", [value]) + sync())
        if not result.error:
            self.expect(hashlib.md5(result.value.encode()).digest(), hashlib.md5(value.encode()).digest())

    def copy_out(self):
        value = self.value(20000)
        result = self.ask(query(f"COPY (SELECT '{value}' FROM generate_series(1, 20)) TO STDOUT"))
        if not result.error:
            self.expect([m.body.decode() for m in result.messages if m.type == "d"], [value + "\n"] * 20)

    def parameter(self):
        result = self.ask(query(f"SET application_name = 'soak{self.number}.{len(self.ledger.entries)}'"))
        if not result.error:
            result = self.ask(query("SHOW application_name"))
        if not result.error:
            self.expect(result.rows, [[f"soak{self.number}.{len(self.ledger.entries)}"]])

    # How a client goes

    def terminate(self):
        if self.stays:
            return
        self.send(packet("X"))
        self.leave()

    def vanish(self):
        """As a machine does whose power fails, with a query on its way."""
        seq = self.ledger.open()
        self.ledger.doubt(seq)
        self.send(self.insert(seq))
        self.drop()

    def vanish_in_a_transaction(self):
        seq = self.ledger.open()
        self.ask(query("BEGIN"))
        self.send(self.insert(seq))
        self.drop()

    def vanish_in_copy(self):
        seq = self.ledger.open()
        self.send(query("COPY soak FROM STDIN"))
        if self.hear("GZ").messages[-1].type == "G":
            self.send(copy_data(("\t".join(str(v) for v in self.row(seq)) + "\n").encode()))
        self.drop()

    def vanish_in_an_answer(self):
        self.send(query("SELECT repeat('x', 1000) FROM generate_series(1, 2000)"))
        with contextlib.suppress(Closed, ConnectionError, ssl.SSLError):
            self.w.read(1)
        self.drop()

    def drop(self):
        if self.random.random() < 0.5:
            self.w.reset()
        self.leave()


STEPS = {
    Client.simple: 60, Client.batch: 60, Client.batch_of_many: 20, Client.prepared: 80, Client.pipeline: 30,
    Client.transaction: 60, Client.copy_in: 15, Client.cancelled: 15, Client.look_back: 60, Client.echo: 40,
    Client.copy_out: 15, Client.parameter: 15, Client.terminate: 6, Client.vanish: 3, Client.vanish_in_a_transaction: 3,
    Client.vanish_in_copy: 3, Client.vanish_in_an_answer: 3,
}
