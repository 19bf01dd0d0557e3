"""
Every message in every state of a client, well formed and not: one case for each state.

Whatever a client says, the pooler lives, the client gets an answer, an error or the end of its connection, nobody gets
what is another's, and the servers that it had are as good as before, or gone.
"""

import contextlib
import socket
import struct

import pytest

from harness.nonsense import OF_CLIENTS, OF_SERVERS, all_forms
from harness.pg import Postgres
from harness.pooler import Pooler
from harness.system import eventually
from harness.wire import (GSSENC_REQUEST, SSL_REQUEST, Closed, Scram, bind, copy_data, cstring, describe, execute,
                          packet, parse, query, sync, values_of)

PASSWORD = "matrix password"

# So many clients misbehave at a time; each has a server to do it on.
AT_ONCE = 16

BYSTANDER = "for the bystander"


# States

def before_startup(w):
    pass


def refused_tls(w):
    w.send_raw(packet("", struct.pack("!I", SSL_REQUEST)))
    assert w.read(1) == b"N"


def refused_gss(w):
    w.send_raw(packet("", struct.pack("!I", GSSENC_REQUEST)))
    assert w.read(1) == b"N"


def asked(user):
    def state(w):
        w.startup({"user": user, "database": "app"})
        assert w.recv().type == "R"
    return state


def in_sasl(w):
    asked("by_scram")(w)
    first = Scram(PASSWORD).first()
    w.send("p", cstring("SCRAM-SHA-256") + struct.pack("!I", len(first)) + first)
    assert w.recv().type == "R"


def idle(w):
    w.login("app", "app")


def after(*messages, until="Z", database="app"):
    """Logged in, these have been said, and the reply to the last has begun."""
    def state(w):
        w.login("app", database)
        for message in messages[:-1]:
            w.send_raw(message)
            w.recv_until("Z")
        w.send_raw(messages[-1])
        if until:
            w.recv_until(until)
    return state


def on_the_console(w):
    w.login("admin", "pgbouncer")


def replicating(w):
    w.login("postgres", "app", replication="true")


def streaming(w):
    w.login("postgres", "app", replication="true")
    w.send_raw(query("IDENTIFY_SYSTEM"))
    position = next(values_of(m.body)[2] for m in w.recv_until("Z") if m.type == "D")
    w.send_raw(query(f"START_REPLICATION {position}"))
    w.recv_until("W")


STATES = {
    "before startup": before_startup,
    "behind a refused SSLRequest": refused_tls,
    "behind a refused GSSENCRequest": refused_gss,
    "asked for a password": asked("by_password"),
    "asked for an md5 hash": asked("by_md5"),
    "asked for SASL": asked("by_scram"),
    "in the middle of SASL": in_sasl,
    "idle": idle,
    "in a query": after(query("SELECT pg_sleep(1)"), until=""),
    "in a transaction": after(query("BEGIN")),
    "in a failed transaction": after(query("BEGIN"), query("SELECT 1/0")),
    "in a batch": after(parse("SELECT 1", "matrix") + bind(name="matrix") + describe(), until=""),
    "behind an error in a batch": after(parse("SELECT nonsense") + bind(), until="E"),
    "in a portal": after(query("BEGIN"), parse("SELECT generate_series(1, 9)") + bind(portal="p") + execute("p", 2) +
                         packet("H"), until="s"),
    "in COPY in": after(query("COPY matrix_table FROM STDIN"), until="G"),
    "in COPY in of a batch": after(parse("COPY matrix_table FROM STDIN") + bind() + execute() + sync(), until="G"),
    "behind COPY in": after(query("COPY matrix_table FROM STDIN") + copy_data(b"x\n") + packet("c"), until="C"),
    "in COPY out": after(query("COPY (SELECT repeat('x', 9999) FROM generate_series(1, 100)) TO STDOUT"), until="H"),
    "waiting for a server": after(query("SELECT 1"), until="", database="narrow"),
    "paused": after(query("SELECT 1"), until="", database="paused"),
    "on the console": on_the_console,
    "replicating": replicating,
    "streaming": streaming,
}

UNTRACKED = ("idle", "in a transaction", "in a batch", "behind an error in a batch", "in COPY in",
             "in COPY in of a batch")
CASES = [*((200, state) for state in STATES), *((0, state) for state in UNTRACKED)]


