"""
What has gone wrong in poolers before, by its number, and the tests that would notice it here.

CLASSES is the list. Tests that belong to no other theme are in this file.
"""

import ast
import collections
import contextlib
import os
import re
import socket
import struct
import subprocess
import sys
import time

import pytest

from harness.pooler import assert_error, has_sanitizers
from harness.system import eventually, free_port, give_away, run
from harness.wire import (SSL_REQUEST, Closed, FakeServer, Scram, cstring, extended, md5_secret, packet, query,
                          scram_secret, sync)

PASSWORD = "right password"

# what: the fault, as it was elsewhere. tests: those that fail where it is, as file::name; "" is this file.
Class = collections.namedtuple("Class", "what tests")

CLASSES = {
    "CVE-2012-4575": Class("a database name that is too long ends the program", [
        "::test_a_name_of_any_length_harms_only_its_client",
        "test_protocol::test_malformed_startup"]),
    "CVE-2015-4054": Class("a password before the startup packet ends the program", [
        "::test_a_password_before_anything_else_is_an_error",
        "test_messages_of_clients::test_whatever_a_client_says_is_its_own_affair"]),
    "CVE-2015-6817": Class("one whom auth_query does not find is let in as auth_user", [
        "::test_whom_auth_query_does_not_find_is_nobody",
        "test_auth_matrix::test_outcomes",
        "test_auth_query::test_strangers_look_as_those_who_are_found"]),
    "CVE-2021-3935": Class("bytes in the clear behind a client's SSLRequest are taken for encrypted", [
        "test_tls_clients::test_bytes_in_the_clear_behind_a_request",
        "test_tls_clients::test_bytes_in_the_clear_instead_of_a_handshake",
        "test_tls_clients::test_direct",
        "test_protocol::test_bytes_after_a_declined_ssl_request_are_not_taken_for_encrypted"]),
    "CVE-2021-43766": Class("the same, in Odyssey, from the client", [
        "test_tls_clients::test_bytes_in_the_clear_behind_a_request"]),
    "CVE-2021-43767": Class("bytes in the clear behind a server's S are taken for encrypted", [
        "test_tls_servers::test_wrong_answers_to_the_request",
        "test_tls_servers::test_bytes_in_the_clear_behind_the_answer"]),
    "CVE-2025-2291": Class("auth_query ignores VALID UNTIL", [
        "test_auth_query::test_expires_while_the_pooler_runs",
        "test_auth_query::test_those_who_may_not_come_in_all_look_the_same",
        "::test_an_expired_role_is_refused_though_its_secret_was_kept"]),
    "CVE-2025-12819": Class("a client's search_path holds for auth_query", [
        "test_auth_query::test_traps_work",
        "test_auth_query::test_clients_search_path_does_not_reach_it",
        "test_auth_query::test_search_path_of_the_role_and_database_does_not_either"]),
    "CVE-2026-6664": Class("lengths that overflow, malformed SCRAM before the login", [
        "::test_malformed_scram_is_an_error",
        "test_auth::test_garbage_instead_of_a_password",
        "test_messages_of_clients::test_whatever_a_client_says_is_its_own_affair"]),
    "CVE-2026-6665": Class("a hostile server's long nonce overflows the stack", [
        "::test_a_hostile_scram_challenge_is_an_error",
        "test_messages_of_servers::test_whatever_a_server_says_is_for_one_client_alone"]),
    "CVE-2026-6666": Class("an ErrorResponse without SQLSTATE ends the program", [
        "::test_errors_with_any_fields_do_no_harm",
        "test_messages_of_servers::test_whatever_a_server_says_is_for_one_client_alone"]),
    "CVE-2026-6667": Class("a command that asks for no rights", [
        "test_commands::test_every_command_is_for_those_whom_the_table_names",
        "test_commands::test_a_stats_user_has_changed_nothing_with_all_of_it",
        "test_commands::test_who_is_neither_gets_no_console",
        "test_http::test_commands_are_for_admins"]),
    "CVE-2023-22332": Class("a SHOW tells a password", [
        "test_secrets::test_nothing_tells_a_secret",
        "test_console::test_fds_have_no_secrets",
        "test_http::test_secrets_are_not_told"]),
    "CVE-2024-45624": Class("a result is kept across roles", [
        "::test_one_role_never_sees_what_another_was_answered"]),
    "CVE-2025-46801": Class("a way around the password: an empty one, a weaker method, the next rule", [
        "test_auth_matrix::test_outcomes",
        "test_auth::test_a_user_without_a_secret_cannot_log_in",
        "test_pam_ldap::test_pam_never_hears_an_empty_password",
        "test_hba::test_the_first_that_matches_holds",
        "test_hba::test_without_a_rule_nobody_comes_in",
        "test_tls_clients::test_channel_binding",
        "test_scram_passthrough::test_scram_keys_do_not_answer_other_questions",
        "::test_a_server_that_skips_its_part_of_scram_is_not_believed"]),
    "CVE-2024-10977": Class("an error in the clear instead of TLS is believed and passed on", [
        "test_tls_servers::test_wrong_answers_to_the_request"]),
    "PgBouncer 1.15": Class("whether a user exists can be told", [
        "test_auth::test_unknown_user_looks_like_a_wrong_password",
        "test_auth::test_scram_salt_of_an_unknown_user_is_stable",
        "test_auth_matrix::test_strangers_and_expired_look_like_wrong_passwords",
        "::test_a_stranger_costs_as_much_work_as_a_wrong_password"]),
    "PgBouncer 1.17": Class("who has not logged in hears of databases and servers", [
        "test_auth::test_unknown_database_is_told_only_to_those_who_may_know",
        "::test_nobody_hears_of_servers_before_he_has_logged_in"]),
    "PgBouncer #1461": Class("one user's secret logs in another", [
        "test_scram_passthrough::test_forced_user_does_not_use_what_a_client_proved",
        "test_scram_passthrough::test_forced_users_password_is_not_the_clients",
        "test_scram_passthrough::test_reused_name",
        "test_auth_query::test_databases_that_know_different_verifiers"]),
    "PgBouncer #717": Class("a cancel request hits a later client's query", [
        "test_cancel::test_a_race_of_thousands_of_cancels_hits_nobody_elses_query",
        "test_abandoned::test_no_reset_query_while_a_cancel_request_is_under_way"]),
    "PgBouncer #1407": Class("a startup packet with something behind its end is taken", [
        "test_protocol::test_malformed_startup"]),
    "PgBouncer #418": Class("a session's lock goes to somebody else", [
        "test_leak_matrix::test_nothing_is_found_but_what_the_document_says"]),
    "A7.1": Class("a parameter that could not be set is left as the last client had it", [
        "test_params::test_startup_value_on_every_server",
        "test_params::test_nothing_stays_for_the_next_client",
        "test_regressions::test_refused_parameter_takes_back_those_before_it"]),
    "states and messages": Class("any message in any state, from either side", [
        "test_messages_of_clients::test_whatever_a_client_says_is_its_own_affair",
        "test_messages_of_servers::test_whatever_a_server_says_is_for_one_client_alone"]),
    "leaks between clients": Class("state of a session, in any mode, on any way to let go of it", [
        "test_leak_matrix::test_nothing_is_found_but_what_the_document_says",
        "test_leak_steps::test_no_value_of_one_client_is_seen_by_another"]),
    "bounds": Class("what one who has not logged in, or does not read, can make grow", [
        "test_hba::test_those_who_wait_to_be_told_hold_nothing",
        "test_timeouts::test_client_login_timeout_counts_the_whole_login",
        "test_big::test_a_client_that_does_not_read",
        "test_big::test_a_client_that_pipelines_while_it_waits_for_a_server",
        "test_regressions::test_console_client_that_does_not_read_is_not_read_from",
        "test_idle_pools::test_users_of_whom_nothing_is_left_go"]),
    "reload": Class("a configuration that is wrong opens a door", [
        "test_commands::test_a_reload_that_fails_changes_nothing_and_names_file_line_and_key",
        "test_hba::test_bad_line_refuses_the_reload",
        "test_tls_reload::test_what_cannot_be_used_leaves_the_old_in_place",
        "::test_a_reload_that_fails_lets_nobody_in"]),
}

