"""
Prepared statements and pipelines as a property: whatever random clients say, all of them through one pooler with few
servers that each keep few statements, every one of them gets what PostgreSQL by itself would have answered.

One client says something at a time, so that both worlds see the same. The seed is printed; PGSLUICE_TEST_SEED runs
one again, PGSLUICE_TEST_STEPS sets how long the sessions are, PGSLUICE_TEST_DIRECT=1 has PostgreSQL itself in the
pooler's place, to test the test.
"""

import contextlib
import os
import random
import time

import pytest

from harness.mirror import Difference, Mirror, Step, show, smaller
from harness.pooler import Pooler
from harness.wire import query

STEPS = int(os.environ.get("PGSLUICE_TEST_STEPS", 1500))
IS_DIRECT = bool(os.environ.get("PGSLUICE_TEST_DIRECT"))
SHRINK_SECONDS = 60

CLIENTS, HOLDERS, SERVERS, STATEMENTS = 5, 2, 3, 3

NAMES = ["a", "b", "c", "Foo", "foo", "n" * 63]
ACTIONS = ["u", "v"]       # statements without a result: who describes one may be told of a failed transaction first
COMMANDS = ["e", "f"]      # PREPARE, EXECUTE, DEALLOCATE as the text of a Parse
COPY_NAME = "copy"
PORTALS = ["", "", "p", "q"]

# Text and types of the parameters, and how many there are.
SELECTS = [
    ("SELECT 1", (), 0), ("SELECT $1::int + 1", (), 1), ("SELECT $1", (23,), 1), ("SELECT $1", (25,), 1),
    ("SELECT n, t FROM series WHERE n > $1 ORDER BY n", (), 1), ("SELECT * FROM series ORDER BY n", (), 0),
    ("SELECT count(*), max(n) FROM items", (), 0), ("INSERT INTO items VALUES ($1, $2) RETURNING n, t", (), 2),
    ("SELECT 10 / $1::int", (), 1), ("/* a /* b */ ; */ SELECT 'it''s $1' -- end", (), 0),
    ("SELECT " + "1 + " * 3000 + "1", (), 0), ("SELECT E'\\u20ac' || $1", (25,), 1),
    ("SELECT t::int FROM series ORDER BY n", (), 0), ("SELECT $1::int, $2::text, $3::bool", (0, 25), 3),
    ("EXPLAIN (COSTS OFF) SELECT 1", (), 0), ("SHOW server_version", (), 0),
]
FAULTY = [
    ("SELEC 1", (), 0), ("SELECT 'open", (), 0), ("SELECT * FROM nowhere", (), 0), ("SELECT nothing FROM items", (), 0),
    ("SELECT 1; SELECT 2", (), 0), ("SELECT $2::int", (), 2), ("SELECT $1", (4711,), 1), ("SELECT \"", (), 0),
]
ENDINGS = ["BEGIN", "COMMIT", "ROLLBACK"]
POINTS = ["SAVEPOINT s", "ROLLBACK TO s", "RELEASE s"]
OTHERS = ["INSERT INTO items VALUES (5, 'five')", "", "-- nothing", "UPDATE items SET n = 0 WHERE false"]
SIMPLE = [
    "SELECT 1", "SELECT 1; SELECT 2", "SELECT 1; SELECT 1/0; SELECT 3", "INSERT INTO items VALUES (1, 'x'); SELECT 2",
    "", ";", "SELECT * FROM nowhere", "SELEC", "COPY (SELECT 1) TO STDOUT", "BEGIN; SELECT 1", "COMMIT; BEGIN",
    "DO $$ BEGIN RAISE NOTICE 'hear me'; END $$", "SELECT count(*) FROM items", "DISCARD PLANS", "DEALLOCATEALL",
]
SQL_NAMES = ["a", "b", "c", "Foo", "FOO", '"Foo"', "foo", "missing", "n" * 63]
BLANKS = ["", "", "", "  ", "/* before */ ", "-- before\n", "/* one /* two */ */\n\t"]
TAILS = ["", "", ";", " ; ", " -- after"]
VALUES = ["1", "0", "7", "many", None, "", "2147483648"]


