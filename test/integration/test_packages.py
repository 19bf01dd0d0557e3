"""make deb: Debian packages that install, serve and leave, tried on a copy of this machine."""

import contextlib
import glob
import os
import re
import shlex
import shutil
import signal
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
    for path in ("/lib/systemd/system/pgsluice.service", "/lib/systemd/system/pgsluice.socket", "/etc/logrotate.d/pgsluice",
                 "/usr/share/bash-completion/completions/pgsluice", "/usr/share/man/man1/pgsluice-mkauth.1.gz",
                 "/usr/share/doc/pgsluice/copyright", "/usr/share/doc/pgsluice/changelog.gz",
                 "/usr/share/doc/pgsluice/README.gz", "/usr/share/doc/pgsluice/architecture.md.gz",
                 "/usr/share/doc/pgsluice/examples/haproxy/haproxy.cfg"):
        assert files[path] == ("-rw-r--r-- root/root", ""), path
    for path in ("/etc/pgsluice/pgsluice.ini", "/etc/pgsluice/userlist.txt"):
        assert files[path] == ("-rw-r----- root/root", ""), path


def test_every_manual_page_is_in_the_package(contents):
    pages = {os.path.basename(page) + ".gz" for page in glob.glob(os.path.join(TOP, "doc/*.[1-9]"))}
    assert pages <= {os.path.basename(path) for path in contents["pgsluice"] if path.startswith("/usr/share/man/")}


# On a machine

@pytest.fixture(scope="module")
def machine():
    try:
        overlay = Overlay()
    except Unavailable as why:
        pytest.skip(str(why))
    yield overlay
    overlay.close()


def did(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextlib.contextmanager
def installed(machine, *files):
    """Until they are purged."""
    names = [os.path.basename(file).split("_")[0] for file in files]
    for file in files:
        shutil.copy(file, machine.path("/var/tmp/"))
    did(machine.run("sh", "-c", "dpkg -i /var/tmp/*.deb && rm /var/tmp/*.deb"))
    yield
    did(machine.run("dpkg", "--purge", *reversed(names)))


def unit(machine):
    """The service's settings, the last one of each name."""
    with open(machine.path("/lib/systemd/system/pgsluice.service")) as f:
        return dict(re.findall(r"^(\w+)=(.*)$", f.read(), re.M))


@contextlib.contextmanager
def service(machine, ready):
    """What systemd makes of the unit: directories, the user, the command. Yields how it says where it has got to."""
    settings = unit(machine)
    user, group, directory = settings["User"], settings["Group"], "/run/" + settings["RuntimeDirectory"]
    did(machine.run("install", "-d", "-o", user, "-g", group, directory))
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


def is_listening(port):
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(host="127.0.0.1", port=port, user="app", password=PASSWORD, dbname="app").close()
        return True


def change(machine, path, **values):
    """Some settings of a file, which stays whose it is."""
    with open(machine.path(path), "r+") as f:
        text = f.read()
        for name, value in values.items():
            text, n = re.subn(rf"(?m)^;?{name} = .*$", f"{name} = {value}", text)
            assert n == 1, name
        f.seek(0)
        f.truncate()
        f.write(text.replace("port=5432", f"port={values['server_port']}") if "server_port" in values else text)


# dpkg's own books, and the account files' former versions, are written anew each time.
BOOKS = re.compile(r"/var/(lib/dpkg|log|cache)/|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-$")


def left_behind(machine):
    """Files that are not what they were, with the account files by what is in them."""
    def is_same(path):
        with open(path, "rb") as a, open(machine.path(path), "rb") as b:
            return a.read() == b.read()
    return {path for path, is_there in machine.changes().items()
            if not BOOKS.match(path) and not (is_there and os.path.isfile(path) and is_same(path))}
