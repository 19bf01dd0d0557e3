"""
Prepared statements where each transaction may run on another server, and pipelines of them.

What PostgreSQL does by itself too is tested against both: tests with the fixture `door` run once through a pooler
whose client changes servers with every transaction, and once past it. test_prepared_property.py has the same in
every combination; here each claim stands by itself.
"""

import contextlib
import itertools
import threading
import time

import pytest

from harness.mirror import comparable
from harness.pooler import has_sanitizers, open_servers
from harness.system import eventually
from harness.wire import (Closed, bind, close, copy_data, copy_done, copy_fail, cstring, describe, error_fields, execute,
                          extended, flush, packet, parse, query, sync)

MB = 1 << 20
INT4, TEXT = 23, 25

# What a server has by name.
ON_SERVER = "SELECT count(*) FROM pg_prepared_statements"


def run(name="", *values):
    """Bind and Execute."""
    return bind(values, name) + execute()


@pytest.fixture
def make_switching(make_pooler):
    """A pooler of n servers that gives each transaction the one that has rested longest."""
    def make(servers=2, **settings):
        pooler = make_pooler(**{"default_pool_size": servers, "server_round_robin": 1, **settings})
        if servers > 1 and "pool_mode" not in settings:
            open_servers(pooler, servers)
        return pooler
    return make


@pytest.fixture
def switching(make_switching):
    return make_switching()


@pytest.fixture(params=["PostgreSQL", "pooler"])
def door(request, pg):
    """A server and a pooler, for what is true of both: .wire()."""
    return pg if request.param == "PostgreSQL" else request.getfixturevalue("switching")


def statements(pooler):
    """SHOW PREPARED_STATEMENTS by query text."""
    return {row["query"]: row for row in pooler.admin("SHOW PREPARED_STATEMENTS")}


def prepared_stats(pooler, database="app"):
    [row] = [row for row in pooler.admin("SHOW PREPARED_STATS") if row["database"] == database]
    return {k: int(v) for k, v in row.items() if k != "database"}


def test_the_client_of_these_tests_changes_servers(switching):
    with switching.wire() as w:
        backends = [w.backend() for _ in range(4)]
        assert backends[0] != backends[1] and backends[:2] == backends[2:]


# A statement goes where its client goes

def test_a_statement_is_there_on_every_server(make_switching):
    pooler = make_switching(servers=3)
    with pooler.wire() as w:
        assert w.say(parse("SELECT pg_backend_pid(), $1::int + 1", "s")).types == "1Z"
        results = [w.say(run("s", i)) for i in range(9)]
        assert [r.types for r in results] == ["2DCZ"] * 9
        assert [r.rows[0][1] for r in results] == [str(i + 1) for i in range(9)]
        assert len({r.rows[0][0] for r in results}) == 3


def test_describe_knows_the_statement_on_every_server(door):
    with door.wire() as w:
        w.say(parse("SELECT $1::int AS one, $2 AS two", "s", (0, TEXT)))
        for _ in range(4):
            result = w.say(describe("S", "s"))
            assert result.types == "tTZ"
            assert [(c.name, c.oid) for c in result.columns] == [("one", INT4), ("two", TEXT)]


def test_a_portal_runs_on_within_its_transaction(door):
    with door.wire() as w:
        w.say(parse("SELECT generate_series(1, 5)", "s"))
        w.query("BEGIN")
        assert w.say(bind((), "s", "p"), execute("p", 2)).types == "2DDsZ"
        assert w.say(execute("p", 2)).types == "DDsZ"
        assert w.say(execute("p", 2), close("P", "p")).types == "DC3Z"
        w.query("COMMIT")
        assert w.say(execute("p")).error["C"] == "34000"


def test_names_belong_to_one_client_each(door):
    with door.wire() as a, door.wire() as b:
        a.say(parse("SELECT 'a'", "s"))
        b.say(parse("SELECT 'b'", "s"))
        for _ in range(3):
            assert a.say(run("s")).value == "a"
            assert b.say(run("s")).value == "b"
        a.say(close("S", "s"))
        assert a.say(run("s")).error["C"] == "26000"
        assert b.say(run("s")).value == "b"


def test_one_text_with_different_types_is_two_statements(door):
    with door.wire() as w:
        w.say(parse("SELECT $1", "int", (INT4,)), parse("SELECT $1", "text", (TEXT,)))
        for _ in range(3):
            assert w.say(bind(["7"], "int"), describe(), execute()).columns[0].oid == INT4
            assert w.say(bind(["7"], "text"), describe(), execute()).columns[0].oid == TEXT


def test_a_text_that_fails_only_now_fails_at_bind(switching, pg):
    """The client has been told that it was parsed. What has gone since then, it hears where it uses it."""
    pg.rows("CREATE TABLE prepared_gone (i int); GRANT ALL ON prepared_gone TO PUBLIC", "app")
    with switching.wire() as w:
        assert w.say(parse("SELECT * FROM prepared_gone", "s")).error is None
        pg.rows("DROP TABLE prepared_gone", "app")
        for _ in range(3):
            result = w.say(run("s"))
            assert (result.types, result.error["C"]) == ("EZ", "42P01")
        assert w.value("SELECT 1") == "1"


def test_the_server_is_restarted(switching, pg):
    with switching.wire() as w:
        w.say(parse("SELECT 'still ' || $1", "s", (TEXT,)))
        w.query("PREPARE q AS SELECT 'and this'")
        assert w.say(run("s", "here")).value == "still here"
        pg.restart()
        switching.wait_pool(sv_idle=0)
        for _ in range(4):
            assert w.say(run("s", "here")).value == "still here"
            assert w.value("EXECUTE q") == "and this"


def test_statement_mode(make_switching):
    pooler = make_switching(pool_mode="statement")
    with pooler.wire() as w, pooler.wire() as other:
        w.send_raw(query("SELECT pg_sleep(0.2)"))
        other.value("SELECT 'on the second server'")
        w.result()
        w.say(parse("SELECT pg_backend_pid()", "s"))
        assert len({w.say(run("s")).value for _ in range(4)}) == 2
        w.query("PREPARE q (int) AS SELECT $1 + 1")
        assert [w.value(f"EXECUTE q({i})") for i in range(4)] == ["1", "2", "3", "4"]


def test_a_reset_query_after_each_transaction(make_switching):
    pooler = make_switching(server_reset_query_always=1)
    with pooler.wire() as w:
        w.say(parse("SELECT 'parsed'", "s"))
        w.query("PREPARE q AS SELECT 'prepared'")
        for _ in range(4):
            assert w.say(run("s")).value == "parsed"
            assert w.value("EXECUTE q") == "prepared"


# Wrong names

def say_bind(w, name):
    return w.say(run(name))


def say_describe(w, name):
    return w.say(describe("S", name))


def say_execute(w, name):
    return w.query(f"EXECUTE {name}")


def say_deallocate(w, name):
    return w.query(f"DEALLOCATE {name}")


def say_extended_execute(w, name):
    return w.extended(f"EXECUTE {name}")


def say_extended_deallocate(w, name):
    return w.extended(f"DEALLOCATE PREPARE {name}")


USES = [say_bind, say_describe, say_execute, say_deallocate, say_extended_execute, say_extended_deallocate]


@pytest.mark.parametrize("use", USES)
def test_a_name_that_does_not_exist(door, use):
    with door.wire() as w:
        result = use(w, "nobody")
        assert (result.error["C"], result.error["M"]) == ("26000", 'prepared statement "nobody" does not exist')
        assert (len(result.errors), result.status) == (1, "I")
        assert w.value("SELECT 'on'") == "on"


@pytest.mark.parametrize("use", USES)
def test_a_name_that_does_not_exist_fails_the_transaction(door, use):
    with door.wire() as w:
        w.query("BEGIN")
        result = use(w, "nobody")
        assert (result.error["C"], result.status) == ("26000", "E")
        assert w.query("SELECT 1").error["C"] == "25P02"
        assert w.query("COMMIT").tags == ["ROLLBACK"]
        assert w.value("SELECT 'on'") == "on"


@pytest.mark.parametrize("wrong", [bind((), "nobody"), describe("S", "nobody")], ids=["Bind", "Describe"])
def test_a_name_that_does_not_exist_in_a_pipeline(door, wrong):
    """What was sent up to the Sync is skipped, and undone; what comes behind it is done."""
    with door.wire() as w:
        w.query("CREATE TABLE IF NOT EXISTS prepared_piped (i int); TRUNCATE prepared_piped")
        w.say(parse("INSERT INTO prepared_piped VALUES (1)", "s"))
        w.send_raw(run("s") + wrong + run("s") + parse("SELECT 1", "never") + sync() + run("s") + sync())
        first, second = w.result(), w.result()
        assert (first.types, first.error["C"]) == ("2CEZ", "26000")
        assert second.types == "2CZ"
        assert w.value("SELECT count(*) FROM prepared_piped") == "1"
        assert w.say(describe("S", "never")).error["C"] == "26000"


