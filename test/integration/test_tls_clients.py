"""TLS towards clients: who is let in, by which protocol, and what it costs the others."""

import hashlib
import os
import select
import signal
import ssl
import struct
import time

import psycopg
import pytest

from harness.certs import ALPN, REQUEST, Records, ask, end_point, secure, tls
from harness.pooler import assert_error, has_sanitizers
from harness.system import eventually, run
from harness.wire import (CANCEL_REQUEST, GSSENC_REQUEST, Closed, Scram, cstring, error_fields, packet, query,
                          scram_secret, startup_packet)

MB = 1 << 20
PASSWORD = "over the wire"
LOGIN = {"user": "app", "database": "app"}
WEAK = ["allow", "prefer", "require"]
STRONG = ["verify-ca", "verify-full"]


@pytest.fixture
def make(make_pooler, certs):
    """A pooler that speaks TLS to its clients."""
    def make_one(mode="require", pair=None, **settings):
        return make_pooler(**{**certs.for_clients(pair, mode), **settings})
    return make_one


def connect(pooler, context, session=None, **parameters):
    """A logged in raw connection over TLS."""
    w = tls(pooler.raw(), context, session=session)
    return w.login(parameters.pop("user", "app"), parameters.pop("database", "app"), **parameters)


def outcome(pooler, context, user="app"):
    """"in" with a query answered, the SQLSTATE of a refusal, or "no TLS" when it is there that it ends."""
    with pooler.raw() as w:
        try:
            if context is not None:
                tls(w, context)
            error = w.try_login(user, "app")
            return error["C"] if error else "in" if w.value("SELECT 1") == "1" else "no answer"
        except (ssl.SSLError, Closed):
            return "no TLS"


def mentions(pooler, *texts):
    """A line of the log that has all of these."""
    return any(all(text in line for text in texts) for line in pooler.log().splitlines())


def complaints(pooler):
    return [line for line in pooler.log().splitlines() if " WARNING " in line or " ERROR " in line]


def tls_column(pooler, what="CLIENTS", user="app"):
    return [row["tls"] for row in pooler.admin(f"SHOW {what}") if row["user"] == user]


# Modes

def test_disable(make, certs):
    pooler = make("disable")
    with pooler.raw() as w:
        assert ask(w) == b"N"
        assert ask(w) == b"N"
        w.login("app", "app")
        assert w.value("SELECT 1") == "1"
        assert tls_column(pooler) == [""]
    with pooler.raw() as w, pytest.raises((ssl.SSLError, OSError)):
        secure(w, certs.client(alpn=ALPN))


@pytest.mark.parametrize("mode", WEAK + STRONG)
def test_modes(make, certs, mode):
    """Each with an authority: a certificate that is shown must be good, below verify-ca none need be."""
    pooler = make(mode)
    expected = {
        None: "in" if mode in ("allow", "prefer") else "28000",
        certs.client(): "in" if mode in WEAK else "no TLS",
        certs.client(certs.client_app): "in",
        certs.client(certs.client_wrong_ca): "no TLS",
        certs.client(certs.client_expired): "no TLS",
    }
    assert [outcome(pooler, context) for context in expected] == list(expected.values())
    # Another name in the certificate is a matter of auth_type.
    assert outcome(pooler, certs.client(certs.client_mail)) == "in"
    for reason in ("certificate has expired", "unable to get local issuer certificate"):
        assert mentions(pooler, "TLS handshake failed", reason, "@127.0.0.1:")
    if mode in STRONG:
        assert mentions(pooler, "TLS handshake failed", "peer did not return a certificate", "@127.0.0.1:")


@pytest.mark.parametrize("mode", WEAK)
def test_without_an_authority_certificates_are_not_asked_for(make, certs, mode):
    pooler = make(mode, client_tls_ca_file=None)
    for pair in (None, certs.client_app, certs.client_wrong_ca, certs.client_expired):
        assert outcome(pooler, certs.client(pair)) == "in"


def test_certificates_in_tls_1_2(make, certs):
    pooler = make("verify-ca", client_tls_protocols="tlsv1.2")
    found = [outcome(pooler, certs.client(pair)) for pair in
             (certs.client_app, None, certs.client_wrong_ca, certs.client_expired)]
    assert found == ["in", "no TLS", "no TLS", "no TLS"]


