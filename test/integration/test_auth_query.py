"""auth_query: secrets that are asked for at the server. Whom, where, how often; and what becomes of its failures."""

import contextlib
import threading
import time

import pytest

from harness.pg import PASSWORD as SERVER_PASSWORD
from harness.pooler import assert_error
from harness.system import eventually, free_port
from harness.vouchers import SecretTable
from harness.wire import FakeServer, Wire, error_fields, md5_secret, scram_secret

USER = "looked_up"
PASSWORD = "look me up"


@pytest.fixture
def table(pg):
    table = SecretTable(pg)
    yield table
    table.close()


def asking(make_pooler, **settings):
    """auth_query as it is by default: pg_authid, by the superuser, whom the server trusts."""
    settings.setdefault("userlist", {"admin": "admin"})
    settings.setdefault("auth_type", "scram-sha-256")
    settings.setdefault("auth_user", "postgres")
    return make_pooler(**settings)


def asking_table(make_pooler, **settings):
    """With a forced user: here it is only the client's login that counts."""
    settings.setdefault("databases", {"app": {"user": "app"}})
    settings.setdefault("auth_type", "md5")
    return asking(make_pooler, auth_query=SecretTable.QUERY, **settings)


def refusals(pooler, users, password="wrong"):
    return [pooler.attempt(password, user).looks(user) for user in users]


# Who is found

@pytest.mark.parametrize("auth_type", ["md5", "scram-sha-256", "plain"])
@pytest.mark.parametrize("encryption", ["md5", "scram-sha-256"])
def test_default_query(make_pooler, pg, auth_type, encryption):
    pg.make_role(USER, PASSWORD, encryption=encryption)
    pooler = asking(make_pooler, auth_type=auth_type)
    expected = "28P01" if (auth_type, encryption) == ("scram-sha-256", "md5") else "in"
    assert pooler.attempt(PASSWORD, USER).outcome == expected
    assert pooler.attempt("wrong", USER).outcome == "28P01"
    assert pooler.attempt("", USER).outcome == "28P01"


@pytest.mark.parametrize("auth_type", ["md5", "scram-sha-256", "plain"])
def test_those_who_may_not_come_in_all_look_the_same(make_pooler, pg, auth_type):
    pg.make_role(USER, PASSWORD)
    pg.make_role("no_login", PASSWORD, more="NOLOGIN")
    pg.make_role("no_secret")
    pg.make_role("expired", PASSWORD, more="LOGIN VALID UNTIL '2001-02-03'")
    pg.make_role("not_yet_expired", PASSWORD, more="LOGIN VALID UNTIL '2999-01-01'")
    # Unknown users look as most of the file do.
    pooler = asking(make_pooler, auth_type=auth_type, userlist={"admin": scram_secret("admin")})
    for password in ("wrong", ""):
        looks = refusals(pooler, [USER, "nobody", "no_login", "no_secret", "expired"], password)
        assert looks == looks[:1] * len(looks)
    # And the right password is of no use to them.
    looks = refusals(pooler, ["no_login", "expired"], PASSWORD) + refusals(pooler, [USER])
    assert looks == looks[:1] * len(looks)
    assert pooler.attempt(PASSWORD, "not_yet_expired").outcome == "in"


@pytest.mark.parametrize("secret", ["md5", "scram-sha-256"])
def test_strangers_look_as_those_who_are_found(make_pooler, pg, secret):
    """With no list of users to go by, an unknown one is to look as those do whom auth_query has found."""
    pg.make_role(USER, PASSWORD, encryption=secret)
    pooler = asking(make_pooler, auth_type="md5", auth_file=None)
    assert pooler.attempt(PASSWORD, USER).outcome == "in"
    known, stranger = refusals(pooler, [USER, "nobody"])
    assert stranger == known


