"""How the program is built, what it lets others see of itself, and what it says about files that others can see."""

import os
import re
import stat

import pytest

from harness.pooler import PROGRAM, has_sanitizers, is_pgbouncer
from harness.system import account, run
from harness.vouchers import Pam

pytestmark = pytest.mark.skipif(is_pgbouncer(), reason="about our program")


def readelf(*options):
    done = run(["readelf", "-W", *options, PROGRAM])
    assert done.returncode == 0, done.stderr
    return done.stdout


# How it is built

def test_it_is_loaded_at_a_random_address():
    assert re.search(r"Type:\s+DYN \(Position-Independent Executable file\)", readelf("-h"))
    assert "FLAGS_1" in readelf("-d") and re.search(r"FLAGS_1.*\bPIE\b", readelf("-d"))


def test_tables_of_functions_cannot_be_overwritten():
    """All symbols are bound at the start, and what they were written into is made read-only."""
    assert re.search(r"\(FLAGS\).*\bBIND_NOW\b", readelf("-d"))
    assert "GNU_RELRO" in readelf("-l")


def test_no_memory_is_both_writable_and_executable():
    segments = re.findall(r"^\s+(LOAD|GNU_STACK)\s.*\s([R ][W ][E ])\s+0x\w+$", readelf("-l"), re.M)
    assert {kind for kind, _ in segments} == {"LOAD", "GNU_STACK"}
    assert [s for s in segments if "W" in s[1] and "E" in s[1]] == []


def test_overflows_of_the_stack_are_noticed():
    assert "__stack_chk_fail" in readelf("--dyn-syms")


@pytest.mark.skipif(has_sanitizers(), reason="AddressSanitizer looks at these calls itself")
def test_calls_that_fill_memory_know_its_size():
    checked = set(re.findall(r"__(\w+)_chk\b", readelf("--dyn-syms")))
    assert {"memcpy", "snprintf", "vsnprintf"} & checked and len(checked) >= 3, checked


# Who may look into the process

def is_dumpable(pid):
    """The kernel gives what is private in /proc to root when a process is not."""
    return os.stat(f"/proc/{pid}/environ").st_uid == account().pw_uid


def core_limit(pid):
    """Soft and hard."""
    with open(f"/proc/{pid}/limits") as f:
        return tuple(re.search(r"Max core file size\s+(\w+)\s+(\w+)", f.read()).groups())


@pytest.mark.skipif(os.getuid() != 0, reason="as an ordinary user the tests allow core dumps, to look into the process")
def test_no_core_dump_and_no_debugger_by_default(make_pooler):
    pam = Pam({"app": "secret"})
    try:
        pooler = make_pooler(auth_type="pam", auth_pam_confdir=pam.confdir, userlist={})
        assert pooler.attempt("secret").outcome == "in"
        helper, = pooler.children()
        for pid in (pooler.pid, helper):
            assert not is_dumpable(pid) and core_limit(pid)[0] == "0"
    finally:
        pam.close()


def test_core_dumps_can_be_allowed_while_it_runs(make_pooler):
    pooler = make_pooler(core_dumps=0)
    assert not is_dumpable(pooler.pid) or account().pw_uid == 0
    assert pooler.admin_result("SET core_dumps = 1").error is None
    assert is_dumpable(pooler.pid)
    soft, hard = core_limit(pooler.pid)
    assert soft == hard
    assert pooler.reload(core_dumps=0).error is None
    assert not is_dumpable(pooler.pid) and core_limit(pooler.pid) == ("0", hard)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_a_change_of_user_allows_no_core_dumps(make_pooler):
    """The kernel decides anew when a process changes its user."""
    pooler = make_pooler(start=False, args=["-u", account().pw_name]).start(as_root=True)
    assert not is_dumpable(pooler.pid) and core_limit(pooler.pid)[0] == "0"
    assert pooler.admin_result("SET core_dumps = 1").error is None
    assert is_dumpable(pooler.pid)


# Files that others can read or change

def test_files_of_secrets_that_others_can_read_are_warned_of_at_start_and_reload(make_pooler):
    pooler = make_pooler(start=False, userlist={"app": "secret", "admin": ""})
    warning = f"{pooler.userlist_file}: mode 0644: others can read the passwords in it: chmod 0640 {pooler.userlist_file}"
    os.chmod(pooler.userlist_file, 0o644)
    checked = pooler.run("--check", pooler.ini)
    assert checked.returncode == 0 and checked.stderr == warning + "\n"
    pooler.start()
    assert warning in pooler.log()
    os.chmod(pooler.userlist_file, 0o640)
    with pooler.wire("pgbouncer", "admin") as w:
        assert w.query("RELOAD").error is None
        assert pooler.log().count(warning) == 1
        os.chmod(pooler.userlist_file, 0o604)
        assert w.query("RELOAD").error is None
    assert f"WARNING {pooler.userlist_file}: mode 0604: others can read" in pooler.log()


def test_a_private_key_that_others_can_read_is_warned_of(make_pooler, certs):
    key = certs.copy(certs.server, "readable").key
    os.chmod(key, 0o644)
    pooler = make_pooler(start=False, **certs.for_clients(mode="allow", client_tls_key_file=key))
    checked = pooler.run("--check", pooler.ini)
    assert checked.returncode == 0
    assert checked.stderr == f"{key}: mode 0644: others can read the private key in it: chmod 0600 {key}\n"


def test_the_pid_file_and_the_log_are_not_for_others_to_change(make_pooler):
    pooler = make_pooler(start=False)
    pooler.settings.update(pidfile=os.path.join(pooler.directory, "pid"), logfile=os.path.join(pooler.directory, "file.log"))
    pooler.write()
    pooler.start()
    for name in ("pid", "file.log"):
        mode = os.stat(os.path.join(pooler.directory, name)).st_mode
        assert not mode & (stat.S_IWGRP | stat.S_IWOTH), (name, oct(mode))