def test_what_a_client_without_tls_is_told(make, certs):
    pooler = make("require")
    with pooler.raw() as w:
        assert_error(w.try_login("app", "app"), "SSL required", "28000")
    # A Unix socket is safe as it is.
    assert pooler.attempt(unix=True).outcome == "in"


def test_plain_and_tls_on_the_same_port(make, certs):
    pooler = make("prefer")
    with pooler.wire() as plain, connect(pooler, certs.client()) as secret:
        assert sorted(tls_column(pooler)) == ["", "TLSv1.3/TLS_AES_256_GCM_SHA384/ECDH=X25519"]
        for _ in range(3):
            assert plain.value("SELECT 'plain'") == "plain"
            assert secret.value("SELECT 'secret'") == "secret"
    assert mentions(pooler, "login attempt: ", "tls=no")
    assert mentions(pooler, "login attempt: ", "tls=TLSv1.3/TLS_AES_256_GCM_SHA384/ECDH=X25519")


def test_console(make, certs):
    pooler = make("require", admin_users="admin, app")
    with connect(pooler, certs.client(), database="pgbouncer") as w:
        row, = [row for row in w.query("SHOW CLIENTS").dicts() if row["user"] == "app"]
        assert row["tls"].startswith("TLSv1.3/")


# libpq

def test_libpq(make, certs, pg):
    pooler = make("require", auth_type="scram-sha-256", userlist={"app": PASSWORD, "admin": ""})
    for version in ("TLSv1.2", "TLSv1.3"):
        text = pooler.dsn(**certs.libpq(), password=PASSWORD, channel_binding="require",
                          ssl_min_protocol_version=version, ssl_max_protocol_version=version)
        done = run(["psql", "-X", "-A", "-t", text, "-c", "\\conninfo", "-c", "SELECT 42"])
        assert (done.returncode, done.stderr) == (0, "")
        assert f"protocol: {version}" in done.stdout and done.stdout.endswith("42\n")


@pytest.mark.parametrize("name, why", [
    ("expired", "certificate verify failed"), ("wrong_ca", "certificate verify failed"),
    ("wrong_host", 'does not match host name "localhost"')])
def test_libpq_sees_what_is_wrong(make, certs, name, why):
    pooler = make("require", getattr(certs, name))
    with pytest.raises(psycopg.OperationalError, match=why):
        pooler.connect(**certs.libpq())


def test_libpq_by_address(make, certs):
    pooler = make("require", certs.ip)
    with pooler.connect(**certs.libpq(host="127.0.0.1")) as c:
        assert c.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("way", ["in the clear", "over TLS", "direct"])
def test_cancel(make, certs, pg, way):
    """libpq before 17 asks in the clear, whatever the connection; a newer one as the connection is."""
    pooler = make("require")
    with connect(pooler, certs.client()) as w:
        w.send_raw(query("SELECT pg_sleep(60) /* to be cancelled */"))
        eventually(lambda: pg.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%to be cancelled%'"
                                    " AND wait_event = 'PgSleep'"), "the query runs")
        with pooler.raw() as other:
            if way == "over TLS":
                tls(other, certs.client())
            elif way == "direct":
                secure(other, certs.client(alpn=ALPN))
            other.send_raw(packet("", struct.pack("!I", CANCEL_REQUEST) + w.key))
            assert other.drain() == []
        assert w.result().error["C"] == "57014"
        assert w.value("SELECT 1") == "1"


# Authentication by certificate

def test_auth_type_cert(make, certs):
    pooler = make("verify-full", auth_type="cert", admin_users="app")
    assert outcome(pooler, certs.client(certs.client_app)) == "in"
    assert outcome(pooler, certs.client(certs.client_app), "other") == "28000"
    assert outcome(pooler, certs.client(certs.client_mail)) == "28000"
    assert outcome(pooler, certs.client(certs.client_expired)) == "no TLS"
    # There is no certificate to be had from a Unix socket.
    assert_error(pooler.attempt(unix=True).error, "certificate authentication failed", "28000")