def test_expires_while_the_pooler_runs(make_pooler, pg):
    pg.make_role(USER, PASSWORD)
    pooler = asking(make_pooler)
    assert pooler.attempt(PASSWORD, USER).outcome == "in"
    pg.rows(f"ALTER ROLE {USER} VALID UNTIL '2001-02-03'")
    assert pooler.attempt(PASSWORD, USER).outcome == "28P01"
    pg.rows(f"ALTER ROLE {USER} VALID UNTIL 'infinity'")
    assert pooler.attempt(PASSWORD, USER).outcome == "in"


@pytest.mark.parametrize("name", ['we"ird', "it's", "ünïcode", "back\\slash", "x" * 63, "$1", "a;b--"])
def test_names_as_people_have_them(make_pooler, pg, name):
    pg.rows('DROP ROLE IF EXISTS "%s"' % name.replace('"', '""'))
    pg.rows('CREATE ROLE "%s" LOGIN' % name.replace('"', '""'))
    pg.set_password(name, PASSWORD)
    pooler = asking(make_pooler)
    with pooler.wire(user=name, password=PASSWORD) as w:
        assert w.value("SELECT current_user") == name
    pg.rows('DROP ROLE "%s"' % name.replace('"', '""'))


def test_no_auth_file(make_pooler, pg):
    pg.make_role(USER, PASSWORD, "demand_scram")
    pooler = asking(make_pooler, auth_file=None)
    with pooler.wire(user=USER, password=PASSWORD) as w:
        assert w.value("SELECT current_user") == USER


def test_auth_file_comes_first(make_pooler, table):
    table.put(USER, "another")
    pooler = asking_table(make_pooler, userlist={USER: PASSWORD, "admin": "admin"})
    assert pooler.attempt(PASSWORD, USER).outcome == "in"
    assert pooler.attempt("another", USER).outcome == "28P01"
    assert table.asked(USER) == 0


def test_without_auth_user_nobody_is_asked(make_pooler, table):
    table.put(USER, PASSWORD)
    pooler = asking_table(make_pooler, auth_user=None)
    assert pooler.attempt(PASSWORD, USER).outcome == "28P01"
    assert table.asked(USER) == 0


@pytest.mark.parametrize("auth_type", ["trust", "md5"])
@pytest.mark.parametrize("kind", ["plain", "md5"])
def test_secret_found_logs_in_to_the_server(make_pooler, pg, table, auth_type, kind):
    secret = pg.make_role(USER, PASSWORD, "demand_md5", "md5")
    table.put(USER, PASSWORD if kind == "plain" else secret)
    pooler = asking_table(make_pooler, auth_type=auth_type, databases={"app": {}})
    with pooler.wire(user=USER, password=PASSWORD) as w:
        assert w.value("SELECT current_user") == USER
        pooler.lose_servers(USER)
        assert w.value("SELECT current_user") == USER


def test_secret_found_for_one_who_came_by_peer(make_pooler, pg, table):
    """The method does not need the secret, the server does."""
    secret = pg.make_role(USER, PASSWORD, "demand_md5", "md5")
    table.put(USER, secret)
    pooler = asking_table(make_pooler, auth_type="hba", databases={"app": {}}, start=False)
    pooler.settings["auth_ident_file"] = pooler.write_file("ident", f"everybody /^ {USER}\n")
    pooler.settings["auth_hba_file"] = pooler.write_file("hba", "local all all peer map=everybody\n")
    pooler.write()
    pooler.start()
    with Wire(pooler.unix_socket).login(USER, "app") as w:
        assert w.value("SELECT current_user") == USER


# Whom, where and what

def test_console(make_pooler, pg):
    """The console has no database of its own: auth_dbname says where to ask."""
    pg.make_role("boss", PASSWORD)
    pooler = asking(make_pooler, admin_users="boss", auth_dbname="app")
    with pooler.wire("pgbouncer", "boss", PASSWORD) as w:
        assert w.query("SHOW VERSION").error is None
    assert pooler.attempt("wrong", "boss", "pgbouncer").outcome == "28P01"


