"""PAUSE and RESUME: what is held back, for whom, until when; from the console and by signals."""

import contextlib
import select
import signal
import threading
import time

import pytest

from harness.pooler import assert_error
from harness.system import eventually
from harness.wire import CANCEL_REQUEST, Closed, FakeServer, cstring, packet, query


def say(w, sql):
    """Asks without waiting for the answer."""
    w.send_raw(query(sql))
    return w


def is_silent(w, seconds=0.4):
    """Nothing has come, and nothing comes for a while."""
    return not w.buffer and not select.select([w.sock], [], [], seconds)[0]


@contextlib.contextmanager
def console(pooler, sql=None):
    with pooler.wire("pgbouncer", "admin") as w:
        yield w if sql is None else say(w, sql)


def command(pooler, sql):
    """A command that must go well, on a connection of its own: its tag."""
    result = pooler.admin_result(sql)
    assert result.error is None, result.error
    return result.tags[0]


def state(pooler):
    return next(row["key"] for row in pooler.admin("SHOW STATE") if row["value"] == "yes")


def paused_databases(pooler):
    return [row["name"] for row in pooler.admin("SHOW DATABASES") if row["paused"] == "1"]


def is_served(pooler, *args, **kwargs):
    with pooler.wire(*args, **kwargs) as w:
        return w.value("SELECT 1") == "1"


def wait_waiting(pooler, n, database="app", user="app"):
    pooler.wait_pool(database=database, user=user, cl_waiting=n)


# What PAUSE waits for

def test_pause_waits_for_the_running_transaction(pooler, pg):
    with pooler.wire() as busy, pooler.wire() as idle:
        idle.query("SELECT 1")
        busy.query("BEGIN")
        with console(pooler, "PAUSE") as admin:
            assert is_silent(admin)
            assert busy.value("SELECT 1") == "1"
            assert is_silent(admin, 0.2)
            busy.query("COMMIT")
            result = admin.result()
            assert (result.tags, result.status) == (["PAUSE"], "I")
        # Those that were free when it began, and the one that has become so since.
        pooler.wait_pool(sv_idle=0, sv_active=0, sv_used=0, sv_tested=0, sv_login=0)
        eventually(lambda: not pg.backends(), "no server connection is left")


def test_a_query_that_runs_is_waited_for_too(pooler):
    with pooler.wire() as busy, console(pooler) as admin:
        say(busy, "SELECT pg_sleep(1), 'whole'")
        pooler.wait_pool(sv_active=1)
        say(admin, "PAUSE")
        assert admin.result().tags == ["PAUSE"]
        # It was answered before the pause was.
        assert not is_silent(busy, 0)
        assert busy.result().rows == [["", "whole"]]


def test_pause_in_session_mode_waits_for_the_clients_to_leave(make_pooler):
    pooler = make_pooler(pool_mode="session")
    with pooler.wire() as w:
        w.query("SELECT 1")
        with console(pooler, "PAUSE") as admin:
            assert is_silent(admin)
            assert w.value("SELECT 1") == "1"
            w.send("X")
            assert admin.result().tags == ["PAUSE"]


def test_with_nothing_to_wait_for_pause_answers_at_once(pooler):
    assert command(pooler, "PAUSE") == "PAUSE"


def test_logins_to_servers_are_not_waited_for(make_pooler):
    """One that hangs in the middle of its login is closed, and those who wait for it wait on."""
    hangs = threading.Event()
    hangs.set()

    def script(peer):
        peer.read_startup()
        if hangs.is_set():
            with contextlib.suppress(Closed):
                peer.recv()
            return
        peer.welcome()
        peer.serve()

    with FakeServer(script) as server:
        pooler = make_pooler(databases={"app": server.entry})
        with pooler.raw() as w:
            w.startup({"user": "app", "database": "app"})
            pooler.wait_pool(sv_login=1)
            assert command(pooler, "PAUSE") == "PAUSE"
            pooler.wait_pool(sv_login=0, cl_waiting=1)
            hangs.clear()
            assert command(pooler, "RESUME") == "RESUME"
            assert w.finish_login("app") is None
            assert w.query("SELECT 1").tags == ["SELECT 0"]


