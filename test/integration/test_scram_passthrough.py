"""
Logging in to the server with what a client has proved: only a SCRAM verifier is known, and the server demands SCRAM.
Also what a password given in the clear is good for, and what becomes of all that when secrets change.
"""

import contextlib

import psycopg
import pytest

from harness.pooler import assert_error
from harness.system import eventually
from harness.vouchers import Pam, SecretTable
from harness.wire import md5_secret, scram_secret

USER = "passed"
PASSWORD = "pass through me"


@pytest.fixture
def verifier(pg):
    """A role of whom the server demands SCRAM, with the verifier that pg_authid has."""
    return pg.make_role(USER, PASSWORD, "demand_scram")


def by_file(make_pooler, secret, **settings):
    settings.setdefault("auth_type", "scram-sha-256")
    return make_pooler(userlist={USER: secret, "admin": ""}, **settings)


def by_query(make_pooler, _secret=None, **settings):
    settings.setdefault("auth_type", "scram-sha-256")
    return make_pooler(userlist={"admin": ""}, auth_user="postgres", **settings)


SOURCES = {"auth_file": by_file, "auth_query": by_query}


@pytest.fixture(params=SOURCES)
def knowing(request, make_pooler, verifier):
    """knowing(...): a pooler that knows the verifier, from the file or by query."""
    return lambda **settings: SOURCES[request.param](make_pooler, verifier, **settings)


def wire(pooler, password=PASSWORD, user=USER, database="app"):
    return pooler.wire(database, user, password)


def backends(pg):
    return pg.value(f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{USER}'")


def works(pooler, password):
    """Whether a login gets as far as the server."""
    with pooler.raw() as w:
        return w.try_login(USER, "app", password) is None and w.query("SELECT current_user").rows == [[USER]]


def comes_in(pooler, password):
    """Soon: a failure of the moment before is remembered for a moment even with server_login_retry = 0."""
    eventually(lambda: works(pooler, password), "the login works", timeout=5)


def by_hba(pooler_of):
    pooler = pooler_of(start=False, auth_type="hba")
    pooler.settings["auth_hba_file"] = pooler.write_file("hba", "host all all all scram-sha-256\n")
    pooler.write()
    return pooler.start()


@pytest.mark.parametrize("auth_type", ["scram-sha-256", "md5", "plain", "hba"])
def test_one_query(knowing, auth_type):
    pooler = by_hba(knowing) if auth_type == "hba" else knowing(auth_type=auth_type)
    with wire(pooler) as w:
        assert w.value("SELECT current_user") == USER


def test_libpq(knowing):
    with knowing().connect(user=USER, password=PASSWORD) as c:
        assert c.execute("SELECT current_user").fetchone() == (USER,)


def test_pool_grows(knowing, pg):
    pooler = knowing(default_pool_size=6)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(wire(pooler)) for _ in range(6)]
        for w in clients:
            assert w.query("BEGIN").error is None
        assert len({w.backend() for w in clients}) == 6


def test_pool_grows_to_min_pool_size(knowing, pg):
    pooler = knowing(min_pool_size=4)
    with wire(pooler):
        eventually(lambda: backends(pg) == 4, "four backends")


def test_client_outlives_its_servers(knowing, pg):
    pooler = knowing(default_pool_size=3)
    with wire(pooler) as w, wire(pooler) as other:
        for _ in range(3):
            first = w.backend()
            pooler.lose_servers(USER)
            # Nobody logs in anew: what the first login taught is still there.
            assert w.backend() != first
            assert other.value("SELECT current_user") == USER


def test_client_outlives_a_reload(knowing, pg):
    pooler = knowing()
    with wire(pooler) as w:
        first = w.backend()
        pooler.hang_up(default_pool_size=7)
        assert "default_pool_size changed" in pooler.log()
        pooler.lose_servers(USER)
        assert w.backend() != first


