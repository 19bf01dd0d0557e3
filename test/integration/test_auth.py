"""Who may log in: auth types, kinds of secrets, right and wrong passwords; and how the pooler logs in itself."""

import re
import threading

import psycopg
import pytest

from harness.pg import PASSWORD
from harness.pooler import assert_error
from harness.wire import FakeServer, md5_secret, scram_secret

CLIENT_PASSWORD = "päss wörd"
SECRETS = {
    "plain": CLIENT_PASSWORD,
    "md5": md5_secret("app", CLIENT_PASSWORD),
    "scram": scram_secret(CLIENT_PASSWORD),
}
# What the client is asked first: the code in the first Authentication message.
ASKED = {
    ("plain", "plain"): 3, ("plain", "md5"): 3, ("plain", "scram"): 3,
    ("md5", "plain"): 5, ("md5", "md5"): 5, ("md5", "scram"): 10,
    ("scram-sha-256", "plain"): 10, ("scram-sha-256", "md5"): 10, ("scram-sha-256", "scram"): 10,
}


def secured(make_pooler, auth_type, secret):
    return make_pooler(auth_type=auth_type, userlist={"app": secret, "admin": ""})


def login(pooler, password, user="app", database="app"):
    """(codes of the Authentication messages, the error or None)"""
    messages, error = exchange(pooler, password, user, database)
    return [int.from_bytes(m.body[:4], "big") for m in messages if m.type == "R"], error


def exchange(pooler, password, user="app", database="app"):
    """(every message, the error or None)"""
    with pooler.raw() as w:
        messages, recv = [], w.recv

        def recording():
            messages.append(recv())
            return messages[-1]

        w.recv = recording
        error = w.try_login(user, database, password)
        return messages, error


def assert_refused(error):
    assert_error(error, None, "28P01", "28000")
    assert error["S"] == "FATAL"


@pytest.mark.parametrize("auth_type, kind", ASKED)
def test_right_password(make_pooler, auth_type, kind):
    pooler = secured(make_pooler, auth_type, SECRETS[kind])
    codes, error = login(pooler, CLIENT_PASSWORD)
    assert codes[0] == ASKED[auth_type, kind]
    if (auth_type, kind) == ("scram-sha-256", "md5"):
        assert_refused(error)  # an md5 hash cannot answer SCRAM
    else:
        assert error is None


@pytest.mark.parametrize("password", ["wrong", "", "x" * 1500, CLIENT_PASSWORD + " "])
@pytest.mark.parametrize("auth_type, kind", ASKED)
def test_wrong_password(make_pooler, auth_type, kind, password):
    pooler = secured(make_pooler, auth_type, SECRETS[kind])
    _, error = login(pooler, password)
    assert_refused(error)
    # The stored secret is not a password.
    _, error = login(pooler, SECRETS[kind] + "")
    assert kind == "plain" or error is not None


@pytest.mark.parametrize("password", ["wrong", "", "x" * 1500])
@pytest.mark.parametrize("auth_type, kind", ASKED)
def test_unknown_user_looks_like_a_wrong_password(make_pooler, auth_type, kind, password):
    """The same messages, as many and of the same lengths, and the same words."""
    pooler = secured(make_pooler, auth_type, SECRETS[kind])
    messages, error = exchange(pooler, password)
    for user in ("nob", "nobody-of-that-name"):
        unknown_messages, unknown_error = exchange(pooler, password, user=user)
        assert_refused(unknown_error)
        assert [m.type for m in unknown_messages] == [m.type for m in messages]
        asked, unknown_asked = ([m.body[:4] for m in ms if m.type == "R"] for ms in (messages, unknown_messages))
        assert unknown_asked == asked
        assert unknown_error == {k: v.replace("app", user) for k, v in error.items()}
        if len(user) == len("app"):
            assert [len(m.body) for m in unknown_messages] == [len(m.body) for m in messages]


@pytest.mark.parametrize("majority", ["plain", "scram"])
def test_unknown_user_looks_like_most_others(make_pooler, majority):
    """With md5 the kind of a secret decides what is asked, so an unknown user is asked what most are."""
    userlist = {f"user{i}": SECRETS[majority] for i in range(3)}
    pooler = make_pooler(auth_type="md5", userlist={**userlist, "app": SECRETS["md5"], "admin": SECRETS[majority]})
    codes, _ = login(pooler, "wrong", user="user0")
    unknown_codes, error = login(pooler, "wrong", user="nobody")
    assert_refused(error)
    assert unknown_codes == codes


