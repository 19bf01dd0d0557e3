"""Where servers are: several hosts, Unix sockets, IPv6."""

import threading

import pytest

from harness.hosts import DEAD, ONE, OTHER, Hosts, each_its_own, use
from harness.pooler import assert_error
from harness.system import eventually


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