def test_a_server_that_is_being_checked_is_waited_for(make_pooler):
    answers = threading.Event()

    def script(peer):
        peer.read_startup()
        peer.welcome()
        while True:
            kind, body = peer.recv()
            if kind != "Q":
                return
            if body == cstring("SELECT 'check'"):
                answers.wait(30)
            peer.send("C", cstring("SELECT 0"))
            peer.ready()

    with FakeServer(script) as server:
        pooler = make_pooler(databases={"app": server.entry}, server_check_delay="1ms",
                             server_check_query="SELECT 'check'")
        with pooler.wire() as w:
            w.query("SELECT 1")
            time.sleep(0.1)
            say(w, "SELECT 2")
            pooler.wait_pool(sv_tested=1)
            with console(pooler, "PAUSE") as admin:
                assert is_silent(admin)
                answers.set()
                assert admin.result().tags == ["PAUSE"]
            assert is_silent(w, 0.2)
            command(pooler, "RESUME")
            assert w.result().tags == ["SELECT 0"]


# What becomes of the clients

def test_clients_do_not_notice_a_restart_of_the_server_during_a_pause(make_pooler, pg):
    pooler = make_pooler(default_pool_size=3)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(pooler.wire(application_name=f"client {i % 4}")) for i in range(10)]
        for i, w in enumerate(clients):
            assert w.value(f"SELECT {i}") == str(i)
        assert command(pooler, "PAUSE") == "PAUSE"
        for w in clients[:5]:
            say(w, "SELECT 'queued'")
        wait_waiting(pooler, 5)
        pg.restart()
        for w in clients[5:]:
            w.send_raw(query("BEGIN") + query("SELECT 'queued'") + query("COMMIT"))
        wait_waiting(pooler, 10)
        assert all(is_silent(w, 0) for w in clients)
        assert command(pooler, "RESUME") == "RESUME"
        for w in clients[:5]:
            assert w.result().value == "queued"
        for w in clients[5:]:
            assert [w.result().error for _ in range(3)] == [None] * 3
        for i, w in enumerate(clients):
            assert w.value("SELECT current_setting('application_name')") == f"client {i % 4}"
    assert "server conn crashed" not in pooler.log()


def test_under_load_nobody_gets_an_error(make_pooler):
    pooler = make_pooler(default_pool_size=4)
    stop, errors, done = threading.Event(), [], [0] * 8

    def work(i):
        with pooler.wire(application_name=f"worker {i % 3}") as w:
            while not stop.is_set():
                w.send_raw(query("BEGIN") + query("SELECT 1") + query("COMMIT"))
                errors.extend(e for _ in range(3) for e in w.result().errors)
                done[i] += 1

    workers = [threading.Thread(target=work, args=[i]) for i in range(8)]
    for worker in workers:
        worker.start()
    with console(pooler) as admin:
        for _ in range(25):
            assert admin.query("PAUSE").tags == ["PAUSE"]
            before = sum(done)
            assert admin.query("SHOW POOLS").dicts()
            assert sum(done) <= before + len(workers)
            assert admin.query("RESUME").tags == ["RESUME"]
            eventually(lambda: sum(done) > before + len(workers), "work goes on", every=0.001)
    stop.set()
    for worker in workers:
        worker.join()
    assert errors == []


def test_query_wait_timeout_goes_on(make_pooler):
    pooler = make_pooler(query_wait_timeout=1)
    with pooler.wire() as w:
        w.query("SELECT 1")
        command(pooler, "PAUSE")
        assert_error(say(w, "SELECT 1").result().error, "query_wait_timeout", "57014")


def test_a_new_client_is_let_in_where_the_welcome_is_known(make_pooler):
    pooler = make_pooler(databases={"app": {}, "second": {}})
    assert is_served(pooler)
    command(pooler, "PAUSE")
    with pooler.wire() as known, pooler.raw() as unknown:
        unknown.startup({"user": "app", "database": "second"})
        wait_waiting(pooler, 1, "second")
        say(known, "SELECT 'in'")
        wait_waiting(pooler, 1)
        assert is_silent(unknown)
        command(pooler, "RESUME")
        assert known.result().value == "in"
        assert unknown.finish_login("app") is None
        assert unknown.value("SELECT current_database()") == "second"