def test_asks_in_the_clients_database(make_pooler, pg, table):
    """Without auth_dbname. In `second` there is no such function."""
    table.put(USER, PASSWORD)
    pooler = asking_table(make_pooler, databases={
        "here": {"dbname": "app", "user": "app"}, "there": {"dbname": "second", "user": "app"}})
    assert pooler.attempt(PASSWORD, USER, "here").outcome == "in"
    assert_error(pooler.attempt(PASSWORD, USER, "there").error, "bouncer config error")


def test_auth_dbname(make_pooler, pg, table):
    table.put(USER, PASSWORD)
    pooler = asking_table(make_pooler, auth_dbname="directory", databases={
        "directory": {"dbname": "app"}, "there": {"dbname": "second", "user": "app"}})
    assert pooler.attempt(PASSWORD, USER, "there").outcome == "in"
    assert pooler.attempt("wrong", USER, "there").outcome == "28P01"
    # What is not there is told to those who are known.
    assert_error(pooler.attempt(PASSWORD, USER, "nosuch").error, "no such database: nosuch", "3D000")
    assert pooler.attempt("wrong", USER, "nosuch").outcome == "28P01"


def test_everything_per_database(make_pooler, pg, table):
    table.put(USER, PASSWORD)
    pg.rows("DROP TABLE IF EXISTS more_secrets", "app")
    pg.rows("CREATE TABLE more_secrets AS SELECT name, 'more ' || secret AS secret FROM secrets", "app")
    pg.rows("GRANT ALL ON more_secrets TO other", "app")
    query = "SELECT name, secret FROM public.more_secrets WHERE name = $1"
    pooler = asking_table(make_pooler, auth_user=None, databases={
        "app": {"user": "app"},
        "first": {"dbname": "app", "user": "app", "auth_user": "app"},
        "elsewhere": {"dbname": "second", "user": "app", "auth_user": "other", "auth_dbname": "app"},
        "own": {"dbname": "app", "user": "app", "auth_user": "other", "auth_query": query},
        "own_elsewhere": {"dbname": "second", "user": "app", "auth_user": "other", "auth_query": query,
                          "auth_dbname": "app"},
    })
    expected = {"app": None, "first": PASSWORD, "elsewhere": PASSWORD, "own": "more " + PASSWORD,
                "own_elsewhere": "more " + PASSWORD}
    outcomes = {(database, password): pooler.attempt(password, USER, database).outcome
                for database in expected for password in (PASSWORD, "more " + PASSWORD)}
    assert outcomes == {(database, password): "in" if password == expected[database] else "28P01"
                        for database, password in outcomes}
    assert {row[0] for row in pg.rows("SELECT session_user_ FROM asked", "app")} == {"app", "other"}


def test_per_database_settings_overrule_global_ones(make_pooler, pg, table):
    table.put(USER, PASSWORD)
    pooler = asking_table(make_pooler, auth_user="other", databases={
        "app": {"user": "app"}, "mine": {"dbname": "app", "user": "app", "auth_user": "app"}})
    for database, who in (("app", "other"), ("mine", "app")):
        pg.rows("DELETE FROM asked", "app")
        assert pooler.attempt(PASSWORD, USER, database).outcome == "in"
        assert pg.rows("SELECT session_user_ FROM asked", "app") == [(who,)]


def test_star_database(make_pooler, pg):
    pg.make_role(USER, PASSWORD)
    pooler = asking(make_pooler, databases={"*": {}}, auth_file=None)
    for database in ("app", "second"):
        with pooler.wire(database, USER, PASSWORD) as w:
            assert w.value("SELECT current_database()") == database


