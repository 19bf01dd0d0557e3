"""Replacing the program under load: -R, and a rolling restart with so_reuseport."""

import array
import contextlib
import os
import signal
import socket
import threading

import pytest

from harness.certs import Records, ask
from harness.http import Http
from harness.pooler import assert_error, is_pgbouncer
from harness.system import as_account, eventually, free_port, give_away, stop_process
from harness.wire import Closed, Peer, Wire, packet

if is_pgbouncer():
    pytest.skip("PgBouncer's -R is another", allow_module_level=True)

@pytest.fixture
def make(make_pooler):
    """A pooler with a pid file, and the processes that were replaced: all must have ended well."""
    made, replaced = [], []

    def make_one(**settings):
        pooler = make_pooler(start=False, **settings)
        pooler.settings["pidfile"] = os.path.join(pooler.directory, "pid")
        pooler.write()
        pooler.replaced = replaced
        made.append(pooler)
        return pooler.start()

    yield make_one
    for process in replaced:
        stop_process(process, signal.SIGQUIT)
        assert process.returncode == 0


def take_over(pooler):
    """Starts another process in the place of the one that runs; returns that one."""
    pooler.replaced.append(pooler.process)
    return pooler.take_over()


def fail_to_take_over(pooler, *args):
    """What the program says that is to take over and does not."""
    result = pooler.run("-R", *args, pooler.ini)
    assert result.returncode == 1, result
    return result.stderr


def assert_serves(pooler):
    assert pooler.alive()
    for address in (("127.0.0.1", pooler.port), pooler.unix_socket):
        with Wire(address).login("app", "app") as w:
            assert w.value("SELECT 1") == "1"
    with open(pooler.settings["pidfile"]) as f:
        assert int(f.read()) == pooler.pid


def served_by(pooler, pid):
    """Log lines of clients' logins at a process."""
    return sum(f"[{pid}]" in line and "login attempt: db=app" in line for line in pooler.log().splitlines())


def as_owner(pooler):
    """The program that a connection of the owner's is made by, a Python of the same account."""
    class Owner(Wire):
        def __init__(self):
            if os.getuid() == 0:
                os.seteuid(as_account()["user"])
            try:
                super().__init__(pooler.unix_socket)
            finally:
                if os.getuid() == 0:
                    os.seteuid(0)
            self.login("pgbouncer", "pgbouncer")
    return Owner()


# It works

def test_new_clients_go_to_the_new_process_and_the_old_serves_its_own(make):
    pooler = make()
    with pooler.wire() as busy, pooler.wire() as idle:
        busy.query("BEGIN")
        idle.query("SELECT 1")
        old = take_over(pooler)
        before = served_by(pooler, old.pid)
        assert_serves(pooler)
        assert (served_by(pooler, old.pid), served_by(pooler, pooler.pid)) == (before, 2)
        assert busy.value("SELECT 1") == "1"
        assert busy.query("COMMIT").tags == ["COMMIT"]
        assert idle.value("SELECT 2") == "2"
        assert old.poll() is None
    assert old.wait(30) == 0
    assert_serves(pooler)


def test_the_http_port_is_taken_over_too(make):
    port = free_port()
    pooler = make(http_listen_addr="127.0.0.1", http_port=port)
    with pooler.wire() as w, Http(port) as held:
        w.query("BEGIN")
        assert held.text("/readyz") == "ok\n"
        old = take_over(pooler)
        with Http(port) as web:
            assert web.text("/readyz") == "ok\n"
            assert "\npgbouncer_used_clients 0\n" in web.text("/metrics")
        assert held.text("/readyz", 503) == "shutting down\n"
        w.query("COMMIT")
    assert old.wait(30) == 0
    with Http(port) as web:
        assert web.text("/readyz") == "ok\n"


def test_files_are_the_new_process_s_to_remove(make):
    pooler = make()
    old = take_over(pooler)
    assert old.wait(30) == 0
    assert_serves(pooler)
    pooler.stop()
    assert not os.path.exists(pooler.settings["pidfile"])
    assert not os.path.exists(pooler.unix_socket)