def test_auth_type_cert_in_a_resumed_session(make, certs):
    """The certificate is not shown again: whose it was is part of the session."""
    pooler = make("verify-full", auth_type="cert", admin_users="app")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = certs.client(certs.client_app, version)
        with connect(pooler, context) as w:
            session = w.sock.session
        with tls(pooler.raw(), context, session=session) as w:
            assert w.sock.session_reused
            assert_error(w.try_login("other", "app"), "certificate authentication failed", "28000")
        with connect(pooler, context, session) as w:
            assert w.sock.session_reused and w.value("SELECT 1") == "1"


def ruled(make, rules, ident="", mode="prefer", **settings):
    pooler = make(mode, start=False, auth_type="hba", **settings)
    pooler.settings["auth_hba_file"] = pooler.write_file("hba", rules)
    pooler.settings["auth_ident_file"] = pooler.write_file("ident", ident)
    pooler.write()
    return pooler.start()


def test_hba_cert_with_a_map(make, certs):
    pooler = ruled(make, "hostssl app app,other all cert map=people\n"
                         "hostssl app md5_user all cert\n"
                         "host all all all reject\n",
                   "people app@example.net app\n")
    mail = certs.client(certs.client_mail)
    assert outcome(pooler, mail) == "in"
    assert outcome(pooler, mail, "other") == "28000"
    assert outcome(pooler, mail, "md5_user") == "28000"
    # The map is all that counts: the name itself is not in it.
    assert outcome(pooler, certs.client(certs.client_app)) == "28000"
    assert outcome(pooler, certs.client()) == "28000"
    assert outcome(pooler, None) == "28000"


def test_hba_tells_tls_from_none(make, certs):
    pooler = ruled(make, "hostssl app app all trust\nhostnossl app other all trust\nhost all admin all trust\n")
    context = certs.client()
    assert [outcome(pooler, context), outcome(pooler, None)] == ["in", "28000"]
    assert [outcome(pooler, context, "other"), outcome(pooler, None, "other")] == ["28000", "in"]


# Channel binding

def mechanisms(w):
    """Those that the server offers after the startup packet, which is sent."""
    w.startup(LOGIN)
    kind, body = w.recv()
    assert (kind, body[:4]) == ("R", struct.pack("!I", 10))
    return body[4:].rstrip(b"\0").split(b"\0")


def scram(w, mechanism, scram):
    """The exchange after the offer; the error, or None."""
    first = scram.first()
    w.send("p", cstring(mechanism) + struct.pack("!I", len(first)) + first)
    while True:
        kind, body = w.recv()
        if kind == "E":
            return error_fields(body)
        if kind == "Z":
            return None
        if kind == "R" and body[:4] == struct.pack("!I", 11):
            w.send("p", scram.final(body[4:]))
        elif kind == "R" and body[:4] == struct.pack("!I", 12):
            scram.verify(body[4:])


@pytest.mark.parametrize("secret", ["plain", "verifier"])
def test_channel_binding(make, certs, secret):
    pooler = make("prefer", auth_type="scram-sha-256", databases={"app": {"user": "app"}},
                  userlist={"app": PASSWORD if secret == "plain" else scram_secret(PASSWORD), "admin": ""})
    plus, without = b"SCRAM-SHA-256-PLUS", b"SCRAM-SHA-256"
    header, good = "p=tls-server-end-point,,", end_point(certs.server)

    def attempt(mechanism, *args, password=PASSWORD):
        with tls(pooler.raw(), certs.client()) as w:
            assert mechanisms(w) == [plus, without]
            error = scram(w, mechanism, Scram(password, *args))
            return error and error["C"]

    with pooler.raw() as w:
        assert mechanisms(w) == [without]
    assert attempt(plus, header, good) is None
    assert attempt(plus, header, good, password="wrong") == "28P01"
    # Somebody in between has shown a certificate of his own.
    assert attempt(plus, header, end_point(certs.renewed)) is not None
    assert attempt(plus, "p=tls-unique,,", good) is not None
    assert attempt(without) is None
    # A client that can bind and has not been offered it: somebody in between has taken it away.
    assert attempt(without, "y,,") is not None
    assert attempt(plus) is not None


