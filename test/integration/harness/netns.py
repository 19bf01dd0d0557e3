"""Two machines made of network namespaces, and a wire between them that can be cut."""

import contextlib
import ctypes
import os

from .system import run

CLONE_NEWNET = 0x40000000
DEVICE = "wire"  # at both ends


class Unavailable(Exception):
    """Namespaces need root, and a kernel and a container that allow them."""


def ip(*args):
    try:
        done = run(["ip", *args])
    except FileNotFoundError:
        raise Unavailable("no program ip") from None
    if done.returncode != 0:
        raise Unavailable(done.stderr.strip())


def enter(namespace):
    """The calling thread, and what it starts from now on; sockets stay where they were made."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Machine:
    def __init__(self, name, address):
        self.name, self.address = name, address

    @contextlib.contextmanager
    def inside(self):
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            enter(there)
            yield self
        finally:
            enter(home)
            os.close(home)
            os.close(there)


class Network:
    """`near` and `far`; neither reaches anything but itself and the other."""

    def __init__(self):
        self.near, self.far = (Machine(f"pgsluice-{os.getpid()}-{end}", f"10.213.0.{i}")
                               for i, end in ((1, "near"), (2, "far")))
        self.machines = []
        try:
            self._build()
        except Unavailable:
            self.close()
            raise

    def _build(self):
        for machine in (self.near, self.far):
            ip("netns", "add", machine.name)
            self.machines.append(machine)
        ip("link", "add", DEVICE, "netns", self.near.name, "type", "veth", "peer", "name", DEVICE, "netns",
           self.far.name)
        for machine in self.machines:
            ip("-n", machine.name, "address", "add", f"{machine.address}/30", "dev", DEVICE)
            ip("-n", machine.name, "link", "set", DEVICE, "up")
            ip("-n", machine.name, "link", "set", "lo", "up")

    def cut(self):
        """Nothing arrives any more, and nobody is told."""
        ip("-n", self.far.name, "link", "set", DEVICE, "down")

    def mend(self):
        ip("-n", self.far.name, "link", "set", DEVICE, "up")

    def close(self):
        for machine in self.machines:
            ip("netns", "delete", machine.name)
