"""Names of servers: how long answers are kept, when they are renewed, and what becomes of servers that have moved."""

import random
import struct
import threading
import time

import pytest

from harness.hosts import DEAD, ONE, OTHER, Hosts, each_its_own, use
from harness.names import SOA, NameServer, record
from harness.pooler import assert_error
from harness.system import eventually, free_port
from harness.wire import cstring

ZONE = "pgsluice.test"
NAME = "db.pgsluice.test"
LONG = 3600


def transactions(peer, _):
    """A server script that knows BEGIN and COMMIT."""
    status = "I"
    peer.welcome()
    while True:
        kind, body = peer.recv()
        if kind == "Q":
            word = body[:-1].decode().split()[0]
            status = {"BEGIN": "T", "COMMIT": "I"}.get(word, status)
            peer.send("C", cstring(word if word != "SELECT" else "SELECT 0"))
            peer.ready(status)
        if kind == "X":
            return True


def at(hosts, name=NAME):
    return {"host": name, "port": hosts.port}


def make_pool(make_pooler, names, hosts, databases=None, **settings):
    """One whose servers live long, and whose answers expire only when the test says so."""
    names.zones.setdefault(ZONE, 1)
    return make_pooler(databases=databases or {"app": at(hosts)}, resolv_conf=names.conf,
                       **{"server_lifetime": LONG, "dns_max_ttl": LONG, "server_login_retry": 1,
                          "dns_zone_check_period": 1, **settings})


def change(pooler, names, addresses, name=NAME):
    """The administrator's way: other addresses, and another serial; back when the pooler has looked the name up."""
    eventually(lambda: (ZONE, names.zones[ZONE]) in [zone[:2] for zone in zones(pooler)], "the last serial is known")
    before = names.asked.count(name)
    names.names[name] = addresses
    names.zones[ZONE] += 1
    eventually(lambda: names.asked.count(name) > before, "the name is looked up anew")


def shown(pooler, name=NAME):
    return next((row for row in pooler.admin("SHOW DNS_HOSTS") if row["hostname"] == name), None)


def servers(pooler):
    return sorted(row["addr"] for row in pooler.admin("SHOW SERVERS"))


def zones(pooler):
    return [(row["zonename"], int(row["serial"]), int(row["count"])) for row in pooler.admin("SHOW DNS_ZONES")]


def lists(pooler):
    return {row["list"]: int(row["items"]) for row in pooler.admin("SHOW LISTS")}


def open_servers(pooler, n, database="app"):
    """n idle server connections: of clients that had transactions at the same time."""
    clients = [pooler.wire(database) for _ in range(n)]
    for client in clients:
        client.query("BEGIN")
    for client in clients:
        client.query("COMMIT")
        client.close()


# Where names are looked up

def test_a_name_of_the_hosts_file(make_pooler, pg):
    pooler = make_pooler(databases={"app": {"host": "localhost", "port": pg.port}})
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"
    assert lists(pooler)["dns_names"] == 1


def test_a_name_is_looked_up_in_resolv_conf(make_pooler, names):
    names.names[NAME] = [ONE]
    with Hosts(ONE) as hosts:
        use(each_its_own(make_pooler, hosts, NAME, resolv_conf=names.conf))
    assert hosts.logins == [ONE]
    assert set(names.asked) == {NAME}


def test_the_search_list_of_resolv_conf_is_gone_through(make_pooler, names):
    names.write_conf(names.conf, search=f"elsewhere.test {ZONE}")
    names.names[NAME] = [ONE]
    names.zones[ZONE] = 1
    with Hosts(ONE) as hosts:
        pooler = each_its_own(make_pooler, hosts, "db", resolv_conf=names.conf, dns_zone_check_period=100)
        use(pooler)
        assert shown(pooler, "db")["addrs"] == ONE
        # The whole name is what has a zone.
        eventually(lambda: zones(pooler) == [(ZONE, 1, 1)], "the zone is known")


def test_the_next_address_of_a_name_when_one_is_dead(make_pooler, names):
    names.names[NAME] = [DEAD, ONE]
    with Hosts(ONE) as hosts:
        use(each_its_own(make_pooler, hosts, NAME, resolv_conf=names.conf), 3)
    assert set(hosts.logins) == {ONE}