def test_star_database_that_the_server_does_not_have(make_pooler, pg):
    """There is nobody to ask: a stranger is not told so, and nobody hangs."""
    pg.make_role(USER, PASSWORD)
    pooler = asking(make_pooler, databases={"*": {}}, userlist={"admin": scram_secret("admin")})
    nosuch = pooler.attempt("wrong", USER, "nosuch")
    assert nosuch.looks(USER) == pooler.attempt("wrong", USER, "app").looks(USER)
    assert nosuch.outcome == "28P01"


def test_star_database_with_auth_dbname(make_pooler, pg):
    pg.make_role(USER, PASSWORD)
    pooler = asking(make_pooler, databases={"*": {}}, auth_dbname="second")
    assert pooler.attempt(PASSWORD, USER, "app").outcome == "in"
    error = pooler.attempt(PASSWORD, USER, "nosuch").error
    assert_error(error, None, "3D000")
    assert 'database "nosuch" does not exist' in error["M"]
    assert pooler.attempt("wrong", USER, "nosuch").outcome == "28P01"


def test_auth_dbname_that_is_not_configured(make_pooler, pg):
    pg.make_role(USER, PASSWORD)
    pooler = asking(make_pooler, auth_dbname="nosuch")
    assert pooler.attempt(PASSWORD, USER).error is not None
    pooler.wait_log('"nosuch"', timeout=2)


# auth_user's own login

@pytest.mark.parametrize("group, encryption", [("demand_password", "scram-sha-256"), ("demand_md5", "md5"),
                                               ("demand_scram", "scram-sha-256")])
def test_auth_user_with_a_password(make_pooler, pg, table, group, encryption):
    table.put(USER, PASSWORD)
    pg.make_role("asker", "asker's", group, encryption)
    pooler = asking_table(make_pooler, auth_user="asker", userlist={"asker": "asker's", "admin": "admin"})
    assert pooler.attempt(PASSWORD, USER).outcome == "in"


@pytest.mark.parametrize("secret, group", [("md5", "demand_md5"), ("scram", "demand_scram"), (None, "demand_scram")])
def test_auth_user_without_a_password_where_one_is_demanded(make_pooler, pg, table, secret, group):
    """libpq cannot log in with a hash: the log says so."""
    table.put(USER, PASSWORD)
    stored = pg.make_role("asker", "asker's", group, "md5" if secret == "md5" else "scram-sha-256")
    userlist = {"admin": "admin", **({"asker": stored} if secret else {})}
    pooler = asking_table(make_pooler, auth_user="asker", userlist=userlist)
    assert_error(pooler.attempt(PASSWORD, USER).error, "bouncer config error")
    log = pooler.log()
    assert "asker" in log and ("libpq needs the password itself" in log) == (secret is not None)
    assert stored not in log


def test_auth_user_with_a_wrong_password(make_pooler, pg, table):
    pg.make_role("asker", "asker's", "demand_scram")
    pooler = asking_table(make_pooler, auth_user="asker", userlist={"asker": "not asker's", "admin": "admin"})
    assert_error(pooler.attempt(PASSWORD, USER).error, "bouncer config error")
    pooler.wait_log('password authentication failed for user "asker"')
    assert "not asker's" not in pooler.log()


# What goes wrong

@pytest.mark.parametrize("query, says", [
    ("SELECT 'x'::text, 'y'::text, $1::text", "3 columns"),
    ("SELECT $1::text", "1 column"),
    ("SELECT nothing FROM nowhere WHERE x = $1", "nowhere"),
    ("SELECT $1::text, 1/0", "division by zero"),
    ("SELEKT $1", "syntax error"),
    ("SELECT name, secret FROM public.secrets", "bind message supplies 1 parameters"),
    ("SELECT $1::text, s FROM generate_series(1, 2) s", "2 rows"),
    ("DO $$ BEGIN END $$", None),
    ("SELECT $1::text, 'x'; SELECT 1", "multiple commands"),
    ("COPY (SELECT 1, 2) TO STDOUT", None),
])
def test_query_that_does_not_answer(make_pooler, pg, table, query, says):
    pooler = asking_table(make_pooler)
    pooler.settings["auth_query"] = query
    pooler.hang_up()
    for _ in range(2):
        error = pooler.attempt(PASSWORD, USER).error
        assert_error(error, "bouncer config error", "58000")
        assert error["S"] == "FATAL"
    pooler.wait_log("auth_query failed: ", timeout=5)
    assert says is None or says in pooler.log()
    # Others are not concerned, and once it is mended, neither are those.
    assert pooler.attempt("admin", "admin", "pgbouncer").outcome == "in"
    table.put(USER, PASSWORD)
    pooler.hang_up(auth_query=SecretTable.QUERY)
    assert pooler.attempt(PASSWORD, USER).outcome == "in"