class Rules:
    """
    What a random client has to leave out, because the two worlds may differ there: that is decided, and told in the
    manual. Applied while a session runs, so that it holds for what is left of one that is cut down, too.

    - With prepared_unnamed = off an unnamed statement that is bound in the batch that parses it need not be there
      any more at the next server.
    - A statement without a result can be described in a failed transaction only where the server already has it.
    - A portal from before is left alone where the transaction may have failed: PostgreSQL 15 itself crashes over it.
    - The portals of COPY FROM are used in one go, and what is said ends so that it is answered.
    """

    def __init__(self, is_caching):
        self.is_caching = is_caching
        self.unnamed = "kept"     # "kept" wherever it goes, "held" as long as the server stays, "lost" perhaps

    def permitted(self, messages, mirror):
        allowed, portals = [], set()
        is_intact = mirror.status != "E"
        is_calm = mirror.status == "I" and not mirror.is_open
        is_parsed = is_bound = False
        for message in messages:
            name = message[0]
            if name == "bind" and message[2] == "" or message[:3] == ("describe", "S", ""):
                if not (self.is_caching or is_parsed or self.unnamed != "lost"):
                    continue
                is_bound = is_bound or name == "bind"
            actions = [*ACTIONS, ""] if self.is_caching else ACTIONS
            if name == "describe" and message[1] == "S" and message[2] in actions and not is_calm:
                continue
            if name in ("query", "execute"):
                is_calm = False
            if name == "bind":
                portals.add(message[3])
            if name == "execute" or name == "describe" and message[1] == "P":
                if not is_intact and message[1 if name == "execute" else 2] not in portals:
                    continue
            if name == "parse" and message[2] == "":
                is_parsed, is_bound = True, False
            if name in ("query", "sync"):
                if is_parsed:
                    self.unnamed = "lost" if is_bound or self.unnamed == "lost" and allowed[0][0] != "parse" else "kept"
                elif self.unnamed == "held":
                    self.unnamed = "lost"
                is_parsed = is_bound = is_intact = False
                portals.clear()
            allowed.append(message)
        if is_parsed:
            self.unnamed = "lost"
        return self._ended(allowed)

    @staticmethod
    def _ended(messages):
        ended = []
        for message in messages:
            is_data = message[0].startswith("copy_")
            if ended and not is_data and starts_copy(ended[-1]):
                ended.append(("copy_done",))
            ended.append(message)
        if ended and starts_copy(ended[-1]):
            ended.append(("copy_done",))
        if ended and ended[-1][0] == "copy_data":
            ended.append(("copy_done",))
        said = [m[0] for m in ended if not m[0].startswith("copy_")]
        if said and said[-1] not in ("query", "sync", "flush"):
            ended.append(("flush",))
        return ended


def starts_copy(message):
    return message[0] == "execute" and message[1] == COPY_NAME or message[0] == "query" and "FROM STDIN" in message[1]


