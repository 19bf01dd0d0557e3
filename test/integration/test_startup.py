"""Command line, configuration errors, daemon mode and signals."""

import os
import re
import signal
import socket
import subprocess
import time

import pytest

from harness.system import account, eventually, run
from harness.wire import Closed

VERSION = "PgBouncer 1.25.2 compatible (pgsluice 0.1.0)"


@pytest.fixture
def idle_pooler(make_pooler):
    """Configured, not started."""
    return make_pooler(start=False)


def test_version(idle_pooler):
    for option in ("-V", "--version"):
        done = idle_pooler.run(option)
        assert done.returncode == 0
        assert done.stdout.splitlines()[0] == VERSION


def test_help_names_the_options(idle_pooler):
    for option in ("-h", "--help"):
        done = idle_pooler.run(option)
        assert done.returncode == 0
        for word in ("--daemon", "--verbose", "--quiet", "--user", "--version", "--check"):
            assert word in done.stdout


def test_no_file_and_unknown_option(idle_pooler):
    for args in ((), ("--no-such-option",), ("a.ini", "b.ini")):
        done = idle_pooler.run(*args)
        assert done.returncode == 1
        assert done.stderr


def test_missing_file_is_named(idle_pooler):
    done = idle_pooler.run("/nonexistent/pgsluice.ini")
    assert done.returncode == 1
    assert "/nonexistent/pgsluice.ini" in done.stderr


def test_refuses_root(idle_pooler):
    if os.getuid() != 0:
        pytest.skip("only root can be refused")
    done = run([idle_pooler.program, idle_pooler.ini])
    assert done.returncode == 1
    assert "should not run as root" in done.stderr


@pytest.mark.parametrize("way", ["option", "long option", "setting"])
def test_root_becomes_another_user(make_pooler, way):
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    pooler = make_pooler(start=False)
    name = account().pw_name
    if way == "setting":
        pooler.settings["user"] = name
        pooler.write()
    args = {"option": ["-u", name], "long option": [f"--user={name}"], "setting": []}[way]
    with open(pooler.log_file, "a") as log:
        pooler.process = subprocess.Popen([pooler.program, *args, pooler.ini], stdout=log, stderr=log)
    eventually(pooler._accepts, "the pooler accepts connections")
    with open(f"/proc/{pooler.pid}/status") as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f if "id:" in line or line.startswith("Groups"))
    assert set(status["Uid"].split()) == {str(account().pw_uid)}
    assert set(status["Gid"].split()) == {str(account().pw_gid)}
    assert "0" not in status["Groups"].split()
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"


def test_an_unknown_user_is_fatal(idle_pooler):
    done = run([idle_pooler.program, "-u", "no such user", idle_pooler.ini])
    assert done.returncode == 1
    assert "no such user" in done.stderr


def test_check_accepts_a_good_file_and_listens_on_nothing(idle_pooler):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", idle_pooler.port))
        taken.listen()
        done = idle_pooler.run("--check", idle_pooler.ini)
    assert done.returncode == 0, done.stderr


def test_check_prints_every_error(idle_pooler):
    idle_pooler.settings.update(default_pool_size="20x", pool_mode="fancy", no_such_setting="1")
    idle_pooler.databases["broken"] = "host=127.0.0.1 port=5432x"
    idle_pooler.write()
    done = idle_pooler.run("--check", idle_pooler.ini)
    assert done.returncode == 1
    lines = idle_pooler.text().splitlines()
    for key, value in (("default_pool_size", "20x"), ("pool_mode", "fancy"), ("no_such_setting", ""), ("port", "5432x")):
        number = next(i for i, line in enumerate(lines, 1) if key in line and value in line)
        assert any(f"{idle_pooler.ini}:{number}" in line and key in line and value in line
                   for line in done.stderr.splitlines()), (key, done.stderr)


