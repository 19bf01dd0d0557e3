"""TLS towards servers: whom the pooler talks to, what it shows of itself, and what it never passes on."""

import base64
import contextlib
import hashlib
import ssl
import struct
import threading

import pytest

from harness.certs import ALPN, REQUEST, end_point, secure_peer, was_asked
from harness.pg import PASSWORD
from harness.system import eventually
from harness.wire import FakeServer, Scram, cstring, packet, query

MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
CELL = "TLSv1.3/TLS_AES_256_GCM_SHA384/ECDH=X25519"
CELL_OF_POSTGRES = "TLSv1.3/TLS_AES_256_GCM_SHA384/ECDH=prime256v1"
LOST = "57P03"
USERS = {name: "" for name in ("app", "tls_only", "plain_only", "cert_user", "scram_user", "admin")}


def at(tls_pg, host="localhost", **more):
    """[databases] with the real server."""
    return {"app": {"host": host, "port": tls_pg.port, **more}}


def of(fake, host="localhost", **more):
    """A line of [databases] for a fake one, which listens on 127.0.0.1."""
    return {"host": host, "port": fake.port, **more}


def outcome(pooler, database="app", user="app", password=None):
    """What a client gets of a database: "in" after a query, or an SQLSTATE."""
    with pooler.raw() as w:
        error = w.try_login(user, database, password)
        return error["C"] if error else "in" if w.query("SELECT 1").error is None else "no answer"


def refusal(pooler, database="app", user="app"):
    with pooler.raw() as w:
        error = w.try_login(user, database)
        assert error is not None
        return error


def mentions(pooler, *texts):
    """A line of the log that has all of these."""
    return any(all(text in line for text in texts) for line in pooler.log().splitlines())


def cells(pooler, database="app"):
    return [row["tls"] for row in pooler.admin("SHOW SERVERS") if row["database"] == database]


# Fake servers' scripts

def serve(peer):
    peer.read_startup()
    peer.welcome()
    peer.serve()


def secured(context, play=serve):
    """One that has TLS, and does without where it is not asked for it."""
    def script(peer):
        first = peer.read(len(REQUEST))
        if first == REQUEST:
            peer.send_raw(b"S")
            secure_peer(peer, context)
        else:
            peer.buffer[:0] = first
        play(peer)
    return script


def direct(context, play=serve):
    """One that wants TLS from the first byte on."""
    def script(peer):
        secure_peer(peer, context)
        play(peer)
    return script


# Modes

GOOD = {"right", "ip", "cn_only"}
BAD_NAME = {"wrong_host", "ip_by_name", "name_by_ip"}
BAD_CHAIN = {"wrong_ca", "expired"}
EXPECTED = {
    **{mode: GOOD | BAD_NAME | BAD_CHAIN | {"plain"} for mode in ("disable", "allow", "prefer")},
    "require": GOOD | BAD_NAME | BAD_CHAIN,
    "verify-ca": GOOD | BAD_NAME,
    "verify-full": GOOD,
}


@pytest.fixture(scope="module")
def servers(certs):
    """{database: (fake server, host)}."""
    with contextlib.ExitStack() as stack:
        def made(pair):
            return stack.enter_context(FakeServer(secured(certs.peer(pair))))
        name_only = certs.certificate("name_only", names="DNS:localhost")
        ip = made(certs.ip)
        yield {
            "right": (made(certs.server), "localhost"), "ip": (ip, "127.0.0.1"), "ip_by_name": (ip, "localhost"),
            "cn_only": (made(certs.cn_only), "localhost"), "wrong_host": (made(certs.wrong_host), "localhost"),
            "name_by_ip": (made(name_only), "127.0.0.1"), "wrong_ca": (made(certs.wrong_ca), "localhost"),
            "expired": (made(certs.expired), "localhost"),
            "plain": (stack.enter_context(FakeServer(serve)), "localhost"),
        }


@pytest.mark.parametrize("mode", MODES)
def test_modes(make_pooler, certs, servers, mode):
    pooler = make_pooler(databases={name: of(*where) for name, where in servers.items()}, **certs.for_servers(mode))
    found = {name: outcome(pooler, name) for name in servers}
    assert found == {name: "in" if name in EXPECTED[mode] else LOST for name in servers}
    for name in EXPECTED[mode]:
        assert cells(pooler, name) == ["" if mode == "disable" or name == "plain" else CELL]
    if mode == "require":
        assert "server does not support TLS" in refusal(pooler, "plain")["M"]
    if mode == "verify-full":
        for reason in ("certificate has expired", "unable to get local issuer certificate", "hostname mismatch",
                       "IP address mismatch"):
            assert mentions(pooler, reason), reason


