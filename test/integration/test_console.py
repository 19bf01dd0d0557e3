"""The admin console: exact columns and types, as monitors count on them, and its commands."""

import os
import re

import psycopg
import pytest

from harness.pooler import assert_error, keep_waiting
from harness.system import as_account, eventually, run
from harness.wire import query

TYPES = {"s": 25, "i": 23, "q": 20, "N": 1700, "T": 25, "b": 17}
SIZES = {25: -1, 23: 4, 20: 8, 1700: -1, 17: -1}


def columns(text):
    """"a s, b c i" as [(a, 25), (b, 23), (c, 23)]: a type letter holds for the names before it."""
    result = []
    for part in text.split(","):
        *names, kind = part.split()
        result += [(name, TYPES[kind]) for name in names]
    return result


def frozen_layouts():
    path = os.path.join(os.path.dirname(__file__), "data", "pgbouncer-1.25.2.columns")
    with open(path) as f:
        lines = [line.split(maxsplit=1) for line in f if line.strip() and not line.startswith("#")]
    return {show: columns(text) for show, text in lines}


LAYOUT = frozen_layouts()
MAY_BE_EMPTY = ("STATS", "STATS_TOTALS", "STATS_AVERAGES", "DNS_HOSTS", "DNS_ZONES", "ACTIVE_SOCKETS", "PEERS",
                "PEER_POOLS")


@pytest.mark.parametrize("show", LAYOUT)
def test_columns_and_types(pooler, show):
    with pooler.wire() as w:
        w.value("SELECT 1")
        result = pooler.admin_result(f"SHOW {show}")
    assert result.error is None
    assert [(c.name, c.oid) for c in result.columns] == LAYOUT[show]
    assert [c.size for c in result.columns] == [SIZES[c.oid] for c in result.columns]
    assert result.tags == ["SHOW"]
    assert all(c.format == 0 for c in result.columns)
    assert result.rows or show in MAY_BE_EMPTY


def test_every_frozen_show_is_there(pooler):
    """The tables that HELP names are PgBouncer's, and new ones of our own."""
    detail = pooler.admin_result("SHOW HELP").notices[0]["D"]
    named = set(re.findall(r"[A-Z_]+", " ".join(line for line in detail.splitlines() if "SHOW" in line)))
    assert set(LAYOUT) <= named


def test_fds_have_no_secrets(make_pooler):
    pooler = make_pooler(auth_type="scram-sha-256", userlist={"app": "secret", "admin": "secret"})
    with pooler.wire(password="secret") as w:
        w.value("SELECT 1")
        rows = pooler.admin("SHOW FDS")
        client, server = (next(r for r in rows if r["task"] == task and r["database"] == "app")
                          for task in ("client", "server"))
        assert client["port"] == str(w.sock.getsockname()[1]) and client["client_encoding"] == "UTF8"
        assert server["port"] == str(pooler.pg.port)
    assert all(row[c] is None for row in rows for c in ("cancel", "password", "scram_client_key", "scram_server_key"))


def test_fds_begin_with_the_sockets_that_are_listened_on(make_pooler):
    pooler = make_pooler(listen_addr="127.0.0.1,127.0.0.2")
    listening = [row for row in pooler.admin("SHOW FDS") if row["task"] == "pooler"]
    assert pooler.admin("SHOW FDS")[:len(listening)] == listening
    assert sorted(row["addr"] for row in listening) == ["127.0.0.1", "127.0.0.2", "unix"]
    assert all(row["port"] == str(pooler.port) and row["link"] == "0" for row in listening)
    assert all(row[c] is None for row in listening for c in ("user", "database", "client_encoding", "timezone"))
    for row in listening:
        assert os.readlink(f"/proc/{pooler.pid}/fd/{row['fd']}").startswith("socket:")


def test_version(pooler):
    assert pooler.admin("SHOW VERSION") == [{"version": "PgBouncer 1.25.2 compatible (pgsluice 0.1.0)"}]


def test_help_is_a_notice(pooler):
    result = pooler.admin_result("SHOW HELP")
    assert result.error is None
    assert result.notices[0]["M"] == "Console usage"
    assert "SHOW" in result.notices[0]["D"] and "RELOAD" in result.notices[0]["D"]
    assert result.tags == ["SHOW"]


def test_welcome(pooler):
    with pooler.wire("pgbouncer", "admin") as w:
        assert w.parameters["server_version"].endswith("/bouncer")
        expected = {"client_encoding": "UTF8", "server_encoding": "UTF8", "TimeZone": "GMT",
                    "standard_conforming_strings": "on", "is_superuser": "on"}
        assert {k: w.parameters[k] for k in expected} == expected
        assert w.parameters["DateStyle"].startswith("ISO")