def test_the_unnamed_statement_has_its_own_words(door):
    with door.wire() as w:
        for message in (run(), describe("S", "")):
            error = w.say(message).error
            assert (error["C"], error["M"]) == ("26000", "unnamed prepared statement does not exist")


@pytest.mark.parametrize("again", [
    lambda w: w.say(parse("SELECT 'second'", "s")), lambda w: w.query("PREPARE s AS SELECT 'second'"),
    lambda w: w.extended("PREPARE s AS SELECT 'second'"), lambda w: w.say(parse("SELECT 'first'", "s"))],
    ids=["Parse", "PREPARE", "PREPARE in a Parse", "the same Parse"])
def test_a_name_in_use(door, again):
    with door.wire() as w:
        w.say(parse("SELECT 'first'", "s"))
        result = again(w)
        assert (result.error["C"], result.error["M"]) == ("42P05", 'prepared statement "s" already exists')
        for _ in range(3):
            assert w.say(run("s")).value == "first"
        w.query("BEGIN")
        assert again(w).status == "E"
        w.query("ROLLBACK")
        assert w.say(run("s")).value == "first"


def test_a_name_in_use_in_a_pipeline(door):
    with door.wire() as w:
        w.send_raw(parse("SELECT 1", "s") + run("s") + parse("SELECT 2", "s") + run("s") + sync() + run("s") + sync())
        assert w.result().types == "12DCEZ"
        assert w.result().value == "1"


def test_a_closed_name_is_free(door):
    with door.wire() as w:
        for i in range(4):
            assert w.say(parse(f"SELECT {i}", "s"), run("s"), close("S", "s")).types == "12DC3Z"
            assert w.say(run("s")).error["C"] == "26000"
        assert w.say(close("S", "s"), close("S", "nobody"), close("S", ""), close("P", "nobody")).types == "3333Z"


def test_a_parse_that_fails_leaves_its_name_free(door):
    with door.wire() as w:
        assert w.say(parse("SELEC 1", "s")).error["C"] == "42601"
        assert w.say(run("s")).error["C"] == "26000"
        assert w.say(parse("SELECT 'better'", "s")).types == "1Z"
        for _ in range(3):
            assert w.say(run("s")).value == "better"


def test_a_parse_that_fails_leaves_its_name_free_to_what_is_in_flight_already(door):
    with door.wire() as w:
        w.send_raw(parse("SELEC 1", "s") + run("s") + sync() + run("s") + sync() + parse("SELECT 2", "s") + sync() +
                   run("s") + sync())
        assert [w.result().types for _ in range(4)] == ["EZ", "EZ", "1Z", "2DCZ"]


def test_a_text_that_failed_is_tried_again(door):
    with door.wire() as w:
        w.query("DROP TABLE IF EXISTS prepared_later")
        assert w.say(parse("SELECT * FROM prepared_later", "s")).error["C"] == "42P01"
        w.query("CREATE TABLE prepared_later (i int)")
        assert w.say(parse("SELECT * FROM prepared_later", "s"), run("s")).types == "12CZ"


def test_a_parse_that_fails_does_not_disturb_who_has_the_name(door):
    with door.wire() as w, door.wire() as other:
        other.say(parse("SELECT 'mine'", "s"))
        assert w.say(parse("SELEC 1", "s")).error["C"] == "42601"
        assert other.say(run("s")).value == "mine"


def test_a_statement_prepared_in_a_transaction_that_fails_stays(door):
    with door.wire() as w:
        w.query("BEGIN")
        w.say(parse("SELECT 'kept'", "s"))
        w.query("SELECT 1/0")
        assert w.say(run("s")).error["C"] == "25P02"
        w.query("ROLLBACK")
        for _ in range(3):
            assert w.say(run("s")).value == "kept"


# Names that nobody has

@pytest.mark.parametrize("use", USES)
def test_names_on_servers_are_nobodys(make_switching, use):
    """Who guesses how a statement is called on the server reaches none, and takes none away."""
    pooler = make_switching(servers=1)
    with pooler.wire() as w, pooler.wire() as victim:
        victim.say(parse("SELECT 'secret'", "s"))
        assert victim.say(run("s")).value == "secret"
        names = [row["name"] for row in pooler.admin("SHOW PREPARED_STATEMENTS")]
        assert names and all(name.startswith("pgsluice_") for name in names)
        for name in names + [f"pgsluice_{i:x}" for i in range(20)]:
            error = use(w, name).error
            assert (error["C"], error["M"]) == ("26000", f'prepared statement "{name}" does not exist')
            assert w.say(close("S", name)).types == "3Z"
        assert victim.say(run("s")).value == "secret"


def test_a_client_may_call_its_own_statement_as_servers_call_another(make_switching):
    pooler = make_switching(servers=1)
    with pooler.wire() as w, pooler.wire() as other:
        other.say(parse("SELECT 'other'", "s"), run("s"))
        [row] = pooler.admin("SHOW PREPARED_STATEMENTS")
        assert w.say(parse("SELECT 'own'", row["name"])).types == "1Z"
        assert w.say(run(row["name"])).value == "own"
        assert other.say(run("s")).value == "other"
        w.query(f"DEALLOCATE {row['name']}")
        assert other.say(run("s")).value == "other"


# All at once