def test_a_certificate_that_nobody_can_bind_to(make, certs):
    """That of an Ed25519 authority: its signatures have no digest."""
    pooler = make("require", certs.ed25519, auth_type="scram-sha-256", userlist={"app": PASSWORD, "admin": ""},
                  databases={"app": {"user": "app"}})
    with tls(pooler.raw(), certs.client(ca=certs.ed25519_ca)) as w:
        assert mechanisms(w) == [b"SCRAM-SHA-256"]
    with pooler.connect(**certs.libpq(sslrootcert=certs.ed25519_ca.cert), password=PASSWORD) as c:
        assert c.execute("SELECT 1").fetchone() == (1,)


def test_binding_to_a_certificate_of_another_digest(make, certs):
    pair = certs.certificate("sha512", digest="sha512")
    pooler = make("require", pair, auth_type="scram-sha-256", userlist={"app": PASSWORD, "admin": ""},
                  databases={"app": {"user": "app"}})
    with pooler.connect(**certs.libpq(), password=PASSWORD, channel_binding="require") as c:
        assert c.execute("SELECT 1").fetchone() == (1,)


# How it begins

@pytest.mark.parametrize("mode", ["allow", "require"])
def test_direct(make, certs, mode):
    pooler = make(mode)
    with secure(pooler.raw(), certs.client(alpn=ALPN)) as w:
        assert w.sock.selected_alpn_protocol() == ALPN
        w.login("app", "app")
        assert w.value("SELECT 1") == "1"
        assert tls_column(pooler) == ["TLSv1.3/TLS_AES_256_GCM_SHA384/ECDH=X25519"]


def test_direct_takes_the_protocol_s_name(make, certs):
    pooler = make("require")
    with secure(pooler.raw(), certs.client()) as w:
        assert w.drain() == []
    assert mentions(pooler, "direct TLS connection without ALPN protocol postgresql")
    with pooler.raw() as w, pytest.raises(ssl.SSLError):
        secure(w, certs.client(alpn="h2"))
        w.login("app", "app")
    # Nobody has to name it who has asked before; but who does, means it.
    with tls(pooler.raw(), certs.client(alpn=ALPN)) as w:
        assert w.sock.selected_alpn_protocol() == ALPN
        w.login("app", "app")
    with pooler.raw() as w, pytest.raises(ssl.SSLError):
        tls(w, certs.client(alpn="h2"))


def s_client(pooler, certs, *args, said=""):
    return run(["openssl", "s_client", "-connect", f"localhost:{pooler.port}", "-CAfile", certs.ca.cert,
                "-verify_hostname", "localhost", "-verify_return_error", *args], input=said)


def test_direct_by_openssl(make, certs):
    pooler = make("require")
    done = s_client(pooler, certs, "-alpn", ALPN)
    assert "ALPN protocol: postgresql" in done.stdout and "Verify return code: 0 (ok)" in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("mode", ["disable", "prefer", "require"])
@pytest.mark.parametrize("request_code, what", [(None, "SSL"), (GSSENC_REQUEST, "GSSAPI encryption")])
def test_bytes_in_the_clear_behind_a_request(make, certs, mode, request_code, what):
    """They are nobody's: not the first of what comes encrypted, nor of what goes on without it."""
    pooler = make(mode)
    request = REQUEST if request_code is None else packet("", struct.pack("!I", request_code))
    with pooler.raw() as w:
        w.send_raw(request + startup_packet(LOGIN))
        message, = w.drain()
        assert message.type == "E" and what in error_fields(message.body)["M"]
    with pooler.raw() as w:
        w.send_raw(request[:5])
        time.sleep(0.01)
        w.send_raw(request[5:] + b"\0")
        message, = w.drain()
        assert message.type == "E"
    assert mentions(pooler, "received unencrypted data after")


def test_bytes_in_the_clear_instead_of_a_handshake(make, certs):
    pooler = make("require")
    with pooler.raw() as w:
        assert ask(w) == b"S"
        w.send_raw(startup_packet(LOGIN))
        # An alert is all that it hears.
        assert w.sock.recv(1000)[:1] in (b"", b"\x15")
    eventually(lambda: mentions(pooler, "TLS handshake failed", "wrong version number"), "the reason in the log")


