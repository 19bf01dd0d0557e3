"""How the pooler ends when it is not at once: SHUTDOWN DRAIN above all, at which no transaction is cut."""

import contextlib
import re
import select
import signal
import threading
import time

import psycopg
import pytest

from harness.certs import tls
from harness.pooler import assert_error, is_pgbouncer
from harness.system import eventually
from harness.wire import Wire, query, startup_packet

if is_pgbouncer():
    pytest.skip("PgBouncer does not drain", allow_module_level=True)

LONG = 3000


@pytest.fixture
def make(make_pooler):
    """A pooler that drains without delay and for as long as it takes, unless told otherwise."""
    def make_one(**settings):
        return make_pooler(**{"shutdown_delay": 0, "shutdown_deadline": LONG, "shutdown_pace": 0, **settings})
    return make_one


def drain(pooler):
    """Over the Unix socket: the console there has to go on."""
    console = Wire(pooler.unix_socket).login("admin", "pgbouncer")
    assert console.query("SHUTDOWN DRAIN").tags == ["SHUTDOWN"]
    return console


def refuses(pooler):
    try:
        pooler.raw().close()
        return False
    except ConnectionResetError:
        # It came in the moment in which the socket was closed.
        return False
    except ConnectionRefusedError:
        return True


def wait_logins(pooler, n):
    """The console that asks is logged in."""
    def logins():
        return {row["list"]: row["items"] for row in pooler.admin("SHOW LISTS")}["login_clients"] == str(n)
    eventually(logins, f"{n} are logging in")


def is_silent(wire):
    return not wire.buffer and not select.select([wire.sock], [], [], 0.3)[0]


def assert_sent_away(wire):
    """Told why, at the end of everything."""
    messages = wire.drain()
    assert [m.type for m in messages] == ["E"], messages
    assert b"57P01" in messages[0].body and b"SFATAL" in messages[0].body, messages


def test_an_idle_client_is_told_and_the_program_ends(make):
    pooler = make()
    with pooler.wire() as idle:
        idle.query("SELECT 1")
        drain(pooler)
        assert_sent_away(idle)
        assert pooler.wait_exit() == 0


@pytest.mark.parametrize("mode", ["transaction", "session", "statement"])
def test_a_transaction_is_not_cut(make, mode):
    pooler = make(pool_mode=mode, shutdown_pace=LONG)
    with pooler.wire() as idle, pooler.wire() as busy:
        idle.query("SELECT 1")
        if mode == "statement":
            busy.send_raw(query("SELECT pg_sleep(1), 7"))
        else:
            busy.query("BEGIN")
        drain(pooler)
        eventually(lambda: refuses(pooler), "no new clients")
        if mode != "statement":
            assert busy.value("SELECT 7") == "7"
            assert is_silent(busy)
            busy.send_raw(query("COMMIT"))
        assert busy.result().error is None
        assert_sent_away(busy)
        # Its turn is long from now, unless it takes up something itself.
        assert idle.value("SELECT 8") == "8"
        assert_sent_away(idle)
        assert pooler.wait_exit() == 0


def test_a_session_ends_between_two_transactions(make):
    pooler = make(pool_mode="session")
    with pooler.wire() as w:
        w.query("SELECT 1")
        drain(pooler)
        assert_sent_away(w)
        assert pooler.wait_exit() == 0


def test_a_pipeline_is_answered_to_its_end(make):
    pooler = make()
    with pooler.wire() as w:
        w.query("BEGIN")
        drain(pooler)
        w.send_raw(query("SELECT pg_sleep(0.3)") + query("COMMIT") + query("SELECT 5"))
        results = [w.result() for _ in range(3)]
        assert [r.tags for r in results] == [["SELECT 1"], ["COMMIT"], ["SELECT 1"]]
        assert_sent_away(w)
        assert pooler.wait_exit() == 0


def test_what_is_asked_behind_the_last_transaction_is_not_run(make, pg):
    pg.psql("DROP TABLE IF EXISTS behind; CREATE TABLE behind (n int); GRANT ALL ON behind TO PUBLIC", dbname="app")
    pooler = make(shutdown_pace=LONG)
    with pooler.wire() as w:
        w.query("BEGIN")
        drain(pooler)
        eventually(lambda: refuses(pooler), "no new clients")
        assert w.query("COMMIT").tags == ["COMMIT"]
        w.send_raw(query("INSERT INTO behind VALUES (1)") + query("INSERT INTO behind VALUES (2)"))
        assert_sent_away(w)
        assert pooler.wait_exit() == 0
    assert pg.value("SELECT count(*) FROM behind", "app") == 0