def test_check_reads_the_auth_file(idle_pooler):
    with open(idle_pooler.userlist_file, "a") as f:
        f.write('"half a line\n')
    done = idle_pooler.run("--check", idle_pooler.ini)
    assert done.returncode == 1
    assert f"{idle_pooler.userlist_file}:" in done.stderr


@pytest.mark.parametrize("key, value, accepted", [
    ("default_pool_size", "20x", None),
    ("default_pool_size", "", None),
    ("pool_mode", "fancy", "transaction"),
    ("server_lifetime", "10 parsecs", None),
    ("log_connections", "maybe", None),
    ("auth_type", "secret", "scram-sha-256"),
    ("listen_port", "70000", None),
    ("no_such_setting", "1", None),
])
def test_wrong_value_is_fatal_and_named(idle_pooler, key, value, accepted):
    idle_pooler.settings[key] = value
    idle_pooler.write()
    done = idle_pooler.run(idle_pooler.ini)
    assert done.returncode == 1
    line = next(line for line in done.stderr.splitlines() if key in line)
    number = next(i for i, text in enumerate(idle_pooler.text().splitlines(), 1) if text.startswith(key + " "))
    assert f"{idle_pooler.ini}:{number}" in line
    assert value in line
    assert accepted is None or accepted in line


def test_nowhere_to_listen_is_fatal(idle_pooler):
    idle_pooler.settings["unix_socket_dir"] = ""
    idle_pooler.write()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", idle_pooler.port))
        taken.listen()
        done = idle_pooler.run(idle_pooler.ini)
    assert done.returncode == 1
    assert str(idle_pooler.port) in done.stderr


def test_values_as_people_write_them(make_pooler):
    pooler = make_pooler(server_idle_timeout="10min", query_wait_timeout="90", server_lifetime="1h",
                         log_connections="off", server_round_robin="yes", unix_socket_mode="0770",
                         server_connect_timeout="15s")
    assert float(pooler.config("server_idle_timeout")) == 600
    assert float(pooler.config("query_wait_timeout")) == 90
    assert float(pooler.config("server_lifetime")) == 3600
    assert pooler.config("log_connections") == "0"
    assert pooler.config("server_round_robin") == "1"
    assert pooler.config("unix_socket_mode") == "0770"
    mode = os.stat(os.path.join(pooler.directory, f".s.PGSQL.{pooler.port}")).st_mode
    assert mode & 0o777 == 0o770


def test_includes_repeated_sections_quoted_names_and_long_values(make_pooler):
    pooler = make_pooler(start=False)
    included = os.path.join(pooler.directory, "more.ini")
    with open(included, "w") as f:
        f.write('[databases]\n"My ""Data"" Base" = host=127.0.0.1 port=%d dbname=second\n' % pooler.pg.port)
    pooler.write(f"%include {included}\n" + pooler.text() + "[databases]\n  indented = host=127.0.0.1\n"
                 "[pgbouncer]\n# a comment\n; another\nserver_check_query = select 1 -- " + "x" * 65000 + "\n")
    pooler.start()
    names = [row["name"] for row in pooler.admin("SHOW DATABASES")]
    assert 'My "Data" Base' in names and "indented" in names and "app" in names
    assert pooler.config("server_check_query").endswith("x" * 1000)
    with pooler.wire('My "Data" Base') as w:
        assert w.value("SELECT current_database()") == "second"


def test_a_later_section_overrides_an_earlier_one(make_pooler):
    """As files do that end in %include of somebody else's part and a [pgbouncer] of their own behind it."""
    pooler = make_pooler(start=False)
    deeper, deepest = (os.path.join(pooler.directory, name) for name in ("deeper.ini", "deepest.ini"))
    with open(deeper, "w") as f:
        f.write(f"[pgbouncer]\ndefault_pool_size = 2\nmin_pool_size = 2\n%include {deepest}\n")
    with open(deepest, "w") as f:
        f.write("[pgbouncer]\nreserve_pool_size = 2\n[databases]\napp = host=127.0.0.1 port=1\n")
    pooler.write(f"[pgbouncer]\ndefault_pool_size = 1\nreserve_pool_size = 1\n%include {deeper}\n" + pooler.text() +
                 "[pgbouncer]\nmin_pool_size = 3\n")
    pooler.start()
    names = ("default_pool_size", "reserve_pool_size", "min_pool_size")
    assert [pooler.config(name) for name in names] == ["2", "2", "3"]
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"


