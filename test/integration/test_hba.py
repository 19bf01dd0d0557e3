"""auth_type = hba: which rule holds for whom; peer; files that are wrong. Also the console's owner, slow guessing."""

import contextlib
import os
import pwd
import time

import pytest

from harness.pooler import assert_error
from harness.system import account, as_account, run
from harness.vouchers import Pam
from harness.wire import Wire, error_fields, md5_secret

PASSWORD = "through the rules"
ME = pwd.getpwuid(os.getuid()).pw_name
as_root_only = pytest.mark.skipif(os.getuid() != 0, reason="needs two accounts")
NO_RULE = ("28000", "no authentication method is found")
REJECTED = ("28000", "login rejected")


def ruled(make_pooler, rules, ident=None, start=True, files=None, **settings):
    """A pooler with these rules. Anybody may be app; the forced user keeps the server out of it."""
    settings.setdefault("databases", {name: {"dbname": "app", "user": "app"} for name in
                                      ("app", "second", "other", "tenant_1", "replication")})
    settings.setdefault("userlist", {**{name: PASSWORD for name in ("app", "other", "all", "sameuser", "tenant_1")},
                                     "admin": "admin"})
    pooler = make_pooler(auth_type="hba", start=False, **settings)
    for name, text in (files or {}).items():
        pooler.write_file(name, text)
    pooler.settings["auth_hba_file"] = pooler.write_file("hba", rules)
    if ident is not None:
        pooler.settings["auth_ident_file"] = pooler.write_file("ident", ident)
    pooler.write()
    return pooler.start() if start else pooler


def told(attempt):
    return (attempt.error["C"], attempt.error["M"]) if attempt.error else "in"


def admits(pooler, **who):
    """Whether a rule with `trust` holds."""
    return pooler.attempt(None, **who).outcome == "in"


# Rules

def test_the_first_that_matches_holds(make_pooler):
    pooler = ruled(make_pooler, "host app other all reject\n"
                                "host app all all trust\n"
                                "host all all all reject\n")
    assert admits(pooler)
    assert told(pooler.attempt(None, "other")) == REJECTED
    assert told(pooler.attempt(None, "app", "second")) == REJECTED
    assert told(pooler.attempt(None, "nobody", "second")) == REJECTED


def test_without_a_rule_nobody_comes_in(make_pooler):
    pooler = ruled(make_pooler, "# nothing\n\nhost app app 127.0.0.1/32 trust\n")
    assert admits(pooler)
    assert told(pooler.attempt(PASSWORD, "other")) == NO_RULE
    assert told(pooler.attempt(PASSWORD, "app", "second")) == NO_RULE
    assert told(pooler.attempt(PASSWORD, unix=True)) == NO_RULE


@pytest.mark.parametrize("method, codes", [("trust", [0]), ("password", [3, 0]), ("md5", [5, 0]),
                                           ("scram-sha-256", [10, 11, 12, 0])])
def test_methods(make_pooler, method, codes):
    pooler = ruled(make_pooler, f"host all all all {method}\n")
    assert pooler.attempt(PASSWORD).codes == codes


def test_md5_becomes_scram_for_a_verifier(make_pooler, pg):
    pg.make_role("ruled", PASSWORD)
    pooler = ruled(make_pooler, "host all all all md5\n", userlist={
        "ruled": pg.secret("ruled"), "app": md5_secret("app", PASSWORD), "admin": ""})
    assert pooler.attempt(PASSWORD, "ruled").codes == [10, 11, 12, 0]
    assert pooler.attempt(PASSWORD, "app").codes == [5, 0]


def test_trust_needs_a_known_user(make_pooler):
    pooler = ruled(make_pooler, "host all all all trust\n")
    assert told(pooler.attempt(None, "nobody")) == ("28000", '"trust" authentication failed')


@pytest.mark.parametrize("kind, unix, tcp", [("local", True, False), ("host", False, True), ("hostnossl", False, True),
                                             ("hostssl", False, False)])
