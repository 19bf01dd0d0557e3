"""make deb: Debian packages that install, serve and leave, tried on a copy of this machine."""

import contextlib
import glob
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess

import psycopg
import pytest

from harness.overlay import Overlay, Unavailable
from harness.pg import PASSWORD
from harness.pooler import PROGRAM, is_pgbouncer
from harness.system import eventually, free_port, run, stop_process

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
BUILD = os.path.dirname(PROGRAM)

# What build-essential stands for.
ESSENTIAL = {"gcc", "make", "libc6-dev"}

pytestmark = pytest.mark.skipif(is_pgbouncer(), reason="about our packages")


def text_of(name):
    with open(os.path.join(TOP, name)) as f:
        return f.read()


def test_the_packages_version_is_that_of_the_program():
    version = re.search(r"^AC_INIT\(\[pgsluice\], \[(.*)\]\)", text_of("configure.ac"), re.M)[1]
    assert text_of("etc/debian/changelog").startswith(f"pgsluice ({version}-")
    assert re.search(rf"^{re.escape(version)}$", text_of("CHANGELOG"), re.M)


def test_the_package_needs_what_the_build_needs():
    listed = set(re.findall(r"^build +(\S+)", text_of("etc/packages"), re.M))
    depends = re.search(r"^Build-Depends:(.*(?:\n .*)*)", text_of("etc/debian/control"), re.M)[1]
    named = {re.sub(r" *\(.*", "", one.strip()) for one in depends.split(",")}
    assert named - {"debhelper-compat"} == listed - ESSENTIAL


def test_the_packages_licence_is_the_programs():
    def plain(text):
        return " ".join(re.sub(r"^ \.?", "", text, flags=re.M).split())
    assert plain(text_of("LICENSE")).split("contributors", 1)[1] in plain(text_of("etc/debian/copyright"))


# What is built

@pytest.fixture(scope="module")
def packages():
    """Files by the packages' names. Compiled once more, with the distribution's flags, and without symbols to keep."""
    if not os.path.exists(os.path.join(BUILD, "Makefile")):
        pytest.fail(f"no build directory: {BUILD}")
    made = run(["nice", "make", "-C", BUILD, "deb"], timeout=550, env={
        **os.environ, "DEB_BUILD_OPTIONS": f"nocheck noautodbgsym parallel={os.cpu_count()}"})
    assert made.returncode == 0, made.stdout[-8000:] + made.stderr[-4000:]
    files = glob.glob(os.path.join(BUILD, "deb", "*.deb"))
    yield {os.path.basename(file).split("_")[0]: file for file in files}
    shutil.rmtree(os.path.join(BUILD, "deb"))


@pytest.mark.skipif(not os.path.exists(os.path.join(TOP, ".git")), reason="not a work tree of git")
def test_all_of_the_repository_is_in_the_tarball_that_they_are_made_of(packages):
    [tarball] = glob.glob(os.path.join(BUILD, "pgsluice-*.tar.gz"))
    packed = {name.partition("/")[2] for name in run(["tar", "-tf", tarball]).stdout.splitlines()}
    tracked = run(["git", "-c", f"safe.directory={TOP}", "ls-files", "--deduplicate"], cwd=TOP).stdout.splitlines()
    assert set(tracked) - packed == {".gitignore"}


@pytest.fixture(scope="module")
def contents(packages):
    """{package: {path: (mode and owner, target of a link)}}"""
    def lines(file):
        for line in run(["dpkg-deb", "--contents", file]).stdout.splitlines():
            mode, owner, _, _, _, rest = line.split(None, 5)
            path, _, target = rest.partition(" -> ")
            yield path.removeprefix("."), (f"{mode} {owner}", target)
    return {name: dict(lines(file)) for name, file in packages.items()}


def test_there_is_a_package_of_the_program_and_one_of_the_other_name(packages):
    assert set(packages) == {"pgsluice", "pgsluice-pgbouncer"}