HERE = os.path.dirname(os.path.abspath(__file__))
THIS = os.path.splitext(os.path.basename(__file__))[0]


def named():
    """(file, name) of all tests in the list."""
    for entry in CLASSES.values():
        for test in entry.tests:
            file, _, name = test.partition("::")
            yield file or THIS, name


@pytest.mark.parametrize("number", CLASSES)
def test_each_class_has_its_tests(number):
    """They are defined, once, where pytest looks for tests."""
    entry = CLASSES[number]
    assert entry.what and entry.tests
    for test in entry.tests:
        file, _, name = test.partition("::")
        with open(os.path.join(HERE, f"{file or THIS}.py")) as f:
            defined = [node.name for node in ast.parse(f.read()).body if isinstance(node, ast.FunctionDef)]
        assert defined.count(name) == 1 and name.startswith("test_"), test


def test_the_tests_of_all_classes_are_collected():
    files = sorted({os.path.join(HERE, f"{file}.py") for file, _ in named()})
    done = run([sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files], cwd=HERE)
    collected = {(os.path.splitext(os.path.basename(file))[0], name)
                 for file, name in re.findall(r"^(\S+\.py)::(\w+)", done.stdout, re.MULTILINE)}
    assert set(named()) - collected == set(), done.stdout[-2000:]


