"""
A machine for somebody who types what a page says: namespaces of its own for network, files and processes, so that
ports, paths and names are those of the page.
"""

import collections
import os
import shutil
import signal
import subprocess
import tempfile

from .netns import Unavailable
from .pooler import PROGRAM, program_copy
from .system import account, as_account, children, eventually, give_away, run
from .vouchers import write_directory

# Names that the pages have for machines; the second address is a standby's.
HOSTS = """127.0.0.1 localhost db.example.com db1.example.com
127.0.0.2 db2.example.com
127.0.0.3 ldap.example.com
"""

# Nothing of the real machine's /etc, /run and /var/log is changed. Init stays: its end is that of all processes here.
INIT = """
set -e
mount -t tmpfs none {root}/writable
mkdir {root}/writable/upper {root}/writable/work
mount -t overlay none -o lowerdir=/etc,upperdir={root}/writable/upper,workdir={root}/writable/work /etc
mount -t tmpfs none /run
mount -t tmpfs none /var/log
for directory in /etc/pgsluice /run/pgsluice /run/postgresql /var/log/pgsluice; do
    mkdir -p $directory
    chown {user} $directory
done
chown {user} /etc/pam.d
cp {root}/hosts /etc/hosts
ip link set lo up
echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start
touch {root}/ready
exec sleep infinity
"""

# The reader may be anybody here, so that this only has to know who is meant.
SUDO = """#!/bin/sh
if [ "$1" = -u ]; then
    [ "$2" = postgres ] && export PGUSER=postgres
    shift 2
fi
exec "$@"
"""

POSTGRES_HBA = """local all all trust
host all all all scram-sha-256
host replication all all trust
"""


def name_of(pid):
    with open(f"/proc/{pid}/comm") as f:
        return f.read().strip()


Typed = collections.namedtuple("Typed", "status output")


