"""The extended query protocol on the console: drivers with their defaults, and PostgreSQL's rules message by message."""

import asyncio
import os
import shutil
import struct

import asyncpg
import psycopg
import pytest

from harness.pooler import assert_error, is_pgbouncer
from harness.system import run
from harness.wire import bind, close, cstring, describe, error_fields, execute, flush, packet, parse, query, sync

pytestmark = pytest.mark.skipif(is_pgbouncer(), reason="PgBouncer's console has no extended protocol")

JAR = "/usr/share/java/postgresql.jar"
HERE = os.path.dirname(os.path.abspath(__file__))
INT4, INT8, TEXT, NUMERIC = 23, 20, 25, 1700


@pytest.fixture
def console(pooler):
    with pooler.wire("pgbouncer", "admin") as w:
        yield w


def ask(console, *messages):
    """What comes back up to the ReadyForQuery of the Sync behind these."""
    console.send_raw(b"".join(messages) + sync())
    return console.result()


def numeric_text(data):
    """PostgreSQL's binary numeric, without a fraction, in decimal."""
    n, weight, sign, scale = struct.unpack_from("!HhHH", data)
    digits = struct.unpack_from(f"!{n}H", data, 8)
    assert len(data) == 8 + 2 * n and scale == 0 and all(d < 10000 for d in digits)
    value = sum(d * 10000 ** (weight - i) for i, d in enumerate(digits))
    return str(-value if sign == 0x4000 else value)


READ_BINARY = {
    INT4: lambda data: str(struct.unpack("!i", data)[0]),
    INT8: lambda data: str(struct.unpack("!q", data)[0]),
    NUMERIC: numeric_text,
    TEXT: bytes.decode,
}


# Drivers, with the settings they come with

def test_psycopg(pooler):
    with psycopg.connect(pooler.dsn("admin", "pgbouncer")) as c:
        for _ in range(12):  # from the sixth on it uses a prepared statement
            cursor = c.execute("SHOW POOLS")
            assert [column.name for column in cursor.description][:3] == ["database", "user", "cl_active"]
            assert ("pgbouncer", "pgbouncer", 1) in [row[:3] for row in cursor.fetchall()]
        c.commit()
        with pytest.raises(psycopg.errors.SyntaxError) as caught:
            c.execute("SHOW NONSENSE")
        assert "SHOW HELP" in caught.value.diag.message_hint
        c.rollback()
        with c.transaction():
            assert c.execute("SHOW VERSION", prepare=True).fetchone()[0].startswith("PgBouncer 1.25.2")
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            c.execute("SHOW %s", ["POOLS"])


def test_psycopg_in_binary(pooler):
    with pooler.wire() as w, psycopg.connect(pooler.dsn("admin", "pgbouncer"), autocommit=True) as c:
        w.value("SELECT 1")
        text, binary = (c.cursor(binary=b).execute("SHOW STATS_TOTALS").fetchall() for b in (False, True))
        app = [[row for row in rows if row[0] == "app"] for rows in (text, binary)]
        assert app[0] == app[1] and app[0][0][3] >= 1
        assert c.cursor(binary=True).execute("SHOW LISTS").fetchall()[0][0] == "databases"


def test_psycopg_gives_commands(pooler):
    with psycopg.connect(pooler.dsn("admin", "pgbouncer"), autocommit=True) as c:
        c.execute("SET default_pool_size = 7")
        assert pooler.config("default_pool_size") == "7"
        c.execute("PAUSE")
        c.execute("RESUME")
        c.execute("RELOAD")
    assert pooler.config("default_pool_size") == "20"


def test_asyncpg(pooler):
    async def work():
        c = await asyncpg.connect(host="127.0.0.1", port=pooler.port, user="admin", database="pgbouncer")
        for _ in range(3):
            pools = await c.fetch("SHOW POOLS")
            assert [row["cl_active"] for row in pools if row["database"] == "pgbouncer"] == [1]
        stats = await c.fetch("SHOW STATS")
        assert all(row["total_query_count"] >= 3 for row in stats if row["database"] == "pgbouncer")
        with pytest.raises(asyncpg.PostgresSyntaxError):
            await c.fetch("SELECT * FROM pg_class")
        async with c.transaction():
            keys = [row["key"] async for row in c.cursor("SHOW CONFIG", prefetch=7)]
        assert keys == sorted(keys) and "pool_mode" in keys
        await c.close()

    asyncio.run(asyncio.wait_for(work(), 60))