def test_all_addresses_of_a_name_are_tried_of_both_families(make_pooler, names):
    names.names[NAME] = ["::1", DEAD, "127.0.0.4", "127.0.0.5", "127.0.0.6", ONE]
    with Hosts(ONE) as hosts:
        pooler = each_its_own(make_pooler, hosts, NAME, resolv_conf=names.conf)
        use(pooler)
        assert set(shown(pooler)["addrs"].split(",")) == set(names.names[NAME])
    assert hosts.logins == [ONE]


def test_the_next_host_when_no_address_of_a_name_works(make_pooler, names):
    names.names[NAME] = [DEAD, "127.0.0.4"]
    with Hosts(OTHER) as hosts:
        use(each_its_own(make_pooler, hosts, f"{NAME},none.pgsluice.test,{OTHER}", resolv_conf=names.conf), 3)
    assert set(hosts.logins) == {OTHER}


# How long answers are kept

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


@pytest.mark.parametrize("ttl, bound, expected", [(100, 1000, 100), (1000, 100, 100), (0, 1000, 0)])
def test_an_answers_life_is_its_own_with_dns_max_ttl_as_the_bound(make_pooler, names, ttl, bound, expected):
    names.names[NAME] = [ONE]
    names.ttl = ttl
    with Hosts(ONE) as hosts:
        pooler = each_its_own(make_pooler, hosts, NAME, resolv_conf=names.conf, dns_max_ttl=bound)
        use(pooler)
        row = shown(pooler)
    assert row["addrs"] == ONE
    assert expected - 30 <= int(row["ttl"]) <= expected


def test_the_life_of_an_alias_counts(make_pooler, names):
    names.aliases[NAME] = "real.elsewhere.test"
    names.names["real.elsewhere.test"] = [ONE]
    names.ttl = 100
    with Hosts(ONE) as hosts:
        pooler = each_its_own(make_pooler, hosts, NAME, resolv_conf=names.conf, dns_max_ttl=1000)
        use(pooler)
        row = shown(pooler)
    assert row["addrs"] == ONE and 70 <= int(row["ttl"]) <= 100


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
        assert shown(pooler)["addrs"] == ""


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


@pytest.mark.parametrize("how", ["no name server", "a name server that fails", "a silent one"])
def test_the_last_good_answer_serves_while_dns_is_down(make_pooler, names, how):
    names.write_conf(names.conf, timeout=60)
    names.names[NAME] = [ONE]
    with Hosts(ONE) as hosts:
        pooler = each_its_own(make_pooler, hosts, NAME, resolv_conf=names.conf, dns_max_ttl=0, dns_nxdomain_ttl=1000)
        use(pooler)
        if how == "no name server":
            names.close()
        elif how == "a silent one":
            names.spoil = lambda *_: None
        else:
            names.spoil = lambda question, reply, is_tcp: question.reply(code=2)
        before = time.monotonic()
        use(pooler, 3)
        assert time.monotonic() - before < 20
        assert hosts.logins == [ONE] * 4
        assert shown(pooler)["addrs"] == ONE
        # Told once, not at each look-up.
        assert pooler.log().count("its last known addresses stay in use") == 1


def test_a_name_that_is_gone_is_gone(make_pooler, names):
    names.names[NAME] = [ONE]
    with Hosts(ONE) as hosts:
        pooler = each_its_own(make_pooler, hosts, NAME, resolv_conf=names.conf, dns_max_ttl=0)
        use(pooler)
        del names.names[NAME]
        with pooler.wire() as w:
            assert "server DNS lookup failed" in w.query("SELECT 1").error["M"]
    assert hosts.logins == [ONE]


# Ahead of time

def test_a_name_in_use_is_looked_up_before_its_answer_expires(make_pooler, names):
    """On demand it would be after 3 seconds and the delay, counted from the question before."""
    names.names[NAME] = [ONE]
    names.delay = 0.2
    with Hosts(ONE) as hosts:
        pooler = each_its_own(make_pooler, hosts, NAME, resolv_conf=names.conf, dns_max_ttl=3)

        def asked_three_times():
            use(pooler)
            return len(names.asked) >= 3

        eventually(asked_three_times, "the name is looked up twice more")
    gaps = [b - a for a, b in zip(names.asked_at, names.asked_at[1:])]
    assert all(2 < gap < 3.2 for gap in gaps), gaps