def test_an_include_is_relative_to_the_working_directory(make_pooler):
    pooler = make_pooler(start=False)
    os.mkdir(os.path.join(pooler.directory, "conf"))
    with open(os.path.join(pooler.directory, "more.ini"), "w") as f:
        f.write("[pgbouncer]\nstats_period = 17\n")
    pooler.ini = os.path.join(pooler.directory, "conf", "pooler.ini")
    pooler.write(pooler.text() + "%include more.ini\n")
    pooler.start()
    assert pooler.config("stats_period") == "17"


def test_an_error_in_an_included_file_is_placed_there(idle_pooler):
    included = os.path.join(idle_pooler.directory, "more.ini")
    with open(included, "w") as f:
        f.write("[pgbouncer]\n\ndefault_pool_size = lots\n")
    idle_pooler.write(idle_pooler.text() + f"%include {included}\n")
    done = idle_pooler.run(idle_pooler.ini)
    assert done.returncode == 1
    assert f"{included}:3" in done.stderr and "lots" in done.stderr


@pytest.mark.parametrize("missing", [False, True])
def test_includes_that_cannot_be_read(idle_pooler, missing):
    """One that includes itself ends somewhere, too."""
    included = "/nonexistent/more.ini" if missing else idle_pooler.ini
    idle_pooler.write(idle_pooler.text() + f"%include {included}\n")
    done = idle_pooler.run(idle_pooler.ini)
    assert done.returncode == 1
    assert included in done.stderr


@pytest.mark.parametrize("text, value", [("0", "0"), ("1", "1"), ("on", "1"), ("OFF", "0"), ("yes", "1"), ("No", "0"),
                                         ("true", "1"), ("False", "0")])
def test_ways_to_say_yes_and_no(make_pooler, text, value):
    assert make_pooler(server_round_robin=text).config("server_round_robin") == value


def test_a_semicolon_inside_a_value_is_kept(make_pooler):
    pooler = make_pooler(server_check_query="SELECT 1 ; SELECT 2")
    assert pooler.config("server_check_query") == "SELECT 1 ; SELECT 2"


def test_section_pgsluice(make_pooler):
    pooler = make_pooler(section="pgsluice")
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"


def test_command_line_overrides_file_at_reload_too(make_pooler):
    pooler = make_pooler(default_pool_size=7, start=False)
    pooler.args = ["-c", "default_pool_size=3", "-c", "stats_period=17"]
    pooler.start()
    assert pooler.config("default_pool_size") == "3"
    assert pooler.config("stats_period") == "17"
    pooler.reload(default_pool_size=9, reserve_pool_size=4)
    assert pooler.config("default_pool_size") == "3"
    assert pooler.config("reserve_pool_size") == "4"


def test_command_line_overrides_file_at_sighup_and_after_set_too(make_pooler):
    pooler = make_pooler(start=False)
    pooler.args = ["-c", "default_pool_size=3"]
    pooler.start()
    pooler.settings.update(default_pool_size=9, reserve_pool_size=4)
    pooler.write()
    pooler.signal(signal.SIGHUP)
    eventually(lambda: pooler.config("reserve_pool_size") == "4", "the file's other setting")
    assert pooler.config("default_pool_size") == "3"


def test_another_file_at_reload(make_pooler):
    pooler = make_pooler(default_pool_size=5)
    other = os.path.join(pooler.directory, "other.ini")
    pooler.settings["default_pool_size"] = 6
    with open(other, "w") as f:
        f.write(pooler.text())
    assert pooler.admin_result(f"SET conffile = '{other}'").error is None
    assert pooler.admin_result("RELOAD").error is None
    assert pooler.config("default_pool_size") == "6"