@pytest.mark.parametrize("mode", ["extended", "simple", "extendedCacheEverything", "extendedForPrepared"])
def test_jdbc(pooler, tmp_path, mode):
    if shutil.which("javac") is None:
        pytest.skip("no JDK on this machine")
    done = run(["javac", "-cp", JAR, "-d", str(tmp_path), os.path.join(HERE, "java", "Console.java")])
    assert done.returncode == 0, done.stderr
    url = f"jdbc:postgresql://127.0.0.1:{pooler.port}/pgbouncer?preferQueryMode={mode}"
    done = run(["java", "-cp", f"{tmp_path}:{JAR}", "Console", url])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == "done"


def test_node_postgres(pooler):
    if shutil.which("node") is None:
        pytest.skip("no node on this machine")
    done = run(["node", os.path.join(HERE, "node", "console.js"), str(pooler.port)])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == "done"


def test_as_pgx_does(console):
    """It prepares under a name, describes, and asks for each column in the format it likes best."""
    name = "stmtcache_1"
    result = ask(console, parse("SHOW POOLS", name), describe("S", name))
    assert result.types == "1tTZ"
    formats = [1 if column.oid in (INT4, INT8) else 0 for column in result.columns]
    for _ in range(3):
        result = ask(console, bind((), name, formats=formats), describe(), execute())
        assert result.types.replace("D", "") == "2TCZ" and result.tags == ["SHOW"]
        assert [c.format for c in result.columns] == formats
        assert [row[2] for row in result.rows if row[0] == "pgbouncer"] == [b"\0\0\0\1"]
    assert ask(console, close("S", name)).types == "3Z"


def test_as_npgsql_does(console):
    """All of a query in one batch, all of its result in binary, behind what resets a pooled connection."""
    result = console.query("DISCARD ALL")
    assert (result.types, result.tags) == ("CZ", ["DISCARD ALL"])
    result = ask(console, parse("SHOW STATS_TOTALS"), bind(formats=[1]), describe(), execute())
    assert result.types.replace("D", "") == "12TCZ"
    assert {c.format for c in result.columns} == {1}
    assert all(int(numeric_text(value)) >= 0 for row in result.rows for value in row[1:])


# Formats

@pytest.mark.parametrize("show", ["CONFIG", "DATABASES", "USERS", "LISTS", "VERSION", "STATE", "ALL", "datestyle"])
def test_binary_says_what_text_says(console, show):
    text = ask(console, parse(f"SHOW {show}", "s"), bind((), "s"), describe(), execute())
    binary = ask(console, bind((), "s", formats=[1]), describe(), execute())
    assert [c.oid for c in text.columns] == [c.oid for c in binary.columns]
    decoded = [[None if value is None else READ_BINARY[c.oid](value) for c, value in zip(binary.columns, row)]
               for row in binary.rows]
    # This one's numbers of what is in use may differ.
    assert decoded == text.rows or show == "LISTS" and [r[0] for r in decoded] == [r[0] for r in text.rows]


def test_formats_are_one_for_all_or_one_for_each(console):
    for formats, code in (((0, 1, 0), "08P01"), ((2,), "22023")):
        result = ask(console, parse("SHOW STATE"), bind(formats=formats), execute())
        assert result.types == "1EZ"
        assert_error(result.error, None, code)
    assert ask(console, parse("SHOW STATE"), bind(formats=(0, 1)), execute()).types == "12DDDCZ"


# Statements and portals