@pytest.mark.parametrize("auth_type", ["plain", "md5", "scram-sha-256"])
def test_unknown_database_is_told_only_to_those_who_may_know(make_pooler, auth_type):
    pooler = secured(make_pooler, auth_type, SECRETS["plain"])
    _, error = login(pooler, "wrong", database="nosuch")
    assert_refused(error)
    assert "nosuch" not in error["M"]
    _, error = login(pooler, CLIENT_PASSWORD, database="nosuch")
    assert_error(error, "no such database: nosuch", "3D000")


SCRAM_CODES = [10, 11, 12]


def test_the_pooler_proves_itself_before_it_refuses_whom_it_knows(make_pooler):
    pooler = secured(make_pooler, "scram-sha-256", SECRETS["scram"])
    codes, error = login(pooler, CLIENT_PASSWORD, database="nosuch")
    assert codes == SCRAM_CODES
    assert_error(error, "no such database: nosuch", "3D000")


def test_the_pooler_proves_itself_while_a_client_waits_for_the_first_server(make_pooler):
    has_proof = threading.Event()

    def script(peer):
        peer.read_startup()
        assert has_proof.wait(30)
        peer.welcome()
        peer.drain()

    with FakeServer(script) as server:
        pooler = make_pooler(auth_type="scram-sha-256", userlist={"app": SECRETS["scram"]},
                             databases={"app": server.entry})
        with pooler.raw() as w:
            recv = w.recv

            def watched():
                message = recv()
                if message.type == "R" and message.body[3] == SCRAM_CODES[-1]:
                    has_proof.set()
                return message

            w.recv = watched
            w.login("app", "app", CLIENT_PASSWORD)


@pytest.mark.parametrize("auth_type", ["plain", "md5", "scram-sha-256"])
def test_a_user_without_a_secret_cannot_log_in(make_pooler, auth_type):
    pooler = secured(make_pooler, auth_type, "")
    for password in ("", "x"):
        assert_refused(login(pooler, password)[1])


def test_scram_salt_of_an_unknown_user_is_stable(make_pooler):
    """A salt that changed with each attempt would tell that there is no such user."""
    pooler = secured(make_pooler, "scram-sha-256", SECRETS["scram"])

    def challenge(user):
        with pooler.raw() as w:
            w.startup({"user": user, "database": "app"})
            w.recv()
            first = b"n,,n=,r=abcdefghijklmnopqrstuvwx"
            w.send("p", b"SCRAM-SHA-256\0" + len(first).to_bytes(4, "big") + first)
            fields = dict(f.split("=", 1) for f in w.recv().body[4:].decode().split(","))
            return fields["s"], fields["i"]

    assert challenge("nobody") == challenge("nobody")
    assert challenge("nobody")[0] != challenge("somebody")[0]
    assert challenge("nobody")[1] == challenge("app")[1] == "4096"
    assert len(challenge("nobody")[0]) == len(challenge("app")[0])


def test_trust(make_pooler):
    pooler = secured(make_pooler, "trust", SECRETS["md5"])
    codes, error = login(pooler, None)
    assert (codes, error) == ([0], None)
    assert_refused(login(pooler, None, user="nobody")[1])


def test_any_ignores_the_name(make_pooler, pg):
    pooler = make_pooler(auth_type="any", databases={"app": {"user": "app"}})
    with pooler.wire(user="nobody in particular") as w:
        assert w.value("SELECT current_user") == "app"


@pytest.mark.parametrize("auth_type", ["plain", "md5", "scram-sha-256"])
def test_libpq_agrees(make_pooler, auth_type):
    pooler = secured(make_pooler, auth_type, SECRETS["plain"])
    with pooler.connect(password=CLIENT_PASSWORD) as c:
        assert c.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError):
        pooler.connect(password="wrong")


@pytest.mark.parametrize("name", ['we"ird', "sp ace", "ünïcode", "semi;colon", "back\\slash", "x" * 63])
def test_names_as_people_have_them(make_pooler, pg, name):
    with pg.connect(autocommit=True) as c:
        c.execute(psycopg.sql.SQL("DROP ROLE IF EXISTS {0}").format(psycopg.sql.Identifier(name)))
        c.execute(psycopg.sql.SQL("CREATE ROLE {0} LOGIN").format(psycopg.sql.Identifier(name)))
    pooler = make_pooler(auth_type="md5", userlist={name: CLIENT_PASSWORD, "admin": ""})
    with pooler.wire(user=name, password=CLIENT_PASSWORD) as w:
        assert w.value("SELECT current_user") == name