def test_what_needs_a_restart_stays_at_reload(make_pooler):
    pooler = make_pooler()
    port = pooler.port
    assert pooler.reload(listen_backlog=77, listen_port=1, unix_socket_mode="0700").error is None
    pooler.settings["listen_port"] = port
    mode = os.stat(os.path.join(pooler.directory, f".s.PGSQL.{port}")).st_mode
    assert mode & 0o777 == 0o777
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"


def test_wrong_command_line_setting(idle_pooler):
    done = idle_pooler.run("-c", "default_pool_size=many", idle_pooler.ini)
    assert done.returncode == 1
    assert "default_pool_size" in done.stderr and "many" in done.stderr


def test_no_warning_without_reason(make_pooler):
    pooler = make_pooler()
    assert "WARNING" not in pooler.log()


def test_started_as_pgbouncer(make_pooler):
    pooler = make_pooler(start=False)
    link = os.path.join(pooler.directory, "pgbouncer")
    os.symlink(pooler.program, link)
    pooler.program = link
    assert pooler.run("-V").stdout.startswith("PgBouncer 1.25.2")
    pooler.start()
    with open(f"/proc/{pooler.pid}/comm") as f:
        assert f.read().strip() == "pgbouncer"
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"


def test_daemon_writes_pid_file_and_log(make_pooler):
    pooler = make_pooler(start=False)
    pidfile = os.path.join(pooler.directory, "pid")
    logfile = os.path.join(pooler.directory, "daemon.log")
    pooler.settings.update(pidfile=pidfile, logfile=logfile)
    pooler.write()
    assert pooler.run("-d", pooler.ini).returncode == 0
    pid = int(eventually(lambda: os.path.exists(pidfile) and open(pidfile).read().strip(), "the pid file"))
    try:
        eventually(pooler_answers(pooler), "the daemon answers")
        assert "process up" in open(logfile).read()
        assert os.getsid(pid) != os.getsid(0)
        second = pooler.run("-d", pooler.ini)
        assert second.returncode == 1
    finally:
        os.kill(pid, signal.SIGQUIT)
        eventually(lambda: not os.path.exists(f"/proc/{pid}") or is_zombie(pid), "the daemon ends")
    assert not os.path.exists(pidfile)


def pooler_answers(pooler):
    def answers():
        try:
            with pooler.wire() as w:
                return w.value("SELECT 1") == "1"
        except OSError:
            return False
    return answers


def is_zombie(pid):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rpartition(")")[2].split()[0] == "Z"


def test_daemon_needs_a_pid_file(idle_pooler):
    done = idle_pooler.run("-d", idle_pooler.ini)
    assert done.returncode == 1
    assert "pidfile" in done.stderr


def test_quiet_says_nothing(make_pooler):
    pooler = make_pooler(start=False)
    pooler.settings["logfile"] = os.path.join(pooler.directory, "own.log")
    pooler.args = ["-q"]
    pooler.write()
    pooler.start()
    with pooler.wire() as w:
        w.value("SELECT 1")
    assert pooler.log() == ""
    assert "login attempt" in open(pooler.settings["logfile"]).read()


def test_verbose_says_more(make_pooler):
    pooler = make_pooler(args=["-v", "-v"])
    assert "DEBUG" in pooler.log() or "NOISE" in pooler.log()


def test_verbose_as_a_setting(make_pooler):
    pooler = make_pooler()
    assert " DEBUG " not in pooler.log()
    assert pooler.reload(verbose=1).error is None
    pooler.raw().close()
    pooler.wait_log(" DEBUG ")


SYSLOG = "/dev/log"


@pytest.fixture
def system_log():
    """Where syslog() sends, on a machine that has no syslog daemon: what came, line by line."""
    if os.getuid() != 0 or os.path.lexists(SYSLOG):
        pytest.skip("somebody else's syslog, or only root could be one")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(SYSLOG)
        os.chmod(SYSLOG, 0o666)
        s.settimeout(10)
        try:
            yield lambda: s.recv(65536).decode()
        finally:
            os.unlink(SYSLOG)