def test_the_answer_is_that_of_the_simple_protocol(console):
    for sql in ("SHOW POOLS", "select pools;", "SHOW datestyle", "SHOW TRANSACTION ISOLATION LEVEL"):
        simple, extended = console.query(sql), console.extended(sql)
        assert simple.error is None and extended.types == "12" + simple.types
        assert (simple.columns, simple.rows, simple.tags) == (extended.columns, extended.rows, extended.tags)


def test_what_shows_nothing_is_described_as_that(console):
    assert ask(console, parse("RELOAD"), describe("S", ""), bind(), describe(), execute()).types == "1tn2nCZ"
    assert ask(console, parse(""), bind(), describe(), execute()).types == "12nIZ"
    result = ask(console, parse("SHOW HELP"), bind(), describe(), execute())
    assert result.types == "12nNCZ" and result.notices[0]["M"] == "Console usage"


def test_an_error_skips_to_the_sync(console):
    console.send_raw(parse("FROB NI CATE") + bind() + execute() + query("SHOW VERSION") + sync() +
                     parse("SHOW VERSION") + bind() + execute() + sync())
    first, second = console.result(), console.result()
    assert first.types == "EZ"
    assert_error(first.error, "invalid command 'FROB NI CATE'", "42601")
    assert second.types == "12DCZ"


def test_a_command_that_fails_skips_to_the_sync(console):
    result = ask(console, parse("RESUME"), bind(), execute(), parse("SHOW VERSION"), bind(), execute())
    assert result.types == "12EZ"
    assert_error(result.error, "pooler is not paused/suspended", "55000")
    assert console.query("SHOW VERSION").types == "TDCZ"


def test_flush_without_sync_is_answered(console):
    console.send_raw(parse("SHOW VERSION") + bind() + execute() + flush())
    assert "".join(m.type for m in console.recv_until("C")) == "12DC"
    assert ask(console).types == "Z"


def test_named_statements(console):
    assert ask(console, parse("SHOW STATE", "a"), parse("SHOW VERSION", "b")).types == "11Z"
    assert ask(console, bind((), "a"), execute(), bind((), "b"), execute()).types == "2DDDC2DCZ"
    assert_error(ask(console, parse("SHOW STATE", "a")).error, 'prepared statement "a" already exists', "42P05")
    assert ask(console, close("S", "a"), close("S", "no such")).types == "33Z"
    assert_error(ask(console, bind((), "a")).error, 'prepared statement "a" does not exist', "26000")
    assert console.query("DEALLOCATE b").tags == ["DEALLOCATE"]
    assert_error(console.query("DEALLOCATE b").error, None, "26000")
    assert ask(console, parse("SHOW STATE", "c")).types == "1Z"
    assert console.query("DEALLOCATE ALL").tags == ["DEALLOCATE ALL"]
    assert_error(ask(console, describe("S", "c")).error, None, "26000")


def test_a_simple_query_that_fails_skips_nothing(console):
    assert_error(console.query("DEALLOCATE nothing").error, None, "26000")
    assert console.query("SHOW VERSION").types == "TDCZ"


def test_the_unnamed_statement_is_replaced_and_ends_with_a_simple_query(console):
    assert ask(console, parse("SHOW STATE"), parse("SHOW VERSION"), bind(), execute()).types == "112DCZ"
    console.query("SHOW VERSION")
    assert_error(ask(console, bind()).error, "unnamed prepared statement does not exist", "26000")


def test_portals_end_with_the_sync_or_the_block(console):
    assert ask(console, parse("SHOW STATE", "s"), bind((), "s", "p")).types == "12Z"
    assert_error(ask(console, execute("p")).error, 'portal "p" does not exist', "34000")
    assert console.query("BEGIN").status == "T"
    assert ask(console, bind((), "s", "p")).types == "2Z"
    assert_error(ask(console, bind((), "s", "p")).error, None, "42P03")
    assert ask(console, execute("p")).types == "DDDCZ"
    assert console.query("COMMIT").status == "I"
    assert_error(ask(console, execute("p")).error, None, "34000")