def test_a_login_that_needs_auth_query_waits_for_resume(make_pooler, pg):
    """The server that would be asked is being restarted."""
    pg.make_role("asked_for", "secret")
    pooler = make_pooler(databases={"app": {}, "second": {}}, auth_type="scram-sha-256", auth_user="postgres",
                         userlist={"admin": "admin"})
    assert pooler.attempt("secret", "asked_for").outcome == "in"
    for pause, resume in (("PAUSE", "RESUME"), ("PAUSE app", "RESUME app")):
        command(pooler, pause)
        pg.stop(signal.SIGINT)
        with pooler.raw() as w:
            w.startup({"user": "asked_for", "database": "app"})
            assert is_silent(w)
            pg.start()
            assert is_silent(w, 0.2)
            if pause == "PAUSE app":
                assert pooler.attempt("secret", "asked_for", "second").outcome == "in"
            command(pooler, resume)
            assert w.finish_login("asked_for", "secret") is None
            assert w.value("SELECT 1") == "1"


def test_pause_leaves_no_connection_of_auth_query_behind(make_pooler, pg):
    pg.make_role("asked_for", "secret")
    pooler = make_pooler(auth_type="scram-sha-256", auth_user="postgres", userlist={"admin": "admin"})
    assert pooler.attempt("secret", "asked_for").outcome == "in"
    assert pg.backends()
    command(pooler, "PAUSE")
    eventually(lambda: not pg.backends(), "no connection is left")
    command(pooler, "RESUME")
    assert pooler.attempt("secret", "asked_for").outcome == "in"


def test_min_pool_size_waits(make_pooler, pg):
    pooler = make_pooler(databases={"app": {"user": "app", "min_pool_size": 3}})
    pooler.wait_pool(sv_idle=3)
    command(pooler, "PAUSE")
    time.sleep(0.5)
    assert pooler.pool()["sv_idle"] == pooler.pool()["sv_login"] == "0"
    command(pooler, "RESUME")
    pooler.wait_pool(sv_idle=3)


def test_a_failure_of_before_sends_nobody_away(make_pooler, pg):
    """With the server down and the pooler sure of it, PAUSE holds clients until it is back."""
    pooler = make_pooler(server_login_retry=60)
    with pooler.wire() as w, pooler.wire() as other:
        w.query("SELECT 1")
        pg.stop()
        pooler.wait_log("server conn crashed")
        assert_error(say(w, "SELECT 1").result().error, None, "57P03", "08006")
        command(pooler, "PAUSE")
        say(other, "SELECT 'patience'")
        wait_waiting(pooler, 1)
        pg.start()
        command(pooler, "RESUME")
        assert other.result().value == "patience"


# One database

def test_pause_of_a_database_leaves_the_others_alone(make_pooler):
    pooler = make_pooler(databases={"app": {}, "second": {}})
    with pooler.wire() as w, pooler.wire("second") as other, pooler.wire(user="other") as third:
        for each in (w, other, third):
            each.query("BEGIN")
        with console(pooler, "PAUSE app") as admin:
            w.query("COMMIT")
            assert is_silent(admin)
            third.query("COMMIT")
            assert admin.result().tags == ["PAUSE"]
        assert paused_databases(pooler) == ["app"]
        assert state(pooler) == "active"
        other.query("COMMIT")
        assert other.value("SELECT 1") == "1" and is_served(pooler, "second")
        say(w, "SELECT 'held'")
        wait_waiting(pooler, 1)
        assert command(pooler, "RESUME app") == "RESUME"
        assert w.result().value == "held"
        assert paused_databases(pooler) == []


def test_a_database_paused_by_itself_stays_so_when_all_are_resumed(make_pooler):
    pooler = make_pooler(databases={"app": {}, "second": {}})
    command(pooler, "PAUSE app")
    command(pooler, "PAUSE")
    command(pooler, "RESUME")
    assert is_served(pooler, "second")
    with pooler.raw() as w:
        w.startup({"user": "app", "database": "app"})
        wait_waiting(pooler, 1)
        command(pooler, "RESUME app")
        assert w.finish_login("app") is None


def test_a_pool_of_later_is_paused_with_its_database(make_pooler):
    pooler = make_pooler()
    command(pooler, "PAUSE app")
    with pooler.raw() as w:
        w.startup({"user": "other", "database": "app"})
        wait_waiting(pooler, 1, user="other")
        command(pooler, "RESUME app")
        assert w.finish_login("other") is None