class Grammar:
    """Random steps. Knows what the names may mean by now, so that most of what is said makes sense."""

    def __init__(self, rng):
        self.rng = rng
        self.counts = {}     # of parameters, by client and name

    def cuts(self):
        return tuple(self.rng.randrange(1 << 20) for _ in range(self.rng.choice([0, 0, 0, 0, 1, 2, 5])))

    def step(self, client, status="I"):
        if status == "E" and self.rng.random() < 0.4:
            return Step(client, [("query", self.rng.choice(["ROLLBACK", "COMMIT"]))], ())
        kind = self.rng.choices(["simple", "pipeline", "open", "unnamed", "new"], [25, 58, 10, 6, 1])[0]
        return Step(client, getattr(self, "_" + kind)(client), self.cuts())

    def _new(self, client):
        """The client goes, and another takes its place."""
        return []

    def _simple(self, client):
        messages = []
        for _ in range(self.rng.choice([1, 1, 1, 2, 3])):
            messages += self._query()
        return messages

    def _pipeline(self, client):
        messages = []
        for _ in range(self.rng.choice([1, 1, 2, 3])):
            messages += self._segment(client) + [("sync",)]
        return messages

    def _open(self, client):
        return self._segment(client) + [("flush",)]

    def _unnamed(self, client):
        text, types, n = self.rng.choice(SELECTS + FAULTY)
        self.counts[client, ""] = n
        return [("parse", text, "", types)] + [("describe", "S", "")] * self.rng.randrange(2) + [("sync",)]

    def _segment(self, client):
        messages = []
        for _ in range(self.rng.choice([1, 1, 2, 3, 4])):
            idiom = self.rng.choices(["use", "prepare", "both", "action", "command", "copy", "close", "stray", "flush"],
                                     [30, 15, 20, 12, 8, 4, 6, 6, 3])[0]
            messages += getattr(self, "_idiom_" + idiom)(client)
        return messages

    def _name(self):
        return self.rng.choice(NAMES[:3] * 4 + NAMES + [""] * 4)

    def _idiom_prepare(self, client, name=None):
        name = self._name() if name is None else name
        text, types, n = self.rng.choice(SELECTS * 8 + FAULTY)
        messages = [("close", "S", name)] if self.rng.random() < 0.8 else []
        if messages or (client, name) not in self.counts:
            self.counts[client, name] = n
        return messages + [("parse", text, name, types)] + [("describe", "S", name)] * (self.rng.random() < 0.3)

    def _idiom_use(self, client, name=None):
        name = self._name() if name is None else name
        n = self.counts.get((client, name), 0) if self.rng.random() < 0.97 else self.rng.randrange(4)
        values = tuple(self.rng.choice(VALUES[:2] * 9 + VALUES) for _ in range(n))
        portal = self.rng.choice(PORTALS)
        return self._run(values, name, portal)

    def _run(self, values, name, portal):
        messages = [("bind", values, name, portal)]
        if self.rng.random() < 0.4:
            messages.append(("describe", "P", portal))
        messages += [("execute", portal, self.rng.choice([0, 0, 2]))] * self.rng.choice([0, 1, 1, 1, 1, 2])
        if portal and self.rng.random() < 0.8:
            messages.append(("close", "P", portal))
        return messages

    def _idiom_both(self, client):
        name = self._name()
        return self._idiom_prepare(client, name) + self._idiom_use(client, name)

    def _idiom_action(self, client):
        name = self.rng.choice(ACTIONS + [""])
        messages = []
        if self.rng.random() < 0.6 or name == "":
            text = self.rng.choice(ENDINGS * 3 + POINTS + OTHERS)
            self.counts[client, name] = 0
            messages += [("close", "S", name)] * (self.rng.random() < 0.7) + [("parse", text, name, ())]
        if name and self.rng.random() < 0.2:
            messages.append(("describe", "S", name))
        return messages + self._run((), name, self.rng.choice(PORTALS))

    def _idiom_command(self, client):
        name = self.rng.choice(COMMANDS)
        return [("close", "S", name), ("parse", self._command(), name, ()), *self._run((), name, "")]

    def _idiom_copy(self, client):
        data = [("copy_data", self.rng.choice([b"8\tcopied\n"] * 5 + [b"nonsense\n"]))] * self.rng.randrange(4)
        messages = [("close", "S", COPY_NAME), ("parse", "COPY items FROM STDIN", COPY_NAME, ())]
        return messages[:self.rng.choice([0, 2, 2, 2])] + [
            ("bind", (), COPY_NAME, COPY_NAME), ("execute", COPY_NAME, 0), *data,
            self.rng.choice([("copy_done",)] * 5 + [("copy_fail", "given up")]), ("close", "P", COPY_NAME)]

    def _idiom_close(self, client):
        if self.rng.random() < 0.3:
            return [("close", "P", self.rng.choice(PORTALS))]
        return [("close", "S", self.rng.choice(NAMES + ACTIONS + ["missing"]))]

    def _idiom_stray(self, client):
        """What refers to nothing, or to something left from before."""
        portal = self.rng.choice(PORTALS)
        return [self.rng.choice([("execute", portal, 1), ("describe", "P", portal), ("describe", "S", self._name()),
                                 ("bind", (), "missing", ""), ("describe", "S", "missing"), ("sync",)])]

    def _idiom_flush(self, client):
        return [("flush",)]

    def _query(self):
        kind = self.rng.choices(["simple", "ending", "point", "command", "copy"], [25, 40, 10, 30, 4])[0]
        if kind == "copy":
            return [("query", "COPY items FROM STDIN"), ("copy_data", self.rng.choice([b"9\tx\n", b"bad\n"])),
                    self.rng.choice([("copy_done",), ("copy_fail", "no")])]
        if kind == "command":
            return [("query", self.rng.choice(BLANKS) + self._command() + self.rng.choice(TAILS))]
        return [("query", self.rng.choice({"simple": SIMPLE, "ending": ENDINGS, "point": POINTS}[kind]))]

    def _command(self):
        name = self.rng.choice(SQL_NAMES)
        verb = self.rng.choices(["prepare", "execute", "deallocate", "all"], [35, 45, 20, 6])[0]
        if verb == "prepare":
            types = self.rng.choice(["", "", "", " (int)", "(int, text)"])
            text = self.rng.choice([t for t, _, _ in SELECTS if not t.startswith(("EXPLAIN", "SHOW"))] +
                                   ["SELEC", "SELECT * FROM nowhere"])
            return f"{self.rng.choice(['PREPARE', 'prepare'])} {name}{types} AS {text}"
        if verb == "execute":
            return f"EXECUTE {name}" + self.rng.choice(["", "", "(1)", " (1, 'x')", "(NULL)", "('many')"])
        if verb == "deallocate":
            return f"{self.rng.choice(['DEALLOCATE', 'deallocate PREPARE'])} {self.rng.choice([name] * 6 + ACTIONS)}"
        return self.rng.choice(["DEALLOCATE ALL", "DISCARD ALL", "DEALLOCATE PREPARE ALL", 'DEALLOCATE "ALL"'])


