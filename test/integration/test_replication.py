"""Replication connections pass through: a server of their own for each, which nobody cuts and nobody gets after them."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time

import pytest
from harness.pg import Postgres
from harness.pooler import assert_error
from harness.system import as_account, eventually, give_away, run, stop_process
from harness.wire import Wire, query

# As PostgreSQL reads a boolean.
PHYSICAL = ["true", "1", "on", "yes", "t", "TRUE"]
NEITHER = ["false", "0", "off", "no", "f"]


@pytest.fixture(scope="module")
def publisher(cluster):
    """A server that lets "repl" replicate."""
    pg = Postgres(settings=["wal_level = logical", "max_wal_senders = 10", "max_replication_slots = 10"],
                  hba=["host replication repl 127.0.0.1/32 trust"])
    pg.make_role("repl", more="LOGIN SUPERUSER REPLICATION")
    yield pg
    pg.close()


@pytest.fixture
def make(make_pooler, publisher):
    def make_one(**settings):
        where = {"host": "127.0.0.1", "port": publisher.port}
        # pg_basebackup and pg_receivewal name no database: libpq says "replication" then.
        return make_pooler(databases={"app": where, "replication": where}, userlist={"repl": "", "app": ""},
                           **settings)
    return make_one


@pytest.fixture
def directory():
    path = tempfile.mkdtemp(prefix="pgsluice-replication-", dir="/tmp")
    give_away(path)
    yield path
    shutil.rmtree(path)


def arguments(pooler):
    return ["-h", "127.0.0.1", "-p", str(pooler.port), "-U", "repl"]


@contextlib.contextmanager
def running(publisher, name, *args):
    """One of PostgreSQL's programs that goes on until it is interrupted."""
    process = subprocess.Popen([publisher.program(name), *args], cwd=publisher.directory, stderr=subprocess.PIPE,
                               text=True, **as_account())
    try:
        yield process
    finally:
        status = stop_process(process, signal.SIGINT)
        assert status == 0, process.stderr.read()
        process.stderr.close()


def replicating(pooler, kind):
    """How many clients and servers are shown to replicate."""
    return tuple(sum(row["replication"] == kind for row in pooler.admin(f"SHOW {table}"))
                 for table in ("CLIENTS", "SERVERS"))


def walsender(pooler, kind="database", **parameters):
    return pooler.wire(user="repl", replication=kind, **parameters)


# Programs

@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_pg_basebackup(make, publisher, directory, mode):
    pooler = make(pool_mode=mode)
    target = os.path.join(directory, "copy")
    done = run([publisher.program("pg_basebackup"), "-D", target, "-X", "stream", "-c", "fast", "--no-sync",
                *arguments(pooler)], cwd=directory, **as_account())
    assert done.returncode == 0, done.stderr
    done = run([publisher.program("pg_verifybackup"), target], cwd=directory, **as_account())
    assert done.returncode == 0, done.stderr
    eventually(lambda: replicating(pooler, "physical") == (0, 0), "nothing is left")


def test_pg_receivewal(make, publisher, directory):
    pooler = make()
    with running(publisher, "pg_receivewal", "-D", directory, "--no-loop", *arguments(pooler)):
        eventually(lambda: replicating(pooler, "physical") == (1, 1), "it is shown")
        name = publisher.value("SELECT pg_walfile_name(pg_logical_emit_message(false, 'test', 'something'))")
        publisher.rows("SELECT pg_switch_wal()")
        eventually(lambda: name in os.listdir(directory), "the segment has come")
    with open(os.path.join(directory, name), "rb") as f:
        assert b"something" in f.read()
    assert "replication=physical" in pooler.log()


def test_pg_recvlogical(make, publisher, directory):
    pooler = make()
    to_slot = ["-d", "app", "--slot", "recvlogical", *arguments(pooler)]
    file = os.path.join(directory, "out")
    publisher.psql("DROP TABLE IF EXISTS decoded; CREATE TABLE decoded (x text)", dbname="app")
    done = run([publisher.program("pg_recvlogical"), "--create-slot", "-P", "test_decoding", *to_slot], **as_account())
    assert done.returncode == 0, done.stderr
    with running(publisher, "pg_recvlogical", "--start", "--no-loop", "-f", file, "-F", "1", *to_slot):
        eventually(lambda: replicating(pooler, "logical") == (1, 1), "it is shown")
        publisher.psql("INSERT INTO decoded SELECT 'row ' || g FROM generate_series(1, 5000) g", dbname="app")

        def has_all():
            with open(file) as f:
                return "'row 5000'" in f.read()
        eventually(lambda: os.path.exists(file) and has_all(), "all rows have come")
    done = run([publisher.program("pg_recvlogical"), "--drop-slot", *to_slot], **as_account())
    assert done.returncode == 0, done.stderr