def test_once_more_and_again(make):
    pooler = make()
    for _ in range(3):
        assert take_over(pooler).wait(30) == 0
        assert_serves(pooler)


def test_shutdown_mode_says_how_the_old_process_ends(make):
    pooler = make(shutdown_mode="drain", shutdown_delay=3000, shutdown_pace=0)
    with pooler.wire() as idle, pooler.wire() as busy:
        idle.query("SELECT 1")
        busy.query("BEGIN")
        old = take_over(pooler)
        # Without the delay: whoever comes is the new one's.
        assert_error(idle.result().error, "server shutting down", "57P01")
        assert busy.query("COMMIT").tags == ["COMMIT"]
        assert_error(busy.result().error, "server shutting down", "57P01")
        assert old.wait(30) == 0
    assert_serves(pooler)


def test_a_login_under_way_ends_where_it_began(make, certs):
    pooler = make(**certs.for_clients())
    with pooler.raw() as late:
        assert ask(late) == b"S"
        records = Records(late.sock, certs.client())
        old = take_over(pooler)
        records.handshake()
        late.sock = records
        late.login("app", "app")
        assert late.value("SELECT 1") == "1"
        assert old.poll() is None
    assert old.wait(30) == 0


def test_without_a_running_process_it_just_starts(make_pooler):
    pooler = make_pooler(start=False, args=("-R",))
    pooler.settings["pidfile"] = os.path.join(pooler.directory, "pid")
    pooler.write()
    pooler.start()
    assert "no running process found" in pooler.log()
    assert_serves(pooler)


def test_a_daemon_takes_over_too(make):
    pooler = make()
    pooler.settings["logfile"] = os.path.join(pooler.directory, "own.log")
    pooler.write()
    old = pooler.process
    pooler.replaced.append(old)
    assert pooler.run("-d", "-R", pooler.ini).returncode == 0
    with open(pooler.settings["pidfile"]) as f:
        daemon = int(f.read())
    try:
        assert old.wait(30) == 0
        with pooler.wire() as w:
            assert w.value("SELECT 1") == "1"
    finally:
        os.kill(daemon, signal.SIGQUIT)
    eventually(lambda: not os.path.exists(pooler.settings["pidfile"]), "the daemon has ended")
    pooler.process = None


def test_addresses_are_those_of_the_new_configuration(make):
    pooler = make(listen_addr="127.0.0.1,127.0.0.2")
    pooler.settings["listen_addr"] = "127.0.0.1,127.0.0.3"
    pooler.write()
    assert take_over(pooler).wait(30) == 0
    assert_serves(pooler)
    with Wire(("127.0.0.3", pooler.port)).login("app", "app") as w:
        assert w.value("SELECT 1") == "1"
    with pytest.raises(ConnectionRefusedError):
        Wire(("127.0.0.2", pooler.port))


def test_the_abstract_socket_is_taken_over_too(make):
    pooler = make(unix_socket_dir=f"@pgsluice-{os.getpid()}-{free_port()}")
    assert take_over(pooler).wait(30) == 0
    with Wire(f"\0{pooler.settings['unix_socket_dir'][1:]}/.s.PGSQL.{pooler.port}").login("app", "app") as w:
        assert w.value("SELECT 1") == "1"


# It does not, and the old process goes on

def test_a_configuration_that_fails_late_leaves_the_old_process_serving(make):
    pooler = make()
    pooler.settings.update(client_tls_sslmode="require", client_tls_cert_file="/nowhere",
                           client_tls_key_file="/nowhere")
    pooler.write()
    assert "/nowhere" in fail_to_take_over(pooler)
    assert_serves(pooler)
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"


def test_an_address_that_cannot_be_had_leaves_the_old_process_serving(make):
    pooler = make()
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", pooler.port))
        pooler.settings["listen_addr"] = "127.0.0.1,127.0.0.2"
        pooler.write()
        assert "127.0.0.2" in fail_to_take_over(pooler)
    assert_serves(pooler)