@pytest.mark.parametrize("text", ["show pools", "SHOW POOLS;", "  Show\tPools ;  ", "SELECT POOLS", 'SHOW "pools"'])
def test_ways_to_say_it(pooler, text):
    result = pooler.admin_result(text)
    assert result.error is None
    assert result.columns[0].name == "database"


@pytest.mark.parametrize("text", ["SHOW NOTHING", "FROBNICATE", "SHOW", "SHOW POOLS; SHOW POOLS", "SET", "SET x",
                                  'SHOW "pools', "SELECT 1", "x" * 100])
def test_what_is_not_understood(pooler, text):
    with pooler.wire("pgbouncer", "admin") as w:
        result = w.query(text)
        assert result.error is not None
        assert result.error["S"] == "ERROR"
        assert result.status == "I"
        assert w.query("SHOW VERSION").error is None


def test_error_text_of_an_unknown_command(pooler):
    assert_error(pooler.admin_result("FROBNICATE").error, "invalid command 'FROBNICATE', use SHOW HELP;")


def test_several_queries_on_one_connection(pooler):
    with pooler.wire("pgbouncer", "admin", timeout=5) as w:
        w.send_raw(query("SHOW POOLS") + query("SHOW VERSION") + query("SHOW LISTS"))
        assert [w.result().columns[0].name for _ in range(3)] == ["database", "version", "list"]


def test_who_may_do_what(pooler):
    with pooler.wire("pgbouncer", "stats") as w:
        assert w.query("SHOW POOLS").error is None
        for command in ("RELOAD", "SET default_pool_size = 3", "SHUTDOWN"):
            assert_error(w.query(command).error)
    with pooler.raw() as w:
        assert w.try_login("app", "pgbouncer") is not None
    assert pooler.alive()
    assert pooler.config("default_pool_size") == "20"


def test_both_names_of_the_console(pooler):
    for name in ("pgbouncer", "pgsluice"):
        with pooler.wire(name, "admin") as w:
            assert w.query("SHOW VERSION").error is None


@pytest.mark.parametrize("name", ["pgbouncer", "pgsluice"])
def test_the_owner_of_the_process_needs_no_password(make_pooler, pg, name):
    """Over the Unix socket, as user pgbouncer, whatever the files say; nobody else, and not over TCP."""
    pooler = make_pooler(auth_type="md5", userlist={"admin": "x"}, admin_users="admin")

    def psql(host, **who):
        return run(["psql", "-X", "-A", "-t", "-w", "-h", host, "-p", str(pooler.port), "-U", name, "-d", "pgbouncer",
                    "-c", "SHOW VERSION", "-c", "RELOAD"], cwd="/", **who)

    done = psql(pooler.directory, **as_account())
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PgBouncer 1.25.2")
    assert psql("127.0.0.1", **as_account()).returncode != 0
    if os.getuid() != 0:
        pytest.skip("the rest needs another user")
    assert psql(pooler.directory).returncode != 0


@pytest.mark.parametrize("name", ["pgbouncer", "pgsluice"])
def test_psql(pooler, pg, name):
    done = pg.psql("SHOW POOLS", port=pooler.port, user="admin", dbname=name)
    assert done.returncode == 0, done.stderr
    assert "pgbouncer|pgbouncer|" in done.stdout
    done = pg.psql("SHOW HELP", port=pooler.port, user="admin", dbname="pgbouncer")
    assert "Console usage" in done.stderr


def test_faked_settings(pooler):
    with pooler.wire("pgbouncer", "admin") as w:
        for name in ("client_encoding", "standard_conforming_strings", "datestyle", "timezone",
                     "default_transaction_isolation"):
            result = w.query(f"SHOW {name}")
            assert result.error is None
            assert len(result.rows) == 1
        assert w.query("SET client_encoding = 'UTF8'").notices[0]["M"].startswith("SET ignored")


# What the numbers say