class Offenders:
    """Clients in one state, each with something to say; what they heard."""

    def __init__(self, pooler, state):
        self.pooler, self.state = pooler, state

    def say(self, nonsense):
        """Each says one of these, all at once; those that went wrong, by what was said."""
        faults = {}
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(self.pooler.raw(10)) for _ in nonsense]
            with state_of_the_pool(self.pooler, self.state):
                for w in clients:
                    STATES[self.state](w)
                for w, what in zip(clients, nonsense):
                    with contextlib.suppress(OSError):
                        w.send_raw(what.data + (sync() + query("SELECT 'answer'") if what.whole else b""))
            for w, what in zip(clients, nonsense):
                fault = self.hear(w, what)
                if fault:
                    faults[what.name] = fault
        return faults

    def is_to_answer(self, what):
        """Whether something has to come of it without anybody leaving."""
        return (what.whole or what.impossible) and self.state != "in a query"

    def hear(self, w, what):
        """What is wrong with what comes back; nothing when nothing is."""
        heard = []
        try:
            if self.is_to_answer(what):
                while not is_answer(heard):
                    heard.append(w.recv())
            with contextlib.suppress(OSError):
                w.sock.shutdown(socket.SHUT_WR)
            while True:
                heard.append(w.recv())
        except Closed:
            # A client that has not closed its side is not left alone in the middle of a message.
            if (w.is_inside or w.buffer) and self.state != "in COPY out":
                return f"half a message {bytes(w.buffer[:40])!r}"
        except socket.timeout:
            return f"nothing more comes behind {heard[-3:]}"
        strange = {m.type for m in heard} - set(OF_SERVERS)
        if strange:
            return f"messages of type {strange}"
        if any(BYSTANDER.encode() in m.body for m in heard):
            return "what is another's"
        return None


def is_answer(heard):
    """The last one ends it: an error, or the answer to the query behind the nonsense."""
    return heard and (heard[-1].type == "E" or b"answer" in heard[-1].body)


def users():
    return {"app": "", "postgres": "", "admin": "", "by_password": PASSWORD, "by_md5": PASSWORD, "by_scram": PASSWORD}


@pytest.fixture(scope="module")
def server(cluster):
    """One that lets a client replicate; the cluster of all tests has made the account that it runs as."""
    pg = Postgres(settings=["max_wal_senders = 100"], hba=["host replication postgres 127.0.0.1/32 trust"])
    pg.rows("CREATE TABLE matrix_table (t text)", "app")
    pg.rows("GRANT ALL ON matrix_table TO PUBLIC", "app")
    yield pg
    pg.close()


@pytest.fixture(scope="module")
def pooler(request, server):
    pooler = Pooler(server, start=False, databases={name: {"dbname": "app"} for name in ("app", "narrow", "paused")},
                    userlist=users(), auth_type="hba", default_pool_size=AT_ONCE + 1,
                    max_prepared_statements=request.param, log_connections=0, log_disconnections=0, log_pooler_errors=0)
    pooler.databases["narrow"]["pool_size"] = 1
    pooler.settings["auth_hba_file"] = pooler.write_file("hba", (
        "host all by_password all password\nhost all by_md5 all md5\nhost all by_scram all scram-sha-256\n"
        "host all all all trust\nhost replication all all trust\n"))
    pooler.write()
    pooler.start()
    yield pooler
    pooler.close()


@contextlib.contextmanager
def state_of_the_pool(pooler, state):
    """What has to be so that clients can be in that state, until they have said their nonsense."""
    if state == "waiting for a server":
        with pooler.wire("narrow") as w:
            w.query("BEGIN")
            yield
            w.query("ROLLBACK")
    elif state == "paused":
        with pooler.wire("paused") as w:
            w.query("SELECT 1")
        assert pooler.admin_result("PAUSE paused").error is None
        yield
        assert pooler.admin_result("RESUME paused").error is None
    else:
        yield


def is_at_rest(pooler):
    """No client but the bystander, and no server in the hands of anybody."""
    busy = ("cl_waiting", "cl_active_cancel_req", "cl_waiting_cancel_req", "sv_active", "sv_tested",
            "sv_being_canceled")
    return all(row[column] == "0" for row in pooler.admin("SHOW POOLS") if row["user"] == "app" for column in busy)


@pytest.mark.parametrize("pooler, state", CASES, indirect=["pooler"])
def test_whatever_a_client_says_is_its_own_affair(pooler, is_long, state):
    offenders = Offenders(pooler, state)
    nonsense = [*all_forms(OF_CLIENTS, is_long), *(what for what in all_forms(OF_SERVERS, False) if what.whole)]
    if not is_long:
        # Another fifth in each state.
        nonsense = nonsense[list(STATES).index(state) % 5::5]
    faults = {}
    with pooler.wire() as bystander:
        for i in range(0, len(nonsense), AT_ONCE):
            faults.update(offenders.say(nonsense[i:i + AT_ONCE]))
            mine = f"{BYSTANDER} {i}"
            assert bystander.value(f"SELECT '{mine}'") == mine, nonsense[i:i + AT_ONCE]
            assert bystander.extended("SELECT $1::text", [mine]).value == mine, nonsense[i:i + AT_ONCE]
    assert faults == {}
    eventually(lambda: is_at_rest(pooler), "all servers are free")
    # All of them: none has anything left for its next client.
    with contextlib.ExitStack() as stack:
        for i in range(AT_ONCE + 1):
            w = stack.enter_context(pooler.wire())
            w.query("BEGIN")
            assert w.value(f"SELECT {i}") == str(i)
