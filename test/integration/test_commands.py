"""The console's commands: who may give which, KILL and its relatives, RECONNECT, SET of entries, RELOAD as a whole."""

import contextlib
import re
import select

import pytest

from harness.pooler import assert_error, open_servers
from harness.system import as_account, eventually, run
from harness.wire import Wire, error_fields, query


def command(pooler, sql):
    """A command that must go well, on a connection of its own: its tag."""
    result = pooler.admin_result(sql)
    assert result.error is None, result.error
    return result.tags[0]


def is_silent(w, seconds=0.4):
    return not w.buffer and not select.select([w.sock], [], [], seconds)[0]


@contextlib.contextmanager
def asking(pooler, sql):
    """A console on which a command has been given whose answer may be long in coming."""
    with pooler.wire("pgbouncer", "admin") as w:
        w.send_raw(query(sql))
        yield w


def error_at_end(w):
    """The connection is closed, and this was said before."""
    return next((error_fields(m.body) for m in w.drain() if m.type == "E"), None)


def pids(pooler, database="app"):
    return {row["remote_pid"] for row in pooler.admin("SHOW SERVERS") if row["database"] == database}


def database(pooler, name="app"):
    return next(row for row in pooler.admin("SHOW DATABASES") if row["name"] == name)


def state(pooler):
    return next(row["key"] for row in pooler.admin("SHOW STATE") if row["value"] == "yes")


# Who may

ADMINS, EVERYBODY = "admin_users", "admin_users, stats_users"

# What is said for a row of SHOW COMMANDS, by name and argument, and the tag of a good answer; the rows of SHOW say
# it themselves. None: the program ends.
SAID = {
    ("SET", "key = arg"): ("SET stats_period = 7", "SET stats_period=7"),
    ("SET", "DATABASE <db> key = arg"): ("SET DATABASE app pool_size = 7", "SET DATABASE app pool_size=7"),
    ("SET", "USER <user> key = arg"): ("SET USER app pool_size = 7", "SET USER app pool_size=7"),
    ("RELOAD", ""): ("RELOAD", "RELOAD"),
    ("PAUSE", "[<db>]"): ("PAUSE second", "PAUSE"),
    ("RESUME", "[<db>]"): ("RESUME second", "RESUME"),
    ("DISABLE", "<db>"): ("DISABLE second", "DISABLE"),
    ("ENABLE", "<db>"): ("ENABLE second", "ENABLE"),
    ("RECONNECT", "[<db>]"): ("RECONNECT", "RECONNECT"),
    ("KILL", "[<db>]"): ("KILL second", "KILL"),
    ("KILL_CLIENT", "<client_id>"): ("KILL_CLIENT {client}", "KILL_CLIENT"),
    ("SUSPEND", ""): ("SUSPEND", "SUSPEND"),
    ("WAIT_CLOSE", "[<db>]"): ("WAIT_CLOSE", "WAIT_CLOSE"),
    ("SHUTDOWN", "[WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS|DRAIN]"): ("SHUTDOWN", None),
}
# What has to be undone before the next command.
AFTER = {"KILL": "RESUME second", "SUSPEND": "RESUME"}


def rows_of_commands(pooler):
    return [(row["name"], row["argument"], row["who"]) for row in pooler.admin("SHOW COMMANDS")]


def statement_of(name, argument):
    """A row without an entry in the table above fails the test: whoever adds a command says here what it does."""
    if name == "SHOW":
        return f"SHOW {argument}", "SHOW"
    return SAID[name, argument]


def logins(pooler, owner):
    """Who asks, from where: (name in the message, rights, address, user)."""
    tcp = ("127.0.0.1", pooler.port)
    yield "an admin over TCP", ADMINS, tcp, "admin"
    yield "a stats user over TCP", EVERYBODY, tcp, "stats"
    if owner:
        yield "an admin over the Unix socket", ADMINS, pooler.unix_socket, "admin"
        yield "a stats user over the Unix socket", EVERYBODY, pooler.unix_socket, "stats"


def check_answer(result, who, rights, said, tag, what):
    if rights == EVERYBODY and who == ADMINS:
        assert_error(result.error, "admin access needed", "42501")
        assert result.status == "I", what
    elif tag is None:
        assert_error(result.error, "pooler is shutting down", "57P01")
        assert result.status is None, what
    else:
        assert result.error is None, (what, result.error)
        assert result.tags == [tag], what


