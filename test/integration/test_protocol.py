"""The protocol, byte by byte: everything a client may send, in any portions, in every phase."""

import socket
import struct
import time

import pytest

from harness.wire import (GSSENC_REQUEST, SSL_REQUEST, FakeServer, Closed, bind, close, cstring, describe,
                          error_fields, execute, extended, flush, packet, parse, query, startup_packet, sync)


def assert_alive(pooler):
    with pooler.wire() as w:
        assert w.value("SELECT 'alive'") == "alive"


# Startup

@pytest.mark.parametrize("code", [SSL_REQUEST, GSSENC_REQUEST])
def test_encryption_is_declined(pooler, code):
    with pooler.raw() as w:
        w.send_raw(packet("", struct.pack("!I", code)))
        assert w.read(1) == b"N"
        w.login("app", "app")
        assert w.value("SELECT 1") == "1"


def test_both_encryptions_are_declined_in_turn(pooler):
    with pooler.raw() as w:
        for code in (GSSENC_REQUEST, SSL_REQUEST):
            w.send_raw(packet("", struct.pack("!I", code)))
            assert w.read(1) == b"N"
        w.login("app", "app")


@pytest.mark.parametrize("version", [0x20000, 0x10000, 0x40000, 0, 0xffffffff])
def test_other_versions_are_refused(pooler, version):
    with pooler.raw() as w:
        w.startup({"user": "app", "database": "app"}, version)
        assert "Z" not in [m.type for m in w.drain()]
    assert_alive(pooler)


@pytest.mark.parametrize("data", [
    b"", b"\0", b"\0\0\0\4", b"\0\0\0\0", b"\xff\xff\xff\xff" + b"x" * 100, b"\0\0\0\5x",
    b"\0\0\0\x08\0\3\0\0", b"\0\0\0\x09\0\3\0\0\0", b"\0\0\0\x0d\0\3\0\0user\0", b"\0\0\0\x0e\0\3\0\0user\0x",
    b"\x7f\xff\xff\xff\0\3\0\0", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"x" * 500,
    startup_packet({"user": "", "database": "app"}), startup_packet({"database": "app"}),
    startup_packet({"user": "u" * 5000, "database": "app"}), startup_packet({"user": "app", "database": "d" * 5000}),
], ids=range(17))
def test_malformed_startup(pooler, data):
    with pooler.raw() as w:
        w.send_raw(data)
        w.sock.shutdown(socket.SHUT_WR)
        assert "Z" not in [m.type for m in w.drain()]
    assert_alive(pooler)


def test_bytes_after_a_declined_ssl_request_are_not_taken_for_encrypted(pooler):
    """What is sent along with the request is plain text, and no login may begin with it unnoticed."""
    with pooler.raw() as w:
        w.send_raw(packet("", struct.pack("!I", SSL_REQUEST)))
        assert w.read(1) == b"N"
        w.startup({"user": "app", "database": "app"})
        assert w.finish_login("app") is None


def test_a_port_probe_leaves_no_error(pooler):
    socket.create_connection(("127.0.0.1", pooler.port)).close()
    time.sleep(0.2)
    assert "ERROR" not in pooler.log() and "WARNING" not in pooler.log()


def test_login_notify_message(make_pooler):
    pooler = make_pooler(login_notify_message="Mind the step; it's high.")
    for _ in range(2):
        with pooler.raw() as w:
            w.startup({"user": "app", "database": "app"})
            messages = w.recv_until("Z")
            [notice] = [error_fields(m.body) for m in messages if m.type == "N"]
            assert (notice["S"], notice["M"]) == ("NOTICE", "Mind the step; it's high.")
            assert w.value("SELECT 1") == "1"


# Portions

def conversation():
    """A login and queries of all kinds as one run of bytes, and the types of the answer."""
    said = startup_packet({"user": "app", "database": "app"})
    said += query("SELECT 1") + extended("SELECT $1::text", ["x"]) + sync() + query("")
    said += query("SELECT 1/0") + parse("SELEC") + sync() + query("BEGIN") + query("COMMIT")
    return said, ["TDCZ", "12TDCZ", "IZ", "EZ", "EZ", "CZ", "CZ"]