def test_types_of_connections(make_pooler, kind, unix, tcp):
    pooler = ruled(make_pooler, f"{kind} all all {'' if kind == 'local' else 'all'} trust\n")
    assert (admits(pooler, unix=True), admits(pooler)) == (unix, tcp)


@pytest.mark.parametrize("column, expected", [
    ("all", {"app", "other", "tenant_1"}),
    ("app", {"app"}),
    ("app,other", {"app", "other"}),
    ('"app",tenant_1', {"app", "tenant_1"}),
    ('"all"', {"all"}),
    ("@names", {"app", "other"}),
    ("tenant_1,@names", {"app", "other", "tenant_1"}),
    ("/^ten", {"tenant_1"}),
    ("/^tenant_[0-9]+$", {"tenant_1"}),
    ('"/^(app|other)$"', {"app", "other"}),
    ("/^nothing$", set()),
    ("App", set()),
])
def test_users(make_pooler, column, expected):
    pooler = ruled(make_pooler, f"host all {column} all trust\n", files={"names": "app\n# not tenant_1\nother\n"})
    assert {name for name in ("app", "other", "tenant_1", "all") if admits(pooler, user=name)} - (
        {"all"} if column == "all" else set()) == expected


@pytest.mark.parametrize("column, expected", [
    ("all", {"app", "second", "other", "tenant_1", "replication"}),
    ("app", {"app"}),
    ("app,second", {"app", "second"}),
    ("sameuser", {"app"}),
    ('"sameuser"', set()),
    ("replication", set()),
    ('"replication"', {"replication"}),
    ("@databases", {"second", "tenant_1"}),
    ("/^tenant", {"tenant_1"}),
])
def test_databases(make_pooler, column, expected):
    """`replication` is for physical replication, not for a database of that name."""
    pooler = ruled(make_pooler, f"host {column} all all trust\n", files={"databases": "second /^tenant\n"})
    names = ("app", "second", "other", "tenant_1", "replication")
    assert {name for name in names if admits(pooler, database=name)} == expected


def test_sameuser(make_pooler):
    pooler = ruled(make_pooler, "host sameuser all all trust\n")
    for user in ("app", "other", "tenant_1"):
        assert {name for name in ("app", "other", "tenant_1") if admits(pooler, user=user, database=name)} == {user}


@pytest.mark.parametrize("address, expected", [
    ("all", {1, 2, 9}),
    ("0.0.0.0/0", {1, 2, 9}),
    ("127.0.0.1/32", {1}),
    ("127.0.0.2/32", {2}),
    ("127.0.0.0/30", {1, 2}),
    ("127.0.0.0/8", {1, 2, 9}),
    ("127.0.0.8/29", {9}),
    ("127.0.0.0 255.255.255.252", {1, 2}),
    ("127.0.0.9 255.255.255.255", {9}),
    ("10.0.0.0/8", set()),
    ("::/0", set()),
    ("::1/128", set()),
    ("samehost", {1}),
    ("samenet", {1, 2, 9}),
])
def test_addresses(make_pooler, address, expected):
    pooler = ruled(make_pooler, f"host all all {address} trust\n")
    assert {n for n in (1, 2, 9) if admits(pooler, source=f"127.0.0.{n}")} == expected


def test_address_column_is_for_tcp(make_pooler):
    pooler = ruled(make_pooler, "host all all 127.0.0.2/32 reject\nhost all all all trust\nlocal all all reject\n")
    assert admits(pooler) and not admits(pooler, source="127.0.0.2") and not admits(pooler, unix=True)


def test_console_is_a_database_too(make_pooler):
    pooler = ruled(make_pooler, "host pgbouncer admin all scram-sha-256\nhost pgbouncer all all reject\n"
                                "host all all all trust\n")
    assert pooler.attempt("admin", "admin", "pgbouncer").outcome == "in"
    assert pooler.attempt("wrong", "admin", "pgbouncer").outcome == "28P01"
    assert told(pooler.attempt(PASSWORD, "app", "pgbouncer")) == REJECTED
    assert admits(pooler)


def test_cert_without_tls(make_pooler):
    pooler = ruled(make_pooler, "hostssl all all all cert\n")
    assert told(pooler.attempt(None)) == NO_RULE


