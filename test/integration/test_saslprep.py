"""
Passwords as people write them, prepared for SCRAM (SASLprep) by the server, by libpq and by the pooler: the server
hashes them at ALTER ROLE, libpq prepares what it is given, and the pooler has to come to the same on both sides.
"""

import os

import psycopg
import pytest

from harness.pooler import Pooler
from harness.system import run
from harness.wire import Scram

# Name: (the password that is set, others that are the same to SASLprep, one that is not).
PASSWORDS = {
    "ASCII": ("plain old", [], "plain  old"),
    "latin": ("Grüße", [], "Grusse"),
    "decomposed": ("Gru\u0308ße", ["Grüße"], "Gruße"),
    "ligature": ("\ufb01ne", ["fine"], "f1ne"),
    "soft hyphen": ("co\u00adop", ["coop"], "co-op"),
    "zero width space": ("a\u200bb", ["a b"], "ab"),
    "zero width joiner": ("a\u200db\ufeffc", ["abc"], "a b c"),
    "no-break space": ("a\u00a0b", ["a b"], "ab"),
    "ideographic space": ("a\u3000b", ["a b"], "ab"),
    "roman numeral": ("\u2168", ["IX"], "ix"),
    "ordinal": ("\u00aa", ["a"], "A"),
    "full width": ("\uff30\uff21\uff33\uff33", ["PASS"], "pass"),
    "hebrew": ("\u05e9\u05dc\u05d5\u05dd", [], "\u05e9\u05dc\u05d5"),
    "arabic": ("\u0645\u0631\u062d\u0628\u0627", [], "\u0645\u0631\u062d"),
    "arabic forms": ("\ufe8d\ufe8e\ufe8d", ["\u0627\u0627\u0627"], "\u0627"),
    "rtl and digits": ("\u0627\u0031\u0628", [], "\u06271"),
    # Not allowed by SASLprep: taken as they are, by everybody.
    "rtl with a digit behind": ("\u0627\u0031", [], "\u0627"),
    "rtl and latin": ("\u0627a\u0627", [], "\u0627\u0627"),
    "control character": ("bell\u0007", [], "bell"),
    "tab": ("a\tb", [], "a b"),
    "prohibited and mapped": ("\ufb01\u0007", [], "fi\u0007"),
    "private use": ("\ue000x", [], "x"),
    "unassigned in Unicode 3.2": ("\u0221", [], "d"),
    "an emoji of later": ("\U0001f600 smile", [], "smile"),
    "nothing but a soft hyphen": ("\u00ad", [], "-"),
    "beyond the BMP": ("\U0001d518nicode", ["Unicode"], "unicode"),
    "200 characters": ("ä" * 200, ["a\u0308" * 200], "ä" * 199),
    "quotes": ("it's \"quoted\" \\ ; $1", [], "its"),
}


@pytest.fixture(scope="module")
def roles(cluster):
    """A role for each password, set by ALTER ROLE, on a server that demands SCRAM: {name of the password: role}."""
    roles = {name: f"prepared_{i}" for i, name in enumerate(PASSWORDS)}
    for name, role in roles.items():
        cluster.make_role(role, PASSWORDS[name][0], "demand_scram")
    return roles


@pytest.fixture(scope="module")
def fronts(cluster, roles):
    """fronts(auth_type, secrets) -> a pooler whose auth_file has secrets(name) of every role."""
    made = {}

    def front(auth_type, secrets):
        if (auth_type, secrets) not in made:
            made[auth_type, secrets] = Pooler(
                cluster, auth_type=auth_type, default_pool_size=3,
                userlist={**{role: secrets(cluster, name, role) for name, role in roles.items()}, "admin": ""})
        return made[auth_type, secrets]

    yield front
    for pooler in made.values():
        pooler.close()


def plain(_cluster, name, _role):
    return PASSWORDS[name][0]


def other_spelling(_cluster, name, _role):
    return (PASSWORDS[name][1] or ["x"])[0]


def verifier(cluster, _name, role):
    return cluster.secret(role)


def psycopg_says(port, user, password):
    try:
        with psycopg.connect(host="127.0.0.1", port=port, user=user, password=password, dbname="app") as c:
            return c.execute("SELECT current_user").fetchone() == (user,)
    except psycopg.OperationalError:
        return False


def psql_says(port, user, password):
    return run(["psql", "-X", "-w", "-h", "127.0.0.1", "-p", str(port), "-U", user, "-d", "app", "-Atc", "SELECT 1"],
               env={**os.environ, "PGPASSWORD": password, "PGCLIENTENCODING": "UTF8"}).stdout == "1\n"


@pytest.mark.parametrize("name", PASSWORDS)
def test_postgresql_itself(cluster, roles, name):
    """What the other tests are to come to."""
    given, same, other = PASSWORDS[name]
    assert all(psycopg_says(cluster.port, roles[name], password) for password in [given, *same])
    assert not psycopg_says(cluster.port, roles[name], other)


@pytest.mark.parametrize("name", PASSWORDS)
@pytest.mark.parametrize("auth_type", ["scram-sha-256", "plain"])
def test_plain_secret(fronts, roles, name, auth_type):
    """The pooler prepares twice: to check the client's proof, and to give its own to the server."""
    given, same, other = PASSWORDS[name]
    port, role = fronts(auth_type, plain).port, roles[name]
    assert psycopg_says(port, role, given) and psql_says(port, role, given)
    if auth_type == "scram-sha-256":
        assert all(psycopg_says(port, role, password) for password in same)
    assert not psycopg_says(port, role, other) and not psql_says(port, role, other)


@pytest.mark.parametrize("name", PASSWORDS)
@pytest.mark.parametrize("auth_type", ["scram-sha-256", "md5", "plain"])
def test_verifier_of_the_server(fronts, roles, name, auth_type):
    given, same, other = PASSWORDS[name]
    port, role = fronts(auth_type, verifier).port, roles[name]
    assert all(psycopg_says(port, role, password) for password in [given, *same])
    assert not psycopg_says(port, role, other)


@pytest.mark.parametrize("name", [name for name, (_, same, _) in PASSWORDS.items() if same])
def test_plain_secret_that_is_the_same_only_when_prepared(fronts, roles, name):
    """auth_file has another spelling of the password than the server was given."""
    given, same, _ = PASSWORDS[name]
    port, role = fronts("scram-sha-256", other_spelling).port, roles[name]
    assert all(psycopg_says(port, role, password) for password in [given, *same])


def test_bytes_that_are_not_utf8(make_pooler, pg):
    """A password in another encoding is taken as it is."""
    raw = b"caf\xe9"
    pooler = make_pooler(auth_type="scram-sha-256", databases={"app": {"user": "app"}}, userlist={"admin": ""},
                         start=False)
    pooler.write()
    with open(pooler.userlist_file, "ab") as f:
        f.write(b'"in_bytes" "' + raw + b'"\n')
    pooler.start()
    with pooler.raw() as w:
        scram = Scram("")
        scram.password = raw
        w.startup({"user": "in_bytes", "database": "app"})
        w.recv()
        first = scram.first()
        w.send("p", b"SCRAM-SHA-256\0" + len(first).to_bytes(4, "big") + first)
        w.send("p", scram.final(w.recv().body[4:]))
        scram.verify(w.recv().body[4:])
