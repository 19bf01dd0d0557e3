"""PAM and LDAP: others check the password, in processes of their own; and what becomes of logins when those block."""

import contextlib
import os
import signal

import pytest

from harness.pooler import assert_error
from harness.system import eventually, free_port
from harness.vouchers import Pam, Slapd

PEOPLE = {"app": "öne password", "other": "anöther", "alice": "in wonderland", "quoted": "a \\ \" ' b"}
CLOSED = {"closed_one": "found by the reader only"}
PROCESSES = 4  # that are asked at the same time


@pytest.fixture
def pam():
    pam = Pam(PEOPLE)
    yield pam
    pam.close()


@pytest.fixture(scope="module")
def directory():
    slapd = Slapd(PEOPLE, CLOSED)
    yield slapd
    slapd.close()


@pytest.fixture
def slapd(directory):
    if directory.process is None:
        directory.start()
    return directory


def by_pam(make_pooler, pam, **settings):
    settings.setdefault("databases", {"app": {"user": "app"}})
    settings.setdefault("userlist", {"admin": ""})
    return make_pooler(auth_type="pam", auth_pam_confdir=pam.confdir, **settings)


def by_ldap(make_pooler, options, **settings):
    settings.setdefault("databases", {"app": {"user": "app"}})
    settings.setdefault("userlist", {"admin": ""})
    return make_pooler(auth_type="ldap", auth_ldap_options=options, **settings)


def by_rules(make_pooler, rules, **settings):
    settings.setdefault("databases", {"app": {"user": "app"}})
    pooler = make_pooler(auth_type="hba", start=False, userlist={"app": "stored", "admin": ""}, **settings)
    pooler.settings["auth_hba_file"] = pooler.write_file("hba", "host pgbouncer admin all trust\n" + rules)
    pooler.write()
    return pooler.start()


def refused(pooler, text, password, user="app"):
    error = pooler.attempt(password, user).error
    assert_error(error, text, "28000")
    return error


@contextlib.contextmanager
def asked(pooler, count, password=PEOPLE["app"]):
    """Clients that have given their password and wait for the verdict."""
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(pooler.raw()) for _ in range(count)]
        for w in wires:
            w.startup({"user": "app", "database": "app"})
            w.recv()
            w.send("p", password.encode() + b"\0")
        yield wires


def helpers(pooler):
    return pooler.children()


# PAM

def test_pam(make_pooler, pam):
    pooler = by_pam(make_pooler, pam)
    for user, password in PEOPLE.items():
        attempt = pooler.attempt(password, user)
        assert (attempt.outcome, attempt.codes) == ("in", [3, 0])
        refused(pooler, "PAM authentication failed", password + " ", user)
    refused(pooler, "PAM authentication failed", "x", "stranger")
    refused(pooler, "PAM authentication failed", "x", "../passwords/app")


def test_pam_never_hears_an_empty_password(make_pooler, pam):
    pooler = by_pam(make_pooler, pam)
    assert_error(pooler.attempt("").error, "empty password returned by client", "28P01")
    assert pam.asked == []


def test_pam_service_that_denies(make_pooler, pam):
    pooler = by_rules(make_pooler, "host all other all pam\nhost all all all pam pamservice=deny\n",
                      auth_pam_confdir=pam.confdir)
    refused(pooler, "PAM authentication failed", PEOPLE["app"])
    assert pooler.attempt(PEOPLE["other"], "other").outcome == "in"


def test_pam_account_that_is_closed(make_pooler, pam):
    """The password is right, but the account may not be used: the second half of PAM."""
    pam.service("pgbouncer", f"auth required pam_exec.so quiet expose_authtok {pam.directory}/check",
                "account required pam_deny.so")
    refused(by_pam(make_pooler, pam), "PAM authentication failed", PEOPLE["app"])


def test_pam_service_that_does_not_exist(make_pooler, pam):
    pooler = by_rules(make_pooler, "host all all all pam pamservice=nosuch\n", auth_pam_confdir=pam.confdir)
    refused(pooler, "PAM authentication failed", PEOPLE["app"])
    assert pooler.alive()


def test_pam_stored_secret_is_not_a_password(make_pooler, pam):
    pooler = by_pam(make_pooler, pam, userlist={"app": "stored", "admin": ""})
    refused(pooler, "PAM authentication failed", "stored")


def test_pam_module_that_crashes(make_pooler, pam):
    """What is wrong with a module kills the process that it runs in, and the next login gets another."""
    pooler = by_pam(make_pooler, pam)
    pam.hold()
    with asked(pooler, 1) as (w,):
        process, = eventually(lambda: helpers(pooler), "a helper process")
        eventually(lambda: pam.asked, "PAM is asked")
        os.kill(process, signal.SIGKILL)
        message = w.recv()
        assert message.type == "E" and b"PAM authentication failed" in message.body and b"28000" in message.body
    pam.release()
    assert pooler.attempt(PEOPLE["app"]).outcome == "in"
    eventually(lambda: process not in helpers(pooler), "the dead process is reaped")