@pytest.mark.parametrize("mode", MODES)
def test_modes_with_postgres(make_pooler, certs, tls_pg, mode):
    pooler = make_pooler(databases=at(tls_pg), userlist=USERS, **certs.for_servers(mode))
    assert outcome(pooler, user="tls_only") == ("28000" if mode == "disable" else "in")
    assert outcome(pooler, user="plain_only") == ("in" if mode == "disable" else "28000")
    with pooler.wire() as w:
        seen = w.query("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()").rows
        assert seen == [["f", None] if mode == "disable" else ["t", "TLSv1.3"]]


def test_the_default_mode_takes_tls_where_there_is_some(make_pooler, tls_pg, pg):
    pooler = make_pooler(databases={**at(tls_pg), "other": {"dbname": "app"}})
    assert [outcome(pooler, name) for name in ("app", "other")] == ["in", "in"]
    assert [cells(pooler, name) for name in ("app", "other")] == [[CELL_OF_POSTGRES], [""]]


def test_a_unix_socket_needs_no_tls(make_pooler, certs, tls_pg):
    pooler = make_pooler(databases=at(tls_pg, tls_pg.directory), **certs.for_servers("verify-full"))
    assert outcome(pooler) == "in"
    assert cells(pooler) == [""]


def test_a_server_is_told_what_name_it_is_called_by(make_pooler, certs):
    names = []
    context = certs.peer()
    context.sni_callback = lambda sock, name, context: names.append(name)
    with FakeServer(secured(context)) as fake:
        pooler = make_pooler(databases={"name": of(fake), "address": of(fake, "127.0.0.1")}, **certs.for_servers())
        assert [outcome(pooler, "name"), outcome(pooler, "address")] == ["in", "in"]
    assert names == ["localhost", None]


def test_protocols_and_ciphers(make_pooler, certs, tls_pg):
    pooler = make_pooler(databases=at(tls_pg), userlist=USERS, **certs.for_servers(
        server_tls_protocols="tlsv1.2", server_tls_ciphers="ECDHE-ECDSA-AES128-GCM-SHA256"))
    assert outcome(pooler) == "in"
    cell, = cells(pooler)
    assert cell.startswith("TLSv1.2/ECDHE-ECDSA-AES128-GCM-SHA256/ECDH=")
    pooler.reload(server_tls_protocols="tlsv1.3", server_tls13_ciphers="TLS_CHACHA20_POLY1305_SHA256")
    assert outcome(pooler) == "in"
    eventually(lambda: cells(pooler) == ["TLSv1.3/TLS_CHACHA20_POLY1305_SHA256/ECDH=prime256v1"], "the new cipher")
    # A server that knows only what we do not.
    context = certs.peer()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with FakeServer(secured(context)) as fake:
        pooler.databases["app"] = of(fake)
        pooler.reload()
        assert refusal(pooler)["C"] == LOST


# The pooler's own certificate