class Session:
    """All clients of one run, each in both worlds, and holders: clients that keep a server away from the others."""

    def __init__(self, worlds, is_caching):
        self.worlds = worlds
        self.is_caching = is_caching
        self.stack = contextlib.ExitStack()
        self.log = []
        self.mirrors = [self._mirror() for _ in range(CLIENTS)]
        self.rules = [Rules(is_caching) for _ in range(CLIENTS)]
        self.holders = [self.stack.enter_context(worlds.pooled()) for _ in range(HOLDERS)]
        self.holding = [False] * HOLDERS

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for mirror in self.mirrors:
            mirror.close()
        self.stack.close()

    def _mirror(self):
        return Mirror(self.worlds.pooled(), self.worlds.direct())

    def free(self):
        return SERVERS - sum(self.holding) - sum(m.holds_server for m in self.mirrors)

    def may_step(self, client):
        return client >= CLIENTS or self.mirrors[client].holds_server or self.free() > 0

    def step(self, step):
        """One step; those that would have to wait for a server are left out."""
        if step.client >= CLIENTS:
            self._hold(step.client - CLIENTS)
        elif self.may_step(step.client):
            self._say(step)

    def _hold(self, i):
        if not self.holding[i] and self.free() < 2:
            return
        self.holding[i] = not self.holding[i]
        assert self.holders[i].query("BEGIN" if self.holding[i] else "COMMIT").error is None

    def _say(self, step):
        mirror, rules = self.mirrors[step.client], self.rules[step.client]
        if not step.messages:
            mirror.close()
            self.mirrors[step.client] = self._mirror()
            self.rules[step.client] = Rules(self.is_caching)
            return
        unnamed = rules.unnamed
        said = rules.permitted(step.messages, mirror)
        self.log.append((step.client, said))
        mirror.step(said, step.cuts)
        # A Parse that was skipped has left the one before.
        if mirror.has_skipped and unnamed == "lost":
            rules.unnamed = "lost"
        if not mirror.holds_server and rules.unnamed == "held":
            rules.unnamed = "lost"