def test_requests_in_a_row(make, certs):
    pooler = make("require")
    with pooler.raw() as w:
        w.send_raw(packet("", struct.pack("!I", GSSENC_REQUEST)))
        assert w.read(1) == b"N"
        tls(w, certs.client()).login("app", "app")
        assert w.value("SELECT 1") == "1"


def test_a_request_inside_of_tls(make, certs):
    """There is no TLS in TLS."""
    pooler = make("require")
    with tls(pooler.raw(), certs.client()) as w:
        w.send_raw(REQUEST)
        assert w.read(1) in (b"N", b"E")


# Resumption

@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_resumption(make, certs, version):
    pooler = make("require")
    context = certs.client(version=ssl.TLSVersion[version])
    with connect(pooler, context) as w:
        assert not w.sock.session_reused
        session = w.sock.session
    for _ in range(3):
        with connect(pooler, context, session) as w:
            assert w.sock.session_reused and w.value("SELECT 1") == "1"
            session = w.sock.session


def test_resumption_by_openssl(make, certs):
    pooler = make("require")
    done = s_client(pooler, certs, "-starttls", "postgres", "-tls1_2", "-reconnect")
    assert (done.stdout.count("New, TLSv1.2"), done.stdout.count("Reused, TLSv1.2")) == (1, 5)


# Settings

def speaks(pooler, context):
    """What SHOW CLIENTS says of a connection; None when there is none."""
    try:
        with connect(pooler, context):
            cell, = tls_column(pooler)
            return cell
    except (ssl.SSLError, Closed, ConnectionError):
        return None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_protocols(make, certs):
    versions = ["TLSv1_1", "TLSv1_2", "TLSv1_3"]
    pooler = make("require")

    def known():
        found = []
        for version in versions:
            context = certs.client(version=ssl.TLSVersion[version])
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            found.append((speaks(pooler, context) or "").partition("/")[0])
        return found

    assert known() == ["", "TLSv1.2", "TLSv1.3"]
    for setting, expected in {
            "tlsv1.3": ["", "", "TLSv1.3"],
            "tlsv1.2": ["", "TLSv1.2", ""],
            "all, !tlsv1.3, !tlsv1.0": ["TLSv1.1", "TLSv1.2", ""],
            "legacy": ["TLSv1.1", "TLSv1.2", "TLSv1.3"]}.items():
        pooler.reload(client_tls_protocols=setting, client_tls_ciphers="ALL:@SECLEVEL=0")
        assert known() == expected, setting


def test_ciphers_and_curves(make, certs):
    pooler = make("require", client_tls_ciphers="ECDHE-ECDSA-AES128-GCM-SHA256",
                  client_tls13_ciphers="TLS_CHACHA20_POLY1305_SHA256", client_tls_ecdhcurve="secp384r1")
    old, new = (certs.client(version=ssl.TLSVersion[v]) for v in ("TLSv1_2", "TLSv1_3"))
    assert speaks(pooler, old) == "TLSv1.2/ECDHE-ECDSA-AES128-GCM-SHA256/ECDH=secp384r1"
    assert speaks(pooler, new) == "TLSv1.3/TLS_CHACHA20_POLY1305_SHA256/ECDH=secp384r1"
    old.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    assert speaks(pooler, old) is None
    for word in ("default", "secure", "fast", "normal", "all"):
        pooler.reload(client_tls_ciphers=word, client_tls_ecdhcurve="auto", client_tls13_ciphers=None)
        assert speaks(pooler, old) == "TLSv1.2/ECDHE-ECDSA-AES256-GCM-SHA384/ECDH=X25519"


def test_dheparams(make, certs):
    pooler = make("require", certs.rsa, client_tls_protocols="tlsv1.2", client_tls_ciphers="all")
    context = certs.client()
    context.set_ciphers("DHE-RSA-AES256-GCM-SHA384")
    assert speaks(pooler, context).startswith("TLSv1.2/DHE-RSA-AES256-GCM-SHA384")
    pooler.reload(client_tls_dheparams="none")
    assert speaks(pooler, context) is None