def test_every_test_of_this_file_is_in_the_list():
    with open(__file__) as f:
        defined = {node.name for node in ast.parse(f.read()).body
                   if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}
    about_the_list = {"test_each_class_has_its_tests", "test_the_tests_of_all_classes_are_collected",
                      "test_every_test_of_this_file_is_in_the_list"}
    assert {name for file, name in named() if file == THIS} == defined - about_the_list


def assert_serves(pooler):
    with pooler.wire() as w:
        assert w.value("SELECT 'alive'") == "alive"


# What clients say

LENGTHS = (64, 127, 128, 255, 256, 1000, 4096, 9000, 10000, 32767, 65535, 65536)


@pytest.mark.parametrize("auth_type", ["trust", "scram-sha-256"])
def test_a_name_of_any_length_harms_only_its_client(make_pooler, auth_type):
    pooler = make_pooler(databases={"app": {"user": "app"}, "*": {}}, auth_type=auth_type,
                         userlist={"app": PASSWORD, "admin": ""})
    for length in LENGTHS:
        for user, database in (("app", "d" * length), ("u" * length, "app"), ("u" * length, "d" * length)):
            with pooler.raw() as w:
                w.startup({"user": user, "database": database})
                assert "Z" not in heard_to_the_end(w)
    with pooler.wire("app", "app", PASSWORD) as w:
        assert w.value("SELECT 'alive'") == "alive"
    if auth_type == "trust":  # where anybody gets to the console
        assert not any(len(row["name"]) > 63 for row in pooler.admin("SHOW DATABASES"))


@pytest.mark.parametrize("before", [b"", packet("", struct.pack("!I", SSL_REQUEST))], ids=["first", "SSLRequest"])
def test_a_password_before_anything_else_is_an_error(make_pooler, before):
    pooler = make_pooler(userlist={"app": PASSWORD, "admin": ""})
    for body in (b"", cstring(PASSWORD), cstring(md5_secret("app", PASSWORD)), b"SCRAM-SHA-256\0" + b"\0\0\0\4n,,n"):
        with pooler.raw() as w:
            if before:
                w.send_raw(before)
                assert w.read(1) == b"N"
            w.send("p", body)
            w.sock.shutdown(socket.SHUT_WR)
            assert [m.type for m in w.drain()] in ([], ["E"])
    assert_serves(pooler)