def test_a_subscription(make, publisher, pg):
    """The copy of what is there, and what is written later; with timeouts that would cut any other connection."""
    pooler = make(query_timeout=1, idle_transaction_timeout=1, client_idle_timeout=1, server_lifetime=1)
    for server in (publisher, pg):
        server.psql("DROP TABLE IF EXISTS published; CREATE TABLE published (x int PRIMARY KEY)", dbname="app")
    publisher.psql("INSERT INTO published SELECT generate_series(1, 1000)", dbname="app")
    publisher.psql("DROP PUBLICATION IF EXISTS p; CREATE PUBLICATION p FOR TABLE published", dbname="app")
    where = f"host=127.0.0.1 port={pooler.port} user=repl dbname=app"
    with pg.connect("app", autocommit=True) as subscriber:
        def rows():
            return subscriber.execute("SELECT count(*) FROM published").fetchone()[0]

        subscriber.execute(f"CREATE SUBSCRIPTION through_the_pooler CONNECTION '{where}' PUBLICATION p")
        try:
            eventually(lambda: rows() == 1000, "the copy is there")
            time.sleep(2.5)
            publisher.psql("INSERT INTO published SELECT generate_series(1001, 2000)", dbname="app")
            eventually(lambda: rows() == 2000, "what came later is there")
            # Nobody has connected anew in between.
            assert replicating(pooler, "logical") == (1, 1)
        finally:
            subscriber.execute("DROP SUBSCRIPTION through_the_pooler")
    eventually(lambda: replicating(pooler, "logical") == (0, 0), "nothing is left")


# What is asked for

@pytest.mark.parametrize("value", PHYSICAL)
def test_physical(make, value):
    with walsender(make(), value) as w:
        assert w.query("IDENTIFY_SYSTEM").columns[0].name == "systemid"
        assert_error(w.query("SELECT 1").error, "cannot execute SQL commands")


def test_logical(make):
    with walsender(make()) as w:
        assert w.query("IDENTIFY_SYSTEM").rows[0][3] == "app"
        assert w.value("SELECT 1") == "1"


@pytest.mark.parametrize("value", NEITHER)
def test_no_replication(make, value):
    pooler = make()
    with walsender(pooler, value) as w:
        assert_error(w.query("IDENTIFY_SYSTEM").error, "syntax error")
        assert replicating(pooler, "none") == (2, 1)


@pytest.mark.parametrize("value", ["maybe", "", "o", "2", "databases", "truest"])
def test_what_is_no_value_is_refused_as_postgresql_does(make, value):
    with make().raw() as w:
        error = w.try_login("repl", "app", replication=value)
        assert (error["S"], error["C"]) == ("FATAL", "22023")
        assert error["M"] == f'invalid value for parameter "replication": "{value}"'


def test_the_startup_packet_is_passed_on(make):
    """Other clients' parameters would have to be tracked or ignored; here the server is nobody else's."""
    with walsender(make(), options="-c work_mem=123kB", geqo="off", datestyle="German") as w:
        assert w.value("SHOW work_mem") == "123kB"
        assert w.value("SHOW geqo") == "off"
        assert w.value("SHOW datestyle") == "German, DMY"
        assert w.parameters["DateStyle"] == "German, DMY"


def test_who_may_not_replicate_is_told_by_the_server_and_others_go_on(make):
    pooler = make(server_login_retry=60)
    with pooler.raw() as w:
        error = w.try_login("app", "app", replication="database")
        assert error["C"] in ("42501", "28000"), error
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"


def test_hba_tells_physical_replication_apart(make):
    pooler = make(auth_type="hba", auth_hba_file="/nonexistent", start=False)
    pooler.settings["auth_hba_file"] = pooler.write_file(
        "hba", "local all all trust\nhost app,pgbouncer all 127.0.0.1/32 trust\nhost replication repl 127.0.0.1/32 reject\n")
    pooler.write()
    pooler.start()
    with walsender(pooler) as w:
        assert w.value("SELECT 1") == "1"
    with pooler.raw() as w:
        assert_error(w.try_login("repl", "app", replication="true"), "login rejected", "28000")


# The end of the pooler

DRAIN = {"shutdown_mode": "drain", "shutdown_delay": 0, "shutdown_deadline": 3000}


def assert_told_of_the_end(messages):
    assert messages[-1].type == "E" and b"57P01" in messages[-1].body, messages[-1]


def start_stream(w):
    place = w.query("IDENTIFY_SYSTEM").rows[0][2]
    w.send_raw(query(f"START_REPLICATION PHYSICAL {place}"))
    assert w.recv().type == "W"


@pytest.mark.parametrize("traffic", ["none", "much"])
def test_a_drain_ends_a_stream_behind_a_whole_message(make, publisher, traffic):
    pooler = make(shutdown_pace=1, **DRAIN)
    with walsender(pooler, "true") as w, publisher.connect("app", autocommit=True) as writer:
        start_stream(w)
        pooler.signal(signal.SIGTERM)
        pooler.wait_log("no new clients")
        while traffic == "much" and "have had their turn" not in pooler.log():
            writer.execute("SELECT pg_logical_emit_message(false, 'drain', repeat('x', 300000))")
        messages = w.drain()
        assert not w.is_inside
        assert {m.type for m in messages[:-1]} <= {"d"}
        assert_told_of_the_end(messages)
        assert pooler.wait_exit() == 0