def test_wrong_logins_teach_nothing_and_spoil_nothing(knowing, pg):
    pooler = knowing()
    with wire(pooler) as w:
        for _ in range(3):
            assert pooler.attempt("wrong", USER).outcome == "28P01"
        pooler.lose_servers(USER)
        assert w.value("SELECT current_user") == USER


def test_restart_needs_a_login(make_pooler, verifier, pg):
    """The keys are in memory only: after a restart there are no servers of the user until a login brings them."""
    pooler = by_file(make_pooler, verifier, min_pool_size=2)
    with wire(pooler):
        eventually(lambda: backends(pg) == 2, "two backends")
    pooler.stop()
    pooler.start()
    assert pooler.attempt("wrong", USER).outcome == "28P01"
    assert backends(pg) == 0
    with wire(pooler) as w:
        assert w.value("SELECT current_user") == USER


@pytest.mark.parametrize("secret", [lambda: scram_secret(PASSWORD), lambda: scram_secret(PASSWORD, 5000)],
                         ids=["salt", "iterations"])
def test_another_verifier_than_the_servers(make_pooler, verifier, secret):
    """Right password, but keys of another salt: the error says so, and what to do."""
    pooler = by_file(make_pooler, secret())
    attempt = pooler.attempt(PASSWORD, USER)
    assert_error(attempt.error)
    assert "salt" in attempt.error["D"] and "iteration" in attempt.error["D"]
    assert "pg_authid" in attempt.error["H"] and "auth_file" in attempt.error["H"]
    # The same for those who come while the failure is remembered.
    again = pooler.attempt(PASSWORD, USER).error
    assert "salt" in again.get("D", "") and "H" in again
    assert "salt" not in (pooler.attempt("wrong", USER).error.get("D") or "")


def test_corrected_verifier_is_used_after_a_reload(make_pooler, verifier):
    pooler = by_file(make_pooler, scram_secret(PASSWORD), server_login_retry=0)
    assert pooler.attempt(PASSWORD, USER).error is not None
    pooler.userlist[USER] = verifier
    pooler.hang_up()
    comes_in(pooler, PASSWORD)


def test_secret_changed_in_auth_file(make_pooler, verifier, pg):
    """The keys fit the secret they were proved against; with another one they are forgotten."""
    pooler = by_file(make_pooler, verifier, server_login_retry=0)
    with wire(pooler) as w:
        assert w.value("SELECT 1") == "1"
        pg.set_password(USER, "another one")
        pooler.userlist[USER] = pg.secret(USER)
        pooler.hang_up()
        pooler.lose_servers(USER)
        refused = w.query("SELECT 1")
        assert refused.error is not None and refused.status is None
    assert pooler.attempt(PASSWORD, USER).outcome == "28P01"
    comes_in(pooler, "another one")


def test_plain_secret_in_auth_file_needs_nobody(make_pooler, verifier, pg):
    pooler = make_pooler(userlist={USER: PASSWORD, "admin": ""}, auth_type="scram-sha-256")
    with wire(pooler) as w:
        pooler.lose_servers(USER)
        assert w.value("SELECT current_user") == USER
    for iterations in (1, 10000):
        pooler.hang_up(scram_iterations=iterations)
        with wire(pooler) as w:
            assert w.value("SELECT current_user") == USER


# Passwords given in the clear

@pytest.mark.parametrize("group, encryption", [("demand_password", "scram-sha-256"), ("demand_md5", "md5"),
                                               ("demand_scram", "scram-sha-256")])
@pytest.mark.parametrize("secret", [scram_secret(PASSWORD), md5_secret(USER, PASSWORD)], ids=["scram", "md5"])
def test_cleartext_password_answers_whatever_the_server_asks(make_pooler, pg, group, encryption, secret):
    pg.make_role(USER, PASSWORD, group, encryption)
    pooler = by_file(make_pooler, secret, auth_type="plain")
    with wire(pooler) as w:
        pooler.lose_servers(USER)
        assert w.value("SELECT current_user") == USER