def test_whom_auth_query_does_not_find_is_nobody(make_pooler, pg):
    """Neither himself nor auth_user, nor the forced user, by any method and with any password."""
    pooler = make_pooler(databases={"app": {}, "forced": {"dbname": "app", "user": "app"}}, auth_type="md5",
                         auth_user="postgres", userlist={"postgres": PASSWORD, "admin": ""})
    for auth_type in ("plain", "md5", "scram-sha-256", "trust"):
        pooler.hang_up(auth_type=auth_type)
        for database in ("app", "forced"):
            for password in ("", PASSWORD, "postgres", "wrong"):
                assert pooler.attempt(password, "nobody_at_all", database).outcome in ("28P01", "28000")
    assert pg.rows("SELECT 1 FROM pg_stat_activity WHERE datname = 'app' AND usename = 'app'") == []


def test_malformed_scram_is_an_error(make_pooler):
    pooler = make_pooler(auth_type="scram-sha-256", userlist={"app": scram_secret(PASSWORD), "admin": ""})

    def initial(first, announced=None):
        size = len(first) if announced is None else announced
        return cstring("SCRAM-SHA-256") + struct.pack("!I", size & 0xffffffff) + first

    good = Scram(PASSWORD).first()
    firsts = [initial(good, n) for n in (-1, 0, 1, len(good) - 1, len(good) + 1, 0x7fffffff, 0x80000000)]
    firsts += [initial(b) for b in (
        b"", b"n", b"n,", b"n,,", b"n,,n", b"n,,n=", b"n,,n=,", b"n,,n=,r", b"n,,n=,r=", b"n,,m=x,n=,r=abc",
        b"n,a=x,n=,r=abc", b"n,,n=,r=" + b"x" * 1025, b"n,,n=,r=" + b"x" * 60000, b"n,,n=,r=a\0b", b"n,,n=,r=a,,,,,",
        b"\xff" * 100, b"y,,n=,r=\x7f")]
    for body in firsts:
        with pooler.raw() as w:
            w.startup({"user": "app", "database": "app"})
            w.recv()
            w.send("p", body)
            assert "Z" not in heard_to_the_end(w), body
    changes = [lambda f: b"", lambda f: f[:-1], lambda f: f + b"x", lambda f: f[:f.index(b"p=")] + b"p=",
               lambda f: f.replace(b",p=", b",x=" + b"y" * 60000 + b",p="), lambda f: f.replace(b"r=", b"r=x"),
               lambda f: f.replace(b"c=", b"c=AAAA"), lambda f: f.replace(b",p=", b"\0,p="), lambda f: b"\xff" * 5000,
               lambda f: f[:f.index(b"p=") + 2] + b"A" * 20000]
    for i, change in enumerate(changes):
        with pooler.raw() as w:
            scram = Scram(PASSWORD)
            w.startup({"user": "app", "database": "app"})
            w.recv()
            w.send("p", initial(scram.first()))
            w.send("p", change(scram.final(w.recv().body[4:])))
            assert "Z" not in heard_to_the_end(w), i
    with pooler.wire("app", "app", PASSWORD) as w:
        assert w.value("SELECT 'alive'") == "alive"


def heard_to_the_end(w):
    with contextlib.suppress(OSError):
        w.sock.shutdown(socket.SHUT_WR)
    return [m.type for m in w.drain()]


# What servers say

