"""
Every way of logging in, with every kind of secret from every source of them, right and wrong: one table.

One pooler for each kind of secret and source; its auth_type is changed by RELOAD, and with auth_type = hba the name
of the database chooses the method. The databases have a forced user, so that it is only the client's login that counts.
"""

import collections

import pytest

from harness.pooler import Pooler
from harness.vouchers import Pam, Slapd
from harness.wire import md5_secret, scram_secret

PASSWORD = "right päss"
HBA_METHODS = ("trust", "reject", "md5", "password", "scram-sha-256", "pam", "ldap")

# What becomes of a login: let in, or the SQLSTATE of the refusal. With an expired password nobody matches; it is
# auth_query that knows of it, and PAM and LDAP have their own opinion.
CASES = ("right", "wrong", "empty", "unknown user", "unknown database", "expired")
OUTCOMES = {
    "any":           ("in",    "in",    "in",    "in",    "3D000", "in"),
    "trust":         ("in",    "in",    "in",    "28000", "3D000", "28000"),
    "plain":         ("in",    "28P01", "28P01", "28P01", "3D000", "28P01"),
    "md5":           ("in",    "28P01", "28P01", "28P01", "3D000", "28P01"),
    "scram-sha-256": ("in",    "28P01", "28P01", "28P01", "3D000", "28P01"),
    "pam":           ("in",    "28000", "28P01", "28000", "3D000", "in"),
    "ldap":          ("in",    "28000", "28P01", "28000", "3D000", "in"),
}
OUTCOMES.update({
    "hba trust":         OUTCOMES["trust"],
    "hba reject":        ("28000",) * 6,
    "hba md5":           OUTCOMES["md5"],
    "hba password":      OUTCOMES["plain"],
    "hba scram-sha-256": OUTCOMES["scram-sha-256"],
    "hba pam":           OUTCOMES["pam"],
    "hba ldap":          OUTCOMES["ldap"],
})
NEVER = ("28P01",) * 6
# An md5 hash cannot answer SCRAM, and the client is not told that this is why.
EXCEPTIONS = {("scram-sha-256", "md5"): NEVER, ("hba scram-sha-256", "md5"): NEVER}

# The first thing that the client is asked: the code in the first Authentication message.
ASKED = {"plain": 3, "hba password": 3, "pam": 3, "ldap": 3, "hba pam": 3, "hba ldap": 3,
         "scram-sha-256": 10, "hba scram-sha-256": 10}
ASKED_FOR_MD5 = {"plain": 5, "md5": 5, "scram": 10}

KINDS = ("plain", "md5", "scram")
SOURCES = ("auth_file", "auth_query")

Login = collections.namedtuple("Login", "user database password")


def login_of(case, method):
    suffix = "_" + method[4:] if method.startswith("hba ") else ""
    user, database, password = "known", "app" + suffix, PASSWORD
    if case == "wrong":
        password = "wrong"
    elif case == "empty":
        password = ""
    elif case == "unknown user":
        user = "stranger"
    elif case == "unknown database":
        database = "nosuch" + suffix
    elif case == "expired":
        user = "expired"
    return Login(user, database, password)


def secret_of(user, kind):
    if kind == "plain":
        return PASSWORD
    return md5_secret(user, PASSWORD) if kind == "md5" else scram_secret(PASSWORD)


@pytest.fixture(scope="module")
def vouchers():
    people = {name: PASSWORD for name in ("known", "expired")}
    pam, slapd = Pam(people), Slapd(people)
    yield pam, slapd
    pam.close()
    slapd.close()


def store(cluster, kind):
    """The secrets that auth_query finds, in a table of their own: pg_authid has no plain ones."""
    cluster.rows("DROP TABLE IF EXISTS secrets", "app")
    cluster.rows("CREATE TABLE secrets (name text, secret text, valid_until timestamptz)", "app")
    for user, until in (("known", "infinity"), ("expired", "2001-02-03"), ("other", "infinity")):
        cluster.rows(f"INSERT INTO secrets VALUES ('{user}', '{secret_of(user, kind)}', '{until}')", "app")