def test_a_stream_does_not_end_before_everybody_has_had_a_turn(make):
    pooler = make(shutdown_pace=3000, **DRAIN)
    with walsender(pooler, "true") as w:
        start_stream(w)
        with pooler.wire() as other:
            other.query("BEGIN")
            pooler.signal(signal.SIGTERM)
            pooler.wait_log("no new clients")
            assert other.query("COMMIT").tags == ["COMMIT"]
            assert_told_of_the_end(other.drain())
        with Wire(pooler.unix_socket).login("admin", "pgbouncer") as console:
            assert [row["replication"] for row in console.query("SHOW SERVERS").dicts()].count("physical") == 1
        pooler.signal(signal.SIGTERM)
        assert pooler.wait_exit() == 0


def test_a_drain_waits_for_commands_and_transactions(make, publisher):
    pooler = make(shutdown_pace=0, **DRAIN)
    with walsender(pooler) as busy, walsender(pooler) as open_, walsender(pooler) as idle:
        idle.query("IDENTIFY_SYSTEM")
        open_.query("BEGIN")
        busy.send_raw(query("SELECT pg_sleep(1) /* drain */") + query("SELECT 7"))
        eventually(lambda: publisher.value("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND"
                                           " query LIKE 'SELECT pg_sleep%drain */'") == 1, "it runs")
        pooler.signal(signal.SIGTERM)
        assert_told_of_the_end(idle.drain())
        assert [busy.result().tags for _ in range(2)] == [["SELECT 1"]] * 2
        assert_told_of_the_end(busy.drain())
        assert open_.value("SELECT 8") == "8"
        assert open_.query("COMMIT").tags == ["COMMIT"]
        assert_told_of_the_end(open_.drain())
        assert pooler.wait_exit() == 0


# Whose the servers are

def test_each_has_a_server_of_its_own_that_nobody_gets_after_it(make, publisher):
    pooler = make()
    with walsender(pooler) as a, walsender(pooler) as b:
        backends = {a.backend(), b.backend()}
        assert len(backends) == 2
        assert (a.query("BEGIN").status, a.query("ROLLBACK").status) == ("T", "I")
        a.query("SET work_mem = '99kB'")
        assert a.value("SHOW work_mem") == "99kB"
        with pooler.wire(user="repl") as w:
            assert w.backend() not in backends
    eventually(lambda: replicating(pooler, "logical") == (0, 0), "both have ended")
    eventually(lambda: not backends & {int(pid) for pid, in publisher.rows("SELECT pid FROM pg_stat_activity")},
               "the server knows")
    with walsender(pooler) as c:
        assert c.backend() not in backends
        assert c.value("SHOW work_mem") != "99kB"


@pytest.mark.parametrize("end", ["vanish", "middle"])
def test_a_client_that_vanishes_takes_its_server_along(make, publisher, end):
    pooler = make()
    w = walsender(pooler)
    backend = w.backend()
    w.send_raw(query("SELECT pg_sleep(1000)") if end == "vanish" else b"Q\0\0\1\0SELECT")
    w.close()
    eventually(lambda: replicating(pooler, "logical") == (0, 0), "both have gone")
    eventually(lambda: publisher.value(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {backend}") == 0,
               "the backend has gone")


def test_a_running_command_is_cancelled(make, publisher):
    with walsender(make()) as w:
        w.send_raw(query("SELECT pg_sleep(1000) /* walsender */"))
        eventually(lambda: publisher.value("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND"
                                           " query LIKE 'SELECT pg_sleep%walsender%'") == 1, "it runs")
        w.cancel()
        assert w.result().error["C"] == "57014"


def test_they_count_under_pool_size(make):
    pooler = make(default_pool_size=2)
    with walsender(pooler) as a, walsender(pooler) as b, pooler.wire(user="app") as other:
        assert a.value("SELECT 1") == b.value("SELECT 1") == "1"
        assert other.value("SELECT 1") == "1"
        with pooler.raw() as w:
            w.startup({"user": "repl", "database": "app"})
            pooler.wait_pool(user="repl", cl_waiting=1, sv_active=2)
            b.send("X")
            assert w.finish_login("repl") is None
            assert w.value("SELECT 1") == "1"


def test_a_server_that_rests_makes_room_for_one(make):
    pooler = make(default_pool_size=1)
    with pooler.wire(user="repl") as w:
        assert w.value("SELECT 1") == "1"
        with walsender(pooler) as r:
            assert r.value("SELECT 1") == "1"
            w.send_raw(query("SELECT 2"))
            pooler.wait_pool(user="repl", cl_waiting=1, sv_active=1)
        assert w.result().value == "2"


def test_the_loss_of_the_server_ends_the_client(make, publisher):
    pooler = make()
    with walsender(pooler) as w:
        publisher.rows(f"SELECT pg_terminate_backend({w.backend()})")
        assert w.is_closed()
    with walsender(pooler) as w:
        assert w.value("SELECT 1") == "1"
