"""What people watch a PgBouncer with: an exporter, psql, pgbadger, and the pipelines that read its log."""

import json
import os
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request

import pytest

from harness.pooler import is_pgbouncer
from harness.system import eventually, free_port, run, stop_process

# Debian's exporter asks for two columns by the names they had before PgBouncer 1.8, so that it fails with every later
# one; with the names of today it is as packaged.
EXPORTER = """
from prometheus_pgbouncer_exporter import cli, collectors
for metrics, old, new in ((collectors.StatsCollector.metrics, "total_requests", "total_query_count"),
                          (collectors.DatabasesCollector.metrics, "reserve_pool", "reserve_pool_size")):
    if old in metrics:
        metrics[new] = metrics.pop(old)
cli.main()
"""

LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \S+ \[\d+\] (FATAL|ERROR|WARNING|LOG|DEBUG|NOISE) \S.*")


def scrape(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            return answer.read().decode()
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):
            return None
        raise


def test_debians_exporter_scrapes_it(pooler):
    port = free_port()
    command = ["/usr/bin/python3", "-c", EXPORTER, "--host", "127.0.0.1", "--port", str(port), "--pgbouncer-host",
               "127.0.0.1", "--pgbouncer-port", str(pooler.port), "--pgbouncer-user", "stats"]
    with pooler.wire() as w, open(os.path.join(pooler.directory, "exporter.log"), "w+") as log:
        for _ in range(3):
            w.value("SELECT 1")
        exporter = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            text = eventually(lambda: scrape(port), "the exporter answers")
            again = scrape(port)
        finally:
            stop_process(exporter, signal.SIGKILL)
    first, second = ({name: float(value) for name, value in (line.rsplit(" ", 1) for line in t.splitlines())
                      if name.startswith("pgbouncer_")} for t in (text, again))
    assert first['pgbouncer_requests_total{database="app"}'] == 3
    assert first["pgbouncer_used_clients"] == 2
    assert [value for name, value in first.items() if "pool_size" in name and 'database="app"' in name] == [20]
    assert list(first) == list(second)


@pytest.mark.parametrize("command", ["\\l", "\\d", "\\dt+", "\\du", "\\df", "SELECT version();"])
def test_psql_goes_on_after_what_the_console_does_not_know(pooler, pg, command):
    done = run(["psql", "-X", "-A", "-t", pooler.dsn("admin", "pgbouncer")], input=f"{command}\nSHOW VERSION;\n")
    assert "SHOW HELP" in done.stderr and "connection" not in done.stderr
    assert done.stdout.strip().startswith("PgBouncer 1.25.2")


def test_psql_shows_help_and_tables(pooler):
    done = run(["psql", "-X", pooler.dsn("admin", "pgbouncer"), "-c", "SHOW HELP", "-c", "select clients", "-c",
                "SHOW ALL"])
    assert done.returncode == 0 and "Console usage" in done.stderr
    assert re.search(r"name +\| +setting +\| +description", done.stdout)


def busy_log(pooler):
    """The log of some sessions, of statistics and of a refused login."""
    for _ in range(3):
        with pooler.wire() as w:
            w.value("SELECT 1")
    with pooler.raw() as w:
        assert w.try_login("app", "no_such_database") is not None
    with pooler.wire() as w:
        eventually(lambda: w.value("SELECT 1") and re.search(r"stats: \d+ xacts/s, [1-9]", pooler.log()),
                   "a period in which something happened")
    return pooler.log()


def test_every_line_of_the_log_has_pgbouncers_form(make_pooler):
    lines = busy_log(make_pooler(stats_period=1)).splitlines()
    assert [line for line in lines if not LOG_LINE.fullmatch(line)] == []
    assert any(re.search(r"LOG C-0x[0-9a-f]+: app/app@127\.0\.0\.1:\d+ login attempt: db=app user=app tls=", line)
               for line in lines)
    assert any(re.search(r"LOG C-0x[0-9a-f]+: app/app@127\.0\.0\.1:\d+ closing because: .* \(age=\d+s\)$", line)
               for line in lines)
    assert any(re.search(r"LOG stats: \d+ xacts/s, \d+ queries/s, .*in \d+ B/s, out \d+ B/s, xact \d+ us, "
                         r"query \d+ us, wait \d+ us$", line) for line in lines)


@pytest.mark.skipif(shutil.which("pgbadger") is None, reason="no pgbadger on this machine")
def test_pgbadger_reads_the_log(make_pooler, tmp_path):
    pooler = make_pooler(stats_period=1)
    busy_log(pooler)
    report = tmp_path / "report.json"
    # The form with [pid], which PgBouncer has had since 1.9.
    done = run(["pgbadger", "-q", "-f", "pgbouncer3", "-o", str(report), pooler.log_file])
    assert done.returncode == 0, done.stdout + done.stderr
    with open(report) as f:
        found = json.load(f)
    assert found["pgb_connection_info"]["database_user"]["app"] == {"app": 4}
    assert "127.0.0.1" in found["pgb_connection_info"]["host"]
    assert any("no such database" in text for text in found["pgb_error_info"])
    assert found["pgb_overall_stat"]["peak"]