def new_pooler(cluster, vouchers, kind, source):
    pam, slapd = vouchers
    settings = {"auth_pam_confdir": pam.confdir, "auth_ldap_options": slapd.bind}
    userlist = {"admin": secret_of("admin", kind)}
    if source == "auth_file":
        userlist["known"] = secret_of("known", kind)
    else:
        store(cluster, kind)
        settings.update(auth_user="postgres", auth_dbname="app", auth_query=(
            "SELECT name, CASE WHEN valid_until < now() THEN NULL ELSE secret END"
            " FROM public.secrets WHERE name = $1"))
    databases = {name: {"dbname": "app", "user": "app"} for name in ["app"] + [f"app_{m}" for m in HBA_METHODS]}
    pooler = Pooler(cluster, databases=databases, userlist=userlist, start=False, auth_type="md5", **settings)
    pooler.settings["auth_hba_file"] = pooler.write_file("hba", "".join(
        f"host app_{m},nosuch_{m} all 127.0.0.1/32 {m} {slapd.bind if m == 'ldap' else ''}\n" for m in HBA_METHODS))
    pooler.write()
    return pooler.start()


class Front:
    """A pooler with one kind of secret from one source."""

    def __init__(self, cluster, vouchers, kind, source):
        self.kind, self.source = kind, source
        self.pooler = new_pooler(cluster, vouchers, kind, source)

    def use(self, method):
        """By SIGHUP: with some of the methods nobody gets into the console."""
        pooler, auth_type = self.pooler, "hba" if method.startswith("hba ") else method
        if pooler.settings["auth_type"] != auth_type:
            pooler.hang_up(auth_type=auth_type)
        return pooler


@pytest.fixture(scope="module", params=[(kind, source) for kind in KINDS for source in SOURCES], ids="-".join)
def front(request, cluster, vouchers):
    front = Front(cluster, vouchers, *request.param)
    yield front
    front.pooler.close()


@pytest.mark.parametrize("method", OUTCOMES)
def test_outcomes(front, method):
    pooler, kind = front.use(method), front.kind
    expected = dict(zip(CASES, EXCEPTIONS.get((method, kind), OUTCOMES[method])))
    if front.source == "auth_file":
        del expected["expired"]  # the file does not know of such a thing
    attempts = {}
    for case in expected:
        login = login_of(case, method)
        attempts[case] = pooler.attempt(login.password, login.user, login.database)
    assert {case: attempt.outcome for case, attempt in attempts.items()} == expected

    # Asked for the same thing, whoever it is.
    asked = ASKED_FOR_MD5[kind] if method in ("md5", "hba md5") else ASKED.get(method)
    if asked is not None:
        assert {case: a.codes[:1] for case, a in attempts.items()} == {case: [asked] for case in attempts}
    # What is there and what is not is told to those who are in only.
    if "in" in expected.values() and expected["wrong"] != "in":
        login = login_of("unknown database", method)
        for password in ("wrong", ""):
            missing = pooler.attempt(password, login.user, login.database)
            known = attempts["wrong" if password else "empty"]
            assert missing.looks(login.user) == known.looks("known")
        assert attempts["unknown database"].error["M"] == f"no such database: {login.database}"


@pytest.mark.parametrize("method", [m for m in OUTCOMES if m not in ("any", "trust", "hba trust")])
def test_strangers_and_expired_look_like_wrong_passwords(front, method):
    pooler = front.use(method)
    database = login_of("wrong", method).database
    for password in ("wrong", ""):
        known = pooler.attempt(password, "known", database).looks("known")
        for user in ("stranger", "expired"):
            assert pooler.attempt(password, user, database).looks(user) == known
    if not method.endswith(("pam", "ldap", "reject")):
        # The right password of one who may not come in is as good as a wrong one.
        right = pooler.attempt(PASSWORD, "expired", database)
        assert right.looks("expired") == pooler.attempt("wrong", "known", database).looks("known")
