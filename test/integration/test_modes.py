"""Session, transaction and statement pooling."""

import pytest

from harness.pooler import assert_error
from harness.system import eventually
from harness.wire import FakeServer, extended, query, sync


def recording_server(seen):
    """A fake server that notes the simple queries it gets."""
    def script(peer):
        peer.read_startup()
        peer.welcome()
        while True:
            kind, body = peer.recv()
            if kind == "X":
                return
            if kind == "Q":
                seen.append(body[:-1].decode())
                peer.send("C" if body != b"\0" else "I", b"SELECT 0\0" if body != b"\0" else b"")
            if kind in "QS":
                peer.ready()
    return FakeServer(script)


def test_session_keeps_the_server(make_pooler):
    pooler = make_pooler(pool_mode="session")
    with pooler.wire() as a, pooler.wire() as b:
        assert a.backend() != b.backend()
        a.query("CREATE TEMP TABLE mine (i int); INSERT INTO mine VALUES (42)")
        b.value("SELECT 1")
        assert a.value("SELECT i FROM mine") == "42"
        assert a.backend() == a.backend()


def test_session_queues_until_the_other_leaves(make_pooler):
    pooler = make_pooler(pool_mode="session", default_pool_size=1)
    with pooler.wire() as a, pooler.wire() as b:
        a.value("SELECT 1")
        b.send_raw(query("SELECT 'mine'"))
        pooler.wait_pool(cl_waiting=1)
        a.send("X")
        assert b.result().value == "mine"


def test_session_is_cleaned_for_the_next(make_pooler):
    pooler = make_pooler(pool_mode="session", default_pool_size=1)
    with pooler.wire() as a:
        first = a.backend()
        a.query("CREATE TEMP TABLE mine (i int); SET work_mem = '77MB'; PREPARE p AS SELECT 1")
        a.send("X")
    with pooler.wire() as b:
        assert b.backend() == first
        assert b.query("SELECT * FROM mine").error["C"] == "42P01"
        assert b.value("SHOW work_mem") != "77MB"
        assert b.value("SELECT count(*) FROM pg_prepared_statements") == "0"


@pytest.mark.parametrize("mode, always, expected", [
    ("session", 0, True), ("transaction", 0, False), ("transaction", 1, True), ("statement", 1, True)])
def test_reset_query(make_pooler, mode, always, expected):
    seen = []
    with recording_server(seen) as server:
        pooler = make_pooler(databases={"app": server.entry}, pool_mode=mode, server_check_query="",
                             server_reset_query="RESET my_own", server_reset_query_always=always)
        with pooler.wire() as w:
            w.query("SELECT 1")
            w.send("X")
        pooler.wait_pool(cl_active=0, sv_idle=1)
        assert ("RESET my_own" in seen) == expected
        assert seen[0] == "SELECT 1"


def test_no_reset_query(make_pooler):
    seen = []
    with recording_server(seen) as server:
        pooler = make_pooler(databases={"app": server.entry}, pool_mode="session", server_check_query="",
                             server_reset_query="")
        with pooler.wire() as w:
            w.query("SELECT 1")
            w.send("X")
        pooler.wait_pool(cl_active=0, sv_idle=1)
        assert seen == ["SELECT 1"]


def test_transactions_share_a_server(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as a, pooler.wire() as b:
        for _ in range(3):
            assert a.backend() == b.backend()
        a.query("BEGIN")
        b.send_raw(query("SELECT 'b'"))
        pooler.wait_pool(cl_active=1, cl_waiting=1)
        assert a.value("SELECT 'a'") == "a"
        a.query("COMMIT")
        assert b.result().value == "b"


def test_a_failed_transaction_keeps_its_server(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as a, pooler.wire() as b:
        a.query("BEGIN")
        failed = a.query("SELECT 1/0")
        assert (failed.error["C"], failed.status) == ("22012", "E")
        b.send_raw(query("SELECT 'b'"))
        pooler.wait_pool(cl_waiting=1)
        assert a.query("SELECT 1").error["C"] == "25P02"
        assert a.query("ROLLBACK").status == "I"
        assert b.result().value == "b"


def test_untracked_settings_stay_with_the_server(make_pooler):
    """That is what transaction pooling means; SET LOCAL is the way."""
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as a, pooler.wire() as b:
        a.query("SET work_mem = '77MB'")
        assert b.value("SHOW work_mem") == "77MB"


@pytest.mark.parametrize("begin", ["BEGIN", "START TRANSACTION", "SELECT 1; BEGIN"])
def test_statement_mode_has_no_transactions(make_pooler, begin):
    pooler = make_pooler(pool_mode="statement", default_pool_size=1)
    with pooler.wire() as a, pooler.wire() as b:
        assert a.value("SELECT 'a'") == "a"
        assert_error(a.query(begin).error, "transaction blocks not allowed in statement pooling mode", "0A000")
        assert a.is_closed()
        assert b.value("SELECT 'b'") == "b"


def test_statement_mode_works_for_statements(make_pooler):
    pooler = make_pooler(pool_mode="statement", default_pool_size=1)
    with pooler.wire() as a, pooler.wire() as b:
        for _ in range(3):
            assert a.extended("SELECT $1::int + 1", [1]).value == "2"
            assert b.value("SELECT 2; SELECT 3") == "2"


@pytest.mark.parametrize("where", ["database", "user", "both"])
def test_mode_of_a_database_and_of_a_user(make_pooler, where):
    """user before database before global"""
    database = {"database": "session", "user": None, "both": "statement"}[where]
    user = {"database": None, "user": "session", "both": "session"}[where]
    pooler = make_pooler(databases={"app": {"pool_mode": database} if database else {}, "second": {}},
                         users={"app": {"pool_mode": user}} if user else {}, pool_mode="transaction",
                         default_pool_size=1)
    with pooler.wire() as a:
        a.value("SELECT 1")
        row = pooler.pool()
        assert (row["pool_mode"], row["cl_active"], row["sv_active"]) == ("session", "1", "1")


def test_transaction_mode_releases_after_each_transaction(pooler):
    with pooler.wire() as w:
        w.query("BEGIN")
        assert pooler.pool()["sv_active"] == "1"
        w.query("COMMIT")
        eventually(lambda: pooler.pool()["sv_active"] == "0", "the server is released")
        assert pooler.pool()["sv_idle"] == "1"


def test_a_pipeline_of_several_syncs_may_change_servers_only_between_them(make_pooler):
    pooler = make_pooler(default_pool_size=2)
    with pooler.wire() as a, pooler.wire() as b:
        a.send_raw((extended("SELECT pg_backend_pid()") + extended("SELECT pg_backend_pid()") + sync()) * 20)
        b.send_raw((extended("SELECT pg_backend_pid()") + sync()) * 20)
        for _ in range(20):
            rows = a.result().rows
            assert rows[0] == rows[1]
            assert b.result().error is None