class Worlds:
    """Two databases with the same contents, down to the object ids, and who leads to them."""

    def __init__(self, pg, make_pooler, **settings):
        self.pg = pg
        self.make_pooler = make_pooler
        self.settings = settings
        self.pooler = None

    def renew(self):
        """Everything as it was at first."""
        if self.pooler is not None:
            self.pooler.stop()
        self.pg.clear()
        for name in ("mirror_direct", "mirror_pooled", "mirror"):
            self.pg.rows(f"DROP DATABASE IF EXISTS {name}")
        self.pg.rows("CREATE DATABASE mirror OWNER app")
        self.pg.rows("CREATE TABLE items (n int, t text)", "mirror")
        self.pg.rows("CREATE TABLE series AS SELECT n, 'row ' || n AS t FROM generate_series(1, 6) n", "mirror")
        self.pg.rows("GRANT ALL ON items, series TO PUBLIC", "mirror")
        for name in ("mirror_direct", "mirror_pooled"):
            self.pg.rows(f"CREATE DATABASE {name} TEMPLATE mirror OWNER app STRATEGY file_copy")
            # Which plan it is, and with it whether a faulty value shows at Bind or at Execute, depends on how often
            # a server has run the statement.
            self.pg.rows(f"ALTER DATABASE {name} SET plan_cache_mode = force_custom_plan")
        if not IS_DIRECT:
            self.pooler = self.make_pooler(databases={"app": {"dbname": "mirror_pooled"}}, **self.settings)

    def pooled(self):
        return self.pooler.wire(timeout=15) if self.pooler else self.pg.wire("mirror_pooled", timeout=15)

    def direct(self):
        return self.pg.wire("mirror_direct", timeout=15)

    def difference(self, steps, is_caching):
        """Says all of it to a new world; what was different, or None."""
        self.renew()
        with Session(self, is_caching) as session:
            try:
                for step in steps:
                    session.step(step)
            except Difference as difference:
                return difference, session.log
        return None


def steps_of(seed, session):
    """Random steps as the session goes on: who has to wait for a server is not asked to speak."""
    rng = random.Random(seed)
    grammar = Grammar(rng)
    for _ in range(STEPS):
        speakers = [i for i in range(CLIENTS) if session.may_step(i)] + [CLIENTS + i for i in range(HOLDERS)]
        client = rng.choice(speakers)
        yield grammar.step(client, session.mirrors[client].status) if client < CLIENTS else Step(client, [], ())


def report(seed, found, steps, worlds, is_caching):
    """A failure as somebody wants to read it: little, and all that is needed to see it again."""
    difference, log = found
    what = difference.why.split("\n")[0]
    last = found

    def fails(fewer):
        nonlocal last
        again = worlds.difference(fewer, is_caching)
        if again is None or again[0].kind != difference.kind:
            return False
        last = again
        return True

    smaller(steps, fails, SHRINK_SECONDS)
    lines = [f"seed {seed}, after {len(log)} steps: {what}", "", "cut down to:"]
    for client, said in last[1]:
        lines.append(f"  client {client}: " + ", ".join(show(m) for m in said))
    return "\n".join([*lines, "", str(last[0])])


SEEDS = [1, 2, "random"] if "PGSLUICE_TEST_SEED" not in os.environ else [int(os.environ["PGSLUICE_TEST_SEED"])]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("unnamed", ["off", "cache"])
def test_a_random_session_gets_the_same_replies_as_without_the_pooler(pg, make_pooler, unnamed, seed):
    seed = random.SystemRandom().randrange(1 << 32) if seed == "random" else seed
    print(f"PGSLUICE_TEST_SEED={seed}")
    worlds = Worlds(pg, make_pooler, pool_mode="transaction", default_pool_size=SERVERS,
                    max_prepared_statements=STATEMENTS, prepared_unnamed=unnamed, server_round_robin=1)
    worlds.renew()
    steps, found = [], None
    with Session(worlds, unnamed == "cache") as session:
        try:
            for step in steps_of(seed, session):
                steps.append(step)
                session.step(step)
        except Difference as difference:
            found = difference, session.log
    if found:
        pytest.fail(report(seed, found, steps, worlds, unnamed == "cache"), pytrace=False)