# Files that are wrong

BAD_LINES = [
    "host all all all nonsense",
    "host all all 127.0.0.1/33 trust",
    "host all all 127.0.0.1 trust",
    "host all all example.net trust",
    "host all all 127.0.0.1/32",
    "host all",
    "hots all all all reject",
    "local all all all reject",
    "hostgssenc all all all reject",
    "host all +group all reject",
    "host samerole all all reject",
    "host all /( all reject",
    "host all @missing all reject",
    'host all "open all reject',
    "host all all all trust surplus",
    "host all all all md5 map=x",
    "host all all all peer",
    "host all all all ldap",
    "include other",
]


@pytest.mark.parametrize("line", BAD_LINES)
def test_bad_line_refuses_the_start(make_pooler, line):
    """Passed over, it would open what it closes."""
    pooler = ruled(make_pooler, f"# first\nhost all other all trust\n{line}\nhost all all all trust\n", start=False)
    for args in ((), ("--check",)):
        ended = pooler.run(*args, pooler.ini)
        assert ended.returncode == 1, ended.stderr
        assert f"{pooler.settings['auth_hba_file']}:3: " in ended.stderr + ended.stdout


def test_bad_line_of_the_ident_file(make_pooler):
    pooler = ruled(make_pooler, "local all all peer map=m\n", ident="m root app\nm root\n", start=False)
    ended = pooler.run(pooler.ini)
    assert ended.returncode == 1 and f"{pooler.settings['auth_ident_file']}:2: " in ended.stderr


@pytest.mark.parametrize("name", ["auth_hba_file", "auth_ident_file"])
def test_missing_file(make_pooler, name):
    pooler = ruled(make_pooler, "host all all all trust\n", start=False)
    pooler.settings[name] = "/nonexistent/file"
    pooler.write()
    ended = pooler.run(pooler.ini)
    assert ended.returncode == 1 and "/nonexistent/file" in ended.stderr


def test_hba_without_a_file(make_pooler):
    pooler = make_pooler(auth_type="hba", start=False)
    ended = pooler.run(pooler.ini)
    assert ended.returncode == 1 and "auth_hba_file" in ended.stderr


@pytest.mark.parametrize("line", ["host all all all nonsense", "hots all all all reject",
                                  "host all @missing all reject"])
def test_bad_line_refuses_the_reload(make_pooler, line):
    """All of the old configuration stays in force, not only the rules."""
    pooler = ruled(make_pooler, "host pgbouncer admin all md5\nhost all other all reject\nhost all all all trust\n")
    pooler.write_file("hba", f"host all all all trust\n{line}\n")
    for reload in (lambda: pooler.reload(default_pool_size=7), lambda: pooler.hang_up(default_pool_size=8)):
        result = reload()
        assert result is None or result.error is not None
        assert f"{pooler.settings['auth_hba_file']}:2: " in pooler.log()
        assert admits(pooler) and told(pooler.attempt(None, "other")) == REJECTED
        assert pooler.config("default_pool_size") == "20"
    pooler.write_file("hba", "host pgbouncer admin all md5\nhost all app all reject\nhost all all all trust\n")
    assert pooler.reload().error is None
    assert told(pooler.attempt(None)) == REJECTED and admits(pooler, user="other")


def test_reload_reads_files_that_are_named_in_rules(make_pooler):
    pooler = ruled(make_pooler, "host all @names all trust\n", files={"names": "app\n"})
    assert admits(pooler) and not admits(pooler, user="other")
    pooler.write_file("names", "other\n")
    pooler.hang_up()
    assert not admits(pooler) and admits(pooler, user="other")


def test_who_is_in_stays_in(make_pooler):
    pooler = ruled(make_pooler, "host all all all trust\n")
    with pooler.wire() as w:
        pooler.write_file("hba", "host all all all reject\n")
        pooler.hang_up()
        assert told(pooler.attempt(None)) == REJECTED
        assert w.value("SELECT 1") == "1"


# peer