@pytest.mark.parametrize("extended_protocol", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("text", ["DEALLOCATE ALL", "DISCARD ALL", "deallocate prepare all;",
                                  "/* x */ Discard All -- y"])
def test_all_of_a_clients_statements_go_at_once(door, text, extended_protocol):
    with door.wire() as w, door.wire() as other:
        for name in ("s", "t"):
            w.say(parse("SELECT 'one'", name))
            other.say(parse("SELECT 'one'", name))
        w.query("PREPARE q AS SELECT 'two'")
        other.query("PREPARE q AS SELECT 'two'")
        result = w.extended(text) if extended_protocol else w.query(text)
        assert (result.error, result.tags) == (None, ["DISCARD ALL" if "iscard" in text.lower() else "DEALLOCATE ALL"])
        for name in ("s", "t", "q"):
            assert w.say(run(name)).error["C"] == "26000"
        for _ in range(3):
            assert [other.say(run(name)).value for name in ("s", "t", "q")] == ["one", "one", "two"]
        assert w.say(parse("SELECT 'new'", "s"), run("s")).value == "new"


@pytest.mark.parametrize("text", ["DEALLOCATE ALL", "DEALLOCATE s"])
def test_a_name_is_free_behind_a_deallocate_in_the_same_pipeline(door, text):
    with door.wire() as w:
        w.say(parse("SELECT 'old'", "s"))
        result = w.say(parse(text), run(), parse("SELECT 'new'", "s"), run("s"))
        assert (result.error, result.types) == (None, "12C12DCZ")
        for _ in range(3):
            assert w.say(run("s")).value == "new"
        assert w.say(parse(text), run(), run("s")).error["C"] == "26000"


def test_all_in_quotes_is_a_name(door):
    with door.wire() as w:
        w.query('PREPARE "all" AS SELECT 1')
        w.say(parse("SELECT 2", "s"))
        assert w.query('DEALLOCATE "all"').tags == ["DEALLOCATE"]
        assert w.say(run("s")).value == "2"
        assert w.query('EXECUTE "all"').error["C"] == "26000"


def test_what_goes_at_once_in_a_transaction_stays_gone_when_it_fails(door):
    with door.wire() as w:
        w.say(parse("SELECT 1", "s"))
        w.query("BEGIN")
        assert w.query("DISCARD ALL").error["C"] == "25001"
        w.query("ROLLBACK")
        assert w.say(run("s")).value == "1"
        w.query("BEGIN")
        w.query("DEALLOCATE ALL")
        w.query("ROLLBACK")
        assert w.say(run("s")).error["C"] == "26000"


# By SQL

@pytest.mark.parametrize("text, call, value", [
    ("PREPARE q AS SELECT 'it'", "EXECUTE q", "it"),
    ("PREPARE q (int, text) AS SELECT $1 || $2", "EXECUTE q(1, 'x')", "1x"),
    ("prepare Q(int) as select $1 + 1;", "execute q (41);", "42"),
    ("/* a /* b */ c */ PREPARE q AS SELECT 1", "-- call it\nEXECUTE q", "1"),
    ('PREPARE "Q;q" AS SELECT \'quo"ted\'', 'EXECUTE "Q;q"', 'quo"ted'),
    ("  \n\tPREPARE q AS VALUES ($tag$;$tag$)  ; ", " EXECUTE q ; -- end", ";"),
    ("PREPARE q (numeric(10,2)) AS SELECT $1", "EXECUTE q(1.234)", "1.234"),
    ("PREPARE/**/q/**/AS/**/SELECT/**/'dense'", "EXECUTE/**/q", "dense"),
    ("PREPARE q (text) AS SELECT upper($1)", "EXECUTE q('EXECUTE q')", "EXECUTE Q"),
    ("PREPARE " + "n" * 63 + " AS SELECT 63", "EXECUTE " + "n" * 63, "63"),
])
@pytest.mark.parametrize("extended_protocol", [False, True], ids=["simple", "extended"])
def test_prepare_by_sql(door, text, call, value, extended_protocol):
    with door.wire() as w:
        say = w.extended if extended_protocol else w.query
        result = say(text)
        assert (result.error, result.tags) == (None, ["PREPARE"])
        for _ in range(4):
            assert say(call).value == value


def test_deallocate_by_sql(door):
    with door.wire() as w:
        w.query("PREPARE q AS SELECT 1")
        assert w.query("DEALLOCATE q").tags == ["DEALLOCATE"]
        assert w.query("EXECUTE q").error["C"] == "26000"
        assert w.query("PREPARE q AS SELECT 2").tags == ["PREPARE"]
        for _ in range(3):
            assert w.value("EXECUTE q") == "2"


def test_what_sql_does_to_names_is_done_when_it_is_executed(door):
    """And not when it is bound, nor when an error keeps it from being executed."""
    with door.wire() as w:
        w.say(parse("SELECT 'kept'", "s"), parse("DEALLOCATE s", "drop"), parse("PREPARE q AS SELECT 1", "make"))
        assert w.say(bind((), "drop"), bind((), "make", "p")).types == "22Z"
        assert w.say(run("s")).value == "kept"
        assert w.query("EXECUTE q").error["C"] == "26000"
        result = w.say(bind((), "drop"), bind((), "make", "p"), bind((), "nobody"), execute(), execute("p"))
        assert result.types == "22EZ"
        assert w.say(run("s")).value == "kept"
        assert w.query("EXECUTE q").error["C"] == "26000"
        assert w.say(run("drop"), run("make")).tags == ["DEALLOCATE", "PREPARE"]
        assert w.say(run("s")).error["C"] == "26000"
        assert w.value("EXECUTE q") == "1"


# Portals of PREPARE, EXECUTE and DEALLOCATE that are executed later than they are bound

@pytest.mark.parametrize("order", [("p", "q"), ("q", "p")])
def test_portals_bound_together_count_each_when_it_is_executed(door, order):
    with door.wire() as w:
        w.say(parse("SELECT 'kept'", "s"), parse("DEALLOCATE s", "drop"), parse("PREPARE q AS SELECT 'new'", "make"))
        result = w.say(bind((), "drop", "p"), bind((), "make", "q"), *(execute(name) for name in order))
        assert sorted(result.tags) == ["DEALLOCATE", "PREPARE"]
        for _ in range(3):
            assert w.say(run("s")).error["C"] == "26000"
            assert w.value("EXECUTE q") == "new"


def test_two_portals_prepare_the_same_text_by_two_names(door):
    with door.wire() as w:
        w.say(parse("PREPARE one AS SELECT 1", "a"), parse("PREPARE two AS SELECT 1", "b"))
        assert w.say(bind((), "a", "p"), bind((), "b", "q"), execute("p"), execute("q")).tags == ["PREPARE"] * 2
        for _ in range(3):
            assert w.value("EXECUTE one") == w.value("EXECUTE two") == "1"


@pytest.mark.parametrize("text", ["SELECT 'first'", "SELECT 'second'"])
def test_of_two_portals_that_give_one_name_the_second_fails(door, text):
    with door.wire() as w:
        w.say(parse("PREPARE q AS SELECT 'first'", "a"), parse(f"PREPARE q AS {text}", "b"))
        result = w.say(bind((), "a", "p"), bind((), "b", "q"), execute("p"), execute("q"))
        assert (result.tags, result.error["C"]) == (["PREPARE"], "42P05")
        assert result.error["M"] == 'prepared statement "q" already exists'
        assert w.value("EXECUTE q") == "first"


def test_two_portals_drop_two_names(door):
    with door.wire() as w:
        w.say(parse("SELECT 1", "s"), parse("SELECT 2", "t"), parse("DEALLOCATE s", "a"), parse("DEALLOCATE t", "b"))
        assert w.say(bind((), "a", "p"), bind((), "b", "q"), execute("p"), execute("q")).tags == ["DEALLOCATE"] * 2
        assert [w.say(run(name)).error["C"] for name in "st"] == ["26000"] * 2


def test_of_two_portals_that_drop_one_name_the_second_fails(door):
    with door.wire() as w:
        w.say(parse("SELECT 1", "s"), parse("DEALLOCATE s", "a"))
        result = w.say(bind((), "a", "p"), bind((), "a", "q"), execute("p"), execute("q"))
        assert (result.tags, result.error["C"]) == (["DEALLOCATE"], "26000")
        assert result.error["M"] == 'prepared statement "s" does not exist'


def test_a_name_that_was_taken_at_bind_and_is_free_at_execute_is_given(door):
    with door.wire() as w:
        w.say(parse("SELECT 'old'", "s"), parse("DEALLOCATE s", "drop"), parse("PREPARE s AS SELECT 'new'", "make"))
        result = w.say(bind((), "make", "p"), bind((), "drop", "q"), execute("q"), execute("p"))
        assert result.tags == ["DEALLOCATE", "PREPARE"]
        for _ in range(3):
            assert w.value("EXECUTE s") == "new"


def test_a_portal_of_execute_runs_what_the_name_means_by_then(door):
    with door.wire() as w:
        w.say(parse("SELECT 'old'", "s"), parse("EXECUTE s", "call"), parse("DEALLOCATE s", "drop"))
        result = w.say(bind((), "call", "p"), bind((), "drop"), execute(), parse("SELECT 'new'", "s"), execute("p"))
        assert (result.value, result.error) == ("new", None)
        result = w.say(bind((), "call", "p"), bind((), "drop"), execute(), execute("p"))
        assert result.error["M"] == 'prepared statement "s" does not exist'


@pytest.mark.parametrize("text, effect", [("DEALLOCATE s", "26000"), ("PREPARE q AS SELECT 1", None)])
def test_a_portal_bound_in_an_earlier_batch_of_its_transaction_counts(door, text, effect):
    with door.wire() as w:
        w.say(parse("SELECT 'kept'", "s"), parse(text, "command"))
        w.query("BEGIN")
        w.say(bind((), "command", "p"), parse("SELECT 'more'", "t"))
        assert w.say(describe("P", "p"), run("t"), execute("p")).error is None
        w.query("COMMIT")
        for _ in range(3):
            error = w.query("EXECUTE s" if effect else "EXECUTE q").error
            assert (error and error["C"]) == effect


def test_a_portal_that_is_gone_does_nothing(door):
    with door.wire() as w:
        w.say(parse("SELECT 'kept'", "s"), parse("DEALLOCATE s", "drop"))
        w.query("BEGIN")
        assert w.say(bind((), "drop", "p")).types == "2Z"
        w.query("ROLLBACK; BEGIN")
        result = w.say(parse("SELECT 'more'", "t"), execute("p"))
        assert (result.error["C"], result.error["M"]) == ("34000", 'portal "p" does not exist')
        w.query("ROLLBACK")
        assert w.say(run("s")).value == "kept"


def test_a_portal_of_execute_outlives_the_statement_that_has_to_go(make_switching):
    pooler = make_switching(servers=1, max_prepared_statements=1)
    with pooler.wire() as w:
        w.say(parse("SELECT 'a'", "a"), parse("SELECT 'b'", "b"), parse("EXECUTE a", "call"))
        assert w.say(bind((), "call", "p"), run("b"), execute("p")).rows == [["b"], ["a"]]


def test_too_many_portals_at_once_harm_nobody_else(make_switching):
    """Of so many the first are forgotten; what they leave on the server is in nobody's way."""
    pooler = make_switching(servers=1, max_prepared_statements=200)
    with pooler.wire() as w, pooler.wire() as other:
        w.say(*(parse(f"PREPARE q{i} AS SELECT {i}", f"s{i}") for i in range(80)))
        result = w.say(*(bind((), f"s{i}", f"p{i}") for i in range(80)), *(execute(f"p{i}") for i in range(80)))
        assert result.tags == ["PREPARE"] * 80
        assert w.value("EXECUTE q79") == "79"
        for i in range(80):
            assert other.query(f"PREPARE q{i} AS SELECT {i}").error is None
            assert other.value(f"EXECUTE q{i}") == str(i)


def test_prepared_by_sql_and_bound_by_the_protocol(door):
    with door.wire() as w:
        w.query("PREPARE q (int, text) AS SELECT $1 AS one, $2 AS two")
        for _ in range(3):
            result = w.say(describe("S", "q"))
            assert (result.types, [c.oid for c in result.columns]) == ("tTZ", [INT4, TEXT])
            assert w.say(run("q", 5, "x")).rows == [["5", "x"]]
        assert w.say(close("S", "q")).types == "3Z"
        assert w.query("EXECUTE q(1, 'x')").error["C"] == "26000"


def test_parsed_by_the_protocol_and_executed_by_sql(door):
    with door.wire() as w:
        w.say(parse("SELECT $1::int + 1", "s"))
        for i in range(3):
            assert w.value(f"EXECUTE s({i})") == str(i + 1)
        assert w.query("DEALLOCATE s").tags == ["DEALLOCATE"]
        assert w.say(run("s", 1)).error["C"] == "26000"


def test_identifiers_are_folded_by_sql_and_taken_as_they_are_by_the_protocol(door):
    with door.wire() as w:
        w.query("PREPARE Mixed AS SELECT 'folded'")
        w.query('PREPARE "Mixed" AS SELECT \'quoted\'')
        for _ in range(3):
            assert w.say(run("mixed")).value == w.value("EXECUTE MIXED") == "folded"
            assert w.say(run("Mixed")).value == w.value('EXECUTE "Mixed"') == "quoted"
        assert w.say(run("MIXED")).error["C"] == "26000"


def test_a_statement_that_executes_another_is_parsed_once(door):
    with door.wire() as w:
        w.query("PREPARE q (int) AS SELECT $1 * 2")
        w.say(parse("EXECUTE q(21)", "call"))
        for _ in range(4):
            assert w.say(run("call")).value == "42"


def test_execute_means_what_the_name_means_when_it_runs(door):
    with door.wire() as w:
        w.query("PREPARE q AS SELECT 'old'")
        w.say(parse("EXECUTE q", "call"))
        assert w.say(run("call")).value == "old"
        w.query("DEALLOCATE q")
        assert w.say(run("call")).error["C"] == "26000"
        w.query("PREPARE q AS SELECT 'new'")
        assert w.say(run("call")).value == "new"


def test_prepare_looks_at_the_name_when_it_runs(door):
    with door.wire() as w:
        w.say(parse("PREPARE q AS SELECT 'late'", "prepare"))
        w.query("PREPARE q AS SELECT 'early'")
        assert w.say(run("prepare")).error["C"] == "42P05"
        assert w.value("EXECUTE q") == "early"
        w.query("DEALLOCATE q")
        assert w.say(run("prepare")).tags == ["PREPARE"]
        assert w.value("EXECUTE q") == "late"


def test_an_execute_behind_somebodys_copy_leaves_the_server_free(make_switching):
    """What ends COPY data that the server never asked for is answered by nothing; the server lacks the statement."""
    pooler = make_switching(servers=1, max_prepared_statements=1)
    with pooler.wire() as w, pooler.wire() as copying:
        assert w.query("PREPARE q AS SELECT 42").error is None
        assert w.query("PREPARE r AS SELECT 43").error is None
        copying.send_raw(query("COPY nowhere FROM STDIN") + packet("d", b"1\n") + packet("c", b""))
        assert copying.result().error["C"] == "42P01"
        assert w.value("EXECUTE q") == "42"
        eventually(lambda: pooler.admin("SHOW POOLS")[0]["sv_active"] == "0", "the server is free")


@pytest.fixture
def prepared_table(pg):
    """A table that everybody may use, and that a test may drop."""
    pg.rows("CREATE TABLE prepared_table (i int); GRANT ALL ON prepared_table TO PUBLIC", "app")
    yield "prepared_table"
    pg.rows("DROP TABLE IF EXISTS prepared_table", "app")


def open_batch(w):
    w.send_raw(close("P", "") + flush())
    w.recv_until("3")


def say_behind(w, *texts):
    """Simple queries, all at once, and their results."""
    w.send_raw(b"".join(query(text) for text in texts))
    return [w.result() for _ in texts]


def test_an_execute_in_an_open_batch_is_answered_though_the_server_cannot_parse_it(make_switching, pg, prepared_table):
    """Behind an error a server skips all up to the next Sync, and the client has no reason to send one."""
    with make_switching(servers=1, max_prepared_statements=1).wire() as w:
        w.say(parse(f"SELECT count(*) FROM {prepared_table}", "gone"))
        w.say(parse("SELECT 1", "another"))
        pg.rows(f"DROP TABLE {prepared_table}", "app")
        for _ in range(2):
            open_batch(w)
            refused, following = say_behind(w, "EXECUTE gone", "SELECT 2")
            assert (refused.types, refused.error["C"]) == ("EZ", "42P01")
            assert following.value == "2"


def test_an_execute_in_an_open_batch_of_a_failed_transaction_is_answered(make_switching):
    with make_switching(servers=1, max_prepared_statements=1).wire() as w:
        w.say(parse("SELECT 42", "q"))
        w.say(parse("SELECT 1", "another"))
        w.query("BEGIN")
        assert w.query("SELEC").status == "E"
        open_batch(w)
        refused, ended, following = say_behind(w, "EXECUTE q", "ROLLBACK", "EXECUTE q")
        assert (refused.types, refused.error["C"], refused.status) == ("EZ", "25P02", "E")
        assert ended.status == "I" and following.value == "42"


def test_an_execute_in_an_open_batch_waits_for_its_statement_and_runs(make_switching):
    with make_switching(servers=1, max_prepared_statements=1).wire() as w:
        w.say(parse("SELECT 42", "q"))
        w.say(parse("SELECT 1", "another"))
        open_batch(w)
        assert [r.value for r in say_behind(w, "EXECUTE q", "EXECUTE another", "EXECUTE q")] == ["42", "1", "42"]


def test_an_execute_behind_an_error_in_its_batch_is_skipped(make_switching):
    """As PostgreSQL does, whatever was put ahead of it."""
    with make_switching(servers=1, max_prepared_statements=1).wire() as w:
        w.say(parse("SELECT 42", "q"))
        w.say(parse("SELECT 1", "another"))
        w.send_raw(bind((), "missing") + query("EXECUTE q") + sync())
        assert w.result().types == "EZ"
        assert w.value("EXECUTE q") == "42"


def test_explain_execute_and_create_table_as_execute_are_left_to_the_server(make_switching, pg):
    """They are no whole EXECUTE: what they name is looked for on the server as it stands, and nothing else happens."""
    pooler = make_switching(servers=1)
    with pooler.wire() as w:
        w.query("PREPARE q AS SELECT 1")
        error = w.query("EXPLAIN EXECUTE q").error
        assert error is None or (error["C"], error["M"]) == ("26000", 'prepared statement "q" does not exist')
        assert w.value("EXECUTE q") == "1"


ERRORS_BY_SQL = [
    "EXECUTE q", "EXECUTE q(1, 2)", "EXECUTE q('many')", "EXECUTE q(nothing)", "EXECUTE q(1", "/* é */ EXECUTE q(1 +)",
    "PREPARE q AS SELECT 1", "PREPARE r AS SELEC", "PREPARE r AS SELECT nothing", "PREPARE r AS SELECT * FROM nowhere",
    "PREPARE r (nonsense) AS SELECT 1", "PREPARE AS SELECT 1", "PREPARE r SELECT 1", "PREPARE r AS", "EXECUTE",
    "DEALLOCATE", "DEALLOCATE q q", "EXECUTE r", "EXECUTE q(1/0)", "PREPARE r AS CREATE TABLE t ()", "DEALLOCATE \"q",
    "  PREPARE   r   AS   SELECT   nothing", "PREPARE \"r r\" (int) AS SELECT $1 + 'é' || nothing",
]


@pytest.mark.parametrize("text", ERRORS_BY_SQL)
@pytest.mark.parametrize("extended_protocol", [False, True], ids=["simple", "extended"])
def test_errors_by_sql_are_the_servers_in_all_but_the_place_in_its_source(switching, pg, text, extended_protocol):
    """Position and all: the client has to find it in the text that it has sent."""
    with switching.wire() as w, pg.wire() as direct:
        def both(sql):
            results = [d.extended(sql) if extended_protocol else d.query(sql) for d in (w, direct)]
            return [[comparable(m) for m in r.messages] for r in results]
        for c in (w, direct):
            c.query("PREPARE q (int) AS SELECT $1")
        for _ in range(3):
            pooled, alone = both(text)
            assert pooled == alone
        for c in (w, direct):
            assert c.value("EXECUTE q(5)") == "5"


# The result's type changes

@pytest.fixture
def changing(pg):
    """A table, and what changes its rows' type."""
    pg.rows("DROP TABLE IF EXISTS prepared_changing; CREATE TABLE prepared_changing (a int);"
            "INSERT INTO prepared_changing VALUES (1); GRANT ALL ON prepared_changing TO PUBLIC", "app")
    return lambda: pg.rows(f"ALTER TABLE prepared_changing ADD COLUMN b{time.monotonic_ns()} int DEFAULT 2", "app")


def test_a_changed_result_type_outside_a_transaction_is_nothing(switching, changing):
    with switching.wire() as w:
        w.say(parse("SELECT * FROM prepared_changing", "s"))
        for width in (1, 2, 3):
            for _ in range(4):
                result = w.say(bind((), "s"), describe(), execute())
                assert (result.types, len(result.rows[0]), len(result.columns)) == ("2TDCZ", width, width)
            changing()
        assert prepared_stats(switching)["retries"] >= 1


def test_a_changed_result_type_outside_a_transaction_is_nothing_by_sql(switching, changing):
    with switching.wire() as w:
        w.query("PREPARE q AS SELECT * FROM prepared_changing")
        for width in (1, 2, 3):
            for _ in range(4):
                result = w.query("EXECUTE q")
                assert (result.types, len(result.rows[0])) == ("TDCZ", width)
            changing()


def test_a_changed_result_type_in_a_transaction_is_one_error(switching, changing):
    with switching.wire() as w:
        w.say(parse("SELECT * FROM prepared_changing", "s"))
        for _ in range(4):
            assert w.say(run("s")).error is None
        changing()
        w.query("BEGIN")
        error = w.say(run("s")).error
        assert (error["C"], error["M"]) == ("0A000", "cached plan must not change result type")
        w.query("ROLLBACK")
        for _ in range(4):
            w.query("BEGIN")
            assert len(w.say(run("s")).rows[0]) == 2
            w.query("COMMIT")


def test_a_changed_result_type_behind_an_answer_is_one_error(switching, changing):
    """Something of the pipeline has been answered: it cannot be said again."""
    with switching.wire() as w:
        w.say(parse("SELECT * FROM prepared_changing", "s"), parse("SELECT 'before'", "first"))
        for _ in range(4):
            assert w.say(run("first"), run("s")).types == "2DC2DCZ"
        changing()
        result = w.say(run("first"), run("s"))
        assert (result.types, result.error["C"]) == ("2DCEZ", "0A000")
        for _ in range(4):
            result = w.say(run("first"), run("s"))
            assert (result.error, len(result.rows[1])) == (None, 2)


def test_a_retry_happens_once_for_all_clients(switching, changing):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(switching.wire()) for _ in range(5)]
        for w in clients:
            w.say(parse("SELECT * FROM prepared_changing", "s"))
            assert w.say(run("s")).error is None
        changing()
        for w in clients * 2:
            assert len(w.say(bind((), "s"), describe("P"), execute()).rows[0]) == 2
        assert prepared_stats(switching)["retries"] <= 2