CHALLENGES = {
    "no nonce of ours": lambda nonce: b"r=somebody,s=c2FsdHNhbHQ=,i=4096",
    "ours alone": lambda nonce: b"r=" + nonce + b",s=c2FsdHNhbHQ=,i=4096",
    "a nonce of 1 kB": lambda nonce: b"r=" + nonce + b"x" * 1025 + b",s=c2FsdHNhbHQ=,i=4096",
    "a nonce of 9 kB": lambda nonce: b"r=" + nonce + b"x" * 9000 + b",s=c2FsdHNhbHQ=,i=4096",
    "a nonce of 60 kB": lambda nonce: b"r=" + nonce + b"x" * 60000 + b",s=c2FsdHNhbHQ=,i=4096",
    "a nonce of 900 kB": lambda nonce: b"r=" + nonce + b"x" * 900000 + b",s=c2FsdHNhbHQ=,i=4096",
    "a NUL in the nonce": lambda nonce: b"r=" + nonce + b"x\0x,s=c2FsdHNhbHQ=,i=4096",
    "no salt": lambda nonce: b"r=" + nonce + b"x,s=,i=4096",
    "a salt of 30 kB": lambda nonce: b"r=" + nonce + b"x,s=" + b"QUFB" * 10000 + b",i=4096",
    "a salt that is none": lambda nonce: b"r=" + nonce + b"x,s=!!!!,i=4096",
    "no iterations": lambda nonce: b"r=" + nonce + b"x,s=c2FsdHNhbHQ=,i=0",
    "-1 iterations": lambda nonce: b"r=" + nonce + b"x,s=c2FsdHNhbHQ=,i=-1",
    "2^31 - 1 iterations": lambda nonce: b"r=" + nonce + b"x,s=c2FsdHNhbHQ=,i=2147483647",
    "2^32 + 1 iterations": lambda nonce: b"r=" + nonce + b"x,s=c2FsdHNhbHQ=,i=4294967297",
    "10^30 iterations": lambda nonce: b"r=" + nonce + b"x,s=c2FsdHNhbHQ=,i=1" + b"0" * 30,
    "nothing": lambda nonce: b"",
    "commas": lambda nonce: b"," * 1000,
    "an extension that must be known": lambda nonce: b"m=x,r=" + nonce + b"x,s=c2FsdHNhbHQ=,i=4096",
}


def ask_for_scram(peer):
    """The nonce of the pooler's client-first."""
    peer.read_startup()
    peer.send("R", struct.pack("!I", 10) + cstring("SCRAM-SHA-256") + b"\0")
    return peer.recv().body.rpartition(b"r=")[2]


@pytest.mark.parametrize("what", CHALLENGES)
def test_a_hostile_scram_challenge_is_an_error(make_pooler, what):
    """And it is not worked on: none is answered with a proof."""
    heard = []

    def script(peer):
        nonce = ask_for_scram(peer)
        peer.send("R", struct.pack("!I", 11) + CHALLENGES[what](nonce))
        heard.append([m.type for m in peer.drain()])

    with FakeServer(script) as fake:
        pooler = make_pooler(databases={"bad": {**fake.entry, "user": "app", "password": PASSWORD}, "app": {}})
        with pooler.raw() as w:
            error = w.try_login("app", "bad")
            assert_error(error, None, "57P03", "28000", "08001")
        eventually(lambda: heard, "the server has heard the end")
        assert heard[0] == []
        assert_serves(pooler)


# From where on the server goes on as if it had been told the password.
SKIPPED = {
    "AuthenticationOk for a proof's beginning": ("first", packet("R", struct.pack("!I", 0))),
    "AuthenticationOk for a proof": ("final", packet("R", struct.pack("!I", 0))),
    "ReadyForQuery for a proof's beginning": ("first", b""),
    "ReadyForQuery for a proof": ("final", b""),
    "ReadyForQuery at once": ("startup", b""),
    "a wrong signature": ("final", packet("R", struct.pack("!I", 12) + b"v=AAAA") + packet("R", struct.pack("!I", 0))),
    "an error in the signature's place": ("final", packet("R", struct.pack("!I", 12) + b"e=other-error")),
}


