"""This machine's files once more, to be changed at will: what is written stays in memory, and nobody else sees it."""

import os
import stat
import subprocess
import tempfile

from .system import run

# It holds the mounts until its standard input ends.
HOLD = """
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
for dir in proc sys dev; do mount --rbind "/$dir" "$1/root/$dir"; done
echo ready
cat
"""


class Unavailable(Exception):
    """It needs root, and a kernel and a container that allow it."""


class Overlay:
    """Processes, ports and time are the machine's own."""

    def __init__(self):
        if os.getuid() != 0:
            raise Unavailable("root only")
        self.directory = tempfile.mkdtemp(prefix="pgsluice-overlay-", dir="/tmp")
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-ec", HOLD, "sh", self.directory],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.holder.stdout.readline() != "ready\n":
            why = self.holder.stderr.read().strip()
            self.close()
            raise Unavailable(why)

    def close(self):
        for end in (self.holder.stdin, self.holder.stdout, self.holder.stderr):
            end.close()
        self.holder.wait(30)
        os.rmdir(self.directory)

    def command(self, *command):
        """What runs a command here; it becomes that, process id and all."""
        return ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "chroot", f"{self.directory}/root", *command]

    def run(self, *command, **kwargs):
        return run(self.command(*command), **kwargs)

    def path(self, path):
        """A file here, as seen from outside."""
        return f"/proc/{self.holder.pid}/root{self.directory}/root{path}"

    def changes(self):
        """The files that are new, different (True) or gone (False), by their names; directories are not told."""
        upper = f"/proc/{self.holder.pid}/root{self.directory}/upper"
        found = {}
        for where, _, names in os.walk(upper):
            for name in names:
                status = os.lstat(os.path.join(where, name))
                is_gone = stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
                found[os.path.join(where, name).removeprefix(upper)] = not is_gone
        return found