def test_client_certificate(make_pooler, certs, tls_pg):
    pooler = make_pooler(databases=at(tls_pg), userlist=USERS, **certs.for_servers(pair=certs.client_cert_user))
    with pooler.wire(user="cert_user") as w:
        assert w.value("SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == \
            "/O=pgsluice tests/CN=cert_user"


def test_client_certificates_that_will_not_do(make_pooler, certs, tls_pg):
    pooler = make_pooler(databases=at(tls_pg), userlist=USERS, **certs.for_servers())
    error = refusal(pooler, user="cert_user")
    assert (error["C"], error["M"]) == ("28000", "connection requires a valid client certificate")
    pooler.reload(**certs.for_servers(pair=certs.client_app))
    assert refusal(pooler, user="cert_user")["C"] == "28000"


@pytest.mark.parametrize("version", ["tlsv1.2", "tlsv1.3"])
@pytest.mark.parametrize("name, reason", [("client_wrong_ca", "unknown ca"), ("client_expired", "expired")])
def test_the_log_says_why_the_server_refuses_our_certificate(make_pooler, certs, tls_pg, name, reason, version):
    """In TLS 1.3 its alert comes when our side of the handshake is long done."""
    pooler = make_pooler(databases=at(tls_pg), userlist=USERS,
                         **certs.for_servers(pair=getattr(certs, name), server_tls_protocols=version))
    assert refusal(pooler, user="cert_user")["C"] == LOST
    assert mentions(pooler, "cert_user", reason)


# Channel binding

def scram(chosen, mechanisms, binding):
    """Asks for a password by SCRAM and holds the client to the binding; notes in `chosen` what it has used."""
    def play(peer):
        peer.read_startup()
        peer.send("R", struct.pack("!I", 10) + b"".join(map(cstring, mechanisms)) + b"\0")
        mechanism, rest = peer.recv().body.split(b"\0", 1)
        header, bare = rest[4:].decode().split(",,", 1)
        chosen.append((mechanism.decode(), header))
        nonce = dict(field.split("=", 1) for field in bare.split(","))["r"] + "ours"
        salt = b"0123456789abcdef"
        first = f"r={nonce},s={base64.b64encode(salt).decode()},i=4096"
        peer.send("R", struct.pack("!I", 11) + first.encode())
        final, proof = peer.recv().body.decode().rsplit(",p=", 1)
        fields = dict(field.split("=", 1) for field in final.split(","))
        used = binding if header.startswith("p=") else b""
        assert base64.b64decode(fields["c"]) == header.encode() + b",," + used
        salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt, 4096)
        said = f"{bare},{first},{final}".encode()
        key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), Scram.mac(
            hashlib.sha256(Scram.mac(salted, b"Client Key")).digest(), said)))
        assert key == Scram.mac(salted, b"Client Key")
        signature = Scram.mac(Scram.mac(salted, b"Server Key"), said)
        peer.send("R", struct.pack("!I", 12) + b"v=" + base64.b64encode(signature))
        peer.welcome()
        peer.serve()
    return play


def test_channel_binding(make_pooler, certs):
    chosen = []
    plain, plus = "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"
    ed25519 = certs.peer(certs.ed25519)
    bound = scram(chosen, [plus, plain], end_point(certs.server))
    with FakeServer(secured(certs.peer(), bound)) as both, \
            FakeServer(secured(certs.peer(), scram(chosen, [plain], b""))) as old, \
            FakeServer(secured(ed25519, scram(chosen, [plus, plain], b""))) as no_digest, \
            FakeServer(scram(chosen, [plain], b"")) as in_the_clear:
        pooler = make_pooler(databases={
            name: of(server, user="app", password=PASSWORD) for name, server in
            (("both", both), ("old", old), ("no_digest", no_digest), ("in_the_clear", in_the_clear))})
        for name in ("both", "old", "no_digest", "in_the_clear"):
            assert outcome(pooler, name) == "in", name
        assert both.failures + old.failures + no_digest.failures + in_the_clear.failures == []
    assert chosen[:2] == [(plus, "p=tls-server-end-point"), (plain, "y")]
    assert chosen[2:] == [(plain, "n"), (plain, "n")]


def test_scram_with_postgres(make_pooler, certs, tls_pg):
    """With a password, and with what has passed through at the client's own login."""
    forced = at(tls_pg, dbname="app", user="scram_user", password=PASSWORD)["app"]
    pooler = make_pooler(databases={**at(tls_pg), "forced": forced}, auth_type="scram-sha-256",
                         userlist={"scram_user": tls_pg.secret("scram_user"), "admin": "admin"},
                         **certs.for_servers())
    for database in ("app", "forced"):
        assert outcome(pooler, database, "scram_user", PASSWORD) == "in"
        assert cells(pooler, database) == [CELL_OF_POSTGRES]


# Servers that cannot be trusted

def answers(data):
    """A script that answers the request for TLS with these bytes and notes what comes then."""
    def script(peer):
        was_asked(peer).send_raw(data)
        script.heard = peer.sock.recv(1000)
    script.heard = None
    return script


ERROR = packet("E", b"SFATAL\0C28000\0Mlies, all lies\0\0")


@pytest.mark.parametrize("mode", ["prefer", "require"])
@pytest.mark.parametrize("answer", [b"E", ERROR, b"S" + ERROR, b"SS", b"N" + ERROR, b"X", b""],
                         ids=["E", "error", "S, error", "SS", "N, error", "X", "nothing"])