@pytest.mark.parametrize("what", SKIPPED)
def test_a_server_that_skips_its_part_of_scram_is_not_believed(make_pooler, what):
    until, said = SKIPPED[what]
    queries = []

    def script(peer):
        if until == "startup":
            peer.read_startup()
        else:
            nonce = ask_for_scram(peer)
        if until == "final":
            peer.send("R", struct.pack("!I", 11) + b"r=" + nonce + b"x,s=c2FsdHNhbHQ=,i=1")
            peer.recv()
        peer.send_raw(said)
        peer.send("S", cstring("server_version") + cstring("15.0"))
        peer.ready()
        queries.append(peer.recv())

    with FakeServer(script) as fake:
        pooler = make_pooler(databases={"bad": {**fake.entry, "user": "app", "password": PASSWORD}, "app": {}},
                             client_login_timeout=5)
        with pooler.raw() as w:
            assert_error(w.try_login("app", "bad"))
        assert_serves(pooler)
    assert queries == []


ERRORS = {
    "no body": b"",
    "no field": b"\0",
    "no SQLSTATE": b"SERROR\0VERROR\0Mno code\0\0",
    "an empty SQLSTATE": b"SERROR\0VERROR\0C\0Mempty code\0\0",
    "a short SQLSTATE": b"SERROR\0C42\0Mshort\0\0",
    "a long SQLSTATE": b"SERROR\0C" + b"4" * 5000 + b"\0Mlong\0\0",
    "two SQLSTATEs": b"SERROR\0C42601\0C28P01\0Mtwice\0\0",
    "no message": b"SERROR\0VERROR\0C42601\0\0",
    "two messages": b"SERROR\0C42601\0Mone\0Mtwo\0\0",
    "an SQLSTATE alone": b"C57P01\0\0",
    "a field without an end": b"SERROR\0C42601\0Mno end",
    "no end of the fields": b"SERROR\0C42601\0Mno end\0",
    "something behind the end": b"SERROR\0C42601\0Mend\0\0SFATAL\0\0",
    "unknown fields": b"SERROR\0C42601\0Mx\0?what\0\xff\xfe\0\0",
    "all bytes": b"SERROR\0C42601\0M" + bytes(range(1, 256)) + b"\0\0",
    "a long message": b"SERROR\0C42601\0M" + b"x" * 500000 + b"\0\0",
    "a thousand fields": b"SERROR\0C42601\0Mx\0" + b"Dy\0" * 1000 + b"\0",
}


def error_server(phase, body):
    """Says this once, at that point; then it serves."""
    said = []

    def script(peer):
        def slip(where):
            if where == phase and not said:
                said.append(where)
                peer.send("E", body)
                return True
            return False

        if "cancel" in peer.read_startup():
            return
        if slip("login"):
            return
        peer.welcome()
        while True:
            kind, sql = peer.recv()
            if kind == "X":
                return
            if kind == "Q":
                # An error in the place of the answer, and the ReadyForQuery behind it.
                slip("check" if sql.startswith(b"CHECK") else "query") or peer.send("C", cstring("SELECT 0"))
                peer.ready()
            elif kind in "PBDE":
                slip("batch") or peer.send({"P": "1", "B": "2", "D": "n", "E": "C"}[kind],
                                           cstring("SELECT 0") if kind == "E" else b"")
            elif kind == "S":
                peer.ready()
            if kind in "QS" and not said:
                time.sleep(0.05)
                slip("idle")

    server = FakeServer(script)
    server.said = said
    return server