# How many a server keeps

def test_a_server_keeps_the_statements_used_last(make_switching):
    pooler = make_switching(servers=1, max_prepared_statements=3)
    with pooler.wire() as w:
        for i in range(10):
            w.say(parse(f"SELECT {i}", f"s{i}"))
            assert w.say(run(f"s{i}")).value == str(i)
        assert w.say(run("s7")).value == "7"
        assert w.say(run("s1")).value == "1"
        texts = w.query("SELECT statement FROM pg_prepared_statements ORDER BY 1").rows
        assert texts == [["SELECT 1"], ["SELECT 7"], ["SELECT 9"]]
        assert prepared_stats(pooler)["evictions"] == 8
        for i in range(10):
            assert w.say(run(f"s{i}")).value == str(i)


@pytest.mark.parametrize("most", [1, 2])
def test_a_statement_goes_while_its_bind_is_in_flight(make_switching, most):
    pooler = make_switching(max_prepared_statements=most)
    with pooler.wire() as w:
        for _ in range(4):
            batch = [run(name, i) for i in range(20) for name in ("a", "b", "c")]
            result = w.say(parse("SELECT 'a' || $1", "a"), parse("SELECT 'b' || $1", "b"),
                           parse("SELECT 'c' || $1", "c"), *batch, *(close("S", name) for name in "abc"))
            assert result.types == "111" + "2DC" * 60 + "333Z"
            assert [row[0] for row in result.rows] == [f"{name}{i}" for i in range(20) for name in "abc"]