def test_idle_helper_that_is_killed(make_pooler, pam):
    pooler = by_pam(make_pooler, pam)
    for _ in range(3):
        assert pooler.attempt(PEOPLE["app"]).outcome == "in"
        for process in helpers(pooler):
            os.kill(process, signal.SIGKILL)
        eventually(lambda: helpers(pooler) == [], "the dead processes are reaped")
    assert pooler.attempt(PEOPLE["app"]).outcome == "in"


def test_nobody_else_waits_for_pam(make_pooler, pam):
    pooler = by_rules(make_pooler, "host all all 127.0.0.2/32 md5\nhost all all all pam\n",
                      auth_pam_confdir=pam.confdir)
    with pooler.wire(password=PEOPLE["app"]) as w:
        pam.hold()
        with asked(pooler, PROCESSES + 3) as waiting:
            assert w.value("SELECT 1") == "1"
            assert pooler.attempt("stored", source="127.0.0.2").outcome == "in"
            assert len(helpers(pooler)) <= PROCESSES
            pam.release()
            assert [v.finish_login("app") for v in waiting] == [None] * len(waiting)


def test_queue_is_bounded(make_pooler, pam):
    pooler = by_pam(make_pooler, pam, auth_helper_queue=2)
    pam.hold()
    with asked(pooler, PROCESSES) as working:
        eventually(lambda: len(pam.asked) == PROCESSES, "all processes are at work")
        with asked(pooler, 5) as more:
            # Two may wait; the other three are told at once.
            assert [v.recv().type for v in more[2:]] == ["E"] * 3
            pam.release()
            assert [v.finish_login("app") for v in working + more[:2]] == [None] * (PROCESSES + 2)
    assert pooler.attempt(PEOPLE["app"]).outcome == "in"


def test_clients_that_leave_while_pam_is_asked(make_pooler, pam):
    pooler = by_pam(make_pooler, pam)
    pam.hold()
    with asked(pooler, PROCESSES + 4) as waiting:
        for w in waiting[1:]:
            w.reset()
        pam.release()
        assert waiting[0].finish_login("app") is None
    assert pooler.attempt(PEOPLE["app"]).outcome == "in"


def test_pam_that_takes_too_long(make_pooler, pam):
    pooler = by_pam(make_pooler, pam, client_login_timeout=1)
    pam.hold()
    with asked(pooler, 1) as (w,):
        assert w.recv().type == "E"
    pam.release()
    assert pooler.attempt(PEOPLE["app"]).outcome == "in"


def test_helpers_end_with_the_pooler(make_pooler, pam):
    pooler = by_pam(make_pooler, pam)
    assert pooler.attempt(PEOPLE["app"]).outcome == "in"
    processes = helpers(pooler)
    assert processes
    pooler.stop()
    eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in processes), "the helpers are gone")


def test_helpers_hold_no_connections(make_pooler, pam):
    """A client that the pooler closes is closed, though processes were forked while it was there."""
    pooler = by_pam(make_pooler, pam)
    with pooler.wire(password=PEOPLE["app"]) as w:
        assert pooler.attempt(PEOPLE["other"], "other").outcome == "in"
        for process in helpers(pooler):
            sockets = [os.readlink(f"/proc/{process}/fd/{fd}") for fd in os.listdir(f"/proc/{process}/fd")]
            assert len([s for s in sockets if s.startswith("socket:")]) == 1, sockets
        assert w.value("SELECT 1") == "1"


# LDAP

def searches(slapd):
    server = f"ldapserver=127.0.0.1 ldapport={slapd.port} ldapbasedn=\"ou=people,dc=example,dc=net\""
    url = f"ldap://127.0.0.1:{slapd.port}/"
    reader = f"ldapbinddn=\"cn=reader,dc=example,dc=net\" ldapbindpasswd=\"{slapd.reader_password}\""
    return {
        "simple bind": slapd.bind,
        "search": server + " ldapsearchattribute=uid",
        "search by uid, the default": server,
        "search by filter": server + " ldapsearchfilter=\"(&(objectClass=inetOrgPerson)(uid=$username))\"",
        "search as reader": server + " ldapsearchattribute=uid " + reader,
        "url": f"ldapurl=\"{url}dc=example,dc=net?uid?sub\"",
        "url, one level": f"ldapurl=\"{url}ou=people,dc=example,dc=net?uid?one\"",
        "url with filter": f"ldapurl=\"{url}dc=example,dc=net??sub?(cn=$username)\"",
        "url and prefix": f"ldapurl=\"{url}\" ldapprefix=\"uid=\" ldapsuffix=\",ou=people,dc=example,dc=net\"",
        "second server": (f"ldapserver=\"127.0.0.9 127.0.0.1\" ldapport={slapd.port} ldapprefix=\"uid=\""
                          " ldapsuffix=\",ou=people,dc=example,dc=net\""),
    }