def test_password_that_pam_accepted(make_pooler, pg, verifier):
    pam = Pam({USER: PASSWORD})
    try:
        pooler = make_pooler(auth_type="pam", auth_pam_confdir=pam.confdir, userlist={"admin": ""})
        with wire(pooler) as w:
            pooler.lose_servers(USER)
            assert w.value("SELECT current_user") == USER
    finally:
        pam.close()


@pytest.mark.parametrize("group, asked", [("demand_password", "a cleartext password"), ("demand_md5", "md5")])
def test_scram_keys_do_not_answer_other_questions(make_pooler, pg, group, asked):
    """A server that asks for less than SCRAM gets nothing; the client is told what is missing."""
    secret = pg.make_role(USER, PASSWORD, group, "md5" if group == "demand_md5" else "scram-sha-256")
    pooler = by_file(make_pooler, scram_secret(PASSWORD) if group == "demand_md5" else secret)
    error = pooler.attempt(PASSWORD, USER).error
    assert_error(error)
    assert asked in error["M"] and "SCRAM" in error["M"]


# Secrets that change while auth_query is the one who knows them

def test_changed_password_with_auth_query(make_pooler, verifier, pg):
    pooler = by_query(make_pooler)
    with wire(pooler) as w:
        old = w.backend()
        pg.set_password(USER, "another one")
        # Who is in stays in, on the servers that are there.
        assert w.backend() == old
        assert pooler.attempt(PASSWORD, USER).outcome == "28P01"
        with wire(pooler, "another one") as new:
            assert new.value("SELECT current_user") == USER
            pooler.lose_servers(USER)
            # The new login has taught how to come in again, and the client of the old one has its share of it.
            assert new.value("SELECT current_user") == USER
            assert w.value("SELECT current_user") == USER


@pytest.fixture
def table(pg):
    table = SecretTable(pg)
    yield table
    table.close()


def by_table(make_pooler, **settings):
    return by_query(make_pooler, auth_query=SecretTable.QUERY, auth_dbname="app",
                    **settings)


@pytest.mark.parametrize("kind, group", [("plain", "demand_scram"), ("plain", "demand_md5"), ("md5", "demand_md5")])
def test_refused_secret_is_asked_for_again(make_pooler, pg, table, kind, group):
    """The server says 28P01 to what auth_query said earlier: it is asked again, and the client notices nothing."""
    encryption = "md5" if group == "demand_md5" else "scram-sha-256"

    def change(password):
        pg.set_password(USER, password, encryption)
        table.put(USER, password if kind == "plain" else pg.secret(USER))

    pg.make_role(USER, None, group)
    change(PASSWORD)
    pooler = by_table(make_pooler, auth_type="md5", auth_query_ttl=600)
    with wire(pooler) as w, wire(pooler) as other:
        assert w.value("SELECT 1") == "1"
        change("another one")
        before = table.asked(USER)
        pooler.lose_servers(USER)
        assert w.value("SELECT current_user") == USER
        assert other.value("SELECT current_user") == USER
        assert table.asked(USER) == before + 1
    assert pooler.attempt(PASSWORD, USER).outcome == "28P01"
    assert pooler.attempt("another one", USER).outcome == "in"


def test_secret_that_stays_refused_is_asked_for_once(make_pooler, pg, table):
    """auth_query and the server disagree: one more question, then the server's own error."""
    pg.make_role(USER, PASSWORD, "demand_scram")
    table.put(USER, "not the servers")
    pooler = by_table(make_pooler, auth_type="md5")
    attempt = pooler.attempt("not the servers", USER)
    assert attempt.outcome == "28P01"
    assert f'password authentication failed for user "{USER}"' in attempt.error["M"]
    assert table.asked(USER) == 2


