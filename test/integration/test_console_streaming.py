"""Tables that may be long reach the console in pieces, as fast as it reads them and no faster."""

import contextlib
import resource
import socket

import pytest

from harness.pooler import is_pgbouncer
from harness.system import eventually
from harness.wire import Wire, bind, execute, parse, query, sync

pytestmark = pytest.mark.skipif(is_pgbouncer(), reason="PgBouncer makes its tables at once")

CLIENTS = 2000


@pytest.fixture
def crowd(make_pooler):
    """A pooler with many clients: more than the kernel's buffers hold of a table with a row for each."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    n = min(CLIENTS, hard // 4)
    pooler = make_pooler(max_client_conn=n + 100, log_connections=0, log_disconnections=0)
    with contextlib.ExitStack() as stack:
        pooler.clients = [stack.enter_context(pooler.wire()) for _ in range(n)]
        yield pooler


def slow_console(pooler):
    """A console client for which the kernel keeps no more than a Unix socket's buffer, and that does not read by itself."""
    return Wire(pooler.unix_socket).login("admin", "pgbouncer")


def buffered(pooler):
    """Bytes in the buffers that the pooler has lent to connections."""
    row = next(row for row in pooler.admin("SHOW MEM") if row["name"] == "iobuf_cache")
    return int(row["used"]) * int(row["size"])


def ids(result, column="id"):
    return [int(row[column]) for row in result.dicts() if row.get("type", "C") == "C" and row["database"] == "app"]


def stalled(console):
    """Has begun to answer."""
    assert console.sock.recv(1, socket.MSG_PEEK)


@pytest.mark.parametrize("show", ["CLIENTS", "SOCKETS", "CLIENTS_EXT", "FDS"])
def test_everybody_is_told_once(crowd, show):
    result = crowd.admin_result(f"SHOW {show}")
    assert result.error is None
    rows = [row for row in result.dicts()
            if row["database"] == "app" and "S" != row.get("type") and row.get("task") != "server"]
    key = "fd" if show == "FDS" else "id"
    assert len({row[key] for row in rows}) == len(rows) == len(crowd.clients)


def test_those_who_stay_are_told_though_others_come_and_go(crowd):
    before = set(ids(crowd.admin_result("SHOW CLIENTS")))
    leaving = {client.sock.getsockname()[1] for client in crowd.clients[::3]}
    by_port = {int(row["port"]): int(row["id"]) for row in crowd.admin("SHOW CLIENTS") if row["database"] == "app"}
    with slow_console(crowd) as console, contextlib.ExitStack() as stack:
        console.send_raw(query("SHOW CLIENTS"))
        stalled(console)
        for client in crowd.clients[::3]:
            client.close()
        for _ in range(50):
            stack.enter_context(crowd.wire())
        told = ids(console.result())
    assert len(set(told)) == len(told)
    assert before - {by_port[port] for port in leaving} <= set(told)


def test_what_is_not_read_is_not_made(crowd):
    whole = len(b"".join(m.body for m in crowd.admin_result("SHOW SOCKETS").messages))
    before = buffered(crowd)
    with contextlib.ExitStack() as stack:
        consoles = [stack.enter_context(slow_console(crowd)) for _ in range(5)]
        for console in consoles:
            console.send_raw(query("SHOW SOCKETS") * 10)
            stalled(console)
        assert len(crowd.admin("SHOW CLIENTS")) > len(crowd.clients)
        # Fifty tables were asked for; what each of the five consoles has is some hundred rows of one.
        assert buffered(crowd) - before < 5 * whole / 2
        for console in consoles:
            results = [console.result() for _ in range(10)]
            assert all(len(r.rows) > len(crowd.clients) and r.tags == ["SHOW"] for r in results)
    assert crowd.clients[0].value("SELECT 1") == "1"


