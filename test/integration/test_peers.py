"""Cancel requests that land on the wrong process travel to the right one."""

import contextlib
import os
import select
import socket
import struct
import threading

import pytest
from harness.system import eventually, free_port
from harness.wire import CANCEL_REQUEST, FakeServer, packet, query

LONG_QUERY = "SELECT pg_sleep(1000) /* peers */"


def runs(pg, n=1):
    return pg.value("SELECT count(*) FROM pg_stat_activity WHERE state = 'active'"
                    " AND query = 'SELECT pg_sleep(1000) /* peers */'") == n


def ask(pooler, key):
    """A request to cancel whose end is not waited for."""
    w = pooler.raw()
    w.send_raw(packet("", struct.pack("!I", CANCEL_REQUEST) + key))
    return w


def is_open(w):
    return not select.select([w.sock], [], [], 0)[0]


def key_of(peer, hops=3):
    """As PgBouncer with this peer_id makes them."""
    key = bytearray(os.urandom(8))
    key[0] &= 0x7f
    key[1:3] = struct.pack("<H", peer)
    key[7] = key[7] & ~3 | hops
    return bytes(key)


@pytest.fixture
def make_peers(make_pooler):
    """Poolers 1 to n that know each other: over "tcp", by "name" or over the "unix" socket."""
    def make(n, way="tcp", **settings):
        poolers = [make_pooler(start=False, peer_id=i + 1, **settings) for i in range(n)]
        for pooler in poolers:
            pooler.peers = {i + 1: {"host": {"tcp": "127.0.0.1", "name": "localhost", "unix": p.directory}[way],
                                    "port": p.port} for i, p in enumerate(poolers)}
            pooler.write()
            pooler.start()
        return poolers
    return make


@contextlib.contextmanager
def fake_peer(is_open_until=None):
    """A peer that notes the keys that reach it, and closes at once or when it is told so."""
    keys = []

    def script(peer):
        keys.append(peer.read_startup()["cancel"])
        if is_open_until is not None:
            is_open_until.wait(60)

    with FakeServer(script) as server:
        yield server, keys


# Keys

@pytest.mark.parametrize("peer", [1, 255, 256, 16383])
@pytest.mark.parametrize("version", [0x30000, 0x30002])
def test_keys_are_laid_out_as_pgbouncers(make_pooler, peer, version):
    pooler = make_pooler(peer_id=peer)
    for _ in range(10):
        with pooler.raw() as w:
            assert w.try_login("app", "app", version=version) is None
            assert w.key[0] < 128
            assert struct.unpack("<H", w.key[1:3]) == (peer,)
            assert w.key[7] & 3 == 3


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_a_key_is_handed_on_with_one_hop_less(make_pooler, hops):
    with fake_peer() as (server, keys):
        pooler = make_pooler(peer_id=1, peers={7: server.entry})
        key = key_of(7, hops)
        assert ask(pooler, key).drain() == []
        assert keys == [key[:7] + bytes([key[7] - 1])]


def test_a_long_key_is_handed_on_whole(make_pooler):
    with fake_peer() as (server, keys):
        pooler = make_pooler(peer_id=1, peers={7: server.entry})
        key = key_of(7) + os.urandom(252)
        assert ask(pooler, key).drain() == []
        assert keys == [key[:7] + bytes([key[7] - 1]) + key[8:]]


@pytest.mark.parametrize("settings, key", [
    ({"peer_id": 1}, key_of(7, hops=0)),
    ({"peer_id": 1}, key_of(8)),
    ({"peer_id": 1}, key_of(1)),
    ({"peer_id": 1}, key_of(0)),
    ({"peer_id": 0}, key_of(7)),
    ({}, key_of(7)),
], ids=["no hops left", "unknown", "our own", "of nobody", "peering is off", "not set"])
def test_what_is_for_no_peer_goes_nowhere(make_pooler, settings, key):
    with fake_peer() as (server, keys):
        pooler = make_pooler(peers={1: server.entry, 7: server.entry}, **settings)
        assert ask(pooler, key).drain() == []
        assert keys == []


# The right one acts upon it