def test_every_command_is_for_those_whom_the_table_names(make_pooler):
    """Each row of SHOW COMMANDS, as admin and as stats user, over TCP and over the Unix socket."""
    pooler = make_pooler(databases={"app": {}, "second": {}})
    commands = rows_of_commands(pooler)
    assert {who for _, _, who in commands} == {ADMINS, EVERYBODY}
    # The one that ends the program comes last.
    commands.sort(key=lambda row: row[0] == "SHUTDOWN")
    for what, rights, address, user in reversed(list(logins(pooler, True))):
        for name, argument, who in commands:
            sql, tag = statement_of(name, argument)
            if name == "SHUTDOWN" and rights == ADMINS and (user, address) != ("admin", ("127.0.0.1", pooler.port)):
                continue
            with pooler.wire() as victim, Wire(address).login(user, "pgbouncer") as w:
                port = str(victim.sock.getsockname()[1])
                [client] = [row["id"] for row in pooler.admin("SHOW CLIENTS") if row["port"] == port]
                result = w.query(sql.format(client=client))
                check_answer(result, who, rights, sql, tag, (what, sql))
                if name in AFTER and result.error is None:
                    assert w.query(AFTER[name]).error is None
    assert pooler.wait_exit() == 0


def test_a_stats_user_has_changed_nothing_with_all_of_it(make_pooler):
    pooler = make_pooler(databases={"app": {}, "second": {}})
    with pooler.wire() as w:
        before = w.backend()
        for name, argument, who in rows_of_commands(pooler):
            if who == ADMINS:
                sql = statement_of(name, argument)[0]
                assert_error(pooler.admin_result(sql.format(client=1), user="stats").error, "admin access needed")
        assert w.backend() == before
    assert state(pooler) == "active"
    assert pooler.config("stats_period") == "60"
    for name in ("app", "second"):
        row = database(pooler, name)
        assert (row["paused"], row["disabled"], row["pool_size"]) == ("0", "0", "20")


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
@pytest.mark.parametrize("name", ["pgbouncer", "pgsluice"])
def test_who_is_neither_gets_no_console(pooler, unix, name):
    """Nor does one who only calls himself what the owner is called: over TCP nobody vouches for that."""
    address = pooler.unix_socket if unix else ("127.0.0.1", pooler.port)
    with Wire(address) as w:
        assert_error(w.try_login("app", name), "not allowed", "42501")
        assert w.is_closed()
    with Wire(("127.0.0.1", pooler.port)) as w:
        assert w.try_login("pgbouncer", name) is not None


def test_the_owner_of_the_process_may_everything_over_the_unix_socket(pooler):
    """psql, run as the account that the pooler runs as: no password, no line in any file."""
    def psql(sql):
        return run(["psql", "-X", "-w", "-h", pooler.directory, "-p", str(pooler.port), "-U", "pgbouncer", "-d",
                    "pgbouncer", "-c", sql], cwd="/", **as_account())

    for name, argument, _ in rows_of_commands(pooler):
        if name == "SHUTDOWN":
            continue
        sql = statement_of(name, argument)[0].replace("second", "app")
        done = psql(sql.format(client=99999))
        if name == "KILL_CLIENT":
            assert "client not found" in done.stderr
        else:
            assert done.returncode == 0, (sql, done.stderr)
        # Of SUSPEND, the end of the connection is the end.
        if name == "KILL":
            assert psql("RESUME app").returncode == 0
    assert pooler.alive()


def test_help_and_show_commands_come_from_one_table(pooler):
    [notice] = pooler.admin_result("SHOW HELP").notices
    lines = notice["D"].split("\n\t")
    shown = {word for line in lines if line.startswith("SHOW ") for word in line[5:].split("|")}
    rows = pooler.admin("SHOW COMMANDS")
    assert shown == {row["argument"] for row in rows if row["name"] == "SHOW"}
    assert [line for line in lines if line and not line.startswith("SHOW ")] == [
        f"{row['name']} {row['argument']}".strip() for row in rows if row["name"] != "SHOW"]
    assert all(row["help"] for row in rows)


# KILL