def test_nobody_waits_while_a_name_is_looked_up_ahead_of_time(make_pooler, names):
    names.write_conf(names.conf, timeout=20)
    names.names[NAME] = [ONE]
    with Hosts(ONE) as hosts:
        pooler = each_its_own(make_pooler, hosts, NAME, resolv_conf=names.conf, dns_max_ttl=5, dns_nxdomain_ttl=1000)
        use(pooler, 2)
        names.spoil = lambda *_: None
        eventually(lambda: len(names.asked) == 2, "it is looked up once more", every=0.01)
        assert lists(pooler)["dns_queries"] == 1
        before = time.monotonic()
        use(pooler)
        assert time.monotonic() - before < 10
        assert lists(pooler)["dns_pending"] == 0


def test_a_name_that_nobody_asks_for_is_not_looked_up(make_pooler, names):
    names.names[NAME] = [ONE]
    with Hosts(ONE) as hosts:
        pooler = each_its_own(make_pooler, hosts, NAME, resolv_conf=names.conf, dns_max_ttl=1)
        use(pooler)
        time.sleep(1.5)
        assert shown(pooler)["ttl"] == "0"
        assert names.asked == [NAME]


def test_while_dns_is_down_a_name_in_use_is_asked_for_in_the_background(make_pooler, names):
    names.write_conf(names.conf, timeout=20)
    names.names[NAME] = [ONE]
    with Hosts(ONE, OTHER) as hosts:
        pooler = each_its_own(make_pooler, hosts, NAME, resolv_conf=names.conf, dns_max_ttl=1, dns_nxdomain_ttl=1)
        use(pooler, 2)
        names.spoil = lambda question, reply, is_tcp: question.reply(code=2)

        def used_and(condition):
            use(pooler)
            return condition()

        eventually(lambda: used_and(lambda: len(names.asked) >= 4), "it is asked for again and again")
        assert set(hosts.logins) == {ONE}
        names.names[NAME] = [OTHER]
        names.spoil = None
        eventually(lambda: used_and(lambda: hosts.logins[-1] == OTHER), "the name server is believed again")


# Zones

def test_a_changed_serial_has_names_looked_up_before_their_time(make_pooler, names):
    names.names[NAME] = [ONE]
    with Hosts(ONE, OTHER) as hosts:
        pooler = make_pool(make_pooler, names, hosts, server_lifetime=0)
        use(pooler)
        eventually(lambda: zones(pooler) == [(ZONE, 1, 1)], "the zone is known")
        eventually(lambda: names.asked_soa.count(ZONE) >= 2, "the serial is looked at")
        assert names.asked == [NAME]
        change(pooler, names, [OTHER])
        eventually(lambda: shown(pooler)["addrs"] == OTHER, "the new address")
        use(pooler)
        assert hosts.logins == [ONE, OTHER]
        assert zones(pooler) == [(ZONE, 2, 1)]
        assert lists(pooler)["dns_zones"] == 1
        assert f"DNS zone {ZONE}: serial changed from 1 to 2" in pooler.log()


def test_only_the_names_of_the_changed_zone_are_looked_up(make_pooler, names):
    foreign, near = "db.elsewhere.test", f"near.{ZONE}"
    names.zones["elsewhere.test"] = 9
    names.names.update({NAME: [ONE], near: [ONE], foreign: [ONE]})
    with Hosts(ONE) as hosts:
        pooler = make_pool(make_pooler, names, hosts, {"app": at(hosts), "near": at(hosts, near),
                                                       "foreign": at(hosts, foreign)})
        for database in ("app", "near", "foreign"):
            open_servers(pooler, 1, database)
        eventually(lambda: sorted(zones(pooler)) == [("elsewhere.test", 9, 1), (ZONE, 1, 2)], "the zones are known")
        change(pooler, names, [ONE])
        eventually(lambda: names.asked.count(near) == 2, "the other name of the zone is looked up too")
        assert names.asked.count(foreign) == 1


