"""What a service manager sees of the pooler: sd_notify(3), and sockets that it has opened (sd_listen_fds(3))."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from harness.pooler import PROGRAM, is_pgbouncer
from harness.system import as_account, eventually, give_away, stop_process
from harness.wire import Wire, query


def knows_systemd():
    return "\nsystemd: " in subprocess.run([PROGRAM, "--version"], capture_output=True, text=True).stdout


pytestmark = pytest.mark.skipif(is_pgbouncer() or not knows_systemd(), reason="built without libsystemd")


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, pooler):
        self.path = os.path.join(pooler.directory, "notify")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        give_away(self.path)
        self.sock.settimeout(30)
        environment = pooler.environment
        pooler.environment = lambda: {**environment(), "NOTIFY_SOCKET": self.path}

    def message(self):
        return dict(line.split("=", 1) for line in self.sock.recv(65536).decode().splitlines())

    def wait(self, name):
        """The next message with this variable."""
        while True:
            message = self.message()
            if name in message:
                return message

    def rest(self):
        """What has come so far."""
        messages = []
        self.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                messages.append(self.message())
        self.sock.settimeout(30)
        return messages

    def fill(self):
        """The queue of what it has not read is as long as it can be."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, contextlib.suppress(BlockingIOError):
            other.setblocking(False)
            while True:
                other.sendto(b"X=1", self.path)

    def is_silent(self, seconds):
        self.sock.settimeout(seconds)
        try:
            self.message()
            return False
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(30)


@pytest.fixture
def managed(make_pooler):
    """A pooler that is not started yet, and who it will report to."""
    made = []

    def make(**settings):
        pooler = make_pooler(start=False, **settings)
        made.append(Manager(pooler))
        return pooler, made[-1]

    yield make
    for manager in made:
        manager.sock.close()


# sd_notify

def test_ready_comes_when_it_listens(managed):
    pooler, manager = managed()
    pooler.start()
    message = manager.message()
    assert message["READY"] == "1"
    assert message["STATUS"].startswith("0 clients, 0 waiting, 0 servers, 0 in use; stats: ")


def test_a_start_that_fails_is_never_ready(managed):
    pooler, manager = managed(client_tls_sslmode="require", client_tls_cert_file="/nowhere",
                              client_tls_key_file="/nowhere")
    assert pooler.run(pooler.ini).returncode == 1
    assert manager.is_silent(0.3)


@pytest.mark.parametrize("setting, how", [("default_pool_size", "sighup"), ("no_such_setting", "sighup"),
                                          ("default_pool_size", "console")])
def test_a_reload_is_announced_with_its_time_and_ends_in_ready(managed, setting, how):
    pooler, manager = managed()
    pooler.start()
    manager.wait("READY")
    before = time.monotonic_ns() // 1000
    if how == "console":
        pooler.reload(**{setting: 7})
    else:
        pooler.hang_up(**{setting: 7})
    reloading = manager.wait("RELOADING")
    assert reloading["RELOADING"] == "1"
    assert before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert manager.message()["READY"] == "1"


def test_the_status_is_live(managed):
    pooler, manager = managed(default_pool_size=1, stats_period=1)
    pooler.start()
    manager.wait("READY")
    with pooler.wire() as busy, pooler.wire() as waiting:
        busy.query("BEGIN")
        waiting.send_raw(query("SELECT 1"))
        pooler.wait_pool(cl_waiting=1)
        message = manager.message()
        assert set(message) == {"STATUS"}
        assert message["STATUS"].startswith("2 clients, 1 waiting, 1 servers, 1 in use; stats: ")
        assert re.search(r"stats: \d+ xacts/s, \d+ queries/s", message["STATUS"])


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "SIGQUIT", "SHUTDOWN DRAIN", "SHUTDOWN"])
def test_stopping_comes_when_it_begins_to_stop(managed, how):
    pooler, manager = managed(shutdown_delay=3000)
    pooler.start()
    manager.wait("READY")
    with pooler.wire() as w:
        w.query("BEGIN")
        if how.startswith("SIG"):
            pooler.signal(getattr(signal, how))
        else:
            pooler.admin_result(how)
        message = manager.wait("STOPPING")
        assert message["STOPPING"] == "1"
        if how not in ("SIGQUIT", "SHUTDOWN"):
            assert message["STATUS"].startswith("shutting down, 1 clients")
            assert pooler.alive()
            pooler.signal(signal.SIGTERM)
        assert pooler.wait_exit() == 0