def test_kill_ends_all_at_once_and_leaves_the_database_paused(make_pooler, pg):
    pooler = make_pooler(databases={"app": {}, "second": {}})
    with pooler.wire() as busy, pooler.wire() as idle, pooler.wire("second") as other:
        busy.query("BEGIN")
        busy.send_raw(query("SELECT pg_sleep(60)"))
        idle.value("SELECT 1")
        kept = other.backend()
        pooler.wait_pool(sv_active=1)
        assert command(pooler, "KILL app") == "KILL"
        for w in (busy, idle):
            assert_error(error_at_end(w), "database removed", "57P01")
        assert pids(pooler) == set()
        assert database(pooler)["paused"] == "1"
        assert other.backend() == kept
        # Not even the query is left running at the server.
        eventually(lambda: not pg.rows("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' "
                                       "AND state = 'active'"), "the query is over")
        with pooler.raw() as late:
            late.startup({"user": "app", "database": "app"})
            pooler.wait_pool(cl_waiting=1)
            assert pids(pooler) == set()
            assert command(pooler, "RESUME app") == "RESUME"
            assert late.finish_login("app") is None
            assert late.value("SELECT 1") == "1"


def test_kill_without_a_name_ends_everything_but_the_console(make_pooler):
    pooler = make_pooler(databases={"app": {}, "second": {}})
    with pooler.wire() as a, pooler.wire("second") as b, pooler.wire("pgbouncer", "admin") as admin:
        a.query("BEGIN")
        b.value("SELECT 1")
        assert admin.query("KILL").tags == ["KILL"]
        for w in (a, b):
            assert_error(error_at_end(w), "database removed", "57P01")
        assert state(pooler) == "paused"
        assert pooler.admin("SHOW SERVERS") == []
        assert_error(admin.query("KILL").error, "already suspended/paused", "55000")
        assert admin.query("RESUME").tags == ["RESUME"]
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"