@pytest.mark.parametrize("how", list(searches(type("", (), {"port": 0, "bind": "", "reader_password": ""}))))
def test_ldap(make_pooler, slapd, how):
    pooler = by_ldap(make_pooler, searches(slapd)[how])
    for user, password in PEOPLE.items():
        attempt = pooler.attempt(password, user)
        assert (attempt.outcome, attempt.codes) == ("in", [3, 0])
    refused(pooler, "LDAP authentication failed", "wrong")
    refused(pooler, "LDAP authentication failed", PEOPLE["other"])
    wrong = pooler.attempt("wrong", "alice").looks("alice")
    for stranger in ("stranger", "*", "a*", "alice)(uid=*", "alice,ou=people", "al\\ice"):
        assert pooler.attempt(PEOPLE["alice"], stranger).looks(stranger) == wrong
    assert_error(pooler.attempt("", "alice").error, "empty password returned by client", "28P01")


def test_ldap_rule(make_pooler, slapd):
    pooler = by_rules(make_pooler, f"host all other all md5\nhost all all all ldap {slapd.bind}  # a comment\n")
    assert pooler.attempt(PEOPLE["app"]).outcome == "in"
    refused(pooler, "LDAP authentication failed", "stored")


def test_ldap_reader_sees_more(make_pooler, slapd):
    """Without its password nobody is found, so nobody is let in."""
    server = (f"ldapserver=127.0.0.1 ldapport={slapd.port} ldapbasedn=\"ou=closed,dc=example,dc=net\""
              " ldapbinddn=\"cn=reader,dc=example,dc=net\" ldapbindpasswd=")
    user, password = next(iter(CLOSED.items()))
    pooler = by_ldap(make_pooler, f"{server}\"{slapd.reader_password}\"")
    assert pooler.attempt(password, user).outcome == "in"
    pooler.hang_up(auth_ldap_options=f"{server}wrong")
    refused(pooler, "LDAP authentication failed", password, user)
    assert "wrong" not in pooler.log().replace("authentication", "")


def test_ldap_filter_that_finds_several(make_pooler, slapd):
    pooler = by_ldap(make_pooler, f"ldapserver=127.0.0.1 ldapport={slapd.port} ldapbasedn=\"dc=example,dc=net\""
                                  " ldapsearchfilter=\"(|(uid=$username)(uid=alice))\"")
    refused(pooler, "LDAP authentication failed", PEOPLE["app"])
    assert pooler.attempt(PEOPLE["alice"], "alice").outcome == "in"


def test_ldap_server_is_dead(make_pooler, slapd):
    pooler = by_ldap(make_pooler, slapd.bind)
    assert pooler.attempt(PEOPLE["app"]).outcome == "in"
    slapd.stop()
    refused(pooler, "LDAP authentication failed", PEOPLE["app"])
    slapd.start()
    assert pooler.attempt(PEOPLE["app"]).outcome == "in"


def test_ldap_server_never_was_there(make_pooler):
    pooler = by_ldap(make_pooler, f"ldapserver=127.0.0.1 ldapport={free_port()} ldapprefix=uid= ldapsuffix=,dc=x")
    refused(pooler, "LDAP authentication failed", "x")


def test_ldap_server_is_frozen(make_pooler, slapd):
    """Logins fail in their time; others go on meanwhile."""
    pooler = by_rules(make_pooler, f"host all all 127.0.0.2/32 md5\nhost all all all ldap {slapd.bind}\n",
                      client_login_timeout=1)
    slapd.process.send_signal(signal.SIGSTOP)
    try:
        with asked(pooler, 2) as waiting:
            assert pooler.attempt("stored", source="127.0.0.2").outcome == "in"
            assert [w.recv().type for w in waiting] == ["E", "E"]
    finally:
        slapd.process.send_signal(signal.SIGCONT)
    eventually(lambda: pooler.attempt(PEOPLE["app"]).outcome == "in", "in again", timeout=10, every=0.2)


def test_ldap_password_opens_the_server(make_pooler, pg, slapd):
    """The directory and the server know the same password: it is used as the server demands."""
    pg.make_role("alice", PEOPLE["alice"], "demand_scram")
    pooler = by_ldap(make_pooler, slapd.bind, databases={"app": {}})
    with pooler.wire(user="alice", password=PEOPLE["alice"]) as w:
        assert w.value("SELECT current_user") == "alice"


@pytest.mark.parametrize("options, says", [
    ("ldapserver=127.0.0.1 ldapprfix=x", "accepted"),
    ("ldapport=70000 ldapserver=x ldapprefix=y", "ldapport"),
    ("ldapserver=x ldapprefix=y ldapbasedn=z", ""),
    ("ldapserver=\"x ldapprefix=y", "quote"),
    ("", ""),
])
def test_ldap_options_that_are_wrong(make_pooler, options, says):
    pooler = by_ldap(make_pooler, options, start=False)
    ended = pooler.run(pooler.ini)
    assert ended.returncode == 1 and "ldap" in ended.stderr and says in ended.stderr