def test_portals_outlive_the_statement_that_goes(make_switching):
    pooler = make_switching(servers=1, max_prepared_statements=1)
    with pooler.wire() as w:
        w.query("BEGIN")
        result = w.say(parse("SELECT generate_series(1, 4)", "a"), bind((), "a", "p"), execute("p", 2),
                       parse("SELECT 'b'", "b"), run("b"), execute("p"))
        assert result.types == "12DDs12DCDDCZ"
        w.query("COMMIT")


def test_reload_changes_how_many_a_server_keeps(make_switching):
    pooler = make_switching(servers=1, max_prepared_statements=5)
    with pooler.wire() as w:
        for i in range(5):
            w.say(parse(f"SELECT {i}", f"s{i}"), run(f"s{i}"))
        assert w.value(ON_SERVER) == "5"
        for most in (1, 3):
            assert pooler.reload(max_prepared_statements=most).error is None
            for i in range(5):
                assert w.say(run(f"s{i}")).value == str(i)
            assert w.value(ON_SERVER) == str(most)


def test_reload_turns_it_off_and_on(make_switching):
    """Who has statements by then goes on with them."""
    pooler = make_switching(max_prepared_statements=5)
    with pooler.wire() as w:
        w.say(parse("SELECT 'old'", "s"))
        pooler.reload(max_prepared_statements=0)
        w.say(run("s"))
        assert w.value("SELECT 1") == "1"
        pooler.reload(max_prepared_statements=5)
        w.say(run("s"))
        assert w.value("SELECT 1") == "1"
    with pooler.wire() as w:
        w.say(parse("SELECT 'new'", "s"))
        assert [w.say(run("s")).value for _ in range(4)] == ["new"] * 4


def test_the_statements_of_one_client_have_so_much_room(make_switching):
    """Texts and all; what is deallocated makes room."""
    pooler = make_switching(servers=1)

    def text(i):
        return f"SELECT '{'x' * (45 * MB)}{i}' <> ''"

    with pooler.wire(timeout=120) as w:
        for i in range(2):
            assert w.say(parse(text(i), f"s{i}")).types == "1Z"
        error = w.say(parse(text(2), "s2")).error
        assert (error["S"], error["C"], error["M"]) == ("ERROR", "54000", "prepared statements are too long")
        assert error["D"] == "The prepared statements of one client may take 128 MB."
        assert w.query(f"PREPARE s3 AS {text(3)}").error["C"] == "54000"
        assert w.say(run("s1")).value == "t"
        w.say(close("S", "s0"))
        assert w.say(parse(text(2), "s2")).types == "1Z"


# Where it does not apply

def server_names(w):
    return [row[0] for row in w.query("SELECT name FROM pg_prepared_statements ORDER BY name").rows]


@pytest.mark.parametrize("settings", [{"max_prepared_statements": 0}, {"pool_mode": "session"}], ids=str)
def test_everything_passes_untouched(make_switching, settings):
    pooler = make_switching(servers=1, **settings)
    with pooler.wire() as w:
        w.say(parse("SELECT 'mine'", "mine"))
        w.query("PREPARE also AS SELECT 'also'")
        assert server_names(w) == ["also", "mine"]
        assert w.say(run("mine")).value == "mine"
        assert w.value("EXECUTE also") == "also"
        assert "F" in w.say(run("nobody")).error, "it is the server's own error"
        assert w.query("DEALLOCATE ALL").tags == ["DEALLOCATE ALL"]
        assert server_names(w) == []
    assert pooler.admin("SHOW PREPARED_STATEMENTS") == []