def test_the_zone_of_an_alias_is_watched_where_the_alias_is_kept(make_pooler, names):
    names.aliases[NAME] = "one.elsewhere.test"
    names.names.update({"one.elsewhere.test": [ONE], "other.elsewhere.test": [OTHER]})
    names.zones["elsewhere.test"] = 5
    with Hosts(ONE, OTHER) as hosts:
        pooler = make_pool(make_pooler, names, hosts)
        use(pooler)
        eventually(lambda: zones(pooler) == [(ZONE, 1, 1)], "the zone is known")
        names.aliases[NAME] = "other.elsewhere.test"
        names.zones[ZONE] += 1
        eventually(lambda: shown(pooler)["addrs"] == OTHER, "the other end of the alias")


def test_zones_are_checked_only_while_the_setting_says_so(make_pooler, names):
    names.names[NAME] = [ONE]
    with Hosts(ONE) as hosts:
        pooler = make_pool(make_pooler, names, hosts, dns_zone_check_period=0)
        use(pooler)
        time.sleep(0.5)
        assert zones(pooler) == [] and lists(pooler)["dns_zones"] == 0 and names.asked_soa == []
        pooler.reload(dns_zone_check_period=1)
        eventually(lambda: zones(pooler) == [(ZONE, 1, 1)], "names that were known before are looked after")
        pooler.reload(dns_zone_check_period=0)
        assert zones(pooler) == []
        # One question may have been under way.
        eventually(lambda: lists(pooler)["dns_queries"] == 0, "nothing is asked")
        asked = len(names.asked_soa)
        time.sleep(1.5)
        assert len(names.asked_soa) == asked


def test_a_zone_check_that_fails_changes_nothing(make_pooler, names):
    names.names[NAME] = [ONE]
    with Hosts(ONE) as hosts:
        pooler = make_pool(make_pooler, names, hosts)
        use(pooler)
        eventually(lambda: zones(pooler) == [(ZONE, 1, 1)], "the zone is known")
        names.spoil = lambda question, reply, is_tcp: question.reply(code=2)
        asked = len(names.asked_soa)
        eventually(lambda: len(names.asked_soa) >= asked + 2, "it is asked for")
        assert zones(pooler) == [(ZONE, 1, 1)]
        assert names.asked == [NAME]
        names.spoil = None
        change(pooler, names, [ONE])


# Servers that have moved

def test_idle_servers_of_a_vanished_address_are_closed(make_pooler, names):
    names.names[NAME] = [ONE]
    with Hosts(ONE, OTHER, script=transactions) as hosts:
        pooler = make_pool(make_pooler, names, hosts)
        open_servers(pooler, 3)
        assert servers(pooler) == [ONE] * 3
        change(pooler, names, [OTHER])
        eventually(lambda: servers(pooler) == [], "the idle servers are gone")
        assert pooler.log().count("closing because: DNS changed") == 3
        use(pooler)
        assert servers(pooler) == [OTHER]


def test_active_servers_of_a_vanished_address_are_closed_after_their_transaction(make_pooler, names):
    names.names[NAME] = [ONE]
    with Hosts(ONE, OTHER, script=transactions) as hosts:
        pooler = make_pool(make_pooler, names, hosts)
        with pooler.wire() as w:
            w.query("BEGIN")
            change(pooler, names, [OTHER])
            eventually(lambda: [row["close_needed"] for row in pooler.admin("SHOW SERVERS")] == ["1"], "it is marked")
            assert w.query("SELECT 1").status == "T"
            use(pooler)
            assert servers(pooler) == [ONE, OTHER]
            assert w.query("COMMIT").tags == ["COMMIT"]
            eventually(lambda: servers(pooler) == [OTHER], "it is closed")
            assert pooler.log().count("closing because: DNS changed") == 1
            assert w.query("SELECT 1").tags == ["SELECT 0"]


def test_a_session_keeps_its_server_until_it_ends(make_pooler, names):
    names.names[NAME] = [ONE]
    with Hosts(ONE, OTHER, script=transactions) as hosts:
        pooler = make_pool(make_pooler, names, hosts, pool_mode="session", server_reset_query="")
        with pooler.wire() as w:
            w.query("SELECT 1")
            change(pooler, names, [OTHER])
            eventually(lambda: [row["close_needed"] for row in pooler.admin("SHOW SERVERS")] == ["1"], "it is marked")
            assert w.query("SELECT 1").tags == ["SELECT 0"]
        eventually(lambda: servers(pooler) == [], "it is closed")