def test_peer_is_the_name_of_the_system(make_pooler):
    pooler = ruled(make_pooler, "local all all peer\n")
    assert admits(pooler, user=ME, unix=True)
    assert told(pooler.attempt(None, "app", unix=True)) == ("28000", "unix socket login rejected")


@pytest.mark.parametrize("ident, expected", [
    (f"m {ME} app\n", {"app"}),
    (f"m {ME} app\nm {ME} other\n", {"app", "other"}),
    (f"m {ME} all\n", {"app", "other", ME}),
    (f"m nobody all\nother_map {ME} app\n", set()),
    (f"m /^{ME[:-1]}(.)$ app\n", {"app"}),
    ("m /^(.*)$ \\1\n", {ME}),
    (f'm "{ME}" "app"\n', {"app"}),
    (f"m {ME} /^o\n", {"other"}),
])
def test_peer_with_a_map(make_pooler, ident, expected):
    pooler = ruled(make_pooler, "local all all peer map=m\n", ident)
    assert {user for user in ("app", "other", ME) if admits(pooler, user=user, unix=True)} == expected


@as_root_only
def test_peer_of_another_account(make_pooler):
    """The other account's name, not what it says."""
    name = account().pw_name
    pooler = ruled(make_pooler, "local all all peer map=m\n", f"m {name} app\nm {ME} other\n")

    def psql(login, **kwargs):
        return run(["psql", "-X", "-h", pooler.directory, "-p", str(pooler.port), "-U", login, "-d", "app",
                    "-Atc", "SELECT 1"], **kwargs).returncode == 0

    assert psql("app", **as_account()) and not psql("other", **as_account())
    assert psql("other") and not psql("app")


# The console's owner

def owner_psql(pooler, login="pgbouncer", database="pgbouncer", host=None, **kwargs):
    return run(["psql", "-X", "-w", "-h", host or pooler.directory, "-p", str(pooler.port), "-U", login, "-d", database,
                "-Atc", "SHOW VERSION"], **kwargs)


@pytest.mark.parametrize("auth_type", ["md5", "scram-sha-256", "plain", "trust", "hba", "pam"])
def test_owner_needs_no_password(make_pooler, auth_type):
    """The account that the pooler runs as; whatever auth_type is, and whatever the rules say."""
    pooler = make_pooler(auth_type=auth_type, userlist={"app": PASSWORD}, admin_users="", stats_users="", start=False)
    pooler.settings["auth_hba_file"] = pooler.write_file("hba", "local all all reject\nhost all all all reject\n")
    pooler.write()
    pooler.start()
    for name in ("pgbouncer", "pgsluice"):
        shown = owner_psql(pooler, name, **as_account())
        assert shown.returncode == 0 and "pgsluice" in shown.stdout, shown.stderr
    # Neither over TCP, nor by another name, nor to a database.
    assert owner_psql(pooler, host="127.0.0.1", **as_account()).returncode != 0
    assert owner_psql(pooler, "app", **as_account()).returncode != 0
    assert owner_psql(pooler, database="app", **as_account()).returncode != 0


@as_root_only
def test_another_account_is_not_the_owner(make_pooler):
    pooler = make_pooler(auth_type="md5", userlist={"app": PASSWORD}, admin_users="", stats_users="")
    refused = owner_psql(pooler)
    assert refused.returncode != 0 and "password" in refused.stderr


# Slow guessing

def test_failures_are_told_later(make_pooler):
    """A right login that begins after a wrong one is in before that is told."""
    pooler = make_pooler(auth_type="md5", userlist={"app": PASSWORD, "admin": "admin"}, auth_failure_delay=1)
    with contextlib.ExitStack() as stack:
        wrong = stack.enter_context(pooler.raw())
        wrong.startup({"user": "app", "database": "app"})
        salt = wrong.recv().body[4:]
        assert len(salt) == 4
        sent = time.monotonic()
        wrong.send("p", b"md5" + b"0" * 32 + b"\0")
        with pooler.wire(password=PASSWORD) as w:
            for _ in range(10):
                assert w.value("SELECT 1") == "1"
            wrong.sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                wrong.sock.recv(1)
            wrong.sock.settimeout(30)
        message = wrong.recv()
        assert time.monotonic() - sent >= 0.9
        assert error_fields(message.body)["C"] == "28P01"
        assert wrong.is_closed()


