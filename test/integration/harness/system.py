"""Processes, ports and waiting: the operating system's side of the tests."""

import ctypes
import os
import pwd
import random
import signal
import socket
import subprocess
import time

# How many times as long as usual is waited before something counts as hanging: more under a tool that slows down.
PATIENCE = float(os.environ.get("PGSLUICE_PATIENCE", 1))


def account():
    """The account that PostgreSQL and the pooler run as: both refuse to run as root."""
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid())
    return pwd.getpwnam(os.environ.get("PGSLUICE_TEST_USER", "pgsluice-test"))


def as_account():
    """Arguments for subprocess that drop root's privileges; none when there are none to drop."""
    if os.getuid() != 0:
        return {}
    who = account()
    return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}


def give_away(path):
    """Makes a file or directory that of the account."""
    if os.getuid() == 0:
        os.chown(path, account().pw_uid, account().pw_gid)


def free_port(*more):
    """
    A port that nobody has on 127.0.0.1, nor on further addresses. Below those that the kernel gives to outgoing
    connections, so that none of these takes it before its time; each process of a parallel run has its own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    while True:
        port = random.randrange(8000, 12000) + worker % 5 * 4000
        if all(is_free(address, port) for address in ("127.0.0.1", *more)):
            return port


def is_free(address, port):
    with socket.socket() as s:
        try:
            s.bind((address, port))
        except OSError:
            return False
    return True


def eventually(condition, what="condition", timeout=30, every=0.05):
    """Waits for condition() to be true and returns its value; the timeout only guards against hanging."""
    end = time.monotonic() + timeout * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout * PATIENCE:g} s: {what}")
        time.sleep(every)


def rss(pid):
    """Resident memory of a process in bytes."""
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def peak_rss(pid):
    """The most resident memory a process ever had, in bytes."""
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def cpu(pid):
    """User and system time of a process in seconds."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid):
    """Process ids of the processes that a process has started and not waited for; none when it is gone."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(child) for child in f.read().split()]
    except FileNotFoundError:
        return []


PIDFD_GETFD = 438  # the system call's number on every architecture


def sockets_of(pid):
    """Another process' sockets as our own, to ask the kernel about them; to be closed."""
    found = []
    process = os.pidfd_open(pid)
    libc = ctypes.CDLL(None, use_errno=True)
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            is_socket = os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")
        except FileNotFoundError:
            continue
        fd = libc.syscall(PIDFD_GETFD, process, int(name), 0) if is_socket else -1
        if fd >= 0:
            found.append(socket.socket(fileno=fd))
    os.close(process)
    return found


def run(command, timeout=120, **kwargs):
    """A finished process with its output as text; its exit status is the caller's to look at."""
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout * PATIENCE, **kwargs)


def stop_process(process, sig=signal.SIGTERM, timeout=20):
    """Signals one process and waits for it; kills it when it does not come. Returns the exit status."""
    if process.poll() is None:
        process.send_signal(sig)
        try:
            process.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"process {process.pid} did not end on signal {sig}")
    return process.returncode