@pytest.mark.parametrize("phase", ["login", "query", "batch", "check", "idle"])
def test_errors_with_any_fields_do_no_harm(make_pooler, phase):
    """Behind each the pool serves on, and the pooler anyway; what the client hears is an error, if anything."""
    servers = {what: error_server(phase, body) for what, body in ERRORS.items()}
    names = {what: f"bad_{i}" for i, what in enumerate(ERRORS)}
    pooler = make_pooler(databases={"app": {}, **{names[what]: {**server.entry, "user": "app", "pool_size": 1}
                                                  for what, server in servers.items()}},
                         server_login_retry=0, server_check_query="CHECK", server_check_delay=0, query_wait_timeout=10)
    for what, server in servers.items():
        def is_served():
            with pooler.raw() as w:
                try:
                    if w.try_login("app", names[what]) is not None:
                        return False
                    if phase == "batch":
                        w.send_raw(extended("SELECT 1") + sync())
                        w.recv_until("Z")
                    w.send_raw(query("SELECT 1"))
                    return [m.type for m in w.recv_until("Z")] == ["C", "Z"] and server.said
                except Closed:
                    return False
        eventually(is_served, f"{phase}: {what}", every=0.01)
        assert server.failures == []
    assert_serves(pooler)
    for server in servers.values():
        server.__exit__()


# Who somebody is, and what he may know

def test_an_expired_role_is_refused_though_its_secret_was_kept(make_pooler, pg):
    """As soon as auth_query_ttl is over, and not only the auth_query's answer is forgotten by then."""
    pg.make_role("expires", PASSWORD, "demand_scram")
    pooler = make_pooler(auth_type="scram-sha-256", auth_user="postgres", userlist={"admin": "admin"}, auth_query_ttl=1,
                         databases={"app": {}, "forced": {"dbname": "app", "user": "app"}})
    assert pooler.attempt(PASSWORD, "expires").outcome == "in"
    pg.rows("ALTER ROLE expires VALID UNTIL '2001-02-03'")
    for database in ("app", "forced"):
        eventually(lambda: pooler.attempt(PASSWORD, "expires", database).outcome == "28P01", "it is refused", every=0.2)
        assert pooler.attempt(PASSWORD, "expires", database).outcome == "28P01"


def test_one_role_never_sees_what_another_was_answered(make_pooler, pg):
    """The same texts of two roles, in both protocols, on tables that are not for both."""
    pg.rows("DROP TABLE IF EXISTS private_to_app; CREATE TABLE private_to_app AS SELECT 'of app' AS t", "app")
    pg.rows("GRANT SELECT ON private_to_app TO app", "app")
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as app, pooler.wire(user="other") as other:
        for _ in range(3):
            for ask in ("query", "extended"):
                assert getattr(app, ask)("SELECT t, current_user FROM private_to_app").rows == [["of app", "app"]]
                assert getattr(other, ask)("SELECT t, current_user FROM private_to_app").error["C"] == "42501"
                assert getattr(other, ask)("SELECT current_user").rows == [["other"]]
                assert getattr(app, ask)("SELECT current_user").rows == [["app"]]


def looks_of_refusals(pooler, database):
    return [pooler.attempt(password, user, database).looks(user)
            for user, password in (("app", "wrong"), ("app", ""), ("nobody", "wrong"), ("nobody", PASSWORD))]


@pytest.mark.parametrize("auth_type", ["plain", "md5", "scram-sha-256"])
def test_nobody_hears_of_servers_before_he_has_logged_in(make_pooler, auth_type):
    """Whether a database is there, whether its server is, and what that says: a refusal looks the same for all."""
    def script(peer):
        peer.read_startup()
        peer.error("28000", "the server's own words", "FATAL")

    with FakeServer(script) as fake:
        pooler = make_pooler(auth_type=auth_type, userlist={"app": PASSWORD, "admin": ""}, databases={
            "app": {"user": "app"}, "down": {"host": "127.0.0.1", "port": free_port()}, "talks": fake.entry,
            "empty": {"dbname": "no_such_database_there"}})
        # They have failed before: what is remembered of that is not told either.
        for database in ("down", "talks", "empty"):
            assert_error(pooler.attempt(PASSWORD, "app", database).error)
        expected = looks_of_refusals(pooler, "app")
        for database in ("down", "talks", "empty", "nosuch"):
            assert looks_of_refusals(pooler, database) == expected
        assert "own words" in pooler.attempt(PASSWORD, "app", "talks").error["M"]


