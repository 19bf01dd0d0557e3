"""Protocol 3.2: what is offered to whom, and cancel keys longer than those of 3.0, on both sides."""

import struct

import pytest
from harness.system import eventually
from harness.wire import CANCEL_REQUEST, FakeServer, packet, query

LONG = 4 + 32  # what PostgreSQL 18 gives clients of protocol 3.2


def login(pooler, version, **parameters):
    w = pooler.raw()
    assert w.try_login("app", "app", version=version, **parameters) is None
    return w


def negotiated(w):
    """The version and the options that NegotiateProtocolVersion names; None if there was none."""
    if w.negotiated is None:
        return None
    version, n = struct.unpack_from("!II", w.negotiated)
    names = [name.decode() for name in w.negotiated[8:].split(b"\0")[:-1]]
    assert len(names) == n
    return version, names


def cancel(pooler, key):
    with pooler.raw() as w:
        w.send_raw(packet("", struct.pack("!I", CANCEL_REQUEST) + key))
        assert w.drain() == []


def runs(pg):
    return pg.value("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'") == 1


@pytest.mark.parametrize("version, options, expected", [
    (0x30000, {}, None),
    (0x30001, {}, None),
    (0x30002, {}, None),
    (0x30003, {}, (0x30002, [])),
    (0x3270f, {"_pq_.grease": ""}, (0x30002, ["_pq_.grease"])),
    (0x30000, {"_pq_.something": "x"}, (0x30000, ["_pq_.something"])),
    (0x30002, {"_pq_.a": "1", "_pq_.b": "2"}, (0x30002, ["_pq_.a", "_pq_.b"])),
])
def test_the_newest_version_that_both_speak_is_spoken(pooler, version, options, expected):
    with login(pooler, version, **options) as w:
        assert negotiated(w) == expected
        assert len(w.key) == (LONG if version >= 0x30002 else 8)
        assert w.value("SELECT 1") == "1"


@pytest.mark.parametrize("database", ["app", "pgbouncer"])
def test_the_console_gives_out_long_keys_too(pooler, database):
    with pooler.raw() as w:
        assert w.try_login("admin" if database == "pgbouncer" else "app", database, version=0x30002) is None
        assert len(w.key) == LONG


def test_a_long_key_cancels(pooler, pg):
    with login(pooler, 0x30002) as w:
        w.send_raw(query("SELECT pg_sleep(1000)"))
        eventually(lambda: runs(pg), "the query runs")
        cancel(pooler, w.key)
        assert w.result().error["C"] == "57014"
        assert w.value("SELECT 1") == "1"


def test_every_byte_of_a_long_key_counts(pooler, pg):
    with login(pooler, 0x30002) as w:
        w.send_raw(query("SELECT pg_sleep(1.5), 'whole'"))
        eventually(lambda: runs(pg), "the query runs")
        for i in range(LONG):
            # In byte 7 the last two bits count hops.
            cancel(pooler, w.key[:i] + bytes([w.key[i] ^ 0x80]) + w.key[i + 1:])
        for key in (w.key[:8], w.key[:-1], w.key + b"\0", w.key[:8] + b"\0" * 28, w.key[:8] + w.key[8:] * 9):
            cancel(pooler, key)
        assert w.result().rows == [["", "whole"]]


def test_a_short_key_grows_no_tail(pooler, pg):
    with login(pooler, 0x30000) as w:
        w.send_raw(query("SELECT pg_sleep(1), 'whole'"))
        eventually(lambda: runs(pg), "the query runs")
        cancel(pooler, w.key + b"\0" * 28)
        assert w.result().rows == [["", "whole"]]


def test_keys_of_one_client_after_the_other_have_nothing_in_common(pooler):
    """The place in the table of clients is the same, what the key shows of it is not."""
    keys = []
    for _ in range(20):
        with login(pooler, 0x30002) as w:
            keys.append(w.key)
    assert len({key[3:6] for key in keys}) > 15
    assert len({key[8:] for key in keys}) == 20


def with_key(key, asked):
    """A server that gives this key, and answers a query when it has been asked to cancel it."""
    def script(peer):
        startup = peer.read_startup()
        if "cancel" in startup:
            asked.append(startup["cancel"])
            first = next(p for p in server.peers if p is not peer)
            first.error("57014", "canceling statement due to user request")
            first.ready()
            return
        peer.send("R", struct.pack("!I", 0))
        peer.send("S", b"client_encoding\0UTF8\0")
        peer.send("K", key)
        peer.ready()
        while peer.recv().type != "X":
            pass

    server = FakeServer(script)
    return server


@pytest.mark.parametrize("size", [8, 12, 36, 260])
def test_a_servers_key_comes_back_whole(make_pooler, size):
    key = bytes(i % 251 for i in range(size))
    asked = []
    with with_key(key, asked) as server:
        pooler = make_pooler(databases={"app": server.entry})
        with pooler.wire() as w:
            w.send_raw(query("SELECT 1"))
            pooler.wait_pool(sv_active=1)
            w.cancel()
            assert w.result().error["C"] == "57014"
        assert asked == [key]


@pytest.mark.parametrize("size", [0, 4, 7, 261, 5000])
def test_a_servers_key_of_an_impossible_length_ends_the_login(make_pooler, size):
    with with_key(b"k" * size, []) as server:
        pooler = make_pooler(databases={"app": server.entry}, client_login_timeout=2)
        with pooler.raw() as w:
            assert w.try_login("app", "app") is not None
        assert "broken packet from the server" in pooler.log()