@pytest.mark.parametrize("query", ["SELECT 'somebody', 'x'::text WHERE $1::text IS NOT NULL",
                                   "SELECT NULL, 'x'::text WHERE $1::text IS NOT NULL"])
def test_answer_about_somebody_else(make_pooler, pg, query):
    pooler = asking(make_pooler, auth_type="md5", auth_query=query)
    assert pooler.attempt("x", USER).outcome == "28P01"


def test_server_is_down(make_pooler, pg):
    pooler = asking(make_pooler, databases={"app": {"host": "127.0.0.1", "port": free_port()}})
    begin = time.monotonic()
    assert_error(pooler.attempt(PASSWORD, USER).error, "bouncer config error")
    assert time.monotonic() - begin < 10
    pooler.wait_log("auth_query failed: ", timeout=5)


def test_next_host_is_asked(make_pooler, pg):
    pg.make_role(USER, PASSWORD)
    # PostgreSQL listens on one address of the loopback network only.
    pooler = asking(make_pooler, databases={"app": f"host=127.0.0.2,127.0.0.1 port={pg.port} user=app"})
    assert pooler.attempt(PASSWORD, USER).outcome == "in"


def test_server_is_frozen(make_pooler, pg):
    """It takes the connection and says nothing: each login fails in its time, the pooler goes on."""
    with FakeServer(lambda peer: peer.recv()) as frozen:
        pooler = asking(make_pooler, databases={"app": frozen.entry, "second": {"user": "app"}},
                        userlist={"app": "known", "admin": "admin"}, server_connect_timeout=1)
        failed = []
        threads = [threading.Thread(target=lambda: failed.append(pooler.attempt(PASSWORD, USER).error))
                   for _ in range(3)]
        for thread in threads:
            thread.start()
        assert pooler.attempt("known", "app", "second").outcome == "in"
        for thread in threads:
            thread.join(20)
        assert [error["M"] for error in failed] == ["bouncer config error"] * 3


def test_server_freezes_between_questions(make_pooler, pg, table):
    table.put(USER, PASSWORD)
    pooler = asking_table(make_pooler, client_login_timeout=1)
    assert pooler.attempt(PASSWORD, USER).outcome == "in"
    table.pause(30)
    error = pooler.attempt(PASSWORD, USER).error
    assert error["M"] in ("bouncer config error", "client_login_timeout")
    table.pause(0)
    assert pooler.attempt(PASSWORD, USER).outcome == "in"


def test_connection_is_lost_between_questions(make_pooler, pg, table):
    table.put(USER, PASSWORD)
    pooler = asking_table(make_pooler)
    for _ in range(3):
        assert pooler.attempt(PASSWORD, USER).outcome == "in"
        pg.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgsluice'")
    assert pooler.attempt(PASSWORD, USER).outcome == "in"


def test_connection_is_lost_during_a_question(make_pooler, pg, table):
    """It is asked once more."""
    table.put(USER, PASSWORD)
    pooler = asking_table(make_pooler)
    table.pause(5)
    with pooler.raw() as w:
        w.startup({"user": USER, "database": "app"})
        eventually(lambda: pg.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == 1, "asked")
        table.pause(0)
        pg.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        assert w.finish_login(USER, PASSWORD) is None