def test_signs_of_life_as_often_as_asked_for(managed):
    pooler, manager = managed()
    environment = pooler.environment
    # WATCHDOG_PID is the process id; without it the time is for whoever has the environment.
    pooler.environment = lambda: {**environment(), "WATCHDOG_USEC": "200000"}
    pooler.start()
    for _ in range(5):
        assert manager.wait("WATCHDOG")["WATCHDOG"] == "1"
    # One that hangs gives none.
    pooler.signal(signal.SIGSTOP)
    try:
        while not manager.is_silent(0.5):
            pass
    finally:
        pooler.signal(signal.SIGCONT)
    manager.wait("WATCHDOG")


def test_no_signs_of_life_unless_asked_for(managed):
    pooler, manager = managed()
    pooler.start()
    manager.wait("READY")
    assert manager.is_silent(1)


def test_a_takeover_tells_who_the_service_is(managed):
    pooler, manager = managed()
    pooler.start()
    manager.wait("READY")
    old = pooler.process
    with pooler.wire() as w:
        w.query("BEGIN")
        pooler.args = ["-R"]
        pooler.start()
        try:
            assert manager.wait("MAINPID")["MAINPID"] == str(pooler.pid)
            assert manager.wait("READY")["STATUS"].startswith("0 clients")
            w.query("COMMIT")
            w.close()
            # The old one says nothing more, not that it stops either.
            assert old.wait(30) == 0
            assert {name for message in manager.rest() for name in message} <= {"STATUS"}
        finally:
            stop_process(old)


def test_nobody_to_tell_is_no_trouble(make_pooler):
    pooler = make_pooler(start=False)
    environment = pooler.environment
    pooler.environment = lambda: {**environment(), "NOTIFY_SOCKET": "/nowhere/notify", "WATCHDOG_USEC": "100000"}
    pooler.start()
    with pooler.wire() as w:
        assert w.value("SELECT pg_sleep(0.3), 1") is not None
        assert pooler.reload(default_pool_size=7).tags == ["RELOAD"]


def test_a_manager_that_does_not_read_holds_up_nothing(managed):
    pooler, manager = managed()
    pooler.start()
    manager.wait("READY")
    with pooler.wire() as w:
        manager.fill()
        # Each has two things to tell.
        for size in range(5, 8):
            assert pooler.reload(default_pool_size=size).tags == ["RELOAD"]
        assert w.value("SELECT 1") == "1"
    # It is told when it reads again, with the next thing that there is to say.
    manager.rest()
    pooler.reload(default_pool_size=20)
    assert manager.message()["RELOADING"] == "1"
    assert manager.message()["READY"] == "1"


# Socket activation

PASS_ON = """
import os, sys
fds = [int(fd) for fd in sys.argv[1].split(",")]
# Out of the way of those that are to be theirs.
copies = [os.dup(fd) for fd in fds]
high = [os.dup2(fd, 100 + i) for i, fd in enumerate(copies)]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i, inheritable=True)
os.closerange(3 + len(fds), 200)
os.environ.update(LISTEN_PID=str(os.getpid() + int(sys.argv[2])), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES="a:b")
os.execv(sys.argv[3], sys.argv[3:])
"""


def activate(pooler, sockets, *args, other_pid=0):
    """Starts the pooler as a service manager does that has sockets for it."""
    fds = [s.fileno() for s in sockets]
    with open(pooler.log_file, "a") as log:
        pooler.process = subprocess.Popen(
            [sys.executable, "-c", PASS_ON, ",".join(map(str, fds)), str(other_pid), pooler.program, *args, pooler.ini],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=pooler.directory, env=pooler.environment(),
            pass_fds=fds, **as_account())


def tcp(port, address="127.0.0.1", backlog=16):
    return socket.create_server((address, port), backlog=backlog)


