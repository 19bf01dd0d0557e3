"""Large things stream through: the pooler's memory does not grow with them."""

import struct
import threading
import time

import pytest

from harness.pooler import has_sanitizers
from harness.wire import packet, query

MB = 1 << 20


@pytest.fixture
def size(is_long):
    """Megabytes."""
    return 1024 if is_long else 200


def assert_small(pooler):
    """AddressSanitizer keeps freed memory for a while, to see whether somebody still uses it."""
    assert pooler.peak_rss() < (800 if has_sanitizers() else 50) * MB


def count_bytes(w, kind):
    """Bytes in the bodies of one kind of message up to ReadyForQuery, without keeping them."""
    total = 0
    while True:
        message = w.recv()
        assert message.type != "E", message.body
        if message.type == kind:
            total += len(message.body)
        if message.type == "Z":
            return total


def test_result_of_many_rows(pooler, size):
    with pooler.wire(timeout=120) as w:
        w.send_raw(query(f"SELECT repeat('x', {MB}) FROM generate_series(1, {size})"))
        assert count_bytes(w, "D") == size * (MB + 6)
        assert w.value("SELECT 1") == "1"
    assert_small(pooler)


def test_copy_out(pooler, size):
    with pooler.wire(timeout=120) as w:
        w.send_raw(query(f"COPY (SELECT repeat('x', {MB}) FROM generate_series(1, {size})) TO STDOUT"))
        assert count_bytes(w, "d") == size * (MB + 1)
        assert w.value("SELECT 1") == "1"
    assert_small(pooler)


def test_copy_in(pooler, pg, size):
    with pg.connect(autocommit=True) as c:
        c.execute("CREATE TABLE IF NOT EXISTS big (t text)")
        c.execute("GRANT ALL ON big TO PUBLIC")
    row = packet("d", b"x" * (MB - 1) + b"\n")
    with pooler.wire(timeout=120) as w:
        w.send_raw(query("COPY big FROM STDIN WHERE t = 'never'"))
        assert w.recv().type == "G"
        for _ in range(size):
            w.send_raw(row)
        w.send("c")
        result = w.result()
        assert (result.error, result.tags) == (None, ["COPY 0"])
        assert w.value("SELECT 1") == "1"
    assert_small(pooler)


def test_one_large_row(pooler):
    with pooler.wire(timeout=120) as w:
        w.send_raw(query(f"SELECT repeat('x', {100 * MB})"))
        assert count_bytes(w, "D") == 100 * MB + 6
    assert_small(pooler)


@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_one_large_query(pooler, protocol):
    text = "x" * (60 * MB)
    with pooler.wire(timeout=120) as w:
        if protocol == "simple":
            assert w.value(f"SELECT length('{text}')") == str(60 * MB)
        else:
            assert w.extended("SELECT length($1)", [text]).value == str(60 * MB)
    assert_small(pooler)


def test_a_client_that_does_not_read(pooler):
    """Its server is held back; nothing piles up, and others go on."""
    with pooler.wire(timeout=120) as slow, pooler.wire() as other:
        slow.send_raw(query(f"SELECT repeat('x', {MB}) FROM generate_series(1, 200)"))
        for _ in range(20):
            assert other.value("SELECT 1") == "1"
            time.sleep(0.05)
        cpu = pooler.cpu()
        time.sleep(1)
        assert pooler.cpu() - cpu < 0.5
        assert_small(pooler)
        assert count_bytes(slow, "D") == 200 * (MB + 6)
    assert_small(pooler)


def test_a_server_that_does_not_read(pooler):
    """A client that pipelines past a slow query is held back."""
    with pooler.wire(timeout=120) as w, pooler.wire() as other:
        writer = threading.Thread(target=w.send_raw, args=[
            query("SELECT pg_sleep(1.5)") + query("SELECT '%s'" % ("x" * 10000)) * 10000])
        writer.start()
        for _ in range(20):
            assert other.value("SELECT 1") == "1"
            time.sleep(0.05)
        assert_small(pooler)
        for _ in range(10001):
            assert w.result().error is None
        writer.join()
    assert_small(pooler)


def test_a_client_that_pipelines_while_it_waits_for_a_server(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as busy, pooler.wire(timeout=120) as w:
        busy.query("BEGIN")
        writer = threading.Thread(target=w.send_raw, args=[query("SELECT '%s'" % ("x" * 10000)) * 10000])
        writer.start()
        pooler.wait_pool(cl_waiting=1)
        time.sleep(1)
        assert_small(pooler)
        busy.query("COMMIT")
        for _ in range(10000):
            assert w.result().error is None
        writer.join()
    assert_small(pooler)


def test_length_fields_may_be_split_from_their_bodies(pooler):
    """Large messages whose header comes byte by byte."""
    body = b"SELECT length('" + b"x" * MB + b"')\0"
    message = b"Q" + struct.pack("!I", len(body) + 4) + body
    with pooler.wire() as w:
        for i in range(6):
            w.send_raw(message[i:i + 1])
            time.sleep(0.01)
        w.send_raw(message[6:])
        assert w.result().value == str(MB)