@pytest.mark.parametrize("auth_type", ["trust", "plain", "scram-sha-256", "hba"])
def test_every_failure_is_told_later(make_pooler, auth_type):
    pooler = make_pooler(auth_type=auth_type, userlist={"app": PASSWORD, "admin": "admin"}, start=False,
                         auth_failure_delay="500ms")
    pooler.settings["auth_hba_file"] = pooler.write_file("hba", "host app all all reject\nhost all all all md5\n")
    pooler.write()
    pooler.start()
    begin = time.monotonic()
    assert pooler.attempt("wrong", "nobody").error is not None
    assert time.monotonic() - begin >= 0.4


def test_those_who_wait_to_be_told_hold_nothing(make_pooler):
    pooler = make_pooler(auth_type="plain", userlist={"app": PASSWORD, "admin": "admin"}, auth_failure_delay=60,
                         default_pool_size=1)
    with contextlib.ExitStack() as stack:
        for i in range(50):
            w = stack.enter_context(pooler.raw())
            w.startup({"user": "app", "database": "app"})
            w.recv()
            w.send("p", b"wrong\0")
            if i % 2:
                w.reset()
            elif i % 3 == 0:
                w.send("p", PASSWORD.encode() + b"\0")  # too late
        assert pooler.attempt(PASSWORD).outcome == "in"
    assert pooler.alive()


# Counters

def test_refused_logins_are_counted_by_reason(make_pooler):
    pam = Pam({})
    try:
        rules = ("host pgbouncer admin all md5\n"
                 "host app rejected_user all reject\n"
                 "host app all 127.0.0.2/32 trust\n"
                 "host app all 127.0.0.3/32 pam\n"
                 "host app all 127.0.0.4/32 ldap ldapserver=127.0.0.1 ldapport=1 ldapprefix=x ldapsuffix=y\n"
                 "host app,nosuch all 127.0.0.1/32 md5\n"
                 "local all all peer\n")
        pooler = ruled(make_pooler, rules, auth_pam_confdir=pam.confdir, log_disconnections=0)

        def counts():
            return {row["reason"]: int(row["clients"]) for row in pooler.admin("SHOW CLOSE_REASONS")}

        before = counts()
        attempts = {
            "AUTH_PASSWORD": [("wrong",), ("wrong", "nobody"), ("",)],
            "AUTH_TRUST": [(None, "nobody", "app", "127.0.0.2")],
            "AUTH_REJECTED": [(None, "rejected_user"), (None, "app", "second")],
            "AUTH_PAM": [("wrong", "app", "app", "127.0.0.3")] * 2,
            "AUTH_LDAP": [("wrong", "app", "app", "127.0.0.4")],
            "AUTH_PEER": [(None, "app", "app", None, True)],
            "NO_DATABASE": [(PASSWORD, "app", "nosuch")],
        }
        for reason, logins in attempts.items():
            for login in logins:
                assert pooler.attempt(*login).error is not None, (reason, login)
        with Wire(("127.0.0.1", pooler.port)) as w:
            w.startup({"user": "app", "database": "app"})
            w.recv()
            w.send("p", b"no end")
            assert w.recv().type == "E"
        after = counts()
        assert {k: after[k] - before[k] for k in after if after[k] != before[k] and k != "CLIENT_QUIT"
                and not k.startswith("CLIENT")} == {
            **{reason: len(logins) for reason, logins in attempts.items()}, "AUTH_MALFORMED": 1}
    finally:
        pam.close()


def test_who_is_not_let_in_is_in_the_log(make_pooler):
    pooler = ruled(make_pooler, "host app all all md5\nhost second all all reject\n")
    pooler.attempt("wrong")
    pooler.attempt("wrong", "app", "second")
    for text in ("app/app@127.0.0.1:", "password authentication failed", "second/app@127.0.0.1:", "login rejected"):
        pooler.wait_log(text, timeout=5)
    assert_error(pooler.attempt("wrong").error, "password authentication failed", "28P01")
