"""New certificates and settings at RELOAD: for whom they count, and what becomes of those that are wrong."""

import ssl

import pytest

from harness.certs import ALPN, ask, der, secure, tls
from harness.system import eventually
from harness.wire import Closed, query


@pytest.fixture
def shown(certs):
    """The certificate's files that the pooler reads, to be overwritten by the test."""
    return certs.copy(certs.server, "shown")


@pytest.fixture
def make(make_pooler, certs, shown):
    def make_one(mode="require", **settings):
        return make_pooler(**{**certs.for_clients(shown, mode), **settings})
    return make_one


def connect(pooler, context, session=None):
    return tls(pooler.raw(), context, session=session).login("app", "app")


def certificate(w):
    return w.sock.getpeercert(binary_form=True)


def reload(pooler, **settings):
    result = pooler.reload(**settings)
    assert result.error is None, result.error


def refuse(pooler, *texts, **settings):
    """A RELOAD that must fail, and say in one error and in the log what about."""
    error = pooler.reload(**settings).error
    assert error is not None
    for text in texts:
        assert text in str(error) and text in pooler.log(), error
    assert "RELOAD failed" in pooler.log()


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


# Towards clients

@pytest.mark.parametrize("how", ["other files", "the same files"])
def test_a_new_certificate(make, certs, shown, how):
    pooler = make()
    context = certs.client()
    with connect(pooler, context) as old:
        assert certificate(old) == der(certs.server)
        if how == "the same files":
            certs.overwrite(shown, certs.renewed)
            reload(pooler)
        else:
            reload(pooler, client_tls_cert_file=certs.renewed.cert, client_tls_key_file=certs.renewed.key)
        with connect(pooler, context) as new, connect(pooler, context, old.sock.session) as returned:
            assert certificate(new) == der(certs.renewed)
            # What was agreed on with the old certificate is not taken up again with the new one.
            assert not returned.sock.session_reused and certificate(returned) == der(certs.renewed)
            for w in (old, new, returned):
                assert w.value("SELECT 1") == "1"
            assert w.value("SELECT repeat('x', 1000000)") == "x" * 1000000


def test_a_new_certificate_by_sighup(make, certs, shown):
    pooler = make()
    certs.overwrite(shown, certs.renewed)
    pooler.hang_up()
    with connect(pooler, certs.client()) as w:
        assert certificate(w) == der(certs.renewed)


def test_a_handshake_that_has_begun_ends_with_the_old_certificate(make, certs, shown):
    pooler = make()
    with pooler.raw() as w:
        assert ask(w) == b"S"
        certs.overwrite(shown, certs.renewed)
        reload(pooler)
        secure(w, certs.client()).login("app", "app")
        assert certificate(w) == der(certs.server)
        assert w.value("SELECT 1") == "1"


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_sessions_outlive_a_reload_that_changes_nothing(make, certs, version):
    pooler = make()
    context = certs.client(version=ssl.TLSVersion[version])
    with connect(pooler, context) as w:
        session = w.sock.session
    reload(pooler, default_pool_size=7)
    with connect(pooler, context, session) as w:
        assert w.sock.session_reused and w.value("SELECT 1") == "1"