@pytest.mark.parametrize("settings, facility, ident", [
    ({}, 3, "pgbouncer"), ({"syslog_ident": "my-pooler", "syslog_facility": "local3"}, 19, "my-pooler")])
def test_syslog(make_pooler, system_log, settings, facility, ident):
    pooler = make_pooler(syslog=1, **settings)
    with pooler.wire() as w:
        w.value("SELECT 1")
    line = system_log()
    while "login attempt: db=app user=app" not in line:
        line = system_log()
    # <facility and severity>, the time, ident[pid]: and our line without all that.
    assert re.fullmatch(r"<%d>\w{3} [ \d]\d [\d:]{8} %s\[%d\]: C-0x[0-9a-f]+: app/app@127\.0\.0\.1:\d+ login "
                        r"attempt: db=app user=app tls=no\0?" % (facility * 8 + 6, ident, pooler.pid), line), line


def test_sighup_reloads_and_reopens_the_log(make_pooler):
    pooler = make_pooler(start=False)
    logfile = os.path.join(pooler.directory, "own.log")
    pooler.settings.update(logfile=logfile, default_pool_size=5)
    pooler.write()
    pooler.start()
    os.rename(logfile, logfile + ".1")
    pooler.settings["default_pool_size"] = 6
    pooler.write()
    pooler.signal(signal.SIGHUP)
    eventually(lambda: pooler.config("default_pool_size") == "6", "the new setting")
    with pooler.wire() as w:
        w.value("SELECT 1")
    eventually(lambda: os.path.exists(logfile) and "login attempt" in open(logfile).read(), "the log file anew")


def test_a_bad_file_at_reload_changes_nothing(pooler):
    result = pooler.reload(default_pool_size="6x", min_pool_size=1)
    assert result.error["C"] == "F0000"
    assert "RELOAD failed" in result.error["M"]
    assert pooler.config("min_pool_size") == "0"
    assert "6x" in pooler.log()
    assert pooler.reload(default_pool_size=6).tags == ["RELOAD"]
    assert pooler.config("default_pool_size") == "6"


def test_two_signals_end_it_at_once(pooler):
    with pooler.wire() as w:
        assert w.value("SELECT 1") == "1"
        pooler.signal(signal.SIGTERM)
        pooler.wait_log("SIGTERM")
        pooler.signal(signal.SIGTERM)
        assert pooler.wait_exit() == 0


def test_sigterm_waits_for_the_last_client(pooler):
    with pooler.wire() as w:
        w.query("BEGIN")
        pooler.signal(signal.SIGTERM)
        eventually(lambda: not accepts(pooler), "no new clients")
        assert w.value("SELECT 1") == "1"
        assert w.query("COMMIT").tags == ["COMMIT"]
        assert w.value("SELECT 2") == "2"
        assert pooler.alive()
    assert pooler.wait_exit() == 0


def test_sigint_lets_the_transaction_end(pooler):
    with pooler.wire() as busy, pooler.wire() as idle:
        busy.query("BEGIN")
        assert idle.value("SELECT 1") == "1"
        pooler.signal(signal.SIGINT)
        eventually(lambda: not accepts(pooler), "no new clients")
        time.sleep(0.2)
        assert busy.value("SELECT 1") == "1"
        assert pooler.alive()
        assert busy.query("COMMIT").tags == ["COMMIT"]
    assert pooler.wait_exit() == 0


def test_sigquit_ends_at_once(pooler):
    with pooler.wire() as w:
        w.query("BEGIN")
        pooler.signal(signal.SIGQUIT)
        assert pooler.wait_exit() == 0
        with pytest.raises(Closed):
            while True:
                w.recv()


def test_shutdown_command(pooler):
    """At once and without an answer, unless it is that everybody is told why."""
    result = pooler.admin_result("SHUTDOWN")
    assert result.tags == []
    assert pooler.wait_exit() == 0


