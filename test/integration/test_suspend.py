"""SUSPEND and RESUME: everything stops where it is, and goes on as if nothing had happened; suspend_timeout."""

import contextlib
import hashlib
import select
import signal
import threading
import time

import pytest

from harness.certs import tls
from harness.pooler import assert_error
from harness.system import eventually
from harness.wire import Wire, bind, execute, packet, parse, query, startup_packet, sync

MB = 1 << 20
ROWS = 100000
READY = packet("Z", b"I")

# 104 MB, no two rows of them alike.
RESULT = f"SELECT i, md5(i::text), repeat('x', 1000) FROM generate_series(1, {ROWS}) i"


def say(w, sql):
    """Asks without waiting for the answer."""
    w.send_raw(query(sql))
    return w


def is_silent(w, seconds=0.4):
    """Nothing has come, and nothing comes for a while."""
    return not w.buffer and not select.select([w.sock], [], [], seconds)[0]


def ok(admin, sql):
    result = admin.query(sql)
    assert (result.error, result.tags) == (None, [sql])


@contextlib.contextmanager
def console(pooler):
    with Wire(pooler.console_address, 60).login("admin", "pgbouncer") as w:
        yield w


def states(admin):
    return {key: value for key, value in admin.query("SHOW STATE").rows}


class Reader(threading.Thread):
    """Reads a result to its ReadyForQuery; how much there was, and its digest."""

    def __init__(self, w, pause=0.0005):
        super().__init__(daemon=True)
        self.w, self.pause = w, pause
        self.count, self.digest, self.tail = 0, hashlib.md5(), b""

    def run(self):
        while not self.tail.endswith(READY):
            data = self.w.sock.recv(65536)
            if not data:
                return
            self.count += len(data)
            self.digest.update(data)
            self.tail = (self.tail + data)[-len(READY):]
            time.sleep(self.pause)

    def stands_still(self):
        """What was under way in the kernel has come, and nothing more does."""
        before = -1
        while before != self.count:
            before = self.count
            time.sleep(0.3)
        return True


def digest_of(pg, sql):
    with Wire(("127.0.0.1", pg.port)).login("app", "app") as w:
        reader = Reader(say(w, sql), 0)
        reader.run()
        return reader.count, reader.digest.hexdigest()


def read_with_suspensions(admin, w, sql):
    """The result of a query during which everything is suspended several times."""
    reader = Reader(say(w, sql))
    reader.start()
    n = 0
    while n < 4:
        # A little further each time, and always in the middle.
        eventually(lambda: reader.count > n * 5 * MB, "the result comes", every=0.001)
        ok(admin, "SUSPEND")
        assert reader.stands_still()
        assert reader.is_alive(), "the result was there before it was suspended"
        ok(admin, "RESUME")
        n += 1
    reader.join(120)
    assert not reader.is_alive()
    return reader.count, reader.digest.hexdigest()


# Nothing is lost or said twice

def test_in_the_middle_of_a_result(pooler, pg):
    with pooler.wire(timeout=120) as w, console(pooler) as admin:
        assert read_with_suspensions(admin, w, RESULT) == digest_of(pg, RESULT)
        assert w.value("SELECT 1") == "1"


def test_in_the_middle_of_copy_out(pooler, pg):
    sql = f"COPY ({RESULT}) TO STDOUT"
    with pooler.wire(timeout=120) as w, console(pooler) as admin:
        assert read_with_suspensions(admin, w, sql) == digest_of(pg, sql)


def test_in_the_middle_of_a_result_over_tls(make_pooler, certs, pg):
    pooler = make_pooler(**certs.for_clients())
    with tls(pooler.raw(timeout=120), certs.client()).login("app", "app") as w, console(pooler) as admin:
        assert read_with_suspensions(admin, w, RESULT) == digest_of(pg, RESULT)
        assert w.value("SELECT 1") == "1"


def test_in_the_middle_of_a_result_from_tls(make_pooler, certs, tls_pg, pg):
    pooler = make_pooler(databases={"app": {"port": tls_pg.port}}, **certs.for_servers("require"))
    with pooler.wire(timeout=120) as w, console(pooler) as admin:
        assert read_with_suspensions(admin, w, RESULT) == digest_of(pg, RESULT)


