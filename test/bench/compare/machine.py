"""The machine: which core is the contender's, what a process has used of it, and what it is, for the reader."""

import os
import platform
import re
import resource

from harness.system import run

CORES = sorted(os.sched_getaffinity(0))


def raise_limits():
    """Ten thousand clients need their descriptors, here and in the contenders."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def is_pinned():
    return len(CORES) > 1


def pin_everybody_else():
    """This process and all that it starts: everywhere but on the last core. Contenders are moved there one by one."""
    if is_pinned():
        os.sched_setaffinity(0, CORES[:-1])


def pin_contender(pid):
    if is_pinned():
        os.sched_setaffinity(pid, CORES[-1:])


def cpu_seconds(pid):
    """User and system time as the scheduler counts it, to the nanosecond."""
    with open(f"/proc/{pid}/schedstat") as f:
        return int(f.read().split()[0]) / 1e9


def switches(pid):
    """How often a process went to sleep or was interrupted."""
    with open(f"/proc/{pid}/status") as f:
        return sum(int(n) for n in re.findall(r"ctxt_switches:\s+(\d+)", f.read()))


def first_line(command):
    return run(command).stdout.partition("\n")[0]


def processor():
    with open("/proc/cpuinfo") as f:
        return re.search(r"^model name\s*: (.*)$", f.read(), re.M)[1]


def description(program, pgbouncer):
    return {
        "processor": processor(),
        "cores": len(CORES),
        "kernel": platform.release(),
        "pinned": is_pinned(),
        "pgsluice": first_line([program, "--version"]),
        "pgbouncer": first_line([pgbouncer, "--version"]),
        "postgresql": first_line(["pg_config", "--version"]),
        "openssl": first_line(["openssl", "version"]).partition(" (")[0],
    }