def test_pause_of_an_automatic_database_makes_it_and_keeps_it(make_pooler):
    pooler = make_pooler(databases={"*": {}}, autodb_idle_timeout="300ms")
    command(pooler, "PAUSE second")
    assert paused_databases(pooler) == ["second"]
    time.sleep(1)
    assert paused_databases(pooler) == ["second"]
    command(pooler, "RESUME second")
    eventually(lambda: "second" not in [row["name"] for row in pooler.admin("SHOW DATABASES")],
               "it is dropped as ever")
    # To resume is not to make.
    assert_error(pooler.admin_result("RESUME second").error, "no such database: second", "3D000")


def test_names_may_be_quoted(make_pooler):
    pooler = make_pooler(databases={"*": {}})
    command(pooler, 'PAUSE "Odd ""name"""')
    assert paused_databases(pooler) == ['Odd "name"']
    command(pooler, 'resume "Odd ""name""" ;')


# Those who wait for it

def test_an_admin_who_leaves_while_waiting_takes_the_pause_along(pooler):
    with pooler.wire() as busy, pooler.wire() as w:
        busy.query("BEGIN")
        for leave in (lambda admin: admin.close(), lambda admin: admin.send("X"), lambda admin: admin.reset()):
            with console(pooler, "PAUSE") as admin:
                eventually(lambda: state(pooler) == "paused", "it is paused")
                say(w, "SELECT 'go on'")
                assert is_silent(w, 0.2)
                leave(admin)
                assert w.result().value == "go on"
            assert state(pooler) == "active"
        # Of what it had asked behind the command nothing is done.
        with console(pooler, "PAUSE app") as admin:
            eventually(lambda: paused_databases(pooler) == ["app"], "it is paused")
            admin.send_raw(query("SHUTDOWN"))
            admin.close()
            eventually(lambda: paused_databases(pooler) == [], "it is resumed")
        assert is_served(pooler)


def test_an_admin_who_leaves_after_the_answer_leaves_the_pause(pooler):
    command(pooler, "PAUSE")
    time.sleep(0.2)
    assert state(pooler) == "paused"
    command(pooler, "RESUME")


@pytest.mark.parametrize("sql", ["PAUSE", "PAUSE app"])
def test_a_cancel_request_ends_the_pause_and_the_admin_goes_on(pooler, sql):
    with pooler.wire() as busy, pooler.wire() as w, console(pooler) as admin:
        busy.query("BEGIN")
        say(admin, sql)
        say(w, "SELECT 'go on'")
        wait_waiting(pooler, 1)
        admin.cancel()
        result = admin.result()
        assert (result.error["C"], result.status) == ("57014", "I")
        assert w.result().value == "go on"
        assert admin.query("SHOW STATE").rows == [["active", "yes"], ["paused", "no"], ["suspended", "no"]]
        # With nothing to cancel it is without effect, as is one with a wrong key.
        admin.cancel()
        say(admin, sql)
        with pooler.raw() as other:
            other.send_raw(packet("", CANCEL_REQUEST.to_bytes(4, "big") + admin.key[:-1] +
                                  bytes([admin.key[-1] ^ 128])))
            other.drain()
        assert is_silent(admin)
        busy.query("COMMIT")
        assert admin.result().tags == ["PAUSE"]


def test_several_admins_wait(pooler):
    with pooler.wire() as busy, contextlib.ExitStack() as stack:
        busy.query("BEGIN")
        admins = [stack.enter_context(console(pooler, sql)) for sql in ("PAUSE", "PAUSE app", "PAUSE app")]
        assert all(is_silent(admin, 0.2) for admin in admins)
        busy.query("COMMIT")
        for admin in admins:
            assert admin.result().tags == ["PAUSE"]


def test_only_whose_doing_it_is_takes_the_pause_along(pooler):
    with pooler.wire() as busy:
        busy.query("BEGIN")
        with console(pooler, "PAUSE app") as first:
            eventually(lambda: paused_databases(pooler) == ["app"], "it is paused")
            with console(pooler, "PAUSE app") as second:
                assert is_silent(second)
            assert is_silent(first)
            assert paused_databases(pooler) == ["app"]
            busy.query("COMMIT")
            assert first.result().tags == ["PAUSE"]