def test_kill_sends_those_away_who_wait(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as busy, pooler.wire() as waiting, pooler.raw() as coming:
        busy.query("BEGIN")
        waiting.send_raw(query("SELECT 1"))
        pooler.wait_pool(cl_waiting=1)
        assert command(pooler, "KILL app") == "KILL"
        for w in (busy, waiting):
            assert_error(error_at_end(w), "database removed", "57P01")
        coming.startup({"user": "app", "database": "app"})
        pooler.wait_pool(cl_waiting=1)
        assert command(pooler, "KILL app") == "KILL"
        assert_error(error_at_end(coming), "database removed", "57P01")
        assert command(pooler, "RESUME app") == "RESUME"


def test_kill_ends_the_wait_of_a_pause(pooler):
    with pooler.wire() as busy, asking(pooler, "SHOW VERSION") as admin:
        admin.result()
        busy.query("BEGIN")
        admin.send_raw(query("PAUSE app"))
        assert is_silent(admin)
        assert command(pooler, "KILL app") == "KILL"
        assert admin.result().tags == ["PAUSE"]


def test_kill_ends_a_shutdown_that_waits_for_clients(pooler):
    with pooler.wire() as w, Wire(pooler.unix_socket).login("admin", "pgbouncer") as admin:
        w.query("BEGIN")
        assert admin.query("SHUTDOWN WAIT_FOR_CLIENTS").tags == ["SHUTDOWN"]
        admin.send_raw(query("KILL"))
        assert_error(error_at_end(w), "database removed", "57P01")
        assert pooler.wait_exit() == 0


# KILL_CLIENT

@pytest.mark.parametrize("column", ["id", "ptr"])
def test_kill_client_ends_one_and_its_transaction(pooler, pg, column):
    with pooler.wire() as victim, pooler.wire() as other:
        victim.query("BEGIN")
        other.query("BEGIN")
        victim.send_raw(query("SELECT pg_sleep(60)"))
        port = str(victim.sock.getsockname()[1])
        [row] = [row for row in pooler.admin("SHOW CLIENTS") if row["port"] == port]
        assert command(pooler, f"KILL_CLIENT {row[column]}") == "KILL_CLIENT"
        assert_error(error_at_end(victim), "admin forced disconnect", "57P01")
        assert other.value("SELECT 1") == "1"
        pooler.wait_pool(cl_active=1, sv_active=1)
        result = pooler.admin_result(f"KILL_CLIENT {row['id']}")
        assert_error(result.error, "client not found", "42704")


def test_kill_client_reaches_one_that_waits_to_be_let_in(pooler):
    command(pooler, "PAUSE")
    with pooler.raw() as w:
        w.startup({"user": "app", "database": "app"})
        pooler.wait_pool(cl_waiting=1)
        [row] = [row for row in pooler.admin("SHOW CLIENTS") if row["database"] == "app"]
        assert command(pooler, f"KILL_CLIENT {row['id']}") == "KILL_CLIENT"
        assert_error(error_at_end(w), "admin forced disconnect", "57P01")


def test_kill_client_reaches_consoles_and_oneself(pooler):
    with asking(pooler, "SHOW CLIENTS") as admin, pooler.wire("pgbouncer", "stats") as other:
        admin.result()
        rows = admin.query("SHOW CLIENTS").dicts()
        ids = {row["user"]: row["id"] for row in rows}
        assert admin.query(f"KILL_CLIENT {ids['stats']}").tags == ["KILL_CLIENT"]
        assert_error(error_at_end(other), "admin forced disconnect", "57P01")
        admin.send_raw(query(f"KILL_CLIENT {ids['admin']}"))
        assert_error(error_at_end(admin), "admin forced disconnect", "57P01")


@pytest.mark.parametrize("argument", ["x", "1x", "0x", "-1", '"1 2"', "18446744073709551616"])
def test_kill_client_wants_an_id_or_a_pointer(pooler, argument):
    assert_error(pooler.admin_result(f"KILL_CLIENT {argument}").error, "invalid client pointer supplied", "22023")


# DISABLE, ENABLE

def test_disable_refuses_new_clients_and_leaves_the_others(pooler):
    with pooler.wire() as w:
        assert command(pooler, "DISABLE app") == "DISABLE"
        assert database(pooler)["disabled"] == "1"
        assert w.value("SELECT 1") == "1"
        attempt = pooler.attempt()
        assert_error(attempt.error, 'database "app" is disabled', "57P03")
        # What was said by hand outlives a reload.
        command(pooler, "RELOAD")
        assert_error(pooler.attempt().error, 'database "app" is disabled', "57P03")
        assert command(pooler, "ENABLE app") == "ENABLE"
    assert database(pooler)["disabled"] == "0"
    assert pooler.attempt().outcome == "in"


def test_disable_before_the_first_client_of_an_automatic_database(make_pooler):
    pooler = make_pooler(databases={"*": {}})
    assert command(pooler, "DISABLE app") == "DISABLE"
    assert_error(pooler.attempt().error, 'database "app" is disabled', "57P03")
    assert command(pooler, "ENABLE app") == "ENABLE"
    assert pooler.attempt().outcome == "in"


# What is said of databases

@pytest.mark.parametrize("sql, text, code", [
    ("PAUSE nosuch", "no such database: nosuch", "3D000"),
    ("KILL nosuch", "no such database: nosuch", "3D000"),
    ("DISABLE nosuch", "no such database: nosuch", "3D000"),
    ("ENABLE nosuch", "no such database: nosuch", "3D000"),
    ("RECONNECT nosuch", "no such database: nosuch", "3D000"),
    ("WAIT_CLOSE nosuch", "no such database: nosuch", "3D000"),
    ('KILL "App"', "no such database: App", "3D000"),
    ("KILL pgbouncer", "cannot kill admin db: pgbouncer", "3D000"),
    ("DISABLE pgbouncer", "cannot disable admin db: pgbouncer", "3D000"),
    ("RECONNECT pgbouncer", "cannot reconnect admin db: pgbouncer", "3D000"),
    ("WAIT_CLOSE pgbouncer", "cannot wait in admin db: pgbouncer", "3D000"),
    ("DISABLE", "a database is required", "42601"),
    ("ENABLE", "a database is required", "42601"),
    ("KILL app app", "invalid command 'KILL app app', use SHOW HELP;", "42601"),
    ("RECONNECT = 1", "invalid command 'RECONNECT = 1', use SHOW HELP;", "42601"),
    ("KILL_CLIENT", "invalid command 'KILL_CLIENT', use SHOW HELP;", "42601"),
])
def test_errors_are_pgbouncers(pooler, sql, text, code):
    assert_error(pooler.admin_result(sql).error, text, code)


def test_a_name_in_quotes_is_taken_as_it_is(make_pooler):
    pooler = make_pooler(databases={'"my ""own"" db"': {"dbname": "app"}, "app": {}})
    for verb in ("DISABLE", "ENABLE", "RECONNECT", "WAIT_CLOSE", "PAUSE", "RESUME", "KILL", "RESUME"):
        assert command(pooler, f'{verb} "my ""own"" db";') == verb
    assert pooler.attempt(database='my "own" db').outcome == "in"


# RECONNECT, WAIT_CLOSE

def test_reconnect_replaces_servers_as_they_become_free(pooler):
    with pooler.wire() as busy, pooler.wire() as idle:
        idle.value("SELECT 1")
        busy.query("BEGIN")
        old = busy.backend()
        with pooler.wire() as w:
            w.query("BEGIN")
            other = w.backend()
            w.query("COMMIT")
        assert command(pooler, "RECONNECT app") == "RECONNECT"
        eventually(lambda: str(other) not in pids(pooler), "the idle one is gone")
        assert busy.backend() == old
        rows = {row["remote_pid"]: row["close_needed"] for row in pooler.admin("SHOW SERVERS")}
        assert rows[str(old)] == "1"
        busy.query("COMMIT")
        assert busy.backend() not in (old, other)
        assert str(old) not in pids(pooler)
    assert "closing because: RECONNECT command" in pooler.log()


def test_reconnect_is_of_one_database_or_of_all(make_pooler):
    pooler = make_pooler(databases={"app": {}, "second": {}})
    with pooler.wire() as a, pooler.wire("second") as b:
        first, second = a.backend(), b.backend()
        command(pooler, "RECONNECT app")
        assert a.backend() != first and b.backend() == second
        first = a.backend()
        command(pooler, "RECONNECT")
        assert a.backend() != first and b.backend() != second


def test_wait_close_answers_when_the_last_marked_server_is_gone(pooler):
    with pooler.wire() as a, pooler.wire() as b:
        for w in (a, b):
            w.query("BEGIN")
        command(pooler, "RECONNECT")
        with asking(pooler, "WAIT_CLOSE") as admin, asking(pooler, "WAIT_CLOSE app") as one:
            assert is_silent(admin)
            a.query("COMMIT")
            assert is_silent(admin) and is_silent(one, 0)
            b.query("COMMIT")
            assert admin.result().tags == ["WAIT_CLOSE"]
            assert one.result().tags == ["WAIT_CLOSE"]


def test_wait_close_waits_for_no_other_database_and_no_unmarked_server(make_pooler):
    pooler = make_pooler(databases={"app": {}, "second": {}})
    with pooler.wire() as a, pooler.wire("second") as b:
        a.query("BEGIN")
        b.query("BEGIN")
        assert command(pooler, "WAIT_CLOSE") == "WAIT_CLOSE"
        command(pooler, "RECONNECT app")
        assert command(pooler, "WAIT_CLOSE second") == "WAIT_CLOSE"


def test_wait_close_can_be_cancelled(pooler):
    with pooler.wire() as busy, asking(pooler, "RECONNECT") as admin:
        admin.result()
        busy.query("BEGIN")
        admin.query("RECONNECT")
        admin.send_raw(query("WAIT_CLOSE"))
        assert is_silent(admin)
        admin.cancel()
        result = admin.result()
        assert_error(result.error, "canceling statement due to user request", "57014")
        assert result.status == "I"
        assert busy.query("COMMIT").tags == ["COMMIT"]


# SET DATABASE, SET USER

def own(pooler, scope, entry):
    """What CONFIG_EXT has of an entry: {key: (value, source, persisted)}."""
    return {row["key"]: (row["value"], row["source"], row["persisted"]) for row in pooler.admin("SHOW CONFIG_EXT")
            if (row["scope"], row["entry"]) == (scope, entry)}


def test_set_database_takes_effect_and_goes_with_the_next_reload(make_pooler):
    pooler = make_pooler(databases={"app": {"pool_size": 3}, "second": {}})
    with pooler.wire() as w:
        before = w.backend()
        assert command(pooler, "SET DATABASE app pool_size = 1") == "SET DATABASE app pool_size=1"
        command(pooler, "SET DATABASE app max_db_connections TO '9'")
        assert (database(pooler)["pool_size"], database(pooler)["max_connections"]) == ("1", "9")
        assert database(pooler, "second")["pool_size"] == "20"
        assert w.backend() == before
        assert own(pooler, "database", "app") == {"pool_size": ("1", "SET", "no"),
                                                  "max_db_connections": ("9", "SET", "no")}
        with pooler.wire() as other:
            w.query("BEGIN")
            other.send_raw(query("SELECT 1"))
            pooler.wait_pool(cl_waiting=1, sv_active=1)
            w.query("COMMIT")
            assert other.result().value == "1"
        command(pooler, "RELOAD")
        assert (database(pooler)["pool_size"], database(pooler)["max_connections"]) == ("3", "0")
        assert own(pooler, "database", "app") == {"pool_size": ("3", f"{pooler.ini}:2", "yes")}
        assert w.backend() == before
    log = pooler.log()
    assert "database app: pool_size changed from '3' to '1'" in log
    assert "database app: pool_size changed from '1' to '3'" in log
    assert "database app: max_db_connections changed from '9' to inherited" in log


def test_set_database_to_a_negative_value_takes_the_own_one_away(make_pooler):
    pooler = make_pooler(databases={"app": {"pool_size": 3}})
    command(pooler, "SET DATABASE app pool_size = -1")
    assert database(pooler)["pool_size"] == "20"
    assert own(pooler, "database", "app") == {"pool_size": ("inherited", "SET", "no")}


def test_set_user_takes_effect_with_or_without_an_entry(make_pooler):
    pooler = make_pooler(users={"app": {"query_timeout": 5}})
    command(pooler, "SET USER app pool_mode = session")
    command(pooler, 'SET USER "other" max_user_connections = 2')
    users = {row["name"]: row for row in pooler.admin("SHOW USERS")}
    assert users["app"]["pool_mode"] == "session"
    assert users["other"]["max_user_connections"] == "2"
    assert own(pooler, "user", "app") == {"query_timeout": ("5", f"{pooler.ini}:4", "yes"),
                                          "pool_mode": ("session", "SET", "no")}
    command(pooler, "SET USER app query_timeout = 0.2")
    with pooler.wire() as w:
        assert_error(w.query("SELECT pg_sleep(60)").error, "query_timeout", "57014")
    command(pooler, "RELOAD")
    users = {row["name"]: row for row in pooler.admin("SHOW USERS")}
    assert (users["app"]["pool_mode"], users["other"]["max_user_connections"]) == (None, "0")


def test_set_database_of_an_automatic_one_gives_it_an_entry_until_the_reload(make_pooler):
    pooler = make_pooler(databases={"*": {"pool_size": 4}})
    with pooler.wire() as w:
        before = w.backend()
        command(pooler, "SET DATABASE app pool_size = 2")
        assert (database(pooler)["pool_size"], w.backend()) == ("2", before)
        with pooler.wire("second") as other:
            other.value("SELECT 1")
            assert database(pooler, "second")["pool_size"] == "4"
            command(pooler, 'SET DATABASE "*" pool_size = 6')
            assert database(pooler, "second")["pool_size"] == "6"
            assert database(pooler)["pool_size"] == "2"
        command(pooler, "RELOAD")
        assert (database(pooler)["pool_size"], w.backend()) == ("4", before)


@pytest.mark.parametrize("sql, detail", [
    ("SET DATABASE nosuch pool_size = 1", "no such database: nosuch"),
    ("SET DATABASE pgbouncer pool_size = 1", "no such database: pgbouncer"),
    ("SET DATABASE app pool_size = many", "not an integer; accepted: an integer from 0 to 2147483647"),
    ("SET DATABASE app host = elsewhere", 'a database has no setting "host" that can be changed here'),
    ("SET DATABASE app query_timeout = 1", 'a database has no setting "query_timeout" that can be changed here'),
    ("SET DATABASE app auth_dbname = pgbouncer",
     "the admin console has no users; accepted: the name of another database"),
    ("SET auth_dbname = pgbouncer", "the admin console has no users; accepted: the name of another database"),
    ("SET USER app min_pool_size = 1", 'a user has no setting "min_pool_size" that can be changed here'),
])
def test_set_says_what_it_cannot_do(pooler, sql, detail):
    before = pooler.admin("SHOW CONFIG_EXT")
    error = pooler.admin_result(sql).error
    assert_error(error, "SET failed", "22023")
    assert error["D"] == detail
    assert pooler.admin("SHOW CONFIG_EXT") == before


def test_what_was_set_before_stays_when_something_else_is_set(pooler):
    for sql in ("SET stats_period = 7", "SET DATABASE app pool_size = 3", "SET USER app pool_size = 4",
                "SET DATABASE app min_pool_size = 1", "SET verbose = 1"):
        command(pooler, sql)
    assert (pooler.config("stats_period"), pooler.config("verbose")) == ("7", "1")
    assert (database(pooler)["pool_size"], database(pooler)["min_pool_size"]) == ("3", "1")
    assert own(pooler, "user", "app")["pool_size"][0] == "4"


# CONFIG_EXT

def test_config_ext_tells_where_each_value_comes_from(make_pooler):
    pooler = make_pooler(start=False, default_pool_size=7, users={"app": {"pool_size": 2}})
    included = pooler.write_file("more.ini", "[pgbouncer]\nreserve_pool_size = 3\n")
    pooler.write(pooler.text() + f"%include {included}\n")
    pooler.args = ["-c", "query_wait_timeout=33"]
    pooler.start()
    command(pooler, "SET stats_period = 9")
    rows = {row["key"]: row for row in pooler.admin("SHOW CONFIG_EXT") if row["scope"] == "global"}
    assert {row["key"] for row in pooler.admin("SHOW CONFIG")} == set(rows)
    line = open(pooler.ini).read().splitlines().index("default_pool_size = 7") + 1

    def source(key):
        return rows[key]["value"], rows[key]["source"], rows[key]["persisted"]
    assert source("default_pool_size") == ("7", f"{pooler.ini}:{line}", "yes")
    assert source("reserve_pool_size") == ("3", f"{included}:2", "yes")
    assert source("query_wait_timeout") == ("33", "command line", "yes")
    assert source("stats_period") == ("9", "SET", "no")
    assert source("min_pool_size") == ("0", "default", "yes")
    command(pooler, "RELOAD")
    rows = {row["key"]: row for row in pooler.admin("SHOW CONFIG_EXT") if row["scope"] == "global"}
    assert source("stats_period") == ("60", "default", "yes")


# RELOAD

def snapshot(pooler):
    """All that a reload could change, as the console shows it."""
    return [pooler.admin(f"SHOW {what}") for what in ("CONFIG_EXT", "CONFIG", "DATABASES", "USERS")]


def bad_lines(pooler, certs):
    """Ways for a reload to fail: what is done to the configuration, and what the error must name."""
    ini = pooler.ini
    cert = certs.server.cert
    return {
        "key": ("[pgbouncer]\nno_such = 1\n", f"{ini}:{{line}}: no_such: unknown setting"),
        "value": ("[pgbouncer]\nstats_period = x\n", f"{ini}:{{line}}: stats_period = x: "),
        "database": ("[databases]\nnew = host=x pool_size=x\n", f"{ini}:{{line}}: new: pool_size = x: "),
        "user": ("[users]\nnew = nothing=1\n", f"{ini}:{{line}}: new: nothing: unknown key"),
        "include": ("%include /no/such/file\n", f"{ini}:{{line}}: %include /no/such/file: cannot be read"),
        "auth_file": ("[pgbouncer]\nauth_file = /no/such\n", f"{ini}:{{line}}: auth_file = /no/such: "),
        "auth_hba_file": ("[pgbouncer]\nauth_hba_file = /no/such\n", f"{ini}:{{line}}: auth_hba_file = /no/such: "),
        "auth_ident_file": ("[pgbouncer]\nauth_ident_file = /no/such\n",
                            f"{ini}:{{line}}: auth_ident_file = /no/such: "),
        "auth_type": ("[pgbouncer]\nauth_type = hba\n", f"{ini}:{{line}}: auth_type = hba: auth_hba_file is missing"),
        "logfile": ("[pgbouncer]\nlogfile = /no/such/log\n", f"{ini}:{{line}}: logfile /no/such/log: "),
        "certificate": (f"[pgbouncer]\nserver_tls_sslmode = require\nserver_tls_key_file = {cert}\n"
                        "server_tls_cert_file = /no/such\n",
                        f"{ini}:{{line}}: server_tls_cert_file: cannot read \"/no/such\""),
    }


@pytest.mark.parametrize("what", ["key", "value", "database", "user", "include", "auth_file", "auth_hba_file",
                                  "auth_ident_file", "auth_type", "logfile", "certificate"])
def test_a_reload_that_fails_changes_nothing_and_names_file_line_and_key(make_pooler, certs, what):
    pooler = make_pooler(databases={"app": {"pool_size": 3}}, users={"app": {"pool_size": 2}})
    text, error = bad_lines(pooler, certs)[what]
    # All of this would be fine by itself.
    good = pooler.text().replace("pool_size=3", "pool_size=4") + "default_pool_size = 9\n[users]\nother = pool_size=1\n"
    pooler.write(good + text)
    line = (good + text).count("\n")
    with pooler.wire() as w:
        backend = w.backend()
        before = snapshot(pooler)
        result = pooler.admin_result("RELOAD")
        assert result.error["C"] == "F0000"
        assert result.error["M"] == "RELOAD failed, see logs for additional details"
        assert error.format(line=line) in result.error["D"], result.error["D"]
        assert error.format(line=line) in pooler.log()
        assert snapshot(pooler) == before
        assert w.backend() == backend
    pooler.write(good)
    command(pooler, "RELOAD")
    assert database(pooler)["pool_size"] == "4"


def test_what_is_removed_goes_back_to_its_default(make_pooler):
    """PgBouncer keeps what a removed line of [users] gave (its issue 1594)."""
    pooler = make_pooler(databases={"app": {"pool_size": 3, "pool_mode": "session", "max_db_connections": 4}},
                         users={"app": {"pool_size": 2, "pool_mode": "statement", "max_user_connections": 5,
                                        "query_timeout": 0.2}},
                         default_pool_size=7, reserve_pool_size=3)
    with pooler.wire() as w:
        assert pooler.pool()["pool_mode"] == "statement"
        pooler.users = {}
        pooler.databases["app"] = {"host": "127.0.0.1", "port": pooler.pg.port}
        pooler.reload(default_pool_size=None, reserve_pool_size=None)
        user = next(row for row in pooler.admin("SHOW USERS") if row["name"] == "app")
        assert (user["pool_size"], user["pool_mode"], user["max_user_connections"]) == ("", None, "0")
        row = database(pooler)
        assert (row["pool_size"], row["reserve_pool_size"], row["max_connections"]) == ("20", "0", "0")
        assert pooler.pool()["pool_mode"] == "transaction"
        assert w.query("SELECT pg_sleep(0.5)").error is None
    log = pooler.log()
    for line in ("default_pool_size changed from '7' to '20'", "reserve_pool_size changed from '3' to '0'",
                 "database app: pool_size changed from '3' to inherited",
                 "database app: pool_mode changed from 'session' to inherited",
                 "user app: pool_size changed from '2' to inherited",
                 "user app: query_timeout changed from '0.2' to inherited"):
        assert line in log, line


def test_the_log_tells_what_a_reload_changed_without_secrets(make_pooler):
    pooler = make_pooler(databases={"app": {"password": "hush-one", "connect_query": "SELECT 'hush-two'"},
                                    "gone": {}}, userlist={"app": "hush-three", "joe": "x"}, start=False)
    pooler.settings["auth_hba_file"] = pooler.write_file("hba.conf", "host @names all 127.0.0.1/32 trust\n")
    pooler.write_file("names", "app\n")
    pooler.write()
    pooler.start()
    pooler.databases["app"] = {"host": "127.0.0.2", "port": pooler.pg.port, "password": "hush-four"}
    del pooler.databases["gone"]
    pooler.databases["come"] = {"host": "127.0.0.1"}
    pooler.userlist = {"app": "hush-five", "sue": "x", "ann": "x", "admin": ""}
    pooler.write_file("names", "app, come\n")
    pooler.reload(stats_period=33)
    log = pooler.log()
    port = pooler.pg.port
    for line in ("stats_period changed from '60' to '33'",
                 f"database app: host changed from '127.0.0.1:{port}' to '127.0.0.2:{port}'",
                 "database app: password changed", "database app: connect_query changed",
                 "database gone: removed", "database come: added",
                 "auth_file: 2 users added, 1 removed, 1 with another secret",
                 "auth_hba_file: its text changed"):
        assert line in log, line
    assert "hush" not in log
    for what in ("CONFIG", "CONFIG_EXT", "DATABASES", "USERS", "CLIENTS", "SERVERS"):
        assert "hush" not in str(pooler.admin(f"SHOW {what}"))
    # And nothing when nothing has.
    before = len(pooler.log())
    command(pooler, "RELOAD")
    assert "changed from" not in pooler.log()[before:]


def test_what_only_a_restart_changes_is_shown_as_it_holds(make_pooler):
    pooler = make_pooler()
    port = pooler.config("listen_port")
    pooler.settings["listen_port"] = 1
    pooler.write()
    with Wire(pooler.unix_socket).login("admin", "pgbouncer") as admin:
        assert admin.query("RELOAD").tags == ["RELOAD"]
        rows = {row["key"]: row["value"] for row in admin.query("SHOW CONFIG").dicts()}
    assert rows["listen_port"] == port
    assert re.search(r"pooler.ini:\d+: listen_port: '1' needs a restart; until then it is '%s'" % port, pooler.log())
    pooler.settings["listen_port"] = int(port)


def test_a_reload_reads_the_files_that_are_named(make_pooler):
    """A certificate or a list that has gone bad fails it, whichever file it is that has not changed."""
    pooler = make_pooler()
    pooler.write_file("userlist.txt", '"app\n')
    result = pooler.admin_result("RELOAD")
    assert f"{pooler.userlist_file}:1: " in result.error["D"]
    assert pooler.attempt().outcome == "in"
    pooler.write()
    assert command(pooler, "RELOAD") == "RELOAD"