def test_a_failed_transaction_is_waited_for_too(make):
    pooler = make()
    with pooler.wire() as w:
        w.query("BEGIN")
        w.query("SELECT nonsense")
        drain(pooler)
        assert is_silent(w)
        assert w.query("ROLLBACK").tags == ["ROLLBACK"]
        assert_sent_away(w)
        assert pooler.wait_exit() == 0


def test_readiness_goes_first_and_new_clients_are_served_meanwhile(make):
    pooler = make(shutdown_delay=LONG)
    with pooler.wire() as idle, drain(pooler) as console:
        pooler.wait_log("not ready any more")
        assert idle.value("SELECT 1") == "1"
        with pooler.wire() as new, Wire(pooler.unix_socket).login("app", "app") as local:
            assert [w.value("SELECT 1") for w in (new, local, new, local)] == ["1"] * 4
        assert is_silent(idle)
        for sql in ("PAUSE", "SUSPEND", "RESUME"):
            assert_error(console.query(sql).error, "pooler is shutting down", "55000")
    # Nobody being there is no reason to close the sockets early: who chooses may not have noticed yet.
    assert not refuses(pooler)
    pooler.signal(signal.SIGTERM)
    assert pooler.wait_exit() == 0


def test_the_sockets_close_after_the_delay(make):
    pooler = make(shutdown_delay=0.5, shutdown_pace=LONG)
    with pooler.wire() as idle, drain(pooler):
        assert not refuses(pooler)
        eventually(lambda: refuses(pooler), "no new clients")
        assert idle.value("SELECT 1") == "1"
        assert_sent_away(idle)
        assert pooler.wait_exit() == 0


def test_the_console_stays_and_nobody_else_comes(make):
    pooler = make()
    with pooler.wire() as busy:
        busy.query("BEGIN")
        with drain(pooler) as console:
            eventually(lambda: refuses(pooler), "no new clients")
            assert len(console.query("SHOW CLIENTS").rows) == 2
            with Wire(pooler.unix_socket) as w:
                assert_error(w.try_login("app", "app"), "pooler is shutting down", "57P01")
            with Wire(pooler.unix_socket).login("admin", "pgbouncer") as another:
                assert another.query("SHOW STATE").error is None
            busy.query("COMMIT")
            assert pooler.wait_exit() == 0


def test_idle_clients_are_sent_away_one_after_the_other(make):
    pooler = make(shutdown_pace=4, max_client_conn=200)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(pooler.wire()) for _ in range(40)]
        drain(pooler)
        left, counts = set(clients), []
        while left:
            gone = select.select([c.sock for c in left], [], [], 30)[0]
            assert gone, "nobody is sent away any more"
            left = {c for c in left if c.sock not in gone}
            counts.append(len(gone))
        # However late this test is, it has seen them go in more steps than one.
        assert len(counts) > 4, counts
        for client in clients:
            assert_sent_away(client)
        assert pooler.wait_exit() == 0


def test_the_deadline_cuts_off_who_is_left(make):
    pooler = make(shutdown_deadline=1, shutdown_pace=LONG)
    with pooler.wire() as idle, pooler.wire() as busy:
        busy.query("BEGIN")
        drain(pooler)
        # The pace ends with the deadline: nobody who could have been told is cut off.
        assert_sent_away(idle)
        assert_sent_away(busy)
        assert pooler.wait_exit() == 0
    assert re.search(r"shutdown_deadline \(1 s\) is over, [12] clients are cut off", pooler.log())


def test_whoever_waits_for_a_server_is_served_first(make):
    pooler = make(default_pool_size=1)
    with pooler.wire() as busy, pooler.wire() as waiting:
        busy.query("BEGIN")
        waiting.send_raw(query("SELECT 3"))
        pooler.wait_pool(cl_waiting=1)
        drain(pooler)
        assert is_silent(waiting)
        busy.query("COMMIT")
        assert waiting.result().value == "3"
        assert_sent_away(waiting)
        assert pooler.wait_exit() == 0