def check_conversation(w):
    assert w.finish_login("app") is None
    for types in conversation()[1]:
        assert w.result().types == types


def test_split_at_every_byte(pooler):
    said, _ = conversation()
    for at in range(1, len(said)):
        with pooler.raw(timeout=10) as w:
            w.send_raw(said[:at])
            time.sleep(0.001)
            w.send_raw(said[at:])
            check_conversation(w)


def test_queries_split_at_every_byte_after_the_login(pooler):
    said, answers = conversation()
    said = said[len(startup_packet({"user": "app", "database": "app"})):]
    with pooler.wire() as w:
        for at in range(1, len(said)):
            w.send_raw(said[:at])
            time.sleep(0.001)
            w.send_raw(said[at:])
            for types in answers:
                assert w.result().types == types


def test_one_byte_at_a_time(pooler):
    said, _ = conversation()
    with pooler.raw() as w:
        for i in range(len(said)):
            w.send_raw(said[i:i + 1])
            time.sleep(0.0005)
        check_conversation(w)


def test_all_at_once(pooler):
    """PostgreSQL takes queries that come along with the startup packet, too."""
    with pooler.raw(timeout=10) as w:
        w.send_raw(conversation()[0])
        check_conversation(w)


def test_a_server_that_sends_byte_by_byte(make_pooler):
    def script(peer):
        whole = peer.send_raw

        def crumbs(data):
            for i in range(len(data)):
                whole(data[i:i + 1])
                time.sleep(0.0002)

        peer.send_raw = crumbs
        peer.read_startup()
        peer.welcome()
        peer.serve()

    with FakeServer(script) as server:
        pooler = make_pooler(databases={"app": server.entry})
        with pooler.wire() as w:
            for _ in range(3):
                result = w.query("SELECT 1")
                assert (result.types, result.tags) == ("CZ", ["SELECT 0"])


# Queries of all kinds

def test_empty_query(pooler):
    with pooler.wire() as w:
        assert w.query("").types == "IZ"
        assert w.query(" ; ; ").types == "IZ"
        assert w.extended("").types == "12nIZ"


def test_several_statements_in_one_query(pooler):
    with pooler.wire() as w:
        result = w.query("SELECT 1; SELECT 2; CREATE TEMP TABLE t (i int); DROP TABLE t")
        assert result.types == "TDCTDCCCZ"


def test_pipeline_with_one_sync(pooler):
    with pooler.wire() as w:
        w.send_raw(b"".join(extended("SELECT $1::int", [i]) for i in range(200)) + sync())
        assert [row[0] for row in w.result().rows] == [str(i) for i in range(200)]


def test_pipeline_with_many_syncs(pooler):
    with pooler.wire() as w:
        w.send_raw(b"".join(extended("SELECT $1::int", [i]) + sync() for i in range(200)))
        for i in range(200):
            assert w.result().value == str(i)


def test_an_error_skips_to_the_sync(pooler):
    with pooler.wire() as w:
        w.send_raw(extended("SELECT 1") + extended("SELECT 1/0") + extended("SELECT 2") + sync() +
                   extended("SELECT 3") + sync())
        first = w.result()
        assert (first.types, first.error["C"]) == ("12TDC1EZ", "22012")
        assert w.result().value == "3"


def test_simple_queries_between_extended_ones(pooler):
    with pooler.wire() as w:
        w.send_raw(query("SELECT 1") + extended("SELECT 2") + sync() + query("SELECT 3"))
        assert [w.result().value for _ in range(3)] == ["1", "2", "3"]


def test_flush_gets_answers_before_the_sync(pooler):
    with pooler.wire() as w:
        w.send_raw(extended("SELECT 1") + flush())
        assert "".join(m.type for m in w.recv_until("C")) == "12TDC"
        w.send_raw(sync())
        assert w.result().types == "Z"


