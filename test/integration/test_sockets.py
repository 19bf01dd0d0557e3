"""What the kernel is told about sockets: where the pooler listens, who may come in, options of each connection."""

import contextlib
import grp
import os
import re
import socket
import struct

import pytest

from harness.system import account, eventually, sockets_of

TCP_INFO_BACKLOG = 28  # tcpi_sacked: of a listening socket, the length of its queue


@contextlib.contextmanager
def sockets(pooler):
    found = sockets_of(pooler.pid)
    try:
        yield [s for s in found if s.family in (socket.AF_INET, socket.AF_INET6) and s.type == socket.SOCK_STREAM]
    finally:
        for s in found:
            s.close()


def is_listening(s):
    return s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


def option_of_listener(pooler, level, name):
    with sockets(pooler) as found:
        return next(s.getsockopt(level, name) for s in found if is_listening(s))


def options_of(pooler, port):
    """Options of the connection whose other end has this port."""
    tcp, names = socket.IPPROTO_TCP, socket
    with sockets(pooler) as found:
        s = next(s for s in found if not is_listening(s) and s.getpeername()[1] == port)
        return {
            "nodelay": s.getsockopt(tcp, names.TCP_NODELAY),
            "tcp_keepalive": s.getsockopt(names.SOL_SOCKET, names.SO_KEEPALIVE),
            "tcp_keepidle": s.getsockopt(tcp, names.TCP_KEEPIDLE),
            "tcp_keepintvl": s.getsockopt(tcp, names.TCP_KEEPINTVL),
            "tcp_keepcnt": s.getsockopt(tcp, names.TCP_KEEPCNT),
            "tcp_user_timeout": s.getsockopt(tcp, names.TCP_USER_TIMEOUT),
            # The kernel doubles what it is asked for, to have room for its own.
            "tcp_socket_buffer": s.getsockopt(names.SOL_SOCKET, names.SO_SNDBUF) // 2,
        }


OPTIONS = {"tcp_keepalive": 1, "tcp_keepidle": 77, "tcp_keepintvl": 33, "tcp_keepcnt": 5, "tcp_user_timeout": 12345,
           "tcp_socket_buffer": 50000}


def both_sides(pooler):
    with pooler.wire() as w:
        w.query("BEGIN")
        return [options_of(pooler, w.sock.getsockname()[1]), options_of(pooler, pooler.pg.port)]


def test_tcp_options_of_clients_and_servers(make_pooler):
    for options in both_sides(make_pooler(**OPTIONS)):
        assert options == {"nodelay": 1, **OPTIONS}


def test_tcp_options_that_are_not_set_are_the_systems(make_pooler):
    with socket.create_server(("127.0.0.1", 0)) as plain:
        names = {"tcp_keepidle": socket.TCP_KEEPIDLE, "tcp_keepintvl": socket.TCP_KEEPINTVL,
                 "tcp_keepcnt": socket.TCP_KEEPCNT}
        system = {name: plain.getsockopt(socket.IPPROTO_TCP, option) for name, option in names.items()}
    for options in both_sides(make_pooler()):
        assert options["tcp_keepalive"] == 1
        assert {name: options[name] for name in names} == system
    for options in both_sides(make_pooler(tcp_keepalive=0)):
        assert options["tcp_keepalive"] == 0


def test_tcp_options_change_at_reload(make_pooler):
    pooler = make_pooler(server_lifetime=0)
    assert pooler.reload(**OPTIONS).error is None
    for options in both_sides(pooler):
        assert options == {"nodelay": 1, **OPTIONS}


@pytest.mark.parametrize("seconds, deferred", [(0, False), (1, True), (45, True)])
def test_tcp_defer_accept(make_pooler, seconds, deferred):
    pooler = make_pooler(tcp_defer_accept=seconds)
    assert (option_of_listener(pooler, socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) > 0) == deferred
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"


def test_listen_backlog(make_pooler):
    pooler = make_pooler(listen_backlog=37)
    with sockets(pooler) as found:
        info = next(s for s in found if is_listening(s)).getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 64)
    assert struct.unpack_from("=I", info, TCP_INFO_BACKLOG) == (37,)