@pytest.mark.parametrize("what, texts", [
    ("no certificate", ["client_tls_cert_file", "no start line"]),
    ("half a certificate", ["client_tls_cert_file"]),
    ("no key", ["client_tls_key_file", "no private key in it"]),
    ("another key", ["client_tls_key_file", "key values mismatch"]),
    ("no file", ["client_tls_cert_file", "No such file"]),
    ("no authority", ["client_tls_ca_file", "no start line"]),
    ("no setting", ["client_tls_key_file"]),
    ("a bad cipher", ["client_tls_ciphers", "ROT13"]),
])
def test_what_cannot_be_used_leaves_the_old_in_place(make, certs, shown, what, texts):
    pooler = make(default_pool_size=3)
    context = certs.client()
    settings = {}
    with open(certs.renewed.cert) as f:
        renewed = f.read()
    with connect(pooler, context) as old:
        if what == "no certificate":
            write(shown.cert, "not a certificate\n")
        elif what == "half a certificate":
            write(shown.cert, renewed[:len(renewed) // 2])
        elif what == "no key":
            write(shown.key, "not a key\n")
        elif what == "another key":
            certs.overwrite(shown, certs.renewed._replace(key=certs.server.key))
        elif what == "no file":
            settings = {"client_tls_cert_file": "/nowhere/cert.pem"}
        elif what == "no authority":
            settings = {"client_tls_ca_file": "/dev/null"}
        elif what == "no setting":
            settings = {"client_tls_key_file": None}
        else:
            settings = {"client_tls_ciphers": "ROT13"}
        refuse(pooler, *texts, default_pool_size=9, **settings)
        # Nothing of that configuration is in force.
        assert pooler.config("default_pool_size") == "3"
        with connect(pooler, context, old.sock.session) as new:
            assert new.sock.session_reused
        with connect(pooler, context) as new:
            assert certificate(new) == der(certs.server)
            assert new.value("SELECT 1") == old.value("SELECT 1") == "1"
    # Once it is mended, all of it is.
    certs.overwrite(shown, certs.renewed)
    reload(pooler, **{**certs.for_clients(shown), "client_tls_ciphers": None})
    assert pooler.config("default_pool_size") == "9"
    with connect(pooler, context) as new:
        assert certificate(new) == der(certs.renewed)


def test_set(make, certs):
    """By the console, one setting at a time, and held to the same."""
    pooler = make()
    error = pooler.admin_result("SET client_tls_ciphers = 'ROT13'").error
    assert "client_tls_ciphers" in str(error)
    assert pooler.admin_result("SET client_tls_protocols = 'tlsv1.2'").error is None
    with connect(pooler, certs.client()) as w:
        assert w.sock.version() == "TLSv1.2"


def test_tls_is_switched_on_and_off(make, certs):
    pooler = make("disable")
    with pooler.wire() as plain:
        reload(pooler, client_tls_sslmode="require")
        with connect(pooler, certs.client()) as secret, pooler.raw() as late:
            assert late.try_login("app", "app")["C"] == "28000"
            reload(pooler, client_tls_sslmode="disable")
            with pooler.raw() as w:
                assert ask(w) == b"N"
                w.login("app", "app")
                # They stay as they came.
                for one in (plain, secret, w):
                    assert one.value("SELECT 1") == "1"


def test_a_request_answered_before_tls_was_switched_off(make, certs):
    """The answer holds."""
    pooler = make("prefer")
    with pooler.raw() as asked, pooler.raw() as silent:
        assert ask(asked) == b"S"
        reload(pooler, client_tls_sslmode="disable")
        secure(asked, certs.client()).login("app", "app")
        assert asked.value("SELECT 1") == "1"
        # This one came while TLS was on offer, and begins now that it is not.
        with pytest.raises((ssl.SSLError, OSError, Closed)):
            secure(silent, certs.client(alpn=ALPN))


def test_a_new_authority_counts_for_resumed_sessions_too(make, certs):
    pooler = make("verify-ca")
    context = certs.client(certs.client_app)
    with connect(pooler, context) as w:
        session = w.sock.session
    reload(pooler, client_tls_ca_file=certs.stranger.cert)
    with pytest.raises((ssl.SSLError, Closed)):
        connect(pooler, context, session)


# Towards servers

@pytest.fixture
def authorities(certs):
    """A file of authorities of the test's own."""
    pair = certs.copy(certs.ca, "authorities")
    return pair.cert


@pytest.fixture
def towards(make_pooler, certs, tls_pg, authorities):
    """A pooler with the real server behind TLS, which it verifies."""
    def make_one(**settings):
        return make_pooler(databases={"app": {"host": "localhost", "port": tls_pg.port}},
                           **certs.for_servers(**{"server_tls_ca_file": authorities, **settings}))
    return make_one


@pytest.mark.parametrize("what", ["mode", "protocols", "ciphers", "authority", "certificate"])
def test_servers_are_replaced(towards, certs, authorities, what):
    pooler = towards()
    with pooler.wire() as w, pooler.wire() as busy:
        busy.query("BEGIN")
        kept = busy.backend()
        before = w.backend()
        changes = {"mode": {"server_tls_sslmode": "require"}, "protocols": {"server_tls_protocols": "tlsv1.2"},
                   "ciphers": {"server_tls13_ciphers": "TLS_AES_128_GCM_SHA256"},
                   "certificate": {"server_tls_cert_file": certs.client_app.cert,
                                   "server_tls_key_file": certs.client_app.key}}
        if what == "authority":
            with open(certs.stranger.cert) as f, open(authorities, "a") as to:
                to.write(f.read())
        reload(pooler, **changes.get(what, {}))
        # A transaction is not cut; its server goes when it is over.
        assert busy.backend() == kept
        after = w.backend()
        assert after not in (before, kept)
        busy.query("COMMIT")
        assert busy.backend() == after
        eventually(lambda: len([row for row in pooler.admin("SHOW SERVERS") if row["database"] == "app"]) == 1,
                   "the old ones are gone")


def test_servers_stay_when_nothing_has_changed(towards):
    pooler = towards()
    with pooler.wire() as w:
        before = w.backend()
        reload(pooler, default_pool_size=7)
        assert w.backend() == before
        # What concerns clients only does not concern them.
        reload(pooler, client_tls_protocols="tlsv1.2")
        assert w.backend() == before


def test_clients_certificates_do_not_concern_servers(make, certs, shown, tls_pg):
    pooler = make(databases={"app": {"host": "localhost", "port": tls_pg.port}}, **certs.for_servers())
    with connect(pooler, certs.client()) as w:
        before = w.backend()
        certs.overwrite(shown, certs.renewed)
        reload(pooler)
        assert w.backend() == before


def test_server_settings_that_cannot_be_used(towards, certs, authorities):
    pooler = towards()
    with pooler.wire() as w:
        before = w.backend()
        write(authorities, "nobody\n")
        refuse(pooler, "server_tls_ca_file", "no start line")
        refuse(pooler, "server_tls_cert_file", server_tls_ca_file=certs.ca.cert,
               server_tls_cert_file=certs.client_app.cert)
        assert w.backend() == before
        # New servers are checked by what was read before.
        with pooler.wire() as other:
            w.query("BEGIN")
            assert other.value("SELECT 1") == "1"
        reload(pooler, server_tls_cert_file=None)
        assert w.query("COMMIT").error is None
        assert w.value("SELECT 1") == "1"


def test_a_query_that_runs_is_not_cut(towards, tls_pg):
    pooler = towards()
    with pooler.wire() as w:
        w.send_raw(query("SELECT pg_sleep(60) /* under way */, 'done'"))
        running = "FROM pg_stat_activity WHERE query LIKE '%under way%' AND wait_event = 'PgSleep'"
        eventually(lambda: tls_pg.value(f"SELECT count(*) {running}"), "the query runs")
        reload(pooler, server_tls_sslmode="require")
        w.cancel()
        assert w.result().error["C"] == "57014"
        assert w.value("SELECT 1") == "1"