@pytest.fixture
def count_work(make_pooler):
    """count_work(...) as make_pooler(...), with pooler.work(function) for the keys derived meanwhile."""
    def make(**kwargs):
        pooler = make_pooler(start=False, **kwargs)
        library, counted = (os.path.join(pooler.directory, name) for name in ("count.so", "derivations"))
        subprocess.run(["cc", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-o", library,
                        os.path.join(HERE, "c/count_derivations.c"), "-ldl"], check=True)
        pooler.write_file("derivations", "")
        give_away(library)
        environment = pooler.environment()
        environment["ASAN_OPTIONS"] += ":verify_asan_link_order=0"
        pooler.environment = lambda: {**environment, "LD_PRELOAD": library, "DERIVATIONS": counted}

        def work(function):
            before = os.path.getsize(counted)
            function()
            return os.path.getsize(counted) - before

        pooler.work = work
        return pooler.start()

    return make


@pytest.mark.skipif(has_sanitizers(), reason="the sanitizers' library has to come first")
@pytest.mark.parametrize("kind", ["plain", "md5", "scram"])
@pytest.mark.parametrize("auth_type", ["plain", "md5", "scram-sha-256"])
def test_a_stranger_costs_as_much_work_as_a_wrong_password(count_work, auth_type, kind):
    """Deriving a key is what takes time in a login: so many times for both, at the first attempt and at the next."""
    secret = {"plain": PASSWORD, "md5": md5_secret("app", PASSWORD), "scram": scram_secret(PASSWORD)}[kind]
    pooler = count_work(auth_type=auth_type, userlist={"app": secret, "admin": ""})
    work = {user: [pooler.work(lambda: pooler.attempt("wrong", user)) for _ in range(3)]
            for user in ("app", "stranger")}
    assert work["app"] == work["stranger"]
    if (auth_type, kind) in (("scram-sha-256", "plain"), ("plain", "scram")):
        assert sum(work["app"]) > 0


def test_a_reload_that_fails_lets_nobody_in(make_pooler):
    """A file that cannot be read or is wrong, at each place: who was refused is refused, and who came in comes in."""
    pooler = make_pooler(auth_type="hba", databases={"app": {"user": "app"}}, start=False,
                         userlist={"app": PASSWORD, "admin": ""})
    hba = "host all app all scram-sha-256\nhost pgbouncer admin all trust\nhost all all all reject\n"
    pooler.settings["auth_hba_file"] = pooler.write_file("hba", hba)
    pooler.write()
    pooler.start()

    def who():
        return [pooler.attempt(password, user).outcome
                for user, password in (("app", PASSWORD), ("app", "wrong"), ("app", ""), ("stranger", PASSWORD))]

    assert who() == ["in", "28P01", "28P01", "28000"]
    broken = {
        "hba": (hba + "host all all all trustt\n", hba.replace("reject", ""), "host all all all trust\nhost all all\n"),
        "userlist.txt": ('"app" "stolen"\n"x" "y', '"app"\n', "\0\0\0"),
        "pooler.ini": (pooler.text() + "auth_type = trustt\n", pooler.text() + "auth_type = trust\nnonsense = 1\nx\n",
                       pooler.text() + "auth_type = any\n[databases]\nx = host='\n"),
    }
    for name, texts in broken.items():
        path = os.path.join(pooler.directory, name)
        with open(path) as f:
            before = f.read()
        for text in texts:
            pooler.write_file(name, text)
            assert pooler.admin_result("RELOAD").error is not None, (name, text)
            assert who() == ["in", "28P01", "28P01", "28000"], (name, text)
        os.rename(path, path + ".gone")
        assert pooler.admin_result("RELOAD").error is not None, name
        assert who() == ["in", "28P01", "28P01", "28000"], name
        os.remove(path + ".gone")
        pooler.write_file(name, before)
    assert pooler.admin_result("RELOAD").error is None
    assert who() == ["in", "28P01", "28P01", "28000"]