def test_server_restarts(make_pooler, pg):
    pg.make_role(USER, PASSWORD)
    pooler = asking(make_pooler)
    assert pooler.attempt(PASSWORD, USER).outcome == "in"
    pg.restart()
    assert pooler.attempt(PASSWORD, USER).outcome == "in"


# How often

@contextlib.contextmanager
def started(pooler, users):
    """A connection for each user, all begun at the same moment."""
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(pooler.raw()) for _ in users]
        for w, user in zip(wires, users):
            w.startup({"user": user, "database": "app"})
        yield wires


def most_at_a_time(pg):
    """How many questions about one user were under way at the same time."""
    return pg.value("SELECT max(n) FROM (SELECT count(*) AS n FROM asked a JOIN asked b"
                    " ON a.name = b.name AND b.since <= a.since AND a.since < b.until GROUP BY a.ctid) AS x", "app")


def test_one_question_for_fifty_logins(make_pooler, pg, table):
    table.put(USER, PASSWORD)
    table.pause(1)
    pooler = asking_table(make_pooler)
    with started(pooler, [USER] * 50) as wires:
        assert [w.finish_login(USER, PASSWORD) for w in wires] == [None] * 50
    # Those who came while the first question was under way share its answer.
    assert table.asked(USER) <= 2
    assert most_at_a_time(pg) == 1


def test_questions_about_many_users(make_pooler, pg, table):
    users = [f"user{i}" for i in range(20)]
    for user in users:
        table.put(user, PASSWORD + user)
    pooler = asking_table(make_pooler)
    with started(pooler, users + users) as wires:
        for user, w in zip(users + users, wires):
            assert w.finish_login(user, PASSWORD + user) is None
    assert most_at_a_time(pg) == 1


def test_clients_that_leave_while_they_wait(make_pooler, pg, table):
    table.put(USER, PASSWORD)
    table.pause(1)
    pooler = asking_table(make_pooler)
    with started(pooler, [USER] * 10) as wires:
        for w in wires[1:]:
            w.reset()
        assert wires[0].finish_login(USER, PASSWORD) is None
    with started(pooler, [USER] * 3):
        pass
    assert pooler.attempt(PASSWORD, USER).outcome == "in"


def test_asked_at_each_login(make_pooler, table):
    table.put(USER, PASSWORD)
    pooler = asking_table(make_pooler)
    for n in range(1, 4):
        assert pooler.attempt(PASSWORD, USER).outcome == "in"
        assert table.asked(USER) == n
    table.put(USER, "another one")
    assert pooler.attempt(PASSWORD, USER).outcome == "28P01"
    assert pooler.attempt("another one", USER).outcome == "in"


def test_answers_are_kept_for_auth_query_ttl(make_pooler, table):
    table.put(USER, PASSWORD)
    pooler = asking_table(make_pooler, auth_query_ttl=600)
    for _ in range(3):
        assert pooler.attempt(PASSWORD, USER).outcome == "in"
        assert pooler.attempt("wrong", USER).outcome == "28P01"
    assert table.asked(USER) == 1
    table.put(USER, "another one")
    assert pooler.attempt(PASSWORD, USER).outcome == "in"
    pooler.hang_up(auth_query_ttl=0)
    assert pooler.attempt(PASSWORD, USER).outcome == "28P01"
    assert pooler.attempt("another one", USER).outcome == "in"


def test_answers_expire(make_pooler, table):
    table.put(USER, PASSWORD)
    pooler = asking_table(make_pooler, auth_query_ttl=1)
    assert pooler.attempt(PASSWORD, USER).outcome == "in"
    table.put(USER, "another one")
    eventually(lambda: pooler.attempt("another one", USER).outcome == "in", "the new password", timeout=10, every=0.2)