def test_wrong_answers_to_the_request(make_pooler, answer, mode):
    """What comes in the clear is nobody's word: it is neither believed nor passed on."""
    script = answers(answer)
    with FakeServer(script) as fake:
        if not answer:
            fake.script = lambda peer: was_asked(peer)
        pooler = make_pooler(databases={"app": of(fake)}, server_tls_sslmode=mode)
        with pooler.raw() as w:
            seen = w.attempt("app", "app")
        assert seen.outcome == LOST and "lies" not in str(seen.error)
        if answer:
            eventually(lambda: script.heard is not None, "the end of the connection")
            assert script.heard == b""
        assert "lies" not in pooler.log()
        assert fake.failures == []


def test_bytes_in_the_clear_behind_the_answer(make_pooler, certs):
    """Those that come later are no TLS, and that is the end of it."""
    heard = []

    def script(peer):
        was_asked(peer).send_raw(b"S")
        heard.append(peer.sock.recv(1000)[:1])
        peer.send_raw(ERROR)
        heard.append(peer.sock.recv(1000)[:1])

    with FakeServer(script) as fake:
        pooler = make_pooler(databases={"app": of(fake)})
        error = refusal(pooler)
        assert error["C"] == LOST and "lies" not in str(error)
        assert heard[0] == b"\x16"
        eventually(lambda: len(heard) >= 2, "the end of the connection")
        assert heard[1] in (b"", b"\x15")


def test_a_server_that_never_answers(make_pooler):
    hold = threading.Event()
    with FakeServer(lambda peer: was_asked(peer) and hold.wait(60)) as fake:
        pooler = make_pooler(databases={"app": of(fake)}, server_connect_timeout=1, query_wait_timeout=5)
        assert outcome(pooler) != "in"
        hold.set()


def test_a_server_that_never_shakes_hands(make_pooler):
    hold = threading.Event()

    def script(peer):
        was_asked(peer).send_raw(b"S")
        hold.wait(60)

    with FakeServer(script) as fake:
        pooler = make_pooler(databases={"app": of(fake)}, server_connect_timeout=1, query_wait_timeout=5)
        assert outcome(pooler) != "in"
        hold.set()


# Direct

def test_direct(make_pooler, certs):
    chosen = []

    def play(peer):
        chosen.append(peer.sock.selected_alpn_protocol())
        serve(peer)

    with FakeServer(direct(certs.peer(alpn=ALPN), play)) as fake:
        pooler = make_pooler(databases={"app": of(fake)}, **certs.for_servers(server_tls_negotiation="direct"))
        assert outcome(pooler) == "in"
        assert cells(pooler) == [CELL]
    assert chosen == [ALPN]


def test_direct_takes_the_protocol_s_name(make_pooler, certs):
    """A server that does not name PostgreSQL's protocol may be one of another: it hears nothing of ours."""
    with FakeServer(direct(certs.peer())) as fake:
        pooler = make_pooler(databases={"app": of(fake)}, **certs.for_servers(server_tls_negotiation="direct"))
        assert outcome(pooler) == LOST


def test_direct_to_a_server_that_does_not_know_it(make_pooler, certs, tls_pg):
    pooler = make_pooler(databases=at(tls_pg), userlist=USERS, **certs.for_servers(server_tls_negotiation="direct"))
    assert outcome(pooler) == LOST


# Cancel requests

@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
def test_cancel_requests_are_encrypted_as_their_servers_are(make_pooler, certs, negotiation):
    cancelled = threading.Event()
    keys = []

    def play(peer):
        startup = peer.read_startup()
        if "cancel" in startup:
            keys.append((startup["cancel"], isinstance(peer.sock, ssl.SSLSocket)))
            cancelled.set()
            return
        peer.welcome()
        assert peer.recv().type == "Q"
        assert cancelled.wait(30)
        peer.error("57014", "cancelled")
        peer.ready()
        peer.serve()

    script = secured(certs.peer(), play) if negotiation == "postgres" else direct(certs.peer(alpn=ALPN), play)
    with FakeServer(script) as fake:
        pooler = make_pooler(databases={"app": of(fake)}, **certs.for_servers(server_tls_negotiation=negotiation))
        with pooler.wire() as w:
            w.send_raw(query("SELECT 1"))
            pooler.wait_pool(cl_active=1, sv_active=1)
            w.cancel()
            assert w.result().error["C"] == "57014"
            assert w.query("SELECT 1").error is None
        assert fake.failures == []
    assert keys == [(struct.pack("!II", 4711, 4712), True)]


