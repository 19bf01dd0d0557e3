"""Where servers are: names and how long they are remembered, several hosts and addresses, Unix sockets, IPv6."""

import os
import socket
import struct
import threading
import time

import pytest

from harness.pooler import assert_error
from harness.system import eventually
from harness.wire import FakeServer

NAME_SERVER = "127.77.0.1"
NAME = "db.pgsluice.test"
ONE, OTHER, DEAD = "127.0.0.1", "127.0.0.2", "127.0.0.3"


class NameServer:
    """Knows the addresses in `names`, {name: [IPv4]}, and counts what it is asked."""

    def __init__(self, ttl=3600):
        self.names, self.ttl, self.asked = {}, ttl, []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((NAME_SERVER, 53))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def close(self):
        """Only when the thread is out of recvfrom() is the port free again: an empty packet gets it out."""
        if self.thread.is_alive():
            self.sock.sendto(b"", self.sock.getsockname())
            self.thread.join()
            self.sock.close()

    def _serve(self):
        while True:
            packet, peer = self.sock.recvfrom(512)
            if not packet:
                return
            self.sock.sendto(self.answer(packet), peer)

    def answer(self, packet):
        labels, at = [], 12
        while packet[at]:
            labels.append(packet[at + 1:at + 1 + packet[at]].decode())
            at += 1 + packet[at]
        kind, = struct.unpack_from("!H", packet, at + 1)
        name = ".".join(labels)
        if kind == 1:
            self.asked.append(name)
        addresses = self.names.get(name, []) if kind == 1 else []
        flags = 0x8180 if name in self.names else 0x8183
        records = b"".join(struct.pack("!HHHIH", 0xc00c, 1, 1, self.ttl, 4) + socket.inet_aton(a) for a in addresses)
        return packet[:2] + struct.pack("!HHHHH", flags, 1, len(addresses), 0, 0) + packet[12:at + 5] + records


@pytest.fixture
def names(tmp_path):
    if os.getuid() != 0:
        pytest.skip("only root may serve names on port 53")
    server = NameServer()
    server.conf = tmp_path / "resolv.conf"
    server.conf.write_text(f"nameserver {NAME_SERVER}\noptions timeout:1 attempts:1\n")
    for path in (server.conf, *server.conf.parents):
        if path.stat().st_uid == 0:
            path.chmod(path.stat().st_mode | 0o055)
    yield server
    server.close()


class Hosts:
    """Fake servers on one port of several addresses; which of them had logins, in order."""

    def __init__(self, *hosts, script=None):
        self.logins, self.servers, self.port = [], [], 0
        for host in hosts:
            server = FakeServer(lambda peer, host=host: self._play(peer, host, script), host, self.port)
            self.port = server.port
            self.servers.append(server)

    def _play(self, peer, host, script):
        peer.read_startup()
        self.logins.append(host)
        if script is None or not script(peer, host):
            peer.welcome()
            peer.serve()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.__exit__()


def use(pooler, n=1):
    """n queries, each on a server connection of its own when server_lifetime is 0."""
    with pooler.wire() as w:
        for _ in range(n):
            assert w.query("SELECT 1").tags == ["SELECT 0"]


def each_its_own(make_pooler, hosts, host, **settings):
    return make_pooler(databases={"app": {"host": host, "port": hosts.port}},
                       **{"server_lifetime": 0, "server_login_retry": 1, **settings})


# Names

def test_a_name_of_the_hosts_file(make_pooler, pg):
    pooler = make_pooler(databases={"app": {"host": "localhost", "port": pg.port}})
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"
    assert {row["list"]: row["items"] for row in pooler.admin("SHOW LISTS")}["dns_names"] == "1"


def test_a_name_is_looked_up_in_resolv_conf(make_pooler, names):
    names.names[NAME] = [ONE]
    with Hosts(ONE) as hosts:
        use(each_its_own(make_pooler, hosts, NAME, resolv_conf=names.conf))
    assert hosts.logins == [ONE]
    assert set(names.asked) == {NAME}


def test_an_answer_is_kept_for_dns_max_ttl(make_pooler, names):
    names.names[NAME] = [ONE]
    with Hosts(ONE, OTHER) as hosts:
        kept = each_its_own(make_pooler, hosts, NAME, resolv_conf=names.conf, dns_max_ttl=1000)
        use(kept, 3)
        assert names.asked == [NAME]
        asked_anew = each_its_own(make_pooler, hosts, NAME, resolv_conf=names.conf, dns_max_ttl=0)
        use(asked_anew, 3)
        assert len(names.asked) >= 4
        del hosts.logins[:]
        names.names[NAME] = [OTHER]
        use(asked_anew, 2)
        assert set(hosts.logins) == {OTHER}


def test_a_short_life_of_the_answer_counts(make_pooler, names):
    names.names[NAME] = [ONE]
    names.ttl = 1
    with Hosts(ONE, OTHER) as hosts:
        pooler = each_its_own(make_pooler, hosts, NAME, resolv_conf=names.conf, dns_max_ttl=1000)
        use(pooler)
        names.names[NAME] = [OTHER]

        def moved():
            use(pooler)
            return hosts.logins[-1] == OTHER

        eventually(moved, "the new address", every=0.2)