def test_whoever_waits_for_the_end_of_a_pause_is_sent_away(make):
    pooler = make()
    with pooler.wire() as waiting:
        assert pooler.admin_result("PAUSE app").tags == ["PAUSE"]
        waiting.send_raw(query("SELECT 3"))
        pooler.wait_pool(cl_waiting=1)
        drain(pooler)
        assert_sent_away(waiting)
        assert pooler.wait_exit() == 0


def test_what_is_suspended_goes_on(make):
    pooler = make()
    with pooler.wire() as busy, Wire(pooler.unix_socket).login("admin", "pgbouncer") as admin:
        busy.query("BEGIN")
        assert admin.query("SUSPEND").tags == ["SUSPEND"]
        busy.send_raw(query("COMMIT"))
        assert admin.query("SHUTDOWN DRAIN").tags == ["SHUTDOWN"]
        assert busy.result().tags == ["COMMIT"]
        assert_sent_away(busy)
        assert pooler.wait_exit() == 0


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_client_that_does_not_read_gets_its_answer_whole(make, mode):
    pooler = make(pool_mode=mode)
    with pooler.wire() as slow:
        slow.send_raw(query("SELECT repeat('x', 1000) FROM generate_series(1, 20000)"))
        pooler.wait_pool(cl_active=1)
        drain(pooler)
        pooler.wait_log("all clients have had their turn")
        result = slow.result()
        assert (len(result.rows), result.tags, result.status) == (20000, ["SELECT 20000"], "I")
        assert_sent_away(slow)
        assert pooler.wait_exit() == 0


def test_a_client_that_never_reads_is_cut_off_by_the_deadline(make):
    pooler = make(shutdown_deadline=1)
    with pooler.wire() as slow:
        slow.send_raw(query("SELECT repeat('x', 1000) FROM generate_series(1, 20000)"))
        pooler.wait_pool(cl_active=1)
        drain(pooler)
        assert pooler.wait_exit() == 0


def test_a_login_under_way_is_let_in_while_the_pace_lasts(make):
    pooler = make(shutdown_pace=LONG)
    packet = startup_packet({"user": "app", "database": "app"})
    with pooler.raw() as late:
        late.send_raw(packet[:2])
        wait_logins(pooler, 1)
        drain(pooler)
        eventually(lambda: refuses(pooler), "no new clients")
        late.send_raw(packet[2:])
        assert late.finish_login("app") is None
        assert late.value("SELECT 1") == "1"
        assert_sent_away(late)
        assert pooler.wait_exit() == 0


def test_a_login_that_is_late_is_refused(make):
    pooler = make()
    with pooler.raw() as late:
        late.send_raw(b"\0\0")
        wait_logins(pooler, 1)
        drain(pooler)
        assert_sent_away(late)
        assert pooler.wait_exit() == 0


def test_tls_clients_are_told_inside_of_tls(make, certs):
    pooler = make(**certs.for_clients())
    with pooler.raw() as w:
        tls(w, certs.client()).login("app", "app")
        w.query("BEGIN")
        drain(pooler)
        assert w.query("COMMIT").tags == ["COMMIT"]
        assert_sent_away(w)
        assert pooler.wait_exit() == 0


def test_sigterm_drains_when_shutdown_mode_says_so(make):
    pooler = make(shutdown_mode="drain")
    with pooler.wire() as idle, pooler.wire() as busy:
        busy.query("BEGIN")
        pooler.signal(signal.SIGTERM)
        assert_sent_away(idle)
        assert busy.value("SELECT 1") == "1"
        pooler.signal(signal.SIGTERM)
        assert_sent_away(busy)
        assert pooler.wait_exit() == 0


def test_a_drain_can_be_hastened_and_not_slowed_down(make):
    pooler = make(shutdown_delay=LONG)
    with pooler.wire() as idle, drain(pooler) as console:
        assert console.query("SHUTDOWN WAIT_FOR_CLIENTS").tags == ["SHUTDOWN"]
        assert not refuses(pooler)
        assert console.query("SHUTDOWN WAIT_FOR_SERVERS").tags == ["SHUTDOWN"]
        assert_sent_away(idle)
        assert pooler.wait_exit() == 0


def test_a_drain_hastens_the_wait_for_clients(make):
    pooler = make()
    with pooler.wire() as idle:
        pooler.signal(signal.SIGTERM)
        eventually(lambda: refuses(pooler), "no new clients")
        assert is_silent(idle)
        drain(pooler)
        assert_sent_away(idle)
        assert pooler.wait_exit() == 0