def test_lintian_finds_nothing(packages):
    done = run(["lintian", "--allow-root", "--no-cfg", "--fail-on", "error,warning", *packages.values()])
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_is_where_it_is_looked_for(contents):
    files = contents["pgsluice"]
    for path in ("/usr/sbin/pgsluice", "/usr/bin/pgsluice-mkauth"):
        assert files[path] == ("-rwxr-xr-x root/root", "")
    for path in ("/lib/systemd/system/pgsluice.service", "/lib/systemd/system/pgsluice.socket",
                 "/etc/logrotate.d/pgsluice", "/usr/share/bash-completion/completions/pgsluice",
                 "/usr/share/man/man1/pgsluice.1.gz", "/usr/share/man/man5/pgsluice.5.gz",
                 "/usr/share/man/man1/pgsluice-mkauth.1.gz", "/usr/share/doc/pgsluice/copyright",
                 "/usr/share/doc/pgsluice/changelog.gz", "/usr/share/doc/pgsluice/architecture.md.gz",
                 "/usr/share/doc/pgsluice/examples/pgsluice-minimal.ini",
                 "/usr/share/doc/pgsluice/examples/haproxy/haproxy.cfg"):
        assert files[path] == ("-rw-r--r-- root/root", ""), path
    for path in ("/etc/pgsluice/pgsluice.ini", "/etc/pgsluice/userlist.txt"):
        assert files[path] == ("-rw-r----- root/root", ""), path


# On a machine

# Without it, no index of all manual pages is made each time.
INDEXES = "/var/lib/man-db/auto-update"


@pytest.fixture
def machine():
    try:
        overlay = Overlay()
    except Unavailable as why:
        pytest.skip(str(why))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(overlay.path(INDEXES))
    yield overlay
    overlay.close()