def test_several_processes_on_one_port(make_pooler):
    first = make_pooler(so_reuseport=1)
    second = make_pooler(start=False, so_reuseport=1)
    second.settings["listen_port"] = second.port = first.port
    second.write()
    second.start()
    second.wait_log("process up")

    def has_client(pooler):
        return "login attempt: db=app" in pooler.log()

    def both_have_clients():
        with first.wire() as w:
            w.value("SELECT 1")
        return has_client(first) and has_client(second)

    eventually(both_have_clients, "the kernel gives connections to both")


def test_a_port_is_one_process_without_so_reuseport(make_pooler):
    first = make_pooler()
    second = make_pooler(start=False)
    second.settings["listen_port"] = first.port
    second.write()
    done = second.run(second.ini)
    assert done.returncode == 1
    assert str(first.port) in done.stderr


def own_group():
    return grp.getgrgid(account().pw_gid).gr_name


def test_unix_socket_group(make_pooler):
    """A folder with the set-group-ID bit gives its own group to what is made in it, unless the setting says another."""
    if os.getuid() != 0:
        pytest.skip("only root can make a folder of a group it is not in")
    groups = []
    for group in ("", own_group()):
        pooler = make_pooler(start=False, unix_socket_group=group)
        folder = os.path.join(pooler.directory, "sockets")
        os.mkdir(folder)
        os.chown(folder, account().pw_uid, 0)
        os.chmod(folder, 0o2775)
        pooler.settings["unix_socket_dir"] = folder
        pooler.write()
        pooler.start()
        groups.append(os.stat(os.path.join(folder, f".s.PGSQL.{pooler.port}")).st_gid)
    assert groups == [0, account().pw_gid]


def test_an_unknown_group_is_fatal(make_pooler):
    pooler = make_pooler(start=False, unix_socket_group="no such group")
    done = pooler.run(pooler.ini)
    assert done.returncode == 1
    assert "unix socket" in done.stderr


def test_a_socket_file_left_by_a_crash_is_replaced(make_pooler):
    pooler = make_pooler(start=False)
    path = os.path.join(pooler.directory, f".s.PGSQL.{pooler.port}")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
    pooler.start()
    with pooler.connect(host=pooler.directory) as c:
        assert c.execute("SELECT 1").fetchone() == (1,)


def test_a_client_over_ipv6(make_pooler):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 on this machine")
    pooler = make_pooler(listen_addr="127.0.0.1, ::1")
    with pooler.connect(host="::1") as c:
        assert c.execute("SELECT 1").fetchone() == (1,)
        row = next(row for row in pooler.admin("SHOW CLIENTS") if row["database"] == "app")
        assert (row["addr"], row["local_addr"]) == ("::1", "::1")
    assert re.search(r"C-0x[0-9a-f]+: app/app@\[::1\]:\d+ login attempt", pooler.log())


def test_a_client_over_a_unix_socket(make_pooler):
    pooler = make_pooler()
    with pooler.connect(host=pooler.directory) as c:
        c.execute("SELECT 1")
        row = next(row for row in pooler.admin("SHOW CLIENTS") if row["database"] == "app")
        assert row["addr"] == "unix"
    assert re.search(r"C-0x[0-9a-f]+: app/app@unix\(%d\):\d+ login attempt" % os.getpid(), pooler.log())


def test_a_client_is_shown_with_the_address_it_has_connected_to(make_pooler):
    pooler = make_pooler(listen_addr="*")
    hosts = ["127.0.0.2", "127.0.0.1", "127.0.0.3", "127.0.0.2", pooler.directory]
    with contextlib.ExitStack() as stack:
        for host in hosts:
            stack.enter_context(pooler.connect(host=host))
        rows = [row for row in pooler.admin("SHOW CLIENTS") if row["database"] == "app"]
        rows.sort(key=lambda row: int(row["id"]))
        assert [row["local_addr"] for row in rows] == [*hosts[:4], "unix"]
        assert {row["local_port"] for row in rows} == {str(pooler.port)}


def test_a_taken_unix_socket_is_fatal(make_pooler):
    first = make_pooler()
    second = make_pooler(start=False, unix_socket_dir=first.directory)
    second.settings.update(listen_addr="", listen_port=first.port)
    second.write()
    done = second.run(second.ini)
    assert done.returncode == 1
    assert f".s.PGSQL.{first.port}" in done.stderr
    with first.connect(host=first.directory) as c:
        assert c.execute("SELECT 1").fetchone() == (1,)
