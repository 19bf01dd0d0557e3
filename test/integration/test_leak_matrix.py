"""
What one client leaves behind and another finds: every kind of state that a session can have, in every pool mode, on
every way in which a client can let go of its server.

KINDS is the one list of what may carry over; the table in doc/pool-modes.md is held against it.
"""

import collections
import concurrent.futures
import contextlib
import os
import re
import threading

import pytest

from harness.pooler import Pooler
from harness.wire import Closed, bind, copy_data, copy_done, copy_fail, describe, execute, parse, query, sync

DOC = os.path.join(os.path.dirname(__file__), "../../doc/pool-modes.md")

MODES = ("session", "transaction", "statement")

# title: as in the document. leave: what the first client says, each with the type of the reply that it waits for
# ("" for none). finish: how it ends what it has begun, if anything is left to be ended. look: what the second client
# says; what it hears is compared with what a client of PostgreSQL hears that has just logged in. carries: stays with
# the server in transaction and statement mode, by design.
Kind = collections.namedtuple("Kind", "title leave look carries finish", defaults=[False, b""])

ENDS = "Z"
LONG = "repeat('left behind ', 100) FROM generate_series(1, 2000)"

KINDS = {
    "tracked parameter": Kind(
        "A parameter that is tracked (`application_name`, `TimeZone`, ...)",
        [(query("SET application_name = 'left behind'"), ENDS)], query("SHOW application_name")),
    "parameter": Kind(
        "Any other parameter (`SET work_mem = ...`)",
        [(query("SET work_mem = '77MB'"), ENDS)], query("SHOW work_mem"), True),
    "search_path": Kind(
        "`search_path`, unless track_extra_parameters names it and the server reports it",
        [(query("SET search_path = left_behind"), ENDS)], query("SHOW search_path"), True),
    "characteristics": Kind(
        "`SET SESSION CHARACTERISTICS`",
        [(query("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"), ENDS)],
        query("SHOW default_transaction_read_only"), True),
    "own parameter": Kind(
        "A parameter with a name of the application's own (`SET my.tenant = ...`)",
        [(query("SET my.tenant = 'left behind'"), ENDS)],
        query("SELECT coalesce(current_setting('my.tenant', true), '')"), True),
    "local parameter": Kind(
        "`SET LOCAL` in a transaction",
        [(query("BEGIN"), ENDS), (query("SET LOCAL work_mem = '77MB'"), ENDS)], query("SHOW work_mem"),
        finish=query("COMMIT")),
    "role": Kind(
        "`SET ROLE`", [(query("SET ROLE other"), ENDS)], query("SELECT current_user"), True),
    "session authorization": Kind(
        "`SET SESSION AUTHORIZATION`", [(query("SET SESSION AUTHORIZATION other"), ENDS)],
        query("SELECT session_user"), True),
    "named statement": Kind(
        "A prepared statement of the protocol, by its name",
        [(parse("SELECT 'left behind'", "left_behind") + sync(), ENDS)],
        bind(name="left_behind") + execute() + sync()),
    "unnamed statement": Kind(
        "The unnamed prepared statement",
        [(parse("SELECT 'left behind'") + sync(), ENDS)], bind() + execute() + sync()),
    "prepared by SQL": Kind(
        "A prepared statement of `PREPARE`, by its name",
        [(query("PREPARE left_behind AS SELECT 'left behind'"), ENDS)], query("EXECUTE left_behind")),
    "portal": Kind(
        "A portal, or a cursor without HOLD, of an open transaction",
        [(query("BEGIN"), ENDS), (query("DECLARE left_behind CURSOR FOR SELECT 1"), ENDS),
         (parse("SELECT 1") + bind(portal="left_portal") + sync(), ENDS)],
        query("SELECT count(*) FROM pg_cursors"), finish=query("COMMIT")),
    "cursor": Kind(
        "A cursor `WITH HOLD`",
        [(query("DECLARE left_behind CURSOR WITH HOLD FOR SELECT 'left behind'"), ENDS)],
        query("SELECT name FROM pg_cursors"), True),
    "temporary table": Kind(
        "A temporary table",
        [(query("CREATE TEMP TABLE left_behind AS SELECT 'left behind'"), ENDS)],
        query("SELECT to_regclass('pg_temp.left_behind')"), True),
    "advisory lock": Kind(
        "An advisory lock of the session",
        [(query("SELECT pg_advisory_lock_shared(4711)"), ENDS)],
        query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"), True),
    "transaction's advisory lock": Kind(
        "An advisory lock of a transaction",
        [(query("BEGIN"), ENDS), (query("SELECT pg_advisory_xact_lock_shared(4712)"), ENDS)],
        query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"),
        finish=query("COMMIT")),
    "LISTEN": Kind(
        "`LISTEN`", [(query("LISTEN left_behind"), ENDS)], query("SELECT pg_listening_channels()"), True),
    "sequence": Kind(
        "The last value of a sequence (`lastval()`, `currval()`)",
        [(query("SELECT nextval('leak_sequence')"), ENDS)],
        query("SELECT lastval() > 0"), True),
    "transaction": Kind(
        "An open transaction",
        [(query("BEGIN"), ENDS), (query("INSERT INTO leak_table VALUES ('left behind')"), ENDS)],
        query("SELECT pg_current_xact_id_if_assigned()"), finish=query("ROLLBACK")),
    "failed transaction": Kind(
        "A failed transaction",
        [(query("BEGIN"), ENDS), (query("SELECT 1/0"), ENDS)], query("SELECT 'mine'"), finish=query("ROLLBACK")),
    "rows": Kind(
        "Rows that were not read", [(query(f"SELECT {LONG}"), "")], query("SELECT 'mine'")),
    "COPY out": Kind(
        "A `COPY TO STDOUT` that was not read",
        [(query(f"COPY (SELECT {LONG}) TO STDOUT"), "H")], query("SELECT 'mine'")),
    "COPY in": Kind(
        "A `COPY FROM STDIN` with some of its data",
        [(query("COPY leak_table FROM STDIN"), "G"), (copy_data(b"left behind\n"), "")],
        query("SELECT 'mine'"), finish=copy_data(b"\\.\n") + copy_done()),
}


def copy_in(w):
    w.send_raw(query("COPY leak_table FROM STDIN"))
    w.recv_until("GE")
    w.send_raw(copy_data(b"left behind\n"))


def end_transaction(w, kind):
    if kind.finish:
        w.send_raw(kind.finish)
    # Whatever was left to be read is read by asking for something behind it.
    w.send_raw(query("SELECT 'the end'"))
    while "the end" not in str(w.result().rows):
        pass


def terminate(w, kind):
    end_transaction(w, kind)
    w.send("X")


def fail(w, _):
    w.send_raw(query("SELECT 1/0"))
    w.send("X")


def disconnect(w, _):
    pass


def reset(w, _):
    w.reset()


def leave_half_a_message(w, _):
    w.send_raw(query("SELECT 'left behind'")[:-3])


def disconnect_in_a_query(w, _):
    w.send_raw(query("SELECT pg_sleep(60), 'left behind'"))


def run_into_a_timeout(w, _):
    w.send_raw(query("SELECT pg_sleep(60), 'left behind'"))
    w.recv_until("E")


def be_cancelled(w, _):
    is_over = threading.Event()

    def keep_cancelling():
        # One that overtakes the query does nothing.
        while not is_over.wait(0.05):
            w.cancel()

    thread = threading.Thread(target=keep_cancelling)
    thread.start()
    try:
        w.send_raw(query("SELECT pg_sleep(60), 'left behind'"))
        w.recv_until("E")
    finally:
        is_over.set()
        thread.join()
    w.send("X")


def abort_copy(w, _):
    copy_in(w)
    w.send_raw(copy_fail("left behind"))
    w.send("X")


def disconnect_in_copy(w, _):
    copy_in(w)


def leave_a_pipeline(w, _):
    w.send_raw((parse("SELECT 'left behind'") + bind() + describe() + execute() + sync()) * 5)
    w.send("X")


def leave_a_pipeline_without_end(w, _):
    w.send_raw(parse("SELECT 'left behind'") + bind() + describe() + execute())


STAYS = "the end of the transaction"

WAYS = {
    STAYS: end_transaction,
    "Terminate": terminate,
    "an error": fail,
    "a disconnect": disconnect,
    "a reset connection": reset,
    "half a message": leave_half_a_message,
    "a disconnect in a query": disconnect_in_a_query,
    "query_timeout": run_into_a_timeout,
    "a cancel request": be_cancelled,
    "CopyFail": abort_copy,
    "a disconnect in COPY": disconnect_in_copy,
    "a pipeline and Terminate": leave_a_pipeline,
    "a pipeline without Sync": leave_a_pipeline_without_end,
}

# Ways to go that end the server too, and kinds in which a query fails before it runs into anything.
ENDS_SERVER = ("half a message", "query_timeout", "a pipeline without Sync")
RUNS_NOTHING = {"failed transaction", "COPY in"}


def heard(w, look):
    """What a client hears that cannot be told from what others hear: without names of backends and internal names."""
    w.send_raw(look)
    result = w.result()
    return result.rows or (result.error and result.error["C"]), result.status


@pytest.fixture(scope="module")
def nothing(cluster):
    """What a client finds that has PostgreSQL to itself, by kind."""
    cluster.rows("DROP SEQUENCE IF EXISTS leak_sequence; CREATE SEQUENCE leak_sequence", "app")
    cluster.rows("DROP TABLE IF EXISTS leak_table; CREATE TABLE leak_table (t text)", "app")
    cluster.rows("GRANT ALL ON leak_sequence, leak_table TO PUBLIC", "app")
    found = {}
    for name, kind in KINDS.items():
        with cluster.wire(user="postgres") as w:
            found[name] = heard(w, kind.look)
    return found


@pytest.fixture(scope="module")
def pooler(request, cluster):
    """One pool of one server for each kind and way: nobody finds what another case has left."""
    databases = {database_of(way, name): {"dbname": "app", "pool_size": 1} for way in WAYS for name in KINDS}
    mode, _, reset = request.param.partition(" with ")
    pooler = Pooler(cluster, databases=databases, users={"postgres": {}}, pool_mode=mode, query_timeout=0,
                    server_reset_query_always=int(reset == "reset"), max_client_conn=1000)
    yield pooler
    pooler.close()


def database_of(way, name):
    return f"leak_{list(WAYS).index(way)}_{list(KINDS).index(name)}"


def say(w, kind):
    for message, end in kind.leave:
        w.send_raw(message)
        if end:
            w.recv_until(end)


def leave_behind(pooler, database, kind, way):
    """The first client comes, leaves something and goes, or stays idle: it, and the process id of its server."""
    w = pooler.wire(database, "postgres", timeout=60)
    server = w.value("SELECT pg_backend_pid()")
    with contextlib.suppress(Closed, OSError):
        say(w, kind)
        WAYS[way](w, kind)
    if way != STAYS:
        w.close()
    return w, server


def all_leave(pooler, way):
    with concurrent.futures.ThreadPoolExecutor(len(KINDS)) as threads:
        jobs = {name: threads.submit(leave_behind, pooler, database_of(way, name), kind, way)
                for name, kind in KINDS.items()}
    return {name: job.result() for name, job in jobs.items()}


def come_next(pooler, database, kind):
    """What the second client finds, and the process id of its server."""
    with pooler.wire(database, "postgres", timeout=60) as w:
        found = heard(w, kind.look)
        w.query("RESET ROLE")
        w.query("RESET SESSION AUTHORIZATION")
        return found, w.value("SELECT pg_backend_pid()")


# In session mode the end of a transaction lets go of nothing.
CASES = [(mode, way) for mode in MODES for way in WAYS if (mode, way) != ("session", STAYS)]


@pytest.mark.parametrize("pooler, way", [*CASES, ("transaction with reset", STAYS)], indirect=["pooler"])
def test_nothing_is_found_but_what_the_document_says(pooler, nothing, way):
    mode = pooler.settings["pool_mode"]
    if way == "query_timeout":
        assert pooler.reload(query_timeout=0.3).error is None
    first = all_leave(pooler, way)
    if way == "query_timeout":
        assert pooler.reload(query_timeout=0).error is None
    second = {name: come_next(pooler, database_of(way, name), kind) for name, kind in KINDS.items()}
    for w, _ in first.values():
        w.close()
    pooler.admin("RECONNECT")  # closes servers that nobody needs any more

    same = {name for name in KINDS if first[name][1] == second[name][1]}
    found = {name: second[name][0] for name in KINDS if second[name][0] != nothing[name]}
    is_reset = mode == "session" or pooler.settings["server_reset_query_always"]
    allowed = {name for name, kind in KINDS.items() if kind.carries and not is_reset}
    assert {name: what for name, what in found.items() if name not in allowed} == {}
    # It was looked for where it would be, and what the document says is so.
    possible = {name for name in KINDS if mode != "statement" or query("BEGIN") not in dict(KINDS[name].leave)}
    if way in ENDS_SERVER:
        assert same <= RUNS_NOTHING and not found
    elif way in (STAYS, "Terminate"):
        assert same == possible and set(found) == allowed
    else:
        assert possible - same <= {"COPY in"}


def test_the_document_says_the_same():
    """doc/pool-modes.md has a row for each kind, in this order."""
    with open(DOC) as f:
        rows = re.findall(r"^\| (.+?) +\| (no|yes) +\| (no|yes) +\|$", f.read(), re.MULTILINE)
    assert rows == [(kind.title, "no", "yes" if kind.carries else "no") for kind in KINDS.values()]