def did(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(machine, *files):
    for file in files:
        shutil.copy(file, machine.path("/var/tmp/"))
    did(machine.run("sh", "-c", "dpkg -i /var/tmp/*.deb && rm /var/tmp/*.deb"))


@contextlib.contextmanager
def installed(machine, *files):
    """Until they are purged."""
    install(machine, *files)
    yield
    did(machine.run("dpkg", "--purge", *(os.path.basename(file).split("_")[0] for file in reversed(files))))


def unit(machine):
    """The service's settings, the last one of each name."""
    with open(machine.path("/lib/systemd/system/pgsluice.service")) as f:
        return dict(re.findall(r"^(\w+)=(.*)$", f.read(), re.M))


@contextlib.contextmanager
def service(machine, ready):
    """What systemd makes of the unit: directories, the user, the command; in the end its signal."""
    settings = unit(machine)
    user, group = settings["User"], settings["Group"]
    for directory, mode in (("/run/" + settings["RuntimeDirectory"], "0755"),
                            ("/var/log/" + settings["LogsDirectory"], settings["LogsDirectoryMode"])):
        did(machine.run("install", "-d", "-o", user, "-g", group, "-m", mode, directory))
    process = subprocess.Popen(machine.command("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups",
                                               "--no-new-privs", *shlex.split(settings["ExecStart"])),
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        eventually(lambda: process.poll() is not None or ready(), "the service is ready")
        assert process.poll() is None, process.stdout.read()
        yield process
    finally:
        stop_process(process, getattr(signal, settings["KillSignal"]))
        process.stdout.close()
    assert process.returncode == 0


def is_open(port):
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        return True


def configure(machine, pg, **settings):
    """Settings of the file that was installed, which stays whose it is; and another port for the server."""
    with open(machine.path("/etc/pgsluice/pgsluice.ini"), "r+") as f:
        text = f.read().replace("port=5432", f"port={pg.port}")
        for name, value in settings.items():
            text, n = re.subn(rf"(?m)^;?{name} = .*$", f"{name} = {value}", text)
            assert n == 1, name
        f.seek(0)
        f.write(text)
        f.truncate()


def owner(machine, path):
    """As stat prints it: the accounts are this machine's."""
    return did(machine.run("stat", "-c", "%U:%G %a", path)).strip()


# dpkg's own books, and the former versions of the account files.
BOOKS = re.compile(r"/var/(lib/dpkg|cache)/|/var/log/(dpkg|alternatives)\.log$|/etc/(passwd|group|shadow|gshadow)-$")


def left_behind(machine):
    """Files that are not what they were."""
    def is_same(path):
        with open(path, "rb") as a, open(machine.path(path), "rb") as b:
            return a.read() == b.read()
    return {path for path, is_there in machine.changes().items() if not BOOKS.match(path) and path != INDEXES
            and not (is_there and os.path.isfile(path) and is_same(path))}


def test_it_installs_serves_and_leaves_nothing_behind(packages, machine, pg):
    """As whoever installs it is told to go on: the port, the users, the start."""
    port = free_port()
    server = psycopg.conninfo.make_conninfo(host="127.0.0.1", port=pg.port, user="postgres", dbname="postgres")
    with installed(machine, packages["pgsluice"]):
        configure(machine, pg, listen_port=port)
        did(machine.run("pgsluice-mkauth", "-o", "/etc/pgsluice/userlist.txt", server))
        for file in "/etc/pgsluice/pgsluice.ini", "/etc/pgsluice/userlist.txt":
            assert owner(machine, file) == "root:pgsluice 640"
        with service(machine, lambda: is_open(port)) as process:
            assert "root" not in did(run(["ps", "-o", "user=", "-p", str(process.pid)]))
            with psycopg.connect(host="127.0.0.1", port=port, user="scram_user", password=PASSWORD, dbname="app") as c:
                assert c.execute("SELECT current_user").fetchone() == ("scram_user",)
            assert os.path.exists(machine.path(f"/run/pgsluice/.s.PGSQL.{port}"))
        assert {"/usr/sbin/pgsluice", "/etc/pgsluice/userlist.txt", "/etc/passwd"} <= left_behind(machine)
    assert left_behind(machine) == set()


def test_the_log_is_rotated_while_it_runs(packages, machine, pg):
    port, log = free_port(), "/var/log/pgsluice/pgsluice.log"
    with installed(machine, packages["pgsluice"]):
        configure(machine, pg, listen_port=port, logfile=log)
        with service(machine, lambda: is_open(port)):
            did(machine.run("logrotate", "--force", "--state", "/dev/null", "/etc/logrotate.d/pgsluice"))
            eventually(lambda: os.path.exists(machine.path(log)), "the log has been opened anew")
        with open(machine.path(log)) as new, open(machine.path(log + ".1")) as old:
            assert "process up" in old.read()
            assert "shutdown complete" in new.read()
        assert owner(machine, log).startswith("pgsluice:pgsluice ")
    assert left_behind(machine) == set()


def test_a_removed_package_leaves_its_configuration_to_the_next_one(packages, machine, pg):
    def is_as_it_was():
        for file in "/etc/pgsluice/pgsluice.ini", "/etc/pgsluice/userlist.txt":
            assert owner(machine, file) == "root:pgsluice 640"
        with open(machine.path("/etc/pgsluice/pgsluice.ini")) as f:
            return f"port={pg.port}" in f.read()

    with installed(machine, packages["pgsluice"]):
        configure(machine, pg)
        did(machine.run("dpkg", "--remove", "pgsluice"))
        assert not os.path.exists(machine.path("/usr/sbin/pgsluice"))
        assert is_as_it_was()
        install(machine, packages["pgsluice"])
        assert is_as_it_was()
    assert left_behind(machine) == set()


def test_the_other_name_takes_the_place_of_pgbouncers_package(packages, machine):
    """And reads the configuration that this one has left."""
    def state(package):
        return machine.run("dpkg-query", "-W", "-f", "${db:Status-Status}", package).stdout
    assert state("pgbouncer") == "installed"
    with installed(machine, *packages.values()):
        assert state("pgbouncer") == "config-files"
        assert "pgsluice" in did(machine.run("pgbouncer", "--version"))
        assert "ok" in did(machine.run("pgbouncer", "--check", "/etc/pgbouncer/pgbouncer.ini"))
    assert not os.path.lexists(machine.path("/usr/sbin/pgbouncer"))