@pytest.mark.parametrize("show", ["CONFIG", "CLIENTS"])
def test_rows_come_in_portions(pooler, console, show):
    clients = [pooler.wire() for _ in range(20)]
    whole = console.query(f"SHOW {show}").rows
    console.query("BEGIN")
    result = ask(console, parse(f"SHOW {show}"), bind((), "", "p"), execute("p", 7))
    rows = result.rows
    assert result.types == "12DDDDDDDsZ"
    while not result.tags:
        result = ask(console, execute("p", 7))
        assert len(result.rows) <= 7
        rows += result.rows
    at = {"CONFIG": 0, "CLIENTS": 20}[show]  # the column that says which one it is
    assert [row[at] for row in rows] == [row[at] for row in whole]
    assert ask(console, execute("p", 7)).types == "CZ"
    for client in clients:
        client.close()


def test_a_portal_of_a_command_runs_once(console):
    result = ask(console, parse("RELOAD"), bind((), "", "p"), execute("p"), execute("p"))
    assert result.types == "12CEZ"
    assert_error(result.error, 'portal "p" cannot be run', "55000")


def test_a_statement_ends_before_its_portal(console):
    assert ask(console, parse("SHOW STATE", "s"), bind((), "s", "p"), close("S", "s"), execute("p")).types == "123DDDCZ"


def test_commands_that_wait(pooler, console):
    with pooler.wire() as busy:
        busy.query("BEGIN")
        console.send_raw(parse("PAUSE") + bind() + execute() + parse("SHOW STATE") + bind() + execute() + sync())
        pooler.wait_log("PAUSE command issued")
        busy.query("COMMIT")
        result = console.result()
        assert (result.types, result.tags) == ("12C12DDDCZ", ["PAUSE", "SHOW"])
        console.query("RESUME")
        busy.query("BEGIN")
        console.send_raw(parse("PAUSE") + bind() + execute() + parse("SHOW STATE") + sync())
        pooler.wait_pool(sv_active=1)
        console.cancel()
        result = console.result()
        assert result.types == "12EZ"
        assert_error(result.error, None, "57014")
        assert console.query("SHOW VERSION").error is None


@pytest.mark.parametrize("sql, types", [
    ("SET DATABASE app pool_size = 7", "12CZ"), ("DISABLE app", "12CZ"), ("KILL app", "12CZ"), ("WAIT_CLOSE", "12CZ"),
    ("DISABLE", "12EZ"), ("KILL_CLIENT nobody", "12EZ"), ("TAKEOVER", "12EZ"),
])
def test_commands_about_what_runs(console, sql, types):
    """Also where they are refused: what was said before is answered, and the session goes on."""
    assert ask(console, parse(sql), bind(), execute()).types == types
    assert console.query("SHOW VERSION").error is None


def test_one_may_end_oneself(console):
    [me] = [row["id"] for row in console.query("SHOW CLIENTS").dicts() if row["database"] == "pgbouncer"]
    console.send_raw(parse(f"KILL_CLIENT {me}") + bind() + execute() + sync())
    error = next(error_fields(m.body) for m in console.drain() if m.type == "E")
    assert_error(error, "admin forced disconnect", "57P01")


# What is refused, and how the session goes on

def test_parameters_are_refused(console):
    assert_error(ask(console, parse("SHOW $1")).error, "commands of the admin console take no parameters", "0A000")
    assert_error(ask(console, parse("SET verbose = $1")).error, None, "0A000")
    assert_error(ask(console, parse("SHOW STATE"), bind(["x"])).error, "bind message supplies", "08P01")
    assert ask(console, parse("SHOW STATE", types=[INT4]), bind(), execute()).types == "12DDDCZ"


@pytest.mark.parametrize("message", [
    packet("P", b"no end"), packet("P", cstring("") + cstring("SHOW STATE") + b"\0\1"), packet("B", cstring("")),
    packet("B", cstring("") * 2 + b"\0\0\xff\xff"), packet("B", cstring("") * 2 + b"\0\0\0\1\x7f\xff\xff\xff\0\0"),
    packet("D", b""), packet("D", b"X\0"), packet("C", b"S"), packet("E", cstring("") + b"\0\0"), packet("E", b"p"),
    packet("P", cstring("") + cstring("SHOW STATE") + b"\0\0more"),
])
def test_a_malformed_message_is_an_error(console, message):
    result = ask(console, message)
    assert result.types == "EZ"
    assert_error(result.error, "invalid message format", "08P01")
    assert ask(console, parse("SHOW STATE"), bind(), execute()).types == "12DDDCZ"