def test_lone_syncs_and_flushes(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as a, pooler.wire() as b:
        a.send_raw(sync() * 5)
        assert [a.result().types for _ in range(5)] == ["Z"] * 5
        a.send_raw(flush())
        a.send_raw(sync())
        assert a.result().types == "Z"
        assert b.value("SELECT 1") == "1"


def test_portals_within_a_transaction(pooler):
    with pooler.wire() as w:
        w.query("BEGIN")
        w.send_raw(parse("SELECT generate_series(1, 5)", "s") + bind(name="s", portal="p") + describe("S", "s") +
                   describe("P", "p") + execute("p", 2) + execute("p", 2) + execute("p", 2) + close("P", "p") +
                   close("S", "s") + sync())
        result = w.result()
        assert result.types == "12tTTDDsDDsDC33Z"
        assert w.query("COMMIT").status == "I"


def test_function_call(pooler, pg):
    oid = pg.value("SELECT 'pg_catalog.int4pl'::regproc::oid", "app")
    with pooler.wire() as w:
        body = struct.pack("!IHHH", oid, 1, 1, 2) + struct.pack("!iiii", 4, 40, 4, 2) + struct.pack("!H", 1)
        w.send("F", body)
        result = w.result()
        assert result.types == "VZ"
        assert result.messages[0].body == struct.pack("!ii", 4, 42)
        assert w.value("SELECT 1") == "1"


def test_copy_in_simple(pooler):
    with pooler.wire() as w:
        w.query("CREATE TABLE IF NOT EXISTS protocol_copy (t text); TRUNCATE protocol_copy")
        w.send_raw(query("COPY protocol_copy FROM STDIN") + packet("d", b"a\nb\n") * 3 + packet("c") +
                   query("SELECT count(*) FROM protocol_copy"))
        assert w.result().types == "GCZ"
        assert w.result().value == "6"


def test_copy_in_extended(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as w, pooler.wire() as other:
        w.query("CREATE TABLE IF NOT EXISTS protocol_copy (t text); TRUNCATE protocol_copy")
        # The Sync comes while the server is in COPY mode, as it does from libpq: it is not swallowed.
        w.send_raw(parse("COPY protocol_copy FROM STDIN") + bind() + execute() + sync())
        assert "".join(m.type for m in w.recv_until("G")) == "12G"
        w.send_raw(packet("d", b"a\n") + packet("c") + sync())
        assert w.result().types == "CZ"
        assert other.value("SELECT count(*) FROM protocol_copy") == "1"
        assert w.value("SELECT 1") == "1"


def test_copy_fails_on_the_clients_side(pooler):
    with pooler.wire() as w:
        w.query("CREATE TABLE IF NOT EXISTS protocol_copy (t text)")
        w.send_raw(query("COPY protocol_copy FROM STDIN") + packet("d", b"a\n") + packet("f", cstring("given up")))
        result = w.result()
        assert result.types == "GEZ"
        assert "given up" in result.error["M"]
        assert w.value("SELECT 1") == "1"


@pytest.mark.parametrize("more", [0, 1, 1000])
def test_copy_fails_on_the_servers_side(make_pooler, more):
    """The client goes on sending CopyData that nobody wants any more."""
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as w, pooler.wire() as other:
        w.query("CREATE TABLE IF NOT EXISTS protocol_copy_int (i int)")
        w.send_raw(query("COPY protocol_copy_int FROM STDIN") + packet("d", b"not a number\n"))
        assert "E" in w.result().types
        w.send_raw(packet("d", b"1\n") * more + packet("c"))
        assert w.value("SELECT 1") == "1"
        assert other.value("SELECT 2") == "2"


def test_copy_out_and_a_query_behind_it(pooler):
    with pooler.wire() as w:
        w.send_raw(query("COPY (SELECT generate_series(1, 1000)) TO STDOUT") + query("SELECT 1"))
        first = w.result()
        assert first.types == "H" + "d" * 1000 + "cCZ"
        assert w.result().value == "1"


def test_notices_come_through(pooler):
    with pooler.wire() as w:
        result = w.query("DO $$ BEGIN RAISE NOTICE 'hear me'; END $$")
        assert result.notices[0]["M"] == "hear me"


def test_notify_in_session_mode(make_pooler):
    pooler = make_pooler(pool_mode="session")
    with pooler.wire() as a, pooler.wire() as b:
        a.query("LISTEN channel")
        b.query("NOTIFY channel, 'hello'")
        message = a.recv()
        assert message.type == "A"
        assert message.body[4:] == b"channel\0hello\0"


def test_errors_keep_all_their_fields(pooler, pg):
    sql = "SELECT * FROM no_such_table"
    with pooler.wire() as w, pg.connect(user="app") as direct:
        error = w.query(sql).error
        with pytest.raises(Exception) as caught:
            direct.execute(sql)
        diag = caught.value.diag
        assert (error["C"], error["M"], error["P"]) == (diag.sqlstate, diag.message_primary, diag.statement_position)
        assert error["V"] == "ERROR" and "F" in error and "L" in error and "R" in error


def test_warnings_during_the_servers_login_are_no_error(make_pooler):
    def script(peer):
        peer.read_startup()
        peer.send("N", b"SWARNING\0C01000\0Mjust so you know\0\0")
        peer.welcome()
        peer.serve()

    with FakeServer(script) as server:
        pooler = make_pooler(databases={"app": server.entry})
        with pooler.wire() as w:
            assert w.query("SELECT 1").tags == ["SELECT 0"]


# Nonsense

@pytest.mark.parametrize("data", [
    b"\0\0\0\0\4", b"?\0\0\0\4", b"Q\0\0\0\0", b"Q\0\0\0\3", b"Q\xff\xff\xff\xff", b"Q\x80\0\0\0abc",
    b"p\0\0\0\5\0", b"\xff" * 100, b"R\0\0\0\x08\0\0\0\0", b"Z\0\0\0\5I", b"P\0\0\0\5x",
    b"B\0\0\0\4", b"D\0\0\0\5P", b"S\0\0\0\5x",
], ids=range(14))
def test_nonsense_from_a_client(make_pooler, data):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as w:
        w.value("SELECT 1")
        w.send_raw(data + sync() * 3)
        w.sock.shutdown(socket.SHUT_WR)
        w.drain()
    assert_alive(pooler)


def nonsense_server(data, phase):
    def script(peer):
        peer.read_startup()
        if phase == "login":
            peer.send_raw(data)
            return
        peer.welcome()
        peer.recv()
        peer.send_raw(data)
    return FakeServer(script)


@pytest.mark.parametrize("phase", ["login", "query"])
@pytest.mark.parametrize("data", [
    b"", b"\0\0\0\0\0", b"R\0\0\0\3", b"R\0\0\0\x04", b"R\0\0\0\x08\0\0\0\x63", b"R\0\0\0\x08\0\0\0\7", b"Z\0\0\0\4",
    b"Z\0\0\0\5?", b"S\0\0\0\x08name", b"S\0\0\0\x04", b"K\0\0\0\5x", b"E\0\0\0\4", b"E\0\0\0\x09Mbroken", b"T\x7f\xff\xff\xff",
    b"D\xff\xff\xff\xff", b"R\0\0\0\x0a\0\0\0\x0aXY", b"HTTP/1.1 400 Bad Request\r\n\r\n",
], ids=range(17))
def test_nonsense_from_a_server(make_pooler, data, phase):
    with nonsense_server(data, phase) as server:
        pooler = make_pooler(databases={"bad": server.entry, "app": {}}, server_login_retry=1, query_wait_timeout=3,
                             client_login_timeout=3, server_connect_timeout=2, server_check_query="")
        with pooler.raw() as w:
            w.startup({"user": "app", "database": "bad"})
            try:
                if w.finish_login("app") is None:
                    w.send_raw(query("SELECT 1"))
                    w.drain()
            except Closed:
                pass
        assert_alive(pooler)


def test_what_a_server_sends_unasked(make_pooler):
    """ParameterStatus, notices and notifications while idle are fine; an answer nobody asked for is not."""
    seen = []

    def script(peer):
        peer.read_startup()
        seen.append(peer)
        peer.welcome()
        if len(seen) == 1:
            peer.send("S", cstring("application_name") + cstring("changed"))
            peer.send("N", b"SNOTICE\0C00000\0Mhello\0\0")
            peer.send("C", cstring("SELECT 1"))
            peer.ready()
        peer.serve()

    with FakeServer(script) as server:
        pooler = make_pooler(databases={"app": server.entry}, server_login_retry=1)
        with pooler.wire() as w:
            time.sleep(0.3)
            result = w.query("SELECT 1")
            assert result.tags in (["SELECT 0"], [])
            if result.tags:
                assert result.types.replace("S", "").replace("N", "") == "CZ"