class Reader:
    def __init__(self, template):
        if os.getuid() != 0:
            raise Unavailable("namespaces of its own need root")
        self.bindir = template.bindir
        self.root = tempfile.mkdtemp(prefix="pgsluice-reader-", dir="/tmp")
        os.chmod(self.root, 0o755)
        for name in ("bin", "home", "writable"):
            os.mkdir(os.path.join(self.root, name))
        give_away(self.path("home"))
        program_copy(self.path("bin"))
        shutil.copy(os.path.join(os.path.dirname(PROGRAM), "pgsluice-mkauth"), self.path("bin"))
        self.write_own("bin/sudo", SUDO, 0o755)
        self.write_own("hosts", HOSTS)
        self.background = []
        self.init = None
        try:
            self._begin()
            self.start_postgres(self.copy(template.data, "data"), "127.0.0.1")
        except BaseException:
            self.close()
            raise

    def path(self, name):
        return os.path.join(self.root, name)

    def write_own(self, name, text, mode=0o644):
        with open(self.path(name), "w") as f:
            f.write(text)
        os.chmod(f.name, mode)

    def _begin(self):
        script = INIT.format(root=self.root, user=account().pw_name)
        with open(self.path("log"), "w") as log:
            self.init = subprocess.Popen(["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child",
                                          "--mount-proc", "bash", "-c", script], stdout=log, stderr=log,
                                         stdin=subprocess.DEVNULL)
        ready = self.path("ready")
        eventually(lambda: os.path.exists(ready) or self.init.poll() is not None, "the namespaces are made")
        if self.init.poll() is not None:
            raise Unavailable(open(self.path("log")).read().strip())
        [self.pid] = children(self.init.pid)

    def copy(self, made, name):
        """A data directory for a server of this machine."""
        data = self.path(name)
        done = run(["cp", "-a", made, data])
        assert done.returncode == 0, done.stderr
        with open(os.path.join(data, "pg_hba.conf"), "w") as f:
            f.write(POSTGRES_HBA)
        return data

    def start_postgres(self, data, address, sockets="/run/postgresql"):
        """At the port that pages have."""
        process = self.start(f"exec postgres -D {data} -p 5432 -h {address} -k {sockets} -c fsync=off")
        self.wait(process, f"pg_isready -q -h {address}")

    def start_standby(self):
        """Of the server, at the second address."""
        data = self.path("standby/data")
        os.mkdir(self.path("standby"))
        give_away(self.path("standby"))
        made = self.run(f"pg_basebackup -D {data} -R -X stream -c fast --no-sync -h 127.0.0.1 -U postgres")
        assert made.status == 0, made.output
        self.start_postgres(data, "127.0.0.2", self.path("standby"))

    def start_directory(self, people):
        """{name: password}, for LDAP at its own port."""
        directory = self.path("ldap")
        write_directory(directory, people)
        process = self.start(f"slapadd -f {directory}/slapd.conf -l {directory}/ldif\n"
                             f"exec slapd -f {directory}/slapd.conf -h ldap://127.0.0.3:389 -d 0")
        self.wait(process, "exec 3<>/dev/tcp/127.0.0.3/389")

    # What is typed

    def command(self, script):
        """Each block finds the environment that the one before it has left."""
        left = self.path("home/.environment")
        text = f"cd\n[ ! -e {left} ] || . {left}\nset -e -u -o pipefail\n{script}\nexport -p >{left}\n"
        path = f"{self.path('bin')}:{self.bindir}:/usr/sbin:/usr/bin:/sbin:/bin"
        who = account()
        return ["nsenter", "--target", str(self.pid), "--mount", "--net", "--pid", "--",
                "setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups", "--",
                "env", "-i", f"HOME={self.path('home')}", f"PATH={path}", "LANG=C.UTF-8", "TERM=dumb", "PAGER=cat",
                "ASAN_OPTIONS=detect_leaks=1:exitcode=99", "bash", "-c", text]

    def run(self, script, timeout=60):
        """Exit status and output, which a file takes: what goes on in the background may keep it."""
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(self.command(script), stdout=output, stderr=subprocess.STDOUT,
                                  stdin=subprocess.DEVNULL, timeout=timeout)
            output.seek(0)
            return Typed(done.returncode, output.read())

    def start(self, script):
        """What goes on in the foreground of another terminal."""
        log = open(self.path(f"foreground-{len(self.background)}"), "w+")
        process = subprocess.Popen(self.command(script), stdout=log, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL)
        self.background.append((process, log))
        return process

    def write(self, path, text):
        """A file of the page's, as an editor leaves it."""
        done = subprocess.run(self.command(f"cat >{path}\nchmod 600 {path}"), input=text, text=True,
                              capture_output=True, timeout=30)
        assert done.returncode == 0, done.stderr

    def wait(self, process, sign):
        """Until the command `sign` succeeds; the process must not end before."""
        eventually(lambda: process.poll() is not None or self.run(sign).status == 0, sign)
        assert process.poll() is None, self.said()

    def interrupt(self, process):
        """The pooler that was started in the foreground, as from a terminal; how it has ended."""
        pid = process.pid
        while pid is not None and name_of(pid) != "pgsluice":
            pid = next(iter(children(pid)), None)
        if pid is not None:
            os.kill(pid, signal.SIGINT)
        return process.wait(30)

    def said(self):
        """By all that ran in the foreground."""
        texts = []
        for _, log in self.background:
            log.seek(0)
            texts.append(log.read())
        return "\n".join(texts)

    def close(self):
        if self.init is not None:
            self.init.send_signal(signal.SIGKILL)
            self.init.wait()
        for process, log in self.background:
            process.wait()
            log.close()
        shutil.rmtree(self.root, ignore_errors=True)


class Template:
    """A data directory to copy: what initdb makes takes it seconds."""

    def __init__(self, bindir):
        self.bindir = bindir
        self.directory = tempfile.mkdtemp(prefix="pgsluice-template-", dir="/tmp")
        self.data = os.path.join(self.directory, "data")
        give_away(self.directory)
        made = run([os.path.join(bindir, "initdb"), "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                    "--locale=C", "--no-sync"], cwd=self.directory, **as_account())
        assert made.returncode == 0, made.stdout + made.stderr

    def close(self):
        shutil.rmtree(self.directory, ignore_errors=True)