@pytest.mark.parametrize("way", ["tcp", "name", "unix"])
@pytest.mark.parametrize("version", [0x30000, 0x30002])
def test_a_request_at_the_wrong_process_cancels(make_peers, pg, way, version):
    one, two = make_peers(2, way)
    with one.raw() as w:
        assert w.try_login("app", "app", version=version) is None
        w.send_raw(query(LONG_QUERY))
        eventually(lambda: runs(pg), "the query runs")
        assert ask(two, w.key).drain() == []
        assert w.result().error["C"] == "57014"
        # At the right one, too.
        w.send_raw(query(LONG_QUERY))
        eventually(lambda: runs(pg), "the query runs")
        assert ask(one, w.key).drain() == []
        assert w.result().error["C"] == "57014"


def test_processes_behind_one_port_cancel_for_each_other(make_pooler, pg):
    """As PgBouncer's documentation sets it up: so_reuseport, and the peers' Unix sockets."""
    port = free_port()
    poolers = [make_pooler(start=False, peer_id=i + 1, so_reuseport=1, listen_port=port) for i in range(2)]
    for pooler in poolers:
        pooler.port = port
        pooler.peers = {i + 1: {"host": p.directory, "port": port} for i, p in enumerate(poolers)}
        pooler.write()
        pooler.start()
        # The port may have been answered by the other.
        eventually(lambda: os.path.exists(pooler.unix_socket), "it listens")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(poolers[0].wire()) for _ in range(16)]
        assert {struct.unpack("<H", w.key[1:3])[0] for w in clients} == {1, 2}
        for w in clients:
            w.send_raw(query(LONG_QUERY))
        eventually(lambda: runs(pg, 16), "the queries run")
        for w in clients:
            w.cancel()
            assert w.result().error["C"] == "57014"


def test_a_request_passes_through_peers_that_do_not_know_better(make_pooler, pg):
    """Each knows another way only: 4 -> 3 -> 2 -> 1 is as far as a request goes."""
    last = make_pooler(peer_id=1)
    poolers = [last]
    for number in (2, 3, 4, 5):
        poolers.append(make_pooler(peer_id=number, peers={1: {"host": "127.0.0.1", "port": poolers[-1].port}}))
    with last.wire() as w:
        w.send_raw(query(LONG_QUERY))
        eventually(lambda: runs(pg), "the query runs")
        assert ask(poolers[4], w.key).drain() == []
        assert runs(pg)
        assert ask(poolers[3], w.key).drain() == []
        assert w.result().error["C"] == "57014"


def test_a_ring_of_peers_ends(make_pooler):
    """Each takes the other for peer 9."""
    poolers = [make_pooler(start=False, peer_id=i + 1, verbose=1) for i in range(2)]
    for a, b in (poolers, poolers[::-1]):
        a.peers = {9: {"host": "127.0.0.1", "port": b.port}}
        a.write()
        a.start()
    assert ask(poolers[0], key_of(9)).drain() == []
    [left] = [p for p in poolers if "come through too many peers" in p.log()]
    assert left is poolers[1]


def test_a_reload_changes_the_peers(make_pooler):
    with fake_peer() as (server, keys):
        pooler = make_pooler(peer_id=1)
        key = key_of(7)
        assert ask(pooler, key).drain() == [] and keys == []
        pooler.peers = {7: server.entry}
        pooler.reload()
        assert ask(pooler, key).drain() == [] and len(keys) == 1
        pooler.peers = {}
        pooler.reload()
        assert ask(pooler, key).drain() == [] and len(keys) == 1


def test_a_key_outlives_a_change_of_peer_id(make_pooler, pg):
    pooler = make_pooler(peer_id=1)
    with pooler.wire() as w:
        pooler.reload(peer_id=2)
        w.send_raw(query(LONG_QUERY))
        eventually(lambda: runs(pg), "the query runs")
        w.cancel()
        assert w.result().error["C"] == "57014"


# Peers that are not well

def test_a_dead_peer_costs_nobody_anything(make_pooler):
    pooler = make_pooler(peer_id=1, peers={7: {"host": "127.0.0.1", "port": free_port()},
                                           8: {"host": "/nonexistent", "port": 1},
                                           9: {"host": "no.such.host.invalid", "port": 1}})
    with pooler.wire() as w:
        for number in (7, 8, 9):
            for _ in range(20):
                assert ask(pooler, key_of(number)).drain() == []
            assert w.value("SELECT 1") == "1"
            assert pooler.log().count(f"WARNING peer {number}: cancel request cannot be handed on") == 1