def test_a_new_connection_notices_the_change_too(make_pooler, names):
    """Without zones: the answer has expired when the next server is opened."""
    names.names[NAME] = [ONE]
    with Hosts(ONE, OTHER, script=transactions) as hosts:
        pooler = make_pool(make_pooler, names, hosts, dns_zone_check_period=0, dns_max_ttl=1)
        with pooler.wire() as busy:
            busy.query("BEGIN")
            open_servers(pooler, 2)
            assert servers(pooler) == [ONE] * 3
            names.names[NAME] = [OTHER]

            def moved():
                # More than are idle at the old address.
                open_servers(pooler, 3)
                return servers(pooler) == [ONE] + [OTHER] * 3

            eventually(moved, "all but the busy one are at the new address", every=0.2)
            busy.query("COMMIT")
        eventually(lambda: set(servers(pooler)) == {OTHER}, "all servers are at the new address")


def test_the_same_addresses_in_another_order_close_nothing(make_pooler, names):
    names.names[NAME] = [ONE, OTHER]
    with Hosts(ONE, OTHER, script=transactions) as hosts:
        pooler = make_pool(make_pooler, names, hosts)
        open_servers(pooler, 3)
        before = servers(pooler)
        change(pooler, names, [OTHER, ONE])
        change(pooler, names, [ONE, OTHER, ONE])
        change(pooler, names, [OTHER, ONE])
        assert servers(pooler) == before
        assert "DNS changed" not in pooler.log()


def test_servers_of_addresses_that_stay_are_kept(make_pooler, names):
    names.names[NAME] = [ONE]
    with Hosts(ONE, OTHER, script=transactions) as hosts:
        pooler = make_pool(make_pooler, names, hosts)
        open_servers(pooler, 2)
        change(pooler, names, [OTHER, ONE, DEAD])
        eventually(lambda: OTHER in shown(pooler)["addrs"], "the new addresses")
        assert servers(pooler) == [ONE] * 2
        change(pooler, names, [OTHER, DEAD])
        eventually(lambda: servers(pooler) == [], "they are closed")


@pytest.mark.parametrize("how", ["failure", "no such name"])
def test_an_answer_without_addresses_closes_nothing(make_pooler, names, how):
    names.names[NAME] = [ONE]
    with Hosts(ONE, OTHER, script=transactions) as hosts:
        pooler = make_pool(make_pooler, names, hosts, dns_nxdomain_ttl=0)
        open_servers(pooler, 2)
        if how == "failure":
            names.spoil = lambda question, reply, is_tcp: reply if question.kind == SOA else question.reply(code=2)
        else:
            names.spoil = lambda question, reply, is_tcp: reply if question.kind == SOA else question.reply(code=3)
        change(pooler, names, [OTHER])
        eventually(lambda: lists(pooler)["dns_queries"] == 0, "the answer is there")
        assert servers(pooler) == [ONE] * 2
        names.spoil = None
        change(pooler, names, [OTHER])
        eventually(lambda: servers(pooler) == [], "the next good answer counts")


def test_only_servers_that_were_reached_through_the_name_are_closed(make_pooler, names):
    near = f"near.{ZONE}"
    names.names.update({NAME: [ONE], near: [ONE]})
    with Hosts(ONE, OTHER, script=transactions) as hosts:
        pooler = make_pool(make_pooler, names, hosts, {
            "app": at(hosts), "same": at(hosts, NAME.upper()), "near": at(hosts, near), "direct": at(hosts, ONE),
            "list": at(hosts, f"{NAME},{ONE}")})
        for database in ("app", "same", "near", "direct"):
            open_servers(pooler, 1, database)
        open_servers(pooler, 4, "list")
        change(pooler, names, [OTHER])
        eventually(lambda: "DNS changed" in pooler.log(), "servers are closed")
        left = [row["database"] for row in pooler.admin("SHOW SERVERS")]
        # Of the list the half that was reached by the address itself.
        assert sorted(left) == ["direct", "list", "list", "near"]