def test_refused_login_recovers_when_the_secret_is_right_again(make_pooler, pg, table):
    pg.make_role(USER, PASSWORD, "demand_scram")
    table.put(USER, "not the servers")
    pooler = by_table(make_pooler, auth_type="md5", server_login_retry=1)
    assert pooler.attempt("not the servers", USER).outcome == "28P01"
    table.put(USER, PASSWORD)
    eventually(lambda: pooler.attempt(PASSWORD, USER).outcome == "in", "the login works", timeout=10, every=0.2)


def test_right_login_does_not_wait_for_the_failure_of_an_old_one(make_pooler, verifier, pg):
    """
    A client of before ALTER ROLE fails to get a server. Who comes with the new password brings what was missing, and
    does not get the error of the other for server_login_retry.
    """
    pooler = by_query(make_pooler)
    with wire(pooler) as w:
        assert w.value("SELECT 1") == "1"
        pg.set_password(USER, "another one")
        pooler.lose_servers(USER)
        assert w.query("SELECT 1").error is not None
    assert works(pooler, "another one")


def test_reused_name(make_pooler, pg):
    """A role that is dropped and made anew under its name: the old proof opens nothing."""
    pg.make_role(USER, PASSWORD, "demand_scram")
    pooler = by_query(make_pooler, server_login_retry=0)
    with wire(pooler) as w:
        assert w.value("SELECT 1") == "1"
        pooler.lose_servers(USER)
        pg.make_role(USER, "somebody else's", "demand_scram")
        assert pooler.attempt(PASSWORD, USER).outcome == "28P01"
        assert w.query("SELECT 1").error is not None
    comes_in(pooler, "somebody else's")


# A forced user's credentials are the configuration's, never a client's

@pytest.mark.parametrize("auth_type", ["scram-sha-256", "plain"])
@pytest.mark.parametrize("by_another", [False, True])
def test_forced_user_does_not_use_what_a_client_proved(make_pooler, verifier, pg, by_another, auth_type):
    """PgBouncer's issue 1461: after a login as the user, everybody was let in to the forced database."""
    pooler = make_pooler(
        auth_type=auth_type, server_login_retry=0,
        databases={"open": {"dbname": "app"}, "forced": {"dbname": "app", "user": USER}},
        userlist={USER: verifier, "other": scram_secret("others"), "admin": ""})
    login = ("others", "other", "forced") if by_another else (PASSWORD, USER, "forced")
    assert pooler.attempt(*login).error is not None
    with wire(pooler, database="open") as w:
        assert w.value("SELECT current_user") == USER
        error = pooler.attempt(*login).error
        assert error is not None and "SCRAM" in error["M"]
        # And the other way round: the failure there is none here.
        pooler.lose_servers(USER)
        assert w.value("SELECT current_user") == USER


def test_forced_user_by_auth_query_does_not_either(make_pooler, verifier):
    pooler = make_pooler(
        auth_type="scram-sha-256", server_login_retry=0, auth_user="postgres",
        databases={"open": {"dbname": "app"}, "forced": {"dbname": "app", "user": USER}},
        userlist={"other": scram_secret("others"), "admin": ""})
    with wire(pooler, database="open") as w:
        assert w.value("SELECT current_user") == USER
        assert pooler.attempt("others", "other", "forced").error is not None
        assert pooler.attempt(PASSWORD, USER, "forced").error is not None


def test_forced_users_password_is_not_the_clients(make_pooler, verifier, pg):
    """The password of the database entry opens that database's pool only."""
    pooler = make_pooler(
        auth_type="trust", server_login_retry=0,
        databases={"open": {"dbname": "app"}, "forced": {"dbname": "app", "user": USER, "password": PASSWORD}},
        userlist={USER: verifier, "other": "", "admin": ""})
    with pooler.wire("forced", "other") as w:
        assert w.value("SELECT current_user") == USER
    assert pooler.attempt(None, USER, "open").error is not None
    with pytest.raises(psycopg.OperationalError):
        pooler.connect("open", USER)