def test_without_r_nothing_is_taken_over(make):
    pooler = make()
    result = pooler.run(pooler.ini)
    assert result.returncode == 1
    assert "another process is running already" in result.stderr
    assert_serves(pooler)


def test_without_a_unix_socket_it_cannot_be_asked(make_pooler):
    pooler = make_pooler(start=False, unix_socket_dir="")
    assert "-R needs unix_socket_dir" in fail_to_take_over(pooler)


@pytest.mark.parametrize("sql, undo", [("PAUSE", "RESUME"), ("PAUSE app", "RESUME app"), ("SUSPEND", "RESUME")])
def test_what_is_held_back_is_not_taken_over(make, sql, undo):
    pooler = make()
    with as_owner(pooler) as console:
        assert console.query("TAKEOVER").error is None
        assert console.query(sql).error is None
        for step in ("TAKEOVER", "TAKEOVER DONE"):
            assert_error(console.query(step).error, "pooler is paused/suspended", "55000")
        if sql != "SUSPEND":
            # Nobody is accepted during a SUSPEND.
            assert "paused" in fail_to_take_over(pooler)
        assert console.query(undo).error is None
    assert_serves(pooler)


def test_a_process_that_ends_is_not_taken_over(make):
    pooler = make()
    with pooler.wire() as w:
        w.query("SELECT 1")
        pooler.signal(signal.SIGTERM)
        pooler.wait_log("got SIGTERM")
        assert "pooler is shutting down" in fail_to_take_over(pooler)
        assert w.value("SELECT 1") == "1"
    assert pooler.wait_exit() == 0


@pytest.mark.parametrize("unix", [False, True])
@pytest.mark.parametrize("sql", ["TAKEOVER", "TAKEOVER DONE"])
def test_admins_get_no_sockets(make, unix, sql):
    pooler = make()
    with Wire(pooler.unix_socket if unix else ("127.0.0.1", pooler.port)).login("admin", "pgbouncer") as admin:
        if os.getuid() != 0 and unix:
            pytest.skip("everybody is the owner")
        assert_error(admin.query(sql).error, "only the owner", "42501")
    assert_serves(pooler)


def test_the_second_step_needs_the_first(make):
    pooler = make()
    with as_owner(pooler) as one, as_owner(pooler) as other:
        assert_error(one.query("TAKEOVER DONE").error, "TAKEOVER comes first", "55000")
        assert one.query("TAKEOVER").tags == ["TAKEOVER 2"]
        assert_error(other.query("TAKEOVER DONE").error, "TAKEOVER comes first", "55000")
        assert_error(one.query("TAKEOVER NONSENSE").error, "invalid command", "42601")
    # It has the sockets, and is gone.
    assert_serves(pooler)


# Whoever answers on the socket

class Impostor:
    """Answers a login on the Unix socket of a pooler that does not run, then goes by a script."""

    def __init__(self, pooler, script):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(pooler.unix_socket)
        give_away(pooler.unix_socket)
        self.listener.listen()
        self.thread = threading.Thread(target=self._serve, args=(script,), daemon=True)
        self.thread.start()

    def _serve(self, script):
        with contextlib.suppress(OSError, Closed), Peer(self.listener.accept()[0]) as peer:
            peer.read_startup()
            script(peer)

    def close(self):
        self.listener.close()
        self.thread.join(30)


READY = packet("Z", b"I")
WELCOME = packet("R", b"\0\0\0\0") + READY


def send_sockets(peer, sockets, tag):
    data = packet("C", tag.encode() + b"\0") + READY
    peer.sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [s.fileno() for s in sockets]))])


def garbage(peer):
    peer.send_raw(b"HTTP/1.0 400 Bad Request\r\n\r\n")


def silence(peer):
    del peer


def password(peer):
    peer.send_raw(packet("R", b"\0\0\0\3"))