def row_of(i):
    return hashlib.md5(b"%d" % i).hexdigest().encode() * 30


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
def test_in_the_middle_of_copy_in(make_pooler, certs, pg, is_tls):
    pooler = make_pooler(**(certs.for_clients() if is_tls else {}))
    pg.rows("DROP TABLE IF EXISTS suspended; CREATE TABLE suspended (i int, t text)", "app")
    pg.rows("GRANT ALL ON suspended TO PUBLIC", "app")
    sent = 0
    with contextlib.ExitStack() as stack:
        admin = stack.enter_context(console(pooler))
        w = stack.enter_context(pooler.raw(timeout=120))
        if is_tls:
            tls(w, certs.client())
        w.login("app", "app")
        say(w, "COPY suspended FROM STDIN")
        assert w.recv().type == "G"

        def work():
            nonlocal sent
            for i in range(ROWS):
                w.send("d", b"%d\t%s\n" % (i, row_of(i)))
                sent = i + 1
            w.send("c")

        worker = threading.Thread(target=work)
        worker.start()
        for part in range(1, 5):
            eventually(lambda: sent > part * ROWS // 6, "rows are sent", timeout=60, every=0.001)
            ok(admin, "SUSPEND")
            time.sleep(0.3)
            assert sent < ROWS, "all was sent though nobody reads"
            ok(admin, "RESUME")
        worker.join()
        assert w.result().tags == [f"COPY {ROWS}"]
        assert w.value("SELECT 1") == "1"
    expected = hashlib.md5(b"".join(row_of(i) for i in range(ROWS))).hexdigest()
    [row] = pg.rows("SELECT count(*), count(DISTINCT i), md5(string_agg(t, '' ORDER BY i)) FROM suspended", "app")
    assert row == (ROWS, ROWS, expected)
    pg.rows("DROP TABLE suspended", "app")


def test_under_load_nobody_gets_an_error(make_pooler):
    """Clients of different parameters, more than servers, at whatever they were when everything stops."""
    pooler = make_pooler(default_pool_size=3)
    stop, wrong, done = threading.Event(), [], [0] * 9

    def work(i):
        with pooler.wire(application_name=f"worker {i % 3}") as w:
            while not stop.is_set():
                done[i] += 1
                sql = f"SELECT {done[i]}, current_setting('application_name')"
                if i % 2:
                    result = w.query(sql)
                else:
                    w.send_raw(query("BEGIN") + parse(sql) + bind() + execute() + sync() + query("COMMIT"))
                    result = [w.result() for _ in range(3)][1]
                if result.error or result.rows != [[str(done[i]), f"worker {i % 3}"]]:
                    wrong.append((i, done[i], result.error, result.rows))
                    return

    workers = [threading.Thread(target=work, args=[i]) for i in range(len(done))]
    for worker in workers:
        worker.start()
    with console(pooler) as admin:
        for i in range(60):
            ok(admin, "SUSPEND")
            time.sleep(0.002)
            before = sum(done)
            time.sleep(0.03 if i % 10 == 0 else 0)
            assert sum(done) - before <= len(workers)
            ok(admin, "RESUME")
            eventually(lambda: sum(done) > before + len(workers) or wrong, "work goes on", every=0.001)
    stop.set()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_what_is_said_meanwhile_is_heard_afterwards(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as a, pooler.wire() as b, pooler.wire() as c, console(pooler) as admin:
        a.query("BEGIN")
        say(b, "SELECT 'waiting'")
        pooler.wait_pool(cl_waiting=1)
        half = query("SELECT 'in two parts'")
        c.send_raw(half[:7])
        ok(admin, "SUSPEND")
        a.send_raw(query("SELECT 1") + query("COMMIT"))
        c.send_raw(half[7:])
        assert is_silent(a) and is_silent(b, 0) and is_silent(c, 0)
        ok(admin, "RESUME")
        assert [a.result().value, a.result().tags] == ["1", ["COMMIT"]]
        assert b.result().value == "waiting"
        assert c.result().value == "in two parts"


def test_a_query_that_runs_is_answered_afterwards(pooler, pg):
    with pooler.wire() as w, console(pooler) as admin:
        say(w, "SELECT pg_sleep(0.5), 'done'")
        pooler.wait_pool(sv_active=1)
        ok(admin, "SUSPEND")
        assert is_silent(w, 1)
        ok(admin, "RESUME")
        assert w.result().rows == [["", "done"]]


def test_logins_stop_where_they_are(pooler):
    startup = startup_packet({"user": "app", "database": "app"})
    with pooler.raw() as half, console(pooler) as admin:
        half.send_raw(startup[:9])
        assert is_silent(half, 0.2)
        ok(admin, "SUSPEND")
        half.send_raw(startup[9:])
        with pooler.raw() as new:
            # The kernel takes it, the pooler does not.
            new.send_raw(startup)
            assert is_silent(half) and is_silent(new, 0)
            assert len([r for r in admin.query("SHOW CLIENTS").dicts() if r["user"] == "app"]) == 0
            ok(admin, "RESUME")
            for w in (half, new):
                assert w.finish_login("app") is None
                assert w.value("SELECT 1") == "1"


def test_a_tls_handshake_stops_where_it_is(make_pooler, certs):
    pooler = make_pooler(**certs.for_clients())
    with pooler.raw() as w, console(pooler) as admin:
        w.send_raw(packet("", (80877103).to_bytes(4, "big")))
        assert w.read(1) == b"S"
        ok(admin, "SUSPEND")
        done = []
        worker = threading.Thread(target=lambda: done.append(
            certs.client().wrap_socket(w.sock, server_hostname="localhost")))
        worker.start()
        time.sleep(0.4)
        assert done == []
        ok(admin, "RESUME")
        worker.join()
        [w.sock] = done
        assert w.login("app", "app").value("SELECT 1") == "1"


def test_no_server_is_opened_meanwhile(make_pooler, pg):
    pooler = make_pooler(default_pool_size=1, reserve_pool_size=1, reserve_pool_timeout=1)
    with pooler.wire() as busy, pooler.wire() as w, console(pooler) as admin:
        busy.query("BEGIN")
        say(w, "SELECT 'by the reserve'")
        ok(admin, "SUSPEND")
        time.sleep(1.5)
        assert len(pg.backends()) == 1
        ok(admin, "RESUME")
        assert w.result().value == "by the reserve"
        assert busy.query("COMMIT").tags == ["COMMIT"]


# Who can still do what

def test_show_state(pooler):
    with console(pooler) as admin:
        ok(admin, "SUSPEND")
        assert states(admin) == {"active": "no", "paused": "no", "suspended": "yes"}
        assert admin.query("SHOW POOLS").error is None
        ok(admin, "RESUME")
        assert states(admin) == {"active": "yes", "paused": "no", "suspended": "no"}


def test_errors(pooler):
    with console(pooler) as admin:
        ok(admin, "SUSPEND")
        for sql in ("SUSPEND", "PAUSE", "PAUSE app"):
            assert_error(admin.query(sql).error, "already suspended/paused", "55000")
        assert_error(admin.query("RESUME app").error, "database app is not paused", "55000")
        ok(admin, "RESUME")


def test_the_last_admin_who_leaves_ends_it(pooler):
    """Nobody else could come to do it."""
    with pooler.wire() as w, console(pooler) as first, console(pooler) as second, \
            pooler.wire("pgbouncer", "stats") as looker:
        ok(first, "SUSPEND")
        first.close()
        say(w, "SELECT 'at last'")
        assert is_silent(w)
        assert states(second)["suspended"] == "yes"
        second.close()
        assert w.result().value == "at last"
        assert states(looker)["suspended"] == "no"
        pooler.wait_log("admin disappeared when suspended, doing RESUME")


def test_a_reload_keeps_it(pooler):
    with pooler.wire() as w, console(pooler) as admin:
        w.query("SELECT 1")
        ok(admin, "SUSPEND")
        ok(admin, "RELOAD")
        say(w, "SELECT 'afterwards'")
        assert is_silent(w)
        ok(admin, "RESUME")
        assert w.result().value == "afterwards"


def test_usr2_ends_it(pooler):
    with pooler.wire() as w, console(pooler) as admin:
        ok(admin, "SUSPEND")
        pooler.signal(signal.SIGUSR1)
        pooler.wait_log("got SIGUSR1, but already paused/suspended")
        say(w, "SELECT 'afterwards'")
        assert is_silent(w)
        pooler.signal(signal.SIGUSR2)
        assert w.result().value == "afterwards"
        assert "got SIGUSR2, continuing from SUSPEND" in pooler.log()


def test_a_shutdown_ends_it(pooler):
    with pooler.wire() as w, console(pooler) as admin:
        w.query("BEGIN")
        ok(admin, "SUSPEND")
        say(w, "COMMIT")
        assert is_silent(w)
        pooler.signal(signal.SIGINT)
        assert w.result().tags == ["COMMIT"]
        assert pooler.wait_exit() == 0


def test_the_program_can_end_while_suspended(pooler):
    with pooler.wire() as w, console(pooler) as admin:
        w.query("BEGIN")
        ok(admin, "SUSPEND")
        pooler.signal(signal.SIGQUIT)
        assert_error(w.result().error, "pooler is shutting down", "57P01")
        assert pooler.wait_exit() == 0


def test_it_costs_nothing_meanwhile(pooler):
    """What can be read and is not must not keep the loop busy."""
    with contextlib.ExitStack() as stack:
        admin = stack.enter_context(console(pooler))
        clients = [stack.enter_context(pooler.wire()) for _ in range(20)]
        reader = Reader(say(clients[0], f"SELECT repeat('x', {MB}) FROM generate_series(1, 100)"))
        reader.start()
        clients[1].query("BEGIN")
        ok(admin, "SUSPEND")
        for w in clients[2:10]:
            say(w, "SELECT 1")
        for w in clients[10:]:
            w.reset()
        cpu = pooler.cpu()
        time.sleep(1)
        assert pooler.cpu() - cpu < 0.3
        ok(admin, "RESUME")
        assert all(w.result().value == "1" for w in clients[2:10])
        reader.join(60)
        assert reader.count > 100 * MB


# suspend_timeout

def stuck(pooler, w, sql=f"SELECT repeat('x', {MB}) FROM generate_series(1, 100)"):
    """A client to which more is owed than the kernel takes, and that does not read."""
    say(w, sql)
    eventually(lambda: not is_silent(w, 0), "the result begins")
    before = -1
    while before != (before := int(pooler.admin("SHOW STATS_TOTALS")[0]["bytes_sent"])):
        time.sleep(0.2)


def closes(admin, reason):
    return next(int(row["clients"]) for row in admin.query("SHOW CLOSE_REASONS").dicts() if row["reason"] == reason)


def test_suspend_timeout_closes_who_does_not_read(make_pooler, pg):
    pooler = make_pooler(suspend_timeout=1)
    with pooler.wire() as w, pooler.wire() as other, console(pooler) as admin:
        other.query("BEGIN")
        stuck(pooler, w)
        say(admin, "SUSPEND")
        assert is_silent(admin)
        assert admin.result().tags == ["SUSPEND"]
        assert closes(admin, "SUSPEND_TIMEOUT") == 1
        assert "closing because: suspend_timeout" in pooler.log()
        eventually(lambda: len(pg.backends()) == 1, "its server went with it")
        ok(admin, "RESUME")
        assert other.query("COMMIT").tags == ["COMMIT"]


def test_suspend_timeout_says_nothing_in_the_middle_of_a_row(make_pooler):
    """An error would be taken for data there."""
    pooler = make_pooler(suspend_timeout=1)
    with pooler.wire() as w, console(pooler) as admin:
        stuck(pooler, w, f"SELECT repeat('x', {100 * MB})")
        say(admin, "SUSPEND")
        assert admin.result().tags == ["SUSPEND"]
        assert closes(admin, "SUSPEND_TIMEOUT") == 1
        assert [m.type for m in w.drain()] == ["T"]
        assert w.is_inside
        assert b"suspend_timeout" not in w.buffer


def test_suspend_timeout_leaves_who_reads(make_pooler, pg):
    pooler = make_pooler(suspend_timeout=2)
    with pooler.wire() as w, console(pooler) as admin:
        stuck(pooler, w)
        say(admin, "SUSPEND")
        assert is_silent(admin, 0.5)
        reader = Reader(w)
        reader.start()
        assert admin.result().tags == ["SUSPEND"]
        # Longer than suspend_timeout: it is for those that have something to deliver.
        time.sleep(2.5)
        assert closes(admin, "SUSPEND_TIMEOUT") == 0
        ok(admin, "RESUME")
        reader.join(60)
        assert reader.count > 100 * MB
        assert w.value("SELECT 1") == "1"


def test_suspend_timeout_of_0_waits_for_ever(make_pooler):
    pooler = make_pooler(suspend_timeout=0)
    with pooler.wire() as w, console(pooler) as admin:
        stuck(pooler, w)
        say(admin, "SUSPEND")
        assert is_silent(admin, 1.5)
        reader = Reader(w)
        reader.start()
        assert admin.result().tags == ["SUSPEND"]
        ok(admin, "RESUME")
        reader.join(60)
        assert reader.count > 100 * MB


def test_an_admin_who_leaves_while_waiting_takes_it_along(make_pooler):
    pooler = make_pooler(suspend_timeout=0)
    with pooler.wire() as w, pooler.wire() as other, console(pooler) as looker:
        stuck(pooler, w)
        with console(pooler) as admin:
            say(admin, "SUSPEND")
            eventually(lambda: states(looker)["suspended"] == "yes", "it is suspended")
            say(other, "SELECT 'at last'")
            assert is_silent(other)
        assert other.result().value == "at last"
        assert states(looker)["suspended"] == "no"


def test_resume_by_another_tells_who_waits(make_pooler):
    pooler = make_pooler(suspend_timeout=0)
    with pooler.wire() as w, console(pooler) as first, console(pooler) as second:
        stuck(pooler, w)
        say(first, "SUSPEND")
        assert is_silent(first)
        ok(second, "RESUME")
        assert_error(first.result().error, "SUSPEND was undone", "57014")