def test_new_clients_are_welcomed_while_the_new_address_does_not_answer(make_pooler, names):
    """The database is the same: what its servers said to those who log in is still true."""
    names.names[NAME] = [ONE]
    with Hosts(ONE, script=transactions) as hosts:
        pooler = make_pool(make_pooler, names, hosts)
        open_servers(pooler, 1)
        change(pooler, names, [DEAD])
        eventually(lambda: servers(pooler) == [], "the old server is gone")
        with pooler.wire() as w:
            change(pooler, names, [ONE])
            eventually(lambda: shown(pooler)["addrs"] == ONE, "it is back")
            assert w.query("SELECT 1").tags == ["SELECT 0"]


def test_a_server_that_hangs_in_its_login_at_a_vanished_address_is_given_up(make_pooler, names):
    end = threading.Event()

    def hang(peer, host):
        if host == ONE:
            end.wait(60)
        return transactions(peer, host)

    names.names[NAME] = [ONE]
    with Hosts(ONE, OTHER, script=hang) as hosts:
        pooler = make_pool(make_pooler, names, hosts, server_connect_timeout=LONG, server_connect_parallel=1)
        try:
            with pooler.raw() as w:
                w.startup({"user": "app", "database": "app"})
                eventually(lambda: hosts.logins == [ONE], "the first has begun to log in")
                change(pooler, names, [OTHER])
                assert w.finish_login("app") is None
                assert w.query("SELECT 1").tags == ["SELECT 0"]
                assert servers(pooler) == [OTHER]
        finally:
            end.set()


# Name servers that are not to be trusted