def test_pools_and_clients_and_servers(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire(application_name="busy one") as busy, pooler.wire() as waiting, pooler.wire() as idle:
        idle.value("SELECT 1")
        busy.query("BEGIN")
        waiting.send_raw(query("SELECT 1"))
        pooler.wait_pool(cl_active=2, cl_waiting=1, sv_active=1, sv_idle=0)
        clients = [row for row in pooler.admin("SHOW CLIENTS") if row["database"] == "app"]
        states = sorted(row["state"] for row in clients)
        assert states in (["active", "idle", "waiting"], ["active", "active", "waiting"])
        [server] = pooler.admin("SHOW SERVERS")
        client = next(row for row in clients if row["application_name"] == "busy one")
        assert (client["type"], server["type"]) == ("C", "S")
        assert client["link"] == server["ptr"] and server["link"] == client["ptr"]
        assert client["port"] == str(busy.sock.getsockname()[1])
        assert client["local_port"] == str(pooler.port)
        assert server["port"] == str(pooler.pg.port)
        assert server["state"] == "active"
        assert server["remote_pid"] == str(busy.backend())
        assert server["tls"] == client["tls"] == ""
        assert len({row["id"] for row in clients}) == len(clients)
        for row in clients + [server]:
            assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+", row["connect_time"])
        eventually(lambda: int(pooler.pool()["maxwait"]) >= 1, "maxwait counts")
        busy.query("COMMIT")
        assert waiting.result().value == "1"


def test_statistics_count(pooler):
    def totals():
        rows = pooler.admin("SHOW STATS_TOTALS")
        return next({k: int(v) for k, v in row.items() if k != "database"} for row in rows if row["database"] == "app")

    with pooler.wire() as w:
        w.value("SELECT 1")
        before = totals()
        w.query("BEGIN")
        w.value("SELECT pg_sleep(0.2)")
        w.query("COMMIT")
        w.extended("SELECT 2")
        after = totals()
    assert after["xact_count"] - before["xact_count"] == 2
    assert after["query_count"] - before["query_count"] == 4
    assert after["xact_time"] - before["xact_time"] >= 200000
    assert after["query_time"] - before["query_time"] >= 200000
    assert after["bytes_received"] > before["bytes_received"]
    assert after["bytes_sent"] > before["bytes_sent"]


def test_queue_wait_is_not_query_time(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as busy, pooler.wire() as waiting:
        keep_waiting(pooler, busy, waiting, 0.5)
        row = next(r for r in pooler.admin("SHOW STATS_TOTALS") if r["database"] == "app")
        assert 400000 <= int(row["wait_time"])
        assert int(row["query_time"]) < 500000 + int(row["wait_time"])


def test_lists(pooler):
    with pooler.wire() as w:
        w.value("SELECT 1")
        rows = {row["list"]: int(row["items"]) for row in pooler.admin("SHOW LISTS")}
    assert list(rows) == ["databases", "users", "peers", "pools", "peer_pools", "free_clients", "used_clients",
                          "login_clients", "free_servers", "used_servers", "dns_names", "dns_zones", "dns_queries",
                          "dns_pending"]
    assert rows["used_clients"] == 2
    assert rows["used_servers"] + rows["free_servers"] >= 1


def test_databases(make_pooler):
    pooler = make_pooler(databases={"app": {"pool_size": 7, "min_pool_size": 2, "pool_mode": "session"},
                                    "alias": {"dbname": "second", "user": "other"}})
    rows = {row["name"]: row for row in pooler.admin("SHOW DATABASES")}
    assert rows["app"]["pool_size"] == "7"
    assert rows["app"]["min_pool_size"] == "2"
    assert rows["app"]["pool_mode"] == "session"
    assert (rows["alias"]["database"], rows["alias"]["force_user"]) == ("second", "other")
    assert (rows["alias"]["host"], rows["alias"]["port"]) == ("127.0.0.1", str(pooler.pg.port))
    assert rows["pgbouncer"]["pool_mode"] == "statement"
    assert {row["paused"] for row in rows.values()} == {row["disabled"] for row in rows.values()} == {"0"}


def test_users(make_pooler):
    pooler = make_pooler(users={"app": {"pool_mode": "session", "max_user_connections": 5}})
    rows = {row["name"]: row for row in pooler.admin("SHOW USERS")}
    assert {"app", "other", "admin"} <= set(rows)
    assert (rows["app"]["pool_mode"], rows["app"]["max_user_connections"]) == ("session", "5")


def test_state(pooler):
    assert {row["key"]: row["value"] for row in pooler.admin("SHOW STATE")} == {
        "active": "yes", "paused": "no", "suspended": "no"}


# Settings

PARAMETERS = """
admin_users application_name_add_host auth_dbname auth_file auth_hba_file auth_ident_file auth_ldap_options auth_query
auth_type auth_user autodb_idle_timeout cancel_wait_timeout capacity_check_interval client_idle_timeout client_login_timeout client_tls_sslmode
client_tls_key_file client_tls_cert_file client_tls_ca_file client_tls_protocols client_tls_ciphers
client_tls13_ciphers client_tls_ecdhcurve client_tls_dheparams conffile core_dumps default_pool_size disable_pqexec dns_max_ttl
dns_nxdomain_ttl dns_zone_check_period idle_transaction_timeout ignore_startup_parameters instances job_name listen_addr
listen_backlog listen_port log_connections log_disconnections log_pooler_errors log_stats logfile max_client_conn
max_client_prepared_statements max_db_client_connections max_db_connections max_memory max_packet_size max_prepared_statements max_user_client_connections
max_user_connections min_pool_size peer_id pidfile pkt_buf pool_mode pool_size_mode query_timeout query_wait_notify
query_wait_timeout reserve_pool_size reserve_pool_timeout resolv_conf sbuf_loopcnt scram_iterations
server_check_delay server_check_query server_connect_timeout server_fast_close server_idle_timeout server_lifetime
server_login_retry server_reset_query server_reset_query_always server_round_robin server_tls_sslmode
server_tls_ca_file server_tls_cert_file server_tls_key_file server_tls_protocols server_tls_ciphers
server_tls13_ciphers so_reuseport stats_period stats_users suspend_timeout syslog syslog_ident syslog_facility
tcp_defer_accept tcp_keepalive tcp_keepcnt tcp_keepidle tcp_keepintvl tcp_socket_buffer tcp_user_timeout
track_extra_parameters transaction_timeout unix_socket_dir unix_socket_group unix_socket_mode user verbose
shutdown_deadline shutdown_delay shutdown_mode shutdown_pace stats_applications database_required
 http_allow_anonymous http_listen_addr http_max_connections http_port http_tls_cert_file http_tls_key_file
 log_connections_limit log_fold_interval log_format log_min_duration log_min_wait
""".split()

DEFAULTS = {
    "default_pool_size": "20", "max_client_conn": "100", "min_pool_size": "0", "reserve_pool_size": "0",
    "listen_backlog": "128", "log_connections": "1", "max_packet_size": "2147483647",
    "max_prepared_statements": "200", "pkt_buf": "4096", "server_reset_query": "DISCARD ALL", "tcp_keepalive": "1",
    "server_round_robin": "0", "track_extra_parameters": "IntervalStyle", "syslog_ident": "pgbouncer",
    "server_check_query": "<empty>", "scram_iterations": "4096",
}
SECONDS = {
    "autodb_idle_timeout": 3600, "cancel_wait_timeout": 10, "client_idle_timeout": 0, "client_login_timeout": 60,
    "query_wait_timeout": 120, "server_check_delay": 30, "server_connect_timeout": 15, "server_idle_timeout": 600,
    "server_lifetime": 3600, "server_login_retry": 15, "reserve_pool_timeout": 5, "query_timeout": 0,
    "suspend_timeout": 10,
}


def test_every_parameter_is_in_show_config(pooler):
    rows = {row["key"]: row for row in pooler.admin("SHOW CONFIG")}
    assert [name for name in PARAMETERS if name not in rows] == []
    assert {row["changeable"] for row in rows.values()} == {"yes", "no"}
    for name in ("listen_port", "listen_addr", "unix_socket_dir", "pidfile", "user"):
        assert rows[name]["changeable"] == "no"
    for name in ("default_pool_size", "pool_mode", "query_wait_timeout"):
        assert rows[name]["changeable"] == "yes"


def test_defaults(pooler):
    rows = {row["key"]: row for row in pooler.admin("SHOW CONFIG")}
    assert {name: rows[name]["value"] for name in DEFAULTS} == DEFAULTS
    assert {name: rows[name]["default"] for name in DEFAULTS} == DEFAULTS
    assert {name: float(rows[name]["value"]) for name in SECONDS} == SECONDS
    assert (rows["pool_mode"]["value"], rows["pool_mode"]["default"]) == ("transaction", "session")


@pytest.mark.parametrize("text", ["SET default_pool_size = 3", "SET default_pool_size=3;", "SET default_pool_size TO 3",
                                  "set default_pool_size = '3'", "SET default_pool_size TO '3' ;"])
def test_set(pooler, text):
    result = pooler.admin_result(text)
    assert result.error is None
    assert result.tags[0].startswith("SET")
    assert pooler.config("default_pool_size") == "3"


def test_set_takes_effect(pooler):
    pooler.admin("SET default_pool_size = 1")
    with pooler.wire() as a, pooler.wire() as b:
        a.query("BEGIN")
        b.send_raw(query("SELECT 1"))
        pooler.wait_pool(cl_waiting=1, sv_active=1)
        a.query("COMMIT")
        b.result()


@pytest.mark.parametrize("text", ["SET default_pool_size = 3x", "SET pool_mode = fancy", "SET no_such_setting = 1"])
def test_set_wrong(pooler, text):
    assert_error(pooler.admin_result(text).error)
    assert pooler.config("default_pool_size") == "20"


def test_reload_answers(pooler):
    result = pooler.reload(default_pool_size=4)
    assert result.tags == ["RELOAD"]
    assert pooler.config("default_pool_size") == "4"
    result = pooler.reload(default_pool_size=None)
    assert pooler.config("default_pool_size") == "20"


def test_a_drivers_console(pooler):
    """Monitors in Python: psycopg 3 by its client-side cursors, which speak the simple protocol."""
    with pooler.connect("pgbouncer", "admin", cursor_factory=psycopg.ClientCursor) as c:
        cursor = c.execute("SHOW STATS")
        assert len(cursor.description) == 23