def test_without_tracking_a_statement_stays_where_it_was_parsed(make_switching):
    pooler = make_switching(max_prepared_statements=0)
    with pooler.wire() as w:
        w.say(parse("SELECT 'here'", "s"))
        assert w.say(run("s")).error["C"] == "26000"
        assert w.say(run("s")).value == "here"


def test_several_statements_in_one_query_pass_untouched(make_switching):
    pooler = make_switching(servers=1)
    with pooler.wire() as w:
        result = w.query("PREPARE q AS SELECT 1; EXECUTE q; DEALLOCATE q")
        assert (result.error, result.tags) == (None, ["PREPARE", "SELECT 1", "DEALLOCATE"])


# The unnamed statement

def test_an_unnamed_statement_of_an_earlier_batch(door):
    with door.wire() as w:
        assert w.say(parse("SELECT 'unnamed ' || $1", "", (TEXT,))).types == "1Z"
        for _ in range(3):
            assert w.say(run("", "again")).value == "unnamed again"


@pytest.mark.parametrize("sql", ["SELECT 2", "EXECUTE q", "PREPARE r AS SELECT 2", "DEALLOCATE q", "EXECUTE nobody"])
def test_a_simple_query_takes_the_unnamed_statement_away(door, sql):
    with door.wire() as w:
        w.query("PREPARE q AS SELECT 'q'")
        w.say(parse("SELECT 1"))
        w.query(sql)
        assert w.say(run()).error["M"] == "unnamed prepared statement does not exist"


def test_a_parse_that_fails_takes_the_unnamed_statement_away(door):
    with door.wire() as w:
        w.say(parse("SELECT 1"))
        assert w.say(parse("SELEC")).error["C"] == "42601"
        assert w.say(run()).error["C"] == "26000"


@pytest.mark.parametrize("skipped", [[parse("SELECT 'skipped'")], [parse("SELECT 'skipped'"), run()], [close("S", "")]],
                         ids=["Parse", "Parse and Bind", "Close"])
def test_what_an_error_skips_does_nothing_to_the_unnamed_statement(door, skipped):
    with door.wire() as w:
        w.send_raw(run("nobody") + b"".join(skipped) + sync() + parse("SELECT 'done'") + run() + sync())
        assert w.result().error["C"] == "26000"
        assert w.result().value == "done"
        assert w.say(parse("SELECT 'kept'")).types == "1Z"
        assert w.say(run("nobody"), *skipped).types == "EZ"
        for _ in range(3):
            assert w.say(run()).value == "kept"


@pytest.mark.parametrize("later", [
    [parse("SELECT 'new'"), run()], [parse("SELECT 'new'"), run(), parse("SELECT 'newest'")], [close("S", "")],
    [parse("SELECT 'new'"), close("S", "")]], ids=["Parse", "Parse again", "Close", "Parse and Close"])
def test_an_unnamed_statement_that_has_been_replaced_never_comes_back(switching, later):
    with switching.wire() as w:
        w.say(parse("SELECT 'old'"))
        assert w.say(*later).error is None
        for _ in range(4):
            result = w.say(run())
            assert result.error is not None and result.error["C"] == "26000" or result.value != "old"


@pytest.mark.parametrize("unnamed", ["off", "cache"])
def test_the_unnamed_statement_of_another_client_is_out_of_reach(make_switching, unnamed):
    pooler = make_switching(servers=1, prepared_unnamed=unnamed)
    with pooler.wire() as w, pooler.wire() as other:
        assert other.extended("SELECT 'others'").value == "others"
        assert w.say(run()).error["M"] == "unnamed prepared statement does not exist"
        assert w.say(describe("S", "")).error["C"] == "26000"
        w.say(parse("SELECT 'own'"))
        for _ in range(2):
            assert other.extended("SELECT 'others'").value == "others"
            assert w.say(run()).value == "own"
        other.say(parse("SELECT 'others, alone'"))
        assert w.say(run()).value == "own"
        assert other.say(run()).value == "others, alone"
        w.say(close("S", ""))
        assert w.say(run()).error["C"] == "26000"
        assert other.say(run()).value == "others, alone"


@pytest.mark.parametrize("unnamed, parses", [("off", 6), ("cache", 1)])
def test_unnamed_statements_are_parsed_each_time_or_once(make_switching, unnamed, parses):
    pooler = make_switching(servers=1, prepared_unnamed=unnamed)
    with pooler.wire() as a, pooler.wire() as b:
        for i in range(3):
            assert a.extended("SELECT 'x' || $1", [i]).value == b.extended("SELECT 'x' || $1", [i]).value == f"x{i}"
        assert a.value(ON_SERVER) == ("1" if unnamed == "cache" else "0")
    if unnamed == "cache":
        assert prepared_stats(pooler)["server_parses"] == parses


def test_cached_unnamed_statements_are_kept_for_any_batch(make_switching):
    pooler = make_switching(prepared_unnamed="cache")
    with pooler.wire() as w:
        assert w.extended("SELECT 'x'").value == "x"
        for _ in range(3):
            assert w.say(run()).value == "x"


def test_cached_unnamed_statements_are_for_one_client_each(make_switching):
    pooler = make_switching(prepared_unnamed="cache")
    with pooler.wire() as a, pooler.wire() as b:
        a.say(parse("SELECT 'a'"))
        b.say(parse("SELECT 'b'"))
        for _ in range(3):
            assert (a.say(run()).value, b.say(run()).value) == ("a", "b")


def test_cached_unnamed_statements_of_many_texts_do_not_pile_up(make_switching):
    pooler = make_switching(servers=1, prepared_unnamed="cache", max_prepared_statements=10)
    with pooler.wire() as w:
        for i in range(500):
            assert w.extended(f"SELECT {i}").value == str(i)
        assert int(w.value(ON_SERVER)) <= 10
        assert len(pooler.admin("SHOW PREPARED_STATEMENTS")) <= 11


# Pipelines

def test_flush_without_sync(door):
    with door.wire() as w:
        w.send_raw(parse("SELECT 'flushed' || $1", "s", (TEXT,)) + flush())
        assert w.recv().type == "1"
        w.send_raw(bind(["!"], "s") + describe() + execute() + flush())
        assert "".join(m.type for m in w.recv_until("C")) == "2TDC"
        w.send_raw(bind([], "nobody") + flush())
        assert w.recv().type == "E"
        w.send_raw(run("s", 1) + flush())  # skipped, as there has been no Sync
        assert w.say().types == "Z"
        assert w.say(run("s", "?")).value == "flushed?"


def test_flush_in_the_middle_of_changes_of_servers(make_switching):
    """The server that has been flushed from is the client's until the Sync."""
    pooler = make_switching()
    with pooler.wire() as w, pooler.wire() as other:
        for _ in range(4):
            w.send_raw(parse("SELECT pg_backend_pid()", "s") + run("s") + flush())
            mine = w.recv_until("C")[2].body
            assert other.value("SELECT pg_backend_pid()").encode() not in mine
            w.send_raw(run("s") + flush())
            assert w.recv_until("C")[1].body == mine
            assert w.say(close("S", "s")).types == "3Z"


def test_copy_inside_a_pipeline(door):
    with door.wire() as w:
        w.query("CREATE TABLE IF NOT EXISTS prepared_copied (i int); TRUNCATE prepared_copied")
        w.say(parse("COPY prepared_copied FROM STDIN", "copy"), parse("SELECT count(*) FROM prepared_copied", "count"))
        for n in range(3):
            result = w.say(run("count"), run("copy"), copy_data(b"1\n2"), copy_data(b"\n"), copy_done(), run("count"))
            assert (result.types, result.rows) == ("2DC2GC2DCZ", [[str(2 * n)], [str(2 * n + 2)]])