def test_statements_and_portals_are_bounded(pooler, console):
    console.query("BEGIN")
    made = ask(console, *[parse("SHOW STATE", f"s{i}") for i in range(2000)])
    assert_error(made.error, "too many prepared statements", "54000")
    assert made.types.count("1") < 2000
    made = ask(console, *[bind((), "s0", f"p{i}") for i in range(2000)])
    assert_error(made.error, "too many portals", "54000")
    assert_error(ask(console, parse("SHOW STATE" + " " * 8000, "long")).error, None, "54000")
    assert_error(ask(console, parse("SHOW STATE", "n" * 8000)).error, None, "54000")
    console.query("COMMIT")
    console.query("DEALLOCATE ALL")
    assert ask(console, parse("SHOW STATE", "s0"), bind((), "s0", "p0"), execute("p0")).types == "12DDDCZ"


def test_unknown_messages_still_end_the_session(console):
    console.send("d", b"data")
    assert console.drain()[-1].type == "E"


def test_stats_users_see_all_but_fds(pooler):
    with pooler.wire("pgbouncer", "stats") as w:
        assert w.extended("SHOW POOLS").error is None
        for result in (w.query("SHOW FDS"), w.extended("SHOW FDS"), w.extended("RELOAD")):
            assert_error(result.error, "admin access needed", "42501")
        assert "T" not in w.extended("SHOW FDS").types


# What drivers say to any server

KIND = {
    "BEGIN": "BEGIN", "begin;": "BEGIN", "BEGIN READ ONLY": "BEGIN", "BEGIN ISOLATION LEVEL SERIALIZABLE": "BEGIN",
    "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY": "START TRANSACTION", "COMMIT": "COMMIT",
    "COMMIT TRANSACTION ;": "COMMIT", "END": "COMMIT", "ROLLBACK": "ROLLBACK", "ABORT": "ROLLBACK",
    "SAVEPOINT \"_pg3_1\"": "SAVEPOINT", "RELEASE SAVEPOINT x": "RELEASE", "ROLLBACK TO SAVEPOINT x": "ROLLBACK",
    "SET extra_float_digits = 3": "SET", "SET application_name = 'x y'": "SET", "SET client_encoding TO 'UTF8'": "SET",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY": "SET", "SET TIME ZONE 'UTC'": "SET", "RESET ALL": "RESET",
    "DISCARD ALL": "DISCARD ALL", "UNLISTEN *": "UNLISTEN", "CLOSE ALL": "CLOSE CURSOR ALL",
}


@pytest.mark.parametrize("user", ["admin", "stats"])
def test_what_means_nothing_here_is_accepted(pooler, user):
    with pooler.wire("pgbouncer", user) as w:
        for sql, tag in KIND.items():
            for result in (w.query(sql), w.extended(sql)):
                assert (result.error, result.tags) == (None, [tag]), sql


def test_what_has_no_effect_is_said_to_have_none(console):
    for sql in ("SET extra_float_digits = 3", "SET TIME ZONE 'UTC'", "RESET ALL"):
        assert len(console.query(sql).notices) == 1, sql


@pytest.mark.parametrize("sql", ["SELECT version()", "SELECT 1", "BEGIN; SHOW POOLS", "COMMIT PREPARED 'x'", "LISTEN x",
                                 "COPY x FROM STDIN", "SET LOCAL x = 1", "PREPARE s AS SHOW POOLS", "RESET verbose"])
def test_all_else_is_an_error_that_names_help(console, sql):
    for result in (console.query(sql), console.extended(sql)):
        assert result.error["S"] == "ERROR" and "SHOW HELP" in result.error["H"], sql
        assert_error(result.error, None, "42601")
        assert result.status == "I"
