"""What the memory of the running processes holds of passwords: nothing that is not needed any more."""

import base64
import contextlib
import os
import re

import pytest

from harness.http import Http
from harness.pooler import has_sanitizers, is_pgbouncer
from harness.system import eventually, free_port
from harness.vouchers import Pam, Slapd
from harness.wire import md5_secret, scram_secret

pytestmark = [
    pytest.mark.skipif(is_pgbouncer(), reason="PgBouncer does not wipe what it has used"),
    pytest.mark.skipif(has_sanitizers(), reason="AddressSanitizer keeps what has been freed, and terabytes to search"),
    pytest.mark.skipif(os.getuid() != 0, reason="only root may read the memory of a process that leaves no core dump"),
]


def memory(pid):
    """All that a process may write, region by region."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            start, end, mode, name = re.match(r"(\w+)-(\w+) (\S+) \S+ \S+ \S+ *(.*)", line).groups()
            if not mode.startswith("rw") or name.startswith("[v"):
                continue
            position, end = int(start, 16), int(end, 16)
            while position < end:
                n = min(end - position, 1 << 24)
                try:
                    yield name, position, os.pread(mem.fileno(), n, position)
                except OSError:
                    pass  # unmapped meanwhile
                position += n


def places(pid, text):
    """Where a process has it, with a little of what is around."""
    found = []
    for name, start, data in memory(pid):
        at = data.find(text)
        while at >= 0:
            found.append((name, hex(start + at), data[max(0, at - 40):at + len(text) + 40]))
            at = data.find(text, at + 1)
    return found


def told_of(pooler, password):
    """Where pooler and helpers have it, or its Base64, which HTTP carries."""
    password = password.removeprefix(LONG)
    texts = [password.encode()]
    texts += [base64.b64encode(b"x" * shift + password.encode())[4:-4] for shift in range(3)]
    return [(pid, place) for pid in [pooler.pid, *pooler.children()] for text in texts for place in places(pid, text)]


def assert_forgotten(pooler, password):
    """Clients are answered before the turn is over in which it is wiped; nothing else happens meanwhile."""
    try:
        eventually(lambda: not told_of(pooler, password), timeout=5)
    except AssertionError:
        assert told_of(pooler, password) == []


@pytest.fixture
def login(make_pooler):
    """Logs somebody in, who stays while the memory is looked at."""
    def attempt(pooler, user, password, **kwargs):
        with pooler.connect(user=user, password=password, **kwargs):
            assert_forgotten(pooler, password)
        assert_forgotten(pooler, password)
    return attempt


FORCED = {"app": {"user": "app"}}


LONG = "x" * 400  # in front: the messages that follow do not write over the end


def test_the_search_finds_what_has_to_stay(make_pooler):
    """A plain secret of auth_file answers a server's question for a password: it is kept, and found here."""
    pooler = make_pooler(userlist={"app": "Zq-kept-in-userlist-41"})
    assert places(pooler.pid, b"Zq-kept-in-userlist-41")


@pytest.mark.parametrize("stored", [md5_secret, lambda user, password: scram_secret(password)],
                         ids=["md5 secret", "scram secret"])
def test_password_in_the_clear_is_forgotten(make_pooler, login, stored):
    password = LONG + "Zq-cleartext-password-7130"
    pooler = make_pooler(start=False, auth_type="hba", databases=FORCED, userlist={"plain": stored("plain", password)})
    pooler.settings["auth_hba_file"] = pooler.write_file(
        "hba", "host pgbouncer all all trust\nhost all all all password\n")
    pooler.write()
    login(pooler.start(), "plain", password)


def test_password_of_a_refused_login_is_forgotten(make_pooler):
    password = LONG + "Zq-mistyped-password-8181"
    pooler = make_pooler(start=False, auth_type="hba", databases=FORCED,
                         userlist={"plain": scram_secret("something else")})
    pooler.settings["auth_hba_file"] = pooler.write_file(
        "hba", "host pgbouncer all all trust\nhost all all all password\n")
    pooler.write()
    assert pooler.start().attempt(password, "plain").outcome == "28P01"
    assert_forgotten(pooler, password)


def test_password_in_pieces_is_forgotten(make_pooler):
    """What had come of it was kept until the rest was there."""
    password = LONG + "Zq-password-in-two-pieces-2217"
    pooler = make_pooler(start=False, auth_type="hba", databases=FORCED,
                         userlist={"plain": scram_secret(password)})
    pooler.settings["auth_hba_file"] = pooler.write_file(
        "hba", "host pgbouncer all all trust\nhost all all all password\n")
    pooler.write()
    pooler.start()
    with pooler.raw() as w:
        w.startup({"user": "plain", "database": "app"})
        assert w.recv().type == "R"
        body = password.encode() + b"\0"
        message = b"p" + (len(body) + 4).to_bytes(4, "big") + body
        w.send_raw(message[:-3])
        eventually(lambda: places(pooler.pid, password[len(LONG):-3].encode()), "the first piece is there")
        w.send_raw(message[-3:])
        assert w.recv().type == "R"
        assert_forgotten(pooler, password[:-3])


def test_password_over_tls_is_forgotten(make_pooler, login, certs):
    password = LONG + "Zq-password-over-tls-5520"
    pooler = make_pooler(start=False, auth_type="hba", databases=FORCED, userlist={"plain": scram_secret(password)},
                         **certs.for_clients())
    pooler.settings["auth_hba_file"] = pooler.write_file("hba", "local all all trust\nhost all all all password\n")
    pooler.write()
    login(pooler.start(), "plain", password, sslmode="require")


VOUCHERS = {
    "pam": (Pam, lambda pam: {"auth_pam_confdir": pam.confdir}),
    "ldap": (Slapd, lambda slapd: {"auth_ldap_options": slapd.bind}),
}


@pytest.mark.parametrize("method", VOUCHERS)
def test_password_that_others_check_is_forgotten(make_pooler, login, method):
    """By the pooler; those who check it run in processes of their own, which end with the login."""
    password = LONG + f"Zq-password-for-{method}-9934"
    make_voucher, settings = VOUCHERS[method]
    with contextlib.closing(make_voucher({"plain": password})) as voucher:
        login(make_pooler(auth_type=method, databases=FORCED, userlist={}, **settings(voucher)), "plain", password)


def test_password_over_http_is_forgotten(make_pooler):
    password = "Zq-password-over-http-6671"
    port = free_port()
    pooler = make_pooler(http_listen_addr="127.0.0.1", http_port=port, userlist={"admin": scram_secret(password)})
    with Http(port, login=("admin", password)) as http:
        assert http.json("/api/session")["user"] == "admin"
    eventually(lambda: not told_of(pooler, password), "the connection and what it carried are gone")


def test_password_that_a_reload_has_replaced_is_forgotten(make_pooler):
    old = {"userlist": "Zq-old-userlist-secret-1", "databases": "Zq-old-database-secret-2",
           "settings": "Zq-old-reader-secret-3"}
    options = "ldapserver=127.0.0.1 ldapbasedn=x ldapbinddn=y ldapbindpasswd={}"
    pooler = make_pooler(databases={"app": {}, "forced": {"user": "app", "password": old["databases"]}},
                         userlist={"app": old["userlist"]}, auth_ldap_options=options.format(old["settings"]))
    assert all(places(pooler.pid, password.encode()) for password in old.values())
    pooler.databases["forced"]["password"] = "x"
    pooler.userlist["app"] = "y"
    assert pooler.reload(auth_ldap_options=options.format("z")).error is None
    for password in old.values():
        assert_forgotten(pooler, password)