class Work(threading.Thread):
    """Transactions of two statements until it is sent away: counts those that were acknowledged."""

    def __init__(self, pooler, number):
        super().__init__()
        self.connection = pooler.connect(autocommit=False)
        self.number, self.done, self.end, self.cut = number, 0, None, False

    def run(self):
        while self.end is None:
            has_begun = False
            try:
                self.connection.execute("SELECT 1")
                has_begun = True
                self.connection.execute("INSERT INTO drained VALUES (%s)", (self.number,))
                self.connection.commit()
                self.done += 1
            except psycopg.Error as error:
                self.end, self.cut = error, has_begun


def test_under_load_every_client_ends_between_two_transactions(make, pg):
    with pg.connect(autocommit=True) as admin:
        admin.execute("DROP TABLE IF EXISTS drained; CREATE TABLE drained (n int); GRANT ALL ON drained TO PUBLIC")
    pooler = make(default_pool_size=4, shutdown_pace=1)
    workers = [Work(pooler, i) for i in range(16)]
    for worker in workers:
        worker.start()
    eventually(lambda: all(w.done > 0 for w in workers), "all are at work")
    drain(pooler)
    for worker in workers:
        worker.join(60)
    assert [w.number for w in workers if w.cut] == []
    # Right behind the end of a transaction libpq would have taken it for a notice.
    assert [str(w.end) for w in workers if "server shutting down" not in str(w.end)] == []
    assert pooler.wait_exit() == 0
    assert int(pg.value("SELECT count(*) FROM drained", "app")) == sum(w.done for w in workers)


# The other ends

@pytest.mark.parametrize("signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGINT, signal.SIGTERM),
                                     (signal.SIGTERM, signal.SIGINT), (signal.SIGTERM, signal.SIGQUIT)])
def test_a_second_signal_ends_it_at_once(make, signals):
    pooler = make()
    with pooler.wire() as busy:
        busy.query("BEGIN")
        for sig in signals:
            assert pooler.alive()
            pooler.signal(sig)
            pooler.wait_log(f"got {sig.name}" if sig is signals[0] else "got ")
        assert pooler.wait_exit() == 0


def test_a_signal_after_the_command_is_the_second(make):
    pooler = make()
    with pooler.wire() as idle, Wire(pooler.unix_socket).login("admin", "pgbouncer") as admin:
        assert admin.query("SHUTDOWN WAIT_FOR_CLIENTS").tags == ["SHUTDOWN"]
        assert idle.value("SELECT 1") == "1"
        pooler.signal(signal.SIGTERM)
        assert pooler.wait_exit() == 0


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_pause_and_resume_are_ignored_once_it_ends(make, sig):
    pooler = make()
    with pooler.wire() as busy:
        busy.query("BEGIN")
        pooler.signal(sig)
        pooler.wait_log(f"got {sig.name}")
        pooler.signal(signal.SIGUSR1)
        pooler.wait_log("got SIGUSR1 while shutting down, ignoring")
        pooler.signal(signal.SIGUSR2)
        pooler.wait_log("got SIGUSR2 while shutting down, ignoring")
        assert busy.query("COMMIT").tags == ["COMMIT"]
        busy.close()
        assert pooler.wait_exit() == 0


def test_sigterm_leaves_the_unix_socket_to_the_console(make):
    pooler = make()
    with pooler.wire() as w:
        w.query("SELECT 1")
        pooler.signal(signal.SIGTERM)
        eventually(lambda: refuses(pooler), "no new clients")
        with Wire(pooler.unix_socket).login("admin", "pgbouncer") as admin:
            assert admin.query("SHOW CLIENTS").error is None
        with Wire(pooler.unix_socket) as local:
            assert_error(local.try_login("app", "app"), "pooler is shutting down", "57P01")
        assert w.value("SELECT 2") == "2"
    assert pooler.wait_exit() == 0


def test_sigterm_waits_for_a_login_under_way(make):
    pooler = make()
    with pooler.raw() as late:
        packet = startup_packet({"user": "app", "database": "app"})
        late.send_raw(packet[:2])
        wait_logins(pooler, 1)
        pooler.signal(signal.SIGTERM)
        eventually(lambda: refuses(pooler), "no new clients")
        time.sleep(0.2)
        assert pooler.alive()
        late.send_raw(packet[2:])
        assert late.finish_login("app") is None
        assert late.value("SELECT 1") == "1"
    assert pooler.wait_exit() == 0