@pytest.mark.parametrize("pause, resume", [("PAUSE", "RESUME"), ("PAUSE app", "RESUME app")])
def test_resume_by_another_tells_who_waits(pooler, pause, resume):
    with pooler.wire() as busy:
        busy.query("BEGIN")
        with console(pooler, pause) as admin:
            assert is_silent(admin)
            command(pooler, resume)
            result = admin.result()
            assert_error(result.error, "PAUSE was undone", "57014")
            assert admin.query("SHOW VERSION").rows


def test_what_is_asked_behind_pause_is_answered_behind_it(pooler):
    with pooler.wire() as busy, console(pooler) as admin:
        busy.query("BEGIN")
        admin.send_raw(query("PAUSE") + query("SHOW STATE") + query("RESUME") + query("SHOW STATE"))
        assert is_silent(admin)
        busy.query("COMMIT")
        assert admin.result().tags == ["PAUSE"]
        assert admin.result().rows[1] == ["paused", "yes"]
        assert admin.result().tags == ["RESUME"]
        assert admin.result().rows[1] == ["paused", "no"]


def test_an_admin_who_says_too_much_while_waiting(pooler):
    with pooler.wire() as busy, console(pooler) as admin:
        busy.query("BEGIN")
        admin.send_raw(query("PAUSE") + query("SHOW VERSION") * 20000)
        assert is_silent(admin)
        busy.query("COMMIT")
        assert admin.result().tags == ["PAUSE"]
        for _ in range(20000):
            assert admin.result().tags == ["SHOW"]


# Who may, and when not

def test_only_admins_may(pooler):
    with pooler.wire("pgbouncer", "stats") as w:
        for sql in ("PAUSE", "PAUSE app", "RESUME", "RESUME app", "SUSPEND"):
            assert_error(w.query(sql).error, "admin access needed", "42501")
    assert state(pooler) == "active"


def test_errors(make_pooler):
    pooler = make_pooler(databases={"app": {}, "second": {}})
    with console(pooler) as admin:
        def refused(sql, text, code="55000"):
            result = admin.query(sql)
            assert_error(result.error, text, code)
            assert (result.error["S"], result.status) == ("ERROR", "I")

        refused("RESUME", "pooler is not paused/suspended")
        refused("RESUME app", "database app is not paused")
        refused("RESUME nosuch", "no such database: nosuch", "3D000")
        refused("RESUME pgbouncer", "database pgbouncer is not paused")
        refused("PAUSE nosuch", "no such database: nosuch", "3D000")
        refused("PAUSE pgbouncer", "cannot pause admin db: pgbouncer", "3D000")
        refused("PAUSE app second", "invalid command 'PAUSE app second'", "42601")
        refused("SUSPEND app", "invalid command 'SUSPEND app'", "42601")
        assert admin.query("PAUSE").tags == ["PAUSE"]
        refused("PAUSE", "already suspended/paused")
        refused("SUSPEND", "already suspended/paused")
        refused("RESUME app", "database app is not paused")
        # PgBouncer's order: a database may be paused for the time after.
        assert admin.query("PAUSE app").tags == ["PAUSE"]
        assert admin.query("PAUSE app").tags == ["PAUSE"]
        assert admin.query("RESUME").tags == ["RESUME"]
        refused("RESUME", "pooler is not paused/suspended")
        refused("SUSPEND", "cannot suspend with paused databases")
        assert admin.query("RESUME app").tags == ["RESUME"]


def test_help_names_them(pooler):
    [notice] = pooler.admin_result("SHOW HELP").notices
    assert {"PAUSE [<db>]", "RESUME [<db>]", "SUSPEND"} <= set(notice["D"].split("\n\t"))


def test_show_state(pooler):
    command(pooler, "PAUSE")
    assert {row["key"]: row["value"] for row in pooler.admin("SHOW STATE")} == {
        "active": "no", "paused": "yes", "suspended": "no"}


# Reload and the end

def test_a_reload_keeps_it(make_pooler):
    pooler = make_pooler(databases={"app": {}, "second": {}})
    with pooler.wire() as w:
        w.query("SELECT 1")
        command(pooler, "PAUSE")
        command(pooler, "PAUSE second")
        pooler.databases["third"] = pooler.databases["app"]
        assert pooler.reload(default_pool_size=7).error is None
        assert (state(pooler), paused_databases(pooler)) == ("paused", ["second"])
        say(w, "SELECT 'held'")
        with pooler.raw() as new:
            new.startup({"user": "app", "database": "third"})
            wait_waiting(pooler, 1, "third")
        assert is_silent(w)
        command(pooler, "RESUME")
        assert w.result().value == "held"
        assert paused_databases(pooler) == ["second"]


