"""
Which statement it is that runs, and what its client was told about the result: as if the client had a server of its own.
PostgreSQL refuses a statement whose result has changed since it was prepared (0A000); never one that was prepared after.
"""

import pytest

from harness.wire import bind, describe, execute, parse, sync

SELECT = "SELECT * FROM shape"


@pytest.fixture
def shape(pg):
    """Changes the table's columns, past the pooler."""
    def change(sql):
        with pg.connect(user="app", autocommit=True) as c:
            c.execute(sql)

    change("DROP TABLE IF EXISTS shape")
    change("CREATE TABLE shape AS SELECT 1 AS a")
    return change


def batch(client, *messages):
    client.send_raw(b"".join(messages) + sync())
    return client.result()


def prepare_and_run(client, sql=SELECT, name="s"):
    return batch(client, parse(sql, name), bind(name=name), describe(), execute())


def run_prepared(client, name="s"):
    """Without asking what the result looks like: drivers that have asked once do that."""
    return batch(client, bind(name=name), execute())


def is_refused(result):
    return [error["C"] for error in result.errors] == ["0A000"]


def without_a_simple_query(client, sql):
    """Those would destroy the server's unnamed statement."""
    result = prepare_and_run(client, sql, sql)
    assert result.error is None, result.error
    return result


def test_an_unnamed_statement_left_on_another_server_does_not_come_back(make_pooler):
    """Prepared on one server, executed by a later batch on another, where the client's one before still is."""
    pooler = make_pooler(default_pool_size=2)
    pid = "pg_backend_pid()::text"
    with pooler.wire() as client, pooler.wire() as here, pooler.wire() as there:
        server = batch(client, parse(f"SELECT 'old', {pid}"), bind(), execute()).rows[0][1]
        without_a_simple_query(here, "BEGIN")
        without_a_simple_query(there, "BEGIN")
        if without_a_simple_query(here, f"SELECT {pid}").value != server:
            here, there = there, here
        without_a_simple_query(there, "COMMIT")
        assert batch(client, parse(f"SELECT 'new', {pid}")).error is None
        without_a_simple_query(there, "BEGIN ")
        without_a_simple_query(here, "COMMIT")
        assert batch(client, bind(), execute()).rows == [["new", server]]


@pytest.mark.parametrize("sql", ["PREPARE q AS SELECT 2", "EXECUTE p", "DEALLOCATE p", "SELECT 2"])
def test_an_unnamed_statement_outlives_the_simple_queries_of_others(make_pooler, sql):
    """Each of them destroys the server's unnamed statement, those too whose text the pooler changes."""
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as client, pooler.wire() as other:
        assert other.query("PREPARE p AS SELECT 1").error is None
        assert batch(client, parse("SELECT 'mine'")).error is None
        assert other.query(sql).error is None
        assert batch(client, bind(), execute()).rows == [["mine"]]


def test_who_does_not_ask_for_the_result_is_told_that_it_has_changed(make_pooler, shape):
    pooler = make_pooler(default_pool_size=2)
    with pooler.wire() as client:
        assert batch(client, parse(SELECT, "s"), describe("S", "s")).error is None
        assert run_prepared(client).rows == [["1"]]
        shape("ALTER TABLE shape ALTER a TYPE text USING 'one'")
        assert is_refused(run_prepared(client))
        # The same text under another name.
        assert prepare_and_run(client, name="again").rows == [["one"]]


def test_so_is_one_whose_statement_another_client_has_prepared_anew(make_pooler, shape):
    pooler = make_pooler(default_pool_size=2)
    with pooler.wire() as client, pooler.wire() as other:
        assert prepare_and_run(client).rows == [["1"]]
        assert prepare_and_run(other).rows == [["1"]]
        shape("ALTER TABLE shape ALTER a TYPE text USING 'one'")
        run_prepared(other)
        assert prepare_and_run(other, name="again").rows == [["one"]]
        assert is_refused(run_prepared(client))


def test_so_is_one_that_comes_to_a_server_that_prepares_it_only_now(make_pooler, shape):
    pooler = make_pooler(default_pool_size=2)
    with pooler.wire() as client, pooler.wire() as here, pooler.wire() as there:
        client.query("BEGIN")
        assert prepare_and_run(client).rows == [["1"]]
        server = client.backend()
        client.query("COMMIT")
        shape("ALTER TABLE shape ALTER a TYPE text USING 'one'")
        here.query("BEGIN")
        there.query("BEGIN")
        (there if here.backend() == server else here).query("COMMIT")
        assert is_refused(run_prepared(client))


def test_who_prepares_after_a_change_is_not_refused(make_pooler, shape):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as before, pooler.wire() as after:
        assert prepare_and_run(before).rows == [["1"]]
        shape("ALTER TABLE shape ADD b int DEFAULT 2")
        assert prepare_and_run(after).rows == [["1", "2"]]


def test_nor_in_a_transaction(make_pooler, shape):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as before, pooler.wire() as after:
        assert prepare_and_run(before).rows == [["1"]]
        shape("ALTER TABLE shape ADD b int DEFAULT 2")
        after.query("BEGIN")
        assert batch(after, parse(SELECT, "s")).error is None
        assert run_prepared(after).rows == [["1", "2"]]


def test_nor_who_only_asks_for_the_result(make_pooler, shape):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as before, pooler.wire() as after:
        assert prepare_and_run(before).rows == [["1"]]
        shape("ALTER TABLE shape ADD b int DEFAULT 2")
        described = batch(after, parse(SELECT, "s"), describe("S", "s"))
        assert [column.name for column in described.columns] == ["a", "b"]
        assert run_prepared(after).rows == [["1", "2"]]