@pytest.mark.parametrize("name, value, text", [
    ("client_tls_sslmode", "always", "verify-full"),
    ("client_tls_protocols", "tlsv9", "tlsv9"),
    ("client_tls_protocols", "all, !secure, !legacy", ""),
    ("client_tls_ciphers", "ROT13", "ROT13"),
    ("client_tls13_ciphers", "TLS_ROT13", "TLS_ROT13"),
    ("client_tls_ecdhcurve", "flat", "flat"),
    ("client_tls_dheparams", "most", "most"),
    ("client_tls_cert_file", "/nowhere/cert.pem", "No such file"),
    ("client_tls_key_file", "/nowhere/key.pem", "No such file"),
    ("client_tls_ca_file", "/nowhere/ca.pem", "No such file"),
    ("client_tls_cert_file", None, "client_tls_sslmode"),
    ("client_tls_key_file", None, "client_tls_sslmode"),
    ("client_tls_ca_file", None, "verify-ca"),
    ("client_tls_cert_file", "/dev/null", "no start line"),
    ("client_tls_key_file", "OTHER KEY", "key values mismatch"),
    ("client_tls_key_file", "PASSPHRASE", "passphrase"),
    ("server_tls_sslmode", "always", "verify-full"),
    ("server_tls_negotiation", "guess", "direct"),
    ("server_tls_protocols", "tlsv9", "tlsv9"),
    ("server_tls_ciphers", "ROT13", "ROT13"),
    ("server_tls13_ciphers", "TLS_ROT13", "TLS_ROT13"),
    ("server_tls_ca_file", "/nowhere/ca.pem", "No such file"),
    ("server_tls_cert_file", "/nowhere/cert.pem", "server_tls_key_file"),
    ("tls_handshakes_per_turn", "-1", ""),
])
def test_bad_values_refuse_the_start(make, certs, name, value, text):
    if value == "OTHER KEY":
        value = certs.renewed.key
    elif value == "PASSPHRASE":
        value = certs.path("passphrase.key")
        run(["openssl", "ec", "-aes128", "-passout", "pass:secret", "-in", certs.server.key, "-out", value])
        os.chmod(value, 0o644)
    pooler = make("verify-ca", start=False, **{"server_tls_sslmode": "verify-ca", name: value})
    done = pooler.run(pooler.ini)
    assert done.returncode == 1
    assert name in done.stderr and text in done.stderr, done.stderr


@pytest.mark.parametrize("settings", [{"client_tls_key_file": "/nowhere/key.pem"}, {"server_tls_ciphers": "ROT13"}])
def test_check_finds_them_too(make, settings):
    pooler = make("verify-ca", start=False, **settings)
    done = pooler.run("--check", pooler.ini)
    assert done.returncode == 1
    assert list(settings)[0] in done.stdout + done.stderr
    pooler.settings["client_tls_sslmode"] = pooler.settings["server_tls_sslmode"] = "disable"
    pooler.write()
    assert pooler.run("--check", pooler.ini).returncode == 0


# Peers that do not end as they should, or take their time