def no_sockets(peer):
    peer.send_raw(WELCOME)
    peer.recv()
    peer.send_raw(packet("C", b"TAKEOVER 0\0") + READY)


def fewer_sockets(peer):
    peer.send_raw(WELCOME)
    peer.recv()
    with socket.create_server(("127.0.0.1", 0)) as one:
        send_sockets(peer, [one], "TAKEOVER 2")


def no_listener(peer):
    peer.send_raw(WELCOME)
    peer.recv()
    with socket.socket() as one:
        send_sockets(peer, [one], "TAKEOVER 1")


@pytest.mark.parametrize("script, words", [
    (garbage, "does not speak the protocol"), (silence, "has closed the connection"), (password, "asks for a password"),
    (no_sockets, "passed 0 sockets"), (fewer_sockets, "passed 1 sockets"),
    (no_listener, "no stream socket that listens"),
])
def test_whoever_answers_otherwise_is_not_taken_over(make_pooler, script, words):
    pooler = make_pooler(start=False)
    impostor = Impostor(pooler, script)
    try:
        assert words in fail_to_take_over(pooler)
    finally:
        impostor.close()
    assert os.path.exists(pooler.unix_socket)


def with_own_sockets(pooler, then):
    """One that passes its sockets on, and its answer to TAKEOVER DONE."""
    def script(peer):
        peer.send_raw(WELCOME)
        peer.recv()
        with socket.create_server(("127.0.0.1", pooler.port)) as tcp:
            send_sockets(peer, [tcp, impostors[0].listener], "TAKEOVER 2")
            peer.recv()
            peer.send_raw(then)
    impostors = [Impostor(pooler, script)]
    return impostors[0]


def test_a_refusal_at_the_end_ends_the_new_process(make_pooler):
    pooler = make_pooler(start=False)
    impostor = with_own_sockets(pooler, packet("E", b"SERROR\0C55000\0Mnot now\0\0"))
    try:
        assert "refuses: not now" in fail_to_take_over(pooler)
    finally:
        impostor.close()
    assert os.path.exists(pooler.unix_socket)


def test_one_that_dies_at_the_end_is_taken_over_all_the_same(make_pooler):
    pooler = make_pooler(start=False, args=("-R",))
    impostor = with_own_sockets(pooler, b"")
    try:
        pooler.start()
        pooler.wait_log("taking over all the same")
    finally:
        impostor.close()
    with Wire(pooler.unix_socket).login("app", "app") as w:
        assert w.value("SELECT 1") == "1"


# Under load

def test_nobody_notices_a_takeover(make, certs, storm):
    pooler = make(max_client_conn=2000, listen_backlog=1024, **certs.for_clients())
    with storm(pooler.port) as clients:
        for _ in range(3):
            with clients.going_on():
                old = take_over(pooler)
                assert old.wait(60) == 0
    clients.assert_nobody_noticed()


@pytest.mark.parametrize("mode", ["wait_for_clients", "drain"])
def test_nobody_notices_a_rolling_restart_with_so_reuseport(make_pooler, certs, storm, mode):
    """Clients that do not stay: those that do are sent away by a drain, but at no moment are they refused."""
    settings = {"so_reuseport": 1, "max_client_conn": 2000, "listen_backlog": 1024, "shutdown_mode": mode,
                "shutdown_delay": 0, "shutdown_pace": 20, **certs.for_clients()}
    poolers = [make_pooler(**settings)]

    def start_another():
        poolers.append(make_pooler(**{**settings, "listen_port": poolers[0].port}))
        # That the port answers does not say that this one does.
        poolers[-1].wait_log("process up")

    start_another()
    with storm(poolers[0].port) as clients:
        for i in range(2):
            with clients.going_on():
                # Those who are being served at that moment are, and nobody else comes.
                poolers[i].signal(signal.SIGTERM)
                assert poolers[i].wait_exit(60) == 0
                start_another()
    clients.assert_nobody_noticed()