@pytest.mark.parametrize("show", ["DATABASES", "USERS", "HOSTS"])
def test_tables_of_what_is_configured_wait_for_the_reader_too(make_pooler, show):
    n = 5000
    databases = {"app": {}, **{f"database_number_{i}": f"host=127.0.{i // 250}.{i % 250 + 1}" for i in range(n)}}
    userlist = {"app": "", **{f"somebody_with_a_long_name_{i}": "" for i in range(n)}}
    pooler = make_pooler(databases=databases, userlist=userlist)
    before = buffered(pooler)
    with slow_console(pooler) as console, pooler.wire() as client:
        console.send_raw(query(f"SHOW {show}") * 5)
        stalled(console)
        assert client.value("SELECT 1") == "1"
        assert buffered(pooler) - before < 50 * n / 2
        results = [console.result() for _ in range(5)]
        assert all(n < len({row[0] for row in result.rows}) == len(result.rows) for result in results)


def test_the_extended_protocol_waits_for_the_reader_too(crowd):
    with slow_console(crowd) as console:
        batch = parse("SHOW CLIENTS") + bind() + execute() + parse("SHOW STATE") + bind() + execute() + sync()
        console.send_raw(batch * 3)
        stalled(console)
        for _ in range(3):
            result = console.result()
            assert result.types.replace("D", "") == "12C12CZ" and len(result.rows) > len(crowd.clients)
        console.send_raw(query("BEGIN") + parse("SHOW CLIENTS") + bind((), "", "p") + execute("p", 600) + sync())
        assert console.result().status == "T"
        result = console.result()
        assert (result.types.count("D"), result.types[-2:]) == (600, "sZ")


def test_a_console_that_vanishes_leaves_nothing(crowd):
    before = buffered(crowd)
    for leave in (Wire.close, Wire.reset):
        with slow_console(crowd) as console:
            console.send_raw(query("SHOW SOCKETS") * 5)
            stalled(console)
            leave(console)
    eventually(lambda: buffered(crowd) <= before, "the buffers are back")
    eventually(lambda: crowd.pool("pgbouncer", "pgbouncer")["cl_active"] == "1", "the consoles are gone")


@pytest.mark.parametrize("is_extended", [False, True])
def test_a_table_can_be_cancelled(crowd, is_extended):
    with slow_console(crowd) as console:
        console.send_raw(parse("SHOW SOCKETS") + bind() + execute() + sync() if is_extended else query("SHOW SOCKETS"))
        stalled(console)
        console.cancel()
        result = console.result()
        assert result.error["C"] == "57014" and result.status == "I"
        assert 0 < len(result.rows) < len(crowd.clients)
        assert console.query("SHOW VERSION").error is None
        console.cancel()
        assert console.query("SHOW VERSION").error is None


def test_who_waits_is_told_in_the_order_of_the_queue(make_pooler):
    pooler = make_pooler(default_pool_size=1, max_client_conn=500)
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(pooler.wire())
        busy.query("BEGIN")
        waiting = [stack.enter_context(pooler.wire()) for _ in range(300)]
        first, *others, last = waiting
        first.send_raw(query("SELECT 1"))
        pooler.wait_pool(cl_waiting=1)
        for client in others:
            client.send_raw(query("SELECT 1"))
        pooler.wait_pool(cl_waiting=len(waiting) - 1)
        last.send_raw(query("SELECT 1"))
        pooler.wait_pool(cl_waiting=len(waiting))
        rows = pooler.admin("SHOW WAITING")
        ports = [int(row["addr"].rpartition(":")[2]) for row in rows]
        assert (ports[0], ports[-1]) == tuple(w.sock.getsockname()[1] for w in (first, last))
        assert len(set(ports)) == len(waiting)
        ext = {row["id"]: row for row in pooler.admin("SHOW CLIENTS_EXT")}
        assert all(ext[row["id"]]["wait_reason"] == row["reason"] for row in rows)
        [active] = [row for row in ext.values() if row["state"] == "active" and row["database"] == "app"]
        busy.query("COMMIT")
        assert active["server_pid"] == str(busy.backend())
        assert int(active["connection_age"]) >= int(active["transaction_age"]) > 0
        for client in waiting:
            assert client.result().value == "1"