def test_clients_that_just_go_leave_no_complaint(make, certs):
    pooler = make("require")
    context = certs.client()
    for is_reset in (False, True):
        for way in ("asked", "half a hello", "hello", "hello and answer", "secured", "logged in", "query",
                    "polite", "direct, half a hello"):
            w = pooler.raw()
            if way == "direct, half a hello":
                w.send_raw(Records(w.sock, certs.client(alpn=ALPN)).hello()[:50])
            elif way in ("asked", "half a hello", "hello", "hello and answer"):
                assert ask(w) == b"S"
                records = Records(w.sock, context)
                hello = records.hello()
                w.send_raw({"asked": b"", "half a hello": hello[:len(hello) // 2]}.get(way, hello))
                if way == "hello and answer":
                    records.receive()
            else:
                tls(w, context)
                if way != "secured":
                    w.login("app", "app")
                if way == "query":
                    w.send_raw(query("SELECT repeat('x', 1000000) FROM generate_series(1, 20)"))
                    w.recv()
                elif way == "polite" and not is_reset:
                    w.send("X")
                    w.sock.unwrap()
            w.reset() if is_reset else w.close()
    eventually(lambda: len(pooler.admin("SHOW CLIENTS")) == 1, "they are gone")
    assert complaints(pooler) == []


@pytest.mark.parametrize("is_direct", [False, True])
def test_a_handshake_byte_by_byte(make, certs, is_direct):
    pooler = make("require", tls_handshakes_per_turn=1)
    with pooler.raw() as w:
        sock = w.sock
        assert is_direct or ask(w) == b"S"

        def send_slowly(data):
            for i in range(len(data)):
                sock.sendall(data[i:i + 1])
                if i % 8 == 0:
                    time.sleep(0.001)

        w.sock = Records(sock, certs.client(alpn=ALPN))
        w.sock.handshake(send_slowly)
        w.login("app", "app")
        assert w.value("SELECT 1") == "1"


def secured_by_hand(pooler, context):
    """A logged in stream, and the Records that it goes through."""
    w = pooler.raw()
    assert ask(w) == b"S"
    records = w.sock = Records(w.sock, context)
    records.handshake()
    return w.login("app", "app"), records


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_records_in_pieces(make, certs, version):
    """A record that has not come whole costs nothing while it is waited for."""
    pooler = make("require")
    w, records = secured_by_hand(pooler, certs.client(version=ssl.TLSVersion[version]))
    with w:
        data = records.encrypt(query(f"SELECT length('{'x' * 10000}')"))
        for cut in (1, 4, 5, 6, 100, len(data) - 1):
            records.sock.sendall(data[:cut])
            before = pooler.cpu()
            time.sleep(0.3)
            assert pooler.cpu() - before < 0.15, f"{cut} bytes of a record keep the pooler busy"
            records.sock.sendall(data[cut:])
            assert w.result().value == "10000"
            data = records.encrypt(query(f"SELECT length('{'x' * 10000}')"))
        records.sock.sendall(data)
        assert w.result().value == "10000"


def test_messages_and_records_do_not_end_together(make, certs):
    pooler = make("require")
    text = "x" * (5 * MB)
    w, records = secured_by_hand(pooler, certs.client())
    with w:
        message = query(f"SELECT md5('{text}')") + query("SELECT 2")
        expected = hashlib.md5(text.encode()).hexdigest()
        # Header and body in records of their own, then in pieces of all sizes.
        w.send_raw(message[:1])
        w.send_raw(message[1:3])
        w.send_raw(message[3:6])
        w.send_raw(message[6:])
        assert (w.result().value, w.result().value) == (expected, "2")
        data = records.encrypt(message)
        at, size = 0, 1
        while at < len(data):
            records.sock.sendall(data[at:at + size])
            at, size = at + size, size * 3 % 100003
        assert (w.result().value, w.result().value) == (expected, "2")
        # Many small messages, each a record, in one piece.
        records.sock.sendall(b"".join(records.encrypt(query(f"SELECT {i}")) for i in range(500)))
        assert [w.result().value for i in range(500)] == [str(i) for i in range(500)]


def test_a_broken_record_ends_the_connection(make, certs):
    pooler = make("require")
    w, records = secured_by_hand(pooler, certs.client())
    with w:
        data = bytearray(records.encrypt(query("SELECT 1")))
        data[-1] ^= 1
        records.sock.sendall(data)
        while records.sock.recv(65536):
            pass
    eventually(lambda: mentions(pooler, "app/app@127.0.0.1:", "decryption failed or bad record mac"), "it is logged")


def test_a_storm_of_handshakes_does_not_stop_queries(make, certs):
    """The pooler finds 200 hellos and one query at once: the answer comes before most of the handshakes."""
    count = 200
    pooler = make("require", tls_handshakes_per_turn=2, max_client_conn=1000)
    with connect(pooler, certs.client()) as w:
        assert w.value("SELECT 1") == "1"
        storm = [pooler.raw() for _ in range(count)]
        assert all(ask(one) == b"S" for one in storm)
        records = [Records(one.sock, certs.client()) for one in storm]
        hellos = [r.hello() for r in records]
        pooler.signal(signal.SIGSTOP)
        for one, hello in zip(storm, hellos):
            one.send_raw(hello)
        w.send_raw(query("SELECT 'in between'"))
        pooler.signal(signal.SIGCONT)
        assert w.result().value == "in between"
        answered = len(select.select([one.sock for one in storm], [], [], 0)[0])
        assert answered < count / 2
        # None of them is forgotten.
        for one, r in zip(storm, records):
            r.receive()
            r.handshake()
            r.sendall(startup_packet(LOGIN))
        for one, r in zip(storm, records):
            assert r.recv(1) == b"R"
            one.close()


# Size

@pytest.fixture
def size(is_long):
    """Megabytes."""
    return 1024 if is_long else 200


def assert_small(pooler):
    assert pooler.peak_rss() < (800 if has_sanitizers() else 50) * MB


def both_sides(make, certs, tls_pg, **settings):
    return make("require", databases={"app": {"host": "localhost", "port": tls_pg.port}},
                **certs.for_servers(), **settings)


def test_much_data_out(make, certs, tls_pg, size):
    pooler = both_sides(make, certs, tls_pg)
    expected, found = hashlib.md5(), hashlib.md5()
    for i in range(size):
        expected.update(hashlib.md5(str(i).encode()).hexdigest().encode() * (MB // 32) + b"\n")
    with connect(pooler, certs.client()) as w:
        w.sock.settimeout(120)
        w.send_raw(query(f"COPY (SELECT repeat(md5(i::text), {MB // 32}) FROM generate_series(0, {size - 1}) i)"
                         " TO STDOUT"))
        while (message := w.recv()).type != "Z":
            if message.type == "d":
                found.update(message.body)
            assert message.type in "HdcC", message.body
        assert found.hexdigest() == expected.hexdigest()
        assert w.value("SELECT 1") == "1"
    assert_small(pooler)


def test_much_data_in(make, certs, tls_pg, size):
    pooler = both_sides(make, certs, tls_pg)
    for sql in ("DROP TABLE IF EXISTS big", "CREATE UNLOGGED TABLE big (n int, t text)", "GRANT ALL ON big TO PUBLIC",
                "ALTER TABLE big ALTER t SET STORAGE EXTERNAL"):
        tls_pg.rows(sql, "app")
    expected = hashlib.md5()
    with connect(pooler, certs.client()) as w:
        w.sock.settimeout(120)
        w.send_raw(query("COPY big FROM STDIN"))
        assert w.recv().type == "G"
        for i in range(size):
            text = hashlib.md5(str(i).encode()).hexdigest().encode() * (MB // 32)
            expected.update(hashlib.md5(text).hexdigest().encode())
            w.send("d", b"%d\t%s\n" % (i, text))
        w.send("c")
        assert w.result().tags == [f"COPY {size}"]
        assert w.value("SELECT md5(string_agg(md5(t), '' ORDER BY n)) FROM big") == expected.hexdigest()
    tls_pg.rows("DROP TABLE big", "app")
    assert_small(pooler)


def test_kernel_tls(make, certs, tls_pg):
    """Whether the kernel can or not, it is the same to everybody."""
    pooler = both_sides(make, certs, tls_pg, tls_kernel=1)
    with connect(pooler, certs.client()) as w:
        assert w.value(f"SELECT md5(repeat('x', {20 * MB}))") == hashlib.md5(b"x" * 20 * MB).hexdigest()
        assert w.value(f"SELECT repeat('x', {20 * MB})") == "x" * 20 * MB
        assert w.value(f"SELECT length('{'x' * 20 * MB}')") == str(20 * MB)


def test_idle_clients(make, certs):
    count = 1000
    pooler = make("require", max_client_conn=2000)
    context = certs.client()
    idle = []

    def add(n):
        for _ in range(n):
            idle.append(connect(pooler, context, idle[0].sock.session if idle else None))
            assert idle[-1].value("SELECT 1") == "1"

    add(100)
    before = pooler.rss()
    add(count)
    each = (pooler.rss() - before) / count
    print(f"\n{each:.0f} bytes per idle TLS client")
    for w in idle:
        w.close()
    if not has_sanitizers():
        assert each < 40000