def test_strangers_are_forgotten_soon(make_pooler, table):
    """Somebody who is given an account is let in soon after, however long answers are kept."""
    pooler = asking_table(make_pooler, auth_query_ttl=600)
    assert [pooler.attempt(PASSWORD, USER).outcome for _ in range(3)] == ["28P01"] * 3
    assert table.asked(USER) == 1
    table.put(USER, PASSWORD)
    eventually(lambda: pooler.attempt(PASSWORD, USER).outcome == "in", "is known", timeout=10, every=0.2)


def test_errors_are_not_kept(make_pooler, pg, table):
    pooler = asking_table(make_pooler, auth_query_ttl=600)
    pg.rows("ALTER TABLE secrets RENAME TO away", "app")
    assert_error(pooler.attempt(PASSWORD, USER).error, "bouncer config error")
    pg.rows("ALTER TABLE away RENAME TO secrets", "app")
    table.put(USER, PASSWORD)
    assert pooler.attempt(PASSWORD, USER).outcome == "in"


# Nothing of the client's reaches the connection

TRAPS = """
DROP SCHEMA IF EXISTS evil CASCADE;
DROP TABLE IF EXISTS trapped;
CREATE TABLE trapped (what text);
GRANT ALL ON trapped TO PUBLIC;
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE FUNCTION evil.trap(what text) RETURNS bool LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.trapped VALUES (what); RETURN true; END $$;
CREATE FUNCTION evil.same(name, text) RETURNS bool LANGUAGE sql AS $$ SELECT evil.trap('name = text') $$;
CREATE FUNCTION evil.same(name, name) RETURNS bool LANGUAGE sql AS $$ SELECT evil.trap('name = name') $$;
CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = text, FUNCTION = evil.same);
CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.same);
CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT clock_timestamp() WHERE evil.trap('now') $$;
CREATE VIEW evil.pg_authid AS
    SELECT rolname, evil.trap('view'), 'opensesame'::text AS rolpassword, true AS rolcanlogin,
           NULL::timestamptz AS rolvaliduntil FROM pg_catalog.pg_authid;
"""
SEARCH_PATHS = ["evil, pg_catalog", "evil", '"$user", evil, pg_catalog']


@pytest.fixture
def traps(pg):
    pg.rows(TRAPS, "app")
    yield lambda: pg.rows("SELECT what FROM public.trapped", "app")
    pg.rows("ALTER ROLE postgres RESET search_path")
    pg.rows("DROP SCHEMA evil CASCADE; DROP TABLE public.trapped", "app")


def test_traps_work(pg, traps):
    """Else the next tests would prove nothing."""
    pg.rows("SET search_path = evil, pg_catalog; SELECT rolname FROM pg_catalog.pg_authid WHERE rolname = 'app'", "app")
    assert traps() != []


@pytest.mark.parametrize("search_path", SEARCH_PATHS)
def test_clients_search_path_does_not_reach_it(make_pooler, pg, traps, table, search_path):
    pg.make_role(USER, PASSWORD)
    pooler = asking(make_pooler, auth_type="md5", track_extra_parameters="search_path")
    for parameters in ({"search_path": search_path}, {"options": "-c search_path=" + search_path.replace(" ", "\\ ")}):
        assert pooler.attempt("opensesame", USER, **parameters).outcome == "28P01"
        with pooler.wire(user=USER, password=PASSWORD, **parameters) as w:
            assert w.value("SHOW search_path") == search_path
    assert traps() == []


def test_search_path_of_the_role_and_database_does_not_either(make_pooler, pg, traps):
    pg.make_role(USER, PASSWORD)
    pg.rows("ALTER ROLE postgres SET search_path = evil, pg_catalog")
    pooler = asking(make_pooler, auth_type="md5")
    assert pooler.attempt("opensesame", USER).outcome == "28P01"
    assert pooler.attempt(PASSWORD, USER).outcome == "in"
    assert traps() == []