def test_changed_auth_file_is_read_at_reload(make_pooler):
    pooler = make_pooler(auth_type="md5", userlist={"app": "old", "admin": "admin"}, start=False)
    pooler.start()
    assert login(pooler, "old")[1] is None
    pooler.userlist["app"] = "new"
    pooler.write()
    with pooler.wire("pgbouncer", "admin", "admin") as w:
        assert w.query("RELOAD").error is None
    assert_refused(login(pooler, "old")[1])
    assert login(pooler, "new")[1] is None


def test_garbage_instead_of_a_password(make_pooler):
    pooler = secured(make_pooler, "scram-sha-256", SECRETS["scram"])
    for body in (b"", b"SCRAM-SHA-256\0", b"SCRAM-SHA-1\0\0\0\0\4n,,n",
                 b"SCRAM-SHA-256\0\0\0\0\4n,,x", b"SCRAM-SHA-256-PLUS\0\0\0\0\4p=x,"):
        with pooler.raw() as w:
            w.startup({"user": "app", "database": "app"})
            w.recv()
            w.send("p", body)
            assert [m.type for m in w.drain()] == ["E"]
    for kind in "QXCd":
        with pooler.raw() as w:
            w.startup({"user": "app", "database": "app"})
            w.recv()
            w.send(kind, b"SELECT 1\0")
            assert "Z" not in [m.type for m in w.drain()]
    assert login(pooler, CLIENT_PASSWORD)[1] is None


# The pooler's own login to the server

@pytest.mark.parametrize("user", ["plain_user", "md5_user", "scram_user"])
def test_server_login_with_the_users_secret(make_pooler, user):
    pooler = make_pooler(userlist={user: PASSWORD, "admin": ""})
    with pooler.wire(user=user) as w:
        assert w.value("SELECT current_user") == user


def test_server_login_with_an_md5_hash(make_pooler, pg):
    pooler = make_pooler(userlist={"md5_user": pg.secret("md5_user"), "admin": ""})
    with pooler.wire(user="md5_user") as w:
        assert w.value("SELECT current_user") == "md5_user"


def test_server_login_that_the_secret_does_not_allow(make_pooler, pg):
    """An md5 hash cannot answer a server that asks for SCRAM; the client is told something it can act on."""
    pooler = make_pooler(userlist={"scram_user": "md5" + "0" * 32, "admin": ""})
    _, error = login(pooler, None, user="scram_user")
    assert_error(error)
    assert not re.search(r"cached error:\s*\(", error["M"]), error


@pytest.mark.parametrize("user", ["plain_user", "md5_user", "scram_user"])
def test_forced_user(make_pooler, user):
    pooler = make_pooler(databases={"app": {"user": user, "password": PASSWORD}})
    for client in ("app", "other"):
        with pooler.wire(user=client) as w:
            assert w.value("SELECT current_user") == user
    pools = [row["user"] for row in pooler.admin("SHOW POOLS") if row["database"] == "app"]
    assert pools == [user]


@pytest.mark.parametrize("user", ["plain_user", "md5_user", "scram_user"])
def test_server_refuses_the_password(make_pooler, user):
    pooler = make_pooler(databases={"app": {"user": user, "password": "wrong"}})
    _, error = login(pooler, None)
    assert error["C"] == "28P01"
    assert f'password authentication failed for user "{user}"' in error["M"]
    pooler.wait_log("server login failed: FATAL password authentication failed")


def test_server_has_no_place_for_the_user(make_pooler):
    pooler = make_pooler(databases={"app": {"user": "rejected"}})
    _, error = login(pooler, None)
    assert error["C"] == "28000"
    assert "pg_hba.conf rejects connection" in error["M"]


def test_server_has_no_such_database(make_pooler):
    pooler = make_pooler(databases={"app": {"dbname": "nosuch"}})
    _, error = login(pooler, None)
    assert error["C"] == "3D000"
    assert 'database "nosuch" does not exist' in error["M"]


def test_no_password_ever_reaches_the_log(make_pooler):
    pooler = make_pooler(auth_type="plain", args=["-v", "-v"],
                         databases={"app": {"user": "plain_user", "password": PASSWORD}},
                         userlist={"app": "client-secret", "admin": ""})
    assert login(pooler, "client-secret")[1] is None
    assert_refused(login(pooler, "mistyped-secret")[1])
    for secret in ("client-secret", "mistyped-secret", PASSWORD, "Sësam"):
        assert secret not in pooler.log()