def test_a_failed_look_up_is_told_and_kept_for_dns_nxdomain_ttl(make_pooler, names):
    with Hosts(ONE) as hosts:
        pooler = each_its_own(make_pooler, hosts, NAME, resolv_conf=names.conf, dns_nxdomain_ttl=1000)
        with pooler.raw() as w:
            error = w.try_login("app", "app")
            assert_error(error, None, "08001", "57P03")
            assert "server DNS lookup failed" in error["M"]
        asked = len(names.asked)
        names.names[NAME] = [ONE]
        time.sleep(1.5)
        with pooler.raw() as w:
            assert "server DNS lookup failed" in w.try_login("app", "app")["M"]
        assert len(names.asked) == asked


def test_a_failed_look_up_is_repeated_without_dns_nxdomain_ttl(make_pooler, names):
    with Hosts(ONE) as hosts:
        pooler = each_its_own(make_pooler, hosts, NAME, resolv_conf=names.conf, dns_nxdomain_ttl=0)
        with pooler.raw() as w:
            assert w.try_login("app", "app") is not None
        names.names[NAME] = [ONE]

        def found():
            with pooler.raw() as w:
                return w.try_login("app", "app") is None

        eventually(found, "the name is found", every=0.2)


def test_the_last_good_answer_serves_while_no_name_server_answers(make_pooler, names):
    names.names[NAME] = [ONE]
    with Hosts(ONE) as hosts:
        pooler = each_its_own(make_pooler, hosts, NAME, resolv_conf=names.conf, dns_max_ttl=0)
        use(pooler)
        names.close()
        use(pooler)


def test_the_next_address_of_a_name_when_one_is_dead(make_pooler, names):
    names.names[NAME] = [DEAD, ONE]
    with Hosts(ONE) as hosts:
        use(each_its_own(make_pooler, hosts, NAME, resolv_conf=names.conf), 3)
    assert set(hosts.logins) == {ONE}


# Several hosts

def test_hosts_take_turns(make_pooler):
    with Hosts(ONE, OTHER) as hosts:
        pooler = each_its_own(make_pooler, hosts, f"{ONE},{OTHER}")
        assert pooler.admin("SHOW DATABASES")[0]["load_balance_hosts"] == "round-robin"
        use(pooler, 6)
    assert hosts.logins.count(ONE) >= 2 and hosts.logins.count(OTHER) >= 2


def test_load_balance_hosts_disable_takes_the_first(make_pooler):
    with Hosts(ONE, OTHER) as hosts:
        pooler = make_pooler(databases={"app": {"host": f"{ONE},{OTHER}", "port": hosts.port,
                                                "load_balance_hosts": "disable"}}, server_lifetime=0)
        use(pooler, 4)
    assert set(hosts.logins) == {ONE}


@pytest.mark.parametrize("balance", ["round-robin", "disable"])
def test_a_dead_host_is_passed_over(make_pooler, balance):
    with Hosts(OTHER) as hosts:
        use(each_its_own(make_pooler, hosts, f"{DEAD},{OTHER}", load_balance_hosts=balance), 4)
    assert set(hosts.logins) == {OTHER}


@pytest.mark.parametrize("balance", ["round-robin", "disable"])
def test_a_host_that_never_answers_does_not_hide_the_next(make_pooler, balance):
    """Not the first client, maybe, but one that tries again gets through."""
    end = threading.Event()

    def hang(peer, host):
        return host == ONE and end.wait(60)

    with Hosts(ONE, OTHER, script=hang) as hosts:
        pooler = each_its_own(make_pooler, hosts, f"{ONE},{OTHER}", load_balance_hosts=balance,
                              server_connect_timeout=1, server_lifetime=1000)

        def served():
            with pooler.raw() as w:
                return w.try_login("app", "app") is None

        try:
            eventually(served, "the other host serves", timeout=10, every=0.2)
        finally:
            end.set()


def test_every_host_is_dead(make_pooler):
    with Hosts(ONE) as hosts:
        pass
    pooler = each_its_own(make_pooler, hosts, f"{DEAD},{OTHER}")
    with pooler.raw() as w:
        assert_error(w.try_login("app", "app"), None, "08001", "57P03")


# Other ways to a server

def test_without_a_host_the_servers_unix_socket_is_looked_for(make_pooler, pg):
    pooler = make_pooler(databases={"app": f"port={pg.port}"}, unix_socket_dir=pg.directory)
    with pooler.wire() as w:
        assert w.value("SELECT inet_client_addr() IS NULL") == "t"


def test_an_abstract_unix_socket(make_pooler):
    behind = make_pooler(unix_socket_dir="@pgsluice-hosts")
    pooler = make_pooler(databases={"app": {"host": "@pgsluice-hosts", "port": behind.port}})
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"
    assert "app/app@unix(" in behind.log()


def test_ipv6(make_pooler):
    try:
        hosts = Hosts("::1")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with hosts:
        pooler = each_its_own(make_pooler, hosts, "::1", server_lifetime=1000)
        use(pooler)
        assert pooler.admin("SHOW SERVERS")[0]["addr"] == "::1"
        assert f"@[::1]:{hosts.port} new connection to server" in pooler.log()