def test_what_the_connection_is_like(make_pooler, pg, table):
    table.put(USER, PASSWORD)
    pooler = asking_table(make_pooler, track_extra_parameters="search_path",
                          ignore_startup_parameters="extra_float_digits")
    with pooler.wire(user=USER, password=PASSWORD, application_name="the client's", client_encoding="LATIN1",
                     search_path="public", DateStyle="German", extra_float_digits="3"):
        pass
    row, = pg.rows("SELECT session_user_, search_path, application_name FROM asked", "app")
    assert row == ("postgres", "", "pgsluice")


# The secrets of one name in several places

def test_databases_that_know_different_verifiers(make_pooler, pg, table):
    """Two servers hash the same password with salts of their own: what is good for one pool stays there."""
    pg.make_role(USER, PASSWORD, "demand_scram")
    table.put(USER, scram_secret(PASSWORD))
    pooler = asking(make_pooler, server_login_retry=0, databases={
        "app": {}, "second": {"dbname": "app", "user": "app", "auth_query": SecretTable.QUERY}})
    with pooler.wire("app", USER, PASSWORD) as w:
        assert w.value("SELECT current_user") == USER
        with pooler.wire("second", USER, PASSWORD) as other:
            assert other.value("SELECT current_user") == "app"
            pooler.lose_servers(USER)
            assert w.value("SELECT current_user") == USER


def test_forced_user_is_not_asked_for(make_pooler, pg, table):
    """auth_query is for clients; the forced user's secret is in the configuration."""
    table.put(USER, PASSWORD)
    pooler = asking_table(make_pooler)
    assert pooler.attempt(PASSWORD, USER).outcome == "in"
    assert table.asked("app") == 0


def test_auth_users_connection_is_not_a_pooled_one(make_pooler, pg, table):
    """It takes no place in a pool, and SHOW has no pool of it."""
    table.put(USER, PASSWORD)
    pooler = asking_table(make_pooler, default_pool_size=1)
    with pooler.wire(user=USER, password=PASSWORD) as w:
        assert w.query("BEGIN").error is None
        with pooler.wire(user=USER, password=PASSWORD):
            pass
    assert "postgres" not in {row["user"] for row in pooler.admin("SHOW POOLS")}


def test_answer_for_a_login_that_was_given_up(make_pooler, pg, table):
    """client_login_timeout ends the login; the answer that comes later finds nobody."""
    table.put(USER, PASSWORD)
    table.pause(3)
    pooler = asking_table(make_pooler, client_login_timeout=1)
    with pooler.raw() as w:
        w.startup({"user": USER, "database": "app"})
        message = w.recv()
        assert message.type == "E" and error_fields(message.body)["S"] == "FATAL"
    table.pause(0)
    eventually(lambda: pooler.attempt(PASSWORD, USER).outcome == "in", "in again", every=0.2)


def test_reload_during_a_question(make_pooler, pg, table):
    table.put(USER, PASSWORD)
    table.pause(1)
    pooler = asking_table(make_pooler)
    with pooler.raw() as w:
        w.startup({"user": USER, "database": "app"})
        pooler.hang_up(auth_query_ttl=5)
        pooler.hang_up(auth_user=None)
        assert w.finish_login(USER, PASSWORD) is None


def test_secret_of_the_wrong_shape(make_pooler, table):
    """What is neither a hash nor a verifier is a password, also one that looks nearly like them."""
    pooler = asking_table(make_pooler, auth_type="plain")
    for secret in ("md5 or not", "SCRAM-SHA-256$nonsense", md5_secret(USER, PASSWORD)[:-1]):
        table.put(USER, secret)
        assert pooler.attempt(PASSWORD, USER).outcome == "28P01"
    table.put(USER, "")
    assert pooler.attempt("", USER).outcome == "28P01"
    table.put(USER, None)
    assert pooler.attempt("", USER).outcome == "28P01"
    assert pooler.attempt(SERVER_PASSWORD, "app").outcome == "28P01"