def test_a_message_that_would_wait_for_ever_behind_a_copy_that_failed_ends_its_client(make_pooler):
    """
    A Sync in the middle of COPY data is void, or, if the COPY has failed by then, answered: with more behind it nobody
    can tell which answer is whose any more, and so what a name means that was given there.
    """
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire(timeout=10) as w:
        w.query("CREATE TEMP TABLE prepared_lost (n int)")
        w.send_raw(parse("COPY pg_temp.prepared_lost FROM STDIN") + run() + flush())
        w.recv_until("G")
        w.send_raw(copy_data(b"bad\n") + sync() + parse("SELECT 1", "s") + sync())
        assert w.recv_until("E")[-1].type == "E"
        w.send_raw(parse("SELECT 2", "t") + sync() + run("t") + sync())
        errors = [error_fields(m.body) for m in w.drain() if m.type == "E"]
        assert errors[-1]["D"].startswith("Too much was sent behind a COPY that has failed")
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"


@pytest.mark.parametrize("data", [[copy_data(b"bad\n"), copy_data(b"1\n") * 10, copy_done()], [copy_fail("enough")]],
                         ids=["bad data", "CopyFail"])
def test_copy_that_fails_inside_a_pipeline(door, data):
    with door.wire() as w:
        w.query("CREATE TABLE IF NOT EXISTS prepared_copied (i int)")
        w.say(parse("COPY prepared_copied FROM STDIN", "copy"), parse("SELECT 'on'", "s"))
        for _ in range(3):
            w.send_raw(run("copy") + b"".join(data) + run("s") + sync() + run("s") + sync())
            assert w.result().types == "2GEZ"
            assert w.result().value == "on"


def test_an_error_in_the_middle_skips_what_the_client_prepared_there(door):
    """A Parse and a Close that the server never looked at have not happened."""
    with door.wire() as w:
        w.say(parse("SELECT 'old'", "old"))
        result = w.say(parse("SELECT 1 / i FROM generate_series(0, 0) i", "zero"), run("zero"),
                       parse("SELECT 2", "new"), close("S", "old"))
        assert result.types == "12EZ"
        for _ in range(3):
            assert w.say(run("old")).value == "old"
            assert w.say(run("new")).error["C"] == "26000"
        assert w.say(parse("SELECT 3", "new"), run("new")).value == "3"


def test_many_batches_in_one_write(door):
    with door.wire() as w:
        texts = [f"SELECT {i % 7}" for i in range(500)]
        writer = threading.Thread(target=w.send_raw, args=[b"".join(
            parse(text, f"s{i}") + run(f"s{i}") + sync() for i, text in enumerate(texts))])
        writer.start()
        for i in range(500):
            result = w.result()
            assert (result.types, result.value) == ("12DCZ", str(i % 7))
        writer.join()


def a_session():
    """Something of everything, and every message that names a statement."""
    return b"".join([
        parse("SELECT $1::int + 1", "s"), bind([1], "s"), describe("S", "s"), describe(), execute(), sync(),
        query("PREPARE q (int) AS SELECT $1"), query("EXECUTE q(2)"), query("EXECUTE q"), bind([3], "q", "p"),
        execute("p"), close("P", "p"), sync(), parse("SELECT 1", "s"), execute(), sync(), bind([], "nobody"), sync(),
        query("DEALLOCATE q"), close("S", "s"), bind([], "s"), flush(), sync(), parse("SELECT 'u'"), bind(),
        execute(), sync(), parse("COPY (SELECT 1) TO STDOUT", "c"), bind([], "c"), execute(), sync(),
        query("DEALLOCATE ALL"), query("SELECT 'end'")])


def replies_up_to_the_end(w):
    replies = []
    while len(replies) < 2 or replies[-2].body != b"SELECT 1\0" or b"end" not in replies[-3].body:
        replies.append(w.recv())
    return [comparable(reply) for reply in replies]


@pytest.fixture
def expected(pg):
    with pg.wire() as w:
        w.send_raw(a_session())
        return replies_up_to_the_end(w)


def test_a_session_byte_by_byte(switching, expected):
    with switching.wire() as w:
        for byte in a_session():
            w.send_raw(bytes([byte]))
            time.sleep(0.0003)
        assert replies_up_to_the_end(w) == expected


def test_a_session_split_at_every_byte(switching, expected):
    data = a_session()
    with switching.wire() as w:
        for cut in range(1, len(data)):
            w.send_raw(data[:cut])
            time.sleep(0.0005)
            w.send_raw(data[cut:])
            assert replies_up_to_the_end(w) == expected, cut


# Sizes

def text_of(size):
    """A query of so many bytes, and its value."""
    if size < 9:
        return ";" * size, None
    return "SELECT '" + "x" * (size - 9) + "'", "x" * (size - 9)


@pytest.mark.parametrize("size", [1, 9, 100, 4095, 4096, 65530, 65536, 200_000, MB, 10 * MB])
def test_texts_of_any_size(door, size):
    text, value = text_of(size)
    with door.wire(timeout=60) as w, door.wire(timeout=60) as other:
        for client in (w, other):
            assert client.say(parse(text, "s")).types == "1Z"
            for _ in range(3):
                result = client.say(run("s"))
                assert result.types == ("2IZ" if value is None else "2DCZ")
                assert value is None or result.value == value
            assert client.say(close("S", "s")).types == "3Z"


@pytest.mark.parametrize("size", [4096, 65536, MB, 10 * MB])
def test_texts_of_any_size_by_sql(door, size):
    text, value = text_of(size)
    with door.wire(timeout=60) as w:
        assert w.query("PREPARE q AS " + text).tags == ["PREPARE"]
        for _ in range(3):
            assert w.value("EXECUTE q") == value
        assert w.value("SELECT 1") == "1"


@pytest.mark.parametrize("size", [1, 62, 63, 64, 1000, 65536, MB])
def test_names_of_any_size(door, size):
    name = "n" * size
    with door.wire() as w:
        assert w.say(run(name)).error["M"] == f'prepared statement "{name}" does not exist'
        assert w.say(parse("SELECT 'named'", name)).types == "1Z"
        for _ in range(3):
            assert w.say(run(name)).value == "named"
            # PostgreSQL takes no Describe and no Close that is longer than 10000 bytes.
            assert size > 9000 or w.say(describe("S", name)).types == "tTZ"
        assert w.say(parse("SELECT 'named'", name)).error["M"] == f'prepared statement "{name}" already exists'
        assert (w.query("DEALLOCATE ALL") if size > 9000 else w.say(close("S", name))).error is None
        assert w.say(run(name)).error["C"] == "26000"


def test_names_are_told_apart_by_63_bytes(door):
    with door.wire() as w:
        w.say(parse("SELECT 'long'", "n" * 63 + "1"))
        assert w.say(run("n" * 63 + "2")).value == "long"
        assert w.say(run("n" * 63)).value == "long"
        assert w.say(run("n" * 62)).error["C"] == "26000"
        error = w.say(run("n" * 63 + "2", "one too many")).error
        assert f'prepared statement "{"n" * 63}2" requires 0' in error["M"]


def test_names_of_any_bytes(door):
    names = [b"1", "größe".encode(), b"with space", b'"', b"'", b"\\", b";", b"\n", b"%s%n", b"*"]
    with door.wire() as w:
        for i, name in enumerate(names):
            assert w.say(parse(f"SELECT {i}", name)).types == "1Z"
        for i, name in enumerate(names):
            assert w.say(run(name)).value == str(i)


# Back-pressure

def assert_small(pooler):
    """AddressSanitizer keeps freed memory for a while, to see whether somebody still uses it."""
    assert pooler.peak_rss() < (800 if has_sanitizers() else 60) * MB


def binds(n):
    for _ in range(n):
        yield run("s", "x" * 10000) + sync()


def binds_without_sync(n):
    for i in range(n):
        yield run("s", "x" * 10000) + (sync() if i == n - 1 else b"")


def parses(n):
    for i in range(n):
        yield parse(f"SELECT '{i:010000}'", f"p{i % 5}") + run(f"p{i % 5}") + close("S", f"p{i % 5}") + sync()


def parses_unnamed(n):
    for i in range(n):
        yield parse(f"SELECT '{i:010000}'") + run() + sync()


def small_ones(n):
    for i in range(n * 10):
        yield run("s", "x") + (sync() if i % 50 == 49 else b"")


def chunks(iterable, size=20):
    iterator = iter(iterable)
    while some := list(itertools.islice(iterator, size)):
        yield some