def test_a_database_that_is_removed_while_its_pause_is_waited_for(make_pooler):
    pooler = make_pooler(databases={"app": {}, "second": {}})
    with pooler.wire() as busy:
        busy.query("BEGIN")
        with console(pooler, "PAUSE app") as admin:
            eventually(lambda: paused_databases(pooler) == ["app"], "it is paused")
            pooler.databases.pop("app")
            assert pooler.reload().error is None
            assert_error(admin.result().error, "PAUSE was undone", "57014")
            # Nor is what nobody can resume any more in anybody's way.
            assert admin.query("SUSPEND").tags == ["SUSPEND"]
            assert admin.query("RESUME").tags == ["RESUME"]


def test_shutdown_wait_for_servers_during_a_pause_ends_at_once(pooler):
    with pooler.wire() as w:
        w.query("SELECT 1")
        command(pooler, "PAUSE")
        say(w, "SELECT 1")
        wait_waiting(pooler, 1)
        assert pooler.admin_result("SHUTDOWN WAIT_FOR_SERVERS").tags == ["SHUTDOWN"]
        assert_error(w.result().error, "server shutting down", "57P01")
        assert pooler.wait_exit() == 0


def test_shutdown_wait_for_servers_while_a_pause_is_waited_for(pooler):
    with pooler.wire() as busy:
        busy.query("BEGIN")
        with console(pooler, "PAUSE") as admin, console(pooler) as another:
            assert is_silent(admin)
            assert another.query("SHUTDOWN WAIT_FOR_SERVERS").tags == ["SHUTDOWN"]
            for sql in ("RESUME", "PAUSE", "SUSPEND"):
                assert_error(another.query(sql).error, "pooler is shutting down", "55000")
            # Nor does an admin who leaves undo anything now.
            admin.close()
            assert busy.value("SELECT 1") == "1"
            assert another.query("SHOW STATE").rows[1] == ["paused", "yes"]
            busy.query("COMMIT")
            assert pooler.wait_exit() == 0


def test_shutdown_wait_for_clients_during_a_pause(pooler):
    with pooler.wire() as w:
        w.query("SELECT 1")
        command(pooler, "PAUSE")
        with console(pooler) as admin:
            assert admin.query("SHUTDOWN WAIT_FOR_CLIENTS").tags == ["SHUTDOWN"]
            assert_error(admin.query("RESUME").error, "pooler is shutting down", "55000")
            pooler.signal(signal.SIGUSR2)
            pooler.wait_log("got SIGUSR2 while shutting down, ignoring")
            assert is_silent(say(w, "SELECT 1"))
        w.close()
        assert pooler.wait_exit() == 0


def test_the_program_ends_while_a_pause_is_waited_for(pooler):
    with pooler.wire() as busy, console(pooler) as admin:
        busy.query("BEGIN")
        say(admin, "PAUSE")
        assert is_silent(admin)
        pooler.signal(signal.SIGQUIT)
        assert_error(admin.result().error, "pooler is shutting down", "57P01")
        assert pooler.wait_exit() == 0


# Signals

def test_usr1_pauses_and_usr2_resumes(pooler):
    with pooler.wire() as w:
        w.query("SELECT 1")
        pooler.signal(signal.SIGUSR1)
        pooler.wait_log("got SIGUSR1, pausing all activity")
        assert state(pooler) == "paused"
        pooler.signal(signal.SIGUSR1)
        pooler.wait_log("got SIGUSR1, but already paused/suspended")
        say(w, "SELECT 'held'")
        wait_waiting(pooler, 1)
        pooler.signal(signal.SIGUSR2)
        pooler.wait_log("got SIGUSR2, continuing from PAUSE")
        assert w.result().value == "held"
        pooler.signal(signal.SIGUSR2)
        pooler.wait_log("got SIGUSR2, but not paused/suspended")
        assert state(pooler) == "active"


def test_usr2_ends_a_pause_of_the_console(pooler):
    with pooler.wire() as busy:
        busy.query("BEGIN")
        with console(pooler, "PAUSE") as admin:
            assert is_silent(admin)
            pooler.signal(signal.SIGUSR2)
            assert_error(admin.result().error, "PAUSE was undone", "57014")