def test_no_cancel_request_to_a_server_with_another_certificate(make_pooler, certs):
    """The key would be in somebody else's hands."""
    contexts = [certs.peer(), certs.peer(certs.wrong_ca)]
    heard = []

    def play(peer):
        startup = peer.read_startup()
        heard.append(startup)
        peer.welcome()
        assert peer.recv().type == "Q"
        peer.recv()

    def script(peer):
        secured(contexts.pop(0), play)(peer)

    with FakeServer(script) as fake:
        pooler = make_pooler(databases={"app": of(fake)}, **certs.for_servers())
        with pooler.wire() as w:
            w.send_raw(query("SELECT 1"))
            pooler.wait_pool(cl_active=1, sv_active=1)
            w.cancel()
        assert contexts == [] and len(heard) == 1


def test_cancel_with_postgres(make_pooler, certs, tls_pg):
    pooler = make_pooler(databases=at(tls_pg), userlist=USERS, **certs.for_servers())
    with pooler.wire() as w:
        w.send_raw(query("SELECT pg_sleep(60) /* to be cancelled */"))
        eventually(lambda: tls_pg.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%to be cancelled%'"
                                        " AND wait_event = 'PgSleep'"), "the query runs")
        w.cancel()
        assert w.result().error["C"] == "57014"


# The pooler's own connections

@pytest.fixture
def stored(tls_pg):
    """A user of the server's, whom no auth_file knows."""
    tls_pg.make_role("looked_up", PASSWORD, "demand_scram")
    return at(tls_pg)


def looked_up(make_pooler, databases, **settings):
    return make_pooler(databases=databases, auth_type="scram-sha-256", userlist={"admin": "admin"}, **settings)


def test_auth_query(make_pooler, certs, stored):
    """Its user gets in by TLS only, and the secret that it finds is good for a bound login to the server."""
    pooler = looked_up(make_pooler, stored, auth_user="tls_only", **certs.for_servers())
    assert outcome(pooler, user="looked_up", password=PASSWORD) == "in"
    assert outcome(pooler, user="looked_up", password="wrong") == "28P01"
    assert cells(pooler) == [CELL_OF_POSTGRES]


def test_auth_query_with_a_certificate(make_pooler, certs, stored):
    pooler = looked_up(make_pooler, stored, auth_user="cert_user", **certs.for_servers(pair=certs.client_cert_user))
    assert outcome(pooler, user="looked_up", password=PASSWORD) == "in"


@pytest.mark.parametrize("mode, reason", [
    ("disable", "pg_hba.conf rejects connection"), ("verify-ca", "certificate verify failed")])
def test_auth_query_where_it_may_not_go(make_pooler, certs, stored, mode, reason):
    pooler = looked_up(make_pooler, stored, auth_user="tls_only",
                       **certs.for_servers(mode, server_tls_ca_file=certs.stranger.cert))
    assert outcome(pooler, user="looked_up", password=PASSWORD) not in ("in", "28P01")
    assert mentions(pooler, "auth_query failed: ", reason)


def test_auth_query_at_the_wrong_host(make_pooler, certs):
    with FakeServer(secured(certs.peer(certs.wrong_host))) as fake:
        pooler = looked_up(make_pooler, {"app": of(fake)}, auth_user="tls_only", **certs.for_servers())
        assert outcome(pooler, user="looked_up", password=PASSWORD) not in ("in", "28P01")
        assert mentions(pooler, "auth_query failed: ", "does not match")


# Many at once

def test_handshakes_with_many_servers_at_once(make_pooler, certs, tls_pg):
    """However few fit into a turn, none is forgotten."""
    count = 20
    pooler = make_pooler(databases=at(tls_pg), default_pool_size=count, server_connect_parallel=count,
                         tls_handshakes_per_turn=1, **certs.for_servers())
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(pooler.wire()) for _ in range(count)]
        for w in clients:
            w.send_raw(query("BEGIN"))
        for w in clients:
            assert w.result().error is None
        assert len(cells(pooler)) == count