@pytest.mark.parametrize("unnamed", ["off", "cache"])
@pytest.mark.parametrize("batches", [binds, binds_without_sync, parses, parses_unnamed, small_ones])
def test_a_client_that_sends_without_reading(make_switching, batches, unnamed):
    """100 MB on their way, the answers as much: it is held back, nothing grows, others go on, and all is answered."""
    pooler = make_switching(prepared_unnamed=unnamed, max_prepared_statements=20)
    n = 10000
    with pooler.wire(timeout=120) as w, pooler.wire() as other:
        w.say(parse("SELECT $1::text", "s"))
        failures = []

        def write():
            try:
                for some in chunks(batches(n)):
                    w.send_raw(b"".join(some))
            except OSError as error:
                failures.append(error)

        writer = threading.Thread(target=write)
        writer.start()
        for _ in range(20):
            assert other.extended("SELECT 'other'").value == "other"
            time.sleep(0.05)
        assert_small(pooler)
        executed = 0
        expected = n * 10 if batches is small_ones else n
        while executed < expected:
            message = w.recv()
            assert message.type in "12DC3Z", message
            executed += message.type == "C"
        writer.join()
        w.recv_until("Z")
        assert failures == []
        assert w.value("SELECT 'on'") == "on"
    assert_small(pooler)


# Clients that leave

def test_a_client_that_leaves_at_any_point_of_a_pipeline(make_switching):
    messages = [parse("SELECT 1", "a"), bind([], "a"), describe("S", "a"), execute(), parse("SELEC", "b"),
                bind([], "a"), sync(), parse("SELECT $1::int", "c"), run("c", 2), query("PREPARE d AS SELECT 4"),
                run("d"), flush(), close("S", "a"), query("EXECUTE d"), sync(), run("c", 5), sync()]
    data = b"".join(messages)
    ends = list(itertools.accumulate(len(m) for m in messages))
    pooler = make_switching(max_prepared_statements=2)
    for cut in sorted({at for end in ends for at in (end - 3, end, end + 2) if at <= len(data)}):
        with pooler.wire() as w:
            w.send_raw(data[:cut])
        with pooler.wire() as w:
            assert w.say(parse("SELECT 'next'", "a"), run("a")).types == "12DCZ", cut
            assert w.query("EXECUTE d").error["C"] == "26000"
            assert w.say(run("c", 1)).error["C"] == "26000"
    eventually(lambda: all(row["clients"] == "0" for row in pooler.admin("SHOW PREPARED_STATEMENTS")),
               "no client has a statement")
    assert all(int(row["servers"]) > 0 for row in pooler.admin("SHOW PREPARED_STATEMENTS"))
    assert len(pooler.admin("SHOW PREPARED_STATEMENTS")) <= 4


def test_a_client_that_leaves_while_its_statement_is_being_parsed(make_switching, pg):
    """The server is busy, then the Parse is answered to nobody. The next client finds what the pooler believes."""
    pooler = make_switching(servers=1)
    with pooler.wire() as w:
        w.say(parse("SELECT 'x'", "s"))
        w.send_raw(parse("SELECT pg_sleep(0.3)", "slow") + run("slow") + parse("SELECT 'late'", "late") + run("s"))
    with pooler.wire() as w:
        for text in ("SELECT 'late'", "SELECT 'x'", "SELECT pg_sleep(0.3)"):
            assert w.say(parse(text, "t"), run("t"), close("S", "t")).types == "12DC3Z"


@pytest.mark.parametrize("kill", ["before", "between"])
def test_a_server_that_is_lost_takes_its_statements_with_it(make_switching, kill):
    pooler = make_switching(servers=1)
    with pooler.wire() as w:
        w.say(parse("SELECT 'kept'", "s"))
        if kill == "between":
            w.query("BEGIN")
        pooler.lose_servers("app")
        if kill == "before":
            assert w.say(run("s")).value == "kept"
    with pooler.wire() as w:
        assert w.say(run("s")).error["C"] == "26000"


# What is shown

def test_a_text_is_kept_once(make_switching):
    pooler = make_switching()
    text = "SELECT 'once', " + "1 + " * 10 + "$1::int"
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(pooler.wire()) for _ in range(3)]
        for i, w in enumerate(clients):
            w.say(parse(text, f"mine{i}"))
            assert w.say(run(f"mine{i}", 1)).rows[0][0] == "once"
            assert w.say(run(f"mine{i}", 1)).rows[0][0] == "once"
        [row] = pooler.admin("SHOW PREPARED_STATEMENTS")
        assert row["name"].startswith("pgsluice_")
        assert (row["query"], row["clients"], row["servers"], row["binds"]) == (text, "3", "2", "6")
        assert int(row["size"]) >= len(text)
        clients[0].say(parse(text, "typed", (INT4,)))
        assert len(pooler.admin("SHOW PREPARED_STATEMENTS")) == 2
    eventually(lambda: statements(pooler)[text]["clients"] == "0", "no client has it")


def test_columns_of_what_is_shown(switching):
    with switching.wire() as w:
        w.say(parse("SELECT 1", "s"), run("s"))
        shown = switching.admin_result("SHOW PREPARED_STATEMENTS")
        assert [c.name for c in shown.columns] == ["name", "kind", "query", "version", "clients", "servers", "binds",
                                                   "size"]
        shown = switching.admin_result("SHOW PREPARED_STATS")
        assert [c.name for c in shown.columns] == ["database", "client_parses", "server_parses", "binds", "hits",
                                                   "evictions", "retries"]


def test_what_is_counted(make_switching):
    pooler = make_switching(servers=1, max_prepared_statements=2)
    with pooler.wire() as a, pooler.wire() as b:
        for w in (a, b):
            w.say(parse("SELECT 1", "s"))
            for _ in range(3):
                w.say(run("s"))
        stats = prepared_stats(pooler)
        assert (stats["client_parses"], stats["server_parses"], stats["binds"]) == (2, 1, 6)
        assert stats["evictions"] == stats["retries"] == 0
        for i in range(3):
            a.say(parse(f"SELECT 'more {i}'", f"s{i}"), run(f"s{i}"))
        stats = prepared_stats(pooler)
        assert (stats["client_parses"], stats["server_parses"], stats["binds"]) == (5, 4, 9)
        assert stats["evictions"] == 2
        [row] = [row for row in pooler.admin("SHOW STATS") if row["database"] == "app"]
        assert (row["total_client_parse_count"], row["total_server_parse_count"], row["total_bind_count"]) == (
            "5", "4", "9")


def test_how_many_statements_a_client_and_a_server_have(make_switching):
    pooler = make_switching(servers=1, max_prepared_statements=2)
    with pooler.wire() as w:
        for i in range(3):
            w.say(parse(f"SELECT {i}", f"s{i}"), run(f"s{i}"))
        [client] = [row for row in pooler.admin("SHOW CLIENTS") if row["database"] == "app"]
        [server] = [row for row in pooler.admin("SHOW SERVERS") if row["database"] == "app"]
        assert (client["prepared_statements"], server["prepared_statements"]) == ("3", "2")
        assert w.value(ON_SERVER) == "2"


# Nonsense

@pytest.mark.parametrize("message", [
    packet("P", b""), packet("P", b"s"), packet("P", b"s\0"), packet("P", b"s\0SELECT 1"),
    packet("P", b"s\0SELECT 1\0"),
    packet("P", b"s\0SELECT 1\0\0\1"), packet("P", b"s\0SELECT 1\0\0\0x"), packet("P", b"s\0SELECT 1\0\xff\xff"),
    packet("B", b""), packet("B", b"\0"), packet("B", b"\0s"), packet("B", b"\0s\0"), packet("B", b"\0s\0\0\0\xff\xff"),
    packet("D", b""), packet("D", b"S"), packet("D", b"Ss"), packet("D", b"Xs\0"), packet("D", b"Ss\0more"),
    packet("C", b""), packet("C", b"S"), packet("C", b"Ss"), packet("C", b"Xs\0"), packet("C", b"Ss\0more"),
    packet("Q", b"EXECUTE s"), packet("Q", b"EXECUTE s\0more\0"), packet("Q", b""),
    packet("P", cstring("s") + b"EXECUTE s\0\0\1\0\0\0\x19"),
], ids=range(27))
def test_nonsense_hurts_nobody_else(make_switching, message):
    """Whether it is told by an error or loses its connection, the others' statements are what they were."""
    pooler = make_switching(servers=1)
    with pooler.wire() as other:
        other.say(parse("SELECT 'well'", "s"))
        with pooler.wire() as w:
            w.say(parse("SELECT 'mine'", "s"))
            w.send_raw(message + sync())
            with contextlib.suppress(Closed):
                kinds = [w.recv().type]
                while kinds[-1] not in "Z":
                    kinds.append(w.recv().type)
                assert "E" in kinds
        for _ in range(2):
            assert other.say(run("s")).value == "well"
    with pooler.wire() as w:
        assert w.say(parse("SELECT 'next'", "s"), run("s")).types == "12DCZ"
