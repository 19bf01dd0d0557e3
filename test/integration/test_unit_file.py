"""etc/systemd: the units are valid, the service shuts out what it can, and the pooler lives with what it leaves."""

import contextlib
import os
import re
import shutil
import signal

import pytest

from harness.pooler import PROGRAM, has_sanitizers, is_pgbouncer
from harness.scenario import Scenario
from harness.system import give_away, run, stop_process

ETC = os.path.join(os.path.dirname(__file__), "../../etc")
UNIT = os.path.join(ETC, "systemd/pgsluice.service")

pytestmark = [pytest.mark.skipif(is_pgbouncer(), reason="about our program"),
              pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")]


def analyze(*args):
    return run(["systemd-analyze", *args], env={**os.environ, "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"})


def values(name, file=UNIT):
    """Of all lines of the unit for this setting, in order."""
    with open(file) as f:
        return re.findall(rf"^{name}=(.*)$", f.read(), re.M)


def calls_of(group):
    """The system calls of one of systemd's groups, and of those that it has."""
    found = set()
    for line in analyze("syscall-filter", group).stdout.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            found |= calls_of(word)
        elif word and not word.startswith("#"):
            found.add(word)
    assert found, group
    return found


def allowed_calls():
    allowed = set()
    for line in values("SystemCallFilter"):
        calls = set().union(*(calls_of(group) for group in line.removeprefix("~").split()))
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed


@pytest.mark.parametrize("name", ["pgsluice.service", "pgsluice.socket"])
def test_it_is_valid(tmp_path, name):
    """The socket with the service that it is for."""
    for file in "pgsluice.service", "pgsluice.socket":
        with open(os.path.join(ETC, "systemd", file)) as f:
            (tmp_path / file).write_text(f.read().replace("/usr/sbin/pgsluice", PROGRAM))
    checked = analyze("verify", "--man=no", "--recursive-errors=no", str(tmp_path / name))
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_small_configuration_fits_the_units():
    """What it opens is in directories that the service has, and the socket unit opens the same."""
    with open(os.path.join(ETC, "pgsluice-minimal.ini")) as f:
        ini = dict(re.findall(r"^;?(\w+) = (.*)$", f.read(), re.M))
    [run_dir], [log_dir] = values("RuntimeDirectory"), values("LogsDirectory")
    assert ini["unix_socket_dir"] == f"/run/{run_dir}"
    assert os.path.dirname(ini["pidfile"]) == f"/run/{run_dir}"
    assert os.path.dirname(ini["logfile"]) == f"/var/log/{log_dir}"
    assert values("ListenStream", os.path.join(ETC, "systemd/pgsluice.socket")) == [
        f"{ini['listen_addr']}:{ini['listen_port']}", f"{ini['unix_socket_dir']}/.s.PGSQL.{ini['listen_port']}"]


def test_it_shuts_out_what_it_can():
    """systemd's own measure, 0 to 10, lower is better; a service without any of it has 9.6."""
    assessed = analyze("security", "--offline=true", "--threshold=18", UNIT)
    assert assessed.returncode == 0, assessed.stdout


@pytest.fixture
def watched(pg, certs, make_pooler, tmp_path):
    """The system calls of pooler, helpers and all that these start: lines of strace."""
    with contextlib.ExitStack() as stack:
        s = Scenario(stack, pg, certs, make_pooler)
        trace = os.path.join(s.pooler.directory, "trace")
        open(trace, "w").close()
        give_away(trace)
        s.pooler.run_under("strace", "-D", "-f", "-qq", "--seccomp-bpf", "-e", "signal=none", "-s", "0", "-A", "-o", trace)
        s.pooler.start()
        s.live()
        old = s.pooler.process
        s.pooler.args = ["-R"]
        s.pooler.start()
        assert old.wait(60) == 0
        s.queries()
        stop_process(s.pooler.process, signal.SIGINT)
        s.pooler.process = None
        with open(trace, errors="replace") as f:
            yield f.read()


@pytest.mark.skipif(has_sanitizers(), reason="LeakSanitizer does not work under strace")
def test_the_pooler_needs_nothing_that_it_shuts_out(watched):
    """In a life with everything in it: TLS, names, PAM, LDAP, HTTP, reloads, a takeover, the log opened anew."""
    calls = set(re.findall(r"^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed>)", watched, re.M))
    assert {"accept4", "recvfrom", "sendto", "epoll_wait", "execve", "getdents64"} & calls
    assert len(calls) > 40, calls
    # What the kernel makes of it is not the program's to be asked about.
    assert sorted(calls - allowed_calls() - {"restart_syscall", "rt_sigreturn", "exit", "exit_group"}) == []
    families = set(re.findall(r"\bsocket(?:pair)?\((AF_\w+)", watched))
    assert {"AF_INET", "AF_UNIX"} <= families <= set(values("RestrictAddressFamilies")[0].split())
    assert not re.search(r"\bm(?:map|protect)\([^)]*PROT_WRITE\|PROT_EXEC", watched)
    assert not re.search(r"\bmprotect\([^)]*PROT_EXEC", watched)