def test_a_peer_that_does_not_answer_is_given_up(make_pooler):
    """At most pool_size requests are with it, the others wait; queries go on meanwhile."""
    forever = threading.Event()
    with fake_peer(forever) as (server, keys):
        pooler = make_pooler(peer_id=1, cancel_wait_timeout=2, peers={7: {**server.entry, "pool_size": 2}})
        asking = [ask(pooler, key_of(7)) for _ in range(5)]
        row = {"peer_id": "7", "cl_active_cancel_req": "2", "cl_waiting_cancel_req": "3", "sv_active_cancel": "2",
               "sv_login": "0"}
        eventually(lambda: pooler.admin("SHOW PEER_POOLS") == [row], "two are under way, three wait")
        assert all(is_open(w) for w in asking)
        with pooler.wire() as w:
            assert w.value("SELECT 1") == "1"
        assert all(w.drain() == [] for w in asking)
        forever.set()
    assert 2 <= len(keys) <= 5
    assert pooler.log().count("no answer within cancel_wait_timeout") == 1


def test_a_peer_that_comes_back_is_told_of(make_pooler):
    port = free_port()
    pooler = make_pooler(peer_id=1, peers={7: {"host": "127.0.0.1", "port": port}})
    assert ask(pooler, key_of(7)).drain() == []
    with FakeServer(lambda peer: peer.read_startup(), port=port):
        assert ask(pooler, key_of(7)).drain() == []
    pooler.wait_log("peer 7: can be reached again")


@pytest.mark.parametrize("talk", [b"N", b"S", b"E\0\0\0\x05\0", b"talk" * 50000],
                         ids=["N", "S", "error", "much"])
def test_what_a_peer_says_is_dropped(make_pooler, talk):
    def script(peer):
        peer.read_startup()
        peer.send_raw(talk)

    with FakeServer(script) as server:
        pooler = make_pooler(peer_id=1, peers={7: server.entry})
        with ask(pooler, key_of(7)) as w:
            w.sock.shutdown(socket.SHUT_WR)
            assert w.drain() == []
        with pooler.wire() as w:
            assert w.value("SELECT 1") == "1"


def test_a_storm_for_a_peer_is_served_in_turns(make_pooler):
    with fake_peer() as (server, keys):
        pooler = make_pooler(peer_id=1, peers={7: {**server.entry, "pool_size": 3}})
        asking = [ask(pooler, key_of(7)) for _ in range(200)]
        assert all(w.drain() == [] for w in asking)
        assert len(keys) == 200


def test_the_end_of_the_pooler_ends_what_is_under_way(make_pooler):
    forever = threading.Event()
    with fake_peer(forever) as (server, keys):
        pooler = make_pooler(peer_id=1, peers={7: {**server.entry, "pool_size": 1}})
        asking = [ask(pooler, key_of(7)) for _ in range(3)]
        eventually(lambda: keys, "the peer is asked")
        pooler.stop()
        assert all(w.is_closed() for w in asking)
        forever.set()


# SHOW

def test_show_peers(make_pooler):
    pooler = make_pooler(peer_id=1, default_pool_size=33, peers={
        1: {"host": "/tmp", "port": 1}, 20: {"host": "10.0.0.7", "pool_size": 4}, 3: {"host": "three", "port": 7000}})
    result = pooler.admin_result("SHOW PEERS")
    assert [column.name for column in result.columns] == ["peer_id", "host", "port", "pool_size"]
    assert [column.oid for column in result.columns] == [23, 25, 23, 23]
    assert result.rows == [["1", "/tmp", "1", "33"], ["20", "10.0.0.7", "6432", "4"], ["3", "three", "7000", "33"]]
    result = pooler.admin_result("SHOW PEER_POOLS")
    assert [column.name for column in result.columns] == [
        "peer_id", "cl_active_cancel_req", "cl_waiting_cancel_req", "sv_active_cancel", "sv_login"]
    assert {column.oid for column in result.columns} == {23}
    assert result.rows == [[number, "0", "0", "0", "0"] for number in ("1", "20", "3")]
    lists = {row["list"]: row["items"] for row in pooler.admin("SHOW LISTS")}
    assert (lists["peers"], lists["peer_pools"]) == ("3", "3")


def test_peers_are_nothing_to_warn_of(make_pooler):
    pooler = make_pooler(peer_id=1, peers={2: {"host": "127.0.0.1"}})
    assert "WARNING" not in pooler.log()
