"""pgbench through the pooler: no error, and never more servers than the pool allows."""

import contextlib
import threading
import time

import pytest

from harness.wire import md5_secret

TRANSACTIONS = {1: 300, 100: 20, 1000: 4}


@pytest.fixture(scope="module")
def bench(cluster):
    done = cluster.pgbench("-i", "-s", "10", "-q")
    assert done.returncode == 0, done.stderr
    return cluster


@contextlib.contextmanager
def watcher(pg, dbname="app"):
    """
    Looks ten times a second how many servers there are, the one aside by which the pooler asks for the connection slots
    once a minute; yields the list of what it saw.
    """
    seen, end = [], threading.Event()

    def watch():
        with pg.connect("postgres", autocommit=True, application_name="observer") as c:
            while not end.is_set():
                seen.append(c.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND usename = 'app'"
                    " AND backend_type = 'client backend' AND application_name <> 'pgsluice'", [dbname]).fetchone()[0])
                time.sleep(0.1)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        end.set()
        thread.join()


def pgbench(pg, pooler, *args):
    done = pg.pgbench("-n", "-j", "2", *args, port=pooler.port)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "number of failed transactions: 0 " in done.stdout, done.stdout
    assert "error" not in done.stderr.lower(), done.stderr[-2000:]
    return done


def test_initialise_through_the_pooler(make_pooler, pg):
    pooler = make_pooler(databases={"second": {}})
    done = pg.pgbench("-i", "-s", "2", "-q", port=pooler.port, dbname="second")
    assert done.returncode == 0, done.stderr
    assert pg.value("SELECT count(*) FROM pgbench_accounts", "second") == 200000


@pytest.mark.parametrize("clients", [1, 100, 1000])
@pytest.mark.parametrize("protocol", ["simple", "extended"])
@pytest.mark.parametrize("script", ["tpcb-like", "select-only"])
def test_pgbench(make_pooler, bench, script, protocol, clients):
    pooler = make_pooler(max_client_conn=1000, default_pool_size=25)
    with watcher(bench) as seen:
        pgbench(bench, pooler, "-b", script, "-M", protocol, "-c", str(clients), "-t", str(TRANSACTIONS[clients]))
    assert max(seen) <= 25
    assert pooler.alive()


EXAMPLE = """
[databases]
myapp = host=localhost port={server_port} dbname=app
[pgbouncer]
listen_port = {port}
listen_addr = *
auth_type = md5
auth_file = {auth_file}
pool_mode = transaction
max_client_conn = 1000
default_pool_size = 25
min_pool_size = 10
reserve_pool_size = 5
reserve_pool_timeout = 3
server_lifetime = 3600
server_idle_timeout = 600
server_connect_timeout = 15
server_login_retry = 15
query_timeout = 60
query_wait_timeout = 120
client_idle_timeout = 0
client_login_timeout = 60
log_connections = 1
log_disconnections = 1
log_pooler_errors = 1
stats_period = 60
"""


@pytest.mark.parametrize("section", ["pgbouncer", "pgsluice"])
def test_an_ini_file_as_people_have_it(make_pooler, bench, monkeypatch, section):
    """A thousand clients with passwords over 25 servers, and 5 more while somebody has waited for long."""
    pooler = make_pooler(start=False, userlist={"app": md5_secret("app", "pässword")})
    pooler.write(EXAMPLE.format(server_port=bench.port, port=pooler.port, auth_file=pooler.userlist_file)
                 .replace("[pgbouncer]", f"[{section}]"))
    pooler.start()
    monkeypatch.setenv("PGPASSWORD", "pässword")
    with watcher(bench) as seen:
        done = bench.pgbench("-n", "-j", "2", "-b", "tpcb-like", "-c", "1000", "-t", "4", port=pooler.port,
                             dbname="myapp")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "number of transactions actually processed: 4000/4000" in done.stdout
    assert "number of failed transactions: 0 " in done.stdout, done.stdout
    assert 10 <= max(seen) <= (30 if "taking connection from reserve_pool" in pooler.log() else 25)


def test_with_the_reserve(make_pooler, bench):
    pooler = make_pooler(max_client_conn=300, default_pool_size=5, reserve_pool_size=3, reserve_pool_timeout=1)
    with watcher(bench) as seen:
        pgbench(bench, pooler, "-b", "tpcb-like", "-c", "200", "-T", "5")
    assert 5 <= max(seen) <= 8


def test_a_connection_per_transaction(make_pooler, bench):
    pooler = make_pooler(default_pool_size=5)
    with watcher(bench) as seen:
        pgbench(bench, pooler, "-S", "-C", "-c", "10", "-t", "30")
    assert max(seen) <= 5


def test_pipelines(make_pooler, bench, tmp_path):
    script = tmp_path / "pipeline.sql"
    script.write_text("\\startpipeline\n" + "SELECT abalance FROM pgbench_accounts WHERE aid = 1;\n" * 50 +
                      "\\endpipeline\n")
    pooler = make_pooler(default_pool_size=5)
    pgbench(bench, pooler, "-M", "extended", "-f", str(script), "-c", "20", "-t", "20")


def test_session_mode(make_pooler, bench):
    pooler = make_pooler(default_pool_size=25, pool_mode="session")
    with watcher(bench) as seen:
        pgbench(bench, pooler, "-b", "tpcb-like", "-M", "prepared", "-c", "25", "-t", "20")
    assert max(seen) <= 25


def test_counts_are_right(make_pooler, bench):
    pooler = make_pooler(default_pool_size=5)
    pgbench(bench, pooler, "-b", "select-only", "-c", "10", "-t", "100")
    row = next(row for row in pooler.admin("SHOW STATS_TOTALS") if row["database"] == "app")
    # pgbench asks a few questions of its own before it begins.
    assert 1000 <= int(row["xact_count"]) <= 1020
    assert 1000 <= int(row["query_count"]) <= 1020