def local(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    os.chmod(path, 0o777)
    sock.listen()
    return sock


def asks(address):
    with Wire(address).login("app", "app") as w:
        return w.value("SELECT 1")


def test_passed_tcp_sockets_replace_listen_addr(make_pooler):
    pooler = make_pooler(start=False, listen_addr="127.0.0.2")
    with tcp(pooler.port) as sock:
        # Whoever comes before it runs waits for it.
        with Wire(("127.0.0.1", pooler.port)) as early:
            activate(pooler, [sock])
            early.login("app", "app")
            assert early.value("SELECT 1") == "1"
        assert asks(("127.0.0.1", pooler.port)) == "1"
        # No Unix socket was passed: the configured one is opened.
        assert asks(pooler.unix_socket) == "1"
        with pytest.raises(ConnectionRefusedError):
            Wire(("127.0.0.2", pooler.port))


def test_passed_unix_sockets_replace_unix_socket_dir_and_stay(make_pooler):
    pooler = make_pooler(start=False)
    path = os.path.join(pooler.directory, "activated")
    with local(path) as sock:
        activate(pooler, [sock])
        assert asks(path) == "1"
        assert asks(("127.0.0.1", pooler.port)) == "1"
        assert not os.path.exists(pooler.unix_socket)
        pooler.stop()
        assert os.path.exists(path)
        # Nobody is refused while nobody runs: the next one serves them.
        with Wire(path) as early:
            activate(pooler, [sock])
            early.login("app", "app")
            assert early.value("SELECT 1") == "1"


def test_several_sockets_of_both_kinds(make_pooler):
    pooler = make_pooler(start=False, listen_addr="", unix_socket_dir="")
    path = os.path.join(pooler.directory, "activated")
    with tcp(pooler.port) as one, local(path) as two, tcp(pooler.port, "127.0.0.3") as three:
        activate(pooler, [one, two, three])
        assert [asks(a) for a in (("127.0.0.1", pooler.port), path, ("127.0.0.3", pooler.port))] == ["1"] * 3


def test_sockets_of_another_process_are_not_taken(make_pooler):
    pooler = make_pooler(start=False)
    with tcp(pooler.port, "127.0.0.5") as sock:
        activate(pooler, [sock], other_pid=1)
        eventually(lambda: pooler._accepts(), "it listens as configured")
        assert asks(("127.0.0.1", pooler.port)) == "1"


def test_a_socket_that_does_not_listen_is_refused(make_pooler):
    pooler = make_pooler(start=False)
    with socket.socket() as sock:
        activate(pooler, [sock])
        assert pooler.process.wait(30) == 1
    assert "descriptor 3 that was passed is no stream socket that listens" in pooler.log()
    pooler.process = None


def test_sockets_of_the_service_manager_are_not_taken_over(make_pooler):
    pooler = make_pooler(start=False)
    with tcp(pooler.port) as sock:
        activate(pooler, [sock], "-R")
        assert pooler.process.wait(30) == 1
    assert "-R: the service manager has passed sockets" in pooler.log()
    pooler.process = None


def test_nobody_notices_a_restart(make_pooler, certs, storm):
    """Whoever comes while nobody runs waits in the queue of the service manager's socket."""
    pooler = make_pooler(start=False, max_client_conn=2000, listen_backlog=1024, shutdown_mode="wait_for_clients",
                         **certs.for_clients())
    with tcp(pooler.port, backlog=1024) as sock:
        activate(pooler, [sock])
        with storm(pooler.port) as clients:
            for _ in range(2):
                with clients.going_on():
                    pooler.signal(signal.SIGTERM)
                    assert pooler.wait_exit(60) == 0
                    pooler.check_log()
                    activate(pooler, [sock])
                    clients.wait_more(1)
        clients.assert_nobody_noticed()


def test_a_daemon_is_activated_too(make_pooler):
    pooler = make_pooler(start=False)
    pooler.settings.update(pidfile=os.path.join(pooler.directory, "pid"),
                           logfile=os.path.join(pooler.directory, "own.log"))
    pooler.write()
    with tcp(pooler.port) as sock:
        activate(pooler, [sock], "-d")
        assert pooler.process.wait(30) == 0
        pooler.process = None
        with open(pooler.settings["pidfile"]) as f:
            daemon = int(f.read())
        try:
            assert asks(("127.0.0.1", pooler.port)) == "1"
        finally:
            os.kill(daemon, signal.SIGQUIT)
        eventually(lambda: not os.path.exists(pooler.settings["pidfile"]), "the daemon has ended")