def accepts(pooler):
    try:
        socket.create_connection(("127.0.0.1", pooler.port), 1).close()
        return True
    except OSError:
        return False


@pytest.mark.parametrize("address", ["127.0.0.1", "*", "::1", "127.0.0.1,::1", "localhost"])
def test_listen_addresses(make_pooler, address):
    pooler = make_pooler(start=False)
    pooler.settings["listen_addr"] = address
    pooler.write()
    hosts = {"127.0.0.1": ["127.0.0.1"], "::1": ["::1"], "127.0.0.1,::1": ["127.0.0.1", "::1"],
             "*": ["127.0.0.1", "::1"], "localhost": ["127.0.0.1"]}[address]
    if "::1" in hosts and not has_ipv6():
        hosts.remove("::1")
        if not hosts or "::1" in address:
            pytest.skip("no IPv6 on this machine")
    if address == "::1":
        pooler._accepts = lambda: any_connects(["::1"], pooler.port)
    pooler.start()
    for host in hosts:
        with pooler.connect(host=host) as c:
            assert c.execute("SELECT 1").fetchone() == (1,)


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


def any_connects(hosts, port):
    for host in hosts:
        try:
            socket.create_connection((host, port), 1).close()
            return True
        except OSError:
            pass
    return False


def test_unix_socket(pooler):
    with pooler.connect(host=pooler.directory) as c:
        assert c.execute("SELECT 1").fetchone() == (1,)


def test_abstract_unix_socket(make_pooler):
    pooler = make_pooler(unix_socket_dir="@pgsluice-test")
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(f"\0pgsluice-test/.s.PGSQL.{pooler.port}")
    with pooler.connect(host="@pgsluice-test") as c:
        assert c.execute("SELECT 1").fetchone() == (1,)


def test_no_unix_socket(make_pooler):
    pooler = make_pooler(unix_socket_dir="")
    assert not os.path.exists(os.path.join(pooler.directory, f".s.PGSQL.{pooler.port}"))
    assert not os.path.exists(f"/tmp/.s.PGSQL.{pooler.port}")


def test_unix_socket_is_removed_at_the_end(pooler):
    path = os.path.join(pooler.directory, f".s.PGSQL.{pooler.port}")
    assert os.path.exists(path)
    pooler.stop()
    assert not os.path.exists(path)


def test_log_lines(make_pooler):
    pooler = make_pooler()
    with pooler.wire() as w:
        w.value("SELECT 1")
    pooler.wait_log("closing because: ")
    log = pooler.log()
    line = next(line for line in log.splitlines() if "login attempt: db=app user=app tls=no" in line)
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \S+ \[%d\] LOG C-0x[0-9a-f]+: app/app@127\.0\.0\.1:\d+ "
                    % pooler.pid, line), line
    assert re.search(r"LOG S-0x[0-9a-f]+: app/app@127\.0\.0\.1:%d new connection to server" % pooler.pg.port, log)
    assert re.search(r"closing because: client (unexpected eof|close request) \(age=\d+s\)", log)


def test_log_switches(make_pooler):
    pooler = make_pooler(log_connections=0, log_disconnections=0, log_pooler_errors=0)
    with pooler.wire() as w:
        w.value("SELECT 1")
    with pooler.raw() as w:
        assert w.try_login("app", "nosuch")
    pooler.wait_pool(cl_active=0)
    log = pooler.log()
    for text in ("login attempt", "closing because", "new connection to server", "pooler error"):
        assert text not in log


def test_stats_line(make_pooler):
    pooler = make_pooler(stats_period=1)
    pooler.wait_log("stats: ")
    line = next(line for line in pooler.log().splitlines() if "stats: " in line)
    for word in ("xacts/s", "queries/s", "in ", "B/s", "xact", "query", "wait", "us"):
        assert word in line


def test_no_stats_line(make_pooler):
    pooler = make_pooler(stats_period=1, log_stats=0)
    time.sleep(2.5)
    assert "stats: " not in pooler.log()