def cut(question, reply, is_tcp):
    return reply[:len(reply) * 2 // 3]


def noise(question, reply, is_tcp):
    return random.Random(len(question.name)).randbytes(300)


def noise_behind_a_header(question, reply, is_tcp):
    return reply[:12] + random.Random(question.kind).randbytes(400)


def too_many_promised(question, reply, is_tcp):
    return reply[:6] + b"\xff\xff\xff\xff\xff\xff" + reply[12:]


def name_in_circles(question, reply, is_tcp):
    here = len(question.reply())
    data = struct.pack("!HHHIH", 0xc000 | here, question.kind, 1, 60, 4) + b"\x7f\0\0\1"
    return question.reply([data])


def odd_size(question, reply, is_tcp):
    return question.reply([record(question.name, question.kind, 60, b"\x7f\0\0")])


def size_beyond_the_end(question, reply, is_tcp):
    return question.reply([record(question.name, question.kind, 60, b"\x7f\0\0\1")[:-6] + b"\xff\xff\x7f\0\0\1"])


def somebody_elses(question, reply, is_tcp):
    return b"\0\0" + reply[2:] if reply[:2] != b"\0\0" else b"\1\1" + reply[2:]


def longest_names(question, reply, is_tcp):
    name = b"".join(b"\x3f" + b"x" * 63 for _ in range(40)) + b"\0"
    return question.reply([name + struct.pack("!HHIH", 5, 1, 60, len(name)) + name])


def huge(question, reply, is_tcp):
    return question.reply([record(question.name, 16, 60, b"\xff" + b"x" * 255)] * 200)


def cut_and_nonsense_over_tcp(question, reply, is_tcp):
    return random.Random(1).randbytes(5000) if is_tcp else question.reply(flags=0x8380)


def alias_of_itself(question, reply, is_tcp):
    return question.reply([record(question.name, 5, 60, b"\xc0\x0c")] * 10)


NONSENSE = [cut, noise, noise_behind_a_header, too_many_promised, name_in_circles, odd_size, size_beyond_the_end,
            somebody_elses, longest_names, huge, cut_and_nonsense_over_tcp, alias_of_itself,
            lambda *_: b"", lambda question, reply, is_tcp: reply[:12], lambda question, reply, is_tcp: reply[:5]]


def nonsense_name(fn):
    return fn.__name__ if fn.__name__ != "<lambda>" else f"too_short_{NONSENSE.index(fn)}"


@pytest.mark.parametrize("spoil", NONSENSE, ids=nonsense_name)
def test_nonsense_for_an_address_does_no_harm(make_pooler, names, spoil):
    names.names[NAME] = [ONE]
    names.spoil = spoil
    with Hosts(ONE) as hosts:
        pooler = each_its_own(make_pooler, hosts, NAME, resolv_conf=names.conf, dns_nxdomain_ttl=0, dns_max_ttl=0)
        with pooler.raw() as w:
            error = w.try_login("app", "app")
            assert "server DNS lookup failed" in error["M"]
        names.spoil = None

        def found():
            with pooler.raw() as w:
                return w.try_login("app", "app") is None

        eventually(found, "the name is found", every=0.2)
        names.spoil = spoil
        use(pooler)
    assert set(hosts.logins) == {ONE}


@pytest.mark.parametrize("spoil", [cut, noise_behind_a_header, name_in_circles, longest_names, somebody_elses,
                                   cut_and_nonsense_over_tcp], ids=nonsense_name)
def test_nonsense_for_a_zone_does_no_harm(make_pooler, names, spoil):
    names.names[NAME] = [ONE]
    with Hosts(ONE) as hosts:
        pooler = make_pool(make_pooler, names, hosts)
        names.spoil = lambda question, *more: spoil(question, *more) if question.kind == SOA else more[0]
        use(pooler)
        eventually(lambda: names.asked_soa, "the zone is asked for")
        eventually(lambda: lists(pooler)["dns_queries"] == 0, "that is over")
        assert zones(pooler) == []
        names.spoil = None
        pooler.reload(dns_zone_check_period=0)
        pooler.reload(dns_zone_check_period=1)
        eventually(lambda: zones(pooler) == [(ZONE, 1, 1)], "the zone is known")
        names.spoil = lambda question, *more: spoil(question, *more) if question.kind == SOA else more[0]
        asked = len(names.asked_soa)
        eventually(lambda: len(names.asked_soa) > asked, "it is asked for again")
        eventually(lambda: lists(pooler)["dns_queries"] == 0, "that is over too")
        assert zones(pooler) == [(ZONE, 1, 1)]
        assert "DNS changed" not in pooler.log()


def many(n):
    return [f"127.1.{i // 250}.{1 + i % 250}" for i in range(n)]


def test_an_answer_too_long_for_a_datagram_is_fetched_over_tcp(make_pooler, names):
    names.names[NAME] = [ONE] + many(30)
    with Hosts(ONE) as hosts:
        pooler = each_its_own(make_pooler, hosts, NAME, resolv_conf=names.conf)
        use(pooler)
        assert ONE in shown(pooler)["addrs"].split(",")
    assert names.asked_tcp > 0


def test_of_thousands_of_addresses_some_are_taken_and_none_has_vanished(make_pooler, names):
    names.names[NAME] = [ONE]
    with Hosts(ONE, OTHER, script=transactions) as hosts:
        pooler = make_pool(make_pooler, names, hosts)
        open_servers(pooler, 2)
        for _ in range(2):
            change(pooler, names, many(2000))
            eventually(lambda: lists(pooler)["dns_queries"] == 0, "the answer is there")
            assert 16 <= len(shown(pooler)["addrs"].split(",")) <= 100
            assert servers(pooler) == [ONE] * 2
        change(pooler, names, [OTHER])
        eventually(lambda: servers(pooler) == [], "a whole answer is believed again")


def test_a_name_server_that_does_not_answer_holds_up_nobody_else(make_pooler, names):
    names.write_conf(names.conf, timeout=20)
    names.names[NAME] = [ONE]
    names.spoil = lambda *_: None
    with Hosts(ONE) as hosts:
        pooler = make_pooler(databases={"app": at(hosts), "direct": at(hosts, ONE)}, resolv_conf=names.conf,
                             server_connect_timeout=2, server_login_retry=1)
        with pooler.raw() as waiting:
            waiting.startup({"user": "app", "database": "app"})
            eventually(lambda: lists(pooler)["dns_pending"] == 1, "somebody waits")
            before = time.monotonic()
            with pooler.wire("direct") as w:
                assert w.query("SELECT 1").tags == ["SELECT 0"]
            assert time.monotonic() - before < 10
            error = waiting.finish_login("app")
            assert_error(error, None, "08001", "57P03")
        assert lists(pooler)["dns_pending"] == 0


def test_a_name_server_that_is_not_there_is_an_error_for_the_client(make_pooler, tmp_path):
    conf = tmp_path / "resolv.conf"
    NameServer.write_conf(type("Nobody", (), {"address": "127.77.255.255"}), conf)
    pooler = make_pooler(databases={"app": {"host": NAME, "port": free_port()}}, resolv_conf=conf)
    with pooler.raw() as w:
        assert "server DNS lookup failed" in w.try_login("app", "app")["M"]
